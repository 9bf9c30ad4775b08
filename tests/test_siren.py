"""The sine pair against NumPy's in float64; the SIREN against one that concatenates, and against the definition."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.coordinates import grid
from gon_jax.likelihoods import bernoulli, gaussian, squared_error
from gon_jax.linearisation import compare_with_definition, strategy_of
from gon_jax.models import gon
from gon_jax.networks import siren_decoder
from gon_jax.networks.sine import COSINE, PI_PARTS, SINE, sine, sine_cosine

# -- coordinates ---------------------------------------------------------------------------------------------------


def test_grid_is_inclusive_and_in_row_column_order():
    points = grid(3, 5, 2)
    assert points.shape == (3, 5, 2, 3) and points.dtype == jnp.float32
    np.testing.assert_array_equal(points[2, 1, 0], [1.0, -0.5, -1.0])
    np.testing.assert_array_equal(grid(5)[:, 0], np.linspace(-1, 1, 5))
    for sizes in ((), (0, 3), (2.0,)):
        with pytest.raises(ValueError, match="got"):
            grid(*sizes)


# -- sine ----------------------------------------------------------------------------------------------------------


def arguments():
    """Random over all magnitudes up to 1e5, a dense stretch near 0, and the neighbours of multiples of pi / 2."""
    rng = np.random.default_rng(0)
    random = np.concatenate([rng.uniform(-(10.0**p), 10.0**p, 200_000) for p in range(-3, 6)]).astype(np.float32)
    turns = (np.arange(-63_000, 63_000) * (np.pi / 2)).astype(np.float32)
    return np.concatenate([random, turns, np.nextafter(turns, np.float32(np.inf)), np.float32([0, -0.0, 1e5, -1e5])])


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
def test_sine_and_cosine_err_by_less_than_2e_minus_7_up_to_1e5(compiled):
    x = arguments()
    s, c = (jax.jit(sine_cosine) if compiled else sine_cosine)(x)
    exact = x.astype(np.float64)
    assert s.dtype == c.dtype == jnp.float32
    assert np.abs(s - np.sin(exact)).max() < 2e-7
    assert np.abs(c - np.cos(exact)).max() < 2e-7


def test_sine_beyond_its_range():
    """Within a few roundings of the argument as long as those are small, then at least on the circle; NaN for NaN."""
    x = np.float32([3e5, -1e6, 5e6])
    s, c = sine_cosine(x)
    assert (np.abs(s - np.sin(x.astype(np.float64))) < 3 * np.spacing(np.abs(x))).all()
    assert (np.abs(c - np.cos(x.astype(np.float64))) < 3 * np.spacing(np.abs(x))).all()
    s, c = sine_cosine(np.float32([1e8, -1e20, 3.4e38]))
    np.testing.assert_allclose(np.square(s) + np.square(c), 1, atol=1e-6)
    s, c = sine_cosine(np.float32([np.inf, -np.inf, np.nan]))
    assert np.isnan(s).all() and np.isnan(c).all()


def test_derivatives_of_sine_up_to_the_third():
    x = jnp.linspace(-40, 40, 1001)
    ours, theirs = sine, jnp.sin
    for _ in range(4):
        np.testing.assert_allclose(jax.vmap(ours)(x), jax.vmap(theirs)(x), atol=3e-7)
        ours, theirs = jax.grad(ours), jax.grad(theirs)
    t = jnp.linspace(-1, 1, 1001)  # forward mode, and mixed
    np.testing.assert_allclose(jax.jvp(sine, [x], [t])[1], jnp.cos(x) * t, atol=3e-7)
    hessian_product = jax.jvp(jax.grad(lambda x: sine(x).sum()), [x], [t])[1]
    np.testing.assert_allclose(hessian_product, -jnp.sin(x) * t, atol=3e-7)


def test_derivatives_of_any_order_reduce_the_argument_once():
    third = jax.grad(jax.grad(jax.grad(sine)))
    for function in (sine, jax.value_and_grad(sine), third):
        assert str(jax.make_jaxpr(function)(0.5)).count(" round[") == 2  # n, and its parity


def test_other_types(x64):
    x = jnp.linspace(-50, 50, 101, dtype=jnp.float64)
    np.testing.assert_array_equal(sine_cosine(x), (jnp.sin(x), jnp.cos(x)))
    np.testing.assert_array_equal(jax.grad(lambda x: sine(x).sum())(x), jnp.cos(x))
    short = x.astype(jnp.bfloat16)
    s, c = sine_cosine(short)
    assert s.dtype == c.dtype == jax.grad(lambda x: sine(x).sum())(short).dtype == jnp.bfloat16
    np.testing.assert_allclose(s.astype(float), np.sin(np.float64(short)), atol=2**-8)
    assert sine(x.astype(jnp.float16)).dtype == jnp.float16


def minimax(target, powers, r, iterations=60):
    """Fit sum_j c_j r^p_j by least squares, weighted again and again by the error (Lawson): it becomes the minimax."""
    basis, weights = r[:, None] ** powers, np.ones_like(r)
    for _ in range(iterations):
        root = np.sqrt(weights)
        coefficients = np.linalg.lstsq(basis * root[:, None], target * root, rcond=None)[0]
        error = np.abs(basis @ coefficients - target)
        weights *= error / (weights @ error)
    return coefficients, error.max()


def test_coefficients_are_the_minimax_ones():
    r = np.pi / 2 * np.cos(np.pi * (np.arange(2000) + 0.5) / 4000)  # Chebyshev's points on (0, pi / 2)
    for coefficients, target, powers, bound, rounded_bound in (
        (SINE, np.sin(r) - r, np.arange(3, 10, 2), 5e-9, 2e-8),
        (COSINE, np.cos(r) - 1, np.arange(2, 11, 2), 3e-10, 6e-9),
    ):
        fitted, error = minimax(target, powers, r)
        np.testing.assert_allclose(coefficients, fitted, rtol=1e-6)
        assert error < bound
        assert np.abs(r[:, None] ** powers @ np.float64(np.float32(coefficients)) - target).max() < rounded_bound


def test_parts_of_pi():
    """The first two times any n of the range are exact in float32, and all three add up to pi."""
    first, second, rest = (np.float32(part) for part in PI_PARTS)
    n = np.arange(1e5 / math.pi + 1)
    for part in (first, second):
        np.testing.assert_array_equal(np.float32(n * np.float64(part)), n * np.float64(part))
    assert abs(np.float64(first) + np.float64(second) + np.float64(rest) - np.pi) < 1e-13


# -- the decoder ---------------------------------------------------------------------------------------------------


def concatenating(decoder_params, coordinates, z, omega_0=30.0):
    """The SIREN as it is written in papers: `[B, *spatial, d + k]` through layers of sin(omega_0 (W x + b))."""
    spatial = coordinates.shape[:-1]
    codes = jnp.broadcast_to(z.reshape(len(z), *[1] * len(spatial), -1), (len(z), *spatial, z.shape[-1]))
    x = jnp.concatenate([jnp.broadcast_to(coordinates, (len(z), *coordinates.shape)), codes], axis=-1)
    *hidden, last = (decoder_params[f"Dense_{i}"] for i in range(len(decoder_params)))
    for layer in hidden:
        x = jnp.sin(omega_0 * (x @ layer["kernel"] + layer["bias"]))
    return x @ last["kernel"] + last["bias"]


SPACES = pytest.mark.parametrize("sizes, channels", [((5,), 1), ((3, 4), 3), ((2, 3, 2), 1)], ids=["1d", "2d", "3d"])


@SPACES
def test_siren_equals_one_that_concatenates(sizes, channels, x64, double):
    """Values, and derivatives of the first and second order: the gradient of a function of a gradient, as in a GON."""
    coordinates = grid(*sizes).astype(jnp.float64)
    decoder = siren_decoder(coordinates, 4, channels, hidden_dim=6, num_layers=3)
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    z = jax.random.normal(jax.random.key(1), (3, 4))
    x = jax.random.normal(jax.random.key(2), (3, *sizes, channels))

    def derivatives(apply):
        def inner(params, z):
            return (jnp.tanh(apply(params, z)) * x).sum()

        def outer(params, z):
            return jnp.sin(jax.grad(inner, argnums=1)(params, z)).sum()

        return jax.jit(apply)(params, z), [jax.jit(jax.grad(f, argnums=(0, 1)))(params, z) for f in (inner, outer)]

    expected = derivatives(lambda params, z: concatenating(params, coordinates, z))
    assert expected[0].shape == (3, *sizes, channels)
    for ours, other in zip(*map(jax.tree.leaves, (derivatives(decoder.apply), expected)), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-10 * float(jnp.abs(other).max()))


def test_siren_in_float32():
    decoder = siren_decoder(grid(6, 6), 4, hidden_dim=32)
    params = jax.jit(decoder.init)(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (3, 4))
    reference = jax.jit(lambda params, z: concatenating(params, grid(6, 6), z))(params, z)
    np.testing.assert_allclose(jax.jit(decoder.apply)(params, z), reference, atol=2e-5)


@SPACES
def test_a_code_per_point_is_the_same_function(sizes, channels):
    decoder = siren_decoder(grid(*sizes), 4, channels, hidden_dim=6, output_activation="sigmoid")
    params = jax.jit(decoder.init)(jax.random.key(0))
    n = math.prod(sizes)
    z = jax.random.normal(jax.random.key(1), (n, 4))
    output = np.reshape(jax.jit(decoder.apply)(params, z), (n, n, channels))  # every code at every point
    np.testing.assert_allclose(jax.jit(decoder.pointwise)(params, z), output[np.arange(n), np.arange(n)], atol=1e-5)


@pytest.mark.parametrize(
    "sizes, channels, likelihood",
    [
        ((5,), 1, squared_error),
        ((3, 2), 3, squared_error),
        ((3, 2), 1, gaussian(0.3)),
        ((3, 2), 3, bernoulli),
        ((2, 2, 2), 3, gaussian(0.3)),
        ((2, 2, 2), 1, bernoulli),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_fast_forms_equal_definition(sizes, channels, likelihood, x64, double):
    decoder = siren_decoder(grid(*sizes), 4, channels, hidden_dim=6, num_layers=2)
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    errors = compare_with_definition(decoder, params, jax.random.key(1), likelihood=likelihood, step_size=0.02)
    assert set(errors) == {"pullback", "jacobian", "pointwise"}
    assert max(errors.values()) < 1e-10


def test_the_cheapest_form_is_the_pointwise_one():
    decoder = siren_decoder(grid(28, 28), 32)
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    assert strategy_of(decoder, params, 64) == "pointwise"
    assert gon(decoder, step_size=1 / 64).data_shape == (28, 28, 1)


@pytest.mark.parametrize(
    "latent_size, hidden_dim, num", [(32, 256, 206_593), (34, 32, 4_385), (32, 32, 4_321)], ids=str
)
def test_numbers_of_parameters(latent_size, hidden_dim, num):
    decoder = siren_decoder(grid(28, 28), latent_size, hidden_dim=hidden_dim)
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == num
    assert list(params) == [f"Dense_{i}" for i in range(5)]
    assert params["Dense_0"]["kernel"].shape == (2 + latent_size, hidden_dim)


def test_initialisation_fills_the_releases_ranges():
    params = jax.jit(siren_decoder(grid(4, 4), 32).init)(jax.random.key(0))
    for name, fan_in, bound in (
        ("Dense_0", 34, 1 / 34),
        *((f"Dense_{i}", 256, math.sqrt(6 / 256) / 30) for i in range(1, 5)),
    ):
        kernel, bias = np.abs(params[name]["kernel"]), np.abs(params[name]["bias"])
        assert 0.97 * bound < kernel.max() <= bound and abs(kernel.mean() / bound - 0.5) < 0.1
        assert bias.max() <= fan_in**-0.5 and (bias.size == 1 or bias.max() > 0.95 * fan_in**-0.5)


def test_no_array_holds_coordinates_and_code_of_every_point():
    decoder = siren_decoder(grid(5, 7), 11, hidden_dim=3)
    params = jax.jit(decoder.init)(jax.random.key(0))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p, z: decoder.apply(p, z).sum(), argnums=(0, 1)))(params, jnp.zeros((4, 11)))
    sizes = {math.prod(variable.aval.shape) for equation in jaxpr.eqns for variable in equation.outvars}
    assert 4 * 35 * 3 in sizes and not sizes & {4 * 35 * 11, 4 * 35 * 13}


@pytest.mark.parametrize(
    "arguments, options, words",
    [
        ((jnp.zeros((4, 4, 2), jnp.int32), 3), {}, "grid"),
        ((jnp.zeros(4), 3), {}, r"\[N, 1\]"),
        ((grid(4, 4), 0), {}, "latent_size"),
        ((grid(4, 4), 3, 0), {}, "num_channels"),
        ((grid(4, 4), 3), {"num_layers": 0}, "num_layers"),
        ((grid(4, 4), 3), {"output_activation": "softmax"}, "sigmoid"),
    ],
)
def test_misuse_is_named(arguments, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        siren_decoder(*arguments, **options)
    assert "\n" not in str(caught.value) and "got" in str(caught.value)
