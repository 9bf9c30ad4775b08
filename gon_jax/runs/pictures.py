"""What to look at first: reconstructions, interpolations, samples, other resolutions and curves of a trained model."""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gon_jax import plotting as figures
from gon_jax.coordinates import check_mask, grid
from gon_jax.data import Dataset, Split, check_images, to_unit
from gon_jax.latents.interpolation import slerp_path
from gon_jax.latents.priors import fit_gaussian, fit_mixture, sample_prior
from gon_jax.freezing import FrozenEncoder
from gon_jax.metrics import (
    check_memory,
    decode_at,
    decode_latents,
    encode_images,
    pca_reconstructions,
    reconstruct_images,
)
from gon_jax.base import Model, Variables

PRIOR_CODES = 10_000  # codes that a prior is fitted to at most; a mixture's cost grows with them


def interpolate(
    model: Model,
    variables: Variables,
    images: np.ndarray,
    num_points: int = 10,
    *,
    encoder: FrozenEncoder | None = None,
) -> np.ndarray:
    """Decode spherical interpolations between the codes of consecutive pairs of images.

    Args:
        model, variables: a trained model.
        images: `[2 R, H, W, C]`; the first is interpolated to the second, the third to the fourth, ...
        num_points: P, the decoded ends included.
        encoder: as for `gon_jax.metrics.evaluate`.

    Returns:
        `[R, P, H, W, C]`.

    Raises:
        ValueError: for an odd number of images.
    """
    if len(images) < 2 or len(images) % 2:
        raise ValueError(f"expected pairs of images, an even number of them, got {len(images)}")
    z = encode_images(model, variables, images, encoder=encoder)
    paths = np.asarray(slerp_path(z[0::2], z[1::2], num_points))
    decoded = decode_latents(model, variables, paths.reshape(-1, *paths.shape[2:]))
    return decoded.reshape(*paths.shape[:2], *decoded.shape[1:])


def sample(
    model: Model,
    variables: Variables,
    images: np.ndarray,
    num: int,
    key: jax.Array,
    prior: str | None = None,
    *,
    encoder: FrozenEncoder | None = None,
) -> np.ndarray:
    """Sample new images: from the model's own prior, or from one fitted to the codes of training images.

    Args:
        model, variables: a trained model.
        images: training images `[N, ...]`; a prior is fitted to the first 10,000 codes at most.
        num: how many samples.
        key: typed key.
        prior: "model", for a model that has its own; "gaussian" or "mixture", fitted with full covariances; `None` is
            the model's, and else a mixture.
        encoder: as for `gon_jax.metrics.evaluate`.

    Returns:
        `[num, ...]`.

    Raises:
        ValueError: for another prior, or the model's of a model without one.
    """
    prior = prior or ("mixture" if model.sample is None else "model")
    if prior not in ("gaussian", "mixture", "model"):
        raise ValueError(f"expected prior 'gaussian', 'mixture' or 'model', got {prior!r}")
    if prior == "model":
        if model.sample is None:
            raise ValueError("expected a model with a prior, a vgon, for prior 'model'; fit a 'mixture' to the codes")
        return np.asarray(jax.jit(model.sample, static_argnums=2)(variables, key, num))
    z = encode_images(model, variables, images[:PRIOR_CODES], encoder=encoder)
    fitted = fit_mixture(z) if prior == "mixture" else fit_gaussian(z)
    return decode_latents(model, variables, sample_prior(fitted, key, num, model.latent_shape))


def superresolve(
    model: Model, variables: Variables, images: np.ndarray, size: int, *, progress: str | None = None
) -> np.ndarray:
    """Return images `[N, H, W, C]` decoded on a grid with `size` points on the longer side, of an implicit model.

    Raises:
        ValueError: for a model that isn't implicit, data that are no images, or, before any work, a result too large.
    """
    *spatial, num_channels = model.data_shape
    if model.at is None or len(spatial) != 2:
        raise ValueError(
            f"expected an implicit model of images, got one of data {model.data_shape}"
            + (" of a fixed size; train one with --network siren" if model.at is None else "")
        )
    sizes = [max(1, round(size * n / max(spatial))) for n in spatial]
    check_memory(4 * math.prod(sizes) * (len(images) * num_channels + 2))
    z = encode_images(model, variables, images)
    return decode_at(model, variables, z, grid(*sizes), progress=progress)


