"""What a run follows from: a model, a network, a likelihood, data and training, each by its own options."""

from __future__ import annotations

import dataclasses
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import gon_jax
from gon_jax.choices import Framing, Kind, OnError, Schedule
from gon_jax.runs.likelihood_configs import LIKELIHOODS, LikelihoodConfig
from gon_jax.runs.model_configs import MODELS, GONConfig, ModelConfig
from gon_jax.runs.network_configs import NETWORKS, ConvConfig, NetworkConfig
from gon_jax.runs.options import Count, Decay, Natural, NonNegative, Options, Positive, Rule

if TYPE_CHECKING:
    import optax

    from gon_jax.base import Model
    from gon_jax.data import Dataset, Reading

__all__ = ["NO_DATA", "REGISTRIES", "WITHOUT_DATA", "Config", "DataConfig", "TrainingConfig", "first_difference"]

REGISTRIES: dict[str, dict[str, Any]] = {"model": MODELS, "network": NETWORKS, "likelihood": LIKELIHOODS}
FORMAT = 2  # of config.json; 1 was one flat dict
NO_DATA = "none"  # the dataset of a run whose weights were imported without one


@dataclasses.dataclass(frozen=True)
class DataConfig(Options):
    """The data."""

    dataset: str = "mnist"
    """digits, mnist, fashion_mnist, cifar10, coil20, smallnorb, celeb_a, lsun/bedroom; a folder of pictures or sounds;
    a .npy, .npz, .h5 or .csv file. Without a preset,
    options that are not given follow from it."""
    image_size: int | None = 32
    """Resize images to this height and width, a power of two from 8 to 256; None keeps their size."""
    num_validation: Natural | None = None
    """Training examples to hold out, to choose the best checkpoint by; None is 5000, or a tenth where that is less. 0
    selects nothing. Data with a validation part have it used."""
    framing: Framing = "crop"
    """How pictures get the aspect ratio of a square: cut about the center, padded, or stretched."""
    background: str | None = None
    """A color to put under transparent pixels, by name or as #rrggbb; without one they are refused."""
    value_range: tuple[float, float] | None = None
    """The values that become black and white, 0 65535 for 16 bits, of data that are neither bytes nor in [0, 1]."""
    kind: Kind | None = None
    """What an array holds, where its shape may be of several kinds."""
    on_error: OnError = "skip"
    """Skip damaged files of a folder and say which, or stop at the first."""
    memory: Annotated[float, Rule("above 0 and below 10^9", lambda x: 0 < x < 1e9)] | None = None
    """Most gigabytes of examples to keep in memory; of more, each batch is read as it is needed. None is half of what
    is free."""
    decode_always: bool = False
    """Decode pictures that are read as needed in every epoch; otherwise they are decoded once, into the run's folder,
    if its disk has room."""

    def __post_init__(self):
        super().__post_init__()
        if self.background is not None or self.value_range is not None:  # the rest is checked by its annotations
            from gon_jax.data.arrays import check_reading

            check_reading(self.reading)

    @property
    def reading(self) -> Reading:
        """How files become arrays, where there is a choice."""
        from gon_jax.data import Reading

        options = {name: getattr(self, name) for name in Reading._fields if name != "memory_limit"}
        return Reading(**options, memory_limit=self.memory_limit)

    @property
    def memory_limit(self) -> int | None:
        """The same as `memory`, in bytes."""
        return None if self.memory is None else round(1e9 * self.memory)

    def load(self) -> Dataset:
        """Return the dataset."""
        size, num_validation = self.image_size, self.num_validation
        return gon_jax.data.load(self.dataset, image_size=size, num_validation=num_validation, reading=self.reading)

    def absolute(self) -> DataConfig:
        """Return the same with an absolute path where the dataset is a path, so that it is found from any folder."""
        from gon_jax.data.datasets import is_path

        path = Path(self.dataset).expanduser()
        if not is_path(self.dataset) or not path.exists():
            return self
        return dataclasses.replace(self, dataset=os.path.abspath(path))


WITHOUT_DATA = DataConfig(dataset=NO_DATA, image_size=None)


