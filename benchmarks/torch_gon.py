"""The release's convolutional GON in PyTorch, written anew: the side we compare with.

Only the algorithm is here (network, loss of Eq. 8 by double backward, evaluation); who trains it on what is
said in `quality.py`. The inner loss is divided by the constant 64 H W, not by the batch at hand: equal to the
release on full batches of 64, and independent of the batch size elsewhere.
"""

import torch
from torch import nn


def decoder(latent_size: int, base_channels: int, channels: int) -> nn.Sequential:
    """Return the release's decoder, `[B, latent_size, 1, 1]` to `[B, channels, 32, 32]`, in torch's initialisation."""
    widths = [latent_size, 4 * base_channels, 2 * base_channels, base_channels, channels]
    layers = []
    for i, (fan_in, fan_out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        stride, padding = (1, 0) if i == 0 else (2, 1)
        layers.append(nn.ConvTranspose2d(fan_in, fan_out, 4, stride, padding))
        layers += [nn.BatchNorm2d(fan_out), nn.ELU()] if i < 3 else [nn.Sigmoid()]
    return nn.Sequential(*layers)


def encode(network: nn.Module, x: torch.Tensor, latent_size: int, step_size: float) -> torch.Tensor:
    """Return z = -step_size * gradient of the summed squared error at 0, `[B, latent_size, 1, 1]`, attached."""
    z = x.new_zeros(x.shape[0], latent_size, 1, 1, requires_grad=True)
    loss = (x - network(z)).square().sum()
    return -step_size * torch.autograd.grad(loss, z, create_graph=True)[0]


def errors(network: nn.Module, x: torch.Tensor, latent_size: int, step_size: float) -> torch.Tensor:
    """Return the squared error of each example's reconstruction, `[B]`, in squared intensity summed over the image."""
    z = encode(network, x, latent_size, step_size)
    return (x - network(z)).square().sum(dim=(1, 2, 3))


def train_step(network, optimizer, x, latent_size: int, step_size: float) -> float:
    """Make one step on the mean of `errors` over batch and pixels, as the release does; return that loss."""
    loss = errors(network, x, latent_size, step_size).mean() / x[0, 0].numel()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def evaluate(network, images: torch.Tensor, latent_size: int, step_size: float, batch_size: int = 64) -> float:
    """Return the mean of `errors` over all images under batch statistics, every example weighted alike."""
    total = 0.0
    for x in images.split(batch_size):
        total += errors(network, x, latent_size, step_size).detach().sum().item()
    return total / len(images)
