"""Latents: slerp against its definition and at its singular points, fitted priors against numpy and scipy."""

import jax
import jax.experimental
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest
from scipy.spatial import geometric_slerp

from gon_jax import latents

enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64  # the latter in jax 0.7
RNG = np.random.default_rng(0)


def test_slerp_agrees_with_scipy_on_the_unit_sphere():
    a, b = RNG.normal(size=(2, 5))
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    t = np.linspace(0, 1, 7)
    path = latents.slerp_path(a[None].astype("f4"), b[None].astype("f4"), 7)
    np.testing.assert_allclose(path[0], geometric_slerp(a, b, t), atol=1e-6)


def test_slerp_has_linear_norm_and_exact_ends_for_any_latent_shape():
    a, b = (jnp.asarray(RNG.normal(size=(3, 2, 2, 4)) * s, jnp.float32) for s in (1e-3, 50))
    path = latents.slerp_path(a, b, 5)
    assert path.shape == (3, 5, 2, 2, 4) and path.dtype == jnp.float32
    norms = np.linalg.norm(path.reshape(3, 5, -1), axis=-1)
    np.testing.assert_allclose(norms, np.linspace(norms[:, 0], norms[:, -1], 5).T, rtol=1e-5)
    np.testing.assert_array_equal(path[:, 0], a)
    np.testing.assert_array_equal(path[:, -1], b)


SINGULAR = {
    "zero a": (jnp.zeros(4), jnp.ones(4)),
    "zero b": (jnp.ones(4), jnp.zeros(4)),
    "zeros": (jnp.zeros(4), jnp.zeros(4)),
    "equal": (jnp.ones(4), jnp.ones(4)),
    "parallel": (jnp.ones(4), 3 * jnp.ones(4)),
    "opposite": (jnp.ones(4), -2 * jnp.ones(4)),
    "nearly equal": (jnp.ones(4), jnp.ones(4).at[0].add(1e-4)),
    "underflow": (jnp.full(4, 1e-30), jnp.ones(4)),
    "tiny": (jnp.full(4, 1e-18), -jnp.ones(4)),
}


slerp_and_jacobian = jax.jit(lambda a, b, t: (latents.slerp(a, b, t), jax.jacobian(latents.slerp, (0, 1, 2))(a, b, t)))


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("name", SINGULAR)
def test_slerp_is_finite_with_finite_gradients_where_no_great_circle_exists(name, t):
    a, b = SINGULAR[name]
    value, gradients = slerp_and_jacobian(a, b, t)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((value, gradients)))
    if name not in ("tiny", "opposite"):
        np.testing.assert_allclose(value, (1 - t) * a + t * b, rtol=2e-4)
    if t in (0, 1):
        np.testing.assert_allclose(value, b if t else a, rtol=1e-6, atol=1e-12)


def test_slerp_gradient_agrees_with_finite_differences_and_jits():
    with enable_x64(True):
        a, b = jnp.asarray(RNG.normal(size=(2, 6)))
        jax.test_util.check_grads(jax.jit(latents.slerp), (a, b, 0.3), order=2, modes=("rev",))


def test_slerp_refuses_latents_of_different_shapes_and_too_few_points():
    with pytest.raises(ValueError, match="got .* probably has a batch axis"):
        latents.slerp(jnp.ones((1, 4)), jnp.ones(4), 0.5)
    with pytest.raises(ValueError, match="at least 2"):
        latents.slerp_path(jnp.ones((1, 4)), jnp.ones((1, 4)), 1)


def correlated(num, k, scale=1.0):
    return ((RNG.normal(size=(num, k)) @ RNG.normal(size=(k, k)) + 3) * scale).astype("f4")


