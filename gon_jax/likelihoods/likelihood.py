"""The record of a likelihood: a sum of terms for each example; weights for them, and bits per number of the data."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

__all__ = [
    "Likelihood",
    "bits_per_dim",
    "bounded_log_scale",
    "dequantize",
    "parts",
    "split",
    "sum_per_example",
    "to_byte",
    "weighted",
]


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """p(x given z) as pure functions of the decoder's output.

    The last axis of the output is C * K for data of C channels, read as `[..., C, K]`. A call returns the sum of the
    terms of each example, `[B]`.

    Attributes:
        name: for tables and configuration files.
        terms: `(output [..., C * K], x [..., C]) -> [..., C]`, the negative log-likelihood of each number of the data.
        mean: `output -> [..., C]`, the mean of x.
        num_outputs: K, decoder outputs per channel of the data.
        reads_mean: True where the output is the mean of x, which an output activation may bound; False where outputs
            are real numbers (logits, log scales), which nothing may bound; `None` leaves that to the caller.
        affine: the terms' gradient in `output` is affine in `x`, element by element; then the encoder at a shared
            origin is one matrix and one bias.
        measure: what exp(-terms) sums or integrates to 1 over: "real" numbers; "bytes", the 256 values b / 255;
            "binary", 0 and 1. `None` if it is not normalized.
        fisher: `output -> [..., C * K]`, the Fisher information in each output (the expected second derivative of the
            terms) where that is diagonal; else `None`.

    >>> laplace = Likelihood("laplace", lambda o, x: jnp.abs(x - o) + jnp.log(2.0), lambda o: o, measure="real")
    >>> laplace(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([3.3862944], dtype=float32)
    """

    name: str
    terms: Callable[[jax.Array, jax.Array], jax.Array]
    mean: Callable[[jax.Array], jax.Array]
    _: dataclasses.KW_ONLY
    num_outputs: int = 1
    reads_mean: bool | None = None
    affine: bool = False
    measure: Literal["real", "bytes", "binary"] | None = None
    fisher: Callable[[jax.Array], jax.Array] | None = None

    def __call__(self, output: jax.Array, x: jax.Array) -> jax.Array:
        expected = (*x.shape[:-1], x.shape[-1] * self.num_outputs)
        if output.shape != expected:
            cause = "they would broadcast silently (a missing channel axis? another image size?)"
            data = f"x {x.shape} of {self.num_outputs} outputs per channel"
            raise ValueError(f"expected {self.name} of output {expected} for {data}, got {output.shape}; {cause}")
        terms = self.terms(output, x)
        if terms.shape != x.shape:
            cause = "weights of another batch, or a sum inside `terms`?"
            raise ValueError(f"expected a term of {self.name} per number of x {x.shape}, got {terms.shape}; {cause}")
        return sum_per_example(terms)


def sum_per_example(values: jax.Array) -> jax.Array:
    """Sum `[B, ...]` over all axes but the first; returns `[B]`."""
    return values.reshape(values.shape[0], -1).sum(axis=1)


def weighted(likelihood: Likelihood, weights: jax.Array | float) -> Likelihood:
    """Return the likelihood with each term times a weight: a mask, or points that stand for others.

    It is not normalized, and not marked as affine, since weights may differ from example to example.

    Args:
        likelihood: a record.
        weights: broadcast to the terms: `[H, W, 1]` for all images alike, or `[B, H, W, 1]`, for which there is no
            Fisher information.

    >>> from gon_jax.likelihoods import squared_error
    >>> weighted(squared_error, jnp.array([1.0, 0.0]))(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([1.], dtype=float32)
    """
    weights, information = jnp.asarray(weights), likelihood.fisher

    def times(weights, values):
        return jnp.broadcast_to(weights, jnp.broadcast_shapes(weights.shape, values.shape)) * values

    def fisher(information, output):
        values = times(weights[..., None], split(information(output), likelihood.num_outputs))
        if values.size != output.size:
            needed = (
                f"expected weights that are the same for all examples, for the Fisher information of {output.shape}"
            )
            raise ValueError(f"{needed}, got weights {weights.shape}; encode by the gradient")
        return values.reshape(output.shape)

    return dataclasses.replace(
        likelihood,
        name=f"weighted {likelihood.name}",
        terms=lambda output, x: times(weights, likelihood.terms(output, x)),
        affine=False,
        measure=None,
        fisher=information and partial(fisher, information),
    )


def bits_per_dim(likelihood: Likelihood, nats: jax.Array | float, x: ArrayLike) -> jax.Array | float:
    """Return nats in bits per number of the data, or raise ValueError if the likelihood is no normalized model of them.

    Nats over D ln 2; and 8 more for a density on [0, 1], one of 256 bins being 2^-8 wide: the density of data with
    uniform noise (`dequantize`) is a bound on the mass of bytes (Theis et al., "A note on the evaluation of generative
    models", ICLR 2016, arXiv 1511.01844).

    Args:
        likelihood: a record; its `measure` decides.
        nats: -log p per example, or a bound, any shape.
        x: the data, `[N, ...]`, floats in [0, 1] or uint8; D numbers per example.

    >>> from gon_jax.likelihoods import categorical
    >>> round(bits_per_dim(categorical, 2 * math.log(256), jnp.zeros((1, 2))), 4)
    8.0
    """
    remedy = "take gaussian_scale, continuous_bernoulli, discretized_logistic or categorical"
    if likelihood.measure is None:
        got = f"got {likelihood.name}; report its own unit, or {remedy}"
        raise ValueError(f"expected a normalized likelihood for bits per dimension, {got}")
    white = 1 if jnp.issubdtype(jnp.result_type(x), jnp.floating) else 255
    if likelihood.measure == "binary" and not (jnp.equal(x, 0) | jnp.equal(x, white)).all():
        got = f"got gray values, where {likelihood.name} isn't normalized; report BCE in nats, or {remedy}"
        raise ValueError(f"expected data of 0 and 1 for bits per dimension, {got}")
    return nats / (math.prod(jnp.shape(x)[1:]) * math.log(2)) + (8 if likelihood.measure == "real" else 0)


def dequantize(key: jax.Array, x: jax.Array) -> jax.Array:
    """Return (255 x + u) / 256, u uniform in [0, 1): bytes spread over their bins, for densities.

    >>> bool(jnp.floor(256 * dequantize(jax.random.key(0), jnp.array(7 / 255))) == 7)
    True
    """
    byte = to_byte(x)
    return (byte + jax.random.uniform(key, byte.shape, byte.dtype)) / 256


def to_byte(x: jax.Array) -> jax.Array:
    """Return which of 0, ..., 255 x is, as a float."""
    return jnp.clip(jnp.round(255 * x), 0, 255)


def split(output: jax.Array, k: int) -> jax.Array:
    """Return `[..., C * K]` as `[..., C, K]`."""
    if output.shape[-1] % k:
        remedy = f"give the decoder num_channels = {k} C for C channels of the data"
        raise ValueError(f"expected decoder output with a multiple of {k} channels, got {output.shape}; {remedy}")
    return output.reshape(*output.shape[:-1], -1, k)


def parts(output: jax.Array, k: int) -> list[jax.Array]:
    """Return the K arrays `[..., C]`."""
    values = split(output, k)
    return [values[..., i] for i in range(k)]


def bounded_log_scale(raw: jax.Array) -> jax.Array:
    """Return a log scale, about `raw` between -8 and 4 and never beyond.

    A byte's width is e^-5.5, and noise of that width has a scale of e^-6.8.
    """
    return -8 + jax.nn.softplus(raw + 8) - jax.nn.softplus(raw - 4)
