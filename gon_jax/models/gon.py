"""The Gradient Origin Network: a decoder, and codes that are gradients at the origin (Eqs. 7 and 8 of the paper)."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.models.model import Batch, Model, Variables
from gon_jax.origin import Decoder, Strategy, cotangents, encode_shared


class GONStats(NamedTuple):
    """What a decoder with batch statistics needs so that an image encodes the same alone and in any company.

    The origin pass and the latent pass see data so different that one average would fit neither. The origin's
    statistics are a function of the parameters alone and are computed; these two are averaged over training batches.

    Attributes:
      latent: the decoder's statistics in the pass that decodes the codes.
      mean_cotangent: mean over the data of d loss / d output at the origin, of the shape of one output.
    """

    latent: Any
    mean_cotangent: jax.Array


def gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    step_size: float | None = None,
    strategy: Strategy | None = None,
) -> Model:
    r"""Return the GON of a decoder: minimise over its parameters, with z_0 = 0,

    $$ \mathcal{L}\big(x, F(z_0 - s \nabla_{z_0} \mathcal{L}(x, F(z_0)))\big). \quad \text{(Eq. 8)} $$

    The loss is a sum over data axes and a mean over examples; the release's mean over pixels too is the same up to the
    step size s and Adam's epsilon.

    Args:
      decoder: `gon_jax.networks.conv_decoder(...)`, or your own function in the record `Decoder`.
      likelihood: the inner and the outer loss.
      step_size: s; by default the release's, 1 / (64 H W) for data `[H, W, C]` (64 is its batch size).
      strategy: how the encoder is computed; see `gon_jax.encode_shared`.

    >>> from gon_jax.networks import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    """
    origin = jnp.zeros(decoder.latent_shape)
    params_shape = jax.eval_shape(decoder.init, jax.random.key(0))
    output_shape = jax.eval_shape(lambda p: decoder.plain(p, origin[None]), params_shape).shape[1:]
    data_shape = jax.eval_shape(likelihood.mean, jax.ShapeDtypeStruct((1, *output_shape), jnp.float32)).shape[1:]
    if step_size is None:
        step_size = 1 / (64 * math.prod(data_shape[:-1]))
    options = {"likelihood": likelihood, "step_size": step_size, "strategy": strategy}

    def start(x):
        return origin.astype(x.dtype)

    def init(key):
        params = decoder.init(key)
        if not decoder.batch_statistics:
            return Variables(params)
        output, stats = decoder.apply(params, origin[None])
        return Variables(params, GONStats(stats, jnp.zeros_like(output[0])))

    def encode(variables, x):
        x = jnp.asarray(x)
        params, stats = variables
        mean_cotangent = None if stats is None else stats.mean_cotangent
        return encode_shared(decoder, params, x, start(x), mean_cotangent=mean_cotangent, **options)

    def decode(variables, z):
        params, stats = variables
        if decoder.batch_statistics:
            output, _ = decoder.apply(params, z, None if stats is None else stats.latent)
        else:
            output = decoder.apply(params, z)
        return likelihood.mean(output)

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        del key  # nothing is random here
        params, x = variables.params, batch["x"]
        if not decoder.batch_statistics:
            z = encode_shared(decoder, params, x, start(x), **options)
            return likelihood(decoder.apply(params, z), x).mean(), None
        mean_cotangent = cotangents(likelihood, decoder.plain(params, start(x)[None])[0], x).mean(axis=0)
        z = encode_shared(decoder, params, x, start(x), mean_cotangent=mean_cotangent, **options)
        output, stats = decoder.apply(params, z)
        return likelihood(output, x).mean(), GONStats(stats, mean_cotangent)

    return Model(init, loss, encode, decode, data_shape, decoder.latent_shape)
