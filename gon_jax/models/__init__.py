"""Models: each a function that returns the record `Model`."""

from gon_jax.models.gon import GONStats, gon, least_squares_gon
from gon_jax.models.implicit import implicit_gon
from gon_jax.models.model import Batch, Bound, Model, Variables
from gon_jax.models.vgon import Posterior, VGONStats, vgon

__all__ = [
    "Batch",
    "Bound",
    "GONStats",
    "Model",
    "Posterior",
    "VGONStats",
    "Variables",
    "gon",
    "implicit_gon",
    "least_squares_gon",
    "vgon",
]
