"""The command `gon` as a stranger meets it: help, mistakes, metrics, signals."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from PIL import Image

import gon_jax
from gon_jax._files import crc32, unsealed
from gon_jax.checkpoints import Checkpoints
from gon_jax.cli import commands, common, main
from gon_jax.data.splits import draw_held_out
from gon_jax.inference import decode_latents
from gon_jax.runs import PRESETS, finishing, load_run, trainer
from gon_jax.runs.config import DataConfig
from gon_jax.runs.lock import LOCK
from gon_jax.runs.restoring import restore
from gon_jax.runs.saved import read_config

TINY = (
    "train --dataset images.npz --image-size None --num-validation 20 --latent-shape 3 --base-channels 2 --num-steps 4 "
    "--batch-size 16 --learning-rate 1e-2 --schedule constant --validate-every 2"
)


CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")  # escape codes, and the carriage returns of bars


def write_images(folder):
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images[:150] * 255 / 16).astype(np.uint8)
    np.savez(folder / "images.npz", images=images, labels=digits.target[:150])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images and a finished run `tiny`."""
    folder = tmp_path_factory.mktemp("place")
    write_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(folder / ".cache")))
        assert main.main(shlex.split(TINY) + ["--run", "tiny"]) == 0
    return folder


@pytest.fixture
def gon(place, monkeypatch, capsys):
    """Run a command line in the place of the run; return the exit status, standard output and standard error."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(place / ".cache")))
    monkeypatch.setenv("COLUMNS", "80")
    capsys.readouterr()

    def call(line):
        status, out, err = main.main(shlex.split(line)), *capsys.readouterr()
        assert not CONTROL.search(out + err), "control characters, and this is no terminal"
        return status, out, err

    return call


def files_in(folder):
    """Return when each file was written; the lock has no contents, and an older filelock touches it."""
    return {path: path.name == LOCK or path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "line",
    [
        *("", "--help", "--help-all", "train gon-mnist --help", "train gon-mnist --help-all", "import --help-all"),
        "train gon-mnist --model vgon --network=siren --help-all",
        *(f"{name} --help" for name in commands.COMMANDS),
    ],
)
def test_help_fits_80_columns(gon, line):
    status, out, err = gon(line)
    assert (status, err) == (0, "")
    assert max(len(line) for line in out.splitlines() if not line.startswith("usage: ")) <= 80
    if line in ("", "--help", "--help-all"):
        assert all(re.search(rf"^  {name} ", out, re.MULTILINE) for name in commands.COMMANDS)
        assert {*PRESETS} <= {*out.split()}
        assert all(re.search(rf"^  {name} .* steps$", out, re.M) for name in PRESETS) == (line == "--help-all")
    elif line.startswith("train") and line.endswith("--help-all"):
        config = PRESETS["gon-mnist"].replace(**{"model": "vgon", "network": "siren"} if "vgon" in line else {})
        names = [*config.options(), "run", "resume", "overwrite"]
        assert all(f"--{name.replace('_', '-')} " in out for name in names)
        assert ("--kl-weight " in out) == ("--omega-0 " in out) == ("vgon" in line)
        assert ("--num-points " in out) == ("--base-channels " in out) == ("vgon" not in line)


def test_help_of_a_preset_shows_its_values(gon):
    out = " ".join(gon("train gon-mnist-256 --help-all")[1].replace("│", " ").split())
    expected = {"latent-shape": "256", "learning-rate": "0.0002", "num-validation": "0", "batch-size": "64"}
    for option, value in expected.items():
        assert re.search(rf"--{option} [^-]*?\(default: {re.escape(value)}\)", out), option
    assert "(default: runs/gon-mnist-256)" in out


def test_version(gon):
    assert gon("--version") == (0, f"gon_jax {gon_jax.__version__}\n", "")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("trian", "did you mean 'train'"),
        ("train gon-digit", "did you mean 'gon-digits'"),
        ("train digits", "preset: expected one of gon-digits, "),
        ("train --batchsize 3", "--batchsize"),
        ("train --norm layer", r"'layer'.*\('batch', 'group', 'none'\)"),
        ("train --num-steps 1.5", "--num-steps.*'1.5'"),
        ("train --latent-shape a", "--latent-shape.*'a'"),
        ("train --batch-size", "--batch-size"),
        ("train --batch-size 0", "batch_size of at least 1, got 0"),
        ("train --learning-rate nan", "finite learning_rate, got nan"),
        ("train --latent-shape 0", r"latent_shape of positive sizes, got \(0,\)"),
        ("train --seed 99999999999999999999", "seed of 32 bits"),
        ("train --model ridge", "--model: expected one of gon, least_squares, .*; got 'ridge'"),
        ("train --dataset digits --network=sirenn", "--network: .*did you mean 'siren'"),
        ("--import absent.py train", "absent.py; check the path"),
        ("--import no_such_module train", "no_such_module .* ModuleNotFoundError"),
        ("train --model", "--model"),
        ("train --model least_squares --step-size 1", "Unrecognized options: --step-size"),
        ("train --damping 2", "Unrecognized options: --damping"),
        ("train --network siren --norm group", "Unrecognized options: --norm"),
        ("train --kl-weight 2", "Unrecognized options: --kl-weight"),
        ("train --model=least_squares --damping 0", "damping above 0, got 0"),
        ("train --likelihood gaussian --scale 0", "scale above 0, got 0"),
        ("train --schedule cosine --num-steps 5 --warmup-steps 5", "warmup_steps below num_steps=5, got 5"),
        ("evaluate", "RUN"),
        ("evaluate tiny --split dev", "'dev'"),
        ("sample tiny other", "other"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(gon, place, line, words):
    before = files_in(place)
    status, out, err = gon(line)
    assert (status, out) == (2, "") and re.fullmatch(rf"gon: [^\n]*{words}[^\n]*\n", err), err
    assert not re.search("[─│╭]|---", err) and files_in(place) == before


@pytest.fixture(scope="module")
def bad(place):
    """Files with something wrong."""
    gray = np.full((40, 8, 8), 0.5, np.float32)
    np.save(place / "nan.npy", np.where(np.arange(8) == 3, np.nan, gray))
    np.save(place / "range.npy", gray * 4)
    np.save(place / "28.npy", np.full((40, 28, 28), 9, np.uint8))
    np.save(place / "rgb.npy", np.full((40, 8, 8, 3), 9, np.uint8))
    (place / "text.npy").write_text("not an array")
    (place / "empty").mkdir()
    (place / "mine").mkdir()
    (place / "mine" / "notes.txt").write_text("mine")
    (place / "broken").mkdir()
    (place / "broken" / "image.png").write_text("not an image")
    unfinished = place / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.json").write_bytes((place / "tiny" / "config.json").read_bytes())
    swapped = place / "swapped"
    swapped.mkdir()
    (swapped / "checkpoints").symlink_to(place / "tiny" / "checkpoints")
    config = unsealed(json.loads((place / "tiny" / "config.json").read_text()), "config.json")
    (swapped / "config.json").write_text(json.dumps(config | {"network": {"name": "conv", "base_channels": 4}}))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--dataset 28.npy", "8, 16, 32, 64, 128, 256.*28, 28, 1"),
        ("--dataset nan.npy", "NaN"),
        ("--dataset range.npy", r"floats in \[0, 1\]"),
        ("--dataset text.npy", "text.npy, which cannot be read"),
        ("--dataset absent.npy", "absent.npy, which does not exist"),
        ("--dataset ./absent", "./absent, which does not exist"),
        ("--dataset empty", "expected images.*in \\S*empty"),
        ("--dataset broken", "broken/image.png"),
        ("--dataset mnits", "did you mean 'mnist'"),
        ("--image-size 9", r"got image_shape=\(9, 9, 1\)"),
        ("--latent-shape 4 4", r"latent_shape \(k,\) or \(h, h, c\)"),
        ("--latent-shape 3 3 2", r"got \(3, 3, 2\)"),
        ("--latent-shape 8 8 2", r"got \(8, 8, 2\)"),
        ("--num-validation 135", "num_validation from 0 to 134, got 135"),
        ("--batch-size 116", "batch_size of at most 115.*got 116"),
        ("--run tiny", "--resume.*--overwrite"),
        ("--run tiny --resume --overwrite", "got both"),
        ("--run tiny --resume --learning-rate 0.1", "learning_rate=0.1 instead of 0.01"),
        ("--run absent --resume", "expected a run in absent"),
        ("--run mine", "mine, which holds other things"),
        ("--run mine --overwrite", "mine, which holds other things"),
        ("--run . --overwrite", "got the working directory"),
        ("--run images.npz", "got the file images.npz"),
        ("--run images.npz/run", "images.npz/run"),
        ("evaluate absent", "expected a run in absent"),
        ("evaluate unfinished", "no training has saved there yet"),
        ("evaluate swapped", "base_channels=4.*2.*of another run"),
        ("evaluate tiny --dataset rgb.npy", r"expected images \[N, 8, 8, 1\]"),
        ("evaluate tiny --output metrics.txt", "ends in .json"),
        ("evaluate tiny --batch-size 0", "batch_size of at least 1"),
        ("evaluate tiny --split validation --dataset 28.npy", "choose --split test"),
        ("show unfinished", "got no summary.json"),
        ("reconstruct tiny --output out.jpg", "ends in .png or .npz"),
        ("reconstruct tiny --output images.npz/out.png", "can be written to"),
        ("reconstruct tiny --output out.png --num 0", "num of at least 1"),
        ("reconstruct tiny --output out.png --input absent.png", "absent.png, which does not exist"),
        ("reconstruct tiny --output out.png --input tiny/loss.png empty", "expected images.*in \\S*empty"),
        ("encode tiny --output out.png", "ends in .npz"),
        ("encode tiny --output out.npz --input nan.npy", "NaN"),
        ("interpolate absent", "expected a run in absent"),
        ("interpolate tiny --input tiny/loss.png", "an even number of them, got 1"),
        ("interpolate tiny --num-points 1", "num_points, a whole number of at least 2, got 1"),
        ("sample tiny --output out.txt", "ends in .png or .npz"),
        ("sample tiny --num 0", "num of at least 1"),
        ("sample tiny --seed 99999999999999999999", "seed of 32 bits"),
    ],
)
def test_bad_input_is_one_line_before_any_training(gon, place, bad, line, words, monkeypatch):
    monkeypatch.setattr(trainer, "fit", lambda *_, **__: pytest.fail("trained"))
    before = files_in(place)
    run = "" if "--run" in line else "--run new"
    status, out, err = gon(f"{TINY} {run} {line}" if line.startswith("--") else line)
    assert (status, out) == (1, "") and re.fullmatch(rf"gon: [^\n]*{words}[^\n]*\n", err), err
    assert files_in(place) == before


@pytest.mark.parametrize("line", ["evaluate tiny --output a.txt", "encode tiny --output a.txt", "sample tiny --num 0"])
def test_the_output_is_checked_before_any_work(gon, monkeypatch, line):
    monkeypatch.setattr(trainer, "load_run", lambda *_: pytest.fail("loaded"))
    assert gon(line)[0] == 1


def test_a_diverged_training_and_a_lack_of_memory_are_one_line(gon, place, monkeypatch):
    status, _, err = gon(f"{TINY} --run diverged --norm none --learning-rate 1e30")
    assert status == 1 and [line[:14] for line in err.splitlines() if "gon:" in line] == ["gon: expected "]
    assert "finite loss" in err and "Traceback" not in err and (place / "diverged" / "config.json").is_file()
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 512000000000000 bytes.\nMore")
    monkeypatch.setattr(trainer, "fit", lambda *_, **__: (_ for _ in ()).throw(error))
    status, _, err = gon(f"{TINY} --run huge")
    last = err.splitlines()[-1]
    assert status == 1 and last.startswith("gon: out of memory, lower") and "Traceback" not in err


def test_a_finished_run_shows_its_metrics_again(gon, place):
    shown = gon("show tiny")
    assert shown[0] == 0 and shown == gon(f"{TINY} --run tiny --resume")
    summary = json.loads((place / "tiny" / "summary.json").read_text())
    assert f"{summary['test.squared_error']:.3f}" in shown[1] and f"{summary['pca.squared_error']:.3f}" in shown[1]
    pictures = ("reconstructions.png", "interpolation.png", "samples.png", "loss.png")
    for word in (*pictures, "checkpoints", "encoder.npz", "metrics.jsonl"):
        assert f"tiny/{word}" in shown[1]


def test_metrics_are_those_of_numpy(gon, place):
    summary = json.loads((place / "tiny" / "summary.json").read_text())
    assert gon("evaluate tiny --output out/metrics.json")[0] == 0
    assert gon("reconstruct tiny --num 1000 --output out/all.npz")[0] == 0
    metrics, arrays = json.loads((place / "out" / "metrics.json").read_text()), np.load(place / "out" / "all.npz")
    with np.load(place / "images.npz") as file:
        images = file["images"][draw_held_out(150, 15, file["labels"]), ..., None] / 255
    errors = np.square(images - arrays["x_hat"]).sum((1, 2, 3))
    np.testing.assert_allclose(arrays["x"], images, atol=1e-7)
    np.testing.assert_allclose(arrays["squared_error"], errors, rtol=1e-5)
    expected = {"squared_error": errors.mean(), "psnr": (-10 * np.log10(errors / 64)).mean()}
    for name, value in expected.items():
        np.testing.assert_allclose([summary[f"test.{name}"], metrics[name]], value, rtol=1e-5)
    assert metrics["num_images"] == 15 and metrics["pca.squared_error"] == summary["pca.squared_error"]


def test_latents_decode_to_the_reconstructions(gon, place):
    assert gon("encode tiny --output out/latents.npz")[0] == 0
    saved = np.load(place / "out" / "latents.npz")
    assert saved["latents"].shape == (15, 3) and saved["latents"].dtype == np.float32
    with np.load(place / "images.npz") as file:
        held_out = draw_held_out(150, 15, file["labels"])
        np.testing.assert_array_equal(saved["labels"], file["labels"][held_out])
    run = load_run(place / "tiny")
    x = run.dataset().test.images / np.float32(255)
    np.testing.assert_allclose(saved["latents"], run.model.encode(run.variables, x), rtol=1e-5, atol=1e-5)
    with np.load(place / "tiny" / "encoder.npz") as file:  # NumPy alone
        z = file["bias"] + x.reshape(len(x), -1) @ file["matrix"]
    np.testing.assert_allclose(saved["latents"], z, rtol=1e-5, atol=1e-5)
    x_hat = decode_latents(run.model, run.variables, saved["latents"])
    gon("reconstruct tiny --num 15 --output out/15.npz")
    np.testing.assert_allclose(x_hat, np.load(place / "out" / "15.npz")["x_hat"], atol=1e-6)


def test_every_command_encodes_by_the_encoder_of_the_run(gon, place):
    """One that was moved, with the run's own mark, shows in all of them."""
    shutil.copytree(place / "tiny", place / "moved")
    with np.load(place / "moved" / "encoder.npz") as file:
        values = dict(file)
    values["bias"] += 1
    values["arrays_crc32"] = crc32(values["matrix"], values["bias"])
    np.savez(place / "moved" / "encoder.npz", **values)
    for run in ("tiny", "moved"):
        assert gon(f"encode {run} --output out/{run}.npz")[0] == 0
        assert gon(f"evaluate {run} --output out/{run}.json")[0] == 0
        assert gon(f"evaluate {run} --evaluation batch --output out/{run}_batch.json")[0] == 0
        assert gon(f"reconstruct {run} --output out/{run}_x.npz")[0] == 0
        assert gon(f"sample {run} --prior gaussian --num 2 --output out/{run}_s.npz")[0] == 0
        assert gon(f"interpolate {run} --num-pairs 2 --output out/{run}.png")[0] == 0

    def of(name, read):
        return [read(place / "out" / f"{run}{name}") for run in ("tiny", "moved")]

    latents, metrics, by_batch = of(".npz", np.load), of(".json", Path.read_text), of("_batch.json", Path.read_text)
    np.testing.assert_allclose(latents[1]["latents"], latents[0]["latents"] + 1, rtol=1e-5, atol=1e-5)
    assert metrics[0] != metrics[1] and by_batch[0] == by_batch[1]
    for name in ("_x.npz", "_s.npz"):
        assert not np.allclose(*(arrays["x_hat"] for arrays in of(name, np.load)), atol=1e-3)
    assert len(set(of(".png", Path.read_bytes))) == 2


