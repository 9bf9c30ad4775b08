"""`lax.conv_transpose` with the arguments of JAX's own, by the fast transposed convolution."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count
from gon_jax.ops.geometry import Geometry
from gon_jax.ops.transposed_conv import transposed_convolution

__all__ = ["conv_transpose"]

PADDINGS = ("SAME", "VALID", "CIRCULAR")


def conv_transpose(
    lhs: jax.Array,
    rhs: jax.Array,
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    transpose_kernel: bool = False,
    precision: Any = None,
) -> jax.Array:
    """Return `jax.lax.conv_transpose` of the same arguments, by matrix products on CPUs, and so its derivatives.

    Args:
        lhs: images of 1, 2, 3 or more spatial axes, `[B, *n, C_in]` by default.
        rhs: the kernel, `[*k, C_in, C_out]` by default.
        strides: one for each spatial axis.
        padding: "SAME", "VALID" or a pair for each spatial axis, as there; or "CIRCULAR", as in Flax's `ConvTranspose`.
        rhs_dilation: dilation of the kernel, for each spatial axis; by default 1.
        dimension_numbers: as there, such as `("NCHW", "OIHW", "NCHW")`.
        transpose_kernel: as there, the kernel is `[*k, C_out, C_in]` and is not flipped.
        precision: a name or member of `jax.lax.Precision`; by default that of `jax.default_matmul_precision`.

    Returns:
        `[B, *m, C_out]` by default.

    Raises:
        ValueError: for a padding, shapes or a precision that don't fit, and where no output is left.

    >>> x, kernel = jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3, 4))
    >>> conv_transpose(x, kernel, (2, 2), "SAME").shape
    (2, 10, 10, 4)
    """
    num_axes = jnp.ndim(lhs) - 2
    if num_axes < 1 or jnp.ndim(rhs) != num_axes + 2:
        raise ValueError(
            f"expected images [B, *n, C_in] and a kernel [*k, C_in, C_out] of as many axes, got {jnp.shape(lhs)} "
            f"and {jnp.shape(rhs)}: an axis is missing?"
        )
    if dimension_numbers is None:
        image = (0, num_axes + 1, *range(1, num_axes + 1))
        numbers = jax.lax.ConvDimensionNumbers(image, (num_axes + 1, num_axes, *range(num_axes)), image)
    else:
        numbers = jax.lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    (batch, channels, *space), (c_out, c_in, *taps), (out_batch, out_channels, *out_space) = numbers
    if transpose_kernel:
        c_out, c_in = c_in, c_out
    x, kernel = lhs.transpose(batch, *space, channels), rhs.transpose(c_in, *taps, c_out)
    if x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"expected a kernel of {x.shape[-1]} input channels, got {kernel.shape[0]} in {rhs.shape}: axes in another "
            "order? see dimension_numbers and transpose_kernel"
        )
    if not transpose_kernel:
        kernel = jax.lax.rev(kernel, range(1, num_axes + 1))
    strides = tuple(check_count("strides", s) for s in strides)
    dilation = tuple(check_count("rhs_dilation", d) for d in rhs_dilation or (1,) * num_axes)
    x, geometry = _place(x, kernel.shape[1:-1], strides, padding, dilation, transpose_kernel)
    with jax.default_matmul_precision(_name_of(precision)):
        y = transposed_convolution(x, kernel, geometry)
    order = (out_batch, *out_space, out_channels)
    return y.transpose([order.index(axis) for axis in range(y.ndim)])


def _place(x, kernel_sizes, strides, padding, dilation, transpose_kernel):
    """Return x, extended where it is circular, and where the taps of the flipped kernel fall."""
    sizes = x.shape[1:-1]
    if not len(sizes) == len(strides) == len(dilation) or (isinstance(padding, str) and padding not in PADDINGS):
        raise ValueError(
            f"expected a stride and a dilation for each of {len(sizes)} spatial axes, and a padding of {PADDINGS} or "
            f"pairs, got strides={strides}, rhs_dilation={dilation}, padding={padding!r}"
        )
    extent = [d * (k - 1) + 1 for k, d in zip(kernel_sizes, dilation, strict=True)]
    if not isinstance(padding, str):  # given as zeros around the dilated input
        edges = [(e - 1 - low, e - 1 - high) for (low, high), e in zip(padding, extent, strict=True)]
        return x, Geometry(strides, tuple(edges), dilation)
    edges, around = [], []
    for n, e, s in zip(sizes, extent, strides, strict=True):
        excess = max(e - s, 0)  # of the whole output over s n
        if padding == "VALID":
            low, size, wrapped = 0, s * n + excess, (0, 0)
        elif padding == "SAME":
            low, size, wrapped = (0 if s >= e else e - 1 - math.ceil((e + s - 2) / 2)), s * n, (0, 0)
        else:
            low, size = (excess + transpose_kernel) // 2, s * n
            wrapped = (max(0, (e - 1 - low) // s), (s - 1 + low) // s)  # inputs beyond the edges that reach inside
        low += s * wrapped[0]
        edges.append((low, (n + sum(wrapped) - 1) * s + e - low - size))
        around.append(wrapped)
    if any(map(any, around)):
        x = jnp.pad(x, [(0, 0), *around, (0, 0)], mode="wrap")
    return x, Geometry(strides, tuple(edges), dilation)


def _name_of(precision):
    """Return a precision as `jax.default_matmul_precision` takes it; `None` is the one in use."""
    if precision is None:
        return jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    pair = precision if isinstance(precision, tuple) else (precision, precision)
    names = {p.name.lower() if isinstance(p, jax.lax.Precision) else str(p) for p in pair}
    if len(names) != 1:
        raise ValueError(f"expected one precision for both factors, got {precision}: derivatives exchange the factors")
    return names.pop()
