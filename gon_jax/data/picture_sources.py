"""Pictures in files or records as sources, decoded when they are asked for; and a file that keeps them decoded."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax._files import one_line, read_json, write_file, write_json
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
        rows = np.empty((len(places), *self.shape[1:]), np.uint8)
        for row, place in zip(rows, places, strict=True):
            picture = open_picture(self.paths[place], self.reading)
            row[:] = convert_picture(picture, self.shape[1:3], self.shape[3], self.reading)
        return rows

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
        name: what identifies the records, such as name, version and split; of a `fingerprint`, and for messages.
        exact: refuse pictures of another size, in place of resizing them.
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
        exact: bool = False,
    ):
        self.records, self.key, self.reading, self.name, self.exact = records, key, reading, name, exact
        self.shape = (len(records), *data_shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        places = range(len(self))[index] if isinstance(index, slice) else [int(i) for i in index]
        rows = np.empty((len(places), *self.shape[1:]), np.uint8)
        for row, place, record in zip(rows, places, self._read(places), strict=True):
            row[:] = self.decoded(record, place)
        return rows

    def decoded(self, record: Any, place: int) -> np.ndarray:
        """Return the picture in a record; errors name it by its place."""
        where = f"number {place} of {self.name or 'the records'}"
        picture = open_picture(record[self.key], self.reading, where)
        if self.exact and picture.size[::-1] != self.shape[1:3]:
            got = "{1}x{0}".format(*picture.size)
            raise ValueError(
                f"expected pictures of {self.shape[1]}x{self.shape[2]}, got {got} in {where}: prepare anew"
            )
        return convert_picture(picture, self.shape[1:3], self.shape[3], self.reading)

    def column(self, key: str) -> np.ndarray:
        """Return what all records have under another key, such as their labels `[N]`."""
        chunks = (range(start, min(start + CHUNK, len(self))) for start in range(0, len(self), CHUNK))
        return np.array([record[key] for chunk in chunks for record in self._read(chunk)])

    def _read(self, places):
        try:
            return self.records.__getitems__(places)
        except Exception as error:  # array_record and tfds each have their own
            got = f"{self.name or 'some'} that cannot be read ({one_line(error)})"
            raise ValueError(f"expected records, got {got}: prepare them anew") from error

    def fingerprint(self) -> str:
        """Return what changes with the name, the shape and the choices.

        Raises:
            ValueError: the source has no name.
        """
        if self.name is None:
            raise ValueError("expected a name of the records, got None: give RecordSource(..., name=...)")
        return hashlib.sha256(repr((self.name, self.key, self.shape, self.reading)).encode()).hexdigest()


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
