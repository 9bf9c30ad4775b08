"""Train with the options that `gon train --dataset ...` chooses by itself, and compare with PCA of as many components.

python -m benchmarks.defaults cifar10 mnist --minutes 5     # alone on the machine: the length is a time
python -m benchmarks.defaults --table                       # make the table of docs/data.md from the JSON
"""

import argparse
import pathlib
import tempfile

from benchmarks import report
from benchmarks.tables import load_all, markdown, number, sources
from gon_jax import runs

PAGE = report.PAGE.with_name("data.md")
OPTIONS = ("network", "latent_shape", "learning_rate", "batch_size")


def measure(name: str, minutes: float) -> dict:
    """Return the options that were chosen, and the held-out errors after so many minutes."""
    config, dataset = runs.suited(runs.Config().replace(dataset=name), given=set())
    steps = runs.steps_within(minutes, runs.plan(config, dataset))
    config = config.replace(num_steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        summary = runs.train(config, pathlib.Path(folder, "run"), dataset=dataset, pictures=False)
    assert summary is not None, "nothing interrupts it"
    kept = ("test.squared_error", "pca.squared_error", "num_train", "num_steps", "seconds_training")
    shape = list(dataset.train.images.shape[1:])
    return {
        "dataset": name,
        "minutes": minutes,
        "data_shape": shape,
        "options": {option: config.options()[option] for option in OPTIONS},
        **{key: summary[key] for key in kept},
    }


def table(found: dict[str, dict]) -> str:
    """Return a row for each dataset."""
    rows = [
        ["dataset", "examples", "latents", "steps", "seconds of training", "squared error", "PCA's, as many components"]
    ]
    for result in found.values():
        shape = "x".join(map(str, result["data_shape"]))
        latents = " ".join(map(str, result["options"]["latent_shape"]))
        errors = number(result["test.squared_error"]), number(result["pca.squared_error"])
        counts = f"{result['num_train']:,} of {shape}", latents, f"{result['num_steps']:,}"
        rows.append([result["dataset"], *counts, number(result["seconds_training"]), *errors])
    return markdown(rows)


def page_with(text: str) -> str:
    """Return the page's text with the table of the results there are."""
    found = load_all("defaults_*")
    content = "\n\n".join([table(found), sources(found, mixed=True)]) if found else "Not measured yet."
    return report.page_with(text, "defaults", content)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    made_by = report.provenance()
    for name in args.datasets:
        result = measure(name, args.minutes)
        print(report.write(f"defaults_{pathlib.Path(name).stem}", result, made_by, args.results))
    if args.results is None:
        PAGE.write_text(page_with(PAGE.read_text()))


if __name__ == "__main__":
    main()
