"""What models with a normal approximate posterior share: two linear maps to it, its KL term, the bound on log p(x)."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gon_jax.arguments import check_number
from gon_jax.base import Batch, Bound, Params
from gon_jax.likelihoods import Likelihood, sum_per_example

__all__ = ["Posterior", "check_weight", "draw_bound", "init_posterior", "kl_to_standard_normal", "posterior"]
__all__ += ["variational_loss"]


class Posterior(NamedTuple):
    """A normal distribution with diagonal covariance over t: mean and log variance, each `[B, *latent]`."""

    mean: jax.Array
    logvar: jax.Array

    def draw(self, noise: jax.Array) -> jax.Array:
        """Return t for noise from N(0, I), by reparameterization; noise `[*latent]` is that of all examples."""
        return self.mean + jnp.exp(self.logvar / 2) * jnp.expand_dims(noise, range(self.mean.ndim - noise.ndim))


def check_weight(kl_weight: float | Callable[[jax.Array], ArrayLike]) -> None:
    """Refuse a weight of the KL term that is neither a number of at least 0 nor a schedule."""
    if not callable(kl_weight):
        check_number("kl_weight", kl_weight, least=0, remedy="or a schedule, a function of the step")


def init_posterior(keys: jax.Array, k: int, *, logvar: float | None = None) -> Params:
    """Return the two linear maps, `{"mean", "logvar"}`, or the first alone, in PyTorch's initialization.

    Args:
        keys: two typed keys.
        k: size of a latent.
        logvar: a constant log variance in place of the second map.

    >>> jax.tree.map(jnp.shape, init_posterior(jax.random.split(jax.random.key(0)), 3, logvar=0.0))
    {'mean': {'bias': (3,), 'kernel': (3, 3)}}
    """

    def linear(key):
        draw = partial(jax.random.uniform, minval=-1 / math.sqrt(k), maxval=1 / math.sqrt(k))
        kernel_key, bias_key = jax.random.split(key)
        return {"kernel": draw(kernel_key, (k, k)), "bias": draw(bias_key, (k,))}

    names = ["mean", "logvar"] if logvar is None else ["mean"]
    return {name: linear(key) for name, key in zip(names, keys, strict=False)}


def posterior(params: Params, z: jax.Array, *, logvar: float | None = None) -> Posterior:
    """Return q(t given z), from `params["mean"]` and `params["logvar"]` or a constant log variance.

    >>> layer = {"kernel": 2 * jnp.eye(2), "bias": jnp.zeros(2)}
    >>> posterior({"mean": layer}, jnp.ones((1, 2)), logvar=0.0).mean
    Array([[2., 2.]], dtype=float32)
    """

    def linear(layer):
        return (z.reshape(z.shape[0], -1) @ layer["kernel"] + layer["bias"][None]).reshape(z.shape)

    mean = linear(params["mean"])
    return Posterior(mean, linear(params["logvar"]) if logvar is None else jnp.full_like(mean, logvar))


def kl_to_standard_normal(q: Posterior) -> jax.Array:
    """Return KL(q, N(0, I)) of each example, `[B]`, in nats.

    >>> kl_to_standard_normal(Posterior(jnp.ones((1, 2)), jnp.zeros((1, 2))))
    Array([1.], dtype=float32)
    """
    return 0.5 * sum_per_example(jnp.square(q.mean) + jnp.exp(q.logvar) - q.logvar - 1)


def variational_loss(
    likelihood: Likelihood,
    output: jax.Array,
    q: Posterior,
    batch: Batch,
    kl_weight: float | Callable[[jax.Array], ArrayLike],
) -> jax.Array:
    """Return the mean over a batch of -log p(x given t) + beta KL(q, N(0, I)), a scalar.

    Args:
        likelihood, output: p(x given t), at draws from q.
        q, batch: the posterior and the data of a batch; its step too, for a schedule.
        kl_weight: beta, or a schedule of it.

    >>> from gon_jax.likelihoods import squared_error
    >>> q, x = Posterior(jnp.ones((1, 2)), jnp.zeros((1, 2))), jnp.ones((1, 3))
    >>> variational_loss(squared_error, jnp.zeros((1, 3)), q, {"x": x, "step": 4}, lambda step: step / 2)
    Array(5., dtype=float32)
    """
    beta = kl_weight(batch["step"]) if callable(kl_weight) else kl_weight
    return (likelihood(output, batch["x"]) + beta * kl_to_standard_normal(q)).mean()


def draw_bound(
    likelihood: Likelihood, output_fn: Callable[[jax.Array], jax.Array], q: Posterior, x: jax.Array, keys: jax.Array
) -> Bound:
    """Return one draw of the bound on log p(x) for each example.

    Args:
        likelihood, output_fn: p(x given t), the second `t [B, *latent] -> output`.
        q, x: the posterior of data `[B, ...]`, and these.
        keys: `[B]`, one for the noise of each example.

    >>> from gon_jax.likelihoods import squared_error
    >>> q, x = Posterior(jnp.zeros((1, 2)), jnp.zeros((1, 2))), jnp.ones((1, 2))  # q is the prior
    >>> bound = draw_bound(squared_error, lambda t: t, q, x, jax.random.split(jax.random.key(0), 1))
    >>> bound.kl[0], bool(bound.log_weight == -bound.nll)
    (Array(0., dtype=float32), True)
    """
    noise = jax.vmap(lambda key: jax.random.normal(key, q.mean.shape[1:], x.dtype))(keys)
    t = q.draw(noise)
    nll = likelihood(output_fn(t), x)
    log_ratio = 0.5 * sum_per_example(jnp.square(noise) + q.logvar - jnp.square(t))  # log p(t) - log q(t given x)
    return Bound(nll, kl_to_standard_normal(q), log_ratio - nll)