def hide(images: np.ndarray, what: str, fraction: float = 0.5, seed: int = 0) -> np.ndarray:
    """Return what is known of each image, `[N, H, W]` booleans.

    Args:
        images: `[N, H, W, C]`.
        what: is hidden: "random" pixels, the "center", or the "right".
        fraction: how much of the image.
        seed: of the random pixels.

    Raises:
        ValueError: for other words, data that are no images, or a fraction that hides nothing or all.

    >>> hide(np.zeros((1, 2, 4, 1)), "right", 0.5)[0, 0]
    array([ True,  True, False, False])
    """
    if images.ndim != 4:
        raise ValueError(f"expected images [N, H, W, C] to hide a part of, got data {list(images.shape)}")
    num, height, width, _ = images.shape
    known = np.ones((num, height, width), bool)
    if what == "random":
        known = np.random.default_rng(seed).uniform(size=known.shape) >= fraction
    elif what == "right":
        known[:, :, width - round(fraction * width) :] = False
    elif what == "center":
        margin = (1 - math.sqrt(fraction)) / 2
        rows, columns = (slice(round(margin * n), n - round(margin * n)) for n in (height, width))
        known[:, rows, columns] = False
    else:
        raise ValueError(f"expected to hide 'random', 'center' or 'right', got {what!r}")
    if known.all() or not known.any(axis=(1, 2)).all():
        raise ValueError(f"expected a fraction that hides a part of every image, got {fraction}")
    return known


