"""How good a model is, over every example of a set, each weighted alike."""

import math
import os
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from gon_jax.base import Model, Variables
from gon_jax.data import check_images, to_unit
from gon_jax.freezing import FrozenEncoder, encode_frozen
from gon_jax.likelihoods import sum_per_example

Evaluation = Literal["running", "batch"]
LARGEST_MATRIX = 2**26  # entries of a frozen encoder's matrix, 256 MiB; to compute a larger one takes gigabytes


def squared_errors(x_hat: jax.Array, x: jax.Array) -> jax.Array:
    """Return each example's squared error `[B]`, summed over data axes, in squared intensity.

    >>> squared_errors(jnp.zeros((2, 3)), jnp.ones((2, 3)))
    Array([3., 3.], dtype=float32)
    """
    return sum_per_example(jnp.square(x - x_hat))


def psnr(x_hat: jax.Array, x: jax.Array) -> jax.Array:
    """Return each example's peak signal-to-noise ratio `[B]` in decibels, for intensities in [0, 1]; at most 100.

    >>> psnr(jnp.full((1, 4), 0.1), jnp.zeros((1, 4)))
    Array([20.], dtype=float32)
    """
    mean_squared_error = squared_errors(x_hat, x) * (x.shape[0] / x.size)
    return -10 * jnp.log10(jnp.maximum(mean_squared_error, 1e-10))


def with_evaluation(variables: Variables, evaluation: Evaluation) -> Variables:
    """Return the variables for an evaluation by averaged statistics ("running") or each batch's own ("batch").

    Raises:
        ValueError: for any other word.
    """
    if evaluation not in ("running", "batch"):
        raise ValueError(f"expected evaluation 'running' or 'batch', got {evaluation!r}")
    return variables if evaluation == "running" else variables._replace(stats=None)


@partial(jax.jit, static_argnums=0)
def _freeze(model, variables):
    return model.freeze(variables)


def frozen_encoder(model: Model, variables: Variables) -> FrozenEncoder | None:
    """Compute the encoder by averaged statistics, once for any number of images: a matrix that acts on the images.

    Args:
        model: any model.
        variables: its variables, with averaged statistics where it has batch statistics.

    Returns:
        The encoder; or `None` where `model.encode` is to be used: the model has none, its likelihood cannot be folded
        into the matrix, or the matrix would have more than 2^26 entries.

    Raises:
        ValueError: for a model with batch statistics and variables without.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> frozen_encoder(model, model.init(jax.random.key(0))).matrix.shape
    (64, 3)
    """
    num_entries = math.prod(model.data_shape) * math.prod(model.latent_shape)
    if model.freeze is None or not getattr(model.likelihood, "affine", False) or num_entries > LARGEST_MATRIX:
        return None
    try:
        return _freeze(model, variables)
    except ValueError as error:
        if variables.stats is not None:
            raise
        raise ValueError(
            "expected variables with averaged statistics, got stats=None; take a trained state's, or evaluate by each "
            f"batch's own with evaluation='batch' ({error})"
        ) from error


@partial(jax.jit, static_argnums=0)
def _encode(model, variables, encoder, images):
    x = to_unit(images)
    return model.encode(variables, x) if encoder is None else encode_frozen(encoder, x, likelihood=model.likelihood)


@partial(jax.jit, static_argnums=0)
def _reconstruct(model, variables, encoder, images):
    return model.decode(variables, _encode(model, variables, encoder, images))


@partial(jax.jit, static_argnums=0)
def _errors(model, variables, encoder, images, targets):
    x, x_hat = to_unit(targets), _reconstruct(model, variables, encoder, images)
    return squared_errors(x_hat, x), psnr(x_hat, x)


@partial(jax.jit, static_argnums=0)
def _decode(model, variables, z):
    return model.decode(variables, z)


def in_batches(function, rows, *, batch_size: int = 64, pad: bool = True, progress: str | None = None):
    """Apply `function` to consecutive batches of `rows` `[N, ...]` and concatenate its results, a pytree, on the host.

    Args:
        function: `rows [B, ...] -> pytree of arrays [B, ...]`.
        rows: a NumPy array.
        batch_size: rows a call.
        pad: fill the last batch up by repeating a row, so that one compilation serves all; for functions whose rows are
            independent. Otherwise the last batch is smaller.
        progress: the words on a progress bar, or `None` for no bar.

    >>> in_batches(lambda a: a * 2, np.arange(5), batch_size=2)
    array([0, 2, 4, 6, 8])
    """
    rows = np.asarray(rows)
    results = []
    for i in tqdm(range(0, len(rows), batch_size), progress, disable=progress is None, leave=False, delay=1):
        batch = rows[i : i + batch_size]
        num = len(batch)
        if pad and num < batch_size:
            batch = np.concatenate([batch, np.repeat(batch[:1], batch_size - num, axis=0)])
        results.append(jax.tree.map(lambda a: a[:num], jax.device_get(function(batch))))  # noqa: B023
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


