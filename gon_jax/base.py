"""The records that everything else is made of: a decoder, a model as pure functions, and what a model computes with.

Notation: B examples; data `x` `[B, ...]`; latents `z` `[B, *latent]`; an origin `[*latent]`; k = latent size.
"""

import dataclasses
import math
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gon_jax.arguments import check_kind, check_sizes
from gon_jax.compilation import QUICK, compiled_once
from gon_jax.inputs import as_examples, as_latents
from gon_jax.likelihoods import Likelihood

__all__ = [
    "Batch",
    "Bound",
    "Capabilities",
    "Decoder",
    "DecoderFn",
    "EncoderNetwork",
    "LikelihoodFn",
    "Model",
    "Params",
    "Stats",
    "Variables",
    "check_decoder",
    "integral_weights",
    "match",
    "match_output",
]

Params = Any
Stats = Any
DecoderFn = Callable[[Params, jax.Array], Any]
LikelihoodFn = Callable[[Any, jax.Array], jax.Array]
Batch = dict[str, Any]


class Decoder(NamedTuple):
    """A decoder, and what the fast forms may rely on.

    Every decoder has one form, `apply(params, z, stats=None) -> (output, stats)`. `gon_jax.decoders.from_function`
    makes one of a plain function `(params, z) -> output`; `from_linen`, `from_nnx` and `from_equinox` of a module.

    Attributes:
        apply: takes latents `[B, *latent]`; returns the output `[B, ...]` and the batch statistics that this pass used
            (`None` for a decoder without). `stats=None` asks for the statistics of this batch.
        init: `init(key) -> params`.
        latent_shape: `*latent`, `(k,)` or `(h, w, c)`.
        independent: an example's output depends on no other example, given `stats` or without batch statistics. The
            fast forms rely on it; where it is False, latents are computed by definition. `compare_with_definition`
            tests it.
        batch_statistics: with `stats=None` the examples are coupled, by means over the batch and by nothing else.
        output_range: lowest and highest output, where an output activation bounds it; `None` for real numbers, or
            where nobody knows.
        logits: `apply` without its output activation, where the choice of one is left to the likelihood; see `match`.
        step_size: the latent step size that suits this decoder; `None` for the default of
            `gon_jax.models.default_step_size`.
        pointwise: for a decoder that computes each of its N points (pixels, say) from the latent and that point's
            coordinates alone: `pointwise(params, z [N, *latent]) -> [N, C]`, where each point has a latent of its own.
            The output `[B, ..., C]` of `apply` is the same points, all with one latent. `None` for any other decoder.
        coordinates: `[*spatial, d]`, the points of a decoder that is a function of coordinates; `None` for any other.
        at: `coordinates [*spatial, d] -> Decoder`, the same function, with the same parameters, at other points.

    >>> linear = Decoder(lambda w, z, stats=None: (z @ w, None), None, (2,), independent=True)
    >>> linear.apply(jnp.ones((2, 3)), jnp.ones((1, 2)))
    (Array([[2., 2., 2.]], dtype=float32), None)
    """

    apply: Callable[..., tuple[Any, Stats]]
    init: Callable[[jax.Array], Params] | None
    latent_shape: tuple[int, ...]
    independent: bool = False
    batch_statistics: bool = False
    output_range: tuple[float, float] | None = None
    logits: Callable[..., tuple[Any, Stats]] | None = None
    step_size: float | None = None
    pointwise: DecoderFn | None = None
    coordinates: jax.Array | None = None
    at: Callable[[jax.Array], "Decoder"] | None = None

    def output(self, params: Params, z: jax.Array, stats: Stats = None) -> Any:
        """Return the output of `apply` alone, `[B, ...]`."""
        return self.apply(params, z, stats)[0]

    def init_params(self, key: jax.Array) -> Params:
        """Return the initial parameters, or say that the decoder has no `init`."""
        if self.init is None:
            raise ValueError("expected a decoder with `init`, got one without; give Decoder(..., init=...)")
        return self.init(key)


