"""Make the tables of the variational and the implicit GON in docs/benchmarks.md, those that were measured.

python -m benchmarks.elbo_table
"""

import statistics

from benchmarks import report
from benchmarks.published_logs import published
from benchmarks.quality_table import SIDES, cell
from benchmarks.tables import load, markdown, number, sources

EPOCHS = (1, 2, 5, 10)
PUBLISHED = [round(published("vgon_mnist")[epoch]) for epoch in (1, 2, 5, 10)]


def elbo(jax: dict, torch: dict, noiseless: dict) -> str:
    """Return negative ELBO after some epochs: ours, PyTorch's, the published, and ours without inner noise."""

    def cells(result, key="test_negative_elbo"):
        return [cell([run["curve"][epoch - 1][key] for run in result["runs"]]) for epoch in EPOCHS]

    return markdown(
        [
            ["MNIST, negative ELBO in nats", *(f"epoch {epoch}" for epoch in EPOCHS)],
            [SIDES["jax"], *cells(jax)],
            [SIDES["torch"], *cells(torch)],
            [f"{SIDES['jax']}, averaged statistics", *cells(jax, "test_negative_elbo_running")],
            ["published logs, one seed", *map(str, PUBLISHED)],
            [f"{SIDES['jax']}, no inner noise", *cells(noiseless)],
        ]
    )


def bits(result: dict) -> str:
    """Return bits per dimension of a likelihood of bytes after some epochs, and the importance-weighted at the end."""
    curves = [run["curve"] for run in result["runs"]]
    epochs = [epoch for epoch in (1, 2, 5, 10, 20, 50) if epoch <= len(curves[0])]
    shown = cell if len(curves) > 1 else lambda values: f"{values[0]:.2f}"
    cells = [shown([curve[epoch - 1]["test_bits_per_dim_running"] for curve in curves]) for epoch in epochs]
    ends = [curve[-1] for curve in curves]
    last, draws = shown([end["importance_weighted_bits_per_dim"] for end in ends]), ends[0]["num_draws"]
    header = [*(f"epoch {epoch}" for epoch in epochs), f"with {draws} draws", "the paper"]
    return markdown(
        [
            ["MNIST at 32x32, bits per dimension", *header],
            [result["likelihood"].replace("_", " ").replace("ised", "ized"), *cells, last, "1.06 after 1,000 epochs"],
        ]
    )


def implicit_loss(jax: dict, torch: dict) -> str:
    """Return the training loss of the implicit GON on both sides."""
    rows = [["Fashion-MNIST, implicit GON", f"training loss after {jax['num_steps']} steps"]]
    for words, result in ((SIDES["jax"], jax), (SIDES["torch"], torch)):
        if result["num_steps"] != jax["num_steps"]:
            raise ValueError(f"expected results of {jax['num_steps']} steps on both sides, got {result['num_steps']}")
        rows.append([words, cell([run["loss"] for run in result["runs"]])])
    return markdown(rows)


def monte_carlo(result: dict) -> str:
    """Return error over all points and time of a step against the points of a step: means over seeds."""
    runs = result["runs"]
    divisors = sorted({run["divisor"] for run in runs})
    rows = [["error per pixel (x 1000), ms per step", *("all N points" if d == 1 else f"N / {d}" for d in divisors)]]
    for size in sorted({run["image_size"] for run in runs}):
        rows.append([f"{size}x{size}, N = {size**2:,}"])
        for divisor in divisors:
            here = [run for run in runs if (run["image_size"], run["divisor"]) == (size, divisor)]
            error, ms = (statistics.mean(run[key] for run in here) for key in ("error_per_pixel", "ms_per_step"))
            rows[-1].append(f"{1000 * error:.3g}, {number(ms)}")
    return markdown(rows)


TABLES = {  # mark in the page: table, and the results that it is made from
    "elbo": (elbo, ("elbo_mnist_jax", "elbo_mnist_torch", "elbo_mnist_jax_noise_none")),
    "bits": (bits, ("elbo_mnist_jax_noise_none_discretized_logistic_mixture",)),
    "implicit loss": (implicit_loss, ("implicit_loss_jax_cpu", "implicit_loss_torch_cpu")),
    "monte carlo": (monte_carlo, ("monte_carlo_cpu",)),
}


def page_with(text: str) -> str:
    """Return the page's text with the tables of the results there are."""
    for mark, (table, names) in TABLES.items():
        results = {name: load(name) for name in names}
        if all(results.values()):
            of = sources(results, mixed=True)  # errors, which no machine changes
            text = report.page_with(text, mark, f"{table(*results.values())}\n\n{of}")
    return text


if __name__ == "__main__":
    report.PAGE.write_text(page_with(report.PAGE.read_text()))
