"""Bilinear maps that know their transposes and how to be mapped over many directions.

A GON differentiates twice, and its fast forms push k tangents, or pull B cotangents, through one linearization. What
JAX derives for that is right, but XLA on a CPU runs it many times slower than need be: a sum over a leading axis, a
product contracted over two axes. Each map here is a primitive whose transposes are primitives again, and whose mapping
over directions is a reshape; so derivatives of any order, mapped or not, stay on plain matrix products.
"""

from collections.abc import Callable
from functools import partial, wraps

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from gon_jax.ops.varying import vary_like

__all__ = ["bilinear_primitive", "copies", "matmul", "scale", "scale_each", "sum_of_outer", "sum_of_products"]

Bilinear = Callable[[jax.Array, jax.Array], jax.Array]
Transposes = tuple[Bilinear, Bilinear]


def bilinear_primitive(
    *transposes: Bilinear,
    on_accelerators: Bilinear | None = None,
    independent: int | None = None,
    map_fn: Callable[[jax.Array, jax.Array, tuple[bool, ...]], jax.Array] | None = None,
) -> Callable[[Bilinear], Bilinear]:
    """Make a function `(a, b) -> c` in plain JAX, linear in each argument, a primitive; a decorator.

    Arguments of several types are promoted as by `jax.numpy`, and integers are refused. Products have the precision
    that was the default where the primitive was called (`jax.default_matmul_precision`), in derivatives too.

    Args:
        *transposes: `(cotangent, b) -> cotangent of a` and `(cotangent, a) -> cotangent of b`.
        on_accelerators: the function on other platforms than CPUs, if it differs there.
        independent: 0 or 1, the argument whose first axis, like that of c, holds independent examples: mapped over it
            alone, there are more examples.
        map_fn: any other rule for mapping, `(a, b, which are mapped) -> c`, with mapped axes in front.
    """

    def decorate(function: Bilinear) -> Bilinear:
        primitive = Primitive(function.__name__)
        choose = partial(jax.lax.platform_dependent, cpu=function, default=on_accelerators)
        run = in_precision(choose if on_accelerators else function)
        primitive.def_impl(jax.jit(run, static_argnames="precision"))

        def type_of(a, b):
            return jax.make_jaxpr(function)(a, b).out_avals[0]

        def mapped_rule(args, dims):
            mapped = tuple(dim is not None for dim in dims)
            args = [x if dim is None else jnp.moveaxis(x, dim, 0) for x, dim in zip(args, dims, strict=True)]
            if map_fn is not None:
                return map_fn(args[0], args[1], mapped), 0
            if independent is None or all(mapped) or not mapped[independent]:
                return jax.vmap(function, [0 if m else None for m in mapped])(*args), 0
            num = args[independent].shape[:2]
            args[independent] = args[independent].reshape(-1, *args[independent].shape[2:])
            c = bind(*args)
            return c.reshape(*num, *c.shape[1:]), 0

        def bind(a, b):
            precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
            return primitive.bind(a, b, precision=precision)

        def lowered(function):
            return mlir.lower_fun(in_precision(function), multiple_results=False)

        primitive.def_abstract_eval(in_precision(type_of))
        mlir.register_lowering(primitive, lowered(on_accelerators or function))
        mlir.register_lowering(primitive, lowered(function), platform="cpu")
        batching.primitive_batchers[primitive] = in_precision(mapped_rule)
        to_a, to_b = transposes
        ad.defbilinear(
            primitive, in_precision(lambda ct, a, b: to_a(ct, b)), in_precision(lambda ct, a, b: to_b(ct, a))
        )
        return wraps(function)(lambda a, b: bind(*_alike(function.__name__, a, b)))

    return decorate


def in_precision(rule: Callable) -> Callable:
    """Return a rule with a keyword more: the precision of its products, as `jax.default_matmul_precision` takes it."""

    def call(*args, precision):
        with jax.default_matmul_precision(precision):
            return rule(*args)

    return call


