"""Encoders as arrays: a matrix and a bias, computed once for any number of examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.base import LikelihoodFn
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import Encoder, cotangents


class FrozenEncoder(NamedTuple):
    """An encoder as arrays alone, one matrix product a batch: `z = bias + y @ matrix`, rows independent.

    Attributes:
        matrix: `[m, k]`, for the m entries of an example.
        bias: `[*latent]`.
        output: `None` where y is the data itself, flattened; else F(z0), and y are the cotangents there, flattened.
    """

    matrix: jax.Array
    bias: jax.Array
    output: jax.Array | None = None


def freeze(encoder: Encoder, likelihood: LikelihoodFn, mean_cotangent: jax.Array | None = None) -> FrozenEncoder:
    """Compute an encoder's matrix and bias, once; folded to act on the data where the likelihood allows.

    Args:
        encoder: from `gradient_encoder` or `least_squares_encoder`.
        likelihood: the inner loss; where its record says `affine`, the result takes the data itself.
        mean_cotangent: `[...]`, the mean over data of `cotangents`; needed under batch statistics.

    Raises:
        ValueError: under batch statistics without `mean_cotangent`.

    >>> linear = Decoder(lambda w, z: z @ w, None, (1,), rows="independent")
    >>> encoder = gradient_encoder(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.zeros(1), step_size=0.5)
    >>> encode_frozen(freeze(encoder, squared_error), jnp.ones((1, 3)))
    Array([[3.]], dtype=float32)
    """
    if encoder.apply_to_mean is not None and mean_cotangent is None:
        raise ValueError("expected mean_cotangent under batch statistics, got None; average `cotangents` over data")
    if encoder.matrix is None:
        raise ValueError("expected an encoder with a matrix, got one by pull-backs; use strategy 'jacobian'")
    origin, output = encoder.origin, encoder.output
    matrix = -encoder.matrix.reshape(origin.size, output.size).T
    zero = jnp.zeros((1, *output.shape), output.dtype)
    if not getattr(likelihood, "affine", False):
        return FrozenEncoder(matrix, encoder.codes(zero, mean_cotangent)[0], output)
    at_zero, at_one = cotangents(likelihood, output, jnp.concatenate([zero, zero + 1]))
    slope = (at_one - at_zero).reshape(-1, 1)  # v = v(0) + slope x, element by element
    return FrozenEncoder(slope * matrix, encoder.codes(at_zero[None], mean_cotangent)[0])


def encode_frozen(frozen: FrozenEncoder, x: jax.Array, *, likelihood: LikelihoodFn = squared_error) -> jax.Array:
    """Encode a batch by one matrix product; equal to the encoder that was frozen.

    Args:
        frozen: from `freeze`.
        x: data, `[B, ...]`.
        likelihood: read only where it could not be folded.

    Returns:
        Latents, `[B, *latent]`.
    """
    y = x if frozen.output is None else cotangents(likelihood, frozen.output, x)
    return frozen.bias + (y.reshape(len(y), -1) @ frozen.matrix).reshape(-1, *frozen.bias.shape)
