"""docs/reproduction.md, made from the JSON of reproductions and from nothing else.

python -m benchmarks.paper.document
"""

import json
from pathlib import Path

from benchmarks import report
from benchmarks.paper import EXPERIMENTS, SCALES, stem
from benchmarks.paper.claims import CLAIMS, verdict
from benchmarks.paper.experiment import markdown, table
from gon_jax.data import NUM_EXAMPLES

FOLDER = report.RESULTS / "reproduction"
PATH = report.RESULTS.parents[1] / "docs" / "reproduction.md"
COMMAND = "python -m benchmarks.paper"
SHOWN = ("short", "paper")  # the scale "smoke" shows that experiments run, and nothing of the paper


def load_results(folder: Path) -> dict[str, dict[str, dict[str, dict]]]:
    """Return scale to experiment to dataset to what `reproduce` wrote into a folder."""
    results: dict[str, dict[str, dict[str, dict]]] = {scale: {} for scale in SCALES}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        results[result["scale"]].setdefault(result["experiment"], {})[result["dataset"]] = result
    return results


def _claims(results) -> list[str]:
    rows = [["claim", *(f"verdict ({scale})" for scale in SHOWN if results[scale]), "the numbers"]]
    for claim in CLAIMS:
        verdicts = {scale: verdict(claim, results[scale]) for scale in SHOWN if results[scale]}
        best = next((v for v in reversed(verdicts.values()) if v.findings), None)
        findings, words = best.findings if best else [], {True: "holds", False: "does not hold"}
        numbers = [f"{dataset}: {words[bool(holds)]}, {number}" for dataset, holds, number in findings]
        source = f" [{', '.join(claim.experiments)}]"
        rows.append([claim.text + source, *(v.word for v in verdicts.values()), "<br>".join(numbers)])
    return [markdown(rows)]


def _hardware(result) -> str:
    hardware = result["hardware"]
    gpus = hardware.get("gpus")
    cores = f"{hardware['affinity']} of {hardware['cores']} cores, {hardware['processor']}"
    return ", ".join(gpus) if gpus else cores


def _result(result, folder: str) -> list[str]:
    name = stem(result["experiment"], result["scale"], result["dataset"])
    first = next(iter(result["arms"].values()))["seeds"][0]
    command = result["command"].replace("gon reproduce", COMMAND)  # its name when that result was made
    title = EXPERIMENTS[result["experiment"]].title
    images = f"{first['num_train']:,} of {NUM_EXAMPLES[result['dataset']][0]:,} training images"
    seeds = f"{images}, {result['num_seeds']} seed{'s' * (result['num_seeds'] > 1)}"
    return [
        f"**{result['dataset']}**, {result['scale']}: {result['protocol']}; {seeds}. {_hardware(result)}, "
        f"{result['date'][:10]}, commit {result['commit'][:12]}. [JSON]({folder}/{name}.json), `{command}`\n",
        markdown(table(result)),
        f"![{title}: {result['dataset']}]({folder}/{name}.png)\n",
    ]


def document(results_folder: Path, link: str = "../benchmarks/results/reproduction") -> str:
    """Return the text of docs/reproduction.md.

    Args:
        results_folder: with the JSON.
        link: the same folder from the document's place.
    """
    results = load_results(results_folder)
    lines = [
        "# Reproduction\n",
        f"Made by `{COMMAND}.document` from the JSON of `{COMMAND}`; nothing is filled in by hand. "
        'A row of the paper is reproduced only at the scale "paper" (500 epochs, three seeds). The scale "short" is '
        "one seed on two CPU cores, of 1,000 steps for all methods unless a result says otherwise: enough to decide "
        f"about large effects, but not about small ones. `{COMMAND} --list` describes each experiment.\n",
        "Squared errors are sums over an image, on the whole test set, intensities in [0, 1]; a few "
        "hundred training images are held out for the curves. **CIFAR-10 here is its first 10,000 training images** "
        "where a result says 9,500 of 50,000. Seconds do not compare speed: other programs ran on the machines.\n",
        "The text of the paper's figures was not at hand when this was written. Tables 1 and 2 have the paper's "
        "comparisons and numbers. For figures 2a to 2c, 11, 14, 15, 16 and 17, it is second-hand which comparison has "
        "which number.\n",
        "## The paper's claims\n",
        *_claims(results),
        "\n## Tables and figures\n",
    ]
    for name, experiment in EXPERIMENTS.items():
        lines.append(f"### {name}: {experiment.title}\n")
        lines.append(f"The paper: {experiment.claim} Not stated in the paper; we use: {experiment.unsaid}\n")
        found = [result for scale in reversed(SHOWN) for result in results[scale].get(name, {}).values()]
        for result in found:
            lines += _result(result, link)
        if not found:
            lines.append(f"Not reproduced yet. `{COMMAND} {name} --scale paper --seeds 3`\n")
    return "\n".join(lines)


def main():
    """Write the document."""
    PATH.write_text(document(FOLDER))
    print(PATH)


if __name__ == "__main__":
    main()
