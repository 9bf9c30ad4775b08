"""The device side: a dataset stays there as uint8, and an epoch is an array of indices into it."""

import jax
import jax.numpy as jnp


def to_unit(images):
    """Return images as floats in [0, 1]: uint8 divided by 255 in float32; floats as they are.

    Args:
        images: array of any shape, uint8 in 0..255 or floating point.

    Raises:
        ValueError: the dtype is neither.

    Example:
        >>> to_unit(jnp.array([0, 255], jnp.uint8)).tolist()
        [0.0, 1.0]
    """
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    if jnp.issubdtype(images.dtype, jnp.floating):
        return images
    raise ValueError(f"expected uint8 or floating-point images, got {images.dtype}: cast 0..255 to uint8 first")


def epoch_order(key, epoch, num_examples: int, batch_size: int):
    """Return which examples make up each batch of an epoch: int32 indices `[num_batches, batch_size]`.

    A permutation that depends on `(key, epoch)` alone, so that a resumed run sees what an uninterrupted one would.
    The last, incomplete batch is dropped: `num_batches = num_examples // batch_size`.

    Args:
        key: typed key of the run's shuffling.
        epoch: number of the epoch, an int or an int scalar (may be traced).
        num_examples, batch_size: static counts.

    Raises:
        ValueError: `batch_size` is not in 1..num_examples.

    Example:
        >>> epoch_order(jax.random.key(0), 3, num_examples=10, batch_size=4).shape
        (2, 4)
    """
    if not 1 <= batch_size <= num_examples:
        raise ValueError(
            f"expected a batch size from 1 to the {num_examples} examples there are, got {batch_size}: "
            "no batch would be complete; choose a smaller one"
        )
    num_batches = num_examples // batch_size
    order = jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)
    return order[: num_batches * batch_size].astype(jnp.int32).reshape(num_batches, batch_size)
