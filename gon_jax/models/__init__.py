"""Models: each a function that returns the record `Model`."""

from gon_jax.models.gon import GONStats, gon, least_squares_gon
from gon_jax.models.model import Batch, Model, Variables

__all__ = ["Batch", "GONStats", "Model", "Variables", "gon", "least_squares_gon"]