def test_pictures_of_other_sizes_and_colors_are_converted(gon, place):
    folder = place / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, shape in {"a.png": (20, 30, 3), "b.png": (9, 9), "c.jpg": (40, 8, 3)}.items():
        Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(folder / name)
    np.save(place / "seven.npy", rng.random((7, 16, 16, 3), np.float32))
    status, out, _ = gon("encode tiny --input pictures/a.png pictures seven.npy --output out/inputs.npz")
    latents = np.load(place / "out" / "inputs.npz")["latents"]
    assert status == 0 and "[11, 3]" in out and latents.shape == (11, 3)
    np.testing.assert_allclose(latents[0], latents[1], atol=1e-7)  # alone and in the folder
    assert gon("reconstruct tiny --input pictures --output out/pictures.png")[0] == 0
    assert gon("interpolate tiny --input pictures/a.png pictures/b.png --num-points 3 --output out/path.png")[0] == 0
    for name in ("pictures.png", "path.png"):
        Image.open(place / "out" / name).load()


def test_samples(gon, place):
    for prior in ("gaussian", "mixture"):
        assert gon(f"sample tiny --prior {prior} --num 5 --seed 1 --output out/{prior}.npz")[0] == 0
    draws = [np.load(place / "out" / f"{prior}.npz")["x_hat"] for prior in ("gaussian", "mixture")]
    assert draws[0].shape == draws[1].shape == (5, 8, 8, 1) and not np.array_equal(*draws)
    assert all(0 <= x.min() and x.max() <= 1 for x in draws)
    assert gon("sample tiny --num 3 --output out/samples.png")[0] == 0
    Image.open(place / "out" / "samples.png").load()


