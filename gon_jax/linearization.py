r"""The fast forms: where every example is encoded from one origin z0, the decoder is linearized there once for all.

With v_b = d loss_b / d output at F(z0) and J = dF/dz at z0, Eq. 7 of the paper is one product with a shared matrix,

    z_b = z0 - step_size * J^T v_b,                                      (`encode_shared`)

and the same linearization gives a second estimator of the code, a damped Gauss-Newton step on the loss, W being its
Fisher information in the output (2 for the squared error) and lambda a damping,

    z_b = z0 - (J^T W J + lambda I)^-1 J^T v_b.                          (`encode_least_squares`)

Both equal what they are said to be, values and derivatives; only the cost differs between the strategies, ways of
applying J^T, that `strategy_costs` compares.

**Batch statistics** couple rows, but the batch of equal rows is a symmetric point: a perturbation whose mean over the
batch is zero moves no statistic to first order. So the linear map splits exactly into two blocks, with v-bar the mean
of v_b over the batch: A on deviations v_b - v-bar, and D on v-bar. A is the Jacobian with the origin's statistics held
while z moves (but differentiated in the parameters), D the Jacobian of a batch of one whose statistics move with z.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.base import Decoder, LikelihoodFn, Params
from gon_jax.encoding import check_batch, encode, losses_of
from gon_jax.likelihoods import squared_error

Strategy = Literal["definition", "pullback", "jacobian", "pointwise"]


def strategy_costs(
    batch_size: int, latent_size: int, *, rows: str = "independent", num_channels: int | None = None
) -> dict[Strategy, float]:
    """Return the cost of a training step in decoder passes per example, for each strategy that is possible.

    A pass costs 1 forward, 1 backward to z, 2 backward to z and parameters, and a differentiated linear map three times
    itself. Not counted: the product with J, `latent_size` times output size, which is small beside a pass.

    | strategy | how J^T is applied to B cotangents | cost |
    |---|---|---|
    | "definition" | one pull-back through B linearizations (`encode`) | 9 |
    | "pullback" | B pull-backs through one linearization | 6 + 3 / B |
    | "jacobian" | J from k forward tangents, then one matrix product | 3 + 3 (k + 1) / B |
    | "pointwise" | J from C pull-backs of N points with a code each, then the same | 3 + 3 (1 + C) / B |

    The bound is 3, a decoder without an encoder. The second and third need rows that are independent, or coupled by
    batch statistics alone; the last a decoder that is pointwise in its coordinates.

    Args:
        batch_size: B.
        latent_size: k, entries of a code.
        rows: as in `Decoder`.
        num_channels: C, outputs per point of a pointwise decoder.

    >>> strategy_costs(64, 32)
    {'definition': 9.0, 'pullback': 6.046875, 'jacobian': 4.546875}
    """
    costs: dict[Strategy, float] = {"definition": 9.0}
    if rows == "unknown":
        return costs
    costs["pullback"] = 6 + 3 / batch_size
    costs["jacobian"] = 3 + 3 * (latent_size + 1) / batch_size
    if num_channels is not None:
        costs["pointwise"] = 3 + 3 * (1 + num_channels) / batch_size
    return costs


def choose_strategy(
    batch_size: int, latent_size: int, *, rows: str = "independent", num_channels: int | None = None
) -> Strategy:
    """Return the strategy of lowest cost; arguments as for `strategy_costs`.

    >>> choose_strategy(64, 32), choose_strategy(64, 256), choose_strategy(64, 256, num_channels=1)
    ('jacobian', 'pullback', 'pointwise')
    >>> choose_strategy(64, 32, rows="unknown")
    'definition'
    """
    costs = strategy_costs(batch_size, latent_size, rows=rows, num_channels=num_channels)
    return min(costs, key=costs.get)


def _output_shape(decoder, params):
    z = jax.ShapeDtypeStruct((1, *decoder.latent_shape), jnp.float32)
    return jax.eval_shape(decoder.plain, params, z).shape[1:]


def _costs_of(decoder, params, batch_size):
    num_channels = None if decoder.pointwise is None else _output_shape(decoder, params)[-1]
    return strategy_costs(batch_size, math.prod(decoder.latent_shape), rows=decoder.rows, num_channels=num_channels)


def strategy_of(decoder: Decoder, params: Params, batch_size: int, strategy: Strategy | None = None) -> Strategy:
    """Return the strategy asked for, if the decoder admits it, or the cheapest.

    Raises:
        ValueError: for a strategy that the decoder does not admit.
    """
    costs = _costs_of(decoder, params, batch_size)
    if strategy is None:
        return min(costs, key=costs.get)
    if strategy not in costs:
        raise ValueError(
            f"expected a strategy of {', '.join(costs)} for this decoder, got {strategy!r}; the fast ones need "
            'rows="independent" or "batch_statistics" in its record, and "pointwise" its pointwise function'
        )
    return strategy


def matrix_strategy(decoder: Decoder, params: Params) -> Strategy:
    """Return the cheaper of the strategies that make the Jacobian as a matrix: one pass a latent, or one a channel."""
    costs = _costs_of(decoder, params, 1)
    return min((strategy for strategy in ("jacobian", "pointwise") if strategy in costs), key=costs.get)


def cotangents(likelihood: LikelihoodFn, output: jax.Array, x: jax.Array) -> jax.Array:
    """Return v, `[B, ...]`: the gradient of each example's loss in the decoder's output, at one shared output `[...]`.

    >>> cotangents(squared_error, jnp.zeros(3), jnp.ones((1, 3)))
    Array([[-2., -2., -2.]], dtype=float32)
    """
    # Not `broadcast_to`, whose transpose is a sum over the leading axis: many times slower than a product on a CPU.
    outputs = (jnp.ones((x.shape[0], 1), output.dtype) @ output.reshape(1, -1)).reshape(-1, *output.shape)
    return jax.grad(lambda o: losses_of(likelihood, o, x).sum())(outputs)


class Encoder(NamedTuple):
    """An encoder at a shared origin: an affine map from cotangents to codes. It lives inside one trace.

    Attributes:
        origin: z0, `[*latent]`.
        output: F(z0), `[...]`.
        apply: the linear map of cotangents `[B, ...]` to `[B, *latent]`; of their deviations from the mean under batch
            statistics.
        apply_to_mean: the same for the mean cotangent `[...]`, to `[*latent]`; `None` where rows are independent.
        matrix: `apply` as a matrix `[*latent, ...]`; `None` where it was not built.
    """

    origin: jax.Array
    output: jax.Array
    apply: Callable[[jax.Array], jax.Array]
    apply_to_mean: Callable[[jax.Array], jax.Array] | None = None
    matrix: jax.Array | None = None

    def codes(self, v: jax.Array, mean_cotangent: jax.Array | None = None) -> jax.Array:
        """Return codes `[B, *latent]` of cotangents `[B, ...]`; under batch statistics with this mean, or their own."""
        if self.apply_to_mean is None:
            return self.origin - self.apply(v)
        mean_cotangent = v.mean(axis=0) if mean_cotangent is None else mean_cotangent
        return self.origin - (self.apply(v - mean_cotangent) + self.apply_to_mean(mean_cotangent))


def _at_origin(decoder, params, origin):
    """Return the decoder of one example as functions of z: statistics held at the origin's, and moving with z."""
    if not decoder.batch_statistics:
        return lambda z: decoder.apply(params, z[None])[0], None
    _, stats = decoder.apply(params, origin[None])  # differentiated in params, held in z
    return (
        lambda z: decoder.apply(params, z[None], stats)[0][0],
        lambda z: decoder.apply(params, z[None])[0][0],
    )


