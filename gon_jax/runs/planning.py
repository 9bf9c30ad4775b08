"""What a run would be before it is one: its data, its model, and how long it would take, measured by some steps."""

import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gon_jax.data import Dataset
from gon_jax.data.decoded import has_room, to_decode
from gon_jax.data.sources import View, check_source
from gon_jax.data.splits import take
from gon_jax.runs.config import Config
from gon_jax.training import fit

__all__ = ["plan", "planned", "steps_within"]

DECODED = 1024  # pictures that are decoded, to see how long it takes
WARM_UP, COUNTS, SECONDS = 3, (10, 40, 160), 2.0  # steps before; steps that are timed, until they take so long


def plan(config: Config, dataset: Dataset, folder: Path | None = None) -> dict[str, Any]:
    """Return what `train` would do: counts of examples and parameters, and seconds, measured by some steps.

    Where `train` would decode pictures once, some are decoded, and the time that all would take counts to the start.

    Args:
        config: what to train.
        dataset: `config.data.load()`.
        folder: where to; only its disk is looked at. None decodes pictures in every step.

    Raises:
        ValueError: as `train` does, for what cannot be trained.
    """
    x, training = check_source(dataset.train.images, dataset.train.images.shape[1:]), config.training
    model = config.build(x.shape[1:])
    params = jax.eval_shape(model.init, jax.random.key(0)).params
    seconds_decode = 0.0
    train = dataset.train
    sources = [] if config.data.decode_always else to_decode(dataset)
    if sources and folder is not None and has_room(sources, folder):
        train = take(train, slice(max(DECODED, training.batch_size)))
        start = time.perf_counter()
        decoded = np.asarray(train.images)
        num = sum(map(len, sources))
        seconds_decode = (time.perf_counter() - start) * num / len(decoded)
        train = train._replace(images=View(decoded))
    data = config.model.arrays(train, training=True)
    options = {
        "optimizer": training.optimizer(),
        "latent_optimizer": config.model.latent_optimizer(),
        "batch_size": training.batch_size,
        "ema_decay": training.ema_decay,
        "stats_decay": training.stats_decay,
        "memory_limit": config.data.memory_limit,
        "validate_every": max(COUNTS),  # nothing is validated, and short epochs would cut calls short
        "progress": False,
    }
    start = time.perf_counter()
    first = fit(model, data, WARM_UP, jax.random.key(training.seed), **options)
    seconds_start = time.perf_counter() - start + seconds_decode
    result, step, count = first, WARM_UP, WARM_UP
    for count in COUNTS:  # few steps take longer each, by what a call costs
        step += count
        result = fit(model, data, step, state=result.state, **options)
        if result.seconds_training > SECONDS:
            break
    return {
        "model": config.model.name,
        "network": config.network.name,
        "likelihood": config.likelihood.name,
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "latent_shape": list(config.latent_shape),
        "data_shape": list(x.shape[1:]),
        **{f"num_{name}": len(split.images) for name, split in dataset.parts().items()},
        "seconds_start": seconds_start,
        "seconds_per_step": result.seconds_training / count,
    }


def planned(config: Config, measured: dict[str, Any]) -> dict[str, Any]:
    """Return what `plan` measured with the length of a training by it.

    The seconds are those of training alone; validation, pictures and the summary come on top.

    >>> measured = {"num_train": 640, "seconds_start": 10.0, "seconds_per_step": 0.01}
    >>> planned(Config().replace(num_steps=1000), measured)["epochs"]
    100.0
    """
    num_steps, batch_size = config.training.num_steps, config.training.batch_size
    seconds = measured["seconds_start"] + measured["seconds_per_step"] * num_steps
    epochs = num_steps / max(1, measured["num_train"] // batch_size)
    return measured | {"num_steps": num_steps, "epochs": epochs, "seconds": seconds}


def steps_within(minutes: float, measured: dict[str, Any]) -> int:
    """Return how many steps fit into a number of minutes, compilation included, by what `plan` measured.

    Raises:
        ValueError: not even one does.

    >>> steps_within(1, {"seconds_start": 10.0, "seconds_per_step": 0.01})
    5000
    """
    steps = round((60 * minutes - measured["seconds_start"]) / measured["seconds_per_step"])
    if steps < 1:
        needed = (measured["seconds_start"] + measured["seconds_per_step"]) / 60
        raise ValueError(f"expected minutes for at least one step, {needed:.2g}, got {minutes:g}: give it longer")
    return steps
