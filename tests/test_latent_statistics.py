"""Statistics of latents against moments, simulations and constructions whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from gon_jax.data import Dataset, Split
from gon_jax.latents import statistics as ls
from gon_jax.runs import describe

RNG = np.random.default_rng(0)


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


@pytest.mark.slow
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
    assert np.isnan(ls.normality(RNG.normal(size=(20, 20)))["multivariate_skewness"])


def test_many_latents_are_paired_in_part(monkeypatch):
    z = RNG.normal(size=(90, 3))
    monkeypatch.setattr(ls, "_MAX_PAIRED", 30)
    part = z[np.linspace(0, 89, 30).astype(int)]
    result, of_part = ls.normality(z), ls.normality(part)
    assert result["multivariate_skewness"] == pytest.approx(of_part["multivariate_skewness"])
    assert result["mean_abs_skewness"] == pytest.approx(np.abs(stats.skew(z)).mean())


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


def test_one_line_errors():
    z = RNG.normal(size=(30, 4))
    broken = z.copy()
    broken[3, 0] = np.nan
    cases = [
        (lambda: ls.normality(z[:19]), "expected at least 20 latents, got 19"),
        (lambda: ls.normality(broken), "expected finite latents, got 1 of 30"),
        (lambda: ls.standardize(z[:, 0]), r"expected latents \[N, \*latent\] with N >= 1, got shape \(30,\)"),
        (lambda: ls.normality(np.ones((30, 2))), "expected latents that differ, got 30 equal ones"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_run_is_described_by_what_its_latents_are(monkeypatch):
    """Latents of three labels around three corners, of known spectrum; the last 9 labels of the test set are wrong."""
    labels = np.arange(90) % 3
    corners = 5 * np.eye(4)[labels] + RNG.normal(size=(90, 4)) * [1, 1, 1, 0]
    latents = {"train": corners[:60].reshape(-1, 2, 2), "test": corners[60:].reshape(-1, 2, 2)}
    monkeypatch.setattr(describe, "encode_dataset", lambda model, variables, x, **_: latents[x])
    wrong = np.append(labels[60:-9], (labels[-9:] + 1) % 3)
    run = SimpleNamespace(model=SimpleNamespace(latent_shape=(2, 2)), variables=None, sources=lambda x: x)
    run.encoder = SimpleNamespace(matrix=np.diag([1, 3, 0]))
    run.dataset = lambda: Dataset("corners", Split("train", labels[:60]), None, Split("test", wrong))
    table, z, spectra = describe.describe_latents(run)
    assert z is latents["test"] and (table["latents"], table["latent size"]) == (30, 4)
    np.testing.assert_allclose(spectra["latents"] ** 2, np.linalg.eigvalsh(np.cov(corners[60:].T))[::-1], atol=1e-12)
    np.testing.assert_allclose(spectra["Jacobian of the encoder"], [3, 1, 0])
    assert table["participation ratio, Jacobian of the encoder"] == pytest.approx(100 / 82)
    assert table["linear probe, accuracy"] == pytest.approx(0.7, abs=0.04)
    assert table["5 nearest neighbors, accuracy"] == pytest.approx(0.7, abs=0.04)
    run.dataset = lambda: Dataset("one", Split("train", 0 * labels[:60]), None, Split("test", 0 * wrong))
    table = describe.describe_latents(run)[0]
    assert table["5 nearest neighbors, accuracy"] == 1 and "linear probe, accuracy" not in table
