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

from gon_jax.base import Model
from gon_jax.data import epoch_order
from gon_jax.data.sources import as_source, is_source, num_bytes
from gon_jax.memory import free_memory
from gon_jax.training.devices import Placement, whole
from gon_jax.training.state import TrainState
from gon_jax.training.step import order_key, train_batches

__all__ = ["Stream", "check_batches", "fits_in_memory", "like", "read_batches"]

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


def read_batches(
    data: Mapping[str, Any],
    key: jax.Array,
    batch_size: int,
    *,
    first_step: int,
    num_steps: int,
    num_threads: int | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield this process's share of the batch of each step, in the order of `epoch_order`; threads read ahead.

    Args:
        data: arrays and sources `[N, ...]` by name.
        key: that of the `TrainState`.
        batch_size: B, of all processes together.
        first_step, num_steps: the first step, counted from 0, and their number in all.
        num_threads: that read.

    Raises:
        ImportError: if grain is not installed.
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError(
            f"expected grain, to train on data that are not kept in memory, got {error}: pip install 'gon_jax[data]', "
            "or give arrays and a higher memory_limit"
        ) from error
    data = {name: as_source(a) if is_source(a) else np.asarray(a) for name, a in data.items()}
    share = batch_size // jax.process_count()
    own = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    index_of = _index_of(order_key(key), len(data["x"]), batch_size)

    def read(step):  # called by several threads
        index = index_of(step)[own]
        return {name: a[index] for name, a in data.items()} | {"index": index}

    num_threads = num_threads or min(16, os.cpu_count() or 1)
    options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=max(num_threads, CHUNK_STEPS))
    steps = grain.MapDataset.range(first_step, max(first_step, num_steps))
    return iter(steps.map(read).to_iter_dataset(options))


