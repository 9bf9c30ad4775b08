"""A run's folder: what it holds, how it goes on after anything that stops it, and what is refused."""

import errno
import json
import shutil
import struct
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gon_jax._files import unsealed
from gon_jax.checkpoints import Checkpoints
from gon_jax.data import Split
from gon_jax.data.splits import pairs_of_labels, spread_indices
from gon_jax.inference import reconstruct_dataset, sample
from gon_jax.models import gon
from gon_jax.runs import Config, finishing, load_run, train, trainer
from gon_jax.runs import run as run_module
from gon_jax.runs.config import REGISTRIES, DataConfig, TrainingConfig
from gon_jax.runs.folder import PICTURES
from gon_jax.runs.lock import LOCK
from gon_jax.runs.model_configs import ModelConfig
from gon_jax.runs.options import Positive, register
from gon_jax.runs.restoring import restore
from gon_jax.runs.saved import read_config, read_summary
from gon_jax.training import NonFiniteLossError, loop

TINY = dict(
    dataset="digits", image_size=None, num_validation=20, latent_shape=(3,), base_channels=2, num_steps=6, batch_size=16
)
TINY |= dict(learning_rate=1e-2, validate_every=2)


def config(options):
    return Config().replace(**options)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(config(TINY), folder, progress=False)
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def undrawn(monkeypatch):
    """Spend no time on pictures."""
    monkeypatch.setattr(finishing, "draw", lambda *_, **__: None)


def arrays_of(folder):
    """The last state, key included."""
    run = load_run(folder)
    with Checkpoints(folder) as checkpoints:
        state = restore(checkpoints, run.model, read_config(folder), "last")
    return [np.asarray(a) for a in jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))]


