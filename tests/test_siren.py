"""The sine pair against NumPy's in float64; decoders of coordinates against their formulas, point by point."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.checks import compare_with_definition
from gon_jax.coordinates import grid
from gon_jax.data import load
from gon_jax.decoders import (
    conv_decoder,
    fourier_decoder,
    mixed_precision,
    modulated_siren_decoder,
    siren_decoder,
    spatial_gradient,
)
from gon_jax.likelihoods import bernoulli, gaussian, squared_error
from gon_jax.linearization import choose_strategy
from gon_jax.models import gon
from gon_jax.ops.sine import COSINE, PI_PARTS, SINE, sine, sine_cosine
from gon_jax.training import init_state, make_optimizer, train_step

# -- sine ----------------------------------------------------------------------------------------------------------


def arguments():
    """Random over all magnitudes up to 1e5, a dense stretch near 0, and the neighbors of multiples of pi / 2."""
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


# -- the decoders --------------------------------------------------------------------------------------------------


def layers_of(params):
    return [params[f"Dense_{i}"] for i in range(sum(name.startswith("Dense") for name in params))]


def siren_at(params, c, z, omega_0=30.0):
    """Return the hidden activations `[L, h]` and the output `[C]` at a point c `[d]`, as papers write a SIREN."""
    *hidden, last = layers_of(params)
    x, activations = jnp.concatenate([c, z]), []
    for layer in hidden:
        x = jnp.sin(omega_0 * (x @ layer["kernel"] + layer["bias"]))
        activations.append(x)
    return jnp.stack(activations), x @ last["kernel"] + last["bias"]


def modulated_siren_at(params, c, z, omega_0=10.0):
    *hidden, last = layers_of(params)
    x, activations = c, []
    for layer, shift in zip(hidden, (z @ params["shift"]).reshape(len(hidden), -1), strict=True):
        x = jnp.sin(omega_0 * (x @ layer["kernel"] + layer["bias"] + shift))
        activations.append(x)
    return jnp.stack(activations), x @ last["kernel"] + last["bias"]


def fourier_at(params, c, z):
    *hidden, last = layers_of(params)
    phase = 2 * jnp.pi * c @ np.random.RandomState(0).normal(size=(len(c), 64))
    x, activations = jnp.sqrt(2) * jnp.concatenate([jnp.sin(phase), jnp.cos(phase)]), []
    for i, layer in enumerate(hidden):
        x = jax.nn.silu(x @ layer["kernel"] + layer["bias"] + (z @ params["code"] if i == 0 else 0))
        activations.append(x)
    return jnp.stack(activations), x @ last["kernel"] + last["bias"]


FORMULAS = {siren_decoder: siren_at, modulated_siren_decoder: modulated_siren_at, fourier_decoder: fourier_at}
DECODERS = pytest.mark.parametrize("make", FORMULAS, ids=lambda make: make.__name__)
CASES = pytest.mark.parametrize(
    "make, sizes, channels",
    [
        (siren_decoder, (5,), 1),
        (siren_decoder, (3, 4), 3),
        (siren_decoder, (2, 3, 2), 1),
        (modulated_siren_decoder, (2, 3, 2), 3),
        (fourier_decoder, (3, 4), 3),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)


def everywhere(make, params, coordinates, z):
    """Return a formula's activations `[B, N, L, h]` and outputs `[B, *spatial, C]`."""
    points = coordinates.reshape(-1, coordinates.shape[-1])
    over_points = jax.vmap(FORMULAS[make], (None, 0, None))
    activations, output = jax.vmap(over_points, (None, None, 0))(params, points, z)
    return activations, output.reshape(len(z), *coordinates.shape[:-1], -1)


@pytest.mark.quick("siren_decoder-(5,)-1", "modulated*", "fourier*")
@CASES
def test_a_decoder_is_its_formula(make, sizes, channels, x64, double):
    """Values, and derivatives of the first and second order: the gradient of a function of a gradient, as in a GON."""
    coordinates = grid(*sizes).astype(jnp.float64)
    decoder = make(coordinates, 4, channels, hidden_dim=6, num_layers=2)
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    z = jax.random.normal(jax.random.key(1), (3, 4))
    x = jax.random.normal(jax.random.key(2), (3, *sizes, channels))

    def derivatives(function):
        def inner(params, z):
            return (jnp.tanh(function(params, z)) * x).sum()

        def outer(params, z):
            return jnp.sin(jax.grad(inner, argnums=1)(params, z)).sum()

        return jax.jit(lambda *a: (function(*a), *(jax.grad(f, argnums=(0, 1))(*a) for f in (inner, outer))))(params, z)

    expected = derivatives(lambda params, z: everywhere(make, params, coordinates, z)[1])
    assert expected[0].shape == (3, *sizes, channels)
    for ours, other in zip(*map(jax.tree.leaves, (derivatives(decoder.output), expected)), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-10 * float(jnp.abs(other).max()))


