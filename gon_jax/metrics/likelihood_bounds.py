"""Bounds on the likelihood of data under a model with an approximate posterior."""

import math
from functools import partial

import jax
import numpy as np

from gon_jax.arguments import check_count, check_key
from gon_jax.base import Model, Variables
from gon_jax.data import to_unit
from gon_jax.inference import Data, check_model, data_dict, in_batches
from gon_jax.likelihoods import bits_per_dim, dequantize
from gon_jax.memory import check_memory
from gon_jax.metrics.passes import Evaluation, in_mixed_order, options_by

__all__ = ["evaluate_bound"]


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
        variables, data, evaluation, batch_size, progress: as in `gon_jax.metrics`.
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
    variables, options = options_by(evaluation, variables, batch_size, progress)
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

    batches = in_mixed_order({"x": x, "index": np.arange(len(x), dtype=np.uint32)}, evaluation)
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
