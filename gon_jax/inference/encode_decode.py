"""Latents of data and data of latents, batch by batch; arguments are those of `gon_jax.inference`."""

import math
from functools import partial

import jax
import numpy as np
from tqdm.auto import tqdm

from gon_jax.arguments import check_count
from gon_jax.base import Model, Variables
from gon_jax.coordinates import check_coordinates
from gon_jax.data import to_unit
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference.batchwise import Array, Data, check_model, data_dict, in_batches
from gon_jax.inputs import as_latents
from gon_jax.memory import check_memory

__all__ = ["decode_at", "decode_latents", "encode_batch", "encode_dataset", "frozen_encoder", "reconstruct_dataset"]

MAX_MATRIX_SIZE = 2**26  # entries of a frozen encoder's matrix, 256 MiB; computing a larger one takes gigabytes


def frozen_encoder(model: Model, variables: Variables) -> FrozenEncoder | None:
    """Return the encoder by averaged statistics, computed once for any number of examples: a matrix that acts on them.

    It is `None` where `model.encode` is to be used: the model has no such encoder, its inner likelihood cannot be
    folded into the matrix, or the matrix would have more than 2^26 entries.

    Raises:
        ValueError: for a model with batch statistics and variables without.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> frozen_encoder(model, model.init(jax.random.key(0))).matrix.shape
    (64, 3)
    """
    check_model(model, variables)
    size = math.prod(model.data_shape) * math.prod(model.latent_shape)
    if model.capabilities.freeze is None or size > MAX_MATRIX_SIZE:
        return None
    try:
        if jax.eval_shape(model.capabilities.freeze, variables).likelihood is not None:  # it acts on cotangents
            return None
        return jax.jit(model.capabilities.freeze)(variables)
    except ValueError as error:
        if variables.stats is not None:
            raise
        raise ValueError(
            "expected variables with averaged statistics, got stats=None; take a trained state's, or evaluate by each "
            f"batch's own with evaluation='batch' ({error})"
        ) from error


def encode_batch(model: Model, variables: Variables, encoder: FrozenEncoder | None, x: jax.Array) -> jax.Array:
    """Return the latents `[B, *latent]` of a batch of data, by the frozen encoder where there is one; pure.

    Raises:
        ValueError: for an encoder of another likelihood than the model's.
    """
    inner = model.inner
    if encoder is not None and None not in (inner, encoder.inner) and encoder.inner != inner:
        raise ValueError(f"expected an encoder of the model's likelihood {inner}, got one of {encoder.inner}")
    return model.encode(variables, to_unit(x)) if encoder is None else encoder(to_unit(x))


def encode_dataset(
    model: Model, variables: Variables, data: Data, *, encoder: FrozenEncoder | None = None, progress: str | None = None
) -> np.ndarray:
    """Return the latents `[N, *latent]` of examples, by averaged statistics."""
    x = data_dict(model, data)["x"]
    encoder = encoder or frozen_encoder(model, variables)
    batch_size = 64 if encoder is None else 256  # one matrix product: larger batches, fewer calls
    batch_fn = partial(model.jit(encode_batch), variables, encoder)
    return in_batches(batch_fn, x, batch_size=batch_size, progress=progress)


def decode_latents(model: Model, variables: Variables, z: Array, *, progress: str | None = None) -> np.ndarray:
    """Return the means `[N, ...]` of the data given latents `[N, *latent]`.

    Raises:
        ValueError: for latents of another model, none, or some that are not finite.
    """
    z = _check_latents(model, variables, z)
    return in_batches(partial(jax.jit(model.decode), variables), z, progress=progress)


def reconstruct_dataset(
    model: Model, variables: Variables, data: Data, *, encoder: FrozenEncoder | None = None, progress: str | None = None
) -> np.ndarray:
    """Return the reconstructions `[N, ...]` of examples, as floats, by averaged statistics."""
    x = data_dict(model, data)["x"]
    encoder = encoder or frozen_encoder(model, variables)
    return in_batches(partial(model.jit(_reconstruct), variables, encoder), x, progress=progress)


def decode_at(
    model: Model,
    variables: Variables,
    z: Array,
    coordinates: Array,
    *,
    chunk_size: int = 4096,
    progress: str | None = None,
) -> np.ndarray:
    """Decode latents at any points, with an implicit model: at any resolution, in device memory of a fixed size.

    Args:
        model, variables, progress: as in `gon_jax.inference`.
        z: latents `[N, *latent]`.
        coordinates: `[*spatial, d]`, such as `gon_jax.coordinates.grid(256, 256)`.
        chunk_size: points per call, for 16 latents each.

    Returns:
        Means of the data there, `[N, *spatial, C]`.

    Raises:
        ValueError: for a model that is not implicit, coordinates of another dimension than its own, or, before any
            work, a result that would not fit into memory.

    >>> from gon_jax.coordinates import grid
    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import siren_decoder
    >>> model = gon(siren_decoder(grid(8, 8), 3, hidden_dim=16))
    >>> decode_at(model, model.init(jax.random.key(0)), np.zeros((5, 3)), grid(100, 50)).shape
    (5, 100, 50, 1)
    """
    z = _check_latents(model, variables, z)
    _check_implicit(model)
    check_coordinates(coordinates)
    spatial, num_channels = coordinates.shape[:-1], model.data_shape[-1]
    _check_result(len(z), (*spatial, num_channels))
    points = np.asarray(coordinates, np.float32).reshape(-1, coordinates.shape[-1])
    chunk_size = min(check_count("chunk_size", chunk_size), len(points))
    result = np.empty((len(z), len(points), num_channels), np.float32)
    starts = [(i, j) for i in range(0, len(z), 16) for j in range(0, len(points), chunk_size)]
    for i, j in tqdm(starts, progress, disable=progress is None, leave=False, delay=1):
        j = min(j, len(points) - chunk_size)  # the last chunk overlaps, so that one compilation serves all
        part = model.jit(_decode_at)(variables, z[i : i + 16], points[j : j + chunk_size])
        result[i : i + 16, j : j + chunk_size] = part
    return result.reshape(len(z), *spatial, num_channels)


# -- compiled by `model.jit`, and checks ------------------------------------------------------------------------------


def _reconstruct(model, variables, encoder, x):
    return model.decode(variables, encode_batch(model, variables, encoder, x))


def _decode_at(model, variables, z, points):
    return model.capabilities.at(points).decode(variables, z)


def _check_result(num_examples, data_shape):
    """Refuse, before any work, float32 examples on the host that would not fit there, a copy of them included."""
    what = f"{num_examples:,} examples {list(data_shape)}"
    check_memory(8 * num_examples * math.prod(data_shape), what, "ask for fewer, or smaller ones")


def _check_latents(model, variables, z):
    """Return latents on the host, or say what is wrong with them."""
    check_model(model, variables)
    z = np.asarray(as_latents(z, model.latent_shape))
    if not np.isfinite(z).all():
        num = (~np.isfinite(z)).sum()
        raise ValueError(f"expected finite latents, got {num} entries that are not: has training diverged?")
    return z


def _check_implicit(model):
    if model.capabilities.at is None:
        raise ValueError("expected an implicit model, got one of data of a fixed size; train one with --network siren")
