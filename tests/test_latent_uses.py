"""What one does with latents, against closed forms; the page that shows it, line by line."""

import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import anomaly, report
from gon_jax import latents
from gon_jax.data.sources import View
from gon_jax.decoders import mlp_decoder
from gon_jax.inference import anomaly_scores, encode_dataset, reconstruct_dataset
from gon_jax.metrics import compression_errors, evaluate
from gon_jax.models import gon, translation_gon

RNG = np.random.default_rng(0)
PAGE = Path(__file__).parents[1] / "docs" / "latents.md"


@pytest.fixture(scope="module")
def trained():
    """A model of a table [50, 6], untrained, and the table."""
    model = gon(mlp_decoder((6,), (3,), hidden_dim=8))
    return model, model.init(jax.random.key(0)), np.random.default_rng(1).uniform(size=(50, 6)).astype("f4")


# -- anomalies -------------------------------------------------------------------------------------------------------


def test_mahalanobis_is_its_formula():
    """With the mean, and the covariance shrunk by Ledoit and Wolf's formula, written out; latents of any shape."""
    train, z = RNG.normal(size=(30, 4)) @ RNG.normal(size=(4, 4)) + 3, RNG.normal(size=(7, 4))
    centered, n, k = train - train.mean(0), 30, 4
    covariance = centered.T @ centered / n
    mean = np.trace(covariance) / k
    spread = sum(np.sum((np.outer(c, c) - covariance) ** 2) for c in centered) / n**2
    total = np.sum((covariance - mean * np.eye(k)) ** 2)
    shrinkage = min(spread / total, 1)
    shrunk = (1 - shrinkage) * covariance + shrinkage * mean * np.eye(k)
    expected = [(a - train.mean(0)) @ np.linalg.solve(shrunk, a - train.mean(0)) for a in z]
    assert 0.01 < shrinkage < 1
    np.testing.assert_allclose(latents.mahalanobis_scores(train, z), expected, rtol=1e-9)
    spatial = latents.mahalanobis_scores(train.reshape(30, 2, 1, 2), z.reshape(7, 2, 1, 2))
    np.testing.assert_allclose(spatial, expected, rtol=1e-9)


def test_mahalanobis_of_normal_latents_is_chi_squared():
    mixing = RNG.normal(size=(5, 5))
    scores = latents.mahalanobis_scores(RNG.normal(size=(20_000, 5)) @ mixing, RNG.normal(size=(20_000, 5)) @ mixing)
    assert scores.mean() == pytest.approx(5, rel=0.03) and scores.var() == pytest.approx(10, rel=0.1)


def test_scores_of_a_model(trained):
    """Those of its own latents and reconstructions; what is far from the training data is scored higher."""
    model, variables, x = trained
    new = np.concatenate([x[:5], np.float32(np.arange(12).reshape(2, 6) % 2)])
    scores = anomaly_scores(model, variables, x, new)
    error = np.square(new - reconstruct_dataset(model, variables, new)).sum(1)
    np.testing.assert_allclose(scores["reconstruction"], error, rtol=1e-5)
    z, z_new = (encode_dataset(model, variables, a) for a in (x, new))
    np.testing.assert_allclose(scores["mahalanobis"], latents.mahalanobis_scores(z, z_new), rtol=1e-3)
    assert scores["reconstruction"][5:].min() > scores["reconstruction"][:5].max()
    as_bytes = anomaly_scores(model, variables, np.uint8(255 * x), np.uint8(255 * new))
    np.testing.assert_allclose(as_bytes["reconstruction"], scores["reconstruction"], atol=0.05)


def test_reconstructions_are_compared_with_targets():
    model = translation_gon(mlp_decoder((6,), (3,), hidden_dim=8))
    variables, x = model.init(jax.random.key(0)), RNG.uniform(size=(9, 6)).astype("f4")
    target = reconstruct_dataset(model, variables, x)
    scores = anomaly_scores(model, variables, x, {"x": x, "target": target})
    np.testing.assert_allclose(scores["reconstruction"], 0, atol=1e-9)
    rows = compression_errors(model, variables, x, {"x": x, "target": target}, bits=[])
    assert rows[0]["squared_error"] == pytest.approx(0, abs=1e-9) and rows[0]["psnr"] == pytest.approx(100)


