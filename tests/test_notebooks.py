"""The notebooks run from scratch, and their committed outputs are those of their code."""

import json
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from notebooks import build

NAMES = {"gon", "implicit_gon", "variational_gon", "your_own_data", "your_own_decoder", "how_it_works", "benchmarks"}
PIP = "%pip install --quiet"
SECONDS, BYTES = 180, 600_000  # on two cores that multiply matrices at 0.3 TFLOP/s; a slower machine takes longer
notebooks = pytest.mark.parametrize("path", build.PATHS, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text())


def has_picture(notebook):
    outputs = [output for cell in build.code_cells(notebook) for output in cell["outputs"]]
    assert all(output["output_type"] != "error" and output.get("name") != "stderr" for output in outputs)
    return any("image/png" in output.get("data", {}) for output in outputs)


def test_they_are_all_there_and_listed():
    assert {path.stem for path in build.PATHS} == NAMES
    pages = [(build.FOLDER.parent / page).read_text() for page in ("README.md", "docs/index.md")]
    assert all(f"notebooks/{name}" in page for name in NAMES for page in pages)


@notebooks
def test_outputs_are_of_this_code(path):
    notebook = read(path)
    made_by = notebook["metadata"].get("gon_jax", {}).get("code_sha256")
    first = "".join(build.code_cells(notebook)[0]["source"])
    fresh = made_by == build.code_hash(notebook) and first == build.INSTALL.rstrip()
    assert fresh, f"{path.name}: outputs are not those of its code; refresh with `{build.REFRESH}`"
    assert has_picture(notebook)
    assert path.stat().st_size < BYTES


def test_the_hash_is_of_code_alone():
    text = {"cell_type": "markdown", "source": "text"}
    a = {"cells": [text, {"cell_type": "code", "source": ["a = 1\n", "b = 2"], "outputs": []}]}
    b = {"cells": [{"cell_type": "code", "source": "a = 1\nb = 2", "outputs": [1]}]}
    c = {"cells": [{"cell_type": "code", "source": "a = 1\nb = 3", "outputs": []}]}
    assert build.code_hash(a) == build.code_hash(b) != build.code_hash(c)


def test_the_address_stands_in_one_place():
    cells = ["".join(cell["source"]) for path in build.PATHS for cell in read(path)["cells"]]
    assert [build.REPOSITORY in cell for cell in cells].count(True) == len(build.PATHS)
    assert all(cell == build.INSTALL.rstrip() for cell in cells if build.REPOSITORY in cell)


@pytest.fixture
def first_cell(tmp_path, monkeypatch):
    """Return what the first cell asks pip to install, None for nothing, in a folder where gon_jax is not installed."""
    from IPython.core.inputtransformer2 import TransformerManager

    code, asked = TransformerManager().transform_cell(build.INSTALL), []
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GON_JAX", raising=False)

    def run(spec=None):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
        magics = SimpleNamespace(run_line_magic=lambda magic, line: asked.append(f"%{magic} {line}"))
        names = {"get_ipython": lambda: magics}
        asked.clear()
        exec(code, names)
        return asked[0].format(**names) if asked else None

    return run


def test_the_first_cell_takes_what_there_is(first_cell, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="wheel or zip beside this notebook, or its address in GON_JAX"):
        first_cell()
    (tmp_path / "gon_jax-main.zip").touch()
    assert first_cell() == f'{PIP} "gon_jax[data] @ {tmp_path.as_uri()}/gon_jax-main.zip"'
    wheel = tmp_path / "gon_jax-0.1.0-py3-none-any.whl"
    wheel.touch()
    os.utime(wheel, (2e9, 2e9))  # the newest
    assert first_cell() == f'{PIP} "gon_jax[data] @ {wheel.as_uri()}"'
    monkeypatch.setenv("GON_JAX", "git+https://example.org/gon_jax")
    assert first_cell() == f'{PIP} "gon_jax[data] @ git+https://example.org/gon_jax"'
    assert first_cell(SimpleNamespace(origin="gon_jax/__init__.py")) is None  # installed
    assert first_cell(SimpleNamespace(origin=None)) is not None  # a folder of that name, such as a clone


def test_bars_are_left_out_and_warnings_are_not():
    bar = {"output_type": "stream", "name": "stderr", "text": "100%|##########| 5/5"}
    widget = {"output_type": "display_data", "data": {"application/vnd.jupyter.widget-view+json": {}}}
    warning = {"output_type": "stream", "name": "stderr", "text": "FutureWarning: ..."}
    printed = {"output_type": "stream", "name": "stdout", "text": "1.2"}
    assert [build.is_bar(output) for output in (bar, widget, warning, printed)] == [True, True, False, False]


def allowed():
    """The seconds that a notebook may take here: more where this machine multiplies matrices more slowly."""
    a, product = jnp.ones((1024, 1024)), jax.jit(jnp.matmul)
    product(a, a).block_until_ready()
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        product(a, a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return SECONDS * max(1, 0.3e12 / (2 * 1024**3 / min(seconds)))


def run(path, folder):
    copy, most = shutil.copy(path, folder), allowed()
    notebook, seconds = build.execute(Path(copy))
    assert has_picture(notebook)
    assert seconds < most, f"{path.name} took {seconds:.0f} s of {most:.0f}"
    return notebook


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A home without data or caches, a network that refuses at once, and XLA as a user has it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=pytest.mark.xdist_group(p.stem)) for p in build.PATHS]
)
def test_runs_from_scratch(path, tmp_path, offline, monkeypatch):
    """On real images where GON_DATA_DIR has them; one of them always without."""
    if path.stem == "variational_gon":
        monkeypatch.delenv("GON_DATA_DIR", raising=False)
        cells = build.code_cells(run(path, tmp_path))
        printed = ["".join(output.get("text", "")) for cell in cells for output in cell["outputs"]]
        assert any(text.startswith("digits (") for text in printed)
    else:
        run(path, tmp_path)
