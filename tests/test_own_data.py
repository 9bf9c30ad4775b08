"""A user's own data: which part each example is in, what is read, refused, skipped and said."""

import binascii
import io
import json
import os
import re
import runpy
import struct
import zlib
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import gon_jax
from benchmarks import defaults
from gon_jax import data
from gon_jax.cli.main import main
from gon_jax.data import Reading, from_arrays, load
from gon_jax.data.image_files import convert_picture, image_suffixes, open_picture
from gon_jax.data.splits import class_numbers, draw_held_out, read_keys
from gon_jax.metrics import evaluate
from gon_jax.runs import Config, train, trainer


def pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def refuses(*words, error=ValueError):
    """Expect one line that holds the words in this order."""
    return pytest.raises(error, match=r"(?s)\A(?!.*\n).*" + ".*".join(re.escape(word) for word in words))


# --- parts


def test_held_out_examples_are_of_each_class(tmp_path):
    np.savez(tmp_path / "s.npz", images=np.zeros((200, 16, 16), np.uint8), labels=np.repeat(range(10), 20))
    dataset = load(tmp_path / "s.npz", num_validation=None)
    counts = [np.bincount(split.labels).tolist() for split in dataset.parts().values()]
    # 20 of 200 are test, two of each class, 18 of the remaining 180 validation: one or two of each class of 18
    assert counts[2] == [2] * 10 and sum(counts[1]) == 18 and set(counts[1]) <= {1, 2}
    assert [a + b for a, b in zip(*counts[:2], strict=True)] == [18] * 10
    assert dataset.notes[-2:] == (
        "test: 20 of the examples, drawn, of each class its share",
        "validation: 18 of the training examples, drawn, of each class its share",
    )


@pytest.mark.parametrize("num", [10, 37, 400])
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_a_draw_takes_of_each_class_its_share(num, classes):
    labels = np.sort(np.random.default_rng(num).integers(0, classes, num))
    for num_held_out in (1, num // 10, num // 2, num - 1):
        held_out = draw_held_out(num, num_held_out, labels)
        assert held_out.sum() == num_held_out
        np.testing.assert_array_equal(held_out, draw_held_out(num, num_held_out, labels))
        taken, there = np.bincount(labels[held_out], minlength=classes), np.bincount(labels, minlength=classes)
        assert (np.abs(taken - there * num_held_out / num) <= 1.5).all()
    assert (draw_held_out(num, num // 2, labels, seed=1) != draw_held_out(num, num // 2, labels, seed=2)).any()
    without = draw_held_out(num, num // 2)
    assert without.sum() == num // 2 and 0 < without[: num // 2].sum() < num // 2  # neither end


def test_folders_of_parts_by_any_name(tmp_path):
    for part, num in {"Training": 3, "VAL": 2, "test": 1, "extra": 4}.items():
        for name in ("cat", "dog"):
            for i in range(num):
                save(tmp_path / part / name / f"{i}.png", pixels(8, 8, seed=[i, *map(ord, part + name)]))
    save(tmp_path / "cover.png", pixels(8, 8))
    dataset = load(tmp_path, num_validation=None)
    assert [len(split.images) for split in dataset.parts().values()] == [6, 4, 2]
    assert dataset.validation.names.tolist() == [f"VAL/{name}/{i}.png" for name in ("cat", "dog") for i in (0, 1)]
    assert dataset.validation.labels.tolist() == [0, 0, 1, 1] and dataset.class_names == ("cat", "dog")
    assert dataset.notes == (
        f"{tmp_path}: 12 files read",
        "left out, being in none of Training, VAL, test: 8 extra, 1 in no folder",
    )
    with refuses("expected num_validation=None", "4 validation examples", "got 2"):
        load(tmp_path, num_validation=2)


def test_folders_of_parts_that_are_not_whole(tmp_path):
    for part in ("val", "cat", "dog"):
        save(tmp_path / "one" / part / "1.png", pixels(8, 8))
    with refuses("expected a folder train beside val", "got cat, dog, val", "rename"):
        load(tmp_path / "one")
    for part in ("train", "Training", "test"):
        save(tmp_path / "two" / part / "1.png", pixels(8, 8))
    with refuses("expected one folder for each part, got Training, test, train"):
        load(tmp_path / "two")
    for i in range(20):
        save(tmp_path / "three" / "train" / f"{i}.png", pixels(8, 8, seed=i))
    save(tmp_path / "three" / "valid" / "a.png", pixels(8, 8))
    dataset = load(tmp_path / "three", num_validation=None)  # test is drawn
    assert [len(split.images) for split in dataset.parts().values()] == [18, 1, 2] and dataset.train.labels is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["images", "labels"], {"": {"data": "images", "labels": "labels"}}),
        (["X", "target"], {"": {"data": "X", "labels": "target"}}),
        (
            ["x_train", "y_train", "x_val", "y_val", "x_test"],
            {"train": {"data": "x_train", "labels": "y_train"}, "validation": {"data": "x_val", "labels": "y_val"}}
            | {"test": {"data": "x_test"}},
        ),
        (["train_images", "testImages"], {"train": {"data": "train_images"}, "test": {"data": "testImages"}}),
        (["Xtrain", "Ytrain", "dev"], {"train": {"data": "Xtrain", "labels": "Ytrain"}, "validation": {"data": "dev"}}),
        (["train/data", "train/label"], {"train": {"data": "train/data", "labels": "train/label"}}),
        (["anything"], {"": {"data": "anything"}}),
    ],
)
def test_names_of_arrays(keys, expected):
    assert read_keys(keys, "a.npz") == (expected, [])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["a", "b"], ["the key images or x", "got the keys a, b"]),
        (["x", "x_test"], ["the key images or x", "got the keys x, x_test"]),
        (["x_val", "x_test"], ["the key images or x", "x_val, x_test"]),
        (["x", "images"], ["expected one array", "got x and images"]),
        ([], ["(none)"]),
    ],
)
def test_names_of_arrays_that_are_refused(keys, words):
    with refuses(*words):
        read_keys(keys, "a.npz")


def test_arrays_that_are_nothing_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=pixels(8, 4, 4), x_valid=pixels(2, 4, 4), x_test=pixels(3, 4, 4), y_dev=[1, 2])
    dataset = load(tmp_path / "a.npz")
    assert [len(split.images) for split in dataset.parts().values()] == [8, 2, 3]
    assert f"{tmp_path / 'a.npz'}: left out, being neither data nor labels: y_dev [2]" not in dataset.notes
    np.savez(tmp_path / "a.npz", x_train=pixels(8, 4, 4), x_test=pixels(3, 4, 4), y_dev=[1, 2], seed=3)
    note = f"{tmp_path / 'a.npz'}: left out, being neither data nor labels: seed [], y_dev [2]"
    assert note in load(tmp_path / "a.npz").notes
    np.savez(tmp_path / "a.npz", x_train=pixels(8, 4, 4), x_test=pixels(3, 4, 5))
    with refuses("expected examples of one shape, got [4, 4, 1] in train and [4, 5, 1] in test"):
        load(tmp_path / "a.npz")


