"""Make the tables of speed in docs/benchmarks.md, the README's, and their picture, from the JSON.

python -m benchmarks.step_time_table
"""

import io
import pathlib

from benchmarks import cases, report
from benchmarks.sides import ALONE, NAMES, split, words
from benchmarks.tables import load, load_all, markdown, number, sources, spread

COLORS = dict(zip(NAMES, ("C1", "C3", "C4", "C6", "C8", "C7", "C0", "C5", "C2"), strict=True))
FIELDS = {"batch_size": "batch", "latent_size": "latent size", "image_size": "image size, pixels a side"}
PRODUCTS = {"jnp.dot": "XLA, `jnp.dot`", "torch.mm": "PyTorch, `torch.mm`", "oneDNN": "PyTorch, oneDNN"}
PUBLISHED = tuple(name for name in cases.CASES if not name.startswith("smoke"))
ALGORITHMS = {  # in PyTorch, and the sides that have it
    "the authors' algorithm": ("torch-eager", "torch-compiled"),
    "our algebra": ("torch-compiled-shared",),
}
VARIATIONAL = ("vgon", "vgon-shared")


def load_cases(prefix: str, names) -> dict[str, dict]:
    """Return the results of these cases, those that were measured, by the name of the case."""
    found = {name: load(f"{prefix}_{name}_cpu") for name in names}
    return {name: result for name, result in found.items() if result is not None}


def sources_of(prefix: str, results: dict[str, dict]) -> str:
    """Return `tables.sources` of results by the name of the case."""
    return sources({f"{prefix}_{name}_cpu": result for name, result in results.items()})


def case_words(case: dict) -> str:
    """Return a case in words, as in 'convolutional 32x32, latent 32, batch 64'."""
    kind = {"conv": "convolutional", "vgon": "variational", "siren": "implicit"}[case["kind"]]
    size, noise = case["image_size"], ", one noise per batch" if case.get("shared_noise") else ""
    return f"{kind} {size}x{size}, latent {case['latent_size']}, batch {case['batch_size']}{noise}"


def timed(result: dict) -> dict[str, dict]:
    """Return the sides that were timed, not those that failed."""
    return {side: seen for side, seen in result["sides"].items() if "failed" not in seen}


def peaks(results: dict[str, dict]) -> dict[str, dict[int, float]]:
    """Return operations per second of each way to multiply matrices: name to size to the best that any side saw."""
    best: dict[str, dict[int, float]] = {}
    for seen in (seen for result in results.values() for seen in timed(result).values()):
        for name, rates in seen["products"].items():
            for size, rate in rates.items():
                of = best.setdefault(name, {})
                of[int(size)] = max(rate, of.get(int(size), 0.0))
    return {name: best[name] for name in PRODUCTS if name in best}


def peaks_table(results: dict[str, dict]) -> str:
    """Return TFLOP/s of float32 matrix products of each library."""
    found = peaks(results)
    sizes = sorted({size for rates in found.values() for size in rates})
    rows = [["float32 matrix product, TFLOP/s", *(f"{n} x {n}" for n in sizes)]]
    for name, rates in found.items():
        rows.append([PRODUCTS[name], *(number(rates[n] / 1e12) if n in rates else "" for n in sizes)])
    return markdown(rows)


def achieved(seen: dict, found: dict[str, dict[int, float]]) -> tuple[float, float]:
    """Return counted operations per second of a side's steps, and the share of the peak of its own products."""
    rate = seen["flops"] / (1e-3 * seen["median_ms"])
    return rate, rate / max(found[seen["own_product"]].values())


def shown_in_rows(results: dict[str, dict]) -> dict[str, dict]:
    """Return the cases that have a row: those of growth alone are drawn."""
    return {name: result for name, result in results.items() if name in cases.FULL} or results


def cases_tables(results: dict[str, dict]) -> str:
    """Return two tables of cases and sides without options: milliseconds per step, and shares of the side's peak."""
    shown, found = shown_in_rows(results), peaks(results)
    sides = [side for side in NAMES if any(side in result["sides"] for result in shown.values())]
    steps = [["ms per step, median (range)", *map(words, sides)]]
    shares = [["GFLOP/s, share of the side's own peak", *map(words, sides)]]
    for result in shown.values():
        steps.append([case_words(result["case"])])
        shares.append([case_words(result["case"])])
        for side in sides:
            seen = result["sides"].get(side)
            if seen is None or "failed" in seen:
                steps[-1].append("" if seen is None else "failed")
                shares[-1].append("")
                continue
            rate, share = achieved(seen, found)
            steps[-1].append(spread(seen["rounds_ms"]))
            shares[-1].append(f"{number(rate / 1e9)}, {share:.0%}")
    return f"{markdown(steps)}\n\n{markdown(shares)}"


