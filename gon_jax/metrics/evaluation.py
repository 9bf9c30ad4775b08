"""All metrics of a model on a dataset, and the one by which it is judged."""

from functools import partial
from typing import Any

import jax
import numpy as np

from gon_jax.base import Model, Variables
from gon_jax.data import to_unit
from gon_jax.data.sources import check_source
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference import Data, check_model, data_dict, encode_batch, frozen_encoder, in_batches
from gon_jax.metrics.classification import accuracy
from gon_jax.metrics.likelihood_bounds import evaluate_bound
from gon_jax.metrics.passes import Evaluation, in_mixed_order, options_by
from gon_jax.metrics.reconstruction import psnr, squared_errors

__all__ = ["evaluate", "selection_metric"]


def evaluate(
    model: Model,
    variables: Variables,
    data: Data,
    *,
    evaluation: Evaluation = "running",
    batch_size: int = 64,
    encoder: FrozenEncoder | None = None,
    seed: int = 0,
    num_samples: int = 1,
    bits: bool | None = None,
    progress: str | None = None,
) -> dict[str, float]:
    """Return the metrics that a model has: its reconstruction error, and those of a bound or a classifier.

    Args:
        model, variables, evaluation, batch_size, progress: as in `gon_jax.metrics`.
        encoder: as in `gon_jax.inference`; for "running" alone.
        data: as in `gon_jax.metrics`; reconstructions are compared with "target" `[N, ...]`, or with "x" without one.
        seed: of the draws of a bound.
        num_samples, bits: of a bound, as for `evaluate_bound`.

    Returns:
        `squared_error`: mean over examples of the summed squared error, in squared intensity; `psnr`: mean over
        examples of the peak signal-to-noise ratio, in decibels; what `evaluate_bound` returns, for a model with a
        bound; `accuracy`, for a classifier and data with labels "y".

    Raises:
        ValueError: for data as in `data_dict`, an unknown evaluation, or an encoder with "batch"; as `evaluate_bound`
            and `accuracy` do.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> sorted(evaluate(model, model.init(jax.random.key(0)), np.ones((5, 8, 8, 1), np.uint8)))
    ['psnr', 'squared_error']
    """
    check_model(model, variables)
    data, others = data_dict(model, data), {}
    shared: dict[str, Any] = {"evaluation": evaluation, "batch_size": batch_size, "progress": progress}
    if model.capabilities.bound is not None:  # first, since it refuses bits per dimension of what isn't normalized
        key = jax.random.key(seed)
        others = evaluate_bound(model, variables, data, key, num_samples=num_samples, bits=bits, **shared)
    if model.capabilities.classify is not None and "y" in data:
        others["accuracy"] = accuracy(model, variables, data, **shared)
    batches = {"x": data["x"], "target": check_source(data.get("target", data["x"]), model.data_shape)}
    variables, options = options_by(evaluation, variables, batch_size, progress)
    if evaluation == "running":
        encoder = encoder or frozen_encoder(model, variables)
    elif encoder is not None:
        raise ValueError("expected no encoder with evaluation 'batch', got one; each batch is encoded by itself")
    errors = in_batches(partial(model.jit(_errors), variables, encoder), in_mixed_order(batches, evaluation), **options)
    return {name: float(values.mean(dtype=np.float64)) for name, values in errors.items()} | others


def selection_metric(model: Model) -> str:
    """Return the metric of `evaluate` by which a model is judged, and its best checkpoint chosen.

    A classifier's is its "accuracy", the higher the better; of others the lower the better: "negative_elbo" of a model
    with a bound, else "squared_error".

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import conv_decoder
    >>> selection_metric(gon(conv_decoder((8, 8, 1), (3,), base_channels=4)))
    'squared_error'
    """
    if model.capabilities.classify is not None:
        return "accuracy"
    return "squared_error" if model.capabilities.bound is None else "negative_elbo"


def _errors(model, variables, encoder, batch):
    x = to_unit(batch["target"])
    x_hat = model.decode(variables, encode_batch(model, variables, encoder, batch["x"]))
    return {"squared_error": squared_errors(x_hat, x), "psnr": psnr(x_hat, x)}
