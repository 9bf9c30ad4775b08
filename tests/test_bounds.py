"""Bounds on log p(x) against a linear normal model, where they and log p(x) itself have closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gon_jax.base import Bound, Capabilities, Model, Variables
from gon_jax.decoders import conv_decoder
from gon_jax.likelihoods import bernoulli, categorical, gaussian, squared_error
from gon_jax.metrics import evaluate_bound
from gon_jax.models import vgon

RNG = np.random.default_rng(0)
D, K_LATENT, SIGMA = 6, 2, 0.4
DIRECTIONS = np.linalg.qr(RNG.normal(size=(D, K_LATENT)))[0]  # orthogonal: the posterior's covariance is diagonal
W = DIRECTIONS * [0.6, 0.3]  # x = W t + noise
PRECISION = (W**2).sum(0) + SIGMA**2  # W^T W + sigma^2 I, times 1 / sigma^2
IMAGES = RNG.uniform(size=(400, 2, 3, 1)).astype("f4")
X = IMAGES.reshape(400, D).astype("f8")
EXACT = {"map": W.T / PRECISION[:, None], "var": SIGMA**2 / PRECISION}
WRONG = {"map": 0.5 * EXACT["map"], "var": np.array([0.8, 0.5])}
NORMAL = gaussian(SIGMA)
LOG_P = stats.multivariate_normal(np.zeros(D), W @ W.T + SIGMA**2 * np.eye(D)).logpdf(X)


def record(bound, likelihood=NORMAL):
    return Model(None, None, None, None, (2, 3, 1), (K_LATENT,), likelihood, Capabilities(bound=bound))


def _linear_bound(variables, x, keys):
    q = variables.params
    noise = jax.vmap(lambda key: jax.random.normal(key, (K_LATENT,)))(keys)
    x = x.reshape(len(x), D)
    mean, std = x @ q["map"].T, jnp.sqrt(q["var"])
    t = mean + std * noise
    nll = gaussian(SIGMA)(t @ jnp.float32(W.T), x)
    kl = 0.5 * (mean**2 + std**2 - 1 - 2 * jnp.log(std)).sum(1)
    log_ratio = (-0.5 * t**2 + 0.5 * noise**2 + jnp.log(std)).sum(1)
    return Bound(nll, kl, log_ratio - nll)


LINEAR = record(_linear_bound)


def variables_of(q):
    return Variables(jax.tree.map(jnp.float32, q))


def uniforms(key, num, num_samples):
    """A number for each image and sample, `[N, K]`, from the keys that the docstring promises."""
    keys = [jax.random.fold_in(key, i) for i in range(num)]
    return np.array([[jax.random.uniform(jax.random.fold_in(k, 1 + s)) for s in range(num_samples)] for k in keys])


def of_keys(variables, x, keys):
    u = jax.vmap(jax.random.uniform)(keys)
    return Bound(u, x.mean((1, 2, 3)), jnp.log(u))


def test_bound_of_a_linear_normal_model():
    """E_q nll = |x - W m|^2 / 2 sigma^2 + tr(W S W^T) / 2 sigma^2 + constant."""
    metrics = evaluate_bound(LINEAR, variables_of(WRONG), IMAGES, jax.random.key(0), num_samples=200, batch_size=400)
    mean, var = X @ WRONG["map"].T, WRONG["var"]
    nll = ((X - mean @ W.T) ** 2).sum(1) + (W**2 * var).sum()
    nll = nll / (2 * SIGMA**2) + D / 2 * np.log(2 * np.pi * SIGMA**2)
    kl = 0.5 * (mean**2 + var - 1 - np.log(var)).sum(1)
    np.testing.assert_allclose(metrics["kl"], kl.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["nll"], nll.mean(), atol=0.02)  # 80,000 draws of a spread of about 1
    assert metrics["negative_elbo"] == pytest.approx(metrics["nll"] + metrics["kl"], rel=1e-12)
    assert metrics["negative_elbo"] > -LOG_P.mean() + 0.2 and metrics["num_samples"] == 200


def test_weights_under_the_exact_posterior_are_the_likelihood_of_the_data():
    metrics = evaluate_bound(LINEAR, variables_of(EXACT), IMAGES, jax.random.key(0), num_samples=3)
    np.testing.assert_allclose(metrics["importance_weighted"], -LOG_P.mean(), rtol=1e-5)
    assert "importance_weighted" not in evaluate_bound(LINEAR, variables_of(EXACT), IMAGES, jax.random.key(0))


def test_more_samples_come_nearer_and_do_not_pass():
    variables, key = variables_of(WRONG), jax.random.key(1)
    options = {"batch_size": 400}
    bounds = [evaluate_bound(LINEAR, variables, IMAGES, key, num_samples=num, **options) for num in (2, 8, 512)]
    gaps = np.array([bound["importance_weighted"] for bound in bounds]) + LOG_P.mean()
    assert bounds[-1]["negative_elbo"] + LOG_P.mean() - 0.1 > gaps[0] > gaps[1] + 0.03 > gaps[2] + 0.035
    assert abs(gaps[2]) < 0.005  # its standard error is 0.001


def test_noise_is_a_function_of_the_key_the_place_and_the_sample():
    key, num_samples = jax.random.key(3), 3
    u = uniforms(key, 7, num_samples)
    expected = {"nll": u.mean(), "kl": X[:7].mean(), "importance_weighted": -np.log(u.mean(1)).mean()}
    model = record(of_keys)

    def evaluated(key, batch_size):
        options = {"num_samples": num_samples, "batch_size": batch_size}
        return evaluate_bound(model, Variables({}), IMAGES[:7], key, **options)

    for batch_size in (1, 3, 7, 64):
        metrics = evaluated(key, batch_size)
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name], value, rtol=1e-6)
        assert evaluated(key, batch_size) == metrics
    assert abs(evaluated(jax.random.key(4), 7)["nll"] - u.mean()) > 1e-4


def test_every_image_counts_the_same_and_sums_are_in_64_bits():
    """In float32 a mean of 2^24 and small numbers loses them."""

    def bound(variables, x, keys):
        nll = x[:, 0, 0, 0] * 2.0**24 + x[:, 0, 1, 0]
        return Bound(nll, jnp.zeros(len(x)), -nll)

    images = np.zeros((5, 2, 3, 1), np.float32)
    images[0, 0, 0], images[1:, 0, 1] = 1, 1
    metrics = evaluate_bound(record(bound), Variables({}), images, jax.random.key(0), num_samples=2, batch_size=4)
    assert metrics["nll"] == (2.0**24 + 4) / 5 and metrics["importance_weighted"] == pytest.approx(
        metrics["nll"], rel=1e-14
    )


@pytest.mark.parametrize(("evaluation", "traces"), [("running", 1), ("batch", 2)])
def test_compiled_once_for_all_batches_and_samples(evaluation, traces):
    """Averaged statistics: one program. Each batch's own: no padding, so that the last batch is another."""
    shapes = []

    def bound(variables, x, keys):
        shapes.append(x.shape[0])
        assert (variables.stats is None) == (evaluation == "batch")
        mean = jnp.broadcast_to(x.mean(), len(x))
        return Bound(mean, mean, mean)

    model, variables = record(bound), Variables({}, stats=jnp.ones(()))
    options = {"num_samples": 3, "batch_size": 4, "evaluation": evaluation}
    metrics = evaluate_bound(model, variables, IMAGES[:7], jax.random.key(0), **options)
    assert shapes == [4, 3][:traces]
    if evaluation == "batch":
        np.testing.assert_allclose(metrics["nll"], (4 * X[:4].mean() + 3 * X[4:7].mean()) / 7, rtol=1e-6)


