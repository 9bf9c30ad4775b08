"""What one does with a trained model, batch by batch and on the host: encode, decode, sample, inpaint, find anomalies.

Arguments that several functions share:

- `model`, `variables`: a trained model, and its variables, with averaged statistics where it has batch statistics.
- `data`: examples `[N, ...]`, uint8 or floats in [0, 1]; or a dict of arrays `[N, ...]` with the examples as "x".
  Sources (`gon_jax.data.sources`) may stand for arrays, and are read batch by batch.
- `encoder`: `frozen_encoder(model, variables)`, where it is at hand; by default it is computed.
- `progress`: the label of a progress bar, or `None` for no bar.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from tqdm.auto import tqdm

from gon_jax.arguments import check_choice, check_count, check_key, check_kind
from gon_jax.base import Model, Variables
from gon_jax.coordinates import check_coordinates, grid
from gon_jax.data import to_unit
from gon_jax.data.sources import Source, as_source, check_source, is_source, take
from gon_jax.freezing import FrozenEncoder
from gon_jax.inputs import as_latents
from gon_jax.latents import (
    fit_gaussian,
    fit_mixture,
    mahalanobis_scores,
    reconstruction_scores,
    sample_prior,
    slerp_path,
)
from gon_jax.memory import check_memory
from gon_jax.progress import busy

__all__ = ["Array", "Data", "check_model", "data_dict", "encode_batch", "frozen_encoder", "in_batches"]
__all__ += ["decode_at", "decode_latents", "encode_dataset", "reconstruct_dataset"]
__all__ += ["anomaly_scores", "inpaint", "interpolate", "sample", "superresolve"]

Array = np.ndarray | jax.Array
Data = Array | Source | Mapping[str, Array | Source]

MAX_MATRIX_SIZE = 2**26  # entries of a frozen encoder's matrix, 256 MiB; computing a larger one takes gigabytes
MAX_PADDED = 256  # examples that a last batch is filled up to: few examples, of any number, share a compiled program
MAX_PRIOR_LATENTS = 10_000  # latents that a prior is fitted to; the cost of fitting a mixture grows with their number


def data_dict(model: Model, data: Data) -> dict[str, Any]:
    """Return data as a dict of arrays with the examples as "x"; sources become views, which check what they read.

    Raises:
        ValueError: for examples of another shape than the model's or out of range, or arrays of different lengths.
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    data = dict(data) if isinstance(data, Mapping) else {"x": data}
    if "x" not in data:
        raise ValueError(f'expected a dict with the examples as "x", got {sorted(data)}; rename the array')
    data = {name: as_source(array) for name, array in data.items()}
    num_examples = len(check_source(data["x"], model.data_shape))
    for name, array in data.items():
        if np.shape(array)[:1] != (num_examples,):
            raise ValueError(f'expected "{name}" of {num_examples} examples, got an array {list(np.shape(array))}')
    return data


