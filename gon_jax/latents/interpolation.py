"""Paths between latents."""

import jax
import jax.numpy as jnp

from gon_jax.arguments import as_array, check_count, check_number

__all__ = ["slerp", "slerp_path"]


def _safe_norm(z):
    """Return the Euclidean norm over all axes; 0, with gradient 0, where its square underflows."""
    square = jnp.sum(z * z)
    positive = square > jnp.finfo(z.dtype).tiny
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1)), 0)


def _as_latents(z_a, z_b):
    """Return two arrays of floats of one shape, or say what else was given."""
    z_a, z_b = as_array("z_a", z_a), as_array("z_b", z_b)
    if not (jnp.issubdtype(z_a.dtype, jnp.floating) and jnp.issubdtype(z_b.dtype, jnp.floating)):
        raise TypeError(f"expected floating-point latents, got {z_a.dtype} and {z_b.dtype}; labels or images in place?")
    if z_a.shape != z_b.shape:
        cause = "one probably has a batch axis; use vmap or slerp_path"
        raise ValueError(f"expected two latents of one shape, got {z_a.shape} and {z_b.shape}: {cause}")
    return z_a, z_b


def slerp(z_a: jax.Array, z_b: jax.Array, t: float | jax.Array) -> jax.Array:
    r"""Interpolate from z_a to z_b with the direction on the great circle and the norm linear in t.

    With theta the angle between the latents and r(t) = (1 - t) |z_a| + t |z_b|,

    .. math:: z(t) = \frac{r(t)}{\sin\theta} \left( \sin((1-t)\theta) \frac{z_a}{|z_a|}
              + \sin(t\theta) \frac{z_b}{|z_b|} \right).

    The ends are exact. Parallel, opposite and zero latents fix no great circle: there the path is the straight line,
    so values and gradients are finite everywhere.

    Args:
        z_a, z_b: latents [*latent], floating point; for a batch, use vmap or `slerp_path`.
        t: position, scalar; 0 gives z_a and 1 gives z_b.

    >>> slerp(jnp.array([1., 0.]), jnp.array([0., 3.]), 0.5).round(4)  # the norm is 2, at 45 degrees
    Array([1.4142, 1.4142], dtype=float32)
    """
    z_a, z_b = _as_latents(z_a, z_b)
    t = jnp.asarray(check_number("t", t), z_a.dtype)
    norm_a, norm_b = _safe_norm(z_a), _safe_norm(z_b)
    nonzero = (norm_a > 0) & (norm_b > 0)
    norm_a, norm_b = jnp.where(nonzero, norm_a, 1), jnp.where(nonzero, norm_b, 1)
    cosine = jnp.sum((z_a / norm_a) * (z_b / norm_b))
    curved = nonzero & (jnp.abs(cosine) < 1 - 8 * jnp.finfo(z_a.dtype).eps)
    theta = jnp.arccos(jnp.where(curved, cosine, 0))  # the inner where keeps the unused branch's gradient finite
    # Written so that the ends are exact: XLA may divide by a product with the reciprocal, which makes x / x a rounding
    # off 1, and sines of vectors and of scalars may differ.
    s = jnp.where(t < 0.5, t, 1 - t)  # from the nearer end
    nearer = jnp.cos(s * theta) - jnp.sin(s * theta) / jnp.tan(theta)
    farther = jnp.sin(s * theta) / jnp.sin(theta)
    arc_a, arc_b = jnp.where(t < 0.5, nearer, farther), jnp.where(t < 0.5, farther, nearer)
    weight_a = jnp.where(curved, arc_a * (1 - t + t * (norm_b / norm_a)), 1 - t)
    weight_b = jnp.where(curved, arc_b * (t + (1 - t) * (norm_a / norm_b)), t)
    return weight_a * z_a + weight_b * z_b


def slerp_path(z_a: jax.Array, z_b: jax.Array, num_points: int) -> jax.Array:
    """Return the paths [B, P, *latent] between pairs of latents [B, *latent], at P >= 2 even steps, ends included.

    >>> slerp_path(jnp.ones((4, 8)), -jnp.ones((4, 8)), 10).shape
    (4, 10, 8)
    """
    num_points = check_count("num_points", num_points, 2, remedy="the two ends are among them")
    z_a, z_b = _as_latents(z_a, z_b)
    if z_a.ndim < 2:
        raise ValueError(f"expected latents [B, *latent], got {list(z_a.shape)}: for a single pair, use z[None]")
    t = jnp.linspace(0, 1, num_points)
    return jax.vmap(jax.vmap(slerp, (None, None, 0)), (0, 0, None))(z_a, z_b, t)
