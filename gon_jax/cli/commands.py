"""The subcommands of `gon`: each a function, its arguments the options, its docstring the help."""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from gon_jax._files import write_file, write_json
from gon_jax.cli.signals import stop_requested
from gon_jax.runs.config import REGISTRIES, Config

__all__ = ["COMMANDS", "train", "use_caches"]

arg = tyro.conf.arg
RunFolder = Annotated[Path, tyro.conf.Positional, arg(metavar="RUN", help="The run's folder.")]
Part = Annotated[Literal["train", "validation", "test"], arg(help="Which part of the run's dataset.")]
Input = Annotated[
    tuple[Path, ...], arg(help="Images, folders of images, .npy or .npz files, in place of the run's dataset.")
]
Num = Annotated[int, arg(help="How many examples of the run's dataset.")]
PRINTED = (
    ("test.squared_error", "squared error per test image", "{:.3f}"),
    ("pca.squared_error", "the same by PCA, as many components", "{:.3f}"),
    ("test.psnr", "PSNR per test image, dB", "{:.2f}"),
    ("pca.psnr", "the same by PCA", "{:.2f}"),
    ("test.negative_elbo", "-ELBO per test image, nats", "{:.2f}"),
    ("test.kl", "of which KL", "{:.2f}"),
    ("test.bits_per_dim", "bits per dimension", "{:.3f}"),
    ("test.accuracy", "accuracy on test images", "{:.3f}"),
    ("source.squared_error", "squared error of the source itself", "{:.3f}"),
    ("num_parameters", "parameters", "{:,}"),
    ("latent_size", "latent size", "{}"),
    ("num_steps", "steps", "{:,}"),
    ("seconds_training", "seconds of training", "{:.1f}"),
    ("seconds_compile", "seconds to compile", "{:.1f}"),
    ("device", "device", "{}"),
)


