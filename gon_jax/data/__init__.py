"""Images and other signals from wherever they are: by name, arrays, folders; an epoch's batches on the device."""

from gon_jax.data.batches import epoch_order, to_unit
from gon_jax.data.datasets import DATASETS, Dataset, Split, load, missing
from gon_jax.data.degradations import DEGRADATIONS, grey, low_resolution, noisy
from gon_jax.data.files import read_images
from gon_jax.data.images import check_images, resize
from gon_jax.data.tfds_images import prepare, search_path

__all__ = [
    "DATASETS", "DEGRADATIONS", "Dataset", "Split", "check_images", "epoch_order", "grey", "load", "low_resolution",
    "missing", "noisy", "prepare", "read_images", "resize", "search_path", "to_unit",
]
