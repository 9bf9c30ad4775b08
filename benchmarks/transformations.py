"""The matrix of transformations: each function of gon_jax under each transformation of JAX, beside its plain result.

    python -m benchmarks.transformations                   # results/transformations.json, and the table of its page
    python -m benchmarks.transformations --rows encode gon_loss --columns jit pmap    # print some cells, publish none
    python -m benchmarks.transformations --table           # make the table of docs/transformations.md from the JSON

A cell is the largest difference to the plain result, relative to the largest entry of each output (the loss, its
gradient in the parameters, latents, reconstructions), or what was raised. Eight virtual devices of a CPU, float64.
"""

import argparse
import json
import os
import subprocess
import sys
from functools import partial

import numpy as np

from benchmarks import report
from benchmarks.tables import load, markdown, sources
from benchmarks.transformation_columns import COLUMNS, DEVICES, Cells
from benchmarks.transformation_rows import ROWS

PAGE = report.PAGE.with_name("transformations.md")
KINDS = ("explicit", "mixed")
TOLERANCE = {"float32": 1e-4, "grad of grad": 1e-5}  # and 1e-8 for all others
REASONS = {
    "a": "on explicit axes some operations ask for a sharding, and the function is refused by JAX in one line; "
    "`jax.sharding.auto_axes` around it is the way, whose column is right",
    "b": "Optax's Adam promotes an integer, which JAX refuses in one line",
    "c": "a detached latent is a constant of the first derivative, so the second is not its derivative, by definition",
}
EXPECTED = {(f"model {m}", f"{kind} mesh"): "a" for m in ("autoencoder", "vae", "classifier") for kind in KINDS}
EXPECTED |= {("model glo", "strict promotion"): "b", ("model multi-step-detached", "grad of grad"): "c"}
RAISED = {"a": ("ShardingTypeError", "ValueError: Expected cotangent type"), "b": ("TypePromotionError",)}


def verdict(row: str, column: str, value: float | str) -> str:
    """Return "=" for a cell that is equal to the plain result, "finite", the letter of a reason; else "wrong"."""
    reason = EXPECTED.get((row, column))
    if isinstance(value, str):
        if reason in RAISED and value.startswith(RAISED[reason]) and "\n" not in value:
            return reason
        return value if value == "finite" else "wrong"
    if value < TOLERANCE.get(column, 1e-8):
        return "="
    return "c" if reason == "c" and np.isfinite(value) else "wrong"


def measure(pairs, seen=print) -> dict[str, dict[str, float | str]]:
    """Return the cells of (row, column) pairs: a difference, a word, or what was raised."""
    made: dict[str, Cells] = {}
    results: dict[str, dict[str, float | str]] = {}
    for row, column in pairs:
        value: float | str
        try:
            if row not in made:
                made = {row: Cells(ROWS[row])}  # the last row alone: programs take memory
            value = COLUMNS[column](made[row])
        except Exception as error:  # of this cell alone
            value = f"{type(error).__name__}: {error}"
        results.setdefault(row, {})[column] = value
        seen(f"{row}, {column}: {value}")
    return results


def in_process(*words: str) -> dict[str, dict[str, float | str]]:
    """Return the cells that this program measures when called with words, in a process with eight devices."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    options = {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "benchmarks.transformations", "--here", *words]
    run = subprocess.run(
        command, env=os.environ | options, stdout=subprocess.PIPE, text=True, check=True, cwd=report.README.parent
    )
    return json.loads(run.stdout.splitlines()[-1])


def table(result: dict) -> str:
    """Return the numbered columns, the matrix, its reasons, and where it is from."""
    cells = result["cells"]
    words = [f"{i}. {name}" for i, name in enumerate(COLUMNS, 1)]
    rows = [["", *(str(i) for i, _ in enumerate(COLUMNS, 1))]]
    for row in ROWS:
        rows.append([f"`{row}`", *(verdict(row, column, cells[row][column]) for column in COLUMNS)])
    reasons = [f"- {letter}: {words}." for letter, words in REASONS.items()]
    parts = ["\n".join(words), markdown(rows), "\n".join(reasons), sources({"transformations": result})]
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), metavar="ROW")
    parser.add_argument("--columns", nargs="*", choices=list(COLUMNS), metavar="COLUMN")
    parser.add_argument("--pairs", action="store_true", help="each row with the column of the same place alone")
    parser.add_argument("--here", action="store_true", help="in this process, and print JSON alone")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.here:
        rows, columns = arguments.rows or list(ROWS), arguments.columns or list(COLUMNS)
        pairs = zip(rows, columns, strict=True) if arguments.pairs else [(r, c) for r in rows for c in columns]
        print(json.dumps(measure(pairs, seen=partial(print, file=sys.stderr, flush=True))))
        return
    if not arguments.table:
        made, cells = report.provenance(), in_process(*sys.argv[1:])
        wrong = [f"{r}, {c}: {v}" for r, of in cells.items() for c, v in of.items() if verdict(r, c, v) == "wrong"]
        print(*wrong, f"{len(wrong)} cells are wrong", sep="\n")
        if arguments.rows or arguments.columns:
            return
        report.write("transformations", {"cells": cells}, made)
    PAGE.write_text(report.page_with(PAGE.read_text(), "transformations", table(load("transformations"))))


if __name__ == "__main__":
    main()
