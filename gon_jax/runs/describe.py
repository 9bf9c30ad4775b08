"""What the latents of a trained model are like: their distribution, their rank, and what they know of the labels."""

import warnings
from typing import Any

import numpy as np

from gon_jax.data.splits import spread_indices
from gon_jax.inference import encode_dataset
from gon_jax.latents.statistics import effective_rank, normality, participation_ratio
from gon_jax.runs.run import Run

__all__ = ["describe_latents"]

MAX_TRAINING = 10_000  # latents that classifiers are fitted to


def describe_latents(run: Run, *, progress: bool = False) -> tuple[dict[str, float | int], np.ndarray, dict]:
    """Return a table of metrics, the latents of the test set `[N, *latent]`, and spectra by name.

    Args:
        run: a trained model.
        progress: show progress bars.
    """
    dataset, options = run.dataset(), {"encoder": run.encoder}

    def encode(split, label):
        sources = run.sources(split.images)
        return encode_dataset(run.model, run.variables, sources, progress=label if progress else None, **options)

    train, test = encode(dataset.train, "encode training set"), encode(dataset.test, "encode test set")
    table: dict[str, float | int] = {"latents": len(test), "latent size": int(np.prod(run.model.latent_shape))}
    for name, value in normality(test).items():
        table[name.replace("_", " ").replace("abs", "absolute")] = value
    z = test.reshape(len(test), -1).astype(np.float64)
    spectra = {"latents": np.linalg.svd(z - z.mean(0), compute_uv=False) / (len(z) - 1) ** 0.5}
    if run.encoder is not None:  # affine: its matrix is its Jacobian everywhere
        spectra["Jacobian of the encoder"] = np.linalg.svd(np.float64(run.encoder.matrix), compute_uv=False)
    for name, values in spectra.items():
        table[f"effective rank, {name}"] = effective_rank(values)
        table[f"participation ratio, {name}"] = participation_ratio(values)
    if dataset.train.labels is not None and dataset.test.labels is not None:
        table |= _accuracies(train, dataset.train.labels, test, dataset.test.labels)
    return table, test, spectra


def _accuracies(train, train_labels, test, test_labels):
    """Return the accuracies of two classifiers of latents, fitted to those of the training set."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    some = spread_indices(len(train), MAX_TRAINING)
    z, y, z_test = train[some].reshape(len(some), -1), train_labels[some], test.reshape(len(test), -1)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    methods: dict[str, Any] = {"linear probe, accuracy": probe} if len(np.unique(y)) > 1 else {}
    methods["5 nearest neighbors, accuracy"] = KNeighborsClassifier(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 500 iterations do for an accuracy
        return {name: float(method.fit(z, y).score(z_test, test_labels)) for name, method in methods.items()}
