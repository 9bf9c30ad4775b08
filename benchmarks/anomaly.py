"""Hold one class out of training, and measure how well its test examples are told from those of the other classes.

    python -m benchmarks.anomaly            # measure, then `--table`
    python -m benchmarks.anomaly --table    # make the table of docs/latents.md from the JSON

The area under the ROC curve: 1/2 is chance, and 1 finds all of them before any other. Beside it, the same two scores
of as many principal components.
"""

import argparse
import pathlib
import statistics

import jax
import numpy as np
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from tqdm.auto import tqdm

from benchmarks import report
from benchmarks.tables import load_all, markdown, number, sources
from gon_jax.data import Dataset, load
from gon_jax.decoders import mlp_decoder
from gon_jax.inference import anomaly_scores
from gon_jax.latents import mahalanobis_scores, reconstruction_scores
from gon_jax.models import gon
from gon_jax.pca import pca_reconstructions
from gon_jax.training import fit, make_optimizer

PAGE = report.PAGE.with_name("latents.md")
DATASETS = {"digits": "digits", "fashion_mnist": "Fashion-MNIST"}


def pca_scores(train: np.ndarray, test: np.ndarray, num_components: int) -> dict[str, np.ndarray]:
    """Return the scores of principal components of the training examples."""
    flat_train, flat = (x.reshape(len(x), -1) / 255 for x in (train, test))
    pca = PCA(num_components, svd_solver="full").fit(flat_train)
    x_hat = pca_reconstructions(train, test, num_components)
    return {
        "PCA, reconstruction": reconstruction_scores(test / 255, x_hat),
        "PCA, mahalanobis": mahalanobis_scores(pca.transform(flat_train), pca.transform(flat)),
    }


def measure(dataset: Dataset, held_out: int, latent_size: int, num_steps: int, seed: int) -> dict[str, float]:
    """Return the area under the ROC curve of each score, for one class held out."""
    train = dataset.train.images[dataset.train.labels != held_out]
    test, is_new = dataset.test.images, dataset.test.labels == held_out
    model = gon(mlp_decoder(train.shape[1:], (latent_size,)))
    optimizer = make_optimizer(2e-3, schedule="cosine", num_steps=num_steps)
    result = fit(model, train, num_steps, jax.random.key(seed), optimizer=optimizer, progress=False)
    scores = anomaly_scores(model, result.state.variables, train, test)
    scores = {f"GON, {name}": values for name, values in scores.items()} | pca_scores(train, test, latent_size)
    return {name: float(roc_auc_score(is_new, values)) for name, values in scores.items()}


def table(result: dict) -> str:
    """Return a row for each score: the area with each class held out, its mean over seeds, and the mean of all."""
    runs = result["runs"]
    classes, seeds = (sorted({run[key] for run in runs}) for key in ("held_out", "seed"))
    mean = "mean (range over seeds)" if len(seeds) > 1 else "mean"
    rows = [[f"{DATASETS[result['dataset']]}, held out", *map(str, classes), mean]]
    for name in runs[0]["auroc"]:
        area = {(run["held_out"], run["seed"]): run["auroc"][name] for run in runs}
        means = [statistics.mean(area[c, seed] for c in classes) for seed in seeds]
        cells = [number(statistics.mean(area[c, seed] for seed in seeds)) for c in classes]
        ranged = name.startswith("GON") and len(seeds) > 1  # principal components have no seed
        spread = f" ({number(min(means))} to {number(max(means))})" if ranged else ""
        rows.append([name, *cells, f"{number(statistics.mean(means))}{spread}"])
    return markdown(rows)


def page_with(text: str) -> str:
    """Return the page's text with the tables of the results there are."""
    found = load_all("anomaly_*")
    return report.page_with(text, "anomaly", "\n\n".join([*map(table, found.values()), sources(found, mixed=True)]))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="digits", choices=DATASETS)
    parser.add_argument("--classes", type=int, nargs="+", help="held out in turn; all by default")
    parser.add_argument("--latents", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    args = parser.parse_args(argv)
    if not args.table:
        made_by, dataset, runs = report.provenance(), load(args.dataset), []
        classes = args.classes or np.unique(dataset.test.labels).tolist()
        for held_out, seed in tqdm([(c, seed) for c in classes for seed in args.seeds], unit="run"):
            areas = measure(dataset, held_out, args.latents, args.steps, seed)
            runs.append({"held_out": held_out, "seed": seed, "auroc": areas})
        result = {"dataset": args.dataset, "latent_size": args.latents, "num_steps": args.steps, "runs": runs}
        print(table(result))
        print(report.write(f"anomaly_{args.dataset}", result, made_by, args.results))
    if args.results is None:
        PAGE.write_text(page_with(PAGE.read_text()))


if __name__ == "__main__":
    main()
