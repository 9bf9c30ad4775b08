"""Every model under JAX's transformations, beside the same function without them.

`jax.shard_map` needs several devices: its cells are computed in a process that has eight, by this file as a script.
"""

import functools
import json
import os
import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, conv_encoder, from_function, siren_decoder
from gon_jax.encoding import encode
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import cotangents, encode_shared, possible_strategies
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
from gon_jax.ops import transposed_conv
from gon_jax.ops.bilinear import matmul, scale, scale_each, sum_of_outer, sum_of_products
from gon_jax.training import fit

SHAPE, DEVICES = (8, 8, 1), 8


def conv(norm="batch"):
    return conv_decoder(SHAPE, (3,), base_channels=2, norm=norm)


def encoder(norm="batch"):
    return conv_encoder(SHAPE, (3,), base_channels=2, norm=norm)


def function_decoder():
    """A decoder of plain JAX, without broadcasts between ranks."""

    def decoder_fn(params, z):
        return jax.nn.sigmoid(jnp.tanh(z @ params["w"]) @ params["v"] + params["b"][None]).reshape(-1, *SHAPE)

    def init(key):
        keys, shapes = jax.random.split(key, 3), {"w": (3, 5), "v": (5, 64), "b": (64,)}
        return {name: jax.random.normal(k, shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}

    return from_function(decoder_fn, init, (3,), independent=True)


def siren():
    return siren_decoder(grid(8, 8), 3, hidden_dim=4, num_layers=2)


MODELS = {
    "gon": lambda: gon(conv()),
    "gon-none": lambda: gon(conv("none")),
    "gon-definition": lambda: gon(function_decoder(), strategy="definition"),
    "implicit": lambda: gon(siren(), num_points=20),
    "least-squares": lambda: least_squares_gon(conv(), learn_damping=True),
    "vgon": lambda: vgon(conv()),
    "vgon-shared": lambda: vgon(function_decoder(), inner_noise="shared", likelihood=squared_error),
    "multi-step": lambda: multi_step_gon(conv("none"), num_steps=2, learn_origin=True, learn_step_size=True),
    "multi-step-drawn": lambda: multi_step_gon(conv(), num_steps=2, origin_scale=0.1),
    "classifier": lambda: gon_classifier(conv("group"), 4),
    "translation": lambda: translation_gon(function_decoder()),
    "glo": lambda: glo(function_decoder(), num_steps=2),
    "autoencoder": lambda: autoencoder(conv(), encoder()),
    "vae": lambda: vae(conv("none"), encoder("none")),
}
BY_EXAMPLE = ("gon-none", "gon-definition", "implicit", "multi-step", "classifier", "translation", "glo")  # no noise
DRAWN = ("vgon", "vgon-shared", "multi-step-drawn")  # in the inner pass; random numbers depend on the type


def double(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def batch_of(num, seed=0):
    rng = np.random.default_rng(seed)
    x, target, z = (rng.uniform(size=(num, *shape)) for shape in (SHAPE, SHAPE, (3,)))
    return {"x": x, "y": np.arange(num) % 4, "target": target, "z": z}


def variables_of(model, seed=0):
    """Parameters off their special initial values, and statistics of a batch, in 64 bits."""
    params = double(model.init(jax.random.key(seed)).params)
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    params = tree.unflatten([a + 0.1 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)])
    return Variables(params, jax.jit(model.loss)(Variables(params), batch_of(4), jax.random.key(1))[1])


def outcome(model, variables, batch, mean=lambda value: value, checkpoint=lambda function: function):
    """Return all that a model computes: by the statistics of the batch, and by given ones."""
    params, stats = variables

    def loss(params):
        return mean(model.loss(Variables(params), batch, jax.random.key(1))[0])

    value, gradient = jax.value_and_grad(checkpoint(loss))(params)
    z = model.encode(Variables(params), batch["x"])
    result = {"loss": value, "gradient": gradient, "z": z, "x_hat": model.decode(Variables(params), z)}
    return result if stats is None else result | {"alone": model.encode(variables, batch["x"])}


def difference(ours, right):
    """Return the largest difference of any of the results, relative to the largest entry of that result."""
    assert jax.tree.structure(ours) == jax.tree.structure(right)
    ratios = []
    for name in right:
        pairs = zip(jax.tree.leaves(ours[name]), jax.tree.leaves(right[name]), strict=True)
        pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
        largest = np.max([np.abs(b).max() for _, b in pairs])
        ratios.append(np.max([np.abs(a - b).max() for a, b in pairs]) / largest)
    return float(np.max(ratios))  # NaN, if any is


class Right:
    """The right values, compiled once for a model: by `jax.jit` alone."""

    def __init__(self, name):
        self.name, self.model = name, MODELS[name]()
        self.variables = variables_of(self.model)
        self.compiled = jax.jit(partial(outcome, self.model))

    def __call__(self, batch, variables=None):
        return self.compiled(self.variables if variables is None else variables, batch)


@functools.cache
def right_of(name):
    return Right(name)


@pytest.fixture(params=MODELS)
def right(request, x64):
    return right_of(request.param)


# -- one device ------------------------------------------------------------------------------------------------------


def stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def test_scan_over_data_of_vmap_over_parameters(right):
    """With the loss rematerialized."""
    batches = [batch_of(3), batch_of(3, seed=1)]
    variables = [right.variables, variables_of(right.model, seed=1)]
    function = partial(outcome, right.model, checkpoint=jax.checkpoint)
    params = Variables(stack(*[v.params for v in variables]))  # by the statistics of a batch

    def body(_, batch):
        return None, jax.vmap(function, (0, None))(params, batch)

    result = jax.jit(lambda: jax.lax.scan(body, None, stack(*batches))[1])()
    expected = stack(*[stack(*[right(batch, v) for v in variables]) for batch in batches])
    assert difference(result, {name: expected[name] for name in result}) < 1e-8


def test_vmap_over_data(right):
    batches = [batch_of(3), batch_of(3, seed=1)]
    encode_fn = jax.vmap(partial(right.model.encode, Variables(right.variables.params)))
    z = jax.jit(encode_fn)(np.stack([batch["x"] for batch in batches]))
    assert difference({"z": z}, {"z": jnp.stack([right(batch)["z"] for batch in batches])}) < 1e-8


def test_without_compilation(right):
    batch, by_batch = batch_of(3), Variables(right.variables.params)
    with jax.disable_jit():
        loss, _ = right.model.loss(by_batch, batch, jax.random.key(1))
        z = right.model.encode(by_batch, batch["x"])
        result = {"loss": loss, "z": z, "x_hat": right.model.decode(by_batch, z)}
    expected = right(batch)
    assert difference(result, {name: expected[name] for name in result}) < 1e-9


@pytest.mark.parametrize("dtype", ["uint8", "float16", "bfloat16"])
def test_data_of_other_types(right, dtype):
    """They are made float32 before anything else: the program is that of float32 with the conversion before it."""

    def converted(data):
        return data.astype(jnp.float32) / 255 if dtype == "uint8" else data.astype(jnp.float32)

    def program(function, convert):
        jaxpr = jax.make_jaxpr(lambda variables, x: function(variables, convert(x)))(right.variables, x)
        return re.sub("0x[0-9a-f]+", "", str(jaxpr))

    def loss(variables, x):
        return right.model.loss(variables, batch_of(3) | {"x": x}, key)

    x, key = jnp.ones((3, *SHAPE), dtype), jax.random.key(1)
    functions = {"uint8": (loss, right.model.encode), "float16": (right.model.encode,), "bfloat16": (loss,)}
    for function in functions[dtype]:
        assert program(function, lambda x: x) == program(function, converted)


def test_bytes_and_parameters_of_32_bits_in_64_bits(right):
    """Types are mixed where JAX's default is another than that of the parameters and the data."""
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    single = jax.tree.map(lambda a: a.astype(jnp.float32), right.variables)
    z = jax.jit(right.model.encode)(single, images)
    batch = batch_of(3) | {"x": images / 255}
    expected = right(batch)
    exact = {"z": expected["z" if single.stats is None else "alone"]}
    assert jnp.isfinite(z).all() and (right.name in DRAWN or difference({"z": z}, exact) < 1e-3)


@pytest.mark.parametrize("name", ["gon", "autoencoder"])
def test_parameters_of_16_bits(name):
    """They are rounded, and that is all: primitives promote as jax.numpy does."""
    model = MODELS[name]()
    short = jax.tree.map(lambda a: a.astype(jnp.bfloat16), Variables(model.init(jax.random.key(0)).params))
    rounded = jax.tree.map(lambda a: a.astype(jnp.float32), short)
    batch = {"x": jnp.asarray(batch_of(3)["x"], jnp.float32)}
    compiled = jax.jit(partial(outcome, model))
    assert difference(compiled(short, batch), compiled(rounded, batch)) < 0.02  # gradients are rounded too


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", ["gon", "vgon", "glo", "autoencoder"])
def test_training_in_64_bits(name):
    images = np.random.default_rng(0).integers(0, 256, (8, *SHAPE), dtype=np.uint8)
    options = {"batch_size": 4, "progress": False}
    losses = [row["loss"] for row in fit(MODELS[name](), images, 3, jax.random.key(0), **options).history]
    assert np.isfinite(losses).all()
    if name == "gon":  # others draw random numbers of another type
        jax.config.update("jax_enable_x64", False)
        single = fit(MODELS[name](), images, 3, jax.random.key(0), **options).history
        np.testing.assert_allclose(losses, [row["loss"] for row in single], rtol=1e-3)


# -- the primitives --------------------------------------------------------------------------------------------------

PRIMITIVES = {  # ours, plain JAX, shapes of the arguments
    "scale": (scale, lambda a, b: a * b, (3, 2), (3, 2)),
    "scale_each": (scale_each, lambda a, b: a[None] * b, (3, 2), (4, 3, 2)),
    "sum_of_products": (sum_of_products, lambda a, b: (a * b).sum(axis=0), (4, 3, 2), (4, 3, 2)),
    "matmul": (matmul, lambda a, b: a @ b, (3, 2), (2, 5)),
    "sum_of_outer": (sum_of_outer, lambda a, b: a.T @ b, (3, 2), (3, 5)),
}


def arguments(shapes, types):
    return [jnp.linspace(-1, 1, int(np.prod(s))).reshape(s).astype(t) for s, t in zip(shapes, types, strict=True)]


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("types", [("float32", "bfloat16"), ("bfloat16", "float32"), ("float16", "bfloat16")], ids=str)
def test_primitives_promote_as_jax_numpy(name, types):
    ours, plain, *shapes = PRIMITIVES[name]
    a, b = arguments(shapes, types)
    with jax.numpy_rank_promotion("raise"):
        for form in (lambda f: f, jax.jit, lambda f: jax.jit(jax.grad(lambda *ab: f(*ab).sum(), (0, 1)))):
            for result, expected in zip(*(jax.tree.leaves(form(f)(a, b)) for f in (ours, plain)), strict=True):
                assert result.dtype == expected.dtype and result.weak_type == expected.weak_type
                np.testing.assert_allclose(np.float32(result), np.float32(expected), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("name", PRIMITIVES)
def test_primitives_refuse_integers(name):
    ours, _, *shapes = PRIMITIVES[name]
    with pytest.raises(TypeError, match=rf"floating-point arguments of {name}, got uint8 and float32") as caught:
        ours(*arguments(shapes, ("uint8", "float32")))
    assert "\n" not in str(caught.value)


def test_the_core_does_not_promote_ranks():
    """With a decoder that does not: of `jax.numpy`, its likelihood is not asked."""
    decoder = function_decoder()
    params, x = decoder.init(jax.random.key(0)), jnp.ones((2, *SHAPE))
    with jax.numpy_rank_promotion("raise"):
        for strategy in possible_strategies(decoder, params, 2):
            encode_shared(decoder, params, x, jnp.zeros(3), strategy=strategy)
        encoder = least_squares_encoder(decoder, params, jnp.zeros(3))
        encoder.encode(cotangents(squared_error, encoder.output, x))


def test_latents_have_the_type_of_their_origin():
    decoder = function_decoder()
    params, x = decoder.init(jax.random.key(0)), jnp.ones((2, *SHAPE), jnp.bfloat16)
    for step_size in (0.1, jnp.float32(0.1)):
        z = encode(decoder.output, params, x, jnp.zeros((2, 3), jnp.bfloat16), step_size=step_size, num_steps=2)
        assert z.dtype == jnp.bfloat16


# -- what models refuse ----------------------------------------------------------------------------------------------

WRONG = {  # function, shape or array, what the error says
    "one example": ("encode", SHAPE, r"expected x \[B, 8, 8, 1\], got \[8, 8, 1\]: one example .* x\[None\]"),
    "channels first": ("encode", (5, 1, 8, 8), r"got \[5, 1, 8, 8\]: .* channels first, use jnp.moveaxis\(x, 1, -1\)"),
    "no channels": ("loss", (5, 8, 8), r"got \[5, 8, 8\]: without a channel axis, use x\[..., None\]"),
    "flat": ("loss", (5, 64), r"got \[5, 64\]: flattened, use x.reshape\(-1, 8, 8, 1\)"),
    "size": ("encode", (5, 16, 16, 1), r"got \[5, 16, 16, 1\]: these are other data"),
    "width": ("decode", (5, 4), r"expected z \[B, 3\], got \[5, 4\]: these are latents of another model"),
    "one latent": ("decode", (3,), r"expected z \[B, 3\], got \[3\]: one example .* z\[None\]"),
    "integers": ("encode", jnp.ones((5, *SHAPE), jnp.int32), "uint8 or floating-point data, got int32"),
    "integer latents": ("decode", jnp.ones((5, 3), jnp.int32), "floating-point z, got int32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_models_say_in_a_line_what_is_wrong(case):
    name, value, words = WRONG[case]
    value = jnp.ones(value) if isinstance(value, tuple) else value
    for model in (MODELS["gon"](), MODELS["vae"]()):
        function = getattr(model, name)
        arguments = ({"x": value}, jax.random.key(0)) if name == "loss" else (value,)
        with pytest.raises(ValueError, match=words) as caught:  # while it is traced
            jax.eval_shape(lambda *arguments: function(model.init(jax.random.key(0)), *arguments), *arguments)  # noqa: B023
        assert "\n" not in str(caught.value)


def test_bytes_are_divided_by_255_everywhere():
    x = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), dtype=np.uint8)
    unit, keys = jnp.asarray(x / 255, jnp.float32), jax.random.split(jax.random.key(0), 3)
    for name in ("vae", "classifier"):
        model = MODELS[name]()
        variables, can = model.init(jax.random.key(0)), model.capabilities
        functions = [partial(model.encode, variables)]
        functions += [] if can.classify is None else [partial(can.classify, variables)]
        functions += [] if can.bound is None else [lambda x, v=variables, bound=can.bound: bound(v, x, keys)]
        for function in functions:
            assert difference({"": jax.jit(function)(x)}, {"": jax.jit(function)(unit)}) < 1e-5


# -- eight devices ---------------------------------------------------------------------------------------------------


def mesh_of(**sizes):
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))


