r"""The variational GON (Eqs. 9 and 10 of the paper): a latent that is a distribution, and samples in one step.

Inside the decoder, between z and F, two linear maps give the mean and the log variance of q(t given z), and noise draws
t = mean(z) + exp(logvar(z) / 2) noise. Both passes minimize the same bound, with noise of their own:

    z = z0 - step_size * grad_{z0} [ -log p(x given t(z0, inner noise)) + KL(q(t given z0), N(0, I)) + |z0|^2 / 4 ]
    loss = -log p(x given t(z, outer noise)) + KL(q(t given z), N(0, I))

The last term of the first is -log N(z0; 0, 2I): z0 is taken for z with noise of variance 1 added, and z for its
empirical-Bayes estimate. At z0 = 0 its gradient is 0; it acts from sampled origins, and in several steps.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gon_jax.arguments import check_choice, check_count, check_number
from gon_jax.base import Batch, Bound, Capabilities, Decoder, Model, Params, Stats, Variables, integral_weights, match
from gon_jax.choices import InnerNoise
from gon_jax.encoding import loss_gradient
from gon_jax.freezing import FrozenEncoder, freeze
from gon_jax.likelihoods import Likelihood, bernoulli, weighted
from gon_jax.linearization import choose_strategy, cotangents, gradient_encoder, matrix_strategy
from gon_jax.models.gradient import check_step_size
from gon_jax.models.step_size import default_step_size
from gon_jax.models.two_passes import TwoPasses
from gon_jax.models.variational import check_weight, draw_bound, init_posterior, variational_loss
from gon_jax.ops.varying import vjp

__all__ = ["NUM_REFERENCES", "InnerNoise", "VGONStats", "vgon"]

NUM_REFERENCES = 64  # examples of the reference batch: the authors' batch size


class VGONStats(NamedTuple):
    """What a decoder with batch statistics needs so that an image's latent does not depend on its batch.

    The first pass starts from noise and not from data, so its statistics are computed from a reference batch of noise.

    Attributes:
        latent: the decoder's statistics in the pass that decodes the latents, averaged over training batches.
        mean_x: mean over the data: what the other examples of the reference batch are to reconstruct.
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
    kl_weight: float | Callable[[jax.Array], ArrayLike] = 1.0,
    inner_kl_weight: float = 1.0,
    inner_noise: InnerNoise = "per_example",
    logvar: float | None = None,
    step_size: float | None = None,
    num_steps: int = 1,
    origin_scale: float = 0.0,
) -> Model:
    r"""Return the variational GON of a decoder: minimize the negative evidence lower bound of Eq. 10, in nats,

    $$ -\mathbb{E}_{q(t | z)} \log p(x | F(t)) + \beta\, \mathrm{KL}(q(t | z), N(0, I)), $$

    with z the latent of Eq. 9. Its `sample` decodes draws from N(0, I), in one step. Parameters are `{"decoder",
    "mean", "logvar"}`, the last two a `kernel` `[k, k]` and a `bias` `[k]`, in PyTorch's initialization of linear
    layers.

    `encode` returns z with one fixed draw of inner noise for all images; `decode` takes z to the decoder at the mean of
    q. Evaluated with averaged statistics and inner noise, an image is encoded as one example of a reference batch: 64
    fixed draws of noise, each with the mean of the data to reconstruct. For likelihoods whose gradient is affine in x
    that is what the rest of a training batch is on average; others do better without inner noise.

    Args:
        decoder: a record; its output is the likelihood's, as `gon_jax.base.match` says.
        likelihood: -log p(x given F(t)), in both passes.
        kl_weight: beta of the outer loss, 1 for the bound; or a schedule of optax, read at the step.
        inner_kl_weight: of the inner loss.
        inner_noise: noise of the inner pass: independent for each example, as the authors'; one draw for the batch; or
            none. With the last two all examples start from one point, and are encoded by the fast forms.
        logvar: a constant log variance of q in place of the second map (section 3.3).
        step_size: by default `gon_jax.models.default_step_size`.
        num_steps: of the inner loop, 1 in a GON; all with the same noise.
        origin_scale: above 0, z0 is drawn from N(0, origin_scale^2 I) for each example, in place of 0.

    Raises:
        TypeError, ValueError: as for `gon`; for an unknown `inner_noise`; or for several steps with batch statistics,
            where no evaluation is known that makes an image's latent independent of its batch.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = vgon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    >>> model.capabilities.sample(variables, jax.random.key(1), 2).shape
    (2, 8, 8, 1)
    """
    check_choice("inner_noise", inner_noise, ("per_example", "shared", "none"))
    num_steps = check_count("num_steps", num_steps)
    check_number("origin_scale", origin_scale, least=0)
    check_number("inner_kl_weight", inner_kl_weight, least=0)
    check_weight(kl_weight)
    if logvar is not None:
        check_number("logvar", logvar)
    if num_steps > 1 and decoder.batch_statistics:
        raise ValueError(f"expected a decoder without batch statistics for num_steps={num_steps}; take norm='group'")
    decoder, data_shape = match(decoder, likelihood)
    step_size = check_step_size(step_size, default_step_size(decoder, likelihood, data_shape, variational=True))
    return _VGON(
        decoder=decoder,
        likelihood=likelihood,
        kl_weight=kl_weight,
        inner_kl_weight=inner_kl_weight,
        inner_noise=inner_noise,
        logvar=logvar,
        step_size=step_size,
        num_steps=num_steps,
        origin_scale=origin_scale,
        data_shape=data_shape,
    ).model()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _VGON(TwoPasses):
    """The functions of the model."""

    def model(self) -> Model:
        freezes = self.from_origin and self.decoder.independent
        capabilities = Capabilities(
            freeze=self.freeze if freezes else None,
            sample=self.sample,
            bound=self.bound,
            at=None if self.decoder.at is None else self.at,
        )
        functions = self.init, self.loss, self.encode, self.decode
        shapes, inner = (self.data_shape, self.latent_shape), self.likelihood.name
        return Model(*functions, *shapes, self.likelihood, capabilities, inner=inner)

    @property
    def averages_cotangents(self) -> bool:
        """Whether all examples start from one point without noise, under batch statistics: as in a GON."""
        return self.from_origin and self.inner_noise == "none" and self.decoder.batch_statistics

    def init(self, key: jax.Array) -> Variables:
        keys = jax.random.split(key, 3)
        posterior_params = init_posterior(keys[1:], math.prod(self.latent_shape), logvar=self.logvar)
        params = {"decoder": self.decoder.init_params(keys[0])} | posterior_params
        if not self.decoder.batch_statistics:
            return Variables(params)
        output, stats = self.decoder.apply(params["decoder"], jnp.zeros((1, *self.latent_shape)))
        mean_cotangent = jnp.zeros_like(output[0]) if self.averages_cotangents else None
        return Variables(params, VGONStats(stats, jnp.full(self.data_shape, 0.5, output.dtype), mean_cotangent))

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> tuple[jax.Array, Stats]:
        params, x = variables.params, batch["x"]
        inner_key, outer_key = jax.random.split(key)
        z0, noise = self.draw_start(inner_key, x.shape[0], x.dtype)
        z = self.encode_batch(params, x, z0, batch.get("inner_noise", noise))
        q = self.q(params, z)
        outer_noise = batch.get("outer_noise", jax.random.normal(outer_key, z.shape, z.dtype))
        output, stats = self.decode_draw(Variables(params), q.draw(outer_noise))
        value = variational_loss(self.likelihood, output, q, batch, self.kl_weight)
        if not self.decoder.batch_statistics:
            return value, None
        mean_cotangent = None
        if self.averages_cotangents:
            at_zero = self.with_noise(jnp.zeros(self.latent_shape, x.dtype))
            output = at_zero.output(params, jnp.zeros((1, *self.latent_shape), x.dtype))
            mean_cotangent = cotangents(self.likelihood, output[0], x).mean(axis=0)
        return value, VGONStats(stats, x.mean(axis=0), mean_cotangent)

    # -- evaluation by a reference batch ----------------------------------------------------------------------------

    def reference_batch(self, dtype: Any) -> tuple[jax.Array, jax.Array]:
        """Return the reference batch's start points and noise, each `[num, *latent]`."""
        num = NUM_REFERENCES if self.inner_noise == "per_example" or self.origin_scale else 1
        z0, noise = self.draw_start(jax.random.key(0), num, dtype)
        return z0, jnp.broadcast_to(noise, z0.shape)

    def encode_reference(self, params: Params, mean_x: jax.Array) -> tuple[jax.Array, jax.Array, Stats, jax.Array]:
        """Return the reference batch's start points, noise, statistics, and latents where x is the data's mean."""
        z0, noise = self.reference_batch(mean_x.dtype)
        stats = self.with_noise(noise).apply(params, z0)[1]
        x = jnp.broadcast_to(mean_x, (len(z0), *self.data_shape))
        return z0, noise, stats, self.encode_by_definition(params, x, z0, noise)

    def encode_in_reference(self, variables: Variables, x: jax.Array, index: jax.Array) -> jax.Array:
        """Encode each image as the example `index` `[B]` of the reference batch, examples independent."""
        params, mean_x = variables.params, variables.stats.mean_x.astype(x.dtype)
        z0, noise, stats, z_mean = self.encode_reference(params, mean_x)
        decoder = self.with_noise(noise[index])
        output, pullback = vjp(lambda z: decoder.output(params, z, stats), z0[index], x, params)

        def v(x):
            return loss_gradient(lambda output: self.likelihood(output, x), output)

        return z_mean[index] - self.step_size * pullback(v(x) - v(jnp.broadcast_to(mean_x, x.shape)))[0]

    def encode_with_keys(self, variables: Variables, x: jax.Array, keys: jax.Array) -> jax.Array:
        """Encode images, each with inner noise from its own key `[B]`."""
        params, stats = variables
        if self.averages_cotangents and stats is not None:  # not frozen: that is for many batches
            noise = jnp.zeros(self.latent_shape, x.dtype)
            encoder = self.encoder_at(params, noise, choose_strategy(self.with_noise(noise), params, x.shape[0]))
            return encoder.encode(cotangents(self.likelihood, encoder.output, x), stats.mean_cotangent)
        if self.decoder.batch_statistics and stats is not None:
            num = len(self.reference_batch(x.dtype)[0])
            index = jax.vmap(lambda key: jax.random.randint(key, (), 0, num))(keys)
            return self.encode_in_reference(variables, x, index)
        z0, noise = jax.vmap(lambda key: self.draw_start(key, 1, x.dtype))(keys)
        noise = noise[0] if self.inner_noise == "none" else noise.reshape(x.shape[0], *self.latent_shape)
        return self.encode_batch(params, x, z0[:, 0], noise)

    def encode(self, variables: Variables, x: jax.Array) -> jax.Array:
        """Encode images, all with the reference batch's first draw."""
        if not self.decoder.batch_statistics:
            z0, noise = self.reference_batch(x.dtype)
            z0 = jnp.broadcast_to(z0[0], (x.shape[0], *self.latent_shape))
            return self.encode_batch(variables.params, x, z0, noise[0])
        if variables.stats is None:  # by the batch at hand
            return self.encode_batch(variables.params, x, *self.draw_start(jax.random.key(0), x.shape[0], x.dtype))
        if self.from_origin:
            return self.freeze(variables)(x)
        return self.encode_in_reference(variables, x, jnp.zeros(x.shape[0], int))

    def freeze(self, variables: Variables) -> FrozenEncoder:
        params, stats = variables
        if self.decoder.batch_statistics and stats is None:
            raise ValueError(
                "expected averaged statistics under batch statistics, got stats=None; take a trained state's"
            )
        if not self.decoder.batch_statistics or self.averages_cotangents:
            dtype = params["mean"]["bias"].dtype
            noise = self.reference_batch(dtype)[1][0]
            encoder = self.encoder_at(params, noise, matrix_strategy(self.with_noise(noise), params))
            return freeze(encoder, self.likelihood, stats.mean_cotangent if self.averages_cotangents else None)
        z0, noise, origin_stats, z_mean = self.encode_reference(params, stats.mean_x)
        fixed = self.with_noise(noise[0])

        def apply(params, z, stats=None):
            return fixed.output(params, z, origin_stats), None

        independent = fixed._replace(apply=apply, batch_statistics=False)
        encoder = gradient_encoder(independent, params, z0[0], step_size=self.step_size, strategy="jacobian")
        # The mean cotangent gives z_mean, any other what its deviation adds.
        encoder = encoder._replace(origin=z_mean[0], apply_to_mean=lambda v: jnp.zeros(self.latent_shape, v.dtype))
        mean_cotangent = cotangents(self.likelihood, encoder.output, stats.mean_x[None])[0]
        return freeze(encoder, self.likelihood, mean_cotangent)

    # -- what users call --------------------------------------------------------------------------------------------

    def decode(self, variables: Variables, z: jax.Array) -> jax.Array:
        return self.likelihood.mean(self.decode_draw(variables, self.q(variables.params, z).mean)[0])

    def bound(self, variables: Variables, x: jax.Array, keys: jax.Array) -> Bound:
        inner_keys, outer_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        q = self.q(variables.params, self.encode_with_keys(variables, x, inner_keys))
        return draw_bound(self.likelihood, lambda t: self.decode_draw(variables, t)[0], q, x, outer_keys)

    def sample(self, variables: Variables, key: jax.Array, num: int) -> jax.Array:
        return self.likelihood.mean(self.decode_draw(variables, jax.random.normal(key, (num, *self.latent_shape)))[0])

    def at(self, coordinates: jax.Array, weights: jax.Array | None = None) -> Model:
        assert self.decoder.at is not None
        likelihood = weighted(self.likelihood, integral_weights(self.decoder, coordinates, weights))
        decoder, data_shape = match(self.decoder.at(coordinates), likelihood)
        there = dataclasses.replace(self, decoder=decoder, likelihood=likelihood, data_shape=data_shape).model()
        return dataclasses.replace(there, capabilities=there.capabilities._replace(at=self.at))
