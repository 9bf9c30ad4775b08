"""No output destroys a run, nothing a user gave is left out, every failure is one line."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gon_jax
from gon_jax import memory
from gon_jax._files import read_json, write_json
from gon_jax.checkpoints import Checkpoints
from gon_jax.cli import commands, main, signals
from gon_jax.data import from_arrays
from gon_jax.data.degradations import hide
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.runs import Config, finishing, load_run, train
from gon_jax.runs.lock import LOCK, locked
from gon_jax.training import fit

TINY = (
    "train --dataset images.npz --image-size None --num-validation 20 --latent-shape 3 --base-channels 2 --num-steps 6 "
    "--batch-size 16 --learning-rate 1e-2 --schedule constant --validate-every 2"
)
PROGRAM = [sys.executable, "-m", "gon_jax"]
SOURCE = str(Path(gon_jax.__file__).parents[1])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with images and a finished run `tiny`."""
    from sklearn.datasets import load_digits

    folder = tmp_path_factory.mktemp("made")
    digits = load_digits()
    np.savez(folder / "images.npz", images=np.rint(digits.images[:150] * 255 / 16).astype(np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.main([*shlex.split(TINY), "--run", "tiny"]) == 0
    return folder


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of it, and there we are."""
    folder = Path(shutil.copytree(made, tmp_path / "place"))
    config = folder / "tiny" / "config.json"
    config.write_text(config.read_text().replace(str(made), str(folder)))
    content = json.loads(config.read_text())
    del content["crc32"]
    write_json(config, content)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    return folder


@pytest.fixture
def gon(place, capfd):
    """Run a command line; return the exit status and standard error."""

    def call(line):
        capfd.readouterr()
        status = main.main(shlex.split(line))
        return status, capfd.readouterr().err

    return call


def refuses(gon, line, words, status=1):
    """Expect one line on standard error."""
    got, err = gon(line)
    assert got == status and re.fullmatch(r"gon: [^\n]*\n", err) and re.search(words, err), (got, err)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# -- outputs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "evaluate tiny --output tiny/config.json",
        "evaluate tiny --output tiny/summary.json",
        "evaluate tiny --output tiny/../tiny/config.json",
        "evaluate tiny --output link.json",
        "evaluate tiny --output tiny/checkpoints/a.json",
        "evaluate tiny --output tiny/metrics.jsonl",
        "evaluate tiny --output other/config.json",
        "latents tiny --output tiny/config.png",
        "latents tiny --output tiny/summary.png",
        "latents tiny --output tiny/loss.png",
        "encode tiny --output tiny/encoder.npz",
        "encode tiny --output images.npz",
        "reconstruct tiny --output tiny/loss.png",
        "reconstruct tiny --output tiny/config.npz",
        "interpolate tiny --output tiny/reconstructions.png",
        "sample tiny --output tiny/reconstructions.png",
        "sample tiny --output tiny/encoder.npz",
        "map tiny --output tiny/classes.png",
        "traverse tiny --output tiny/samples.gif",
    ],
)
def test_no_output_replaces_a_file_of_a_run(gon, place, line):
    (place / "link.json").symlink_to(place / "tiny" / "config.json")
    shutil.copytree(place / "tiny", place / "other")
    before = contents(place)
    status, err = gon(line)
    assert status == 1 and re.fullmatch(r"gon: expected an output [^\n]*\n", err), err
    assert contents(place) == before


def test_a_file_beside_the_output_is_not_replaced_unasked(gon, place):
    for name in ("notes.json", "notes.wav"):
        (place / name).write_text("mine")
    refuses(gon, "latents tiny --output notes.png", "got notes.png: notes.json is there already, and would be replaced")
    refuses(gon, "sample tiny --output notes.png", "got notes.png: notes.wav is there already")
    assert (place / "notes.json").read_text() == (place / "notes.wav").read_text() == "mine"
    assert gon("evaluate tiny --output notes.json")[0] == 0  # which names it
    assert gon("sample tiny --output samples.png")[0] == 0
    (place / "samples.wav").write_text("of an earlier call")
    assert gon("sample tiny --output samples.png")[0] == 0


@pytest.mark.parametrize(
    "line", ["sample tiny", "sample tiny --output ./tiny/samples.png", "evaluate tiny --output a.json"]
)
def test_a_commands_own_picture_is_replaced(gon, line):
    assert gon(line) == (0, "")


# -- one writer ----------------------------------------------------------------------------------------------------


def test_a_second_training_in_a_folder_is_refused(gon, place):
    before = contents(place / "tiny")
    with locked(place / "tiny"), locked(place / "new"):
        refuses(gon, f"{TINY} --run tiny --resume --num-steps 8", "no other training writes to, got tiny")
        refuses(gon, f"{TINY} --run tiny --overwrite", "no other training writes to, got tiny")
        refuses(gon, f"{TINY} --run new", "no other training writes to, got new")
    assert contents(place / "tiny") == before and not (place / "new").exists()
    assert gon(f"{TINY} --run tiny --overwrite")[0] == 0


def test_a_file_system_without_locks_is_said(gon, place, monkeypatch, caplog):
    from filelock import FileLock

    def acquire(self, *_, **__):
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", acquire)
    (place / "tiny" / LOCK).touch()
    assert gon(f"{TINY} --run tiny --resume --num-steps 8")[0] == 0
    assert "tiny is on a file system without locks" in caplog.text


def test_the_lock_is_free_after_any_death_and_a_refused_run_leaves_no_folder(gon, place):
    code = "import sys, time; from pathlib import Path; from gon_jax.runs.lock import locked\n"
    code += "with locked(Path('tiny')): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": SOURCE}
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        refuses(gon, f"{TINY} --run tiny --resume --num-steps 8", "no other training")
        holder.kill()
    assert gon(f"{TINY} --run tiny --resume --num-steps 8")[0] == 0
    refuses(gon, f"{TINY} --run deep/new --batch-size 1000", "batch_size of at most")
    assert not (place / "deep").exists()


@pytest.mark.slow
def test_of_two_trainings_at_once_one_runs_whole(place):
    """Started together, many times; whoever is first."""
    words = [*PROGRAM, *shlex.split(TINY), "--run", "runs/both", "--overwrite"]
    env = os.environ | {"PYTHONPATH": SOURCE, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    for turn in range(4):
        both = [
            subprocess.Popen(words[: None if turn else -1], env=env, stderr=subprocess.PIPE, text=True) for _ in "ab"
        ]
        errors = [process.communicate(timeout=120)[1] for process in both]
        statuses = sorted(process.returncode for process in both)
        assert statuses in ([0, 1], [0, 0]), errors  # the second may have come when the first was finished
        if statuses == [0, 1]:
            (loser,) = (error for process, error in zip(both, errors, strict=True) if process.returncode)
            assert "no other training" in loser.splitlines()[-1] or "holds one" in loser.splitlines()[-1]
        rows = [json.loads(line)["step"] for line in (place / "runs/both/metrics.jsonl").read_text().splitlines()]
        assert rows == [2, 4, 6] and load_run(place / "runs/both", "last").step == 6


# -- nothing left out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("encode tiny --input ''", "at least one path"),
        ("encode tiny --input", "at least one path"),
        ("inpaint tiny --fraction 2", "expected"),
        (f"sample tiny --seed {2**32}", "seed of 32 bits"),
        ("sample tiny --seed -1", "seed of 32 bits"),
        (f"evaluate tiny --seed {2**32}", "seed of 32 bits"),
        (f"map tiny --seed {2**32}", "seed of 32 bits"),
        (f"{TINY} --seed {2**32} --run new", "seed of 32 bits"),
        ("encode tiny --input pipe.png", "no file"),
        ("encode tiny --input pipe.npy", "which is none"),
        ("train --dataset pipe.npz", "which is none"),
    ],
)
def test_what_would_be_left_out_or_changed_is_refused(gon, place, line, words):
    for name in ("pipe.png", "pipe.npy", "pipe.npz"):
        os.mkfifo(place / name)
    status, err = gon(line)
    assert status in (1, 2) and re.fullmatch(rf"gon: [^\n]*{words}[^\n]*\n", err), err


def test_what_is_skipped_is_said(gon, place):
    (place / "photos").mkdir()
    for i in range(3):
        Image.fromarray(np.full((8, 8), 40 * i, np.uint8)).save(place / "photos" / f"{i}.png")
        Image.fromarray(np.full((8, 8), 50 * i, np.uint8)).save(place / "photos" / f"{i}.tif")
    (place / "photos" / "broken.png").symlink_to("absent.png")
    (place / "photos" / "notes.txt").write_text("notes")
    status, err = gon("encode tiny --input photos --output codes.npz")
    assert status == 0 and re.search(r"photos: 6 files read, left out: 1 broken links, 1 \.txt", err), err
    assert np.load(place / "codes.npz")["latents"].shape == (6, 3)


def test_a_result_worse_than_the_mean_image_is_said(gon, place, caplog):
    status, err = gon(f"{TINY} --run wild --learning-rate 3e2 --num-steps 20")
    summary = read_json(place / "wild" / "summary.json")
    x = np.load(place / "images.npz")["images"] / 255
    parts = Config().replace(dataset="images.npz", image_size=None, num_validation=20).data.load()
    mean, test = (parts.train.images / 255).mean(0), parts.test.images / 255
    np.testing.assert_allclose(
        summary["mean_image.squared_error"], np.square(test - mean).sum((1, 2, 3)).mean(), rtol=1e-5
    )
    assert status == 0 and len(x) == 150 and summary["test.squared_error"] > summary["mean_image.squared_error"]
    assert re.search(r"is above that of the mean training example, [\d.]+: training has hardly begun", caplog.text), err


# -- JSON ----------------------------------------------------------------------------------------------------------


def edited(path, keys, value):
    """Change one field of a JSON file."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(content))


CONFIGS = [
    (["data", "dataset"], 7, "dataset of type str, got 7"),
    (["network", "base_channels"], 8.5, "base_channels of type int, got 8.5"),
    (["network", "base_channels"], True, "base_channels of type int, got True"),
    (["latent_shape"], [16.0], r"latent_shape of whole numbers, a tuple, got \(16.0,\)"),
    (["latent_shape"], 16, '"latent_shape" of type list in tiny/config.json, got 16'),
    (["latent_shape"], [], "latent_shape of positive sizes"),
    (["data"], "digits", '"data" of type dict in tiny/config.json, got .digits.'),
    (["training"], None, '"training" of type dict .* got None'),
    (["model"], [1], '"model" of type dict .* got .1.'),
    (["model", "name"], 3, "model one of .* got 3"),
    (["training", "learning_rate"], float("nan"), "finite learning_rate, got nan"),
    (["training", "num_steps"], 10**400, "num_steps"),
    (["training", "unknown"], 1, "unknown"),
    (["data_shape"], [8, "8", 1], "data_shape of whole numbers above 0"),
    (["data_shape"], {}, '"data_shape" of type list'),
    (["num_train"], "many", '"num_train" of type int or null'),
    (["best_by"], 1, '"best_by" of type str or null'),
    (["fingerprint"], [], '"fingerprint" of type dict or null'),
    (["format"], 3, "format 2, got 3"),
    (["format"], None, "format 2, got None"),
]


@pytest.mark.parametrize(
    ("keys", "value", "words"), CONFIGS, ids=[f"{'.'.join(k)}={str(v)[:12]}" for k, v, _ in CONFIGS]
)
def test_an_edited_configuration_is_refused_by_file_and_field(gon, place, keys, value, words):
    edited(place / "tiny" / "config.json", keys, value)
    refuses(gon, "evaluate tiny", words)
    refuses(gon, "evaluate tiny", "tiny/config.json")


SUMMARIES = [
    (["num_steps"], "6", '"num_steps" of type int in tiny/summary.json, got .6.'),
    (["test.squared_error"], None, '"test.squared_error" of type float .* got None'),
    (["test.psnr"], [], '"test.psnr" of type float'),
    (["pca.squared_error"], float("inf"), '"pca.squared_error" of type float .* got inf'),
    (["versions"], [], '"versions" of type dict'),
    (["model"], 1, '"model" of type str'),
]


@pytest.mark.parametrize(("keys", "value", "words"), SUMMARIES)
@pytest.mark.parametrize("line", ["show tiny", f"{TINY} --run tiny --resume"], ids=["show", "resume"])
def test_an_edited_summary_is_refused_by_file_and_field(gon, place, keys, value, words, line):
    edited(place / "tiny" / "summary.json", keys, value)
    refuses(gon, line, words)


@pytest.mark.parametrize("content", ["[1]", '"abc"', "7", "null", "[" * 100_000, "", "\xff", '{"step": 1'])
@pytest.mark.parametrize("name", ["config.json", "summary.json"])
def test_another_json_is_refused_by_file(gon, place, name, content):
    (place / "tiny" / name).write_bytes(content.encode("latin1"))
    refuses(gon, "show tiny" if name == "summary.json" else "evaluate tiny", f"tiny/{name}")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"loss": 1.0}', '"step" of type int .*metrics.jsonl, line 2, got nothing'),
        ('{"step": 4, "loss": "x"}', '"loss" of type float .*metrics.jsonl, line 2'),
        ('{"step": 4, "loss": 1, "validation.squared_error": []}', '"validation.squared_error" of type float'),
        ("[4]", "object of JSON in .*metrics.jsonl, line 2"),
        ("[" * 100_000, "JSON in .*metrics.jsonl, line 2"),
    ],
)
def test_a_damaged_row_of_the_log_is_refused_by_its_line(gon, place, row, words):
    path = place / "tiny" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], row, lines[2]]) + "\n")
    refuses(gon, f"{TINY} --run tiny --resume --num-steps 8", words)


