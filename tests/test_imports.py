"""Structure: who may import whom, what stays private, what `import gon_jax` loads, what is public."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gon_jax

ROOT = Path(__file__).parents[1] / "gon_jax"
LEVELS = {  # the table of docs/architecture.md: a module imports its own level and those below
    "__main__": 4,
    "_files": 0,
    "arguments": 0,
    "base": 0,
    "choices": 0,
    "compilation": 0,
    "coordinates": 0,
    "inputs": 0,
    "likelihoods": 0,
    "memory": 0,
    "progress": 0,
    "ops": 0,
    "checks": 1,
    "decoders": 1,
    "drop_in": 1,
    "encoding": 1,
    "freezing": 1,
    "gauss_newton": 1,
    "linearization": 1,
    "data": 2,
    "latents": 2,
    "models": 2,
    "checkpoints": 3,
    "inference": 3,
    "metrics": 3,
    "pca": 3,
    "plotting": 3,
    "training": 3,
    "transformer": 3,
    "cli": 4,
    "runs": 4,
}
OUTSIDE = {  # third-party packages of the core
    **dict.fromkeys(("base", "coordinates", "likelihoods", "ops"), {"jax"}),
    "inputs": {"jax", "numpy"},
    **dict.fromkeys(("checks", "encoding", "freezing", "gauss_newton", "linearization"), {"jax"}),
    "models": {"jax", "optax"},
    "decoders": {"jax", "flax", "numpy"},
    "drop_in": {"jax", "flax"},
    "latents": {"jax", "numpy", "scipy", "sklearn", "threadpoolctl", "umap"},
}
PATHS = sorted(ROOT.rglob("*.py"))


def module_of(path):
    """Return a file's dotted name, in parts."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path):
    """Yield every import of a file, inside functions too: the dotted name in parts, one name at a time."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((*node.module.split("."), alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gon_jax":
            yield ("gon_jax", node.attr)  # which is loaded when it is used


def test_every_module_has_a_level():
    assert {module_of(path)[1] for path in PATHS if len(module_of(path)) > 1} == set(LEVELS)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_and_private_names_stay(path):
    module = module_of(path)
    for name in imports(path):
        for i, part in enumerate(name):
            if name[0] in ("gon_jax", "benchmarks") and part.startswith("_") and not part.startswith("__"):
                owner = name[:i]  # a module's private name belongs to its package, but for those right below gon_jax
                if i > 2 and not (ROOT.parent / Path(*owner)).is_dir():
                    owner = owner[:-1]
                assert module[: len(owner)] == owner, f"{'.'.join(module)} imports {'.'.join(name)}, which is private"
        if len(module) == 1:
            continue  # gon_jax itself
        if name[0] == "gon_jax" and len(name) > 1 and name[1] in LEVELS:
            assert LEVELS[name[1]] <= LEVELS[module[1]], f"{'.'.join(module)} imports {'.'.join(name)}, a level above"
        elif name[0] not in ("gon_jax", *sys.stdlib_module_names) and module[1] in OUTSIDE:
            assert name[0] in OUTSIDE[module[1]], f"{'.'.join(module)} imports {name[0]}"
        assert name[0] not in ("benchmarks", "tests"), f"{'.'.join(module)} imports {'.'.join(name)}"


def test_no_circles():
    files = {module_of(path): path for path in PATHS if len(module_of(path)) > 1}
    graph = {}
    for module, path in files.items():
        targets = set()
        for name in imports(path):
            target = next((name[:n] for n in range(len(name), 1, -1) if name[:n] in files), None)
            if target is not None and target[: len(module)] != module:  # an __init__ names its own modules
                targets.add(target)
        graph[module] = targets
    done, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join(".".join(m) for m in [*path, module])
        if module not in done:
            path.append(module)
            for target in graph[module]:
                visit(target)
            done.add(path.pop())

    for module in graph:
        visit(module)


def test_no_two_modules_share_a_basename():
    names = [path.stem for path in PATHS if path.stem != "__init__"] + [path.name for path in ROOT.iterdir()]
    names = [name for name in names if name not in ("__init__.py", "__pycache__") and not name.endswith(".py")]
    assert sorted(names) == sorted(set(names))


def loaded_by(statement):
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_import_is_light_and_submodules_are_there():
    heavy = set("flax optax orbax tensorflow_datasets tensorflow matplotlib PIL sklearn tqdm tyro".split())
    assert not loaded_by("import gon_jax; gon_jax.encode, gon_jax.Decoder, gon_jax.squared_error") & heavy
    assert not loaded_by("import gon_jax.training") & (heavy - {"flax", "optax", "tqdm"})
    loaded = loaded_by(
        "import gon_jax; gon_jax.models.gon, gon_jax.vgon, gon_jax.fit, gon_jax.evaluate, gon_jax.load_run"
    )
    assert "optax" in loaded and "tyro" not in loaded


def test_dir_and_unknown_names():
    assert set(gon_jax.__all__) <= set(dir(gon_jax))
    for name in gon_jax.__all__:
        getattr(gon_jax, name)
    with pytest.raises(AttributeError, match="no attribute 'codes'"):
        gon_jax.codes  # noqa: B018


def public_functions():
    """Yield every function and every method of a class in an `__all__`, by name."""
    for info in pkgutil.walk_packages(gon_jax.__path__, "gon_jax."):
        module = importlib.import_module(info.name)
        if any(part.startswith("_") for part in info.name.split(".")):
            continue
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if getattr(value, "__module__", None) != info.name:
                continue
            if inspect.isfunction(value):
                yield f"{info.name}.{name}", value
            elif inspect.isclass(value):
                for method, function in vars(value).items():
                    documented = not method.startswith("_") and inspect.isfunction(function)
                    if documented and not getattr(function, "__qualname__", "").startswith("namedtuple_"):
                        yield f"{info.name}.{name}.{method}", function


PUBLIC = dict(public_functions())


def test_every_public_module_says_what_is_public():
    for info in pkgutil.walk_packages(gon_jax.__path__, "gon_jax."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            module = importlib.import_module(info.name)
            has = hasattr(module, "__all__") or not [n for n, v in vars(module).items() if inspect.isfunction(v)]
            assert has, f"{info.name} has no __all__"


@pytest.mark.parametrize("name", PUBLIC)
def test_public_functions_are_annotated_and_documented(name):
    function = PUBLIC[name]
    assert inspect.getdoc(function), f"{name} has no docstring"  # its own, or that of the method it overrides
    signature = inspect.signature(function)
    missing = [
        p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    assert not missing, f"{name} has parameters without annotation: {missing}"
    assert signature.return_annotation is not signature.empty, f"{name} has no annotation of what it returns"
