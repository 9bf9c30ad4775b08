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
.lock              held by the process that trains
"""

import contextlib
import fnmatch
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import gon_jax
from gon_jax._files import check_fields, one_line, read_json, sealed, unsealed, write_text
from gon_jax.data.datasets import is_path
from gon_jax.runs.config import REGISTRIES, Config, first_difference
from gon_jax.runs.lock import LOCK
from gon_jax.runs.old_format import from_flat

__all__ = ["METRIC", "PICTURES", "Log", "SavedConfig", "check_folder", "read_config", "read_curves", "read_summary"]
__all__ += ["part_of_a_run", "read_rows", "remove_run", "write_config", "write_summary"]

DRAWN = "reconstructions", "interpolation", "samples", "traversal", "errors", "loss", "training"
PICTURES = tuple(f"{name}.png" for name in DRAWN)
SNAPSHOTS = "snapshots.npz"
SIGNALS = tuple(path.replace("png", suffix) for path in PICTURES[:3] for suffix in ("wav", "gif"))
LOG = "metrics.jsonl"
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
WRITTEN += ("events.out.tfevents.*", "checkpoints", "config.json")
# Fields of files that are read, beside the options; files may have more.
CONFIG = {"data_shape": list, "num_train": int | None, "best_by": str | None, "fingerprint": dict | None}
CONFIG_PARTS = {"data": dict, "training": dict, "latent_shape": list} | dict.fromkeys(REGISTRIES, dict)
SUMMARY: dict[str, Any] = dict.fromkeys(("model", "dataset", "likelihood", "device"), str) | {"versions": dict}
SUMMARY |= dict.fromkeys(("num_train", "num_test", "num_parameters", "latent_size", "num_steps"), int)
SUMMARY |= {"best_step": int | None, "best_by": str | None}
SUMMARY |= dict.fromkeys(("test.squared_error", "pca.squared_error", "seconds_training", "seconds_compile"), float)
ROW = {"step": int, "loss": float}
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
        if not data_shape or not all(type(size) is int and size > 0 for size in data_shape):
            raise ValueError(f"expected data_shape of whole numbers above 0, got {data_shape}")
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
    values = check_fields(read_json(path), {}, path)
    try:
        if "format" in values:
            check_fields(values, CONFIG | CONFIG_PARTS, path)
        saved = SavedConfig.from_dict({name: value for name, value in values.items() if name != "crc32"})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected the configuration of a run in {path}, got one with other fields ({error}); "
            f"it is probably of another program, or of another version of gon_jax than {gon_jax.__version__}"
        ) from error
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{error} (in {path})") from error
    unsealed(values, path)
    return saved


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write a run's summary.json, with its CRC-32."""
    write_text(folder / "summary.json", json.dumps(sealed(summary), indent=2) + "\n")


def write_config(folder: Path, saved: SavedConfig) -> None:
    """Write a run's config.json, with its CRC-32."""
    write_text(folder / "config.json", json.dumps(sealed(saved.to_dict()), indent=2) + "\n")


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary of a finished run, or `None` if it isn't finished.

    Raises:
        ValueError: the file is not one that a run wrote.
    """
    path = Path(folder) / "summary.json"
    if not path.exists():
        return None
    summary = check_fields(read_json(path), SUMMARY, path)
    others = {name: float for name in summary if name.startswith(("test.", "pca.", "source.", "mean_image."))}
    return unsealed(check_fields(summary, others, path), path)


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
        theirs["memory"] = ours["memory"]  # which changes no number
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


class Log:
    """What is written while training: metrics.jsonl and TensorBoard events."""

    def __init__(self, folder: Path, step: int):
        from tensorboardX import SummaryWriter

        path = folder / LOG
        rows = read_rows(path) if path.is_file() else []
        self.rows = [row for row in rows if row["step"] <= step]  # later ones were made after the last checkpoint
        write_text(path, "".join(json.dumps(row) + "\n" for row in self.rows))
        self._file = path.open("a")
        self._events = SummaryWriter(str(folder), purge_step=step + 1, flush_secs=10)

    def write(self, row: dict[str, float]) -> None:
        """Append metrics by name, of a `step`.

        Raises:
            OSError: the file could not be written; the last checkpoint is kept.
        """
        self.rows.append(row)
        try:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(
                f"expected to write a row to {self._file.name}, got {one_line(error)}; the last checkpoint is kept: "
                "probably a full disk, make room and --resume"
            ) from error
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(name.replace(".", "/"), value, row["step"])

    def close(self) -> None:
        """Close both files; what a full disk does not take of them is lost, and in the checkpoint."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._events.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a metrics.jsonl, but for one at its end that a full disk cut off.

    Raises:
        ValueError: by the number of the line, for one that is no row.
    """
    rows, lines = [], path.read_text(errors="replace").splitlines()
    for i, line in enumerate(lines):
        if i == len(lines) - 1 and not line.endswith("}"):
            break
        where = f"{path}, line {i + 1}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"expected JSON in {where}, got something else ({error}); the file is damaged") from error
        numbers = (
            {name: float | None for name in row if name.startswith("validation.")} if isinstance(row, dict) else {}
        )
        rows.append(check_fields(row, ROW | numbers, where))
    return rows


def read_curves(folder: Path, metric: str) -> dict[str, tuple[list[int], list[float]]]:
    """Return steps and values of the training loss, and of a validation metric where there is one."""
    logged = read_rows(folder / LOG)
    rows = {"training": [(row["step"], row["loss"]) for row in logged]}
    rows["validation"] = [(row["step"], row[metric]) for row in logged if metric in row]
    return {name: ([x for x, _ in points], [y for _, y in points]) for name, points in rows.items() if points}
