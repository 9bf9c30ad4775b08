"""The one rule for the latent step size of every model."""

import math

import jax
import jax.numpy as jnp

from gon_jax.base import Decoder
from gon_jax.likelihoods import Likelihood

__all__ = ["default_step_size"]

AUTHORS_BATCH_SIZE = 64


def default_step_size(
    decoder: Decoder,
    likelihood: Likelihood,
    data_shape: tuple[int, ...],
    *,
    variational: bool = False,
    num_steps: int = 1,
) -> float:
    """Return the step size s of z = -s grad, where the gradient is that of a loss summed over an example.

    The authors' losses are means over a batch of 64, and over more, which is a step size here:

    | model and decoder | s | whose |
    |---|---|---|
    | variational | 1 / 64 | the authors' second script |
    | a decoder with a `step_size` of its own, such as `conv_decoder(norm="none")` | that | measured, see there |
    | a decoder of coordinates, data `[*spatial, C]` | 1 / (64 C) | the authors' third script |
    | any other, data `[*spatial, C]` | 1 / (64 prod(spatial)) | the authors' first script |
    | the last two with several steps | a tenth of it | the paper's latent learning rate of 0.1 |

    A decoder's own step size is meant for the squared error; a Gaussian likelihood multiplies it by 2 scale^2, which
    gives the same latents.

    Args:
        decoder: a record.
        likelihood: the inner loss.
        data_shape: of one example.
        variational: whether the model is a `vgon`.
        num_steps: of the inner loop.

    >>> from gon_jax.likelihoods import squared_error
    >>> round(1 / default_step_size(Decoder(None, None, (2,)), squared_error, (28, 28, 1)))  # 64 * 28 * 28
    50176
    """
    if variational:
        return 1 / AUTHORS_BATCH_SIZE
    if decoder.step_size is not None:
        if likelihood.name != "gaussian" or likelihood.fisher is None:
            return decoder.step_size
        with jax.ensure_compile_time_eval():
            return decoder.step_size * 2 / float(likelihood.fisher(jnp.zeros(1))[0])
    *spatial, num_channels = data_shape
    divisor = math.prod(spatial) if decoder.at is None else num_channels
    return (1.0 if num_steps == 1 else 0.1) / (AUTHORS_BATCH_SIZE * divisor)
