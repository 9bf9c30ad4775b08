"""Time a training step, or encoding, of both frameworks on the same weights and data, after they agree.

    python -m benchmarks.step_time                      # two cases, a few minutes: runs/bench and the tables
    python -m benchmarks.step_time --full --cases conv  # a case and all its sides: results/step_time_conv_cpu.json
    python -m benchmarks.step_time --full               # every case, each in its file: about an hour
    python -m benchmarks.step_time --full --encoding    # latents a second: results/encoding_conv_cpu.json
    python -m benchmarks.step_time --full --sides jax-fast --cases conv --against ../before  # beside another checkout

Every side is a process of its own, with all threads; one works at a time. All sides first make the same steps (or
latents), which must agree to 1e-3 (on a GPU, whose products are TF32, to 1e-2); then rounds alternate between them,
each of as many steps as fill it, to completion. The decoder trained alone, its latents given, says what a step
costs at least: nobody agrees with its losses. At the end each multiplies matrices of several sizes by its own
library: the peak that its steps are measured against.
"""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import statistics
import sys
import traceback

import numpy as np
from tqdm.auto import tqdm

from benchmarks import cases, report
from benchmarks.cases import CASES, Case
from benchmarks.provenance import commit_of
from benchmarks.sides import ALONE, BASES, FULL, GROWTH, QUICK, TUNED, admitted, environment, split
from benchmarks.workers import ROOT, Worker, serve, timed

# For losses; and for latents, where each normalization at the origin multiplies rounding by up to 316. A GPU's TF32 has
# 11 bits where float32 has 24.
TOLERANCES = {"cpu": {"train": 1e-3, "encode": 1e-2}, "gpu": {"train": 1e-2, "encode": 1e-1}}
PRODUCT_SIZES = {"cpu": (256, 512, 1024, 2048), "gpu": (1024, 2048, 4096, 8192)}
PRODUCT_SECONDS, PRODUCT_REPEATS = 0.2, 8  # of each size, at least


def product_rates(products, device: str) -> dict[str, dict[str, float]]:
    """Return operations per second of square float32 products: name to size to the best of several."""
    rates = {}
    for name, make in products.items():
        rates[name] = {}
        for n in PRODUCT_SIZES[device]:
            multiply, seconds = make(n), []
            while len(seconds) <= PRODUCT_REPEATS or sum(seconds[1:]) < PRODUCT_SECONDS:  # the first may compile
                seconds.append(timed(multiply)[0])
            rates[name][str(n)] = 2 * n**3 / min(seconds)
    return rates


def work(task: str, name: str, case: Case, device: str) -> None:
    """Be one side: build it when asked to, then time it."""
    side = None

    def prepare():
        nonlocal side
        if name.startswith("torch"):
            from benchmarks import torch_sides as sides
        else:
            from benchmarks import jax_sides as sides
        try:
            side = sides.make(task, name, case, device)
        except Exception as error:  # a compiler has many kinds
            if not name.startswith("torch-compiled"):
                raise
            traceback.print_exc()
            return {"failed": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}"}
        built = {"seconds_compile": side.seconds_compile, "form": side.form, "own_product": side.own_product}
        return built | side.notes | {"values": side.values}

    def finish():
        return {"peak_bytes": int(side.peak_bytes()), "products": product_rates(side.products, device)}

    serve({"prepare": prepare, "time": lambda steps: timed(side.run, steps), "finish": finish})


def check_agreement(name: str, values: dict[str, list[float]], tolerance: float) -> dict[str, float]:
    """Return each side's largest difference from the first's values, relative to their largest.

    Raises:
        ValueError: if one is above `tolerance`, or not a number.
    """
    reference, expected = next(iter(values.items()))
    differences = {}
    for side, got in values.items():
        apart = np.abs(np.subtract(got, expected)) / np.abs(expected).max()
        differences[side] = float(apart.max())
        if not differences[side] <= tolerance:
            at = int(apart.argmax())  # of the first that is not a number, if there is one
            raise ValueError(
                f"expected the sides of {name} to agree to {tolerance:g} before they are timed, got {got[at]:.6g} from "
                f"{side} and {expected[at]:.6g} from {reference} for value {at}; one of them computes something else: "
                "compare them in float64 (tests/test_parity.py)"
            )
    return differences


