"""The API pages: one for each part of gon_jax, with every name of every `__all__` in it, each documented once."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any, get_origin

from markdown_docstrings import converted
from sphinx.pycode import ModuleAnalyzer

import gon_jax

GROUPS = {
    "The algorithm": "base encoding linearization freezing gauss_newton checks likelihoods coordinates ops",
    "Decoders and models": "decoders models",
    "Data and training": "data training checkpoints",
    "With a trained model": "inference metrics latents pca plotting transformer",
    "Runs and the command": "runs cli",
}
REST = "Smaller parts"


def _modules() -> list[str]:
    infos = pkgutil.walk_packages(gon_jax.__path__, "gon_jax.")
    return [info.name for info in infos if not any(part.startswith("_") for part in info.name.split("."))]


def groups() -> dict[str, list[str]]:
    """Return the parts of the package, those right below `gon_jax`, by group."""
    known = {group: parts.split() for group, parts in GROUPS.items()}
    parts = {name.split(".")[1] for name in _modules()}
    rest = sorted(parts.difference(*known.values()))
    return {group: [part for part in names if part in parts] for group, names in (known | {REST: rest}).items()}


def _key(name: str, value: Any) -> Any:
    named = inspect.isroutine(value) or inspect.isclass(value)
    return (value.__module__, value.__qualname__) if named else (name, id(value))


def documented() -> tuple[dict[str, dict[str, list[str]]], dict[str, str]]:
    """Return the names documented on each page, by module, and the place of each other name of the same objects."""
    modules = _modules()
    pages: dict[str, dict[str, list[str]]] = {}
    places: dict[Any, str] = {}
    aliases: dict[str, str] = {}
    for part in (part for parts in groups().values() for part in parts):
        page = pages[part] = {f"gon_jax.{part}": []}
        for module in sorted((m for m in modules if m.split(".")[1] == part), key=lambda m: (m.count("."), m)):
            loaded = importlib.import_module(module)
            for name in getattr(loaded, "__all__", ()):
                value = getattr(loaded, name)
                if inspect.ismodule(value):
                    continue
                place = places.setdefault(_key(name, value), f"{module}.{name}")
                if place == f"{module}.{name}":
                    page.setdefault(module, []).append(name)
                    if inspect.isroutine(value) or inspect.isclass(value):
                        aliases[f"{value.__module__}.{value.__qualname__}"] = place
                else:
                    aliases[f"{module}.{name}"] = place
    for name in gon_jax.__all__:
        value = getattr(gon_jax, name)
        if not inspect.ismodule(value):
            aliases[f"gon_jax.{name}"] = aliases[name] = places[_key(name, value)]
    return pages, {alias: place for alias, place in aliases.items() if alias != place}


PAGES, ALIASES = documented()


def text_below(name: str) -> list[str]:
    """Return the docstring below a constant, given its place: it may be assigned in a module of the package there."""
    module, _, name = name.rpartition(".")
    for candidate in (m for m in _modules() if f"{m}.".startswith(f"{module}.")):
        analyzer = ModuleAnalyzer.for_module(candidate)
        analyzer.analyze()
        if ("", name) in analyzer.attr_docs:
            return analyzer.attr_docs["", name]
    return []


def _directive(module: str, name: str) -> str:
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value) and value is not Any:
        kind = "autoexception" if issubclass(value, BaseException) else "autoclass"
        return f".. {kind}:: {name}\n   :members:\n"
    if inspect.isroutine(value) or hasattr(value, "__wrapped__"):
        return f".. autofunction:: {name}\n"
    shown = isinstance(value, (int, float, str, tuple)) or get_origin(value) is not None or value is Any
    return f".. autodata:: {name}\n{'' if shown else '   :no-value:'}\n"


def _section(module: str, names: list[str], underline: str) -> str:
    lines = [module, underline * len(module), "", f".. automodule:: {module}", "   :no-index:", ""]
    lines += [f".. currentmodule:: {module}", ""]
    if len(names) > 1:
        lines += [".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in names), ""]
    return "\n".join(lines + [_directive(module, name) for name in names])


def _index() -> str:
    names = [name for name in gon_jax.__all__ if not inspect.ismodule(getattr(gon_jax, name))]
    lines = [
        "API",
        "===",
        "",
        "Every name of every ``__all__``, by part of the package. Right below ``gon_jax`` are:",
        "",
    ]
    lines += [".. currentmodule:: gon_jax", "", ".. autosummary::", "   :nosignatures:", ""]
    lines += [*(f"   {name}" for name in names), ""]
    for group, parts in groups().items():
        lines += [group, "-" * len(group), "", ".. toctree::", "   :hidden:", "", *(f"   {part}" for part in parts), ""]
        for part in parts:
            summary = inspect.getdoc(importlib.import_module(f"gon_jax.{part}")) or ""
            first = converted(summary.split("\n\n")[0].split("\n"))
            lines += [f":doc:`gon_jax.{part} <{part}>`", *(f"   {line}" for line in first), ""]
    return "\n".join(lines)


def write_pages(folder: Path) -> None:
    """Write the pages that have changed, and remove those of parts that are gone."""
    folder.mkdir(exist_ok=True)
    pages = {"index": _index()}
    for part, page in PAGES.items():
        sections = [_section(m, names, "-" if m.count(".") > 1 else "=") for m, names in page.items()]
        pages[part] = "\n".join(sections)
    for path in folder.glob("*.rst"):
        if path.stem not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
