"""Likelihoods against numpy and scipy; what they claim of themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from gon_jax.likelihoods import bernoulli, gaussian, squared_error

ALL = [squared_error, gaussian(0.3), bernoulli]
by_name = pytest.mark.parametrize("likelihood", ALL, ids=lambda likelihood: likelihood.name)


def test_values():
    rng = np.random.default_rng(0)
    output, x = rng.normal(size=(4, 3, 2)), rng.uniform(size=(4, 3, 2))
    np.testing.assert_allclose(squared_error(output, x), ((x - output) ** 2).sum((1, 2)), rtol=1e-6)
    nats = -scipy.stats.norm(output, 0.3).logpdf(x).sum((1, 2))
    np.testing.assert_allclose(gaussian(0.3)(output, x), nats, rtol=1e-5)
    p = 1 / (1 + np.exp(-output))
    nats = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2))
    np.testing.assert_allclose(bernoulli(jnp.asarray(output), x), nats, rtol=1e-5)


@by_name
def test_one_number_an_example_and_no_dependence_on_the_batch(likelihood):
    output, x = jax.random.normal(jax.random.key(0), (5, 3, 2)), jnp.full((5, 3, 2), 0.4)
    together = likelihood(output, x)
    assert together.shape == (5,)
    np.testing.assert_allclose(likelihood(output[2:3], x[2:3]), together[2:3], rtol=1e-6)


@by_name
def test_shapes_that_would_broadcast_are_refused(likelihood):
    with pytest.raises(ValueError, match="one shape"):
        likelihood(jnp.zeros((5, 3, 1)), jnp.zeros((5, 3, 3)))


@by_name
def test_gradient_is_affine_in_the_data_where_it_says_so(likelihood):
    output = jax.random.normal(jax.random.key(0), (1, 4))
    gradient = jax.grad(lambda o, x: likelihood(o, x).sum())
    a, b = jnp.array([[0.1, 0.2, 0.3, 0.9]]), jnp.array([[0.8, 0.1, 0.5, 0.2]])
    middle = gradient(output, 0.3 * a + 0.7 * b)
    np.testing.assert_allclose(middle, 0.3 * gradient(output, a) + 0.7 * gradient(output, b), rtol=1e-4, atol=1e-5)
    assert likelihood.affine


def test_normalised():
    total, _ = scipy.integrate.quad(lambda x: np.exp(-gaussian(0.3)(jnp.array([[0.2]]), jnp.array([[x]]))[0]), -3, 3)
    assert gaussian(0.3).normalised and abs(total - 1) < 1e-4
    output = jnp.full((2, 1), 0.7)
    assert abs(np.exp(-bernoulli(output, jnp.array([[0.0], [1.0]]))).sum() - 1) < 1e-6  # of 0 and 1, not of greys
    assert not bernoulli.normalised and not squared_error.normalised


def test_extreme_logits_are_finite_under_two_derivatives():
    logits = jnp.array([[-200.0, 200.0]])
    second = jax.grad(lambda o: jax.grad(lambda o: bernoulli(o, jnp.array([[1.0, 0.0]])).sum())(o).sum())(logits)
    assert jnp.isfinite(second).all() and jnp.isfinite(bernoulli(logits, 1 - logits * 0)).all()


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_scale_is_checked(scale):
    with pytest.raises(ValueError, match="scale"):
        gaussian(scale)
