"""The checkpoints of a run: those of this run alone, and damaged ones passed over when training goes on."""

import dataclasses
import logging
from functools import partial
from pathlib import Path

import jax

from gon_jax.base import Model
from gon_jax.checkpoints import Checkpoints
from gon_jax.data import describe_change
from gon_jax.runs.config import first_difference
from gon_jax.runs.saved import SavedConfig
from gon_jax.training import TrainState, init_state

__all__ = ["open_checkpoints", "restore", "restore_last"]


def open_checkpoints(folder: Path, saved: SavedConfig, *, create: bool = False) -> Checkpoints:
    """Open a run's checkpoints, of which the best is that by its own metric."""
    return Checkpoints(folder, metric=saved.best_by, highest=saved.best_by == "validation.accuracy", create=create)


def restore_last(checkpoints: Checkpoints, model: Model, saved: SavedConfig) -> tuple[TrainState, float]:
    """Restore the last state that is whole, with its seconds of training; say and remove damaged ones after it."""
    damaged = {}
    for step in reversed(checkpoints.steps):
        try:
            state = restore(checkpoints, model, saved, step)
            seconds = checkpoints.read_metrics(step)["seconds_training"]
            break
        except OSError as error:
            damaged[step] = error
    else:
        raise next(iter(damaged.values()))
    for other, why in damaged.items():
        logging.getLogger(__name__).warning(f"checkpoint {other} is removed, and training goes on from {step}: {why}")
        checkpoints.delete(other)
    return state, seconds


def restore(checkpoints: Checkpoints, model: Model, saved: SavedConfig, which: str | int) -> TrainState:
    """Restore a state of this run, and of no other."""

    def of_run(saved):  # the dataset's path, the limit of memory and the number of steps may differ
        config = saved.config
        data = dataclasses.replace(config.data, dataset="", memory=None)
        training = dataclasses.replace(config.training, num_steps=2**31 - 1)
        return saved._replace(config=dataclasses.replace(config, data=data, training=training), fingerprint=None)

    theirs = SavedConfig.from_dict(checkpoints.read_config(which))
    step = which if isinstance(which, int) else checkpoints.best_step if which == "best" else checkpoints.steps[-1]
    if of_run(saved) != of_run(theirs):
        name, ours, other = first_difference(of_run(saved).options(), of_run(theirs).options())
        raise ValueError(
            f"expected a checkpoint of the run in config.json, {name}={ours}, got one with {other} in "
            f"{checkpoints.folder}; one of the two is of another run"
        )
    before, now = theirs.fingerprint, saved.fingerprint
    if before is not None and now is not None and (change := describe_change(before, now)):
        raise ValueError(
            f"expected a checkpoint of the run in config.json, got one of other data ({change}) in "
            f"{checkpoints.folder}; one of the two is of another run"
        )
    training, latent_optimizer = saved.config.training, saved.config.model.latent_optimizer()
    init = partial(
        init_state,
        model,
        training.optimizer(),
        ema_decay=training.ema_decay,
        num_examples=saved.num_train,
        latent_optimizer=latent_optimizer,
    )
    state = checkpoints.restore(jax.eval_shape(init, jax.random.key(0)), which)
    if int(state.step) != step:
        got = f"step {int(state.step)}: the folder was renamed or copied; remove {checkpoints.folder / str(step)}"
        raise OSError(f"expected step {step} in {checkpoints.folder / str(step)}, got {got}")
    return state
