r"""The definition: the latent of a datum is minus the gradient of its loss at the origin of latent space.

`encode`, `reconstruct` and `gon_loss` are the definition by `jax.grad`, right for any decoder. They are the reference
for the exact and cheaper forms in `linearization.py`, which need to know more about the decoder.

Reference: Bond-Taylor & Willcocks, "Gradient Origin Networks", ICLR 2021, arXiv 2007.02798 ("the paper").
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count, check_number, shown
from gon_jax.base import DecoderFn, LikelihoodFn, Params
from gon_jax.likelihoods import squared_error
from gon_jax.ops.varying import vary_like, vjp

__all__ = ["check_batch", "encode", "gon_loss", "loss_gradient", "losses_of", "reconstruct"]


def losses_of(likelihood: LikelihoodFn, output: Any, x: jax.Array) -> jax.Array:
    """Return each example's loss `[B]`.

    Raises:
        ValueError: if the likelihood does not return one number per example.
    """
    losses = likelihood(output, x)
    if losses.shape != x.shape[:1]:
        raise ValueError(
            f"expected one loss per example, shape {x.shape[:1]}, got {losses.shape}; sum over the data axes and not "
            "over the batch (an example's latent must not depend on its batch)"
        )
    return losses


def loss_gradient(losses_fn: Callable[[jax.Array], jax.Array], z: jax.Array) -> jax.Array:
    """Return the gradient of each example's loss in its own row of `z`: that of their sum, on each device its own.

    Args:
        losses_fn: `z [B, ...] -> losses [B]`.
        z: where.

    >>> loss_gradient(lambda z: (z**2).sum(axis=1), jnp.ones((1, 2)))
    Array([[2., 2.]], dtype=float32)
    """
    losses, pullback = vjp(losses_fn, z)
    return pullback(jnp.ones_like(losses))[0]


def check_batch(x: jax.Array, z0: jax.Array) -> None:
    """Refuse data and start points that do not go together.

    Raises:
        ValueError: if `x` and `z0` disagree on the batch, or the batch is empty.
        TypeError: if `x` or `z0` is not floating point.
    """
    for name, value in {"x": x, "z0": z0}.items():
        kind = getattr(value, "dtype", None)
        if kind is None or not jnp.issubdtype(kind, jnp.floating):
            raise TypeError(f"expected floating-point {name}, an array, got {shown(value)}: images as floats?")
    if x.shape[:1] == (0,):
        raise ValueError(f"expected at least one example, got x {x.shape}; an empty batch has no mean")
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
    Appendix C, and `encode(...) - z0` is its "-grad". Losses are summed over examples before differentiating, so the
    latent of an example does not depend on its batch; the authors' implementation divides by the batch size (and its
    first script by the pixels), which is a `step_size` here. Differentiable in everything, any number of times.

    Args:
        decoder_fn: `decoder_fn(params, z [B, *latent]) -> output [B, ...]`, examples independent.
        params: its parameters, any pytree.
        x: data, `[B, ...]`, floating point.
        z0: start points, `[B, *latent]`; fixes batch, latent shape and dtype; normally zeros.
        likelihood: `(output, x) -> [B]`, a loss per example.
        step_size: length of a step in latent space per unit of gradient of the summed loss.
        num_steps: number of gradient steps; 1 in a GON.

    Returns:
        Latents, `[B, *latent]`.

    Raises:
        ValueError: if `x` and `z0` disagree on the batch, the likelihood does not return one number per example, or
            `num_steps` is below 1.
        TypeError: if `x` or `z0` is not floating point.

    >>> w = jnp.array([[1.0, 0.0, 2.0]])  # F(z) = z w
    >>> encode(lambda w, z: z @ w, w, jnp.ones((1, 3)), jnp.zeros((1, 1)), step_size=0.5)  # w x
    Array([[3.]], dtype=float32)
    """
    check_batch(x, z0)
    if not callable(decoder_fn):
        raise TypeError(f"expected decoder_fn, a function (params, z) -> output, got {shown(decoder_fn)}")
    num_steps = check_count("num_steps", num_steps)
    if not isinstance(step_size, jax.Array):
        check_number("step_size", step_size)

    def step(z, _):
        gradient = loss_gradient(lambda z: losses_of(likelihood, decoder_fn(params, z), x), z)
        return (z - step_size * gradient).astype(z.dtype), None

    z0 = vary_like(z0, x, params, step_size)
    if num_steps == 1:
        return step(z0, None)[0]
    return jax.lax.scan(step, z0, length=num_steps)[0]


def reconstruct(decoder_fn: DecoderFn, params: Params, x: jax.Array, z0: jax.Array, **encode_options: Any) -> jax.Array:
    """Return the decoder's output at the latents of `x`, `[B, ...]`.

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
    **encode_options: Any,
) -> jax.Array:
    r"""Return each example's loss after encoding, `[B]`: Eq. 8 of the paper before its mean over the data.

    $$ G(x) = \mathcal{L}\big(x, F(-\nabla_{z_0} \mathcal{L}(x, F(z_0)))\big) $$

    Differentiate its mean in `params`: the gradient flows through the latent too, which is never detached.

    Args:
        decoder_fn, params, x, z0: as for `encode`.
        likelihood: the inner and the outer loss.
        **encode_options: `step_size`, `num_steps` of `encode`.

    >>> w, x = jnp.array([[1.0, 0.0]]), jnp.ones((1, 2))
    >>> gon_loss(lambda w, z: z @ w, w, x, jnp.zeros((1, 1)), step_size=0.5)
    Array([1.], dtype=float32)
    """
    output = reconstruct(decoder_fn, params, x, z0, likelihood=likelihood, **encode_options)
    return losses_of(likelihood, output, x)
