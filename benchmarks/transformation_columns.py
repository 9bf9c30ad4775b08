"""The columns of the matrix of transformations: the difference of a row under one of them to its plain result."""

import contextlib
import functools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from benchmarks.transformation_rows import Row, batch_of
from gon_jax.base import Variables

DEVICES = 8
MEANS = ("loss", "gradient")  # of an outcome; all else is `[B, ...]`


def outcome(row: Row, variables: Variables, batch: Any, mean=lambda loss: loss, wrap=lambda function: function):
    """Return all that a row computes: the loss, its gradient in the parameters, the outputs `[B, ...]`."""

    def loss(params):
        return mean(row.loss(Variables(params), batch))

    value, gradient = jax.value_and_grad(wrap(loss))(variables.params)
    return {"loss": value, "gradient": gradient} | row.outputs(variables, batch)


def difference(ours: dict, right: dict) -> float:
    """Return the largest difference of any of the results, relative to the largest entry of that result."""
    assert jax.tree.structure(ours) == jax.tree.structure(right)
    ratios = []
    for name in right:
        pairs = zip(jax.tree.leaves(ours[name]), jax.tree.leaves(right[name]), strict=True)
        pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
        assert all(a.shape == b.shape for a, b in pairs)
        largest = np.max([np.abs(b).max() for _, b in pairs])
        ratios.append(np.max([np.abs(a - b).max() for a, b in pairs]) / largest)
    return float(np.max(ratios))  # NaN, if any is


def stack(*trees):
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


class Cells:
    """The cells of one row; what several of them need is computed once.

    Attributes:
        make, row: what makes the row, and the row.
        variables: of it.
        batch: of 3 examples; `large`, of two for each device.
    """

    def __init__(self, make: Callable[[], Row]):
        self.make, self.row = make, make()
        self.variables = self.row.init(0)
        self.batch, self.large = (jax.tree.map(jnp.asarray, batch_of(num)) for num in (3, 2 * DEVICES))

    @functools.cached_property
    def plain(self) -> dict:
        """The results operation by operation: no transformation but the gradient."""
        return outcome(self.row, self.variables, self.batch)

    @functools.cached_property
    def compiled(self) -> Callable[..., dict]:
        return jax.jit(partial(outcome, self.row))

    @functools.cached_property
    def whole(self) -> dict:
        """The results of the large batch on one device."""
        return self.compiled(self.variables, self.large)

    def parts(self) -> list[dict]:
        """Return the results of each device's part of the large batch, on one device."""
        split = jax.tree.map(lambda a: a.reshape(DEVICES, -1, *a.shape[1:]), self.large)
        return [self.compiled(self.variables, jax.tree.map(lambda a: a[i], split)) for i in range(DEVICES)]  # noqa: B023

    def joined(self) -> dict:
        """Return these, as training on parts has them: outputs one after another, the mean of losses and gradients."""
        parts = self.parts()
        means = {n: jax.tree.map(lambda *a: sum(a) / DEVICES, *[p[n] for p in parts]) for n in MEANS}
        return means | {n: np.concatenate([p[n] for p in parts]) for n in parts[0] if n not in means}

    def under(self, context) -> float:
        """Return the difference of the compiled function, traced and run within a context, to the plain result."""
        expected = self.plain
        with context:
            ours = jax.block_until_ready(jax.jit(partial(outcome, self.row))(self.variables, self.batch))
        return difference(ours, expected)


# -- one device ------------------------------------------------------------------------------------------------------


def jit(cells):
    return difference(cells.compiled(cells.variables, cells.batch), cells.plain)


def vmap_data(cells):
    batches = [cells.batch, jax.tree.map(jnp.asarray, batch_of(3, seed=1))]
    ours = jax.jit(jax.vmap(partial(outcome, cells.row), (None, 0)))(cells.variables, stack(*batches))
    return difference(ours, stack(*[cells.compiled(cells.variables, batch) for batch in batches]))


def vmap_params(cells):
    variables = [cells.variables, cells.row.init(1)]
    ours = jax.jit(jax.vmap(partial(outcome, cells.row), (0, None)))(stack(*variables), cells.batch)
    return difference(ours, stack(*[cells.compiled(v, cells.batch) for v in variables]))


def grad_of_grad(cells):
    """The product of the loss's Hessian with a direction, by reverse over reverse, beside central differences."""
    params, width = cells.variables.params, 1e-7
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(3), len(leaves))
    v = tree.unflatten([jax.random.normal(k, a.shape, a.dtype) for k, a in zip(keys, leaves, strict=True)])
    gradient = jax.grad(lambda p: cells.row.loss(Variables(p), cells.batch))

    def product(p):
        return sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient(p)), jax.tree.leaves(v), strict=True))

    compiled = jax.jit(gradient)
    ahead, behind = (compiled(jax.tree.map(lambda a, b: a + s * width * b, params, v)) for s in (1, -1))  # noqa: B023
    right = jax.tree.map(lambda a, b: (a - b) / (2 * width), ahead, behind)
    return difference({"": jax.jit(jax.grad(product))(params)}, {"": right})


def checkpoint(cells):
    return difference(
        jax.jit(partial(outcome, cells.row, wrap=jax.checkpoint))(cells.variables, cells.batch), cells.plain
    )


def scan(cells):
    batches = [cells.batch, jax.tree.map(jnp.asarray, batch_of(3, seed=1))]

    def run(variables, batches):
        return jax.lax.scan(lambda _, batch: (None, outcome(cells.row, variables, batch)), None, batches)[1]

    ours = jax.jit(run)(cells.variables, stack(*batches))
    return difference(ours, stack(*[cells.compiled(cells.variables, batch) for batch in batches]))


