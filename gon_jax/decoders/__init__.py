"""Decoders in Flax, each a function that returns the record `gon_jax.Decoder`; and an encoder, for baselines."""

from gon_jax.decoders.conv import conv_decoder
from gon_jax.decoders.conv_encoder import EncoderNetwork, conv_encoder
from gon_jax.decoders.coordinate import spatial_gradient
from gon_jax.decoders.fourier import fourier_decoder
from gon_jax.decoders.precision import mixed_precision
from gon_jax.decoders.shared_outputs import shared_outputs
from gon_jax.decoders.siren import modulated_siren_decoder, siren_decoder

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
