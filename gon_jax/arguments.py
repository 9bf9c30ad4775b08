"""What a caller may have given: counts, numbers, choices, keys. Anything else is named in one line.

A number that is traced, as inside `jax.jit`, is known by its type alone, and passes.
"""

import math
import operator
import reprlib
import types
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

__all__ = ["as_array", "as_numbers", "check_choice", "check_count", "check_key", "check_kind", "check_number"]
__all__ += ["check_sizes", "shown"]


def shown(value: Any) -> str:
    """Return a value as messages show it: short, in one line, an array by its type and shape.

    >>> shown(2.5), shown("adam"), shown(np.zeros((2, 3))), shown(shown)
    ('2.5', "'adam'", 'an array float64[2, 3]', 'the function shown')
    """
    if isinstance(value, np.ndarray | jax.Array) and value.shape:
        return f"an array {value.dtype}{list(value.shape)}"
    if callable(value) and hasattr(value, "__name__"):
        return f"the {'class' if isinstance(value, type) else 'function'} {value.__name__}"
    return " ".join(reprlib.repr(value).split())


def check_kind(name: str, value: Any, kind: type | types.UnionType, remedy: str) -> None:
    """Refuse a value of another type.

    Raises:
        TypeError: with the remedy.

    >>> check_kind("model", 1, str, "make one")
    Traceback (most recent call last):
    TypeError: expected model, a str, got 1: make one
    """
    if not isinstance(value, kind):
        each: tuple[Any, ...] = getattr(kind, "__args__", (kind,))
        kinds = " or ".join(k.__name__ for k in each)
        raise TypeError(f"expected {name}, a {kinds}, got {shown(value)}: {remedy}")


def check_count(name: str, value: Any, least: int = 1, most: int | None = None, *, remedy: str = "") -> int:
    """Return a whole number in a range; true and false are none.

    Raises:
        ValueError: it is none, or out of the range.

    >>> check_count("num_steps", 0)
    Traceback (most recent call last):
    ValueError: expected num_steps, a whole number of at least 1, got 0
    >>> check_count("bits", 40, most=16)
    Traceback (most recent call last):
    ValueError: expected bits, a whole number from 1 to 16, got 40
    """
    whole = _whole(value)
    if whole is None or whole < least or (most is not None and whole > most):
        allowed = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"
        raise _error(f"{name}, {least if least == most else allowed}", value, remedy)
    return whole


def _whole(value):
    """Return a whole number as an int, and None for anything else."""
    try:
        return None if isinstance(value, bool | np.bool) else operator.index(value)
    except TypeError:
        return None


def _error(expected, value, remedy):
    return ValueError(f"expected {expected}, got {shown(value)}" + (f": {remedy}" if remedy else ""))


def check_sizes(name: str, value: Any, *, remedy: str = "") -> tuple[int, ...]:
    """Return the lengths of axes, whole numbers of at least 1, as a tuple.

    Raises:
        ValueError: they are none, or there is none.

    >>> check_sizes("latent_shape", (4, 0))
    Traceback (most recent call last):
    ValueError: expected latent_shape, whole numbers of at least 1 in a tuple, got (4, 0)
    """
    sizes = [_whole(n) for n in value] if isinstance(value, tuple | list) else []
    if not sizes or any(n is None or n < 1 for n in sizes):
        raise _error(f"{name}, whole numbers of at least 1 in a tuple", value, remedy)
    return tuple(n for n in sizes if n is not None)


def check_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
    remedy: str = "",
) -> Any:
    """Return a finite number in a range, as it is.

    Args:
        name: of the argument.
        value: a number, or an array without axes.
        above, below: limits that it may not reach.
        least: a limit that it may reach.
        remedy: what to do about another.

    Raises:
        ValueError: it is none, not finite, or out of the range.

    >>> check_number("ema_decay", 2, least=0, below=1)
    Traceback (most recent call last):
    ValueError: expected ema_decay, a number of at least 0, below 1, got 2
    """
    if isinstance(value, Tracer) and not value.shape and jnp.issubdtype(value.dtype, jnp.number):
        return value
    number = math.nan
    if not isinstance(value, bool | np.bool | str | bytes) and not np.shape(value):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    if not (math.isfinite(number) and above < number < below and least <= number):
        limits = {"above": above, "of at least": least, "below": below}
        allowed = ", ".join(f"{word} {limit:g}" for word, limit in limits.items() if math.isfinite(limit))
        raise _error(f"{name}, a number {allowed}" if allowed else f"{name}, a finite number", value, remedy)
    return value


def as_numbers(name: str, value: Any) -> np.ndarray:
    """Return numbers as an array of NumPy.

    Raises:
        TypeError: they are words, nothing, or of different lengths.

    >>> as_numbers("z", ["a"])
    Traceback (most recent call last):
    TypeError: expected z, an array of numbers, got an array <U1[1]
    """
    try:
        numbers = np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths
        raise TypeError(f"expected {name}, an array of numbers, got {shown(value)}") from None
    if not (numbers.dtype == bool or jnp.issubdtype(numbers.dtype, jnp.number)):
        raise TypeError(f"expected {name}, an array of numbers, got {shown(numbers[()])}")
    return numbers


def as_array(name: str, value: Any) -> jax.Array:
    """Return numbers as an array of JAX; see `as_numbers`.

    >>> as_array("z", None)
    Traceback (most recent call last):
    TypeError: expected z, an array of numbers, got None
    """
    return value if isinstance(value, jax.Array) else jnp.asarray(as_numbers(name, value))


def check_choice(name: str, value: Any, choices: Sequence[str], *, remedy: str = "") -> None:
    """Refuse what is none of some names.

    Raises:
        ValueError: it is none of them.

    >>> check_choice("evaluation", "runing", ["running", "batch"])
    Traceback (most recent call last):
    ValueError: expected evaluation 'running' or 'batch', got 'runing'
    """
    if not (isinstance(value, str) and value in choices):
        *others, last = map(repr, choices)
        raise _error(f"{name} {', '.join(others)} or {last}", value, remedy)


def check_key(key: Any, name: str = "key") -> None:
    """Refuse what is no typed key of random numbers.

    Raises:
        TypeError: it is none.

    >>> check_key(0)
    Traceback (most recent call last):
    TypeError: expected key, a typed key as jax.random.key(0), got 0
    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        raise TypeError(f"expected {name}, a typed key as jax.random.key(0), got {shown(key)}")
