"""One self-contained page in which a person uses trained models: draws, explores, morphs, samples and zooms.

The page is `page/page.html`, with its style and programs in the same folder put in, and the models as plain layers
(`gon_jax.runs.plain_layers`) whose weights are floats of 24 bits.
"""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gon_jax
from gon_jax._files import write_text
from gon_jax.arguments import check_kind
from gon_jax.data.splits import spread_indices, take
from gon_jax.inference import encode_dataset
from gon_jax.latents import principal_directions
from gon_jax.runs.plain_layers import Layer, decoder_layers, encoder_layers, num_mean_layers
from gon_jax.runs.run import Run

__all__ = ["write_page"]

FOLDER = Path(__file__).parent / "page"
SCRIPTS = ("engine", "page", "zoom")
NUM_EXAMPLES, MAX_MAPPED = 10, 2000  # pictures to start from; latents on the map
TITLES = {"gon": "GON", "vgon": "Variational GON"}
KINDS = {
    "siren": "implicit",
    "modulated_siren": "implicit",
    "fourier": "implicit",
    "conv": "convolutional",
}  # of networks
# How a drawing becomes data: cells that are counted before they are enlarged; the width of a stroke, and the height and
# the width that a digit is scaled to, as parts of the image's. scikit-learn's digits are 8x8 counts of bitmaps that
# they fill from top to bottom.
DRAWN = {"digits": {"block": 8, "stroke": 0.18, "fit": (0.94, 0.8)}, "mnist": {"stroke": 0.09, "fit": (0.75, 0.75)}}


def write_page(runs: Run | Sequence[Run], path: str | Path) -> int:
    """Write the page of one or several runs, and return its size in bytes.

    What it shows follows from what the runs can do. Draw: one whose encoder is a matrix, of digits. Explore and morph:
    the first. Sample: the first variational GON. Zoom: the first implicit one. Examples are held-out ones of the run's
    data, which must be at hand.

    Args:
        runs: of images, whose networks can be said in plain layers.
        path: the page, `.html`.

    Raises:
        ValueError: for a run of other data, of a model that is not in plain layers, or that evaluates by batch
            statistics; as `Run.dataset` does.
        TypeError: for what is no run, or no path.
    """
    runs = [runs] if isinstance(runs, Run) else list(runs)
    check_kind("path", path, str | os.PathLike, "the place of the page")
    for run in runs:
        check_kind("runs", run, Run, "gon_jax.load_run(folder) reads one")
    if not runs:
        raise ValueError("expected at least one run, got none")
    block = _Block()
    models = [_model(run, block) for run in runs]
    of = [f"{model['title']} on {Path(run.config.data.dataset).name}" for run, model in zip(runs, models, strict=True)]
    text = (FOLDER / "page.html").read_text()
    parts = {f"/* {{{name}}} */": (FOLDER / f"{name}.js").read_text() for name in SCRIPTS}
    parts["/* {style} */"] = (FOLDER / "style.css").read_text()
    content = {
        "models": models,
        "made": f"Made by gon_jax {gon_jax.__version__} of {len(runs)} models: {', '.join(of)}.",
    }
    parts["{data}"] = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    parts["{weights}"] = block.text()
    for mark, part in parts.items():
        text = text.replace(mark, part, 1)
    write_text(path, text)
    return len(text.encode())


class _Block:
    """Arrays one after another, each known by where it begins and how long it is."""

    def __init__(self):
        self.arrays: list[np.ndarray] = []
        self.size = 0

    def add(self, array: Any) -> tuple[int, int]:
        flat = np.asarray(array, np.float32).reshape(-1)
        self.arrays.append(flat)
        self.size += flat.size
        return self.size - flat.size, flat.size

    def text(self) -> str:
        """Return the floats in three bytes each, in base64: rounded to 16 bits of significand, 2^-16 of each."""
        words = np.concatenate(self.arrays).view(np.uint32).astype(np.uint64)
        rounded = np.minimum((words + 0x80) >> 8, 0xFFFFFF).astype("<u4")
        return base64.b64encode(rounded.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()).decode()


def _model(run: Run, block: _Block) -> dict[str, Any]:
    """Return what the page holds of a run."""
    shape, config = run.model.data_shape, run.config
    if run.kind != "images" or shape[2] not in (1, 3):
        raise ValueError(f"expected a run of gray or color images for a page, got {run.kind} of shape {shape}")
    decoder, encoder = decoder_layers(run), None if run.encoder is None else encoder_layers(run)
    test = take(run.dataset().test, slice(MAX_MAPPED))
    sources = run.sources(test.images)
    z = encode_dataset(run.model, run.variables, sources, encoder=run.encoder).reshape(len(sources), -1)
    classes = None if test.labels is None else np.unique(test.labels)
    names = (run.fingerprint or {}).get("class_names") or ([] if classes is None else map(str, range(max(classes) + 1)))
    if classes is None:
        shown = spread_indices(len(z), NUM_EXAMPLES)
    else:
        shown = np.array([np.flatnonzero(test.labels == label)[0] for label in classes[:NUM_EXAMPLES]])
    names, labels = list(names), np.full(len(z), -1) if test.labels is None else test.labels
    implicit = run.model.capabilities.at is not None
    drawn = DRAWN.get(config.data.dataset) if encoder is not None and shape[2] == 1 else None
    title = TITLES.get(config.model.name, config.model.name.replace("_", " ").capitalize())
    return {
        "title": f"Implicit {title}" if implicit else title,
        "words": f"{z.shape[1]} numbers, {KINDS.get(config.network.name, config.network.name)}",
        "data_shape": shape,
        "latent_size": z.shape[1],
        "implicit": implicit,
        "encoder": encoder and _as_json(encoder, block),
        "decoder": _as_json(decoder, block),
        "draw_enters": num_mean_layers(run) if config.model.name == "vgon" else None,  # behind the mean of q
        "drawn": drawn and {"block": shape[0]} | drawn,
        "labels": [names[label] if label >= 0 else str(i + 1) for i, label in enumerate(labels[shown].tolist())],
        "images": base64.b64encode(np.asarray(sources[shown]).tobytes()).decode(),
        "latents": block.add(z[shown]),
        "map": _map(z, labels, names, block) if z.shape[1] > 1 and len(z) > 3 else None,
    }


def _map(z: np.ndarray, labels: np.ndarray, names: list[str], block: _Block) -> dict[str, Any]:
    """Return the plane of the two directions in which latents vary most, and where each latent lies in it."""
    axes, mean = principal_directions(z, 2), z.mean(axis=0)
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    places = {"mean": block.add(mean), "axes": block.add(axes), "points": block.add((z - mean) @ axes.T)}
    return places | {"labels": labels.tolist(), "names": names}


def _as_json(layers: list[Layer], block: _Block) -> list[Any]:
    """Return layers as JSON: arrays as places in the block, numbers as they are; shapes and points are not needed."""
    result = []
    for kind, values in layers:
        kept = {} if kind in ("reshape", "points") else values
        said = {name: block.add(value) if np.ndim(value) else np.asarray(value).item() for name, value in kept.items()}
        result.append([kind, said])
    return result
