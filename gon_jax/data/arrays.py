"""Images and other signals as arrays: what is accepted, how it becomes uint8, and the release's resize."""

import math

import jax.numpy as jnp
import numpy as np

ROUNDING = 1e-5  # how far outside [0, 1] a float may lie after a user's own arithmetic


def shown(shape) -> str:
    """Return a shape as it is written here, `[60000, 28, 28, 1]`."""
    return f"[{', '.join(map(str, shape))}]"


def kind_of(shape) -> str | None:
    """Return what an array of this shape holds: "audio", "images", "voxels" or "video"; None if nothing of ours.

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


def check_images(images, image_shape=None):
    """Return `images` unchanged, or say in one line what is wrong with them.

    Args:
        images: numpy or jax array `[N, H, W, C]`, or another signal `[N, *spatial, C]`: `[N, L, 1 or 2]`,
            `[N, D, H, W, C]`; uint8 in 0..255 or floating point in [0, 1].
        image_shape: the `(H, W, C)`, or `(*spatial, C)`, they must have; any if None.

    Raises:
        ValueError: not such an array: wrong rank, empty, channels first, integers that are not uint8, not finite,
            out of range, or of another shape than `image_shape`.

    Example:
        >>> check_images(np.zeros([5, 28, 28, 1], np.uint8)).shape
        (5, 28, 28, 1)
        >>> check_images(np.zeros([5, 28, 28, 1], np.uint8), (32, 32, 1))
        Traceback (most recent call last):
        ValueError: expected images [N, 32, 32, 1], got [5, 28, 28, 1]: convert with gon_jax.data.resize(images, 32)
    """
    if not (hasattr(images, "dtype") and hasattr(images, "shape")):
        raise ValueError(
            f"expected a numpy or jax array of images [N, H, W, C], got {type(images).__name__}: "
            "stack them with numpy.stack"
        )
    _check_shape(images.shape, image_shape)
    if images.dtype == jnp.uint8:
        return images
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"expected uint8 images in 0..255 or floats in [0, 1], got {images.dtype}: "
            "cast with images.astype(numpy.uint8) if the values are 0..255"
        )
    _check_unit_range(images)
    return images


def _check_shape(shape, image_shape=None):
    if len(image_shape) != 3 if image_shape is not None else kind_of(shape) not in ("images", None):
        return _check_signal(shape, image_shape)
    if len(shape) != 4:
        remedy = {
            3: "add the channel axis with images[..., None], or the batch axis with images[None]",
            2: "reshape each row to its height, width and channels",
        }.get(len(shape), "stack whole images")
        raise ValueError(f"expected images [N, H, W, C], got {shown(shape)}: {remedy}")
    if 0 in shape:
        raise ValueError(f"expected at least one image [N, H, W, C], got {shown(shape)}: the array is empty")
    if image_shape is not None and tuple(shape[1:]) == tuple(image_shape):
        return
    if shape[1] in (1, 3) and shape[3] not in (1, 3):
        raise ValueError(
            f"expected images [N, H, W, C], got {shown(shape)}, which looks like channels first: "
            "use images.transpose(0, 2, 3, 1)"
        )
    if image_shape is not None:
        height, width, channels = image_shape
        remedy = (
            f"convert with gon_jax.data.resize(images, {height})"
            if (width, channels) == (height, shape[3])
            else "these are other images than the model is made for"
        )
        raise ValueError(f"expected images {shown(['N', *image_shape])}, got {shown(shape)}: {remedy}")


def _check_signal(shape, signal_shape):
    """Check the shape of what isn't images."""
    if signal_shape is not None and tuple(shape[1:]) != tuple(signal_shape):
        remedy = (
            "add the channel axis with x[..., None]"
            if tuple(shape[1:]) == tuple(signal_shape[:-1])
            else "these are other data than the model is made for"
        )
        raise ValueError(f"expected data {shown(['N', *signal_shape])}, got {shown(shape)}: {remedy}")
    if 0 in shape:
        raise ValueError(f"expected at least one example, got {shown(shape)}: the array is empty")


