"""Runs: configurations, presets, and models that are trained in a folder and loaded from it."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gon_jax.runs.config import Config
    from gon_jax.runs.defaults import MINUTES, suited
    from gon_jax.runs.plain_layers import Layer, plain_functions
    from gon_jax.runs.planning import plan, planned, steps_within
    from gon_jax.runs.presets import PRESETS
    from gon_jax.runs.run import Run, load_run
    from gon_jax.runs.shipped import PRETRAINED, pretrained
    from gon_jax.runs.standalone import export_run
    from gon_jax.runs.trainer import train
    from gon_jax.runs.variables_file import read_variables, write_variables

_MODULES = {"Config": "config", "PRESETS": "presets", "Run": "run", "load_run": "run", "train": "trainer"}
_MODULES |= {"Layer": "plain_layers", "plain_functions": "plain_layers", "export_run": "standalone"}
_MODULES |= dict.fromkeys(("plan", "planned", "steps_within"), "planning") | dict.fromkeys(
    ("MINUTES", "suited"), "defaults"
)
_MODULES |= dict.fromkeys(("PRETRAINED", "pretrained"), "shipped")
_MODULES |= dict.fromkeys(("read_variables", "write_variables"), "variables_file")

__all__ = ["MINUTES", "PRESETS", "PRETRAINED", "Config", "Layer", "Run", "export_run", "load_run", "plan"]
__all__ += ["plain_functions", "planned", "pretrained", "read_variables", "steps_within", "suited", "train"]
__all__ += ["write_variables"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
