"""Gradient Origin Networks in JAX: autoencoders without an encoder.

    z = gon_jax.encode(decoder_fn, params, x, z0)              # minus the gradient at the origin
    loss = gon_jax.gon_loss(decoder_fn, params, x, z0).mean()  # differentiate this in params

`import gon_jax` loads jax and nothing heavier; what needs more (`gon_jax.models`, `gon_jax.training`, `gon_jax.data`,
...) is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gon_jax.base import Decoder, Model, Variables
from gon_jax.checks import compare_with_definition
from gon_jax.encoding import encode, gon_loss, reconstruct
from gon_jax.likelihoods import (
    Likelihood,
    bernoulli,
    categorical,
    continuous_bernoulli,
    discretized_logistic,
    discretized_logistic_mixture,
    gaussian,
    gaussian_scale,
    squared_error,
)
from gon_jax.linearization import encode_shared

if TYPE_CHECKING:
    from gon_jax import (
        checkpoints,
        coordinates,
        data,
        decoders,
        inference,
        latents,
        metrics,
        models,
        ops,
        plotting,
        runs,
        training,
        transformer,
    )
    from gon_jax.metrics import evaluate
    from gon_jax.models import gon, vgon
    from gon_jax.runs import load_run
    from gon_jax.training import fit
    from gon_jax.transformer import GONTransformer

__version__ = "0.1.0"

_SUBMODULES = (
    "base checkpoints checks coordinates data decoders freezing gauss_newton inference latents likelihoods".split()
)
_SUBMODULES += "linearization metrics models ops plotting runs training transformer".split()
_LAZY = {"gon": "models", "vgon": "models", "fit": "training", "evaluate": "metrics", "load_run": "runs"}
_LAZY["GONTransformer"] = "transformer"

__all__ = [
    "Decoder",
    "GONTransformer",
    "Likelihood",
    "Model",
    "Variables",
    "bernoulli",
    "categorical",
    "checkpoints",
    "compare_with_definition",
    "continuous_bernoulli",
    "coordinates",
    "data",
    "decoders",
    "discretized_logistic",
    "discretized_logistic_mixture",
    "encode",
    "encode_shared",
    "evaluate",
    "fit",
    "gaussian",
    "gaussian_scale",
    "gon",
    "gon_loss",
    "inference",
    "latents",
    "load_run",
    "metrics",
    "models",
    "ops",
    "plotting",
    "reconstruct",
    "runs",
    "squared_error",
    "training",
    "transformer",
    "vgon",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"gon_jax.{_LAZY[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"gon_jax.{name}")
    raise AttributeError(f"module 'gon_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
