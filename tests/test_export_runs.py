"""Runs as files for other programs: plain layers, NumPy, ONNX Runtime and StableHLO, beside the library itself.

What is exported runs in a process that cannot import this package, by the words of its own README.
"""

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.decoders.layers import activation_fn
from gon_jax.inference import frozen_encoder
from gon_jax.ops.activations import sigmoid
from gon_jax.runs import Config, Layer, Run, export_run, load_run, plain_functions
from gon_jax.runs.numpy_model import ACTIVATIONS, apply_layers, read_functions
from gon_jax.runs.onnx_graph import onnx_model
from gon_jax.runs.restoring import open_checkpoints
from gon_jax.runs.saved import SavedConfig, write_config
from gon_jax.training import init_state

RNG = np.random.default_rng(0)


def make(shape=(8, 8, 1), **options):
    """Return a run that was never trained, in no folder: random parameters, and statistics that are positive."""
    small = {"base_channels": 2} if options.get("network", "conv") == "conv" else {"hidden_dim": 4, "num_layers": 2}
    config = Config().replace(**{"latent_shape": (3,)} | small | options)
    model, rng = config.build(shape), np.random.default_rng(0)
    params, stats = jax.eval_shape(model.init, jax.random.key(0))

    def numbers(low):
        return lambda a: jnp.asarray(rng.uniform(low, 0.5, a.shape), a.dtype)

    variables = Variables(jax.tree.map(numbers(-0.5), params), jax.tree.map(numbers(0.1), stats))
    return Run(Path("run"), config, model, variables, 7, frozen_encoder(model, variables))


def close(ours, expected, atol=1e-5):
    expected = np.asarray(expected)
    assert ours.dtype == np.float32 and ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=0, atol=atol)


def run_onnx(content, x):
    session = pytest.importorskip("onnxruntime").InferenceSession(content)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


POINTS = {"shape": (3, 4, 2)}
PLAIN = {
    "gon": {},
    "group": {"norm": "group", "activation": "gelu", "shape": (16, 16, 1), "base_channels": 4},  # 2 groups, then 1
    "none spatial": {"norm": "none", "latent_shape": (2, 2, 2)},
    "vgon spatial": {"model": "vgon", "latent_shape": (4, 4, 2)},
    "mlp scale": {"network": "mlp", "likelihood": "gaussian_scale", "latent_shape": (2, 2), "shape": (5, 2)},
    "siren": {"network": "siren", "first_omega_0": 9.0, **POINTS},
    "modulated vgon": {"network": "modulated_siren", "model": "vgon", **POINTS},
    "fourier": {"network": "fourier", "num_frequencies": 4, **POINTS},
    "classifier": {"model": "classifier", "num_classes": 4},
    "conv scale": {"likelihood": "gaussian_scale", "norm": "none", "shape": (8, 8, 2)},
    "multi-step": {"model": "multi_step", "inner_steps": 2},
    "vae": {"model": "vae"},
    "glo": {"model": "glo"},
    "autoencoder": {"model": "autoencoder"},
    "translation": {"model": "translation"},
    "least squares": {"model": "least_squares", "learn_damping": True},
    "mlp": {"network": "mlp", "activation": "softplus"},
}
WITHOUT_MATRIX = ("mlp scale", "conv scale", "multi-step", "vae", "glo", "autoencoder")


@pytest.mark.quick("gon", "vgon spatial", "mlp scale", "fourier")
@pytest.mark.parametrize("name", PLAIN)
def test_plain_layers_are_the_model(name):
    """By NumPy and by ONNX Runtime, for several batch sizes."""
    run = make(**PLAIN[name])
    model, functions = run.model, plain_functions(run)
    assert ("encoder" in functions) == (name not in WITHOUT_MATRIX)
    z = RNG.normal(size=(3, *model.latent_shape)).astype(np.float32)
    x = RNG.uniform(size=(3, *model.data_shape)).astype(np.float32)
    expected = {"decoder": (z, jax.jit(model.decode)(run.variables, z), model.data_shape)}
    if run.encoder is not None:
        expected["encoder"] = x, jax.jit(model.encode)(run.variables, x), model.latent_shape
    if name == "classifier":
        expected["classifier"] = x, jax.jit(model.capabilities.classify)(run.variables, x), (4,)
    if run.config.model.name == "vgon":  # at noise of 0, q is drawn at its mean
        identity = {"kernel": np.eye(z[0].size), "bias": np.zeros(z[0].size)}
        params = run.variables.params | {"mean": identity}
        decoded = jax.jit(model.decode)(run.variables._replace(params=params), z)
        expected["sampler"] = z, decoded, model.data_shape
    assert expected.keys() == functions.keys()
    for which, (given, right, shape) in expected.items():
        atol = 1e-5 * max(1, np.abs(right).max())
        content = onnx_model(functions[which], given.shape[1:], shape)
        for num in (3, 1):
            close(apply_layers(functions[which], given[:num]), right[:num], atol)
            close(run_onnx(content, given[:num]), right[:num], atol)


