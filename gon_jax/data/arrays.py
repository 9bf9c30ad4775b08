"""Data as arrays: what is accepted, how the arrays of a file are converted, and the authors' resize."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

__all__ = ["check_data", "check_images", "check_size", "convert_part", "kind_of", "resize"]

ROUNDING = 1e-5  # how far outside [0, 1] a float may be after a user's own arithmetic


def kind_of(shape: Sequence[int]) -> str | None:
    """Return what an array of this shape holds: "audio", "images", "voxels" or "video"; None if none of these.

    >>> [kind_of(shape) for shape in ([9, 800, 1], [9, 28, 28], [9, 8, 8, 3], [9, 6, 8, 8, 1], [9, 8, 8, 8, 1])]
    ['audio', None, 'images', 'video', 'voxels']
    """
    match list(shape):
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
        data: NumPy or JAX array: images `[N, H, W, C]`, sound `[N, L, 1 or 2]`, films `[N, T, H, W, C]` or voxels
            `[N, D, D, D, 1]`; uint8 in 0..255 or floating point in [0, 1].
        data_shape: the shape that an example must have; any if None.

    Raises:
        ValueError: anything else: channels first, not finite, out of range, examples of another shape.

    Example:
        >>> check_data(np.zeros([5, 28, 28, 1], np.uint8), (32, 32, 1))
        Traceback (most recent call last):
        ValueError: expected images [N, 32, 32, 1], got [5, 28, 28, 1]: convert with gon_jax.data.resize(images, 32)
    """
    if not (hasattr(data, "dtype") and hasattr(data, "shape")):
        raise ValueError(f"expected a NumPy or JAX array, got {type(data).__name__}: stack examples with numpy.stack")
    _check_shape(tuple(data.shape), data_shape)
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
    channels_first = images and len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
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


def convert_part(data: np.ndarray, labels: np.ndarray | None, source: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return data and labels as `load` keeps them: uint8, but sound in floats as float32; labels int32 `[N]`.

    Floats in [0, 1] become round(255 x), booleans 0 and 255, and integers in 0..255 stay; images `[N, H, W]` get a
    channel axis. Sound keeps floats because 8 bits are audible as noise. Anything else, such as integers that are all
    0 or 1, is a ValueError that names the `source`.
    """
    try:
        return _convert_data(np.asarray(data)), _convert_labels(labels, len(data))
    except ValueError as error:
        raise ValueError(f"{error} (in {source})") from None


def _convert_data(data):
    audio = kind_of(data.shape) == "audio"
    data = data[..., None] if data.ndim == 3 and not audio else data
    _check_shape(data.shape)
    if data.dtype == bool:
        return data.astype(np.uint8) * 255
    if np.issubdtype(data.dtype, np.integer):
        low, high = int(data.min()), int(data.max())
        if low < 0 or high > 255:
            raise ValueError(f"expected integers in 0..255, got values from {low} to {high}: rescale to 8 bits")
        if high == 1:
            raise ValueError("expected integers in 0..255, got only 0 and 1: multiply by 255, or save them as booleans")
        return data.astype(np.uint8, copy=False)
    unit = np.clip(check_data(data), 0, 1)
    return unit.astype(np.float32) if audio else np.rint(unit * 255).astype(np.uint8)


def _convert_labels(labels, num_examples):
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape not in ((num_examples,), (num_examples, 1)) or not np.issubdtype(labels.dtype, np.integer):
        got = f"{labels.dtype} {list(labels.shape)}"
        raise ValueError(f"expected integer labels [{num_examples}], got {got}: use class numbers, not one-hot")
    return labels.reshape(-1).astype(np.int32)


def check_images(images: Any) -> np.ndarray:
    """Return uint8 images `[N, H, W, C]` as a NumPy array, or raise ValueError for other data."""
    images = np.asarray(check_data(images))
    if images.ndim != 4 or images.dtype != np.uint8:
        got = f"{images.dtype} {list(images.shape)}"
        raise ValueError(f"expected uint8 images [N, H, W, C], got {got}: round floats to uint8, take images only")
    return images


def check_size(size: int) -> int:
    """Return `size` as an int, or raise ValueError if it is not a positive whole number."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"expected an image size in pixels, a positive int, got {size!r}")
    return int(size)


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Return square images resized as the authors' implementation does: Pillow's bilinear filter, rounded to uint8.

    Half-pixel centers, with antialiasing when shrinking. Images of that size already are returned as they are.

    Args:
        images: uint8 `[N, S, S, C]`, any number of channels; ValueError for others.
        size: the new height and width, a positive int.

    Example:
        >>> resize(np.array([[[0, 255], [0, 255]]], np.uint8)[..., None], 4)[0, 0, :, 0].tolist()
        [0, 64, 191, 255]
    """
    from PIL import Image
    from tqdm.auto import tqdm

    size, images = check_size(size), check_images(images)
    num, height, width, channels = images.shape
    if height != width:
        raise ValueError(f"expected square images to resize, got {height}x{width}: crop or pad them first")
    if height == size:
        return images
    planes = tqdm(np.moveaxis(images, 3, 1).reshape(-1, height, width), "resize", leave=False, delay=2)
    resized = [np.asarray(Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)) for plane in planes]
    return np.ascontiguousarray(np.moveaxis(np.stack(resized).reshape(num, channels, size, size), 1, 3))
