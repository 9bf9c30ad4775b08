"""Draw the structure of gon_jax from its imports, as images/structure.png, and keep its edges beside it as JSON.

Arrows that others imply are left out, and those to level 0 from level 2 and above.

    python docs/draw_structure.py
"""

import ast
import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gon_jax"
PICTURE = ROOT / "docs" / "images" / "structure.png"
EDGES = PICTURE.with_suffix(".json")
TITLES = "records,\noperations", "the\nalgorithm", "models, data,\nlatents", "use and\ntraining", "runs and\ncommand"
COLORS = ("#dbe9f6", "#c7e3d4", "#fdebc8", "#f9d5cf", "#e3d9ee")
BANDS = (0.8, 1.5, 0.8, 0.95, 0.85)  # heights of the levels
PLACES = {
    "cli": (0.18, 4.0),
    "runs": (0.43, 4.0),
    "checkpoints": (0.08, 3.1),
    "training": (0.27, 3.1),
    "transformer": (0.595, 2.72),
    "metrics": (0.585, 3.0),
    "pca": (0.46, 3.25),
    "inference": (0.765, 3.1),
    "plotting": (0.94, 3.1),
    "models": (0.3, 2.25),
    "data": (0.72, 2.25),
    "latents": (0.9, 2.25),
    "checks": (0.05, 1.5),
    "gauss_newton": (0.23, 1.5),
    "freezing": (0.42, 1.5),
    "decoders": (0.6, 1.1),
    "drop_in": (0.86, 0.9),
    "linearization": (0.23, 0.75),
    "encoding": (0.42, 0.75),
    "base": (0.42, 0.0),
    "likelihoods": (0.2, 0.12),
    "ops": (0.595, 0.0),
    "coordinates": (0.76, 0.0),
    "_files": (0.93, 0.0),
    "inputs": (0.2, -0.22),
    "memory": (0.76, -0.24),
    "progress": (0.93, -0.24),
    "arguments": (0.42, -0.3),
    "choices": (0.6, -0.3),
    "compilation": (0.06, -0.28),
}


def levels() -> dict[str, int]:
    """Return the level of each part of the package but `__main__`: LEVELS of tests/test_imports.py."""
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text())
    found = {node.targets[0].id: node.value for node in tree.body if isinstance(node, ast.Assign)}
    return {part: level for part, level in ast.literal_eval(found["LEVELS"]).items() if part != "__main__"}


def files(part: str) -> list[Path]:
    """Return the files of a part, a module or a package."""
    module = PACKAGE / f"{part}.py"
    return [module] if module.exists() else sorted((PACKAGE / part).rglob("*.py"))


def edges() -> dict[str, list[str]]:
    """Return the parts that each part imports, wherever the import stands."""
    parts = levels()
    result = {}
    for part in parts:
        names = set()
        for path in files(part):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and node.module == "gon_jax":
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gon_jax."):
                    names.add(node.module.split(".")[1])
                elif isinstance(node, ast.Import):
                    names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("gon_jax.")}
                elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "gon_jax":
                    names.add(node.attr)  # gon_jax.models, say, which is loaded when it is used
        result[part] = sorted((names & set(parts)) - {part})
    return result


def reduced(graph: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the edges that no longer path implies."""

    def reachable(part):
        return {part}.union(*(reachable(target) for target in graph[part]))

    return {
        part: [t for t in targets if not any(t in reachable(other) for other in targets if other != t)]
        for part, targets in graph.items()
    }


def draw() -> None:
    """Write the picture and its edges."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    graph, level = edges(), levels()
    figure = Figure(figsize=(10, 6.2), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.17, 1.01), ylim=(-0.45, 4.45))
    axes.axis("off")
    for number, (title, color) in enumerate(zip(TITLES, COLORS, strict=True)):
        low, high = (sum(BANDS[:i]) - 0.45 for i in (number, number + 1))
        axes.add_patch(Rectangle((-0.165, low + 0.02), 1.17, high - low - 0.04, color=color, zorder=0))
        axes.text(-0.155, (low + high) / 2, f"{number}", fontsize=20, va="center", color="0.35")
        axes.text(-0.125, (low + high) / 2, title, fontsize=9, va="center", color="0.25")
    boxes = {}
    for part, place in PLACES.items():
        num_lines = sum(len(path.read_text().splitlines()) for path in files(part))
        name = f"{part}.py" if (PACKAGE / f"{part}.py").exists() else f"{part}/"
        style = {"boxstyle": "round,pad=0.45", "facecolor": "white", "edgecolor": "0.45"}
        boxes[part] = axes.text(*place, f"{name}  {num_lines:,}", ha="center", va="center", fontsize=9.5, bbox=style)
    figure.draw_without_rendering()  # boxes are where arrows end
    for part, targets in reduced(graph).items():
        for target in targets:
            if level[target] > 0 or level[part] < 2:
                style = {"arrowstyle": "-|>", "color": "0.35", "lw": 0.9, "patchA": boxes[part].get_bbox_patch()}
                style |= {"patchB": boxes[target].get_bbox_patch(), "shrinkA": 0, "shrinkB": 1}
                axes.annotate("", PLACES[target], PLACES[part], arrowprops=style, zorder=1)
    figure.savefig(PICTURE, metadata={"Software": None})
    EDGES.write_text(json.dumps(graph, indent=1) + "\n")


if __name__ == "__main__":
    draw()
