"""Functions of a batch as bytes: programs that JAX runs for any number of examples, without this package."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp

__all__ = ["export_function"]


def export_function(
    function: Callable[[jax.Array], Any],
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike = jnp.float32,
    *,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> bytearray:
    """Return the program of a function of `[B, *shape]`, for any B of at least 1, as `jax.export` serializes it.

    What the function closes over, such as parameters, is part of the program.

    Args:
        function: `partial(model.encode, variables)`, `partial(model.decode, variables)`, or any other pure function,
            such as `gon_jax.inference.frozen_encoder(model, variables)`.
        shape: of one example: `model.data_shape` or `model.latent_shape`.
        dtype: of the argument; `jnp.uint8` for images that are to be divided by 255.
        platforms: where it can run; none of these needs to be at hand.

    Raises:
        ImportError: without the package flatbuffers.

    >>> from functools import partial
    >>> from gon_jax.decoders import mlp_decoder
    >>> from gon_jax.models import gon
    >>> model = gon(mlp_decoder((4,), (2,), hidden_dim=3))
    >>> variables = model.init(jax.random.key(0))
    >>> program = export_function(partial(model.encode, variables), model.data_shape)
    >>> jax.export.deserialize(program).call(jnp.ones((5, 4))).shape
    (5, 2)
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "expected the package flatbuffers, by which jax.export serializes, got none; it is not installed by "
            "default: pip install 'gon_jax[export]'"
        )
    x = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), *shape), dtype)
    return jax.export.export(jax.jit(function), platforms=platforms)(x).serialize()
