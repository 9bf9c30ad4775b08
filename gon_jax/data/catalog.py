"""Datasets prepared by tensorflow-datasets or `prepare`: where they are, and how they are read, without TensorFlow.

They are read in the order of their records, shuffled once and the same on every machine.
"""

import functools
import itertools
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax._files import one_line
from gon_jax.data.arrays import READING, Reading
from gon_jax.data.datasets import DATASETS, register, unknown
from gon_jax.data.picture_sources import RecordSource
from gon_jax.data.sources import take
from gon_jax.data.splits import part_of
from gon_jax.memory import memory_limit
from gon_jax.progress import bar

__all__ = ["NUM_EXAMPLES", "locate", "missing", "prepare", "read", "read_any", "search_path"]

NUM_EXAMPLES: dict[str, tuple[int, int]] = {  # train, test
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "coil20": (1_200, 240),  # of each object's 72 angles every sixth (number 5, 11, ..., 71) is test
    "smallnorb": (24_300, 24_300),  # of the first camera
    "celeb_a": (162_770, 19_962),
    "lsun/bedroom": (60_000, 300),  # the first of 3,033,042, and the validation images; no labels
}
NEEDED = {  # by tensorflow-datasets to prepare what `prepare` does not
    "smallnorb": "tensorflow-cpu and importlib_resources; 0.25 GiB to download",
    "celeb_a": "tensorflow-cpu and importlib_resources; 1.4 GiB from Google Drive, which often refuses: then put the "
    "five files into a folder and pass download_config=tfds.download.DownloadConfig(manual_dir=folder)",
    "lsun/bedroom": "tensorflow-io, the tensorflow it is made for, and importlib_resources; 43 GiB to download",
}
NOT_SQUARE = ("celeb_a", "lsun/bedroom")
CHUNK = 1000  # examples read at once


def search_path() -> list[Path]:
    """Return the folders of prepared datasets: `GON_DATA_DIR`'s (colons between), `TFDS_DATA_DIR`, tfds's own.

    Example:
        >>> search_path()[-1].name
        'tensorflow_datasets'
    """
    folders = os.environ.get("GON_DATA_DIR", "").split(os.pathsep)
    folders += [os.environ.get("TFDS_DATA_DIR", ""), "~/tensorflow_datasets"]
    return list(dict.fromkeys(Path(folder).expanduser() for folder in folders if folder))


def prepare(name: str, data_dir: str | os.PathLike[str], manual_dir: str | os.PathLike[str] | None = None) -> Path:
    """Prepare a dataset as array_record, unless it is already prepared; return its folder `data_dir/name/version`.

    It is the same as tensorflow-datasets prepares (which lacks COIL-20), from originals verified by SHA-256. An
    interrupted preparation leaves nothing that looks prepared, and a whole download is not repeated.

    Args:
        name: "mnist", "fashion_mnist", "cifar10" or "coil20".
        data_dir: a folder as in `search_path()`; made if missing.
        manual_dir: folder of the original files, as they were published; None downloads them.

    Raises:
        ValueError: another name, an original with another SHA-256, or the folder holds another file format.
        FileNotFoundError, ImportError: an original cannot be had, or tensorflow-datasets is not installed.
    """
    ours = [name for name in NUM_EXAMPLES if name not in NEEDED]
    if name not in ours:
        more = f", which tensorflow-datasets prepares: {_command(name)}" if name in NEEDED else ""
        raise ValueError(f"expected a dataset to prepare ({', '.join(ours)}), got {name!r}{more}")
    _import_tfds()
    from gon_jax.data import builders

    folder = Path(data_dir).expanduser() / name / str(builders.BUILDERS[name].VERSION)
    if not folder.exists():
        builders.BUILDERS[name](data_dir=folder.parents[1], file_format="array_record").prepare(manual_dir)
    elif not _is_prepared(folder):
        raise ValueError(f"expected array_record in {folder}, got another format, such as TFRecord: use another folder")
    return folder


