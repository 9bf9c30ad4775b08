"""Reproduce one of the paper's tables or figures.

python -m benchmarks.paper NAME
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import tyro

from benchmarks.paper import EXPERIMENTS, Interrupted, Scale, reproduce, stem
from benchmarks.paper.document import COMMAND, FOLDER
from benchmarks.paper.experiment import markdown, table
from benchmarks.paper.overview import overview
from gon_jax.cli.commands import use_caches
from gon_jax.cli.main import UsageError, close_match, parse
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
    scale: Scale = "short",
    seeds: int = 1,
    list: bool = False,
    results: Path | None = None,
    runs: Path = Path("runs/reproduction"),
) -> int:
    """Reproduce one of the paper's tables or figures.

    Trains what it compares, writes a table, a plot and their JSON.

    Args:
        name: table1, table2, fig2a, ...; all for every one at the scale smoke.
        dataset: One of its datasets; by default the first.
        scale: smoke (seconds, on digits), short (minutes on 2 cores, real data) or paper (the full protocol, a GPU).
        seeds: How many, from 0 on.
        list: Say what there is, what it costs, and what has been reproduced.
        results: Folder of results; by default benchmarks/results/reproduction, for smoke a folder in runs.
        runs: Folder of the runs, which are kept: the same command goes on where it was interrupted.
    """
    results = results or (FOLDER if scale != "smoke" else runs / "results")
    if list or not name:
        print(overview(results))
        return 0
    if name not in EXPERIMENTS and not (name == "all" and scale == "smoke"):
        raise ValueError(f"name: {close_match(name, EXPERIMENTS)} ({COMMAND} --list)")
    if seeds < 1:
        raise ValueError(f"expected seeds of at least 1, got {seeds}")
    experiments = [*EXPERIMENTS.values()] if name == "all" else [EXPERIMENTS[name]]
    if scale != "smoke" and dataset not in (None, *experiments[0].datasets):
        known = ", ".join(experiments[0].datasets)
        raise ValueError(f"expected a dataset of {name} ({known}), got {dataset!r}")
    use_caches(runs)
    status = 0
    with stop_requested() as should_stop:
        for experiment in experiments:
            on = "digits" if scale == "smoke" else dataset or experiment.datasets[0]
            options = {"num_seeds": seeds, "results": results, "runs": runs, "should_stop": should_stop}
            result = reproduce(experiment, on, scale, **options)
            print(f"{experiment.name}: {experiment.title} ({scale}, {on})")
            if result["status"] == "data absent":
                print(f"  data absent: {result['reason']}")
                status = 1
                continue
            print(markdown(table(result)), end="")
            print(f"  {results / stem(experiment.name, scale, on)}.json, .md, .png")
    return status


def _fail(status, message):
    print(f"{COMMAND}: {' '.join(str(message).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
