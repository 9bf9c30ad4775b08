"""Statistics of latents against moments, simulations and constructions whose answer is known."""

import warnings

import numpy as np
import pytest
from scipy import stats

from gon_jax.latents import statistics as ls

RNG = np.random.default_rng(0)


def classes(num, spread=0.3, size=4):
    """Latents of three labels around three corners."""
    y = RNG.integers(0, 3, num)
    return np.eye(size)[y] + spread * RNG.normal(size=(num, size)), y


def test_moments_of_known_distributions():
    """Uniform: 0 and -1.2; exponential: 2 and 6; two points, at 1/4 and 3/4: -1.1547 and -0.6667. At any scale."""
    levels = (np.arange(20_000) + 0.5) / 20_000
    columns = [levels, stats.expon.ppf(levels), np.where(levels < 0.25, 0, 1)]
    z = np.stack(columns, 1) * [1e-6, 1e3, 1] + [1e-6, -1e4, 0]
    y = ls.standardize(z)
    for given in (z, y):
        skewness, kurtosis = ls.moments(given)
        np.testing.assert_allclose(skewness, [0, 2, -2 / 3**0.5], atol=0.02)
        np.testing.assert_allclose(kurtosis, [-1.2, 6, -2 / 3], atol=0.25)
    np.testing.assert_allclose(ls.moments(z), (stats.skew(z), stats.kurtosis(z)), atol=1e-9)
    result = ls.normality(z)
    assert result["mean_abs_skewness"] == pytest.approx(np.abs(skewness).mean()) and result["rejected"] == 1
    assert result["mean_abs_excess_kurtosis"] == pytest.approx(np.abs(kurtosis).mean())


def test_normal_latents_are_rejected_as_often_as_they_should_be():
    z = RNG.normal(size=(300, 2000)) * np.logspace(-3, 3, 2000) + 5e-3
    assert abs(ls.normality(z)["rejected"] - 0.05) < 0.02


@pytest.mark.parametrize(("n", "k"), [(30, 1), (30, 3), (60, 12)])
def test_multivariate_moments_are_1_on_average_for_normal_latents(n, k):
    mixing = RNG.normal(size=(k, k)) * 10.0 ** np.arange(k)[:, None].clip(max=3)
    results = [ls.normality(RNG.normal(size=(n, k)) @ mixing + 3) for _ in range(400)]
    for name, tolerance in (("multivariate_skewness", 0.25 / k**0.5), ("multivariate_kurtosis", 0.03)):
        assert abs(np.mean([result[name] for result in results]) - 1) < tolerance


def test_multivariate_moments_by_definition():
    z = RNG.exponential(size=(40, 3))
    centered = z - z.mean(0)
    products = centered @ np.linalg.inv(centered.T @ centered / 40) @ centered.T
    result = ls.normality(z)
    expected_skewness = 3 * 5 * (41 * 4 - 6) / (41 * 43)
    np.testing.assert_allclose(result["multivariate_skewness"], (products**3).mean() / expected_skewness, rtol=1e-9)
    kurtosis = (np.diag(products) ** 2).mean()
    np.testing.assert_allclose(result["multivariate_kurtosis"], kurtosis / (15 * 39 / 41), rtol=1e-9)


def test_normal_marginals_that_are_not_normal_together():
    """z_2 = +-z_1 is normal, and the pair is not."""
    z = RNG.normal(size=2000)
    pair = np.stack([z, z * RNG.choice([-1, 1], 2000)], 1)
    result = ls.normality(pair)
    assert (stats.normaltest(pair).pvalue > 1e-3).all() and result["multivariate_kurtosis"] > 1.3


