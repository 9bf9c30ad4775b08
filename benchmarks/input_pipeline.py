"""How fast data that are not in memory are read, how long training waits for them, and how much memory it takes.

    python -m benchmarks.input_pipeline --torch-python PYTHON

- Images per second of reading JPEGs, made for this, in two epochs of a random order: by `fit`'s own threads, from files
  and from the cache of `gon_jax.data.picture_sources.cached` (its first epoch writes it); by Pillow in plain threads;
  and by PyTorch's DataLoader, in an environment that has PyTorch. The files are in the system's cache: what is measured
  is decoding.
- The share of the steps' time in which the convolutional model waited for these data.
- Peak memory and steps per second on a sparse array of many gigabytes, beside a small one.
"""

import argparse
import importlib.metadata
import io
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from PIL import Image

from benchmarks import report
from benchmarks.workers import timed
from gon_jax.data.picture_sources import FileSource, cached
from gon_jax.decoders import conv_decoder
from gon_jax.models import gon
from gon_jax.training import fit
from gon_jax.training.streaming import read_batches

SHAPE, BATCH_SIZE = (64, 64, 3), 64
TORCH = pathlib.Path(__file__).with_name("input_pipeline_torch.py")


def make_pictures(folder: pathlib.Path, num: int, size: int = 96) -> list[pathlib.Path]:
    """Write JPEGs of smooth random colors with a little noise, of about the bytes of photographs this small."""
    rng, paths = np.random.default_rng(0), []
    for i in range(num):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
        pixels = (pixels + rng.integers(-8, 9, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file := io.BytesIO(), "jpeg", quality=90)
        paths.append(folder / f"{i:06}.jpg")
        paths[-1].write_bytes(file.getvalue())
    return paths


def read_ours(source, num_workers: int, epoch: int) -> int:
    """Read the batches of an epoch as `fit` does; return the number of images."""
    num_steps = len(source) // BATCH_SIZE
    first = epoch * num_steps
    cut = {"first_step": first, "num_steps": first + num_steps, "num_threads": num_workers}
    return sum(len(batch["x"]) for batch in read_batches({"x": source}, jax.random.key(0), BATCH_SIZE, **cut))


def read_pillow(paths: list[pathlib.Path], num_workers: int, epoch: int) -> int:
    """Read the same number of images by Pillow in threads, one task for an image."""

    def read(path):
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB").resize(SHAPE[:2], Image.Resampling.BILINEAR))

    order = np.random.default_rng(epoch).permutation(len(paths))[: len(paths) // BATCH_SIZE * BATCH_SIZE]
    with ThreadPoolExecutor(num_workers) as threads:
        for start in range(0, len(order), BATCH_SIZE):
            np.stack(list(threads.map(read, [paths[i] for i in order[start : start + BATCH_SIZE]])))
    return len(order)


def read_torch(python: str, folder: pathlib.Path, num_workers: int) -> dict:
    """Return images per second of two epochs of PyTorch's DataLoader, and its version."""
    arguments = map(str, (folder, SHAPE[0], BATCH_SIZE, num_workers, 2))
    run = subprocess.run([python, TORCH, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(run.stdout)


def measure_reading(paths, num_workers: int, torch_python: str | None) -> dict[str, list[dict]]:
    """Return images per second of two epochs of each side, and how many cores other processes kept busy."""
    source, results = FileSource(paths, SHAPE), {}
    with tempfile.TemporaryDirectory() as folder:
        cache = pathlib.Path(folder) / "cache.npy"
        sides = {
            "ours, files": lambda epoch: read_ours(source, num_workers, epoch),
            "ours, cached": lambda epoch: read_ours(cached(source, cache), num_workers, epoch),
            "Pillow, threads": lambda epoch: read_pillow(paths, num_workers, epoch),
        }
        for side, read in sides.items():
            results[side] = []
            for epoch in range(2):
                nums: list[int] = []
                seconds, others = timed(lambda: nums.append(read(epoch)))  # noqa: B023
                results[side].append({"images_per_second": nums[0] / seconds, "other_cores": others})
    if torch_python is not None:
        rates = read_torch(torch_python, paths[0].parent, num_workers)["images_per_second"]
        results["PyTorch, DataLoader"] = [{"images_per_second": rate} for rate in rates]
    return results


def measure_waiting(paths, num_steps: int, base_channels: int, num_workers: int) -> dict[str, dict]:
    """Return ms per step and the share of it spent waiting, for pictures in files, cached, and in memory."""
    model, source = gon(conv_decoder(SHAPE, (64,), base_channels=base_channels)), FileSource(paths, SHAPE)
    with tempfile.TemporaryDirectory() as folder:
        cache = cached(source, pathlib.Path(folder) / "cache.npy")
        cases = {"files": (source, None), "cached": (cache, 0), "in memory": (np.array(cache), None)}
        results = {}
        for name, (data, limit) in cases.items():
            options = {"batch_size": BATCH_SIZE, "memory_limit": limit, "num_threads": num_workers, "progress": False}
            result = fit(model, data, num_steps, jax.random.key(0), **options)
            results[name] = {
                "ms_per_step": 1000 * result.seconds_training / num_steps,
                "share_waiting": result.seconds_waiting / result.seconds_training,
            }
    return results


def train_in_bounds(num_bytes: int, num_steps: int, base_channels: int) -> dict[str, float]:
    """Return steps per second on a sparse memory map of so many bytes, and the peak memory of this process."""
    with tempfile.TemporaryDirectory() as folder:
        path, shape = pathlib.Path(folder) / "sparse.npy", (num_bytes // int(np.prod(SHAPE)), *SHAPE)
        np.lib.format.open_memmap(path, "w+", np.uint8, shape)[0] = 255
        model = gon(conv_decoder(SHAPE, (64,), base_channels=base_channels))
        options = {"batch_size": BATCH_SIZE, "memory_limit": 0, "progress": False}
        result = fit(model, np.load(path, mmap_mode="r"), num_steps, jax.random.key(0), **options)
    return {
        "bytes": num_bytes,
        "steps_per_second": num_steps / result.seconds_training,
        "share_waiting": result.seconds_waiting / result.seconds_training,
        "peak_bytes": _peak_bytes(),
    }


def measure_memory(sizes: list[int], num_steps: int, base_channels: int) -> list[dict]:
    """Return `train_in_bounds` of each size, each in a process of its own."""
    results = []
    for size in sizes:
        command = [
            sys.executable,
            "-m",
            "benchmarks.input_pipeline",
            "--process",
            *map(str, (size, num_steps, base_channels)),
        ]
        run = subprocess.run(command, cwd=TORCH.parents[1], stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(run.stdout))
    return results


def table(reading: list[dict]) -> str:
    """Return the median images per second of the rounds, lowest and highest in brackets, in Markdown."""
    lines = ["| side | workers | first epoch | second epoch |", "|---|---|---|---|"]
    for num_workers in sorted({row["num_workers"] for row in reading}):
        rounds = [row["sides"] for row in reading if row["num_workers"] == num_workers]
        for side in rounds[0]:
            rates = [[seen[side][epoch]["images_per_second"] for seen in rounds] for epoch in range(2)]
            cells = [f"{statistics.median(r):,.0f} ({min(r):,.0f} to {max(r):,.0f})" for r in rates]
            lines.append(f"| {side} | {num_workers} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def _peak_bytes():
    """Return the peak memory of this process; `ru_maxrss` is that of the one which started it, where that is larger."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-pictures", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--num-steps", type=int, default=200)
    parser.add_argument("--base-channels", type=int, default=32)
    parser.add_argument("--sizes", type=int, nargs="+", default=[200_000_000, 8_000_000_000], help="bytes of arrays")
    parser.add_argument("--torch-python", help="a Python that has torch, numpy and pillow; without it, no PyTorch")
    parser.add_argument("--smoke", action="store_true", help="all of it small, in seconds")
    parser.add_argument("--results", type=pathlib.Path, help="folder of the JSON (the project's)")
    parser.add_argument("--process", type=int, nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.process:
        print(json.dumps(train_in_bounds(*args.process)))
        return
    if args.smoke:
        args.num_pictures, args.workers, args.rounds, args.num_steps = 256, [1], 1, 4
        args.base_channels, args.sizes = 2, [2_000_000, 20_000_000]
    made_by, rows = report.provenance(), []
    made_by["versions"]["grain"] = importlib.metadata.version("grain")
    with tempfile.TemporaryDirectory() as folder:
        paths = make_pictures(pathlib.Path(folder), args.num_pictures)
        num_bytes = sum(path.stat().st_size for path in paths) / len(paths)
        if args.torch_python:
            made_by["versions"]["torch"] = read_torch(args.torch_python, pathlib.Path(folder), 1)["torch"]
        for number in range(args.rounds):
            for num_workers in args.workers:
                sides = measure_reading(paths, num_workers, args.torch_python)
                rows.append({"round": number, "num_workers": num_workers, "sides": sides})
        waiting = measure_waiting(paths, args.num_steps, args.base_channels, max(args.workers))
    result = {
        "num_pictures": args.num_pictures,
        "bytes_per_picture": num_bytes,
        "reading": rows,
        "num_steps": args.num_steps,
        "base_channels": args.base_channels,
        "waiting": waiting,
        "memory": measure_memory(args.sizes, args.num_steps, args.base_channels),
    }
    print(table(rows))
    print(json.dumps({"waiting": waiting, "memory": result["memory"]}, indent=1))
    name = "input_pipeline_smoke" if args.smoke else f"input_pipeline_{jax.default_backend()}"
    print(report.write(name, result, made_by, args.results))


if __name__ == "__main__":
    main()
