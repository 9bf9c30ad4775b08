"""Likelihoods against scipy, sums and integrals; what they claim of themselves; in models, tiny."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gon_jax.base import Variables
from gon_jax.checks import compare_with_definition
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.encoding import encode, gon_loss
from gon_jax.likelihoods import (
    Likelihood,
    bernoulli,
    bits_per_dim,
    categorical,
    continuous_bernoulli,
    dequantize,
    discretized_logistic,
    discretized_logistic_mixture,
    gaussian,
    gaussian_scale,
    squared_error,
    weighted,
)
from gon_jax.likelihoods.continuous import _log_normalizer
from gon_jax.models import gon, least_squares_gon

pytestmark = pytest.mark.usefixtures("x64")
ALL = [
    squared_error,
    gaussian(0.3),
    gaussian_scale,
    bernoulli,
    continuous_bernoulli,
    categorical,
    discretized_logistic,
    discretized_logistic_mixture(3),
]
NORMALIZED = [likelihood for likelihood in ALL if likelihood.measure]
BYTES = np.arange(256) / 255


def name_of(likelihood):
    return likelihood.name


by_name = pytest.mark.parametrize("likelihood", ALL, ids=name_of)
of_normalized = pytest.mark.parametrize("likelihood", NORMALIZED, ids=name_of)


def outputs(likelihood, *shape, seed=0):
    """Return outputs `[*shape, K]` for data of one channel, with scales from a byte up to the whole range."""
    output = np.random.default_rng(seed).normal(size=(*shape, likelihood.num_outputs))
    if likelihood.name == "discretized_logistic_mixture":
        output[..., 3:6] = 0.4 * output[..., 3:6]
        output[..., 6:] = 1.5 * output[..., 6:]
    elif likelihood.num_outputs == 2:
        first = 0 if likelihood is discretized_logistic else -3
        output = np.stack([0.5 + 0.4 * output[..., 0], 1.5 * output[..., 1] + first], axis=-1)
    elif likelihood.measure != "bytes":
        output *= 3
    return jnp.asarray(output)


def log_scales(raw):
    """The bounds written out."""
    return -8 + np.logaddexp(raw + 8, 0) - np.logaddexp(raw - 4, 0)


def nodes(likelihood, output):
    """Return points and weights `[N]` to sum, or to integrate, over all of the data's axis, for one output `[K]`."""
    if likelihood.measure == "bytes":
        return BYTES, np.ones(256)
    if likelihood.measure == "binary":
        return np.array([0.0, 1.0]), np.ones(2)
    x, weights = np.polynomial.legendre.leggauss(200)
    low, high = 0, 1
    if likelihood is not continuous_bernoulli:
        scale = 0.3 if likelihood.num_outputs == 1 else np.exp(log_scales(float(output[1])))
        low, high = float(output[0]) - 9 * scale, float(output[0]) + 9 * scale
    return (low + high) / 2 + (high - low) / 2 * x, (high - low) / 2 * weights


def distribution(likelihood, output):
    """Return points `[N]` and the probability of each, for one output `[K]`."""
    x, weights = nodes(likelihood, output)
    terms = jax.jit(likelihood.terms)
    nats = terms(jnp.broadcast_to(output, (len(x), len(output))), jnp.asarray(x, output.dtype)[:, None])
    assert nats.dtype == output.dtype
    return x, weights * np.exp(-np.asarray(nats[:, 0], float))


# -- values --------------------------------------------------------------------------------------------------------


def test_values():
    rng = np.random.default_rng(0)
    output, x = rng.normal(size=(4, 3, 2)), rng.uniform(size=(4, 3, 2))
    np.testing.assert_allclose(squared_error(output, x), ((x - output) ** 2).sum((1, 2)))
    np.testing.assert_allclose(gaussian(0.3)(output, x), -scipy.stats.norm(output, 0.3).logpdf(x).sum((1, 2)))
    p = scipy.special.expit(output)
    np.testing.assert_allclose(bernoulli(output, x), -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2)))
    nats = -np.log(output / np.expm1(output)) - x * output
    np.testing.assert_allclose(continuous_bernoulli(output, x), nats.sum((1, 2)))


