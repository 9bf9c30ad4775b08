"""What a reproduction is: arms to train and compare, metrics to take of each, and how to show them.

An experiment declares; `reproduce` trains its arms, each a run's folder like any other, and writes

    <results>/<name>_<scale>_<dataset>.json    all metrics, with the paper's and where ours come from
    <results>/<name>_<scale>_<dataset>.md      its table
    <results>/<name>_<scale>_<dataset>.png     its plot

Two experiments that train the same configuration share its folder; one that was interrupted goes on where it was.
"""

import dataclasses
import functools
import hashlib
import json
import math
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from tqdm.auto import tqdm

from benchmarks import report
from gon_jax.data import Dataset, missing
from gon_jax.metrics import pca_errors
from gon_jax.runs import Config, Run, load_run, train
from gon_jax.runs.config import DataConfig
from gon_jax.runs.folder import METRIC, read_summary

Scale = Literal["smoke", "short", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
Table = list[list[str]]  # rows of cells, the first the header


@functools.lru_cache(maxsize=1)  # what the arms of an experiment share
def load(data: DataConfig) -> Dataset:
    """Return a dataset, read once."""
    return data.load()


@functools.cache
def pca_of(data: DataConfig, num_components: int) -> dict[str, float]:
    """Return the errors of PCA on a dataset, computed once."""
    dataset = load(data)
    return pca_errors(dataset.train.images, dataset.test.images, num_components)


class Interrupted(Exception):
    """A run was asked to stop, and did after it was saved."""


@dataclasses.dataclass(frozen=True)
class Arm:
    """One trained configuration of an experiment, of one seed; what was measured of it, once that is done."""

    label: str
    folder: Path
    summary: Mapping[str, Any]
    measured: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @cached_property
    def run(self) -> Run:
        """The trained model."""
        return load_run(self.folder)

    @property
    def dataset(self) -> Dataset:
        """What it was trained on."""
        return load(self.run.config.data)

    def curve(self, name: str = METRIC) -> tuple[list[int], list[float]]:
        """Return steps and values of a metric of metrics.jsonl: the validation error, or "loss"."""
        rows = [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]
        points = [(row["step"], row[name]) for row in rows if name in row]
        return tuple(map(list, zip(*points, strict=True))) if points else ([], [])


Arms = dict[str, list[Arm]]  # label to one arm per seed


class Experiment(NamedTuple):
    """The declaration of one of the paper's tables or figures.

    Attributes:
        name: "table1", "fig2a", ...
        title: what is compared, in one line.
        datasets: the paper's, or those of them that make sense, by our names; the first is the default.
        arms: `(dataset, scale) -> label -> Config`, the seeds aside.
        plot: `(path, Arms, title) -> None`.
        columns: what the table shows of each arm: a metric's name in the summary or in `measure`, to its header.
        measure: `Arm -> dict`, metrics beyond the summary's; numbers and lists, for JSON.
        paper: `dataset -> label -> value`, what the paper prints, of the first column; empty where it prints none.
        claim: the paper's words on it, in ours.
        unsaid: what the paper does not state, as we chose it.
    """

    name: str
    title: str
    datasets: tuple[str, ...]
    arms: Callable[[str, Scale], dict[str, Config]]
    plot: Callable[[Path, Arms, str], None]
    columns: dict[str, str]
    measure: Callable[[Arm], dict] = lambda arm: {}
    paper: dict[str, dict[str, float]] = {}
    claim: str = ""
    unsaid: str = ""


def stem(name: str, scale: Scale, dataset: str) -> str:
    """Return the name of a result's files, without suffix.

    >>> stem("fig8", "short", "lsun/bedroom")
    'fig8_short_lsun_bedroom'
    """
    return f"{name}_{scale}_{dataset.replace('/', '_')}"


def folder_of(config: Config, runs: Path) -> Path:
    """Return the folder of a configuration's run: the same for the same configuration."""
    digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode()).hexdigest()
    return runs / f"{config.data.dataset.replace('/', '_')}-{config.model.name}-{digest[:12]}"


def train_arm(
    label: str, config: Config, runs: Path, *, progress: bool = True, should_stop: Callable[[], bool] | None = None
) -> Arm:
    """Train a configuration, or finish it, or find it finished.

    Raises:
        Interrupted: when `should_stop` says so, after the state was saved.
    """
    folder = folder_of(config, runs)
    summary = read_summary(folder)
    if summary is None:
        begun = (folder / "checkpoints").is_dir()
        summary = train(
            config,
            folder,
            dataset=load(config.data),
            pca=pca_of(config.data, math.prod(config.latent_shape)),
            resume=begun,
            overwrite=folder.exists() and not begun,
            pictures=False,
            progress=progress,
            should_stop=should_stop,
        )
    if summary is None:
        raise Interrupted(folder)
    return Arm(label, folder, summary)


