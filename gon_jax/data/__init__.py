"""Data from wherever they are: by name, arrays, folders; an epoch's batches on the device."""

from gon_jax.data.arrays import check_data, resize
from gon_jax.data.batches import epoch_order, to_unit
from gon_jax.data.catalog import NUM_EXAMPLES, missing, prepare, search_path
from gon_jax.data.datasets import DATASETS, Dataset, Split, load, register
from gon_jax.data.degradations import DEGRADATIONS, gray, low_resolution, noisy
from gon_jax.data.folders import read_images

__all__ = [
    "DATASETS",
    "DEGRADATIONS",
    "NUM_EXAMPLES",
    "Dataset",
    "Split",
    "check_data",
    "epoch_order",
    "gray",
    "load",
    "low_resolution",
    "missing",
    "noisy",
    "prepare",
    "read_images",
    "register",
    "resize",
    "search_path",
    "to_unit",
]
