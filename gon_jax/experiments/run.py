"""A run: a folder that holds a configuration, checkpoints, logs, pictures and, when it is finished, a summary.

    config.json       the configuration, and the shape of the images
    checkpoints/      the best and the last state, each with the configuration
    encoder.npz       the best state's encoder, a matrix and a bias for NumPy alone; its `note` is the formula
    metrics.jsonl     one line a report: step, loss, validation figures
    events.*          the same for TensorBoard
    summary.json      held-out figures, written last: its presence says that the run is finished
    *.png, .wav, .gif what to look at or listen to first
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import shutil
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import gon_jax
from gon_jax.bounds import evaluate_bound
from gon_jax.checkpoints import Checkpoints, read_encoder, write_encoder, write_file
from gon_jax.data import DATASETS, DEGRADATIONS, Dataset, Split, check_images, load
from gon_jax.experiments.pictures import draw
from gon_jax.experiments.presets import Config, make_model, optimizer_of
from gon_jax.likelihoods import sum_per_example
from gon_jax.linearisation import FrozenEncoder
from gon_jax.metrics import accuracy, evaluate, frozen_encoder, pca_errors
from gon_jax.models import Model, Variables
from gon_jax.training import TrainState, fit, init_state, make_optimizer

PICTURES = ("reconstructions.png", "interpolation.png", "samples.png", "loss.png")
SIGNALS = tuple(path.replace("png", suffix) for path in PICTURES[:3] for suffix in ("wav", "gif"))
# All that a run writes, in the order of removal: what is left of an interrupted one is an unfinished run.
WRITTEN = ("summary.json", *PICTURES, "superresolution.png", "classes.png", *SIGNALS, "encoder.npz", "metrics.jsonl")
WRITTEN += ("events.out.tfevents.*", "checkpoints", "config.json")
# The fields of config.json that make the model; one that a checkpoint lacks, since it is older, had its default.
OF_MODEL = "model image_shape latent_shape base_channels norm activation likelihood scale step_size".split()
OF_MODEL += "encoder damping learn_damping precision inner_kl_weight inner_noise logvar num_components".split()
OF_MODEL += "network hidden_dim num_layers omega_0 first_omega_0 bandwidth num_frequencies".split()
OF_MODEL += "num_classes reconstruction_weight inner_steps detached learn_origin learn_step_size".split()
OF_MODEL += "origin_scale encoding".split()
METRIC = "validation.squared_error"
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


@lru_cache(maxsize=1)
def _load_named(name, image_size, num_validation):
    return load(name, image_size=image_size, num_validation=num_validation)


def dataset_of(config: Config) -> Dataset:
    """Return the dataset of a configuration; the last one of those with names is kept, for the next run on it."""
    read = _load_named if config.dataset in DATASETS else load
    return read(config.dataset, image_size=config.image_size, num_validation=config.num_validation)


@lru_cache(maxsize=16)
def _pca_of(name, image_size, num_validation, latent_size):
    dataset = _load_named(name, image_size=image_size, num_validation=num_validation)
    return pca_errors(dataset.train.images, dataset.test.images, latent_size)


def _pca_errors(config, dataset, latent_size):
    """Return PCA's errors; where many runs follow one another on the same data, it is fitted once."""
    if config.dataset in DATASETS:
        return _pca_of(config.dataset, config.image_size, config.num_validation, latent_size)
    return pca_errors(dataset.train.images, dataset.test.images, latent_size)


def sources_of(config: Config, images: np.ndarray, *, training: bool = False) -> np.ndarray:
    """Return what the model of a configuration encodes, of images that it is to give back.

    Args:
      config: whose `source` a translation starts from.
      images: `[N, H, W, C]`, uint8.
      training: noise is another for what is trained on than for what is held out.
    """
    if config.model != "translation":
        return images
    options = {"seed": int(training)} if config.source == "noisy" else {}
    return DEGRADATIONS[config.source](images, **options)


