"""Data, on the real thing: what was published is what is read. Skipped where GON_DATA_DIR has no prepared dataset."""

import os
from pathlib import Path

import numpy as np
import pytest

from gon_jax import data
from gon_jax.data import catalog

pytestmark = pytest.mark.slow

# uint8 mean and label histogram of train and test, of the published files
MNIST_LABELS = (
    [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
)
FACTS = {
    ("mnist", 60_000): ((28, 28, 1), (33.3184, 33.7912), MNIST_LABELS),
    ("fashion_mnist", 60_000): ((28, 28, 1), (72.9404, 73.1466), ([6000] * 10, [1000] * 10)),
    ("cifar10", 50_000): ((32, 32, 3), (120.7076, 121.5292), ([5000] * 10, [1000] * 10)),
    ("cifar10", 10_000): (
        (32, 32, 3),
        (121.0410, 121.5292),  # the first file of the five
        ([1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981], [1000] * 10),
    ),
}


def load(name, **options):
    try:
        return data.load(name, download=False, **options)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_contents_are_those_published(name):
    dataset = load(name)
    shape, means, labels = FACTS[name, len(dataset.train.images)]
    for split, mean, histogram in zip((dataset.train, dataset.test), means, labels, strict=True):
        assert split.images.shape == (sum(histogram), *shape) and split.images.dtype == np.uint8
        assert split.images.mean(dtype=float) == pytest.approx(mean, abs=5e-5)
        assert np.bincount(split.labels).tolist() == histogram


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_resize_to_32_keeps_the_mean(name):
    dataset = load(name, image_size=32, num_validation=5000)
    assert dataset.train.images.shape == (55_000, 32, 32, 1) and dataset.validation.images.shape == (5000, 32, 32, 1)
    _, (_, mean), _ = FACTS[name, 60_000]
    # Inner pixels all weigh (28/32)^2 of a pixel of the larger image, up to the phase: half a gray level at most.
    assert dataset.test.images.mean(dtype=float) == pytest.approx(mean, abs=0.5)


def raw(name):
    folder = Path(os.environ.get("GON_RAW_DIR", "/nonexistent")) / name
    if not folder.is_dir():
        pytest.skip(f"GON_RAW_DIR has no {name}")
    return folder


def test_prepared_from_the_originals_is_the_same_as_tfds_prepares(tmp_path, monkeypatch):
    theirs = load("mnist")
    folder = data.prepare("mnist", tmp_path, raw("mnist"))
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path))
    ours = data.load("mnist", download=False)
    assert catalog.locate("mnist", download=False) == folder
    for split in ("train", "test"):
        np.testing.assert_array_equal(getattr(ours, split).images, getattr(theirs, split).images)
        np.testing.assert_array_equal(getattr(ours, split).labels, getattr(theirs, split).labels)


def test_coil20_from_its_original(tmp_path, monkeypatch):
    data.prepare("coil20", tmp_path, raw("coil20"))
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path))
    whole, small = data.load("coil20", download=False), data.load("coil20", image_size=32, download=False)
    for split, num in [("train", 60), ("test", 12)]:
        images, labels, *_ = getattr(whole, split)
        assert images.shape == (20 * num, 128, 128, 1) and np.bincount(labels).tolist() == [num] * 20
        np.testing.assert_array_equal(getattr(small, split).images, data.resize(images, 32))
        np.testing.assert_array_equal(getattr(small, split).labels, labels)
    both = np.concatenate([whole.train.images, whole.test.images])
    assert both.mean(dtype=float) == pytest.approx(76.8967, abs=5e-5)
    assert len({image.tobytes() for image in both}) == 1440


def test_digits_cannot_be_prepared_as_fashion(tmp_path):
    with pytest.raises(ValueError, match="another dataset"):
        data.prepare("fashion_mnist", tmp_path, raw("mnist"))
    assert not list(tmp_path.glob("fashion_mnist/*"))
