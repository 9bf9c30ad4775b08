"""Make the table of gradient against least-squares latents in docs/benchmarks.md from the JSON of `estimators`.

python -m benchmarks.estimators_table
"""

import statistics

import numpy as np

from benchmarks import report
from benchmarks.tables import load_all, markdown, sources

DATASETS = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10 (10,000 images)"}
NORMS = {"batch": "batch norm", "none": "no norm"}
ESTIMATORS = ("gradient", "least squares, 0.01", "least squares, learned")


def error_at(curve: list[dict], seconds: float) -> float:
    """Return the test error after so many seconds, between the points of a curve; the last one's beyond its end."""
    times = [point["seconds"] for point in curve]
    errors = np.log([point["test_squared_error"] for point in curve])
    return float(np.exp(np.interp(seconds, times, errors)))


def table(result: dict) -> str:
    """Return errors after equal steps, and after the time that gradient latents take for them."""
    runs, steps = result["runs"], result["num_steps"]
    head = ["test error", f"gradient, {steps:,} steps"]
    head += [f"{name}: {steps:,} steps, equal time" for name in ESTIMATORS[1:]]
    rows = [head]
    for cell in dict.fromkeys((run["dataset"], run["latent_size"], run["norm"]) for run in runs):
        dataset, latent_size, norm = cell
        of_cell = [run for run in runs if (run["dataset"], run["latent_size"], run["norm"]) == cell]
        curves = {
            name: [run["curve"] for run in sorted(of_cell, key=lambda run: run["seed"]) if run["estimator"] == name]
            for name in ESTIMATORS
        }
        if min(map(len, curves.values())) < len(curves["gradient"]):
            continue  # not all seeds were measured
        seconds = [curve[-1]["seconds"] for curve in curves["gradient"]]
        made = curves["gradient"][0][-1]["step"]
        few = "" if made == steps else f", {made:,} steps"
        row = [f"{DATASETS[dataset]}, latent {latent_size}, {NORMS[norm]}{few}"]
        for name in ESTIMATORS:
            errors = [statistics.mean(curve[-1]["test_squared_error"] for curve in curves[name])]
            if name != "gradient":
                errors += [statistics.mean(map(error_at, curves[name], seconds))]
            row.append(", ".join(f"{error:.3g}" for error in errors))
        rows.append(row)
    return markdown(rows)


def page_with(text: str) -> str:
    """Return the page's text with the table of the results there are, in one file or several."""
    found = load_all("estimators*")
    results = list(found.values())
    keys = ("dataset", "latent_size", "norm", "estimator", "seed")
    runs = {tuple(run[key] for key in keys): run for result in results for run in result["runs"]}  # the later file's
    table_of_all = table({"num_steps": results[0]["num_steps"], "runs": list(runs.values())})
    return report.page_with(text, "estimators", f"{table_of_all}\n\n{sources(found, mixed=True)}")


if __name__ == "__main__":
    report.PAGE.write_text(page_with(report.PAGE.read_text()))