@DECODERS
def test_a_decoder_in_float32(make):
    decoder = make(grid(6, 6), 4, hidden_dim=32)
    params = jax.jit(decoder.init)(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (3, 4))
    reference = jax.jit(lambda params, z: everywhere(make, params, grid(6, 6), z)[1])(params, z)
    np.testing.assert_allclose(jax.jit(decoder.output)(params, z), reference, atol=2e-5)


@CASES
def test_a_latent_per_point_is_the_same_function(make, sizes, channels):
    decoder = make(grid(*sizes), 4, channels, hidden_dim=6, output_activation="sigmoid")
    params = jax.jit(decoder.init)(jax.random.key(0))
    n = math.prod(sizes)
    z = jax.random.normal(jax.random.key(1), (n, 4))
    output = np.reshape(jax.jit(decoder.output)(params, z), (n, n, channels))  # every latent at every point
    np.testing.assert_allclose(jax.jit(decoder.pointwise)(params, z), output[np.arange(n), np.arange(n)], atol=1e-5)


@pytest.mark.quick("siren_decoder-(5,)-1-squared_error", "modulated*", "fourier*")
@pytest.mark.parametrize(
    "make, sizes, channels, likelihood",
    [
        (siren_decoder, (5,), 1, squared_error),
        (siren_decoder, (3, 2), 3, squared_error),
        (siren_decoder, (3, 2), 1, gaussian(0.3)),
        (siren_decoder, (3, 2), 3, bernoulli),
        (siren_decoder, (2, 2, 2), 1, bernoulli),
        (modulated_siren_decoder, (3, 2), 3, bernoulli),
        (fourier_decoder, (3, 2), 3, bernoulli),
    ],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", str(value))),
)
def test_fast_forms_equal_definition(make, sizes, channels, likelihood, x64, double):
    decoder = make(grid(*sizes), 4, channels, hidden_dim=6, num_layers=2)
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    errors = compare_with_definition(decoder, params, jax.random.key(1), likelihood=likelihood, step_size=0.02)
    assert set(errors) == {"pullback", "jacobian", "pointwise"}
    assert max(errors.values()) < 1e-10


@DECODERS
def test_the_cheapest_form_is_the_pointwise_one(make):
    decoder = make(grid(28, 28), 32)
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    assert choose_strategy(decoder, params, 64) == "pointwise"
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


def test_initialization_fills_the_authors_ranges():
    params = jax.jit(siren_decoder(grid(4, 4), 32).init)(jax.random.key(0))
    for name, fan_in, bound in (
        ("Dense_0", 34, 1 / 34),
        *((f"Dense_{i}", 256, math.sqrt(6 / 256) / 30) for i in range(1, 5)),
    ):
        kernel, bias = np.abs(params[name]["kernel"]), np.abs(params[name]["bias"])
        assert 0.97 * bound < kernel.max() <= bound and abs(kernel.mean() / bound - 0.5) < 0.1
        assert bias.max() <= fan_in**-0.5 and (bias.size == 1 or bias.max() > 0.95 * fan_in**-0.5)


@pytest.mark.quick("*sizes1*")
@pytest.mark.parametrize("sizes, latent_size, hidden_dim", [((64,), 4, 32), ((8, 8), 32, 64), ((4, 4, 4), 16, 128)])
@DECODERS
def test_hidden_activations_start_at_unit_scale(make, sizes, latent_size, hidden_dim):
    """Root mean squares of 6 layers at latents of unit deviation; a sine's cannot be above about 0.7."""
    params = jax.jit(make(grid(*sizes), latent_size, hidden_dim=hidden_dim, num_layers=6).init)(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (8, latent_size))
    activations, output = jax.jit(lambda params: everywhere(make, params, grid(*sizes), z))(params)
    scales = np.sqrt(np.square(activations).mean(axis=(0, 1, 3)))
    assert scales.shape == (6,) and (0.35 < scales).all() and (scales < 1.4).all(), scales
    assert np.abs(output).max() < 3


@DECODERS
def test_no_array_holds_coordinates_and_latent_of_every_point(make):
    decoder = make(grid(5, 7), 11, hidden_dim=3, num_layers=2)
    params = jax.jit(decoder.init)(jax.random.key(0))
    jaxpr = jax.make_jaxpr(jax.grad(lambda p, z: decoder.output(p, z).sum(), argnums=(0, 1)))(
        params, jnp.zeros((4, 11))
    )
    sizes = {math.prod(variable.aval.shape) for equation in jaxpr.eqns for variable in equation.outvars}
    assert 4 * 35 * 3 in sizes and not sizes & {4 * 35 * n for n in (11, 13, 128, 128 + 11)}


