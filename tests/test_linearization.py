"""The fast forms against the definition, and the least-squares latents against their own, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.checks import compare_with_definition
from gon_jax.decoders import conv_decoder, from_function
from gon_jax.encoding import encode
from gon_jax.freezing import freeze
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import Likelihood, bernoulli, gaussian, squared_error
from gon_jax.linearization import (
    choose_strategy,
    cotangents,
    encode_shared,
    gradient_encoder,
    matrix_strategy,
    strategy_costs,
)

pytestmark = pytest.mark.usefixtures("x64")
LIKELIHOODS = [squared_error, gaussian(0.3), bernoulli]
student = Likelihood("student", lambda o, x: jnp.log1p((x - o) ** 2), mean=lambda o: o)


def mlp(params, z):
    w1, b1, w2, b2 = params
    return jnp.tanh(z.reshape(z.shape[0], -1) @ w1 + b1) @ w2 + b2


def mlp_params(k=5, hidden=7, m=6, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=s)) for s in [(k, hidden), (1, hidden), (hidden, m), (1, m)]]


MLP = from_function(mlp, lambda key: mlp_params(), (5,), independent=True)


def images(num, shape=(6,), seed=1):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(num, *shape)))


def relative(a, b):
    """Largest difference, relative to the largest entry of `b`."""
    return float(jnp.abs(a - b).max() / jnp.maximum(jnp.abs(b).max(), 1e-300))


def perturbed(params, scale=0.1):
    """Move every parameter off its initial value: with beta = 0 the origin sits on ELU's kink."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    moved = [a + scale * jax.random.normal(k, a.shape, a.dtype) for a, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(treedef, moved)


def coordinates():
    side = jnp.linspace(-1.0, 1.0, 3)
    return jnp.stack(jnp.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)


def field(params, z):
    """An implicit decoder of 3x3 points and 2 channels: `[B, k]` to `[B, 3, 3, 2]`."""
    return jax.vmap(lambda z: points(params, jnp.broadcast_to(z, (9, *z.shape))))(z).reshape(-1, 3, 3, 2)


def points(params, z):
    """The same with a latent per point: `[9, k]` to `[9, 2]`."""
    return mlp(params, jnp.concatenate([coordinates(), z.reshape(9, -1)], axis=1))


def field_decoder(latent_shape):
    size = int(np.prod(latent_shape))
    options = {"independent": True, "pointwise": points}
    return from_function(field, lambda key: mlp_params(2 + size, 7, 2), latent_shape, **options)


# -- gradient steps ------------------------------------------------------------------------------------------------


def check_strategies(decoder, params, x, origin, strategies, step_size, likelihood):
    """Latents, losses and parameter gradients of each strategy against the definition by `jax.grad`."""
    z0 = jnp.broadcast_to(origin, (len(x), *origin.shape))
    options = {"likelihood": likelihood, "step_size": step_size}

    def loss(params, encode_fn):
        z = encode_fn(params)
        return likelihood(decoder.output(params, z), x).mean(), z

    def run(encode_fn):
        return jax.jit(jax.value_and_grad(partial(loss, encode_fn=encode_fn), has_aux=True))(params)

    (loss_d, z_d), gradient_d = run(lambda p: encode(decoder.output, p, x, z0, **options))
    for strategy in strategies:
        fast = partial(encode_shared, decoder, x=x, origin=origin, strategy=strategy, **options)
        (loss_f, z_f), gradient_f = run(lambda p, fast=fast: fast(params=p))
        assert relative(z_f, z_d) < 1e-10
        assert relative(loss_f, loss_d) < 1e-10
        for (path, d), f in zip(jax.tree.leaves_with_path(gradient_d), jax.tree.leaves(gradient_f), strict=True):
            assert relative(f, d) < 1e-10, (strategy, path)


