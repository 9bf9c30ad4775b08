"""What a model's error is compared with: principal components, as many as its latents, and the mean example alone."""

import math
from typing import Any, cast

import jax.numpy as jnp
import numpy as np

from gon_jax.data import to_unit
from gon_jax.data.sources import Source, is_source, read_in_order, take
from gon_jax.inference import Array, in_batches
from gon_jax.metrics import psnr, squared_errors
from gon_jax.progress import busy

__all__ = ["mean_error", "pca_errors", "pca_reconstructions"]

NUMBERS = 2**28  # of an array that principal components are computed of at once, 1 GiB as float32
SOURCE_NUMBERS = 2**25  # of a source
SAMPLE_NUMBERS = 2**27  # of the sample of larger data


def pca_reconstructions(
    train_data: Array | Source, data: Array | Source, num_components: int, *, progress: str | None = None
) -> np.ndarray:
    """Return the reconstructions `[N, ...]` of examples by principal components of the training examples.

    The reference for any autoencoder: the best linear one of the same latent size. For training examples of more
    than 1 GiB as float32, or 128 MiB where they come from a source, it is close to that: it is computed of a random
    sample of 512 MiB, batch by batch.

    Args:
        train_data: examples `[M, ...]`, uint8 or floats in [0, 1]; an array or a source.
        data: examples `[N, ...]`, likewise.
        num_components: as many as there are latents; at most what M examples admit.
        progress: a label to show while they are computed, or `None`.
    """
    return _by_pca(train_data, data, num_components, lambda x, x_hat: x_hat, progress)


def pca_errors(
    train_data: Array | Source, data: Array | Source, num_components: int, *, progress: str | None = None
) -> dict[str, float]:
    """Return the metrics of `evaluate` for `pca_reconstructions`, of the same arguments."""

    def errors(x, x_hat):
        return {"squared_error": squared_errors(x, x_hat), "psnr": psnr(x_hat, x)}

    values = _by_pca(train_data, data, num_components, errors, progress)
    return {name: float(jnp.asarray(each).mean()) for name, each in values.items()}


def mean_error(train_data: Array | Source, data: Array | Source) -> float:
    """Return the mean squared error of examples `[N, ...]`, each summed over its axes, by the mean training example.

    It is what a decoder reaches that has learned nothing about single examples.

    >>> mean_error(np.array([[0.0], [1.0]]), np.array([[0.0], [0.5]]))
    0.125
    """
    chunks: Any = read_in_order(train_data)
    total = sum(rows.sum(axis=0, dtype=np.float64) for _, rows in chunks)
    mean = total / len(train_data) / (255 if train_data.dtype == np.uint8 else 1)

    def of_chunk(x):
        return np.square(np.asarray(to_unit(x)) - mean).reshape(len(x), -1).sum(axis=1)

    return float(in_batches(of_chunk, data, batch_size=256, pad=False).mean())


def _by_pca(train_data, data, num_components, function, progress):
    """Return `function(x, x_hat)` of examples and their reconstructions by principal components, chunk by chunk."""
    size = math.prod(train_data.shape[1:])
    with busy(progress):
        if len(train_data) * size > (SOURCE_NUMBERS if is_source(train_data) else NUMBERS):
            reconstruct = _incremental_pca(train_data, num_components)
        else:
            reconstruct = _pca(np.asarray(to_unit(np.asarray(train_data))).reshape(-1, size), num_components)

    def of_chunk(x):
        x = np.asarray(to_unit(x))
        return function(x, reconstruct(x.reshape(len(x), size)).reshape(x.shape).astype(np.float32))

    num_at_once = max(1, (2**22 if is_source(data) else NUMBERS) // size)
    return in_batches(of_chunk, data, batch_size=num_at_once, pad=False)


def _pca(train, num_components):
    """Return a function that reconstructs examples `[N, d]`."""
    from sklearn.decomposition import PCA

    if (train == train[0]).all():  # no variance to explain, and none to divide by
        return lambda x: np.broadcast_to(train[0], x.shape)
    num, size = train.shape
    solver = "full" if num <= size <= 8192 else "covariance_eigh" if size <= 4096 else "randomized"
    pca = PCA(min(num_components, num, size), svd_solver=solver, random_state=0).fit(train)
    return lambda x: pca.inverse_transform(pca.transform(x))


def _incremental_pca(data, num_components):
    """Return what `_pca` does, of a random sample that is read batch by batch; the same at every call."""
    from sklearn.decomposition import IncrementalPCA

    num, size = len(data), math.prod(data.shape[1:])
    num_kept = min(2 * num_components, size, num)  # beyond those wanted, since what a batch leaves out is lost
    batch_size = min(num, max(num_kept, min(512, 2**22 // size)))
    order = np.random.RandomState(0).permutation(num)  # whose streams are the same in all versions of NumPy
    pca = IncrementalPCA(num_kept)
    for start in range(0, max(batch_size, min(num, SAMPLE_NUMBERS // size)) - batch_size + 1, batch_size):
        batch = take(data, order[start : start + batch_size])
        with np.errstate(divide="ignore", invalid="ignore"):  # of a batch without variance
            pca.partial_fit(np.asarray(to_unit(np.asarray(batch))).reshape(batch_size, size))
    components = cast(np.ndarray, pca.components_)[:num_components].astype(np.float32)
    mean = cast(np.ndarray, pca.mean_).astype(np.float32)
    return lambda x: (x - mean) @ components.T @ components + mean
