"""Make `implicit_gon.npz`: the authors' implicit GON in PyTorch and float64, for `tests/test_parity_implicit.py`.

    python -m tests.goldens.make_implicit_gon       (needs torch; the suite doesn't)

The algorithm is written as the authors have it: coordinates joined to the latent of every point, losses summed over
pixels and averaged over batch and channels, z = -grad of that. Keys are `<case>/...`; parameters keep torch's layout.
"""

from pathlib import Path

import numpy as np
import torch

LATENT_SIZE, HIDDEN_DIM, BATCH_SIZE = 4, 16, 5
NUM_IMAGES, NUM_STEPS, LEARNING_RATE = 8, 50, 1e-3  # the first and the last 5 images to train on
CASES = {"gray": (7, 1, 4), "color": (6, 3, 3)}  # image size, channels, hidden layers


def draw_layers(channels, num_layers, rng):
    """Return weights `[out, in]` and biases `[out]`, from the ranges in which the authors' implementation starts."""
    widths = [2 + LATENT_SIZE, *[HIDDEN_DIM] * num_layers, channels]
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        bound = 1 / fan_in if i == 0 else np.sqrt(6 / fan_in) / 30
        weight = rng.uniform(-bound, bound, (fan_out, fan_in))
        bias = rng.uniform(-1, 1, fan_out) / np.sqrt(fan_in)
        layers += [torch.tensor(weight, requires_grad=True), torch.tensor(bias, requires_grad=True)]
    return layers


def decode(layers, points, z):
    """Return `[B, N, C]` at points `[N, 2]` of latents `[B, 1, k]`."""
    x = torch.cat([points.expand(len(z), -1, -1), z.expand(-1, len(points), -1)], dim=-1)
    for weight, bias in zip(layers[:-2:2], layers[1:-2:2], strict=True):
        x = torch.sin(30 * torch.nn.functional.linear(x, weight, bias))
    return torch.nn.functional.linear(x, *layers[-2:])


def run_batch(layers, points, x):
    """Return latents and the losses of Eq. 8, `[B]`, whose mean is the authors' loss."""
    z = torch.zeros(len(x), 1, LATENT_SIZE, dtype=x.dtype, requires_grad=True)
    inner = (x - decode(layers, points, z)).square().sum(dim=1).mean()
    z = -torch.autograd.grad(inner, z, create_graph=True)[0]
    return z[:, 0], (x - decode(layers, points, z)).square().sum(dim=1).mean(dim=1)


def run_case(image_size, channels, num_layers, rng):
    layers = draw_layers(channels, num_layers, rng)
    axis = torch.linspace(-1, 1, image_size, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(-1, 2)
    images = rng.uniform(0, 1, (NUM_IMAGES, image_size**2, channels))
    batches = [torch.tensor(images[:BATCH_SIZE]), torch.tensor(images[-BATCH_SIZE:])]
    names = [f"{i}/{kind}" for i in range(num_layers + 1) for kind in ("weight", "bias")]

    out = {"images": images, "image_size": image_size}
    out |= {f"weights/{name}": p.detach().numpy().copy() for name, p in zip(names, layers, strict=True)}
    z, losses = run_batch(layers, points, batches[0])
    losses.mean().backward()
    out |= {"z": z.detach().numpy(), "losses": losses.detach().numpy()}
    out |= {f"gradient/{name}": p.grad.numpy().copy() for name, p in zip(names, layers, strict=True)}

    optimizer = torch.optim.Adam(layers, lr=LEARNING_RATE)
    training = []
    for i in range(NUM_STEPS):
        optimizer.zero_grad()
        loss = run_batch(layers, points, batches[i % 2])[1].mean()
        loss.backward()
        optimizer.step()
        training.append(loss.item())
    return out | {"training_losses": np.array(training)}


def main():
    torch.set_num_threads(1)
    out = {"torch_version": np.array(torch.__version__), "learning_rate": np.array(LEARNING_RATE)}
    for seed, (case, sizes) in enumerate(CASES.items()):
        out |= {f"{case}/{key}": value for key, value in run_case(*sizes, np.random.default_rng(seed)).items()}
    np.savez_compressed(Path(__file__).with_name("implicit_gon.npz"), **out)


if __name__ == "__main__":
    main()
