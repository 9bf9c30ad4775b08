"""What a configuration stands for: its likelihood, decoder, model and optimizer."""

import optax

from gon_jax import likelihoods
from gon_jax.coordinates import grid
from gon_jax.runs.config import Config
from gon_jax.likelihoods import Likelihood, discretized_logistic_mixture, gaussian
from gon_jax.base import Model
from gon_jax.models import (
    autoencoder,
    glo,
    gon,
    gon_classifier,
    implicit_gon,
    least_squares_gon,
    multi_step_gon,
    translation_gon,
    vae,
    vgon,
)
from gon_jax.decoders import (
    conv_decoder,
    conv_encoder,
    fourier_decoder,
    modulated_siren_decoder,
    precision,
    siren_decoder,
)
from gon_jax.base import Decoder
from gon_jax.training import make_optimizer

# Latent step sizes without batch normalization, whose 1/sqrt(1e-5) at the origin makes a small gradient large: the best
# of 2^-11 to 2^7 on digits of 16, 32 and 64 pixels after 300 steps.
STEP_SIZES = {"group": 0.25, "none": 128.0}
BASELINES = ("autoencoder", "tied_autoencoder", "vae")  # they have an encoder, the decoder's mirror image


def make_likelihood(config: Config) -> Likelihood:
    """Return the likelihood that a configuration names."""
    if config.likelihood == "gaussian":
        return gaussian(config.scale)
    if config.likelihood == "discretized_logistic_mixture":
        return discretized_logistic_mixture(config.num_components)
    return getattr(likelihoods, config.likelihood)


def make_decoder(config: Config, data_shape: tuple[int, ...], num_outputs: int = 1) -> Decoder:
    """Return the decoder of a configuration, for data `(*spatial, C)`, with this many outputs for each channel.

    Raises:
        ValueError: for data that the network is not for.
    """
    *spatial, num_channels = data_shape
    if config.network == "conv":
        if len(spatial) != 2:
            raise ValueError(f"expected images for network conv, got data of shape {data_shape}; take --network siren")
        bounded = config.likelihood in ("squared_error", "gaussian")  # the others take logits and other real numbers
        return conv_decoder(
            (*spatial, num_channels * num_outputs),
            config.latent_shape,
            base_channels=config.base_channels,
            norm=config.norm,
            activation=config.activation,
            output_activation="sigmoid" if bounded else "none",
        )
    if len(config.latent_shape) != 1:
        raise ValueError(f"expected latent_shape k for network {config.network}, got {config.latent_shape}")
    options = {"hidden_dim": config.hidden_dim, "num_layers": config.num_layers}
    if config.network == "fourier":
        options |= {"bandwidth": config.bandwidth, "num_frequencies": config.num_frequencies}
    else:
        options["first_omega_0"] = config.first_omega_0
        options |= {} if config.omega_0 is None else {"omega_0": config.omega_0}
    network = {"siren": siren_decoder, "modulated_siren": modulated_siren_decoder, "fourier": fourier_decoder}
    coordinates, (latent_size,) = grid(*spatial), config.latent_shape
    return network[config.network](coordinates, latent_size, num_channels * num_outputs, **options)


def make_model(config: Config, data_shape: tuple[int, ...]) -> Model:
    """Return the model of a configuration, for data `(*spatial, C)`: images `(H, W, C)`, say.

    >>> make_model(Config(), (32, 32, 1)).latent_shape
    (32,)
    """
    likelihood = make_likelihood(config)
    decoder = make_decoder(config, data_shape, likelihood.num_outputs)
    if config.precision == "bfloat16":
        decoder = precision.mixed_precision(decoder)
    options = {"likelihood": likelihood}
    if config.encoder == "least_squares":
        return least_squares_gon(decoder, **options, damping=config.damping, learn_damping=config.learn_damping)
    if config.model in BASELINES:
        return _make_baseline(config, data_shape, decoder, options)
    if config.model == "glo":
        return glo(decoder, **options)
    step_size = config.step_size
    if step_size is None and config.model != "vgon" and config.network == "conv" and config.norm in STEP_SIZES:
        # A Gaussian's gradient is that of the squared error by 1 / (2 scale^2): the same codes.
        step_size = STEP_SIZES[config.norm] * (2 * config.scale**2 if config.likelihood == "gaussian" else 1)
    if step_size is not None:
        options["step_size"] = step_size
    if config.model == "gon":
        implicit = decoder.at is not None
        return implicit_gon(decoder, **options, num_points=config.num_points) if implicit else gon(decoder, **options)
    if config.model == "classifier":
        return gon_classifier(
            decoder, config.num_classes, **options, reconstruction_weight=config.reconstruction_weight
        )
    if config.model == "translation":
        return translation_gon(decoder, **options)
    if config.model == "multi_step":
        names = ("detached", "learn_origin", "learn_step_size", "origin_scale", "encoding")
        options |= {name: getattr(config, name) for name in names}
        return multi_step_gon(decoder, **options, num_steps=config.inner_steps)
    return vgon(
        decoder,
        **options,
        kl_weight=_kl_weight(config),
        inner_kl_weight=config.inner_kl_weight,
        inner_noise=config.inner_noise,
        logvar=config.logvar,
    )


def _kl_weight(config):
    rise = optax.linear_schedule(0.0, config.kl_weight, config.kl_warmup_steps)
    return rise if config.kl_warmup_steps else config.kl_weight


def _make_baseline(config, data_shape, decoder, options):
    """Return a model with an encoder: the decoder's mirror image."""
    if config.network != "conv":
        raise ValueError(f"expected network conv for the encoder of model {config.model}, got {config.network}")
    tied = config.model == "tied_autoencoder"
    widths = {"base_channels": config.base_channels, "norm": config.norm, "activation": config.activation}
    encoder = conv_encoder(data_shape, config.latent_shape, **widths, tied=tied)
    if config.model == "vae":
        return vae(decoder, encoder, **options, kl_weight=_kl_weight(config), logvar=config.logvar)
    return autoencoder(decoder, encoder, **options)


def optimizer_of(config: Config) -> optax.GradientTransformation:
    """Return the optimizer of a configuration."""
    return make_optimizer(
        config.learning_rate,
        num_steps=config.num_steps,
        schedule=config.schedule,
        warmup_steps=config.warmup_steps,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
        epsilon=config.adam_epsilon,
    )
