"""The variables of a model as one .npz: arrays by name, without pickled objects, with a CRC-32."""

from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax._files import crc32, one_line, write_file
from gon_jax.arguments import check_count, check_kind
from gon_jax.base import Model, Variables

__all__ = ["WEIGHTS", "Precision", "read_variables", "round_variables", "write_variables"]

WEIGHTS = "weights.npz"  # in a run's folder, in place of checkpoints
Precision = Literal["float32", "float16"]


def round_variables(variables: Variables, precision: Precision) -> Variables:
    """Return variables whose kernels, the parameters of two or more axes, are rounded; all stay of their types.

    Biases, scales and statistics are few, and variances may be too small for float16: they stay as they are.

    >>> variables = Variables({"kernel": jnp.full((1, 1), 0.1), "bias": jnp.full(1, 0.1, "float32")})
    >>> rounded = round_variables(variables, "float16").params
    >>> rounded["kernel"].item(), rounded["bias"] == variables.params["bias"]
    (0.0999755859375, Array([ True], dtype=bool))
    """
    params = jax.tree.map(lambda p: p.astype(precision).astype(p.dtype) if p.ndim > 1 else p, variables.params)
    return variables._replace(params=params)


def write_variables(path: str | Path, variables: Variables, step: int = 0) -> None:
    """Write variables and their training step; an array that float16 holds exactly takes half the room.

    A file that is there is replaced, atomically; a folder that is not there is made.

    Args:
        path: the file, in NumPy's format, `.npz` by custom.
        variables: arrays in any pytree of parameters and statistics.
        step: training steps made, 0 or more.

    Raises:
        TypeError: for what is not `Variables`, or holds leaves that are no arrays.
        ValueError: for a step that is not a count.
        OSError: the file cannot be written.

    >>> import tempfile
    >>> from gon_jax.decoders import mlp_decoder
    >>> from gon_jax.models import gon
    >>> model = gon(mlp_decoder((4,), (2,), hidden_dim=3))
    >>> variables = model.init(jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_variables(Path(folder, WEIGHTS), variables, 100)
    ...     again, step = read_variables(Path(folder, WEIGHTS), model)
    >>> step, jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again, variables))
    (100, True)
    """
    check_kind("variables", variables, Variables, "take `result.state.variables` of fit, or gon_jax.Variables(params)")
    step = check_count("step", step, 0)
    arrays: dict[str, Any] = {name: _smallest(_plain(np.asarray(leaf))) for name, leaf in _by_name(variables).items()}
    crc = crc32(*(arrays[name] for name in sorted(arrays)))
    write_file(path, lambda file: np.savez(file, **arrays, step=step, crc32=crc))


def read_variables(path: str | Path, model: Model) -> tuple[Variables, int]:
    """Return the variables of a model, and their training step.

    Args:
        path: a file that `write_variables` has written.
        model: whose variables they are; their names, shapes and types are its own.

    Raises:
        TypeError: for what is not a `Model`.
        FileNotFoundError: there is no such file.
        ValueError: for a damaged file, or one of another model.
    """
    check_kind("model", model, Model, "make it by the code that it was trained by, gon_jax.gon(decoder) say")
    path = Path(path)
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:  # a zip, with a CRC-32 of each
            arrays = {name: file[name] for name in file.files}
        step, crc = int(arrays.pop("step")), int(arrays.pop("crc32"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"expected the weights of a model in {path}, got no such file") from error
    except Exception as error:  # zipfile and NumPy raise many kinds for a damaged file
        got = f"got what is not read ({one_line(error)}): take a whole copy"
        raise ValueError(f"expected the weights of a model in {path}, {got}") from error
    if crc32(*(arrays[name] for name in sorted(arrays))) != crc:
        raise ValueError(f"expected {path} as it was written, got other contents (by its crc32): take a whole copy")
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    expected = {name: leaf.shape for name, leaf in _by_name(shapes).items()}
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected:
        name = next(name for name in [*expected, *found] if expected.get(name) != found.get(name))
        raise ValueError(
            f"expected {name} of shape {expected.get(name)} in {path}, got {found.get(name)}: it is of another model "
            "than this one, or than the config.json beside it"
        )
    leaves = [jnp.asarray(arrays[name], leaf.dtype) for name, leaf in _by_name(shapes).items()]
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves), step


def _by_name(variables):
    """Return the leaves by name, "params/Dense_0/kernel" say."""
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _plain(array):
    """Return the array, or float32 for a type that NumPy's files do not know: bfloat16, exactly."""
    if array.dtype.hasobject or array.dtype.kind in "US":  # NumPy would pickle the first
        raise TypeError(f"expected arrays of numbers in variables, got {array.dtype}: leave other leaves out")
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def _smallest(array):
    """Return the array in float16 where that is exact, infinities aside."""
    half = array.astype(np.float16) if array.dtype == np.float32 else array
    return half if np.array_equal(half.astype(array.dtype), array) else array