def ratios(one: dict, other: dict) -> str:
    """Return median and range of the ratios of two sides' rounds, which were timed side by side."""
    return spread([a / b for a, b in zip(one["rounds_ms"], other["rounds_ms"], strict=True)])


def alone_table(results: dict[str, dict]) -> str:
    """Return how many times the decoder alone a step costs, in time (of rounds side by side) and in operations."""
    columns = ["time, median (range)", "operations counted", "ms of the decoder alone", "of its own peak"]
    rows, found = [["gon_jax's step over the decoder trained alone", *columns]], peaks(results)
    for result in shown_in_rows(results).values():
        ours, alone = (timed(result).get(side) for side in ("jax-fast", ALONE))
        if ours and alone:
            counted, share = number(ours["flops"] / alone["flops"]), f"{achieved(alone, found)[1]:.0%}"
            rows.append([case_words(result["case"]), ratios(ours, alone), counted, spread(alone["rounds_ms"]), share])
    return markdown(rows) if len(rows) > 1 else ""


def decoder_alone_table(result: dict) -> str:
    """Return `alone_table` of all cases of a measurement, and how many times the fast form the definition costs."""
    rows = [["gon_jax, by definition, over the fast form", "time, median (range)", "operations counted"]]
    for case in result["cases"].values():
        slow, fast = case["sides"]["jax-definition"], case["sides"]["jax-fast"]
        rows.append([case_words(case["case"]), ratios(slow, fast), number(slow["flops"] / fast["flops"])])
    return f"{alone_table(result['cases'])}\n\n{markdown(rows)}"


def fastest(result: dict) -> dict[str, str]:
    """Return the fastest of several sides of PyTorch, by the authors' algorithm and by our algebra: side to which."""
    best = {}
    for which, bases in ALGORITHMS.items():
        sides = [side for side in timed(result) if split(side)[0] in bases]
        if len(sides) > 1:
            best[min(sides, key=lambda side: result["sides"][side]["median_ms"])] = which
    return best


def sides_table(result: dict, found: dict[str, dict[int, float]]) -> str:
    """Return all that was seen of a case, a row for each side; the fastest of PyTorch are marked."""
    ours, best = timed(result).get("jax-fast"), fastest(result)
    columns = ["ms per step, median (range)", "times gon_jax's", "GFLOP counted", "GFLOP/s", "of its own peak"]
    rows = [[case_words(result["case"]), *columns, "compile, s", "peak, MB"]]
    for side, seen in result["sides"].items():
        name = words(side) + (f" (the fastest of PyTorch by {best[side]})" if side in best else "")
        if "failed" in seen:
            rows.append([name, f"failed: {seen['failed'].replace('|', '/')}", *[""] * 6])
            continue
        rate, share = achieved(seen, found)
        rows.append(
            [
                name,
                spread(seen["rounds_ms"]),
                number(seen["median_ms"] / ours["median_ms"]) if ours else "",
                number(seen["flops"] / 1e9),
                number(rate / 1e9),
                f"{share:.0%}",
                number(seen["seconds_compile"]),
                number(seen["peak_bytes"] / 1e6),
            ]
        )
    return markdown(rows)


def step_time_tables(results: dict[str, dict]) -> str:
    """Return all tables of step times: peaks, cases, and the sides of the cases where all were timed."""
    few = set(NAMES) - {"jax-plain"}
    detailed = [result for result in results.values() if set(result["sides"]) - few]
    detailed = detailed or [result for name, result in results.items() if name in cases.TUNED]
    tables = [peaks_table(results), cases_tables(results), alone_table(results)]
    tables += [sides_table(result, peaks(results)) for result in detailed]
    return "\n\n".join(filter(None, tables))


def against_table(result: dict) -> str:
    """Return milliseconds per step of this checkout and another, and the ratios of rounds side by side."""
    rows = [["ms per step, median (range)", "side", "here", "the other checkout", "here / other"]]
    for case in result["cases"].values():
        for name, other in case["sides"].items():
            side, _, commit = name.partition("@")
            if commit:
                here = case["sides"][side]
                times = spread(here["rounds_ms"]), spread(other["rounds_ms"])
                rows.append([case_words(case["case"]), words(side), *times, ratios(here, other)])
    return markdown(rows)


def encoding_table(results: dict[str, dict]) -> str:
    """Return images per second of every way to encode, a row for each."""
    sides = dict.fromkeys(side for result in results.values() for side in result["sides"])
    rows = [["images encoded per second", *(case_words(result["case"]) for result in results.values())]]
    for side in sides:
        cells = [timed(result).get(side) for result in results.values()]
        rows.append([words(side), *(number(seen["examples_per_second"]) if seen else "" for seen in cells)])
    return markdown(rows)


