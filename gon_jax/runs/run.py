"""A run: a configuration is trained in a folder, and the trained model is loaded from the folder alone."""

import importlib.metadata
import os
import platform
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import gon_jax
from gon_jax._files import write_json
from gon_jax.checkpoints import Checkpoints
from gon_jax.data import Dataset, check_images, load
from gon_jax.runs.config import Config
from gon_jax.runs.encoder_file import read_encoder, write_encoder
from gon_jax.runs.examples import arrays_of, dataset_of, pca_errors_of, sources_of
from gon_jax.runs.folder import (
    METRIC,
    Log,
    check_folder,
    config_dict,
    read_config,
    read_summary,
    remove_run,
)
from gon_jax.runs.making import make_model, optimizer_of
from gon_jax.runs.pictures import draw
from gon_jax.likelihoods import sum_per_example
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference import frozen_encoder
from gon_jax.metrics import accuracy, evaluate, evaluate_bound
from gon_jax.base import Model, Variables
from gon_jax.training import TrainState, fit, init_state, make_optimizer

# The fields of config.json that make the model; one that a checkpoint lacks, since it is older, had its default.
OF_MODEL = "model image_shape latent_shape base_channels norm activation likelihood scale step_size".split()
OF_MODEL += "encoder damping learn_damping precision inner_kl_weight inner_noise logvar num_components".split()
OF_MODEL += "network hidden_dim num_layers omega_0 first_omega_0 bandwidth num_frequencies".split()
OF_MODEL += "num_classes reconstruction_weight inner_steps detached learn_origin learn_step_size".split()
OF_MODEL += "origin_scale encoding".split()
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class Run(NamedTuple):
    """A trained model and where it came from.

    Attributes:
        folder, config, model: the run.
        variables: at the checkpoint of `step`.
        encoder: `frozen_encoder(model, variables)`, read from the folder where it is saved.
    """

    folder: Path
    config: Config
    model: Model
    variables: Variables
    step: int
    encoder: FrozenEncoder | None

    def dataset(self, name: str | None = None) -> Dataset:
        """Return the dataset that the run was trained on, with the same held-out examples; or another by name."""
        config = self.config
        if name in (None, config.dataset):
            dataset = dataset_of(config)
        else:
            dataset = load(name, image_size=self.model.data_shape[0])
        check_images(dataset.test.images, self.model.data_shape)
        return dataset

    def sources(self, images: np.ndarray) -> np.ndarray:
        """Return what the model encodes, of images that it is to give back: for a translation, other images."""
        return sources_of(self.config, images)


def load_run(folder: str | Path, which: str = "best") -> Run:
    """Load a trained model from its folder alone.

    Args:
        folder: a run's.
        which: "best" (by validation error; without one, the last) or "last".

    Raises:
        FileNotFoundError: if there is no run, or no checkpoint yet.
        ValueError: if the checkpoint is of another model than the configuration.
    """
    folder = Path(folder)
    config, image_shape, num_train = read_config(folder)
    model = make_model(config, image_shape)
    with Checkpoints(folder, metric=METRIC) as checkpoints:
        state = _restore(checkpoints, model, config, which, num_train)
    variables, step = state.variables, int(state.step)
    encoder = read_encoder(folder / "encoder.npz", variables, step, model.data_shape, model.latent_shape)
    return Run(folder, config, model, variables, step, encoder or frozen_encoder(model, variables))


def _latent_options(model: Model, config: Config, num_train: int | None) -> dict:
    """Return what `init_state` takes for a model with latents of the training data."""
    if model.latents is None:
        return {}
    return {"num_examples": num_train, "latent_optimizer": make_optimizer(config.latent_learning_rate)}


def _restore(
    checkpoints: Checkpoints, model: Model, config: Config, which: str, num_train: int | None = None
) -> TrainState:
    """Restore a state of this configuration's model, and of no other."""
    ours, theirs = config_dict(config, model.data_shape), checkpoints.read_config(which)
    theirs = config_dict(Config(), ()) | theirs
    for name in OF_MODEL:
        if ours[name] != theirs[name]:
            raise ValueError(
                f"expected a checkpoint of the model in config.json, {name}={ours[name]}, got one with "
                f"{theirs[name]} in {checkpoints.folder}; one of the two is of another run"
            )
    options = _latent_options(model, config, num_train)
    init = partial(init_state, model, optimizer_of(config), ema_decay=config.ema_decay, **options)
    return checkpoints.restore(jax.eval_shape(init, jax.random.key(0)), which)