def _arrays_of(config: Config, split: Split, *, training: bool) -> dict[str, np.ndarray]:
    """Return the arrays that `fit` takes batches of, or validates on.

    Raises:
      ValueError: for a classifier without labels, or with others than 0, ..., num_classes - 1.
    """
    data = {"x": sources_of(config, split.images, training=training)}
    if config.model == "translation":
        data["target"] = split.images
    if config.model == "classifier":
        if split.labels is None:
            raise ValueError(f"expected labels for a classifier, got {config.dataset}, which has none")
        if split.labels.max() >= config.num_classes:
            raise ValueError(
                f"expected labels below num_classes={config.num_classes}, got {split.labels.max()} in "
                f"{config.dataset}; take --num-classes {split.labels.max() + 1}"
            )
        data["y"] = split.labels
    return data


def _write_text(path: Path, text: str) -> None:
    write_file(path, lambda file: file.write(text.encode()))


def _write_json(path: Path, content) -> None:
    _write_text(path, json.dumps(content, indent=2) + "\n")


def _read_json(path: Path):
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"expected JSON in {path}, got something else ({error}); the file is damaged") from error


def _config_dict(config: Config, image_shape, num_train: int | None = None) -> dict:
    """Return what config.json holds."""
    shapes = {"latent_shape": list(config.latent_shape), "image_shape": list(image_shape)}
    return dataclasses.asdict(config) | shapes | {"num_train": num_train}


def _read_config(folder: Path) -> tuple[Config, tuple[int, int, int], int | None]:
    """Return the configuration, the shape of the images, and how many were trained on."""
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a run in {folder}, got no {path}; give a folder that `gon train` wrote, as runs/gon-digits"
        )
    try:
        values = dict(_read_json(path))
        image_shape, num_train = tuple(values.pop("image_shape")), values.pop("num_train", None)
        return Config(**values | {"latent_shape": tuple(values["latent_shape"])}), image_shape, num_train
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"expected the configuration of a run in {path}, got one with other fields ({error}); "
            f"it is probably of another program, or of another version of gon_jax than {gon_jax.__version__}"
        ) from error


def read_summary(folder: Path) -> dict | None:
    """Return the summary of a finished run, or `None` if it isn't finished."""
    path = Path(folder) / "summary.json"
    return _read_json(path) if path.is_file() else None


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
    config, image_shape, num_train = _read_config(folder)
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
    ours, theirs = _config_dict(config, model.data_shape), checkpoints.read_config(which)
    theirs = _config_dict(Config(), ()) | theirs
    for name in OF_MODEL:
        if ours[name] != theirs[name]:
            raise ValueError(
                f"expected a checkpoint of the model in config.json, {name}={ours[name]}, got one with "
                f"{theirs[name]} in {checkpoints.folder}; one of the two is of another run"
            )
    options = _latent_options(model, config, num_train)
    init = partial(init_state, model, optimizer_of(config), ema_decay=config.ema_decay, **options)
    return checkpoints.restore(jax.eval_shape(init, jax.random.key(0)), which)


def _check_folder(folder: Path, config: Config, resume: bool, overwrite: bool) -> tuple[int, int, int] | None:
    """Refuse a folder that holds something, unless told what to do with it; return the image shape of one to resume."""
    if resume and overwrite:
        raise ValueError("expected --resume or --overwrite, got both; the one keeps what the other removes")
    if resume:
        saved, image_shape, _ = _read_config(folder)
        ours, theirs = dataclasses.asdict(config), dataclasses.asdict(saved)
        changed = [name for name in ours if ours[name] != theirs[name]]
        if changed and not (changed == ["num_steps"] and config.schedule == "constant"):
            name = changed[0]
            raise ValueError(
                f"expected the configuration that {folder} was trained with, got {name}={ours[name]} instead of "
                f"{theirs[name]}; resume with the same options, or train into another folder"
            )
        return image_shape
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder for the run, got the file {folder}; choose another")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "config.json").is_file():
            raise ValueError(f"expected a new or empty folder, got {folder}, which holds other things; choose another")
        if not overwrite:
            raise ValueError(
                f"expected a folder without a run, got {folder}, which holds one; continue it with --resume, or remove "
                "it with --overwrite"
            )
        _read_config(folder)  # other programs write a config.json too
    return None


