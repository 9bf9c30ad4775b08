"""Figures that are looked at: 4, 5, 6, 7, 9, 15, 17."""

import jax

from benchmarks.paper import plots
from benchmarks.paper.errors import COLUMNS, FIVE
from benchmarks.paper.experiment import Experiment
from benchmarks.paper.latents import GON, SECONDS
from benchmarks.paper.protocol import Protocol
from gon_jax import plotting
from gon_jax.data.splits import pairs_of_labels, spread_indices
from gon_jax.inference import interpolate, reconstruct_dataset, sample, superresolve

PLAIN = {"test.squared_error": "squared error per test image", "pca.squared_error": "PCA"} | SECONDS
BOUND = {"test.negative_elbo": "-ELBO, nats", "test.kl": "KL, nats"} | SECONDS


def _reconstructions(path, arms, title):
    first = next(iter(arms.values()))[0]
    x = first.dataset.test.images[spread_indices(len(first.dataset.test.images), 10)]
    rows = {"original": x}
    for label, seeds in arms.items():
        run = seeds[0].run
        rows[label] = reconstruct_dataset(run.model, run.variables, x, encoder=run.encoder)
    plots.save_image_rows(path, rows)


def _superresolution(path, arms, title):
    ((arm, *_),) = arms.values()
    x = arm.dataset.test.images[spread_indices(len(arm.dataset.test.images), 4)]
    size = 256 if len(x[0]) > 8 else 64
    plotting.save_superresolution(path, x, superresolve(arm.run.model, arm.run.variables, x, size))


def _interpolations(path, arms, title):
    ((arm, *_),) = arms.values()
    run, pairs = arm.run, pairs_of_labels(arm.dataset.test, 8)
    plotting.save_interpolation(path, interpolate(run.model, run.variables, pairs, 10, encoder=run.encoder))


def _samples(prior):
    def plot(path, arms, title):
        rows = {}
        for label, (arm, *_) in arms.items():
            run = arm.run
            images, key = arm.dataset.train.images, jax.random.key(0)
            x = sample(run.model, run.variables, images, 36, key, prior=prior, encoder=run.encoder)
            for part in x.reshape(3, 12, *x.shape[1:]):
                rows[" " * len(rows) if label in rows else label] = part  # the label stands at the first row
        plots.save_image_rows(path, rows)

    return plot


def _panels(figure, title, says, arms_of, plot, columns, **options):
    """Return one experiment for each of the five datasets, in the paper's order."""
    return tuple(
        Experiment(f"{figure}{panel}", f"{title}: {dataset}", says, (dataset,), arms_of(dataset), plot, columns,
                   draws=True, **options)
        for panel, dataset in zip("abcde", FIVE, strict=True)
    )  # fmt: skip


SIZES = {  # latents, units, hidden layers: chosen to give the paper's numbers of parameters
    "4,385": {"latent_shape": (34,), "hidden_dim": 32, "num_layers": 4},
    "70k": {"latent_shape": (24,), "hidden_dim": 128, "num_layers": 5},
    "270k": {"latent_shape": (24,), "hidden_dim": 256, "num_layers": 5},
    "270k ": {"latent_shape": (21,), "hidden_dim": 256, "num_layers": 5},  # of color
    "297k": {"latent_shape": (128,), "hidden_dim": 256, "num_layers": 5},
    "396k": {"latent_shape": (512,), "hidden_dim": 256, "num_layers": 5},
}
FIGURE_4_SIZES = dict(zip(FIVE, ("4,385", "297k", "270k", "270k", "396k"), strict=True))
FIGURE_15_SIZES = dict(zip(FIVE, ("4,385", "70k", "270k", "270k", "270k "), strict=True))


def _of_size(sizes):
    def arms_of(dataset):
        rate = {"learning_rate": 1e-3} if sizes[dataset] == "4,385" else {}
        return lambda protocol: {
            f"implicit GON, {sizes[dataset].strip()}": protocol.implicit(**SIZES[sizes[dataset]], **rate)
        }

    return arms_of


