"""What the subcommands share: types of their arguments, opening a run, reading examples, writing the result."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, overload

import jax
import numpy as np
import tyro

from gon_jax import runs
from gon_jax._files import write_file
from gon_jax.base import Model, Variables
from gon_jax.data import Dataset, Split
from gon_jax.data.datasets import is_path
from gon_jax.data.folders import read_pictures
from gon_jax.data.splits import spread_indices, take
from gon_jax.runs.folder import part_of_a_run

SIGNALS = (".wav", ".gif")  # of what some commands write beside a picture of sound or video

__all__ = ["Input", "Num", "Part", "Picture", "PictureOrArray", "Prior", "RunFolder", "SIGNALS", "Seed"]
__all__ += ["by_statistics_of", "check_drawn", "examples_of", "open_run", "part_of_run", "place_of", "save"]
__all__ += ["use_caches"]

arg = tyro.conf.arg
SHIPPED = "pretrained:"  # before the name of a model of the package, in place of a folder
RunFolder = Annotated[Path, tyro.conf.Positional, arg(metavar="RUN", help="The run's folder; or pretrained:NAME.")]
Picture = Annotated[Path | None, arg(help="A .png; by default in the run's folder.")]
PictureOrArray = Annotated[Path | None, arg(help="A .png, by default in the run's folder; or an .npz (x_hat in 0..1).")]
Prior = Literal["model", "mixture", "gaussian"]
Part = Annotated[Literal["train", "validation", "test"], arg(help="Which part of the run's dataset.")]
Input = Annotated[tuple[str, ...] | None, arg(help="Pictures, folders of them, files of arrays, in place of the data.")]
Num = Annotated[int, arg(help="How many examples of the dataset.")]
Seed = Annotated[int, arg(help="Seed of what is drawn at random.")]


def place_of(folder: Path) -> Path:
    """Return where what is made of a run goes: its folder; for a model of the package, the working directory."""
    return Path() if str(folder).startswith(SHIPPED) else folder


@overload
def open_run(
    folder: Path,
    output: Path | None,
    default: str,
    suffixes: tuple[str, ...] = ...,
    *,
    which: str = ...,
    seed: int = ...,
    reads: Iterable[str | None] = ...,
    beside: tuple[str, ...] = ...,
    **counts: int | None,
) -> tuple[runs.Run, tuple[Model, Variables], Path]: ...


@overload
def open_run(
    folder: Path,
    output: Path | None,
    default: None = None,
    suffixes: tuple[str, ...] = ...,
    *,
    which: str = ...,
    seed: int = ...,
    reads: Iterable[str | None] = ...,
    beside: tuple[str, ...] = ...,
    **counts: int | None,
) -> tuple[runs.Run, tuple[Model, Variables], Path | None]: ...


def open_run(
    folder: Path,
    output: Path | None,
    default: str | None = None,
    suffixes: tuple[str, ...] = (".png", ".npz"),
    *,
    which: str = "best",
    seed: int = 0,
    reads: Iterable[str | None] = (),
    beside: tuple[str, ...] = (),
    **counts: int | None,
) -> tuple[runs.Run, tuple[Model, Variables], Path | None]:
    """Return the run, its model and variables, and the file to write, once counts and file are known to be good.

    Args:
        folder: the run's; or pretrained:NAME, of the package.
        output: what the user gave, or None.
        default: name of the file that is written otherwise, in the run's folder, or where the user is for a model of
            the package; None for no file.
        suffixes: of files that the command writes.
        which: checkpoint.
        reads: what else the command reads: inputs, another dataset.
        beside: suffixes of files that it may write beside the output, under the same name.
        seed, **counts: numbers that the user gave.
    """
    for name, count in counts.items():
        if count is not None and not 1 <= count < 2**31:
            raise ValueError(f"expected {name} {'of at least 1' if count < 1 else 'below 2^31'}, got {count}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"expected a seed of 32 bits, 0 to 4294967295, got {seed}")
    own = None if default is None else place_of(folder) / default
    if output is None:
        output = own
    elif own is None or os.path.realpath(output) != os.path.realpath(own):
        _check_output(output, suffixes, beside)
    if (name := str(folder)).startswith(SHIPPED):
        run = runs.pretrained(name.removeprefix(SHIPPED))
    else:
        use_caches(folder)
        run = runs.load_run(folder, which)
    if run.evaluation == "batch":
        print(f"gon: {folder} was imported without data, and evaluates by batch statistics", file=sys.stderr)
    if output is not None and output != own:
        _check_apart(output, [name for name in [run.config.data.dataset] if is_path(name)], reads)
    return run, (run.model, run.variables), output


def _check_apart(output, data, reads):
    """Refuse a file among a run's data, and one that would replace what a command reads."""
    for source in [*data, *(source for source in reads if source)]:
        inside = Path(os.path.realpath(output)).is_relative_to(os.path.realpath(Path(source).expanduser()))
        if inside and (source in data or output.exists()):
            raise ValueError(
                f"expected an output that is not among the data, got {output}, of {source}; choose another"
            )


