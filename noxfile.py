"""The core of the tests on each Python, with the lowest and the newest JAX that we support: `make matrix`.

A Python that is not here is skipped, and said so. `make matrix MATRIX="-p 3.13"` runs one of them; CORE in the environment
names other tests.
"""

import json
import os
from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CORE = (
    "tests/test_encoding.py tests/test_imports.py tests/test_terminal.py tests/test_training.py tests/test_run.py "
    "tests/test_decoders.py"
)
REPORT = "import json, platform, importlib.metadata as m; " + (
    "print(json.dumps({'python': platform.python_version()} | {n: m.version(n) for n in ('jax', 'jaxlib', 'flax', 'numpy')}))"
)

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False


@nox.session(python=PYTHONS)
@nox.parametrize("versions", ["floor", "newest"])
def core(session: nox.Session, versions: str) -> None:
    """Install the package and what the core of the tests needs; run it."""
    constraints = ["--constraint", "requirements-floor.txt"] if versions == "floor" else []
    session.install(*constraints, ".", "pytest", "equinox", "chex", "flatbuffers", "safetensors", "grain")
    found = json.loads(session.run("python", "-c", REPORT, silent=True))
    words = os.environ.get("CORE", CORE).split()
    env = {"MPLCONFIGDIR": str(Path(".cache/matplotlib").absolute())}
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", *words, env=env)
    folder = Path(".cache/matrix")  # of what passed
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{session.python}-{versions}.json").write_text(json.dumps({"versions": found, "tests": words}))
