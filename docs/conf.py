"""The documentation site, by Sphinx: `make docs`.

Its source folder is the repository, so that links between pages, notebooks and files are those of a code host.
"""

import sys
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

from api_pages import ALIASES, text_below, write_pages  # noqa: E402
from markdown_docstrings import converted  # noqa: E402
from sphinx import addnodes  # noqa: E402
from sphinx.ext import autosummary  # noqa: E402
from sphinx.ext.napoleon import Config, GoogleDocstring  # noqa: E402

import gon_jax  # noqa: E402

project, author, version = "gon_jax", "the gon_jax authors", gon_jax.__version__
copyright = author
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
include_patterns += ["gon_jax/runs/weights/*/README.md"]  # model cards
exclude_patterns = [".*", *"benchmarks build data examples runs tests **/.ipynb_checkpoints".split()]

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]

# Pages are Markdown, with the anchors of a code host. Notebooks show their committed outputs.
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # tables among outputs
nb_ipywidgets_js = {}  # would come from the network
highlight_language = "none"  # indented blocks are commands and formulas

# Docstrings are Markdown with Google's sections; `name` links where such a name is public, and is code otherwise.
default_role = "py:obj"
add_module_names = False
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autosummary_generate = False
autosummary.WELL_KNOWN_ABBREVIATIONS += ("Eq.", "Eqs.")  # they do not end a summary
GOOGLE = Config(napoleon_use_ivar=True, napoleon_attr_annotations=False)  # types are in the signature
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

# Every class of ours that a signature names is in the API; names of others are not links, since that asks the network.
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*"), ("py:.*", r"(?!gon_jax\.).*"), ("py:class", r".*\.(T|Annotated)")]

html_theme = "furo"
html_title = "gon_jax"
html_additional_pages = {"index": "to_the_front_page.html"}
templates_path = ["templates"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
copybutton_prompt_text, copybutton_prompt_is_regexp = r">>> |\.\.\. ", True

# Nothing is loaded from the network: the package mathjax is a copy of MathJax, of which this file has the fonts inside.
html_static_path = ["static", str(files("mathjax") / "static" / "mathjax" / "es5" / "tex-svg.js")]
mathjax_path = "tex-svg.js"

linkcheck_ignore = [r"https://github\.com/OWNER/"]  # the address is not known yet


def canonical_reference(app, env, node, contnode):
    """Resolve the second name of a public object, such as `gon_jax.fit`, to the one that has the documentation."""
    target = ALIASES.get(node.get("reftarget")) if node.get("refdomain") == "py" else None
    if target is None:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)


def link_parts(app, doctree):
    """Link a page's links to files of the package to the API page of that part; on a code host they show the file."""
    for node in list(doctree.findall(addnodes.download_reference)):
        _, path = app.env.relfn2path(node["reftarget"], app.env.docname)
        parts = Path(path).resolve().relative_to(ROOT).parts
        if parts[0] == "gon_jax":
            part = "index" if parts[1] == "__init__.py" else Path(parts[1]).stem
            options = {"reftype": "doc", "refdomain": "std", "reftarget": f"/docs/api/{part}", "refwarn": True}
            found = addnodes.pending_xref("", *node.children, refexplicit=True, refdoc=app.env.docname, **options)
            node.replace_self(found)


class Docstring(GoogleDocstring):
    """Google's sections, where "Returns" is text: the type is in the signature, and a colon in it is a colon."""

    def _consume_returns_section(self, preprocess_types=False):
        return [("", "", self._dedent(self._consume_to_next_section()))]


def docstring(app, what, name, obj, options, lines):
    """Convert a docstring in place. A constant's own is the text below it, and not that of its type."""
    own = converted(text_below(name) if what == "data" else list(lines))
    what = "" if what in ("attribute", "data", "property") else what  # else "a: b" is taken for a type and a text
    lines[:] = Docstring(own, GOOGLE, app, what, name, obj, options).lines()


def left_out(app, what, name, obj, skip, options):
    """Leave out the fields of named tuples, which say nothing, and what scikit-learn adds to its estimators."""
    foreign = not getattr(obj, "__module__", "gon_jax").startswith("gon_jax")
    return True if foreign or type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    app.connect("builder-inited", lambda app: write_pages(ROOT / "docs" / "api"))
    app.connect("doctree-read", link_parts)
    app.connect("autodoc-process-docstring", docstring)
    app.connect("autodoc-skip-member", left_out)
    app.connect("missing-reference", canonical_reference)
