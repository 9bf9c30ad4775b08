"""Bounds on log p(x), over every example of a set: for models with an approximate posterior."""

import math
from functools import partial

import jax
import numpy as np

from gon_jax.base import Model, Variables
from gon_jax.data import check_images, to_unit
from gon_jax.likelihoods import bits_per_dim, dequantize
from gon_jax.metrics import Evaluation, in_batches, with_evaluation


@partial(jax.jit, static_argnums=(0, 1))
def _draw(model, dequantized, variables, images, index, key, sample):
    keys = jax.vmap(partial(jax.random.fold_in, key))(index)
    x = to_unit(images)
    if dequantized:
        x = jax.vmap(lambda key, x: dequantize(jax.random.fold_in(key, 0), x))(keys, x)
    return model.bound(variables, x, jax.vmap(lambda key: jax.random.fold_in(key, 1 + sample))(keys))


def evaluate_bound(
    model: Model,
    variables: Variables,
    images,
    key: jax.Array,
    *,
    num_samples: int = 1,
    bits: bool | None = None,
    evaluation: Evaluation = "running",
    batch_size: int = 64,
    progress: str | None = None,
) -> dict[str, float]:
    r"""Return the mean over images of bounds on -log p(x), in nats.

    With K draws z_k of q(z given x) and w_k = p(x given z_k) p(z_k) / q(z_k given x), two numbers that are on average
    at least -log p(x), the second the nearer to it the more draws,

    $$ -\frac1K \sum_k \log p(x | z_k) + \mathrm{KL}(q, p), \qquad -\log \frac1K \sum_k w_k. $$

    Noise is a function of the key, an image's place in the set and k: with "running", an image's numbers don't depend
    on the batch that it is in.

    Args:
        model: a model with a `bound`.
        variables: its variables.
        images: `[N, ...]`, uint8 or floats in [0, 1].
        key: a typed key.
        num_samples: K.
        bits: report bits per dimension too; by default for likelihoods of bytes, where that changes no other figure. On
            request for densities: they are then evaluated on bytes with uniform noise added, once an image, in all
            figures.
        evaluation, batch_size, progress: as for `gon_jax.metrics.evaluate`.

    Returns:
        `negative_elbo`, the first bound, and its two terms `nll` and `kl`; `num_samples`; with several of them
        `importance_weighted`, the second bound. With `bits`, `bits_per_dim` of the first, and with several samples
        `importance_weighted_bits_per_dim`.

    Raises:
        ValueError: for a model without a bound, fewer than one sample, a likelihood of which bits per dimension mean
            nothing on these images, images of another shape than the model's or out of range, or an unknown evaluation.

    >>> from gon_jax import Decoder
    >>> from gon_jax.models import vgon
    >>> linear = Decoder(lambda w, z: (z @ w).reshape(-1, 1, 3, 1), lambda key: jax.random.normal(key, (2, 3)), (2,))
    >>> model = vgon(linear)
    >>> variables, images = model.init(jax.random.key(0)), np.zeros((5, 1, 3, 1), np.uint8)
    >>> sorted(evaluate_bound(model, variables, images, jax.random.key(1), num_samples=2))
    ['importance_weighted', 'kl', 'negative_elbo', 'nll', 'num_samples']

    References: Burda et al., "Importance Weighted Autoencoders", ICLR 2016, arXiv 1509.00519.
    """
    if model.bound is None:
        raise ValueError("expected a model with an approximate posterior, got one without a bound; take a vgon")
    if num_samples < 1:
        raise ValueError(f"expected at least one sample, got num_samples={num_samples}")
    check_images(images, model.data_shape)
    variables = with_evaluation(variables, evaluation)
    images, measure = np.asarray(images), model.likelihood.measure
    if bits is None:
        bits = measure == "bytes"
    if bits:
        bits_per_dim(model.likelihood, 0.0, images)  # refuse now
    dequantized = bits and measure == "real"

    def of_batch(index):  # [B] -> [B], in float64
        draw = partial(_draw, model, dequantized, variables, images[index], index, key)
        draws = jax.device_get([draw(sample) for sample in range(num_samples)])
        nll, kl, log_weight = (np.asarray(a, np.float64) for a in zip(*draws, strict=True))  # [K, B]
        figures = {"negative_elbo": (nll + kl).mean(0), "nll": nll.mean(0), "kl": kl.mean(0)}
        if num_samples > 1:
            figures["importance_weighted"] = math.log(num_samples) - np.logaddexp.reduce(log_weight)
        return figures

    rows = np.arange(len(images), dtype=np.uint32)
    pad = evaluation == "running"
    figures = in_batches(of_batch, rows, batch_size=batch_size, pad=pad, progress=progress)
    result = {name: float(values.mean()) for name, values in figures.items()} | {"num_samples": num_samples}
    if bits:
        result["bits_per_dim"] = float(bits_per_dim(model.likelihood, result["negative_elbo"], images))
        if num_samples > 1:
            weighted = bits_per_dim(model.likelihood, result["importance_weighted"], images)
            result["importance_weighted_bits_per_dim"] = float(weighted)
    return result
