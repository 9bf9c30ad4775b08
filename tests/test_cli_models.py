"""The command `gon` with variational and implicit models: what only they can do, and what is refused of the others."""

import json
import os
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from gon_jax.cli import main
from gon_jax.cli.commands import COMMANDS
from gon_jax.runs import finishing, load_run, pictures
from gon_jax.runs.pictures import draw

pytestmark = pytest.mark.slow  # the fixture trains six models
TINY = (
    "train --dataset images.npz --image-size None --num-validation 20 --latent-shape 3 --num-steps 4 --batch-size 16 "
    "--schedule constant"
)
RUNS = {
    "gon": "--base-channels 2 --norm none",
    "vgon": "--model vgon --likelihood bernoulli --base-channels 2 --learning-rate 1e-2",
    "implicit": "--network siren --hidden-dim 8 --num-layers 2 --num-points 20",
    "classifier": "--model classifier --base-channels 2 --norm none --reconstruction-weight 0.1",
    "translation": "--model translation --base-channels 2 --norm none",
    "glo": "--model glo --base-channels 2 --norm none",
}

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")  # escape codes, and the carriage returns of bars
WEIGHTS = Path(__file__).parent / "goldens" / "exchange_implicit.safetensors"
LINES = {  # of every command, one
    "train": f"{TINY.removeprefix('train ')} {RUNS['gon']} --run gon --resume",  # which has been trained
    "show": "gon",
    "evaluate": "gon --output evaluated.json",
    "reconstruct": "gon --num 2",
    "encode": "gon --output encoded.npz",
    "interpolate": "gon --num-pairs 1 --num-points 2",
    "sample": "gon --num 2",
    "superres": "implicit --num 1 --size 16",
    "inpaint": "implicit --num 1",
    "latents": "gon",
    "anomalies": "gon --num 2",
    "neighbors": "gon --num 1 --num-neighbors 1",
    "map": "gon",
    "traverse": "gon --num 1 --output traversal.png",
    "import": f"{WEIGHTS} --run imported --image-size 7",
    "export": "imported --format safetensors --output exported.safetensors",
    "completion": "bash",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images and a finished run of each model."""
    from sklearn.datasets import load_digits

    folder, digits = tmp_path_factory.mktemp("place"), load_digits()
    images = np.rint(digits.images[:300] * 255 / 16).astype(np.uint8)
    np.savez(folder / "images.npz", images=images, labels=digits.target[:300])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(folder / ".cache")))
        patch.setattr(finishing, "draw", lambda *_, **__: None)
        for name, options in RUNS.items():
            assert main.main(shlex.split(f"{TINY} {options} --run {name}")) == 0
    return folder


@pytest.fixture
def gon(place, monkeypatch, capsys):
    """Run a command line there; return the exit status, standard output and standard error."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("MPLCONFIGDIR", os.environ.get("MPLCONFIGDIR", str(place / ".cache")))
    capsys.readouterr()

    def call(line):
        status, out, err = main.main(shlex.split(line)), *capsys.readouterr()
        assert not CONTROL.search(out + err), "control characters, and this is no terminal"
        return status, out, err

    return call


def metrics_of(out):
    return {line.split()[0]: line.split()[1] for line in out.splitlines()}


def test_json_on_every_command(gon, place, monkeypatch):
    """One object on standard output: what was written, and the figures; what else is said goes to standard error."""
    answers = {}
    monkeypatch.setattr(finishing, "draw", lambda *_, **__: None)
    for name, line in LINES.items():
        status, out, err = gon(f"{name} {line} --json")
        assert status == 0, err
        answers[name] = json.loads(out, parse_constant=pytest.fail)  # of NaN, which is no JSON
        assert answers[name].pop("command") == name
        assert all(Path(path).exists() for path in answers[name].get("written", ())), name
    assert answers.keys() == COMMANDS.keys()
    summary = json.loads((place / "gon" / "summary.json").read_text())
    assert answers["show"]["summary"].items() <= summary.items() and answers["show"]["summary"]["num_steps"] == 4
    assert answers["train"]["summary"] == answers["show"]["summary"] and answers["train"]["run"] == "gon"
    assert {"gon/summary.json", "gon/checkpoints"} <= {*answers["train"]["written"]}
    assert answers["evaluate"]["metrics"] == json.loads((place / "evaluated.json").read_text())
    assert answers["evaluate"]["written"] == ["evaluated.json"]
    assert answers["encode"]["latents_shape"] == list(np.load(place / "encoded.npz")["latents"].shape)
    assert answers["reconstruct"]["num_images"] == 2 and answers["reconstruct"]["squared_error"] > 0
    assert answers["latents"]["written"] == ["gon/latents.png", "gon/latents.json"]
    highest = answers["anomalies"]["highest"]["reconstruction"].values()
    assert len(highest) == 2 and [*highest] == sorted(highest, reverse=True)
    assert answers["export"]["model"] == "gon" and answers["import"]["data"] == [7, 7, 1]
    assert gon("show absent --json")[:2] == (1, "")  # an error is a line on standard error, as without


def test_a_variational_run_is_evaluated_by_its_bound(gon, place):
    summary = json.loads((place / "vgon" / "summary.json").read_text())
    assert summary["test.negative_elbo"] == pytest.approx(summary["test.nll"] + summary["test.kl"])
    assert "-ELBO per test image, nats" in gon("show vgon")[1]
    status, out, _ = gon("evaluate vgon --num-samples 8 --output metrics.json")
    values = json.loads((place / "metrics.json").read_text())
    assert status == 0 and float(metrics_of(out)["negative_elbo"]) == pytest.approx(values["negative_elbo"], rel=1e-5)
    assert values["negative_elbo"] == pytest.approx(values["nll"] + values["kl"], rel=1e-6)
    assert values["importance_weighted"] <= values["negative_elbo"]
    again = metrics_of(gon("evaluate vgon --num-samples 8 --batch-size 7")[1])
    assert float(again["negative_elbo"]) == pytest.approx(values["negative_elbo"], rel=1e-5)
    other = metrics_of(gon("evaluate vgon --num-samples 8 --seed 1")[1])
    assert other["negative_elbo"] != again["negative_elbo"]


def test_a_variational_run_samples_from_its_prior(gon, place):
    assert gon("sample vgon --num 5 --output a.npz --seed 3")[0] == 0
    x = np.load(place / "a.npz")["x_hat"]
    assert x.shape == (5, 8, 8, 1) and 0 <= x.min() and x.max() <= 1
    run = load_run("vgon")

    np.testing.assert_allclose(x, run.model.capabilities.sample(run.variables, jax.random.key(3), 5), atol=1e-6)
    assert gon("sample vgon --num 5 --output b.npz --seed 3 --prior gaussian")[0] == 0
    assert np.abs(np.load(place / "b.npz")["x_hat"] - x).max() > 1e-3


def test_super_resolution(gon, place):
    assert gon("superres implicit --size 40 --num 3 --output large.npz")[:2] == (0, "large.npz\n")
    x = np.load(place / "large.npz")["x_hat"]
    assert x.shape == (3, 40, 40, 1) and np.isfinite(x).all()
    assert gon("superres implicit --size 40 --num 2")[0] == 0
    with Image.open(place / "implicit" / "superresolution.png") as picture:
        assert min(picture.size) >= 40
    assert gon("superres implicit --input images.npz --size 16 --output all.npz")[0] == 0
    assert np.load(place / "all.npz")["x_hat"].shape == (300, 16, 16, 1)


@pytest.mark.parametrize("hidden", ["random", "center", "right"])
def test_inpainting(gon, place, hidden):
    assert gon(f"inpaint implicit --hide {hidden} --num 4 --output {hidden}.png")[:2] == (0, f"{hidden}.png\n")
    with Image.open(place / f"{hidden}.png") as picture:
        assert len(np.unique(np.asarray(picture))) > 20


@pytest.mark.parametrize("run", RUNS)
def test_latents_are_described(gon, place, run):
    status, out, _ = gon(f"latents {run} --output {run}.png")
    assert status == 0
    table = json.loads((place / f"{run}.json").read_text())
    assert table["latent size"] == 3 and 1 <= table["effective rank, latents"] <= 3
    assert 0 <= table["linear probe, accuracy"] <= 1 and "linear probe, accuracy" in out
    assert (place / f"{run}.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("superres gon", "expected an implicit model.*--network siren"),
        ("inpaint gon", "expected an implicit model.*--network siren"),
        ("superres implicit --size 9000000", "memory"),
        ("superres implicit --size 0", "size of at least 1"),
        ("inpaint implicit --fraction 1", "a fraction that hides a part"),
        ("inpaint implicit --fraction 0", "a fraction that hides a part"),
        ("evaluate vgon --bits", "bernoulli.*isn't normalized"),
        ("evaluate gon --bits", "variational GON"),
        ("evaluate gon --num-samples 4", "variational GON"),
        ("evaluate vgon --num-samples 0", "num_samples of at least 1"),
        ("sample gon --prior model", "a model with a prior"),
        ("train --dataset images.npz --num-points 3", "decoder of coordinates for num_points=3"),
        ("train --dataset images.npz --model vae --network siren", "network conv for a model with an encoder"),
        ("train --dataset images.npz --image-size None --network siren --latent-shape 2 2 1", "latent_shape k"),
        (
            "train --dataset images.npz --image-size None --network siren --num-points 65",
            "num_points, a whole number from 1 to 64, got 65",
        ),
    ],
)
def test_mistakes_are_one_line(gon, place, line, words):
    status, out, err = gon(line + (" --run new" if line.startswith("train") else ""))
    assert status in (1, 2) and not out and err.count("\n") == 1

    assert re.search(words, err), err
    assert not (place / "new").exists()


