"""Data: every way in, every refusal, and the order of an epoch. Synthetic files, and the digits of scikit-learn."""

import gzip
import hashlib
import http.server
import io
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from gon_jax import data
from gon_jax.data import catalog, splits


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def refuses(*words, error=ValueError):
    """Expect one line that holds the words in this order."""
    return pytest.raises(error, match=r"(?s)\A(?!.*\n).*" + ".*".join(re.escape(word) for word in words))


@pytest.fixture(autouse=True)
def empty_search_path(monkeypatch, tmp_path):
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "gon"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


# --- on the device


def test_to_unit_divides_uint8_by_255_and_leaves_floats():
    images = np.arange(256, dtype=np.uint8)
    for to_unit in (data.to_unit, jax.jit(data.to_unit)):
        unit = to_unit(images)
        assert unit.dtype == np.float32 and unit[0] == 0 and unit[255] == 1
        np.testing.assert_allclose(unit, images / 255, rtol=2**-23)  # XLA multiplies by 1/255: off by one ulp
    assert data.to_unit(np.full([2], 0.25, np.float16)).dtype == np.float16
    with refuses("expected uint8 or floating-point data, got int32"):
        data.to_unit(np.arange(3, dtype=np.int32))


def test_epoch_order_visits_each_example_at_most_once_and_drops_the_incomplete_batch():
    key = jax.random.key(0)
    order = data.epoch_order(key, 0, 103, 10)
    assert order.shape == (10, 10) and order.dtype == np.int32
    assert len(np.unique(order)) == 100 and order.min() >= 0 and order.max() < 103
    assert sorted(np.ravel(data.epoch_order(key, 0, 12, 4))) == list(range(12))


def test_epoch_order_is_a_function_of_key_and_epoch():
    key = jax.random.key(0)
    order = data.epoch_order(key, 1, 64, 8)
    np.testing.assert_array_equal(order, data.epoch_order(key, 1, 64, 8))
    traced = jax.jit(data.epoch_order, static_argnums=(2, 3))(key, 1, 64, 8)
    np.testing.assert_array_equal(order, traced)
    assert not np.array_equal(order, data.epoch_order(key, 2, 64, 8))
    assert not np.array_equal(order, data.epoch_order(jax.random.key(1), 1, 64, 8))


@pytest.mark.parametrize("batch_size", [0, 11])
def test_epoch_order_refuses_a_batch_that_is_never_complete(batch_size):
    with refuses("expected batch_size, a whole number from 1 to 10", f"got {batch_size}"):
        data.epoch_order(jax.random.key(0), 0, 10, batch_size)


# --- arrays of a notebook


@pytest.mark.parametrize(
    "images",
    [
        pixels(2, 8, 8, 1),
        np.ones([2, 8, 8, 3], np.float32),
        np.zeros([2, 8, 8, 1], np.float64),
        jax.numpy.ones([2, 8, 8, 1], jax.numpy.bfloat16),
        jax.numpy.zeros([2, 5, 5, 2]),
        np.full([1, 2, 2, 1], 1 + 1e-6),
    ],
)
def test_check_data_returns_what_it_accepts(images):
    assert data.check_data(images) is images
    assert data.check_data(images, images.shape[1:]) is images


@pytest.mark.parametrize(
    ("images", "data_shape", "words"),
    [
        ([[0.0]], None, ["expected a NumPy or JAX array", "got list", "numpy.asarray(data)", "numpy.stack"]),
        (pixels(5, 28, 28), None, ["expected images [N, H, W, C], got [5, 28, 28]", "x[..., None]"]),
        (pixels(784), None, ["got [784]", "stack whole images"]),
        (pixels(0, 28, 28, 1), None, ["expected at least one example", "[0, 28, 28, 1]"]),
        (pixels(5, 1, 28, 28), None, ["got [5, 1, 28, 28]", "channels first", "transpose(0, 2, 3, 1)"]),
        (pixels(5, 3, 32, 32), (32, 32, 3), ["got [5, 3, 32, 32]", "channels first"]),
        (
            pixels(5, 28, 28, 1),
            (32, 32, 1),
            ["expected images [N, 32, 32, 1], got [5, 28, 28, 1]", "resize(images, 32)"],
        ),
        (pixels(5, 32, 32, 3), (32, 32, 1), ["expected images [N, 32, 32, 1], got [5, 32, 32, 3]", "other data"]),
        (np.ones([5, 4, 4, 1], np.int64), None, ["expected uint8 or floats", "got int64", "astype(numpy.uint8)"]),
        (np.ones([5, 4, 4, 1], bool), None, ["got bool"]),
        (np.linspace(-1, 1, 16).reshape(1, 4, 4, 1), None, ["floats in [0, 1]", "from -1 to 1", "(x + 1) / 2"]),
        (jax.numpy.full([1, 4, 4, 1], 255.0), None, ["floats in [0, 1]", "from 255 to 255", "divide by 255"]),
        (np.full([1, 4, 4, 1], -7.5), None, ["from -7.5 to -7.5", "without standardizing"]),
    ],
)
def test_check_data_refuses(images, data_shape, words):
    with refuses(*words):
        data.check_data(images, data_shape)


@pytest.mark.parametrize("make", [np.asarray, jax.numpy.asarray])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_check_data_counts_what_is_not_finite(make, value):
    images = np.zeros([5, 4, 4, 1], np.float32)
    images[3, :2] = value
    with refuses("expected finite values, got 8 NaN or infinite ones in 1 of 5 examples, first in number 3"):
        data.check_data(make(images))


# --- resize


def test_resize_is_pillows_bilinear_rounded_to_uint8():
    gray, color = pixels(2, 28, 28, 1), pixels(2, 12, 12, 3)
    for images, size in [(gray, 32), (gray, 8), (color, 16), (np.concatenate([gray, gray], 3), 32)]:
        resized = data.resize(images, size)
        assert resized.shape == (2, size, size, images.shape[3]) and resized.dtype == np.uint8
    expected = [Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR) for image in color]
    np.testing.assert_array_equal(data.resize(color, 16), np.stack([np.asarray(image) for image in expected]))
    assert data.resize(gray, 28) is gray


