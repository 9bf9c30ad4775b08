"""What `gon` says without an argument: what one can do, in one screen; with --help-all, what the presets are."""

import textwrap

from gon_jax.cli.commands import COMMANDS
from gon_jax.runs.presets import PRESETS

__all__ = ["overview", "presets"]

START = """\
usage: gon [--import FILE] COMMAND ... [--json]

Train a Gradient Origin Network, an autoencoder without an encoder; use it from
its folder. To begin:

  gon train gon-digits          a preset: two minutes, without a download
  gon train --dataset photos/   your pictures: options are chosen by the data
  gon sample runs/gon-digits    what the trained model draws

Commands (gon COMMAND --help tells more):
"""


def overview() -> str:
    """Return the page that `gon` prints: how to begin, the commands, the names of presets."""
    lines = [f"  {name:<12} {str(function.__doc__).splitlines()[0]}" for name, function in COMMANDS.items()]
    lines += ["", "Presets (gon train PRESET; gon --help-all tells more):", ""]
    lines += textwrap.wrap(" ".join(PRESETS), 79, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    lines += ["", "gon --version; gon --import FILE runs a file first: models, data of your own."]
    return START + "\n".join(["", *lines])


def presets() -> str:
    """Return a line about each preset: its data, latents and length."""
    lines = ["Presets (gon train PRESET):", ""]
    for name, c in PRESETS.items():
        shape, options = " ".join(map(str, c.latent_shape)), c.options()
        width = options.get("base_channels") or options["hidden_dim"]
        lines.append(f"  {name:<20} {c.data.dataset}, latent {shape}, width {width}, {c.training.num_steps:,} steps")
    return "\n".join(lines)
