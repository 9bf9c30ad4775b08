"""What the codes of a trained model are like: their distribution, their rank, and what of the labels they hold."""

import numpy as np

from gon_jax.inference import encode_dataset
from gon_jax.latents import statistics
from gon_jax.runs.run import Run


def describe_codes(run: Run, *, progress: bool = False) -> tuple[dict[str, float | int], np.ndarray, dict]:
    """Return a table of figures, the codes of the test set `[N, *latent]`, and spectra by name.

    Args:
        run: a trained model.
        progress: show progress bars.
    """
    dataset, model, variables = run.dataset(), run.model, run.variables
    codes = [
        encode_dataset(
            model, variables, run.sources(part.images), encoder=run.encoder, progress=words if progress else None
        )
        for part, words in ((dataset.train, "encode training set"), (dataset.test, "encode test set"))
    ]
    spectra = {"codes": statistics.latent_spectrum(codes[1])}
    if run.encoder is not None:
        spectra["Jacobian of the encoder"] = statistics.jacobian_spectrum(run.encoder)
    table = {
        "codes": len(codes[1]),
        "latent size": int(np.prod(model.latent_shape)),
    }
    moments = statistics.normality(codes[1])
    table |= {name.replace("_", " ").replace("abs", "absolute"): value for name, value in moments.items()}
    for name, values in spectra.items():
        table[f"effective rank, {name}"] = statistics.effective_rank(values)
        table[f"participation ratio, {name}"] = statistics.participation_ratio(values)
    labels = [part.labels for part in (dataset.train, dataset.test)]
    if all(y is not None for y in labels):
        sets = codes[0], labels[0], codes[1], labels[1]
        table["linear probe, accuracy"] = statistics.linear_probe(*sets)
        table["5 nearest neighbors, accuracy"] = statistics.knn_accuracy(*sets)
    return table, codes[1], spectra