# --- labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([-1, 0, 1]), ["expected labels from 0 on", "got -1 to 1"]),
        (np.array([0, 1, 2**31]), ["of 32 bits", f"to {2**31}"]),
        (np.array([0, 1, 2**63], np.uint64), ["of 32 bits"]),
        (np.eye(3, dtype=int), ["expected integer or string labels [N]", "int64 [3, 3]"]),
        (np.array([0.0, 1.0, 2.0]), ["got float64 [3]"]),
        (np.array([0, None, 1], object), ["got object [3]"]),
    ],
)
def test_labels_that_are_refused(labels, words):
    with refuses(*words, "train in a.npz"):
        class_numbers({"train": labels, "test": None}, "a.npz")


def test_labels_become_consecutive_numbers_with_names():
    numbers, names = class_numbers({"train": np.array([2, 5, 9]), "test": np.array([[5], [11]])}, "a.npz")
    assert (
        names == ("2", "5", "9", "11") and numbers["train"].tolist() == [0, 1, 2] and numbers["test"].tolist() == [1, 3]
    )
    for strings in (["b", "a"], [b"b", b"a"], np.array(["b", "a"], object)):
        numbers, names = class_numbers({"train": np.array(strings)}, "a.npz")
        assert names == ("a", "b") and numbers["train"].tolist() == [1, 0]
    numbers, names = class_numbers({"train": np.array([0, 2]), "test": np.array([1])}, "a.npz")
    assert names is None and numbers["train"].tolist() == [0, 2]  # consecutive as a whole
    with refuses("expected labels of one type, got strings and numbers"):
        class_numbers({"train": np.array(["a"]), "test": np.array([1])}, "a.npz")


def test_one_label_for_each_example(tmp_path):
    np.savez(tmp_path / "a.npz", x=pixels(20, 4, 4), y=np.zeros(19, int))
    with refuses("expected integer or string labels [20], one per example, got 19"):
        load(tmp_path / "a.npz")


# --- pictures


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".tga", ".pcx", ".webp", ".gif"])
def test_lossless_formats(tmp_path, suffix):
    image = pixels(8, 8)
    color = np.stack([image] * 3, 2)
    options = {"lossless": True} if suffix == ".webp" else {}
    for i in range(10):
        Image.fromarray(color if suffix == ".ppm" else image).save(tmp_path / f"{i}{suffix.upper()}", **options)
    dataset = load(tmp_path)
    np.testing.assert_array_equal(dataset.train.images, np.broadcast_to(image[..., None], dataset.train.images.shape))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".jfif", ".jpe", ".jp2", ".avif"])
def test_lossy_formats(tmp_path, suffix):
    if suffix not in image_suffixes():
        pytest.skip(f"this Pillow does not read {suffix}")
    image = np.broadcast_to(np.arange(0, 256, 8, dtype=np.uint8), (32, 32))
    Image.fromarray(image).save(tmp_path / f"a{suffix}", quality=95)
    assert np.abs(data.read_images(tmp_path)[0, ..., 0].astype(int) - image).max() < 12


def png_16(array):
    """Return a PNG of 16 bits per channel, which Pillow does not write in color."""
    height, width, channels = array.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", binascii.crc32(name + body))

    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_need_a_value_range(tmp_path, channels):
    array = np.random.default_rng(0).integers(0, 65536, (4, 5, channels), dtype=np.uint16)
    if channels in (2, 4):
        array[..., -1] = 65535  # opaque
    path = tmp_path / "deep.png"
    path.write_bytes(png_16(array))
    with refuses("expected 8 bits per channel, got more", "value_range=(0, 65535)", "deep.png"):
        data.read_images(path)
    read = data.read_images(path, reading=Reading(value_range=(0, 65535)))[0]
    colors = array[..., : 3 if channels > 2 else 1]
    assert read.shape[:2] == colors.shape[:2] and np.abs(read - colors / 257).max() <= 1  # in color the high byte


def test_a_value_range_maps_its_ends_to_black_and_white(tmp_path):
    Image.fromarray(np.array([[100, 4195], [2147, 100]], np.uint16)).save(tmp_path / "a.tif")
    read = data.read_images(tmp_path / "a.tif", reading=Reading(value_range=(100, 4195)))
    assert read[0, ..., 0].tolist() == [[0, 255], [127, 0]]
    with refuses("expected values in value_range (0, 4095), got 100 to 4195", "a.tif"):
        data.read_images(tmp_path / "a.tif", reading=Reading(value_range=(0, 4095)))
    save(tmp_path / "b.png", pixels(2, 2))
    with refuses("expected more than 8 bits per channel with a value_range", "b.png"):
        data.read_images(tmp_path / "b.png", reading=Reading(value_range=(0, 4095)))


def test_transparency_needs_a_background(tmp_path):
    icon = np.zeros((2, 2, 4), np.uint8)  # black ink on a transparent ground
    icon[0, 0] = (0, 0, 0, 255)
    path = save(tmp_path / "icon.png", icon)
    with refuses("expected an opaque picture, got transparency", "background='white'", "icon.png"):
        data.read_images(path)
    white = data.read_images(path, reading=Reading(background="white"))[0]
    assert white.shape == (2, 2, 3) and white[0, 0].tolist() == [0, 0, 0] and white[1, 1].tolist() == [255] * 3
    red = data.read_images(path, reading=Reading(background="#ff0000"))[0]
    assert red[1, 0].tolist() == [255, 0, 0]
    half = save(tmp_path / "half.png", np.array([[[200, 128]]], np.uint8))  # gray with alpha stays gray
    assert data.read_images(half, reading=Reading(background="white"))[0].tolist() == [[[227]]]
    opaque = np.concatenate([pixels(2, 2, 3), np.full((2, 2, 1), 255, np.uint8)], 2)
    np.testing.assert_array_equal(data.read_images(save(tmp_path / "o.png", opaque))[0], opaque[..., :3])


def bmp(colors, unused, bits=32, header=40, masks=(), up=True):
    """Return a BMP of 32 or 16 bits, whose unused bits are given; `masks` of red, green, blue and what is unused."""
    height, width = unused.shape
    if bits == 32:
        pixels = np.concatenate([colors[..., ::-1], unused[..., None]], 2)
    else:
        red, green, blue = (colors[..., i].astype(np.uint16) >> 3 for i in range(3))
        pixels = (red << 10 | green << 5 | blue | (unused.astype(np.uint16) >> 7) << 15).astype("<u2")
    rows = b"".join(row.tobytes() + b"\0" * (-row.nbytes % 4) for row in (pixels[::-1] if up else pixels))
    size = struct.pack("<iiHHII", width, height if up else -height, 1, bits, 3 if masks else 0, len(rows))
    info = struct.pack("<I", header) + size + bytes(16) + struct.pack(f"<{len(masks)}I", *masks)
    info = info.ljust(header, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(rows), 0, 0, 14 + len(info)) + info + rows