def _check_output(output, suffixes, beside):
    """Refuse a file of another kind, one that cannot be written, and one that would replace a file unasked."""
    if output.suffix not in suffixes:
        raise ValueError(f"expected an output that ends in {' or '.join(suffixes)}, got {output}")
    place = next(parent for parent in output.absolute().parents if parent.exists())
    if output.is_dir() or not place.is_dir() or not os.access(place, os.W_OK):
        raise ValueError(f"expected an output in a folder that can be written to, got {output}; choose another")
    for suffix in (output.suffix, ".json", *SIGNALS):
        if (own := part_of_a_run(output.with_suffix(suffix))) is not None:
            raise ValueError(f"expected an output that is not a run's own, got {output}, beside or in place of {own}")
    for other in map(output.with_suffix, beside):
        if other.exists() and not output.exists():  # both are there: an earlier result
            raise ValueError(
                f"expected an output of a new name, got {output}: {other} is there already, and would be replaced"
            )


def by_statistics_of(loaded: runs.Run, images: np.ndarray) -> tuple[runs.Run, tuple[Model, Variables]]:
    """Return the run, its model and variables; the statistics are of these images where it has none of its own."""
    loaded = loaded.by_statistics_of(images)
    return loaded, (loaded.model, loaded.variables)


def part_of_run(data: Any, split: str) -> Split:
    """Return a split of a dataset, or say that there is none."""
    if (part := getattr(data, split)) is None:
        raise ValueError(f"expected a dataset with a {split} split, got {data.name} without; choose --split test")
    return part


def check_drawn(loaded: runs.Run) -> None:
    """Refuse a run of anything but images, before any work."""
    if loaded.kind != "images":
        raise ValueError(f"expected a run of images to draw, got one of {loaded.kind}; use gon encode or anomalies")


def examples_of(
    loaded: runs.Run, paths: Any, split: str = "test", num: int | None = None, dataset: Dataset | None = None
) -> Split:
    """Return the examples of files, in the shape of the run's, or of a split: all, or some spread over it.

    `dataset` is the run's, where it is loaded already.
    """
    if paths is not None:
        rate = (loaded.fingerprint or {}).get("samples_per_second")
        examples, notes = read_pictures(paths, loaded.model.data_shape, loaded.config.data.reading, rate)
        print(*notes, sep="\n", file=sys.stderr, end="\n" * bool(notes))
        return examples
    part = part_of_run(dataset or loaded.dataset(), split)
    return part if num is None else take(part, spread_indices(len(part.images), num))


def save(output: Path, plot_fn: Any, words: str = "", **arrays: Any) -> int:
    """Write arrays into an .npz, or the picture that a function plots; print where."""
    if output.suffix == ".npz":
        write_file(output, lambda file: np.savez_compressed(file, **arrays))
    else:
        plot_fn()
    print(f"{output}{words}")
    return 0


def use_caches(folder: Path) -> None:
    """Keep compiled programs and matplotlib's fonts beside the runs, unless the user has a place for them."""
    cache = folder.absolute().parent / ".cache"
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(cache / "jax"))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:  # a run is 150 programs, most of them small
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
