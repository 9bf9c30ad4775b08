"""Grids of images with labels, drawn by Pillow.

Images are `[..., H, W, channels]` with 1 or 3 channels, uint8 or floating point in [0, 1].
"""

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gon_jax.plotting.canvas import write

_INK, _FAINT, _HIDDEN = (40, 40, 40), (140, 140, 140), (230, 0, 130)


def to_uint8(images):
    """Check images [..., H, W, channels] and give them as uint8; NaN becomes mid-gray, so that it is seen."""
    images = np.asarray(images)
    if images.ndim < 3 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(
            f"expected images [..., H, W, channels] with 1 or 3 channels, got shape {images.shape}: "
            "probably a missing channel axis, or channels first"
        )
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f" and images.dtype.name != "bfloat16":
        raise ValueError(
            f"expected images in uint8 or floats in [0, 1], got {images.dtype}: "
            "convert with astype('uint8') or divide by 255"
        )
    images = np.nan_to_num(images.astype(np.float32), nan=0.5, posinf=1, neginf=0)
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def image_grid(images: np.ndarray, num_columns: int | None = None, *, padding: int = 2, tile: int = 64) -> np.ndarray:
    """Tile images into one, enlarged by a whole factor so that small ones can be seen.

    Args:
        images: [R, C, H, W, channels], or [N, H, W, channels] in rows of num_columns; uint8, or floats in [0, 1]
            (clipped).
        num_columns: for N images; by default the square root of N, rounded up. Tiles that are left over are white.
        padding: white pixels between tiles.
        tile: about the longer side of a tile, in pixels; larger images keep their size.

    Returns:
        The picture, uint8 [height, width, channels].

    Raises:
        ValueError: the shape or the dtype is not that of images.

    Example:
        >>> image_grid(np.zeros((10, 32, 32, 1)), num_columns=5).shape  # 2 rows of 5 tiles of 64 pixels
        (130, 328, 1)
    """
    images = to_uint8(images)
    if images.ndim == 4:
        num_columns = num_columns or math.ceil(len(images) ** 0.5)
        missing = np.full((-len(images) % num_columns, *images.shape[1:]), 255, np.uint8)
        images = np.concatenate([images, missing]).reshape(-1, num_columns, *images.shape[1:])
    if images.ndim != 5:
        raise ValueError(f"expected images [R, C, H, W, channels] or [N, H, W, channels], got shape {images.shape}")
    factor = max(1, round(tile / max(images.shape[2:4])))
    images = images.repeat(factor, 2).repeat(factor, 3)
    images = np.pad(images, [(0, 0), (0, 0), (0, padding), (0, padding), (0, 0)], constant_values=255)
    rows, columns, height, width, channels = images.shape
    grid = images.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    return grid[: rows * height - padding, : columns * width - padding]


def save_image(path: str | Path, image: np.ndarray) -> None:
    """Write one image as PNG, atomically; folders are made where they are missing.

    Args:
        path: ends in `.png`.
        image: [H, W, 1 or 3], uint8 or floats in [0, 1] (clipped).

    Raises:
        ValueError: the shape or dtype is not that of an image, or the path does not end in `.png`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_image(f"{folder}/gray.png", np.full((8, 8, 1), 0.5))
    """
    from PIL import Image

    image = to_uint8(image)
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG", optimize=True)
    write(path, buffer.getvalue())


