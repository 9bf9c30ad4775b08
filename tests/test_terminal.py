"""The command at a terminal, in a pipe and in a shell: first output, one screen, bars and colors, completion."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gon_jax.cli.commands import COMMANDS
from gon_jax.cli.main import main
from gon_jax.runs import PRESETS
from gon_jax.runs.config import REGISTRIES

ROOT = Path(__file__).parents[1]
SCREEN = 40  # lines
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def python(code, *words, **env):
    """Run Python with pipes; return the exit status, standard output and standard error, as they were written."""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, env=ENVIRONMENT | env)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def python_on_a_terminal(code, *words, **env):
    """Return what Python writes to a terminal."""
    pty = pytest.importorskip("pty")  # not on Windows
    termios = pytest.importorskip("termios")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (SCREEN, 100))  # a new one has no columns
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=theirs, stderr=theirs, env=ENVIRONMENT | {"TERM": "xterm"} | env
    ) as process:
        os.close(theirs)
        written = b""
        try:
            while block := os.read(ours, 4096):
                written += block
        except OSError:  # Linux, at the end
            pass
    os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


def test_what_only_reads_and_prints_loads_no_jax(tmp_path):
    """Loading JAX takes most of the time to the first output; NumPy, most of the rest."""
    code = """
import json, sys
from pathlib import Path
from gon_jax.cli.main import main
from gon_jax.runs.saved import SUMMARY, write_summary
values = {str: "gon", int: 1, float: 1.0, dict: {}}
write_summary(Path("."), {name: values.get(kind) for name, kind in SUMMARY.items()})
lines = ["", "--help", "--help-all", "--version", "show .", "show . --json", "completion bash"]
lines += ["train --help", "train gon-digits --help-all", "evaluate --help", "trian", "train --num-steps a"]
statuses = [main(line.split()) for line in lines]
loaded = {name.partition(".")[0] for name in sys.modules} & {*"jax numpy optax flax PIL matplotlib tqdm".split()}
print(statuses, loaded, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.stderr.splitlines()[-1] == f"{[0] * 10 + [2, 2]} set()", done.stderr
    assert "gon on gon, 1 held-out examples: 1.00 of PCA's error" in done.stdout


@pytest.mark.parametrize("line", ["", *(f"{name} --help" for name in COMMANDS), "train gon-digits --help"])
def test_help_is_one_screen(line, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(line.split()) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) <= SCREEN
    if not line:
        return
    assert main(line.replace("--help", "--help-all").split()) == 0
    shown, all_shown = ({*re.findall(r"--[\w-]+", text)} for text in (out, capsys.readouterr().out))
    assert shown <= all_shown and (shown < all_shown) == ("--help-all" in shown)
    if line == "train --help":
        assert {"--dataset", "--num-steps", "--minutes", "--model", "--json"} <= shown


def test_help_shows_what_is_chosen(capsys):
    """The options of a model that is named are shown beside the common ones, and no others of other models."""
    assert main("train --model multi_step --help".split()) == 0
    out = capsys.readouterr().out
    assert "--inner-steps" in out and "--origin-scale" in out and "--adam-epsilon" not in out and "--norm " not in out


BAR = "import time; from gon_jax.progress import bar; [time.sleep(0.01) for _ in bar(range(5), 'work', mininterval=0)]"
HELP = "import sys; from gon_jax.cli.program import program; sys.exit(program())"


def test_bars_and_colors_are_for_terminals():
    assert python(BAR) == (0, "", "")
    assert re.search(r"\rwork: 100%", python_on_a_terminal(BAR))
    status, out, err = python(HELP, "show", "--help")
    assert (status, err) == (0, "") and not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out)
    assert "\x1b[" in python_on_a_terminal(HELP, "show", "--help")
    assert "\x1b" not in python_on_a_terminal(HELP, "show", "--help", NO_COLOR="1")
    assert python(HELP, "show", "--help", PYTHONIOENCODING="ascii")[0] == 0  # boxes of ASCII


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_completion_in_bash(capsys, tmp_path):
    assert main(["completion", "bash"]) == 0
    (tmp_path / "gon.bash").write_text(capsys.readouterr().out)
    (tmp_path / "photos").mkdir()
    ask = """
source gon.bash
for line in "$@"; do
  read -ra COMP_WORDS <<< "gon $line"
  [[ "$line" == *" " || -z "$line" ]] && COMP_WORDS+=("")
  COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
  _shtab_gon gon "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
  echo "${COMPREPLY[*]}"
done
"""
    expected = {
        "": [*COMMANDS],
        "train ": [*PRESETS],
        "train vg": ["vgon-digits", "vgon-mnist", "vgon-mnist-256"],
        "train gon-digits --model ": [*REGISTRIES["model"]],
        "train --kl": ["--kl-weight", "--kl-warmup-steps"],
        "train --dataset ph": ["photos"],
        "show ph": ["photos"],
        "evaluate photos --sp": ["--split"],
        "evaluate photos --split ": ["train", "validation", "test"],
        "completion z": ["zsh"],
    }
    done = subprocess.run(["bash", "-c", ask, "bash", *expected], cwd=tmp_path, capture_output=True, text=True)
    assert [sorted(line.split()) for line in done.stdout.splitlines()] == [sorted(words) for words in expected.values()]
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish", "tcsh"])
def test_completion_for_other_shells(shell, capsys, tmp_path):
    assert main(["completion", shell]) == 0
    path = tmp_path / "script"
    path.write_text(capsys.readouterr().out)
    assert all(word in path.read_text() for word in (*COMMANDS, "kl-weight", "modulated_siren"))
    if shutil.which(shell):  # it can be read
        assert subprocess.run([shell, "-n", str(path)], capture_output=True).stderr == b""


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signals here")
def test_exit_statuses_are_those_of_the_page(tmp_path):
    table = re.search(r"^\| exit status.*?\n\n", (ROOT / "docs" / "command_line.md").read_text(), re.M | re.S)[0]
    (tmp_path / "wait.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    gon = [sys.executable, "-m", "gon_jax"]
    seen = []
    for words in ("--version", "show nothing", "trian"):
        seen.append(
            subprocess.run([*gon, *words.split()], cwd=tmp_path, env=ENVIRONMENT, capture_output=True).returncode
        )
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([*gon, "--import", "wait.py"], cwd=tmp_path, env=ENVIRONMENT, **pipes) as process:
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        seen.append(process.returncode)
        assert err in (b"gon: interrupted\n", b"gon: terminated\n")
    assert seen == [int(status) for status in re.findall(r"^\| (\d+) \|", table, re.M)] == [0, 1, 2, 129, 130, 143]
