"""Paths between latents, distributions fitted to them, and their statistics (`gon_jax.latents.statistics`)."""

from gon_jax.latents.interpolation import slerp, slerp_path
from gon_jax.latents.priors import Gaussian, Mixture, fit_gaussian, fit_mixture, sample_prior

__all__ = ["Gaussian", "Mixture", "fit_gaussian", "fit_mixture", "sample_prior", "slerp", "slerp_path"]
