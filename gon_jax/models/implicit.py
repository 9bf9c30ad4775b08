r"""The implicit GON (Eq. 12 of the paper): codes of functions over coordinates, integrated over any set of points."""

import math

import jax
import jax.numpy as jnp

from gon_jax.base import Batch, Decoder, Model, Variables, data_shape_of, integral_weights
from gon_jax.coordinates import morton_order, stratified_subset
from gon_jax.likelihoods import Likelihood, squared_error, weighted
from gon_jax.linearization import Strategy
from gon_jax.models.gon import gon


def implicit_gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    step_size: float | None = None,
    num_points: int | None = None,
    strategy: Strategy | None = None,
) -> Model:
    r"""Return the GON of a decoder that is a function of coordinates c, its losses integrals over them (Eq. 12),

    $$ \int \mathcal{L}(\Phi(c), F(c, z)) dc, \quad z = -\nabla_{z_0} \int \mathcal{L}(\Phi(c), F(c, z_0)) dc. $$

    On N points an integral is a sum. With `num_points` n < N each training step takes one random subset for the batch,
    in both passes, one point from each of n equal cells, and weights it N / n: an unbiased estimate of each integral
    (of the loss too, but for the curvature of its second pass in the code). The paper leaves this open.

    Its `at` is the same model on other points, weighted N / n so that codes keep their scale, or by `weights` of our
    own that sum to N in effect: super-resolution decodes there, inpainting encodes there.

    Args:
        decoder: with `coordinates` and `at`, such as `gon_jax.decoders.siren_decoder(grid(28, 28), 32)`.
        likelihood: the inner and the outer loss.
        step_size: by default the release's, 1 / (64 C) for C channels.
        num_points: n, points a training step; all by default.
        strategy: as for `gon`.

    Raises:
        ValueError: for a decoder without coordinates, or a number of points that isn't from 1 to N.

    >>> from gon_jax.coordinates import grid
    >>> from gon_jax.decoders import siren_decoder
    >>> model = implicit_gon(siren_decoder(grid(8, 8), 3, hidden_dim=16), num_points=16)
    >>> variables = model.init(jax.random.key(0))
    >>> z = model.encode(variables, jnp.ones((5, 8, 8, 1)))
    >>> model.at(grid(32, 32)).decode(variables, z).shape
    (5, 32, 32, 1)
    """
    if decoder.at is None or decoder.coordinates is None:
        raise ValueError("expected a decoder that is a function of coordinates, got one without `coordinates` and `at`")
    num_channels = data_shape_of(decoder, likelihood)[-1]
    num_all = math.prod(decoder.coordinates.shape[:-1])
    step_size = 1 / (64 * num_channels) if step_size is None else step_size
    if num_points is not None and not 1 <= num_points <= num_all:
        raise ValueError(f"expected num_points from 1 to {num_all}, the points there are, got {num_points}")

    def at(coordinates, weights=None):
        if weights is None:
            options = {"likelihood": likelihood, "step_size": step_size * num_all / math.prod(coordinates.shape[:-1])}
        else:
            weights = integral_weights(decoder, coordinates, weights)
            options = {"likelihood": weighted(likelihood, weights), "step_size": step_size}
        return gon(decoder.at(coordinates), strategy=strategy, **options)._replace(at=at)

    model = at(decoder.coordinates)
    if num_points in (None, num_all):
        return model
    order = morton_order(*decoder.coordinates.shape[:-1])  # in which equal strata are compact cells

    def subset_loss(variables: Variables, batch: Batch, key: jax.Array):
        index = order[stratified_subset(key, num_all, num_points)]
        points = decoder.coordinates.reshape(num_all, -1)[index]
        x = batch["x"].reshape(-1, num_all, num_channels)
        x = jnp.take(x, index, axis=1)
        value, stats = at(points).loss(variables, batch | {"x": x}, key)
        return num_all / num_points * value, stats

    return model._replace(loss=subset_loss)