def test_values_with_several_outputs():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, size=(5, 2)) / 255
    x[0] = 0, 1
    mean, raw = rng.uniform(size=(5, 2)), rng.normal(size=(5, 2)) - 3
    output = np.stack([mean, raw], axis=-1).reshape(5, 4)
    scale = np.exp(log_scales(raw))
    np.testing.assert_allclose(gaussian_scale(output, x), -scipy.stats.norm(mean, scale).logpdf(x).sum(1))

    def mass(mean, scale, x):
        logistic = scipy.stats.logistic(mean, scale)
        upper = np.where(x == 1, 1, logistic.cdf(x + 1 / 510))
        return upper - np.where(x == 0, 0, logistic.cdf(x - 1 / 510))

    nats = -np.log(mass(mean, scale, x)).sum(1)
    np.testing.assert_allclose(discretized_logistic(output + np.tile([0, 3], 2), x), nats, rtol=1e-6)
    logits = rng.normal(size=(5, 2, 256))
    p = np.take_along_axis(scipy.special.softmax(logits, -1), np.round(255 * x).astype(int)[..., None], -1)
    np.testing.assert_allclose(categorical(logits.reshape(5, -1), x), -np.log(p).sum((1, 2)))
    parts = np.asarray(outputs(discretized_logistic_mixture(3), 5, 2)).reshape(5, 2, 3, 3)
    means = parts[:, :, 1] + np.array([1, 3, 5]) / 6
    masses = mass(means, np.exp(log_scales(parts[:, :, 2] - 3)), x[..., None])
    nats = -np.log((scipy.special.softmax(parts[:, :, 0], -1) * masses).sum(-1))
    np.testing.assert_allclose(discretized_logistic_mixture(3)(parts.reshape(5, 18), x), nats.sum(1), rtol=1e-6)


@by_name
def test_one_number_an_example_and_no_dependence_on_the_batch(likelihood):
    output = jnp.float32(outputs(likelihood, 5, 3, 2)).reshape(5, 3, -1)
    x = jnp.full((5, 3, 2), 0.4, jnp.float32)
    together = jax.jit(likelihood.__call__)(output, x)
    assert together.shape == (5,) and together.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(likelihood.__call__)(output[2:3], x[2:3]), together[2:3], rtol=1e-6)


@by_name
def test_a_channel_reads_its_own_outputs(likelihood):
    """The last axis is `[C, K]`: of three channels each is what it is alone."""
    output, x = outputs(likelihood, 2, 5, 3), jnp.asarray(np.random.default_rng(1).uniform(size=(2, 5, 3)))
    joined = output.reshape(2, 5, -1)
    terms, mean = jax.jit(likelihood.terms), jax.jit(likelihood.mean)
    assert likelihood.mean(joined).shape == (2, 5, 3)
    for c in range(3):
        alone = terms(output[:, :, c], x[..., c : c + 1]), mean(output[:, :, c])
        for ours, theirs in zip((terms(joined, x), mean(joined)), alone, strict=True):
            np.testing.assert_allclose(ours[..., c], theirs[..., 0], rtol=1e-9)


# -- what they claim -----------------------------------------------------------------------------------------------


@of_normalized
def test_normalized(likelihood):
    """In float32, as it is used: at outputs as decoders have them, and far beyond."""
    for output in [*jnp.float32(outputs(likelihood, 4)), *jnp.float32(10 * outputs(likelihood, 2, seed=1))]:
        assert abs(distribution(likelihood, output)[1].sum() - 1) < 1e-4


@of_normalized
def test_mean_is_that_of_the_distribution(likelihood):
    for output in outputs(likelihood, 3):
        x, p = distribution(likelihood, output)
        atol = 1e-4 if likelihood.name.startswith("discretized") else 1e-9
        np.testing.assert_allclose(likelihood.mean(output)[0], (p * x).sum(), atol=atol)


def test_mean_of_a_discretized_logistic_is_right_to_half_a_byte():
    for raw in (-8.0, -7.0, -6.0, -4.0, 0.0, 50.0):
        for mean in (-0.1, 0.0, 0.1234, 0.5, 1.0, 3.0):
            output = np.array([mean, raw])
            x, p = distribution(discretized_logistic, output)
            assert abs(discretized_logistic.mean(output)[0] - (p * x).sum()) < (0.0021 if raw < -3.5 else 1e-4)