def test_a_classifier_is_evaluated_by_its_accuracy(gon, place):
    summary = json.loads((place / "classifier" / "summary.json").read_text())
    out = gon("evaluate classifier")[1]
    assert float(metrics_of(out)["accuracy"]) == pytest.approx(summary["test.accuracy"], rel=1e-5)
    assert "accuracy on test images" in gon("show classifier")[1]
    status, _, err = gon(f"{TINY} --model classifier --num-classes 4 --run few")
    assert status == 1 and "take --num-classes 10" in err
    np.savez(place / "unlabeled.npz", images=np.load(place / "images.npz")["images"])
    status, _, err = gon(f"{TINY} --model classifier --run none".replace("images.npz", "unlabeled.npz"))
    assert status == 1 and "expected labels for a classifier" in err


def test_a_translation_is_compared_with_its_target(gon, place):
    summary = json.loads((place / "translation" / "summary.json").read_text())
    assert summary["source.squared_error"] > 1
    out = gon("evaluate translation")[1]
    assert float(metrics_of(out)["squared_error"]) == pytest.approx(summary["test.squared_error"], rel=1e-5)
    assert gon("reconstruct translation --output t.npz --num 4")[0] == 0
    arrays = np.load(place / "t.npz")
    errors = np.square(arrays["x"] - arrays["x_hat"]).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(arrays["squared_error"], errors, rtol=1e-5)
    model = load_run(place / "translation")
    originals = model.dataset().test.images[:1]
    assert (model.sources(originals) != originals).any()
    x_hat = model.model.decode(model.variables, model.model.encode(model.variables, model.sources(originals) / 255.0))
    np.testing.assert_allclose(arrays["x_hat"][0], x_hat[0], atol=1e-5)


