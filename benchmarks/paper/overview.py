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
    lines = ["name     runs at short, and what is compared; reproduced so far", ""]
    for name, experiment in EXPERIMENTS.items():
        first = experiment.datasets[0]
        arms = experiment.arms(first, "short")
        steps = sum(config.training.num_steps for config in arms.values())
        paper = sum(config.training.num_steps for config in experiment.arms(first, "paper").values())
        lines.append(f"{name:<8} {experiment.title}")
        cost = f"{len(arms)} runs: short {steps:,} steps, paper {paper:,} per seed"
        lines.append(f"         {cost}; {' '.join(experiment.datasets)}")
        done = []
        for scale, of_scale in results.items():
            for dataset, result in of_scale.get(name, {}).items():
                seconds = sum(
                    row["seconds_training"] + row["seconds_compile"]
                    for arm in result["arms"].values()
                    for row in arm["seeds"]
                )
                done.append(f"{dataset} ({scale}, {result['num_seeds']} seeds, {seconds / 60:.0f} min)")
        lines.append(f"         reproduced: {', '.join(done) if done else 'nothing yet'}")
    return "\n".join(lines)
