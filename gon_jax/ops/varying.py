"""Arrays that differ between the devices of a mesh, inside `jax.shard_map`.

There an array's type names the mesh axes over which it varies. Data vary; zeros and replicated parameters do not, and a
derivative in these is a sum over devices. For parameters a sum is meant. A latent is a derivative too, and in it a sum
would mix examples of different devices: so the points where latents are derivatives vary over every axis over which the
loss does. Outside of `jax.shard_map`, or with `check_vma=False`, nothing varies by its type, and nothing is done here.
"""

from collections.abc import Callable, Hashable
from typing import Any

import jax
from jax.core import Tracer

__all__ = ["vary_like", "varying_axes", "vjp"]


def varying_axes(*trees: Any) -> frozenset[Hashable]:
    """Return the mesh axes over which any array of some pytrees varies.

    >>> varying_axes({"kernel": jax.numpy.ones(3)})
    frozenset()
    """
    types = [jax.typeof(leaf) for leaf in jax.tree.leaves(trees) if isinstance(leaf, Tracer)]
    axes = [kind.vma if hasattr(kind, "vma") else kind.manual_axis_type.varying for kind in types]
    return frozenset().union(*axes)


def vary_like(tree: Any, *like: Any) -> Any:
    """Return a pytree of the same values, each array of which varies over the axes of `like` too."""
    axes = varying_axes(like)

    def vary(x):
        missing = tuple(sorted(axes - varying_axes(x), key=str))
        if not missing:
            return x
        if hasattr(jax.lax, "pcast"):
            return jax.lax.pcast(x, missing, to="varying")
        return jax.lax.pvary(x, missing)  # pyright: ignore[reportAttributeAccessIssue]  (its name before jax 0.8)

    return jax.tree.map(vary, tree) if axes else tree


def vjp(function: Callable[[Any], Any], point: Any, *like: Any) -> tuple[Any, Callable[[Any], tuple[Any]]]:
    """Return `jax.vjp(function, point)`, with a derivative in the point that is each device's own.

    Args:
        function, point: as for `jax.vjp`.
        *like: what the cotangents vary like, if the output does not.
    """
    point = vary_like(point, *like)
    output, pullback = jax.vjp(lambda point: vary_like(function(point), point), point)
    if not varying_axes(output) <= varying_axes(point):  # by what the function closes over
        return vjp(function, point, output)
    return output, lambda cotangent: pullback(vary_like(cotangent, output))
