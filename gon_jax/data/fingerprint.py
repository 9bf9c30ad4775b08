"""What identifies the data that a run was trained on: numbers, names and checksums, and what differs between two."""

import zlib
from typing import Any

import numpy as np

from gon_jax.data.sources import is_source, read_in_order
from gon_jax.data.splits import Dataset

__all__ = ["describe_change", "fingerprint"]


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """Return what JSON holds to recognize a dataset: of each part its number, shape, and CRC-32 of all that is in it.

    The checksums of files stand for what is in them, whether their pictures are in memory or not.

    >>> from gon_jax.data.splits import Split
    >>> images = Split(np.zeros((2, 1, 1, 1), np.uint8))
    >>> fingerprint(Dataset("a", images, None, images))["train"]
    {'num': 2, 'shape': [1, 1, 1], 'data': 1104745215, 'labels': None, 'names': None}
    """
    parts: dict[str, Any] = {}
    for name, (data, labels, names, checksums) in dataset.parts().items():
        parts[name] = {
            "num": len(data),
            "shape": list(data.shape[1:]),
            "data": _crc(data if checksums is None else checksums.astype("<u4")),
            "labels": None if labels is None else _crc(labels.astype("<i4")),
            "names": None if names is None else zlib.crc32("\n".join(names).encode(errors="surrogateescape")),
        }
    rate = dataset.samples_per_second  # kept where there is one
    rates = {} if rate is None else {"samples_per_second": rate}
    return parts | {"class_names": None if dataset.class_names is None else list(dataset.class_names)} | rates


def describe_change(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return in a few words how the data of one fingerprint differ from those of another, or None if they are equal.

    >>> describe_change({"test": {"num": 3, "data": 1}}, {"test": {"num": 3, "data": 2}})
    'test: other contents'
    >>> describe_change({"test": {"num": 3}}, {"test": {"num": 4}, "class_names": None})
    'test: 4 examples in place of 3'
    """
    words = {"data": "other contents", "labels": "other labels", "names": "other files", "shape": "another shape"}
    changes = []
    for part in ("train", "validation", "test"):
        old, new = before.get(part), now.get(part)
        if old is None or new is None:
            changes += [] if old == new else [f"{part}: there {'now' if old is None else 'no longer'}"]
        elif old["num"] != new["num"]:
            changes.append(f"{part}: {new['num']} examples in place of {old['num']}")
        elif differing := [word for name, word in words.items() if old.get(name) != new.get(name)]:
            changes.append(f"{part}: {' and '.join(differing)}")
    if before.get("class_names") != now.get("class_names"):
        changes.append(f"classes: {_list(now)} in place of {_list(before)}")
    rates = [values.get("samples_per_second") for values in (now, before)]
    if None not in rates and rates[0] != rates[1]:  # older versions did not keep it
        changes.append(f"sound: {rates[0]} samples per second in place of {rates[1]}")
    return ", ".join(changes) or None


def _list(values):
    names = values.get("class_names")
    return "numbers" if names is None else " ".join(names[:10]) + (" ..." if len(names) > 10 else "")


def _crc(array):
    """Return the CRC-32 of the values of an array or a source, little-endian, a few megabytes at a time."""
    value = 0
    if is_source(array):
        for _, rows in read_in_order(array, "checksum"):
            value = zlib.crc32(np.ascontiguousarray(rows).tobytes(), value)
        return value
    step = max(1, 2**22 // max(1, np.asarray(array[:1]).nbytes))
    for start in range(0, len(array), step):
        value = zlib.crc32(np.ascontiguousarray(array[start : start + step]).tobytes(), value)
    return value
