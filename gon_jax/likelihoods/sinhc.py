"""The logarithm of sinh(h) / h: normalizers are made of it, near 0 and far out, with their derivatives."""

import jax.numpy as jnp

__all__ = ["log_sinhc"]


def _log_sinhc_series(num_terms=20):
    """Return c_1, c_2, ... of log(sinh(h) / h) = sum_n c_n h^2n.

    Its derivative L = coth h - 1 / h obeys L' = 1 - L^2 - 2 L / h, which gives L = sum_n l_n h^(2n - 1) term by term.
    """
    slopes = []
    for n in range(1, num_terms + 1):
        slopes.append(((n == 1) - sum(a * b for a, b in zip(slopes, reversed(slopes), strict=True))) / (2 * n + 1))
    return [slope / (2 * n) for n, slope in enumerate(slopes, 1)]


_LOG_SINHC = _log_sinhc_series()  # within |h| < 1 right to float64's rounding, and so are three derivatives


def log_sinhc(h):
    """Return log(sinh(h) / h): 0 at 0, even, right for derivatives of any order, of any h."""
    small = jnp.abs(h) < 1
    square = jnp.square(jnp.where(small, h, 0))
    series = jnp.zeros_like(h)
    for coefficient in reversed(_LOG_SINHC):
        series = (series + coefficient) * square
    large = jnp.abs(jnp.where(small, 1, h))
    return jnp.where(small, series, large - jnp.log(2 * large) + jnp.log1p(-jnp.exp(-2 * large)))
