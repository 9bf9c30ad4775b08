"""How every picture, film and sound gets onto the disk, and what all plots share."""

import io
import os
from pathlib import Path


def write(path, content: bytes, suffix: str = ".png") -> None:
    """Write bytes under a temporary name and rename, so that nobody sees half a picture."""
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise ValueError(
            f"expected a path that ends in {suffix}, got {str(path)!r}: this is written as {suffix[1:].upper()}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def new_figure(width: float, height: float):
    """Return an empty matplotlib figure of that size in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)  # inches
    return figure


def save_figure(path, figure) -> None:
    """Write a matplotlib figure as PNG, its axes without a box and on a faint grid."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write(path, buffer.getvalue())
