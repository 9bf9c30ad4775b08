"""Signals that are not images: notes, solids and films, generated from a fixed seed; how they are drawn; presets.

An example of how gon_jax is extended. `gon --import` runs it, and then knows its datasets, presets and pictures:

    gon --import examples/signals.py train implicit-tones

Whoever trains on sounds, voxels or films of their own imports it for the pictures, WAV and GIF files. A run's signals
are uint8 or floats in [0, 1] (clipped), sound with silence at 0.5.
"""

import math
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gon_jax.data import DATASETS, register, resize
from gon_jax.plotting.canvas import new_figure, save_figure
from gon_jax.plotting.image_grids import image_grid, save_rows, to_pixels
from gon_jax.runs.pictures import SIGNAL_PLOTS
from gon_jax.runs.presets import PRESETS

SAMPLE_RATE = 8000  # Hz, of the tones, and assumed of all sound that is drawn
TIMBRES = ("string", "bar", "reed", "flute")
SOLIDS = ("box", "ellipsoid", "cylinder", "cone", "torus")
_LOWEST, _NUM_PITCHES, _NUM_TRAIN, _NUM_TEST = 130.81, 25, 1000, 200  # C3 in Hz; every semitone of two octaves
_NUM_SAMPLES, _SIDE, _NUM_FRAMES, _FRAME, _DIGIT = 2048, 16, 6, 16, 10


@register("tones", mixed=True)
def tones(*_: Any) -> list:
    """Make notes of a quarter of a second: float32 `[1000 and 200, 2048, 1]` in [0, 1], silence at 0.5.

    A label is one of `TIMBRES`, with all 25 pitches of C3 to C5 equally often. All notes begin in phase; loudness and
    decay are random.

    >>> (train, labels), test = tones()
    >>> train.shape, np.bincount(labels).tolist()
    ((1000, 2048, 1), [250, 250, 250, 250])
    """
    rng = np.random.default_rng(0)
    order = _shuffled(rng)
    timbre, pitch = order % 4, order // 4 % _NUM_PITCHES
    loudness, decay = rng.uniform(0.6, 1, len(order)), rng.uniform(0.7, 1.4, len(order))
    time = np.arange(_NUM_SAMPLES) / SAMPLE_RATE
    sounds, n = np.zeros([len(order), _NUM_SAMPLES]), np.arange(1, 13)
    timbres = [  # multiples of the pitch, their amplitudes and rates of decay in 1/s, attack in s
        (n, 1 / n, 3 + 2 * n, 0.002),  # plucked: overtones die first
        (np.array([1, 3.93, 9.24]), np.array([1, 0.5, 0.25]), np.array([12, 40, 90]), 0.001),  # a struck marimba bar
        (2 * n - 1, 1 / (2 * n - 1), 4 + 0 * n, 0.02),  # a clarinet's odd overtones
        (np.array([1, 2, 3]), np.array([1, 0.15, 0.04]), np.array([3, 3, 3]), 0.05),
    ]
    for label, (multiples, amplitudes, rates, attack) in enumerate(timbres):
        of = timbre == label
        frequency = _LOWEST * 2 ** (pitch[of, None] / 12) * multiples  # [n, partials]
        amplitude = np.where(frequency < 0.45 * SAMPLE_RATE, amplitudes, 0)  # nothing folds back
        for i in range(len(multiples)):
            fade = np.exp(-rates[i] * decay[of, None] * time)
            sounds[of] += amplitude[:, i : i + 1] * fade * np.sin(2 * np.pi * frequency[:, i : i + 1] * time)
        sounds[of] *= np.minimum(time / attack, 1)
    sounds *= np.minimum((time[-1] - time) / 0.02, 1)  # no click at the end
    sounds *= loudness[:, None] / np.abs(sounds).max(1, keepdims=True)
    return _parts((0.5 + 0.45 * sounds).astype(np.float32)[..., None], timbre)