def use_no_cache():
    """The settings of compiled programs as in a process of its own."""
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)
    jax.clear_caches()


@pytest.fixture
def no_cache():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    use_no_cache()
    yield
    compilation_cache.reset_cache()
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.slow
def test_a_second_training_compiles_nothing(gon, place, monkeypatch, no_cache):
    monkeypatch.setattr(finishing, "draw", lambda *_, **__: None)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    seconds, programs = [], []
    for name in ("first", "second"):
        assert gon(f"{TINY} --run kept/{name}")[0] == 0
        seconds.append(json.loads((place / "kept" / name / "summary.json").read_text())["seconds_compile"])
        programs.append(files_in(place / "kept" / ".cache" / "jax"))
        use_no_cache()
    assert programs[0] == programs[1] and len(programs[0]) > 20
    assert seconds[1] < seconds[0]


def test_the_users_cache_is_respected(gon, place, monkeypatch, no_cache):
    jax.config.update("jax_compilation_cache_dir", str(place / "mine_of_jax"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    common.use_caches(place / "elsewhere" / "run")
    assert jax.config.jax_compilation_cache_dir == str(place / "mine_of_jax")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.5
    use_no_cache()
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")
    common.use_caches(place / "elsewhere" / "run")
    assert jax.config.jax_compilation_cache_dir == str(place / "elsewhere" / ".cache" / "jax")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 1


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no folder"])
def test_a_damaged_cache_is_a_warning(tmp_path, no_cache, damage):
    def double():
        common.use_caches(tmp_path / "run")
        return jax.jit(lambda x: jnp.sin(x) * 2)(jnp.arange(3.0))

    cache = tmp_path / ".cache" / "jax"
    if damage == "no folder":
        cache.parent.mkdir()
        cache.write_text("a file")
    else:
        double()
        entries = sorted(cache.glob("*-cache"))
        assert entries
        for path in entries:
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content if damage == "flipped" else content[: len(content) // 2])
    use_no_cache()
    with pytest.warns(UserWarning, match="persistent compilation cache"):
        np.testing.assert_allclose(double(), 2 * np.sin(np.arange(3.0)), rtol=1e-6)


@pytest.mark.slow
def test_a_signal_before_the_first_step_is_one_line(gon, monkeypatch):
    load, left = DataConfig.load, [signal.SIGINT]

    def signalling(self):
        if left:
            os.kill(os.getpid(), left.pop())
        return load(self)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    monkeypatch.setattr(DataConfig, "load", signalling)
    status, out, err = gon(f"{TINY} --run compiling")
    assert (status, out) == (130, "") and "Traceback" not in err
    assert err.splitlines()[-1].startswith("gon: interrupted, and saved; continue with the same command and --resume")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert gon(f"{TINY} --run compiling --resume")[0] == 0


@pytest.mark.slow
def test_kill_and_ctrl_c_lose_nothing(tmp_path, monkeypatch):
    """Killed, resumed, stopped by Ctrl-C and resumed: the same state as if never interrupted; no file outside."""
    work, home = tmp_path / "work", tmp_path / "home"
    work.mkdir()
    home.mkdir()
    write_images(work)
    source = str(Path(gon_jax.__file__).parents[1])
    ours = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env |= {"HOME": str(home), "PYTHONPATH": source, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    words = [
        sys.executable,
        "-c",
        "import sys; from gon_jax.cli.main import main; sys.exit(main())",
        *shlex.split(TINY),
    ]
    words += ["--run", "runs/a", "--validate-every", "50"]
    run, long = work / "runs" / "a", ["--num-steps", "100000000"]

    def last_step():
        lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").is_file() else []
        return json.loads(lines[-1])["step"] if lines else 0

    def start(*more):
        return subprocess.Popen([*words, *more], cwd=work, env=env, stderr=subprocess.PIPE, text=True)

    def stop_by(number, *more):
        start_step, deadline = last_step(), time.monotonic() + 60
        with start(*long, *more) as process:
            while last_step() <= start_step + 100 and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            try:
                err = process.communicate(timeout=60)[1]
            finally:
                process.kill()  # one that has not ended, as it should have
        return process.returncode, err.splitlines()[-1]

    assert stop_by(signal.SIGKILL)[0] == -signal.SIGKILL
    words_of_it = "gon: interrupted, and saved; continue with the same command and --resume (runs/a)"
    assert stop_by(signal.SIGINT, "--resume") == (130, words_of_it)
    with Checkpoints(run) as checkpoints:
        step = checkpoints.steps[-1]
    assert step == last_step()
    with start("--num-steps", str(step + 3), "--resume") as process:
        err = process.communicate(timeout=120)[1]
    assert process.returncode == 0, err
    assert not list(home.iterdir()) and {path.name for path in work.iterdir()} == {"images.npz", "runs"}
    assert {path.name for path in (work / "runs").iterdir()} == {"a", ".cache"}

    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == step + 3
    monkeypatch.chdir(work)
    monkeypatch.setattr(finishing, "draw", lambda *_, **__: None)
    trainer.train(load_run(run).config.replace(num_steps=step + 3), "runs/b", progress=False)
    states = []
    for folder in (run, work / "runs" / "b"):
        loaded = load_run(folder, "last")
        assert loaded.step == step + 3
        with Checkpoints(folder) as checkpoints:
            state = restore(checkpoints, loaded.model, read_config(folder), "last")
        states.append(jax.tree.leaves(state._replace(key=jax.random.key_data(state.key))))
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("content", ["def broken(:", "raise KeyError('x')"], ids=["syntax", "error"])
def test_a_file_that_cannot_be_imported_is_one_line(gon, tmp_path, content):
    path = tmp_path / "mine.py"
    path.write_text(content)
    status, out, err = gon(f"--import {path} train --dataset digits")
    assert (status, out) == (2, "") and re.fullmatch(
        r"gon: [^\n]*mine.py to be imported [^\n]*GON_TRACEBACK[^\n]*\n", err
    )


def test_what_is_unusual_similar_and_mapped(gon, place):
    with np.load(place / "images.npz") as file:
        np.save(place / "new.npy", np.concatenate([file["images"][:3], 255 - file["images"][:1]]))
    status, out, _ = gon("anomalies tiny --input new.npy --output out/a.csv --num 2")
    rows = (place / "out" / "a.csv").read_text().splitlines()
    assert status == 0 and rows[0] == "example,reconstruction,mahalanobis" and len(rows) == 5
    scores = [float(row.rsplit(",", 2)[1]) for row in rows[1:]]
    assert out.splitlines()[1].startswith(f"new.npy, number {np.argmax(scores)} ")
    images = np.load(place / "new.npy")[..., None] / 255
    run = load_run(place / "tiny")
    errors = np.square(images - run.model.decode(run.variables, run.model.encode(run.variables, images))).sum((1, 2, 3))
    np.testing.assert_allclose(scores, errors, rtol=1e-4)
    for command in (
        "neighbors tiny --input new.npy",
        "neighbors tiny --num 2 --metric cosine",
        "map tiny",
        "traverse tiny",
    ):
        assert gon(command)[0] == 0, command
    assert gon("traverse tiny --output out/t.png --num 2")[0] == 0
    with Image.open(place / "tiny" / "traversal.gif") as gif:
        assert gif.n_frames == 48  # there and back, without the ends twice
    own = "neighbors tiny --split train --num 3 --num-neighbors 1 --output out/own.png"
    assert gon(own)[0] == 0
    picture = np.asarray(Image.open(place / "out" / "own.png").convert("L"))
    rows = picture[44:-16, 16:-16]
    tile = (rows.shape[1] - 2) // 2
    np.testing.assert_array_equal(rows[:64, :tile], rows[:64, -tile:])  # the nearest of a training example is itself
    assert gon("neighbors tiny --num-neighbors 9999")[0] == 1
