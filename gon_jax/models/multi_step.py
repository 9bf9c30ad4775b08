r"""The multi-step GON and the detached baselines of the paper (Table 1, Figs. 2a, 11a and 11b, Appendix C).

T gradient steps on the loss lead from z_0 to the latent, and the outer loss is differentiated through them all, or
through none ("detached"). With T = 1 from a constant origin, differentiated, it is the GON.

    z_{t+1} = z_t - step_size * grad_{z_t} L(x, F(z_t)),    t = 0, ..., T - 1
"""

from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_choice, check_count, check_number
from gon_jax.base import Batch, Capabilities, Decoder, Model, Variables, match
from gon_jax.choices import Encoding
from gon_jax.encoding import encode
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.linearization import choose_strategy, cotangents, gradient_encoder
from gon_jax.models.gradient import check_step_size, gradient_model
from gon_jax.models.step_size import default_step_size
from gon_jax.ops.varying import vary_like

__all__ = ["Encoding", "MultiStepStats", "multi_step_gon"]


class MultiStepStats(NamedTuple):
    """What a decoder with batch statistics needs so that an image's latent does not depend on its batch.

    Each pass has statistics of its own, averaged over training batches, but for a first pass from one shared origin,
    which is computed from the parameters, as in `GONStats`, and exact. In a later step, an image moves by the gradient
    at the held statistics alone: adding what the coupling adds on average brought nothing on digits.

    Attributes:
        latent: the decoder's statistics in the pass that decodes the latents.
        mean_cotangent: as in `GONStats`; `None` where start points are drawn.
        steps: the decoder's statistics `[n, ...]` in the n steps after it (all T where start points are drawn); `None`
            for n = 0.
    """

    latent: Any
    mean_cotangent: jax.Array | None
    steps: Any


