"""Transposed convolutions against `lax.conv_transpose`; the decoder's shapes, statistics and independence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax import compare_with_definition, encode, encode_shared
from gon_jax.data import load
from gon_jax.decoders import conv_decoder
from gon_jax.decoders.layers import BatchNorm, activation_fn
from gon_jax.metrics import evaluate
from gon_jax.models import gon
from gon_jax.ops import transposed_conv as transposed
from gon_jax.ops.geometry import DOUBLING, library_maps
from gon_jax.ops.transposed_conv import transposed_convolution
from gon_jax.training import fit, make_optimizer


def reference(x, kernel):
    kernel = kernel.transpose(1, 2, 0, 3)[::-1, ::-1]
    return jax.lax.conv_transpose(x, kernel, (2, 2), "SAME")


@pytest.fixture
def x_kernel(x64):
    keys = jax.random.split(jax.random.key(0))
    return jax.random.normal(keys[0], (3, 4, 6, 5)), jax.random.normal(keys[1], (5, 4, 4, 2))


@pytest.fixture(params=["whole", "pieces"])
def piece_bytes(request, monkeypatch):
    """The batch of 3 in one piece, or in three."""
    monkeypatch.setattr(transposed, "PIECE_BYTES", {"whole": 2**30, "pieces": 1}[request.param])
    jax.clear_caches()


def test_transposed_convolution_is_laxs(x_kernel, piece_bytes):
    np.testing.assert_allclose(transposed_convolution(*x_kernel), reference(*x_kernel), rtol=1e-12, atol=1e-12)


def test_its_second_derivatives_are_laxs(x_kernel, piece_bytes):
    """As in a GON: the gradient of a function of a gradient, in input and kernel."""

    def outer(convolve, x, kernel):
        inner = jax.grad(lambda x: jnp.tanh(convolve(x, kernel)).sum())(x)
        return jnp.sin(inner).sum()

    ours = jax.grad(outer, argnums=(1, 2))(transposed_convolution, *x_kernel)
    laxs = jax.grad(outer, argnums=(1, 2))(reference, *x_kernel)
    for a, b in zip(ours, laxs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_other_platforms_compute_the_same(x_kernel):
    """What a GPU is given, run here."""
    x, kernel = x_kernel
    y = jax.random.normal(jax.random.key(2), (3, 8, 12, 2))
    pairs = zip(transposed.maps(DOUBLING), library_maps(DOUBLING), strict=True)
    for (ours, library), arguments in zip(pairs, [(x, kernel), (y, kernel), (x, y)], strict=True):
        np.testing.assert_allclose(ours.__wrapped__(*arguments), library(*arguments), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("platform, convolutions, products", [("cpu", False, 3), ("cuda", True, 0)])
def test_each_platform_is_given_its_own_form(platform, convolutions, products):
    """On a CPU products alone, in the gradient too; on a GPU XLA's convolutions alone. Lowered here, not run."""
    x, kernel = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 4, 4, 2))
    gradient = jax.jit(jax.grad(lambda x, k: jnp.sin(transposed_convolution(x, k)).sum(), argnums=(0, 1)))
    text = gradient.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in text) == convolutions and text.count("dot_general") == products


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
def test_any_power_of_two(size):
    decoder = conv_decoder((size, size, 3), (5,), base_channels=2)
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    output, stats = jax.eval_shape(decoder.apply, params, jax.ShapeDtypeStruct((7, 5), jnp.float32))
    assert output.shape == (7, size, size, 3)
    widths = [layer["mean"].shape[0] for layer in stats.values()]
    assert widths == [2 * size // 2 // at for at in (4 * 2**i for i in range(len(widths)))] and widths[-1] == 2


@pytest.mark.parametrize("h", [2, 4, 8, 16])
def test_spatial_latents_drop_the_first_layers(h):
    decoder = conv_decoder((32, 32, 1), (h, h, 6), base_channels=4, norm="none")
    params = jax.eval_shape(decoder.init, jax.random.key(0))
    assert len(params) == {2: 4, 4: 3, 8: 2, 16: 1}[h]
    assert jax.eval_shape(decoder.output, params, jnp.zeros((2, h, h, 6))).shape == (2, 32, 32, 1)


def test_latents_of_2x2_have_the_widths_of_vectors():
    """(k + 1) channels: 64 to 64, 32, 16 and 1, kernels of 16, biases and, but for the last, scale and shift."""
    decoder = conv_decoder((32, 32, 1), (2, 2, 64))
    params = decoder.init(jax.random.key(0))
    layers = [(64, 64), (64, 32), (32, 16), (16, 1)]
    expected = sum(16 * c_in * c_out + 3 * c_out for c_in, c_out in layers) - 2
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected == 107_089
    output, stats = decoder.apply(params, jnp.ones((3, 2, 2, 64)))
    assert output.shape == (3, 32, 32, 1) and [s["mean"].size for s in stats.values()] == [64, 32, 16]


SLOW_GROUP = pytest.param("group", marks=pytest.mark.slow)


@pytest.mark.quick("none")
@pytest.mark.parametrize("norm", ["batch", SLOW_GROUP, "none"])
def test_latents_of_2x2_are_encoded_by_the_definition(norm, x64, double):
    decoder = conv_decoder((16, 16, 1), (2, 2, 3), base_channels=2, norm=norm)
    params = double(decoder.init(jax.random.key(0)))
    x, origin = jax.random.uniform(jax.random.key(1), (5, 16, 16, 1)), jnp.zeros((2, 2, 3))
    expected = encode(decoder.output, params, x, jnp.zeros((5, 2, 2, 3)))
    assert jnp.abs(expected).max() > 1e-3
    for strategy in ("pullback", "jacobian"):
        z = encode_shared(decoder, params, x, origin, strategy=strategy)
        np.testing.assert_allclose(z, expected, rtol=1e-9, atol=1e-12)
    perturbed = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(jax.random.key(a.size), a.shape), params)
    assert max(compare_with_definition(decoder, perturbed, jax.random.key(2)).values()) < 1e-9  # of the gradients too


