"""Networks of other libraries as decoders: equal to the same network by hand, batch statistics included."""

import equinox
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gon_jax import Decoder, compare_with_definition
from gon_jax.decoders import from_equinox, from_function, from_linen, from_nnx, mixed_precision
from gon_jax.models import gon, vgon

EPSILON = 1e-5
pytestmark = pytest.mark.usefixtures("x64")


class LinenDecoder(nn.Module):
    """With batch normalization of the usual kind, whose use of running averages its author left to an argument."""

    norm: bool = True

    @nn.compact
    def __call__(self, z):
        x = nn.Dense(6, param_dtype=jnp.float64)(z)
        if self.norm:
            x = nn.BatchNorm(use_running_average=False, momentum=0.9, param_dtype=jnp.float64)(x)
        return nn.Dense(8, param_dtype=jnp.float64)(nn.tanh(x)).reshape(-1, 2, 4, 1)


class NNXDecoder(nnx.Module):
    def __init__(self, rngs, norm=True):
        self.first = nnx.Linear(3, 6, rngs=rngs, param_dtype=jnp.float64)
        self.norm = nnx.BatchNorm(6, rngs=rngs, momentum=0.9, param_dtype=jnp.float64) if norm else lambda x: x
        self.last = nnx.Linear(6, 8, rngs=rngs, param_dtype=jnp.float64)

    def __call__(self, z):
        return self.last(nnx.tanh(self.norm(self.first(z)))).reshape(-1, 2, 4, 1)


class EquinoxDecoder(equinox.Module):
    first: equinox.nn.Linear
    last: equinox.nn.Linear
    activation: object

    def __init__(self, key):
        keys = jax.random.split(key)
        self.first = equinox.nn.Linear(3, 6, key=keys[0], dtype=jnp.float64)
        self.last = equinox.nn.Linear(6, 8, key=keys[1], dtype=jnp.float64)
        self.activation = jnp.tanh

    def __call__(self, z):  # one latent [k], as Equinox's modules take it
        return self.last(self.activation(self.first(z))).reshape(2, 4, 1)


def by_hand(norm):
    """Return the same network, in plain JAX, of parameters by name."""

    def apply(params, z, stats=None):
        x = z @ params["first"]["kernel"] + params["first"]["bias"]
        if norm:
            if stats is None:
                mean = x.mean(axis=0)
                stats = {"mean": mean, "var": jnp.square(x - mean).mean(axis=0)}
            x = (x - stats["mean"]) * jax.lax.rsqrt(stats["var"] + EPSILON)
            x = x * params["norm"]["scale"] + params["norm"]["bias"]
        output = jnp.tanh(x) @ params["last"]["kernel"] + params["last"]["bias"]
        return output.reshape(-1, 2, 4, 1), stats

    return Decoder(apply, None, (3,), independent=True, batch_statistics=norm)


def linen_params(params):
    names = {"first": "Dense_0", "last": "Dense_1"} | ({"norm": "BatchNorm_0"} if "BatchNorm_0" in params else {})
    return {ours: params[theirs] for ours, theirs in names.items()}


def equinox_params(params):
    kernel, bias, last_kernel, last_bias = params
    return {"first": {"kernel": kernel.T, "bias": bias}, "last": {"kernel": last_kernel.T, "bias": last_bias}}


CASES = {
    "linen": (lambda: from_linen(LinenDecoder(norm=False), (3,), independent=True), linen_params, False),
    "linen, batch norm": (lambda: from_linen(LinenDecoder(), (3,), independent=True), linen_params, True),
    "nnx": (lambda: from_nnx(lambda rngs: NNXDecoder(rngs, norm=False), (3,), independent=True), dict, False),
    "nnx, batch norm": (lambda: from_nnx(NNXDecoder, (3,), independent=True), dict, True),
    "equinox": (lambda: from_equinox(EquinoxDecoder, (3,)), equinox_params, False),
}