class EncoderNetwork(NamedTuple):
    """An encoder with parameters of its own, as autoencoders have it.

    Attributes:
        apply: `apply(params, x [B, ...], stats=None) -> (z [B, *latent], stats)`, as `Decoder.apply`; a `tied` one
            also takes the decoder's parameters, `decoder=`.
        init: `init(key) -> params`, its own parameters.
        latent_shape: `*latent`, `(k,)` or `(h, w, c)`.
        batch_statistics: as for `Decoder`.
        tied: whether it shares the decoder's kernels.

    >>> linear = EncoderNetwork(lambda w, x, stats=None: (x.reshape(len(x), -1) @ w, None), None, (3,))
    >>> linear.apply(jnp.ones((64, 3)), jnp.ones((5, 8, 8, 1)))[0].shape
    (5, 3)
    """

    apply: Callable[..., tuple[jax.Array, Stats]]
    init: Callable[[jax.Array], Params] | None
    latent_shape: tuple[int, ...]
    batch_statistics: bool = False
    tied: bool = False


class Variables(NamedTuple):
    """What a model computes with.

    Attributes:
        params: what is optimized, any pytree.
        stats: averages over training batches that evaluation uses; `None` asks the model to use the statistics of the
            batch at hand, as the authors' implementation does. Models without batch statistics ignore it.
    """

    params: Params
    stats: Stats = None


class Bound(NamedTuple):
    """One draw of a bound on log p(x), each field `[B]`, in nats.

    Attributes:
        nll: -log p(x given z) at the draw of z.
        kl: KL divergence from q(z given x) to the prior, in closed form.
        log_weight: log p(x given z) + log p(z) - log q(z given x) at the draw. -ELBO is minus its mean, and the
            importance-weighted bound the logarithm of the mean of its exponential.
    """

    nll: jax.Array
    kl: jax.Array
    log_weight: jax.Array


