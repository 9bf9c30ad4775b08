"""Averages of batch statistics for parameters that were not trained here: one pass over data, nothing else changed."""

import jax
import numpy as np
import optax

from gon_jax.arguments import check_count, check_key, check_kind
from gon_jax.base import Batch, Model, Params, Variables
from gon_jax.data import epoch_order, to_unit
from gon_jax.inference import Data, data_dict
from gon_jax.progress import bar

__all__ = ["average_statistics"]


def average_statistics(
    model: Model, params: Params, data: Data, key: jax.Array, *, batch_size: int = 64, progress: str | None = None
) -> Variables:
    """Return parameters with averaged statistics: the plain mean of those that training steps on batches would see.

    For a single batch they are its batch statistics: latents and reconstructions by them are then those that the
    authors' implementation gives of that batch, where no noise is drawn.

    Args:
        model: any whose loss needs no latents of the training data.
        params: its own.
        data: examples `[N, ...]`, or a dict of arrays, as for `fit`.
        key: typed key, of the examples' order and of noise.
        batch_size: most examples per batch; batches have one size, and fewer examples than there are batches are left
            out.
        progress: the label of a progress bar, or None for no bar.

    Raises:
        ValueError: for data as in `gon_jax.inference.data_dict`.
        TypeError: for what is no model, or no typed key.

    >>> import jax.numpy as jnp
    >>> from gon_jax.decoders import conv_decoder
    >>> from gon_jax.models import gon
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> params = model.init(jax.random.key(0)).params
    >>> x = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> variables = average_statistics(model, params, x, jax.random.key(2))
    >>> jnp.allclose(model.encode(variables, x), model.encode(Variables(params), x), atol=1e-6)
    Array(True, dtype=bool)
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    check_key(key)
    data, batch_size = data_dict(model, data), check_count("batch_size", batch_size)
    variables = jax.eval_shape(model.init, key)._replace(params=params)
    if variables.stats is None:
        return variables
    num = len(data["x"])
    order_key, noise_key = jax.random.split(key)
    batch_size = num // -(-num // batch_size)
    average = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), variables.stats)
    order = np.asarray(epoch_order(order_key, 0, num, batch_size))
    for i, index in enumerate(bar(order, progress, delay=1)):
        batch = {name: array[index] for name, array in data.items()}
        average = model.jit(_average)(params, average, batch, jax.random.fold_in(noise_key, i), i)
    return Variables(params, average)


def _average(model: Model, params: Params, average, batch: Batch, key: jax.Array, i: jax.Array):
    """Return the mean of i + 1 batches' statistics from that of i."""
    batch = {name: to_unit(array) if array.dtype == np.uint8 else array for name, array in batch.items()}
    stats = model.loss(Variables(params), {"step": i} | batch, key)[1]
    return optax.incremental_update(stats, average, 1 / (i + 1))
