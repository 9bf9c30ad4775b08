"""A trained model in use: one frozen encoder, equal batches, and programs that live as long as their model."""

import dataclasses
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Capabilities, Model, Variables
from gon_jax.coordinates import grid
from gon_jax.data.degradations import hide
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.inference import (
    data_dict,
    encode_dataset,
    frozen_encoder,
    in_batches,
    inpaint,
    interpolate,
    reconstruct_dataset,
    sample,
    superresolve,
)
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.metrics import evaluate, squared_errors
from gon_jax.models import gon, least_squares_gon, translation_gon
from gon_jax.runs.encoder_file import write_encoder

IMAGES = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 1), dtype=np.uint8)
X = jnp.asarray(IMAGES / 255, jnp.float32)
MODELS = {
    "gon": lambda: gon(conv_decoder((8, 8, 1), (3,), base_channels=2)),
    "gon-none": lambda: gon(conv_decoder((8, 8, 1), (4, 4, 2), base_channels=2, norm="none")),
    "least-squares": lambda: least_squares_gon(conv_decoder((8, 8, 1), (3,), base_channels=2), learn_damping=True),
}


def trained(name):
    """A model whose statistics are those of data."""
    model = MODELS[name]()
    variables = model.init(jax.random.key(0))
    return model, variables._replace(stats=model.loss(variables, {"x": X}, None)[1])


def able(model, **capabilities):
    """A model with other capabilities."""
    return dataclasses.replace(model, capabilities=model.capabilities._replace(**capabilities))


def untouchable(*_):
    pytest.fail("called")


def linear_model(trace=lambda name: None):
    """A model of one number, z = w x and x = w z; every trace of a function is told."""

    def traced(name, function):
        def call(*arguments):
            trace(name)
            return function(*arguments)

        return call

    return Model(
        init=lambda key: Variables(jnp.float32(0.5)),
        loss=None,
        encode=traced("encode", lambda variables, x: variables.params * x.reshape(len(x), 1)),
        decode=traced("decode", lambda variables, z: variables.params * z.reshape(-1, 1, 1, 1)),
        data_shape=(1, 1, 1),
        latent_shape=(1,),
        likelihood=squared_error,
        capabilities=Capabilities(sample=traced("sample", lambda v, key, num: jax.random.uniform(key, (num, 1, 1, 1)))),
    )


