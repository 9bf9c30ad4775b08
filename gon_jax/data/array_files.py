"""A user's own files of arrays and sound: `.npy`, `.npz`, HDF5, CSV and WAV."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gon_jax._files import one_line
from gon_jax.data.arrays import READING, ROUNDING, Kind, Reading
from gon_jax.data.conversion import convert_data
from gon_jax.data.image_files import from_pictures
from gon_jax.data.mapped_files import arrays_of, map_arrays, num_bytes_of, open_hdf5
from gon_jax.data.sources import is_source, num_bytes
from gon_jax.data.splits import Split, class_numbers, read_keys
from gon_jax.memory import check_memory, memory_limit

__all__ = ["ARRAY_SUFFIXES", "SOUND_SUFFIXES", "Parts", "convert_parts", "read_arrays", "read_sound"]

ARRAY_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".csv")
SOUND_SUFFIXES = (".wav",)
MISSING = ("", "na", "nan", "null", "none", "?")  # cells of a CSV file
LABEL_COLUMNS = ("label", "class", "target", "y")  # of a CSV file


class Parts(NamedTuple):
    """The parts of some data by name, "" for data whose parts are not apart; and what `Dataset` says of them."""

    parts: dict[str, Split]
    kind: Kind
    class_names: tuple[str, ...] | None
    notes: list[str]
    samples_per_second: int | None = None


def convert_parts(given: Mapping[str, tuple[Any, Any]], source: Any, reading: Reading = READING) -> Parts:
    """Return parts, `{name: (data, labels)}`, as `load` keeps them; see `convert_data` and `class_numbers`.

    Sources are read into memory, unless together they are larger than the limit: then they stay sources.

    Raises:
        ValueError: as those two do; parts of different shapes or kinds; labels that are not one per example.
    """
    parts, kinds, notes = {}, {}, []
    size = sum(num_bytes(data) for data, _ in given.values() if is_source(data))
    if large := size > memory_limit(reading.memory_limit):
        notes.append(f"{source}: {size / 1e9:.3g} GB, read as needed")
    for part, (data, _) in given.items():
        where = f"{source}, {part}" if part and len(given) > 1 else source
        if is_source(data) and not large:
            data = np.asarray(data)
        pictures = data if is_source(data) else from_pictures(data, reading)
        choices = reading if pictures is data else reading._replace(value_range=None)  # which they have followed
        parts[part], kinds[part], more = convert_data(pictures, where, choices)
        notes += [note for note in more if note not in notes]
    first = next(iter(parts))
    for part, data in parts.items():
        if data.shape[1:] != parts[first].shape[1:] or kinds[part] != kinds[first]:
            raise ValueError(
                f"expected examples of one shape, got {list(parts[first].shape[1:])} in {first} and "
                f"{list(data.shape[1:])} in {part} (in {source})"
            )
    labels, class_names = class_numbers({part: labels for part, (_, labels) in given.items()}, source)
    for part, values in labels.items():
        if values is not None and len(values) != len(parts[part]):
            raise ValueError(
                f"expected integer or string labels [{len(parts[part])}], one per example, got {len(values)} (labels "
                f"of {part or 'all examples'} in {source})"
            )
    if class_names is not None:
        notes.append(f"labels are numbered in sorted order: {_few(class_names)}")
    return Parts({part: Split(data, labels[part]) for part, data in parts.items()}, kinds[first], class_names, notes)


def read_arrays(path: Path, reading: Reading = READING) -> Parts:
    """Return the parts in a file of arrays or sound.

    Arrays are named images or x, with labels or y; or x_train, y_train, x_val, x_test and so on, in many spellings
    (see `read_keys`). In a CSV file every row is an example of a table; a column of words, or one that is named label,
    class, target or y, holds labels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is none of these, or cannot be read; as `convert_parts` does.
    """
    suffix = path.suffix.lower()
    if suffix not in ARRAY_SUFFIXES + SOUND_SUFFIXES:
        known = " ".join(ARRAY_SUFFIXES)
        raise ValueError(
            f"expected a file of arrays ({known}) or a folder, got {path}: give the folder a picture is in"
        )
    if not path.exists():
        raise FileNotFoundError(f"expected a file of data, got {path}, which does not exist: check it")
    if not path.is_file():  # a pipe, which might never end
        raise ValueError(f"expected a file of data, got {path}, which is none")
    if suffix in SOUND_SUFFIXES:
        sound, rate = read_sound(path)
        return convert_parts({"": (sound[None], None)}, path, reading)._replace(samples_per_second=rate)
    try:
        if suffix == ".csv":
            check_memory(20 * path.stat().st_size, f"the table of {path}", "give a part of it, or convert it to .npy")
            arrays = _read_csv(path)
        elif num_bytes_of(path) > memory_limit(reading.memory_limit):
            arrays = map_arrays(path, reading.memory_limit)
        else:
            arrays = _read_numpy(path) if suffix in (".npy", ".npz") else _read_hdf5(path)
    except ImportError:
        raise
    except Exception as error:  # NumPy, zipfile, csv and h5py raise many kinds for a damaged file
        if "to fit into memory" in str(error) or "not compressed" in str(error):
            raise
        raise ValueError(f"expected numbers in {path}, which cannot be read ({one_line(error)})") from error
    found, others = read_keys(arrays, path)
    given = {part: (arrays[keys["data"]], arrays.get(keys.get("labels", ""))) for part, keys in found.items()}
    parts = convert_parts(given, path, reading)
    names = ", ".join(f"{name} {list(arrays[name].shape)}" for name in others)
    return parts._replace(
        notes=parts.notes + ([f"{path}: left out, being neither data nor labels: {names}"] * bool(names))
    )


def _read_numpy(path):
    """Return the arrays of a file by name."""
    with open(path, "rb") as file:
        loaded = np.load(file)
        return dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {"images": loaded}


def _read_hdf5(path):
    with open_hdf5(path) as file:
        return {name: np.asarray(item[()]) for name, item in arrays_of(file).items()}


def _read_csv(path):
    """Return a table's numbers and labels."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        text = file.read()
    found_first = [sep for sep in ",;\t" if sep in text.partition("\n")[0]] or [","]
    tables = {sep: [row for row in csv.reader(io.StringIO(text), delimiter=sep) if row] for sep in found_first}
    regular = [sep for sep, rows in tables.items() if len({len(row) for row in rows}) == 1 < len(rows[0])]
    if len(regular) > 1:
        found = " and ".join(map(repr, regular))
        raise ValueError(f"expected one separator, got rows of one length by {found}: write decimals with a point")
    rows = [[cell.strip() for cell in row] for row in tables[(regular or found_first)[0]]]
    if not rows or len({len(row) for row in rows}) > 1:
        widths = sorted({len(row) for row in rows})
        raise ValueError(f"expected rows of one length, got lengths {', '.join(map(str, widths)) or 'of nothing'}")
    header = rows.pop(0) if _is_header(*rows) else [f"column {i + 1}" for i in range(len(rows[0]))]
    if not rows:
        raise ValueError(f"expected rows of numbers, got the names {', '.join(header)} alone")
    columns = dict(enumerate(zip(*rows, strict=True)))
    words = [i for i, column in columns.items() if not all(map(_is_number, column))]
    chosen = [i for i, name in enumerate(header) if name.lower() in LABEL_COLUMNS] or words
    for i in words:  # one bad cell among numbers does not make a column a label's
        wrong = [row for row, cell in enumerate(columns[i]) if not _is_number(cell)]
        if header[i].lower() not in LABEL_COLUMNS and 2 * len(wrong) < len(columns[i]):
            raise ValueError(
                f"expected numbers or words in {header[i]}, got {columns[i][wrong[0]]!r} among numbers, in row "
                f"{wrong[0] + 1} of {len(rows)}: mend {'it' if len(wrong) == 1 else f'these {len(wrong)} cells'}, or "
                f"name the column {' or '.join(LABEL_COLUMNS)} if these are labels"
            )
    if len(chosen) > 1 or set(words) - set(chosen):
        got = ", ".join(header[i] for i in sorted({*chosen, *words}))
        raise ValueError(
            f"expected numbers, and one column of words or named {' '.join(LABEL_COLUMNS)}, got {got}: drop the others"
        )
    labels = {"labels": _labels(columns.pop(chosen[0]))} if chosen else {}
    if not columns:
        raise ValueError(f"expected columns of numbers, got {', '.join(header)}: is the separator a comma?")
    table = [[np.nan if cell.lower() in MISSING else float(cell) for cell in column] for column in columns.values()]
    return {"x": np.array(table, np.float64).T} | labels


