"""Your own network as a `gon_jax.Decoder`: a plain function, or a module of Flax Linen, Flax NNX or Equinox.

`independent=True` says that an example's output depends on no other example, given the statistics of batch
normalization. The fast forms rely on it, and `gon_jax.compare_with_definition` tests it. Without it, latents are
computed by definition, which is right for any decoder and slower. A decoder with batch normalization must say it.
"""

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gon_jax.arguments import check_kind, check_sizes
from gon_jax.base import Decoder, DecoderFn, Params
from gon_jax.compilation import compiled_once
from gon_jax.ops.normalization import batch_norm

__all__ = ["from_equinox", "from_function", "from_linen", "from_nnx"]


def from_function(
    decoder_fn: DecoderFn,
    init: Callable[[jax.Array], Params] | None,
    latent_shape: tuple[int, ...],
    *,
    independent: bool = False,
    **fields: Any,
) -> Decoder:
    """Return the decoder of a plain function without batch statistics.

    Args:
        decoder_fn: `decoder_fn(params, z [B, *latent]) -> output [B, ...]`.
        init: `init(key) -> params`; `None` where nobody asks for initial parameters.
        latent_shape: `*latent`.
        independent: an example's output depends on no other example.
        **fields: further fields of `Decoder`, such as `output_range=(0, 1)`.

    >>> linear = from_function(lambda w, z: z @ w, lambda key: jax.random.normal(key, (2, 3)), (2,), independent=True)
    >>> linear.output(linear.init(jax.random.key(0)), jnp.zeros((5, 2))).shape
    (5, 3)
    """

    def apply(params, z, stats=None):
        del stats
        return decoder_fn(params, z), None

    return Decoder(apply, init, latent_shape, independent, **fields)


def from_linen(module: Any, latent_shape: tuple[int, ...], *, independent: bool = False, **fields: Any) -> Decoder:
    """Return the decoder of a Flax Linen module, called as `module(z)`.

    `nn.BatchNorm` works, and needs `independent=True`. It uses the statistics of the batch, which are returned, or the
    given ones; its `use_running_average` and `momentum` are ignored, since models average what evaluation needs.

    Args:
        module: a Linen module, whose further arguments, such as `train`, have defaults.
        latent_shape, independent, **fields: as for `from_function`.

    Raises:
        TypeError: for what is no Linen module, or cannot be called as `module(z)`.
        ValueError: for a module with other collections of variables than "params" and "batch_stats"; at its first call,
            for one that draws random numbers.

    >>> import flax.linen as nn
    >>> decoder = from_linen(nn.Sequential([nn.Dense(4), nn.BatchNorm(), nn.elu, nn.Dense(3)]), (2,), independent=True)
    >>> output, stats = decoder.apply(decoder.init(jax.random.key(0)), jnp.ones((5, 2)))
    >>> output.shape, stats["layers_1"]["mean"].shape
    ((5, 3), (4,))
    """
    import flax.linen as nn

    latent_shape = check_sizes("latent_shape", latent_shape)
    _check_call(module)

    def batch_norm_by(stats_given):
        """Make every BatchNorm take its batch's statistics and return them as they are, or take the given ones."""
        seen = set()

        def interceptor(call, args, kwargs, context):
            layer = context.module
            if not isinstance(layer, nn.BatchNorm) or context.method_name != "__call__":
                return call(*args, **kwargs)
            if layer.path in seen:
                raise _used_twice("/".join(layer.path))
            seen.add(layer.path)
            for name, value in {"use_running_average": None, "momentum": 0.0, "use_fast_variance": False}.items():
                object.__setattr__(layer, name, value)
            kwargs.pop("use_running_average", None)
            return call(*args[:1], use_running_average=stats_given, **kwargs)

        return nn.intercept_methods(interceptor)

    def init_variables(key):
        with batch_norm_by(stats_given=False):
            return module.init(key, jnp.zeros((1, *latent_shape)))

    abstract = jax.eval_shape(init_variables, jax.random.key(0))
    if set(abstract) - {"params", "batch_stats"}:
        raise ValueError(
            f"expected a module of parameters and batch statistics alone, got the collections {sorted(abstract)}; "
            "write `Decoder(apply, ...)` by hand for others"
        )
    batch_statistics = "batch_stats" in abstract

    @compiled_once
    def init(key):
        return init_variables(key).get("params", {})

    def apply(params, z, stats=None):
        with _no_random_numbers(module):
            if not batch_statistics:
                return module.apply({"params": params}, z), None
            with batch_norm_by(stats_given=stats is not None):
                if stats is not None:
                    return module.apply({"params": params, "batch_stats": stats}, z), stats
                zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), abstract["batch_stats"])
                output, updated = module.apply({"params": params, "batch_stats": zeros}, z, mutable=["batch_stats"])
                return output, updated["batch_stats"]

    return Decoder(apply, init, latent_shape, independent, batch_statistics, **fields)


