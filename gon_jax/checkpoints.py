"""Checkpoints of a run by Orbax: state, configuration and metrics in one step; the best and the last are kept.

A run folder holds `checkpoints/<step>/` with the items `state` (the pytree, typed keys as their data), `config` and
`scores` (JSON), and `leaves` (JSON: of every leaf the dtype and shape, the CRC-32 of its bytes, since Orbax restores
flipped bits in silence, and a key's implementation). Beside it may lie the encoder of a checkpoint, for NumPy alone.
"""

import contextlib
import logging
import math
import zlib
from collections import namedtuple
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from gon_jax._files import write_file
from gon_jax.freezing import FrozenEncoder

NOTE = "z = bias + (x.reshape(n, -1) @ matrix).reshape(n, *latent_shape), for n images x of data_shape in [0, 1]"


@contextlib.contextmanager
def _quiet():
    """Orbax logs what it also raises, and much besides; here every problem is an exception."""
    logger = logging.getLogger("absl")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled


def _is_key(leaf):
    return jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def _named_leaves(tree):
    """The leaves of a pytree by path, such as 'params/dense/kernel'."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }


def _describe(leaf):
    """Dtype and shape in words: 'float32[3, 4]', 'key<fry>[]'."""
    leaf = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return f"{leaf.dtype}{list(leaf.shape)}"


def _without_unused(state):
    """Leave out fields that are None by default: Orbax takes None for structure, and older states had fewer fields."""
    defaults = getattr(state, "_field_defaults", {})
    if not defaults:
        return state
    used = {name: value for name, value in state._asdict().items() if value is not None or name not in defaults}
    return namedtuple("Used", used)(**used)


def _crc(array):
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def _one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


class _BestAndLast:
    """An Orbax preservation policy. (With Orbax's own metrics, one damaged file keeps the folder from opening.)"""

    def __init__(self, best_fn):
        self.best_fn = best_fn

    def should_preserve(self, checkpoints, *, context):
        steps = [checkpoint.step for checkpoint in checkpoints]
        return [step in (self.best_fn(steps), steps[-1]) for step in steps]


class Checkpoints:
    """The checkpoints of one run, open for saving or reading; a context manager.

    Saving is synchronous and atomic: a checkpoint is written under a temporary name and renamed, so that a process
    killed while it saves, or a full disk, leaves the earlier ones as they were. One process on one host saves; others
    may read.

    Args:
        folder: the run's folder; the checkpoints lie in its `checkpoints/`.
        metric: the metric that the best checkpoint has the lowest value of; one that is missing, NaN or
            unreadable is never best while another can. Of equal ones the latest is the best.
        create: make the folder where it is missing, and remove what an interrupted save left. A writer says True.

    Raises:
        FileNotFoundError: the folder holds no `checkpoints/`, and `create` is False.

    Example:
        >>> import tempfile
        >>> state = {"params": jax.numpy.arange(3.0), "key": jax.random.key(0)}
        >>> with tempfile.TemporaryDirectory() as run, Checkpoints(run, create=True) as checkpoints:
        ...     for step, error in ((100, 0.5), (200, 0.4), (300, 0.6)):
        ...         checkpoints.save(step, state, {"latent_dim": 16}, {"validation.squared_error": error})
        ...     checkpoints.steps, checkpoints.best_step, checkpoints.read_config()
        ((200, 300), 200, {'latent_dim': 16})
    """

    def __init__(self, folder: str | Path, *, metric: str = "validation.squared_error", create: bool = False):
        self.folder, self.metric = Path(folder).absolute() / "checkpoints", metric
        if not create and not self.folder.is_dir():
            raise FileNotFoundError(
                f"expected a run with checkpoints in {folder}, got no folder {self.folder}: "
                "the path is probably wrong, or no training has saved there yet"
            )
        options = ocp.CheckpointManagerOptions(
            create=create,
            cleanup_tmp_directories=create,
            enable_async_checkpointing=False,
            preservation_policy=_BestAndLast(self._best),
        )
        with _quiet():
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Release what Orbax holds. Nothing is pending: saving is synchronous."""
        with _quiet():
            self._manager.close()

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that have a checkpoint, ascending; possibly none."""
        return tuple(self._manager.all_steps())

    @property
    def best_step(self) -> int | None:
        """The step whose checkpoint has the lowest metric; None without checkpoints."""
        return self._best(self.steps)

    def _best(self, steps):
        return min(reversed(steps), key=self._score, default=None)

    def _score(self, step):
        try:
            score = self.read_metrics(step).get(self.metric, math.nan)
        except OSError:
            score = math.nan
        return math.inf if math.isnan(score) else score

    def save(self, step: int, state: Any, config: dict, metrics: dict[str, float]) -> None:
        """Save one checkpoint, then remove those that are neither the best nor the last.

        Args:
            step: the training step, after every step saved before.
            state: a pytree of arrays; typed PRNG keys and 64-bit arrays included.
            config: the run's configuration, of what JSON holds.
            metrics: name to number; includes the metric that chooses the best.

        Raises:
            ValueError: the step is not after the last, or the metric is missing.
            OSError: the checkpoint could not be written (a full disk); the earlier ones are kept.
        """
        if self.steps and step <= self.steps[-1]:
            raise ValueError(
                f"expected a step after {self.steps[-1]}, the last checkpoint in {self.folder}, got "
                f"{step}: resume from the last checkpoint, or remove the later ones"
            )
        if self.metric not in metrics:
            raise ValueError(
                f"expected metrics to hold {self.metric!r}, which chooses the best checkpoint, got "
                f"{sorted(metrics)}: add it, or name another with Checkpoints(..., metric=...)"
            )
        arrays = jax.device_get(jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state))
        arrays = jax.tree.map(np.asarray, arrays)
        leaves = {
            name: [_describe(leaf), _crc(array), str(jax.random.key_impl(leaf)) if _is_key(leaf) else None]
            for (name, leaf), array in zip(_named_leaves(state).items(), jax.tree.leaves(arrays), strict=True)
        }
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_without_unused(arrays)),
            config=ocp.args.JsonSave(config),
            leaves=ocp.args.JsonSave(leaves),
            scores=ocp.args.JsonSave({k: float(v) for k, v in metrics.items()}),
        )
        try:
            with _quiet():
                self._manager.save(step, args=items, force=True)
        except (OSError, ValueError) as error:  # tensorstore reports a full disk as ValueError
            raise OSError(
                f"expected to write checkpoint {step} to {self.folder}, got {_one_line(error)}; the earlier "
                f"checkpoints {list(self.steps)} are kept: probably a full disk or missing rights"
            ) from error

    def restore(self, template: Any, which: str | int = "last") -> Any:
        """Read a state back, bit for bit.

        Args:
            template: a pytree with the structure, shapes and dtypes of the state that was saved: such a state, or its
                `jax.eval_shape`. It is not changed. JAX leaves are placed as in the template, NumPy leaves stay NumPy.
            which: "last", "best" or a step.

        Returns:
            The state, with the template's structure.

        Raises:
            FileNotFoundError: there is no such checkpoint.
            ValueError: the checkpoint is of another model than the template.
            OSError: the checkpoint is damaged.
        """
        step = self._resolve(which)
        saved, expected = self._read(step, "leaves", ocp.args.JsonRestore()), _named_leaves(template)
        for name in [*expected, *(name for name in saved if name not in expected)]:
            want = _describe(expected[name]) if name in expected else "nothing"
            got = saved[name][0] if name in saved else "nothing"
            if want != got:
                raise ValueError(
                    f"expected {want} at {name}, got {got} in checkpoint {step} of {self.folder}: it is "
                    "probably of another model, size or precision; build the template from read_config()"
                )
        empty = _without_unused(jax.tree.map(_empty_like, template))
        arrays = self._read(step, "state", ocp.args.StandardRestore(empty))
        leaves = []
        for (name, leaf), array in zip(expected.items(), jax.tree.leaves(arrays), strict=True):
            _, crc, key_impl = saved[name]
            if _crc(array) != crc:
                raise self._damaged(step, f"other bytes at {name} than were saved")
            leaves.append(_place(leaf, jax.random.wrap_key_data(array, impl=key_impl) if key_impl else array))
        return jax.tree.unflatten(jax.tree.structure(template), leaves)

    def read_config(self, which: str | int = "last") -> dict:
        """Read the configuration saved with a checkpoint ("last", "best" or a step); raises as `restore` does."""
        return self._read(self._resolve(which), "config", ocp.args.JsonRestore())

    def read_metrics(self, which: str | int = "last") -> dict[str, float]:
        """Read the metrics saved with a checkpoint ("last", "best" or a step); raises as `restore` does."""
        return self._read(self._resolve(which), "scores", ocp.args.JsonRestore())

    def _resolve(self, which):
        step = max(self.steps, default=None) if which == "last" else self.best_step if which == "best" else which
        if step not in self.steps:
            raise FileNotFoundError(
                f"expected checkpoint {which!r} in {self.folder}, got steps {list(self.steps)}: "
                + ("choose one of them, 'last' or 'best'" if self.steps else "no training has saved there yet")
            )
        return step

    def _read(self, step, item, args):
        try:
            with _quiet():
                return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
        except Exception as error:  # whatever Orbax, tensorstore or json make of damaged files
            raise self._damaged(step, _one_line(error)) from error

    def _damaged(self, step, what):
        others = [other for other in self.steps if other != step]
        return OSError(
            f"expected a whole checkpoint {step} in {self.folder}, got {what}: damaged or half-written; "
            f"restore another ({others or 'there is none'}) or delete {self.folder / str(step)} to go on"
        )


