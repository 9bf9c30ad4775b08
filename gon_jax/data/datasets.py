"""Datasets by name or path, as arrays, with the splits of the authors' implementation."""

import difflib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gon_jax.data import catalog, folders, generated
from gon_jax.data.arrays import check_size, kind_of, resize

__all__ = ["DATASETS", "Dataset", "Split", "load", "missing"]

GENERATED = ("tones", "solids", "moving_digits")
DATASETS = ("digits", *catalog.NUM_EXAMPLES, *GENERATED)


class Split(NamedTuple):
    """Images `[N, H, W, C]`, or other signals `[N, *spatial, C]`; labels int32 `[N]` where there are any.

    All are uint8 but sound, which is float32 `[N, L, C]` in [0, 1] with silence at 0.5. Voxels are `[N, D, D, D, 1]`,
    films `[N, T, H, W, C]`.
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


def load(
    name: str | os.PathLike, *, image_size: int | None = None, num_validation: int | None = 0, download: bool = True
) -> Dataset:
    """Load a dataset whole, in memory.

    - "digits": 1,797 digits of scikit-learn, 8x8, round(255 v / 16); every fifth of a class (number 4, 9, ... in file
      order) is test.
    - "mnist", "fashion_mnist", "cifar10": as prepared by tensorflow-datasets in a folder of `search_path()`, in the
      order of its records (shuffled once, the same on every machine); downloaded and prepared there if missing.
    - "coil20": likewise, 128x128; of each object's 72 angles every sixth (number 5, 11, ..., 71) is test.
    - "smallnorb" (the first of its two cameras), "celeb_a" and "lsun/bedroom" (no labels): likewise, but prepared by
      tensorflow-datasets itself. The last two are not square and need `image_size`. The first 60,000 bedrooms of
      LSUN are train, its validation images are test.
    - "tones", "solids", "moving_digits": 1,000 and 200 sounds `[2048, 1]`, voxels `[16, 16, 16, 1]` and films
      `[6, 16, 16, 1]`, made when asked for, always the same.
    - a path to a `.npy` or `.npz` file of images `[N, H, W]` or `[N, H, W, C]`, or of signals shaped as in `Split`
      (sound of 8,000 Hz): uint8, or floats in [0, 1]. Keys of an `.npz`: `images` or `x`, `labels` or `y`; or
      `x_train`, `x_test`, `y_train`, `y_test`.
    - a path to a folder of pictures, searched recursively in sorted order, gray if all are, else RGB; the names of the
      immediate subfolders are the labels if every picture is in one. Folders `train` and `test` are kept apart.

    Where a file or folder has no test set, every tenth example (number 9, 19, ...) is test.

    Args:
        name: one of `DATASETS`, or a path.
        image_size: height and width to resize images to, as `resize` does, or their center squares where they are not
            square and read one by one; None keeps the size they have.
        num_validation: how many examples at the end of the training set become `validation`; None is 5,000, or a tenth
            where that is less.
        download: whether a missing dataset may be downloaded.

    Raises:
        ValueError: no such dataset, data that are not as above, `image_size` for what is not images or none for what
            needs it, or `num_validation` leaves nothing to train on.
        FileNotFoundError: no such path, no image in it, or a dataset neither prepared nor to be downloaded.
        ImportError: tensorflow-datasets is needed and not installed.

    Example:
        >>> digits = load("digits", image_size=32, num_validation=100)
        >>> digits.train.images.shape, digits.validation.labels.shape, digits.test.images.shape
        ((1342, 32, 32, 1), (100,), (355, 32, 32, 1))
    """
    image_size = None if image_size is None else check_size(image_size)
    path = Path(name).expanduser()
    if name == "digits":
        parts = _digits()
    elif name == "moving_digits":
        parts = generated.moving_digits(*_digits())
    elif name in GENERATED:
        parts = getattr(generated, name)()
    elif name in DATASETS:
        parts = catalog.read(name, image_size, download=download)
    elif path.is_dir():
        parts = folders.read_folder(path, image_size)
    elif path.is_file() or path.suffix in folders.ARRAY_SUFFIXES:
        parts = folders.read_arrays(path)
    elif isinstance(name, os.PathLike) or os.sep in name:
        raise FileNotFoundError(f"expected a file or folder of images, got {name}, which does not exist: check it")
    else:
        raise _unknown(name)
    train, test = (Split(*part) for part in parts) if len(parts) == 2 else _hold_out(Split(*parts[0]))
    kind = kind_of(train.images.shape)
    if image_size is not None:
        if kind != "images":
            raise ValueError(f"expected image_size=None, since {name} is {kind}: only images can be resized")
        train, test = (split._replace(images=resize(split.images, image_size)) for split in (train, test))
    num_examples = len(train.images)
    num_validation = min(5000, num_examples // 10) if num_validation is None else num_validation
    if not 0 <= num_validation < num_examples:
        raise ValueError(
            f"expected num_validation from 0 to {num_examples - 1}, got {num_validation}: {name} has {num_examples} "
            "training examples, and some must remain"
        )
    num_train = num_examples - num_validation
    validation = _take(train, slice(num_train, None)) if num_validation else None
    sample_rate = generated.SAMPLE_RATE if kind == "audio" else None
    return Dataset(str(name), _take(train, slice(num_train)), validation, test, kind, sample_rate)


def missing(name: str) -> str | None:
    """Return in one line why one of `DATASETS` cannot be loaded without a download, or None if it can; read nothing.

    Raises:
        ValueError: no such dataset.

    Example:
        >>> missing("digits") is None
        True
    """
    if name not in DATASETS:
        raise _unknown(name)
    try:
        if name in catalog.NUM_EXAMPLES:
            catalog.locate(name, download=False)
    except (FileNotFoundError, ImportError) as error:
        return str(error)
    return None


def _unknown(name):
    close = difflib.get_close_matches(str(name), DATASETS, 1)
    return ValueError(
        f"expected a dataset ({', '.join(DATASETS)}) or the path of a .npy or .npz file or a folder "
        f"of images, got {str(name)!r}" + (f": did you mean {close[0]!r}?" if close else "")
    )


def _take(split, index):
    return Split(split.images[index], None if split.labels is None else split.labels[index])


def _hold_out(split):
    """Return train and test of a file or folder that does not have them apart."""
    if (num := len(split.images)) < 10:
        raise ValueError(
            f"expected at least 10 images, of which every tenth is held out for testing, got {num}: "
            "add images, or give train and test apart"
        )
    is_test = np.arange(num) % 10 == 9
    return _take(split, ~is_test), _take(split, is_test)


def _digits():
    from sklearn.datasets import load_digits

    source = load_digits()
    digits = Split(np.rint(source.images * 255 / 16).astype(np.uint8)[..., None], source.target.astype(np.int32))
    is_test = np.zeros(len(digits.labels), bool)
    for label in range(10):
        is_test[np.flatnonzero(digits.labels == label)[4::5]] = True
    return _take(digits, ~is_test), _take(digits, is_test)
