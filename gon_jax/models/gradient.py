"""Models whose latents are computed from one origin: what the GON, its classifier and translation have in common.

`gradient_model` makes a model of one's own with another outer loss, inner likelihood or parameters.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_number
from gon_jax.base import Batch, Capabilities, Decoder, Model, Params, Variables, match
from gon_jax.freezing import FrozenEncoder, freeze
from gon_jax.likelihoods import Likelihood
from gon_jax.linearization import (
    AffineEncoder,
    Strategy,
    choose_strategy,
    cotangents,
    encode_shared,
    gradient_encoder,
    matrix_strategy,
)
from gon_jax.models.step_size import default_step_size

__all__ = ["GONStats", "apply_encoder", "check_step_size", "gradient_model", "origin_model"]


class GONStats(NamedTuple):
    """What a decoder with batch statistics needs so that an image's latent does not depend on its batch.

    The origin pass and the latent pass see data so different that one average would fit neither. The origin's
    statistics are a function of the parameters alone and are computed; these two are averaged over training batches.

    Attributes:
        latent: the decoder's statistics in the pass that decodes the latents.
        mean_cotangent: mean over the data of d loss / d output at the origin, of the shape of one output.
    """

    latent: Any
    mean_cotangent: jax.Array


def origin_model(
    decoder: Decoder,
    likelihood: Likelihood,
    data_shape: tuple[int, ...],
    *,
    affine_encoder: Callable[[Params, jax.Array], AffineEncoder],
    encode_batch: Callable[[Params, jax.Array, jax.Array], tuple[jax.Array, jax.Array | None]] | None = None,
    init_params: Callable[[jax.Array], Params] | None = None,
    decoder_params: Callable[[Params], Params] = lambda params: params,
    inner_likelihood: Likelihood | None = None,
    outer_loss: Callable[..., jax.Array] | None = None,
) -> Model:
    """Return the model whose latents an encoder at the origin makes, and whose outer loss is its own.

    Args:
        decoder, likelihood, data_shape: matched (`gon_jax.base.match`).
        affine_encoder: `(params, origin) -> AffineEncoder` with a matrix.
        encode_batch: `(params, x, origin) -> (z, mean cotangent)` by this batch's statistics, if not by the former.
        init_params: `key -> params`, if not the decoder's.
        decoder_params: the parameters' part that is the decoder's.
        inner_likelihood: the loss that makes the latents, if not `likelihood`.
        outer_loss: `(params, batch, z, output) -> [B]`, if not the likelihood of `batch["x"]`.
    """
    inner = likelihood if inner_likelihood is None else inner_likelihood
    init_params = decoder.init_params if init_params is None else init_params
    origin = jnp.zeros(decoder.latent_shape)

    def encode_by_batch(params, x):
        z0 = origin.astype(x.dtype)
        if encode_batch is not None:
            return encode_batch(params, x, z0)
        return apply_encoder(affine_encoder(params, z0), inner, x)

    def init(key: jax.Array) -> Variables:
        params = init_params(key)
        if not decoder.batch_statistics:
            return Variables(params)
        output, stats = decoder.apply(decoder_params(params), origin[None])
        return Variables(params, GONStats(stats, jnp.zeros_like(output[0])))

    def frozen(variables: Variables) -> FrozenEncoder:
        params, stats = variables
        return freeze(affine_encoder(params, origin), inner, None if stats is None else stats.mean_cotangent)

    def encode(variables: Variables, x: jax.Array) -> jax.Array:
        if variables.stats is None or not decoder.batch_statistics:
            return encode_by_batch(variables.params, x)[0]
        return frozen(variables)(x)

    def decode(variables: Variables, z: jax.Array) -> jax.Array:
        params, stats = variables
        return likelihood.mean(decoder.output(decoder_params(params), z, None if stats is None else stats.latent))

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        del key  # nothing is random here
        params, x = variables.params, batch["x"]
        z, mean_cotangent = encode_by_batch(params, x)
        output, stats = decoder.apply(decoder_params(params), z)
        losses = likelihood(output, x) if outer_loss is None else outer_loss(params, batch, z, output)
        own = GONStats(stats, cast(jax.Array, mean_cotangent)) if decoder.batch_statistics else None
        return losses.mean(), own

    capabilities = Capabilities(freeze=frozen if decoder.independent else None)
    shapes = data_shape, decoder.latent_shape
    return Model(init, loss, encode, decode, *shapes, likelihood, capabilities, inner=inner.name)


def apply_encoder(encoder: AffineEncoder, likelihood: Likelihood, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the latents of a batch, and its mean cotangent."""
    v = cotangents(likelihood, encoder.output, x)
    mean_cotangent = v.mean(axis=0)
    return encoder.encode(v, mean_cotangent), mean_cotangent


def gradient_model(
    decoder: Decoder,
    likelihood: Likelihood,
    step_size: float | None,
    strategy: Strategy | None,
    *,
    inner_likelihood: Likelihood | None = None,
    decoder_params: Callable[[Params], Params] = lambda params: params,
    **options: Any,
) -> Model:
    """Return the model whose latents are one gradient step from the origin.

    Args:
        decoder, likelihood, step_size, strategy: as for `gon_jax.models.gon`.
        inner_likelihood, decoder_params, **options: as for `origin_model`.
    """
    decoder, data_shape = match(decoder, likelihood)
    inner = likelihood if inner_likelihood is None else inner_likelihood
    step_size = check_step_size(step_size, default_step_size(decoder, inner, data_shape))

    def encode_batch(params, x, origin):
        params = decoder_params(params)
        chosen = choose_strategy(decoder, params, x.shape[0], strategy)
        if chosen != "definition":
            encoder = gradient_encoder(decoder, params, origin, step_size=step_size, strategy=chosen)
            return apply_encoder(encoder, inner, x)
        z = encode_shared(decoder, params, x, origin, likelihood=inner, step_size=step_size, strategy=chosen)
        if not decoder.batch_statistics:
            return z, None
        return z, cotangents(inner, decoder.output(params, origin[None])[0], x).mean(axis=0)

    def affine_encoder(params, origin):
        params = decoder_params(params)
        chosen = matrix_strategy(decoder, params)
        return gradient_encoder(decoder, params, origin, step_size=step_size, strategy=chosen)

    return origin_model(
        decoder,
        likelihood,
        data_shape,
        affine_encoder=affine_encoder,
        encode_batch=encode_batch,
        decoder_params=decoder_params,
        inner_likelihood=inner_likelihood,
        **options,
    )


def check_step_size(step_size: float | None, default: float) -> float:
    """Return the step size asked for, or the default.

    Raises:
        ValueError: for one that is not above 0, where it is not traced.
    """
    step_size = default if step_size is None else step_size
    return check_number("step_size", step_size, above=0, remedy="steps go down the gradient")
