"""What is measured: the table of cases, and the weights, images and costs of a case, in NumPy and arithmetic alone.

Both frameworks start from the same bytes. Names of weights are those of torch's state_dict; `flax_params` are ours.
"""

import itertools
from typing import Any, Literal, NamedTuple

import numpy as np

AGREEMENT_STEPS = 20
NUM_BATCHES = 4
LINEAR = ("mean", "logvar")  # the variational GON's maps of z


class Case(NamedTuple):
    """One setting; the defaults are the authors'.

    Attributes:
        kind: "conv", its first script; "vgon", its variational one; or "siren", its implicit one.
        batch_size, latent_size, image_size, channels: of both.
        base_channels: conv and vgon, width at half the image size.
        shared_noise: vgon, whether all examples of an inner pass have one noise, which admits our fast form; in the
            authors' implementation each has its own.
        hidden_dim, num_layers: siren, width and number of layers with a sine.
        learning_rate: Adam's.
        agreement_steps: steps whose losses must agree before anything is timed.
    """

    name: str
    kind: Literal["conv", "vgon", "siren"]
    batch_size: int = 64
    latent_size: int = 32
    image_size: int = 32
    channels: int = 1
    base_channels: int = 16
    shared_noise: bool = False
    hidden_dim: int = 256
    num_layers: int = 4
    learning_rate: float = 1e-4
    agreement_steps: int = AGREEMENT_STEPS

    @property
    def pixels(self) -> int:
        return self.image_size**2

    @property
    def loss_divisor(self) -> int:
        """By what the authors divide a sum over pixels: their number in the first script, 1 in the others.

        Our loss is the sum; under Adam that is the same once epsilon is multiplied by this.
        """
        return self.pixels if self.kind == "conv" else 1

    @property
    def step_size(self) -> float:
        """The authors', at their batch of 64."""
        return 1 / (64 * self.loss_divisor)

    @property
    def adam_epsilon(self) -> float:
        """Ours, for the loss without the divisor."""
        return 1e-8 * self.loss_divisor


CONV, IMPLICIT = Case("conv", "conv"), Case("implicit", "siren", image_size=28, agreement_steps=5)
VGON = Case("vgon", "vgon", latent_size=48, base_channels=32)
VGON_SHARED = VGON._replace(name="vgon-shared", shared_noise=True)


def _vary(field: str, name: str, values) -> list[Case]:
    """Return `CONV` with other values of one field."""
    cases = [CONV._replace(name=name.format(value), **{field: value}) for value in values]
    return [CONV if case._replace(name=CONV.name) == CONV else case for case in cases]


GROWTH = {
    "batch_size": _vary("batch_size", "conv-batch-{}", (16, 64, 256, 512)),
    "latent_size": _vary("latent_size", "conv-latent-{}", (16, 32, 64, 128, 256)),
    "image_size": _vary("image_size", "conv-{}px", (32, 64, 128)),
}
SMOKE = (
    CONV._replace(name="smoke-conv", batch_size=4, latent_size=3, image_size=8, base_channels=4),
    IMPLICIT._replace(name="smoke-siren", batch_size=4, latent_size=3, image_size=8, hidden_dim=16),
    VGON_SHARED._replace(name="smoke-vgon", batch_size=4, latent_size=3, image_size=8, base_channels=4),
)
CASES = {case.name: case for case in (CONV, *itertools.chain(*GROWTH.values()), IMPLICIT, VGON, VGON_SHARED, *SMOKE)}
QUICK = ("conv", "implicit")
FULL = ("conv", "conv-batch-512", "conv-latent-256", "conv-64px", "conv-128px", "implicit", "vgon", "vgon-shared")
TUNED = ("conv", "implicit", "vgon-shared")  # where all tunings of PyTorch are timed


def images(case: Case, seed: int = 0) -> np.ndarray:
    """Return batches of noise, float32 `[NUM_BATCHES, B, H, W, C]` in [0, 1]."""
    shape = (NUM_BATCHES, case.batch_size, case.image_size, case.image_size, case.channels)
    return np.random.default_rng(seed).random(shape, np.float32)


def noise(case: Case, seed: int = 0) -> np.ndarray:
    """Return normal noise of the two passes of each batch, float32 `[NUM_BATCHES, 2, B, k]`."""
    drawn = np.random.default_rng([seed, 1]).normal(size=(NUM_BATCHES, 2, case.batch_size, case.latent_size))
    if case.shared_noise:
        drawn[:, 0] = drawn[:, 0, :1]
    return drawn.astype(np.float32)


