"""A trained model as a small folder without checkpoints, to ship and to send: `load_run` reads it as any run.

config.json   the run's
weights.npz   the variables by name, and the step
encoder.npz   the one-matrix encoder, where the model has one
README.md     the model card
"""

from pathlib import Path

from gon_jax._files import write_text
from gon_jax.inference import frozen_encoder
from gon_jax.runs.encoder_file import write_encoder
from gon_jax.runs.run import Run, load_run
from gon_jax.runs.saved import read_config, write_config
from gon_jax.runs.variables_file import WEIGHTS, Precision, round_variables, write_variables

__all__ = ["CARD", "FILES", "write_portable"]

CARD = "README.md"  # where the Hugging Face Hub looks for it
FILES = ("config.json", WEIGHTS, "encoder.npz", CARD)


def write_portable(run: Run, folder: Path, card: str, *, precision: Precision = "float32") -> Run:
    """Write a run as a folder of a few files, without its data, logs and optimizer, and return it as it reads.

    Args:
        run: a trained one.
        folder: new, or one that this has written.
        card: the model card, Markdown.
        precision: of the kernels; "float16" halves the size, and changes the model by that rounding.

    Raises:
        ValueError: for a run without averaged statistics, whose latents depend on a batch.
    """
    if run.evaluation == "batch":
        raise ValueError(
            f"expected a run with averaged statistics, got {run.folder}, imported without data: import its weights "
            "again with --dataset"
        )
    variables = round_variables(run.variables, precision)
    write_config(folder, read_config(run.folder))
    write_variables(folder / WEIGHTS, variables, run.step)
    if (encoder := frozen_encoder(run.model, variables)) is not None:
        write_encoder(folder / "encoder.npz", encoder, variables, run.step, run.model.data_shape)
    write_text(folder / CARD, card)
    return load_run(folder)
