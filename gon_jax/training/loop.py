"""`fit`, the loop around the steps: reports, validation, a progress bar."""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import jax
import numpy as np
import optax

from gon_jax.arguments import check_count, check_key, check_number
from gon_jax.base import Model
from gon_jax.data.sources import num_bytes
from gon_jax.inference import Data
from gon_jax.metrics import evaluate, selection_metric
from gon_jax.progress import bar, busy
from gon_jax.training.devices import place, placement_of
from gon_jax.training.diagnosis import check_finite, check_latents, check_state
from gon_jax.training.given import check_given
from gon_jax.training.resident import Resident
from gon_jax.training.state import TrainState, check_optimizer, check_size, init_state, make_optimizer
from gon_jax.training.streaming import Stream, fits_in_memory, like, read_batches

__all__ = ["FitResult", "Report", "fit"]


class Report(NamedTuple):
    """What a reader wants to know after some steps.

    Attributes:
        step: steps made so far.
        losses: training loss of each step since the last report.
        state: the state now; it is donated to the next call, so save it before returning and don't keep it.
        validation: the metrics of `evaluate` where this was a step to validate at, else `None`; the one to stop early
            by is that of `gon_jax.metrics.selection_metric`.
        seconds: time spent in training steps so far (compilation and validation not counted).
        stopping: this is the last report: all steps are made, or `should_stop` ended training.
        seconds_waiting: of `seconds`, how long the device waited for data that are not in memory.
    """

    step: int
    losses: np.ndarray
    state: TrainState
    validation: dict[str, float] | None
    seconds: float
    stopping: bool
    seconds_waiting: float = 0.0


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
        state: the last state; `state.variables` is what models take.
        history: a dict for each report: `step`, `loss` (mean since the last one), and at times `validation.<metric>`.
        seconds_training: in training steps alone, of this call.
        seconds_compile: to compile them; about 0 where an earlier call with the same model compiled them.
        interrupted: `should_stop` ended it early.
        seconds_waiting: of `seconds_training`, how long the device waited for data that are not in memory.
    """

    state: TrainState
    history: list[dict[str, float]]
    seconds_training: float
    seconds_compile: float
    interrupted: bool
    seconds_waiting: float = 0.0


def fit(
    model: Model,
    data: Data | Iterator[Data],
    num_steps: int,
    key: jax.Array | None = None,
    *,
    optimizer: optax.GradientTransformation | None = None,
    latent_optimizer: optax.GradientTransformation | None = None,
    batch_size: int | None = None,
    validation: Data | None = None,
    validate_every: int | None = None,
    ema_decay: float = 0.0,
    stats_decay: float = 0.98,
    state: TrainState | None = None,
    should_stop: Callable[[], bool] | None = None,
    on_report: Callable[[Report], None] | None = None,
    report_every: int = 50,
    progress: bool = True,
    memory_limit: int | None = None,
    num_threads: int | None = None,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]  (jaxlib has no stubs)
) -> FitResult:
    """Train a model: the one call for a notebook, and what the command `gon train` does.

    Steps are compiled once for a model, an optimizer, these options and data of one shape: training may go on epoch by
    epoch, each call with the `state` of the last, and compiles nothing again.

    Data that do not fit into memory are read while the device computes, the same batches in the same order: sources
    (`gon_jax.data.sources`) always, memory maps and arrays above `memory_limit`. An iterator of batches, of any other
    library, is read in its own order; where it ends early, so does training, with a warning.

    Args:
        model: any model.
        data: examples `[N, ...]`, uint8 or floats in [0, 1]; or a dict of arrays `[N, ...]` with the examples as "x",
            of which the model's loss takes batches. Sources may stand for arrays. Or an iterator of such batches, all
            of one size; with several processes each gives its share of every batch.
        num_steps: steps to make in all, those of a given `state` included.
        key: typed key; the whole run follows from it. Not needed with `state`.
        optimizer: any of optax's; by default `make_optimizer()`.
        latent_optimizer: of the latents of the training data, where the model keeps them; see `init_state`.
        batch_size: examples per step, of all devices and processes together; 64, or what an iterator gives.
        validation: data for `evaluate`, every `validate_every` steps and at the end; with labels "y" for a classifier.
        validate_every: by default once per epoch; at the end of an iterator.
        ema_decay: above 0, also average the parameters; the average is then what is evaluated.
        stats_decay: of the averages of batch statistics.
        state: continue from this one, as if never interrupted. It is used up (donated).
        should_stop: asked before the first step and at each report, before `on_report`: true ends training.
        on_report: called at least every `report_every` steps; the place to log and to save.
        report_every: steps per call of the device at most.
        progress: show a progress bar, which says whether the data are in memory.
        memory_limit: most bytes of data to keep in memory, and on the device; by default half of what is free there.
        num_threads: that read data which are not in memory; by default as many as there are cores, up to 16.
        devices: that share each batch; by default all, of all processes. The numbers are those of one device, but for
            rounding: batch statistics are those of the whole batch.

    Raises:
        ValueError: for data or options out of their range, before any work; for floats out of range in a source, when
            they are read.
        ImportError: if grain, which reads ahead, is needed and not installed.
        NonFiniteLossError: if the latents that training starts from, the loss or a parameter are not finite numbers.

    Warns:
        UserWarning: if the latents that training starts from do not depend on the data, or an iterator ended early.

    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> images = np.zeros((16, 8, 8, 1), np.uint8)
    >>> result = fit(model, images, 2, jax.random.key(0), batch_size=8, progress=False)
    >>> int(result.state.step)
    2
    """
    data, batches, validation, num_examples, batch_size, every = check_given(
        model, data, batch_size, validation, validate_every
    )
    validate_every, metric = every or check_count("num_steps", num_steps), selection_metric(model)
    counts = {"num_steps": num_steps, "report_every": report_every}
    for name, count in (counts | {"num_threads": 1 if num_threads is None else num_threads}).items():
        check_count(name, count)
    check_count("memory_limit", 0 if memory_limit is None else memory_limit, 0)
    for name, decay in {"ema_decay": ema_decay, "stats_decay": stats_decay}.items():
        check_number(name, decay, least=0, below=1, remedy="at 1 an average stays what it begins with")
    for name, value in {"optimizer": optimizer, "latent_optimizer": latent_optimizer}.items():
        if value is not None:
            check_optimizer(name, value)
    optimizer = optimizer or make_optimizer()
    options: dict[str, Any] = {"ema_decay": ema_decay, "latent_optimizer": latent_optimizer}
    if state is not None:
        check_state(model, state, num_examples, ema_decay)
    elif key is not None:
        check_key(key)
        check_size(model, num_examples)
        init = model.jit(_init_state, quick=True, optimizer=optimizer, num_examples=num_examples, **options)
        state = cast(TrainState, init(key))  # op by op, it takes several times as long
    else:
        raise ValueError("expected a key (jax.random.key(0), say) or a state to continue from, got neither")
    if int(state.step) == 0:
        check_latents(model, state.params, data["x"])
    step, placement = int(state.step), placement_of(batch_size, devices)
    state = state if placement is None else place(state, placement.whole)

    def count_from(step):
        """Return how many steps there are to the next report."""
        return min(report_every, num_steps - step, validate_every - step % validate_every)

    cut: dict[str, Any] = {"first_step": step, "num_steps": num_steps}
    each: dict[str, Any] = {"most": report_every, "placement": placement}
    feed: Resident | Stream
    if batches is None and fits_in_memory(data, memory_limit):
        feed, how = Resident(data, batch_size=batch_size, **each), "in memory"
    else:
        how = "in a batch" if batches else "read as needed"
        batches = batches or read_batches(data, state.key, batch_size, num_threads=num_threads, **cut)
        feed = Stream(batches, like(data, batch_size // jax.process_count()), count_from=count_from, **cut, **each)
    label = f"{sum(num_bytes(array) for array in data.values()) / 1e6:,.0f} MB {how}"
    options |= {"optimizer": optimizer, "stats_decay": stats_decay, "placement": placement}
    start = time.perf_counter()
    mesh = nullcontext() if placement is None else jax.set_mesh(placement.mesh)
    with busy("compile" if progress else None), mesh:
        compiled = feed.lower(model, state, **options).compile()
    seconds_compile, seconds_training = time.perf_counter() - start, 0.0

    history: list[dict[str, float]] = []
    stopping = step >= num_steps or (should_stop is not None and should_stop())
    bar_options: dict[str, Any] = {"unit": "step", "leave": True, "dynamic_ncols": True}
    shown = bar(label=label if progress else None, total=num_steps, initial=step, **bar_options)
    with feed, shown:
        while not stopping:
            count, start = count_from(step), time.perf_counter()
            state, losses, finite = feed.steps(compiled, state, count)
            count = len(losses)
            seconds_training += time.perf_counter() - start
            check_finite(losses, finite, step)
            step += count
            metrics = None
            if validation is not None and (step % validate_every == 0 or step == num_steps or feed.ended):
                metrics = evaluate(model, state.variables, validation)
                metrics.pop("num_samples", None)  # always 1
            row = {"step": step, "loss": float(losses.mean())}
            row |= {f"validation.{name}": value for name, value in (metrics or {}).items()}
            history.append(row)
            shown.update(count)
            shown.set_postfix({n: f"{v:.4g}" for n, v in row.items() if n in ("loss", f"validation.{metric}")})
            stopping = step == num_steps or feed.ended or (should_stop is not None and should_stop())
            if on_report is not None:
                on_report(Report(step, losses, state, metrics, seconds_training, stopping, feed.seconds_waiting))
    if feed.ended and step < num_steps:
        warnings.warn(
            f"expected batches for {num_steps} steps, got an iterator that ended after {step}: repeat it", stacklevel=2
        )
    return FitResult(state, history, seconds_training, seconds_compile, step < num_steps, feed.seconds_waiting)


def _init_state(model, key, *, optimizer, **options):
    return init_state(model, optimizer, key, **options)
