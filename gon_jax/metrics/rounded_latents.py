"""What rounding of the latents costs."""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from gon_jax import latents
from gon_jax.arguments import shown
from gon_jax.base import Model, Variables
from gon_jax.data import to_unit
from gon_jax.freezing import FrozenEncoder
from gon_jax.inference import Data, data_dict, encode_dataset, frozen_encoder, in_batches
from gon_jax.metrics.reconstruction import psnr, squared_errors

__all__ = ["compression_errors"]


def compression_errors(
    model: Model,
    variables: Variables,
    train_data: Data,
    data: Data,
    bits: Sequence[int] = (2, 4, 6, 8),
    *,
    encoder: FrozenEncoder | None = None,
) -> list[dict[str, float]]:
    """Return bytes per example against the error of what is decoded from latents of so few bits.

    Each entry of a latent is rounded to one of 2^bits cells of equal width over its range in training; the model and
    these ranges, which all examples share, are not counted, and no entropy coding is done.

    Args:
        model, variables, encoder: as in `gon_jax.metrics`.
        train_data: examples `[M, ...]` whose latents set the ranges.
        data: examples `[N, ...]` to compress, compared with "target" where there is one.
        bits: per entry, each from 1 to 16.

    Returns:
        A row for each number of bits, and a last one for float32 as it is, of 32: `bits`, `bytes` (of one example,
        rounded up), `squared_error` and `psnr` as from `evaluate`.

    Raises:
        ValueError: for data as in `data_dict`, or bits that are not from 1 to 16.

    >>> import jax
    >>> from gon_jax.models import gon
    >>> from gon_jax.decoders import mlp_decoder
    >>> model = gon(mlp_decoder((4,), (3,), hidden_dim=8))
    >>> x = np.eye(4, dtype=np.float32)
    >>> rows = compression_errors(model, model.init(jax.random.key(0)), x, x, bits=[4])
    >>> [(row["bits"], row["bytes"]) for row in rows]
    [(4, 2), (32, 12)]
    """
    if not isinstance(bits, Sequence) or isinstance(bits, str):
        raise ValueError(f"expected bits, whole numbers from 1 to 16 in a list, got {shown(bits)}")
    data, encoder = data_dict(model, data), encoder or frozen_encoder(model, variables)
    z_train = encode_dataset(model, variables, train_data, encoder=encoder)
    z = encode_dataset(model, variables, data, encoder=encoder)
    target = data.get("target", data["x"])

    def row(bits, z):
        errors = in_batches(partial(model.jit(_decoding_errors), variables), {"z": z, "target": target})
        means = {name: float(values.mean(dtype=np.float64)) for name, values in errors.items()}
        return {"bits": bits, "bytes": math.ceil(math.prod(model.latent_shape) * bits / 8)} | means

    quantizers = [latents.fit_quantizer(z_train, b) for b in bits]
    return [*(row(q.bits, latents.dequantize(q, latents.quantize(q, z))) for q in quantizers), row(32, z)]


def _decoding_errors(model, variables, batch):
    x_hat, x = model.decode(variables, batch["z"]), to_unit(batch["target"])
    return {"squared_error": squared_errors(x_hat, x), "psnr": psnr(x_hat, x)}
