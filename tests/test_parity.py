"""Parity with PyTorch: the authors' algorithm gives the same latents, losses, gradients and training, in float64.

The numbers are `goldens/conv_gon.npz`, made by `goldens/make_conv_gon.py` with the torch version it names.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.decoders import conv_decoder
from gon_jax.encoding import encode, gon_loss
from gon_jax.likelihoods import squared_error
from gon_jax.metrics import evaluate
from gon_jax.models import gon
from gon_jax.training import TrainState, make_optimizer, train_step

pytestmark = pytest.mark.usefixtures("x64")

GOLDENS = dict(np.load(Path(__file__).parent / "goldens" / "conv_gon.npz"))
FORMS = ["definition", "pullback", "jacobian"]
LATENT_SIZE, BASE_CHANNELS, BATCH_SIZE, PIXELS = 6, 2, 8, 32 * 32
LAYERS = {  # our names of the layers of torch's nn.Sequential
    "0": "Project_0",
    "1": "BatchNorm_0",
    "3": "TransposedConv_0",
    "4": "BatchNorm_1",
    "6": "TransposedConv_1",
    "7": "BatchNorm_2",
    "9": "TransposedConv_2",
}
BEFORE_NORMALIZATION = ["Project_0", "TransposedConv_0", "TransposedConv_1"]  # their biases have gradient 0


def goldens(prefix):
    return {key.removeprefix(prefix): value for key, value in GOLDENS.items() if key.startswith(prefix)}


def from_torch(weights):
    """Return our parameters from torch's: kernels `(in, out, kh, kw)` to `[in, kh, kw, out]`, not flipped."""
    params = {layer: {} for layer in LAYERS.values()}
    for name, value in weights.items():
        index, kind = name.split(".")
        layer = params[LAYERS[index]]
        if kind == "bias":
            layer["bias"] = jnp.asarray(value)
        elif value.ndim == 4:
            layer["kernel"] = jnp.asarray(value.transpose(0, 2, 3, 1))
        else:
            layer["scale"] = jnp.asarray(value)
    return params


def relative(a, b):
    """Largest difference, relative to the largest entry of `b`."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype == np.float64
    return np.abs(a - b).max() / np.abs(b).max()


def decoder_for(channels):
    return conv_decoder((32, 32, channels), (LATENT_SIZE,), base_channels=BASE_CHANNELS)


def images_of(case):
    return GOLDENS[f"{case}/images"].transpose(0, 2, 3, 1) / 255


@partial(jax.jit, static_argnums=0)
def run(form, params, x, step_size):
    """Return latents, losses, their mean and its gradient, by the definition or by the model with a strategy."""
    decoder = decoder_for(x.shape[-1])
    if form == "definition":
        arguments = (x, jnp.zeros((len(x), LATENT_SIZE)))
        z = encode(decoder.output, params, *arguments, step_size=step_size)

        def loss(params):
            losses = gon_loss(decoder.output, params, *arguments, step_size=step_size)
            return losses.mean(), losses
    else:
        model = gon(decoder, step_size=step_size, strategy=form)
        z = model.encode(Variables(params), x)

        def loss(params):
            losses = squared_error(model.decode(Variables(params), z), x)
            return model.loss(Variables(params), {"x": x}, None)[0], losses

    (mean, losses), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return z, losses, mean, gradient


@pytest.mark.quick("gray-definition", "authors-pullback", "color-jacobian")
@pytest.mark.parametrize(
    "case, form", [*(("gray", f) for f in FORMS), *(("authors", f) for f in FORMS), ("color", "jacobian")]
)
def test_one_batch(case, form):
    golden = goldens(f"{case}/")
    x = jnp.asarray(images_of(case)[:BATCH_SIZE])
    z, losses, mean, gradient = run(form, from_torch(goldens(f"{case}/weights/")), x, float(golden["step_size"]))
    assert relative(z, golden["z"]) < 1e-9
    assert relative(losses, golden["losses"]) < 1e-9
    assert relative(mean, golden["losses"].mean()) < 1e-9

    expected = from_torch(goldens(f"{case}/gradient/"))
    assert jax.tree.structure(gradient) == jax.tree.structure(expected)
    for (path, g), e in zip(jax.tree.leaves_with_path(gradient), jax.tree.leaves(expected), strict=True):
        layer, kind = (p.key for p in path)
        if kind != "bias" or layer not in BEFORE_NORMALIZATION:
            assert relative(g, e) < 1e-9, (layer, kind)


def optimizer():
    """Torch's Adam with its epsilon 1e-8 on a mean over pixels is ours on their sum with 1e-8 times the pixels."""
    return make_optimizer(float(GOLDENS["learning_rate"]), epsilon=1e-8 * PIXELS)


@jax.jit
def one_step(state, x, step_size):
    return train_step(gon(decoder_for(1), step_size=step_size), optimizer(), state, {"x": x})


@pytest.mark.parametrize("case", ["gray", "authors"])
def test_training(case):
    golden, images = goldens(f"{case}/"), images_of(case)
    params, step_size = from_torch(goldens(f"{case}/weights/")), float(golden["step_size"])
    shapes = jax.eval_shape(gon(decoder_for(1)).init, jax.random.key(0))
    stats = jax.tree.map(lambda a: jnp.zeros(a.shape), shapes.stats)  # averaged beside training, never read by it
    state = TrainState(jnp.int32(0), params, stats, optimizer().init(params), jax.random.key(0), None)
    losses = []
    for i in range(50):
        state, loss = one_step(state, images[:BATCH_SIZE] if i % 2 == 0 else images[-BATCH_SIZE:], step_size)
        losses.append(loss)
    np.testing.assert_allclose(np.array(losses) / PIXELS, golden["training_losses"], rtol=1e-6)
    assert losses[-1] < 0.9 * losses[0]


def test_evaluation():
    """Batch statistics; images count alike though the last batch is smaller; our default step is the authors'."""
    golden, params = goldens("authors/"), from_torch(goldens("authors/weights/"))
    model = gon(decoder_for(1))
    images = images_of("authors")
    order, mixed = np.random.RandomState(0).permutation(len(images)), np.empty_like(images)
    mixed[order] = images  # which `evaluate` puts back into the order of the authors' batches
    metrics = evaluate(model, Variables(params), mixed, evaluation="batch", batch_size=BATCH_SIZE)
    np.testing.assert_allclose(metrics["squared_error"], golden["evaluation"], rtol=1e-9)


@pytest.mark.parametrize("latent_size, channels, count", [(32, 1, 74_321), (256, 1, 303_697), (256, 3, 304_211)])
def test_parameter_counts(latent_size, channels, count):
    shapes = jax.eval_shape(conv_decoder((32, 32, channels), (latent_size,)).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_initialization():
    """Weights and biases are U(+-1/sqrt(16 out)), by the formula and by what torch drew."""
    keys = jax.random.split(jax.random.key(0), 1000)
    params = jax.jit(jax.vmap(decoder_for(1).init))(keys)
    for name, (smallest, largest, deviation) in goldens("initial/").items():
        index, kind = name.split(".")
        layer = params[LAYERS[index]]
        if "scale" in layer:
            assert (layer["bias"] == 0).all() and (layer["scale"] == 1).all()
            continue
        values = layer["bias" if kind == "bias" else "kernel"]
        bound = 1 / np.sqrt(16 * layer["bias"].shape[-1])
        assert -bound <= values.min() < -0.99 * bound and 0.99 * bound < values.max() <= bound, name
        np.testing.assert_allclose([values.min(), values.max()], [smallest, largest], rtol=0.01)
        np.testing.assert_allclose(values.std(), deviation, rtol=0.05)
