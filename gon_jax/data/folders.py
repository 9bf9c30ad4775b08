"""Images in a user's own files: pictures, folders of pictures, and numpy arrays, those of other signals too."""

import os
import zipfile
from pathlib import Path

import numpy as np

from gon_jax.data.arrays import check_images, shown, to_uint8

ARRAY_SUFFIXES = (".npy", ".npz")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
GRAY_MODES, COLOR_MODES = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV", "LAB")


def read_images(paths, image_shape=None) -> np.ndarray:
    """Read pictures, folders of pictures (recursively, sorted) and `.npy` or `.npz` arrays into one array.

    Pictures are turned as their EXIF says; of a moving one the first frame is read; transparency is dropped.

    Args:
        paths: a path or a list of paths.
        image_shape: `(H, W, C)` to convert each image to: cut to that aspect ratio about the center, resized by
            Pillow's bilinear filter, and turned to gray (C = 1) or RGB (C = 3) as Pillow does. If None, all must have
            one size; they are gray if all are, else RGB. Of another rank it is the `(*spatial, C)` that sounds, solids
            or films in arrays must have.

    Returns:
        uint8 `[N, H, W, C]`, in the order of `paths`; sound may be float32.

    Raises:
        FileNotFoundError: a path does not exist, or a folder has no image.
        ValueError: a file cannot be read as images, or sizes differ.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/images.npy", np.zeros([5, 28, 28], np.uint8))
        ...     read_images(f"{folder}/images.npy", image_shape=(32, 32, 3)).shape
        (5, 32, 32, 3)
    """
    from PIL import Image

    if image_shape is not None and len(image_shape) == 3 and image_shape[2] not in (1, 3):
        raise ValueError(f"expected an image shape (H, W, C) with 1 or 3 channels, got {shown(image_shape)}")
    paths = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not paths:
        raise ValueError("expected at least one path of images, got none")
    if image_shape is not None and len(image_shape) != 3:
        arrays = [array for path in paths for array, _ in read_arrays(Path(path))]
        return np.concatenate([check_images(array, image_shape) for array in arrays])
    size, channels = (None, None) if image_shape is None else (image_shape[:2], image_shape[2])
    images, names = [], []
    for path in map(Path, paths):
        if path.suffix.lower() in ARRAY_SUFFIXES and not path.is_dir():
            for array in (images_ for images_, _ in read_arrays(path)):
                if array.ndim != 4 or array.shape[3] not in (1, 3):
                    raise ValueError(
                        f"expected 1 or 3 channels, got {shown(array.shape)} in {path}: these are not "
                        "gray or RGB images [N, H, W, C]"
                    )
                pictures = (Image.fromarray(image[..., 0] if image.shape[2] == 1 else image) for image in array)
                images += [_convert(picture, size, channels) for picture in pictures]
                names += [f"{path}, number {i}" for i in range(len(array))]
        else:
            found = _find(path) if path.is_dir() else [path]
            images += _read_pictures(found, size, channels)
            names += found
    return _stack(images, names, "pass image_shape=(H, W, C) to convert them")


