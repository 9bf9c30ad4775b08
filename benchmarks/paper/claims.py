"""The paper's claims, one by one, as comparisons of numbers that `verdicts` decides."""

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.paper import EXPERIMENTS, verdicts
from benchmarks.paper.controls import LEARNING_RATES, NUM_LATENTS, STEP_SIZES
from benchmarks.paper.errors import ACTIVATIONS, ERROR, SIGMAS, STEP_FACTORS, TRAINING_ERROR
from benchmarks.paper.experiment import arms_of
from benchmarks.paper.latents import GON, NORMALITY, PLANAR, VAE
from benchmarks.paper.records import Records
from benchmarks.paper.verdicts import Comparison, Finding, Term

Comparisons = tuple[Comparison, ...]
AVERAGED = "test.squared_error"


class Claim(NamedTuple):
    """A claim of the paper, in our words, where the paper makes it, and the comparisons that it is made of.

    Attributes:
        text: the claim.
        source: the section, table or figure.
        comparisons: `dataset -> comparisons`.
        datasets: those that it is about.
    """

    text: str
    source: str
    comparisons: Callable[[str], Comparisons]
    datasets: tuple[str, ...]


def _below(experiment, first, second, *, number=ERROR, bound=1.0, above=False, words="") -> Comparison:
    words = words or f"{first} / {second}"
    return Comparison(words, (Term(experiment, first, number),), (Term(experiment, second, number),), bound, above)


def _table_1(*pairs, **options) -> Callable[[str], Comparisons]:
    return lambda dataset: tuple(_below("table1", *pair, **options) for pair in pairs)


def _lead(experiment, first, second) -> Comparison:
    """Return the statement that the GON's lead over the autoencoder is larger in the first group than in the second."""
    over = (Term(experiment, f"GON {first}", TRAINING_ERROR), Term(experiment, f"AE {second}", TRAINING_ERROR))
    under = (Term(experiment, f"AE {first}", TRAINING_ERROR), Term(experiment, f"GON {second}", TRAINING_ERROR))
    return Comparison(f"GON / AE at {first}, over the same at {second}", over, under)


def _gap(experiment) -> Callable[[str], Comparisons]:
    over = (Term(experiment, "GON", ERROR), Term(experiment, "AE", TRAINING_ERROR))
    under = (Term(experiment, "GON", TRAINING_ERROR), Term(experiment, "AE", ERROR))
    return lambda dataset: (Comparison("test / training of the GON, over the same of the AE", over, under),)


def _plain_steps(dataset):
    def candidates(k, steps):
        return tuple(f"k = {k}, {steps} step{'s' * (steps > 1)}, size {size}" for size in STEP_SIZES)

    return tuple(
        _below(
            "control_steps",
            candidates(k, 1),
            candidates(k, steps),
            bound=1.05,
            words=f"1 step / {steps} steps, k = {k}, each at its best step size, below 1.05",
        )
        for k in NUM_LATENTS
        for steps in (2, 8)
    )


def _other_activations(name):
    others = tuple(label for label in ACTIVATIONS if label != "ELU")
    first = _below(name, "ELU", others, bound=1.1, words=f"ELU / the best other, below 1.1 ({name})")
    return first, *(
        _below(name, label, "ELU", above=True, words=f"{label} / ELU ({name})") for label in ("ReLU", "leaky ReLU")
    )


def _origin_step(dataset):
    found = []
    for sigma in SIGMAS:
        candidates = tuple(f"sigma {sigma:g}, step x {factor}" for factor in STEP_FACTORS)
        over, under = Term("fig11a", f"sigma {sigma:g}", ERROR), Term("fig11b", candidates, ERROR)
        found.append(Comparison(f"-grad / z0 - grad at its best step size, sigma {sigma:g}", (over,), (under,)))
    return tuple(found)


def _grid(first, second, *, bound):
    labels = ["rate {:g}, step x {:g}".format(*pair) for pair in (first, second)]
    return _below("control_grid", *labels, bound=bound, words=f"{labels[0]} / {labels[1]}, below {bound:g}")


def _normality(dataset):
    numbers = [name for name in NORMALITY if "skewness" in name or "kurtosis" in name]
    return tuple(
        Comparison(f"{NORMALITY[name]}, GON / VAE", (Term("fig13", GON, name),), (Term("fig14", VAE, name),))
        for name in numbers
    )


def _epochs(dataset):
    return tuple(
        _below("table1", "GON", "AE", number=f"validation.squared_error@{epoch}", words=f"GON / AE at epoch {epoch}")
        for epoch in ((80, 160, 320) if dataset == "coil20" else (8, 16, 40, 80))
    )


