"""The scikit-learn transformer: scikit-learn's own checks, units, features, copies, and better than PCA on digits."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

import gon_jax
from gon_jax import decoders
from gon_jax.transformer import GONTransformer

RNG = np.random.default_rng(0)
QUICK = {"num_steps": 2, "random_state": 0}
CHECKS = list(estimator_checks_generator(GONTransformer(2, num_steps=2)))  # none is expected to fail


def tiny(data_shape, latent_shape):
    return decoders.mlp_decoder(data_shape, latent_shape, hidden_dim=4, num_layers=1)


@pytest.mark.quick(
    "*check_dtype_object*",
    "*general*",
    "*idempotent*",
    "*invariance*",
    "*pickle*",
    "*returns_self*",
    "*fit2d_1feature*",
    "*dict_unchanged*",
)
@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=lambda part: getattr(part, "func", type(part)).__name__)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def test_it_is_at_the_top():
    assert gon_jax.GONTransformer is GONTransformer


def test_any_units_and_constant_features():
    """Reconstructions are in the units and the range of the data; what is constant stays it; scale changes nothing."""
    X = np.stack([RNG.normal(size=40) * 1e-6, RNG.uniform(1e5, 2e5, 40), np.full(40, -7.0), RNG.normal(size=40)], 1)
    transformer = GONTransformer(3, **QUICK).fit(X)
    Z = transformer.transform(X)
    X_hat = transformer.inverse_transform(Z)
    assert (X_hat >= X.min(0)).all() and (X_hat <= X.max(0)).all()
    np.testing.assert_array_equal(X_hat[:, 2], -7)
    other = X * [2.0**20, 2.0**-9, 3.0, 1.0] + [0, 0, 5.0, 0]
    np.testing.assert_allclose(GONTransformer(3, **QUICK).fit(other).transform(other), Z, atol=1e-4)
    new = transformer.transform(np.full((1, 4), 1e6))  # outside the range of training
    assert np.isfinite(new).all() and np.isfinite(transformer.inverse_transform(1e3 * new)).all()


def test_score_is_minus_the_squared_error_per_example():
    X = RNG.normal(size=(30, 5)) * [1, 2, 3, 4, 5]
    transformer = GONTransformer(2, **QUICK).fit(X)
    X_hat = transformer.inverse_transform(transformer.transform(X))
    assert transformer.score(X) == pytest.approx(-sum(np.sum((X[i] - X_hat[i]) ** 2) for i in range(30)) / 30)


def test_latents_are_those_of_the_model():
    X = RNG.uniform(size=(30, 5))
    transformer = GONTransformer(2, **QUICK).fit(X)
    scaled = ((X - X.min(0)) / (X.max(0) - X.min(0))).astype("f4")
    z = transformer.model_.encode(transformer.variables_, scaled)
    np.testing.assert_allclose(transformer.transform(X), z, atol=1e-5)
    decoded = transformer.model_.decode(transformer.variables_, z)
    expected = X.min(0) + (X.max(0) - X.min(0)) * np.asarray(decoded)
    np.testing.assert_allclose(transformer.inverse_transform(z), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("decoder", [tiny, decoders.conv_decoder])
def test_images(decoder):
    """Of any units, scaled together; with batch normalization, and bytes, too."""
    X = RNG.integers(0, 256, (20, 8, 8, 1)).astype("u1")
    transformer = GONTransformer(3, decoder=decoder, **QUICK).fit(X)
    Z = transformer.transform(X)
    assert Z.shape == (20, 3) and transformer.inverse_transform(Z).shape == X.shape
    assert transformer.score(X) > -(255.0**2) * 64
    floats = GONTransformer(3, decoder=decoder, **QUICK).fit((X / 255).astype("f4"))
    np.testing.assert_allclose(floats.transform((X / 255).astype("f4")), Z, atol=1e-4)
    assert floats.transform((X / 255).astype("f4")).dtype == np.float32
    with pytest.raises(ValueError, match=r"shape \(8, 8, 1\) of training, got \(8, 4, 1\)"):
        transformer.transform(X[:, :, :4])


@pytest.mark.parametrize(("per_feature", "low"), [(None, [0.0, -10.0]), (True, [0.0, -10.0]), (False, -10.0)])
def test_features_are_scaled_each_or_together(per_feature, low):
    X = np.stack([np.linspace(0, 1, 9), np.linspace(-10, 10, 9)], 1)
    transformer = GONTransformer(1, per_feature=per_feature, decoder=tiny, **QUICK).fit(X)
    X_hat = transformer.inverse_transform(np.full((1, 1), 0.0))
    np.testing.assert_array_equal(transformer._low, low)
    assert (X_hat >= np.min(low)).all()


def test_copies(tmp_path):
    """By pickle, by joblib and by clone; settings that are changed after training do nothing until the next."""
    X = RNG.normal(size=(30, 5))
    transformer = GONTransformer(2, **QUICK).fit(X)
    Z = transformer.transform(X)
    joblib.dump(transformer, tmp_path / "transformer.joblib")
    for copy in (pickle.loads(pickle.dumps(transformer)), joblib.load(tmp_path / "transformer.joblib")):
        np.testing.assert_array_equal(copy.transform(X), Z)
        np.testing.assert_array_equal(copy.inverse_transform(Z), transformer.inverse_transform(Z))
    transformer.set_params(latent_size=4, decoder=None)
    np.testing.assert_array_equal(transformer.transform(X), Z)
    with pytest.raises(NotFittedError):
        clone(transformer).transform(X)
    assert transformer.get_feature_names_out().tolist() == ["gontransformer0", "gontransformer1"]


def test_in_a_pipeline_and_a_search():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(GONTransformer(num_steps=20, random_state=0, decoder=tiny), LogisticRegression())
    search = GridSearchCV(pipeline, {"gontransformer__latent_size": np.array([1, 3])}, cv=2).fit(X, y)
    assert 0.3 < search.best_score_ <= 1
    names = search.best_estimator_[:-1].get_feature_names_out()
    assert len(names) == search.best_params_["gontransformer__latent_size"]


def test_random_states():
    X = RNG.normal(size=(30, 5))
    first, again, other = (GONTransformer(2, num_steps=2, random_state=s).fit(X).transform(X) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    by_state = [GONTransformer(2, num_steps=2, random_state=np.random.RandomState(0)).fit(X) for _ in range(2)]
    np.testing.assert_array_equal(by_state[0].transform(X), by_state[1].transform(X))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"num_steps": 0}, "num_steps, a whole number of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size, a whole number of at least 1, got 0"),
        ({"latent_size": 0}, "latent_size, a whole number of at least 1, got 0"),
    ],
)
def test_misuse_is_named(options, words):
    with pytest.raises(ValueError, match=words):
        GONTransformer(**options).fit(np.eye(4))
    with pytest.raises(ValueError, match="a whole number of at least 1, got"):
        GONTransformer(**dict.fromkeys(options, 1.5)).fit(np.eye(4))


def test_latents_of_another_size_are_refused():
    transformer = GONTransformer(2, **QUICK).fit(np.eye(4))
    with pytest.raises(ValueError, match="latents of 2 entries, got 4: is Z the data"):
        transformer.inverse_transform(np.eye(4))


def test_verbose_shows_a_bar(terminal, capsys):
    GONTransformer(2, **QUICK, verbose=True).fit(np.eye(4))
    assert "2/2" in capsys.readouterr().err
    GONTransformer(2, **QUICK).fit(np.eye(4))
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_it_is_better_than_pca_on_digits(optimized):
    """Held-out score of 16 latents: of three seeds -94 to -91; of PCA -190.6."""
    X = load_digits().data
    test, train = X[::5], np.delete(X, slice(None, None, 5), axis=0)
    transformer = GONTransformer(16, random_state=0).fit(train)
    pca = PCA(16).fit(train)
    pca_score = -np.square(test - pca.inverse_transform(pca.transform(test))).sum(1).mean()
    assert pca_score == pytest.approx(-190.6, abs=0.1) and transformer.score(test) > -110
