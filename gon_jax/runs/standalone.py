"""A run as files for programs without this package: by JAX as StableHLO, by NumPy, by ONNX."""

import io
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from gon_jax._files import read_json, write_file, write_json, write_text
from gon_jax.arguments import check_choice, check_kind
from gon_jax.data.datasets import is_path
from gon_jax.models.exporting import export_function
from gon_jax.runs import numpy_model
from gon_jax.runs.export_page import ARRAYS, README, describe, ends_of, readme
from gon_jax.runs.folder import part_of_a_run
from gon_jax.runs.onnx_graph import onnx_model
from gon_jax.runs.plain_layers import classifier_layers, plain_functions
from gon_jax.runs.run import Run

__all__ = ["StandaloneFormat", "check_export_folder", "export_run"]

StandaloneFormat = Literal["stablehlo", "numpy", "onnx"]
METADATA, SCRIPT = "model.json", "numpy_model.py"


def export_run(
    run: Run, folder: str | Path, *, format: StandaloneFormat = "stablehlo", overwrite: bool = False
) -> dict[str, Any]:
    """Write a run's encoder and decoder as files that other programs use without this package, for any batch size.

    "stablehlo" exports any model, as programs for CPUs, CUDA and TPUs that JAX runs. "numpy" and "onnx" take a decoder
    that `gon_jax.runs.plain_layers` can express, and the encoder where it is one matrix (`run.encoder`). A classifier's
    logits are a function too, and the decoder of draws of N(0, I) of a variational GON, "sampler". `model.json` says
    what there is, in which shapes and ranges, and `README.md` how to call it.

    Args:
        run: `gon_jax.load_run(folder)`.
        folder: of the files; new or empty.
        format: which of the three.
        overwrite: remove an earlier export in the folder first.

    Returns:
        What `model.json` holds.

    Raises:
        ValueError: for a folder that holds something; for a run that evaluates by batch statistics; for a decoder that
            plain layers cannot express.
        ImportError: without flatbuffers or onnx, the packages of `gon_jax[export]`.
        OSError: if a file cannot be written.
    """
    check_kind("run", run, Run, "gon_jax.load_run(folder) reads one")
    check_kind("folder", folder, str | os.PathLike, "the place of the files")
    check_choice("format", format, get_args(StandaloneFormat))
    folder = Path(folder)
    check_export_folder(folder, run, overwrite)
    if run.evaluation == "batch":
        raise ValueError(
            f"expected averaged statistics to export, got {run.folder}, which evaluates by batch statistics, so that "
            "an output depends on its batch: import its weights again with --dataset, or take --format safetensors"
        )
    files, functions = _WRITERS[format](run)
    metadata = describe(run, format, functions)
    if folder.is_dir():
        for name in _known_names() & {path.name for path in folder.iterdir()}:
            (folder / name).unlink()
    write_json(folder / METADATA, metadata)  # first: it makes the folder an export
    for name, content in files.items():
        write_file(folder / name, partial(_write, content))
    write_text(folder / README, readme(metadata))
    return metadata


def check_export_folder(folder: Path, run: Run, overwrite: bool) -> None:
    """Refuse a folder that holds something else than an export to be replaced, and one among a run's files or data.

    Raises:
        ValueError: for such a folder.
    """
    if (own := part_of_a_run(folder)) is not None:
        raise ValueError(f"expected an output that is not a run's own, got {folder}, in place of {own}; choose another")
    data = run.config.data.dataset
    if is_path(data) and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(Path(data).expanduser())):
        raise ValueError(f"expected an output that is not among the data, got {folder}, of {data}; choose another")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"expected a folder for the export, got the file {folder}; choose another")
    names = {path.name for path in folder.iterdir()} - {"__pycache__"}
    if not names:
        return
    if METADATA not in names or not names <= _known_names() or "gon_jax" not in read_json(folder / METADATA):
        raise ValueError(f"expected a new or empty folder, got {folder}, which holds other things; choose another")
    if not overwrite:
        raise ValueError(f"expected a folder without an export, got {folder}; replace it with --overwrite")


def _known_names():
    """Return the names of all that an export of any format writes."""
    functions = ("encoder", "decoder", "classifier", "sampler")
    programs = {f"{name}.{suffix}" for name in functions for suffix in ("stablehlo", "onnx")}
    return programs | {METADATA, README, ARRAYS, SCRIPT}


def _write(content, file):
    file.write(content)


# -- the formats: each returns files, and the names of the functions in them -----------------------------------------


def _stablehlo(run):
    model, params = run.model, run.variables.params
    functions: dict[str, Callable] = {
        "encoder": run.encoder or partial(model.encode, run.variables),
        "decoder": partial(model.decode, run.variables),
    }
    if (classify := model.capabilities.classify) is not None:
        functions["classifier"] = partial(classify, run.variables)
        if run.config.model.name == "classifier" and (encoder := run.encoder) is not None:  # which it need not compute
            head = classifier_layers(run)[-1].values
            functions["classifier"] = lambda x: encoder(x).reshape(x.shape[0], -1) @ head["kernel"] + head["bias"]
    if run.config.model.name == "vgon":  # the mean of q(t given z) is then z
        k = math.prod(model.latent_shape)
        identity = {"kernel": np.eye(k, dtype=np.float32), "bias": np.zeros(k, np.float32)}
        functions["sampler"] = partial(model.decode, run.variables._replace(params=params | {"mean": identity}))
    ends = ends_of(run)
    programs = {name: bytes(export_function(f, ends[name][0].shape)) for name, f in functions.items()}
    return {f"{name}.stablehlo": program for name, program in programs.items()}, list(functions)


def _numpy(run):
    functions, arrays = plain_functions(run), {}
    for name, layers in functions.items():
        arrays[name] = np.array([layer.kind for layer in layers])
        for i, layer in enumerate(layers):
            arrays |= {f"{name}.{i}.{value}": array for value, array in layer.values.items()}
    file = io.BytesIO()
    np.savez(file, **arrays)
    script = Path(numpy_model.__file__).read_bytes()
    return {ARRAYS: file.getvalue(), SCRIPT: script}, list(functions)


def _onnx(run):
    functions, ends = plain_functions(run), ends_of(run)
    files = {}
    for name, layers in functions.items():
        (x, shape, _), (y, shape_out, _) = ends[name]
        files[f"{name}.onnx"] = onnx_model(layers, shape, shape_out, (x, y))
    return files, list(functions)


_WRITERS: dict[str, Callable[[Run], tuple[dict[str, bytes], list[str]]]] = {
    "stablehlo": _stablehlo,
    "numpy": _numpy,
    "onnx": _onnx,
}
