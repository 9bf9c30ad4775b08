"""Tables 1 and 2, and the figures that compare errors: 2, 3, 8, 10, 11, 16."""

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.paper import plots
from benchmarks.paper.experiment import Arm, Arms, Experiment
from benchmarks.paper.protocol import Protocol
from gon_jax.data import to_unit
from gon_jax.inference import in_batches
from gon_jax.metrics import evaluate

ERROR = "test.squared_error_batch"  # the authors' protocol: each batch of 64 by its own statistics
TRAINING_ERROR = "train.squared_error_batch"
EPOCH, SQUARED_ERROR = "training epoch", "squared error per held-out image"
GRAY = ("mnist", "fashion_mnist", "smallnorb", "coil20")
FIVE = (*GRAY, "cifar10")
COLUMNS = {ERROR: "squared error per test image", "test.squared_error": "by averaged statistics"}
COLUMNS |= {"num_parameters": "parameters", "seconds_training": "seconds"}
GAP = {TRAINING_ERROR: "per training image", "gap": "test above training"}
BATCH = "Evaluated by batch statistics, as the authors' implementation does."
CHANNELS = "the number of channels of spatial latents, chosen so that all have 256 entries"


def curves(arms: Arms, name: str = "validation.squared_error") -> dict:
    """Return label to (epochs [N], values [seeds, N]), as far as all seeds have them."""
    found = {}
    for label, seeds in arms.items():
        epochs, values = zip(*(arm.record.epochs(name) for arm in seeds), strict=True)
        num = min(map(len, values))
        if num:
            found[label] = (epochs[0][:num], [of_seed[:num] for of_seed in values])
    return found


def plot_curves(path: Path, arms: Arms, title: str) -> None:
    """Write one panel of validation errors."""
    plots.save_panels(path, {title: curves(arms)}, xlabel=EPOCH, ylabel=SQUARED_ERROR)


def plot_losses(path: Path, arms: Arms, title: str) -> None:
    """Write one panel of training losses, each point a mean over an epoch."""
    plots.save_panels(path, {title: curves(arms, "loss")}, xlabel=EPOCH, ylabel="training loss per image")


def plot_two_curves(path: Path, arms: Arms, title: str) -> None:
    """Write training loss and held-out error of each arm, in a panel of its own."""
    loss, error = curves(arms, "loss"), curves(arms)
    panels = {f"{title}, {label}": {"training": loss[label], "held out": error[label]} for label in loss}
    plots.save_panels(path, panels, xlabel=EPOCH, ylabel="squared error per image")


def generalization(arm: Arm) -> dict[str, float]:
    """Return the error on training images, as many as there are test images, and how far the test's is above it."""
    test, train = arm.dataset.test.images, arm.dataset.train.images
    options = {"evaluation": "batch", "batch_size": arm.run.config.training.batch_size}
    error = evaluate(arm.run.model, arm.run.variables, train[: len(test)], **options)["squared_error"]
    return {TRAINING_ERROR: error, "gap": arm.record[ERROR] / error - 1}


# -- Table 1 ---------------------------------------------------------------------------------------------------------

_DETACHED = {"model": "multi_step", "detached": True}
METHODS = {
    "GON": {},
    "AE": {"model": "autoencoder"},
    "tied AE": {"model": "autoencoder", "tied": True},
    "1 step detached": _DETACHED | {"inner_steps": 1},
    "10 steps detached": _DETACHED | {"inner_steps": 10},
    "10 steps": {"model": "multi_step", "inner_steps": 10},
    "GLO": {"model": "glo"},
}


def methods(*labels: str):
    """Return the arms of some of Table 1's methods."""
    return lambda protocol: {label: protocol.convolutional(**METHODS[label]) for label in labels}


def _pairs(**of_group):
    """Return arms of the GON and the autoencoder for each of some groups of options."""

    def arms(protocol: Protocol):
        return {
            f"{method} {group}": protocol.convolutional(**METHODS[method], **options)
            for group, options in of_group.items()
            for method in ("GON", "AE")
        }

    return arms


