"""Transposed convolutions of any kernel, stride, padding and dilation as matrix products, to any order of derivative.

Three maps, bilinear each, are closed under transposition, so that a GON's second derivatives need nothing else. With
stride s, padding (lo, hi) and dilation d, on one axis,

    T(x, K) = y    transposed convolution   y[s i - lo + d a] += x[i] K[:, a],    a = 0, ..., k - 1
    S(y, K) = x    strided convolution      x[i] = sum_a y[s i - lo + d a] K[:, a]^T
    G(x, y) = K    kernel gradient          K[:, a] = sum_i x[i]^T y[s i - lo + d a]

and likewise on 1, 2, 3 or more axes. Kernels are `[C_in, *k, C_out]`, which as it lies is a matrix of all taps (torch's
`(in, out, *k)` with the second axis last).

`lax.conv_transpose` dilates its input, which on a CPU multiplies zeros everywhere. There, T multiplies the input by all
taps at once and adds the taps where they overlap; S and G gather the patches of y and multiply. Other platforms take
XLA's convolutions, which their libraries know to be transposed ones. So does a CPU where there is nothing to save: with
stride 1 nothing is dilated.

>>> transposed_convolution(jnp.ones((1, 4, 4, 3)), jnp.ones((3, 4, 4, 2))).shape
(1, 8, 8, 2)
>>> strided_convolution(jnp.ones((1, 8, 8, 2)), jnp.ones((3, 4, 4, 2))).shape
(1, 4, 4, 3)
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp

from gon_jax.ops.bilinear import Bilinear, bilinear_primitive
from gon_jax.ops.geometry import DOUBLING, Geometry, library_maps
from gon_jax.ops.varying import vary_like

__all__ = ["kernel_gradient", "maps", "strided_convolution", "transposed_convolution"]

# The taps (or patches) of a kernel 4 and stride 2 are four times the size of the larger image. Above this many bytes
# they are made and used piece by piece, so that they stay in the cache.
PIECE_BYTES = 2**22


def _pad(x, edges):
    """Pad the spatial axes by zeros, or cut them where an edge is negative."""
    return jax.lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in edges), (0, 0, 0)])


def _add_taps(taps, kernel_sizes, geometry):
    """Add the taps of each input position where they overlap: `[B, *n, prod(k), C]` to `[B, *m, C]`."""
    inputs = taps.shape[1:-2]
    outputs = geometry.output_sizes(inputs, kernel_sizes)
    counts = [-(-m // s) for m, s in zip(outputs, geometry.strides, strict=True)]  # of each phase, rounded up

    def phase_taps(axis, phase):  # output s q + phase is a sum of taps a at inputs q + shift, the nearest first
        s, lo, _, d = geometry.axes[axis]
        meets = [(a, (phase + lo - d * a) // s) for a in range(kernel_sizes[axis]) if (phase + lo - d * a) % s == 0]
        return sorted(meets, key=lambda meet: abs(meet[1]))

    def phase(*phases):  # on the first axes; those that follow are interleaved
        axis = len(phases)
        if axis < len(inputs):
            return jnp.stack([phase(*phases, p) for p in range(geometry.strides[axis])], axis=axis + 2)
        total = None
        for meets in itertools.product(*(phase_taps(axis, p) for axis, p in enumerate(phases))):
            index = functools.reduce(
                lambda index, ak: index * ak[1] + ak[0][0], zip(meets, kernel_sizes, strict=True), 0
            )
            edges = [(-shift, q - n + shift) for (_, shift), q, n in zip(meets, counts, inputs, strict=True)]
            part = _pad(taps[..., index, :], edges)
            total = part if total is None else total + part
        return jnp.zeros((taps.shape[0], *counts, taps.shape[-1]), taps.dtype) if total is None else total

    sizes = [q * s for q, s in zip(counts, geometry.strides, strict=True)]
    y = phase().reshape(taps.shape[0], *sizes, taps.shape[-1])
    return y[(slice(None), *(slice(m) for m in outputs))]


def _gather_patches(y, kernel_sizes, geometry):
    """Gather the patch that each input position touches, the transpose: `[B, *m, C]` to `[B prod(n), prod(k) C]`."""
    inputs = geometry.input_sizes(y.shape[1:-1], kernel_sizes)

    def patches(part, axis):  # one axis after the other, which fuses best
        if axis == len(inputs):
            return part
        (s, _, _, d), n = geometry.axes[axis], inputs[axis]
        starts = [d * a for a in range(kernel_sizes[axis])]
        parts = [jax.lax.slice_in_dim(part, start, start + (n - 1) * s + 1, s, axis=axis + 1) for start in starts]
        return jnp.stack([patches(part, axis + 1) for part in parts], axis=len(inputs) + 1)

    return patches(_pad(y, geometry.padding), 0).reshape(-1, math.prod(kernel_sizes) * y.shape[-1])


def _matrix(kernel):
    """Return `[C_in, *k, C_out]` as a matrix of all taps, `[C_in, prod(k) C_out]`."""
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


@functools.cache
def maps(geometry: Geometry) -> tuple[Bilinear, Bilinear, Bilinear]:
    """Return T, S and G, primitives that are each other's transposes."""
    transposed_by_library, strided_by_library, gradient_by_library = library_maps(geometry)

    @bilinear_primitive(
        lambda ct, kernel: maps(geometry)[1](ct, kernel),
        lambda ct, x: maps(geometry)[2](x, ct),
        on_accelerators=transposed_by_library,
        independent=0,
    )
    def transposed_convolution(x, kernel):
        kernel_sizes, channels = kernel.shape[1:-1], kernel.shape[-1]

        def piece(x):
            taps = x.reshape(-1, x.shape[-1]) @ _matrix(kernel)
            return _add_taps(taps.reshape(*x.shape[:-1], -1, channels), kernel_sizes, geometry)

        num_bytes = math.prod(kernel_sizes) * channels * math.prod(x.shape[1:-1]) * x.dtype.itemsize
        return _in_pieces(piece, _num_pieces(x.shape[0], num_bytes), x)

    def num_pieces(y, inputs, kernel_sizes):
        return _num_pieces(y.shape[0], math.prod(inputs) * math.prod(kernel_sizes) * y.shape[-1] * y.dtype.itemsize)

    @bilinear_primitive(
        lambda ct, kernel: maps(geometry)[0](ct, kernel),
        lambda ct, y: maps(geometry)[2](ct, y),
        on_accelerators=strided_by_library,
        independent=0,
    )
    def strided_convolution(y, kernel):
        kernel_sizes = kernel.shape[1:-1]
        inputs = geometry.input_sizes(y.shape[1:-1], kernel_sizes)

        def piece(y):
            return (_gather_patches(y, kernel_sizes, geometry) @ _matrix(kernel).T).reshape(-1, *inputs, len(kernel))

        return _in_pieces(piece, num_pieces(y, inputs, kernel_sizes), y)

    @bilinear_primitive(
        lambda ct, y: maps(geometry)[1](y, ct),
        lambda ct, x: maps(geometry)[0](x, ct),
        on_accelerators=gradient_by_library,
    )
    def kernel_gradient(x, y):
        c_in, c_out = x.shape[-1], y.shape[-1]
        kernel_sizes = geometry.kernel_sizes(x.shape[1:-1], y.shape[1:-1])

        def piece(x, y):
            return x.reshape(-1, c_in).T @ _gather_patches(y, kernel_sizes, geometry)

        num = num_pieces(y, x.shape[1:-1], kernel_sizes)
        if num == 1:
            matrix = piece(x, y)
        else:
            zero = vary_like(jnp.zeros((c_in, math.prod(kernel_sizes) * c_out), x.dtype), x, y)
            matrix, _ = jax.lax.scan(lambda sum, xy: (sum + piece(*xy), None), zero, (_cut(x, num), _cut(y, num)))
        return matrix.reshape(c_in, *kernel_sizes, c_out)

    return transposed_convolution, strided_convolution, kernel_gradient


