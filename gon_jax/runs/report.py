"""One page about a run, with its pictures inside: report.html, to look at anywhere and to send to someone."""

import base64
import html
from pathlib import Path
from typing import Any

from gon_jax._files import write_text
from gon_jax.runs.config import Config

__all__ = ["REPORT", "main_metrics", "write_report"]

REPORT = "report.html"
METRICS = (
    ("test.squared_error", "squared error per test image", "{:.3f}"),
    ("pca.squared_error", "the same by PCA, as many components", "{:.3f}"),
    ("mean_image.squared_error", "the same by the mean training image", "{:.3f}"),
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
CAPTIONS = {  # of what a run writes, in the order of the page
    "reconstructions": "Test examples, and what is decoded from their latents.",
    "errors": "The test examples that are reconstructed worst and best, of the first 3,000.",
    "samples": "Decoded draws of the prior, or of a mixture of Gaussians fitted to latents of training examples.",
    "training": "Test examples, and what was decoded from their latents in the course of training; samples, for models "
    "with a prior.",
    "interpolation": "Between pairs of test examples: the images themselves at both ends, decoded latents between.",
    "traversal": "Along the directions in which latents vary most, through their mean.",
    "superresolution": "Decoded at a higher resolution than that of the data.",
    "classes": "Latents of test examples in the plane, by class.",
    "loss": "Training.",
}
MEDIA = {  # suffix to type and element
    ".png": ("image/png", "<img alt='{name}' src='{source}'>"),
    ".gif": ("image/gif", "<img alt='{name}' src='{source}'>"),
    ".wav": ("audio/wav", "<audio controls src='{source}'></audio>"),
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #282828; max-width: 1000px; margin: 2em auto; padding: 0 1em; }
img { max-width: 100%; } h1, h2 { font-weight: 600; line-height: 1.2; } h2 { margin-top: 2em; font-size: 1.2em; }
table { border-collapse: collapse; } td { padding: 0.15em 1.5em 0.15em 0; vertical-align: top; }
td:first-child { color: #666; white-space: nowrap; } details { margin: 1em 0; } p { margin: 0.3em 0; }
"""


def main_metrics(summary: dict[str, Any]) -> dict[str, str]:
    """Return what to look at first of a summary, words to values."""
    return {words: form.format(summary[key]) for key, words, form in METRICS if key in summary}


def write_report(folder: Path, config: Config, summary: dict[str, Any], notes: tuple[str, ...] = ()) -> None:
    """Write `report.html` into a run's folder: metrics, pictures and sounds, data and configuration, in one file.

    Args:
        folder: the run's, with its pictures drawn.
        config, summary: the run's.
        notes: of its dataset.
    """
    title = f"{summary['model']} on {Path(str(summary['dataset'])).name}"
    parts = [f"<h1>{html.escape(title)}</h1>", _table(main_metrics(summary))]
    for name, caption in CAPTIONS.items():
        media = [folder / f"{name}{suffix}" for suffix in MEDIA]
        if present := [_element(path) for path in media if path.is_file()]:
            parts.append(f"<h2>{name.capitalize()}</h2><p>{html.escape(caption)}</p>{''.join(present)}")
    if notes:
        parts.append("<h2>Data</h2>" + "".join(f"<p>{html.escape(note)}</p>" for note in notes))
    options = {name: value for name, value in config.options().items() if value is not None}
    parts.append(f"<details><summary>Options</summary>{_table(options)}</details>")
    versions = {"device": summary["device"], **summary["versions"]}
    parts.append(f"<details><summary>Made with</summary>{_table(versions)}</details>")
    head = (
        f"<meta charset='utf-8'><meta name='viewport' content='width=device-width'><title>{html.escape(title)}</title>"
    )
    body = "\n".join(parts)
    write_text(
        folder / REPORT,
        f"<!doctype html>\n<html lang='en'><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n",
    )


def _table(values):
    rows = (f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in values.items())
    return f"<table>{''.join(rows)}</table>"


def _element(path):
    kind, element = MEDIA[path.suffix]
    source = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    return f"<p>{element.format(name=path.stem, source=source)}</p>"