def test_resize_has_half_pixel_centers():
    image = pixels(1, 28, 28, 1).astype(np.uint8)
    centers = (np.arange(32) + 0.5) * 28 / 32 - 0.5
    weights = np.maximum(0, 1 - np.abs(centers[:, None] - np.arange(28)))
    weights /= weights.sum(1, keepdims=True)
    exact = weights @ image[0, :, :, 0].astype(float) @ weights.T
    assert np.abs(data.resize(image, 32)[0, :, :, 0] - exact).max() <= 1.01  # rounded after each of the two passes


def test_resize_averages_over_four_when_it_shrinks_to_a_quarter():
    image = pixels(1, 128, 128, 1)
    distance = np.abs((np.arange(32) + 0.5)[:, None] * 4 - (np.arange(128) + 0.5))
    weights = np.maximum(0, 1 - distance / 4)  # the triangle is as wide as two of the new pixels on either side
    weights /= weights.sum(1, keepdims=True)
    exact = weights @ image[0, :, :, 0].astype(float) @ weights.T
    assert np.abs(data.resize(image, 32)[0, :, :, 0] - exact).max() <= 1.01


@pytest.mark.parametrize(
    ("images", "size", "words"),
    [
        (pixels(1, 8, 9, 1), 16, ["expected square images", "got 8x9", "crop or pad"]),
        (np.ones([1, 8, 8, 1]), 16, ["expected uint8 images [N, H, W, C], got float64 [1, 8, 8, 1]"]),
        (pixels(1, 8, 8, 1), 0, ["image size in pixels, a whole number of at least 1, got 0"]),
        (pixels(1, 8, 8, 1), 16.0, ["image size in pixels, a whole number of at least 1, got 16.0"]),
        (pixels(8, 8), 16, ["expected uint8 images [N, H, W, C], got uint8 [8, 8]"]),
    ],
)
def test_resize_refuses(images, size, words):
    with refuses(*words):
        data.resize(images, size)


# --- digits