def inpaint(model: Model, variables: Variables, images: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return images decoded from the codes of their known pixels alone, of an implicit model.

    Args:
        model, variables: a trained model.
        images: `[N, H, W, C]`, uint8 or floats in [0, 1].
        known: `[N, H, W]` booleans.

    Raises:
        ValueError: for a model that isn't implicit, or an image of which nothing is known.
    """
    if model.at is None:
        raise ValueError("expected an implicit model, got one of images of a fixed size; train with --network siren")
    check_images(images, model.data_shape)
    check_mask(known, images.shape[:-1])

    @jax.jit
    def complete(variables, images, known):
        z = model.at(grid(*model.data_shape[:-1]), known).encode(variables, to_unit(images))
        return model.decode(variables, z)

    return np.asarray(complete(variables, images, known.astype(np.float32)))


def pairs_of_labels(split: Split, num_pairs: int = 8) -> np.ndarray:
    """Return `[2 num_pairs, H, W, C]`: pairs of different labels where there are labels; few images are repeated."""
    images, labels = split
    if labels is None:
        return images[np.arange(2 * num_pairs) % len(images)]
    classes = np.unique(labels)
    of_class = [np.flatnonzero(labels == c) for c in classes]
    turns = [divmod(i, len(classes)) for i in range(2 * num_pairs)]
    return images[[of_class[c][turn % len(of_class[c])] for turn, c in turns]]


def spread(num_images: int, num: int) -> np.ndarray:
    """Return indices of up to `num` images spread evenly over a set.

    >>> spread(100, 4)
    array([ 0, 33, 66, 99])
    """
    return np.unique(np.linspace(0, num_images - 1, min(num, num_images)).astype(int))


class Shown(NamedTuple):
    """How much of a dataset a picture shows: examples, interpolated pairs, points on the way, samples."""

    examples: int
    pairs: int
    points: int
    samples: int


def shown_of(dataset: Dataset) -> Shown:
    """Return how much to show of images, or of anything else."""
    return Shown(20, 8, 10, 64) if dataset.kind == "images" else Shown(6, 3, 6, 6)


def save_reconstructions(path: Path, dataset: Dataset, x: np.ndarray, rows: dict[str, np.ndarray], errors: dict):
    """Write originals and rows of the same examples, with the errors of some of them."""
    if dataset.kind == "images":
        figures.save_reconstructions(path, x, rows, errors=errors)
    else:
        show(path, {"original": x} | rows, dataset)


def save_interpolation(path: Path, dataset: Dataset, rows: np.ndarray) -> None:
    """Write interpolations `[R, P, ...]`, a pair a row."""
    if dataset.kind == "images":
        figures.save_interpolation(path, rows)
    else:
        show(path, {f"{i + 1}": row for i, row in enumerate(rows)}, dataset)


def save_samples(path: Path, dataset: Dataset, x: np.ndarray) -> None:
    """Write samples `[N, ...]`."""
    if dataset.kind == "images":
        figures.save_samples(path, x)
    else:
        show(path, {"samples": x}, dataset)


def draw(folder: Path, run, dataset: Dataset, curves: dict, summary: dict, progress: bool) -> None:
    """Write the pictures of a finished run into its folder, and what can be heard or seen to move.

    Args:
        folder: the run's.
        run: a `gon_jax.runs.run.Run`, of `dataset`.
        dataset: what was trained on.
        curves: name to steps and values: the training loss, the validation error.
        summary: the run's figures.
        progress: show a progress bar.
    """
    from tqdm.auto import tqdm

    model, variables, encoder = run.model, run.variables, run.encoder
    train, test, latent_size = dataset.train.images, dataset.test, summary["latent_size"]
    translation = run.config.translates
    name, pca = summary["model"].replace("_", " ").upper(), f"PCA {latent_size}"
    of_images, num = dataset.kind == "images", shown_of(dataset)
    one = "image" if of_images else "example"

    def reconstructions(path):
        x = test.images[spread(len(test.images), num.examples)]
        sources = run.sources(x)
        rows, errors = {}, {name: summary["test.squared_error"]}
        if translation:
            rows, errors["source"] = {"source": sources}, summary["source.squared_error"]
        rows[name] = reconstruct_images(model, variables, sources, encoder=encoder)
        if not translation:
            rows[pca], errors[pca] = pca_reconstructions(train, x, latent_size), summary["pca.squared_error"]
        save_reconstructions(path, dataset, x, rows, errors)

    def interpolation(path):
        pairs = run.sources(pairs_of_labels(test, num.pairs))
        save_interpolation(path, dataset, interpolate(model, variables, pairs, num.points, encoder=encoder))

    def samples(path):
        x = sample(model, variables, run.sources(train[:PRIOR_CODES]), num.samples, jax.random.key(0), encoder=encoder)
        save_samples(path, dataset, x)

    def superresolution(path):
        x = test.images[spread(len(test.images), 4)]
        figures.save_superresolution(path, x, superresolve(model, variables, x, 256))

    def classes(path):
        z = encode_images(model, variables, test.images[:3000], encoder=encoder)
        if latent_size > 2:
            from sklearn.decomposition import PCA

            z = PCA(2).fit_transform(z.reshape(len(z), -1))
        axes = "codes" if latent_size == 2 else "codes, two principal components"
        figures.save_scatter(path, z, test.labels[:3000], title=axes)

    def loss(path):
        if summary["likelihood"] == "squared_error" and summary["model"] not in ("vgon", "vae", "classifier"):
            words = f"PCA, {latent_size} components (test)"
            reference = {} if translation else {words: summary["pca.squared_error"]}
            figures.save_curves(path, curves, f"squared error per {one}", reference=reference)
        else:  # the validation figure is another quantity
            unit = "loss" if model.classify is not None else "nats"
            figures.save_curves(path, {"training": curves["training"]}, f"{unit} per {one}", log=False)

    drawn = not of_images or model.data_shape[-1] in (1, 3)  # what isn't gray or RGB has no picture
    pictures = [reconstructions, interpolation, samples, loss] if drawn else [loss]
    if of_images and model.at is not None:
        pictures.insert(3, superresolution)
    if model.classify is not None:
        pictures = [classes, loss] if summary["reconstruction_weight"] == 0 else [classes, *pictures]
    for picture in tqdm(pictures, "draw", disable=not progress, leave=False, delay=1):
        picture(folder / f"{picture.__name__}.png")


def show(path: Path, rows: dict[str, np.ndarray], dataset: Dataset) -> None:
    """Write signals that aren't images, `[N, *spatial, C]` under each name, as a picture; sound and film beside it."""
    if dataset.kind == "audio":
        figures.save_waveforms(path, rows, dataset.sample_rate)
        turns = np.stack(list(rows.values()), axis=1)  # an original right before its reconstruction
        figures.write_wav(path.with_suffix(".wav"), turns.reshape(-1, *turns.shape[2:]), dataset.sample_rate)
    elif dataset.kind == "voxels":
        figures.save_voxels(path, rows)
    else:
        figures.save_video(path, rows)
        figures.write_gif(path.with_suffix(".gif"), np.stack(list(rows.values())))
