"""Transposed convolutions of kernel 4, stride 2, padding 1 as matrix products.

`lax.conv_transpose` dilates its input, which on a CPU multiplies zeros everywhere. Here the input is multiplied by all
16 taps at once, and the taps are added where they overlap,

    y[2 i - 1 + a] += x[i] K[a],    a = 0..3, in both directions.

Adding taps and gathering patches are linear maps, each the transpose of the other. Both are primitives that know it,
so that a derivative of any order is again one of the two and a product: nothing falls back on dilated convolutions.
"""

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir


def _add_taps_along_rows(taps):
    """Add overlapping taps of one axis: `[B, H, 4, ...]` to `[B, 2 H, ...]`."""
    batch, height, _, *rest = taps.shape
    zero = jnp.zeros((batch, 1, *rest), taps.dtype)
    even = taps[:, :, 1] + jnp.concatenate([zero, taps[:, :-1, 3]], axis=1)
    odd = taps[:, :, 2] + jnp.concatenate([taps[:, 1:, 0], zero], axis=1)
    return jnp.stack([even, odd], axis=2).reshape(batch, 2 * height, *rest)


def _add_taps(taps):
    batch, height, width, _, _, channels = taps.shape
    rows = _add_taps_along_rows(taps.swapaxes(2, 3))  # [B, 2H, W, 4, C]
    rows = rows.reshape(2 * batch * height, width, 4, channels)
    return _add_taps_along_rows(rows).reshape(batch, 2 * height, 2 * width, channels)


def _gather_patches(y):
    batch, height, width, channels = y.shape
    padded = jnp.pad(y, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [padded[:, a : a + height : 2] for a in range(4)]
    patches = [[row[:, :, c : c + width : 2] for c in range(4)] for row in rows]
    stacked = jnp.stack([jnp.stack(row, axis=3) for row in patches], axis=3)
    return stacked.reshape(batch, height // 2, width // 2, 4, 4, channels)


def _linear_primitive(name, function, transpose):
    """Make `function`, linear in its one argument `[B, ...]`, a primitive whose transpose is `transpose()`."""
    primitive = Primitive(name)
    lowered = jax.jit(function)
    primitive.def_impl(lowered)
    primitive.def_abstract_eval(
        lambda aval: aval.update(shape=jax.eval_shape(function, jax.ShapeDtypeStruct(aval.shape, aval.dtype)).shape)
    )
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    ad.deflinear(primitive, lambda cotangent: [transpose()(cotangent)])

    def batch_rule(args, dims):
        (x,), (dim,) = args, dims
        x = jnp.moveaxis(x, dim, 0)
        y = primitive.bind(x.reshape(-1, *x.shape[2:]))
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0

    batching.primitive_batchers[primitive] = batch_rule
    return primitive.bind


def add_taps(taps: jax.Array) -> jax.Array:
    """Add the 16 taps of each input position where they overlap in the output.

    Args:
      taps: `[B, H, W, 4, 4, C]`.

    Returns:
      `[B, 2 H, 2 W, C]`; the transpose of `gather_patches`.

    >>> add_taps(jnp.ones((1, 2, 2, 4, 4, 1)))[0, :, :, 0]
    Array([[1., 2., 2., 1.],
           [2., 4., 4., 2.],
           [2., 4., 4., 2.],
           [1., 2., 2., 1.]], dtype=float32)
    """
    return _add_taps_bind(taps)


def gather_patches(y: jax.Array) -> jax.Array:
    """Gather the 4x4 patch, at stride 2 and with padding 1, that each input position touches.

    Args:
      y: `[B, H, W, C]`, H and W even.

    Returns:
      `[B, H / 2, W / 2, 4, 4, C]`; the transpose of `add_taps`.

    >>> gather_patches(jnp.ones((1, 2, 2, 1)))[0, 0, 0, :, :, 0]
    Array([[0., 0., 0., 0.],
           [0., 1., 1., 0.],
           [0., 1., 1., 0.],
           [0., 0., 0., 0.]], dtype=float32)
    """
    return _gather_patches_bind(y)


_add_taps_bind = _linear_primitive("add_taps", _add_taps, transpose=lambda: gather_patches)
_gather_patches_bind = _linear_primitive("gather_patches", _gather_patches, transpose=lambda: add_taps)


def transposed_convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Double the size of an image: kernel 4, stride 2, padding 1.

    Args:
      x: `[B, H, W, C_in]`.
      kernel: `[4, 4, C_in, C_out]`; torch's weight `(in, out, kh, kw)` transposed by (2, 3, 0, 1).

    Returns:
      `[B, 2 H, 2 W, C_out]`.

    >>> transposed_convolution(jnp.ones((1, 4, 4, 3)), jnp.ones((4, 4, 3, 2))).shape
    (1, 8, 8, 2)
    """
    batch, height, width, c_in = x.shape
    c_out = kernel.shape[-1]
    matrix = kernel.transpose(2, 0, 1, 3).reshape(c_in, 16 * c_out)
    return add_taps((x.reshape(-1, c_in) @ matrix).reshape(batch, height, width, 4, 4, c_out))
