"""Distributions fitted to latents. Shapes: N latents, k = prod(latent)."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


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

    The factor comes from the QR decomposition of the centered latents: the covariance is never formed, so its condition
    is not squared. A variance of machine epsilon times the mean variance is added to every direction, so few latents
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
    rows = (z - mean) / max(len(z) - 1, 1) ** 0.5  # [N, k]
    jitter = jnp.sqrt(jnp.finfo(z.dtype).eps * jnp.mean(jnp.sum(rows * rows, 0)))
    upper = jnp.linalg.qr(jnp.concatenate([rows, jitter * jnp.eye(z.shape[1], dtype=z.dtype)]), mode="r")  # [k, k]
    return Gaussian(mean, jnp.where(jnp.diag(upper) < 0, -upper.T, upper.T))


def fit_mixture(z: jax.Array, num_components: int | None = None, seed: int = 0) -> Mixture:
    """Fit a mixture of normal distributions with full covariances to codes, by scikit-learn's EM.

    Each latent dimension is standardized first, because codes of a GON may be of any scale (1e-3 or 1e2); so the 1e-6
    that is added to the variances is relative to each dimension's own variance.

    Args:
        z: codes [N, *latent], floating point, N >= 2; concrete, not traced.
        num_components: M; by default N // (10 k), at least 1 and at most 50: ten codes a dimension in every component.
        seed: of the initialization by k-means.

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
        raise ValueError(
            f"fit_mixture: expected at least {max(num_components, 2)} codes for {num_components} "
            f"components, got {len(codes)}: encode more data or lower num_components"
        )
    if not np.isfinite(codes).all():
        bad = np.count_nonzero(~np.isfinite(codes).all(1))
        raise ValueError(
            f"fit_mixture: expected finite codes, got {bad} of {len(codes)} with NaN or infinity: "
            "the training has probably diverged"
        )
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
        raise ValueError(
            f"sample_prior: expected a latent_shape of {k} entries, the prior's, got "
            f"{tuple(latent_shape)}: the prior was probably fitted to another model's codes"
        )
    key_component, key_noise = jax.random.split(key)
    noise = jax.random.normal(key_noise, (num, k), prior[-1].dtype)
    if isinstance(prior, Gaussian):
        z = prior.mean + noise @ prior.chol.T
    else:
        component = jax.random.categorical(key_component, jnp.log(prior.weights), shape=(num,))
        z = prior.means[component] + jnp.einsum("nij,nj->ni", prior.chols[component], noise)
    return z.reshape(num, *latent_shape)
