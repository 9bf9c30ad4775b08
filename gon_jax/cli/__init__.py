"""The command `gon`."""

import os

if os.environ.get("NO_COLOR"):  # https://no-color.org; tyro, which prints help, has a variable of its own
    os.environ.setdefault("PYTHON_TYRO_ANSI_CODES", "False")
