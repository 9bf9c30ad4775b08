"""A decoder's record put to the test: the fast forms beside the definition."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count, check_key, check_number
from gon_jax.base import Decoder, LikelihoodFn, Params, check_decoder, match_output
from gon_jax.encoding import losses_of
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import Strategy, encode_shared, possible_strategies

__all__ = ["Difference", "compare_with_definition"]


class Difference(float):
    """A number that says, when printed, where the largest difference is.

    >>> Difference(1e-7, "gradient['bias']")
    1e-07 (gradient['bias'])
    """

    where: str

    def __new__(cls, value: float, where: str) -> "Difference":
        self = super().__new__(cls, value)
        self.where = where
        return self

    def __repr__(self) -> str:
        return f"{float(self):.2g} ({self.where})"


def compare_with_definition(
    decoder: Decoder,
    params: Params,
    key: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    step_size: float = 1.0,
    batch_size: int = 4,
) -> dict[Strategy, Difference]:
    """Encode random data by every strategy that a decoder admits, and by definition; return the differences.

    Args:
        decoder: its `independent` is the claim.
        params: parameters to test at, away from kinks of the activations.
        key: typed key for random data, uniform in [0, 1] and of the shape of the likelihood's mean, or of the output.
        likelihood, step_size: as for `gon_jax.encode`.
        batch_size: examples; a coupling of examples shows with two.

    Returns:
        For each fast strategy the largest difference of latents, and of the gradient in `params` of the outer loss
        (Eq. 8), relative to the largest entry of the latents, and of the whole gradient; or of the outputs of random
        latents alone and in a batch, if that is larger. Rounding leaves 1e-5 in float32 (up to 1e-2 where
        normalizations follow one another) and 1e-12 in float64; a claim that is wrong, a number near 1. Printed, each
        names the place, such as the leaf of the parameters; parameters that are not floats are left out.

    >>> def centered(w, z, stats=None):
    ...     return z @ w - (z @ w).mean(axis=0), None
    >>> wrong = Decoder(centered, None, (2,), independent=True)  # it is not
    >>> errors = compare_with_definition(wrong, jnp.eye(2), jax.random.key(0))
    >>> all(error > 0.1 for error in errors.values())
    True
    """
    check_decoder(decoder)
    check_key(key)
    batch_size = check_count("batch_size", batch_size)
    check_number("step_size", step_size, above=0)
    decoder = match_output(decoder, likelihood)
    origin = jnp.zeros(decoder.latent_shape)
    z = jax.ShapeDtypeStruct((batch_size, *decoder.latent_shape), origin.dtype)
    mean = getattr(likelihood, "mean", lambda output: output)  # of the shape of the data
    x = jax.random.uniform(key, jax.eval_shape(lambda params, z: mean(decoder.output(params, z)), params, z).shape)

    def outer(params, strategy):
        z = encode_shared(decoder, params, x, origin, likelihood=likelihood, step_size=step_size, strategy=strategy)
        return losses_of(likelihood, decoder.output(params, z), x).mean(), z

    def run(strategy):
        function = jax.value_and_grad(partial(outer, strategy=strategy), has_aux=True, allow_int=True)
        (_, z), gradient = jax.jit(function)(params)
        return {"latents": z, "gradient": gradient}

    latents = jax.random.normal(key, z.shape, z.dtype)
    stats = decoder.apply(params, latents)[1]
    alone = jnp.concatenate([decoder.output(params, latents[i : i + 1], stats) for i in range(batch_size)])
    coupling = _difference(alone, decoder.output(params, latents, stats), "outputs")  # which the origin would hide
    definition = run("definition")
    result: dict[Strategy, Difference] = {}
    for strategy in possible_strategies(decoder, params, batch_size):
        if strategy != "definition":
            ours = run(strategy)
            differences = [_difference(ours[name], definition[name], name) for name in definition]
            result[strategy] = max(coupling, *differences, key=lambda d: math.inf if math.isnan(d) else d)
    return result


def _difference(ours: Any, definition: Any, name: str) -> Difference:
    """Return the largest difference of two pytrees, relative to the largest entry of the second.

    One scale for all leaves: one whose true value is 0, such as a bias before a normalization, holds rounding alone.
    """
    names, differences, largest = [name], [0.0], float(jnp.finfo(jnp.float32).tiny)
    for (path, b), a in zip(jax.tree.leaves_with_path(definition), jax.tree.leaves(ours), strict=True):
        if jnp.issubdtype(b.dtype, jnp.inexact) and b.size:
            names.append(name + jax.tree_util.keystr(path))
            differences.append(float(jnp.abs(a - b).max()))
            largest = max(largest, float(jnp.abs(b).max()))
    worst = int(jnp.argmax(jnp.array(differences)))  # the first NaN, if there is one
    return Difference(differences[worst] / largest, names[worst])
