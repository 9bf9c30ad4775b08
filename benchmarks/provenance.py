"""How a number came to be: command, commit, versions, hardware and date, beside it in its JSON."""

import datetime
import importlib.metadata
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy", "tensorflow-datasets", "pillow", "scikit-learn")
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS")
ROOT = Path(__file__).parents[1]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
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


def commit_of(root: Path = ROOT) -> str:
    """Return the commit of a checkout, with "-modified" where code differs from it; "unknown" without git."""
    if not (root / ".git").exists() or not shutil.which("git"):  # installed, or a copy
        return "unknown"

    def git(*words):
        run = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
        return run.stdout.strip()

    # Results and documents don't change what was measured.
    changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!docs", ":!*.md")
    return (git("rev-parse", "HEAD") or "unknown") + ("-modified" if changed else "")


def provenance(command: str | None = None) -> dict:
    """Return command, commit, versions, hardware and date of this process, as a dict for JSON.

    Args:
        command: by default this process's, as one types it in a shell, with the variables of the environment that
            change how fast it runs.
    """
    if command is None:
        module = sys.modules["__main__"].__spec__  # None for a script
        program = ["-m", module.name.removesuffix(".__main__")] if module else [Path(sys.argv[0]).name]
        variables = [f"{name}={shlex.quote(os.environ[name])}" for name in VARIABLES if name in os.environ]
        command = " ".join([*variables, shlex.join(["python", *program, *sys.argv[1:]])])
    return {
        "command": command,
        "commit": commit_of(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {p: v for p in PACKAGES if (v := _version(p))},
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "affinity": _affinity(),
            "system": platform.system(),
        }
        | _accelerators(),
    }
