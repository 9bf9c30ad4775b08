"""The record that every model is: a handful of pure functions, all that training and evaluation know of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from gon_jax.linearisation import FrozenEncoder

Batch = dict[str, jax.Array]


class Variables(NamedTuple):
    """What a model computes with.

    Attributes:
      params: what is optimised, any pytree.
      stats: averages over training batches that evaluation uses ("running"); `None` asks the model to use the batch at
        hand ("batch", the release's protocol). Models without batch statistics ignore it.
    """

    params: Any
    stats: Any = None


class Model(NamedTuple):
    """A model as pure functions. B denotes the batch.

    Attributes:
      init: `key -> Variables`.
      loss: `(Variables, batch, key) -> (scalar, stats)`; the mean over the batch of each example's loss, and the
        statistics of this batch that training averages (`None` where there are none). `batch["x"]` is `[B, ...]`.
      encode: `(Variables, x [B, ...]) -> z [B, *latent]`.
      decode: `(Variables, z [B, *latent]) -> x_hat [B, ...]`, the mean of p(x given z).
      data_shape: `...`, the shape of one example.
      latent_shape: `*latent`.
      freeze: `Variables -> FrozenEncoder`, an encoder that is one matrix product a batch and equals `encode` with these
        variables; `None` for a model that has none.
    """

    init: Callable[[jax.Array], Variables]
    loss: Callable[[Variables, Batch, jax.Array], tuple[jax.Array, Any]]
    encode: Callable[[Variables, jax.Array], jax.Array]
    decode: Callable[[Variables, jax.Array], jax.Array]
    data_shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    freeze: Callable[[Variables], FrozenEncoder] | None = None
