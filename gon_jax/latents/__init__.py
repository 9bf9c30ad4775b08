"""Latents: paths between them, distributions fitted to them, and what they are like."""

from gon_jax.latents.interpolation import slerp, slerp_path
from gon_jax.latents.priors import Gaussian, Mixture, fit_gaussian, fit_mixture, sample_prior

__all__ = ["Gaussian", "Mixture", "fit_gaussian", "fit_mixture", "sample_prior", "slerp", "slerp_path"]
