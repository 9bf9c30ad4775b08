"""Time training steps of one convolutional decoder, written with JAX's, Flax's and our layers.

    python -m benchmarks.layers

The decoder is the authors', from the latent to 4x4, 8x8, 16x16 and 32x32 by transposed convolutions, normalized and
activated between. Its networks differ in their layers alone, have the same parameters, and must agree in loss and
gradient before they are timed. Steps are timed by definition and by the fast form, on one core and on two, in turns.
CPU time is that of the process, and counts all its threads. A step is one of Adam on one batch.

Beside them, transposed convolutions of other kernels, strides and numbers of axes: a gradient of a function of a
gradient, on 32 inputs, by `lax.conv_transpose` and by ours.
"""

import argparse
import json
import os
import pathlib
import statistics
import time
from functools import partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from tqdm.auto import tqdm

from benchmarks import report
from benchmarks.workers import Worker, serve, timed
from gon_jax import Decoder, Model
from gon_jax.decoders import from_linen
from gon_jax.drop_in import linen
from gon_jax.drop_in.functions import conv_transpose
from gon_jax.models import gon
from gon_jax.training import init_state, train_step

MIXED = SimpleNamespace(ConvTranspose=linen.ConvTranspose, BatchNorm=nn.BatchNorm, elu=nn.elu)
LAYERS = {"flax": nn, "flax, our ConvTranspose": MIXED, "ours": linen}
SIDES = ("jax", *LAYERS)
FORMS = {"definition": "definition", "fast": None}
OPERATIONS = {  # kernel, strides, padding, input
    "5, stride 2, 64 positions, 16 channels": ((5,), (2,), "SAME", (64, 16)),
    "2x2, stride 2, 8x8, 32 channels": ((2, 2), (2, 2), "SAME", (8, 8, 32)),
    "3x3, stride 2, 8x8, 32 channels": ((3, 3), (2, 2), "SAME", (8, 8, 32)),
    "5x5, stride 2, 8x8, 32 channels": ((5, 5), (2, 2), "SAME", (8, 8, 32)),
    "7x7, stride 3, 8x8, 16 channels": ((7, 7), (3, 3), "SAME", (8, 8, 16)),
    "4x4 from 1x1, 32 channels": ((4, 4), (1, 1), "VALID", (1, 1, 32)),
    "3x3x3, stride 2, 4x4x4, 8 channels": ((3, 3, 3), (2, 2, 2), "SAME", (4, 4, 4, 8)),
}
CONVOLUTIONS = {"lax": jax.lax.conv_transpose, "ours": conv_transpose}
RESULT = "layers_cpu"


class Network(nn.Module):
    """A decoder of whatever layers; sizes double from 4x4 as often as there are widths."""

    layers: object
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z):
        x = z[:, None, None]
        for i, width in enumerate(self.widths):
            geometry = {"strides": (2, 2), "padding": "SAME"} if i else {"padding": "VALID"}
            x = self.layers.ConvTranspose(width, (4, 4), use_bias=i == len(self.widths) - 1, **geometry)(x)
            if i < len(self.widths) - 1:
                x = self.layers.elu(self.layers.BatchNorm(use_running_average=False)(x))
        return nn.sigmoid(x)


def in_plain_jax(widths, params, z, stats=None):
    """Return the same network's output by JAX's functions, of Linen's parameters, and its statistics."""
    x, seen = z[:, None, None], {}
    for i in range(len(widths)):
        layer = params[f"ConvTranspose_{i}"]
        strides, padding = ((2, 2), "SAME") if i else ((1, 1), "VALID")
        x = jax.lax.conv_transpose(x, layer["kernel"], strides, padding)
        if i == len(widths) - 1:
            return jax.nn.sigmoid(x + layer["bias"]), seen
        name = f"BatchNorm_{i}"
        mean = x.mean((0, 1, 2)) if stats is None else stats[name]["mean"]
        variance = jnp.square(x - mean).mean((0, 1, 2)) if stats is None else stats[name]["var"]
        x = (x - mean) * (jax.lax.rsqrt(variance + 1e-5) * params[name]["scale"]) + params[name]["bias"]
        x, seen[name] = jax.nn.elu(x), {"mean": mean, "var": variance}
    raise ValueError(f"expected at least one width, got {widths}")


def make_model(side: str, form: str, widths: tuple[int, ...], latent_size: int) -> Model:
    """Return the GON of one side, whose latents are by definition or by the fast form."""
    linens = from_linen(Network(LAYERS.get(side, nn), widths), (latent_size,), independent=True)
    decoder = linens
    if side == "jax":
        decoder = Decoder(partial(in_plain_jax, widths), linens.init, (latent_size,), True, True)
    return gon(decoder, strategy=FORMS[form], step_size=1.0)