def time_to_quality_table(results: dict[str, dict]) -> str:
    """Return the seconds to each level of test error: median and range over seeds."""
    runs = [run for result in results.values() for run in result["runs"]]
    levels = next(iter(results.values()))["levels"]
    columns = [f"{level:g}, compile {what}" for level in levels for what in ("included", "excluded")]
    rows = [["seconds to a test error of", *columns, "seeds"]]
    for side in dict.fromkeys(run["side"] for run in runs):
        own = [run for run in runs if run["side"] == side]
        row = [words(side)]
        for level in map(str, levels):
            reached = [run["reached"].get(level) for run in own]
            for key in ("seconds_with_compile", "seconds"):
                row.append(spread([r[key] for r in reached]) if all(reached) else "not reached")
        rows.append([*row, str(len(own))])
    return markdown(rows)


def page_with(text: str) -> str:
    """Return the page's text with the tables of the results there are; where there are none it says so."""
    of_seeds = {name.split("_")[3]: result for name, result in load_all("time_to_quality_seed*_cpu").items()}
    of = {
        "step time": ("step_time", measured(), step_time_tables),
        "variational step time": ("step_time", load_cases("step_time", VARIATIONAL), step_time_tables),
        "encoding": ("encoding", load_cases("encoding", PUBLISHED), encoding_table),
        "time to quality": ("time_to_quality", of_seeds, time_to_quality_table),
        "decoder alone": ("decoder", load_cases("decoder", ["alone"]), lambda of: decoder_alone_table(of["alone"])),
    }
    for mark, (prefix, results, table) in of.items():
        tables = f"{table(results)}\n\n{sources_of(prefix, results)}" if results else "Not measured yet."
        text = report.page_with(text, mark, tables)
    return text


def readme_table(results: dict[str, dict]) -> str:
    """Return the README's table, of the first case: PyTorch as the authors', and at its fastest; plain JAX; ours."""
    result, found = next(iter(results.values())), peaks(results)
    best = fastest(result)
    compiled = {bases[-1] for which, bases in ALGORITHMS.items() if which in best.values()}  # the fastest is instead
    columns = [side for side in timed(result) if side in best or (side in NAMES and side not in (*compiled, ALONE))]
    rows = [
        [case_words(result["case"]), *map(words, columns)],
        ["ms per step, median (range)"],
        ["of the peak of its own products, TFLOP/s"],
    ]
    for seen in (result["sides"][side] for side in columns):
        peak = number(max(found[seen["own_product"]].values()) / 1e12)
        rows[1].append(spread(seen["rounds_ms"]))
        rows[2].append(f"{achieved(seen, found)[1]:.0%} of {peak}")
    sources_of("step_time", results)  # refuses several commits
    return markdown(rows)


def measured() -> dict[str, dict]:
    """Return all step times but those of variational cases, which have tables of their own."""
    return load_cases("step_time", [name for name in PUBLISHED if name not in VARIATIONAL])


def draw(results: dict[str, dict]) -> pathlib.Path:
    """Draw a bar for each case and side, and how the time of a step grows with each size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    growth = {field: [results.get(case.name) for case in grown] for field, grown in cases.GROWTH.items()}
    growth = {field: grown for field, grown in growth.items() if all(grown)}
    shown = [
        result
        | {"sides": {side: seen for side, seen in timed(result).items() if side in NAMES or side in fastest(result)}}
        for result in shown_in_rows(results).values()
    ]
    num_bars = sum(len(case["sides"]) for case in shown) + len(shown)
    figure = Figure(figsize=(9, 0.19 * num_bars + (3.6 if growth else 1)), dpi=110, layout="constrained")
    panels = figure.subfigures(2, 1, height_ratios=[0.19 * num_bars + 0.7, 2.9]) if growth else [figure]
    axes, at, ticks = panels[0].subplots(), 0, []
    for case in shown:
        sides = sorted(case["sides"], key=lambda side: list(NAMES).index(split(side)[0]))
        ticks.append((at + (len(sides) - 1) / 2, case_words(case["case"])))
        for side in sides:
            seen = case["sides"][side]
            error = [[seen["median_ms"] - seen["min_ms"]], [seen["max_ms"] - seen["median_ms"]]]
            axes.barh(at, seen["median_ms"], color=COLORS[split(side)[0]], xerr=error, error_kw={"lw": 1})
            tuned = f", {words(side).removeprefix(NAMES[split(side)[0]] + ', ')}" if side not in NAMES else ""
            axes.annotate(
                f"{number(seen['median_ms'])}{tuned}",
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
    below = panels[1].subplots(1, len(growth), sharey=True, squeeze=False)[0] if growth else ()
    for axes, (field, grown) in zip(below, growth.items(), strict=True):
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
    report.README.write_text(report.page_with(report.README.read_text(), "speed", readme_table(measured())))
    print(draw(measured()))


if __name__ == "__main__":
    main()
