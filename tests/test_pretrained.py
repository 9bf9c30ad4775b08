"""Models of the package: they load without data, are what their cards say, and damaged or foreign ones are refused."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import gon_jax
from benchmarks.pretrained import table
from gon_jax.base import Variables
from gon_jax.decoders import from_function
from gon_jax.inference import encode_dataset, reconstruct_dataset, superresolve
from gon_jax.runs import PRESETS, PRETRAINED, hub, load_run, pretrained, read_variables, train, write_variables
from gon_jax.runs.portable import CARD, FILES, write_portable
from gon_jax.runs.shipped import FOLDER
from gon_jax.runs.variables_file import WEIGHTS, round_variables

ROOT = Path(__file__).parents[1]
RESULT = json.loads((ROOT / "benchmarks/results/pretrained.json").read_text())["models"]
NAMES = ["gon-digits", "implicit-digits", "vgon-digits"]


def test_the_models_and_their_size():
    assert list(PRETRAINED) == NAMES == sorted(RESULT)
    sizes = {name: sum((FOLDER / name / file).stat().st_size for file in FILES) for name in NAMES}
    assert {name: record["bytes"] for name, record in RESULT.items()} == sizes and sum(sizes.values()) < 500_000
    assert gon_jax.models.pretrained is pretrained


def test_the_page_of_docs_has_the_figures():
    page = (ROOT / "docs/pretrained.md").read_text()
    assert f"<!-- pretrained -->\n{table(RESULT)}\n<!-- /pretrained -->" in page

    def values(names, *keys):
        read = [json.loads((ROOT / f"benchmarks/results/{name}.json").read_text()) for name in names]
        ends = [run["curve"][-1] for result in read for run in result.get("runs", [result])]
        return [[end[key] for end in ends] for key in keys]

    for data, row in (("mnist", "0.69 to 0.74"), ("fashion_mnist", "1.38 to 1.48")):
        (errors,) = values([f"quality_{data}_jax_seed{seed}" for seed in range(3)], "test_squared_error_running")
        assert f"squared error {min(errors):.2f} to {max(errors):.2f}" in page and row in page
    (bounds,) = values(["elbo_mnist_jax"], "test_negative_elbo_running")
    assert f"-ELBO {min(bounds):.0f} to {max(bounds):.0f} nats" in page
    cifar = json.loads((ROOT / "benchmarks/results/defaults_cifar10.json").read_text())
    assert f"squared error {cifar['test.squared_error']:.2f}, PCA {cifar['pca.squared_error']:.2f}" in page


def test_an_unknown_name_is_refused_with_the_names():
    with pytest.raises(ValueError, match="one of gon-digits, implicit-digits, vgon-digits, got 'gon-mnist'"):
        pretrained("gon-mnist")
    with pytest.raises(ValueError, match="one of gon-digits"):
        pretrained("../weights/gon-digits")


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_what_is_recorded(name):
    card, record = (FOLDER / name / CARD).read_text(), RESULT[name]["shipped"]
    assert f"| squared error per held-out image | {record['squared_error']:.4g} |" in card
    assert f'gon_jax.models.pretrained("{name}")' in card and f"`{RESULT[name]['train']}`" in card
    assert record["squared_error"] < record["pca.squared_error"] or name == "vgon-digits"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_the_evaluation_of_the_shipped_weights(name):
    run = pretrained(name)
    test = run.dataset().test  # the run's own, by its fingerprint
    for key, value in run.evaluate(run.config.model.arrays(test)).items():
        assert value == pytest.approx(RESULT[name]["shipped"][key], rel=1e-3), key
    z = encode_dataset(run.model, run.variables, test.images[:5], encoder=run.encoder)
    np.testing.assert_allclose(z, run.model.encode(run.variables, test.images[:5]), atol=1e-4)


def test_a_held_out_digit_is_reconstructed():
    run = pretrained("gon-digits")
    x = run.dataset().test.images[:8]
    x_hat = reconstruct_dataset(run.model, run.variables, x, encoder=run.encoder)
    assert np.square(x / 255 - x_hat).reshape(8, -1).sum(1).mean() < 3  # of the mean image it is 45


def test_they_do_what_such_models_do():
    implicit, variational = pretrained("implicit-digits"), pretrained("vgon-digits")
    digit = implicit.dataset().test.images[:1]
    assert superresolve(implicit.model, implicit.variables, digit, 20).shape == (1, 20, 20, 1)
    sample = variational.model.capabilities.sample
    assert sample is not None
    x = np.asarray(sample(variational.variables, jax.random.key(0), 8))
    assert x.shape == (8, 32, 32, 1) and 0.15 < x.mean() < 0.45  # the data's mean is 0.31


def test_loading_needs_no_data_and_no_checkpoint_library():
    code = """
import sys
import gon_jax
for name in gon_jax.runs.PRETRAINED:
    run = gon_jax.models.pretrained(name)
    assert run.encoder is not None, name  # it is read, and of these weights
print(*{name.split(".")[0] for name in sys.modules} & {"orbax", "sklearn", "safetensors", "tensorflow_datasets", "PIL"})
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


@pytest.fixture
def copy(tmp_path):
    return Path(shutil.copytree(FOLDER / "gon-digits", tmp_path / "copy"))


