"""Numbers of any type as `load` keeps them: their axes are named, their values become bytes, or floats in [0, 1].

Arrays in memory are converted at once, sources when their examples are read: both to the same values.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from gon_jax.data.arrays import KINDS, READING, ROUNDING, Framing, Kind, Reading, check_range, kind_of, resize
from gon_jax.data.sources import View, as_source, is_source, read_in_order, read_rows

__all__ = ["Converted", "convert_data", "name_axes", "resized"]

CHUNK = 2**24  # values that are converted at once: data larger than half the memory fit as bytes
DARK = 64  # the largest byte of data that are probably of another range
MIN_LEVELS = 16  # of the 256 that floats must reach, to be rounded to them


class Converted:
    """A source whose examples are those of another, converted as they are read.

    Args:
        source: any source.
        data_shape: of an example, once it is converted.
        dtype: of the examples then.
        convert_fn: `rows [n, ...] -> [n, *data_shape]`.
    """

    def __init__(self, source: Any, data_shape: Sequence[int], dtype: Any, convert_fn: Callable[[np.ndarray], Any]):
        self.source, self.convert_fn, self.dtype = source, convert_fn, np.dtype(dtype)
        self.shape = (source.shape[0], *data_shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self.convert_fn(read_rows(self.source, index))).reshape(-1, *self.shape[1:])


def convert_data(data: Any, source: Any, reading: Reading = READING) -> tuple[Any, Kind, list[str]]:
    """Return an array of a file or a loader as `load` keeps it, what it holds, and what was done, in words.

    Images, voxels and films become uint8: floats in [0, 1] become round(255 x), booleans 0 and 255, and integers in
    0..255 stay. Sound, tables and points keep floats as float32 in [0, 1], because 8 bits would be heard or felt. With
    a `value_range` any numbers in it are mapped to [0, 1] first. A missing channel axis is added where it is certain
    what the axes are.

    Args:
        data: `[N, ...]`, whatever `numpy.asarray` takes; or a source, which stays one: its values are read once, to
            see their range, and are converted when they are needed.
        source: where it is from, for messages.
        reading: choices; `kind` and `value_range` count here.

    Raises:
        ValueError: shapes that several kinds have and channels first; numbers of another range, integers that are all
            0 or 1, floats that use so little of [0, 1] that 8 bits would lose them.

    >>> data, kind, notes = convert_data(np.eye(5)[None].repeat(9, 0) > 0, "a.npy")
    >>> data.shape, data.dtype.name, kind, notes
    ((9, 5, 5, 1), 'uint8', 'images', ['channel axis added: [9, 5, 5] are gray images [9, 5, 5, 1]'])
    """
    try:
        if not is_source(data):
            data = np.asarray(data)
            data = data.astype(data.dtype.newbyteorder("="), copy=False)
        shape, kind, notes = name_axes(data.shape, data.dtype, reading.kind)
        low, high = _limits(data, reading.value_range is None)
        dtype, convert_fn = _conversion(data.dtype, kind, reading.value_range, low, high)
        if data.dtype.kind in "iu" and reading.value_range is None and high <= DARK:
            remedy = "where that is white, say so by value_range"
            notes = [*notes, f"whole numbers only up to {high} of 255, almost black: {remedy} (0, {high})"]
        if is_source(data):
            same = data.dtype == dtype == np.uint8 and tuple(data.shape) == shape
            data = data if same else Converted(data, shape[1:], dtype, convert_fn)
            return as_source(data), kind, notes
        return convert_fn(data).reshape(shape), kind, notes
    except ValueError as error:
        raise ValueError(f"{error} (in {source})") from None


def resized(data: Any, size: int, framing: Framing) -> Any:
    """Return images as `resize` does, those of a source when they are read.

    >>> resized(View(np.zeros((9, 4, 4, 3), np.uint8)), 2, "crop").shape
    (9, 2, 2, 3)
    """
    if not is_source(data):
        return resize(data, size, framing)
    return View(Converted(data, (size, size, data.shape[3]), np.uint8, lambda rows: resize(rows, size, framing)))


def name_axes(shape: Sequence[int], dtype: Any, kind: Kind | None) -> tuple[tuple[int, ...], Kind, list[str]]:
    """Return a shape with a channel axis, what data of it hold, and what was done; refuse what may be several things.

    >>> name_axes((9, 8, 8, 8), bool, None)
    ((9, 8, 8, 8, 1), 'voxels', ['channel axis added: [9, 8, 8, 8] are voxels [9, 8, 8, 8, 1]'])
    """
    shape, ndim = list(shape), len(shape)
    if 0 in shape:
        raise ValueError(f"expected at least one example, got {shape}: the array is empty")
    most = 2 if ndim == 3 else 4  # channels of sound, and of all else
    last = ndim > 2 and shape[-1] <= most
    if ndim > 2 and not last and shape[1] <= most and shape[-1] > 4 and kind not in ("table", "points"):
        axes = ", ".join(map(str, (0, *range(2, ndim), 1)))
        raise ValueError(f"expected channels last, got {shape}: it looks like channels first, use x.transpose({axes})")
    if kind is not None:
        if ndim == KINDS[kind]:
            return tuple(shape), kind, []
        if ndim == KINDS[kind] - 1 and kind not in ("table", "points"):
            return (*shape, 1), kind, [f"channel axis added: {shape} are {kind} {[*shape, 1]}"]
        raise ValueError(f"expected {kind} of {KINDS[kind]} axes, the examples' among them, got {shape}: reshape them")
    if ndim == 3 and shape[2] == 3 and shape[1] > 4:
        raise ValueError(f"expected images, or points in space said by kind='points', got {shape}: say which (kind)")
    if ndim == 3 and not last:
        return (*shape, 1), "images", [f"channel axis added: {shape} are gray images {[*shape, 1]}"]
    if ndim == 4 and not last:
        if np.dtype(dtype).kind == "b" and shape[1] == shape[2] == shape[3]:
            return (*shape, 1), "voxels", [f"channel axis added: {shape} are voxels {[*shape, 1]}"]
        raise ValueError(
            f"expected images of 1 to 4 channels, got {shape}: of more channels say kind='images'; without a channel "
            "axis say what they are, kind='voxels' or 'video'"
        )
    if (found := kind_of(shape)) is None or (ndim == 5 and not last):
        raise ValueError(f"expected images [N, H, W, C], got {shape}: reshape examples to {', '.join(KINDS)}")
    return tuple(shape), found, []


def _limits(data, finite):
    """Return the least and the largest value; bytes of a source are read up to the first that are not dark.

    Args:
        data: an array or a source.
        finite: refuse other values, with the place of the first.
    """
    if not (data.dtype == bool or any(jnp.issubdtype(data.dtype, real) for real in (jnp.integer, jnp.floating))):
        raise ValueError(f"expected real numbers, got {data.dtype}: convert them with x.astype(float)")
    if data.dtype == bool:
        return 0, 1
    lows, highs = [], []
    for start, rows in read_in_order(data, "look at numbers") if is_source(data) else ((0, data),):
        lows.append(rows.min())
        highs.append(rows.max())  # either is NaN where any value is
        if finite and not (math.isfinite(lows[-1]) and math.isfinite(highs[-1])):
            bad = ~np.isfinite(np.asarray(rows, np.float32)).reshape(len(rows), -1)
            number = f"{bad.sum()} NaN or infinite ones in {bad.any(1).sum()} of {len(rows)} examples"
            where = "" if len(rows) == len(data) else f" from number {start} on"
            first = f"first in number {start + bad.any(1).argmax()}"
            raise ValueError(f"expected finite values, got {number}{where}, {first}: remove or repair them")
        if is_source(data) and data.dtype == np.uint8 and highs[-1] > DARK:
            break
    return np.min(lows).item(), np.max(highs).item()


def _conversion(dtype, kind, value_range, low, high):
    """Return the type that numbers from `low` to `high` are kept in, and the function that converts them to it."""
    exact = np.float32 if kind in ("audio", "table", "points") else np.uint8  # floats stay floats
    if value_range is not None and dtype.kind == "b":
        raise ValueError("expected numbers for a value_range, got booleans, which are black and white: leave it out")
    if value_range is not None:
        least, most = value_range
        margin = ROUNDING * (most - least)
        if not (low >= least - margin and high <= most + margin):  # false of NaN too
            got = f"{low:.6g} to {high:.6g}"
            raise ValueError(f"expected values in value_range ({least:g}, {most:g}), got {got}: choose a larger one")
        return exact, partial(_scale, value_range=value_range, dtype=exact)
    if dtype.kind == "b":
        return np.uint8, lambda data: data.astype(np.uint8) * np.uint8(255)
    if jnp.issubdtype(dtype, jnp.integer):
        if low < 0 or high > 255:
            raise ValueError(
                f"expected integers in 0..255, got values from {low} to {high}: rescale to 8 bits, or say which values "
                f"are black and white: value_range=({min(low, 0)}, {_full_scale(high)})"
            )
        if high == 1:
            raise ValueError("expected integers in 0..255, got only 0 and 1: multiply by 255, or save them as booleans")
        return np.uint8, lambda data: data.astype(np.uint8, copy=False)
    try:
        check_range(low, high)
    except ValueError as error:
        raise ValueError(f"{error}, or say which values become 0 and 1: value_range=({low:.4g}, {high:.4g})") from None
    if exact == np.uint8 and 0 < (high - low) * 255 < MIN_LEVELS:
        raise ValueError(
            f"expected floats that use [0, 1], got values from {low:.4g} to {high:.4g}, of which 8 bits would keep "
            f"{round(high * 255) - round(low * 255) + 1} levels: rescale them, or say value_range=(0, {high:.4g})"
        )
    return exact, partial(_scale, value_range=(0.0, 1.0), dtype=exact)


def _scale(data, *, value_range, dtype):
    """Return data with two values mapped to 0 and 1 (as floats) or 0 and 255 (as bytes), a chunk at a time."""
    low, high = value_range
    scaled, step = np.empty(data.shape, dtype), max(1, CHUNK // max(1, data[:1].size))
    for start in range(0, len(data), step):
        unit = ((np.asarray(data[start : start + step], np.float64) - low) / (high - low)).clip(0, 1)
        scaled[start : start + step] = unit if dtype == np.float32 else np.rint(unit * 255)
    return scaled


def _full_scale(value):
    """Return the largest number of 10, 12, 14, 16, ... bits that holds a value.

    >>> _full_scale(900), _full_scale(4000), _full_scale(70000)
    (1023, 4095, 4294967295)
    """
    return next((2**bits - 1 for bits in (8, 10, 12, 14, 16, 32) if value < 2**bits), 2**64 - 1)
