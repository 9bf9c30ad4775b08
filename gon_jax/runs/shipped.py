"""Small trained models that are part of the package."""

from pathlib import Path

from gon_jax.runs.run import Run, load_run

__all__ = ["PRETRAINED", "pretrained"]

FOLDER = Path(__file__).parent / "weights"
PRETRAINED = tuple(sorted(path.parent.name for path in FOLDER.glob("*/config.json")))


def pretrained(name: str) -> Run:
    """Return a trained model of the package, by its name, as `load_run` returns a run: no data, no network.

    `docs/pretrained.md` has their figures, and the folder of each its model card, `README.md`.

    Raises:
        ValueError: for an unknown name, or files that are damaged.

    >>> run = pretrained("gon-digits")
    >>> run.model.data_shape, run.model.latent_shape
    ((32, 32, 1), (16,))
    """
    if name not in PRETRAINED:
        raise ValueError(
            f"expected a model of the package, one of {', '.join(PRETRAINED)}, got {name!r}; gon_jax.load_run(folder) "
            "loads your own"
        )
    return load_run(FOLDER / name)