@pytest.mark.quick("batch-(3,)-squared_error", "none-(3,)-gaussian")
@pytest.mark.parametrize(
    "norm, latent_shape, likelihood",
    [
        *((norm, (3,), each) for norm in ("batch", "none") for each in LIKELIHOODS),
        ("group", (3,), gaussian(0.3)),
        *(("batch", (4, 4, 2), each) for each in (squared_error, bernoulli)),
        ("group", (4, 4, 2), bernoulli),
        ("none", (4, 4, 2), gaussian(0.3)),
    ],
    ids=lambda each: each.name if hasattr(each, "name") else str(each),
)
def test_fast_forms_equal_definition(norm, latent_shape, likelihood, double):
    image_size = 8 * latent_shape[0] // 2 if len(latent_shape) > 1 else 8
    output = "none" if likelihood is bernoulli else "sigmoid"
    shape = (image_size, image_size, 2)
    decoder = conv_decoder(shape, latent_shape, base_channels=2, norm=norm, output_activation=output)
    params = perturbed(double(decoder.init(jax.random.key(0))))
    x = jax.random.uniform(jax.random.key(1), (4, *shape), jnp.float64)
    strategies = ("definition", "pullback", "jacobian")
    check_strategies(decoder, params, x, jnp.zeros(latent_shape), strategies, 0.02, likelihood)


@pytest.mark.quick("vector-squared_error", "spatial-student")
@pytest.mark.parametrize("likelihood", [*LIKELIHOODS, student], ids=lambda likelihood: likelihood.name)
@pytest.mark.parametrize("latent_shape", [(3,), (2, 2, 1)], ids=["vector", "spatial"])
def test_fast_forms_of_a_pointwise_decoder_equal_definition(latent_shape, likelihood):
    decoder = field_decoder(latent_shape)
    origin = jnp.linspace(-0.3, 0.4, decoder.init(None)[0].shape[0] - 2).reshape(latent_shape)
    strategies = strategy_costs(4, origin.size, num_channels=2)
    assert set(strategies) == {"definition", "pullback", "jacobian", "pointwise"}
    check_strategies(decoder, decoder.init(None), images(4, (3, 3, 2)), origin, strategies, 0.02, likelihood)


def test_shared_origin_need_not_be_zero():
    params, origin = mlp_params(), jnp.linspace(-1.0, 1.0, 5)
    x = images(4)
    z = encode(mlp, params, x, jnp.broadcast_to(origin, (4, 5)))
    for strategy in ("pullback", "jacobian"):
        np.testing.assert_allclose(encode_shared(MLP, params, x, origin, strategy=strategy), z, rtol=1e-12)


def test_any_function_is_a_likelihood():
    """The fast forms take a likelihood that is not affine in the data, and so does a frozen encoder."""
    params, x = mlp_params(), images(4)
    z = encode(mlp, params, x, jnp.zeros((4, 5)), likelihood=student)
    np.testing.assert_allclose(encode_shared(MLP, params, x, jnp.zeros(5), likelihood=student), z, rtol=1e-12)
    frozen = freeze(gradient_encoder(MLP, params, jnp.zeros(5)), student)
    assert frozen.output is not None
    np.testing.assert_allclose(frozen(x), z, rtol=1e-12)


# -- who is trusted -------------------------------------------------------------------------------------------------


def test_a_decoder_is_encoded_by_definition_unless_it_claims_to_be_independent():
    """One that couples its examples gets right latents unless it claims that it doesn't; then the check tells."""

    def coupled(params, z):
        output = mlp(params, z)
        return output - output.mean(axis=0)

    params, x = mlp_params(), images(4)
    z = encode(coupled, params, x, jnp.zeros((4, 5)))
    silent, wrong = (from_function(coupled, None, (5,), independent=claim) for claim in (False, True))
    np.testing.assert_array_equal(encode_shared(silent, params, x, jnp.zeros(5)), z)
    with pytest.raises(ValueError, match="independent"):
        encode_shared(silent, params, x, jnp.zeros(5), strategy="jacobian")
    with pytest.raises(ValueError, match="independent"):
        encode_least_squares(silent, params, x, jnp.zeros(5))
    assert relative(encode_shared(wrong, params, x, jnp.zeros(5)), z) > 0.1
    assert min(compare_with_definition(wrong, params, jax.random.key(0)).values()) > 0.1
    assert compare_with_definition(silent, params, jax.random.key(0)) == {}