MASKS = (0xFF0000, 0xFF00, 0xFF)
BMP = {  # what Pillow makes of the fourth byte, or of the first bit of 16
    "32 bits, without masks": {},
    "from the top": {"up": False},
    "V3, unused": {"header": 56, "masks": (*MASKS, 0)},
    "three masks after the header": {"masks": MASKS},
    "V4, without masks": {"header": 108},
    "V4, declared": {"header": 108, "masks": (*MASKS, 0xFF000000)},
    "V5, declared": {"header": 124, "masks": (*MASKS, 0xFF000000)},
    "16 bits": {"bits": 16},
    "16 bits, V5, declared": {"bits": 16, "header": 124, "masks": (0x7C00, 0x3E0, 0x1F, 0x8000)},
}


@pytest.mark.parametrize("name", BMP)
def test_transparency_of_bmp_is_not_dropped(tmp_path, name):
    path, color = tmp_path / "a.bmp", np.full((5, 3, 3), 8, np.uint8)
    color[0, 0] = 248
    clear = np.full((5, 3), 255, np.uint8)
    clear[4] = 0  # the last row
    path.write_bytes(bmp(color, clear, **BMP[name]))
    with refuses("expected an opaque picture, got transparency", "a.bmp"):
        data.read_images(path)
    on_white = data.read_images(path, reading=Reading(background="white"))[0]
    assert (on_white[4] == 255).all() and (on_white[0, 0] >= 248).all() and (on_white[1:4] == 8).all()
    path.write_bytes(bmp(color, np.full((5, 3), 255, np.uint8), **BMP[name]))
    np.testing.assert_array_equal(data.read_images(path)[0, 1:], color[1:])
    if "declared" not in name or "16 bits" in name:  # where nothing says what they mean, 0 is no transparency
        path.write_bytes(bmp(color, np.zeros((5, 3), np.uint8), **BMP[name]))
        np.testing.assert_array_equal(data.read_images(path)[0, 1:], color[1:])
    path.write_bytes(path.read_bytes()[:-8])
    with refuses("a.bmp, which cannot be read"):
        data.read_images(path)


def test_what_pillow_itself_writes_as_transparent_bmp(tmp_path):
    icon = np.full((2, 2, 4), 9, np.uint8)
    Image.fromarray(icon).save(tmp_path / "a.bmp")
    with refuses("expected an opaque picture, got transparency", "a.bmp"):
        data.read_images(tmp_path / "a.bmp")


def test_framing():
    wide = Image.fromarray(np.repeat(np.array([[0, 60, 120, 180]], np.uint8), 2, 0))
    shrunk = [43, 137]  # weights 3/7, 3/7, 1/7 of the three nearest pixels
    expected = {"crop": [[60, 120], [60, 120]], "pad": [shrunk, [0, 0]], "stretch": [shrunk, shrunk]}
    for framing, values in expected.items():
        square = convert_picture(wide, (2, 2), reading=Reading(framing))[..., 0]
        np.testing.assert_array_equal(square, values)
    tall = pixels(3, 8, 4, 2)
    np.testing.assert_array_equal(data.resize(tall, 4, "crop"), tall[:, 2:6])
    padded = data.resize(tall, 8, "pad")
    np.testing.assert_array_equal(padded[:, :, 2:6], tall)
    assert not padded[:, :, [0, 1, 6, 7]].any()
    assert data.resize(tall, 4, "stretch").shape == (3, 4, 4, 2)


def test_damaged_files_are_skipped_and_named_or_stop_the_load(tmp_path):
    for i in range(20):
        save(tmp_path / f"{i:02d}.png", pixels(8, 8, seed=i))
    for i in (3, 5):
        (tmp_path / f"{i:02d}.png").write_bytes(b"damaged")
    dataset = load(tmp_path)
    assert len(dataset.train.images) + len(dataset.test.images) == 18
    assert dataset.notes[:2] == (
        f"{tmp_path}: 18 files read",
        f"2 damaged, skipped: {tmp_path / '03.png'}, {tmp_path / '05.png'}",
    )
    with refuses("expected an image, got", "03.png", "cannot be read"):
        load(tmp_path, reading=Reading(on_error="stop"))
    with refuses("05.png", "cannot be read"):
        data.read_images(tmp_path / "05.png")