@by_name
def test_gradients_are_the_finite_differences(likelihood):
    output, x = outputs(likelihood, 3), jnp.array([[0.0], [100 / 255], [1.0]])
    direction = jax.random.normal(jax.random.key(0), output.shape)

    def derivative(function):
        return lambda t: jax.jvp(function, (t,), (1.0,))[1]

    def value(t):  # of the sum over examples, on a line
        return likelihood(output + t * direction, x).sum()

    first, second = derivative(value), derivative(derivative(value))
    functions = jax.jit(lambda t: jnp.stack([value(t), first(t), second(t), derivative(second)(t)]))
    h = 1e-5
    difference = (functions(h) - functions(-h)) / (2 * h)
    np.testing.assert_allclose(functions(0.0)[1:], difference[:-1], rtol=1e-6, atol=1e-6)


@by_name
def test_extreme_outputs_are_finite_under_two_derivatives(likelihood):
    """In float32: each output at +-50, and +-200, on black, gray and white."""
    k = likelihood.num_outputs
    signs = np.array(np.meshgrid(*[[-1, 0, 1]] * min(k, 9))).reshape(min(k, 9), -1).T[:: 1 if k < 9 else 97]
    signs = np.resize(signs, (len(signs), k))
    x = jnp.tile(jnp.array([[0.0], [0.5], [1.0]], jnp.float32), (len(signs), 1))

    @jax.jit
    def arrays(output):
        gradient, pullback = jax.vjp(jax.grad(lambda o: likelihood(o, x).sum()), output)
        return likelihood(output, x), gradient, *pullback(jnp.ones_like(output)), likelihood.mean(output)

    for size in (50.0, 200.0):
        for array in arrays(jnp.float32(np.repeat(size * signs, 3, axis=0))):
            assert array.dtype == jnp.float32 and jnp.isfinite(array).all()


@by_name
def test_gradient_is_affine_in_the_data_where_it_says_so(likelihood):
    output = outputs(likelihood, 1, 4).reshape(1, -1)
    gradient = jax.jit(jax.grad(lambda o, x: likelihood(o, x).sum()))
    a, b = jnp.array([[0.1, 0.2, 0.3, 0.9]]), jnp.array([[0.8, 0.1, 0.5, 0.2]])
    middle, mixed = gradient(output, 0.3 * a + 0.7 * b), 0.3 * gradient(output, a) + 0.7 * gradient(output, b)
    assert np.allclose(middle, mixed, rtol=1e-9) == likelihood.affine
    assert likelihood.num_outputs == 1 or not likelihood.affine


@pytest.mark.parametrize("likelihood", [a for a in NORMALIZED if a.fisher], ids=name_of)
def test_fisher_information_is_the_expected_second_derivative(likelihood):
    hessians = jax.jit(jax.vmap(jax.hessian(lambda o, x: likelihood.terms(o, x[None])[0]), (None, 0)))
    for output in outputs(likelihood, 3):
        x, p = distribution(likelihood, output)
        expected = (p[:, None, None] * hessians(output, jnp.asarray(x))).sum(0)
        np.testing.assert_allclose(np.diag(likelihood.fisher(output)), expected, rtol=1e-8, atol=1e-9)


def test_who_knows_its_fisher_information():
    assert {a.name for a in ALL if a.fisher} == {
        "squared_error", "gaussian", "gaussian_scale", "bernoulli", "continuous_bernoulli"
    }  # fmt: skip
    np.testing.assert_array_equal(squared_error.fisher(jnp.zeros(3)), 2)


# -- the normalizer of the continuous Bernoulli ----------------------------------------------------------------------


@jax.jit
def derivatives(o):
    functions = [_log_normalizer]
    for _ in range(3):
        functions.append(lambda o, f=functions[-1]: jax.jvp(f, (o,), (jnp.ones_like(o),))[1])
    return [f(o) for f in functions]


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-10, 1e-5, 1e-3, 0.03, 0.3])
def test_normalizer_near_0(size):
    """In float32 against a series with known constants in float64, with three derivatives."""
    series = np.polynomial.Polynomial([0, 1 / 2, 1 / 24, 0, -1 / 2880, 0, 1 / 181440, 0, -1 / 9676800])
    o = np.float32([size, -size])
    for n, ours in enumerate(derivatives(jnp.asarray(o))):
        np.testing.assert_allclose(ours, series.deriv(n)(o.astype(float)) if n else series(o.astype(float)), rtol=2e-6)


