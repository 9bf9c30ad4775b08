"""Measure the seconds from raw data to a given test error, on MNIST, of both frameworks.

    python -m benchmarks.time_to_quality --seeds 0 1 2

The clock runs while data is read and moved, and while steps are made; it stands still during evaluation, which is on
the whole test set by batch statistics every 100 steps. Compilation is timed apart and reported both ways. Each run is
a process of its own, alone, and starts its clock once its framework is imported. Needs torch and a prepared dataset.
"""

import argparse
import json
import pathlib
import sys
from functools import partial

from tqdm.auto import tqdm

from benchmarks import cases, report
from benchmarks.workers import Worker, serve, timed

CASE = cases.CONV._replace(name="mnist", latent_size=256, learning_rate=2e-4)
SIDES = ("torch-eager", "torch-compiled", "jax-fast")
LEVELS, EVALUATE_EVERY = (3.0, 1.5), 100


class TorchRun:
    """Train a side of `torch_sides`, its data read as `quality_torch` does."""

    def __init__(self, side, seed):
        import torch

        from benchmarks import quality_torch, torch_sides

        torch_sides.setup("cpu")
        torch.manual_seed(seed)
        self.torch, self.read = torch, quality_torch.read
        self.trainer = torch_sides.make_trainer(side, CASE, cases.weights(CASE, seed, shift=0.0), "cpu")
        self.order = iter(())

    def load(self):
        self.train, self.test = self.read("mnist", "train"), self.read("mnist", "test")

    def compile(self):
        if not hasattr(self.trainer, "params"):
            return
        before = [tensor.clone() for tensor in self.trainer.tensors()]
        self.trainer.step(self.train[: CASE.batch_size])
        for tensor, value in zip(self.trainer.tensors(), before, strict=True):
            tensor.copy_(value)

    def advance(self, num_steps):
        for _ in range(num_steps):
            batch = next(self.order, None)
            if batch is None:
                order = self.torch.randperm(len(self.train))
                self.order = iter(order[: len(order) // CASE.batch_size * CASE.batch_size].split(CASE.batch_size))
                batch = next(self.order)
            self.trainer.step(self.train[batch])

    def test_error(self):
        total = sum(self.trainer.errors(x).sum().item() for x in self.test.split(CASE.batch_size))
        return total / len(self.test)


class JaxRun:
    """Train ours as `fit` does: the data on the device, 100 steps per call."""

    def __init__(self, side, seed):
        import jax
        import jax.numpy as jnp

        from benchmarks import jax_sides
        from gon_jax import Variables, data, metrics, models, training

        self.jax, self.jnp, self.data, self.training = jax, jnp, data, training
        self.model = models.gon(jax_sides.make_decoder(CASE), step_size=CASE.step_size)
        self.optimizer = training.make_optimizer(CASE.learning_rate, epsilon=CASE.adam_epsilon)
        params = jax.tree.map(jnp.asarray, cases.flax_params(CASE, cases.weights(CASE, seed, shift=0.0)))
        state = training.init_state(self.model, self.optimizer, jax.random.key(seed))
        self.state = state._replace(params=params, opt_state=self.optimizer.init(params))
        self.variables = Variables
        self.evaluate = partial(metrics.evaluate, self.model, evaluation="batch", batch_size=CASE.batch_size)

    def load(self):
        dataset = self.data.load("mnist", image_size=CASE.image_size)
        self.images, self.test = {"x": self.jnp.asarray(dataset.train.images)}, dataset.test.images

    def compile(self):
        options = {"batch_size": CASE.batch_size, "num_losses": EVALUATE_EVERY}
        steps = partial(self.training.train_steps, self.model, self.optimizer, **options)
        lowered = self.jax.jit(steps, donate_argnums=0).lower(self.state, self.images, self.jnp.int32(0))
        self.steps = lowered.compile()

    def advance(self, num_steps):
        results = self.steps(self.state, self.images, self.jnp.int32(num_steps))
        self.state, _, _ = self.jax.block_until_ready(results)

    def test_error(self):
        return self.evaluate(self.variables(self.state.params), self.test)["squared_error"]


def race(side: str, seed: int, levels: list[float], most_steps: int) -> dict:
    """Train until the last level is reached, or `most_steps`; return the seconds of each part, and the curve."""
    clock, others = {"load": 0.0, "compile": 0.0, "advance": 0.0}, []
    run = (TorchRun if side.startswith("torch") else JaxRun)(side, seed)

    def do(part, *arguments):
        seconds, cores = timed(getattr(run, part), *arguments)
        clock[part] += seconds
        if part == "advance":
            others.append(cores)

    do("load")
    do("compile")
    curve, reached = [], {}
    with tqdm(total=most_steps, desc=f"{side} seed {seed}", unit="step") as bar:
        while bar.n < most_steps and len(reached) < len(levels):
            do("advance", EVALUATE_EVERY)
            bar.update(EVALUATE_EVERY)
            point = {"step": bar.n, "seconds": clock["load"] + clock["advance"], "test_squared_error": run.test_error()}
            point["seconds_with_compile"] = point["seconds"] + clock["compile"]
            curve.append(point)
            bar.set_postfix(error=f"{point['test_squared_error']:.3g}")
            for level in levels:
                if point["test_squared_error"] <= level:
                    reached.setdefault(str(level), point)
    parts = {"seconds_loading": clock["load"], "seconds_compile": clock["compile"], "seconds_steps": clock["advance"]}
    parts["cores_of_others"] = max(others)
    return {"side": side, "seed": seed} | parts | {"reached": reached, "curve": curve}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, help="squared error of a test image")
    parser.add_argument("--most-steps", type=int, default=9370, help="give up after so many (10 epochs)")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by = report.provenance()
    result = {
        "what": "seconds of loading and steps until a test error, MNIST, batch statistics at evaluation",
        "case": CASE._asdict() | {"step_size": CASE.step_size},
        "evaluate_every": EVALUATE_EVERY,
        "levels": list(args.levels),
        "runs": [],
    }
    for seed in args.seeds:
        for side in args.sides:
            with Worker("benchmarks.time_to_quality", [side, seed], "cpu") as worker:
                result["runs"].append(worker.ask("race", levels=list(args.levels), most_steps=args.most_steps))
            path = report.write("time_to_quality_cpu", result, made_by, args.results)
    print(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve({"race": partial(race, *json.loads(sys.argv[2]))})
    else:
        main()
