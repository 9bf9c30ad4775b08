"""Metrics against independent computations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Model, Variables
from gon_jax.decoders import conv_decoder, conv_encoder
from gon_jax.inference import frozen_encoder
from gon_jax.likelihoods import squared_error
from gon_jax.metrics import accuracy, evaluate, evaluate_bound, psnr, selection_metric, squared_errors
from gon_jax.models import autoencoder, glo, gon, gon_classifier, translation_gon, vae, vgon
from gon_jax.pca import pca_errors, pca_reconstructions

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
X = jnp.asarray(IMAGES / 255, jnp.float32)


def constant_model(value):
    """A model that reconstructs everything as `value`."""
    return Model(
        init=lambda key: Variables({}),
        loss=None,
        encode=lambda variables, x: jnp.zeros((x.shape[0], 1)),
        decode=lambda variables, z: jnp.full((z.shape[0], 4, 4, 1), value),
        data_shape=(4, 4, 1),
        latent_shape=(1,),
        likelihood=squared_error,
    )


@pytest.mark.parametrize("evaluation", ["running", "batch"])
def test_every_example_counts_the_same(evaluation):
    """With a last batch of 3 among 64s: not a mean of batch means."""
    images = np.random.default_rng(0).integers(0, 256, (131, 4, 4, 1), dtype=np.uint8)
    images[-3:] = 255
    x = images / 255
    metrics = evaluate(constant_model(0.25), Variables({}), images, evaluation=evaluation)
    squares = ((x - 0.25) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(metrics["squared_error"], squares.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["psnr"], (-10 * np.log10(squares / 16)).mean(), rtol=1e-5)


DECODER, ENCODER = (make((8, 8, 1), (3,), base_channels=2) for make in (conv_decoder, conv_encoder))


@pytest.mark.quick("model0*", "model6*")
@pytest.mark.parametrize(
    ("model", "metric", "others"),
    [
        (gon(DECODER), "squared_error", set()),
        (glo(DECODER, num_steps=2), "squared_error", set()),
        (autoencoder(DECODER, ENCODER), "squared_error", set()),
        (translation_gon(DECODER), "squared_error", set()),
        (vgon(DECODER), "negative_elbo", {"nll", "kl", "num_samples"}),
        (vae(DECODER, ENCODER), "negative_elbo", {"nll", "kl", "num_samples"}),
        (gon_classifier(DECODER, 10), "accuracy", set()),
        (gon_classifier(DECODER, 10, reconstruction_weight=1.0), "accuracy", set()),
    ],
)
def test_each_model_is_judged_by_its_own_metric_among_all_that_it_has(model, metric, others):
    """As the functions for each part compute them; draws of a bound are the same in every call."""
    assert selection_metric(model) == metric
    variables, data = model.init(jax.random.key(0)), {"x": IMAGES[:9], "y": np.arange(9)}
    metrics = evaluate(model, variables, data, batch_size=4)
    assert metrics.keys() == {"squared_error", "psnr", metric} | others
    if metric == "negative_elbo":
        bound = evaluate_bound(model, variables, data, jax.random.key(0))
        assert {name: metrics[name] for name in bound} == pytest.approx(bound, rel=1e-5)
        assert metrics == evaluate(model, variables, data, batch_size=4)
        assert evaluate(model, variables, data, seed=1)["nll"] != metrics["nll"]
    if metric == "accuracy":
        assert metrics["accuracy"] == accuracy(model, variables, data)
        assert evaluate(model, variables, IMAGES[:9]).keys() == {"squared_error", "psnr"}


def test_unknown_evaluation():
    with pytest.raises(ValueError, match="running"):
        evaluate(constant_model(0.0), Variables({}), np.zeros((2, 4, 4, 1), np.uint8), evaluation="train")


def test_each_batch_by_itself_takes_no_frozen_encoder():
    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    variables = model.init(jax.random.key(0))
    variables = variables._replace(stats=model.loss(variables, {"x": X}, None)[1])
    never_frozen = dataclasses.replace(model, capabilities=model.capabilities._replace(freeze=pytest.fail))
    metrics = evaluate(never_frozen, variables, IMAGES, evaluation="batch", batch_size=300)
    by_batch = variables._replace(stats=None)
    x_hat = model.decode(by_batch, model.encode(by_batch, X))
    np.testing.assert_allclose(metrics["squared_error"], squared_errors(x_hat, X).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="no encoder with evaluation 'batch'"):
        evaluate(model, variables, IMAGES, evaluation="batch", encoder=frozen_encoder(model, variables))
    with pytest.raises(ValueError, match="averaged statistics, got stats=None.*evaluation='batch'"):
        evaluate(model, by_batch, IMAGES)


def test_pca_is_the_best_linear_reconstruction():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)
    x = images.reshape(40, -1) / 255
    u, s, vt = np.linalg.svd(x - x.mean(0), full_matrices=False)
    expected = (u[:, :3] * s[:3]) @ vt[:3] + x.mean(0)
    np.testing.assert_allclose(pca_reconstructions(images, images, 3).reshape(40, -1), expected, atol=1e-5)
    few = pca_reconstructions(images[:2], images, 8)  # more components than examples
    assert few.shape == images.shape and np.isfinite(few).all()


@pytest.mark.parametrize("num", [1, 5])
def test_pca_of_equal_images_is_that_image(num):
    images = np.full((num, 4, 4, 1), 77, np.uint8)
    other = IMAGES[:3, :4, :4]
    np.testing.assert_allclose(pca_reconstructions(images, other, 3), np.full((3, 4, 4, 1), 77 / 255), atol=1e-6)
    assert pca_errors(images, images, 3) == {"squared_error": 0, "psnr": 100}


def test_psnr_of_a_perfect_reconstruction_is_finite():
    x = jax.random.uniform(jax.random.key(0), (2, 4, 4, 1))
    np.testing.assert_allclose(psnr(x, x), 100)
    np.testing.assert_allclose(squared_errors(x, x + 0.5), 4, rtol=1e-6)


@pytest.mark.parametrize("labels", [np.zeros((10, 1), int), np.zeros((10, 10), int)], ids=["column", "one-hot"])
def test_labels_of_another_shape_are_refused(labels):
    model = gon_classifier(conv_decoder((8, 8, 1), (3,), base_channels=2), 10)
    data = {"x": np.zeros((10, 8, 8, 1), np.uint8), "y": labels}
    with pytest.raises(ValueError, match="one label for each of 10 examples"):
        accuracy(model, model.init(jax.random.key(0)), data)


def test_errors_of_bytes_are_those_of_intensities():
    """Differences of uint8 would wrap around without a word."""
    a, b = (np.random.default_rng(i).integers(0, 256, (3, 4, 4, 1), np.uint8) for i in range(2))
    exact = np.square(a / 255 - b / 255).reshape(3, -1).sum(1)
    np.testing.assert_allclose(squared_errors(a, b), exact, rtol=1e-5)
    np.testing.assert_allclose(psnr(a, b), -10 * np.log10(exact / 16), rtol=1e-5)
