"""Write a measurement to `benchmarks/results/` together with all that is needed to repeat it."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

RESULTS = pathlib.Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy", "tensorflow-datasets", "pillow", "scikit-learn")


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _accelerators() -> dict[str, list[str]]:
    """Return the GPUs' names, where there are any."""
    if not shutil.which("nvidia-smi"):
        return {}
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"gpus": run.stdout.strip().splitlines()} if run.returncode == 0 else {}


def _affinity() -> int | None:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str:
    def git(*words):
        run = subprocess.run(["git", *words], cwd=RESULTS.parent, capture_output=True, text=True, check=False)
        return run.stdout.strip()

    # Results and documents don't change what was measured.
    changed = git("status", "--porcelain", "--", "..", ":!results", ":!../docs", ":!../*.md")
    return (git("rev-parse", "HEAD") or "unknown") + ("-modified" if changed else "")


def provenance() -> dict:
    """Return command, commit, versions, hardware and date of this process, as a dict for JSON."""
    return {
        "command": " ".join(["python", "-m", f"benchmarks.{pathlib.Path(sys.argv[0]).stem}", *sys.argv[1:]]),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: v for p in PACKAGES if (v := _version(p))},
        "hardware": {
            "processor": _processor(), "cores": os.cpu_count(), "affinity": _affinity(), "system": platform.system(),
        } | _accelerators(),
    }


def write(name: str, result: dict, made_by: dict, folder: pathlib.Path | None = None) -> pathlib.Path:
    """Write `result` and its provenance to `<name>.json`, in `results/` or a folder, in one rename; return the path."""
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(made_by | result, indent=1) + "\n")
    partial.replace(path)
    return path


def readme_with(text: str, mark: str, table: str) -> str:
    """Return the README's text with what stands between `<!-- mark -->` and `<!-- /mark -->` replaced.

    Raises:
      ValueError: if the marks are not there.
    """
    begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
    new, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}{table}\n{end}", text, flags=re.S)
    if count != 1:
        raise ValueError(f"expected {begin.strip()} and {end} once in the text, got {count}; add or mend them")
    return new
