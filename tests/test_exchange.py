"""Exchange with PyTorch: the same numbers both ways, strict names, and the commands `gon import` and `gon export`.

`goldens/exchange.npz` and `goldens/exchange_*.safetensors` were made by PyTorch (`goldens/make_exchange.py`).
"""

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.encoding import encode
from gon_jax.inference import encode_dataset
from gon_jax.likelihoods import bernoulli
from gon_jax.models.gradient import GONStats
from gon_jax.models.variational import kl_to_standard_normal, posterior
from gon_jax.models.vgon import VGONStats
from gon_jax.runs import Config, load_run, train
from gon_jax.runs.config import WITHOUT_DATA
from gon_jax.runs.exchange import import_weights
from gon_jax.runs.torch_weights import Sizes, check_authors, config_of, from_torch, sizes_of, to_torch
from gon_jax.runs.weight_files import read_weights, write_weights
from gon_jax.training.averaging import average_statistics

pytest.importorskip("safetensors")
FOLDER = Path(__file__).parent / "goldens"
GOLDENS = dict(np.load(FOLDER / "exchange.npz"))
KINDS = ["gon", "vgon", "implicit"]
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
RNG = np.random.default_rng(0)


def path_of(kind):
    return FOLDER / f"exchange_{kind}.safetensors"


def read(kind):
    """Return the weights, the model's configuration and shape, and the golden numbers."""
    weights, _ = read_weights(path_of(kind))
    golden = {key.removeprefix(f"{kind}/"): v for key, v in GOLDENS.items() if key.startswith(f"{kind}/")}
    return weights, *config_of(sizes_of(weights), (7, 7)), golden


def relative(a, b):
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.quick("gon")
@pytest.mark.parametrize("kind", KINDS)
def test_latents_and_reconstructions_are_pytorchs(kind):
    weights, config, data_shape, golden = read(kind)
    model, variables = config.build(data_shape), from_torch(config, data_shape, weights)
    x = golden["x"] / np.float32(255)
    if kind == "vgon":
        inner, outer = golden["noise"]
        decoder, params = config.network.build(config.latent_shape, data_shape), variables.params

        def terms(params, z):
            q = posterior(params, z)
            return decoder.logits(params["decoder"], q.draw(inner))[0], kl_to_standard_normal(q)

        def bound(output, x):
            return bernoulli(output[0], x) + output[1]

        z = encode(terms, params, x, np.zeros_like(golden["z"]), likelihood=bound, step_size=1 / 64)
        loss, _ = model.loss(variables, {"x": x, "inner_noise": inner, "outer_noise": outer}, jax.random.key(0))
        assert relative(loss, golden["loss"]) < 1e-6
    else:
        z = model.encode(variables, x)
    assert relative(z, golden["z"]) < 1e-5
    assert relative(model.decode(variables, z), golden["x_hat"]) < 2e-6


