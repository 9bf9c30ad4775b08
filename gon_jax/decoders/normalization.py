"""Normalization that stays right at the origin, where the first layer's variance is exactly 0.

Variance is the mean of squared deviations: `E[x^2] - E[x]^2` under two derivatives is noise times 1/sqrt(eps)^3.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.ops.bilinear import scale

EPSILON = 1e-5


class BatchNorm(nn.Module):
    """Normalize each channel of `[B, ..., C]` by mean and variance over all other axes, then scale and shift.

    The statistics are this batch's, and are written to the collection "stats"; where that collection is given, it is
    used instead. There is no running average here: which passes are averaged, and when, is the model's business.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        gamma = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        axes = tuple(range(x.ndim - 1))
        if self.has_variable("stats", "mean"):
            mean, variance = self.get_variable("stats", "mean"), self.get_variable("stats", "variance")
            centered = x - mean
        else:
            mean = x.mean(axes)
            centered = x - mean
            variance = jnp.square(centered).mean(axes)
            self.put_variable("stats", "mean", mean)
            self.put_variable("stats", "variance", variance)
        gain = jnp.broadcast_to(gamma * jax.lax.rsqrt(variance + EPSILON), x.shape)
        return scale(gain, centered) + bias


class GroupNorm(nn.Module):
    """Normalize groups of channels of each example `[B, ..., C]`; rows are independent.

    Attributes:
        channels_per_group: size of a group, cut down to C where C is smaller.
    """

    channels_per_group: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = min(self.channels_per_group, x.shape[-1])
        return nn.GroupNorm(None, group_size=size, epsilon=EPSILON, use_fast_variance=False)(x)
