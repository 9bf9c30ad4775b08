"""Outputs that are parameters of their own: a scale learned for all of the data, in place of one made from z."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gon_jax.base import Decoder


def shared_outputs(decoder: Decoder, num_outputs: int, *, init: float | Sequence[float] = 0.0) -> Decoder:
    """Return the decoder with further outputs for each of its channels, the same for every z and every point.

    With `gaussian_scale` or `discretized_logistic` that is a learned global scale: the decoder makes the means alone.

    Args:
        decoder: any record, of output `[B, ..., C]`.
        num_outputs: K, outputs for each channel; the first is the decoder's.
        init: where the K - 1 others start, one number or one each.

    Returns:
        A decoder of output `[B, ..., C * K]`, read as `[..., C, K]`, and of parameters `{"decoder": ..., "shared":
        [C, K - 1]}`; rows, points and statistics are the decoder's.

    Raises:
        ValueError: for fewer than two outputs, or as many initial values as don't fit.

    >>> from gon_jax.likelihoods import gaussian_scale
    >>> from gon_jax.decoders import conv_decoder
    >>> decoder = shared_outputs(conv_decoder((8, 8, 3), (4,), norm="none"), gaussian_scale.num_outputs, init=-2.0)
    >>> params = decoder.init(jax.random.key(0))
    >>> params["shared"].tolist(), decoder.apply(params, jnp.zeros((5, 4))).shape
    ([[-2.0], [-2.0], [-2.0]], (5, 8, 8, 6))
    """
    values = jnp.asarray(init, jnp.float32)
    if num_outputs < 2 or values.shape not in ((), (num_outputs - 1,)):
        raise ValueError(
            f"expected num_outputs K of at least 2, and an init of one number or K - 1, got num_outputs={num_outputs} "
            f"and init={init!r}; K is the likelihood's num_outputs, the decoder's own output included"
        )

    def append(output, shared):
        rows = jnp.ones((*output.shape[:-1], 1), output.dtype)  # a product, whose transpose is no slow sum
        others = jnp.matmul(rows, shared.reshape(1, -1), precision="highest").reshape(*output.shape, -1)
        return jnp.concatenate([output[..., None], others], axis=-1).reshape(*output.shape[:-1], -1)

    def init_params(key):
        params = decoder.init(key)
        z = jax.ShapeDtypeStruct((1, *decoder.latent_shape), jnp.float32)
        num_channels = jax.eval_shape(decoder.plain, params, z).shape[-1]
        return {"decoder": params, "shared": jnp.broadcast_to(values, (num_channels, num_outputs - 1))}

    def apply(params, z, *stats):
        output = decoder.apply(params["decoder"], z, *stats)
        if decoder.batch_statistics:
            return append(output[0], params["shared"]), output[1]
        return append(output, params["shared"])

    def pointwise(params, z):
        return append(decoder.pointwise(params["decoder"], z), params["shared"])

    def at(coordinates):
        return shared_outputs(decoder.at(coordinates), num_outputs, init=init)

    return decoder._replace(
        apply=apply,
        init=init_params,
        pointwise=None if decoder.pointwise is None else pointwise,
        at=None if decoder.at is None else at,
    )
