"""A picture in a file: opened by Pillow, with a choice wherever something would be lost, and converted to a shape."""

import io
import os
from typing import Any

import numpy as np

from gon_jax._files import one_line
from gon_jax.data.arrays import READING, Reading

__all__ = ["convert_picture", "from_pictures", "image_suffixes", "is_deep", "is_gray", "num_frames", "open_picture"]

GRAY_MODES, COLOR_MODES = ("1", "L"), ("RGB", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
NOT_PICTURES = {".pdf", ".ps", ".eps", ".mpg", ".mpeg", ".h5", ".hdf"}  # documents and data that Pillow registers


def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of the files that Pillow can read here, in lower case.

    >>> {".png", ".tif", ".webp", ".jfif", ".ppm"} <= set(image_suffixes())
    True
    """
    from PIL import Image

    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    return tuple(sorted(known - NOT_PICTURES))


def open_picture(
    path: str | os.PathLike[str] | bytes, reading: Reading = READING, name: str | os.PathLike[str] = "the data"
) -> Any:
    """Return a picture as a Pillow image of mode L or RGB, turned as its EXIF says; of a moving one the first frame.

    Args:
        path: of a file, or its contents.
        name: of the contents, for messages.
        reading: choices; `background` and `value_range` count here.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, it is transparent and there is no background, or it has more than 8 bits per
            channel and there is no value range.
    """
    from PIL import Image, ImageOps

    where = name if isinstance(path, bytes) else path
    if (
        not isinstance(path, bytes) and os.path.exists(path) and not os.path.isfile(path)
    ):  # a pipe, which might never end
        raise ValueError(f"expected an image, got {where}, which is no file")
    try:
        with Image.open(io.BytesIO(path) if isinstance(path, bytes) else path) as file:
            deep, alpha = is_deep(file), _unused_bits(file)
            picture = ImageOps.exif_transpose(file)
            picture.load()
            if alpha is not None:
                picture.putalpha(Image.fromarray(alpha))
    except FileNotFoundError:
        raise FileNotFoundError(f"expected an image, got {where}, which does not exist: check the path") from None
    except Exception as error:  # Pillow's plugins raise many kinds for a damaged file
        raise ValueError(
            f"expected an image, got {where}, which cannot be read ({one_line(error)}): remove or replace it"
        ) from error
    try:
        picture = _to_bytes(picture, deep, reading.value_range)
        return _on_background(picture, reading.background)
    except ValueError as error:
        raise ValueError(f"{error} (in {where})") from None


def _unused_bits(picture):
    """Return the bits that a BMP file has no use for, uint8 `[H, W]`, if they look like transparency; else None.

    Without a mask for them they mean nothing, and Pillow drops them. Many programs, Pillow among them, write
    transparency there nevertheless: then they are neither all 0 nor all 1.
    """
    if picture.format not in ("BMP", "DIB") or picture.mode != "RGB" or picture.tile[0][0] != "raw":
        return None
    _, _, offset, (raw_mode, stride, direction) = picture.tile[0]
    (width, height), of_bytes = picture.size, "X" in raw_mode
    if not of_bytes and raw_mode != "BGR;15":
        return None
    picture.fp.seek(offset)
    contents = picture.fp.read(stride * height)
    if len(contents) < stride * height:  # Pillow says so
        return None
    rows = np.frombuffer(contents, np.uint8).reshape(height, stride)[::direction]
    if of_bytes:
        bits = rows[:, raw_mode.index("X") : 4 * width : 4]
    else:
        bits = np.where(rows[:, 1 : 2 * width : 2] & 0x80, np.uint8(255), np.uint8(0))
    return None if (bits == bits[0, 0]).all() and bits[0, 0] in (0, 255) else np.ascontiguousarray(bits)


def num_frames(contents: bytes) -> int:
    """Return how many frames or pages a picture has, by its contents; 1 where what follows the first is damaged."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(contents)) as picture:
            return getattr(picture, "n_frames", 1)
    except Exception:  # Pillow's plugins raise many kinds
        return 1


def is_deep(picture: Any) -> bool:
    """Return whether a picture that is not decoded yet has more than 8 bits per channel."""
    options = [tile[-1] for tile in picture.tile]
    deep = any(";16" in str(option) for option in options)
    if picture.format == "PPM":  # says the largest value
        deep |= any(isinstance(a, int) and a > 255 for option in options if isinstance(option, tuple) for a in option)
    return picture.mode in DEEP_MODES or deep


def is_gray(picture: Any, reading: Reading = READING) -> bool:
    """Return whether `open_picture` returns a gray picture, of one that is not decoded yet."""
    if picture.mode in ("LA", "La") or (picture.mode in GRAY_MODES and "transparency" in picture.info):
        return reading.background is None or _is_gray_color(reading.background)
    return picture.mode in GRAY_MODES + DEEP_MODES


def _is_gray_color(color):
    from PIL import ImageColor

    return len(set(ImageColor.getrgb(color)[:3])) == 1


def from_pictures(pictures: Any, reading: Reading = READING) -> Any:
    """Return a sequence of Pillow images as one array `[N, H, W, C]`, by the rules of files; anything else as it is."""
    try:
        first = pictures[0]
    except (TypeError, KeyError, IndexError):
        return pictures
    if not (hasattr(first, "convert") and hasattr(first, "getextrema")):
        return pictures
    converted = []
    for i, picture in enumerate(pictures):
        try:
            picture = _to_bytes(picture, picture.mode in DEEP_MODES, reading.value_range)
            converted.append(convert_picture(_on_background(picture, reading.background)))
        except ValueError as error:
            raise ValueError(f"{error} (in number {i})") from None
    sizes = {array.shape[:2] for array in converted}
    if len(sizes) > 1:
        raise ValueError(f"expected pictures of one size, got {sorted(sizes)}: resize them first")
    channels = max(array.shape[2] for array in converted)
    return np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in converted])


