"""How good a model is: metrics of a dataset, a mean over its examples, each with the same weight.

Arguments that several functions share, beside those of `gon_jax.inference`:

- `data`: examples `[N, ...]`, uint8 or floats in [0, 1]; or a dict of arrays `[N, ...]`, as for `gon_jax.training.fit`.
- `evaluation`: "running" uses averaged statistics, so that the numbers of an example do not depend on its batch;
  "batch" uses those of each batch, as the authors' implementation does. The same without batch statistics.
- `batch_size`: examples per batch. It changes the result for "batch" alone; larger ones are slower to decode on a CPU.
"""

from gon_jax.metrics.classification import accuracy, check_labels
from gon_jax.metrics.evaluation import evaluate, selection_metric
from gon_jax.metrics.likelihood_bounds import evaluate_bound
from gon_jax.metrics.passes import Evaluation
from gon_jax.metrics.reconstruction import psnr, squared_errors
from gon_jax.metrics.rounded_latents import compression_errors

__all__ = ["Evaluation", "accuracy", "check_labels", "compression_errors", "evaluate", "evaluate_bound", "psnr"]
__all__ += ["selection_metric", "squared_errors"]