def perturbed(params):
    """Move parameters away from zeros and ones."""
    leaves, structure = jax.tree.flatten(params)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [leaf + 0.1 * rng.normal(size=leaf.shape) for leaf in leaves])


@pytest.mark.parametrize("case", CASES)
def test_a_network_is_the_same_one_by_hand(case):
    make, names, norm = CASES[case]
    decoder, hand = make(), by_hand(norm)
    assert (decoder.independent, decoder.batch_statistics) == (True, norm)
    params = perturbed(decoder.init(jax.random.key(0)))
    z = jax.random.normal(jax.random.key(1), (5, 3), jnp.float64)
    (output, stats), (expected, expected_stats) = decoder.apply(params, z), hand.apply(names(params), z)
    np.testing.assert_allclose(output, expected, rtol=1e-12)
    if not norm:
        assert stats is None
        return
    for ours, theirs in zip(jax.tree.leaves(stats), jax.tree.leaves(expected_stats), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    alone, _ = decoder.apply(params, z[:1], stats)  # given statistics, an example does not depend on its batch
    np.testing.assert_allclose(alone, expected[:1], rtol=1e-12)


@pytest.mark.quick("linen, batch norm", "nnx", "equinox")
@pytest.mark.parametrize("case", CASES)
def test_latents_and_gradients_are_those_of_the_definition(case):
    make, names, norm = CASES[case]
    decoder, hand = make(), by_hand(norm)
    params = perturbed(decoder.init(jax.random.key(0)))
    errors = compare_with_definition(decoder, params, jax.random.key(1), step_size=0.1)
    assert errors and max(errors.values()) < 1e-10
    x = jax.random.uniform(jax.random.key(2), (6, 2, 4, 1), jnp.float64)
    model = gon(decoder._replace(init=lambda key: params))
    reference = gon(hand._replace(init=lambda key: names(params)))
    variables, by_hand_variables = model.init(jax.random.key(0)), reference.init(jax.random.key(0))
    np.testing.assert_allclose(
        model.encode(variables._replace(stats=None), x),
        reference.encode(by_hand_variables._replace(stats=None), x),
        rtol=1e-10,
    )


@pytest.mark.parametrize("model", [gon, lambda decoder: vgon(decoder, inner_noise="none")], ids=["gon", "vgon"])
@pytest.mark.parametrize("case", ["linen, batch norm", "nnx, batch norm"])
def test_evaluation_by_averages_does_not_depend_on_the_batch(case, model):
    decoder = CASES[case][0]()
    model = model(decoder)
    variables = model.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(2), (6, 2, 4, 1), jnp.float64)
    loss, stats = model.loss(variables, {"x": x}, jax.random.key(3))
    assert jnp.isfinite(loss)
    assert jax.tree.structure(stats) == jax.tree.structure(variables.stats)
    variables = variables._replace(stats=stats)
    z = model.encode(variables, x)
    np.testing.assert_allclose(model.encode(variables, x[:2]), z[:2], rtol=1e-9)
    np.testing.assert_allclose(model.decode(variables, z[:2]), model.decode(variables, z)[:2], rtol=1e-9)
    by_batch = model.encode(variables._replace(stats=None), x)  # averages of one batch: its own statistics
    if model.likelihood.name == "squared_error":
        np.testing.assert_allclose(z, by_batch, rtol=1e-9)


def test_a_function_is_adapted():
    decoder = from_function(lambda w, z: z @ w, lambda key: jnp.ones((3, 4)), (3,), output_range=(0, 1))
    assert not decoder.independent and decoder.output_range == (0, 1)
    output, stats = decoder.apply(jnp.ones((3, 4)), jnp.ones((2, 3)))
    assert stats is None and (output == 3).all()


def test_other_collections_are_refused():
    class Dropping(nn.Module):
        @nn.compact
        def __call__(self, z):
            self.variable("cache", "last", lambda: z)
            return z

    with pytest.raises(ValueError, match="collections.*cache"):
        from_linen(Dropping(), (3,))


