"""Checkpoints: bit for bit round trips, which are kept, and every way in which a folder can disappoint."""

import contextlib
import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.experimental
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gon_jax._files import read_json, write_file, write_json
from gon_jax.checkpoints import Checkpoints
from gon_jax.freezing import FrozenEncoder
from gon_jax.runs.encoder_file import read_encoder, write_encoder

enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64  # the latter in jax 0.7
METRIC = "validation.squared_error"
CONFIG = {"model": "gon", "latent_shape": [4, 4, 2], "learning_rate": 1e-4, "resume": None}


class State(NamedTuple):
    step: Any
    params: Any
    stats: Any
    opt_state: Any
    key: Any
    ema: Any = None


def make_state(width=8, step=0, seed=0, impl="threefry2x32", extra=None):
    rng = np.random.default_rng(seed)
    params = {"dense": {"kernel": jnp.asarray(rng.normal(size=(3, width)), jnp.float32), "bias": jnp.zeros(width)}}
    params |= extra or {}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    opt_state = optimizer.update(params, optimizer.init(params))[1]
    return State(jnp.int32(step), params, {}, opt_state, jax.random.split(jax.random.key(seed, impl=impl), 2))


def assert_identical(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y) and x.dtype == y.dtype and x.shape == y.shape
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def save_all(folder, errors, **kwargs):
    with Checkpoints(folder, create=True) as checkpoints:
        for step, error in errors.items():
            checkpoints.save(step, make_state(step=step, seed=step), CONFIG | {"at": step}, {METRIC: error}, **kwargs)


def test_the_best_may_be_the_highest(tmp_path):
    """Of an accuracy; the latest of equal ones, and NaN last."""
    with Checkpoints(tmp_path, metric="validation.accuracy", highest=True, create=True) as checkpoints:
        for step, accuracy in enumerate([float("nan"), 0.5, 0.9, 0.9, 0.4, float("nan")]):
            checkpoints.save(step, make_state(step=step), CONFIG, {"validation.accuracy": accuracy, METRIC: step})
        assert checkpoints.steps == (3, 5) and checkpoints.best_step == 3


@contextlib.contextmanager
def raises_one_line(kind, pattern):
    with pytest.raises(kind, match=pattern) as info:
        yield
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_round_trip_is_bit_for_bit_and_leaves_the_template_alone(tmp_path, impl):
    odd = {
        "nan": jnp.array([jnp.nan, -0.0, jnp.inf, 1e-45]),
        "bf16": jnp.ones(3, jnp.bfloat16) / 3,
        "mask": jnp.array([True, False]),
        "host": np.array([1 / 3, 2.0]),
        "a.b": {"c/d": jnp.arange(3, dtype=jnp.uint8)},
    }
    state = make_state(impl=impl)._replace(ema=odd)
    with Checkpoints(tmp_path, create=True) as checkpoints:
        checkpoints.save(7, state, CONFIG, {METRIC: 1.0})
    template = jax.tree.map(lambda x: x, state)._replace(key=jax.random.split(jax.random.key(9, impl=impl), 2))
    before = jax.tree.map(lambda x: x, template)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(template)
        shapes = checkpoints.restore(jax.eval_shape(lambda: make_state(impl=impl))._replace(ema=odd))
    assert_identical(restored, state)
    assert_identical(shapes, state)
    assert_identical(template, before)
    assert jax.random.key_impl(restored.key) == jax.random.key_impl(state.key)
    assert_identical(jax.random.normal(restored.key[0], (3,)), jax.random.normal(state.key[0], (3,)))


def test_float64_survives(tmp_path):
    with enable_x64(True):
        state = {"x": jnp.array([1 / 3, 1e-300], jnp.float64), "n": jnp.int64(2) ** 40}
        with Checkpoints(tmp_path, create=True) as checkpoints:
            checkpoints.save(1, state, CONFIG, {METRIC: 1.0})
            assert_identical(checkpoints.restore(state), state)
    with Checkpoints(tmp_path) as checkpoints, raises_one_line(ValueError, "expected int32.* got int64.*precision"):
        checkpoints.restore({"x": jnp.zeros(2), "n": jnp.int32(0)})


