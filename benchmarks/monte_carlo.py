"""Train an implicit GON whose integrals are over random subsets of the points, and record error and time.

    python -m benchmarks.monte_carlo

Fashion-MNIST at 28, 64 and 128 pixels a side (N points in all); equally many steps with all N, N/2, N/4, N/8 and N/16
points. The error is over all N points of the images trained on, per pixel, so that sizes can be compared; the latent
step size is the authors' at 28 pixels and falls as 1 / N, so that latents have the same scale.
"""

import argparse
import itertools
import pathlib

import jax
from tqdm.auto import tqdm

from benchmarks import report
from benchmarks.workers import timed
from gon_jax.coordinates import grid
from gon_jax.data import load, resize
from gon_jax.decoders import siren_decoder
from gon_jax.metrics import evaluate
from gon_jax.models import gon
from gon_jax.training import fit, make_optimizer

LATENT_SIZE, HIDDEN_DIM, NUM_LAYERS, BATCH_SIZE, LEARNING_RATE = 32, 64, 3, 16, 5e-4
SIZES, DIVISORS = (28, 64, 128), (1, 2, 4, 8, 16)


def train(images, divisor: int, num_steps: int, seed: int) -> dict:
    """Return the error on all points after training on a part of them, the time of a step, and that of compiling."""
    size = images.shape[1]
    num_points = size**2 // divisor
    decoder = siren_decoder(grid(size, size), LATENT_SIZE, hidden_dim=HIDDEN_DIM, num_layers=NUM_LAYERS)
    model = gon(decoder, step_size=28**2 / (64 * size**2), num_points=num_points)
    found = []

    def run():
        options = {"optimizer": make_optimizer(LEARNING_RATE), "batch_size": BATCH_SIZE, "progress": False}
        found.append(fit(model, images, num_steps, jax.random.key(seed), **options))

    _, others = timed(run)
    (result,) = found
    error = evaluate(model, result.state.variables, images, batch_size=BATCH_SIZE)["squared_error"] / size**2
    return {
        "image_size": size,
        "divisor": divisor,
        "num_points": num_points,
        "seed": seed,
        "error_per_pixel": error,
        "ms_per_step": 1000 * result.seconds_training / num_steps,
        "seconds_compile": result.seconds_compile,
        "cores_of_others": others,
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--divisors", type=int, nargs="+", default=DIVISORS)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by, runs = report.provenance(), []
    images = load("fashion_mnist").train.images[: args.images]
    cells = list(itertools.product(args.seeds, args.sizes, args.divisors))
    for seed, size, divisor in tqdm(cells, unit="run"):
        runs.append(train(resize(images, size), divisor, args.steps, seed))
        tqdm.write(str(runs[-1]))
        path = report.write(
            "monte_carlo_cpu",
            {
                "what": "implicit GON, error on all points after equal steps on random subsets of them",
                "dataset": "fashion_mnist",
                "num_images": args.images,
                "num_steps": args.steps,
                "latent_size": LATENT_SIZE,
                "hidden_dim": HIDDEN_DIM,
                "num_layers": NUM_LAYERS,
                "batch_size": BATCH_SIZE,
                "learning_rate": LEARNING_RATE,
                "runs": runs,
            },
            made_by,
            args.results,
        )
    print(path)


if __name__ == "__main__":
    main()
