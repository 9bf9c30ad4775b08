"""Files: written whole or not at all, checked by CRC-32, and their errors in one line."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

__all__ = ["crc32", "one_line", "read_json", "write_file", "write_json", "write_text"]


def write_file(path: str | Path, write_fn: Callable[[BinaryIO], Any]) -> None:
    """Write a file by `write_fn(file)`, and folders above it, atomically: after an error, it is as it was before."""
    partial = Path(f"{path}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:
            write_fn(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    write_file(path, lambda file: file.write(text.encode()))


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON, or raise ValueError if the file holds something else."""
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:  # not JSON, or not UTF-8
        raise ValueError(f"expected JSON in {path}, got something else ({error}); the file is damaged") from error


def crc32(*arrays: Any) -> int:
    """Return the CRC-32 of the bytes of arrays, one after another."""
    return zlib.crc32(b"".join(np.asarray(array).tobytes() for array in arrays))


def one_line(error: BaseException) -> str:
    """Return the type and the message of an error in one line of at most about 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
