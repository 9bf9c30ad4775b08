"""What all plots share: empty figures, logarithmic axes, and files written whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gon_jax._files import write_file

if TYPE_CHECKING:  # matplotlib loads when the first plot is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["log_axis", "new_figure", "save_figure"]


def _write(path, suffix, write_fn):
    """Write a file atomically, as `write_file` does, or raise ValueError where its name has another suffix."""
    if Path(path).suffix.lower() != suffix:
        raise ValueError(f"expected a path that ends in {suffix}, the format written, got {str(path)!r}")
    write_file(path, write_fn)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty matplotlib figure of that size in inches, without pyplot."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), dpi=140, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))  # inches


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a matplotlib figure as PNG, its axes without a box and on a faint grid."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    _write(path, ".png", lambda file: figure.savefig(file, format="png"))


def log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with enough plain numbers on it, however small its range."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    subs = (1, 2, 5) if high < 300 * low else (1,)
    axes.yaxis.set_major_locator(MaxNLocator(6) if high < 8 * low else LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:,.10g}" if y >= 1e-4 else f"{y:.3g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