def test_a_changed_configuration_is_known_by_its_checksum(made, gon, place):
    config = place / "tiny" / "config.json"
    config.write_text((made / "tiny" / "config.json").read_text())
    assert gon("encode tiny --input images.npz")[0] == 0
    edited(config, ["data", "memory"], 1.0)
    refuses(gon, "encode tiny --input images.npz", 'config.json as it was written, got other contents .by its "crc32".')
    content = json.loads(config.read_text())
    del content["crc32"]
    write_json(config, content)
    assert gon("encode tiny --input images.npz")[0] == 0


# -- checkpoints ---------------------------------------------------------------------------------------------------


def flip(path, place=None):
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if place is None else place] ^= 1
    path.write_bytes(content)


@pytest.fixture
def two(tmp_path, monkeypatch):
    """A run whose best checkpoint is the first of two."""
    monkeypatch.setattr(finishing, "draw", lambda *_, **__: None)
    errors = iter([1.0, 2.0, 3.0])
    from gon_jax.training import loop

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate", lambda *_: {"squared_error": next(errors)})
        config = Config().replace(
            dataset="digits", image_size=None, num_validation=20, latent_shape=(3,), base_channels=2
        )
        config = config.replace(num_steps=6, batch_size=16, learning_rate=1e-2, validate_every=2)
        train(config, tmp_path / "two", progress=False)
    with Checkpoints(tmp_path / "two") as checkpoints:
        assert (checkpoints.steps, checkpoints.best_step) == ((2, 6), 2)
    return config, tmp_path / "two"


