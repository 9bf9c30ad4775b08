"""The Gradient Origin Network: a decoder, and codes that are gradients at the origin (Eqs. 7 and 8 of the paper)."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gon_jax.base import Batch, Decoder, Model, Params, Variables, data_shape_of
from gon_jax.freezing import encode_frozen, freeze
from gon_jax.gauss_newton import least_squares_encoder
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.linearization import Strategy, cotangents, encode_shared, gradient_encoder, matrix_strategy, strategy_of


class GONStats(NamedTuple):
    """What a decoder with batch statistics needs so that an image encodes the same alone and in any company.

    The origin pass and the latent pass see data so different that one average would fit neither. The origin's
    statistics are a function of the parameters alone and are computed; these two are averaged over training batches.

    Attributes:
        latent: the decoder's statistics in the pass that decodes the codes.
        mean_cotangent: mean over the data of d loss / d output at the origin, of the shape of one output.
    """

    latent: Any
    mean_cotangent: jax.Array


def gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    step_size: float | None = None,
    strategy: Strategy | None = None,
) -> Model:
    r"""Return the GON of a decoder: minimize over its parameters, with z_0 = 0,

    $$ \mathcal{L}\big(x, F(z_0 - s \nabla_{z_0} \mathcal{L}(x, F(z_0)))\big). \quad \text{(Eq. 8)} $$

    The loss is a sum over data axes and a mean over examples; the release's mean over pixels too is the same up to the
    step size s and Adam's epsilon.

    Args:
        decoder: `gon_jax.decoders.conv_decoder(...)`, or your own function in the record `Decoder`.
        likelihood: the inner and the outer loss.
        step_size: s; by default the release's, 1 / (64 H W) for data `[H, W, C]` (64 is its batch size).
        strategy: how training encodes a batch, all of them exact; `None` takes the cheapest for the batch at hand (see
            `gon_jax.strategy_costs`), which is "definition" for a decoder whose rows are "unknown".

    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape
    (5, 3)
    """
    step_size = 1 / (64 * math.prod(data_shape_of(decoder, likelihood)[:-1])) if step_size is None else step_size
    return gradient_gon(decoder, likelihood=likelihood, step_size=step_size, strategy=strategy)


def least_squares_gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood = squared_error,
    damping: float = 0.01,
    learn_damping: bool = False,
) -> Model:
    r"""Return the GON whose codes are damped Gauss-Newton steps at the origin in place of gradient steps.

    The other half is Eq. 8 as in `gon`: the loss is differentiated through the codes. See `encode_least_squares`.

    Args:
        decoder: rows "independent" or "batch_statistics".
        likelihood: the inner and the outer loss, with Fisher information.
        damping: lambda over the mean eigenvalue of J^T W J (`relative_damping` there), above 0.
        learn_damping: train its logarithm beside the decoder, from `damping` on; then the parameters are
            `{"decoder": ..., "log_damping": ...}`.

    Raises:
        ValueError: for a decoder whose rows are "unknown", a likelihood without Fisher information, or a damping of 0.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = least_squares_gon(conv_decoder((8, 8, 1), (3,), base_channels=4), learn_damping=True)
    >>> variables = model.init(jax.random.key(0))
    >>> model.encode(variables, jnp.ones((5, 8, 8, 1))).shape, float(variables.params["log_damping"])
    ((5, 3), -4.605170249938965)
    """
    if decoder.rows == "unknown":
        raise ValueError('expected a decoder with rows="independent" or "batch_statistics", got rows="unknown"')
    if not damping > 0:
        raise ValueError(f"expected a damping above 0, got {damping!r}")

    def init(key):
        params = decoder.init(key)
        return {"decoder": params, "log_damping": jnp.log(jnp.float32(damping))} if learn_damping else params

    def of_decoder(params):
        return params["decoder"] if learn_damping else params

    def explicit(params, origin):
        relative = jnp.exp(params["log_damping"]) if learn_damping else damping
        options = {"likelihood": likelihood, "damping": 0.0, "relative_damping": relative}
        return least_squares_encoder(decoder, of_decoder(params), origin, **options)

    def codes(params, x, origin):
        return _codes(explicit(params, origin), likelihood, x)

    return _model(decoder, likelihood, init, of_decoder, codes, explicit)


def gradient_gon(
    decoder: Decoder,
    *,
    likelihood: Likelihood,
    step_size: float | None,
    strategy: Strategy | None,
    init_params: Callable[[jax.Array], Params] | None = None,
    of_decoder: Callable[[Params], Params] = lambda params: params,
    source_likelihood: Likelihood | None = None,
    outer: Callable[..., jax.Array] | None = None,
) -> Model:
    """Return a model whose codes are the GON's and whose outer loss is its own.

    Args:
        decoder, likelihood, strategy: as for `gon`.
        step_size: by default the release's, 1 / (64 H W), or 1 / (64 C) for decoders of coordinates.
        init_params, of_decoder, source_likelihood, outer: as for `_model`.

    >>> from gon_jax.decoders import conv_decoder
    >>> options = {"likelihood": squared_error, "step_size": None, "strategy": None}
    >>> model = gradient_gon(conv_decoder((8, 8, 1), (3,)), outer=lambda params, batch, z, output: z[:, 0], **options)
    >>> model.latent_shape
    (3,)
    """
    source_likelihood = likelihood if source_likelihood is None else source_likelihood
    if step_size is None:
        *spatial, num_channels = data_shape_of(decoder, likelihood)
        step_size = 1 / (64 * (math.prod(spatial) if decoder.coordinates is None else num_channels))

    def codes(params, x, origin):
        params = of_decoder(params)
        chosen = strategy_of(decoder, params, len(x), strategy)
        options = {"step_size": step_size, "strategy": chosen}
        if chosen != "definition":
            return _codes(gradient_encoder(decoder, params, origin, **options), source_likelihood, x)
        z = encode_shared(decoder, params, x, origin, likelihood=source_likelihood, **options)
        if not decoder.batch_statistics:
            return z, None
        return z, cotangents(source_likelihood, decoder.plain(params, origin[None])[0], x).mean(axis=0)

    def explicit(params, origin):
        params = of_decoder(params)
        chosen = matrix_strategy(decoder, params)
        return gradient_encoder(decoder, params, origin, step_size=step_size, strategy=chosen)

    init_params = decoder.init if init_params is None else init_params
    return _model(decoder, likelihood, init_params, of_decoder, codes, explicit, source_likelihood, outer)


def _codes(encoder, likelihood, x):
    """Return the codes of a batch, and its mean cotangent."""
    v = cotangents(likelihood, encoder.output, x)
    mean_cotangent = v.mean(axis=0)
    return encoder.codes(v, mean_cotangent), mean_cotangent


def _model(decoder, likelihood, init_params, of_decoder, codes, explicit, source_likelihood=None, outer=None) -> Model:
    """Return the model of an estimator of codes.

    Args:
        decoder, likelihood: the two halves of F and of p(x given z).
        init_params: `key -> params`.
        of_decoder: `params -> the decoder's`.
        codes: `(params, x, origin) -> (z, mean cotangent of the batch)`, by this batch's statistics.
        explicit: `(params, origin) -> Encoder` with a matrix.
        source_likelihood: the inner loss; by default `likelihood`.
        outer: `(params, batch, z, output) -> [B]`, the outer loss; by default the likelihood of `batch["x"]`.
    """
    source_likelihood = likelihood if source_likelihood is None else source_likelihood
    outer = (lambda params, batch, z, output: likelihood(output, batch["x"])) if outer is None else outer
    data_shape = data_shape_of(decoder, likelihood)
    origin = jnp.zeros(decoder.latent_shape)

    def init(key):
        params = init_params(key)
        if not decoder.batch_statistics:
            return Variables(params)
        output, stats = decoder.apply(of_decoder(params), origin[None])
        return Variables(params, GONStats(stats, jnp.zeros_like(output[0])))

    def frozen(variables):
        params, stats = variables
        encoder = explicit(params, origin)
        return freeze(encoder, source_likelihood, None if stats is None else stats.mean_cotangent)

    def encode(variables, x):
        x = jnp.asarray(x)
        params, stats = variables
        if stats is None or not decoder.batch_statistics:
            return codes(params, x, origin.astype(x.dtype))[0]
        return encode_frozen(frozen(variables), x, likelihood=source_likelihood)

    def decode(variables, z):
        params, stats = variables
        return likelihood.mean(decoder.forward(of_decoder(params), z, None if stats is None else stats.latent)[0])

    def loss(variables: Variables, batch: Batch, key: jax.Array):
        del key  # nothing is random here
        params, x = variables.params, batch["x"]
        z, mean_cotangent = codes(params, x, origin.astype(x.dtype))
        output, stats = decoder.forward(of_decoder(params), z)
        stats = GONStats(stats, mean_cotangent) if decoder.batch_statistics else None
        return outer(params, batch, z, output).mean(), stats

    freezes = None if decoder.rows == "unknown" else frozen
    return Model(init, loss, encode, decode, data_shape, decoder.latent_shape, likelihood, freezes)
