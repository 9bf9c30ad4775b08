"""The two passes of a variational GON: the decoder with noise inside, and latents from the bound's gradient (Eq. 9)."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gon_jax.base import Decoder, Params, Stats, Variables
from gon_jax.choices import InnerNoise
from gon_jax.encoding import encode, loss_gradient
from gon_jax.likelihoods import Likelihood, sum_per_example
from gon_jax.linearization import AffineEncoder, Strategy, choose_strategy, cotangents, gradient_encoder
from gon_jax.models.variational import Posterior, kl_to_standard_normal, posterior

__all__ = ["TwoPasses"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TwoPasses:
    """What training and evaluation share; fields as the arguments of `vgon`, matched and with defaults filled in."""

    decoder: Decoder
    likelihood: Likelihood
    kl_weight: float | Callable[[jax.Array], ArrayLike]
    inner_kl_weight: float
    inner_noise: InnerNoise
    logvar: float | None
    step_size: float
    num_steps: int
    origin_scale: float
    data_shape: tuple[int, ...]

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`*latent`, the decoder's."""
        return self.decoder.latent_shape

    @property
    def from_origin(self) -> bool:
        """Whether a latent depends on the data through the cotangents at z0 = 0 alone."""
        return self.origin_scale == 0 and self.num_steps == 1

    def q(self, params: Params, z: jax.Array) -> Posterior:
        """Return the distribution of t given latents z `[B, *latent]`."""
        return posterior(params, z, logvar=self.logvar)

    def with_noise(self, noise: jax.Array) -> Decoder:
        """Return the decoder z -> F(t(z, noise)), noise `[B, *latent]` or, the same for all, `[*latent]`."""

        def apply(params, z, stats=None):
            return self.decoder.apply(params["decoder"], self.q(params, z).draw(noise), stats)

        of_points = self.decoder.pointwise
        if of_points is None or noise.shape != self.latent_shape:
            return self.decoder._replace(apply=apply, pointwise=None, at=None)

        def pointwise(params, z):
            return of_points(params["decoder"], self.q(params, z).draw(noise))

        return self.decoder._replace(apply=apply, pointwise=pointwise, at=None)

    def penalty(self, params: Params, z: jax.Array) -> jax.Array:
        """Return the inner loss's terms that depend on z alone, `[B]`."""
        kl = kl_to_standard_normal(self.q(params, z))
        return self.inner_kl_weight * kl + sum_per_example(jnp.square(z)) / 4

    def encode_by_definition(self, params: Params, x: jax.Array, z0: jax.Array, noise: jax.Array) -> jax.Array:
        """Return z of Eq. 9 `[B, *latent]`, for data `[B, ...]`, start points `[B, *latent]` and inner noise."""
        decoder = self.with_noise(noise)
        return encode(
            lambda params, z: (decoder.output(params, z), self.penalty(params, z)),
            params,
            x,
            z0,
            likelihood=lambda output, x: self.likelihood(output[0], x) + output[1],
            step_size=self.step_size,
            num_steps=self.num_steps,
        )

    def encoder_at(self, params: Params, noise: jax.Array, strategy: Strategy) -> AffineEncoder:
        """Return the encoder at z0 = 0 and this noise `[*latent]`; its origin has taken the penalty's step."""
        origin = jnp.zeros(self.latent_shape, noise.dtype)
        decoder = self.with_noise(noise)
        encoder = gradient_encoder(decoder, params, origin, step_size=self.step_size, strategy=strategy)
        gradient = loss_gradient(partial(self.penalty, params), origin[None])[0]
        return encoder._replace(origin=origin - self.step_size * gradient)

    def encode_batch(self, params: Params, x: jax.Array, z0: jax.Array, noise: jax.Array) -> jax.Array:
        """Return z by the statistics of this batch, fast where all noise is one `[*latent]`."""
        if self.from_origin and noise.shape == self.latent_shape:
            strategy = choose_strategy(self.with_noise(noise), params, x.shape[0])
            if strategy != "definition":
                encoder = self.encoder_at(params, noise, strategy)
                return encoder.encode(cotangents(self.likelihood, encoder.output, x))
        return self.encode_by_definition(params, x, z0, noise)

    def draw_start(self, key: jax.Array, num: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
        """Return start points `[num, *latent]` and the inner pass's noise, `[num, *latent]` or `[*latent]`."""
        origin_key, noise_key = jax.random.split(key)
        shape = (num, *self.latent_shape)
        z0 = jnp.zeros(shape, dtype)
        if self.origin_scale:
            z0 = self.origin_scale * jax.random.normal(origin_key, shape, dtype)
        if self.inner_noise == "none":
            return z0, jnp.zeros(self.latent_shape, dtype)
        noise_shape = shape if self.inner_noise == "per_example" else self.latent_shape
        return z0, jax.random.normal(noise_key, noise_shape, dtype)

    def decode_draw(self, variables: Variables, t: jax.Array) -> tuple[jax.Array, Stats]:
        """Return F(t), and the statistics of this pass."""
        params, stats = variables
        return self.decoder.apply(params["decoder"], t, None if stats is None else stats.latent)