def test_bits_of_a_density_are_of_data_with_noise_added():
    """Data become (255 x + u) / 256, and 8 bits of 1 / 256; the noise is the same for every sample and batch size."""
    images = RNG.integers(0, 10, (30, 2, 3, 1), dtype=np.uint8)  # dark: without the noise they would be darker

    def bound(variables, x, keys):
        nll = x.sum((1, 2, 3))
        return Bound(nll, jnp.ones(len(x)), -nll)

    def evaluated(**options):
        return evaluate_bound(record(bound), Variables({}), images, jax.random.key(0), **{"bits": True} | options)

    metrics = evaluated(num_samples=2)
    center = ((images + 0.5) / 256).sum((1, 2, 3)).mean()  # the noise's mean is 1/512 in each of 180 numbers
    assert 0 < abs(metrics["nll"] - center) < 4 * 6 / 256 / 12**0.5 / 180**0.5
    for batch_size, num_samples in ((1, 1), (30, 5)):
        assert evaluated(batch_size=batch_size, num_samples=num_samples)["nll"] == pytest.approx(metrics["nll"])
    for bits, nats in (("bits_per_dim", "negative_elbo"), ("importance_weighted_bits_per_dim", "importance_weighted")):
        np.testing.assert_allclose(metrics[bits], metrics[nats] / (D * np.log(2)) + 8, rtol=1e-6)
    assert evaluated(bits=None) == (plain := evaluated(bits=False))
    np.testing.assert_allclose(plain["nll"], (images / 255).sum((1, 2, 3)).mean(), rtol=1e-6)
    assert not any("bits" in name for name in plain)