def test_dimensions_that_do_not_vary_are_left_out():
    z = RNG.normal(size=(100, 2, 2)).astype("f4")
    z[:, 0, 1] = 0.1
    others = z.reshape(100, 4)[:, [0, 2, 3]]
    assert ls.normality(z) == pytest.approx(ls.normality(others))
    y = ls.standardize(z)
    np.testing.assert_allclose(y, (others - others.mean(0)) / others.std(0), atol=1e-5)
    np.testing.assert_allclose([y.mean(0), y.std(0)], [[0] * 3, [1] * 3], atol=1e-12)
    np.testing.assert_allclose(ls.qq(z)[1], ls.qq(others)[1], atol=1e-12)
    assert np.isnan(ls.normality(RNG.normal(size=(20, 20)))["multivariate_skewness"])


def test_many_latents_are_paired_in_part(monkeypatch):
    z = RNG.normal(size=(90, 3))
    monkeypatch.setattr(ls, "_MAX_PAIRED", 30)
    part = z[np.linspace(0, 89, 30).astype(int)]
    result, of_part = ls.normality(z), ls.normality(part)
    assert result["multivariate_skewness"] == pytest.approx(of_part["multivariate_skewness"])
    assert result["mean_abs_skewness"] == pytest.approx(np.abs(stats.skew(z)).mean())


def test_quantiles():
    z = RNG.normal(size=(5000, 2)) * [1e-4, 7] + 2
    theoretical, sample = ls.qq(z)
    assert theoretical.shape == (200,) and sample.shape == (200, 2)
    np.testing.assert_allclose(sample[5:-5], np.tile(theoretical[5:-5, None], 2), atol=0.12)
    np.testing.assert_allclose(stats.norm.cdf(theoretical), (np.arange(200) + 0.5) / 200)
    few = z[:9]
    np.testing.assert_allclose(ls.qq(few)[1], np.sort((few - few.mean(0)) / few.std(0), axis=0), atol=1e-12)


def test_spectra_of_known_matrices():
    q, _ = np.linalg.qr(RNG.normal(size=(40, 3)))
    r, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    matrix = q @ np.diag([5.0, 2.0, 0.5]) @ r
    np.testing.assert_allclose(ls.jacobian_spectrum(matrix), [5, 2, 0.5])
    np.testing.assert_allclose(ls.jacobian_spectrum(type("Encoder", (), {"matrix": matrix})), [5, 2, 0.5])
    z = RNG.normal(size=(50, 3)) @ np.diag([5.0, 2.0, 0.5]) + 1
    variances = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    np.testing.assert_allclose(ls.latent_spectrum(z.reshape(50, 3, 1)) ** 2, variances)
    assert ls.participation_ratio(ls.latent_spectrum(z)) == pytest.approx(variances.sum() ** 2 / (variances**2).sum())


def test_ranks():
    assert ls.effective_rank(np.ones(7) * 1e-200) == pytest.approx(7) == ls.participation_ratio(np.ones(7) * 1e-200)
    p = np.array([0.5, 0.25, 0.25])  # entropy 1.5 bits
    assert ls.effective_rank(8 * p) == pytest.approx(2**1.5)
    assert ls.participation_ratio([2, 1]) == pytest.approx(25 / 17)
    for function in (ls.effective_rank, ls.participation_ratio):
        assert function([3, 0, 0]) == 1 and function([0, 0]) == 0
        for bad in ([1, -1], [np.nan], [], [[1]]):
            with pytest.raises(ValueError, match="expected finite singular values"):
                function(bad)


