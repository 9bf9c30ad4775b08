"""A user's own files: pictures, folders of pictures, and NumPy arrays of images and other signals."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax._files import one_line
from gon_jax.data.arrays import check_data, convert_part

__all__ = ["ARRAY_SUFFIXES", "convert_picture", "read_arrays", "read_folder", "read_images"]

ARRAY_SUFFIXES = (".npy", ".npz")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
GRAY_MODES, COLOR_MODES = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")


def read_images(
    paths: str | os.PathLike | Sequence[str | os.PathLike], data_shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """Read pictures, folders of pictures (recursively, sorted) and `.npy` or `.npz` arrays into one array.

    Pictures are turned as their EXIF says; of a moving one the first frame is read; transparency is dropped.

    Args:
        paths: a path or a list of paths.
        data_shape: `(H, W, C)` to convert each image to: cut to that aspect ratio about the center, resized by
            Pillow's bilinear filter, and turned to gray (C = 1) or RGB (C = 3). If None, all must have one size; they
            are gray if all are, else RGB. For another rank, arrays must have this shape.

    Returns:
        uint8 `[N, H, W, C]`, in the order of `paths`; or other signals as `load` keeps them.

    Raises:
        FileNotFoundError: a path does not exist, or a folder has no image.
        ValueError: a file cannot be read as images, or sizes differ.
    """
    sources = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not sources:
        raise ValueError("expected at least one path of images, got none")
    if data_shape is not None and len(data_shape) != 3:
        return np.concatenate([check_data(array, data_shape) for path in sources for array, _ in read_arrays(path)])
    if data_shape is not None and data_shape[2] not in (1, 3):
        raise ValueError(f"expected an image shape (H, W, C) with 1 or 3 channels, got {list(data_shape)}")
    size, channels = (None, None) if data_shape is None else (data_shape[:2], data_shape[2])
    found = [(convert_picture(picture, size, channels), at) for path in sources for picture, at in _pictures(path)]
    return _stack(found, "pass data_shape=(H, W, C)")


def read_folder(path: Path, image_size: int | None = None) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return the `(images, labels)` of a folder, or of its folders `train` and `test` if it has both.

    Labels are the positions of the names of the immediate subfolders in sorted order, or None if an image is in none.
    """
    roots = [path / "train", path / "test"]
    roots = roots if all(root.is_dir() for root in roots) else [path]
    size = None if image_size is None else (image_size, image_size)
    found = [(convert_picture(picture, size), file, root) for root in roots for picture, file in _pictures(root)]
    images = _stack(found, "pass image_size")
    folders = [file.relative_to(root).parts[:-1][:1] for _, file, root in found]
    names = sorted(set(folders))
    labels = np.array([names.index(folder) for folder in folders], np.int32) if all(folders) else None
    is_in = [np.array([root == part for _, _, part in found]) for root in roots]
    return [(images[index], None if labels is None else labels[index]) for index in is_in]


def read_arrays(path: Path) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return the `(data, labels)` of a `.npy` or `.npz` file, or those of train and test if it names them apart."""
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise ValueError(f"expected a .npy or .npz file or a folder, got {path}: give the folder a picture is in")
    try:
        with open(path, "rb") as file:
            loaded = np.load(file)
            arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"images": loaded}
    except FileNotFoundError:
        raise FileNotFoundError(f"expected a file of images, got {path}, which does not exist: check it") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"expected numbers written by numpy.save or savez, got {path}, which cannot be read ({one_line(error)})"
        ) from error
    if {"x_train", "x_test"} <= set(arrays):
        pairs = [("x_train", "y_train"), ("x_test", "y_test")]
    elif x := next((key for key in ("images", "x", *(arrays if len(arrays) == 1 else ())) if key in arrays), None):
        pairs = [(x, "labels" if "labels" in arrays else "y")]
    else:
        keys = ", ".join(arrays) or "(none)"
        raise ValueError(f"expected the key images or x, or x_train and x_test, got the keys {keys} in {path}: rename")
    return [convert_part(arrays[x], arrays.get(y), path) for x, y in pairs]


def _pictures(path):
    """Yield what is at a path, a picture, a folder, or an array, as Pillow images and where each is from."""
    from PIL import Image
    from tqdm.auto import tqdm

    if path.is_dir() or path.suffix.lower() not in ARRAY_SUFFIXES:
        for file in tqdm(_find(path) if path.is_dir() else [path], "read images", leave=False, delay=2):
            yield _open(file), file
        return
    for array, _ in read_arrays(path):
        if array.ndim != 4 or array.shape[3] not in (1, 3):
            raise ValueError(f"expected images [N, H, W, 1 or 3], got {list(array.shape)} in {path}: not gray or RGB")
        for i, image in enumerate(array):
            yield Image.fromarray(image[..., 0] if image.shape[2] == 1 else image), f"{path}, number {i}"


def _find(folder):
    found = [path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not found:
        raise FileNotFoundError(f"expected images ({' '.join(IMAGE_SUFFIXES)}) in {folder}, found none: check the path")
    return sorted(found)


def _open(path):
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            picture.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"expected an image, got {path}, which does not exist: check the path") from None
    except Exception as error:  # Pillow's plugins raise many kinds for a damaged file
        raise ValueError(
            f"expected an image, got {path}, which cannot be read ({one_line(error)}): remove or replace it"
        ) from error
    if picture.mode not in GRAY_MODES + COLOR_MODES:
        raise ValueError(f"expected an image of 8 bits per channel, got {path} of mode {picture.mode}: convert it")
    return picture


def convert_picture(picture: Any, size: tuple[int, int] | None = None, channels: int | None = None) -> np.ndarray:
    """Return a Pillow image as uint8 `[H, W, C]`, cut about the center to the aspect ratio of `size` and resized.

    `size` is `(H, W)`, None keeps it; `channels` is 1 or 3, None 1 for Pillow's gray modes, else 3.
    """
    from PIL import Image

    gray = channels == 1 if channels else picture.mode in GRAY_MODES
    picture = picture.convert("L" if gray else "RGB")
    if size is not None:
        (width, height), (new_height, new_width) = picture.size, size
        cut_width = max(1, min(width, round(height * new_width / new_height)))
        cut_height = max(1, min(height, round(width * new_height / new_width)))
        left, top = (width - cut_width) // 2, (height - cut_height) // 2
        picture = picture.crop((left, top, left + cut_width, top + cut_height))
        picture = picture.resize((new_width, new_height), Image.Resampling.BILINEAR)
    pixels = np.asarray(picture)
    return pixels[..., None] if gray else pixels


def _stack(found, remedy):
    """Return one array `[N, H, W, C]` of `(image, place, ...)`; gray images among colored ones get equal channels."""
    sizes = {"{}x{}".format(*image.shape[:2]): place for image, place, *_ in reversed(found)}
    if len(sizes) > 1:
        got = " and ".join(f"{size} ({place})" for size, place in reversed(sizes.items()))
        raise ValueError(f"expected images of one size, got {got}: {remedy}")
    shape = found[0][0].shape[:2] + (max(image.shape[2] for image, *_ in found),)
    return np.stack([np.broadcast_to(image, shape) for image, *_ in found])
