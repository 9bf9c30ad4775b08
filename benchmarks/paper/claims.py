"""The paper's claims, one by one, each with a rule that turns our numbers into a verdict.

A rule looks at the results of one dataset and says whether the claim holds there, and by which number. Over the
datasets: all hold, "holds"; some, "holds partly"; none, "does not hold here"; nothing measured, "undecided". A rule
takes means over seeds, and the document says how many seeds and steps they are of.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.paper.error_figures import ERROR
from benchmarks.paper.experiment import values

Finding = tuple[str, bool, str]  # where, whether it holds there, and the number
Results = dict[str, dict[str, dict]]  # experiment -> dataset -> result


class Claim(NamedTuple):
    """A claim of the paper, in our words, the results it takes, and its rule: `result -> (holds, number)`.

    With two experiments the rule gets one result of each.
    """

    text: str
    experiments: tuple[str, ...]
    rule: Callable[..., tuple[bool, str]]


class Verdict(NamedTuple):
    """A claim's verdict, and the findings behind it."""

    word: str
    findings: list[Finding]


def mean(result: dict, label: str, name: str = ERROR) -> float:
    """Return the mean over seeds of a metric of an arm."""
    return float(np.mean(values(result, label, name)))


def _half_the_parameters(result):
    ratio = mean(result, "GON") / mean(result, "AE")
    parameters = mean(result, "GON", "num_parameters") / mean(result, "AE", "num_parameters")
    return ratio < 0.98, f"{ratio:.2f} of the AE's error, {parameters:.2f} of its parameters"


def _one_step(result):
    ratio = mean(result, "GON") / mean(result, "10 steps")
    return ratio < 1.1, f"one step has {ratio:.2f} times ten steps' error"


def _detached(result):
    ratios = [mean(result, f"{steps} detached") / mean(result, "GON") for steps in ("1 step", "10 steps")]
    return min(ratios) > 2, f"{ratios[0]:.1f} times the GON's error with one detached step, {ratios[1]:.1f} with ten"


def _activations(result):
    errors = {label: mean(result, label) for label in result["arms"] if not label.startswith("latent")}
    order = sorted(errors, key=errors.get)
    place, ratio = order.index("ELU") + 1, errors["ReLU"] / errors["ELU"]
    words = f"ELU is number {place} of {len(order)} (best: {order[0]}, {errors[order[0]] / errors['ELU']:.2f} times "
    return place <= 3 and ratio > 1.05, words + f"its error); ReLU has {ratio:.2f} times ELU's error"


def _normality(gon, vae):
    (gon_label,), (vae_label,) = gon["arms"], vae["arms"]
    names = {"mean_abs_skewness": "mean absolute skewness", "mean_abs_excess_kurtosis": "excess kurtosis"}
    names |= {"pooled_excess_kurtosis": "excess kurtosis of all entries"}
    pairs = {words: (mean(gon, gon_label, name), mean(vae, vae_label, name)) for name, words in names.items()}
    numbers = ", ".join(f"{words} {ours:.2f} (VAE {theirs:.2f})" for words, (ours, theirs) in pairs.items())
    return all(abs(ours) < abs(theirs) for ours, theirs in pairs.values()), numbers


def _gap(result):
    ours, theirs = (mean(result, label, "relative_gap") for label in ("GON", "AE"))
    words = [f"{abs(100 * gap):.1f} % {'above' if gap >= 0 else 'below'}" for gap in (ours, theirs)]
    return ours < theirs, f"test error {words[0]} training error, the AE's {words[1]}"


def _signal(result):
    share = {label: mean(result, label, "correlation") for label in result["arms"]}
    words = ", ".join(f"{value:.2f} after {label}" for label, value in share.items())
    return share["300 steps"] > 0.5, f"squared correlation of image and reconstruction: {words}"


def _spatial(result):
    groups = list(dict.fromkeys(label.partition(": ")[0] for label in result["arms"]))
    ratios = {group: mean(result, f"{group}: GON") / mean(result, f"{group}: AE") for group in groups}
    smaller = [ratio < 1 for group, ratio in ratios.items() if group.startswith(("256", "4 x"))]
    larger = [ratio > 1 for group, ratio in ratios.items() if group.startswith(("8 x", "16 x"))]
    words = "; ".join(f"{group}: {ratio:.2f}" for group, ratio in ratios.items())
    return all(smaller) and all(larger), f"error divided by the AE's: {words}"


def _origin(result):
    best = min((label for label in result["arms"] if label != "origin"), key=lambda label: mean(result, label))
    ratio = mean(result, "origin") / mean(result, best)
    return ratio < 1.05, f"the origin has {ratio:.2f} times the error of the best other start ({best})"


def _gradient_alone(gradient, step):
    labels = [label for label in gradient["arms"] if label != "origin"]
    ratios = {label: mean(gradient, label) / mean(step, label) for label in labels}
    words = "; ".join(f"{label}: {ratio:.2f}" for label, ratio in ratios.items())
    return all(ratio < 1.02 for ratio in ratios.values()), f"error of -grad divided by that of z0 - grad: {words}"


def _latent_256(result):
    groups = [label.partition(":")[0] for label in result["arms"] if label.endswith(": GON")]
    ratios = {
        group: mean(result, f"{group}: GON") / mean(result, f"{group}: AE")
        for group in groups
        if f"{group}: AE" in result["arms"]
    }
    words = "; ".join(f"{group}: {ratio:.2f}" for group, ratio in ratios.items())
    return all(ratio < 1 for ratio in ratios.values()), f"error divided by the AE's: {words}"


CLAIMS = (
    Claim("The GON's error is below the autoencoder's, with half its parameters", ("table1",), _half_the_parameters),
    Claim("One step is about as good as ten", ("table1",), _one_step),
    Claim("With detached gradients the error is far larger", ("table1",), _detached),
    Claim("ELU is among the best activations, and ReLU is hurt by its zero second derivative", ("fig3",), _activations),
    Claim("Latents are nearer to normal than a VAE's after 800 steps", ("fig9a", "fig9b"), _normality),
    Claim("The gap between training and test error is smaller than the autoencoder's", ("fig14",), _gap),
    Claim("Much of the signal is there after 300 steps", ("fig8",), _signal),
    Claim("The GON is ahead of the autoencoder until the latent is 8x8 (Appendix B)", ("fig13",), _spatial),
    Claim("The origin is as good as any other start (Appendix C)", ("fig11a",), _origin),
    Claim("-grad is better than z0 - grad (Appendix C)", ("fig11a", "fig11b"), _gradient_alone),
    Claim(
        "The GON is below the autoencoder at every latent size (others found that at 256 it need not be)",
        ("fig16",),
        _latent_256,
    ),
)


def _findings(claim: Claim, results: Results) -> Iterator[Finding]:
    of_each = [results.get(name, {}) for name in claim.experiments]
    for dataset in of_each[0]:
        if all(dataset in of_one for of_one in of_each):
            yield dataset, *claim.rule(*(of_one[dataset] for of_one in of_each))


def verdict(claim: Claim, results: Results) -> Verdict:
    """Return the verdict on a claim from results of one scale.

    Args:
        claim: one of `CLAIMS`.
        results: experiment to dataset to what `reproduce` returned.

    >>> verdict(CLAIMS[0], {}).word
    'undecided'
    """
    findings = list(_findings(claim, results))
    held = [holds for _, holds, _ in findings]
    if not held:
        return Verdict("undecided", [])
    return Verdict("holds" if all(held) else "holds partly" if any(held) else "does not hold here", findings)
