"""The end of a run: its metrics on held-out data, its pictures, and the page that holds them."""

import importlib.metadata
import math
import os
import platform
from typing import Any

import jax
import numpy as np

import gon_jax
from gon_jax.data import Dataset
from gon_jax.metrics import evaluate
from gon_jax.pca import mean_error, pca_errors
from gon_jax.runs.log import read_curves
from gon_jax.runs.pictures import draw
from gon_jax.runs.report import write_report
from gon_jax.runs.run import Run

__all__ = ["draw_run", "summarize"]

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def summarize(
    run: Run, dataset: Dataset, data: dict[str, Any], pca: dict[str, float] | None, progress: bool
) -> dict[str, Any]:
    """Return the held-out metrics of a trained model, and what they were made with.

    Args:
        run, dataset: the run and its data.
        data: the test part as `run.config.model.arrays` returns it.
        pca: `gon_jax.pca.pca_errors` of that dataset and latent size, where they are at hand.
        progress: show progress bars.
    """
    config, model, variables = run.config, run.model, run.variables
    latent_size = math.prod(config.latent_shape)
    batch_size = config.training.batch_size
    metrics = run.evaluate(data, batch_size=batch_size, progress="evaluate" if progress else None)
    metrics["squared_error_batch"] = metrics["squared_error"]
    if variables.stats is not None:
        by_batch = evaluate(model, variables, data, evaluation="batch", batch_size=batch_size)
        metrics["squared_error_batch"] = by_batch["squared_error"]
    test = {f"test.{name}": value for name, value in metrics.items() if name != "num_samples"}
    if "target" in data:
        difference = (data["x"] / np.float32(255) - data["target"] / np.float32(255)).reshape(len(data["x"]), -1)
        test["source.squared_error"] = float(np.square(difference).sum(1).mean())
    label = "PCA" if progress else None
    pca = pca or pca_errors(dataset.train.images, dataset.test.images, latent_size, progress=label)
    reconstructs = getattr(config.model, "reconstruction_weight", 1.0) > 0
    if model.capabilities.classify is None or reconstructs:
        test["mean_image.squared_error"] = mean_error(dataset.train.images, dataset.test.images)
    device = jax.devices()[0]
    return {
        "model": config.model.name,
        "dataset": config.data.dataset,
        "likelihood": config.likelihood.name,
        "num_train": len(dataset.train.images),
        "num_test": len(dataset.test.images),
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(variables.params)),
        "latent_size": latent_size,
        **test,
        **{f"pca.{name}": value for name, value in pca.items()},
        "versions": {"python": platform.python_version(), "gon_jax": gon_jax.__version__}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": device.device_kind + (f" ({os.cpu_count()} cores)" if device.platform == "cpu" else ""),
    }


def draw_run(run: Run, dataset: Dataset, summary: dict[str, Any], progress: bool) -> None:
    """Draw the pictures of a finished run, and write the page that holds them.

    Args:
        run, dataset, summary: the run, its data, and what `summarize` returned.
        progress: show progress bars.
    """
    curves = read_curves(run.folder, summary.get("best_by") or "")
    draw(run.folder, run, dataset, curves, summary, progress=progress)
    write_report(run.folder, run.config, summary, dataset.notes)
