"""Make the table of test errors in docs/benchmarks.md, and its picture, from the JSON of both sides.

python -m benchmarks.quality_table
"""

import io
import pathlib

from benchmarks import report
from benchmarks.published_logs import published
from benchmarks.tables import load_all, markdown, sources

EPOCHS = (1, 2, 5, 10, 20, 50)
PUBLISHED = {dataset: published(dataset) for dataset in ("mnist", "fashion_mnist")}
SIDES = {"jax": "gon_jax", "torch": "the authors' algorithm in PyTorch"}
NAMES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}


def results(dataset: str, side: str) -> dict[str, dict]:
    """Return the results of all seeds, by the name of their file."""
    return load_all(f"quality_{dataset}_{side}_seed*")


def curves(dataset: str, side: str, key: str = "test_squared_error") -> list[list[float]]:
    """Return one list per epoch, the errors of the seeds that have got so far."""
    runs = [[point[key] for point in result["curve"]] for result in results(dataset, side).values()]
    return [[run[i] for run in runs if i < len(run)] for i in range(max(map(len, runs), default=0))]


def cell(errors: list[float]) -> str:
    """Return mean and range, as in '0.95 (0.93 to 0.97)'; of one seed, its error."""
    mean = f"{sum(errors) / len(errors):.3g}"
    return f"{mean} ({min(errors):.3g} to {max(errors):.3g})" if len(errors) > 1 else mean


def table() -> str:
    """Return the Markdown table; a cell of fewer seeds than its row has says so."""
    lines = []
    for dataset, name in NAMES.items():
        rows = {words: curves(dataset, side) for side, words in SIDES.items()}
        rows["gon_jax, averaged statistics"] = curves(dataset, "jax", "test_squared_error_running")
        for words, of_epochs in rows.items():
            if not of_epochs:
                continue
            count = len(of_epochs[0])
            lines.append([f"{name}, {words}", str(count)])
            for errors in (of_epochs[epoch - 1] if epoch <= len(of_epochs) else [] for epoch in EPOCHS):
                fewer = f", {len(errors)} of {count} seeds" if 0 < len(errors) < count else ""
                lines[-1].append(cell(errors) + fewer if errors else "")
        cells = [f"{PUBLISHED[dataset][epoch]:.3g}" if epoch in PUBLISHED[dataset] else "" for epoch in EPOCHS]
        lines.append([f"{name}, published logs", "1", *cells])
    reached = [i for i in range(len(EPOCHS)) if any(line[2 + i] for line in lines if "published" not in line[0])]
    rows = [["", "seeds", *(f"epoch {epoch}" for epoch in EPOCHS)], *lines]
    found = {name: result for dataset in NAMES for side in SIDES for name, result in results(dataset, side).items()}
    shown = markdown([[*row[:2], *(row[2 + i] for i in reached)] for row in rows])
    return f"{shown}\n\n{sources(found, mixed=True)}"


def draw() -> pathlib.Path:
    """Draw mean and range of both sides' curves, over the epochs that all seeds have, and the published points."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    for axes, (dataset, name) in zip(figure.subplots(1, 2), NAMES.items(), strict=True):
        for (side, words), color in zip(SIDES.items(), ("C0", "C1"), strict=True):
            errors = curves(dataset, side)
            errors = [e for e in errors if len(e) == len(errors[0])]
            if not errors:
                continue
            epochs = range(1, len(errors) + 1)
            axes.fill_between(epochs, [min(e) for e in errors], [max(e) for e in errors], color=color, alpha=0.25, lw=0)
            seeds = f"{len(errors[0])} seeds" if len(errors[0]) > 1 else "one seed"
            axes.plot(epochs, [sum(e) / len(e) for e in errors], color=color, label=f"{words}, {seeds}")
        points = [(epoch, error) for epoch, error in PUBLISHED[dataset].items() if epoch <= max(EPOCHS)]
        axes.plot(*zip(*points, strict=True), "k.", label="published logs, one seed")
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
