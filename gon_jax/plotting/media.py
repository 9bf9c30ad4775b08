"""Signals that are not images: sound as waveforms and WAV, solids as renderings, films as strips and GIF."""

import io
import math
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gon_jax.plotting.canvas import new_figure, save_figure, write
from gon_jax.plotting.image_grids import image_grid, save_blocks, save_labeled, to_uint8

_EYE, _LIGHT = (np.array(v) / np.linalg.norm(v) for v in ([0.55, 0.7, 0.46], [0.85, 0.15, 0.5]))  # axis 0 is up
_SIDE = 256  # pixels of a rendering; 2x2 of them are averaged
_BLUE = np.array([0.42, 0.68, 0.96])


def _stack(rows, rank, axes):
    """Return rows as floats in [0, 1] `[R, N, *spatial, C]`, or say what is wrong with their shapes."""
    rows = {name: np.asarray(x) for name, x in rows.items()}
    shape = next((x.shape for x in rows.values()), None)
    for name, x in rows.items():
        if x.ndim != rank or x.shape != shape or not x.size:
            raise ValueError(
                f"expected arrays of one shape {axes}, got {x.shape} from {name!r} after {shape}: "
                "probably another selection, or a missing axis of examples or channels"
            )
    if not rows:
        raise ValueError(f"expected at least one array {axes} under a name, got none")
    return np.stack([x / np.float32(255) if x.dtype == np.uint8 else x.astype(np.float32) for x in rows.values()])


def save_waveforms(path: str | Path, sounds: Mapping[str, np.ndarray], sample_rate: int, *, zoom: float = 0.02) -> None:
    """Write sounds, a row a name and a column a sound: above all of it, below a moment enlarged.

    Where one of the names is "original", the moment has it in gray behind the others.

    Args:
        path: ends in `.png`.
        sounds: label to [N, L, channels] in [0, 1], silence at 0.5; channels are averaged. About six sounds fit.
        sample_rate: Hz.
        zoom: length of the moment in seconds; it begins after an eighth of the sound.

    Raises:
        ValueError: the arrays are not of one such shape.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = 0.5 + 0.3 * np.sin(np.arange(800)).reshape(1, 800, 1)
        ...     save_waveforms(f"{folder}/tones.png", {"original": x, "GON": x}, 8000)
    """
    x = 2 * _stack(sounds, 3, "[N, L, channels]").mean(-1) - 1  # [R, N, L]
    num_rows, num, length = x.shape
    time = np.arange(length) / sample_rate * 1000
    moment = slice(length // 8, length // 8 + max(2, round(zoom * sample_rate)))
    names, limit = list(sounds), 1.08 * max(np.nanmax(abs(x)), 1e-3)
    original = x[names.index("original")] if "original" in sounds else None
    figure = new_figure(1.2 + 2 * num, 0.6 + 2.1 * num_rows)
    panels = figure.subplots(2 * num_rows, num, squeeze=False, sharey=True)
    for row, name in enumerate(names):
        for column in range(num):
            whole, part = panels[2 * row : 2 * row + 2, column]
            whole.plot(time, x[row, column], color=f"C{row}", linewidth=0.5)
            whole.axvspan(time[moment][0], time[moment][-1], color="0.85")
            if original is not None and name != "original":
                part.plot(time[moment], original[column, moment], color="0.65", linewidth=2.4)
            part.plot(time[moment], x[row, column, moment], color=f"C{row}", linewidth=1.2)
            for axes in (whole, part):
                axes.set(ylim=(-limit, limit), yticks=[0], yticklabels=[])
                axes.margins(x=0)
                axes.tick_params(labelsize=7, labelbottom=row == num_rows - 1)
        panels[2 * row, 0].set_ylabel(name, fontsize=10)
    figure.supxlabel("milliseconds", fontsize=9)
    save_figure(path, figure)


def write_wav(path: str | Path, sounds: np.ndarray, sample_rate: int, *, pause: float = 0.15) -> None:
    """Write a sound, or one after the other, as WAV of 16 bits.

    Args:
        path: ends in `.wav`.
        sounds: [L], or [N, L, 1 or 2 channels]; uint8, or floats in [0, 1] (clipped), silence at 0.5.
        sample_rate: Hz.
        pause: silence between sounds, in seconds.

    Raises:
        ValueError: the shape is not that of sounds, or the path does not end in `.wav`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_wav(f"{folder}/tone.wav", 0.5 + 0.3 * np.sin(0.3 * np.arange(8000)), 8000)
    """
    sounds = np.asarray(sounds)
    sounds = sounds.reshape(1, -1, 1) if sounds.ndim == 1 else sounds
    if sounds.ndim != 3 or sounds.shape[2] not in (1, 2) or not sounds.size:
        raise ValueError(
            f"expected sounds [L] or [N, L, 1 or 2 channels], got shape {sounds.shape}: probably a missing channel axis"
        )
    x = sounds / np.float32(255) if sounds.dtype == np.uint8 else sounds.astype(np.float32)
    x = np.clip(2 * np.nan_to_num(x, nan=0.5, posinf=1, neginf=0) - 1, -1, 1)
    x = np.pad(x, [(0, 0), (0, round(pause * sample_rate)), (0, 0)])
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(x.shape[2])
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.round(x * 32767).astype("<i2").tobytes())
    write(path, buffer.getvalue(), ".wav")


