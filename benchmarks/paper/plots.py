"""Plots of methods side by side: curves in panels, histograms, bars and rows of images. Every path ends in `.png`.

A method has one color in all panels. Every `save_...` draws by a private function that returns the matplotlib figure.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from gon_jax.latents.statistics import moments, standardize
from gon_jax.plotting.canvas import log_axis, new_figure, save_figure
from gon_jax.plotting.image_grids import image_grid, save_labeled, to_pixels

__all__ = ["save_bars", "save_histograms", "save_image_rows", "save_panels"]

_DASHES = ("-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # none is that of a reference
_SMALL = 9  # points, of texts in panels and legends


def _color(index):
    from matplotlib import color_sequences

    return color_sequences["petroff10"][index % 10]  # suits the color-blind


def _subplots(num, side, **shared):
    """Return a figure of num panels, at most four in a row, and the panels."""
    columns = min(4, num)
    rows = math.ceil(num / columns)
    figure = new_figure(max(6.4, 0.8 + side * columns), 1.1 + 0.85 * side * rows)
    panels = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for empty in panels[num:]:
        empty.remove()
    return figure, panels[:num]


def _legend(figure, handles):
    """Draw one legend {label: artist} above all panels, in as few rows as fit, and make the figure higher."""
    lengths = list(map(len, handles))
    for rows in range(1, len(handles) + 1):
        columns = math.ceil(len(handles) / rows)
        width = sum(0.65 + 0.075 * max(part) for part in np.array_split(lengths, columns))  # inches: line and letters
        if width < figure.get_figwidth():
            break
    figure.set_figheight(figure.get_figheight() + 0.2 * (rows - 1))
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=columns, frameon=False, fontsize=_SMALL)


def _drawable(values, log):
    values = np.asarray(values, float)  # None becomes NaN
    return np.isfinite(values) & ((values > 0) | (not log))


def _references(reference, titles, labels, log):
    """Return {title: {label: value}} and the handles {name: line} of values to compare with.

    A value for one of the labels is that method's in the paper; any other stands for itself.
    """
    from matplotlib.lines import Line2D

    nested = any(isinstance(values, Mapping) for values in (reference or {}).values())
    if nested and not reference.keys() <= set(titles):
        raise ValueError(
            f"expected references for {list(titles)}, got some for {list(reference)}: probably another spelling"
        )
    of_title = {title: reference.get(title, {}) if nested else reference or {} for title in titles}
    of_title = {
        title: {label: value for label, value in values.items() if _drawable(value, log)}
        for title, values in of_title.items()
    }
    names = dict.fromkeys(label for values in of_title.values() for label in values)
    handles = {}
    for name in ["paper"] * any(label in labels for label in names) + [name for name in names if name not in labels]:
        handles[name] = Line2D([], [], color="0.3", linestyle=("--", ":", "-.")[len(handles) % 3], linewidth=1.3)
    return of_title, handles


def _curve(name, x, y, log):
    """Return x, the mean of all seeds, the least and the greatest, where every seed can be drawn."""
    x, y = np.asarray(x, float), np.atleast_2d(np.asarray(y, float))
    if x.ndim != 1 or y.ndim != 2 or not len(y) or y.shape[1] != len(x):
        raise ValueError(f"expected x [N] and y [N] or [seeds, N] of {name!r}, got shapes {x.shape} and {y.shape}")
    shown = np.isfinite(x) & _drawable(y, log).all(0)
    return x[shown], y[:, shown].mean(0), y[:, shown].min(0), y[:, shown].max(0), len(y)


def _panels(panels, xlabel, ylabel, log, reference):
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    curves = {
        title: {label: _curve(f"{title}, {label}", x, y, log) for label, (x, y) in panel.items()}
        for title, panel in panels.items()
    }
    labels = list(dict.fromkeys(label for panel in curves.values() for label in panel))
    if not any(len(curve[0]) for panel in curves.values() for curve in panel.values()):
        raise ValueError(
            f"expected panels with at least one {'positive, ' * log}finite value, got none in "
            f"{list(panels)}: has the training diverged?"
        )
    references, lines = _references(reference, panels, labels, log)
    figure, all_axes = _subplots(len(panels), 3, sharey=True)
    handles, several = {}, False
    for axes, (title, panel) in zip(all_axes, curves.items(), strict=True):
        few = max(len(curve[0]) for curve in panel.values()) <= 25 if panel else False
        for label, (x, mean, low, high, seeds) in panel.items():
            index = labels.index(label)
            if seeds > 1:
                several = True
                axes.fill_between(x, low, high, color=_color(index), alpha=0.2, linewidth=0)
            (handles[label],) = axes.plot(
                x,
                mean,
                color=_color(index),
                linewidth=1.5,
                linestyle=_DASHES[index % 4],
                marker="os^Dv"[index % 5] if few else None,
                markersize=4,
                label=label,
            )
        for label, value in references[title].items():
            known = label in labels
            axes.axhline(
                value,
                color=_color(labels.index(label)) if known else "0.3",
                linewidth=1.3,
                linestyle=lines["paper" if known else label].get_linestyle(),
                label=f"{label}, reference",
            )
        axes.set_title(title, fontsize=11)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(labelsize=_SMALL)
    if log:
        log_axis(all_axes[0])  # they share it
    figure.supxlabel(xlabel, fontsize=10)
    figure.supylabel(ylabel, fontsize=10)
    handles = {label: handles[label] for label in labels} | lines
    _legend(figure, handles | ({"range of the seeds": Patch(color="0.85")} if several else {}))
    return figure


def save_panels(
    path: str | Path,
    panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]],
    *,
    xlabel: str,
    ylabel: str,
    log: bool = True,
    reference: Mapping | None = None,
) -> None:
    """Write curves of several methods in panels with one y axis, four in a row.

    Several seeds are drawn as their mean in a band from the least to the greatest. A point that cannot be drawn for one
    of the seeds (not finite, or not positive on a logarithmic axis) is left out: the mean of those that are left would
    be another curve's.

    Args:
        panels: title to {label: (x [N], y [N] or [seeds, N])}; up to about ten labels can be told apart.
        xlabel: of all panels, such as "training step".
        ylabel: the quantity with its unit, such as "squared error per image".
        log: a logarithmic y axis.
        reference: label to value, in all panels, or title to {label: value}. Dashed and in the color of the curve with
            that label, called "paper"; in gray where there is none.

    Raises:
        ValueError: shapes that do not fit, or nothing to draw.

    Example:
        >>> curves = {"GON": ([1, 2, 3], [[9, 3, 1], [8, 4, 2]]), "AE": ([1, 2, 3], [9, 5, 4])}
        >>> save_panels("panels.png", {"MNIST": curves}, xlabel="training step",
        ...             ylabel="squared error per image", reference={"GON": 0.9})
    """
    save_figure(path, _panels(panels, xlabel, ylabel, log, reference))


def _histograms(latents):
    values = {}
    for name, z in latents.items():
        z = np.asarray(z, np.float64)
        z = z[np.isfinite(z), None]
        try:
            values[name] = standardize(z)[:, 0], z.mean(), z.std()
        except ValueError as error:
            raise ValueError(f"of {name!r}, shape {np.shape(latents[name])}: {error}") from None
    if not values:
        raise ValueError("expected at least one array of latents, got none")
    figure, all_axes = _subplots(len(values), 3.3)
    for axes, (name, (z, mean, std)) in zip(all_axes, values.items(), strict=True):
        reach = np.clip(abs(z).max(), 3.5, 5)
        normal, line = NormalDist(mean, std), mean + std * np.linspace(-reach, reach, 301)
        bars = axes.hist(
            mean + std * np.clip(z, -reach, reach),
            60,
            range=(line[0], line[-1]),
            density=True,
            color=_color(0),
            alpha=0.6,
        )[2]
        (curve,) = axes.plot(line, [normal.pdf(t) for t in line], color="0.2", linewidth=1.4)
        axes.text(
            0.03,
            0.97,
            "skewness {:.2f}\nexcess kurtosis {:.2f}".format(*moments(z)),
            va="top",
            transform=axes.transAxes,
            fontsize=_SMALL,
            bbox=dict(color="white", pad=1),
        )
        axes.set_title(name, fontsize=11)
        axes.tick_params(labelsize=_SMALL)
        axes.set_ylim(0, 1.3 * axes.dataLim.ymax)  # space for the text
    figure.supxlabel("entry of the latent", fontsize=10)
    figure.supylabel("density", fontsize=10)
    _legend(figure, {"latents": bars, "normal of the same mean and deviation": curve})
    return figure


def save_histograms(path: str | Path, latents: Mapping[str, np.ndarray]) -> None:
    """Write how normal several methods' latents are, all entries of each in a panel (Fig. 9a and 9b).

    Each panel has the normal density of the same mean and standard deviation, and the skewness and the excess kurtosis,
    both 0 for normal latents. The outermost bins, at five standard deviations or less, hold what is beyond them too.

    Args:
        latents: title to an array of any shape; entries that are not finite are left out.

    Raises:
        ValueError: no latents, or no two of them finite and different.

    Example:
        >>> z = np.random.default_rng(0).normal(size=(100, 16))
        >>> save_histograms("latents.png", {"GON": z, "VAE": z**3})
    """
    save_figure(path, _histograms(latents))


def _clear(figure, axes, texts):
    """Move texts [(text, [values])] of bars away from lines at those values."""
    figure.draw_without_rendering()
    for text, values in texts:
        sign = 1 if text.xyann[1] > 0 else -1
        for value in sorted(values, key=lambda value: sign * value):
            box, line = text.get_window_extent(), axes.transData.transform((0, value))[1]
            if box.y0 - 4 < line < box.y1 + 4:
                away = line - box.y0 if sign > 0 else line - box.y1
                text.xyann = 0, text.xyann[1] + away * 72 / figure.dpi + 3 * sign


def _bars(groups, ylabel, reference, log):
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    values = {
        group: {label: np.atleast_1d(np.asarray(seeds, float)) for label, seeds in bars.items()}
        for group, bars in groups.items()
    }
    for group, bars in values.items():
        for label, seeds in bars.items():
            if seeds.ndim != 1 or not len(seeds):
                raise ValueError(f"expected a value or values [seeds] of {group!r}, {label!r}, got shape {seeds.shape}")
    labels = list(dict.fromkeys(label for bars in values.values() for label in bars))
    shown = [seeds for bars in values.values() for seeds in bars.values() if _drawable(seeds, log).all()]
    if not shown:
        raise ValueError(f"expected at least one {'positive, ' * log}finite value, got none in {list(groups)}")
    references, lines = _references(reference, groups, labels, log)

    slot = min(0.25, 0.8 / len(labels))  # of the distance of groups
    longest = max(map(len, groups))
    figure = new_figure(float(np.clip(1.2 + len(groups) * max(0.45 / slot, 0.1 * longest), 5, 14)), 4)
    axes = figure.add_subplot()
    distance = (figure.get_figwidth() - 1) / len(groups)  # inches
    upright = slot * distance < 0.42
    texts = []
    for group, (title, bars) in enumerate(values.items()):
        for label, seeds in bars.items():
            x = group + (labels.index(label) - (len(labels) - 1) / 2) * slot
            known = references[title].get(label)
            if known is not None:
                axes.hlines(
                    known,
                    x - 0.45 * slot,
                    x + 0.45 * slot,
                    color="0.1",
                    linewidth=1.6,
                    zorder=4,
                    linestyle=lines["paper"].get_linestyle(),
                    label=f"{label}, reference",
                )
            if not _drawable(seeds, log).all():
                axes.text(
                    x, 0.02, "n/a", transform=axes.get_xaxis_transform(), ha="center", fontsize=8, rotation=90 * upright
                )
                continue
            mean, up = seeds.mean(), seeds.mean() >= 0
            axes.bar(x, mean, 0.9 * slot, color=_color(labels.index(label)), label=label)
            if len(seeds) > 1:
                whisker = [[mean - seeds.min()], [seeds.max() - mean]]
                axes.errorbar(x, mean, whisker, color="0.2", linewidth=1, capsize=3)
            text = axes.annotate(
                f"{mean:,.0f}" if abs(mean) >= 1000 else f"{mean:.3g}",
                (x, seeds.max() if up else seeds.min()),
                (0, 3 if up else -3),
                ha="center",
                va="bottom" if up else "top",
                textcoords="offset points",
                fontsize=8,
                rotation=90 * upright,
                zorder=5,
            )
            texts.append(
                (text, [value for name, value in references[title].items() if name == label or name not in labels])
            )
        for label, value in references[title].items():
            if label not in labels:
                axes.hlines(
                    value,
                    group - 0.45,
                    group + 0.45,
                    zorder=4,
                    color="0.3",
                    linewidth=1.3,
                    linestyle=lines[label].get_linestyle(),
                    label=f"{label}, reference",
                )
    if log:
        drawn = [*np.concatenate(shown), *(value for values in references.values() for value in values.values())]
        axes.set_ylim(min(drawn) / 1.5, max(drawn) * (max(drawn) / min(drawn)) ** 0.2 * 1.2)
        log_axis(axes)
    else:
        axes.margins(y=0.25 if upright else 0.12)
        axes.yaxis.set_major_formatter("{x:,.10g}")
    axes.set_xlim(-0.55, len(groups) - 0.45)
    axes.set_xticks([])
    axes.set_xticks(range(len(groups)), list(groups), minor=True, rotation=20 * (0.085 * longest > distance))  # no grid
    axes.set_ylabel(ylabel)
    handles = {label: Patch(color=_color(index)) for index, label in enumerate(labels)} | lines
    if any(len(seeds) > 1 for seeds in shown):
        handles["range of the seeds"] = Line2D([], [], color="0.2", marker="|", markersize=9, linestyle="")
    _legend(figure, handles)
    _clear(figure, axes, texts)
    return figure


def save_bars(
    path: str | Path,
    groups: Mapping[str, Mapping[str, float | Sequence[float]]],
    ylabel: str,
    *,
    reference: Mapping | None = None,
    log: bool = False,
) -> None:
    """Write values of several methods as bars in groups, with their numbers above them.

    Several seeds are drawn as their mean with a whisker from the least to the greatest. Where one of them cannot be
    drawn (not finite, or not positive on a logarithmic axis) "n/a" stands in place of the bar.

    Args:
        groups: group, such as the dataset, to {label: value or [seeds] values}.
        ylabel: the quantity with its unit.
        reference: label to value, in all groups, or group to {label: value}: a dashed line over the bar of that label,
            called "paper", or over the whole group where there is none.
        log: a logarithmic y axis.

    Raises:
        ValueError: values of another shape, or nothing to draw.

    Example:
        >>> save_bars("bars.png", {"MNIST": {"GON": [0.42, 0.44], "AE": 1.3}}, "squared error per image",
        ...           reference={"MNIST": {"GON": 0.41}})
    """
    save_figure(path, _bars(groups, ylabel, reference, log))


def save_image_rows(
    path: str | Path, rows: Mapping[str, np.ndarray], *, columns: Sequence[str] = (), tile: int = 64
) -> None:
    """Write rows of images with a label at the left of each and titles above: convergence, reconstructions, sizes.

    Args:
        rows: label to images [N, H, W, channels], as many in each row. Where the sizes differ the pixels of the smaller
            are enlarged, to the nearest; gray and color may be mixed.
        columns: titles, each above as many images, such as "10 steps", "50 steps"; tiles are made wide enough for them.
        tile: about the longer side of an image, in pixels; larger ones keep their size.

    Raises:
        ValueError: no rows, or of other numbers or proportions; columns that N is no multiple of.

    Example:
        >>> small, large = np.zeros((2, 8, 8, 1)), np.zeros((2, 32, 32, 1))
        >>> save_image_rows("sizes.png", {"8x8": small, "32x32": large}, columns=["first", "second"])
    """
    from PIL import ImageFont

    images = {label: to_pixels(x) for label, x in rows.items()}
    shapes = {label: x.shape for label, x in images.items()}
    if {len(shape) for shape in shapes.values()} != {4} or len({shape[0] for shape in shapes.values()}) > 1:
        raise ValueError(f"expected rows of equally many images [N, H, W, channels], got {shapes}")
    num, height, width = map(max, zip(*(shape[:3] for shape in shapes.values()), strict=True))
    if any(shape[1] * width != shape[2] * height for shape in shapes.values()):
        raise ValueError(f"expected images of the same proportions in all rows, got {shapes}")
    if columns and num % len(columns):
        raise ValueError(f"expected titles for {num} images, got {len(columns)}: {list(columns)}")
    font = ImageFont.load_default(18)  # that of save_labeled
    longest = max((font.getlength(text) for text in columns), default=0)
    factor = max(1, round(tile / max(height, width)), math.ceil((longest + 12) * len(columns) / num / width))
    height, width = factor * height, factor * width
    grid = np.stack(
        [
            np.broadcast_to(x, (*x.shape[:3], 3))[:, np.arange(height) * x.shape[1] // height][
                :, :, np.arange(width) * x.shape[2] // width
            ]
            for x in images.values()
        ]
    )
    save_labeled(path, [(image_grid(grid, tile=1), list(rows))], columns=columns)