@register("solids", mixed=True)
def solids(*_: Any) -> list:
    """Make solids, turned at random, of random size, proportions and place: uint8 `[1000 and 200, 16, 16, 16, 1]`.

    A voxel is 255 if its center is in the solid, else 0. A label is one of `SOLIDS`.

    >>> (train, labels), test = solids()
    >>> train.shape, np.bincount(labels).tolist()
    ((1000, 16, 16, 16, 1), [200, 200, 200, 200, 200])
    """
    rng = np.random.default_rng(1)
    labels = _shuffled(rng) % len(SOLIDS)
    num = len(labels)
    rotation = np.linalg.qr(rng.normal(size=(num, 3, 3))).Q
    radius = rng.uniform(0.75, 1, num)  # of the sphere about the solid, of half the cube's side
    center = rng.uniform(-1, 1, (num, 3)) * (1 - radius)[:, None]
    centers = (np.arange(_SIDE) + 0.5) * 2 / _SIDE - 1
    points = np.stack(np.meshgrid(centers, centers, centers, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    turn = rotation / radius[:, None, None]
    inner = points @ turn.astype(np.float32) - (center[:, None] @ turn).astype(np.float32)
    x, y, z = np.moveaxis(inner, -1, 0)  # [N, 4096] each: points as a solid within the unit sphere sees them
    a, b, c = rng.uniform(0.45, 0.95, (3, num, 1)).astype(np.float32)
    flat, base, tube = np.hypot(x, y), np.sqrt(1 - a**2), 0.2 + 0.15 * a
    corner, rim = np.sqrt(a**2 + b**2 + c**2), np.hypot(a, b)
    inside = np.select(
        [labels[:, None] == i for i in range(len(SOLIDS))],
        [
            (abs(x) <= a / corner) & (abs(y) <= b / corner) & (abs(z) <= c / corner),
            (x / a) ** 2 + (y / b) ** 2 + z**2 <= 1,
            (flat <= a / rim) & (abs(z) <= b / rim),
            (flat <= a * (1 - z) / (1 + base)) & (z >= -base),
            (flat - 1 + tube) ** 2 + z**2 <= tube**2,
        ],
        False,
    )
    return _parts((inside * np.uint8(255)).reshape(num, _SIDE, _SIDE, _SIDE, 1), labels)


@register("moving_digits", mixed=True)
def moving_digits(*_: Any) -> list:
    """Make films of digits that move straight and bounce: uint8 `[1000 and 200, 6, 16, 16, 1]`, black behind.

    Train and test are made of those of "digits", enlarged to 10x10. A label is the digit.

    >>> (films, labels), test = moving_digits()
    >>> films.shape, test[0].shape
    ((1000, 6, 16, 16, 1), (200, 6, 16, 16, 1))
    """
    train, test = DATASETS["digits"](None, False)
    return _films(*train, _NUM_TRAIN, seed=2), _films(*test, _NUM_TEST, seed=3)


def _films(images, labels, num, seed):
    rng = np.random.default_rng(seed)
    which = np.concatenate([np.flatnonzero(labels == label)[: num // 10] for label in range(10)])[rng.permutation(num)]
    digits = resize(images[which], _DIGIT)[..., 0] / 255.0
    speed, angle, free = rng.uniform(1, 2, num), rng.uniform(0, 2 * np.pi, num), _FRAME - _DIGIT
    velocity = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
    place = rng.uniform(0, free, (num, 1, 2)) + velocity[:, None] * np.arange(_NUM_FRAMES)[:, None]  # [N, T, 2]
    place = free - abs(free - place % (2 * free))  # reflected by the walls
    pixels = np.arange(_FRAME)[:, None] - np.arange(_DIGIT)  # [16, 10]
    weights = np.maximum(0, 1 - abs(pixels - place[..., None, None]))  # bilinear: [N, T, 2, 16, 10]
    films = weights[:, :, 0] @ digits[:, None] @ weights[:, :, 1].swapaxes(-1, -2)
    return np.rint(films * 255).astype(np.uint8)[..., None], labels[which]


def _shuffled(rng):
    """Return a permutation of train's numbers, then of test's, so that each part is balanced in remainders."""
    return np.concatenate([rng.permutation(_NUM_TRAIN), _NUM_TRAIN + rng.permutation(_NUM_TEST)])


def _parts(data, labels):
    return [(data[part], labels[part]) for part in (slice(_NUM_TRAIN), slice(_NUM_TRAIN, None))]


# --- pictures

_EYE, _LIGHT = (np.array(v) / np.linalg.norm(v) for v in ([0.55, 0.7, 0.46], [0.85, 0.15, 0.5]))  # axis 0 is up
_PIXELS = 256  # a side of a rendering; 2x2 of them are averaged
_BLUE = np.array([0.42, 0.68, 0.96])


def _to_unit(x):
    return x / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32)


def _stack(signals, axes):
    """Return signals {name: array of these axes} as floats in [0, 1] [R, N, *spatial, channels]."""
    arrays = {name: np.asarray(x) for name, x in signals.items()}
    first = next(iter(arrays.values()), np.empty(0))
    for name, x in arrays.items():
        if x.ndim != axes.count(",") + 1 or x.shape != first.shape or not x.size:
            got = f"{x.shape} from {name!r} after {first.shape}"
            cause = "probably another selection, or a missing axis of examples or channels"
            raise ValueError(f"expected arrays of one shape {axes}, got {got}: {cause}")
    if not arrays:
        raise ValueError(f"expected at least one array {axes} under a name, got none")
    return np.stack([_to_unit(x) for x in arrays.values()])


def save_waveforms(path: str | Path, sounds: Mapping[str, np.ndarray], sample_rate: int) -> None:
    """Plot sounds, a row for each name and a column for each sound: all of it, 20 ms enlarged, and its spectrogram.

    A sound under the name "original" stands in gray behind the enlarged others. Spectrograms show frequencies from 0 to
    half of the sample rate, one color for each level down to 80 dB below the loudest of all.

    Args:
        sounds: label to [N, L, channels], silence at 0.5; channels are averaged. About six sounds fit.
        sample_rate: Hz.

    >>> x = 0.5 + 0.3 * np.sin(np.arange(800)).reshape(1, 800, 1)
    >>> save_waveforms("tones.png", {"original": x, "GON": x}, 8000)
    """
    x = 2 * _stack(sounds, "[N, L, channels]").mean(-1) - 1  # [R, N, L]
    num_rows, num, length = x.shape
    time = np.arange(length) / sample_rate * 1000
    moment = slice(length // 8, length // 8 + max(2, round(0.02 * sample_rate)))
    names, limit = list(sounds), 1.08 * max(np.nanmax(abs(x)), 1e-3)
    figure = new_figure(1.2 + 2 * num, 0.6 + 3.1 * num_rows)
    panels = figure.subplots(3 * num_rows, num, squeeze=False)
    levels = spectrograms(x)  # dB
    colors = {"vmin": levels.max() - 80, "vmax": levels.max(), "cmap": "magma", "origin": "lower", "aspect": "auto"}
    extent = (0, 1000 * length / sample_rate, 0, sample_rate / 2000)  # milliseconds, kHz
    for row, name in enumerate(names):
        panels[3 * row, 0].set_ylabel(name, fontsize=10)
        panels[3 * row + 2, 0].set_ylabel("kHz", fontsize=8)
        for column in range(num):
            whole, part, spectrum = panels[3 * row : 3 * row + 3, column]
            spectrum.imshow(levels[row, column], extent=extent, **colors)
            spectrum.grid(False)
            spectrum.tick_params(labelsize=7, labelbottom=row == num_rows - 1, labelleft=column == 0)
            whole.plot(time, x[row, column], color=f"C{row}", linewidth=0.5)
            whole.axvspan(time[moment][0], time[moment][-1], color="0.85")
            if "original" in names and name != "original":
                original = x[names.index("original"), column, moment]
                part.plot(time[moment], original, color="0.65", linewidth=2.4)
            part.plot(time[moment], x[row, column, moment], color=f"C{row}", linewidth=1.2)
            for axes in (whole, part):
                axes.set(ylim=(-limit, limit), yticks=[0], yticklabels=[])
                axes.margins(x=0)
                axes.tick_params(labelsize=7, labelbottom=axes is part and row == num_rows - 1)
    figure.supxlabel("milliseconds", fontsize=9)
    save_figure(path, figure)


def spectrograms(x: np.ndarray, window: int = 256) -> np.ndarray:
    """Return the power of sounds [..., L] by frequency and time, [..., window // 2 + 1, T], in dB.

    A window of samples, or all of a shorter sound, is weighted by Hann's window and moved by a quarter of its length.

    Args:
        x: amplitudes, silence at 0; at least one sample. A sine of amplitude 1 has -6 dB.
        window: samples.

    >>> tone = np.sin(2 * np.pi * 0.25 * np.arange(1000))
    >>> spectrograms(tone).shape, spectrograms(tone)[:, 3].argmax() / 256  # cycles per sample
    ((129, 12), np.float64(0.25))
    """
    window = min(window, x.shape[-1])
    parts = np.lib.stride_tricks.sliding_window_view(x, window, axis=-1)[..., :: max(1, window // 4), :]
    weights = np.hanning(window)
    power = abs(np.fft.rfft(np.nan_to_num(parts) * weights)) ** 2 / max(weights.sum(), 1) ** 2
    return 10 * np.log10(np.maximum(np.moveaxis(power, -1, -2), 1e-12))


def write_wav(path: str | Path, sounds: np.ndarray, sample_rate: int, *, pause: float = 0.15) -> None:
    """Write a sound, or several in sequence, as WAV of 16 bits.

    Args:
        sounds: [L], or [N, L, 1 or 2 channels]; silence at 0.5.
        sample_rate: Hz.
        pause: silence after each sound, in seconds.

    >>> write_wav("tone.wav", 0.5 + 0.3 * np.sin(0.3 * np.arange(8000)), 8000)
    """
    sounds = np.asarray(sounds)
    x = _to_unit(sounds.reshape(1, -1, 1) if sounds.ndim == 1 else sounds)
    if x.ndim != 3 or x.shape[2] not in (1, 2) or not x.size:
        cause = "probably a missing channel axis"
        raise ValueError(f"expected sounds [L] or [N, L, 1 or 2 channels], got shape {sounds.shape}: {cause}")
    x = np.clip(2 * np.nan_to_num(x, nan=0.5, posinf=1, neginf=0) - 1, -1, 1)
    x = np.pad(x, [(0, 0), (0, round(pause * sample_rate)), (0, 0)])

    with wave.open(str(path), "wb") as sound:
        sound.setparams((x.shape[2], 2, sample_rate, 0, "NONE", None))
        sound.writeframes(np.round(x * 32767).astype("<i2").tobytes())


def save_voxels(path: str | Path, solids: Mapping[str, np.ndarray], *, num_columns: int = 8) -> None:
    """Write solids as shaded surfaces seen from above a corner of their box, a row for each name.

    Args:
        solids: label to [N, D, H, W, 1], solid from 0.5; the first axis points up.
        num_columns: solids in a row of a block.

    >>> save_voxels("solids.png", {"samples": np.ones((2, 4, 4, 4, 1))})
    """
    x = _stack(solids, "[N, D, H, W, 1]")
    if x.shape[-1] != 1:
        raise ValueError(f"expected solids of one channel [N, D, H, W, 1], got shape {x.shape[1:]}")
    pictures = [_render(volumes) for volumes in np.nan_to_num(x[..., 0], nan=0)]
    save_rows(path, dict(zip(solids, pictures, strict=True)), num_columns)


def _render(volumes):
    """Return pictures uint8 [n, P, P, 3] of volumes [n, D, H, W], with the three far walls of their box behind.

    The surface is where the trilinear interpolation of the volume passes 1/2, seen along parallel rays. Its shading is
    Lambert's, by the slope of the blurred volume.
    """
    from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

    sizes, length = np.array(volumes.shape[1:]), np.linalg.norm(volumes.shape[1:])
    right = np.cross([1, 0, 0], _EYE)
    right = right / np.linalg.norm(right)
    down = np.cross(right, _EYE)
    reach = max(abs(right) @ sizes, abs(down) @ sizes) / 2 * 1.03
    shape = (_PIXELS, _PIXELS, math.ceil(2 * length))  # of the volume turned towards the eye: rows, columns, depth
    turn = np.stack([2 * reach / _PIXELS * down, 2 * reach / _PIXELS * right, -length / shape[2] * _EYE], 1)
    pixels, offset = np.indices(shape[:2]).reshape(2, -1), (sizes - 1) / 2 - turn @ (np.array(shape) - 1) / 2

    rays = turn[:, :2] @ pixels + (offset + turn[:, 2] * (shape[2] - 1) / 2 + 0.5)[:, None]  # [3, P^2], in voxels
    to_wall = rays / _EYE[:, None]  # where they leave the box by each of its far walls; the nearest counts
    exits = rays - to_wall.min(0) * _EYE[:, None]
    inside = ((exits > -1e-6) & (exits <= sizes[:, None])).all(0)
    background = np.where(inside, np.array([0.92, 0.97, 0.945])[to_wall.argmin(0)], 1)[:, None]
    pictures = []
    for volume in volumes:
        turned = affine_transform(volume, turn, offset, shape, order=1, mode="grid-constant")
        solid = turned.reshape(len(background), -1) >= 0.5
        seen, depth = solid.any(1), solid.argmax(1) - 0.5  # between the last point outside and the first inside
        points = offset[:, None] + turn @ np.stack([*pixels, depth])[:, seen]
        slope = np.gradient(gaussian_filter(np.pad(volume, 2), 1))
        normal = -np.stack([map_coordinates(part, points + 2, order=1, mode="nearest") for part in slope], 1)
        light = normal @ _LIGHT / (np.linalg.norm(normal, axis=1) + 1e-9)
        picture = background.repeat(3, 1)
        picture[seen] = (0.25 + 0.75 * np.maximum(light, 0))[:, None] * _BLUE
        pictures.append(picture.reshape(_PIXELS, _PIXELS, 3))
    pictures = np.stack(pictures).reshape(-1, _PIXELS // 2, 2, _PIXELS // 2, 2, 3).mean((2, 4))
    return np.rint(pictures * 255).astype(np.uint8)


def save_video(path: str | Path, films: Mapping[str, np.ndarray]) -> None:
    """Write films [N, T, H, W, channels] by label as strips, a row for each label; films stand side by side and below.

    >>> x = np.zeros((2, 6, 16, 16, 1))
    >>> save_video("films.png", {"original": x, "GON": x})
    """
    x = to_pixels(_stack(films, "[N, T, H, W, channels]"))  # [R, N, T, H, W, channels]
    gap = [(0, 0), (0, 22), (0, 0)]
    strips = [[np.pad(image_grid(film[None]), gap, constant_values=255) for film in named] for named in x]
    save_rows(path, {name: np.stack(row) for name, row in zip(films, strips, strict=True)}, max(1, 14 // x.shape[2]))


def write_gif(path: str | Path, films: np.ndarray, *, fps: float = 6, num_columns: int | None = None) -> None:
    """Write films, which play side by side and over again, as GIF.

    Args:
        films: [R, C, T, H, W, channels], or [N, T, H, W, channels] in rows of num_columns, as in `image_grid`.
        fps: frames per second.
        num_columns: for N films.

    >>> write_gif("film.gif", np.random.default_rng(0).random((1, 6, 16, 16, 1)))
    """
    films = to_pixels(films)
    if films.ndim not in (5, 6):
        raise ValueError(f"expected films [N, T, H, W, channels] or [R, C, T, H, W, channels], got {films.shape}")
    frames = [image_grid(frame, num_columns) for frame in np.moveaxis(films, -4, 0)]
    first, *others = [Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame) for frame in frames]
    first.save(path, "GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


# --- what the command then knows


def draw_audio(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Draw sounds `[N, L, C]` by name, and write them as WAV: an original right before its reconstruction."""
    save_waveforms(path, rows, SAMPLE_RATE)
    turns = np.stack([_to_unit(row) for row in rows.values()], axis=1)
    write_wav(path.with_suffix(".wav"), turns.reshape(-1, *turns.shape[2:]), SAMPLE_RATE)


def draw_video(path: Path, rows: Mapping[str, np.ndarray]) -> None:
    """Draw films `[N, T, H, W, C]` by name as strips, and write them as GIF."""
    save_video(path, rows)
    write_gif(path.with_suffix(".gif"), np.stack([_to_unit(row) for row in rows.values()]))  # bytes beside floats


SIGNAL_PLOTS.update(audio=draw_audio, voxels=save_voxels, video=draw_video)
_SMALL = PRESETS["implicit-digits"].replace(omega_0=10.0, step_size=None)
PRESETS.update(
    {
        # Two octaves are frequencies up to 400 radians from -1 to 1, with overtones more.
        "implicit-tones": _SMALL.replace(
            model="least_squares",
            dataset="tones",
            first_omega_0=600.0,
            hidden_dim=128,
            num_layers=3,
            batch_size=16,
            learning_rate=2e-3,
            num_steps=600,
        ),
        "implicit-solids": _SMALL.replace(
            dataset="solids", likelihood="bernoulli", step_size=1 / 128, num_points=512, num_steps=1000
        ),
        "implicit-video": _SMALL.replace(dataset="moving_digits", step_size=1 / 64, num_points=384, num_steps=1500),
    }
)
