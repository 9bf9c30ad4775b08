"""When a number decides a claim: one rule.

A claim is made of comparisons. Each says that a ratio of numbers is below (or above) a bound, by default 1:

    r = sum_over log m - sum_under log m - log bound,

with m the mean over seeds of the logarithms of a number. It is decided only where |r| > 2 s, with s the standard
deviation of r over seeds, at least three of each arm, at the length of training that the claim is about. Else it is
undecided, and says what would decide it, and at what cost.
"""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

MIN_SEEDS, NUM_DEVIATIONS = 3, 2.0
CHOICE = "validation.squared_error@best"


class Term(NamedTuple):
    """A positive number of an arm: its experiment, its label, and the number's name in the record.

    Several labels are candidates, as where a step size is tuned: the term is the one with the lowest mean held-out
    error, `CHOICE`, which is not of the test images.
    """

    experiment: str
    label: str | tuple[str, ...]
    number: str


class Comparison(NamedTuple):
    """The statement that the product of `over`, divided by that of `under`, is below a bound, or above it."""

    words: str
    over: tuple[Term, ...]
    under: tuple[Term, ...] = ()
    bound: float = 1.0
    above: bool = False


class Finding(NamedTuple):
    """What the numbers say of a comparison on one dataset.

    Attributes:
        dataset, words: of the comparison.
        word: "holds", "fails" or "undecided".
        ratio: the measured ratio, before the bound; `None` without numbers.
        factor: e to the power of 2 s: the ratio must be away from the bound by more than this; `None` for one seed.
        seeds: the fewest of all arms.
        horizon: the length of training, in words.
        needed: what would decide it; empty where it is decided.
    """

    dataset: str
    words: str
    word: str
    ratio: float | None
    factor: float | None
    seeds: int
    horizon: str
    needed: str


Values = Callable[[Term], list[float]]  # of a term, by seed; empty where there are none


def judge(
    comparison: Comparison, values: Values, *, dataset: str, horizon: str, at_horizon: bool = True, cost: str = ""
) -> Finding:
    """Apply the rule.

    Args:
        comparison: of a claim.
        values: returns the numbers of a term, one per seed.
        dataset, horizon: that they are of.
        at_horizon: whether that is the claim's own length of training.
        cost: of what is missing, in words.

    >>> numbers = {"GON": [1.0, 1.1, 0.9], "AE": [2.0, 2.1, 1.9]}
    >>> below = Comparison("GON / AE", (Term("t", "GON", "error"),), (Term("t", "AE", "error"),))
    >>> judge(below, lambda term: numbers[term.label], dataset="mnist", horizon="500 epochs").word
    'holds'
    >>> numbers["AE"] = [1.0, 1.3, 0.9]
    >>> judge(below, lambda term: numbers[term.label], dataset="mnist", horizon="500 epochs").needed
    'more seeds: the difference is within twice their spread'
    """
    of_label: dict[str, list[np.ndarray]] = {}  # terms of one run vary together, so they are added seed by seed
    for sign, terms in ((1, comparison.over), (-1, comparison.under)):
        for term in terms:
            label, found = _best(term, values)
            if not found:
                return Finding(dataset, comparison.words, "undecided", None, None, 0, horizon, f"runs{cost}")
            of_label.setdefault(f"{term.experiment}/{label}", []).append(sign * np.log(found))
    sums = [np.sum([part[: min(map(len, parts))] for part in parts], axis=0) for parts in of_label.values()]
    log_ratio = sum(float(part.mean()) for part in sums)
    seeds = min(map(len, sums))
    distance = log_ratio - math.log(comparison.bound)
    deviation = math.sqrt(sum(float(part.var(ddof=1)) for part in sums)) if seeds > 1 else None
    factor = None if deviation is None else math.exp(NUM_DEVIATIONS * deviation)
    needed = []
    if not at_horizon:
        needed.append(f"the claim's length of training{cost}")
    elif seeds < MIN_SEEDS:
        needed.append(f"{MIN_SEEDS} seeds{cost}")
    elif abs(distance) <= NUM_DEVIATIONS * deviation:
        needed.append("more seeds: the difference is within twice their spread")
    word = "undecided" if needed else "holds" if (distance > 0) == comparison.above else "fails"
    return Finding(dataset, comparison.words, word, math.exp(log_ratio), factor, seeds, horizon, "; ".join(needed))


def _best(term, values):
    if isinstance(term.label, str):
        return term.label, values(term)
    errors = {label: values(term._replace(label=label, number=CHOICE)) for label in term.label}
    if not all(errors.values()):  # the best of some may not be the best of all
        return None, []
    best = min(errors, key=lambda label: np.mean(errors[label]))
    return best, values(term._replace(label=best))


def overall(findings: Iterable[Finding]) -> str:
    """Return the verdict on a claim of several findings.

    >>> yes, no = (Finding("mnist", "", word, 1.0, 1.0, 3, "", "") for word in ("holds", "fails"))
    >>> overall([yes, yes]), overall([yes, no]), overall([yes, no._replace(word="undecided")]), overall([])
    ('holds', 'holds in part', 'holds where decided', 'undecided')
    """
    words = [finding.word for finding in findings]
    decided = {word for word in words if word != "undecided"}
    if not decided:
        return "undecided"
    if len(decided) > 1:
        return "holds in part"
    (word,) = decided
    return word if "undecided" not in words else f"{word} where decided"
