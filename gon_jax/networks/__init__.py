"""Decoders in Flax, each a function that returns the record `gon_jax.Decoder`."""

from gon_jax.networks.conv import conv_decoder
from gon_jax.networks.precision import mixed_precision
from gon_jax.networks.siren import siren_decoder

__all__ = ["conv_decoder", "mixed_precision", "siren_decoder"]
