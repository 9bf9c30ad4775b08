"""The subcommands of `gon`: each a function, its arguments the options, its docstring the help."""

import difflib
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gon_jax.runs.config import Config

Split = Literal["train", "validation", "test"]
Prior = Literal["model", "mixture", "gaussian"]
RunFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
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


def _use_caches(folder: Path) -> None:
    """Keep compiled programs and matplotlib's fonts beside the runs, unless the user has a place for them."""
    import jax

    cache = folder.absolute().parent / ".cache"
    os.environ.setdefault("MPLCONFIGDIR", str(cache / "matplotlib"))
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache / "jax"))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:  # a run is 150 programs, most of them small
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _print_summary(folder: Path, summary: dict) -> None:
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
    patterns = ("*.png", "*.wav", "*.gif", "encoder.npz")
    names = [path.name for pattern in patterns for path in sorted(folder.glob(pattern))]
    names += ["metrics.jsonl", "summary.json", "checkpoints"]
    for name in names:
        print(f"  {folder / name}")


def train(
    config: tyro.conf.OmitArgPrefixes[Config], run: Path | None = None, resume: bool = False, overwrite: bool = False
) -> int:
    """Train a model; leave checkpoints, logs, pictures, a summary.

    `gon train PRESET` starts from a preset's options; `gon --help` lists them.

    Args:
        config: What to train.
        run: The run's folder; by default runs/<preset>, or runs/<model>-<dataset>.
        resume: Continue the run in the folder from its last checkpoint, as if never interrupted.
        overwrite: Remove the run in the folder first; files that are not a run's stay.
    """
    from gon_jax.runs.run import train as train_run

    folder = run or Path("runs") / f"{config.model}-{Path(config.dataset).stem}"
    _use_caches(folder)
    summary = train_run(config, folder, resume=resume, overwrite=overwrite)
    if summary is None:
        print(f"gon: interrupted, and saved; continue with the same command and --resume ({folder})", file=sys.stderr)
        return 130
    _print_summary(folder, summary)
    return 0


def show(run: RunFolder) -> int:
    """Print the figures of a finished run.

    Args:
        run: The run's folder.
    """
    from gon_jax.runs.folder import read_summary

    summary = read_summary(run)
    if summary is None:
        raise FileNotFoundError(f"expected a finished run in {run}, got no summary.json; train it, or --resume it")
    _print_summary(run, summary)
    return 0


