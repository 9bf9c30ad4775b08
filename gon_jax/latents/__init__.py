"""What one does with latents: paths, fitted distributions, anomalies, neighbors, maps, compression; their statistics.

Statistics are in `gon_jax.latents.statistics`. What needs the model too is in `gon_jax.inference` and
`gon_jax.metrics`.
"""

from gon_jax.latents.anomaly import mahalanobis_scores, reconstruction_scores
from gon_jax.latents.compression import Quantizer, dequantize, fit_quantizer, quantize
from gon_jax.latents.interpolation import slerp, slerp_path
from gon_jax.latents.maps import latent_map
from gon_jax.latents.neighbors import nearest_neighbors
from gon_jax.latents.priors import Gaussian, Mixture, fit_gaussian, fit_mixture, sample_prior
from gon_jax.latents.traversals import principal_directions, traversal

__all__ = [
    "Gaussian",
    "Mixture",
    "Quantizer",
    "dequantize",
    "fit_gaussian",
    "fit_mixture",
    "fit_quantizer",
    "latent_map",
    "mahalanobis_scores",
    "nearest_neighbors",
    "principal_directions",
    "quantize",
    "reconstruction_scores",
    "sample_prior",
    "slerp",
    "slerp_path",
    "traversal",
]