def _early(dataset):
    return tuple(
        _below("fig2c", "GON", "AE", number=f"validation.squared_error@{epoch}", words=f"GON / AE at epoch {epoch}")
        for epoch in (1, 2, 5, 10, 20)
    )


_FIVE = EXPERIMENTS["table1"].datasets
_SIX = EXPERIMENTS["table2"].datasets
_LARGE = ("cifar10", "mnist")  # not COIL-20, of which 60 epochs are 960 steps

CLAIMS = (
    Claim("The GON's error is below the autoencoder's", "Table 1", _table_1(("GON", "AE")), _FIVE),
    Claim(
        "It needs half the autoencoder's parameters",
        "Section 4.1",
        _table_1(("GON", "AE"), number="num_parameters", bound=0.55, words="parameters, GON / AE, below 0.55"),
        _FIVE,
    ),
    Claim(
        "The GON's error is the lowest of all single-step methods",
        "Table 1",
        _table_1(("GON", "tied AE"), ("GON", "1 step detached")),
        _FIVE,
    ),
    Claim(
        "GLO's error is above the GON's, but on COIL-20 below",
        "Table 1",
        lambda dataset: (_below("table1", "GON", "GLO", number=AVERAGED, above=dataset == "coil20"),),
        _FIVE,
    ),
    Claim(
        "GLO takes orders of magnitude longer to encode",
        "Section 4.1",
        lambda dataset: (
            _below(
                "control_encoding",
                "GLO",
                "GON",
                number="milliseconds_to_encode",
                bound=100.0,
                above=True,
                words="time to encode, GLO / GON, above 100",
            ),
        ),
        ("coil20",),
    ),
    Claim(
        "Ten joint steps are no better than one",
        "Table 1",
        _table_1(("GON", "10 steps"), bound=1.05, words="GON / 10 steps, below 1.05"),
        _FIVE,
    ),
    Claim(
        "Two or eight joint steps are no better than one",
        "Figure 2b",
        lambda dataset: tuple(
            _below("fig2b", "GON", f"{n} steps", bound=1.05, words=f"GON / {n} steps, below 1.05") for n in (2, 8)
        ),
        ("cifar10",),
    ),
    Claim("The same without normalization, step sizes tuned", "a control of ours", _plain_steps, ("coil20",)),
    Claim(
        "With detached gradients the error is far larger, with ten steps too",
        "Table 1",
        _table_1(("1 step detached", "GON"), ("10 steps detached", "GON"), bound=2.0, above=True),
        _FIVE,
    ),
    Claim("The GON overfits less than the autoencoder", "Figure 2c", _gap("fig2c"), ("cifar10",)),
    *(
        Claim("The GON overfits less than the autoencoder", f"Figure 16{panel}", _gap(f"fig16{panel}"), (dataset,))
        for panel, dataset in zip("abc", _FIVE, strict=False)
    ),
    Claim(
        "ELU is effective at every latent size, and ReLU is hurt by its zero second derivative",
        "Figure 3",
        lambda dataset: tuple(found for panel in "abc" for found in _other_activations(f"fig3{panel}")),
        ("cifar10",),
    ),
    Claim(
        "The variational GON is below the VAE in bits per dimension, but on Fashion-MNIST above",
        "Table 2",
        lambda dataset: (
            _below("table2", "VGON", "VAE", number="test.bits_per_dim", above=dataset == "fashion_mnist"),
        ),
        _SIX,
    ),
    Claim("The GON converges faster than the autoencoder, per epoch", "abstract, Table 1's runs", _epochs, _FIVE),
    Claim("The same in the first epochs", "Figure 2c's runs", _early, ("cifar10",)),
    Claim(
        "The GON is ahead of the autoencoder for latents of 1x1, 2x2 and 4x4",
        "Figure 2a",
        lambda dataset: tuple(_below("fig2a", f"GON {size}", f"AE {size}") for size in ("1x1", "2x2", "4x4")),
        ("cifar10",),
    ),
    Claim(
        "The GON is ahead of the autoencoder until latents are 8x8",
        "Figure 10a",
        lambda dataset: tuple(
            _below("fig10a", f"GON {s}", f"AE {s}", number=TRAINING_ERROR, above=s in ("8x8", "16x16"))
            for s in ("1x1", "4x4", "8x8", "16x16")
        ),
        ("cifar10",),
    ),
    Claim(
        "The lead shrinks with more filters",
        "Figure 10b",
        lambda dataset: (_lead("fig10b", "f = 16", "f = 64"), _lead("fig10b", "f = 64", "f = 128")),
        ("cifar10",),
    ),
    Claim(
        "The lead shrinks with fewer latents",
        "Figure 10c",
        lambda dataset: (_lead("fig10c", "k = 512", "k = 128"),),
        ("cifar10",),
    ),
    Claim(
        "The origin is the best start",
        "Figure 11a",
        lambda dataset: tuple(_below("fig11a", "sigma 0", f"sigma {sigma:g}") for sigma in SIGMAS),
        _LARGE,
    ),
    Claim("-grad is better than z0 - grad", "Figure 11b", _origin_step, _LARGE),
    Claim(
        "Latents are nearer to normal than a VAE's after 800 steps",
        "Figures 13, 14",
        _normality,
        EXPERIMENTS["fig13"].datasets,
    ),
    Claim(
        "Much of the signal is there after 300 steps",
        "Figure 8",
        lambda dataset: (
            Comparison(
                "squared correlation of image and reconstruction after 300 steps, above 0.5",
                (Term("fig8", "300 steps", "correlation"),),
                bound=0.5,
                above=True,
            ),
        ),
        ("mnist",),
    ),
    Claim(
        "Latents of two numbers show the classes apart",
        "Figure 12",
        lambda dataset: (
            Comparison("test accuracy, above 0.6", (Term("fig12", PLANAR, "test.accuracy"),), bound=0.6, above=True),
        ),
        ("mnist",),
    ),
    Claim(
        "Training is stable over inner step sizes, 0.1 to 10 times the authors'",
        "Section 4.2",
        lambda dataset: tuple(
            _grid((rate, factor), (rate, 1), bound=1.15) for rate in LEARNING_RATES for factor in (0.1, 10)
        ),
        ("coil20",),
    ),
    Claim(
        "Training is stable over learning rates, a quarter and five times of ours",
        "Section 4.2",
        lambda dataset: tuple(_grid((rate, 1), (2e-4, 1), bound=2.0) for rate in LEARNING_RATES if rate != 2e-4),
        ("coil20",),
    ),
)