_TABLE_1 = {  # on MNIST, Fashion-MNIST, Small NORB, COIL-20, CIFAR-10
    "GON": (0.41, 1.00, 0.17, 5.35, 9.12),
    "AE": (1.33, 1.75, 0.73, 6.05, 12.24),
    "tied AE": (2.16, 2.45, 0.93, 6.68, 14.12),
    "1 step detached": (8.17, 7.76, 1.84, 15.72, 30.17),
    "10 steps detached": (8.13, 7.22, 1.78, 15.48, 28.68),
    "10 steps": (0.42, 1.01, 0.17, 5.36, 9.19),
    "GLO": (0.70, 1.78, 0.61, 3.27, 9.12),
}
TABLE_1 = Experiment(
    "table1",
    "squared error of the GON, of autoencoders, of detached and of several steps, of GLO",
    "The GON is below every other single-step method with half an autoencoder's parameters; ten joint steps are no "
    "better than one; with detached gradients the error is far larger; GLO wins on COIL-20 alone.",
    FIVE,
    methods(*METHODS),
    plot_curves,
    COLUMNS | GAP,
    epochs=500,
    measure=generalization,
    paper={name: {label: row[i] for label, row in _TABLE_1.items()} for i, name in enumerate(FIVE)},
    unsaid="latent size, width, batch size, learning rate; which images validate (the test images here; of COIL-20 "
    "every sixth angle); the units of the latent learning rate of 0.1 of the 10-step methods (here a tenth of the "
    f"authors' single step); GLO's optimizer (Adam; 100 steps of it for the latents of test images). {BATCH}",
    departure="Up to 500 training images are held out to choose the checkpoint that is tested. GLO's latents of test "
    "images start from one point, where a batch's own statistics are meaningless: its error by averaged statistics is "
    "the one to compare.",
)

# -- Table 2 ---------------------------------------------------------------------------------------------------------

SIX = (*FIVE, "celeb_a")
_TABLE_2 = {"VGON": (1.06, 3.30, 2.34, 3.44, 5.85, 5.41), "VAE": (1.15, 3.23, 2.54, 3.63, 5.94, 5.59)}
BITS = {"test.bits_per_dim": "bits/dim", "test.negative_elbo": "-ELBO, nats", "test.kl": "KL, nats"}
BITS |= {"num_parameters": "parameters", "seconds_training": "seconds"}


def _variational(protocol: Protocol):
    options = {"likelihood": "discretized_logistic_mixture", "adam_epsilon": 1e-8}
    options |= {"learning_rate": 1e-3, "clip_norm": 100.0}
    return {
        label: protocol.convolutional(**options, **of_model)
        for label, of_model in {"VGON": {"model": "vgon", "inner_noise": "none"}, "VAE": {"model": "vae"}}.items()
    }


def plot_bounds(path: Path, arms: Arms, title: str) -> None:
    """Write one panel of the held-out bound."""
    found = curves(arms, "validation.negative_elbo")
    plots.save_panels(path, {title: found}, xlabel=EPOCH, ylabel="-ELBO per held-out image, nats")


TABLE_2 = Experiment(
    "table2",
    "negative ELBO in bits per dimension of the variational GON and of the VAE",
    "The variational GON is below the VAE on all datasets but Fashion-MNIST.",
    SIX,
    _variational,
    plot_bounds,
    BITS,
    epochs=1000,
    epochs_of={"celeb_a": 150},
    paper={name: {label: row[i] for label, row in _TABLE_2.items()} for i, name in enumerate(SIX)},
    unsaid="the likelihood, which must be one of bytes: a mixture of 5 discretized logistics for each number; learning "
    "rate 1e-3, gradients clipped to norm 100; latent size and width; evaluated with averaged statistics.",
    departure="No noise in the inner pass (the authors' code draws it). The inner loss has the KL divergence of the "
    "authors' code in place of Eq. 9's log N(z0; 0, 2 I), whose gradient at the origin is 0.",
)

# -- Figure 2 --------------------------------------------------------------------------------------------------------