def layers(case: Case) -> list[tuple[int, int, int]]:
    """Return each layer's number of inputs, outputs, and positions at which an example applies it."""
    if case.kind == "siren":
        widths = [2 + case.latent_size, *[case.hidden_dim] * case.num_layers, case.channels]
        return [(*pair, case.pixels) for pair in itertools.pairwise(widths)]
    sizes = [2**i for i in range(2, case.image_size.bit_length() - 1)]  # 4, 8, ..., H / 2: after each layer but one
    widths = [case.latent_size, *(case.base_channels * case.image_size // 2 // size for size in sizes), case.channels]
    return [(*pair, size**2) for pair, size in zip(itertools.pairwise(widths), [1, *sizes], strict=True)]


def weights(case: Case, seed: int = 0, shift: float = 0.1) -> dict[str, np.ndarray]:
    """Draw weights by PyTorch's law, and SIREN's; but a normalization's shift is U(+-shift).

    At 0, PyTorch's, the origin lies on ELU's kink, where the second derivatives of the two frameworks differ by
    convention, so that the first steps could not be compared.
    """
    rng = np.random.default_rng(seed)

    def uniform(bound, *shape):
        return rng.uniform(-bound, bound, shape).astype(np.float32)

    drawn, all_layers = {}, layers(case)
    if case.kind == "vgon":
        k = case.latent_size
        shapes = {f"{name}.{what}": shape for name in LINEAR for what, shape in (("weight", (k, k)), ("bias", (k,)))}
        drawn = {name: uniform(k**-0.5, *shape) for name, shape in shapes.items()}
        return drawn | {f"decoder.{n}": w for n, w in weights(case._replace(kind="conv"), seed, shift).items()}
    for i, (fan_in, fan_out, _) in enumerate(all_layers):
        if case.kind == "siren":
            bound = 1 / fan_in if i == 0 else (6 / fan_in) ** 0.5 / 30
            drawn |= {f"{i}.weight": uniform(bound, fan_out, fan_in), f"{i}.bias": uniform(fan_in**-0.5, fan_out)}
            continue
        bound = (16 * fan_out) ** -0.5
        drawn |= {f"{3 * i}.weight": uniform(bound, fan_in, fan_out, 4, 4), f"{3 * i}.bias": uniform(bound, fan_out)}
        if i < len(all_layers) - 1:
            drawn |= {f"{3 * i + 1}.weight": np.ones(fan_out, np.float32), f"{3 * i + 1}.bias": uniform(shift, fan_out)}
    return drawn


def flax_params(case: Case, drawn: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the same weights as parameters of our model."""
    if case.kind == "vgon":
        params = {name: {"kernel": drawn[f"{name}.weight"].T.copy(), "bias": drawn[f"{name}.bias"]} for name in LINEAR}
        convolutions = {name.removeprefix("decoder."): w for name, w in drawn.items() if name.startswith("decoder.")}
        return params | {"decoder": _conv_params(case, convolutions)}
    return (_siren_params if case.kind == "siren" else _conv_params)(case, drawn)


def _conv_params(case, drawn):
    params = {}
    for i in range(len(layers(case))):
        kernel = np.ascontiguousarray(drawn[f"{3 * i}.weight"].transpose(0, 2, 3, 1))
        params[f"TransposedConv_{i - 1}" if i else "Project_0"] = {"kernel": kernel, "bias": drawn[f"{3 * i}.bias"]}
        if f"{3 * i + 1}.weight" in drawn:
            params[f"BatchNorm_{i}"] = {"scale": drawn[f"{3 * i + 1}.weight"], "bias": drawn[f"{3 * i + 1}.bias"]}
    return params


def _siren_params(case, drawn):
    return {
        f"Dense_{i}": {"kernel": np.ascontiguousarray(drawn[f"{i}.weight"].T), "bias": drawn[f"{i}.bias"]}
        for i in range(len(layers(case)))
    }


def decoder_flops(case: Case) -> int:
    """Return floating-point operations of a decoder pass for one example: twice the multiply-adds of its layers.

    A transposed convolution counts 16 taps at each input position, those that fall off the edge too.
    """
    taps = 1 if case.kind == "siren" else 16
    linear = 2 * len(LINEAR) * case.latent_size**2 if case.kind == "vgon" else 0
    return linear + sum(2 * taps * fan_in * fan_out * positions for fan_in, fan_out, positions in layers(case))


def choose_form(case: Case) -> str:
    """Return the cheapest form of the shared origin, by `step_flops`."""
    forms = ["pullback", "jacobian", *(["pointwise"] if case.kind == "siren" else [])]
    return min(forms, key=lambda form: step_flops(case, form))


def step_flops(case: Case, form: str) -> float:
    """Return floating-point operations of a training step of the whole batch: decoder passes, and products with J.

    The form "decoder" is training with latents given, without an encoder. The passes per example are those of
    `gon_jax.linearization`: what is elementwise, the optimizer, and reductions are left out.
    """
    batch_size, latent_size = case.batch_size, case.latent_size
    passes = {
        "definition": 9,
        "decoder": 3,
        "pullback": 6 + 3 / batch_size,
        "jacobian": 3 + 3 * (latent_size + 1) / batch_size,
        "pointwise": 3 + 3 * (1 + case.channels) / batch_size,
    }[form]
    products = 6 * latent_size * case.pixels * case.channels if form in ("jacobian", "pointwise") else 0
    return batch_size * (passes * decoder_flops(case) + products)


class Side(NamedTuple):
    """What a framework has built for a case, ready to be timed; made by `torch_sides` and `jax_sides`.

    Attributes:
        seconds_compile: until the first step had run, less nothing; 0 for what compiles nothing.
        values: what all sides must agree on: the losses of the first steps (squared error of an image), or latents.
        run: `run(n)` makes n steps, or encodes n batches, to completion.
        peak_bytes: the most bytes alive during one of them; see the sides for how each framework is asked.
        products: ways to multiply two float32 matrices, by name: `products[name](n)()` multiplies two n x n once, to
            completion.
        own_product: the name of the one whose peak this side is measured against.
        form: how the encoder is computed, a key of `step_flops`; `None` where that doesn't apply.
        notes: what else the framework says.
    """

    seconds_compile: float
    values: list[float]
    run: Any
    peak_bytes: Any
    products: dict[str, Any]
    own_product: str
    form: str | None
    notes: dict[str, Any]
