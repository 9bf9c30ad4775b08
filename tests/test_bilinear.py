"""The bilinear primitives against plain JAX: values, derivatives of two orders, and every way of mapping them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.ops.activations import Elementwise, elu, sigmoid, tanh
from gon_jax.ops.bilinear import matmul, scale, scale_each, sum_of_outer, sum_of_products
from gon_jax.ops.transposed_conv import strided_convolution, transposed_convolution


def reference_transposed(x, kernel):
    return jax.lax.conv_transpose(x, kernel.transpose(1, 2, 0, 3)[::-1, ::-1], (2, 2), "SAME")


def reference_strided(y, kernel):
    x = jax.ShapeDtypeStruct((y.shape[0], y.shape[1] // 2, y.shape[2] // 2, len(kernel)), y.dtype)
    return jax.linear_transpose(lambda x: reference_transposed(x, kernel), x)(y)[0]


MAPS = {  # ours, plain JAX, shapes of the two arguments
    "scale": (scale, jnp.multiply, (3, 2), (3, 2)),
    "scale_each": (scale_each, jnp.multiply, (3, 2), (4, 3, 2)),
    "sum_of_products": (sum_of_products, lambda a, b: (a * b).sum(axis=0), (4, 3, 2), (4, 3, 2)),
    "matmul": (matmul, jnp.matmul, (3, 2), (2, 5)),
    "sum_of_outer": (sum_of_outer, lambda a, b: a.T @ b, (3, 2), (3, 5)),
    "transposed": (transposed_convolution, reference_transposed, (2, 2, 3, 2), (2, 4, 4, 3)),
    "strided": (strided_convolution, reference_strided, (2, 4, 6, 3), (2, 4, 4, 3)),
}
AXES = [axes for axes in itertools.product((None, 0, 1), repeat=2) if axes != (None, None)]


def arguments(shapes, axes=(None, None), size=4):
    rng = np.random.default_rng(0)
    shapes = [s if axis is None else (*s[:axis], size, *s[axis:]) for s, axis in zip(shapes, axes, strict=True)]
    return [jnp.asarray(rng.normal(size=s)) for s in shapes]


def second_order(function):
    """The gradient of a function of a gradient, in both arguments, as in a GON."""

    def inner(a, b):
        return jax.grad(lambda a: jnp.sin(function(a, b)).sum())(a)

    def outer(a, b):
        return jnp.tanh(inner(a, b)).sum()

    return jax.grad(outer, argnums=(0, 1))


def assert_equal(ours, plain):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", MAPS)
def test_maps_and_their_derivatives(name):
    ours, plain, *shapes = MAPS[name]
    a, b = arguments(shapes)
    for form in (lambda f: f, jax.jit, second_order, lambda f: jax.jacfwd(f, argnums=(0, 1)), jax.linearize):
        if form is jax.linearize:
            assert_equal(jax.linearize(ours, a, b)[1](a, b), jax.linearize(plain, a, b)[1](a, b))
        else:
            assert_equal(form(ours)(a, b), form(plain)(a, b))


@pytest.mark.quick("*(1, 1)")
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("axes", AXES, ids=str)
@pytest.mark.parametrize("name", MAPS)
def test_mapped(name, axes):
    """Mapped over either argument or both, along any axis; mapped derivatives; mapped twice."""
    ours, plain, *shapes = MAPS[name]
    a, b = arguments(shapes, axes)
    assert_equal(jax.vmap(ours, axes)(a, b), jax.vmap(plain, axes)(a, b))
    summed = [lambda a, b, f=f: jnp.sin(jax.vmap(f, axes)(a, b)).sum() for f in (ours, plain)]
    assert_equal(*(jax.jit(jax.grad(f, argnums=(0, 1)))(a, b) for f in summed))
    twice = [jax.vmap(jax.vmap(f, axes), (None, 0)) for f in (ours, plain)]
    assert_equal(*(f(a, jnp.stack([b, 2 * b])) for f in twice))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "activation, reference",
    [(elu, jax.nn.elu), (sigmoid, jax.nn.sigmoid), (tanh, jnp.tanh), (Elementwise(jax.nn.gelu), jax.nn.gelu)],
    ids=["elu", "sigmoid", "tanh", "gelu"],
)
def test_activations_are_their_references_to_third_order(activation, reference):
    x = jnp.linspace(-30.0, 30.0, 61)  # 0 is among them
    for _ in range(4):
        np.testing.assert_allclose(activation(x), reference(x), rtol=1e-11, atol=1e-12)
        activation, reference = (jax.grad(lambda x, f=f: f(x).sum()) for f in (activation, reference))


def test_elu_in_float32_is_right_to_rounding_of_1():
    x = np.linspace(-20, 2, 100_001).astype(np.float32)
    exact = np.where(x > 0, x, np.expm1(x.astype(np.float64)))
    np.testing.assert_allclose(elu(jnp.asarray(x)), exact, rtol=0, atol=2e-7)
    assert elu(jnp.float32(0)) == 0 and jnp.isfinite(jax.grad(elu)(jnp.float32(1e4)))
