"""Uses of encoding and decoding: interpolations, samples, super-resolution, inpainting, anomalies.

Arguments are those of `gon_jax.inference`.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.arguments import check_choice, check_count, check_key
from gon_jax.base import Model, Variables
from gon_jax.coordinates import grid
from gon_jax.data import to_unit
from gon_jax.data.sources import take
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference.batchwise import Array, Data, check_model, data_dict, in_batches
from gon_jax.inference.encode_decode import (
    _check_implicit,
    _check_result,
    decode_at,
    decode_latents,
    encode_dataset,
    frozen_encoder,
)
from gon_jax.latents import (
    fit_gaussian,
    fit_mixture,
    mahalanobis_scores,
    reconstruction_scores,
    sample_prior,
    slerp_path,
)
from gon_jax.progress import busy

__all__ = ["MAX_PRIOR_LATENTS", "anomaly_scores", "inpaint", "interpolate", "sample", "superresolve"]

MAX_PRIOR_LATENTS = 10_000  # latents that a prior is fitted to; the cost of fitting a mixture grows with their number


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
        model, variables, encoder: as in `gon_jax.inference`.
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
        model, variables, encoder: as in `gon_jax.inference`.
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


def _complete(model, variables, x, known):
    masked = model.capabilities.at(grid(*model.data_shape[:-1]), known)
    return model.decode(variables, masked.encode(variables, to_unit(x)))
