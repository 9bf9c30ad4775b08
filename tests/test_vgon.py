"""The variational GON: its two passes, its noise, and what evaluation makes of batch statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.encoding import encode
from gon_jax.likelihoods import bernoulli, discretized_logistic_mixture, squared_error
from gon_jax.models import Posterior, vgon
from gon_jax.models.variational import kl_to_standard_normal, posterior
from gon_jax.models.vgon import NUM_REFERENCES

pytestmark = pytest.mark.usefixtures("x64")
NOISES = ["per_example", "shared", "none"]
NORMS_AND_NOISES = [*(("batch", noise) for noise in NOISES), ("group", "per_example"), ("none", "shared")]


def conv(norm="batch", **options):
    return conv_decoder((8, 8, 1), (3,), base_channels=2, norm=norm, output_activation="none", **options)


def trained_looking(model, double, stats=True):
    """Return variables away from what initialization has of special: zeros, equal examples, ELU's kink."""
    params, init_stats = double(model.init(jax.random.key(0)))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(7), len(leaves))
    params = tree.unflatten([a + 0.2 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)])
    if init_stats is not None:
        init_stats = model.loss(Variables(params), {"x": images(16)}, jax.random.key(1))[1]
    return Variables(params, init_stats if stats else None)


def images(num, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(num, 8, 8, 1)))


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def two_passes(decoder, params, x, inner_noise, outer_noise, step_size=1 / 64, beta=1.0):
    """The authors' loss, written out."""

    def bound(z, noise):
        q = Posterior(*(z @ params[name]["kernel"] + params[name]["bias"] for name in ("mean", "logvar")))
        t = q.mean + jnp.exp(q.logvar / 2) * noise
        logits = decoder.output(params["decoder"], t)
        cross_entropy = -x * jax.nn.log_sigmoid(logits) - (1 - x) * jax.nn.log_sigmoid(-logits)
        kl = -0.5 * (1 + q.logvar - q.mean**2 - jnp.exp(q.logvar))
        return cross_entropy.sum() + beta * kl.sum()

    z = -step_size * jax.grad(bound)(jnp.zeros((len(x), 3)), inner_noise)
    return bound(z, outer_noise) / len(x)


@pytest.mark.quick("batch-per_example", "none-shared")
@pytest.mark.parametrize(("norm", "noise"), NORMS_AND_NOISES)
def test_loss_and_gradient_are_those_of_the_two_passes(norm, noise, double):
    decoder, x = conv(norm), images(6)
    model = vgon(decoder, inner_noise=noise)
    params = trained_looking(model, double).params
    inner = {"per_example": normal(1, 6, 3), "shared": normal(1, 3), "none": jnp.zeros(3)}[noise]
    batch = {"x": x, "inner_noise": inner, "outer_noise": normal(2, 6, 3)}

    def ours(params):
        return model.loss(Variables(params), batch, jax.random.key(0))[0]

    def definition(params):
        return two_passes(decoder, params, x, jnp.broadcast_to(inner, (6, 3)), batch["outer_noise"])

    value, gradient = jax.jit(jax.value_and_grad(ours))(params)
    expected, expected_gradient = jax.jit(jax.value_and_grad(definition))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10 * max(jnp.abs(b).max(), 1e-3))


@pytest.mark.quick("batch-none", "none-shared")
@pytest.mark.parametrize(("norm", "noise"), NORMS_AND_NOISES)
def test_evaluated_by_averages_an_image_does_not_depend_on_its_batch(norm, noise, double):
    model = vgon(conv(norm), inner_noise=noise)
    variables = trained_looking(model, double)
    x, keys = images(5), jax.random.split(jax.random.key(3), 5)
    z, bound = model.encode(variables, x), model.capabilities.bound(variables, x, keys)
    np.testing.assert_allclose(model.encode(variables, x[2:3]), z[2:3], rtol=1e-9)
    for alone, together in zip(model.capabilities.bound(variables, x[2:3], keys[2:3]), bound, strict=True):
        np.testing.assert_allclose(alone, together[2:3], rtol=1e-9)
    np.testing.assert_allclose(model.capabilities.freeze(variables)(x), z, rtol=1e-9)
    other = model.capabilities.bound(variables, x, jax.random.split(jax.random.key(4), 5))
    assert (np.abs(other.nll - bound.nll) > 1e-6).all()  # the key matters


