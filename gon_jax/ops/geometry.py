"""Where the taps of a transposed convolution fall, and the three maps of one by XLA's convolution.

>>> Geometry((3,), ((0, 1),), (1,)).output_sizes((4,), (5,))
(13,)
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

__all__ = ["DOUBLING", "Geometry", "library_maps"]


class Geometry(NamedTuple):
    """Where taps fall, axis by axis: input i and tap a meet output `s i - lo + d a`.

    Attributes:
        strides: s, one for each spatial axis.
        padding: (lo, hi), what T cuts off (adds, where negative) before and after.
        dilation: d.
    """

    strides: tuple[int, ...] = (2, 2)
    padding: tuple[tuple[int, int], ...] = ((1, 1), (1, 1))
    dilation: tuple[int, ...] = (1, 1)

    @property
    def axes(self) -> list[tuple[int, int, int, int]]:
        """`(s, lo, hi, d)` of each axis."""
        return [(s, *pads, d) for s, pads, d in zip(self.strides, self.padding, self.dilation, strict=True)]

    def output_sizes(self, inputs: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial sizes of y, of those of x and K."""
        each = zip(self.axes, inputs, kernel, strict=True)
        return tuple((n - 1) * s + d * (k - 1) + 1 - lo - hi for (s, lo, hi, d), n, k in each)

    def input_sizes(self, outputs: Sequence[int], kernel: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial sizes of x, of those of y and K."""
        each = zip(self.axes, outputs, kernel, strict=True)
        return tuple((m + lo + hi - d * (k - 1) - 1) // s + 1 for (s, lo, hi, d), m, k in each)

    def kernel_sizes(self, inputs: Sequence[int], outputs: Sequence[int]) -> tuple[int, ...]:
        """Return the spatial sizes of K, of those of x and y."""
        each = zip(self.axes, inputs, outputs, strict=True)
        return tuple((m + lo + hi - (n - 1) * s - 1) // d + 1 for (s, lo, hi, d), n, m in each)


DOUBLING = Geometry()
"""For a 4x4 kernel that doubles the size of an image: stride 2, padding 1."""


@functools.cache
def library_maps(geometry: Geometry) -> tuple[Callable[[jax.Array, jax.Array], jax.Array], ...]:
    """Return T, S and G by XLA's convolution, what accelerators are given; S and G are derived from T."""
    num_axes = len(geometry.strides)
    image = (0, num_axes + 1, *range(1, num_axes + 1))
    numbers = jax.lax.ConvDimensionNumbers(image, (num_axes + 1, *image[:1], *image[2:]), image)

    def transposed(x, kernel):
        each = zip(geometry.axes, kernel.shape[1:-1], strict=True)
        padding = [(d * (k - 1) - lo, d * (k - 1) - hi) for (_, lo, hi, d), k in each]
        flipped = jax.lax.rev(kernel, range(1, num_axes + 1))
        return jax.lax.conv_general_dilated(
            x, flipped, (1,) * num_axes, padding, geometry.strides, geometry.dilation, dimension_numbers=numbers
        )

    def strided(y, kernel):
        sizes = geometry.input_sizes(y.shape[1:-1], kernel.shape[1:-1])
        x = jax.ShapeDtypeStruct((y.shape[0], *sizes, len(kernel)), y.dtype)
        return jax.linear_transpose(lambda x: transposed(x, kernel), x)(y)[0]

    def gradient(x, y):
        sizes = geometry.kernel_sizes(x.shape[1:-1], y.shape[1:-1])
        kernel = jax.ShapeDtypeStruct((x.shape[-1], *sizes, y.shape[-1]), x.dtype)
        return jax.linear_transpose(lambda kernel: transposed(x, kernel), kernel)(y)[0]

    return transposed, strided, gradient
