"""Train the preset gon-digits once and record its metrics; put its pictures where the README shows them.

python -m benchmarks.digits
"""

import pathlib
import shutil
import tempfile

from benchmarks import report
from gon_jax.runs import PRESETS, train

IMAGES = pathlib.Path(__file__).parents[1] / "docs" / "images"


def main():
    made_by = report.provenance()
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "gon-digits"
        summary = train(PRESETS["gon-digits"], run)
        IMAGES.mkdir(parents=True, exist_ok=True)
        for picture in run.glob("*.png"):
            shutil.copy(picture, IMAGES / f"digits_{picture.name}")
    print(report.write("gon_digits", {"summary": summary}, made_by))


if __name__ == "__main__":
    main()
