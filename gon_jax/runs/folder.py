"""A run's folder: it holds a configuration, checkpoints, logs, pictures and, when the run is finished, a summary.

config.json        the configuration, and the shape of the data
checkpoints/       the best and the last state, each with the configuration
encoder.npz        the best state's encoder, a matrix and a bias for NumPy alone; its `note` is the formula
metrics.jsonl      one line per report: step, loss, validation metrics
events.*           the same for TensorBoard
summary.json       held-out metrics: its presence says that training is finished
*.png, .wav, .gif  what to look at or listen to first
report.html        all of it on one page, written last
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import gon_jax
from gon_jax._files import read_json, write_text
from gon_jax.data.datasets import is_path
from gon_jax.runs.config import Config, first_difference
from gon_jax.runs.old_format import from_flat

__all__ = ["METRIC", "PICTURES", "Log", "SavedConfig", "check_folder", "read_config", "read_curves", "read_summary"]
__all__ += ["remove_run"]

PICTURES = ("reconstructions.png", "interpolation.png", "samples.png", "traversal.png", "errors.png", "loss.png")
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
    "metrics.jsonl",
)
WRITTEN += ("events.out.tfevents.*", "checkpoints", "config.json")
METRIC = "validation.squared_error"  # by which older versions chose the best checkpoint of any model


class SavedConfig(NamedTuple):
    """What config.json and every checkpoint hold: the configuration, the data's shape and number.

    And `best_by`, the metric that the best checkpoint is chosen by: a run that goes on keeps to what it began with; and
    the `fingerprint` of the data, None in runs of older versions.
    """

    config: Config
    data_shape: tuple[int, ...]
    num_train: int | None = None
    best_by: str = METRIC
    fingerprint: dict[str, Any] | None = None

    def options(self) -> dict[str, Any]:
        """Return all of it by flat names."""
        return self.config.options() | self._others()

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return self.config.to_dict() | self._others() | {"data_shape": list(self.data_shape)}

    def _others(self):
        return {name: value for name, value in self._asdict().items() if name != "config"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SavedConfig":
        """Return what `to_dict` gave, of this format or the first.

        Raises:
            KeyError, TypeError, ValueError: for something else.
        """
        values, flat = dict(values), "format" not in values
        others = {name: values.pop(name) for name in ("num_train", "best_by", "fingerprint") if name in values}
        data_shape = tuple(values.pop("image_shape" if flat else "data_shape"))
        config = from_flat(values, data_shape) if flat else Config.from_dict(values)
        return cls(config, data_shape, **others)


def read_config(folder: Path) -> SavedConfig:
    """Read a run's config.json.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not that of a run.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a run in {folder}, got no {path}; give a folder that `gon train` wrote, as runs/gon-digits"
        )
    try:
        return SavedConfig.from_dict(read_json(path))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"expected the configuration of a run in {path}, got one with other fields ({error}); "
            f"it is probably of another program, or of another version of gon_jax than {gon_jax.__version__}"
        ) from error


def read_summary(folder: Path) -> dict | None:
    """Return the summary of a finished run, or `None` if it isn't finished."""
    path = Path(folder) / "summary.json"
    return read_json(path) if path.is_file() else None


def check_folder(folder: Path, config: Config, resume: bool, overwrite: bool) -> SavedConfig | None:
    """Refuse a folder that holds something, unless told what to do with it; return what a run to resume has saved."""
    if resume and overwrite:
        raise ValueError("expected --resume or --overwrite, got both; the one keeps what the other removes")
    if resume:
        saved = read_config(folder)
        ours, theirs = config.options(), saved.config.options() | vars(saved.config.data.absolute())
        theirs["memory"] = ours["memory"]  # which changes no number
        if saved.fingerprint is not None and is_path(ours["dataset"]) and is_path(theirs["dataset"]):
            theirs["dataset"] = ours["dataset"]  # the same data elsewhere, by their fingerprint
        if config.training.schedule == "constant":  # the run may be lengthened
            theirs["num_steps"] = ours["num_steps"]
        if ours != theirs:
            name, ours, theirs = first_difference(ours, theirs)
            longer = "; only a constant schedule may be lengthened" if name == "num_steps" else ""
            raise ValueError(
                f"expected the configuration that {folder} was trained with, got {name}={ours} instead of {theirs}"
                f"{longer}; resume with the same options, or train into another folder"
            )
        return saved
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"expected a folder for the run, got the file {folder}; choose another")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "config.json").is_file():
            raise ValueError(f"expected a new or empty folder, got {folder}, which holds other things; choose another")
        if not overwrite:
            raise ValueError(
                f"expected a folder without a run, got {folder}, which holds one; continue it with --resume, or remove "
                "it with --overwrite"
            )
        read_config(folder)  # other programs write a config.json too
    return None


def remove_run(folder: Path) -> None:
    """Remove what a run wrote, and nothing else."""
    for pattern in WRITTEN:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Log:
    """What is written while training: metrics.jsonl and TensorBoard events."""

    def __init__(self, folder: Path, step: int):
        from tensorboardX import SummaryWriter

        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]  # not one that a full disk cut off
        self.rows = [row for row in rows if row["step"] <= step]  # later ones were made after the last checkpoint
        write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = path.open("a")
        self._events = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)

    def write(self, row: dict[str, float]) -> None:
        """Append metrics by name, of a `step`."""
        self.rows.append(row)
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name.replace(".", "/"), value, row["step"])

    def close(self) -> None:
        """Close both files."""
        self._file.close()
        self._events.close()


def read_curves(folder: Path, metric: str) -> dict[str, tuple[list[int], list[float]]]:
    """Return steps and values of the training loss, and of a validation metric where there is one."""
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = {"training": [(row["step"], row["loss"]) for row in logged]}
    rows["validation"] = [(row["step"], row[metric]) for row in logged if metric in row]
    return {name: ([x for x, _ in points], [y for _, y in points]) for name, points in rows.items() if points}
