"""Make `conv_gon.npz`: what the authors' algorithm in PyTorch gives in float64, for `tests/test_parity.py`.

    python -m tests.goldens.make_conv_gon       (needs torch; the suite doesn't)

Keys are `<case>/...`; parameters keep torch's names and layout. Weights are numpy's, from a fixed seed, and beta is
off ELU's kink. Two cases take the step size that brings the latents to order 1, one takes the authors'.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks import torch_gon

LATENT_SIZE, BASE_CHANNELS, BATCH_SIZE = 6, 2, 8
NUM_IMAGES = 12  # a batch and a smaller one to evaluate on; the first and the last 8 to train on
NUM_STEPS, LEARNING_RATE = 50, 1e-3
NUM_INITIALIZATIONS = 1000
CASES = {"gray": (1, None), "color": (3, None), "authors": (1, 1 / (64 * 32 * 32))}  # channels, step size


def draw_weights(network, rng):
    """Replace every parameter: kernels and biases of torch's range, gamma about 1, beta off ELU's kink."""
    for name, p in network.named_parameters():
        index, kind = name.split(".")
        if isinstance(network[int(index)], torch.nn.BatchNorm2d):
            value = rng.normal(1, 0.1, p.shape) if kind == "weight" else rng.normal(0, 0.3, p.shape)
        else:
            value = rng.uniform(-1, 1, p.shape) / np.sqrt(16 * network[int(index)].out_channels)
        p.data = torch.tensor(value)


def draw_images(rng, channels):
    """Return images with something to learn: coarse blocks under noise, uint8."""
    blocks = rng.integers(0, 192, (NUM_IMAGES, channels, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    return (blocks + rng.integers(0, 64, blocks.shape)).astype(np.uint8)


def to_numpy(named):
    return {name: tensor.detach().numpy().copy() for name, tensor in named}


def run_case(channels, step_size, rng):
    """Return one case's golden numbers; without a step size, the one that brings the latents to unit deviation."""
    network = torch_gon.decoder(LATENT_SIZE, BASE_CHANNELS, channels).double()
    draw_weights(network, rng)
    images = draw_images(rng, channels)
    data = torch.tensor(images).double() / 255
    x = data[:BATCH_SIZE]
    if step_size is None:
        step_size = float(1 / torch_gon.encode(network, x, LATENT_SIZE, 1.0).detach().std())
    options = {"latent_size": LATENT_SIZE, "step_size": step_size}

    out = {"images": images, "step_size": np.array(step_size)}
    out |= {f"weights/{n}": w for n, w in to_numpy(network.named_parameters()).items()}
    out["z"] = torch_gon.encode(network, x, **options).detach().numpy()[:, :, 0, 0]
    losses = torch_gon.errors(network, x, **options)
    losses.mean().backward()
    out["losses"] = losses.detach().numpy()
    out |= {f"gradient/{n}": g for n, g in to_numpy((n, p.grad) for n, p in network.named_parameters()).items()}
    out["evaluation"] = np.array(torch_gon.evaluate(network, data, **options, batch_size=BATCH_SIZE))

    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    batches = [data[:BATCH_SIZE], data[-BATCH_SIZE:]]
    training = [torch_gon.train_step(network, optimizer, batches[i % 2], **options) for i in range(NUM_STEPS)]
    out["training_losses"] = np.array(training)
    return out


def initial_statistics():
    """Return [smallest, largest, standard deviation] of every parameter over many of torch's own initializations."""
    torch.manual_seed(0)
    networks = [torch_gon.decoder(LATENT_SIZE, BASE_CHANNELS, 1) for _ in range(NUM_INITIALIZATIONS)]
    out = {}
    for name, _ in networks[0].named_parameters():
        values = torch.stack([n.get_parameter(name).detach() for n in networks])
        out[name] = np.array([values.min(), values.max(), values.std()])
    return out


def main():
    torch.set_num_threads(1)
    out = {"torch_version": np.array(torch.__version__), "learning_rate": np.array(LEARNING_RATE)}
    for seed, (case, (channels, step_size)) in enumerate(CASES.items()):
        golden = run_case(channels, step_size, np.random.default_rng(seed))
        out |= {f"{case}/{key}": value for key, value in golden.items()}
    out |= {f"initial/{name}": value for name, value in initial_statistics().items()}
    np.savez_compressed(Path(__file__).with_name("conv_gon.npz"), **out)


if __name__ == "__main__":
    main()
