"""Translation against its plain definition, its metrics, and what sources are made of."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.base import Variables
from gon_jax.data import DEGRADATIONS, gray, low_resolution, noisy
from gon_jax.decoders import conv_decoder
from gon_jax.inference import frozen_encoder, reconstruct_dataset
from gon_jax.likelihoods import Likelihood, bernoulli, gaussian, gaussian_scale, squared_error
from gon_jax.metrics import evaluate
from gon_jax.models import gon
from gon_jax.models.translation import translation_gon

conv = partial(conv_decoder, (8, 8, 1), (3,), base_channels=2)
RNG = np.random.default_rng(0)
X, TARGET = RNG.uniform(size=(2, 5, 8, 8, 1))
# A loss whose gradient is not affine in the data, so that a frozen encoder keeps it.
quartic = Likelihood("quartic", lambda output, x: (output - x) ** 4, lambda output: output)


@pytest.mark.quick("none")
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_loss_and_gradients_are_the_definitions(norm, x64, double):
    decoder = conv(norm=norm, output_activation="none")  # read as a mean by one, as logits by the other
    model = translation_gon(decoder, source_likelihood=squared_error, likelihood=bernoulli, step_size=0.01)
    params = jax.tree.map(
        lambda a: a + 0.1 * np.random.default_rng(1).normal(size=a.shape), double(model.init(jax.random.key(0)).params)
    )
    batch = {"x": jnp.asarray(X), "target": jnp.asarray(TARGET)}

    def definition(params):
        def source_loss(z):
            return jnp.square(decoder.output(params, z) - X).sum()

        output = decoder.output(params, -0.01 * jax.grad(source_loss)(jnp.zeros((5, 3))))
        return (jnp.logaddexp(0, output) - TARGET * output).sum() / 5

    value, gradient = jax.jit(jax.value_and_grad(lambda p: model.loss(Variables(p), batch, None)[0]))(params)
    expected, expected_gradient = jax.jit(jax.value_and_grad(definition))(params)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-8)
    with pytest.raises(ValueError, match=r"expected batch\['target'\]"):
        model.loss(Variables(params), {"x": batch["x"]}, None)


@partial(jax.jit, static_argnums=0)
def loss(model, variables, batch):
    return model.loss(variables, batch, None)


def averaged(model):
    variables, x = model.init(jax.random.key(0)), jnp.asarray(X, jnp.float32)
    batch = {"x": x, "target": jnp.asarray(TARGET, jnp.float32)}
    return variables._replace(stats=loss(model, variables, batch)[1]), x, batch


def test_with_target_equal_to_source_it_is_the_gon():
    ours, theirs = translation_gon(conv(), likelihood=gaussian(0.1)), gon(conv(), likelihood=gaussian(0.1))
    variables, x, _ = averaged(ours)
    assert loss(ours, variables, {"x": x, "target": x})[0] == loss(theirs, variables, {"x": x})[0]
    frozen, expected = frozen_encoder(ours, variables), frozen_encoder(theirs, variables)
    np.testing.assert_array_equal(frozen.matrix, expected.matrix)
    np.testing.assert_array_equal(frozen.bias, expected.bias)


@pytest.mark.slow
def test_sources_are_encoded_by_their_own_likelihood_and_errors_are_the_targets():
    for source_likelihood in (squared_error, quartic):
        model = translation_gon(conv(), source_likelihood=source_likelihood, step_size=0.01)
        variables, x, batch = averaged(model)
        by_batch = Variables(variables.params)  # the batch that was averaged, by the definition's two passes
        z, x_hat = jax.jit(lambda x: (z := model.encode(by_batch, x), model.decode(by_batch, z)))(x)  # noqa: B023
        latents = jax.jit(model.encode)(variables, x)
        np.testing.assert_allclose(latents, z, rtol=1e-4, atol=1e-5 * float(jnp.abs(z).max()))
        frozen = model.capabilities.freeze(variables)
        assert (frozen.output is None) == source_likelihood.affine
        assert (frozen_encoder(model, variables) is not None) == source_likelihood.affine
        np.testing.assert_allclose(frozen(x), latents, rtol=1e-4, atol=1e-5 * float(jnp.abs(z).max()))
        np.testing.assert_allclose(reconstruct_dataset(model, variables, x), x_hat, atol=1e-5)
        metrics = evaluate(model, variables, {"x": x, "target": batch["target"]}, batch_size=2)
        errors = np.square(x_hat - TARGET).sum(axis=(1, 2, 3))
        assert metrics["squared_error"] == pytest.approx(errors.mean(), rel=1e-4)
        assert metrics["psnr"] == pytest.approx((-10 * np.log10(errors / 64)).mean(), rel=1e-4)
    with pytest.raises(ValueError, match='"target" of 5 examples, got an array'):
        evaluate(model, variables, {"x": x, "target": batch["target"][:3]})
    with pytest.raises(ValueError, match="likelihoods that read the same output"):  # a sigmoid for one, logits for one
        translation_gon(conv(), likelihood=bernoulli, source_likelihood=squared_error)
    with pytest.raises(ValueError, match="sources and targets of one shape"):
        translation_gon(
            conv_decoder((8, 8, 2), (3,), base_channels=2), likelihood=gaussian_scale, source_likelihood=squared_error
        )


def test_degradations_by_hand():
    ramp = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    images = np.concatenate([ramp, 10 * ramp], axis=-1)
    blocks = low_resolution(images, 2)
    assert blocks.dtype == np.uint8 and blocks.shape == images.shape
    # Means 2.5, 4.5, 10.5, 12.5, rounded to even; ten times as much in the other channel.
    assert blocks[0, ..., 0].tolist() == [[2, 2, 4, 4], [2, 2, 4, 4], [10, 10, 12, 12], [10, 10, 12, 12]]
    assert blocks[0, ::2, ::2, 1].tolist() == [[25, 45], [105, 125]]
    with pytest.raises(ValueError, match="a factor that divides the size 4x4, got 3"):
        low_resolution(images, 3)

    middle = np.full((20, 32, 32, 1), 128, np.uint8)
    noise = noisy(middle, 0.1) / 255 - 128 / 255
    assert abs(noise.std() - 0.1) < 0.002 and abs(noise.mean()) < 0.002
    np.testing.assert_array_equal(noisy(middle, seed=1), noisy(middle, seed=1))
    assert (noisy(middle) != noisy(middle, seed=1)).any()
    dark = noisy(np.zeros_like(middle))
    assert 0.45 < (dark == 0).mean() < 0.55 and dark.max() < 255 * 0.25 * 6  # clipped, not wrapped

    pixels = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]], np.uint8)
    luma = [76, 150, 29, 255, 18]  # 0.299 R + 0.587 G + 0.114 B
    np.testing.assert_array_equal(gray(pixels.reshape(1, 1, 5, 3))[0, 0], np.repeat(luma, 3).reshape(5, 3))
    with pytest.raises(ValueError, match=r"color images \[N, H, W, 3\], got \[20, 32, 32, 1\]"):
        gray(middle)
    for degrade in DEGRADATIONS.values():
        with pytest.raises(ValueError, match="expected uint8 images"):
            degrade(np.zeros((2, 4, 4, 3)))


@pytest.mark.slow
def test_anomalies_of_a_translation_are_errors_of_its_targets(tmp_path):
    from gon_jax import load_run
    from gon_jax.cli.main import main
    from gon_jax.runs import Config, train

    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), np.uint8)
    np.save(tmp_path / "a.npy", images)
    tiny = {"image_size": 8, "latent_shape": (3,), "base_channels": 2, "num_steps": 3, "batch_size": 8}
    config = Config().replace(dataset=str(tmp_path / "a.npy"), model="translation", **tiny)
    train(config, tmp_path / "run", progress=False, pictures=False)
    assert main(["anomalies", str(tmp_path / "run")]) == 0
    run = load_run(tmp_path / "run")
    targets = run.dataset().test.images
    x_hat = run.model.decode(run.variables, run.model.encode(run.variables, run.sources(targets)))
    rows = (tmp_path / "run" / "anomalies.csv").read_text().splitlines()[1:]
    expected = np.square(targets / 255 - x_hat).sum((1, 2, 3))
    np.testing.assert_allclose([float(row.split(",")[1]) for row in rows], expected, rtol=1e-4)
