"""Options: small frozen dataclasses that check themselves, each registered under the name that the command takes."""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar, get_args, get_origin

__all__ = ["Count", "Decay", "Depth", "Natural", "NonNegative", "Options", "Positive", "Rule", "register"]

T = TypeVar("T", bound="Options")


class Rule(NamedTuple):
    """What an annotated number must be: in words, and as a predicate."""

    words: str
    holds: Callable[[Any], bool]


Count = Annotated[int, Rule("of at least 1", lambda n: n >= 1), Rule("below 2^31", lambda n: n < 2**31)]
Depth = Annotated[int, Rule("from 1 to 1,000", lambda n: 1 <= n <= 1000)]  # what is compiled one by one
Natural = Annotated[int, Rule("of at least 0", lambda n: n >= 0)]
Positive = Annotated[float, Rule("above 0", lambda x: x > 0)]
NonNegative = Annotated[float, Rule("of at least 0", lambda x: x >= 0)]
Decay = Annotated[float, Rule("from 0 up to 1", lambda x: 0 <= x < 1)]


@dataclasses.dataclass(frozen=True)
class Options:
    """Options that check themselves by their annotations: literals, finite numbers, rules. Each has a default.

    Attributes:
        name: that under which the class is registered, if it is.

    Raises:
        ValueError: for a value that its annotation does not admit, by name.
    """

    name: ClassVar[str]

    def __post_init__(self):
        hints = _hints(type(self))
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), hints[field.name])


@functools.cache
def _hints(options):
    return typing.get_type_hints(options, include_extras=True)


def _check(name, value, hint):
    origin, args = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):  # `X | None`
        return value is None or _check(name, value, args[0])
    base = args[0] if origin is typing.Annotated else hint
    kinds = {int: int, float: (int, float), bool: bool, str: str}.get(base, object)
    if not isinstance(value, kinds) or (isinstance(value, bool) and base in (int, float)):
        raise ValueError(f"expected {name} of type {base.__name__}, got {value!r}")
    if get_origin(base) is tuple:
        kind, *rest = get_args(base)
        kinds, words = ((int, float), "numbers") if kind is float else ((int,), "whole numbers")
        length = len(value) if isinstance(value, tuple) and rest == [...] else 1 + len(rest)
        if not (isinstance(value, tuple) and len(value) == length and all(type(entry) in kinds for entry in value)):
            raise ValueError(f"expected {name} of {words}, a tuple, got {value!r}")
    if origin is Literal and value not in args:
        raise ValueError(f"expected {name} one of {', '.join(args)}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite {name}, got {value}")
    for rule in getattr(hint, "__metadata__", ()):
        if not rule.holds(value):
            raise ValueError(f"expected {name} {rule.words}, got {value}")


@typing.dataclass_transform(frozen_default=True)
def register(registry: dict[str, type[T]], name: str) -> Callable[[type[T]], type[T]]:
    """Return a class decorator: make options a frozen dataclass, and enter it into a registry under a name.

    >>> models = {}
    >>> @register(models, "mine")
    ... class MyConfig(Options):
    ...     width: Count = 3
    >>> models["mine"]().width, MyConfig.name
    (3, 'mine')
    >>> MyConfig(width=0)
    Traceback (most recent call last):
    ...
    ValueError: expected width of at least 1, got 0
    """

    def decorate(cls):
        cls.name = name
        registry[name] = dataclasses.dataclass(frozen=True)(cls)
        return registry[name]

    return decorate