def of_shards(function, batch):
    """Return the results of a function applied to each device's part of a batch, by hand."""
    parts = [jax.tree.map(lambda a: a.reshape(DEVICES, -1, *a.shape[1:])[i], batch) for i in range(DEVICES)]  # noqa: B023
    return [function(part) for part in parts]


def sharded_model(name, check_vma):
    """Return the difference of a model under `jax.shard_map` to its values on each shard, and their mean."""
    right, batch = right_of(name), batch_of(2 * DEVICES)

    def function(variables, batch):
        if check_vma:  # the gradient in what does not vary is the sum over devices
            return outcome(right.model, variables, batch, mean=lambda loss: jax.lax.pmean(loss, "data"))
        result = outcome(right.model, variables, batch)
        return result | jax.lax.pmean({name: result[name] for name in ("loss", "gradient")}, "data")

    names = {"loss": P(), "gradient": P(), "z": P("data"), "x_hat": P("data")}
    names |= {} if right.variables.stats is None else {"alone": P("data")}
    mesh = mesh_of(data=DEVICES)
    options = {"mesh": mesh, "in_specs": (P(), P("data")), "out_specs": names, "check_vma": check_vma}
    result = jax.jit(jax.shard_map(function, **options))(right.variables, batch)
    shards = of_shards(right, batch)
    means = {k: jax.tree.map(lambda *leaves: sum(leaves) / DEVICES, *[s[k] for s in shards]) for k in names}
    joined = {k: np.concatenate([s[k] for s in shards]) for k in names if names[k] != P()}
    errors = [difference(result, means | joined)]
    if name in BY_EXAMPLE:
        errors.append(difference(result, right(batch)))
    return max(errors)


