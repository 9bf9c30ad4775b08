"""`fit`, the loop around the steps: reports, validation, a progress bar, signals."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm.auto import tqdm

from gon_jax.base import Model
from gon_jax.data import check_data
from gon_jax.metrics import evaluate
from gon_jax.training.state import TrainState, init_state, make_optimizer
from gon_jax.training.step import train_steps


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
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> images = np.zeros((16, 8, 8, 1), np.uint8)
    >>> result = fit(model, images, 2, jax.random.key(0), batch_size=8, progress=False)
    >>> int(result.state.step)
    2
    """
    data = dict(images) if isinstance(images, dict) else {"x": images}
    check_data(data["x"], model.data_shape)
    num_examples = len(data["x"])
    if not 1 <= batch_size <= num_examples:
        raise ValueError(f"expected a batch size from 1 to {num_examples}, the number of images; got {batch_size}")
    if validation is not None:
        validation = dict(validation) if isinstance(validation, dict) else {"x": validation}
        check_data(validation["x"], model.data_shape)
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
