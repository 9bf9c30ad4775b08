"""Data as arrays: what is accepted, how the arrays of a file are converted, and the authors' resize."""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.arguments import check_count

__all__ = ["KINDS", "READING", "Framing", "Kind", "OnError", "Reading", "check_data", "check_images", "check_size"]
__all__ += ["check_reading", "convert_data", "frame", "kind_of", "name_axes", "resize"]

ROUNDING = 1e-5  # how far outside [0, 1] a float may be after a user's own arithmetic
CHUNK = 2**24  # values that are converted at once: data larger than half the memory fit as bytes
DARK = 64  # the largest byte of data that are probably of another range
MIN_LEVELS = 16  # of the 256 that floats must reach, to be rounded to them

Framing = Literal["crop", "pad", "stretch"]
Kind = Literal["images", "audio", "voxels", "video", "table", "points"]
OnError = Literal["skip", "stop"]
KINDS: dict[Kind, int] = {"table": 2, "points": 3, "audio": 3, "images": 4, "voxels": 5, "video": 5}  # and their ranks


class Reading(NamedTuple):
    """How a user's files become arrays, where there is a choice.

    Attributes:
        framing: how a picture gets the aspect ratio that is asked for: "crop" it about the center, "pad" it with
            black or the background, or "stretch" it.
        background: a color by Pillow's names ("white", "#ff8800") that is put under transparent pixels; without one,
            transparent pictures are refused.
        value_range: the two values that become 0 and 1, for data that are neither bytes nor in [0, 1]: (0, 65535) for
            16 bits, (-4, 4) for standardized numbers. Data outside are refused.
        kind: what arrays hold, for shapes that several kinds have; a missing channel axis is added.
        on_error: "skip" damaged files among many, and count them; or "stop" at the first.
        memory_limit: most bytes of examples to read into memory. Larger `.npy` files and folders of pictures are read
            when examples are needed: `Split.images` is then a source. By default half of what is free.
    """

    framing: Framing = "crop"
    background: str | None = None
    value_range: tuple[float, float] | None = None
    kind: Kind | None = None
    on_error: OnError = "skip"
    memory_limit: int | None = None


READING = Reading()


def kind_of(shape: Sequence[int]) -> Kind | None:
    """Return what an array of this shape holds, as far as a shape tells; None for a shape that no kind has.

    >>> [kind_of(shape) for shape in ([9, 7], [9, 800, 1], [9, 28, 28], [9, 8, 8, 3], [9, 6, 8, 8, 1], [9, 8, 8, 8, 1])]
    ['table', 'audio', None, 'images', 'video', 'voxels']
    """
    match list(shape):
        case [_, _]:
            return "table"
        case [_, _, 1 | 2]:
            return "audio"
        case [_, _, _, _]:
            return "images"
        case [_, depth, height, width, 1] if depth == height == width:
            return "voxels"
        case [_, _, _, _, _]:
            return "video"
    return None


def check_data(data: Any, data_shape: Sequence[int] | None = None) -> Any:
    """Return `data` unchanged, or say in one line what is wrong with it.

    Args:
        data: NumPy or JAX array: images `[N, H, W, C]`, sound `[N, L, 1 or 2]`, films `[N, T, H, W, C]`, voxels
            `[N, D, D, D, 1]` or tables `[N, d]`; uint8 in 0..255 or floating point in [0, 1].
        data_shape: the shape that an example must have; any of those if None.

    Raises:
        ValueError: anything else: channels first, not finite, out of range, examples of another shape.

    Example:
        >>> check_data(np.zeros([5, 28, 28, 1], np.uint8), (32, 32, 1))
        Traceback (most recent call last):
        ValueError: expected images [N, 32, 32, 1], got [5, 28, 28, 1]: convert with gon_jax.data.resize(images, 32)
    """
    if not isinstance(data, np.ndarray | jax.Array):
        raise ValueError(
            f"expected a NumPy or JAX array, got {type(data).__name__}: convert with numpy.asarray(data), or stack "
            "examples with numpy.stack"
        )
    _check_shape(tuple(data.shape), data_shape)
    if not data.dtype.isnative:  # which compiled functions would read as other numbers, without an error
        raise ValueError(
            f"expected this machine's byte order, got {data.dtype}: convert with x.astype(x.dtype.newbyteorder('='))"
        )
    if data.dtype == jnp.uint8:
        return data
    if not jnp.issubdtype(data.dtype, jnp.floating):
        raise ValueError(f"expected uint8 or floats in [0, 1], got {data.dtype}: cast 0..255 by astype(numpy.uint8)")
    low, high = float(data.min()), float(data.max())  # either is NaN where any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = ~np.isfinite(np.asarray(data, np.float32)).reshape(len(data), -1)
        raise ValueError(
            f"expected finite values, got {bad.sum()} NaN or infinite ones in {bad.any(1).sum()} of "
            f"{len(data)} examples, first in number {bad.any(1).argmax()}: remove or repair them"
        )
    if low < -ROUNDING or high > 1 + ROUNDING:
        remedy = (
            "rescale with (x + 1) / 2" if max(-low, high) <= 1 + ROUNDING else "rescale them, without standardizing"
        )
        remedy = "divide by 255" if low >= 0 and high <= 255 else remedy
        raise ValueError(f"expected floats in [0, 1], got values from {low:.4g} to {high:.4g}: {remedy}")
    return data