def save_voxels(
    path: str | Path, solids: Mapping[str, np.ndarray], *, threshold: float = 0.5, num_columns: int = 8
) -> None:
    """Write solids as shaded surfaces seen from above a corner of their box, a row a name, in blocks of columns.

    Args:
        path: ends in `.png`.
        solids: label to [N, D, H, W, 1]: uint8, or floats in [0, 1]. The first axis points up.
        threshold: what is solid.
        num_columns: solids in a block.

    Raises:
        ValueError: the arrays are not of one such shape.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_voxels(f"{folder}/solids.png", {"samples": np.ones((2, 4, 4, 4, 1))})
    """
    x = _stack(solids, 5, "[N, D, H, W, 1]")
    if x.shape[-1] != 1:
        raise ValueError(f"expected solids of one channel [N, D, H, W, 1], got shape {x.shape[1:]}")
    pictures = _render(np.nan_to_num(x.reshape(-1, *x.shape[2:5]), nan=0), threshold)
    save_blocks(path, pictures.reshape(*x.shape[:2], *pictures.shape[1:]), list(solids), num_columns)


def _render(volumes: np.ndarray, threshold: float) -> np.ndarray:
    """Return pictures uint8 `[n, P, P, 3]` of volumes `[n, D, H, W]`, with the three far walls of their box behind.

    The surface is where the trilinear interpolation of the volume passes the threshold, seen along parallel rays, and
    shaded as Lambert's by the slope of the blurred volume.
    """
    from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

    sizes, length = np.array(volumes.shape[1:]), np.linalg.norm(volumes.shape[1:])
    right = np.cross([1, 0, 0], _EYE)
    right = right / np.linalg.norm(right)
    down = np.cross(right, _EYE)
    reach = max(abs(right) @ sizes, abs(down) @ sizes) / 2 * 1.03
    shape = (_SIDE, _SIDE, math.ceil(2 * length))  # of the volume turned towards the eye: rows, columns, depth
    turn = np.stack([2 * reach / _SIDE * down, 2 * reach / _SIDE * right, -length / shape[2] * _EYE], 1)
    center, middle = (sizes - 1) / 2, (np.array(shape) - 1) / 2
    pixels, offset = np.indices(shape[:2]).reshape(2, -1), center - turn @ middle

    rays = center + 0.5 + (pixels - middle[:2, None]).T @ turn[:, :2].T  # [P^2, 3]: points on them, in voxels
    to_wall = rays / _EYE  # where they leave the box by each of its far walls; the nearest counts
    exits = rays - to_wall.min(1, keepdims=True) * _EYE
    inside = ((exits > -1e-6) & (exits <= sizes)).all(1)
    background = np.where(inside, np.array([0.92, 0.97, 0.945])[to_wall.argmin(1)], 1)[:, None]
    pictures = []
    for volume in volumes:
        turned = affine_transform(volume, turn, offset, shape, order=1, mode="grid-constant").reshape(len(rays), -1)
        hit = (turned >= threshold).argmax(1)
        after, before = (np.take_along_axis(turned, at[:, None], 1)[:, 0] for at in (hit, np.maximum(hit - 1, 0)))
        depth = hit - np.clip((after - threshold) / np.maximum(after - before, 1e-9), 0, 1)
        seen = after >= threshold
        points = offset[:, None] + turn @ np.concatenate([pixels, depth[None]])[:, seen]
        slope = np.gradient(gaussian_filter(np.pad(volume, 2), 1))
        normal = -np.stack([map_coordinates(part, points + 2, order=1, mode="nearest") for part in slope], 1)
        light = normal @ _LIGHT / (np.linalg.norm(normal, axis=1) + 1e-9)
        picture = background.repeat(3, 1)
        picture[seen] = (0.25 + 0.75 * np.maximum(light, 0))[:, None] * _BLUE
        pictures.append(picture.reshape(_SIDE, _SIDE, 3))
    pictures = np.stack(pictures).reshape(-1, _SIDE // 2, 2, _SIDE // 2, 2, 3).mean((2, 4))
    return np.rint(pictures * 255).astype(np.uint8)


def save_video(path: str | Path, films: Mapping[str, np.ndarray]) -> None:
    """Write films as strips, a row a name; films stand beside and below each other.

    Args:
        path: ends in `.png`.
        films: label to [N, T, H, W, 1 or 3 channels]: uint8, or floats in [0, 1].

    Raises:
        ValueError: the arrays are not of one such shape.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     x = np.zeros((2, 6, 16, 16, 1))
        ...     save_video(f"{folder}/films.png", {"original": x, "GON": x})
    """
    x = to_uint8(_stack(films, 5, "[N, T, H, W, channels]"))
    strips = [image_grid(film) for film in x.swapaxes(0, 1)]  # each of all names
    abreast = max(1, min(len(strips), 14 // x.shape[2]))
    gap = np.full((len(strips[0]), 24, x.shape[-1]), 255, np.uint8)
    strips += [np.full_like(strips[0], 255)] * (-len(strips) % abreast)
    rows = [
        np.concatenate([part for strip in strips[i : i + abreast] for part in (gap, strip)][1:], 1)
        for i in range(0, len(strips), abreast)
    ]
    save_labeled(path, [(row, list(films)) for row in rows])


def write_gif(path: str | Path, films: np.ndarray, *, fps: float = 6, num_columns: int | None = None) -> None:
    """Write films, which play side by side and over again, as GIF.

    Args:
        path: ends in `.gif`.
        films: [R, C, T, H, W, channels], or [N, T, H, W, channels] in rows of num_columns, as in `image_grid`.
        fps: frames a second.
        num_columns: for N films.

    Raises:
        ValueError: the shape is not that of films, or the path does not end in `.gif`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_gif(f"{folder}/film.gif", np.random.default_rng(0).random((1, 6, 16, 16, 1)))
    """
    from PIL import Image

    films = to_uint8(films)
    if films.ndim not in (5, 6):
        raise ValueError(f"expected films [N, T, H, W, channels] or [R, C, T, H, W, channels], got {films.shape}")
    grids = [image_grid(frame, num_columns) for frame in np.moveaxis(films, -4, 0)]
    frames = [Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid) for grid in grids]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
    write(path, buffer.getvalue(), ".gif")
