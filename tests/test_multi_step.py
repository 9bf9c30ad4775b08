"""The multi-step GON against the plain loop, in float64; its memory; and evaluation by averaged statistics."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Decoder, Variables
from gon_jax.encoding import encode
from gon_jax.likelihoods import bernoulli, squared_error
from gon_jax.models.gon import gon
from gon_jax.models.multi_step import multi_step_gon

KEY = jax.random.key(1)
X = np.random.default_rng(0).uniform(size=(5, 8, 8, 1))


def mlp(kind="independent", hidden=6):
    """A decoder of 8x8 images, small; with batch statistics its two hidden layers are normalized."""
    normalized = kind == "batch_statistics"

    def apply(params, z, stats=None):
        used = []
        for i, layer in enumerate(params["hidden"]):
            z = z @ layer
            if normalized:
                used.append((z.mean(axis=0), z.var(axis=0)) if stats is None else stats[i])
                z = (z - used[-1][0]) * jax.lax.rsqrt(used[-1][1] + 1e-3)
            z = jnp.tanh(z + params["bias"][i])
        return (z @ params["last"]).reshape(-1, 8, 8, 1), used if normalized else None

    def init(key):
        shapes = [(3, hidden), (hidden, hidden), (hidden, 64), (2, hidden)]
        keys = jax.random.split(key, 4)
        *layers, last, bias = (0.5 * jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True))
        return {"hidden": layers, "last": last, "bias": bias}

    return Decoder(apply, init, (3,), independent=kind != "coupled", batch_statistics=normalized)


def moved(params, scale=0.1):
    """Move every parameter off its start, where beta = 0 sits on ELU's kink, into float64."""
    rng = np.random.default_rng(7)
    return jax.tree.map(lambda a: jnp.asarray(a + scale * rng.normal(size=a.shape), jnp.float64), params)


def value_and_gradient(function, params):
    return jax.jit(jax.value_and_grad(function))(params)


def assert_same(ours, definition, rtol=1e-9):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(definition), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(jnp.abs(b).max()) + 1e-13)


def run(model, params, x):
    return value_and_gradient(lambda p: model.loss(Variables(p), {"x": x}, KEY)[0], params)


@pytest.mark.quick("coupled", "independent")
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    "decoder, likelihood, num_steps",
    [(mlp("batch_statistics"), squared_error, 3), (mlp(), bernoulli, 4), (mlp("coupled"), squared_error, 2)],
    ids=["batch_statistics", "independent", "coupled"],
)
def test_loss_and_gradient_are_the_plain_loops(decoder, likelihood, num_steps):
    """Detached, the gradient is that with z a constant, and another one."""
    options, x = {"likelihood": likelihood, "step_size": 0.01, "num_steps": num_steps}, jnp.asarray(X)
    joint, detached = (multi_step_gon(decoder, detached=detached, **options) for detached in (False, True))
    params = moved(joint.init(jax.random.key(0)).params)

    def latents(params):
        return encode(decoder.output, params["decoder"], x, jnp.zeros((5, 3)), **options)

    def loss(params, z):
        return likelihood(decoder.output(params["decoder"], z), x).mean()

    z = jax.jit(latents)(params)
    np.testing.assert_allclose(jax.jit(joint.encode)(Variables(params), x), z, rtol=1e-9)
    through = run(joint, params, x)
    assert_same(through, value_and_gradient(lambda params: loss(params, latents(params)), params))
    constant = run(detached, params, x)
    assert_same(constant, value_and_gradient(lambda params: loss(params, z), params))
    for a, b in zip(jax.tree.leaves(constant[1]), jax.tree.leaves(through[1]), strict=True):
        assert jnp.abs(a - b).max() > 1e-3 * jnp.abs(b).max()


@pytest.mark.usefixtures("x64")
def test_learned_origin_and_step_size_have_the_difference_quotients_gradient():
    model = multi_step_gon(mlp(), num_steps=2, step_size=0.02, learn_origin=True, learn_step_size=True)
    start = model.init(jax.random.key(0)).params
    assert (start["origin"] == 0).all() and abs(float(jnp.exp(start["log_step_size"])) - 0.02) < 1e-8
    params, eps = moved(start), 1e-6
    loss = jax.jit(lambda p: model.loss(Variables(p), {"x": jnp.asarray(X)}, KEY)[0])
    gradient = jax.jit(jax.grad(loss))(params)
    for name, direction in {"origin": jnp.array([1.0, -0.5, 2.0]), "log_step_size": jnp.array(1.0)}.items():
        ends = [loss(params | {name: params[name] + sign * eps * direction}) for sign in (1, -1)]
        quotient, slope = (ends[0] - ends[1]) / (2 * eps), (gradient[name] * direction).sum()
        assert abs(slope) > 1e-4
        np.testing.assert_allclose(slope, quotient, rtol=1e-5)