def _check_shape(shape, data_shape=None):
    if 0 in shape:
        raise ValueError(f"expected at least one example, got {list(shape)}: the array is empty")
    data_shape = None if data_shape is None else tuple(data_shape)
    images = data_shape is None or len(data_shape) == 3
    channels_first = images and len(shape) == 4 and shape[1] in (1, 3) and shape[3] > 4
    if shape[1:] == data_shape or (data_shape is None and kind_of(shape) and not channels_first):
        return
    if channels_first:
        remedy = "it looks like channels first, use x.transpose(0, 2, 3, 1)"
    elif images and len(shape) == 3:
        remedy = "add the channel axis with x[..., None], or the batch axis with x[None]"
    elif data_shape and shape[1:] == data_shape[:-1]:
        remedy = "add the channel axis with x[..., None]"
    elif images and data_shape and data_shape == (data_shape[0], data_shape[0], *shape[3:]):
        remedy = f"convert with gon_jax.data.resize(images, {data_shape[0]})"
    elif images and len(shape) != 4:
        remedy = "reshape each example to its height, width and channels, and stack whole images"
    else:
        remedy = "these are other data than the model is made for"
    expected = f"{'images' if images else 'data'} [N, {', '.join(map(str, data_shape or 'HWC'))}]"
    raise ValueError(f"expected {expected}, got {list(shape)}: {remedy}")


