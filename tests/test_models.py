"""The contract of a model, for every model; and what is particular to the GON."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.data import load
from gon_jax.decoders import conv_decoder, conv_encoder, from_function, modulated_siren_decoder, siren_decoder
from gon_jax.encoding import encode, gon_loss
from gon_jax.likelihoods import bernoulli, gaussian, squared_error
from gon_jax.metrics import evaluate
from gon_jax.models import (
    autoencoder,
    glo,
    gon,
    gon_classifier,
    least_squares_gon,
    multi_step_gon,
    translation_gon,
    vae,
    vgon,
)
from gon_jax.training import fit, make_optimizer


def function_decoder(features=64, latent_size=3):
    """A decoder as another project would bring it: two functions, no Flax."""

    def decoder_fn(params, z):
        return jax.nn.sigmoid(z @ params["w"] + params["b"]).reshape(-1, 8, 8, 1)

    def init(key):
        return {"w": jax.random.normal(key, (latent_size, features)), "b": jnp.zeros((1, features))}

    return from_function(decoder_fn, init, (latent_size,), independent=True)


def conv(**options):
    return conv_decoder((8, 8, 1), options.pop("latent_shape", (3,)), base_channels=2, **options)


def encoder(**options):
    return conv_encoder((8, 8, 1), (3,), base_channels=2, **options)


modulated = partial(modulated_siren_decoder, output_activation="sigmoid")
MODELS = {
    "gon": lambda: gon(conv()),
    "gon-group": lambda: gon(conv(norm="group")),
    "gon-none": lambda: gon(conv(norm="none")),
    "gon-spatial": lambda: gon(conv(latent_shape=(4, 4, 2))),
    "gon-bernoulli": lambda: gon(conv(), likelihood=bernoulli),
    "gon-gaussian": lambda: gon(conv(), likelihood=gaussian(0.1)),
    "gon-function": lambda: gon(function_decoder()),
    "gon-coupled": lambda: gon(function_decoder()._replace(independent=False)),
    "gon-definition": lambda: gon(conv(), strategy="definition"),
    "least-squares": lambda: least_squares_gon(conv(), learn_damping=True),
    "least-squares-none": lambda: least_squares_gon(conv(norm="none"), damping=0.1),
    "vgon": lambda: vgon(conv()),
    "vgon-shared": lambda: vgon(conv(), inner_noise="shared", step_size=1.0),
    "vgon-group": lambda: vgon(conv(norm="group"), logvar=-1.0),
    "implicit": lambda: gon(siren_decoder(grid(8, 8), 3, hidden_dim=8, output_activation="sigmoid")),
    "implicit-subset": lambda: gon(modulated(grid(8, 8), 3, hidden_dim=8), num_points=20),
    "vgon-none": lambda: vgon(conv(), inner_noise="none"),
    "classifier": lambda: gon_classifier(conv(), 4),
    "classifier-implicit": lambda: gon_classifier(
        siren_decoder(grid(8, 8), 2, hidden_dim=8, output_activation="sigmoid"), 4
    ),
    "joint": lambda: gon_classifier(conv(norm="none"), 4, reconstruction_weight=1.0),
    "translation": lambda: translation_gon(conv()),
    "multi-step": lambda: multi_step_gon(conv(), num_steps=2, learn_origin=True, learn_step_size=True),
    "multi-step-detached": lambda: multi_step_gon(conv(norm="none"), num_steps=2, detached=True),
    "multi-step-drawn": lambda: multi_step_gon(conv(), num_steps=1, origin_scale=0.1, encoding="gradient"),
    "autoencoder": lambda: autoencoder(conv(), encoder()),
    "tied-autoencoder": lambda: autoencoder(conv(norm="none"), encoder(norm="none", tied=True)),
    "vae": lambda: vae(conv(), encoder()),
    "glo": lambda: glo(conv(), num_steps=3),
    "least-squares-bernoulli": lambda: least_squares_gon(conv(), likelihood=bernoulli),
}
X = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 8, 8, 1)), jnp.float32)
BATCH = {"x": X, "y": jnp.arange(5) % 4, "target": X, "index": jnp.arange(5)}


def batch_for(model):
    """Return a batch with all that any model takes."""
    init = model.capabilities.init_latents
    return BATCH if init is None else BATCH | {"z": init(jax.random.key(2), 5)}


@pytest.mark.quick("gon", "vgon", "classifier", "glo", "least-squares")
@pytest.mark.parametrize("name", MODELS)
def test_contract(name):
    model = MODELS[name]()
    variables = model.init(jax.random.key(0))
    assert model.data_shape == (8, 8, 1)

    loss, stats = model.loss(variables, batch_for(model), jax.random.key(1))
    assert loss.shape == () and jnp.isfinite(loss)
    assert jax.tree.structure(stats) == jax.tree.structure(variables.stats)
    assert jax.tree.map(jnp.shape, stats) == jax.tree.map(jnp.shape, variables.stats)

    averaged = variables._replace(stats=stats)
    z = model.encode(averaged, X)
    assert z.shape == (5, *model.latent_shape) and jnp.isfinite(z).all()
    x_hat = model.decode(averaged, z)
    assert x_hat.shape == X.shape and (x_hat >= 0).all() and (x_hat <= 1).all()

    if (classify := model.capabilities.classify) is not None:
        logits = classify(averaged, X)
        assert logits.shape == (5, 4)
        np.testing.assert_allclose(classify(averaged, X[2:3]), logits[2:3], rtol=1e-4, atol=1e-5)
        mean = classify(averaged, X.mean(axis=0, keepdims=True))  # a linear classifier
        np.testing.assert_allclose(mean[0], logits.mean(axis=0), rtol=1e-3, atol=1e-4)

    # Evaluated with averages, an example is the same alone as in a batch; different keys, different parameters.
    np.testing.assert_allclose(model.encode(averaged, X[2:3]), z[2:3], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.decode(averaged, z[2:3]), x_hat[2:3], atol=1e-5)
    other = model.init(jax.random.key(1)).params
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(variables.params), jax.tree.leaves(other), strict=True))


@pytest.mark.quick("gon", "vgon", "glo", "least-squares", "implicit")
@pytest.mark.parametrize("name", MODELS)
def test_gradient_reaches_every_parameter(name):
    model = MODELS[name]()
    variables = model.init(jax.random.key(0))
    batch = batch_for(model)
    gradient = jax.grad(lambda p: model.loss(Variables(p), batch, jax.random.key(1))[0])(variables.params)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert jnp.isfinite(leaf).all()
        words = jax.tree_util.keystr(path)
        idle = ("Project_0" in words or "StridedConv_0" in words) and "bias" in words
        if idle and variables.stats is not None:  # batch normalization takes it away again
            assert (leaf == 0).all(), path
        else:
            assert (leaf != 0).any(), path


@pytest.mark.quick("gon", "vgon", "implicit", "classifier")
@pytest.mark.parametrize("name", MODELS)
def test_frozen_encoder_is_the_models(name):
    model = MODELS[name]()
    variables = model.init(jax.random.key(0))
    if model.capabilities.freeze is None:
        assert name.startswith(("gon-coupled", "multi-step", "autoencoder", "tied", "vae", "glo"))
        return
    variables = variables._replace(stats=model.loss(variables, batch_for(model), jax.random.key(1))[1])
    frozen, z = model.capabilities.freeze(variables), model.encode(variables, X)
    assert frozen.output is None  # folded
    np.testing.assert_allclose(frozen(X), z, rtol=1e-4, atol=1e-5 * float(jnp.abs(z).max()))


def test_loss_and_latents_are_the_definitions():
    decoder = function_decoder()
    model = gon(decoder, step_size=0.05)
    variables = model.init(jax.random.key(0))
    z0 = jnp.zeros((5, 3))
    np.testing.assert_allclose(
        model.encode(variables, X), encode(decoder.output, variables.params, X, z0, step_size=0.05), rtol=1e-5
    )
    loss, _ = model.loss(variables, {"x": X}, jax.random.key(1))
    expected = gon_loss(decoder.output, variables.params, X, z0, step_size=0.05).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


SIREN = siren_decoder(grid(8, 8), 3, 2, hidden_dim=8)
STEP_SIZES = {  # one rule for all models
    "gon": (gon, function_decoder(), 1 / 64**2),
    "gon-batch": (gon, conv(), 1 / 64**2),
    "gon-none": (gon, conv(norm="none"), 128.0),
    "gon-group": (gon, conv(norm="group"), 0.25),
    "gon-none-gaussian": (partial(gon, likelihood=gaussian(0.1)), conv(norm="none"), 128 * 2 * 0.1**2),
    "gon-none-bernoulli": (partial(gon, likelihood=bernoulli), conv(norm="none"), 128.0),
    "gon-coordinates": (gon, SIREN, 1 / (64 * 2)),
    "classifier-coordinates": (partial(gon_classifier, num_classes=2), SIREN, 1 / (64 * 2)),
    "classifier-group": (partial(gon_classifier, num_classes=2), conv(norm="group"), 0.25),
    "translation-coordinates": (translation_gon, SIREN, 1 / (64 * 2)),
    "translation-none": (translation_gon, conv(norm="none"), 128.0),
    "multi-step-1": (partial(multi_step_gon, num_steps=1), function_decoder(), 1 / 64**2),
    "multi-step-2": (partial(multi_step_gon, num_steps=2), function_decoder(), 0.1 / 64**2),
    "multi-step-2-coordinates": (partial(multi_step_gon, num_steps=2), SIREN, 0.1 / (64 * 2)),
    "multi-step-2-none": (partial(multi_step_gon, num_steps=2), conv(norm="none"), 128.0),
    "vgon": (vgon, conv(), 1 / 64),
    "vgon-none": (vgon, conv(norm="none"), 1 / 64),
    "vgon-coordinates": (vgon, SIREN, 1 / 64),
}


@pytest.mark.quick("gon-*")
@pytest.mark.parametrize("name", STEP_SIZES)
def test_default_step_size(name):
    make, decoder, step_size = STEP_SIZES[name]
    model = make(decoder)
    variables, x = model.init(jax.random.key(0)), jnp.broadcast_to(X, (5, *model.data_shape))
    np.testing.assert_array_equal(model.encode(variables, x), make(decoder, step_size=step_size).encode(variables, x))
    with pytest.raises(ValueError, match="step_size, a number above 0, got 0.0"):
        make(decoder, step_size=0.0)


WITH_LIKELIHOOD = {
    "gon": gon,
    "least-squares": least_squares_gon,
    "classifier": partial(gon_classifier, num_classes=4),
    "translation": translation_gon,
    "multi-step": multi_step_gon,
    "vgon": vgon,
    "autoencoder": partial(autoencoder, encoder=encoder()),
    "vae": partial(vae, encoder=encoder()),
    "glo": glo,
}


@pytest.mark.quick("gon", "vgon", "classifier")
@pytest.mark.parametrize("name", WITH_LIKELIHOOD)
def test_the_decoders_output_is_what_the_likelihood_reads(name):
    """Left open, it is the sigmoid for a mean and nothing for logits; given, it stays, or is refused for logits."""
    make = WITH_LIKELIHOOD[name]
    for likelihood, same in ((squared_error, "sigmoid"), (bernoulli, "none")):
        chosen, given = (make(conv(output_activation=a), likelihood=likelihood) for a in (None, same))
        variables = given.init(jax.random.key(0))
        z = jax.random.normal(jax.random.key(1), (5, 3))
        np.testing.assert_array_equal(chosen.decode(variables, z), given.decode(variables, z))
        losses = [model.loss(variables, batch_for(model), jax.random.key(2))[0] for model in (chosen, given)]
        np.testing.assert_array_equal(*losses)
    for activation in ("sigmoid", "tanh"):
        with pytest.raises(ValueError, match="real outputs for bernoulli, got outputs in .* applied twice") as caught:
            make(conv(output_activation=activation), likelihood=bernoulli)
        assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="expected likelihood, a Likelihood"):
        make(conv(), likelihood=lambda output, x: jnp.square(output - x).sum((1, 2, 3)))


def test_batch_and_running_agree_on_the_batch_that_was_averaged():
    model = MODELS["gon"]()
    variables = model.init(jax.random.key(0))
    _, stats = model.loss(variables, {"x": X}, jax.random.key(1))
    by_batch, averaged = Variables(variables.params), variables._replace(stats=stats)
    z = model.encode(by_batch, X)
    np.testing.assert_allclose(model.encode(averaged, X), z, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.decode(averaged, z), model.decode(by_batch, z), atol=1e-6)


@pytest.mark.slow
def test_running_evaluation_is_within_2_percent_of_batch_evaluation_after_training(optimized):
    digits = load("digits", image_size=16)
    model = gon(conv_decoder((16, 16, 1), (16,), base_channels=8))
    result = fit(
        model,
        digits.train.images,
        400,
        jax.random.key(0),
        optimizer=make_optimizer(5e-3, schedule="cosine", num_steps=400),
        progress=False,
    )
    variables, test = result.state.variables, digits.test.images
    running = evaluate(model, variables, test)["squared_error"]
    by_batch = evaluate(model, variables, test, evaluation="batch", batch_size=len(test))["squared_error"]
    assert abs(running / by_batch - 1) < 0.02
    mean_image = digits.train.images.mean(axis=0) / 255
    assert running < 0.25 * np.square(test / 255 - mean_image).sum(axis=(1, 2, 3)).mean()  # and it has learned
    # Alone and in a batch, the trained model's latents are the same.
    x = jnp.asarray(test[:40] / 255, jnp.float32)
    together = model.encode(variables, x)
    alone = jnp.concatenate([model.encode(variables, x[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(alone, together[:3], rtol=1e-3, atol=1e-4 * float(jnp.abs(together).max()))
