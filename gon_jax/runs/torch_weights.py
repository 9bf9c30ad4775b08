r"""The authors' three models in PyTorch and ours: which of their weights is which of our parameters, both ways.

| theirs | ours | axes |
|---|---|---|
| `main.0`, `main.3`, ..., `nn.ConvTranspose2d` | `Project_0`, `TransposedConv_0`, ... | (0, 2, 3, 1) |
| `main.1`, `main.4`, ..., `nn.BatchNorm2d` | `BatchNorm_0`, `BatchNorm_1`, ...; `weight` is `scale` | |
| `fc21`, `fc22`, `nn.Linear` of the variational one | `mean`, `logvar` | (1, 0) |
| `0.linear`, ..., `nn.Linear` of the implicit one | `Dense_0`, ... | (1, 0) |

PyTorch's running statistics are averages over both passes of a step, the origin's and the latents', where ours are of
the latter alone: they are not read. Ours are written in their place, the bias added that our layers leave out.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.base import Variables
from gon_jax.runs.config import Config

__all__ = ["Sizes", "check_authors", "config_of", "from_torch", "sizes_of", "to_torch"]

AXES = {4: (0, 3, 1, 2), 2: (1, 0), 1: (0,)}  # of theirs among ours, by their number
KINDS: dict[str, dict[str, Any]] = {  # what each has other than our defaults, which are the first one's
    "gon": {},
    "vgon": {"model": "vgon", "adam_epsilon": 1e-8},
    "implicit": {"network": "siren", "image_size": None, "adam_epsilon": 1e-8},
}
FIXED = ("likelihood", "norm", "activation", "precision", "logvar", "inner_kl_weight")  # where theirs have no choice


class Sizes(NamedTuple):
    """What the shapes of weights say of a model.

    Attributes:
        kind: "gon", "vgon" or "implicit".
        num_inputs: of the first layer, the k of a latent; with the d coordinates of a point in an implicit one.
        width: `base_channels` or `hidden_dim`.
        num_layers: hidden layers.
        num_channels: of the data.
    """

    kind: str
    num_inputs: int
    width: int
    num_layers: int
    num_channels: int

    @property
    def image_size(self) -> int | None:
        """The height and width of images; None of an implicit model, whose weights fit any."""
        return None if self.kind == "implicit" else 4 * 2**self.num_layers


def sizes_of(weights: Mapping[str, np.ndarray]) -> Sizes:
    """Return the sizes of one of the authors' models from the names and shapes of its state dict.

    Raises:
        ValueError: for names of none of them, or a first or last layer of other axes.

    >>> sizes_of({"0.linear.weight": np.zeros((256, 34)), "1.linear.weight": np.zeros((1, 256))})
    Sizes(kind='implicit', num_inputs=34, width=256, num_layers=1, num_channels=1)
    """

    def numbers(pattern):
        return [int(match[1]) for name in weights if (match := re.fullmatch(pattern, name))]

    def shape(name, num_axes):
        if len(found := np.shape(weights.get(name, 0))) != num_axes:
            got = f"an array {list(found)}" if name in weights else "no such name"
            raise ValueError(f"expected {name} of {num_axes} axes, got {got}: give a state dict of the authors' models")
        return found

    if last := max(numbers(r"main\.(\d{1,4})\.weight"), default=0):
        if last % 3 or last > 18:
            raise ValueError(
                f"expected main.0, main.3, ..., 2 to 7 transposed convolutions, got main.{last} as the last layer: "
                "give a state dict of the authors' models"
            )
        kind = "vgon" if any(name.startswith("fc2") for name in weights) else "gon"
        width, num_channels, *_ = shape(f"main.{last}.weight", 4)
        return Sizes(kind, shape("main.0.weight", 4)[0], width, last // 3, num_channels)
    if last := max(numbers(r"(\d{1,4})\.linear\.weight"), default=0):
        num_channels, width = shape(f"{last}.linear.weight", 2)
        return Sizes("implicit", shape("0.linear.weight", 2)[1], width, last, num_channels)
    names = ", ".join([*map(repr, weights)][:3]) or "none"
    raise ValueError(
        f"expected the names of the authors' models, 'main.0.weight' or '0.linear.weight' among them, got {names}: "
        "give model.state_dict() of GON.py, Variational-GON.py or Implicit-GON.py"
    )


def config_of(sizes: Sizes, spatial: tuple[int, ...] = (28, 28)) -> tuple[Config, tuple[int, ...]]:
    """Return the configuration of a model of these sizes, and the shape of its data.

    Args:
        sizes: of `sizes_of`.
        spatial: axes of the data of an implicit model, without channels: its weights fit any.

    Raises:
        ValueError: for an implicit model that has no inputs but those coordinates.

    >>> config, data_shape = config_of(Sizes("gon", 32, 16, 3, 1))
    >>> config.latent_shape, config.network.base_channels, config.data.image_size, data_shape
    ((32,), 16, 32, (32, 32, 1))
    """
    config = Config().replace(**KINDS[sizes.kind])
    if (size := sizes.image_size) is not None:
        config = config.replace(latent_shape=(sizes.num_inputs,), base_channels=sizes.width, image_size=size)
        return config, (size, size, sizes.num_channels)
    if sizes.num_inputs <= len(spatial):
        raise ValueError(
            f"expected 0.linear.weight of more than {len(spatial)} inputs, a point's coordinates and a latent, got "
            f"{sizes.num_inputs}: these weights are of data with fewer axes"
        )
    latent_shape = (sizes.num_inputs - len(spatial),)
    config = config.replace(latent_shape=latent_shape, hidden_dim=sizes.width, num_layers=sizes.num_layers)
    return config, (*spatial, sizes.num_channels)


def check_authors(config: Config) -> str:
    """Return which of the authors' models a configuration is of: "gon", "vgon" or "implicit".

    Raises:
        ValueError: for any other.

    >>> check_authors(Config().replace(norm="group"))
    Traceback (most recent call last):
    ValueError: expected norm=batch, that of the authors' gon, got group: PyTorch has no model of ours to put it into
    """
    kinds = {("gon", "conv"): "gon", ("vgon", "conv"): "vgon", ("gon", "siren"): "implicit"}
    if (kind := kinds.get((config.model.name, config.network.name))) is None:
        raise ValueError(
            "expected one of the authors' models, gon or vgon with network conv or gon with network siren, got "
            f"{config.model.name} with network {config.network.name}: PyTorch has no model of ours to put it into"
        )
    ours, theirs = config.options(), Config().replace(**KINDS[kind]).options()
    ours["latent_shape"], theirs["latent_shape"] = len(config.latent_shape), 1
    theirs["first_omega_0"] = ours.get("omega_0")
    ours["first_omega_0"] = ours.get("first_omega_0") or ours.get("omega_0")
    for name in (*FIXED, "latent_shape", "first_omega_0"):
        if ours.get(name) != theirs.get(name):
            what = "latents of one axis" if name == "latent_shape" else f"{name}={theirs.get(name)}"
            raise ValueError(
                f"expected {what}, that of the authors' {kind}, got {ours.get(name)}: PyTorch has no model of ours to "
                "put it into"
            )
    return kind


def _name_of(path: tuple[Any, ...]) -> str:
    """Return PyTorch's name of one of our parameters, by its path."""
    *_, layer, leaf = (entry.key for entry in path)
    kind, _, number = layer.partition("_")
    i = int(number or 0)
    names = {"Project": "main.0", "TransposedConv": f"main.{3 * i + 3}", "BatchNorm": f"main.{3 * i + 1}"}
    names |= {"Dense": f"{i}.linear", "mean": "fc21", "logvar": "fc22"}
    return f"{names[kind]}.{'bias' if leaf == 'bias' else 'weight'}"


