"""A run: a trained model, loaded from its folder alone, and the data that it was trained on."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from gon_jax.arguments import check_kind
from gon_jax.base import Model, Variables
from gon_jax.data import Dataset, describe_change, fingerprint, load
from gon_jax.data.arrays import Kind, kind_of
from gon_jax.data.datasets import MIXED, is_path
from gon_jax.data.sources import check_source
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference import frozen_encoder
from gon_jax.metrics import Evaluation, evaluate
from gon_jax.runs.config import Config
from gon_jax.runs.encoder_file import read_encoder
from gon_jax.runs.saved import read_config
from gon_jax.runs.variables_file import WEIGHTS, read_variables
from gon_jax.training.averaging import average_statistics

__all__ = ["NO_DATA", "Run", "check_unchanged", "load_run"]

NO_DATA = "none"  # the dataset of a run whose weights were imported without one


class Run(NamedTuple):
    """A trained model and where it came from.

    Attributes:
        folder, config, model: the run.
        variables: at the checkpoint of `step`.
        encoder: `gon_jax.inference.frozen_encoder(model, variables)`, read from the folder where it is saved.
        fingerprint: of the data that it was trained on, `gon_jax.data.fingerprint`; None of older versions.
        imported: where its first weights are from, if it did not begin with random ones.
    """

    folder: Path
    config: Config
    model: Model
    variables: Variables
    step: int
    encoder: FrozenEncoder | None
    fingerprint: dict[str, Any] | None = None
    imported: dict[str, Any] | None = None

    @property
    def evaluation(self) -> Evaluation:
        """How it evaluates: by averages of training, or, imported without data, by batch statistics."""
        return "running" if self.imported is None else self.imported["evaluation"]

    def by_statistics_of(self, images: np.ndarray) -> "Run":
        """Return the run with averaged statistics: its own or, where it evaluates by batch statistics, of these."""
        if self.evaluation == "running":
            return self
        variables = average_statistics(self.model, self.variables.params, self.sources(images), jax.random.key(0))
        return self._replace(variables=variables, encoder=frozen_encoder(self.model, variables))

    @property
    def kind(self) -> Kind:
        """What the model's examples are: "images", "audio", ..."""
        return self.config.data.kind or kind_of((1, *self.model.data_shape)) or "images"

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.config.model.name} on {self.config.data.dataset}, step {self.step})"

    def dataset(self, name: str | None = None) -> Dataset:
        """Return the dataset that the run was trained on, with the same held-out examples; or another by name.

        Raises:
            ValueError: if the run's data have changed since, so that test examples may have been trained on; if another
                dataset has examples of another shape or, for a classifier, other classes.
        """
        config = self.config.data
        if config.dataset == NO_DATA and name in (None, NO_DATA):
            raise ValueError(
                f"expected data for {self.folder}, got none, since its weights were imported without: give --input, or "
                "import them again with --dataset"
            )
        if name is None or _same(name, config.dataset):
            dataset = config.load()
            check_unchanged(self.fingerprint, fingerprint(dataset), dataset.name, str(self.folder))
        else:
            size = self.model.data_shape[0] if self.kind == "images" else None
            dataset = load(name, image_size=size, reading=config.reading)
            rates = (self.fingerprint or {}).get("samples_per_second"), dataset.samples_per_second
            if None not in rates and rates[0] != rates[1]:
                raise ValueError(
                    f"expected sound of {rates[0]} samples per second, got {rates[1]} in {name}: resample it"
                )
            names = (self.fingerprint or {}).get("class_names")
            if self.model.capabilities.classify is not None and (dataset.class_names or ()) != tuple(names or ()):
                raise ValueError(
                    f"expected the classes that {self.folder} was trained on, {names or 'numbers'}, got "
                    f"{dataset.class_names or 'numbers'} in {name}: their numbers would stand for others"
                )
        check_source(dataset.test.images, self.model.data_shape)
        return dataset

    def sources(self, images: np.ndarray) -> np.ndarray:
        """Return what the model encodes of images that it is to decode: for a translation, other images."""
        return self.config.model.sources(images)

    def evaluate(
        self, data: dict[str, np.ndarray], *, evaluation: Evaluation = "running", **options: Any
    ) -> dict[str, float]:
        """Return the metrics of `gon_jax.metrics.evaluate`.

        Args:
            data: as `config.model.arrays` returns it.
            evaluation, **options: of that function; the encoder is the run's.
        """
        encoder = self.encoder if evaluation == "running" else None
        return evaluate(self.model, self.variables, data, evaluation=evaluation, encoder=encoder, **options)


def _same(name, other):
    """Return whether two names stand for the same dataset: the same name, or the same place by any path."""
    if name == other or not (is_path(name) and is_path(other)):
        return name == other
    return os.path.realpath(Path(name).expanduser()) == os.path.realpath(Path(other).expanduser())


def check_unchanged(before: dict[str, Any] | None, now: dict[str, Any], name: str, run: str) -> None:
    """Refuse data that are not those that a run was trained on.

    Args:
        before, now: fingerprints; None of a run of an older version.
        name, run: of the dataset, and of the run's folder, for the message.

    Raises:
        ValueError: they have changed, or nobody knows.
    """
    if before is None:
        if name in MIXED:  # always the same
            return
        change: str | None = "a run of an older version, which held out other examples and did not keep what they were"
    else:
        change = describe_change(before, now)
    if change:
        raise ValueError(
            f"expected the data that {run} was trained on, got others in {name} ({change}), and examples that "
            "it was trained on may be held out now: restore them, train anew, or give other data by name (--dataset)"
        )


def load_run(folder: str | Path, which: str = "best") -> Run:
    """Load a trained model from its folder alone.

    Args:
        folder: a run's, or one that `gon_jax.runs.portable.write_portable` wrote, whose weights are of one step.
        which: "best" (by `gon_jax.metrics.selection_metric` of the validation data; without any, the last) or "last".

    Raises:
        FileNotFoundError: if there is no run, or no checkpoint yet.
        ValueError: if the checkpoint is of another model than the configuration.
    """
    check_kind("folder", folder, str | os.PathLike, "the place of a run")
    folder = Path(folder)
    saved = read_config(folder)
    model = saved.config.build(saved.data_shape)
    if (folder / WEIGHTS).is_file():
        variables, step = read_variables(folder / WEIGHTS, model)
    else:
        from gon_jax.runs.restoring import open_checkpoints, restore  # Orbax, which takes long to import

        with open_checkpoints(folder, saved) as checkpoints:
            state = restore(checkpoints, model, saved, which)
        variables, step = state.variables, int(state.step)
    run = Run(folder, saved.config, model, variables, step, None, saved.fingerprint, saved.imported)
    if run.evaluation == "batch":
        return run._replace(variables=variables._replace(stats=None))
    encoder = read_encoder(folder / "encoder.npz", variables, step, model.data_shape, model.latent_shape)
    return run._replace(encoder=encoder or frozen_encoder(model, variables))
