"""Signals that are not images, made in a second from a fixed seed: notes, solids, and digits that move.

Each loader returns train and test as pairs of data and labels `[N]`, balanced over the labels and shuffled in each.
"""

from typing import Any

import numpy as np

from gon_jax.data.arrays import resize
from gon_jax.data.datasets import DATASETS, SAMPLE_RATE, Parts, register

__all__ = ["SOLIDS", "TIMBRES", "moving_digits", "solids", "tones"]

TIMBRES = ("string", "bar", "reed", "flute")
SOLIDS = ("box", "ellipsoid", "cylinder", "cone", "torus")
_LOWEST, _NUM_PITCHES, _NUM_TRAIN, _NUM_TEST = 130.81, 25, 1000, 200  # C3 in Hz; every semitone of two octaves
_NUM_SAMPLES, _SIDE, _NUM_FRAMES, _FRAME, _DIGIT = 2048, 16, 6, 16, 10


@register("tones")
def tones(*_: Any) -> Parts:
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


@register("solids")
def solids(*_: Any) -> Parts:
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


@register("moving_digits")
def moving_digits(*_: Any) -> Parts:
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