def from_torch(config: Config, data_shape: tuple[int, ...], weights: Mapping[str, np.ndarray]) -> Variables:
    """Return the variables of a model with the weights of a state dict, without averaged statistics.

    Args:
        config, data_shape: of one of the authors' models, as `config_of` returns them.
        weights: float32 arrays by PyTorch's names. Its running statistics may be among them, and are not read.

    Raises:
        ValueError: for a name that is missing, or that the model does not have; by its name, for another shape, type,
            or numbers that are not finite.

    >>> config, data_shape = config_of(Sizes("gon", 4, 2, 1, 1))
    >>> variables = config.build(data_shape).init(jax.random.key(0))
    >>> weights = to_torch(config, variables)
    >>> weights["main.0.weight"].shape, variables.params["Project_0"]["kernel"].shape
    ((4, 2, 4, 4), (4, 4, 4, 2))
    >>> del weights["main.3.bias"]
    >>> from_torch(config, data_shape, weights)
    Traceback (most recent call last):
    ValueError: expected main.3.bias float32[1], got no such name: the state dict is not whole
    """
    check_authors(config)
    params = jax.eval_shape(config.build(data_shape).init, jax.random.key(0)).params
    needed, known = set(), {}
    for path, leaf in jax.tree.leaves_with_path(params):
        needed.add(name := _name_of(path))
        known[name] = "float32", tuple(leaf.shape[a] for a in AXES[leaf.ndim])
        if path[-1].key == "scale":
            layer = name.removesuffix("weight")
            known |= {f"{layer}running_{which}": ("float32", leaf.shape) for which in ("mean", "var")}
            known[f"{layer}num_batches_tracked"] = "int64", ()
    for name in weights:
        if name not in known:
            raise ValueError(f"expected the names of the authors' {check_authors(config)}, got {name!r} too: remove it")
    for name, (dtype, shape) in known.items():
        if name not in weights:
            if name in needed:
                raise ValueError(f"expected {name} {dtype}{list(shape)}, got no such name: the state dict is not whole")
            continue
        array = np.asarray(weights[name])
        if (array.dtype.name, array.shape) != (dtype, shape):
            remedy = "its other layers are of other sizes" if array.shape != shape else "convert it by model.float()"
            raise ValueError(f"expected {name} {dtype}{list(shape)}, got {array.dtype}{list(array.shape)}: {remedy}")
        if name in needed and not np.isfinite(array).all():
            raise ValueError(f"expected finite numbers in {name}, got others: its training has diverged")

    def ours(path, leaf):
        return jnp.asarray(np.transpose(weights[_name_of(path)], np.argsort(AXES[leaf.ndim])))

    return Variables(jax.tree_util.tree_map_with_path(ours, params))


