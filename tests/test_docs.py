"""The documentation: every public name has its place, every picture its script; the site is whole without a network."""

import importlib
import re
import runpy
from pathlib import Path

import pytest
from test_imports import PUBLIC

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def script(monkeypatch):
    """Return a module of docs, by its name."""
    pytest.importorskip("sphinx")
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module


def test_docstrings_become_restructured_text(script):
    converted = script("markdown_docstrings").converted
    text = """Return $z_0$ of `Decoder`, `z [B, *latent]` and *args, |x|.

    z = z0 - s grad

- one
- two

| a | b |
|---|---|
| `x` | 1 |

$$ \\frac12 $$

Attributes:
    a, b: numbers.

Args:
    x: an array, where
        - first
        - last

>>> `untouched` | *here*"""
    found = "\n".join(converted(text.split("\n")))
    assert ":math:`z_0` of `Decoder`, ``z [B, *latent]`` and \\*args, \\|x\\|." in found
    assert "::\n\n    z = z0 - s grad\n" in found
    assert "\n\n- one\n- two\n\n.. list-table::\n   :header-rows: 1\n\n   * - a\n     - b\n" in found
    assert "Attributes:\n    a: numbers.\n    b: numbers.\n" in found
    assert ".. math::\n\n   \\frac12\n" in found and "where\n\n        - first" in found
    assert ">>> `untouched` | *here*" in found


def test_every_public_name_is_documented_once(script):
    api = script("api_pages")
    places = [f"{module}.{name}" for page in api.PAGES.values() for module, names in page.items() for name in names]
    assert len(places) == len(set(places)) and set(api.ALIASES.values()) <= set(places)
    functions = {name for name in PUBLIC if name.split(".")[-2][0].islower()}  # not methods, which are with their class
    assert functions <= {*places, *api.ALIASES}
    assert api.ALIASES["gon_jax.fit"] == api.ALIASES["gon_jax.training.loop.fit"] == "gon_jax.training.fit"


def test_every_picture_has_a_script():
    copied = runpy.run_path(str(DOCS / "copy_pictures.py"))
    drawn = {path.stem.removeprefix("draw_") for path in DOCS.glob("draw_*.py")}
    assert {path.stem for path in (DOCS / "images").glob("*.png")} == drawn | copied["COPIED"]
    for name, (notebook, index) in copied["NOTEBOOKS"].items():
        assert copied["pictures_of"](notebook)[index] == (DOCS / "images" / f"{name}.png").read_bytes(), name


@pytest.mark.slow
def test_the_site_needs_no_network():
    site = ROOT / "build" / "docs"
    if not (site / "index.html").is_file():
        pytest.skip("no build/docs: `make docs` makes it, as `make check` does before these tests")
    pages = {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}
    loaded = r"<(?:script|img|iframe)[^>]*\bsrc=.(?:https?:)?//|<link[^>]*stylesheet[^>]*\bhref=.(?:https?:)?//"
    assert not [name for name, text in pages.items() if re.search(loaded, text)]
    assert "url=docs/index.html" in pages["index.html"]
    assert "tex-svg.js" in pages["docs/algebra.html"] and (site / "_static" / "tex-svg.js").stat().st_size > 10**6
    assert 'id="gon_jax.models.vgon"' in pages["docs/api/models.html"]
    assert 'id="the-fast-forms"' in pages["docs/algebra.html"] and "math notranslate" in pages["docs/api/encoding.html"]
    assert pages["notebooks/gon.html"].count("<img") >= 5
    assert "encode_shared" in (site / "searchindex.js").read_text()
