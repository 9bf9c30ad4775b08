"""Completion for shells: `gon completion SHELL` prints a script, made by tyro from the commands and their options."""

import contextlib
import inspect
import io
import os
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import tyro

from gon_jax.cli.commands import COMMANDS
from gon_jax.runs.config import REGISTRIES, DataConfig, TrainingConfig
from gon_jax.runs.presets import PRESETS

__all__ = ["completion"]

Shell = Literal["bash", "zsh", "fish"]
# tyro's scripts know no arguments without a dash; where they have nothing to say, these are files.
OR_FILES = {
    "bash": """
_gon_or_files() {{
  {name}
  [[ -n "${{COMPREPLY[*]}}" ]] || COMPREPLY=()
}}
complete -o default -F _gon_or_files gon
"""
}


def completion(
    shell: Annotated[Shell, tyro.conf.Positional, tyro.conf.arg(metavar="SHELL", help=f"{', '.join(get_args(Shell))}.")],
) -> dict[str, Any]:
    """Print a script by which a shell completes `gon` lines.

    For bash, in ~/.bashrc: eval "$(gon completion bash)"; docs/command_line.md has the others.
    """
    commands = {name: _described(name, function) for name, function in COMMANDS.items()}
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen), contextlib.suppress(SystemExit):
        tyro.extras.subcommand_cli_from_dict(commands, prog="gon", args=["--tyro-print-completion", shell])
    script = screen.getvalue()
    print(script)
    return {"script": script}
