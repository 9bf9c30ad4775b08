"""Time a training step, or encoding, of both frameworks on the same weights and data, after they agree.

    python -m benchmarks.step_time                    # two cases, a few minutes: runs/bench and the table
    python -m benchmarks.step_time --full             # all cases and growth: benchmarks/results/step_time_cpu.json
    python -m benchmarks.step_time --encoding --full  # latents a second: benchmarks/results/encoding_cpu.json
    python -m benchmarks.step_time --full --cases vgon vgon-shared  # some cases, in a file of their own
    python -m benchmarks.step_time --full --sides jax-fast --cases conv --against ../before  # beside another checkout

Every side is a process of its own, with all threads; one works at a time. All sides first make the same steps (or
latents), which must agree to 1e-3; then rounds alternate between them, each of as many steps as fill it, to completion.
"""

import argparse
import contextlib
import importlib.util
import json
import pathlib
import statistics
import sys

import numpy as np
from tqdm.auto import tqdm

from benchmarks import cases, report
from benchmarks.cases import CASES, Case
from benchmarks.provenance import commit_of
from benchmarks.workers import ROOT, Worker, serve, timed

SIDES = {
    "train": (
        "torch-eager",
        "torch-compiled",
        "torch-compiled-channels-last",
        "torch-compiled-shared",
        "jax-definition",
        "jax-fast",
    ),
    "encode": ("torch-eager", "jax-definition", "jax-fast", "jax-frozen"),
}
QUICK_SIDES = ("torch-eager", "torch-compiled", "jax-definition", "jax-fast")
FULL_SIDES = ("torch-eager", "torch-compiled", "torch-compiled-shared", "jax-definition", "jax-fast")
GROWTH_SIDES = ("torch-eager", "jax-fast")
TOLERANCE = 1e-3
GEMM_FLOPS = 2 * 2048**3


def work(task: str, name: str, case: Case, device: str) -> None:
    """Be one side: build it when asked to, then time it."""
    side = None

    def prepare():
        nonlocal side
        if name.startswith("torch"):
            from benchmarks import torch_sides as sides
        else:
            from benchmarks import jax_sides as sides
        side = sides.make(task, name, case, device)
        return {"seconds_compile": side.seconds_compile, "form": side.form, "values": side.values} | side.notes

    def finish():
        gemm = GEMM_FLOPS / min(timed(side.gemm)[0] for _ in range(8))
        return {"peak_bytes": int(side.peak_bytes()), "gemm_flops_per_second": gemm}

    serve({"prepare": prepare, "time": lambda steps: timed(side.run, steps), "finish": finish})


def check_agreement(name: str, values: dict[str, list[float]]) -> dict[str, float]:
    """Return each side's largest difference from the first's values, relative to their largest.

    Raises:
        ValueError: if one is above `TOLERANCE`, or not a number.
    """
    reference, expected = next(iter(values.items()))
    differences = {}
    for side, got in values.items():
        apart = np.abs(np.subtract(got, expected)) / np.abs(expected).max()
        differences[side] = float(apart.max())
        if not differences[side] <= TOLERANCE:
            at = int(apart.argmax())  # of the first that is not a number, if there is one
            raise ValueError(
                f"expected the sides of {name} to agree to {TOLERANCE:g} before they are timed, got {got[at]:.6g} from "
                f"{side} and {expected[at]:.6g} from {reference} for value {at}; one of them computes something else: "
                "compare them in float64 (tests/test_parity.py)"
            )
    return differences


