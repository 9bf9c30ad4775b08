"""The variational autoencoder: its bound where that is known in closed form, and whose noise is whose."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gon_jax.base import Variables
from gon_jax.decoders import EncoderNetwork, conv_decoder, conv_encoder, from_function
from gon_jax.likelihoods import gaussian
from gon_jax.models import vgon
from gon_jax.models.vae import vae

pytestmark = pytest.mark.usefixtures("x64")
K, D, SCALE = 3, 6, 0.7


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def linear_vae(**options):
    """X = t V + c with noise of scale 0.7, and an encoder that is a matrix."""
    init = {"v": normal(1, K, D), "c": normal(2, D)}
    decoder = from_function(lambda p, t: t @ p["v"] + p["c"], lambda key: init, (K,))
    encoder = EncoderNetwork(lambda w, x, stats=None: (x @ w, None), lambda key: normal(3, D, K), (K,))
    return vae(decoder, encoder, likelihood=gaussian(SCALE), **options)


def test_loss_is_the_closed_form():
    """-log p is a quadratic in t, whose mean the 2 k points +-sqrt(k) e_i have exactly."""
    model = linear_vae(kl_weight=optax.linear_schedule(0.0, 1.0, 4))
    params, x = model.init(jax.random.key(0)).params, normal(4, 5, D)
    points = jnp.sqrt(K) * jnp.concatenate([jnp.eye(K), -jnp.eye(K)])
    batch = {"x": jnp.repeat(x, 2 * K, axis=0), "noise": jnp.tile(points, (5, 1)), "step": 3}

    def expected(params):
        v, c = params["decoder"]["v"], params["decoder"]["c"]
        mean, logvar = (
            x @ params["encoder"] @ params[name]["kernel"] + params[name]["bias"] for name in ("mean", "logvar")
        )
        square = jnp.square(x - mean @ v - c).sum(1) + jnp.exp(logvar) @ jnp.square(v).sum(1)
        nll = square / (2 * SCALE**2) + D * jnp.log(SCALE * jnp.sqrt(2 * jnp.pi))
        kl = 0.5 * (mean**2 + jnp.exp(logvar) - logvar - 1).sum(1)
        return (nll + 0.75 * kl).mean()

    def loss(params):
        return model.loss(Variables(params), batch, jax.random.key(0))[0]

    ours, closed = (jax.jit(jax.value_and_grad(function))(params) for function in (loss, expected))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(closed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)  # the schedule is in 32 bits
        assert (a != 0).all()


def test_with_the_exact_posterior_every_weight_is_the_evidence():
    """With orthogonal rows of V the posterior is diagonal, and p(x, t) / q(t given x) = p(x) whatever t is drawn."""
    model, x = linear_vae(), normal(4, 5, D)
    params = model.init(jax.random.key(0)).params
    v = jnp.linalg.qr(normal(5, D, K))[0].T * jnp.array([[0.5], [1.0], [2.0]])
    c = params["decoder"]["c"]
    variance = 1 / (1 + jnp.square(v).sum(1) / SCALE**2)
    params |= {
        "decoder": {"v": v, "c": c},
        "encoder": v.T / SCALE**2,
        "mean": {"kernel": jnp.diag(variance), "bias": -c @ v.T / SCALE**2 * variance},
        "logvar": {"kernel": jnp.zeros((K, K)), "bias": jnp.log(variance)},
    }
    bound = model.capabilities.bound(Variables(params), x, jax.random.split(jax.random.key(0), 5))
    evidence = jax.scipy.stats.multivariate_normal.logpdf(x, c, v.T @ v + SCALE**2 * jnp.eye(D))
    np.testing.assert_allclose(bound.log_weight, evidence, rtol=1e-10)
    other = model.capabilities.bound(Variables(params), x, jax.random.split(jax.random.key(1), 5))
    assert (jnp.abs(other.nll - bound.nll) > 1e-6).all()


@pytest.mark.slow
def test_evaluated_by_averages_an_image_does_not_depend_on_its_batch(double):
    model = vae(*conv_pair())
    x, keys = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 8, 8, 1))), jax.random.split(jax.random.key(3), 5)
    by_batch = Variables(double(model.init(jax.random.key(0)).params))
    noise = normal(6, 5, 3)

    @jax.jit
    def loss_of(params, key):
        return model.loss(Variables(params), {"x": x, "noise": noise}, key)

    (loss, stats), gradient = jax.value_and_grad(loss_of, has_aux=True)(by_batch.params, jax.random.key(1))
    variables = by_batch._replace(stats=stats)

    np.testing.assert_allclose(model.encode(variables, x), model.encode(by_batch, x), rtol=1e-10)
    np.testing.assert_allclose(loss, loss_of(by_batch.params, jax.random.key(9))[0], rtol=1e-12)  # the noise was given

    @jax.jit
    def evaluated(x, keys):
        return (model.encode(variables, x), *model.capabilities.bound(variables, x, keys))

    for a, b in zip(evaluated(x[2:3], keys[2:3]), evaluated(x, keys), strict=True):
        np.testing.assert_allclose(a, b[2:3], rtol=1e-10)
    idle = {("decoder", "Project_0"), ("encoder", "StridedConv_0")}  # their biases go in normalization
    for path, leaf in jax.tree.leaves_with_path(gradient):
        names = [part.key for part in path]
        assert (leaf == 0).all() if names[-1] == "bias" and tuple(names[:2]) in idle else (leaf != 0).all(), names


def conv_pair(**options):
    sizes = {"image_shape": (8, 8, 1), "latent_shape": (3,), "base_channels": 2} | options
    return conv_decoder(**sizes), conv_encoder(**sizes)


def test_encode_is_the_mean_and_decode_takes_it_to_the_decoder(double):
    decoder, encoder = conv_pair(latent_shape=(4, 4, 1), norm="group")
    model = vae(decoder, encoder, logvar=-1.0)
    variables = double(model.init(jax.random.key(0)))
    params = variables.params
    assert sorted(params) == ["decoder", "encoder", "mean"] and variables.stats is None
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 8, 8, 1)))
    outputs = encoder.apply(params["encoder"], x)[0].reshape(2, -1)
    mean = (outputs @ params["mean"]["kernel"] + params["mean"]["bias"]).reshape(2, 4, 4, 1)
    np.testing.assert_allclose(model.encode(variables, x), mean, rtol=1e-12)
    decoded = jax.nn.sigmoid(decoder.logits(params["decoder"], mean)[0])
    np.testing.assert_allclose(model.decode(variables, model.encode(variables, x)), decoded, rtol=1e-12)
    drawn = model.decode(variables, jax.random.normal(jax.random.key(5), (2, 4, 4, 1)))
    np.testing.assert_allclose(model.capabilities.sample(variables, jax.random.key(5), 2), drawn, rtol=1e-12)


def test_it_has_the_variational_gons_parameters_and_an_encoders():
    models = vae(*conv_pair()), vgon(conv_pair()[0])
    ours, gons = (jax.tree.map(jnp.shape, jax.eval_shape(model.init, jax.random.key(0)).params) for model in models)
    del ours["encoder"]
    assert ours == gons
