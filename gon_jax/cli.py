"""The command `gon`: train a Gradient Origin Network and use it from its folder.

Every subcommand is a function here; its arguments are the options, its docstring the help. A mistake is answered in one
line on standard error: exit status 2 for the command line, 1 for anything else, 130 when interrupted.
"""

import contextlib
import difflib
import functools
import inspect
import io
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import tyro

import gon_jax
from gon_jax.experiments.presets import PRESETS, Config

Split = Literal["train", "validation", "test"]
Prior = Literal["mixture", "gaussian"]
RunFolder = Annotated[Path, tyro.conf.Positional]
PRINTED = (
    ("test.squared_error", "squared error per test image", "{:.3f}"),
    ("pca.squared_error", "the same by PCA, as many components", "{:.3f}"),
    ("test.psnr", "PSNR per test image, dB", "{:.2f}"),
    ("pca.psnr", "the same by PCA", "{:.2f}"),
    ("num_parameters", "parameters", "{:,}"),
    ("latent_size", "latent size", "{}"),
    ("num_steps", "steps", "{:,}"),
    ("seconds_training", "seconds of training", "{:.1f}"),
    ("seconds_compile", "seconds to compile", "{:.1f}"),
    ("device", "device", "{}"),
)


def _use_compilation_cache(folder: Path) -> None:
    """Keep compiled programs between processes, beside the runs, unless the user has a place for them."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(folder.absolute().parent / ".cache" / "jax"))


def _print_summary(folder: Path, summary: dict) -> None:
    ratio = summary["test.squared_error"] / summary["pca.squared_error"]
    print(f"{summary['model']} on {summary['dataset']}: {ratio:.2f} of PCA's error on {summary['num_test']} held-out images")
    width = max(len(words) for _, words, _ in PRINTED)
    for key, words, form in PRINTED:
        print(f"  {words:<{width}}  {form.format(summary[key])}")
    for path in [*sorted(folder.glob("*.png")), folder / "metrics.jsonl", folder / "summary.json", folder / "checkpoints"]:
        print(f"  {path}")


def train(
    config: tyro.conf.OmitArgPrefixes[Config], run: Path | None = None, resume: bool = False, overwrite: bool = False
) -> int:
    """Train a model; leave checkpoints, logs, pictures and a summary in a folder.

    Args:
      config: What to train.
      run: The run's folder; by default runs/<preset>, or runs/<model>-<dataset>.
      resume: Continue the run in the folder from its last checkpoint, as if never interrupted.
      overwrite: Remove the run in the folder first.
    """
    from gon_jax.experiments.run import train as train_run

    folder = run or Path("runs") / f"{config.model}-{Path(config.dataset).stem}"
    _use_compilation_cache(folder)
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
    from gon_jax.experiments.run import read_summary

    summary = read_summary(run)
    if summary is None:
        raise FileNotFoundError(f"expected a finished run in {run}, got no summary.json; train it, or go on with --resume")
    _print_summary(run, summary)
    return 0


def evaluate(
    run: RunFolder,
    split: Split = "test",
    dataset: str | None = None,
    evaluation: Literal["running", "batch"] = "running",
    batch_size: int = 64,
    which: Literal["best", "last"] = "best",
    output: Path | None = None,
) -> int:
    """Print the reconstruction error over every image of a split, beside PCA's with as many components.

    Args:
      run: The run's folder.
      split: Of the dataset.
      dataset: Another dataset than the run's, by name or path.
      evaluation: "running" uses averages from training, "batch" each batch's own statistics (the release's protocol).
      batch_size: Images a batch; matters for "batch" alone.
      which: Which checkpoint.
      output: Also write the figures to this JSON file.
    """
    from gon_jax.experiments.run import load_run, pca_errors
    from gon_jax.metrics import evaluate as evaluate_images

    loaded = load_run(run, which)
    data = loaded.dataset(dataset)
    images = _split_images(data, split)
    result = evaluate_images(
        loaded.model, loaded.variables, images, evaluation=evaluation, batch_size=batch_size, progress="evaluate"
    )
    pca = pca_errors(data._replace(test=data.test._replace(images=images)), _latent_size(loaded))
    result |= {f"pca.{name}": value for name, value in pca.items()}
    result |= {"num_images": len(images), "step": loaded.step, "evaluation": evaluation, "split": split}
    for name, value in result.items():
        print(f"{name:<20} {value:.6g}" if isinstance(value, float) else f"{name:<20} {value}")
    if output is not None:
        _write(output, lambda file: file.write(json.dumps(result, indent=2).encode() + b"\n"), (".json",))
    return 0


def reconstruct(run: RunFolder, output: Path, input: tuple[Path, ...] = (), split: Split = "test", num: int = 20) -> int:
    """Reconstruct images: a picture of them above their reconstructions, or an .npz of both.

    Args:
      run: The run's folder.
      output: Ends in .png or .npz (x, x_hat: float32 N H W C in 0..1; squared_error: N).
      input: Images, folders of images, .npy or .npz files; by default images of the run's dataset.
      split: Of the dataset, without --input.
      num: How many images of the dataset, without --input.
    """
    import numpy as np

    from gon_jax import figures
    from gon_jax.experiments.run import load_run
    from gon_jax.metrics import reconstruct_images

    _check_output(output, (".png", ".npz"))
    loaded = load_run(run)
    images = _inputs(loaded, input, split, num)
    x = images.astype(np.float32) / 255
    x_hat = reconstruct_images(loaded.model, loaded.variables, images, progress="reconstruct")
    errors = np.square(x - x_hat).sum(axis=(1, 2, 3))
    if output.suffix == ".png":
        name = loaded.config.model.upper()
        figures.save_reconstructions(output, images, {name: x_hat}, errors={name: errors})
    else:
        _write(output, lambda file: np.savez_compressed(file, x=x, x_hat=x_hat, squared_error=errors), (".npz",))
    print(f"{output}: {len(images)} images, squared error {errors.mean():.4g} each")
    return 0


def encode(run: RunFolder, output: Path, input: tuple[Path, ...] = (), split: Split = "test") -> int:
    """Write the codes of images to an .npz file (latents: float32 N ...; labels where the dataset has them).

    Args:
      run: The run's folder.
      output: Ends in .npz.
      input: Images, folders of images, .npy or .npz files; by default a whole split of the run's dataset.
      split: Of the dataset, without --input.
    """
    import numpy as np

    from gon_jax.experiments.run import load_run
    from gon_jax.metrics import encode_images

    _check_output(output, (".npz",))
    loaded = load_run(run)
    arrays = {}
    if input:
        images = _inputs(loaded, input, split, None)
    else:
        part = getattr(loaded.dataset(), split)
        images = _split_images(loaded.dataset(), split)
        arrays = {} if part.labels is None else {"labels": part.labels}
    arrays["latents"] = encode_images(loaded.model, loaded.variables, images, progress="encode")
    _write(output, lambda file: np.savez_compressed(file, **arrays), (".npz",))
    print(f"{output}: latents {list(arrays['latents'].shape)}")
    return 0


def interpolate(
    run: RunFolder,
    output: Path | None = None,
    input: tuple[Path, ...] = (),
    num_pairs: int = 8,
    num_points: int = 10,
) -> int:
    """Draw spherical interpolations between the codes of pairs of images.

    Args:
      run: The run's folder.
      output: A .png; by default interpolation.png in the run's folder.
      input: Images, taken in pairs; by default test images with different labels.
      num_pairs: Rows, without --input.
      num_points: Columns, the two ends included.
    """
    from gon_jax import figures
    from gon_jax.experiments.run import interpolate as interpolate_images
    from gon_jax.experiments.run import load_run, pairs_of_labels

    output = output or run / "interpolation.png"
    _check_output(output, (".png",))
    loaded = load_run(run)
    images = _inputs(loaded, input, "test", None) if input else pairs_of_labels(loaded.dataset().test, num_pairs)
    if len(images) < 2 or len(images) % 2:
        raise ValueError(f"expected pairs of images, an even number of them, got {len(images)}")
    figures.save_interpolation(output, interpolate_images(loaded, images, num_points))
    print(output)
    return 0


def sample(run: RunFolder, output: Path | None = None, num: int = 64, prior: Prior = "mixture", seed: int = 0) -> int:
    """Draw new images: a distribution is fitted to the codes of the training images, and sampled.

    Args:
      run: The run's folder.
      output: A .png, or an .npz (x_hat: float32 N H W C in 0..1); by default samples.png in the run's folder.
      num: How many.
      prior: A Gaussian, or a mixture of Gaussians, with full covariances.
      seed: Of the draws.
    """
    import jax
    import numpy as np

    from gon_jax import figures
    from gon_jax.experiments.run import load_run
    from gon_jax.experiments.run import sample as sample_images

    output = output or run / "samples.png"
    _check_output(output, (".png", ".npz"))
    if num < 1:
        raise ValueError(f"expected at least one sample, got num={num}")
    loaded = load_run(run)
    x_hat = sample_images(loaded, loaded.dataset().train.images, num, jax.random.key(seed), prior)
    if output.suffix == ".png":
        figures.save_samples(output, x_hat)
    else:
        _write(output, lambda file: np.savez_compressed(file, x_hat=x_hat), (".npz",))
    print(output)
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    f.__name__: f for f in (train, show, evaluate, reconstruct, encode, interpolate, sample)
}


def _latent_size(loaded) -> int:
    return math.prod(loaded.config.latent_shape)


def _split_images(data, split):
    part = getattr(data, split)
    if part is None:
        raise ValueError(f"expected a dataset with a {split} split, got {data.name} without; choose --split test")
    return part.images


def _inputs(loaded, paths, split, num):
    """Return the images that a command is to work on, in the shape of the run's."""
    from gon_jax.data import read_images
    from gon_jax.experiments.run import spread

    if paths:
        return read_images(paths, loaded.model.data_shape)
    images = _split_images(loaded.dataset(), split)
    return images if num is None else images[spread(len(images), num)]


