"""What one does with a trained model, batch by batch and on the host: encode, decode, sample, inpaint, find anomalies.

Arguments that several functions share:

- `model`, `variables`: a trained model, and its variables, with averaged statistics where it has batch statistics.
- `data`: examples `[N, ...]`, uint8 or floats in [0, 1]; or a dict of arrays `[N, ...]` with the examples as "x".
  Sources (`gon_jax.data.sources`) may stand for arrays, and are read batch by batch.
- `encoder`: `frozen_encoder(model, variables)`, where it is at hand; by default it is computed.
- `progress`: the label of a progress bar, or `None` for no bar.
"""

from gon_jax.inference.batchwise import Array, Data, check_model, data_dict, in_batches
from gon_jax.inference.encode_decode import (
    decode_at,
    decode_latents,
    encode_batch,
    encode_dataset,
    frozen_encoder,
    reconstruct_dataset,
)
from gon_jax.inference.tasks import MAX_PRIOR_LATENTS, anomaly_scores, inpaint, interpolate, sample, superresolve

__all__ = ["Array", "Data", "check_model", "data_dict", "encode_batch", "frozen_encoder", "in_batches"]
__all__ += ["decode_at", "decode_latents", "encode_dataset", "reconstruct_dataset"]
__all__ += ["MAX_PRIOR_LATENTS", "anomaly_scores", "inpaint", "interpolate", "sample", "superresolve"]
