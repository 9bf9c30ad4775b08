"""Coordinates of points in space: what an implicit decoder is a function of."""

import jax
import jax.numpy as jnp


def grid(*sizes: int) -> jax.Array:
    """Return the points of a regular grid on [-1, 1]^d, its corners among them.

    Args:
      *sizes: points along each of d axes, in the order of the axes of the data: rows, columns, ...

    Returns:
      `[*sizes, d]` float32; entry [i, j] is (row coordinate i, column coordinate j). An axis of one point lies at -1.

    Raises:
      ValueError: if a size is not a positive integer, or none is given.

    >>> grid(2, 3)[1]
    Array([[ 1., -1.],
           [ 1.,  0.],
           [ 1.,  1.]], dtype=float32)
    """
    if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise ValueError(f"expected a positive number of points for each axis, got {sizes}; grid(28, 28) for an image")
    axes = [jnp.linspace(-1, 1, size, dtype=jnp.float32) for size in sizes]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)
