"""The matrix of transformations, and what is beside it: primitives, types, strategies on several devices, refusals.

`jax.shard_map` needs several devices: what does is computed in a process that has eight, by this file as a program.
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
from jax.sharding import PartitionSpec as P

from benchmarks import report, transformations
from benchmarks.tables import load
from benchmarks.transformation_columns import COLUMNS, DEVICES, Cells, difference, mesh_of, outcome, stack
from benchmarks.transformation_rows import (
    DRAWN,
    LIBRARIES,
    MODELS,
    ROWS,
    SHAPE,
    batch_of,
    conv,
    double,
    function_decoder,
    model_row,
    shared,
    shifted,
    siren,
    tanh_backward,
    variables_of,
)
from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.encoding import encode
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import cotangents, encode_shared, possible_strategies
from gon_jax.models import gon, least_squares_gon, vgon
from gon_jax.ops import transposed_conv
from gon_jax.ops.bilinear import matmul, scale, scale_each, sum_of_outer, sum_of_products
from gon_jax.training import fit


class Right:
    """The right values, compiled once for a model: by `jax.jit` alone."""

    def __init__(self, name):
        self.name, self.model = name, MODELS[name]()
        self.row = model_row(name, self.model)
        self.variables = self.row.init(0)
        self.compiled = jax.jit(partial(outcome, self.row))

    def __call__(self, batch, variables=None):
        return self.compiled(self.variables if variables is None else variables, batch)


@functools.cache
def right_of(name):
    return Right(name)


@pytest.fixture(params=MODELS)
def right(request, x64):
    return right_of(request.param)


# -- the matrix ------------------------------------------------------------------------------------------------------


def wrong_cells(cells):
    """Return the cells that are neither equal to the plain result nor as the page says."""
    found = [(row, column, value) for row, of in cells.items() for column, value in of.items()]
    return [cell for cell in found if transformations.verdict(*cell) == "wrong"]


def test_the_page_is_made_from_the_results_of_all_cells():
    result, text = load("transformations"), transformations.PAGE.read_text()
    assert {row: list(of) for row, of in result["cells"].items()} == {row: list(COLUMNS) for row in ROWS}
    page = report.page_with(text, "transformations", transformations.table(result))
    assert page == text, "run `python -m benchmarks.transformations --table`"
    assert not wrong_cells(result["cells"])


@pytest.mark.slow
def test_two_diagonals_of_the_matrix():
    """All rows and all columns; `python -m benchmarks.transformations` measures every cell."""
    columns = list(COLUMNS)
    pairs = [(row, columns[(i + shift) % len(columns)]) for i, row in enumerate(ROWS) for shift in (0, 10)]
    rows, columns = zip(*pairs, strict=True)
    cells = transformations.in_process("--pairs", "--rows", *rows, "--columns", *columns)
    assert len(cells) == len(ROWS) and sum(map(len, cells.values())) == len(pairs) and not wrong_cells(cells)


@pytest.mark.parametrize("value", [1e-3, float("nan"), "finite?", "ValueError: expected"])
def test_a_wrong_cell_is_wrong(value):
    assert transformations.verdict("encode", "jit", value) == "wrong"
    assert transformations.verdict("model vae", "explicit mesh", value) == "wrong"


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", LIBRARIES)
def test_decoders_of_libraries_with_equal_weights_are_equal(name):
    make, weights_of = LIBRARIES[name]
    params, x = shifted(function_decoder().init_params(jax.random.key(0))), jnp.asarray(batch_of(3)["x"])

    def loss(params, decoder, weights_of):
        params = weights_of(params)
        return jnp.square(decoder.output(params, shared()(decoder, params, x)) - x).sum()

    ours, plain = (
        jax.jit(jax.value_and_grad(partial(loss, decoder=decoder, weights_of=weights)))(params)
        for decoder, weights in ((make(), weights_of), (function_decoder(), lambda params: params))
    )
    assert difference({"": ours}, {"": plain}) < 1e-10


def test_what_has_no_derivative_in_forward_mode_is_refused():
    for make in (gon, least_squares_gon):
        model = make(function_decoder(tanh_backward))
        with pytest.raises(
            TypeError, match=r"^expected a decoder with derivatives in forward mode, got [^\n]*pullback"
        ):
            jax.eval_shape(lambda: model.encode(model.init(jax.random.key(0)), jnp.ones((8, *SHAPE))))  # noqa: B023


def test_latents_are_one_array():
    with pytest.raises(TypeError, match=r"^expected floating-point z0, an array, got [^\n]*$"):
        encode(lambda w, z: z["a"] @ w, jnp.ones((3, 4)), jnp.ones((2, 4)), {"a": jnp.zeros((2, 3))})


# -- one device ------------------------------------------------------------------------------------------------------


@pytest.mark.quick("gon")
def test_scan_over_data_of_vmap_over_parameters(right):
    """With the loss rematerialized."""
    batches = [batch_of(3), batch_of(3, seed=1)]
    variables = [right.variables, variables_of(right.model, seed=1)]
    function = partial(outcome, right.row, wrap=jax.checkpoint)
    params = Variables(stack(*[v.params for v in variables]))  # by the statistics of a batch

    def body(_, batch):
        return None, jax.vmap(function, (0, None))(params, batch)

    result = jax.jit(lambda: jax.lax.scan(body, None, stack(*batches))[1])()
    expected = stack(*[stack(*[right(batch, v) for v in variables]) for batch in batches])
    assert difference(result, {name: expected[name] for name in result}) < 1e-8


@pytest.mark.quick("gon", "vgon", "implicit", "multi-step")
def test_vmap_over_data(right):
    batches = [batch_of(3), batch_of(3, seed=1)]
    encode_fn = jax.vmap(partial(right.model.encode, Variables(right.variables.params)))
    z = jax.jit(encode_fn)(np.stack([batch["x"] for batch in batches]))
    assert difference({"z": z}, {"z": jnp.stack([right(batch)["z"] for batch in batches])}) < 1e-8


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


@pytest.mark.quick("gon", "vgon")
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
    compiled = jax.jit(partial(outcome, model_row(name)))
    assert difference(compiled(short, batch), compiled(rounded, batch)) < 0.02  # gradients are rounded too


@pytest.mark.quick("gon")
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


def of_shards(function, batch):
    """Return the results of a function applied to each device's part of a batch, by hand."""
    parts = [jax.tree.map(lambda a: a.reshape(DEVICES, -1, *a.shape[1:])[i], batch) for i in range(DEVICES)]  # noqa: B023
    return [function(part) for part in parts]


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
        return COLUMNS["shard_map"](Cells(ROWS["model autoencoder"]))
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
    f"strategies {getattr(made, '__name__', 'conv none')}": partial(sharded_strategies, made)
    for made in (function_decoder, siren, conv, partial(conv, "none"))
}
SHARDED |= {
    "ensemble": sharded_ensemble,
    "capabilities": sharded_capabilities,
    "pieces": sharded_pieces,
    "without jit": sharded_without_jit,
}
QUICK = ["without jit"]


def differences(cells):
    """The differences of cells, or what they raised."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    options = {"XLA_FLAGS": flags, "JAX_ENABLE_X64": "1", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PLATFORMS": "cpu"}
    words = [sys.executable, "-m", "tests.test_transformations", *cells]
    done = subprocess.run(words, env=os.environ | options, capture_output=True, text=True, cwd=report.README.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_shard_map_without_jit():
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