FIGURE_2A = Experiment(
    "fig2a",
    "the GON below the autoencoder of the same decoder, for latents of 1x1, 2x2 and 4x4",
    "The GON's validation loss is below the autoencoder's for all three.",
    ("cifar10",),
    _pairs(**{"1x1": {}, "2x2": {"latent_shape": (2, 2, 64)}, "4x4": {"latent_shape": (4, 4, 16)}}),
    plot_curves,
    COLUMNS,
    epochs=500,
    unsaid=f"{CHANNELS}; width. {BATCH}",
)
_STEPS = {"GON": {}} | {f"{n} steps": {"model": "multi_step", "inner_steps": n} for n in (2, 8)}
_STEPS |= {f"{n} step{'s' * (n > 1)} detached": _DETACHED | {"inner_steps": n} for n in (1, 10, 25)}
FIGURE_2B = Experiment(
    "fig2b",
    "several latent steps: 1, 2 and 8 joint ones; 1, 10 and 25 detached",
    "The difference between one and several joint steps is negligible; detached gradients are markedly worse.",
    ("cifar10", "mnist", "coil20"),
    lambda protocol: {label: protocol.convolutional(**options) for label, options in _STEPS.items()},
    plot_curves,
    COLUMNS,
    epochs=60,
    unsaid=f"latent size and width; the step size of several steps (a tenth of a single one's). {BATCH}",
)
FIGURE_2C = Experiment(
    "fig2c",
    "training against test loss, GON and autoencoder",
    "The GON overfits less: its gap between training and test loss is smaller than the autoencoder's.",
    ("cifar10",),
    methods("GON", "AE"),
    plot_two_curves,
    COLUMNS | GAP,
    epochs=60,
    measure=generalization,
    unsaid=f"latent size and width. {BATCH}",
    departure="Curves show the training loss while the epoch runs, and the error of 500 images that are held out; the "
    "table's numbers are of the best checkpoint, on all test images and as many training images.",
)

# -- Figure 3 --------------------------------------------------------------------------------------------------------

ACTIVATIONS = {"sine": "sin", "ReLU": "relu", "leaky ReLU": "leaky_relu", "tanh": "tanh", "ELU": "elu"}
ACTIVATIONS |= {"softplus": "softplus", "swish": "silu"}


def _figure_3(panel, num_latents):
    def arms(protocol: Protocol):
        return {
            label: protocol.convolutional(activation=activation, latent_shape=(num_latents,))
            for label, activation in ACTIVATIONS.items()
        }

    return Experiment(
        f"fig3{panel}",
        f"seven activation functions, {num_latents} latents",
        "ELU is effective at every latent size; functions with a zero second derivative, as ReLU, are not.",
        ("cifar10",),
        arms,
        plot_losses,
        COLUMNS,
        epochs=20,
        unsaid=f"width. {BATCH}",
    )


FIGURES_3 = tuple(_figure_3(panel, k) for panel, k in (("a", 512), ("b", 128), ("c", 32)))

# -- Figure 8 --------------------------------------------------------------------------------------------------------


def _convergence(protocol: Protocol):
    if protocol.smoke:
        return {f"{steps} steps": protocol.convolutional(num_steps=steps) for steps in (2, 4)}
    options = {"latent_shape": (32,), "learning_rate": 1e-4, "num_validation": 0}
    return {f"{n} steps": protocol.convolutional(num_steps=n, **options) for n in (300, 1000, 3000, 6000)}


def reconstruct(model, variables, x):
    """Return reconstructions `[B, ...]`."""
    return model.decode(variables, model.encode(variables, x))


def _plot_convergence(path, arms, title):
    x = next(iter(arms.values()))[0].dataset.test.images[:64]
    rows = {}
    for label, seeds in arms.items():
        run = seeds[0].run
        variables = run.variables._replace(stats=None)  # by batch: averages over few steps are of no use
        rows[label] = np.asarray(run.model.jit(reconstruct)(variables, to_unit(x))[:12])
    plots.save_image_rows(path, rows | {"truth": x[:12]})