def train(
    config: tyro.conf.OmitArgPrefixes[Config],
    model: Literal[tuple(REGISTRIES["model"])] = "gon",
    network: Literal[tuple(REGISTRIES["network"])] = "conv",
    likelihood: Literal[tuple(REGISTRIES["likelihood"])] = "squared_error",
    run: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Train a model; leave checkpoints, logs, pictures, a summary.

    `gon train PRESET` starts from a preset's options; `gon --help` lists them.

    Args:
        config: What to train.
        model: What is trained; its options are shown by --help together with --model.
        network: The decoder, likewise: convolutional, or a function of coordinates.
        likelihood: The inner and the outer loss, likewise.
        run: The run's folder; by default runs/<preset>, or runs/<model>-<dataset>.
        resume: Continue the run in the folder from its last checkpoint, as if never interrupted.
        overwrite: Remove the run in the folder first; files that are not a run's stay.
    """
    from gon_jax.runs.run import train as train_run

    folder = run or Path("runs") / f"{config.model.name}-{Path(config.data.dataset).stem}"
    use_caches(folder)
    with stop_requested() as should_stop:
        summary = train_run(config, folder, resume=resume, overwrite=overwrite, should_stop=should_stop)
    if summary is None:
        print(f"gon: interrupted, and saved; continue with the same command and --resume ({folder})", file=sys.stderr)
        return 130
    _print_summary(folder, summary)
    return 0


def show(run: RunFolder) -> int:
    """Print the metrics of a finished run."""
    from gon_jax.runs.folder import read_summary

    summary = read_summary(run)
    if summary is None:
        raise FileNotFoundError(f"expected a finished run in {run}, got no summary.json; train it, or --resume it")
    _print_summary(run, summary)
    return 0


def _print_summary(folder, summary):
    error, reference = summary["test.squared_error"], summary["pca.squared_error"]
    print(f"{summary['model']} on {summary['dataset']}, {summary['num_test']} held-out examples", end="")
    if "source.squared_error" in summary:  # PCA of the targets would have seen them
        print(f": {error / summary['source.squared_error']:.2f} of the source's error")
    else:
        print(f": {error / reference:.2f} of PCA's error" if reference else "")
    width = max(len(words) for _, words, _ in PRINTED)
    for key, words, form in PRINTED:
        if key in summary:
            print(f"  {words:<{width}}  {form.format(summary[key])}")
    names = [path.name for suffix in ("png", "wav", "gif") for path in sorted(folder.glob(f"*.{suffix}"))]
    for name in [*names, *(["encoder.npz"] if (folder / "encoder.npz").is_file() else [])]:
        print(f"  {folder / name}")
    for name in ("metrics.jsonl", "summary.json", "checkpoints"):
        print(f"  {folder / name}")


def evaluate(
    run: RunFolder,
    split: Part = "test",
    dataset: str | None = None,
    evaluation: Literal["running", "batch"] = "running",
    batch_size: int = 64,
    which: Literal["best", "last"] = "best",
    num_samples: int = 1,
    bits: bool = False,
    seed: int = 0,
    output: Path | None = None,
) -> int:
    """Print the reconstruction error over a split, and PCA's.

    Mean over all its images; of a variational GON the evidence bound too.

    Args:
        dataset: Another dataset than the run's, by name or path.
        evaluation: "running" uses averages from training, "batch" each batch's own statistics, as the authors do.
        batch_size: Images per batch; matters for "batch" alone.
        which: Which checkpoint.
        num_samples: Draws of the posterior per image; with several, the importance-weighted bound too.
        bits: Print bits per dimension, or say why not; without, they are printed where the likelihood is of bytes.
        seed: Seed of the draws.
        output: Also write the metrics to this JSON file.
    """
    from gon_jax.metrics import pca_errors

    loaded, output = _open(run, output, (".json",), which=which, batch_size=batch_size, num_samples=num_samples)
    if loaded.model.capabilities.bound is None and (bits or num_samples > 1):
        raise ValueError(f"expected a variational GON for --bits or --num-samples, got a {loaded.config.model.name}")
    data = loaded.dataset(dataset)
    arrays = loaded.config.model.arrays(part := _part(data, split))
    draws = {"num_samples": num_samples, "bits": bits or None, "seed": seed}
    metrics = loaded.evaluate(arrays, evaluation=evaluation, batch_size=batch_size, **draws, progress=True)
    pca = pca_errors(data.train.images, part.images, math.prod(loaded.config.latent_shape))
    metrics |= {f"pca.{name}": value for name, value in pca.items()}
    metrics |= {"num_images": len(part.images), "step": loaded.step, "evaluation": evaluation, "split": split}
    _print_table(metrics, 20, "{:.6g}")
    if output is not None:
        write_json(output, metrics)
    return 0


def reconstruct(run: RunFolder, output: Path, input: Input = (), split: Part = "test", num: Num = 20) -> int:
    """Draw images above their reconstructions, or write both.

    For a translation: above what is made of them, and what it makes of that.

    Args:
        output: Ends in .png or .npz (x, x_hat: float32 N H W C in 0..1; squared_error: N).
    """
    from gon_jax.data import to_unit
    from gon_jax.inference import reconstruct_dataset
    from gon_jax.runs.pictures import save_reconstructions

    loaded, output = _open(run, output, num=num)
    images = _examples(loaded, input, split, num).images
    sources, x = loaded.sources(images), np.asarray(to_unit(images))
    x_hat = reconstruct_dataset(loaded.model, loaded.variables, sources, encoder=loaded.encoder, progress="reconstruct")
    errors = np.square(x - x_hat).reshape(len(x), -1).sum(axis=1)

    def plot():
        name = loaded.config.model.name.replace("_", " ").upper()
        rows = ({} if sources is images else {"source": sources}) | {name: x_hat}
        save_reconstructions(output, loaded.dataset(), images, rows, {name: errors})

    words = f": {len(images)} images, squared error {errors.mean():.4g} each"
    return _save(output, plot, words, x=x, x_hat=x_hat, squared_error=errors)


def encode(run: RunFolder, output: Path, input: Input = (), split: Part = "test") -> int:
    """Write the latents of images.

    Args:
        output: Ends in .npz (latents: float32 N ...; labels where the dataset has them).
    """
    from gon_jax.inference import encode_dataset

    loaded, output = _open(run, output, (".npz",))
    images, labels = _examples(loaded, input, split)
    sources = loaded.sources(images)
    z = encode_dataset(loaded.model, loaded.variables, sources, encoder=loaded.encoder, progress="encode")
    known = {} if labels is None else {"labels": labels}
    return _save(output, None, f": latents {list(z.shape)}", latents=z, **known)


def interpolate(
    run: RunFolder, output: Path | None = None, input: Input = (), num_pairs: int = 8, num_points: int = 10
) -> int:
    """Draw interpolations between the latents of pairs of images.

    Args:
        output: A .png; by default interpolation.png in the run's folder.
        input: Images, taken in pairs; by default test images with different labels.
        num_pairs: Rows, without --input.
        num_points: Columns, along the sphere, the two ends included.
    """
    from gon_jax import inference
    from gon_jax.runs.pictures import save_interpolation

    loaded, output = _open(run, output or run / "interpolation.png", (".png",), num_pairs=num_pairs)
    examples = _examples(loaded, input)
    sources = loaded.sources(examples.images if input else inference.pairs_of_labels(examples, num_pairs))
    options = {"num_points": num_points, "encoder": loaded.encoder}
    grid = inference.interpolate(loaded.model, loaded.variables, sources, **options)
    return _save(output, lambda: save_interpolation(output, loaded.dataset(), grid))


def sample(
    run: RunFolder,
    output: Path | None = None,
    num: int | None = None,
    prior: Literal["model", "mixture", "gaussian"] | None = None,
    seed: int = 0,
) -> int:
    """Draw new images.

    From a variational GON's own prior, or one fitted to training latents.

    Args:
        output: A .png, or an .npz (x_hat: float32 N H W C in 0..1); by default samples.png in the run's folder.
        num: How many; by default 64 images, or 6 of anything else.
        prior: The model's own, or a Gaussian or a mixture of Gaussians with full covariances; by default the first that
            there is, or a mixture.
        seed: Seed of the draws.
    """
    import jax

    from gon_jax import inference
    from gon_jax.runs.pictures import save_samples, shown_of

    loaded, output = _open(run, output or run / "samples.png", num=num)
    dataset = loaded.dataset()
    sources, num = loaded.sources(dataset.train.images), num or shown_of(dataset).samples
    options = {"prior": prior, "encoder": loaded.encoder}
    x_hat = inference.sample(loaded.model, loaded.variables, sources, num, jax.random.key(seed), **options)
    return _save(output, lambda: save_samples(output, dataset, x_hat), x_hat=x_hat)


def superres(run: RunFolder, output: Path | None = None, size: int = 256, input: Input = (), num: Num = 4) -> int:
    """Draw images at a higher resolution, by an implicit model.

    Beside the original pixels and their bicubic enlargement.

    Args:
        output: A .png, or an .npz (x_hat: float32 N H W C in 0..1); by default superresolution.png in the run's folder.
        size: Pixels on the longer side.
    """
    from gon_jax.inference import superresolve
    from gon_jax.plotting import save_superresolution

    loaded, output = _open(run, output or run / "superresolution.png", size=size, num=num)
    images = _examples(loaded, input, num=num).images
    x_hat = superresolve(loaded.model, loaded.variables, images, size, progress="decode")
    return _save(output, lambda: save_superresolution(output, images, x_hat), x_hat=x_hat)


def inpaint(
    run: RunFolder,
    output: Path | None = None,
    hide: Literal["random", "center", "right"] = "random",
    fraction: float = 0.5,
    input: Input = (),
    num: Num = 10,
    seed: int = 0,
) -> int:
    """Draw images completed from a part of their pixels.

    By an implicit model, which encodes any set of points.

    Args:
        output: A .png; by default inpainting.png in the run's folder.
        hide: Which pixels are hidden.
        fraction: How many of all pixels are hidden.
        seed: Seed of the random pixels.
    """
    from gon_jax import inference
    from gon_jax.plotting import save_inpainting

    loaded, output = _open(run, output or run / "inpainting.png", (".png",), num=num)
    images = _examples(loaded, input, num=num).images
    known = inference.hide(images, hide, fraction, seed)
    completed = inference.inpaint(loaded.model, loaded.variables, images, known)
    return _save(output, lambda: save_inpainting(output, images, known, completed))


def latents(run: RunFolder, output: Path | None = None) -> int:
    """Describe the latents: distribution, rank, labels in them.

    Args:
        output: A .png of histogram, quantiles and spectra; by default latents.png in the run's folder. The table goes
            into a .json of the same name.
    """
    from gon_jax.plotting import save_latents
    from gon_jax.runs.describe import describe_latents

    loaded, output = _open(run, output or run / "latents.png", (".png",))
    table, z, spectra = describe_latents(loaded, progress=True)
    _print_table(table, max(map(len, table)), "{:.4g}")
    write_json(output.with_suffix(".json"), table)
    return _save(output, lambda: save_latents(output, z, spectra))


COMMANDS: dict[str, Callable[..., int]] = {
    f.__name__: f for f in (train, show, evaluate, reconstruct, encode, interpolate, sample, superres, inpaint, latents)
}


# -- what they share: load a run, read examples, write a file ----------------------------------------------------------


def _open(folder, output, suffixes=(".png", ".npz"), *, which="best", **counts) -> tuple[Any, Path]:
    """Return the run and the file to write, after refusing counts and files that would fail after the work."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"expected {name} of at least 1, got {count}")
    if output is not None:
        if output.suffix not in suffixes:
            raise ValueError(f"expected an output that ends in {' or '.join(suffixes)}, got {output}")
        place = next(parent for parent in output.absolute().parents if parent.exists())
        if output.is_dir() or not place.is_dir() or not os.access(place, os.W_OK):
            raise ValueError(f"expected an output in a folder that can be written to, got {output}; choose another")
    from gon_jax.runs.run import load_run

    use_caches(folder)
    return load_run(folder, which), output


def _part(data, split):
    if (part := getattr(data, split)) is None:
        raise ValueError(f"expected a dataset with a {split} split, got {data.name} without; choose --split test")
    return part


def _examples(loaded, paths, split="test", num=None):
    """Return the examples of files, in the shape of the run's, or of a split: all, or some spread over it."""
    from gon_jax.data import Split, read_images
    from gon_jax.inference import spread_indices

    if paths:
        return Split(read_images(paths, loaded.model.data_shape))
    part = _part(loaded.dataset(), split)
    return part if num is None else Split(part.images[spread_indices(len(part.images), num)])


def _print_table(table, width, form):
    for name, value in table.items():
        print(f"{name:<{width}}  {form.format(value) if isinstance(value, float) else value}")


def _save(output, plot_fn, words="", **arrays):
    """Write arrays into an .npz, or the picture that a function plots; print where."""
    if output.suffix == ".npz":
        write_file(output, lambda file: np.savez_compressed(file, **arrays))
    else:
        plot_fn()
    print(f"{output}{words}")
    return 0


def use_caches(folder: Path) -> None:
    """Keep compiled programs and matplotlib's fonts beside the runs, unless the user has a place for them."""
    import jax

    cache = folder.absolute().parent / ".cache"
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache / "jax"))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:  # a run is 150 programs, most of them small
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
