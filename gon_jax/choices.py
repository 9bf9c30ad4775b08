"""Values that an option may have, by name: what configurations and the command must know before they load JAX."""

from typing import Literal

__all__ = ["LATENT_LEARNING_RATE", "ActivationName", "Encoding", "Framing", "InnerNoise", "Kind", "NormName", "OnError"]
__all__ += ["Schedule"]

ActivationName = Literal["elu", "relu", "leaky_relu", "gelu", "silu", "softplus", "tanh", "sin"]
NormName = Literal["batch", "group", "none"]
Encoding = Literal["step", "gradient"]
InnerNoise = Literal["per_example", "shared", "none"]
Schedule = Literal["constant", "cosine"]
Framing = Literal["crop", "pad", "stretch"]
Kind = Literal["images", "audio", "voxels", "video", "table", "points"]
OnError = Literal["skip", "stop"]
LATENT_LEARNING_RATE = 0.05  # of Adam on the latents of the training data, for models that keep them