def reproduce(
    experiment: Experiment,
    dataset: str,
    scale: Scale,
    *,
    num_seeds: int,
    results: Path,
    runs: Path,
    progress: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict:
    """Train and measure all arms of an experiment on one dataset; write table, plot and JSON.

    Args:
        experiment: which.
        dataset: one of its datasets; "digits" at the scale "smoke".
        scale: see `benchmarks.paper.scales`.
        num_seeds: seeds 0, 1, ...
        results: folder of the result's three files.
        runs: folder of the runs.
        progress: show progress bars.
        should_stop: asked after each report of a run, and before each run, whether to save and stop.

    Returns:
        What the JSON holds: with "status" "data absent", and the reason, where the dataset is not at hand.

    Raises:
        Interrupted: when `should_stop` says so; the same call goes on.
    """
    path = results / stem(experiment.name, scale, dataset)
    header = {"experiment": experiment.name, "title": experiment.title, "scale": scale, "dataset": dataset}
    if reason := missing(dataset):
        return header | {"status": "data absent", "reason": reason}
    made_by = report.provenance()
    arms: Arms = {}
    metrics: dict[str, list[dict]] = {}
    configs = experiment.arms(dataset, scale)
    jobs = [(label, config, seed) for label, config in configs.items() for seed in range(num_seeds)]
    for i, (label, config, seed) in enumerate(jobs, 1):
        if should_stop():
            raise Interrupted(path)
        if progress:
            tqdm.write(f"{path.name}: {i} of {len(jobs)}, {label}, seed {seed}", file=sys.stderr)
        options = {"progress": progress and scale != "smoke", "should_stop": should_stop}
        arm = train_arm(label, config.replace(seed=seed), runs, **options)
        metrics.setdefault(label, []).append(row := _metrics(arm, experiment))
        arms.setdefault(label, []).append(dataclasses.replace(arm, measured=row))
    result = header | {
        "status": "done",
        "num_seeds": num_seeds,
        "protocol": protocol(configs),
        "arms": {label: {"config": configs[label].to_dict(), "seeds": rows} for label, rows in metrics.items()},
        "columns": experiment.columns,
        "paper": experiment.paper.get(dataset, {}),
        "claim": experiment.claim,
        "unsaid": experiment.unsaid,
    }
    results.mkdir(parents=True, exist_ok=True)
    experiment.plot(path.with_suffix(".png"), arms, f"{experiment.name} ({scale}, {dataset})")
    path.with_suffix(".md").write_text(markdown(table(result)))
    report.write(path.name, result, made_by, results)
    return made_by | result


def _metrics(arm: Arm, experiment: Experiment) -> dict:
    """Return what the JSON keeps of an arm: its summary's numbers, the validation curve, and what is measured."""
    numbers = {name: value for name, value in arm.summary.items() if isinstance(value, int | float)}
    steps, errors = arm.curve()
    return numbers | {"steps": steps, METRIC: errors} | experiment.measure(arm)


def protocol(configs: Mapping[str, Config]) -> str:
    """Return what all arms have in common, in words."""

    def of(*names):
        options = [config.options() for config in configs.values()]
        values = dict.fromkeys(of_arm[name] for of_arm in options for name in names if name in of_arm)
        return " or ".join(" ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values)

    words = f"{of('num_steps')} steps of batch {of('batch_size')}, learning rate {of('learning_rate')}, "
    words += f"latent {of('latent_shape')}, width {of('base_channels', 'hidden_dim')}"
    sizes = of("image_size")
    return words + (f", images {sizes}x{sizes}" if sizes.isdigit() else "")


def values(result: dict, label: str, name: str) -> list[float]:
    """Return a metric of an arm, one value per seed; empty where it isn't there."""
    return [row[name] for row in result["arms"][label]["seeds"] if row.get(name) is not None]


def cell(numbers: list[float]) -> str:
    """Return the mean, and the range of several.

    >>> cell([1.0, 2.0]), cell([74321]), cell([])
    ('1.5 (1 to 2)', '74,321', '')
    """
    if not numbers:
        return ""
    shown = [
        f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
        for value in (numbers if len(numbers) == 1 else [float(np.mean(numbers)), min(numbers), max(numbers)])
    ]
    return shown[0] if len(shown) == 1 or shown[1] == shown[2] else f"{shown[0]} ({shown[1]} to {shown[2]})"


def table(result: dict) -> Table:
    """Return the table of a result: one row per arm, the paper's value at the end where it prints one."""
    with_paper = bool(result["paper"])
    rows = [["", *result["columns"].values(), *(["paper"] if with_paper else [])]]
    for label in result["arms"]:
        row = [label, *(cell(values(result, label, name)) for name in result["columns"])]
        rows.append(row + ([f"{result['paper'][label]:g}" if label in result["paper"] else ""] if with_paper else []))
    return rows


def markdown(rows: Table) -> str:
    """Return a table in Markdown.

    >>> print(markdown([["", "error"], ["GON", "1"]]), end="")
    | | error |
    |---|---|
    | GON | 1 |
    """
    lines = ["|" + "|".join(f" {text} " if text else " " for text in row) + "|" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"