def test_digits_split_is_stratified_and_fixed():
    from sklearn.datasets import load_digits

    source, digits = load_digits(), data.load("digits")
    assert digits.name == "digits" and digits.validation is None
    assert digits.train.images.shape == (1442, 8, 8, 1) and digits.test.images.shape == (355, 8, 8, 1)
    assert digits.train.images.dtype == np.uint8 and digits.train.labels.dtype == np.int32
    counts = np.bincount(source.target)
    np.testing.assert_array_equal(np.bincount(digits.test.labels), counts // 5)
    np.testing.assert_array_equal(np.bincount(digits.train.labels), counts - counts // 5)
    # Every image is there once, with its label and in file order.
    images = np.rint(source.images / 16 * 255).astype(np.uint8).reshape(-1, 64)
    where = {image.tobytes(): i for i, image in enumerate(images)}
    assert len(where) == len(images)
    for split in (digits.train, digits.test):
        index = [where[image.tobytes()] for image in split.images]
        assert index == sorted(index)
        np.testing.assert_array_equal(split.labels, source.target[index])
    both = np.concatenate([digits.train.images, digits.test.images])
    np.testing.assert_array_equal(np.unique(both), np.unique(images))
    np.testing.assert_array_equal(
        np.unique(both, return_counts=True)[1], np.unique(source.images, return_counts=True)[1]
    )


def test_load_resizes_and_holds_out_the_end_of_training():
    whole, held = data.load("digits"), data.load("digits", image_size=32, num_validation=42)
    assert held.train.images.shape == (1400, 32, 32, 1) and held.validation.images.shape == (42, 32, 32, 1)
    np.testing.assert_array_equal(held.validation.labels, whole.train.labels[-42:])
    np.testing.assert_array_equal(held.validation.images, data.resize(whole.train.images[-42:], 32))
    np.testing.assert_array_equal(held.test.images, data.resize(whole.test.images, 32))


@pytest.mark.parametrize("num_validation", [-1, 1442])
def test_load_refuses_a_validation_set_that_leaves_nothing(num_validation):
    with refuses("expected num_validation from 0 to 1441", f"got {num_validation}", "1442 training examples"):
        data.load("digits", num_validation=num_validation)


def test_load_refuses_an_unknown_name_or_size():
    with refuses("digits, mnist, fashion_mnist, cifar10", ".npz", "got 'fashion-mnist'", "mean 'fashion_mnist'?"):
        data.load("fashion-mnist")
    with refuses("got 'xyz'"):
        data.load("xyz")
    with refuses("image size in pixels, a whole number of at least 1, got -3"):
        data.load("digits", image_size=-3)


# --- a dataset of one's own by name


@pytest.fixture
def registered():
    """Register loaders under names of their own, for one test."""
    before = dict(data.DATASETS)
    yield data.register
    data.DATASETS.clear()
    data.DATASETS.update(before)


def test_a_registered_dataset_is_loaded_by_name(registered):
    asked = []

    @registered("mine")
    def mine(image_size, download):
        asked.append((image_size, download))
        return [(pixels(20, 8, 8) / 255, np.arange(20)[:, None]), (pixels(4, 8, 8) > 99, None)]

    dataset = data.load("mine", image_size=16, num_validation=5, download=False)
    assert asked == [(16, False)] and mine(8, True) and dataset.name == "mine" and dataset.kind == "images"
    kept = pixels(20, 8, 8)[dataset.train.labels, ..., None]
    np.testing.assert_array_equal(dataset.train.images, data.resize(kept, 16))
    held_out = splits.draw_held_out(20, 5, np.arange(20), seed=1)
    np.testing.assert_array_equal(dataset.validation.labels, np.flatnonzero(held_out))
    assert dataset.train.labels.dtype == np.int32
    assert dataset.test.labels is None and set(np.unique(data.load("mine").test.images)) == {0, 255}
    assert data.missing("mine") is None
    registered("whole")(lambda image_size, download: [(pixels(20, 8, 8), np.arange(20))])
    assert len(data.load("whole").test.labels) == 2
    registered("mixed", mixed=True)(lambda image_size, download: [(pixels(20, 8, 8), np.arange(20))])
    mixed = data.load("mixed", num_validation=3)
    assert mixed.test.labels.tolist() == [18, 19] and mixed.validation.labels.tolist() == [15, 16, 17]
    parts = {name: (pixels(num, 8, 8), np.arange(num)) for name, num in (("validation", 2), ("train", 6), ("test", 3))}
    registered("three")(lambda image_size, download: parts)
    assert [len(split.images) for split in data.load("three").parts().values()] == [6, 2, 3]


def test_what_a_loader_must_not_return(registered):
    for name, (parts, words) in {
        "arrays": (
            (pixels(20, 8, 8), np.arange(20)),
            ["expected one or two tuples (data, labels)", "train ndarray, test ndarray"],
        ),
        "three": ([(pixels(20, 8, 8), None)] * 3, ["expected one or two tuples", "loader of three", "another number"]),
        "none": ([], ["expected one or two tuples", "loader of none"]),
        "parts": ({"test": (pixels(20, 8, 8), None)}, ["expected one or two tuples", "test tuple"]),
        "range": (
            [(pixels(20, 8, 8) * 1.0, None)],
            ["expected floats in [0, 1]", "divide by 255", "value_range=(0, 255) (in range)"],
        ),
        "labels": (
            [(pixels(20, 8, 8), np.eye(20))],
            ["expected integer or string labels [N]", "labels of all examples in labels", "not one-hot"],
        ),
    }.items():
        registered(name)(lambda image_size, download, parts=parts: parts)
        with refuses(*words):
            data.load(name)
    with refuses("expected a new name, got 'mnist', which is taken"):
        registered("mnist")


# --- arrays in files


@pytest.mark.parametrize("key", ["images", "x", "whatever"])
def test_array_files(tmp_path, key):
    images = pixels(25, 8, 8)
    np.save(tmp_path / "a.npy", images)
    np.savez(tmp_path / "a.npz", **{key: images})
    for path in (tmp_path / "a.npy", str(tmp_path / "a.npz")):
        dataset = data.load(path)
        held_out = splits.draw_held_out(25, 2)
        np.testing.assert_array_equal(dataset.test.images[..., 0], images[held_out])
        np.testing.assert_array_equal(dataset.train.images[..., 0], images[~held_out])
        assert dataset.train.labels is None
    assert data.load(path, image_size=16, num_validation=3).validation.images.shape == (3, 16, 16, 1)


def test_array_file_with_labels(tmp_path):
    np.savez(tmp_path / "a.npz", images=pixels(20, 8, 8, 3), labels=np.arange(20)[:, None])
    dataset = data.load(tmp_path / "a.npz")
    both = np.concatenate([dataset.train.images, dataset.test.images])
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    np.testing.assert_array_equal(both, pixels(20, 8, 8, 3)[labels])
    assert sorted(labels) == list(range(20)) and dataset.train.labels.dtype == np.int32


def test_array_file_with_train_and_test(tmp_path):
    arrays = {"x_train": pixels(4, 8, 8), "y_train": np.arange(4), "x_test": pixels(2, 8, 8, seed=1)}
    np.savez(tmp_path / "a.npz", **arrays)
    dataset = data.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(dataset.train.images[..., 0], arrays["x_train"])
    np.testing.assert_array_equal(dataset.test.images[..., 0], arrays["x_test"])
    assert dataset.train.labels.tolist() == [0, 1, 2, 3] and dataset.test.labels is None


def test_floats_and_booleans_become_uint8_by_rounding(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(10, 0)
    for dtype in (np.float32, np.float64):
        np.save(tmp_path / "a.npy", (gray / 255).astype(dtype))
        np.testing.assert_array_equal(data.read_images(tmp_path / "a.npy")[..., 0], gray)
    np.save(tmp_path / "a.npy", gray.astype(np.int64))
    np.testing.assert_array_equal(data.read_images(tmp_path / "a.npy")[..., 0], gray)
    np.save(tmp_path / "a.npy", gray > 9)
    np.testing.assert_array_equal(data.read_images(tmp_path / "a.npy")[..., 0], (gray > 9) * 255)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full([20, 4, 4], np.nan), ["expected finite values", "number 0"]),
        (np.full([20, 4, 4], 1.5), ["expected floats in [0, 1]", "1.5"]),
        (np.full([20, 4, 4], 256), ["expected integers in 0..255, got values from 256 to 256"]),
        (np.full([20, 4, 4], -1), ["expected integers in 0..255", "-1"]),
        (np.ones([20, 4, 4], np.uint8), ["only 0 and 1", "multiply by 255"]),
        (pixels(20), ["expected images [N, H, W, C], got [20]"]),
        (pixels(2, 3, 4, 5, 6, 1), ["expected images [N, H, W, C]"]),
        (pixels(0, 4, 4), ["the array is empty"]),
        (pixels(20, 1, 28, 28), ["channels first"]),
        (pixels(9, 4, 4), ["expected at least 10 images", "got 9"]),
        (np.array(["a"] * 20).reshape(20, 1, 1, 1), ["expected real numbers, got <U1"]),
        (np.array([None]), ["cannot be read", "allow_pickle"]),
    ],
)
def test_array_file_refusals(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with refuses(*words):
        data.load(tmp_path / "a.npy")


def test_npz_refusals(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, a=pixels(20, 4, 4), b=pixels(20, 4, 4))
    with refuses("the key images or x", "got the keys a, b"):
        data.load(path)
    for labels in (np.zeros(19, int), np.zeros(20), np.zeros([20, 10], int)):
        np.savez(path, x=pixels(20, 4, 4), y=labels)
        with refuses("expected integer or string labels", "a.npz"):
            data.load(path)
    path.write_bytes(b"PK not a zip")
    with refuses("a.npz", "cannot be read"):
        data.load(path)
    path.write_bytes(b"")
    with refuses("a.npz", "cannot be read"):
        data.load(path)
    with refuses("none.npy", "does not exist", error=FileNotFoundError):
        data.load(tmp_path / "none.npy")
    with refuses("expected a file of arrays (.npy .npz", "or a folder", "b.png"):
        data.load(save(tmp_path / "b.png", pixels(4, 4)))


def test_arrays_that_are_not_square_are_cut_to_be_resized(tmp_path):
    np.save(tmp_path / "a.npy", pixels(20, 4, 6))
    assert data.load(tmp_path / "a.npy").train.images.shape == (18, 4, 6, 1)
    dataset = data.load(tmp_path / "a.npy", image_size=8)
    held_out = splits.draw_held_out(20, 2)
    np.testing.assert_array_equal(dataset.test.images, data.resize(pixels(20, 4, 6)[held_out, :, 1:5, None], 8))
    assert any("4x6 were framed by 'crop'" in note for note in dataset.notes)


# --- folders


def test_folder_of_pictures_in_sorted_order(tmp_path):
    images = pixels(20, 8, 8)
    for i in reversed(range(20)):
        save(tmp_path / f"{i:02d}.png", images[i])
    save(tmp_path / ".hidden.png", images[0])
    (tmp_path / "notes.txt").write_text("no picture")
    dataset = data.load(tmp_path)
    held_out = splits.draw_held_out(20, 2)
    np.testing.assert_array_equal(dataset.test.images[..., 0], images[held_out])
    assert dataset.test.names.tolist() == [f"{i:02d}.png" for i in np.flatnonzero(held_out)]
    assert dataset.train.images.shape == (18, 8, 8, 1) and dataset.train.labels is None
    assert data.load(tmp_path, image_size=16).test.images.shape == (2, 16, 16, 1)


def test_folder_labels_are_the_immediate_subfolders(tmp_path):
    for i in range(10):
        save(tmp_path / "dog" / f"{i}.png", pixels(8, 8, 3))
        save(tmp_path / "cat" / "deeper" / f"{i}.png", pixels(8, 8))
    dataset = data.load(tmp_path)
    assert dataset.train.labels.tolist() == [0] * 9 + [1] * 9 and dataset.test.labels.tolist() == [0, 1]
    assert dataset.train.images.shape == (18, 8, 8, 3) and dataset.class_names == ("cat", "dog")
    np.testing.assert_array_equal(dataset.train.images[0], pixels(8, 8)[..., None].repeat(3, 2))
    save(tmp_path / "lost.png", pixels(8, 8))
    assert data.load(tmp_path).train.labels is None


def test_folders_train_and_test_are_kept_apart(tmp_path):
    for root, names in {"train": "ab", "test": "bc"}.items():
        for name in names:
            save(tmp_path / root / name / "1.png", pixels(8, 8))
    dataset = data.load(tmp_path)
    assert dataset.train.labels.tolist() == [0, 1] and dataset.test.labels.tolist() == [1, 2]


def test_folder_of_mixed_sizes_needs_an_image_size_and_takes_the_center_square(tmp_path):
    wide = np.zeros([8, 16], np.uint8)
    wide[:, 4:12] = 200
    for i in range(10):
        save(tmp_path / f"{i}.png", wide if i else pixels(8, 8))
    with refuses("expected images of one size, got 8x8", "0.png", "8x16", "1.png", "pass image_size"):
        data.load(tmp_path)
    assert (data.load(tmp_path, image_size=4).test.images == 200).all()


def test_folder_refusals(tmp_path):
    with refuses("none", "does not exist", error=FileNotFoundError):
        data.load(tmp_path / "none")
    with refuses("does not exist", error=FileNotFoundError):
        data.load("nowhere/at/all")
    (tmp_path / "empty").mkdir()
    with refuses("expected images (.png, .jpg", "empty", "found none", error=FileNotFoundError):
        data.load(tmp_path / "empty")
    save(tmp_path / "few" / "1.png", pixels(8, 8))
    with refuses("expected at least 10 images", "got 1"):
        data.load(tmp_path / "few")


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: b"text", lambda whole: whole[: len(whole) // 2]])
def test_damaged_picture_is_named(tmp_path, damage):
    path = save(tmp_path / "broken.png", pixels(64, 64))
    path.write_bytes(damage(path.read_bytes()))
    with refuses("expected an image, got", "broken.png", "cannot be read"):
        data.load(tmp_path)


def test_sixteen_bit_picture_is_refused(tmp_path):
    Image.fromarray(np.full([8, 8], 40_000, np.uint16)).save(tmp_path / "deep.png")
    with refuses("expected 8 bits per channel", "I;16", "value_range=(0, 65535)", "deep.png"):
        data.load(tmp_path)


# --- inputs of `gon reconstruct`


def test_read_images_takes_files_folders_and_arrays_together(tmp_path):
    one, two, array = save(tmp_path / "one.png", pixels(8, 8)), pixels(8, 8, seed=1), pixels(3, 8, 8, seed=2)
    save(tmp_path / "folder" / "deep" / "two.bmp", two)
    np.save(tmp_path / "three.npy", array)
    images = data.read_images([one, tmp_path / "folder", str(tmp_path / "three.npy")])
    np.testing.assert_array_equal(images[..., 0], np.stack([pixels(8, 8), two, *array]))
    np.testing.assert_array_equal(data.read_images(str(one)), images[:1])


def test_read_images_converts_to_the_shape_of_a_run(tmp_path):
    gray, color = save(tmp_path / "gray.png", pixels(8, 8)), save(tmp_path / "color.png", pixels(8, 8, 3))
    images = data.read_images([gray, color], data_shape=(16, 16, 1))
    assert images.shape == (2, 16, 16, 1) and images.dtype == np.uint8
    expected = Image.fromarray(pixels(8, 8, 3)).convert("L").resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(images[1, :, :, 0], expected)
    np.testing.assert_array_equal(images[0], data.resize(pixels(1, 8, 8, 1), 16)[0])
    assert data.read_images([gray, color], data_shape=(8, 8, 3)).shape == (2, 8, 8, 3)
    np.save(tmp_path / "a.npy", pixels(2, 12, 8, 3))
    cut = data.read_images(tmp_path / "a.npy", data_shape=(8, 8, 3))
    np.testing.assert_array_equal(cut, pixels(2, 12, 8, 3)[:, 2:10])
    assert data.read_images(tmp_path / "a.npy", data_shape=(4, 8, 1)).shape == (2, 4, 8, 1)


def test_read_images_turns_photographs(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    Image.fromarray(pixels(8, 12)).save(tmp_path / "b.png", exif=exif)
    np.testing.assert_array_equal(data.read_images(tmp_path / "b.png")[0, :, :, 0], np.rot90(pixels(8, 12), -1))


def test_read_images_refusals(tmp_path):
    with refuses("none.png", "does not exist", error=FileNotFoundError):
        data.read_images(tmp_path / "none.png")
    with refuses("expected at least one path"):
        data.read_images([])
    with refuses("expected arrays of examples [8, 8, 2]", "1 or 3 channels"):
        data.read_images(tmp_path, data_shape=(8, 8, 2))
    np.save(tmp_path / "two.npy", pixels(3, 8, 8, 2))
    with refuses("expected images [N, H, W, 1 or 3], got [3, 8, 8, 2]", "two.npy"):
        data.read_images(tmp_path / "two.npy")
    paths = [save(tmp_path / "a.png", pixels(8, 8)), save(tmp_path / "b.png", pixels(9, 8))]
    with refuses("expected images of one size, got 8x8", "9x8", "pass data_shape"):
        data.read_images(paths)


# --- tensorflow-datasets: finding, preparing and reading tiny ones


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """Files of a tiny MNIST (seed 0), Fashion-MNIST (seed 1) and CIFAR-10, and builders that know their checksums."""
    builders = pytest.importorskip("gon_jax.data.builders")
    files = {}
    for seed, name in enumerate(["mnist", "fashion_mnist"]):
        files[name] = {}
        for split, num in [("train", 30), ("t10k", 20)]:
            files[name][f"{split}-images-idx3-ubyte.gz"] = idx(pixels(num, 28, 28, seed=seed))
            files[name][f"{split}-labels-idx1-ubyte.gz"] = idx(pixels(num, seed=num) % 10)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as archive:
        for i, file in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
            records = pixels(4, 3073, seed=i)
            records[:, 0] %= 10
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{file}.bin")
            member.size = records.nbytes
            archive.addfile(member, io.BytesIO(records.tobytes()))
    files["cifar10"] = {"cifar-10-binary.tar.gz": tar.getvalue()}
    for name, contents in files.items():
        (tmp_path / name).mkdir()
        for file, content in contents.items():
            (tmp_path / name / file).write_bytes(content)
        sha256 = {file: hashlib.sha256(content).hexdigest() for file, content in contents.items()}
        monkeypatch.setattr(builders.BUILDERS[name], "SHA256", sha256)
    monkeypatch.setattr(catalog, "NUM_EXAMPLES", {"mnist": (30, 20), "fashion_mnist": (30, 20), "cifar10": (20, 4)})
    return tmp_path


def sorted_bytes(images):
    return sorted(image.tobytes() for image in images)


def test_prepare_and_read_mnist_then_fashion_without_tensorflow(originals, tmp_path, capfd):
    for seed, name in enumerate(["mnist", "fashion_mnist"]):
        folder = data.prepare(name, tmp_path / "gon", originals / name)
        assert folder == tmp_path / "gon" / name / "3.0.1"
        dataset = data.load(name, download=False)
        assert sorted_bytes(dataset.train.images) == sorted_bytes(pixels(30, 28, 28, seed=seed))
        assert sorted_bytes(dataset.test.images) == sorted_bytes(pixels(20, 28, 28, seed=seed))
        label = dict(zip(map(bytes, pixels(30, 28, 28, seed=seed)), pixels(30, seed=30) % 10, strict=True))
        assert [label[bytes(image)] for image in dataset.train.images] == dataset.train.labels.tolist()
        before = sorted(folder.iterdir())
        assert data.prepare(name, tmp_path / "gon", "nowhere") == folder and sorted(folder.iterdir()) == before
    assert "tensorflow" not in sys.modules
    assert capfd.readouterr().out == ""


def test_prepare_and_read_cifar10(originals, tmp_path):
    folder = data.prepare("cifar10", tmp_path / "gon", originals / "cifar10")
    dataset = data.load("cifar10", image_size=16, download=False)
    source = np.concatenate([pixels(4, 3073, seed=seed)[:, 1:] for seed in range(5)]).reshape(-1, 3, 32, 32)
    assert sorted_bytes(data.load("cifar10").train.images) == sorted_bytes(np.moveaxis(source, 1, 3))
    assert dataset.test.images.shape == (4, 16, 16, 3)
    assert folder.name == "3.0.2" and (folder / "label.labels.txt").read_text().split()[3] == "cat"


def test_any_dataset_of_tfds_by_its_name(originals, tmp_path):
    """Here of one that has a name of its own too: the same images, labels by the names of their classes."""
    data.prepare("cifar10", tmp_path / "gon", originals / "cifar10")
    own, other = data.load("cifar10", download=False), data.load("tfds:cifar10")
    np.testing.assert_array_equal(own.train.images, other.train.images)
    np.testing.assert_array_equal(own.test.images, other.test.images)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    assert [other.class_names[label] for label in other.train.labels] == [names[label] for label in own.train.labels]
    assert data.load("tfds:cifar10", image_size=16, num_validation=3).validation.images.shape == (3, 16, 16, 3)
    with refuses("expected nothing_like_it, prepared as array_record", "GON_DATA_DIR", error=FileNotFoundError):
        data.load("tfds:nothing_like_it")


def test_what_is_prepared_is_read_by_tfds_itself(originals, tmp_path):
    import tensorflow_datasets as tfds

    data.prepare("cifar10", tmp_path / "gon", originals / "cifar10")
    source = tfds.data_source("cifar10", split="train", data_dir=tmp_path / "gon", download=False)
    dataset = data.load("cifar10", download=False)
    assert len(source) == 20 and sorted(example["id"] for example in source)[:2] == [b"train_00000", b"train_00001"]
    for i, example in enumerate(source):
        np.testing.assert_array_equal(example["image"], dataset.train.images[i])
        assert example["label"] == dataset.train.labels[i]


@pytest.fixture
def coil20(monkeypatch):
    """Two objects of 12 angles; the builder knows the checksum of their pixels. Return pictures and a way to zip."""
    builder = pytest.importorskip("gon_jax.data.builders").BUILDERS["coil20"]
    pictures = pixels(2, 12, 8, 8)
    sha256 = {"coil-20-proc.zip": f"of pixels {hashlib.sha256(pictures).hexdigest()}"}
    for attribute, value in {"CLASSES": 2, "NUM_ANGLES": 12, "SHAPE": (8, 8, 1), "SHA256": sha256}.items():
        monkeypatch.setattr(builder, attribute, value)
    monkeypatch.setitem(catalog.NUM_EXAMPLES, "coil20", (20, 4))

    def archive(folder, pictures=pictures, prefix="", compression=zipfile.ZIP_STORED, leave_out=()):
        folder.mkdir(exist_ok=True)
        with zipfile.ZipFile(folder / "coil-20-proc.zip", "w", compression) as file:
            for i, j in sorted(np.ndindex(2, 12), key=str):
                png = io.BytesIO()
                Image.fromarray(pictures[i, j]).save(png, "png")
                if (i, j) not in leave_out:
                    file.writestr(f"{prefix}obj{i + 1}__{j}.png", png.getvalue())
        return folder

    return pictures, archive


@pytest.mark.parametrize("options", [{"prefix": "coil-20-proc/"}, {"compression": zipfile.ZIP_DEFLATED}])
def test_coil20_is_the_pixels_whatever_the_archive_and_every_sixth_angle_is_test(coil20, tmp_path, options):
    import tensorflow_datasets as tfds

    pictures, archive = coil20
    assert "prepare('coil20'" in data.missing("coil20")
    folder = data.prepare("coil20", tmp_path / "gon", archive(tmp_path / "zip", **options))
    assert folder.name == "1.0.0" and data.missing("coil20") is None
    place = {pictures[i, j].tobytes(): (i, j) for i, j in np.ndindex(2, 12)}
    loaded = data.load("coil20", download=False)
    for split, angles in [("train", {0, 1, 2, 3, 4, 6, 7, 8, 9, 10}), ("test", {5, 11})]:
        images, labels, *_ = getattr(loaded, split)
        found = [place[image.tobytes()] for image in images]
        assert sorted(found) == [(i, j) for i in range(2) for j in sorted(angles)]
        assert labels.tolist() == [i for i, _ in found]
        source = tfds.data_source("coil20", split=split, data_dir=tmp_path / "gon", download=False)
        assert [example["angle"] for example in source] == [30 * j for _, j in found]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pictures": pixels(2, 12, 8, 8, seed=1)}, ["SHA-256 of pixels", "another dataset"]),
        ({"leave_out": [(1, 4)]}, ["KeyError", "obj2__4.png", "replace it"]),
        ({"pictures": pixels(2, 12, 8, 8, 3)}, ["ValueError", "shape (2,12,8,8)"]),
        ({"pictures": pixels(2, 12, 9, 9)}, ["ValueError", "shape (2,12,8,8)"]),
        (None, ["BadZipFile"]),
    ],
)
def test_coil20_of_other_contents_is_refused(coil20, tmp_path, options, words):
    folder = coil20[1](tmp_path / "zip", **options or {})
    if options is None:
        (folder / "coil-20-proc.zip").write_bytes(b"no archive")
    with refuses("expected", "to be coil20's coil-20-proc.zip", *words):
        data.prepare("coil20", tmp_path / "gon", folder)


# --- tensorflow-datasets: what it prepares itself, here with the features of its own builders and random pixels


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """Return a way to prepare one of them in the search path, which returns its encoded pictures by split."""
    tfds = pytest.importorskip("tensorflow_datasets")
    gray = tfds.features.Image(shape=(96, 96, 1))
    features = {
        "smallnorb": {"image": gray, "image2": gray, "label_category": tfds.features.ClassLabel(num_classes=5)},
        "celeb_a": {
            "image": tfds.features.Image(shape=(218, 178, 3), encoding_format="jpeg"),
            "landmarks": {"nose_x": np.int64},
            "attributes": {"Bald": np.bool_},
            "identity": {"Identity_No": np.int64},
        },
        "lsun": {"id": tfds.features.Text(), "image": tfds.features.Image(encoding_format="jpeg")},
    }
    splits = {
        "smallnorb": {"train": 7, "test": 3},
        "celeb_a": {"train": 7, "validation": 2, "test": 3},
        "lsun": {"train": 7, "validation": 3},
    }

    def encode(array, form="jpeg"):
        file = io.BytesIO()
        Image.fromarray(array).save(file, form)
        return file.getvalue()

    def example(name, split, i):
        seed = 100 * len(split) + i
        if name == "smallnorb":
            return {
                "image": encode(pixels(96, 96, seed=seed), "png"),
                "label_category": i % 5,
                "image2": encode(np.zeros([96, 96], np.uint8), "png"),
            }
        if name == "celeb_a":
            return {
                "image": encode(pixels(218, 178, 3, seed=seed)),
                "landmarks": {"nose_x": i},
                "attributes": {"Bald": i % 2 == 0},
                "identity": {"Identity_No": i},
            }
        shape = [(16, 20 + i, 3), (20 + i, 16)][i % 2]  # LSUN has a few gray ones
        return {"id": str(i), "image": encode(pixels(*shape, seed=seed))}

    def prepare(name):
        class Fake(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("3.1.0")
            url_infos = None

            def _info(self):
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features[name]))

            def _split_generators(self, dl_manager):
                return {split: enumerate(examples) for split, examples in content.items()}

            _generate_examples = None

        content = {split: [example(name, split, i) for i in range(num)] for split, num in splits[name].items()}
        Fake.name = name
        if name == "lsun":
            Fake.BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="bedroom", version="3.1.0")]
        Fake(data_dir=tmp_path / "gon", file_format="array_record").download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
        return {split: [each["image"] for each in examples] for split, examples in content.items()}

    monkeypatch.setattr(catalog, "NUM_EXAMPLES", {"smallnorb": (7, 3), "celeb_a": (7, 3), "lsun/bedroom": (5, 3)})
    return prepare


