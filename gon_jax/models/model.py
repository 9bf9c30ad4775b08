"""The record that every model is: a handful of pure functions, all that training and evaluation know of it."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.likelihoods import Likelihood
from gon_jax.linearisation import FrozenEncoder
from gon_jax.origin import Decoder

Batch = dict[str, jax.Array]


def data_shape_of(decoder: Decoder, likelihood: Likelihood) -> tuple[int, ...]:
    """Return the shape of one example of the data that a decoder and a likelihood are for."""
    z = jnp.zeros((1, *decoder.latent_shape))
    output = jax.eval_shape(lambda key: decoder.plain(decoder.init(key), z), jax.random.key(0))
    return jax.eval_shape(likelihood.mean, output).shape[1:]


def integral_weights(decoder: Decoder, coordinates: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Return what each point counts in a loss that stands for that over a decoder's own N points, `[..., *spatial, 1]`.

    Args:
      decoder: with coordinates, N points.
      coordinates: `[*spatial, d]`, n points.
      weights: `[*spatial]` or `[B, *spatial]`, scaled to a sum of N over the points of an example; by default N / n.

    Raises:
      ValueError: for weights that leave no point of an example, where they are not traced.

    >>> points = jnp.zeros((4, 1))
    >>> integral_weights(Decoder(None, None, (1,), coordinates=points), points[:2], jnp.array([3.0, 1.0]))[:, 0]
    Array([3., 1.], dtype=float32)
    """
    num_all, spatial = math.prod(decoder.coordinates.shape[:-1]), coordinates.shape[:-1]
    weights = jnp.ones(spatial) if weights is None else weights
    axes = tuple(range(weights.ndim - len(spatial), weights.ndim))
    total = weights.sum(axes, keepdims=True)
    if not isinstance(total, jax.core.Tracer) and not (total > 0).all():
        raise ValueError("expected weights of at least one point of each example above 0, got none; nothing is known")
    return (weights * (num_all / total))[..., None]


class Variables(NamedTuple):
    """What a model computes with.

    Attributes:
      params: what is optimised, any pytree.
      stats: averages over training batches that evaluation uses ("running"); `None` asks the model to use the batch at
        hand ("batch", the release's protocol). Models without batch statistics ignore it.
    """

    params: Any
    stats: Any = None


class Bound(NamedTuple):
    """One draw of a bound on log p(x), each `[B]`, in nats.

    Attributes:
      nll: -log p(x given z) at the draw of z.
      kl: from q(z given x) to the prior, in closed form.
      log_weight: log p(x given z) + log p(z) - log q(z given x) at the draw, of which -ELBO is minus the mean and the
        importance-weighted bound the logarithm of a mean.
    """

    nll: jax.Array
    kl: jax.Array
    log_weight: jax.Array


class Model(NamedTuple):
    """A model as pure functions. B denotes the batch.

    Attributes:
      init: `key -> Variables`.
      loss: `(Variables, batch, key) -> (scalar, stats)`; the mean over the batch of each example's loss, and the
        statistics of this batch that training averages (`None` where there are none). `batch["x"]` is `[B, ...]`;
        `batch["step"]`, where it is there, the number of steps made, for schedules.
      encode: `(Variables, x [B, ...]) -> z [B, *latent]`.
      decode: `(Variables, z [B, *latent]) -> x_hat [B, ...]`, the mean of p(x given z).
      data_shape: `...`, the shape of one example.
      latent_shape: `*latent`.
      likelihood: p(x given z), which knows whether bits per dimension mean something.
      freeze: `Variables -> FrozenEncoder`, an encoder that is one matrix product a batch and equals `encode` with these
        variables; `None` for a model that has none.
      sample: `(Variables, key, num) -> [num, ...]`, the mean of p(x given z) at draws from the model's own prior;
        `None` for a model without one (fit one to its codes: `gon_jax.latents`).
      bound: `(Variables, x [B, ...], keys [B]) -> Bound`, for models with an approximate posterior; else `None`. A row
        depends on its own key alone.
      at: `(coordinates [*spatial, d], weights=None) -> Model`, the same model, of the same variables, of data at other
        points, for implicit models; else `None`. Weights `[*spatial]` or `[B, *spatial]` are of the points in the inner
        loss, 0 where nothing is known; only their ratios matter.
      classify: `(Variables, x [B, ...]) -> logits [B, num_classes]`, for models with a classifier; else `None`.
      latents: `(key, num) -> [num, *latent]`, what the latents of the training data start from, for models that keep
        one for each; else `None`. Training gives the loss those of the batch as `batch["z"]`, and trains them too.
    """

    init: Callable[[jax.Array], Variables]
    loss: Callable[[Variables, Batch, jax.Array], tuple[jax.Array, Any]]
    encode: Callable[[Variables, jax.Array], jax.Array]
    decode: Callable[[Variables, jax.Array], jax.Array]
    data_shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    likelihood: Likelihood
    freeze: Callable[[Variables], FrozenEncoder] | None = None
    sample: Callable[[Variables, jax.Array, int], jax.Array] | None = None
    bound: Callable[[Variables, jax.Array, jax.Array], Bound] | None = None
    at: Callable[..., "Model"] | None = None
    classify: Callable[[Variables, jax.Array], jax.Array] | None = None
    latents: Callable[[jax.Array, int], jax.Array] | None = None
