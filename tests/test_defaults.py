"""Defaults that compose: outputs match their likelihood, and the latent step size follows one rule everywhere."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Decoder, match
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, conv_encoder, from_function, mixed_precision, mlp_decoder, siren_decoder
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import (
    Likelihood,
    bernoulli,
    categorical,
    continuous_bernoulli,
    discretized_logistic,
    gaussian,
    gaussian_scale,
    squared_error,
    weighted,
)
from gon_jax.linearization import encode_shared
from gon_jax.models import (
    autoencoder,
    default_step_size,
    glo,
    gon,
    gon_classifier,
    least_squares_gon,
    multi_step_gon,
    translation_gon,
    vae,
    vgon,
)

SHAPE = (8, 8, 1)
OF_LOGITS = [bernoulli, continuous_bernoulli, gaussian_scale, discretized_logistic, categorical]


def models_of(decoder, likelihood):
    """Yield every kind of model of a decoder and a likelihood, lazily."""
    options = {"likelihood": likelihood}
    yield lambda: gon(decoder, **options)
    yield lambda: vgon(decoder, **options)
    yield lambda: gon_classifier(decoder, 10, **options)
    yield lambda: translation_gon(decoder, **options)
    yield lambda: multi_step_gon(decoder, num_steps=2, **options)
    yield lambda: glo(decoder, **options)
    if likelihood.fisher is not None:
        yield lambda: least_squares_gon(decoder, **options)


def test_a_vgon_of_a_conv_decoder_reads_logits():
    decoder = conv_decoder(SHAPE, (3,), base_channels=4)
    model = vgon(decoder)
    variables = model.init(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (4, 3))
    plain = conv_decoder(SHAPE, (3,), base_channels=4, output_activation="none")
    t = z @ variables.params["mean"]["kernel"] + variables.params["mean"]["bias"]
    logits = plain.output(variables.params["decoder"], t, variables.stats.latent)
    np.testing.assert_allclose(model.decode(variables, z), jax.nn.sigmoid(logits), rtol=1e-5)


@pytest.mark.parametrize("likelihood", OF_LOGITS, ids=lambda likelihood: likelihood.name)
def test_an_open_output_activation_is_left_out_for_likelihoods_of_real_outputs(likelihood):
    shape = (8, 8, likelihood.num_outputs)
    decoder = conv_decoder(shape, (3,), base_channels=2)
    matched, data_shape = match(decoder, likelihood)
    assert data_shape == SHAPE and matched.output_range is None
    params, z = decoder.init(jax.random.key(0)), 3 * jax.random.normal(jax.random.key(1), (2, 3))
    plain = conv_decoder(shape, (3,), base_channels=2, output_activation="none")
    np.testing.assert_array_equal(matched.output(params, z), plain.output(params, z))
    np.testing.assert_allclose(decoder.output(params, z), jax.nn.sigmoid(plain.output(params, z)), rtol=1e-6)


@pytest.mark.parametrize("likelihood", [squared_error, gaussian(0.1)], ids=lambda likelihood: likelihood.name)
def test_a_likelihood_of_means_keeps_the_output_activation(likelihood):
    decoder = conv_decoder(SHAPE, (3,), base_channels=2)
    assert match(decoder, likelihood)[0] is decoder


@pytest.mark.parametrize("likelihood", OF_LOGITS, ids=lambda likelihood: likelihood.name)
@pytest.mark.parametrize("wrap", [lambda d: d, mixed_precision], ids=["plain", "mixed_precision"])
def test_a_bounded_output_is_refused_by_every_model(likelihood, wrap):
    decoder = wrap(conv_decoder((8, 8, likelihood.num_outputs), (3,), base_channels=2, output_activation="sigmoid"))
    for make in models_of(decoder, likelihood):
        with pytest.raises(
            ValueError, match=rf"real outputs for {likelihood.name}, got outputs in \(0.0, 1.0\).*twice"
        ):
            make()
    with pytest.raises(ValueError, match="real outputs"):
        vae(decoder, conv_encoder(SHAPE, (3,), base_channels=2), likelihood=likelihood)
    bounded = siren_decoder(grid(8, 8), 3, likelihood.num_outputs, hidden_dim=4, output_activation="tanh")
    with pytest.raises(ValueError, match=r"got outputs in \(-1.0, 1.0\)"):
        gon(bounded, likelihood=likelihood)


def test_mixed_precision_keeps_the_choice_open():
    model = vgon(mixed_precision(conv_decoder(SHAPE, (3,), base_channels=2)))
    decoded = model.decode(model.init(jax.random.key(0)), 100 * jnp.ones((2, 3)))
    assert decoded.min() >= 0 and decoded.max() <= 1


def test_a_likelihood_of_unknown_reading_takes_the_decoder_as_it_is():
    laplace = Likelihood("laplace", lambda output, x: jnp.abs(x - output), lambda output: output)
    decoder = conv_decoder(SHAPE, (3,), base_channels=2)
    assert match(decoder, laplace)[0] is decoder


def test_a_plain_function_is_no_likelihood_of_a_model():
    with pytest.raises(
        TypeError, match=r"expected likelihood, a Likelihood, got the function .*Likelihood\('name', terms"
    ):
        gon(conv_decoder(SHAPE, (3,)), likelihood=lambda output, x: jnp.square(output - x).sum((1, 2, 3)))


def test_batch_statistics_need_independence():
    decoder = conv_decoder(SHAPE, (3,))._replace(independent=False)
    with pytest.raises(ValueError, match="independent=True"):
        gon(decoder)


def step_of(make, **options):
    """Return the step size that a model takes, by how its latents grow with one that is given."""
    model, unit = make(), make(step_size=1.0)
    variables = model.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (4, *model.data_shape))
    z, z_unit = (m.encode(variables._replace(stats=None), x) for m in (model, unit))
    return float(jnp.linalg.norm(z) / jnp.linalg.norm(z_unit))


def vector_decoder():
    return from_function(
        lambda w, z: (z @ w).reshape(-1, 8, 8, 1), lambda key: jax.random.normal(key, (3, 64)), (3,), independent=True
    )


@pytest.mark.quick("conv", "siren, 2 channels")
@pytest.mark.parametrize(
    ("decoder", "expected"),
    [
        (lambda: siren_decoder(grid(8, 8), 3, hidden_dim=4), 1 / 64),
        (lambda: siren_decoder(grid(8, 8), 3, 2, hidden_dim=4), 1 / 128),
        (lambda: conv_decoder(SHAPE, (3,), base_channels=2), 1 / (64 * 64)),
        (lambda: conv_decoder(SHAPE, (3,), base_channels=2, norm="group"), 0.25),
        (lambda: conv_decoder(SHAPE, (3,), base_channels=2, norm="none"), 128.0),
        (lambda: mlp_decoder(SHAPE, (3,), hidden_dim=4), 0.5),
        (vector_decoder, 1 / (64 * 64)),
    ],
    ids=["siren", "siren, 2 channels", "conv", "conv group", "conv none", "mlp", "own"],
)
def test_one_step_size_for_all_models_of_a_decoder(decoder, expected):
    decoder = decoder()
    for model in (gon, translation_gon, lambda d, **o: gon_classifier(d, 10, **o)):
        assert step_of(lambda model=model, **options: model(decoder, **options)) == pytest.approx(expected, rel=1e-4)
    one_step = lambda **options: multi_step_gon(decoder, num_steps=1, **options)  # noqa: E731
    assert step_of(one_step) == pytest.approx(expected, rel=1e-4)
    channels = match(decoder, squared_error)[1][-1]
    logits = decoder if channels == 2 else decoder._replace(output_range=None)
    assert default_step_size(logits, bernoulli, SHAPE, variational=True) == 1 / 64
    ten = default_step_size(decoder, squared_error, (8, 8, channels), num_steps=10)
    assert ten == pytest.approx(expected if decoder.step_size else expected / 10)


def test_a_gaussians_scale_does_not_change_the_latents_of_a_decoder_with_its_own_step_size():
    decoder = conv_decoder(SHAPE, (3,), base_channels=2, norm="none")
    variables = gon(decoder).init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (4, *SHAPE))
    z = gon(decoder).encode(variables, x)
    np.testing.assert_allclose(gon(decoder, likelihood=gaussian(0.1)).encode(variables, x), z, rtol=1e-4)


@pytest.mark.parametrize("model", [gon, vgon, translation_gon, multi_step_gon])
@pytest.mark.parametrize("step_size", [0, -1.0, math.nan])
def test_a_step_size_that_is_not_above_0_is_refused(model, step_size):
    with pytest.raises(ValueError, match="step_size, a number above 0"):
        model(conv_decoder(SHAPE, (3,), norm="none"), step_size=step_size)


def test_autoencoders_take_open_output_activations_too():
    pair = conv_decoder(SHAPE, (3,), base_channels=2), conv_encoder(SHAPE, (3,), base_channels=2)
    model = autoencoder(*pair, likelihood=bernoulli)
    variables = model.init(jax.random.key(0))._replace(stats=None)
    x = jax.random.uniform(jax.random.key(1), (4, *SHAPE))
    logits = conv_decoder(SHAPE, (3,), base_channels=2, output_activation="none")
    z = model.encode(variables, x)
    np.testing.assert_allclose(
        model.decode(variables, z), jax.nn.sigmoid(logits.output(variables.params["decoder"], z)), rtol=1e-5
    )


def test_a_decoder_without_init_says_so():
    with pytest.raises(ValueError, match="expected a decoder with `init`"):
        gon(Decoder(lambda w, z, stats=None: (z, None), None, (3,)))


def test_the_free_functions_match_outputs_too():
    decoder = conv_decoder(SHAPE, (3,), base_channels=2, norm="none")
    model = gon(decoder, likelihood=bernoulli, step_size=1.0)
    variables, x = model.init(jax.random.key(0)), jax.random.uniform(jax.random.key(1), (4, *SHAPE))
    z = encode_shared(decoder, variables.params, x, jnp.zeros(3), likelihood=bernoulli, step_size=1.0)
    np.testing.assert_allclose(z, model.encode(variables, x), rtol=1e-5)
    bounded = conv_decoder(SHAPE, (3,), base_channels=2, norm="none", output_activation="sigmoid")
    with pytest.raises(ValueError, match="real outputs for bernoulli"):
        encode_shared(bounded, variables.params, x, jnp.zeros(3), likelihood=bernoulli)
    with pytest.raises(ValueError, match="real outputs for bernoulli"):
        least_squares_encoder(bounded, variables.params, jnp.zeros(3), likelihood=bernoulli)


def test_a_decoder_that_returns_no_statistics_is_refused():
    with pytest.raises(TypeError, match=r"return \(output, stats\).*from_function"):
        gon(Decoder(lambda w, z, stats=None: z, lambda key: 0, (3,)))


def test_weights_do_not_change_a_decoders_own_step_size():
    decoder = conv_decoder(SHAPE, (3,), base_channels=2, norm="none")
    likelihood = weighted(squared_error, jnp.ones((8, 8, 1)))
    assert default_step_size(decoder, likelihood, SHAPE) == 128.0