def findings(claim: Claim, records: Records) -> list[tuple[Comparison, Finding]]:
    """Return the comparisons of a claim, dataset by dataset, each with what the records say of it.

    The numbers are of the claim's own length of training; where there are none, of the longest other one.
    """
    return [
        (comparison, _finding(comparison, dataset, records))
        for dataset in claim.datasets
        for comparison in claim.comparisons(dataset)
    ]


def paper_ratio(comparison: Comparison, dataset: str) -> float | None:
    """Return the ratio of the numbers that the paper prints, where it prints all of them."""
    ratio = 1.0
    for sign, terms in ((1, comparison.over), (-1, comparison.under)):
        for term in terms:
            printed = EXPERIMENTS[term.experiment].paper.get(dataset, {}).get(term.label)
            if printed is None or term.number not in (ERROR, AVERAGED, "test.bits_per_dim"):
                return None
            ratio *= printed**sign
    return ratio


def _finding(comparison, dataset, records):
    names = {term.experiment for term in (*comparison.over, *comparison.under)}
    experiment = EXPERIMENTS[next(iter(sorted(names)))]
    own = experiment.protocol(dataset)
    lengths = sorted({e for e in records.epochs(dataset) if own.epochs and e < own.epochs}, reverse=True)
    for epochs in (None, *lengths):
        protocols = {name: EXPERIMENTS[name].protocol(dataset, epochs=epochs) for name in names}
        arms = {name: arms_of(EXPERIMENTS[name], protocol, records) for name, protocol in protocols.items()}

        def values(term, arms=arms):
            seeds = arms[term.experiment].get(term.label, [])
            return [value for arm in seeds if (value := arm.record[term.number]) is not None and value > 0]

        options = {"dataset": dataset, "horizon": protocols[experiment.name].horizon, "at_horizon": epochs is None}
        found = verdicts.judge(comparison, values, cost=_cost(comparison, dataset, records), **options)
        if found.ratio is not None:
            return found
    return verdicts.judge(
        comparison, lambda term: [], dataset=dataset, horizon=own.horizon, cost=_cost(comparison, dataset, records)
    )


def _cost(comparison, dataset, records) -> str:
    """Return how long what is missing would train on one core, where a shorter run of each arm was timed."""
    hours, seen = 0.0, set()
    for term in (*comparison.over, *comparison.under):
        experiment = EXPERIMENTS[term.experiment]
        protocol = experiment.protocol(dataset)
        configs = experiment.arms(protocol)
        labels = (term.label,) if isinstance(term.label, str) else term.label
        for label in labels:
            if (term.experiment, label) in seen:
                continue
            seen.add((term.experiment, label))
            seconds = records.seconds_per_step(configs[label])
            if seconds is None:
                return ""
            missing = max(0, verdicts.MIN_SEEDS - len(records.seeds(configs[label])))
            hours += missing * configs[label].training.num_steps * seconds / 3600
    return f", about {hours:.1f} hours on one core" if hours >= 0.05 else ""
