"""Encoders as arrays: a matrix and a bias, computed once for any number of examples."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from gon_jax.base import LikelihoodFn
from gon_jax.linearization import AffineEncoder, cotangents

__all__ = ["FrozenEncoder", "freeze"]


@partial(
    jax.tree_util.register_dataclass, data_fields=["matrix", "bias", "output"], meta_fields=["likelihood", "inner"]
)
@dataclasses.dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """An encoder as arrays alone, one matrix product per batch: `z = bias + y @ matrix`, examples independent.

    Call it with data `[B, ...]` for latents `[B, *latent]`. It is a pytree of its arrays.

    Attributes:
        matrix: `[m, k]`, for the m entries of an example.
        bias: `[*latent]`.
        output: `None` where y is the data itself, flattened; else F(z0), and y are the cotangents there, flattened.
        likelihood: the inner loss that makes these cotangents; `None` where y is the data itself.
        inner: the name of the inner loss, where it is known.
    """

    matrix: jax.Array
    bias: jax.Array
    output: jax.Array | None = None
    likelihood: LikelihoodFn | None = None
    inner: str | None = None

    def __call__(self, x: jax.Array) -> jax.Array:
        """Encode a batch by one matrix product.

        Raises:
            TypeError: for data that are not floating point.
            ValueError: for data of another number of entries than the matrix has rows.
        """
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"expected floating-point data, got {x.dtype}; images as floats in [0, 1]?")
        y = x if self.likelihood is None or self.output is None else cotangents(self.likelihood, self.output, x)
        y = y.reshape(y.shape[0], -1)
        if y.shape[1] != len(self.matrix):
            raise ValueError(
                f"expected examples of {len(self.matrix)} entries, got data of shape {x.shape}; these are other data "
                "than the encoder was made for"
            )
        rows = jnp.matmul(y, self.matrix, precision="highest")  # its rounding would be that of the latents
        return self.bias[None] + rows.reshape(-1, *self.bias.shape)


def freeze(encoder: AffineEncoder, likelihood: LikelihoodFn, mean_cotangent: jax.Array | None = None) -> FrozenEncoder:
    """Compute an encoder's matrix and bias, once; folded to act on the data where the likelihood allows it.

    Args:
        encoder: from `gradient_encoder` or `least_squares_encoder`, with a matrix.
        likelihood: the inner loss, a function `(output, x) -> [B]`; where its record says `affine`, the result acts on
            the data itself, and else it keeps the likelihood.
        mean_cotangent: `[...]`, the mean over data of `cotangents`; needed under batch statistics.

    Raises:
        TypeError: for a likelihood that is not a function.
        ValueError: under batch statistics without `mean_cotangent`, or for an encoder without a matrix.

    >>> from gon_jax.base import Decoder
    >>> from gon_jax.likelihoods import squared_error
    >>> from gon_jax.linearization import gradient_encoder
    >>> linear = Decoder(lambda w, z, stats=None: (z @ w, None), None, (1,), independent=True)
    >>> encoder = gradient_encoder(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.zeros(1), step_size=0.5)
    >>> freeze(encoder, squared_error)(jnp.ones((1, 3)))
    Array([[3.]], dtype=float32)
    """
    if not callable(likelihood):
        raise TypeError(f"expected a likelihood, a function (output, x) -> [B], got {likelihood!r}")
    if encoder.apply_to_mean is not None and mean_cotangent is None:
        raise ValueError("expected mean_cotangent under batch statistics, got None; average `cotangents` over data")
    if encoder.matrix is None:
        raise ValueError("expected an encoder with a matrix, got one by pull-backs; use strategy 'jacobian'")
    name = getattr(likelihood, "name", None)
    origin, output = encoder.origin, encoder.output
    matrix = -encoder.matrix.reshape(origin.size, output.size).T
    zero = jnp.zeros((1, *output.shape), output.dtype)
    if not getattr(likelihood, "affine", False):
        return FrozenEncoder(matrix, encoder.encode(zero, mean_cotangent)[0], output, likelihood, name)
    at_zero, at_one = cotangents(likelihood, output, jnp.concatenate([zero, zero + 1]))
    slope = (at_one - at_zero).reshape(-1, 1)  # v = v(0) + slope x, element by element
    return FrozenEncoder(slope * matrix, encoder.encode(at_zero[None], mean_cotangent)[0], inner=name)
