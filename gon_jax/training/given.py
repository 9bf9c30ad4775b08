"""What `fit` is given: data and validation as dicts of arrays, sizes that agree. Anything else is refused here."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.arguments import check_count, check_kind
from gon_jax.base import Model
from gon_jax.inference import Data, data_dict
from gon_jax.metrics import check_labels, selection_metric
from gon_jax.training.streaming import check_batches

__all__ = ["Given", "check_given"]


class Given(NamedTuple):
    """What to train on.

    Attributes:
        data: arrays or sources `[N, ...]` by name, the examples as "x"; or those of the first batch.
        batches: of an iterator, the first included; None for data.
        validation: as `data`, or None.
        num_examples: N, or the examples of a batch.
        batch_size: of all devices and processes together.
        validate_every: in steps; None for the end alone.
    """

    data: dict[str, Any]
    batches: Iterator[dict[str, Any]] | None
    validation: dict[str, Any] | None
    num_examples: int
    batch_size: int
    validate_every: int | None


def check_given(
    model: Model,
    data: Data | Iterator[Data],
    batch_size: int | None,
    validation: Data | None,
    validate_every: int | None,
) -> Given:
    """Return what to train on, as `fit` takes it.

    Raises:
        ValueError: for data of another shape than the model's, labels of no class, no examples, sizes that do not
            agree; for a classifier's validation without labels.
        TypeError: for what is no model.
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    held_out = None if validation is None else data_dict(model, validation)
    if held_out is not None and selection_metric(model) == "accuracy" and "y" not in held_out:
        raise ValueError(
            f'expected labels of the validation data as "y", got {", ".join(held_out)}; a classifier is judged by '
            'its accuracy: give validation={"x": ..., "y": ...}'
        )
    with_labels = _label_check(model)

    def checked(data):
        data = data_dict(model, data)
        if "index" in data:
            raise ValueError('expected no array "index" in the data, got one: rename it, training uses that name')
        return with_labels(data)

    batches, arrays = None, {}
    if not isinstance(data, Iterator):
        arrays = checked(data)
        num_examples = len(arrays["x"])
        sizes: dict[str, Any] = {"most": num_examples, "remedy": f"there are {num_examples} examples"}
        batch_size = check_count("batch_size", 64 if batch_size is None else batch_size, **sizes)
        validate_every = num_examples // batch_size if validate_every is None else validate_every
    else:
        first, batches = _first(model, data, checked)
        arrays = {name: a for name, a in first.items() if name != "index"}
        num_examples = jax.process_count() * len(arrays["x"])
        sizes = {"least": num_examples, "most": num_examples, "remedy": "that of the iterator's batches"}
        batch_size = check_count("batch_size", num_examples if batch_size is None else batch_size, **sizes)
    if validate_every is not None:
        check_count("validate_every", validate_every)
    held_out = None if held_out is None else with_labels(held_out)
    return Given(arrays, batches, held_out, num_examples, batch_size, validate_every)


def _first(model, batches, checked):
    """Return the first batch, and all of them."""
    if model.capabilities.init_latents is not None:
        raise ValueError(
            "expected data [N, ...] for a model with a latent for each example, got an iterator of batches, which does "
            "not say which examples they are"
        )
    batches = check_batches(batches, checked)
    if (first := next(batches, None)) is None:
        raise ValueError("expected at least one batch, got an iterator that has ended: make a new one")
    return first, itertools.chain([first], batches)


def _label_check(model: Model) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function of data that makes labels int32, and refuses those whose loss is of no class."""
    if model.capabilities.classify is None:
        return lambda data: data
    x = jax.ShapeDtypeStruct((1, *model.data_shape), jnp.float32)
    logits = jax.eval_shape(model.capabilities.classify, jax.eval_shape(model.init, jax.random.key(0)), x)

    def with_labels(data):
        if "y" not in data:
            return data
        y = np.asarray(data["y"])
        check_labels(y, logits.shape[-1])
        return data | {"y": y.astype(np.int32)}

    return with_labels