def decode(encoded):
    return Image.open(io.BytesIO(encoded))


def center(jpeg, size):
    picture = decode(jpeg).convert("RGB")
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    picture = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture).tobytes()


def test_smallnorb_is_its_first_camera(foreign, caplog):
    originals = foreign("smallnorb")
    norb = data.load("smallnorb", num_validation=2)
    assert [len(split.images) for split in norb[1:4]] == [5, 2, 3] and norb.train.images.shape[1:] == (96, 96, 1)
    label = {decode(png).tobytes(): i % 5 for images in originals.values() for i, png in enumerate(images)}
    for split in norb[1:4]:
        assert [label[image.tobytes()] for image in split.images] == split.labels.tolist()
    assert data.load("smallnorb", image_size=32).test.images.shape == (3, 32, 32, 1)
    assert "tensorflow" not in sys.modules and not caplog.records


@pytest.mark.parametrize(("name", "test"), [("celeb_a", "test"), ("lsun/bedroom", "validation")])
def test_center_squares_of_what_is_not_square(foreign, caplog, name, test):
    originals = foreign(name.split("/")[0])
    dataset = data.load(name, image_size=12)
    train = {center(jpeg, 12) for jpeg in originals["train"]}
    assert {image.tobytes() for image in dataset.train.images} <= train
    assert len(dataset.train.images) == catalog.NUM_EXAMPLES[name][0]  # of lsun the first 5 of the 7
    assert set(sorted_bytes(dataset.test.images)) == {center(jpeg, 12) for jpeg in originals[test]}
    assert dataset.train.labels is None and dataset.test.labels is None and not caplog.records
    with refuses(f"expected an image_size for {name}", "not square", "image_size=64"):
        data.load(name)


