"""How good a model is: metrics of a dataset, a mean over its examples, each with the same weight.

Arguments that several functions share, beside those of `gon_jax.inference`:

- `data`: examples `[N, ...]`, uint8 or floats in [0, 1]; or a dict of arrays `[N, ...]`, as for `gon_jax.training.fit`.
- `evaluation`: "running" uses averaged statistics, so that the numbers of an example do not depend on its batch;
  "batch" uses those of each batch, as the authors' implementation does. The same without batch statistics.
- `batch_size`: examples per batch. It changes the result for "batch" alone; larger ones are slower to decode on a CPU.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax import latents
from gon_jax.arguments import check_choice, check_count, check_key, shown
from gon_jax.base import Model, Variables
from gon_jax.data import to_unit
from gon_jax.data.sources import check_source, is_source, take
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference import (
    Array,
    Data,
    check_model,
    data_dict,
    encode_batch,
    encode_dataset,
    frozen_encoder,
    in_batches,
)
from gon_jax.likelihoods import bits_per_dim, dequantize, sum_per_example
from gon_jax.memory import check_memory

__all__ = ["accuracy", "check_labels", "compression_errors", "evaluate", "evaluate_bound", "psnr", "selection_metric"]
__all__ += ["squared_errors"]

Evaluation = Literal["running", "batch"]


def squared_errors(x_hat: Array, x: Array) -> jax.Array:
    """Return the squared error of each example `[B]`, summed over data axes, in squared intensity; bytes are 0 to 1.

    Raises:
        ValueError: for two shapes, or whole numbers that are not bytes.

    >>> squared_errors(jnp.zeros((2, 3)), jnp.ones((2, 3)))
    Array([3., 3.], dtype=float32)
    """
    x_hat, x = to_unit(x_hat), to_unit(x)
    if not x.shape or x_hat.shape != x.shape:
        raise ValueError(f"expected x_hat and x of one shape [B, ...], got {x_hat.shape} and {x.shape}")
    return sum_per_example(jnp.square(x - x_hat))


def psnr(x_hat: Array, x: Array) -> jax.Array:
    """Return the peak signal-to-noise ratio of each example `[B]` in decibels, for intensities in [0, 1]; at most 100.

    >>> psnr(jnp.full((1, 4), 0.1), jnp.zeros((1, 4)))
    Array([20.], dtype=float32)
    """
    mean_squared_error = squared_errors(x_hat, x) * (x.shape[0] / x.size)
    return -10 * jnp.log10(jnp.maximum(mean_squared_error, 1e-10))


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
        model, variables, evaluation, batch_size, encoder, progress: as above; an encoder is for "running".
        data: as above; reconstructions are compared with "target" `[N, ...]` where there is one, else with "x".
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
    variables, options = _by(evaluation, variables, batch_size, progress)
    if evaluation == "running":
        encoder = encoder or frozen_encoder(model, variables)
    elif encoder is not None:
        raise ValueError("expected no encoder with evaluation 'batch', got one; each batch is encoded by itself")
    errors = in_batches(partial(model.jit(_errors), variables, encoder), _mixed(batches, evaluation), **options)
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


def _by(evaluation, variables, batch_size, progress):
    """Return the variables for an evaluation, and the options of `in_batches`."""
    check_choice("evaluation", evaluation, ("running", "batch"))
    options = {"batch_size": batch_size, "pad": evaluation == "running", "progress": progress}
    return variables if evaluation == "running" else variables._replace(stats=None), options


def _mixed(arrays, evaluation):
    """Return arrays `[N, ...]` by name, for "batch" in a random order: batches of one class would have its statistics.

    The order is the same at every call.
    """
    if evaluation == "running":
        return arrays
    order = np.random.RandomState(0).permutation(len(next(iter(arrays.values()))))
    mixed = {id(a): take(a if is_source(a) else np.asarray(a), order) for a in arrays.values()}
    return {name: mixed[id(array)] for name, array in arrays.items()}


def _errors(model, variables, encoder, batch):
    x = to_unit(batch["target"])
    x_hat = model.decode(variables, encode_batch(model, variables, encoder, batch["x"]))
    return {"squared_error": squared_errors(x_hat, x), "psnr": psnr(x_hat, x)}


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
        variables, evaluation, batch_size, progress: as above.
        data: as above, a dict with the labels as "y", integers `[N]`.

    Raises:
        ValueError: for a model without a classifier, data as in `data_dict`, or no labels.

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
    variables, options = _by(evaluation, variables, batch_size, progress)
    mixed = _mixed({"x": data["x"], "y": np.asarray(data["y"])}, evaluation)
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


def evaluate_bound(
    model: Model,
    variables: Variables,
    data: Data,
    key: jax.Array,
    *,
    num_samples: int = 1,
    bits: bool | None = None,
    evaluation: Evaluation = "running",
    batch_size: int = 64,
    progress: str | None = None,
) -> dict[str, float]:
    r"""Return the mean of bounds on -log p(x), in nats, for models with an approximate posterior.

    With K draws z_k of q(z given x) and w_k = p(x given z_k) p(z_k) / q(z_k given x), two numbers that are on average
    at least -log p(x), the second the nearer to it the more draws,

    $$ -\frac1K \sum_k \log p(x | z_k) + \mathrm{KL}(q, p), \qquad -\log \frac1K \sum_k w_k. $$

    Noise is a function of the key, the place of an example in the dataset, and k.

    Args:
        model: a model with a bound.
        variables, data, evaluation, batch_size, progress: as above.
        key: typed key.
        num_samples: K.
        bits: report bits per dimension too; by default for likelihoods of bytes, where that changes no other metric.
            For densities on request: all metrics are then of bytes with uniform noise added, once for each example.

    Returns:
        `negative_elbo`, the first bound, and its two terms `nll` and `kl`; `num_samples`; with several of them
        `importance_weighted`, the second bound. With `bits`, `bits_per_dim` of the first, and with several samples
        `importance_weighted_bits_per_dim`.

    Raises:
        ValueError: for a model without a bound, fewer than one sample, a likelihood for which bits per dimension mean
            nothing on these data, data as in `data_dict`, or an unknown evaluation.

    >>> from gon_jax.models import vgon
    >>> from gon_jax.decoders import conv_decoder
    >>> model = vgon(conv_decoder((8, 8, 1), (3,), base_channels=4, output_activation="none"))
    >>> variables, images = model.init(jax.random.key(0)), np.zeros((5, 8, 8, 1), np.uint8)
    >>> sorted(evaluate_bound(model, variables, images, jax.random.key(1), num_samples=2))
    ['importance_weighted', 'kl', 'negative_elbo', 'nll', 'num_samples']

    References: Burda et al., "Importance Weighted Autoencoders", ICLR 2016, arXiv 1509.00519.
    """
    check_model(model, variables)
    if model.capabilities.bound is None:
        raise ValueError("expected a model with an approximate posterior, got one without a bound; take a vgon")
    num_samples, batch_size = check_count("num_samples", num_samples), check_count("batch_size", batch_size)
    check_key(key)
    x = data_dict(model, data)["x"]
    check_memory(num_samples * (400 + 24 * min(batch_size, len(x))), f"{num_samples:,} draws per example", "take fewer")
    variables, options = _by(evaluation, variables, batch_size, progress)
    likelihood = model.likelihood
    bits = likelihood.measure == "bytes" if bits is None else bits
    some = np.asarray(x if bits and likelihood.measure == "binary" else x[:1])  # that decide whether bits mean anything
    if bits:
        bits_per_dim(likelihood, 0.0, some)  # refuse now
    draw = model.jit(_draw, dequantized=bits and likelihood.measure == "real")

    def bounds(batch):  # in float64
        draws = [jax.device_get(draw(variables, batch, key, k)) for k in range(num_samples)]
        nll, kl, log_weight = (np.asarray(a, np.float64) for a in zip(*draws, strict=True))  # [K, B]
        result = {"negative_elbo": (nll + kl).mean(0), "nll": nll.mean(0), "kl": kl.mean(0)}
        if num_samples > 1:
            result["importance_weighted"] = math.log(num_samples) - np.logaddexp.reduce(log_weight)
        return result

    batches = _mixed({"x": x, "index": np.arange(len(x), dtype=np.uint32)}, evaluation)
    result = in_batches(bounds, batches, **options)
    result = {name: float(values.mean()) for name, values in result.items()} | {"num_samples": num_samples}
    if bits:
        for name, bound in (("", "negative_elbo"), ("importance_weighted_", "importance_weighted")):
            if bound in result:
                result[f"{name}bits_per_dim"] = float(bits_per_dim(likelihood, result[bound], some))
    return result


def _draw(model, variables, batch, key, k, *, dequantized):
    keys = jax.vmap(partial(jax.random.fold_in, key))(batch["index"])
    x = to_unit(batch["x"])
    if dequantized:
        x = jax.vmap(lambda key, x: dequantize(jax.random.fold_in(key, 0), x))(keys, x)
    return model.capabilities.bound(variables, x, jax.vmap(lambda key: jax.random.fold_in(key, 1 + k))(keys))


def compression_errors(
    model: Model,
    variables: Variables,
    train_data: Data,
    data: Data,
    bits: Sequence[int] = (2, 4, 6, 8),
    *,
    encoder: FrozenEncoder | None = None,
) -> list[dict[str, float]]:
    """Return bytes per example against the error of what is decoded from latents of so few bits.

    Each entry of a latent is rounded to one of 2^bits cells of equal width over its range in training; the model and
    these ranges, which all examples share, are not counted, and no entropy coding is done.

    Args:
        model, variables, encoder: as above.
        train_data: examples `[M, ...]` whose latents set the ranges.
        data: examples `[N, ...]` to compress, compared with "target" where there is one.
        bits: per entry, each from 1 to 16.

    Returns:
        A row for each number of bits, and a last one for float32 as it is, of 32: `bits`, `bytes` (of one example,
        rounded up), `squared_error` and `psnr` as from `evaluate`.

    Raises:
        ValueError: for data as in `data_dict`, or bits that are not from 1 to 16.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import mlp_decoder
    >>> model = gon(mlp_decoder((4,), (3,), hidden_dim=8))
    >>> x = np.eye(4, dtype=np.float32)
    >>> rows = compression_errors(model, model.init(jax.random.key(0)), x, x, bits=[4])
    >>> [(row["bits"], row["bytes"]) for row in rows]
    [(4, 2), (32, 12)]
    """
    if not isinstance(bits, Sequence) or isinstance(bits, str):
        raise ValueError(f"expected bits, whole numbers from 1 to 16 in a list, got {shown(bits)}")
    data, encoder = data_dict(model, data), encoder or frozen_encoder(model, variables)
    z_train = encode_dataset(model, variables, train_data, encoder=encoder)
    z = encode_dataset(model, variables, data, encoder=encoder)
    target = data.get("target", data["x"])

    def row(bits, z):
        errors = in_batches(partial(model.jit(_decoding_errors), variables), {"z": z, "target": target})
        means = {name: float(values.mean(dtype=np.float64)) for name, values in errors.items()}
        return {"bits": bits, "bytes": math.ceil(math.prod(model.latent_shape) * bits / 8)} | means

    quantizers = [latents.fit_quantizer(z_train, b) for b in bits]
    return [*(row(q.bits, latents.dequantize(q, latents.quantize(q, z))) for q in quantizers), row(32, z)]


def _decoding_errors(model, variables, batch):
    x_hat, x = model.decode(variables, batch["z"]), to_unit(batch["target"])
    return {"squared_error": squared_errors(x_hat, x), "psnr": psnr(x_hat, x)}
