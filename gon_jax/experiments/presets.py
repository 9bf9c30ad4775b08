"""What a run is: one flat configuration, and the named ones."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import optax

from gon_jax import likelihoods
from gon_jax.coordinates import grid
from gon_jax.likelihoods import Likelihood, discretised_logistic_mixture, gaussian
from gon_jax.models import (
    Model,
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
from gon_jax.networks import (
    conv_decoder,
    conv_encoder,
    fourier_decoder,
    modulated_siren_decoder,
    precision,
    siren_decoder,
)
from gon_jax.networks.conv import Activation, Norm
from gon_jax.origin import Decoder
from gon_jax.training import LATENT_LEARNING_RATE, Schedule, make_optimizer

# Latent step sizes without batch normalisation, whose 1/sqrt(1e-5) at the origin makes a small gradient large: the best
# of 2^-11 to 2^7 on digits of 16, 32 and 64 pixels after 300 steps.
STEP_SIZES = {"group": 0.25, "none": 128.0}


LikelihoodName = Literal[
    "squared_error",
    "gaussian",
    "gaussian_scale",
    "bernoulli",
    "continuous_bernoulli",
    "categorical",
    "discretised_logistic",
    "discretised_logistic_mixture",
]
ModelName = Literal[
    "gon",
    "vgon",
    "classifier",
    "translation",
    "multi_step",
    "autoencoder",
    "tied_autoencoder",
    "vae",
    "glo",
]
BASELINES = ("autoencoder", "tied_autoencoder", "vae")  # they have an encoder, the decoder's mirror image
# Options that only some models read: elsewhere, one that isn't its default is refused.
_OPTIONS_OF = {
    ("encoder", "least_squares"): ("damping", "learn_damping"),
    ("model", "gon"): ("encoder", "num_points"),
    ("model", "vgon", "vae"): ("kl_weight", "kl_warmup_steps", "logvar"),
    ("model", "vgon"): ("inner_kl_weight", "inner_noise"),
    ("model", "classifier"): ("num_classes", "reconstruction_weight"),
    ("model", "translation"): ("source",),
    ("model", "multi_step"): ("inner_steps", "detached", "learn_origin", "learn_step_size", "origin_scale", "encoding"),
    ("model", "glo"): ("latent_learning_rate",),
    ("model", "gon", "vgon", "classifier", "translation", "multi_step"): ("step_size",),
    ("network", "conv"): ("base_channels", "norm", "activation"),
    ("network", "siren", "modulated_siren", "fourier"): ("hidden_dim", "num_layers", "num_points"),
    ("network", "siren", "modulated_siren"): ("omega_0", "first_omega_0"),
    ("network", "fourier"): ("bandwidth", "num_frequencies"),
    ("likelihood", "gaussian"): ("scale",),
    ("likelihood", "discretised_logistic_mixture"): ("num_components",),
}


@dataclass(frozen=True)
class Config:
    """All that a run follows from. The defaults are those of the release's first script."""

    model: ModelName = "gon"
    """A GON, the variational one, a classifier, a translation from other data; several inner steps, jointly or
    detached; or a baseline: autoencoder, the same with tied weights, VAE, GLO (a latent for each training datum)."""
    dataset: str = "mnist"
    """digits, mnist, fashion_mnist, cifar10, coil20, smallnorb, celeb_a, lsun/bedroom; tones, solids, moving_digits; or
    a folder of images, a .npy or .npz file."""
    image_size: int | None = 32
    """Resize images to this height and width, a power of two from 8 to 256; None keeps their size."""
    num_validation: int | None = None
    """Training examples at the end of the set to hold out, to choose the best checkpoint by; None is 5000, or a tenth
    where that is less. 0 selects nothing."""

    latent_shape: tuple[int, ...] = (32,)
    """Shape of a code: k, or h h c for a spatial one."""
    network: Literal["conv", "siren", "modulated_siren", "fourier"] = "conv"
    """The decoder: convolutional, or a function of coordinates: an implicit model, of data in 1, 2 or 3 dimensions."""
    base_channels: int = 16
    """Width of the convolutional decoder at half the image size; doubles with every halving."""
    norm: Norm = "batch"
    """Normalisation of the convolutional decoder; batch is the release's."""
    activation: Activation = "elu"
    """Of the hidden layers of the convolutional decoder."""
    hidden_dim: int = 256
    """Width of a decoder of coordinates."""
    num_layers: int = 4
    """Its hidden layers."""
    omega_0: float | None = None
    """Factor in every sine; None is 30 for siren, 10 for modulated_siren."""
    first_omega_0: float | None = None
    """In the first layer's, which sets the frequencies; None is the same. Sound needs hundreds."""
    bandwidth: float = 1.0
    """Of the random frequencies of a Fourier network, in cycles per unit of coordinates from -1 to 1."""
    num_frequencies: int = 64
    """How many of them."""
    num_points: int | None = None
    """Points of each example in a training step of an implicit GON, drawn at random; None is all."""
    likelihood: LikelihoodName = "squared_error"
    """Inner and outer loss."""
    scale: float = 0.1
    """Standard deviation of the likelihood gaussian."""
    num_components: int = 5
    """Of the likelihood discretised_logistic_mixture."""
    encoder: Literal["gradient", "least_squares"] = "gradient"
    """What a code is: a gradient step from the origin, as the release's, or a damped Gauss-Newton step."""
    step_size: float | None = None
    """Length of the gradient step per unit of gradient; None is the release's: 1/(64 H W), 1/(64 channels) of an
    implicit model, 1/64 of a variational; or tuned to other norms."""
    damping: float = 0.01
    """Of the least-squares encoder, over the mean eigenvalue of what it inverts."""
    learn_damping: bool = False
    """Train the damping too, from there on."""
    kl_weight: float = 1.0
    """Of the KL divergence in the outer loss of a variational GON; 1 is the evidence bound."""
    kl_warmup_steps: int = 0
    """Steps in which it rises from 0, linearly."""
    inner_kl_weight: float = 1.0
    """Of the KL divergence in the inner loss."""
    inner_noise: Literal["per_example", "shared", "none"] = "per_example"
    """Of the inner pass of a variational GON; per_example is the release's, the others encode faster."""
    logvar: float | None = None
    """A constant log variance of the posterior in place of a learned one."""
    num_classes: int = 10
    """Of a classifier: labels are 0, 1, ..."""
    reconstruction_weight: float = 0.0
    """Of the reconstruction error in a classifier's outer loss; above 0 it is a joint model."""
    source: Literal["low_resolution", "noisy", "grey"] = "low_resolution"
    """What a translation starts from, made from the dataset's images."""
    inner_steps: int = 10
    """Steps from the origin of a multi_step GON."""
    detached: bool = False
    """Take its codes for constants in the outer loss, the paper's failing ablation."""
    learn_origin: bool = False
    """Train the point that its codes start from."""
    learn_step_size: bool = False
    """Train the length of its steps."""
    origin_scale: float = 0.0
    """Above 0, its codes start from draws of this standard deviation."""
    encoding: Literal["step", "gradient"] = "step"
    """What its code is: the last point, or the last point minus the first (Appendix C)."""
    latent_learning_rate: float = LATENT_LEARNING_RATE
    """Of Adam on the latents of GLO."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the decoder's activations and products; parameters, losses and codes are float32."""

    num_steps: int = 1001
    """Steps of gradient descent."""
    batch_size: int = 64
    """Images a step."""
    learning_rate: float = 1e-4
    """Of Adam, the highest where there is a schedule."""
    schedule: Schedule = "constant"
    """constant, or cosine down to 0 at the last step."""
    warmup_steps: int = 0
    """Steps of linear rise to the learning rate."""
    clip_norm: float | None = None
    """Largest global norm of the gradient."""
    weight_decay: float = 0.0
    """Decoupled, as in AdamW."""
    adam_epsilon: float = 1024e-8
    """The release's 1e-8 on its mean over 32x32 pixels: our losses are sums over pixels."""
    ema_decay: float = 0.0
    """Above 0, evaluate an exponential average of the parameters."""
    stats_decay: float = 0.98
    """Of the averages of batch statistics."""

    validate_every: int | None = None
    """Steps between validations, each of which saves a checkpoint; None is once an epoch."""
    seed: int = 0
    """All randomness of the run follows from it."""

    def __post_init__(self):
        lowest = {"num_steps": 1, "batch_size": 1, "base_channels": 1, "hidden_dim": 1, "num_layers": 1}
        lowest |= {"num_frequencies": 1, "num_points": 1, "num_components": 1}
        lowest |= {"num_classes": 2, "reconstruction_weight": 0, "inner_steps": 1, "origin_scale": 0}
        lowest |= {"kl_weight": 0, "inner_kl_weight": 0, "kl_warmup_steps": 0}
        lowest |= {"num_validation": 0, "warmup_steps": 0, "weight_decay": 0, "seed": 0}
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                words = ", ".join(get_args(hint))
                raise ValueError(f"expected {name} one of {words}, got {getattr(self, name)!r}")
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"expected a finite {name}, got {value}")
            if name in lowest and value is not None and value < lowest[name]:
                raise ValueError(f"expected {name} of at least {lowest[name]}, got {value}")
            positive = ("learning_rate", "latent_learning_rate", "scale", "adam_epsilon", "damping", "bandwidth")
            if name in positive and not value > 0:
                raise ValueError(f"expected {name} above 0, got {value}")
            optional = ("validate_every", "step_size", "clip_norm", "omega_0", "first_omega_0")
            if name in optional and value is not None and not value > 0:
                raise ValueError(f"expected {name} above 0 or None, got {value}")
            if name in ("ema_decay", "stats_decay") and not 0 <= value < 1:
                raise ValueError(f"expected {name} from 0 up to 1, got {value}")
        if not self.latent_shape or min(self.latent_shape) < 1:
            raise ValueError(f"expected latent_shape of positive sizes, got {self.latent_shape}")
        if self.encoder == "least_squares" and self.step_size is not None:
            raise ValueError(f"expected no step_size with encoder least_squares, got {self.step_size}; see damping")
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for (name, *admitted), options in _OPTIONS_OF.items():
            for option in options:
                value, chosen = getattr(self, option), getattr(self, name)
                if chosen not in admitted and value != defaults[option]:
                    its = f"it is of {name} {' or '.join(admitted)}"
                    raise ValueError(f"expected no {option} with {name} {chosen}, got {value}; {its}")
        if self.schedule == "cosine" and self.warmup_steps >= self.num_steps:
            raise ValueError(f"expected warmup_steps below num_steps={self.num_steps}, got {self.warmup_steps}")
        if self.seed >= 2**32:
            raise ValueError(f"expected a seed of 32 bits, got {self.seed}")


