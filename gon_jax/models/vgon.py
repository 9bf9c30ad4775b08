r"""The variational GON (Eqs. 9 and 10 of the paper): a code that is a distribution, and samples in one step.

Inside the decoder, between z and F, two linear maps give the mean and the log variance of q(t given z), and noise draws
t = mean(z) + exp(logvar(z) / 2) noise. Both passes minimize the same bound, with noise of their own:

    z = z0 - step_size * grad_{z0} [ -log p(x given t(z0, inner noise)) + KL(q(t given z0), N(0, I)) + |z0|^2 / 4 ]
    loss = -log p(x given t(z, outer noise)) + KL(q(t given z), N(0, I))

The last term of the first is -log N(z0; 0, 2I): z0 is taken for z with noise of variance 1 added, and z for its
empirical-Bayes estimate. At z0 = 0 its gradient is 0; it acts from sampled origins, and in several steps.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.base import Batch, Decoder, Model, Variables, data_shape_of, integral_weights
from gon_jax.encoding import encode
from gon_jax.freezing import encode_frozen, freeze
from gon_jax.likelihoods import Likelihood, bernoulli, sum_per_example, weighted
from gon_jax.linearization import cotangents, gradient_encoder, matrix_strategy, strategy_of
from gon_jax.models.variational import (
    Posterior,
    draw_bound,
    init_posterior,
    kl_to_standard_normal,
    posterior,
    variational_loss,
)

__all__ = ["NUM_REFERENCES", "Posterior", "VGONStats", "kl_to_standard_normal", "posterior", "vgon"]

InnerNoise = Literal["per_example", "shared", "none"]
NUM_REFERENCES = 64  # rows of the batch that stands for an image's company: the release's batch size


class VGONStats(NamedTuple):
    """What a decoder with batch statistics needs so that an image encodes the same alone and in any company.

    The first pass starts from noise and not from data, so its statistics are computed from a reference batch of noise.

    Attributes:
        latent: the decoder's statistics in the pass that decodes the codes, averaged over training batches.
        mean_x: mean over the data: what the rest of the reference batch is to reconstruct.
        mean_cotangent: without inner noise all start from one point and no reference batch is needed, but as in
            `GONStats` the mean of d loss / d output there; else `None`.
    """

    latent: Any
    mean_x: jax.Array
    mean_cotangent: jax.Array | None = None


def vgon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = bernoulli,
    kl_weight: float | Callable[[jax.Array], jax.Array] = 1.0,
    inner_kl_weight: float = 1.0,
    inner_noise: InnerNoise = "per_example",
    logvar: float | None = None,
    step_size: float = 1 / 64,
    num_steps: int = 1,
    origin_scale: float = 0.0,
) -> Model:
    r"""Return the variational GON of a decoder: minimize the negative evidence lower bound of Eq. 10, in nats,

    $$ -\mathbb{E}_{q(t | z)} \log p(x | F(t)) + \beta\, \mathrm{KL}(q(t | z), N(0, I)), $$

    with z the code of Eq. 9. Its `sample` decodes draws of N(0, I), in one step. Parameters are `{"decoder", "mean",
    "logvar"}`, the last two a `kernel` `[k, k]` and a `bias` `[k]`, in PyTorch's initialization of linear layers.

    `encode` returns z with one fixed draw of inner noise for all images; `decode` takes z to the decoder at the mean of
    q. Evaluated with averaged statistics and inner noise, an image under batch statistics is encoded in the company of
    a reference batch: 64 fixed draws of noise, each with the mean of the data to reconstruct. For likelihoods whose
    gradient is affine in x that is what company in training is on average; others do better without inner noise.

    Args:
        decoder: a record; its output is the likelihood's (logits for the Bernoulli: no sigmoid).
        likelihood: -log p(x given F(t)), in both passes.
        kl_weight: beta of the outer loss, 1 for the bound; or a schedule of optax, read at the step.
        inner_kl_weight: of the inner loss.
        inner_noise: of the inner pass: independent for each example, as the release; one draw for the batch; or none.
            With the last two all examples start from one point, and are encoded by the fast forms.
        logvar: a constant log variance of q in place of the second map (section 3.3).
        step_size: 1/64 is the release's, whose loss is a mean over 64 examples.
        num_steps: of the inner loop, 1 in a GON; all with the same noise.
        origin_scale: above 0, z0 is drawn from N(0, origin_scale^2 I) for each example, in place of 0.

    Raises:
        ValueError: for an unknown `inner_noise`, or several steps with batch statistics, for which no evaluation is
            known by which an image would encode the same alone and in company.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = vgon(conv_decoder((8, 8, 1), (3,), base_channels=4, output_activation="none"))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape, model.sample(variables, jax.random.key(1), 2).shape
    ((5, 3), (2, 8, 8, 1))
    """
    if inner_noise not in ("per_example", "shared", "none"):
        raise ValueError(f"expected inner_noise 'per_example', 'shared' or 'none', got {inner_noise!r}")
    if num_steps > 1 and decoder.batch_statistics:
        raise ValueError(f"expected a decoder without batch statistics for num_steps={num_steps}; take norm='group'")
    latent_shape, k = decoder.latent_shape, math.prod(decoder.latent_shape)
    data_shape = data_shape_of(decoder, likelihood)
    q_of = partial(posterior, logvar=logvar)
    from_origin = origin_scale == 0 and num_steps == 1  # then all of the data that a code depends on is v at z0
    one_start = from_origin and inner_noise == "none" and decoder.batch_statistics

    def init(key):
        decoder_key, *keys = jax.random.split(key, 3)
        params = {"decoder": decoder.init(decoder_key)} | init_posterior(keys, k, logvar=logvar)
        if not decoder.batch_statistics:
            return Variables(params)
        output, stats = decoder.apply(params["decoder"], jnp.zeros((1, *latent_shape)))
        mean_cotangent = jnp.zeros_like(output[0]) if one_start else None
        return Variables(params, VGONStats(stats, jnp.full(data_shape, 0.5), mean_cotangent))

    def with_noise(noise):
        """Return the record of z -> F(t(z, noise)), noise `[B, *latent]` or, the same for all, `[*latent]`."""

        def at_draw(function):
            return lambda params, z, *stats: function(params["decoder"], q_of(params, z).draw(noise), *stats)

        pointwise = None if decoder.pointwise is None or noise.shape != latent_shape else at_draw(decoder.pointwise)
        return decoder._replace(apply=at_draw(decoder.apply), init=init, pointwise=pointwise, at=None)

    def penalty(params, z):  # [B]
        return inner_kl_weight * kl_to_standard_normal(q_of(params, z)) + sum_per_example(jnp.square(z)) / 4

    def penalty_gradient(params, z):
        return jax.grad(lambda z: penalty(params, z).sum())(z)

    def definition(params, x, z0, noise):
        apply = with_noise(noise).plain
        return encode(
            lambda params, z: (apply(params, z), penalty(params, z)),
            params,
            x,
            z0,
            likelihood=lambda output, x: likelihood(output[0], x) + output[1],
            step_size=step_size,
            num_steps=num_steps,
        )

    def from_one_start(params, noise, strategy):
        """Return the encoder of all examples at z0 = 0 and this noise `[*latent]`; its origin carries the KL's part."""
        origin = jnp.zeros(latent_shape, noise.dtype)
        encoder = gradient_encoder(with_noise(noise), params, origin, step_size=step_size, strategy=strategy)
        return encoder._replace(origin=origin - step_size * penalty_gradient(params, origin[None])[0])

    def codes(params, x, z0, noise):
        """Return z by the statistics of this batch, fast where all noise is one `[*latent]`."""
        if from_origin and noise.shape == latent_shape:
            strategy = strategy_of(with_noise(noise), params, len(x))
            if strategy != "definition":
                encoder = from_one_start(params, noise, strategy)
                return encoder.codes(cotangents(likelihood, encoder.output, x))
        return definition(params, x, z0, noise)

    def draws(key, num, dtype):
        """Return the inner pass's start points `[num, *latent]` and its noise, `[num, *latent]` or `[*latent]`."""
        origin_key, noise_key = jax.random.split(key)
        shape = (num, *latent_shape)
        z0 = origin_scale * jax.random.normal(origin_key, shape, dtype) if origin_scale else jnp.zeros(shape, dtype)
        if inner_noise == "none":
            return z0, jnp.zeros(latent_shape, dtype)
        return z0, jax.random.normal(noise_key, shape if inner_noise == "per_example" else latent_shape, dtype)

    def reference(dtype):
        """Return start points and noise of the reference batch, a row each."""
        num = NUM_REFERENCES if inner_noise == "per_example" or origin_scale else 1
        z0, noise = draws(jax.random.key(0), num, dtype)
        return z0, jnp.broadcast_to(noise, z0.shape)

    def held(params, mean_x):
        """Return the reference batch, its statistics, and its codes where x is the data's mean."""
        z0, noise = reference(mean_x.dtype)
        stats = with_noise(noise).apply(params, z0)[1]
        return z0, noise, stats, definition(params, jnp.broadcast_to(mean_x, (len(z0), *data_shape)), z0, noise)

    def encode_in_reference(variables, x, index):
        """Encode each image as one row of the reference batch, `index` `[B]`, rows independent."""
        params, mean_x = variables.params, variables.stats.mean_x.astype(x.dtype)
        z0, noise, stats, z_mean = held(params, mean_x)
        row = with_noise(noise[index])
        output, pullback = jax.vjp(lambda z: row.apply(params, z, stats)[0], z0[index])

        def v(x):
            return jax.grad(lambda output: likelihood(output, x).sum())(output)

        return z_mean[index] - step_size * pullback(v(x) - v(jnp.broadcast_to(mean_x, x.shape)))[0]

    def encode_with(variables, x, keys):
        """Encode images, each with inner noise from its own key `[B]`."""
        if one_start and variables.stats is not None:  # not frozen: that is for many batches
            noise = jnp.zeros(latent_shape, x.dtype)
            encoder = from_one_start(variables.params, noise, strategy_of(with_noise(noise), variables.params, len(x)))
            return encoder.codes(cotangents(likelihood, encoder.output, x), variables.stats.mean_cotangent)
        if decoder.batch_statistics and variables.stats is not None:
            num = len(reference(x.dtype)[0])
            return encode_in_reference(variables, x, jax.vmap(lambda key: jax.random.randint(key, (), 0, num))(keys))
        z0, noise = jax.vmap(lambda key: draws(key, 1, x.dtype))(keys)
        noise = noise[0] if inner_noise == "none" else noise.reshape(len(x), *latent_shape)
        return codes(variables.params, x, z0[:, 0], noise)

    def encode_fixed(variables, x):
        """Encode images, all with the reference batch's first draw."""
        x = jnp.asarray(x)
        if not decoder.batch_statistics:
            z0, noise = reference(x.dtype)
            return codes(variables.params, x, jnp.broadcast_to(z0[0], (len(x), *latent_shape)), noise[0])
        if variables.stats is None:  # images are each other's company
            return codes(variables.params, x, *draws(jax.random.key(0), len(x), x.dtype))
        if from_origin:
            return encode_frozen(frozen(variables), x, likelihood=likelihood)
        return encode_in_reference(variables, x, jnp.zeros(len(x), int))

    def frozen(variables):
        params, stats = variables
        if not decoder.batch_statistics:
            noise = reference(params["mean"]["bias"].dtype)[1][0]
            strategy = matrix_strategy(with_noise(noise), params)
            return freeze(from_one_start(params, noise, strategy), likelihood)
        if one_start:
            noise = jnp.zeros(latent_shape, stats.mean_x.dtype)
            encoder = from_one_start(params, noise, matrix_strategy(with_noise(noise), params))
            return freeze(encoder, likelihood, stats.mean_cotangent)
        z0, noise, origin_stats, z_mean = held(params, stats.mean_x)
        fixed = with_noise(noise[0])
        row = fixed._replace(apply=lambda params, z: fixed.apply(params, z, origin_stats)[0], rows="independent")
        encoder = gradient_encoder(row, params, z0[0], step_size=step_size, strategy="jacobian")
        # The mean cotangent gives z_mean, any other what its deviation adds.
        encoder = encoder._replace(origin=z_mean[0], apply_to_mean=lambda mean: jnp.zeros(latent_shape, mean.dtype))
        return freeze(encoder, likelihood, cotangents(likelihood, encoder.output, stats.mean_x[None])[0])

    def output_of(variables, t):
        """Return F(t), and the statistics of this pass."""
        params, stats = variables
        return decoder.forward(params["decoder"], t, None if stats is None else stats.latent)

    def decode(variables, z):
        return likelihood.mean(output_of(variables, q_of(variables.params, z).mean)[0])

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        params, x = variables.params, batch["x"]
        inner_key, outer_key = jax.random.split(key)
        z0, noise = draws(inner_key, len(x), x.dtype)
        z = codes(params, x, z0, batch.get("inner_noise", noise))
        q = q_of(params, z)
        outer = batch.get("outer_noise", jax.random.normal(outer_key, z.shape, z.dtype))
        output, stats = output_of(Variables(params), q.draw(outer))
        value = variational_loss(likelihood, output, q, batch, kl_weight)
        if not decoder.batch_statistics:
            return value, None
        mean_cotangent = None
        if one_start:
            output = with_noise(jnp.zeros(latent_shape, x.dtype)).plain(params, jnp.zeros((1, *latent_shape), x.dtype))
            mean_cotangent = cotangents(likelihood, output[0], x).mean(axis=0)
        return value, VGONStats(stats, x.mean(axis=0), mean_cotangent)

    def bound(variables, x, keys):
        inner_keys, outer_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        q = q_of(variables.params, encode_with(variables, x, inner_keys))
        return draw_bound(likelihood, lambda t: output_of(variables, t)[0], q, x, outer_keys)

    def sample(variables, key, num):
        return likelihood.mean(output_of(variables, jax.random.normal(key, (num, *latent_shape)))[0])

    def at(coordinates, weights=None):
        weights = integral_weights(decoder, coordinates, weights)
        there = vgon(
            decoder.at(coordinates),
            likelihood=weighted(likelihood, weights),
            kl_weight=kl_weight,
            inner_kl_weight=inner_kl_weight,
            inner_noise=inner_noise,
            logvar=logvar,
            step_size=step_size,
            num_steps=num_steps,
            origin_scale=origin_scale,
        )
        return there._replace(at=at)

    freezes = frozen if from_origin and decoder.rows != "unknown" else None
    functions = {"sample": sample, "bound": bound, "at": None if decoder.at is None else at}
    return Model(init, loss, encode_fixed, decode, data_shape, latent_shape, likelihood, freezes, **functions)
