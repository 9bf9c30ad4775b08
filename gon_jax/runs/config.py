"""What a run follows from: one flat configuration, checked."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from gon_jax.decoders.conv import Activation, Norm
from gon_jax.training import LATENT_LEARNING_RATE, Schedule

LikelihoodName = Literal[
    "squared_error",
    "gaussian",
    "gaussian_scale",
    "bernoulli",
    "continuous_bernoulli",
    "categorical",
    "discretized_logistic",
    "discretized_logistic_mixture",
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
    ("likelihood", "discretized_logistic_mixture"): ("num_components",),
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
    """Normalization of the convolutional decoder; batch is the release's."""
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
    """Of the likelihood discretized_logistic_mixture."""
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
    source: Literal["low_resolution", "noisy", "gray"] = "low_resolution"
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

    @property
    def translates(self) -> bool:
        """Whether the model encodes other images, its `source`, than those it gives back."""
        return self.model == "translation"
