"""Images and their batches in NumPy alone: the one loader of both sides wherever time counts.

It reads by tfds and Pillow, resized as the authors do, so that it is a second opinion on the package's own input too.
"""

import io
import os
from collections.abc import Iterator

import numpy as np


def read(dataset: str, split: str) -> np.ndarray:
    """Return a split as uint8 images `[N, 32, 32, 1]`, resized by Pillow's bilinear filter on uint8.

    Raises:
        FileNotFoundError: if no folder of GON_DATA_DIR has the dataset prepared.
    """
    import tensorflow_datasets as tfds
    from PIL import Image

    folders = [folder for folder in os.environ.get("GON_DATA_DIR", "").split(":") if folder]
    folder = next((folder for folder in folders if os.path.isdir(os.path.join(folder, dataset))), None)
    if folder is None:
        raise FileNotFoundError(
            f"expected a prepared {dataset} in a folder of GON_DATA_DIR, got none in {folders or 'an unset variable'}; "
            "prepare it with tfds"
        )
    decoders = {"image": tfds.decode.SkipDecoding()}
    source = tfds.data_source(dataset, split=split, data_dir=folder, download=False, decoders=decoders)
    images = [Image.open(io.BytesIO(example["image"])).resize((32, 32), Image.BILINEAR) for example in source]
    return np.stack([np.asarray(image) for image in images])[..., None]


def to_unit(images: np.ndarray) -> np.ndarray:
    """Return uint8 images as float32 in [0, 1]."""
    return images.astype(np.float32) / np.float32(255)


def batches(images: np.ndarray, batch_size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield float32 batches `[batch_size, ...]` in [0, 1] without end, in an order that follows from the seed.

    Every epoch is shuffled anew, and its last, incomplete batch dropped.

    >>> [batch.tolist() for batch, _ in zip(batches(np.array([0, 255, 255], np.uint8), 2, seed=0), range(2))]
    [[1.0, 0.0], [1.0, 1.0]]
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(images))
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield to_unit(images[order[start : start + batch_size]])
