"""Grids, subsets that integrate without bias, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.coordinates import check_coordinates, grid, morton_order, stratified_subset


def test_grid_is_inclusive_and_in_row_column_order():
    points = grid(3, 5, 2)
    assert points.shape == (3, 5, 2, 3) and points.dtype == jnp.float32
    np.testing.assert_array_equal(points[2, 1, 0], [1.0, -0.5, -1.0])
    np.testing.assert_array_equal(grid(5)[:, 0], np.linspace(-1, 1, 5))
    for sizes in ((), (0, 3), (2.0,)):
        for function in (grid, morton_order):
            with pytest.raises(ValueError, match="got"):
                function(*sizes)


# -- subsets -------------------------------------------------------------------------------------------------------


def draws(num_total, num_points, num=20_000):
    keys = jax.random.split(jax.random.key(0), num)
    return np.asarray(jax.jit(jax.vmap(lambda key: stratified_subset(key, num_total, num_points)))(keys))


@pytest.mark.parametrize("num_total, num_points", [(12, 4), (10, 7), (7, 7), (9, 1), (64, 10)])
def test_each_stratum_gives_one_point_and_each_point_comes_equally_often(num_total, num_points):
    index = draws(num_total, num_points)
    edges = np.arange(num_points + 1) * num_total / num_points
    assert (index >= np.floor(edges[:-1])).all() and (index < edges[1:]).all()  # point j is the unit [j, j + 1)
    counts = np.bincount(index.ravel(), minlength=num_total)
    expected = len(index) * num_points / num_total
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
    assert (np.diff(index, axis=1) >= 0).all()


def test_all_points_are_all_points():
    np.testing.assert_array_equal(draws(6, 6, num=3), [np.arange(6)] * 3)


def test_large_numbers_do_not_overflow():
    index = np.asarray(stratified_subset(jax.random.key(0), 2**30, 50_000), np.int64)
    assert np.abs(index * 50_000 / 2**30 - np.arange(50_000) - 0.5).max() < 0.501
    assert index.max() < 2**30


def smooth(*sizes):
    """A smooth function on a grid, flattened."""
    points = grid(*sizes)
    return np.asarray(jnp.exp(-2 * jnp.square(points - 0.3).sum(axis=-1))).reshape(-1)


def deviation(values, index):
    """Return the standard deviation of the weighted sums, after a test that their mean is the sum of all values."""
    sums = values[index].sum(axis=1) * len(values) / index.shape[1]
    assert abs(sums.mean() - values.sum()) < 5 * sums.std() / np.sqrt(len(sums))
    return sums.std()


@pytest.mark.parametrize(
    "sizes, num_points, gain", [((32, 32), 64, 0.5), ((28, 28), 100, 0.9), ((10, 10, 10), 100, 0.8)], ids=str
)
def test_sums_are_unbiased_and_strata_reduce_their_variance(sizes, num_points, gain):
    """By a half in the flattened order, where strata are pieces of rows; in Morton's, most where cells are squares."""
    values = smooth(*sizes)
    index = draws(len(values), num_points, num=1000)
    independent = deviation(values, np.random.default_rng(0).integers(len(values), size=index.shape))
    rows, cells = deviation(values, index), deviation(values, np.asarray(morton_order(*sizes))[index])
    assert rows < 0.8 * independent and cells < gain * rows, (independent, rows, cells)


def test_the_key_decides_under_jit():
    subset = jax.jit(lambda key: stratified_subset(key, 100, 10))
    first, second = (subset(jax.random.key(seed)) for seed in (0, 1))
    np.testing.assert_array_equal(first, stratified_subset(jax.random.key(0), 100, 10))
    assert (first != second).any() and first.dtype == jnp.int32


@pytest.mark.parametrize("num_points", [0, 11])
def test_a_subset_has_from_one_to_all_points(num_points):
    with pytest.raises(ValueError, match=f"from 1 to 10.*got {num_points}"):
        stratified_subset(jax.random.key(0), 10, num_points)


@pytest.mark.parametrize("sizes", [(7,), (5, 3), (3, 8, 2)], ids=str)
def test_morton_order_is_that_of_interleaved_bits(sizes):
    def interleaved(place):
        return sum(
            (i >> bit & 1) << (bit * len(sizes) + len(sizes) - 1 - a) for a, i in enumerate(place) for bit in range(4)
        )

    places = list(np.ndindex(*sizes))
    expected = sorted(range(len(places)), key=lambda flat: interleaved(places[flat]))
    np.testing.assert_array_equal(morton_order(*sizes), expected)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "coordinates, words",
    [
        (grid(4), "2 dimensions"),
        (grid(2, 2, 2), r"\[\*spatial, 2\]"),
        (jnp.zeros((4, 2), int), "int32"),
        (jnp.zeros(2), r"\[N, 1\]"),
        (jnp.zeros((0, 2)), r"\(0, 2\)"),
    ],
)
def test_coordinates_that_do_not_fit_are_refused(coordinates, words):
    with pytest.raises(ValueError, match=words) as caught:
        check_coordinates(coordinates, 2)
    assert "\n" not in str(caught.value) and "got" in str(caught.value)


def test_coordinates_that_fit():
    check_coordinates(grid(4))
    check_coordinates(np.zeros((3, 4, 2), np.float64), 2)
    jax.jit(lambda points: check_coordinates(points, 2))(grid(3, 3))
