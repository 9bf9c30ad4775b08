"""The three GONs as one writes them in JAX and Flax without gon_jax: a gradient inside of a loss, and nothing else.

`nn.ConvTranspose` is `lax.conv_transpose`. The one thing that is not Flax's default is the variance of batch
normalization: at the origin it is 0, where the default, E[x^2] - E[x]^2, has second derivatives that are rounding.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from benchmarks import cases
from benchmarks.cases import Case


class Convolutional(nn.Module):
    """The authors' decoder, `[B, k]` to logits `[B, H, H, C]`; widths are those of all layers, C the last."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z):
        x = z[:, None, None]
        for i, width in enumerate(self.widths):
            strides, padding = (2, "SAME") if i else (1, "VALID")
            x = nn.ConvTranspose(width, (4, 4), (strides, strides), padding, transpose_kernel=True)(x)
            if i < len(self.widths) - 1:
                x = nn.elu(nn.BatchNorm(use_running_average=False, use_fast_variance=False)(x))
        return x


class Variational(nn.Module):
    """Two linear maps of z give mean and log variance of t, a decoder the logits; returns the bound's terms, `[B]`."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z, x, noise):
        mean, logvar = (nn.Dense(z.shape[-1], name=name)(z) for name in cases.LINEAR)
        t = mean + jnp.exp(logvar / 2) * noise
        logits = Convolutional(self.widths, name="decoder")(t)
        entropies = optax.sigmoid_binary_cross_entropy(logits, x).sum((1, 2, 3))
        return entropies + 0.5 * (mean**2 + jnp.exp(logvar) - logvar - 1).sum(1)


class Siren(nn.Module):
    """The authors' implicit decoder, `[B, k]` to `[B, H, H, C]`: each point is joined to its latent."""

    image_size: int
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z):
        axis = jnp.linspace(-1, 1, self.image_size)
        points = jnp.stack(jnp.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        shape = (len(z), len(points))
        x = [jnp.broadcast_to(points, (*shape, 2)), jnp.broadcast_to(z[:, None], (*shape, z.shape[-1]))]
        x = jnp.concatenate(x, axis=-1)
        for width in self.widths[:-1]:
            x = jnp.sin(30 * nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x).reshape(len(z), self.image_size, self.image_size, -1)


def make_network(case: Case) -> nn.Module:
    """Return the network of a case."""
    widths = tuple(fan_out for _, fan_out, _ in cases.layers(case))
    if case.kind == "siren":
        return Siren(case.image_size, widths)
    return (Convolutional if case.kind == "conv" else Variational)(widths)


def make_params(case: Case, drawn: dict) -> dict:
    """Return the weights of `cases.weights` as parameters of the network."""
    if case.kind == "vgon":
        layers = {name.removeprefix("decoder."): w for name, w in drawn.items() if name.startswith("decoder.")}
        params = {name: _layer(drawn[f"{name}.weight"], drawn[f"{name}.bias"]) for name in cases.LINEAR}
        return params | {"decoder": make_params(case._replace(kind="conv"), layers)}
    if case.kind == "siren":
        indices = range(len(cases.layers(case)))
        return {f"Dense_{i}": _layer(drawn[f"{i}.weight"], drawn[f"{i}.bias"]) for i in indices}
    params = {}
    for i in range(len(cases.layers(case))):
        kernel = drawn[f"{3 * i}.weight"].transpose(2, 3, 1, 0)  # [4, 4, out, in]
        params[f"ConvTranspose_{i}"] = {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(drawn[f"{3 * i}.bias"])}
        if f"{3 * i + 1}.weight" in drawn:
            scale, bias = drawn[f"{3 * i + 1}.weight"], drawn[f"{3 * i + 1}.bias"]
            params[f"BatchNorm_{i}"] = {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}
    return params


def _layer(weight, bias):
    return {"kernel": jnp.asarray(weight.T), "bias": jnp.asarray(bias)}


def make_functions(case: Case):
    """Return `encode(params, x, noise) -> z` and `loss(params, x, inner_noise, outer_noise)`, a mean over examples.

    Noise is for the variational case alone.
    """
    network = make_network(case)

    def errors(params, z, x, *noise):  # [B]: squared error, or the bound
        variables, x_and_noise = {"params": params, "batch_stats": {}}, (x, *noise) if case.kind == "vgon" else ()
        output, _ = network.apply(variables, z, *x_and_noise, mutable=["batch_stats"])
        if case.kind == "vgon":
            return output
        output = nn.sigmoid(output) if case.kind == "conv" else output
        return jnp.square(x - output).sum((1, 2, 3))

    def encode(params, x, *noise):
        origin = jnp.zeros((len(x), case.latent_size))
        return -case.step_size * jax.grad(lambda z: errors(params, z, x, *noise).sum())(origin)

    def loss(params, x, *noise):
        return errors(params, encode(params, x, *noise[:1]), x, *noise[1:]).mean()

    return encode, loss


def make_step(case: Case):
    """Return the optimizer, and a step of training, `(params, opt_state, x, *noise) -> (params, opt_state, loss)`."""
    optimizer, (_, loss_fn) = optax.adam(case.learning_rate, eps=case.adam_epsilon), make_functions(case)

    def step(params, opt_state, *batch):
        loss, gradient = jax.value_and_grad(loss_fn)(params, *batch)
        updates, opt_state = optimizer.update(gradient, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    return optimizer, step
