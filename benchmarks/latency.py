"""Time what one person waits for: one image encoded and decoded in a warm process, and whole commands.

    python -m benchmarks.latency

The model is the small one that ships with the package. A command is a process of its own, from its start to its end;
the first run of each fills the caches of the disk and of compiled programs, and is told apart.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks import report
from gon_jax.models import pretrained
from gon_jax.plotting import save_image

MODEL = "gon-digits"
COMMANDS = {
    "import gon_jax": ["-c", "import gon_jax"],
    "gon --help": ["-m", "gon_jax", "--help"],
    "gon encode, one image": ["-m", "gon_jax", "encode", f"pretrained:{MODEL}", "--input", "digit.png"],
    "gon reconstruct, one image": ["-m", "gon_jax", "reconstruct", f"pretrained:{MODEL}", "--input", "digit.png"],
}


def calls(rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return milliseconds per call of each function in a warm process, of each round."""
    run = pretrained(MODEL)
    model, variables = run.model, run.variables
    x = np.random.default_rng(0).uniform(size=(1, *model.data_shape)).astype(np.float32)
    encode, decode = jax.jit(model.encode), jax.jit(model.decode)
    both = jax.jit(lambda variables, x: model.decode(variables, model.encode(variables, x)))
    frozen = jax.jit(lambda encoder, x: encoder(x))
    encoder, z = jax.jit(model.capabilities.freeze)(variables), encode(variables, x)
    functions = {
        "encode": lambda: encode(variables, x),
        "encode, frozen": lambda: frozen(encoder, x),
        "decode": lambda: decode(variables, z),
        "encode and decode": lambda: both(variables, x),
    }
    times = {name: [] for name in functions}
    for i in tqdm(range(rounds + 1), "calls", unit="round"):
        for name, function in functions.items():
            num, start = 0, time.perf_counter()
            while num == 0 or time.perf_counter() - start < seconds:
                jax.block_until_ready(function())
                num += 1
            if i:  # the first round compiles
                times[name].append(1e3 * (time.perf_counter() - start) / num)
    return times


def commands(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return seconds of wall and of CPU of each command; the first of each is the one with empty caches."""
    times = {name: {"seconds": [], "cpu_seconds": []} for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        save_image(pathlib.Path(folder) / "digit.png", np.random.default_rng(0).uniform(size=(32, 32, 1)))
        environment = os.environ | {"XDG_CACHE_HOME": folder, "PYTHONPATH": str(report.README.parent)}
        for i in tqdm(range(rounds + 1), "commands", unit="round"):
            for name, words in COMMANDS.items():
                kind = "npz" if "encode" in words else "png"
                output = ["--output", f"output{i}.{kind}"] if "--input" in words else []
                before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                done = subprocess.run(
                    [sys.executable, *words, *output], cwd=folder, env=environment, capture_output=True, text=True
                )
                seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
                if done.returncode:
                    raise RuntimeError(f"expected {name} to work, got status {done.returncode}: {done.stderr}")
                times[name]["seconds"].append(seconds)
                cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                times[name]["cpu_seconds"].append(cpu)
    return times


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a round of one function")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    args = parser.parse_args(argv)
    made_by = report.provenance()
    result = {"model": MODEL, "calls_ms": calls(args.rounds, args.seconds), "commands": commands(args.rounds)}
    for name, rounds in result["calls_ms"].items():
        print(f"{name}: {statistics.median(rounds):.3f} ms")
    for name, seen in result["commands"].items():
        first, *others = seen["seconds"]
        cpu = statistics.median(seen["cpu_seconds"][1:])
        print(f"{name}: {statistics.median(others):.2f} s ({cpu:.2f} s of CPU), the first time {first:.2f} s")
    print(report.write(f"latency_{jax.default_backend()}", result, made_by, args.results))


if __name__ == "__main__":
    main()