@dataclasses.dataclass(frozen=True)
class TrainingConfig(Options):
    """The training."""

    num_steps: Count = 1001
    """Steps of gradient descent."""
    batch_size: Count = 64
    """Examples per step."""
    learning_rate: Positive = 1e-4
    """Learning rate of Adam; the highest of a schedule."""
    schedule: Schedule = "constant"
    """constant, or cosine down to 0 at the last step."""
    warmup_steps: Natural = 0
    """Steps of linear rise to the learning rate."""
    clip_norm: Positive | None = None
    """Largest global norm of the gradient."""
    weight_decay: NonNegative = 0.0
    """Decoupled weight decay, as in AdamW."""
    adam_epsilon: Positive = 1024e-8
    """Epsilon of Adam. The authors' is 1e-8 with a mean over 32x32 pixels; our losses are sums over pixels."""
    ema_decay: Decay = 0.0
    """Above 0, evaluate an exponential average of the parameters."""
    stats_decay: Decay = 0.98
    """Decay of the averages of batch statistics."""
    validate_every: Count | None = None
    """Steps between validations, each of which saves a checkpoint; None is once per epoch, or per several epochs, so
    that there are 200 at most."""
    seed: Natural = 0
    """All randomness of the run follows from it."""

    def __post_init__(self):
        super().__post_init__()
        if self.schedule == "cosine" and self.warmup_steps >= self.num_steps:
            raise ValueError(f"expected warmup_steps below num_steps={self.num_steps}, got {self.warmup_steps}")
        if self.seed >= 2**32:
            raise ValueError(f"expected a seed of 32 bits, got {self.seed}")

    def optimizer(self) -> optax.GradientTransformation:
        """Return the optimizer of the parameters."""
        return gon_jax.training.make_optimizer(
            self.learning_rate,
            num_steps=self.num_steps,
            schedule=self.schedule,
            warmup_steps=self.warmup_steps,
            clip_norm=self.clip_norm,
            weight_decay=self.weight_decay,
            epsilon=self.adam_epsilon,
        )


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """All that a run follows from. The defaults are those of the authors' first script.

    Every option has a name of its own, that of the command's flag, whatever part it belongs to; see `replace`.

    >>> config = Config().replace(model="vgon", likelihood="bernoulli", kl_weight=0.5, latent_shape=(3,))
    >>> config.model.kl_weight, config.build((32, 32, 1)).latent_shape
    (0.5, (3,))
    """

    model: ModelConfig = GONConfig()
    network: NetworkConfig = ConvConfig()
    likelihood: LikelihoodConfig = LIKELIHOODS["squared_error"]()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    latent_shape: tuple[int, ...] = (32,)
    """Shape of a latent: k, or h h c for a spatial one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the decoder's activations and products; parameters, losses and latents are float32."""

    def __post_init__(self):
        super().__post_init__()
        if not self.latent_shape or min(self.latent_shape) < 1:
            raise ValueError(f"expected latent_shape of positive sizes, got {self.latent_shape}")
        if math.prod(self.latent_shape) >= 2**31:
            raise ValueError(f"expected latent_shape of less than 2^31 entries, got {self.latent_shape}")

    def build(self, data_shape: tuple[int, ...]) -> Model:
        """Return the model for data `(*spatial, C)`: images `(H, W, C)`, say.

        Raises:
            ValueError: for parts that do not fit together, or data that they are not for.
        """
        likelihood = self.likelihood.build()
        decoder = self.network.build(self.latent_shape, data_shape, likelihood.num_outputs)
        if self.precision == "bfloat16":
            decoder = gon_jax.decoders.mixed_precision(decoder)
        return self.model.build(decoder, likelihood, self.network)

    def options(self) -> dict[str, Any]:
        """Return all options by their flat names, the names of model, network and likelihood among them.

        >>> Config().options()["network"], Config().options()["base_channels"]
        ('conv', 16)
        """
        flat = {}
        for name, value in vars(self).items():
            if name in REGISTRIES:
                flat[name] = value.name
            flat |= vars(value) if isinstance(value, Options) else {name: value}
        return flat

    def replace(self, **changes: Any) -> Config:
        """Return the configuration with some options changed, by their flat names.

        Another model, network or likelihood, by name, starts from its own defaults, but keeps what was set of options
        that it has in common with the present one. Another model brings its default likelihood, unless another one than
        that of the present model was chosen; and a step size is not kept for another model or network.

        Raises:
            ValueError: for an option or a name that there isn't.

        >>> Config().replace(damping=0.1)
        Traceback (most recent call last):
        ...
        ValueError: expected options of model gon, network conv and likelihood squared_error, got damping
        """
        parts: dict[str, Any] = {}
        model = _lookup("model", changes.get("model", self.model.name))
        if "likelihood" not in changes and self.likelihood.name == self.model.default_likelihood:
            changes["likelihood"] = model.default_likelihood
        others = changes.get("model", self.model.name) != self.model.name
        others |= changes.get("network", self.network.name) != self.network.name
        if others and "step_size" in model.__dataclass_fields__:  # one that was tuned for another model or decoder
            changes.setdefault("step_size", None)
        for name, old in vars(self).items():
            if not isinstance(old, Options):
                parts[name] = changes.pop(name, old)
                continue
            part, kept = type(old), vars(old)
            if name in REGISTRIES and changes.get(name, old.name) != old.name:
                part = _lookup(name, changes[name])
                defaults = vars(type(old)())
                kept = {n: v for n, v in kept.items() if n in vars(part()) and v != defaults[n]}
            changes.pop(name, None)
            parts[name] = part(**kept | {n: changes.pop(n) for n in vars(part()) if n in changes})
        if changes:
            names = f"model {parts['model'].name}, network {parts['network'].name}"
            raise ValueError(
                f"expected options of {names} and likelihood {parts['likelihood'].name}, got {', '.join(changes)}"
            )
        return Config(**parts)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds of the configuration: nested, with names and the number of the format."""
        values = dataclasses.asdict(self)
        named = {name: {"name": getattr(self, name).name} | values[name] for name in REGISTRIES}
        return {"format": FORMAT} | values | named

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """Return the configuration that `to_dict` gave; options that are missing have their defaults.

        Raises:
            KeyError, TypeError, ValueError: for another format, other options, or values that are refused.
        """
        values = dict(values)
        if (number := values.pop("format")) != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {number}; take the version of gon_jax that wrote it")
        values["latent_shape"] = tuple(values["latent_shape"])
        for name in REGISTRIES:
            part = dict(values[name])
            values[name] = _lookup(name, part.pop("name"))(**part)
        data: dict[str, Any] = {
            n: tuple(value) if isinstance(value, list) else value for n, value in values["data"].items()
        }
        return cls(**values | {"data": DataConfig(**data), "training": TrainingConfig(**values["training"])})


def _lookup(kind, name):
    registry = REGISTRIES[kind]
    if name not in registry:
        raise ValueError(
            f"expected {kind} one of {', '.join(registry)}, got {name!r}; import the module that registers it first "
            "(gon --import FILE), if it is one of your own"
        )
    return registry[name]


def first_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[str, Any, Any]:
    """Return the name and the two values of the first option that differs; `None` stands for one that is not there."""
    name = next(name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name))
    return name, ours.get(name), theirs.get(name)
