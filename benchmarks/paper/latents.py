"""Figures of the latent space: 12 (a classifier's latents of two numbers), 13 and 14 (how normal latents are)."""

import jax
import numpy as np

from benchmarks.paper import plots
from benchmarks.paper.experiment import Arm, Experiment
from benchmarks.paper.protocol import Protocol
from gon_jax import plotting
from gon_jax.inference import encode_dataset
from gon_jax.latents.statistics import moments, normality
from gon_jax.models.classifier import HEAD_SCALE

SECONDS = {"num_parameters": "parameters", "seconds_training": "seconds"}


def encode(arm: Arm, images: np.ndarray) -> np.ndarray:
    """Return latents `[N, *latent]`."""
    return encode_dataset(arm.run.model, arm.run.variables, images, encoder=arm.run.encoder)


# -- Figure 12 -------------------------------------------------------------------------------------------------------

PLANAR = "implicit, 2 latents"


def _classifiers(protocol: Protocol):
    options = {"model": "classifier", "learning_rate": 1e-3, "schedule": "cosine"}
    planar = {"latent_shape": (2,), "hidden_dim": 64, "omega_0": 10.0, "clip_norm": 1.0}
    steps = {} if protocol.smoke else {"num_steps": 1000}
    return {
        PLANAR: protocol.implicit(**options, **planar),
        "convolutional": protocol.convolutional(**options, **steps),
        "convolutional, joint": protocol.convolutional(**options, **steps, reconstruction_weight=0.1),
    }


def _plot_classes(path, arms, title):
    arm = arms[PLANAR][0]
    test, run = arm.dataset.test, arm.run
    z = encode(arm, test.images[:3000]).reshape(-1, 2)
    low, high = np.percentile(z, 0.5, axis=0), np.percentile(z, 99.5, axis=0)
    low, high = low - 0.1 * (high - low), high + 0.1 * (high - low)
    xs, ys = (np.linspace(low[i], high[i], 200) for i in (0, 1))
    head = run.variables.params["head"]
    plane = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    regions = classes_of(head, plane).reshape(200, 200)
    plotting.save_scatter(path, z, test.labels[:3000], regions=(xs, ys, regions), title=title)


def classes_of(head: dict, z: np.ndarray) -> np.ndarray:
    """Return the class `[N]` that the head gives latents `[N, 2]`."""
    return np.asarray(jax.numpy.argmax(HEAD_SCALE * z @ head["kernel"] + head["bias"], axis=-1))


FIGURE_12 = Experiment(
    "fig12",
    "GON classifiers: an implicit one with latents of two numbers; convolutional ones, which are ours",
    "Latents of two numbers, colored by class, show the classes apart (Eq. 13).",
    ("mnist",),
    _classifiers,
    _plot_classes,
    {"test.accuracy": "test accuracy"} | SECONDS,
    steps=20_000,
    draws=True,
    unsaid="everything but the dataset and that the GON is implicit: hidden 64, sines of factor 10 (30 is worse), "
    "gradients clipped to norm 1, a learning rate that falls from 1e-3 by a cosine. With the squared error a latent "
    "is affine in the image, so these are linear classifiers, the first of rank 2, and can be no better than such.",
    departure="The convolutional classifiers, of 1,000 steps, are an addition of ours.",
)

# -- Figures 13 and 14 -----------------------------------------------------------------------------------------------

NORMALITY = {"mean_abs_skewness": "mean absolute skewness", "mean_abs_excess_kurtosis": "mean absolute excess kurtosis"}
NORMALITY |= {"abs_pooled_excess_kurtosis": "absolute excess kurtosis of all entries"} | SECONDS


def normality_of_latents(arm: Arm) -> dict[str, float]:
    """Return normality of test latents: means over dimensions, and of all entries together, as a histogram has them."""
    z = encode(arm, arm.dataset.test.images)
    return normality(z) | {"abs_pooled_excess_kurtosis": abs(float(moments(z.ravel())[1]))}


def _plot_histograms(path, arms, title):
    plots.save_histograms(path, {label: encode(arm, arm.dataset.test.images) for label, (arm, *_) in arms.items()})


GON, VAE = "implicit GON", "VAE"


def _of_vae(protocol: Protocol):
    options = {"model": "vae", "likelihood": "bernoulli", "adam_epsilon": 1e-8}
    return {VAE: protocol.convolutional(latent_shape=(32,), **options)}


FIGURE_13 = Experiment(
    "fig13",
    "distribution of an implicit GON's latents after 800 steps",
    "A GON's latents are about normally distributed after 800 steps of a SIREN.",
    ("mnist", "fashion_mnist", "coil20"),
    lambda protocol: {GON: protocol.implicit()},
    _plot_histograms,
    NORMALITY,
    steps=800,
    measure=normality_of_latents,
    draws=True,
    unsaid="dataset and latent size; here 32, and the authors' third script; moments over latents of test images.",
)
FIGURE_14 = FIGURE_13._replace(
    name="fig14",
    title="distribution of a convolutional VAE's latents after 800 steps",
    says="A VAE's latents are much less normally distributed.",
    arms=_of_vae,
    unsaid="dataset and latent size; here 32, width 16, learning rate 2e-4; posterior means of test images.",
)

EXPERIMENTS = (FIGURE_12, FIGURE_13, FIGURE_14)
