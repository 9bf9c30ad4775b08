"""Pictures in files or records as sources, decoded when they are asked for; and a file that keeps them decoded."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax._files import read_json, write_file, write_json
from gon_jax.data.arrays import READING, Reading
from gon_jax.data.image_files import convert_picture, open_picture
from gon_jax.data.sources import CHUNK, read_in_order

__all__ = ["FileSource", "RecordSource", "cached"]


class FileSource:
    """Pictures in files, decoded when they are asked for: uint8 `[N, H, W, C]`.

    Args:
        paths: of the pictures.
        data_shape: `(H, W, C)`, C 1 or 3, to which each is framed and resized, as `read_images` does.
        reading: choices.

    Reading raises ValueError for a file that cannot be read, with its name.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], data_shape: tuple[int, int, int], reading: Reading = READING
    ):
        if len(data_shape) != 3 or data_shape[2] not in (1, 3):
            raise ValueError(f"expected data_shape (H, W, 1) or (H, W, 3) of pictures, got {tuple(data_shape)}")
        if not len(paths):
            raise ValueError("expected at least one path of a picture, got none: check the folder")
        self.paths, self.reading, self.shape = list(paths), reading, (len(paths), *data_shape)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> np.ndarray:
        places = range(len(self))[index] if isinstance(index, slice) else index
        return _decode((self.paths[i] for i in places), len(places), self.shape[1:], self.reading)

    def fingerprint(self) -> str:
        """Return what changes with the files (by name, size and time of change), their shape and the choices."""
        digest = hashlib.sha256(repr((self.shape, self.reading)).encode())
        for path in self.paths:
            stat = os.stat(path)
            digest.update(f"{os.fspath(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()


class RecordSource:
    """Pictures in records, decoded when they are asked for: uint8 `[N, H, W, C]`.

    Args:
        records: a data source of tensorflow-datasets, `builder.as_data_source(split, decoders={key: SkipDecoding()})`,
            or whatever else has a length and `__getitems__(indices) -> [{key: bytes, ...}, ...]`.
        key: of the picture in a record, an encoded file.
        data_shape, reading: as for `FileSource`.
        name: what identifies the records, such as name, version and split; of a `fingerprint`.
    """

    dtype = np.dtype(np.uint8)

    def __init__(
        self,
        records: Any,
        key: str,
        data_shape: tuple[int, int, int],
        reading: Reading = READING,
        *,
        name: str | None = None,
    ):
        self.records, self.key, self.reading, self.name = records, key, reading, name
        self.shape = (len(records), *data_shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        places = range(len(self))[index] if isinstance(index, slice) else [int(i) for i in index]
        examples = self.records.__getitems__(places)
        return _decode((example[self.key] for example in examples), len(places), self.shape[1:], self.reading)

    def column(self, key: str) -> np.ndarray:
        """Return what all records have under another key, such as their labels `[N]`."""
        chunks = (range(start, min(start + CHUNK, len(self))) for start in range(0, len(self), CHUNK))
        return np.array([record[key] for chunk in chunks for record in self.records.__getitems__(chunk)])

    def fingerprint(self) -> str:
        """Return what changes with the name, the shape and the choices.

        Raises:
            ValueError: the source has no name.
        """
        if self.name is None:
            raise ValueError("expected a name of the records, got None: give RecordSource(..., name=...)")
        return hashlib.sha256(repr((self.name, self.key, self.shape, self.reading)).encode()).hexdigest()


def _decode(pictures, num, data_shape, reading):
    """Return pictures, paths or contents of files, as one array."""
    decoded = np.empty((num, *data_shape), np.uint8)
    for i, picture in enumerate(pictures):
        decoded[i] = convert_picture(open_picture(picture, reading), data_shape[:2], data_shape[2], reading)
    return decoded


def cached(source: Any, path: str | os.PathLike[str], *, progress: str | None = None) -> np.ndarray:
    """Return a memory map of a file that holds a source's examples, decoded; it is written at the first call.

    It is written whole or not at all, and anew where `source.fingerprint()` has changed: `PATH.json` keeps it.

    Args:
        source: a `FileSource` or `RecordSource`.
        path: of the file, `.npy`.
        progress: as above.
    """
    path, now = Path(path), {"shape": list(source.shape), "fingerprint": source.fingerprint()}
    kept = Path(f"{path}.json")
    try:
        if read_json(kept) == now:
            return np.load(path, mmap_mode="r")
    except (OSError, ValueError):  # none, or damaged
        pass

    def write(file):
        header = {"descr": np.lib.format.dtype_to_descr(source.dtype), "fortran_order": False, "shape": source.shape}
        np.lib.format.write_array_header_2_0(file, header)
        for _, rows in read_in_order(source, progress):
            file.write(np.ascontiguousarray(rows).data)

    own = Path(f"{path}.{os.getpid()}")  # two processes may write at once
    write_file(own, write)
    kept.unlink(missing_ok=True)
    own.replace(path)
    write_json(kept, now)
    return np.load(path, mmap_mode="r")