@pytest.mark.parametrize("kind", ["gon", "vgon"])
def test_running_statistics_decode_as_in_pytorchs_eval(kind):
    weights, config, data_shape, golden = read(kind)
    params, latent = from_torch(config, data_shape, weights).params, {}
    for i in range(2):
        name, bias = f"main.{3 * i + 1}.running", weights[f"main.{3 * i}.bias"]
        latent[f"BatchNorm_{i}"] = {"mean": weights[f"{name}_mean"] - bias, "variance": weights[f"{name}_var"]}
    stats = GONStats(latent, None) if kind == "gon" else VGONStats(latent, None)
    z = golden["eval_z"]
    decoder = config.network.build(config.latent_shape, data_shape)
    assert relative(decoder.output(params.get("decoder", params), z, latent), golden["eval_x_hat"]) < 2e-6
    back = to_torch(config, Variables(params, stats), num_batches=3)
    assert back.keys() == weights.keys()
    for name, array in back.items():
        np.testing.assert_allclose(array, weights[name], rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_round_trips_are_exact(kind, tmp_path):
    weights, config, data_shape, _ = read(kind)
    variables = from_torch(config, data_shape, weights)
    write_weights(tmp_path / "a.safetensors", to_torch(config, variables), {})
    back, metadata = read_weights(tmp_path / "a.safetensors")
    assert back.keys() == weights.keys() and metadata == {}
    for name, array in back.items():
        assert (array.dtype, array.shape) == (weights[name].dtype, weights[name].shape), name
        if name.split(".")[-1] not in BUFFERS:
            np.testing.assert_array_equal(array, weights[name], err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, from_torch(config, data_shape, back), variables)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_numbers_of_other_widths_become_float32(dtype, tmp_path):
    weights = read("gon")[0] | {"main.0.weight": np.float32([1 / 3, 2.0])}
    narrow = {name: a.astype(jnp.dtype(dtype)) if a.dtype == np.float32 else a for name, a in weights.items()}
    write_weights(tmp_path / "a.safetensors", narrow, {})
    back, _ = read_weights(tmp_path / "a.safetensors")
    assert back["main.0.weight"][1] == 2
    for name, array in back.items():
        assert array.dtype == weights[name].dtype, name
        np.testing.assert_array_equal(array, narrow[name].astype(array.dtype))


def test_sizes_are_read_off_the_shapes():
    assert sizes_of(read("gon")[0]) == Sizes("gon", 5, 2, 2, 3)
    assert sizes_of(read("vgon")[0]) == Sizes("vgon", 4, 2, 2, 1)
    assert sizes_of(read("implicit")[0]) == Sizes("implicit", 5, 8, 2, 1)
    for kind, preset in {
        "gon": {},
        "vgon": {"model": "vgon"},
        "implicit": {"network": "siren", "image_size": None},
    }.items():
        config = Config().replace(**preset)
        shape = (28, 28, 1) if kind == "implicit" else (32, 32, 1)
        params = jax.eval_shape(config.build(shape).init, jax.random.key(0)).params
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), params)
        found, found_shape = config_of(sizes_of(to_torch(config, Variables(zeros))))
        assert found_shape == shape and check_authors(found) == kind
        same = ("model", "network", "likelihood", "latent_shape")
        assert [vars(found)[name] for name in same] == [vars(config)[name] for name in same]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"main.3.bias": None}, r"expected main.3.bias float32\[2\], got no such name: the state dict is not whole"),
        ({"extra": np.zeros(2)}, "expected the names of the authors' gon, got 'extra' too: remove it"),
        ({"main.1.weight": np.zeros(3, "f4")}, r"expected main.1.weight float32\[4\], got float32\[3\]: its other"),
        ({"main.1.weight": np.ones(4)}, r"expected main.1.weight float32\[4\], got float64\[4\]: convert it"),
        ({"main.1.running_var": np.zeros(3, "f4")}, r"expected main.1.running_var float32\[4\], got float32\[3\]"),
        ({"main.1.weight": np.full(4, np.nan, "f4")}, "expected finite numbers in main.1.weight"),
        ({"main.0.weight": None}, "expected main.0.weight of 4 axes, got no such name"),
        ({"main.6.weight": np.zeros(3, "f4")}, r"expected main.6.weight of 4 axes, got an array \[3\]"),
        ({"main.7.weight": np.zeros(3, "f4")}, "got main.7 as the last layer"),
    ],
)
def test_other_state_dicts_are_refused_by_name(change, words):
    weights = {name: array for name, array in (read("gon")[0] | change).items() if array is not None}
    with pytest.raises(ValueError, match=words):
        from_torch(*config_of(sizes_of(weights)), weights)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="expected the names of the authors' models, .* got 'model', 'step'"):
        sizes_of({"model": np.zeros(1), "step": np.zeros(1)})
    with pytest.raises(ValueError, match="of more than 2 inputs"):
        config_of(Sizes("implicit", 2, 8, 2, 1))
    refused = {
        "model": ("vae", "vae with network conv"),
        "activation": ("relu", "got relu"),
        "norm": ("none", "got none"),
    }
    refused |= {"likelihood": ("bernoulli", "likelihood=squared_error"), "latent_shape": ((4, 4, 2), "of one axis")}
    for name, (value, words) in refused.items():
        with pytest.raises(ValueError, match=words):
            check_authors(Config().replace(**{name: value}))
    with pytest.raises(ValueError, match="first_omega_0=30"):
        check_authors(Config().replace(network="siren", first_omega_0=100.0))


@pytest.mark.slow
def test_averaged_statistics_are_the_mean_over_batches():
    weights, config, data_shape, _ = read("gon")
    model, params = config.build(data_shape), from_torch(config, data_shape, weights).params
    x = RNG.uniform(size=(8, *data_shape)).astype(np.float32)
    one = average_statistics(model, params, x, jax.random.key(0))
    expected = model.loss(Variables(params), {"x": x}, jax.random.key(0))[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), one.stats, expected)
    z = model.encode(Variables(params), x)
    np.testing.assert_allclose(model.encode(one, x), z, rtol=1e-4, atol=1e-6)
    many = average_statistics(model, params, x, jax.random.key(0), batch_size=3)  # 3 batches of 2
    assert relative(many.stats.mean_cotangent, one.stats.mean_cotangent) < 1
    whole = average_statistics(model, params, np.concatenate([x[:4]] * 2), jax.random.key(0), batch_size=8)
    half = average_statistics(model, params, x[:4], jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), whole, half)