def _check_unit_range(images):
    noun = "images" if images.ndim == 4 else "examples"
    low, high = float(images.min()), float(images.max())  # either is NaN where any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = ~np.isfinite(np.asarray(images, np.float32)).reshape(len(images), -1)
        raise ValueError(
            f"expected finite {noun}, got {bad.sum()} NaN or infinite values in {bad.any(1).sum()} of "
            f"{len(images)} {noun}, first in number {bad.any(1).argmax()}: remove or repair them"
        )
    if low < -ROUNDING or high > 1 + ROUNDING:
        remedy = (
            f"rescale with ({noun} + 1) / 2"
            if -1 - ROUNDING <= low < 0 and high <= 1 + ROUNDING
            else "divide by 255"
            if 0 <= low and high <= 255
            else "rescale them, without standardizing"
        )
        raise ValueError(f"expected floats in [0, 1], got values from {low:.4g} to {high:.4g}: {remedy}")


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Return images of a file `[N, H, W]` or `[N, H, W, C]` as uint8 `[N, H, W, C]`; other signals likewise.

    Floats in [0, 1] become round(255 x), booleans 0 and 255, and integers in 0..255 stay. Floats of sound become
    float32: 8 bits of it would hiss.

    Raises:
        ValueError: as `check_images`; or integers outside 0..255, or all of them 0 or 1.
    """
    audio = kind_of(images.shape) == "audio"
    images = images[..., None] if images.ndim == 3 and not audio else images
    _check_shape(images.shape)
    if images.dtype == bool:
        return images.astype(np.uint8) * 255
    if jnp.issubdtype(images.dtype, jnp.integer):
        low, high = int(images.min()), int(images.max())
        if low < 0 or high > 255:
            raise ValueError(f"expected integers in 0..255, got values from {low} to {high}: rescale to 8 bits")
        if high == 1:
            raise ValueError(
                "expected integers in 0..255, got only 0 and 1, which would be all but black: "
                "multiply by 255, or save them as floats or booleans"
            )
        return images.astype(np.uint8)
    check_images(images)
    if audio:
        return np.clip(images, 0, 1).astype(np.float32)
    return np.rint(np.clip(images, 0, 1) * 255).astype(np.uint8)


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Return square images resized to `size` as the release does: Pillow's bilinear filter, rounded to uint8.

    Half-pixel centers, with antialiasing when shrinking. Images of that size already are returned as they are.

    Args:
        images: uint8 `[N, S, S, C]`, any number of channels.
        size: the new height and width, in pixels.

    Returns:
        uint8 `[N, size, size, C]`.

    Raises:
        ValueError: `images` are not square uint8 images, or `size` is not a positive int.

    Example:
        >>> resize(np.array([[[0, 255], [0, 255]]], np.uint8)[..., None], 4)[0, 0, :, 0].tolist()
        [0, 64, 191, 255]
    """
    from PIL import Image
    from tqdm.auto import tqdm

    size = check_size(size)
    images = np.asarray(check_images(images))
    if images.ndim != 4:
        raise ValueError(f"expected images [N, H, W, C] to resize, got {shown(images.shape)}, {kind_of(images.shape)}")
    if images.dtype != np.uint8:
        raise ValueError(f"expected uint8 images to resize, got {images.dtype}: round 255 * images to uint8 first")
    num, height, width, channels = images.shape
    if height != width:
        raise ValueError(f"expected square images to resize, got {height}x{width}: crop or pad them to a square first")
    if height == size:
        return images
    planes = images.transpose(0, 3, 1, 2).reshape(-1, height, width)
    resized = np.empty([len(planes), size, size], np.uint8)
    for i, plane in enumerate(tqdm(planes, f"resize to {size}x{size}", leave=False, delay=2)):
        resized[i] = Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(resized.reshape(num, channels, size, size).transpose(0, 2, 3, 1))


def check_size(size) -> int:
    """Return `size` as an int, or raise ValueError if it is not a positive whole number."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
        raise ValueError(f"expected an image size in pixels, a positive int, got {size!r}")
    return int(size)
