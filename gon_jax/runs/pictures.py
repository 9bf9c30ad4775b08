"""What to look at first: reconstructions, interpolations, samples, other resolutions and curves of a trained model."""

import logging
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gon_jax import latents, plotting
from gon_jax._files import one_line
from gon_jax.data import Dataset, Split, to_unit
from gon_jax.data.splits import pairs_of_labels, spread_indices
from gon_jax.inference import (
    MAX_PRIOR_LATENTS,
    decode_latents,
    encode_dataset,
    interpolate,
    reconstruct_dataset,
    sample,
    superresolve,
)
from gon_jax.pca import pca_reconstructions
from gon_jax.progress import bar
from gon_jax.runs.folder import SNAPSHOTS
from gon_jax.runs.snapshots import NUM, Snapshots

__all__ = ["SIGNAL_PLOTS", "NumShown", "draw", "names_of", "num_shown", "save_examples", "snapshot_examples"]

# By kind of dataset ("audio", "voxels", "video"): draws {name: signals [N, *spatial, C]} into a .png, and what can be
# heard or seen to move beside it. Empty until a file such as examples/signals.py fills it.
SIGNAL_PLOTS: dict[str, Callable[[Path, Mapping[str, np.ndarray]], None]] = {}
MAX_SHOWN, MAX_CLASSES, SPAN = 3000, 20, 3.0  # test examples that pictures look at, colors, standard deviations
REMEDY = "import a file that draws it first, as gon --import examples/signals.py does"


class NumShown(NamedTuple):
    """How much of a dataset a picture shows: examples, interpolated pairs, points on the way, samples."""

    examples: int
    pairs: int
    points: int
    samples: int


def num_shown(kind: str) -> NumShown:
    """Return how much to show of images, or of anything else."""
    return NumShown(20, 8, 10, 64) if kind == "images" else NumShown(6, 3, 6, 6)


def names_of(split: Split, index: Any = slice(None)) -> list[str] | None:
    """Return the names of the files of some examples, without folders; None where they have none."""
    return None if split.names is None else [Path(str(name)).name for name in split.names[index]]


def snapshot_examples(split: Split) -> np.ndarray:
    """Return the images that are decoded in the course of training."""
    return np.asarray(split.images[spread_indices(len(split.images), NUM)])