def test_a_run_with_latents_goes_on_where_it_was(gon, place):
    words = f"{TINY} {RUNS['glo']} --run glo --resume".replace("--num-steps 4", "--num-steps 6")
    assert gon(words)[0] == 0
    straight = f"{TINY} {RUNS['glo']} --run straight".replace("--num-steps 4", "--num-steps 6")
    assert gon(straight)[0] == 0
    resumed, whole = (json.loads((place / name / "summary.json").read_text()) for name in ("glo", "straight"))
    assert resumed["test.squared_error"] == pytest.approx(whole["test.squared_error"], rel=1e-6)


@pytest.mark.parametrize("name, expected", [("classifier", {"classes", "loss"}), ("translation", {"reconstructions"})])
def test_pictures_of_relatives(place, tmp_path, monkeypatch, name, expected):
    monkeypatch.chdir(place)
    run = load_run(place / name)
    summary = json.loads((place / name / "summary.json").read_text())
    draw(tmp_path, run, run.dataset(), {"training": ([1, 2], [2.0, 1.0])}, summary, progress=False)
    assert expected <= {path.stem for path in tmp_path.glob("*.png")}


@pytest.mark.parametrize(
    ("name", "changes", "training", "validation"),
    [
        ("gon", {}, "squared error per image", "squared error per image"),
        ("gon", {"likelihood": "bernoulli"}, "nats per image", "squared error per image"),
        ("translation", {}, "squared error per image", "squared error per image"),
        ("vgon", {}, "nats per image", "nats per image"),
        ("vgon", {"best_by": "validation.squared_error"}, "nats per image", "squared error per image"),  # an older run
        ("classifier", {}, "loss per image", "accuracy"),
    ],
)
def test_the_validation_curve_is_in_its_own_unit(place, tmp_path, monkeypatch, name, changes, training, validation):
    """In the panel of the training loss where that has the same unit."""
    monkeypatch.chdir(place)
    seen, run, summary = {}, load_run(place / name), json.loads((place / name / "summary.json").read_text())
    drawn = [pictures.plotting.save_curves]

    def save_curves(path, curves, ylabel, below=None, **options):
        seen.update({label: ylabel for label in curves} | {label: below[0] for label in (below or [0, []])[1]})
        drawn[0](path, curves, ylabel, below=below, **options)

    monkeypatch.setattr(pictures.plotting, "save_curves", save_curves)
    for other in ("save_reconstructions", "save_interpolation", "save_samples", "save_scatter"):
        monkeypatch.setattr(pictures.plotting, other, lambda *_, **__: None)
    curves = {"training": ([1, 2], [2.0, 1.0]), "validation": ([1, 2], [0.5, 0.7])}
    draw(tmp_path, run, run.dataset(), curves, summary | changes, progress=False)
    assert seen == {"training": training, "validation": validation}
    with Image.open(tmp_path / "loss.png") as picture:
        assert picture.size == (980, 560 if training == validation else 980)
