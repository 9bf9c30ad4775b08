"""Completion for shells: `gon completion SHELL` prints a script, made by shtab from the commands and their options."""

import argparse
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gon_jax.cli.commands import COMMANDS
from gon_jax.runs.config import REGISTRIES, Config
from gon_jax.runs.options import Options
from gon_jax.runs.presets import PRESETS

__all__ = ["completion"]

Shell = Literal["bash", "zsh", "fish", "tcsh"]


def completion(shell: Annotated[Shell, tyro.conf.Positional]) -> dict[str, Any]:
    """Print a script that completes commands in a shell.

    For bash, a line of ~/.bashrc: eval "$(gon completion bash)"

    Args:
        shell: Which one.
    """
    import shtab

    script = shtab.complete(_parser(), shell)
    print(script)
    return {"shell": shell, "script": script}


def _parser() -> argparse.ArgumentParser:
    """Return a parser for shtab alone, which knows the options of all models, networks and likelihoods at once."""
    parser = argparse.ArgumentParser("gon")
    for name, hint in {"version": bool, "help_all": bool, "import": Path}.items():
        _add(parser, name, hint)
    commands = parser.add_subparsers()
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=str(function.__doc__).splitlines()[0])
        if name == "train":
            command.add_argument("preset", nargs="?", choices=[*PRESETS])
        for option, hint in _hints(function).items():
            _add(command, option, hint)
    return parser


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a command's options by name, those of configurations among them."""
    hints: dict[str, Any] = {}
    for p in inspect.signature(function).parameters.values():
        kind = typing.get_args(p.annotation)[0] if typing.get_origin(p.annotation) is Annotated else p.annotation
        if kind is Config:
            hints |= {name: Literal[tuple(registry)] for name, registry in REGISTRIES.items()}
            parts = [part for registry in REGISTRIES.values() for part in registry.values()]
            hints |= {n: hint for part in [Config, *parts] for n, hint in _fields(part).items()}
        elif inspect.isclass(kind) and issubclass(kind, Options):
            hints |= _fields(kind)
        else:
            hints.setdefault(p.name, p.annotation)
    return hints | {"json": bool, "help_all": bool}


def _fields(options: type[Options]) -> dict[str, Any]:
    """Return the annotations of options by name; those of models, networks and likelihoods are their own."""
    hints: dict[str, Any] = {}
    for name, hint in typing.get_type_hints(options, include_extras=True).items():
        if inspect.isclass(hint) and issubclass(hint, Options):
            hints |= {} if name in REGISTRIES else _fields(hint)
        elif typing.get_origin(hint) is not typing.ClassVar:
            hints[name] = hint
    return hints


def _add(parser: argparse.ArgumentParser, name: str, hint: Any) -> None:
    """Add an option or an argument of an annotated type: a flag, one of some words, or a file."""
    import shtab

    kinds = _kinds(hint)
    words = [word for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind)]
    positional = tyro.conf.Positional in getattr(hint, "__metadata__", ())
    flag = name if positional else f"--{name.replace('_', '-')}"
    if kinds == [bool]:
        parser.add_argument(flag, action="store_true")
        return
    options: dict[str, Any] = ({"nargs": "*"} if ... in kinds else {}) | ({"choices": words} if words else {})
    action = parser.add_argument(flag, **options)
    if {Path, str} & {*kinds}:
        action.complete = shtab.FILE  # type: ignore[attr-defined]


def _kinds(hint: Any) -> list[Any]:
    """Return what an annotation is made of: types, literals, and the dots of a tuple of any length."""
    if typing.get_origin(hint) is Annotated:
        return _kinds(typing.get_args(hint)[0])
    if typing.get_origin(hint) is Literal or not typing.get_args(hint):
        return [hint]
    return [kind for part in typing.get_args(hint) for kind in _kinds(part)]
