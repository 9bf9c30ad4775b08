"""The transposed convolution of any geometry: equal to `lax.conv_transpose` and Flax's layer, in two derivatives."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.ops.convolve_like_lax import conv_transpose
from gon_jax.ops.geometry import Geometry, library_maps
from gon_jax.ops.transposed_conv import maps

RNG = np.random.default_rng(0)

pytestmark = pytest.mark.usefixtures("x64")
GRID = [  # kernel, strides, padding, dilation; large and small beside the strides, odd and even
    *itertools.product([(1, 4), (5, 2)], [(1, 1), (2, 3)], ["SAME", "VALID", "CIRCULAR"], [(1, 1)]),
    ((3, 2), (2, 1), "SAME", (2, 3)),
    ((3, 2), (2, 1), "VALID", (2, 3)),
    ((3, 2), (1, 2), "CIRCULAR", (3, 1)),
    ((4, 4), (2, 2), ((2, 2), (2, 2)), (1, 1)),  # of the authors' decoder
    ((3, 3), (2, 2), ((5, 4), (0, 1)), (1, 1)),  # zeros beyond the kernel's reach
    ((4, 3), (1, 3), ((-1, 2), (3, -2)), (1, 2)),  # some of the output cut off
    ((2, 2), (4, 5), ((1, 4), (0, 0)), (1, 1)),  # strides beyond the kernel
    ((3,), (2,), "SAME", (1,)),
    ((7,), (3,), "CIRCULAR", (2,)),
    ((2, 3, 2), (2, 1, 3), "SAME", (1, 1, 1)),
    ((3, 1, 2), (1, 2, 2), "CIRCULAR", (1, 1, 2)),
]


def flax_layer(kernel, strides, padding, dilation, transpose_kernel):
    """Return Flax's transposed convolution as a function `(x, kernel) -> y`."""
    options = {"kernel_dilation": dilation, "transpose_kernel": transpose_kernel, "use_bias": False}
    layer = nn.ConvTranspose(2, kernel, strides, padding, **options)
    return lambda x, kernel: layer.apply({"params": {"kernel": kernel}}, x)


def two_derivatives(convolve, x, kernel):
    """Return values, and gradients of a function of a gradient, as in a GON."""

    def outer(x, kernel):
        inner, y = jax.grad(lambda x: (jnp.tanh(y := convolve(x, kernel)).sum(), y), has_aux=True)(x)
        return jnp.sin(inner).sum(), y

    return jax.jit(jax.grad(outer, argnums=(0, 1), has_aux=True))(x, kernel)


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "dilation", "transpose_kernel"),
    [(*case, flag) for i, case in enumerate(GRID) for flag in (False, True) if case[2] == "CIRCULAR" or i % 2 == flag],
)
def test_values_and_two_derivatives_are_flaxs(kernel, strides, padding, dilation, transpose_kernel):
    sizes = (4, 3, 2)[: len(kernel)]
    x = jnp.asarray(RNG.normal(size=(2, *sizes, 3)))
    weights = jnp.asarray(RNG.normal(size=(*kernel, *((2, 3) if transpose_kernel else (3, 2)))))
    options = {"rhs_dilation": dilation, "transpose_kernel": transpose_kernel}
    ours = two_derivatives(lambda x, k: conv_transpose(x, k, strides, padding, **options), x, weights)
    theirs = two_derivatives(flax_layer(kernel, strides, padding, dilation, transpose_kernel), x, weights)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_other_platforms_compute_the_same_of_any_geometry():
    """What a GPU is given, run here; and the three maps are each other's transposes."""
    geometry = Geometry((3, 1, 2), ((1, 0), (-1, 2), (0, 1)), (1, 2, 1))
    x, kernel = jnp.asarray(RNG.normal(size=(2, 3, 4, 3, 2))), jnp.asarray(RNG.normal(size=(2, 2, 3, 3, 4)))
    y = jnp.asarray(RNG.normal(size=(2, *geometry.output_sizes((3, 4, 3), (2, 3, 3)), 4)))
    pairs = zip(maps(geometry), library_maps(geometry), strict=True)
    for (ours, library), arguments in zip(pairs, [(x, kernel), (y, kernel), (x, y)], strict=True):
        np.testing.assert_allclose(ours(*arguments), library(*arguments), rtol=1e-12, atol=1e-12)


def test_arrays_in_another_order_of_axes_are_laxs():
    x, kernel = jnp.asarray(RNG.normal(size=(2, 3, 4, 5))), jnp.asarray(RNG.normal(size=(6, 3, 3, 2)))
    arguments = x, kernel, (2, 1), "SAME", (1, 2), ("NCHW", "OIHW", "NHWC")
    expected = jax.lax.conv_transpose(*arguments)
    np.testing.assert_allclose(conv_transpose(*arguments), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"padding": "REFLECT"}, "expected .* a padding of .*REFLECT"),
        ({"strides": (2,)}, "a stride and a dilation for each of 2"),
        ({"transpose_kernel": True}, "expected a kernel of 3 input channels, got 4"),
        ({"precision": (jax.lax.Precision.HIGHEST, None)}, "one precision for both"),
        ({"padding": ((0, 0), (-9, 0))}, "an output of one position at least"),
        ({"strides": (0, 2)}, "expected strides, .*got 0"),
        ({"rhs_dilation": (1.5, 1)}, "expected rhs_dilation, .*got 1.5"),
        ({"rhs": jnp.ones((3, 3, 4))}, r"of as many axes, got \(1, 4, 4, 3\) and \(3, 3, 4\)"),
    ],
    ids=["padding", "strides", "channels", "precision", "no output", "stride 0", "half a position", "axes"],
)
def test_what_does_not_fit_is_refused_in_one_line(change, words):
    arguments = {"rhs": jnp.ones((3, 3, 3, 4)), "strides": (2, 2), "padding": "SAME"} | change
    with pytest.raises((TypeError, ValueError), match=words) as error:
        conv_transpose(jnp.ones((1, 4, 4, 3)), **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("size", "strides", "padding", "convolutions"),
    [(6, 2, "SAME", False), (1, 1, "VALID", False), (6, 1, "SAME", True)],
    ids=["stride 2", "from one position", "stride 1"],
)
def test_a_cpu_computes_products_unless_nothing_is_dilated(size, strides, padding, convolutions):
    x, kernel = jnp.ones((2, size, size, 3)), jnp.ones((4, 4, 3, 2))
    gradient = jax.grad(lambda x, k: jnp.sin(conv_transpose(x, k, (strides, strides), padding)).sum(), argnums=(0, 1))
    text = jax.jit(gradient).trace(x, kernel).lower(lowering_platforms=("cpu",)).as_text()
    assert ("stablehlo.convolution" in text) == convolutions and text.count("dot_general") == (0 if convolutions else 3)
