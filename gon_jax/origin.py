"""The idea: the code of a datum is minus the gradient of its loss at the origin of latent space.

`encode`, `reconstruct` and `gon_loss` are the definition, by `jax.grad`, right for any decoder. Beside them stands
`encode_shared`, exact and cheaper where every example starts from the same origin z0, as it does in a GON: the
decoder is linearised there once, and what is left per example is one product with the transposed Jacobian,

    z_b = z0 - step_size * J^T v_b,    v_b = d loss_b / d output at F(z0),    J = dF/dz at z0.

Notation: B examples; `x` `[B, ...]`; latents `[B, *latent]`; an origin `[*latent]`; k = latent size.
References: Bond-Taylor & Willcocks, "Gradient Origin Networks", ICLR 2021, arXiv 2007.02798 ("the paper").
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.likelihoods import squared_error

Params = Any
Stats = Any
DecoderFn = Callable[..., Any]
LikelihoodFn = Callable[[jax.Array, jax.Array], jax.Array]
Strategy = Literal["pullback", "jacobian"]


class Decoder(NamedTuple):
    """A decoder and what the fast forms must know of it.

    Attributes:
      apply: `apply(params, z [B, *latent]) -> output [B, ...]`, rows independent; or, with `batch_statistics`,
        `apply(params, z, stats=None) -> (output, stats)`, where `None` means "use this batch's statistics" and the
        statistics used are returned. Given statistics make rows independent.
      init: `init(key) -> params`.
      latent_shape: `*latent`, `(k,)` or `(h, w, c)`.
      batch_statistics: which of the two forms `apply` has.

    >>> linear = Decoder(lambda w, z: z @ w, lambda key: jax.random.normal(key, (2, 3)), (2,))
    >>> linear.apply(linear.init(jax.random.key(0)), jnp.zeros((5, 2))).shape
    (5, 3)
    """

    apply: DecoderFn
    init: Callable[[jax.Array], Params]
    latent_shape: tuple[int, ...]
    batch_statistics: bool = False

    def plain(self, params: Params, z: jax.Array) -> jax.Array:
        """Return the output alone; statistics, where there are any, are this batch's."""
        return self.apply(params, z)[0] if self.batch_statistics else self.apply(params, z)


def _losses(likelihood, output, x):
    losses = likelihood(output, x)
    if losses.shape != x.shape[:1]:
        raise ValueError(
            f"expected one loss per example, shape {x.shape[:1]}, got {losses.shape}; sum over the data axes and not "
            "over the batch (a code must not depend on the batch it came in)"
        )
    return losses


def _check_batch(x, z0):
    if not (jnp.issubdtype(x.dtype, jnp.floating) and jnp.issubdtype(z0.dtype, jnp.floating)):
        raise TypeError(f"expected floating-point x and z0, got {x.dtype} and {z0.dtype}; images as floats in [0, 1]?")
    if x.shape[:1] != z0.shape[:1]:
        raise ValueError(
            f"expected x and z0 with the same number of examples, got x {x.shape} and z0 {z0.shape}; "
            "z0 is a batch of start points, [B, *latent]"
        )


def encode(
    decoder_fn: DecoderFn,
    params: Params,
    x: jax.Array,
    z0: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    step_size: float | jax.Array = 1.0,
    num_steps: int = 1,
) -> jax.Array:
    r"""Encode data by gradient steps on its loss, from `z0`. The definition, for any decoder.

    One step from the origin is Eq. 7 of the paper,

    $$ z = -\nabla_{z_0} \mathcal{L}(x, F(z_0)), \quad z_0 = 0. $$

    In general z <- z - step_size * grad, so from a sampled or learned `z0` the result is "z0 - grad" of the paper's
    Appendix C, and `encode(...) - z0` is its "-grad". Losses are summed over examples before differentiating, so
    the code of an example does not depend on its company; the release divides by the batch size (and its first script
    by the pixels), which is a `step_size` here. Differentiable in everything, any number of times.

    Args:
      decoder_fn: `decoder_fn(params, z [B, *latent]) -> output [B, ...]`, rows independent.
      params: its parameters, any pytree.
      x: data, `[B, ...]`, floating point.
      z0: start points, `[B, *latent]`; fixes batch, latent shape and dtype; normally zeros.
      likelihood: `(output, x) -> [B]`, a loss per example.
      step_size: length of a step in latent space per unit of gradient of the summed loss.
      num_steps: number of gradient steps; 1 in a GON.

    Returns:
      Latents, `[B, *latent]`.

    Raises:
      ValueError: if `x` and `z0` disagree on the batch, or the likelihood is not one number per example.
      TypeError: if `x` or `z0` is not floating point.

    >>> w = jnp.array([[1.0, 0.0, 2.0]])  # F(z) = z w
    >>> encode(lambda w, z: z @ w, w, jnp.ones((1, 3)), jnp.zeros((1, 1)), step_size=0.5)  # w x
    Array([[3.]], dtype=float32)
    """
    _check_batch(x, z0)

    def summed_loss(z):
        return _losses(likelihood, decoder_fn(params, z), x).sum()

    def step(z, _):
        return z - step_size * jax.grad(summed_loss)(z), None

    if num_steps == 1:
        return step(z0, None)[0]
    return jax.lax.scan(step, z0, length=num_steps)[0]


