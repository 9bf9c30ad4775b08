"""Decoders in Flax, each a function that returns the record `gon_jax.Decoder`; adapters; an encoder for baselines."""

from gon_jax.base import EncoderNetwork
from gon_jax.decoders.adapters import from_equinox, from_function, from_linen, from_nnx
from gon_jax.decoders.conv import conv_decoder
from gon_jax.decoders.conv_encoder import conv_encoder
from gon_jax.decoders.fourier import fourier_decoder
from gon_jax.decoders.mlp import mlp_decoder
from gon_jax.decoders.siren import modulated_siren_decoder, siren_decoder
from gon_jax.decoders.transforms import mixed_precision, shared_outputs, spatial_gradient

__all__ = [
    "EncoderNetwork",
    "conv_decoder",
    "conv_encoder",
    "fourier_decoder",
    "from_equinox",
    "from_function",
    "from_linen",
    "from_nnx",
    "mixed_precision",
    "mlp_decoder",
    "modulated_siren_decoder",
    "shared_outputs",
    "siren_decoder",
    "spatial_gradient",
]
