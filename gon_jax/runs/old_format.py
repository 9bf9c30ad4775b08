"""The first format of config.json, one flat dict, and the names that it had."""

import math
from typing import Any

from gon_jax.runs.config import REGISTRIES, Config

__all__ = ["from_flat"]

OTHER_NAMES: dict[tuple[str, str], dict[str, Any]] = {
    ("model", "tied_autoencoder"): {"model": "autoencoder", "tied": True},
    ("encoder", "least_squares"): {"model": "least_squares"},
    ("source", "grey"): {"source": "gray"},
    ("likelihood", "discretised_logistic"): {"likelihood": "discretized_logistic"},
    ("likelihood", "discretised_logistic_mixture"): {"likelihood": "discretized_logistic_mixture"},
}


def from_flat(flat: dict[str, Any], data_shape: tuple[int, ...]) -> Config:
    """Return the configuration of a flat dict, which holds options of every model, network and likelihood.

    Its default step size for several steps was 0.1 / (64 H W) for every network, where it is now another one for
    decoders of coordinates; such a run keeps the one that it was trained with.

    Raises:
        KeyError: for a dict that is no such configuration.
        ValueError: for values that are refused.

    >>> flat = {"latent_shape": [4], "encoder": "least_squares", "damping": 0.1, "kl_weight": 1.0}
    >>> from_flat(flat, (8, 8, 1)).model
    LeastSquaresConfig(damping=0.1, learn_damping=False)
    """
    options = dict(flat) | {"latent_shape": tuple(flat["latent_shape"])}
    for (name, value), new in OTHER_NAMES.items():
        if options.get(name) == value:
            options |= new
    parts: list[Any] = [part for registry in REGISTRIES.values() for part in registry.values()]
    known = Config().options().keys() | {name for part in parts for name in vars(part())} | {"encoder"}
    if unknown := options.keys() - known:
        raise KeyError(min(unknown))
    if options.get("omega_0") is None:
        options.pop("omega_0", None)
    if options.get("model") == "multi_step" and options.get("network", "conv") != "conv":
        steps = 1.0 if options.get("inner_steps") == 1 else 0.1
        options["step_size"] = options.get("step_size") or steps / (64 * math.prod(data_shape[:-1]))
    config = Config().replace(**{name: options[name] for name in REGISTRIES if name in options})
    return config.replace(**{name: value for name, value in options.items() if name in config.options()})
