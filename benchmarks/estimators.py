"""Train with gradient latents and with least-squares latents for as many steps, and record where each stands when.

    python -m benchmarks.estimators --seeds 0 1

Batch 64, width 16, Adam at 1e-3 for both: test error (the first 2,000 test images, averaged statistics) against steps,
and against the seconds of training steps on this machine. CIFAR-10 is the 10,000 images of its first training batch.
"""

import argparse
from functools import partial

import jax
from tqdm.auto import tqdm

from benchmarks import report
from gon_jax.data import load
from gon_jax.decoders import conv_decoder
from gon_jax.metrics import evaluate
from gon_jax.models import gon, least_squares_gon
from gon_jax.training import fit, make_optimizer

ESTIMATORS = {  # without batch normalization the decoder brings a step size of its own; least squares needs none
    "gradient": gon,
    "least squares, 0.01": partial(least_squares_gon, damping=0.01),
    "least squares, learned": partial(least_squares_gon, damping=0.1, learn_damping=True),
}
EVALUATE_AT = (100, 250, 500, 1000, 2000, 4000, 8000)


def train(make_model, norm: str, dataset, latent_size: int, num_steps: int, seed: int) -> dict:
    """Return the test error at some steps, with the seconds of training up to there."""
    decoder = conv_decoder(dataset.train.images.shape[1:], (latent_size,), norm=norm)
    model = make_model(decoder)
    test, curve = dataset.test.images[:2000], []

    def on_report(report):
        if report.step in EVALUATE_AT or report.step == num_steps:
            error = evaluate(model, report.state.variables, test)["squared_error"]
            curve.append({"step": report.step, "seconds": report.seconds, "test_squared_error": error})

    result = fit(
        model,
        dataset.train.images,
        num_steps,
        jax.random.key(seed),
        optimizer=make_optimizer(1e-3, epsilon=1024e-8),
        validate_every=50,  # a report at every step that is asked for
        on_report=on_report,
        progress=False,
    )
    damping = result.state.params.get("log_damping")
    learned = {} if damping is None else {"damping": float(jax.numpy.exp(damping))}
    return {"curve": curve, "seconds_compile": result.seconds_compile} | learned


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["mnist", "fashion_mnist", "cifar10"])
    parser.add_argument("--latents", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--norms", nargs="+", default=["batch", "none"], choices=["batch", "none"])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    args = parser.parse_args()
    made_by, runs = report.provenance(), []
    cells = [(d, k, n) for d in args.datasets for k in args.latents for n in args.norms]
    datasets = {name: load(name, image_size=32) for name in args.datasets}
    with tqdm(total=len(cells) * len(ESTIMATORS) * len(args.seeds), unit="run") as bar:
        for seed in args.seeds:
            for name, latent_size, norm in cells:
                for estimator, make_model in ESTIMATORS.items():
                    what = {"dataset": name, "latent_size": latent_size, "norm": norm, "estimator": estimator}
                    bar.set_postfix_str(" ".join(map(str, what.values())))
                    run = train(make_model, norm, datasets[name], latent_size, args.steps, seed)
                    runs.append(what | {"seed": seed} | run)
                    tqdm.write(f"{what} {run['curve'][-1]}")
                    bar.update()
                    path = report.write("estimators", {"num_steps": args.steps, "runs": runs}, made_by)
    print(path)


if __name__ == "__main__":
    main()
