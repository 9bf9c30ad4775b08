r"""The fast forms: where all examples are encoded from one origin z0, the decoder is linearized there once.

With v_b = d loss_b / d output at F(z0) and J = dF/dz at z0, Eq. 7 of the paper is one product with a shared matrix,

    z_b = z0 - step_size * J^T v_b.                                                       (`encode_shared`)

This equals `encode`, values and derivatives; only the cost differs between strategies, the ways of applying J^T that
`strategy_costs` compares. `gauss_newton.py` makes another estimator from the same linearization.

**Batch statistics** couple examples, but a batch of equal examples is a symmetric point: a perturbation whose mean over
the batch is zero moves no statistic to first order. So the linear map splits exactly into two blocks, with v-bar the
mean of v_b over the batch: A on deviations v_b - v-bar, and D on v-bar. A is the Jacobian with the origin's statistics
held while z moves (but differentiated in the parameters), D the Jacobian of a batch of one with its own statistics.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.base import Decoder, LikelihoodFn, Params, match_output
from gon_jax.encoding import check_batch, encode, loss_gradient, losses_of
from gon_jax.likelihoods import squared_error
from gon_jax.ops.bilinear import copies
from gon_jax.ops.spreading import vmap_spread
from gon_jax.ops.varying import vary_like, varying_axes, vjp

__all__ = [
    "AffineEncoder",
    "apply_matrix",
    "at_origin",
    "Strategy",
    "choose_strategy",
    "cotangents",
    "encode_shared",
    "gradient_encoder",
    "decoder_jacobian",
    "jacobian_at",
    "matrix_strategy",
    "possible_strategies",
    "strategy_costs",
]

Strategy = Literal["definition", "pullback", "jacobian", "pointwise"]

SYMBOLIC_BATCH_SIZE = 64  # what a batch of any size (`jax.export`) counts as where a strategy is chosen


def strategy_costs(
    batch_size: int, latent_size: int, *, independent: bool = True, num_channels: int | None = None
) -> dict[Strategy, float]:
    """Return the cost of a training step in decoder passes per example, for each strategy that is possible.

    A pass costs 1 forward, 1 backward to z, 2 backward to z and parameters, and a differentiated linear map three times
    itself. Not counted: the product with J, `latent_size` times output size, which is small beside a pass.

    | strategy | how J^T is applied to B cotangents | cost |
    |---|---|---|
    | "definition" | one pull-back through B linearizations (`encode`) | 9 |
    | "pullback" | B pull-backs through one linearization | 6 + 3 / B |
    | "jacobian" | J from k forward tangents, then one matrix product | 3 + 3 (k + 1) / B |
    | "pointwise" | J from C pull-backs of N points with a latent each, then the same | 3 + 3 (1 + C) / B |

    The bound is 3, a decoder without an encoder. The second and third need examples that are independent, or coupled by
    batch statistics alone; the last needs a decoder that is pointwise in its coordinates.

    Args:
        batch_size: B.
        latent_size: k, entries of a latent.
        independent: as in `Decoder`.
        num_channels: C, outputs per point of a pointwise decoder.

    >>> strategy_costs(64, 32)
    {'definition': 9.0, 'pullback': 6.046875, 'jacobian': 4.546875}
    """
    costs: dict[Strategy, float] = {"definition": 9.0}
    if not independent:
        return costs
    costs["pullback"] = 6 + 3 / batch_size
    costs["jacobian"] = 3 + 3 * (latent_size + 1) / batch_size
    if num_channels is not None:
        costs["pointwise"] = 3 + 3 * (1 + num_channels) / batch_size
    return costs


def _output_shape(decoder, params):
    z = jax.ShapeDtypeStruct((1, *decoder.latent_shape), jnp.float32)
    return jax.eval_shape(decoder.output, params, z).shape[1:]


def possible_strategies(decoder: Decoder, params: Params, batch_size: int) -> dict[Strategy, float]:
    """Return the strategies that a decoder admits, with their costs; see `strategy_costs`.

    A symbolic batch size, as `jax.export` has it, counts as 64.
    """
    batch_size = batch_size if isinstance(batch_size, int) else SYMBOLIC_BATCH_SIZE
    num_channels = None if decoder.pointwise is None else _output_shape(decoder, params)[-1]
    latent_size = math.prod(decoder.latent_shape)
    return strategy_costs(batch_size, latent_size, independent=decoder.independent, num_channels=num_channels)


def choose_strategy(decoder: Decoder, params: Params, batch_size: int, strategy: Strategy | None = None) -> Strategy:
    """Return the strategy asked for, if the decoder admits it, or the one of lowest cost.

    Raises:
        ValueError: for a strategy that the decoder does not admit.

    >>> linear = Decoder(lambda w, z, stats=None: (z @ w, None), None, (2,), independent=True)
    >>> choose_strategy(linear, jnp.ones((2, 5)), 64), choose_strategy(linear, jnp.ones((2, 5)), 1)
    ('jacobian', 'definition')
    """
    costs = possible_strategies(decoder, params, batch_size)
    if strategy is None:
        return min(costs, key=lambda name: costs[name])
    if strategy not in costs:
        raise ValueError(
            f"expected strategy {' or '.join(costs)} for this decoder, got {strategy!r}; the fast ones need "
            'Decoder(..., independent=True), and "pointwise" its pointwise function'
        )
    return strategy


def matrix_strategy(decoder: Decoder, params: Params) -> Strategy:
    """Return the cheaper strategy that makes J as a matrix: a tangent per latent, or a pull-back per channel."""
    costs = possible_strategies(decoder, params, 1)
    return min((strategy for strategy in ("jacobian", "pointwise") if strategy in costs), key=lambda name: costs[name])


def cotangents(likelihood: LikelihoodFn, output: jax.Array, x: jax.Array) -> jax.Array:
    """Return v, `[B, ...]`: the gradient of each example's loss in the decoder's output, at one shared output `[...]`.

    >>> cotangents(squared_error, jnp.zeros(3), jnp.ones((1, 3)))
    Array([[-2., -2., -2.]], dtype=float32)
    """
    outputs = vary_like(copies(output, x.shape[0]), x)
    return loss_gradient(lambda o: losses_of(likelihood, o, x), outputs)


class AffineEncoder(NamedTuple):
    """An encoder at a shared origin: an affine map from cotangents to latents. It lives inside one trace.

    Attributes:
        origin: z0, `[*latent]`.
        output: F(z0), `[...]`.
        apply: the linear map of cotangents `[B, ...]` to `[B, *latent]`; of their deviations from the mean under batch
            statistics.
        apply_to_mean: the same for the mean cotangent `[...]`, to `[*latent]`; `None` without batch statistics.
        matrix: `apply` as a matrix `[*latent, ...]`; `None` where it was not built.
    """

    origin: jax.Array
    output: jax.Array
    apply: Callable[[jax.Array], jax.Array]
    apply_to_mean: Callable[[jax.Array], jax.Array] | None = None
    matrix: jax.Array | None = None

    def encode(self, v: jax.Array, mean_cotangent: jax.Array | None = None) -> jax.Array:
        """Return latents `[B, *latent]` for cotangents `[B, ...]`.

        Args:
            v: from `cotangents`.
            mean_cotangent: `[...]`, used under batch statistics, so that a latent does not depend on its batch; by
                default the mean of `v`.
        """
        if self.apply_to_mean is None:
            return self.origin[None] - self.apply(v)
        mean_cotangent = v.mean(axis=0) if mean_cotangent is None else mean_cotangent.astype(v.dtype)
        step = self.apply(v - mean_cotangent[None]) + self.apply_to_mean(mean_cotangent)[None]
        return self.origin[None] - step


def at_origin(
    decoder: Decoder, params: Params, origin: jax.Array
) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array] | None]:
    """Return the decoder of one example as functions of z: with the origin's batch statistics held, and with its own.

    The second is `None` without batch statistics. The held statistics are differentiated in `params`, not in z.
    """
    if not decoder.batch_statistics:
        return lambda z: decoder.output(params, z[None])[0], None
    _, stats = decoder.apply(params, origin[None])
    return (lambda z: decoder.output(params, z[None], stats)[0], lambda z: decoder.output(params, z[None])[0])


def jacobian_at(function: Callable[[jax.Array], jax.Array], origin: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return `function(origin)` `[...]` and its Jacobian `[*latent, ...]`, from one tangent per latent entry.

    Inside `jax.jit` with `jax.set_mesh`, the tangents are shared between the mesh's devices.

    Raises:
        TypeError: for a function with a derivative in reverse mode alone.

    >>> jacobian_at(lambda z: 3 * z, jnp.ones(2))[1]
    Array([[3., 0.],
           [0., 3.]], dtype=float32)
    """
    tangents = jnp.eye(origin.size, dtype=origin.dtype).reshape(origin.size, *origin.shape)
    try:
        output, pushforward = jax.linearize(function, origin)
        jacobian = vmap_spread(pushforward, vary_like(tangents, origin))
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise TypeError(
            "expected a decoder with derivatives in forward mode, got one with a jax.custom_vjp function: take "
            'strategy "pullback" or "definition", or write it as a jax.custom_jvp'
        ) from error
    return output, jacobian.reshape(*origin.shape, *output.shape)


