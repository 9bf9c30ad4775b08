"""Outputs that are parameters: their place, their gradient, and the decoder's record as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Decoder, Variables
from gon_jax.checks import compare_with_definition
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, shared_outputs, siren_decoder
from gon_jax.encoding import encode
from gon_jax.likelihoods import discretized_logistic, gaussian_scale
from gon_jax.linearization import encode_shared
from gon_jax.models import gon

INNER = {
    "independent": conv_decoder((8, 8, 2), (3,), base_channels=1, norm="none", output_activation="none"),
    "batch_statistics": conv_decoder((8, 8, 2), (3,), base_channels=1, norm="batch", output_activation="none"),
    "pointwise": siren_decoder(grid(2, 3), 3, 2, hidden_dim=4, num_layers=2, omega_0=3.0),
}


def moved(params):
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([jnp.asarray(a + 0.1 * rng.normal(size=a.shape), a.dtype) for a in leaves])


@pytest.mark.parametrize("kind", INNER)
def test_outputs_are_the_decoders_and_then_the_parameters(kind):
    inner = INNER[kind]
    decoder = shared_outputs(inner, 3, init=(-1.0, 2.0))
    params = decoder.init(jax.random.key(0))
    np.testing.assert_array_equal(params["shared"], [[-1, 2], [-1, 2]])
    jax.tree.map(np.testing.assert_array_equal, params["decoder"], inner.init(jax.random.key(0)))
    params = moved(params)
    z = jax.random.normal(jax.random.key(1), (5, 3))
    expected = inner.plain(params["decoder"], z)
    output = decoder.plain(params, z).reshape(*expected.shape, 3)
    np.testing.assert_array_equal(output[..., 0], expected)
    np.testing.assert_array_equal(output[..., 1:], jnp.broadcast_to(params["shared"], (*expected.shape, 2)))
    assert (decoder.rows, decoder.latent_shape) == (inner.rows, inner.latent_shape)
    assert (decoder.pointwise is None) == (inner.pointwise is None) and (decoder.at is None) == (inner.at is None)


def test_statistics_pass_through():
    inner, decoder = INNER["batch_statistics"], shared_outputs(INNER["batch_statistics"], 2)
    params, z = moved(decoder.init(jax.random.key(0))), jax.random.normal(jax.random.key(1), (5, 3))
    _, stats = inner.apply(params["decoder"], z)
    output, ours = decoder.apply(params, z[:1], stats)
    jax.tree.map(np.testing.assert_array_equal, ours, stats)
    np.testing.assert_array_equal(output[..., ::2], inner.apply(params["decoder"], z[:1], stats)[0])


def test_points_pass_through():
    decoder, points = shared_outputs(INNER["pointwise"], 2, init=-1.0), grid(4, 5)
    params, z = moved(decoder.init(jax.random.key(0))), jax.random.normal(jax.random.key(1), (1, 3))
    np.testing.assert_array_equal(decoder.coordinates, grid(2, 3))
    elsewhere = decoder.at(points)
    np.testing.assert_array_equal(elsewhere.coordinates, points)
    assert elsewhere.apply(params, z).shape == (1, 4, 5, 4)
    of_points = elsewhere.pointwise(params, jnp.broadcast_to(z, (20, 3)))
    np.testing.assert_allclose(of_points, elsewhere.apply(params, z).reshape(20, 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "kind, likelihood",
    [("independent", gaussian_scale), ("batch_statistics", gaussian_scale), ("pointwise", discretized_logistic)],
)
def test_fast_forms_equal_the_definition(kind, likelihood, x64, double):
    decoder = shared_outputs(INNER[kind], 2, init=-1.0)
    params = moved(double(decoder.init(jax.random.key(0))))
    errors = compare_with_definition(decoder, params, jax.random.key(1), likelihood=likelihood, step_size=0.01)
    assert set(errors) == {"pullback", "jacobian"} | ({"pointwise"} if kind == "pointwise" else set())
    assert max(errors.values()) < 1e-9


def test_a_foreign_decoder_stays_unknown():
    decoder = shared_outputs(Decoder(lambda w, z: z @ w, lambda key: jnp.ones((3, 2)), (3,)), 2)
    params, x = decoder.init(jax.random.key(0)), jnp.full((4, 2), 0.3)
    z = encode_shared(decoder, params, x, jnp.zeros(3), likelihood=gaussian_scale)
    definition = encode(decoder.apply, params, x, jnp.zeros((4, 3)), likelihood=gaussian_scale)
    np.testing.assert_array_equal(z, definition)
    assert decoder.rows == "unknown"


def test_the_best_shared_scale_is_the_root_mean_square_of_residuals(x64, double):
    """Of each channel, over examples and points: there, and not elsewhere, the gradient vanishes."""
    decoder = shared_outputs(INNER["independent"], 2)
    params = moved(double(decoder.init(jax.random.key(0))))
    z, x = jax.random.normal(jax.random.key(1), (5, 3)), jax.random.uniform(jax.random.key(2), (5, 8, 8, 2))
    log_scale = 0.5 * jnp.log(jnp.square(x - decoder.apply(params, z)[..., ::2]).mean((0, 1, 2)))

    @jax.jit
    @jax.grad
    def gradient(shared):
        return gaussian_scale(decoder.apply(params | {"shared": shared[:, None]}, z), x).sum()

    u = jnp.exp(log_scale + 8)  # the soft bounds undone: e^(log_scale + 8) = (1 + e^(raw + 8)) / (1 + e^(raw - 4))
    best = jnp.log((u - 1) / (1 - u * jnp.exp(-12.0))) - 8
    np.testing.assert_allclose(gradient(best), 0, atol=1e-9)
    assert (gradient(best - 0.1) < -1).all() and (gradient(best + 0.1) > 1).all()


def test_a_gon_learns_it(x64):
    model = gon(shared_outputs(INNER["batch_statistics"], 2, init=-1.0), likelihood=gaussian_scale)
    variables, x = model.init(jax.random.key(0)), jax.random.uniform(jax.random.key(1), (4, 8, 8, 2))
    assert model.data_shape == (8, 8, 2)
    gradient = jax.jit(jax.grad(lambda p: model.loss(Variables(p), {"x": x}, None)[0]))(variables.params)
    assert gradient["shared"].shape == (2, 1) and jnp.isfinite(gradient["shared"]).all() and gradient["shared"].all()


@pytest.mark.parametrize("num_outputs, init", [(1, 0.0), (3, (1.0,)), (2, (1.0, 2.0))])
def test_misuse_is_named(num_outputs, init):
    with pytest.raises(ValueError, match="num_outputs.* got") as caught:
        shared_outputs(INNER["independent"], num_outputs, init=init)
    assert "\n" not in str(caught.value)
