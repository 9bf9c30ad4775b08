"""One step, many in a call, and the loop: the same numbers however it is cut, and nothing compiled twice."""

import dataclasses
import gc
import os
import signal
import weakref
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tqdm.auto import tqdm

from gon_jax.base import Model, Variables
from gon_jax.decoders import conv_decoder, conv_encoder, from_function
from gon_jax.likelihoods import squared_error
from gon_jax.metrics import evaluate
from gon_jax.models import autoencoder, glo, gon, gon_classifier, multi_step_gon, vgon
from gon_jax.training import NonFiniteLossError, fit, init_state, make_optimizer, train_step

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)


def counting_model(num_examples):
    """A model whose parameters count, under plain gradient descent of rate 1, how often each example was seen."""
    return Model(
        init=lambda key: Variables(jnp.zeros(num_examples)),
        loss=lambda variables, batch, key: (-variables.params[batch["index"]].sum(), None),
        encode=lambda variables, x: x,
        decode=None,
        data_shape=(8, 8, 1),
        latent_shape=(1,),
        likelihood=squared_error,
    )


@pytest.fixture(scope="module")
def small():
    return gon(conv_decoder((8, 8, 1), (3,), base_channels=2), step_size=1 / 64)


def run(model, num_steps, seed=0, **options):
    options = {"batch_size": 4, "report_every": 3, "progress": False} | options
    return fit(model, IMAGES, num_steps, None if "state" in options else jax.random.key(seed), **options)


OPTIMIZERS = {
    "lbfgs": optax.lbfgs(),
    "plateau": optax.chain(optax.adam(1e-2), optax.contrib.reduce_on_plateau(patience=1, accumulation_size=1)),
    "sam": optax.contrib.sam(optax.sgd(1e-3), optax.sgd(1e-2), opaque_mode=True),
    "adam": optax.adam(1e-2),
}
NEEDS = {"lbfgs": ["value", "grad", "value_fn"], "plateau": ["value"], "sam": ["grad_fn"], "adam": []}


