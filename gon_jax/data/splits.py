"""The parts of a dataset: how they are recognized by their names, and drawn where they are not apart."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gon_jax.arguments import check_count
from gon_jax.data import sources
from gon_jax.memory import check_memory

__all__ = ["PARTS", "Dataset", "Split", "class_numbers", "draw_held_out", "part_of", "read_keys", "take"]
__all__ += ["pairs_of_labels", "spread_indices"]

PARTS = {  # in the order in which they are given and stored; names in any case
    "train": ("train", "training", "trn"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "tst"),
}
_ROLES = {  # of an array in a file
    "data": ("x", "images", "image", "imgs", "img", "data", "inputs"),
    "labels": ("y", "labels", "label", "targets", "target", "classes"),
}
_KEYS = {word: ("", role) for role, words in _ROLES.items() for word in words}
for _part, _synonyms in PARTS.items():
    for _synonym in _synonyms:
        _KEYS[_synonym] = (_part, "data")
        for _role, _words in _ROLES.items():
            _KEYS |= {key: (_part, _role) for word in _words for key in (word + _synonym, _synonym + word)}


class Split(NamedTuple):
    """Images `[N, H, W, C]`, voxels `[N, D, D, D, 1]` or films `[N, T, H, W, C]`, uint8; labels int32 `[N]` or None.

    Sound is float32 `[N, L, C]` in [0, 1] with silence at 0.5; tables `[N, d]` and points `[N, P, d]` are float32 in
    [0, 1], or uint8. `names` are those of the files `[N]`, strings, and `checksums` the CRC-32 of their bytes, uint32
    `[N]`; None where examples are no files. Examples that do not fit into memory are a source, of
    `gon_jax.data.sources`.
    """

    images: np.ndarray | Any  # or a source, which has less: Any, so that who has arrays need not check
    labels: np.ndarray | None = None
    names: np.ndarray | None = None
    checksums: np.ndarray | None = None


class Dataset(NamedTuple):
    """A name and its splits.

    Attributes:
        name: as it was given to `load`.
        train, test: parts.
        validation: None unless the data have one, or examples were asked to be held out.
        kind: "images", "audio", "voxels", "video", "table" or "points".
        class_names: what label 0, 1, ... stand for, where the data say it.
        notes: what was read, skipped, recognized and held out, in sentences.
        samples_per_second: of sound in WAV files; None of anything else.
    """

    name: str
    train: Split
    validation: Split | None
    test: Split
    kind: str = "images"
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    samples_per_second: int | None = None

    def parts(self) -> dict[str, Split]:
        """Return the parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def part_of(name: str) -> str | None:
    """Return which part a folder's name stands for, or None for any other name.

    >>> part_of("Train"), part_of("VAL"), part_of("cats")
    ('train', 'validation', None)
    """
    return next((part for part, synonyms in PARTS.items() if name.lower() in synonyms), None)


