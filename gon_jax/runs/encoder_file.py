"""A run's encoder.npz: a frozen encoder as arrays for NumPy alone, known by the variables it was computed from."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax._files import crc32, write_file
from gon_jax.freezing import FrozenEncoder

__all__ = ["read_encoder", "write_encoder"]

KNOWN = ("step", "variables_crc32", "arrays_crc32")  # of what the file is, and of its contents
NOTE = "z = bias + (x.reshape(n, -1) @ matrix).reshape(n, *latent_shape), for n images x of data_shape in [0, 1]"


def write_encoder(path: Path, encoder: FrozenEncoder, variables: Any, step: int, data_shape: tuple[int, ...]) -> None:
    """Write an encoder that acts on the data; the file's `note` says how NumPy applies it.

    Args:
        path: the file.
        encoder: `matrix` `[m, k]` and `bias` `[*latent]`, for the m entries of an example.
        variables: the pytree it was computed from, kept as a CRC-32.
        step: the training step of the variables.
        data_shape: the shape of one example.

    >>> import tempfile
    >>> encoder = FrozenEncoder(jnp.ones((4, 2)), jnp.zeros(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "encoder.npz"
    ...     write_encoder(path, encoder, {}, 100, (2, 2, 1))
    ...     with np.load(path) as file:
    ...         np.ones((1, 4)) @ file["matrix"] + file["bias"], int(file["step"])
    ...     read_encoder(path, {}, 100, (2, 2, 1), (2,)).bias, read_encoder(path, {}, 200, (2, 2, 1), (2,))
    (array([[4., 4.]]), 100)
    (Array([0., 0.], dtype=float32), None)
    """
    if encoder.likelihood is not None:
        raise ValueError(
            "expected an encoder that acts on the data, got one that acts on cotangents of a likelihood, which NumPy "
            "alone cannot compute; a likelihood whose gradient is affine in the data folds into the matrix"
        )
    arrays: dict[str, Any] = {"matrix": np.asarray(encoder.matrix), "bias": np.asarray(encoder.bias), "step": step}
    arrays |= {"latent_shape": encoder.bias.shape, "data_shape": data_shape, "note": NOTE}
    arrays["variables_crc32"] = _fingerprint(variables)
    arrays["arrays_crc32"] = crc32(arrays["matrix"], arrays["bias"])
    write_file(path, lambda file: np.savez(file, **arrays))


def read_encoder(
    path: Path, variables: Any, step: int, data_shape: tuple[int, ...], latent_shape: tuple[int, ...]
) -> FrozenEncoder | None:
    """Read an encoder back; return None unless the file is whole and was written for these arguments."""
    try:
        with path.open("rb") as content, np.load(content) as file:  # a zip, which holds a CRC-32 of every array
            matrix, bias, *known = (file[name] for name in ("matrix", "bias", *KNOWN))
    except Exception:  # zipfile and NumPy raise many kinds for a damaged file
        return None
    shapes = (math.prod(data_shape), math.prod(latent_shape)), tuple(latent_shape)
    if (matrix.shape, bias.shape) != shapes or {matrix.dtype, bias.dtype} != {np.dtype(np.float32)}:
        return None
    if [number.tolist() for number in known] != [step, _fingerprint(variables), crc32(matrix, bias)]:
        return None
    return FrozenEncoder(jnp.asarray(matrix), jnp.asarray(bias))


def _fingerprint(variables):
    return crc32(*jax.tree.leaves(jax.device_get(variables)))