def test_activations_are_the_librarys():
    x = np.linspace(-6, 6, 101, dtype=np.float32)[None]
    for name in ACTIVATIONS:
        expected = (sigmoid if name == "sigmoid" else activation_fn(name))(x)
        close(apply_layers([Layer(name)], x), expected, 2e-6)
        close(run_onnx(onnx_model([Layer(name)], (101,), (101,)), x), expected, 2e-6)


def test_an_implicit_decoder_at_other_points():
    run, points = make(**PLAIN["siren"]), grid(5, 6)
    z = RNG.normal(size=(2, 3)).astype(np.float32)
    layers = plain_functions(run)["decoder"]
    assert (layers[0].kind, layers[-1].kind) == ("points", "reshape")
    layers[0], layers[-1] = Layer("points", {"points": points.reshape(30, 2)}), Layer("reshape", {"shape": (5, 6, 2)})
    close(apply_layers(layers, z), run.model.capabilities.at(points).decode(run.variables, z))


def test_sixteen_bits_are_said():
    """Plain layers compute in float32, and so are not the run's own rounding."""
    run = make(precision="bfloat16")
    z = RNG.normal(size=(2, 3)).astype(np.float32)
    difference = np.abs(apply_layers(plain_functions(run)["decoder"], z) - run.model.decode(run.variables, z)).max()
    assert 1e-5 < difference < 0.02


def own_decode(run):
    model = dataclasses.replace(run.model, decode=lambda variables, z: run.model.decode(variables, z) ** 2)
    return run._replace(model=model)


def own_network(run):
    network = type("Own", (type(run.config.network),), {"name": "own"})()
    return run._replace(config=dataclasses.replace(run.config, network=network))


@pytest.mark.parametrize(
    ("make_run", "words"),
    [
        (lambda: own_decode(make()), r"decode as the gon of run does, got others: .* take --format stablehlo"),
        (lambda: own_network(make()), r"expected a network of conv, mlp, .*, got own: take --format stablehlo"),
        (
            lambda: make(likelihood="categorical", base_channels=1),
            r"expected a likelihood of .*, got categorical: take",
        ),
        (lambda: make(imported={}) if False else make()._replace(imported={"evaluation": "batch"}), "batch statistics"),
    ],
)
def test_what_cannot_be_said_in_plain_layers_is_refused(make_run, words, tmp_path):
    with pytest.raises(ValueError, match=words) as caught:
        export_run(make_run(), tmp_path / "out", format="numpy")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_a_model_of_ones_own_is_exported_as_a_program(tmp_path):
    run = own_network(own_decode(make(norm="none")))
    metadata = export_run(run, tmp_path)
    z = RNG.normal(size=(2, 3)).astype(np.float32)
    program = jax.export.deserialize(bytearray((tmp_path / "decoder.stablehlo").read_bytes()))
    close(np.asarray(program.call(z)), run.model.decode(run.variables, z), 1e-6)
    assert metadata["network"] == "own" and metadata["functions"]["decoder"]["output"]["range"] is None


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"expected the package onnx, .*pip install 'gon_jax\[export\]'"):
        export_run(make(norm="none"), tmp_path / "out", format="onnx")
    assert not (tmp_path / "out").exists()


# -- a trained run, by the command -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the run of a classifier, as training leaves it, without training."""
    folder, shape = tmp_path_factory.mktemp("export"), (8, 8, 1)
    options = {"model": "classifier", "num_classes": 3, "latent_shape": (4,), "base_channels": 2}
    config, by = Config().replace(**options), "validation.accuracy"
    state = init_state(config.build(shape), config.training.optimizer(), jax.random.key(0))
    stats = jax.tree.map(lambda a: a + RNG.uniform(0.1, 0.5, a.shape).astype(np.float32), state.stats)
    saved = SavedConfig(config, shape, 60, by, {"class_names": ["ant", "bee", "cat"]})
    write_config(folder / "run", saved)
    with open_checkpoints(folder / "run", saved, create=True) as checkpoints:
        scores = {by: 0.5, "seconds_training": 0.0}
        checkpoints.save(3, state._replace(stats=stats, step=jnp.asarray(3)), saved.to_dict(), scores)
    return folder


