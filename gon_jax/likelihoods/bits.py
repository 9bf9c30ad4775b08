"""Bits for each number of the data, and the noise that makes densities comparable with masses of bytes."""

import math

import jax
import jax.numpy as jnp

from gon_jax.likelihoods.likelihood import Likelihood

__all__ = ["bits_per_dim", "dequantize", "to_byte"]


def bits_per_dim(likelihood: Likelihood, nats, x):
    r"""Return nats in bits for each number of the data, of a model normalized over bytes, or 0 and 1.

    Nats over D ln 2; and 8 more for a density on [0, 1], one of 256 bins being 2^-8 wide: the density of data with
    uniform noise (`dequantize`) is a bound on the mass of bytes (Theis et al., "A note on the evaluation of generative
    models", ICLR 2016, arXiv 1511.01844).

    Args:
        likelihood: a record; its `measure` decides.
        nats: -log p of an example, or a bound, any shape.
        x: the data, `[N, ...]`, floats in [0, 1] or uint8; D numbers an example.

    Raises:
        ValueError: where the likelihood is not a normalized model of these data.

    >>> from gon_jax.likelihoods import categorical
    >>> round(float(bits_per_dim(categorical, 2 * math.log(256), jnp.zeros((1, 2)))), 4)
    8.0
    """
    if likelihood.measure is None:
        raise ValueError(
            f"expected a normalized likelihood for bits per dimension, got {likelihood.name}; report its own "
            "unit, or take gaussian, gaussian_scale, continuous_bernoulli, discretized_logistic or categorical"
        )
    top = 1 if jnp.issubdtype(x.dtype, jnp.floating) else 255
    if likelihood.measure == "binary" and not bool(((x == 0) | (x == top)).all()):
        raise ValueError(
            f"expected data of 0 and 1 alone for bits per dimension of {likelihood.name}, got gray values, on which it "
            "isn't normalized; report BCE in nats, or take continuous_bernoulli, discretized_logistic or categorical"
        )
    return nats / (math.prod(x.shape[1:]) * math.log(2)) + (8 if likelihood.measure == "real" else 0)


def dequantize(key: jax.Array, x: jax.Array) -> jax.Array:
    """Return (255 x + u) / 256, u uniform in [0, 1): bytes spread over their bins, for densities.

    Args:
        key: a typed key.
        x: bytes over 255, any shape.

    >>> bool(jnp.floor(256 * dequantize(jax.random.key(0), jnp.array(7 / 255))) == 7)
    True
    """
    byte = to_byte(x)
    return (byte + jax.random.uniform(key, byte.shape, byte.dtype)) / 256


def to_byte(x):
    """Return which of 0, ..., 255 x is, as a float."""
    return jnp.clip(jnp.round(255 * x), 0, 255)
