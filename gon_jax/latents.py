"""Latent codes: paths between them, and distributions fitted to them. Shapes: B paths, N codes, k = prod(latent)."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


def _safe_norm(z):
    """The Euclidean norm over all axes; 0, with gradient 0, where its square underflows."""
    square = jnp.sum(z * z)
    positive = square > jnp.finfo(z.dtype).tiny
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def slerp(z_a: jax.Array, z_b: jax.Array, t: float | jax.Array) -> jax.Array:
    r"""Interpolate from z_a to z_b with the direction on the great circle and the norm linear in t.

    With theta the angle between the codes and r(t) = (1 - t) |z_a| + t |z_b|,

    .. math:: z(t) = \frac{r(t)}{\sin\theta} \left( \sin((1-t)\theta) \frac{z_a}{|z_a|}
              + \sin(t\theta) \frac{z_b}{|z_b|} \right).

    The ends are exact. Parallel, opposite and zero codes fix no great circle: there the path is the straight line
    (through the origin, between opposite codes), so values and gradients are finite everywhere.

    Args:
      z_a, z_b: codes [*latent], floating point; for a batch, vmap or `slerp_path`.
      t: position, scalar; 0 gives z_a and 1 gives z_b.

    Returns:
      The code at t, [*latent].

    Raises:
      ValueError: the shapes of the two codes differ.

    Example:
      >>> slerp(jnp.array([1., 0.]), jnp.array([0., 3.]), 0.5).round(4)  # the norm is 2, at 45 degrees
      Array([1.4142, 1.4142], dtype=float32)
    """
    z_a, z_b = jnp.asarray(z_a), jnp.asarray(z_b)
    if z_a.shape != z_b.shape:
        raise ValueError(f"slerp: expected two codes of one shape, got {z_a.shape} and {z_b.shape}: "
                         "one of them probably has a batch axis; use vmap or slerp_path")
    t = jnp.asarray(t, z_a.dtype)
    norm_a, norm_b = _safe_norm(z_a), _safe_norm(z_b)
    nonzero = (norm_a > 0) & (norm_b > 0)
    norm_a, norm_b = jnp.where(nonzero, norm_a, 1), jnp.where(nonzero, norm_b, 1)
    cosine = jnp.sum((z_a / norm_a) * (z_b / norm_b))
    curved = nonzero & (jnp.abs(cosine) < 1 - 8 * jnp.finfo(z_a.dtype).eps)
    theta = jnp.arccos(jnp.where(curved, cosine, 0))  # the inner where keeps the unused branch's gradient finite
    # Written so that the ends are exact: XLA may divide by a product with the reciprocal, which makes x / x a rounding
    # off 1, and sines of vectors and of scalars may differ.
    s = jnp.where(t < 0.5, t, 1 - t)  # from the nearer end
    nearer = jnp.cos(s * theta) - jnp.sin(s * theta) / jnp.tan(theta)
    farther = jnp.sin(s * theta) / jnp.sin(theta)
    arc_a, arc_b = jnp.where(t < 0.5, nearer, farther), jnp.where(t < 0.5, farther, nearer)
    weight_a = jnp.where(curved, arc_a * (1 - t + t * (norm_b / norm_a)), 1 - t)
    weight_b = jnp.where(curved, arc_b * (t + (1 - t) * (norm_a / norm_b)), t)
    return weight_a * z_a + weight_b * z_b


def slerp_path(z_a: jax.Array, z_b: jax.Array, num_points: int) -> jax.Array:
    """Interpolate between pairs of codes at evenly spaced points, both ends included.

    Args:
      z_a, z_b: codes [B, *latent].
      num_points: P, at least 2.

    Returns:
      The paths [B, P, *latent]; `[:, 0]` is z_a and `[:, -1]` is z_b.

    Raises:
      ValueError: the shapes differ, or num_points is below 2.

    Example:
      >>> slerp_path(jnp.ones((4, 8)), -jnp.ones((4, 8)), 10).shape
      (4, 10, 8)
    """
    if num_points < 2:
        raise ValueError(f"slerp_path: expected num_points of at least 2, the two ends, got {num_points}")
    z_a, z_b = jnp.asarray(z_a), jnp.asarray(z_b)
    t = jnp.linspace(0, 1, num_points, dtype=z_a.dtype)
    return jax.vmap(jax.vmap(slerp, (None, None, 0)), (0, 0, None))(z_a, z_b, t)


class Gaussian(NamedTuple):
    """A normal distribution over codes: mean [k] and the lower triangular factor chol [k, k] of its covariance."""

    mean: jax.Array
    chol: jax.Array


class Mixture(NamedTuple):
    """A mixture of M normal distributions over codes: weights [M], means [M, k], chols [M, k, k]."""

    weights: jax.Array
    means: jax.Array
    chols: jax.Array


def fit_gaussian(z: jax.Array) -> Gaussian:
    """Fit a normal distribution with full covariance to codes.

    The factor comes from the QR decomposition of the centred codes: the covariance is never formed, so its condition is
    not squared. A variance of machine epsilon times the mean variance is added to every direction, so few codes
    (N <= k) work too, at any scale. Codes that are all equal give a factor of zeros.

    Args:
      z: codes [N, *latent], floating point, N >= 1.

    Returns:
      `Gaussian` with mean [k] and chol [k, k], such that chol @ chol.T is the covariance (divisor N - 1).

    Raises:
      ValueError: there are no codes.

    Example:
      >>> prior = fit_gaussian(jnp.array([[0., 1.], [6., 1.], [3., 1.]]))
      >>> prior.mean, jnp.diag(prior.chol).round(2)
      (Array([3., 1.], dtype=float32), Array([3., 0.], dtype=float32))
    """
    z = jnp.asarray(z)
    if z.ndim < 2 or not z.size:
        raise ValueError(f"fit_gaussian: expected codes [N, *latent] with N >= 1, got shape {z.shape}")
    z = z.reshape(len(z), -1)
    mean = z.mean(0)
    rows = (z - mean) / max(len(z) - 1, 1) ** 0.5                                                    # [N, k]
    jitter = jnp.sqrt(jnp.finfo(z.dtype).eps * jnp.mean(jnp.sum(rows * rows, 0)))
    upper = jnp.linalg.qr(jnp.concatenate([rows, jitter * jnp.eye(z.shape[1], dtype=z.dtype)]), mode="r")  # [k, k]
    return Gaussian(mean, jnp.where(jnp.diag(upper) < 0, -upper.T, upper.T))


def fit_mixture(z: jax.Array, num_components: int | None = None, seed: int = 0) -> Mixture:
    """Fit a mixture of normal distributions with full covariances to codes, by scikit-learn's EM.

    Each latent dimension is standardised first, because codes of a GON may be of any scale (1e-3 or 1e2); so the 1e-6
    that is added to the variances is relative to each dimension's own variance.

    Args:
      z: codes [N, *latent], floating point, N >= 2; concrete, not traced.
      num_components: M; by default N // (10 k), at least 1 and at most 50: ten codes a dimension in every component.
      seed: of the initialisation by k-means.

    Returns:
      `Mixture` with weights [M], means [M, k], chols [M, k, k], in the dtype of z.

    Raises:
      ValueError: a code is not finite, or there are fewer codes than components, or than 2.

    Example:
      >>> z = jnp.concatenate([jnp.zeros((30, 1)), jnp.ones((90, 1))])
      >>> fit_mixture(z, num_components=2).weights.sort()
      Array([0.25, 0.75], dtype=float32)
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    codes = np.asarray(z)
    dtype, codes = codes.dtype, codes.reshape(len(codes), -1).astype(np.float64)
    if num_components is None:
        num_components = min(max(len(codes) // (10 * codes.shape[1]), 1), 50)
    if len(codes) < max(num_components, 2):
        raise ValueError(f"fit_mixture: expected at least {max(num_components, 2)} codes for {num_components} "
                         f"components, got {len(codes)}: encode more data or lower num_components")
    if not np.isfinite(codes).all():
        bad = np.count_nonzero(~np.isfinite(codes).all(1))
        raise ValueError(f"fit_mixture: expected finite codes, got {bad} of {len(codes)} with NaN or infinity: "
                         "the training has probably diverged")
    mean, std = codes.mean(0), codes.std(0)
    std[std == 0] = 1
    mixture = GaussianMixture(num_components, reg_covar=1e-6, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # EM stopped early, or on repeated codes, is a prior too
        mixture.fit((codes - mean) / std)
    chols = np.linalg.cholesky(mixture.covariances_) * std[:, None]
    return Mixture(*(jnp.asarray(a, dtype) for a in (mixture.weights_, mixture.means_ * std + mean, chols)))


def sample_prior(prior: Gaussian | Mixture, key: jax.Array, num: int, latent_shape: tuple[int, ...]) -> jax.Array:
    """Draw codes from a fitted prior.

    Args:
      prior: `Gaussian` or `Mixture` over k dimensions.
      key: a typed PRNG key.
      num: how many codes, static.
      latent_shape: shape of one code, static, with k entries.

    Returns:
      Codes [num, *latent] in the dtype of the prior.

    Raises:
      ValueError: latent_shape does not have k entries.

    Example:
      >>> prior = fit_gaussian(jnp.eye(4))
      >>> sample_prior(prior, jax.random.key(0), 5, (2, 2)).shape
      (5, 2, 2)
    """
    k = prior[-1].shape[-1]
    if np.prod(latent_shape, dtype=int) != k:
        raise ValueError(f"sample_prior: expected a latent_shape of {k} entries, the prior's, got "
                         f"{tuple(latent_shape)}: the prior was probably fitted to another model's codes")
    key_component, key_noise = jax.random.split(key)
    noise = jax.random.normal(key_noise, (num, k), prior[-1].dtype)
    if isinstance(prior, Gaussian):
        z = prior.mean + noise @ prior.chol.T
    else:
        component = jax.random.categorical(key_component, jnp.log(prior.weights), shape=(num,))
        z = prior.means[component] + jnp.einsum("nij,nj->ni", prior.chols[component], noise)
    return z.reshape(num, *latent_shape)
