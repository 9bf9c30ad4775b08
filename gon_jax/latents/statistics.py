"""How normal latents are, and how many dimensions they use.

NumPy in and out, on the host, deterministic. Shapes: N latents z [N, *latent], k = prod(latent). Every function raises
ValueError for latents that are not finite, too few, or all equal where it needs different ones.
"""

import numpy as np
from numpy.typing import ArrayLike

from gon_jax.arguments import as_numbers

__all__ = ["effective_rank", "moments", "normality", "participation_ratio", "standardize"]

_CONSTANT = 1e-6  # a standard deviation below this part of the largest entry is rounding
_MAX_PAIRED = 5_000  # latents whose pairs are all compared


def _flatten(z: ArrayLike, at_least: int = 1) -> np.ndarray:
    """Return latents as float64 [N, k], or raise ValueError."""
    z = as_numbers("latents", z)
    if z.ndim < 2 or not z.size:
        raise ValueError(f"expected latents [N, *latent] with N >= 1, got shape {z.shape}")
    if len(z) < at_least:
        raise ValueError(f"expected at least {at_least} latents, got {len(z)}: encode more data")
    z = z.reshape(len(z), -1).astype(np.float64)
    if bad := np.count_nonzero(~np.isfinite(z).all(1)):
        raise ValueError(f"expected finite latents, got {bad} of {len(z)} with NaN or infinity: has training diverged?")
    return z


def _flatten_like(z_train: ArrayLike, z: ArrayLike) -> np.ndarray:
    """Return latents as float64 [N, k], or raise ValueError where they are not of the shape of the training latents."""
    z, z_train = as_numbers("latents", z), as_numbers("latents", z_train)
    if np.shape(z)[1:] != np.shape(z_train)[1:]:
        raise ValueError(
            f"expected latents [N, *latent] of the shape of training latents {list(np.shape(z_train))}, got "
            f"{list(np.shape(z))}: are they of another model, or without the batch axis?"
        )
    return _flatten(z)


def standardize(z: ArrayLike) -> np.ndarray:
    """Return the j >= 1 dimensions that vary, float64 [N, j], each with mean 0 and variance 1 (divisor N).

    >>> standardize(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([[-1.],
           [ 1.]])
    """
    z = _flatten(z)
    std = z.std(0)
    varies = std > _CONSTANT * np.abs(z).max(0)
    if not varies.any():
        raise ValueError(f"expected latents that differ, got {len(z)} equal ones: the latents have collapsed")
    return (z - z.mean(0))[:, varies] / std[varies]


def moments(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the skewness and the excess kurtosis along the first axis, both 0 for a normal distribution.

    >>> moments([[-1.0], [1.0]])
    (array([0.]), array([-2.]))
    """
    from scipy.stats import kurtosis, skew

    values = np.asarray(values, np.float64)
    return skew(values), kurtosis(values)


def normality(z: ArrayLike) -> dict[str, float]:
    r"""Measure how far at least 20 latents, not all equal, are from a normal distribution.

    Each dimension can be normal where all together are not; Mardia's moments show that. With whitened latents w (at
    most 5,000, evenly spaced) they are, relative to their means for normal w (the denominators),

    .. math:: \frac{\frac1{N^2}\sum_{ij} (w_i \cdot w_j)^3}{k (k + 2) ((N + 1)(k + 1) - 6) / ((N + 1)(N + 3))}, \quad
              \frac{\frac1N \sum_i |w_i|^4}{k (k + 2) (N - 1) / (N + 1)}.

    Returns:
        mean_abs_skewness and mean_abs_excess_kurtosis over the dimensions that vary; the fraction of these rejected at
        5 % by D'Agostino and Pearson's test (with many latents it rejects any departure, however small);
        multivariate_skewness and multivariate_kurtosis, Mardia's: 1 for a normal distribution of any covariance, NaN
        where N <= k.

    >>> round(normality(np.linspace(-1, 1, 100)[:, None])["mean_abs_excess_kurtosis"], 2)  # uniform: -1.2
    1.2

    References: D'Agostino & Pearson, Biometrika 60 (1973); Mardia, Biometrika 57 (1970).
    """
    from scipy.stats import normaltest

    y = standardize(_flatten(z, at_least=20))
    marginal_skewness, marginal_kurtosis = (float(np.abs(moment).mean()) for moment in moments(y))
    skewness, kurtosis = _mardia(y[np.linspace(0, len(y) - 1, min(len(y), _MAX_PAIRED)).astype(int)])
    return {
        "mean_abs_skewness": marginal_skewness,
        "mean_abs_excess_kurtosis": marginal_kurtosis,
        "rejected": float((normaltest(y).pvalue < 0.05).mean()),
        "multivariate_skewness": skewness,
        "multivariate_kurtosis": kurtosis,
    }


def _mardia(y):
    """Return Mardia's skewness and kurtosis, relative to their means for normal latents."""
    n, k = y.shape
    if n <= k:
        return float("nan"), float("nan")
    u, size, _ = np.linalg.svd(y - y.mean(0), full_matrices=False)
    k = np.count_nonzero(size > _CONSTANT * size.max())
    w = u[:, :k] * np.sqrt(n)
    blocks = np.array_split(w, -(-n // 500))  # an [N, N] matrix at once would take 200 MB
    skewness = sum(((block @ w.T) ** 3).sum() for block in blocks) / n**2
    kurtosis = ((w * w).sum(1) ** 2).mean()
    normal_skewness = k * (k + 2) * ((n + 1) * (k + 1) - 6) / ((n + 1) * (n + 3))
    return float(skewness / normal_skewness), float(kurtosis / (k * (k + 2) * (n - 1) / (n + 1)))


def _relative(singular_values):
    """Return singular values relative to the largest, or raise ValueError."""
    s = np.asarray(singular_values, np.float64)
    if s.ndim != 1 or not s.size or not (np.isfinite(s).all() and (s >= 0).all()):
        raise ValueError(f"expected finite singular values of at least 0, a vector, got {s}")
    return s / (s.max() or 1)


def effective_rank(singular_values: ArrayLike) -> float:
    r"""Return exp of the entropy of normalized singular values: the number of directions in use; 0 if all are 0.

    .. math:: \exp\Big(-\sum_i p_i \log p_i\Big), \quad p_i = s_i / \sum_j s_j

    Args:
        singular_values: [n], at least 0: of a Jacobian, or standard deviations along principal axes.

    >>> round(effective_rank([2, 2, 2, 0]), 6)
    3.0

    References: Roy & Vetterli, "The effective rank", EUSIPCO 2007.
    """
    s = _relative(singular_values)
    p = s[s > 0] / (s.sum() or 1)
    return float(np.exp(-(p * np.log(p)).sum())) if p.size else 0.0


def participation_ratio(singular_values: ArrayLike) -> float:
    r"""Return the participation ratio of the variances, :math:`(\sum s^2)^2 / \sum s^4`; 0 if all are 0.

    Like `effective_rank`, of the same argument, it lies between 1 and the rank, but small directions count less.

    >>> participation_ratio([2, 2, 2, 0])
    3.0
    """
    variances = _relative(singular_values) ** 2
    return float(variances.sum() ** 2 / ((variances**2).sum() or 1))
