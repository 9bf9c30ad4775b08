"""Sound, solids and films: what generated data must be, and a user's own arrays of them."""

import re

import numpy as np
import pytest

from examples import signals
from gon_jax import data
from gon_jax.data.splits import draw_held_out

SHAPES = {"tones": (2048, 1), "solids": (16, 16, 16, 1), "moving_digits": (6, 16, 16, 1)}
KINDS = {"tones": "audio", "solids": "voxels", "moving_digits": "video"}
STANDARD_DEVIATIONS = {"tones": 0.15006, "solids": 85.92, "moving_digits": 59.85}


def refuses(*words, error=ValueError):
    """Expect one line that holds the words in this order."""
    return pytest.raises(error, match=r"(?s)\A(?!.*\n).*" + ".*".join(re.escape(word) for word in words))


@pytest.fixture(scope="module")
def datasets():
    return {name: data.load(name) for name in SHAPES}


@pytest.mark.parametrize("name", SHAPES)
def test_generated_data_have_their_shape_and_balanced_labels_and_never_change(datasets, name):
    dataset, again = datasets[name], data.load(name, num_validation=None)
    assert dataset.name == name and dataset.kind == KINDS[name] and dataset.validation is None
    for split, num in ((dataset.train, 1000), (dataset.test, 200)):
        assert split.images.shape == (num, *SHAPES[name]) and split.labels.dtype == np.int32
        assert split.images.dtype == (np.float32 if name == "tones" else np.uint8)
        assert len(set(np.bincount(split.labels))) == 1 and (np.diff(split.labels) < 0).sum() > num / 3  # shuffled
        assert data.check_data(split.images, SHAPES[name]) is split.images
    both = np.concatenate([dataset.train.images, dataset.test.images])
    assert len({x.tobytes() for x in both}) == 1200
    assert both.std() == pytest.approx(STANDARD_DEVIATIONS[name], rel=1e-3)
    np.testing.assert_array_equal(np.concatenate([again.train.images, again.validation.images]), dataset.train.images)
    np.testing.assert_array_equal(again.test.images, dataset.test.images)


def test_tones_are_in_tune_every_pitch_of_every_timbre_equally_often(datasets):
    for split, num in ((datasets["tones"].train, 10), (datasets["tones"].test, 2)):
        x = split.images[..., 0] - np.float32(0.5)
        assert abs(x).max() < 0.46 and abs(x).max(1).min() > 0.2
        assert abs(x[:, 0]).max() < 1e-6 and abs(x[:, -1]).max() < 1e-6  # no clicks
        spectrum = abs(np.fft.rfft(x * np.hanning(2048), 2**15))
        semitones = 12 * np.log2(spectrum.argmax(1) * 8000 / 2**15 / 130.81)
        assert abs(semitones - semitones.round()).max() < 0.25
        counts = np.zeros([4, 25], int)
        np.add.at(counts, (split.labels, semitones.round().astype(int)), 1)
        assert (counts == num).all()


def test_solids_are_of_the_shape_that_their_label_says(datasets):
    x, labels = datasets["solids"].train.images[..., 0] == 255, datasets["solids"].train.labels
    assert set(np.unique(datasets["solids"].train.images)) == {0, 255}

    def euler_characteristic(x):
        x, total = np.pad(x, [(0, 0), (1, 1), (1, 1), (1, 1)]), 0
        for cell in np.ndindex(2, 2, 2):  # along an axis: 1 the voxels, 0 the planes between them
            part = x
            for axis, along in enumerate(cell, 1):
                lower, upper = (np.take(part, range(i, part.shape[axis] - 1 + i), axis) for i in (0, 1))
                part = part if along else lower | upper
            total = total + (-1) ** sum(cell) * part.sum((1, 2, 3), dtype=int)
        return total

    characteristic = euler_characteristic(x)
    assert (characteristic == np.where(labels == 4, 0, 1)).mean() > 0.995  # a torus has a hole, and nothing else has

    # The volume over the root of the determinant of the covariance: the same for all solids of a kind, at any angle.
    closed_forms = [8 * 3**1.5, 4 / 3 * np.pi * 5**1.5, 8 * np.pi * 3**0.5, np.pi / 3 / (0.15 * (3 / 80) ** 0.5)]
    points = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij"), -1)
    ratios = np.array([solid.sum() / np.linalg.det(np.cov(points[solid].T)) ** 0.5 for solid in x])
    for label, expected in enumerate(closed_forms):
        assert ratios[labels == label].mean() == pytest.approx(expected, rel=0.015), signals.SOLIDS[label]
    assert x.sum((1, 2, 3)).max() > 5 * x.sum((1, 2, 3)).min()


