"""Likelihoods that are smooth in the data: squared error, Gaussians, cross-entropy and its normalized form."""

import math

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_number
from gon_jax.likelihoods.likelihood import Likelihood, bounded_log_scale, parts

__all__ = ["bernoulli", "continuous_bernoulli", "gaussian", "gaussian_scale", "log_sinhc", "squared_error"]


def _slope(function):
    """Return the derivative of a function that acts element by element."""
    return lambda o: jax.jvp(function, (o,), (jnp.ones_like(o),))[1]


squared_error = Likelihood(
    "squared_error",
    lambda output, x: jnp.square(x - output),
    mean=lambda output: output,
    reads_mean=True,
    affine=True,
    fisher=lambda output: jnp.full_like(output, 2),
)
"""sum (x - F)^2 per example: no 1/2, no constants, in squared intensity.

>>> squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)))
Array([3., 3.], dtype=float32)
"""


def gaussian(scale: float) -> Likelihood:
    """Return the density N(x; F, scale^2 I), in nats per example.

    Args:
        scale: the standard deviation, positive, in units of the data.

    >>> nats = gaussian(0.5)(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    >>> round(float(nats[0]), 4)  # 2 (log 0.5 + log(2 pi) / 2)
    0.4516
    """
    check_number("scale", scale, above=0, remedy="it is a standard deviation")
    constant = math.log(scale) + 0.5 * math.log(2 * math.pi)
    return Likelihood(
        "gaussian",
        lambda output, x: 0.5 * jnp.square((x - output) / scale) + constant,
        mean=lambda output: output,
        reads_mean=True,
        affine=True,
        measure="real",
        fisher=lambda output: jnp.full_like(output, 1 / scale**2),
    )


def _gaussian_scale_terms(output, x):
    mean, raw = parts(output, 2)
    log_scale = bounded_log_scale(raw)
    return 0.5 * jnp.square((x - mean) * jnp.exp(-log_scale)) + log_scale + 0.5 * math.log(2 * math.pi)


def _gaussian_scale_fisher(output):
    _, raw = parts(output, 2)
    of_mean, of_raw = jnp.exp(-2 * bounded_log_scale(raw)), 2 * jnp.square(_slope(bounded_log_scale)(raw))
    return jnp.stack([of_mean, of_raw], axis=-1).reshape(output.shape)


gaussian_scale = Likelihood(
    "gaussian_scale",
    _gaussian_scale_terms,
    mean=lambda output: parts(output, 2)[0],
    num_outputs=2,
    reads_mean=False,
    measure="real",
    fisher=_gaussian_scale_fisher,
)
"""The density N(x; mean, scale^2); the mean and the log scale of each number of the data are outputs.

>>> round(float(gaussian_scale(jnp.zeros((1, 2)), jnp.zeros((1, 1)))[0]), 1)  # log(2 pi) / 2, and the bounds' softness
0.9
"""


bernoulli = Likelihood(
    "bernoulli",
    lambda output, x: jax.nn.softplus(output) - x * output,
    mean=jax.nn.sigmoid,
    reads_mean=False,
    affine=True,
    measure="binary",
    fisher=lambda output: jax.nn.sigmoid(output) * jax.nn.sigmoid(-output),
)
"""Binary cross-entropy from logits, in nats per example; `x` in [0, 1].

A mass function on {0, 1}. On gray values it is not normalized and has a floor above 0, so `bits_per_dim` refuses them.

>>> bernoulli(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]))  # 2 log 2
Array([1.3862944], dtype=float32)
"""


def _log_sinhc_series(num_terms):
    """Return c_n of log(sinh(h) / h) = sum_n c_n h^2n, whose derivative L obeys L' = 1 - L^2 - 2 L / h."""
    slopes = []  # of L, term by term
    for n in range(1, num_terms + 1):
        slopes.append(((n == 1) - sum(a * b for a, b in zip(slopes, slopes[::-1], strict=True))) / (2 * n + 1))
    return [slope / (2 * n) for n, slope in enumerate(slopes, 1)]


_LOG_SINHC = _log_sinhc_series(20)  # within |h| < 1 right to float64's rounding, and so are three derivatives


def log_sinhc(h: jax.Array) -> jax.Array:
    """Return log(sinh(h) / h), an even function, 0 at 0; right for any h, in derivatives too."""
    small = jnp.abs(h) < 1
    square = jnp.square(jnp.where(small, h, 0))
    series = jnp.zeros_like(h)
    for coefficient in reversed(_LOG_SINHC):
        series = (series + coefficient) * square
    large = jnp.abs(jnp.where(small, 1, h))
    return jnp.where(small, series, large - jnp.log(2 * large) + jnp.log1p(-jnp.exp(-2 * large)))


def _log_normalizer(o):
    """Return log((e^o - 1) / o), the logarithm of the integral of e^(o x) over [0, 1]."""
    return o / 2 + log_sinhc(o / 2)


continuous_bernoulli = Likelihood(
    "continuous_bernoulli",
    lambda output, x: _log_normalizer(output) - x * output,
    mean=_slope(_log_normalizer),
    reads_mean=False,
    affine=True,
    measure="real",
    fisher=_slope(_slope(_log_normalizer)),
)
"""The density e^(o x) o / (e^o - 1) on [0, 1], o the output: cross-entropy made a normalized model of gray values.

Uniform at o = 0. The mean is not sigmoid(o), the parameter lambda of Loaiza-Ganem & Cunningham, "The continuous
Bernoulli", NeurIPS 2019, arXiv 1907.06845.

>>> continuous_bernoulli(jnp.zeros((1, 2)), jnp.array([[0.0, 0.7]]))
Array([0.], dtype=float32)
"""
