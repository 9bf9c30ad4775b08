"""What codes are like: how normal, of how many dimensions, and how much of the labels they tell.

NumPy in and out, on the host, deterministic. Shapes: N codes `[N, *latent]`, k = prod(latent).
"""

import warnings
from typing import NamedTuple

import numpy as np

CONSTANT = 1e-6  # a standard deviation below this part of the largest entry is rounding
NUM_PAIRED = 5_000  # codes that every pair of is looked at, at most


def _codes(name, z, at_least=1):
    """Return codes as float64 `[N, k]`, or say what is wrong with them."""
    z = np.asarray(z)
    if z.ndim < 2 or not z.size:
        raise ValueError(f"{name}: expected codes [N, *latent] with N >= 1, got shape {z.shape}")
    if len(z) < at_least:
        raise ValueError(f"{name}: expected at least {at_least} codes, got {len(z)}: encode more data")
    z = z.reshape(len(z), -1).astype(np.float64)
    bad = np.count_nonzero(~np.isfinite(z).all(1))
    if bad:
        raise ValueError(
            f"{name}: expected finite codes, got {bad} of {len(z)} with NaN or infinity: "
            "the training has probably diverged"
        )
    return z


def _standardized(name, z):
    """Return the dimensions that vary `[N, j]`, of mean 0 and variance 1 (divisor N), and which they are `[k]`."""
    std = z.std(0)
    varies = std > CONSTANT * np.abs(z).max(0)
    if not varies.any():
        raise ValueError(f"{name}: expected codes that differ, got {len(z)} equal ones: the codes have collapsed")
    return ((z - z.mean(0)) / np.where(varies, std, 1))[:, varies], varies


def _spread(num, at_most):
    """Return indices of up to `at_most` of `num` rows, spread evenly."""
    return np.linspace(0, num - 1, min(num, at_most)).astype(int)


class Normality(NamedTuple):
    """How far codes are from a normal distribution; NaN for dimensions that do not vary.

    Attributes:
        skewness: `[k]`, third moment of the standardized codes; 0 for a normal distribution.
        excess_kurtosis: `[k]`, fourth moment less 3; 0 for a normal distribution.
        p_value: `[k]`, of D'Agostino and Pearson's test that combines the two. With many codes it rejects any
            departure, however small; how large they are is what the moments say.
        multivariate_skewness, multivariate_kurtosis: Mardia's, over their means for as many normal codes of that many
            dimensions: 1 for a normal distribution, whatever its covariance. NaN where N <= k.
    """

    skewness: np.ndarray
    excess_kurtosis: np.ndarray
    p_value: np.ndarray
    multivariate_skewness: float
    multivariate_kurtosis: float

    def summary(self) -> dict[str, float]:
        """Return one number of each: means of absolute values, and the part of dimensions rejected at 5 %."""
        varies = np.isfinite(self.p_value)
        return {
            "mean_abs_skewness": float(np.abs(self.skewness[varies]).mean()),
            "mean_abs_excess_kurtosis": float(np.abs(self.excess_kurtosis[varies]).mean()),
            "rejected": float((self.p_value[varies] < 0.05).mean()),
            "multivariate_skewness": self.multivariate_skewness,
            "multivariate_kurtosis": self.multivariate_kurtosis,
        }


def normality(z) -> Normality:
    r"""Measure how far codes are from a normal distribution, dimension by dimension and together.

    Each dimension can look normal where the codes together do not; Mardia's moments see that. With the codes whitened
    to w, and their means for normal w in k dimensions below the lines,

    $$ \frac{\frac1{N^2}\sum_{ij} (w_i \cdot w_j)^3}{k (k + 2) ((N + 1)(k + 1) - 6) / ((N + 1)(N + 3))}, \quad
       \frac{\frac1N \sum_i |w_i|^4}{k (k + 2) (N - 1) / (N + 1)}. $$

    Args:
        z: codes `[N, *latent]`, N >= 20. The multivariate figures take 5,000 of them at most, spread evenly.

    Raises:
        ValueError: fewer than 20 codes, codes that are not finite, or that are all equal.

    >>> normality(np.linspace(-1, 1, 100)[:, None]).excess_kurtosis.round(2)  # a uniform distribution's
    array([-1.2])

    References: D'Agostino & Pearson, Biometrika 60 (1973); Mardia, Biometrika 57 (1970).
    """
    from scipy import stats

    z = _codes("normality", z, at_least=20)
    y, varies = _standardized("normality", z)
    figures = np.full((3, z.shape[1]), np.nan)
    figures[:, varies] = stats.skew(y), stats.kurtosis(y), stats.normaltest(y).pvalue
    return Normality(*figures, *_mardia(y[_spread(len(y), NUM_PAIRED)]))


