"""Decoders of coordinates: one function of a point and a latent, at any points.

A network is a Flax module called with `(points [N, d], z [B, k])`, which returns `[B N, C]`, every point with every
latent; or with `(points [N, d], z [N, k], one_latent_per_point=True)`, which returns `[N, C]`. `[B, N, d + k]`, every
point joined to every latent, is never made: what the points contribute is computed once for all latents.
"""

from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gon_jax.arguments import check_count
from gon_jax.base import Decoder
from gon_jax.compilation import compiled_once
from gon_jax.coordinates import check_coordinates
from gon_jax.decoders.layers import OutputActivationName, output_activation_fn
from gon_jax.ops.bilinear import copies

__all__ = ["add_per_latent", "for_every_latent", "implicit_decoder"]


def for_every_latent(x: jax.Array, num_latents: int) -> jax.Array:
    """Return `[N, h]` of points once for every latent, `[B N, h]`."""
    return copies(x, num_latents).reshape(-1, x.shape[-1])


def add_per_latent(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the rows of x, `[B N, h]` or `[B, h]`, plus y `[B, h]`, the same for all rows of a latent."""
    return (x.reshape(y.shape[0], -1, x.shape[-1]) + y[:, None]).reshape(x.shape)


def implicit_decoder(
    network: nn.Module,
    coordinates: jax.Array,
    latent_size: int,
    output_activation: OutputActivationName = "none",
    **counts: int,
) -> Decoder:
    """Return the decoder of a network as described above, at these points.

    Args:
        network: its parameters must not depend on the points.
        coordinates, latent_size, output_activation: as for `gon_jax.decoders.siren_decoder`.
        **counts: further sizes, to be at least 1.
    """
    check_coordinates(coordinates)
    for name, count in ({"latent_size": latent_size} | counts).items():
        check_count(name, count)
    activation, output_range = output_activation_fn(output_activation)
    d = coordinates.shape[-1]

    @compiled_once
    def init(key):
        return network.init(key, jnp.zeros((1, d)), jnp.zeros((1, latent_size)))["params"]

    def at(coordinates):
        check_coordinates(coordinates, d)
        coordinates = jnp.asarray(coordinates)
        points, spatial = coordinates.reshape(-1, d), coordinates.shape[:-1]

        def apply(params, z, stats=None):
            output = activation(cast(jax.Array, network.apply({"params": params}, points, z)))
            return output.reshape(z.shape[0], *spatial, -1), None

        def pointwise(params, z):
            output = network.apply({"params": params}, points, z, one_latent_per_point=True)
            return activation(cast(jax.Array, output))

        return Decoder(
            apply,
            init,
            (latent_size,),
            independent=True,
            output_range=output_range,
            pointwise=pointwise,
            coordinates=coordinates,
            at=at,
        )

    return at(coordinates)
