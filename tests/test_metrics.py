"""Figures against independent computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax import metrics
from gon_jax.base import Model, Variables
from gon_jax.decoders import conv_decoder
from gon_jax.likelihoods import squared_error
from gon_jax.metrics import (
    encode_images,
    evaluate,
    frozen_encoder,
    in_batches,
    pca_errors,
    pca_reconstructions,
    psnr,
    reconstruct_images,
    squared_errors,
)
from gon_jax.models import gon, least_squares_gon

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
X = jnp.asarray(IMAGES / 255, jnp.float32)
MODELS = {
    "gon": lambda: gon(conv_decoder((8, 8, 1), (3,), base_channels=2)),
    "gon-none": lambda: gon(conv_decoder((8, 8, 1), (4, 4, 2), base_channels=2, norm="none")),
    "least-squares": lambda: least_squares_gon(conv_decoder((8, 8, 1), (3,), base_channels=2), learn_damping=True),
}


def trained(name):
    """A model whose statistics are those of data."""
    model = MODELS[name]()
    variables = model.init(jax.random.key(0))
    return model, variables._replace(stats=model.loss(variables, {"x": X}, None)[1])


def untouchable(*_):
    pytest.fail("called")


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
    figures = evaluate(constant_model(0.25), Variables({}), images, evaluation=evaluation)
    squares = ((x - 0.25) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(figures["squared_error"], squares.mean(), rtol=1e-5)
    np.testing.assert_allclose(figures["psnr"], (-10 * np.log10(squares / 16)).mean(), rtol=1e-5)


def test_unknown_evaluation():
    with pytest.raises(ValueError, match="running"):
        evaluate(constant_model(0.0), Variables({}), np.zeros((2, 4, 4, 1), np.uint8), evaluation="train")


@pytest.mark.parametrize("name", MODELS)
def test_images_are_encoded_by_one_frozen_encoder(name):
    model, variables = trained(name)
    z = jax.jit(model.encode)(variables, X)
    x_hat = model.decode(variables, z)
    of_matrix = model._replace(encode=untouchable)
    np.testing.assert_allclose(encode_images(of_matrix, variables, IMAGES), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reconstruct_images(of_matrix, variables, IMAGES), x_hat, atol=1e-5)
    figures = evaluate(of_matrix, variables, IMAGES)
    np.testing.assert_allclose(figures["squared_error"], squared_errors(x_hat, X).mean(), rtol=1e-5)

    encoder = frozen_encoder(model, variables)
    ready, options = of_matrix._replace(freeze=untouchable), {"encoder": encoder}
    np.testing.assert_allclose(encode_images(ready, variables, IMAGES, **options), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reconstruct_images(ready, variables, IMAGES, **options), x_hat, atol=1e-5)
    assert evaluate(ready, variables, IMAGES, **options) == figures
    other = encoder._replace(bias=encoder.bias + 1)
    np.testing.assert_allclose(encode_images(ready, variables, IMAGES, encoder=other), z + 1, rtol=1e-5, atol=1e-5)


def test_where_there_is_no_such_encoder_the_model_encodes(monkeypatch):
    model, variables = trained("gon")
    z = encode_images(model, variables, IMAGES)
    options = {"rtol": 1e-5, "atol": 1e-5}

    unfolded = gon(conv_decoder((8, 8, 1), (3,), base_channels=2), likelihood=squared_error._replace(affine=False))
    assert unfolded.freeze(variables).output is not None and frozen_encoder(unfolded, variables) is None
    np.testing.assert_allclose(encode_images(unfolded, variables, IMAGES), z, **options)
    given = {"encoder": unfolded.freeze(variables)}
    np.testing.assert_allclose(encode_images(unfolded, variables, IMAGES, **given), z, **options)

    by_itself = model._replace(freeze=None)
    assert frozen_encoder(by_itself, variables) is None
    np.testing.assert_allclose(encode_images(by_itself, variables, IMAGES), z, **options)
    monkeypatch.setattr(metrics, "LARGEST_MATRIX", 64 * 3 - 1)
    np.testing.assert_allclose(encode_images(model._replace(freeze=untouchable), variables, IMAGES), z, **options)


def test_each_batch_by_itself_takes_no_frozen_encoder():
    model, variables = trained("gon")
    figures = evaluate(model._replace(freeze=untouchable), variables, IMAGES, evaluation="batch", batch_size=300)
    by_batch = variables._replace(stats=None)
    x_hat = model.decode(by_batch, model.encode(by_batch, X))
    np.testing.assert_allclose(figures["squared_error"], squared_errors(x_hat, X).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="no encoder with evaluation 'batch'"):
        evaluate(model, variables, IMAGES, evaluation="batch", encoder=frozen_encoder(model, variables))
    with pytest.raises(ValueError, match="averaged statistics, got stats=None.*evaluation='batch'"):
        evaluate(model, by_batch, IMAGES)


@pytest.mark.parametrize("function", [evaluate, encode_images, reconstruct_images])
def test_other_images_than_the_models_are_refused(function):
    """A matrix would multiply any image of as many pixels."""
    with pytest.raises(ValueError, match=r"expected images \[N, 8, 8, 1\], got \[300, 4, 16, 1\]"):
        function(*trained("gon"), IMAGES.reshape(300, 4, 16, 1))


def test_in_batches_pads_with_rows_and_cuts_them_off():
    seen = []

    def function(rows):
        seen.append(rows.shape)
        return {"double": rows * 2, "row": rows}

    rows = np.arange(10).reshape(5, 2)
    result = in_batches(function, rows, batch_size=3)
    np.testing.assert_array_equal(result["double"], rows * 2)
    assert seen == [(3, 2), (3, 2)]
    in_batches(function, rows, batch_size=3, pad=False)
    assert seen[2:] == [(3, 2), (2, 2)]


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
