"""What both sides of the quality benchmark share: options, and a result for each seed that a stopped run goes on with.

The result of a seed is written after every epoch, with the commit that began it; at another commit, or with another
protocol, it doesn't go on.
"""

import argparse
import os
import pathlib
import time
from typing import Any

from tqdm.auto import tqdm

from benchmarks import report
from benchmarks.workers import ROOT


def parse(description: str, argv=None) -> argparse.Namespace:
    """Return the options of a side, and take one core where that is asked for."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=["mnist", "fashion_mnist"], required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--minutes", type=float, help="stop after so many; the same command goes on")
    parser.add_argument("--core", type=int, help="take this core alone, so that another process may have another one")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    parser.add_argument("--runs", type=pathlib.Path, default=ROOT / "runs" / "quality", help="folder of checkpoints")
    args = parser.parse_args(argv)
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})  # before either framework starts its threads
    return args


class Deadline:
    """Says whether so many minutes are over."""

    def __init__(self, minutes: float | None):
        self.end = None if minutes is None else time.monotonic() + 60 * minutes

    def __call__(self) -> bool:
        return self.end is not None and time.monotonic() >= self.end


class Record:
    """The result of one seed of a side: its curve, written after every epoch.

    Attributes:
        folder: of its checkpoint.
        curve: a dict for each epoch.
    """

    def __init__(self, side: str, seed: int, args: argparse.Namespace, protocol: dict[str, Any]):
        self.name = f"quality_{args.dataset}_{side}_seed{seed}"
        self.folder, self.results = args.runs / self.name, args.results
        self.made_by = self._now = report.provenance()
        self.protocol = protocol | {"dataset": args.dataset, "seed": seed}
        self.pieces: list[dict] = []
        self.curve: list[dict] = []
        self._begin()

    def _begin(self):
        piece = {name: self._now[name] for name in ("date", "command", "hardware", "versions")}
        self.pieces.append({"after_epoch": len(self.curve)} | piece)

    def kept(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as JSON has it."""
        names = "made_by", "protocol", "pieces", "curve"
        return {name: getattr(self, name) for name in names}

    def go_on(self, kept: dict[str, Any]) -> None:
        """Continue what a checkpoint kept.

        Raises:
            ValueError: if it is of another protocol or commit.
        """
        for what, ours, theirs in (
            ("the protocol", self.protocol, kept["protocol"]),
            ("commit", self.made_by["commit"], kept["made_by"]["commit"]),
        ):
            if ours != theirs:
                raise ValueError(
                    f"expected {what} {theirs}, with which {self.name} was begun, got {ours}; go on from a checkout of "
                    f"that, or remove {self.folder} to begin anew"
                )
        self.made_by, self.pieces, self.curve = kept["made_by"], kept["pieces"], kept["curve"]
        self._begin()

    def add(self, point: dict[str, float]) -> None:
        """Add what was seen after an epoch, and write the result."""
        self.curve.append(point)
        tqdm.write(f"{self.name}: {point}")
        result = self.protocol | {"pieces": self.pieces, "curve": self.curve}
        report.write(self.name, result, self.made_by, self.results)