@pytest.mark.slow
def test_the_reference_batch_stands_for_a_batch(double):
    """With the mean of the data for all others, the coupled gradient of one example is its latent by averages."""
    model = vgon(conv())
    variables = trained_looking(model, double)
    params, mean_x = variables.params, variables.stats.mean_x
    x = images(1, seed=5)

    # The definition on the reference batch, whose first example is the image at a weight that tends to 0.
    noise = jax.random.normal(jax.random.split(jax.random.key(0))[1], (NUM_REFERENCES, 3))
    others = jnp.broadcast_to(mean_x, (NUM_REFERENCES, 8, 8, 1))

    def latent_of_first(weight):
        def loss(z):
            q = posterior(params, z)
            logits = conv().output(params["decoder"], q.draw(noise))
            difference = bernoulli(logits[:1], x) - bernoulli(logits[:1], others[:1])
            return (bernoulli(logits, others) + kl_to_standard_normal(q)).sum() + weight * difference.sum()

        return -jax.grad(loss)(jnp.zeros((NUM_REFERENCES, 3)))[0] / 64

    coupled = latent_of_first(0.0)
    np.testing.assert_allclose(model.encode(variables, mean_x[None])[0], coupled, rtol=1e-9)
    # and for the image itself, what the batch of 64 adds beyond is its own share of the statistics: a 64th
    own = model.encode(variables, x)[0] - coupled
    assert np.linalg.norm(own - (latent_of_first(1.0) - coupled)) < 0.3 * np.linalg.norm(own)


@pytest.mark.slow
def test_averages_of_a_batch_encode_it_as_the_batch_without_noise_whatever_the_likelihood(double):
    """Also where the likelihood's gradient is not affine in the data, and the mean of the data says too little."""
    likelihood = discretized_logistic_mixture(2)
    decoder = conv_decoder((8, 8, 6), (3,), base_channels=2, output_activation="none")
    model = vgon(decoder, likelihood=likelihood, inner_noise="none")
    params, x = trained_looking(model, double).params, images(5)
    _, stats = model.loss(Variables(params), {"x": x}, jax.random.key(0))
    z = model.encode(Variables(params), x)
    np.testing.assert_allclose(model.encode(Variables(params, stats), x), z, rtol=1e-9)
    keys = jax.random.split(jax.random.key(1), 5)
    by_batch, alone = (model.capabilities.bound(Variables(params, s), x, keys).kl for s in (None, stats))
    np.testing.assert_allclose(alone, by_batch, rtol=1e-9)