def reconstruct(decoder_fn: DecoderFn, params: Params, x: jax.Array, z0: jax.Array, **encode_options) -> jax.Array:
    """Return the decoder's output at the code of `x`, `[B, ...]`.

    Args:
      decoder_fn, params, x, z0: as for `encode`.
      **encode_options: `likelihood`, `step_size`, `num_steps` of `encode`.

    >>> w = jnp.array([[1.0, 0.0]])
    >>> reconstruct(lambda w, z: z @ w, w, jnp.ones((1, 2)), jnp.zeros((1, 1)), step_size=0.5)
    Array([[1., 0.]], dtype=float32)
    """
    return decoder_fn(params, encode(decoder_fn, params, x, z0, **encode_options))


def gon_loss(
    decoder_fn: DecoderFn,
    params: Params,
    x: jax.Array,
    z0: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    **encode_options,
) -> jax.Array:
    r"""Return each example's loss after encoding, `[B]`: Eq. 8 of the paper before its mean over the data.

    $$ G(x) = \mathcal{L}\big(x, F(-\nabla_{z_0} \mathcal{L}(x, F(z_0)))\big) $$

    Differentiate its mean in `params`: the gradient flows through the code too, which is never detached.

    Args:
      decoder_fn, params, x, z0: as for `encode`.
      likelihood: the inner and the outer loss.
      **encode_options: `step_size`, `num_steps` of `encode`.

    >>> w, x = jnp.array([[1.0, 0.0]]), jnp.ones((1, 2))
    >>> gon_loss(lambda w, z: z @ w, w, x, jnp.zeros((1, 1)), step_size=0.5)
    Array([1.], dtype=float32)
    """
    output = reconstruct(decoder_fn, params, x, z0, likelihood=likelihood, **encode_options)
    return _losses(likelihood, output, x)


class Linearisation(NamedTuple):
    """The decoder at a shared origin, all that a frozen encoder needs: arrays only, none depends on an example.

    Attributes:
      origin: z0, `[*latent]`.
      output: F(z0), `[...]`.
      jacobian: dF/dz at z0, `[*latent, ...]`; under batch statistics the block A, with the origin's statistics held
        while z moves.
      mean_cotangent: r, `[...]`, the mean of d loss / d output over the data; `None` without batch statistics.
      mean_pullback: D^T r, `[*latent]`, D being the Jacobian whose statistics move with z; `None` likewise.
    """

    origin: jax.Array
    output: jax.Array
    jacobian: jax.Array
    mean_cotangent: jax.Array | None = None
    mean_pullback: jax.Array | None = None


def choose_strategy(batch_size: int, latent_size: int) -> Strategy:
    """Choose how to apply J^T to a batch, by the cost of a training step in decoder passes per example.

    With f the cost of one decoder pass, pulling back B cotangents makes the step cost `6 f + 3 f / B` an example, and
    building J from k forward tangents `3 f + 3 (k + 1) f / B` (and a product of `k` by the output size, which is
    small beside f). They meet at k = B.

    >>> choose_strategy(batch_size=64, latent_size=32), choose_strategy(batch_size=64, latent_size=256)
    ('jacobian', 'pullback')
    """
    return "jacobian" if latent_size < batch_size else "pullback"


def _at_origin(decoder: Decoder, params: Params, origin: jax.Array):
    """Return the decoder of one example as functions of z: statistics live, and held at the origin's."""
    if not decoder.batch_statistics:

        def live(z):
            return decoder.apply(params, z[None])[0]

        return live, live

    _, stats = decoder.apply(params, origin[None])  # differentiated in params, held in z
    return (
        lambda z: decoder.apply(params, z[None])[0][0],
        lambda z: decoder.apply(params, z[None], stats)[0][0],
    )


def _jacobian(function, origin):
    """Return `function(origin)` and its Jacobian `[*latent, ...]` from one tangent per latent entry."""
    tangents = jnp.eye(origin.size, dtype=origin.dtype).reshape(origin.size, *origin.shape)
    output, pushforward = jax.linearize(function, origin)
    jacobian = jax.vmap(pushforward)(tangents)
    return output, jacobian.reshape(*origin.shape, *output.shape)


def _product(v, jacobian):
    """Return J^T v for each row: v `[B, ...]`, jacobian `[*latent, ...]`, result `[B, *latent]`."""
    latent_shape = jacobian.shape[: jacobian.ndim - (v.ndim - 1)]
    rows = v.reshape(v.shape[0], -1) @ jacobian.reshape(math.prod(latent_shape), -1).T
    return rows.reshape(-1, *latent_shape)


