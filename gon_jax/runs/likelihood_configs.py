"""The likelihoods that a run can have, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gon_jax
from gon_jax.runs.options import Count, Options, Positive, register

if TYPE_CHECKING:
    from gon_jax.likelihoods import Likelihood

__all__ = ["LIKELIHOODS", "LikelihoodConfig"]

LIKELIHOODS: dict[str, type[LikelihoodConfig]] = {}


class LikelihoodConfig(Options):
    """The inner and the outer loss."""

    def build(self) -> Likelihood:
        """Return the likelihood; by default that of the same name in `gon_jax.likelihoods`."""
        return getattr(gon_jax.likelihoods, self.name)


for _name in "squared_error gaussian_scale bernoulli continuous_bernoulli categorical discretized_logistic".split():
    register(LIKELIHOODS, _name)(type(_name, (LikelihoodConfig,), {}))


@register(LIKELIHOODS, "gaussian")
class GaussianConfig(LikelihoodConfig):
    """A Gaussian of fixed scale."""

    scale: Positive = 0.1
    """Standard deviation of the likelihood gaussian, in units of the data."""

    def build(self) -> Likelihood:
        return gon_jax.likelihoods.gaussian(self.scale)


@register(LIKELIHOODS, "discretized_logistic_mixture")
class DiscretizedLogisticMixtureConfig(LikelihoodConfig):
    """A mixture of discretized logistics."""

    num_components: Count = 5
    """Components of the mixture."""

    def build(self) -> Likelihood:
        return gon_jax.likelihoods.discretized_logistic_mixture(self.num_components)