def test_kl_against_its_integral():
    q = Posterior(jnp.array([[0.3]]), jnp.array([[-0.7]]))
    t = np.linspace(-12, 12, 200_001)
    std = np.exp(-0.35)
    density = np.exp(-0.5 * ((t - 0.3) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    log_ratio = -0.5 * ((t - 0.3) / std) ** 2 - np.log(std) + 0.5 * t**2
    np.testing.assert_allclose(kl_to_standard_normal(q), [np.trapezoid(density * log_ratio, t)], rtol=1e-8)


@pytest.mark.slow
def test_log_weight_is_the_ratio_of_densities(double):
    model = vgon(conv("group"), inner_noise="none", logvar=-1.0)
    variables, x = trained_looking(model, double), images(3)
    keys = jax.random.split(jax.random.key(0), 3)
    bound = model.capabilities.bound(variables, x, keys)
    q = posterior(variables.params, model.encode(variables, x), logvar=-1.0)
    outer = jnp.stack([jax.random.normal(jax.random.split(key)[1], (3,)) for key in keys])
    t = q.draw(outer)
    log_q = jax.scipy.stats.norm.logpdf(t, q.mean, jnp.exp(q.logvar / 2)).sum(1)
    log_p = jax.scipy.stats.norm.logpdf(t).sum(1)
    np.testing.assert_allclose(bound.log_weight, log_p - log_q - bound.nll, rtol=1e-9)


def test_prior_of_the_origin_acts_away_from_it_alone(double):
    """-log N(z0; 0, 2I): nothing at the origin, z0 / 2 away from it; so two steps differ from two steps without it."""
    decoder, x = conv("none"), images(4)
    one, two = vgon(decoder, inner_noise="none"), vgon(decoder, inner_noise="none", num_steps=2)
    variables = trained_looking(one, double)
    params = variables.params

    def bound(z, prior):
        q = posterior(params, z)
        nll = bernoulli(decoder.output(params["decoder"], q.mean), x)
        return (nll + kl_to_standard_normal(q)).sum() + prior * jnp.square(z).sum() / 4

    def steps(num, prior):
        z = jnp.zeros((4, 3))
        for _ in range(num):
            z = z - jax.grad(bound)(z, prior) / 64
        return z

    np.testing.assert_allclose(one.encode(variables, x), steps(1, 0.0), rtol=1e-9)
    np.testing.assert_allclose(two.encode(variables, x), steps(2, 1.0), rtol=1e-9)
    assert np.abs(two.encode(variables, x) - steps(2, 0.0)).max() > 1e-5


def test_sampled_origin(double):
    model = vgon(conv("none"), origin_scale=1.0)
    variables, x = trained_looking(model, double), images(4)
    keys = jax.random.split(jax.random.key(0), 4)
    a, b = model.capabilities.bound(variables, x, keys), vgon(conv("none")).capabilities.bound(variables, x, keys)
    assert (np.abs(a.nll - b.nll) > 1e-6).all()
    assert model.capabilities.freeze is None


def test_weights_of_the_kl(double):
    decoder, x = conv("none"), images(4)
    params = trained_looking(vgon(decoder), double).params
    batch = {"x": x, "inner_noise": normal(1, 4, 3), "outer_noise": normal(2, 4, 3), "step": 3}

    def loss(**options):
        return vgon(decoder, **options).loss(Variables(params), batch, jax.random.key(0))[0]

    def expected(inner, outer):
        z = encode(
            lambda p, z: (decoder.output(p["decoder"], posterior(p, z).draw(batch["inner_noise"])), posterior(p, z)),
            params,
            x,
            jnp.zeros((4, 3)),
            likelihood=lambda o, x: bernoulli(o[0], x) + inner * kl_to_standard_normal(o[1]),
            step_size=1 / 64,
        )
        q = posterior(params, z)
        nll = bernoulli(decoder.output(params["decoder"], q.draw(batch["outer_noise"])), x)
        return (nll + outer * kl_to_standard_normal(q)).mean()

    np.testing.assert_allclose(loss(kl_weight=4.0, inner_kl_weight=0.5), expected(0.5, 4.0), rtol=1e-9)
    annealed = loss(kl_weight=optax.linear_schedule(0.0, 1.0, 6))
    np.testing.assert_allclose(annealed, expected(1.0, 0.5), rtol=1e-6)


def test_sample_is_one_pass_of_the_decoder(double):
    model = vgon(conv("batch"))
    variables = trained_looking(model, double)
    x = model.capabilities.sample(variables, jax.random.key(0), 5)
    t = jax.random.normal(jax.random.key(0), (5, 3))
    output, _ = conv("batch").apply(variables.params["decoder"], t, variables.stats.latent)
    np.testing.assert_allclose(x, jax.nn.sigmoid(output), rtol=1e-9)


def test_parameters_of_the_authors():
    count = lambda model: sum(a.size for a in jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0)).params))  # noqa: E731
    assert count(vgon(conv_decoder((32, 32, 1), (48,), base_channels=32))) == 268_033
    assert count(vgon(conv_decoder((32, 32, 1), (256,)))) == 435_281


@pytest.mark.slow
def test_on_other_points_the_integrals_keep_their_scale(double):
    """Every point twice is every point; a mask is the points that it leaves."""
    points = grid(4, 4).reshape(-1, 2)
    model = vgon(siren_decoder(points, 3, hidden_dim=8, num_layers=2), likelihood=squared_error)
    variables = double(model.init(jax.random.key(0)))
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 16, 1)))
    z = model.encode(variables, x)
    twice = model.capabilities.at(jnp.concatenate([points, points]))
    np.testing.assert_allclose(twice.encode(variables, jnp.concatenate([x, x], axis=1)), z, rtol=1e-9)
    known = jnp.arange(16) % 3 == 0
    masked = model.capabilities.at(points, known.astype(float)).encode(variables, x)
    np.testing.assert_allclose(model.capabilities.at(points[known]).encode(variables, x[:, known]), masked, rtol=1e-9)
    assert np.abs(masked - z).max() > 1e-6
    np.testing.assert_allclose(model.capabilities.freeze(variables)(x), z, rtol=1e-9)


def test_mistakes():
    with pytest.raises(ValueError, match="per_example"):
        vgon(conv(), inner_noise="each")
    with pytest.raises(ValueError, match="num_steps=2"):
        vgon(conv(), num_steps=2)
    assert vgon(conv("none"), likelihood=squared_error).data_shape == (8, 8, 1)