def _check_output(path: Path, suffixes) -> None:
    if path.suffix not in suffixes:
        raise ValueError(f"expected an output that ends in {' or '.join(suffixes)}, got {path}")


def _write(path: Path, write: Callable, suffixes) -> None:
    """Write a file in one rename."""
    _check_output(path, suffixes)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _overview() -> str:
    lines = ["usage: gon COMMAND ...      (gon COMMAND --help tells more)", ""]
    for name, function in COMMANDS.items():
        lines.append(f"  {name:<12} {function.__doc__.splitlines()[0]}")
    lines += ["", "gon train PRESET [options], or gon train --dataset ... [options]; presets:", ""]
    for name, c in PRESETS.items():
        shape = " ".join(map(str, c.latent_shape))
        lines.append(f"  {name:<16} {c.dataset}, latent {shape}, width {c.base_channels}, {c.num_steps:,} steps")
    return "\n".join(lines)


class UsageError(Exception):
    """A mistake on the command line, in one line."""


def _close(word: str, known) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"expected one of {', '.join(known)}; got {word!r}" + (f", did you mean {close[0]!r}?" if close else "")


def _parse(function: Callable[..., int], prog: str, words: list[str], **defaults) -> Callable[[], int]:
    """Return a call of `function` with the options of a command line, by tyro, whose boxed messages become one line."""

    @functools.wraps(function)
    def later(*args, **kwargs):
        return functools.partial(function, *args, **kwargs)

    signature = inspect.signature(function)
    parameters = [p.replace(default=defaults.get(p.name, p.default)) for p in signature.parameters.values()]
    later.__signature__ = signature.replace(parameters=parameters)
    screen = io.StringIO()
    try:
        with contextlib.redirect_stderr(screen):
            return tyro.cli(later, args=words, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    except SystemExit as status:
        if not status.code:  # --help
            raise
        boxed = screen.getvalue().translate({ord(c): " " for c in "─│╭╮╰╯"})
        lines = [" ".join(line.split()) for line in boxed.splitlines() if line.strip()]
        end = next((i for i, line in enumerate(lines) if line.startswith("For full helptext")), len(lines))
        raise UsageError(f"{' '.join(lines[1:end])} (see {prog} --help)") from None


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"gon_jax {gon_jax.__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise UsageError(f"{_close(name, COMMANDS)} (see gon --help)")
    if name != "train" or not rest or rest[0].startswith("-"):
        return _parse(COMMANDS[name], f"gon {name}", rest)()
    preset, *rest = rest
    if preset not in PRESETS:
        raise UsageError(f"preset: {_close(preset, PRESETS)}")
    return _parse(train, f"gon train {preset}", rest, config=PRESETS[preset], run=Path("runs") / preset)()


def main(words: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    try:
        return _run(sys.argv[1:] if words is None else words)
    except SystemExit as status:
        return int(status.code or 0)
    except UsageError as error:
        print(f"gon: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `gon ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        if os.environ.get("GON_TRACEBACK"):
            raise
        print(f"gon: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gon: interrupted", file=sys.stderr)
        return 130
