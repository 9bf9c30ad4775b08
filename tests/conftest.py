"""Suite-wide settings: 64 bits, or quick compilation, where a test asks for it."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

collect_ignore = ["goldens"]  # scripts that need torch


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


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Compile fast, and each program once; leave the settings as they were."""
    settings = {"jax_disable_most_optimizations": True, "jax_persistent_cache_min_compile_time_secs": 0}
    settings |= {"jax_compilation_cache_dir": str(tmp_path_factory.mktemp("jax"))}
    before = {name: jax.config.values[name] for name in settings}

    def use(values):
        compilation_cache.reset_cache()
        for name, value in values.items():
            jax.config.update(name, value)

    use(settings)
    yield
    use(before)
