"""Signals that are not images: sounds as waveforms and WAV, solids as renderings, films as strips and GIF.

Signals are uint8 or floats in [0, 1] (clipped); a path ends in `.png`, or `.wav` or `.gif` where that is written. Every
function raises ValueError for arrays of other shapes.
"""

import math
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gon_jax.plotting.canvas import _write, new_figure, save_figure
from gon_jax.plotting.image_grids import _pillow, _save_rows, image_grid, to_pixels

__all__ = ["save_video", "save_voxels", "save_waveforms", "write_gif", "write_wav"]

_EYE, _LIGHT = (np.array(v) / np.linalg.norm(v) for v in ([0.55, 0.7, 0.46], [0.85, 0.15, 0.5]))  # axis 0 is up
_SIDE = 256  # pixels of a rendering; 2x2 of them are averaged
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
    """Plot sounds, a row for each name and a column for each sound: above all of it, below 20 ms of it enlarged.

    There a sound under the name "original" stands in gray behind the others.

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
    figure = new_figure(1.2 + 2 * num, 0.6 + 2.1 * num_rows)
    panels = figure.subplots(2 * num_rows, num, squeeze=False, sharey=True)
    for row, name in enumerate(names):
        panels[2 * row, 0].set_ylabel(name, fontsize=10)
        for column in range(num):
            whole, part = panels[2 * row : 2 * row + 2, column]
            whole.plot(time, x[row, column], color=f"C{row}", linewidth=0.5)
            whole.axvspan(time[moment][0], time[moment][-1], color="0.85")
            if "original" in names and name != "original":
                original = x[names.index("original"), column, moment]
                part.plot(time[moment], original, color="0.65", linewidth=2.4)
            part.plot(time[moment], x[row, column, moment], color=f"C{row}", linewidth=1.2)
            for axes in (whole, part):
                axes.set(ylim=(-limit, limit), yticks=[0], yticklabels=[])
                axes.margins(x=0)
                axes.tick_params(labelsize=7, labelbottom=row == num_rows - 1)
    figure.supxlabel("milliseconds", fontsize=9)
    save_figure(path, figure)


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

    def write_fn(file):
        with wave.open(file, "wb") as sound:
            sound.setparams((x.shape[2], 2, sample_rate, 0, "NONE", None))
            sound.writeframes(np.round(x * 32767).astype("<i2").tobytes())

    _write(path, ".wav", write_fn)


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
    _save_rows(path, dict(zip(solids, pictures, strict=True)), num_columns)


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
    shape = (_SIDE, _SIDE, math.ceil(2 * length))  # of the volume turned towards the eye: rows, columns, depth
    turn = np.stack([2 * reach / _SIDE * down, 2 * reach / _SIDE * right, -length / shape[2] * _EYE], 1)
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
        pictures.append(picture.reshape(_SIDE, _SIDE, 3))
    pictures = np.stack(pictures).reshape(-1, _SIDE // 2, 2, _SIDE // 2, 2, 3).mean((2, 4))
    return np.rint(pictures * 255).astype(np.uint8)


def save_video(path: str | Path, films: Mapping[str, np.ndarray]) -> None:
    """Write films [N, T, H, W, channels] by label as strips, a row for each label; films stand side by side and below.

    >>> x = np.zeros((2, 6, 16, 16, 1))
    >>> save_video("films.png", {"original": x, "GON": x})
    """
    x = to_pixels(_stack(films, "[N, T, H, W, channels]"))  # [R, N, T, H, W, channels]
    gap = [(0, 0), (0, 22), (0, 0)]
    strips = [[np.pad(image_grid(film[None]), gap, constant_values=255) for film in named] for named in x]
    _save_rows(path, {name: np.stack(row) for name, row in zip(films, strips, strict=True)}, max(1, 14 // x.shape[2]))


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
    first, *others = [_pillow(image_grid(frame, num_columns)) for frame in np.moveaxis(films, -4, 0)]
    options = {"save_all": True, "append_images": others, "duration": round(1000 / fps), "loop": 0}
    _write(path, ".gif", lambda file: first.save(file, "GIF", **options))