def _jacobian(function, origin):
    """Return `function(origin)` and its Jacobian `[*latent, ...]` from one tangent per latent entry."""
    tangents = jnp.eye(origin.size, dtype=origin.dtype).reshape(origin.size, *origin.shape)
    output, pushforward = jax.linearize(function, origin)
    jacobian = jax.vmap(pushforward)(tangents)
    return output, jacobian.reshape(*origin.shape, *output.shape)


def _pointwise_jacobian(decoder, params, origin):
    """Return the output and its Jacobian of a pointwise decoder from one pull-back per channel: point n moves row n."""
    shape = _output_shape(decoder, params)
    num_points, num_channels = math.prod(shape[:-1]), shape[-1]
    codes = jnp.broadcast_to(origin, (num_points, *origin.shape))
    output, pullback = jax.vjp(partial(decoder.pointwise, params), codes)  # [N, C]
    rows = [pullback(jnp.zeros_like(output).at[:, c].set(1))[0] for c in range(num_channels)]  # each [N, *latent]
    jacobian = jnp.moveaxis(jnp.stack(rows, axis=1), (0, 1), (-2, -1))  # [*latent, N, C]
    return output.reshape(shape), jacobian.reshape(*origin.shape, *shape)


def _jacobian_of(decoder, params, origin, held, strategy):
    return _pointwise_jacobian(decoder, params, origin) if strategy == "pointwise" else _jacobian(held, origin)


