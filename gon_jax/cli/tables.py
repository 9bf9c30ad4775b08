"""What the command prints: the metrics of a run, tables of names and values, or JSON."""

import json
import math
from pathlib import Path
from typing import Any

from gon_jax.runs.report import REPORT, main_metrics

__all__ = ["print_json", "print_summary", "print_table", "written_by"]


def print_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Print the metrics of a finished run, and the files to look at."""
    error, reference = summary["test.squared_error"], summary["pca.squared_error"]
    print(f"{summary['model']} on {summary['dataset']}, {summary['num_test']} held-out examples", end="")
    whose = "PCA's"
    if "source.squared_error" in summary:  # PCA of the targets would have seen them
        reference, whose = summary["source.squared_error"], "the source's"
    print(f": {error / reference:.2f} of {whose} error" if reference else "")
    metrics = main_metrics(summary)
    width = max(map(len, metrics))
    for words, value in metrics.items():
        print(f"  {words:<{width}}  {value}")
    for path in written_by(folder):
        print(f"  {path}")


def written_by(folder: Path) -> list[Path]:
    """Return the files of a finished run to look at."""
    patterns = ("*.png", "*.wav", "*.gif", "encoder.npz", REPORT)
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    return [*found, *(folder / name for name in ("metrics.jsonl", "summary.json", "checkpoints"))]


def print_table(table: dict[str, Any], width: int, form: str) -> None:
    """Print names and values, floats in a format."""
    for name, value in table.items():
        print(f"{name:<{width}}  {form.format(value) if isinstance(value, float) else value}")


def print_json(values: dict[str, Any]) -> None:
    """Print one JSON object: paths as text, scalars of NumPy as numbers, and null for what is no finite number.

    >>> print_json({"written": [Path("a.png")], "psnr": math.inf})
    {
      "written": [
        "a.png"
      ],
      "psnr": null
    }
    """
    print(json.dumps(_plain(values), indent=2, allow_nan=False))


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
