"""Pictures that training reads many times, decoded once: into files of a folder, if its disk has room for them."""

import os
import shutil
from pathlib import Path
from typing import Any

from gon_jax.data.picture_sources import FileSource, RecordSource, cached
from gon_jax.data.sources import View, num_bytes
from gon_jax.data.splits import Dataset, Split

__all__ = ["decode_once", "has_room", "remove_decoded", "to_decode"]

NAME = "decoded-{}.npy"


def to_decode(dataset: Dataset) -> list[FileSource | RecordSource]:
    """Return the sources that training decodes pictures of: of the training and validation examples."""
    parts = [part for part in (dataset.train, dataset.validation) if part is not None]
    views = [part.images for part in parts if isinstance(part.images, View)]
    found = {id(view.source): view.source for view in views}
    return [source for source in found.values() if isinstance(source, FileSource | RecordSource)]


def has_room(sources: list[Any], folder: Path) -> bool:
    """Return whether decoded pictures take at most half of what is free on the disk of a folder, to be made or there.

    What is there of them already counts as free.
    """
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    there = sum(path.stat().st_size for path in folder.glob(NAME.format("*")))
    return 2 * sum(map(num_bytes, sources)) <= shutil.disk_usage(place).free + 2 * there


def decode_once(dataset: Dataset, folder: Path, *, progress: bool = False) -> tuple[Dataset, str | None]:
    """Return a dataset whose pictures are decoded into files of a folder, and what was done in one line.

    The files are written at the first call, and anew where the pictures have changed, as `cached` does. Where the disk
    has no room, the dataset stays as it is; the line is None where there is nothing to decode.

    Args:
        dataset: any.
        folder: of the files, which is this process's own.
        progress: show a progress bar.

    Raises:
        ValueError: a picture that cannot be read, by its name.
        OSError: the files cannot be written.
    """
    sources = to_decode(dataset)
    if not sources:
        return dataset, None
    size = sum(map(num_bytes, sources)) / 1e9
    if not has_room(sources, folder):
        remove_decoded(folder)
        return dataset, f"pictures are decoded in every epoch: decoded, {size:.3g} GB, they take over half of the disk"
    for partial in folder.glob(f".{NAME.format('*')}*"):  # of a process that was killed
        partial.unlink()
    label = "decode" if progress else None
    kept = {id(source): cached(source, folder / NAME.format(i), progress=label) for i, source in enumerate(sources)}

    def replaced(part: Split | None) -> Any:
        images: Any = None if part is None else part.images
        if part is None or id(getattr(images, "source", None)) not in kept:
            return part
        return part._replace(images=View(kept[id(images.source)], images.index))

    parts = {name: replaced(getattr(dataset, name)) for name in ("train", "validation", "test")}
    where = os.path.join(folder, NAME.format("*"))
    line = f"pictures are decoded once, into {where}, {size:.3g} GB, which are removed when training is finished"
    return dataset._replace(**parts), line


def remove_decoded(folder: Path) -> None:
    """Remove the files that `decode_once` wrote."""
    for pattern in (f"{NAME.format('*')}*", f".{NAME.format('*')}*"):
        for path in folder.glob(pattern):
            path.unlink()