@pytest.mark.quick("adam", "sam")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_of_optax_gets_what_it_needs(name):
    """The same parameters as by optax's own loop on the same batch."""
    model, optimizer = gon(conv_decoder((8, 8, 1), (3,), base_channels=2, norm="none")), OPTIMIZERS[name]
    state = init_state(model, optimizer, jax.random.key(0))
    batch = {"x": jax.random.uniform(jax.random.key(1), (8, 8, 8, 1))}

    def loss(params, *_):
        return model.loss(Variables(params), batch, jax.random.key(0))[0]

    @jax.jit
    def by_hand(params, opt_state):
        value, gradient = jax.value_and_grad(loss)(params)
        all_needs = {"value": value, "grad": gradient, "value_fn": loss, "grad_fn": jax.grad(loss)}
        needs = {need: all_needs[need] for need in NEEDS[name]}
        updates, opt_state = optimizer.update(gradient, opt_state, params, **needs)
        return optax.apply_updates(params, updates), opt_state, value

    step = jax.jit(partial(train_step, model, optimizer))
    params, opt_state, losses = state.params, state.opt_state, []
    for _ in range(4):
        state, value = step(state, batch)
        params, opt_state, expected = by_hand(params, opt_state)
        losses.append(float(value))
        np.testing.assert_allclose(value, expected, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert losses[-1] < losses[0]


def assert_same_bits(a, b):
    def raw(leaf):
        return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf

    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(raw(x), raw(y))


# -- what a step does ----------------------------------------------------------------------------------------------


def test_a_step_is_the_optimizer_on_the_models_gradient(small):
    optimizer = optax.sgd(0.1)
    state = init_state(small, optimizer, jax.random.key(0))
    batch = {"x": jnp.asarray(IMAGES[:4] / 255, jnp.float32)}
    after, loss = train_step(small, optimizer, state, batch)
    expected, gradient = jax.value_and_grad(lambda p: small.loss(Variables(p), batch, None)[0])(state.params)
    np.testing.assert_allclose(loss, expected)
    jax.tree.map(
        lambda new, old, g: np.testing.assert_allclose(new, old - 0.1 * g, rtol=1e-5, atol=1e-6),
        after.params,
        state.params,
        gradient,
    )
    assert int(after.step) == 1


def test_statistics_are_a_mean_and_then_an_exponential_average():
    """Of the values 1, 2, 3, ...: plain means while fewer than 1 / (1 - decay) are in."""
    model = Model(
        init=lambda key: Variables(jnp.zeros(()), jnp.zeros(())),
        loss=lambda variables, batch, key: (variables.params, batch["x"].mean()),
        encode=None,
        decode=None,
        data_shape=(),
        latent_shape=(),
        likelihood=squared_error,
    )
    optimizer = optax.sgd(0.0)
    state = init_state(model, optimizer, jax.random.key(0))
    seen = []
    for value in range(1, 7):
        state, _ = train_step(model, optimizer, state, {"x": jnp.full(3, float(value))}, stats_decay=0.75)
        seen.append(float(state.stats))
    np.testing.assert_allclose(seen[:4], [1, 1.5, 2, 2.5], rtol=1e-6)
    np.testing.assert_allclose(seen[4:], [0.75 * 2.5 + 0.25 * 5, 0.75 * 3.125 + 0.25 * 6], rtol=1e-6)


def test_average_of_parameters(small):
    result = run(small, 3, ema_decay=0.9, report_every=1)
    expected = init_state(small, make_optimizer(), jax.random.key(0)).params
    for params in [run(small, n).state.params for n in (1, 2, 3)]:
        expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, expected, params)
    for a, b in zip(jax.tree.leaves(result.state.ema), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert result.state.variables.params is result.state.ema


def test_optimizer_options():
    def first_update(gradient=1.0, **options):
        optimizer = make_optimizer(0.1, **options)
        params = jnp.array([2.0])
        updates, state = optimizer.update(jnp.array([gradient]), optimizer.init(params), params)
        return float(updates[0]), optimizer, state, params

    assert first_update()[0] == pytest.approx(-0.1, rel=1e-5)  # Adam's first step is the rate
    assert first_update(weight_decay=0.5)[0] == pytest.approx(-0.1 - 0.1 * 0.5 * 2, rel=1e-5)
    assert first_update(1e-3, epsilon=1e-3)[0] == pytest.approx(-0.05, rel=1e-5)
    assert first_update(warmup_steps=10)[0] == 0
    assert first_update(1e-3, clip_norm=1e-6, epsilon=1e-6)[0] == pytest.approx(-0.05, rel=1e-3)
    _, optimizer, state, params = first_update(schedule="cosine", num_steps=3)
    rates = []
    for _ in range(3):
        updates, state = optimizer.update(jnp.array([1.0]), state, params)
        rates.append(-float(updates[0]))
    np.testing.assert_allclose(rates, [0.075, 0.025, 0.0], atol=1e-6)
    with pytest.raises(ValueError, match="num_steps"):
        make_optimizer(schedule="cosine")
    with pytest.raises(ValueError, match="schedule"):
        make_optimizer(schedule="linear")


# -- the loop --------------------------------------------------------------------------------------------------------


def test_every_example_once_an_epoch():
    data = {"x": IMAGES}
    options = {"optimizer": optax.sgd(1.0), "batch_size": 4, "report_every": 3, "progress": False}
    for num_steps, times in ((5, 1), (15, 3)):
        result = fit(counting_model(20), data, num_steps, jax.random.key(0), **options)
        np.testing.assert_array_equal(result.state.params, np.full(20, times))
    # A batch size that doesn't divide: the rest is left out, another one each epoch.
    result = fit(counting_model(20), data, 2 * 10, jax.random.key(0), **options | {"batch_size": 8})
    counts = np.asarray(result.state.params)
    assert counts.sum() == 8 * 20 and counts.max() <= 10 and len(set(counts)) > 1


def test_a_batch_is_examples_of_the_data_and_their_places():
    """uint8 becomes floats in [0, 1] under any name, labels stay, and "index" says where the examples are."""

    def loss(variables, batch, key):
        assert batch["y"].dtype == batch["index"].dtype == jnp.int32 and batch["index"].shape == (4,)
        assert batch["x"].dtype == batch["target"].dtype == jnp.float32
        same = jnp.isclose(batch["x"], 1 - batch["target"], atol=1e-6).all((1, 2, 3)) & (batch["y"] == batch["index"])
        return -(variables.params[batch["index"]] * same).sum(), None

    data = {"x": IMAGES, "target": 255 - IMAGES, "y": np.arange(20, dtype=np.int32)}
    options = {"optimizer": optax.sgd(1.0), "batch_size": 4, "progress": False}
    result = fit(dataclasses.replace(counting_model(20), loss=loss), data, 5, jax.random.key(0), **options)
    np.testing.assert_array_equal(result.state.params, np.ones(20))


def test_seed_decides_every_bit(small):
    a, b, other = run(small, 8), run(small, 8), run(small, 8, seed=1)
    assert_same_bits(a.state, b.state)
    assert [row["loss"] for row in a.history] == [row["loss"] for row in b.history]
    assert a.history[-1]["loss"] != other.history[-1]["loss"]


def test_calls_may_be_cut_anywhere(small):
    """Across epochs (of 5 steps) too; and resumed from a state, as if never interrupted."""
    whole = run(small, 13, ema_decay=0.9)
    assert_same_bits(whole.state, run(small, 13, ema_decay=0.9, report_every=1).state)
    assert_same_bits(whole.state, run(small, 13, ema_decay=0.9, report_every=20, validate_every=4).state)
    first = run(small, 7, ema_decay=0.9)
    resumed = run(small, 13, ema_decay=0.9, state=first.state)
    assert_same_bits(whole.state, resumed.state)
    assert [row["step"] for row in resumed.history] == [10, 13]


def test_steps_are_compiled_once_for_a_model(small):
    """Whatever the number of steps in a call, and epoch by epoch too; and freed with the model."""
    traced = []

    def loss(variables, batch, key):
        traced.append(batch["x"].shape)
        return small.loss(variables, batch, key)

    model = dataclasses.replace(small, loss=loss)
    result = run(model, 17, validation=IMAGES[:6], validate_every=4)
    count = len(traced)
    assert len(set(traced)) == 1 and result.seconds_compile > 0
    for epoch in range(5, 8):
        result = run(model, 5 * epoch, state=result.state, validation=IMAGES[:6])
        assert result.seconds_compile < 0.5
    run(model, 2, seed=1)
    run(model, 2, optimizer=make_optimizer())
    assert len(traced) == count
    run(model, 2, optimizer=make_optimizer(1e-3))
    assert len(traced) == 2 * count
    dead = weakref.ref(model)
    del model
    gc.collect()
    assert dead() is None


def test_reports(small):
    reports = []
    result = run(small, 8, validation=IMAGES[:6], validate_every=4, on_report=reports.append)
    assert [report.step for report in reports] == [3, 4, 7, 8]
    assert [len(report.losses) for report in reports] == [3, 1, 3, 1]
    assert [report.validation is not None for report in reports] == [False, True, False, True]
    assert [report.stopping for report in reports] == [False, False, False, True]
    assert result.history[1].keys() == {"step", "loss", "validation.squared_error", "validation.psnr"}
    assert result.seconds_training > 0 and result.seconds_compile > 0 and not result.interrupted


@pytest.mark.quick("gon-*")
@pytest.mark.parametrize(
    ("make_model", "metric"), [(gon, "squared_error"), (vgon, "negative_elbo"), (gon_classifier, "accuracy")]
)
def test_validation_reports_what_the_model_is_judged_by(make_model, metric, monkeypatch):
    """In the report, the history and the bar; and the same whenever it is computed."""
    shown, reports = [], []
    monkeypatch.setattr(tqdm, "set_postfix", lambda bar, values: shown.append(values))
    decoder = conv_decoder((8, 8, 1), (3,), base_channels=2)
    model = make_model(decoder, 4) if make_model is gon_classifier else make_model(decoder)
    data = {"x": IMAGES, "y": np.arange(20, dtype=np.int32) % 4}
    options = {"validation": data, "validate_every": 2, "batch_size": 4, "progress": False}
    result = fit(model, data, 4, jax.random.key(0), on_report=reports.append, **options)
    expected = evaluate(model, result.state.variables, data)
    assert reports[-1].validation == {name: value for name, value in expected.items() if name != "num_samples"}
    assert result.history[-1][f"validation.{metric}"] == expected[metric]
    assert [values.keys() for values in shown] == [{"loss", f"validation.{metric}"}] * 2
    assert shown[-1][f"validation.{metric}"] == f"{expected[metric]:.4g}"


def test_should_stop_ends_after_a_whole_step(small):
    """It is asked before the first step, and then at each report before `on_report`."""
    reports, answers = [], [False, False, True]
    result = run(small, 30, on_report=reports.append, should_stop=lambda: answers.pop(0))
    assert result.interrupted and int(result.state.step) == 5
    assert [(report.step, report.stopping) for report in reports] == [(3, False), (5, True)]
    assert_same_bits(run(small, 30).state, run(small, 30, state=result.state).state)

    first = run(small, 5)
    stopped = run(small, 9, state=first.state, should_stop=lambda: True)
    assert stopped.interrupted and int(stopped.state.step) == 5 and stopped.history == []


def test_signals_are_left_alone(small):
    """Ctrl-C is a KeyboardInterrupt, as everywhere."""
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    seen = []

    def on_report(report):
        seen.append([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)])
        os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(small, 30, on_report=on_report)
    finally:
        signal.signal(signal.SIGINT, own)
    assert seen == [before]


