"""Public functions called with one wrong argument: each says in one line what it expected and what it got."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gon_jax
from gon_jax import data, inference, latents, metrics, models, runs, training
from gon_jax.coordinates import grid, stratified_subset
from gon_jax.decoders import conv_decoder, conv_encoder, fourier_decoder, mlp_decoder, siren_decoder
from gon_jax.latents.statistics import normality
from gon_jax.runs import exchange
from gon_jax.training.averaging import average_statistics

NAN = float("nan")
X = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype(np.float32)
Z = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
KEY = jax.random.key(0)
WRONG = {  # of each kind of argument
    "model": [None, "gon", Z],
    "variables": [None, {}, (1, 2)],
    "decoder": [None, "conv", lambda params, z: z],
    "data": [None, "mnist", 3, X[:0], X.astype(int), X[:, :4], 255 * X, np.full_like(X, NAN), np.array(["a"])],
    "examples": [None, "mnist", 3, X[:0], X[:, :4], X.astype(int), [[1.0], [2.0, 3.0]]],
    "count": [0, -1, 2.5, True, "3", NAN, np.zeros(2), [1], 1e9],
    "number": [NAN, float("inf"), "1", [1.0], np.zeros(2), True, 1j],
    "positive": [0.0, -1.0, NAN, float("inf"), "1", True],
    "weight": [-1.0, NAN, "1", np.zeros(2)],
    "decay": [1, 2, -0.1, NAN, "0.9", None, [0.5]],
    "key": [0, None, "key", np.zeros(2, np.uint32)],
    "latents": [None, "z", Z[:0], Z[:, :2], Z.astype(int), np.full_like(Z, NAN), np.array(["a"])],
    "vectors": [None, "z", Z.astype(int), np.array(["a"])],
    "sizes": [None, (), (0,), (2.5,), "8", 8, (True,)],
    "choice": ["no such", 3, np.zeros(2), True, ("a",)],
    "bits": [None, [0], [17], [2.5], 4, "4"],
    "points": [None, "grid", np.zeros((0, 5, 2)), np.zeros((5, 5, 2), int), 8],
    "words": [None, "z", np.array(["a"]), [[1.0], [2.0, 3.0]], {}],
    "no path": [None, 3, ["runs"], {}],
    "function": [None, "f", 3],
}


@functools.cache
def conv():
    return conv_decoder((8, 8, 1), (3,), base_channels=2)


@functools.cache
def trained(name):
    """A model, and variables with averaged statistics."""
    if name == "implicit":
        model = gon_jax.gon(siren_decoder(grid(8, 8), 3, hidden_dim=4))
        return {"model": model, "variables": model.init(KEY)}
    if name == "classifier":
        model = models.gon_classifier(mlp_decoder((8, 8, 1), (3,), hidden_dim=4), 4)
    else:
        make = gon_jax.vgon if name == "vgon" else gon_jax.gon
        model = make(mlp_decoder((8, 8, 1), (3,), hidden_dim=4))
    return {"model": model, "variables": model.init(KEY)}


def linear(function, **others):
    options = {"decoder_fn": lambda w, z: z @ w, "params": jnp.ones((3, 5)), "x": jnp.ones((2, 5))}
    return functools.partial(function, **options, z0=jnp.zeros((2, 3)), **others)


OF_MODEL = {"model": "model", "variables": "variables"}
CALLS = {  # a call that is right, as a function of changed arguments; and the kinds of its arguments
    "encode_dataset": (
        lambda **a: inference.encode_dataset(**trained("gon") | {"data": X} | a),
        OF_MODEL | {"data": "data"},
    ),
    "decode_latents": (
        lambda **a: inference.decode_latents(**trained("gon") | {"z": Z} | a),
        OF_MODEL | {"z": "latents"},
    ),
    "reconstruct_dataset": (
        lambda **a: inference.reconstruct_dataset(**trained("gon") | {"data": X} | a),
        OF_MODEL | {"data": "data"},
    ),
    "decode_at": (
        lambda **a: inference.decode_at(**trained("implicit") | {"z": Z, "coordinates": grid(5, 5)} | a),
        OF_MODEL | {"z": "latents", "coordinates": "points", "chunk_size": "count"},
    ),
    "interpolate": (
        lambda **a: inference.interpolate(**trained("gon") | {"data": X} | a),
        OF_MODEL | {"data": "data", "num_points": "count"},
    ),
    "sample": (
        lambda **a: inference.sample(**trained("vgon") | {"data": X, "num_samples": 2, "key": KEY} | a),
        OF_MODEL | {"num_samples": "count", "key": "key", "prior": "choice"},
    ),
    "superresolve": (
        lambda **a: inference.superresolve(**trained("implicit") | {"data": X, "size": 16} | a),
        OF_MODEL | {"data": "data", "size": "count"},
    ),
    "inpaint": (
        lambda **a: inference.inpaint(**trained("implicit") | {"data": X, "known": np.ones((4, 8, 8), bool)} | a),
        OF_MODEL | {"data": "data", "known": "data"},
    ),
    "anomaly_scores": (
        lambda **a: inference.anomaly_scores(**trained("gon") | {"train_data": X, "data": X} | a),
        OF_MODEL | {"train_data": "data", "data": "data"},
    ),
    "evaluate": (
        lambda **a: metrics.evaluate(**trained("gon") | {"data": X} | a),
        OF_MODEL | {"data": "data", "evaluation": "choice", "batch_size": "count"},
    ),
    "evaluate_bound": (
        lambda **a: metrics.evaluate_bound(**trained("vgon") | {"data": X, "key": KEY} | a),
        OF_MODEL | {"data": "data", "key": "key", "num_samples": "count", "batch_size": "count"},
    ),
    "accuracy": (
        lambda **a: metrics.accuracy(**trained("classifier") | {"data": {"x": X, "y": np.arange(4)}} | a),
        OF_MODEL | {"data": "data", "batch_size": "count"},
    ),
    "compression_errors": (
        lambda **a: metrics.compression_errors(**trained("gon") | {"train_data": X, "data": X} | a),
        OF_MODEL | {"train_data": "data", "data": "data", "bits": "bits"},
    ),
    "psnr": (lambda **a: metrics.psnr(**{"x_hat": X, "x": X} | a), {"x_hat": "examples", "x": "examples"}),
    "fit": (
        lambda **a: training.fit(
            **{"model": trained("gon")["model"], "data": X, "num_steps": 2, "key": KEY, "batch_size": 2} | a
        ),
        {"model": "model", "data": "data", "num_steps": "count", "key": "key", "batch_size": "count"}
        | {"report_every": "count", "ema_decay": "decay", "stats_decay": "decay", "num_threads": "count"},
    ),
    "slerp": (
        lambda **a: latents.slerp(**{"z_a": Z, "z_b": Z, "t": 0.5} | a),
        {"z_a": "vectors", "z_b": "vectors", "t": "number"},
    ),
    "slerp_path": (
        lambda **a: latents.slerp_path(**{"z_a": Z, "z_b": Z, "num_points": 3} | a),
        {"z_a": "vectors", "z_b": "vectors", "num_points": "count"},
    ),
    "nearest_neighbors": (
        lambda **a: latents.nearest_neighbors(**{"z_train": Z, "z": Z, "num_neighbors": 2} | a),
        {"num_neighbors": "count", "metric": "choice"},
    ),
    "traversal": (
        lambda **a: latents.traversal(**{"z": Z[0], "direction": 0} | a),
        {"num_points": "count", "span": "number"},
    ),
    "stratified_subset": (
        lambda **a: stratified_subset(**{"key": KEY, "num_total": 9, "num_points": 3} | a),
        {"num_points": "count"},
    ),
    "encode": (
        lambda **a: linear(gon_jax.encode)(**a),
        {"decoder_fn": "function", "x": "examples", "z0": "vectors", "num_steps": "count", "step_size": "number"},
    ),
    "gon_loss": (
        lambda **a: linear(gon_jax.gon_loss)(**a),
        {"decoder_fn": "function", "x": "examples", "z0": "vectors"},
    ),
    "gon": (
        lambda **a: gon_jax.gon(**{"decoder": siren_decoder(grid(8, 8), 3, hidden_dim=4)} | a),
        {"decoder": "decoder", "step_size": "positive", "num_points": "count", "likelihood": "choice"},
    ),
    "least_squares_gon": (
        lambda **a: models.least_squares_gon(**{"decoder": conv()} | a),
        {"decoder": "decoder", "damping": "positive"},
    ),
    "vgon": (
        lambda **a: gon_jax.vgon(**{"decoder": conv()} | a),
        {"decoder": "decoder", "step_size": "positive", "kl_weight": "weight", "inner_kl_weight": "weight"}
        | {"inner_noise": "choice", "logvar": "number", "num_steps": "count", "origin_scale": "weight"},
    ),
    "gon_classifier": (
        lambda **a: models.gon_classifier(**{"decoder": conv(), "num_classes": 4} | a),
        {"decoder": "decoder", "num_classes": "count", "reconstruction_weight": "weight", "step_size": "positive"},
    ),
    "multi_step_gon": (
        lambda **a: models.multi_step_gon(**{"decoder": conv(), "num_steps": 2} | a),
        {"decoder": "decoder", "num_steps": "count", "step_size": "positive", "origin_scale": "weight"}
        | {"encoding": "choice"},
    ),
    "glo": (
        lambda **a: models.glo(**{"decoder": conv()} | a),
        {"decoder": "decoder", "num_steps": "count", "latent_learning_rate": "positive", "latent_scale": "weight"},
    ),
    "vae": (
        lambda **a: models.vae(**{"decoder": conv(), "encoder": conv_encoder((8, 8, 1), (3,), base_channels=2)} | a),
        {"decoder": "decoder", "encoder": "decoder", "kl_weight": "weight", "logvar": "number"},
    ),
    "autoencoder": (
        lambda **a: models.autoencoder(
            **{"decoder": conv(), "encoder": conv_encoder((8, 8, 1), (3,), base_channels=2)} | a
        ),
        {"decoder": "decoder", "encoder": "decoder"},
    ),
    "conv_decoder": (
        lambda **a: conv_decoder(**{"image_shape": (8, 8, 1), "latent_shape": (3,)} | a),
        {"image_shape": "sizes", "latent_shape": "sizes", "base_channels": "count", "norm": "choice"}
        | {"activation": "choice", "output_activation": "choice"},
    ),
    "conv_encoder": (
        lambda **a: conv_encoder(**{"image_shape": (8, 8, 1), "latent_shape": (3,)} | a),
        {"image_shape": "sizes", "latent_shape": "sizes", "base_channels": "count", "norm": "choice"},
    ),
    "mlp_decoder": (
        lambda **a: mlp_decoder(**{"data_shape": (8,), "latent_shape": (3,)} | a),
        {"data_shape": "sizes", "latent_shape": "sizes", "hidden_dim": "count", "activation": "choice"},
    ),
    "siren_decoder": (
        lambda **a: siren_decoder(**{"coordinates": grid(4, 4), "latent_size": 3, "hidden_dim": 4} | a),
        {"coordinates": "points", "latent_size": "count", "hidden_dim": "count", "num_channels": "count"},
    ),
    "fourier_decoder": (
        lambda **a: fourier_decoder(**{"coordinates": grid(4, 4), "latent_size": 3} | a),
        {"coordinates": "points", "latent_size": "count", "bandwidth": "positive", "num_frequencies": "count"},
    ),
    "grid": (lambda **a: grid(3, a["size"]), {"size": "count"}),
    "compare_with_definition": (
        lambda **a: gon_jax.compare_with_definition(
            **{"decoder": mlp_decoder((5,), (3,), hidden_dim=4), "params": None, "key": KEY} | a
        ),
        {"decoder": "decoder", "key": "key", "batch_size": "count", "step_size": "positive"},
    ),
    "sample_prior": (
        lambda **a: latents.sample_prior(
            **{"prior": latents.fit_gaussian(Z), "key": KEY, "num": 2, "latent_shape": (3,)} | a
        ),
        {"prior": "variables", "key": "key", "num": "count", "latent_shape": "sizes"},
    ),
    "fit_gaussian": (lambda **a: latents.fit_gaussian(**a), {"z": "words"}),
    "fit_quantizer": (lambda **a: latents.fit_quantizer(**{"z_train": Z, "bits": 4} | a), {"z_train": "words"}),
    "quantize": (
        lambda **a: latents.quantize(**{"z": Z, "quantizer": latents.fit_quantizer(Z, 4)} | a),
        {"quantizer": "variables", "z": "words"},
    ),
    "dequantize": (
        lambda **a: latents.dequantize(**{"cells": Z, "quantizer": latents.fit_quantizer(Z, 4)} | a),
        {"quantizer": "variables", "cells": "words"},
    ),
    "reconstruction_scores": (
        lambda **a: latents.reconstruction_scores(**{"x": X, "x_hat": X} | a),
        {"x": "words", "x_hat": "words"},
    ),
    "mahalanobis_scores": (
        lambda **a: latents.mahalanobis_scores(**{"z_train": Z, "z": Z} | a),
        {"z_train": "words", "z": "words"},
    ),
    "normality": (lambda **a: normality(**a), {"z": "words"}),
    "make_optimizer": (
        lambda **a: training.make_optimizer(**a),
        {"learning_rate": "weight", "weight_decay": "weight", "clip_norm": "positive", "epsilon": "positive"}
        | {"schedule": "choice"},
    ),
    "init_state": (
        lambda **a: training.init_state(
            **{"model": trained("gon")["model"], "optimizer": training.make_optimizer(), "key": KEY} | a
        ),
        {"model": "model", "optimizer": "variables", "key": "key"},
    ),
    "gaussian": (lambda **a: gon_jax.gaussian(**a), {"scale": "positive"}),
    "train": (
        lambda **a: runs.train(**{"config": runs.Config(), "folder": "new"} | a),
        {"config": "variables", "folder": "no path"},
    ),
    "import_weights": (
        lambda **a: exchange.import_weights(**{"path": "no.safetensors", "folder": "new"} | a),
        {"path": "no path", "folder": "no path"},
    ),
    "export_weights": (
        lambda **a: exchange.export_weights(**{"run": None, "path": "a.safetensors"} | a),
        {"run": "variables"},
    ),
    "average_statistics": (
        lambda **a: average_statistics(
            **{"model": trained("gon")["model"], "params": trained("gon")["variables"].params, "data": X, "key": KEY}
            | a
        ),
        {"model": "model", "data": "data", "key": "key", "batch_size": "count"},
    ),
    "load_run": (lambda **a: runs.load_run(**a), {"folder": "no path"}),
    "resize": (lambda **a: data.resize(np.zeros((2, 8, 8, 1), np.uint8), **a), {"size": "count"}),
    "discretized_logistic_mixture": (
        lambda **a: gon_jax.discretized_logistic_mixture(**{"num_components": 2} | a),
        {"num_components": "count"},
    ),
}
CASES = [
    pytest.param(name, argument, value, id=f"{name}-{argument}-{i}")
    for name, (_, kinds) in CALLS.items()
    for argument, kind in kinds.items()
    for i, value in enumerate(WRONG[kind])
]


@pytest.mark.parametrize("name, argument, value", CASES)
def test_a_wrong_argument_is_named_in_one_line(name, argument, value):
    with pytest.raises((ValueError, TypeError), match=r"^expected [^\n]*, got [^\n]*$"):
        CALLS[name][0](**{argument: value})


def test_what_is_traced_is_known_by_its_type_alone():
    z_a, z_b = jnp.array([1.0, 0.0]), jnp.array([0.0, 3.0])
    ends = jax.vmap(lambda t: latents.slerp(z_a, z_b, t))(jnp.arange(2))  # whole numbers too
    np.testing.assert_array_equal(ends, [z_a, z_b])
    step = jax.jit(lambda s: linear(gon_jax.encode)(step_size=s))
    np.testing.assert_allclose(step(0.5), linear(gon_jax.encode)(step_size=0.5), rtol=1e-6)


def test_sizes_may_be_a_list_or_numpys():
    decoder = conv_decoder([8, 8, np.int64(1)], [np.int64(3)], base_channels=np.int32(2))
    assert gon_jax.gon(decoder).latent_shape == (3,) and gon_jax.gon(decoder).data_shape == (8, 8, 1)
    own = gon_jax.Decoder(lambda w, z, stats=None: (z @ w, None), lambda key: jnp.ones((3, 5)), [3], independent=True)
    model = gon_jax.gon(own)
    assert model.encode(model.init(KEY), jnp.ones((2, 5))).shape == (2, 3)
