"""A function that runs once is one program, and the same function under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gon_jax.compilation import compiled_once
from gon_jax.decoders import conv_decoder
from gon_jax.models import gon


def draw(key):
    return {"w": jax.random.normal(key, (3,)), "b": jnp.ones(2)}


def test_it_is_the_function_under_every_transformation():
    key, once = jax.random.key(1), compiled_once(draw)
    expected, keys = draw(key), jax.random.split(key)
    for result in (once(key), jax.jit(once)(key), jax.jit(lambda: once(key))(), jax.vmap(once)(key[None])):
        np.testing.assert_allclose(np.ravel(result["w"]), expected["w"], rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(once)(keys)["w"], jnp.stack([draw(k)["w"] for k in keys]), rtol=1e-6)
    with jax.disable_jit():
        np.testing.assert_allclose(once(key)["w"], expected["w"], rtol=1e-6)
    assert jax.eval_shape(once, key)["b"].shape == (2,)
    assert jax.grad(compiled_once(lambda x: x**2))(3.0) == 6
    assert once.__name__ == "draw"


@pytest.mark.parametrize("again", [False, True])
def test_an_initialization_is_one_program(caplog, again):
    model = gon(conv_decoder((8, 8, 1), (3,), base_channels=2))
    key = jax.random.key(0)
    if again:
        model.init(key)
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        model.init(key)
    compiled = [record.getMessage() for record in caplog.records if "Finished XLA compilation" in record.getMessage()]
    assert len(compiled) == (not again), compiled
