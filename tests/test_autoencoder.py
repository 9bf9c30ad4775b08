"""The autoencoder: its encoder against PyTorch, tied layers as transposes, and the whole against plain XLA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.decoders import EncoderNetwork, conv_decoder, conv_encoder, shared_outputs
from gon_jax.likelihoods import squared_error
from gon_jax.models.autoencoder import autoencoder

pytestmark = pytest.mark.usefixtures("x64")
SIZES = {"image_shape": (8, 8, 1), "latent_shape": (3,), "base_channels": 2}
X = np.random.default_rng(0).uniform(size=(5, 8, 8, 1))


def perturbed(params, double, scale=0.2):
    """Return parameters away from what initialization has of special."""
    leaves, tree = jax.tree.flatten(double(params))
    keys = jax.random.split(jax.random.key(7), len(leaves))
    return tree.unflatten([a + scale * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)])


@pytest.mark.parametrize(("norm", "latent_shape"), [("batch", (3,)), ("none", (4, 4, 3)), ("batch", (2, 2, 3))])
def test_encoder_is_pytorchs(norm, latent_shape, double):
    torch = pytest.importorskip("torch")
    encoder = conv_encoder((16, 16, 2), latent_shape, base_channels=2, norm=norm)
    params = perturbed(encoder.init(jax.random.key(0)), double)
    x = np.random.default_rng(0).uniform(size=(5, 16, 16, 2))
    layers, num = [], sum("StridedConv" in name for name in params)

    def add(module, weight, bias):
        module.weight.data, module.bias.data = torch.tensor(np.array(weight)), torch.tensor(np.array(bias))
        layers.append(module)

    for i in range(num):
        layer, to_vector = params[f"StridedConv_{i}"], len(latent_shape) == 1 and i == num - 1
        c_out, _, _, c_in = layer["kernel"].shape
        module = torch.nn.Conv2d(c_in, c_out, 4, *((1, 0) if to_vector else (2, 1)))
        add(module, layer["kernel"].transpose(0, 3, 1, 2), layer["bias"])
        if i < num - 1 and norm == "batch":
            add(torch.nn.BatchNorm2d(c_out), params[f"BatchNorm_{i}"]["scale"], params[f"BatchNorm_{i}"]["bias"])
        if i < num - 1:
            layers.append(torch.nn.ELU())
    expected = torch.nn.Sequential(*layers).double()(torch.tensor(x.transpose(0, 3, 1, 2)))
    z, stats = jax.jit(encoder.apply)(params, x)
    assert (stats is None) == (norm == "none")
    expected = expected.detach().numpy().transpose(0, 2, 3, 1).reshape(z.shape)
    np.testing.assert_allclose(z, expected, rtol=1e-11, atol=1e-12)


def test_initialization_is_pytorchs():
    params = conv_encoder(**(SIZES | {"base_channels": 32})).init(jax.random.key(0))
    for layer, fan in {"StridedConv_0": 16, "StridedConv_1": 16 * 32}.items():
        kernel = params[layer]["kernel"] * np.sqrt(fan)
        assert 0.97 < jnp.abs(kernel).max() <= 1 and abs(kernel.std() * np.sqrt(3) - 1) < 0.05
        assert jnp.abs(params[layer]["bias"] * np.sqrt(fan)).max() <= 1


@pytest.mark.parametrize("latent_shape", [(3,), (2, 2, 3), (4, 4, 3), (8, 8, 2)])
def test_tied_layers_are_the_decoders_transposed(latent_shape, double):
    """Linear and without biases, both are one matrix: <F z, y> = <z, F^T y>."""
    options = {"base_channels": 2, "norm": "none", "activation": lambda x: x}
    decoder = conv_decoder((16, 16, 1), latent_shape, output_activation="none", **options)
    encoder = conv_encoder((16, 16, 1), latent_shape, tied=True, **options)

    def without_bias(params):
        return {name: layer | {"bias": jnp.zeros_like(layer["bias"])} for name, layer in double(params).items()}

    params, own = (without_bias(part.init(jax.random.key(0))) for part in (decoder, encoder))
    assert all(list(layer) == ["bias"] for layer in own.values())
    z, y = (jax.random.normal(jax.random.key(i), (1, *shape)) for i, shape in enumerate([latent_shape, (16, 16, 1)]))
    forward = jnp.vdot(decoder.output(params, z), y)
    np.testing.assert_allclose(jnp.vdot(z, encoder.apply(own, y, decoder=params)[0]), forward, rtol=1e-12)


def reference_loss(params, x):
    """The tied autoencoder at 8x8 in XLA's own convolutions, biases before normalization and all."""
    decoder, encoder = params["decoder"], params["encoder"]
    first, last = decoder["Project_0"]["kernel"], decoder["TransposedConv_0"]["kernel"]

    def normalized(h, layer):
        h = (h - h.mean((0, 1, 2))) / jnp.sqrt(h.var((0, 1, 2)) + 1e-5)
        return jax.nn.elu(h * layer["scale"] + layer["bias"])

    h = jax.lax.conv_general_dilated(x, last, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "OHWI", "NHWC"))
    h = normalized(h + encoder["StridedConv_0"]["bias"], encoder["BatchNorm_0"])
    z = jnp.einsum("bijc,kijc->bk", h, first) + encoder["StridedConv_1"]["bias"]
    h = normalized(jnp.einsum("bk,kijc->bijc", z, first) + decoder["Project_0"]["bias"], decoder["BatchNorm_0"])
    spread = {"lhs_dilation": (2, 2), "dimension_numbers": ("NHWC", "IHWO", "NHWC")}  # a transposed convolution
    output = jax.lax.conv_general_dilated(h, last[:, ::-1, ::-1], (1, 1), [(2, 2)] * 2, **spread)
    return jnp.square(x - jax.nn.sigmoid(output + decoder["TransposedConv_0"]["bias"])).sum() / len(x)