# -- the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with bright images of 3 channels at 16x16."""
    folder = tmp_path_factory.mktemp("exchange")
    images = np.random.default_rng(0).integers(200, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    return folder


@pytest.mark.slow
def test_a_process_without_data(place, gon):
    """Import and encode, as a user's shell shows them; latents are those of the batch, exactly the authors'."""

    def run(line):
        command = [sys.executable, "-m", "gon_jax", *shlex.split(line)]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    status, out, err = run(f"import {path_of('gon')} --run plain")
    assert (status, err) == (0, "")
    assert [line.split() for line in out.splitlines()[:3]] == [
        ["run", "plain"],
        ["data", "[16,", "16,", "3]"],
        ["model", "gon"],
    ]
    np.save(place / "x.npy", GOLDENS["gon/x"])
    status, out, err = run("encode plain --input x.npy --output z.npz")
    assert status == 0 and out == "z.npz: latents [3, 5]\n"
    assert err.startswith("gon: plain was imported without data, and evaluates by batch statistics\n")
    assert relative(np.load(place / "z.npz")["latents"], GOLDENS["gon/z"]) < 1e-5
    status, out, err = gon("show plain")
    assert (status, out) == (1, "") and "imported without data: gon evaluate plain --dataset NAME measures it" in err
    status, out, err = gon("export plain")
    assert (status, out) == (1, "") and "which evaluates by batch statistics" in err.splitlines()[-1]
    status, out, err = gon("sample plain")
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("gon: expected data for plain, got none, since its weights were imported")


@pytest.mark.slow
def test_a_run_with_data_is_like_a_trained_one(gon, place, caplog):
    status, out, err = gon(f"import {path_of('gon')} --run data --dataset images.npz")
    assert (
        status == 0
        and "gon on " in out
        and err.splitlines()[-1] == ("gon: it is not known which examples the weights were trained on")
    )
    assert "is above that of the mean training example" in caplog.text  # the weights are no model of these
    names = {path.name for path in (place / "data").iterdir()}
    assert names >= {"reconstructions.png", "samples.png", "summary.json", "encoder.npz", "report.html", "checkpoints"}
    assert "loss.png" not in names and "was not drawn" not in caplog.text
    run = load_run(place / "data")
    assert run.evaluation == "running" and run.imported["weights"] == "exchange_gon.safetensors"
    summary = json.loads((place / "data" / "summary.json").read_text())
    assert gon("show data")[0] == gon("reconstruct data")[0] == gon("sample data --num 4")[0] == 0
    status, out, _ = gon("evaluate data")
    assert status == 0 and f"{summary['test.squared_error']:.6g}" in out and "running" in out

    assert gon("export data --format safetensors")[:2] == (0, "data/weights.safetensors: gon for safetensors, step 0\n")
    weights, metadata = read_weights(place / "data" / "weights.safetensors")
    assert json.loads(metadata["gon_jax"]) == {"data_shape": [16, 16, 3]} and metadata["format"] == "pt"
    for name, array in read("gon")[0].items():
        if name.split(".")[-1] not in BUFFERS:
            np.testing.assert_array_equal(weights[name], array)
    bias, latent = weights["main.0.bias"], run.variables.stats.latent["BatchNorm_0"]
    np.testing.assert_array_equal(weights["main.1.running_mean"], np.asarray(latent["mean"]) + bias)

    assert "expected an output that is not there yet" in gon("export data --format safetensors")[2]
    assert gon("export data --format safetensors --overwrite")[0] == 0
    assert "add --format safetensors" in gon("export data --output a.safetensors")[2]

    assert "expected a folder without a run" in gon(f"import {path_of('gon')} --run data")[2]
    assert "expected image_size=16" in gon(f"import {path_of('gon')} --run other --image-size 32")[2]
    assert "data" not in gon(f"import {path_of('vgon')} --run other --dataset images.npz")[1]
    assert not (place / "other").exists()


@pytest.mark.slow
def test_a_run_with_data_can_be_trained_further(place, monkeypatch, tmp_path):
    monkeypatch.chdir(place)
    data = dataclasses.replace(WITHOUT_DATA, dataset="images.npz")
    import_weights(path_of("gon"), tmp_path / "run", data=data, pictures=False, progress=False)
    before = load_run(tmp_path / "run")
    config = before.config.replace(num_steps=2)
    summary = train(config, tmp_path / "run", resume=True, pictures=False, progress=False)
    run = load_run(tmp_path / "run", "last")
    assert summary["num_steps"] == run.step == 2 and run.imported == before.imported
    for a, b in zip(jax.tree.leaves(run.variables.params), jax.tree.leaves(before.variables.params), strict=True):
        assert np.abs(a - b).max() < 2.1 * config.training.learning_rate  # two steps of Adam


@pytest.mark.slow
def test_what_weights_do_not_show_is_in_the_file(place, gon):
    assert gon(f"import {path_of('implicit')} --run s --image-size 7 --omega-0 20 --step-size 0.5")[0] == 0
    assert gon("export s --format safetensors --output s.safetensors")[0] == 0
    status, out, err = gon("import s.safetensors --run again")
    assert (status, err) == (0, "") and "[7, 7, 1]" in out
    one, two = load_run(place / "s"), load_run(place / "again")
    assert one.evaluation == "running" and two.config.network.omega_0 == 20 and two.config.model.step_size == 0.5
    x = GOLDENS["implicit/x"]
    z = [encode_dataset(run.model, run.variables, x, encoder=run.encoder) for run in (one, two)]
    np.testing.assert_array_equal(*z)
    assert gon("superres again --input " + str(place / "x7.npy"))[0] == 1  # no such file, one line
    default = gon(f"import {path_of('implicit')} --run default")
    assert "[28, 28, 1]" in default[1] and load_run(place / "default").config.network.omega_0 == 30


def test_files_that_are_no_weights(gon, place):
    (place / "bad.safetensors").write_bytes(b"not one")
    (place / "bad.txt").write_text("")
    for line, words in {
        "import missing.safetensors": "expected weights in missing.safetensors, got no such file; check the path",
        "import bad.safetensors": "expected whole tensors in bad.safetensors, got SafetensorError",
        "import bad.txt": "expected weights that end in .safetensors, .pt, .pth, .bin, got bad.txt",
    }.items():
        status, out, err = gon(line)
        assert (status, out) == (1, "") and err.startswith(f"gon: {words}") and err.count("\n") == 1, err


def test_without_the_packages(monkeypatch, place, gon):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (place / "a.pt").write_bytes(b"")
    with pytest.raises(ImportError, match=r"expected the package safetensors.*pip install 'gon_jax\[weights\]'"):
        read_weights(path_of("gon"))
    with pytest.raises(ImportError, match="expected the package torch, which reads .pt, got none: install PyTorch"):
        read_weights(place / "a.pt")


# -- with PyTorch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_loads_what_is_written(kind, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    from tests.goldens.make_exchange import MODELS, make

    weights, config, data_shape, golden = read(kind)
    torch.save(make(kind).state_dict(), tmp_path / "a.pt")
    for name, array in read_weights(tmp_path / "a.pt")[0].items():
        if name.split(".")[-1] not in BUFFERS:
            np.testing.assert_array_equal(array, weights[name], err_msg=name)
    torch.save(make(kind).bfloat16().state_dict(), tmp_path / "a.bin")
    assert {a.dtype.name for a in read_weights(tmp_path / "a.bin")[0].values()} <= {"float32", "int64"}
    torch.save(make(kind), tmp_path / "whole.pt")
    with pytest.raises(ValueError, match=r"expected a state dict in .*torch.save\(model.state_dict\(\)"):
        read_weights(tmp_path / "whole.pt")

    model, params = config.build(data_shape), from_torch(config, data_shape, weights).params
    variables = average_statistics(model, params, golden["x"], jax.random.key(0))
    write_weights(tmp_path / "a.safetensors", to_torch(config, variables, num_batches=1), {})
    theirs = MODELS[kind]()
    theirs.load_state_dict(load_file(tmp_path / "a.safetensors"))
    z = RNG.normal(size=golden["z"].shape).astype(np.float32)
    with torch.no_grad():
        t = torch.tensor(z)
        if kind == "implicit":
            x_hat = theirs.decode(t).numpy().reshape(len(z), *data_shape)
        else:
            theirs.eval()
            x_hat = theirs(theirs.fc21(t) if kind == "vgon" else t).permute(0, 2, 3, 1).numpy()
    assert relative(model.decode(variables, z), x_hat) < 1e-5
