"""Gradient Origin Networks in JAX: autoencoders without an encoder.

    z = gon_jax.encode(decoder_fn, params, x, z0)              # minus the gradient at the origin
    loss = gon_jax.gon_loss(decoder_fn, params, x, z0).mean()  # differentiate this in params

This package loads jax and nothing heavier. Decoders in Flax are in `gon_jax.decoders`, models in `gon_jax.models`,
`fit` in `gon_jax.training`, datasets in `gon_jax.data`.
"""

from gon_jax.base import Decoder
from gon_jax.checks import compare_with_definition
from gon_jax.encoding import encode, gon_loss, reconstruct
from gon_jax.freezing import FrozenEncoder, encode_frozen, freeze
from gon_jax.gauss_newton import encode_least_squares, least_squares_encoder
from gon_jax.likelihoods import (
    Likelihood,
    bernoulli,
    bits_per_dim,
    categorical,
    continuous_bernoulli,
    dequantize,
    discretized_logistic,
    discretized_logistic_mixture,
    gaussian,
    gaussian_scale,
    squared_error,
    weighted,
)
from gon_jax.linearization import Encoder, choose_strategy, cotangents, encode_shared, gradient_encoder, strategy_costs

__version__ = "0.1.0"

__all__ = [
    "Decoder",
    "Encoder",
    "FrozenEncoder",
    "Likelihood",
    "bernoulli",
    "bits_per_dim",
    "categorical",
    "choose_strategy",
    "compare_with_definition",
    "continuous_bernoulli",
    "cotangents",
    "dequantize",
    "discretized_logistic",
    "discretized_logistic_mixture",
    "encode",
    "encode_frozen",
    "encode_least_squares",
    "encode_shared",
    "freeze",
    "gaussian",
    "gaussian_scale",
    "gon_loss",
    "gradient_encoder",
    "least_squares_encoder",
    "reconstruct",
    "squared_error",
    "strategy_costs",
    "weighted",
]
