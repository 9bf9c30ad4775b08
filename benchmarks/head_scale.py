"""Measure how fast GON classifiers learn by the factor with which their head reads the latent.

    python -m benchmarks.head_scale

What decides `HEAD_SCALE` of `gon_jax/models/classifier.py`.
"""

import argparse
import pathlib

import jax
import numpy as np

from benchmarks import report
from gon_jax.data import Dataset, load
from gon_jax.metrics import accuracy
from gon_jax.models import classifier
from gon_jax.runs import Config
from gon_jax.training import fit, make_optimizer

SCALES = (1.0, 4.0, 16.0, 64.0)
CLASSIFIER = Config().replace(model="classifier", reconstruction_weight=0.1, latent_shape=(16,))
SIREN = CLASSIFIER.replace(network="siren", hidden_dim=64, num_layers=3, omega_0=5.0)
CONFIGS = {
    "SIREN, latent 16": SIREN,
    "SIREN, latent 2": SIREN.replace(latent_shape=(2,)),
    "convolutional, latent 16": CLASSIFIER.replace(base_channels=16),
}


def accuracy_after(config: Config, digits: Dataset, scale: float, num_steps: int, seed: int) -> float:
    """Return the accuracy on held-out digits of a classifier whose head reads `scale * z`."""
    classifier.HEAD_SCALE = scale
    model = config.build(digits.train.images.shape[1:])
    data = {"x": digits.train.images, "y": digits.train.labels}
    options = {"optimizer": make_optimizer(1e-3), "batch_size": 64, "progress": False}
    state = fit(model, data, num_steps, jax.random.key(seed), **options).state
    return accuracy(model, state.variables, {"x": digits.test.images, "y": digits.test.labels})


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by, rows, digits = report.provenance(), [], load("digits")
    for name, config in CONFIGS.items():
        for scale in SCALES:
            values = [accuracy_after(config, digits, scale, args.steps, seed) for seed in range(args.seeds)]
            rows.append({"model": name, "head_scale": scale, "accuracy": values})
            print(f"{name}, head scale {scale:g}: accuracy {np.mean(values):.3f} after {args.steps} steps")
    print(report.write("head_scale", {"steps": args.steps, "rows": rows}, made_by, args.results))


if __name__ == "__main__":
    main()
