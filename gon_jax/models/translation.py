r"""Translation between modalities (section 3.5 of the paper): the inner loss on one, the outer loss on another."""

import jax

from gon_jax.base import Batch, Decoder, Model, Params, data_shape_of
from gon_jax.likelihoods import Likelihood, squared_error
from gon_jax.linearization import Strategy
from gon_jax.models.gon import gradient_gon


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
        decoder: as for `gon`.
        source_likelihood: L, the inner loss, of `batch["x"]`; by default `likelihood`.
        likelihood: L', the outer loss, of `batch["target"]`.
        step_size: s; by default the release's, 1 / (64 H W), or 1 / (64 C) for decoders of coordinates.
        strategy: as for `gon`.

    Raises:
        ValueError: for likelihoods of data of different shapes, or, from the loss, a batch without targets.

    >>> from gon_jax.decoders import conv_decoder
    >>> model = translation_gon(conv_decoder((8, 8, 1), (3,), base_channels=4))
    >>> variables, x = model.init(jax.random.key(0)), jax.numpy.ones((5, 8, 8, 1))
    >>> model.loss(variables, {"x": x, "target": 1 - x}, jax.random.key(1))[0].shape
    ()
    """
    source_likelihood = likelihood if source_likelihood is None else source_likelihood
    shapes = data_shape_of(decoder, source_likelihood), data_shape_of(decoder, likelihood)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"expected sources and targets of one shape, got {shapes[0]} by {source_likelihood.name} and {shapes[1]} "
            f"by {likelihood.name}; take a source_likelihood of {likelihood.num_outputs} outputs a channel"
        )

    def outer(params: Params, batch: Batch, z: jax.Array, output: jax.Array) -> jax.Array:
        if "target" not in batch:
            raise ValueError(f"expected batch['target'], what x is translated to, got a batch of {', '.join(batch)}")
        return likelihood(output, batch["target"])

    options = {"likelihood": likelihood, "step_size": step_size, "strategy": strategy}
    model = gradient_gon(decoder, **options, source_likelihood=source_likelihood, outer=outer)
    # A frozen encoder that isn't folded asks for its likelihood, and the record holds the target's alone.
    return model if source_likelihood.affine or source_likelihood is likelihood else model._replace(freeze=None)