def test_frequencies_are_fixed_by_their_seed_and_scaled_by_the_bandwidth():
    z = jnp.ones((1, 4))
    decoder = fourier_decoder(grid(6), 4, hidden_dim=8)
    params = jax.jit(decoder.init)(jax.random.key(0))
    assert set(params) == {"code", *(f"Dense_{i}" for i in range(5))}
    again, other = (fourier_decoder(grid(6), 4, hidden_dim=8, seed=seed) for seed in (0, 1))
    wide = fourier_decoder(grid(6) / 2, 4, hidden_dim=8, bandwidth=2.0)
    value, same, different, scaled = (jax.jit(d.output)(params, z) for d in (decoder, again, other, wide))
    np.testing.assert_array_equal(value, same)
    np.testing.assert_allclose(value, scaled, atol=1e-5)
    assert np.abs(value - different).max() > 0.01


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
@DECODERS
def test_misuse_is_named(make, arguments, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        make(*arguments, **options)
    assert "\n" not in str(caught.value) and "got" in str(caught.value)


@pytest.mark.parametrize(
    "options, words",
    [({"bandwidth": 0.0}, "bandwidth"), ({"num_frequencies": 0}, "num_freq"), ({"activation": "step"}, "silu")],
)
def test_misuse_of_the_fourier_decoder_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        fourier_decoder(grid(4, 4), 3, **options)


# -- at other points -----------------------------------------------------------------------------------------------


@CASES
def test_at_is_the_same_function_at_other_points(make, sizes, channels):
    decoder = make(grid(*sizes), 4, channels, hidden_dim=8, num_layers=2)
    params = jax.jit(decoder.init)(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (3, 4))
    output = jax.jit(decoder.output)(params, z)
    np.testing.assert_array_equal(decoder.coordinates, grid(*sizes))
    finer = decoder.at(grid(*(2 * size - 1 for size in sizes)))
    every_other = (slice(None), *[slice(None, None, 2)] * len(sizes))
    np.testing.assert_allclose(jax.jit(finer.output)(params, z)[every_other], output, atol=1e-5)
    np.testing.assert_allclose(jax.jit(finer.at(decoder.coordinates).output)(params, z), output, atol=1e-6)
    assert jax.tree.map(jnp.shape, jax.eval_shape(finer.init, jax.random.key(0))) == jax.tree.map(jnp.shape, params)

    wrong = jnp.zeros((5, len(sizes) + 1))
    with pytest.raises(ValueError, match=f"points of {len(sizes)} dimensions.*got") as caught:
        decoder.at(wrong)
    assert "\n" not in str(caught.value)


@DECODERS
def test_at_takes_traced_points(make, x64, double):
    """A GON of a random subset, drawn under jit: the loss and its gradient are the definition's on these points."""
    decoder = make(grid(6, 5), 4, hidden_dim=6, num_layers=2)
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    x = jax.random.uniform(jax.random.key(1), (3, 30, 1))
    index = jax.random.permutation(jax.random.key(2), 30)[:7]

    def loss(params, index, strategy):
        model = gon(decoder.at(decoder.coordinates.reshape(30, 2)[index]), step_size=0.1, strategy=strategy)
        return model.loss(Variables(params), {"x": x[:, index]}, None)[0]

    run = jax.jit(jax.value_and_grad(loss), static_argnums=2)
    ours, definition = (jax.tree.leaves(run(params, index, strategy)) for strategy in (None, "definition"))
    for a, b in zip(ours, definition, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * float(jnp.abs(b).max()))


@DECODERS
def test_at_in_16_bits(make):
    decoder = make(grid(4, 4), 3, hidden_dim=16, num_layers=2)
    params, z = jax.jit(decoder.init)(jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 3))
    exact, short = (jax.jit(d.at(grid(3, 5)).output)(params, z) for d in (decoder, mixed_precision(decoder)))
    assert short.dtype == jnp.float32 and 0 < np.abs(short - exact).max() < 0.1


# -- derivatives in space (Eq. 11) ---------------------------------------------------------------------------------


