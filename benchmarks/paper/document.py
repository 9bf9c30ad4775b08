"""docs/reproduction.md, made from the records of runs and from nothing else.

python -m benchmarks.paper.document
"""

import json
from collections import Counter

from benchmarks import published_logs, report
from benchmarks.paper import EXPERIMENTS, Experiment, Protocol, Records
from benchmarks.paper.claims import CLAIMS, findings, paper_ratio
from benchmarks.paper.experiment import arms_of, path_of, protocol_in_words, table
from benchmarks.paper.verdicts import MIN_SEEDS, Finding, overall
from benchmarks.tables import markdown

FOLDER = report.RESULTS / "reproduction"
PATH = report.RESULTS.parents[1] / "docs" / "reproduction.md"
LINK = "../benchmarks/results/reproduction"  # from the document's place
COMMAND = "python -m benchmarks.paper"
INTRODUCTION = f"""# Reproduction

Made by `{COMMAND}.document` from the JSON of single runs, `benchmarks/results/reproduction/runs/`; nothing is filled in
by hand. Names are the paper's. `{COMMAND} --list` says what each costs, and what is left.

**Verdicts follow one rule** (`benchmarks/paper/verdicts.py`). A claim is a ratio of numbers that is below (or above) a
bound. It is decided only at the length of training that the claim is about, with at least {MIN_SEEDS} seeds, and where
the logarithm of the ratio is away from that of the bound by more than twice its standard deviation over seeds. All else
is undecided, with what would decide it.

Squared errors are sums over an image of intensities in [0, 1], means over the whole test set; means over seeds with
their standard deviation. Seconds do not compare speed: other programs ran on the machine.
"""


def epochs_at_hand(experiment: Experiment, dataset: str, records: Records) -> list[Protocol]:
    """Return the protocols of an experiment on a dataset that records are of, the paper's length first."""
    own = experiment.protocol(dataset)
    others = records.epochs(dataset) - {own.epochs} if experiment.steps is None else set()
    protocols = [own] + [experiment.protocol(dataset, epochs=epochs) for epochs in sorted(others, reverse=True)]
    # Another length needs two arms: one alone compares nothing.
    return [p for p in protocols if len(arms_of(experiment, p, records)) >= (1 if p == own else 2)]


def _ratio(finding: Finding) -> str:
    if finding.ratio is None:
        return ""
    return f"{finding.ratio:.3g}" + (f" (×/÷ {finding.factor:.2f})" if finding.factor else "")


def _claims(records: Records) -> str:
    """Return the table of verdicts: a row per comparison that has numbers, the first with the verdict on its claim."""
    rows = [["claim, verdict", "comparison", "paper", "ours (×/÷ twice its deviation)", "length", "seeds", "verdict"]]
    for claim in CLAIMS:
        found = findings(claim, records)
        first = f"{claim.text} ({claim.source}): **{overall(f for _, f in found)}**"
        for comparison, f in found:
            if f.ratio is not None:
                paper = paper_ratio(comparison, f.dataset)
                verdict = f.word + (f": {f.needed}" if f.needed else "")
                words = [f"{f.dataset}: {f.words}", f"{paper:.3g}" if paper else ""]
                rows.append([first, *words, _ratio(f), f.horizon, str(f.seeds), verdict])
                first = ""
        missing = Counter(f.dataset for _, f in found if f.ratio is None)
        if missing:
            begun = {f.dataset for _, f in found if f.ratio is not None}
            words = [f"{name} ({missing[name]} more)" if name in begun else name for name in missing]
            rows.append([first, f"no runs yet: {', '.join(words)}", "", "", "", "", ""])
    return markdown(rows) + "\n"


def _hardware(made_by) -> str:
    hardware = made_by["hardware"]
    return ", ".join(hardware["gpus"]) if hardware.get("gpus") else f"{hardware['processor']}, CPU"


def _section(experiment: Experiment, protocol: Protocol, records: Records) -> list[str]:
    arms = arms_of(experiment, protocol, records)
    found = [arm.record for seeds in arms.values() for arm in seeds]
    configs = {label: seeds[0].record.config for label, seeds in arms.items()}
    commits = sorted({record.made_by["commit"][:12] for record in found})
    dates = sorted({record.made_by["date"][:10] for record in found})
    hardware = sorted({_hardware(record.made_by) for record in found})
    own = protocol == experiment.protocol(protocol.dataset)
    length = protocol.horizon if own else f"{protocol.horizon}, not the paper's length"
    command = f"{COMMAND} {experiment.name} --dataset {protocol.dataset}{'' if own else f' --epochs {protocol.epochs}'}"
    missing = [label for label in experiment.arms(protocol) if label not in arms]
    made = f"{', '.join(hardware)}; {' to '.join(dates[:: len(dates) - 1 or 1])}; commit {', '.join(commits)}"
    lines = [
        f"**{protocol.dataset}**, {length}: {protocol_in_words(configs)}; {found[0].metrics['num_train']:,} training "
        f"images, {found[0].metrics['num_test']:,} test images. {made}. `{command}`\n",
        markdown(table(experiment, protocol.dataset, arms)) + "\n",
    ]
    if missing:
        lines.append(f"Not run yet: {', '.join(missing)}.\n")
    picture = path_of(experiment, protocol, FOLDER)
    if picture.exists():
        lines.append(f"![{experiment.title}: {protocol.dataset}, {protocol.horizon}]({LINK}/{picture.name})\n")
    return lines


def _published() -> str:
    """Return what others measured of the authors' architecture, as a table."""
    logs = json.loads(published_logs.PATH.read_text())
    after = logs["after_500_epochs"]
    rows = [["squared error per test image after 500 epochs", "MNIST", "Fashion-MNIST", "CIFAR-10"]]
    for size, methods in after.items():
        if size.startswith("latent"):
            for method, of_dataset in methods.items():
                numbers = [f"{of_dataset[name][1]:.3g}" for name in ("mnist", "fashion_mnist", "cifar10")]
                rows.append([f"{method}, {size}", *numbers])
    source = f"[{logs['repository'].rsplit('/', 1)[1]}]({logs['repository']}) ({after['file']} at {logs['commit'][:7]})"
    words = f"Measured by others, in another language: {source}, one seed each. "
    return words + f"Sources: [published_logs.json](../benchmarks/published_logs.json).\n\n{markdown(rows)}\n"


def document(records: Records) -> str:
    """Return the text of docs/reproduction.md."""
    lines = [INTRODUCTION, "## The paper's claims\n", _claims(records), "\n## Tables and figures\n"]
    for name, experiment in EXPERIMENTS.items():
        lines.append(f"### {name}: {experiment.title}\n")
        lines.append(f"{'Why' if name.startswith('control') else 'The paper'}: {experiment.says}\n")
        for title, words in (
            ("Not stated in the paper, and our choice", experiment.unsaid),
            ("Departures", experiment.departure),
        ):
            if words:
                lines.append(f"{title}: {words}\n")
        sections = [
            line
            for dataset in experiment.datasets
            for protocol in epochs_at_hand(experiment, dataset, records)
            for line in _section(experiment, protocol, records)
        ]
        if name == "table1":
            sections.append(_published())
        lines += sections or [f"Not run yet: `{COMMAND} {name} --seeds 0 1 2`\n"]
    return "\n".join(lines)


def main():
    """Write the document."""
    PATH.write_text(document(Records(FOLDER / "runs")))
    print(PATH)


if __name__ == "__main__":
    main()
