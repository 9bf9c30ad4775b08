"""Drop-in layers: variables, values and derivatives are those of Flax's, JAX's and Equinox's."""

from functools import partial

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gon_jax import compare_with_definition, encode
from gon_jax.decoders import from_equinox, from_linen
from gon_jax.drop_in import functions, linen
from gon_jax.drop_in import nnx as our_nnx
from gon_jax.models import gon

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
CONVOLUTIONS = {
    "as they come": {"kernel_size": (4, 3)},
    "of the authors": {"kernel_size": (4, 4), "strides": (2, 2), "padding": 2},
    "circular, a bias less": {"kernel_size": (3, 3), "strides": (2, 1), "padding": "CIRCULAR", "use_bias": False},
    "transposed, dilated": {"kernel_size": (3, 2), "transpose_kernel": True, "kernel_dilation": (2, 1)},
    "pairs": {"kernel_size": (3, 3), "padding": ((1, 2), 0), "precision": jax.lax.Precision.HIGHEST},
    "masked, 16 bits": {
        "kernel_size": (3, 3),
        "mask": np.tri(3)[..., None, None] * np.ones((5, 4)),
        "dtype": "bfloat16",
    },
}
NORMS = {
    "as they come": {},
    "another axis": {"axis": 1, "epsilon": 1e-3, "momentum": 0.5},
    "bare": {"use_scale": False, "use_bias": False},
    "16 bits": {"dtype": jnp.bfloat16},
}


def close(ours, theirs, tolerance=1e-10):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(np.float64(a), np.float64(b), rtol=tolerance, atol=tolerance)


def moved(tree):
    return jax.tree.map(lambda a: a + jnp.asarray(0.3 * RNG.normal(size=a.shape), a.dtype), tree)


def second_derivatives(function, params, x):
    """Return the gradients of a function of a gradient, as in a GON."""

    def outer(params, x):
        return jnp.sin(jax.grad(lambda x: jnp.tanh(function(params, x)).sum())(x)).sum()

    return jax.jit(jax.grad(outer, argnums=(0, 1)))(params, x)


@pytest.mark.quick("as they come", "masked, 16 bits", "pairs")
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_transposed_convolution_of_linen_is_flaxs(name, x64):
    options = {"param_dtype": jnp.float64} | CONVOLUTIONS[name]
    options = options | ({"dtype": jnp.dtype(options["dtype"])} if "dtype" in options else {})
    x = jnp.asarray(RNG.normal(size=(2, 4, 5, 5)))
    ours, theirs = linen.ConvTranspose(4, **options), nn.ConvTranspose(4, **options)
    variables = ours.init(jax.random.key(0), x)
    close(variables, theirs.init(jax.random.key(0), x))
    tolerance = 0.02 if "dtype" in options else 1e-10
    variables = moved(variables)
    close(ours.apply(variables, x), theirs.apply(variables, x), tolerance)
    if "dtype" not in options:
        close(*(second_derivatives(layer.apply, variables, x) for layer in (ours, theirs)))
    close(ours.apply(variables, x[0]), theirs.apply(variables, x[0]), tolerance)
    close(ours.apply(variables, x[:, None]), theirs.apply(variables, x[:, None]), tolerance)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_transposed_convolution_of_nnx_is_flaxs(name, x64):
    options = {"param_dtype": jnp.float64} | CONVOLUTIONS[name]
    options = options | ({"dtype": jnp.dtype(options["dtype"])} if "dtype" in options else {})
    x = jnp.asarray(RNG.normal(size=(2, 4, 5, 5)))
    ours, theirs = (layer(5, 4, **options, rngs=nnx.Rngs(0)) for layer in (our_nnx.ConvTranspose, nnx.ConvTranspose))
    close(nnx.to_pure_dict(nnx.state(ours)), nnx.to_pure_dict(nnx.state(theirs)))
    close(ours(x), theirs(x), 0.02 if "dtype" in options else 1e-10)