def sharded_strategies(make_decoder):
    """Return the largest difference of latents by any strategy under `jax.shard_map` to those without."""
    decoder = make_decoder()
    params, x = double(decoder.init(jax.random.key(0))), batch_of(2 * DEVICES)["x"]
    mesh, errors = mesh_of(data=DEVICES), []

    def least_squares(params, x):
        encoder = least_squares_encoder(decoder, params, jnp.zeros(3))
        return encoder.encode(cotangents(squared_error, encoder.output, x))

    functions = {
        name: partial(encode_shared, decoder, origin=jnp.zeros(3), step_size=0.1, strategy=name)
        for name in possible_strategies(decoder, params, 2)
    }
    for function in (functions | {"least squares": least_squares}).values():
        function = partial(lambda params, x, function: function(params=params, x=x), function=function)
        specs = {"mesh": mesh, "in_specs": (P(), P("data")), "out_specs": P("data")}
        z = jax.jit(jax.shard_map(function, **specs))(params, x)
        by_hand = jax.jit(function)
        shards = [np.asarray(z) for z in of_shards(lambda x: by_hand(params, x), x)]  # noqa: B023
        errors.append(difference({"z": z}, {"z": np.concatenate(shards)}))
    return max(errors)


def sharded_ensemble():
    """Return the same for parameters on one axis of a mesh and data on the other, one of them closed over."""
    decoder = siren()
    params, x = [double(decoder.init(jax.random.key(seed))) for seed in (0, 1)], batch_of(8)["x"]
    mesh = mesh_of(seed=2, data=DEVICES // 2)
    errors = []
    for strategy in possible_strategies(decoder, params[0], 2):

        def function(params, x, strategy=strategy):
            options = {"origin": jnp.zeros(3), "step_size": 0.1, "strategy": strategy}
            return encode_shared(decoder, params, x, **options)

        def closed(params, x):
            return encode(lambda _, z: decoder.output(params, z), None, x, jnp.zeros((len(x), 3)), step_size=0.1)

        for inner in (function, closed):

            def mapped(params, x, inner=inner):
                return inner(jax.tree.map(lambda a: a[0], params), x)[None]

            specs = {"mesh": mesh, "in_specs": (P("seed"), P("data")), "out_specs": P("seed", "data")}
            latents = jax.jit(jax.shard_map(mapped, **specs))(stack(*params), x)
            errors.append(difference({"z": latents}, {"z": stack(*[jax.jit(inner)(p, x) for p in params])}))
    return max(errors)


def sharded_capabilities():
    """Return the same for bounds with keys of their own, classes, frozen encoders, and points known of each image."""
    batch = batch_of(2 * DEVICES) | {"keys": jax.random.split(jax.random.key(0), 2 * DEVICES)}
    batch["known"] = (batch["x"][..., 0] > 0.3).astype(float)
    normal, field = vgon(conv(), inner_noise="none"), vgon(siren(), likelihood=squared_error, inner_noise="shared")
    models = {name: right_of(name).model for name in ("gon", "vgon", "classifier", "implicit")}

    def bound(model):
        return lambda variables, batch: model.capabilities.bound(variables, batch["x"], batch["keys"]).log_weight

    def inpaint(model):
        points = grid(8, 8)
        return lambda variables, batch: model.capabilities.at(points, batch["known"]).encode(variables, batch["x"])

    functions = [(model, bound(model)) for model in (models["vgon"], normal, field)]
    functions += [(model, inpaint(model)) for model in (models["implicit"], field)]
    functions.append((models["gon"], lambda variables, batch: models["gon"].capabilities.freeze(variables)(batch["x"])))
    functions.append((models["classifier"], lambda v, batch: models["classifier"].capabilities.classify(v, batch["x"])))
    errors, specs = [], {"in_specs": (P(), P("data")), "out_specs": P("data"), "mesh": mesh_of(data=DEVICES)}
    for model, function in functions:
        variables = variables_of(model)
        result = jax.jit(jax.shard_map(function, **specs))(variables, batch)
        errors.append(
            difference({"": result}, {"": np.concatenate(of_shards(partial(jax.jit(function), variables), batch))})
        )
    return max(errors)


def sharded_pieces():
    """Return the same for convolutions that are cut into pieces, with their gradients."""
    transposed_conv.PIECE_BYTES = 2**8
    try:
        return sharded_model("autoencoder", True)
    finally:
        transposed_conv.PIECE_BYTES = 2**22


def sharded_without_jit():
    """Return the same for `jax.shard_map` outside of `jax.jit`, with a gradient."""
    a, b = batch_of(DEVICES)["x"].reshape(-1, 4), batch_of(4)["z"]
    mesh = mesh_of(data=DEVICES)

    def function(b, a):
        return jax.grad(lambda b: jax.lax.psum(jnp.sin(matmul(a, b)).sum(), "data"))(b)

    result = jax.shard_map(function, mesh=mesh, in_specs=(P(), P("data")), out_specs=P())(b, a)
    return difference({"b": result}, {"b": jax.grad(lambda b: jnp.sin(a @ b).sum())(b)})


SHARDED = {
    f"{name}, check_vma={check}": partial(sharded_model, name, check) for name in MODELS for check in (True, False)
}
for made in (function_decoder, siren, conv, partial(conv, "none")):
    SHARDED[f"strategies {getattr(made, '__name__', 'conv none')}"] = partial(sharded_strategies, made)
SHARDED |= {
    "ensemble": sharded_ensemble,
    "capabilities": sharded_capabilities,
    "pieces": sharded_pieces,
    "without jit": sharded_without_jit,
}


QUICK = [cell for cell in SHARDED if cell.startswith(f"{next(iter(MODELS))},")]


def differences(cells):
    """The differences of cells, or what they raised."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    options = {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, __file__, *cells]
    done = subprocess.run(words, env=os.environ | options, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_shard_map_of_one_model():
    for cell, error in differences(QUICK).items():
        assert isinstance(error, float) and error < 1e-8, (cell, error)


@pytest.fixture(scope="module")
def sharded():
    return differences([cell for cell in SHARDED if cell not in QUICK])


@pytest.mark.slow
@pytest.mark.parametrize("cell", [cell for cell in SHARDED if cell not in QUICK])
def test_shard_map(sharded, cell):
    error = sharded[cell]
    assert isinstance(error, float) and error < 1e-8, error


def main(cells):
    """Print the differences of all cells, or their errors, as JSON."""
    results = {}
    for cell in cells or SHARDED:
        try:
            results[cell] = SHARDED[cell]()
        except Exception as error:  # of this cell alone
            results[cell] = f"{type(error).__name__}: {error}"
    print(json.dumps(results))


if __name__ == "__main__":
    main(sys.argv[1:])
