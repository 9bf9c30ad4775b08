"""GLO against plain loops: latents trained one by one beside the decoder, and latents found by Adam."""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gon_jax.base import Capabilities, Variables
from gon_jax.checkpoints import Checkpoints
from gon_jax.decoders import conv_decoder, from_function
from gon_jax.models.glo import glo
from gon_jax.training import fit, init_state, make_optimizer, train_step, train_steps

SHAPE, K, N = (4, 4, 1), 3, 7
IMAGES = np.random.default_rng(0).uniform(size=(N, *SHAPE)).astype(np.float32)
METRICS = {"validation.squared_error": 0.0}


def decoder(activation=lambda a: a, k=K):
    """F(z) = activation(z w), of images 4 x 4."""
    return from_function(
        lambda w, z: activation(z @ w).reshape(-1, *SHAPE),
        lambda key: jax.random.normal(key, (k, 16)) / 2,
        (k,),
        independent=True,
    )


def adam_by_hand(value, gradient, moments, count, rate):
    """Return the value after Adam's step number `count`, from 1, and the moments."""
    m, v = 0.9 * moments[0] + 0.1 * gradient, 0.999 * moments[1] + 0.001 * gradient**2
    return value - rate * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8), (m, v)


def assert_same_bits(a, b):
    def raw(leaf):
        return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert np.asarray(raw(x)).tobytes() == np.asarray(raw(y)).tobytes()


# -- training --------------------------------------------------------------------------------------------------------


def test_steps_are_those_of_a_plain_loop(x64, double):
    """Each latent has Adam's moments and count of its own, and the gradient of its own example's loss."""
    model, optimizer = glo(decoder(jnp.tanh)), make_optimizer(0.02)
    start = state = double(init_state(model, optimizer, jax.random.key(0), num_examples=N))
    x = IMAGES.astype(np.float64)
    step = jax.jit(partial(train_step, model, optimizer, latent_optimizer=make_optimizer(0.1)))

    def own_loss(w, z, x):
        return jnp.square(jnp.tanh(z @ w) - x.reshape(-1)).sum()

    gradients = jax.jit(jax.vmap(jax.value_and_grad(own_loss, (0, 1)), (None, 0, 0)))
    w, w_moments = np.asarray(start.params), (0, 0)
    z, adams = np.array(start.latents.values), [((0, 0), 0)] * N
    for count, index in enumerate([[3, 0, 1], [4, 1, 5], [1, 3, 2], [5, 0, 4], [3, 1, 0]], 1):
        state, loss = step(state, {"x": x[index], "index": jnp.array(index)})
        losses, (w_gradients, z_gradients) = gradients(w, z[index], x[index])
        np.testing.assert_allclose(loss, losses.mean(), rtol=1e-10)
        w, w_moments = adam_by_hand(w, np.asarray(w_gradients).mean(axis=0), w_moments, count, 0.02)
        for i, gradient in zip(index, np.asarray(z_gradients), strict=True):
            moments, times = adams[i]
            z[i], moments = adam_by_hand(z[i], gradient, moments, times + 1, 0.1)
            adams[i] = moments, times + 1
        np.testing.assert_allclose(state.params, w, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(state.latents.values, z, rtol=1e-10, atol=1e-12)
    assert_same_bits(*(jax.tree.map(lambda a: a[6], s.latents) for s in (state, start)))  # never in a batch
    counts = [leaf for leaf in jax.tree.leaves(state.latents.opt_state) if leaf.dtype == jnp.int32]
    np.testing.assert_array_equal(counts[0], [times for _, times in adams])

    # The rate does not depend on the batch size, which Adam would hide.
    sgd = {"latent_optimizer": optax.sgd(0.5)}
    one = init_state(model, optimizer, jax.random.key(0), num_examples=N, **sgd)._replace(params=start.params)
    after, _ = train_step(model, optimizer, one, {"x": x[:4], "index": jnp.arange(4)}, **sgd)
    _, (_, own) = gradients(start.params, one.latents.values[:4], x[:4])
    np.testing.assert_allclose(after.latents.values[:4], one.latents.values[:4] - 0.5 * own, rtol=1e-6)


def test_a_step_costs_the_same_for_any_number_of_data(optimized):
    """Arrays with an entry for each datum are only read from and written to at the batch's entries, in place."""
    num, k = 5000, 64
    model, optimizer = glo(decoder(k=k)), make_optimizer()
    state = jax.eval_shape(partial(init_state, model, optimizer, num_examples=num), jax.random.key(0))
    batch = {"x": jnp.zeros((5, *SHAPE)), "index": jnp.arange(5)}
    jaxpr = jax.make_jaxpr(partial(train_step, model, optimizer))(state, batch)
    touching = {
        eqn.primitive.name
        for eqn in jaxpr.eqns
        if any(getattr(v.aval, "shape", ())[:1] == (num,) for v in [*eqn.invars, *eqn.outvars])
    }
    assert touching == {"gather", "scatter"}

    steps = partial(train_steps, model, optimizer, batch_size=5, num_losses=10)
    data = {"x": jax.ShapeDtypeStruct((num, *SHAPE), jnp.uint8)}
    lowered = jax.jit(steps, donate_argnums=0).lower(state, data, jax.ShapeDtypeStruct((), jnp.int32))
    memory = lowered.compile().memory_analysis()
    latents_bytes = 4 * num * k
    assert memory.alias_size_in_bytes > 3 * latents_bytes  # values and two moments stay where they are
    assert memory.temp_size_in_bytes < latents_bytes / 4  # and none of them is copied; the rest is the epoch's order


def test_interrupted_saved_and_resumed_is_as_if_never_interrupted(tmp_path):
    model = glo(decoder(jax.nn.sigmoid))
    options = {"optimizer": make_optimizer(), "batch_size": 3, "report_every": 4, "progress": False}
    whole = fit(model, IMAGES, 10, jax.random.key(0), **options)
    first = fit(model, IMAGES, 5, jax.random.key(0), **options)
    with Checkpoints(tmp_path, create=True) as checkpoints:
        checkpoints.save(5, first.state, {}, METRICS)
    init = partial(init_state, model, options["optimizer"], num_examples=N)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(init, jax.random.key(1)))
        with pytest.raises(ValueError, match=r"expected float32\[8, 3\] at latents/values, got float32\[7, 3\]"):
            checkpoints.restore(jax.eval_shape(partial(init, num_examples=8), jax.random.key(1)))
    assert_same_bits(restored, first.state)
    assert_same_bits(fit(model, IMAGES, 10, state=restored, **options).state, whole.state)
    assert int((whole.state.latents.values != init(jax.random.key(0)).latents.values).any(axis=1).sum()) == N


