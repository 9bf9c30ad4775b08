"""Make the tables of speed in docs/benchmarks.md, the README's row, and their picture, from the JSON.

python -m benchmarks.step_time_table
"""

import io
import json
import pathlib
import statistics

from benchmarks import report

NAMES = {
    "torch-eager": "PyTorch, the authors' algorithm",
    "torch-compiled": "PyTorch compiled",
    "torch-compiled-channels-last": "PyTorch compiled, channels last",
    "torch-compiled-shared": "PyTorch compiled, our algebra",
    "jax-definition": "gon_jax, by definition",
    "jax-fast": "gon_jax",
    "jax-frozen": "gon_jax, frozen",
}
COLORS = dict(zip(NAMES, ("C1", "C3", "C6", "C4", "C7", "C0", "C2"), strict=True))
FIELDS = {"batch_size": "batch", "latent_size": "latent size", "image_size": "image size, pixels a side"}


def load(name: str) -> dict | None:
    """Return a result, or `None` where it was not measured."""
    path = report.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def case_words(case: dict) -> str:
    """Return a case in words, as in 'conv 32x32, latent 32, batch 64'."""
    kind = {"conv": "convolutional", "vgon": "variational", "siren": "implicit"}[case["kind"]]
    size, noise = case["image_size"], ", one noise per batch" if case.get("shared_noise") else ""
    return f"{kind} {size}x{size}, latent {case['latent_size']}, batch {case['batch_size']}{noise}"


def markdown(rows: list[list[str]]) -> str:
    """Return a Markdown table; the first row is its head."""
    head, *body = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def number(value: float) -> str:
    """Return three digits, without an exponent: 0.0123, 12.3, 1230."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def spread(values) -> str:
    """Return median and range, as in '12.1 (11.9 to 12.6)'."""
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def cases_table(result: dict) -> str:
    """Return two tables: milliseconds per step of each case and side; what else was seen in one case of each kind."""
    shown = [case for case in result["cases"].values() if len(case["sides"]) > 2] or list(result["cases"].values())
    sides = [side for side in NAMES if any(side in case["sides"] for case in shown)]
    steps = [["ms per step, median (range)", *(NAMES[side] for side in sides)]]
    for case in shown:
        timed = case["sides"]
        cells = [spread(timed[side]["rounds_ms"]) if side in timed else "" for side in sides]
        steps.append([case_words(case["case"]), *cells])

    rows = [["", "examples/s", "compile, s", "peak, MB", "GFLOP counted", "of the GEMM peak"]]
    first = {(case["case"]["kind"], case["case"].get("shared_noise")): case for case in reversed(shown)}
    for case in (case for case in shown if case in first.values()):
        for side in (side for side in sides if side in case["sides"]):
            seen = case["sides"][side]
            rows.append(
                [
                    f"{case['case']['name']}, {NAMES[side]}",
                    number(seen["examples_per_second"]),
                    number(seen["seconds_compile"]),
                    number(seen["peak_bytes"] / 1e6),
                    number(seen["flops"] / 1e9),
                    f"{seen['fraction_of_gemm_peak']:.0%}",
                ]
            )
    return f"{markdown(steps)}\n\n{markdown(rows)}"


def against_table(result: dict) -> str:
    """Return milliseconds per step of this checkout and another, and the ratios of rounds side by side."""
    rows = [["ms per step, median (range)", "side", "here", "the other checkout", "here / other"]]
    for case in result["cases"].values():
        for name, other in case["sides"].items():
            side, _, commit = name.partition("@")
            if commit:
                here, there = case["sides"][side]["rounds_ms"], other["rounds_ms"]
                ratios = [a / b for a, b in zip(here, there, strict=True)]
                rows.append([case_words(case["case"]), NAMES[side], spread(here), spread(there), spread(ratios)])
    return markdown(rows)


def encoding_table(result: dict) -> str:
    """Return images per second of every way to encode."""
    shown = list(result["cases"].values())
    sides = [side for side in NAMES if any(side in case["sides"] for case in shown)]
    rows = [["images encoded per second", *(NAMES[side] for side in sides)]]
    for case in shown:
        cells = [number(case["sides"][s]["examples_per_second"]) if s in case["sides"] else "" for s in sides]
        rows.append([case_words(case["case"]), *cells])
    return markdown(rows)


def quality_table(result: dict) -> str:
    """Return the seconds to each level of test error: median and range over seeds."""
    levels = result["levels"]
    rows = [["seconds to a test error of", *(f"{x:g}, compile {y}" for x in levels for y in ("included", "excluded"))]]
    for side in (side for side in NAMES if any(run["side"] == side for run in result["runs"])):
        row = [NAMES[side]]
        for level in map(str, levels):
            reached = [run["reached"].get(level) for run in result["runs"] if run["side"] == side]
            for key in ("seconds_with_compile", "seconds"):
                row.append(spread([r[key] for r in reached]) if all(reached) else "not reached")
        rows.append(row)
    return markdown(rows)


def table(step_time: dict, encoding: dict | None = None, quality: dict | None = None) -> str:
    """Return everything that docs/benchmarks.md shows between the marks of step time."""
    tables = [cases_table(step_time)]
    tables += [encoding_table(encoding)] if encoding else []
    tables += [quality_table(quality)] if quality else []
    return "\n\n".join(tables)


def page_with(text: str) -> str:
    """Return the page's text with the tables of the results there are."""
    found = load("step_time_cpu"), load("encoding_cpu"), load("time_to_quality_cpu")
    text = report.page_with(text, "step time", table(*found))
    return report.page_with(text, "variational step time", cases_table(load("step_time_vgon_vgon-shared_cpu")))


