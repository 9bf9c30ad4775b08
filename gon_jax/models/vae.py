"""The variational autoencoder, the baseline of Table 2 of the paper: the variational GON with an encoder.

Reference: Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014, arXiv 1312.6114.
"""

import math
from collections.abc import Callable

import jax
from jax.typing import ArrayLike

from gon_jax.arguments import check_number
from gon_jax.base import Batch, Capabilities, Decoder, EncoderNetwork, Model, Variables
from gon_jax.likelihoods import Likelihood, bernoulli
from gon_jax.models.autoencoder import Pair
from gon_jax.models.variational import check_weight, draw_bound, init_posterior, posterior, variational_loss

__all__ = ["vae"]


def vae(
    decoder: Decoder,
    encoder: EncoderNetwork,
    *,
    likelihood: Likelihood = bernoulli,
    kl_weight: float | Callable[[jax.Array], ArrayLike] = 1.0,
    logvar: float | None = None,
) -> Model:
    r"""Return the VAE of a decoder F and an encoder: minimize the negative evidence lower bound, in nats,

    $$ -\mathbb{E}_{q(t | x)} \log p(x | F(t)) + \beta\, \mathrm{KL}(q(t | x), N(0, I)). $$

    The encoder's outputs go to mean and log variance of q by the same two linear maps that the variational GON has, so
    the two models differ in what is put into these. Parameters are `{"decoder", "encoder", "mean", "logvar"}`.

    `encode` returns the mean of q, which is what the prior is compared with; `decode` takes t, and `sample` decodes
    draws of N(0, I). `batch["noise"]` `[B, *latent]` stands for the noise of a training step, where it is given.

    Args:
        decoder: a record; its output is the likelihood's, as `gon_jax.base.match` says.
        encoder: as for `autoencoder`.
        likelihood: -log p(x given F(t)).
        kl_weight: beta, 1 for the bound; or a schedule of optax, read at the step.
        logvar: a constant log variance of q in place of the second map.

    Raises:
        ValueError: as for `autoencoder`.

    >>> from gon_jax.decoders import conv_decoder, conv_encoder
    >>> model = vae(conv_decoder((8, 8, 1), (3,)), conv_encoder((8, 8, 1), (3,)))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jax.numpy.ones((5, 8, 8, 1))).shape
    (5, 3)
    >>> model.capabilities.sample(variables, jax.random.key(1), 2).shape
    (2, 8, 8, 1)
    """
    check_weight(kl_weight)
    if logvar is not None:
        check_number("logvar", logvar)
    pair = Pair.matched(decoder, encoder, likelihood)
    latent_shape = pair.decoder.latent_shape

    def q_of(variables, x):
        """Return q(t given x), and the statistics of this pass."""
        z, stats = pair.encode(variables, x)
        return posterior(variables.params, z, logvar=logvar), stats

    def init(key):
        keys = jax.random.split(key, 3)
        params, stats = pair.init(keys[0])
        return Variables(params | init_posterior(keys[1:], math.prod(latent_shape), logvar=logvar), stats)

    def encode(variables, x):
        return q_of(variables, x)[0].mean

    def decode(variables, t):
        return likelihood.mean(pair.decode(variables, t)[0])

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        by_batch = Variables(variables.params)
        q, encoder_stats = q_of(by_batch, batch["x"])
        noise = batch.get("noise", jax.random.normal(key, q.mean.shape, q.mean.dtype))
        output, decoder_stats = pair.decode(by_batch, q.draw(noise))
        value = variational_loss(likelihood, output, q, batch, kl_weight)
        return value, pair.stats(encoder_stats, decoder_stats)

    def bound(variables, x, keys):
        return draw_bound(likelihood, lambda t: pair.decode(variables, t)[0], q_of(variables, x)[0], x, keys)

    def sample(variables, key, num):
        return decode(variables, jax.random.normal(key, (num, *latent_shape)))

    capabilities = Capabilities(sample=sample, bound=bound)
    return Model(init, loss, encode, decode, pair.data_shape, latent_shape, likelihood, capabilities)
