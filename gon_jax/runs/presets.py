"""The named configurations."""

from gon_jax.runs.config import Config

__all__ = ["PRESETS"]

_AUTHORS = Config()
# The setting of the published logs: all 60,000 images, nothing selected; ten epochs of 937 steps.
_LOGS = _AUTHORS.replace(latent_shape=(256,), learning_rate=2e-4, num_steps=9370, num_validation=0)
_DIGITS = _AUTHORS.replace(
    dataset="digits", latent_shape=(16,), num_steps=2000, learning_rate=5e-3, schedule="cosine", validate_every=200
)
_VARIATIONAL = {"model": "vgon", "likelihood": "bernoulli", "adam_epsilon": 1e-8}
_IMPLICIT = {"network": "siren", "image_size": None, "adam_epsilon": 1e-8}

PRESETS: dict[str, Config] = {
    "gon-digits": _DIGITS,
    "gon-mnist": _AUTHORS,
    "gon-fashion": _AUTHORS.replace(dataset="fashion_mnist"),
    "gon-cifar10": _AUTHORS.replace(dataset="cifar10"),
    "gon-mnist-256": _LOGS,
    "gon-fashion-256": _LOGS.replace(dataset="fashion_mnist"),
    "vgon-digits": _DIGITS.replace(**_VARIATIONAL, inner_noise="none"),
    # The authors': 300 epochs.
    "vgon-mnist": _AUTHORS.replace(
        **_VARIATIONAL, latent_shape=(48,), base_channels=32, num_validation=0, num_steps=281_100
    ),
    "vgon-mnist-256": _LOGS.replace(**_VARIATIONAL),
    "classifier-digits": _DIGITS.replace(model="classifier", reconstruction_weight=0.1, num_steps=1000),
    "classifier-mnist": _AUTHORS.replace(
        model="classifier", reconstruction_weight=0.1, learning_rate=1e-3, schedule="cosine", num_steps=2000
    ),
    "translation-digits": _DIGITS.replace(model="translation", num_steps=1000),
    "translation-fashion": _LOGS.replace(model="translation", dataset="fashion_mnist", source="noisy", num_steps=2000),
    "translation-cifar10": _LOGS.replace(model="translation", dataset="cifar10", source="gray", num_steps=2000),
    "multi-step-digits": _DIGITS.replace(model="multi_step", num_steps=1000),
    "autoencoder-digits": _DIGITS.replace(model="autoencoder"),
    "vae-digits": _DIGITS.replace(**_VARIATIONAL | {"model": "vae"}),
    "glo-digits": _DIGITS.replace(model="glo"),
    # Eight pixels from -1 to 1 hold 2 cycles per unit: higher frequencies draw noise between them. Modulated SIRENs
    # learn small signals several times as fast as the authors' SIREN.
    "implicit-digits": _DIGITS.replace(
        **_IMPLICIT | {"network": "modulated_siren"},
        latent_shape=(32,),
        hidden_dim=64,
        batch_size=32,
        learning_rate=1e-3,
        omega_0=5.0,
        step_size=1 / 16,
    ),
    "implicit-mnist": _AUTHORS.replace(**_IMPLICIT, num_steps=501),
    "implicit-fashion": _AUTHORS.replace(**_IMPLICIT, dataset="fashion_mnist", num_steps=501),
    # Figure 4a's network of 4,385 parameters, whose size takes 34 latents.
    "implicit-mnist-tiny": _AUTHORS.replace(
        **_IMPLICIT, latent_shape=(34,), hidden_dim=32, learning_rate=1e-3, num_steps=2000
    ),
}
