"""What a reproduction is: arms to train and compare, what to measure of each, and how to show them.

An experiment declares; `reproduce` trains what has no record yet, each arm a run's folder like any other, and writes

    <results>/runs/<run>.json                    a record of each run, as it is finished
    <results>/<name>_<dataset>_<horizon>.png     the plot, of all records that there are

Tables and verdicts are made from the records. A run that was interrupted goes on where it was.
"""

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from benchmarks import report
from benchmarks.paper.protocol import Protocol
from benchmarks.paper.records import Record, Records, read_run, stem
from benchmarks.tables import number
from gon_jax._files import read_json, write_json
from gon_jax.data import NUM_EXAMPLES, Dataset, missing
from gon_jax.data.catalog import locate
from gon_jax.pca import pca_errors
from gon_jax.runs import Config, Run, load_run, train
from gon_jax.runs.config import DataConfig
from gon_jax.runs.saved import read_summary

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
    """One trained configuration of an experiment, of one seed.

    Attributes:
        label: that of the experiment.
        record: what is kept of it.
        folder: the run's; on another machine than the one that trained it, there is none.
    """

    label: str
    record: Record
    folder: Path

    @cached_property
    def run(self) -> Run:
        """The trained model."""
        return load_run(self.folder)

    @property
    def dataset(self) -> Dataset:
        """What it was trained on."""
        return load(self.record.config.data)


Arms = dict[str, list[Arm]]  # label to one arm per seed
Measure = Callable[[Arm], dict[str, float]]


class Experiment(NamedTuple):
    """The declaration of one of the paper's tables or figures, or of a control of ours.

    Attributes:
        name: "table1", "fig2a", ...; a control's begins with "control".
        title: what is compared, in one line.
        says: what the paper says of it, in our words.
        datasets: the paper's, or those of them that make sense where it names none; the first is the default.
        arms: `Protocol -> label -> Config`, the seeds aside.
        plot: `(path, Arms, title) -> None`.
        epochs, steps: the paper's length, one of the two.
        epochs_of: dataset to epochs, where it has another length.
        columns: what the table shows of each arm: a number's name in its record, to its header.
        measure: `Arm -> dict` of numbers beyond the summary's, or None.
        draws: the plot shows what a trained model makes, so it takes the run's folder.
        paper: `dataset -> label -> value`, what the paper prints, of the first column; empty where it prints none.
        unsaid: what the paper does not state, as we chose it.
        departure: what the paper states, and we do otherwise.
    """

    name: str
    title: str
    says: str
    datasets: tuple[str, ...]
    arms: Callable[[Protocol], dict[str, Config]]
    plot: Callable[[Path, Arms, str], None]
    columns: dict[str, str]
    epochs: int | None = None
    steps: int | None = None
    epochs_of: Mapping[str, int] = {}
    measure: Measure | None = None
    draws: bool = False
    paper: dict[str, dict[str, float]] = {}
    unsaid: str = ""
    departure: str = ""

    def protocol(self, dataset: str, *, epochs: int | None = None, smoke: bool = False, **options) -> Protocol:
        """Return the protocol of the paper's length, or of another number of epochs.

        Args:
            dataset: one of its datasets.
            epochs: in place of the paper's.
            smoke: as for `Protocol`.
            **options: of `Protocol`.
        """
        if smoke:
            return Protocol("digits", smoke=True)
        if epochs is None:
            epochs = self.epochs_of.get(dataset, self.epochs)
        return Protocol(dataset, epochs, None if epochs else self.steps, **options)


def path_of(experiment: Experiment, protocol: Protocol, results: Path) -> Path:
    """Return the path of a plot.

    >>> from benchmarks.paper import EXPERIMENTS
    >>> experiment = EXPERIMENTS["fig8"]
    >>> path_of(experiment, experiment.protocol("mnist"), Path("results")).name
    'fig8_mnist_6000_steps.png'
    """
    words = f"{experiment.name} {protocol.dataset} {protocol.horizon}".replace(",", "").replace("/", "_")
    return results / (words.replace(" ", "_") + ".png")


def train_arm(
    label: str,
    config: Config,
    runs: Path,
    records: Records,
    measure: Measure | None = None,
    *,
    draws: bool = False,
    progress: bool = True,
    should_stop: Callable[[], bool] | None = None,
) -> Arm:
    """Train a configuration, or finish it, or find it finished; measure it, and write its record.

    Args:
        label, config, measure, draws: of an experiment's arm.
        runs: folder of the runs' folders.
        records: of the runs that are finished.
        progress: show progress bars.
        should_stop: asked after each report whether to save and stop.

    Raises:
        Interrupted: when `should_stop` says so, after the state was saved.
    """
    folder, record = runs / stem(config), records.find(config)
    here = read_summary(folder) is not None
    if record is None or not (here or (_measured(record, measure) and not draws)):
        if not here:
            made_by, begun = report.provenance(), (folder / "checkpoints").is_dir()
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
            write_json(folder / "made_by.json", made_by)
        record = read_run(folder)
        records.add(record)
    arm = Arm(label, record, folder)
    if measure is not None and not _measured(arm.record, measure):
        measured = arm.record.measured | {measure.__name__: measure(arm)}
        arm = dataclasses.replace(arm, record=dataclasses.replace(arm.record, measured=measured))
        records.add(arm.record)
    return arm


def _measured(record, measure):
    return measure is None or measure.__name__ in record.measured


