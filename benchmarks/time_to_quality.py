"""Measure the seconds from raw data to a given test error, on MNIST, of both frameworks.

    python -m benchmarks.time_to_quality --seeds 0  # benchmarks/results/time_to_quality_seed0_cpu.json

Both sides have one loader (`loader.py`): the same images, in the same batches and order, which come as float32 arrays
of NumPy and go to the framework one by one, for a step each. The clock runs while data is read, batches are made and
moved, and steps are made; it stands still during evaluation, which is on the whole test set by batch statistics every
100 steps. Compilation is timed apart and reported both ways. Each run is a process of its own, alone, and starts its
clock once its framework is imported. Needs torch and a prepared dataset.
"""

import argparse
import json
import pathlib
import sys
from functools import partial

from tqdm.auto import tqdm

from benchmarks import cases, loader, report
from benchmarks.sides import admitted, environment
from benchmarks.workers import Worker, serve, timed

CASE = cases.CONV._replace(name="mnist", latent_size=256, learning_rate=2e-4)
SIDES = ("torch-eager", "torch-compiled", "torch-compiled-shared", "jax-fast")
LEVELS, EVALUATE_EVERY = (3.0, 1.5), 100


class Run:
    """A side in training: `setup` builds it, `compile` compiles for a batch, `step` makes a step on one."""

    def __init__(self, side: str, seed: int):
        import tensorflow_datasets  # noqa: F401  here, before the clock starts

        self.seed = seed
        self.setup(side, cases.weights(CASE, seed, shift=0.0))

    def load(self):
        self.train, self.test = loader.read("mnist", "train"), loader.read("mnist", "test")
        self.batches = loader.batches(self.train, CASE.batch_size, self.seed)

    def advance(self, num_steps: int):
        for _ in range(num_steps):
            self.step(next(self.batches))
        self.finish()

    def finish(self):
        """Wait until all steps are made."""


class TorchRun(Run):
    """A side of `torch_sides`."""

    def setup(self, side, weights):
        from benchmarks import torch_sides

        torch_sides.setup("cpu")
        self.to_torch = partial(torch_sides.to_torch, CASE)
        self.trainer = torch_sides.make_trainer(side, CASE, weights, "cpu")

    def compile(self):
        if not hasattr(self.trainer, "compile"):
            return
        before = [tensor.clone() for tensor in self.trainer.tensors()]
        self.step(loader.to_unit(self.train[: CASE.batch_size]))
        for tensor, value in zip(self.trainer.tensors(), before, strict=True):
            tensor.copy_(value)

    def step(self, x):
        self.trainer.step(self.to_torch(x))

    def test_error(self):
        parts = range(0, len(self.test), CASE.batch_size)
        batches = (self.to_torch(loader.to_unit(self.test[i : i + CASE.batch_size])) for i in parts)
        return sum(self.trainer.errors(x).sum().item() for x in batches) / len(self.test)


class JaxRun(Run):
    """Ours, by one call for each step; `gon_jax.fit` makes many in one, on data that is on the device."""

    def setup(self, side, weights):
        import jax
        import jax.numpy as jnp

        from benchmarks import jax_sides
        from gon_jax import Variables, metrics, training

        self.jax, self.to_jax, self.variables = jax, jnp.asarray, Variables
        self.model = jax_sides.make_model(CASE, jax_sides.STRATEGIES[side])
        optimizer = training.make_optimizer(CASE.learning_rate, epsilon=CASE.adam_epsilon)
        params = jax.tree.map(jnp.asarray, cases.flax_params(CASE, weights))
        state = training.init_state(self.model, optimizer, jax.random.key(self.seed))
        self.state = state._replace(params=params, opt_state=optimizer.init(params))
        self.train_step = jax.jit(partial(training.train_step, self.model, optimizer), donate_argnums=0)
        self.evaluate = partial(metrics.evaluate, self.model, evaluation="batch", batch_size=CASE.batch_size)

    def compile(self):
        batch = {"x": self.to_jax(loader.to_unit(self.train[: CASE.batch_size]))}
        self.train_step = self.train_step.lower(self.state, batch).compile()

    def step(self, x):
        self.state, _ = self.train_step(self.state, {"x": self.to_jax(x)})

    def finish(self):
        self.jax.block_until_ready(self.state)

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
    parser.add_argument("--sides", nargs="+", default=SIDES, help="see benchmarks/sides.py")
    parser.add_argument("--levels", type=float, nargs="+", default=LEVELS, help="squared error of a test image")
    parser.add_argument("--most-steps", type=int, default=9370, help="give up after so many (10 epochs)")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by, sides = report.provenance(), admitted("train", CASE, args.sides)
    if "jax-plain" in sides:
        parser.error("expected sides of PyTorch or gon_jax, got jax-plain")
    for seed in args.seeds:
        result = {
            "what": "seconds of loading and steps until a test error, MNIST, batch statistics at evaluation",
            "case": CASE._asdict() | {"step_size": CASE.step_size},
            "evaluate_every": EVALUATE_EVERY,
            "levels": list(args.levels),
            "runs": [],
        }
        for side in sides:
            with Worker("benchmarks.time_to_quality", [side, seed], "cpu", environment=environment(side)) as worker:
                result["runs"].append(worker.ask("race", levels=list(args.levels), most_steps=args.most_steps))
            path = report.write(f"time_to_quality_seed{seed}_cpu", result, made_by, args.results)
        print(path)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        serve({"race": partial(race, *json.loads(sys.argv[2]))})
    else:
        main()