def read(
    name: str, image_size: int | None = None, download: bool = True, reading: Reading = READING
) -> list[tuple[Any, np.ndarray | None]]:
    """Return `(images, labels)` of train and of test: uint8 `[N, H, W, C]`, int32 `[N]` or None, in record order.

    Images that are not square are framed and resized to `image_size` one by one, as they are read. Images above the
    memory limit are sources. Raises as `load` does.
    """
    size = image_size if name in NOT_SQUARE else None
    if name in NOT_SQUARE and size is None:
        raise ValueError(
            f"expected an image_size for {name}, whose images are not square, got None: give one, such as image_size=64"
        )
    folder, splits = locate(name, download=download), zip(("train", "test"), NUM_EXAMPLES[name], strict=True)
    return [_read_known(name, folder, split, num, size, reading) for split, num in splits]


for _name in NUM_EXAMPLES:
    register(_name, mixed=True)(functools.partial(read, _name))


@register("tfds:", mixed=True)
def read_any(
    name: str, image_size: int | None = None, download: bool = True, reading: Reading = READING
) -> dict[str, tuple[Any, Any]]:
    """Return the parts of any dataset of images that tensorflow-datasets has prepared: `{part: (images, labels)}`.

    The image and the label are those of its supervised keys, or the first of their kind; labels are the names of their
    classes. Splits are parts by their names; others are left out, with a warning. Images above the memory limit are
    sources. `download` is not used. Raises as `load` does.
    """
    tfds = _import_tfds()
    builder = tfds.builder_from_directory(_find_prepared(name) or _not_prepared(name))
    features = dict(builder.info.features) if isinstance(builder.info.features, tfds.features.FeaturesDict) else {}
    keys = [*(builder.info.supervised_keys or ()), *features]
    image = next((k for k in keys if isinstance(features.get(k), tfds.features.Image)), None)
    label = next((k for k in keys if isinstance(features.get(k), tfds.features.ClassLabel)), None)
    if image is None:
        raise ValueError(f"expected a dataset of images, got {name} with the features {', '.join(features)}")
    if image_size is None and None in features[image].shape:
        raise ValueError(f"expected an image_size for {name}, whose images have several sizes, got None: give one")
    parts = {split: part for split in builder.info.splits if (part := part_of(split))}
    if others := [split for split in builder.info.splits if split not in parts]:
        logging.getLogger(__name__).warning(f"{name}: left out, being neither train, validation nor test: {others}")
    read = {part: _read_split(builder, split, image, label, image_size, reading) for split, part in parts.items()}
    if label is not None and not all(class_name.isdecimal() for class_name in features[label].names):
        names = np.array(features[label].names)
        read = {part: (images, names[labels]) for part, (images, labels) in read.items()}
    return read


def missing(name: str) -> str | None:
    """Return in one line why one of `DATASETS` cannot be loaded without a download, or None if it can; read nothing.

    Example:
        >>> missing("digits") is None
        True
    """
    if name not in DATASETS:
        raise unknown(name)
    try:
        if name in NUM_EXAMPLES:
            locate(name, download=False)
    except (FileNotFoundError, ImportError) as error:
        return str(error)
    return None


def locate(name: str, *, download: bool = True) -> Path:
    """Return the folder that a dataset is prepared in, the newest version in the first folder that has one.

    Prepare it if it is nowhere and may be downloaded; otherwise read nothing. Raises as `load` does.
    """
    folders = search_path()
    if prepared := _find_prepared(name):
        _import_tfds()
        return prepared
    if name in NEEDED:
        remedy = f"have tensorflow-datasets prepare it: {_command(name)}"
    elif not download:
        remedy = f"allow the download, or call gon_jax.data.prepare({name!r}, data_dir, manual_dir)"
    else:
        for folder in folders:
            if _is_writable(folder) and not _versions(folder / name):
                return prepare(name, folder)
        remedy = "to a new one to prepare it in: none of these can be written, or it is there as TFRecord"
    raise FileNotFoundError(
        f"expected {name}, prepared as array_record, in one of {', '.join(map(str, folders))}; found none: set "
        f"GON_DATA_DIR to the folder that has it, or {remedy}"
    )


