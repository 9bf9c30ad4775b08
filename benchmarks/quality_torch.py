"""Train the authors' algorithm in PyTorch for some epochs, several seeds, and record the test error after each.

    python -m benchmarks.quality_torch --dataset mnist --seeds 0 1 --epochs 50
    python -m benchmarks.quality_torch --dataset mnist --seeds 0 --core 1 --minutes 15  # on one core, a piece of it

The counterpart of `quality.py`, which trains ours; results and going on are as there. This side reads the data itself
(`loader.py`), so that it is a second opinion on the input pipeline too. Needs torch and a prepared dataset.
"""

import os
import time
from collections.abc import Callable

import torch
from tqdm.auto import tqdm

from benchmarks import loader, torch_gon
from benchmarks.quality_record import Deadline, Record, parse

LATENT_SIZE, BASE_CHANNELS, LEARNING_RATE, BATCH_SIZE = 256, 16, 2e-4, 64
STEP_SIZE = 1 / (64 * 32 * 32)


def read(dataset: str, split: str) -> torch.Tensor:
    """Return a split as float32 images `[N, 1, 32, 32]` in [0, 1]."""
    return torch.from_numpy(loader.to_unit(loader.read(dataset, split))).movedim(-1, 1)


def train(train_images, test_images, record: Record, epochs: int, should_stop: Callable[[], bool]) -> None:
    """Train the seed of a record, from its checkpoint if there is one; seconds are of training alone."""
    torch.manual_seed(record.protocol["seed"])
    network = torch_gon.decoder(LATENT_SIZE, BASE_CHANNELS, 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    path = record.folder / "state.pt"
    if path.exists():
        saved = torch.load(path)
        record.go_on(saved["record"])
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
    seconds = record.curve[-1]["seconds"] if record.curve else 0.0
    for epoch in range(len(record.curve) + 1, epochs + 1):
        if should_stop():
            return
        order = torch.randperm(len(train_images))
        batches = order[: len(order) // BATCH_SIZE * BATCH_SIZE].split(BATCH_SIZE)
        start = time.perf_counter()
        for batch in tqdm(batches, f"{record.name} epoch {epoch}", mininterval=5):
            torch_gon.train_step(network, optimizer, train_images[batch], LATENT_SIZE, STEP_SIZE)
        seconds += time.perf_counter() - start
        error = torch_gon.evaluate(network, test_images, LATENT_SIZE, STEP_SIZE)
        record.add({"epoch": epoch, "test_squared_error": error, "seconds": seconds})
        saved = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(saved | {"record": record.kept()}, partial := path.with_suffix(".partial"))
        partial.replace(path)


def main(argv=None):
    args = parse(__doc__, argv)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    should_stop = Deadline(args.minutes)
    train_images, test_images = read(args.dataset, "train"), read(args.dataset, "test")
    protocol = {
        "what": "the authors' algorithm, PyTorch eager, batch statistics at evaluation",
        "latent_size": LATENT_SIZE,
        "base_channels": BASE_CHANNELS,
        "learning_rate": LEARNING_RATE,
        "batch_size": BATCH_SIZE,
    }
    for seed in args.seeds:
        if not should_stop():
            train(train_images, test_images, Record("torch", seed, args, protocol), args.epochs, should_stop)


if __name__ == "__main__":
    main()