def test_what_is_no_picture_is_counted_and_links_are_followed(tmp_path):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for i in range(10):
        save(elsewhere / f"{i}.png", pixels(8, 8, seed=i))
    photos.mkdir()
    (photos / "album").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(photos)
    (photos / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (photos / "notes.txt").write_text("")
    (photos / "readme").write_text("")
    (photos / ".hidden").write_text("")
    dataset = load(photos)
    assert len(dataset.train.images) == 9 and dataset.class_names == ("album",)
    assert dataset.notes[0].startswith(f"{photos}: 10 files read, left out: ")
    for words in ("1 broken links", "1 .txt", "1 without a suffix"):
        assert words in dataset.notes[0]
    with refuses("found only 1 .txt", error=FileNotFoundError):
        (tmp_path / "texts").mkdir()
        (tmp_path / "texts" / "a.txt").write_text("")
        load(tmp_path / "texts")


def test_files_outside_of_all_classes_take_the_labels_away_and_are_named(tmp_path):
    for i in range(10):
        save(tmp_path / "cat" / f"{i}.png", pixels(8, 8, seed=i))
    save(tmp_path / "lost.png", pixels(8, 8))
    dataset = load(tmp_path)
    assert dataset.train.labels is None and dataset.class_names is None
    assert f"no labels: 1 files are in no subfolder, such as {tmp_path / 'lost.png'}" in dataset.notes


# --- arrays


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (pixels(20, 3, 8, 9), ["channels first", "x.transpose(0, 2, 3, 1)"]),
        (pixels(20, 1, 8, 9), ["channels first"]),
        (pixels(20, 4, 64, 64), ["channels first"]),
        (pixels(20, 1, 800), ["channels first", "x.transpose(0, 2, 1)"]),
        (pixels(20, 2, 800), ["channels first"]),
        (pixels(20, 1, 8, 8, 8), ["channels first", "x.transpose(0, 2, 3, 4, 1)"]),
        (pixels(20, 24, 24, 24), ["expected images of 1 to 4 channels, got [20, 24, 24, 24]", "kind='voxels'"]),
        (pixels(20, 6, 16, 16), ["kind='images'", "'video'"]),
        (pixels(20, 100, 3), ["points", "kind='points'"]),
        (
            np.linspace(0, 1e-3, 320).reshape(20, 4, 4),
            ["use [0, 1], got values from 0 to 0.001", "value_range=(0, 0.001)"],
        ),
        (np.linspace(-3, 3, 320).reshape(20, 4, 4), ["expected floats in [0, 1]", "value_range=(-3, 3)"]),
        (np.arange(320).reshape(20, 4, 4) * 200, ["integers in 0..255", "value_range=(0, 65535)"]),
    ],
)
def test_arrays_that_would_be_trained_as_something_else(tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    with refuses(*words, "a.npy"):
        load(tmp_path / "a.npy")


def test_kinds(tmp_path):
    def kept(array, **reading):
        np.save(tmp_path / "a.npy", array)
        dataset = load(tmp_path / "a.npy", reading=Reading(**reading))
        return dataset.kind, dataset.train.images.shape[1:], dataset.train.images.dtype

    assert kept(pixels(20, 5, 6)) == ("images", (5, 6, 1), np.uint8)
    assert kept(pixels(20, 8, 8, 8) > 9) == ("voxels", (8, 8, 8, 1), np.uint8)
    assert kept(pixels(20, 8, 8, 8), kind="voxels") == ("voxels", (8, 8, 8, 1), np.uint8)
    assert kept(pixels(20, 8, 8, 8), kind="images") == ("images", (8, 8, 8), np.uint8)
    assert kept(pixels(20, 6, 8, 9), kind="video") == ("video", (6, 8, 9, 1), np.uint8)
    assert kept(pixels(20, 7) / 255) == ("table", (7,), np.float32)
    assert kept(pixels(20, 30, 3) / 255, kind="points") == ("points", (30, 3), np.float32)
    assert kept(pixels(20, 30) / 255, kind="audio") == ("audio", (30, 1), np.float32)
    with refuses("expected audio of 3 axes", "got [20, 5, 6, 5]"):
        kept(pixels(20, 5, 6, 5), kind="audio")


@pytest.mark.parametrize("dtype", [">f4", "<f8", np.float16, ">u1", ">i4", np.int64])
def test_byte_orders_and_precisions(tmp_path, dtype):
    levels = np.arange(256).reshape(1, 16, 16).repeat(10, 0)
    array = (levels / 255 if np.dtype(dtype).kind == "f" else levels).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(load(tmp_path / "a.npy").train.images[0, ..., 0], levels[0])


def test_standardized_tables_have_a_way_in(tmp_path):
    table = np.clip(np.random.default_rng(0).standard_normal((50, 6)), -3.9, 3.9)
    np.savez(tmp_path / "a.npz", x=table, y=np.repeat(["low", "high"], 25))
    dataset = load(tmp_path / "a.npz", reading=Reading(value_range=(-4, 4)))
    held_out = draw_held_out(50, 5, np.repeat([1, 0], 25))
    np.testing.assert_allclose(dataset.test.images, (table[held_out] + 4) / 8, atol=1e-7)
    assert dataset.class_names == ("high", "low") and np.bincount(dataset.train.labels).sum() == 45


def test_csv(tmp_path):
    rows = [f"{i / 100},{1 - i / 100},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "a.csv").write_text("\n".join(["width,height,kind", *rows]) + "\n")
    dataset = load(tmp_path / "a.csv")
    both = np.concatenate([dataset.train.images, dataset.test.images])
    np.testing.assert_allclose(np.sort(both[:, 0]), np.arange(40) / 100, atol=1e-7)
    np.testing.assert_allclose(both.sum(1), 1, atol=1e-6)
    assert dataset.class_names == ("a", "b") and dataset.kind == "table"
    assert (np.rint(dataset.train.images[:, 0] * 100).astype(int) % 2 == dataset.train.labels).all()
    (tmp_path / "b.csv").write_text("".join(f"{i / 100},{1 - i / 100}\n" for i in range(40)))
    assert load(tmp_path / "b.csv").train.labels is None and len(load(tmp_path / "b.csv").train.images) == 36
    (tmp_path / "c.csv").write_text("y,x\n" + "".join(f"{i % 3},{i / 100}\n" for i in range(40)))
    assert load(tmp_path / "c.csv").train.images.shape == (36, 1) and set(load(tmp_path / "c.csv").train.labels) == {
        0,
        1,
        2,
    }
    (tmp_path / "d.csv").write_text("a,b,c\n1,x,y\n" * 1 + "2,x,z\n" * 12)
    with refuses("expected numbers, and one column of words or named label class", "got b, c"):
        load(tmp_path / "d.csv")
    (tmp_path / "e.csv").write_text("1,2\n3\n")
    with refuses("rows of one length, got lengths 1, 2"):
        load(tmp_path / "e.csv")


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["train/images"], file["train/labels"] = pixels(12, 8, 8), np.arange(12) % 3
        file["test/images"], file["meta"] = pixels(4, 8, 8, seed=1), 1
        dataset = from_arrays(file["train/images"], file["train/labels"], test=file["test/images"])
    read = load(tmp_path / "a.h5")
    for each in (dataset, read):
        np.testing.assert_array_equal(each.train.images[..., 0], pixels(12, 8, 8))
        np.testing.assert_array_equal(each.test.images[..., 0], pixels(4, 8, 8, seed=1))
        assert each.train.labels.tolist() == (np.arange(12) % 3).tolist() and each.test.labels is None
    assert "left out" in " ".join(read.notes) and "meta" in " ".join(read.notes)


def test_sounds(tmp_path):
    wave = np.sin(np.linspace(0, 40, 800))
    for i in range(10):
        scaled = {
            0: np.int16(wave * 32767),
            1: np.float32(wave),
            2: np.uint8(128 + wave * 127),
            3: np.int32(wave * 2**30),
        }
        name = tmp_path / ("low" if i < 5 else "high") / f"{i}.wav"
        name.parent.mkdir(exist_ok=True)
        wavfile.write(name, 8000, scaled[i % 4] if i % 4 < 3 else np.int32(wave * (2**31 - 1)))
    dataset = load(tmp_path)
    assert dataset.kind == "audio" and dataset.train.images.shape == (9, 800, 1)
    assert dataset.class_names == ("high", "low") and dataset.train.images.dtype == np.float32
    np.testing.assert_allclose(dataset.train.images[..., 0], np.broadcast_to(0.5 + wave / 2, (9, 800)), atol=8e-3)
    wavfile.write(tmp_path / "low" / "x.wav", 16000, np.float32(wave))
    with refuses("samples per second, got 8000", "16000", "x.wav"):
        load(tmp_path)
    wavfile.write(tmp_path / "low" / "x.wav", 8000, np.float32(wave[:9]))
    with refuses("expected sounds of one length", "[9, 1]", "x.wav"):
        load(tmp_path)


def test_sound_of_another_sampling_rate_is_refused(tmp_path, capsys):
    """A tone of 400 Hz, once at 8,000 samples per second and once at 16,000, is other numbers."""

    def tone(path, rate, num):
        path.parent.mkdir(exist_ok=True)
        wavfile.write(path, rate, np.float32(0.5 * np.sin(2 * np.pi * 400 * np.arange(num) / rate)))
        return str(path)

    for i in range(20):
        tone(tmp_path / "tones" / f"{i:02}.wav", 8000, 64)
    sizes = {"latent_shape": (2,), "image_size": None, "num_steps": 2, "batch_size": 4, "hidden_dim": 4}
    options = sizes | {"network": "mlp", "num_validation": 0}
    run = tmp_path / "run"
    train(Config().replace(dataset=str(tmp_path / "tones"), **options), run, progress=False, pictures=False)
    assert json.loads((run / "config.json").read_text())["fingerprint"]["samples_per_second"] == 8000
    same, other = tone(tmp_path / "same.wav", 8000, 64), tone(tmp_path / "other" / "a.wav", 16000, 64)
    assert main(["encode", str(run), "--input", same]) == 0
    with np.load(run / "latents.npz") as arrays:
        z = arrays["latents"]
    assert main(["encode", str(run)]) == 0
    with np.load(run / "latents.npz") as arrays:
        np.testing.assert_allclose(
            arrays["latents"], np.repeat(z, 2, 0), rtol=1e-5
        )  # the test tones, which are the same
    words = "expected sound of 8000 samples per second, got 16000 in"
    for path in (other, str(tmp_path / "other")):
        capsys.readouterr()
        assert main(["encode", str(run), "--input", same, path]) == 1 and words in capsys.readouterr().err
    for i in range(1, 20):
        tone(tmp_path / "other" / f"{i}.wav", 16000, 64)
    assert main(["evaluate", str(run), "--dataset", str(tmp_path / "other")]) == 1 and words in capsys.readouterr().err
    fingerprints = [data.fingerprint(load(tmp_path / name)) for name in ("tones", "other")]
    assert "sound: 16000 samples per second in place of 8000" in data.describe_change(*fingerprints)
    np.save(tmp_path / "tones.npy", load(tmp_path / "tones").train.images)
    train(
        Config().replace(dataset=str(tmp_path / "tones.npy"), **options), tmp_path / "b", progress=False, pictures=False
    )
    assert main(["encode", str(tmp_path / "b"), "--input", other]) == 0  # nobody knows, and that is said
    assert "a.wav: 16000 samples per second, which are not known of the training data" in capsys.readouterr().err


class Tensor:
    """What NumPy makes an array of, as a tensor of PyTorch is."""

    dtype, shape = "torch.uint8", (20, 8, 8)

    def __array__(self, dtype=None, copy=None):
        return pixels(20, 8, 8)


@pytest.mark.parametrize("make", [Tensor, lambda: list(pixels(20, 8, 8)), lambda: pixels(20, 8, 8).tolist()])
def test_arrays_at_hand(make):
    dataset = from_arrays(make(), num_validation=2, test=jax.numpy.asarray(pixels(3, 8, 8, seed=1)))
    held_out = draw_held_out(20, 2, seed=1)
    np.testing.assert_array_equal(dataset.train.images[..., 0], pixels(20, 8, 8)[~held_out])
    np.testing.assert_array_equal(dataset.validation.images[..., 0], pixels(20, 8, 8)[held_out])
    np.testing.assert_array_equal(dataset.test.images[..., 0], pixels(3, 8, 8, seed=1))


def test_what_is_no_array_is_refused_by_fit_in_one_line():
    for value in (Tensor(), [1.0], "photos/"):
        with refuses(f"expected a NumPy or JAX array, got {type(value).__name__}", "numpy.asarray"):
            data.check_data(value)


# --- runs


TINY = {"image_size": 8, "latent_shape": (3,), "network": "mlp", "hidden_dim": 4, "num_steps": 4, "batch_size": 8}


@pytest.fixture
def photos(tmp_path):
    for i in range(45):
        save(tmp_path / "photos" / ("cat" if i < 20 else "dog") / f"{i:02d}.png", pixels(8, 8, 3, seed=i))
    return tmp_path / "photos"


@pytest.fixture
def run(photos, monkeypatch):
    """Train a tiny model by a relative path; return its folder."""
    monkeypatch.chdir(photos.parent)
    train(Config().replace(dataset="photos", **TINY), "run", progress=False, pictures=False)
    return photos.parent / "run"


def test_a_run_remembers_its_data(photos, run, monkeypatch, capsys):
    saved = json.loads((run / "config.json").read_text())
    assert saved["data"]["dataset"] == str(photos) and saved["fingerprint"]["class_names"] == ["cat", "dog"]
    assert [saved["fingerprint"][part]["num"] for part in ("train", "validation", "test")] == [37, 4, 4]
    monkeypatch.chdir("/")
    assert main(["evaluate", str(run)]) == 0  # from another folder
    capsys.readouterr()
    save(photos / "dog" / "new.png", pixels(8, 8, 3, seed=99))
    words = "train: 38 examples in place of 37"
    assert main(["evaluate", str(run)]) == 1 and words in capsys.readouterr().err
    assert main(["evaluate", str(run), "--dataset", str(photos)]) == 1 and words in capsys.readouterr().err
    monkeypatch.chdir(photos.parent)
    longer = Config().replace(dataset="photos", **TINY | {"num_steps": 8})
    with refuses("expected the data that run was trained on", words):
        train(longer, "run", resume=True, progress=False, pictures=False)
    (photos / "dog" / "new.png").unlink()
    assert main(["evaluate", str(run)]) == 0
    save(photos / "dog" / "30.png", pixels(8, 8, 3, seed=99))
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 1 and "other contents" in capsys.readouterr().err
    save(photos / "dog" / "30.png", pixels(8, 8, 3, seed=30))
    train(longer, "run", resume=True, progress=False, pictures=False)


def test_a_run_needs_its_data_only_where_it_does(photos, run, tmp_path, monkeypatch, capsys):
    import shutil

    shutil.move(photos, tmp_path / "gone")
    monkeypatch.chdir("/")
    picture = save(tmp_path / "a.png", pixels(12, 9, 3))
    assert main(["reconstruct", str(run), "--input", str(picture), "--output", str(tmp_path / "b.png")]) == 0
    assert (
        main(["interpolate", str(run), "--input", str(picture), str(picture), "--output", str(tmp_path / "c.png")]) == 0
    )
    assert main(["encode", str(run), "--input", str(tmp_path / "gone"), "--output", str(tmp_path / "z.npz")]) == 0
    with np.load(tmp_path / "z.npz") as arrays:
        assert len(arrays["latents"]) == 45 and arrays["names"][0] == str(tmp_path / "gone" / "cat" / "00.png")
    capsys.readouterr()
    assert main(["encode", str(run)]) == 1 and "photos, which does not exist" in capsys.readouterr().err
    for words in ([], [""]):
        assert main(["encode", str(run), "--input", *words]) in (1, 2)
        assert "expected at least one path" in capsys.readouterr().err


def test_encode_keeps_names_of_files_and_classes(photos, run):
    assert main(["encode", str(run)]) == 0
    with np.load(run / "latents.npz") as arrays:
        classes = arrays["class_names"][arrays["labels"]]
        assert [name.split("/")[0] for name in arrays["names"]] == classes.tolist() and len(classes) == 4


def test_a_run_of_an_older_version_does_not_guess_what_was_held_out(run, capsys):
    saved = json.loads((run / "config.json").read_text())
    del saved["fingerprint"], saved["crc32"]
    (run / "config.json").write_text(json.dumps(saved))
    assert main(["evaluate", str(run)]) == 1
    assert "a run of an older version, which held out other examples" in capsys.readouterr().err
    assert gon_jax.load_run(run).model.data_shape == (8, 8, 3)


def test_what_was_read_is_printed(photos, capsys):
    (photos / "notes.txt").write_text("")
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "latent_shape"]
    status = main(
        ["train", "--dataset", str(photos), "--run", str(photos.parent / "r"), "--latent-shape", "3", *options]
    )
    printed = capsys.readouterr().err
    assert status == 0
    assert f"{photos}: 45 files read, left out: 1 .txt" in printed
    assert "test: 4 of the examples, drawn, of each class its share" in printed


@pytest.mark.quick("4")
@pytest.mark.parametrize("channels", [2, 4, 6])
def test_any_number_of_channels_is_trained_drawn_and_encoded(tmp_path, channels):
    np.save(tmp_path / "a.npy", pixels(40, 8, 8, channels))
    kind = {"kind": "images"} if channels > 4 else {}
    config = Config().replace(dataset=str(tmp_path / "a.npy"), **TINY, **kind)
    train(config, tmp_path / "run", progress=False)
    assert {"reconstructions.png", "samples.png", "interpolation.png"} <= {p.name for p in (tmp_path / "run").iterdir()}
    for command in ("encode", "reconstruct"):
        assert main([command, str(tmp_path / "run"), "--input", str(tmp_path / "a.npy")]) == 0
    with np.load(tmp_path / "run" / "latents.npz") as arrays:
        assert arrays["latents"].shape == (40, 3)


def test_labels_of_a_classifier_are_checked_before_training_and_evaluation(tmp_path, capsys):
    images = pixels(60, 8, 8)
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(60) % 3)
    options = TINY | {"model": "classifier", "dataset": str(tmp_path / "a.npz")}
    with refuses("expected labels below num_classes=2, got 2"):
        train(Config().replace(**options, num_classes=2), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    train(Config().replace(**options, num_classes=3), tmp_path / "run", progress=False, pictures=False)
    np.savez(tmp_path / "b.npz", x=images, y=np.array(["x", "y", "z"])[np.arange(60) % 3])
    assert main(["evaluate", str(tmp_path / "run"), "--dataset", str(tmp_path / "b.npz")]) == 1
    assert "expected the classes that" in capsys.readouterr().err


def test_batch_statistics_are_those_of_mixed_batches():
    from gon_jax.decoders import conv_decoder
    from gon_jax.models import gon

    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    variables = model.init(jax.random.key(0))
    images = np.repeat(np.array([0, 255], np.uint8), 32)[:, None, None, None] * np.ones((8, 8, 1), np.uint8)
    images[:, :4] //= 2
    sorted_by_class = evaluate(model, variables, images, evaluation="batch", batch_size=32)["squared_error"]
    order = np.random.RandomState(0).permutation(64)
    means = [
        evaluate(model, variables, images[order][i : i + 32], evaluation="batch", batch_size=32)["squared_error"]
        for i in (0, 32)
    ]
    assert sorted_by_class == pytest.approx(np.mean(means), rel=1e-5)


def test_pictures_are_turned_and_read_from_bytes():
    buffer = io.BytesIO()
    Image.fromarray(pixels(4, 4)).save(buffer, "png")
    np.testing.assert_array_equal(np.asarray(open_picture(buffer.getvalue())), pixels(4, 4))


def test_the_tables_of_the_page_are_those_of_the_code():
    script = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "write_data_tables.py"))
    assert script["page"]() == script["PAGE"].read_text(), "run `python docs/write_data_tables.py`"


