"""The subcommands of `gon` that exchange weights with other libraries."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gon_jax import runs
from gon_jax.cli.common import RunFolder, arg, open_run, place_of, use_caches
from gon_jax.cli.tables import print_summary, print_table, written_by
from gon_jax.runs.config import WITHOUT_DATA, DataConfig

__all__ = ["COMMANDS"]

Weights = Annotated[
    Path, tyro.conf.Positional, arg(metavar="WEIGHTS", help="A .safetensors; or, with PyTorch, a .pt, .pth or .bin.")
]
MoreRuns = Annotated[
    tuple[Path, ...], tyro.conf.Positional, arg(metavar="[RUN ...]", help="Further runs of one page (html).")
]
FILES = {"safetensors": "weights.safetensors", "html": "page.html"}  # formats of one file, and its name


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
    more: MoreRuns = (),
    output: Path | None = None,
    format: Literal["stablehlo", "numpy", "onnx", "safetensors", "html"] = "stablehlo",
    which: Literal["best", "last"] = "best",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write the model for programs without this package.

    A page beside it says how to use it.

    Args:
        output: A folder, a .safetensors or an .html; by default of the format's name, in the run's folder.
        format: Programs of any model that JAX alone runs; arrays with a script for NumPy; graphs for ONNX Runtime and
            others; the state dict that the authors' model in PyTorch loads; or a page to draw, explore and zoom on.
        overwrite: Replace an earlier export.
    """
    if more and format != "html":
        raise ValueError(f"expected one run for --format {format}, got {1 + len(more)}: only html shows several")
    if format == "safetensors" or format == "html":
        loaded, _, file = open_run(run, output, FILES[format], (Path(FILES[format]).suffix,), which=which)
        if file.exists() and not overwrite:
            raise ValueError(f"expected an output that is not there yet, got {file}; replace it with --overwrite")
        written, done = [file], {}
        if format == "html":
            from gon_jax.runs.web_page import write_page

            size = write_page([loaded, *(open_run(other, None, which=which)[0] for other in more)], file)
            print(f"{file}: models: {1 + len(more)}, {size / 1e6:.2f} MB; open it in a browser")
        else:
            from gon_jax.runs.exchange import export_weights

            export_weights(loaded, file)
            print(f"{file}: {loaded.config.model.name} for safetensors, step {loaded.step}")
    else:
        if output is not None and output.suffix[1:] in FILES:
            raise ValueError(f"expected a folder for --format {format}, got {output}: add --format {output.suffix[1:]}")
        loaded, _, _ = open_run(run, None, which=which)
        folder = place_of(run) / format if output is None else output
        done = runs.export_run(loaded, folder, format=format, overwrite=overwrite)
        written = sorted(path for path in folder.iterdir() if path.is_file())
        for note in done["notes"]:
            print(f"gon: {note}", file=sys.stderr)
        names, page = ", ".join(done["functions"]), folder / "README.md"
        print(f"{folder}: {names} of {loaded.config.model.name} for {format}, step {loaded.step}; see {page}")
    return done | {"written": written, "format": format, "model": loaded.config.model.name, "step": loaded.step}


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {"import": import_, "export": export}
