"""Functions for networks in plain JAX and Equinox: transposed convolution, batch normalization, activations, sine.

>>> import jax
>>> float(jax.grad(jax.grad(elu))(-1.0)) == float(jax.numpy.exp(-1.0))
True
"""

from gon_jax.ops.activations import Elementwise as elementwise
from gon_jax.ops.activations import elu, gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
from gon_jax.ops.convolve_like_lax import conv_transpose
from gon_jax.ops.normalization import batch_norm
from gon_jax.ops.sine import sine, sine_cosine

__all__ = ["batch_norm", "conv_transpose", "elementwise", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu"]
__all__ += ["sine", "sine_cosine", "softplus", "tanh"]
