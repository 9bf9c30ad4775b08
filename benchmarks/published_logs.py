"""Per-epoch logs of the authors' architecture that others published; `published_logs.json` has source and licence."""

import json
from pathlib import Path

PATH = Path(__file__).with_suffix(".json")


def published(log: str) -> dict[int, float]:
    """Return epoch to number of a log: "mnist", "fashion_mnist", "cifar10" (squared error), "vgon_mnist" (-ELBO).

    >>> published("mnist")[1]
    3.6062
    """
    values = json.loads(PATH.read_text())["logs"][log]["values"]
    return {int(epoch): value for epoch, value in values.items()}
