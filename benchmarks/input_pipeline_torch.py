"""PyTorch's side of `benchmarks.input_pipeline`: a DataLoader reads a folder of pictures; it needs no JAX.

python input_pipeline_torch.py FOLDER SIZE BATCH_SIZE WORKERS EPOCHS
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from PIL import Image


class Pictures(torch.utils.data.Dataset):
    """Pictures as uint8 `[SIZE, SIZE, 3]`."""

    def __init__(self, folder, size):
        self.paths, self.size = sorted(pathlib.Path(folder).iterdir()), size

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        with Image.open(self.paths[i]) as picture:
            picture = picture.convert("RGB").resize((self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(picture))


def main(folder, size, batch_size, num_workers, num_epochs):
    options = {"batch_size": batch_size, "shuffle": True, "drop_last": True, "persistent_workers": True}
    loader = torch.utils.data.DataLoader(Pictures(folder, size), num_workers=num_workers, **options)
    rates = []
    for _ in range(num_epochs):  # the first starts the workers
        start, num = time.perf_counter(), 0
        for batch in loader:
            num += len(batch)
        rates.append(num / (time.perf_counter() - start))
    print(json.dumps({"images_per_second": rates, "torch": torch.__version__}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
