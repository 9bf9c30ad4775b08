"""What `python -m benchmarks.paper --list` says: each experiment, its cost, and what has been reproduced so far."""

from pathlib import Path

from benchmarks.paper import EXPERIMENTS
from benchmarks.paper.document import load_results


def overview(results_folder: Path) -> str:
    """Return one paragraph per experiment.

    Args:
        results_folder: with the JSON of results, if there are any.
    """
    results = load_results(results_folder)
    lines = ["name     what is compared; its runs, training steps and datasets; what has been reproduced", ""]
    for name, experiment in EXPERIMENTS.items():
        first = experiment.datasets[0]
        arms = experiment.arms(first, "short")
        steps = sum(config.training.num_steps for config in arms.values())
        paper = sum(config.training.num_steps for config in experiment.arms(first, "paper").values())
        lines.append(f"{name:<8} {experiment.title}")
        cost = f"{len(arms)} run{'s' * (len(arms) > 1)} per seed: short {steps:,} steps, paper {paper:,}"
        lines.append(f"         {cost}; {' '.join(experiment.datasets)}")
        done = []
        for scale, of_scale in results.items():
            for dataset, result in of_scale.get(name, {}).items():
                seconds = sum(
                    row["seconds_training"] + row["seconds_compile"]
                    for arm in result["arms"].values()
                    for row in arm["seeds"]
                )
                seeds = f"{result['num_seeds']} seed{'s' * (result['num_seeds'] > 1)}"
                minutes = f"{seconds / 60:.0f} min" if seconds >= 60 else "under 1 min"
                done.append(f"{dataset} ({scale}, {seeds}, {minutes})")
        lines.append(f"         reproduced: {', '.join(done) if done else 'nothing yet'}")
    return "\n".join(lines)
