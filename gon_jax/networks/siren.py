r"""The implicit decoder of the release: a SIREN of a point's coordinates and the code.

With the N points c `[N, d]`, an example's code z `[k]`, L hidden layers of width h and a linear last one,

    h_0 = sin(omega_0 ([c, z] W_0 + b_0)),   h_i = sin(omega_0 (h_{i-1} W_i + b_i)),   F = h_{L-1} W_L + b_L.

The first layer is a sum, [c, z] W_0 = c W_c + z W_z: one array `[N, h]` for all examples and one row for each, so that
no `[B, N, d + k]` is made. All other products are of `[B N, h]`. omega_0 multiplies weights and biases, which are
fewer than what they make.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.networks.conv import _OUTPUT_ACTIVATIONS, OutputActivation, _lookup
from gon_jax.networks.sine import sine
from gon_jax.origin import Decoder


def _uniform(bound):
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)


class Dense(nn.Module):
    """The parameters of a linear layer: `fan_in -> (kernel [fan_in, features], bias [features])`, both times `scale`.

    Attributes:
      features: outputs.
      bound: kernels start as U(+-bound), biases as U(+-1/sqrt(fan_in)), PyTorch's default.
      scale: a constant that multiplies both, and isn't part of the parameters.
    """

    features: int
    bound: float
    scale: float = 1.0

    @nn.compact
    def __call__(self, fan_in):
        kernel = self.param("kernel", _uniform(self.bound), (fan_in, self.features))
        bias = self.param("bias", _uniform(1 / math.sqrt(fan_in)), (self.features,))
        return self.scale * kernel, self.scale * bias


class SirenNetwork(nn.Module):
    """The layers of `siren_decoder`; see there."""

    num_channels: int
    hidden_dim: int
    num_layers: int
    omega_0: float

    @nn.compact
    def __call__(self, points, z, one_code_per_point=False):  # [N, d], and [B, k] or [N, k]
        (num_points, d), num_codes = points.shape, len(z)
        fan_in = d + z.shape[-1]
        kernel, bias = Dense(self.hidden_dim, 1 / fan_in, self.omega_0)(fan_in)
        dtype = kernel.dtype  # that of products; where it is short, coordinates keep their own
        x = jnp.matmul(points, kernel[:d], precision="highest") + bias  # [N, h]
        if one_code_per_point:
            x = x + z @ kernel[d:]
        else:  # x for every code: a product with ones is the broadcast whose transpose is a product too, not a slow sum
            x = jnp.matmul(jnp.ones((num_codes, 1), x.dtype), x.reshape(1, -1), precision="highest")
            x = x.reshape(num_codes, num_points, -1) + (z @ kernel[d:])[:, None]  # [B, N, h]
        x = sine(x.reshape(-1, self.hidden_dim)).astype(dtype)  # [B N, h] or [N, h]
        bound = math.sqrt(6 / self.hidden_dim) / self.omega_0
        for _ in range(self.num_layers - 1):
            kernel, bias = Dense(self.hidden_dim, bound, self.omega_0)(self.hidden_dim)
            x = sine(x @ kernel + bias)
        kernel, bias = Dense(self.num_channels, bound)(self.hidden_dim)
        return x @ kernel + bias  # [B N, C] or [N, C]


def _check(coordinates, **counts):
    if coordinates.ndim < 2 or not jnp.issubdtype(coordinates.dtype, jnp.floating):
        raise ValueError(
            f"expected floating-point coordinates [*spatial, d], got {coordinates.dtype} {coordinates.shape}; "
            "gon_jax.coordinates.grid(28, 28) are those of an image, points on a line are [N, 1]"
        )
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"expected {name} of at least 1, got {count}")


def siren_decoder(
    coordinates: jax.Array,
    latent_size: int,
    num_channels: int = 1,
    *,
    hidden_dim: int = 256,
    num_layers: int = 4,
    omega_0: float = 30.0,
    output_activation: OutputActivation = "none",
) -> Decoder:
    """Return the release's implicit decoder, in its initialisation: a value at each of the given points.

    Parameters are `Dense_0`, ..., `Dense_L`, L = `num_layers`, each a `kernel` `[in, out]` and a `bias` `[out]`: the
    weight of the i-th of PyTorch's linear layers transposed, and its bias. Rows of the first kernel are those of the
    coordinates, then those of the code, as in `torch.cat([coordinates, z])`. omega_0 is not in them.

    Args:
      coordinates: the points, `[*spatial, d]`, floats in [-1, 1]: `gon_jax.coordinates.grid(28, 28)` for an image.
      latent_size: k.
      num_channels: C, outputs per point.
      hidden_dim: h.
      num_layers: L, hidden layers, each with a sine; the release's 34-256-256-256-256-1 has 4. The paper's "3 hidden
        layers of 32" has 4,385 parameters with `num_layers=4` and `latent_size=34`.
      omega_0: factor of every sine's argument.
      output_activation: "none", as the release; "sigmoid" or "tanh".

    Returns:
      A decoder of `[B, k]` to `[B, *spatial, C]`, rows independent, pointwise.

    Raises:
      ValueError: for coordinates that are not floats `[*spatial, d]`, a size below 1, or an unknown activation.

    >>> from gon_jax.coordinates import grid
    >>> decoder = siren_decoder(grid(28, 28), 32)  # the release's
    >>> params = decoder.init(jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params)), decoder.apply(params, jnp.zeros((2, 32))).shape
    (206593, (2, 28, 28, 1))
    """
    _check(
        coordinates, latent_size=latent_size, num_channels=num_channels, hidden_dim=hidden_dim, num_layers=num_layers
    )
    activation = _lookup(_OUTPUT_ACTIVATIONS, output_activation, "output_activation")
    network = SirenNetwork(num_channels, hidden_dim, num_layers, omega_0)
    points, spatial = jnp.asarray(coordinates).reshape(-1, coordinates.shape[-1]), coordinates.shape[:-1]

    def init(key):
        return network.init(key, points[:1], jnp.zeros((1, latent_size)))["params"]

    def apply(params, z):
        output = network.apply({"params": params}, points, z)
        return activation(output).reshape(len(z), *spatial, num_channels)

    def pointwise(params, z):
        return activation(network.apply({"params": params}, points, z, one_code_per_point=True))

    return Decoder(apply, init, (latent_size,), rows="independent", pointwise=pointwise)