def test_damage_is_refused(copy):
    content = bytearray((copy / WEIGHTS).read_bytes())
    content[len(content) // 2] ^= 4
    (copy / WEIGHTS).write_bytes(content)
    with pytest.raises(ValueError, match="expected the weights of a model in .*take a whole copy"):
        load_run(copy)


def test_variables_of_any_model_are_written_and_read(tmp_path):
    def init(key):
        return {"kernel": jax.random.normal(key, (2, 4), "bfloat16"), "bias": np.float32([0.1, 0, 0, 0])}

    decoder = from_function(lambda p, z: z @ p["kernel"].astype("float32") + p["bias"], init, (2,), independent=True)
    model = gon_jax.gon(decoder)
    variables = model.init(jax.random.key(0))
    path = str(tmp_path / "mine.npz")
    write_variables(path, variables)
    again, step = read_variables(path, model)
    assert step == 0 and again.params["kernel"].dtype == "bfloat16"
    assert jax.tree.all(jax.tree.map(np.array_equal, again, variables))
    with pytest.raises(FileNotFoundError, match="expected the weights of a model in .*no such file"):
        read_variables(tmp_path / "none.npz", model)
    with pytest.raises(TypeError, match="expected model, a Model, got None"):
        read_variables(path, None)


@pytest.mark.parametrize(
    ("variables", "step", "words"),
    [
        ({"w": np.ones(2)}, 0, "expected variables, a Variables, got"),
        (Variables({"w": np.ones(2), "name": "mine"}), 0, "expected arrays of numbers in variables, got <U4"),
        (Variables({"w": np.array([object()])}), 0, "expected arrays of numbers in variables, got object"),
        (Variables({"w": np.ones(2)}), 2.5, "expected step, a whole number of at least 0, got 2.5"),
    ],
)
def test_what_is_no_array_is_never_written(variables, step, words, tmp_path):
    with pytest.raises((TypeError, ValueError), match=words):
        write_variables(tmp_path / "mine.npz", variables, step)
    assert not list(tmp_path.iterdir())


def test_changed_numbers_and_other_models_are_refused(copy):
    with np.load(copy / WEIGHTS) as file:
        arrays = dict(file)
    changed = arrays | {"params/TransposedConv_2/bias": arrays["params/TransposedConv_2/bias"] + 1}
    np.savez(copy / WEIGHTS, **changed)
    with pytest.raises(ValueError, match="other contents"):
        load_run(copy)
    shutil.copy(FOLDER / "implicit-digits" / WEIGHTS, copy)
    with pytest.raises(
        ValueError, match=r"expected params/BatchNorm_0/bias of shape \(64,\) in .*got None: it is of another"
    ):
        load_run(copy)
    np.savez(copy / WEIGHTS, **arrays | {"step": np.array({"a": 1}, object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        load_run(copy)


def test_rounding_keeps_all_but_kernels():
    variables = Variables(
        {"kernel": np.full((2, 2), 0.1, np.float32), "bias": np.full(2, 0.1, np.float32)}, np.float32(1e-9)
    )
    rounded = round_variables(jax.tree.map(jax.numpy.asarray, variables), "float16")
    assert (
        rounded.params["kernel"].dtype == np.float32 and (rounded.params["kernel"] == np.float32(np.float16(0.1))).all()
    )
    assert (rounded.params["bias"] == np.float32(0.1)).all() and rounded.stats == np.float32(1e-9)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "own"
    config = PRESETS["gon-digits"].replace(image_size=8, base_channels=4, num_steps=2)
    train(config, folder, pictures=False, progress=False)
    return load_run(folder)


@pytest.mark.slow
def test_a_run_of_ones_own_is_the_same_after_the_hub(trained, tmp_path, monkeypatch):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    calls = []
    real = huggingface_hub.HfApi.create_repo, huggingface_hub.HfApi.upload_folder, huggingface_hub.snapshot_download
    takes = [set(inspect.signature(function).parameters) for function in real]
    assert {"repo_id", "private", "exist_ok"} <= takes[0] and {"repo_id", "revision", "allow_patterns"} <= takes[2]
    assert {"repo_id", "folder_path", "commit_message", "allow_patterns"} <= takes[1]

    def create_repo(self, repo_id, **options):
        calls.append((repo_id, options))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, *, repo_id, folder_path, allow_patterns, **options):
        assert sorted(path.name for path in Path(folder_path).iterdir()) == sorted(allow_patterns) == sorted(FILES)
        shutil.copytree(folder_path, tmp_path / repo_id)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        assert revision is None and sorted(allow_patterns) == sorted(FILES)
        return str(tmp_path / repo_id)

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create_repo)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert hub.push_to_hub(trained, "me/own", private=True) == "https://huggingface.co/me/own"
    assert calls == [("me/own", {"private": True, "exist_ok": True})]
    again = hub.from_hub("me/own")
    same = jax.tree.map(lambda a, b: bool((a == b).all()), again.variables, trained.variables)
    assert jax.tree.all(same) and again.step == trained.step and again.config == trained.config
    card = (tmp_path / "me/own" / CARD).read_text()
    assert card.startswith("---\nlibrary_name: gon_jax\n") and 'from_hub("me/own")' in card
    assert re.search(r"\| squared error per test image \| [\d.]+ \|", card)
    assert not list((tmp_path / "me/own").glob("**/*.p*"))


def test_without_the_hubs_library(trained, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'gon_jax\[hub\]'"):
        hub.push_to_hub(trained, "me/own")


def test_a_run_by_batch_statistics_is_not_sent(trained, tmp_path):
    imported = trained._replace(imported={"evaluation": "batch"})
    with pytest.raises(ValueError, match="expected a run with averaged statistics"):
        write_portable(imported, tmp_path / "new", "")
