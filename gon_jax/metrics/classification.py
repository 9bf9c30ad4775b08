"""How often a classifier is right."""

from functools import partial

import jax.numpy as jnp
import numpy as np

from gon_jax.base import Model, Variables
from gon_jax.data import to_unit
from gon_jax.inference import Array, Data, check_model, data_dict, in_batches
from gon_jax.metrics.passes import Evaluation, in_mixed_order, options_by

__all__ = ["accuracy", "check_labels"]


def accuracy(
    model: Model,
    variables: Variables,
    data: Data,
    *,
    evaluation: Evaluation = "running",
    batch_size: int = 64,
    progress: str | None = None,
) -> float:
    """Return the fraction of examples whose largest logit is that of their label.

    Args:
        model: a model with a classifier.
        variables, evaluation, batch_size, progress: as in `gon_jax.metrics`.
        data: as in `gon_jax.metrics`, a dict with the labels as "y", integers `[N]`.

    Raises:
        ValueError: for a model without a classifier, data as in `data_dict`, or no labels.

    >>> import jax
    >>> from gon_jax.models.classifier import gon_classifier
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon_classifier(conv_decoder((8, 8, 1), (3,), base_channels=4), 10)
    >>> data = {"x": np.zeros((10, 8, 8, 1), np.uint8), "y": np.arange(10)}
    >>> accuracy(model, model.init(jax.random.key(0)), data)
    0.1
    """
    check_model(model, variables)
    if model.capabilities.classify is None:
        raise ValueError("expected a model with a classifier, got one without `classify`; take gon_classifier")
    data = data_dict(model, data)
    if "y" not in data:
        raise ValueError(f'expected a dict with the labels as "y", got {sorted(data)}')
    if np.shape(data["y"]) != (len(data["x"]),):
        raise ValueError(f"expected one label for each of {len(data['x'])} examples, got {list(np.shape(data['y']))}")
    variables, options = options_by(evaluation, variables, batch_size, progress)
    mixed = in_mixed_order({"x": data["x"], "y": np.asarray(data["y"])}, evaluation)
    judged = in_batches(partial(model.jit(_judge), variables), mixed, **options)
    if not judged["known"].all():
        check_labels(data["y"], int(judged["num_classes"][0]))
    return float(np.mean(judged["right"]))


def _judge(model, variables, batch):
    logits, y = model.capabilities.classify(variables, to_unit(batch["x"])), batch["y"]
    known = (y >= 0) & (y < logits.shape[-1])
    return {"right": logits.argmax(axis=-1) == y, "known": known, "num_classes": jnp.full(len(y), logits.shape[-1])}


def check_labels(labels: Array, num_classes: int) -> None:
    """Raise a `ValueError` for labels `[N]` that are not whole numbers from 0 to `num_classes - 1`.

    >>> check_labels(np.array([0, 10]), 10)
    Traceback (most recent call last):
    ValueError: expected labels "y" from 0 to 9, whole numbers, got int64 from 0 to 10: number the classes from 0
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= num_classes:
        number = labels.dtype.kind in "iuf" and labels.size
        got = f"{labels.dtype} " + (f"from {labels.min()} to {labels.max()}" if number else f"{list(labels.shape)}")
        raise ValueError(
            f'expected labels "y" from 0 to {num_classes - 1}, whole numbers, got {got}: number the classes from 0'
        )
