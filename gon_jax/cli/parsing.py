"""Command lines to calls, by tyro: options are a function's arguments; help shows the common ones.

A mistake, which tyro prints in boxes, becomes the message of a `UsageError` in one line.
"""

import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import tyro

from gon_jax.runs.options import Options

__all__ = ["HELP_ALL", "UsageError", "close_match", "parse"]

HELP_ALL = "--help-all"
AllFlag = Annotated[bool, tyro.conf.arg(help="Show all options, and exit.")]


class UsageError(Exception):
    """A mistake on the command line, in one line."""


def close_match(word: str, known: Iterable[str]) -> str:
    """Return what is wrong with a word that is not among the known ones, and the one that was probably meant."""
    found = difflib.get_close_matches(word, known, 1)
    return f"expected one of {', '.join(known)}; got {word!r}" + (f", did you mean {found[0]!r}?" if found else "")


def parse(
    function: Callable[..., Any],
    prog: str,
    words: list[str],
    types: Mapping[str, Any] | None = None,
    *,
    flags: Mapping[str, Any] | None = None,
    common: Collection[str] | None = None,
    **defaults: Any,
) -> functools.partial[Any]:
    """Return a call of `function` with the options of a command line.

    Args:
        function: its arguments are the options.
        prog: the command, for help and messages; these leave out what is in brackets.
        words: the command line.
        types: types of some arguments, in place of their annotations.
        flags: annotations of options beside the function's arguments, False by default.
        common: names of the fields of configurations that --help shows; --help-all shows all. None is all.
        **defaults: defaults of some arguments, in place of their own.

    Raises:
        UsageError: for a mistake.
    """

    @functools.wraps(function)
    def later(*args, **kwargs):
        args = [value.expanduser() if isinstance(value, Path) else value for value in args]
        kwargs = {name: value.expanduser() if isinstance(value, Path) else value for name, value in kwargs.items()}
        return functools.partial(function, *args, **kwargs)

    added = dict(flags or {}) | ({} if common is None else {"help_all": AllFlag})
    del later.__wrapped__  # tyro would read its annotations
    later.__annotations__ = function.__annotations__ | dict(types or {}) | added
    signature = inspect.signature(function)
    parameters = [p.replace(default=defaults.get(p.name, p.default)) for p in signature.parameters.values()]
    parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False) for name in added]
    shown = None if common is None or HELP_ALL in words else {*common, *added}
    words = ["--help" if word == HELP_ALL else word for word in words]
    registry = None
    if {"-h", "--help"} & {*words}:
        registry = _registry(shown)
        for p in parameters:
            if p.default is not p.empty:
                later.__annotations__[p.name] = _in_help(p.name, later.__annotations__[p.name], p.default, shown)
    parameters = [p.replace(annotation=later.__annotations__[p.name]) for p in parameters]
    later.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    screen = io.StringIO()
    try:
        with contextlib.redirect_stderr(screen):
            config = (tyro.conf.FlagCreatePairsOff,)
            call = tyro.cli(later, args=words, prog=prog, config=config, registry=registry)
    except SystemExit as status:
        if not status.code:  # --help
            raise
        lines = [line.strip(" │|") for line in screen.getvalue().splitlines()]
        lines = [" ".join(line.split()) for line in lines if any(map(str.isalnum, line))][1:]  # without rules and title
        end = next((i for i, line in enumerate(lines) if line.startswith(("For full help", "Argument help"))), None)
        raise UsageError(f"{' '.join(lines[:end])} (see {prog.partition(' [')[0]} --help)") from None
    except ValueError as error:  # of a configuration whose options do not fit together
        raise UsageError(f"{error} (see {prog.partition(' [')[0]} --help)") from error
    call.keywords.pop("help_all", None)
    return call


def _in_help(name, hint, default, shown):
    """Return the annotation of an option as help has it: without what says nothing, or left out."""
    if shown is not None and name not in shown and not isinstance(default, Options):
        hint = Annotated[hint, tyro.conf.Suppress]
    words = "" if default is None or default is False else None
    return Annotated[hint, tyro.conf.arg(help_behavior_hint=words)]


def _registry(shown):
    """Return a registry of tyro by which help has those fields of `Options` that are to be shown; None is all."""
    registry, inside = tyro.constructors.ConstructorRegistry(), []

    @registry.struct_rule
    def rule(info):
        if inside or not (inspect.isclass(info.type) and issubclass(info.type, Options)):
            return None
        inside.append(info)
        try:
            spec: Any = tyro.constructors.ConstructorRegistry.get_struct_spec(info)  # tyro's own
        finally:
            inside.pop()
        fields = []
        for field in spec.fields:
            words = field.helptext() if callable(field.helptext) else field.helptext
            words = "" if isinstance(field.default, Options) else " ".join(str(words).split())
            hint = _in_help(field.name, field.type, field.default, shown)
            fields.append(dataclasses.replace(field, type=hint, helptext=words))
        return dataclasses.replace(spec, fields=tuple(fields))

    return registry
