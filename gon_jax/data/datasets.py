"""Datasets by name or path, as arrays with the splits the release uses."""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gon_jax.data import catalog as tfds_images
from gon_jax.data import folders as files
from gon_jax.data import generated
from gon_jax.data.arrays import check_size, kind_of, resize

GENERATED = {"tones": "audio", "solids": "voxels", "moving_digits": "video"}
DATASETS = ("digits", *tfds_images.NUM_EXAMPLES, *GENERATED)


class Split(NamedTuple):
    """Images uint8 `[N, H, W, C]`, or other signals `[N, *spatial, C]`; labels int32 `[N]` where there are any.

    Sound is float32 `[N, L, C]` in [0, 1], silence at 0.5; solids are uint8 `[N, D, H, W, 1]`, films `[N, T, H, W, C]`.
    """

    images: np.ndarray
    labels: np.ndarray | None = None


class Dataset(NamedTuple):
    """A name and its splits; `validation` is None unless examples were asked to be held out.

    `kind` is "images", "audio", "voxels" or "video", and `sample_rate` that of audio in Hz.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    kind: str = "images"
    sample_rate: int | None = None


def load(name, *, image_size: int | None = None, num_validation: int | None = 0, download: bool = True) -> Dataset:
    """Load a dataset whole, in memory: images, films and solids as uint8, sound as float32.

    - "digits": 1,797 digits of scikit-learn, 8x8, round(255 v / 16); every fifth of a class (number 4, 9, ... in file
      order) is test.
    - "mnist", "fashion_mnist", "cifar10": as prepared by tensorflow-datasets in a folder of `search_path()`, in the
      order of its records (shuffled once, the same on every machine); downloaded and prepared there if missing.
    - "coil20": likewise, 128x128; of each object's 72 angles every sixth (number 5, 11, ..., 71) is test.
    - "smallnorb" (the first of its two cameras), "celeb_a" and "lsun/bedroom" (no labels): likewise, but prepared by
      tensorflow-datasets itself. The last two are not square and need `image_size`, to which the center square of each
      image is resized. Of LSUN the first 60,000 bedrooms are train and its validation images are test.
    - "tones", "solids", "moving_digits": 1,000 and 200 sounds `[2048, 1]`, voxels `[16, 16, 16, 1]` and films
      `[6, 16, 16, 1]`, made when asked for, always the same.
    - a path to a `.npy` or `.npz` file `[N, H, W]` or `[N, H, W, C]`: uint8, or floats in [0, 1] which become
      round(255 x). Keys of an `.npz`: `images` or `x`, `labels` or `y`; or `x_train`, `x_test`, `y_train`, `y_test`.
      `[N, T, H, W, C]` is film, or voxels where those are cubes of one channel; `[N, L, 1 or 2]` is sound of 8,000 Hz,
      whose floats stay floats.
    - a path to a folder of images, searched recursively in sorted order; the names of the immediate subfolders are
      the labels if every image lies in one. With `image_size`, the center square of each is taken. Folders `train`
      and `test` are kept apart. Gray if all are, else RGB.

    Where a file or folder has no test set, every tenth image (number 9, 19, ...) is test.

    Args:
        name: one of `DATASETS`, or a path.
        image_size: height and width to resize to as `resize` does; None keeps the size they have. Images only.
        num_validation: how many examples at the end of the training set become `validation`; None is 5,000, or a tenth
            where that is less.
        download: whether a missing dataset may be downloaded.

    Raises:
        ValueError: no such dataset, images that are not as above, `image_size` for what is not images or none for what
            needs it, or `num_validation` leaves nothing to train on.
        FileNotFoundError: no such path, no image in it, or a dataset neither prepared nor to be downloaded.
        ImportError: tensorflow-datasets is needed and not installed.

    Example:
        >>> digits = load("digits", image_size=32, num_validation=100)
        >>> digits.train.images.shape, digits.validation.labels.shape, digits.test.images.shape
        ((1342, 32, 32, 1), (100,), (355, 32, 32, 1))
    """
    if image_size is not None:
        image_size = check_size(image_size)
        _check_images_alone(name, GENERATED.get(name, "images"))
    path = Path(name).expanduser()
    if name in GENERATED:
        make = getattr(generated, name)
        train, test = map(Split._make, make(*_digits()) if name == "moving_digits" else make())
    elif name in DATASETS:
        train, test = (
            _digits() if name == "digits" else map(Split._make, tfds_images.read(name, image_size, download=download))
        )
    elif path.is_dir():
        train, test = _splits(files.read_folder(path, image_size))
    elif path.is_file() or path.suffix in files.ARRAY_SUFFIXES:
        train, test = _splits(files.read_arrays(path))
    elif isinstance(name, os.PathLike) or os.sep in name:
        raise FileNotFoundError(f"expected a file or folder of images, got {name}, which does not exist: check it")
    else:
        raise _unknown(name)
    kind = kind_of(train.images.shape)
    if image_size is not None:
        _check_images_alone(name, kind)
        train, test = (split._replace(images=resize(split.images, image_size)) for split in (train, test))
    if num_validation is None:
        num_validation = min(5000, len(train.images) // 10)
    if not 0 <= num_validation < len(train.images):
        raise ValueError(
            f"expected num_validation from 0 to {len(train.images) - 1}, got {num_validation}: {name} has "
            f"{len(train.images)} training examples, and some must remain"
        )
    num_train = len(train.images) - num_validation
    validation = _take(train, slice(num_train, None)) if num_validation else None
    sample_rate = generated.SAMPLE_RATE if kind == "audio" else None
    return Dataset(str(name), _take(train, slice(num_train)), validation, test, kind, sample_rate)


def missing(name: str) -> str | None:
    """Return in one line why a dataset cannot be loaded without a download, and how to get it; None if it can.

    Looks for what is prepared and reads nothing.

    Args:
        name: one of `DATASETS`.

    Raises:
        ValueError: no such dataset.

    Example:
        >>> missing("digits") is None
        True
    """
    if name not in DATASETS:
        raise _unknown(name)
    return tfds_images.missing(name) if name in tfds_images.NUM_EXAMPLES else None


def _unknown(name) -> ValueError:
    close = difflib.get_close_matches(str(name), DATASETS, 1)
    return ValueError(
        f"expected a dataset ({', '.join(DATASETS)}) or the path of a .npy or .npz file or a folder "
        f"of images, got {str(name)!r}" + (f": did you mean {close[0]!r}?" if close else "")
    )


def _check_images_alone(name, kind):
    if kind != "images":
        raise ValueError(f"expected image_size=None, since {name} is {kind}: only images can be resized")


def _take(split: Split, index) -> Split:
    return Split(split.images[index], None if split.labels is None else split.labels[index])


def _splits(parts) -> tuple[Split, Split]:
    """Return train and test from the one or two `(images, labels)` that a file or folder holds."""
    if len(parts) == 2:
        return tuple(Split(*part) for part in parts)
    split = Split(*parts[0])
    if (num := len(split.images)) < 10:
        raise ValueError(
            f"expected at least 10 images, of which every tenth is held out for testing, got {num}: "
            "add images, or give train and test apart"
        )
    is_test = np.arange(num) % 10 == 9
    return _take(split, ~is_test), _take(split, is_test)


def _digits() -> tuple[Split, Split]:
    from sklearn.datasets import load_digits

    source = load_digits()
    digits = Split(np.rint(source.images * 255 / 16).astype(np.uint8)[..., None], source.target.astype(np.int32))
    is_test = np.zeros(len(digits.labels), bool)
    for label in range(10):
        is_test[np.flatnonzero(digits.labels == label)[4::5]] = True
    return _take(digits, ~is_test), _take(digits, is_test)