def to_torch(config: Config, variables: Variables, *, num_batches: int = 0) -> dict[str, np.ndarray]:
    """Return the state dict that the authors' model loads, `model.load_state_dict(weights)`: arrays by name.

    With averaged statistics, `model.eval()` decodes as `model.decode(variables, z)` does. Without them those of PyTorch
    are as in a new model, and it is to be used in `model.train()`, as the authors do.

    Args:
        config: of one of the authors' models.
        variables: its own.
        num_batches: that the averaged statistics are of.

    Raises:
        ValueError: for any other model.
    """
    check_authors(config)
    params, stats = variables
    weights = {
        _name_of(path): np.ascontiguousarray(np.transpose(leaf, AXES[leaf.ndim]))
        for path, leaf in jax.tree.leaves_with_path(params)
    }
    decoder = params.get("decoder", params)
    for i in range(sum(layer.startswith("BatchNorm") for layer in decoder)):
        layer, bias = f"main.{3 * i + 1}", weights[f"main.{3 * i}.bias"]
        mean, variance = np.zeros_like(bias), np.ones_like(bias)
        if stats is not None:
            own = stats.latent[f"BatchNorm_{i}"]
            mean, variance = np.asarray(own["mean"]) + bias, np.asarray(own["variance"])
        weights |= {f"{layer}.running_mean": mean, f"{layer}.running_var": variance}
        weights[f"{layer}.num_batches_tracked"] = np.array(0 if stats is None else num_batches, np.int64)
    return weights