def test_the_best_and_the_last_are_kept_with_their_configuration(tmp_path):
    save_all(tmp_path, {10: 3.0, 20: 1.0, 30: 2.0, 40: float("nan"), 50: 1.5})
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["20", "50"]
    save_all(tmp_path, {60: 1.2})  # a resumed run still knows the earlier best
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == (20, 60) and checkpoints.best_step == 20
        for which, step in (("last", 60), ("best", 20), (20, 20)):
            assert int(checkpoints.restore(make_state(), which).step) == step
            assert checkpoints.read_config(which) == CONFIG | {"at": step}
        assert checkpoints.read_metrics("best") == {METRIC: 1.0} and checkpoints.read_metrics() == {METRIC: 1.2}
    save_all(tmp_path, {70: 0.5})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == (70,) and checkpoints.best_step == 70


def test_a_metric_that_is_nan_is_never_best_while_another_can_be(tmp_path):
    save_all(tmp_path, {1: float("nan"), 2: float("nan")})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.best_step == 2
    save_all(tmp_path, {3: 5.0, 4: float("nan")})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == (3, 4) and checkpoints.best_step == 3


def test_training_resumes_as_if_never_interrupted(tmp_path):
    optimizer = optax.adam(1e-2)

    @jax.jit
    def train_step(state):
        key, noise = jax.random.split(state.key)
        loss = lambda p: jnp.sum(jnp.square(p["w"] - jax.random.normal(noise, (5,))))  # noqa: E731
        updates, opt_state = optimizer.update(jax.grad(loss)(state.params), state.opt_state)
        return state._replace(
            step=state.step + 1, params=optax.apply_updates(state.params, updates), opt_state=opt_state, key=key
        )

    params = {"w": jnp.zeros(5)}
    start = state = State(jnp.int32(0), params, {}, optimizer.init(params), jax.random.key(0))
    for i in range(10):
        state = train_step(state)
        if i == 5:
            with Checkpoints(tmp_path, create=True) as checkpoints:
                checkpoints.save(6, state, CONFIG, {METRIC: 1.0})
    with Checkpoints(tmp_path) as checkpoints:
        resumed = checkpoints.restore(start)
    assert train_step._cache_size() == 1
    for _ in range(4):
        resumed = train_step(resumed)
    assert_identical(resumed, state)
    assert train_step._cache_size() == 1  # a restored state is no reason to compile again


