"""Train the authors' implicit GON on Fashion-MNIST, in one framework, and record the training loss of every step.

    python -m benchmarks.implicit_loss --side torch
    python -m benchmarks.implicit_loss --side jax

Each side draws its own weights by the authors' law, and its own batches. The loss is the squared error summed over
pixels, its mean over the batch. In PyTorch the authors' algorithm is compiled over nested `torch.func`, which is 3
times as fast as its double backward as it stands (`--eager`). On a GPU: `--device gpu --steps 500`.
"""

import argparse
import pathlib
import statistics
import time

import numpy as np
from tqdm.auto import tqdm

from benchmarks import cases, report
from gon_jax.data import load

CASE = cases.IMPLICIT
LAST = 10  # steps whose mean is the result


def train_torch(images, seed: int, num_steps: int, device: str, eager: bool):
    """Return the losses, and the seconds of the steps after the first."""
    from benchmarks import torch_sides

    device, rng = torch_sides.setup(device), np.random.default_rng(seed)
    name = "torch-eager" if eager else "torch-compiled"
    side = torch_sides.make_trainer(name, CASE, cases.weights(CASE, seed), device)
    num_epochs = 1 + num_steps * CASE.batch_size // len(images)
    order = np.concatenate([rng.permutation(len(images)) for _ in range(num_epochs)])
    losses = []
    for step in tqdm(range(num_steps), f"torch seed {seed}", unit="step"):
        batch = images[order[step * CASE.batch_size : (step + 1) * CASE.batch_size]]
        x = torch_sides.to_torch(CASE, np.asarray(batch, np.float32) / 255).to(device)
        losses.append(side.step(x).item())
        if step == 0:
            start = time.perf_counter()
    return losses, time.perf_counter() - start


def train_jax(images, seed: int, num_steps: int, device: str, eager: bool):
    """Return the losses, and the seconds of all steps."""
    import jax

    from gon_jax.coordinates import grid
    from gon_jax.decoders import siren_decoder
    from gon_jax.models import gon
    from gon_jax.training import fit, make_optimizer

    jax.config.update("jax_platforms", "cuda" if device == "gpu" else "cpu")
    points = grid(CASE.image_size, CASE.image_size)
    model = gon(
        siren_decoder(points, CASE.latent_size, hidden_dim=CASE.hidden_dim, num_layers=CASE.num_layers),
        step_size=CASE.step_size,
    )
    losses = []
    result = fit(
        model,
        images,
        num_steps,
        jax.random.key(seed),
        optimizer=make_optimizer(CASE.learning_rate, epsilon=CASE.adam_epsilon),
        batch_size=CASE.batch_size,
        on_report=lambda report: losses.extend(report.losses.tolist()),
        report_every=10,
    )
    return losses, result.seconds_training


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["torch", "jax"], required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--eager", action="store_true", help="PyTorch as it stands, not compiled")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by = report.provenance()
    images = load("fashion_mnist").train.images
    train = {"torch": train_torch, "jax": train_jax}[args.side]
    runs = []
    for seed in args.seeds:
        losses, seconds = train(images, seed, args.steps, args.device, args.eager)
        run = {"seed": seed, "loss": statistics.mean(losses[-LAST:]), "seconds": seconds, "losses": losses}
        runs.append(run)
        tqdm.write(f"{args.side} seed {seed}: mean of the last {LAST} losses {run['loss']:.4g}")
        path = report.write(
            f"implicit_loss_{args.side}_{args.device}",
            {
                "what": f"training loss of the implicit GON, squared error of an image, mean of the last {LAST} steps",
                "case": CASE._asdict() | {"step_size": CASE.step_size},
                "num_steps": args.steps,
                "compiled": not (args.side == "torch" and args.eager),
                "runs": runs,
            },
            made_by,
            args.results,
        )
    print(path)


if __name__ == "__main__":
    main()
