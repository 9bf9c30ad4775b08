"""A run's folder: it holds a configuration, checkpoints, logs, pictures and, when the run is finished, a summary.

config.json        the configuration, and the shape of the data
checkpoints/       the best and the last state, each with the configuration
encoder.npz        the best state's encoder, a matrix and a bias for NumPy alone; its `note` is the formula
metrics.jsonl      one line per report: step, loss, validation metrics
events.*           the same for TensorBoard
summary.json       held-out metrics: its presence says that training is finished
snapshots.npz      some test images decoded in the course of training
*.png, .wav, .gif  what to look at or listen to first
report.html        all of it on one page, written last
decoded-*          pictures, decoded; while it is trained
.lock              held by the process that trains
"""

import fnmatch
import os
import shutil
from pathlib import Path

from gon_jax.data.datasets import is_path
from gon_jax.runs.config import Config, first_difference
from gon_jax.runs.lock import LOCK
from gon_jax.runs.log import LOG, read_rows
from gon_jax.runs.saved import SavedConfig, read_config

__all__ = ["PICTURES", "SNAPSHOTS", "check_folder", "part_of_a_run", "remove_run"]

DRAWN = "reconstructions", "interpolation", "samples", "traversal", "errors", "loss", "training"
PICTURES = tuple(f"{name}.png" for name in DRAWN)
SNAPSHOTS = "snapshots.npz"
SIGNALS = tuple(path.replace("png", suffix) for path in PICTURES[:3] for suffix in ("wav", "gif"))
# All that a run writes, in the order of removal: what is left of an interrupted one is an unfinished run.
WRITTEN = (
    "summary.json",
    *PICTURES,
    "superresolution.png",
    "classes.png",
    "report.html",
    *SIGNALS,
    "encoder.npz",
    SNAPSHOTS,
    LOG,
)
WRITTEN += ("decoded-*.npy*", ".decoded-*.npy*", "events.out.tfevents.*", "checkpoints", "config.json")


def part_of_a_run(path: Path) -> Path | None:
    """Return the file or folder of a run that a path stands for or lies in, whether there or not; None for any other.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "config.json").write_text("{}")
    ...     names = ("config.json", "checkpoints/3/x.npz", "events.out.tfevents.1", "mine.png")
    ...     [part_of_a_run(Path(folder, name)) is not None for name in names]
    [True, True, True, False]
    """
    path = Path(os.path.realpath(path))
    for folder in path.parents:
        if (folder / "config.json").is_file():
            name = path.relative_to(folder).parts[0]
            if any(fnmatch.fnmatch(name, pattern) for pattern in (*WRITTEN, LOCK)):
                return folder / name
    return None


def check_folder(folder: Path, config: Config, resume: bool, overwrite: bool) -> SavedConfig | None:
    """Refuse a folder that holds something, unless told what to do with it; return what a run to resume has saved."""
    if resume and overwrite:
        raise ValueError("expected --resume or --overwrite, got both; the one keeps what the other removes")
    if resume:
        saved = read_config(folder)
        ours, theirs = config.options(), saved.config.options() | vars(saved.config.data.absolute())
        theirs |= {name: ours[name] for name in ("memory", "decode_always")}  # which change no number
        if saved.fingerprint is not None and is_path(ours["dataset"]) and is_path(theirs["dataset"]):
            theirs["dataset"] = ours["dataset"]  # the same data elsewhere, by their fingerprint
        if config.training.schedule == "constant" and ours["num_steps"] >= _steps_made(folder):  # another end
            theirs["num_steps"] = ours["num_steps"]
        if ours != theirs:
            name, ours, theirs = first_difference(ours, theirs)
            rule = "; only a constant schedule may end elsewhere, and not before where it is"
            longer = rule if name == "num_steps" else ""
            raise ValueError(
                f"expected the configuration that {folder} was trained with, got {name}={ours} instead of {theirs}"
                f"{longer}; resume with the same options, or train into another folder"
            )
        if (folder / LOG).is_file():
            read_rows(folder / LOG)
        return saved
    if is_path(data := config.data.dataset) and Path(data).expanduser().is_dir():
        if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(Path(data).expanduser())):
            raise ValueError(
                f"expected a folder for the run that is not among its data, got {folder} in {data}, where its pictures "
                "would be data; give --run another"
            )
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder for the run, got the file {folder}; choose another")
    if folder.exists() and {path.name for path in folder.iterdir()} - {LOCK}:
        if not (folder / "config.json").is_file():
            raise ValueError(f"expected a new or empty folder, got {folder}, which holds other things; choose another")
        if not overwrite:
            raise ValueError(
                f"expected a folder without a run, got {folder}, which holds one; continue it with --resume, or remove "
                "it with --overwrite"
            )
        read_config(folder)  # other programs write a config.json too
    return None


def _steps_made(folder):
    """Return the step of a run's last checkpoint."""
    names = [path.name for path in (folder / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def remove_run(folder: Path) -> None:
    """Remove what a run wrote, and nothing else."""
    for pattern in WRITTEN:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
