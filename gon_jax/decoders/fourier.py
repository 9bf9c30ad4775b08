r"""An implicit decoder of random Fourier features of the coordinates, with a smooth activation.

With m frequencies f_j drawn once from N(0, bandwidth^2 I), gamma(c) = sqrt(2) (sin(2 pi f c), cos(2 pi f c)) and
a smooth activation a,

    h_0 = a(gamma(c) W_0 + b_0 + z U),   h_i = a(h_{i-1} W_i + b_i),   F = h_{L-1} W_L + b_L.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gon_jax.arguments import check_number
from gon_jax.base import Decoder
from gon_jax.decoders.coordinate import add_per_latent, for_every_latent, implicit_decoder
from gon_jax.decoders.layers import ActivationName, Dense, OutputActivationName, activation_fn, uniform
from gon_jax.ops.sine import sine_cosine

__all__ = ["fourier_decoder", "random_frequencies"]


def random_frequencies(d: int, num_frequencies: int, bandwidth: float, seed: int = 0) -> np.ndarray:
    """Return the frequencies of `fourier_decoder` for points of d coordinates, 2 pi f_j, `[d, m]`."""
    random = np.random.RandomState(seed)  # the generator whose numbers NumPy promises never to change
    return 2 * math.pi * bandwidth * random.normal(size=(d, num_frequencies))


class FourierNetwork(nn.Module):
    """The layers of `fourier_decoder`; see there."""

    num_channels: int
    hidden_dim: int
    num_layers: int
    num_frequencies: int
    bandwidth: float
    seed: int
    activation: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, points, z, one_latent_per_point=False):  # [N, d], and [B, k] or [N, k]
        frequencies = random_frequencies(points.shape[-1], self.num_frequencies, self.bandwidth, self.seed)
        frequencies = jnp.asarray(frequencies, points.dtype)  # [d, m]
        features = jnp.concatenate(sine_cosine(jnp.matmul(points, frequencies, precision="highest")), axis=-1)
        fan_in, k = features.shape[-1], z.shape[-1]
        kernel, bias = Dense(self.hidden_dim, math.sqrt(3 / fan_in))(fan_in)  # of unit features: unit arguments
        x = (math.sqrt(2) * features).astype(kernel.dtype) @ kernel + bias  # [N, h]
        x = x if one_latent_per_point else for_every_latent(x, z.shape[0])  # [B N, h] or [N, h]
        x = self.activation(add_per_latent(x, z @ self.param("code", uniform(math.sqrt(3 / k)), (k, self.hidden_dim))))
        bound = math.sqrt(6 / self.hidden_dim)  # He's: half of the second moment is lost in an activation
        for _ in range(self.num_layers - 1):
            kernel, bias = Dense(self.hidden_dim, bound)(self.hidden_dim)
            x = self.activation(x @ kernel + bias)
        kernel, bias = Dense(self.num_channels, 1 / math.sqrt(self.hidden_dim))(self.hidden_dim)
        return x @ kernel + bias  # [B N, C] or [N, C]


def fourier_decoder(
    coordinates: jax.Array,
    latent_size: int,
    num_channels: int = 1,
    *,
    hidden_dim: int = 256,
    num_layers: int = 4,
    num_frequencies: int = 64,
    bandwidth: float = 1.0,
    seed: int = 0,
    activation: ActivationName | Callable[[jax.Array], jax.Array] = "silu",
    output_activation: OutputActivationName = "none",
) -> Decoder:
    """Return a decoder of random Fourier features of the coordinates and of the latent.

    Args:
        coordinates, latent_size, num_channels, hidden_dim, num_layers, output_activation: as for `siren_decoder`.
        num_frequencies: m; there are 2 m features.
        bandwidth: standard deviation of the frequencies, in cycles per unit of the coordinates. A grid of n points on
            [-1, 1] holds up to n / 4; half of that or more draws noise between its points.
        seed: of the frequencies, which are no parameters: the same number gives the same function of the parameters.
        activation: a name or a function; smooth, since training differentiates its slope (ReLU's second derivative is
            0).

    Raises:
        ValueError: as for `siren_decoder`, or for a bandwidth that is not above 0.

    References: Tancik et al., "Fourier features let networks learn high frequency functions in low dimensional
    domains", NeurIPS 2020.

    >>> from gon_jax.coordinates import grid
    >>> decoder = fourier_decoder(grid(8, 8), 3, num_layers=2)
    >>> decoder.output(decoder.init(jax.random.key(0)), jnp.zeros((2, 3))).shape
    (2, 8, 8, 1)
    """
    check_number("bandwidth", bandwidth, above=0)
    smooth = activation_fn(activation)
    network = FourierNetwork(num_channels, hidden_dim, num_layers, num_frequencies, bandwidth, seed, smooth)
    counts = {"num_channels": num_channels, "hidden_dim": hidden_dim, "num_layers": num_layers}
    counts["num_frequencies"] = num_frequencies
    return implicit_decoder(network, coordinates, latent_size, output_activation, **counts)
