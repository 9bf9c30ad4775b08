"""Run the notebooks from scratch and write them with their outputs: `make notebooks`, or `notebooks/build.py PATH`.

A notebook is edited as it is, but for its first code cell, which installs and is written from here. A hash of the code
that made the outputs goes into its metadata, and `tests/test_notebooks.py` tells by it when they are stale.
"""

import hashlib
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
PATHS = sorted(FOLDER.glob("*.ipynb"))
REFRESH = "make notebooks"

# The only place of the address: change it here, then `make notebooks`. OWNER stands for one that is not known yet.
REPOSITORY = "https://github.com/OWNER/gon_jax"

INSTALL = f"""\
import importlib.util
import os
from pathlib import Path

if getattr(importlib.util.find_spec("gon_jax"), "origin", None) is None:  # in Colab, say
    found = [*Path().glob("gon_jax*.whl"), *Path().glob("gon_jax*.zip")]  # a wheel, or a zip of the repository
    newest = max(found, key=os.path.getmtime).absolute().as_uri() if found else "git+{REPOSITORY}"
    address = os.environ.get("GON_JAX") or newest
    if "OWNER" in address:
        raise FileNotFoundError(
            "expected gon_jax, or its wheel or zip beside this notebook, or its address in GON_JAX, got none of them: "
            "upload gon_jax*.whl, or run %env GON_JAX=git+https://..., and run this cell again"
        )
    %pip install --quiet "gon_jax[data] @ {{address}}"
"""


def code_cells(notebook: dict) -> list[dict]:
    """Return the code cells of a notebook, read by nbformat or json."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def code_hash(notebook: dict) -> str:
    """Return the hash of all code, whatever the outputs, the text, and the way a file breaks lines into lists."""
    sources = ["".join(cell["source"]).rstrip() for cell in code_cells(notebook)]
    return hashlib.sha256("\0".join(sources).encode()).hexdigest()


def is_bar(output: dict) -> bool:
    """Return whether an output is a progress bar or a log: a widget, or text on stderr that isn't a warning."""
    widget = "application/vnd.jupyter.widget-view+json" in output.get("data", {})
    return widget or (output.get("name") == "stderr" and "Warning" not in output["text"])


def execute(path: Path):
    """Return the notebook at `path` with the outputs of a run in its folder, and the seconds it took."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    options = {"timeout": 600, "kernel_name": "python3", "record_timing": False, "store_widget_state": False}
    start = time.perf_counter()
    NotebookClient(notebook, resources={"metadata": {"path": str(path.parent)}}, **options).execute()
    seconds = time.perf_counter() - start
    for cell in code_cells(notebook):
        cell["outputs"] = [output for output in cell["outputs"] if not is_bar(output)]
    notebook["metadata"]["gon_jax"] = {"code_sha256": code_hash(notebook)}
    return notebook, seconds


def main(paths: list[Path]) -> None:
    """Write the first cell of notebooks, run them, and write their outputs."""
    import nbformat

    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        code_cells(notebook)[0]["source"] = INSTALL.rstrip()
        nbformat.write(notebook, path)
        notebook, seconds = execute(path)
        notebook["metadata"].pop("widgets", None)
        nbformat.write(notebook, path)
        print(f"{path}: {seconds:.0f} s, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]] or PATHS)