def test_the_check_finds_right_claims_equal(double):
    for decoder, num in ((MLP, 2), (field_decoder((3,)), 3), (conv_decoder((8, 8, 1), (3,), base_channels=2), 2)):
        params = perturbed(double(decoder.init(jax.random.key(0))))
        errors = compare_with_definition(decoder, params, jax.random.key(0), step_size=0.02)
        assert len(errors) == num
        assert max(errors.values()) < 1e-10


def test_the_check_has_one_scale_for_all_leaves_and_names_the_worst():
    """A bias before a normalization has a gradient of 0: over itself its rounding would be an error of 1."""

    def normalized(params, z):
        hidden = z @ params["w"] + params["bias"]
        return jnp.tanh(hidden - hidden.mean(axis=1, keepdims=True)) @ params["v"] + params["count"]

    shapes = {"w": (3, 7), "v": (7, 6)}
    params = {name: jnp.asarray(np.random.default_rng(0).normal(size=shape)) for name, shape in shapes.items()}
    params |= {"bias": jnp.zeros((1, 1)), "count": jnp.int32(1)}
    decoder = from_function(normalized, None, (3,), independent=True)
    errors = compare_with_definition(decoder, params, jax.random.key(0))
    assert max(errors.values()) < 1e-10

    held = decoder._replace(apply=lambda params, z, stats=None: (normalized(params, z) * z.mean(), None))  # coupled
    errors = compare_with_definition(held, params, jax.random.key(0))
    assert min(errors.values()) > 0.1 and all(error.where in repr(error) for error in errors.values())
    assert {error.where for error in errors.values()} <= {"outputs", "latents", *(f"gradient['{n}']" for n in params)}
    constant = from_function(lambda _, z: jnp.sin(z), None, (3,), independent=True)  # without parameters
    assert max(compare_with_definition(constant, None, jax.random.key(0)).values()) < 1e-10


def test_strategy():
    def cheapest(*sizes, **options):
        costs = strategy_costs(*sizes, **options)
        return min(costs, key=costs.get)

    assert cheapest(64, 63) == "jacobian" and cheapest(64, 64) == "pullback"
    assert cheapest(3, 2, num_channels=4) == "jacobian" and cheapest(3, 2, num_channels=1) == "pointwise"
    assert strategy_costs(8, 4, independent=False) == {"definition": 9.0}
    assert [choose_strategy(MLP, mlp_params(), num) for num in (1, 4, 6)] == ["definition", "pullback", "jacobian"]
    decoder = field_decoder((3,))  # a pull-back for each of 2 channels, or a tangent for each of 3 latents
    params = decoder.init(None)
    assert choose_strategy(decoder, params, 64) == matrix_strategy(decoder, params) == "pointwise"
    assert matrix_strategy(MLP, mlp_params()) == "jacobian"
    for strategy in ("fast", "pointwise"):
        with pytest.raises(ValueError, match="definition or pullback or jacobian") as caught:
            encode_shared(MLP, mlp_params(), jnp.ones((2, 6)), jnp.zeros(5), strategy=strategy)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="latent shape"):
        encode_shared(MLP, mlp_params(), jnp.ones((2, 6)), jnp.zeros(4))


def test_decoder_is_traced_a_few_times_only():
    traced = []

    def counting(params, z):
        traced.append(z.shape)
        return mlp(params, z)

    encode_shared(from_function(counting, None, (5,), independent=True), mlp_params(), jnp.ones((4, 6)), jnp.zeros(5))
    assert traced == [(1, 5)]