@pytest.mark.slow
def test_options_that_nobody_gave_suit_the_data(photos, capsys, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert main(["train", "--dataset", "photos", "--num-steps", "3", "--base-channels", "2", "--run", "r"]) == 0
    printed = capsys.readouterr().err
    assert "chosen for these data: --image-size 32 --latent-shape 1 --learning-rate 0.001 --schedule cosine" in printed
    options = gon_jax.load_run("r").config.options()
    assert options["base_channels"] == 2 and options["batch_size"] == 9 and options["num_steps"] == 3
    np.save("table.npy", np.random.default_rng(0).uniform(0, 1, (200, 6)))
    assert main(["train", "--dataset", "table.npy", "--num-steps", "3", "--run", "t"]) == 0
    assert gon_jax.load_run("t").config.network.name == "mlp"
    assert main(["train", "--dataset", "table.npy", "--num-steps", "3", "--run", "t", "--resume"]) == 0
    capsys.readouterr()
    assert main(["train", "--dataset", "table.npy", "--base-channels", "4", "--num-steps", "3", "--run", "u"]) == 1
    assert "expected images for network conv" in capsys.readouterr().err  # what was given is not taken back


def test_a_dry_run_leaves_nothing_and_minutes_become_steps(photos, capsys, monkeypatch):
    monkeypatch.chdir(photos.parent)
    tiny = ["--image-size", "8", "--latent-shape", "3", "--base-channels", "2", "--batch-size", "8"]
    assert main(["train", "--dataset", "photos", *tiny, "--minutes", "0.5", "--dry-run", "--run", "r"]) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-14:])
    assert printed["num_train"] == "37" and printed["data_shape"] == "[8, 8, 3]" and not (photos.parent / "r").exists()
    seconds = float(printed["seconds_start"]) + int(printed["num_steps"]) * float(printed["seconds_per_step"])
    assert abs(seconds - 30) < 1 and abs(float(printed["seconds"]) - 30) < 1
    assert main(["train", "--dataset", "photos", *tiny, "--minutes", "0.001", "--run", "r"]) == 1
    assert "expected minutes for at least one step" in capsys.readouterr().err
    for words in (["--minutes", "nan"], ["--minutes", "1", "--num-steps", "3"]):
        assert main(["train", "--dataset", "photos", *tiny, *words, "--run", "r"]) == 1
        assert capsys.readouterr().err.startswith("gon: expected")
    assert main(["train", "--dataset", "photos", *tiny, "--minutes", "1", "--resume", "--run", "r"]) == 1
    assert "a run keeps its number of steps" in capsys.readouterr().err