def _product(matrix, v):
    """Return the product of `[*latent, ...]` with each row of v `[B, ...]`, `[B, *latent]`."""
    latent_shape = matrix.shape[: matrix.ndim - (v.ndim - 1)]
    rows = v.reshape(v.shape[0], -1) @ matrix.reshape(math.prod(latent_shape), -1).T
    return rows.reshape(-1, *latent_shape)


def gradient_encoder(
    decoder: Decoder,
    params: Params,
    origin: jax.Array,
    *,
    step_size: float | jax.Array = 1.0,
    strategy: Strategy = "jacobian",
) -> Encoder:
    """Return the encoder that makes one gradient step from `origin` (Eq. 7).

    Args:
        decoder: rows independent, or coupled by batch statistics.
        params: its parameters.
        origin: `[*latent]`, normally zeros.
        step_size: as for `encode`.
        strategy: "pullback", "jacobian" or "pointwise".

    >>> linear = Decoder(lambda w, z: z @ w, None, (1,), rows="independent")
    >>> encoder = gradient_encoder(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.zeros(1), step_size=0.5)
    >>> encoder.codes(-2 * jnp.ones((1, 3)))
    Array([[3.]], dtype=float32)
    """
    held, live = _at_origin(decoder, params, origin)
    matrix = None
    if strategy == "pullback":
        output, pullback = jax.vjp(held, origin)
        apply = lambda v: step_size * jax.vmap(pullback)(v)[0]  # noqa: E731
    else:
        output, jacobian = _jacobian_of(decoder, params, origin, held, strategy)
        apply = lambda v: step_size * _product(jacobian, v)  # noqa: E731
        matrix = step_size * jacobian
    apply_to_mean = None if live is None else lambda mean: step_size * jax.vjp(live, origin)[1](mean)[0]
    return Encoder(origin, output, apply, apply_to_mean, matrix)


def _check_fast(decoder, x, origin):
    check_batch(x, jnp.broadcast_to(origin, (x.shape[0], *origin.shape)))
    if decoder.latent_shape != origin.shape:
        raise ValueError(f"expected an origin of the decoder's latent shape {decoder.latent_shape}, got {origin.shape}")


def encode_shared(
    decoder: Decoder,
    params: Params,
    x: jax.Array,
    origin: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    step_size: float | jax.Array = 1.0,
    strategy: Strategy | None = None,
    mean_cotangent: jax.Array | None = None,
) -> jax.Array:
    """Encode a batch from one shared origin: equal to `encode`, values and derivatives, at a fraction of its cost.

    Args:
        decoder: the record; one whose rows are "unknown" is encoded by definition.
        params: its parameters.
        x: data, `[B, ...]`.
        origin: `[*latent]`, shared by all examples.
        likelihood, step_size: as for `encode`.
        strategy: one of `strategy_costs`; `None` takes the cheapest.
        mean_cotangent: `[...]`, used under batch statistics in place of this batch's mean of v: then rows are
            independent

    Returns:
        Latents, `[B, *latent]`.

    Raises:
        ValueError: for a strategy that the decoder does not admit, or a likelihood that is not one number per example.
        TypeError: if `x` or `origin` is not floating point.

    >>> linear = Decoder(lambda w, z: z @ w, None, (1,), rows="independent")
    >>> encode_shared(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.ones((1, 3)), jnp.zeros(1), step_size=0.5)
    Array([[3.]], dtype=float32)
    """
    _check_fast(decoder, x, origin)
    strategy = strategy_of(decoder, params, x.shape[0], strategy)
    if strategy == "definition":
        if mean_cotangent is not None:
            raise ValueError("expected no mean_cotangent with strategy 'definition', got one; it takes the batch's")
        z0 = jnp.broadcast_to(origin, (x.shape[0], *origin.shape))
        return encode(decoder.plain, params, x, z0, likelihood=likelihood, step_size=step_size)
    encoder = gradient_encoder(decoder, params, origin, step_size=step_size, strategy=strategy)
    return encoder.codes(cotangents(likelihood, encoder.output, x), mean_cotangent)
