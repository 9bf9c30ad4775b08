"""Layers of the decoders in Flax: (transposed) convolutions, linear layers, normalization; activations by name."""

import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.arguments import check_choice
from gon_jax.choices import ActivationName, NormName
from gon_jax.ops import activations
from gon_jax.ops.bilinear import matmul
from gon_jax.ops.normalization import batch_norm
from gon_jax.ops.sine import sine
from gon_jax.ops.transposed_conv import strided_convolution, transposed_convolution

__all__ = ["ActivationName", "BatchNorm", "Dense", "GroupNorm", "NormName", "OutputActivationName", "StridedConv"]
__all__ += ["TransposedConv", "activation_fn", "make_norm", "output_activation_fn", "uniform"]

OutputActivationName = Literal["sigmoid", "tanh", "none"]
Elementwise = Callable[[jax.Array], jax.Array]

EPSILON = 1e-5
_ACTIVATIONS: dict[str, Elementwise] = {
    "elu": activations.elu,
    "relu": activations.relu,
    "leaky_relu": activations.leaky_relu,
    "gelu": activations.gelu,
    "silu": activations.silu,
    "softplus": activations.softplus,
    "tanh": activations.tanh,
    "sin": activations.Elementwise(sine),
}
_NORMS: dict[str, Callable[[], Elementwise]] = {
    "batch": lambda: BatchNorm(),
    "group": lambda: GroupNorm(),
    "none": lambda: lambda x: x,
}
_OUTPUTS: dict[str, tuple[Elementwise, tuple[float, float] | None]] = {
    "sigmoid": (activations.sigmoid, (0.0, 1.0)),
    "tanh": (activations.tanh, (-1.0, 1.0)),
    "none": (lambda x: x, None),
}


def activation_fn(activation: ActivationName | Elementwise) -> Elementwise:
    """Return the activation of this name, or a function that acts element by element, made fast to differentiate."""
    if callable(activation):
        return activations.Elementwise(activation)
    return _look_up(_ACTIVATIONS, activation, "activation")


def output_activation_fn(name: OutputActivationName) -> tuple[Elementwise, tuple[float, float] | None]:
    """Return the output activation of this name, and the lowest and highest output where it bounds them."""
    return _look_up(_OUTPUTS, name, "output_activation")


def make_norm(name: NormName) -> Elementwise:
    """Return the normalization layer of this name."""
    return _look_up(_NORMS, name, "norm")()


def _look_up(table, name, what) -> Any:
    check_choice(what, name, list(table))
    return table[name]


def uniform(bound: float) -> Callable[..., jax.Array]:
    """Return the initialization U(+-bound)."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


def _torch_uniform(fan):
    """Return PyTorch's initialization of a (transposed) convolution and its bias: U(+-1/sqrt(fan))."""
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -1.0, 1.0) / math.sqrt(fan)


class TransposedConv(nn.Module):
    """Kernel 4, stride 2, padding 1: `[B, H, W, C]` to `[B, 2 H, 2 W, features]`; `[B, k]` is a 1x1 image, to 4x4.

    Attributes:
        features: output channels.
        add_bias: False before batch normalization, which removes any constant. The bias is a parameter all the same, as
            the authors', with a gradient that is exactly 0: if it were added, its gradient would be rounding, from
            which Adam makes full steps.
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
        return y + bias[None, None, None] if self.add_bias else y


class StridedConv(nn.Module):
    """Kernel 4, stride 2, padding 1: `[B, 2 H, 2 W, C]` to `[B, H, W, features]`; or 4x4 to a vector, `[B, features]`.

    Attributes:
        features: output channels.
        to_vector: the product of the whole 4x4 image with the kernel.
        add_bias: as for `TransposedConv`.
    """

    features: int
    to_vector: bool = False
    add_bias: bool = True

    @nn.compact
    def __call__(self, y, kernel=None):  # [features, 4, 4, C], the layout of the decoder's
        initialize = _torch_uniform(16 * y.shape[-1])
        if kernel is None:
            kernel = self.param("kernel", initialize, (self.features, 4, 4, y.shape[-1]))
        bias = self.param("bias", initialize, (self.features,))
        if self.to_vector:
            x = y.reshape(y.shape[0], -1) @ kernel.reshape(len(kernel), -1).T
        else:
            x = strided_convolution(y, kernel)
        return x + jnp.expand_dims(bias, range(x.ndim - 1)) if self.add_bias else x


class Dense(nn.Module):
    """A linear layer's parameters times `scale`: `fan_in -> (kernel [fan_in, features], bias [1, features])`.

    Attributes:
        features: outputs.
        bound: kernels start as U(+-bound), biases as U(+-1/sqrt(fan_in)), PyTorch's default.
        scale: a constant that multiplies both, and isn't part of the parameters.
    """

    features: int
    bound: float
    scale: float = 1.0

    @nn.compact
    def __call__(self, fan_in):
        kernel = self.param("kernel", uniform(self.bound), (fan_in, self.features))
        bias = self.param("bias", uniform(1 / math.sqrt(fan_in)), (self.features,))
        return self.scale * kernel, self.scale * bias[None]


class BatchNorm(nn.Module):
    """Normalize each channel of `[B, ..., C]` by mean and variance over all other axes, then scale and shift.

    The statistics are this batch's, and are written to the collection "stats"; where that collection is given, it is
    used instead. There is no running average here: models average what they need.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        gamma = self.param("scale", nn.initializers.ones, (channels,))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        given: tuple[jax.Array, jax.Array] | None = None
        if self.has_variable("stats", "mean"):
            given = self.get_variable("stats", "mean"), self.get_variable("stats", "variance")
        y, (mean, variance) = batch_norm(x, gamma, bias, given, epsilon=EPSILON)
        if given is None:
            self.put_variable("stats", "mean", mean)
            self.put_variable("stats", "variance", variance)
        return y


class GroupNorm(nn.Module):
    """Normalize groups of channels of each example `[B, ..., C]`; examples are independent.

    Attributes:
        channels_per_group: size of a group, cut down to C where C is smaller.
    """

    channels_per_group: int = 8

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size = min(self.channels_per_group, x.shape[-1])
        return nn.GroupNorm(None, group_size=size, epsilon=EPSILON, use_fast_variance=False)(x)