class Capabilities(NamedTuple):
    """What some models can do and others cannot: each field is `None` where a model cannot.

    Attributes:
        freeze: `Variables -> FrozenEncoder`, an encoder that is one matrix product per batch and equals `encode`.
        sample: `(Variables, key, num) -> [num, ...]`, the mean of p(x given z) at draws from the model's own prior.
            For a model without one, fit one to its latents: `gon_jax.latents`.
        bound: `(Variables, x [B, ...], keys [B]) -> Bound`, for models with an approximate posterior. An example's
            numbers depend on its own key alone.
        at: `(coordinates [*spatial, d], weights=None) -> Model`, the same model, with the same variables, of data at
            other points, for implicit models. Weights `[*spatial]` or `[B, *spatial]` multiply the points' terms of
            the inner loss, 0 where nothing is known; only their ratios matter.
        classify: `(Variables, x [B, ...]) -> logits [B, num_classes]`.
        init_latents: `(key, num) -> [num, *latent]`, for models that keep a latent for each training example. Training
            passes those of the batch as `batch["z"]`, and optimizes them too.
    """

    freeze: Callable[[Variables], Any] | None = None
    sample: Callable[[Variables, jax.Array, int], jax.Array] | None = None
    bound: Callable[[Variables, Any, jax.Array], Bound] | None = None
    at: Callable[..., "Model"] | None = None
    classify: Callable[[Variables, jax.Array], jax.Array] | None = None
    init_latents: Callable[[jax.Array, int], jax.Array] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A model as pure functions.

    The functions may be given examples and latents as `gon_jax.inputs` takes them: uint8 becomes floats in [0, 1], half
    precision float32, and another shape is a `ValueError` that says what is wrong.

    Attributes:
        init: `key -> Variables`.
        loss: `(Variables, batch, key) -> (scalar, stats)`: the mean over the batch of each example's loss, and the
            statistics of this batch that training averages (`None` where there are none). `batch["x"]` is `[B, ...]`;
            `batch["step"]`, where it is there, is the number of steps made, for schedules.
        encode: `(Variables, x [B, ...]) -> z [B, *latent]`.
        decode: `(Variables, z [B, *latent]) -> x_hat [B, ...]`, the mean of p(x given z).
        data_shape: `...`, the shape of one example.
        latent_shape: `*latent`.
        likelihood: p(x given z), which knows whether bits per dimension mean something.
        capabilities: what else this model can do.
        inner: the name of the likelihood that latents are computed by, where it has one.
    """

    init: Callable[[jax.Array], Variables]
    loss: Callable[[Variables, Batch, jax.Array], tuple[jax.Array, Stats]]
    encode: Callable[[Variables, Any], jax.Array]
    decode: Callable[[Variables, Any], jax.Array]
    data_shape: tuple[int, ...]
    latent_shape: tuple[int, ...]
    likelihood: Likelihood
    capabilities: Capabilities = Capabilities()
    inner: str | None = None
    _compiled: dict[Hashable, jax.stages.Wrapped] = dataclasses.field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Put `gon_jax.inputs` before each function, and make `init` one program; twice changes nothing."""
        encode, decode, loss, bound = self.encode, self.decode, self.loss, self.capabilities.bound
        examples = partial(as_examples, data_shape=self.data_shape)
        latents = partial(as_latents, latent_shape=self.latent_shape)
        functions: dict[str, Any] = {
            "encode": lambda variables, x: encode(variables, examples(x)),
            "decode": lambda variables, z: decode(variables, latents(z)),
            "loss": lambda variables, batch, key: loss(variables, {**batch, "x": examples(batch["x"])}, key),
        }
        if self.init is not None:
            functions["init"] = compiled_once(self.init)
        if bound is not None:
            checked = self.capabilities._replace(bound=lambda variables, x, keys: bound(variables, examples(x), keys))
            functions["capabilities"] = checked
        for name, function in functions.items():
            object.__setattr__(self, name, function)

    def jit(
        self,
        function: Callable[..., Any],
        *,
        donate_argnums: tuple[int, ...] = (),
        quick: bool = False,
        **static: Hashable,
    ) -> jax.stages.Wrapped:
        """Return `jax.jit` of `function(model, ...)`, kept with this model: compiled once, and freed with the model.

        Args:
            function: `function(model, *arguments, **static)`.
            donate_argnums: the arguments, counted without the model, that a call uses up; as for `jax.jit`.
            quick: compile in a third of the time, to a slower program: for what runs once.
            **static: keyword arguments that are constants of the program.

        >>> from gon_jax.likelihoods import squared_error
        >>> model = Model(None, None, lambda v, x: x, lambda v, z: z, (2,), (2,), squared_error)
        >>> model.jit(lambda model, x: model.encode(None, x))(jnp.ones((1, 2)))
        Array([[1., 1.]], dtype=float32)
        """
        key = (function, donate_argnums, quick, *((name, type(static[name]), static[name]) for name in sorted(static)))
        if key not in self._compiled:
            program = partial(function, self, **static)
            options = QUICK if quick else None
            self._compiled[key] = jax.jit(program, donate_argnums=donate_argnums, compiler_options=options)
        return self._compiled[key]


def check_decoder(decoder: Decoder) -> None:
    """Refuse what is no `Decoder`.

    Raises:
        TypeError: it is none.
    """
    check_kind("decoder", decoder, Decoder, "gon_jax.decoders.from_function makes one of a function (params, z)")


