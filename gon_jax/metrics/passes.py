"""A pass over a dataset by averaged statistics, or by those of each batch."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from gon_jax.arguments import check_choice
from gon_jax.base import Variables
from gon_jax.data.sources import is_source, take

__all__ = ["Evaluation", "in_mixed_order", "options_by"]

Evaluation = Literal["running", "batch"]


def options_by(
    evaluation: Evaluation, variables: Variables, batch_size: int, progress: str | None
) -> tuple[Variables, dict[str, Any]]:
    """Return the variables for an evaluation, and the options of `gon_jax.inference.in_batches`.

    Raises:
        ValueError: for an unknown evaluation.

    >>> options_by("batch", Variables(params={}, stats={"mean": 0.5}), 64, None)
    (Variables(params={}, stats=None), {'batch_size': 64, 'pad': False, 'progress': None})
    """
    check_choice("evaluation", evaluation, ("running", "batch"))
    options = {"batch_size": batch_size, "pad": evaluation == "running", "progress": progress}
    return variables if evaluation == "running" else variables._replace(stats=None), options


def in_mixed_order(arrays: Mapping[str, Any], evaluation: Evaluation) -> dict[str, Any]:
    """Return arrays `[N, ...]` by name, for "batch" in a random order: batches of one class would have its statistics.

    The order is the same at every call, and for all arrays.

    >>> in_mixed_order({"x": np.arange(4), "y": np.arange(4)}, "batch")
    {'x': array([2, 3, 1, 0]), 'y': array([2, 3, 1, 0])}
    """
    if evaluation == "running":
        return dict(arrays)
    order = np.random.RandomState(0).permutation(len(next(iter(arrays.values()))))
    mixed = {id(a): take(a if is_source(a) else np.asarray(a), order) for a in arrays.values()}
    return {name: mixed[id(array)] for name, array in arrays.items()}
