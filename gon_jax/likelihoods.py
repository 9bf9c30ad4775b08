"""What the decoder's output says of the data: one number per example, in nats (or squared intensity).

A likelihood is any function `(output [B, ...], x [B, ...]) -> [B]`. The ones here are small records that also
know their mean, how many outputs they read per data channel, and two facts that other rooms use: whether their
gradient is affine in the data, and whether they are a normalised density or mass.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Likelihood(NamedTuple):
    """p(x given z) as pure functions of the decoder's output.

    Attributes:
      name: a word for tables and configuration files.
      negative_log_likelihood: `(output [B, ...], x [B, ...]) -> [B]`, summed over data axes; calling the record
        calls this.
      mean: `output [B, ...] -> x_hat`, of the shape of the data.
      num_outputs: decoder outputs per data channel.
      affine: the gradient in `output` is affine in `x`, element by element; then the encoder at a shared origin is
        one matrix and one bias.
      normalised: it integrates (or sums) to 1 over `x`, so that bits per dimension mean something.
      fisher: `output [...] -> [...]`, the Fisher information in each output, if that is diagonal: the expected second
        derivative of the loss. `None` where it is unknown.
    """

    name: str
    negative_log_likelihood: Callable[[jax.Array, jax.Array], jax.Array]
    mean: Callable[[jax.Array], jax.Array]
    num_outputs: int = 1
    affine: bool = False
    normalised: bool = False
    fisher: Callable[[jax.Array], jax.Array] | None = None

    def __call__(self, output: jax.Array, x: jax.Array) -> jax.Array:
        return self.negative_log_likelihood(output, x)


def sum_per_example(values: jax.Array) -> jax.Array:
    """Sum `[B, ...]` over all axes but the first; returns `[B]`."""
    return values.reshape(values.shape[0], -1).sum(axis=1)


def _same_shape(output, x):
    if output.shape != x.shape:
        raise ValueError(
            f"expected decoder output and data of one shape, got output {output.shape} and x {x.shape}; they would "
            "broadcast silently (a missing channel axis? another image size?)"
        )


def _squared_error(output, x):
    _same_shape(output, x)
    return sum_per_example(jnp.square(x - output))


squared_error = Likelihood(
    "squared_error",
    _squared_error,
    mean=lambda output: output,
    affine=True,
    fisher=lambda output: jnp.full_like(output, 2),
)
"""sum (x - F)^2 per example: no 1/2, no constants, in squared intensity. The release's GON.

>>> squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)))
Array([3., 3.], dtype=float32)
"""


def gaussian(scale: float) -> Likelihood:
    """Return the density N(x; F, scale^2 I), in nats per example.

    Args:
      scale: the standard deviation, in units of the data.

    Raises:
      ValueError: if `scale` is not a positive number.

    >>> nats = gaussian(0.5)(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    >>> round(float(nats[0]), 4)  # 2 (log 0.5 + log(2 pi) / 2)
    0.4516
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"expected a positive standard deviation, got scale={scale!r}")
    constant = math.log(scale) + 0.5 * math.log(2 * math.pi)

    def negative_log_likelihood(output, x):
        _same_shape(output, x)
        return sum_per_example(0.5 * jnp.square((x - output) / scale) + constant)

    return Likelihood(
        "gaussian",
        negative_log_likelihood,
        mean=lambda output: output,
        affine=True,
        normalised=True,
        fisher=lambda output: jnp.full_like(output, 1 / scale**2),
    )


def _bernoulli(output, x):
    _same_shape(output, x)
    return sum_per_example(jax.nn.softplus(output) - x * output)


bernoulli = Likelihood(
    "bernoulli",
    _bernoulli,
    mean=jax.nn.sigmoid,
    affine=True,
    fisher=lambda output: jax.nn.sigmoid(output) * jax.nn.sigmoid(-output),
)
"""Binary cross-entropy from logits, in nats per example; `x` in [0, 1].

A mass function on {0, 1}; on grey values it is not normalised and has a floor above 0, so bits per dimension are
refused for it.

>>> bernoulli(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]))  # 2 log 2
Array([1.3862944], dtype=float32)
"""
