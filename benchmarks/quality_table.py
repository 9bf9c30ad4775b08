"""Make the table of test errors in docs/benchmarks.md, and its picture, from the JSON of both sides.

python -m benchmarks.quality_table
"""

import io
import json
import pathlib

from benchmarks import report

EPOCHS = (1, 2, 5, 10)
PUBLISHED = {  # logs of the authors' architecture that others published, one seed
    "mnist": (3.61, 1.56, 0.942, 0.708),
    "fashion_mnist": (4.69, 3.12, 2.00, 1.45),
}
SIDES = {"jax": "gon_jax", "torch": "the authors' algorithm in PyTorch"}
NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def curves(dataset: str, side: str, key: str = "test_squared_error") -> list[list[float]]:
    """Return one list per epoch, the errors of all seeds."""
    runs = json.loads((report.RESULTS / f"quality_{dataset}_{side}.json").read_text())["runs"]
    return [list(errors) for errors in zip(*([point[key] for point in run["curve"]] for run in runs), strict=True)]


def cell(errors: list[float]) -> str:
    """Return mean and range, as in '0.95 (0.93 to 0.97)'."""
    return f"{sum(errors) / len(errors):.3g} ({min(errors):.3g} to {max(errors):.3g})"


def table() -> str:
    """Return the Markdown table."""
    lines = ["| | " + " | ".join(f"epoch {e}" for e in EPOCHS) + " |", "|---|" + "---|" * len(EPOCHS)]
    for dataset, name in NAMES.items():
        rows = {words: curves(dataset, side) for side, words in SIDES.items()}
        rows["gon_jax, averaged statistics"] = curves(dataset, "jax", "test_squared_error_running")
        cells = {words: [cell(errors[e - 1]) for e in EPOCHS] for words, errors in rows.items()}
        cells["published logs, one seed"] = [f"{value:.3g}" for value in PUBLISHED[dataset]]
        lines += [f"| {name}, {words} | " + " | ".join(values) + " |" for words, values in cells.items()]
    return "\n".join(lines)


def draw() -> pathlib.Path:
    """Draw every seed's curve of both sides, and the published points."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    for axes, (dataset, name) in zip(figure.subplots(1, 2), NAMES.items(), strict=True):
        for (side, words), color in zip(SIDES.items(), ("C0", "C1"), strict=True):
            errors = curves(dataset, side)
            epochs = range(1, len(errors) + 1)
            axes.fill_between(epochs, [min(e) for e in errors], [max(e) for e in errors], color=color, alpha=0.25, lw=0)
            axes.plot(epochs, [sum(e) / len(e) for e in errors], color=color, label=f"{words}, {len(errors[0])} seeds")
        axes.plot(EPOCHS, PUBLISHED[dataset], "k.", label="published logs, one seed")
        axes.set(yscale="log", title=name, xlabel="epoch", ylabel="squared error per test image")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path = report.RESULTS / "quality.png"
    path.write_bytes(buffer.getvalue())
    return path


def main():
    print(table())
    report.PAGE.write_text(report.page_with(report.PAGE.read_text(), "quality", table()))
    print(draw())


if __name__ == "__main__":
    main()
