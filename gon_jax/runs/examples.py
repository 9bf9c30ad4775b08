"""The data of a run: its dataset, what the model takes of it, and PCA's errors on it."""

from functools import lru_cache

import numpy as np

from gon_jax.data import DATASETS, DEGRADATIONS, Dataset, Split, load
from gon_jax.runs.config import Config
from gon_jax.metrics import pca_errors


@lru_cache(maxsize=1)
def _load_named(name, image_size, num_validation):
    return load(name, image_size=image_size, num_validation=num_validation)


def dataset_of(config: Config) -> Dataset:
    """Return the dataset of a configuration; the last one of those with names is kept, for the next run on it."""
    read = _load_named if config.dataset in DATASETS else load
    return read(config.dataset, image_size=config.image_size, num_validation=config.num_validation)


@lru_cache(maxsize=16)
def _pca_of(name, image_size, num_validation, latent_size):
    dataset = _load_named(name, image_size=image_size, num_validation=num_validation)
    return pca_errors(dataset.train.images, dataset.test.images, latent_size)


def pca_errors_of(config: Config, dataset: Dataset, latent_size: int) -> dict[str, float]:
    """Return PCA's errors; where many runs follow one another on the same data, it is fitted once."""
    if config.dataset in DATASETS:
        return _pca_of(config.dataset, config.image_size, config.num_validation, latent_size)
    return pca_errors(dataset.train.images, dataset.test.images, latent_size)


def sources_of(config: Config, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """Return what the model of a configuration encodes, of images that it is to give back.

    Args:
        config: whose `source` a translation starts from.
        images: `[N, H, W, C]`, uint8.
        training: noise is another for what is trained on than for what is held out.
    """
    if not config.translates:
        return images
    options = {"seed": int(training)} if config.source == "noisy" else {}
    return DEGRADATIONS[config.source](images, **options)


def arrays_of(config: Config, split: Split, *, training: bool) -> dict[str, np.ndarray]:
    """Return the arrays that `fit` takes batches of, or validates on.

    Raises:
        ValueError: for a classifier without labels, or with others than 0, ..., num_classes - 1.
    """
    data = {"x": sources_of(config, split.images, training=training)}
    if config.translates:
        data["target"] = split.images
    if config.model == "classifier":
        if split.labels is None:
            raise ValueError(f"expected labels for a classifier, got {config.dataset}, which has none")
        if split.labels.max() >= config.num_classes:
            raise ValueError(
                f"expected labels below num_classes={config.num_classes}, got {split.labels.max()} in "
                f"{config.dataset}; take --num-classes {split.labels.max() + 1}"
            )
        data["y"] = split.labels
    return data