# --- data that are not read into memory


@pytest.mark.slow
def test_data_above_the_limit_stay_where_they_are_and_train_to_the_same(tmp_path, monkeypatch):
    pytest.importorskip("grain")
    monkeypatch.chdir(tmp_path)
    for i in range(60):
        image = pixels(9, 8, 3, seed=i) if i % 7 else pixels(8, 8, seed=i)
        save(tmp_path / "photos" / "ab"[i % 2] / f"{i:02d}.png", image)
    (tmp_path / "photos" / "a" / "broken.png").write_bytes(b"damaged")
    np.save("array.npy", pixels(60, 8, 8, 3))
    config = Config().replace(**TINY, validate_every=2)
    for name in ("photos", "array.npy"):
        losses = {}
        for memory in (None, 1e-6):
            run = f"{name}-{memory}"
            summary = train(config.replace(dataset=name, memory=memory), run, progress=False)
            rows = [json.loads(line) for line in (tmp_path / run / "metrics.jsonl").read_text().splitlines()]
            losses[memory] = [row["loss"] for row in rows] + [row["validation.squared_error"] for row in rows]
            losses[memory] += [summary["test.squared_error"], summary["pca.squared_error"]]
            dataset = gon_jax.load_run(run).dataset()
            assert isinstance(dataset.train.images, np.ndarray) == (memory is None)
            assert {"reconstructions.png", "report.html"} <= {path.name for path in (tmp_path / run).iterdir()}
            assert any("read as needed" in note for note in dataset.notes) == (memory is not None)
        np.testing.assert_allclose(losses[None], losses[1e-6], rtol=1e-6)
        sample = [gon_jax.load_run(f"{name}-{memory}").dataset().test.images[:3] for memory in (None, 1e-6)]
        np.testing.assert_array_equal(*sample)


