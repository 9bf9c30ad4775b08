"""What a run logs while it trains: a row of JSON per report, and the same for TensorBoard."""

import contextlib
import json
from pathlib import Path
from typing import Any

from gon_jax._files import check_fields, one_line, write_text

__all__ = ["LOG", "Log", "read_curves", "read_rows"]

LOG = "metrics.jsonl"
ROW = {"step": int, "loss": float}


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
                self._events.add_scalar(name.replace(".", "/"), value, int(row["step"]))

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
