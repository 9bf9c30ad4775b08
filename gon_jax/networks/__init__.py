"""Decoders in Flax, each a function that returns the record `gon_jax.Decoder`."""

from gon_jax.networks.conv import conv_decoder

__all__ = ["conv_decoder"]
