r"""The authors' implicit decoder, a SIREN of a point's coordinates and the latent; and one modulated by the latent.

With the N points c `[N, d]`, an example's latent z `[k]`, L hidden layers of width h and a linear last one,

    h_0 = sin(omega_0 ([c, z] W_0 + b_0)),   h_i = sin(omega_0 (h_{i-1} W_i + b_i)),   F = h_{L-1} W_L + b_L.

The first layer is a sum, [c, z] W_0 = c W_c + z W_z: one array `[N, h]` for all examples and one row for each, so that
no `[B, N, d + k]` is made. All other products are of `[B N, h]`. omega_0 multiplies weights and biases, which are
fewer than what they make. In the modulated one coordinates alone enter, and z S_i is added in every layer.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.base import Decoder
from gon_jax.decoders.coordinate import add_per_latent, for_every_latent, implicit_decoder
from gon_jax.decoders.layers import Dense, OutputActivationName, uniform
from gon_jax.ops.sine import sine

__all__ = ["modulated_siren_decoder", "siren_decoder"]


class SirenNetwork(nn.Module):
    """The layers of `siren_decoder`; see there."""

    num_channels: int
    hidden_dim: int
    num_layers: int
    omega_0: float
    first_omega_0: float

    @nn.compact
    def __call__(self, points, z, one_latent_per_point=False):  # [N, d], and [B, k] or [N, k]
        d = points.shape[-1]
        fan_in = d + z.shape[-1]
        kernel, bias = Dense(self.hidden_dim, 1 / fan_in, self.first_omega_0)(fan_in)
        x = self.first(points, kernel[:d], bias, z @ kernel[d:], one_latent_per_point)
        for _ in range(self.num_layers - 1):
            kernel, bias = Dense(self.hidden_dim, self.bound, self.omega_0)(self.hidden_dim)
            x = sine(x @ kernel + bias)
        kernel, bias = Dense(self.num_channels, self.bound)(self.hidden_dim)
        return x @ kernel + bias  # [B N, C] or [N, C]

    def first(self, points, kernel, bias, shift, one_latent_per_point):
        """Return the first layer, `[B N, h]` or `[N, h]`: points keep their type until then, and take the kernel's."""
        x = jnp.matmul(points, kernel, precision="highest") + bias  # [N, h]
        x = x if one_latent_per_point else for_every_latent(x, shift.shape[0])
        return sine(add_per_latent(x, shift)).astype(kernel.dtype)

    @property
    def bound(self):
        """The range of hidden kernels, with which arguments of sines have unit deviation."""
        return math.sqrt(6 / self.hidden_dim) / self.omega_0


class ModulatedSirenNetwork(SirenNetwork):
    """The layers of `modulated_siren_decoder`; see there."""

    @nn.compact
    def __call__(self, points, z, one_latent_per_point=False):  # [N, d], and [B, k] or [N, k]
        d, k = points.shape[-1], z.shape[-1]
        shift = self.param("shift", uniform(math.sqrt(3 / k) / self.omega_0), (k, self.num_layers * self.hidden_dim))
        shifts = jnp.split(z @ (self.omega_0 * shift), self.num_layers, axis=-1)  # L of [B, h] or [N, h]
        kernel, bias = Dense(self.hidden_dim, 1 / d, self.first_omega_0)(d)
        x = self.first(points, kernel, bias, shifts[0], one_latent_per_point)
        for shift in shifts[1:]:
            kernel, bias = Dense(self.hidden_dim, self.bound, self.omega_0)(self.hidden_dim)
            x = sine(add_per_latent(x @ kernel + bias, shift))
        kernel, bias = Dense(self.num_channels, self.bound)(self.hidden_dim)
        return x @ kernel + bias  # [B N, C] or [N, C]