def test_a_loss_that_is_not_finite_stops_with_its_step(small):
    def loss(variables, batch, key):
        value, stats = small.loss(variables, batch, key)
        return value / (variables.params["TransposedConv_0"]["bias"][0] > -0.01), stats

    with pytest.raises(NonFiniteLossError, match=r"step \d+; .*learning rate"):
        run(dataclasses.replace(small, loss=loss), 500, optimizer=optax.sgd(1e-2))


def test_parameters_that_are_not_finite_are_never_reported(small):
    """The last step of a call may spoil them after its loss was computed."""
    reports = []
    with pytest.raises(NonFiniteLossError, match="parameters that are not at step 1"):
        run(small, 4, optimizer=optax.sgd(float("inf")), report_every=1, on_report=reports.append)
    assert not reports


def own_decoder(function):
    """A decoder of latents of three numbers whose parameters are a matrix."""
    init = lambda key: 0.1 * jax.random.normal(key, (3, 64))  # noqa: E731
    return from_function(lambda w, z: function(w, z).reshape(-1, 8, 8, 1), init, (3,), independent=True)


SMALL = {"image_shape": (8, 8, 1), "latent_shape": (3,), "base_channels": 2}
FLAT = {  # decoders whose output does not depend on the latent, to first order at the origin
    "kink": lambda: conv_decoder(**SMALL, activation=jax.nn.relu),
    "even": lambda: own_decoder(lambda w, z: (z @ w) ** 2),
    "zero": lambda: own_decoder(lambda w, z: 0 * (z @ w)),
}


