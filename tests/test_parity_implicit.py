"""Parity with PyTorch: the authors' implicit GON gives the same latents, losses, gradients and training, in float64.

The numbers are `goldens/implicit_gon.npz`, made by `goldens/make_implicit_gon.py` with the torch version it names.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.decoders import siren_decoder
from gon_jax.encoding import encode, gon_loss
from gon_jax.likelihoods import squared_error
from gon_jax.models import gon
from gon_jax.training import TrainState, make_optimizer, train_step

pytestmark = pytest.mark.usefixtures("x64")

GOLDENS = dict(np.load(Path(__file__).parent / "goldens" / "implicit_gon.npz"))
LATENT_SIZE, HIDDEN_DIM, BATCH_SIZE = 4, 16, 5
CASES = ["gray", "color"]
FORMS = ["definition", "pullback", "jacobian", "pointwise"]


def goldens(prefix):
    return {key.removeprefix(prefix): value for key, value in GOLDENS.items() if key.startswith(prefix)}


def from_torch(weights):
    """Return our parameters from torch's linear layers."""
    params = {}
    for name, value in weights.items():
        index, kind = name.split("/")
        entry = {"kernel": jnp.asarray(value.T)} if kind == "weight" else {"bias": jnp.asarray(value)}
        params.setdefault(f"Dense_{index}", {}).update(entry)
    return params


def setting(case):
    """Return the decoder, its parameters, the images and the authors' step size."""
    golden = goldens(f"{case}/")
    size, channels = int(golden["image_size"]), golden["images"].shape[-1]
    params = from_torch(goldens(f"{case}/weights/"))
    axis = jnp.linspace(-1, 1, size)
    points = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1)
    np.testing.assert_allclose(points, grid(size, size), atol=1e-7)  # ours are float32
    decoder = siren_decoder(points, LATENT_SIZE, channels, hidden_dim=HIDDEN_DIM, num_layers=len(params) - 1)
    images = golden["images"].reshape(-1, size, size, channels)
    return decoder, params, images, 1 / (BATCH_SIZE * channels)


def relative(a, b):
    """Largest difference, relative to the largest entry of `b`."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype == np.float64
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.quick("gray-definition", "color-pointwise", "gray-pullback")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CASES)
def test_one_batch(case, form):
    decoder, params, images, step_size = setting(case)
    x = jnp.asarray(images[:BATCH_SIZE])

    @partial(jax.value_and_grad, has_aux=True)
    def run(params):
        if form == "definition":
            arguments = (x, jnp.zeros((BATCH_SIZE, LATENT_SIZE)))
            losses = gon_loss(decoder.output, params, *arguments, step_size=step_size)
            return losses.mean(), (encode(decoder.output, params, *arguments, step_size=step_size), losses)
        model, variables = gon(decoder, step_size=step_size, strategy=form), Variables(params)
        z = model.encode(variables, x)
        return model.loss(variables, {"x": x}, None)[0], (z, squared_error(model.decode(variables, z), x))

    (mean, (z, losses)), gradient = jax.jit(run)(params)
    golden, channels = goldens(f"{case}/"), x.shape[-1]  # the authors' loss is a mean over channels, ours their sum
    assert relative(z, golden["z"]) < 1e-9
    assert relative(losses / channels, golden["losses"]) < 1e-9
    assert relative(mean / channels, golden["losses"].mean()) < 1e-9
    expected = from_torch(goldens(f"{case}/gradient/"))
    assert jax.tree.structure(gradient) == jax.tree.structure(expected)
    for (path, g), e in zip(jax.tree.leaves_with_path(gradient), jax.tree.leaves(expected), strict=True):
        assert relative(g / channels, e) < 1e-9, path


@pytest.mark.parametrize("case", CASES)
def test_training(case):
    """Torch's Adam with its epsilon 1e-8 on a mean over channels is ours on their sum with 1e-8 times the channels."""
    decoder, params, images, step_size = setting(case)
    model, channels = gon(decoder, step_size=step_size), images.shape[-1]
    optimizer = make_optimizer(float(GOLDENS["learning_rate"]), epsilon=1e-8 * channels)
    step = jax.jit(partial(train_step, model, optimizer))
    state = TrainState(jnp.int32(0), params, None, optimizer.init(params), jax.random.key(0), None)
    losses = []
    for i in range(50):
        state, loss = step(state, {"x": images[:BATCH_SIZE] if i % 2 == 0 else images[-BATCH_SIZE:]})
        losses.append(loss)
    np.testing.assert_allclose(np.array(losses) / channels, goldens(f"{case}/")["training_losses"], rtol=1e-8)
    assert losses[-1] < 0.9 * losses[0]
