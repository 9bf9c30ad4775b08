r"""Sine and cosine together, by polynomials that a CPU evaluates at the pace at which memory delivers arguments.

XLA's own `sin` takes many times longer there. Here one reduction of the argument serves both functions,

    x = n pi + r,  |r| <= pi/2;    sin x = (-1)^n sin r,  cos x = (-1)^n cos r,

and derivatives of any order are products with the same two. Cody and Waite's reduction subtracts pi in three parts,
whose first two have so few bits that their products with n are exact. The polynomials are minimax on |r| <= pi/2, with
errors below 2e-8 once their coefficients are float32; `tests/test_siren.py` derives them anew.

There are no branches, gathers or integers. Rounding is `round`: adding and subtracting 1.5 * 2^23 does not survive XLA,
which contracts products and sums.
"""

import functools
import math

import jax
import jax.numpy as jnp

from gon_jax.ops.bilinear import scale

__all__ = ["sine", "sine_cosine"]

PI_PARTS = (3.140625, 507 * 2.0**-19, 6.278329e-07)  # of 8 bits, 9 bits, and the rest
SINE = (-1.66666571e-01, 8.33301729e-03, -1.98066152e-04, 2.60005471e-06)  # of r^3, r^5, r^7, r^9
COSINE = (-4.99999995e-01, 4.16666407e-02, -1.38884035e-03, 2.47618862e-05, -2.60771051e-07)  # of r^2, ..., r^10


def _horner(coefficients, u):
    """Return c_0 + c_1 u + c_2 u^2 + ..."""
    return functools.reduce(lambda value, c: c + u * value, reversed(coefficients))


def _round(x):
    return jax.lax.round(x, jax.lax.RoundingMethod.TO_NEAREST_EVEN)


def _polynomials(x):
    """Return sin x and cos x of a float32 array."""
    n = _round(x * (1 / math.pi))
    r = x
    for part in PI_PARTS:
        r = r - n * part
    r = jnp.clip(r, -1.6, 1.6)  # further out only where x is so large that its own rounding exceeds a period
    u = r * r
    half = 0.5 * n
    sign = 1 - 4 * jnp.abs(half - _round(half))  # (-1)^n
    return sign * (r + r * u * _horner(SINE, u)), sign * (1 + u * _horner(COSINE, u))


@jax.custom_jvp
def sine_cosine(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return sin x and cos x, computed together, for networks that use both in derivatives of several orders.

    float32: for |x| <= 1e5 the absolute error is below 2e-7 in both; beyond, they are sine and cosine of a number
    within a few roundings of x. NaN and infinities give NaN. bfloat16 is computed in float32 and rounded. All other
    types take `jnp.sin` and `jnp.cos`.

    >>> s, c = sine_cosine(jnp.float32(math.pi / 6))
    >>> round(float(s), 6), round(float(c), 6)
    (0.5, 0.866025)
    """
    x = jnp.asarray(x)
    if x.dtype == jnp.float32:
        return _polynomials(x)
    if x.dtype == jnp.bfloat16:
        s, c = _polynomials(x.astype(jnp.float32))
        return s.astype(x.dtype), c.astype(x.dtype)
    return jnp.sin(x), jnp.cos(x)


@sine_cosine.defjvp
def _sine_cosine_jvp(primals, tangents):
    s, c = sine_cosine(*primals)
    (t,) = tangents
    return (s, c), (scale(c, t), -scale(s, t))


def sine(x: jax.Array) -> jax.Array:
    """Return sin x as `sine_cosine` computes it: the activation of a SIREN.

    >>> jax.grad(jax.grad(sine))(0.5) == -sine(jnp.float32(0.5))
    Array(True, dtype=bool)
    """
    return sine_cosine(x)[0]
