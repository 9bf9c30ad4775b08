"""What `python -m benchmarks.paper --list` says: each experiment, its cost, and how much of it is there."""

from benchmarks.paper import EXPERIMENTS, Records
from benchmarks.paper.verdicts import MIN_SEEDS


def overview(records: Records) -> str:
    """Return a paragraph per experiment.

    Args:
        records: what there is.
    """
    lines = [
        "name: what is compared",
        "   dataset: length of training; runs there are, of three seeds each; what is left",
    ]
    for name, experiment in EXPERIMENTS.items():
        lines += ["", f"{name}: {experiment.title}"]
        for dataset in experiment.datasets:
            protocol = experiment.protocol(dataset)
            configs = experiment.arms(protocol).values()
            done = [min(MIN_SEEDS, len(records.seeds(config))) for config in configs]
            runs = f"{sum(done)} of {MIN_SEEDS * len(done)} runs"
            lines.append(f"   {dataset}: {protocol.horizon}; {runs}{_left(configs, done, records)}")
    return "\n".join(lines)


def _left(configs, done, records):
    missing = [(MIN_SEEDS - num, config) for num, config in zip(done, configs, strict=True) if num < MIN_SEEDS]
    if not missing:
        return "; complete"
    steps = sum(num * config.training.num_steps for num, config in missing)
    times = [(num * config.training.num_steps, records.seconds_per_step(config)) for num, config in missing]
    known = [(n, seconds) for n, seconds in times if seconds]
    hours = sum(n * seconds for n, seconds in known) / 3600
    if not known:
        return f"; {steps:,} steps left"
    more = "" if len(known) == len(times) else ", and runs of which none was timed yet"
    return f"; {steps:,} steps left, about {hours:.1f} hours on one core{more}"
