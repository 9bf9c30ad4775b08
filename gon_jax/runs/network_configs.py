"""The decoders that a run can have, by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import gon_jax
from gon_jax.choices import ActivationName, NormName
from gon_jax.runs.options import Count, Depth, Options, Positive, register

if TYPE_CHECKING:
    from gon_jax.base import Decoder, EncoderNetwork

__all__ = ["NETWORKS", "ConvConfig", "FourierConfig", "MLPConfig", "ModulatedSirenConfig", "NetworkConfig"]
__all__ += ["SirenConfig"]

NETWORKS: dict[str, type[NetworkConfig]] = {}


class NetworkConfig(Options):
    """The decoder."""

    def build(self, latent_shape: tuple[int, ...], data_shape: tuple[int, ...], num_outputs: int = 1) -> Decoder:
        """Return the decoder.

        Args:
            latent_shape: `(k,)` or `(h, w, c)`.
            data_shape: `(*spatial, C)`.
            num_outputs: outputs for each channel of the data.

        Raises:
            ValueError: for latents or data that the network is not for.
        """
        raise NotImplementedError

    def build_encoder(
        self, latent_shape: tuple[int, ...], data_shape: tuple[int, ...], *, tied: bool = False
    ) -> EncoderNetwork:
        """Return the encoder of a baseline, the decoder's mirror image; `tied` has the decoder's kernels.

        Raises:
            ValueError: for a network without such an image.
        """
        raise ValueError(f"expected network conv for a model with an encoder, got {self.name}; take --network conv")


@register(NETWORKS, "conv")
class ConvConfig(NetworkConfig):
    """A convolutional decoder of images."""

    base_channels: Count = 16
    """Channels at half the image size; they double with every halving of the size."""
    norm: NormName = "batch"
    """Normalization; "batch" is that of the authors' implementation."""
    activation: ActivationName = "elu"
    """Activation of the hidden layers."""

    def build(self, latent_shape: tuple[int, ...], data_shape: tuple[int, ...], num_outputs: int = 1) -> Decoder:
        if len(data_shape) != 3:
            raise ValueError(f"expected images for network conv, got data of shape {data_shape}; take --network siren")
        return gon_jax.decoders.conv_decoder((*data_shape[:2], data_shape[2] * num_outputs), latent_shape, **vars(self))

    def build_encoder(
        self, latent_shape: tuple[int, ...], data_shape: tuple[int, ...], *, tied: bool = False
    ) -> EncoderNetwork:
        height, width, num_channels = data_shape
        return gon_jax.decoders.conv_encoder((height, width, num_channels), latent_shape, **vars(self), tied=tied)


@dataclasses.dataclass(frozen=True)
class CoordinateConfig(NetworkConfig):
    """A decoder that is a function of coordinates: an implicit model, of data in 1, 2 or 3 dimensions."""

    hidden_dim: Count = 256
    """Units of a hidden layer."""
    num_layers: Depth = 4
    """Hidden layers."""

    def build(self, latent_shape: tuple[int, ...], data_shape: tuple[int, ...], num_outputs: int = 1) -> Decoder:
        if len(latent_shape) != 1:
            raise ValueError(f"expected latent_shape k for network {self.name}, got {latent_shape}")
        *spatial, num_channels = data_shape
        make_decoder = getattr(gon_jax.decoders, f"{self.name}_decoder")
        return make_decoder(gon_jax.coordinates.grid(*spatial), *latent_shape, num_channels * num_outputs, **vars(self))


@register(NETWORKS, "siren")
class SirenConfig(CoordinateConfig):
    """A SIREN of coordinates and latent."""

    omega_0: Positive = 30.0
    """Factor in every sine."""
    first_omega_0: Positive | None = None
    """Factor in the first layer's sine, which sets the frequencies; None is `omega_0`. Sound needs hundreds."""


@register(NETWORKS, "modulated_siren")
class ModulatedSirenConfig(SirenConfig):
    """A SIREN of coordinates, shifted by the latent in every layer."""

    omega_0: Positive = 10.0
    """Factor in every sine."""


@register(NETWORKS, "fourier")
class FourierConfig(CoordinateConfig):
    """A network of random Fourier features."""

    bandwidth: Positive = 1.0
    """Standard deviation of the random frequencies, in cycles per unit of coordinates from -1 to 1."""
    num_frequencies: Count = 64
    """Random frequencies."""


@register(NETWORKS, "mlp")
class MLPConfig(NetworkConfig):
    """A fully connected decoder, of data of any shape."""

    hidden_dim: Count = 256
    """Units of a hidden layer."""
    num_layers: Depth = 2
    """Hidden layers."""
    activation: ActivationName = "elu"
    """Activation of the hidden layers."""

    def build(self, latent_shape: tuple[int, ...], data_shape: tuple[int, ...], num_outputs: int = 1) -> Decoder:
        *spatial, num_channels = data_shape
        return gon_jax.decoders.mlp_decoder((*spatial, num_channels * num_outputs), latent_shape, **vars(self))
