"""A function applied to data of any size, batch by batch, and what such data may be."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm.auto import tqdm

from gon_jax.arguments import check_count, check_kind
from gon_jax.base import Model, Variables
from gon_jax.data.sources import Source, as_source, check_source, is_source

__all__ = ["Array", "Data", "check_model", "data_dict", "in_batches"]

Array = np.ndarray | jax.Array
Data = Array | Source | Mapping[str, Array | Source]

MAX_PADDED = 256  # examples that a last batch is filled up to: few examples, of any number, share a compiled program


def data_dict(model: Model, data: Data) -> dict[str, Any]:
    """Return data as a dict of arrays with the examples as "x"; sources become views, which check what they read.

    Raises:
        ValueError: for examples of another shape than the model's or out of range, or arrays of different lengths.
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    data = dict(data) if isinstance(data, Mapping) else {"x": data}
    if "x" not in data:
        raise ValueError(f'expected a dict with the examples as "x", got {sorted(data)}; rename the array')
    data = {name: as_source(array) for name, array in data.items()}
    num_examples = len(check_source(data["x"], model.data_shape))
    for name, array in data.items():
        if np.shape(array)[:1] != (num_examples,):
            raise ValueError(f'expected "{name}" of {num_examples} examples, got an array {list(np.shape(array))}')
    return data


def check_model(model: Model, variables: Variables) -> None:
    """Refuse what is no model, or no variables of one.

    Raises:
        TypeError: either is of another type.
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    remedy = "training returns them, fit(...).state.variables, and model.init(key) makes new ones"
    check_kind("variables", variables, Variables, remedy)


def in_batches(
    batch_fn: Callable[..., Any], arrays: Any, *, batch_size: int = 64, pad: bool = True, progress: str | None = None
) -> Any:
    """Apply a function to consecutive batches of arrays or sources, and concatenate its results on the host.

    Args:
        batch_fn: `arrays [B, ...] -> pytree of arrays [B, ...]`.
        arrays: a pytree of arrays or sources `[N, ...]`; one that stands in several places is read once.
        batch_size: examples per call.
        pad: fill up the last batch by repeating an example, so that one compilation serves all; for functions that
            treat each example by itself. Otherwise the last batch is smaller.
        progress: as in `gon_jax.inference`.

    >>> in_batches(lambda a: a * 2, np.arange(5), batch_size=2)
    array([0, 2, 4, 6, 8])
    """
    leaves, structure = jax.tree.flatten(arrays)
    unique = {id(a): as_source(a) if is_source(a) else np.asarray(a) for a in leaves}
    num_examples, results = len(unique[id(leaves[0])]), []
    if num_examples == 0:
        raise ValueError("expected at least one example, got none: the array is empty")
    batch_size = min(check_count("batch_size", batch_size), max(num_examples, MAX_PADDED))
    for start in tqdm(range(0, num_examples, batch_size), progress, disable=progress is None, leave=False, delay=1):
        num = min(batch_size, num_examples - start)
        rows = {key: a[start : start + num] for key, a in unique.items()}
        if pad and num < batch_size:
            rows = {key: a[np.arange(batch_size) % num] for key, a in rows.items()}
        result = jax.device_get(batch_fn(jax.tree.unflatten(structure, [rows[id(a)] for a in leaves])))
        results.append(jax.tree.map(lambda a: a[:num], result))  # noqa: B023
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)
