"""Data as arrays: what is accepted, the choices where there is one, and the authors' resize."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.arguments import check_count
from gon_jax.choices import Framing, Kind, OnError
from gon_jax.progress import bar

__all__ = ["KINDS", "READING", "Framing", "Kind", "OnError", "Reading", "check_data", "check_images", "check_range"]
__all__ += ["check_reading", "check_size", "frame", "kind_of", "resize"]

ROUNDING = 1e-5  # how far outside [0, 1] a float may be after a user's own arithmetic

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
        memory_limit: most bytes of examples to read into memory. Examples of larger files, folders of pictures and
            records are read when they are needed: `Split.images` is then a source. By default half of what is free.
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
    check_range(low, high)
    return data


def check_range(low: float, high: float) -> None:
    """Refuse floats whose least and largest value are not in [0, 1], but for rounding.

    >>> check_range(0.0, 200.0)
    Traceback (most recent call last):
    ValueError: expected floats in [0, 1], got values from 0 to 200: divide by 255
    """
    if low < -ROUNDING or high > 1 + ROUNDING:
        remedy = (
            "rescale with (x + 1) / 2" if max(-low, high) <= 1 + ROUNDING else "rescale them, without standardizing"
        )
        remedy = "divide by 255" if low >= 0 and high <= 255 else remedy
        raise ValueError(f"expected floats in [0, 1], got values from {low:.4g} to {high:.4g}: {remedy}")


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
    planes = bar(np.moveaxis(images, 3, 1).reshape(-1, height, width), "resize", delay=2)
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