def siren_decoder(
    coordinates: jax.Array,
    latent_size: int,
    num_channels: int = 1,
    *,
    hidden_dim: int = 256,
    num_layers: int = 4,
    omega_0: float = 30.0,
    first_omega_0: float | None = None,
    output_activation: OutputActivationName = "none",
) -> Decoder:
    """Return the authors' implicit decoder, in its initialization: a value at each of the given points.

    Parameters are `Dense_0`, ..., `Dense_L`, L = `num_layers`, each a `kernel` `[in, out]` and a `bias` `[out]`, those
    of PyTorch's linear layers transposed. The first kernel's inputs are the coordinates, then the latent, as in
    `torch.cat([coordinates, z])`. omega_0 is not in them.

    Args:
        coordinates: the points, `[*spatial, d]`, floats in [-1, 1]: `gon_jax.coordinates.grid(28, 28)` for an image.
        latent_size: k.
        num_channels: C, outputs per point.
        hidden_dim: h.
        num_layers: L, hidden layers, each with a sine; the authors' 34-256-256-256-256-1 has 4. The paper's "3 hidden
            layers of 32" has 4,385 parameters with `num_layers=4` and `latent_size=34`.
        omega_0: factor of every sine's argument.
        first_omega_0: of the first layer's, which sets the frequencies that coordinates enter with; by default the
            same. Sound needs hundreds.
        output_activation: "none", as the authors; "sigmoid" or "tanh".

    Returns:
        A decoder of `[B, k]` to `[B, *spatial, C]`, examples independent, pointwise; its `at` gives it at other points.

    Raises:
        ValueError: for coordinates that are not floats `[*spatial, d]`, a size below 1, or an unknown activation.

    >>> from gon_jax.coordinates import grid
    >>> decoder = siren_decoder(grid(28, 28), 32)  # the authors'
    >>> params = decoder.init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params)), decoder.output(params, jnp.zeros((2, 32))).shape
    (206593, (2, 28, 28, 1))
    >>> decoder.at(grid(56, 56)).coordinates.shape
    (56, 56, 2)
    """
    network = SirenNetwork(num_channels, hidden_dim, num_layers, omega_0, first_omega_0 or omega_0)
    counts = {"num_channels": num_channels, "hidden_dim": hidden_dim, "num_layers": num_layers}
    return implicit_decoder(network, coordinates, latent_size, output_activation, **counts)


def modulated_siren_decoder(
    coordinates: jax.Array,
    latent_size: int,
    num_channels: int = 1,
    *,
    hidden_dim: int = 256,
    num_layers: int = 4,
    omega_0: float = 10.0,
    first_omega_0: float | None = None,
    output_activation: OutputActivationName = "none",
) -> Decoder:
    """Return a SIREN of the coordinates alone, whose every hidden layer the latent shifts,

        h_i = sin(omega_0 (h_{i-1} W_i + b_i + z S_i)),  h_{-1} = c.

    The latent reaches every layer by a linear map of its own. W and b start as in `siren_decoder`; S, which is `shift`
    `[k, L h]`, so that latents of unit deviation shift the sines' arguments by 1.

    Args:
        coordinates, latent_size, num_channels, hidden_dim, num_layers, first_omega_0, output_activation: as for
            `siren_decoder`.
        omega_0: factor of every sine's argument. The first layer's frequencies go up to omega_0 / d radians a unit, and
            to omega_0 / (d + k) in `siren_decoder`: 30 draws noise between the pixels of small images, 10 does not.

    References: Dupont et al., "From data to functa", ICML 2022; Perez et al., "FiLM", AAAI 2018.

    >>> from gon_jax.coordinates import grid
    >>> decoder = modulated_siren_decoder(grid(8, 8), 3, num_layers=2)
    >>> decoder.output(decoder.init(jax.random.key(0)), jnp.zeros((2, 3))).shape
    (2, 8, 8, 1)
    """
    network = ModulatedSirenNetwork(num_channels, hidden_dim, num_layers, omega_0, first_omega_0 or omega_0)
    counts = {"num_channels": num_channels, "hidden_dim": hidden_dim, "num_layers": num_layers}
    return implicit_decoder(network, coordinates, latent_size, output_activation, **counts)
