r"""Latents by least squares: one damped Gauss-Newton step from a shared origin, in place of a gradient step.

From the linearization of `linearization.py`, with W the loss's Fisher information in the output (2 for the squared
error) and lambda a damping,

$$ z_b = z_0 - (J^T W J + \lambda I)^{-1} J^T v_b, $$

the minimum of the loss with F made linear at z_0 and $\tfrac{\lambda}{2} |z - z_0|^2$ added. For the squared error
W = 2 and v = -2 (x - F_0): ridge regression, z = z_0 + (J^T J + lambda/2 I)^-1 J^T (x - F_0). For a Gaussian likelihood
it is the posterior mean of probabilistic PCA at the origin, with prior N(z_0, I / lambda). Under batch statistics the
two blocks (deviations, mean) are solved apart, which is exact.
"""

from functools import partial

import jax
import jax.numpy as jnp

from gon_jax.base import Decoder, LikelihoodFn, Params, match_output
from gon_jax.likelihoods import squared_error
from gon_jax.linearization import AffineEncoder, apply_matrix, at_origin, decoder_jacobian, jacobian_at

__all__ = ["least_squares_encoder"]


def _normal(jacobian, weight):
    """Return J^T W J `[k, k]` of `[*latent, ...]`; `weight` `[...]` is W's diagonal."""
    rows = jacobian.reshape(-1, weight.size)
    return jnp.matmul(rows * weight.reshape(1, -1), rows.T, precision="highest")  # the inverse multiplies rounding


def _damped_inverse(jacobian, normal, damping):
    """Return (J^T W J + damping I)^-1 J^T, of J's shape."""
    damped = normal + damping * jnp.eye(len(normal), dtype=normal.dtype)
    rows = jacobian.reshape(len(normal), -1)
    return jax.scipy.linalg.solve(damped, rows, assume_a="pos").reshape(jacobian.shape)


def least_squares_encoder(
    decoder: Decoder,
    params: Params,
    origin: jax.Array,
    *,
    likelihood: LikelihoodFn = squared_error,
    damping: float | jax.Array = 1.0,
    relative_damping: float | jax.Array = 0.0,
) -> AffineEncoder:
    """Return the encoder that takes one damped Gauss-Newton step from `origin`.

    Args:
        decoder, params, origin: as for `gon_jax.linearization.gradient_encoder`.
        likelihood: with Fisher information, as `squared_error`, `gaussian(...)` and `bernoulli` have.
        damping: lambda, in units of W times the square of output per latent; may be a parameter to be learned.
        relative_damping: adds this many times the mean eigenvalue of J^T W J to lambda, for decoders whose J changes
            its scale in training (by 10^4 under batch normalization, whose output does not depend on the scale of z).

    Raises:
        ValueError: for a decoder that is not independent, or a likelihood without Fisher information.

    >>> linear = Decoder(lambda w, z, stats=None: (z @ w, None), None, (1,), independent=True)
    >>> encoder = least_squares_encoder(linear, jnp.array([[1.0, 0.0, 2.0]]), jnp.zeros(1), damping=2.0)
    >>> v = -2 * jnp.ones((1, 3))  # of x = 1 and F(0) = 0
    >>> round(float(encoder.encode(v)[0, 0]), 5)  # 3 / (5 + damping / 2)
    0.5
    """
    if not decoder.independent:
        raise ValueError(
            "expected an independent decoder, got Decoder(..., independent=False); encode by the gradient, or say "
            "independent=True if an example's output depends on its own latent alone"
        )
    fisher = getattr(likelihood, "fisher", None)
    if fisher is None:
        raise ValueError(
            f"expected a likelihood that knows its Fisher information, got {likelihood!r}; "
            "give `Likelihood(..., fisher=...)`, or encode by the gradient"
        )
    decoder = match_output(decoder, likelihood)
    output, jacobian = decoder_jacobian(decoder, params, origin)
    weight = fisher(output)
    normal = _normal(jacobian, weight)
    damping = damping + relative_damping * jnp.trace(normal) / len(normal)
    matrix = _damped_inverse(jacobian, normal, damping)
    live = at_origin(decoder, params, origin)[1]
    if live is None:
        return AffineEncoder(origin, output, partial(apply_matrix, matrix), None, matrix)
    mean_jacobian = jacobian_at(live, origin)[1]
    mean_matrix = _damped_inverse(mean_jacobian, _normal(mean_jacobian, weight), damping)

    def apply_to_mean(mean):
        return apply_matrix(mean_matrix, mean[None])[0]

    return AffineEncoder(origin, output, partial(apply_matrix, matrix), apply_to_mean, matrix)
