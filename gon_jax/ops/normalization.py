"""Batch normalization that stays right at the origin of latents, and whose derivatives are products.

At the origin all examples are one, and the variance is exactly 0. So it is the mean of squared deviations:
`E[x^2] - E[x]^2` under two derivatives is noise times 1/sqrt(epsilon)^3.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gon_jax.ops.bilinear import scale

__all__ = ["batch_norm"]


def batch_norm(
    x: jax.Array,
    gain: jax.Array | None = None,
    shift: jax.Array | None = None,
    statistics: tuple[jax.Array, jax.Array] | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    epsilon: float = 1e-5,
    mask: jax.Array | None = None,
    axis_name: Any = None,
    axis_index_groups: Any = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Normalize each channel by mean and variance over all other axes, then scale and shift.

    Args:
        x: `[B, ..., C]`, or with channels elsewhere.
        gain, shift: `[C]`, the learned scale and bias; `None` for 1 and 0.
        statistics: mean and variance, `[C]` each, to use in place of those of x: averages, for evaluation.
        axis: that of the channels, or several axes in order.
        epsilon: is added to the variance.
        mask: which entries of x statistics are of, of a shape that broadcasts to x's.
        axis_name, axis_index_groups: of `jax.lax.pmean`, where statistics are averaged over devices too.

    Returns:
        The normalized x, and the mean and variance that it was normalized by. Where they are x's own, differentiate
        through them: latents of a GON are a derivative in which they vary.

    Raises:
        ValueError: for an axis that x does not have.

    >>> y, (mean, variance) = batch_norm(jnp.array([[1.0], [3.0]]))
    >>> mean.tolist(), variance.tolist(), bool(jnp.allclose(y, jnp.array([[-1.0], [1.0]]), atol=1e-5))
    ([2.0], [1.0], True)
    """
    given = axis if isinstance(axis, tuple) else (axis,)
    if not all(-x.ndim <= a < x.ndim for a in given):
        raise ValueError(f"expected an axis of x, which has {x.ndim}, for its channels, got axis={axis}")
    channels = {a % x.ndim for a in given}
    axes = tuple(a for a in range(x.ndim) if a not in channels)

    def mean_of(a):
        mean = a.mean(axes, where=None if mask is None else jnp.asarray(mask, bool))
        return mean if axis_name is None else jax.lax.pmean(mean, axis_name, axis_index_groups=axis_index_groups)

    if statistics is None:
        mean = mean_of(x)
        centered = x - jnp.expand_dims(mean, axes)
        variance = mean_of(jnp.square(centered))
    else:
        mean, variance = statistics
        centered = x - jnp.expand_dims(mean, axes)
    rescaling = jax.lax.rsqrt(variance + epsilon)
    rescaling = rescaling if gain is None else gain * rescaling
    y = scale(jnp.broadcast_to(jnp.expand_dims(rescaling, axes), x.shape), centered)
    return y if shift is None else y + jnp.expand_dims(shift, axes), (mean, variance)