def test_a_batch_norm_layer_keeps_what_its_author_set():
    layer = nn.BatchNorm(use_running_average=True, momentum=0.99)
    decoder = from_linen(layer, (3,), independent=True)
    decoder.apply(decoder.init(jax.random.key(0)), jnp.ones((2, 3)))
    assert layer.use_running_average is True and layer.momentum == 0.99 and layer.use_fast_variance


class LinenTwice(nn.Module):
    @nn.compact
    def __call__(self, z):
        norm = nn.BatchNorm(use_running_average=False)
        return nn.Dense(3)(norm(nn.Dense(6)(norm(nn.Dense(6)(z)))))


class LinenDropout(nn.Module):
    @nn.compact
    def __call__(self, z, train: bool = True):
        return nn.Dropout(0.5, deterministic=not train)(nn.Dense(3)(z))


class LinenTrain(nn.Module):
    @nn.compact
    def __call__(self, z, train: bool):
        return nn.BatchNorm(use_running_average=not train)(nn.Dense(3)(z))


class NNXTwice(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second = nnx.Linear(3, 6, rngs=rngs), nnx.Linear(6, 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)

    def __call__(self, z):
        return self.norm(self.second(self.norm(self.first(z))))


class NNXDropout(nnx.Module):
    def __init__(self, rngs):
        self.layer, self.dropout = nnx.Linear(3, 6, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, z):
        return self.dropout(self.layer(z))


class EquinoxDrawn(equinox.Module):
    weight: jax.Array
    order: jax.Array

    def __init__(self, key):
        self.weight, self.order = jax.random.normal(key, (3,)), jax.random.permutation(key, 3)

    def __call__(self, z):
        return (self.weight * z)[self.order]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: from_linen(LinenTwice(), (3,), independent=True), "called once"),
        (lambda: from_nnx(NNXTwice, (3,), independent=True), "called once"),
        (lambda: from_linen(LinenDropout(), (3,), independent=True), "LinenDropout.*deterministic=True"),
        (lambda: from_nnx(NNXDropout, (3,), independent=True), "Dropout"),
        (lambda: from_equinox(EquinoxDrawn, (3,)), "do not depend on the key"),
    ],
    ids=[
        "linen, a norm used twice",
        "nnx, a norm used twice",
        "linen, dropout",
        "nnx, dropout",
        "equinox, drawn constants",
    ],
)
def test_what_would_be_silently_wrong_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        decoder = make()
        decoder.output(decoder.init(jax.random.key(1)), jnp.ones((2, 3)))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (LinenTrain(), "'train'.*`train: bool = True`"),
        (LinenTrain, r"call it, LinenTrain\(\)"),
        (lambda z: z, "expected module, a Module, got .*from_function takes a function"),
        ("Dense", "expected module, a Module, got 'Dense'"),
    ],
    ids=["an argument without a default", "a class", "a function", "a word"],
)
def test_what_is_not_called_as_a_decoder_is_refused(module, words):
    with pytest.raises(TypeError, match=words):
        from_linen(module, (3,), independent=True)


def test_a_latent_shape_that_is_a_number_is_refused():
    with pytest.raises(ValueError, match="latent_shape.*in a tuple, got 3"):
        from_linen(nn.Dense(2), 3)


def test_statistics_of_nnx_in_16_bits_are_in_32():
    decoder = mixed_precision(from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs), (3,), independent=True))
    _, stats = decoder.apply(decoder.init(jax.random.key(0)), jnp.ones((4, 3), jnp.float32))
    assert stats["mean"].dtype == jnp.float32


def test_a_coupling_that_vanishes_at_the_origin_is_seen():
    decoder = from_function(lambda w, z: (z @ w) * (1 + z.var()), None, (3,), independent=True)
    assert min(compare_with_definition(decoder, jnp.eye(3), jax.random.key(0)).values()) > 0.1
