"""Coordinates of points in space: what an implicit decoder is a function of."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gon_jax.arguments import as_array, check_count, check_sizes

__all__ = ["check_coordinates", "grid", "morton_order", "stratified_subset"]


def grid(*sizes: int) -> jax.Array:
    """Return the points of a regular grid on [-1, 1]^d, its corners among them.

    Args:
        *sizes: points along each of d axes, in the order of the axes of the data: rows, columns, ...

    Returns:
        `[*sizes, d]` float32; entry [i, j] is (row coordinate i, column coordinate j). An axis of one point lies at -1.

    >>> grid(2, 3)[1]
    Array([[ 1., -1.],
           [ 1.,  0.],
           [ 1.,  1.]], dtype=float32)
    """
    check_sizes("sizes", sizes, remedy="grid(28, 28) is an image's")
    axes = [jnp.linspace(-1, 1, size, dtype=jnp.float32) for size in sizes]
    return jnp.stack(jnp.meshgrid(*axes, indexing="ij"), axis=-1)


def morton_order(*sizes: int) -> jax.Array:
    """Return the flat indices of the points of `grid(*sizes)` in Morton's (Z) order, int32.

    Equal strata of this order are compact cells, and not bands of rows. Sizes need not be powers of two.

    >>> morton_order(2, 4)
    Array([0, 1, 4, 5, 2, 3, 6, 7], dtype=int32)
    """
    check_sizes("sizes", sizes, remedy="grid(28, 28) is an image's")
    axes = [axis.reshape(-1) for axis in jnp.indices(sizes, jnp.int32)]
    bits = range(max(sizes).bit_length())
    return jnp.lexsort([(axis >> bit) & 1 for bit in bits for axis in axes[::-1]]).astype(jnp.int32)


def stratified_subset(key: jax.Array, num_total: int, num_points: int) -> jax.Array:
    """Draw one of N points from each of n <= N equal strata of their order: a Monte-Carlo integral's points.

    Stratum i is [i N / n, (i + 1) N / n) of the line, point j the unit [j, j + 1) of it; so each point is drawn n / N
    times in expectation, exactly (a point that two strata share, perhaps twice), and N / n times the sum over the
    subset estimates the sum over all points without bias.

    Returns:
        Indices `[n]` int32, ascending. `morton_order(*sizes)[indices]` takes them along a curve of compact cells.

    >>> stratified_subset(jax.random.key(0), 8, 4) // 2
    Array([0, 1, 2, 3], dtype=int32)
    """
    check_count("num_points", num_points, most=num_total, remedy=f"there are {num_total} points")
    starts = [divmod(i * num_total, num_points) for i in range(num_points)]  # no overflow at any size
    quotient, remainder = jnp.array(starts, jnp.int32).T
    offset = jax.random.randint(key, (num_points,), 0, num_total, jnp.int32)  # in units of 1 / n: no rounding
    return quotient + (remainder + offset) // num_points


def check_coordinates(coordinates: ArrayLike, num_dimensions: int | None = None) -> None:
    """Refuse what is not floats `[*spatial, d]`, or has another dimension d than a network.

    >>> check_coordinates(grid(8), 2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: expected points of 2 dimensions, [*spatial, 2], got (8, 1); ...
    """
    coordinates = as_array("coordinates", coordinates)
    shape, dtype = coordinates.shape, coordinates.dtype
    if len(shape) < 2 or 0 in shape or not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(
            f"expected floating-point coordinates [*spatial, d], got {dtype} {shape}; gon_jax.coordinates.grid(28, 28) "
            "are those of an image, points on a line are [N, 1]"
        )
    if num_dimensions not in (None, shape[-1]):
        raise ValueError(
            f"expected points of {num_dimensions} dimensions, [*spatial, {num_dimensions}], got {shape}; the last axis "
            "holds a point's coordinates, as in gon_jax.coordinates.grid"
        )
