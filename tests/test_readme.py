"""README and docs: their Python runs, their links lead somewhere, their tables are the code's."""

import dataclasses
import functools
import importlib
import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest
from test_imports import LEVELS

import examples.signals  # noqa: F401  (its datasets and presets are in the tables)
from gon_jax import decoders, models
from gon_jax.cli.commands import COMMANDS
from gon_jax.cli.main import main
from gon_jax.data import DATASETS
from gon_jax.runs import PRESETS, train
from gon_jax.runs.config import REGISTRIES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
QUICK = {"2000": "2"}  # numbers of training steps, which a reader makes in full
COMMAND_LINE = TEXTS["docs/command_line.md"]
HELPERS = {"default_step_size", "gradient_model"}
MODEL_FUNCTIONS = [name for name in models.__all__ if name[0].islower() and name not in HELPERS]


def blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.S)


@pytest.fixture
def registries(monkeypatch):
    """Return a function that removes what a test registered; it is called at the end too."""
    for name in ("tones", "solids", "moving_digits"):
        monkeypatch.delitem(DATASETS, name)  # so that a test can register them again
    before = [(names, dict(names)) for names in (DATASETS, PRESETS, *REGISTRIES.values())]

    def restore():
        for name in ("mine", "my_network", "signals"):
            sys.modules.pop(name, None)
        for names, known in before:
            names.clear()
            names.update(known)

    yield restore
    restore()


@pytest.mark.quick("README.md", "docs/extending.md", "docs/algebra.md")
@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if blocks(text)])
def test_python_runs(name, capsys, tmp_path, monkeypatch, registries):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    names = {}
    if 'load_run("runs/gon-digits")' in TEXTS[name]:
        config = PRESETS["gon-digits"].replace(image_size=8, base_channels=4, num_steps=2)
        train(config, "runs/gon-digits", pictures=False, progress=False)
    for block in blocks(TEXTS[name]):
        for number, few in QUICK.items():
            block = re.sub(rf"\b{number}\b", few, block)
        if file := re.match(r'"""(\w+\.py): ', block):
            (tmp_path / file[1]).write_text(block)
        else:
            exec(compile(block, name, "exec"), names)


@pytest.mark.slow
def test_a_file_of_ones_own_from_the_command_line(tmp_path, monkeypatch, capsys, registries):
    monkeypatch.chdir(tmp_path)
    text = TEXTS["docs/extending.md"]
    (tmp_path / "mine.py").write_text(blocks(text)[0])
    train, evaluate, helps = re.findall(r"^    gon (--import mine.py .*)$", text, flags=re.M)
    assert main([*train.split(), "--num-steps", "5", "--base-channels", "4"]) == 0
    registries()
    assert main([*evaluate.split(), "--output", "metrics.json"]) == 0
    expected = json.loads((tmp_path / "runs" / "stripes" / "summary.json").read_text())["test.squared_error"]
    assert json.loads((tmp_path / "metrics.json").read_text())["squared_error"] == pytest.approx(expected, rel=1e-6)
    registries()
    assert main(helps.split()) == 0 and "--second-weight" in capsys.readouterr().out
    registries()
    assert main(evaluate.split()[2:]) == 1 and "two_losses" in capsys.readouterr().err


def anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    for link in re.findall(r"\]\(([^)\s]+)\)", TEXTS[name]):
        if not link.startswith("http"):
            path, _, heading = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.exists(), f"{name} links to {link}"
            if heading:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.M)
                assert heading in map(anchor, headings), f"{name} links to {link}"


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 120 and len(TEXTS["README.md"].encode()) <= 8192


def test_every_model_is_in_the_tables():
    for name in MODEL_FUNCTIONS:
        assert re.search(rf"^\| `{name}|^\| .*`{name}`", TEXTS["README.md"], flags=re.M), name
        assert f"`{name}" in TEXTS["docs/models.md"], name


def preset_row(name, config):
    size = config.data.image_size
    dataset = f"`{config.data.dataset}`" + (f" at {size}x{size}" if size else "")
    latent = " ".join(map(str, config.latent_shape))
    width = vars(config.network).get("base_channels") or config.network.hidden_dim
    parts = [f"`{name}`", config.model.name, dataset, f"{config.network.name}, {width}", latent]
    return f"| {' | '.join([*parts, config.likelihood.name, f'{config.training.num_steps:,}'])} |"


def options_row(kind, name):
    flags = sorted(f"`--{field.name.replace('_', '-')}`" for field in dataclasses.fields(REGISTRIES[kind][name]))
    return f"| `--{kind} {name}` | {', '.join(flags) or 'none'} |"


