"""Decoders made of decoders: in bfloat16, with shared outputs; `spatial_gradient` is in `test_siren.py`."""

import re
from collections import Counter
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.checks import compare_with_definition
from gon_jax.coordinates import grid
from gon_jax.data import load
from gon_jax.decoders import conv_decoder, from_function, mixed_precision, shared_outputs, siren_decoder
from gon_jax.encoding import encode
from gon_jax.likelihoods import discretized_logistic, gaussian_scale
from gon_jax.linearization import encode_shared, possible_strategies
from gon_jax.metrics import evaluate
from gon_jax.models import gon
from gon_jax.training import fit, init_state, make_optimizer, train_step

# -- bfloat16 ------------------------------------------------------------------------------------------------------

DECODERS = {
    "batch": conv_decoder((8, 8, 1), (3,), base_channels=4),
    "group": conv_decoder((8, 8, 1), (3,), base_channels=4, norm="group"),
    "siren": siren_decoder(grid(8, 8), 3, hidden_dim=16, num_layers=3),
}
NUM_LAYERS = {"batch": 2, "group": 2, "siren": 4}
decoders = pytest.mark.parametrize("name", DECODERS)


def images(num=4):
    return jax.random.uniform(jax.random.key(1), (num, 8, 8, 1))


@decoders
def test_products_are_in_bfloat16(name):
    """As XLA is given them: in every product that involves the latent, both operands are short."""
    decoder = DECODERS[name]
    params = jax.eval_shape(decoder.init, jax.random.key(0))

    def operands(decoder):
        program = jax.jit(decoder.output).lower(params, jax.ShapeDtypeStruct((4, 3), jnp.float32)).as_text()
        pattern = r"(?:dot_general|convolution)\b.*: \(tensor<\S*x(\w+)>, tensor<\S*x(\w+)>\)"
        return Counter("/".join(pair) for pair in re.findall(pattern, program))

    mixed, full = operands(mixed_precision(decoder)), operands(decoder)
    assert mixed["bf16/bf16"] >= NUM_LAYERS[name] and mixed.total() == full["f32/f32"] == full.total()
    assert set(mixed) <= {"bf16/bf16", "f32/f32"}  # f32: the SIREN's coordinates, and sums written as products


@decoders
def test_everything_else_stays_float32(name):
    """Parameters, gradients, the optimizer's state, statistics, losses, latents; of a SIREN the pointwise form."""
    decoder = mixed_precision(DECODERS[name])
    model, optimizer = gon(decoder, step_size=1 / 64), make_optimizer(1e-3)

    def run(key):
        state = init_state(model, optimizer, key)
        state, loss = train_step(model, optimizer, state, {"x": images()})
        gradient = jax.grad(lambda params: decoder.output(params, jnp.zeros((2, 3))).sum())(state.params)
        z = model.encode(state.variables, images())
        points = None if decoder.pointwise is None else decoder.pointwise(state.params, jnp.zeros((64, 3)))
        return state._replace(key=None), loss, gradient, z, model.decode(state.variables, z), points

    leaves = jax.tree.leaves(jax.eval_shape(run, jax.random.key(0)))
    assert {str(leaf.dtype) for leaf in leaves} == {"float32", "int32"}  # int32 counts steps


@pytest.mark.slow
@decoders
def test_strategies_agree_to_rounding(name):
    """Latents of every strategy in 16 bits against the definition in 32; the parameters are the same."""
    decoder = DECODERS[name]
    params = jax.jit(decoder.init)(jax.random.key(0))
    mixed, x, origin = mixed_precision(decoder), images(), jnp.zeros(3)

    def latents(decoder, strategy):
        return jax.jit(partial(encode_shared, decoder, strategy=strategy))(params, x, origin)

    exact = latents(decoder, "definition")
    for strategy in possible_strategies(decoder, params, 4):
        np.testing.assert_allclose(latents(mixed, strategy), exact, atol=0.05 * float(jnp.abs(exact).max()))


