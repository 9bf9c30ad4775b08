"""Weights of the authors' models in PyTorch: a run is made of a file of them, and writes such a file."""

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gon_jax._files import crc32, write_text
from gon_jax.arguments import check_kind
from gon_jax.data import fingerprint
from gon_jax.data.sources import check_source
from gon_jax.metrics import selection_metric
from gon_jax.runs.config import NO_DATA, WITHOUT_DATA, Config, DataConfig
from gon_jax.runs.encoder_file import write_encoder
from gon_jax.runs.finishing import draw_run, summarize
from gon_jax.runs.folder import check_folder, remove_run
from gon_jax.runs.lock import check_free, locked
from gon_jax.runs.log import LOG
from gon_jax.runs.restoring import open_checkpoints
from gon_jax.runs.run import Run, load_run
from gon_jax.runs.saved import SavedConfig, write_config, write_summary
from gon_jax.runs.torch_weights import config_of, from_torch, sizes_of, to_torch
from gon_jax.runs.weight_files import read_weights, write_weights
from gon_jax.training import init_state
from gon_jax.training.averaging import average_statistics

__all__ = ["export_weights", "import_weights"]

OWN = "gon_jax"  # the key of what our files say of a model beside its weights, as JSON
IMAGE_SIZE = 28  # of the authors' implicit model


