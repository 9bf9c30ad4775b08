"""Curves, distributions and classes of latents, drawn by matplotlib. Every path ends in `.png`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gon_jax.latents.statistics import moments, standardize
from gon_jax.plotting.canvas import log_axis, new_figure, save_figure

__all__ = ["save_curves", "save_latents", "save_scatter"]


def save_curves(
    path: str | Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ylabel: str,
    *,
    log: bool = True,
    reference: Mapping[str, float] | None = None,
    below: tuple[str, Mapping[str, tuple[np.ndarray, np.ndarray]]] | None = None,
) -> None:
    """Plot curves against the training step, with dashed lines for values to compare with.

    Args:
        curves: label to (steps [N], values [N]). Values that are not finite, or not positive on a logarithmic axis, are
            left out; at most 50 points are marked one by one.
        ylabel: the quantity with its unit, such as "squared error per image".
        log: a logarithmic y axis.
        reference: label to value, such as {"PCA, 16 components": 5.2}.
        below: ylabel and curves of another quantity, for a second panel, on a linear axis.

    >>> save_curves("loss.png", {"training": ([1, 2, 3], [9, 3, 1])}, "squared error per image")
    """
    from matplotlib.ticker import MaxNLocator

    panels = [(ylabel, curves, log, reference or {}), *([(*below, False, {})] if below else [])]
    figure = new_figure(7, 1 + 3 * len(panels))
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, (ylabel, curves, log, lines) in zip(all_axes, panels, strict=True):
        for name, (steps, values) in curves.items():
            steps, values = np.asarray(steps, float), np.asarray(values, float)
            if steps.shape != values.shape or steps.ndim != 1:
                raise ValueError(f"expected as many steps as values of {name!r}, got {steps.shape} and {values.shape}")
            shown = np.isfinite(values) & ((values > 0) | (not log))
            style = {"linewidth": 1.8, "marker": "o", "markersize": 4} if shown.sum() <= 50 else {"linewidth": 1.2}
            axes.plot(steps[shown], values[shown], label=name, **style)
        for index, (name, value) in enumerate(lines.items()):
            axes.axhline(value, label=name, color="0.35", linewidth=1.4, linestyle=("--", ":", "-.")[index % 3])
        if log:
            log_axis(axes)
        axes.set(ylabel=ylabel)
        if curves or lines:
            axes.legend(frameon=False)
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(7, integer=True))
    all_axes[-1].xaxis.set_major_formatter("{x:,.0f}")
    all_axes[-1].set(xlabel="training step")
    save_figure(path, figure)


def save_latents(path: str | Path, z: np.ndarray, spectra: Mapping[str, np.ndarray]) -> None:
    """Plot how normal latents are and how many directions they use.

    Four panels: all entries, standardized by dimension, against the normal density; their quantiles against the
    normal distribution's; skewness and excess kurtosis of each dimension, on bands of two standard errors of normal
    latents; and spectra, such as that of the encoder's Jacobian.

    Args:
        z: latents [N, *latent]; dimensions that do not vary are left out.
        spectra: label to singular values [n] in descending order; each is drawn relative to its largest.

    >>> z = np.random.default_rng(0).normal(size=(500, 16))
    >>> save_latents("latents.png", z, {"Jacobian": np.arange(16.0, 0, -1)})
    """
    from scipy.stats import norm

    y = standardize(z)
    figure = new_figure(10, 7.4)
    (histogram, quantiles), (by_dimension, spectrum) = figure.subplots(2, 2)

    label, line = f"{len(y):,} latents, {y.shape[1]} dimensions", np.linspace(-5, 5, 301)
    entries, bins = np.clip(y, -5, 5).ravel(), np.linspace(-5.05, 5.05, 102)
    histogram.hist(entries, bins, density=True, color="C0", alpha=0.6, label=label)
    histogram.plot(line, np.exp(-(line**2) / 2) / np.sqrt(2 * np.pi), color="0.2", linewidth=1.4, label="normal")
    histogram.set(title="Entries, standardized", xlabel="standard deviations from the mean", ylabel="density")
    histogram.set_ylim(0, 1.3 * histogram.get_ylim()[1])  # space for the legend

    levels = (np.arange(num := min(1000, y.size)) + 0.5) / num
    normal, sample = norm.ppf(levels), np.quantile(y, levels, method="hazen")
    quantiles.plot(normal, normal, color="0.2", linewidth=1.4, label="normal")
    quantiles.plot(normal, sample, ".", color="C0", markersize=4, label="entries")
    quantiles.set(title="Quantiles", xlabel="of the normal distribution", ylabel="of the entries")

    skewness, kurtosis = moments(y)
    for name, values, variance, style in (("skewness", skewness, 6, "C0o"), ("excess kurtosis", kurtosis, 24, "C1s")):
        error = (variance / len(y)) ** 0.5
        by_dimension.axhspan(-2 * error, 2 * error, color=style[:2], alpha=0.12, linewidth=0)
        by_dimension.plot(np.arange(1, 1 + y.shape[1]), values, style, markersize=4, label=name)
    by_dimension.axhline(0, color="0.2", linewidth=1)
    by_dimension.margins(y=0.12)
    by_dimension.set_yscale("symlog", linthresh=1)
    by_dimension.yaxis.set_major_formatter("{x:g}")
    by_dimension.set(title="Moments (bands: of normal latents)", xlabel="dimension")

    for name, values in spectra.items():
        values = np.where(np.ravel(values) > 0, np.ravel(values) / np.max(values), np.nan)
        spectrum.plot(np.arange(1, len(values) + 1), values, "o-", markersize=3.5, linewidth=1, label=name)
    spectrum.set(title="Singular values", xlabel="number", ylabel="relative to the largest", yscale="log")
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    save_figure(path, figure)


def save_scatter(
    path: str | Path,
    z: np.ndarray,
    labels: np.ndarray,
    *,
    regions: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Plot two-dimensional latents, colored by their class, on the regions of a classifier if there is one (Fig. 12).

    Args:
        z: latents [N, 2]; those that are not finite are left out.
        labels: classes [N], integers from 0 to 19.
        regions: xs [W], ys [H], and the predicted class [H, W] at each point of that grid.
        names: of the classes, for the legend; numbers by default.
        title: above all.

    >>> save_scatter("latents.png", np.array([[-0.5, 0], [0.5, 0.2]]), np.array([0, 1]))
    """
    from matplotlib import color_sequences
    from matplotlib.lines import Line2D

    z, labels = np.asarray(z, float), np.asarray(labels)
    if z.ndim != 2 or z.shape[1] != 2 or labels.shape != z.shape[:1] or labels.dtype.kind not in "iu":
        got = f"shapes {z.shape} and {labels.shape}, {labels.dtype}: project latents of more dimensions first"
        raise ValueError(f"expected latents [N, 2] and integers [N], got {got}")
    shown = np.isfinite(z).all(1)
    if not shown.any():
        raise ValueError(f"expected at least one finite latent of {len(z)}, got none: has training diverged?")
    xs, ys, predicted = regions or ([], [], np.empty([0, 0], int))
    if predicted.shape != (len(ys), len(xs)):
        raise ValueError(f"expected regions [{len(ys)}, {len(xs)}], as their ys and xs, got shape {predicted.shape}")
    low, high = min(labels.min(), predicted.min(initial=0)), max(labels.max(), predicted.max(initial=0))
    if low < 0 or high > 19:
        raise ValueError(f"expected classes from 0 to 19, got {low} to {high}")
    colors = np.array(color_sequences["petroff10" if high < 10 else "tab20"])  # petroff10 suits the color-blind
    figure = new_figure(6.4, 4.5)
    axes = figure.add_subplot(aspect="equal", adjustable="box" if regions else "datalim")
    if regions:
        axes.pcolormesh(xs, ys, 1 - 0.25 * (1 - colors[predicted]), shading="nearest")
        axes.set(xlim=(min(xs), max(xs)), ylim=(min(ys), max(ys)))
    size = float(np.clip(15_000 / len(z), 2.5, 16))
    axes.scatter(z[shown, 0], z[shown, 1], s=size, c=colors[labels[shown]], linewidths=0)
    axes.set(xlabel="latent, dimension 1", ylabel="latent, dimension 2")
    axes.tick_params(labelsize=9)
    handles = [Line2D([], [], color=color, marker="o", linestyle="") for color in colors[: high + 1]]
    words = [name if len(name) <= 24 else name[:23] + "..." for name in names or map(str, range(high + 1))]
    figure.legend(handles, words[: high + 1], loc="outside right center", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=12)
    save_figure(path, figure)
