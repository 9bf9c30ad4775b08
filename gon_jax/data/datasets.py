"""Datasets by name or path: the registry of names, and `load`."""

import difflib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax.data.array_files import ARRAY_SUFFIXES, convert_parts, read_arrays
from gon_jax.data.arrays import READING, Reading, check_reading, check_size
from gon_jax.data.conversion import resized
from gon_jax.data.folders import read_folder
from gon_jax.data.splits import Dataset, Split, draw_held_out, part_of, read_keys, take

__all__ = ["DATASETS", "MIXED", "Dataset", "Loader", "Split", "from_arrays", "is_path", "load", "register", "unknown"]

Given = Sequence[tuple[Any, Any]] | Mapping[str, tuple[Any, Any]]  # data and labels of parts
Loader = Callable[..., Given]  # of image_size and download; of the rest of the name first, for a prefix
DATASETS: dict[str, Loader] = {}  # filled by `register`
MIXED: set[str] = set()  # those whose examples are in a random order already


def register(name: str, *, mixed: bool = False) -> Callable[[Loader], Loader]:
    """Return a decorator that registers a loader, `loader(image_size, download) -> parts`, under a name.

    `load` and the command then know the dataset by that name. The loader may ignore both arguments, which are those of
    `load`: what it returns is resized. It returns `[(data, labels), (data, labels)]` of train and of test, or one pair,
    of which a tenth becomes test, or a dict of such pairs for "train", "validation" and "test". Data are as in
    `check_data`, or bool, or images without the channel axis, or a source; labels are integers or strings `[N]`, or
    None. A loader with a parameter `reading` is given that of `load`, to follow its choices itself.

    Args:
        name: a new one. One that ends in a colon is a prefix: the loader then takes the rest of the name first, as that
            of "tfds:" does.
        mixed: the examples are in a random order already: those held out are then the last ones, and are not drawn.

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
        if mixed:
            MIXED.add(name)
        return loader

    return add


def is_path(name: str | os.PathLike[str]) -> bool:
    """Return whether `load` takes a name for a path, and not for that of a registered dataset."""
    return _known(name) is None


def load(
    name: str | os.PathLike[str],
    *,
    image_size: int | None = None,
    num_validation: int | None = 0,
    download: bool = True,
    reading: Reading = READING,
) -> Dataset:
    """Load a dataset: whole, in memory, or as sources where it is larger than `reading.memory_limit`.

    Parts that the data have are used: train, and test or validation or both. Where there is no test set, a tenth of
    the examples is drawn; validation examples are drawn from the training set on request. Draws are the same at every
    call, and of each class its share. `Dataset.notes` says what was read, left out, recognized and drawn.

    Args:
        name: one of `DATASETS`, "tfds:NAME" for any other dataset of images that tensorflow-datasets has prepared; or a
            path:

            - a folder of pictures or WAV files, searched recursively in sorted order, through links. Pictures are gray
              if all are, else RGB. Folders `train`, `val`, `test` (or synonyms, in any case) are parts, subfolders of
              a part are classes.
            - a `.npy`, `.npz` or HDF5 file of images `[N, H, W]` or `[N, H, W, C]` or of signals as in `Split`, under
              `images` or `x` with `labels` or `y`, or `x_train`, `y_train`, `x_val`, ... in many spellings.
            - a `.csv` table with an example per row, and labels in one column.
        image_size: height and width to resize images to, as `resize` does, framed as `reading` says. None keeps the
            size.
        num_validation: how many training examples become `validation`; None is 5,000, or a tenth where that is less.
            Data with a validation part of their own need 0 or None.
        download: whether a missing dataset may be downloaded.
        reading: how files become arrays, where there is a choice.

    Raises:
        ValueError: no such dataset, other data than above, `image_size` for signals or none for what needs it, or
            `num_validation` leaves nothing to train on.
        FileNotFoundError: no such path, no image in it, or a dataset neither prepared nor to be downloaded.
        ImportError: a package that is needed is not installed.

    Example:
        >>> digits = load("digits", image_size=32, num_validation=100)
        >>> digits.train.images.shape, digits.validation.labels.shape, digits.test.images.shape
        ((1342, 32, 32, 1), (100,), (355, 32, 32, 1))
    """
    image_size, reading = None if image_size is None else check_size(image_size), check_reading(reading)
    if not str(name).strip():
        raise ValueError("expected the name or the path of a dataset, got an empty one: a variable that is not set?")
    path = Path(name).expanduser()
    if (known := _known(name)) is not None:
        given, rest = _call(known, str(name), image_size, download, reading)
        parts = convert_parts(given, name, rest)
        if path.exists():
            parts.notes.append(f"the dataset {name} is meant, not the file or folder of that name: say ./{name} for it")
    elif path.is_dir():
        parts = read_folder(path, image_size, reading)
    elif path.is_file() or path.suffix.lower() in ARRAY_SUFFIXES:
        parts = read_arrays(path, reading)
    elif isinstance(name, os.PathLike) or os.sep in name:
        raise FileNotFoundError(f"expected a file or folder of images, got {name}, which does not exist: check it")
    else:
        raise unknown(name)
    return _divide(name, parts, image_size, num_validation, reading, mixed=known in MIXED)


def from_arrays(
    train: Any,
    labels: Any = None,
    *,
    name: str = "arrays",
    validation: Any = None,
    validation_labels: Any = None,
    test: Any = None,
    test_labels: Any = None,
    image_size: int | None = None,
    num_validation: int | None = 0,
    reading: Reading = READING,
) -> Dataset:
    """Return a dataset of arrays at hand, as `load` makes it of a file.

    Args:
        train, validation, test: whatever `numpy.asarray` makes an array `[N, ...]` of: arrays, lists, PyTorch tensors
            on the CPU, HDF5 datasets, columns of a Hugging Face dataset. Or such a dataset itself, with columns image
            and label; as `train` all its parts at once, a dict of them.
        labels, validation_labels, test_labels: integers or strings `[N]`.
        name, image_size, num_validation, reading: as for `load`.

    Raises:
        ValueError: as `load`.

    Example:
        >>> dataset = from_arrays([np.eye(8) > 0] * 20, ["a", "b"] * 10, num_validation=None)
        >>> [(name, len(part.images)) for name, part in dataset.parts().items()], dataset.class_names
        ([('train', 17), ('validation', 1), ('test', 2)], ('a', 'b'))
    """
    if isinstance(train, Mapping) and train and all(hasattr(table, "column_names") for table in train.values()):
        names = {name: part_of(name) for name in train}
        parts_of_it = {part: train[name] for name, part in names.items() if part is not None}
        if validation is not None or test is not None or "train" not in parts_of_it:
            raise ValueError(
                f"expected parts named train, validation and test, or as arguments, got {', '.join(names)}"
            )
        train, validation, test = (parts_of_it.get(part) for part in ("train", "validation", "test"))
    given = {"train": (train, labels), "validation": (validation, validation_labels), "test": (test, test_labels)}
    given = {part: _columns(data, own, name) for part, (data, own) in given.items()}
    for part, (data, its_labels) in given.items():
        if isinstance(data, str | os.PathLike):
            raise ValueError(f"expected arrays, got the path {data}: read it with gon_jax.data.load")
        if data is None and (part == "train" or its_labels is not None):
            raise ValueError(f"expected {part} data, got None" + ("" if its_labels is None else " with labels"))
    given = {part: pair for part, pair in given.items() if pair[0] is not None}
    parts = convert_parts(given, name, check_reading(reading))
    return _divide(name, parts, image_size, num_validation, reading)


def _columns(data, labels, name):
    """Return examples and labels of a table with named columns, such as Hugging Face's; other data as they are."""
    if labels is not None or not hasattr(data, "column_names"):
        return data, labels
    found, _ = read_keys(data.column_names, name)
    roles = found.get("", {})
    if "data" not in roles:
        raise ValueError(f"expected columns image and label, got {', '.join(data.column_names)} in {name}: rename them")
    if (column := roles.get("labels")) is None:
        return data[roles["data"]], None
    class_names = getattr(getattr(data, "features", {}).get(column), "names", None)
    values = np.asarray(data[column])
    return data[roles["data"]], values if class_names is None else np.array(class_names)[values]