@pytest.mark.slow
def test_damaged_scores_never_make_another_the_best(two):
    """Each bit of the file that could: an error that names the checkpoint, or the same best."""
    config, folder = two
    path = folder / "checkpoints" / "2" / "scores" / "metadata"
    content, noticed = path.read_bytes(), 0
    for i in range(len(content)):
        for bit in (1, 4, 16):
            path.write_bytes(content[:i] + bytes([content[i] ^ bit]) + content[i + 1 :])
            try:
                with Checkpoints(folder) as checkpoints:
                    assert checkpoints.best_step == 2
            except OSError as error:
                assert "whole checkpoint 2" in str(error) and "\n" not in str(error)
                noticed += 1
    assert noticed > len(content)


def test_a_run_goes_on_from_the_last_whole_checkpoint(two, caplog):
    config, folder = two
    expected = [np.asarray(leaf) for leaf in jax.tree.leaves(load_run(folder, "last").variables)]
    for path in (folder / "checkpoints" / "6" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OSError, match="whole checkpoint 6"):  # a finished run looks at its checkpoints
        train(config, folder, resume=True, progress=False)
    (folder / "summary.json").unlink()
    train(config, folder, resume=True, progress=False)
    assert "checkpoint 6 is removed, and training goes on from 2" in caplog.text
    for ours, theirs in zip(jax.tree.leaves(load_run(folder, "last").variables), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# -- bounded work --------------------------------------------------------------------------------------------------


def huge_npy(path):
    header = {"descr": "|u1", "fortran_order": False, "shape": (2**48 // 64, 8, 8)}
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64 * 100))


def zeros_npz(path, megabytes):
    """Many zeros in a small file."""
    shape = (megabytes * 10**6 // 64, 8, 8)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for _ in range(megabytes):
            file.write(bytes(10**6))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train --dataset huge.npy", "damaged"),
        ("encode tiny --input huge.npy", "damaged"),
        (
            "train --dataset zeros.npz --minutes 1",
            "the arrays of .*zeros.npz to fit into memory, got 0.2 GB of 0.1 GB free",
        ),
        ("encode tiny --input zeros.npz", "to fit into memory"),
        ("sample tiny --num 100000000000", "num below 2.31"),
        ("sample tiny --num 1000000000", "1,000,000,000 examples .8, 8, 1. to fit into memory, got 512 GB"),
        ("interpolate tiny --num-pairs 1000000000", "1,000,000,000 pairs to fit into memory"),
        ("interpolate tiny --num-points 1000000000", "to fit into memory"),
        ("evaluate tiny --batch-size 1000000000000", "batch_size below 2.31"),
        (f"{TINY} --run new --latent-shape 1000000000", "parameters, their gradient .* to fit into memory"),
        (f"{TINY} --run new --latent-shape 9999999999999999999", "latent_shape"),
        (f"{TINY} --run new --image-size 32 --base-channels 1000000", "to fit into memory"),
        (f"{TINY} --run new --base-channels 99999999999", "base_channels below 2.31"),
        (f"{TINY} --run new --batch-size 1000000", "batch_size of at most"),
        (f"{TINY} --run new --num-steps 99999999999", "num_steps"),
    ],
)
def test_work_that_no_machine_can_do_is_refused_before_it_begins(gon, place, monkeypatch, line, words):
    huge_npy(place / "huge.npy")
    if "zeros" in line:
        zeros_npz(place / "zeros.npz", 200)
        monkeypatch.setattr(memory, "free_memory", lambda: 10**8)
    before, start = contents(place), time.monotonic()
    status, err = gon(line)
    assert status in (1, 2) and re.fullmatch(rf"gon: [^\n]*{words}[^\n]*\n", err), err
    assert contents(place) == before and not (place / "new").exists() and time.monotonic() - start < 30


