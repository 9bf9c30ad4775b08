"""Distributions fitted to latents. Shapes: N latents [N, *latent], k = prod(latent)."""

import warnings
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.arguments import as_array, check_count, check_key, check_sizes, shown
from gon_jax.latents.statistics import _flatten

__all__ = ["Gaussian", "Mixture", "fit_gaussian", "fit_mixture", "sample_prior"]


class Gaussian(NamedTuple):
    """A normal distribution: mean [k] and the lower triangular factor chol [k, k] of its covariance."""

    mean: jax.Array
    chol: jax.Array


class Mixture(NamedTuple):
    """A mixture of M normal distributions: weights [M], means [M, k], chols [M, k, k]."""

    weights: jax.Array
    means: jax.Array
    chols: jax.Array


def fit_gaussian(z: jax.Array) -> Gaussian:
    """Fit a normal distribution with full covariance (divisor N - 1) to N >= 1 floating-point latents.

    The factor comes from the QR decomposition of the centered latents: the covariance is never formed, so its condition
    is not squared. A variance of machine epsilon times the mean variance is added to every direction, so few latents
    (N <= k) work too, at any scale. Equal latents give a factor of zeros.

    >>> prior = fit_gaussian(jnp.array([[0., 1.], [6., 1.], [3., 1.]]))
    >>> prior.mean, jnp.diag(prior.chol).round(2)
    (Array([3., 1.], dtype=float32), Array([3., 0.], dtype=float32))
    """
    z = as_array("z", z)
    if z.ndim < 2 or not z.size:
        raise ValueError(f"expected latents [N, *latent] with N >= 1, got shape {z.shape}")
    z = z.reshape(len(z), -1)
    mean = z.mean(0)
    centered = (z - mean) / max(len(z) - 1, 1) ** 0.5  # [N, k]
    jitter = jnp.sqrt(jnp.finfo(z.dtype).eps * jnp.mean(jnp.sum(centered * centered, 0)))
    upper = jnp.linalg.qr(jnp.concatenate([centered, jitter * jnp.eye(z.shape[1], dtype=z.dtype)]), mode="r")  # [k, k]
    return Gaussian(mean, jnp.where(jnp.diag(upper) < 0, -upper.T, upper.T))


def fit_mixture(z: jax.Array, num_components: int | None = None, seed: int = 0) -> Mixture:
    """Fit a mixture of normal distributions with full covariances to latents, by scikit-learn's EM.

    Each dimension is standardized first, because latents may have any scale (1e-3 or 1e2); so the 1e-6 that is added
    to the variances is relative to each dimension's own variance.

    Args:
        z: finite latents [N, *latent], floating point, N >= 2 and M; concrete, not traced. The result has their dtype.
        num_components: M; by default N // (10 k), at least 1 and at most 50.
        seed: of the initialization by k-means.

    >>> z = jnp.concatenate([jnp.zeros((30, 1)), jnp.ones((90, 1))])
    >>> fit_mixture(z, num_components=2).weights.sort()
    Array([0.25, 0.75], dtype=float32)
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    x = _flatten(z, at_least=max(num_components or 0, 2))
    num: int = min(max(len(x) // (10 * x.shape[1]), 1), 50) if num_components is None else num_components
    mean, std = x.mean(0), x.std(0)
    std[std == 0] = 1
    mixture = GaussianMixture(num, reg_covar=1e-6, random_state=seed)
    with threadpool_limits(1), warnings.catch_warnings():  # matrices are small: threads wait for each other, minutes
        warnings.simplefilter("ignore", ConvergenceWarning)  # EM stopped early, or on repeated latents, is a prior too
        mixture.fit((x - mean) / std)
    chols = np.linalg.cholesky(cast(np.ndarray, mixture.covariances_)) * std[:, None]
    return Mixture(*(jnp.asarray(a, z.dtype) for a in (mixture.weights_, mixture.means_ * std + mean, chols)))


def sample_prior(prior: Gaussian | Mixture, key: jax.Array, num: int, latent_shape: tuple[int, ...]) -> jax.Array:
    """Draw latents [num, *latent] from a fitted prior; their shape [*latent] has its k entries.

    >>> prior = fit_gaussian(jnp.eye(4))
    >>> sample_prior(prior, jax.random.key(0), 5, (2, 2)).shape
    (5, 2, 2)
    """
    if not isinstance(prior, Gaussian | Mixture):
        raise TypeError(f"expected prior, a Gaussian or a Mixture, got {shown(prior)}: fit_gaussian(z) makes one")
    check_key(key)
    num, latent_shape = check_count("num", num), check_sizes("latent_shape", latent_shape)
    k = prior[-1].shape[-1]
    if np.prod(latent_shape, dtype=int) != k:
        cause = "the prior was probably fitted to another model's latents"
        raise ValueError(f"expected a latent_shape of the prior's {k} entries, got {tuple(latent_shape)}: {cause}")
    key_component, key_noise = jax.random.split(key)
    noise = jax.random.normal(key_noise, (num, k), prior[-1].dtype)
    if isinstance(prior, Gaussian):
        z = prior.mean + noise @ prior.chol.T
    else:
        component = jax.random.categorical(key_component, jnp.log(prior.weights), shape=(num,))
        z = prior.means[component] + jnp.einsum("nij,nj->ni", prior.chols[component], noise)
    return z.reshape(num, *latent_shape)
