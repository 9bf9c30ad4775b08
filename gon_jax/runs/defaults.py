"""Options that suit the data, where the user has given none: a table of docs/data.md says how they were measured."""

import dataclasses
import statistics
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gon_jax.data import Dataset
from gon_jax.data.datasets import is_path
from gon_jax.data.folders import find_files
from gon_jax.data.image_files import image_suffixes
from gon_jax.runs.config import Config, DataConfig

__all__ = ["MINUTES", "suited", "suited_data", "suited_options"]

MINUTES = 5.0  # of training, where neither minutes nor steps are given
SIZES = (32, 64)  # of pictures in folders
LOOKED_AT = 50  # pictures, for their size


def suited(config: Config, given: Collection[str]) -> tuple[Config, Dataset]:
    """Return a configuration with options that suit its dataset, and the dataset, whose first note says which.

    Args:
        config: what the user has given, and defaults.
        given: the flat names of what the user has given: these stay.
    """
    data = config.data if "image_size" in given else suited_data(config.data)
    dataset = data.load()
    options = suited_options(dataset)
    if set(given) & (vars(config.network).keys() | {"network"}):  # a network was chosen, if not by its name
        options = {name: value for name, value in options.items() if name not in ("network", "hidden_dim")}
    chosen = {"image_size": data.image_size} | options
    chosen = {name: value for name, value in chosen.items() if name not in given}
    kept = {name: value for name, value in config.options().items() if name in given and name == "step_size"}
    words = " ".join(f"--{name.replace('_', '-')} {_word(value)}" for name, value in chosen.items())
    notes = (f"chosen for these data: {words}",) if chosen else ()
    return config.replace(**chosen, **kept), dataset._replace(notes=(*notes, *dataset.notes))


def _word(value):
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def suited_data(data: DataConfig) -> DataConfig:
    """Return how to load a dataset whose `image_size` nobody has given: pictures in folders at 32 or 64, arrays as is.

    Pictures of which half are at least 64 pixels high and wide become 64x64, smaller ones 32x32.
    """
    path = Path(data.dataset).expanduser()
    if not is_path(data.dataset):
        return data
    size = None
    if path.is_dir():
        try:
            files = find_files(path, image_suffixes()).paths
        except FileNotFoundError:  # sounds, or nothing: told when they are loaded
            return dataclasses.replace(data, image_size=None)
        sides = [side for side in map(_shorter_side, files[:: max(1, len(files) // LOOKED_AT)]) if side]
        size = SIZES[1] if sides and statistics.median(sides) >= SIZES[1] else SIZES[0]
    return dataclasses.replace(data, image_size=size)


def _shorter_side(path):
    """Return the shorter side of a picture in pixels, by its header; 0 for a damaged file."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return min(picture.size)
    except Exception:  # Pillow's plugins raise many kinds
        return 0


def suited_options(dataset: Dataset) -> dict[str, Any]:
    """Return options of a model and its training that suit a dataset, by their flat names.

    >>> import numpy as np
    >>> from gon_jax.data import from_arrays
    >>> suited_options(from_arrays(np.zeros((2000, 32, 32, 3), np.uint8)))["latent_shape"]
    (64,)
    """
    x = dataset.train.images
    num, size = len(x), x[0].size
    latent_size = next((k for k in (256, 128, 64, 32, 16, 8, 4, 2) if 20 * k <= num and 4 * k <= size), 1)
    options: dict[str, Any] = {
        "latent_shape": (latent_size,),
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "batch_size": min(64, max(1, num // 4)),
    }
    height, width = x.shape[1:3] if x.ndim == 4 else (0, 1)
    square = height == width and height in (8, 16, 32, 64, 128, 256)
    if dataset.kind in ("table", "points"):
        options["network"] = "mlp"
    elif dataset.kind != "images" or not square:
        options |= {"network": "modulated_siren", "hidden_dim": 128, "learning_rate": 3e-4}
    return options
