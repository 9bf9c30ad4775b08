"""The convolutional decoder of the release, for any image size that is a power of two.

Layers, with w the base width and H the image size (H = 32 gives the release's 4w, 2w, w):

    z (k) -> 4x4 -> 8x8 -> ... -> H/2 (w channels) -> H (image channels)

each a transposed convolution of kernel 4, normalized and activated but for the last. The first is a matrix product
(1x1 to 4x4). A spatial latent `[h, w, c]` enters at its own size and drops the layers below it.
"""

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.base import Decoder
from gon_jax.decoders.normalization import BatchNorm, GroupNorm
from gon_jax.ops import activations as elementwise
from gon_jax.ops.bilinear import matmul
from gon_jax.ops.sine import sine
from gon_jax.ops.transposed_conv import transposed_convolution

Norm = Literal["batch", "group", "none"]
Activation = Literal["elu", "relu", "leaky_relu", "gelu", "silu", "softplus", "tanh", "sin"]
OutputActivation = Literal["sigmoid", "tanh", "none"]

_NORMS = {"batch": BatchNorm, "group": GroupNorm, "none": lambda: lambda x: x}
_ACTIVATIONS = {
    "elu": elementwise.elu,
    "relu": elementwise.Activation(jax.nn.relu),
    "leaky_relu": elementwise.Activation(jax.nn.leaky_relu),
    "gelu": elementwise.Activation(jax.nn.gelu),
    "silu": elementwise.Activation(jax.nn.silu),
    "softplus": elementwise.Activation(jax.nn.softplus),
    "tanh": elementwise.tanh,
    "sin": elementwise.Activation(sine),
}
_OUTPUT_ACTIVATIONS = {"sigmoid": elementwise.sigmoid, "tanh": elementwise.tanh, "none": lambda x: x}


def _torch_uniform(fan: int):
    """PyTorch's initialization of a (transposed) convolution and its bias: U(+-1/sqrt(fan))."""

    def initialize(key, shape, dtype=jnp.float32):
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) / math.sqrt(fan)

    return initialize


class TransposedConv(nn.Module):
    """Kernel 4, stride 2, padding 1: `[B, H, W, C]` to `[B, 2 H, 2 W, features]`; `[B, k]` is a 1x1 image, to 4x4.

    Attributes:
        features: output channels.
        add_bias: not before batch normalization, which takes any constant away again. The bias is a parameter all the
            same, as in the release, with a gradient that is exactly 0: added, the gradient is rounding, of which Adam
            makes steps of full size, and averages of the statistics run after a bias that drifts.
    """

    features: int
    add_bias: bool = True

    @nn.compact
    def __call__(self, x):
        initialize = _torch_uniform(16 * self.features)
        kernel = self.param("kernel", initialize, (x.shape[-1], 4, 4, self.features))
        bias = self.param("bias", initialize, (self.features,))
        if x.ndim == 2:
            y = matmul(x, kernel.reshape(len(kernel), -1)).reshape(-1, 4, 4, self.features)
        else:
            y = transposed_convolution(x, kernel)
        return y + bias if self.add_bias else y


class ConvNetwork(nn.Module):
    """The layers of `conv_decoder`; see there."""

    image_shape: tuple[int, int, int]
    base_channels: int
    norm: Norm
    activation: Callable[[jax.Array], jax.Array]
    output_activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, z):  # [B, k] or [B, h, h, c]
        size, _, channels = self.image_shape

        def hidden(x, size_out):
            width = self.base_channels * (size // 2) // size_out
            name = "Project_0" if x.ndim == 2 else None
            x = TransposedConv(width, add_bias=self.norm != "batch", name=name)(x)
            return self.activation(_NORMS[self.norm]()(x))

        x = z if z.ndim == 4 else hidden(z, 4)
        while x.shape[1] < size // 2:
            x = hidden(x, 2 * x.shape[1])
        return self.output_activation(TransposedConv(channels)(x))  # [B, H, W, C]


def _lookup(table, name, what):
    if name not in table:
        raise ValueError(f"expected {what} one of {', '.join(table)}; got {name!r}")
    return table[name]


def conv_decoder(
    image_shape: tuple[int, int, int] = (32, 32, 1),
    latent_shape: tuple[int, ...] = (32,),
    *,
    base_channels: int = 16,
    norm: Norm = "batch",
    activation: Activation | Callable[[jax.Array], jax.Array] = "elu",
    output_activation: OutputActivation = "sigmoid",
) -> Decoder:
    """Return the release's convolutional decoder, in its initialization.

    Args:
        image_shape: `(H, H, C)`, H a power of two from 8 to 256.
        latent_shape: `(k,)`, or `(h, h, c)` with h a power of two from 4 to H / 2.
        base_channels: width at half the image size; it doubles with every halving of the size, down to 4x4.
        norm: "batch" (as the release), "group" or "none". With "batch" the decoder has batch statistics.
        activation: a name, or a function that acts element by element.
        output_activation: "sigmoid" for intensities, "none" for logits.

    Raises:
        ValueError: for a size that is not such a power of two, or an unknown name.

    >>> decoder = conv_decoder((32, 32, 1), (32,))  # the release's first script
    >>> params = decoder.init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    74321
    """
    height, width, _ = image_shape
    sizes = [2**i for i in range(3, 9)]
    if height != width or height not in sizes:
        raise ValueError(f"expected square images with a size of {sizes}, got image_shape={image_shape}; resize them")
    spatial = [(h, h) for h in [4, *sizes] if h < height]
    if len(latent_shape) != 1 and (len(latent_shape) != 3 or latent_shape[:2] not in spatial):
        raise ValueError(
            f"expected latent_shape (k,) or (h, h, c) with h a power of two from 4 to {height // 2}, got {latent_shape}"
        )
    _lookup(_NORMS, norm, "norm")
    network = ConvNetwork(
        image_shape,
        base_channels,
        norm,
        elementwise.Activation(activation) if callable(activation) else _lookup(_ACTIVATIONS, activation, "activation"),
        _lookup(_OUTPUT_ACTIVATIONS, output_activation, "output_activation"),
    )

    def init(key):
        return network.init(key, jnp.zeros((1, *latent_shape)))["params"]

    def apply(params, z):
        return network.apply({"params": params}, z)

    def apply_with_stats(params, z, stats=None):
        if stats is None:
            output, collections = network.apply({"params": params}, z, mutable=["stats"])
            return output, collections.get("stats", {})
        return network.apply({"params": params, "stats": stats}, z), stats

    if norm == "batch":
        return Decoder(apply_with_stats, init, latent_shape, rows="batch_statistics")
    return Decoder(apply, init, latent_shape, rows="independent")