# -- least squares -------------------------------------------------------------------------------------------------


def encode_least_squares(decoder, params, x, origin, likelihood=squared_error, **options):
    encoder = least_squares_encoder(decoder, params, origin, likelihood=likelihood, **options)
    return encoder.encode(cotangents(likelihood, encoder.output, x))


def test_least_squares_of_a_linear_decoder_is_the_posterior_mean_of_ppca():
    rng = np.random.default_rng(0)
    w, b, x = (jnp.asarray(rng.normal(size=s)) for s in [(3, 8), (1, 8), (4, 8)])
    decoder = from_function(lambda params, z: z @ params[0] + params[1], None, (3,), independent=True)
    scale = 0.7
    posterior_mean = jnp.linalg.solve(w @ w.T / scale**2 + jnp.eye(3), w @ (x - b).T / scale**2).T
    z = encode_least_squares(decoder, (w, b), x, jnp.zeros(3), likelihood=gaussian(scale), damping=1.0)
    np.testing.assert_allclose(z, posterior_mean, rtol=1e-12)
    ridge = jnp.linalg.solve(w @ w.T + 0.25 * jnp.eye(3), w @ (x - b).T).T
    np.testing.assert_allclose(encode_least_squares(decoder, (w, b), x, jnp.zeros(3), damping=0.5), ridge, rtol=1e-12)


@pytest.mark.quick("conv-squared_error", "mlp-*")
@pytest.mark.parametrize(
    "kind, likelihood",
    [
        *(("mlp", each) for each in LIKELIHOODS),
        ("field", gaussian(0.3)),
        ("conv", squared_error),
        ("conv-batch", bernoulli),
    ],
    ids=lambda each: each if isinstance(each, str) else each.name,
)
def test_least_squares_is_a_damped_gauss_newton_step_of_the_whole_batch(kind, likelihood, double):
    """Against the step on all latents at once: the Jacobian of the batch, coupled or not, and Fisher's information."""
    if kind == "mlp":
        decoder, x = MLP, images(4)
    elif kind == "field":
        decoder, x = field_decoder((3,)), images(4, (3, 3, 2))
    else:
        norm = "batch" if kind == "conv-batch" else "none"
        output = "none" if likelihood is bernoulli else "sigmoid"
        decoder = conv_decoder((8, 8, 1), (3,), base_channels=2, norm=norm, output_activation=output)
        x = images(4, (8, 8, 1))
    params = perturbed(double(decoder.init(jax.random.key(0))))
    k, origin = decoder.latent_shape[0], jnp.linspace(-0.1, 0.2, decoder.latent_shape[0])
    damping, relative_damping, num = 0.3, 0.5, len(x)

    def mean_eigenvalue(params):
        """For deviations from the mean, which move no statistic: those of one example among many others."""
        shared = gradient_encoder(decoder, params, origin, strategy="jacobian")
        return (likelihood.fisher(shared.output) * jnp.square(shared.matrix)).sum() / k

    def step(params):
        z0 = jnp.broadcast_to(origin, (num, k))
        output = decoder.output(params, z0)
        jacobian = jax.jacobian(lambda z: decoder.output(params, z.reshape(num, k)).reshape(-1))(z0.reshape(-1))
        normal = jacobian.T @ (likelihood.fisher(output).reshape(-1, 1) * jacobian)
        normal += (damping + relative_damping * mean_eigenvalue(params)) * jnp.eye(num * k)
        v = jax.grad(lambda o: likelihood(o, x).sum())(output).reshape(-1)
        return z0 - jnp.linalg.solve(normal, jacobian.T @ v).reshape(num, k)

    def ours(params):
        options = {"likelihood": likelihood, "damping": damping, "relative_damping": relative_damping}
        return encode_least_squares(decoder, params, x, origin, **options)

    assert relative(ours(params), step(params)) < 1e-9
    gradients = [jax.jit(jax.grad(lambda p, f=f: jnp.sin(f(p)).sum()))(params) for f in (ours, step)]
    paths = jax.tree.leaves_with_path(gradients[1])
    for (path, a), b in zip(paths, jax.tree.leaves(gradients[0]), strict=True):
        assert relative(b, a) < 1e-8, path


