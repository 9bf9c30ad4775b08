"""Make a record of what `make matrix` ran, and the table of docs/support.md from it.

`python -m release.matrix` reads the results of the sessions; `--table` makes the table of the record that is there.
"""

import json
import re
import sys
from pathlib import Path

from benchmarks.provenance import provenance
from benchmarks.tables import markdown

ROOT = Path(__file__).parents[1]
RECORD, PAGE = ROOT / "benchmarks" / "results" / "support.json", ROOT / "docs" / "support.md"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
VERSIONS = ("floor", "newest")


def cell(record: dict, python: str, versions: str) -> str:
    """Return what a cell of the table says: the versions that the core passed on, or that it did not."""
    run = record["runs"].get(f"{python}-{versions}")
    return "not run" if run is None else "passed: JAX {jax}, Flax {flax}, NumPy {numpy}".format(**run["versions"])


def table(record: dict) -> str:
    """Return the table in Markdown."""
    head = ["Python", "lowest versions", "newest versions"]
    return markdown([head, *([python, *(cell(record, python, v) for v in VERSIONS)] for python in PYTHONS)])


def main(*words: str) -> None:
    """Write the record, unless the table alone is asked for; and the table."""
    if "--table" not in words:
        results = {path.stem: json.loads(path.read_text()) for path in Path(".cache/matrix").glob("*.json")}
        record = provenance("make matrix") | {"runs": dict(sorted(results.items()))}
        RECORD.write_text(json.dumps(record, indent=2) + "\n")
    text, record = PAGE.read_text(), json.loads(RECORD.read_text())
    block = f"<!-- support -->\n{table(record)}\n<!-- /support -->"
    PAGE.write_text(re.sub(r"<!-- support -->.*<!-- /support -->", block, text, flags=re.S))


if __name__ == "__main__":
    main(*sys.argv[1:])
