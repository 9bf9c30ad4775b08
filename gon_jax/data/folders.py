"""A user's own folders: what is in them, which part and class each file is of, and what of it is read."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gon_jax.data.array_files import ARRAY_SUFFIXES, SOUND_SUFFIXES, Parts, read_arrays
from gon_jax.data.arrays import READING, Kind, Reading, check_data
from gon_jax.data.image_files import convert_picture, image_suffixes, open_picture
from gon_jax.data.many_files import as_pictures, read_many, stack_pictures, stack_sounds, too_many
from gon_jax.data.splits import Split, part_of, take

__all__ = ["Files", "find_files", "printable", "read_folder", "read_images", "read_pictures"]


class Files(NamedTuple):
    """What a folder holds: the files to read, sorted, and a count of the others by why they are left out."""

    paths: list[Path]
    left_out: Counter[str]


def find_files(folder: Path, suffixes: Sequence[str]) -> Files:
    """Find files by their suffixes, in any case, in a folder and all below it, through symbolic links too.

    Hidden files and folders are ignored. Where links lead to a folder twice, it is taken once.

    Raises:
        FileNotFoundError: there is no such file.
    """
    paths: list[Path] = []
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            left_out["in folders that a link leads to again"] += len(files)
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in files:
            path = Path(root, name)
            if name.startswith("."):
                continue
            if not path.exists():
                left_out["broken links"] += 1
            elif not path.is_file():
                left_out["not files"] += 1
            elif path.suffix.lower() in suffixes:
                paths.append(path)
            else:
                left_out[path.suffix.lower() or "without a suffix"] += 1
    if not paths:
        found = f"found only {_count(left_out)}" if left_out else "found none"
        what = "sound (.wav)" if suffixes == SOUND_SUFFIXES else "images (.png, .jpg, .tif, .webp, ...)"
        raise FileNotFoundError(f"expected {what} in {folder}, {found}: check the path")
    return Files(sorted(paths), left_out)


def read_images(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    data_shape: tuple[int, ...] | None = None,
    reading: Reading = READING,
) -> np.ndarray:
    """Read pictures, folders of pictures (recursively, sorted) and files of arrays into one array.

    Pictures are turned as their EXIF says; of a moving one the first frame is read.

    Args:
        paths: a path or a list of paths.
        data_shape: `(H, W, C)` to convert each image to: framed, resized by Pillow's bilinear filter, and turned to
            gray (C = 1) or RGB (C = 3). If None, all must have one size; they are gray if all are, else RGB. For other
            data, and images of other channels, arrays must have this shape.
        reading: choices.

    Returns:
        uint8 `[N, H, W, C]`, in the order of `paths`; or other signals as `load` keeps them.

    Raises:
        FileNotFoundError: a path does not exist, or a folder has no image.
        ValueError: a file cannot be read as images, or sizes differ.
    """
    return read_pictures(paths, data_shape, reading)[0].images


def read_pictures(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    data_shape: tuple[int, ...] | None = None,
    reading: Reading = READING,
    samples_per_second: int | None = None,
) -> tuple[Split, list[str]]:
    """Return what `read_images` does with the names of the files, and what was read and skipped, in sentences.

    `samples_per_second` is that which WAV files must have; where it is not known, a note says theirs.

    Raises:
        ValueError: as `read_images`, and for sound of other samples per second.
    """
    sources = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    if not sources or "" in (paths if not isinstance(paths, str | os.PathLike) else [paths]):
        raise ValueError(f"expected at least one path of images, got {'an empty one' if sources else 'none'}")
    arrays: list[np.ndarray] = []
    names: list[str] = []
    notes: list[str] = []
    pictures = data_shape is None or (len(data_shape) == 3 and data_shape[2] in (1, 3))
    size: Any = data_shape[:2] if pictures and data_shape else None
    channels = data_shape[2] if pictures and data_shape else None
    suffixes = image_suffixes() if pictures else SOUND_SUFFIXES if len(data_shape or ()) == 2 else ()
    kept: list[Any]
    for source in sources:
        if source.is_dir() and suffixes:
            found = find_files(source, suffixes)
            read, kept, _, rate = read_many(found.paths, size, channels, reading, notes)
            notes += _notes(source, len(kept), found.left_out)
        elif source.suffix.lower() in (*ARRAY_SUFFIXES, *SOUND_SUFFIXES):
            read, kept, parts = [], [], read_arrays(source, reading)
            rate = parts.samples_per_second
            for name, part in parts.parts.items():
                data, where = np.asarray(part.images), f"{source}, {name}" if name else str(source)
                if pictures and (data.ndim != 4 or data.shape[3] not in (1, 3)):
                    raise ValueError(
                        f"expected images [N, H, W, 1 or 3], got {list(data.shape)} in {source}: not gray or RGB"
                    )
                read += [_convert_array(image, size, channels, reading) for image in data] if pictures else list(data)
                kept += [f"{where}, number {i}" for i in range(len(data))]
        elif pictures:
            read, kept = [convert_picture(open_picture(source, reading), size, channels, reading)], [source]
            rate = None
        else:
            raise ValueError(
                f"expected arrays of examples {list(data_shape or ())}, got {source}: only images of 1 or 3 channels "
                f"are read from pictures; give a file of arrays ({' '.join(ARRAY_SUFFIXES)})"
            )
        if rate is not None and samples_per_second is None:
            notes.append(f"{source}: {rate} samples per second, which are not known of the training data")
        elif rate != samples_per_second and rate is not None:
            raise ValueError(
                f"expected sound of {samples_per_second} samples per second, got {rate} in {source}: resample it"
            )
        arrays, names = arrays + read, names + [printable(Path(name)) for name in kept]
    data = stack_pictures(arrays, names, "pass data_shape=(H, W, C)") if pictures else np.stack(arrays)
    if not pictures:
        check_data(data, data_shape)
    return Split(data, None, np.array(names)), notes


def read_folder(path: Path, image_size: int | None = None, reading: Reading = READING) -> Parts:
    """Return the parts of a folder of pictures or WAV files, and what was read and left out.

    Folders `train`, `val` and `test`, or synonyms of these in any case, are parts; without them the only part is "".
    Within a part, classes are the immediate subfolders in sorted order, if every file is in one.

    Raises:
        FileNotFoundError: nothing to read.
        ValueError: a part without train, or two folders for one part; what cannot be read.
    """
    try:
        found = find_files(path, image_suffixes())
    except FileNotFoundError as error:
        try:
            found = find_files(path, SOUND_SUFFIXES)
        except FileNotFoundError:
            raise error from None
    places = [file.relative_to(path).parts for file in found.paths]
    tops = sorted({place[0] for place in places if len(place) > 1})
    parts = _parts(path, tops)
    size = None if image_size is None else (image_size, image_size)
    notes: list[str] = []
    data: Any
    outside = Counter("in no folder" if len(place) < 2 else place[0] for place in places) if parts else Counter()
    for top in parts:
        outside.pop(top, None)
    if outside:
        notes.append(f"left out, being in none of {', '.join(parts)}: {_count(outside)}")
    chosen = [i for i, place in enumerate(places) if not parts or place[0] in parts and len(place) > 1]
    files = [found.paths[i] for i in chosen]
    empty = [name for name in _subfolders(path) if part_of(name) and parts and not any(p[0] == name for p in places)]
    if empty:
        raise ValueError(f"expected files in the parts of {path}, got none in {', '.join(empty)}: fill or remove them")
    if found.paths[0].suffix.lower() not in SOUND_SUFFIXES and too_many(files, size, reading):
        data, kept, checksums = as_pictures(files, size, reading, notes)
        rate = None
    else:
        images, kept, checksums, rate = read_many(files, size, None, reading, notes)
        data = stack_pictures(images, kept, "pass image_size") if images[0].ndim == 3 else stack_sounds(images, kept)
    notes = _notes(path, len(kept), found.left_out) + notes
    below = [file.relative_to(path).parts[1 if parts else 0 : -1] for file in kept]
    classes = tuple(sorted({place[0] for place in below if place}))
    labels = None
    if classes and all(below):
        labels = np.array([classes.index(place[0]) for place in below], np.int32)
    elif classes:
        alone = next(file for file, place in zip(kept, below, strict=True) if not place)
        notes.append(f"no labels: {sum(not place for place in below)} files are in no subfolder, such as {alone}")
    names = np.array([printable(file.relative_to(path)) for file in kept])
    split = Split(data, labels, names, checksums)
    part = np.array([parts[name.split("/")[0]] if parts else "" for name in names])
    present = dict.fromkeys(part)  # in order
    if lost := set(parts.values()) - set(present):
        raise ValueError(
            f"expected files that can be read in each part of {path}, got none for {', '.join(sorted(lost))}"
        )
    if twice := len(checksums) - len(np.unique(checksums)):
        notes.append(f"{twice:,} files have the contents of others: of them some may be held out, and some trained on")
    whole = {name: split if len(present) == 1 else take(split, np.flatnonzero(part == name)) for name in present}
    kind: Kind = "images" if data.ndim == 4 else "audio"
    return Parts(whole, kind, classes if labels is not None else None, notes, rate)


def printable(path: Path) -> str:
    """Return a path as text that can be printed and kept, whatever bytes its name has."""
    return os.fsencode(path.as_posix()).decode(errors="replace")


def _subfolders(path):
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))


def _parts(path, folders):
    """Return the part that each of the immediate folders stands for, {} if none of them stands for train."""
    parts = {name: part for name in folders if (part := part_of(name))}
    if parts and "train" not in parts.values():
        raise ValueError(
            f"expected a folder train beside {', '.join(parts)}, got {', '.join(folders)} in {path}: add it, or rename "
            "what is a class and no part"
        )
    if len(set(parts.values())) < len(parts):
        raise ValueError(f"expected one folder for each part, got {', '.join(parts)} in {path}: merge or rename them")
    return parts


def _convert_array(image, size, channels, reading):
    from PIL import Image

    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return convert_picture(picture, size, channels, reading)


def _notes(source, num, left_out):
    return [f"{source}: {num:,} files read" + (f", left out: {_count(left_out)}" if left_out else "")]


def _count(counter):
    return ", ".join(f"{num:,} {why}" for why, num in counter.most_common())