def test_damping_runs_from_the_newton_step_to_the_gradient():
    params, x = mlp_params(k=3, m=9), images(4, (9,))
    decoder = from_function(mlp, None, (3,), independent=True)
    z0 = jnp.zeros(3)
    jacobian = jax.jacobian(lambda z: mlp(params, z[None])[0])(z0)
    newton = jnp.linalg.lstsq(jacobian, (x - mlp(params, z0[None])).T)[0].T
    np.testing.assert_allclose(encode_least_squares(decoder, params, x, z0, damping=1e-9), newton, rtol=1e-6)
    step = encode_shared(decoder, params, x, z0, step_size=1e-9)
    np.testing.assert_allclose(encode_least_squares(decoder, params, x, z0, damping=1e9), step, rtol=1e-6)


def test_a_likelihood_without_fisher_information_is_refused():
    with pytest.raises(ValueError, match="Fisher"):
        encode_least_squares(MLP, mlp_params(), images(4), jnp.zeros(5), likelihood=student)


# -- frozen --------------------------------------------------------------------------------------------------------


@pytest.mark.quick("none-*")
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda likelihood: likelihood.name)
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_frozen_encoders_equal_those_they_were_made_from(norm, likelihood, double):
    output = "none" if likelihood is bernoulli else "sigmoid"
    decoder = conv_decoder((8, 8, 1), (3,), base_channels=2, norm=norm, output_activation=output)
    params = perturbed(double(decoder.init(jax.random.key(0))))
    x, origin = images(4, (8, 8, 1)), jnp.zeros(3)
    gradient = encode(decoder.output, params, x, jnp.zeros((4, 3)), likelihood=likelihood, step_size=0.1)
    least_squares = encode_least_squares(decoder, params, x, origin, likelihood=likelihood)
    for encoder, z in (
        (gradient_encoder(decoder, params, origin, step_size=0.1), gradient),
        (least_squares_encoder(decoder, params, origin, likelihood=likelihood), least_squares),
    ):
        mean = cotangents(likelihood, encoder.output, x).mean(axis=0) if norm == "batch" else None
        frozen = freeze(encoder, likelihood, mean)
        assert frozen.output is None and frozen.matrix.shape == (64, 3)
        np.testing.assert_allclose(frozen(x), z, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(frozen(x[:1]), z[:1], rtol=1e-9, atol=1e-12)  # alone as in a batch


@pytest.mark.slow
def test_spatial_latents_freeze_too(double):
    decoder = conv_decoder((16, 16, 1), (4, 4, 2), base_channels=2, norm="none")
    params = double(decoder.init(jax.random.key(0)))
    x = images(3, (16, 16, 1))
    z = encode(decoder.output, params, x, jnp.zeros((3, 4, 4, 2)))
    frozen = freeze(gradient_encoder(decoder, params, jnp.zeros((4, 4, 2))), squared_error)
    np.testing.assert_allclose(frozen(x), z, rtol=1e-10, atol=1e-13)


def test_freezing_says_what_it_needs():
    decoder = conv_decoder((8, 8, 1), (2,), base_channels=2)
    params = decoder.init(jax.random.key(0))
    with pytest.raises(ValueError, match="mean_cotangent"):
        freeze(gradient_encoder(decoder, params, jnp.zeros(2)), squared_error)
    with pytest.raises(ValueError, match="jacobian"):
        freeze(gradient_encoder(MLP, mlp_params(), jnp.zeros(5), strategy="pullback"), squared_error)