def evaluate(
    run: RunFolder,
    split: Split = "test",
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
        run: The run's folder.
        split: Which part of the dataset.
        dataset: Another dataset than the run's, by name or path.
        evaluation: "running" uses averages from training, "batch" each batch's own statistics (the release's protocol).
        batch_size: Images a batch; matters for "batch" alone.
        which: Which checkpoint.
        num_samples: Draws of the posterior an image; with several, the importance-weighted bound too.
        bits: Print bits per dimension, or say why not; without, they are printed where the likelihood is of bytes.
        seed: Of the draws.
        output: Also write the figures to this JSON file.
    """
    import jax

    from gon_jax.metrics import accuracy, evaluate_bound, pca_errors
    from gon_jax.metrics import evaluate as evaluate_images

    _check_counts(batch_size=batch_size, num_samples=num_samples)
    _check_output(output, (".json",))
    loaded = _load(run, which)
    if loaded.model.bound is None and (bits or num_samples > 1):
        raise ValueError(f"expected a variational GON for --bits or --num-samples, got a {loaded.config.model}")
    data = loaded.dataset(dataset)
    images, labels = _part(data, split)
    sources = loaded.sources(images)
    bound = {}
    if loaded.model.bound is not None:  # first, since it refuses bits per dimension of what isn't normalized
        draws = {"num_samples": num_samples, "bits": bits or None, "evaluation": evaluation, "batch_size": batch_size}
        key = jax.random.key(seed)
        bound = evaluate_bound(loaded.model, loaded.variables, images, key, **draws, progress="bound")
    result = evaluate_images(
        loaded.model,
        loaded.variables,
        {"x": sources, "target": images},
        evaluation=evaluation,
        batch_size=batch_size,
        encoder=loaded.encoder if evaluation == "running" else None,
        progress="evaluate",
    )
    if loaded.model.classify is not None and labels is not None:
        options = {"evaluation": evaluation, "batch_size": batch_size}
        result["accuracy"] = accuracy(loaded.model, loaded.variables, {"x": images, "y": labels}, **options)
    pca = pca_errors(data.train.images, images, math.prod(loaded.config.latent_shape))
    result |= {f"pca.{name}": value for name, value in pca.items()}
    result |= bound | {"num_images": len(images), "step": loaded.step, "evaluation": evaluation, "split": split}
    for name, value in result.items():
        print(f"{name:<20} {value:.6g}" if isinstance(value, float) else f"{name:<20} {value}")
    if output is not None:
        _write(output, lambda file: file.write(json.dumps(result, indent=2).encode() + b"\n"))
    return 0


def reconstruct(
    run: RunFolder, output: Path, input: tuple[Path, ...] = (), split: Split = "test", num: int = 20
) -> int:
    """Draw images above their reconstructions, or write both.

    Of a translation: above what is made of them, and what it makes of that.

    Args:
        run: The run's folder.
        output: Ends in .png or .npz (x, x_hat: float32 N H W C in 0..1; squared_error: N).
        input: Images, folders of images, .npy or .npz files; by default images of the run's dataset.
        split: Which part of the dataset, without --input.
        num: How many images of the dataset, without --input.
    """
    import numpy as np

    from gon_jax.data import to_unit
    from gon_jax.inference import reconstruct_dataset, spread_indices
    from gon_jax.runs.pictures import save_reconstructions

    _check_counts(num=num)
    _check_output(output, (".png", ".npz"))
    loaded = _load(run)
    images = _inputs(loaded, input, split).images
    images = images if input else images[spread_indices(len(images), num)]
    sources = loaded.sources(images)
    x = np.asarray(to_unit(images))
    model, variables, encoder = loaded.model, loaded.variables, loaded.encoder
    x_hat = reconstruct_dataset(model, variables, sources, encoder=encoder, progress="reconstruct")
    errors = np.square(x - x_hat).reshape(len(x), -1).sum(axis=1)
    if output.suffix == ".png":
        name = loaded.config.model.replace("_", " ").upper()
        rows = ({} if sources is images else {"source": sources}) | {name: x_hat}
        save_reconstructions(output, loaded.dataset(), images, rows, {name: errors})
    else:
        _write(output, lambda file: np.savez_compressed(file, x=x, x_hat=x_hat, squared_error=errors))
    print(f"{output}: {len(images)} images, squared error {errors.mean():.4g} each")
    return 0


def encode(run: RunFolder, output: Path, input: tuple[Path, ...] = (), split: Split = "test") -> int:
    """Write the codes of images.

    Args:
        run: The run's folder.
        output: Ends in .npz (latents: float32 N ...; labels where the dataset has them).
        input: Images, folders of images, .npy or .npz files; by default a whole split of the run's dataset.
        split: Which part of the dataset, without --input.
    """
    import numpy as np

    from gon_jax.inference import encode_dataset

    _check_output(output, (".npz",))
    loaded = _load(run)
    images, labels = _inputs(loaded, input, split)
    sources = loaded.sources(images)
    z = encode_dataset(loaded.model, loaded.variables, sources, encoder=loaded.encoder, progress="encode")
    arrays = {"latents": z} | ({} if labels is None else {"labels": labels})
    _write(output, lambda file: np.savez_compressed(file, **arrays))
    print(f"{output}: latents {list(arrays['latents'].shape)}")
    return 0


def interpolate(
    run: RunFolder,
    output: Path | None = None,
    input: tuple[Path, ...] = (),
    num_pairs: int = 8,
    num_points: int = 10,
) -> int:
    """Draw interpolations between the codes of pairs of images.

    Args:
        run: The run's folder.
        output: A .png; by default interpolation.png in the run's folder.
        input: Images, taken in pairs; by default test images with different labels.
        num_pairs: Rows, without --input.
        num_points: Columns, along the sphere, the two ends included.
    """
    from gon_jax.inference import interpolate as interpolate_images
    from gon_jax.inference import pairs_of_labels
    from gon_jax.runs.pictures import save_interpolation

    output = output or run / "interpolation.png"
    _check_counts(num_pairs=num_pairs)
    _check_output(output, (".png",))
    loaded = _load(run)
    test = _inputs(loaded, input, "test")
    images = test.images if input else pairs_of_labels(test, num_pairs)
    sources = loaded.sources(images)
    rows = interpolate_images(loaded.model, loaded.variables, sources, num_points, encoder=loaded.encoder)
    save_interpolation(output, loaded.dataset(), rows)
    print(output)
    return 0


def sample(
    run: RunFolder, output: Path | None = None, num: int | None = None, prior: Prior | None = None, seed: int = 0
) -> int:
    """Draw new images.

    From a variational GON's own prior, or one fitted to training codes.

    Args:
        run: The run's folder.
        output: A .png, or an .npz (x_hat: float32 N H W C in 0..1); by default samples.png in the run's folder.
        num: How many; by default 64 images, or 6 of anything else.
        prior: The model's own, or a Gaussian or a mixture of Gaussians with full covariances; by default the first that
            there is, or a mixture.
        seed: Of the draws.
    """
    import jax
    import numpy as np

    from gon_jax.inference import sample as sample_images
    from gon_jax.runs.pictures import save_samples, shown_of

    output = output or run / "samples.png"
    _check_counts(num=1 if num is None else num)
    _check_output(output, (".png", ".npz"))
    loaded = _load(run)
    dataset = loaded.dataset()
    images, num = loaded.sources(dataset.train.images), num or shown_of(dataset).samples
    model, variables, key = loaded.model, loaded.variables, jax.random.key(seed)
    x_hat = sample_images(model, variables, images, num, key, prior=prior, encoder=loaded.encoder)
    if output.suffix == ".png":
        save_samples(output, dataset, x_hat)
    else:
        _write(output, lambda file: np.savez_compressed(file, x_hat=x_hat))
    print(output)
    return 0


def superres(
    run: RunFolder, output: Path | None = None, size: int = 256, input: tuple[Path, ...] = (), num: int = 4
) -> int:
    """Draw images at a higher resolution, by an implicit model.

    Beside the original pixels and their bicubic enlargement.

    Args:
        run: The run's folder.
        output: A .png, or an .npz (x_hat: float32 N H W C in 0..1); by default superresolution.png in the run's folder.
        size: Pixels on the longer side.
        input: Images, folders of images, .npy or .npz files; by default test images.
        num: How many of them, without --input.
    """
    import numpy as np

    from gon_jax import plotting as figures
    from gon_jax.inference import spread_indices, superresolve

    output = output or run / "superresolution.png"
    _check_counts(size=size, num=num)
    _check_output(output, (".png", ".npz"))
    loaded = _load(run)
    images = _inputs(loaded, input, "test").images
    images = images if input else images[spread_indices(len(images), num)]
    x_hat = superresolve(loaded.model, loaded.variables, images, size, progress="decode")
    if output.suffix == ".png":
        figures.save_superresolution(output, images, x_hat)
    else:
        _write(output, lambda file: np.savez_compressed(file, x_hat=x_hat))
    print(output)
    return 0


def inpaint(
    run: RunFolder,
    output: Path | None = None,
    hide: Literal["random", "center", "right"] = "random",
    fraction: float = 0.5,
    input: tuple[Path, ...] = (),
    num: int = 10,
    seed: int = 0,
) -> int:
    """Draw images completed from a part of their pixels.

    By an implicit model, which encodes any set of points.

    Args:
        run: The run's folder.
        output: A .png; by default inpainting.png in the run's folder.
        hide: Which pixels are hidden.
        fraction: How many, of all.
        input: Images, folders of images, .npy or .npz files; by default test images.
        num: How many of them, without --input.
        seed: Of the random pixels.
    """
    from gon_jax import plotting as figures
    from gon_jax.inference import hide as hide_part
    from gon_jax.inference import inpaint as inpaint_images
    from gon_jax.inference import spread_indices

    output = output or run / "inpainting.png"
    _check_counts(num=num)
    _check_output(output, (".png",))
    loaded = _load(run)
    images = _inputs(loaded, input, "test").images
    images = images if input else images[spread_indices(len(images), num)]
    known = hide_part(images, hide, fraction, seed)
    completed = inpaint_images(loaded.model, loaded.variables, images, known)
    figures.save_inpainting(output, images, known, completed)
    print(output)
    return 0


def latents(run: RunFolder, output: Path | None = None) -> int:
    """Describe the codes: distribution, rank, labels in them.

    Args:
        run: The run's folder.
        output: A .png of histogram, quantiles and spectra; by default latents.png in the run's folder. The table goes
            into a .json of the same name.
    """
    from gon_jax import plotting as figures
    from gon_jax.runs.describe import describe_codes

    output = output or run / "latents.png"
    _check_output(output, (".png",))
    loaded = _load(run)
    table, z, spectrum = describe_codes(loaded, progress=True)
    width = max(map(len, table))
    for name, value in table.items():
        print(f"{name:<{width}}  {value:.4g}" if isinstance(value, float) else f"{name:<{width}}  {value}")
    figures.save_codes(output, z, spectrum)
    _write(output.with_suffix(".json"), lambda file: file.write(json.dumps(table, indent=2).encode() + b"\n"))
    print(output)
    return 0


def reproduce(
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="[NAME]")] = "",
    dataset: str | None = None,
    scale: Literal["smoke", "short", "paper"] = "short",
    seeds: int = 1,
    list: bool = False,
    results: Path | None = None,
    runs: Path = Path("runs/reproduction"),
) -> int:
    """Reproduce one of the paper's tables or figures.

    Trains what it compares, writes a table, a picture and their JSON.

    Args:
        name: table1, table2, fig2a, ...; all for every one at the scale smoke.
        dataset: One of its datasets; by default the first.
        scale: smoke (seconds, on digits), short (minutes on 2 cores, real data) or paper (the full protocol, a GPU).
        seeds: How many, from 0 on.
        list: Say what there is, what it costs, and what has been reproduced.
        results: Folder of results; by default benchmarks/results/reproduction where there is one, else in runs.
        runs: Folder of the runs, which are kept: the same command goes on where it was interrupted.
    """
    from benchmarks import paper as reproduction
    from benchmarks.paper.experiment import markdown, table
    from benchmarks.paper.overview import overview

    committed = Path("benchmarks/results/reproduction")
    results = results or (committed if committed.is_dir() and scale != "smoke" else runs / "results")
    if list or not name:
        print(overview(results))
        return 0
    known = reproduction.EXPERIMENTS
    if name not in known and not (name == "all" and scale == "smoke"):
        raise ValueError(f"name: {close(name, known)} (gon reproduce --list)")
    _check_counts(seeds=seeds)
    _use_caches(runs)
    status = 0
    for experiment in known.values() if name == "all" else [known[name]]:
        on = "digits" if scale == "smoke" else dataset or experiment.datasets[0]
        if on not in experiment.datasets and scale != "smoke":
            raise ValueError(f"expected a dataset of {experiment.name} ({', '.join(experiment.datasets)}), got {on!r}")
        try:
            result = reproduction.reproduce(experiment, on, scale, num_seeds=seeds, results=results, runs=runs)
        except reproduction.Interrupted:
            return fail(130, "interrupted, and saved; the same command goes on")
        print(f"{experiment.name}: {experiment.title} ({scale}, {on})")
        if result["status"] == "data absent":
            print(f"  data absent: {result['reason']}")
            status = 1
            continue
        print(markdown(table(result)), end="")
        print(f"  {results / reproduction.stem(experiment.name, scale, on)}.json, .md, .png")
    return status


COMMANDS: dict[str, Callable[..., int]] = {
    f.__name__: f
    for f in (train, show, evaluate, reconstruct, encode, interpolate, sample, superres, inpaint, latents, reproduce)
}


def _load(folder: Path, which: str = "best"):
    from gon_jax.runs.run import load_run

    _use_caches(folder)
    return load_run(folder, which)


def _part(data, split):
    if (part := getattr(data, split)) is None:
        raise ValueError(f"expected a dataset with a {split} split, got {data.name} without; choose --split test")
    return part


def _inputs(loaded, paths, split):
    """Return the images that a command is to work on, in the shape of the run's, and their labels or None."""
    from gon_jax.data import Split, read_images

    return Split(read_images(paths, loaded.model.data_shape)) if paths else _part(loaded.dataset(), split)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"expected {name} of at least 1, got {count}")


def _check_output(path: Path | None, suffixes) -> None:
    """Refuse, before any work, a file that could not be written after it."""
    if path is None:
        return
    if path.suffix not in suffixes:
        raise ValueError(f"expected an output that ends in {' or '.join(suffixes)}, got {path}")
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not place.is_dir() or not os.access(place, os.W_OK):
        raise ValueError(f"expected an output in a folder that can be written to, got {path}; choose another")


def _write(path: Path, write: Callable) -> None:
    """Write a file in one rename, and the folders above it."""
    from gon_jax._files import write_file

    write_file(path, write)


def close(word: str, known) -> str:
    """Return what is wrong with a word that is not among the known ones, and the one that was probably meant."""
    found = difflib.get_close_matches(word, known, 1)
    return f"expected one of {', '.join(known)}; got {word!r}" + (f", did you mean {found[0]!r}?" if found else "")


def fail(status: int, message) -> int:
    """Print a message as one line on standard error; return the exit status."""
    print(f"gon: {' '.join(str(message).split())}", file=sys.stderr)
    return status
