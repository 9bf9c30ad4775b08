"""Methods side by side: curves in panels, scattered codes, histograms, bars and rows of images.

A method has one color in all panels of a picture. Every `save_...` checks and draws in a function of its own, which
returns the matplotlib figure.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from gon_jax.plotting.canvas import new_figure, save_figure
from gon_jax.plotting.image_grids import image_grid, save_labeled, to_uint8

_DASHES = ("-", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # none is that of a reference
_SMALL = 9  # points, of texts in panels and legends


def _color(index):
    from matplotlib import color_sequences

    return color_sequences["petroff10"][index % 10]  # made for those who see few colors, too


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
    """Draw one legend {label: artist} above all panels, in as few rows as have room, and make the figure higher."""
    lengths = list(map(len, handles))
    for rows in range(1, len(handles) + 1):
        columns = math.ceil(len(handles) / rows)
        room = sum(0.65 + 0.075 * max(part) for part in np.array_split(lengths, columns))  # inches: line and letters
        if room < figure.get_figwidth():
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


def _plain(value, _=None):
    """A number for a tick or a bar, with commas and not in powers of ten up to a billion."""
    return f"{value:,.10g}" if abs(value) >= 1e-4 else f"{value:.3g}"


def _log_axis(axes):
    """A logarithmic y axis with enough plain numbers on it, however small its range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(
        MaxNLocator(6) if high < 8 * low else LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,))
    )
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _curve(name, x, y, log):
    """Return x, the mean of all seeds, the least and the greatest, where every seed can be drawn."""
    x, y = np.asarray(x, float), np.atleast_2d(np.asarray(y, float))
    if x.ndim != 1 or y.ndim != 2 or not len(y) or y.shape[1] != len(x):
        raise ValueError(f"expected x [N] and y [N] or [seeds, N] of {name!r}, got shapes {x.shape} and {y.shape}")
    shown = np.isfinite(x) & _drawable(y, log).all(0)
    return x[shown], y[:, shown].mean(0), y[:, shown].min(0), y[:, shown].max(0), len(y)


