"""Arrows point down: who may import whom, and what `import gon_jax` loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "gon_jax"
LEVELS = {  # the table of docs/architecture.md
    "coordinates": 0,
    "data": 0,
    "figures": 0,
    "latent_statistics": 0,
    "latents": 0,
    "likelihoods": 0,
    "origin": 1,
    "linearization": 2,
    "networks": 2,
    "models": 3,
    "metrics": 4,
    "bounds": 5,
    "checkpoints": 5,
    "training": 5,
    "experiments": 6,
    "commands": 7,
    "cli": 8,
}
OUTSIDE = {
    "coordinates": {"jax"},
    "likelihoods": {"jax"},
    "origin": {"jax"},
    "linearization": {"jax"},
    "latent_statistics": {"numpy", "scipy", "sklearn"},
    "latents": {"jax", "numpy", "sklearn"},
}


def imports(path):
    """Yield the dotted name of every import of a file, inside functions too, in parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name.split(".")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_point_down(path):
    if path == ROOT / "__init__.py":
        return
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for package, *rest in imports(path):
        if package == "gon_jax" and rest and rest[0] in LEVELS:
            assert rest[0] == room or LEVELS[rest[0]] < LEVELS[room], f"{room} imports {rest[0]}, which is not below it"
        elif package != "gon_jax" and package not in sys.stdlib_module_names and room in OUTSIDE:
            assert package in OUTSIDE[room], f"{room} imports {package}"


def loaded_by(statement):
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_import_is_light():
    heavy = set("flax optax orbax tensorflow_datasets tensorflow matplotlib PIL sklearn tqdm tyro".split())
    assert not loaded_by("import gon_jax") & heavy
    assert not loaded_by("import gon_jax.training") & (heavy - {"flax", "optax", "tqdm", "orbax"})
