"""Comparisons of ours that the paper's claims need and the paper does not have."""

import time

from benchmarks.paper import plots
from benchmarks.paper.errors import BATCH, COLUMNS, METHODS, methods, plot_bounds, plot_curves
from benchmarks.paper.experiment import Arm, Experiment
from benchmarks.paper.pictures import BOUND
from benchmarks.paper.protocol import Protocol
from gon_jax.inference import encode_dataset

STEPS, NUM_LATENTS = (1, 2, 8), (32, 256)
STEP_SIZES = (8, 32, 128, 512)  # 128 is the default of one step without normalization


def _plain_steps(protocol: Protocol):
    return {
        f"k = {k}, {steps} step{'s' * (steps > 1)}, size {size}": protocol.convolutional(
            model="multi_step", inner_steps=steps, step_size=float(size), norm="none", latent_shape=(k,)
        )
        for k in NUM_LATENTS
        for steps in STEPS
        for size in STEP_SIZES
    }


CONTROL_STEPS = Experiment(
    "control_steps",
    "several latent steps without normalization, each at four step sizes",
    "Nothing: with batch normalization the first gradient, at the origin, is about 300 times as long as the later "
    "ones, and the scale of a latent does not matter, so several steps say the same as one. Without it, they need not.",
    ("coil20", "mnist"),
    _plain_steps,
    plot_curves,
    COLUMNS,
    epochs=500,
    unsaid="everything: a control of ours.",
)


def _sizes(protocol: Protocol):
    return {
        f"{method} k = {k}, f = {width}": protocol.convolutional(
            latent_shape=(k,), base_channels=width, **METHODS[method]
        )
        for k in (32, 64, 128, 256)
        for width in (8, 16, 32)
        for method in ("GON", "AE")
    }


CONTROL_SIZES = Experiment(
    "control_sizes",
    "which latent size and width the paper's Table 1 could have: GON and autoencoder",
    "The sizes of Table 1 are not stated; its errors are 5.35 and 6.05 on COIL-20, 0.41 and 1.33 on MNIST.",
    ("coil20", "mnist"),
    _sizes,
    plot_curves,
    COLUMNS,
    epochs=500,
    unsaid=f"everything: a search of ours. {BATCH}",
)


LEARNING_RATES = (5e-5, 2e-4, 1e-3)


def _grid(protocol: Protocol):
    return {
        f"rate {rate:g}, step x {factor:g}": protocol.convolutional(
            learning_rate=rate, step_size=factor / (64 * 32 * 32)
        )
        for rate in LEARNING_RATES
        for factor in (0.1, 1.0, 10.0)
    }


CONTROL_GRID = Experiment(
    "control_grid",
    "stability over learning rates and step sizes",
    "Training is extremely stable and consistent over a wide range of hyperparameters.",
    ("coil20", "mnist"),
    _grid,
    plot_curves,
    COLUMNS,
    epochs=500,
    unsaid="which hyperparameters, and how wide. Batch normalization removes the scale of a latent, and with it nearly "
    f"all of the step size; at a low learning rate 100 epochs of COIL-20, 1,600 steps, are too few. {BATCH}",
)


def _noises(protocol: Protocol):
    options = {"model": "vgon", "likelihood": "bernoulli", "adam_epsilon": 1e-8}
    return {
        label: protocol.convolutional(**options, inner_noise=noise)
        for label, noise in (("noise per example", "per_example"), ("no noise", "none"))
    }


CONTROL_NOISE = Experiment(
    "control_noise",
    "the variational GON with the authors' noise in the inner pass, and without",
    "Nothing: the authors' code draws noise in the inner pass too. Without it, encoding is exact and faster.",
    ("mnist", "coil20"),
    _noises,
    plot_bounds,
    BOUND,
    epochs=50,
    unsaid="everything: a control of ours, with latent 256, width 16 and learning rate 2e-4.",
)


def _plot_times(path, arms, title):
    times = {label: [arm.record["milliseconds_to_encode"] for arm in seeds] for label, seeds in arms.items()}
    plots.save_bars(path, {title: times}, "milliseconds per image", log=True)


def time_to_encode(arm: Arm) -> dict[str, float]:
    """Return the milliseconds per image to encode the test images, compiled: the fastest of three times."""
    images = arm.dataset.test.images

    def seconds():
        start = time.perf_counter()
        encode_dataset(arm.run.model, arm.run.variables, images, encoder=arm.run.encoder)
        return time.perf_counter() - start

    seconds()  # compiles
    return {"milliseconds_to_encode": 1000 * min(seconds() for _ in range(3)) / len(images)}


CONTROL_ENCODING = Experiment(
    "control_encoding",
    "time to encode new images: a GON's one gradient, and GLO's optimization of latents",
    "GLO takes orders of magnitude longer to reconstruct validation data.",
    ("coil20", "mnist"),
    methods("GON", "GLO"),
    _plot_times,
    {"milliseconds_to_encode": "milliseconds per image"},
    epochs=500,
    measure=time_to_encode,
    unsaid="GLO's steps for new images; here 100 of Adam. The GON encodes by its frozen encoder, one matrix product. "
    "Timed while other programs ran: the ratio is what counts.",
)

EXPERIMENTS = (CONTROL_STEPS, CONTROL_SIZES, CONTROL_GRID, CONTROL_NOISE, CONTROL_ENCODING)
