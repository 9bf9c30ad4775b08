r"""Train the variational GON of the published logs on MNIST, and record the bound of the test set after each epoch.

    python -m benchmarks.elbo --seeds 0 1 2 --epochs 10
    python -m benchmarks.elbo --seeds 0 1 2 --epochs 10 --inner-noise none
    python -m benchmarks.elbo --seeds 0 --epochs 20 --inner-noise none --learning-rate 2e-3 --schedule cosine \
        --clip-norm 100 --likelihood discretized_logistic_mixture

All 60,000 training images; nothing is selected on the test set. The counterpart in PyTorch is `elbo_torch.py`. With a
likelihood of bytes the result has bits per dimension; at the end with 16 draws per image too, the tighter bound.
"""

import argparse
import pathlib

import jax
from tqdm.auto import tqdm

from benchmarks import report
from gon_jax.data import load
from gon_jax.decoders import conv_decoder
from gon_jax.metrics import evaluate_bound
from gon_jax.models import vgon
from gon_jax.runs import Config
from gon_jax.training import fit, make_optimizer

LATENT_SIZE, BASE_CHANNELS, LEARNING_RATE, BATCH_SIZE = 256, 16, 2e-4, 64
NUM_DRAWS = 16  # of the importance-weighted bound


def train(train_images, test_images, seed: int, args):
    """Return a curve of dicts, one per epoch, and the seconds to compile."""
    epochs, inner_noise = args.epochs, args.inner_noise
    likelihood = Config().replace(likelihood=args.likelihood).likelihood.build()
    image_shape, latent_shape = (32, 32, likelihood.num_outputs), (LATENT_SIZE,)
    decoder = conv_decoder(image_shape, latent_shape, base_channels=BASE_CHANNELS)
    model = vgon(decoder, likelihood=likelihood, inner_noise=inner_noise)
    steps_per_epoch = len(train_images) // BATCH_SIZE
    train_key, test_key = jax.random.split(jax.random.key(seed))
    curve = []

    def on_report(report):
        if report.step % steps_per_epoch == 0:
            point = {"epoch": report.step // steps_per_epoch, "seconds": report.seconds}
            for evaluation, suffix in (("batch", ""), ("running", "_running")):
                options = {"evaluation": evaluation, "batch_size": BATCH_SIZE}
                bound = evaluate_bound(model, report.state.variables, test_images, test_key, **options)
                names = [name for name in ("negative_elbo", "nll", "kl", "bits_per_dim") if name in bound]
                point |= {f"test_{name}{suffix}": bound[name] for name in names}
            if report.stopping and likelihood.measure == "bytes":
                bound = evaluate_bound(model, report.state.variables, test_images, test_key, num_samples=NUM_DRAWS)
                point["importance_weighted_bits_per_dim"] = bound["importance_weighted_bits_per_dim"]
                point["num_draws"] = NUM_DRAWS
            curve.append(point)
            tqdm.write(f"seed {seed}: {point}")

    result = fit(
        model,
        train_images,
        epochs * steps_per_epoch,
        train_key,
        optimizer=make_optimizer(
            args.learning_rate,
            num_steps=epochs * steps_per_epoch,
            schedule=args.schedule,
            warmup_steps=100 if args.schedule == "cosine" else 0,
            clip_norm=args.clip_norm,
        ),
        batch_size=BATCH_SIZE,
        validate_every=steps_per_epoch,  # a report there
        on_report=on_report,
    )
    return curve, result.seconds_compile


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--most-images", type=int, help="of training and of testing, to try the command out")
    parser.add_argument("--likelihood", default="bernoulli")
    parser.add_argument("--inner-noise", default="per_example")
    parser.add_argument("--learning-rate", type=float, default=LEARNING_RATE)
    parser.add_argument("--schedule", default="constant", help="cosine: a rise of 100 steps, then down to 0")
    parser.add_argument("--clip-norm", type=float)
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by = report.provenance()
    dataset = load("mnist", image_size=32)
    train_images, test_images = (split.images[: args.most_images] for split in (dataset.train, dataset.test))
    runs, name = [], "elbo_mnist_jax"
    name += "" if args.inner_noise == "per_example" else f"_noise_{args.inner_noise}"
    name += "" if args.likelihood == "bernoulli" else f"_{args.likelihood}"
    for seed in args.seeds:
        curve, seconds_compile = train(train_images, test_images, seed, args)
        runs.append({"seed": seed, "seconds_compile": seconds_compile, "curve": curve})
        path = report.write(
            name,
            {
                "what": "gon_jax; -ELBO in nats, one draw, by batch statistics as the logs, _running by averaged ones",
                "likelihood": args.likelihood,
                "inner_noise": args.inner_noise,
                "dataset": "mnist",
                "num_images": len(train_images),
                "latent_size": LATENT_SIZE,
                "base_channels": BASE_CHANNELS,
                "learning_rate": args.learning_rate,
                "schedule": args.schedule,
                "clip_norm": args.clip_norm,
                "batch_size": BATCH_SIZE,
                "runs": runs,
            },
            made_by,
            args.results,
        )
    print(path)


if __name__ == "__main__":
    main()
