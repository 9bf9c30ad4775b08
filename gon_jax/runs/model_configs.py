"""The models that a run can train, by name: what each is built from, and what it is trained on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import gon_jax
from gon_jax.choices import LATENT_LEARNING_RATE, Encoding, InnerNoise
from gon_jax.runs.network_configs import NetworkConfig
from gon_jax.runs.options import Count, Depth, Natural, NonNegative, Options, Positive, Rule, register

if TYPE_CHECKING:
    import numpy as np
    import optax

    from gon_jax.base import Decoder, Model
    from gon_jax.data import Split
    from gon_jax.likelihoods import Likelihood

__all__ = ["MODELS", "GONConfig", "ModelConfig"]

MODELS: dict[str, type[ModelConfig]] = {}


class ModelConfig(Options):
    """The model.

    Attributes:
        default_likelihood: the name of the likelihood that it has where none is chosen.
    """

    default_likelihood: ClassVar[str] = "squared_error"

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        """Return the model of a decoder; `network` is what the decoder was built from."""
        raise NotImplementedError

    def sources(self, images: np.ndarray, *, training: bool = False) -> np.ndarray:
        """Return what the model encodes of uint8 images `[N, H, W, C]` that it is to decode: by default, these."""
        return images

    def arrays(self, split: Split, *, training: bool = False) -> dict[str, np.ndarray]:
        """Return examples as `gon_jax.training.fit` and `gon_jax.metrics.evaluate` take them.

        Raises:
            ValueError: for examples to train on without what the model needs.
        """
        return {"x": self.sources(split.images, training=training)}

    def latent_optimizer(self) -> optax.GradientTransformation | None:
        """Return the optimizer of the latents of the training data, for a model that keeps them."""
        return None


@dataclasses.dataclass(frozen=True)
class GradientConfig(ModelConfig):
    """A model whose latents are gradient steps."""

    step_size: Positive | None = None
    """Latent step size; None is that of the authors' implementation, or one that suits decoder and number of steps."""


@register(MODELS, "gon")
class GONConfig(GradientConfig):
    """A GON: latents are gradients at the origin."""

    num_points: Count | None = None
    """Points of each example in a training step of an implicit model, drawn at random; None is all."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        return gon_jax.models.gon(decoder, likelihood=likelihood, **vars(self))


@register(MODELS, "least_squares")
class LeastSquaresConfig(ModelConfig):
    """A GON whose latents are damped Gauss-Newton steps."""

    damping: Positive = 0.01
    """Damping, relative to the mean eigenvalue of the matrix that is inverted."""
    learn_damping: bool = False
    """Train the damping too, from there on."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        return gon_jax.models.least_squares_gon(decoder, likelihood=likelihood, **vars(self))


@dataclasses.dataclass(frozen=True)
class VariationalConfig(ModelConfig):
    """A model with an approximate posterior."""

    default_likelihood: ClassVar[str] = "bernoulli"

    kl_weight: NonNegative = 1.0
    """Weight of the KL divergence in the outer loss; 1 is the evidence lower bound."""
    kl_warmup_steps: Natural = 0
    """Steps in which that weight rises from 0, linearly."""
    logvar: float | None = None
    """A constant log variance of the posterior in place of a learned one."""

    def _kl_weight(self):
        if not self.kl_warmup_steps:
            return self.kl_weight
        import optax

        return optax.linear_schedule(0.0, self.kl_weight, self.kl_warmup_steps)


