"""The same test examples, decoded again and again in the course of training: how a model learns, as a picture."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from gon_jax import plotting
from gon_jax._files import write_file
from gon_jax.base import Model, Variables
from gon_jax.inference import reconstruct_dataset, sample

__all__ = ["Snapshots"]

NUM, FACTOR = 10, 2  # examples in a row; steps between rows grow by this factor


class Snapshots:
    """Rows of images, kept in a file of a run's folder so that a run that goes on has those of before.

    Args:
        path: of the file, `.npz`.
        model: of images.
        x, sources: examples `[N, H, W, C]`, and what is encoded of them: the same, but for a translation.
        step: of the state that training starts from; later rows, of an interrupted training, are dropped.
    """

    def __init__(self, path: Path, model: Model, x: np.ndarray, sources: np.ndarray, step: int):
        self.path, self.model, self.x, self.sources = path, model, np.asarray(x), np.asarray(sources)
        self.rows: dict[str, np.ndarray] = {}
        try:
            with np.load(path) as file:
                saved = {name: file[name] for name in file}
        except Exception:  # none yet; or damaged, of which NumPy and zipfile raise many kinds
            return
        shape = self.x.shape[1:]
        self.rows = {n: row for n, row in saved.items() if int(n.split()[-1]) <= step and row.shape[1:] == shape}

    @property
    def last(self) -> int:
        """The step of the last row; 0 without rows."""
        return max((int(name.split()[-1]) for name in self.rows), default=0)

    def take(self, step: int, variables: Variables, *, final: bool = False) -> None:
        """Decode at a step, if it is twice that of the last row, or the final one; write the file."""
        if step == self.last or (step < FACTOR * self.last and not final):
            return
        rows = {"step": reconstruct_dataset(self.model, variables, self.sources)}
        if self.model.capabilities.sample is not None:
            rows["sample"] = sample(self.model, variables, None, len(self.x), jax.random.key(0))
        self.rows |= {f"{name} {step}": plotting.to_pixels(row) for name, row in rows.items()}
        arrays: dict[str, Any] = self.rows
        write_file(self.path, lambda file: np.savez_compressed(file, **arrays))

    def draw(self, path: Path) -> None:
        """Write the rows below the examples, and samples of the same steps below those."""
        shown = {name: row for name, row in self.rows.items() if name.startswith("step")}
        samples = {name: row for name, row in self.rows.items() if name.startswith("sample")}
        first = {"original": plotting.to_pixels(self.x)} | shown
        blocks = [(plotting.image_grid(np.stack([*rows.values()])), [*rows]) for rows in (first, samples) if rows]
        plotting.save_labeled(path, blocks)