def readme_table(result: dict) -> str:
    """Return the README's one row: milliseconds per step of the first case."""
    return "\n".join(cases_table(result).splitlines()[:3])


def draw(result: dict) -> pathlib.Path:
    """Draw a bar for each case and side, and how the time of a step grows with each size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    growth = result["growth"]
    shown = [case for case in result["cases"].values() if len(case["sides"]) > 2] or list(result["cases"].values())
    num_bars = sum(len(case["sides"]) for case in shown) + len(shown)
    figure = Figure(figsize=(9, 0.19 * num_bars + (3.6 if growth else 1)), dpi=110, layout="constrained")
    panels = figure.subfigures(2, 1, height_ratios=[0.19 * num_bars + 0.7, 2.9]) if growth else [figure]
    axes, at, ticks = panels[0].subplots(), 0, []
    for case in shown:
        sides = [side for side in NAMES if side in case["sides"]]
        ticks.append((at + (len(sides) - 1) / 2, case_words(case["case"])))
        for side in sides:
            seen = case["sides"][side]
            error = [[seen["median_ms"] - seen["min_ms"]], [seen["max_ms"] - seen["median_ms"]]]
            axes.barh(at, seen["median_ms"], color=COLORS[side], xerr=error, error_kw={"lw": 1})
            axes.annotate(
                number(seen["median_ms"]),
                (seen["max_ms"], at),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
            at += 1
        at += 1
    labels = [side for side in NAMES if any(side in case["sides"] for case in shown)]
    handles = [axes.barh(0, 0, color=COLORS[side]) for side in labels]
    labels = [NAMES[side] for side in labels]
    panels[0].legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    axes.set(xscale="log", xlabel="milliseconds per training step; median, bars from the fastest round to the slowest")
    axes.margins(x=0.12, y=0.01)
    axes.invert_yaxis()
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    below = panels[1].subplots(1, len(growth), sharey=True) if growth else ()
    for axes, (field, names) in zip(below, growth.items(), strict=True):
        grown = [result["cases"][name] for name in names]
        sizes = [case["case"][field] for case in grown]
        for side in (s for s in NAMES if all(s in case["sides"] for case in grown)):
            milliseconds = [case["sides"][side]["median_ms"] for case in grown]
            axes.plot(sizes, milliseconds, ".-", color=COLORS[side], label=NAMES[side])
        axes.set(xscale="log", yscale="log", xlabel=FIELDS[field], xticks=sizes, xticklabels=map(str, sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        if field == next(iter(growth)):
            axes.set_ylabel("milliseconds per step")
            axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    path = report.RESULTS / "step_time.png"
    path.write_bytes(buffer.getvalue())
    return path


def main():
    report.PAGE.write_text(page_with(report.PAGE.read_text()))
    report.README.write_text(report.page_with(report.README.read_text(), "speed", readme_table(load("step_time_cpu"))))
    print(draw(load("step_time_cpu")))


if __name__ == "__main__":
    main()
