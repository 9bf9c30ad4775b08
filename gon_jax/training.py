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


class TrainState(NamedTuple):
    """All that the next step needs, arrays only: what a checkpoint holds.

    Attributes:
      step: steps made, int32.
      params: what is optimised.
      stats: averages of the model's batch statistics, or `None`.
      opt_state: the optimiser's.
      key: typed key from which each step's randomness and each epoch's order follow; it never changes.
      ema: exponential moving average of the parameters, or `None`.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: optax.OptState
    key: jax.Array
    ema: Any

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


def init_state(
    model: Model, optimizer: optax.GradientTransformation, key: jax.Array, *, ema_decay: float = 0.0
) -> TrainState:
    """Return the state before the first step.

    Args:
      model: any model.
      optimizer: any of optax's.
      key: typed key; initialisation and training take different parts of it.
      ema_decay: above 0, the state also holds an average of the parameters.
    """
    init_key, train_key = jax.random.split(key)
    params, stats = model.init(init_key)
    ema = jax.tree.map(jnp.copy, params) if ema_decay > 0 else None
    return TrainState(jnp.int32(0), params, stats, optimizer.init(params), train_key, ema)


def train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    *,
    ema_decay: float = 0.0,
    stats_decay: float = 0.98,
) -> tuple[TrainState, jax.Array]:
    """Make one step of gradient descent on the model's loss; pure.

    Args:
      model, optimizer, state: see `init_state`.
      batch: what the model's loss takes; `batch["x"]` is `[B, ...]`.
      ema_decay: of the average of the parameters, where the state holds one.
      stats_decay: of the averages of batch statistics; until 1 / (1 - decay) steps are made it is their plain mean.

    Returns:
      The next state, and the loss (a scalar) before the step.
    """
    key = jax.random.fold_in(state.key, state.step)

    def loss_fn(params):
        return model.loss(Variables(params, state.stats), {"step": state.step} | batch, key)

    (loss, stats), gradient = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    if stats is not None:
        stats = optax.incremental_update(stats, state.stats, jnp.maximum(1 - stats_decay, 1 / (state.step + 1)))
    ema = None if state.ema is None else optax.incremental_update(params, state.ema, 1 - ema_decay)
    return TrainState(state.step + 1, params, stats, opt_state, state.key, ema), loss


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
      data: arrays `[N, ...]`, `data["x"]` uint8 or floats in [0, 1]; batches of their rows are the model's batches.
      num_steps: an int32 scalar, up to `most_steps`; not static, so that one compilation serves all.
      batch_size: rows a batch; an epoch is `N // batch_size` batches, the rest of N left out of this epoch.
      most_steps: length of the returned losses.
      **step_options: of `train_step`.

    Returns:
      The next state; the losses `[most_steps]`, of which the first `num_steps` are set; and whether all parameters are
      finite after the last step, which no loss has seen yet.
    """
    num_examples = len(data["x"])
    steps_per_epoch = num_examples // batch_size
    order_key = jax.random.fold_in(state.key, 2**32 - 1)  # no step's number, so no step's key

    def order_of(step):
        return epoch_order(order_key, step // steps_per_epoch, num_examples, batch_size)

    def body(i, carry):
        state, order, losses = carry
        position = state.step % steps_per_epoch
        order = jax.lax.cond(position == 0, lambda: order_of(state.step), lambda: order)
        batch = {name: rows[order[position]] for name, rows in data.items()}
        state, loss = train_step(model, optimizer, state, batch | {"x": to_unit(batch["x"])}, **step_options)
        return state, order, losses.at[i].set(loss)

    carry = (state, order_of(state.step), jnp.zeros(most_steps))
    state, _, losses = jax.lax.fori_loop(0, num_steps, body, carry)
    finite = jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params)]).all()
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
      batch_size: images a step.
      validation: images to evaluate on every `validate_every` steps and at the end.
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
        check_images(validation, model.data_shape)
    if state is None and key is None:
        raise ValueError("expected a key (jax.random.key(0), say) or a state to continue from, got neither")
    optimizer = optimizer or make_optimizer()
    validate_every = validate_every or num_examples // batch_size
    data = jax.device_put(data)
    steps = partial(train_steps, model, optimizer, batch_size=batch_size, most_steps=report_every)
    steps = partial(steps, ema_decay=ema_decay, stats_decay=stats_decay)

    with _stop_requested() as stop_requested:
        state = init_state(model, optimizer, key, ema_decay=ema_decay) if state is None else state
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
                    figures = evaluate(model, state.variables, validation)
                row = {"step": step, "loss": float(losses.mean())}
                row |= {f"validation.{name}": value for name, value in (figures or {}).items()}
                history.append(row)
                bar.update(count)
                bar.set_postfix({n: f"{v:.4g}" for n, v in row.items() if n in ("loss", "validation.squared_error")})
                stopping = step == num_steps or stop_requested()
                if on_report is not None:
                    on_report(Report(step, losses, state, figures, seconds_training, stopping))
    return FitResult(state, history, seconds_training, seconds_compile, interrupted=step < num_steps)