def test_data_that_are_read_as_they_are_needed(trained):
    """Sources, of bytes: the scores and the errors of the array."""
    model, variables, x = trained
    array = np.uint8(255 * x)
    scores, of_array = (anomaly_scores(model, variables, a, a) for a in (View(array), array))
    np.testing.assert_allclose(scores["reconstruction"], of_array["reconstruction"], rtol=1e-6)
    np.testing.assert_allclose(scores["mahalanobis"], of_array["mahalanobis"], rtol=1e-6)
    rows, of_array = (compression_errors(model, variables, a, a, bits=[4]) for a in (View(array), array))
    assert rows == of_array


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: latents.reconstruction_scores(np.ones((3, 4)), np.ones((3, 4, 1))), r"\(3, 4\) and \(3, 4, 1\)"),
        (lambda: latents.mahalanobis_scores(np.ones((5, 2)), np.ones((3, 2))), "collapsed"),
        (lambda: latents.mahalanobis_scores(np.eye(4), np.ones((3, 2))), r"\[4, 4\], got \[3, 2\]"),
        (lambda: latents.mahalanobis_scores(np.eye(4)[:1], np.eye(4)), "at least 2 latents, got 1"),
        (lambda: latents.nearest_neighbors(np.eye(4), np.eye(4), 5), "at least 5 latents, got 4"),
        (lambda: latents.nearest_neighbors(np.eye(4), np.ones(4), 3), "batch axis"),
        (lambda: latents.nearest_neighbors(np.eye(4), np.eye(4), 0), "num_neighbors, a whole number of at least 1"),
        (lambda: latents.nearest_neighbors(np.eye(4), np.eye(4), metric="dot"), "'cosine', got 'dot'"),
        (lambda: latents.latent_map(np.ones((9, 1))), "at least 2 entries"),
        (lambda: latents.latent_map(np.eye(4), "lda"), "'pca', 'tsne' or 'umap', got 'lda'"),
        (lambda: latents.latent_map(np.full((9, 2), np.nan)), "9 of 9 with NaN"),
        (lambda: latents.traversal(jnp.ones(3), 3), "entry from 0 to 2 as direction, got 3"),
        (lambda: latents.traversal(jnp.ones(3), jnp.ones(2)), r"shape \(3,\), got \(2,\)"),
        (lambda: latents.traversal(jnp.ones(3), 0, num_points=1), "at least 2"),
        (lambda: latents.principal_directions(np.eye(3), 4), "num_directions, a whole number from 1 to 3, got 4"),
        (lambda: latents.fit_quantizer(np.eye(3), 17), "bits, a whole number from 1 to 16, got 17"),
        (lambda: latents.fit_quantizer(np.full((3, 2), np.inf), 4), "finite latents"),
        (lambda: latents.quantize(latents.fit_quantizer(np.eye(3), 2), np.ones((1, 2))), r"\[N, 3\], got \(1, 2\)"),
    ],
)
def test_misuse_is_named(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


# -- neighbors, maps, traversals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbors_are_those_of_all_pairs(metric):
    train, z = RNG.normal(size=(40, 2, 3)), RNG.normal(size=(6, 2, 3))
    a, b = z.reshape(6, 1, 6), train.reshape(1, 40, 6)
    pairs = np.linalg.norm(a - b, axis=-1)
    if metric == "cosine":
        pairs = 1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    distances, indices = latents.nearest_neighbors(train, z, 3, metric=metric)
    np.testing.assert_array_equal(indices, pairs.argsort(1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(pairs, 1)[:, :3], rtol=1e-9)


def clusters():
    """Two of 30 latents each, far apart, and which each belongs to."""
    label = np.arange(60) // 30
    return RNG.normal(size=(60, 5)) * 0.1 + 9 * np.eye(5)[label], label


def test_the_linear_map_has_the_largest_variance():
    z, _ = clusters()
    points = latents.latent_map(z.reshape(60, 5, 1))
    values = np.linalg.eigvalsh(np.cov(z.T))[::-1]
    np.testing.assert_allclose(np.cov(points.T), np.diag(values[:2]), atol=1e-9 * values[0])


@pytest.mark.slow
def test_tsne_keeps_neighborhoods_and_its_seed():
    z, label = clusters()
    points = latents.latent_map(z, "tsne")
    assert points.shape == (60, 2)
    nearest = np.linalg.norm(points[:, None] - points, axis=-1).argsort(1)[:, 1]
    assert (label[nearest] == label).all()
    np.testing.assert_array_equal(latents.latent_map(z, "tsne"), points)


def test_umap_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match="expected umap-learn .*, got none: pip install umap-learn"):
        latents.latent_map(np.eye(5), "umap")


def test_umap_is_asked_for_two_dimensions(monkeypatch):
    class UMAP:
        def __init__(self, **options):
            assert options == {"n_neighbors": 4, "n_jobs": 1, "random_state": 7}

        def fit_transform(self, x):
            return x[:, :2]

    monkeypatch.setitem(sys.modules, "umap", type(sys)("umap"))
    monkeypatch.setattr(sys.modules["umap"], "UMAP", UMAP, raising=False)
    assert latents.latent_map(np.eye(5), "umap", seed=7).shape == (5, 2)


def test_traversals_are_straight_lines():
    z, v = RNG.normal(size=(2, 3, 2)).astype("f4")
    path = latents.traversal(z, v, num_points=5, span=2.0)
    np.testing.assert_allclose(path, [z + t * v for t in (-2, -1, 0, 1, 2)], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(path[2], z)
    by_entry = latents.traversal(z, 3, num_points=3, span=1.0)  # of [3, 2] in a row: [1, 1]
    entry = np.zeros((3, 2))
    entry[1, 1] = 1
    np.testing.assert_allclose(by_entry, [z - entry, z, z + entry], atol=1e-6)
    batch = jax.vmap(lambda z: latents.traversal(z, v))(jnp.stack([z, v]))
    assert batch.shape == (2, 9, 3, 2) and batch.dtype == jnp.float32


def test_principal_directions_are_axes_of_the_covariance():
    z = RNG.normal(size=(200, 2, 3)) * [3, 1, 0.1]
    directions = latents.principal_directions(z, 6).reshape(6, 6)
    np.testing.assert_allclose(directions.T @ directions, np.cov(z.reshape(200, 6).T), atol=1e-9)
    products = directions @ directions.T
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)
    assert (np.diff(np.diag(products)) <= 0).all()


# -- compression -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 3, 8, 12])
def test_a_quantizer_errs_by_half_a_cell_at_most(bits):
    """And by width / sqrt(12) in the mean over a uniform distribution; the ends of the range and beyond are clipped."""
    low, high = np.array([-1e-3, 5.0]), np.array([3e-3, 50.0])
    z = (low + (high - low) * RNG.uniform(size=(4000, 2))).astype("f4")
    quantizer = latents.fit_quantizer(z, bits)
    cells, width = latents.quantize(quantizer, z), (z.max(0) - z.min(0)) / 2.0**bits
    assert cells.dtype == (np.uint8 if bits <= 8 else np.uint16)
    assert cells.min() == 0 and cells.max() == 2**bits - 1
    error = latents.dequantize(quantizer, cells) - z
    assert (np.abs(error) <= width * (0.5 + 2.0**bits * 1e-6)).all()
    np.testing.assert_allclose(np.sqrt(np.square(error).mean(0)), width / 12**0.5, rtol=0.1)
    outside = latents.quantize(quantizer, np.array([[-1e9, 1e9]]))
    np.testing.assert_array_equal(outside, [[0, 2**bits - 1]])


def test_constant_latents_survive():
    quantizer = latents.fit_quantizer(np.full((4, 2, 2), 7.0), 3)
    cells = latents.quantize(quantizer, np.full((5, 2, 2), 7.0))
    np.testing.assert_array_equal(latents.dequantize(quantizer, cells), np.full((5, 2, 2), 7.0))


def test_bytes_against_error(trained):
    model, variables, x = trained
    rows = compression_errors(model, variables, x, x, bits=(1, 8, 16))
    assert [(row["bits"], row["bytes"]) for row in rows] == [(1, 1), (8, 3), (16, 6), (32, 12)]
    whole = evaluate(model, variables, x)
    assert rows[-1] == pytest.approx({"bits": 32, "bytes": 12} | whole, rel=1e-5)
    assert rows[2]["squared_error"] == pytest.approx(whole["squared_error"], rel=1e-3)
    differences = [abs(row["squared_error"] - whole["squared_error"]) for row in rows]
    assert differences[0] > differences[1] > 10 * differences[2]


# -- what is measured, and the page ----------------------------------------------------------------------------------


def test_a_class_held_out_is_measured_as_it_is_said(tmp_path, capsys):
    anomaly.main(["--classes", "3", "--seeds", "0", "--steps", "2", "--latents", "4", "--results", str(tmp_path)])
    result = json.loads((tmp_path / "anomaly_digits.json").read_text())
    assert {"command", "commit", "versions", "hardware", "date"} <= set(result)
    (run,) = result["runs"]
    assert (run["held_out"], run["seed"], len(run["auroc"])) == (3, 0, 4)
    assert all(0 <= value <= 1 for value in run["auroc"].values())
    assert "| PCA, mahalanobis | " in capsys.readouterr().out


def test_the_table_of_anomalies_is_made_from_the_results():
    text = PAGE.read_text()
    assert anomaly.page_with(text) == text, "run `python -m benchmarks.anomaly --table`"
    assert report.RESULTS.joinpath("anomaly_digits.json").exists()


def test_what_the_page_says_of_shapes(tmp_path, monkeypatch):
    """Every line of code that ends in shapes gives arrays of these shapes."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    names, seen = {}, 0
    for block in blocks:
        exec(compile(re.sub(r"\b2000\b", "2", block), PAGE.name, "exec"), names)
        for targets, comment in re.findall(r"^(\w+(?:, \w+)*) = .*# (\[.*)$", block, flags=re.M):
            shapes = [json.loads(shape) for shape in re.findall(r"\[[\d, ]*\]", comment)]
            assert [list(names[name].shape) for name in targets.split(", ")] == shapes, targets
            seen += len(shapes)
    assert seen >= 15
    assert str(names["sizes"])[1:-1] in PAGE.read_text()


def test_a_span_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="expected span, a finite number, got nan"):
        latents.traversal(np.zeros(3), 0, span=float("nan"))