@pytest.mark.parametrize("name", ["smallnorb", "celeb_a", "lsun/bedroom"])
def test_what_tfds_must_prepare_says_how(name, tmp_path):
    words = [
        f"expected {name}, prepared as array_record, in one of",
        "GON_DATA_DIR",
        f"tfds.builder('{name}', data_dir='{tmp_path / 'gon'}', file_format='array_record')",
        "download_and_prepare()",
        "importlib_resources",
    ]
    with refuses(*words, error=FileNotFoundError):
        data.load(name, image_size=8)
    with refuses("expected a dataset to prepare (mnist, fashion_mnist, cifar10, coil20)", name, "download_and_prepare"):
        data.prepare(name, tmp_path)
    assert re.search(".*".join(map(re.escape, words)), data.missing(name))


def test_missing_reads_nothing(originals, tmp_path, monkeypatch):
    assert data.missing("digits") is None
    assert "download" in data.missing("mnist")
    records = next(data.prepare("mnist", tmp_path / "gon", originals / "mnist").glob("*train.array_record*"))
    records.write_bytes(b"")
    assert data.missing("mnist") is None
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert "pip install 'gon_jax[data]'" in data.missing("mnist")
    with refuses("expected a dataset", "got 'minst'", "mean 'mnist'?"):
        data.missing("minst")


