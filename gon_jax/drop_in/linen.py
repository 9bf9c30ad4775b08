"""Layers of Flax Linen, in place of those of `flax.linen`: the same arguments, variables and values.

A checkpoint of theirs is one of these, since names and shapes of variables are the same.

>>> import jax, jax.numpy as jnp
>>> layer = ConvTranspose(4, (5, 5), strides=(2, 2))
>>> y, variables = layer.init_with_output(jax.random.key(0), jnp.ones((2, 8, 8, 3)))
>>> y.shape, variables["params"]["kernel"].shape
((2, 16, 16, 4), (5, 5, 3, 4))
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.drop_in._flax import convolve, normalize, refuse_accumulation
from gon_jax.drop_in.functions import elu, gelu, leaky_relu, relu, sigmoid, silu, sine, softplus, tanh

__all__ = ["BatchNorm", "ConvTranspose", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "sine", "softplus"]
__all__ += ["tanh"]


class ConvTranspose(nn.ConvTranspose):
    """`flax.linen.ConvTranspose`, fast on CPUs in derivatives of any order; `preferred_element_type` is refused."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Return the transposed convolution of `[..., *n, C]`, `[..., *m, features]`; any batch axes, or none."""
        refuse_accumulation(self)
        kernel_size = (self.kernel_size,) if isinstance(self.kernel_size, int) else tuple(self.kernel_size)
        channels = (inputs.shape[-1], self.features)
        shape = (*kernel_size, *(reversed(channels) if self.transpose_kernel else channels))
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        if self.mask is not None:
            if self.mask.shape != shape:
                raise ValueError(f"expected a mask of the kernel's shape {shape}, got {self.mask.shape}")
            kernel = kernel * self.mask
        bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        return convolve(self, *self.promote_dtype(inputs, kernel, bias, dtype=self.dtype))


class BatchNorm(nn.BatchNorm):
    """`flax.linen.BatchNorm`, right and fast at the origin of latents.

    The variance is the mean of squared deviations, whatever `use_fast_variance` says: at the origin, where it is
    exactly 0, the difference of two means is noise.
    """

    @nn.compact
    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Return x normalized; entries that a mask leaves out do not count in its statistics."""
        averaged = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        shape = tuple(x.shape[axis] for axis in sorted(axis % x.ndim for axis in axes))
        in_float32 = getattr(self, "force_float32_reductions", True)
        least: Any = jnp.float32 if in_float32 else self.param_dtype
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, least)
        variance = self.variable("batch_stats", "var", jnp.ones, shape, least)
        statistics = (mean.value, variance.value) if averaged else None
        if averaged and not in_float32:
            statistics = (jnp.asarray(mean.value, least), jnp.asarray(variance.value, least))
        gain = self.param("scale", self.scale_init, shape, self.param_dtype) if self.use_scale else None
        shift = self.param("bias", self.bias_init, shape, self.param_dtype) if self.use_bias else None
        axis_name = None if self.is_initializing() else self.axis_name
        options = {"mask": mask, "axis_name": axis_name, "in_float32": in_float32}
        y, new = normalize(self, x, gain, shift, statistics, **options)
        if not averaged and not self.is_initializing():
            for average, value in zip((mean, variance), new, strict=True):
                average.value = self.momentum * average.value + (1 - self.momentum) * value
        return y