def like(arrays: Mapping[str, Any], num: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Return the shapes and types of a batch of `num` examples of arrays or sources `[N, ...]`, with "index".

    >>> like({"x": np.zeros((9, 2), np.uint8)}, 3)["x"]
    ShapeDtypeStruct(shape=(3, 2), dtype=uint8)
    """
    batch = {name: jax.ShapeDtypeStruct((num, *a.shape[1:]), a.dtype) for name, a in arrays.items()}
    return batch | {"index": jax.ShapeDtypeStruct((num,), np.int32)}


def check_batches(batches: Iterator[Any], check: Callable[[Any], dict[str, Any]]) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches that a user gives, all of the same arrays `[B, ...]`, with "index" 0, 1, ..., which means nothing.

    Args:
        batches: of each step.
        check: `batch -> arrays by name`, which refuses what is no batch.

    Raises:
        ValueError: for a batch of other shapes or types than the first.
    """
    first = None
    for i, given in enumerate(batches):
        batch = {name: np.asarray(a) for name, a in check(given).items()}
        kinds = {name: f"{a.dtype}{list(a.shape)}" for name, a in sorted(batch.items())}
        first = first or kinds
        if kinds != first:
            raise ValueError(
                f"expected batches like the first, {first}, got {kinds} as number {i + 1}: leave out the last, smaller "
                "one of an epoch (drop_remainder, drop_last), and give each the same arrays"
            )
        yield batch | {"index": np.arange(len(batch["x"]), dtype=np.int32)}


class Stream:
    """Batches that come one by one, on the device shortly before they are needed; a context.

    Args:
        batches: of each step: this process's share of its arrays by name, `[B / processes, ...]`.
        like: of one of them, the shapes and types of its arrays; with "index".
        first_step, num_steps: the first step, counted from 0, and their number in all.
        count_from: `step -> n`: after n more steps there is a report, at which a chunk of batches ends.
        most: batches in a chunk at most; fewer where they are large.
        placement: on several devices.

    Attributes:
        chunk_size: batches in a chunk.
        ended: there are no more batches.
        seconds_waiting: how long the device had nothing to do, since the next batches were not there.
    """

    def __init__(
        self,
        batches: Iterator[dict[str, np.ndarray]],
        like: Mapping[str, jax.ShapeDtypeStruct],
        *,
        first_step: int,
        num_steps: int,
        count_from: Callable[[int], int],
        most: int,
        placement: Placement | None = None,
    ):
        self.batches, self.like, self.seconds_waiting, self.ended = batches, dict(like), 0.0, False
        self.sharding = None if placement is None else placement.batches
        size = sum(math.prod(a.shape) * np.dtype(a.dtype).itemsize for a in self.like.values())
        self.chunk_size = max(1, min(most, CHUNK_STEPS, CHUNK_BYTES // size))
        self.lengths = self._lengths(first_step, num_steps, count_from)
        self.ahead: tuple[int, dict[str, jax.Array]] | None = None

    def lower(self, model: Model, state: TrainState, **options: Any) -> jax.stages.Lowered:
        """Return the program of `train_batches`, lowered for these batches."""
        shapes = {
            name: jax.ShapeDtypeStruct(
                (self.chunk_size, jax.process_count() * a.shape[0], *a.shape[1:]),
                jnp.asarray(np.empty(0, a.dtype)).dtype,
                sharding=self.sharding,
            )
            for name, a in self.like.items()
        }
        return model.jit(_batches, donate_argnums=(0,), **options).lower(state, shapes, jnp.int32(0))

    def steps(self, compiled: Callable[..., Any], state: TrainState, count: int) -> tuple[TrainState, np.ndarray, bool]:
        """Make `count` steps by the compiled `train_batches`, and read the batches of the next ones meanwhile.

        Returns:
            The next state, the losses `[count]` (fewer where no more batches came), and whether all is finite.
        """
        made: list[tuple[int, jax.Array, jax.Array]] = []
        while count > 0:
            ahead, self.ahead = self.ahead or self._next(), None
            if ahead is None:
                break
            num, chunk = ahead
            state, losses, finite = compiled(state, chunk, jnp.int32(num))
            del ahead, chunk  # the device keeps it as long as it needs it
            if made:  # one chunk waits for the device while it computes, and no more
                made[-1][1].block_until_ready()
            self.ahead = self._next(losses)
            made.append((num, losses, finite))
            count -= num
        self.ended = self.ahead is None
        all_losses = np.concatenate([np.asarray(losses)[:num] for num, losses, _ in made])
        return state, all_losses, all(bool(finite) for *_, finite in made)

    def _next(self, running: Any = None) -> tuple[int, dict[str, jax.Array]] | None:
        """Return the next chunk on the device, and how many of its batches are set; None after the last.

        Time counts as waiting once `running`, what the device computes, is ready.
        """
        planned, made = next(self.lengths, 0), 0
        chunk: dict[str, np.ndarray] = {}
        start, idle = time.perf_counter(), running is None or running.is_ready()
        while made < planned and (batch := next(self.batches, None)) is not None:
            for name, rows in batch.items():
                if not made:
                    chunk[name] = np.empty((self.chunk_size, *rows.shape), rows.dtype)
                chunk[name][made] = rows
            made += 1
            self.seconds_waiting += (time.perf_counter() - start) * idle
            start, idle = time.perf_counter(), running is None or running.is_ready()
        if not made:
            return None
        placed = self._put(chunk)
        self.seconds_waiting += (time.perf_counter() - start) * idle
        return made, placed

    def _put(self, chunk):
        if self.sharding is None:
            return jax.device_put(chunk)
        put = functools.partial(jax.make_array_from_process_local_data, self.sharding)
        num = jax.process_count()
        return {name: put(a, (a.shape[0], num * a.shape[1], *a.shape[2:])) for name, a in chunk.items()}

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
        if (close := getattr(self.batches, "close", None)) is not None:
            close()
        self.ahead = None


def _batches(model, state, batches, num_steps, *, optimizer, placement, **options):
    return whole(train_batches(model, optimizer, state, batches, num_steps, **options), placement)


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
