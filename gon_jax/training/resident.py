"""Training on data that are on the device as a whole."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.base import Model
from gon_jax.data.sources import num_bytes, read
from gon_jax.training.devices import Placement, place, whole
from gon_jax.training.state import TrainState
from gon_jax.training.step import train_steps

__all__ = ["Resident"]


class Resident:
    """Data on the device, as a whole on each of several; as `Stream`, it makes steps on their batches.

    Args:
        data: arrays and memory maps `[N, ...]` by name.
        batch_size: B, of all processes together.
        most: steps in a call of the device at most.
        placement: on several devices.
    """

    seconds_waiting, ended = 0.0, False

    def __init__(self, data: Mapping[str, Any], *, batch_size: int, most: int, placement: Placement | None = None):
        size = sum(num_bytes(array) for array in data.values())
        arrays = {name: read(array, size) for name, array in data.items()}
        self.data = jax.device_put(arrays) if placement is None else place(arrays, placement.whole)
        self.options: dict[str, Any] = {"batch_size": batch_size, "num_losses": most}

    def lower(self, model: Model, state: TrainState, **options: Any) -> jax.stages.Lowered:
        """Return the program of `train_steps`, lowered for these data."""
        program = model.jit(_steps, donate_argnums=(0,), **self.options, **options)
        return program.lower(state, self.data, jnp.int32(0))

    def steps(self, compiled: Any, state: TrainState, count: int) -> tuple[TrainState, np.ndarray, bool]:
        """Make `count` steps by the compiled `train_steps`; return as `Stream.steps` does."""
        state, losses, finite = compiled(state, self.data, jnp.int32(count))
        return state, np.asarray(losses)[:count], bool(finite)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def _steps(model, state, data, num_steps, *, optimizer, placement, **options):
    sharding = None if placement is None else placement.batch
    return whole(train_steps(model, optimizer, state, data, num_steps, sharding=sharding, **options), placement)
