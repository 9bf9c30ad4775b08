"""Training: one pure step, many of them in one call, and `fit`, the loop around them.

The loop is short on purpose: read it, and fork it where it doesn't do what you need.
"""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm.auto import tqdm

from gon_jax.data import check_images, epoch_order, to_unit
from gon_jax.metrics import evaluate
from gon_jax.models import Batch, Model, Variables

Schedule = Literal["constant", "cosine"]
LATENT_LEARNING_RATE = 0.05  # of Adam on the latents of the training data, for models that keep them


class Latents(NamedTuple):
    """A latent for each of N training data, and what its optimiser keeps; a step reads and writes a batch's rows alone.

    Attributes:
      values: `[N, *latent]`.
      opt_state: a state for each datum, every array `[N, ...]`: a row knows how many steps it has made itself.
    """

    values: jax.Array
    opt_state: optax.OptState


class TrainState(NamedTuple):
    """All that the next step needs, arrays only: what a checkpoint holds.

    Attributes:
      step: steps made, int32.
      params: what is optimised.
      stats: averages of the model's batch statistics, or `None`.
      opt_state: the optimiser's.
      key: typed key from which each step's randomness and each epoch's order follow; it never changes.
      ema: exponential moving average of the parameters, or `None`.
      latents: those of the training data, for models that keep one for each (`Model.latents`), else `None`.
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


class Report(NamedTuple):
    """What a reader wants to know after some steps.

    Attributes:
      step: steps made so far.
      losses: training loss of each step since the last report.
      state: the state now; it is donated to the next call, so save it before returning and don't keep it.
      validation: `evaluate`'s figures where this was a step to validate at, else `None`.
      seconds: time spent in training steps so far (compilation and validation not counted).
      stopping: this is the last report: all steps are made, or Ctrl-C or SIGTERM came.
    """

    step: int
    losses: np.ndarray
    state: TrainState
    validation: dict[str, float] | None
    seconds: float
    stopping: bool


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
      state: the last state; `state.variables` is what models take.
      history: one dict a report: `step`, `loss` (mean since the last report), and at times `validation.<figure>`.
      seconds_training: in training steps alone, of this call.
      seconds_compile: to compile them.
      interrupted: Ctrl-C or SIGTERM ended it early, after a whole step; or before the first, while it was compiled.
    """

    state: TrainState
    history: list[dict[str, float]]
    seconds_training: float
    seconds_compile: float
    interrupted: bool


