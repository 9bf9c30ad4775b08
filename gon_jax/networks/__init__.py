"""Decoders in Flax, each a function that returns the record `gon_jax.Decoder`; and an encoder, for baselines."""

from gon_jax.networks.conv import conv_decoder
from gon_jax.networks.conv_encoder import EncoderNetwork, conv_encoder
from gon_jax.networks.fourier import fourier_decoder
from gon_jax.networks.implicit import spatial_gradient
from gon_jax.networks.precision import mixed_precision
from gon_jax.networks.shared_outputs import shared_outputs
from gon_jax.networks.siren import modulated_siren_decoder, siren_decoder

__all__ = [
    "EncoderNetwork",
    "conv_decoder",
    "conv_encoder",
    "fourier_decoder",
    "mixed_precision",
    "modulated_siren_decoder",
    "shared_outputs",
    "siren_decoder",
    "spatial_gradient",
]
