"""The subcommands of `gon`: each a function, its arguments the options, its docstring the help."""

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import gon_jax
from gon_jax import runs
from gon_jax._files import write_json
from gon_jax.cli import exchange_commands, latent_commands
from gon_jax.cli.common import (
    SIGNALS,
    Input,
    Num,
    Part,
    Picture,
    PictureOrArray,
    Prior,
    RunFolder,
    Seed,
    by_statistics_of,
    examples_of,
    open_run,
    part_of_run,
    save,
    use_caches,
)
from gon_jax.cli.signals import Stopped, stop_requested, word_of
from gon_jax.cli.tables import print_summary, print_table, written_by
from gon_jax.runs.config import NO_DATA, Config
from gon_jax.runs.saved import read_config, read_summary

__all__ = ["COMMANDS", "train", "train_suited"]


def train(
    config: Annotated[tyro.conf.OmitArgPrefixes[Config], tyro.conf.arg(name="", help="")],
    model: str = "gon",
    network: str = "conv",
    likelihood: str = "squared_error",
    run: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: float | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Train a model; leave checkpoints, logs, pictures, a summary.

    Args:
        config: What to train.
        model: What is trained; with --help, its own options are shown too.
        network: The decoder, likewise.
        likelihood: The inner and the outer loss, likewise.
        run: The run's folder; by default runs/<preset>, or runs/<model>-<dataset>.
        resume: Continue the run in the folder, as if it had never been interrupted.
        overwrite: Remove the run in the folder first; files that are not a run's stay.
        minutes: Train for about so long, by a measurement; in place of --num-steps.
        dry_run: Say what would be trained, on what, how long; leave nothing.
    """
    return train_suited(None, config, run, resume, overwrite, minutes, dry_run)


def train_suited(
    given: set[str] | None,
    config: Config,
    run: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: float | None = None,
    dry_run: bool = False,
    **_: Any,
) -> dict[str, Any]:
    """Train, with options that suit the data in place of all but those given, by flat names; None keeps all."""
    from gon_jax.data.datasets import is_path
    from gon_jax.runs.folder import check_folder
    from gon_jax.runs.lock import check_free

    name = config.data.dataset
    name = Path(os.path.abspath(Path(name).expanduser())).stem if is_path(name) else name
    folder = run or Path("runs") / f"{config.model.name}-{name.replace(':', '-').replace('/', '-')}"
    if folder == Path("."):
        raise ValueError("expected a folder for the run, got the working directory, or an empty name: give --run NAME")
    dataset = None
    if resume and (minutes is not None or dry_run):
        raise ValueError("expected neither --minutes nor --dry-run with --resume: a run keeps its number of steps")
    if minutes is not None and not 0 < minutes < math.inf:
        raise ValueError(f"expected minutes above 0, got {minutes}")
    if minutes is not None and given is not None and "num_steps" in given:
        raise ValueError("expected --minutes or --num-steps, got both: each says how long to train")
    use_caches(folder)
    with stop_requested() as should_stop:
        if resume and given is not None:  # what was chosen then, not what would be now
            own = {name: value for name, value in config.options().items() if name in given}
            config = read_config(folder).config.replace(**own)
        elif not dry_run:
            check_free(folder)
            check_folder(folder, config, resume, overwrite)
        if given is not None and not resume:
            config, dataset = runs.suited(config, given)
            minutes = runs.MINUTES if minutes is None and "num_steps" not in given else minutes
        if minutes is not None or dry_run:
            dataset = config.data.load() if dataset is None else dataset
            measured = runs.plan(config, dataset, folder)
            config = config if minutes is None else config.replace(num_steps=runs.steps_within(minutes, measured))
            if dry_run:
                print(*dataset.notes, sep="\n", end="\n" * bool(dataset.notes))
                print_table(planned := runs.planned(config, measured), 20, "{:.4g}")
                return {"written": [], "plan": planned, "notes": dataset.notes}
        summary = runs.train(
            config, folder, should_stop=should_stop, dataset=dataset, resume=resume, overwrite=overwrite
        )
    if summary is None:
        word = word_of(should_stop.number)
        words = f"{word}, and saved; continue with the same command and --resume ({folder})"
        raise Stopped(should_stop.number, words)
    print_summary(folder, summary)
    return {"run": folder, "written": written_by(folder), "summary": summary}


def show(run: RunFolder) -> dict[str, Any]:
    """Print the metrics of a finished run."""
    summary = read_summary(run)
    if summary is None:
        if (run / "config.json").is_file() and read_config(run).config.data.dataset == NO_DATA:
            raise ValueError(
                f"expected metrics of {run}, got none, since its weights were imported without data: gon evaluate "
                f"{run} --dataset NAME measures it"
            )
        raise FileNotFoundError(f"expected a finished run in {run}, got no summary.json; train it, or --resume it")
    print_summary(run, summary)
    return {"run": run, "written": [], "summary": summary}


def evaluate(
    run: RunFolder,
    split: Part = "test",
    dataset: str | None = None,
    evaluation: Literal["running", "batch"] = "running",
    batch_size: int = 64,
    which: Literal["best", "last"] = "best",
    num_samples: int = 1,
    bits: bool = False,
    seed: Seed = 0,
    output: Path | None = None,
) -> dict[str, Any]:
    """Print the reconstruction error over a split, and PCA's.

    Mean over all its images; of a variational GON the evidence bound too.

    Args:
        dataset: Another dataset than the run's, by name or path.
        evaluation: "running" uses averages from training, "batch" each batch's own statistics, as the authors do.
        batch_size: Images per batch; matters for "batch" alone.
        num_samples: Draws of the posterior per image; with several, the importance-weighted bound too.
        bits: Print bits per dimension, or say why not; without, they are printed where the likelihood is of bytes.
        output: Also write the metrics to this JSON file.
    """
    from gon_jax.pca import pca_errors

    counts: dict[str, Any] = {"batch_size": batch_size, "num_samples": num_samples, "seed": seed}
    loaded, trained, output = open_run(run, output, None, (".json",), which=which, reads=(dataset,), **counts)
    if loaded.model.capabilities.bound is None and (bits or num_samples > 1):
        raise ValueError(f"expected a variational GON for --bits or --num-samples, got a {loaded.config.model.name}")
    evaluation = "batch" if loaded.evaluation == "batch" else evaluation
    data = loaded.dataset(dataset)
    arrays = loaded.config.model.arrays(part := part_of_run(data, split))
    options = {"num_samples": num_samples, "bits": bits or None, "batch_size": batch_size, "progress": "evaluate"}
    metrics: dict[str, Any] = loaded.evaluate(arrays, evaluation=evaluation, seed=seed, **options)
    pca = pca_errors(data.train.images, part.images, math.prod(loaded.config.latent_shape), progress="PCA")
    metrics |= {f"pca.{name}": value for name, value in pca.items()}
    metrics |= {"num_images": len(part.images), "step": loaded.step, "evaluation": evaluation, "split": split}
    print_table(metrics, 20, "{:.6g}")
    if output is not None:
        write_json(output, metrics)
    return {"written": [] if output is None else [output], "metrics": metrics}


def reconstruct(
    run: RunFolder, output: Path | None = None, input: Input = None, split: Part = "test", num: Num = 20
) -> dict[str, Any]:
    """Draw images above their reconstructions, or write both.

    For a translation: above what is made of them, and what it makes of that.

    Args:
        output: A .png, by default reconstructed.png in the run's folder; or an .npz (x, x_hat: float32 N H W C in
            0..1; squared_error: N).
    """
    import numpy as np

    from gon_jax.runs.pictures import names_of, save_examples

    loaded, trained, output = open_run(run, output, "reconstructed.png", beside=SIGNALS, num=num, reads=input or ())
    examples = examples_of(loaded, input, split, num)
    images = examples.images
    loaded, trained = by_statistics_of(loaded, images)
    sources, x = loaded.sources(images), np.asarray(gon_jax.data.to_unit(images))
    x_hat = gon_jax.inference.reconstruct_dataset(*trained, sources, encoder=loaded.encoder, progress="reconstruct")
    errors = np.square(x - x_hat).reshape(len(x), -1).sum(axis=1)

    name = loaded.config.model.name.replace("_", " ").upper()
    rows = ({} if sources is images else {"source": sources}) | {name: x_hat}
    signals, arrays = {"original": images} | rows, {"x": x, "x_hat": x_hat, "squared_error": errors}
    options: dict[str, Any] = {"reconstructions": rows, "errors": {name: errors}, "names": names_of(examples)}
    plot = partial(gon_jax.plotting.save_reconstructions, images=images, **options)
    words = f": {len(images)} images, squared error {errors.mean():.4g} each"
    written = save(output, lambda: save_examples(output, loaded.kind, plot, signals), words, **arrays)
    return written | {"num_images": len(images), "squared_error": errors.mean()}


def encode(run: RunFolder, output: Path | None = None, input: Input = None, split: Part = "test") -> dict[str, Any]:
    """Write the latents of images.

    Args:
        output: An .npz, by default latents.npz in the run's folder: latents, float32 N ...; labels, names of files and
            names of classes where the data have them.
    """
    import numpy as np

    loaded, trained, output = open_run(run, output, "latents.npz", (".npz",), reads=input or ())
    images, labels, names, _ = examples_of(loaded, input, split)
    loaded, trained = by_statistics_of(loaded, images)
    sources = loaded.sources(images)
    z = gon_jax.inference.encode_dataset(*trained, sources, encoder=loaded.encoder, progress="encode")
    classes = None if labels is None else (loaded.fingerprint or {}).get("class_names")
    arrays = {"latents": z, "labels": labels, "names": names, "class_names": classes}
    arrays = {name: np.asarray(values) for name, values in arrays.items() if values is not None}
    return save(output, None, f": latents {list(z.shape)}", **arrays) | {"latents_shape": list(z.shape)}


def interpolate(
    run: RunFolder, output: Picture = None, input: Input = None, num_pairs: int = 8, num_points: int = 10
) -> dict[str, Any]:
    """Draw interpolations between the latents of pairs of images.

    Args:
        input: Images, taken in pairs; by default test images with different labels.
        num_pairs: Rows, without --input.
        num_points: Columns, along the sphere, the two ends included.
    """
    from gon_jax.data.splits import pairs_of_labels
    from gon_jax.runs.pictures import save_examples

    loaded, trained, output = open_run(
        run, output, "interpolation.png", (".png",), beside=SIGNALS, num_pairs=num_pairs, reads=input or ()
    )
    examples = examples_of(loaded, input)
    loaded, trained = by_statistics_of(loaded, examples.images)
    sources = loaded.sources(examples.images if input is not None else pairs_of_labels(examples, num_pairs))
    grid = gon_jax.inference.interpolate(*trained, sources, num_points, encoder=loaded.encoder)
    rows = {f"{i + 1}": row for i, row in enumerate(grid)}
    plot = partial(gon_jax.plotting.save_interpolation, grid=grid, ends=sources.reshape(-1, 2, *sources.shape[1:]))
    return save(output, lambda: save_examples(output, loaded.kind, plot, rows))


def sample(
    run: RunFolder, output: PictureOrArray = None, num: int | None = None, prior: Prior | None = None, seed: Seed = 0
) -> dict[str, Any]:
    """Draw new images.

    From a variational GON's own prior, or one fitted to training latents.

    Args:
        num: How many; by default 64 images, or 6 of anything else.
        prior: The model's own, or Gaussians with full covariances; by default the model's, or a mixture.
    """
    import jax

    from gon_jax.runs.pictures import num_shown, save_examples

    loaded, trained, output = open_run(run, output, "samples.png", beside=SIGNALS, num=num, seed=seed)
    key, num = jax.random.key(seed), num or num_shown(loaded.kind).samples
    own = loaded.model.capabilities.sample is not None and prior in (None, "model")
    sources = None if own else loaded.sources(loaded.dataset().train.images)
    x_hat = gon_jax.inference.sample(
        *trained, sources, num, key, prior=prior, encoder=loaded.encoder, progress="fit a prior"
    )
    plot = partial(gon_jax.plotting.save_samples, samples=x_hat)
    return save(output, lambda: save_examples(output, loaded.kind, plot, {"samples": x_hat}), x_hat=x_hat)


def superres(
    run: RunFolder, output: PictureOrArray = None, size: int = 256, input: Input = None, num: Num = 4
) -> dict[str, Any]:
    """Draw images at a higher resolution, by an implicit model.

    Beside the original pixels and their bicubic enlargement.

    Args:
        size: Pixels on the longer side.
    """
    loaded, trained, output = open_run(run, output, "superresolution.png", size=size, num=num, reads=input or ())
    images = examples_of(loaded, input, num=num).images
    x_hat = gon_jax.inference.superresolve(*trained, images, size, progress="decode")
    return save(output, lambda: gon_jax.plotting.save_superresolution(output, images, x_hat), x_hat=x_hat)


def inpaint(
    run: RunFolder,
    output: Picture = None,
    hide: Literal["random", "center", "right"] = "random",
    fraction: float = 0.5,
    input: Input = None,
    num: Num = 10,
    seed: Seed = 0,
) -> dict[str, Any]:
    """Draw images completed from a part of their pixels.

    By an implicit model, which encodes any set of points.

    Args:
        hide: Which pixels are hidden.
        fraction: How many of all pixels are hidden.
    """
    from gon_jax.data.degradations import hide as hidden_part

    loaded, trained, output = open_run(run, output, "inpainting.png", (".png",), num=num, seed=seed, reads=input or ())
    images = examples_of(loaded, input, num=num).images
    known = hidden_part(images, hide, fraction, seed)
    completed = gon_jax.inference.inpaint(*trained, images, known)
    return save(output, lambda: gon_jax.plotting.save_inpainting(output, images, known, completed))


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = (
    {f.__name__: f for f in (train, show, evaluate, reconstruct, encode, interpolate, sample, superres, inpaint)}
    | latent_commands.COMMANDS
    | exchange_commands.COMMANDS
)
