"""Write the tables of docs/data.md by the code: what each kind of input becomes, and what is refused in which words.

python docs/write_data_tables.py
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile

from gon_jax.data import Reading, load

PAGE = Path(__file__).parent / "data.md"
GRAY = np.arange(40 * 8 * 8, dtype=np.uint32).reshape(40, 8, 8)
BYTES = (GRAY * GRAY // 7 % 256).astype(np.uint8)


def _pictures(folder, images, suffix=".png"):
    for i, image in enumerate(images):
        path = Path(folder, f"{i:02d}{suffix}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def _npy(array):
    return lambda: np.save("a.npy", array)


def _npz(**arrays):
    return lambda: np.savez("a.npz", **arrays)


def _classes():
    for name in ("cat", "dog"):
        _pictures(f"photos/{name}", BYTES[:10])


def _parts():
    for name in ("Train", "val", "TEST"):
        _pictures(f"photos/{name}/cat", BYTES[:4])
        _pictures(f"photos/{name}/dog", BYTES[:4])


def _damaged():
    _pictures("photos", BYTES[:20])
    Path("photos/03.png").write_bytes(b"damaged")


def _transparent():
    _pictures("photos", np.zeros((10, 8, 8, 4), np.uint8))


def _deep():
    _pictures("photos", (GRAY[:10] * 20).astype(np.uint16))


def _wide():
    _pictures("photos", BYTES[:10, :5])


def _sounds():
    Path("sounds").mkdir()
    for i in range(10):
        wavfile.write(f"sounds/{i}.wav", 8000, (BYTES[i].ravel().astype(np.int16) - 128) * 200)


def _csv():
    Path("a.csv").write_text("width,height,species\n" + "".join(f"0.{i:02d},0.5,{'ab'[i % 2]}\n" for i in range(40)))


# What is given, how it is made, the path to load, and options of `load`.
INPUTS = [
    ("a folder of pictures", lambda: _pictures("photos", BYTES[:20]), "photos", {}),
    ("a folder with a subfolder per class", _classes, "photos", {}),
    ("folders `Train`, `val`, `TEST` of such", _parts, "photos", {}),
    ("pictures that are not square", _wide, "photos", {"image_size": 8}),
    ("a folder with a damaged file", _damaged, "photos", {}),
    ("transparent pictures", _transparent, "photos", {}),
    ("the same with `background='white'`", _transparent, "photos", {"background": "white"}),
    ("pictures of 16 bits", _deep, "photos", {}),
    ("the same with `value_range=(0, 65535)`", _deep, "photos", {"value_range": (0, 65535)}),
    ("a folder of WAV files", _sounds, "sounds", {}),
    ("a table in CSV", _csv, "a.csv", {}),
    ("`[N, H, W]`", _npy(BYTES), "a.npy", {}),
    ("booleans `[N, D, D, D]`", _npy((GRAY[:, :, :, None] + np.zeros(8, int)) % 5 > 2), "a.npy", {}),
    ("bytes `[N, D, D, D]`", _npy(np.repeat(BYTES[..., None], 8, -1)), "a.npy", {}),
    ("the same with `kind='voxels'`", _npy(np.repeat(BYTES[..., None], 8, -1)), "a.npy", {"kind": "voxels"}),
    ("channels first", _npy(np.repeat(BYTES[:, None], 3, 1)), "a.npy", {}),
    ("sound `[N, 1, T]`", _npy(BYTES.reshape(40, 1, 64)), "a.npy", {}),
    ("floats in 0..255", _npy(BYTES * 1.0), "a.npy", {}),
    ("floats up to 0.001", _npy(BYTES / 255e3), "a.npy", {}),
    ("standardized numbers `[N, d]`", _npy(BYTES.reshape(40, -1) / 64.0 - 2), "a.npy", {}),
    ("the same with `value_range=(-2, 2)`", _npy(BYTES.reshape(40, -1) / 64.0 - 2), "a.npy", {"value_range": (-2, 2)}),
    (
        "`x_train`, `y_train`, `x_val`, `x_test`",
        _npz(x_train=BYTES, y_train=GRAY[:, 0, 0] % 3, x_val=BYTES[:9], x_test=BYTES[:7]),
        "a.npz",
        {},
    ),
    ("labels that are strings", _npz(x=BYTES, y=np.array(["cat", "dog"] * 20)), "a.npz", {}),
    ("labels with gaps", _npz(x=BYTES, y=np.array([2, 5] * 20)), "a.npz", {}),
    ("negative labels", _npz(x=BYTES, y=np.array([-1, 0] * 20)), "a.npz", {}),
    ("one-hot labels", _npz(x=BYTES, y=np.eye(40, dtype=int)), "a.npz", {}),
    ("arrays of unknown names", _npz(a=BYTES, b=BYTES), "a.npz", {}),
]


def rows() -> list[str]:
    """Return the rows of the table: what is given, and what becomes of it or why not."""
    table = []
    for words, make, path, options in INPUTS:
        size = options.pop("image_size", None) if "image_size" in (options := dict(options)) else None
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            make()
            try:
                dataset = load(path, image_size=size, num_validation=None, reading=Reading(**options))
            except ValueError as error:
                table.append(f"| {words} | *refused:* {re.sub('[|]', '/', str(error))} |")
                continue
            parts = ", ".join(f"{name} {len(split.images)}" for name, split in dataset.parts().items())
            shape, dtype = list(dataset.train.images.shape[1:]), dataset.train.images.dtype
            notes = "; ".join(note for note in dataset.notes if "files read" not in note or "left out" in note)
            table.append(f"| {words} | {dataset.kind} {shape}, {dtype}: {parts}. {notes} |")
    return ["| given | what becomes of it, and `Dataset.notes` |", "|---|---|", *table]


def page() -> str:
    """Return the page with the table anew."""
    text = PAGE.read_text()
    head, _, rest = text.partition("<!-- inputs -->")
    _, _, tail = rest.partition("<!-- /inputs -->")
    return f"{head}<!-- inputs -->\n" + "\n".join(rows()) + f"\n<!-- /inputs -->{tail}"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {os.path.relpath(PAGE)}")