def read_keys(keys: Iterable[str], source: Any) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return which array of a file is what: `{part: {"data": key, "labels": key}}`, and the keys that are nothing.

    The part is "" where the parts are not apart. A single array of any name is data.

    Raises:
        ValueError: no data, two arrays for one thing, parts beside a whole, or parts without training data.

    >>> read_keys(["x_train", "y_train", "test_images", "seed"], "a.npz")
    ({'train': {'data': 'x_train', 'labels': 'y_train'}, 'test': {'data': 'test_images'}}, ['seed'])
    """
    found: dict[str, dict[str, str]] = {}
    others, keys = [], list(keys)
    for key in keys:
        part, role = _KEYS.get(re.sub("[^a-z]", "", key.lower()), (None, ""))
        if part is None:
            others.append(key)
        elif role in found.setdefault(part, {}):
            raise ValueError(
                f"expected one array for {part or 'all'} {role}, got {found[part][role]} and {key} in {source}: rename "
                "one of them"
            )
        else:
            found[part][role] = key
    if len(keys) == 1 and not found:
        found, others = {"": {"data": keys[0]}}, []
    others += [roles["labels"] for roles in found.values() if "data" not in roles]
    found = {part: roles for part, roles in found.items() if "data" in roles}
    if not found or ("" in found and len(found) > 1) or ("" not in found and "train" not in found):
        raise ValueError(
            f"expected the key images or x, or x_train with x_val or x_test, got the keys {', '.join(keys) or '(none)'}"
            f" in {source}: rename"
        )
    return found, others


def class_numbers(
    labels: Mapping[str, np.ndarray | None], source: Any
) -> tuple[dict[str, np.ndarray | None], tuple[str, ...] | None]:
    """Return the labels of each part as class numbers, int32 `[N]` from 0, and the names of the classes.

    Whole numbers from 0 on, without a gap, are class numbers already, and have no names. In anything else, strings or
    numbers with gaps, the sorted values of all parts are numbered, and their names are these values.

    Raises:
        ValueError: labels that are negative, above 32 bits, not whole, or one-hot.

    >>> class_numbers({"train": np.array(["dog", "cat"]), "test": None}, "a.npz")
    ({'train': array([1, 0], dtype=int32), 'test': None}, ('cat', 'dog'))
    """
    given = {part: np.asarray(values) for part, values in labels.items() if values is not None}
    for part, values in given.items():
        words = f"labels of {part or 'all examples'} in {source}"
        if values.dtype.kind == "O":  # of HDF5 and tables: strings, bytes or whole numbers, one by one
            kinds = {type(value) for value in values.ravel()}
            whole = all(issubclass(kind, int | np.integer) for kind in kinds)
            kept: Any = "S" if kinds == {bytes} else str if kinds == {str} else np.int64 if whole else object
            given[part] = values = values.astype(kept)
        if values.dtype.kind == "S":
            given[part] = values = np.char.decode(values, "utf-8")
        if values.ndim == 2 and values.shape[1] == 1:
            given[part] = values = values[:, 0]
        if values.ndim != 1 or values.dtype.kind not in "iubU":
            got = f"{values.dtype} {list(values.shape)}"
            raise ValueError(f"expected integer or string labels [N], got {got}, the {words}: not one-hot, not floats")
        if values.dtype.kind != "U" and len(values) and (int(values.min()) < 0 or int(values.max()) >= 2**31):
            raise ValueError(
                f"expected labels from 0 on, of 32 bits, got {values.min()} to {values.max()}, the {words}: number the "
                "classes with numpy.unique(labels, return_inverse=True)[1], and leave out what has no label"
            )
    if not given:
        return dict(labels), None
    if len({values.dtype.kind == "U" for values in given.values()}) > 1:
        raise ValueError(f"expected labels of one type, got strings and numbers in {source}: use one of the two")
    known = np.unique(np.concatenate(list(given.values())))
    named = known.dtype.kind == "U" or not np.array_equal(known, np.arange(len(known)))
    numbers = {part: (np.searchsorted(known, v) if named else v).astype(np.int32) for part, v in given.items()}
    return {part: numbers.get(part) for part in labels}, tuple(map(str, known)) if named else None


def draw_held_out(num: int, num_held_out: int, labels: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Return which of `num` examples are held out, booleans `[num]`: drawn at random, of each class its share.

    The i-th example of n in a class has the place (i - 1/2) / n, and the lowest places are held out. So each class has
    its share, to about one example, and the smallest ones are the last to be held out as a whole.

    Args:
        num: how many examples there are.
        num_held_out: how many of them to hold out.
        labels: int `[num]`, or None to draw without regard to them.
        seed: the same draw for the same seed, labels and numbers.

    Raises:
        ValueError: more are to be held out than there are, or fewer than none.

    >>> held = draw_held_out(200, 20, np.repeat(np.arange(10), 20))
    >>> np.bincount(np.repeat(np.arange(10), 20)[held])
    array([2, 2, 2, 2, 2, 2, 2, 2, 2, 2])
    """
    if not 0 <= num_held_out <= num:
        raise ValueError(f"expected num_held_out from 0 to {num}, got {num_held_out}")
    order = np.random.RandomState(seed).permutation(num)  # whose streams are the same in all versions of NumPy
    if labels is not None:
        place = np.empty(num)  # within its class, from 0 to 1
        for label in np.unique(labels):
            of = labels[order] == label
            place[of] = (np.arange(of.sum()) + 0.5) / of.sum()
        order = order[np.argsort(place, kind="stable")]
    held_out = np.zeros(num, bool)
    held_out[order[:num_held_out]] = True
    return held_out


def take(split: Split, index: Any) -> Split:
    """Return a part of a split: examples by an index, a slice or a mask; of a source they are not read yet."""
    images, *others = split
    return Split(sources.take(images, index), *(None if array is None else array[index] for array in others))


def pairs_of_labels(split: Split, num_pairs: int = 8) -> np.ndarray:
    """Return `[2 num_pairs, ...]`: pairs of different labels where there are labels; few examples are repeated.

    Raises:
        ValueError: for a number that is not at least 1, or pairs that would not fit into memory.
    """
    images, labels = split.images, split.labels
    num_bytes = 2 * check_count("num_pairs", num_pairs) * (math.prod(images.shape[1:]) * images.dtype.itemsize + 100)
    check_memory(num_bytes, f"{num_pairs:,} pairs", "ask for fewer")
    if labels is None:
        return images[np.arange(2 * num_pairs) % len(images)]
    classes = np.unique(labels)
    of_class = [np.flatnonzero(labels == c) for c in classes]
    turns = [divmod(i, len(classes)) for i in range(2 * num_pairs)]
    return images[[of_class[c][turn % len(of_class[c])] for turn, c in turns]]


def spread_indices(num_examples: int, num: int) -> np.ndarray:
    """Return up to `num` indices spread evenly over a set.

    >>> spread_indices(100, 4)
    array([ 0, 33, 66, 99])
    """
    return np.unique(np.linspace(0, num_examples - 1, min(num, num_examples)).astype(int))