def _check_call(module):
    """Refuse what is not called as `module(z)`, where Python's own message would not say what to do."""
    from flax.linen import Module

    if isinstance(module, type):
        raise TypeError(f"expected a Linen module, got the class {module.__name__}: call it, {module.__name__}()")
    check_kind("module", module, Module, "from_function takes a function, from_nnx and from_equinox other modules")
    try:
        inspect.signature(module.__call__).bind(None)
    except TypeError as error:
        name = type(module).__name__
        remedy = "give each further argument a default, `train: bool = True` say; batch normalization works without it"
        raise TypeError(f"expected a module called as module(z), got {name} ({error}): {remedy}") from error


@contextlib.contextmanager
def _no_random_numbers(module):
    """Say what to do about a module that draws random numbers, as Flax finds at its first call after `init`."""
    from flax.errors import InvalidRngError

    try:
        yield
    except InvalidRngError as error:
        got = f"got {type(module).__name__}, which draws some: make Dropout deterministic=True ({error})"
        raise ValueError(f"expected a module without random numbers, {got}") from error


def _used_twice(layer):
    return ValueError(
        f"expected every batch normalization to be called once, got {layer} called again; its two passes have "
        "different statistics: write two layers"
    )


def _check_constants(new, old):
    """Refuse a module whose constants depend on its key: those of one key would stand for all."""
    for a, b in zip(new, old, strict=True):
        arrays = [leaf for leaf in (a, b) if isinstance(leaf, jax.Array | np.ndarray)]
        traced = any(isinstance(leaf, Tracer) for leaf in arrays)
        if len(arrays) == 2 and not traced and not np.array_equal(a, b):
            raise ValueError("expected constants (arrays that are no parameters) that do not depend on the key")


