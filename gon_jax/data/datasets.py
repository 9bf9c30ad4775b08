"""Datasets by name or path, whole, as arrays: the registry of names, and `load`."""

import difflib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gon_jax.data.arrays import check_size, convert_part, kind_of, resize
from gon_jax.data.folders import ARRAY_SUFFIXES, read_arrays, read_folder

__all__ = ["DATASETS", "Dataset", "Loader", "Parts", "Split", "load", "register", "unknown"]


class Split(NamedTuple):
    """Images `[N, H, W, C]`, voxels `[N, D, D, D, 1]` or films `[N, T, H, W, C]`, uint8; labels int32 `[N]` or None.

    Sound is float32 `[N, L, C]` in [0, 1] with silence at 0.5.
    """

    images: np.ndarray
    labels: np.ndarray | None = None


class Dataset(NamedTuple):
    """A name and its splits."""

    name: str
    train: Split
    validation: Split | None  # unless examples were asked to be held out
    test: Split
    kind: str = "images"  # or "audio", "voxels", "video"


Parts = Sequence[tuple[np.ndarray, np.ndarray | None]]  # data and labels of train and of test, or of both together
Loader = Callable[[int | None, bool], Parts]  # of image_size and download
DATASETS: dict[str, Loader] = {}  # filled by `register`


def register(name: str) -> Callable[[Loader], Loader]:
    """Return a decorator that registers a loader, `loader(image_size, download) -> parts`, under a name.

    `load` and the command then know the dataset by that name. The loader may ignore both arguments, which are those of
    `load`: what it returns is resized. It returns `[(data, labels), (data, labels)]` of train and of test, or one pair,
    of which every tenth example becomes test. Data are as in `check_data`, or bool, or images without the channel
    axis; labels are integers `[N]`, or None.

    Args:
        name: a new one.

    Raises:
        ValueError: the name is taken.

    Example:
        >>> @register("stripes")
        ... def stripes(image_size, download):
        ...     labels, stripes = np.arange(20) % 2, np.arange(8) % 4 < 2
        ...     return [(np.where(labels[:, None, None] == 0, stripes, stripes[:, None]), labels)]
        >>> load("stripes", image_size=16).train.images.shape
        (18, 16, 16, 1)
        >>> del DATASETS["stripes"]
    """
    if name in DATASETS:
        raise ValueError(f"expected a new name, got {name!r}, which is taken: choose another")

    def add(loader: Loader) -> Loader:
        DATASETS[name] = loader
        return loader

    return add


def load(
    name: str | os.PathLike, *, image_size: int | None = None, num_validation: int | None = 0, download: bool = True
) -> Dataset:
    """Load a dataset whole, in memory; where test is not apart, it is every tenth example (number 9, 19, ...).

    Args:
        name: one of `DATASETS`; or the path of a `.npy` or `.npz` file of images `[N, H, W]` or `[N, H, W, C]`, or of
            signals as in `Split`, uint8 or floats in [0, 1], under the keys `images` or `x`,
            `labels` or `y`, or `x_train`, `x_test`, `y_train`, `y_test`; or the path of a folder of pictures, searched
            recursively in sorted order, gray if all are, else RGB, labeled by the immediate subfolders if every
            picture is in one, train and test apart if it has folders `train` and `test`.
        image_size: height and width to resize images to, as `resize` does; of those in folders, and of "celeb_a" and
            "lsun/bedroom", which need it, the center squares. None keeps the size.
        num_validation: how many examples at the end of the training set become `validation`; None is 5,000, or a tenth
            where that is less.
        download: whether a missing dataset may be downloaded.

    Raises:
        ValueError: no such dataset, other data than above, `image_size` for signals or none for what needs it, or
            `num_validation` leaves nothing to train on.
        FileNotFoundError: no such path, no image in it, or a dataset neither prepared nor to be downloaded.
        ImportError: tensorflow-datasets is needed and not installed.

    Example:
        >>> digits = load("digits", image_size=32, num_validation=100)
        >>> digits.train.images.shape, digits.validation.labels.shape, digits.test.images.shape
        ((1342, 32, 32, 1), (100,), (355, 32, 32, 1))
    """
    image_size = None if image_size is None else check_size(image_size)
    path = Path(name).expanduser()
    if name in DATASETS:
        parts = _call(str(name), image_size, download)
    elif path.is_dir():
        parts = read_folder(path, image_size)
    elif path.is_file() or path.suffix in ARRAY_SUFFIXES:
        parts = read_arrays(path)
    elif isinstance(name, os.PathLike) or os.sep in name:
        raise FileNotFoundError(f"expected a file or folder of images, got {name}, which does not exist: check it")
    else:
        raise unknown(name)
    train, test = (Split(*part) for part in parts) if len(parts) == 2 else _hold_out(Split(*parts[0]))
    kind = kind_of(train.images.shape) or "images"
    if image_size is not None:
        if kind != "images":
            raise ValueError(f"expected image_size=None, since {name} is {kind}: only images can be resized")
        train, test = (split._replace(images=resize(split.images, image_size)) for split in (train, test))
    num_examples = len(train.images)
    num_validation = min(5000, num_examples // 10) if num_validation is None else num_validation
    if not 0 <= num_validation < num_examples:
        why = f"{name} has {num_examples} training examples, and some must remain"
        raise ValueError(f"expected num_validation from 0 to {num_examples - 1}, got {num_validation}: {why}")
    num_train = num_examples - num_validation
    validation = _take(train, slice(num_train, None)) if num_validation else None
    return Dataset(str(name), _take(train, slice(num_train)), validation, test, kind)


def unknown(name: str) -> ValueError:
    """Return the error for a name that is not in `DATASETS`."""
    hint = "".join(f": did you mean {close!r}?" for close in difflib.get_close_matches(str(name), DATASETS, 1))
    known = f"a dataset ({', '.join(DATASETS)}) or the path of a .npy or .npz file or a folder of images"
    own = "" if hint else "; import the file that registers it first (gon --import FILE), if it is one of your own"
    return ValueError(f"expected {known}, got {str(name)!r}{hint}{own}")


def _call(name, image_size, download):
    parts = DATASETS[name](image_size, download)
    if not (len(parts) in (1, 2) and all(isinstance(part, tuple) and len(part) == 2 for part in parts)):
        got = ", ".join(type(part).__name__ for part in parts)
        raise ValueError(
            f"expected one or two tuples (data, labels) from the loader of {name}, got {got}: return those"
        )
    return [convert_part(*part, name) for part in parts]


def _take(split, index):
    return Split(split.images[index], None if split.labels is None else split.labels[index])


def _hold_out(split):
    """Return train and test of data that do not have them apart."""
    if (num := len(split.images)) < 10:
        raise ValueError(f"expected at least 10 images, of which every tenth is test, got {num}: add or split them")
    is_test = np.arange(num) % 10 == 9
    return _take(split, ~is_test), _take(split, is_test)


@register("digits")
def _digits(*_):
    """Return scikit-learn's digits, 8x8, as round(255 v / 16); of each class number 4, 9, ... is test."""
    from sklearn.datasets import load_digits

    source = load_digits()
    digits = Split(np.rint(source.images * 255 / 16).astype(np.uint8)[..., None], source.target)
    is_test = np.zeros(len(source.target), bool)
    for label in range(10):
        is_test[np.flatnonzero(source.target == label)[4::5]] = True
    return _take(digits, ~is_test), _take(digits, is_test)