def save_labeled(path, pictures, *, header=(), columns=(), margin=16, gap=20):
    """Write pictures [(uint8 picture, [label of each row])] one below the other on white.

    Texts above them: a header at the left, the middle and the right, or labels of columns of equal width.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(18)
    left = margin + max(
        (
            math.ceil(font.getlength(line)) + 12
            for _, labels in pictures
            for label in labels
            for line in label.split("\n")
        ),
        default=0,
    )
    top = margin + (28 if header or columns else 0)
    width = left + pictures[0][0].shape[1] + margin
    height = top + sum(len(picture) + gap for picture, _ in pictures) - gap + margin
    canvas = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(canvas)
    for text, where, anchor in zip(
        header, (left, (left + width - margin) / 2, width - margin), ("lm", "mm", "rm"), strict=False
    ):
        draw.text((where, margin + 10), text, _INK if anchor != "mm" else _FAINT, font, anchor)
    for column, text in enumerate(columns):
        draw.text((left + (column + 0.5) * pictures[0][0].shape[1] / len(columns), margin + 10), text, _INK, font, "mm")
    for picture, labels in pictures:
        canvas.paste(Image.fromarray(np.broadcast_to(picture, (*picture.shape[:2], 3))), (left, top))
        for row, label in enumerate(labels):
            middle = top + (row + 0.5) * len(picture) / len(labels)
            draw.multiline_text((left - 12, middle), label, _INK, font, "rm", spacing=6, align="right")
        top += len(picture) + gap
    save_image(path, np.asarray(canvas))


def save_blocks(path, rows, labels, num_columns, *, first=None):
    """Write uint8 rows [R, N, H, W, channels] in blocks of columns, the first block with labels of its own."""
    blocks = [rows[:, start : start + num_columns] for start in range(0, rows.shape[1], num_columns)]
    missing = num_columns - blocks[-1].shape[1] if len(blocks) > 1 else 0
    blocks[-1] = np.pad(blocks[-1], [(0, 0), (0, missing), (0, 0), (0, 0), (0, 0)], constant_values=255)
    save_labeled(
        path, [(image_grid(block), labels if index else first or labels) for index, block in enumerate(blocks)]
    )


def save_reconstructions(
    path: str | Path,
    images: np.ndarray,
    reconstructions: Mapping[str, np.ndarray],
    *,
    errors: Mapping[str, np.ndarray | float] | None = None,
    num_columns: int = 10,
) -> None:
    """Write originals above their reconstructions, in blocks of rows with a label at the left of each.

    Args:
        path: ends in `.png`.
        images: the originals [N, H, W, channels].
        reconstructions: label to images [N, H, W, channels], such as {"GON": ..., "PCA": ...}.
        errors: label to the error of each image [N], or of the test set; the mean stands under the label, once.
        num_columns: images in a block; two blocks of ten are 20 images.

    Raises:
        ValueError: a reconstruction is of another shape than the images.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = np.zeros((20, 8, 8, 1))
        ...     save_reconstructions(f"{folder}/reconstructions.png", x, {"GON": x}, errors={"GON": 0.42})
    """
    images, errors = np.asarray(images), errors or {}
    for name, x_hat in reconstructions.items():
        if np.shape(x_hat) != images.shape:
            raise ValueError(
                f"expected reconstructions of the images' shape {images.shape}, got {np.shape(x_hat)} "
                f"from {name!r}: probably another selection, size or number of channels"
            )
    labels = ["original", *reconstructions]
    first = ["original"] + [
        f"{name}\nerror {np.mean(errors[name]):.3g}" if name in errors else name for name in reconstructions
    ]
    rows = np.stack([to_uint8(x) for x in (images, *reconstructions.values())])  # [1 + methods, N, H, W, channels]
    save_blocks(path, rows, labels, num_columns, first=first)


def save_inpainting(
    path: str | Path, images: np.ndarray, known: np.ndarray, completed: np.ndarray, *, num_columns: int = 10
) -> None:
    """Write originals, what was known of them (the rest in magenta, which no gray is), and what became of it.

    Args:
        path: ends in `.png`.
        images: the originals [N, H, W, channels].
        known: booleans [N, H, W].
        completed: [N, H, W, channels].
        num_columns: images in a block of three rows.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = np.ones((5, 8, 8, 1))
        ...     save_inpainting(f"{folder}/inpainting.png", x, np.arange(8) < np.full([5, 8, 1], 4), x)
    """
    images, known, completed = to_uint8(images), np.asarray(known), to_uint8(completed)
    if images.ndim != 4 or completed.shape != images.shape or known.shape != images.shape[:3]:
        raise ValueError(
            f"expected images and completed [N, H, W, channels] and known [N, H, W], got shapes "
            f"{images.shape}, {completed.shape} and {known.shape}: probably another selection or size"
        )
    images, completed = (np.broadcast_to(x, (*known.shape, 3)) for x in (images, completed))
    seen = np.where(known[..., None], images, np.uint8(_HIDDEN))
    save_blocks(path, np.stack([images, seen, completed]), ["original", "known", "completed"], num_columns)


def save_superresolution(
    path: str | Path, images: np.ndarray, x_hat: np.ndarray, *, name: str = "implicit GON"
) -> None:
    """Write images, a row each: their pixels, their bicubic enlargement, and the same function at more points.

    Args:
        path: ends in `.png`.
        images: the originals [N, h, w, channels].
        x_hat: decoded at a higher resolution [N, H, W, channels].
        name: of what decoded them.

    Raises:
        ValueError: there are not as many of both, or of other channels.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_superresolution(f"{folder}/large.png", np.zeros((2, 8, 8, 1)), np.zeros((2, 256, 256, 1)))
    """
    from PIL import Image

    images, x_hat = to_uint8(images), to_uint8(x_hat)
    if images.ndim != 4 or x_hat.ndim != 4 or (len(x_hat), x_hat.shape[3]) != (len(images), images.shape[3]):
        raise ValueError(
            f"expected images [N, h, w, channels] and as many [N, H, W, channels], got shapes "
            f"{images.shape} and {x_hat.shape}: probably another selection"
        )
    (low_height, low_width, channels), (height, width) = images.shape[1:], x_hat.shape[1:3]
    pictures = [Image.fromarray(image[..., 0] if channels == 1 else image) for image in images]
    columns = [
        np.stack([np.asarray(picture.resize((width, height), how)) for picture in pictures]).reshape(x_hat.shape)
        for how in (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)
    ]
    labels = [f"{low_height}x{low_width} pixels", "bicubic", f"{name}, {height}x{width}"]
    save_labeled(path, [(image_grid(np.stack([*columns, x_hat], 1), padding=8, tile=256), [])], columns=labels)


def save_interpolation(path: str | Path, grid: np.ndarray) -> None:
    """Write interpolations, one a row; the ends are the decoded codes of two real images.

    Args:
        path: ends in `.png`.
        grid: decoded images [R, P, H, W, channels].

    Raises:
        ValueError: the grid is not of that shape.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_interpolation(f"{folder}/interpolation.png", np.zeros((4, 10, 8, 8, 3)))
    """
    if np.ndim(grid) != 5:
        raise ValueError(
            f"expected interpolations [R, P, H, W, channels], got shape {np.shape(grid)}: "
            "one row of images probably lacks its leading axis"
        )
    header = ("image A", "between their codes", "image B") if np.shape(grid)[1] >= 6 else ()
    save_labeled(path, [(image_grid(grid), [])], header=header)


def save_samples(path: str | Path, samples: np.ndarray, num_columns: int | None = None) -> None:
    """Write samples [N, H, W, channels] as a grid, by default about square.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_samples(f"{folder}/samples.png", np.zeros((64, 8, 8, 1)))
    """
    save_labeled(path, [(image_grid(samples, num_columns), [])])
