"""What is kept of a training run: one small JSON file, in `benchmarks/results/reproduction/runs`.

A record has the configuration, how it came to be (command, commit, versions, hardware, date), the held-out metrics, the
curves, and what experiments measured of the trained model. Experiments find their runs by configuration: two that
train the same share one, and nothing that was trained on another machine is trained again.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import report
from gon_jax.runs import Config
from gon_jax.runs.saved import read_config

Curve = tuple[list[int], list[float]]  # steps, values
NOT_KEPT = ("versions", "device", "dataset", "model", "likelihood")  # of a summary: they are elsewhere in the record


@dataclasses.dataclass(frozen=True)
class Record:
    """A run that is finished.

    Attributes:
        config: what was trained.
        made_by: its provenance, see `benchmarks.provenance`.
        metrics: numbers of the run's summary by name: held-out metrics, seconds, number of parameters.
        curves: "loss", the mean training loss since the point before, and the validation metrics, by name.
        measured: what experiments measured of the trained model, by the measure's name.
    """

    config: Config
    made_by: dict[str, Any]
    metrics: dict[str, float]
    curves: dict[str, Curve]
    measured: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> float | None:
        """Return a number by name; `None` where it is not there.

        It is a metric, one of the numbers measured, or a point of a curve, as "loss@5", at epoch 5; "loss@best" is the
        lowest.
        """
        curve, _, at = name.partition("@")
        if at:
            epochs, values = self.epochs(curve)
            if at == "best":
                return float(values.min()) if len(values) else None
            found = values[np.isclose(epochs, float(at))]
            return float(found[0]) if len(found) else None
        measured = {name: value for numbers in self.measured.values() for name, value in numbers.items()}
        return (self.metrics | measured).get(name)

    def epochs(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a curve over epochs."""
        steps, values = self.curves.get(name, ([], []))
        return np.asarray(steps) / max(1, self._steps_per_epoch), np.asarray(values, float)

    @property
    def num_epochs(self) -> int | None:
        """Epochs of training, where it was a whole number of them."""
        num, rest = divmod(self.config.training.num_steps, max(1, self._steps_per_epoch))
        return num if num and not rest else None

    @property
    def _steps_per_epoch(self):
        return self.metrics["num_train"] // self.config.training.batch_size


def stem(config: Config) -> str:
    """Return the name of a configuration's run: the same for the same configuration."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()
    return f"{config.data.dataset.replace('/', '_')}-{config.model.name}-{digest[:12]}"


def read_run(folder: Path) -> Record:
    """Return the record of a finished run's folder, with the provenance that lies beside it."""
    made_by = json.loads((folder / "made_by.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    metrics = {n: v for n, v in summary.items() if n not in NOT_KEPT and isinstance(v, int | float)}
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return Record(read_config(folder).config, made_by, metrics, curves_of(rows))


def curves_of(rows: list[dict[str, float]]) -> dict[str, Curve]:
    """Return curves of the lines of metrics.jsonl, one point for each validation.

    >>> rows = [{"step": 2, "loss": 4.0}, {"step": 3, "loss": 1.0, "validation.squared_error": 5.0}]
    >>> curves_of(rows)
    {'validation.squared_error': ([3], [5.0]), 'loss': ([3], [3.0])}
    """
    curves: dict[str, Curve] = {}
    losses, last = [], 0
    for row in rows:
        losses += [(row["step"] - last, row["loss"])]
        last = row["step"]
        names = [name for name in row if name.startswith("validation.")]
        if names or row is rows[-1]:
            weights, values = zip(*losses, strict=True)
            named = {name: row[name] for name in names} | {"loss": float(np.average(values, weights=weights))}
            for name, value in named.items():
                steps, points = curves.setdefault(name, ([], []))
                steps.append(row["step"])
                points.append(float(f"{value:.5g}"))
            losses = []
    return curves


class Records:
    """The records of a folder, found by configuration.

    Args:
        folder: of `<run>.json` files; made when the first is written.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._of: dict[Config, dict[int, Record]] = {}  # by the configuration with seed 0, then by seed
        self._seconds: dict[Config, dict[Config, float]] = {}  # of a step: by what it costs, then by configuration
        for path in sorted(folder.glob("*.json")):
            self._enter(_from_json(json.loads(path.read_text())))

    def __iter__(self) -> Iterator[Record]:
        return (record for seeds in self._of.values() for record in seeds.values())

    def find(self, config: Config) -> Record | None:
        """Return the record of a configuration, if there is one."""
        return self._of.get(config.replace(seed=0), {}).get(config.training.seed)

    def seeds(self, config: Config) -> list[Record]:
        """Return the records of a configuration with any seed, in the order of the seeds."""
        found = self._of.get(config.replace(seed=0), {})
        return [found[seed] for seed in sorted(found)]

    def seconds_per_step(self, config: Config) -> float | None:
        """Return the mean over runs that differ in dataset, length and seed alone; `None` without."""
        found = self._seconds.get(_cost(config), {}).values()
        return sum(found) / len(found) if found else None

    def epochs(self, dataset: str) -> set[int]:
        """Return the lengths of training on a dataset, in epochs, that there are."""
        found = {record.num_epochs for record in self if record.config.data.dataset == dataset}
        return {epochs for epochs in found if epochs is not None}

    def add(self, record: Record) -> None:
        """Write a record, in place of an earlier one of the same configuration."""
        self._enter(record)
        values = {"config": record.config.to_dict()}
        values |= {name: getattr(record, name) for name in ("metrics", "measured", "curves")}
        report.write(stem(record.config), values, record.made_by, self.folder, indent=None)

    def _enter(self, record):
        self._of.setdefault(record.config.replace(seed=0), {})[record.config.training.seed] = record
        seconds = record.metrics["seconds_training"] / record.metrics["num_steps"]
        self._seconds.setdefault(_cost(record.config), {})[record.config] = seconds


def _cost(config):
    """Return what the time of a step hangs on."""
    return config.replace(num_steps=1, seed=0, validate_every=1, num_validation=None, dataset="mnist")


def _from_json(values: dict[str, Any]) -> Record:
    config = Config.from_dict(values.pop("config"))
    parts = {name: values.pop(name) for name in ("metrics", "measured", "curves")}
    return Record(config, values, **parts)