_COUNTS = "latents, units and layers, chosen so that the number of parameters is the paper's"
FIGURES_4 = _panels(
    "fig4",
    "implicit GONs of few parameters, reconstructions",
    "Few parameters represent a whole dataset: 4,385 (MNIST), 297k, 270k, 270k, 396k.",
    _of_size(FIGURE_4_SIZES),
    _reconstructions,
    PLAIN,
    steps=2000,
    unsaid=f"{_COUNTS}; the length, here 2,000 steps.",
    departure='The paper calls the smallest network "3 hidden layers of 32, 32 latents", which is 4,321 parameters.',
)


def _script(dataset):
    return lambda protocol: {GON: protocol.implicit()}


def _at_32(protocol: Protocol):
    return {GON: protocol.implicit(image_size=32)}


SCRIPT = "501 steps and the sizes of the authors' third script"
FIGURE_5 = Experiment(
    "fig5",
    "super-resolution from 32x32 to 256x256 by an implicit GON",
    "A function learned at 32x32 has much detail at 256x256.",
    ("coil20", "fashion_mnist", "cifar10"),
    _at_32,
    _superresolution,
    PLAIN,
    steps=501,
    draws=True,
    unsaid=f"dataset; the length and sizes, here {SCRIPT}.",
)
FIGURES_6 = _panels(
    "fig6",
    "spherical interpolations between latents of implicit GONs",
    "Points between latents are images too: they vary in shape, size and rotation (2 to 10 minutes on a GPU).",
    _script,
    _interpolations,
    PLAIN,
    steps=501,
    unsaid=f"sizes and steps, here {SCRIPT}.",
)


def _variational(dataset):
    options = {"model": "vgon", "likelihood": "bernoulli", "adam_epsilon": 1e-8}
    options |= {"latent_shape": (48,), "base_channels": 32, "learning_rate": 1e-4}
    return lambda protocol: {"VGON": protocol.convolutional(**options)}


FIGURES_7 = _panels(
    "fig7",
    "samples of convolutional variational GONs",
    "Draws of N(0, I), decoded in one step, are diverse and often have fine details.",
    _variational,
    _samples("model"),
    BOUND,
    epochs=300,
    unsaid="latent 48, width 32, cross-entropy and 300 epochs, as in the authors' second script; 268,033 parameters "
    "in place of 270k.",
)


def _large(**changes):
    return lambda protocol: {"GON": protocol.convolutional(**changes)}


FIGURE_9A = Experiment(
    "fig9a",
    "the convolutional GON at 128x128: validation images and reconstructions",
    "Reconstructions are of excellent quality for so simple a network.",
    ("lsun/bedroom", "coil20"),
    _large(image_size=128, adam_epsilon=128**2 * 1e-8),
    _reconstructions,
    COLUMNS,
    epochs=50,
    draws=True,
    unsaid="length (here 50 epochs), latent size and width.",
)
FIGURE_9B = FIGURES_7[0]._replace(
    name="fig9b",
    title="samples of a convolutional variational GON at 64x64",
    says="Samples are blurry, as those of VAEs of natural images, but show wide variety.",
    datasets=("celeb_a",),
    epochs=150,
    unsaid="latent 48, width 32 and cross-entropy, as in the authors' second script; the length of Table 2.",
)
FIGURES_15 = _panels(
    "fig15",
    "samples of implicit GONs stopped early, from a normal distribution fitted to their latents",
    "Stopped early, an implicit GON can be sampled: samples are diverse and have the shapes, without fine details.",
    _of_size(FIGURE_15_SIZES),
    _samples("gaussian"),
    PLAIN,
    steps=501,
    unsaid=f"{_COUNTS}; how early, here after 501 steps, as in the authors' third script.",
    departure="The normal distribution is fitted to latents of the final weights; the authors' script takes those of "
    "the last 100 training batches.",
)
FIGURE_17 = FIGURE_5._replace(
    name="fig17",
    title="super-resolution of 28x28 test digits to 256x256 by an implicit GON",
    says="Digits decoded at 256x256 have smooth outlines.",
    datasets=("mnist",),
    arms=_script("mnist"),
)

EXPERIMENTS = (*FIGURES_4, FIGURE_5, *FIGURES_6, *FIGURES_7, FIGURE_9A, FIGURE_9B, *FIGURES_15, FIGURE_17)