class NonFiniteLossError(FloatingPointError):
    """The loss or a parameter became infinite or not a number; the steps since the last report are lost."""


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

    Args:
      learning_rate: the highest.
      num_steps: length of the schedule, for "cosine".
      schedule: "constant", or "cosine" down to 0 at `num_steps`.
      warmup_steps: steps of linear rise from 0 before either.
      clip_norm: largest global norm of the gradient, or `None`.
      weight_decay: decoupled, as in AdamW.
      epsilon: Adam's. The release's loss is a mean over H W pixels, ours a sum, so its 1e-8 is our 1e-8 H W.

    Raises:
      ValueError: for an unknown schedule, or "cosine" without `num_steps`.

    >>> optimizer = make_optimizer(1e-3, schedule="cosine", num_steps=1000, warmup_steps=100, clip_norm=1.0)
    """
    if schedule == "cosine":
        if num_steps is None:
            raise ValueError("expected num_steps for schedule 'cosine', got None; it is the length of the schedule")
        start = 0.0 if warmup_steps else learning_rate
        rate = optax.warmup_cosine_decay_schedule(start, learning_rate, warmup_steps, num_steps)
    elif schedule == "constant":
        rate = optax.linear_schedule(0.0, learning_rate, warmup_steps) if warmup_steps else learning_rate
    else:
        raise ValueError(f"expected schedule 'constant' or 'cosine', got {schedule!r}")
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    return optax.chain(clip, optax.adamw(rate, eps=epsilon, weight_decay=weight_decay))


def _row_by_row(optimizer):
    """Return the optimiser of latents `[B, *latent]`: each row is optimised by itself and has a state of its own."""
    optimizer = optimizer or make_optimizer(LATENT_LEARNING_RATE)
    return optax.GradientTransformation(jax.vmap(optimizer.init), jax.vmap(optimizer.update))


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
      key: typed key; initialisation and training take different parts of it.
      ema_decay: above 0, the state also holds an average of the parameters.
      num_examples: N, for models with a latent for each training datum.
      latent_optimizer: of those latents, each by itself; by default `make_optimizer(LATENT_LEARNING_RATE)`.

    Raises:
      ValueError: for such a model without `num_examples`.
    """
    if model.latents is not None and num_examples is None:
        raise ValueError("expected num_examples for a model with a latent for each training datum, got None")
    init_key, train_key = jax.random.split(key)
    params, stats = model.init(init_key)
    ema = jax.tree.map(jnp.copy, params) if ema_decay > 0 else None
    latents = None
    if model.latents is not None:
        values = model.latents(jax.random.fold_in(train_key, 2**32 - 2), num_examples)  # no step's number
        latents = Latents(values, _row_by_row(latent_optimizer).init(values))
    return TrainState(jnp.int32(0), params, stats, optimizer.init(params), train_key, ema, latents)


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

    Latents of training data, where the state holds them, make a step each on their own example's loss, not on its share
    of the mean: their learning rate means the same for any batch size.

    Args:
      model, optimizer, state: see `init_state`.
      batch: what the model's loss takes; `batch["x"]` is `[B, ...]`. For models with latents `batch["index"]`, `[B]`,
        are the places of the examples in the training set, no two the same.
      ema_decay: of the average of the parameters, where the state holds one.
      stats_decay: of the averages of batch statistics; until 1 / (1 - decay) steps are made it is their plain mean.
      latent_optimizer: the one that the state was made with.

    Returns:
      The next state, and the loss (a scalar) before the step.
    """
    key = jax.random.fold_in(state.key, state.step)
    rows = None if state.latents is None else jax.tree.map(lambda a: a[batch["index"]], state.latents)
    z = None if rows is None else rows.values

    def loss_fn(params, z):
        extra = {"step": state.step} if z is None else {"step": state.step, "z": z}
        return model.loss(Variables(params, state.stats), extra | batch, key)

    (loss, stats), (gradient, z_gradient) = jax.value_and_grad(loss_fn, (0, 1), has_aux=True)(state.params, z)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    if stats is not None:
        stats = optax.incremental_update(stats, state.stats, jnp.maximum(1 - stats_decay, 1 / (state.step + 1)))
    ema = None if state.ema is None else optax.incremental_update(params, state.ema, 1 - ema_decay)
    latents = None
    if rows is not None:
        updates, row_states = _row_by_row(latent_optimizer).update(len(z) * z_gradient, rows.opt_state, z)
        rows = Latents(optax.apply_updates(z, updates), row_states)
        latents = jax.tree.map(lambda a, new: a.at[batch["index"]].set(new), state.latents, rows)
    return TrainState(state.step + 1, params, stats, opt_state, state.key, ema, latents), loss


def train_steps(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    data: Batch,
    num_steps: jax.Array,
    *,
    batch_size: int,
    most_steps: int,
    **step_options,
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Make `num_steps` steps in one call, shuffling on the device; pure.

    Epoch and position follow from `state.step`, and the order of an epoch from `state.key`, so a run may be cut into
    calls in any way, or resumed, and comes out the same.

    Args:
      model, optimizer, state: see `init_state`.
      data: arrays `[N, ...]`, those of uint8 made floats in [0, 1] (labels are int32); batches of their rows are the
        model's batches, with the rows' places in the data as "index".
      num_steps: an int32 scalar, up to `most_steps`; not static, so that one compilation serves all.
      batch_size: rows a batch; an epoch is `N // batch_size` batches, the rest of N left out of this epoch.
      most_steps: length of the returned losses.
      **step_options: of `train_step`.

    Returns:
      The next state; the losses `[most_steps]`, of which the first `num_steps` are set; and whether all parameters (and
      latents) are finite after the last step, which no loss has seen yet.
    """
    num_examples = len(data["x"])
    steps_per_epoch = num_examples // batch_size
    order_key = jax.random.fold_in(state.key, 2**32 - 1)  # no step's number, so no step's key

    def order_of(step):
        return epoch_order(order_key, step // steps_per_epoch, num_examples, batch_size)

    def body(i, carry):
        state, order, losses, finite = carry
        position = state.step % steps_per_epoch
        order = jax.lax.cond(position == 0, lambda: order_of(state.step), lambda: order)
        index = order[position]
        batch = {name: rows[index] for name, rows in data.items()}
        batch = {name: to_unit(rows) if rows.dtype == jnp.uint8 else rows for name, rows in batch.items()}
        state, loss = train_step(model, optimizer, state, batch | {"index": index}, **step_options)
        if state.latents is not None:  # the batch's rows alone: to look at all takes longer than many steps
            finite &= jnp.isfinite(state.latents.values[index]).all()
        return state, order, losses.at[i].set(loss), finite

    carry = (state, order_of(state.step), jnp.zeros(most_steps), jnp.array(True))
    state, _, losses, finite = jax.lax.fori_loop(0, num_steps, body, carry)
    finite &= jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]).all()
    return state, losses, finite


