"""Likelihoods of bytes: a mass for each of 256 values, by logits or by logistic distributions."""

import math

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count
from gon_jax.likelihoods.continuous import log_sinhc
from gon_jax.likelihoods.likelihood import Likelihood, bounded_log_scale, parts, split, to_byte

__all__ = ["categorical", "discretized_logistic", "discretized_logistic_mixture"]


def _bytes_like(logits):
    """Return 0, ..., 255 along the last axis."""
    return jax.lax.broadcasted_iota(logits.dtype, logits.shape, logits.ndim - 1)


def _categorical_terms(output, x):
    logits = split(output, 256)
    chosen = jnp.where(to_byte(x)[..., None] == _bytes_like(logits), logits, 0).sum(-1)
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def _categorical_mean(output):
    logits = split(output, 256)
    return (jax.nn.softmax(logits) * (_bytes_like(logits) / 255)).sum(-1)


categorical = Likelihood(
    "categorical", _categorical_terms, mean=_categorical_mean, num_outputs=256, reads_mean=False, measure="bytes"
)
"""A mass for each of the 256 bytes, from logits: any distribution, at 256 outputs per number of the data.

>>> round(float(categorical(jnp.zeros((1, 256)), jnp.zeros((1, 1)))[0]), 4)  # log 256
5.5452
"""


def _log_scale(raw):
    """Return the log scale, -3 at an output of 0, where training starts; one of 0 there costs many steps."""
    return bounded_log_scale(raw - 3)


def _logistic_terms(x, mean, raw):
    """Return -log of the logistic's mass within half a byte of x; the first and the last byte take the tails.

    With a and b the edges in units of the scale, d = a - b and s the sigmoid, the mass is

        s(a) - s(b) = s(a) s(-b) (1 - e^-d),   log(1 - e^-d) = log d - d / 2 + log(sinh(d / 2) / (d / 2)),

    which is finite, derivatives too, where the difference itself would be 0 in floating point.
    """
    byte, log_scale = to_byte(x), _log_scale(raw)
    center = (byte / 255 - mean) * jnp.exp(-log_scale)
    half = jnp.exp(-log_scale) / 510
    below_upper_edge = jnp.where(byte == 255, 0, jax.nn.softplus(-(center + half)))
    above_lower_edge = jnp.where(byte == 0, 0, jax.nn.softplus(center - half))
    between = -log_scale - math.log(255) - half + log_sinhc(half)
    return below_upper_edge + above_lower_edge - jnp.where((byte == 0) | (byte == 255), 0, between)


def _logistic_mean(mean, raw):
    """Return the mean of the logistic clipped to [0, 1], which is within half a byte of that of the mass."""
    scale = jnp.exp(_log_scale(raw))
    return scale * (jax.nn.softplus(mean / scale) - jax.nn.softplus((mean - 1) / scale))


discretized_logistic = Likelihood(
    "discretized_logistic",
    lambda output, x: _logistic_terms(x, *parts(output, 2)),
    mean=lambda output: _logistic_mean(*parts(output, 2)),
    num_outputs=2,
    reads_mean=False,
    measure="bytes",
)
"""The mass that a logistic distribution has within half a byte; the first and the last byte take the tails.

Outputs are its mean, in units of the data, and log scale + 3: training starts at outputs near 0, and there the scale
suits images. `mean` is right to half a byte, and much better where the scale is above a third of one.

>>> discretized_logistic(jnp.array([[0.5, -17.0]]), jnp.array([[0.0]])).round()  # far off, and yet finite
Array([1482.], dtype=float32)
"""


def discretized_logistic_mixture(num_components: int) -> Likelihood:
    """Return a mixture of M discretized logistics for each number of the data; channels are independent given z.

    Outputs are M logits, M means and M log scales; outputs of 0 are means spread evenly from 0 to 1 and log scales of
    -3, so that components differ from the first step on. In Salimans et al., "PixelCNN++", ICLR 2017, arXiv
    1701.05517, channels depend on one another.

    >>> mixture, output = discretized_logistic_mixture(2), jnp.array([[0.0, 0.0, 0.2, -0.2, -6.0, -6.0]])
    >>> mixture.num_outputs, mixture.mean(output)
    (6, Array([[0.5]], dtype=float32))
    """
    num_components = check_count("num_components", num_components)

    def components(output):  # each [..., C, M]
        logits, mean, raw = jnp.split(split(output, 3 * num_components), 3, axis=-1)
        spread = (jnp.arange(num_components) + 0.5) / num_components
        return logits, mean + jnp.broadcast_to(spread.astype(output.dtype), mean.shape), raw

    def terms(output, x):
        logits, *logistics = components(output)
        return -jax.nn.logsumexp(jax.nn.log_softmax(logits) - _logistic_terms(x[..., None], *logistics), axis=-1)

    def mean(output):
        logits, *logistics = components(output)
        return (jax.nn.softmax(logits) * _logistic_mean(*logistics)).sum(-1)

    name, num_outputs = "discretized_logistic_mixture", 3 * num_components
    return Likelihood(name, terms, mean, num_outputs=num_outputs, reads_mean=False, measure="bytes")
