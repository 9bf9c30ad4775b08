r"""Generative latent optimization: no encoder at all, but a latent for each training example, learned with the decoder.

    minimize over params and z_1, ..., z_N:  mean over i of loss(x_i, F(z_i))

Data that were not trained on have no latent: theirs is found by gradient descent with the decoder fixed.
Reference: Bojanowski et al., "Optimizing the Latent Space of Generative Networks", ICML 2018, arXiv 1707.05776.
"""

from typing import cast

import jax
import jax.numpy as jnp
import optax

from gon_jax.arguments import check_count, check_number
from gon_jax.base import Batch, Capabilities, Decoder, Model, Variables, match
from gon_jax.encoding import loss_gradient
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.ops.varying import vary_like

__all__ = ["glo"]


def glo(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    num_steps: int = 100,
    latent_learning_rate: float = 0.1,
    latent_scale: float = 0.03,
) -> Model:
    """Return the GLO model of a decoder: its parameters are the decoder's, its latents those that Adam finds from 0.

    Training keeps the latents of the training data (`gon_jax.training.Latents`), which start from N(0, scale^2 I), and
    updates those of a batch with its parameters. Unlike the original they are not projected to the unit ball, and the
    loss is any likelihood.

    Args:
        decoder: a record. `stats` are its statistics with the latents of the training data.
        likelihood: the loss of training and of encoding.
        num_steps: of Adam, to encode.
        latent_learning_rate: of these steps. (The training data's latents have the `latent_optimizer` of
            `gon_jax.training.fit`.)
        latent_scale: standard deviation of the training data's latents at the start; small beside what they become.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = glo(conv_decoder((8, 8, 1), (3,), base_channels=4), num_steps=2)
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    """
    decoder, data_shape = match(decoder, likelihood)
    latent_shape, num_steps = decoder.latent_shape, check_count("num_steps", num_steps)
    check_number("latent_learning_rate", latent_learning_rate, above=0)
    check_number("latent_scale", latent_scale, least=0)
    adam = optax.adam(latent_learning_rate)

    def init(key):
        params = decoder.init_params(key)
        return Variables(params, decoder.apply(params, jnp.zeros((1, *latent_shape)))[1])

    def init_latents(key, num):
        return latent_scale * jax.random.normal(key, (num, *latent_shape))

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        del key  # nothing is random here
        output, stats = decoder.apply(variables.params, batch["z"])
        return likelihood(output, batch["x"]).mean(), stats

    def encode(variables, x):
        params, stats = variables

        def step(carry, _):  # Adam acts on each number by itself: examples stay independent
            z, state = carry
            gradient = loss_gradient(lambda z: likelihood(decoder.output(params, z, stats), x), z)
            updates, state = adam.update(gradient, state)
            return (cast(jax.Array, optax.apply_updates(z, updates)), state), None

        z0 = vary_like(jnp.zeros((x.shape[0], *latent_shape), x.dtype), x, variables)
        return jax.lax.scan(step, (z0, adam.init(z0)), length=num_steps)[0][0]

    def decode(variables, z):
        return likelihood.mean(decoder.output(variables.params, z, variables.stats))

    capabilities = Capabilities(init_latents=init_latents)
    return Model(init, loss, encode, decode, data_shape, latent_shape, likelihood, capabilities)