def disable_jit(cells):
    expected = cells.plain
    with jax.disable_jit():
        return difference(outcome(cells.row, cells.variables, cells.batch), expected)


@contextlib.contextmanager
def without_x64(cells):
    """Give the compiled function, variables and batch in float32 without `jax_enable_x64`."""
    values = jax.tree.map(
        lambda a: np.asarray(a, np.float32 if a.dtype == jnp.float64 else np.int32), (cells.variables, cells.batch)
    )
    with jax.enable_x64(False):
        row = cells.make()
        yield lambda: jax.tree.map(np.asarray, jax.jit(partial(outcome, row))(*values))


def single(cells):
    """In float32; noise is of other numbers there, and only has to be finite."""
    expected = cells.plain
    with without_x64(cells) as run:
        ours = run()
    assert {leaf.dtype for leaf in jax.tree.leaves(ours)} == {np.dtype(np.float32)}
    if cells.row.noisy:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(ours))
        return "finite"
    return difference(ours, expected)


def rank_promotion(cells):
    return cells.under(jax.numpy_rank_promotion("raise"))


def dtype_promotion(cells):
    with without_x64(cells) as run:
        expected = run()
        with jax.numpy_dtype_promotion("strict"):
            return difference(run(), expected)


def debug_nans(cells):
    return cells.under(jax.debug_nans(True))


def leak_checking(cells):
    return cells.under(jax.checking_leaks())


def transfer_guard(cells):
    return cells.under(jax.transfer_guard("disallow"))


# -- eight devices ---------------------------------------------------------------------------------------------------


def mesh_of(kinds=AxisType.Auto, **sizes):
    kinds = kinds if isinstance(kinds, tuple) else (kinds,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=kinds)


def shard_map(cells, check_vma):
    """Each device has its part of the batch, and its own batch statistics."""

    def function(variables, batch):
        if check_vma:  # the gradient in what does not vary is the sum over devices
            return outcome(cells.row, variables, batch, mean=lambda loss: jax.lax.pmean(loss, "data"))
        result = outcome(cells.row, variables, batch)
        return result | jax.lax.pmean({name: result[name] for name in MEANS}, "data")

    specs = {name: P() if name in MEANS else P("data") for name in cells.whole}
    options = {"mesh": mesh_of(data=DEVICES), "in_specs": (P(), P("data")), "out_specs": specs, "check_vma": check_vma}
    ours = jax.jit(jax.shard_map(function, **options))(cells.variables, cells.large)
    return max(difference(ours, right) for right in (cells.joined(), *([cells.whole] if cells.row.by_example else [])))


def pmap(cells):
    def function(variables, batch):
        result = outcome(cells.row, variables, batch)
        return result | jax.lax.pmean({name: result[name] for name in MEANS}, "data")

    parts = jax.tree.map(lambda a: a.reshape(DEVICES, -1, *a.shape[1:]), cells.large)
    ours = jax.pmap(function, "data", in_axes=(None, 0))(cells.variables, parts)
    first = {name: jax.tree.map(lambda a: a[0], ours[name]) for name in MEANS}
    ours = first | {name: a.reshape(-1, *a.shape[2:]) for name, a in ours.items() if name not in first}
    return difference(ours, cells.joined())


def sharded_jit(cells, mesh, model=None, auto=False):
    """One program of all devices, with the batch, and perhaps parameters, in shards: batch statistics are of all."""

    def spec(a):
        parts = mesh.shape[model] if model else 1
        return P(*[None] * (a.ndim - 1), model) if model and a.ndim and a.shape[-1] % parts == 0 else P()

    variables = jax.tree.map(lambda a: jax.device_put(a, NamedSharding(mesh, spec(a))), cells.variables)
    batch = jax.device_put(cells.large, NamedSharding(mesh, P("data")))
    expected, function = cells.whole, partial(outcome, cells.row)
    if auto:
        specs = {n: jax.tree.map(lambda _, n=n: P() if n in MEANS else P("data"), a) for n, a in expected.items()}
        function = jax.sharding.auto_axes(function, out_sharding=specs)
    with jax.set_mesh(mesh):
        return difference(jax.jit(function)(variables, batch), expected)


def automatic(cells):
    return sharded_jit(cells, mesh_of(data=DEVICES))


def automatic_model(cells):
    return sharded_jit(cells, mesh_of(data=4, model=2), "model")


def explicit(cells, **options):
    return sharded_jit(cells, mesh_of(AxisType.Explicit, data=DEVICES), **options)


def mixed(cells, **options):
    mesh = mesh_of((AxisType.Explicit, AxisType.Auto), data=4, model=2)
    return sharded_jit(cells, mesh, "model", **options)


COLUMNS: dict[str, Callable[[Cells], float | str]] = {
    "jit": jit,
    "vmap over data": vmap_data,
    "vmap over parameters": vmap_params,
    "grad of grad": grad_of_grad,
    "checkpoint": checkpoint,
    "scan": scan,
    "disable_jit": disable_jit,
    "float32": single,
    "rank promotion": rank_promotion,
    "strict promotion": dtype_promotion,
    "debug_nans": debug_nans,
    "checking_leaks": leak_checking,
    "transfer guard": transfer_guard,
    "shard_map": partial(shard_map, check_vma=True),
    "shard_map, check_vma=False": partial(shard_map, check_vma=False),
    "pmap": pmap,
    "automatic mesh": automatic,
    "automatic mesh, sharded parameters": automatic_model,
    "explicit mesh": explicit,
    "explicit mesh, auto_axes": partial(explicit, auto=True),
    "mixed mesh": mixed,
    "mixed mesh, auto_axes": partial(mixed, auto=True),
}