def match(decoder: Decoder, likelihood: Likelihood) -> tuple[Decoder, tuple[int, ...]]:
    """Return the decoder whose outputs a likelihood reads, and the shape of one example of the data.

    A likelihood that reads a mean takes the decoder as it is. One that reads logits or other real numbers takes it
    without its output activation, if that was left open (`conv_decoder` by default); a bounded output is refused.

    Raises:
        TypeError: for a likelihood that is not a `Likelihood`, or claims of a decoder that are not booleans.
        ValueError: for a bounded output with a likelihood of real outputs, or batch statistics without `independent`.

    >>> from gon_jax.likelihoods import bernoulli
    >>> squashed = Decoder(lambda w, z, stats=None: (jax.nn.sigmoid(z), None), None, (3,), output_range=(0.0, 1.0))
    >>> match(squashed, bernoulli)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: expected a decoder of real outputs for bernoulli, got outputs in (0.0, 1.0); ...
    """
    check_decoder(decoder)
    remedy = "make one of your function's terms: gon_jax.Likelihood('name', terms, mean=lambda output: output)"
    check_kind("likelihood", likelihood, Likelihood, remedy)
    for name in ("independent", "batch_statistics"):
        if not isinstance(getattr(decoder, name), bool):
            raise TypeError(f"expected {name} of True or False in a Decoder, got {getattr(decoder, name)!r}")
    if (latent_shape := check_sizes("latent_shape", decoder.latent_shape)) != decoder.latent_shape:  # a list
        decoder = decoder._replace(latent_shape=latent_shape)
    if decoder.batch_statistics and not decoder.independent:
        raise ValueError(
            "expected independent=True of a decoder with batch statistics, got False; say it if an example's output "
            "depends on no other example once statistics are given, which evaluation relies on"
        )
    decoder = match_output(decoder, likelihood)
    z = jax.ShapeDtypeStruct((1, *decoder.latent_shape), jnp.float32)
    params = jax.eval_shape(decoder.init_params, jax.random.key(0))
    result = jax.eval_shape(decoder.apply, params, z)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError(
            "expected Decoder.apply to return (output, stats), got something else; gon_jax.decoders.from_function "
            "makes a decoder of a function that returns the output alone"
        )
    return decoder, jax.eval_shape(likelihood.mean, result[0]).shape[1:]


def match_output(decoder: Decoder, likelihood: LikelihoodFn) -> Decoder:
    """Return the decoder whose outputs a likelihood reads, as `match` says; a plain function reads any.

    Raises:
        ValueError: for a bounded output with a likelihood of real outputs.
    """
    if decoder.output_range is None or getattr(likelihood, "reads_mean", None) is not False:
        return decoder
    if decoder.logits is None:
        name = getattr(likelihood, "name", "this likelihood")
        raise ValueError(
            f"expected a decoder of real outputs for {name}, got outputs in {decoder.output_range}; its output "
            "activation would be applied twice: leave it out (output_activation='none'), or take a likelihood that "
            "reads a mean, such as squared_error"
        )
    return decoder._replace(apply=decoder.logits, output_range=None)


def integral_weights(decoder: Decoder, coordinates: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Return the weights `[..., *spatial, 1]` by which a sum over n points stands for that over a decoder's N points.

    Args:
        decoder: with coordinates, N points.
        coordinates: `[*spatial, d]`, n points.
        weights: `[*spatial]` or `[B, *spatial]`, scaled to a sum of N over the points of an example; by default N / n.

    Raises:
        ValueError: for weights that leave no point of an example, where they are not traced.

    >>> points = jnp.zeros((4, 1))
    >>> integral_weights(Decoder(None, None, (1,), coordinates=points), points[:2], jnp.array([3.0, 1.0]))[:, 0]
    Array([3., 1.], dtype=float32)
    """
    if decoder.coordinates is None:
        raise ValueError("expected a decoder of coordinates, got one without")
    num_all, spatial = math.prod(decoder.coordinates.shape[:-1]), coordinates.shape[:-1]
    weights = jnp.ones(spatial) if weights is None else weights
    axes = tuple(range(weights.ndim - len(spatial), weights.ndim))
    total = weights.sum(axes, keepdims=True)
    if not isinstance(total, Tracer) and not (total > 0).all():
        raise ValueError("expected weights of at least one point of each example above 0, got none; nothing is known")
    return (weights * (num_all / total))[..., None]
