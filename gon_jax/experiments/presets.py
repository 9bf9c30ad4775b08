"""What a run is: one flat configuration, and the named ones."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import optax

from gon_jax.likelihoods import Likelihood, bernoulli, gaussian, squared_error
from gon_jax.models import Model, gon, least_squares_gon
from gon_jax.networks import conv_decoder
from gon_jax.networks.conv import Activation, Norm
from gon_jax.training import Schedule, make_optimizer

# Latent step sizes without batch normalisation, whose 1/sqrt(1e-5) at the origin makes a small gradient large: the best
# of 2^-11 to 2^7 on digits of 16, 32 and 64 pixels after 300 steps.
STEP_SIZES = {"group": 0.25, "none": 128.0}


@dataclass(frozen=True)
class Config:
    """All that a run follows from. The defaults are those of the release's first script."""

    model: Literal["gon"] = "gon"
    """Which model."""
    dataset: str = "mnist"
    """digits, mnist, fashion_mnist, cifar10; or a folder of images, a .npy or .npz file."""
    image_size: int | None = 32
    """Resize images to this height and width, a power of two from 8 to 256; None keeps their size."""
    num_validation: int | None = None
    """Training examples at the end of the set to hold out, to choose the best checkpoint by; None is 5000, or a tenth
    where that is less. 0 selects nothing."""

    latent_shape: tuple[int, ...] = (32,)
    """Shape of a code: k, or h h c for a spatial one."""
    base_channels: int = 16
    """Width of the decoder at half the image size; doubles with every halving."""
    norm: Norm = "batch"
    """Normalisation; batch is the release's."""
    activation: Activation = "elu"
    """Of the hidden layers."""
    likelihood: Literal["squared_error", "gaussian", "bernoulli"] = "squared_error"
    """Inner and outer loss."""
    scale: float = 0.1
    """Standard deviation of the Gaussian likelihood."""
    encoder: Literal["gradient", "least_squares"] = "gradient"
    """What a code is: a gradient step from the origin, as the release's, or a damped Gauss-Newton step."""
    step_size: float | None = None
    """Length of the gradient step per unit of gradient; None is the release's 1/(64 H W), or tuned to other norms."""
    damping: float = 0.01
    """Of the least-squares encoder, over the mean eigenvalue of what it inverts."""
    learn_damping: bool = False
    """Train the damping too, from there on."""
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
        lowest = {"num_steps": 1, "batch_size": 1, "base_channels": 1}
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
            if name in ("learning_rate", "scale", "adam_epsilon", "damping") and not value > 0:
                raise ValueError(f"expected {name} above 0, got {value}")
            if name in ("validate_every", "step_size", "clip_norm") and value is not None and not value > 0:
                raise ValueError(f"expected {name} above 0 or None, got {value}")
            if name in ("ema_decay", "stats_decay") and not 0 <= value < 1:
                raise ValueError(f"expected {name} from 0 up to 1, got {value}")
        if not self.latent_shape or min(self.latent_shape) < 1:
            raise ValueError(f"expected latent_shape of positive sizes, got {self.latent_shape}")
        if self.encoder == "least_squares" and self.step_size is not None:
            raise ValueError(f"expected no step_size with encoder least_squares, got {self.step_size}; see damping")
        if self.encoder == "gradient" and (self.damping != 0.01 or self.learn_damping):
            name = "learn_damping" if self.learn_damping else "damping"
            raise ValueError(
                f"expected no {name} with encoder gradient, got {getattr(self, name)}; it is of encoder least_squares"
            )
        if self.schedule == "cosine" and self.warmup_steps >= self.num_steps:
            raise ValueError(f"expected warmup_steps below num_steps={self.num_steps}, got {self.warmup_steps}")
        if self.seed >= 2**32:
            raise ValueError(f"expected a seed of 32 bits, got {self.seed}")


def make_likelihood(config: Config) -> Likelihood:
    """Return the likelihood that a configuration names."""
    likelihoods = {"squared_error": squared_error, "gaussian": gaussian(config.scale), "bernoulli": bernoulli}
    return likelihoods[config.likelihood]


def make_model(config: Config, image_shape: tuple[int, int, int]) -> Model:
    """Return the model of a configuration, for images `(H, W, C)`.

    >>> make_model(Config(), (32, 32, 1)).latent_shape
    (32,)
    """
    decoder = conv_decoder(
        image_shape,
        config.latent_shape,
        base_channels=config.base_channels,
        norm=config.norm,
        activation=config.activation,
        output_activation="none" if config.likelihood == "bernoulli" else "sigmoid",
    )
    if config.precision == "bfloat16":
        from gon_jax.networks.precision import mixed_precision

        decoder = mixed_precision(decoder)
    likelihood = make_likelihood(config)
    if config.encoder == "least_squares":
        options = {"damping": config.damping, "learn_damping": config.learn_damping}
        return least_squares_gon(decoder, likelihood=likelihood, **options)
    step_size = config.step_size
    if step_size is None and config.norm in STEP_SIZES:
        # A Gaussian's gradient is that of the squared error by 1 / (2 scale^2): the same codes.
        step_size = STEP_SIZES[config.norm] * (2 * config.scale**2 if config.likelihood == "gaussian" else 1)
    return gon(decoder, likelihood=likelihood, step_size=step_size)


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

PRESETS: dict[str, Config] = {
    "gon-digits": Config(
        dataset="digits",
        latent_shape=(16,),
        num_steps=2000,
        learning_rate=5e-3,
        schedule="cosine",
        validate_every=200,
    ),
    "gon-mnist": _RELEASE,
    "gon-fashion": dataclasses.replace(_RELEASE, dataset="fashion_mnist"),
    "gon-cifar10": dataclasses.replace(_RELEASE, dataset="cifar10"),
    "gon-mnist-256": _LOGS,
    "gon-fashion-256": dataclasses.replace(_LOGS, dataset="fashion_mnist"),
}