@pytest.mark.parametrize("scale", [1e-6, 1, 1e4])
def test_gaussian_agrees_with_numpy_at_any_scale(scale):
    z = correlated(500, 6, scale).reshape(500, 2, 3)
    prior = jax.jit(latents.fit_gaussian)(z)
    flat = z.reshape(500, 6).astype("f8")
    cov = np.cov(flat.T)
    np.testing.assert_allclose(prior.mean, flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(prior.chol, np.linalg.cholesky(cov), atol=1e-4 * np.sqrt(cov.max()))


@pytest.mark.parametrize("num", [1, 2, 5, 8])
def test_gaussian_of_few_latents_stays_in_their_span(num):
    z = correlated(num, 8)
    prior = latents.fit_gaussian(z)
    samples = latents.sample_prior(prior, jax.random.key(0), 100, (8,)) - prior.mean
    assert np.isfinite(samples).all() and (np.diag(prior.chol) >= 0).all()
    _, size, directions = np.linalg.svd(z - z.mean(0))
    outside = samples @ directions[np.count_nonzero(size > 1e-4) :].T
    assert np.abs(outside).max(initial=0) < 1e-2 * max(np.abs(samples).max(), 1e-6)


def test_samples_have_the_moments_of_the_latents():
    z = correlated(2000, 3, 1e-3)
    for prior in (latents.fit_gaussian(z), latents.fit_mixture(z, 3)):
        draw = jax.jit(latents.sample_prior, static_argnums=(2, 3))
        samples = np.asarray(draw(prior, jax.random.key(1), 30_000, (3, 1)))
        assert samples.shape == (30_000, 3, 1) and samples.dtype == np.float32
        np.testing.assert_allclose(samples[..., 0].mean(0), z.mean(0), atol=2e-2 * z.std())
        np.testing.assert_allclose(np.cov(samples[..., 0].T), np.cov(z.T), atol=3e-2 * z.var(0).max())


def test_mixture_finds_clusters_and_does_not_depend_on_scale():
    centers = np.array([[0, 0], [10, 0], [0, 10]])
    label = RNG.choice(3, 600, p=[0.5, 0.3, 0.2])
    z = (centers[label] + RNG.normal(size=(600, 2)) * [1, 0.1]).astype("f4")
    priors = [latents.fit_mixture(z * s, num_components=3) for s in (1, 2.0**-12, 2.0**9)]  # exact in floating point
    order = np.argsort(-np.asarray(priors[0].weights))
    np.testing.assert_allclose(priors[0].weights[order], np.bincount(label) / 600, atol=1e-5)
    np.testing.assert_allclose(priors[0].means[order], [z[label == c].mean(0) for c in range(3)], atol=1e-3)
    np.testing.assert_allclose(priors[0].chols[order[0]], np.linalg.cholesky(np.cov(z[label == 0].T)), atol=1e-2)
    for scale, prior in zip((2.0**-12, 2.0**9), priors[1:], strict=True):
        np.testing.assert_allclose(prior.weights, priors[0].weights, rtol=1e-5)
        np.testing.assert_allclose(prior.means, scale * priors[0].means, rtol=1e-5, atol=1e-6 * scale)
        np.testing.assert_allclose(prior.chols, scale * priors[0].chols, rtol=1e-4, atol=1e-6 * scale)


def test_mixture_size_by_default_and_degenerate_latents():
    assert latents.fit_mixture(correlated(10, 4)).weights.shape == (1,)
    assert latents.fit_mixture(correlated(90, 3)).weights.shape == (3,)
    same = latents.fit_mixture(np.ones((40, 1), "f4"))  # all latents equal: sampled as they are
    np.testing.assert_allclose(latents.sample_prior(same, jax.random.key(0), 9, (1,)), 1, atol=1e-2)


def test_priors_refuse_what_cannot_be_fitted():
    with pytest.raises(ValueError, match="expected at least 5 latents, got 3"):
        latents.fit_mixture(np.ones((3, 2), "f4"), 5)
    with pytest.raises(ValueError, match="got 1 of 4 with NaN"):
        latents.fit_mixture(np.array([[0], [1], [np.nan], [2]], "f4"))
    with pytest.raises(ValueError, match="N >= 1"):
        latents.fit_gaussian(jnp.zeros((0, 3)))
    with pytest.raises(ValueError, match="latent_shape of the prior's 4 entries"):
        latents.sample_prior(latents.fit_gaussian(jnp.eye(4)), jax.random.key(0), 2, (3,))
