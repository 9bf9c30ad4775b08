"""Runs: configurations, presets, and models that are trained in a folder and loaded from it."""

import importlib

_MODULES = {"Config": "config", "PRESETS": "presets", "Run": "run", "load_run": "run", "train": "training"}
_MODULES |= dict.fromkeys(("plan", "planned", "steps_within"), "planning") | dict.fromkeys(
    ("MINUTES", "suited"), "defaults"
)

__all__ = ["MINUTES", "PRESETS", "Config", "Run", "load_run", "plan", "planned", "steps_within", "suited", "train"]


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
