"""Protocols by scale: the same comparison in seconds on digits, in minutes on real data, or as the paper has it.

| scale | data | steps | for |
|---|---|---|---|
| smoke | scikit-learn's digits at 16x16, tiny networks | 8 | showing that every experiment runs |
| short | real, at 32x32 | 1,000, equal for all methods | two CPU cores, a verdict on the larger effects |
| paper | real, at the paper's sizes | 500 epochs (1,000 in Table 2) | a GPU |

The paper does not state its latent size, width and batch size. We use those of published logs of the authors'
architecture: latent 256, width 16, batch 64, learning rate 2e-4.
"""

from benchmarks.paper.experiment import Scale
from gon_jax.data import NUM_EXAMPLES
from gon_jax.runs import Config

IMAGE_SIZES = {"celeb_a": 64, "lsun/bedroom": 128}  # the others 32
SHORT_STEPS = 1000
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


def convolutional(dataset: str, scale: Scale, *, epochs: int = 500, steps: int | None = None, **changes) -> Config:
    """Return the configuration of a convolutional model.

    Args:
        dataset, scale: of the reproduction.
        epochs: at the scale "paper".
        steps: in place of the scale's own number, except at "smoke".
        **changes: options by their flat names, see `Config.replace`; sizes are cut down at "smoke".

    >>> convolutional("mnist", "short", model="vae", likelihood="bernoulli").training.num_steps
    1000
    """
    if scale == "smoke":
        config = _SMOKE.replace(**changes)
        shape = config.latent_shape
        shape = (min(shape[0], 8),) if len(shape) == 1 else (*shape[:2], 2)
        return config.replace(latent_shape=shape, base_channels=2)
    size = IMAGE_SIZES.get(dataset, 32)
    steps_per_epoch = NUM_EXAMPLES[dataset][0] // 64
    num_steps = steps or (SHORT_STEPS if scale == "short" else epochs * steps_per_epoch)
    options = {
        "dataset": dataset,
        "image_size": size,
        "num_validation": min(500, NUM_EXAMPLES[dataset][0] // 10),
        "latent_shape": (256,),
        "learning_rate": 2e-4,
        "num_steps": num_steps,
        "adam_epsilon": size**2 * 1e-8,
        "validate_every": max(1, num_steps // 8) if scale == "short" else 10 * steps_per_epoch,
    }
    return Config().replace(**options | changes)


def implicit(dataset: str, scale: Scale, *, steps: int, **changes) -> Config:
    """Return the configuration of an implicit model: the authors' SIREN at the images' own size, 28 or 32.

    Args:
        dataset, scale, **changes: as for `convolutional`.
        steps: at the scales "short" and "paper".

    >>> implicit("mnist", "short", steps=800).network.hidden_dim
    256
    """
    options = {"network": "siren", "latent_shape": (32,), "learning_rate": 1e-4, "hidden_dim": 256} | changes
    if scale == "smoke":
        options |= {"image_size": 8, "learning_rate": 1e-3, "hidden_dim": 8, "num_layers": 2}
        return _SMOKE.replace(adam_epsilon=1e-8, **options)
    own_size = dataset in ("mnist", "fashion_mnist")
    return Config().replace(
        dataset=dataset,
        image_size=None if own_size else IMAGE_SIZES.get(dataset, 32),
        num_validation=min(500, NUM_EXAMPLES[dataset][0] // 10),
        num_steps=steps,
        adam_epsilon=1e-8,
        validate_every=max(1, steps // 4),
        **options,
    )
