"""Models: each a function that returns the record `gon_jax.Model`; `pretrained(name)` returns a trained one."""

import importlib
from typing import Any

from gon_jax.models.autoencoder import AutoencoderStats, autoencoder
from gon_jax.models.classifier import gon_classifier
from gon_jax.models.glo import glo
from gon_jax.models.gon import GONStats, gon, least_squares_gon
from gon_jax.models.gradient import gradient_model
from gon_jax.models.multi_step import MultiStepStats, multi_step_gon
from gon_jax.models.step_size import default_step_size
from gon_jax.models.translation import translation_gon
from gon_jax.models.vae import vae
from gon_jax.models.variational import Posterior
from gon_jax.models.vgon import VGONStats, vgon

__all__ = [
    "AutoencoderStats",
    "GONStats",
    "MultiStepStats",
    "Posterior",
    "VGONStats",
    "autoencoder",
    "default_step_size",
    "glo",
    "gon",
    "gon_classifier",
    "gradient_model",
    "least_squares_gon",
    "multi_step_gon",
    "translation_gon",
    "vae",
    "vgon",
]


def __getattr__(name: str) -> Any:
    if name != "pretrained":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("gon_jax.runs").pretrained  # a run, of a higher level: loaded when it is asked for
