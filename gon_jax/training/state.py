"""All that the next step needs, and what it starts from: parameters, optimizers, latents of the training data."""

import math
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gon_jax.arguments import check_choice, check_count, check_key, check_kind, check_number, shown
from gon_jax.base import Model, Variables
from gon_jax.choices import LATENT_LEARNING_RATE, Schedule
from gon_jax.memory import check_memory

__all__ = ["LATENT_LEARNING_RATE", "Latents", "Schedule", "TrainState", "check_size", "init_state", "make_optimizer"]


class Latents(NamedTuple):
    """A latent for each of N training examples, and its optimizer's state; a step reads and writes those of its batch.

    Attributes:
        values: `[N, *latent]`.
        opt_state: a state for each latent, every array `[N, ...]`: each knows how many steps it has made itself.
    """

    values: jax.Array
    opt_state: optax.OptState


class TrainState(NamedTuple):
    """All that the next step needs, arrays only: what a checkpoint holds.

    Attributes:
        step: steps made, int32.
        params: what is optimized.
        stats: averages of the model's batch statistics, or `None`.
        opt_state: the optimizer's.
        key: typed key from which each step's randomness and each epoch's order follow; it never changes.
        ema: exponential moving average of the parameters, or `None`.
        latents: those of the training data, for models that keep one for each example, else `None`.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: optax.OptState
    key: jax.Array
    ema: Any
    latents: Latents | None = None

    @property
    def variables(self) -> Variables:
        """What to evaluate: the averaged parameters where there are any."""
        return Variables(self.params if self.ema is None else self.ema, self.stats)


def make_optimizer(
    learning_rate: float = 2e-4,
    *,
    num_steps: int | None = None,
    schedule: Schedule = "constant",
    warmup_steps: int = 0,
    clip_norm: float | None = None,
    weight_decay: float = 0.0,
    epsilon: float = 1e-8,
) -> optax.GradientTransformation:
    """Return Adam with what is usually wanted around it, all of it optax's.

    The same arguments give the same object, so that programs compiled for it are found again.

    Args:
        learning_rate: the highest.
        num_steps: length of the schedule, for "cosine".
        schedule: "constant", or "cosine" down to 0 at `num_steps`.
        warmup_steps: steps of linear rise from 0 before either.
        clip_norm: largest global norm of the gradient, or `None`.
        weight_decay: decoupled, as in AdamW.
        epsilon: Adam's. The authors' loss is a mean over H W pixels, ours a sum, so their 1e-8 is our 1e-8 H W.

    Raises:
        ValueError: for an unknown schedule, "cosine" without `num_steps`, or a number out of its range.

    >>> optimizer = make_optimizer(1e-3, schedule="cosine", num_steps=1000, warmup_steps=100, clip_norm=1.0)
    """
    check_choice("schedule", schedule, ("constant", "cosine"))
    check_number("learning_rate", learning_rate, least=0)
    check_number("weight_decay", weight_decay, least=0)
    check_number("epsilon", epsilon, above=0)
    check_count("warmup_steps", warmup_steps, 0)
    if num_steps is not None:
        check_count("num_steps", num_steps)
    if clip_norm is not None:
        check_number("clip_norm", clip_norm, above=0)
    return _adam(learning_rate, num_steps, schedule, warmup_steps, clip_norm, weight_decay, epsilon)


@cache
def _adam(learning_rate, num_steps, schedule, warmup_steps, clip_norm, weight_decay, epsilon):
    if schedule == "cosine":
        if num_steps is None:
            raise ValueError("expected num_steps for schedule 'cosine', got None; it is the length of the schedule")
        start = 0.0 if warmup_steps else learning_rate
        rate = optax.warmup_cosine_decay_schedule(start, learning_rate, warmup_steps, num_steps)
    else:
        rate = optax.linear_schedule(0.0, learning_rate, warmup_steps) if warmup_steps else learning_rate
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    return optax.chain(clip, optax.adamw(rate, eps=epsilon, weight_decay=weight_decay))


def latent_by_latent(optimizer: optax.GradientTransformation | None) -> optax.GradientTransformation:
    """Return the optimizer of latents `[B, *latent]`: each is optimized by itself and has a state of its own."""
    optimizer = optimizer or make_optimizer(LATENT_LEARNING_RATE)
    return optax.GradientTransformation(jax.vmap(optimizer.init), jax.vmap(optimizer.update))


def check_size(model: Model, num_examples: int = 0) -> None:
    """Refuse a model that would not fit into memory in training, before any of it is computed.

    Args:
        model: any model.
        num_examples: of the training data, for models with a latent for each.

    Raises:
        ValueError: its parameters, their gradient and the two averages of Adam would not fit.
    """
    num = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)).params))
    if model.capabilities.init_latents is not None:
        num += num_examples * math.prod(model.latent_shape)
    what = f"{num:,} parameters, their gradient and Adam's averages"
    check_memory(16 * num, what, "take a smaller latent_shape, base_channels or hidden_dim")


def check_optimizer(name: str, optimizer: optax.GradientTransformation) -> None:
    """Refuse what is no optimizer of optax.

    Raises:
        TypeError: it is none.
    """
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise TypeError(f"expected {name} of optax, optax.adam(1e-3) say, got {shown(optimizer)}")


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    *,
    ema_decay: float = 0.0,
    num_examples: int | None = None,
    latent_optimizer: optax.GradientTransformation | None = None,
) -> TrainState:
    """Return the state before the first step.

    Args:
        model: any model.
        optimizer: any of optax's.
        key: typed key; initialization and training take different parts of it.
        ema_decay: above 0, the state also holds an average of the parameters.
        num_examples: N, for models with a latent for each training example.
        latent_optimizer: of those latents, each by itself; by default `make_optimizer(LATENT_LEARNING_RATE)`.

    Raises:
        ValueError: for such a model without `num_examples`.
    """
    check_kind("model", model, Model, "gon_jax.gon(decoder) makes one")
    check_optimizer("optimizer", optimizer)
    check_key(key)
    init_key, train_key = jax.random.split(key)
    latents, init_latents = None, model.capabilities.init_latents
    if init_latents is not None:
        if num_examples is None:
            raise ValueError("expected num_examples for a model with a latent for each training example, got None")
        values = init_latents(jax.random.fold_in(train_key, 2**32 - 2), num_examples)  # no step's number
        latents = Latents(values, latent_by_latent(latent_optimizer).init(values))
    params, stats = model.init(init_key)
    ema = jax.tree.map(jnp.copy, params) if ema_decay > 0 else None
    return TrainState(jnp.int32(0), params, stats, optimizer.init(params), train_key, ema, latents)
