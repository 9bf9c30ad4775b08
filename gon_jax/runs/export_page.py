"""What is said of an exported run, so that a stranger can use it: `model.json` for programs, `README.md` for people."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import gon_jax
from gon_jax.data.datasets import is_path
from gon_jax.runs.onnx_graph import OPSET
from gon_jax.runs.run import Run

__all__ = ["ARRAYS", "README", "End", "describe", "ends_of", "readme"]

README, ARRAYS = "README.md", "model.npz"
UNIT_RANGE = {"bernoulli", "continuous_bernoulli", "categorical", "discretized_logistic"}
UNIT_RANGE |= {"discretized_logistic_mixture"}  # whose means are in [0, 1] whatever the decoder's output is


class End(NamedTuple):
    """An argument or a result of an exported function: its name, the shape of one example, and what it is."""

    name: str
    shape: tuple[int, ...]
    words: str


def ends_of(run: Run) -> dict[str, tuple[End, End]]:
    """Return the argument and the result of every function that a run may have."""
    data_shape, latent_shape = run.model.data_shape, run.model.latent_shape
    source = getattr(run.config.model, "source", None)
    x = End("x", data_shape, "data" if source is None else f"sources, images made {source}")
    z = End("z", latent_shape, "latents; draws of N(0, I) too" if run.config.model.name == "vae" else "latents")
    mean = "probabilities of 1" if run.config.likelihood.name == "bernoulli" else "means of the data"
    x_hat = End("x_hat", data_shape, mean if source is None else f"{mean}, of the targets")
    ends = {"encoder": (x, z), "decoder": (z, x_hat)}
    if run.config.model.name == "vgon":
        ends["sampler"] = End("t", latent_shape, "draws of N(0, I)"), x_hat
    if (classify := run.model.capabilities.classify) is not None:
        like_x = jax.ShapeDtypeStruct((1, *data_shape), np.float32)
        num_classes = jax.eval_shape(partial(classify, run.variables), like_x).shape[1:]
        ends["classifier"] = x, End("logits", num_classes, "logits in the order of class_names; softmax is p(class)")
    return ends


def describe(run: Run, format: str, functions: list[str]) -> dict[str, Any]:
    """Return what a stranger needs to know, as JSON holds it."""
    config, ends = run.config, ends_of(run)
    bounded = config.likelihood.name in UNIT_RANGE or (
        config.network.name in ("conv", "mlp") and run.model.likelihood.reads_mean
    )
    notes = []
    if format != "stablehlo":
        if config.precision != "float32":
            notes.append(
                f"The run's decoder computes in {config.precision}; this one in float32, without that rounding."
            )
        if "encoder" not in functions:
            notes.append(
                f"The encoder of this {config.model.name} is not one matrix, and is not exported: "
                "`gon export --format stablehlo` exports it."
            )
    classes = None
    if "classifier" in functions:
        (num_classes,) = ends["classifier"][1].shape
        classes = (run.fingerprint or {}).get("class_names") or [str(i) for i in range(num_classes)]

    def end(name, shape, words):
        of_data = {"x": [0.0, 1.0], "x_hat": [0.0, 1.0] if bounded else None}
        return {"name": name, "shape": ["n", *shape], "dtype": "float32", "what": words} | (
            {"range": of_data[name]} if name in of_data else {}
        )

    return {
        "gon_jax": gon_jax.__version__,
        "format": format,
        **({"jax": jax.__version__} if format == "stablehlo" else {"opset": OPSET} if format == "onnx" else {}),
        "model": config.model.name,
        "network": config.network.name,
        "likelihood": config.likelihood.name,
        "dataset": Path(config.data.dataset).name if is_path(config.data.dataset) else config.data.dataset,
        "kind": run.kind,
        "value_range": None if config.data.value_range is None else list(config.data.value_range),
        "samples_per_second": (run.fingerprint or {}).get("samples_per_second"),
        "step": run.step,
        "data_shape": list(run.model.data_shape),
        "latent_shape": list(run.model.latent_shape),
        "class_names": classes,
        "notes": notes,
        "functions": {
            name: {
                "file": ARRAYS if format == "numpy" else f"{name}.{format}",
                "input": end(*ends[name][0]),
                "output": end(*ends[name][1]),
            }
            for name in functions
        },
    }


_USES = {
    "stablehlo": (
        "With JAX and the package flatbuffers, on CPUs, CUDA and TPUs:",
        "import jax.export\nimport numpy as np\n\n\ndef load(path):\n    with open(path, 'rb') as file:\n"
        "        return jax.export.deserialize(bytearray(file.read())).call\n\n",
        "{output} = load('{file}')({zeros})",
    ),
    "numpy": (
        "With NumPy, and `numpy_model.py` beside the arrays:",
        "import numpy as np\nfrom numpy_model import apply_layers, read_functions\n\n"
        "functions = read_functions('model.npz')",
        "{output} = apply_layers(functions['{name}'], {zeros})",
    ),
    "onnx": (
        "With ONNX Runtime, or any other program that reads ONNX:",
        "import numpy as np\nfrom onnxruntime import InferenceSession\n",
        "({output},) = InferenceSession('{file}').run(None, {{'{input}': {zeros}}})",
    ),
}


def readme(metadata: dict[str, Any]) -> str:
    """Return a page about an export, whose Python runs in its folder."""
    words, head, call = _USES[metadata["format"]]
    rows, calls = [], []
    for name, function in metadata["functions"].items():
        ends = [function[which] for which in ("input", "output")]
        cells = []
        for end in ends:
            shape = ", ".join(map(str, end["shape"]))
            values = "" if "range" not in end else ", from 0 to 1" if end["range"] else ", real numbers"
            cells.append(f"`{end['name']}` `[{shape}]`: {end['what']}{values}")
        rows.append(f"| {name} | `{function['file']}` | {cells[0]} | {cells[1]} |")
        zeros = f"np.zeros({(3, *ends[0]['shape'][1:])}, np.float32)"
        names = {"name": name, "file": function["file"], "input": ends[0]["name"], "output": ends[1]["name"]}
        calls.append(call.format(zeros=zeros, **names))
    classes, values = metadata["class_names"], "bytes divided by 255, or floats as they are"
    if metadata["value_range"] is not None:
        values = "(v - {:g}) / ({:g} - {:g}) of a value v".format(*(metadata["value_range"][i] for i in (0, 1, 0)))
    elif metadata["kind"] == "audio":
        values = "(s + 1) / 2 of a sound s in [-1, 1]"
    return "\n".join(
        [
            f"# {metadata['model']} on {metadata['dataset']}",
            "",
            f"A trained model of gon_jax {metadata['gon_jax']} (step {metadata['step']}), of {metadata['kind']}. All "
            "numbers are float32, and channels are the last axis; n is any number of examples, at least 1. Data are in "
            f"[0, 1]: {values}.",
            "",
            "| function | file | input | output |",
            "|---|---|---|---|",
            *rows,
            "",
            *([f"Classes: {', '.join(classes)}.", ""] if classes else []),
            *(line for note in metadata["notes"] for line in (note, "")),
            words,
            "",
            "```python",
            head,
            *calls,
            "```",
            "",
            "`model.json` says the same to programs.",
            "",
        ]
    )