@pytest.mark.parametrize("kind", ["independent", "batch_statistics"])
def test_one_step_is_the_gon(kind):
    ours, theirs = multi_step_gon(mlp(kind), num_steps=1), gon(mlp(kind))
    x, key = jnp.asarray(X, jnp.float32), jax.random.key(0)
    a, b = ours.init(key), theirs.init(key)
    (loss, stats), (gon_loss, gon_stats) = (m.loss(v, {"x": x}, KEY) for m, v in [(ours, a), (theirs, b)])
    np.testing.assert_allclose(loss, gon_loss, rtol=1e-6)
    for statistics, gon_statistics in [(None, None), (stats, gon_stats)]:
        z = theirs.encode(Variables(b.params, gon_statistics), x)
        np.testing.assert_allclose(ours.encode(Variables(a.params, statistics), x), z, rtol=1e-4, atol=1e-6)
    averaged, gon_averaged = Variables(a.params, stats), Variables(b.params, gon_stats)
    np.testing.assert_array_equal(
        ours.capabilities.freeze(averaged).matrix, theirs.capabilities.freeze(gon_averaged).matrix
    )
    np.testing.assert_allclose(ours.decode(averaged, z), theirs.decode(gon_averaged, z), rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_encodings_of_appendix_c():
    """Drawn starts: z0 - grad and -grad differ by z0; in a batch each has its own draw, alone all have one."""
    x, model = jnp.asarray(X), partial(multi_step_gon, mlp(), num_steps=2, step_size=0.01, learn_origin=True)
    params = moved(model().init(jax.random.key(0)).params)

    def difference(**options):
        step, gradient = (model(encoding=e, **options).encode(Variables(params), x) for e in ("step", "gradient"))
        return step - gradient

    np.testing.assert_allclose(difference(), jnp.broadcast_to(params["origin"], (5, 3)), rtol=1e-12)
    drawn = difference(origin_scale=0.5)
    assert jnp.ptp(drawn, axis=0).max() < 1e-12 and jnp.abs(drawn[0] - params["origin"]).max() > 0.1

    # In training, starts are of the step's key, of this spread, and the latent is the plain loop's from there.
    scaled = model(origin_scale=0.5, encoding="gradient")
    losses = [scaled.loss(Variables(params), {"x": x}, jax.random.key(i))[0] for i in (0, 1)]
    assert abs(losses[0] - losses[1]) > 1e-6
    z0 = params["origin"] + 0.5 * jax.random.normal(KEY, (5, 3), x.dtype)
    z = encode(mlp().output, params["decoder"], x, z0, step_size=0.01, num_steps=2) - z0
    definition = squared_error(mlp().output(params["decoder"], z), x).mean()
    np.testing.assert_allclose(scaled.loss(Variables(params), {"x": x}, KEY)[0], definition, rtol=1e-12)

    batch = multi_step_gon(mlp("batch_statistics"), num_steps=2, origin_scale=0.5, step_size=1e-9)
    variables = batch.init(jax.random.key(0))
    assert batch.encode(Variables(variables.params), x).std(axis=0).min() > 0.1
    assert jnp.ptp(batch.encode(variables, x), axis=0).max() < 1e-4


@pytest.mark.slow
def test_memory_grows_by_the_latents_alone(optimized):
    x, decoder = jnp.ones((16, 8, 8, 1)), mlp("batch_statistics", hidden=64)

    def memory(num_steps):
        model = multi_step_gon(decoder, num_steps=num_steps)
        loss = jax.jit(jax.grad(lambda p: model.loss(Variables(p), {"x": x}, KEY)[0]))
        params = jax.eval_shape(model.init, jax.random.key(0)).params
        return loss.lower(params).compile().memory_analysis().temp_size_in_bytes

    two, sixteen = memory(2), memory(16)
    of_a_step = 4 * (16 * 3 + 4 * 64)  # latents; means and variances; a residual of one pass is 4096
    assert sixteen - two < 1.5 * 14 * of_a_step + 2048, (two, sixteen)


@pytest.mark.quick("1-*")
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("num_steps, tolerance", [(1, 1e-12), (2, 0.05), (3, 0.05)])
def test_averages_of_a_batch_encode_it_as_the_batch(num_steps, tolerance):
    """One step from one origin exactly; later ones nearly."""
    model = multi_step_gon(mlp("batch_statistics"), num_steps=num_steps, step_size=3e-4)
    x, params = jnp.asarray(X), moved(model.init(jax.random.key(0)).params)
    stats = jax.jit(lambda params: model.loss(Variables(params), {"x": x}, KEY)[1])(params)
    by_batch, encode_ = Variables(params), jax.jit(model.encode)
    batch, ours = encode_(by_batch, x), encode_(Variables(params, stats), x)
    assert jnp.abs(ours - batch).max() < tolerance * batch.std()
    np.testing.assert_allclose(encode_(Variables(params, stats), x[2:3]), ours[2:3], rtol=1e-9)
    np.testing.assert_allclose(model.decode(Variables(params, stats), batch), model.decode(by_batch, batch), rtol=1e-9)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_steps": 0}, "num_steps, a whole number of at least 1, got 0"),
        ({"step_size": 0.0}, "step_size, a number above 0, got 0.0"),
        ({"origin_scale": -1.0}, "-1.0"),
        ({"encoding": "z"}, "'z'"),
        ({"detached": True, "learn_origin": True}, "learn_origin"),
    ],
)
def test_misuse_is_named(options, words):
    with pytest.raises(ValueError, match=words) as caught:
        multi_step_gon(mlp(), **options)
    assert "\n" not in str(caught.value) and "expected" in str(caught.value) and "got" in str(caught.value)