def _panels(panels, xlabel, ylabel, log, reference):
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter, MaxNLocator

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
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.tick_params(labelsize=_SMALL)
    if log:
        _log_axis(all_axes[0])  # they share it
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

    Of several seeds the mean is drawn, in a band from the least to the greatest. A point that cannot be drawn for one
    of the seeds (not finite, or not positive on a logarithmic axis) is left out: the mean of those that are left would
    be another curve's.

    Args:
        path: ends in `.png`.
        panels: title to {label: (x [N], y [N] or [seeds, N])}; up to about ten labels can be told apart.
        xlabel: of all panels, such as "training step".
        ylabel: the quantity with its unit, such as "squared error per image".
        log: a logarithmic y axis.
        reference: label to value, in all panels, or title to {label: value}. Dashed and in the color of the curve with
            that label, called "paper"; in gray where there is none.

    Raises:
        ValueError: shapes that do not fit, or nothing to draw.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     curves = {"GON": ([1, 2, 3], [[9, 3, 1], [8, 4, 2]]), "AE": ([1, 2, 3], [9, 5, 4])}
        ...     save_panels(f"{folder}/panels.png", {"MNIST": curves}, xlabel="training step",
        ...                 ylabel="squared error per image", reference={"GON": 0.9})
    """
    save_figure(path, _panels(panels, xlabel, ylabel, log, reference))


def _scatter(points, labels, names, shade, title):
    from matplotlib import color_sequences
    from matplotlib.lines import Line2D

    if not isinstance(points, Mapping):
        points, labels, shade = {"": points}, {"": labels}, {"": shade} if shade else None
    shade = shade or {}
    if not points or labels.keys() != points.keys() or not shade.keys() <= points.keys():
        raise ValueError(
            f"expected points, labels and perhaps shades of the same titles, got {list(points)}, "
            f"{list(labels)} and {list(shade)}"
        )
    clouds, num = {}, 1
    for name, z in points.items():
        z, y = np.asarray(z, float), np.asarray(labels[name])
        if z.ndim != 2 or z.shape[1] != 2 or y.shape != z.shape[:1] or y.dtype.kind not in "iu":
            raise ValueError(
                f"expected points [N, 2] and integers [N]{f' of {name!r}' * bool(name)}, got shapes "
                f"{z.shape} and {y.shape}, {y.dtype}: codes of more dimensions need a projection first"
            )
        xs, ys, regions = map(np.asarray, shade.get(name, ([], [], np.zeros([0, 0], int))))
        if regions.shape != (len(ys), len(xs)) or regions.dtype.kind not in "iu":
            raise ValueError(
                f"expected a shade of xs [W], ys [H] and integers [H, W], got shapes {xs.shape}, "
                f"{ys.shape} and {regions.shape}, {regions.dtype}"
            )
        clouds[name] = z, y, np.isfinite(z).all(1), (xs, ys, regions)
        num = max(num, 1 + max(y, default=0), 1 + regions.max(initial=0))
        if min(y, default=0) < 0 or regions.min(initial=0) < 0 or num > 20:
            raise ValueError(f"expected classes from 0 to at most 19, got {min(y, default=0)} to {num - 1}")
    if not any(shown.any() for _, _, shown, _ in clouds.values()):
        raise ValueError("expected at least one finite point, got none: has the training diverged?")
    names = [str(label) for label in range(num)] if names is None else list(names)
    if len(names) < num:
        raise ValueError(f"expected a name for each of {num} classes, got {len(names)}: {names}")
    colors = np.array(color_sequences["petroff10" if num <= 10 else "tab20"])
    figure, all_axes = _subplots(len(points), 4)
    for axes, (name, (z, y, shown, (xs, ys, regions))) in zip(all_axes, clouds.items(), strict=True):
        axes.set_aspect("equal", adjustable="box" if regions.size else "datalim")
        if regions.size:
            axes.pcolormesh(xs, ys, 1 - 0.25 * (1 - colors[regions]), shading="nearest")
            axes.set(xlim=(min(xs), max(xs)), ylim=(min(ys), max(ys)))
        axes.scatter(*z[shown].T, s=float(np.clip(15_000 / len(z), 2.5, 16)), c=colors[y[shown]], linewidths=0)
        axes.set(xlabel="code, dimension 1", ylabel="code, dimension 2")
        axes.set_title(name, fontsize=11)
        axes.tick_params(labelsize=_SMALL)
    handles = [Line2D([], [], color=colors[label], marker="o", linestyle="") for label in range(num)]
    figure.legend(handles, names[:num], loc="outside right center", frameon=False, fontsize=_SMALL)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def save_scatter(
    path: str | Path,
    points: np.ndarray | Mapping[str, np.ndarray],
    labels: np.ndarray | Mapping[str, np.ndarray],
    *,
    names: Sequence[str] | None = None,
    shade: tuple | Mapping[str, tuple] | None = None,
    title: str | None = None,
) -> None:
    """Write two-dimensional codes, colored by their class, on the regions of a classifier if there is one (Fig. 12).

    Args:
        path: ends in `.png`.
        points: [N, 2], or title to such for panels side by side; those that are not finite are left out.
        labels: classes [N], integers below 20, or title to such.
        names: of the classes; by default their numbers.
        shade: xs [W], ys [H] and the class [H, W] decided on at each point of that grid, or title to such a triple.
        title: above all.

    Raises:
        ValueError: shapes or titles that do not fit, or no finite point.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     line = np.linspace(-1, 1, 50)
        ...     regions = np.where(line > 0, 1, 0) * np.ones([50, 1], int)
        ...     save_scatter(f"{folder}/codes.png", np.array([[-0.5, 0], [0.5, 0.2]]), np.array([0, 1]),
        ...                  shade=(line, line, regions))
    """
    save_figure(path, _scatter(points, labels, names, shade, title))


def _histograms(codes, bins, standardize):
    values = {}
    for name, z in codes.items():
        z = np.asarray(z, np.float64)
        values[name] = z = z[np.isfinite(z)]
        if len(z) < 2 or not z.std() > 1e-12 * abs(z).max():
            raise ValueError(
                f"expected at least two finite codes that differ of {name!r}, got {len(z)} of shape "
                f"{np.shape(codes[name])}: diverged or collapsed?"
            )
    if not values:
        raise ValueError("expected at least one array of codes, got none")
    figure, all_axes = _subplots(len(values), 3.3, sharex=standardize)
    for axes, (name, z) in zip(all_axes, values.items(), strict=True):
        mean, std = z.mean(), z.std()
        z = (z - mean) / std
        mean, std = (0, 1) if standardize else (mean, std)
        reach = np.clip(abs(z).max(), 3.5, 5)
        normal, line = NormalDist(mean, std), mean + std * np.linspace(-reach, reach, 301)
        bars = axes.hist(
            mean + std * np.clip(z, -reach, reach),
            bins,
            range=(line[0], line[-1]),
            density=True,
            color=_color(0),
            alpha=0.6,
        )[2]
        (curve,) = axes.plot(line, [normal.pdf(t) for t in line], color="0.2", linewidth=1.4)
        axes.text(
            0.03,
            0.97,
            f"skewness {(z**3).mean():.2f}\nexcess kurtosis {(z**4).mean() - 3:.2f}",
            va="top",
            transform=axes.transAxes,
            fontsize=_SMALL,
            bbox=dict(color="white", pad=1),
        )
        axes.set_title(name, fontsize=11)
        axes.tick_params(labelsize=_SMALL)
        axes.set_ylim(0, 1.3 * axes.dataLim.ymax)  # room for the text
    figure.supxlabel("standard deviations from the mean" if standardize else "entry of the code", fontsize=10)
    figure.supylabel("density", fontsize=10)
    _legend(figure, {"codes": bars, "normal of the same mean and deviation": curve})
    return figure


def save_histograms(
    path: str | Path, codes: Mapping[str, np.ndarray], *, bins: int = 60, standardize: bool = False
) -> None:
    """Write how normal several methods' codes are, all entries of each in a panel (Fig. 9a and 9b).

    In each the normal density of the same mean and standard deviation, and the skewness and the excess kurtosis, both
    0 for normal codes. The outermost bins, at five standard deviations or less, hold what is beyond them too.

    Args:
        path: ends in `.png`.
        codes: title to an array of any shape; entries that are not finite are left out.
        bins: of each histogram.
        standardize: shift and scale each array to mean 0 and standard deviation 1, so that only the shapes differ.

    Raises:
        ValueError: no codes, or fewer than two of them finite and different.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     z = np.random.default_rng(0).normal(size=(100, 16))
        ...     save_histograms(f"{folder}/codes.png", {"GON": z, "VAE": z**3})
    """
    save_figure(path, _histograms(codes, bins, standardize))


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
    from matplotlib.ticker import FuncFormatter

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
        _log_axis(axes)
    else:
        axes.margins(y=0.25 if upright else 0.12)
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
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

    Of several seeds the mean is drawn, with a whisker from the least to the greatest. Where one of them cannot be drawn
    (not finite, or not positive on a logarithmic axis) "n/a" stands in place of the bar.

    Args:
        path: ends in `.png`.
        groups: group, such as the dataset, to {label: value or [seeds] values}.
        ylabel: the quantity with its unit.
        reference: label to value, in all groups, or group to {label: value}: a dashed line over the bar of that label,
            called "paper", or over the whole group where there is none.
        log: a logarithmic y axis.

    Raises:
        ValueError: values of another shape, or nothing to draw.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_bars(f"{folder}/bars.png", {"MNIST": {"GON": [0.42, 0.44], "AE": 1.3}}, "squared error per image",
        ...               reference={"MNIST": {"GON": 0.41}})
    """
    save_figure(path, _bars(groups, ylabel, reference, log))


def save_image_rows(
    path: str | Path, rows: Mapping[str, np.ndarray], *, columns: Sequence[str] = (), tile: int = 64
) -> None:
    """Write rows of images with a label at the left of each and titles above: convergence, reconstructions, sizes.

    Args:
        path: ends in `.png`.
        rows: label to images [N, H, W, channels], as many in each row. Where the sizes differ the pixels of the smaller
            are enlarged, to the nearest; gray and color may be mixed.
        columns: titles, each above as many images, such as "10 steps", "50 steps"; tiles are made wide enough for them.
        tile: about the longer side of an image, in pixels; larger ones keep their size.

    Raises:
        ValueError: no rows, or of other numbers or proportions; columns that N is no multiple of.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     small, large = np.zeros((2, 8, 8, 1)), np.zeros((2, 32, 32, 1))
        ...     save_image_rows(f"{folder}/sizes.png", {"8x8": small, "32x32": large}, columns=["first", "second"])
    """
    from PIL import ImageFont

    images = {label: to_uint8(x) for label, x in rows.items()}
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
