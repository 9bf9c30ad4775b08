"""Which latents are near: search by example. NumPy in and out, on the host."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from gon_jax.arguments import check_choice, check_count
from gon_jax.latents.statistics import _flatten, _flatten_like

__all__ = ["nearest_neighbors"]


def nearest_neighbors(
    z_train: ArrayLike, z: ArrayLike, num_neighbors: int = 5, *, metric: Literal["euclidean", "cosine"] = "euclidean"
) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and indices `[N, num_neighbors]` of the nearest among latents, by scikit-learn, nearest first.

    Args:
        z_train: latents to search, `[M, *latent]`, M at least `num_neighbors`.
        z: latents whose neighbors are wanted, `[N, *latent]`; where they are among those searched, each is its own
            first neighbor.
        num_neighbors: how many.
        metric: "euclidean", or "cosine", 1 minus the cosine of the angle at the origin.

    Raises:
        ValueError: for latents that are not finite, too few or of different shapes, or an unknown metric.

    >>> distances, indices = nearest_neighbors([[0.0, 1.0], [5.0, 5.0], [1.0, 0.0]], [[0.0, 3.0]], 2)
    >>> distances.round(2), indices
    (array([[2.  , 3.16]]), array([[0, 2]]))
    """
    from sklearn.neighbors import NearestNeighbors

    check_choice("metric", metric, ("euclidean", "cosine"))
    check_count("num_neighbors", num_neighbors)
    search = NearestNeighbors(n_neighbors=num_neighbors, metric=metric)
    return search.fit(_flatten(z_train, at_least=num_neighbors)).kneighbors(_flatten_like(z_train, z))
