"""The device side: a dataset stays there as uint8, and an epoch is an array of indices into it."""

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count
from gon_jax.inputs import to_unit

__all__ = ["epoch_order", "to_unit"]


def epoch_order(key: jax.Array, epoch: int | jax.Array, num_examples: int, batch_size: int) -> jax.Array:
    """Return which examples make up each batch of an epoch: int32 indices `[num_batches, batch_size]`.

    A permutation that depends on `(key, epoch)` alone, so that a resumed run sees what an uninterrupted one would.
    The last, incomplete batch is dropped. `epoch` may be traced, `num_examples` and `batch_size` are static.

    Raises:
        ValueError: `batch_size` is not in 1..num_examples.

    Example:
        >>> epoch_order(jax.random.key(0), 3, num_examples=10, batch_size=4).shape
        (2, 4)
    """
    check_count("batch_size", batch_size, most=num_examples, remedy=f"there are {num_examples} examples")
    num_batches = num_examples // batch_size
    order = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
    return order[: num_batches * batch_size].astype(jnp.int32).reshape(num_batches, batch_size)