@DECODERS
def test_spatial_gradient_is_the_finite_difference(make, x64, double):
    points = jax.random.uniform(jax.random.key(0), (2, 2, 3), jnp.float64, -1, 1)
    decoder = make(points, 4, 2, hidden_dim=6, num_layers=2)
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    z, h = jax.random.normal(jax.random.key(1), (5, 4)), 1e-6

    def difference(decoder):
        def along(axis):
            ahead, behind = (decoder.at(points + sign * h * axis).output(params, z) for sign in (1, -1))
            return (ahead - behind) / (2 * h)

        return jax.jit(jax.vmap(along, out_axes=-1))(jnp.eye(3)).reshape(5, 2, 2, -1)

    for _ in range(2):  # of the function, and of its gradient
        expected, decoder = difference(decoder), spatial_gradient(decoder)
        ours = jax.jit(decoder.output)(params, z)
        np.testing.assert_allclose(ours, expected, atol=1e-6 * float(jnp.abs(expected).max()))
    hessian = ours.reshape(5, 2, 2, 2, 3, 3)
    np.testing.assert_allclose(hessian, hessian.swapaxes(-1, -2), atol=1e-9 * float(jnp.abs(hessian).max()))


def test_fast_forms_of_a_spatial_gradient_equal_definition(x64, double):
    decoder = spatial_gradient(modulated_siren_decoder(grid(3, 2), 4, 2, hidden_dim=6, num_layers=1))
    params = double(jax.jit(decoder.init)(jax.random.key(0)))
    errors = compare_with_definition(decoder, params, jax.random.key(1), step_size=0.02)
    assert len(errors) == 3 and max(errors.values()) < 1e-10
    finer = decoder.at(grid(5, 3))
    z = jax.random.normal(jax.random.key(2), (2, 4))
    coarse, fine = (jax.jit(d.output)(params, z) for d in (decoder, finer))
    np.testing.assert_allclose(fine[:, ::2, ::2], coarse, atol=1e-4 * float(jnp.abs(coarse).max()))


def test_spatial_gradient_needs_coordinates():
    with pytest.raises(ValueError, match="coordinates"):
        spatial_gradient(conv_decoder((8, 8, 1), (3,)))


# -- training on digits --------------------------------------------------------------------------------------------


def train(model, x, num_steps, learning_rate):
    """Return parameters after steps on random batches of 64 examples of x."""
    optimizer = make_optimizer(learning_rate)
    start = init_state(model, optimizer, jax.random.key(0))

    def step(i, state):
        index = jax.random.choice(jax.random.fold_in(jax.random.key(1), i), len(x), (64,), replace=False)
        return train_step(model, optimizer, state, {"x": x[index]})[0]

    return jax.jit(lambda state: jax.lax.fori_loop(0, num_steps, step, state))(start).variables


@pytest.fixture(scope="module")
def digits():
    data = load("digits")
    return [jnp.asarray(split.images, jnp.float32) / 255 for split in (data.train, data.test)]


def error(x, estimate):
    return float(squared_error(jnp.broadcast_to(estimate, x.shape), x).mean())


@pytest.mark.quick("fourier*")
@pytest.mark.parametrize(
    "make, learning_rate, step_size", [(modulated_siren_decoder, 2e-3, 1 / 16), (fourier_decoder, 3e-3, 1 / 4)]
)
def test_a_gon_trains(make, learning_rate, step_size, digits):
    """Held-out error of 300 steps against that of the mean image, 4.7; the SIREN is in `test_transforms.py`."""
    train_images, test_images = digits
    options = {"bandwidth": 0.5} if make is fourier_decoder else {}
    model = gon(make(grid(8, 8), 16, hidden_dim=32, num_layers=2, **options), step_size=step_size)
    variables = train(model, train_images, 300, learning_rate)
    reconstruction = jax.jit(lambda v, x: model.decode(v, model.encode(v, x)))(variables, test_images)
    assert error(test_images, reconstruction) < 0.35 * error(test_images, train_images.mean(axis=0))


@pytest.mark.slow
def test_images_from_their_gradients(digits):
    """Eq. 11: trained on and encoded from central differences alone, digits come back up to their mean.

    A function whose slopes are these differences is the image averaged over two pixels, so some error must stay.
    """
    decoder = modulated_siren_decoder(grid(8, 8), 16, hidden_dim=32, num_layers=2)
    slopes = [jnp.concatenate(jnp.gradient(x, 2 / 7, axis=(1, 2)), axis=-1) for x in digits]
    model = gon(spatial_gradient(decoder), step_size=1 / 64)
    assert model.data_shape == (8, 8, 2)
    variables = train(model, slopes[0], 200, 2e-3)
    z = jax.jit(model.encode)(variables, slopes[1])
    output = jax.jit(decoder.output)(variables.params, z)
    assert error(slopes[1], jax.jit(model.decode)(variables, z)) < 0.3 * error(slopes[1], slopes[0].mean(axis=0))
    train_images, test_images, output = (x - x.mean(axis=(1, 2, 3), keepdims=True) for x in (*digits, output))
    assert error(test_images, output) < 0.5 * error(test_images, train_images.mean(axis=0))