def reproduce(
    experiment: Experiment,
    protocol: Protocol,
    *,
    seeds: Iterable[int],
    results: Path,
    runs: Path,
    labels: tuple[str, ...] = (),
    progress: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Arms, str | None]:
    """Train and measure arms of an experiment; write their records and the plot of all records that there are.

    Args:
        experiment: which.
        protocol: of that experiment.
        seeds: of each arm; all arms of the first seed come first.
        results: folder of records and plots.
        runs: folder of the runs.
        labels: of the arms to train; empty is all of them.
        progress: show progress bars.
        should_stop: asked after each report of a run, and before each run, whether to save and stop.

    Returns:
        All arms that are there now, of any seed; and, where the dataset is not at hand, the reason, in one line.

    Raises:
        Interrupted: when `should_stop` says so; the same call goes on.
        ValueError: for labels that there are not.
    """
    num_images = images_at_hand(protocol.dataset)
    if num_images not in (None, NUM_EXAMPLES.get(protocol.dataset, [None])[0]):  # a part of it
        protocol = dataclasses.replace(protocol, num_images=num_images)
    configs = experiment.arms(protocol)
    if unknown := [label for label in labels if label not in configs]:
        raise ValueError(f"expected arms of {', '.join(configs)}, got {', '.join(unknown)}")
    reason, records = missing(protocol.dataset), Records(results / "runs")
    options = {"progress": progress and not protocol.smoke, "should_stop": should_stop, "draws": experiment.draws}
    jobs = [(seed, label) for seed in seeds for label in (labels or configs)] if reason is None else []
    for i, (seed, label) in enumerate(jobs, 1):
        if should_stop():
            raise Interrupted(results)
        if progress:
            words = f"{experiment.name} ({protocol.horizon}, {protocol.dataset}): {i} of {len(jobs)}"
            tqdm.write(f"{words}, {label}, seed {seed}", file=sys.stderr)
        train_arm(label, configs[label].replace(seed=seed), runs, records, experiment.measure, **options)
    arms = arms_of(experiment, protocol, Records(results / "runs"), runs)  # another process may have added some
    shown = {label: found for label, found in arms.items() if not experiment.draws or _is_here(found[0])}
    if shown:
        results.mkdir(parents=True, exist_ok=True)
        title = f"{experiment.name} ({protocol.horizon}, {protocol.dataset})"
        experiment.plot(path_of(experiment, protocol, results), shown, title)
    return arms, reason


def _is_here(arm):
    return read_summary(arm.folder) is not None


def images_at_hand(name: str) -> int | None:
    """Return how many training images a prepared dataset has, which may be a part of it; `None` for another one."""
    if name not in NUM_EXAMPLES or missing(name):
        return None
    splits = read_json(locate(name, download=False) / "dataset_info.json")["splits"]
    lengths = next(split["shardLengths"] for split in splits if split["name"] == "train")
    return min(NUM_EXAMPLES[name][0], sum(map(int, lengths)))


def arms_of(experiment: Experiment, protocol: Protocol, records: Records, runs: Path = Path("runs/paper")) -> Arms:
    """Return the arms of an experiment that have a record, in its order, each with all its seeds."""
    configs = experiment.arms(protocol)
    arms = {
        label: [Arm(label, record, runs / stem(record.config)) for record in records.seeds(config)]
        for label, config in configs.items()
    }
    return {label: found for label, found in arms.items() if found}


def protocol_in_words(configs: Mapping[str, Config]) -> str:
    """Return what all arms have in common, in words."""

    def of(*names):
        options = [config.options() for config in configs.values()]
        values = dict.fromkeys(of_arm[name] for of_arm in options for name in names if name in of_arm)
        return " or ".join(" ".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values)

    words = f"{of('num_steps')} steps of batch {of('batch_size')}, learning rate {of('learning_rate')}, "
    words += f"latent {of('latent_shape')}, width {of('base_channels', 'hidden_dim')}"
    sizes = of("image_size")
    return words + (f", images {sizes}x{sizes}" if sizes.isdigit() else "")


def cell(numbers: list[float]) -> str:
    """Return the mean, and the sample standard deviation of several.

    >>> cell([1.0, 2.0]), cell([74321]), cell([74321, 74321]), cell([])
    ('1.5 ± 0.71', '74,321', '74,321', '')
    """
    if not numbers:
        return ""
    if all(isinstance(value, int) for value in numbers) and len(set(numbers)) == 1:
        return f"{numbers[0]:,}"
    deviation = np.std(numbers, ddof=1) if len(numbers) > 1 else 0
    return number(float(np.mean(numbers))) + (f" ± {number(float(f'{deviation:.2g}'))}" if deviation else "")


def table(experiment: Experiment, dataset: str, arms: Arms) -> Table:
    """Return the table of an experiment: one row per arm, and one of PCA, where errors are compared.

    The last column is what the paper prints, where it does.
    """
    paper = experiment.paper.get(dataset, {})
    columns = {name: words for name, words in experiment.columns.items() if not name.startswith("pca.")}
    rows = [["", "seeds", *columns.values(), *(["paper"] if paper else [])]]
    for label, seeds in arms.items():
        numbers = [[v for arm in seeds if (v := _value(arm, name)) is not None] for name in columns]
        row = [label, str(len(seeds)), *map(cell, numbers)]
        rows.append(row + ([f"{paper[label]:g}" if label in paper else ""] if paper else []))
    if any(name.endswith("squared_error_batch") for name in columns):
        of_size = {
            arm.record["latent_size"]: arm.record["pca.squared_error"] for seeds in arms.values() for arm in seeds
        }
        for size, error in sorted(of_size.items()):
            rows.append([f"PCA, {size} components", "", f"{error:.3g}", *[""] * (len(rows[0]) - 3)])
    return rows


def _value(arm, name):
    """Return a number of an arm for the table; none by batch statistics for GLO, whose new latents all start alike."""
    by_batch = name.endswith("_batch") or name == "gap"
    return None if by_batch and arm.record.config.model.name == "glo" else arm.record[name]
