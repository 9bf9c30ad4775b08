"""Plots of images, curves and latents as PNG. Files are written whole."""

from gon_jax.plotting.curves import save_curves, save_latents, save_scatter
from gon_jax.plotting.image_grids import (
    image_grid,
    save_extremes,
    save_image,
    save_inpainting,
    save_interpolation,
    save_labeled,
    save_reconstructions,
    save_samples,
    save_superresolution,
    save_traversal,
    to_pixels,
)

__all__ = [
    "image_grid",
    "save_curves",
    "save_extremes",
    "save_image",
    "save_inpainting",
    "save_interpolation",
    "save_labeled",
    "save_latents",
    "save_reconstructions",
    "save_samples",
    "save_scatter",
    "save_superresolution",
    "save_traversal",
    "to_pixels",
]
