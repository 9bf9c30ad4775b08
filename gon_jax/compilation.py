"""How a program that runs once is compiled."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

__all__ = ["QUICK", "compiled_once"]

QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}  # a third of the time to compile, and a slower program


def compiled_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a pure function of arrays as one program, quickly compiled; inside a transformation, as it is.

    Without it, a function that nobody puts under `jax.jit`, such as an initialization, compiles each of its operations.

    >>> compiled_once(lambda key: jax.random.normal(key, (2,)))(jax.random.key(0)).shape
    (2,)
    """
    program = jax.jit(function, compiler_options=QUICK)

    @functools.wraps(function)
    def call(*args):
        traced = any(isinstance(leaf, Tracer) for leaf in (*jax.tree.leaves(args), jnp.zeros(())))
        return (function if traced else program)(*args)

    return call
