"""Curves and distributions, drawn by matplotlib without pyplot."""

from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist

import numpy as np

from gon_jax.plotting.canvas import new_figure, save_figure


def save_curves(
    path: str | Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ylabel: str,
    *,
    log: bool = True,
    reference: Mapping[str, float] | None = None,
) -> None:
    """Write curves against the training step, with dashed lines for values to compare with.

    Args:
        path: ends in `.png`.
        curves: label to (steps [N], values [N]); values that are not finite, or not positive on a logarithmic axis, are
            left out. At most 50 points are marked one by one.
        ylabel: the quantity with its unit, such as "squared error per image".
        log: a logarithmic y axis.
        reference: label to value, such as {"PCA, 16 components": 5.2}.

    Raises:
        ValueError: a curve has other numbers of steps and values.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_curves(f"{folder}/loss.png", {"training": ([1, 2, 3], [9, 3, 1])}, "squared error per image")
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    for name, (steps, values) in curves.items():
        steps, values = np.asarray(steps, float), np.asarray(values, float)
        if steps.shape != values.shape or steps.ndim != 1:
            raise ValueError(f"expected as many steps as values of {name!r}, got {steps.shape} and {values.shape}")
        shown = np.isfinite(values) & ((values > 0) | (not log))
        few = np.count_nonzero(shown) <= 50
        axes.plot(
            steps[shown],
            values[shown],
            label=name,
            linewidth=1.8 if few else 1.2,
            marker="o" if few else None,
            markersize=4,
        )
    for index, (name, value) in enumerate((reference or {}).items()):
        axes.axhline(value, label=name, color="0.35", linewidth=1.4, linestyle=("--", ":", "-.")[index % 3])
    if log:
        axes.set_yscale("log")
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set(xlabel="training step", ylabel=ylabel)
    if curves or reference:
        axes.legend(frameon=False)
    save_figure(path, figure)


def save_codes(path: str | Path, z: np.ndarray, spectra: Mapping[str, np.ndarray]) -> None:
    """Write how normal codes are and how many directions they take.

    Four panels: all entries, each dimension standardized, against the normal density; their quantiles against the
    normal's; skewness and excess kurtosis of each dimension (both 0 if it is normal), and the two standard errors that
    as many normal codes would have; and spectra, such as that of the encoder's Jacobian.

    Args:
        path: ends in `.png`.
        z: codes [N, *latent]; dimensions that do not vary are left out.
        spectra: label to singular values [n] in descending order; each is drawn relative to its largest.

    Raises:
        ValueError: the codes are fewer than two, not finite or all equal.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     z = np.random.default_rng(0).normal(size=(500, 16))
        ...     save_codes(f"{folder}/codes.png", z, {"Jacobian": np.arange(16.0, 0, -1)})
    """
    z = np.asarray(z, np.float64)
    if z.ndim < 2 or len(z) < 2 or not np.isfinite(z).all():
        raise ValueError(
            f"expected at least two finite codes [N, *latent], got shape {z.shape} with "
            f"{np.count_nonzero(~np.isfinite(z))} NaN or infinite values: has the training diverged?"
        )
    z = z.reshape(len(z), -1)
    std = z.std(0)
    z = ((z - z.mean(0)) / np.where(std, std, 1))[:, std > 1e-6 * abs(z).max(0)]
    if not z.size:
        raise ValueError(f"expected codes that differ, got {len(z)} equal ones: the codes have collapsed")
    figure, normal = new_figure(10, 7.4), NormalDist()
    (histogram, quantiles), (moments, spectrum) = figure.subplots(2, 2)

    line = np.linspace(-5, 5, 301)
    histogram.hist(
        np.clip(z, -5, 5).ravel(),
        101,
        range=(-5.05, 5.05),
        density=True,
        color="C0",
        alpha=0.6,
        label=f"{len(z):,} codes, {z.shape[1]} dimensions",
    )
    histogram.plot(line, [normal.pdf(t) for t in line], color="0.2", linewidth=1.4, label="normal")
    histogram.set(title="Entries, standardized", xlabel="standard deviations from the mean", ylabel="density")
    histogram.set_ylim(0, 1.3 * histogram.get_ylim()[1])  # room for the legend

    probabilities = (np.arange(num := min(z.size, 1000)) + 0.5) / num
    expected = np.array([normal.inv_cdf(p) for p in probabilities])
    quantiles.plot(expected, expected, color="0.2", linewidth=1.4, label="normal")
    quantiles.plot(expected, np.quantile(z, probabilities), ".", color="C0", markersize=4, label="entries")
    quantiles.set(title="Quantiles", xlabel="of the normal distribution", ylabel="of the entries")

    for index, (name, values, error) in enumerate(
        (
            ("skewness", (z**3).mean(0), (6 / len(z)) ** 0.5),
            ("excess kurtosis", (z**4).mean(0) - 3, (24 / len(z)) ** 0.5),
        )
    ):
        moments.axhspan(-2 * error, 2 * error, color=f"C{index}", alpha=0.12, linewidth=0)
        moments.plot(np.arange(1, len(values) + 1), values, "os"[index], color=f"C{index}", markersize=4, label=name)
    moments.axhline(0, color="0.2", linewidth=1)
    moments.margins(y=0.12)
    moments.set_yscale("symlog", linthresh=1)
    moments.yaxis.set_major_formatter("{x:g}")
    moments.set(title="Moments (bands: of normal codes)", xlabel="dimension")

    for name, values in spectra.items():
        values = np.where(np.ravel(values) > 0, np.ravel(values) / np.max(values), np.nan)
        spectrum.plot(np.arange(1, len(values) + 1), values, "o-", markersize=3.5, linewidth=1, label=name)
    spectrum.set(title="Singular values", xlabel="number", ylabel="relative to the largest", yscale="log")
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    save_figure(path, figure)