@pytest.mark.parametrize("dtype, tolerance", [("float32", 4e-6), ("float64", 4e-15)])
def test_normalizer_away_from_0(dtype, tolerance):
    """Both sides of the switch at 2, and far out, against closed forms; relative to what each derivative is near 0."""
    o = np.array([-200, -50, -5, -2.01, -2, -1.99, -1, 1, 1.99, 2, 2.01, 5, 50, 200], dtype)
    wide = o.astype(np.longdouble)
    half = np.abs(wide) / 2
    closed = [
        wide / 2 + half + np.log1p(-np.exp(-2 * half)) - np.log(2 * half),
        1 / -np.expm1(-wide) - 1 / wide,
        1 / wide**2 - 1 / (2 * np.sinh(half)) ** 2,
        -2 / wide**3 + np.sign(wide) / (4 * np.tanh(half) * np.sinh(half) ** 2),
    ]
    for ours, theirs in zip(derivatives(jnp.asarray(o)), closed, strict=True):
        np.testing.assert_allclose(ours, theirs.astype(float), rtol=4 * tolerance, atol=tolerance)


# -- weights -------------------------------------------------------------------------------------------------------


@by_name
def test_weights_multiply_terms(likelihood):
    output = jnp.float32(outputs(likelihood, 2, 3, 2)).reshape(2, 3, -1)
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(2, 3, 2)), jnp.float32)
    for weights in (jnp.array([[1.0], [0.0], [2.5]]), jnp.array([[[1.0]], [[0.5]]]), 3.0):
        ours = weighted(likelihood, weights)
        np.testing.assert_allclose(ours(output, x), (weights * likelihood.terms(output, x)).sum((1, 2)), rtol=1e-5)
        assert ours.measure is None and not ours.affine and ours.num_outputs == likelihood.num_outputs
        np.testing.assert_array_equal(ours.mean(output), likelihood.mean(output))


def test_weights_of_fisher_information_and_of_the_wrong_shape():
    weights = jnp.array([[1.0], [0.0], [2.5]])
    output = jnp.float32(outputs(gaussian_scale, 3, 2)).reshape(3, 4)
    expected = gaussian_scale.fisher(output) * weights  # a point's weight for all outputs of all of its channels
    np.testing.assert_allclose(weighted(gaussian_scale, weights).fisher(output), expected, rtol=1e-6)
    assert weighted(categorical, weights).fisher is None
    for call in (
        lambda: weighted(squared_error, jnp.ones((4, 1, 1))).fisher(jnp.zeros((3, 2))),
        lambda: weighted(squared_error, jnp.ones((4, 3, 1)))(jnp.zeros((1, 3, 2)), jnp.zeros((1, 3, 2))),
    ):
        with pytest.raises(ValueError, match="weights") as caught:
            call()
        assert "\n" not in str(caught.value)


# -- refusals ------------------------------------------------------------------------------------------------------


@by_name
def test_shapes_that_would_broadcast_are_refused(likelihood):
    k = likelihood.num_outputs
    for output, x in (((5, 3, k), (5, 3, 3)), ((5, 3, 3 * k), (5, 1, 3)), ((5, 3, 3 * k + 1), (5, 3, 3))):
        with pytest.raises(ValueError, match=f"expected .*{likelihood.name}.* got") as caught:
            likelihood(jnp.zeros(output), jnp.zeros(x))
        assert "\n" not in str(caught.value)


def test_channels_that_are_not_a_multiple_are_refused():
    with pytest.raises(ValueError, match="256 channels"):
        gon(conv_decoder((8, 8, 3), (2,), base_channels=2), likelihood=categorical)


def test_terms_that_are_sums_are_refused():
    with pytest.raises(ValueError, match="a term of mine"):
        Likelihood("mine", lambda o, x: jnp.square(x - o).sum(-1), lambda o: o)(jnp.zeros((2, 3)), jnp.zeros((2, 3)))


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_scale_is_checked(scale):
    with pytest.raises(ValueError, match="scale"):
        gaussian(scale)