def _empty_like(leaf):
    """An empty NumPy array for Orbax to fill, of the shape and dtype in which a leaf is saved."""
    leaf = jax.eval_shape(jax.random.key_data, leaf) if _is_key(leaf) else leaf
    return np.empty(np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype)


def _place(leaf, array):
    """Give a restored array the kind and the place of the template's leaf."""
    if isinstance(leaf, (jax.Array, jax.ShapeDtypeStruct)):
        return jax.device_put(array, leaf.sharding if getattr(leaf, "committed", False) else None)
    return array.item() if isinstance(leaf, (bool, int, float)) else array


def _fingerprint(tree):
    crc = 0
    for leaf in jax.tree.leaves(jax.device_get(tree)):
        crc = zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8), crc)
    return crc


def write_encoder(path: Path, encoder: FrozenEncoder, variables: Any, step: int, data_shape: tuple[int, ...]) -> None:
    """Write an encoder as an .npz that needs NumPy alone: `matrix` [m, k], `bias` [*latent], and what they are.

    Args:
        path: the file.
        encoder: one that acts on the data.
        variables: what it was computed from; its CRC-32 is kept, to know the file by.
        step: the training step of the variables.
        data_shape: of one example, m entries.

    >>> import tempfile
    >>> encoder = FrozenEncoder(jnp.ones((4, 2)), jnp.zeros(2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "encoder.npz"
    ...     write_encoder(path, encoder, {}, 100, (2, 2, 1))
    ...     with np.load(path) as file:
    ...         np.ones((1, 4)) @ file["matrix"] + file["bias"], int(file["step"])
    ...     read_encoder(path, {}, 100, (2, 2, 1), (2,)).bias, read_encoder(path, {}, 200, (2, 2, 1), (2,))
    (array([[4., 4.]]), 100)
    (Array([0., 0.], dtype=float32), None)
    """
    arrays = {"matrix": np.asarray(encoder.matrix), "bias": np.asarray(encoder.bias), "step": step}
    arrays |= {"latent_shape": encoder.bias.shape, "data_shape": data_shape, "note": NOTE}
    write_file(path, lambda file: np.savez(file, **arrays, variables_crc32=_fingerprint(variables)))


def read_encoder(
    path: Path, variables: Any, step: int, data_shape: tuple[int, ...], latent_shape: tuple[int, ...]
) -> FrozenEncoder | None:
    """Read an encoder back, if it is whole and that of these variables; otherwise return `None`.

    Args:
        path, variables, step, data_shape: as for `write_encoder`.
        latent_shape: of a code.
    """
    try:
        with path.open("rb") as content, np.load(content) as file:  # a zip, which holds a CRC-32 of every array
            matrix, bias, *known = (file[name] for name in ("matrix", "bias", "step", "variables_crc32"))
    except Exception:  # whatever zipfile and NumPy make of damaged files
        return None
    shapes = (math.prod(data_shape), math.prod(latent_shape)), tuple(latent_shape)
    if (matrix.shape, bias.shape) != shapes or {matrix.dtype, bias.dtype} != {np.dtype(np.float32)}:
        return None
    known = [number.tolist() for number in known]
    return FrozenEncoder(jnp.asarray(matrix), jnp.asarray(bias)) if known == [step, _fingerprint(variables)] else None
