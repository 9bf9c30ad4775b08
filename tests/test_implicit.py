"""The implicit GON: integrals over any set of points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.coordinates import grid, morton_order, stratified_subset
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.encoding import encode
from gon_jax.inference import decode_at
from gon_jax.metrics import evaluate
from gon_jax.models import gon

SIZE = 4


def decoder(coordinates=None, num_channels=1):
    coordinates = grid(SIZE, SIZE) if coordinates is None else coordinates
    return siren_decoder(coordinates, 3, num_channels, hidden_dim=8, num_layers=2)


def images(num=5, seed=0, num_channels=1):
    return jnp.asarray(np.random.default_rng(seed).uniform(size=(num, SIZE, SIZE, num_channels)), jnp.float32)


def test_all_points_are_encoded_by_the_definition_with_the_authors_step():
    for num_channels in (1, 3):
        net = decoder(num_channels=num_channels)
        model = gon(net)
        variables, x = model.init(jax.random.key(0)), images(num_channels=num_channels)
        z = encode(net.output, variables.params, x, jnp.zeros((5, 3)), step_size=1 / (64 * num_channels))
        np.testing.assert_allclose(model.encode(variables, x), z, rtol=1e-4, atol=1e-6)
        assert model.data_shape == (SIZE, SIZE, num_channels)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_subsets_estimate_latents_without_bias(double):
    """The mean over keys of a latent from n points is the latent from all."""
    model = gon(decoder(), step_size=0.1)
    variables = double(model.init(jax.random.key(0)))
    x, points = images(3).astype(float), grid(SIZE, SIZE).reshape(-1, 2)

    def latents(key):
        index = stratified_subset(key, SIZE * SIZE, 5)
        return model.capabilities.at(points[index]).encode(variables, x.reshape(3, -1, 1)[:, index])

    z = jax.lax.map(jax.jit(latents), jax.random.split(jax.random.key(1), 4000))
    exact, error = model.encode(variables, x), z.std(0) / np.sqrt(4000)
    assert (np.abs(z.mean(0) - exact) < 4.5 * error).all() and (error < 0.2 * np.abs(exact).max()).all()


def test_loss_of_a_subset_is_that_of_its_points():
    model = gon(decoder(), num_points=5)
    variables, x, key = model.init(jax.random.key(0)), images(), jax.random.key(3)

    index = morton_order(SIZE, SIZE)[stratified_subset(key, 16, 5)]
    sub = decoder(grid(SIZE, SIZE).reshape(-1, 2)[index])
    points = x.reshape(5, 16, 1)[:, index]
    z = encode(sub.output, variables.params, points, jnp.zeros((5, 3)), step_size=16 / 5 / 64)
    expected = 16 / 5 * jnp.square(points - sub.output(variables.params, z)).sum((1, 2)).mean()
    np.testing.assert_allclose(model.loss(variables, {"x": x}, key)[0], expected, rtol=1e-5)
    assert float(model.loss(variables, {"x": x}, jax.random.key(4))[0]) != float(expected)
    gradient = jax.grad(lambda p: model.loss(Variables(p), {"x": x}, key)[0])(variables.params)
    assert all(jnp.isfinite(a).all() and jnp.abs(a).max() > 0 for a in jax.tree.leaves(gradient))
    assert evaluate(model, variables, np.asarray(x))["squared_error"] > 0  # of all points, at evaluation


@pytest.mark.slow
def test_weights_are_a_mask():
    """What is hidden has no say; what is known counts N / n; examples may differ."""
    model = gon(decoder())
    variables, x = model.init(jax.random.key(0)), images(2)
    known = jnp.asarray(np.random.default_rng(1).uniform(size=(2, SIZE, SIZE)) < 0.5, jnp.float32)
    z = model.capabilities.at(grid(SIZE, SIZE), known).encode(variables, x)
    hidden_noise = jnp.where(known[..., None] > 0, x, images(2, seed=9))
    np.testing.assert_allclose(
        model.capabilities.at(grid(SIZE, SIZE), known).encode(variables, hidden_noise), z, atol=1e-7
    )
    for i in range(2):  # the same as the model on those points alone
        index = np.flatnonzero(known[i])
        alone = model.capabilities.at(grid(SIZE, SIZE).reshape(-1, 2)[index])
        np.testing.assert_allclose(alone.encode(variables, x[i].reshape(1, -1, 1)[:, index])[0], z[i], rtol=1e-4)
    ones = model.capabilities.at(grid(SIZE, SIZE), jnp.ones((SIZE, SIZE)))
    np.testing.assert_allclose(ones.encode(variables, x), model.encode(variables, x), rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_decoding_at_other_points_in_chunks():
    model = gon(decoder())
    variables, z = model.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (20, 3))
    there = grid(7, 9)
    whole = model.capabilities.at(there).decode(variables, z)
    np.testing.assert_allclose(decode_at(model, variables, z, there, chunk_size=10), whole, atol=1e-5)
    at_home = decode_at(model, variables, z, grid(SIZE, SIZE))
    np.testing.assert_allclose(at_home, model.decode(variables, z), atol=1e-5)


def test_mistakes():
    with pytest.raises(ValueError, match="a decoder of coordinates for num_points=3"):
        gon(conv_decoder((8, 8, 1), (3,), base_channels=2), num_points=3)
    with pytest.raises(ValueError, match="from 1 to 16"):
        gon(decoder(), num_points=17)
    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    with pytest.raises(ValueError, match="implicit"):
        decode_at(model, model.init(jax.random.key(0)), np.zeros((1, 3)), grid(4, 4))
    with pytest.raises(ValueError, match="nothing is known"):
        gon(decoder()).capabilities.at(grid(SIZE, SIZE), jnp.zeros((SIZE, SIZE)))
    with pytest.raises(ValueError, match=r"1,000,000 examples \[1000, 1000, 1\] to fit into memory, got 8e\+03 GB"):
        variables = gon(decoder()).init(jax.random.key(0))
        decode_at(gon(decoder()), variables, np.zeros((1_000_000, 3)), np.broadcast_to(np.zeros(2), (1000, 1000, 2)))
    model = gon(decoder())
    with pytest.raises(ValueError, match="expected"):
        decode_at(model, model.init(jax.random.key(0)), np.zeros((1, 3)), grid(4, 4, 4))
