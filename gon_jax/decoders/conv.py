"""The authors' convolutional decoder, for any image size that is a power of two.

Layers, with w the base width and H the image size (H = 32 gives the authors' 4w, 2w, w):

    z (k) -> 4x4 -> 8x8 -> ... -> H/2 (w channels) -> H (image channels)

each a transposed convolution of kernel 4, normalized and activated but for the last. The first is a matrix product
(1x1 to 4x4). A spatial latent `[h, w, c]` enters at its own size and drops the layers below it; from 2x2
to 4x4 is a layer like the later ones.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count, check_sizes
from gon_jax.base import Decoder, Params, Stats
from gon_jax.compilation import compiled_once
from gon_jax.decoders.layers import (
    ActivationName,
    NormName,
    OutputActivationName,
    TransposedConv,
    activation_fn,
    make_norm,
    output_activation_fn,
)

__all__ = ["NORM_STEP_SIZES", "ConvNetwork", "conv_decoder"]

# Latent step sizes without batch normalization, whose 1/sqrt(1e-5) at the origin makes a small gradient large: the best
# of 2^-11 to 2^7 on digits of 16, 32 and 64 pixels after 300 steps.
NORM_STEP_SIZES: dict[NormName, float | None] = {"batch": None, "group": 0.25, "none": 128.0}


class ConvNetwork(nn.Module):
    """The layers of `conv_decoder`; see there."""

    image_shape: tuple[int, int, int]
    base_channels: int
    norm: NormName
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, z):  # [B, k] or [B, h, h, c]
        size, _, channels = self.image_shape

        def hidden(x, size_out):
            width = self.base_channels * (size // 2) // size_out
            name = "Project_0" if x.ndim == 2 else None
            x = TransposedConv(width, add_bias=self.norm != "batch", name=name)(x)
            return self.activation(make_norm(self.norm)(x))

        x = z if z.ndim == 4 else hidden(z, 4)
        while x.shape[1] < size // 2:
            x = hidden(x, 2 * x.shape[1])
        return TransposedConv(channels)(x)  # [B, H, W, C], before the output activation


def conv_decoder(
    image_shape: tuple[int, int, int] = (32, 32, 1),
    latent_shape: tuple[int, ...] = (32,),
    *,
    base_channels: int = 16,
    norm: NormName = "batch",
    activation: ActivationName | Callable[[jax.Array], jax.Array] = "elu",
    output_activation: OutputActivationName | None = None,
) -> Decoder:
    """Return the authors' convolutional decoder, in its initialization.

    Args:
        image_shape: `(H, H, C)`, H a power of two from 8 to 256.
        latent_shape: `(k,)`, or `(h, h, c)` with h a power of two from 2 to H / 2.
        base_channels: width at half the image size; it doubles with every halving of the size, down to 4x4.
        norm: "batch" (as the authors), "group" or "none". With "batch" the decoder has batch statistics.
        activation: a name, or a function that acts element by element. At the origin it is taken at 0 with "batch":
            a function with slope 0 there, as `jax.nn.relu`, leaves all latents 0. "relu" by name has slope 1/2.
        output_activation: by default what the likelihood reads: the sigmoid where that is a mean (intensities in
            [0, 1]), nothing where it is logits or other real numbers. Or one of "sigmoid", "tanh", "none".

    Raises:
        ValueError: for a size that is not such a power of two, a width below 1, or an unknown name.

    >>> decoder = conv_decoder((32, 32, 1), (32,))  # the authors' first script
    >>> params = decoder.init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    74321
    """
    if len(check_sizes("image_shape", image_shape)) != 3:
        raise ValueError(f"expected image_shape (H, W, C), got {image_shape}")
    height, width, channels = check_sizes("image_shape", image_shape)
    image_shape, latent_shape = (height, width, channels), check_sizes("latent_shape", latent_shape)
    base_channels = check_count("base_channels", base_channels)
    sizes = [2**i for i in range(3, 9)]
    if height != width or height not in sizes:
        raise ValueError(f"expected square images with a size of {sizes}, got image_shape={image_shape}; resize them")
    spatial = [(h, h) for h in [2, 4, *sizes] if h < height]
    if len(latent_shape) != 1 and (len(latent_shape) != 3 or latent_shape[:2] not in spatial):
        raise ValueError(
            f"expected latent_shape (k,) or (h, h, c) with h a power of two from 2 to {height // 2}, got {latent_shape}"
        )
    make_norm(norm)  # refuse an unknown name now
    network = ConvNetwork(image_shape, base_channels, norm, activation_fn(activation))
    squash, output_range = output_activation_fn("sigmoid" if output_activation is None else output_activation)

    @compiled_once
    def init(key):
        return network.init(key, jnp.zeros((1, *latent_shape)))["params"]

    def logits(params: Params, z: jax.Array, stats: Stats = None) -> tuple[Any, Stats]:
        if norm != "batch":
            return network.apply({"params": params}, z), None
        if stats is None:
            output, collections = network.apply({"params": params}, z, mutable=["stats"])
            return output, collections.get("stats", {})
        return network.apply({"params": params, "stats": stats}, z), stats

    def apply(params, z, stats=None):
        output, stats = logits(params, z, stats)
        return squash(output), stats

    return Decoder(
        apply,
        init,
        latent_shape,
        independent=True,
        batch_statistics=norm == "batch",
        output_range=output_range,
        logits=logits if output_activation is None else None,
        step_size=NORM_STEP_SIZES[norm],
    )
