"""What the tables have in common: results, numbers, Markdown, and where the numbers are from."""

import json
import statistics

from benchmarks import report


def load(name: str) -> dict | None:
    """Return a result, or `None` where it was not measured."""
    path = report.RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def load_all(pattern: str) -> dict[str, dict]:
    """Return the results of a pattern of names, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(report.RESULTS.glob(f"{pattern}.json"))}


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


def made_by(result: dict) -> str:
    """Return commit, machine and versions of a result in words.

    >>> made_by({"commit": "1a2b3c4d", "hardware": {"processor": "P", "cores": 2, "affinity": 1}, "versions": {}})
    'commit 1a2b3c4, 1 of 2 cores of P'
    """
    commit, hardware, versions = result["commit"], result["hardware"], result["versions"]
    modified = " with changes" if commit.endswith("-modified") else ""
    cores = f"{hardware['affinity']} of {hardware['cores']}" if hardware.get("affinity") else str(hardware["cores"])
    machine = [f"{cores} cores of {hardware['processor']}", *hardware.get("gpus", [])]
    packages = [f"{name} {versions[name]}" for name in ("jax", "torch") if name in versions]
    return ", ".join([f"commit {commit[:7]}{modified}", *machine, *packages])


def sources(results: dict[str, dict], *, mixed: bool = False) -> str:
    """Return where the numbers of a table are from: commit, machine, versions, date and command of each result.

    Args:
        results: by the name of their file.
        mixed: the table may be of several commits or machines; then the text says so.

    Raises:
        ValueError: for results of several commits, machines or versions, unless they may be mixed.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for name, result in results.items():
        text = f"{result['date'][:10]}, `{result['command']}`"
        groups.setdefault(made_by(result), {}).setdefault(text, []).append(name)
    if len(groups) > 1 and not mixed:
        raise ValueError(
            "expected one commit, machine and set of versions for the results of a table, got "
            + "; ".join(f"{group} ({', '.join(sum(of.values(), []))})" for group, of in groups.items())
            + ": measure all of them again at one commit, or say in the table that they are not"
        )
    lines = ["Not of one commit and machine:", ""] if len(groups) > 1 else []
    for group, of in groups.items():
        for text, names in of.items():
            links = ", ".join(f"[{name}](../benchmarks/results/{name}.json)" for name in names)
            lines.append(f"- {group}: {text} ({links})")
    return "\n".join(lines)
