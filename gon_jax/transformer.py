"""A GON as a scikit-learn transformer: latents of tables and images, in pipelines and searches."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from gon_jax import training
from gon_jax.arguments import check_count
from gon_jax.base import Decoder, Model
from gon_jax.decoders import mlp_decoder
from gon_jax.inference import decode_latents, encode_batch, frozen_encoder, in_batches
from gon_jax.models import gon

__all__ = ["GONTransformer"]

DTYPES: Any = [np.float64, np.float32]  # what comes out as it came in; anything else becomes the first


@lru_cache(maxsize=32)  # the same object for the same arguments, so that a search compiles once for all its folds
def _model(decoder: Callable[..., Decoder], data_shape: tuple[int, ...], latent_size: int) -> Model:
    return gon(decoder(data_shape, (latent_size,)))


class GONTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Latents of a Gradient Origin Network, for scikit-learn: like `PCA`, with a decoder that is not linear.

    `transform` is affine in the data, as PCA's is: minus the gradient of the squared error at the origin. What is
    nonlinear is `inverse_transform`, the decoder, and training fits both at once.

    Data are scaled by the range of the training data, and reconstructions stay within that range. A feature that is
    constant in training is reconstructed as this constant.

    Args:
        latent_size: entries of a latent, the number of new features.
        decoder: `(data_shape, latent_shape) -> Decoder`, such as `gon_jax.decoders.conv_decoder` for square images
            with a power of two of pixels a side.
        num_steps: of training.
        learning_rate: of Adam, the first; it falls to 0 along a cosine.
        batch_size: examples per step, all where there are fewer.
        per_feature: scale each feature by its own range; or all by that of all values, where False. By default for
            tables `[N, d]` alone: the pixels of an image have one unit.
        random_state: an int, for the same result in each call; `None`, or a `numpy.random.RandomState`.
        verbose: show a progress bar.

    Attributes:
        n_features_in_, feature_names_in_: as everywhere in scikit-learn; the first is X's second axis.
        variables_: the trained variables, of the model `model_`.
        history_: a dict for each report of training: `step`, and the mean `loss` since the last, in scaled units.

    >>> from sklearn.datasets import load_iris
    >>> X = load_iris().data
    >>> transformer = GONTransformer(2, num_steps=10, random_state=0).fit(X)
    >>> transformer.transform(X).shape, transformer.inverse_transform(transformer.transform(X)).shape
    ((150, 2), (150, 4))
    >>> transformer.get_feature_names_out()
    array(['gontransformer0', 'gontransformer1'], dtype=object)
    """

    def __init__(
        self,
        latent_size: int = 16,
        *,
        decoder: Callable[..., Decoder] = mlp_decoder,
        num_steps: int = 2000,
        learning_rate: float = 1e-3,
        batch_size: int = 64,
        per_feature: bool | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.latent_size = latent_size
        self.decoder = decoder
        self.num_steps = num_steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.per_feature = per_feature
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y: Any = None) -> "GONTransformer":
        """Train on X, `[N, d]` or `[N, ...]` of any finite numbers; `y` is ignored.

        Raises:
            ValueError: for data that are not such numbers, or options out of their range.
            gon_jax.training.NonFiniteLossError: where training diverges.
        """
        del y
        x = self._checked(X, reset=True)
        num_steps, batch_size = check_count("num_steps", self.num_steps), check_count("batch_size", self.batch_size)
        axis = 0 if (x.ndim == 2 if self.per_feature is None else self.per_feature) else None
        self._low, self._range = x.min(axis), np.ptp(x, axis)
        self._built_by = (self.decoder, x.shape[1:], check_count("latent_size", self.latent_size))
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        result = training.fit(
            self.model_,
            self._scaled(x),
            num_steps,
            jax.random.key(seed),
            optimizer=training.make_optimizer(self.learning_rate, schedule="cosine", num_steps=num_steps),
            batch_size=min(batch_size, len(x)),
            devices=jax.local_devices()[:1],  # which share no batch of any size
            validate_every=num_steps,  # nothing is validated, and epochs of few examples don't cut calls short
            progress=bool(self.verbose),
        )
        self.history_ = result.history
        self.variables_ = jax.device_get(result.state.variables)
        self._encoder = jax.device_get(frozen_encoder(self.model_, self.variables_))
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return latents `[N, latent_size]`, float32 for float32 data and else float64.

        Raises:
            ValueError: for data of other features than those of `fit`, or that are not finite numbers.
        """
        check_is_fitted(self)
        x = self._checked(X, reset=False)
        encode = partial(self.model_.jit(encode_batch), self.variables_, self._encoder)
        return in_batches(encode, self._scaled(x), batch_size=256).astype(x.dtype)

    def inverse_transform(self, Z: ArrayLike) -> np.ndarray:
        """Return the data `[N, d]` or `[N, ...]` of latents `[N, latent_size]`, in X's units.

        Raises:
            ValueError: for latents of another size, or that are not finite numbers.
        """
        check_is_fitted(self)
        z = check_array(Z, dtype=DTYPES)
        if z.shape[1] != self._n_features_out:
            raise ValueError(f"expected latents of {self._n_features_out} entries, got {z.shape[1]}: is Z the data?")
        x_hat = decode_latents(self.model_, self.variables_, z.astype(np.float32))
        return (self._low + self._range * x_hat).astype(z.dtype)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """Return minus the mean squared error of reconstructions, summed over an example, in X's units.

        So higher is better, as `sklearn.model_selection` wants it.
        """
        del y
        x, x_hat = self._checked(X, reset=False), self.inverse_transform(self.transform(X))
        return -float(np.square(x - x_hat).reshape(len(x), -1).sum(1).mean())

    @property
    def model_(self) -> Model:
        """The trained model, whose data are scaled; a copy that was pickled makes it again."""
        return _model(*self._built_by)

    @property
    def _n_features_out(self):
        return self._built_by[2]

    def _checked(self, X: Any, reset: bool) -> np.ndarray:
        x: Any = validate_data(self, X, reset=reset, dtype=DTYPES, allow_nd=True)
        if not reset and x.shape[1:] != self._built_by[1]:
            raise ValueError(f"expected examples of the shape {self._built_by[1]} of training, got {x.shape[1:]}")
        return x

    def _scaled(self, x):
        return ((x - self._low) / np.where(self._range > 0, self._range, 1)).astype(np.float32)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