@pytest.mark.quick("<lambda>0", "<lambda>1", "<lambda>2")
@pytest.mark.parametrize(
    "make_model",
    [
        *(lambda make=make: gon(make()) for make in FLAT.values()),
        lambda: multi_step_gon(FLAT["kink"](), num_steps=2),
        lambda: gon_classifier(FLAT["kink"](), 2, reconstruction_weight=1.0),
        lambda: vgon(FLAT["zero"](), inner_noise="none", likelihood=squared_error),  # the same latent, but not 0
    ],
)
def test_latents_that_do_not_depend_on_the_data_are_told(make_model):
    """Where training starts, and there alone."""
    model, data = make_model(), {"x": IMAGES, "y": np.arange(20, dtype=np.int32) % 2}
    options = {"batch_size": 4, "progress": False}
    with pytest.warns(
        UserWarning, match="expected latents that depend on the data, got the same .*'relu' by name"
    ) as caught:
        state = fit(model, data, 1, jax.random.key(0), **options).state
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    fit(model, data, 2, state=state, **options)
    with pytest.warns(UserWarning, match="the same"):
        fit(model, data, 1, state=init_state(model, make_optimizer(), jax.random.key(0)), **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make_model",
    [
        lambda: gon(conv_decoder(**SMALL, activation="relu")),
        lambda: gon(conv_decoder(**SMALL, activation=jax.nn.relu, norm="group")),
        lambda: autoencoder(conv_decoder(**SMALL, activation=jax.nn.relu), conv_encoder(**SMALL)),
        lambda: dataclasses.replace(glo(conv_decoder(**SMALL, activation=jax.nn.relu)), encode=None),
    ],
)
def test_latents_that_do_or_are_not_gradients_are_not_warned_of(make_model):
    model = make_model()
    for images in (IMAGES, np.zeros_like(IMAGES)):  # equal images have equal latents
        fit(model, images, 1, jax.random.key(0), batch_size=4, progress=False)


def test_parameters_to_start_from_are_not_used_up(small):
    """A model of trained parameters is trained on, twice: steps use their state up, and these are not theirs."""
    variables = small.init(jax.random.key(1))
    model = dataclasses.replace(small, init=lambda key: variables)
    assert_same_bits(run(model, 2).state.params, run(model, 2).state.params)
    assert_same_bits(variables, small.init(jax.random.key(1)))


