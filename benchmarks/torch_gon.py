"""The authors' GONs in PyTorch, written anew: the side we compare with.

Only the algorithm is here (networks, loss of Eq. 8 by double backward, evaluation); who trains it on what is
said in `quality.py` and `cases.py`. The inner loss is divided by the constant 64 H W (64 in the variational one), not
by the batch at hand: equal to their implementation on full batches of 64, and independent of the batch size on others.
"""

import math

import torch
from torch import nn


def decoder(latent_size: int, base_channels: int, channels: int, image_size: int = 32) -> nn.Sequential:
    """Return the authors' decoder, `[B, latent_size, 1, 1]` to `[B, channels, H, H]`, in torch's initialization."""
    halvings = int(math.log2(image_size)) - 3
    widths = [latent_size, *(base_channels * 2**i for i in range(halvings, -1, -1)), channels]
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers.append(nn.ConvTranspose2d(fan_in, fan_out, 4, stride, padding))
        layers += [nn.BatchNorm2d(fan_out), nn.ELU()] if i < len(widths) - 2 else [nn.Sigmoid()]
    return nn.Sequential(*layers)


def coordinates(image_size: int) -> torch.Tensor:
    """Return the points of the image in row-column order, `[H W, 2]` from -1 to 1."""
    axis = torch.linspace(-1, 1, image_size)
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), dim=-1).reshape(-1, 2)


class Siren(nn.ModuleList):
    """The authors' implicit decoder, `[B, k, 1, 1]` to `[B, H W, channels]`: each point is joined to its latent."""

    def __init__(
        self, latent_size: int, image_size: int, channels: int, hidden_dim: int, num_layers: int, linear=nn.Linear
    ):
        widths = [2 + latent_size, *[hidden_dim] * num_layers, channels]
        super().__init__(linear(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.register_buffer("points", coordinates(image_size), persistent=False)

    def forward(self, z):
        shape = (z.shape[0], len(self.points), -1)
        x = torch.cat([self.points.expand(shape), z.flatten(1)[:, None].expand(shape)], dim=-1)
        *hidden, last = self
        for layer in hidden:
            x = torch.sin(30 * layer(x))
        return last(x)


def encode(network: nn.Module, x: torch.Tensor, latent_size: int, step_size: float, attached=True) -> torch.Tensor:
    """Return z = -step_size * gradient of the summed squared error at 0, `[B, latent_size, 1, 1]`."""
    z = x.new_zeros(x.shape[0], latent_size, 1, 1, requires_grad=True)
    loss = (x - network(z)).square().sum()
    return -step_size * torch.autograd.grad(loss, z, create_graph=attached)[0]


def errors(network: nn.Module, x: torch.Tensor, latent_size: int, step_size: float) -> torch.Tensor:
    """Return the squared error of each example's reconstruction, `[B]`, in squared intensity summed over the image."""
    z = encode(network, x, latent_size, step_size)
    return (x - network(z)).square().flatten(1).sum(dim=1)


def update(network, optimizer, x, latent_size: int, step_size: float, divisor: int) -> torch.Tensor:
    """Make one step on the mean of `errors` over the batch, divided by `divisor`; return that loss, on the device."""
    loss = errors(network, x, latent_size, step_size).mean() / divisor
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def train_step(network, optimizer, x, latent_size: int, step_size: float) -> float:
    """Make one step on the mean of `errors` over batch and pixels, as the authors do; return that loss."""
    return update(network, optimizer, x, latent_size, step_size, x[0, 0].numel()).item()


def evaluate(network, images: torch.Tensor, latent_size: int, step_size: float, batch_size: int = 64) -> float:
    """Return the mean of `errors` over all images under batch statistics, every example weighted alike."""
    total = 0.0
    for x in images.split(batch_size):
        total += errors(network, x, latent_size, step_size).detach().sum().item()
    return total / len(images)


class Variational(nn.Module):
    """The authors' variational GON: two linear maps of z give the mean and log variance of t, a decoder its logits."""

    def __init__(self, latent_size: int, base_channels: int, channels: int, image_size: int = 32, norm: bool = True):
        super().__init__()
        self.mean, self.logvar = nn.Linear(latent_size, latent_size), nn.Linear(latent_size, latent_size)
        self.decoder = decoder(latent_size, base_channels, channels, image_size)[:-1]
        if not norm:  # in place, so that layers keep their numbers
            layers = [nn.Identity() if isinstance(layer, nn.BatchNorm2d) else layer for layer in self.decoder]
            self.decoder = nn.Sequential(*layers)

    def forward(self, x, z, noise):
        """Return cross-entropy of x given t, and KL(q(t given z), N(0, I)), each `[B]` in nats; z, noise `[B, k]`."""
        mean, logvar = self.mean(z), self.logvar(z)
        t = mean + torch.exp(logvar / 2) * noise
        logits = self.decoder(t[..., None, None])
        entropies = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return entropies.flatten(1).sum(1), 0.5 * (mean.square() + logvar.exp() - logvar - 1).sum(1)


def encode_variational(network: Variational, x, noise, step_size: float, attached=True) -> torch.Tensor:
    """Return z = -step_size * gradient of the summed bound at 0 with this noise, `[B, k]`."""
    z = torch.zeros_like(noise, requires_grad=True)
    loss = sum(network(x, z, noise)).sum()
    return -step_size * torch.autograd.grad(loss, z, create_graph=attached)[0]


def bounds(network: Variational, x, inner_noise, outer_noise, step_size: float):
    """Return the two terms of each example's bound after encoding, each `[B]`, in nats."""
    return network(x, encode_variational(network, x, inner_noise, step_size), outer_noise)


def update_variational(network: Variational, optimizer, x, inner_noise, outer_noise, step_size: float) -> torch.Tensor:
    """Make one step on the bound's mean over the batch, as the authors do; return that loss."""
    loss = sum(bounds(network, x, inner_noise, outer_noise, step_size)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def evaluate_variational(network: Variational, images, noise, step_size: float, batch_size: int = 64):
    """Return both terms' means over all images under batch statistics, one draw each; `noise` is `[2, N, k]`."""
    totals = torch.zeros(2, dtype=torch.float64)
    for x, inner, outer in zip(*(t.split(batch_size) for t in (images, *noise)), strict=True):
        totals += torch.stack([term.detach().sum() for term in bounds(network, x, inner, outer, step_size)])
    return (totals / len(images)).tolist()