def _mardia(y):
    """Return Mardia's skewness and kurtosis over what normal codes have on average."""
    u, size, _ = np.linalg.svd(y - y.mean(0), full_matrices=False)
    n, k = len(y), np.count_nonzero(size > CONSTANT * size.max())
    if n <= y.shape[1]:
        return float("nan"), float("nan")
    w = u[:, :k] * np.sqrt(n)
    blocks = np.array_split(w, -(-n // 500))  # an [N, N] matrix at once would take 200 MB
    skewness = sum(((block @ w.T) ** 3).sum() for block in blocks) / n**2
    kurtosis = ((w * w).sum(1) ** 2).mean()
    normal_skewness = k * (k + 2) * ((n + 1) * (k + 1) - 6) / ((n + 1) * (n + 3))
    return float(skewness / normal_skewness), float(kurtosis / (k * (k + 2) * (n - 1) / (n + 1)))


def qq(z, num_points: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Return quantiles of the normal distribution, and of each dimension of the standardized codes at the same levels.

    Plotted against each other they lie on the diagonal for normal codes.

    Args:
        z: codes `[N, *latent]`, N >= 2.
        num_points: P at most; never more than N. The levels are (i + 1/2) / P.

    Returns:
        Theoretical `[P]` and sample quantiles `[P, k]`; NaN for dimensions that do not vary.

    Raises:
        ValueError: fewer than 2 codes, codes that are not finite, or that are all equal.

    >>> theoretical, sample = qq(np.array([[1.0], [3.0], [2.0]]))
    >>> theoretical.round(2), sample[:, 0].round(2)
    (array([-0.97,  0.  ,  0.97]), array([-1.22,  0.  ,  1.22]))
    """
    from scipy.stats import norm

    z = _codes("qq", z, at_least=2)
    y, varies = _standardized("qq", z)
    num_points = min(num_points, len(y))
    levels = (np.arange(num_points) + 0.5) / num_points
    sample = np.full((num_points, z.shape[1]), np.nan)
    sample[:, varies] = np.quantile(y, levels, axis=0, method="hazen")  # with P = N, the sorted codes themselves
    return norm.ppf(levels), sample


def code_spectrum(z) -> np.ndarray:
    """Return the standard deviations of codes along their principal axes `[min(N, k)]`, largest first (divisor N - 1).

    Args:
        z: codes `[N, *latent]`, N >= 2.

    Raises:
        ValueError: fewer than 2 codes, or codes that are not finite.

    >>> code_spectrum(np.array([[0.0, 1.0], [6.0, 1.0], [3.0, 1.0]]))
    array([3., 0.])
    """
    z = _codes("code_spectrum", z, at_least=2)
    triangle = np.linalg.qr(z - z.mean(0), mode="r")  # the same singular values, of k rows in place of N
    return np.linalg.svd(triangle, compute_uv=False) / np.sqrt(len(z) - 1)


def jacobian_spectrum(encoder) -> np.ndarray:
    """Return the singular values of a frozen encoder's matrix `[min(m, k)]`, largest first.

    An encoder from one origin is affine, so this matrix is its Jacobian everywhere: in the data, or, where the
    likelihood could not be folded into it, in the loss's gradient at the origin. Its rank is how many latents the codes
    can use.

    Args:
        encoder: `gon_jax.FrozenEncoder`, anything else with a `matrix`, or a matrix `[m, k]` itself.

    Raises:
        ValueError: a matrix that is no matrix, or not finite.

    >>> jacobian_spectrum(np.diag([1.0, 3.0, 0.0]))
    array([3., 1., 0.])
    """
    matrix = np.asarray(getattr(encoder, "matrix", encoder))
    if matrix.ndim != 2:
        raise ValueError(f"jacobian_spectrum: expected a matrix [m, k], got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError("jacobian_spectrum: expected a finite matrix, got NaN or infinity: the training has diverged")
    return np.linalg.svd(matrix.astype(np.float64), compute_uv=False)


def _singular_values(name, singular_values):
    s = np.asarray(singular_values, np.float64)
    if s.ndim != 1 or not s.size or not (np.isfinite(s).all() and (s >= 0).all()):
        raise ValueError(f"{name}: expected finite singular values of at least 0, a vector, got {s}")
    return s / (s.max() or 1)


def effective_rank(singular_values) -> float:
    r"""Return exp of the entropy of the normalized singular values: how many directions are in use; 0 if all are 0.

    $$ \exp\Big(-\sum_i p_i \log p_i\Big), \quad p_i = s_i / \sum_j s_j $$

    Args:
        singular_values: `[n]`, from `jacobian_spectrum` or `code_spectrum`.

    Raises:
        ValueError: negative or not finite.

    >>> round(effective_rank([2, 2, 2, 0]), 6)
    3.0

    References: Roy & Vetterli, "The effective rank", EUSIPCO 2007.
    """
    s = _singular_values("effective_rank", singular_values)
    s = s[s > 0]
    if not s.size:
        return 0.0
    p = s / s.sum()
    return float(np.exp(-(p * np.log(p)).sum()))


def participation_ratio(singular_values) -> float:
    r"""Return the participation ratio of the variances s^2, (sum s^2)^2 / sum s^4; 0 if all are 0.

    Like `effective_rank` between 1 and the rank, but of variances, so that small directions count less.

    Args:
        singular_values: `[n]`, from `jacobian_spectrum` or `code_spectrum`.

    Raises:
        ValueError: negative or not finite.

    >>> participation_ratio([2, 2, 2, 0])
    3.0
    """
    variances = _singular_values("participation_ratio", singular_values) ** 2
    return float(variances.sum() ** 2 / ((variances**2).sum() or 1))


def _labeled(name, z_train, y_train, z_test, y_test, max_codes):
    """Return both sets, checked, the training set cut down to `max_codes` spread evenly."""
    sets = []
    for words, z, y in (("training", z_train, y_train), ("test", z_test, y_test)):
        if y is None:
            raise ValueError(f"{name}: expected labels of the {words} codes, got None: these data have no labels")
        z, y = _codes(name, z), np.asarray(y)
        if y.shape != (len(z),):
            raise ValueError(f"{name}: expected one label for each of {len(z)} {words} codes, got shape {y.shape}")
        sets.append((z, y))
    (z, y), (z_test, y_test) = sets
    if z.shape[1] != z_test.shape[1]:
        raise ValueError(
            f"{name}: expected codes of one size, got {z.shape[1]} in training and {z_test.shape[1]} in test: "
            "of two models?"
        )
    index = _spread(len(z), max_codes)
    return z[index], y[index], z_test, y_test


def linear_probe(z_train, y_train, z_test, y_test, *, max_codes: int = 10_000) -> float:
    """Return the accuracy on test codes of a logistic regression fitted to training codes.

    How much of the labels lies open in the codes. Dimensions are standardized by the training codes; the penalty is
    scikit-learn's default.

    Args:
        z_train, z_test: codes `[N, *latent]`, `[M, *latent]`.
        y_train, y_test: labels `[N]`, `[M]`, at least two different ones.
        max_codes: training codes at most, spread evenly over the set.

    Raises:
        ValueError: no labels, not one a code, or all the same; codes that are not finite, or of different sizes.

    >>> z = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    >>> linear_probe(z, [0, 0, 0, 1, 1, 1], z[1:5], [0, 0, 1, 0])  # the last label is wrong
    0.75
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    z, y, z_test, y_test = _labeled("linear_probe", z_train, y_train, z_test, y_test, max_codes)
    if (y == y[0]).all():
        raise ValueError(f"linear_probe: expected at least two labels, got {y[0]} alone: is the set sorted or cut?")
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 iterations do for an accuracy
        return float(probe.fit(z, y).score(z_test, y_test))


def knn_accuracy(z_train, y_train, z_test, y_test, *, k: int = 5, max_codes: int = 10_000) -> float:
    """Return the accuracy on test codes of the majority among the k nearest training codes, by Euclidean distance.

    How well distance in latent space, as it is, tells the labels apart.

    Args:
        z_train, y_train, z_test, y_test, max_codes: as for `linear_probe`.
        k: neighbors.

    Raises:
        ValueError: as `linear_probe`, though one label will do; or fewer training codes than k.

    >>> z = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    >>> knn_accuracy(z, [0, 0, 0, 1, 1, 1], z + 0.1, [0, 0, 0, 1, 1, 1], k=3)
    1.0
    """
    from sklearn.neighbors import KNeighborsClassifier

    z, y, z_test, y_test = _labeled("knn_accuracy", z_train, y_train, z_test, y_test, max_codes)
    if not 1 <= k <= len(z):
        raise ValueError(f"knn_accuracy: expected k from 1 to {len(z)}, the training codes, got {k}")
    return float(KNeighborsClassifier(k).fit(z, y).score(z_test, y_test))