def evaluate(
    model: Model,
    variables: Variables,
    images,
    *,
    evaluation: Evaluation = "running",
    batch_size: int = 64,
    encoder: FrozenEncoder | None = None,
    progress: str | None = None,
    targets=None,
) -> dict[str, float]:
    """Return the mean reconstruction error over images.

    Args:
        model: any model.
        variables: its variables.
        images: `[N, H, W, C]`, uint8 or floats in [0, 1].
        evaluation: "running" uses averaged statistics, so that an image counts the same in any company; "batch" is the
            release's protocol, statistics of the batch at hand. The same for models without batch statistics.
        batch_size: matters to the figures for "batch" alone; to decode larger ones is slower on a CPU.
        encoder: `frozen_encoder(model, variables)`, where it is at hand; for "running".
        progress: the words on a progress bar, or `None`.
        targets: `[N, H, W, C]`, what the images are to be translated to; by default the images themselves.

    Returns:
        `squared_error`: mean over images of the summed squared error, in squared intensity; `psnr`: mean over images of
        the peak signal-to-noise ratio, in decibels.

    Raises:
        ValueError: for images of another shape than the model's, or out of range, an unknown evaluation, an encoder
            with "batch", or targets of another number than the images.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> sorted(evaluate(model, model.init(jax.random.key(0)), np.ones((5, 8, 8, 1), np.uint8)))
    ['psnr', 'squared_error']
    """
    check_images(images, model.data_shape)
    targets = images if targets is None else check_images(targets, model.data_shape)
    if len(targets) != len(images):
        raise ValueError(f"expected a target for each image, got {len(targets)} for {len(images)} images")
    variables = with_evaluation(variables, evaluation)
    if evaluation == "running":
        encoder = encoder or frozen_encoder(model, variables)
    elif encoder is not None:
        raise ValueError("expected no encoder with evaluation 'batch', got one; each batch is encoded by itself")
    images, targets = np.asarray(images), np.asarray(targets)
    errors, decibels = in_batches(
        lambda rows: _errors(model, variables, encoder, images[rows], targets[rows]),
        np.arange(len(images)),
        batch_size=batch_size,
        pad=evaluation == "running",
        progress=progress,
    )
    return {"squared_error": float(errors.mean(dtype=np.float64)), "psnr": float(decibels.mean(dtype=np.float64))}


@partial(jax.jit, static_argnums=0)
def _classes(model, variables, images):
    return model.classify(variables, to_unit(images)).argmax(axis=-1)


def accuracy(
    model: Model,
    variables: Variables,
    images,
    labels,
    *,
    evaluation: Evaluation = "running",
    batch_size: int = 64,
    progress: str | None = None,
) -> float:
    """Return the fraction of images whose largest logit is their label's.

    Args:
        model: with `classify`.
        variables, images, evaluation, batch_size, progress: as for `evaluate`.
        labels: integers `[N]`.

    Raises:
        ValueError: for a model without a classifier, images as for `evaluate`, or labels of another number than the
            images.

    >>> from gon_jax.models.classifier import gon_classifier
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon_classifier(conv_decoder((8, 8, 1), (3,), base_channels=4), 10)
    >>> alike = np.zeros((10, 8, 8, 1), np.uint8)
    >>> accuracy(model, model.init(jax.random.key(0)), alike, np.arange(10))
    0.1
    """
    if model.classify is None:
        raise ValueError("expected a model with a classifier, got one without `classify`; take gon_classifier")
    check_images(images, model.data_shape)
    if np.shape(labels) != (len(images),):
        raise ValueError(f"expected a label for each of {len(images)} images, got labels of shape {np.shape(labels)}")
    function = partial(_classes, model, with_evaluation(variables, evaluation))
    classes = in_batches(function, images, batch_size=batch_size, pad=evaluation == "running", progress=progress)
    return float(np.mean(classes == np.asarray(labels)))


def encode_images(
    model: Model,
    variables: Variables,
    images,
    *,
    encoder: FrozenEncoder | None = None,
    progress: str | None = None,
) -> np.ndarray:
    """Return the codes `[N, *latent]` of images `[N, H, W, C]`, batch by batch, by averaged statistics.

    Args:
        model, variables, images, encoder, progress: as for `evaluate`.
    """
    check_images(images, model.data_shape)
    encoder = encoder or frozen_encoder(model, variables)
    batch_size = 64 if encoder is None else 256  # one matrix product: more rows, fewer calls
    return in_batches(partial(_encode, model, variables, encoder), images, batch_size=batch_size, progress=progress)


def decode_latents(model: Model, variables: Variables, z, *, progress: str | None = None) -> np.ndarray:
    """Return the mean images `[N, H, W, C]` of codes `[N, *latent]`, likewise."""
    return in_batches(partial(_decode, model, variables), z, progress=progress)


