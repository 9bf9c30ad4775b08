"""Suite-wide settings: 64 bits where a test asks for it."""

import jax
import jax.numpy as jnp
import pytest


@pytest.fixture
def x64():
    """Run a test in 64 bits; XLA optimises little, since the shapes are small and compiling is what takes long."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_enable_x64", False)
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def double():
    """Cast the floating leaves of a pytree to float64."""

    def cast(tree):
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)

    return cast