def _to_bytes(picture, deep, value_range):
    """Return a picture of 8 bits per channel."""
    from PIL import Image

    if not deep:
        if value_range not in (None, (0, 255)):
            raise ValueError(f"expected more than 8 bits per channel with a value_range, got mode {picture.mode}")
        return picture
    if value_range is None:
        raise ValueError(
            f"expected 8 bits per channel, got more (mode {picture.mode}): say which values are black and white, as "
            "value_range=(0, 65535)"
        )
    if picture.mode not in DEEP_MODES:  # Pillow keeps the high byte of color, and nothing else
        if tuple(value_range) != (0, 65535):
            raise ValueError("expected value_range=(0, 65535) for 16 bits in color, which Pillow reads as high bytes")
        return picture
    if "transparency" in picture.info:
        raise ValueError("expected no transparency in a picture of more than 8 bits: put it on a background first")
    values, (low, high) = np.asarray(picture, np.float64), value_range
    if not (values.min() >= low and values.max() <= high):
        got = f"{values.min():g} to {values.max():g}"
        raise ValueError(f"expected values in value_range ({low:g}, {high:g}), got {got}: choose a larger one")
    return Image.fromarray(np.rint((values - low) / (high - low) * 255).astype(np.uint8))


def _on_background(picture, background):
    """Return a picture without transparency, of mode L or RGB."""
    from PIL import Image, ImageColor

    gray = picture.mode in (*GRAY_MODES, "LA", "La")
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if picture.getchannel("A").getextrema()[0] < 255:
            if background is None:
                raise ValueError(
                    "expected an opaque picture, got transparency: say what is under it, background='white'"
                )
            under = Image.new("RGBA", picture.size, (*ImageColor.getrgb(background)[:3], 255))
            picture = Image.alpha_composite(under, picture)
            gray = gray and _is_gray_color(background)
    elif picture.mode not in GRAY_MODES + COLOR_MODES:
        raise ValueError(f"expected gray or color of 8 bits per channel, got mode {picture.mode}: convert it")
    return picture.convert("L" if gray else "RGB")


def convert_picture(
    picture: Any, size: tuple[int, int] | None = None, channels: int | None = None, reading: Reading = READING
) -> np.ndarray:
    """Return a Pillow image of mode L or RGB as uint8 `[H, W, C]`, framed and resized by Pillow's bilinear filter.

    `size` is `(H, W)`, None keeps it; `channels` is 1 or 3, None 1 for gray, else 3. The `framing` of
    `reading` counts and, for padding, its `background`.
    """
    from PIL import Image, ImageOps

    gray = channels == 1 if channels else picture.mode in GRAY_MODES
    picture = picture.convert("L" if gray else "RGB")
    if size is not None:
        (width, height), (new_height, new_width) = picture.size, size
        bilinear = Image.Resampling.BILINEAR
        if reading.framing == "pad":
            picture = ImageOps.pad(picture, (new_width, new_height), bilinear, color=reading.background or "black")
        else:
            if reading.framing == "crop":
                cut_width = max(1, min(width, round(height * new_width / new_height)))
                cut_height = max(1, min(height, round(width * new_height / new_width)))
                left, top = (width - cut_width) // 2, (height - cut_height) // 2
                picture = picture.crop((left, top, left + cut_width, top + cut_height))
            picture = picture.resize((new_width, new_height), bilinear)
    pixels = np.asarray(picture)
    return pixels[..., None] if gray else pixels