def test_number_of_components_is_checked():
    with pytest.raises(ValueError, match="num_components, a whole number of at least 1, got 0"):
        discretized_logistic_mixture(0)


# -- bits per dimension --------------------------------------------------------------------------------------------


def test_bits_per_dim_of_uniform_models():
    gray, binary = jnp.full((5, 3, 2), 0.4), jnp.ones((5, 3, 2)).at[0].set(0)
    for likelihood, x, bits in (
        (categorical, gray, 8),
        (continuous_bernoulli, gray, 8),
        (bernoulli, binary, 1),
        (bernoulli, np.uint8(255 * binary), 1),
        (discretized_logistic, np.uint8(255 * gray), None),
    ):
        unit = x / 255 if x.dtype == "uint8" else x
        nats = jax.jit(likelihood.__call__)(jnp.zeros((5, 3, 2 * likelihood.num_outputs)), unit)
        ours = bits_per_dim(likelihood, nats, x)
        assert ours.shape == (5,)
        if bits is None:
            bits = nats / (6 * np.log(2))
        np.testing.assert_allclose(ours, bits, rtol=1e-6)


@pytest.mark.parametrize(
    "likelihood, x, words",
    [
        (squared_error, np.ones((2, 3)), "normalized likelihood.*squared_error"),
        (weighted(gaussian(0.3), 1.0), np.ones((2, 3)), "normalized likelihood.*weighted gaussian"),
        (bernoulli, np.array([[0, 1, 0.5]]), "0 and 1.*BCE in nats"),
        (bernoulli, np.array([[0, 1, 255]], np.uint8), "0 and 1.*BCE in nats"),
    ],
)
def test_bits_per_dim_are_refused(likelihood, x, words):
    with pytest.raises(ValueError, match=words) as caught:
        bits_per_dim(likelihood, 1.0, x)
    assert "\n" not in str(caught.value)


def test_dequantized_data_bound_the_mass_of_bytes():
    """-log p(x + noise) is on average at least -log of p's mass of the bin, and with a wide p hardly more."""
    bytes_ = jnp.repeat(jnp.arange(256) / 255, 400)
    x = dequantize(jax.random.key(0), bytes_)
    np.testing.assert_array_equal(jnp.floor(256 * x).reshape(256, -1)[:, 0], jnp.arange(256))
    assert 0 <= x.min() and x.max() < 1
    assert abs((256 * x - jnp.round(255 * bytes_)).mean() - 0.5) < 5 / np.sqrt(12 * len(x))
    likelihood = gaussian(0.2)
    bits = bits_per_dim(likelihood, likelihood(jnp.full((len(x), 1), 0.4), x[:, None]), x[:, None])
    edges = np.arange(257) / 256
    mass = np.diff(scipy.stats.norm(0.4, 0.2).cdf(edges))
    excess = np.asarray(bits).reshape(256, 400).mean(1) + np.log2(mass)
    assert abs(excess).max() < 0.02 and excess.mean() > 0


# -- in models -----------------------------------------------------------------------------------------------------

SHAPES = {"conv": (8, 8, 3), "siren": (2, 3, 2)}


def decoder_for(kind, likelihood):
    """One layer each: what is tested is what follows it."""
    *spatial, c = SHAPES[kind]
    channels = c * likelihood.num_outputs
    if kind == "siren":
        return siren_decoder(grid(*spatial), 3, channels, hidden_dim=4, num_layers=1, omega_0=3.0)
    return conv_decoder((*spatial, channels), (4, 4, 2), output_activation="none", norm="none")


def moved(params):
    """Return parameters off their initial values, in float64: with beta = 0 the origin sits on ELU's kink."""
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return tree.unflatten([jnp.asarray(a + 0.1 * rng.normal(size=a.shape)) for a in leaves])


