"""Layers of Flax NNX, in place of those of `flax.nnx`: the same arguments, variables and values.

>>> from flax import nnx
>>> import jax.numpy as jnp
>>> ConvTranspose(3, 4, (5, 5), strides=2, rngs=nnx.Rngs(0))(jnp.ones((2, 8, 8, 3))).shape
(2, 16, 16, 4)
"""

import jax
from flax import nnx

from gon_jax.drop_in._flax import convolve, normalize, refuse_accumulation
from gon_jax.drop_in.functions import elu, gelu, leaky_relu, relu, sigmoid, silu, sine, softplus, tanh

__all__ = ["BatchNorm", "ConvTranspose", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "sine", "softplus"]
__all__ += ["tanh"]


def _value(variable):
    return None if variable is None else variable[...]


class ConvTranspose(nnx.ConvTranspose):
    """`flax.nnx.ConvTranspose`, fast on CPUs in derivatives of any order; `preferred_element_type` is refused."""

    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Return the transposed convolution of `[..., *n, C]`, `[..., *m, out_features]`; any batch axes, or none."""
        refuse_accumulation(self)
        kernel = self.kernel[...]
        if self.mask is not None:
            if self.mask.shape != kernel.shape:
                raise ValueError(f"expected a mask of the kernel's shape {kernel.shape}, got {self.mask.shape}")
            kernel = kernel * self.mask
        return convolve(self, *self.promote_dtype((inputs, kernel, _value(self.bias)), dtype=self.dtype))


class BatchNorm(nnx.BatchNorm):
    """`flax.nnx.BatchNorm`, right and fast at the origin of latents; `use_fast_variance` as in `linen.BatchNorm`."""

    def __call__(
        self, x: jax.Array, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        """Return x normalized; entries that a mask leaves out do not count in its statistics."""
        averaged = self.use_running_average if use_running_average is None else use_running_average
        if averaged is None:
            raise ValueError("expected use_running_average of BatchNorm, in the constructor or in the call, got none")
        arrays = (x, self.mean[...], self.var[...], _value(self.scale), _value(self.bias))
        x, mean, variance, gain, shift = self.promote_dtype(arrays, dtype=self.dtype)
        statistics = (mean, variance) if averaged else None
        y, new = normalize(self, x, gain, shift, statistics, mask=mask, axis_name=self.axis_name)
        if not averaged:
            for average, value in zip((self.mean, self.var), new, strict=True):
                average[...] = (self.momentum * average[...] + (1 - self.momentum) * value).astype(average.dtype)
        return y
