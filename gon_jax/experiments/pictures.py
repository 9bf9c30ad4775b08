"""What to look at first: reconstructions, interpolations, samples and curves of a trained model."""

from pathlib import Path

import jax
import numpy as np

from gon_jax import figures
from gon_jax.data import Dataset, Split
from gon_jax.latents import fit_gaussian, fit_mixture, sample_prior, slerp_path
from gon_jax.linearisation import FrozenEncoder
from gon_jax.metrics import decode_latents, encode_images, pca_reconstructions, reconstruct_images
from gon_jax.models import Model, Variables

PRIOR_CODES = 10_000  # codes that a prior is fitted to at most; a mixture's cost grows with them


def interpolate(
    model: Model,
    variables: Variables,
    images: np.ndarray,
    num_points: int = 10,
    *,
    encoder: FrozenEncoder | None = None,
) -> np.ndarray:
    """Decode spherical interpolations between the codes of consecutive pairs of images.

    Args:
      model, variables: a trained model.
      images: `[2 R, H, W, C]`; the first is interpolated to the second, the third to the fourth, ...
      num_points: P, the decoded ends included.
      encoder: as for `gon_jax.metrics.evaluate`.

    Returns:
      `[R, P, H, W, C]`.

    Raises:
      ValueError: for an odd number of images.
    """
    if len(images) < 2 or len(images) % 2:
        raise ValueError(f"expected pairs of images, an even number of them, got {len(images)}")
    z = encode_images(model, variables, images, encoder=encoder)
    paths = np.asarray(slerp_path(z[0::2], z[1::2], num_points))
    decoded = decode_latents(model, variables, paths.reshape(-1, *paths.shape[2:]))
    return decoded.reshape(*paths.shape[:2], *decoded.shape[1:])


def sample(
    model: Model,
    variables: Variables,
    images: np.ndarray,
    num: int,
    key: jax.Array,
    prior: str = "mixture",
    *,
    encoder: FrozenEncoder | None = None,
) -> np.ndarray:
    """Sample new images: fit a prior to the codes of training images, and decode draws from it.

    Args:
      model, variables: a trained model.
      images: training images `[N, H, W, C]`; the prior is fitted to the first 10,000 codes at most.
      num: how many samples.
      key: typed key.
      prior: "gaussian" or "mixture", with full covariances.
      encoder: as for `gon_jax.metrics.evaluate`.

    Returns:
      `[num, H, W, C]`.

    Raises:
      ValueError: for another prior.
    """
    if prior not in ("gaussian", "mixture"):
        raise ValueError(f"expected prior 'gaussian' or 'mixture', got {prior!r}")
    z = encode_images(model, variables, images[:PRIOR_CODES], encoder=encoder)
    fitted = fit_mixture(z) if prior == "mixture" else fit_gaussian(z)
    return decode_latents(model, variables, sample_prior(fitted, key, num, model.latent_shape))


def pairs_of_labels(split: Split, num_pairs: int = 8) -> np.ndarray:
    """Return `[2 num_pairs, H, W, C]`: pairs of different labels where there are labels; few images are repeated."""
    images, labels = split
    if labels is None:
        return images[np.arange(2 * num_pairs) % len(images)]
    classes = np.unique(labels)
    of_class = [np.flatnonzero(labels == c) for c in classes]
    turns = [divmod(i, len(classes)) for i in range(2 * num_pairs)]
    return images[[of_class[c][turn % len(of_class[c])] for turn, c in turns]]


def spread(num_images: int, num: int) -> np.ndarray:
    """Return indices of up to `num` images spread evenly over a set.

    >>> spread(100, 4)
    array([ 0, 33, 66, 99])
    """
    return np.unique(np.linspace(0, num_images - 1, min(num, num_images)).astype(int))


def draw(
    folder: Path,
    model: Model,
    variables: Variables,
    encoder: FrozenEncoder | None,
    dataset: Dataset,
    curves: dict[str, tuple[list[int], list[float]]],
    summary: dict,
    progress: bool,
) -> None:
    """Write the pictures of a finished run into its folder.

    Args:
      folder: the run's.
      model, variables, encoder, dataset: what was trained, on what.
      curves: name to steps and values: the training loss, the validation error.
      summary: the run's figures.
      progress: show a progress bar.
    """
    from tqdm.auto import tqdm

    train, test, latent_size = dataset.train.images, dataset.test, summary["latent_size"]
    name, pca = summary["model"].upper(), f"PCA {latent_size}"
    squared = summary["likelihood"] == "squared_error"

    def reconstructions(path):
        x = test.images[spread(len(test.images), 20)]
        rows = {name: reconstruct_images(model, variables, x, encoder=encoder)}
        rows |= {pca: pca_reconstructions(train, x, latent_size)}
        errors = {name: summary["test.squared_error"], pca: summary["pca.squared_error"]}
        figures.save_reconstructions(path, x, rows, errors=errors)

    def interpolation(path):
        figures.save_interpolation(path, interpolate(model, variables, pairs_of_labels(test), encoder=encoder))

    def samples(path):
        figures.save_samples(path, sample(model, variables, train, 64, jax.random.key(0), encoder=encoder))

    def loss(path):
        if squared:
            reference = {f"PCA, {latent_size} components (test)": summary["pca.squared_error"]}
            figures.save_curves(path, curves, "squared error per image", reference=reference)
        else:  # the validation figure is another quantity
            figures.save_curves(path, {"training": curves["training"]}, "nats per image", log=False)

    shown = model.data_shape[-1] in (1, 3)  # what isn't grey or RGB has no picture
    pictures = [reconstructions, interpolation, samples, loss] if shown else [loss]
    for picture in tqdm(pictures, "draw", disable=not progress, leave=False, delay=1):
        picture(folder / f"{picture.__name__}.png")
