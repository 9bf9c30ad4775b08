"""Train the authors' variational GON in PyTorch on MNIST, and record the bound of the test set after each epoch.

    python -m benchmarks.elbo_torch --seeds 0 1 2 --epochs 10

The counterpart of `elbo.py`, which trains ours. Needs torch and a prepared dataset.
"""

import argparse
import os
import pathlib
import time

import torch
from tqdm.auto import tqdm

from benchmarks import report, torch_gon
from benchmarks.quality_torch import read

LATENT_SIZE, BASE_CHANNELS, LEARNING_RATE, BATCH_SIZE, STEP_SIZE = 256, 16, 2e-4, 64, 1 / 64
NUM_PARAMETERS = 435_281


def train(train_images, test_images, seed: int, epochs: int, progress: bool = True):
    """Yield epoch, bound and its terms (nats), and seconds of training alone, after every epoch."""
    torch.manual_seed(seed)
    network = torch_gon.Variational(LATENT_SIZE, BASE_CHANNELS, 1)
    count = sum(p.numel() for p in network.parameters())
    assert count == NUM_PARAMETERS, f"expected {NUM_PARAMETERS} parameters, the logs', got {count}"
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    seconds = 0.0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(train_images))
        batches = order[: len(order) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE)
        start = time.perf_counter()
        for batch in tqdm(batches, f"seed {seed} epoch {epoch}", disable=not progress, mininterval=5):
            noise = torch.randn(2, BATCH_SIZE, LATENT_SIZE)
            torch_gon.update_variational(network, optimizer, train_images[batch], *noise, STEP_SIZE)
        seconds += time.perf_counter() - start
        noise = torch.randn(2, len(test_images), LATENT_SIZE)
        nll, kl = torch_gon.evaluate_variational(network, test_images, noise, STEP_SIZE)
        yield {"epoch": epoch, "test_negative_elbo": nll + kl, "test_nll": nll, "test_kl": kl, "seconds": seconds}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--most-images", type=int, help="of training and of testing, to try the command out")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    made_by = report.provenance()
    train_images, test_images = (read("mnist", split)[: args.most_images] for split in ("train", "test"))
    runs = []
    for seed in args.seeds:
        runs.append({"seed": seed, "curve": []})
        for point in train(train_images, test_images, seed, args.epochs):
            runs[-1]["curve"].append(point)
            tqdm.write(f"seed {seed}: {point}")
            path = report.write(
                "elbo_mnist_torch",
                {
                    "what": "the authors' algorithm, PyTorch eager; BCE + KL in nats, one draw, batch statistics",
                    "dataset": "mnist",
                    "num_images": len(train_images),
                    "latent_size": LATENT_SIZE,
                    "base_channels": BASE_CHANNELS,
                    "learning_rate": LEARNING_RATE,
                    "batch_size": BATCH_SIZE,
                    "threads": args.threads,
                    "runs": runs,
                },
                made_by,
                args.results,
            )
    print(path)


if __name__ == "__main__":
    main()