def from_nnx(
    make_module: Callable[[Any], Any], latent_shape: tuple[int, ...], *, independent: bool = False, **fields: Any
) -> Decoder:
    """Return the decoder of a Flax NNX module, called as `module(z)`.

    `nnx.BatchNorm` works as Linen's does in `from_linen`, and needs `independent=True` too.

    Args:
        make_module: `nnx.Rngs -> module`, such as the module's constructor.
        latent_shape, independent, **fields: as for `from_function`.

    >>> from flax import nnx
    >>> decoder = from_nnx(lambda rngs: nnx.Linear(2, 3, rngs=rngs), (2,), independent=True)
    >>> decoder.output(decoder.init(jax.random.key(0)), jnp.ones((5, 2))).shape
    (5, 3)
    """
    from flax import nnx

    from gon_jax.drop_in.nnx import BatchNorm

    class BatchStatistics(nnx.BatchNorm):
        """A batch normalization whose statistics are differentiable; NNX's own stops their gradient."""

        def __call__(self, x, use_running_average=None, *, mask=None):
            del use_running_average
            if mask is not None:
                raise ValueError("expected no mask for batch normalization in a decoder, got one")
            if self.momentum is None:
                raise _used_twice(type(self).__name__)
            self.momentum, dtype = None, x.dtype  # a mark: this module lives for one call
            x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            given = (self.mean[...], self.var[...]) if self.use_running_average else None
            gain, shift = (None if array is None else array[...] for array in (self.scale, self.bias))
            y, (mean, var) = batch_norm(x, gain, shift, given, axis=self.axis, epsilon=self.epsilon)
            if given is None:
                self.mean, self.var = nnx.BatchStat(mean), nnx.BatchStat(var)
            return y.astype(dtype)

    def make(key):
        module = make_module(nnx.Rngs(key))
        for _, layer in nnx.iter_graph(module):
            if isinstance(layer, nnx.BatchNorm) and type(layer) not in (nnx.BatchNorm, BatchNorm):
                raise ValueError(
                    f"expected nnx.BatchNorm itself, or ours, got {type(layer).__name__}; write `Decoder` by hand"
                )
            if isinstance(layer, nnx.Dropout) and not layer.deterministic and layer.rate > 0:
                raise ValueError("expected a module without random numbers, got Dropout; make it deterministic=True")
        return nnx.split(module, nnx.Param, nnx.BatchStat, nnx.RngState, ...)

    graph, abstract_params, abstract_stats, *_ = jax.eval_shape(make, jax.random.key(0))
    rest = make(jax.random.key(0))[3:]  # random streams, which nothing reads, and constants
    batch_statistics = bool(jax.tree.leaves(abstract_stats))

    def init(key):
        _, params, _, _, constants = make(key)
        _check_constants(jax.tree.leaves(constants), jax.tree.leaves(rest[1]))
        return nnx.to_pure_dict(params)

    def apply(params, z, stats=None):
        params_state, stats_state = jax.tree.map(lambda leaf: leaf, (abstract_params, abstract_stats))
        nnx.replace_by_pure_dict(params_state, params)
        if stats is not None:
            nnx.replace_by_pure_dict(stats_state, stats)
        module = nnx.merge(graph, params_state, stats_state, *rest, copy=True)
        for _, layer in nnx.iter_graph(module):
            if isinstance(layer, nnx.BatchNorm):
                layer.__class__, layer.use_running_average = BatchStatistics, stats is not None
        output = module(z)
        if batch_statistics and stats is None:
            stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        return output, stats if batch_statistics else None

    return Decoder(apply, init, latent_shape, independent, batch_statistics, **fields)


def from_equinox(make_module: Callable[[jax.Array], Any], latent_shape: tuple[int, ...], **fields: Any) -> Decoder:
    """Return the decoder of an Equinox module, called as `module(z)` on one latent `[*latent]` and mapped over a batch.

    So its examples are independent. Any other pytree that can be called this way does, too. The parameters are its
    floating-point arrays; everything else in it is constant. Equinox's own `BatchNorm` takes a state, and is refused
    by its call: take group or layer normalization.

    Args:
        make_module: `key -> module`.
        latent_shape, **fields: as for `from_function`.

    >>> class Linear(jax.tree_util.Partial):
    ...     pass
    >>> decoder = from_equinox(lambda key: Linear(lambda w, z: z @ w, jax.random.normal(key, (2, 3))), (2,))
    >>> decoder.output(decoder.init(jax.random.key(0)), jnp.ones((5, 2))).shape
    (5, 3)
    """

    def is_param(leaf):
        return isinstance(leaf, jax.Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating)

    leaves, structure = jax.tree.flatten(make_module(jax.random.key(0)))
    positions = [i for i, leaf in enumerate(leaves) if is_param(leaf)]
    others = [i for i in range(len(leaves)) if i not in positions]

    def init(key):
        new, new_structure = jax.tree.flatten(make_module(key))
        if new_structure != structure:
            raise ValueError("expected static fields that do not depend on the key, got other ones for another key")
        _check_constants([new[i] for i in others], [leaves[i] for i in others])
        return [jnp.asarray(new[i]) for i in positions]

    def decoder_fn(params, z):
        merged = list(leaves)
        for i, leaf in zip(positions, params, strict=True):
            merged[i] = leaf
        return jax.vmap(jax.tree.unflatten(structure, merged))(z)

    return from_function(decoder_fn, init, latent_shape, independent=True, **fields)
