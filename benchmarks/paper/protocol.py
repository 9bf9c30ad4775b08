"""How long, on what and with which options the runs of an experiment train.

The paper states datasets, numbers of epochs or steps, the optimizer, and that convolutional GONs have four layers with
batch normalization and ELU. It does not state latent size, width, batch size and learning rate of Tables 1 and 2 and
most figures. We use latent 256, width 16, batch 64 and learning rate 2e-4, those of the per-epoch logs that others
published of the authors' architecture (`benchmarks/published_logs.json` has their source), unless an experiment
says otherwise.
"""

import dataclasses

from gon_jax.data import NUM_EXAMPLES
from gon_jax.runs import Config

IMAGE_SIZES = {"celeb_a": 64, "lsun/bedroom": 128}  # the others 32
BATCH_SIZE = 64
NUM_CURVE = 60  # points of a curve, at least, where there are as many epochs
_SMOKE = Config().replace(
    dataset="digits",
    image_size=16,
    num_validation=64,
    latent_shape=(8,),
    base_channels=2,
    num_steps=8,
    batch_size=16,
    learning_rate=5e-3,
    adam_epsilon=256e-8,
    validate_every=4,
)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A dataset and a length of training; makes configurations.

    Attributes:
        dataset: one of ours, by name.
        epochs: passes over the training images that are not held out; or None, where `steps` count.
        steps: steps of training.
        num_images: training images that there are; None is the whole dataset's number.
        smoke: tiny networks, eight steps on scikit-learn's digits: shows that an experiment runs, and nothing else.
    """

    dataset: str
    epochs: int | None = None
    steps: int | None = None
    num_images: int | None = None
    smoke: bool = False

    @property
    def num_validation(self) -> int:
        """Training images held out, to choose the best checkpoint by and for the curves."""
        return min(500, self._num_images // 10)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of batch 64 in a pass over the training images that are not held out."""
        return (self._num_images - self.num_validation) // BATCH_SIZE

    @property
    def num_steps(self) -> int:
        """Steps of training.

        >>> Protocol("mnist", epochs=2).num_steps  # 59,500 images
        1858
        """
        return 8 if self.smoke else self.steps or self.epochs * self.steps_per_epoch

    @property
    def horizon(self) -> str:
        """The length in words.

        >>> Protocol("mnist", epochs=500).horizon
        '500 epochs'
        """
        return "smoke" if self.smoke else f"{self.steps:,} steps" if self.steps else f"{self.epochs:,} epochs"

    @property
    def _num_images(self):
        return self.num_images or NUM_EXAMPLES[self.dataset][0]

    def convolutional(self, **changes) -> Config:
        """Return the configuration of a convolutional model.

        Args:
            **changes: options by their flat names, see `Config.replace`; sizes are cut down for a smoke run.
        """
        if self.smoke:
            config = _SMOKE.replace(**changes | {"num_steps": min(8, changes.get("num_steps", 8))})
            shape = config.latent_shape
            shape = (min(shape[0], 8),) if len(shape) == 1 else (min(shape[0], 8), min(shape[1], 8), 2)
            return config.replace(latent_shape=shape, base_channels=2)
        size = changes.get("image_size", IMAGE_SIZES.get(self.dataset, 32))
        num_steps = changes.get("num_steps", self.num_steps)
        epochs = num_steps // self.steps_per_epoch
        options = {
            "dataset": self.dataset,
            "image_size": size,
            "num_validation": self.num_validation,
            "latent_shape": (256,),
            "learning_rate": 2e-4,
            "num_steps": num_steps,
            "adam_epsilon": size**2 * 1e-8,
            "validate_every": self.steps_per_epoch * max(1, epochs // NUM_CURVE) if epochs else max(1, num_steps // 4),
        }
        return Config().replace(**options | changes)

    def implicit(self, **changes) -> Config:
        """Return the configuration of an implicit model: the authors' third script, a SIREN at the images' own size.

        >>> Protocol("mnist", steps=800).implicit().network.hidden_dim
        256
        """
        options = {"network": "siren", "latent_shape": (32,), "learning_rate": 1e-4, "hidden_dim": 256} | changes
        if self.smoke:
            options |= {"image_size": 8, "learning_rate": 1e-3, "hidden_dim": 8, "num_layers": 2}
            options |= {"latent_shape": (min(options["latent_shape"][0], 8),)}
            return _SMOKE.replace(adam_epsilon=1e-8, **options)
        own_size = self.dataset in ("mnist", "fashion_mnist") and "image_size" not in changes
        defaults = {
            "dataset": self.dataset,
            "image_size": None if own_size else IMAGE_SIZES.get(self.dataset, 32),
            "num_validation": self.num_validation,
            "num_steps": self.num_steps,
            "adam_epsilon": 1e-8,
            "validate_every": max(1, self.num_steps // 4),
        }
        return Config().replace(**defaults | options)