@contextmanager
def _stop_requested():
    """Yield a function that tells whether Ctrl-C or SIGTERM has come; a second one acts as usual."""
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request(number, frame):
        requested.set()
        for n, handler in before.items():
            signal.signal(n, handler)

    for number in before:
        signal.signal(number, request)
    try:
        yield requested.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def fit(
    model: Model,
    images,
    num_steps: int,
    key: jax.Array | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
    latent_optimizer: optax.GradientTransformation | None = None,
    batch_size: int = 64,
    validation=None,
    validate_every: int | None = None,
    ema_decay: float = 0.0,
    stats_decay: float = 0.98,
    state: TrainState | None = None,
    on_report: Callable[[Report], None] | None = None,
    report_every: int = 50,
    progress: bool = True,
) -> FitResult:
    """Train a model on images: the one call for a notebook, and what the command `gon train` does.

    Args:
      model: any model.
      images: `[N, H, W, C]`, uint8 or floats in [0, 1]; or a dict of arrays `[N, ...]` with the images as "x".
      num_steps: steps to make in all, those of a given `state` included.
      key: typed key; the whole run follows from it. Not needed with `state`.
      optimizer: any of optax's; by default `make_optimizer()`.
      latent_optimizer: of the latents of the training data, where the model keeps them; see `init_state`.
      batch_size: images a step.
      validation: images to evaluate on every `validate_every` steps and at the end; or a dict as `images`, of which a
        "target" is what their reconstructions are compared with.
      validate_every: by default once an epoch.
      ema_decay: above 0, also average the parameters; the average is then what is evaluated.
      stats_decay: of the averages of batch statistics.
      state: continue from this one, as if never interrupted. It is used up (donated).
      on_report: called at least every `report_every` steps; the place to log and to save.
      report_every: steps in one call of the device at most.
      progress: show a progress bar.

    Returns:
      A `FitResult`. Ctrl-C or SIGTERM end it early with what was learned so far.

    Raises:
      ValueError: for images of the wrong shape or range, or fewer than a batch, before any work.
      NonFiniteLossError: if the loss is no longer a finite number.

    >>> from gon_jax.models import gon
    >>> from gon_jax.networks import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> images = np.zeros((16, 8, 8, 1), np.uint8)
    >>> result = fit(model, images, 2, jax.random.key(0), batch_size=8, progress=False)
    >>> int(result.state.step)
    2
    """
    data = dict(images) if isinstance(images, dict) else {"x": images}
    check_images(data["x"], model.data_shape)
    num_examples = len(data["x"])
    if not 1 <= batch_size <= num_examples:
        raise ValueError(f"expected a batch size from 1 to {num_examples}, the number of images; got {batch_size}")
    if validation is not None:
        validation = dict(validation) if isinstance(validation, dict) else {"x": validation}
        check_images(validation["x"], model.data_shape)
    if state is None and key is None:
        raise ValueError("expected a key (jax.random.key(0), say) or a state to continue from, got neither")
    if state is not None and model.latents is not None:
        num_latents = 0 if state.latents is None else len(state.latents.values)
        if num_latents != num_examples:
            raise ValueError(
                f"expected a state with a latent for each of the {num_examples} images, got {num_latents}; "
                "continue with the images that it was trained on"
            )
    optimizer = optimizer or make_optimizer()
    validate_every = validate_every or num_examples // batch_size
    data = jax.device_put(data)
    steps = partial(train_steps, model, optimizer, batch_size=batch_size, most_steps=report_every)
    steps = partial(steps, ema_decay=ema_decay, stats_decay=stats_decay, latent_optimizer=latent_optimizer)

    with _stop_requested() as stop_requested:
        if state is None:
            options = {"ema_decay": ema_decay, "num_examples": num_examples, "latent_optimizer": latent_optimizer}
            state = init_state(model, optimizer, key, **options)
        start = time.perf_counter()
        compiled = jax.jit(steps, donate_argnums=0).lower(state, data, jnp.int32(0)).compile()
        seconds_compile, seconds_training = time.perf_counter() - start, 0.0

        history, step = [], int(state.step)
        stopping = step >= num_steps or stop_requested()
        with tqdm(total=num_steps, initial=step, unit="step", disable=not progress, dynamic_ncols=True) as bar:
            while not stopping:
                count = min(report_every, num_steps - step, validate_every - step % validate_every)
                start = time.perf_counter()
                state, losses, finite = compiled(state, data, jnp.int32(count))
                losses, finite = np.asarray(losses)[:count], bool(finite)
                seconds_training += time.perf_counter() - start
                if not (finite and np.isfinite(losses).all()):
                    good = int(np.isfinite(losses).cumprod().sum())
                    what = f"the loss {losses[good]}" if good < count else "parameters that are not"
                    raise NonFiniteLossError(
                        f"expected a finite loss and parameters, got {what} at step {step + min(good + 1, count)}; "
                        "the likely cause is a learning rate or latent step size that is too large: lower it, or clip "
                        "gradients"
                    )
                step += count
                figures = None
                if validation is not None and (step % validate_every == 0 or step == num_steps):
                    figures = evaluate(model, state.variables, validation["x"], targets=validation.get("target"))
                row = {"step": step, "loss": float(losses.mean())}
                row |= {f"validation.{name}": value for name, value in (figures or {}).items()}
                history.append(row)
                bar.update(count)
                bar.set_postfix({n: f"{v:.4g}" for n, v in row.items() if n in ("loss", "validation.squared_error")})
                stopping = step == num_steps or stop_requested()
                if on_report is not None:
                    on_report(Report(step, losses, state, figures, seconds_training, stopping))
    return FitResult(state, history, seconds_training, seconds_compile, interrupted=step < num_steps)
