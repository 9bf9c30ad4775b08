r"""The GON classifier (Eq. 13 of the paper), and the joint generative model and classifier."""

import dataclasses
import math
from operator import itemgetter

import jax
import optax

from gon_jax.arguments import check_count, check_number
from gon_jax.base import Batch, Decoder, Model, Params, Variables, check_decoder
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.linearization import Strategy
from gon_jax.models.gradient import gradient_model

__all__ = ["HEAD_SCALE", "gon_classifier"]

# The head reads 16 z: by the default step sizes an untrained decoder's latents are mostly far below 1, and W then
# learns slowly. Joint models reach 94 % accuracy on 8x8 digits after 300 steps in place of 69 % with z itself, SIRENs
# 87 % in place of 50 %; 64 z brings little more (`python -m benchmarks.head_scale`). The decoder still reads z.
HEAD_SCALE = 16.0


def gon_classifier(
    decoder: Decoder,
    num_classes: int,
    *,
    likelihood: Likelihood = squared_error,
    step_size: float | None = None,
    reconstruction_weight: float = 0.0,
    strategy: Strategy | None = None,
) -> Model:
    r"""Return the classifier that reads a linear map of the latent: cross-entropy as the outer loss (Eq. 13),

    $$ -\log \operatorname{softmax}_y (W z + b), \quad z = -s \nabla_{z_0} \mathcal{L}(x, F(z_0)), \quad z_0 = 0. $$

    With no reconstruction in it, the decoder learns through the gradient that is the latent, and through nothing else;
    `decode` then shows what such a decoder has come to. With it, weight 1, this is the joint generative model and
    classifier.

    By a likelihood whose gradient is affine in x, the squared error or Bernoulli, latents from one origin are affine
    in x, and so are the logits: this is then a linear classifier, of rank k at most, whatever the decoder. Likelihoods
    with a learned scale, or mixtures, are not bound by that.

    Parameters are `{"decoder": ..., "head": {"kernel": [k, num_classes], "bias"}}`, W being 16 kernel^T.

    Args:
        decoder: as for `gon`; a decoder of coordinates, say, with latents of two numbers to draw as points.
        num_classes: labels `batch["y"]` are int32 `[B]`, from 0 to num_classes - 1.
        likelihood: the inner loss, and that of the reconstruction.
        reconstruction_weight: of the reconstruction's loss beside the cross-entropy.
        step_size, strategy: as for `gon`.

    Raises:
        ValueError: as for `gon`; for fewer than two classes, a weight below 0; or, from the loss, for a batch without
            labels.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = gon_classifier(conv_decoder((8, 8, 1), (3,), base_channels=4), 10)
    >>> variables, x = model.init(jax.random.key(0)), jax.numpy.ones((5, 8, 8, 1))
    >>> model.encode(variables, x).shape, model.capabilities.classify(variables, x).shape
    ((5, 3), (5, 10))
    """
    check_decoder(decoder)
    num_classes = check_count("num_classes", num_classes, 2)
    check_number("reconstruction_weight", reconstruction_weight, least=0)
    k = math.prod(decoder.latent_shape)

    def init_params(key: jax.Array) -> Params:
        decoder_key, kernel_key, bias_key = jax.random.split(key, 3)
        bound = 1 / math.sqrt(k)  # PyTorch's initialization of a linear layer
        kernel = jax.random.uniform(kernel_key, (k, num_classes), minval=-bound, maxval=bound)
        bias = jax.random.uniform(bias_key, (num_classes,), minval=-bound, maxval=bound)
        return {"decoder": decoder.init_params(decoder_key), "head": {"kernel": kernel, "bias": bias}}

    def logits(params: Params, z: jax.Array) -> jax.Array:
        return HEAD_SCALE * z.reshape(z.shape[0], k) @ params["head"]["kernel"] + params["head"]["bias"][None]

    def outer_loss(params: Params, batch: Batch, z: jax.Array, output: jax.Array) -> jax.Array:
        if "y" not in batch:
            raise ValueError(f"expected labels in batch['y'], got a batch of {', '.join(batch)}; data without labels?")
        losses = optax.softmax_cross_entropy_with_integer_labels(logits(params, z), batch["y"])
        if reconstruction_weight == 0:  # the latent pass gives its statistics, and no gradient runs through it
            return losses
        return losses + reconstruction_weight * likelihood(output, batch["x"])

    def classify(variables: Variables, x: jax.Array) -> jax.Array:
        return logits(variables.params, model.encode(variables, x))

    model = gradient_model(
        decoder,
        likelihood,
        step_size,
        strategy,
        init_params=init_params,
        decoder_params=itemgetter("decoder"),
        outer_loss=outer_loss,
    )
    return dataclasses.replace(model, capabilities=model.capabilities._replace(classify=classify))