def make_likelihood(config: Config) -> Likelihood:
    """Return the likelihood that a configuration names."""
    if config.likelihood == "gaussian":
        return gaussian(config.scale)
    if config.likelihood == "discretised_logistic_mixture":
        return discretised_logistic_mixture(config.num_components)
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
    """Return the optimiser of a configuration."""
    return make_optimizer(
        config.learning_rate,
        num_steps=config.num_steps,
        schedule=config.schedule,
        warmup_steps=config.warmup_steps,
        clip_norm=config.clip_norm,
        weight_decay=config.weight_decay,
        epsilon=config.adam_epsilon,
    )


_RELEASE = Config()
# The setting of the published logs: all 60,000 images, nothing selected; ten epochs of 937 steps.
_LOGS = dataclasses.replace(_RELEASE, latent_shape=(256,), learning_rate=2e-4, num_steps=9370, num_validation=0)
_DIGITS = Config(dataset="digits", latent_shape=(16,), num_steps=2000, learning_rate=5e-3, schedule="cosine")
_DIGITS = dataclasses.replace(_DIGITS, validate_every=200)
_VARIATIONAL = {"model": "vgon", "likelihood": "bernoulli", "adam_epsilon": 1e-8}
_IMPLICIT = {"network": "siren", "image_size": None, "adam_epsilon": 1e-8}
# Modulated SIRENs learn these small signals several times as fast as the release's.
_SIGNALS = dataclasses.replace(
    _DIGITS,
    **_IMPLICIT | {"network": "modulated_siren"},
    latent_shape=(32,),
    hidden_dim=64,
    batch_size=32,
    learning_rate=1e-3,
)