def test_the_tables_of_the_command_line_are_the_codes():
    rows = [preset_row(*item) for item in PRESETS.items()]
    rows += [options_row(kind, name) for kind, names in REGISTRIES.items() for name in names]
    missing = [row for row in rows if row not in COMMAND_LINE.splitlines()]
    assert not missing, "expected these rows in docs/command_line.md:\n" + "\n".join(missing)
    for name in COMMANDS:
        assert f"| `gon {name}" in COMMAND_LINE, name
    for name in DATASETS:
        assert f"`{name}" in TEXTS["docs/data.md"], name


def test_command_lines_in_the_docs_are_accepted(tmp_path, monkeypatch, capsys, registries):
    """Every `gon` line gives the required arguments, and only options that exist."""

    def parsed_only(function):
        @functools.wraps(function)
        def accepted(*args, **kwargs):
            return 0

        return accepted

    monkeypatch.chdir(tmp_path)
    for name in ("docs/extending.md", "docs/own_decoder.md"):
        for file, block in ((re.match(r'"""(\w+\.py): ', block), block) for block in blocks(TEXTS[name])):
            if file:
                (tmp_path / file[1]).write_text(block)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.setattr("gon_jax.cli.main.train", parsed_only(COMMANDS["train"]))
    monkeypatch.setattr("gon_jax.cli.main.train_suited", lambda given, **options: 0)
    for name, function in COMMANDS.items():
        monkeypatch.setitem(COMMANDS, name, parsed_only(function))
    for name, text in TEXTS.items():
        for line in re.findall(r"^    gon (.*?)(?: {2,}#.*)?$", text, flags=re.M):
            assert main(line.split()) == 0, f"{name}: gon {line}: {capsys.readouterr().err}"
            registries()
    for line in ("reconstruct --num 3", "train --likelihood laplace", "train --dataset digits --lr 1"):
        assert main(line.split()) == 2, line


def test_the_table_of_levels_is_the_tests():
    rows = re.findall(r"^\| ([0-4]) \| (.*?) \|", TEXTS["docs/architecture.md"], flags=re.M)
    found = {name.strip("`/ "): int(level) for level, names in rows for name in names.split(", ")}
    assert {name.removesuffix(".py"): level for name, level in found.items()} == LEVELS


def test_what_the_table_of_places_names_is_there():
    rows = re.findall(r"^\| [^|]*\? \|(.*)\|(.*)\|$", TEXTS["docs/architecture.md"], flags=re.M)
    assert len(rows) >= 10
    for files, names in rows:  # the links are checked with all others
        paths = re.findall(r"`(gon_jax/\S+)\.py`", files)
        modules = [importlib.import_module(path.replace("/", ".")) for path in paths]
        for name in re.findall(r"`(\w+)`", names):
            found = [module for module in modules if name in vars(module)]
            assert any(getattr(vars(m)[name], "__module__", m.__name__) == m.__name__ for m in found), name


def test_the_drawing_of_the_structure_is_the_codes():
    script = runpy.run_path(str(ROOT / "docs" / "draw_structure.py"))
    assert json.loads(script["EDGES"].read_text()) == script["edges"](), "run `python docs/draw_structure.py`"
    assert set(script["PLACES"]) == set(LEVELS) - {"__main__"}


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in ("CHANGELOG.md", "docs/reproduction.md")])
def test_words(name):
    """One name for one thing: docs/notation.md."""
    prose = re.sub(r"`[^`\n]*`|\[[^]]*\]\([^)]*\)", "", TEXTS[name])
    if name == "docs/notation.md":
        prose = re.sub(r"^\|.*$", "", prose, flags=re.M)
    for word in (r"\bcodes\b", r"the release", r"[a-z]isation\b", r"\bgrey\b", r"\bcolour", r"vouched", r"^Of "):
        assert not re.search(word, prose, flags=re.M), f"{name}: {word}"


def test_the_table_of_capabilities_is_the_models():
    decoder, encoder = decoders.conv_decoder((8, 8, 1), (3,)), decoders.conv_encoder((8, 8, 1), (3,))
    arguments = {"gon_classifier": (10,), "autoencoder": (encoder,), "vae": (encoder,)}
    head, *rows = re.findall(r"^\|(.*(?:`freeze`|yes|\| {1,4}\|).*)\|$", TEXTS["docs/models.md"], flags=re.M)
    names = [cell.strip(" `") for cell in head.split("|")][1:]
    assert names == list(models.gon(decoder).capabilities._fields)
    seen = set()
    for first, *cells in (row.split("|") for row in rows):
        for model in re.findall(r"`(\w+)`", first):
            can = getattr(models, model)(decoder, *arguments.get(model, ())).capabilities
            assert [cell.strip() == "yes" for cell in cells] == [function is not None for function in can], model
            seen.add(model)
    assert seen == set(MODEL_FUNCTIONS)
