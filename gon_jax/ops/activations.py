"""Activations as element-by-element maps whose derivative is a product with one slope, computed from the output."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gon_jax.ops.bilinear import scale

__all__ = ["Elementwise", "elu", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus", "tanh"]


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """A function that acts element by element.

    Attributes:
        function: `x -> y`.
        slope: `y -> dy/dx`, from the output alone: derivatives keep y and compute no exponential again. By default the
            function is differentiated.
    """

    function: Callable[[jax.Array], jax.Array]
    slope: Callable[[jax.Array], jax.Array] | None = None

    def __call__(self, x: jax.Array, *args: Any, **kwargs: Any) -> jax.Array:
        if args or kwargs:
            raise TypeError(
                f"expected the argument x alone, got {(*args, *kwargs)} too: an activation of other constants is "
                "`elementwise(partial(jax.nn.elu, alpha=0.5))`, of gon_jax.drop_in.functions"
            )
        return _apply(self, x)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _apply(activation, x):
    return activation.function(x)


@_apply.defjvp
def _apply_jvp(activation, primals, tangents):
    (x,), (t,) = primals, tangents
    if activation.slope is None:
        y, slope = jax.jvp(activation.function, (x,), (jnp.ones_like(x),))
    else:
        y = _apply(activation, x)
        slope = activation.slope(y)
    return y, scale(slope, t)


elu = Elementwise(lambda x: jnp.where(x > 0, x, jnp.exp(jnp.minimum(x, 0)) - 1), lambda y: jnp.where(y > 0, 1, y + 1))
"""x above 0, exp(x) - 1 below. At exactly 0 the second derivative is 1, as in `jax.nn.elu`; in PyTorch it is 0.

>>> jax.grad(elu)(-1.0) == jnp.exp(-1.0)
Array(True, dtype=bool)
"""

relu = Elementwise(lambda x: jnp.maximum(x, 0))
"""max(x, 0). At exactly 0 the slope is 1/2, the mean of both sides, which central differences give.

At the origin batch normalization returns its shift, which starts at exactly 0. With slope 0 there, as `jax.nn.relu` has
it, no latent would ever leave the origin, and training would never start.

>>> jax.grad(relu)(0.0)
Array(0.5, dtype=float32, weak_type=True)
"""

leaky_relu = Elementwise(lambda x: jnp.maximum(x, 0) + 0.01 * jnp.minimum(x, 0))
"""x above 0, x / 100 below; the slope at exactly 0 is the mean of both, as for `relu`."""

sigmoid = Elementwise(jax.nn.sigmoid, lambda y: y * (1 - y))
tanh = Elementwise(jnp.tanh, lambda y: 1 - y * y)
gelu = Elementwise(jax.nn.gelu)
silu = Elementwise(jax.nn.silu)
softplus = Elementwise(jax.nn.softplus)
