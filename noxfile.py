"""The core of the tests on each Python, with the lowest and the newest JAX that we support: `make matrix`.

A Python that is not here is skipped. `make matrix MATRIX="-p 3.13"` runs one; CORE in the environment names other
tests. Each session leaves a result, of which `release/matrix.py` makes a record and the table of docs/support.md.
"""

import json
import os
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CORE = "encoding checkpoints autoencoder arguments terminal"
VERSIONS = """
import importlib.metadata as m, json, platform
print(json.dumps({"python": platform.python_version()} | {n: m.version(n) for n in ("jax", "jaxlib", "flax", "numpy")}))
"""
RESULTS = Path(".cache/matrix").absolute()

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False


@nox.session(python=PYTHONS)
@nox.parametrize("versions", ["floor", "newest"], ids=["floor", "newest"])
def core(session: nox.Session, versions: str) -> None:
    """Install the package and what the core of the tests needs; run it, and say what passed on which versions."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path, names = RESULTS / f"{session.python}-{versions}.json", os.environ.get("CORE", CORE).split()
    path.unlink(missing_ok=True)
    constraints = ["--constraint", "requirements-floor.txt"] if versions == "floor" else []
    session.install(*constraints, ".", "pytest", "equinox", "chex", "flatbuffers", "safetensors", "grain")
    found = json.loads(str(session.run("python", "-c", VERSIONS, silent=True)))
    env = {"MPLCONFIGDIR": str(RESULTS.parent / "matplotlib")}
    tests = [f"tests/test_{name}.py" for name in names]
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *tests, env=env)
    session.run("python", "-I", "release/smoke.py")  # trains, by the command
    path.write_text(json.dumps({"versions": found, "tests": names}))