def _is_header(first, *others):
    """Return whether the first row are names: a label's, a word above numbers, or 0, 1, ... beside a word."""
    words = [i for i, cell in enumerate(first) if not _is_number(cell)]
    if any(first[i].lower() in LABEL_COLUMNS for i in words):
        return True
    if any(all(_is_number(row[i]) for row in others) for i in words):
        return True
    return bool(words) and len(words) < len(first) and all(c == str(i) for i, c in enumerate(first) if i not in words)


def _labels(column):
    """Return a column's labels, whole numbers or words."""
    if missing := [i + 1 for i, cell in enumerate(column) if cell.lower() in MISSING]:
        raise ValueError(f"expected a label in each row, got none in row {missing[0]}: leave out what has no label")
    if not all(map(_is_number, column)):
        return np.array(column, str)
    try:
        return np.array(column, np.int64)
    except ValueError:
        got = "got fractions: rename the column, or drop it"
        raise ValueError(f"expected words or whole numbers as labels, {got}") from None


def _is_number(cell):
    """Return whether a cell holds a number, or nothing: that is refused with its row, as what is not finite."""
    try:
        float(cell)
    except ValueError:
        return cell.lower() in MISSING
    return "_" not in cell  # which Python would pass over


def read_sound(path: Path, contents: bytes | None = None) -> tuple[np.ndarray, int]:
    """Return a WAV file as float32 `[L, C]` in [0, 1], silence at 0.5, and its samples per second.

    Args:
        path: of the file.
        contents: of it, where they are read already.

    Raises:
        ValueError: it cannot be read.
    """
    from scipy.io import wavfile

    try:
        rate, sound = wavfile.read(path if contents is None else io.BytesIO(contents))
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise ValueError(
            f"expected sound, got {path}, which cannot be read ({one_line(error)}): remove or replace it"
        ) from error
    if sound.dtype.kind == "u":  # of 8 bits, silence at 128
        sound = (sound.astype(np.float64) - 128) / 128
    elif sound.dtype.kind == "i":
        sound = sound / -float(np.iinfo(sound.dtype).min)
    if not len(sound):
        raise ValueError(f"expected sound in {path}, got no samples: remove it")
    if not np.abs(sound).max() <= 1 + ROUNDING:  # true of NaN too
        got = f"{sound.min():.4g} to {sound.max():.4g}"
        raise ValueError(f"expected float samples from -1 to 1 in {path}, got {got}: divide them by their largest")
    return (0.5 + 0.5 * np.clip(sound, -1, 1)).reshape(len(sound), -1).astype(np.float32), rate


def _few(names, most=10):
    return ", ".join(f"{number} is {name}" for number, name in enumerate(names[:most])) + (" ..." * (len(names) > most))
