r"""Translation between modalities (section 3.5 of the paper): the inner loss on one, the outer loss on another."""

import jax

from gon_jax.base import Batch, Decoder, Model, Params, match
from gon_jax.inputs import as_examples
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.linearization import Strategy
from gon_jax.models.gradient import gradient_model

__all__ = ["translation_gon"]


def translation_gon(
    decoder: Decoder,
    *,
    source_likelihood: Likelihood | None = None,
    likelihood: Likelihood = squared_error,
    step_size: float | None = None,
    strategy: Strategy | None = None,
) -> Model:
    r"""Return the GON that encodes a source x and decodes its target x', both of one shape: minimize

    $$ \mathcal{L}'\big(x', F(-s \nabla_{z_0} \mathcal{L}(x, F(z_0)))\big), \quad z_0 = 0. $$

    One decoder's gradient reads the source, and its output is the target; with target = source it is the GON. A source
    is shown in its target's shape: low resolution as larger pixels, gray as three equal channels
    (`gon_jax.data.DEGRADATIONS`). `encode` takes sources, `decode` gives targets.

    Args:
        decoder, step_size, strategy: as for `gon`.
        source_likelihood: L, the inner loss, of `batch["x"]`; by default `likelihood`.
        likelihood: L', the outer loss, of `batch["target"]`.

    Raises:
        ValueError: as for `gon`; for likelihoods that read one decoder differently; or, from the loss, for a batch
            without targets.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = translation_gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> variables, x = model.init(jax.random.key(0)), jax.numpy.ones((5, 8, 8, 1))
    >>> model.loss(variables, {"x": x, "target": 1 - x}, jax.random.key(1))[0].shape
    ()
    """
    source_likelihood = likelihood if source_likelihood is None else source_likelihood
    (source_decoder, source_shape), (target_decoder, target_shape) = (
        match(decoder, each) for each in (source_likelihood, likelihood)
    )
    if source_shape != target_shape:
        raise ValueError(
            f"expected sources and targets of one shape, got {source_shape} by {source_likelihood.name} and "
            f"{target_shape} by {likelihood.name}; take a source_likelihood of {likelihood.num_outputs} outputs per "
            "channel"
        )
    if source_decoder.output_range != target_decoder.output_range:
        raise ValueError(
            f"expected likelihoods that read the same output, got {source_likelihood.name} and {likelihood.name}, of "
            "which one reads a mean and the other real numbers; give the decoder an output_activation of its own"
        )

    def outer_loss(params: Params, batch: Batch, z: jax.Array, output: jax.Array) -> jax.Array:
        if "target" not in batch:
            raise ValueError(f"expected batch['target'], what x is translated to, got a batch of {', '.join(batch)}")
        return likelihood(output, as_examples(batch["target"], target_shape))

    return gradient_model(
        decoder, likelihood, step_size, strategy, inner_likelihood=source_likelihood, outer_loss=outer_loss
    )
