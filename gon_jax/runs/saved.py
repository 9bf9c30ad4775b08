"""What a run saves as JSON: its configuration and its summary, each with a schema and a checksum."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import gon_jax
from gon_jax._files import check_fields, read_json, sealed, unsealed, write_text
from gon_jax.runs.config import REGISTRIES, Config
from gon_jax.runs.old_format import from_flat

__all__ = ["METRIC", "SavedConfig", "read_config", "read_summary", "write_config", "write_summary"]

METRIC = "validation.squared_error"  # by which older versions chose the best checkpoint of any model
# Fields of files that are read, beside the options; files may have more.
CONFIG: dict[str, Any] = {"data_shape": list, "num_train": int | None, "best_by": str | None}
CONFIG |= dict.fromkeys(("fingerprint", "imported"), dict | None)
CONFIG_PARTS = {"data": dict, "training": dict, "latent_shape": list} | dict.fromkeys(REGISTRIES, dict)
SUMMARY: dict[str, Any] = dict.fromkeys(("model", "dataset", "likelihood", "device"), str) | {"versions": dict}
SUMMARY |= dict.fromkeys(("num_train", "num_test", "num_parameters", "latent_size", "num_steps"), int)
SUMMARY |= {"best_step": int | None, "best_by": str | None}
SUMMARY |= dict.fromkeys(("test.squared_error", "pca.squared_error", "seconds_training", "seconds_compile"), float)


class SavedConfig(NamedTuple):
    """What config.json and every checkpoint hold: the configuration, the data's shape and number.

    And `best_by`, the metric that the best checkpoint is chosen by: a run that goes on keeps to what it began with; the
    `fingerprint` of the data, None in runs of older versions; and where its first weights were `imported` from.
    """

    config: Config
    data_shape: tuple[int, ...]
    num_train: int | None = None
    best_by: str = METRIC
    fingerprint: dict[str, Any] | None = None
    imported: dict[str, Any] | None = None

    def options(self) -> dict[str, Any]:
        """Return all of it by flat names."""
        return self.config.options() | self._others()

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return self.config.to_dict() | self._others() | {"data_shape": list(self.data_shape)}

    def _others(self):
        return {name: value for name, value in self._asdict().items() if name != "config"}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SavedConfig":
        """Return what `to_dict` gave, of this format or the first.

        Raises:
            KeyError, TypeError, ValueError: for something else.
        """
        values, flat = dict(values), "format" not in values
        names = cls._fields[2:]  # after the configuration and the shape
        others = {name: values.pop(name) for name in names if name in values}
        data_shape = tuple(values.pop("image_shape" if flat else "data_shape"))
        if not data_shape or not all(type(size) is int and size > 0 for size in data_shape):
            raise ValueError(f"expected data_shape of whole numbers above 0, got {data_shape}")
        config = from_flat(values, data_shape) if flat else Config.from_dict(values)
        return cls(config, data_shape, **others)


def read_config(folder: Path) -> SavedConfig:
    """Read a run's config.json.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is not that of a run.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"expected a run in {folder}, got no {path}; give a folder that `gon train` wrote, as runs/gon-digits"
        )
    values = check_fields(read_json(path), {}, path)
    try:
        if "format" in values:
            check_fields(values, CONFIG | CONFIG_PARTS, path)
        saved = SavedConfig.from_dict({name: value for name, value in values.items() if name != "crc32"})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"expected the configuration of a run in {path}, got one with other fields ({error}); "
            f"it is probably of another program, or of another version of gon_jax than {gon_jax.__version__}"
        ) from error
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{error} (in {path})") from error
    unsealed(values, path)
    return saved


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write a run's summary.json, with its CRC-32."""
    write_text(folder / "summary.json", json.dumps(sealed(summary), indent=2) + "\n")


def write_config(folder: Path, saved: SavedConfig) -> None:
    """Write a run's config.json, with its CRC-32."""
    write_text(folder / "config.json", json.dumps(sealed(saved.to_dict()), indent=2) + "\n")


def read_summary(folder: Path) -> dict[str, Any] | None:
    """Return the summary of a finished run, or `None` if it isn't finished.

    Raises:
        ValueError: the file is not one that a run wrote.
    """
    path = Path(folder) / "summary.json"
    if not path.exists():
        return None
    summary = check_fields(read_json(path), SUMMARY, path)
    others = {name: float for name in summary if name.startswith(("test.", "pca.", "source.", "mean_image."))}
    return unsealed(check_fields(summary, others, path), path)