def transposed_convolution(x: jax.Array, kernel: jax.Array, geometry: Geometry = DOUBLING) -> jax.Array:
    """Return T(x, K): `[B, *n, C_in]` and `[C_in, *k, C_out]` to `[B, *m, C_out]`; by default m = 2 n.

    Raises:
        ValueError: where nothing is left of the output.
    """
    sizes = geometry.output_sizes(x.shape[1:-1], kernel.shape[1:-1])
    if min(sizes, default=1) < 1:
        raise ValueError(
            f"expected an output of one position at least, got {sizes} for an input of {x.shape[1:-1]} and a kernel of "
            f"{kernel.shape[1:-1]}: padding that cuts off everything? give less negative padding"
        )
    taps = math.prod(kernel.shape[1:-1])
    dense = taps > 1 and set(geometry.strides) == {1} and math.prod(sizes) < 2 * math.prod(x.shape[1:-1])
    dtype = jnp.result_type(x, kernel)
    return (library_maps if dense else maps)(geometry)[0](x.astype(dtype), kernel.astype(dtype))


def strided_convolution(y: jax.Array, kernel: jax.Array, geometry: Geometry = DOUBLING) -> jax.Array:
    """Return S(y, K): `[B, *m, C_out]` and `[C_in, *k, C_out]` to `[B, *n, C_in]`; by default n = m / 2."""
    return maps(geometry)[1](y, kernel)


def kernel_gradient(x: jax.Array, y: jax.Array, geometry: Geometry = DOUBLING) -> jax.Array:
    """Return G(x, y), a sum over the batch: `[B, *n, C_in]` and `[B, *m, C_out]` to `[C_in, *k, C_out]`."""
    return maps(geometry)[2](x, y)
