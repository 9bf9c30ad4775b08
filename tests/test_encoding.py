"""The definition against closed forms and finite differences, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gon_jax
from gon_jax.encoding import encode, gon_loss, reconstruct
from gon_jax.likelihoods import bernoulli, gaussian, squared_error

pytestmark = pytest.mark.usefixtures("x64")
LIKELIHOODS = [squared_error, gaussian(0.3), bernoulli]


def mlp(params, z):
    w1, b1, w2, b2 = params
    return jnp.tanh(z.reshape(z.shape[0], -1) @ w1 + b1) @ w2 + b2


def mlp_params(k=5, hidden=7, m=6, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=s)) for s in [(k, hidden), (1, hidden), (hidden, m), (1, m)]]


def relative(a, b):
    """Largest difference, relative to the largest entry of `b`."""
    return float(jnp.abs(a - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-300))


def test_linear_gaussian_is_closed_form():
    """Eq. 19 of Appendix A: for x = W z + b the latent is along W^T (x - b), and so is PPCA's posterior mean."""
    rng = np.random.default_rng(0)
    w, b, x = (jnp.asarray(rng.normal(size=s)) for s in [(3, 8), (1, 8), (4, 8)])
    scale = 0.7

    def decoder_fn(params, z):
        return z @ params[0] + params[1]

    z = encode(decoder_fn, (w, b), x, jnp.zeros((4, 3)), likelihood=gaussian(scale))
    np.testing.assert_allclose(z, (x - b) @ w.T / scale**2, rtol=1e-12)

    # With orthogonal columns of length^2 = c, the posterior mean of p(z) = N(0, I) is a step of size 1 / (1 + c / s^2).
    q = jnp.linalg.qr(w.T)[0].T * 1.5
    posterior_mean = jnp.linalg.solve(q @ q.T / scale**2 + jnp.eye(3), q @ (x - b).T / scale**2).T
    step_size = 1 / (1 + 1.5**2 / scale**2)
    z = encode(decoder_fn, (q, b), x, jnp.zeros((4, 3)), likelihood=gaussian(scale), step_size=step_size)
    np.testing.assert_allclose(z, posterior_mean, rtol=1e-12)


def test_a_latent_is_a_difference_quotient():
    params, eps = mlp_params(), 1e-6
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(3, 6)))
    for likelihood in LIKELIHOODS:
        z = encode(mlp, params, x, jnp.zeros((3, 5)), likelihood=likelihood)
        for i in range(5):
            d = jnp.zeros((3, 5)).at[:, i].set(eps)
            quotient = (likelihood(mlp(params, d), x) - likelihood(mlp(params, -d), x)) / (2 * eps)
            np.testing.assert_allclose(z[:, i], -quotient, rtol=1e-6, atol=1e-8)


def test_outer_gradient_is_a_difference_quotient():
    """The gradient flows through the latent: against finite differences, and unlike the detached one."""
    params, eps = mlp_params(), 1e-5
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(3, 6)))
    z0 = jnp.zeros((3, 5))

    def loss(w1):
        return gon_loss(mlp, [w1, *params[1:]], x, z0, step_size=0.1).mean()

    gradient = jax.grad(loss)(params[0])
    direction = jnp.asarray(np.random.default_rng(2).normal(size=params[0].shape))
    quotient = (loss(params[0] + eps * direction) - loss(params[0] - eps * direction)) / (2 * eps)
    np.testing.assert_allclose((gradient * direction).sum(), quotient, rtol=1e-7)

    z = encode(mlp, params, x, z0, step_size=0.1)
    detached = jax.grad(lambda w1: squared_error(mlp([w1, *params[1:]], z), x).mean())(params[0])
    assert relative(detached, gradient) > 0.01


def test_latents_do_not_depend_on_their_batch():
    params = mlp_params()
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(4, 6)))
    together = encode(mlp, params, x, jnp.zeros((4, 5)))
    alone = jnp.concatenate([encode(mlp, params, x[i : i + 1], jnp.zeros((1, 5))) for i in range(4)])
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_several_steps_are_gradient_descent():
    params = mlp_params()
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(4, 6)))
    z = jnp.zeros((4, 5))
    for _ in range(3):
        z = encode(mlp, params, x, z, step_size=0.01)
    np.testing.assert_allclose(encode(mlp, params, x, jnp.zeros((4, 5)), step_size=0.01, num_steps=3), z, rtol=1e-12)


def test_start_is_data():
    """Appendix C: a sampled z0 gives z0 - grad; the difference to z0 is -grad. Any latent shape is fine."""
    params = mlp_params(k=12)
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 6)))
    z0 = jax.random.normal(jax.random.key(0), (2, 2, 3, 2))
    gradient = jax.grad(lambda z: squared_error(mlp(params, z), x).sum())(z0)
    z = encode(mlp, params, x, z0)
    assert z.shape == z0.shape
    np.testing.assert_allclose(z - z0, -gradient, rtol=1e-10, atol=1e-12)
    assert jax.jacobian(lambda z0: encode(mlp, params, x, z0).sum())(z0).shape == z0.shape  # a learned origin


def test_reconstruct_decodes_the_latent():
    params = mlp_params()
    x, z0 = jnp.ones((2, 6)), jnp.zeros((2, 5))
    z = encode(mlp, params, x, z0, likelihood=bernoulli, step_size=0.1)
    output = reconstruct(mlp, params, x, z0, likelihood=bernoulli, step_size=0.1)
    np.testing.assert_array_equal(output, mlp(params, z))


@pytest.mark.parametrize(
    "x, z0, likelihood, error, words",
    [
        ((3, 6), (2, 5), squared_error, ValueError, "same number of examples"),
        ((3, 5), (3, 5), squared_error, ValueError, r"output \(3, 5\) .* got \(3, 6\)"),
        ((3, 6), (3, 5), lambda output, x: ((output - x) ** 2).mean(), ValueError, "one loss per example"),
        ((3, 6), (3, 5), lambda output, x: (output - x) ** 2, ValueError, "one loss per example"),
    ],
)
def test_misuse_is_named(x, z0, likelihood, error, words):
    with pytest.raises(error, match=words) as caught:
        encode(mlp, mlp_params(), jnp.ones(x), jnp.zeros(z0), likelihood=likelihood)
    assert "\n" not in str(caught.value) and "got" in str(caught.value)


def test_integer_images_are_refused():
    with pytest.raises(TypeError, match="floating"):
        encode(mlp, mlp_params(), jnp.ones((3, 6), jnp.uint8), jnp.zeros((3, 5)))


def test_public_names():
    assert gon_jax.encode is encode and gon_jax.squared_error is squared_error