PRESETS: dict[str, Config] = {
    "gon-digits": _DIGITS,
    "gon-mnist": _RELEASE,
    "gon-fashion": dataclasses.replace(_RELEASE, dataset="fashion_mnist"),
    "gon-cifar10": dataclasses.replace(_RELEASE, dataset="cifar10"),
    "gon-mnist-256": _LOGS,
    "gon-fashion-256": dataclasses.replace(_LOGS, dataset="fashion_mnist"),
    "vgon-digits": dataclasses.replace(_DIGITS, **_VARIATIONAL, inner_noise="none"),
    # The release's: 300 epochs.
    "vgon-mnist": dataclasses.replace(
        _RELEASE, **_VARIATIONAL, latent_shape=(48,), base_channels=32, num_validation=0, num_steps=281_100
    ),
    "vgon-mnist-256": dataclasses.replace(_LOGS, **_VARIATIONAL),
    "classifier-digits": dataclasses.replace(_DIGITS, model="classifier", reconstruction_weight=0.1, num_steps=1000),
    "classifier-mnist": dataclasses.replace(
        _RELEASE,
        model="classifier",
        reconstruction_weight=0.1,
        learning_rate=1e-3,
        schedule="cosine",
        num_steps=2000,
    ),
    "translation-digits": dataclasses.replace(_DIGITS, model="translation", num_steps=1000),
    "translation-fashion": dataclasses.replace(
        _LOGS, model="translation", dataset="fashion_mnist", source="noisy", num_steps=2000
    ),
    "translation-cifar10": dataclasses.replace(
        _LOGS, model="translation", dataset="cifar10", source="grey", num_steps=2000
    ),
    "multi-step-digits": dataclasses.replace(_DIGITS, model="multi_step", num_steps=1000),
    "autoencoder-digits": dataclasses.replace(_DIGITS, model="autoencoder"),
    "vae-digits": dataclasses.replace(_DIGITS, **_VARIATIONAL | {"model": "vae"}),
    "glo-digits": dataclasses.replace(_DIGITS, model="glo"),
    # Eight pixels from -1 to 1 hold 2 cycles a unit: higher frequencies draw noise between them.
    "implicit-digits": dataclasses.replace(_SIGNALS, dataset="digits", omega_0=5.0, step_size=1 / 16, num_steps=2000),
    "implicit-mnist": dataclasses.replace(_RELEASE, **_IMPLICIT, num_steps=501),
    "implicit-fashion": dataclasses.replace(_RELEASE, **_IMPLICIT, dataset="fashion_mnist", num_steps=501),
    # Figure 4a's network of 4,385 parameters, whose size takes 34 latents.
    "implicit-mnist-tiny": dataclasses.replace(
        _RELEASE, **_IMPLICIT, latent_shape=(34,), hidden_dim=32, learning_rate=1e-3, num_steps=2000
    ),
    # Two octaves are frequencies up to 400 radians from -1 to 1, with overtones more.
    "implicit-tones": dataclasses.replace(
        _SIGNALS,
        dataset="tones",
        encoder="least_squares",
        first_omega_0=600.0,
        hidden_dim=128,
        num_layers=3,
        batch_size=16,
        learning_rate=2e-3,
        num_steps=600,
    ),
    "implicit-solids": dataclasses.replace(
        _SIGNALS, dataset="solids", likelihood="bernoulli", step_size=1 / 128, num_points=512, num_steps=1000
    ),
    "implicit-video": dataclasses.replace(
        _SIGNALS, dataset="moving_digits", step_size=1 / 64, num_points=384, num_steps=1500
    ),
}
