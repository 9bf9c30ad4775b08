"""Data that stay where they are: examples are read when they are asked for, a few at a time.

A source is whatever has a length, `shape` `[N, ...]`, a NumPy `dtype`, and `source[index] -> [n, ...]` for a slice or
an array of integers: a memory map, an HDF5 dataset, pictures (`gon_jax.data.picture_sources`), or a `View` of a source.
"""

import math
import mmap
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import jax
import numpy as np

from gon_jax.data.arrays import _check_shape, check_data
from gon_jax.memory import check_memory, memory_limit
from gon_jax.progress import bar

__all__ = ["Source", "View", "as_source", "check_source", "is_source", "num_bytes", "read"]
__all__ += ["read_in_order", "read_rows", "take"]

CHUNK = 256  # examples that a thread reads at once


class Source(Protocol):
    """What examples are read from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """`[N, ...]`."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The type of the examples: uint8, or floats in [0, 1]."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


class View:
    """Examples of a source, all or some, in an order of its own; floats are checked as they are read.

    `numpy.asarray(view)` reads all, and refuses to where they would not fit into memory.

    Args:
        source: any source.
        index: which examples, integers `[n]`, or None for all.

    >>> view = View(np.arange(10, dtype=np.uint8)[:, None], np.array([7, 5, 3]))
    >>> view.shape, view[1:].ravel().tolist()
    ((3, 1), [5, 3])
    """

    def __init__(self, source: Source, index: np.ndarray | None = None):
        self.source, self.index, self.dtype = source, index, np.dtype(source.dtype).newbyteorder("=")
        self.shape = tuple(source.shape) if index is None else (len(index), *source.shape[1:])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, int | np.integer):
            return self[np.array([index])][0]
        if isinstance(index, np.ndarray | list) and np.asarray(index).dtype == bool:
            index = np.flatnonzero(index)
        rows = read_rows(self.source, index if self.index is None else self.index[index]).astype(self.dtype, copy=False)
        floats = jax.dtypes.issubdtype(rows.dtype, np.floating) and len(rows)  # whole numbers are bytes or labels
        return check_data(rows, rows.shape[1:]) if floats else rows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        check_memory(num_bytes(self), "all the examples", "take a part, gon_jax.data.sources.take(data, index)")
        return np.asarray(_read_all(self), dtype)


# -- which data are sources ------------------------------------------------------------------------------------------


def is_source(data: Any) -> bool:
    """Return whether data are a source, but no array in memory.

    >>> is_source(np.zeros(3)), is_source(View(np.zeros(3)))
    (False, True)
    """
    if isinstance(data, np.memmap):
        return _mapping(data) is not None  # an array that was computed from a memory map is in memory
    if isinstance(data, np.ndarray | jax.Array) or not isinstance(getattr(data, "dtype", None), np.dtype):
        return False
    return all(hasattr(data, name) for name in ("shape", "__len__", "__getitem__"))


def as_source(data: Any) -> Any:
    """Return a source as a `View`, and other data as they are."""
    return View(data) if is_source(data) and not isinstance(data, View) else data


def check_source(data: Any, data_shape: Sequence[int]) -> Any:
    """Return data as `as_source` does, or say in one line what is wrong: as `check_data`, but a source is not read.

    Its floats are checked when they are read.

    Raises:
        ValueError: as `check_data`.

    >>> check_source(View(np.zeros([5, 28, 28, 1])), (32, 32, 1))
    Traceback (most recent call last):
    ValueError: expected images [N, 32, 32, 1], got [5, 28, 28, 1]: convert with gon_jax.data.resize(images, 32)
    """
    if not is_source(data):
        return check_data(data, data_shape)
    _check_shape(tuple(data.shape), data_shape)
    check_data(np.zeros((1, *data_shape), as_source(data).dtype), data_shape)  # its type
    return as_source(data)


def num_bytes(data: Any) -> int:
    """Return how many bytes an array has, or a source would have as one.

    >>> num_bytes(View(np.zeros((3, 2), np.float32)))
    24
    """
    return math.prod(data.shape) * np.dtype(data.dtype).itemsize


# -- read ------------------------------------------------------------------------------------------------------------


def take(data: Any, index: Any) -> Any:
    """Return some examples: of a source a `View`, which reads nothing yet; of an array a part.

    Args:
        data: an array or a source `[N, ...]`.
        index: a slice, integers `[n]`, or booleans `[N]`.

    >>> held_out = take(View(np.arange(10, dtype=np.uint8)[:, None]), slice(8, None))
    >>> held_out.shape, take(held_out, [1])[:].tolist()
    ((2, 1), [[9]])
    """
    if not is_source(data):
        return data[index]
    places = np.arange(len(data))[index]
    if isinstance(data, View):
        return View(data.source, places if data.index is None else data.index[places])
    return View(data, places)


def read(data: Any, limit: int | None = None, *, progress: str | None = None) -> Any:
    """Return a source as an array where it has at most `limit` bytes, and as it is otherwise; an array as it is.

    Args:
        data: an array or a source.
        limit: in bytes; by default half of the memory that is free.
        progress: the label of a progress bar, or None for no bar.
    """
    if not is_source(data) or num_bytes(data) > memory_limit(limit):
        return data
    return _read_all(as_source(data), progress)


def _read_all(source, progress=None):
    data = np.empty(source.shape, source.dtype)
    for start, rows in read_in_order(source, progress):
        data[start : start + len(rows)] = rows
    return data


def read_in_order(source: Source, progress: str | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the examples of a source with the place of the first, read by threads a few chunks ahead."""
    num, num_threads = len(source), os.cpu_count() or 1
    with ThreadPoolExecutor(num_threads) as threads, bar(label=progress, total=num, unit="example", delay=1) as shown:
        for first in range(0, num, CHUNK * num_threads):
            starts = range(first, min(first + CHUNK * num_threads, num), CHUNK)
            chunks = threads.map(lambda start: read_rows(source, slice(start, start + CHUNK)), starts)
            for start, rows in zip(starts, chunks, strict=True):
                yield start, rows
                shown.update(len(rows))


def read_rows(source: Source, index: Any) -> np.ndarray:
    """Return examples as an array in memory; integers are read in ascending order, as some sources need it."""
    if isinstance(index, slice):
        rows = np.array(source[index])  # of a memory map, a slice is none in memory yet
    else:
        index = np.asarray(index)
        if (index[1:] > index[:-1]).all():
            rows = np.asarray(source[index])
        else:
            places, inverse = np.unique(index, return_inverse=True)
            rows = np.asarray(source[places])[inverse]
    if isinstance(source, np.memmap):
        _release(source)
    return rows


def _mapping(array) -> Any:
    """Return the memory map that an array is a part of, or None."""
    while isinstance(array, np.ndarray):
        array = array.base
    return array if isinstance(array, mmap.mmap) else None


def _release(array):
    """Let the system take back the memory of what was read of a memory map: it would count as this process's."""
    if array.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED"):  # not "c", whose changes are there alone
        _mapping(array).madvise(mmap.MADV_DONTNEED)
