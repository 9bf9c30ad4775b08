"""The Gradient Origin Network: a decoder, and latents that are gradients at the origin (Eqs. 7, 8 and 12)."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count, check_number
from gon_jax.base import Batch, Decoder, Model, Variables, check_decoder, integral_weights, match
from gon_jax.coordinates import morton_order, stratified_subset
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import Likelihood, squared_error, weighted
from gon_jax.linearization import Strategy
from gon_jax.models.gradient import GONStats, check_step_size, gradient_model, origin_model
from gon_jax.models.step_size import default_step_size

__all__ = ["GONStats", "gon", "least_squares_gon"]


def gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    step_size: float | None = None,
    num_points: int | None = None,
    strategy: Strategy | None = None,
) -> Model:
    r"""Return the GON of a decoder: minimize over its parameters, with z_0 = 0,

    $$ \mathcal{L}\big(x, F(z_0 - s \nabla_{z_0} \mathcal{L}(x, F(z_0)))\big). \quad \text{(Eq. 8)} $$

    The loss is a sum over data axes and a mean over examples; the authors' mean over pixels too is the same up to the
    step size s and Adam's epsilon.

    For a decoder that is a function of coordinates c, this is the implicit GON, whose losses are integrals (Eq. 12),

    $$ \int \mathcal{L}(\Phi(c), F(c, z)) dc, \quad z = -\nabla_{z_0} \int \mathcal{L}(\Phi(c), F(c, z_0)) dc. $$

    On N points an integral is a sum. With `num_points` n < N each training step takes one random subset for the batch,
    one point from each of n equal cells, weighted N / n: an unbiased estimate of each integral (of the loss too, but
    for the curvature of its second pass in the latent), which the paper leaves open. The capability `at` is the same
    model on other points, weighted N / n so that latents keep their scale, or by given weights: super-resolution
    decodes there, inpainting encodes there.

    Args:
        decoder: `gon_jax.decoders.conv_decoder(...)`, `siren_decoder(grid(28, 28), 32)`, or your own.
        likelihood: the inner and the outer loss.
        step_size: s; by default `gon_jax.models.default_step_size`.
        num_points: n, points per training step, for a decoder of coordinates; all by default.
        strategy: how training encodes a batch, all of them exact; by default the cheapest, see
            `gon_jax.linearization.strategy_costs`.

    Raises:
        TypeError, ValueError: for a decoder and a likelihood that do not match (`gon_jax.base.match`), a step size that
            is not above 0, or a number of points that is not from 1 to N.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    >>> from gon_jax.coordinates import grid
    >>> from gon_jax.decoders import siren_decoder
    >>> model = gon(siren_decoder(grid(8, 8), 3, hidden_dim=16), num_points=16)
    >>> variables = model.init(jax.random.key(0))
    >>> z = model.encode(variables, jnp.ones((5, 8, 8, 1)))
    >>> model.capabilities.at(grid(32, 32)).decode(variables, z).shape
    (5, 32, 32, 1)
    """
    check_decoder(decoder)
    if decoder.at is None or decoder.coordinates is None:
        if num_points is not None:
            raise ValueError(f"expected a decoder of coordinates for num_points={num_points}, got one without `at`")
        return gradient_model(decoder, likelihood, step_size, strategy)
    decoder_at, coordinates = decoder.at, decoder.coordinates
    matched, data_shape = match(decoder, likelihood)
    step_size = check_step_size(step_size, default_step_size(matched, likelihood, data_shape))
    num_all, num_channels = math.prod(coordinates.shape[:-1]), data_shape[-1]
    if num_points is not None:
        num_points = check_count("num_points", num_points, most=num_all, remedy=f"there are {num_all} points")

    def at(coordinates, weights=None):
        if weights is None:
            scale = num_all / math.prod(coordinates.shape[:-1])
            model = gradient_model(decoder_at(coordinates), likelihood, step_size * scale, strategy)
        else:
            inner = weighted(likelihood, integral_weights(decoder, coordinates, weights))
            model = gradient_model(decoder_at(coordinates), inner, step_size, strategy)
        return dataclasses.replace(model, capabilities=model.capabilities._replace(at=at))

    model = at(coordinates)
    if num_points in (None, num_all):
        return model
    order = morton_order(*coordinates.shape[:-1])  # in which equal strata are compact cells

    def subset_loss(variables: Variables, batch: Batch, key: jax.Array):
        index = order[stratified_subset(key, num_all, num_points)]
        points = coordinates.reshape(num_all, -1)[index]
        x = jnp.take(batch["x"].reshape(-1, num_all, num_channels), index, axis=1)
        value, stats = at(points).loss(variables, batch | {"x": x}, key)
        return num_all / num_points * value, stats

    return dataclasses.replace(model, loss=subset_loss)


def least_squares_gon(
    decoder: Decoder, *, likelihood: Likelihood = squared_error, damping: float = 0.01, learn_damping: bool = False
) -> Model:
    r"""Return the GON whose latents are damped Gauss-Newton steps at the origin in place of gradient steps.

    The other half is Eq. 8 as in `gon`: the loss is differentiated through the latents. See `gon_jax.gauss_newton`.

    Args:
        decoder: an independent one.
        likelihood: the inner and the outer loss, with Fisher information.
        damping: lambda over the mean eigenvalue of J^T W J (`relative_damping` there), above 0.
        learn_damping: train its logarithm beside the decoder, from `damping` on; then the parameters are
            `{"decoder": ..., "log_damping": ...}`.

    Raises:
        ValueError: for a decoder that is not independent, a likelihood without Fisher information, or a damping that is
            not above 0.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = least_squares_gon(conv_decoder((8, 8, 1), (3,), base_channels=4), learn_damping=True)
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape, float(variables.params["log_damping"])
    ((5, 3), -4.605170249938965)
    """
    decoder, data_shape = match(decoder, likelihood)
    if not decoder.independent:
        raise ValueError("expected an independent decoder, got Decoder(..., independent=False); take `gon`")
    check_number("damping", damping, above=0)

    def init_params(key):
        params = decoder.init_params(key)
        return {"decoder": params, "log_damping": jnp.log(jnp.float32(damping))} if learn_damping else params

    def decoder_params(params):
        return params["decoder"] if learn_damping else params

    def affine_encoder(params, origin):
        relative = jnp.exp(params["log_damping"]) if learn_damping else damping
        options = {"likelihood": likelihood, "damping": 0.0, "relative_damping": relative}
        return least_squares_encoder(decoder, decoder_params(params), origin, **options)

    return origin_model(
        decoder,
        likelihood,
        data_shape,
        affine_encoder=affine_encoder,
        init_params=init_params,
        decoder_params=decoder_params,
    )
