"""Copy the pictures of these pages from runs and from the outputs of notebooks, where a script or a command made them.

A run that is missing is trained first, in runs/.

    python docs/copy_pictures.py
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
RUNS = {  # what trains a run, and the file of it that is a picture here
    "gon-digits": (
        "train gon-digits",
        {
            "digits_reconstructions": "reconstructions",
            "digits_interpolation": "interpolation",
            "digits_samples": "samples",
        },
    ),
    "implicit-solids": (
        "--import examples/signals.py train implicit-solids",
        {"solids_reconstructions": "reconstructions"},
    ),
}
NOTEBOOKS = {  # which of a notebook's pictures, counted from 0
    "implicit_superresolution": ("implicit_gon", 3),
    "implicit_inpainting": ("implicit_gon", 4),
    "variational_samples": ("variational_gon", 4),
}
COPIED = {*NOTEBOOKS, *(name for _, pictures in RUNS.values() for name in pictures)}


def pictures_of(notebook: str) -> list[bytes]:
    """Return the PNGs among a notebook's outputs, in their order."""
    cells = json.loads((ROOT / "notebooks" / f"{notebook}.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    found = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [base64.b64decode("".join(png)) for png in found]


def copy() -> None:
    """Write the pictures."""
    for name, (notebook, index) in NOTEBOOKS.items():
        (IMAGES / f"{name}.png").write_bytes(pictures_of(notebook)[index])
    for run, (command, pictures) in RUNS.items():
        folder = ROOT / "runs" / run
        if not (folder / "summary.json").exists():
            subprocess.run([sys.executable, "-m", "gon_jax", *command.split()], cwd=ROOT, check=True)
        for name, picture in pictures.items():
            (IMAGES / f"{name}.png").write_bytes((folder / f"{picture}.png").read_bytes())


if __name__ == "__main__":
    copy()
