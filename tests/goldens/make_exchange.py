"""Make `exchange.npz` and `exchange_*.safetensors`: state dicts as the authors' models have them, and what these give.

    python -m tests.goldens.make_exchange       (needs torch and safetensors; the suite needs the latter alone)

Weights are PyTorch's own initialization, float32, with normalizations off their trivial start; running statistics are
those of a few passes. Outputs are computed in float64 and kept in float32; noise is given.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks import torch_gon

BATCH_SIZE = 3
FOLDER = Path(__file__).parent


class Conv(nn.Module):
    """The authors' first model by its names: `main.0`, ..."""

    def __init__(self, latent_size, base_channels, channels, image_size):
        super().__init__()
        self.main = torch_gon.decoder(latent_size, base_channels, channels, image_size)

    def forward(self, z):
        return self.main(z[..., None, None])


class Variational(Conv):
    """The second: `fc21`, `fc22` and `main.0`, ...; the noise is an argument."""

    def __init__(self, latent_size, *sizes):
        super().__init__(latent_size, *sizes)
        self.fc21, self.fc22 = nn.Linear(latent_size, latent_size), nn.Linear(latent_size, latent_size)

    def terms(self, x, z, noise):
        """Return the summed cross-entropy and KL of each example, in nats."""
        mean, logvar = self.fc21(z), self.fc22(z)
        x_hat = self(mean + torch.exp(logvar / 2) * noise)
        entropy = nn.functional.binary_cross_entropy(x_hat, x, reduction="none").flatten(1).sum(1)
        return entropy + 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(1)


class Layer(nn.Module):
    """A linear layer by the name `linear`, and a sine unless it is the last."""

    def __init__(self, fan_in, fan_out, last=False):
        super().__init__()
        self.linear, self.last = nn.Linear(fan_in, fan_out), last

    def forward(self, x):
        return self.linear(x) if self.last else torch.sin(30 * self.linear(x))


class Implicit(nn.Sequential):
    """The third: `0.linear`, `1.linear`, ..."""

    def __init__(self, latent_size, hidden_dim, num_layers, channels, image_size):
        widths = [2 + latent_size, *[hidden_dim] * num_layers, channels]
        last = len(widths) - 2
        super().__init__(*(Layer(*widths[i : i + 2], last=i == last) for i in range(last + 1)))
        with torch.no_grad():
            for i, layer in enumerate(self):
                bound = 1 / widths[0] if i == 0 else np.sqrt(6 / widths[i]) / 30
                layer.linear.weight.uniform_(-bound, bound)
        self.points = torch_gon.coordinates(image_size)

    def decode(self, z):
        shape = (len(z), len(self.points), -1)
        return self(torch.cat([self.points.to(z).expand(shape), z[:, None].expand(shape)], dim=-1))


MODELS = {
    "gon": lambda: Conv(5, 2, 3, 16),
    "vgon": lambda: Variational(4, 2, 1, 16),
    "implicit": lambda: Implicit(3, 8, 2, 1, 7),
}


def make(name):
    """Return a model with weights of its own."""
    torch.manual_seed(list(MODELS).index(name))
    model = MODELS[name]()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.weight.data.normal_(1, 0.1)
            layer.bias.data.normal_(0, 0.3)
    return model


def images(channels, image_size):
    """Return images with something in them, `[B, C, H, W]`, uint8."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 192, (BATCH_SIZE, channels, 4, 4)), np.ones((8, 8), int))
    return (blocks[..., :image_size, :image_size] + rng.integers(0, 64, (1, 1, image_size, image_size))).astype(
        np.uint8
    )


def encode(loss, z0):
    """Return minus the gradient of the authors' inner loss at the origin, a mean over a batch of 64."""
    z0 = z0.requires_grad_()
    return -torch.autograd.grad(loss(z0), z0)[0]


def run(name, model):
    """Return images, latents and reconstructions by batch statistics, and by running statistics what z decodes to."""
    channels, size = (3 if name == "gon" else 1), (7 if name == "implicit" else 16)
    x8 = images(channels, size)
    x = torch.tensor(x8).double() / 255
    model = model.double()
    rng = np.random.default_rng(1)
    out = {"x": x8.transpose(0, 2, 3, 1)}
    if name != "implicit":
        eval_z = torch.tensor(rng.normal(size=(1, 5 if name == "gon" else 4)))
        eval_x_hat = model.eval()(eval_z).detach().numpy()  # before a pass that changes what it is by
        out |= {"eval_z": eval_z.numpy(), "eval_x_hat": eval_x_hat.transpose(0, 2, 3, 1)}
        model.train()
    if name == "gon":
        z0 = torch.zeros(len(x), 5).double()
        z = encode(lambda z: (model(z) - x).square().sum() / (64 * size * size), z0)
        x_hat = model(z)
    elif name == "vgon":
        noise = torch.tensor(rng.normal(size=(2, len(x), 4)))
        z = encode(lambda z: model.terms(x, z, noise[0]).sum() / 64, torch.zeros(len(x), 4).double())
        x_hat = model(model.fc21(z))
        out |= {"noise": noise.numpy(), "loss": model.terms(x, z, noise[1]).mean().detach().numpy()}
    else:
        flat = x.permute(0, 2, 3, 1).flatten(1, 2)
        z = encode(lambda z: (model.decode(z) - flat).square().sum() / 64, torch.zeros(len(x), 3).double())
        x_hat = model.decode(z).mT.unflatten(2, (size, size))
    out |= {"z": z.detach().numpy(), "x_hat": x_hat.detach().numpy().transpose(0, 2, 3, 1)}
    return out


def main():
    torch.set_num_threads(1)
    out = {"torch_version": np.array(torch.__version__)}
    for name in MODELS:
        model = make(name)
        if name != "implicit":
            for _ in range(3):
                model(torch.randn(BATCH_SIZE, 5 if name == "gon" else 4))
        save_file(model.state_dict(), FOLDER / f"exchange_{name}.safetensors")
        for key, value in run(name, model).items():
            out[f"{name}/{key}"] = value if value.dtype == np.uint8 else value.astype(np.float32)
    np.savez_compressed(FOLDER / "exchange.npz", **out)


if __name__ == "__main__":
    main()
