"""The rows of the matrix of transformations: every model, the definition, its fast forms, and decoders of all kinds.

A row is a function of variables and a batch. All computes in float64, on images of 8x8 pixels.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gon_jax.base import Decoder, Model, Variables
from gon_jax.coordinates import grid
from gon_jax.decoders import (
    conv_decoder,
    conv_encoder,
    from_equinox,
    from_function,
    from_linen,
    from_nnx,
    siren_decoder,
)
from gon_jax.encoding import encode, gon_loss, reconstruct
from gon_jax.freezing import freeze
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import cotangents, encode_shared, gradient_encoder
from gon_jax.models import (
    autoencoder,
    glo,
    gon,
    gon_classifier,
    least_squares_gon,
    multi_step_gon,
    translation_gon,
    vae,
    vgon,
)

SHAPE = (8, 8, 1)

# -- decoders --------------------------------------------------------------------------------------------------------


def conv(norm="batch"):
    return conv_decoder(SHAPE, (3,), base_channels=2, norm=norm)


def encoder(norm="batch"):
    return conv_encoder(SHAPE, (3,), base_channels=2, norm=norm)


def siren():
    return siren_decoder(grid(8, 8), 3, hidden_dim=4, num_layers=2)


def _init(key):
    keys, shapes = jax.random.split(key, 3), {"w": (3, 5), "v": (5, 64), "b": (64,)}
    return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}


def function_decoder(activation=jnp.tanh) -> Decoder:
    """Return a decoder of plain JAX, without broadcasts between ranks."""

    def decoder_fn(params, z):
        return jax.nn.sigmoid(activation(z @ params["w"]) @ params["v"] + params["b"][None]).reshape(-1, *SHAPE)

    return from_function(decoder_fn, _init, (3,), independent=True)


@jax.custom_vjp
def tanh_backward(x: jax.Array) -> jax.Array:
    """Return tanh x, with a derivative in reverse mode alone."""
    return jnp.tanh(x)


tanh_backward.defvjp(lambda x: (jnp.tanh(x), jnp.tanh(x)), lambda y, ct: (ct * (1 - y * y),))


def linen_decoder() -> Decoder:
    """Return `function_decoder` as a Linen module, with parameters by its names."""
    layers = [nn.Dense(5, use_bias=False), jnp.tanh, nn.Dense(64), jax.nn.sigmoid, lambda y: y.reshape(-1, *SHAPE)]
    return from_linen(nn.Sequential(layers), (3,), independent=True)


def nnx_decoder() -> Decoder:
    class Module(nnx.Module):
        def __init__(self, rngs):
            self.first, self.last = nnx.Linear(3, 5, use_bias=False, rngs=rngs), nnx.Linear(5, 64, rngs=rngs)

        def __call__(self, z):
            return jax.nn.sigmoid(self.last(jnp.tanh(self.first(z)))).reshape(-1, *SHAPE)

    return from_nnx(Module, (3,), independent=True)


def equinox_decoder() -> Decoder:
    def make(key):
        layers = [eqx.nn.Linear(3, 5, use_bias=False, key=key), eqx.nn.Lambda(jnp.tanh), eqx.nn.Linear(5, 64, key=key)]
        return eqx.nn.Sequential([*layers, eqx.nn.Lambda(lambda y: jax.nn.sigmoid(y).reshape(SHAPE))])

    return from_equinox(make, (3,))


LIBRARIES: dict[str, tuple[Callable[[], Decoder], Callable[[dict], Any]]] = {  # and the same weights, as each has them
    "Linen": (
        linen_decoder,
        lambda p: {"layers_0": {"kernel": p["w"]}, "layers_2": {"kernel": p["v"], "bias": p["b"]}},
    ),
    "NNX": (nnx_decoder, lambda p: {"first": {"kernel": p["w"]}, "last": {"kernel": p["v"], "bias": p["b"]}}),
    "Equinox": (equinox_decoder, lambda p: [p["w"].T, p["v"].T, p["b"]]),
}

# -- models ----------------------------------------------------------------------------------------------------------

MODELS: dict[str, Callable[[], Model]] = {
    "gon": lambda: gon(conv()),
    "gon-none": lambda: gon(conv("none")),
    "gon-definition": lambda: gon(function_decoder(), strategy="definition"),
    "implicit": lambda: gon(siren(), num_points=20),
    "least-squares": lambda: least_squares_gon(conv(), learn_damping=True),
    "vgon": lambda: vgon(conv()),
    "vgon-none": lambda: vgon(function_decoder(), inner_noise="none", likelihood=squared_error),
    "vgon-shared": lambda: vgon(function_decoder(), inner_noise="shared", likelihood=squared_error),
    "multi-step": lambda: multi_step_gon(conv("none"), num_steps=2, learn_origin=True, learn_step_size=True),
    "multi-step-detached": lambda: multi_step_gon(function_decoder(), num_steps=2, detached=True),
    "multi-step-drawn": lambda: multi_step_gon(conv(), num_steps=2, origin_scale=0.1),
    "classifier": lambda: gon_classifier(conv("group"), 4),
    "translation": lambda: translation_gon(function_decoder()),
    "glo": lambda: glo(function_decoder(), num_steps=2),
    "autoencoder": lambda: autoencoder(conv(), encoder()),
    "vae": lambda: vae(conv("none"), encoder("none")),
}
BY_EXAMPLE = ("gon-none", "gon-definition", "implicit", "multi-step", "multi-step-detached")  # no noise, no coupling
BY_EXAMPLE = (*BY_EXAMPLE, "classifier", "translation", "glo")
DRAWN = ("vgon", "vgon-shared", "multi-step-drawn")  # in the inner pass; random numbers depend on the type
NOISY = (*DRAWN, "vgon-none", "vae", "implicit")  # in the loss: noise, or the points of a step


# -- rows ------------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """A function under test.

    Attributes:
        init: `key -> Variables`.
        loss: `(variables, batch) -> scalar`, a mean over the batch.
        outputs: `(variables, batch) -> arrays [B, ...]` by name.
        by_example: an example's numbers depend on no other.
        noisy: random numbers are drawn, which depend on their type.
    """

    init: Callable[[jax.Array], Variables]
    loss: Callable[[Variables, Any], jax.Array]
    outputs: Callable[[Variables, Any], dict[str, jax.Array]]
    by_example: bool
    noisy: bool = False


def double(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def batch_of(num, seed=0):
    rng = np.random.default_rng(seed)
    x, target, z = (rng.uniform(size=(num, *shape)) for shape in (SHAPE, SHAPE, (3,)))
    return {"x": x, "y": np.arange(num) % 4, "target": target, "z": z}


def shifted(params, seed=0):
    """Return parameters off their special initial values, in 64 bits."""
    leaves, tree = jax.tree.flatten(double(params))
    keys = jax.random.split(jax.random.key(7 + seed), len(leaves))
    return tree.unflatten([a + 0.1 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)])


def variables_of(model, seed=0):
    """Return parameters off their special initial values, and statistics of a batch."""
    params = shifted(model.init(jax.random.key(seed)).params)
    return Variables(params, jax.jit(model.loss)(Variables(params), batch_of(4), jax.random.key(1))[1])


def model_row(name: str, model: Model | None = None) -> Row:
    model = MODELS[name]() if model is None else model

    def loss(variables, batch):
        return model.loss(Variables(variables.params), batch, jax.random.key(1))[0]

    def outputs(variables, batch):
        by_batch, x = Variables(variables.params), batch["x"]
        z = model.encode(by_batch, x)
        result = {"z": z, "x_hat": model.decode(by_batch, z)}
        return result if variables.stats is None else result | {"alone": model.encode(variables, x)}

    return Row(
        lambda key: variables_of(model, key), loss, outputs, name in BY_EXAMPLE or name not in MODELS, name in NOISY
    )


def function_row(make_decoder: Callable[[], Decoder], function: Callable[..., jax.Array]) -> Row:
    """Return the row of `function(decoder, params, x) -> [B, ...]`; its loss is the mean square."""
    decoder = make_decoder()

    def outputs(variables, batch):
        return {"y": function(decoder, variables.params, batch["x"])}

    def loss(variables, batch):
        y = outputs(variables, batch)["y"]
        return jnp.square(y).reshape(y.shape[0], -1).sum(axis=1).mean()

    return Row(lambda seed: Variables(shifted(decoder.init_params(jax.random.key(seed)), seed)), loss, outputs, True)


def by_definition(function, **options):
    def run(decoder, params, x):
        return function(decoder.output, params, x, jnp.zeros((x.shape[0], 3), x.dtype), step_size=0.1, **options)

    return run


def shared(**options):
    def run(decoder, params, x):
        return encode_shared(decoder, params, x, jnp.zeros(3, x.dtype), step_size=0.1, **options)

    return run


def _by_encoder(decoder, params, x):
    encoder = gradient_encoder(decoder, params, jnp.zeros(3, x.dtype), step_size=0.1)
    return encoder.encode(cotangents(squared_error, encoder.output, x))


def _by_least_squares(decoder, params, x):
    encoder = least_squares_encoder(decoder, params, jnp.zeros(3, x.dtype))
    return encoder.encode(cotangents(squared_error, encoder.output, x))


def _frozen(decoder, params, x):
    return freeze(gradient_encoder(decoder, params, jnp.zeros(3, x.dtype), step_size=0.1), squared_error)(x)


def _library_row(name):
    make, _ = LIBRARIES[name]
    return function_row(make, shared(strategy="jacobian"))


FUNCTIONS: dict[str, Callable[[], Row]] = {
    "encode": lambda: function_row(function_decoder, by_definition(encode)),
    "encode, 3 steps": lambda: function_row(function_decoder, by_definition(encode, num_steps=3)),
    "reconstruct": lambda: function_row(function_decoder, by_definition(reconstruct)),
    "gon_loss": lambda: function_row(function_decoder, by_definition(gon_loss)),
    "encode_shared, pullback": lambda: function_row(function_decoder, shared(strategy="pullback")),
    "encode_shared, jacobian": lambda: function_row(function_decoder, shared(strategy="jacobian")),
    "encode_shared, pointwise": lambda: function_row(siren, shared(strategy="pointwise")),
    "gradient_encoder": lambda: function_row(function_decoder, _by_encoder),
    "least_squares_encoder": lambda: function_row(function_decoder, _by_least_squares),
    "freeze": lambda: function_row(function_decoder, _frozen),
}
CUSTOM = {
    f"custom_vjp, {strategy}": lambda strategy=strategy: function_row(
        lambda: function_decoder(tanh_backward), shared(strategy=strategy)
    )
    for strategy in ("definition", "pullback")
}
ROWS: dict[str, Callable[[], Row]] = FUNCTIONS | CUSTOM
ROWS |= {f"decoder of {name}": lambda name=name: _library_row(name) for name in LIBRARIES}
ROWS |= {f"model {name}": lambda name=name: model_row(name) for name in MODELS}
