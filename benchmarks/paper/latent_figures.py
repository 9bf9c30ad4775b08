"""Figures of the latent space: 9 (how normal latents are) and 12 (a classifier's latents of two numbers)."""

import jax
import numpy as np

from benchmarks.paper import plots
from benchmarks.paper.experiment import Arm, Experiment
from benchmarks.paper.scales import convolutional, implicit
from gon_jax import plotting
from gon_jax.inference import encode_dataset
from gon_jax.latents.statistics import moments, normality
from gon_jax.models.classifier import HEAD_SCALE


def encode(arm: Arm, images: np.ndarray) -> np.ndarray:
    """Return latents `[N, *latent]`."""
    return encode_dataset(arm.run.model, arm.run.variables, images, encoder=arm.run.encoder)


def _normality(arm):
    """Return normality of test latents: means over dimensions, and of all entries together, as a histogram has them."""
    z = encode(arm, arm.dataset.test.images)
    return normality(z) | {"pooled_excess_kurtosis": float(moments(z.ravel())[1])}


def _plot_histograms(path, arms, title):
    plots.save_histograms(path, {label: encode(arm, arm.dataset.test.images) for label, (arm, *_) in arms.items()})


NORMALITY = {"mean_abs_skewness": "mean absolute skewness", "mean_abs_excess_kurtosis": "mean absolute excess kurtosis"}
NORMALITY |= {"pooled_excess_kurtosis": "excess kurtosis of all entries"}
NORMALITY |= {"num_parameters": "parameters", "seconds_training": "seconds"}
_GON = "implicit GON"


def _of_gon(dataset, scale):
    return {_GON: implicit(dataset, scale, steps=800)}


def _of_vae(dataset, scale):
    options = {"model": "vae", "likelihood": "bernoulli", "adam_epsilon": 1e-8}
    return {"VAE": convolutional(dataset, scale, steps=800, latent_shape=(32,), **options)}


FIGURE_9A = Experiment(
    "fig9a",
    "distribution of an implicit GON's latents after 800 steps",
    ("mnist", "fashion_mnist", "coil20"),
    _of_gon,
    _plot_histograms,
    NORMALITY,
    measure=_normality,
    claim="After 800 steps a GON's latents are nearer to normal than a VAE's.",
    unsaid="our choice of datasets; latent 32, and the authors' SIREN; moments of each dimension over test latents.",
)
FIGURE_9B = FIGURE_9A._replace(
    name="fig9b",
    title="distribution of a VAE's latents after 800 steps",
    arms=_of_vae,
    unsaid="our choice of datasets; latent 32, width 16, learning rate 2e-4; posterior means of test images.",
)


# -- Figure 12 -------------------------------------------------------------------------------------------------------


def _classifiers(dataset, scale):
    options = {"model": "classifier", "learning_rate": 1e-3, "schedule": "cosine"}
    options |= {"num_classes": 20} if dataset == "coil20" and scale != "smoke" else {}
    planar = {"latent_shape": (2,), "hidden_dim": 64, "omega_0": 10.0, "clip_norm": 1.0}
    return {
        "implicit, 2 latents": implicit(dataset, scale, steps=20_000, **options, **planar),
        "convolutional": convolutional(dataset, scale, steps=1000, **options),
        "convolutional, joint": convolutional(dataset, scale, steps=1000, **options, reconstruction_weight=0.1),
    }


def _plot_classes(path, arms, title):
    arm = arms["implicit, 2 latents"][0]
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
    "GON classifiers: an implicit one with latents of two numbers, convolutional ones",
    ("mnist", "fashion_mnist", "coil20"),
    _classifiers,
    _plot_classes,
    {"test.accuracy": "test accuracy", "num_parameters": "parameters", "seconds_training": "seconds"},
    claim="The classifier's latents separate the classes, in two dimensions too.",
    unsaid="hidden 64, sines of factor 10 (30 is worse), gradients clipped to norm 1, 20,000 cheap steps at a learning "
    "rate that falls from 1e-3 by a cosine; the convolutional classifiers, of 1,000 steps, are an addition of ours. "
    "With the squared error a latent is affine in the image, so these are linear classifiers, the first of rank 2, and "
    "cannot do better than such a one.",
)

EXPERIMENTS = (FIGURE_9A, FIGURE_9B, FIGURE_12)