def test_a_batch_above_the_number_of_examples_is_all_of_them(gon):
    assert gon("evaluate tiny --batch-size 1000000000")[0] == 0


# -- one line ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("math domain error"), "gon show failed by ValueError: math domain error; GON_TRACEBACK=1"),
        (ValueError("embedded null byte"), "gon show failed by ValueError: embedded null byte"),
        (KeyError("step"), "gon show failed by KeyError: 'step'"),
        (RuntimeError("two\nlines"), "gon show failed by RuntimeError: two lines"),
        (AssertionError(), "gon show failed by AssertionError"),
        (RecursionError("too deep"), "gon show failed by RecursionError"),
        (MemoryError("of 233 TiB"), "out of memory, lower --batch-size"),
        (OSError(28, "No space left on device"), "no space is left on the disk; make room"),
        (PermissionError(13, "Permission denied", "tiny/a.png"), "Permission denied: tiny/a.png; check the path"),
    ],
)
def test_any_other_exception_is_one_line(gon, monkeypatch, error, words):
    def show(run: str):
        raise error

    monkeypatch.setitem(commands.COMMANDS, "show", show)
    refuses(gon, "show --run tiny", words)
    monkeypatch.setenv("GON_TRACEBACK", "1")
    with pytest.raises(type(error)):
        gon("show --run tiny")