def times_in(folder):
    """Return when each file was written; the lock has no contents, and an older filelock touches it."""
    return {path: path.name == LOCK or path.stat().st_mtime_ns for path in folder.rglob("*")}


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def events_of(folder):
    """(step, tag) of every scalar for TensorBoard."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event = Event.FromString(content[12 : 12 + length])
            found += [(event.step, value.tag) for value in event.summary.value]
            content = content[16 + length :]
    return found


def test_a_finished_run_holds_all_that_is_promised(finished):
    written = {path.name for path in finished.iterdir() if not path.name.startswith("events.out.tfevents.")}
    assert written == {
        ".lock",
        "snapshots.npz",
        "checkpoints",
        "config.json",
        "summary.json",
        "metrics.jsonl",
        "encoder.npz",
        *PICTURES,
        "classes.png",
        "report.html",
    }

    summary = read_summary(finished)
    stable = "model dataset num_parameters latent_size num_steps seconds_training seconds_compile test.squared_error"
    assert {*stable.split(), "test.psnr", "pca.squared_error", "versions", "device"} <= set(summary)
    assert [summary[key] for key in ("model", "dataset", "latent_size", "num_steps")] == ["gon", "digits", 3, 6]
    assert summary["num_parameters"] == 135 and summary["num_test"] == 355 and summary["num_train"] == 1442 - 20
    assert summary["versions"]["jax"] == jax.__version__
    assert 0 < summary["pca.squared_error"] < summary["test.squared_error"] < 64
    assert 0 < summary["seconds_training"] < 60 and 0 < summary["seconds_compile"] < 60

    saved = json.loads((finished / "config.json").read_text())
    assert saved["format"] == 2 and saved["data_shape"] == [8, 8, 1] and saved["latent_shape"] == [3]
    assert saved["model"] == {"name": "gon", "step_size": None, "num_points": None}
    assert saved["training"]["learning_rate"] == 1e-2 and saved["network"]["base_channels"] == 2
    for name in PICTURES:
        with Image.open(finished / name) as picture:
            picture.load()
            assert min(picture.size) > 100

    rows = rows_of(finished)
    assert [row["step"] for row in rows] == [2, 4, 6]
    names = {"step", "loss", "seconds", "validation.squared_error", "validation.psnr"}
    assert all(set(row) == names for row in rows) and np.isfinite([list(row.values()) for row in rows]).all()
    assert [step for step, tag in events_of(finished) if tag == "validation/squared_error"] == [2, 4, 6]

    best = min(rows, key=lambda row: row["validation.squared_error"])["step"]
    with Checkpoints(finished) as checkpoints:
        assert checkpoints.best_step == best == summary["best_step"] and checkpoints.steps == tuple(sorted({best, 6}))
    assert load_run(finished).step == best and load_run(finished, "last").step == 6


@pytest.mark.slow
def test_snapshots_are_what_the_model_decoded_then(finished, tmp_path, undrawn):
    """At steps that double, and the last; a training that was interrupted keeps those of before."""
    run = load_run(finished, "last")
    shown = run.dataset().test.images[spread_indices(355, 10)]
    with np.load(finished / "snapshots.npz") as file:
        rows = {name: file[name] for name in file}
    assert list(rows) == ["step 2", "step 4", "step 6"]
    expected = reconstruct_dataset(run.model, run.variables, shown)
    np.testing.assert_allclose(rows["step 6"] / 255, expected, atol=0.5 / 255 + 1e-6)
    assert np.abs(rows["step 2"].astype(int) - rows["step 6"]).max() > 0

    stopped = tmp_path / "run"
    assert train(config(TINY), stopped, progress=False, should_stop=(stopped / "checkpoints" / "2").is_dir) is None
    train(config(TINY), stopped, resume=True, progress=False)
    with np.load(stopped / "snapshots.npz") as file:
        assert list(file) == list(rows)
        for name, row in rows.items():
            np.testing.assert_array_equal(file[name], row)


CURVES = {"squared_error": [1.0, 2.0, 3.0], "negative_elbo": [2.0, 1.0, 3.0], "accuracy": [0.1, 0.2, 0.2]}


@pytest.fixture
def known_metrics(monkeypatch):
    """Metrics of the validations at steps 2, 4, 6, by which models choose differently."""
    steps = iter(range(100))
    monkeypatch.setattr(loop, "evaluate", lambda *_: {n: v[i % 3] for i in [next(steps)] for n, v in CURVES.items()})


@pytest.mark.quick("gon-*")
@pytest.mark.parametrize(
    ("name", "metric", "best"),
    [
        ("gon", "squared_error", 2),
        pytest.param("vgon", "negative_elbo", 4, marks=pytest.mark.slow),
        ("classifier", "accuracy", 6),
    ],
)
def test_the_best_is_that_by_the_models_own_metric(tmp_path, undrawn, known_metrics, name, metric, best):
    """When a run goes on, too."""
    options, folder = TINY | {"model": name}, tmp_path / "run"
    summary = train(config(options), folder, progress=False)
    assert summary["best_step"] == best == load_run(folder).step and summary["best_by"] == f"validation.{metric}"
    options["num_steps"] = 8
    summary = train(config(options), folder, resume=True, progress=False)
    assert summary["best_by"] == f"validation.{metric}"
    assert summary["best_step"] == (8 if name == "gon" else best)  # of equal squared errors the latest


@pytest.mark.slow
def test_a_run_of_an_older_version_goes_on_by_the_squared_error(tmp_path, undrawn, known_metrics):
    options, folder = TINY | {"model": "classifier"}, tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "selection_metric", lambda model: "squared_error")
        train(config(options), folder, progress=False)
    for path in [folder / "config.json", *folder.glob("checkpoints/*/config/metadata")]:
        values = json.loads(path.read_text())
        assert values.pop("best_by") == "validation.squared_error" and values.pop("crc32")
        path.write_text(json.dumps(values))
    assert load_run(folder).step == 2
    summary = train(config(options | {"num_steps": 10}), folder, resume=True, progress=False)  # 8 is 2's equal
    assert (summary["best_step"], summary["best_by"]) == (8, "validation.squared_error")
    assert load_run(folder).step == 8


def test_without_validation_nothing_chooses(tmp_path, undrawn):
    summary = train(config(TINY | {"num_validation": 0}), tmp_path / "run", progress=False)
    assert summary["best_step"] == 6 and summary["best_by"] is None


def test_pca_is_that_of_numpy(finished):
    data = load_run(finished).dataset()
    x, y = (part.images.reshape(-1, 64) / 255 for part in (data.train, data.test))
    _, _, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
    y = y - x.mean(0)
    expected = np.square(y - y @ v[:3].T @ v[:3]).sum(1).mean()
    np.testing.assert_allclose(read_summary(finished)["pca.squared_error"], expected, rtol=1e-4)


def encoder_of(folder):
    with np.load(folder / "encoder.npz") as file:
        return dict(file)


def test_the_encoder_is_that_of_the_best_checkpoint_and_is_read_where_it_fits(finished, copied, monkeypatch):
    best = load_run(finished)
    x = best.dataset().test.images / np.float32(255)
    saved = encoder_of(finished)
    assert saved["step"] == best.step and saved["latent_shape"].tolist() == [3]
    expected = best.model.encode(best.variables, x)
    np.testing.assert_allclose(x.reshape(len(x), -1) @ saved["matrix"] + saved["bias"], expected, rtol=1e-5, atol=1e-5)

    calls, freeze = [], run_module.frozen_encoder

    def counted(*args):
        calls.append(args)
        return freeze(*args)

    monkeypatch.setattr(run_module, "frozen_encoder", counted)
    load_run(finished)
    assert not calls

    def check():
        calls.clear()
        np.testing.assert_allclose(load_run(copied).encoder.matrix, saved["matrix"], rtol=1e-5, atol=1e-6)
        assert len(calls) == 1

    path = copied / "encoder.npz"
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)
    check()
    np.savez(path, **saved | {"step": saved["step"] + 1})  # of an older or a later training
    check()
    np.savez(path, **saved | {"variables_crc32": saved["variables_crc32"] ^ 1})  # of another training
    check()
    path.unlink()
    check()


def test_resuming_a_finished_run_returns_its_summary_at_once(finished, monkeypatch):
    monkeypatch.setattr(DataConfig, "load", lambda self: pytest.fail("read the images"))
    assert train(config(TINY), finished, resume=True) == read_summary(finished)


@pytest.mark.quick("0")
@pytest.mark.parametrize("saved_before", [0, 1])
def test_a_full_disk_keeps_what_was_saved_and_the_run_goes_on(finished, tmp_path, monkeypatch, undrawn, saved_before):
    saves, save = [], ocp.CheckpointManager.save

    def save_some(self, *args, **kwargs):
        saves.append(args)
        if len(saves) > saved_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        return save(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", save_some)
        with pytest.raises(OSError, match="No space left on device"):
            train(config(TINY), tmp_path / "run", progress=False)
    if saved_before:
        assert load_run(tmp_path / "run").step == 2
    else:
        with pytest.raises(FileNotFoundError, match="no training has saved there yet"):
            load_run(tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # a row that the full disk cut off

    summary = train(config(TINY), tmp_path / "run", resume=True, progress=False)
    assert summary["test.squared_error"] == read_summary(finished)["test.squared_error"]
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [2, 4, 6]
    for ours, theirs in zip(arrays_of(tmp_path / "run"), arrays_of(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_asked_to_stop_it_saves_and_the_run_goes_on(finished, tmp_path, undrawn):
    path = tmp_path / "run" / "checkpoints" / "2"
    assert train(config(TINY), tmp_path / "run", progress=False, should_stop=path.is_dir) is None
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.steps[-1] == 4
    train(config(TINY), tmp_path / "run", resume=True, progress=False)
    assert [row["step"] for row in rows_of(tmp_path / "run")] == [2, 4, 6]
    for ours, theirs in zip(arrays_of(tmp_path / "run"), arrays_of(finished), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_diverged_run_keeps_its_last_good_checkpoint(tmp_path):
    options = dict(norm="none", learning_rate=1e30, warmup_steps=4, validate_every=1)
    with pytest.raises(NonFiniteLossError, match="at step 3"):
        train(config(TINY | options), tmp_path / "run", progress=False)
    run = load_run(tmp_path / "run")
    assert run.step == 1 and all(np.isfinite(a).all() for a in jax.tree.leaves(run.variables))
    assert read_summary(tmp_path / "run") is None


def test_a_constant_schedule_may_be_lengthened(copied, finished, undrawn):
    np.savez(copied / "encoder.npz", **encoder_of(copied) | {"step": 3})  # it will be written anew
    summary = train(config(TINY | {"num_steps": 8}), copied, resume=True, progress=False)
    assert encoder_of(copied)["step"] == summary["best_step"]
    assert summary["num_steps"] == 8 and [row["step"] for row in rows_of(copied)] == [2, 4, 6, 8]
    assert summary["seconds_training"] > read_summary(finished)["seconds_training"]
    assert [step for step, tag in events_of(copied) if tag == "loss"] == [2, 4, 6, 8]


@pytest.mark.parametrize(
    ("options", "flags", "words"),
    [
        ({}, {}, "continue it with --resume, or remove it with --overwrite"),
        ({}, {"resume": True, "overwrite": True}, "got both"),
        ({"learning_rate": 1e-3}, {"resume": True}, "got learning_rate=0.001 instead of 0.01"),
        ({"latent_shape": (4,)}, {"resume": True}, r"got latent_shape=\(4,\) instead of \(3,\)"),
        ({"num_steps": 8, "schedule": "cosine"}, {"resume": True}, "got num_steps=8 instead of 6|got schedule=cosine"),
        ({"batch_size": 2000}, {"overwrite": True}, "batch_size of at most 1422"),
        ({"num_validation": 1442}, {"overwrite": True}, "num_validation from 0 to 1441"),
        ({"latent_shape": (4, 4)}, {"overwrite": True}, "latent_shape"),
        ({"dataset": "digit"}, {"overwrite": True}, "did you mean 'digits'"),
    ],
)
def test_a_mistake_leaves_the_run_as_it_was(copied, options, flags, words):
    before = times_in(copied)
    with pytest.raises(ValueError, match=words):
        train(config(TINY | options), copied, **flags)
    assert times_in(copied) == before


def test_a_folder_with_another_runs_checkpoints_is_left_as_it_was(copied):
    """Its config.json is the one asked for; the checkpoints aren't."""
    change(copied / "config.json", "network", activation="tanh")
    before = times_in(copied)
    with pytest.raises(ValueError, match="activation=tanh.*elu.*one of the two is of another run"):
        train(config(TINY | {"activation": "tanh", "num_steps": 8}), copied, resume=True, progress=False)
    assert times_in(copied) == before


