"""The convolutional encoder of the baselines: the mirror image of `conv_decoder`, layer by layer.

With w the base width and H the image size:

    H (image channels) -> H/2 (w channels) -> ... -> 4x4 -> k

each a strided convolution with a kernel of the shape of one of the decoder's, normalized and activated but for the
last, which is a matrix product (4x4 to 1x1). A spatial latent `[h, w, c]` is where the layers end. Tied to a decoder, a
layer takes its kernel too, and is the exact transpose of the decoder's but for biases of its own.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.base import EncoderNetwork, Params, Stats
from gon_jax.compilation import compiled_once
from gon_jax.decoders.conv import conv_decoder
from gon_jax.decoders.layers import ActivationName, NormName, StridedConv, activation_fn, make_norm

__all__ = ["conv_encoder"]


class ConvEncoderLayers(nn.Module):
    """The layers of `conv_encoder`, `widths` their output channels; see there."""

    widths: tuple[int, ...]
    to_vector: bool
    norm: NormName
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x, kernels):  # a kernel for each layer, or None
        *hidden, last = zip(self.widths, kernels, strict=True)
        for width, kernel in hidden:
            x = StridedConv(width, add_bias=self.norm != "batch")(x, kernel)
            x = self.activation(make_norm(self.norm)(x))
        return StridedConv(last[0], self.to_vector)(x, last[1])


def _kernels(params):
    """Return the kernels in a decoder's parameters, last layer first; its names sort in the order of its layers."""
    leaves = jax.tree.leaves_with_path(params)
    return [leaf for path, leaf in reversed(leaves) if jax.tree_util.keystr(path).endswith("['kernel']")]


def conv_encoder(
    image_shape: tuple[int, int, int] = (32, 32, 1),
    latent_shape: tuple[int, ...] = (32,),
    *,
    base_channels: int = 16,
    norm: NormName = "batch",
    activation: ActivationName | Callable[[jax.Array], jax.Array] = "elu",
    tied: bool = False,
) -> EncoderNetwork:
    """Return the mirror image of `conv_decoder` of the same arguments, in PyTorch's initialization.

    Args:
        image_shape, latent_shape, base_channels, norm, activation: as for `conv_decoder`. The last layer has neither
            norm nor activation.
        tied: take the kernels of such a decoder, each transposed; own are biases and normalization.

    Raises:
        ValueError: for what `conv_decoder` refuses; called on images of another shape, or tied to another decoder.

    >>> encoder = conv_encoder((32, 32, 1), (256,))
    >>> params = jax.eval_shape(encoder.init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))  # the decoder's is 303,697
    303952
    """
    mirrored = conv_decoder(image_shape, latent_shape, base_channels=base_channels, norm=norm, activation=activation)
    shapes = [kernel.shape for kernel in _kernels(jax.eval_shape(mirrored.init_params, jax.random.key(0)))]
    network = ConvEncoderLayers(
        tuple(shape[0] for shape in shapes), len(latent_shape) == 1, norm, activation_fn(activation)
    )

    @compiled_once
    def init(key):
        kernels = [jnp.zeros(shape) if tied else None for shape in shapes]
        return network.init(key, jnp.zeros((1, *image_shape)), kernels)["params"]

    def kernels_for(x, decoder):
        if x.shape[1:] != image_shape:
            raise ValueError(f"expected images {image_shape}, got {x.shape[1:]}; resize them")
        if not tied:
            return [None] * len(shapes)
        kernels = _kernels(decoder)
        if [kernel.shape for kernel in kernels] != shapes:
            raise ValueError(
                f"expected the parameters of a conv_decoder with kernels {shapes[::-1]} for a tied encoder, got "
                f"{[kernel.shape for kernel in kernels[::-1]]}; give both the same image_shape, latent_shape and width"
            )
        return kernels

    def apply(params: Params, x: jax.Array, stats: Stats = None, *, decoder: Params = None) -> tuple[Any, Stats]:
        kernels = kernels_for(x, decoder)
        if norm != "batch":
            return network.apply({"params": params}, x, kernels), None
        if stats is None:
            z, collections = network.apply({"params": params}, x, kernels, mutable=["stats"])
            return z, collections.get("stats", {})
        return network.apply({"params": params, "stats": stats}, x, kernels), stats

    return EncoderNetwork(apply, init, latent_shape, batch_statistics=norm == "batch", tied=tied)
