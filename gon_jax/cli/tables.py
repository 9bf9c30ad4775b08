"""What the command prints: the metrics of a run, and tables of names and values."""

from pathlib import Path
from typing import Any

__all__ = ["print_summary", "print_table"]

PRINTED = (
    ("test.squared_error", "squared error per test image", "{:.3f}"),
    ("pca.squared_error", "the same by PCA, as many components", "{:.3f}"),
    ("test.psnr", "PSNR per test image, dB", "{:.2f}"),
    ("pca.psnr", "the same by PCA", "{:.2f}"),
    ("test.negative_elbo", "-ELBO per test image, nats", "{:.2f}"),
    ("test.kl", "of which KL", "{:.2f}"),
    ("test.bits_per_dim", "bits per dimension", "{:.3f}"),
    ("test.accuracy", "accuracy on test images", "{:.3f}"),
    ("source.squared_error", "squared error of the source itself", "{:.3f}"),
    ("num_parameters", "parameters", "{:,}"),
    ("latent_size", "latent size", "{}"),
    ("num_steps", "steps", "{:,}"),
    ("seconds_training", "seconds of training", "{:.1f}"),
    ("seconds_compile", "seconds to compile", "{:.1f}"),
    ("device", "device", "{}"),
)


def print_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Print the metrics of a finished run, and the files to look at."""
    error, reference = summary["test.squared_error"], summary["pca.squared_error"]
    print(f"{summary['model']} on {summary['dataset']}, {summary['num_test']} held-out examples", end="")
    whose = "PCA's"
    if "source.squared_error" in summary:  # PCA of the targets would have seen them
        reference, whose = summary["source.squared_error"], "the source's"
    print(f": {error / reference:.2f} of {whose} error" if reference else "")
    width = max(len(words) for _, words, _ in PRINTED)
    for key, words, form in PRINTED:
        if key in summary:
            print(f"  {words:<{width}}  {form.format(summary[key])}")
    patterns = ("*.png", "*.wav", "*.gif", "encoder.npz")
    names = [path.name for pattern in patterns for path in sorted(folder.glob(pattern))]
    for name in [*names, "metrics.jsonl", "summary.json", "checkpoints"]:
        print(f"  {folder / name}")


def print_table(table: dict[str, Any], width: int, form: str) -> None:
    """Print names and values, floats in a format."""
    for name, value in table.items():
        print(f"{name:<{width}}  {form.format(value) if isinstance(value, float) else value}")
