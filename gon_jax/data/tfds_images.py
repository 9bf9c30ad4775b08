"""Datasets prepared by tensorflow-datasets: where they lie, and how they are read, without TensorFlow."""

import io
import json
import logging
import os
from pathlib import Path

import numpy as np

NUM_EXAMPLES = {  # of the complete dataset: train, test
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
}
CHUNK = 1000  # examples read at once


def search_path() -> list[Path]:
    """Return the folders in which prepared datasets are looked for, first those of `GON_DATA_DIR`.

    `GON_DATA_DIR` holds folders separated by colons (`os.pathsep`); then come `TFDS_DATA_DIR` and
    `~/tensorflow_datasets`.

    Example:
        >>> search_path()[-1].name
        'tensorflow_datasets'
    """
    folders = os.environ.get("GON_DATA_DIR", "").split(os.pathsep)
    folders += [os.environ.get("TFDS_DATA_DIR", ""), "~/tensorflow_datasets"]
    return list(dict.fromkeys(Path(folder).expanduser() for folder in folders if folder))


def prepare(name: str, data_dir, manual_dir=None) -> Path:
    """Download a dataset, or take its original files from `manual_dir`, and prepare it under `data_dir`.

    Name, version, features, contents and order are those of tensorflow-datasets' catalogue, which reads the result too;
    the file format is array_record. The original files must have the registered SHA-256. An interrupted preparation
    leaves nothing that looks prepared; files that were downloaded whole are not downloaded again.

    Args:
        name: one of "mnist", "fashion_mnist", "cifar10".
        data_dir: a folder as in `search_path()`; made if missing.
        manual_dir: folder of the original files, as they were published; None downloads them.

    Returns:
        The folder `data_dir/name/version`; at once if it is already prepared.

    Raises:
        ValueError: no such dataset, an original with another SHA-256, or the folder holds another file format.
        FileNotFoundError: an original is missing, or cannot be downloaded.
        ImportError: tensorflow-datasets is not installed.

    Example:
        >>> prepare("imagenet", ".")
        Traceback (most recent call last):
        ValueError: expected a dataset to prepare (mnist, fashion_mnist, cifar10), got 'imagenet'
    """
    if name not in NUM_EXAMPLES:
        raise ValueError(f"expected a dataset to prepare ({', '.join(NUM_EXAMPLES)}), got {name!r}")
    _import_tfds()
    from gon_jax.data import builders

    folder = Path(data_dir).expanduser() / name / str(builders.BUILDERS[name].VERSION)
    if folder.exists() and not _is_prepared(folder):
        raise ValueError(f"expected no folder {folder}, or one prepared as array_record; it holds something else "
                         "(TFRecord cannot be read without TensorFlow): prepare into another folder")
    return folder if folder.exists() else builders.prepare(name, folder.parents[1], manual_dir)


def read(name: str, *, download: bool = True):
    """Return `(images, labels)` of train and of test: uint8 `[N, H, W, C]`, int32 `[N]`, in the order of the records.

    Raises:
        FileNotFoundError: it is prepared nowhere on the search path, and not to be, or cannot be, downloaded.
        ValueError: the folder does not hold what it declares.
        ImportError: tensorflow-datasets is not installed.
    """
    folder = _find(name) or _prepare_somewhere(name, download)
    num_train, num_test = NUM_EXAMPLES[name]
    return _read_split(name, folder, "train", num_train), _read_split(name, folder, "test", num_test)


def _find(name: str) -> Path | None:
    """Return the folder of the newest version in the first folder of the search path that has one."""
    for folder in search_path():
        prepared = [path for path in _versions(folder / name) if _is_prepared(path)]
        if prepared:
            return max(prepared, key=lambda path: [int(number) for number in path.name.split(".")])
    return None


def _versions(folder: Path) -> list[Path]:
    """Return the folders named like a version, `3.0.1`, which tfds names so when all is written."""
    return [path for path in folder.glob("*.*.*") if path.name.replace(".", "").isdecimal()]


def _is_prepared(folder: Path) -> bool:
    try:
        return json.loads((folder / "dataset_info.json").read_text())["fileFormat"] == "array_record"
    except (OSError, ValueError, KeyError, TypeError):  # without a format: the TFRecord of old
        return False


def _prepare_somewhere(name: str, download: bool) -> Path:
    looked = ", ".join(map(str, search_path()))
    if not download:
        raise FileNotFoundError(f"expected {name}, prepared as array_record, in one of {looked}; found none: "
                                "set GON_DATA_DIR to the folder that has it, or allow the download")
    for folder in search_path():
        if _is_writable(folder) and not _versions(folder / name):
            return prepare(name, folder)
    raise FileNotFoundError(f"expected a folder to prepare {name} in, but in none of {looked} can one be written (or "
                            "it is there as TFRecord): set GON_DATA_DIR to a new folder")


def _is_writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _read_split(name: str, folder: Path, split: str, num_complete: int):
    from PIL import Image
    from tqdm.auto import tqdm

    tfds = _import_tfds()
    try:
        builder = tfds.builder_from_directory(folder)
        shape, num = builder.info.features["image"].shape, builder.info.splits[split].num_examples
        source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        images, labels = np.empty([num, *shape], np.uint8), np.empty([num], np.int32)
        with tqdm(total=num, desc=f"read {name} {split}", unit="image", leave=False, delay=2) as bar:
            for start in range(0, num, CHUNK):
                examples = source.__getitems__(range(start, min(start + CHUNK, num)))
                for i, example in enumerate(examples, start):
                    images[i] = np.asarray(Image.open(io.BytesIO(example["image"]))).reshape(shape)
                    labels[i] = example["label"]
                bar.update(len(examples))
    except Exception as error:  # array_record, tfds and Pillow each have their own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"expected {name} {split} as its dataset_info.json and features.json declare it in {folder}, "
                         f"which cannot be read ({reason}): remove that folder, and it is prepared anew") from error
    if num != num_complete:
        logging.getLogger(__name__).warning(
            "%s in %s is a subset: %d of %d %s examples", name, folder, num, num_complete, split)
    return images, labels


def _import_tfds():
    try:
        import array_record  # noqa: F401  (missing where it has no wheel; tfds itself imports it late)
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(f"tensorflow-datasets with array_record is needed for this dataset ({error}): "
                          "pip install 'gon_jax[data]'") from error
    return tensorflow_datasets