def _divide(name, read, image_size, num_validation, reading, *, mixed=False):
    """Return the dataset of some parts: what is missing of test and validation is drawn, and images are resized."""
    parts, notes = dict(read.parts), list(read.notes)
    parts["train"] = parts.pop("", None) or parts["train"]
    kind = read.kind
    if image_size is not None and kind != "images":
        raise ValueError(f"expected image_size=None, since {name} is {kind}: only images can be resized")
    if "test" not in parts:
        num = len(parts["train"].images)
        if num < 10:
            raise ValueError(f"expected at least 10 images, of which a tenth is test, got {num}: add or split them")
        parts["train"], parts["test"] = _draw(parts["train"], max(1, num // 10), mixed, seed=0)
        notes.append(f"test: {len(parts['test'].images):,} of the examples, {_how(parts['train'], mixed)}")
    num_examples = len(parts["train"].images)
    if "validation" in parts:
        if num_validation:
            raise ValueError(
                f"expected num_validation=None, since {name} has {len(parts['validation'].images)} validation examples "
                f"of its own, got {num_validation}"
            )
    else:
        num_validation = min(5000, num_examples // 10) if num_validation is None else num_validation
        if not isinstance(num_validation, int | np.integer):
            raise ValueError(f"expected num_validation, a whole number, got {num_validation!r}")
        if not 0 <= num_validation < num_examples:
            why = f"{name} has {num_examples} training examples, and some must remain"
            raise ValueError(f"expected num_validation from 0 to {num_examples - 1}, got {num_validation}: {why}")
        if num_validation:
            parts["train"], parts["validation"] = _draw(parts["train"], num_validation, mixed, seed=1)
            notes.append(f"validation: {num_validation:,} of the training examples, {_how(parts['train'], mixed)}")
    if image_size is not None:
        height, width = parts["train"].images.shape[1:3]
        if height != width:
            notes.append(f"images of {height}x{width} were framed by {reading.framing!r}")
        if (height, width) != (image_size, image_size):
            parts = {p: s._replace(images=resized(s.images, image_size, reading.framing)) for p, s in parts.items()}
    validation = parts.get("validation")
    parts_of_it = parts["train"], validation, parts["test"]
    return Dataset(str(name), *parts_of_it, kind, read.class_names, tuple(notes), read.samples_per_second)


def _draw(split, num, mixed, seed):
    """Return what remains of a split, and the examples held out."""
    if mixed:
        return take(split, slice(len(split.images) - num)), take(split, slice(len(split.images) - num, None))
    held_out = draw_held_out(len(split.images), num, split.labels, seed)
    return take(split, ~held_out), take(split, held_out)


def _how(split, mixed):
    if mixed:
        return "the last ones"
    return "drawn" if split.labels is None else "drawn, of each class its share"


def unknown(name: str) -> ValueError:
    """Return the error for a name that is not in `DATASETS`."""
    hint = "".join(f": did you mean {close!r}?" for close in difflib.get_close_matches(str(name), DATASETS, 1))
    known = (
        f"a dataset ({', '.join(DATASETS)}) or the path of a folder of images or a file ({' '.join(ARRAY_SUFFIXES)})"
    )
    own = "" if hint else "; import the file that registers it first (gon --import FILE), if it is one of your own"
    return ValueError(f"expected {known}, got {str(name)!r}{hint}{own}")


def _known(name):
    """Return under what a name is registered, itself or its prefix with the colon; None for any other."""
    return next((known for known in (name, str(name).partition(":")[0] + ":") if known in DATASETS), None)


def _call(known, name, image_size, download, reading):
    """Return what a loader gives as a dict of pairs (data, labels), and the choices that are left to be followed."""
    first, more = [name.removeprefix(known)] if known.endswith(":") else [], {}
    if "reading" in inspect.signature(DATASETS[known]).parameters:
        more, reading = {"reading": reading}, reading._replace(value_range=None)
    given = DATASETS[known](*first, image_size, download, **more)
    if not isinstance(given, Mapping):
        names = {1: ("",), 2: ("train", "test")}.get(len(given), ())
        given = dict(zip(names, given, strict=False))
    known = {"train", "validation", "test"}
    whole = set(given) == {""} or ("train" in given and set(given) <= known)
    if not (whole and all(isinstance(pair, tuple) and len(pair) == 2 for pair in given.values())):
        got = (
            ", ".join(f"{key} {type(pair).__name__}".strip() for key, pair in given.items()) or "another number of them"
        )
        raise ValueError(
            f"expected one or two tuples (data, labels), or a dict of such for train, validation and test, from the "
            f"loader of {name}, got {got}: return those"
        )
    return given, reading


@register("digits", mixed=True)
def _digits(*_):
    """Return scikit-learn's digits, 8x8, as round(255 v / 16); of each class number 4, 9, ... is test."""
    from sklearn.datasets import load_digits

    source: Any = load_digits()
    images = np.rint(source.images * 255 / 16).astype(np.uint8)[..., None]
    is_test = np.zeros(len(source.target), bool)
    for label in range(10):
        is_test[np.flatnonzero(source.target == label)[4::5]] = True
    return [(images[index], source.target[index]) for index in (~is_test, is_test)]
