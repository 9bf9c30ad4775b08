"""The Hugging Face Hub, by its own library: a run as files that hold arrays and text alone."""

import importlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from gon_jax.arguments import check_kind
from gon_jax.runs.portable import FILES, write_portable
from gon_jax.runs.report import main_metrics
from gon_jax.runs.run import Run, load_run
from gon_jax.runs.saved import read_summary

__all__ = ["from_hub", "push_to_hub"]


def push_to_hub(run: Run, repo_id: str, *, card: str | None = None, private: bool = False) -> str:
    """Upload a run as a model repository of the Hub, made if it is not there; return the repository's address.

    It needs a token with the right to write, as `hf auth login` keeps one. Uploaded are the files of
    `gon_jax.runs.portable`, and nothing of the data.

    Args:
        run: a trained one.
        repo_id: "owner/name".
        card: the model card, Markdown; by default one of the run's options and held-out figures. It says nothing of
            the license of your data.
        private: of a repository that is made.

    Raises:
        ImportError: without the package huggingface_hub.
        ValueError: for a run that evaluates by batch statistics.
    """
    check_kind("run", run, Run, "gon_jax.load_run(folder) reads one")
    hub = _hub()
    with tempfile.TemporaryDirectory() as place:
        write_portable(run, Path(place), _card(run, repo_id) if card is None else card)
        api = hub.HfApi()
        url = api.create_repo(repo_id, private=private, exist_ok=True)
        message = f"{run.config.model.name}, step {run.step}"
        api.upload_folder(repo_id=repo_id, folder_path=place, commit_message=message, allow_patterns=list(FILES))
    return str(url)


def from_hub(repo_id: str, *, revision: str | None = None) -> Run:
    """Download a run that `push_to_hub` uploaded, or take it from the Hub's cache on this machine.

    Args:
        repo_id: "owner/name".
        revision: a branch, tag or commit; by default the newest.

    Raises:
        ImportError: without the package huggingface_hub.
        FileNotFoundError, ValueError: for a repository that holds no such run.
    """
    folder = _hub().snapshot_download(repo_id, revision=revision, allow_patterns=list(FILES))
    return load_run(folder)


def _hub() -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ImportError("expected the package huggingface_hub, got none: pip install 'gon_jax[hub]'")
    return importlib.import_module("huggingface_hub")


def _card(run, repo_id):
    metrics, options = main_metrics(read_summary(run.folder) or {}), run.config.options()
    rows = [f"| {name} | {value} |" for name, value in metrics.items()]
    rows += [f"| `{name}` | {value} |" for name, value in options.items() if value is not None]
    table = "\n".join(["| | |", "|---|---|", *rows])
    return f"""---
library_name: gon_jax
tags: [gradient-origin-network]
---
# {repo_id.split("/")[-1]}

A Gradient Origin Network, `{run.config.model.name}` on `{run.config.data.dataset}`, step {run.step}. To load it:

    from gon_jax.runs.hub import from_hub
    run = from_hub("{repo_id}")

{table}
"""