def signal(arm: Arm) -> dict[str, float]:
    """Return how much of the test images is there, two ways.

    Early reconstructions are right in shape before they are in contrast: the squared correlation of an image's pixels
    with its reconstruction's sees the first alone, the share of variance about the mean training image both.
    """
    train, test = (part.images.astype("float32") / 255 for part in (arm.dataset.train, arm.dataset.test))
    variance = float(((test - train.mean(0)) ** 2).reshape(len(test), -1).sum(1).mean())
    x = test[: len(test) // 64 * 64]
    variables = arm.run.variables._replace(stats=None)
    x_hat = in_batches(partial(arm.run.model.jit(reconstruct), variables), x)
    centered = [a.reshape(len(x), -1) - a.reshape(len(x), -1).mean(1, keepdims=True) for a in (x, x_hat)]
    products = [(a * b).sum(1) for a, b in ((centered[0], centered[1]), (centered[0],) * 2, (centered[1],) * 2)]
    correlation = products[0] ** 2 / (products[1] * products[2] + 1e-12)
    return {"correlation": float(correlation.mean()), "explained": 1 - arm.record[ERROR] / variance}


FIGURE_8 = Experiment(
    "fig8",
    "convergence of the convolutional GON of 74,321 parameters, the authors' first script",
    "After 300 steps, 3 seconds on their GPU, much of the signal is there.",
    ("mnist",),
    _convergence,
    _plot_convergence,
    COLUMNS | {"correlation": "squared correlation", "explained": "share of variance explained"},
    steps=6000,
    measure=signal,
    draws=True,
    unsaid=f"what is measured: the paper shows pictures. {BATCH}",
)

# -- Figure 10 -------------------------------------------------------------------------------------------------------

_SPATIAL = {"1x1": {}, "4x4": {"latent_shape": (4, 4, 64)}, "8x8": {"latent_shape": (8, 8, 32)}}
_SPATIAL |= {"16x16": {"latent_shape": (16, 16, 16)}}
_TRAINING = (
    "Curves show the training loss while the epoch runs; the paper fixes the model after each epoch and measures "
)
_TRAINING += "the training set. The table has that for the best checkpoint, on as many images as there are test images."


def _figure_10(panel, title, says, of_group, unsaid):
    return Experiment(
        f"fig10{panel}",
        title,
        says,
        ("cifar10",),
        _pairs(**of_group),
        plot_losses,
        {TRAINING_ERROR: "squared error per training image"} | COLUMNS,
        epochs=60,
        measure=generalization,
        unsaid=f"{unsaid}. {BATCH}",
        departure=_TRAINING,
    )


FIGURES_10 = (
    _figure_10(
        "a",
        "depth: latents of growing spatial size, by removing blocks",
        "The GON is ahead of the autoencoder until latents are 8x8.",
        _SPATIAL,
        "channels of spatial latents (as many as the layer that they replace); width",
    ),
    _figure_10(
        "b",
        "width: 16, 64 and 128 filters",
        "The GON is ahead in all cases; the difference shrinks with more filters.",
        {f"f = {width}": {"base_channels": width} for width in (16, 64, 128)},
        "latent size",
    ),
    _figure_10(
        "c",
        "latent size: 512 and 128",
        "The GON is ahead, and the more the larger the latent.",
        {f"k = {size}": {"latent_shape": (size,)} for size in (512, 128)},
        "width",
    ),
)

# -- Figure 11 -------------------------------------------------------------------------------------------------------

SIGMAS, STEP_FACTORS = (0.01, 0.1, 1.0), (1, 10, 100, 1000)  # what multiplies the authors' step size
_AUTHORS_STEP = 1 / (64 * 32 * 32)


def _origins(encoding, factors):
    def arms(protocol: Protocol):
        options = {"model": "multi_step", "inner_steps": 1, "encoding": encoding}
        found = {"sigma 0": protocol.convolutional()}
        for factor in factors:
            for sigma in SIGMAS:
                label = f"sigma {sigma:g}" + (f", step x {factor}" if len(factors) > 1 else "")
                changes = options | {"origin_scale": sigma, "step_size": factor * _AUTHORS_STEP}
                found[label] = protocol.convolutional(**changes)
        return found

    return arms


FIGURE_11A = Experiment(
    "fig11a",
    "latents -grad at z0 drawn from N(0, sigma^2 I)",
    "The origin is the best start, by a little.",
    ("cifar10", "mnist", "coil20"),
    _origins("gradient", (1,)),
    plot_losses,
    COLUMNS,
    epochs=60,
    unsaid=f"dataset; latent size and width. {BATCH}",
)
FIGURE_11B = FIGURE_11A._replace(
    name="fig11b",
    title="latents z0 - grad from z0 drawn from N(0, sigma^2 I), at four step sizes",
    says="Losses are higher than with -grad alone.",
    arms=_origins("step", STEP_FACTORS),
    departure="The paper has one step size, at which z0 hides the gradient: ours is the authors', and 10, 100 and "
    "1,000 times it. The verdict is on the best of the four for each sigma.",
)

# -- Figure 16 -------------------------------------------------------------------------------------------------------


def _figure_16(panel, dataset):
    return FIGURE_2C._replace(
        name=f"fig16{panel}",
        title=f"training against test loss, GON and autoencoder: {dataset}",
        says="The gap between training and test loss is smaller for the GON.",
        datasets=(dataset,),
        epochs=500,
    )


FIGURES_16 = tuple(_figure_16(*pair) for pair in zip("abc", GRAY[:3], strict=True))

EXPERIMENTS = (TABLE_1, TABLE_2, FIGURE_2A, FIGURE_2B, FIGURE_2C, *FIGURES_3, FIGURE_8, *FIGURES_10)
EXPERIMENTS += (FIGURE_11A, FIGURE_11B, *FIGURES_16)