def test_the_first_latents_are_compiled_once_for_a_model(small):
    traced = []

    def encode(variables, x):
        traced.append(x.shape)
        return small.encode(variables, x)

    model = dataclasses.replace(small, encode=encode)
    state = run(model, 2).state
    run(model, 2, seed=1)
    run(model, 4, state=state)
    assert len(traced) == 1 and traced[0][0] <= 8


@pytest.mark.parametrize(
    "function",
    [
        lambda w, z: jnp.linalg.norm(z, axis=1, keepdims=True) * w[:1],
        lambda w, z: jnp.sqrt(jnp.abs(z)) @ w,
        lambda w, z: z / (z * z).sum(1, keepdims=True) @ w,
    ],
    ids=["norm", "sqrt", "division"],
)
def test_first_latents_that_are_not_finite_are_refused_with_their_cause(function):
    with pytest.raises(NonFiniteLossError, match="expected finite latents .*got nan; .*at z = 0") as caught:
        run(gon(own_decoder(function)), 4)
    assert "\n" not in str(caught.value) and "learning rate" not in str(caught.value)


@pytest.mark.parametrize("report_every", [1, 3])
def test_a_second_derivative_that_is_not_finite_at_the_origin_is_not_hidden_by_the_first(report_every):
    """Latents and the first loss are finite, by the slope 1 of h + |h|^1.5; the gradient of the parameters isn't."""
    model = gon(own_decoder(lambda w, z: (z @ w) + jnp.abs(z @ w) ** 1.5))
    with pytest.raises(NonFiniteLossError, match="step [12]; .*learning rate.*derivative at z = 0"):
        run(model, 4, report_every=report_every)


@pytest.mark.parametrize(
    "images, options, words",
    [
        (IMAGES[..., 0], {}, "N, 8, 8, 1.*channel axis"),
        (IMAGES[:, :4], {}, "8, 8, 1"),
        (IMAGES.astype(np.int32), {}, "uint8"),
        (IMAGES / 255 * np.nan, {}, "finite"),
        (IMAGES.astype(np.float32), {}, "0, 1"),
        ({"x": IMAGES, "index": np.arange(20)}, {}, 'no array "index" in the data'),
        (IMAGES, {"batch_size": 21}, "batch_size, a whole number from 1 to 20, got 21"),
        (IMAGES, {"batch_size": 0}, "batch_size, a whole number from 1 to 20, got 0"),
        (IMAGES, {"num_steps": 0}, "num_steps, a whole number of at least 1, got 0"),
        (IMAGES, {"validate_every": 0}, "validate_every, a whole number of at least 1, got 0"),
        (IMAGES, {"report_every": -1}, "report_every, a whole number of at least 1, got -1"),
        (IMAGES, {"ema_decay": 1.0}, "ema_decay, a number of at least 0, below 1, got 1.0"),
        (IMAGES, {"ema_decay": -0.1}, "ema_decay, a number of at least 0, below 1, got -0.1"),
        (IMAGES, {"stats_decay": float("nan")}, "stats_decay, a number of at least 0, below 1, got nan"),
        ({"x": IMAGES, "y": np.arange(19)}, {}, '"y" of 20 examples'),
        ({"image": IMAGES}, {}, 'the examples as "x"'),
        (IMAGES, {"validation": IMAGES[:, :4]}, "8, 8, 1"),
        (IMAGES, {"key": None}, "key"),
    ],
)
def test_bad_input_is_refused_before_any_work(small, images, options, words):
    options = {"num_steps": 3, "key": jax.random.key(0), "batch_size": 4, "progress": False} | options
    untouchable = dataclasses.replace(small, init=None, loss=None)
    with pytest.raises(ValueError, match=words) as caught:
        fit(untouchable, images, **options)
    assert "\n" not in str(caught.value)


def test_a_classifier_is_not_validated_without_labels():
    model = dataclasses.replace(gon_classifier(conv_decoder((8, 8, 1), (3,), base_channels=2), 4), init=None)
    data = {"x": IMAGES, "y": np.arange(20) % 4}
    with pytest.raises(ValueError, match='labels of the validation data as "y", .*got x; .*accuracy'):
        fit(model, data, 4, jax.random.key(0), validation=IMAGES[:6], batch_size=4)


def test_a_state_with_another_average_is_refused(small):
    with_average, without = run(small, 1, ema_decay=0.9).state, run(small, 1).state
    for state, decay, had in ((with_average, 0.0, "got one with"), (without, 0.9, "got none with")):
        with pytest.raises(ValueError, match=had):
            run(small, 2, state=state, ema_decay=decay)
