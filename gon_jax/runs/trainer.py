"""Training in a folder: a configuration is trained, saved, resumed, evaluated, drawn."""

import dataclasses
import logging
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gon_jax.arguments import check_kind
from gon_jax.data import Dataset, fingerprint
from gon_jax.data.decoded import decode_once, remove_decoded
from gon_jax.data.sources import check_source
from gon_jax.metrics import selection_metric
from gon_jax.runs.config import Config
from gon_jax.runs.encoder_file import write_encoder
from gon_jax.runs.finishing import draw_run, summarize
from gon_jax.runs.folder import SNAPSHOTS, check_folder, remove_run
from gon_jax.runs.lock import check_free, locked
from gon_jax.runs.log import Log
from gon_jax.runs.pictures import snapshot_examples
from gon_jax.runs.report import REPORT
from gon_jax.runs.restoring import open_checkpoints, restore_last
from gon_jax.runs.run import check_unchanged, load_run
from gon_jax.runs.saved import SavedConfig, read_summary, write_config, write_summary
from gon_jax.runs.snapshots import Snapshots
from gon_jax.training import Report, check_size, fit

__all__ = ["train"]

MAX_SAVES = 200  # checkpoints of a run, where nothing else is asked for: each takes tens of milliseconds


def train(
    config: Config,
    folder: str | Path,
    *,
    dataset: Dataset | None = None,
    pca: dict[str, float] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    pictures: bool = True,
    progress: bool = True,
    should_stop: Callable[[], bool] | None = None,
) -> dict[str, Any] | None:
    """Train the model of a configuration and leave everything about it in a folder.

    Args:
        config: what to train.
        folder: the run's; new or empty, unless one of the next two.
        dataset: `config.data.load()`, where it is at hand.
        pca: `gon_jax.pca.pca_errors` of that dataset and latent size, where they are at hand.
        resume: continue the run in the folder from its last checkpoint, bit for bit as if never interrupted.
        overwrite: remove the run in the folder first, and nothing that it didn't write.
        pictures: draw at the end.
        progress: show progress bars.
        should_stop: asked after each report whether to save and stop.

    Returns:
        The summary; or `None` if it was stopped, after the state was saved.

    Raises:
        ValueError, FileNotFoundError: for a mistake in any of these, before any work; for a folder that another process
            trains in.
        OSError: if what is to be read or written is damaged or cannot be; what was saved stays.
        NonFiniteLossError: if training diverged; the last good checkpoint is kept.
    """
    check_kind("config", config, Config, "gon_jax.runs.Config().replace(dataset=...) makes one")
    check_kind("folder", folder, str | os.PathLike, "the place of the run")
    folder, config = Path(folder), dataclasses.replace(config, data=config.data.absolute())
    check_free(folder)
    check_folder(folder, config, resume, overwrite)
    with locked(folder):
        before = check_folder(folder, config, resume, overwrite)  # again, now that nobody else changes it
        finished = read_summary(folder) if resume else None
        if finished is not None and finished["num_steps"] >= config.training.num_steps:
            run = load_run(folder, "last")  # whether it can still be read, and the best too
            run = run if finished["best_step"] == run.step else load_run(folder)
            remove_decoded(folder)
            if pictures and not (folder / "loss.png").is_file():  # it was stopped while it drew
                draw_run(run, run.dataset(), finished, progress)
            return finished
        return _train(config, folder, before, dataset, pca, resume, overwrite, pictures, progress, should_stop)


