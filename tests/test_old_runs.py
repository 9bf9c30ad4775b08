"""Runs of the first format, one flat config.json, load, evaluate and encode as they did when they were made."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gon_jax.inference import encode_dataset, frozen_encoder
from gon_jax.pca import pca_errors
from gon_jax.runs import Config, load_run, train
from gon_jax.runs.old_format import from_flat
from gon_jax.runs.saved import read_summary

RUNS = Path(__file__).parent / "goldens" / "runs"


@pytest.mark.quick("gon-digits")
@pytest.mark.parametrize("name", ["gon-digits", "vgon-digits", "implicit-digits"])
def test_an_old_run_evaluates_and_encodes_to_the_same_numbers(tmp_path, name):
    folder = shutil.copytree(RUNS / name, tmp_path / name)
    expected = json.loads((folder / "evaluate.json").read_text())
    run = load_run(folder)
    assert run.step == expected["step"] and (run.encoder is None) == (name == "vgon-digits")
    test = run.dataset().test
    metrics = run.evaluate(run.config.model.arrays(test))
    metrics |= {f"pca.{n}": value for n, value in pca_errors(run.dataset().train.images, test.images, 4).items()}
    assert metrics.keys() == expected.keys() - {"num_images", "step", "evaluation", "split"}
    for metric, value in metrics.items():
        np.testing.assert_allclose(value, expected[metric], rtol=1e-5, err_msg=metric)
    saved = np.load(folder / "latents.npz")
    for encoder in (run.encoder, frozen_encoder(run.model, run.variables)):
        z = encode_dataset(run.model, run.variables, test.images, encoder=encoder)
        np.testing.assert_allclose(z, saved["latents"], rtol=1e-5, atol=1e-5 * np.abs(saved["latents"]).max())
    np.testing.assert_array_equal(test.labels, saved["labels"])
    assert train(run.config, folder, resume=True) == read_summary(folder)


def test_an_old_run_is_what_its_configuration_says():
    config = load_run(RUNS / "vgon-digits").config
    assert config == Config().replace(
        model="vgon",
        inner_noise="none",
        likelihood="discretized_logistic",  # spelled discretised_logistic there
        base_channels=4,
        dataset="digits",
        image_size=8,
        latent_shape=(4,),
        num_steps=60,
        learning_rate=5e-3,
        schedule="cosine",
        adam_epsilon=1e-8,
        validate_every=20,
    )


@pytest.mark.parametrize(
    ("flat", "options"),
    [
        ({}, {}),
        ({"model": "translation", "source": "grey"}, {"model": "translation", "source": "gray"}),
        ({"model": "tied_autoencoder"}, {"model": "autoencoder", "tied": True}),
        ({"encoder": "least_squares", "learn_damping": True}, {"model": "least_squares", "learn_damping": True}),
        ({"likelihood": "discretised_logistic_mixture"}, {"likelihood": "discretized_logistic_mixture"}),
        ({"likelihood": "gaussian", "scale": 0.2}, {"likelihood": "gaussian", "scale": 0.2}),
        ({"network": "siren", "omega_0": None}, {"network": "siren", "omega_0": 30.0}),
        ({"network": "modulated_siren", "omega_0": None}, {"network": "modulated_siren", "omega_0": 10.0}),
        ({"network": "fourier", "omega_0": None}, {"network": "fourier"}),
        ({"kl_weight": 1.0, "hidden_dim": 256, "step_size": 0.5}, {"step_size": 0.5}),
    ],
)
def test_flat_configurations_are_read(flat, options):
    assert from_flat({"latent_shape": [3]} | flat, (8, 8, 1)) == Config().replace(latent_shape=(3,), **options)


def test_other_dictionaries_are_refused():
    with pytest.raises(KeyError, match="latent_shape"):
        from_flat({"architectures": ["Other"]}, (8, 8, 1))
    with pytest.raises(KeyError, match="architectures"):
        from_flat({"latent_shape": [3], "architectures": ["Other"]}, (8, 8, 1))
    with pytest.raises(ValueError, match="expected model one of gon, .*got 'diffusion'"):
        from_flat({"latent_shape": [3], "model": "diffusion"}, (8, 8, 1))


def test_an_old_run_of_several_steps_keeps_its_step_size():
    flat = {"model": "multi_step", "network": "siren", "inner_steps": 2, "latent_shape": [3], "step_size": None}
    assert from_flat(flat, (8, 8, 1)).model.step_size == 0.1 / (64 * 64)
    assert from_flat(flat | {"inner_steps": 1}, (8, 8, 1)).model.step_size == 1 / (64 * 64)
    assert from_flat(flat | {"step_size": 0.5}, (8, 8, 1)).model.step_size == 0.5
    assert from_flat(flat | {"network": "conv"}, (8, 8, 1)).model.step_size is None