def linearise(
    decoder: Decoder, params: Params, origin: jax.Array, *, mean_cotangent: jax.Array | None = None
) -> Linearisation:
    """Compute, once, everything about the decoder that encoding from `origin` needs.

    Args:
      decoder: with or without batch statistics.
      params: its parameters.
      origin: `[*latent]`, normally zeros.
      mean_cotangent: `[...]`, for a decoder with batch statistics: the mean over the data of d loss / d output at the
        origin.

    Raises:
      ValueError: if the decoder has batch statistics and no `mean_cotangent` is given.

    >>> linear = Decoder(lambda w, z: z @ w, None, (2,))
    >>> linearise(linear, jnp.eye(2), jnp.zeros(2)).jacobian
    Array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    live, held = _at_origin(decoder, params, origin)
    output, jacobian = _jacobian(held, origin)
    if not decoder.batch_statistics:
        return Linearisation(origin, output, jacobian)
    if mean_cotangent is None:
        raise ValueError("expected mean_cotangent for a decoder with batch statistics, got None; average it over data")
    (mean_pullback,) = jax.vjp(live, origin)[1](mean_cotangent)
    return Linearisation(origin, output, jacobian, mean_cotangent, mean_pullback)


def cotangents(likelihood: LikelihoodFn, output: jax.Array, x: jax.Array) -> jax.Array:
    """Return v, `[B, ...]`: the gradient of each example's loss in the decoder's output, at one shared output `[...]`.

    >>> cotangents(squared_error, jnp.zeros(3), jnp.ones((1, 3)))
    Array([[-2., -2., -2.]], dtype=float32)
    """
    outputs = jnp.broadcast_to(output, (x.shape[0], *output.shape))
    return jax.grad(lambda o: _losses(likelihood, o, x).sum())(outputs)


def encode_frozen(
    linearisation: Linearisation,
    x: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    step_size: float | jax.Array = 1.0,
) -> jax.Array:
    """Encode a batch by one matrix product with a linearisation made before; equal to `encode` at that origin.

    Args:
      linearisation: from `linearise`.
      x: data, `[B, ...]`.
      likelihood, step_size: as for `encode`.

    Returns:
      Latents, `[B, *latent]`. Rows are independent, also under batch statistics (the mean cotangent is the stored one).

    >>> linear = Decoder(lambda w, z: z @ w, None, (1,))
    >>> frozen = linearise(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.zeros(1))
    >>> encode_frozen(frozen, jnp.ones((1, 3)), step_size=0.5)
    Array([[3.]], dtype=float32)
    """
    origin, output, jacobian, mean_cotangent, mean_pullback = linearisation
    v = cotangents(likelihood, output, x)
    if mean_cotangent is None:
        return origin - step_size * _product(v, jacobian)
    return origin - step_size * (_product(v - mean_cotangent, jacobian) + mean_pullback)


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

    With batch statistics the batch of equal rows at the origin is a symmetric point, so the gradient that couples all
    rows splits exactly into two blocks, A^T (v_b - v_mean) + D^T v_mean (see `Linearisation`).

    Args:
      decoder: its rows must be independent, or coupled by batch statistics alone in the form of `Decoder`.
      params: its parameters.
      x: data, `[B, ...]`.
      origin: `[*latent]`, shared by all examples.
      likelihood, step_size: as for `encode`.
      strategy: "pullback" or "jacobian"; `None` asks `choose_strategy`.
      mean_cotangent: `[...]`, used in place of this batch's v_mean under batch statistics; then rows are independent.

    Returns:
      Latents, `[B, *latent]`.

    Raises:
      ValueError: for an unknown strategy, or a likelihood that is not one number per example.
      TypeError: if `x` or `origin` is not floating point.

    >>> linear = Decoder(lambda w, z: z @ w, None, (1,))
    >>> encode_shared(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.ones((1, 3)), jnp.zeros(1), step_size=0.5)
    Array([[3.]], dtype=float32)
    """
    batch_size = x.shape[0]
    _check_batch(x, jnp.broadcast_to(origin, (batch_size, *origin.shape)))
    strategy = strategy or choose_strategy(batch_size, math.prod(origin.shape))
    if strategy not in ("pullback", "jacobian"):
        raise ValueError(f"expected strategy 'pullback', 'jacobian' or None, got {strategy!r}")

    live, held = _at_origin(decoder, params, origin)
    if strategy == "jacobian":
        output, jacobian = _jacobian(held, origin)
        pull = partial(_product, jacobian=jacobian)
    else:
        output, pullback = jax.vjp(held, origin)
        pull = lambda v: jax.vmap(pullback)(v)[0]  # noqa: E731
    v = cotangents(likelihood, output, x)
    if not decoder.batch_statistics:
        return origin - step_size * pull(v)
    mean_cotangent = v.mean(axis=0) if mean_cotangent is None else mean_cotangent
    (mean_pullback,) = jax.vjp(live, origin)[1](mean_cotangent)
    return origin - step_size * (pull(v - mean_cotangent) + mean_pullback)