@pytest.mark.parametrize(
    "template, pattern",
    [
        (
            make_state(width=16),
            r"expected float32\[16\] at .*dense/bias, got float32\[8\] in checkpoint 5 .*another model",
        ),
        (make_state(extra={"more": jnp.zeros(2)}), r"expected float32\[2\] at .*/more, got nothing in checkpoint 5"),
        (make_state()._replace(stats={"mean": jnp.zeros(3)}), r"expected float32\[3\] at stats/mean, got nothing"),
        (make_state()._replace(params={}, opt_state=()), r"expected nothing at params/dense/bias, got float32\[8\]"),
        (make_state(impl="rbg"), r"expected key<rbg>\[2\] at key, got key<fry>\[2\]"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(tmp_path, template, pattern):
    save_all(tmp_path, {5: 1.0})
    with Checkpoints(tmp_path) as checkpoints, raises_one_line(ValueError, pattern):
        checkpoints.restore(template)


def test_missing_and_empty_folders(tmp_path):
    with raises_one_line(FileNotFoundError, "expected a run with checkpoints in .*absent, got no folder"):
        Checkpoints(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    with Checkpoints(tmp_path, create=True) as checkpoints:
        assert checkpoints.steps == () and checkpoints.best_step is None
        for which in ("last", "best", 3):
            with raises_one_line(FileNotFoundError, "got steps .*no training has saved"):
                checkpoints.restore(make_state(), which)
    save_all(tmp_path, {5: 1.0})
    with Checkpoints(tmp_path) as checkpoints, raises_one_line(FileNotFoundError, r"checkpoint 4 .* got steps \[5\]"):
        checkpoints.read_config(4)


def test_saving_refuses_an_earlier_step_and_a_missing_metric(tmp_path):
    save_all(tmp_path, {5: 1.0})
    with raises_one_line(ValueError, "expected a step after 5"):
        save_all(tmp_path, {5: 1.0})
    with Checkpoints(tmp_path, create=True) as checkpoints, raises_one_line(ValueError, r"got \['loss'\]"):
        checkpoints.save(6, make_state(), CONFIG, {"loss": 1.0})


def damage(step_folder, how):
    files = [path for path in step_folder.rglob("*") if path.is_file()]
    data = max(files, key=lambda path: path.stat().st_size)
    if how == "flipped bit":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 16
        data.write_bytes(content)
    elif how == "no data":
        data.unlink()
    else:
        for path in files:
            path.write_bytes(b"" if how == "empty files" else path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # tensorstore's, when a file is missing
@pytest.mark.parametrize("how", ["flipped bit", "no data", "empty files", "halved files"])
def test_a_damaged_checkpoint_is_named_and_another_can_be_restored(tmp_path, how):
    state = make_state(step=2, extra={"big": jnp.asarray(np.random.default_rng(0).normal(size=5000))})
    with Checkpoints(tmp_path, create=True) as checkpoints:
        checkpoints.save(1, make_state(step=1), CONFIG, {METRIC: 1.0})
        checkpoints.save(2, state, CONFIG, {METRIC: 2.0})
    damage(tmp_path / "checkpoints/2", how)
    with Checkpoints(tmp_path) as checkpoints:
        with raises_one_line(OSError, r"whole checkpoint 2 in .*damaged or half-written.*restore another \(\[1\]"):
            checkpoints.restore(state)
        assert checkpoints.read_config(1) == CONFIG and int(checkpoints.restore(make_state(), 1).step) == 1
        if how in ("flipped bit", "no data"):
            assert checkpoints.best_step == 1 and int(checkpoints.restore(make_state(), "best").step) == 1
        else:  # nobody knows whether it is the best
            with raises_one_line(OSError, "whole checkpoint 2 in"):
                checkpoints.restore(make_state(), "best")


def test_what_an_interrupted_save_leaves_is_ignored_by_readers_and_removed_by_writers(tmp_path):
    save_all(tmp_path, {1: 1.0})
    left = tmp_path / "checkpoints/2.orbax-checkpoint-tmp"
    (left / "state").mkdir(parents=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == (1,) and left.exists()
    save_all(tmp_path, {2: 0.5})
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2"]


KILLED = """
import sys, numpy as np
from gon_jax.checkpoints import Checkpoints
with Checkpoints(sys.argv[1], create=True) as checkpoints:
    for step in range(1, 10_000):
        checkpoints.save(step, {"w": np.full((300, 1000), step, "f4")}, {}, {"validation.squared_error": 1 / step})
        print(step, flush=True)
"""


def test_kill_9_while_saving_leaves_a_whole_checkpoint(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    ) as process:
        while int(process.stdout.readline()) < 5:
            pass
        process.kill()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps[-1] >= 5
        w = checkpoints.restore({"w": np.zeros((300, 1000), "f4")})["w"]
    np.testing.assert_array_equal(w, checkpoints.steps[-1])


def test_a_full_disk_keeps_the_earlier_checkpoints(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, create=True) as checkpoints:
        checkpoints.save(1, make_state(step=1), CONFIG, {METRIC: 1.0})
        with monkeypatch.context() as patch:

            def full(*_, **__):
                raise OSError(errno.ENOSPC, "No space left on device")

            patch.setattr("orbax.checkpoint.StandardCheckpointHandler.finalize", full)
            with raises_one_line(OSError, r"write checkpoint 2 to .*No space left.*\[1\] are kept.*a full disk"):
                checkpoints.save(2, make_state(step=2), CONFIG, {METRIC: 0.5})
        assert checkpoints.steps == (1,) and int(checkpoints.restore(make_state()).step) == 1
        checkpoints.save(2, make_state(step=2), CONFIG, {METRIC: 0.5})  # once there is space again
        assert int(checkpoints.restore(make_state()).step) == 2


def test_saving_prints_nothing_and_leaves_logging_alone(tmp_path, capfd):
    absl = logging.getLogger("absl")
    before = logging.root.level, list(logging.root.handlers), absl.level, absl.disabled
    save_all(tmp_path, {1: 1.0, 2: 2.0})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.restore(make_state())
    assert capfd.readouterr() == ("", "")
    assert (logging.root.level, list(logging.root.handlers), absl.level, absl.disabled) == before
    assert json.loads((tmp_path / "checkpoints/1/config/metadata").read_text())["at"] == 1  # readable without us


# -- the encoder beside them ---------------------------------------------------------------------------------------

VARIABLES = {"w": np.arange(4, dtype=np.float32), "b": np.zeros((), np.float32)}
OF_IT = (VARIABLES, 7, (2, 3, 1), (2, 2))


@pytest.fixture
def encoder_file(tmp_path):
    rng = np.random.default_rng(0)
    encoder = FrozenEncoder(*(jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((6, 4), (2, 2))))
    write_encoder(tmp_path / "encoder.npz", encoder, VARIABLES, 7, (2, 3, 1))
    return tmp_path / "encoder.npz", encoder


def test_an_encoder_is_read_back_or_used_by_numpy_alone(encoder_file, tmp_path):
    path, encoder = encoder_file
    assert_identical(read_encoder(path, *OF_IT), encoder)
    assert [p.name for p in tmp_path.iterdir()] == ["encoder.npz"]
    with np.load(path, allow_pickle=False) as file:
        values = dict(file)
    x = np.random.default_rng(1).uniform(size=(5, 2, 3, 1))
    scope = values | {"x": x, "n": 5}
    exec(str(values["note"]).split(", for")[0], {}, scope)
    np.testing.assert_allclose(scope["z"], encoder(jnp.asarray(x, jnp.float32)), rtol=1e-5)
    assert values["data_shape"].tolist() == [2, 3, 1] and values["step"] == 7


@pytest.mark.parametrize(
    "other",
    [
        (VARIABLES | {"w": np.ones(4, np.float32)}, 7, (2, 3, 1), (2, 2)),
        (VARIABLES, 8, (2, 3, 1), (2, 2)),
        (VARIABLES, 7, (4, 3, 1), (2, 2)),
        (VARIABLES, 7, (2, 3, 1), (4,)),
    ],
)
def test_an_encoder_of_something_else_is_ignored(encoder_file, other):
    assert read_encoder(encoder_file[0], *other) is None


def test_a_damaged_encoder_is_never_used(encoder_file):
    """Whichever bit flips, and wherever the file ends."""
    path, encoder = encoder_file
    whole = path.read_bytes()
    for i in range(0, len(whole), 7):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        read = read_encoder(path, *OF_IT)
        assert read is None or all(map(np.array_equal, jax.tree.leaves(read), jax.tree.leaves(encoder)))
    for i in range(0, len(whole), 70):
        path.write_bytes(whole[:i])
        assert read_encoder(path, *OF_IT) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda file: None,
        lambda file: file.write(b"not a zip"),
        lambda file: np.save(file, np.ones(3)),
        lambda file: np.savez(file, matrix=np.ones((6, 4), "f4")),
        lambda file: np.savez(
            file, matrix=np.ones((6, 4), "f4"), bias=np.ones((2, 2), "f4"), step=[7, 7], variables_crc32="other"
        ),
        lambda file: np.savez(file, matrix=np.array([{}]), bias=0, step=7, variables_crc32=0),
    ],
)
def test_a_file_of_something_else_is_ignored(tmp_path, write):
    write_file(tmp_path / "encoder.npz", write)
    assert read_encoder(tmp_path / "encoder.npz", *OF_IT) is None
    (tmp_path / "encoder.npz").unlink()
    assert read_encoder(tmp_path / "encoder.npz", *OF_IT) is None
    (tmp_path / "encoder.npz").mkdir()
    assert read_encoder(tmp_path / "encoder.npz", *OF_IT) is None


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "file"
    write_file(path, lambda file: file.write(b"first"))

    def fail(file):
        file.write(b"sec")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_file(path, fail)
    assert path.read_bytes() == b"first" and list(tmp_path.iterdir()) == [path]


def test_json_is_read_back_and_a_damaged_file_is_named_in_one_line(tmp_path):
    write_json(tmp_path / "above" / "a.json", {"a": [1, None]})
    assert read_json(tmp_path / "above" / "a.json") == {"a": [1, None]}
    for content in (b'{"a": ', b"\xff\xfe\xfd"):
        (tmp_path / "a.json").write_bytes(content)
        with raises_one_line(ValueError, r"expected JSON in .*a\.json, got something else .*damaged"):
            read_json(tmp_path / "a.json")
