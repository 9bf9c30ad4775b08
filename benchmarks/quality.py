"""Train the preset of the published logs for some epochs, several seeds, and record the test error after each.

    python -m benchmarks.quality --dataset mnist --seeds 0 1 2 --epochs 10

All 60,000 training images; nothing is selected on the test set. The counterpart in PyTorch is `quality_torch.py`.
"""

import argparse

import jax
from tqdm.auto import tqdm

from benchmarks import report
from gon_jax.metrics import evaluate
from gon_jax.runs import PRESETS
from gon_jax.training import fit

PRESET = {"mnist": "gon-mnist-256", "fashion_mnist": "gon-fashion-256"}


def train(config, dataset, seed: int, epochs: int):
    """Return a curve of dicts, one per epoch, and the seconds to compile."""
    model, training = config.build(dataset.train.images.shape[1:]), config.training
    steps_per_epoch = len(dataset.train.images) // training.batch_size
    curve = []

    def on_report(report):
        if report.step % steps_per_epoch == 0:
            errors = {
                evaluation: evaluate(model, report.state.variables, dataset.test.images, evaluation=evaluation)
                for evaluation in ("batch", "running")
            }
            curve.append(
                {
                    "epoch": report.step // steps_per_epoch,
                    "test_squared_error": errors["batch"]["squared_error"],
                    "test_squared_error_running": errors["running"]["squared_error"],
                    "seconds": report.seconds,
                }
            )
            tqdm.write(f"seed {seed}: {curve[-1]}")

    result = fit(
        model,
        dataset.train.images,
        epochs * steps_per_epoch,
        jax.random.key(seed),
        optimizer=training.optimizer(),
        batch_size=training.batch_size,
        stats_decay=training.stats_decay,
        validate_every=steps_per_epoch,
        on_report=on_report,
    )
    return curve, result.seconds_compile


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(PRESET), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    made_by = report.provenance()
    config = PRESETS[PRESET[args.dataset]]
    dataset = config.data.load()
    runs = []
    for seed in args.seeds:
        curve, seconds_compile = train(config, dataset, seed, args.epochs)
        runs.append({"seed": seed, "seconds_compile": seconds_compile, "curve": curve})
        report.write(
            f"quality_{args.dataset}_jax",
            {
                "what": "gon_jax; test_squared_error by batch statistics as the logs, _running by averaged ones",
                "dataset": args.dataset,
                "preset": PRESET[args.dataset],
                "latent_size": config.latent_shape[0],
                "base_channels": config.network.base_channels,
                "learning_rate": config.training.learning_rate,
                "batch_size": config.training.batch_size,
                "runs": runs,
            },
            made_by,
        )


if __name__ == "__main__":
    main()
