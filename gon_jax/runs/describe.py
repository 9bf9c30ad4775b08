"""What the latents of a trained model are like: their distribution, their rank, and what they know of the labels."""

import numpy as np

from gon_jax.inference import encode_dataset
from gon_jax.latents import statistics
from gon_jax.runs.run import Run

__all__ = ["describe_latents"]


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
    spectra = {"latents": statistics.latent_spectrum(test)}
    if run.encoder is not None:
        spectra["Jacobian of the encoder"] = statistics.jacobian_spectrum(run.encoder)
    table: dict[str, float | int] = {"latents": len(test), "latent size": int(np.prod(run.model.latent_shape))}
    for name, value in statistics.normality(test).items():
        table[name.replace("_", " ").replace("abs", "absolute")] = value
    for name, values in spectra.items():
        table[f"effective rank, {name}"] = statistics.effective_rank(values)
        table[f"participation ratio, {name}"] = statistics.participation_ratio(values)
    if dataset.train.labels is not None and dataset.test.labels is not None:
        sets = train, dataset.train.labels, test, dataset.test.labels
        table["linear probe, accuracy"] = statistics.linear_probe(*sets)
        table["5 nearest neighbors, accuracy"] = statistics.knn_accuracy(*sets)
    return table, test, spectra