@pytest.mark.parametrize("name", NORMS)
def test_a_batch_normalization_of_linen_is_flaxs(name, x64):
    options = {"param_dtype": jnp.float64, "use_fast_variance": False} | NORMS[name]
    x = jnp.asarray(RNG.normal(size=(3, 4, 5)))
    ours, theirs = linen.BatchNorm(**options), nn.BatchNorm(**options)
    variables = ours.init(jax.random.key(0), x, use_running_average=False)
    close(variables, theirs.init(jax.random.key(0), x, use_running_average=False))
    variables = moved(variables)
    variables["batch_stats"]["var"] = jnp.abs(variables["batch_stats"]["var"])
    tolerance = 0.02 if "dtype" in options else 1e-10
    for averaged in (True, False):
        for mask in (None, jnp.arange(4)[:, None] < 3) if name != "another axis" else (None,):
            call = {"use_running_average": averaged, "mask": mask, "mutable": ["batch_stats"]}
            close(ours.apply(variables, x, **call), theirs.apply(variables, x, **call), tolerance)


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types")  # Flax's, of float64 data
@pytest.mark.parametrize("name", NORMS)
def test_a_batch_normalization_of_nnx_is_flaxs(name, x64):
    options = {"param_dtype": jnp.float64, "use_fast_variance": False} | NORMS[name]
    x = jnp.asarray(RNG.normal(size=(3, 4, 5)))
    num = x.shape[options.get("axis", -1)]
    ours, theirs = (layer(num, **options, rngs=nnx.Rngs(0)) for layer in (our_nnx.BatchNorm, nnx.BatchNorm))
    tolerance = 0.02 if "dtype" in options else 1e-10
    for averaged in (False, True):
        close(*(layer(x, use_running_average=averaged) for layer in (ours, theirs)), tolerance)
        close(*(nnx.to_pure_dict(nnx.state(layer)) for layer in (ours, theirs)), tolerance)


def test_two_derivatives_of_batch_normalization_are_flaxs(x64):
    options = {"use_running_average": False, "param_dtype": jnp.float64, "use_fast_variance": False}
    x = jnp.asarray(RNG.normal(size=(6, 4)))
    ours, theirs = linen.BatchNorm(**options), nn.BatchNorm(**options)
    variables = moved(theirs.init(jax.random.key(0), x))

    def function(layer):
        return lambda params, x: layer.apply(variables | {"params": params}, x, mutable=["batch_stats"])[0]

    close(*(second_derivatives(function(layer), variables["params"], x) for layer in (ours, theirs)))


@pytest.mark.parametrize("name", ["elu", "relu", "leaky_relu", "gelu", "silu", "softplus", "sigmoid", "tanh"])
def test_activations_are_jaxs_in_two_derivatives(name, x64):
    x = jnp.asarray(RNG.normal(size=20))
    assert getattr(linen, name) is getattr(our_nnx, name) is getattr(functions, name)
    ours, theirs = (partial(lambda f, p, x: p * f(x), getattr(of, name)) for of in (functions, nn))
    close(ours(2.0, x), theirs(2.0, x))
    close(second_derivatives(ours, 2.0, x), second_derivatives(theirs, 2.0, x))


def test_relu_has_the_mean_slope_at_0():
    """The one difference of an activation: with JAX's slope 0, latents under batch normalization never leave 0."""
    assert (jax.grad(functions.relu)(0.0), jax.grad(nn.relu)(0.0)) == (0.5, 0.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: linen.ConvTranspose(1, (3,), preferred_element_type=jnp.float32).init(KEY, x), "preferred_element"),
        (lambda x: linen.ConvTranspose(1, (3,), padding="CAUSAL").init(KEY, x), "CAUSAL"),
        (lambda x: linen.ConvTranspose(1, (3,), mask=jnp.ones(3)).init(KEY, x), "a mask of the kernel's shape"),
        (lambda x: functions.elu(x, 0.5), "the argument x alone"),
        (lambda x: functions.batch_norm(x, axis=5), "an axis of x, which has 3, .*got axis=5"),
    ],
    ids=["accumulation", "padding", "mask", "constants of an activation", "axis"],
)
def test_arguments_that_cannot_be_honored_are_refused_in_one_line(call, words):
    with pytest.raises((TypeError, ValueError), match=words) as error:
        call(jnp.ones((1, 4, 2)))
    assert "\n" not in str(error.value)