# -- the encoder -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_data_are_encoded_by_one_frozen_encoder(name):
    model, variables = trained(name)
    z = jax.jit(model.encode)(variables, X)
    x_hat = model.decode(variables, z)
    of_matrix = dataclasses.replace(model, encode=untouchable)
    np.testing.assert_allclose(encode_dataset(of_matrix, variables, IMAGES), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reconstruct_dataset(of_matrix, variables, IMAGES), x_hat, atol=1e-5)
    errors = evaluate(of_matrix, variables, IMAGES)
    np.testing.assert_allclose(errors["squared_error"], squared_errors(x_hat, X).mean(), rtol=1e-5)

    encoder = frozen_encoder(model, variables)
    ready, options = able(of_matrix, freeze=untouchable), {"encoder": encoder}
    np.testing.assert_allclose(encode_dataset(ready, variables, {"x": IMAGES}, **options), z, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(reconstruct_dataset(ready, variables, IMAGES, **options), x_hat, atol=1e-5)
    assert evaluate(ready, variables, IMAGES, **options) == errors
    other = dataclasses.replace(encoder, bias=encoder.bias + 1)
    np.testing.assert_allclose(encode_dataset(ready, variables, IMAGES, encoder=other), z + 1, rtol=1e-5, atol=1e-5)


def test_where_there_is_no_such_encoder_the_model_encodes(monkeypatch):
    model, variables = trained("gon")
    z = encode_dataset(model, variables, IMAGES)
    options = {"rtol": 1e-5, "atol": 1e-5}

    likelihood = dataclasses.replace(squared_error, affine=False)
    unfolded = gon(conv_decoder((8, 8, 1), (3,), base_channels=2), likelihood=likelihood)
    frozen = unfolded.capabilities.freeze(variables)
    assert frozen.output is not None and frozen_encoder(unfolded, variables) is None
    np.testing.assert_allclose(encode_dataset(unfolded, variables, IMAGES), z, **options)
    np.testing.assert_allclose(encode_dataset(unfolded, variables, IMAGES, encoder=frozen), z, **options)

    by_itself = able(model, freeze=None)
    assert frozen_encoder(by_itself, variables) is None
    np.testing.assert_allclose(encode_dataset(by_itself, variables, IMAGES), z, **options)
    monkeypatch.setattr("gon_jax.inference.encode_decode.MAX_MATRIX_SIZE", 64 * 3 - 1)
    np.testing.assert_allclose(encode_dataset(able(model, freeze=untouchable), variables, IMAGES), z, **options)


# -- data and batches ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [evaluate, encode_dataset, reconstruct_dataset, interpolate])
def test_other_data_than_the_models_are_refused(function):
    """A matrix would multiply any image of as many pixels."""
    with pytest.raises(ValueError, match=r"expected images \[N, 8, 8, 1\], got \[300, 4, 16, 1\]"):
        function(*trained("gon"), IMAGES.reshape(300, 4, 16, 1))


def test_data_are_an_array_or_a_dict_of_arrays_of_one_length():
    model = linear_model()
    x = np.zeros((3, 1, 1, 1), np.uint8)
    assert data_dict(model, x)["x"] is x and data_dict(model, {"x": x, "y": [1, 2, 3]})["y"] == [1, 2, 3]
    with pytest.raises(ValueError, match='expected "y" of 3 examples, got an array'):
        data_dict(model, {"x": x, "y": np.arange(4)})
    with pytest.raises(ValueError, match="the examples as \"x\", got \\['image'\\]"):
        data_dict(model, {"image": x})


def test_in_batches_pads_with_examples_and_cuts_them_off():
    seen = []

    def function(batch):
        seen.append(batch.shape)
        return {"double": batch * 2, "same": batch}

    examples = np.arange(10).reshape(5, 2)
    result = in_batches(function, examples, batch_size=3)
    np.testing.assert_array_equal(result["double"], examples * 2)
    assert seen == [(3, 2), (3, 2)]
    in_batches(function, examples, batch_size=3, pad=False)
    assert seen[2:] == [(3, 2), (2, 2)]
    pairs = in_batches(lambda batch: batch["a"] + batch["b"], {"a": examples, "b": examples}, batch_size=4)
    np.testing.assert_array_equal(pairs, examples * 2)


# -- samples, interpolations, hidden parts ---------------------------------------------------------------------------


def test_interpolations_end_at_reconstructions():
    model, variables = trained("gon")
    paths = interpolate(model, variables, IMAGES[:4], 3)
    assert paths.shape == (2, 3, 8, 8, 1)
    x_hat = reconstruct_dataset(model, variables, IMAGES[:4])
    np.testing.assert_allclose(paths[:, [0, 2]].reshape(4, 8, 8, 1), x_hat, atol=1e-5)
    with pytest.raises(ValueError, match="an even number of them, got 3"):
        interpolate(model, variables, IMAGES[:3])


def test_samples_are_the_models_own_or_of_a_fitted_prior():
    model, variables, key = linear_model(), Variables(jnp.float32(0.5)), jax.random.key(0)
    x = np.random.default_rng(0).normal(0.5, 0.1, (4000, 1, 1, 1)).clip(0, 1).astype(np.float32)
    np.testing.assert_allclose(sample(model, variables, x, 5, key), jax.random.uniform(key, (5, 1, 1, 1)))
    for prior in ("gaussian", "mixture"):
        drawn = sample(model, variables, x, 2000, key, prior=prior)  # of N(0.125, 0.025^2)
        np.testing.assert_allclose([drawn.mean(), drawn.std()], [0.125, 0.025], atol=0.002)
    with pytest.raises(ValueError, match="a model with a prior"):
        sample(able(model, sample=None), variables, x, 5, key, prior="model")
    with pytest.raises(ValueError, match="expected prior 'gaussian'"):
        sample(model, variables, x, 5, key, prior="normal")


def test_other_resolutions_and_hidden_parts_of_an_implicit_model():
    """Its own resolution and nothing hidden give the reconstructions."""
    model = gon(siren_decoder(grid(8, 8), 3, hidden_dim=16))
    variables = model.init(jax.random.key(0))
    x_hat = reconstruct_dataset(model, variables, IMAGES[:5])
    np.testing.assert_allclose(superresolve(model, variables, IMAGES[:5], 8), x_hat, atol=1e-5)
    assert superresolve(model, variables, IMAGES[:5], 15).shape == (5, 15, 15, 1)
    known = np.ones((5, 8, 8), bool)
    np.testing.assert_allclose(inpaint(model, variables, IMAGES[:5], known), x_hat, atol=1e-5)
    known[:, :, 4:] = False
    images = np.where(known[..., None], IMAGES[:5], 0)  # what is hidden is not looked at
    completed = [inpaint(model, variables, x, known) for x in (images, IMAGES[:5])]
    np.testing.assert_allclose(*completed, atol=1e-6)
    nothing = np.where(np.arange(5)[:, None, None] == 1, False, known)
    for mask, words in (
        (known.astype(np.float32), r"boolean mask \(5, 8, 8\), got float32"),
        (known[..., None], "no channel axis"),
        (known[0], r"mask \(5, 8, 8\), got bool \(8, 8\)"),
        (nothing, r"no True in examples \[1\]; is the mask inverted"),
    ):
        with pytest.raises(ValueError, match=words):
            inpaint(model, variables, IMAGES[:5], mask)
    for function, argument in ((superresolve, 16), (inpaint, known)):
        with pytest.raises(ValueError, match="expected an implicit model"):
            function(*trained("gon"), IMAGES[:5], argument)


def test_hidden_parts_have_the_fraction_asked_for():
    images = np.zeros((50, 10, 20, 3))
    for part, atol in (("random", 0.02), ("right", 0), ("center", 0.05)):
        np.testing.assert_allclose(1 - hide(images, part, 0.3).mean(), 0.3, atol=atol + 1e-12)
    assert hide(images, "center", 0.25)[0, 0].all() and not hide(images, "center", 0.25)[0, 5, 10]
    for fraction in (0, 1):
        with pytest.raises(ValueError, match="hides a part of every image"):
            hide(images, "right", fraction)


# -- compiled programs -----------------------------------------------------------------------------------------------


def test_programs_are_compiled_once_and_freed_with_their_model():
    traces = []
    model, variables, key = linear_model(traces.append), Variables(jnp.float32(0.5)), jax.random.key(0)

    def use(model, x):
        evaluate(model, variables, x)
        interpolate(model, variables, x)
        sample(model, variables, x, 5, key)

    use(model, np.zeros((100, 1, 1, 1), np.uint8))
    assert sorted(traces) == ["decode", "decode", "encode", "encode", "sample"]
    use(model, np.ones((70, 1, 1, 1), np.uint8))
    assert len(traces) == 5
    dead = weakref.ref(model), weakref.ref(model.decode)
    del model
    gc.collect()
    assert [ref() for ref in dead] == [None, None]


def test_a_trained_gon_is_freed():
    model, variables = trained("gon")
    evaluate(model, variables, IMAGES)
    dead = weakref.ref(model)
    del model
    gc.collect()
    assert dead() is None


@pytest.mark.parametrize(("inner", "outer"), [("laplace", "squared_error"), ("squared_error", "laplace")])
def test_only_an_inner_likelihood_that_folds_is_frozen(inner, outer, tmp_path):
    laplace = Likelihood("laplace", lambda output, x: jnp.abs(x - output), lambda output: output)
    of_name = {"laplace": laplace, "squared_error": squared_error}
    decoder = conv_decoder((8, 8, 1), (3,), base_channels=2)
    model = translation_gon(decoder, source_likelihood=of_name[inner], likelihood=of_name[outer])
    variables = model.init(jax.random.key(0))
    x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    encoder = frozen_encoder(model, variables)
    assert (encoder is None) == (inner == "laplace")
    np.testing.assert_allclose(encode_dataset(model, variables, x), model.encode(variables, x), rtol=1e-4, atol=1e-6)
    frozen = model.capabilities.freeze(variables)
    np.testing.assert_allclose(frozen(x), model.encode(variables, x), rtol=1e-4, atol=1e-6)
    if inner == "laplace":
        with pytest.raises(ValueError, match="acts on cotangents"):
            write_encoder(tmp_path / "encoder.npz", frozen, variables, 1, (8, 8, 1))


def test_constants_of_another_type_are_another_program():
    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    results = [model.jit(_scaled, by=by)(jnp.arange(3)).dtype for by in (2, 2.0)]
    assert results == [jnp.int32, jnp.float32]


def _scaled(model, x, *, by):
    return x * by


def test_data_that_are_not_floats_are_refused_by_a_frozen_encoder():
    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    encoder = frozen_encoder(model, model.init(jax.random.key(0)))
    with pytest.raises(TypeError, match="floating-point data, got uint8"):
        encoder(np.zeros((2, 8, 8, 1), np.uint8))