@pytest.fixture
def server(originals, monkeypatch):
    """Serve the originals on this machine; yield the list of paths asked for."""
    from gon_jax.data import builders

    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(originals))

        def log_message(self, *args):
            asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        for name, builder in builders.BUILDERS.items():
            monkeypatch.setattr(builder, "URL", f"http://127.0.0.1:{running.server_port}/{name}/")
        yield asked
        running.shutdown()


def test_load_downloads_what_is_missing_once(server, originals, tmp_path):
    with refuses("expected mnist, prepared as array_record, in one of", "gon", "GON_DATA_DIR", error=FileNotFoundError):
        data.load("mnist", download=False)
    for seed, name in enumerate(["mnist", "fashion_mnist"]):
        assert sorted_bytes(data.load(name).train.images) == sorted_bytes(pixels(30, 28, 28, seed=seed))
        data.load(name)
    assert len(server) == 8 and (tmp_path / "gon" / "mnist" / "3.0.1").is_dir()


def test_download_with_another_checksum_is_refused(server, originals, tmp_path):
    (originals / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(b"changed")
    with refuses("train-labels-idx1-ubyte.gz with SHA-256", "try again"):
        data.load("mnist")
    assert not list((tmp_path / "gon" / "mnist").glob("*"))
    (originals / "mnist" / "train-labels-idx1-ubyte.gz").write_bytes(idx(pixels(30, seed=30) % 10))
    assert len(data.load("mnist").train.images) == 30


def test_no_network_says_what_to_do(originals, monkeypatch):
    from gon_jax.data import builders

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(builders.BUILDERS["mnist"], "URL", "http://127.0.0.1:9/mnist/")
    with refuses(
        "expected mnist from http://127.0.0.1:9/mnist/",
        "Connection",
        "GON_DATA_DIR",
        "manual_dir",
        error=FileNotFoundError,
    ):
        data.load("mnist")


def test_prepare_refusals(originals, tmp_path):
    with refuses("expected a dataset to prepare (mnist, fashion_mnist, cifar10), got 'digits'"):
        data.prepare("digits", tmp_path)
    words = ["expected mnist from https://", str(tmp_path / "home"), "no train-images-idx3-ubyte.gz", "manual_dir"]
    with refuses(*words, error=FileNotFoundError):
        data.prepare("mnist", tmp_path / "gon", tmp_path / "home")
    with refuses("fashion_mnist's train-images-idx3-ubyte.gz", "SHA-256", "another dataset"):
        data.prepare("fashion_mnist", tmp_path / "gon", originals / "mnist")
    (tmp_path / "gon" / "mnist" / "3.0.1").mkdir(parents=True)
    with refuses("expected array_record in", "3.0.1", "TFRecord", "another folder"):
        data.prepare("mnist", tmp_path / "gon", originals / "mnist")


def test_interrupted_preparation_leaves_nothing_that_looks_prepared(originals, tmp_path, monkeypatch):
    from gon_jax.data import builders

    read_idx, count = builders._read_idx, iter(range(100))

    def interrupt(path):
        if next(count) == 3:  # in the second split
            raise KeyboardInterrupt
        return read_idx(path)

    monkeypatch.setattr(builders, "_read_idx", interrupt)
    with pytest.raises(KeyboardInterrupt):
        data.prepare("mnist", tmp_path / "gon", originals / "mnist")
    (tmp_path / "gon" / "mnist" / "incomplete.ABC123_3.0.1").mkdir()  # what a killed process leaves
    with refuses("expected mnist, prepared", error=FileNotFoundError):
        data.load("mnist", download=False)
    monkeypatch.setattr(builders, "_read_idx", read_idx)
    data.prepare("mnist", tmp_path / "gon", originals / "mnist")
    assert len(data.load("mnist", download=False).train.images) == 30


def test_search_path_and_its_order(originals, tmp_path, monkeypatch):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    monkeypatch.setenv("GON_DATA_DIR", os.pathsep.join(["", str(first), str(second), str(first)]))
    monkeypatch.setenv("TFDS_DATA_DIR", str(third))
    assert data.search_path() == [first, second, third, tmp_path / "home" / "tensorflow_datasets"]
    data.prepare("mnist", third, originals / "mnist")
    (first / "mnist" / "3.0.1").mkdir(parents=True)
    (first / "mnist" / "3.0.1" / "dataset_info.json").write_text('{"fileFormat": "tfrecord"}')
    assert len(data.load("mnist", download=False).train.images) == 30


def test_tfrecord_is_passed_over_when_choosing_where_to_prepare(server, tmp_path, monkeypatch):
    (tmp_path / "gon" / "mnist" / "3.0.1").mkdir(parents=True)
    data.load("mnist")
    assert (tmp_path / "home" / "tensorflow_datasets" / "mnist" / "3.0.1" / "dataset_info.json").is_file()
    (tmp_path / "home" / "tensorflow_datasets" / "mnist" / "3.0.1" / "dataset_info.json").unlink()
    with refuses("expected mnist", "GON_DATA_DIR", "a new one to prepare it in", "TFRecord", error=FileNotFoundError):
        data.load("mnist")


def test_subset_is_taken_and_told(originals, tmp_path, monkeypatch, caplog):
    data.prepare("mnist", tmp_path / "gon", originals / "mnist")
    data.load("mnist")
    assert not caplog.records
    monkeypatch.setattr(catalog, "NUM_EXAMPLES", {"mnist": (60_000, 20)})
    assert len(data.load("mnist").train.images) == 30
    assert "is a subset: 30 of 60000 train examples" in caplog.text and len(caplog.records) == 1


def test_prepared_folder_that_is_not_what_it_declares_is_refused(originals, tmp_path):
    folder = data.prepare("mnist", tmp_path / "gon", originals / "mnist")
    features = (folder / "features.json").read_text()
    (folder / "features.json").write_text(features.replace('"28"', '"32"'))
    with refuses("expected mnist train as dataset_info.json and features.json declare", str(folder), "(ValueError"):
        data.load("mnist")
    (folder / "features.json").write_text(features)
    info = (folder / "dataset_info.json").read_text()
    (folder / "dataset_info.json").write_text(info.replace('"30"', '"31"'))
    with refuses("expected mnist train as", str(folder)):
        data.load("mnist")
    (folder / "dataset_info.json").write_text(info)
    records = folder / "mnist-train.array_record-00000-of-00001"
    records.write_bytes(records.read_bytes()[:5000])
    with refuses("expected mnist train as", str(folder)):
        data.load("mnist")


def test_without_tfds_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    for call in (lambda: data.prepare("mnist", "."), lambda: catalog._read_known("mnist", "", "train", 1, None)):
        with refuses("pip install 'gon_jax[data]'", error=ImportError):
            call()


def test_importing_data_is_light():
    heavy = ["tensorflow", "tensorflow_datasets", "PIL", "sklearn", "tqdm", "flax", "matplotlib", "scipy.stats"]
    code = f"import sys, gon_jax.data; print([m for m in {heavy[:-1]} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
