"""A trained run as lists of plain layers with their arrays, for programs that know nothing of this package.

Normalization by averaged statistics is folded into the layer before it, and the factor of a sine into its kernel. With
x `[n, ...]` the array so far, channels last, the kinds of layers are

| kind | values | what x becomes |
|---|---|---|
| `reshape` | `shape` | `[n, *shape]` |
| `dense` | `kernel` `[i, o]`, `bias` `[o]` | x kernel + bias, along the last axis |
| `transposed_conv` | `kernel` `[i, 4, 4, o]`, `bias` `[o]` | `[n, 2 h, 2 w, o]`: stride 2, padding 1 |
| `group_norm` | `scale`, `bias` `[c]`, `num_groups`, `epsilon` | normalized over space and the channels of a group |
| `points` | `points` `[N, d]` | the points `[1, N, d]`; what x was are the latents z `[n, k]` |
| `add_latent` | `kernel` `[k, h]` | x + z kernel, `[n, N, h]` |
| `sin_cos` | | sin x, then cos x, along the last axis |
| `elu`, `sigmoid`, ... | | the function of that name of each number |

`gon_jax.runs.numpy_model.apply_layers` computes them by NumPy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from gon_jax.arguments import check_kind
from gon_jax.coordinates import grid
from gon_jax.decoders.fourier import random_frequencies
from gon_jax.decoders.layers import EPSILON, GroupNorm
from gon_jax.models.autoencoder import AutoencoderStats
from gon_jax.models.classifier import HEAD_SCALE
from gon_jax.runs.numpy_model import apply_layers
from gon_jax.runs.run import Run

__all__ = ["Layer", "classifier_layers", "decoder_layers", "encoder_layers", "num_mean_layers", "plain_functions"]

REMEDY = "take --format stablehlo (gon_jax.runs.export_run), which exports any model"
TOLERANCES = {"float32": 1e-3, "bfloat16": 0.1}  # of the largest output


class Layer(NamedTuple):
    """One of the layers above: its kind, and its values by name, float32 arrays but for sizes."""

    kind: str
    values: dict[str, Any] = {}


def plain_functions(run: Run) -> dict[str, list[Layer]]:
    """Return all that can be said of a run in plain layers.

    Returns:
        "decoder", latents `[n, *latent]` to means of the data `[n, ...]`; "encoder", data to latents, of a run whose
        encoder is a matrix; "classifier", data to logits `[n, num_classes]`, of such a classifier; "sampler", draws of
        N(0, I) `[n, *latent]` to means of the data, of a variational GON. (A VAE's decoder takes such draws itself.)

    Raises:
        ValueError: for a decoder that is not made of such layers.
        TypeError: for what is no run.
    """
    check_kind("run", run, Run, "gon_jax.load_run(folder) reads one")
    functions = {} if run.encoder is None else {"encoder": encoder_layers(run)}
    functions["decoder"] = decoder_layers(run)
    if run.config.model.name == "vgon":  # without the mean of q(t given z)
        functions["sampler"] = functions["decoder"][num_mean_layers(run) :]
    if run.config.model.name == "classifier" and run.encoder is not None:
        functions["classifier"] = classifier_layers(run)
    return functions


def num_mean_layers(run: Run) -> int:
    """Return how many layers at the start of a variational GON's decoder are the mean of q(t given z)."""
    return 1 if len(run.model.latent_shape) == 1 else 3


def decoder_layers(run: Run) -> list[Layer]:
    """Return the decoder as plain layers: latents `[n, *latent]` to means of the data `[n, ...]`.

    The list is computed by NumPy on random latents and compared with `run.model.decode` before it is returned.

    Raises:
        ValueError: for a network, likelihood or model without such a list, such as your own; without averaged
            statistics.
    """
    config, model, (params, stats) = run.config, run.model, jax.device_get(run.variables)
    network, likelihood = config.network.name, config.likelihood.name
    if network not in _NETWORKS:
        raise ValueError(f"expected a network of {', '.join(_NETWORKS)} for plain layers, got {network}: {REMEDY}")
    if likelihood not in _MEANS:
        raise ValueError(f"expected a likelihood of {', '.join(_MEANS)} for plain layers, got {likelihood}: {REMEDY}")
    layers = []
    if config.model.name == "vgon":
        mean = Layer("dense", {name: params["mean"][name] for name in ("kernel", "bias")})
        size = model.latent_shape
        layers = [mean] if len(size) == 1 else [_reshape(mean.values["bias"].size), mean, _reshape(*size)]
    of_pass = stats.decoder if isinstance(stats, AutoencoderStats) else getattr(stats, "latent", stats)
    try:
        layers += _NETWORKS[network](config.network, params.get("decoder", params), of_pass, model)
    except (AttributeError, KeyError) as error:
        raise ValueError(
            f"expected the parameters of network {network}, got others in a {config.model.name}: {REMEDY}"
        ) from error
    layers = _take_mean(layers, likelihood, model, network)
    _check(run, layers)
    return [Layer(kind, {name: _plain(value) for name, value in values.items()}) for kind, values in layers]


def encoder_layers(run: Run) -> list[Layer]:
    """Return the encoder as plain layers: data `[n, ...]` in [0, 1] to latents `[n, *latent]`.

    Raises:
        ValueError: for a run whose encoder is not a matrix that acts on the data.
    """
    encoder = run.encoder
    if encoder is None:
        raise ValueError(f"expected an encoder that is one matrix, got that of a {run.config.model.name}: {REMEDY}")
    matrix, bias = np.asarray(encoder.matrix), np.asarray(encoder.bias)
    layers = [_reshape(len(matrix)), Layer("dense", {"kernel": matrix, "bias": bias.reshape(-1)})]
    return layers if bias.ndim == 1 else [*layers, _reshape(*bias.shape)]


def classifier_layers(run: Run) -> list[Layer]:
    """Return a classifier as plain layers: data `[n, ...]` in [0, 1] to logits `[n, num_classes]`.

    Raises:
        ValueError: for a run that is no `gon_classifier`, or whose encoder is not a matrix.
    """
    if run.config.model.name != "classifier":
        raise ValueError(f"expected a run of model classifier, got {run.config.model.name}: {REMEDY}")
    head = jax.device_get(run.variables.params["head"])
    logits = Layer("dense", {"kernel": HEAD_SCALE * head["kernel"], "bias": head["bias"]})
    return [*encoder_layers(run)[:2], logits]


def _reshape(*shape):
    return Layer("reshape", {"shape": np.array(shape)})


def _plain(value):
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.kind == "f" else value


def _check(run, layers):
    """Refuse layers that are not what the model computes: it is a model of one's own, say, that decodes otherwise."""
    z = np.random.default_rng(0).normal(size=(3, *run.model.latent_shape)).astype(np.float32)
    expected = np.asarray(jax.jit(run.model.decode)(run.variables, z))
    found = apply_layers(layers, z)
    tolerance = TOLERANCES[run.config.precision] * np.abs(expected).max()
    if found.shape != expected.shape or not np.abs(found - expected).max() <= tolerance:
        raise ValueError(
            f"expected plain layers that decode as the {run.config.model.name} of {run.folder} does, got others: it "
            f"decodes by more than its network and likelihood; {REMEDY}"
        )


# -- the networks ----------------------------------------------------------------------------------------------------


def _conv(network, params, stats, model):
    """`ConvNetwork`: (transposed convolution, normalization, activation) of every size, and the last convolution."""
    names = ["Project_0"] * ("Project_0" in params)
    names += [f"TransposedConv_{i}" for i in range(len([name for name in params if name.startswith("Transposed")]))]
    layers = []
    for i, name in enumerate(names):
        kernel, bias, last = params[name]["kernel"], params[name]["bias"], name == names[-1]
        if network.norm == "batch" and not last:
            if stats is None:
                raise ValueError(
                    "expected averaged statistics, got a run that evaluates by batch statistics, where an output "
                    "depends on its batch: import it again with --dataset"
                )
            norm, of_batch = params[f"BatchNorm_{i}"], stats[f"BatchNorm_{i}"]
            gain = norm["scale"] / np.sqrt(np.float64(of_batch["variance"]) + EPSILON)
            kernel, bias = kernel * gain, norm["bias"] - of_batch["mean"] * gain
        if name == "Project_0":  # of a 1x1 image to 4x4
            dense = {"kernel": kernel.reshape(len(kernel), -1), "bias": np.tile(bias, 16)}
            layers += [Layer("dense", dense), _reshape(4, 4, bias.size)]
        else:
            layers.append(Layer("transposed_conv", {"kernel": kernel, "bias": bias}))
        if network.norm == "group" and not last:
            norm = params[f"GroupNorm_{i}"]["GroupNorm_0"]
            num_groups = bias.size // min(GroupNorm.channels_per_group, bias.size)
            layers.append(Layer("group_norm", norm | {"num_groups": np.array(num_groups), "epsilon": EPSILON}))
        if not last:
            layers.append(Layer(network.activation))
    return layers


def _dense(params, i, factor=1.0):
    return Layer("dense", {name: factor * params[f"Dense_{i}"][name] for name in ("kernel", "bias")})


def _mlp(network, params, stats, model):
    layers = [_reshape(np.prod(model.latent_shape))] * (len(model.latent_shape) > 1)
    for i in range(network.num_layers):
        layers += [_dense(params, i), Layer(network.activation)]
    return [*layers, _dense(params, network.num_layers)]


def _points(model):
    points = np.asarray(grid(*model.data_shape[:-1]))
    return Layer("points", {"points": points.reshape(-1, points.shape[-1])})


def _siren(network, params, stats, model):
    first = _dense(params, 0, network.first_omega_0 or network.omega_0).values
    d = len(model.data_shape) - 1
    layers = [
        _points(model),
        Layer("dense", {"kernel": first["kernel"][:d], "bias": first["bias"]}),
        Layer("add_latent", {"kernel": first["kernel"][d:]}),
    ]
    for i in range(1, network.num_layers):
        layers += [Layer("sin"), _dense(params, i, network.omega_0)]
    return [*layers, Layer("sin"), _dense(params, network.num_layers)]


def _modulated_siren(network, params, stats, model):
    shifts = np.split(network.omega_0 * params["shift"], network.num_layers, axis=-1)
    layers = [_points(model)]
    for i, shift in enumerate(shifts):
        factor = (network.first_omega_0 if i == 0 else None) or network.omega_0
        layers += [_dense(params, i, factor), Layer("add_latent", {"kernel": shift}), Layer("sin")]
    return [*layers, _dense(params, network.num_layers)]


def _fourier(network, params, stats, model):
    frequencies = random_frequencies(len(model.data_shape) - 1, network.num_frequencies, network.bandwidth)
    zeros = np.zeros(network.num_frequencies)
    first = _dense(params, 0).values
    layers = [
        _points(model),
        Layer("dense", {"kernel": frequencies, "bias": zeros}),
        Layer("sin_cos"),
        Layer("dense", first | {"kernel": np.sqrt(2) * first["kernel"]}),
        Layer("add_latent", {"kernel": params["code"]}),
    ]
    for i in range(1, network.num_layers):
        layers += [Layer("silu"), _dense(params, i)]
    return [*layers, Layer("silu"), _dense(params, network.num_layers)]


_NETWORKS: dict[str, Callable[..., list[Layer]]] = {
    "conv": _conv,
    "mlp": _mlp,
    "siren": _siren,
    "modulated_siren": _modulated_siren,
    "fourier": _fourier,
}
_MEANS = ("squared_error", "gaussian", "gaussian_scale", "bernoulli")


def _take_mean(layers, likelihood, model, network):
    """Return the layers with those that make the mean of the data of the network's output."""
    *layers, (kind, values) = layers
    step = model.likelihood.num_outputs  # the mean is the first output of each channel
    values = {"kernel": values["kernel"][..., ::step], "bias": values["bias"][::step]}
    layers = [*layers, Layer(kind, values)]
    bounded = network in ("conv", "mlp") and model.likelihood.reads_mean
    layers += [Layer("sigmoid")] * (likelihood == "bernoulli" or bounded)
    return layers if network == "conv" else [*layers, _reshape(*model.data_shape)]