def train(
    config: Config,
    folder: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    pictures: bool = True,
    progress: bool = True,
) -> dict | None:
    """Train the model of a configuration and leave everything about it in a folder.

    Args:
        config: what to train.
        folder: the run's; new or empty, unless one of the next two.
        resume: continue the run in the folder from its last checkpoint, bit for bit as if never interrupted.
        overwrite: remove the run in the folder first, and nothing that it didn't write.
        pictures: draw at the end.
        progress: show progress bars.

    Returns:
        The summary; or `None` if Ctrl-C or SIGTERM came, after the state was saved.

    Raises:
        ValueError, FileNotFoundError: for a mistake in any of these, before any work.
        NonFiniteLossError: if training diverged; the last good checkpoint is kept.
    """
    folder = Path(folder)
    image_shape = check_folder(folder, config, resume, overwrite)
    if resume and (summary := read_summary(folder)) is not None and summary["num_steps"] >= config.num_steps:
        return summary

    if config.image_size is not None:  # a wrong size or latent shape is told before images are read
        make_model(config, (config.image_size, config.image_size, 1))
    dataset = dataset_of(config)
    check_images(dataset.train.images, image_shape)
    model = make_model(config, dataset.train.images.shape[1:])
    optimizer = optimizer_of(config)
    if config.batch_size > len(dataset.train.images):
        raise ValueError(
            f"expected a batch_size of at most {len(dataset.train.images)}, the training images of {config.dataset}, "
            f"got {config.batch_size}; lower it"
        )

    data = arrays_of(config, dataset.train, training=True)
    held_out = dataset.validation
    validation = None if held_out is None else arrays_of(config, held_out, training=False)
    if overwrite:
        remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    num_train = len(dataset.train.images)
    saved_config = config_dict(config, model.data_shape, num_train)
    if not resume:
        write_json(folder / "config.json", saved_config)  # before anything else: it makes the folder a run's
    save_every = config.validate_every or len(dataset.train.images) // config.batch_size

    with Checkpoints(folder, metric=METRIC, create=True) as checkpoints:
        state, seconds_before = None, 0.0
        if checkpoints.steps:
            state = _restore(checkpoints, model, config, "last", num_train)
            seconds_before = checkpoints.read_metrics()["seconds_training"]
        if resume:  # now that nothing is left to refuse
            (folder / "summary.json").unlink(missing_ok=True)
            write_json(folder / "config.json", saved_config)
        log = Log(folder, 0 if state is None else int(state.step))

        def on_report(report):
            row = {"step": report.step, "loss": float(report.losses.mean()), "seconds": seconds_before + report.seconds}
            row |= {f"validation.{name}": value for name, value in (report.validation or {}).items()}
            log.write(row)
            if report.step % save_every == 0 or report.step == config.num_steps or report.stopping:
                figures_ = {METRIC: row.get(METRIC, np.nan), "seconds_training": row["seconds"]}
                checkpoints.save(report.step, report.state, saved_config, figures_)

        try:
            result = fit(
                model,
                data,
                config.num_steps,
                jax.random.key(config.seed),
                optimizer=optimizer,
                batch_size=config.batch_size,
                validation=validation,
                validate_every=save_every,
                ema_decay=config.ema_decay,
                stats_decay=config.stats_decay,
                state=state,
                latent_optimizer=_latent_options(model, config, num_train).get("latent_optimizer"),
                on_report=on_report,
                progress=progress,
            )
        finally:
            log.close()
        if result.interrupted:
            return None
        best_step = checkpoints.best_step

    run = load_run(folder)
    if run.encoder is not None:
        write_encoder(folder / "encoder.npz", run.encoder, run.variables, run.step, model.data_shape)
    summary = _summarize(run, dataset, progress=progress) | {
        "num_steps": int(result.state.step),
        "best_step": best_step,
        "seconds_training": seconds_before + result.seconds_training,
        "seconds_compile": result.seconds_compile,
    }
    if pictures:
        draw(folder, run, dataset, log.curves(), summary, progress=progress)
    write_json(folder / "summary.json", summary)
    return summary


def _summarize(run: Run, dataset: Dataset, progress: bool) -> dict:
    """Return the held-out figures of a trained model, and what they were made with."""
    config, test = run.config, dataset.test.images
    x = run.sources(test)
    data = {"x": x, "target": test}
    measure = partial(evaluate, run.model, run.variables, data, batch_size=config.batch_size)
    running = measure(encoder=run.encoder, progress="evaluate" if progress else None)
    by_batch = measure(evaluation="batch") if run.variables.stats is not None else running
    more = {}
    if run.model.bound is not None:
        key = jax.random.key(0)
        bound = evaluate_bound(run.model, run.variables, test, key, progress="evaluate" if progress else None)
        names = ("negative_elbo", "nll", "kl", "bits_per_dim")
        more |= {f"test.{name}": bound[name] for name in names if name in bound}
    if run.model.classify is not None:
        more["test.accuracy"] = accuracy(run.model, run.variables, {"x": test, "y": dataset.test.labels})
    if x is not test:
        error = sum_per_example((x / np.float32(255) - test / np.float32(255)) ** 2).mean()
        more["source.squared_error"] = float(error)
    latent_size = int(np.prod(config.latent_shape))
    pca = pca_errors_of(config, dataset, latent_size)
    return {
        "model": config.model,
        "dataset": config.dataset,
        "likelihood": config.likelihood,
        "num_train": len(dataset.train.images),
        "num_test": len(test),
        "num_parameters": sum(leaf.size for leaf in jax.tree.leaves(run.variables.params)),
        "latent_size": latent_size,
        "reconstruction_weight": config.reconstruction_weight,
        "test.squared_error": running["squared_error"],
        "test.psnr": running["psnr"],
        "test.squared_error_batch": by_batch["squared_error"],
        **more,
        "pca.squared_error": pca["squared_error"],
        "pca.psnr": pca["psnr"],
        "versions": {"python": platform.python_version(), "gon_jax": gon_jax.__version__}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "device": f"{jax.devices()[0].device_kind} ({os.cpu_count()} cores)"
        if jax.default_backend() == "cpu"
        else jax.devices()[0].device_kind,
    }
