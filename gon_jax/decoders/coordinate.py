"""What decoders of coordinates share: one function of a point and a code, at any points; and its derivatives in space.

A network is a Flax module called with `(points [N, d], z [B, k])`, which returns `[B N, C]`, every point with every
code; or with `(points [N, d], z [N, k], one_code_per_point=True)`, which returns `[N, C]`. `[B, N, d + k]`, every
point joined to every code, is never made: what the points contribute is computed once for all codes.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.base import Decoder
from gon_jax.coordinates import check_coordinates
from gon_jax.decoders.conv import _OUTPUT_ACTIVATIONS, OutputActivation, _lookup


def uniform(bound: float):
    """Return the initialization U(+-bound)."""
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
        kernel = self.param("kernel", uniform(self.bound), (fan_in, self.features))
        bias = self.param("bias", uniform(1 / math.sqrt(fan_in)), (self.features,))
        return self.scale * kernel, self.scale * bias


def for_every_code(x: jax.Array, num_codes: int) -> jax.Array:
    """Return `[N, h]` of points once for every code, `[B N, h]`.

    A product with ones: the broadcast whose transpose is a product too, where a sum would be slow.
    """
    ones = jnp.ones((num_codes, 1), x.dtype)
    return jnp.matmul(ones, x.reshape(1, -1), precision="highest").reshape(-1, x.shape[-1])


def add_per_code(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the rows of x, `[B N, h]` or `[B, h]`, plus y `[B, h]`, the same for all rows of a code."""
    return (x.reshape(len(y), -1, x.shape[-1]) + y[:, None]).reshape(x.shape)


def implicit_decoder(
    network: nn.Module, coordinates: jax.Array, latent_size: int, output_activation: OutputActivation = "none", **counts
) -> Decoder:
    """Return the decoder of a network as described above, at these points.

    Args:
        network: its parameters must not depend on the points.
        coordinates: `[*spatial, d]`.
        latent_size: k.
        output_activation: "none", "sigmoid" or "tanh".
        **counts: further sizes, to be at least 1.

    Returns:
        A decoder of `[B, k]` to `[B, *spatial, C]`, rows independent, pointwise, with `coordinates` and `at`.

    Raises:
        ValueError: for coordinates that are not floats `[*spatial, d]`, a size below 1, or an unknown activation.
    """
    check_coordinates(coordinates)
    for name, count in ({"latent_size": latent_size} | counts).items():
        if count < 1:
            raise ValueError(f"expected {name} of at least 1, got {count}")
    activation = _lookup(_OUTPUT_ACTIVATIONS, output_activation, "output_activation")
    d = coordinates.shape[-1]

    def init(key):
        return network.init(key, jnp.zeros((1, d)), jnp.zeros((1, latent_size)))["params"]

    def at(coordinates):
        check_coordinates(coordinates, d)
        coordinates = jnp.asarray(coordinates)
        points, spatial = coordinates.reshape(-1, d), coordinates.shape[:-1]

        def apply(params, z):
            output = activation(network.apply({"params": params}, points, z))
            return output.reshape(len(z), *spatial, -1)

        def pointwise(params, z):
            return activation(network.apply({"params": params}, points, z, one_code_per_point=True))

        return Decoder(apply, init, (latent_size,), "independent", pointwise, coordinates, at)

    return at(coordinates)


def spatial_gradient(decoder: Decoder) -> Decoder:
    r"""Return the decoder of a function's derivatives in space, for data known through theirs (Eq. 11 of the paper),

    $$ \int \mathcal{L}(\nabla_c \Phi(c), \nabla_c F(c, z)) dc. $$

    A model of it encodes and is trained on gradients; its parameters and codes are the decoder's, which then gives the
    function itself, up to a constant, at any points. It costs d tangents. It has `at` as the decoder has, and may be
    taken of itself: second derivatives.

    Args:
        decoder: with `coordinates` and `at`.

    Returns:
        A decoder of `[B, *latent]` to `[B, *spatial, C d]`, dF_1/dc_1, ..., dF_1/dc_d, dF_2/dc_1, ...

    Raises:
        ValueError: for a decoder that is not a function of coordinates.

    >>> from gon_jax.coordinates import grid
    >>> def at(c):  # F = z c_1 c_2
    ...     return Decoder(lambda params, z: (z * c.prod(axis=-1))[..., None], None, (1,), coordinates=c, at=at)
    >>> spatial_gradient(at(jnp.array([[2.0, 3.0]]))).apply(None, jnp.ones((1, 1)))
    Array([[[3., 2.]]], dtype=float32)
    """
    if decoder.at is None or decoder.coordinates is None:
        raise ValueError("expected a decoder that is a function of coordinates, got one without `coordinates` and `at`")

    def at(coordinates):
        directions = jnp.eye(coordinates.shape[-1], dtype=coordinates.dtype)

        def gradient(name):
            def call(params, z):
                def push(direction):
                    tangent = jnp.broadcast_to(direction, coordinates.shape)
                    return jax.jvp(lambda c: getattr(decoder.at(c), name)(params, z), (coordinates,), (tangent,))[1]

                derivatives = jax.vmap(push, out_axes=-1)(directions)  # [..., C, d]
                return derivatives.reshape(*derivatives.shape[:-2], -1)

            return call

        pointwise = None if decoder.pointwise is None else gradient("pointwise")
        return decoder.at(coordinates)._replace(apply=gradient("apply"), pointwise=pointwise, at=at)

    return at(decoder.coordinates)
