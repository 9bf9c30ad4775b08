"""How normal latents are, how many dimensions they use, and how well they tell labels apart.

NumPy in and out, on the host, deterministic. Shapes: N latents z [N, *latent], k = prod(latent). Every function raises
ValueError for latents that are not finite, too few, or all equal where it needs different ones.
"""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "effective_rank",
    "jacobian_spectrum",
    "knn_accuracy",
    "latent_spectrum",
    "linear_probe",
    "moments",
    "normality",
    "participation_ratio",
    "qq",
    "standardize",
]

_CONSTANT = 1e-6  # a standard deviation below this part of the largest entry is rounding
_MAX_PAIRED = 5_000  # latents whose pairs are all compared
_MAX_TRAINING = 10_000  # latents that classifiers are fitted to


def _flatten(z: ArrayLike, at_least: int = 1) -> np.ndarray:
    """Return latents as float64 [N, k], or raise ValueError."""
    z = np.asarray(z)
    if z.ndim < 2 or not z.size:
        raise ValueError(f"expected latents [N, *latent] with N >= 1, got shape {z.shape}")
    if len(z) < at_least:
        raise ValueError(f"expected at least {at_least} latents, got {len(z)}: encode more data")
    z = z.reshape(len(z), -1).astype(np.float64)
    if bad := np.count_nonzero(~np.isfinite(z).all(1)):
        raise ValueError(f"expected finite latents, got {bad} of {len(z)} with NaN or infinity: has training diverged?")
    return z


def _thin(values, at_most):
    """Return at most that many of the values, evenly spaced."""
    return values[np.linspace(0, len(values) - 1, min(len(values), at_most)).astype(int)]


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
    y = np.asarray(values, np.float64)
    y = (y - y.mean(0)) / y.std(0)
    return (y**3).mean(0), (y**4).mean(0) - 3


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
    skewness, kurtosis = _mardia(_thin(y, _MAX_PAIRED))
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


def qq(z: ArrayLike, num_points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles [P] of the normal distribution and [P, j] of each standardized dimension, at the same levels.

    Plotted against each other they lie on the diagonal for normal latents.

    Args:
        z: latents [N, *latent], not all equal.
        num_points: P at most; never more than N. The levels are (i + 1/2) / P.

    >>> normal, sample = qq(np.array([[1.0], [3.0], [2.0]]))
    >>> normal.round(2), sample[:, 0].round(2)
    (array([-0.97,  0.  ,  0.97]), array([-1.22,  0.  ,  1.22]))
    """
    from scipy.stats import norm

    y = standardize(z)
    num_points = min(num_points, len(y))
    levels = (np.arange(num_points) + 0.5) / num_points
    return norm.ppf(levels), np.quantile(y, levels, axis=0, method="hazen")  # with P = N, the sorted y themselves


def latent_spectrum(z: ArrayLike) -> np.ndarray:
    """Return standard deviations [min(N, k)] along the principal axes of N >= 2 latents, largest first (divisor N - 1).

    >>> latent_spectrum(np.array([[0.0, 1.0], [6.0, 1.0], [3.0, 1.0]]))
    array([3., 0.])
    """
    z = _flatten(z, at_least=2)
    triangle = np.linalg.qr(z - z.mean(0), mode="r")  # the same singular values, of a [k, k] matrix
    return np.linalg.svd(triangle, compute_uv=False) / np.sqrt(len(z) - 1)


def jacobian_spectrum(encoder: Any) -> np.ndarray:
    """Return the singular values [min(m, k)] of a frozen encoder's matrix, largest first.

    An encoder from one origin is affine, so its matrix is its Jacobian everywhere: in the data, or, if the likelihood
    is not folded into it, in the loss's gradient at the origin. Its rank bounds the dimensions used.

    Args:
        encoder: `gon_jax.FrozenEncoder`, anything else with a `matrix`, or a finite matrix [m, k] itself.

    >>> jacobian_spectrum(np.diag([1.0, 3.0, 0.0]))
    array([3., 1., 0.])
    """
    matrix = np.asarray(getattr(encoder, "matrix", encoder), np.float64)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():
        got = f"shape {matrix.shape} with {np.count_nonzero(~np.isfinite(matrix))} NaN or infinite entries"
        raise ValueError(f"expected a finite matrix [m, k], got {got}")
    return np.linalg.svd(matrix, compute_uv=False)


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
        singular_values: [n], at least 0, from `jacobian_spectrum` or `latent_spectrum`.

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


def _labeled(z_train, y_train, z_test, y_test):
    """Return both sets, the training set cut to _MAX_TRAINING, or raise ValueError."""
    sets = []
    for name, z, y in (("training", z_train, y_train), ("test", z_test, y_test)):
        if y is None:
            raise ValueError(f"expected labels of the {name} latents, got None: these data have no labels")
        z, y = _flatten(z), np.asarray(y)
        if y.shape != (len(z),):
            raise ValueError(f"expected one label for each of {len(z)} {name} latents, got shape {y.shape}")
        sets += [z, y]
    z, y, z_test, y_test = sets
    if z.shape[1] != z_test.shape[1]:
        sizes = f"{z.shape[1]} in training and {z_test.shape[1]} in test"
        raise ValueError(f"expected latents of one size, got {sizes}: do they come from two models?")
    return _thin(z, _MAX_TRAINING), _thin(y, _MAX_TRAINING), z_test, y_test


def linear_probe(z_train: ArrayLike, y_train: ArrayLike, z_test: ArrayLike, y_test: ArrayLike) -> float:
    """Return the test accuracy of a logistic regression from latents to labels.

    Dimensions are standardized by the training latents (at most 10,000, evenly spaced over the set); the penalty is
    scikit-learn's default.

    Args:
        z_train, z_test: latents [N, *latent] and [M, *latent].
        y_train, y_test: their labels [N], at least two different ones, and [M].

    >>> z = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    >>> linear_probe(z, [0, 0, 0, 1, 1, 1], z[1:5], [0, 0, 1, 0])  # the last label is wrong
    0.75
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    z, y, z_test, y_test = _labeled(z_train, y_train, z_test, y_test)
    if (y == y[0]).all():
        raise ValueError(f"expected at least two labels, got {y[0]} alone: is the set sorted or cut?")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 iterations do for an accuracy
        return float(probe.fit(z, y).score(z_test, y_test))


def knn_accuracy(
    z_train: ArrayLike, y_train: ArrayLike, z_test: ArrayLike, y_test: ArrayLike, *, num_neighbors: int = 5
) -> float:
    """Return the test accuracy of the majority label among the nearest training latents, by Euclidean distance.

    See `linear_probe` for the other arguments; here one label will do.

    >>> z, y = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]]), [0, 0, 0, 1, 1, 1]
    >>> knn_accuracy(z, y, z + 0.1, y, num_neighbors=3)
    1.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    z, y, z_test, y_test = _labeled(z_train, y_train, z_test, y_test)
    if not 1 <= num_neighbors <= len(z):
        raise ValueError(f"expected num_neighbors from 1 to {len(z)}, the training latents, got {num_neighbors}")
    return float(KNeighborsClassifier(num_neighbors).fit(z, y).score(z_test, y_test))
