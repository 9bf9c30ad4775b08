"""The subcommands of `gon` that exchange weights with other libraries."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from gon_jax import runs
from gon_jax.cli.common import RunFolder, arg, open_run, use_caches
from gon_jax.cli.tables import print_summary, print_table, written_by
from gon_jax.runs.config import WITHOUT_DATA, DataConfig

if TYPE_CHECKING:
    from gon_jax.runs import Run

__all__ = ["COMMANDS", "FORMATS", "Format"]

Weights = Annotated[
    Path, tyro.conf.Positional, arg(metavar="WEIGHTS", help="A .safetensors; or, with PyTorch, a .pt or .pth.")
]


class Format(NamedTuple):
    """A format of `gon export`: the name of the file in the run's folder, and what writes a run into a file."""

    default: str
    write: "Callable[[Run, Path], None]"


def _export_weights(run, path):
    from gon_jax.runs.exchange import export_weights

    export_weights(run, path)


FORMATS: dict[str, Format] = {"safetensors": Format("weights.safetensors", _export_weights)}


def import_(
    weights: Weights,
    data: tyro.conf.OmitArgPrefixes[DataConfig] = WITHOUT_DATA,
    run: Path | None = None,
    step_size: float | None = None,
    omega_0: float | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Make a run of weights from PyTorch, of the authors' three models.

    With --dataset it is evaluated and drawn; else it has batch statistics.

    Args:
        data: What to evaluate on.
        run: The run's folder; by default runs/<name of the file>.
        step_size: Latent step size; by default the authors', for batches of 64.
        omega_0: Frequency of an implicit model's sines; by default the file's own, or 30.
        overwrite: Remove the run in the folder first; files that are not a run's stay.
    """
    from gon_jax.runs.exchange import import_weights

    folder = run or Path("runs") / weights.stem
    use_caches(folder)
    summary = import_weights(weights, folder, data=data, step_size=step_size, omega_0=omega_0, overwrite=overwrite)
    if summary is not None:
        print_summary(folder, summary)
        print("gon: it is not known which examples the weights were trained on", file=sys.stderr)
        return {"run": folder, "written": written_by(folder), "summary": summary}
    loaded = runs.load_run(folder)
    shown = ("model", "network", "latent_shape", "base_channels", "hidden_dim", "num_layers", "omega_0")
    options = {name: value for name, value in loaded.config.options().items() if name in shown}
    print_table(made := {"run": folder, "data": list(loaded.model.data_shape)} | options, 14, "{:g}")
    return {"written": [folder / name for name in ("config.json", "checkpoints")]} | made


def export(
    run: RunFolder,
    output: Path | None = None,
    format: Literal["safetensors"] = "safetensors",
    which: Literal["best", "last"] = "best",
) -> dict[str, Any]:
    """Write the model for other libraries.

    safetensors: the state dict that the authors' model in PyTorch loads.

    Args:
        output: A file; by default weights.safetensors in the run's folder.
    """
    default, write = FORMATS[format]
    loaded, _, output = open_run(run, output, default, (Path(default).suffix,), which=which)
    write(loaded, output)
    print(f"{output}: {loaded.config.model.name} for {format}, step {loaded.step}")
    return {"written": [output], "format": format, "model": loaded.config.model.name, "step": loaded.step}


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {"import": import_, "export": export}
