"""A trained model by NumPy alone: functions that are lists of plain layers, in the arrays of an `.npz` file.

    functions = read_functions("model.npz")
    x_hat = apply_layers(functions["decoder"], z)

A layer is its kind and its values, by name; `apply_layers` says what each does. Channels are the last axis.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["ACTIVATIONS", "apply_layers", "read_functions"]

ACTIVATIONS: dict[str, Callable] = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x * x * x))),
    "silu": lambda x: 0.5 * x * (1 + np.tanh(0.5 * x)),
    "softplus": lambda x: np.logaddexp(x, 0),
    "tanh": np.tanh,
    "sin": np.sin,
    "sigmoid": lambda x: 0.5 * (1 + np.tanh(0.5 * x)),
}


def apply_layers(layers: list, examples: ArrayLike) -> np.ndarray:
    """Return what a list of layers makes of n examples, `[n, ...]`, in float32.

    >>> layer = {"kernel": np.ones((2, 1), np.float32), "bias": np.zeros(1, np.float32)}
    >>> apply_layers([("dense", layer), ("relu", {})], [[1.0, 2.0], [1.0, -2.0]])
    array([[3.],
           [0.]], dtype=float32)
    """
    x = z = np.asarray(examples, np.float32)
    for kind, values in layers:
        if kind == "reshape":
            x = x.reshape(len(x), *values["shape"])
        elif kind == "dense":
            x = x @ values["kernel"] + values["bias"]
        elif kind == "transposed_conv":  # size 4, stride 2, padding 1: y[2 i - 1 + a] += x[i] kernel[:, a]
            (n, h, w), taps = x.shape[:3], np.tensordot(x, values["kernel"], 1)
            y = np.zeros((n, 2 * h + 2, 2 * w + 2, taps.shape[-1]), x.dtype)
            for a, b in np.ndindex(4, 4):
                y[:, a : a + 2 * h : 2, b : b + 2 * w : 2] += taps[:, :, :, a, b]
            x = y[:, 1:-1, 1:-1] + values["bias"]
        elif kind == "group_norm":
            y = x.reshape(len(x), -1, values["num_groups"], x.shape[-1] // values["num_groups"])
            y = y - y.mean((1, 3), keepdims=True)
            y = y / np.sqrt(np.square(y).mean((1, 3), keepdims=True) + values["epsilon"])
            x = y.reshape(x.shape) * values["scale"] + values["bias"]
        elif kind == "points":  # the latents are what x was until here; go on from the coordinates, for all alike
            x, z = values["points"][None], x
        elif kind == "add_latent":
            x = x + (z @ values["kernel"])[:, None]
        elif kind == "sin_cos":
            x = np.concatenate([np.sin(x), np.cos(x)], axis=-1)
        else:
            x = ACTIVATIONS[kind](x)
    return x


def read_functions(path: str) -> dict[str, list]:
    """Return the functions of a file by name, each a list of layers for `apply_layers`."""
    with np.load(path) as file:
        arrays = dict(file)
    functions: dict[str, list] = {}
    for name in [key for key in arrays if "." not in key]:
        layers: list[tuple[str, dict]] = [(str(kind), {}) for kind in arrays[name]]
        for key in [key for key in arrays if key.startswith(f"{name}.")]:  # decoder.3.kernel
            _, number, value = key.split(".")
            layers[int(number)][1][value] = arrays[key]
        functions[name] = layers
    return functions
