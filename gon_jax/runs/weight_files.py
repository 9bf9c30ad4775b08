"""Files of weights: arrays by name, in safetensors or as PyTorch saves a state dict."""

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gon_jax._files import one_line, write_file

__all__ = ["SUFFIXES", "read_weights", "write_weights"]

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
STATE_DICT = "save it by torch.save(model.state_dict(), path), or by safetensors.torch.save_file"


def _need(package, purpose, remedy):
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"expected the package {package}, {purpose}, got none: {remedy}")


def _need_safetensors():
    _need("safetensors", "which reads and writes .safetensors", "pip install 'gon_jax[weights]'")


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays of a file by name, and its metadata.

    Floating-point numbers become float32: those of 16 bits exactly, those of 64 bits rounded. Nothing in a file is run:
    a `.pt`, `.pth` or `.bin` is read by `torch.load(weights_only=True)`, which alone needs PyTorch.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: without the package that reads it.
        ValueError: for another kind of file, one that is damaged, or anything but tensors by name.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"expected weights that end in {', '.join(SUFFIXES)}, got {path}: {STATE_DICT}")
    if not path.is_file():
        raise FileNotFoundError(f"expected weights in {path}, got no such file; check the path")
    if path.suffix == ".safetensors":
        _need_safetensors()
        from safetensors import safe_open

        try:
            with safe_open(path, "numpy") as file:
                return _in_float32({name: file.get_tensor(name) for name in file.keys()}), file.metadata() or {}
        except Exception as error:  # SafetensorError; TypeError for types that NumPy does not have
            raise ValueError(f"expected whole tensors in {path}, got {one_line(error)}") from error
    _need("torch", f"which reads {path.suffix}", "install PyTorch, or convert the file to .safetensors where it is")
    torch: Any = importlib.import_module("torch")  # which type checkers need not find

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zipfile and PyTorch raise many kinds for other files
        kind = type(error).__name__
        raise ValueError(f"expected a state dict in {path}, got what is not read ({kind}): {STATE_DICT}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"expected a state dict in {path}, got a {type(content).__name__}: {STATE_DICT}")
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"expected tensors by name in {path}, got {name!r} of {type(value).__name__}: {STATE_DICT}"
            )
    whole = {name: v.float() if v.is_floating_point() else v for name, v in content.items()}
    return {name: value.detach().numpy() for name, value in whole.items()}, {}


def _in_float32(arrays):
    return {name: a.astype(np.float32) if jnp.issubdtype(a.dtype, jnp.floating) else a for name, a in arrays.items()}


def write_weights(path: Path, weights: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write arrays by name, and words about them, as safetensors; the whole file or nothing.

    Raises:
        ImportError: without safetensors.
        OSError: the file cannot be written.

    >>> write_weights(Path("a.safetensors"), {"w": np.ones(2, np.float32)}, {"format": "pt"})
    >>> read_weights(Path("a.safetensors"))
    ({'w': array([1., 1.], dtype=float32)}, {'format': 'pt'})
    """
    _need_safetensors()
    from safetensors.numpy import save

    content = save({name: np.require(array, requirements="C") for name, array in weights.items()}, dict(metadata))
    write_file(path, lambda file: file.write(content))
