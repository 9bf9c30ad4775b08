"""The autoencoder, the baseline of Table 1 of the paper: the GON's decoder and an encoder of its own parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.base import Batch, Decoder, Model, Stats, Variables, data_shape_of
from gon_jax.decoders import EncoderNetwork
from gon_jax.likelihoods import Likelihood, squared_error


class AutoencoderStats(NamedTuple):
    """Statistics averaged over training batches, of whichever half has some; `None` of the other.

    Attributes:
        encoder: of the data.
        decoder: of their codes.
    """

    encoder: Any
    decoder: Any


def encoder_pass(encoder: EncoderNetwork, variables: Variables, x: jax.Array) -> tuple[jax.Array, Stats]:
    """Return the encoder's outputs, `[B, *latent]`, and the statistics of this pass.

    Args:
        encoder: a record.
        variables: with parameters `{"encoder", "decoder", ...}`; with `stats=None` the batch's own are used.
        x: data, `[B, ...]`.

    >>> encoder = EncoderNetwork(lambda w, x: x @ w, lambda key: jnp.ones((4, 3)), (3,))
    >>> encoder_pass(encoder, Variables({"encoder": jnp.ones((4, 3))}), jnp.ones((1, 4)))
    (Array([[4., 4., 4.]], dtype=float32), None)
    """
    params, stats = variables
    tied_to = {"decoder": params["decoder"]} if encoder.tied else {}
    if encoder.batch_statistics:
        return encoder.apply(params["encoder"], x, None if stats is None else stats.encoder, **tied_to)
    return encoder.apply(params["encoder"], x, **tied_to), None


def decoder_pass(decoder: Decoder, variables: Variables, z: jax.Array) -> tuple[jax.Array, Stats]:
    """Return the decoder's output, `[B, ...]`, and the statistics of this pass.

    Args:
        decoder: a record.
        variables: as for `encoder_pass`.
        z: what the decoder takes, `[B, *latent]`.

    >>> decoder = Decoder(lambda w, z: z @ w, lambda key: jnp.ones((3, 4)), (3,))
    >>> decoder_pass(decoder, Variables({"decoder": jnp.ones((3, 4))}), jnp.ones((1, 3)))
    (Array([[3., 3., 3., 3.]], dtype=float32), None)
    """
    params, stats = variables
    return decoder.forward(params["decoder"], z, None if stats is None else stats.decoder)


def stats_of(encoder_stats: Stats, decoder_stats: Stats) -> AutoencoderStats | None:
    """Return the statistics of the two passes, `None` where neither has any.

    >>> stats_of(None, {"mean": 1.0}), stats_of(None, None)
    (AutoencoderStats(encoder=None, decoder={'mean': 1.0}), None)
    """
    if encoder_stats is None and decoder_stats is None:
        return None
    return AutoencoderStats(encoder_stats, decoder_stats)


def init_pair(key: jax.Array, decoder: Decoder, encoder: EncoderNetwork, data_shape: tuple[int, ...]) -> Variables:
    """Return the first parameters `{"decoder", "encoder"}`, and statistics of the right form, all 0.

    >>> encoder = EncoderNetwork(lambda w, x: x @ w, lambda key: jnp.ones((4, 3)), (3,))
    >>> decoder = Decoder(lambda w, z: z @ w, lambda key: jnp.ones((3, 4)), (3,))
    >>> jax.tree.map(jnp.shape, init_pair(jax.random.key(0), decoder, encoder, (4,)).params)
    {'decoder': (3, 4), 'encoder': (4, 3)}
    """
    decoder_key, encoder_key = jax.random.split(key)
    params = {"decoder": decoder.init(decoder_key), "encoder": encoder.init(encoder_key)}

    def stats(params):
        variables = Variables(params)
        _, encoder_stats = encoder_pass(encoder, variables, jnp.zeros((1, *data_shape)))
        _, decoder_stats = decoder_pass(decoder, variables, jnp.zeros((1, *decoder.latent_shape)))
        return stats_of(encoder_stats, decoder_stats)

    return Variables(params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(stats, params)))


def check_pair(decoder: Decoder, encoder: EncoderNetwork, likelihood: Likelihood) -> tuple[int, ...]:
    """Return the shape of the data that the two are for.

    Raises:
        ValueError: if the encoder does not make latents of the decoder's shape from them.

    >>> encoder = EncoderNetwork(lambda w, x: x @ w, lambda key: jnp.ones((4, 3)), (3,))
    >>> check_pair(Decoder(lambda w, z: z @ w, lambda key: jnp.ones((3, 4)), (3,)), encoder, squared_error)
    (4,)
    """
    data_shape = data_shape_of(decoder, likelihood)
    if encoder.latent_shape != decoder.latent_shape:
        raise ValueError(
            f"expected an encoder to latents {decoder.latent_shape}, the decoder's, got {encoder.latent_shape}; make "
            "both with the same latent_shape"
        )

    x = jax.ShapeDtypeStruct((2, *data_shape), jnp.float32)
    params = jax.eval_shape(lambda key: init_pair(key, decoder, encoder, data_shape).params, jax.random.key(0))
    z = jax.eval_shape(lambda params, x: encoder_pass(encoder, Variables(params), x)[0], params, x)
    if z.shape != (2, *decoder.latent_shape):
        raise ValueError(
            f"expected codes {(2, *decoder.latent_shape)} of data {x.shape}, got {z.shape} from `encoder.apply`"
        )
    return data_shape


def autoencoder(decoder: Decoder, encoder: EncoderNetwork, *, likelihood: Likelihood = squared_error) -> Model:
    r"""Return the autoencoder of a decoder F and an encoder E: minimize over the parameters of both

    $$ \mathcal{L}(x, F(E(x))). $$

    Parameters are `{"decoder", "encoder"}`, the first exactly the GON's. With a tied encoder, which takes the decoder's
    kernels transposed, the second are its biases and normalization.

    Args:
        decoder: a record.
        encoder: `gon_jax.decoders.conv_encoder(...)`, its mirror image, or your own function in the record
            `EncoderNetwork`.
        likelihood: the loss.

    Raises:
        ValueError: for an encoder to latents of another shape, of other data, or tied to another decoder.

    >>> from gon_jax.decoders import conv_decoder, conv_encoder
    >>> model = autoencoder(conv_decoder((8, 8, 1), (3,)), conv_encoder((8, 8, 1), (3,), tied=True))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    """
    data_shape = check_pair(decoder, encoder, likelihood)

    def init(key):
        return init_pair(key, decoder, encoder, data_shape)

    def encode(variables, x):
        return encoder_pass(encoder, variables, jnp.asarray(x))[0]

    def decode(variables, z):
        return likelihood.mean(decoder_pass(decoder, variables, z)[0])

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        del key  # nothing is random here
        by_batch = Variables(variables.params)
        z, encoder_stats = encoder_pass(encoder, by_batch, batch["x"])
        output, decoder_stats = decoder_pass(decoder, by_batch, z)
        return likelihood(output, batch["x"]).mean(), stats_of(encoder_stats, decoder_stats)

    return Model(init, loss, encode, decode, data_shape, decoder.latent_shape, likelihood)
