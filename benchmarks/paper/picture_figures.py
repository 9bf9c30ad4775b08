"""Figures that are looked at: 4, 5, 6, 7, 10, 15, 17."""

import jax

from benchmarks.paper import plots
from benchmarks.paper.error_figures import COLUMNS, GRAY
from benchmarks.paper.experiment import Experiment
from benchmarks.paper.scales import convolutional, implicit
from gon_jax import plotting
from gon_jax.inference import interpolate, pairs_of_labels, reconstruct_dataset, sample, spread_indices, superresolve

PLAIN = {"test.squared_error": "squared error per test image", "pca.squared_error": "PCA, as many components"}
PLAIN |= {"num_parameters": "parameters", "seconds_training": "seconds"}
BOUND = {"test.negative_elbo": "-ELBO, nats", "test.kl": "KL, nats", "num_parameters": "parameters"}
BOUND |= {"seconds_training": "seconds"}


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
            x = sample(
                run.model,
                run.variables,
                arm.dataset.train.images,
                36,
                jax.random.key(0),
                prior=prior,
                encoder=run.encoder,
            )
            for part in x.reshape(3, 12, *x.shape[1:]):
                rows[" " * len(rows) if label in rows else label] = part  # the label stands at the first row
        plots.save_image_rows(path, rows)

    return plot


def _few_parameters(dataset, scale):
    options = {"latent_shape": (34,), "hidden_dim": 32, "learning_rate": 1e-3}
    return {"implicit GON": implicit(dataset, scale, steps=2000, **options)}


FIGURE_4 = Experiment(
    "fig4",
    "implicit GONs of few parameters: 4,385 on MNIST",
    ("mnist", "fashion_mnist", "coil20", "smallnorb"),
    _few_parameters,
    _reconstructions,
    PLAIN,
    claim="Few parameters represent a whole dataset well.",
    unsaid="2,000 steps at a learning rate of 1e-3; for other data the sizes of MNIST.",
)


def _implicit(steps):
    return lambda dataset, scale: {"implicit GON": implicit(dataset, scale, steps=steps)}


FIGURE_5 = Experiment(
    "fig5",
    "super-resolution to 256x256 by an implicit GON trained at the original size alone",
    ("fashion_mnist", "mnist", "coil20", "cifar10"),
    _implicit(501),
    _superresolution,
    PLAIN,
    claim="A function learned at low resolution decodes at any other.",
    unsaid="501 steps, as in the authors' implementation.",
)
FIGURE_6 = Experiment(
    "fig6",
    "spherical interpolations between latents of an implicit GON",
    ("fashion_mnist", "mnist", "coil20", "cifar10"),
    _implicit(501),
    _interpolations,
    PLAIN,
    claim="Points between latents are images too.",
    unsaid="501 steps, as in the authors' implementation.",
)


def _variational(dataset, scale):
    options = {"model": "vgon", "likelihood": "bernoulli", "adam_epsilon": 1e-8, "epochs": 300}
    return {"VGON": convolutional(dataset, scale, **options, latent_shape=(48,), base_channels=32, learning_rate=1e-4)}


FIGURE_7 = Experiment(
    "fig7",
    "samples of the variational GON",
    ("mnist", "fashion_mnist", "coil20", "smallnorb"),
    _variational,
    _samples("model"),
    BOUND,
    claim="Draws of N(0, I) decode to plausible images in one step.",
    unsaid="latent 48, width 32 and cross-entropy, as in the authors' implementation.",
)


def _figure_10(panel, dataset):
    return Experiment(
        f"fig10{panel}",
        f"samples of an implicit GON stopped early, from a Gaussian fitted to its latents: {dataset}",
        (dataset,),
        _implicit(501),
        _samples("gaussian"),
        PLAIN,
        claim="Stopped early, a GON that is not variational can be sampled from a Gaussian fitted to its latents.",
        unsaid="501 steps, as in the authors' implementation.",
    )


def _high_resolution(dataset, scale):
    size = {} if scale == "smoke" else {"image_size": 128 if dataset != "celeb_a" else 64}
    size |= {"adam_epsilon": size["image_size"] ** 2 * 1e-8} if size else {}
    return {"GON": convolutional(dataset, scale, **size)}


FIGURE_15 = Experiment(
    "fig15",
    "the convolutional GON at higher resolution",
    ("lsun/bedroom", "celeb_a", "coil20"),
    _high_resolution,
    _reconstructions,
    COLUMNS,
    claim="GONs represent high-resolution data.",
    unsaid="our numbering, latent size and width, since the figure's text was not at hand.",
)


def _samplers(dataset, scale):
    options = {"likelihood": "bernoulli", "adam_epsilon": 1e-8, "epochs": 300}
    return {
        "VGON": convolutional(dataset, scale, model="vgon", **options),
        "VAE": convolutional(dataset, scale, model="vae", **options),
    }


FIGURE_17 = Experiment(
    "fig17",
    "samples of the variational GON beside the VAE's",
    (*GRAY, "cifar10", "celeb_a"),
    _samplers,
    _samples("model"),
    BOUND,
    claim="Samples are as varied as a VAE's.",
    unsaid="our numbering, since the figure's text was not at hand; cross-entropy, latent 256, width 16.",
)

EXPERIMENTS = (FIGURE_4, FIGURE_5, FIGURE_6, FIGURE_7)
EXPERIMENTS += tuple(_figure_10(*pair) for pair in zip("abc", ("mnist", "fashion_mnist", "coil20"), strict=True))
EXPERIMENTS += (FIGURE_15, FIGURE_17)
