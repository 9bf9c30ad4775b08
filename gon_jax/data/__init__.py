"""Data from wherever they are: by name, arrays, folders; an epoch's batches on the device."""

from gon_jax.data.arrays import Reading, check_data, resize
from gon_jax.data.batches import epoch_order, to_unit
from gon_jax.data.catalog import NUM_EXAMPLES, missing, prepare, search_path
from gon_jax.data.datasets import DATASETS, from_arrays, load, register
from gon_jax.data.degradations import DEGRADATIONS, gray, low_resolution, noisy
from gon_jax.data.fingerprint import describe_change, fingerprint
from gon_jax.data.folders import read_images
from gon_jax.data.splits import Dataset, Split

__all__ = [
    "DATASETS",
    "DEGRADATIONS",
    "NUM_EXAMPLES",
    "Dataset",
    "Reading",
    "Split",
    "check_data",
    "describe_change",
    "epoch_order",
    "fingerprint",
    "from_arrays",
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