@pytest.mark.parametrize("accuracy", [ls.linear_probe, ls.knn_accuracy])
def test_accuracies(accuracy, monkeypatch):
    (z, y), (z_test, y_test) = classes(600), classes(300)
    z[:, 3] = 1  # a dimension that does not vary
    sigma, half = 0.3, 2**0.5 / 2  # Bayes: nearer corner of three, at least 1 - 2 Phi(-half / sigma)
    score = accuracy(z, y, z_test, y_test)
    assert 1 - 2 * stats.norm.cdf(-half / sigma) - 0.04 < score <= 1
    assert accuracy(z, y, z_test, y_test) == score
    chance = accuracy(z, RNG.permutation(y), z_test, RNG.permutation(y_test))  # labels that latents do not tell
    assert abs(chance - 1 / 3) < 0.11  # four standard errors of 300 test labels
    names = np.array(["a", "b", "c"])
    assert accuracy(z.reshape(600, 2, 2), names[y], z_test.reshape(300, 2, 2), names[y_test]) == score
    order = np.argsort(y, kind="stable")  # a sorted set, cut down, still has every label
    monkeypatch.setattr(ls, "_MAX_TRAINING", 60)
    assert accuracy(z[order], y[order], z_test, y_test) > 0.9


def test_linear_probe_sees_half_planes_and_not_rings():
    z = RNG.normal(size=(500, 2)) * [1e-3, 10]
    assert ls.linear_probe(z, z[:, 0] > 0, z, z[:, 0] > 0) > 0.97
    ring = ((z / [1e-3, 10]) ** 2).sum(1) > 1.4
    assert ls.linear_probe(z, ring, z, ring) < 0.65
    unit = z / [1e-3, 10]
    assert ls.knn_accuracy(unit, ring, unit, ring) > 0.9


def test_nearest_neighbors_by_hand():
    z, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 1, 0])
    test = np.array([[-1.0], [4.0]])
    assert ls.knn_accuracy(z, y, test, [0, 0], num_neighbors=1) == 1  # nearest: 0, 3
    assert ls.knn_accuracy(z, y, test, [0, 0], num_neighbors=3) == 0  # 0, 1, 2 and 3, 2, 1: label 1 both times


def test_no_warning_where_the_probe_has_not_converged(monkeypatch):
    import sklearn.linear_model

    original = sklearn.linear_model.LogisticRegression
    monkeypatch.setattr(sklearn.linear_model, "LogisticRegression", lambda max_iter: original(max_iter=1))
    z, y = classes(100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 <= ls.linear_probe(z, y, z, y) <= 1


def test_one_line_errors():
    z, y = classes(30)
    broken = z.copy()
    broken[3, 0] = np.nan
    cases = [
        (lambda: ls.normality(z[:19]), "expected at least 20 latents, got 19"),
        (lambda: ls.normality(broken), "expected finite latents, got 1 of 30"),
        (lambda: ls.normality(np.ones((30, 2))), "expected latents that differ, got 30 equal ones"),
        (lambda: ls.latent_spectrum(z[:1]), "expected at least 2 latents"),
        (lambda: ls.qq(z[:1]), "expected latents that differ, got 1 equal"),
        (lambda: ls.qq(z[:, 0]), r"expected latents \[N, \*latent\] with N >= 1, got shape \(30,\)"),
        (lambda: ls.latent_spectrum(broken), "expected finite latents"),
        (lambda: ls.jacobian_spectrum(z[0]), r"expected a finite matrix \[m, k\], got shape \(4,\)"),
        (lambda: ls.jacobian_spectrum(broken), r"expected a finite matrix .* with 1 NaN"),
        (lambda: ls.linear_probe(z, None, z, y), "labels of the training latents, got None: these data have no labels"),
        (lambda: ls.knn_accuracy(z, y, z, None), "labels of the test latents, got None"),
        (lambda: ls.linear_probe(z, y[:9], z, y), r"one label for each of 30 training latents, got shape \(9,\)"),
        (lambda: ls.linear_probe(z, y, z[:, :2], y), "latents of one size, got 4 in training and 2 in test"),
        (lambda: ls.linear_probe(z, y * 0, z, y), "expected at least two labels, got 0 alone"),
        (
            lambda: ls.knn_accuracy(z, y, z, y, num_neighbors=31),
            "expected num_neighbors from 1 to 30, the training latents, got 31",
        ),
        (lambda: ls.knn_accuracy(z, y, broken, y), "expected finite latents"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
