"""Decoders made of decoders: in 16 bits, with outputs shared by all latents, of a function's derivatives in space."""

import math
from collections.abc import Sequence
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.base import Decoder, DecoderFn
from gon_jax.decoders.layers import BatchNorm, GroupNorm
from gon_jax.ops.bilinear import copies

__all__ = ["mixed_precision", "shared_outputs", "spatial_gradient"]


def _normalize_in_float32(call, args, kwargs, context):
    """Give normalizations their input in 32 bits, so that their statistics are, and cast the result back."""
    if not isinstance(context.module, BatchNorm | GroupNorm) or context.method_name != "__call__":
        return call(*args, **kwargs)
    (x,) = args
    return call(x.astype(jnp.promote_types(x.dtype, jnp.float32)), **kwargs).astype(x.dtype)


def mixed_precision(decoder: Decoder, dtype: jax.typing.DTypeLike = jnp.bfloat16) -> Decoder:
    """Return the same decoder, computing in a shorter floating-point type.

    Parameters, their gradients, the optimizer's state, latents, losses and batch statistics stay in float32: what is
    cast is a copy of the parameters and of z on the way in, and the output on the way out. Normalization and sines
    compute in float32, and a SIREN's coordinates keep their type. All strategies apply; they then differ by rounding to
    16 bits.

    Args:
        decoder: of `gon_jax.decoders`, or your own whose arithmetic follows the type of its parameters and z.
        dtype: bfloat16, which has the range of float32; float16 doesn't, and no loss is rescaled here for its sake.

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

    def short(function, *, with_stats=True):
        def call(params, z, *stats):
            with nn.intercept_methods(_normalize_in_float32):
                result = function(cast(params), z.astype(dtype), *stats)
            return (result[0].astype(z.dtype), result[1]) if with_stats else result.astype(z.dtype)

        return call

    decoder_at = decoder.at
    return decoder._replace(
        apply=short(decoder.apply),
        logits=None if decoder.logits is None else short(decoder.logits),
        pointwise=None if decoder.pointwise is None else short(decoder.pointwise, with_stats=False),
        at=None if decoder_at is None else lambda coordinates: mixed_precision(decoder_at(coordinates), dtype),
    )


def shared_outputs(decoder: Decoder, num_outputs: int, *, init: float | Sequence[float] = 0.0) -> Decoder:
    """Return the decoder with further outputs for each of its channels, the same for every z and every point.

    With `gaussian_scale` or `discretized_logistic` that is a learned global scale: the decoder makes the means alone.

    Args:
        decoder: any record, of output `[B, ..., C]`.
        num_outputs: K, outputs for each channel; the first is the decoder's.
        init: where the K - 1 others start, one number or one each.

    Returns:
        A decoder of output `[B, ..., C * K]`, read as `[..., C, K]`, with parameters
        `{"decoder": ..., "shared": [C, K - 1]}`.

    Raises:
        ValueError: for fewer than two outputs, or as many initial values as don't fit.

    >>> from gon_jax.likelihoods import gaussian_scale
    >>> from gon_jax.decoders import conv_decoder
    >>> decoder = shared_outputs(conv_decoder((8, 8, 3), (4,), norm="none"), gaussian_scale.num_outputs, init=-2.0)
    >>> params = decoder.init(jax.random.key(0))
    >>> params["shared"].tolist(), decoder.output(params, jnp.zeros((5, 4))).shape
    ([[-2.0], [-2.0], [-2.0]], (5, 8, 8, 6))
    """
    values = jnp.asarray(init, jnp.float32)
    if num_outputs < 2 or values.shape not in ((), (num_outputs - 1,)):
        raise ValueError(
            f"expected num_outputs K of at least 2, and an init of one number or K - 1, got num_outputs={num_outputs} "
            f"and init={init!r}; K is the likelihood's num_outputs, the decoder's own output included"
        )

    def append(output, shared):
        others = copies(shared, math.prod(output.shape[:-1])).reshape(*output.shape, -1)
        return jnp.concatenate([output[..., None], others], axis=-1).reshape(*output.shape[:-1], -1)

    def init_params(key):
        params = decoder.init_params(key)
        z = jax.ShapeDtypeStruct((1, *decoder.latent_shape), jnp.float32)
        num_channels = jax.eval_shape(decoder.output, params, z).shape[-1]
        return {"decoder": params, "shared": jnp.broadcast_to(values, (num_channels, num_outputs - 1))}

    def apply(params, z, stats=None):
        output, stats = decoder.apply(params["decoder"], z, stats)
        return append(output, params["shared"]), stats

    decoder_at, of_points = decoder.at, decoder.pointwise
    return decoder._replace(
        apply=apply,
        init=init_params,
        output_range=None,
        logits=None,
        pointwise=None
        if of_points is None
        else lambda params, z: append(of_points(params["decoder"], z), params["shared"]),
        at=None if decoder_at is None else lambda points: shared_outputs(decoder_at(points), num_outputs, init=init),
    )


def spatial_gradient(decoder: Decoder) -> Decoder:
    r"""Return the decoder of a function's derivatives in space, for data known through theirs (Eq. 11 of the paper),

    $$ \int \mathcal{L}(\nabla_c \Phi(c), \nabla_c F(c, z)) dc. $$

    A model of it encodes and is trained on gradients; its parameters and latents are the decoder's, which then gives
    the function itself, up to a constant, at any points. It costs d tangents. Apply it twice for second derivatives.

    Args:
        decoder: with `coordinates` and `at`.

    Returns:
        A decoder of `[B, *latent]` to `[B, *spatial, C d]`, dF_1/dc_1, ..., dF_1/dc_d, dF_2/dc_1, ...

    Raises:
        ValueError: for a decoder that is not a function of coordinates.

    >>> from gon_jax.coordinates import grid
    >>> def at(c):  # F = z c_1 c_2
    ...     apply = lambda params, z, stats=None: ((z * c.prod(axis=-1))[..., None], None)
    ...     return Decoder(apply, None, (1,), coordinates=c, at=at)
    >>> spatial_gradient(at(jnp.array([[2.0, 3.0]]))).output(None, jnp.ones((1, 1)))
    Array([[[3., 2.]]], dtype=float32)
    """
    if decoder.at is None or decoder.coordinates is None:
        raise ValueError("expected a decoder that is a function of coordinates, got one without `coordinates` and `at`")

    decoder_at = decoder.at

    def at(coordinates):
        directions = jnp.eye(coordinates.shape[-1], dtype=coordinates.dtype)

        def gradient(values):  # of `coordinates -> [..., C]`
            def push(direction):
                return jax.jvp(values, (coordinates,), (jnp.broadcast_to(direction, coordinates.shape),))[1]

            derivatives = jax.vmap(push, out_axes=-1)(directions)  # [..., C, d]
            return derivatives.reshape(*derivatives.shape[:-2], -1)

        def apply(params, z, stats=None):
            return gradient(lambda c: decoder_at(c).output(params, z)), None

        def pointwise(params, z):
            return gradient(lambda c: cast(DecoderFn, decoder_at(c).pointwise)(params, z))

        has_pointwise = decoder.pointwise is not None
        options = {"output_range": None, "pointwise": pointwise if has_pointwise else None, "at": at}
        return decoder_at(coordinates)._replace(apply=apply, **options)

    return at(decoder.coordinates)
