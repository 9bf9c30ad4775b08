"""Latents as whole numbers of few bits, to store or to send. NumPy in and out, on the host.

A model and the ranges are known to both sides, so that an example takes k times `bits` bits;
`gon_jax.metrics.compression_errors` measures the error of the decoded examples.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gon_jax.arguments import as_numbers, check_count, check_kind

__all__ = ["Quantizer", "dequantize", "fit_quantizer", "quantize"]


class Quantizer(NamedTuple):
    """Cells of equal width for each entry of a latent: `low` and `high`, `[*latent]`, and 2^bits cells between them."""

    low: np.ndarray
    high: np.ndarray
    bits: int


def fit_quantizer(z_train: ArrayLike, bits: int) -> Quantizer:
    """Return the quantizer whose cells cover the range of each entry of training latents `[M, *latent]`.

    Raises:
        ValueError: for no latents, values that are not finite, or bits that are not from 1 to 16.

    >>> fit_quantizer([[0.0, -1.0], [4.0, 1.0]], bits=2)
    Quantizer(low=array([ 0., -1.]), high=array([4., 1.]), bits=2)
    """
    z = as_numbers("z_train", z_train).astype(np.float64)
    if z.ndim < 2 or not z.size or not np.isfinite(z).all():
        raise ValueError(f"expected finite latents [M, *latent], M >= 1, got shape {z.shape}: has training diverged?")
    return Quantizer(z.min(0), z.max(0), check_count("bits", bits, 1, 16))


def quantize(quantizer: Quantizer, z: ArrayLike) -> np.ndarray:
    """Return the cell of each entry of latents `[N, *latent]`, 0 to 2^bits - 1: uint8, or uint16 above 8 bits.

    Latents outside the training range go to the outermost cells.

    Raises:
        ValueError: for latents of another shape than the quantizer's, or not finite.

    >>> quantize(Quantizer(np.zeros(1), np.ones(1), bits=2), [[0.0], [0.3], [1.0], [7.0]]).tolist()
    [[0], [1], [3], [3]]
    """
    check_kind("quantizer", quantizer, Quantizer, "fit_quantizer(z_train, bits) makes one")
    low, high, bits = quantizer
    z = as_numbers("z", z).astype(np.float64)
    if z.shape[1:] != low.shape or not np.isfinite(z).all():
        raise ValueError(
            f"expected finite latents [N, {', '.join(map(str, low.shape))}], got {z.shape}; of this model?"
        )
    width = np.where(high > low, high - low, 1) / 2**bits
    return np.clip((z - low) // width, 0, 2**bits - 1).astype(np.uint8 if bits <= 8 else np.uint16)


def dequantize(quantizer: Quantizer, cells: ArrayLike) -> np.ndarray:
    """Return the latents in the middle of cells, `[N, *latent]` of float32: at most half a cell's width off.

    >>> dequantize(Quantizer(np.zeros(1), np.ones(1), bits=2), [[0], [1], [3]]).tolist()
    [[0.125], [0.375], [0.875]]
    """
    check_kind("quantizer", quantizer, Quantizer, "fit_quantizer(z_train, bits) makes one")
    low, high, bits = quantizer
    return (low + (high - low) * (as_numbers("cells", cells) + 0.5) / 2**bits).astype(np.float32)
