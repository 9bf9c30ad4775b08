"""What goes wrong in training, with its likely cause: numbers that are not finite, latents that say nothing."""

import warnings
from typing import Any

import jax
import numpy as np

from gon_jax.base import Model, Variables
from gon_jax.data.splits import spread_indices
from gon_jax.inference import encode_batch
from gon_jax.training.state import TrainState

__all__ = ["NonFiniteLossError", "check_finite", "check_latents", "check_state"]

AT_ORIGIN = (
    "a norm, a square root or a division in the decoder whose derivative at z = 0 is not finite: add a small constant "
    "inside it"
)


class NonFiniteLossError(FloatingPointError):
    """A latent, the loss or a parameter is infinite or not a number; the steps since the last report are lost."""


def check_state(model: Model, state: TrainState, num_examples: int, ema_decay: float) -> None:
    """Refuse a state that does not belong to these data and options, or is used up.

    Raises:
        ValueError: with what is to be given in its place.
    """
    if any(isinstance(leaf, jax.Array) and leaf.is_deleted() for leaf in jax.tree.leaves(state)):
        raise ValueError(
            "expected a state that no call of fit was given before, got one that is used up (donated); take what the "
            "last call returned"
        )
    if (state.ema is None) != (ema_decay == 0):
        had = "none" if state.ema is None else "one"
        raise ValueError(
            f"expected a state with an average of the parameters where ema_decay is above 0 and none else, got {had} "
            f"with ema_decay={ema_decay}; continue with the ema_decay that it was trained with"
        )
    num_latents = 0 if state.latents is None else len(state.latents.values)
    if model.capabilities.init_latents is not None and num_latents != num_examples:
        raise ValueError(
            f"expected a state with a latent for each of the {num_examples} examples, got {num_latents}; continue with "
            "the data that it was trained on"
        )


def check_latents(model: Model, params: Any, x: Any) -> None:
    """Encode a few examples `x [N, ...]` before the first step.

    Raises:
        NonFiniteLossError: their latents are not finite.

    Warns:
        UserWarning: their latents are all the same, those of a decoder that is flat at the origin.
    """
    if model.capabilities.init_latents is not None:  # of the training data, and no gradients
        return
    x = np.asarray(x[spread_indices(len(x), 8)])
    z = np.asarray(model.jit(encode_batch, quick=True)(Variables(params), None, x))
    if not np.isfinite(z).all():
        bad = z[~np.isfinite(z)][0]
        raise NonFiniteLossError(f"expected finite latents to start from, got {bad}; the likely cause is {AT_ORIGIN}")
    if (z == z[:1]).all() and (x != x[:1]).any():
        warnings.warn(
            "expected latents that depend on the data, got the same for all before the first step, and training may "
            "never start; the likely cause is an activation with slope 0 at 0, such as jax.nn.relu under batch "
            "normalization with a shift of 0, or a last layer that starts at 0: take activation 'relu' by name "
            "(gon_jax.ops.activations.relu), 'elu', or start from other parameters",
            stacklevel=3,
        )


def check_finite(losses: np.ndarray, finite: jax.Array | bool, step: int) -> None:
    """Refuse losses of the steps after `step`, or a state, that are not finite.

    Raises:
        NonFiniteLossError: with the step at which it began.
    """
    if finite and np.isfinite(losses).all():
        return
    good = int(np.isfinite(losses).cumprod().sum())
    what = f"the loss {losses[good]}" if good < len(losses) else "parameters that are not"
    raise NonFiniteLossError(
        f"expected a finite loss and parameters, got {what} at step {step + min(good + 1, len(losses))}; the "
        "likely cause is a learning rate or latent step size that is too large: lower it, or clip gradients"
        + (f"; or, since it is the first step, {AT_ORIGIN}" if step == 0 and good < 2 else "")
    )