@pytest.mark.parametrize(
    ("likelihood", "expected"), [(categorical, True), (gaussian(1), False), (bernoulli, False), (squared_error, False)]
)
def test_bits_by_default_where_they_change_no_other_figure(likelihood, expected):
    model = record(of_keys, likelihood)
    metrics = evaluate_bound(model, Variables({}), np.full((3, 2, 3, 1), 77, np.uint8), jax.random.key(0))
    assert ("bits_per_dim" in metrics) == expected
    if expected:
        assert metrics["bits_per_dim"] == pytest.approx(metrics["negative_elbo"] / (D * np.log(2)))


def test_bits_of_bytes_by_a_decoder_that_knows_nothing():
    """Uniform over 256 values: 8 bits, and nothing from a posterior that is the prior."""

    def bound(variables, x, keys):
        nll = categorical(jnp.zeros((*x.shape[:-1], 256)), x)
        return Bound(nll, jnp.zeros(len(x)), -nll)

    images = RNG.integers(0, 256, (3, 2, 3, 1), dtype=np.uint8)
    model = record(bound, categorical)
    metrics = evaluate_bound(model, Variables({}), images, jax.random.key(0), num_samples=2)
    assert metrics["bits_per_dim"] == pytest.approx(8) == metrics["importance_weighted_bits_per_dim"]


@pytest.mark.slow
def test_a_variational_gon_counts_an_image_the_same_in_any_company():
    model = vgon(conv_decoder((8, 8, 1), (3,), base_channels=2, output_activation="none"))
    variables = model.init(jax.random.key(0))
    images = RNG.integers(0, 256, (9, 8, 8, 1), dtype=np.uint8)
    x = jnp.asarray(images / 255, jnp.float32)
    _, stats_of_batch = model.loss(variables, {"x": x, "step": 0}, jax.random.key(1))
    variables = variables._replace(stats=stats_of_batch)

    def evaluated(index, batch_size=16):
        options = {"num_samples": 4, "batch_size": batch_size}
        return evaluate_bound(model, variables, images[index], jax.random.key(2), **options)

    metrics = evaluated(range(9))
    assert evaluated(range(9), 2) == pytest.approx(metrics, rel=1e-5)
    assert metrics["importance_weighted"] < metrics["negative_elbo"]
    company, others = evaluated([0, *range(3, 9)]), evaluated([1, *range(3, 9)])
    difference = 7 * (company["nll"] - others["nll"])  # the first image alone was exchanged
    np.testing.assert_allclose(difference, evaluated([0])["nll"] - evaluated([1])["nll"], atol=1e-3)


def test_one_line_errors_before_any_work():
    def untouchable(*_):
        pytest.fail("called")

    model, variables, key = record(untouchable), Variables({}), jax.random.key(0)
    gray = np.full((3, 2, 3, 1), 77, np.uint8)
    cases = [
        (record(None), IMAGES, {}, "without a bound"),
        (model, IMAGES, {"num_samples": 0}, "expected num_samples, a whole number of at least 1, got 0"),
        (model, IMAGES[:, :1], {}, r"expected images \[N, 2, 3, 1\]"),
        (model, IMAGES, {"evaluation": "train"}, "running"),
        (record(untouchable, squared_error), gray, {"bits": True}, "normalized likelihood .* got squared_error"),
        (record(untouchable, bernoulli), gray, {"bits": True}, "got gray values, where bernoulli"),
    ]
    for broken, images, options, message in cases:
        with pytest.raises(ValueError, match=message) as caught:
            evaluate_bound(broken, variables, images, key, **options)
        assert "\n" not in str(caught.value)
