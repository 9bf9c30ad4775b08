"""How unlike the training data an example is: by its reconstruction, and by its latent. NumPy in and out, on the host.

Shapes: N examples x `[N, ...]`, latents z `[N, *latent]`; a score is `[N]`, and the higher, the less usual.
"""

import numpy as np
from numpy.typing import ArrayLike

from gon_jax.arguments import as_numbers
from gon_jax.latents.statistics import _flatten, _flatten_like

__all__ = ["mahalanobis_scores", "reconstruction_scores"]


def reconstruction_scores(x: ArrayLike, x_hat: ArrayLike) -> np.ndarray:
    """Return the squared error of each example, summed over data axes, `[N]`: large where the decoder cannot make x.

    Args:
        x, x_hat: examples and their reconstructions, `[N, ...]`, in the same units.

    Raises:
        ValueError: for shapes that differ.

    >>> reconstruction_scores(np.ones((2, 3)), np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 3.0]]))
    array([0., 6.])
    """
    x, x_hat = (as_numbers(name, value).astype(np.float64) for name, value in {"x": x, "x_hat": x_hat}.items())
    if x.shape != x_hat.shape or x.ndim < 2:
        raise ValueError(f"expected x and x_hat of one shape [N, ...], got {x.shape} and {x_hat.shape}: reshape one")
    return np.square(x - x_hat).reshape(len(x), -1).sum(1)


def mahalanobis_scores(z_train: ArrayLike, z: ArrayLike) -> np.ndarray:
    r"""Return the squared Mahalanobis distance of each latent to the training latents, `[N]`,

    .. math:: (z - \mu)^T \Sigma^{-1} (z - \mu),

    of their mean and covariance, the latter shrunk toward a multiple of I by Ledoit and Wolf's rule, so that few
    training latents do, too. For normal latents, the mean is about k.

    Args:
        z_train: at least two latents that differ, `[M, *latent]`.
        z: latents `[N, *latent]`.

    Raises:
        ValueError: for latents that are not finite, of different shapes, too few, or all equal.

    References: Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 88 (2004).

    >>> train = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # mean 0, covariance I
    >>> mahalanobis_scores(train, np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([ 0., 25.])
    """
    from sklearn.covariance import LedoitWolf

    train = _flatten(z_train, at_least=2)
    if (train == train[0]).all():
        raise ValueError(f"expected latents that differ, got {len(train)} equal ones: the latents have collapsed")
    return LedoitWolf().fit(train).mahalanobis(_flatten_like(z_train, z))