def save_examples(path: Path, kind: str, plot_fn: Callable[[Path], None], rows: Mapping[str, np.ndarray]) -> None:
    """Write a picture: images as a function plots them, other signals as `SIGNAL_PLOTS` has it.

    Args:
        path: a .png.
        kind: what the examples are, `Dataset.kind`.
        plot_fn: takes the path, for images.
        rows: name to signals `[N, *spatial, C]`, for anything else.

    Raises:
        ValueError: nothing draws this kind of signals.
    """
    if kind == "images":
        plot_fn(path)
    elif kind in SIGNAL_PLOTS:
        SIGNAL_PLOTS[kind](path, rows)
    else:
        raise ValueError(f"expected images to draw, got {kind}: {REMEDY}")


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
    model, encoder, trained = run.model, run.encoder, (run.model, run.variables)
    train, test, latent_size = dataset.train.images, dataset.test, summary["latent_size"]
    translation = "source.squared_error" in summary
    name, pca = summary["model"].replace("_", " ").upper(), f"PCA {latent_size}"
    kind, of_images, num = dataset.kind, dataset.kind == "images", num_shown(dataset.kind)
    one = "image" if of_images else "example"

    def reconstructions(path):
        shown = spread_indices(len(test.images), num.examples)
        x, names = test.images[shown], names_of(test, shown)
        sources = run.sources(x)
        rows, errors = {}, {name: summary["test.squared_error"]}
        if translation:
            rows, errors["source"] = {"source": sources}, summary["source.squared_error"]
        rows[name] = reconstruct_dataset(*trained, sources, encoder=encoder)
        if not translation:
            rows[pca], errors[pca] = pca_reconstructions(train, x, latent_size), summary["pca.squared_error"]
        plot = partial(plotting.save_reconstructions, images=x, reconstructions=rows, errors=errors, names=names)
        save_examples(path, kind, plot, {"original": x} | rows)

    def interpolation(path):
        pairs = run.sources(pairs_of_labels(test, num.pairs))
        grid = interpolate(*trained, pairs, num.points, encoder=encoder)
        rows = {f"{i + 1}": row for i, row in enumerate(grid)}
        ends = pairs.reshape(-1, 2, *pairs.shape[1:])
        save_examples(path, kind, partial(plotting.save_interpolation, grid=grid, ends=ends), rows)

    @cache
    def latents_shown():
        return encode_dataset(*trained, run.sources(test.images[:MAX_SHOWN]), encoder=encoder)

    def traversal(path):
        z, num_directions = latents_shown(), min(8, latent_size, len(test.images) - 1)
        mean = z.mean(axis=0)
        paths = [latents.traversal(mean, v, 9, SPAN) for v in latents.principal_directions(z, num_directions)]
        grid = decode_latents(*trained, np.concatenate(paths)).reshape(len(paths), 9, *model.data_shape)
        plotting.save_traversal(path, grid, SPAN)

    def errors(path):
        x = test.images[:MAX_SHOWN]
        x_hat = decode_latents(*trained, latents_shown())
        each = np.square(np.asarray(to_unit(x)) - x_hat).reshape(len(x), -1).sum(1)
        plotting.save_extremes(path, x, x_hat, each, names_of(test, slice(MAX_SHOWN)))

    def samples(path):
        sources = run.sources(train[:MAX_PRIOR_LATENTS])
        x = sample(*trained, sources, num.samples, jax.random.key(0), encoder=encoder)
        save_examples(path, kind, partial(plotting.save_samples, samples=x), {"samples": x})

    def superresolution(path):
        x = test.images[spread_indices(len(test.images), 4)]
        plotting.save_superresolution(path, x, superresolve(*trained, x, 256))

    def training(path):
        shown = snapshot_examples(test)
        Snapshots(folder / SNAPSHOTS, model, shown, run.sources(shown), summary["num_steps"]).draw(path)

    def classes(path):
        z = latents_shown()
        z = latents.latent_map(z) if latent_size > 2 else z.reshape(len(z), 2)
        title = "latents" if latent_size == 2 else "latents, two principal components"
        plotting.save_scatter(path, z, np.asarray(test.labels)[:MAX_SHOWN], names=dataset.class_names, title=title)

    def loss(path):
        error, nats = f"squared error per {one}", f"nats per {one}"
        by_error = summary["likelihood"] == "squared_error" and model.capabilities.bound is None and not classifies
        trained_by = error if by_error else f"loss per {one}" if classifies else nats
        names: dict[str | None, str] = {"validation.accuracy": "accuracy", "validation.negative_elbo": nats}
        judged_by, below, shown = names.get(summary.get("best_by"), error), None, dict(curves)
        if judged_by != trained_by and "validation" in shown:  # another quantity
            below = judged_by, {"validation": shown.pop("validation")}
        words = f"PCA, {latent_size} components (test)"
        reference = {words: summary["pca.squared_error"]} if by_error and not translation else {}
        plotting.save_curves(path, shown, trained_by, log=by_error, reference=reference, below=below)

    classifies = model.capabilities.classify is not None
    drawn = of_images or kind in SIGNAL_PLOTS
    if kind in ("audio", "voxels", "video") and not drawn:
        logging.getLogger(__name__).warning(f"examples of {kind} are not drawn: {REMEDY}")
    decodes = drawn and not (classifies and not run.config.model.reconstruction_weight)
    pictures = [reconstructions, interpolation, samples] if decodes else []
    if decodes and of_images:
        pictures += [traversal, errors] if len(test.images) > 2 else [errors]
        pictures += [superresolution] if model.capabilities.at is not None else []
    if latent_size >= 2 and test.labels is not None and len(test.images) >= 4 and test.labels.max() < MAX_CLASSES:
        pictures.append(classes)
    if decodes and of_images and (folder / SNAPSHOTS).is_file():
        pictures.append(training)
    failed = []
    shown = bar([*pictures, *[loss] * bool(curves)], "draw" if progress else None, delay=1)
    for picture in shown:
        shown.set_description(f"draw {picture.__name__}")
        try:
            picture(folder / f"{picture.__name__}.png")
        except Exception as error:  # whatever: the run is whole without it, and so are the other pictures
            failed.append(f"{picture.__name__}.png was not drawn: {one_line(error)}")
    for words in failed:
        logging.getLogger(__name__).warning(words)
