"""Datasets prepared by tensorflow-datasets: where they are, and how they are read, without TensorFlow."""

import io
import json
import logging
import os
from pathlib import Path

import numpy as np

from gon_jax._files import one_line
from gon_jax.data.folders import convert_picture

__all__ = ["NUM_EXAMPLES", "locate", "prepare", "read", "search_path"]

NUM_EXAMPLES: dict[str, tuple[int, int]] = {  # train, test of the complete dataset; of LSUN's 3,033,042 the first
    "mnist": (60_000, 10_000),
    "fashion_mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "coil20": (1_200, 240),
    "smallnorb": (24_300, 24_300),
    "celeb_a": (162_770, 19_962),
    "lsun/bedroom": (60_000, 300),
}
NEEDED = {  # by tensorflow-datasets to prepare what we do not prepare ourselves
    "smallnorb": "tensorflow-cpu and importlib_resources; 0.25 GiB to download",
    "celeb_a": "tensorflow-cpu and importlib_resources; 1.4 GiB from Google Drive, which often refuses: then put the "
    "five files into a folder and pass download_config=tfds.download.DownloadConfig(manual_dir=folder)",
    "lsun/bedroom": "tensorflow-io, the tensorflow it is made for, and importlib_resources; 43 GiB to download",
}
NOT_SQUARE = ("celeb_a", "lsun/bedroom")
CHUNK = 1000  # examples read at once


def search_path() -> list[Path]:
    """Return the folders in which prepared datasets are looked for.

    First those of `GON_DATA_DIR`, separated by colons (`os.pathsep`), then `TFDS_DATA_DIR` and
    `~/tensorflow_datasets`.

    Example:
        >>> search_path()[-1].name
        'tensorflow_datasets'
    """
    folders = os.environ.get("GON_DATA_DIR", "").split(os.pathsep)
    folders += [os.environ.get("TFDS_DATA_DIR", ""), "~/tensorflow_datasets"]
    return list(dict.fromkeys(Path(folder).expanduser() for folder in folders if folder))


def prepare(name: str, data_dir: str | os.PathLike, manual_dir: str | os.PathLike | None = None) -> Path:
    """Prepare a dataset as array_record, unless it is already prepared; return its folder `data_dir/name/version`.

    Name, version, features, contents and order are those of tensorflow-datasets' catalog, which reads the result too
    (and lacks COIL-20). The original files, or the pixels of COIL-20, must have the SHA-256 known here. An interrupted
    preparation leaves nothing that looks prepared, and a whole download is not repeated.

    Args:
        name: one of "mnist", "fashion_mnist", "cifar10", "coil20".
        data_dir: a folder as in `search_path()`; made if missing.
        manual_dir: folder of the original files, as they were published; None downloads them.

    Raises:
        ValueError: no such dataset, an original with another SHA-256, or the folder holds another file format.
        FileNotFoundError: an original is missing, or cannot be downloaded.
        ImportError: tensorflow-datasets is not installed.

    Example:
        >>> prepare("imagenet", ".")
        Traceback (most recent call last):
        ValueError: expected a dataset to prepare (mnist, fashion_mnist, cifar10, coil20), got 'imagenet'
    """
    ours = [name for name in NUM_EXAMPLES if name not in NEEDED]
    if name not in ours:
        more = f", which tensorflow-datasets prepares: {_command(name)}" if name in NEEDED else ""
        raise ValueError(f"expected a dataset to prepare ({', '.join(ours)}), got {name!r}{more}")
    _import_tfds()
    from gon_jax.data import builders

    folder = Path(data_dir).expanduser() / name / str(builders.BUILDERS[name].VERSION)
    if folder.exists() and not _is_prepared(folder):
        raise ValueError(
            f"expected no folder {folder}, or one of array_record, got another format (TFRecord cannot be read "
            "without TensorFlow): prepare into another folder"
        )
    return folder if folder.exists() else builders.prepare(name, folder.parents[1], manual_dir)


