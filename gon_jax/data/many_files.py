"""Many files of pictures or sound, read by threads into one array; or looked at, to be read when they are needed."""

import io
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gon_jax._files import one_line
from gon_jax.data.array_files import SOUND_SUFFIXES, read_sound
from gon_jax.data.arrays import READING, Reading
from gon_jax.data.image_files import convert_picture, is_gray, num_frames, open_picture
from gon_jax.data.picture_sources import FileSource
from gon_jax.data.sources import View, num_bytes
from gon_jax.memory import memory_limit
from gon_jax.progress import bar

__all__ = ["as_pictures", "read_many", "stack_pictures", "stack_sounds", "too_many"]

FEW = 3  # files that a note names
ORIENTATION = 0x0112  # in EXIF


def too_many(files: Sequence[Path], size: tuple[int, int] | None, reading: Reading) -> bool:
    """Return whether pictures would take more memory than they may; of no given size, as many of the first one's."""
    height, width = size or next((found[0] for found in map(_look_at, files) if found), (0, 0))
    return len(files) * height * width * 3 > memory_limit(reading.memory_limit)


def _look_at(path, reading=READING):
    """Return a picture's height and width, whether it is gray, its checksum and frames, by its header; None without."""
    from PIL import Image

    try:
        contents = path.read_bytes()
        with Image.open(io.BytesIO(contents)) as picture:
            turned = picture.getexif().get(ORIENTATION, 1) >= 5  # by 90 degrees
            shape = picture.size if turned else picture.size[::-1]
            return shape, is_gray(picture, reading), zlib.crc32(contents), num_frames(contents)
    except Exception as error:  # Pillow's plugins raise many kinds for a damaged file
        if reading.on_error == "stop":
            raise ValueError(f"expected an image, got {path}, which cannot be read ({one_line(error)})") from error
        return None


def as_pictures(
    files: Sequence[Path], size: tuple[int, int] | None, reading: Reading, notes: list[str]
) -> tuple[View, list[Path], np.ndarray]:
    """Return pictures as a source, which decodes them when needed; paths and checksums of those with a header."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda path: _look_at(path, reading), files)
        seen = dict(zip(files, bar(found, "look at files", total=len(files), delay=2), strict=True))
    kept = {path: found for path, found in seen.items() if found}
    shapes = [shape for shape, *_ in kept.values()]
    new_height, new_width = size or _one_size(shapes, [*kept], "pass image_size")
    if framed := sum(width * new_height != height * new_width for height, width in shapes):
        notes.append(_framed(framed, reading))
    if moving := [path for path, (*_, frames) in kept.items() if frames > 1]:
        notes.append(_moving(moving))
    if len(kept) < len(files):
        notes.append(_damaged([path for path, found in seen.items() if not found]))
    gray = all(is_it for _, is_it, *_ in kept.values())
    source = FileSource([*kept], (new_height, new_width, 1 if gray else 3), reading)
    notes.append(f"{num_bytes(source) / 1e9:.3g} GB of pixels, read as needed")
    return View(source), [*kept], np.array([checksum for *_, checksum, _ in kept.values()], np.uint32)


def _framed(num, reading):
    return f"{num:,} of another aspect ratio, framed by {reading.framing!r}"


def _moving(paths):
    return f"{len(paths):,} of several frames, of which the first is read, such as {paths[0]}"


def _damaged(paths):
    some = ", ".join(map(str, paths[:FEW])) + (" ..." if len(paths) > FEW else "")
    return f"{len(paths)} damaged, skipped: {some}"


def read_many(
    paths: Sequence[Path], size: tuple[int, int] | None, channels: int | None, reading: Reading, notes: list[str]
) -> tuple[list[np.ndarray], list[Path], np.ndarray, int | None]:
    """Return the arrays of many files, read by threads in order; paths and checksums of those that could be read.

    And the samples per second of sound, None of pictures.
    """
    rates: dict[int, Path] = {}
    framed: list[Path] = []
    moving: list[Path] = []

    def read(path):
        contents = path.read_bytes()
        if path.suffix.lower() in SOUND_SUFFIXES:
            sound, rate = read_sound(path, contents)
            rates.setdefault(rate, path)
            return sound, zlib.crc32(contents)
        picture = open_picture(contents, reading, path)
        if num_frames(contents) > 1:
            moving.append(path)
        if size is not None and picture.width * size[0] != picture.height * size[1]:
            framed.append(path)
        return convert_picture(picture, size, channels, reading), zlib.crc32(contents)

    arrays, kept, checksums, damaged = [], [], [], {}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        futures = [threads.submit(read, path) for path in paths]
        shown = bar(zip(paths, futures, strict=True), "read files", total=len(paths), delay=2)
        try:
            for path, future in shown:
                if (error := future.exception()) is None:
                    array, checksum = future.result()
                    arrays.append(array)
                    kept.append(path)
                    checksums.append(checksum)
                elif reading.on_error == "stop" or "which cannot be read" not in str(error):
                    raise error
                else:
                    damaged[path] = error
        finally:  # an error, or Ctrl-C: what has not begun never does
            threads.shutdown(wait=False, cancel_futures=True)
    if not kept:
        raise next(iter(damaged.values()))
    if len(rates) > 1:
        got = " and ".join(f"{rate} ({path})" for rate, path in sorted(rates.items()))
        raise ValueError(f"expected one number of samples per second, got {got}: convert the sounds")
    if framed:
        notes.append(_framed(len(framed), reading))
    if moving:
        notes.append(_moving(sorted(moving)))
    if damaged:
        notes.append(_damaged([*damaged]))
    return arrays, kept, np.array(checksums, np.uint32), next(iter(rates), None)


def stack_pictures(images: Sequence[np.ndarray], places: Sequence[Any], remedy: str) -> np.ndarray:
    """Return one array `[N, H, W, C]`; gray images among colored ones get equal channels."""
    size = _one_size([image.shape[:2] for image in images], places, remedy)
    shape = (*size, max(image.shape[2] for image in images))
    stacked = np.empty((len(images), *shape), np.uint8)
    for i, image in enumerate(images):
        stacked[i] = image
    return stacked


def _one_size(shapes, places, remedy):
    """Return the height and width that all images have, or say which have others."""
    sizes = {"{}x{}".format(*shape): place for shape, place in zip(shapes[::-1], places[::-1], strict=True)}
    if len(sizes) > 1:
        got = " and ".join(f"{size} ({place})" for size, place in reversed(sizes.items()))
        raise ValueError(f"expected images of one size, got {got}: {remedy}")
    height, width = shapes[0]
    return height, width


def stack_sounds(sounds: Sequence[np.ndarray], places: Sequence[Any]) -> np.ndarray:
    """Return one array `[N, L, C]` of sounds of one length."""
    for sound, place in zip(sounds, places, strict=True):
        if sound.shape != sounds[0].shape:
            got = f"{list(sounds[0].shape)} ({places[0]}) and {list(sound.shape)} ({place})"
            raise ValueError(f"expected sounds of one length and number of channels, got {got}: cut or pad them")
    return np.stack(sounds)
