"""One step of gradient descent, and many of them in one call of the device; both pure."""

import inspect
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from gon_jax.base import Batch, Model, Variables
from gon_jax.data import epoch_order, to_unit
from gon_jax.training.state import Latents, TrainState, latent_by_latent

__all__ = ["order_key", "train_batches", "train_step", "train_steps"]


def train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    *,
    ema_decay: float = 0.0,
    stats_decay: float = 0.98,
    latent_optimizer: optax.GradientTransformation | None = None,
) -> tuple[TrainState, jax.Array]:
    """Make one step of gradient descent on the model's loss; pure.

    Each latent of a training example, where the state holds them, makes a step on the loss of its own example, not on
    its share of the mean: the learning rate of latents means the same for any batch size.

    Args:
        model, optimizer, state: see `init_state`. Any optimizer of optax: those that need the loss or more of it
            (`lbfgs`, `contrib.reduce_on_plateau`, `contrib.sam`) get them, of this batch.
        batch: what the model's loss takes; `batch["x"]` is `[B, ...]`. For models with latents `batch["index"]`, `[B]`,
            are the places of the examples in the training set, no two the same.
        ema_decay: of the average of the parameters, where the state holds one.
        stats_decay: of the averages of batch statistics; until 1 / (1 - decay) steps are made it is their plain mean.
        latent_optimizer: the one that the state was made with.

    Returns:
        The next state, and the loss (a scalar) before the step.
    """
    key = jax.random.fold_in(state.key, state.step)
    own = None if state.latents is None else jax.tree.map(lambda a: a[batch["index"]], state.latents)
    z = None if own is None else own.values

    def loss_fn(params, z):
        extra = {"step": state.step} if z is None else {"step": state.step, "z": z}
        return model.loss(Variables(params, state.stats), extra | batch, key)

    (loss, stats), (gradient, z_gradient) = jax.value_and_grad(loss_fn, (0, 1), has_aux=True)(state.params, z)

    needs = _needs_of(optimizer, loss, gradient, lambda params, *_: loss_fn(params, z)[0])
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params, **needs)
    params = optax.apply_updates(state.params, updates)
    if stats is not None:
        stats = optax.incremental_update(stats, state.stats, jnp.maximum(1 - stats_decay, 1 / (state.step + 1)))
    ema = None if state.ema is None else optax.incremental_update(params, state.ema, 1 - ema_decay)
    latents = None
    if own is not None:
        z_gradient = len(own.values) * z_gradient  # of each example's own loss
        updates, latent_opt_state = latent_by_latent(latent_optimizer).update(z_gradient, own.opt_state, own.values)
        own = Latents(cast(jax.Array, optax.apply_updates(own.values, updates)), latent_opt_state)
        latents = jax.tree.map(lambda a, new: a.at[batch["index"]].set(new), state.latents, own)
    return TrainState(state.step + 1, params, stats, opt_state, state.key, ema, latents), loss


def _needs_of(optimizer, loss, gradient, loss_fn):
    """Return what an optimizer's update takes beside the gradient: of optax, by the names that it has for them."""
    if not isinstance(optimizer, optax.GradientTransformationExtraArgs):
        return {}
    known = {"value": loss, "grad": gradient, "value_fn": loss_fn, "grad_fn": jax.grad(loss_fn)}
    parameters = inspect.signature(optimizer.update).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):  # takes what optax's others take
        return {name: known[name] for name in ("value", "grad", "value_fn")}
    return {parameter.name: known[parameter.name] for parameter in parameters if parameter.name in known}


def train_steps(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    data: Batch,
    num_steps: jax.Array,
    *,
    batch_size: int,
    num_losses: int,
    sharding: jax.sharding.Sharding | None = None,
    **step_options: Any,
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Make `num_steps` steps in one call, shuffling on the device; pure.

    Epoch and position follow from `state.step`, and the order of an epoch from `state.key`, so a run may be cut into
    calls in any way, or resumed, and comes out the same.

    Args:
        model, optimizer, state: see `init_state`.
        data: arrays `[N, ...]`; those of uint8 are made floats in [0, 1] (labels are int32). Batches of their examples
            are the model's batches, with the places of the examples in the data as "index".
        num_steps: an int32 scalar, up to `num_losses`; not static, so that one compilation serves all.
        batch_size: examples per batch; an epoch is `N // batch_size` batches, the rest of N left out of this epoch.
        num_losses: length of the returned losses.
        sharding: of the batches `[B, ...]`, where several devices share them.
        **step_options: of `train_step`.

    Returns:
        The next state; the losses `[num_losses]`, of which the first `num_steps` are set; and whether all parameters
        (and latents) are finite after the last step, which no loss has seen yet.
    """
    num_examples = len(data["x"])
    steps_per_epoch = num_examples // batch_size
    key = order_key(state.key)

    def order_of(step):
        return epoch_order(key, step // steps_per_epoch, num_examples, batch_size)

    def batch_of(i, step, order):
        position = step % steps_per_epoch
        order = jax.lax.cond(position == 0, lambda: order_of(step), lambda: order)
        index = order[position]
        batch = {name: a[index] for name, a in data.items()}
        return batch if sharding is None else jax.lax.with_sharding_constraint(batch, sharding), index, order

    return _loop(model, optimizer, state, batch_of, order_of(state.step), num_steps, num_losses, step_options)


def train_batches(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batches: Batch,
    num_steps: jax.Array,
    **step_options: Any,
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Make `num_steps` steps in one call, on batches that are given; pure.

    Args:
        model, optimizer, state, **step_options: as for `train_steps`.
        batches: arrays `[n, B, ...]`, and as "index" the places of their examples in the data, int32 `[n, B]`. With
            those of `epoch_order`, the steps are those of `train_steps`.
        num_steps: an int32 scalar, up to n.

    Returns:
        As `train_steps`, with losses `[n]`.
    """

    def batch_of(i, step, order):
        batch = {name: a[i] for name, a in batches.items()}
        return batch, batch.pop("index"), order

    return _loop(model, optimizer, state, batch_of, (), num_steps, len(batches["index"]), step_options)


def order_key(key: jax.Array) -> jax.Array:
    """Return the key of `epoch_order`, given that of a `TrainState`."""
    return jax.random.fold_in(key, 2**32 - 1)  # no step's number, so no step's key


def _loop(model, optimizer, state, batch_of, order, num_steps, num_losses, step_options):
    """Make steps on what `batch_of(i, step, order) -> (batch, index, order)` gives."""

    def body(i, carry):
        state, order, losses, finite = carry
        batch, index, order = batch_of(i, state.step, order)
        batch = {name: to_unit(a) if a.dtype == jnp.uint8 else a for name, a in batch.items()}
        state, loss = train_step(model, optimizer, state, batch | {"index": index}, **step_options)
        if state.latents is not None:  # those of the batch: to look at all takes longer than many steps
            finite &= jnp.isfinite(state.latents.values[index]).all()
        return state, order, losses.at[i].set(loss), finite

    carry = (state, order, jnp.zeros(num_losses), jnp.array(True))
    state, _, losses, finite = jax.lax.fori_loop(0, num_steps, body, carry)
    finite &= jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]).all()
    return state, losses, finite
