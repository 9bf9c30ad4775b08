"""Train the authors' algorithm in PyTorch for some epochs, several seeds, and record the test error after each.

    python -m benchmarks.quality_torch --dataset mnist --seeds 0 1 2 --epochs 10

The counterpart of `quality.py`, which trains ours. This side reads the data itself (tfds and Pillow, as the
authors resize), so that it is a second opinion on the input pipeline too. Needs torch and a prepared dataset.
"""

import argparse
import io
import os
import time

import numpy as np
import tensorflow_datasets as tfds
import torch
from PIL import Image
from tqdm.auto import tqdm

from benchmarks import report, torch_gon

LATENT_SIZE, BASE_CHANNELS, LEARNING_RATE, BATCH_SIZE = 256, 16, 2e-4, 64
STEP_SIZE = 1 / (64 * 32 * 32)


def read(dataset: str, split: str) -> torch.Tensor:
    """Return a split as float32 images `[N, 1, 32, 32]` in [0, 1], resized by Pillow's bilinear filter on uint8."""
    for folder in os.environ["GON_DATA_DIR"].split(":"):
        if os.path.isdir(os.path.join(folder, dataset)):
            break
    else:
        raise FileNotFoundError(f"expected a prepared {dataset} in a folder of GON_DATA_DIR; prepare it with tfds")
    decoders = {"image": tfds.decode.SkipDecoding()}
    source = tfds.data_source(dataset, split=split, data_dir=folder, download=False, decoders=decoders)
    images = [Image.open(io.BytesIO(example["image"])).resize((32, 32), Image.BILINEAR) for example in source]
    return torch.from_numpy(np.stack([np.asarray(i) for i in images])[:, None].astype(np.float32) / np.float32(255))


def train(train_images, test_images, seed: int, epochs: int, progress: bool = True):
    """Yield `{"epoch", "test_squared_error", "seconds"}` after every epoch; seconds are of training alone."""
    torch.manual_seed(seed)
    network = torch_gon.decoder(LATENT_SIZE, BASE_CHANNELS, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    seconds = 0.0
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(train_images))
        batches = order[: len(order) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE)
        start = time.perf_counter()
        for batch in tqdm(batches, f"seed {seed} epoch {epoch}", disable=not progress, mininterval=5):
            torch_gon.train_step(network, optimizer, train_images[batch], LATENT_SIZE, STEP_SIZE)
        seconds += time.perf_counter() - start
        error = torch_gon.evaluate(network, test_images, LATENT_SIZE, STEP_SIZE)
        yield {"epoch": epoch, "test_squared_error": error, "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["mnist", "fashion_mnist"], required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    made_by = report.provenance()
    train_images, test_images = read(args.dataset, "train"), read(args.dataset, "test")
    runs = []
    for seed in args.seeds:
        runs.append({"seed": seed, "curve": []})
        for point in train(train_images, test_images, seed, args.epochs):
            runs[-1]["curve"].append(point)
            print(point, flush=True)
            report.write(
                f"quality_{args.dataset}_torch",
                {
                    "what": "the authors' algorithm, PyTorch eager, batch statistics at evaluation",
                    "dataset": args.dataset,
                    "latent_size": LATENT_SIZE,
                    "base_channels": BASE_CHANNELS,
                    "learning_rate": LEARNING_RATE,
                    "batch_size": BATCH_SIZE,
                    "threads": args.threads,
                    "runs": runs,
                },
                made_by,
            )


if __name__ == "__main__":
    main()
