"""What the command prints: the metrics of a run, and tables of names and values."""

from pathlib import Path
from typing import Any

from gon_jax.runs.report import REPORT, main_metrics

__all__ = ["print_summary", "print_table"]


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
    patterns = ("*.png", "*.wav", "*.gif", "encoder.npz")
    names = [path.name for pattern in patterns for path in sorted(folder.glob(pattern))]
    for name in [*names, *([REPORT] * (folder / REPORT).is_file()), "metrics.jsonl", "summary.json", "checkpoints"]:
        print(f"  {folder / name}")


def print_table(table: dict[str, Any], width: int, form: str) -> None:
    """Print names and values, floats in a format."""
    for name, value in table.items():
        print(f"{name:<{width}}  {form.format(value) if isinstance(value, float) else value}")
