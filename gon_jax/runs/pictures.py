"""What to look at first: reconstructions, interpolations, samples, other resolutions and curves of a trained model."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gon_jax import plotting
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

__all__ = ["SIGNAL_PLOTS", "draw", "num_shown", "save_examples"]

# By kind of dataset ("audio", "voxels", "video"): draws {name: signals [N, *spatial, C]} into a .png, and what can be
# heard or seen to move beside it. Empty until a file such as examples/signals.py fills it.
SIGNAL_PLOTS: dict[str, Callable[[Path, Mapping[str, np.ndarray]], None]] = {}
REMEDY = "import a file that draws it first, as gon --import examples/signals.py does"


class NumShown(NamedTuple):
    """How much of a dataset a picture shows: examples, interpolated pairs, points on the way, samples."""

    examples: int
    pairs: int
    points: int
    samples: int


def num_shown(dataset: Dataset) -> NumShown:
    """Return how much to show of images, or of anything else."""
    return NumShown(20, 8, 10, 64) if dataset.kind == "images" else NumShown(6, 3, 6, 6)


def save_examples(
    path: Path, dataset: Dataset, plot_fn: Callable[[Path], None], rows: Mapping[str, np.ndarray]
) -> None:
    """Write a picture: images as a function plots them, other signals as `SIGNAL_PLOTS` has it.

    Args:
        path: a .png.
        dataset: what the examples are of.
        plot_fn: takes the path, for images.
        rows: name to signals `[N, *spatial, C]`, for anything else.

    Raises:
        ValueError: nothing draws this kind of signals.
    """
    if dataset.kind == "images":
        plot_fn(path)
    elif dataset.kind in SIGNAL_PLOTS:
        SIGNAL_PLOTS[dataset.kind](path, rows)
    else:
        raise ValueError(f"expected images to draw, got {dataset.kind}: {REMEDY}")


def draw(folder: Path, run: Any, dataset: Dataset, curves: dict, summary: dict, progress: bool) -> None:
    """Write the pictures of a finished run into its folder, and what can be heard or seen to move.

    Args:
        folder: the run's.
        run: a `gon_jax.runs.Run`, of `dataset`.
        dataset: what was trained on.
        curves: name to steps and values: the training loss, the validation metric that the best is chosen by.
        summary: the run's metrics.
        progress: show a progress bar.
    """
    from tqdm.auto import tqdm

    model, encoder, trained = run.model, run.encoder, (run.model, run.variables)
    train, test, latent_size = dataset.train.images, dataset.test, summary["latent_size"]
    translation = "source.squared_error" in summary
    name, pca = summary["model"].replace("_", " ").upper(), f"PCA {latent_size}"
    of_images, num = dataset.kind == "images", num_shown(dataset)
    one = "image" if of_images else "example"

    def reconstructions(path):
        x = test.images[spread_indices(len(test.images), num.examples)]
        sources = run.sources(x)
        rows, errors = {}, {name: summary["test.squared_error"]}
        if translation:
            rows, errors["source"] = {"source": sources}, summary["source.squared_error"]
        rows[name] = reconstruct_dataset(*trained, sources, encoder=encoder)
        if not translation:
            rows[pca], errors[pca] = pca_reconstructions(train, x, latent_size), summary["pca.squared_error"]
        plot = partial(plotting.save_reconstructions, images=x, reconstructions=rows, errors=errors)
        save_examples(path, dataset, plot, {"original": x} | rows)

    def interpolation(path):
        pairs = run.sources(pairs_of_labels(test, num.pairs))
        grid = interpolate(*trained, pairs, num.points, encoder=encoder)
        rows = {f"{i + 1}": row for i, row in enumerate(grid)}
        save_examples(path, dataset, partial(plotting.save_interpolation, grid=grid), rows)

    def samples(path):
        sources = run.sources(train[:MAX_PRIOR_LATENTS])
        x = sample(*trained, sources, num.samples, jax.random.key(0), encoder=encoder)
        save_examples(path, dataset, partial(plotting.save_samples, samples=x), {"samples": x})

    def superresolution(path):
        x = test.images[spread_indices(len(test.images), 4)]
        plotting.save_superresolution(path, x, superresolve(*trained, x, 256))

    def classes(path):
        z = encode_dataset(*trained, test.images[:3000], encoder=encoder)
        if latent_size > 2:
            from sklearn.decomposition import PCA

            z = PCA(2).fit_transform(z.reshape(len(z), -1))
        title = "latents" if latent_size == 2 else "latents, two principal components"
        plotting.save_scatter(path, z, test.labels[:3000], title=title)

    def loss(path):
        error, nats = f"squared error per {one}", f"nats per {one}"
        by_error = summary["likelihood"] == "squared_error" and model.capabilities.bound is None and not classifies
        trained_by = error if by_error else f"loss per {one}" if classifies else nats
        names = {"validation.accuracy": "accuracy", "validation.negative_elbo": nats}
        judged_by, below, shown = names.get(summary["best_by"], error), None, dict(curves)
        if judged_by != trained_by and "validation" in shown:  # another quantity
            below = judged_by, {"validation": shown.pop("validation")}
        words = f"PCA, {latent_size} components (test)"
        reference = {words: summary["pca.squared_error"]} if by_error and not translation else {}
        plotting.save_curves(path, shown, trained_by, log=by_error, reference=reference, below=below)

    classifies = model.capabilities.classify is not None
    # what isn't gray or RGB has no picture
    drawn = model.data_shape[-1] in (1, 3) if of_images else dataset.kind in SIGNAL_PLOTS
    if not (drawn or of_images):
        logging.getLogger(__name__).warning(f"examples of {dataset.kind} are not drawn: {REMEDY}")
    pictures = [reconstructions, interpolation, samples, loss] if drawn else [loss]
    if of_images and model.capabilities.at is not None:
        pictures.insert(3, superresolution)
    if classifies:
        pictures = [classes, *pictures] if run.config.model.reconstruction_weight else [classes, loss]
    for picture in tqdm(pictures, "draw", disable=not progress, leave=False, delay=1):
        picture(folder / f"{picture.__name__}.png")