@register(MODELS, "vgon")
class VGONConfig(GradientConfig, VariationalConfig):
    """A variational GON."""

    inner_kl_weight: NonNegative = 1.0
    """Weight of the KL divergence in the inner loss."""
    inner_noise: InnerNoise = "per_example"
    """Noise of the inner pass; "per_example" is the authors', the others encode faster."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        options: dict[str, Any] = vars(self) | {"kl_weight": self._kl_weight()}
        del options["kl_warmup_steps"]
        return gon_jax.models.vgon(decoder, likelihood=likelihood, **options)


@register(MODELS, "classifier")
class ClassifierConfig(GradientConfig):
    """A classifier of latents, which is trained through them."""

    num_classes: Annotated[int, Rule("of at least 2", lambda n: n >= 2)] = 10
    """Labels are 0, ..., num_classes - 1."""
    reconstruction_weight: NonNegative = 0.0
    """Weight of the reconstruction error in the outer loss; above 0 it is a joint model."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        return gon_jax.models.gon_classifier(decoder, likelihood=likelihood, **vars(self))

    def arrays(self, split: Split, *, training: bool = False) -> dict[str, np.ndarray]:
        arrays, labels = super().arrays(split), split.labels
        if labels is None:
            if training:
                raise ValueError("expected labels for a classifier, got a dataset without; choose another --model")
            return arrays
        if (largest := labels.max()) >= self.num_classes:
            raise ValueError(
                f"expected labels below num_classes={self.num_classes}, got {largest}; take --num-classes {largest + 1}"
            )
        return arrays | {"y": labels}


@register(MODELS, "translation")
class TranslationConfig(GradientConfig):
    """A GON that encodes a source and decodes its target."""

    source: Literal["low_resolution", "noisy", "gray"] = "low_resolution"
    """What it encodes, made of the dataset's images."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        return gon_jax.models.translation_gon(decoder, likelihood=likelihood, step_size=self.step_size)

    def sources(self, images: np.ndarray, *, training: bool = False) -> np.ndarray:
        return gon_jax.data.DEGRADATIONS[self.source](
            images, **({"seed": int(training)} if self.source == "noisy" else {})
        )

    def arrays(self, split: Split, *, training: bool = False) -> dict[str, np.ndarray]:
        return super().arrays(split, training=training) | {"target": split.images}


@register(MODELS, "multi_step")
class MultiStepConfig(GradientConfig):
    """A GON of several inner steps."""

    inner_steps: Depth = 10
    """Steps from the origin."""
    detached: bool = False
    """Take latents for constants in the outer loss, the paper's failing ablation."""
    learn_origin: bool = False
    """Train the origin."""
    learn_step_size: bool = False
    """Train the step size."""
    origin_scale: NonNegative = 0.0
    """Above 0, latents start from draws of this standard deviation."""
    encoding: Encoding = "step"
    """The latent is the last point, or the last point minus the first (Appendix C)."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        options = dict(vars(self))
        return gon_jax.models.multi_step_gon(
            decoder, likelihood=likelihood, num_steps=options.pop("inner_steps"), **options
        )


@register(MODELS, "autoencoder")
class AutoencoderConfig(ModelConfig):
    """An autoencoder, as a baseline."""

    tied: bool = False
    """The encoder has the decoder's kernels."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        _, data_shape = gon_jax.base.match(decoder, likelihood)
        encoder = network.build_encoder(decoder.latent_shape, data_shape, tied=self.tied)
        return gon_jax.models.autoencoder(decoder, encoder, likelihood=likelihood)


@register(MODELS, "vae")
class VAEConfig(VariationalConfig):
    """A variational autoencoder, as a baseline."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        _, data_shape = gon_jax.base.match(decoder, likelihood)
        encoder = network.build_encoder(decoder.latent_shape, data_shape)
        return gon_jax.models.vae(
            decoder, encoder, likelihood=likelihood, kl_weight=self._kl_weight(), logvar=self.logvar
        )


@register(MODELS, "glo")
class GLOConfig(ModelConfig):
    """A GLO, as a baseline: a latent for each training example."""

    latent_learning_rate: Positive = LATENT_LEARNING_RATE
    """Learning rate of Adam on the latents."""

    def build(self, decoder: Decoder, likelihood: Likelihood, network: NetworkConfig) -> Model:
        return gon_jax.models.glo(decoder, likelihood=likelihood)

    def latent_optimizer(self) -> optax.GradientTransformation | None:
        return gon_jax.training.make_optimizer(self.latent_learning_rate)
