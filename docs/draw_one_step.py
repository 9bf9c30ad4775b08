"""Draw the loss of one digit over a latent space of two numbers, and the step from the origin: images/one_step.png.

python docs/draw_one_step.py
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import gon_jax
from gon_jax import data, decoders, inference

PICTURE = Path(__file__).parent / "images" / "one_step.png"


def draw() -> None:
    """Train a GON with two latents on digits, and draw one held-out digit's step."""
    digits = data.load("digits", image_size=8)
    model = gon_jax.gon(decoders.mlp_decoder((8, 8, 1), (2,)))
    result = gon_jax.fit(
        model, digits.train.images, 4000, jax.random.key(0), optimizer=optax.adam(2e-3), progress=False
    )
    variables = result.state.variables
    images = digits.test.images[:50]
    latents = np.asarray(inference.encode_dataset(model, variables, images))
    chosen = int(np.argmin(np.abs(np.linalg.norm(latents, axis=1) - np.median(np.linalg.norm(latents, axis=1)))))
    x, z = jnp.asarray(images[chosen] / 255, jnp.float32), latents[chosen]

    reach = 1.6 * float(np.linalg.norm(z))
    axis = np.linspace(-reach, reach, 121, dtype=np.float32)
    grid = jnp.stack(jnp.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    losses = jnp.square(model.decode(variables, grid) - x).sum((1, 2, 3)).reshape(121, 121)
    at = model.decode(variables, jnp.stack([jnp.zeros(2), z]))

    figure, (left, *right) = plt.subplots(1, 4, figsize=(10, 3.4), width_ratios=(1.9, 1, 1, 1), layout="constrained")
    filled = left.contourf(axis, axis, losses, 24, cmap="viridis")
    left.annotate("", z, (0, 0), arrowprops={"arrowstyle": "->", "color": "white", "lw": 2})
    left.plot(0, 0, "o", color="white")
    left.plot(*z, "*", color="white", markersize=12)
    left.set(xlabel="first latent", ylabel="second latent", title="squared error over latent space", aspect="equal")
    figure.colorbar(filled, ax=left)
    titles = "at the origin, ●", "at the latent, ★", "the digit"
    for axes, picture, title in zip(right, (*at, x), titles, strict=True):
        axes.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=1)
        axes.set(title=title, xticks=[], yticks=[])
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    draw()
