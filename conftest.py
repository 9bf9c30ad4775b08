"""Of the whole suite: quick compilation, random numbers of a test's own, 64 bits where a test asks for them."""

import collections
import fnmatch
import os
import shlex
import signal
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

collect_ignore = ["tests/goldens"]  # scripts that need torch


SIGNALS = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
# XLA compiles twice as fast without its newer code generator for CPUs, and in one piece.
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def pytest_configure(config):
    """Set XLA's flags, for workers and commands too; a version that doesn't know one would end the process."""
    for number, handler in SIGNALS.items():
        if signal.getsignal(number) == signal.SIG_IGN:  # as in the background, or under nohup: commands would ignore it
            signal.signal(number, handler)
    if hasattr(config, "workerinput") or "XLA_FLAGS" in os.environ:
        return
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    if subprocess.run(command, env=os.environ | {"XLA_FLAGS": QUICK}, capture_output=True).returncode == 0:
        os.environ["XLA_FLAGS"] = QUICK


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups, and pytest the mark "slow"
def pytest_collection_modifyitems(config, items):
    """Mark slow what a test does not call quick; keep the tests of a file in one worker, for what they share."""
    found = collections.Counter()  # cases of each test and pattern
    for item in items:
        if (mark := item.get_closest_marker("quick")) is not None:
            matches = [fnmatch.fnmatchcase(item.callspec.id, pattern) for pattern in mark.args]
            found.update({(item.originalname, p): m for p, m in zip(mark.args, matches, strict=True)})
            if not any(matches):
                item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("xdist_group") is None and item.config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
    wrong = [key for key, num in found.items() if num == 0]
    if wrong and not any("::" in arg for arg in config.args):  # all cases of the files were collected
        raise pytest.UsageError(f"expected cases for these quick patterns, got none: {wrong}; were cases renamed?")


@pytest.fixture(scope="session", autouse=True)
def quick(tmp_path_factory):
    """Compile fast, and each program once: shapes are small, and compiling is what takes long."""
    jax.config.update("jax_disable_most_optimizations", True)
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture
def optimized():
    """Compile a test's programs as a user's are: it trains for long, or asks how much memory they take."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(autouse=True)
def own_numbers(request, monkeypatch):
    """Seed the module's RNG by the test's name: what a test draws does not hang on the tests that ran before it."""
    module = getattr(request.node, "module", None)  # a doctest has none
    if hasattr(module, "RNG"):
        monkeypatch.setattr(module, "RNG", np.random.default_rng(zlib.crc32(request.node.name.encode())))


@pytest.fixture(autouse=True)
def own_folder(request, tmp_path_factory, monkeypatch):
    """Run a doctest in a folder of its own: examples write files."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path_factory.mktemp("doctest"))


@pytest.fixture
def terminal(capsys, monkeypatch):
    """Let captured streams say that they are a terminal, where bars are shown: each phase of a test has new streams."""
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True)


@pytest.fixture
def x64():
    """Run a test in 64 bits."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def double():
    """Cast the floating leaves of a pytree to float64."""

    def cast(tree):
        return jax.tree.map(lambda a: jnp.asarray(a, jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)

    return cast


@pytest.fixture
def gon(place, monkeypatch, capsys):
    """Run a command line in the module's folder; return the exit status, standard output and standard error."""
    from gon_jax.cli import main

    monkeypatch.chdir(place)

    def call(line):
        status = main.main(shlex.split(line))
        return status, *capsys.readouterr()

    return call