def read(name: str, image_size: int | None = None, *, download: bool = True) -> tuple:
    """Return `(images, labels)` of train and of test: uint8 `[N, H, W, C]`, int32 `[N]` or None, in record order.

    Images that are not square are cut about the center and resized to `image_size` one by one, as they are read.

    Raises:
        FileNotFoundError: it is prepared nowhere on the search path, and not to be, or cannot be, downloaded.
        ValueError: the folder does not hold what it declares, or images are not square and there is no `image_size`.
        ImportError: tensorflow-datasets is not installed.
    """
    if name in NOT_SQUARE and image_size is None:
        raise ValueError(
            f"expected an image_size for {name}, whose images are not square, got None: give one, such as "
            "image_size=64, and their center squares are resized to it"
        )
    folder = locate(name, download=download)
    size = image_size if name in NOT_SQUARE else None
    return tuple(
        _read_split(name, folder, split, num, size)
        for split, num in zip(("train", "test"), NUM_EXAMPLES[name], strict=True)
    )


def locate(name: str, *, download: bool = True) -> Path:
    """Return the folder that a dataset is prepared in, the newest version in the first folder that has one.

    Prepares it if it is nowhere and may be downloaded; otherwise reads nothing. Raises as `read` does.
    """
    folders = search_path()
    for folder in folders:
        if prepared := [path for path in _versions(folder / name) if _is_prepared(path)]:
            _import_tfds()
            return max(prepared, key=lambda path: [int(number) for number in path.name.split(".")])
    looked = ", ".join(map(str, folders))
    if not download or name in NEEDED:
        remedy = (
            f"have tensorflow-datasets prepare it: {_command(name)}"
            if name in NEEDED
            else f"allow the download, as gon_jax.data.load({name!r}) does, or prepare it from its original files with "
            f"gon_jax.data.prepare({name!r}, data_dir, manual_dir)"
        )
        raise FileNotFoundError(
            f"expected {name}, prepared as array_record, in one of {looked}; found none: set GON_DATA_DIR to the "
            f"folder that has it, or {remedy}"
        )
    for folder in folders:
        if _is_writable(folder) and not _versions(folder / name):
            return prepare(name, folder)
    raise FileNotFoundError(
        f"expected a folder to prepare {name} in, but in none of {looked} can one be written (or it is there as "
        "TFRecord): set GON_DATA_DIR to a new folder"
    )


def _versions(folder):
    """Return the folders named like a version, `3.0.1`, which tfds names so when all is written."""
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
        f"file_format='array_record').download_and_prepare()\" (needs {NEEDED[name]})"
    )


def _is_writable(folder):
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _read_split(name, folder, split, num_wanted, size=None):
    from PIL import Image
    from tqdm.auto import tqdm

    tfds = _import_tfds()
    try:
        builder = tfds.builder_from_directory(folder)
        features, splits = builder.info.features, builder.info.splits
        label = next((key for key in ("label", "label_category") if key in features), None)
        source_split = split if split in splits else "validation"  # LSUN has no other
        num = splits[source_split].num_examples
        num = min(num, num_wanted) if name == "lsun/bedroom" else num
        undecoded = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
        source = builder.as_data_source(source_split, decoders=dict.fromkeys(undecoded, tfds.decode.SkipDecoding()))
        shape = (*((size, size) if size else features["image"].shape[:2]), features["image"].shape[2])
        images, labels = np.empty([num, *shape], np.uint8), np.empty([num], np.int32) if label else None
        with tqdm(total=num, desc=f"read {name} {split}", unit="image", leave=False, delay=2) as bar:
            for start in range(0, num, CHUNK):
                examples = source.__getitems__(range(start, min(start + CHUNK, num)))
                for i, example in enumerate(examples, start):
                    picture = Image.open(io.BytesIO(example["image"]))
                    images[i] = convert_picture(picture, shape[:2] if size else None, shape[2])
                    if label:
                        labels[i] = example[label]
                bar.update(len(examples))
    except Exception as error:  # array_record, tfds and Pillow each have their own
        raise ValueError(
            f"expected {name} {split} as its dataset_info.json and features.json declare it in {folder}, "
            f"which cannot be read ({one_line(error)}): remove that folder and prepare it anew"
        ) from error
    if num != num_wanted:
        subset = "%s in %s is a subset: %d of %d %s examples"
        logging.getLogger(__name__).warning(subset, name, folder, num, num_wanted, split)
    return images, labels


def _import_tfds():
    try:
        import array_record  # noqa: F401  (missing where it has no wheel; tfds itself imports it late)
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(
            f"tensorflow-datasets with array_record is needed for this dataset ({error}): pip install 'gon_jax[data]'"
        ) from error
    return tensorflow_datasets
