"""Training on several devices: each computes its part of every batch, and all keep the whole state."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

__all__ = ["Placement", "place", "placement_of", "whole"]

T = TypeVar("T")


class Placement(NamedTuple):
    """How arrays lie on a mesh of devices with one axis, "batch".

    Attributes:
        mesh: of the devices.
        batch: of a batch `[B, ...]`, a part on each device.
        batches: of several, `[n, B, ...]`.
        whole: of all else, the same on each device.
    """

    mesh: Mesh
    batch: NamedSharding
    batches: NamedSharding
    whole: NamedSharding


def placement_of(
    batch_size: int,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]  (jaxlib has no stubs)
) -> Placement | None:
    """Return how training is spread over devices: those given, or all of all processes; None for the first one alone.

    Raises:
        ValueError: the devices cannot share a batch.
    """
    devices = jax.devices() if devices is None else list(devices)
    if devices == jax.devices()[:1]:
        return None
    if not devices or batch_size % len(devices):
        below = batch_size // max(1, len(devices)) * len(devices)
        nearest = " or ".join(str(size) for size in (below, below + len(devices)) if size)
        raise ValueError(
            f"expected a batch size that {len(devices)} devices can share, got {batch_size}: take {nearest}, or fewer "
            "devices"
        )
    mesh = Mesh(np.array(devices), ("batch",))
    specs = PartitionSpec("batch"), PartitionSpec(None, "batch"), PartitionSpec()
    return Placement(mesh, *(NamedSharding(mesh, spec) for spec in specs))


def place(tree: T, sharding: NamedSharding) -> T:
    """Return a pytree of arrays, the same in each process, whole on each device.

    >>> whole = NamedSharding(Mesh(np.array(jax.local_devices()), ("batch",)), PartitionSpec())
    >>> place({"w": np.ones(2, np.float32)}, whole)["w"].sharding.is_fully_replicated
    True
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def put(leaf):
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:  # there already
            return leaf
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

    return jax.tree.map(put, tree)


def whole(tree: T, placement: Placement | None) -> T:
    """Return a traced pytree that is to lie whole on each device; as it is on one."""
    return tree if placement is None else jax.lax.with_sharding_constraint(tree, placement.whole)