def test_threads_of_others_are_silent_beside_the_error(gon, monkeypatch):
    def show(run: str):
        def fail():
            raise OSError("Event loop is closed")

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
        raise ValueError("expected this line alone")

    monkeypatch.setitem(commands.COMMANDS, "show", show)
    hooks = threading.excepthook, sys.unraisablehook
    refuses(gon, "show --run tiny", "expected this line alone")
    assert (threading.excepthook, sys.unraisablehook) == hooks


@contextlib.contextmanager
def program(place, *words, **env):
    env = os.environ | {"PYTHONPATH": SOURCE, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"} | env
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, *words], cwd=place, env=env, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()  # one that has not ended, as it should have


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
@pytest.mark.parametrize(
    "seconds", [0.3, pytest.param(1.5, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_a_signal_at_any_time_is_one_line(place, number, status, word, seconds):
    """While it imports, reads, computes and draws: the process itself."""
    with program(place, "map", "tiny", "--method", "tsne") as process:
        time.sleep(seconds)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, f"gon: {word}\n") or (process.returncode, err) == (0, "")


def test_a_second_ctrl_c_ends_it_at_once(place):
    with program(place, *shlex.split(TINY), "--run", "long", "--num-steps", "100000000") as process:
        while not (place / "long" / "metrics.jsonl").is_file() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(1)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("gon: interrupted") and "Traceback" not in err


@pytest.mark.parametrize(
    "damage",
    [
        "checkpoints/6/state",
        *(pytest.param(f"checkpoints/6/{item}", marks=pytest.mark.slow) for item in ("scores", "leaves", "config")),
    ],
)
def test_a_damaged_checkpoint_is_one_line_of_the_process(place, damage):
    for path in (place / "tiny" / damage).rglob("*"):
        if path.is_file() and path.stat().st_size:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    which = "best" if "scores" in damage else "last"
    with program(place, "evaluate", "tiny", "--which", which) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and re.fullmatch(r"gon: expected a whole checkpoint 6 [^\n]*\n", err), err


def test_a_platform_that_is_not_there_is_one_line(place):
    with program(place, "evaluate", "tiny", JAX_PLATFORMS="cuda") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and re.fullmatch(r"gon: [^\n]*JAX_PLATFORMS=cuda[^\n]*\n", err), err


# -- library functions ---------------------------------------------------------------------------------------------


def tiny_model():
    return gon_jax.gon(conv_decoder((8, 8, 1), (3,), base_channels=2))


X = np.zeros((4, 8, 8, 1), np.float32)
PARAMS, Z0 = jnp.ones((1, 3)), jnp.zeros((4, 1))
MISTAKES = {
    "ema_decay": lambda: fit(tiny_model(), X, 2, jax.random.key(0), batch_size=2, ema_decay=2),
    "num_steps": lambda: fit(tiny_model(), X, -1, jax.random.key(0), batch_size=2),
    "validate_every": lambda: fit(tiny_model(), X, 2, jax.random.key(0), batch_size=2, validation=X, validate_every=0),
    "key=0": lambda: fit(tiny_model(), X, 2, 0, batch_size=2),
    "key uint32": lambda: fit(tiny_model(), X, 2, jax.random.PRNGKey(0), batch_size=2),
    "empty data": lambda: fit(tiny_model(), X[:0], 2, jax.random.key(0), batch_size=2),
    "batch_size 2.5": lambda: fit(tiny_model(), X, 2, jax.random.key(0), batch_size=2.5),
    "encode steps": lambda: gon_jax.encode(lambda w, z: z @ w, PARAMS, jnp.ones((4, 3)), Z0, num_steps=-1),
    "encode empty": lambda: gon_jax.encode(lambda w, z: z @ w, PARAMS, jnp.ones((0, 3)), Z0[:0]),
    "encode integers": lambda: gon_jax.encode(lambda w, z: z @ w, PARAMS, jnp.ones((4, 3), int), Z0),
    "step_size 0": lambda: gon_jax.gon(conv_decoder((8, 8, 1), (3,)), step_size=0),
    "step_size nan": lambda: gon_jax.gon(conv_decoder((8, 8, 1), (3,)), step_size=float("nan")),
    "vgon step_size": lambda: gon_jax.vgon(conv_decoder((8, 8, 1), (3,)), step_size=-1.0),
    "independent": lambda: gon_jax.gon(
        gon_jax.Decoder(lambda w, z, stats=None: (z, None), lambda key: {}, (3,), independent="no")
    ),
    "base_channels": lambda: conv_decoder((8, 8, 1), (3,), base_channels=2.5),
    "latent_shape": lambda: conv_decoder((8, 8, 1), (0,)),
    "latent_shape float": lambda: conv_decoder((8, 8, 1), (3.0,)),
    "data_shape": lambda: conv_decoder((8, 8, 0), (3,)),
    "hidden_dim": lambda: siren_decoder(gon_jax.coordinates.grid(4, 4), 3, hidden_dim=0),
    "siren latent": lambda: siren_decoder(gon_jax.coordinates.grid(4, 4), 0),
    "freeze": lambda: gon_jax.freezing.freeze(None, "squared_error"),
    "model floats": lambda: tiny_model().encode(
        tiny_model().init(jax.random.key(0)), 255 * np.ones((4, 8, 8, 1), np.float32)
    ),
    "model empty": lambda: tiny_model().encode(tiny_model().init(jax.random.key(0)), X[:0]),
    "latent width": lambda: tiny_model().decode(tiny_model().init(jax.random.key(0)), jnp.zeros((2, 4))),
    "slerp integers": lambda: gon_jax.latents.slerp(jnp.array([1, 0]), jnp.array([0, 1]), 0.5),
    "in no batches": lambda: gon_jax.evaluate(tiny_model(), tiny_model().init(jax.random.key(0)), X, batch_size=0),
    "optimizer": lambda: fit(tiny_model(), X, 2, jax.random.key(0), batch_size=2, optimizer="adam"),
    "samples 2.5": lambda: gon_jax.inference.sample(tiny_model(), None, X, 2.5, jax.random.key(0)),
    "samples key": lambda: gon_jax.inference.sample(tiny_model(), None, X, 2, 0),
    "no samples": lambda: gon_jax.inference.sample(tiny_model(), None, X, 0, jax.random.key(0)),
    "interpolate": lambda: gon_jax.inference.interpolate(tiny_model(), tiny_model().init(jax.random.key(0)), X[:3]),
    "from no arrays": lambda: from_arrays(np.zeros((0, 8, 8, 1), np.uint8)),
    "draws": lambda: gon_jax.metrics.evaluate_bound(
        gon_jax.vgon(conv_decoder((8, 8, 1), (3,), base_channels=2)), None, X, jax.random.key(0), num_samples=10**10
    ),
    "hide": lambda: hide(X, "random", 2.0),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_library_function_refuses_a_mistake_in_one_line(name):
    with pytest.raises((ValueError, TypeError), match=r"^expected [^\n]*, got [^\n]*$"):
        MISTAKES[name]()


def test_a_state_that_was_used_up_is_named():
    model = tiny_model()
    state = fit(model, X, 2, jax.random.key(0), batch_size=2, progress=False).state
    fit(model, X, 4, state=state, batch_size=2, progress=False)
    with pytest.raises(ValueError, match=r"^expected a state that [^\n]*, got [^\n]*used up[^\n]*$"):
        fit(model, X, 6, state=state, batch_size=2, progress=False)


def test_a_frozen_encoder_of_another_likelihood_is_refused():
    """One of the squared error, folded, gives other latents than a Bernoulli's model."""
    from gon_jax.likelihoods import bernoulli

    model = tiny_model()
    other = gon_jax.gon(conv_decoder((8, 8, 1), (3,), base_channels=2), likelihood=bernoulli)
    result = fit(
        model,
        X + np.linspace(0, 1, 4, dtype=np.float32)[:, None, None, None],
        2,
        jax.random.key(0),
        batch_size=2,
        progress=False,
    )
    variables = result.state.variables
    encoder = gon_jax.inference.frozen_encoder(model, variables)
    with pytest.raises(ValueError, match=r"^expected an encoder of [^\n]*bernoulli, got [^\n]*squared_error"):
        gon_jax.inference.encode_dataset(other, variables, X, encoder=encoder)


@pytest.mark.slow
def test_memory_does_not_grow_with_models():
    """A new model at each fit: what each compiled is freed with it."""
    code = """
import gc, os, sys, jax, numpy as np, gon_jax
from gon_jax.decoders import conv_decoder
x = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype(np.float32)
def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
def turn():
    model = gon_jax.gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    gon_jax.fit(model, x, 4, jax.random.key(0), batch_size=16, progress=False)
for _ in range(8):
    turn()
before = resident()
for _ in range(16):
    turn()
print((resident() - before) / 16)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": SOURCE}
    )
    assert float(out.stdout) < 3, out  # MB per model: 6 where nothing was freed


def test_handlers_are_those_of_before(gon):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert gon("show tiny")[0] == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before and signals.leave_at_once
    assert (Path("tiny") / LOCK).is_file()


# -- data, other runs, links, pipes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "reconstruct tiny --input mine.png --output mine.png",
        "encode tiny --input in.npz --output in.npz",
        "encode tiny --input photos --output photos/old.npz",
        "reconstruct of_photos --output photos/3.png",
        "reconstruct of_photos --output photos/new.png",
    ],
)
def test_no_output_replaces_what_is_read_or_joins_it(gon, place, line):
    (place / "photos").mkdir()
    for i in range(20):
        Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(place / "photos" / f"{i}.png")
    shutil.copy(place / "photos" / "1.png", place / "mine.png")
    for name in ("in.npz", "photos/old.npz"):
        shutil.copy(place / "images.npz", place / name)
    if "of_photos" in line:
        edited(place / "tiny" / "config.json", ["data", "dataset"], str(place / "photos"))
        (place / "tiny").rename(place / "of_photos")
    before = contents(place)
    status, err = gon(line)
    assert status == 1 and re.fullmatch(r"gon: expected an output [^\n]*\n", err), err
    assert contents(place) == before


def test_a_run_among_its_own_data_is_refused(gon, place):
    (place / "photos").mkdir()
    refuses(gon, "train --dataset photos --run photos/run", "not among its data, got photos/run in")
    assert not (place / "photos" / "run").exists()


@pytest.mark.parametrize("line", [f"{TINY} --run tiny --resume --num-steps 2", f"{TINY} --run '' "])
def test_fewer_steps_and_an_empty_name_are_refused(gon, line):
    refuses(gon, line, "num_steps=2 instead of 6|got the working directory, or an empty name")


def test_checkpoints_of_another_run_or_another_step_are_refused(gon, place):
    assert gon(f"{TINY} --run other --seed 5")[0] == 0
    shutil.copytree(place / "other" / "checkpoints", place / "tiny" / "checkpoints", dirs_exist_ok=True)
    refuses(gon, "evaluate tiny", "seed=0, got one with 5 in .*one of the two is of another run")
    shutil.rmtree(place / "other" / "checkpoints" / "2", ignore_errors=True)
    shutil.rmtree(place / "other" / "checkpoints" / "4", ignore_errors=True)
    (place / "other" / "checkpoints" / "6").rename(place / "other" / "checkpoints" / "5")
    refuses(gon, "evaluate other --which last", "expected step 5 in .*got step 6: the folder was renamed or copied")


@pytest.mark.parametrize("factor", [2, np.nan])
def test_an_encoder_with_other_numbers_is_not_used(gon, place, factor):
    from gon_jax.inference import frozen_encoder

    path = place / "tiny" / "encoder.npz"
    arrays = dict(np.load(path))
    np.savez(path, **arrays | {"matrix": (arrays["matrix"] * factor).astype(np.float32)})
    run = load_run(place / "tiny")
    np.testing.assert_array_equal(run.encoder.matrix, frozen_encoder(run.model, run.variables).matrix)


def test_paths_links_and_files_that_are_there_stay(gon, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    (place / "a.json.partial").write_text("mine")
    assert gon("evaluate tiny --output=~/a.json")[0] == 0
    assert (place / "a.json").is_file() and not (place / "~").exists()
    assert (place / "a.json.partial").read_text() == "mine"
    (place / "target.json").write_text("{}")
    (place / "to.json").symlink_to("target.json")
    assert gon("evaluate tiny --output to.json")[0] == 0
    assert (place / "to.json").is_symlink() and "squared_error" in (place / "target.json").read_text()
    (place / "elsewhere").mkdir()
    (place / "tiny" / "checkpoints").rename(place / "elsewhere" / "checkpoints")
    (place / "tiny" / "checkpoints").symlink_to(place / "elsewhere" / "checkpoints")
    assert gon(f"{TINY} --run tiny --overwrite")[0] == 0
    assert (place / "elsewhere" / "checkpoints").is_dir() and load_run(place / "tiny", "last").step == 6


def test_a_pipe_without_a_reader_stops_no_training(place):
    """A progress bar that cannot be written is dropped; Ctrl-C still saves."""
    with program(place, *shlex.split(TINY), "--run", "long", "--num-steps", "100000000") as process:
        process.stderr.close()
        process.stdout.close()
        log = place / "long" / "metrics.jsonl"
        while process.poll() is None and not (log.is_file() and log.stat().st_size):
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert load_run(place / "long", "last").step > 0


def test_warnings_are_one_line_for_users_and_none_for_others(gon, monkeypatch):
    def show(run: str):
        warnings.warn("for\nusers", UserWarning, stacklevel=1)
        warnings.warn("for others", ResourceWarning, stacklevel=1)
        return 0

    monkeypatch.setitem(commands.COMMANDS, "show", show)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert gon("show --run tiny") == (0, "gon: for users\n")


def test_a_table_that_can_be_read_in_two_ways_is_refused(gon, place):
    (place / "a.csv").write_text("0,5;0,7\n1,5;2,5\n" * 10)
    refuses(gon, "train --dataset a.csv --value-range 0 9", "one separator, got rows of one length by ',' and ';'")
