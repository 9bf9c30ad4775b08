"""Checkpoints of a run, by Orbax: state, configuration and metrics in one step; the best and the last are kept.

`checkpoints/<step>/` holds the items `state` (the pytree, typed keys as their data) and, as JSON, `config`, `scores`
and `leaves`: for each leaf dtype and shape, CRC-32 and a key's implementation. Orbax does not notice flipped bits: each
of the three JSON objects holds its own CRC-32 too.
"""

import logging
import math
from collections import namedtuple
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from gon_jax._files import check_fields, crc32, one_line, sealed, unsealed

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints of one run, open for saving or reading; a context manager.

    Saving is synchronous and atomic: a process killed while it saves, or a full disk, leaves the earlier checkpoints
    as they were. One process on one host saves; others may read.

    Args:
        folder: the run's folder; the checkpoints are in its `checkpoints/`.
        metric: what the best checkpoint is lowest in, the latest of equal ones; NaN comes last.
        highest: what it is highest in instead, as of an accuracy.
        create: for writers: make the folder, without which others get a FileNotFoundError, and remove what an
            interrupted save left.

    Example:
        >>> import tempfile
        >>> state = {"params": jax.numpy.arange(3.0), "key": jax.random.key(0)}
        >>> with tempfile.TemporaryDirectory() as run, Checkpoints(run, create=True) as checkpoints:
        ...     for step, error in ((100, 0.5), (200, 0.4), (300, 0.6)):
        ...         checkpoints.save(step, state, {"latent_dim": 16}, {"validation.squared_error": error})
        ...     checkpoints.steps, checkpoints.best_step, checkpoints.read_config()
        ((200, 300), 200, {'latent_dim': 16})
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        metric: str = "validation.squared_error",
        highest: bool = False,
        create: bool = False,
    ):
        self.folder, self.metric, self.highest = Path(folder).absolute() / "checkpoints", metric, highest
        if not create and not self.folder.is_dir():
            got = f"no folder {self.folder}: the path is probably wrong, or no training has saved there yet"
            raise FileNotFoundError(f"expected a run with checkpoints in {folder}, got {got}")
        options = ocp.CheckpointManagerOptions(
            create=create, cleanup_tmp_directories=create, enable_async_checkpointing=False
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_):
        self._manager.close()

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that have a checkpoint, ascending."""
        return tuple(self._manager.all_steps())

    @property
    def best_step(self) -> int | None:
        """The step whose checkpoint is the best by the metric; None without checkpoints.

        Raises:
            OSError: the metrics of one are damaged, which may be the best.
        """
        return min(reversed(self.steps), key=self._score, default=None)

    def _score(self, step):
        value = self.read_metrics(step).get(self.metric, math.nan)
        return math.inf if math.isnan(value) else -value if self.highest else value

    def save(self, step: int, state: Any, config: dict[str, Any], metrics: dict[str, float]) -> None:
        """Save one checkpoint, then remove those that are neither the best nor the last.

        Args:
            step: the training step, after every step saved before.
            state: a pytree of arrays; typed PRNG keys and 64-bit arrays included.
            config: the run's configuration, serializable as JSON.
            metrics: name to number; includes the metric that chooses the best.

        Raises:
            ValueError: the step is not after the last, or the metric is missing.
            OSError: the checkpoint could not be written (a full disk); the earlier ones are kept.
        """
        if step <= max(self.steps, default=-1):
            last = f"{self.steps[-1]}, the last checkpoint in {self.folder}"
            raise ValueError(f"expected a step after {last}, got {step}: resume from it, or remove later ones")
        if self.metric not in metrics:
            got = f"{sorted(metrics)}: add it, or pass Checkpoints another metric"
            raise ValueError(f"expected metrics with {self.metric!r}, which chooses the best, got {got}")
        arrays = jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)
        arrays = jax.tree.map(np.asarray, jax.device_get(arrays))
        leaves = {
            name: [_describe(leaf), crc32(array), str(jax.random.key_impl(leaf)) if _is_key(leaf) else None]
            for (name, leaf), array in zip(_named_leaves(state).items(), jax.tree.leaves(arrays), strict=True)
        }
        items = {"config": config, "leaves": leaves, "scores": {name: float(value) for name, value in metrics.items()}}
        args: dict[str, Any] = {name: ocp.args.JsonSave(sealed(item)) for name, item in items.items()}
        args["state"] = ocp.args.StandardSave(_without_unused(arrays))
        try:
            self._manager.save(step, args=ocp.args.Composite(**args), force=True)
            for other in set(self.steps) - {self._best_of_whole(), step}:  # Orbax's policies fail on a damaged one
                self._manager.delete(other)
        except (OSError, ValueError) as error:  # tensorstore reports a full disk as ValueError
            raise OSError(
                f"expected to write checkpoint {step} to {self.folder}, got {one_line(error)}; the earlier "
                f"checkpoints {list(self.steps)} are kept: probably a full disk or missing rights"
            ) from error

    def _best_of_whole(self):
        """Return the best step; one whose metrics are damaged is none, and that is said."""
        scores = {}
        for step in reversed(self.steps):
            try:
                scores[step] = self._score(step)
            except OSError as error:
                logging.getLogger(__name__).warning(f"checkpoint {step} is removed: {error}")
        return min(scores, key=scores.__getitem__)

    def delete(self, step: int) -> None:
        """Remove a checkpoint."""
        self._manager.delete(step)

    def restore(self, template: Any, which: str | int = "last") -> Any:
        """Read the state of the checkpoint `which`, "last", "best" or a step, back, bit for bit.

        The template is a state of the same structure, shapes and dtypes, or its `jax.eval_shape`. JAX leaves are placed
        as in the template, NumPy leaves stay NumPy.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: the checkpoint is of another model than the template.
            OSError: the checkpoint is damaged.
        """
        step = self._resolve(which)
        saved, expected = self._read(step, "leaves"), _named_leaves(template)
        for name in expected | saved:
            want, got = _describe(expected.get(name)), saved.get(name, ["nothing"])[0]
            if want != got:
                raise ValueError(
                    f"expected {want} at {name}, got {got} in checkpoint {step} of {self.folder}: it is probably of "
                    "another model, size or precision; build the template from read_config()"
                )
        empty = _without_unused(jax.tree.map(_empty_like, template))
        arrays, leaves = self._read(step, "state", ocp.args.StandardRestore(empty)), []
        for (name, leaf), array in zip(expected.items(), jax.tree.leaves(arrays), strict=True):
            _, crc, key_impl = saved[name]
            if crc32(array) != crc:
                raise self._damaged(step, f"other bytes at {name} than were saved")
            leaves.append(_place(leaf, jax.random.wrap_key_data(array, impl=key_impl) if key_impl else array))
        return jax.tree.unflatten(jax.tree.structure(template), leaves)

    def read_config(self, which: str | int = "last") -> dict[str, Any]:
        """Read the configuration saved with a checkpoint; `which` and errors as for `restore`."""
        return self._read(self._resolve(which), "config")

    def read_metrics(self, which: str | int = "last") -> dict[str, float]:
        """Read the metrics saved with a checkpoint; `which` and errors as for `restore`."""
        step = self._resolve(which)
        scores = self._read(step, "scores")
        try:
            return {name: float(value) for name, value in scores.items()}
        except (TypeError, ValueError) as error:
            raise self._damaged(step, f"metrics that are no numbers ({one_line(error)})") from error

    def _resolve(self, which):
        step = max(self.steps, default=None) if which == "last" else self.best_step if which == "best" else which
        if step not in self.steps:
            remedy = "choose one of them, 'last' or 'best'" if self.steps else "no training has saved there yet"
            got = f"steps {list(self.steps)}"
            raise FileNotFoundError(f"expected checkpoint {which!r} in {self.folder}, got {got}: {remedy}")
        return step

    def _read(self, step, item, args=None):
        try:
            read = self._manager.restore(step, args=ocp.args.Composite(**{item: args or ocp.args.JsonRestore()}))[item]
            return read if args else unsealed(check_fields(read, {}, item), item)
        except Exception as error:  # Orbax, tensorstore and json raise many kinds for damaged files
            raise self._damaged(step, one_line(error)) from error

    def _damaged(self, step, what):
        others = [other for other in self.steps if other != step]
        return OSError(
            f"expected a whole checkpoint {step} in {self.folder}, got {what}: damaged or half-written; "
            f"restore another ({others or 'there is none'}) or delete {self.folder / str(step)} to go on"
        )


def _is_key(leaf):
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def _named_leaves(tree):
    """Return the leaves of a pytree by path, such as 'params/dense/kernel'."""
    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _describe(leaf):
    """Return dtype and shape: 'float32[3, 4]', 'key<fry>[]'; 'nothing' for None."""
    leaf = leaf if hasattr(leaf, "dtype") or leaf is None else np.asarray(leaf)
    return "nothing" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"


def _without_unused(state):
    """Leave out fields that are None by default: Orbax takes None for structure, and older states had fewer fields."""
    defaults = getattr(state, "_field_defaults", {})
    if not defaults:
        return state
    used = {name: value for name, value in state._asdict().items() if value is not None or name not in defaults}
    return namedtuple("Used", used)(**used)


def _empty_like(leaf):
    """Return an empty NumPy array for Orbax to fill, of the shape and dtype in which a leaf is saved."""
    leaf = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.empty(leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else np.asarray(leaf)


def _place(leaf, array):
    """Give a restored array the kind and the place of the template's leaf."""
    if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)):
        return jax.device_put(array, leaf.sharding if getattr(leaf, "committed", False) else None)
    return array.item() if isinstance(leaf, (bool, int, float)) else array
