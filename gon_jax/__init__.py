"""Gradient Origin Networks in JAX: autoencoders without an encoder.

    z = gon_jax.encode(decoder_fn, params, x, z0)              # minus the gradient at the origin
    loss = gon_jax.gon_loss(decoder_fn, params, x, z0).mean()  # differentiate this in params

`import gon_jax` loads nothing else; whatever is used first (`gon_jax.encode`, `gon_jax.models`, ...) loads what it
needs.
"""

import importlib
from typing import TYPE_CHECKING, Any

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
    from gon_jax.metrics import evaluate
    from gon_jax.models import gon, vgon
    from gon_jax.runs import load_run
    from gon_jax.training import fit
    from gon_jax.transformer import GONTransformer

__version__ = "0.1.0"

_SUBMODULES = "base checkpoints checks coordinates data decoders encoding freezing gauss_newton inference".split()
_SUBMODULES += (
    "latents likelihoods linearization memory metrics models ops pca plotting runs training transformer".split()
)
_NAMES = {
    "base": "Decoder Model Variables",
    "checks": "compare_with_definition",
    "encoding": "encode gon_loss reconstruct",
    "likelihoods": "Likelihood bernoulli categorical continuous_bernoulli discretized_logistic "
    "discretized_logistic_mixture gaussian gaussian_scale squared_error",
    "linearization": "encode_shared",
    "metrics": "evaluate",
    "models": "gon vgon",
    "runs": "load_run",
    "training": "fit",
    "transformer": "GONTransformer",
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names.split()}

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
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"gon_jax.{_MODULE_OF[name]}"), name)
    if name in _SUBMODULES:
        return importlib.import_module(f"gon_jax.{name}")
    raise AttributeError(f"module 'gon_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