def change(path, part, **changes):
    """Change a part of a configuration in a file."""
    values = unsealed(json.loads(path.read_text()), path)
    path.write_text(json.dumps(values | {part: values[part] | changes}))


def test_runs_from_before_an_option_was_new_are_loaded(copied, finished):
    """By config.json and by the configurations in the checkpoints."""
    for path in [copied / "config.json", *copied.glob("checkpoints/*/config/metadata")]:
        values = json.loads(path.read_text())
        del values["precision"], values["model"]["num_points"], values["training"]["clip_norm"], values["crc32"]
        path.write_text(json.dumps(values))
    assert load_run(copied).config == load_run(finished).config
    assert train(config(TINY), copied, resume=True) == read_summary(finished)
    values = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(values | {"model": {"name": "least_squares"}}))
    with pytest.raises(ValueError, match="model=least_squares, got one with gon in .*of another run"):
        load_run(copied)


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("model", {"name": "diffusion"}, "expected model one of gon, .*got 'diffusion'"),
        ("network", {"depth": 3}, "'depth'.*another version of gon_jax"),
        ("training", {"batch_size": 0}, "batch_size of at least 1, got 0"),
    ],
)
def test_a_configuration_of_another_version_is_refused(copied, part, changes, words):
    change(copied / "config.json", part, **changes)
    with pytest.raises(ValueError, match=words):
        load_run(copied)


