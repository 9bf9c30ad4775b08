"""Reproduce one of the paper's tables or figures.

python -m benchmarks.paper NAME
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.paper import EXPERIMENTS, Interrupted, Records, reproduce
from benchmarks.paper.document import COMMAND, FOLDER
from benchmarks.paper.experiment import path_of, table
from benchmarks.paper.overview import overview
from benchmarks.tables import markdown
from gon_jax.cli.common import use_caches
from gon_jax.cli.parsing import UsageError, close_match, parse
from gon_jax.cli.signals import stop_requested


def main(words: list[str] | None = None) -> int:
    """Run the command line; return the exit status: 2 for a command that cannot be read, 130 when interrupted."""
    try:
        return parse(_reproduce, COMMAND, sys.argv[1:] if words is None else words)()
    except SystemExit as status:
        return int(status.code or 0)
    except BrokenPipeError:  # `... --list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UsageError, ValueError, OSError, ImportError, FloatingPointError) as error:
        return _fail(2 if isinstance(error, UsageError) else 1, error)
    except Interrupted:
        return _fail(130, "interrupted, and saved; the same command goes on")
    except KeyboardInterrupt:
        return _fail(130, "interrupted")


def _reproduce(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = "",
    dataset: str | None = None,
    epochs: int | None = None,
    seeds: tuple[int, ...] = (0,),
    arms: tuple[str, ...] = (),
    smoke: bool = False,
    list: bool = False,
    results: Path | None = None,
    runs: Path = Path("runs/paper"),
) -> int:
    """Reproduce one of the paper's tables or figures.

    Trains what it compares, unless its record is there; writes a record of each run and a plot, and prints the table.
    Two processes may share the work, as on two cores: give each its own seeds, or its own arms.

    Args:
        name: table1, table2, fig2a, ...; all for every one with --smoke.
        dataset: One of its datasets; by default the first.
        epochs: Another length than the paper's.
        seeds: Seeds to train, as 0 1 2.
        arms: Labels of the arms to train, as GON AE; by default all.
        smoke: Eight steps on digits, which show that it runs.
        list: Say what there is, what it costs, and how much of it has been run.
        results: Folder of records and plots; by default benchmarks/results/reproduction, for smoke a folder in runs.
        runs: Folder of the runs, which are kept: the same command goes on where it was interrupted.
    """
    results = results or (runs / "results" if smoke else FOLDER)
    if list or not name:
        print(overview(Records(results / "runs")))
        return 0
    if name not in EXPERIMENTS and not (name == "all" and smoke):
        raise ValueError(f"name: {close_match(name, EXPERIMENTS)} ({COMMAND} --list)")
    experiments = [*EXPERIMENTS.values()] if name == "all" else [EXPERIMENTS[name]]
    if not smoke and dataset not in (None, *experiments[0].datasets):
        known = ", ".join(experiments[0].datasets)
        raise ValueError(f"expected a dataset of {name} ({known}), got {dataset!r}")
    if epochs is not None and (epochs < 1 or experiments[0].steps is not None):
        raise ValueError(f"expected epochs of at least 1, of an experiment that counts them, got {epochs} for {name}")
    if not seeds or min(seeds) < 0:
        raise ValueError(f"expected seeds of at least 0, got {seeds}")
    use_caches(runs)
    status = 0
    with stop_requested() as should_stop:
        for experiment in experiments:
            protocol = experiment.protocol(dataset or experiment.datasets[0], epochs=epochs, smoke=smoke)
            options = {"seeds": seeds, "labels": arms, "results": results, "runs": runs, "should_stop": should_stop}
            found, absent = reproduce(experiment, protocol, **options)
            print(f"{experiment.name}: {experiment.title} ({protocol.horizon}, {protocol.dataset})")
            if absent:
                print(f"  data absent: {absent}")
                status = 1
            if found:
                print(markdown(table(experiment, protocol.dataset, found)))
                print(f"  {path_of(experiment, protocol, results)}")
    return status


def _fail(status, message):
    print(f"{COMMAND}: {' '.join(str(message).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