def test_statistics_are_those_of_float32():
    """Means and variances of what the layers below computed in 16 bits, but not rounded to 16 bits themselves."""
    decoder = DECODERS["batch"]
    params = jax.jit(decoder.init)(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (16, 3))
    (_, exact), (_, stats) = (jax.jit(d.apply)(params, z) for d in (decoder, mixed_precision(decoder)))
    for ours, other in zip(*map(jax.tree.leaves, (stats, exact)), strict=True):
        np.testing.assert_allclose(ours, other, atol=0.02 * float(jnp.abs(other).max()))
        assert (ours != ours.astype(jnp.bfloat16)).any()


def test_only_floating_types():
    with pytest.raises(TypeError, match="bfloat16"):
        mixed_precision(DECODERS["batch"], jnp.int8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "decoder, learning_rate, step_size",
    [
        (conv_decoder((8, 8, 1), (16,), base_channels=8), 5e-3, None),
        (siren_decoder(grid(8, 8), 16, hidden_dim=32, num_layers=3), 1e-3, 1 / 64),
    ],
    ids=["conv", "siren"],
)
def test_training_is_as_good(decoder, learning_rate, step_size):
    """Held-out error of digits after 300 steps, in bfloat16 over float32.

    Over seeds 0 to 2 the ratio is 1.005, 1.002, 1.000 for the convolutional decoder, and 0.955, 0.960, 0.987 for the
    SIREN, whose seeds differ among themselves by 10 %; so it may not exceed 1.05.
    """
    digits, errors = load("digits"), []
    for each in (decoder, mixed_precision(decoder)):
        model = gon(each, step_size=step_size)
        optimizer = make_optimizer(learning_rate)
        options = {"optimizer": optimizer, "report_every": 300, "progress": False}
        result = fit(model, digits.train.images, 300, jax.random.key(0), **options)
        errors.append(evaluate(model, result.state.variables, digits.test.images)["squared_error"])
    assert errors[0] < 1  # it has learnt: the mean image leaves 4.7
    assert errors[1] < 1.05 * errors[0]


# -- outputs shared by all latents ---------------------------------------------------------------------------------

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
    expected = inner.output(params["decoder"], z)
    output = decoder.output(params, z).reshape(*expected.shape, 3)
    np.testing.assert_array_equal(output[..., 0], expected)
    np.testing.assert_array_equal(output[..., 1:], jnp.broadcast_to(params["shared"], (*expected.shape, 2)))
    for field in ("independent", "batch_statistics", "latent_shape", "step_size"):
        assert getattr(decoder, field) == getattr(inner, field)
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
    finer = decoder.at(points)
    np.testing.assert_array_equal(finer.coordinates, points)
    assert finer.output(params, z).shape == (1, 4, 5, 4)
    of_points = finer.pointwise(params, jnp.broadcast_to(z, (20, 3)))
    np.testing.assert_allclose(of_points, finer.output(params, z).reshape(20, 4), rtol=1e-5, atol=1e-6)


@pytest.mark.quick("batch_statistics-*")
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


def test_a_decoder_that_claims_nothing_still_claims_nothing():
    decoder = shared_outputs(from_function(lambda w, z: z @ w, lambda key: jnp.ones((3, 2)), (3,)), 2)
    params, x = decoder.init(jax.random.key(0)), jnp.full((4, 2), 0.3)
    z = encode_shared(decoder, params, x, jnp.zeros(3), likelihood=gaussian_scale)
    definition = encode(decoder.output, params, x, jnp.zeros((4, 3)), likelihood=gaussian_scale)
    np.testing.assert_array_equal(z, definition)
    assert not decoder.independent


def test_the_best_shared_scale_is_the_root_mean_square_of_residuals(x64, double):
    """For each channel, over examples and points: there alone the gradient vanishes."""
    decoder = shared_outputs(INNER["independent"], 2)
    params = moved(double(decoder.init(jax.random.key(0))))
    z, x = jax.random.normal(jax.random.key(1), (5, 3)), jax.random.uniform(jax.random.key(2), (5, 8, 8, 2))
    log_scale = 0.5 * jnp.log(jnp.square(x - decoder.output(params, z)[..., ::2]).mean((0, 1, 2)))

    @jax.jit
    @jax.grad
    def gradient(shared):
        return gaussian_scale(decoder.output(params | {"shared": shared[:, None]}, z), x).sum()

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
