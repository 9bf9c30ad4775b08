"""Data of any shape, type and layout: kept exactly, or refused in one line; and draws that hold for any labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gon_jax.data.arrays import KINDS, Reading, check_data, resize
from gon_jax.data.conversion import convert_data
from gon_jax.data.fingerprint import describe_change, fingerprint
from gon_jax.data.splits import Dataset, Split, class_numbers, draw_held_out

quick = settings(max_examples=150, deadline=None, derandomize=True)  # the same in every run
SIDES = st.integers(1, 7)
SHAPES = st.lists(SIDES, min_size=0, max_size=5).map(lambda rest: (3, *rest))
DTYPES = ["u1", ">u2", "i4", "<i8", "f2", "<f4", ">f8", "?", "c8", "U3"]


def exactly(array, value_range):
    """Return what an array's values must become as floats in [0, 1], by one formula in float64."""
    values = array.astype(np.float64)
    if value_range is not None:
        return (values - value_range[0]) / (value_range[1] - value_range[0])
    return values if array.dtype.kind in "fb" else values / 255


@quick
@given(data=st.data())
def test_an_array_is_kept_exactly_or_refused_in_one_line(data):
    dtype = np.dtype(data.draw(st.sampled_from(DTYPES)))
    shape = data.draw(SHAPES)
    high = {"u": 255, "i": 255, "f": data.draw(st.sampled_from([1.0, 1.0, 300.0]))}.get(dtype.kind)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    array = (
        (rng.uniform(0, 1, shape) * (high or 1)).astype(dtype)
        if dtype.kind in "uif"
        else rng.uniform(0, 1, shape) > 0.5
    )
    array = array.astype(dtype)
    value_range = data.draw(st.sampled_from([None, None, (0, 255), (-1, 300.0)]))
    kind = data.draw(st.sampled_from([None, None, *KINDS]))
    try:
        kept, found, _ = convert_data(array, "a.npy", Reading(value_range=value_range, kind=kind))
    except ValueError as error:
        assert "\n" not in str(error) and str(error).startswith("expected ") and str(error).endswith("(in a.npy)")
        return
    assert kept.ndim == KINDS[found] and (kind is None or found == kind) and kept.dtype in (np.uint8, np.float32)
    assert kept.size == array.size and check_data(kept, kept.shape[1:]) is kept
    unit = kept.reshape(array.shape) / np.float64(255 if kept.dtype == np.uint8 else 1)
    half = 0.5 / 255 + 1e-6 if kept.dtype == np.uint8 else 1e-6
    np.testing.assert_allclose(unit, exactly(array, value_range).clip(0, 1), rtol=0, atol=half)


@quick
@given(shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4)), size=SIDES)
def test_any_image_is_framed_and_resized(shape, size):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for framing in ("crop", "pad", "stretch"):
        resized = resize(images, size, framing)
        assert resized.shape == (shape[0], size, size, shape[3]) and resized.dtype == np.uint8
        if shape[1] == shape[2]:
            np.testing.assert_array_equal(resized, resize(images, size))
    constant = np.full(shape, 77, np.uint8)
    assert (resize(constant, size, "crop") == 77).all() and (resize(constant, size, "stretch") == 77).all()


@quick
@given(
    labels=hnp.arrays(np.int32, st.integers(2, 60), elements=st.integers(0, 6)), seed=st.integers(0, 5), data=st.data()
)
def test_every_class_is_held_out_by_its_share(labels, seed, data):
    num_held_out = data.draw(st.integers(0, len(labels)))
    held_out = draw_held_out(len(labels), num_held_out, labels, seed)
    assert held_out.sum() == num_held_out
    last, following = [], []  # places of the last example of a class that is held out, and of the first that is not
    for label in np.unique(labels):
        of = labels == label
        last.append((held_out[of].sum() - 0.5) / of.sum())
        following.append((held_out[of].sum() + 0.5) / of.sum())
    assert max(last) <= min(following)
    if num_held_out <= len(labels) / 4:  # no class is held out as a whole
        assert all((~held_out[labels == label]).any() for label in np.unique(labels))


@quick
@given(
    labels=hnp.arrays(st.sampled_from(["<i8", ">i4", "u1", "f8", "?", "U2", "S2"]), st.integers(1, 20), elements=None)
)
def test_labels_are_numbered_in_order_or_refused(labels):
    try:
        numbers, names = class_numbers({"": labels}, "a.npz")
    except (ValueError, UnicodeDecodeError) as error:
        assert isinstance(error, ValueError) and "\n" not in str(error)
        return
    numbers = numbers[""]
    known = np.unique(labels)
    assert numbers.dtype == np.int32 and set(numbers) == set(range(len(known)))
    for number, value in zip(numbers, labels, strict=True):
        assert value == known[number]
    assert names is None or len(names) == len(known)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("change", ["images", "labels", "names", "order", "fewer"])
def test_any_change_of_the_data_changes_their_fingerprint(part, change):
    def made():
        rng = np.random.default_rng(0)
        names = np.array([f"{i}.png" for i in range(6)])
        return {
            name: Split(rng.integers(0, 256, (6, 4, 4, 1), np.uint8), np.arange(6, dtype=np.int32) % 3, names)
            for name in ("train", "validation", "test")
        }

    def dataset(parts):
        return Dataset("a", parts["train"], parts["validation"], parts["test"])

    before, parts = fingerprint(dataset(made())), made()
    assert describe_change(before, fingerprint(dataset(made()))) is None
    images, labels, names, _ = parts[part]
    if change == "images":
        images = images.copy()
        images[5, 3, 3, 0] ^= 1
    elif change == "labels":
        labels = labels[::-1].copy()
    elif change == "names":
        names = np.char.add(names, "x")
    elif change == "order":
        images = images[::-1]
    else:
        images, labels, names = images[1:], labels[1:], names[1:]
    words = describe_change(before, fingerprint(dataset(parts | {part: Split(images, labels, names)})))
    assert words is not None and words.startswith(f"{part}: ")
