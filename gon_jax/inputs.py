"""What models take: a batch of examples or of latents, as floats of the right shape. Anything else is named in a line.

Shapes and types are known while a function is traced: compiled functions are checked once, and then at no cost.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from gon_jax.arguments import as_array

__all__ = ["as_examples", "as_latents", "to_unit"]


def to_unit(data: ArrayLike) -> jax.Array:
    """Return data as floats in [0, 1]: uint8 divided by 255 in float32, floats as they are.

    Raises:
        ValueError: the dtype is neither.
        TypeError: these are no numbers.

    Example:
        >>> to_unit(jnp.array([0, 255], jnp.uint8)).tolist()
        [0.0, 1.0]
    """
    data = as_array("data", data)
    if data.dtype == jnp.uint8:
        return data.astype(jnp.float32) / 255
    if jnp.issubdtype(data.dtype, jnp.floating):
        return data
    raise ValueError(f"expected uint8 or floating-point data, got {data.dtype}: cast 0..255 to uint8 first")


def as_examples(x: ArrayLike, data_shape: tuple[int, ...]) -> jax.Array:
    """Return examples `[B, *data_shape]` as a model computes with them: `to_unit`, in 32 bits at least.

    Raises:
        ValueError: for integers other than uint8, floats that are bytes in truth (where they are not traced), another
            shape, or no example.

    >>> as_examples(jnp.full((1, 2), 255, jnp.uint8), (2,))
    Array([[1., 1.]], dtype=float32)
    >>> as_examples(jnp.zeros((5, 3, 8, 8)), (8, 8, 3))
    Traceback (most recent call last):
    ValueError: expected x [B, 8, 8, 3], got [5, 3, 8, 8]: it looks like channels first, use jnp.moveaxis(x, 1, -1)
    """
    remedy = "these are other data than the model is made for, resize them or make a model for their shape"
    x = to_unit(x)
    if _are_bytes(x):
        raise ValueError("expected x in [0, 1], got whole numbers up to 255 as floats: divide them by 255")
    return _checked("x", x, data_shape, remedy)


def _are_bytes(x):
    """Return whether floats are bytes in truth: whole numbers up to 255, and not small ones alone."""
    if isinstance(x, Tracer) or not x.size or any(device.platform != "cpu" for device in x.devices()):
        return False  # unknown yet, or dear to look at
    values = np.asarray(x)
    return bool(16 < values.max() <= 255 and values.min() >= 0 and (values == values.round()).all())


def as_latents(z: ArrayLike, latent_shape: tuple[int, ...]) -> jax.Array:
    """Return latents `[B, *latent_shape]` as a model computes with them: floats of 32 bits at least.

    Raises:
        ValueError: for integers, or another shape.
    """
    z = as_array("z", z)
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise ValueError(f"expected floating-point z, got {z.dtype}: images or labels in place of latents?")
    return _checked("z", z, latent_shape, "these are latents of another model, use those of this model's encode")


def _checked(name, value, shape, remedy):
    """Return a batch `[B, *shape]`, or raise an error with the likely cause; `remedy` is for no known cause."""
    got = value.shape
    if len(got) == len(shape) + 1 and got[1:] == shape and got[0] == 0:
        raise ValueError(f"expected at least one example, got {name} {list(got)}")
    if len(got) == len(shape) + 1 and got[1:] == shape:
        return value.astype(jnp.float32) if value.dtype.itemsize < 4 else value
    if got == shape:
        remedy = f"one example without a batch axis, use {name}[None]"
    elif shape and got[1:] == (shape[-1], *shape[:-1]):
        remedy = f"it looks like channels first, use jnp.moveaxis({name}, 1, -1)"
    elif shape and shape[-1] == 1 and got[1:] == shape[:-1]:
        remedy = f"without a channel axis, use {name}[..., None]"
    elif len(got) == 2 and got[1] == math.prod(shape):
        remedy = f"flattened, use {name}.reshape({', '.join(map(str, (-1, *shape)))})"
    expected = ", ".join(map(str, ("B", *shape)))
    raise ValueError(f"expected {name} [{expected}], got {list(got)}: {remedy}")