def test_checkpoints_of_states_without_latents_are_as_before(tmp_path):
    """Those written when states had no such field can be read, and what is written now, by a version without it."""

    class Before(NamedTuple):
        step: Any
        params: Any
        stats: Any
        opt_state: Any
        key: Any
        ema: Any

    model = dataclasses.replace(glo(decoder()), capabilities=Capabilities())
    now = init_state(model, make_optimizer(), jax.random.key(0))
    before = Before(*now[:-1])
    for written, read in ((before, now), (now, before)):
        folder = tmp_path / type(written).__name__
        with Checkpoints(folder, create=True) as checkpoints:
            checkpoints.save(1, written, {}, METRICS)
            assert_same_bits(checkpoints.restore(jax.eval_shape(lambda read=read: read)), read)


def test_latents_that_are_not_finite_are_never_reported():
    with pytest.raises(FloatingPointError, match="parameters that are not at step 1"):
        fit(
            glo(decoder()),
            IMAGES,
            1,
            jax.random.key(0),
            latent_optimizer=optax.sgd(float("inf")),
            batch_size=3,
            progress=False,
        )


def test_what_is_missing_is_said_before_any_work():
    model, other = glo(decoder()), dataclasses.replace(glo(decoder()), capabilities=Capabilities())
    optimizer = make_optimizer()
    with pytest.raises(ValueError, match="expected num_examples .* got None"):
        init_state(dataclasses.replace(model, init=None), optimizer, jax.random.key(0))
    for state, num in (
        (init_state(model, optimizer, jax.random.key(0), num_examples=4), 4),
        (init_state(other, optimizer, jax.random.key(0)), 0),
    ):
        with pytest.raises(ValueError, match=f"each of the 7 examples, got {num}; ") as caught:
            fit(dataclasses.replace(model, loss=None), IMAGES, 5, state=state, batch_size=3, progress=False)
        assert "\n" not in str(caught.value)


# -- encoding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["independent", "averaged", "by batch"])
def test_latents_are_those_of_a_plain_loop(kind, x64, double):
    """A loop of Adam from 0 on the summed loss, the decoder fixed: at held statistics, or at those of the batch."""
    f = conv_decoder((8, 8, 1), (K,), base_channels=2) if kind != "independent" else decoder(jnp.tanh)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(size=(3, *((8, 8, 1) if kind != "independent" else SHAPE))))
    model = glo(f, num_steps=6, latent_learning_rate=0.2)
    params, stats = double(model.init(jax.random.key(0)))
    if kind != "independent":
        batch = {"x": x, "z": jnp.asarray(rng.normal(size=(3, K)))}
        _, stats = model.loss(Variables(params, stats), batch, None)
    stats = None if kind == "by batch" else stats

    def summed(z):
        return jnp.square(f.output(params, z, stats) - x).sum()

    gradient, z, moments = jax.jit(jax.grad(summed)), np.zeros((3, K)), (0, 0)
    for count in range(1, 7):
        z, moments = adam_by_hand(z, np.asarray(gradient(z)), moments, count, 0.2)
    latents = jax.jit(model.encode)(Variables(params, stats), x)
    np.testing.assert_allclose(latents, z, rtol=1e-7, atol=1e-9)
    assert (np.abs(z).max(axis=0) > 0.1).all()


def test_latents_of_a_linear_decoder_become_least_squares():
    model = glo(decoder(), num_steps=2000, latent_learning_rate=0.02)
    w = model.init(jax.random.key(0)).params
    expected = np.linalg.lstsq(np.asarray(w).T, IMAGES.reshape(N, -1).T, rcond=None)[0].T
    np.testing.assert_allclose(jax.jit(model.encode)(Variables(w), IMAGES), expected, atol=1e-4)


def test_it_learns_what_its_latents_can_say():
    """Data of rank 2: two latents leave far less error than one could, in training and on data never seen."""
    rng = np.random.default_rng(0)
    data = rng.uniform(size=(60, 2)) @ rng.uniform(0, 0.5, size=(2, 16))
    rank_one = np.square(np.linalg.svd(data)[1][1]) / len(data)
    images = data.reshape(60, *SHAPE).astype(np.float32)
    options = {"optimizer": make_optimizer(0.02), "batch_size": 20, "validate_every": 50, "progress": False}
    result = fit(glo(decoder(k=2)), images[:40], 800, jax.random.key(0), validation=images[40:], **options)
    assert result.history[-1]["loss"] < 0.02 * rank_one
    assert result.history[-1]["validation.squared_error"] < 0.02 * rank_one