def check_model(model: Model, variables: Variables) -> None:
    """Refuse what is no model, or no variables of one.

    Raises:
        TypeError: either is of another type.
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    remedy = "training returns them, fit(...).state.variables, and model.init(key) makes new ones"
    check_kind("variables", variables, Variables, remedy)


def in_batches(
    batch_fn: Callable[..., Any], arrays: Any, *, batch_size: int = 64, pad: bool = True, progress: str | None = None
) -> Any:
    """Apply a function to consecutive batches of arrays or sources, and concatenate its results on the host.

    Args:
        batch_fn: `arrays [B, ...] -> pytree of arrays [B, ...]`.
        arrays: a pytree of arrays or sources `[N, ...]`; one that stands in several places is read once.
        batch_size: examples per call.
        pad: fill up the last batch by repeating an example, so that one compilation serves all; for functions that
            treat each example by itself. Otherwise the last batch is smaller.
        progress: as above.

    >>> in_batches(lambda a: a * 2, np.arange(5), batch_size=2)
    array([0, 2, 4, 6, 8])
    """
    leaves, structure = jax.tree.flatten(arrays)
    unique = {id(a): as_source(a) if is_source(a) else np.asarray(a) for a in leaves}
    num_examples, results = len(unique[id(leaves[0])]), []
    if num_examples == 0:
        raise ValueError("expected at least one example, got none: the array is empty")
    batch_size = min(check_count("batch_size", batch_size), max(num_examples, MAX_PADDED))
    for start in tqdm(range(0, num_examples, batch_size), progress, disable=progress is None, leave=False, delay=1):
        num = min(batch_size, num_examples - start)
        rows = {key: a[start : start + num] for key, a in unique.items()}
        if pad and num < batch_size:
            rows = {key: a[np.arange(batch_size) % num] for key, a in rows.items()}
        result = jax.device_get(batch_fn(jax.tree.unflatten(structure, [rows[id(a)] for a in leaves])))
        results.append(jax.tree.map(lambda a: a[:num], result))  # noqa: B023
    return jax.tree.map(lambda *parts: np.concatenate(parts), *results)


# -- encode and decode -----------------------------------------------------------------------------------------------


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
        model, variables, progress: as above.
        z: latents `[N, *latent]`.
        coordinates: `[*spatial, d]`, such as `gon_jax.coordinates.grid(256, 256)`.
        chunk_size: points per call, for 16 latents each.

    Returns:
        Means of the data there, `[N, *spatial, C]`.

    Raises:
        ValueError: for a model that is not implicit, coordinates of another dimension than its own, or, before any
            work, a result that would not fit into memory.

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


# -- interpolate, sample, superresolve, inpaint, find anomalies ------------------------------------------------------


def interpolate(
    model: Model, variables: Variables, data: Data, num_points: int = 10, *, encoder: FrozenEncoder | None = None
) -> np.ndarray:
    """Decode spherical interpolations between the latents of consecutive pairs of examples, `[N / 2, num_points, ...]`.

    The first example is interpolated to the second, the third to the fourth, ...; the decoded ends are included.

    Raises:
        ValueError: for an odd number of examples.
    """
    num_examples, num_points = len(data_dict(model, data)["x"]), check_count("num_points", num_points, 2)
    if num_examples % 2:
        raise ValueError(f"expected pairs of examples, an even number of them, got {num_examples}")
    _check_result(num_examples // 2 * num_points, model.data_shape)
    z = jnp.asarray(encode_dataset(model, variables, data, encoder=encoder))
    paths = np.asarray(slerp_path(z[0::2], z[1::2], num_points))
    decoded = decode_latents(model, variables, paths.reshape(-1, *paths.shape[2:]))
    return decoded.reshape(*paths.shape[:2], *decoded.shape[1:])


def sample(
    model: Model,
    variables: Variables,
    data: Data | None,
    num_samples: int,
    key: jax.Array,
    *,
    prior: Literal["model", "gaussian", "mixture"] | None = None,
    encoder: FrozenEncoder | None = None,
    progress: str | None = None,
) -> np.ndarray:
    """Decode samples `[num_samples, ...]` of the model's own prior, or of one fitted to latents of training data.

    Args:
        model, variables, encoder: as above.
        progress: the label while a prior is fitted, or None.
        data: training data, of which the first 10,000 examples at most are encoded; None for the model's own prior.
        num_samples: how many.
        key: typed key.
        prior: "model", for a model that has its own; "gaussian" or "mixture", fitted with full covariances. By default
            the model's where it has one, and else a mixture.

    Raises:
        ValueError: for another prior, the model's of a model without one, or more samples than fit into memory.
    """
    check_model(model, variables)
    num_samples = check_count("num_samples", num_samples)
    check_key(key)
    _check_result(num_samples, model.data_shape)
    if prior is None:
        prior = "mixture" if model.capabilities.sample is None else "model"
    check_choice("prior", prior, ("gaussian", "mixture", "model"))
    if prior == "model":
        if model.capabilities.sample is None:
            raise ValueError("expected a model with a prior, a vgon, for prior 'model'; fit a 'mixture' to the latents")
        return np.asarray(jax.jit(model.capabilities.sample, static_argnums=2)(variables, key, num_samples))
    if data is None:
        raise ValueError(f"expected training data, to whose latents a {prior} is fitted, got None")
    x = take(data_dict(model, data)["x"], slice(MAX_PRIOR_LATENTS))
    z = jnp.asarray(encode_dataset(model, variables, x, encoder=encoder))
    with busy(progress):
        fitted = fit_mixture(z) if prior == "mixture" else fit_gaussian(z)
    return decode_latents(model, variables, sample_prior(fitted, key, num_samples, model.latent_shape))


def superresolve(
    model: Model, variables: Variables, data: Data, size: int, *, progress: str | None = None
) -> np.ndarray:
    """Decode images on a grid with `size` points on the longer side, with an implicit model.

    Raises:
        ValueError: for a model that is not implicit, data that are no images, or, before any work, a result too large.
    """
    check_model(model, variables)
    _check_implicit(model)
    check_count("size", size)
    *spatial, num_channels = model.data_shape
    if len(spatial) != 2:
        raise ValueError(f"expected an implicit model of images, got one of data {model.data_shape}")
    x = data_dict(model, data)["x"]
    sizes = [max(1, round(size * n / max(spatial))) for n in spatial]
    _check_result(len(x), (*sizes, num_channels))
    return decode_at(model, variables, encode_dataset(model, variables, x), grid(*sizes), progress=progress)


def inpaint(model: Model, variables: Variables, data: Data, known: Array) -> np.ndarray:
    """Complete examples, with an implicit model: decode the latents of what is known, `[N, *spatial]` booleans.

    Raises:
        ValueError: for a model that is not implicit, another mask, or an example of which nothing is known.
    """
    check_model(model, variables)
    _check_implicit(model)
    x, known = data_dict(model, data)["x"], np.asarray(known)
    if known.shape != x.shape[:-1] or known.dtype != bool:
        got = f"{known.dtype} {known.shape}; True is a known point, and there is no channel axis"
        raise ValueError(f"expected a boolean mask {x.shape[:-1]}, got {got}")
    if not (some := known.reshape(len(x), -1).any(axis=1)).all():
        got = f"no True in examples {np.flatnonzero(~some)[:4].tolist()}; is the mask inverted?"
        raise ValueError(f"expected a mask that leaves some points of every example, got {got}")
    return np.asarray(model.jit(_complete)(variables, np.asarray(x), known.astype(np.float32)))


def anomaly_scores(
    model: Model, variables: Variables, train_data: Data, data: Data, *, encoder: FrozenEncoder | None = None
) -> dict[str, np.ndarray]:
    """Return how unlike the training data each example is, by two scores `[N]`: the higher, the less usual.

    Args:
        model, variables, encoder: as above.
        train_data: what is usual, examples `[M, ...]` that the model was trained on.
        data: examples `[N, ...]`, whose reconstructions are compared with "target" where there is one.

    Returns:
        `reconstruction`, the squared error of the reconstruction, summed over data axes; `mahalanobis`, the squared
        Mahalanobis distance of the latent to the training latents. `gon_jax.latents` has both by themselves.

    Raises:
        ValueError: for data as in `data_dict`, or training latents that are all equal.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import mlp_decoder
    >>> model = gon(mlp_decoder((4,), (2,), hidden_dim=8))
    >>> train, new = np.eye(4, dtype=np.float32), np.ones((3, 4), np.float32)
    >>> scores = anomaly_scores(model, model.init(jax.random.key(0)), train, new)
    >>> {name: values.shape for name, values in scores.items()}
    {'reconstruction': (3,), 'mahalanobis': (3,)}
    """
    data, encoder = data_dict(model, data), encoder or frozen_encoder(model, variables)
    z_train = encode_dataset(model, variables, train_data, encoder=encoder)
    z = encode_dataset(model, variables, data, encoder=encoder)
    decode = partial(jax.jit(model.decode), variables)

    def reconstruction(batch):
        return reconstruction_scores(to_unit(batch["target"]), decode(batch["z"]))

    errors = in_batches(reconstruction, {"z": z, "target": data.get("target", data["x"])})
    return {"reconstruction": errors, "mahalanobis": mahalanobis_scores(z_train, z)}


# -- compiled by `model.jit` -----------------------------------------------------------------------------------------


def _reconstruct(model, variables, encoder, x):
    return model.decode(variables, encode_batch(model, variables, encoder, x))


def _decode_at(model, variables, z, points):
    return model.capabilities.at(points).decode(variables, z)


def _complete(model, variables, x, known):
    masked = model.capabilities.at(grid(*model.data_shape[:-1]), known)
    return model.decode(variables, masked.encode(variables, to_unit(x)))


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