def _remove_run(folder: Path) -> None:
    """Remove what a run wrote, and nothing else."""
    for pattern in WRITTEN:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class _Log:
    """What is written while training: metrics.jsonl and TensorBoard events."""

    def __init__(self, folder: Path, step: int):
        from tensorboardX import SummaryWriter

        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]  # not one that a full disk cut off
        self.rows = [row for row in rows if row["step"] <= step]  # later ones were made after the last checkpoint
        _write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = path.open("a")
        self._events = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)

    def write(self, row: dict) -> None:
        self.rows.append(row)
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name.replace(".", "/"), value, row["step"])

    def close(self) -> None:
        self._file.close()
        self._events.close()

    def curves(self) -> dict[str, tuple[list[int], list[float]]]:
        """Return steps and values of the training loss, and of the validation error where there is one."""
        rows = {"training": [(row["step"], row["loss"]) for row in self.rows]}
        rows["validation"] = [(row["step"], row[METRIC]) for row in self.rows if METRIC in row]
        return {name: tuple(map(list, zip(*points, strict=True))) for name, points in rows.items() if points}


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
    image_shape = _check_folder(folder, config, resume, overwrite)
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

    data = _arrays_of(config, dataset.train, training=True)
    held_out = dataset.validation
    validation = None if held_out is None else _arrays_of(config, held_out, training=False)
    if overwrite:
        _remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    num_train = len(dataset.train.images)
    saved_config = _config_dict(config, model.data_shape, num_train)
    if not resume:
        _write_json(folder / "config.json", saved_config)  # before anything else: it makes the folder a run's
    save_every = config.validate_every or len(dataset.train.images) // config.batch_size

    with Checkpoints(folder, metric=METRIC, create=True) as checkpoints:
        state, seconds_before = None, 0.0
        if checkpoints.steps:
            state = _restore(checkpoints, model, config, "last", num_train)
            seconds_before = checkpoints.read_metrics()["seconds_training"]
        if resume:  # now that nothing is left to refuse
            (folder / "summary.json").unlink(missing_ok=True)
            _write_json(folder / "config.json", saved_config)
        log = _Log(folder, 0 if state is None else int(state.step))

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
    summary = _summarise(run, dataset, progress=progress) | {
        "num_steps": int(result.state.step),
        "best_step": best_step,
        "seconds_training": seconds_before + result.seconds_training,
        "seconds_compile": result.seconds_compile,
    }
    if pictures:
        draw(folder, run, dataset, log.curves(), summary, progress=progress)
    _write_json(folder / "summary.json", summary)
    return summary


def _summarise(run: Run, dataset: Dataset, progress: bool) -> dict:
    """Return the held-out figures of a trained model, and what they were made with."""
    config, test = run.config, dataset.test.images
    x = run.sources(test)
    options = {"targets": None if x is test else test, "batch_size": config.batch_size}
    measure = partial(evaluate, run.model, run.variables, x, **options)
    running = measure(encoder=run.encoder, progress="evaluate" if progress else None)
    by_batch = measure(evaluation="batch") if run.variables.stats is not None else running
    more = {}
    if run.model.bound is not None:
        key = jax.random.key(0)
        bound = evaluate_bound(run.model, run.variables, test, key, progress="evaluate" if progress else None)
        names = ("negative_elbo", "nll", "kl", "bits_per_dim")
        more |= {f"test.{name}": bound[name] for name in names if name in bound}
    if run.model.classify is not None:
        more["test.accuracy"] = accuracy(run.model, run.variables, test, dataset.test.labels)
    if x is not test:
        error = sum_per_example((x / np.float32(255) - test / np.float32(255)) ** 2).mean()
        more["source.squared_error"] = float(error)
    latent_size = int(np.prod(config.latent_shape))
    pca = _pca_errors(config, dataset, latent_size)
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
