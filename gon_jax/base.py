"""The records that everything else is made of: a decoder, a model as pure functions, and what they compute with."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.likelihoods import Likelihood

Params = Any
Stats = Any
DecoderFn = Callable[..., Any]
LikelihoodFn = Callable[[jax.Array, jax.Array], jax.Array]
Rows = Literal["unknown", "independent", "batch_statistics"]
Batch = dict[str, jax.Array]


class Decoder(NamedTuple):
    """A decoder and what the fast forms must know of it.

    Attributes:
        apply: `apply(params, z [B, *latent]) -> output [B, ...]`; or, where `rows` is "batch_statistics",
            `apply(params, z, stats=None) -> (output, stats)`, where `None` means "use this batch's statistics" and the
            statistics used are returned. Given statistics make rows independent.
        init: `init(key) -> params`.
        latent_shape: `*latent`, `(k,)` or `(h, w, c)`.
        rows: what couples the rows of a batch: nothing ("independent"), or means over the batch of the form above
            ("batch_statistics"). It is your word, and the fast forms rely on it; "unknown" is encoded by definition.
            `gon_jax.compare_with_definition` puts the word to the test.
        pointwise: for a decoder that computes each of its N points (pixels, say) from the code and that point's
            coordinates alone: `pointwise(params, z [N, *latent]) -> [N, C]`, where each point has a code of its own.
            The output `[B, ..., C]` of `apply` is the same points, all with one code. `None` for any other decoder.
        coordinates: `[*spatial, d]`, the points of a decoder that is a function of coordinates; `None` for any other.
        at: `coordinates [*spatial, d] -> Decoder`, the same function, of the same parameters, at other points.

    >>> linear = Decoder(lambda w, z: z @ w, lambda key: jax.random.normal(key, (2, 3)), (2,), rows="independent")
    >>> linear.apply(linear.init(jax.random.key(0)), jnp.zeros((5, 2))).shape
    (5, 3)
    """

    apply: DecoderFn
    init: Callable[[jax.Array], Params]
    latent_shape: tuple[int, ...]
    rows: Rows = "unknown"
    pointwise: DecoderFn | None = None
    coordinates: jax.Array | None = None
    at: Callable[[jax.Array], "Decoder"] | None = None

    @property
    def batch_statistics(self) -> bool:
        """Whether `apply` takes and returns statistics."""
        return self.rows == "batch_statistics"

    def forward(self, params: Params, z: jax.Array, stats: Stats = None) -> tuple[jax.Array, Stats]:
        """Return the output `[B, ...]` and the statistics of this pass, `None` where rows have none.

        Args:
            params: the decoder's.
            z: latents, `[B, *latent]`.
            stats: as for `apply`: `None` is "this batch's"; what has no statistics ignores them.

        >>> linear = Decoder(lambda w, z: z @ w, None, (2,), rows="independent")
        >>> linear.forward(jnp.ones((2, 3)), jnp.ones((1, 2)))
        (Array([[2., 2., 2.]], dtype=float32), None)
        """
        return self.apply(params, z, stats) if self.batch_statistics else (self.apply(params, z), None)

    def plain(self, params: Params, z: jax.Array) -> jax.Array:
        """Return the output alone; statistics, where there are any, are this batch's."""
        return self.forward(params, z)[0]


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
        params: what is optimized, any pytree.
        stats: averages over training batches that evaluation uses ("running"); `None` asks the model to use the batch
            at hand ("batch", the release's protocol). Models without batch statistics ignore it.
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
        freeze: `Variables -> FrozenEncoder`, an encoder that is one matrix product a batch and equals `encode` with
            these variables; `None` for a model that has none.
        sample: `(Variables, key, num) -> [num, ...]`, the mean of p(x given z) at draws from the model's own prior;
            `None` for a model without one (fit one to its codes: `gon_jax.latents`).
        bound: `(Variables, x [B, ...], keys [B]) -> Bound`, for models with an approximate posterior; else `None`. A
            row depends on its own key alone.
        at: `(coordinates [*spatial, d], weights=None) -> Model`, the same model, of the same variables, of data at
            other points, for implicit models; else `None`. Weights `[*spatial]` or `[B, *spatial]` are of the points in
            the inner loss, 0 where nothing is known; only their ratios matter.
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
    freeze: Callable[[Variables], Any] | None = None
    sample: Callable[[Variables, jax.Array, int], jax.Array] | None = None
    bound: Callable[[Variables, jax.Array, jax.Array], Bound] | None = None
    at: Callable[..., "Model"] | None = None
    classify: Callable[[Variables, jax.Array], jax.Array] | None = None
    latents: Callable[[jax.Array, int], jax.Array] | None = None
