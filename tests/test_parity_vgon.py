"""Parity with PyTorch: the authors' variational algorithm gives the same latents, bounds, gradients and training.

The numbers, in float64, are `goldens/vgon.npz`, made by `goldens/make_vgon.py` with the torch version it names; both
sides are given the same noise.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.decoders import conv_decoder
from gon_jax.encoding import encode
from gon_jax.likelihoods import bernoulli
from gon_jax.models import vgon
from gon_jax.models.variational import kl_to_standard_normal, posterior
from gon_jax.training import TrainState, make_optimizer, train_step

pytestmark = pytest.mark.usefixtures("x64")

GOLDENS = dict(np.load(Path(__file__).parent / "goldens" / "vgon.npz"))
LATENT_SIZE, BASE_CHANNELS, IMAGE_SIZE = 5, 2, 16
CASES = ["authors", "batch", "none", "shared"]
LAYERS = {  # our names of the layers of torch's nn.Sequential
    "0": "Project_0",
    "1": "BatchNorm_0",
    "3": "TransposedConv_0",
    "4": "BatchNorm_1",
    "6": "TransposedConv_1",
}
BEFORE_NORMALIZATION = ["Project_0", "TransposedConv_0"]  # their biases have gradient 0


def goldens(prefix):
    return {key.removeprefix(prefix): value for key, value in GOLDENS.items() if key.startswith(prefix)}


def from_torch(weights):
    """Return our parameters from torch's: linear weights transposed, kernels `(in, out, ...)` to `[in, ..., out]`."""
    params = {"mean": {}, "logvar": {}, "decoder": {}}
    for name, value in weights.items():
        part, *index, kind = name.split(".")
        layer = params["decoder"].setdefault(LAYERS[index[0]], {}) if index else params[part]
        if kind == "bias":
            layer["bias"] = jnp.asarray(value)
        elif value.ndim == 1:
            layer["scale"] = jnp.asarray(value)
        else:
            layer["kernel"] = jnp.asarray(value.T if value.ndim == 2 else value.transpose(0, 2, 3, 1))
    return params


def model_of(case, **options):
    sizes = {"base_channels": BASE_CHANNELS, "norm": "none" if case == "none" else "batch"}
    decoder = conv_decoder((IMAGE_SIZE, IMAGE_SIZE, 1), (LATENT_SIZE,), output_activation="none", **sizes)
    options |= {"inner_noise": "shared" if case == "shared" else "per_example"}
    return vgon(decoder, step_size=float(GOLDENS[f"{case}/step_size"]), **options), decoder


def batch_of(case, step=0):
    """Return images and this step's noise; what is shared has no batch axis, and is encoded by a fast form."""
    inner, outer = jnp.asarray(GOLDENS["noise"][step])
    images = GOLDENS["images"].transpose(0, 2, 3, 1) / 255
    return {"x": jnp.asarray(images), "inner_noise": inner[0] if case == "shared" else inner, "outer_noise": outer}


def relative(a, b):
    """Largest difference, relative to the largest entry of `b`."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape and a.dtype == b.dtype == np.float64
    return np.abs(a - b).max() / np.abs(b).max()


@partial(jax.jit, static_argnums=0)
def by_definition(case, params, batch):
    """Return the latent, and the two terms of each example in the inner and in the outer pass."""
    decoder, x = model_of(case)[1], batch["x"]

    def terms(params, z, noise):
        q = posterior(params, z)
        return bernoulli(decoder.output(params["decoder"], q.draw(noise)), x), kl_to_standard_normal(q)

    inner = partial(terms, noise=batch["inner_noise"])
    z0 = jnp.zeros((len(x), LATENT_SIZE))
    sum_of = {"likelihood": lambda output, x: sum(output), "step_size": GOLDENS[f"{case}/step_size"]}
    z = encode(inner, params, x, z0, **sum_of)
    return {"z": z} | {
        f"{name}_{term}": value
        for name, pair in {"inner": inner(params, z0), "outer": terms(params, z, batch["outer_noise"])}.items()
        for term, value in zip(("nll", "kl"), pair, strict=True)
    }


@pytest.mark.parametrize("case", CASES)
def test_parts(case):
    for name, value in by_definition(case, from_torch(goldens(f"{case}/weights/")), batch_of(case)).items():
        assert relative(value, GOLDENS[f"{case}/{name}"]) < 1e-9, name


@pytest.mark.quick("batch", "none")
@pytest.mark.parametrize("case", CASES)
def test_model(case):
    golden, params = goldens(f"{case}/"), from_torch(goldens(f"{case}/weights/"))

    def loss_of(params, **options):
        return model_of(case, **options)[0].loss(Variables(params), batch_of(case), jax.random.key(0))[0]

    @jax.jit
    def run(params):
        of_nll = loss_of(params, kl_weight=0.0)
        return of_nll, jax.value_and_grad(loss_of)(params)

    nll, (loss, gradient) = run(params)
    assert relative(nll, golden["outer_nll"].mean()) < 1e-9
    assert relative(loss, (golden["outer_nll"] + golden["outer_kl"]).mean()) < 1e-9

    expected = from_torch(goldens(f"{case}/gradient/"))
    assert jax.tree.structure(gradient) == jax.tree.structure(expected)
    for (path, g), e in zip(jax.tree.leaves_with_path(gradient), jax.tree.leaves(expected), strict=True):
        names = [p.key for p in path]
        if case == "none" or names[-1] != "bias" or names[-2] not in BEFORE_NORMALIZATION:
            assert relative(g, e) < 1e-9, names


@pytest.mark.quick("batch")
@pytest.mark.parametrize("case", CASES)
def test_training(case):
    model, optimizer = model_of(case)[0], make_optimizer(float(GOLDENS["learning_rate"]))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    stats = jax.tree.map(lambda a: jnp.zeros(a.shape), shapes.stats)  # averaged beside training, never read by it
    params = from_torch(goldens(f"{case}/weights/"))
    state = TrainState(jnp.int32(0), params, stats, optimizer.init(params), jax.random.key(0), None)
    one_step = jax.jit(partial(train_step, model, optimizer))
    losses = []
    for step in range(50):
        state, loss = one_step(state, batch_of(case, step))
        losses.append(loss)
    np.testing.assert_allclose(losses, GOLDENS[f"{case}/training_losses"], rtol=1e-9)
    untrained, _ = jax.jit(model.loss)(Variables(params), batch_of(case, 49), jax.random.key(0))
    assert losses[-1] < untrained - 0.1


def test_parameter_count():
    decoder = conv_decoder((32, 32, 1), (256,), output_activation="none")
    shapes = jax.eval_shape(vgon(decoder).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes.params)) == 435_281
