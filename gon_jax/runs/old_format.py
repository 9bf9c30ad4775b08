"""The first format of config.json, one flat dict, and the names that it had."""

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


def from_flat(flat: dict[str, Any]) -> Config:
    """Return the configuration of a flat dict, which holds options of every model, network and likelihood.

    Raises:
        KeyError: for a dict that is no such configuration.
        ValueError: for values that are refused.

    >>> from_flat({"latent_shape": [4], "encoder": "least_squares", "damping": 0.1, "kl_weight": 1.0}).model
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
    config = Config().replace(**{name: options[name] for name in REGISTRIES if name in options})
    return config.replace(**{name: value for name, value in options.items() if name in config.options()})
