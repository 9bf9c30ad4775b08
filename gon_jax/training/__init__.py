"""Training: one pure step, many of them in one call, and `fit`, the loop around them.

The loop is short on purpose: read it, and fork it where it doesn't do what you need.
"""

from gon_jax.training.diagnosis import NonFiniteLossError
from gon_jax.training.loop import FitResult, Report, fit
from gon_jax.training.state import (
    LATENT_LEARNING_RATE,
    Latents,
    Schedule,
    TrainState,
    check_size,
    init_state,
    make_optimizer,
)
from gon_jax.training.step import train_step, train_steps

__all__ = [
    "LATENT_LEARNING_RATE",
    "FitResult",
    "Latents",
    "NonFiniteLossError",
    "Report",
    "Schedule",
    "TrainState",
    "check_size",
    "fit",
    "init_state",
    "make_optimizer",
    "train_step",
    "train_steps",
]
