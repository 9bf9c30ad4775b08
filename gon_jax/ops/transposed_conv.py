"""Transposed convolutions of kernel 4, stride 2, padding 1 as matrix products, to any order of derivative.

Three maps, bilinear each, are closed under transposition, so that a GON's second derivatives need nothing else:

    T(x, K) = y    transposed convolution   y[2 i - 1 + a] += x[i] K[:, a],    a = 0..3, in both directions
    S(y, K) = x    strided convolution      x[i] = sum_a y[2 i - 1 + a] K[:, a]^T
    G(x, y) = K    kernel gradient          K[:, a] = sum_i x[i]^T y[2 i - 1 + a]

Kernels are `[C_in, 4, 4, C_out]`, which as it lies is a matrix of all taps (torch's `(in, out, kh, kw)` transposed by
(0, 2, 3, 1)).

`lax.conv_transpose` dilates its input, which on a CPU multiplies zeros everywhere. There, T multiplies the input by all
16 taps at once and adds the taps where they overlap; S and G gather the 4x4 patches of y and multiply. Other platforms
take XLA's convolutions, which their libraries know to be transposed ones.

>>> transposed_convolution(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 4, 4, 2))).shape
(1, 8, 8, 2)
>>> strided_convolution(jnp.ones((1, 8, 8, 2)), jnp.ones((3, 4, 4, 2))).shape
(1, 4, 4, 3)
"""

import math

import jax
import jax.numpy as jnp

from gon_jax.ops.bilinear import Transposes, bilinear_primitive
from gon_jax.ops.varying import vary_like

__all__ = ["kernel_gradient", "strided_convolution", "transposed_convolution"]

# The taps (or patches) are four times the size of the larger image. Above this many bytes they are made and used
# piece by piece, so that they stay in the cache.
PIECE_BYTES = 2**22

# Per axis, output 2 i + p is the sum of two taps: (tap, where from, relative to i).
_TAPS_OF_PARITY = {0: ((1, 0), (3, -1)), 1: ((2, 0), (0, 1))}


def _shift(x, rows, columns):
    """Return x at (i + rows, j + columns), and zeros beyond the edge."""
    edges = [(0, 0, 0), (-rows, rows, 0), (-columns, columns, 0), (0, 0, 0)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), edges)