@pytest.mark.quick("squared_error-*", "discretized_logistic_mixture-*")
@pytest.mark.parametrize("kind", ["conv", pytest.param("siren", marks=pytest.mark.slow)])
@by_name
def test_inner_and_outer_loss_of_a_gon(likelihood, kind):
    """The model's loss and its gradient are those of Eq. 8 written out, and it is frozen as it encodes."""
    decoder = decoder_for(kind, likelihood)
    model = gon(decoder, likelihood=likelihood, step_size=0.01)
    assert model.data_shape == SHAPES[kind]
    params, key = moved(model.init(jax.random.key(0)).params), jax.random.key(1)
    x = jax.random.uniform(key, (3, *SHAPES[kind]))
    z0 = jnp.zeros((3, *decoder.latent_shape))
    options = {"likelihood": likelihood, "step_size": 0.01}

    @jax.jit
    def run(params):
        variables = Variables(params)
        ours = jax.value_and_grad(lambda p: model.loss(Variables(p), {"x": x}, key)[0])(params)
        theirs = jax.value_and_grad(lambda p: gon_loss(decoder.output, p, x, z0, **options).mean())(params)
        z = encode(decoder.output, params, x, z0, **options)
        if kind == "siren" and likelihood is categorical:  # a pull-back for each of 512 outputs
            return (*ours, model.encode(variables, x)), (*theirs, z), model.decode(variables, z)
        frozen = model.capabilities.freeze(variables)
        folded = frozen(x)
        assert (frozen.output is None) == likelihood.affine
        return (*ours, model.encode(variables, x), folded), (*theirs, z, z), model.decode(variables, z)

    ours, theirs, x_hat = run(params)
    assert x_hat.shape == x.shape
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * jnp.abs(b).max())


@pytest.mark.quick("batch-*")
@pytest.mark.parametrize(
    "kind, likelihood",
    [("batch", categorical), ("siren", continuous_bernoulli), ("siren", discretized_logistic_mixture(2))],
)
def test_fast_forms_equal_the_definition(kind, likelihood):
    decoder = decoder_for("siren", likelihood)
    if kind == "batch":
        channels = likelihood.num_outputs
        decoder = conv_decoder((8, 8, channels), (3,), base_channels=1, output_activation="none")
    params = moved(decoder.init(jax.random.key(0)))
    options = {"likelihood": likelihood, "step_size": 0.01, "batch_size": 3}
    errors = compare_with_definition(decoder, params, jax.random.key(1), **options)
    assert len(errors) == {"batch": 2, "siren": 3}[kind] and max(errors.values()) < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", [continuous_bernoulli, gaussian_scale], ids=name_of)
def test_least_squares_latents(likelihood):
    """A damped Gauss-Newton step with the Fisher information in all outputs, K of them for each number."""
    decoder = decoder_for("siren", likelihood)
    model = least_squares_gon(decoder, likelihood=likelihood, damping=0.1)
    params, z0 = moved(decoder.init(jax.random.key(0))), jnp.zeros(3)
    x = jax.random.uniform(jax.random.key(1), (3, 2, 3, 2))
    output = decoder.output(params, z0[None])[0]
    jacobian = jax.jacobian(lambda z: decoder.output(params, z[None]).reshape(-1))(z0)
    normal = jacobian.T @ (likelihood.fisher(output).reshape(-1, 1) * jacobian)
    normal += 0.1 * jnp.trace(normal) / 3 * jnp.eye(3)
    v = jax.grad(lambda o: likelihood(o, x).sum())(jnp.broadcast_to(output, (3, *output.shape))).reshape(3, -1)
    np.testing.assert_allclose(model.encode(Variables(params), x), -jnp.linalg.solve(normal, jacobian.T @ v.T).T)


def test_a_mask_in_the_inner_loss_hides_what_it_covers():
    likelihood = discretized_logistic
    mask = jnp.ones((2, 3, 1)).at[0].set(0)
    decoder = decoder_for("siren", likelihood)
    params = moved(decoder.init(jax.random.key(0)))
    x = jax.random.uniform(jax.random.key(1), (3, 2, 3, 2))
    model = gon(decoder, likelihood=weighted(likelihood, mask))
    latents = [model.encode(Variables(params), x.at[:, 0].set(value)) for value in (0.0, 1.0)]
    np.testing.assert_array_equal(*latents)
    assert not np.allclose(latents[0], gon(decoder, likelihood=likelihood).encode(Variables(params), x))
