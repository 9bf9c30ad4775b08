"""Decoders in 16 bits, for devices that multiply those faster. An explicit choice: nothing switches it on by itself."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.base import Decoder
from gon_jax.decoders.normalization import BatchNorm, GroupNorm


def _normalize_in_float32(call, args, kwargs, context):
    """Give normalizations their input in 32 bits, so that their statistics are, and cast the result back."""
    if not isinstance(context.module, BatchNorm | GroupNorm) or context.method_name != "__call__":
        return call(*args, **kwargs)
    (x,) = args
    return call(x.astype(jnp.promote_types(x.dtype, jnp.float32)), **kwargs).astype(x.dtype)


def mixed_precision(decoder: Decoder, dtype: jax.typing.DTypeLike = jnp.bfloat16) -> Decoder:
    """Return the same decoder, computing in a shorter floating-point type.

    Parameters stay as they are, float32, and so do their gradients, the optimizer's state, codes, residuals, likelihood
    and batch statistics: what is cast is a copy of the parameters and of z on the way in, and the output on the way
    out. Normalization computes in float32, and so do sines, and a SIREN's coordinates keep their own type. All
    strategies apply; they then differ by rounding to 16 bits.

    Args:
        decoder: of `gon_jax.decoders`, or your own whose arithmetic follows the type of its parameters and z.
        dtype: bfloat16, which has the range of float32; float16 doesn't, and no loss is rescaled here for its sake.

    Returns:
        A decoder with the same parameters: `[B, *latent]` float32 to `[B, ...]` float32.

    Raises:
        TypeError: for a type that is not floating point.

    >>> from gon_jax.decoders import conv_decoder
    >>> decoder = mixed_precision(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> params = decoder.init(jax.random.key(0))
    >>> output, stats = decoder.apply(params, jnp.zeros((2, 3)))
    >>> output.dtype, stats["BatchNorm_0"]["mean"].dtype
    (dtype('float32'), dtype('float32'))
    """
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"expected a floating-point type, got {jnp.dtype(dtype)}; jnp.bfloat16 is the usual one")

    def cast(tree):
        return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)

    def short(function):
        def call(params, z, *stats):
            with nn.intercept_methods(_normalize_in_float32):
                result = function(cast(params), z.astype(dtype), *stats)
            if function is decoder.apply and decoder.batch_statistics:
                return result[0].astype(z.dtype), result[1]
            return result.astype(z.dtype)

        return call

    pointwise = None if decoder.pointwise is None else short(decoder.pointwise)
    at = None if decoder.at is None else lambda coordinates: mixed_precision(decoder.at(coordinates), dtype)
    return decoder._replace(apply=short(decoder.apply), pointwise=pointwise, at=at)
