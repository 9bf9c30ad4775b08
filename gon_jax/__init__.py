"""Gradient Origin Networks in JAX: autoencoders without an encoder.

    z = gon_jax.encode(decoder_fn, params, x, z0)              # minus the gradient at the origin
    loss = gon_jax.gon_loss(decoder_fn, params, x, z0).mean()  # differentiate this in params

This package loads jax and nothing heavier. Decoders in Flax are in `gon_jax.networks`, models in `gon_jax.models`,
`fit` in `gon_jax.training`, datasets in `gon_jax.data`.
"""

from gon_jax.likelihoods import Likelihood, bernoulli, gaussian, squared_error
from gon_jax.origin import (
    Decoder,
    Linearisation,
    choose_strategy,
    cotangents,
    encode,
    encode_frozen,
    encode_shared,
    gon_loss,
    linearise,
    reconstruct,
)

__version__ = "0.1.0"

__all__ = [
    "Decoder",
    "Likelihood",
    "Linearisation",
    "bernoulli",
    "choose_strategy",
    "cotangents",
    "encode",
    "encode_frozen",
    "encode_shared",
    "gaussian",
    "gon_loss",
    "linearise",
    "reconstruct",
    "squared_error",
]
