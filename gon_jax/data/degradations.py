"""Images made worse: sources for translation, of the same shape, uint8 `[N, H, W, C]`; and masks for inpainting."""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from gon_jax.data.arrays import check_images

__all__ = ["DEGRADATIONS", "gray", "hide", "low_resolution", "noisy"]

LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


def low_resolution(images: np.ndarray, factor: int = 4) -> np.ndarray:
    """Return images in larger pixels: means over blocks of factor x factor, which divides H and W, rounded.

    Example:
        >>> low_resolution(np.array([[[0, 8], [8, 8]]], np.uint8)[..., None], 2)[0, :, :, 0].tolist()
        [[6, 6], [6, 6]]
    """
    images = check_images(images)
    num, height, width, channels = images.shape
    if factor < 1 or height % factor or width % factor:
        raise ValueError(f"expected a factor that divides the size {height}x{width}, got {factor}")
    blocks = images.reshape(num, height // factor, factor, width // factor, factor, channels)
    means = np.rint(blocks.mean(axis=(2, 4), keepdims=True)).astype(np.uint8)
    return np.broadcast_to(means, blocks.shape).reshape(images.shape)


def noisy(images: np.ndarray, scale: float = 0.25, seed: int = 0) -> np.ndarray:
    """Return images with Gaussian noise, clipped and rounded.

    Args:
        images: uint8 `[N, H, W, C]`.
        scale: standard deviation of the noise on [0, 1].
        seed: the same noise for the same seed and shape; give training and test images different ones.

    Example:
        >>> noisy(np.full((1, 2, 2, 1), 128, np.uint8), scale=0.0).ravel().tolist()
        [128, 128, 128, 128]
    """
    images = check_images(images)
    if not scale >= 0:
        raise ValueError(f"expected a scale of 0 or more, got {scale}")
    values = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
    values *= 255 * scale
    values += images
    return np.rint(values.clip(0, 255, out=values), out=values).astype(np.uint8)


def gray(images: np.ndarray) -> np.ndarray:
    """Return images `[N, H, W, 3]` in gray: their luma by ITU-R 601, rounded, in all three channels.

    Example:
        >>> gray(np.array([[[[255, 0, 0], [0, 0, 255]]]], np.uint8)).tolist()
        [[[[76, 76, 76], [29, 29, 29]]]]
    """
    images = check_images(images)
    if images.shape[-1] != 3:
        raise ValueError(f"expected color images [N, H, W, 3], got {list(images.shape)}; they have no color to lose")
    return np.repeat(np.rint(images @ np.array(LUMA))[..., None], 3, axis=-1).astype(np.uint8)


DEGRADATIONS: dict[str, Callable[..., np.ndarray]] = {"low_resolution": low_resolution, "noisy": noisy, "gray": gray}


def hide(
    images: np.ndarray, part: Literal["random", "center", "right"], fraction: float = 0.5, seed: int = 0
) -> np.ndarray:
    """Return what is still known of images `[N, H, W, C]` of which a part is hidden, `[N, H, W]` booleans.

    Args:
        images: the images.
        part: hide "random" pixels, the "center" or the "right".
        fraction: how much of each image is hidden.
        seed: of the random pixels.

    Raises:
        ValueError: for another part, data that are no images, or a fraction that hides nothing or all.

    >>> hide(np.zeros((1, 2, 4, 1)), "right", 0.5)[0, 0]
    array([ True,  True, False, False])
    """
    if images.ndim != 4:
        raise ValueError(f"expected images [N, H, W, C] to hide a part of, got data {list(images.shape)}")
    if not 0 < fraction < 1:
        raise ValueError(f"expected a fraction that hides a part of every image, between 0 and 1, got {fraction}")
    height, width = images.shape[1:3]
    known = np.ones(images.shape[:3], bool)
    if part == "random":
        known = np.random.default_rng(seed).uniform(size=known.shape) >= fraction
    elif part == "right":
        known[:, :, width - round(fraction * width) :] = False
    elif part == "center":
        margin = (1 - math.sqrt(fraction)) / 2
        rows, columns = (slice(round(margin * n), n - round(margin * n)) for n in (height, width))
        known[:, rows, columns] = False
    else:
        raise ValueError(f"expected to hide 'random', 'center' or 'right', got {part!r}")
    if known.all() or not known.any(axis=(1, 2)).all():
        raise ValueError(f"expected a fraction that hides a part of every image, got {fraction}")
    return known
