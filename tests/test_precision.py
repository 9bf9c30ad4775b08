"""What is a sum or a copy is no product where products are rounded (TF32), and what must be exact says so; ranks.

Programs for GPUs are lowered, not run: no GPU is needed.
"""

import re

import jax
import jax.numpy as jnp
import pytest

from gon_jax.base import Variables
from gon_jax.decoders import from_function
from gon_jax.decoders.coordinate import for_every_latent
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import cotangents, encode_shared
from gon_jax.models import gon
from gon_jax.ops.activations import elu
from gon_jax.ops.bilinear import copies, matmul, scale, scale_each, sum_of_outer, sum_of_products
from gon_jax.ops.sine import sine
from gon_jax.ops.transposed_conv import kernel_gradient, strided_convolution, transposed_convolution
from tests.test_export import MODELS

BATCH = 11  # no other size in the models is


def products(function, *arguments, platform="cuda"):
    """Return the products and convolutions of a function as lowered for a platform: lines of StableHLO."""
    text = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
    return re.findall(r"stablehlo\.(?:dot_general|convolution|dot)\b.*", text)


def gradient(function):
    """Return the gradient in all arguments of the sum of the squares of a function's results."""

    def loss(*arguments):
        return jnp.square(function(*arguments)).sum()

    return lambda *arguments: jax.grad(loss, tuple(range(len(arguments))))(*arguments)


def is_exact(product):
    return product.count("HIGHEST") == 2


def directions(function):
    """Return the derivative of a function in three directions, which makes maps over directions of all primitives."""

    def pushed(x):
        return jax.vmap(jax.linearize(function, x)[1])(jnp.ones((3, *x.shape)))

    return pushed