def read_folder(path: Path, image_size: int | None = None) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return the `(images, labels)` of a folder, or of its folders `train` and `test` if it has both.

    Labels are the positions of the names of the immediate subfolders in sorted order, or None if an image lies in none.
    """
    roots = [path / "train", path / "test"]
    roots = roots if all(root.is_dir() for root in roots) else [path]
    found = [(root, picture) for root in roots for picture in _find(root)]
    size = None if image_size is None else (image_size, image_size)
    images = _stack(
        _read_pictures([picture for _, picture in found], size),
        [picture for _, picture in found],
        "pass image_size to resize them",
    )
    folders = [picture.relative_to(root).parts[:-1][:1] for root, picture in found]
    names = sorted(set(folders))
    labels = np.array([names.index(folder) for folder in folders], np.int32) if all(folders) else None
    of_root = [np.array([root == part for part, _ in found]) for root in roots]
    return [(images[is_in], None if labels is None else labels[is_in]) for is_in in of_root]


def read_arrays(path: Path) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return the `(images, labels)` of a `.npy` or `.npz` file, or those of train and test if it names them apart."""
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise ValueError(
            f"expected a .npy or .npz file or a folder of images, got {path}: to use one picture, "
            "give the folder it is in"
        )
    try:
        with open(path, "rb") as file:
            loaded = np.load(file)
            arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"images": loaded}
    except FileNotFoundError:
        raise FileNotFoundError(f"expected a file of images, got {path}, which does not exist: check it") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"expected arrays of numbers written by numpy.save or numpy.savez, got {path}, which cannot "
            f"be read ({_brief(error)}): write it again"
        ) from error
    if {"x_train", "x_test"} <= set(arrays):
        pairs = [("x_train", "y_train"), ("x_test", "y_test")]
    else:
        only = list(arrays) if len(arrays) == 1 else []
        images = [key for key in ("images", "x", *only) if key in arrays]
        if not images:
            raise ValueError(
                f"expected images under the key images or x, or x_train and x_test, got the keys "
                f"{', '.join(arrays) or '(none)'} in {path}: rename them"
            )
        pairs = [(images[0], next((key for key in ("labels", "y") if key in arrays), None))]
    try:
        return [(images := to_uint8(arrays[x]), _labels(arrays.get(y), len(images))) for x, y in pairs]
    except ValueError as error:
        raise ValueError(f"{error} (in {path})") from None


def _labels(labels, num_images):
    if labels is None:
        return None
    if labels.shape not in ((num_images,), (num_images, 1)) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"expected one integer label an image, [{num_images}], got {labels.dtype} "
            f"{shown(labels.shape)}: give class numbers, not one-hot rows"
        )
    return labels.reshape(-1).astype(np.int32)


def _find(folder: Path) -> list[Path]:
    """Return the pictures in a folder, hidden ones left out, sorted by path."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise FileNotFoundError(f"expected images ({' '.join(IMAGE_SUFFIXES)}) in {folder}, found none: check the path")
    return sorted(found)


def _read_pictures(paths, size=None, channels=None) -> list[np.ndarray]:
    from tqdm.auto import tqdm

    return [_read_picture(path, size, channels) for path in tqdm(paths, "read images", leave=False, delay=2)]


def _read_picture(path, size, channels) -> np.ndarray:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            image.load()
    except FileNotFoundError:
        raise FileNotFoundError(f"expected an image, got {path}, which does not exist: check the path") from None
    except Exception as error:  # Pillow's plugins raise many kinds for a damaged file
        raise ValueError(
            f"expected an image, got {path}, which cannot be read ({_brief(error)}): remove or replace it"
        ) from error
    if image.mode not in GRAY_MODES + COLOR_MODES:
        raise ValueError(f"expected an image of 8 bits a channel, got {path} of Pillow's mode {image.mode}: convert it")
    return _convert(image, size, channels)


def _convert(image, size, channels) -> np.ndarray:
    """Return a Pillow image as uint8 `[h, w, c]`, cut about the center to the aspect ratio of `size` and resized."""
    from PIL import Image

    gray = channels == 1 if channels else image.mode in GRAY_MODES
    image = image.convert("L" if gray else "RGB")
    if size is not None:
        (width, height), (new_height, new_width) = image.size, size
        cut_width = max(1, min(width, round(height * new_width / new_height)))
        cut_height = max(1, min(height, round(width * new_height / new_width)))
        left, top = (width - cut_width) // 2, (height - cut_height) // 2
        image = image.crop((left, top, left + cut_width, top + cut_height))
        image = image.resize((new_width, new_height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[..., None] if gray else pixels


def _stack(images, names, remedy) -> np.ndarray:
    """Return one array `[N, H, W, C]`; gray images among colored ones get three equal channels."""
    for image, name in zip(images, names, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            first, other = ("{}x{}".format(*each.shape[:2]) for each in (images[0], image))
            raise ValueError(f"expected images of one size, got {first} ({names[0]}) and {other} ({name}): {remedy}")
    channels = max(image.shape[2] for image in images)
    return np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in images])


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]
