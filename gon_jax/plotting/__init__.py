"""Pictures of images and signals, written in one piece: PNG, and GIF and WAV for what moves and sounds."""

from gon_jax.plotting.comparisons import save_bars, save_histograms, save_image_rows, save_panels, save_scatter
from gon_jax.plotting.curves import save_codes, save_curves
from gon_jax.plotting.image_grids import (
    image_grid,
    save_image,
    save_inpainting,
    save_interpolation,
    save_reconstructions,
    save_samples,
    save_superresolution,
)
from gon_jax.plotting.media import save_video, save_voxels, save_waveforms, write_gif, write_wav

__all__ = [
    "image_grid",
    "save_bars",
    "save_codes",
    "save_curves",
    "save_histograms",
    "save_image",
    "save_image_rows",
    "save_inpainting",
    "save_interpolation",
    "save_panels",
    "save_reconstructions",
    "save_samples",
    "save_scatter",
    "save_superresolution",
    "save_video",
    "save_voxels",
    "save_waveforms",
    "write_gif",
    "write_wav",
]