def convert_data(data: Any, source: Any, reading: Reading = READING) -> tuple[np.ndarray, Kind, list[str]]:
    """Return an array of a file or a loader as `load` keeps it, what it holds, and what was done, in words.

    Images, voxels and films become uint8: floats in [0, 1] become round(255 x), booleans 0 and 255, and integers in
    0..255 stay. Sound, tables and points keep floats as float32 in [0, 1], because 8 bits would be heard or felt. With
    a `value_range` any numbers in it are mapped to [0, 1] first. A missing channel axis is added where it is certain
    what the axes are.

    Args:
        data: `[N, ...]`, whatever `numpy.asarray` takes.
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
        data = np.asarray(data)
        data, kind, notes = name_axes(data.astype(data.dtype.newbyteorder("="), copy=False), reading.kind)
        kept = _to_kept(data, kind, reading.value_range)
        if data.dtype.kind in "iu" and kept.dtype == np.uint8 and reading.value_range is None and kept.max() <= DARK:
            most, remedy = kept.max(), "where that is white, say so by value_range"
            notes = [*notes, f"whole numbers only up to {most} of 255, almost black: {remedy} (0, {most})"]
        return kept, kind, notes
    except ValueError as error:
        raise ValueError(f"{error} (in {source})") from None


def name_axes(data: np.ndarray, kind: Kind | None) -> tuple[np.ndarray, Kind, list[str]]:
    """Return data with a channel axis, what they hold, and what was done; refuse what may be one thing or another."""
    shape = list(data.shape)
    if 0 in shape:
        raise ValueError(f"expected at least one example, got {shape}: the array is empty")
    most = 2 if data.ndim == 3 else 4  # channels of sound, and of all else
    last = data.ndim > 2 and shape[-1] <= most
    if data.ndim > 2 and not last and shape[1] <= most and shape[-1] > 4 and kind not in ("table", "points"):
        axes = ", ".join(map(str, (0, *range(2, data.ndim), 1)))
        raise ValueError(f"expected channels last, got {shape}: it looks like channels first, use x.transpose({axes})")
    if kind is not None:
        if data.ndim == KINDS[kind]:
            return data, kind, []
        if data.ndim == KINDS[kind] - 1 and kind not in ("table", "points"):
            return data[..., None], kind, [f"channel axis added: {shape} are {kind} {[*shape, 1]}"]
        raise ValueError(f"expected {kind} of {KINDS[kind]} axes, the examples' among them, got {shape}: reshape them")
    if data.ndim == 3 and shape[2] == 3 and shape[1] > 4:
        raise ValueError(f"expected images, or points in space said by kind='points', got {shape}: say which (kind)")
    if data.ndim == 3 and not last:
        return data[..., None], "images", [f"channel axis added: {shape} are gray images {[*shape, 1]}"]
    if data.ndim == 4 and not last:
        if data.dtype == bool and shape[1] == shape[2] == shape[3]:
            return data[..., None], "voxels", [f"channel axis added: {shape} are voxels {[*shape, 1]}"]
        raise ValueError(
            f"expected images of 1 to 4 channels, got {shape}: of more channels say kind='images'; without a channel "
            "axis say what they are, kind='voxels' or 'video'"
        )
    if (found := kind_of(shape)) is None or (data.ndim == 5 and not last):
        raise ValueError(f"expected images [N, H, W, C], got {shape}: reshape examples to {', '.join(KINDS)}")
    return data, found, []


def check_reading(reading: Reading) -> Reading:
    """Return choices unchanged, or say in one line what is wrong with them.

    Raises:
        ValueError: an unknown name or color, or a value range that is no finite lower and higher value.
    """
    for name, known in {"framing": get_args(Framing), "kind": (*KINDS, None), "on_error": get_args(OnError)}.items():
        if (value := getattr(reading, name)) not in known:
            raise ValueError(f"expected {name} one of {', '.join(map(str, known))}, got {value!r}")
    if reading.value_range is not None:
        low, high = reading.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"expected value_range of a finite lower and higher value, got {reading.value_range}")
    if reading.background is not None:
        from PIL import ImageColor

        try:
            ImageColor.getrgb(reading.background)
        except ValueError:
            raise ValueError(
                f"expected a background color, by name or as #rrggbb, got {reading.background!r}"
            ) from None
    return reading


def _to_kept(data, kind, value_range):
    if not (data.dtype == bool or any(jnp.issubdtype(data.dtype, real) for real in (jnp.integer, jnp.floating))):
        raise ValueError(f"expected real numbers, got {data.dtype}: convert them with x.astype(float)")
    exact = kind in ("audio", "table", "points")  # floats stay floats
    if value_range is not None and data.dtype == bool:
        raise ValueError("expected numbers for a value_range, got booleans, which are black and white: leave it out")
    if value_range is not None:
        return _scale(data, value_range, np.float32 if exact else np.uint8)
    if data.dtype == bool:
        return data.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(data.dtype, np.integer):
        low, high = int(data.min()), int(data.max())
        if low < 0 or high > 255:
            raise ValueError(
                f"expected integers in 0..255, got values from {low} to {high}: rescale to 8 bits, or say which values "
                f"are black and white: value_range=({min(low, 0)}, {_full_scale(high)})"
            )
        if high == 1:
            raise ValueError("expected integers in 0..255, got only 0 and 1: multiply by 255, or save them as booleans")
        return data.astype(np.uint8, copy=False)
    try:
        check_data(data, data.shape[1:])
    except ValueError as error:
        if "got values from" not in str(error):
            raise
        low, high = float(data.min()), float(data.max())
        raise ValueError(f"{error}, or say which values become 0 and 1: value_range=({low:.4g}, {high:.4g})") from None
    if not exact:
        low, high = float(data.min()), float(data.max())
        if 0 < (high - low) * 255 < MIN_LEVELS:
            raise ValueError(
                f"expected floats that use [0, 1], got values from {low:.4g} to {high:.4g}, of which 8 bits would keep "
                f"{round(high * 255) - round(low * 255) + 1} levels: rescale them, or say value_range=(0, {high:.4g})"
            )
    return _scale(data, (0.0, 1.0), np.float32 if exact else np.uint8)


def _scale(data, value_range, dtype):
    """Return data with two values mapped to 0 and 1 (as floats) or 0 and 255 (as bytes), a chunk at a time."""
    low, high = value_range
    scaled, step = np.empty(data.shape, dtype), max(1, CHUNK // max(1, data[:1].size))
    for start in range(0, len(data), step):
        unit = (np.asarray(data[start : start + step], np.float64) - low) / (high - low)
        if not (unit.min() >= -ROUNDING and unit.max() <= 1 + ROUNDING):  # false of NaN too
            got = f"{data.min():.6g} to {data.max():.6g}"
            raise ValueError(f"expected values in value_range ({low:g}, {high:g}), got {got}: choose a larger one")
        unit = unit.clip(0, 1)
        scaled[start : start + step] = unit if dtype == np.float32 else np.rint(unit * 255)
    return scaled


def _full_scale(value):
    """Return the largest number of 10, 12, 14, 16, ... bits that holds a value.

    >>> _full_scale(900), _full_scale(4000), _full_scale(70000)
    (1023, 4095, 4294967295)
    """
    return next((2**bits - 1 for bits in (8, 10, 12, 14, 16, 32) if value < 2**bits), 2**64 - 1)


def check_images(images: Any) -> np.ndarray:
    """Return uint8 images `[N, H, W, C]` as a NumPy array, or raise ValueError for other data."""
    images = np.asarray(check_data(images))
    if images.ndim != 4 or images.dtype != np.uint8:
        got = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"expected uint8 images [N, H, W, C], got {got}: round floats to uint8, take images only")
    return images


def check_size(size: int) -> int:
    """Return `size` as an int, or raise ValueError if it is not a positive whole number."""
    return check_count("image size in pixels", size)


def resize(images: np.ndarray, size: int, framing: Framing | None = None) -> np.ndarray:
    """Return square images resized as the authors' implementation does: Pillow's bilinear filter, rounded to uint8.

    Half-pixel centers, with antialiasing when shrinking. Images of that size already are returned as they are.

    Args:
        images: uint8 `[N, H, W, C]`, any number of channels; ValueError for others.
        size: the new height and width, a positive int.
        framing: how images that are not square become so: "crop" about the center, "pad" with black, "stretch"; None
            refuses them.

    Example:
        >>> resize(np.array([[[0, 255], [0, 255]]], np.uint8)[..., None], 4)[0, 0, :, 0].tolist()
        [0, 64, 191, 255]
    """
    from PIL import Image
    from tqdm.auto import tqdm

    size, images = check_size(size), check_images(images)
    num, height, width, channels = images.shape
    if height != width:
        if framing is None or framing not in get_args(Framing):
            raise ValueError(
                f"expected square images to resize, got {height}x{width}: crop or pad them first, or say "
                "framing='crop', 'pad' or 'stretch'"
            )
        images = frame(images, framing)
        height, width = images.shape[1:3]
    if height == width == size:
        return images
    planes = tqdm(np.moveaxis(images, 3, 1).reshape(-1, height, width), "resize", leave=False, delay=2)
    resized = [np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)) for plane in planes]
    return np.ascontiguousarray(np.moveaxis(np.stack(resized).reshape(num, channels, size, size), 1, 3))


def frame(images: np.ndarray, framing: Framing) -> np.ndarray:
    """Return images `[N, H, W, C]` as squares: cut about the center, padded with black, or as they are ("stretch").

    >>> frame(np.arange(8).reshape(1, 2, 4, 1), "crop")[0, :, :, 0].tolist()
    [[1, 2], [5, 6]]
    """
    height, width = images.shape[1:3]
    if framing == "stretch":
        return images
    side = min(height, width) if framing == "crop" else max(height, width)
    if framing == "crop":
        top, left = (height - side) // 2, (width - side) // 2
        return images[:, top : top + side, left : left + side]
    top, left = (side - height) // 2, (side - width) // 2
    return np.pad(images, ((0, 0), (top, side - height - top), (left, side - width - left), (0, 0)))
