"""Straight lines through a latent, to decode: what a direction of latent space means."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from gon_jax.arguments import as_array, check_count, check_number
from gon_jax.latents.statistics import _flatten

__all__ = ["principal_directions", "traversal"]


def traversal(z: ArrayLike, direction: int | ArrayLike, num_points: int = 9, span: float = 3.0) -> jax.Array:
    """Return the latents z + t v `[P, *latent]` for P even steps of t from -span to span, ends included.

    Args:
        z: the latent in the middle, `[*latent]`; for a batch, use vmap.
        direction: v, `[*latent]`, of any length; or i, for the i-th entry: v is 1 there and 0 elsewhere.
        num_points: P, at least 2.
        span: in lengths of v; in standard deviations for `principal_directions`.

    Raises:
        ValueError: for a direction of another shape or no such entry, fewer than two points, or a span that is not
            finite.

    >>> traversal(jnp.array([1.0, 5.0]), 0, num_points=3, span=2.0)
    Array([[-1.,  5.],
           [ 1.,  5.],
           [ 3.,  5.]], dtype=float32)
    """
    z = as_array("z", z)
    num_points = check_count("num_points", num_points, 2, remedy="the two ends are among them")
    check_number("span", span)
    if isinstance(direction, int):
        if not 0 <= direction < z.size:
            raise ValueError(f"expected an entry from 0 to {z.size - 1} as direction, got {direction}")
        v = jnp.zeros(z.size, z.dtype).at[direction].set(1).reshape(z.shape)
    else:
        v = as_array("direction", direction).astype(z.dtype)
    if v.shape != z.shape:
        raise ValueError(f"expected a direction of the latent's shape {z.shape}, got {v.shape}: is z a batch? use vmap")
    t = jnp.linspace(-span, span, num_points, dtype=z.dtype).reshape(-1, *[1] * z.ndim)
    return z + t * v


def principal_directions(z: ArrayLike, num_directions: int) -> np.ndarray:
    """Return the principal axes of latents `[num_directions, *latent]`, each as long as the deviation along it.

    Args:
        z: latents `[N, *latent]`.
        num_directions: at most N and k, those of largest variance (divisor N - 1) first.

    Raises:
        ValueError: for latents that are not finite or too few, or a number of directions that they do not have.

    >>> principal_directions(np.array([[0.0, 3.0], [1.0, 3.0], [2.0, 3.0]]), 1)
    array([[1., 0.]])
    """
    from sklearn.decomposition import PCA

    x = _flatten(z, at_least=2)
    num_directions = check_count("num_directions", num_directions, most=min(x.shape))
    pca = PCA(num_directions).fit(x)
    axes = pca.components_ * np.sqrt(pca.explained_variance_)[:, None]
    return axes.reshape(num_directions, *np.shape(z)[1:])