def multi_step_gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    num_steps: int = 10,
    step_size: float | None = None,
    detached: bool = False,
    learn_origin: bool = False,
    learn_step_size: bool = False,
    origin_scale: float = 0.0,
    encoding: Encoding = "step",
) -> Model:
    r"""Return the GON whose latents are several gradient steps: minimize, with z_T as above, L(x, F(z_T)).

    Parameters are `{"decoder": ...}`, and `"origin"` `[*latent]` and `"log_step_size"` where these are learned.

    From one origin the first step takes the fast forms of `gon_jax.encode_shared`. Each later one is rematerialized:
    the forward loop keeps the latents `[T, B, *latent]` alone and the backward loop computes each step again. That is 8
    decoder passes per step in place of 6, and yet faster on a CPU.

    Under batch statistics each pass has those of its own batch, and gradients flow through them, as in `gon`. With
    averaged statistics examples are independent, which is exact for the first step from one origin, and close for later
    ones; see `MultiStepStats`.

    Args:
        decoder: a record.
        likelihood: the inner and the outer loss.
        num_steps: T.
        step_size: by default `gon_jax.models.default_step_size`: the paper's latent learning rate of 0.1, in its units.
        detached: the latent is a constant of the outer loss, so the decoder learns from its last pass alone.
        learn_origin: z_0 is a parameter, which starts at 0.
        learn_step_size: its logarithm is a parameter, which starts at that of `step_size`.
        origin_scale: above 0, z_0 is drawn from N(0, origin_scale^2 I) around the origin, for each example and training
            step. In evaluation by batch statistics each example has a fixed draw; else all have the same.
        encoding: the latent is z_T ("step") or z_T - z_0 ("gradient"): "z0 - grad" and "-grad" of Appendix C.

    Raises:
        TypeError, ValueError: as for `gon`; for less than one step, an origin_scale below 0, an unknown encoding, or an
            origin or step size to be learned in a detached model, where no gradient would reach it.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = multi_step_gon(conv_decoder((8, 8, 1), (3,), base_channels=4), num_steps=2, learn_origin=True)
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape, variables.params["origin"]
    ((5, 3), Array([0., 0., 0.], dtype=float32))
    """
    decoder, data_shape = match(decoder, likelihood)
    latent_shape = decoder.latent_shape
    num_steps = check_count("num_steps", num_steps)
    step_size = check_step_size(step_size, default_step_size(decoder, likelihood, data_shape, num_steps=num_steps))
    check_number("origin_scale", origin_scale, least=0, remedy="it is a standard deviation")
    check_choice("encoding", encoding, ("step", "gradient"))
    if detached and (learn_origin or learn_step_size):
        raise ValueError("expected nothing learned through a detached latent, got learn_origin or learn_step_size")
    shared = origin_scale == 0 and decoder.independent  # then the first step has fast forms
    num_later = num_steps - shared

    def init(key):
        params = {"decoder": decoder.init_params(key)}
        if learn_origin:
            params["origin"] = jnp.zeros(latent_shape)
        if learn_step_size:
            params["log_step_size"] = jnp.log(jnp.float32(step_size))
        if not decoder.batch_statistics:
            return Variables(params)
        output, stats = decoder.apply(params["decoder"], jnp.zeros((1, *latent_shape)))
        mean_cotangent = jnp.zeros_like(output[0]) if shared else None
        later = jax.tree.map(lambda a: jnp.broadcast_to(a, (num_later, *a.shape)), stats)
        return Variables(params, MultiStepStats(stats, mean_cotangent, later if num_later else None))

    def origin_of(params, dtype):
        return params["origin"].astype(dtype) if learn_origin else jnp.zeros(latent_shape, dtype)

    def draw(params, key, num, dtype):
        """Return start points `[num, *latent]`."""
        z0 = jnp.broadcast_to(origin_of(params, dtype), (num, *latent_shape))
        return z0 + origin_scale * jax.random.normal(key, z0.shape, dtype) if origin_scale else z0

    def step_size_of(params):
        return jnp.exp(params["log_step_size"]) if learn_step_size else step_size

    def step(decoder_fn, params, x, z):
        return encode(decoder_fn, params["decoder"], x, z, likelihood=likelihood, step_size=step_size_of(params))

    def first_step(params, x, mean_cotangent=None):
        """Return the latents after the step from the shared origin, and the mean cotangent."""
        num = 2 if x.shape[0] == 1 else x.shape[0]  # the costs for one example tie with the definition's
        strategy = choose_strategy(decoder, params["decoder"], num)
        origin, step_size = origin_of(params, x.dtype), step_size_of(params)
        encoder = gradient_encoder(decoder, params["decoder"], origin, step_size=step_size, strategy=strategy)
        v = cotangents(likelihood, encoder.output, x)
        mean_cotangent = v.mean(axis=0) if mean_cotangent is None else mean_cotangent
        return encoder.encode(v, mean_cotangent), mean_cotangent

    def finish(z, z0):
        return z - z0 if encoding == "gradient" else z

    def encode_by_batch(params, x, z0):
        """Return latents by the statistics of this batch, and its `MultiStepStats` without the first field."""
        z, mean_cotangent, steps = vary_like(z0, x, params), None, None
        if shared:
            z, mean_cotangent = first_step(params, x)
        remade = jax.checkpoint(lambda z: step(decoder.output, params, x, z), prevent_cse=False)

        def body(z, _):
            constants, before = jax.lax.stop_gradient((params["decoder"], z))
            return remade(z), decoder.apply(constants, before)[1]  # the same pass, which XLA computes once

        if num_later:
            z, steps = jax.lax.scan(body, z, length=num_later)
        return finish(z, z0), (mean_cotangent, steps)

    def encode_alone(params, stats, x, z0):
        """Return latents by averaged statistics, examples independent."""

        def body(z, stats):
            return step(partial(decoder.output, stats=stats), params, x, z), None

        z = vary_like(first_step(params, x, stats.mean_cotangent)[0] if shared else z0, x, params, stats)
        return finish(jax.lax.scan(body, z, stats.steps)[0] if num_later else z, z0)

    def encode_fixed(variables, x):
        params, stats = variables
        by_batch = decoder.batch_statistics and stats is None
        z0 = draw(params, jax.random.key(0), x.shape[0] if by_batch else 1, x.dtype)
        z0 = jnp.broadcast_to(z0, (x.shape[0], *latent_shape))
        if by_batch or not decoder.batch_statistics:
            return encode_by_batch(params, x, z0)[0]
        return encode_alone(params, stats, x, z0)

    def decode(variables, z):
        params, stats = variables
        return likelihood.mean(decoder.output(params["decoder"], z, None if stats is None else stats.latent))

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        params, x = variables.params, batch["x"]
        inner = jax.lax.stop_gradient(params) if detached else params
        z, other_stats = encode_by_batch(inner, x, draw(inner, key, x.shape[0], x.dtype))
        output, latent = decoder.apply(params["decoder"], z)
        stats = MultiStepStats(latent, *other_stats) if decoder.batch_statistics else None
        return likelihood(output, x).mean(), stats

    freeze = None
    if num_steps == 1 and shared and not (learn_origin or learn_step_size):
        one_step = gradient_model(decoder, likelihood, step_size, None, decoder_params=itemgetter("decoder"))
        freeze = one_step.capabilities.freeze
    capabilities = Capabilities(freeze=freeze)
    functions = init, loss, encode_fixed, decode
    return Model(*functions, data_shape, latent_shape, likelihood, capabilities, inner=likelihood.name)
