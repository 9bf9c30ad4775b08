"""Make `vgon.npz`: what the authors' variational algorithm in PyTorch gives in float64, for `test_parity_vgon.py`.

    python -m tests.goldens.make_vgon       (needs torch; the suite doesn't)

Keys are `<case>/...`, and `images`, `noise` of all cases; parameters keep torch's names and layout. Weights and noise
are numpy's, from fixed seeds, and beta is off ELU's kink. One case takes the authors' step size, the others the one
that brings the latents to order 1; in "shared" all examples have the first one's inner noise. Adam's epsilon is torch's
1e-8: the loss is a sum over pixels on both sides.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks import torch_gon
from tests.goldens.make_conv_gon import to_numpy

LATENT_SIZE, BASE_CHANNELS, BATCH_SIZE, IMAGE_SIZE = 5, 2, 6, 16
NUM_STEPS, LEARNING_RATE = 50, 2e-4
CASES = {  # batch norm, shared inner noise, step size
    "authors": (True, False, 1 / 64),
    "batch": (True, False, None),
    "none": (False, False, None),
    "shared": (True, True, None),
}


def draw_weights(network, rng):
    """Replace every parameter by one of torch's range; but gamma is about 1, and beta off ELU's kink."""
    for name, p in network.named_parameters():
        layer = network.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, torch.nn.BatchNorm2d):
            value = rng.normal(1, 0.1, p.shape) if name.endswith("weight") else rng.normal(0, 0.3, p.shape)
        else:
            linear = isinstance(layer, torch.nn.Linear)
            value = rng.uniform(-1, 1, p.shape) / np.sqrt(LATENT_SIZE if linear else 16 * layer.out_channels)
        p.data = torch.tensor(value)


def run_case(norm, shared, step_size, x, noise, rng):
    """Return one case's golden numbers; `noise` is `[steps, 2, B, k]`, its first row that of the single batch."""
    network = torch_gon.Variational(LATENT_SIZE, BASE_CHANNELS, 1, IMAGE_SIZE, norm).double()
    draw_weights(network, rng)
    if shared:
        noise = torch.stack([noise[:, 0, :1].expand_as(noise[:, 0]), noise[:, 1]], dim=1)
    inner, outer = noise[0]
    if step_size is None:
        step_size = float(1 / torch_gon.encode_variational(network, x, inner, 1.0).detach().std())
    out = {"step_size": np.array(step_size)}
    out |= {f"weights/{n}": w for n, w in to_numpy(network.named_parameters()).items()}

    z = torch_gon.encode_variational(network, x, inner, step_size)
    terms = {"inner": network(x, torch.zeros_like(z), inner), "outer": network(x, z, outer)}
    sum(terms["outer"]).mean().backward()
    out["z"] = z.detach().numpy()
    for name, pair in terms.items():
        out |= {f"{name}_{term}": value.detach().numpy() for term, value in zip(("nll", "kl"), pair, strict=True)}
    out |= {f"gradient/{n}": g for n, g in to_numpy((n, p.grad) for n, p in network.named_parameters()).items()}

    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    losses = [torch_gon.update_variational(network, optimizer, x, *pair, step_size).item() for pair in noise]
    return out | {"training_losses": np.array(losses)}


def main():
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 192, (BATCH_SIZE, 1, 4, 4)).repeat(4, axis=2).repeat(4, axis=3)
    images = (blocks + rng.integers(0, 64, blocks.shape)).astype(np.uint8)
    noise = rng.normal(size=(NUM_STEPS, 2, BATCH_SIZE, LATENT_SIZE))
    x, noises = torch.tensor(images).double() / 255, torch.tensor(noise)
    out = {"torch_version": np.array(torch.__version__), "learning_rate": np.array(LEARNING_RATE)}
    out |= {"images": images, "noise": noise}
    for seed, (case, options) in enumerate(CASES.items(), start=1):
        golden = run_case(*options, x, noises, np.random.default_rng(seed))
        out |= {f"{case}/{key}": value for key, value in golden.items()}
    np.savez_compressed(Path(__file__).with_name("vgon.npz"), **out)


if __name__ == "__main__":
    main()
