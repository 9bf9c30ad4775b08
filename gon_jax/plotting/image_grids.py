"""Grids of images with labels, drawn by Pillow. Every path ends in `.png`.

Images are [..., H, W, channels], uint8 or floats in [0, 1] (clipped). With 2 channels, the first
is shown as red and the second as green; with more than 3, the first three are shown. Every function raises ValueError
for arrays of other shapes or dtypes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gon_jax.plotting.canvas import _write

__all__ = [
    "image_grid",
    "save_image",
    "save_inpainting",
    "save_extremes",
    "save_interpolation",
    "save_labeled",
    "save_reconstructions",
    "save_rows",
    "save_samples",
    "save_superresolution",
    "save_traversal",
    "to_pixels",
]

_INK, _FAINT, _HIDDEN = (40, 40, 40), (140, 140, 140), (230, 0, 130)


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Return images as uint8 with 1 or 3 channels; NaN becomes mid-gray, so that it is seen."""
    images = np.asarray(images)
    channels = images.shape[-1] if images.ndim > 2 and images.size else 0
    if not (channels in (1, 3) or 2 <= channels < min(images.shape[-3:-1])):
        cause = "probably a missing channel axis, or channels first"
        raise ValueError(f"expected images [..., H, W, channels], got shape {images.shape}: {cause}")
    if channels == 2:
        images = np.concatenate([images, np.zeros_like(images[..., :1])], axis=-1)
    images = images[..., :3]
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind != "f" and images.dtype.name != "bfloat16":
        raise ValueError(f"expected images in uint8 or floats in [0, 1], got {images.dtype}: convert or divide by 255")
    images = np.nan_to_num(images.astype(np.float32), nan=0.5, posinf=1, neginf=0)
    return np.round(np.clip(images, 0, 1) * 255).astype(np.uint8)


def _pillow(image):
    """Return uint8 [H, W, 1 or 3] as an image of Pillow."""
    from PIL import Image

    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def image_grid(images: np.ndarray, num_columns: int | None = None, *, padding: int = 2, tile: int = 64) -> np.ndarray:
    """Tile images into one, uint8 [height, width, channels], enlarged by a whole factor so that small ones can be seen.

    Args:
        images: [R, C, H, W, channels], or [N, H, W, channels] in rows of num_columns.
        num_columns: for N images; by default the square root of N, rounded up. Tiles that are left over are white.
        padding: white pixels between tiles.
        tile: about the longer side of a tile, in pixels; larger images keep their size.

    >>> image_grid(np.zeros((10, 32, 32, 1)), num_columns=5).shape  # 2 rows of 5 tiles of 64 pixels
    (130, 328, 1)
    """
    images = to_pixels(images)
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
    """Write one image [H, W, channels].

    >>> save_image("gray.png", np.full((8, 8, 1), 0.5))
    """
    picture = _pillow(to_pixels(image))
    _write(path, ".png", lambda file: picture.save(file, "PNG", optimize=True))


def save_labeled(
    path: str | Path,
    pictures: Sequence[tuple[np.ndarray, Sequence[str]]],
    *,
    header: Sequence[str] = (),
    columns: Sequence[str] = (),
    names: Sequence[Sequence[str]] = (),
) -> None:
    """Write pictures [(uint8 picture, labels of its rows)] below each other on white.

    The text above them is a header at the left, the middle and the right, or a label for each of equally wide columns;
    the text under each, in small letters, a name for each of its columns, of which the end is shown where it is long.
    """
    from PIL import Image, ImageDraw, ImageFont

    margin, gap, width, font = 16, 20, pictures[0][0].shape[1], ImageFont.load_default(18)
    lines = [line for _, labels in pictures for label in labels for line in label.split("\n")]
    left = margin + max((math.ceil(font.getlength(line)) + 12 for line in lines), default=0)
    top = margin + (28 if header or columns else 0)
    small = ImageFont.load_default(11)
    height = top + sum(len(picture) + gap for picture, _ in pictures) - gap + margin * (2 if names else 1)
    canvas = Image.new("RGB", (left + width + margin, height), "white")
    draw = ImageDraw.Draw(canvas)
    above = [(left + (column + 0.5) * width / len(columns), "mm", _INK) for column in range(len(columns))]
    if header:
        above = [(left, "lm", _INK), (left + width / 2, "mm", _FAINT), (left + width, "rm", _INK)]
    for text, (x, anchor, color) in zip(header or columns, above, strict=True):
        draw.text((x, margin + 10), text, color, font, anchor)
    for number, (picture, labels) in enumerate(pictures):
        canvas.paste(_pillow(np.broadcast_to(picture, (*picture.shape[:2], 3))), (left, top))
        for row, label in enumerate(labels):
            middle = top + (row + 0.5) * len(picture) / len(labels)
            draw.multiline_text((left - 12, middle), label, _INK, font, "rm", spacing=6, align="right")
        for column, name in enumerate(names[number] if names else ()):
            wide, text = width / len(names[number]), name
            while len(text) > 1 and small.getlength(text) > wide - 4:
                text = "…" + text.lstrip("…")[1:]
            draw.text((left + (column + 0.5) * wide, top + len(picture) + 3), text, _FAINT, small, "mt")
        top += len(picture) + gap
    save_image(path, np.asarray(canvas))


