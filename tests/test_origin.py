"""The definition against closed forms and finite differences; the fast forms against the definition, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gon_jax
from gon_jax.likelihoods import Likelihood, bernoulli, gaussian, squared_error
from gon_jax.networks.conv import conv_decoder
from gon_jax.origin import (
    Decoder,
    choose_strategy,
    cotangents,
    encode,
    encode_frozen,
    encode_shared,
    gon_loss,
    linearise,
    reconstruct,
)

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


# -- the definition ------------------------------------------------------------------------------------------------


def test_linear_gaussian_is_closed_form():
    """Eq. 19 of Appendix A: for x = W z + b the code is along W^T (x - b), and so is PPCA's posterior mean."""
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


def test_code_is_a_difference_quotient():
    params, eps = mlp_params(), 1e-6
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(3, 6)))
    for likelihood in LIKELIHOODS:
        z = encode(mlp, params, x, jnp.zeros((3, 5)), likelihood=likelihood)
        for i in range(5):
            d = jnp.zeros((3, 5)).at[:, i].set(eps)
            quotient = (likelihood(mlp(params, d), x) - likelihood(mlp(params, -d), x)) / (2 * eps)
            np.testing.assert_allclose(z[:, i], -quotient, rtol=1e-6, atol=1e-8)


def test_outer_gradient_is_a_difference_quotient():
    """The gradient flows through the code: against finite differences, and unlike the detached one."""
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


def test_codes_do_not_depend_on_company():
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


def test_reconstruct_decodes_the_code():
    params = mlp_params()
    x, z0 = jnp.ones((2, 6)), jnp.zeros((2, 5))
    z = encode(mlp, params, x, z0, likelihood=bernoulli, step_size=0.1)
    output = reconstruct(mlp, params, x, z0, likelihood=bernoulli, step_size=0.1)
    np.testing.assert_array_equal(output, mlp(params, z))


@pytest.mark.parametrize(
    "x, z0, likelihood, error, words",
    [
        ((3, 6), (2, 5), squared_error, ValueError, "same number of examples"),
        ((3, 5), (3, 5), squared_error, ValueError, "one shape"),
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


# -- the fast forms ------------------------------------------------------------------------------------------------


def perturbed(params, scale=0.1):
    """Move every parameter off its initial value: with beta = 0 the origin sits on ELU's kink."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [a + scale * jax.random.normal(k, a.shape, a.dtype) for a, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(treedef, moved)


def is_bias_before_normalisation(path, norm):
    """Their true gradient is 0 (fidelity fact 6), so a relative error says nothing."""
    names = [p.key for p in path]
    return norm == "batch" and names[-1] == "bias" and "BatchNorm" not in names[-2]


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
@pytest.mark.parametrize("image_size, latent_shape", [(8, (3,)), (16, (4, 4, 2))], ids=["vector", "spatial"])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_fast_forms_equal_definition(norm, image_size, latent_shape, likelihood, double):
    output = "none" if likelihood is bernoulli else "sigmoid"
    shape = (image_size, image_size, 2)
    decoder = conv_decoder(shape, latent_shape, base_channels=2, norm=norm, output_activation=output)
    params = perturbed(double(decoder.init(jax.random.key(0))))
    x = jax.random.uniform(jax.random.key(1), (4, *shape), jnp.float64)
    z0 = jnp.zeros((4, *latent_shape))
    options = {"likelihood": likelihood, "step_size": 0.02}

    def loss(params, encode_fn):
        z = encode_fn(params)
        return likelihood(decoder.plain(params, z), x).mean(), z

    def run(encode_fn):
        return jax.jit(jax.value_and_grad(partial(loss, encode_fn=encode_fn), has_aux=True))(params)

    (loss_d, z_d), gradient_d = run(lambda p: encode(decoder.plain, p, x, z0, **options))
    for strategy in ("pullback", "jacobian"):
        fast = partial(encode_shared, decoder, x=x, origin=z0[0], strategy=strategy, **options)
        (loss_f, z_f), gradient_f = run(lambda p, fast=fast: fast(params=p))
        assert relative(z_f, z_d) < 1e-10
        assert relative(loss_f, loss_d) < 1e-10
        for (path, d), f in zip(jax.tree.leaves_with_path(gradient_d), jax.tree.leaves(gradient_f), strict=True):
            if not is_bias_before_normalisation(path, norm):
                assert relative(f, d) < 1e-10, (strategy, path)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_frozen_encoder_equals_definition(norm, double):
    decoder = conv_decoder((8, 8, 1), (3,), base_channels=2, norm=norm)
    params = perturbed(double(decoder.init(jax.random.key(0))))
    x = jax.random.uniform(jax.random.key(1), (4, 8, 8, 1), jnp.float64)
    z = encode(decoder.plain, params, x, jnp.zeros((4, 3)), step_size=0.1)

    mean = None
    if norm == "batch":
        output = decoder.plain(params, jnp.zeros((1, 3)))[0]
        mean = cotangents(squared_error, output, x).mean(axis=0)
    frozen = linearise(decoder, params, jnp.zeros(3), mean_cotangent=mean)
    np.testing.assert_allclose(encode_frozen(frozen, x, step_size=0.1), z, rtol=1e-9, atol=1e-12)
    # Given the mean cotangent, an example encodes the same alone.
    alone = encode_shared(decoder, params, x[:1], jnp.zeros(3), step_size=0.1, mean_cotangent=mean)
    np.testing.assert_allclose(alone, z[:1], rtol=1e-9, atol=1e-12)


def test_shared_origin_need_not_be_zero():
    decoder = Decoder(mlp, None, (5,))
    params, origin = mlp_params(), jnp.linspace(-1.0, 1.0, 5)
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(4, 6)))
    z = encode(mlp, params, x, jnp.broadcast_to(origin, (4, 5)))
    for strategy in ("pullback", "jacobian"):
        np.testing.assert_allclose(encode_shared(decoder, params, x, origin, strategy=strategy), z, rtol=1e-12)


def test_any_function_is_a_likelihood():
    """The fast forms take a likelihood that is not affine in the data."""
    student = Likelihood("student", lambda o, x: jnp.log1p((x - o) ** 2).sum(axis=1), mean=lambda o: o)
    params, x = mlp_params(), jnp.asarray(np.random.default_rng(1).uniform(size=(4, 6)))
    z = encode(mlp, params, x, jnp.zeros((4, 5)), likelihood=student)
    fast = encode_shared(Decoder(mlp, None, (5,)), params, x, jnp.zeros(5), likelihood=student)
    np.testing.assert_allclose(fast, z, rtol=1e-12)


def test_decoder_is_traced_a_few_times_only():
    traced = []

    def counting(params, z):
        traced.append(z.shape)
        return mlp(params, z)

    x = jnp.ones((4, 6))
    encode_shared(Decoder(counting, None, (5,)), mlp_params(), x, jnp.zeros(5))
    assert traced == [(1, 5)]


def test_strategy():
    assert choose_strategy(64, 63) == "jacobian" and choose_strategy(64, 64) == "pullback"
    with pytest.raises(ValueError, match="strategy"):
        encode_shared(Decoder(mlp, None, (5,)), mlp_params(), jnp.ones((2, 6)), jnp.zeros(5), strategy="fast")
    with pytest.raises(ValueError, match="mean_cotangent"):
        linearise(conv_decoder((8, 8, 1), (2,)), conv_decoder((8, 8, 1), (2,)).init(jax.random.key(0)), jnp.zeros(2))


def test_public_names():
    assert gon_jax.encode is encode and gon_jax.squared_error is squared_error