def _add_taps(taps):
    """Add the taps of each input position where they overlap: `[B, H, W, 4, 4, C]` to `[B, 2 H, 2 W, C]`."""
    batch, height, width, _, _, channels = taps.shape

    def parity(p, q):
        return sum(
            _shift(taps[:, :, :, a, b], rows, columns)
            for a, rows in _TAPS_OF_PARITY[p]
            for b, columns in _TAPS_OF_PARITY[q]
        )

    rows = [jnp.stack([parity(p, 0), parity(p, 1)], axis=3) for p in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(batch, 2 * height, 2 * width, channels)


def _gather_patches(y):
    """Gather the 4x4 patch that each input position touches, its transpose: `[B, H, W, C]` to `[B H/2 W/2, 16 C]`."""
    batch, height, width, channels = y.shape
    padded = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [padded[:, a : a + height : 2] for a in range(4)]
    patches = [[row[:, :, c : c + width : 2] for c in range(4)] for row in rows]
    return jnp.stack([jnp.stack(row, axis=3) for row in patches], axis=3).reshape(-1, 16 * channels)


def _matrix(kernel):
    """Return `[C_in, 4, 4, C_out]` as a matrix of all taps, `[C_in, 16 C_out]`."""
    return kernel.reshape(len(kernel), -1)


def _num_pieces(batch, num_bytes):
    """Return into how many pieces to cut a batch whose examples have that many bytes of taps each.

    A symbolic batch (`jax.export`) has no known divisors: it is cut into examples if these fill a piece, or not at all.
    """
    if not isinstance(batch, int):
        return batch if num_bytes >= PIECE_BYTES else 1
    least = batch * num_bytes / PIECE_BYTES
    return next(n for n in range(1, batch + 1) if batch % n == 0 and (n >= least or n == batch))


def _cut(x, num):
    return x.reshape(num, x.shape[0] // num, *x.shape[1:])


def _in_pieces(function, num, x):
    """Apply a function of independent examples piece by piece."""
    if num == 1:
        return function(x)
    y = jax.lax.map(function, _cut(x, num))
    return y.reshape(-1, *y.shape[2:])


# -- by XLA's convolution, on accelerators ---------------------------------------------------------------------------


def _transposed_by_library(x, kernel):
    return jax.lax.conv_transpose(x, kernel[:, ::-1, ::-1], (2, 2), "SAME", dimension_numbers=("NHWC", "IHWO", "NHWC"))


def _strided_by_library(y, kernel):
    x = jax.ShapeDtypeStruct((y.shape[0], y.shape[1] // 2, y.shape[2] // 2, len(kernel)), y.dtype)
    return jax.linear_transpose(lambda x: _transposed_by_library(x, kernel), x)(y)[0]


def _kernel_gradient_by_library(x, y):
    kernel = jax.ShapeDtypeStruct((x.shape[-1], 4, 4, y.shape[-1]), x.dtype)
    return jax.linear_transpose(lambda kernel: _transposed_by_library(x, kernel), kernel)(y)[0]


# -- the three maps --------------------------------------------------------------------------------------------------


def _transposes_of_transposed() -> Transposes:
    return (lambda ct, kernel: strided_convolution(ct, kernel)), (lambda ct, x: kernel_gradient(x, ct))


@bilinear_primitive(*_transposes_of_transposed(), on_accelerators=_transposed_by_library, independent=0)
def transposed_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Double the size of an image: `[B, H, W, C_in]` and `[C_in, 4, 4, C_out]` to `[B, 2 H, 2 W, C_out]`."""
    c_in, _, _, c_out = kernel.shape

    def piece(x):
        return _add_taps((x.reshape(-1, c_in) @ _matrix(kernel)).reshape(*x.shape[:3], 4, 4, c_out))

    return _in_pieces(piece, _num_pieces(x.shape[0], 16 * c_out * math.prod(x.shape[1:3]) * x.dtype.itemsize), x)


def _transposes_of_strided() -> Transposes:
    return (lambda ct, kernel: transposed_convolution(ct, kernel)), (lambda ct, y: kernel_gradient(ct, y))


@bilinear_primitive(*_transposes_of_strided(), on_accelerators=_strided_by_library, independent=0)
def strided_convolution(y: jax.Array, kernel: jax.Array) -> jax.Array:
    """Halve the size of an image: `[B, 2 H, 2 W, C_out]` and `[C_in, 4, 4, C_out]` to `[B, H, W, C_in]`."""
    shape = (y.shape[1] // 2, y.shape[2] // 2, len(kernel))

    def piece(y):
        return (_gather_patches(y) @ _matrix(kernel).T).reshape(-1, *shape)

    return _in_pieces(piece, _num_pieces(y.shape[0], 4 * math.prod(y.shape[1:]) * y.dtype.itemsize), y)


@bilinear_primitive(
    lambda ct, y: strided_convolution(y, ct),
    lambda ct, x: transposed_convolution(x, ct),
    on_accelerators=_kernel_gradient_by_library,
)
def kernel_gradient(x: jax.Array, y: jax.Array) -> jax.Array:
    """Sum over examples and positions: `[B, H, W, C_in]` and `[B, 2 H, 2 W, C_out]` to `[C_in, 4, 4, C_out]`."""
    c_in, c_out = x.shape[-1], y.shape[-1]

    def piece(x, y):
        return x.reshape(-1, c_in).T @ _gather_patches(y)

    num = _num_pieces(y.shape[0], 4 * math.prod(y.shape[1:]) * y.dtype.itemsize)
    if num == 1:
        matrix = piece(x, y)
    else:
        zero = vary_like(jnp.zeros((c_in, 16 * c_out), x.dtype), x, y)
        matrix, _ = jax.lax.scan(lambda sum, xy: (sum + piece(*xy), None), zero, (_cut(x, num), _cut(y, num)))
    return matrix.reshape(c_in, 4, 4, c_out)