@partial(jax.jit, static_argnums=0)
def _decode_at(model, variables, z, points):
    return model.at(points).decode(variables, z)


def decode_at(
    model: Model,
    variables: Variables,
    z,
    coordinates,
    *,
    chunk_size: int = 4096,
    progress: str | None = None,
) -> np.ndarray:
    """Decode codes at any points, of an implicit model: at any resolution, in memory that doesn't grow with it.

    Args:
        model: with `at`.
        variables: its variables.
        z: codes `[N, *latent]`.
        coordinates: `[*spatial, d]`, such as `gon_jax.coordinates.grid(256, 256)`.
        chunk_size: points a call, for 16 codes each.
        progress: the words on a progress bar, or `None`.

    Returns:
        Means of the data there, `[N, *spatial, C]`.

    Raises:
        ValueError: for a model that isn't implicit, coordinates of another dimension than its own, or, before any work,
            a result that would not fit into this machine's memory.

    >>> from gon_jax.coordinates import grid
    >>> from gon_jax.models import implicit_gon
    >>> from gon_jax.decoders import siren_decoder
    >>> model = implicit_gon(siren_decoder(grid(8, 8), 3, hidden_dim=16))
    >>> decode_at(model, model.init(jax.random.key(0)), np.zeros((5, 3)), grid(100, 50)).shape
    (5, 100, 50, 1)
    """
    if model.at is None:
        raise ValueError("expected an implicit model, a decoder of coordinates; got one of images of a fixed size")
    spatial, num_channels = coordinates.shape[:-1], model.data_shape[-1]
    check_memory(4 * len(z) * math.prod(spatial) * num_channels)
    points = np.asarray(coordinates, np.float32).reshape(-1, coordinates.shape[-1])
    chunk_size = min(chunk_size, len(points))
    z, result = jnp.asarray(z), np.empty((len(z), len(points), num_channels), np.float32)
    starts = [(i, j) for i in range(0, len(z), 16) for j in range(0, len(points), chunk_size)]
    for i, j in tqdm(starts, progress, disable=progress is None, leave=False, delay=1):
        j = min(j, len(points) - chunk_size)  # the last chunk overlaps, so that one compilation serves all
        part = _decode_at(model, variables, z[i : i + 16], points[j : j + chunk_size])
        result[i : i + 16, j : j + chunk_size] = part
    return result.reshape(len(z), *spatial, num_channels)


def check_memory(num_bytes: int) -> None:
    """Refuse what would not fit into this machine's memory.

    Raises:
        ValueError: with both numbers.
    """
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf
    if num_bytes > total:
        gib, total = num_bytes / 2**30, total / 2**30
        raise ValueError(
            f"expected a result that fits into {total:.0f} GiB of memory, got one of {gib:,.0f} GiB; ask for less"
        )


def reconstruct_images(
    model: Model,
    variables: Variables,
    images,
    *,
    encoder: FrozenEncoder | None = None,
    progress: str | None = None,
) -> np.ndarray:
    """Return the reconstructions `[N, H, W, C]` of images, as floats, likewise."""
    check_images(images, model.data_shape)
    encoder = encoder or frozen_encoder(model, variables)
    return in_batches(partial(_reconstruct, model, variables, encoder), images, progress=progress)


def pca_reconstructions(train_images, images, num_components: int) -> np.ndarray:
    """Return the reconstructions of images, as floats, by principal components of the training images.

    The reference line of any autoencoder: the best linear one of the same latent size.

    Args:
        train_images: `[M, ...]`; uint8 or floats in [0, 1].
        images: `[N, ...]` likewise.
        num_components: as many as there are latents; cut down to what M examples admit.
    """
    from sklearn.decomposition import PCA

    train, x = (np.asarray(to_unit(a)).reshape(len(a), -1) for a in (train_images, images))
    if (train == train[0]).all():  # no variance to explain, and none to divide by
        return np.broadcast_to(train[0], x.shape).reshape(images.shape).astype(np.float32)
    num_components = min(num_components, *train.shape)
    num, size = train.shape
    solver = "full" if num <= size <= 8192 else "covariance_eigh" if size <= 4096 else "randomized"
    pca = PCA(num_components, svd_solver=solver, random_state=0)
    pca.fit(train)
    return pca.inverse_transform(pca.transform(x)).reshape(images.shape).astype(np.float32)


def pca_errors(train_images, images, num_components: int) -> dict[str, float]:
    """Return the figures of `evaluate` for reconstructions by principal components of the training images.

    Args:
        train_images, images, num_components: as for `pca_reconstructions`.
    """
    x, x_hat = to_unit(images), pca_reconstructions(train_images, images, num_components)
    return {"squared_error": float(squared_errors(x_hat, x).mean()), "psnr": float(psnr(x_hat, x).mean())}