STRANGER = """
import importlib.abc, json, sys

class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(name)

sys.meta_path.insert(0, Nothing())
sys.path.insert(0, ".")
try:
    import gon_jax
except ImportError:
    pass
else:
    raise SystemExit("expected a process without gon_jax")
{readme}
results = {{}}
for name, function in json.load(open("model.json"))["functions"].items():
    for num in (1, 5):
        x = np.load("../" + function["input"]["name"] + ".npy")[:num]
        results[name + str(num)] = np.asarray({call})
np.savez("../results.npz", **results)
assert not {blocked} & {{name.split(".")[0] for name in sys.modules}}
"""
CALLS = {
    "stablehlo": "load(function['file'])(x)",
    "numpy": "apply_layers(functions[name], x)",
    "onnx": "InferenceSession(function['file']).run(None, {function['input']['name']: x})[0]",
}


@pytest.mark.quick("numpy")
@pytest.mark.parametrize("format", CALLS)
def test_a_stranger_runs_what_was_exported(place, gon, format):
    """In a process that cannot import this package, nor JAX where it is not asked for; by the code of the README."""
    if format == "onnx":
        pytest.importorskip("onnxruntime")
    status, out, err = gon(f"export run --format {format} --output {format}")
    assert (status, err) == (0, "") and out.startswith(f"{format}: ") and out.endswith(f"see {format}/README.md\n")
    run = load_run(place / "run")
    x = RNG.uniform(size=(5, 8, 8, 1)).astype(np.float32)
    z = RNG.normal(size=(5, 4)).astype(np.float32)
    np.save(place / "x.npy", x), np.save(place / "z.npy", z)
    readme = (place / format / "README.md").read_text()
    assert "Classes: ant, bee, cat." in readme and "`[n, 8, 8, 1]`: data, from 0 to 1" in readme
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.S)
    blocked = {"gon_jax", "flax"} | ({"jax"} if format != "stablehlo" else set())
    script = STRANGER.format(blocked=blocked, readme=code, call=CALLS[format])
    environment = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=place / format, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = dict(np.load(place / "results.npz"))
    classify = run.model.capabilities.classify
    expected = {
        "decoder": jax.jit(run.model.decode)(run.variables, z),
        "encoder": run.encoder(jnp.asarray(x)),
        "classifier": jax.jit(classify)(run.variables, x),
    }
    assert len(results) == 6
    for name, right in expected.items():
        atol = 1e-6 if format == "stablehlo" else 1e-5
        for num in (1, 5):
            close(results[f"{name}{num}"], right[:num], atol * max(1, np.abs(right).max()))


def test_programs_are_for_three_platforms_and_any_batch_size(tmp_path):
    export_run(make(norm="none"), tmp_path)
    for name in ("encoder", "decoder"):
        program = jax.export.deserialize(bytearray((tmp_path / f"{name}.stablehlo").read_bytes()))
        assert program.platforms == ("cpu", "cuda", "tpu")
        assert not isinstance(program.in_avals[0].shape[0], int)


def test_what_is_there_is_not_replaced_unasked(place, gon):
    assert gon("export run --format numpy")[0] == 0
    names = {path.name for path in (place / "run" / "numpy").iterdir()}
    assert names == {"README.md", "model.json", "model.npz", "numpy_model.py"}
    status, out, err = gon("export run --format numpy")
    assert (status, out) == (1, "") and "expected a folder without an export, got run/numpy; replace it" in err
    assert gon("export run --format onnx --output run/numpy --overwrite")[0] == 0
    metadata = json.loads((place / "run" / "numpy" / "model.json").read_text())
    names = {path.name for path in (place / "run" / "numpy").iterdir()}
    assert names == {"README.md", "model.json", "encoder.onnx", "decoder.onnx", "classifier.onnx"}
    assert metadata["functions"]["classifier"]["output"]["shape"] == ["n", 3]
    assert metadata["class_names"] == ["ant", "bee", "cat"] and metadata["step"] == 3
    (place / "mine").mkdir(exist_ok=True)
    (place / "mine" / "notes.txt").write_text("mine")
    for output, words in {
        "mine": "expected a new or empty folder, got mine, which holds other things",
        "mine/notes.txt": "expected a folder for the export, got the file mine/notes.txt",
        "run/checkpoints": "expected an output that is not a run's own, got run/checkpoints",
        "run": "expected a new or empty folder, got run, which holds other things",
    }.items():
        status, out, err = gon(f"export run --format numpy --overwrite --output {output}")
        assert (status, out) == (1, "") and words in err and err.count("\n") == 1, err
    assert (place / "mine" / "notes.txt").read_text() == "mine"


def test_an_encoder_that_is_no_matrix_is_named(tmp_path):
    metadata = export_run(make(model="vae"), tmp_path / "a", format="numpy")
    (note,) = metadata["notes"]
    assert (
        note.startswith("The encoder of this vae is not one matrix") and note in (tmp_path / "a/README.md").read_text()
    )
    assert list(metadata["functions"]) == list(read_functions(str(tmp_path / "a" / "model.npz"))) == ["decoder"]
    assert metadata["functions"]["decoder"]["input"]["what"] == "latents; draws of N(0, I) too"
