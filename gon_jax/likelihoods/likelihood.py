"""The record of a likelihood: its terms' sum for each example, weights for them, and how it reads its outputs."""

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Measure = Literal["real", "bytes", "binary"]
LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -8.0, 4.0  # a byte's width is e^-5.5; noise of that width has scale e^-6.8


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """p(x given z) as pure functions of the decoder's output.

    The last axis of the output is C * K for data of C channels, read as `[..., C, K]`. Calling the record gives the
    terms' sum for each example, `[B]`.

    Attributes:
        name: a word for tables and configuration files.
        terms: `(output [..., C * K], x [..., C]) -> [..., C]`, the negative log-likelihood of each number of the data.
        mean: `output [..., C * K] -> [..., C]`, the mean of x.
        sample: `(key, output [..., C * K]) -> [..., C]`, a draw of x.
        num_outputs: K, decoder outputs for each channel of the data.
        reads_mean: True where the output is the mean of x, which an output activation may bound; False where outputs
            are real numbers (logits, log scales), which nothing may bound; `None` leaves that to the caller.
        affine: the terms' gradient in `output` is affine in `x`, element by element; then the encoder at a shared
            origin is one matrix and one bias.
        measure: what exp(-terms) sums or integrates to 1 over: "real" numbers; "bytes", the 256 values b / 255;
            "binary", 0 and 1. `None` where it doesn't, or nobody knows.
        fisher: `output -> [...]`, of the same shape, the Fisher information in each output where that is diagonal: the
            expected second derivative of the terms. `None` where it isn't or is unknown.

    >>> laplace = Likelihood("laplace", lambda o, x: jnp.abs(x - o) + jnp.log(2.0), lambda o: o, measure="real")
    >>> laplace(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([3.3862944], dtype=float32)
    """

    name: str
    terms: Callable[[jax.Array, jax.Array], jax.Array]
    mean: Callable[[jax.Array], jax.Array]
    sample: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    num_outputs: int = 1
    reads_mean: bool | None = None
    affine: bool = False
    measure: Measure | None = None
    fisher: Callable[[jax.Array], jax.Array] | None = None

    def __call__(self, output: jax.Array, x: jax.Array) -> jax.Array:
        k = self.num_outputs
        expected = (*x.shape[:-1], x.shape[-1] * k)
        if output.shape != expected:
            what = "data of one shape" if k == 1 else f"data of {k} outputs a channel"
            raise ValueError(
                f"expected decoder output and {what} for {self.name}, so {expected} with x {x.shape}, got "
                f"{output.shape}; they would broadcast silently (a missing channel axis? another image size?)"
            )
        terms = self.terms(output, x)
        if terms.shape != x.shape:
            raise ValueError(
                f"expected a term of {self.name} for each number of x {x.shape}, got {terms.shape}; weights of another "
                "batch, or a sum inside `terms`?"
            )
        return sum_per_example(terms)


def sum_per_example(values: jax.Array) -> jax.Array:
    """Sum `[B, ...]` over all axes but the first; returns `[B]`."""
    return values.reshape(values.shape[0], -1).sum(axis=1)


def weighted(likelihood: Likelihood, weights: jax.Array) -> Likelihood:
    """Return the likelihood with each term times a weight: a mask, or points that stand for others.

    It is not normalized. It doesn't say that it is affine, since weights may differ from example to example.

    Args:
        likelihood: a record.
        weights: broadcast to the terms: `[H, W, 1]` for all images alike, or `[B, H, W, 1]`.

    Raises:
        ValueError: when called on terms that the weights don't broadcast to, or for Fisher information that would
            differ from example to example.

    >>> from gon_jax.likelihoods import squared_error
    >>> weighted(squared_error, jnp.array([1.0, 0.0]))(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([1.], dtype=float32)
    """
    weights, k = jnp.asarray(weights), likelihood.num_outputs

    def fisher(output):
        values = split(likelihood.fisher(output), k) * weights[..., None]
        if values.size != output.size:
            raise ValueError(
                f"expected weights {weights.shape} that are the same for all examples, for the Fisher information of "
                f"an output {output.shape}; encode by the gradient"
            )
        return values.reshape(output.shape)

    return dataclasses.replace(
        likelihood,
        name=f"weighted {likelihood.name}",
        terms=lambda output, x: weights * likelihood.terms(output, x),
        affine=False,
        measure=None,
        fisher=None if likelihood.fisher is None else fisher,
    )


def split(output, k):
    """Return `[..., C * K]` as `[..., C, K]`."""
    if output.shape[-1] % k:
        raise ValueError(
            f"expected decoder output with a multiple of {k} channels, {k} for each channel of the data, got "
            f"{output.shape}; give the decoder num_channels = {k} C"
        )
    return output.reshape(*output.shape[:-1], -1, k)


def parts(output, k):
    """Return the K arrays `[..., C]`."""
    values = split(output, k)
    return [values[..., i] for i in range(k)]


def bounded_log_scale(raw):
    """Return a log scale that is nearly the output itself between the two bounds, and never beyond them."""
    return LOWEST_LOG_SCALE + jax.nn.softplus(raw - LOWEST_LOG_SCALE) - jax.nn.softplus(raw - HIGHEST_LOG_SCALE)