def decoder_jacobian(
    decoder: Decoder, params: Params, origin: jax.Array, strategy: Strategy | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return F(z0) `[...]` and J `[*latent, ...]`, with the origin's batch statistics held.

    Args:
        decoder, params, origin: as for `gradient_encoder`.
        strategy: "jacobian" or "pointwise"; by default the cheaper one.
    """
    strategy = matrix_strategy(decoder, params) if strategy is None else strategy
    if strategy != "pointwise" or decoder.pointwise is None:
        return jacobian_at(at_origin(decoder, params, origin)[0], origin)
    shape = _output_shape(decoder, params)  # one pull-back per channel, since point n moves the latent of point n alone
    num_points, num_channels = math.prod(shape[:-1]), shape[-1]
    latents = jnp.broadcast_to(origin, (num_points, *origin.shape))
    output, pullback = vjp(partial(decoder.pointwise, params), latents, params)  # [N, C]
    rows = [pullback(jnp.zeros_like(output).at[:, c].set(1))[0] for c in range(num_channels)]  # each [N, *latent]
    jacobian = jnp.moveaxis(jnp.stack(rows, axis=1), (0, 1), (-2, -1))  # [*latent, N, C]
    return output.reshape(shape), jacobian.reshape(*origin.shape, *shape)


def apply_matrix(matrix: jax.Array, v: jax.Array) -> jax.Array:
    """Return the product of a matrix `[*latent, ...]` with each example of v `[B, ...]`, `[B, *latent]`.

    It is small beside a decoder pass, and its rounding would be that of the latents: never TF32.

    >>> apply_matrix(jnp.array([[1.0, 2.0]]), jnp.ones((1, 2)))
    Array([[3.]], dtype=float32)
    """
    latent_shape = matrix.shape[: matrix.ndim - (v.ndim - 1)]
    columns = matrix.reshape(math.prod(latent_shape), -1).T
    rows = jnp.matmul(v.reshape(v.shape[0], -1), columns, precision="highest")
    return rows.reshape(-1, *latent_shape)


def gradient_encoder(
    decoder: Decoder,
    params: Params,
    origin: jax.Array,
    *,
    step_size: float | jax.Array = 1.0,
    strategy: Strategy = "jacobian",
) -> AffineEncoder:
    """Return the encoder that takes one gradient step from `origin` (Eq. 7).

    Args:
        decoder: an independent one.
        params: its parameters.
        origin: `[*latent]`, normally zeros.
        step_size: as for `encode`.
        strategy: "pullback", "jacobian" or "pointwise".

    >>> linear = Decoder(lambda w, z, stats=None: (z @ w, None), None, (1,), independent=True)
    >>> encoder = gradient_encoder(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.zeros(1), step_size=0.5)
    >>> encoder.encode(-2 * jnp.ones((1, 3)))
    Array([[3.]], dtype=float32)
    """
    held, live = at_origin(decoder, params, origin)
    matrix = None
    if strategy == "pullback":
        output, pullback = vjp(held, origin, params)

        def apply(v: jax.Array) -> jax.Array:  # cotangents may vary over a mesh where the origin does not
            own = pullback if varying_axes(v) <= varying_axes(output) else vjp(held, origin, v)[1]
            return step_size * jax.vmap(own)(v)[0]

    else:
        output, jacobian = decoder_jacobian(decoder, params, origin, strategy)
        matrix = step_size * jacobian

        def apply(v: jax.Array) -> jax.Array:
            return step_size * apply_matrix(jacobian, v)

    if live is None:
        return AffineEncoder(origin, output, apply, None, matrix)

    def apply_to_mean(mean):
        return step_size * vjp(live, origin, params, mean)[1](mean)[0]

    return AffineEncoder(origin, output, apply, apply_to_mean, matrix)


def encode_shared(
    decoder: Decoder,
    params: Params,
    x: jax.Array,
    origin: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    step_size: float | jax.Array = 1.0,
    strategy: Strategy | None = None,
) -> jax.Array:
    """Encode a batch from one shared origin: equal to `encode`, values and derivatives, at a fraction of its cost.

    Args:
        decoder: a record; one that is not `independent` is encoded by definition.
        params: its parameters.
        x: data, `[B, ...]`.
        origin: `[*latent]`, shared by all examples.
        likelihood, step_size: as for `encode`.
        strategy: one of `strategy_costs`; `None` takes the cheapest.

    Returns:
        Latents, `[B, *latent]`.

    Raises:
        ValueError: for a strategy that the decoder does not admit, or a likelihood that is not one number per example.
        TypeError: if `x` or `origin` is not floating point.

    >>> linear = Decoder(lambda w, z, stats=None: (z @ w, None), None, (1,), independent=True)
    >>> encode_shared(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.ones((1, 3)), jnp.zeros(1), step_size=0.5)
    Array([[3.]], dtype=float32)
    """
    z0 = jnp.broadcast_to(origin, (x.shape[0], *origin.shape))
    check_batch(x, z0)
    if decoder.latent_shape != origin.shape:
        raise ValueError(f"expected an origin of the decoder's latent shape {decoder.latent_shape}, got {origin.shape}")
    decoder = match_output(decoder, likelihood)
    strategy = choose_strategy(decoder, params, x.shape[0], strategy)
    if strategy == "definition":
        return encode(decoder.output, params, x, z0, likelihood=likelihood, step_size=step_size)
    encoder = gradient_encoder(decoder, params, origin, step_size=step_size, strategy=strategy)
    return encoder.encode(cotangents(likelihood, encoder.output, x))
