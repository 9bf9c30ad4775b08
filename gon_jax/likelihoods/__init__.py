r"""What the decoder's output says of the data: a number for each number of the data, in nats (or squared intensity).

A likelihood is any function `(output [B, ...], x [B, ...]) -> [B]` that returns the negative log-likelihood of each
example. The ones here are records that know more: the terms that are summed, their mean, how many outputs they read per
channel of the data, whether their gradient is affine in the data, what they are normalized over.

| likelihood | outputs, K | a model of |
|---|---|---|
| `squared_error` | 1: the mean | nothing, not normalized |
| `gaussian(scale)` | 1: the mean | reals, scale fixed |
| `gaussian_scale` | 2: mean, log scale | reals, scale by the decoder |
| `bernoulli` | 1: logit | 0 and 1 |
| `continuous_bernoulli` | 1: natural parameter | reals from 0 to 1 |
| `categorical` | 256: logits | bytes, whatever their distribution |
| `discretized_logistic` | 2: mean, log scale + 3 | bytes |
| `discretized_logistic_mixture(M)` | 3 M: logits, means, log scales | bytes |

Data are in [0, 1], where a byte b is b / 255. Outputs are real numbers, not squashed. Log scales are bounded softly, to
-8 from below, so that no density grows without end where the data are constant, and 4 from above. With
`gon_jax.decoders.shared_outputs` they are parameters, learned for all data at once.
"""

from gon_jax.likelihoods.continuous import bernoulli, continuous_bernoulli, gaussian, gaussian_scale, squared_error
from gon_jax.likelihoods.discrete import categorical, discretized_logistic, discretized_logistic_mixture
from gon_jax.likelihoods.likelihood import Likelihood, bits_per_dim, dequantize, sum_per_example, weighted

__all__ = [
    "Likelihood",
    "bernoulli",
    "bits_per_dim",
    "categorical",
    "continuous_bernoulli",
    "dequantize",
    "discretized_logistic",
    "discretized_logistic_mixture",
    "gaussian",
    "gaussian_scale",
    "squared_error",
    "sum_per_example",
    "weighted",
]
