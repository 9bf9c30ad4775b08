"""Figures against independent computations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.metrics import evaluate, in_batches, pca_reconstructions, psnr, squared_errors
from gon_jax.models import Model, Variables


def constant_model(value):
    """A model that reconstructs everything as `value`."""
    return Model(
        init=lambda key: Variables({}),
        loss=None,
        encode=lambda variables, x: jnp.zeros((x.shape[0], 1)),
        decode=lambda variables, z: jnp.full((z.shape[0], 4, 4, 1), value),
        data_shape=(4, 4, 1),
        latent_shape=(1,),
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


def test_psnr_of_a_perfect_reconstruction_is_finite():
    x = jax.random.uniform(jax.random.key(0), (2, 4, 4, 1))
    np.testing.assert_allclose(psnr(x, x), 100)
    np.testing.assert_allclose(squared_errors(x, x + 0.5), 4, rtol=1e-6)