def measure(task: str, case: Case, sides, rounds: int, seconds: float, device: str, other: pathlib.Path = ROOT) -> dict:
    """Return what was measured of a case: see the keys of its sides.

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
            arguments, roots = [task, name, case, device], (other,) if commit else ()
            workers[side] = stack.enter_context(Worker("benchmarks.step_time", arguments, device, *roots))
            results[side] = workers[side].ask("prepare")
            values[side] = results[side].pop("values")
            bar.update()
        agreement = check_agreement(case.name, values)

        steps = {}
        for side, worker in workers.items():
            steps[side], (taken, _) = 1, worker.ask("time", steps=1)
            while taken < seconds / 4:
                steps[side] *= 4
                taken, _ = worker.ask("time", steps=steps[side])
            steps[side] = max(1, round(steps[side] * seconds / taken))
        milliseconds, others = {side: [] for side in sides}, dict.fromkeys(sides, 0.0)
        for i in range(rounds):
            for side in (*sides[i % len(sides) :], *sides[: i % len(sides)]):
                bar.set_postfix_str(side)
                taken, cores = workers[side].ask("time", steps=steps[side])
                others[side] = max(others[side], cores)
                milliseconds[side].append(1e3 * taken / steps[side])
                bar.update()
        for side, result in results.items():
            median = statistics.median(milliseconds[side])
            result |= workers[side].ask("finish") | {
                "steps_per_round": steps[side],
                "rounds_ms": milliseconds[side],
                "median_ms": median,
                "min_ms": min(milliseconds[side]),
                "max_ms": max(milliseconds[side]),
                "examples_per_second": 1e3 * case.batch_size / median,
                "cores_of_others": others[side],
                "difference": agreement[side],
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


def add_gemm_fractions(result: dict) -> None:
    """Add the machine's peak, the best product of any side, and what part of it each side's counted operations are."""
    sides = [side for case in result["cases"].values() for side in case["sides"].values()]
    peak = result["gemm_flops_per_second"] = max(side["gemm_flops_per_second"] for side in sides)
    for side in sides:
        if "flops" in side:
            side["fraction_of_gemm_peak"] = side["flops"] / (1e-3 * side["median_ms"]) / peak


def admitted(case: Case, sides) -> tuple[str, ...]:
    """Return the sides that are not another side under a second name: with noise of its own, no example is fast."""
    if case.kind != "vgon":
        return tuple(sides)
    others = ("torch-compiled-channels-last", "torch-compiled-shared", *([] if case.shared_noise else ["jax-fast"]))
    return tuple(side for side in sides if side not in others)


def plan(args) -> tuple[list[tuple[Case, tuple[str, ...]]], dict[str, list[str]]]:
    """Return what to measure, cases and sides, and which cases show growth in what."""
    task, growth = "encode" if args.encoding else "train", {}
    default = SIDES["encode"] if args.encoding else FULL_SIDES if args.full else QUICK_SIDES
    if unknown := set(args.sides or ()) - set(SIDES[task]):
        raise ValueError(f"expected sides of {', '.join(SIDES[task])} for this task, got {', '.join(unknown)}")
    sides = tuple(side for side in SIDES[task] if side in (args.sides or default))  # the first is the reference
    names = args.cases or (("conv",) if args.encoding else cases.FULL if args.full else cases.QUICK)
    if args.encoding and (variational := [name for name in names if CASES[name].kind == "vgon"]):
        raise ValueError(f"expected cases without noise to time encoding, got {', '.join(variational)}")
    planned = {name: (CASES[name], admitted(CASES[name], sides)) for name in names}
    if args.full and not (args.encoding or args.cases):
        growth = {field: [case.name for case in grown] for field, grown in cases.GROWTH.items()}
        few = tuple(side for side in GROWTH_SIDES if side in sides)
        planned = {name: (CASES[name], few) for name in sum(growth.values(), [])} | planned
    if not args.full:
        planned = {
            name: (case._replace(agreement_steps=5) if case.name == "implicit" else case, sides)
            for name, (case, sides) in planned.items()
        }
    return list(planned.values()), growth


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all cases and sides, and growth with each size")
    parser.add_argument("--encoding", action="store_true", help="time encoding in place of training")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--sides", nargs="+", help=", ".join(dict.fromkeys(sum(SIDES.values(), ()))))
    parser.add_argument("--rounds", type=int, help="how often each side is timed (5; 7 with --full)")
    parser.add_argument("--seconds", type=float, help="length of a round of one side (1.5; 3 with --full)")
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--against", type=pathlib.Path, help="another checkout, to time the same sides of")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (runs/bench; --full: the project's)")
    args = parser.parse_args(argv)
    rounds, seconds = args.rounds or (7 if args.full else 5), args.seconds or (3.0 if args.full else 1.5)
    folder = args.results or (report.RESULTS if args.full else ROOT / "runs" / "bench")
    planned, growth = plan(args)
    if not importlib.util.find_spec("torch"):
        if any(side.startswith("torch") for side in args.sides or ()):
            parser.error("expected torch for the sides asked for, got none: pip install -e '.[benchmark]'")
        tqdm.write("no torch here, so ours alone: pip install -e '.[benchmark]' brings the other sides", sys.stderr)
        planned = [(case, tuple(s for s in sides if not s.startswith("torch"))) for case, sides in planned]

    if args.against is not None:
        if not (args.against / "benchmarks" / "step_time.py").is_file():
            parser.error(f"expected a checkout of this project for --against, got {args.against}")
        commit = commit_of(args.against)[:7]
        planned = [(case, (*sides, *(f"{side}@{commit}" for side in sides))) for case, sides in planned]
    made_by = report.provenance()
    task, what = ("encode", "encoding of a batch") if args.encoding else ("train", "a training step")
    result = {"what": what, "device": args.device, "seconds_per_round": seconds, "growth": growth, "cases": {}}
    for case, sides in planned:
        other = (args.against or ROOT).absolute()
        result["cases"][case.name] = measure(task, case, sides, rounds, seconds, args.device, other)
        add_gemm_fractions(result)
        names = ["encoding" if args.encoding else "step_time", *(args.cases or []), args.device]
        if args.against is not None:
            names = ["step_time_against", args.device]
        path = report.write("_".join(names), result, made_by, folder)

    from benchmarks.step_time_table import against_table, cases_table, encoding_table

    if args.against is not None:
        print(against_table(result), path, sep="\n\n")
    else:
        print(encoding_table(result) if args.encoding else cases_table(result), path, sep="\n\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        task, name, case, device = json.loads(sys.argv[2])
        work(task, name, Case(*case), device)
    else:
        main()
