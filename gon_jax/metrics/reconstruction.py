"""The error of what is reconstructed, for each example."""

import jax
import jax.numpy as jnp

from gon_jax.data import to_unit
from gon_jax.inference import Array
from gon_jax.likelihoods import sum_per_example

__all__ = ["psnr", "squared_errors"]


def squared_errors(x_hat: Array, x: Array) -> jax.Array:
    """Return the squared error of each example `[B]`, summed over data axes, in squared intensity; bytes are 0 to 1.

    Raises:
        ValueError: for two shapes, or whole numbers that are not bytes.

    >>> squared_errors(jnp.zeros((2, 3)), jnp.ones((2, 3)))
    Array([3., 3.], dtype=float32)
    """
    x_hat, x = to_unit(x_hat), to_unit(x)
    if not x.shape or x_hat.shape != x.shape:
        raise ValueError(f"expected x_hat and x of one shape [B, ...], got {x_hat.shape} and {x.shape}")
    return sum_per_example(jnp.square(x - x_hat))


def psnr(x_hat: Array, x: Array) -> jax.Array:
    """Return the peak signal-to-noise ratio of each example `[B]` in decibels, for intensities in [0, 1]; at most 100.

    >>> psnr(jnp.full((1, 4), 0.1), jnp.zeros((1, 4)))
    Array([20.], dtype=float32)
    """
    mean_squared_error = squared_errors(x_hat, x) * (x.shape[0] / x.size)
    return -10 * jnp.log10(jnp.maximum(mean_squared_error, 1e-10))
