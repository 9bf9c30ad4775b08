"""Presets on real data, at length: what a user sees after the README's commands."""

import dataclasses
import os
from pathlib import Path

import pytest

from gon_jax.experiments.presets import PRESETS, Config, make_model, optimizer_of
from gon_jax.experiments.run import train

FOLDERS = os.environ.get("GON_DATA_DIR", "").split(os.pathsep)
MNIST = any((Path(folder) / "mnist").is_dir() for folder in FOLDERS if folder)


def test_presets_are_the_releases():
    release = PRESETS["gon-mnist"]
    assert (release.learning_rate, release.batch_size, release.num_steps) == (1e-4, 64, 1001)
    assert (release.latent_shape, release.base_channels) == ((32,), 16)
    logs = PRESETS["gon-fashion-256"]
    assert (logs.learning_rate, logs.latent_shape, logs.num_steps, logs.num_validation) == (2e-4, (256,), 9370, 0)
    for config in PRESETS.values():
        assert config.norm == "batch" and config.step_size is None
        make_model(config, (32, 32, 3))
        optimizer_of(config)


@pytest.mark.parametrize(
    "options", [{"num_steps": 0}, {"latent_shape": ()}, {"learning_rate": float("nan")}, {"ema_decay": 1.0}]
)
def test_nonsense_is_refused(options):
    with pytest.raises(ValueError, match="expected"):
        Config(**options)


@pytest.mark.slow
def test_digits_are_far_below_pca(tmp_path):
    summary = train(PRESETS["gon-digits"], tmp_path / "run", progress=False)
    assert summary["test.squared_error"] < 0.6 * summary["pca.squared_error"]
    assert abs(summary["test.squared_error"] / summary["test.squared_error_batch"] - 1) < 0.03


@pytest.mark.slow
@pytest.mark.skipif(not MNIST, reason="needs MNIST in GON_DATA_DIR")
def test_one_epoch_of_mnist(tmp_path):
    """The three seeds in PyTorch are at 4.2, 5.5 and 6.3 (benchmarks/results); an untrained network is far above."""
    config = dataclasses.replace(PRESETS["gon-mnist-256"], num_steps=937)
    summary = train(config, tmp_path / "run", progress=False)
    assert summary["num_parameters"] == 303_697
    assert 3 < summary["test.squared_error_batch"] < 7
