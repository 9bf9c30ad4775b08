r"""What the decoder's output says of the data: a number for each number of the data, in nats (or squared intensity).

A likelihood is any function `(output [B, ...], x [B, ...]) -> [B]`. The ones here are small records that know more: the
terms that are summed, their mean, how to sample x, and facts that other rooms use: how many outputs they read for each
channel of the data, whether their gradient is affine in the data, what measure they are a density or mass of.

| likelihood | outputs, K | a model of |
|---|---|---|
| `squared_error` | 1: the mean | nothing, not normalised |
| `gaussian(scale)` | 1: the mean | reals, scale fixed |
| `gaussian_scale` | 2: mean, log scale | reals, scale by the decoder |
| `bernoulli` | 1: logit | 0 and 1 |
| `continuous_bernoulli` | 1: natural parameter | reals from 0 to 1 |
| `categorical` | 256: logits | bytes, whatever their distribution |
| `discretised_logistic` | 2: mean, log scale + 3 | bytes |
| `discretised_logistic_mixture(M)` | 3 M: logits, means, log scales | bytes |

Data are in [0, 1], where a byte b is b / 255. Outputs are real numbers, not squashed. Log scales are bounded softly, to
-8 from below, so that no density grows without end where the data are constant, and 4 from above. With
`gon_jax.networks.shared_outputs` they are parameters, learned for all data at once.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Measure = Literal["real", "bytes", "binary"]
LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -8.0, 4.0  # a byte's width is e^-5.5; noise of that width has scale e^-6.8
FIRST_LOG_SCALE = -3.0  # of discretised logistics at an output of 0, where training starts; at 0 it loses many steps


class Likelihood(NamedTuple):
    """p(x given z) as pure functions of the decoder's output.

    The last axis of the output is C * K for data of C channels, read as `[..., C, K]`. Calling the record gives the
    terms' sum for each example, `[B]`.

    Attributes:
      name: a word for tables and configuration files.
      terms: `(output [..., C * K], x [..., C]) -> [..., C]`, the negative log-likelihood of each number of the data.
      mean: `output [..., C * K] -> [..., C]`, the mean of x.
      sample: `(key, output [..., C * K]) -> [..., C]`, a draw of x.
      num_outputs: K, decoder outputs for each channel of the data.
      affine: the terms' gradient in `output` is affine in `x`, element by element; then the encoder at a shared origin
        is one matrix and one bias.
      measure: what exp(-terms) sums or integrates to 1 over: "real" numbers; "bytes", the 256 values b / 255; "binary",
        0 and 1. `None` where it doesn't, or nobody knows.
      fisher: `output -> [...]`, of the same shape, the Fisher information in each output where that is diagonal: the
        expected second derivative of the terms. `None` where it isn't or is unknown.

    >>> laplace = Likelihood("laplace", lambda o, x: jnp.abs(x - o) + jnp.log(2.0), lambda o: o, measure="real")
    >>> laplace(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([3.3862944], dtype=float32)
    """

    name: str
    terms: Callable[[jax.Array, jax.Array], jax.Array]
    mean: Callable[[jax.Array], jax.Array]
    sample: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    num_outputs: int = 1
    affine: bool = False
    measure: Measure | None = None
    fisher: Callable[[jax.Array], jax.Array] | None = None

    def __call__(self, output: jax.Array, x: jax.Array) -> jax.Array:
        k = self.num_outputs
        expected = (*x.shape[:-1], x.shape[-1] * k)
        if output.shape != expected:
            what = "data of one shape" if k == 1 else f"data of {k} outputs a channel"
            raise ValueError(
                f"expected decoder output and {what} for {self.name}, so {expected} with x {x.shape}, got "
                f"{output.shape}; they would broadcast silently (a missing channel axis? another image size?)"
            )
        terms = self.terms(output, x)
        if terms.shape != x.shape:
            raise ValueError(
                f"expected a term of {self.name} for each number of x {x.shape}, got {terms.shape}; weights of another "
                "batch, or a sum inside `terms`?"
            )
        return sum_per_example(terms)


def sum_per_example(values: jax.Array) -> jax.Array:
    """Sum `[B, ...]` over all axes but the first; returns `[B]`."""
    return values.reshape(values.shape[0], -1).sum(axis=1)


def weighted(likelihood: Likelihood, weights: jax.Array) -> Likelihood:
    """Return the likelihood with each term times a weight: a mask, or points that stand for others.

    It is not normalised. It doesn't say that it is affine, since weights may differ from example to example.

    Args:
      likelihood: a record.
      weights: broadcast to the terms: `[H, W, 1]` for all images alike, or `[B, H, W, 1]`.

    Raises:
      ValueError: when called on terms that the weights don't broadcast to, or for Fisher information that would differ
        from example to example.

    >>> weighted(squared_error, jnp.array([1.0, 0.0]))(jnp.zeros((1, 2)), jnp.ones((1, 2)))
    Array([1.], dtype=float32)
    """
    weights, k = jnp.asarray(weights), likelihood.num_outputs

    def fisher(output):
        values = _split(likelihood.fisher(output), k) * weights[..., None]
        if values.size != output.size:
            raise ValueError(
                f"expected weights {weights.shape} that are the same for all examples, for the Fisher information of "
                f"an output {output.shape}; encode by the gradient"
            )
        return values.reshape(output.shape)

    return likelihood._replace(
        name=f"weighted {likelihood.name}",
        terms=lambda output, x: weights * likelihood.terms(output, x),
        affine=False,
        measure=None,
        fisher=None if likelihood.fisher is None else fisher,
    )


def bits_per_dim(likelihood: Likelihood, nats, x):
    r"""Return nats in bits for each number of the data, of a model normalised over bytes, or 0 and 1.

    Nats over D ln 2; and 8 more for a density on [0, 1], one of 256 bins being 2^-8 wide: the density of data with
    uniform noise (`dequantise`) is a bound on the mass of bytes (Theis et al., "A note on the evaluation of generative
    models", ICLR 2016, arXiv 1511.01844).

    Args:
      likelihood: a record; its `measure` decides.
      nats: -log p of an example, or a bound, any shape.
      x: the data, `[N, ...]`, floats in [0, 1] or uint8; D numbers an example.

    Raises:
      ValueError: where the likelihood is not a normalised model of these data.

    >>> round(float(bits_per_dim(categorical, 2 * math.log(256), jnp.zeros((1, 2)))), 4)
    8.0
    """
    if likelihood.measure is None:
        raise ValueError(
            f"expected a normalised likelihood for bits per dimension, got {likelihood.name}; report its own "
            "unit, or take gaussian, gaussian_scale, continuous_bernoulli, discretised_logistic or categorical"
        )
    top = 1 if jnp.issubdtype(x.dtype, jnp.floating) else 255
    if likelihood.measure == "binary" and not bool(((x == 0) | (x == top)).all()):
        raise ValueError(
            f"expected data of 0 and 1 alone for bits per dimension of {likelihood.name}, got grey values, on which it "
            "isn't normalised; report BCE in nats, or take continuous_bernoulli, discretised_logistic or categorical"
        )
    return nats / (math.prod(x.shape[1:]) * math.log(2)) + (8 if likelihood.measure == "real" else 0)


def dequantise(key: jax.Array, x: jax.Array) -> jax.Array:
    """Return (255 x + u) / 256, u uniform in [0, 1): bytes spread over their bins, for densities.

    Args:
      key: a typed key.
      x: bytes over 255, any shape.

    >>> bool(jnp.floor(256 * dequantise(jax.random.key(0), jnp.array(7 / 255))) == 7)
    True
    """
    byte = _byte(x)
    return (byte + jax.random.uniform(key, byte.shape, byte.dtype)) / 256


def _byte(x):
    """Return which of 0, ..., 255 x is, as a float."""
    return jnp.clip(jnp.round(255 * x), 0, 255)


def _split(output, k):
    """Return `[..., C * K]` as `[..., C, K]`."""
    if output.shape[-1] % k:
        raise ValueError(
            f"expected decoder output with a multiple of {k} channels, {k} for each channel of the data, got "
            f"{output.shape}; give the decoder num_channels = {k} C"
        )
    return output.reshape(*output.shape[:-1], -1, k)


def _parts(output, k):
    """Return the K arrays `[..., C]`."""
    parts = _split(output, k)
    return [parts[..., i] for i in range(k)]


def _slope(function):
    """Return the derivative of a function that acts element by element."""
    return lambda o: jax.jvp(function, (o,), (jnp.ones_like(o),))[1]


# -- with one output -----------------------------------------------------------------------------------------------

squared_error = Likelihood(
    "squared_error",
    lambda output, x: jnp.square(x - output),
    mean=lambda output: output,
    sample=lambda key, output: output,
    affine=True,
    fisher=lambda output: jnp.full_like(output, 2),
)
"""sum (x - F)^2 per example: no 1/2, no constants, in squared intensity. The release's GON. Its draw of x is the mean.

>>> squared_error(jnp.zeros((2, 3)), jnp.ones((2, 3)))
Array([3., 3.], dtype=float32)
"""


def gaussian(scale: float) -> Likelihood:
    """Return the density N(x; F, scale^2 I), in nats per example.

    Args:
      scale: the standard deviation, in units of the data.

    Raises:
      ValueError: if `scale` is not a positive number.

    >>> nats = gaussian(0.5)(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    >>> round(float(nats[0]), 4)  # 2 (log 0.5 + log(2 pi) / 2)
    0.4516
    """
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"expected a positive standard deviation, got scale={scale!r}")
    constant = math.log(scale) + 0.5 * math.log(2 * math.pi)
    return Likelihood(
        "gaussian",
        lambda output, x: 0.5 * jnp.square((x - output) / scale) + constant,
        mean=lambda output: output,
        sample=lambda key, output: output + scale * jax.random.normal(key, output.shape, output.dtype),
        affine=True,
        measure="real",
        fisher=lambda output: jnp.full_like(output, 1 / scale**2),
    )


bernoulli = Likelihood(
    "bernoulli",
    lambda output, x: jax.nn.softplus(output) - x * output,
    mean=jax.nn.sigmoid,
    sample=lambda key, output: jax.random.bernoulli(key, jax.nn.sigmoid(output)).astype(output.dtype),
    affine=True,
    measure="binary",
    fisher=lambda output: jax.nn.sigmoid(output) * jax.nn.sigmoid(-output),
)
"""Binary cross-entropy from logits, in nats per example; `x` in [0, 1].

A mass function on {0, 1}; on grey values it is not normalised and has a floor above 0, so bits per dimension are
refused for it.

>>> bernoulli(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]))  # 2 log 2
Array([1.3862944], dtype=float32)
"""


def _log_sinhc_series(num_terms=20):
    """Return c_1, c_2, ... of log(sinh(h) / h) = sum_n c_n h^2n.

    Its derivative L = coth h - 1 / h obeys L' = 1 - L^2 - 2 L / h, which gives L = sum_n l_n h^(2n - 1) term by term.
    """
    slopes = []
    for n in range(1, num_terms + 1):
        slopes.append(((n == 1) - sum(a * b for a, b in zip(slopes, reversed(slopes), strict=True))) / (2 * n + 1))
    return [slope / (2 * n) for n, slope in enumerate(slopes, 1)]


_LOG_SINHC = _log_sinhc_series()  # within |h| < 1 right to float64's rounding, and so are three derivatives


def _log_sinhc(h):
    """Return log(sinh(h) / h): 0 at 0, even, right for derivatives of any order, of any h."""
    small = jnp.abs(h) < 1
    square = jnp.square(jnp.where(small, h, 0))
    series = jnp.zeros_like(h)
    for coefficient in reversed(_LOG_SINHC):
        series = (series + coefficient) * square
    large = jnp.abs(jnp.where(small, 1, h))
    return jnp.where(small, series, large - jnp.log(2 * large) + jnp.log1p(-jnp.exp(-2 * large)))


def _log_normaliser(o):
    """Return log((e^o - 1) / o), the logarithm of the integral of e^(o x) over [0, 1]."""
    return o / 2 + _log_sinhc(o / 2)


def _sample_continuous_bernoulli(key, o):
    u = jax.random.uniform(key, o.shape, o.dtype)
    negative = -jnp.maximum(jnp.abs(o), 1e-6)  # at -|o| nothing overflows; x at o is 1 - x at -o
    x = jnp.log1p(u * jnp.expm1(negative)) / negative
    return jnp.where(o > 0, 1 - x, x)


continuous_bernoulli = Likelihood(
    "continuous_bernoulli",
    lambda output, x: _log_normaliser(output) - x * output,
    mean=_slope(_log_normaliser),
    sample=_sample_continuous_bernoulli,
    affine=True,
    measure="real",
    fisher=_slope(_slope(_log_normaliser)),
)
"""The density e^(o x) o / (e^o - 1) on [0, 1], o the output: cross-entropy made a normalised model of grey values.

Loaiza-Ganem & Cunningham, "The continuous Bernoulli", NeurIPS 2019, arXiv 1907.06845. Uniform at o = 0. Its mean is not
the sigmoid of o, which is lambda there.

>>> continuous_bernoulli(jnp.zeros((1, 2)), jnp.array([[0.0, 0.7]]))
Array([0.], dtype=float32)
"""


# -- with several outputs ------------------------------------------------------------------------------------------


def _log_scale(raw):
    """Return a log scale that is nearly the output itself between the two bounds, and never beyond them."""
    return LOWEST_LOG_SCALE + jax.nn.softplus(raw - LOWEST_LOG_SCALE) - jax.nn.softplus(raw - HIGHEST_LOG_SCALE)


def _gaussian_scale_terms(output, x):
    mean, raw = _parts(output, 2)
    log_scale = _log_scale(raw)
    return 0.5 * jnp.square((x - mean) * jnp.exp(-log_scale)) + log_scale + 0.5 * math.log(2 * math.pi)


def _gaussian_scale_sample(key, output):
    mean, raw = _parts(output, 2)
    return mean + jnp.exp(_log_scale(raw)) * jax.random.normal(key, mean.shape, mean.dtype)


def _gaussian_scale_fisher(output):
    _, raw = _parts(output, 2)
    of_mean, of_raw = jnp.exp(-2 * _log_scale(raw)), 2 * jnp.square(_slope(_log_scale)(raw))
    return jnp.stack([of_mean, of_raw], axis=-1).reshape(output.shape)


gaussian_scale = Likelihood(
    "gaussian_scale",
    _gaussian_scale_terms,
    mean=lambda output: _parts(output, 2)[0],
    sample=_gaussian_scale_sample,
    num_outputs=2,
    measure="real",
    fisher=_gaussian_scale_fisher,
)
"""The density N(x; mean, scale^2), mean and log scale of each number of the data both outputs of the decoder.

The log scale is bounded softly, to -8 from below and 4 from above. With `gon_jax.networks.shared_outputs` it is a
parameter for each channel, learned globally.

>>> round(float(gaussian_scale(jnp.zeros((1, 2)), jnp.zeros((1, 1)))[0]), 1)  # log(2 pi) / 2, and the bounds' softness
0.9
"""


def _categorical_terms(output, x):
    logits = _split(output, 256)
    chosen = jnp.where(_byte(x)[..., None] == jnp.arange(256), logits, 0).sum(-1)
    return jax.nn.logsumexp(logits, axis=-1) - chosen


categorical = Likelihood(
    "categorical",
    _categorical_terms,
    mean=lambda output: (jax.nn.softmax(_split(output, 256)) * (jnp.arange(256, dtype=output.dtype) / 255)).sum(-1),
    sample=lambda key, output: (jax.random.categorical(key, _split(output, 256)) / 255).astype(output.dtype),
    num_outputs=256,
    measure="bytes",
)
"""A mass for each of the 256 bytes, from logits: any distribution, at 256 outputs for each number of the data.

>>> round(float(categorical(jnp.zeros((1, 256)), jnp.zeros((1, 1)))[0]), 4)  # log 256
5.5452
"""


def _logistic_terms(mean, raw, x):
    """Return -log of the logistic's mass within half a byte of x; the first and the last byte take the tails.

    With a and b the edges in units of the scale, d = a - b and s the sigmoid, the mass is

        s(a) - s(b) = s(a) s(-b) (1 - e^-d),   log(1 - e^-d) = log d - d / 2 + log(sinh(d / 2) / (d / 2)),

    which is finite, derivatives too, where the difference itself would be 0 in floating point.
    """
    byte, log_scale = _byte(x), _log_scale(raw + FIRST_LOG_SCALE)
    centre = (byte / 255 - mean) * jnp.exp(-log_scale)
    half = jnp.exp(-log_scale) / 510
    below_upper_edge = jnp.where(byte == 255, 0, jax.nn.softplus(-(centre + half)))
    above_lower_edge = jnp.where(byte == 0, 0, jax.nn.softplus(centre - half))
    between = -log_scale - math.log(255) - half + _log_sinhc(half)
    return below_upper_edge + above_lower_edge - jnp.where((byte == 0) | (byte == 255), 0, between)


def _logistic_mean(mean, raw):
    """Return the mean of the logistic clipped to [0, 1], which is within half a byte of that of the mass."""
    scale = jnp.exp(_log_scale(raw + FIRST_LOG_SCALE))
    return scale * (jax.nn.softplus(mean / scale) - jax.nn.softplus((mean - 1) / scale))


def _logistic_sample(key, mean, raw):
    scale = jnp.exp(_log_scale(raw + FIRST_LOG_SCALE))
    return _byte(mean + scale * jax.random.logistic(key, mean.shape, mean.dtype)) / 255


discretised_logistic = Likelihood(
    "discretised_logistic",
    lambda output, x: _logistic_terms(*_parts(output, 2), x),
    mean=lambda output: _logistic_mean(*_parts(output, 2)),
    sample=lambda key, output: _logistic_sample(key, *_parts(output, 2)),
    num_outputs=2,
    measure="bytes",
)
"""The mass that a logistic distribution has within half a byte; the first and the last byte take the tails.

Outputs are its mean, in units of the data, and log scale + 3, bounded softly as that of `gaussian_scale`: training
starts at outputs near 0, and there the scale suits images. `mean` is right to half a byte, and much better where the
scale is above a third of one.

>>> discretised_logistic(jnp.array([[0.5, -17.0]]), jnp.array([[0.0]])).round()  # far off, and yet finite
Array([1482.], dtype=float32)
"""


def discretised_logistic_mixture(num_components: int) -> Likelihood:
    """Return a mixture of discretised logistics for each number of the data; channels are independent given z.

    Its outputs are M logits, M means and M log scales, in this order, but that outputs of 0 are means spread evenly
    from 0 to 1 and log scales of -3: so components differ from the first step on. Salimans et al., "PixelCNN++", ICLR
    2017, arXiv 1701.05517, whose channels depend on one another.

    Args:
      num_components: M.

    Raises:
      ValueError: for less than one component.

    >>> mixture, output = discretised_logistic_mixture(2), jnp.array([[0.0, 0.0, 0.2, -0.2, -6.0, -6.0]])
    >>> mixture.num_outputs, mixture.mean(output)
    (6, Array([[0.5]], dtype=float32))
    """
    if num_components < 1:
        raise ValueError(f"expected at least one component, got num_components={num_components}")

    def components(output):  # each [..., C, M]
        logits, mean, raw = jnp.split(_split(output, 3 * num_components), 3, axis=-1)
        spread = (jnp.arange(num_components) + 0.5) / num_components
        return logits, mean + spread.astype(output.dtype), raw

    def terms(output, x):
        logits, mean, raw = components(output)
        return -jax.nn.logsumexp(jax.nn.log_softmax(logits) - _logistic_terms(mean, raw, x[..., None]), axis=-1)

    def mean(output):
        logits, mean, raw = components(output)
        return (jax.nn.softmax(logits) * _logistic_mean(mean, raw)).sum(-1)

    def sample(key, output):
        which_key, key = jax.random.split(key)
        logits, mean, raw = components(output)
        which = jax.random.categorical(which_key, logits)[..., None]
        mean, raw = (jnp.take_along_axis(part, which, axis=-1)[..., 0] for part in (mean, raw))
        return _logistic_sample(key, mean, raw)

    return Likelihood(
        "discretised_logistic_mixture", terms, mean, sample, num_outputs=3 * num_components, measure="bytes"
    )
