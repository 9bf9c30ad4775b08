"""Files: written whole or not at all, checked by their fields and by CRC-32, and their errors in one line."""

import contextlib
import errno
import json
import math
import os
import typing
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "check_fields",
    "crc32",
    "one_line",
    "read_json",
    "sealed",
    "unsealed",
    "write_file",
    "write_json",
    "write_text",
]


def write_file(path: str | Path, write_fn: Callable[[BinaryIO], Any]) -> None:
    """Write a file by `write_fn(file)`, and folders above it, atomically: after an error, it is as it was before.

    Raises:
        OSError: with the name of the file; whatever `write_fn` raises.
    """
    path = Path(os.path.realpath(path))  # a link stays, and what it leads to is written
    partial = path.with_name(f".{path.name[:200]}.{os.getpid()}.partial")
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write_fn(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        remedy = "make room" if error.errno == errno.ENOSPC else "check the path and the rights"
        got = f"{error.strerror or one_line(error)}: {remedy}; what was there is as it was before"
        raise OSError(error.errno, f"expected to write {path}, got {got}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    write_file(path, lambda file: file.write(text.encode(errors="replace")))


def write_json(path: str | Path, content: Any) -> None:
    """Write indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON, or raise ValueError if the file holds something else."""
    if Path(path).exists() and not Path(path).is_file():  # a pipe, which might never end
        raise ValueError(f"expected JSON in {path}, got what is no file")
    try:
        return json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:  # not JSON, or not UTF-8; or brackets without end
        raise ValueError(f"expected JSON in {path}, got something else ({error}); the file is damaged") from error


def check_fields(values: Any, fields: dict[str, Any], where: str | Path) -> dict[str, Any]:
    """Return a JSON object whose fields have the types that are expected of them; it may have more.

    Args:
        values: as JSON was read.
        fields: name to a type, `X | Y` for several; `None` among them admits a field that is missing, and `float` any
            finite number.
        where: it was read, for the message.

    Raises:
        ValueError: it is no object, or the first field that has another type.

    >>> check_fields({"step": "3"}, {"step": int}, "metrics.jsonl, line 1")
    Traceback (most recent call last):
    ValueError: expected "step" of type int in metrics.jsonl, line 1, got '3'; the file is damaged or of another program
    """
    why = "the file is damaged or of another program"
    if not isinstance(values, dict):
        raise ValueError(f"expected an object of JSON in {where}, got {_short(values)}; {why}")
    for name, kind in fields.items():
        kinds, value = typing.get_args(kind) or (kind,), values.get(name)
        admitted = (*kinds, int) if float in kinds else kinds
        fits = isinstance(value, admitted) and (not isinstance(value, bool) or bool in kinds)
        if not fits or (isinstance(value, float) and not math.isfinite(value)) or _is_huge(value):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            got = _short(value) if name in values else "nothing"
            raise ValueError(f'expected "{name}" of type {expected} in {where}, got {got}; {why}')
    return values


def _is_huge(value):
    return isinstance(value, int) and abs(value) >= 2**63


def _short(value):
    return repr(value) if len(repr(value)) < 60 else f"{repr(value)[:50]} ..."


def sealed(values: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its own CRC-32 as "crc32"."""
    return values | {"crc32": _crc32_of(values)}


def unsealed(values: dict[str, Any], where: str | Path) -> dict[str, Any]:
    """Return what `sealed` was given; an object without a CRC-32, as older versions wrote it, as it is.

    Raises:
        ValueError: the object has changed since.

    >>> unsealed(sealed({"seed": 1}) | {"seed": 2}, "config.json")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: expected config.json as it was written, got other contents (by its "crc32"); restore it, or remove ...
    """
    rest = {name: value for name, value in values.items() if name != "crc32"}
    if values.get("crc32", (crc := _crc32_of(rest))) != crc:
        remedy = 'restore it, or remove its "crc32" if the change is meant'
        raise ValueError(f'expected {where} as it was written, got other contents (by its "crc32"); {remedy}')
    return rest


def _crc32_of(values):
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def crc32(*arrays: Any) -> int:
    """Return the CRC-32 of the bytes of arrays, one after another."""
    import numpy as np

    return zlib.crc32(b"".join(np.asarray(array).tobytes() for array in arrays))


def one_line(error: BaseException) -> str:
    """Return the type and the message of an error in one line of at most about 300 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