@pytest.mark.slow
def test_the_benchmark_of_the_chosen_options_and_its_table(tmp_path, monkeypatch):
    monkeypatch.setattr(defaults.runs, "plan", lambda *_: {"seconds_start": 0.0, "seconds_per_step": 1.0})
    np.save(tmp_path / "small.npy", pixels(60, 8, 8))
    defaults.main([str(tmp_path / "small.npy"), "--minutes", "0.05", "--results", str(tmp_path)])
    result = json.loads((tmp_path / "defaults_small.json").read_text())
    assert result["num_steps"] == 3 and result["options"]["latent_shape"] == [2] and result["num_train"] == 49
    assert result["test.squared_error"] > 0 and {"commit", "hardware", "versions", "date"} <= set(result)
    assert "| 49 of 8x8x1 | 2 | 3 | " in defaults.table({"a": result})
    text = defaults.PAGE.read_text()
    assert defaults.page_with(text) == text, "run `python -m benchmarks.defaults --table`"


# --- what a hostile review found


def test_another_byte_order_is_refused_where_it_would_be_read_as_other_numbers():
    from gon_jax.data.sources import View
    from gon_jax.decoders import conv_decoder
    from gon_jax.models import gon

    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    variables, images = model.init(jax.random.key(0)), np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    with refuses("expected this machine's byte order, got >f4"):
        evaluate(model, variables, images.astype(">f4"))
    expected = evaluate(model, variables, images)
    assert evaluate(model, variables, View(images.astype(">f4"))) == pytest.approx(expected)


@pytest.mark.parametrize("spelling", ["photos", "./photos/", "photos/../photos", "link"])
def test_changed_data_are_refused_under_any_spelling_of_their_path(photos, run, spelling, capsys):
    (photos.parent / "link").symlink_to(photos)
    assert main(["evaluate", str(run), "--dataset", spelling]) == 0
    save(photos / "cat" / "new.png", pixels(8, 8, 3, seed=99))
    assert main(["evaluate", str(run), "--dataset", spelling]) == 1
    assert "train: 38 examples in place of 37" in capsys.readouterr().err


@pytest.mark.slow
def test_files_have_one_fingerprint_in_memory_and_out_of_it_and_any_of_them_counts(photos, monkeypatch):
    pytest.importorskip("grain")
    monkeypatch.chdir(photos.parent)
    load_as = [load("photos", image_size=8, reading=Reading(memory_limit=limit)) for limit in (None, 1)]
    first, second = map(data.fingerprint, load_as)
    assert first == second
    config = Config().replace(dataset="photos", **TINY, memory=1e-9)
    train(config, "run", progress=False, pictures=False)
    longer = config.replace(num_steps=8, memory=None)
    (photos.parent / "photos").rename(photos.parent / "moved")
    train(longer.replace(dataset="moved"), "run", resume=True, progress=False, pictures=False)
    for path in sorted((photos.parent / "moved").rglob("*.png")):
        contents = path.read_bytes()
        save(path, pixels(8, 8, 3, seed=123))
        with refuses("other contents"):
            gon_jax.load_run("run").dataset()
        path.write_bytes(contents)
    gon_jax.load_run("run").dataset()


