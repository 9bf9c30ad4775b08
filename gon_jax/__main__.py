"""`python -m gon_jax` is the command `gon`."""

import sys

from gon_jax.cli.program import program

if __name__ == "__main__":
    sys.exit(program())