def _find_prepared(name):
    """Return the newest version in the first folder that has one, or None."""
    for folder in search_path():
        if prepared := [path for path in _versions(folder / name) if _is_prepared(path)]:
            return max(prepared, key=lambda path: [int(number) for number in path.name.split(".")])
    return None


def _not_prepared(name):
    raise FileNotFoundError(
        f"expected {name}, prepared as array_record, in one of {', '.join(map(str, search_path()))}; found none: set "
        f"GON_DATA_DIR to the folder that has it, or have tensorflow-datasets prepare it: {_command(name)}"
    )


def _versions(folder):
    """Return the folders named like a version, `3.0.1`, as tfds names them when all is written."""
    return [path for path in folder.glob("*.*.*") if path.name.replace(".", "").isdecimal()]


def _is_prepared(folder):
    try:
        return json.loads((folder / "dataset_info.json").read_text())["fileFormat"] == "array_record"
    except (OSError, ValueError, KeyError, TypeError):  # without a format: the TFRecord of old
        return False


def _command(name):
    folder = str(next(filter(_is_writable, search_path()), "~/tensorflow_datasets"))
    return (
        f'python -c "import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir={folder!r}, '
        f"file_format='array_record').download_and_prepare()\" (needs {NEEDED.get(name, 'tensorflow-cpu')})"
    )


def _is_writable(folder):
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _read_known(name, folder, split, num_wanted, size, reading=READING):
    """Return images and labels of a split of one of `NUM_EXAMPLES`."""
    tfds = _import_tfds()
    try:
        builder = tfds.builder_from_directory(folder)
        features, splits = builder.info.features, builder.info.splits
        label = next((key for key in ("label", "label_category") if key in features), None)
        source_split = split if split in splits else "validation"  # LSUN has no other
        most = num_wanted if name == "lsun/bedroom" else None
        images, labels = _read_split(builder, source_split, "image", label, size, reading, most)
    except Exception as error:  # array_record, tfds and Pillow each have their own
        raise ValueError(
            f"expected {name} {split} as dataset_info.json and features.json declare it in {folder}, which cannot be "
            f"read ({one_line(error)}): remove that folder and prepare it anew"
        ) from error
    if (num := len(images)) != num_wanted:
        logging.getLogger(__name__).warning(f"{name} in {folder} is a subset: {num} of {num_wanted} {split} examples")
    return images, labels


def _read_split(builder, split, image_key, label_key, size, reading, most=None):
    """Return `(images, labels)` of a split in the order of its records, framed to `size` where that is not None."""
    tfds = _import_tfds()
    features, num = builder.info.features, builder.info.splits[split].num_examples
    num = num if most is None else min(num, most)
    undecoded = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    records = builder.as_data_source(split, decoders=dict.fromkeys(undecoded, tfds.decode.SkipDecoding()))
    height, width, channels = features[image_key].shape
    shape = (size or height, size or width, 1 if channels == 1 else 3)  # what is transparent gets a background
    name = f"{builder.info.full_name}/{split}"
    source = RecordSource(records, image_key, shape, reading, name=name, exact=size is None)
    counts = [each.num_examples for split, each in builder.info.splits.items() if part_of(split)]
    sizes = [min(count, most or count) for count in counts]
    if math.prod(shape) * sum(sizes) > memory_limit(reading.memory_limit):  # of all parts
        labels = source.column(label_key).astype(np.int32)[:num] if label_key else None
        return take(source, slice(num)), labels
    images, labels = np.empty([num, *shape], np.uint8), np.empty([num], np.int32) if label_key else None
    chunks = (range(num)[start : start + CHUNK] for start in range(0, num, CHUNK))
    examples = itertools.chain.from_iterable(records.__getitems__(chunk) for chunk in chunks)
    shown = bar(examples, f"read {builder.name} {split}", total=num, unit="image", delay=2)
    for i, example in enumerate(shown):
        images[i] = source.decoded(example, i)
        if labels is not None:
            labels[i] = example[label_key]
    return images, labels


def _import_tfds() -> Any:
    try:
        import array_record  # noqa: F401  (missing where it has no wheel; tfds itself imports it late)
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(f"expected tensorflow-datasets, got {error}: pip install 'gon_jax[data]'") from error
    return tensorflow_datasets