def test_tied_autoencoder_is_its_reference(double):
    model = autoencoder(conv_decoder(**SIZES), conv_encoder(**SIZES, tied=True))
    params = perturbed(model.init(jax.random.key(0)).params, double)
    ours = jax.value_and_grad(lambda params: model.loss(Variables(params), {"x": X}, jax.random.key(1))[0])
    (value, gradient), expected = jax.jit(ours)(params), jax.jit(jax.value_and_grad(reference_loss))(params, X)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    for (path, g), e in zip(jax.tree.leaves_with_path(gradient), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-11, err_msg=jax.tree_util.keystr(path))
        idle = path[1].key in ("StridedConv_0", "Project_0") and path[2].key == "bias"  # normalization takes it away
        assert (g == 0).all() if idle else (g != 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"tied": True, "latent_shape": (4, 4, 2)}, {"latent_shape": (2, 2, 3)}])
def test_averages_of_one_batch_are_that_batchs_and_each_image_is_independent(options, double):
    sizes = SIZES | options
    tied = sizes.pop("tied", False)
    model = autoencoder(conv_decoder(**sizes), conv_encoder(**sizes, tied=tied))
    params, first = model.init(jax.random.key(0))
    by_batch = Variables(perturbed(params, double))
    loss, stats = jax.jit(model.loss)(by_batch, {"x": X}, jax.random.key(1))
    assert jax.tree.map(jnp.shape, stats) == jax.tree.map(jnp.shape, first)
    averaged = by_batch._replace(stats=stats)
    z = model.encode(averaged, X)
    np.testing.assert_allclose(model.encode(by_batch, X), z, rtol=1e-10)
    np.testing.assert_allclose(squared_error(model.decode(averaged, z), X).mean(), loss, rtol=1e-10)
    np.testing.assert_allclose(model.encode(averaged, X[2:3]), z[2:3], rtol=1e-10)
    np.testing.assert_allclose(model.decode(averaged, z[2:3]), model.decode(averaged, z)[2:3], rtol=1e-10)


def test_half_the_parameters():
    """The paper's claim, exactly: the mirror image has 255 numbers more, since its last bias is the latent's."""

    def count(init):
        return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(init, jax.random.key(0))))

    decoder = conv_decoder((32, 32, 1), (256,))
    model = autoencoder(decoder, conv_encoder((32, 32, 1), (256,)))
    tied = autoencoder(decoder, conv_encoder((32, 32, 1), (256,), tied=True))
    counts = [count(decoder.init), *(count(lambda key, m=m: m.init(key).params) for m in (model, tied))]
    assert counts == [303_697, 607_649, 304_289]


def test_an_encoder_to_2x2_mirrors_the_decoder():
    """Kernels of 16 from 1 to 16, 32, 64 and 64 channels, biases and, but for the last, scale and shift."""
    encoder = conv_encoder((32, 32, 1), (2, 2, 64))
    params = jax.eval_shape(encoder.init, jax.random.key(0))
    layers = [(1, 16), (16, 32), (32, 64), (64, 64)]
    expected = sum(16 * c_in * c_out + 3 * c_out for c_in, c_out in layers) - 2 * 64
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected == 107_152
    z, stats = jax.eval_shape(encoder.apply, params, jnp.zeros((3, 32, 32, 1)))
    assert z.shape == (3, 2, 2, 64) and [s["mean"].size for s in stats.values()] == [16, 32, 64]


def test_own_encoder():
    own = EncoderNetwork(
        lambda w, x, stats=None: (x.reshape(len(x), -1) @ w, None), lambda key: jnp.full((64, 3), 0.1), (3,)
    )
    model = autoencoder(conv_decoder(**SIZES, norm="group"), own)
    variables = model.init(jax.random.key(0))
    assert variables.stats is None
    np.testing.assert_allclose(model.encode(variables, X), X.reshape(5, -1) @ np.full((64, 3), 0.1), rtol=1e-6)


def test_tied_to_a_decoder_inside_another():
    decoder, encoder = conv_decoder(**SIZES), conv_encoder(**SIZES, norm="none", tied=True)
    params, inside = decoder.init(jax.random.key(0)), shared_outputs(decoder, 2).init(jax.random.key(0))
    own = encoder.init(jax.random.key(1))
    z, expected = (encoder.apply(own, X, decoder=each)[0] for each in (inside, params))
    np.testing.assert_array_equal(z, expected)


def test_mistakes():
    decoder = conv_decoder(**SIZES)
    with pytest.raises(ValueError, match="same latent_shape"):
        autoencoder(decoder, conv_encoder((8, 8, 1), (4,)))
    with pytest.raises(ValueError, match="expected images"):
        autoencoder(decoder, conv_encoder((16, 16, 1), (3,)))
    with pytest.raises(ValueError, match="width"):
        autoencoder(decoder, conv_encoder(**(SIZES | {"base_channels": 4}), tied=True))
    with pytest.raises(ValueError, match="latents"):
        autoencoder(decoder, EncoderNetwork(lambda w, x, stats=None: (x, None), lambda key: None, (3,)))
    with pytest.raises(ValueError, match="expected norm 'batch', 'group' or 'none', got 'layer'"):
        conv_encoder(**SIZES, norm="layer")
