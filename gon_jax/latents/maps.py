"""Latents in the plane, to look at; `gon_jax.plotting.save_scatter` draws them. NumPy in and out, on the host."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from gon_jax.latents.statistics import _flatten

__all__ = ["latent_map"]


def latent_map(z: ArrayLike, method: Literal["pca", "tsne", "umap"] = "pca", *, seed: int = 0) -> np.ndarray:
    """Return a point in the plane for each latent, `[N, 2]`: near points are similar latents.

    Distances and directions mean something for "pca" alone, which is linear. "tsne" and "umap" keep neighborhoods.

    Args:
        z: at least 4 latents `[N, *latent]` of at least 2 entries.
        method: "pca" or "tsne", scikit-learn's; "umap", of the package umap-learn, which gon_jax does not install.
        seed: of "tsne" and "umap".

    Raises:
        ValueError: for an unknown method, or latents that are not finite, too few, or of one entry.
        ImportError: for "umap" without umap-learn.

    >>> latent_map(np.array([[2.0, 0, 0], [-2.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])).round(6) + 0
    array([[ 2.,  0.],
           [-2.,  0.],
           [ 0.,  1.],
           [ 0., -1.]])
    """
    x = _flatten(z, at_least=4)
    if x.shape[1] < 2:
        raise ValueError("expected latents of at least 2 entries for a map, got 1: draw a histogram of them")
    if method == "pca":
        from sklearn.decomposition import PCA

        return PCA(2).fit_transform(x)
    if method == "tsne":
        from sklearn.manifold import TSNE

        return TSNE(init="pca", perplexity=min(30, (len(x) - 1) / 3), random_state=seed).fit_transform(x)
    if method == "umap":
        try:
            from umap import UMAP  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError("expected umap-learn for method 'umap', got none: pip install umap-learn") from error
        return UMAP(n_neighbors=min(15, len(x) - 1), n_jobs=1, random_state=seed).fit_transform(x)
    raise ValueError(f"expected method 'pca', 'tsne' or 'umap', got {method!r}")