class Decoder(nn.Module):
    """A small decoder of Linen's or of our layers."""

    layers: object
    averaged: bool | None = False

    @nn.compact
    def __call__(self, z):
        x = self.layers.ConvTranspose(4, (3, 3), padding="VALID", param_dtype=jnp.float64)(z[:, None, None])
        x = self.layers.elu(self.layers.BatchNorm(self.averaged, momentum=0.0, param_dtype=jnp.float64)(x))
        return self.layers.ConvTranspose(1, (5, 5), strides=(2, 2), param_dtype=jnp.float64)(x)


@pytest.mark.slow
def test_a_decoder_of_our_layers_is_flaxs_in_training_and_evaluation(x64):
    """Through the adapter: fast forms are the definition, losses, gradients and latents by averages are Flax's."""
    x = jnp.asarray(RNG.normal(size=(5, 6, 6, 1)))
    ours, theirs = (from_linen(Decoder(layers), (3,), independent=True) for layers in (linen, nn))
    params = ours.init(KEY)

    def trained(decoder):
        model = gon(decoder, step_size=0.01)
        variables = model.init(KEY)

        def loss(params):
            return model.loss(variables._replace(params=params), {"x": x}, KEY)

        (value, stats), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        return value, gradient, model.encode(variables._replace(stats=stats), x)

    close(trained(ours), trained(theirs), 1e-8)
    errors = compare_with_definition(ours, params, KEY, step_size=0.01)
    assert errors and max(errors.values()) < 1e-10


@pytest.mark.slow
def test_averages_of_the_decoding_pass_are_wrong_at_the_origin(x64):
    """What evaluation by Flax's own running averages does: there all examples are one, and the variance is 0."""
    network, averaged = Decoder(nn), Decoder(nn, averaged=True)
    variables = network.init(KEY, jnp.zeros((1, 3)))
    x, z0 = jnp.asarray(RNG.normal(size=(5, 6, 6, 1))), jnp.zeros((5, 3))

    def in_training(params, z):
        return network.apply(variables | {"params": params}, z, mutable=["batch_stats"])[0]

    z = encode(in_training, variables["params"], x, z0)
    _, stats = network.apply(variables, z, mutable=["batch_stats"])

    def in_evaluation(params, z):
        return averaged.apply({"params": params} | stats, z)

    assert jnp.abs(encode(in_evaluation, variables["params"], x, z0)).max() < 0.01 * jnp.abs(z).max()
    model = gon(from_linen(network, (3,), independent=True), step_size=1.0)
    trained = model.init(KEY)._replace(params=variables["params"])
    trained = trained._replace(stats=model.loss(trained, {"x": x}, KEY)[1])
    close(model.encode(trained, x), z, 1e-8)


class EquinoxDecoder(equinox.Module):
    """Equinox's layer with our function: its weights are `(out, in, *k)`, its images `[C, *n]`."""

    layer: equinox.nn.ConvTranspose2d
    norm: equinox.nn.GroupNorm

    def __init__(self, key):
        self.layer = equinox.nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1, key=key)
        self.norm = equinox.nn.GroupNorm(1, 3)

    def __call__(self, z, ours=True):
        x = self.norm(jnp.broadcast_to(z[:, None, None], (3, 4, 4)) * jnp.arange(16.0).reshape(4, 4))
        if not ours:
            return functions.elu(self.layer(x))
        order = ("NCHW", "OIHW", "NCHW")
        y = functions.conv_transpose(x[None], self.layer.weight, (2, 2), ((2, 2), (2, 2)), dimension_numbers=order)
        return functions.elu(y[0] + self.layer.bias)


@pytest.mark.slow
def test_a_decoder_of_equinox_takes_our_functions(x64):
    module, z = EquinoxDecoder(KEY), jnp.asarray(RNG.normal(size=3))
    close(module(z), module(z, ours=False))
    decoder = from_equinox(EquinoxDecoder, (3,))
    errors = compare_with_definition(decoder, decoder.init(KEY), KEY, step_size=0.1)
    assert errors and max(errors.values()) < 1e-10