def _train(config, folder, before, dataset, pca, resume, overwrite, pictures, progress, should_stop):
    """Train in a folder that is this process's; `before` is what a run to resume has saved."""
    training = config.training

    if config.data.image_size is not None:  # a wrong size or latent shape is told before images are read
        check_size(config.build((config.data.image_size, config.data.image_size, 1)))
    dataset = dataset or config.data.load()
    now = fingerprint(dataset)
    if before is not None:
        check_unchanged(before.fingerprint, now, dataset.name, str(folder))
    data_shape = dataset.train.images.shape[1:] if before is None else before.data_shape
    num_train = len(check_source(dataset.train.images, data_shape))
    model = config.build(data_shape)
    check_size(model, num_train)
    if training.batch_size > num_train:
        raise ValueError(
            f"expected a batch_size of at most {num_train}, the training images of {config.data.dataset}, got "
            f"{training.batch_size}; lower it"
        )
    data = config.model.arrays(dataset.train, training=True)
    validation = None if dataset.validation is None else config.model.arrays(dataset.validation)
    test = config.model.arrays(dataset.test)  # what it refuses is refused now, and not after training
    if overwrite:
        remove_run(folder)
    best_by = f"validation.{selection_metric(model)}" if before is None else before.best_by
    saved = SavedConfig(config, model.data_shape, num_train, best_by, now, before and before.imported)
    if not resume:
        write_config(folder, saved)  # before anything else: it makes the folder a run's
    if progress:
        print(*dataset.notes, sep="\n", file=sys.stderr, end="\n" * bool(dataset.notes))
    epoch = num_train // training.batch_size
    if not config.data.decode_always and training.num_steps > epoch:
        dataset, line = decode_once(dataset, folder, progress=progress)
        if progress and line:
            print(line, file=sys.stderr)
        data = config.model.arrays(dataset.train, training=True)
        validation = None if dataset.validation is None else config.model.arrays(dataset.validation)
        test = config.model.arrays(dataset.test)
    save_every = training.validate_every or epoch * math.ceil(training.num_steps / (MAX_SAVES * epoch))

    with open_checkpoints(folder, saved, create=True) as checkpoints:
        state, seconds_before = None, 0.0
        if checkpoints.steps:
            state, seconds_before = restore_last(checkpoints, model, saved)
        if resume:  # now that nothing is left to refuse
            (folder / "summary.json").unlink(missing_ok=True)
            (folder / REPORT).unlink(missing_ok=True)
            write_config(folder, saved)
        first_step = 0 if state is None else int(state.step)
        log, snapshots = Log(folder, first_step), None
        if pictures and dataset.kind == "images":
            shown = snapshot_examples(dataset.test)
            snapshots = Snapshots(folder / SNAPSHOTS, model, shown, config.model.sources(shown), first_step)

        def on_report(report: Report):
            metrics = {"step": report.step, "loss": float(report.losses.mean())}
            metrics["seconds"] = seconds_before + report.seconds
            metrics |= {f"validation.{name}": value for name, value in (report.validation or {}).items()}
            log.write(metrics)
            if report.step % save_every == 0 or report.step == training.num_steps or report.stopping:
                scores = {best_by: metrics.get(best_by, np.nan), "seconds_training": metrics["seconds"]}
                checkpoints.save(report.step, report.state, saved.to_dict(), scores)
                if snapshots is not None:
                    snapshots.take(report.step, report.state.variables, final=report.step == training.num_steps)

        try:
            result = fit(
                model,
                data,
                training.num_steps,
                jax.random.key(training.seed),
                optimizer=training.optimizer(),
                latent_optimizer=config.model.latent_optimizer(),
                batch_size=training.batch_size,
                validation=validation,
                validate_every=save_every,
                ema_decay=training.ema_decay,
                stats_decay=training.stats_decay,
                state=state,
                on_report=on_report,
                should_stop=should_stop,
                progress=progress,
                memory_limit=config.data.memory_limit,
            )
        finally:
            log.close()
        if result.interrupted:
            return None
        best_step = checkpoints.best_step

    run = load_run(folder)
    if run.encoder is not None:
        write_encoder(folder / "encoder.npz", run.encoder, run.variables, run.step, model.data_shape)
    summary = summarize(run, dataset, test, pca, progress) | {
        "num_steps": int(result.state.step),
        "best_step": best_step,
        "best_by": None if validation is None else best_by,
        "seconds_training": seconds_before + result.seconds_training,
        "seconds_compile": result.seconds_compile,
        "seconds_waiting": result.seconds_waiting,
    }
    write_summary(folder, summary)  # before pictures: what fails there loses nothing
    if summary["test.squared_error"] > summary.get("mean_image.squared_error", math.inf):
        logging.getLogger(__name__).warning(
            f"the squared error, {summary['test.squared_error']:.4g}, is above that of the mean training example, "
            f"{summary['mean_image.squared_error']:.4g}: training has hardly begun, or a learning rate is too large"
        )
    if pictures:
        draw_run(run, dataset, summary, progress)
    remove_decoded(folder)
    return summary