def save_rows(
    path: str | Path,
    rows: Mapping[str, np.ndarray],
    num_columns: int = 10,
    first: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Write images {label: uint8 [N, H, W, channels]} in blocks of columns, the first block with labels of its own.

    `names` `[N]` stand under the columns.
    """
    labels, images = list(rows), np.stack(list(rows.values()))
    blocks = [images[:, start : start + num_columns] for start in range(0, images.shape[1], num_columns)]
    missing = num_columns - blocks[-1].shape[1] if len(blocks) > 1 else 0
    blocks[-1] = np.pad(blocks[-1], [(0, 0), (0, missing), (0, 0), (0, 0), (0, 0)], constant_values=255)
    pictures = [(image_grid(block), labels if i else first or labels) for i, block in enumerate(blocks)]
    padded = [*(names or ()), *[""] * missing]
    below = [padded[start : start + num_columns] for start in range(0, len(padded), num_columns)] if names else []
    save_labeled(path, pictures, names=below)


def save_reconstructions(
    path: str | Path,
    images: np.ndarray,
    reconstructions: Mapping[str, np.ndarray],
    *,
    errors: Mapping[str, np.ndarray | float] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Write originals above their reconstructions, in blocks of rows with labels at the left.

    Args:
        images: the originals [N, H, W, channels].
        reconstructions: label to images of the same shape, such as {"GON": ..., "PCA": ...}.
        errors: label to the error of each image [N], or of the test set; the mean stands under the label, once.
        names: of the images [N], such as those of their files.

    >>> x = np.zeros((20, 8, 8, 1))
    >>> save_reconstructions("reconstructions.png", x, {"GON": x}, errors={"GON": 0.42})
    """
    rows, errors = {"original": images, **reconstructions}, errors or {}
    for name, x in rows.items():
        if np.shape(x) != np.shape(images):
            got = f"{np.shape(x)} from {name!r}: probably another selection, size or number of channels"
            raise ValueError(f"expected reconstructions of the images' shape {np.shape(images)}, got {got}")
    first = [f"{name}\nerror {np.mean(errors[name]):.3g}" if name in errors else name for name in rows]
    save_rows(path, {name: to_pixels(x) for name, x in rows.items()}, first=first, names=names)


def save_inpainting(path: str | Path, images: np.ndarray, known: np.ndarray, completed: np.ndarray) -> None:
    """Write originals, what was known of them (the rest in magenta, which no gray is), and their completion.

    Args:
        images, completed: originals and completions, each [N, H, W, channels].
        known: booleans [N, H, W].

    >>> x = np.ones((5, 8, 8, 1))
    >>> save_inpainting("inpainting.png", x, np.arange(8) < np.full([5, 8, 1], 4), x)
    """
    images, known, completed = to_pixels(images), np.asarray(known), to_pixels(completed)
    if images.ndim != 4 or completed.shape != images.shape or known.shape != images.shape[:3]:
        got = f"{images.shape}, {completed.shape} and {known.shape}: probably another selection or size"
        raise ValueError(f"expected images and completed [N, H, W, channels] and known [N, H, W], got shapes {got}")
    images, completed = (np.broadcast_to(x, (*known.shape, 3)) for x in (images, completed))
    seen = np.where(known[..., None], images, np.array(_HIDDEN, np.uint8))
    save_rows(path, {"original": images, "known": seen, "completed": completed})


def save_superresolution(path: str | Path, images: np.ndarray, x_hat: np.ndarray) -> None:
    """Write a row per image [N, h, w, channels]: pixels, bicubic enlargement, x_hat [N, H, W, channels] as decoded.

    >>> save_superresolution("large.png", np.zeros((2, 8, 8, 1)), np.zeros((2, 256, 256, 1)))
    """
    from PIL import Image

    images, x_hat = to_pixels(images), to_pixels(x_hat)
    if images.ndim != 4 or x_hat.ndim != 4 or (len(x_hat), x_hat.shape[3]) != (len(images), images.shape[3]):
        got = f"{images.shape} and {x_hat.shape}: probably another selection"
        raise ValueError(f"expected images [N, h, w, channels] and as many [N, H, W, channels], got shapes {got}")
    (low_height, low_width), (height, width) = images.shape[1:3], x_hat.shape[1:3]
    columns = [
        np.stack([np.asarray(_pillow(image).resize((width, height), how)) for image in images]).reshape(x_hat.shape)
        for how in (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)
    ]
    labels = [f"{low_height}x{low_width} pixels", "bicubic", f"implicit GON, {height}x{width}"]
    save_labeled(path, [(image_grid(np.stack([*columns, x_hat], 1), padding=8, tile=256), [])], columns=labels)


def save_interpolation(path: str | Path, grid: np.ndarray, ends: np.ndarray | None = None) -> None:
    """Write interpolations [R, P, H, W, channels], one in each row, between the images at their ends.

    Args:
        grid: decoded latents, of which the first and the last are reconstructions.
        ends: the two images of each row themselves [R, 2, H, W, channels], uint8 or floats; drawn beside the row.

    >>> save_interpolation("interpolation.png", np.zeros((4, 10, 8, 8, 3)))
    """
    if np.ndim(grid) != 5:
        cause = "a single row probably lacks its leading axis"
        raise ValueError(f"expected interpolations [R, P, H, W, channels], got shape {np.shape(grid)}: {cause}")
    grid, header = to_pixels(grid), ("decoded A", "between their latents", "decoded B")
    if ends is not None:
        if np.shape(ends)[:2] != (len(grid), 2) or np.ndim(ends) != 5:
            raise ValueError(f"expected ends [R, 2, H, W, channels], got shape {np.shape(ends)}: give two images a row")
        ends, header = to_pixels(ends), ("image A", "decoded, between their latents", "image B")
        grid = np.concatenate([ends[:, :1], grid, ends[:, 1:]], axis=1)
    save_labeled(path, [(image_grid(grid), [])], header=header if grid.shape[1] >= 6 else ())


def save_traversal(path: str | Path, grid: np.ndarray, span: float) -> None:
    """Write what a model decodes along directions of its latents [R, P, H, W, channels], a direction in each row.

    Args:
        grid: from `-span` to `span` standard deviations, the mean in the middle.
        span: for the header.

    >>> save_traversal("traversal.png", np.zeros((4, 9, 8, 8, 3)), 3.0)
    """
    header = (f"-{span:g} standard deviations", "mean", f"+{span:g} standard deviations")
    labels = [f"direction {i + 1}" for i in range(len(grid))]
    save_labeled(path, [(image_grid(grid), labels)], header=header if np.shape(grid)[1] >= 7 else ())


def save_extremes(
    path: str | Path, images: np.ndarray, x_hat: np.ndarray, errors: np.ndarray, names: Sequence[str] | None = None
) -> None:
    """Write the images that are reconstructed worst and best, each above its reconstruction and its error.

    Args:
        images: originals [N, H, W, channels].
        x_hat: reconstructions of the same shape.
        errors: of each image [N].
        names: of the images [N], such as those of their files.

    >>> save_extremes("errors.png", np.zeros((30, 8, 8, 1)), np.zeros((30, 8, 8, 1)), np.arange(30.0))
    """
    num = min(10, (len(images) + 1) // 2)
    order = np.argsort(errors, kind="stable")
    blocks: list[tuple[np.ndarray, list[str]]] = []
    below: list[list[str]] = []
    for words, chosen in (("worst", order[::-1][:num]), ("best", order[:num])):
        rows = np.stack([to_pixels(images[chosen]), to_pixels(x_hat[chosen])])
        mean = float(np.mean(np.asarray(errors)[chosen]))
        blocks.append((image_grid(rows), [f"{words} {num}", f"reconstructed\nerror {mean:.3g}"]))
        below += [[names[int(i)] for i in chosen]] if names is not None else []
    save_labeled(path, blocks, names=below)


def save_samples(path: str | Path, samples: np.ndarray) -> None:
    """Write samples [N, H, W, channels] as a grid, about square.

    >>> save_samples("samples.png", np.zeros((64, 8, 8, 1)))
    """
    save_labeled(path, [(image_grid(samples), [])])
