"""Files of arrays without reading them: how large their arrays are, and the arrays left in the file, as sources."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax.memory import check_memory

__all__ = ["arrays_of", "map_arrays", "num_bytes_of", "open_hdf5"]

CHUNK = 2**24  # bytes whose checksum is computed at once


def num_bytes_of(path: Path) -> int:
    """Return how many bytes the arrays of a `.npy`, `.npz` or HDF5 file take, by their headers.

    Raises:
        ValueError: a header claims more than the file holds.
    """
    if path.suffix.lower() == ".npy":
        with open(path, "rb") as file:
            return _num_bytes(*_read_header(file, path.stat().st_size)[::2])
    if path.suffix.lower() == ".npz":
        with zipfile.ZipFile(path) as archive:
            return sum(_num_bytes(*_header_of(archive, info)[::2]) for info in archive.infolist())
    with open_hdf5(path) as file:
        return sum(_num_bytes(item.shape, item.dtype) for item in arrays_of(file).values())


def map_arrays(path: Path, limit: int | None = None) -> dict[str, Any]:
    """Return the arrays of a `.npy`, `.npz` or HDF5 file by name, left in the file: memory maps and HDF5 datasets.

    An uncompressed member of an `.npz` is mapped where it lies in the file, once its CRC-32 is found to be right.
    Compressed ones are read.

    Args:
        path: of the file.
        limit: most bytes to read of compressed members; by default the memory that is free.

    Raises:
        ValueError: compressed members of more bytes, or Python objects.
        zipfile.BadZipFile: a member is damaged.
    """
    if path.suffix.lower() == ".npy":
        return {"images": np.load(path, mmap_mode="r")}
    if path.suffix.lower() != ".npz":
        return dict(arrays_of(open_hdf5(path)))  # the file is closed with the last of them
    arrays: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        packed = [info for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        size = sum(_num_bytes(*_header_of(archive, info)[::2]) for info in packed)
        remedy = "store them with numpy.savez, not compressed, or as .npy: they are then read as needed"
        check_memory(size, f"the arrays of {path}", remedy)
        if limit is not None and size > limit:
            raise ValueError(
                f"expected arrays that are not compressed, to be read as needed, got {size / 1e9:.3g} GB compressed in "
                f"{path}: store them with numpy.savez or as .npy, or give a higher memory_limit"
            )
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as member:
                if info in packed:
                    arrays[name] = np.lib.format.read_array(member)
                    continue
                while member.read(CHUNK):  # which raises at the end if the checksum is another
                    pass
            arrays[name] = _map_member(path, archive, info)
    return arrays


def _map_member(path, archive, info):
    """Return a memory map of an uncompressed member of an `.npz`."""
    shape, fortran_order, dtype = _header_of(archive, info)
    if dtype.hasobject:  # its bytes would be taken for addresses; NumPy refuses this in the other ways to read
        raise ValueError(
            f"expected numbers or words in {info.filename}, got objects of Python: give them another dtype"
        )
    with archive.open(info) as member:
        _read_header(member, info.file_size)
        length = member.tell()
    if 0 in shape:
        return np.empty(shape, dtype)
    with open(path, "rb") as file:
        file.seek(info.header_offset + 26)  # of the local header, which ends with a name and more, of these lengths
        start = info.header_offset + 30 + sum(np.frombuffer(file.read(4), "<u2").tolist())
    order = "F" if fortran_order else "C"
    return np.memmap(path, dtype, "r", start + length, shape, order)


def _header_of(archive, info):
    with archive.open(info) as member:
        return _read_header(member, info.file_size)


def _read_header(file, num_bytes):
    """Return shape, whether the order is Fortran's, and type of an array, by the header of its file."""
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    claimed = _num_bytes(shape, dtype)
    if claimed > num_bytes:
        raise ValueError(
            f"expected an array {list(shape)} of {claimed:,} bytes, got {num_bytes:,}: the file is damaged"
        )
    return shape, fortran_order, dtype


def _num_bytes(shape, dtype):
    return math.prod(shape) * dtype.itemsize


def open_hdf5(path: Path) -> Any:
    """Return an HDF5 file, open to read.

    Raises:
        ImportError: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"expected h5py to read {path}, got {error}: pip install h5py") from error
    return h5py.File(path)


def arrays_of(file: Any) -> dict[str, Any]:
    """Return the arrays of an HDF5 file by name, not read yet."""
    arrays = {}

    def keep(name, item):
        if getattr(item, "shape", None) is not None:  # a group has none, and what is empty neither
            arrays[name] = item

    file.visititems(keep)
    return arrays