@pytest.mark.parametrize(
    "options, words",
    [
        ({"image_shape": (28, 28, 1)}, "resize"),
        ({"image_shape": (32, 64, 1)}, "square"),
        ({"image_shape": (512, 512, 1)}, "256"),
        ({"latent_shape": (1, 1, 3)}, "latent_shape"),
        ({"latent_shape": (4, 8, 3)}, "latent_shape"),
        ({"latent_shape": (32, 32, 3)}, "latent_shape"),
        ({"latent_shape": (3, 3)}, "latent_shape"),
        ({"norm": "layer"}, "'batch', 'group' or 'none', got 'layer'"),
        ({"activation": "relu6"}, "elu"),
        ({"output_activation": "softmax"}, "sigmoid"),
    ],
)
def test_misuse_is_named(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        conv_decoder(**options)
    assert "\n" not in str(caught.value) and "got" in str(caught.value)


def test_activation_may_be_a_function():
    decoder = conv_decoder((8, 8, 1), (2,), base_channels=2, norm="none", activation=lambda x: x * 0)
    params = decoder.init(jax.random.key(0))
    output = decoder.output(params, jax.random.normal(jax.random.key(1), (3, 2)))
    np.testing.assert_allclose(output, jnp.broadcast_to(output[:1], output.shape))


@pytest.mark.parametrize(("name", "below"), [("relu", 0.0), ("leaky_relu", 0.01)])
def test_the_slope_at_a_kink_is_the_mean_of_both_sides(name, below, x64):
    """As central differences give it, by any way to differentiate; the second derivative is 0."""
    activation = activation_fn(name)
    x = jnp.array([-2.0, -0.0, 0.0, 3.0, -jnp.inf, jnp.inf])
    expected = np.array([below, (1 + below) / 2, (1 + below) / 2, 1, below, 1])
    np.testing.assert_allclose(activation(x), getattr(jax.nn, name)(x), rtol=1e-15)
    central = (activation(x[:4] + 1e-6) - activation(x[:4] - 1e-6)) / 2e-6
    np.testing.assert_allclose(central, expected[:4], rtol=1e-9, atol=1e-9)
    tangents = jnp.ones((3, 6)) * jnp.arange(1.0, 4.0)[:, None]
    np.testing.assert_array_equal(jax.jvp(activation, (x,), (tangents[0],))[1], expected)
    np.testing.assert_array_equal(jax.vjp(activation, x)[1](tangents[0])[0], expected)
    for transform in (jax.vmap, lambda f: jax.jit(jax.vmap(f))):
        np.testing.assert_array_equal(transform(jax.grad(activation))(x), expected)
        np.testing.assert_array_equal(transform(jax.grad(jax.grad(activation)))(x), np.zeros(6))
        pushed = transform(lambda t: jax.jvp(activation, (x,), (t,))[1])(tangents)
        np.testing.assert_allclose(pushed, expected * tangents, rtol=1e-15)
    for dtype in (jnp.float32, jnp.bfloat16):
        assert jax.grad(activation)(jnp.zeros((), dtype)) == jnp.asarray((1 + below) / 2, dtype)


@pytest.mark.quick("relu")
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_training_starts_at_the_kink(activation, optimized):
    """After 60 steps below the error of the mean image, 4.69; at 3.3, where with slope 0 at 0 it was 10.7."""
    images = load("digits").train.images
    x = images / 255
    assert np.square(x - x.mean(0)).sum((1, 2, 3)).mean() == pytest.approx(4.695, abs=1e-3)
    model = gon(conv_decoder((8, 8, 1), (8,), base_channels=8, activation=activation))
    options = {"optimizer": make_optimizer(5e-3), "progress": False}
    variables = fit(model, images, 60, jax.random.key(0), **options).state.variables
    assert evaluate(model, variables, images, evaluation="batch")["squared_error"] < 3.8


def test_variance_at_the_origin_is_zero():
    """Equal examples and positions: the square of a rounding error; E[x^2] - E[x]^2 leaves the error itself, 1e-8."""
    decoder = conv_decoder((32, 32, 1), (8,), base_channels=4)
    params = decoder.init(jax.random.key(0))
    constant = jax.tree.map(lambda a: jnp.full_like(a, 0.37), params["Project_0"])
    for batch in (1, 64):
        _, stats = decoder.apply(params | {"Project_0": constant}, jnp.zeros((batch, 8)))
        np.testing.assert_allclose(stats["BatchNorm_0"]["variance"], 0, atol=1e-11)


def test_batch_norm_is_its_definition():
    x = 3 * jax.random.normal(jax.random.key(0), (6, 4, 4, 5)) + 2
    module = BatchNorm()
    params = {"scale": jnp.arange(1.0, 6.0), "bias": jnp.arange(5.0)}
    y, collections = module.apply({"params": params}, x, mutable=["stats"])
    mean, variance = np.mean(x, axis=(0, 1, 2)), np.var(x, axis=(0, 1, 2))
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-5) * params["scale"] + params["bias"], atol=1e-5)
    np.testing.assert_allclose(collections["stats"]["variance"], variance, rtol=1e-5)
    given = module.apply({"params": params, "stats": collections["stats"]}, x[:1])
    np.testing.assert_allclose(given, y[:1], atol=1e-6)


@pytest.mark.quick("batch", "none")
@pytest.mark.parametrize("norm", ["group", "none", "batch"])
def test_examples_are_independent(norm):
    """By itself without batch statistics, and with given ones."""
    decoder = conv_decoder((16, 16, 1), (3,), base_channels=2, norm=norm)
    params = decoder.init(jax.random.key(0))
    z = jax.random.normal(jax.random.key(1), (4, 3))
    _, stats = decoder.apply(params, z)
    assert decoder.independent and decoder.batch_statistics == (stats is not None) == (norm == "batch")
    together, alone = decoder.output(params, z, stats), decoder.output(params, z[2:3], stats)
    np.testing.assert_allclose(together[2:3], alone, atol=1e-6)