def test_digits_move_straight_and_bounce(datasets):
    from sklearn.datasets import load_digits
    from sklearn.neighbors import KNeighborsClassifier

    films = datasets["moving_digits"].train.images[..., 0].astype(float)  # [N, T, H, W]
    mass = films.sum((2, 3))
    assert abs(mass / mass[:, :1] - 1).max() < 0.01  # never cut off
    place = np.stack([(films.sum(axis) @ np.arange(16)) / mass for axis in (3, 2)], -1)  # [N, T, 2]
    steps = abs(np.diff(place, axis=1))
    speed = steps.max(1)
    assert (steps <= speed[:, None] + 0.1).all() and (abs(steps - speed[:, None]) < 0.1).mean() > 0.7
    assert 0.95 < np.hypot(*speed.T).min() and np.hypot(*speed.T).max() < 2.05
    assert 0.02 < (np.diff(np.sign(np.diff(place, axis=1)), axis=1) != 0).mean() < 0.4  # bounces
    # The nearest of the digits themselves, both moved to the middle, has the label.
    source = load_digits()
    digits = data.resize(np.rint(source.images * 255 / 16).astype(np.uint8)[..., None], 10)[..., 0].astype(float)
    digits = np.pad(digits, [(0, 0), (0, 6), (0, 6)])

    def middle(x):
        rows, columns = (np.rint(8 - x.sum(axis) @ np.arange(16) / x.sum((1, 2))).astype(int) for axis in (2, 1))
        return np.stack(
            [np.roll(*each, (0, 1)).ravel() for each in zip(x, zip(rows, columns, strict=True), strict=True)]
        )

    nearest = KNeighborsClassifier(1).fit(middle(digits), source.target)
    assert nearest.score(middle(films[:, 2]), datasets["moving_digits"].train.labels) > 0.95


# --- arrays of a user


@pytest.mark.parametrize(
    "shape, kind",
    [
        ((20, 30, 1), "audio"),
        ((20, 30, 2), "audio"),
        ((20, 6, 5), "images"),
        ((20, 6, 6, 1), "images"),
        ((20, 4, 4, 4, 1), "voxels"),
        ((20, 4, 4, 4, 3), "video"),
        ((20, 3, 4, 5, 1), "video"),
    ],
)
def test_the_rank_of_a_file_says_what_it_holds(tmp_path, shape, kind):
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(tmp_path / "a.npz", x=array / 255, y=np.arange(20))
    dataset = data.load(tmp_path / "a.npz")
    assert dataset.kind == kind
    held_out = draw_held_out(20, 2, np.arange(20))
    np.testing.assert_array_equal(dataset.test.labels, np.flatnonzero(held_out))
    if kind == "audio":
        assert dataset.test.images.dtype == np.float32
        np.testing.assert_array_equal(dataset.test.images, (array / 255).astype(np.float32)[held_out])
    else:
        np.testing.assert_array_equal(dataset.test.images.reshape(2, *shape[1:]), array[held_out])
    if kind != "images":
        with refuses("expected image_size=None", f"a.npz is {kind}", "only images"):
            data.load(tmp_path / "a.npz", image_size=8)


def test_signals_that_are_refused(tmp_path):
    for name, kind in KINDS.items():
        with refuses("expected image_size=None", f"{name} is {kind}"):
            data.load(name, image_size=16)
    for array, words in [
        (np.full([20, 9, 1], np.nan), ["expected finite values", "180 NaN", "in 20 of 20"]),
        (np.full([20, 9, 1], -1.0), ["floats in [0, 1]", "from -1 to -1", "(x + 1) / 2"]),
        (np.full([20, 9, 1], -3000), ["expected integers in 0..255", "-3000"]),
        (np.ones([20, 4, 4, 4, 1], np.uint8), ["only 0 and 1", "booleans"]),
        (np.ones([20, 4, 4, 4, 4, 1], np.uint8), ["expected images [N, H, W, C]", "[20, 4, 4, 4, 4, 1]"]),
        (np.zeros([20, 0, 1], np.uint8), ["at least one example", "[20, 0, 1]", "empty"]),
    ]:
        np.save(tmp_path / "a.npy", array)
        with refuses(*words):
            data.load(tmp_path / "a.npy")


def test_check_data_knows_the_shape_of_a_model_of_signals():
    sounds, films = np.full([3, 8, 1], 0.5), np.zeros([3, 2, 4, 4, 1], np.uint8)
    assert data.check_data(sounds) is sounds and data.check_data(films, (2, 4, 4, 1)) is films
    with refuses("expected data [N, 9, 1], got [3, 8, 1]", "other data"):
        data.check_data(sounds, (9, 1))
    with refuses("expected data [N, 8, 1], got [3, 8]", "x[..., None]"):
        data.check_data(sounds[..., 0], (8, 1))
    with refuses("expected images [N, 8, 8, 1], got [3, 8, 1]"):
        data.check_data(sounds, (8, 8, 1))
    with refuses("expected data [N, 8, 1], got [3, 2, 4, 4, 1]"):
        data.check_data(films, (8, 1))
    with refuses("expected finite values, got 2 NaN", "1 of 3 examples, first in number 1"):
        data.check_data(np.where(np.arange(24).reshape(3, 8, 1) // 2 == 5, np.nan, sounds), (8, 1))
    with refuses("expected uint8 images [N, H, W, C], got float64 [3, 8, 1]"):
        data.resize(sounds, 4)


def test_read_images_gives_signals_to_a_model_of_them(tmp_path):
    films = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 4, 1), np.uint8)
    np.save(tmp_path / "a.npy", films)
    read = data.read_images([tmp_path / "a.npy", tmp_path / "a.npy"], data_shape=(2, 4, 4, 1))
    np.testing.assert_array_equal(read, np.concatenate([films, films]))
    with refuses("expected data [N, 8, 1], got [3, 2, 4, 4, 1]"):
        data.read_images(tmp_path / "a.npy", data_shape=(8, 1))
    with refuses("got [3, 2, 4, 4, 1]", "not gray or RGB"):
        data.read_images(tmp_path / "a.npy")
