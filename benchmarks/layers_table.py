"""Make the table of layers in docs/layers.md from the JSON of `benchmarks.layers`.

python -m benchmarks.layers_table
"""

import statistics

from benchmarks import report
from benchmarks.layers import FORMS, OPERATIONS, RESULT, SIDES
from benchmarks.tables import load, markdown, number, sources, spread

PAGE = report.PAGE.parent / "layers.md"
NAMES = {
    "jax": "plain JAX: `lax.conv_transpose`, batch normalization by hand, `jax.nn.elu`",
    "flax": "Flax: `nn.ConvTranspose`, `nn.BatchNorm`, `nn.elu`",
    "flax, our ConvTranspose": "Flax, with our `ConvTranspose`",
    "ours": "ours: `ConvTranspose`, `BatchNorm`, `elu` of `gon_jax.drop_in.linen`",
}
FORM_NAMES = {"definition": "by definition", "fast": "fast form"}


def table(result: dict) -> str:
    """Return milliseconds of CPU and of the clock by layers, form and number of cores, then those of operations."""
    rows = {(row["side"], row["form"], row["cores"]): row for row in result["rows"]}
    columns = [(form, cores) for cores in sorted({row["cores"] for row in result["rows"]}) for form in FORMS]
    parts = []
    for kind, what in (("cpu_ms", "ms of CPU per step, median (range)"), ("wall_ms", "ms of the clock per step")):
        head = [f"{FORM_NAMES[form]}, {cores} core{'s' if cores > 1 else ''}" for form, cores in columns]
        body = [
            [NAMES[side], *(spread([r[kind] for r in rows[side, form, cores]["rounds"]]) for form, cores in columns)]
            for side in SIDES
        ]
        parts.append(markdown([[what, *head], *body]))
    cores = columns[0][1]
    operations = [[f"ms of CPU for a second derivative, {cores} of the cores", "`lax.conv_transpose`", "ours", "ratio"]]
    for name in OPERATIONS:
        times = [[r["cpu_ms"] for r in rows[side, name, cores]["rounds"]] for side in ("lax", "ours")]
        ratio = statistics.median(theirs / ours for theirs, ours in zip(*times, strict=True))
        operations.append([name, *map(spread, times), number(ratio)])
    parts.append(markdown(operations))
    others = result["cores_kept_busy_by_others"]
    busy = f"Other processes kept {number(others)} cores busy on average" if others >= 0.05 else "Nothing else ran"
    shape = f"widths {result['widths']}, latent {result['latent_size']}, batch {result['batch_size']}"
    return "\n\n".join([*parts, f"float32, {shape}. {busy}."])


def page_with(text: str) -> str:
    """Return the page's text with the table of the result there is."""
    result = load(RESULT)
    if result is None:
        return text
    return report.page_with(text, "layers", f"{table(result)}\n\n{sources({RESULT: result})}")


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text()))