def measure(task: str, case: Case, sides, rounds: int, seconds: float, device: str, other: pathlib.Path = ROOT) -> dict:
    """Return what was measured of a case: see the keys of its sides.

    A side that PyTorch fails to compile has its error as "failed", and nothing else.

    Args:
        task: "train" or "encode".
        case, sides: what to time; the first side is the reference of agreement.
        rounds: how often each side is timed.
        seconds: about how long a round of one side lasts.
        device: "cpu" or "gpu".
        other: another checkout, whose code the sides named "<side>@<commit>" run.
    """
    with contextlib.ExitStack() as stack, tqdm(total=len(sides) * (rounds + 1), desc=case.name, unit="turn") as bar:
        workers, results, values = {}, {}, {}
        for side in sides:
            bar.set_postfix_str(f"{side} builds")
            name, _, commit = side.partition("@")
            options = {"environment": environment(side)} | ({"root": other} if commit else {})
            worker = stack.enter_context(Worker("benchmarks.step_time", [task, name, case, device], device, **options))
            results[side] = worker.ask("prepare")
            if "failed" in results[side]:
                tqdm.write(f"{case.name}: {side} failed, {results[side]['failed']}", sys.stderr)
            else:
                workers[side], values[side] = worker, results[side].pop("values")
            bar.update()
        if not workers:
            raise RuntimeError(f"expected a side of {case.name} that can be built, got none; their errors are above")
        held = {side: v for side, v in values.items() if split(side)[0] != ALONE}
        agreement = check_agreement(case.name, held, TOLERANCES[device][task]) if held else {}

        steps = {}
        for side, worker in workers.items():
            steps[side], (taken, _) = 1, worker.ask("time", steps=1)
            while taken < seconds / 4:
                steps[side] *= 4
                taken, _ = worker.ask("time", steps=steps[side])
            steps[side] = max(1, round(steps[side] * seconds / taken))
        milliseconds, others, turns = {side: [] for side in workers}, dict.fromkeys(workers, 0.0), list(workers)
        for i in range(rounds):
            for side in (*turns[i % len(turns) :], *turns[: i % len(turns)]):
                bar.set_postfix_str(side)
                taken, cores = workers[side].ask("time", steps=steps[side])
                others[side] = max(others[side], cores)
                milliseconds[side].append(1e3 * taken / steps[side])
                bar.update()
        for side, worker in workers.items():
            result, median = results[side], statistics.median(milliseconds[side])
            result |= worker.ask("finish") | {
                "steps_per_round": steps[side],
                "rounds_ms": milliseconds[side],
                "median_ms": median,
                "min_ms": min(milliseconds[side]),
                "max_ms": max(milliseconds[side]),
                "examples_per_second": 1e3 * case.batch_size / median,
                "cores_of_others": others[side],
                "difference": agreement.get(side),
            }
            if result["form"]:
                result["flops"] = cases.step_flops(case, result["form"])
    if (most := max(others.values())) > 0.1:
        tqdm.write(
            f"{case.name}: expected nothing else to run, got {most:.1f} cores kept busy by other processes in a "
            "round; these times compare nothing: measure again, alone",
            sys.stderr,
        )
    return {"case": case._asdict() | {"step_size": case.step_size}, "rounds": rounds, "sides": results}


def plan(args) -> list[tuple[Case, tuple[str, ...]]]:
    """Return what to measure: cases and sides."""
    task = "encode" if args.encoding else "train"
    names = args.cases or (("conv",) if args.encoding else cases.FULL if args.full else cases.QUICK)
    if args.encoding and (variational := [name for name in names if CASES[name].kind == "vgon"]):
        raise ValueError(f"expected cases without noise to time encoding, got {', '.join(variational)}")
    planned = {}
    if args.full and not (args.encoding or args.cases):
        planned = {case.name: GROWTH for grown in cases.GROWTH.values() for case in grown}
    for name in names:
        tuned = args.full and name in cases.TUNED and args.device == "cpu"
        few = FULL if args.full else QUICK
        planned[name] = BASES["encode"] if args.encoding else TUNED[CASES[name].kind] if tuned else few
    if args.sides:
        order = {base: i for i, base in enumerate(BASES[task])}  # the first is the reference
        planned = dict.fromkeys(planned, tuple(sorted(args.sides, key=lambda side: order.get(split(side)[0], 0))))
    return [(CASES[name], admitted(task, CASES[name], sides)) for name, sides in planned.items()]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all cases and sides, and growth with each size")
    parser.add_argument("--encoding", action="store_true", help="time encoding in place of training")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--sides", nargs="+", help="in place of the case's own; see benchmarks/sides.py")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is timed")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a round of one side")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--against", type=pathlib.Path, help="another checkout, to time the same sides of")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (runs/bench; --full: the project's)")
    args = parser.parse_args(argv)
    folder = args.results or (report.RESULTS if args.full else ROOT / "runs" / "bench")
    planned = plan(args)
    if not importlib.util.find_spec("torch"):
        if any(side.startswith("torch") for side in args.sides or ()):
            parser.error("expected torch for the sides asked for, got none: pip install -e '.[benchmark]'")
        tqdm.write("no torch here, so JAX alone: pip install -e '.[benchmark]' brings the other sides", sys.stderr)
        planned = [(case, tuple(s for s in sides if not s.startswith("torch"))) for case, sides in planned]

    if args.against is not None:
        if not (args.against / "benchmarks" / "step_time.py").is_file():
            parser.error(f"expected a checkout of this project for --against, got {args.against}")
        commit = commit_of(args.against)[:7]
        planned = [(case, (*sides, *(f"{side}@{commit}" for side in sides))) for case, sides in planned]
    made_by, other = report.provenance(), (args.against or ROOT).absolute()
    task, what = ("encode", "encoding of a batch") if args.encoding else ("train", "a training step")
    head = {"what": what, "device": args.device, "seconds_per_round": args.seconds}
    prefix, measured = "encoding" if args.encoding else "step_time", {}
    for case, sides in planned:
        result = measure(task, case, sides, args.rounds, args.seconds, args.device, other)
        measured[case.name] = made_by | head | result
        if args.against is not None:
            both = head | {"cases": {name: {"case": m["case"], "sides": m["sides"]} for name, m in measured.items()}}
            path = report.write(f"{prefix}_against_{args.device}", both, made_by, folder)
        else:
            path = report.write(f"{prefix}_{case.name}_{args.device}", head | result, made_by, folder)
        tqdm.write(str(path))

    from benchmarks import step_time_table as tables

    if args.against is not None:
        print(tables.against_table(both))
    else:
        print(tables.encoding_table(measured) if args.encoding else tables.step_time_tables(measured))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        task, name, case, device = json.loads(sys.argv[2])
        work(task, name, Case(*case), device)
    else:
        main()