def import_weights(
    path: str | Path,
    folder: str | Path,
    *,
    data: DataConfig = WITHOUT_DATA,
    step_size: float | None = None,
    omega_0: float | None = None,
    overwrite: bool = False,
    pictures: bool = True,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Make a run of weights that PyTorch saved of one of the authors' models; its sizes are those of the weights.

    With data, averaged statistics are computed in one pass over the training part, and the run is evaluated and drawn
    on the test part like a trained one; which of these examples the weights were trained on is not known. Without, it
    evaluates by batch statistics.

    Args:
        path: a `.safetensors` or, with PyTorch installed, a `.pt`, `.pth` or `.bin` with a state dict.
        folder: the run's; new or empty.
        data: what to evaluate on. Its `image_size` need not be given: it is that of the weights, and of an implicit
            model without data 28.
        step_size: of latents; by default the authors', whose inner loss is a mean over a batch of 64.
        omega_0: of an implicit model, by default the authors' 30: weights do not show it.
        overwrite: remove the run in the folder first.
        pictures: draw, where there are data.
        progress: show progress bars.

    Returns:
        The summary, or None without data.

    Raises:
        ValueError, FileNotFoundError, ImportError: for weights that are not of these models, by the first name that is
            not as expected, or that cannot be read; for data of another shape; for such a folder as `train` refuses.
    """
    check_kind("path", path, str | os.PathLike, "the place of the weights")
    check_kind("folder", folder, str | os.PathLike, "the place of the run")
    path, folder = Path(path), Path(folder)
    weights, metadata = read_weights(path)
    sizes, options = sizes_of(weights), _read_own(metadata, path)
    options |= {name: x for name, x in {"step_size": step_size, "omega_0": omega_0}.items() if x is not None}
    spatial = tuple(options.pop("data_shape", ()))[:-1] or (IMAGE_SIZE, IMAGE_SIZE)
    if sizes.image_size is not None and data.image_size not in (None, sizes.image_size):
        raise ValueError(f"expected image_size={sizes.image_size}, that of {path}, got {data.image_size}: leave it out")
    if data.image_size is not None:
        spatial = data.image_size, data.image_size
    data = data if data.dataset == NO_DATA else data.absolute()
    data = dataclasses.replace(data, image_size=sizes.image_size or data.image_size)

    check_free(folder)
    check_folder(folder, Config(data=data), False, overwrite)
    with locked(folder):
        check_folder(folder, Config(data=data), False, overwrite)  # again, now that nobody else changes it
        dataset = None if data.dataset == NO_DATA else data.load()
        if dataset is not None:
            spatial = dataset.train.images.shape[1:-1]
        config, data_shape = config_of(sizes, spatial)
        config = dataclasses.replace(config.replace(**options), data=data)
        params = from_torch(config, data_shape, weights).params
        imported = {"weights": path.name, "crc32": crc32(*weights.values())}
        if dataset is None:
            _write(config, data_shape, params, None, folder, imported, overwrite, progress)
            return None
        num_train = len(check_source(dataset.train.images, data_shape))
        config = config.replace(batch_size=min(config.training.batch_size, num_train))
        run = _write(config, data_shape, params, dataset, folder, imported, overwrite, progress)
        return _evaluate(run, dataset, pictures, progress)


def _write(config, data_shape, params, dataset, folder, imported, overwrite, progress):
    """Write a run that has parameters and no training, and return it."""
    model, training = config.build(data_shape), config.training
    key, num_train, now = jax.random.key(training.seed), None, None
    state = init_state(model, training.optimizer(), key)._replace(params=params)
    if dataset is None:
        imported["evaluation"] = "running" if state.stats is None else "batch"
    else:
        train, label = config.model.arrays(dataset.train, training=True), "average statistics" if progress else None
        averaged = average_statistics(model, params, train, key, batch_size=training.batch_size, progress=label)
        state, num_train, now = state._replace(stats=averaged.stats), len(dataset.train.images), fingerprint(dataset)
        imported["evaluation"] = "running"
    if overwrite:
        remove_run(folder)
    best_by = f"validation.{selection_metric(model)}"
    saved = SavedConfig(config, data_shape, num_train, best_by, now, imported)
    write_config(folder, saved)
    write_text(folder / LOG, "")
    with open_checkpoints(folder, saved, create=True) as checkpoints:
        checkpoints.save(0, state, saved.to_dict(), {best_by: np.nan, "seconds_training": 0.0})
    run = load_run(folder)
    if run.encoder is not None:
        write_encoder(folder / "encoder.npz", run.encoder, run.variables, run.step, data_shape)
    return run


def _evaluate(run, dataset, pictures, progress):
    """Write the summary and the pictures of such a run, and return the former."""
    if progress:
        print(*dataset.notes, sep="\n", file=sys.stderr, end="\n" * bool(dataset.notes))
    summary = summarize(run, dataset, run.config.model.arrays(dataset.test), None, progress)
    summary |= {"num_steps": 0, "best_step": 0, "best_by": None, "seconds_training": 0.0, "seconds_compile": 0.0}
    write_summary(run.folder, summary)
    error, of_mean = summary["test.squared_error"], summary["mean_image.squared_error"]
    if error > of_mean:
        logging.getLogger(__name__).warning(
            f"the squared error, {error:.4g}, is above that of the mean training example, {of_mean:.4g}: the weights "
            "are of other data, of data in another range, or of another latent step size (--step-size)"
        )
    if pictures:
        draw_run(run, dataset, summary, progress)
    return summary


def export_weights(run: Run, path: str | Path) -> None:
    """Write the weights of a run as the state dict that the authors' model loads, in safetensors.

    The step size of latents and what else weights do not show is in the file's metadata, where `import_weights` finds
    it.

    Args:
        run: of one of the authors' models.
        path: a `.safetensors`.

    Raises:
        ValueError: for a run of any other model.
        ImportError, OSError: without safetensors; if the file cannot be written.
        TypeError: for what is no run, or no path.
    """
    check_kind("run", run, Run, "gon_jax.load_run(folder) reads one")
    check_kind("path", path, str | os.PathLike, "the place of the weights")
    options = run.config.options()
    own = {name: options[name] for name in ("step_size", "omega_0") if options.get(name) is not None}
    own |= {"data_shape": list(run.model.data_shape)}
    weights = to_torch(run.config, run.variables, num_batches=run.step)
    write_weights(Path(path), weights, {"format": "pt", OWN: json.dumps(own)})


def _read_own(metadata: dict[str, str], path: Path) -> dict[str, Any]:
    """Return what a file of ours says of its model."""
    try:
        own = json.loads(metadata.get(OWN, "{}"))
        return {name: own[name] for name in ("step_size", "omega_0", "data_shape") if name in own}
    except (ValueError, TypeError) as error:
        raise ValueError(f"expected JSON as {OWN!r} in the metadata of {path}, got something else: {error}") from error
