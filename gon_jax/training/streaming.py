"""Training on data that stay where they are: threads read the next batches while the device computes.

The batches are those of data in memory, in the same order. With several processes each reads its share of every batch.
"""

import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.data import epoch_order
from gon_jax.data.sources import as_source, is_source, num_bytes
from gon_jax.memory import free_memory
from gon_jax.training.devices import Placement
from gon_jax.training.state import TrainState
from gon_jax.training.step import order_key

__all__ = ["Stream", "fits_in_memory"]

CHUNK_STEPS = (
    16  # whose batches are put on the device at once: enough that a call of the device costs nothing beside them
)
CHUNK_BYTES = 2**26  # of these batches at most; about four times as much is held at a time

_order_of = jax.jit(epoch_order, static_argnums=(2, 3))


def fits_in_memory(data: Mapping[str, Any], limit: int | None = None) -> bool:
    """Return whether data are to be kept on the device as a whole, and not read batch by batch.

    Args:
        data: arrays and sources by name; only arrays and memory maps may be kept.
        limit: most bytes to keep; by default half of what is free, in this machine's memory for memory maps, and on a
            device with a memory of its own.
    """
    sources = [as_source(a) for a in data.values() if is_source(a)]
    if any(not isinstance(view.source, np.memmap) for view in sources):
        return False
    if limit is None:
        device = jax.local_devices()[0].memory_stats() or {}
        limits = [free_memory() // 2] if sources else []
        if "bytes_limit" in device:
            limits.append((device["bytes_limit"] - device.get("bytes_in_use", 0)) // 2)
        limit = min(limits, default=None)
    new = sum(num_bytes(a) for a in data.values() if not isinstance(a, jax.Array))  # those are on the device already
    return limit is None or new <= limit


class Stream:
    """Batches of data in the order of `epoch_order`, on the device shortly before they are needed; a context.

    Args:
        data: arrays and sources `[N, ...]` by name.
        key: that of the `TrainState`.
        batch_size: B, of all processes together.
        first_step, num_steps: the first step, counted from 0, and their number in all.
        count_from: `step -> n`: after n more steps there is a report, at which a chunk of batches ends.
        most: batches in a chunk at most; fewer where they are large.
        num_threads: that read.
        placement: on several devices.

    Attributes:
        chunk_size: batches in a chunk.
        seconds_waiting: how long the device had nothing to do, since the next batches were not there.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        key: jax.Array,
        *,
        batch_size: int,
        first_step: int,
        num_steps: int,
        count_from: Callable[[int], int],
        most: int,
        num_threads: int | None = None,
        placement: Placement | None = None,
    ):
        try:
            import grain
        except ImportError as error:
            raise ImportError(
                f"expected grain, to train on data that are not kept in memory, got {error}: pip install "
                "'gon_jax[data]', or give arrays and a higher memory_limit"
            ) from error
        self.data = {name: as_source(a) if is_source(a) else np.asarray(a) for name, a in data.items()}
        self.num_examples, self.batch_size, self.seconds_waiting = len(self.data["x"]), batch_size, 0.0
        self.sharding = None if placement is None else placement.batches
        share = batch_size // jax.process_count()
        self.own = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
        bytes_of_one = sum(math.ceil(num_bytes(a) / len(a)) for a in self.data.values())
        self.chunk_size = max(1, min(most, CHUNK_STEPS, CHUNK_BYTES // (share * bytes_of_one)))
        self.index_of = _index_of(order_key(key), self.num_examples, batch_size)
        self.lengths = self._lengths(first_step, num_steps, count_from)
        num_threads = num_threads or min(16, os.cpu_count() or 1)
        options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=max(num_threads, self.chunk_size))
        steps = grain.MapDataset.range(first_step, max(first_step, num_steps))
        self.batches = iter(steps.map(self._read).to_iter_dataset(options))
        self.ahead: tuple[int, dict[str, jax.Array]] | None = None

    def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return what `train_batches` is compiled for."""
        shape = (self.chunk_size, self.batch_size)
        arrays = {name: (shape + a.shape[1:], jnp.asarray(np.empty(0, a.dtype)).dtype) for name, a in self.data.items()}
        arrays["index"] = (shape, jnp.dtype(jnp.int32))
        return {name: jax.ShapeDtypeStruct(*array, sharding=self.sharding) for name, array in arrays.items()}

    def steps(self, compiled: Callable, state: TrainState, count: int) -> tuple[TrainState, np.ndarray, bool]:
        """Make `count` steps by the compiled `train_batches`, and read the batches of the next ones meanwhile.

        Returns:
            The next state, the losses `[count]`, and whether all is finite.
        """
        made: list[tuple[int, jax.Array, jax.Array]] = []
        while count > 0:
            ahead, self.ahead = self.ahead or self._next(), None
            assert ahead is not None, "no step is asked for beyond the last"
            num, chunk = ahead
            state, losses, finite = compiled(state, chunk, jnp.int32(num))
            del ahead, chunk  # the device keeps it as long as it needs it
            if made:  # one chunk waits for the device while it computes, and no more
                made[-1][1].block_until_ready()
            self.ahead = self._next(losses)
            made.append((num, losses, finite))
            count -= num
        all_losses = np.concatenate([np.asarray(losses)[:num] for num, losses, _ in made])
        return state, all_losses, all(bool(finite) for *_, finite in made)

    def _next(self, running: Any = None) -> tuple[int, dict[str, jax.Array]] | None:
        """Return the next chunk on the device, and how many of its batches are set; None after the last.

        Time counts as waiting once `running`, what the device computes, is ready.
        """
        if (num := next(self.lengths, 0)) == 0:
            return None
        chunk: dict[str, np.ndarray] = {}
        for i in range(num):
            start, idle = time.perf_counter(), running is None or running.is_ready()
            for name, rows in next(self.batches).items():
                if i == 0:
                    chunk[name] = np.empty((self.chunk_size, *rows.shape), rows.dtype)
                chunk[name][i] = rows
            placed = self._put(chunk) if i == num - 1 else None
            self.seconds_waiting += (time.perf_counter() - start) * idle
        assert placed is not None
        return num, placed

    def _put(self, chunk):
        if self.sharding is None:
            return jax.device_put(chunk)
        shape = (self.chunk_size, self.batch_size)
        put = functools.partial(jax.make_array_from_process_local_data, self.sharding)
        return {name: put(a, shape + a.shape[2:]) for name, a in chunk.items()}

    def _read(self, step: int) -> dict[str, np.ndarray]:
        """Return this process's share of the batch of a step; called by several threads."""
        index = self.index_of(step)[self.own]
        return {name: a[index] for name, a in self.data.items()} | {"index": index}

    def _lengths(self, step: int, num_steps: int, count_from: Callable[[int], int]) -> Iterator[int]:
        """Yield how many batches each chunk holds."""
        while step < num_steps:
            end = step + count_from(step)
            while step < end:
                num = min(self.chunk_size, end - step)
                yield num
                step += num

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.batches.close() if hasattr(self.batches, "close") else None
        self.ahead = None


def _index_of(key, num_examples, batch_size):
    """Return a function of a step that gives the places of its batch's examples, `[B]`; threads may share it."""
    lock = threading.Lock()

    @functools.lru_cache(maxsize=2)  # batches are read ahead across the end of an epoch
    def order(epoch):
        return np.asarray(_order_of(key, epoch, num_examples, batch_size))

    def index_of(step):
        epoch, position = divmod(step, num_examples // batch_size)
        with lock:
            return order(epoch)[position]

    return index_of