def worker(arguments: dict):
    """Answer requests of one number of cores."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[: arguments["cores"]]))  # before XLA counts them
    widths, batch_size, latent_size = tuple(arguments["widths"]), arguments["batch_size"], arguments["latent_size"]
    batch = {"x": jax.random.uniform(jax.random.key(0), (batch_size, *[4 * 2 ** (len(widths) - 1)] * 2, widths[-1]))}
    optimizer, programs, reference = optax.adam(1e-3), {}, []

    def prepare(side, form):
        model = make_model(side, form, widths, latent_size)
        state = init_state(model, optimizer, jax.random.key(1))
        start = time.perf_counter()
        step = jax.jit(partial(train_step, model, optimizer)).lower(state, batch).compile()
        seconds = time.perf_counter() - start
        after, loss = step(state, batch)
        gradient = optax.tree_utils.tree_get(after.opt_state, "mu")  # Adam's average, a tenth of the first gradient
        values = jnp.concatenate([loss[None], *[10 * leaf.ravel() for leaf in jax.tree.leaves(gradient)]])
        programs[side, form] = partial(step, state, batch)
        reference.append(values)
        difference = float(jnp.linalg.norm(values - reference[0]) / jnp.linalg.norm(reference[0]))
        return {"seconds_compile": seconds, "difference": difference, "xla_flops": step.cost_analysis()["flops"]}

    def prepare_operation(side, form):
        kernel, strides, padding, shape = OPERATIONS[form]
        keys = jax.random.split(jax.random.key(0))
        arrays = jax.random.normal(keys[0], (32, *shape)), jax.random.normal(keys[1], (*kernel, *shape[-1:] * 2))

        def second(x, kernel):
            inner = jax.grad(lambda x: jnp.square(CONVOLUTIONS[side](x, kernel, strides, padding)).sum())(x)
            return jnp.square(inner).sum()

        programs[side, form] = partial(jax.jit(jax.grad(second, argnums=(0, 1))).lower(*arrays).compile(), *arrays)
        values = jnp.concatenate([leaf.ravel() for leaf in programs[side, form]()])
        reference[:] = [values] if side == "lax" else reference
        return {"difference": float(jnp.linalg.norm(values - reference[0]) / jnp.linalg.norm(reference[0]))}

    def measure(side, form, num_steps):
        start = time.process_time()
        wall, others = timed(lambda: [jax.block_until_ready(programs[side, form]()) for _ in range(num_steps)])
        cpu = time.process_time() - start
        return {"cpu_ms": 1000 * cpu / num_steps, "wall_ms": 1000 * wall / num_steps, "others": others}

    serve({"prepare": prepare, "prepare_operation": prepare_operation, "measure": measure})


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 32, 16, 1])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--latent-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each time of each side, a step at least")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker is not None:
        return worker(args.worker)
    made_by, rows, load = report.provenance(), [], os.getloadavg()[0]
    shape = {name: getattr(args, name) for name in ("widths", "batch_size", "latent_size")}
    steps_of = dict.fromkeys(((side, form) for side in SIDES for form in FORMS), "prepare")
    programs = steps_of | dict.fromkeys(((s, name) for name in OPERATIONS for s in CONVOLUTIONS), "prepare_operation")
    for cores in args.cores:
        with Worker("benchmarks.layers", shape | {"cores": cores}, "cpu") as process:
            seen, steps = {}, {}
            for (side, form), request in tqdm(programs.items(), unit="program"):
                seen[side, form] = process.ask(request, side=side, form=form) | {"rounds": []}
                once = process.ask("measure", side=side, form=form, num_steps=1)
                steps[side, form] = max(1, round(1000 * args.seconds / once["wall_ms"]))
            for _ in tqdm(range(args.rounds), unit="round"):
                for side, form in programs:
                    answer = process.ask("measure", side=side, form=form, num_steps=steps[side, form])
                    seen[side, form]["rounds"].append(answer)
        for (side, form), of in seen.items():
            if not of["difference"] < 1e-3:
                raise ValueError(f"expected the same values of every side, got {of['difference']} of {side}")
            rows.append({"side": side, "form": form, "cores": cores, "num_steps": steps[side, form]} | of)
            print(
                f"{cores} cores, {side}, {form}: {statistics.median(r['cpu_ms'] for r in of['rounds']):.1f} ms of CPU"
            )
    others = statistics.mean(r["others"] for row in rows for r in row["rounds"])
    result = shape | {"load_at_start": load, "cores_kept_busy_by_others": others, "rows": rows}
    return print(report.write(RESULT, result, made_by, args.results))


if __name__ == "__main__":
    main()
