"""Every model as a program of any batch size, for CPUs, GPUs and TPUs at once, beside the model itself."""

import importlib.util
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.export import deserialize, symbolic_shape

from gon_jax.base import Variables
from gon_jax.coordinates import grid
from gon_jax.decoders import (
    conv_decoder,
    conv_encoder,
    fourier_decoder,
    from_function,
    mixed_precision,
    mlp_decoder,
    modulated_siren_decoder,
    shared_outputs,
    siren_decoder,
)
from gon_jax.inference import frozen_encoder
from gon_jax.likelihoods import discretized_logistic, gaussian_scale, squared_error
from gon_jax.linearization import choose_strategy, possible_strategies
from gon_jax.models import (
    autoencoder,
    glo,
    gon,
    gon_classifier,
    least_squares_gon,
    multi_step_gon,
    translation_gon,
    vae,
    vgon,
)
from gon_jax.models.exporting import export_function
from gon_jax.ops import transposed_conv

SHAPE = (8, 8, 1)


def conv(norm="batch", latent_shape=(3,), channels=1):
    return conv_decoder((*SHAPE[:2], channels), latent_shape, base_channels=2, norm=norm)


def encoder(norm="batch", **options):
    return conv_encoder(SHAPE, (3,), base_channels=2, norm=norm, **options)


def implicit(make=siren_decoder, **options):
    return make(grid(4, 4), 3, hidden_dim=4, num_layers=2, **options)


def function_decoder(independent=True):
    def init(key):
        return jax.random.normal(key, (3, 64))

    return from_function(lambda w, z: jnp.tanh(z @ w).reshape(-1, *SHAPE), init, (3,), independent=independent)


MODELS = {
    "gon batch": lambda: gon(conv()),
    "gon group": lambda: gon(conv("group")),
    "gon none": lambda: gon(conv("none")),
    "gon spatial": lambda: gon(conv(latent_shape=(2, 2, 2))),
    "gon 16 bits": lambda: gon(mixed_precision(conv())),
    "gon cotangents": lambda: gon(conv(channels=2), likelihood=discretized_logistic),
    "gon shared outputs": lambda: gon(shared_outputs(implicit(), 2), likelihood=gaussian_scale),
    "gon definition": lambda: gon(function_decoder(independent=False)),
    "mlp": lambda: gon(mlp_decoder(SHAPE, (3,), hidden_dim=4)),
    "siren": lambda: gon(implicit(), num_points=5),
    "modulated": lambda: gon(implicit(modulated_siren_decoder)),
    "fourier": lambda: gon(implicit(fourier_decoder, num_frequencies=4)),
    "least squares": lambda: least_squares_gon(conv(), learn_damping=True),
    "least squares none": lambda: least_squares_gon(conv("none")),
    "vgon": lambda: vgon(conv()),
    "vgon without noise": lambda: vgon(conv(), inner_noise="none"),
    "vgon drawn origin": lambda: vgon(conv(), origin_scale=0.1),
    "vgon siren": lambda: vgon(implicit(), likelihood=squared_error, inner_noise="shared"),
    "classifier": lambda: gon_classifier(conv(), 4),
    "translation": lambda: translation_gon(conv("none")),
    "multi-step": lambda: multi_step_gon(conv(), num_steps=2),
    "multi-step drawn": lambda: multi_step_gon(conv(), num_steps=2, origin_scale=0.1),
    "glo": lambda: glo(conv(), num_steps=2),
    "autoencoder": lambda: autoencoder(conv(), encoder()),
    "autoencoder tied": lambda: autoencoder(conv(), encoder(tied=True)),
    "vae": lambda: vae(conv("none"), encoder("none")),
}


def variables_of(model):
    """Return random variables without compiling `init`; statistics are positive, as variances are."""
    rng = np.random.default_rng(0)
    params, stats = jax.eval_shape(model.init, jax.random.key(0))

    def numbers(low):
        return lambda a: jnp.asarray(rng.uniform(low, 0.5, a.shape), a.dtype)

    return Variables(jax.tree.map(numbers(-0.5), params), jax.tree.map(numbers(0.1), stats))


def run(program, x):
    return jax.device_get(deserialize(program).call(x))


def check(program, function, shape, sizes=(1, 3, 64)):
    """Compare a program with the function that it is of, at several batch sizes; examples are independent."""
    x = np.random.default_rng(1).uniform(size=(max(sizes), *shape)).astype(np.float32)
    expected = jax.device_get(jax.jit(function)(x))
    for size in sizes:
        ours = run(program, x[:size])
        for name in expected:
            right = expected[name]
            assert ours[name].dtype == right.dtype
            np.testing.assert_allclose(ours[name], right[:size], rtol=0, atol=1e-4 * np.abs(right).max(), err_msg=name)


@pytest.mark.quick("gon batch", "vgon")
@pytest.mark.parametrize("name", MODELS)
def test_models_of_any_batch_size(name):
    """Encode, reconstruct, and classify where the model does."""
    model = MODELS[name]()
    variables = variables_of(model)

    def function(x):
        z = model.encode(variables, x)
        result = {"z": z, "x_hat": model.decode(variables, z)}
        classify = model.capabilities.classify
        return result if classify is None else result | {"logits": classify(variables, x)}

    check(export_function(function, model.data_shape), function, model.data_shape)


@pytest.mark.parametrize("name", ["gon none", "siren", "vgon siren"])
def test_frozen_encoders_of_any_batch_size(name):
    """Those of models with batch statistics are these models' `encode`, above."""
    model = MODELS[name]()
    frozen = frozen_encoder(model, variables_of(model))
    program = export_function(lambda x: {"z": frozen(x)}, model.data_shape)
    check(program, lambda x: {"z": frozen(x)}, model.data_shape)


def test_convolutions_in_pieces(monkeypatch):
    """Where an example fills a piece, a batch of any size is cut into its examples."""
    monkeypatch.setattr(transposed_conv, "PIECE_BYTES", 1)
    model = MODELS["vae"]()
    variables = variables_of(model)

    def function(x):
        z = model.encode(variables, x)
        return {"z": z, "x_hat": model.decode(variables, z)}

    check(export_function(function, model.data_shape, platforms=("cpu",)), function, model.data_shape, sizes=(1, 3))


def test_decoding_and_bytes():
    """Latents as the argument; and images as bytes, which the program divides by 255."""
    model = gon(mlp_decoder(SHAPE, (3,), hidden_dim=4))
    variables = variables_of(model)
    decode = partial(model.decode, variables)
    z = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    np.testing.assert_allclose(run(export_function(decode, (3,)), z), jax.jit(decode)(z), rtol=1e-5)
    x = np.arange(2 * 64, dtype=np.uint8).reshape(2, *SHAPE)
    encode = partial(model.encode, variables)
    program = export_function(encode, SHAPE, jnp.uint8, platforms=("cpu",))
    np.testing.assert_allclose(run(program, x), jax.jit(encode)(x), rtol=1e-4)


@pytest.mark.parametrize("decoder", [conv("none"), implicit()], ids=["conv", "siren"])
def test_a_symbolic_batch_size_counts_as_64(decoder):
    params, (b,) = jax.eval_shape(decoder.init, jax.random.key(0)), symbolic_shape("b")
    assert possible_strategies(decoder, params, b) == possible_strategies(decoder, params, 64)
    assert choose_strategy(decoder, params, b) == choose_strategy(decoder, params, 64)


def test_without_flatbuffers(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"expected the package flatbuffers.*'gon_jax\[export\]'") as caught:
        export_function(lambda x: x, (2,))
    assert "\n" not in str(caught.value)
