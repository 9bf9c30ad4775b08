"""What layers of Linen and NNX have in common: their arguments, turned into those of our functions."""

import jax.numpy as jnp
from flax.linen.dtypes import canonicalize_dtype

from gon_jax.ops.convolve_like_lax import conv_transpose
from gon_jax.ops.normalization import batch_norm

__all__ = ["convolve", "normalize", "refuse_accumulation"]


def refuse_accumulation(layer):
    """Refuse an accumulation in another type, which products of several orders of derivative would not all have."""
    if getattr(layer, "preferred_element_type", None) is not None:
        raise ValueError(
            f"expected no preferred_element_type, got {layer.preferred_element_type}: products have the type of their "
            "factors here; choose dtype, or cast the output"
        )


def _each(value, num):
    """Return an integer, or `None` for 1, once for each spatial axis."""
    return (1 if value is None else value,) * num if value is None or isinstance(value, int) else tuple(value)


def convolve(layer, inputs, kernel, bias):
    """Return what a layer `ConvTranspose` computes, of arrays of one type; any batch axes in front, or none."""
    num = kernel.ndim - 2
    x = inputs.reshape(-1, *inputs.shape[inputs.ndim - num - 1 :])
    padding = layer.padding if isinstance(layer.padding, str) else _each(layer.padding, num)
    if not isinstance(padding, str):
        padding = [(pad, pad) if isinstance(pad, int) else tuple(pad) for pad in padding]
    y = conv_transpose(
        x,
        kernel,
        _each(layer.strides, num),
        padding,
        rhs_dilation=_each(layer.kernel_dilation, num),
        transpose_kernel=layer.transpose_kernel,
        precision=layer.precision,
    )
    y = y if bias is None else y + jnp.expand_dims(bias, range(y.ndim - 1))
    return y.reshape(*inputs.shape[: inputs.ndim - num - 1], *y.shape[1:])


def normalize(layer, x, gain, shift, statistics, *, mask=None, axis_name=None, in_float32=True):
    """Return what a layer `BatchNorm` computes, in its type, and the mean and variance of x, or those given."""
    dtype = canonicalize_dtype(*(a for a in (x, gain, shift) if a is not None), dtype=layer.dtype)
    least = x.dtype if layer.dtype is None else layer.dtype
    x = x.astype(jnp.promote_types(least, jnp.float32) if in_float32 else least)
    options = {"axis": layer.axis, "epsilon": layer.epsilon, "mask": mask, "axis_name": axis_name}
    y, statistics = batch_norm(x, gain, shift, statistics, axis_index_groups=layer.axis_index_groups, **options)
    return y.astype(dtype), statistics
