"""Work that is the same for every batch, shared between the devices of a mesh inside `jax.jit`."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

__all__ = ["vmap_spread"]


def vmap_spread(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Return `jax.vmap(function)(x)`, each entry of `x [N, ...]` computed on one device of the mesh in use.

    That is the mesh of `jax.set_mesh`; without it each device would compute all entries. Where the devices do not
    divide N, zeros are added. Nothing changes without a mesh, on axes that are not automatic, or inside
    `jax.shard_map`, where each device has its own program.

    >>> vmap_spread(jnp.sum, jnp.ones((2, 3)))
    Array([3., 3.], dtype=float32)
    """
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    axes = [name for name, kind in kinds.items() if kind == AxisType.Auto]
    if (num_devices := math.prod(mesh.shape[name] for name in axes)) == 1:
        return jax.vmap(function)(x)
    num = len(x)
    x = jnp.pad(x, [(0, -num % num_devices)] + [(0, 0)] * (x.ndim - 1))
    x = jax.lax.with_sharding_constraint(x, PartitionSpec(tuple(axes)))
    return jax.vmap(function)(x)[:num]