def test_stopped_while_compiling_there_is_nothing_to_save_and_the_run_goes_on(tmp_path, finished, undrawn):
    for resume in (False, True):
        stopped = train(config(TINY), tmp_path / "run", resume=resume, progress=False, should_stop=lambda: True)
        assert stopped is None and rows_of(tmp_path / "run") == []
    summary = train(config(TINY), tmp_path / "run", resume=True, progress=False)
    assert summary["test.squared_error"] == read_summary(finished)["test.squared_error"]


def test_a_dataset_and_its_pca_may_be_passed(tmp_path, undrawn, monkeypatch):
    dataset = config(TINY).data.load()
    monkeypatch.setattr(DataConfig, "load", lambda self: pytest.fail("read the images"))
    pca = {"squared_error": 1.5, "psnr": 20.0}
    summary = train(config(TINY), tmp_path / "run", dataset=dataset, pca=pca, progress=False)
    assert (summary["pca.squared_error"], summary["pca.psnr"]) == (1.5, 20.0)


def test_other_images_under_the_same_name_are_refused(copied):
    (copied / "summary.json").unlink()
    saved = unsealed(json.loads((copied / "config.json").read_text()), "config.json") | {"data_shape": [8, 8, 3]}
    (copied / "config.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"expected images \[N, 8, 8, 3\]"):
        train(config(TINY), copied, resume=True)
    assert json.loads((copied / "config.json").read_text()) == saved


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(copied, undrawn):
    mine = [copied / "notes.txt", copied / "photo.png", copied / "data" / "images.npy"]
    mine[2].parent.mkdir()
    for path in mine:
        path.write_text("mine")
    (copied / "metrics.jsonl").write_text('{"step": 1, "loss": 0.0}\n')
    summary = train(config(TINY | {"num_steps": 2}), copied, overwrite=True, progress=False)
    assert summary["num_steps"] == 2 and [row["step"] for row in rows_of(copied)] == [2]
    assert len(list(copied.glob("events.*"))) == 1 and encoder_of(copied)["step"] == 2
    with Checkpoints(copied) as checkpoints:
        assert checkpoints.steps == (2,)
    assert all(path.read_text() == "mine" for path in mine)


@pytest.mark.parametrize("content", [None, '{"architectures": ["Other"]}', "[]", "not JSON"])
def test_a_folder_of_something_else_is_never_touched(tmp_path, content):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine").write_text("mine")
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    for flags in ({"overwrite": True}, {"resume": True}, {}):
        with pytest.raises((ValueError, FileNotFoundError), match="expected"):
            train(config(TINY), tmp_path, **flags)
    assert {path.name for path in tmp_path.rglob("*")} <= {"checkpoints", "mine", "config.json"}
    assert (tmp_path / "checkpoints" / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"latent_shape": [4]}, "latent_shape"),
        ({"network": {"name": "conv", "base_channels": 2, "activation": "tanh"}}, "activation"),
        ({"likelihood": {"name": "bernoulli"}}, "likelihood"),
        ({"data_shape": [16, 16, 1]}, "data_shape"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused(copied, changed, name):
    path = copied / "config.json"
    path.write_text(json.dumps(unsealed(json.loads(path.read_text()), path) | changed))
    with pytest.raises(ValueError, match=f"{name}=.*one of the two is of another run"):
        load_run(copied)


FEW_PICTURES = [name for name in PICTURES if name != "traversal.png"]  # which takes three test examples


@pytest.mark.quick("shape0*")
@pytest.mark.parametrize(
    ("shape", "options", "pictures"),
    [
        (
            (10, 8, 8, 3),
            dict(num_validation=0, norm="none", likelihood="bernoulli", ema_decay=0.9, clip_norm=1, schedule="cosine"),
            FEW_PICTURES,
        ),
        ((30, 8, 8, 2), dict(latent_shape=(4, 4, 2), norm="group", likelihood="gaussian"), PICTURES),
        pytest.param(
            (10, 8, 8, 3),
            dict(model="least_squares", learn_damping=True, likelihood="gaussian"),
            FEW_PICTURES,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_any_model_on_few_images_of_any_channels(tmp_path, shape, options, pictures):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 255, shape, np.uint8))
    tiny = dict(dataset=str(tmp_path / "images.npy"), num_validation=4, num_steps=2, batch_size=4, base_channels=4)
    summary = train(config(TINY | tiny | options), tmp_path / "run", progress=False)
    assert np.isfinite([summary["test.squared_error"], summary["test.psnr"], summary["pca.squared_error"]]).all()
    assert sorted(path.name for path in (tmp_path / "run").glob("*.png")) == sorted(pictures)
    run = load_run(tmp_path / "run")
    saved, x = encoder_of(run.folder), run.dataset().test.images / np.float32(255)
    z = (x.reshape(len(x), -1) @ saved["matrix"]).reshape(-1, *saved["latent_shape"]) + saved["bias"]
    np.testing.assert_allclose(z, run.model.encode(run.variables, x), rtol=1e-4, atol=1e-5 * np.abs(z).max())
    samples = sample(run.model, run.variables, run.dataset().train.images, 5, jax.random.key(0), prior="gaussian")
    assert samples.shape == (5, *run.model.data_shape) and 0 <= samples.min() and samples.max() <= 1


def test_pairs_have_different_labels():
    images, labels = np.arange(100)[:, None, None, None], load_digits().target[:100]
    picked = labels[pairs_of_labels(Split(images, labels), 8).ravel()]
    assert len(picked) == 16 and (picked[0::2] != picked[1::2]).all()
    assert pairs_of_labels(Split(images[:3]), 4).ravel().tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("num_steps", 0), ("batch_size", -1), ("base_channels", 0), ("num_validation", -1), ("warmup_steps", -1)),
        *(("learning_rate", 0.0), ("learning_rate", float("nan")), ("learning_rate", float("inf")), ("scale", 0.0)),
        *(("weight_decay", float("nan")), ("weight_decay", -1.0), ("clip_norm", 0.0), ("step_size", -1.0)),
        *(("ema_decay", 1.0), ("stats_decay", float("nan")), ("validate_every", 0), ("seed", -1), ("seed", 2**32)),
        *(("latent_shape", ()), ("latent_shape", (4, 0, 1)), ("adam_epsilon", 0.0), ("damping", 0.0)),
        *(("precision", "float16"), ("num_points", 0), ("omega_0", 0.0), ("kl_weight", -1.0), ("num_components", 0)),
        *(("inner_noise", "some"), ("logvar", float("nan")), ("num_classes", 1), ("inner_steps", 0)),
    ],
)
def test_a_number_that_makes_no_sense_is_refused_by_name(name, value):
    parts = [Config, DataConfig, TrainingConfig, *(part for kind in REGISTRIES.values() for part in kind.values())]
    parts = [part for part in parts if name in vars(part())]
    for part in parts:
        with pytest.raises(ValueError, match=rf"expected.* {name}\b.*got"):
            part(**{name: value})
    assert parts


@pytest.mark.parametrize(
    "options",
    [
        *({"likelihood": "mse"}, {"model": "ridge"}, {"network": "resnet"}, {"damping": 2.0}, {"hidden_dim": 64}),
        *({"lr": 1.0}, {"name": "gon"}),
    ],
)
def test_an_option_of_another_model_and_an_unknown_name_are_refused(options):
    with pytest.raises(ValueError, match=f"expected.*{next(iter(options))}"):
        Config().replace(**options)


def test_a_model_of_ones_own_is_one_registered_class(tmp_path, undrawn, monkeypatch):
    monkeypatch.setitem(REGISTRIES["model"], "mine", None)

    @register(REGISTRIES["model"], "mine")
    class MyConfig(ModelConfig):
        gain: Positive = 2.0

        def build(self, decoder, likelihood, network):
            return gon(decoder, likelihood=likelihood, step_size=self.gain)

    train(config(TINY | {"model": "mine", "gain": 0.5, "num_steps": 2}), tmp_path / "run", progress=False)
    assert load_run(tmp_path / "run").config.model == MyConfig(0.5)
    with pytest.raises(ValueError, match="gain above 0, got -1"):
        Config().replace(model="mine", gain=-1.0)