def _alike(name, a, b):
    """Return both arguments in the type of their product, varying over the same axes of a mesh."""
    types = jnp.result_type(a), jnp.result_type(b)
    if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in types):
        raise TypeError(
            f"expected floating-point arguments of {name}, got {types[0]} and {types[1]}: integer images or "
            "parameters? make floats of them, images by gon_jax.data.to_unit"
        )
    dtype = jnp.result_type(a, b)
    a, b = (x if t == dtype else jax.lax.convert_element_type(x, dtype) for x, t in zip((a, b), types, strict=True))
    return vary_like(a, b), vary_like(b, a)


# -- element by element --------------------------------------------------------------------------------------------


def _transposes_of_scale() -> Transposes:  # of declared type: that of `scale` may not follow from itself
    return (lambda ct, t: scale(ct, t)), (lambda ct, g: scale(g, ct))


def _map_scale(g: jax.Array, t: jax.Array, mapped: tuple[bool, ...]) -> jax.Array:
    return scale(g, t) if all(mapped) else scale_each(g, t) if mapped[1] else scale_each(t, g)


@bilinear_primitive(*_transposes_of_scale(), map_fn=_map_scale)
def scale(g: jax.Array, t: jax.Array) -> jax.Array:
    """Return g t, element by element, both of one shape; mapped over directions t, it becomes `scale_each`.

    >>> scale(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]))
    Array([3., 8.], dtype=float32)
    """
    return g * t


def _transposes_of_scale_each() -> Transposes:
    return (lambda ct, t: sum_of_products(ct, t)), (lambda ct, g: scale_each(g, ct))


@bilinear_primitive(*_transposes_of_scale_each(), independent=1)
def scale_each(g: jax.Array, t: jax.Array) -> jax.Array:
    """Return g t_i for each direction: `[...]` and `[n, ...]` to `[n, ...]`.

    >>> scale_each(jnp.array([1.0, 2.0]), jnp.ones((2, 2)))
    Array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    return g[None] * t


@bilinear_primitive(
    lambda ct, b: scale_each(ct, b), lambda ct, a: scale_each(ct, a), on_accelerators=lambda a, b: (a * b).sum(axis=0)
)
def sum_of_products(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return sum_i a_i b_i, `[n, ...]` and `[n, ...]` to `[...]`, on CPUs as a product with a row of ones.

    >>> sum_of_products(jnp.ones((3, 2)), jnp.array([[1.0, 0.0], [1.0, 0.0], [1.0, 5.0]]))
    Array([3., 5.], dtype=float32)
    """
    ones, products = jnp.ones((1, a.shape[0]), a.dtype), (a * b).reshape(a.shape[0], -1)
    return jnp.matmul(ones, products, precision="highest").reshape(a.shape[1:])


def copies(x: jax.Array, num: int) -> jax.Array:
    """Return x `num` times, `[...]` to `[num, ...]`: a broadcast whose transpose is `sum_of_products`.

    >>> copies(jnp.array([1.0, 2.0]), 2)
    Array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    return scale_each(x, jnp.ones((num, *jnp.shape(x)), jnp.result_type(x)))


# -- matrix products -----------------------------------------------------------------------------------------------


def _transposes_of_matmul() -> Transposes:
    return (lambda ct, w: matmul(ct, w.T)), (lambda ct, a: sum_of_outer(a, ct))


@bilinear_primitive(*_transposes_of_matmul(), independent=0)
def matmul(a: jax.Array, w: jax.Array) -> jax.Array:
    """Return a w, `[n, c]` and `[c, m]` to `[n, m]`; mapped over a, it has more rows.

    >>> matmul(jnp.ones((1, 2)), jnp.eye(2))
    Array([[1., 1.]], dtype=float32)
    """
    return a @ w


@bilinear_primitive(lambda ct, b: matmul(b, ct.T), lambda ct, a: matmul(a, ct))
def sum_of_outer(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return sum_i a_i b_i^T, `[n, c]` and `[n, m]` to `[c, m]`.

    >>> sum_of_outer(jnp.ones((3, 1)), jnp.ones((3, 2)))
    Array([[3., 3.]], dtype=float32)
    """
    return a.T @ b
