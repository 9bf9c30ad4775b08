"""The subcommands of `gon` that exchange weights with other libraries."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gon_jax.cli.common import RunFolder, arg, open_run, place_of, use_caches
from gon_jax.cli.tables import print_summary, print_table
from gon_jax.runs.config import DataConfig
from gon_jax.runs.exchange import WITHOUT_DATA, export_weights, import_weights
from gon_jax.runs.run import load_run
from gon_jax.runs.standalone import README, StandaloneFormat, export_run
from gon_jax.runs.web_page import PAGE, write_page

__all__ = ["COMMANDS"]

Weights = Annotated[
    Path, tyro.conf.Positional, arg(metavar="WEIGHTS", help="A .safetensors; or, with PyTorch, a .pt or .pth.")
]
MoreRuns = Annotated[
    tuple[Path, ...], tyro.conf.Positional, arg(metavar="[RUN ...]", help="Further runs of one page (html).")
]
WEIGHTS = "weights.safetensors"


def import_(
    weights: Weights,
    data: tyro.conf.OmitArgPrefixes[DataConfig] = WITHOUT_DATA,
    run: Path | None = None,
    step_size: float | None = None,
    omega_0: float | None = None,
    overwrite: bool = False,
) -> int:
    """Make a run of weights from PyTorch, of the authors' three models.

    With --dataset it is evaluated and drawn; else it has batch statistics.

    Args:
        data: What to evaluate on.
        run: The run's folder; by default runs/<name of the file>.
        step_size: Latent step size; by default the authors', for batches of 64.
        omega_0: Frequency of an implicit model's sines; by default the file's own, or 30.
        overwrite: Remove the run in the folder first; files that are not a run's stay.
    """
    folder = run or Path("runs") / weights.stem
    use_caches(folder)
    summary = import_weights(weights, folder, data=data, step_size=step_size, omega_0=omega_0, overwrite=overwrite)
    if summary is not None:
        print_summary(folder, summary)
        print("gon: it is not known which examples the weights were trained on", file=sys.stderr)
        return 0
    loaded = load_run(folder)
    shown = ("model", "network", "latent_shape", "base_channels", "hidden_dim", "num_layers", "omega_0")
    options = {name: value for name, value in loaded.config.options().items() if name in shown}
    print_table({"run": folder, "data": list(loaded.model.data_shape)} | options, 14, "{:g}")
    return 0


def export(
    run: RunFolder,
    more: MoreRuns = (),
    output: Path | None = None,
    format: Literal[StandaloneFormat, "safetensors", "html"] = "stablehlo",
    which: Literal["best", "last"] = "best",
    overwrite: bool = False,
) -> int:
    """Write the model for other programs, with a page that says how to use it.

    stablehlo: programs of any model that JAX alone runs, on CPUs, CUDA and TPUs. numpy: arrays, and a script that
    decodes by NumPy. onnx: for ONNX Runtime and others. safetensors: the state dict that the authors' model in PyTorch
    loads. html: a page in which one draws, explores, morphs, samples and zooms.

    Args:
        output: A folder, a .safetensors or an .html; by default of the format's name, in the run's folder.
        which: The best state or the last.
        overwrite: Replace an earlier export.
    """
    if more and format != "html":
        raise ValueError(f"expected one run for --format {format}, got {1 + len(more)}: only html shows several")
    if format == "safetensors" or format == "html":
        default = WEIGHTS if format == "safetensors" else PAGE
        loaded, _, file = open_run(run, output, default, (Path(default).suffix,), which=which)
        if file.exists() and not overwrite:
            raise ValueError(f"expected an output that is not there yet, got {file}; replace it with --overwrite")
        if format == "safetensors":
            export_weights(loaded, file)
            print(f"{file}: {loaded.config.model.name} for safetensors, step {loaded.step}")
        else:
            size = write_page([loaded, *(open_run(other, None, which=which)[0] for other in more)], file)
            print(f"{file}: {1 + len(more)} models, {size / 1e6:.2f} MB; open it in a browser")
        return 0
    if output is not None and output.suffix in (".safetensors", ".html"):
        raise ValueError(f"expected a folder for --format {format}, got {output}: add --format {output.suffix[1:]}")
    loaded, _, _ = open_run(run, None, which=which)
    folder = place_of(run) / format if output is None else output
    metadata = export_run(loaded, folder, format=format, overwrite=overwrite)
    for note in metadata["notes"]:
        print(f"gon: {note}", file=sys.stderr)
    names = ", ".join(metadata["functions"])
    print(f"{folder}: {names} of {loaded.config.model.name} for {format}, step {loaded.step}; see {folder / README}")
    return 0


COMMANDS: dict[str, Callable[..., int]] = {"import": import_, "export": export}
