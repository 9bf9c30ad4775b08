"""What to look at first: reconstructions, interpolations, samples, other resolutions and curves of a trained model."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from gon_jax import plotting as figures
from gon_jax.data import Dataset
from gon_jax.inference import (
    MAX_PRIOR_LATENTS,
    encode_dataset,
    interpolate,
    pairs_of_labels,
    reconstruct_dataset,
    sample,
    spread_indices,
    superresolve,
)
from gon_jax.metrics import pca_reconstructions


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
        x = test.images[spread_indices(len(test.images), num.examples)]
        sources = run.sources(x)
        rows, errors = {}, {name: summary["test.squared_error"]}
        if translation:
            rows, errors["source"] = {"source": sources}, summary["source.squared_error"]
        rows[name] = reconstruct_dataset(model, variables, sources, encoder=encoder)
        if not translation:
            rows[pca], errors[pca] = pca_reconstructions(train, x, latent_size), summary["pca.squared_error"]
        save_reconstructions(path, dataset, x, rows, errors)

    def interpolation(path):
        pairs = run.sources(pairs_of_labels(test, num.pairs))
        save_interpolation(path, dataset, interpolate(model, variables, pairs, num.points, encoder=encoder))

    def samples(path):
        x = sample(
            model, variables, run.sources(train[:MAX_PRIOR_LATENTS]), num.samples, jax.random.key(0), encoder=encoder
        )
        save_samples(path, dataset, x)

    def superresolution(path):
        x = test.images[spread_indices(len(test.images), 4)]
        figures.save_superresolution(path, x, superresolve(model, variables, x, 256))

    def classes(path):
        z = encode_dataset(model, variables, test.images[:3000], encoder=encoder)
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