@pytest.mark.parametrize("cell", ["n.a.", "1_0", "12 cm", "--"])
def test_a_bad_cell_among_numbers_is_refused(tmp_path, cell):
    """It made a label of its column, of as many classes as there are numbers."""
    rows = [f"{i / 40},{1 - i / 40}" for i in range(40)]
    rows[16] = f"0.5,{cell}"
    (tmp_path / "a.csv").write_text("\n".join(["width,height", *rows]) + "\n")
    with refuses("expected numbers or words in height", f"got '{cell}' among numbers, in row 17 of 40: mend it"):
        load(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("\n".join(["width,label", *rows]) + "\n")
    assert len(set(load(tmp_path / "b.csv").class_names)) == 40


def test_headers_and_missing_cells_of_csv(tmp_path):
    def read(text):
        (tmp_path / "a.csv").write_text(text)
        dataset = load(tmp_path / "a.csv")
        return len(dataset.train.images) + len(dataset.test.images), dataset.class_names

    rows = "".join(f"0.{i:02d},0.5,{'cat' if i % 2 else 'dog'}\n" for i in range(20))
    assert read("0,1,label\n" + rows) == read("0,1,animal\n" + rows) == read("a,b,c\n" + rows) == (20, ("cat", "dog"))
    assert read(rows) == (20, ("cat", "dog")) and read(rows.replace(",cat", ", cat ")) == (20, ("cat", "dog"))
    assert read(rows.replace(",", ";")) == read(rows.replace(",", "\t")) == (20, ("cat", "dog"))
    for text, words in {
        ",0.5,cat\n" + rows: ["expected finite values, got 1 NaN", "first in number 0"],
        "x,y\n" + "".join(f"0.{i},0.{i}5\n" for i in range(20)): ["words or whole numbers as labels, got fractions"],
        rows + "0.1,0.2,\n": ["expected a label in each row, got none in row 21"],
        "a,b\n": ["expected rows of numbers, got the names a, b alone"],
        "a b\n1 2\n3 4\n": ["expected columns of numbers", "is the separator a comma?"],
    }.items():
        with refuses(*words):
            read(text)


class Table:
    """What is used of a Hugging Face dataset."""

    def __init__(self, features=None, **columns):
        self.columns, self.column_names, self.features = columns, list(columns), features or {}

    def __getitem__(self, name):
        return self.columns[name]


def test_a_table_with_named_columns_and_all_its_parts():
    pictures = [Image.fromarray(pixels(8, 8, 3, seed=i)) for i in range(20)]
    label = type("ClassLabel", (), {"names": ["zebra", "ape"]})()
    train = Table({"label": label}, img=pictures, label=[0, 1] * 10, fine=[7] * 20)
    test = Table({"label": label}, img=pictures[:4], label=[1, 1, 0, 1], fine=[7] * 4)
    dataset = from_arrays({"train": train, "test": test}, name="hub")
    assert dataset.class_names == ("ape", "zebra") and dataset.test.labels.tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(dataset.train.images[3], pixels(8, 8, 3, seed=3))
    alone = from_arrays(Table(image=pictures))
    assert len(alone.train.images) == 18 and alone.train.labels is None
    with refuses("expected parts named train, validation and test", "got extra"):
        from_arrays({"extra": train})
    with refuses("expected the key images or x", "got the keys text, label"):
        from_arrays(Table(text=["a"], label=[0]))


def test_moving_pictures_dark_numbers_and_names_are_said(tmp_path):
    """What is read of them is not all that is there, or is probably not what is meant."""
    frames = [Image.fromarray(pixels(8, 8, seed=i)) for i in range(3)]
    (tmp_path / "photos" / "__MACOSX").mkdir(parents=True)
    frames[0].save(tmp_path / "photos" / "0.gif", save_all=True, append_images=frames[1:])
    for i in range(1, 12):
        frames[i % 3].save(tmp_path / "photos" / f"{i}.png")
    frames[0].save(tmp_path / "photos" / "__MACOSX" / "0.png")
    with open(os.fsencode(tmp_path / "photos") + b"/\xe9.png", "wb") as file:
        frames[0].save(file, "PNG")
    dataset = load(tmp_path / "photos", image_size=8)
    assert any("1 of several frames, of which the first is read, such as" in note for note in dataset.notes)
    names = [str(name) for part in dataset.parts().values() for name in part.names]
    assert len(names) == 13 and "\ufffd.png" in names and not any("MACOSX" in name for name in names)
    print(*names)  # as UTF-8

    dark = np.tile(np.arange(17, dtype=np.int64), 64 * 2).reshape(-1, 8, 8)[:20]
    notes = " ".join(from_arrays(dark).notes)
    assert (
        "whole numbers only up to 16 of 255, almost black: where that is white, say so by value_range (0, 16)" in notes
    )
    scaled = from_arrays(dark, reading=Reading(value_range=(0, 16)))
    assert scaled.train.images.max() == 255 and "almost black" not in " ".join(scaled.notes)


def test_sound_that_would_be_cut_off_is_refused(tmp_path):
    for i, scale in enumerate((1, 8000, np.nan)):
        wavfile.write(tmp_path / f"{i}.wav", 8000, (np.linspace(-1, 1, 64) * scale).astype(np.float32))
    assert data.read_images(tmp_path / "0.wav", (64, 1)).shape == (1, 64, 1)
    for i, got in ((1, "got -8000 to 8000"), (2, "got nan to nan")):
        with refuses("expected float samples from -1 to 1", f"{i}.wav", got):
            data.read_images(tmp_path / f"{i}.wav", (64, 1))


def test_pictures_at_hand_follow_the_rules_of_files():
    palette = [Image.fromarray(pixels(8, 8, 3, seed=i)).quantize(8) for i in range(20)]
    dataset = from_arrays(palette)
    held_out = draw_held_out(20, 2)
    expected = np.stack([np.asarray(picture.convert("RGB")) for picture in palette])
    np.testing.assert_array_equal(dataset.test.images, expected[held_out])
    clear = [Image.fromarray(np.full((8, 8, 4), 9, np.uint8))] * 20
    with refuses("expected an opaque picture, got transparency", "(in number 0)"):
        from_arrays(clear)
    assert from_arrays(clear, reading=Reading(background="white")).train.images.shape == (18, 8, 8, 3)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (Reading(value_range=(1, 0)), "expected value_range of a finite lower and higher value, got (1, 0)"),
        (Reading(value_range=(0, float("inf"))), "expected value_range of a finite"),
        (Reading(kind="foo"), "expected kind one of table, points, audio, images, voxels, video, None, got 'foo'"),
        (Reading(background="notacolor"), "expected a background color"),
        (Reading(on_error="ignore"), "expected on_error one of skip, stop"),
    ],
)
def test_choices_are_checked(reading, words):
    with refuses(words):
        from_arrays(pixels(20, 8, 8), reading=reading)
    with refuses("expected numbers for a value_range, got booleans"):
        from_arrays(pixels(20, 8, 8) > 9, reading=Reading(value_range=(0, 255)))


def test_sixteen_bits_in_ppm_and_transparency_in_deep_gray(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), dtype=np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6 5 4 65535\n" + array.astype(">u2").tobytes())
    with refuses("expected 8 bits per channel, got more", "a.ppm"):
        data.read_images(tmp_path / "a.ppm")


def test_parts_that_are_there_are_used_or_refused(tmp_path):
    for i in range(20):
        save(tmp_path / "photos" / "train" / f"{i}.png", pixels(8, 8, seed=i))
    (tmp_path / "photos" / "test").mkdir()
    with refuses("expected files in the parts of", "got none in test"):
        load(tmp_path / "photos")
    (tmp_path / "photos" / "test" / "a.png").write_bytes(b"damaged")
    with refuses("expected files that can be read in each part", "none for test"):
        load(tmp_path / "photos")
    save(tmp_path / "photos" / "test" / "a.png", pixels(8, 8, seed=3))
    assert any("1 files have the contents of others" in note for note in load(tmp_path / "photos").notes)
    np.savez(tmp_path / "a.npz", test_images=pixels(20, 8, 8))
    with refuses("or x_train with x_val or x_test, got the keys test_images"):
        load(tmp_path / "a.npz")
    with refuses("expected test data, got None with labels"):
        from_arrays(pixels(20, 8, 8), test_labels=[1])
    with refuses("expected train data, got None"):
        from_arrays(None)
    with refuses("expected arrays, got the path photos/", "gon_jax.data.load"):
        from_arrays("photos/")
    with refuses("expected num_held_out from 0 to 10, got 20"):
        draw_held_out(10, 20)
    with refuses("expected the name or the path of a dataset, got an empty one"):
        load("")


def test_a_classifier_refuses_labels_of_any_part_before_training(tmp_path):
    for part, names in {"train": ["cat", "dog"], "test": ["fox"]}.items():
        for name in names:
            for i in range(20):
                save(tmp_path / "photos" / part / name / f"{i}.png", pixels(8, 8, seed=i))
    config = Config().replace(dataset=str(tmp_path / "photos"), **TINY, model="classifier", num_classes=2)
    with refuses("expected labels below num_classes=2, got 2; take --num-classes 3"):
        train(config, tmp_path / "run", progress=False, pictures=False)
    assert not (tmp_path / "run").exists()


def test_small_data_do_not_save_more_often_than_200_times(photos, monkeypatch):
    """An epoch of one step; here 10 stand for the 200."""
    assert trainer.MAX_SAVES == 200
    monkeypatch.setattr(trainer, "MAX_SAVES", 10)
    config = Config().replace(dataset=str(photos), **TINY | {"num_steps": 100, "batch_size": 37})
    train(config, photos.parent / "run", progress=False, pictures=False)
    rows = (photos.parent / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum("validation.squared_error" in row for row in rows) == 10


def test_labels_of_hdf5_are_strings(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["images"], file["labels"], file["about"] = pixels(20, 8, 8), ["b", "a"] * 10, "words"
        file["nothing"] = h5py.Empty("f4")
    dataset = load(tmp_path / "a.h5")
    assert dataset.class_names == ("a", "b") and "about []" in " ".join(dataset.notes)