SUMS = {  # functions that only copy, multiply entry by entry, and add
    "copies": (lambda x: copies(x, BATCH), (2, 3)),
    "points for every latent": (lambda x: for_every_latent(x, BATCH), (7, 4)),
    "activation": (directions(elu), (2, 3)),
    "sine": (directions(sine), (2, 3)),
    "entry by entry": (directions(lambda x: scale(x, x)), (2, 3)),
    "sum of products": (lambda x: sum_of_products(x, x), (BATCH, 3)),
    "scale each": (lambda x: scale_each(x[0], x), (BATCH, 3)),
    "cotangents": (lambda x: cotangents(squared_error, x[0], x), (BATCH, 3)),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums_and_copies_are_no_products(name):
    function, shape = SUMS[name]
    for each in (function, gradient(function), gradient(lambda x: gradient(function)(x)[0])):
        for platform in ("cuda", "rocm", "tpu"):
            assert products(each, jnp.ones(shape), platform=platform) == []
        assert all(map(is_exact, products(each, jnp.ones(shape), platform="cpu")))


def test_on_cpus_a_sum_over_directions_is_a_product():
    """Many times faster there; see docs/algebra.md."""
    (product,) = products(sum_of_products, *[jnp.ones((BATCH, 3))] * 2, platform="cpu")
    assert is_exact(product)


@pytest.mark.parametrize(
    "name", ["gon batch", "gon group", "siren", "gon shared outputs", "least squares", "vgon siren"]
)
def test_no_model_multiplies_by_ones(name):
    """Products with a row or a column of ones for each example, in a training step."""
    model = MODELS[name]()
    variables = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((BATCH, *model.data_shape), jnp.float32)

    def loss(params, x):
        return model.loss(Variables(params), {"x": x}, jax.random.key(1))[0]

    found = products(jax.grad(loss), variables.params, x)
    assert found and not [line for line in found if re.search(rf"tensor<({BATCH}x1|1x{BATCH})xf32>", line)]


def entrywise():
    """A decoder without products, so that all there are in an encoder are the encoder's own."""
    return from_function(lambda w, z: jnp.tanh(z * w[None]), lambda key: jnp.ones(3), (3,), independent=True)


def by_least_squares(w, x):
    encoder = least_squares_encoder(entrywise(), w, jnp.zeros(3))
    return encoder.encode(cotangents(squared_error, encoder.output, x))


@pytest.mark.parametrize("precision", [None, "bfloat16", "tensorfloat32"])
@pytest.mark.parametrize(
    "encode",
    [
        lambda w, x: encode_shared(entrywise(), w, x, jnp.zeros(3), strategy="jacobian"),
        by_least_squares,
        lambda w, x: gon(entrywise(), step_size=1.0).capabilities.freeze(Variables(w)).matrix,
    ],
    ids=["jacobian", "least squares", "frozen"],
)
def test_products_with_the_jacobian_are_exact(encode, precision):
    """Whatever the default is, derivatives included."""
    arguments = jnp.ones(3), jnp.ones((BATCH, 3))
    for function in (encode, gradient(encode)):
        with jax.default_matmul_precision(precision):
            assert all(map(is_exact, products(function, *arguments)))
    assert products(gradient(by_least_squares), *arguments)


PRODUCTS = {
    "matmul": (matmul, (5, 3), (3, 2)),
    "sum_of_outer": (sum_of_outer, (5, 3), (5, 2)),
    "transposed_convolution": (transposed_convolution, (2, 4, 4, 3), (3, 4, 4, 2)),
    "strided_convolution": (strided_convolution, (2, 8, 8, 2), (3, 4, 4, 2)),
    "kernel_gradient": (kernel_gradient, (2, 4, 4, 3), (2, 8, 8, 2)),
}


@pytest.mark.parametrize("name", PRODUCTS)
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_primitives_have_the_precision_of_their_call(name, platform):
    """As products of `jax.numpy` have it, derivatives too: also where the default was changed inside of a program."""
    function, *shapes = PRODUCTS[name]
    arguments = [jnp.ones(shape) for shape in shapes]

    def exact(*arguments):
        with jax.default_matmul_precision("highest"):
            return function(*arguments)

    assert not any(map(is_exact, products(function, *arguments, platform=platform)))
    mapped, several = jax.vmap(exact, (0, None)), jnp.stack([arguments[0]] * 2)
    for each, given in ((exact, arguments), (gradient(exact), arguments), (mapped, (several, arguments[1]))):
        found = products(each, *given, platform=platform)
        assert found and all(map(is_exact, found))


@pytest.mark.parametrize("name", ["gon none", "vae", "siren"])
def test_a_whole_step_has_the_default_precision(name):
    """`jax.default_matmul_precision` around `fit`, or `jax_default_matmul_precision`, reaches every product."""
    model = MODELS[name]()
    variables = jax.eval_shape(model.init, jax.random.key(0))
    x = jax.ShapeDtypeStruct((BATCH, *model.data_shape), jnp.float32)

    def loss(params, x):
        return model.loss(Variables(params), {"x": x}, jax.random.key(1))[0]

    with jax.default_matmul_precision("highest"):
        found = products(jax.grad(loss), variables.params, x)
    assert len(found) > 5 and all(map(is_exact, found))


# -- ranks -----------------------------------------------------------------------------------------------------------


@pytest.mark.quick("gon *", "vgon", "classifier", "siren", "multi-step", "glo", "vae")
@pytest.mark.parametrize("name", MODELS)
def test_models_do_not_promote_ranks(name):
    """While they are traced, which is when ranks are promoted."""
    batch = {
        "y": jax.ShapeDtypeStruct((BATCH,), jnp.int32),
        "key": jax.eval_shape(lambda: jax.random.split(jax.random.key(0), BATCH)),
    }
    with jax.numpy_rank_promotion("raise"):
        model = MODELS[name]()
        variables, can = jax.eval_shape(model.init, jax.random.key(0)), model.capabilities
        batch["x"] = batch["target"] = jax.ShapeDtypeStruct((BATCH, *model.data_shape), jnp.float32)
        batch["z"] = jax.ShapeDtypeStruct((BATCH, *model.latent_shape), jnp.float32)

        def loss(params, batch):
            return model.loss(Variables(params), batch, jax.random.key(1))[0]

        jax.eval_shape(jax.value_and_grad(loss), variables.params, {k: v for k, v in batch.items() if k != "key"})
        for each in (variables, Variables(variables.params)):
            jax.eval_shape(model.decode, each, jax.eval_shape(model.encode, each, batch["x"]))
        if can.sample is not None:
            jax.eval_shape(lambda variables: can.sample(variables, jax.random.key(0), 2), variables)
        if can.bound is not None:
            jax.eval_shape(can.bound, variables, batch["x"], batch["key"])
        if can.at is not None:
            there = can.at(jnp.zeros((7, 2)), jnp.ones(7))
            jax.eval_shape(there.encode, variables, jax.ShapeDtypeStruct((BATCH, 7, 1), jnp.float32))
