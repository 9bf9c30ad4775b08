"""Write a measurement to `benchmarks/results/` together with all that is needed to repeat it."""

import json
import os
import pathlib
import re

from benchmarks.provenance import provenance

__all__ = ["PAGE", "README", "RESULTS", "page_with", "provenance", "write"]

RESULTS = pathlib.Path(__file__).parent / "results"
README = pathlib.Path(__file__).parents[1] / "README.md"
PAGE = README.parent / "docs" / "benchmarks.md"


def write(
    name: str, result: dict, made_by: dict, folder: pathlib.Path | None = None, *, indent: int | None = 1
) -> pathlib.Path:
    """Write `result` and its provenance to `<name>.json`, in `results/` or a folder, in one rename; return the path."""
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    partial = path.with_suffix(".json.partial")
    with partial.open("w") as file:
        file.write(json.dumps(made_by | result, indent=indent) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def page_with(text: str, mark: str, table: str) -> str:
    """Return the text of a page with what stands between `<!-- mark -->` and `<!-- /mark -->` replaced.

    Raises:
        ValueError: if the marks are not there.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    new, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{table}\n{end}", text, flags=re.S)
    if count != 1:
        raise ValueError(f"expected {begin.strip()} and {end} once in the text, got {count}; add or mend them")
    return new
