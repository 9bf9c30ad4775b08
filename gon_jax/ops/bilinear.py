"""Bilinear maps that know their transposes and how to be mapped over many directions.

A GON differentiates twice, and its fast forms push k tangents, or pull B cotangents, through one linearization. What
JAX derives for that is right, but XLA on a CPU runs it many times slower than need be: a sum over a leading axis, a
product contracted over two axes. Each map here is a primitive whose transposes are primitives again, and whose mapping
over directions is a reshape; so derivatives of any order, mapped or not, stay on plain matrix products.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

__all__ = ["bilinear_primitive", "matmul", "scale", "scale_each", "sum_of_outer", "sum_of_products"]


def bilinear_primitive(
    name: str,
    function: Callable,
    transposes: Callable[[], tuple[Callable, Callable]],
    *,
    on_accelerators: Callable | None = None,
    rows: bool = False,
    batch: Callable | None = None,
) -> Callable:
    """Return `function(a, b)`, linear in each argument, as a primitive.

    Args:
        name: of the primitive.
        function: the map in plain JAX.
        transposes: returns `(cotangent, b) -> cotangent of a` and `(cotangent, a) -> cotangent of b`; a function, so
            that primitives can be each other's transposes.
        on_accelerators: the map on other platforms than CPUs, if it differs there.
        rows: the first axis of `a` and of the result are independent rows: mapped over `a` alone, there are more rows.
        batch: any other rule for mapping: `(a, b, which are mapped) -> (result, its mapped axis)`, or `None` to
            decline; mapped axes are in front.
    """
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind))

    def shape_of(a, b):
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (a, b)]
        return a.update(shape=jax.eval_shape(function, *shapes).shape)

    def mapped_rule(args, dims):
        mapped = tuple(dim is not None for dim in dims)
        a, b = (x if dim is None else jnp.moveaxis(x, dim, 0) for x, dim in zip(args, dims, strict=True))
        if rows and mapped == (True, False):
            result = primitive.bind(a.reshape(-1, *a.shape[2:]), b)
            return result.reshape(*a.shape[:2], *result.shape[1:]), 0
        if batch is not None and (result := batch(a, b, mapped)) is not None:
            return result
        return jax.vmap(function, [0 if m else None for m in mapped])(a, b), 0

    primitive.def_abstract_eval(shape_of)
    mlir.register_lowering(primitive, mlir.lower_fun(on_accelerators or function, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False), platform="cpu")
    batching.primitive_batchers[primitive] = mapped_rule
    ad.defbilinear(primitive, lambda ct, a, b: transposes()[0](ct, b), lambda ct, a, b: transposes()[1](ct, a))
    return primitive.bind


# -- element by element --------------------------------------------------------------------------------------------


def _sum_of_products(a, b):
    products = (a * b).reshape(len(a), -1)
    return (jnp.ones((1, len(a)), a.dtype) @ products).reshape(a.shape[1:])


def _batch_scale(g, t, mapped):
    if all(mapped):
        return scale(g, t), 0
    return scale_each(*((g, t) if mapped[1] else (t, g))), 0


def _batch_scale_each(g, t, mapped):
    if mapped == (False, True):  # more directions
        return scale_each(g, t.reshape(-1, *t.shape[2:])).reshape(t.shape), 0
    return None


_scale = bilinear_primitive(
    "scale",
    jnp.multiply,
    lambda: (lambda ct, t: scale(ct, t), lambda ct, g: scale(g, ct)),
    batch=_batch_scale,
)
_scale_each = bilinear_primitive(
    "scale_each",
    lambda g, t: g * t,
    lambda: (lambda ct, t: sum_of_products(ct, t), lambda ct, g: scale_each(g, ct)),
    batch=_batch_scale_each,
)
_sum = bilinear_primitive(
    "sum_of_products",
    _sum_of_products,
    lambda: (lambda ct, b: scale_each(ct, b), lambda ct, a: scale_each(ct, a)),
)


def scale(g: jax.Array, t: jax.Array) -> jax.Array:
    """Return g t, element by element, both of one shape; mapped over directions t, it becomes `scale_each`.

    >>> scale(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]))
    Array([3., 8.], dtype=float32)
    """
    return _scale(g, t)


def scale_each(g: jax.Array, t: jax.Array) -> jax.Array:
    """Return g t_i for each direction: `[...]` and `[n, ...]` to `[n, ...]`.

    >>> scale_each(jnp.array([1.0, 2.0]), jnp.ones((2, 2)))
    Array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    return _scale_each(g, t)


def sum_of_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return sum_i a_i b_i, `[n, ...]` and `[n, ...]` to `[...]`, as a product with a row of ones.

    >>> sum_of_products(jnp.ones((3, 2)), jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 5.0]]))
    Array([3., 5.], dtype=float32)
    """
    return _sum(a, b)


# -- matrix products -----------------------------------------------------------------------------------------------

_matmul = bilinear_primitive(
    "matmul_rows",
    jnp.matmul,
    lambda: (lambda ct, w: matmul(ct, w.T), lambda ct, a: sum_of_outer(a, ct)),
    rows=True,
)
_outer = bilinear_primitive(
    "sum_of_outer",
    lambda a, b: a.T @ b,
    lambda: (lambda ct, b: matmul(b, ct.T), lambda ct, a: matmul(a, ct)),
)


def matmul(a: jax.Array, w: jax.Array) -> jax.Array:
    """Return a w, rows `[n, c]` and a matrix `[c, m]` to `[n, m]`; mapped rows are more rows.

    >>> matmul(jnp.ones((1, 2)), jnp.eye(2))
    Array([[1., 1.]], dtype=float32)
    """
    return _matmul(a, w)


def sum_of_outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return sum_i a_i b_i^T, `[n, c]` and `[n, m]` to `[c, m]`.

    >>> sum_of_outer(jnp.ones((3, 1)), jnp.ones((3, 2)))
    Array([[3., 3.]], dtype=float32)
    """
    return _outer(a, b)
