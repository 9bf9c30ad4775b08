"""The autoencoder, the baseline of Table 1 of the paper: the GON's decoder and an encoder of its own parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_kind
from gon_jax.base import Batch, Decoder, EncoderNetwork, Model, Stats, Variables, match
from gon_jax.likelihoods import Likelihood, squared_error

__all__ = ["AutoencoderStats", "Pair", "autoencoder"]


class AutoencoderStats(NamedTuple):
    """Statistics averaged over training batches, `None` for a half that has none.

    Attributes:
        encoder: in the pass over the data.
        decoder: in the pass over their latents.
    """

    encoder: Any
    decoder: Any


class Pair(NamedTuple):
    """An encoder and a decoder that go together, with parameters `{"encoder", "decoder", ...}`; see `Pair.matched`."""

    encoder: EncoderNetwork
    decoder: Decoder
    data_shape: tuple[int, ...]

    @classmethod
    def matched(cls, decoder: Decoder, encoder: EncoderNetwork, likelihood: Likelihood) -> "Pair":
        """Return the pair for the data that a decoder and a likelihood are for.

        Raises:
            TypeError, ValueError: for a decoder and a likelihood that do not match, or an encoder that does not make
                latents of the decoder's shape from such data.
        """
        decoder, data_shape = match(decoder, likelihood)
        check_kind("encoder", encoder, EncoderNetwork, "gon_jax.decoders.conv_encoder makes one")
        if encoder.latent_shape != decoder.latent_shape:
            raise ValueError(
                f"expected an encoder to latents {decoder.latent_shape}, the decoder's, got {encoder.latent_shape}; "
                "make both with the same latent_shape"
            )
        pair = cls(encoder, decoder, data_shape)
        x = jax.ShapeDtypeStruct((2, *data_shape), jnp.float32)
        params = jax.eval_shape(pair.init_params, jax.random.key(0))
        z = jax.eval_shape(lambda params, x: pair.encode(Variables(params), x)[0], params, x)
        if z.shape != (2, *decoder.latent_shape):
            raise ValueError(
                f"expected latents {(2, *decoder.latent_shape)} for data {x.shape}, got {z.shape} from `encoder.apply`"
            )
        return pair

    def init_params(self, key: jax.Array) -> dict[str, Any]:
        """Return the initial parameters of both."""
        decoder_key, encoder_key = jax.random.split(key)
        if self.encoder.init is None:
            raise ValueError("expected an encoder with `init`, got one without; give EncoderNetwork(..., init=...)")
        return {"decoder": self.decoder.init_params(decoder_key), "encoder": self.encoder.init(encoder_key)}

    def init(self, key: jax.Array) -> Variables:
        """Return the initial parameters, and statistics of the right form, all 0."""
        params = self.init_params(key)

        def stats(params):
            variables = Variables(params)
            encoder_stats = self.encode(variables, jnp.zeros((1, *self.data_shape)))[1]
            return self.stats(encoder_stats, self.decode(variables, jnp.zeros((1, *self.decoder.latent_shape)))[1])

        return Variables(params, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), jax.eval_shape(stats, params)))

    def encode(self, variables: Variables, x: jax.Array) -> tuple[jax.Array, Stats]:
        """Return the encoder's outputs `[B, *latent]`, and the statistics of this pass."""
        params, stats = variables
        tied_to = {"decoder": params["decoder"]} if self.encoder.tied else {}
        return self.encoder.apply(params["encoder"], x, None if stats is None else stats.encoder, **tied_to)

    def decode(self, variables: Variables, z: jax.Array) -> tuple[jax.Array, Stats]:
        """Return the decoder's output `[B, ...]`, and the statistics of this pass."""
        params, stats = variables
        return self.decoder.apply(params["decoder"], z, None if stats is None else stats.decoder)

    @staticmethod
    def stats(encoder_stats: Stats, decoder_stats: Stats) -> AutoencoderStats | None:
        """Return the statistics of the two passes, `None` where neither has any."""
        if encoder_stats is None and decoder_stats is None:
            return None
        return AutoencoderStats(encoder_stats, decoder_stats)


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
        ValueError: for an encoder to latents of another shape, for other data, or tied to another decoder.

    >>> from gon_jax.decoders import conv_decoder, conv_encoder
    >>> model = autoencoder(conv_decoder((8, 8, 1), (3,)), conv_encoder((8, 8, 1), (3,), tied=True))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    """
    pair = Pair.matched(decoder, encoder, likelihood)

    def encode(variables, x):
        return pair.encode(variables, x)[0]

    def decode(variables, z):
        return likelihood.mean(pair.decode(variables, z)[0])

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        del key  # nothing is random here
        by_batch = Variables(variables.params)
        z, encoder_stats = pair.encode(by_batch, batch["x"])
        output, decoder_stats = pair.decode(by_batch, z)
        return likelihood(output, batch["x"]).mean(), pair.stats(encoder_stats, decoder_stats)

    return Model(pair.init, loss, encode, decode, pair.data_shape, pair.decoder.latent_shape, likelihood)
