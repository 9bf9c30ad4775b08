"""Try to lose or to falsify a run: kills at random moments, random damage to its files, random command lines.

    python -m benchmarks.reliability            # about 20 minutes: results/reliability.json and the table of its page
    python -m benchmarks.reliability --kills 3 --damages 20 --lines 20 --folder runs/tried   # a try, published nowhere
    python -m benchmarks.reliability --table    # make the table of docs/reliability.md from the JSON

Everything follows from the seed but the moments at which a signal meets the process. A trial is good if the run ends in
the same numbers as one that nothing disturbed, or if an error of one line says what is wrong; the others are listed.
"""

import argparse
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

import jax
import numpy as np
from tqdm.auto import tqdm

from benchmarks import report
from benchmarks.tables import load, made_by, markdown
from gon_jax.checkpoints import Checkpoints
from gon_jax.cli.main import main as gon
from gon_jax.runs import load_run
from gon_jax.runs.log import read_rows

PAGE = report.PAGE.with_name("reliability.md")
ONE_LINE = re.compile(r"gon: [^\n]+\n")
STEPS, EVERY = 60, 5
TRAIN = (
    "train --dataset images.npz --image-size None --num-validation 20 --latent-shape 3 --base-channels 2 "
    f"--batch-size 16 --num-steps {STEPS} --validate-every {EVERY} --learning-rate 1e-3 --schedule cosine"
).split()
MODELS = {
    "gon": [],
    "vgon": ["--model", "vgon", "--inner-noise", "none"],
    "glo": ["--model", "glo"],
    "autoencoder": ["--model", "autoencoder"],
}
SIGNALS = {"SIGKILL": [signal.SIGKILL], "SIGTERM": [signal.SIGTERM], "Ctrl-C": [signal.SIGINT]}
SIGNALS["Ctrl-C twice"] = [signal.SIGINT, signal.SIGINT]


# -- kills -----------------------------------------------------------------------------------------------------------


def start(folder, *words):
    """Start the command in a folder, in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(report.README.parent), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    options = {"cwd": folder, "env": env, "stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    return subprocess.Popen([sys.executable, "-m", "gon_jax", *words], **options)


def outcome(run):
    """Return what a run ended in, without times: its last parameters, its validations and its summary.

    A training that was asked to stop has a row more in its log, of the step where it stopped.
    """
    loaded = load_run(run, "last")
    with Checkpoints(run) as checkpoints:
        steps = checkpoints.steps
    kept = [
        {k: v for k, v in row.items() if k == "step" or "validation" in k} for row in read_rows(run / "metrics.jsonl")
    ]
    rows = [row for row in kept if len(row) > 1]
    summary = json.loads((run / "summary.json").read_text())
    timed = ("seconds", "crc32")  # which covers the times
    summary = {name: value for name, value in summary.items() if not name.startswith(timed)}
    leaves = [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(loaded.variables)]
    return {"steps": steps, "rows": rows, "summary": summary, "leaves": leaves}


def kill(folder, model, rng, seconds, signals):
    """Start or resume a run, and send signals at a random moment; return the exit status and standard error."""
    run = folder / "runs" / model
    flag = ["--resume"] if (run / "config.json").is_file() else []
    with start(folder, *TRAIN, *MODELS[model], "--run", f"runs/{model}", *flag) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, seconds))
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        err = process.communicate(timeout=300)[1]
    return process.returncode, err


def kills(folder, num, rng):
    """Kill trainings `num` times in all, resume each to its end, and compare with one that was never killed."""
    counts, bad = Counter(), []
    for model in tqdm(MODELS, "models"):
        began = time.monotonic()
        with start(folder, *TRAIN, *MODELS[model], "--run", "runs/whole") as process:
            err = process.communicate(timeout=600)[1]
        if process.returncode:
            raise RuntimeError(f"expected {model} to be trained, got {err[-500:]}")
        seconds, expected = time.monotonic() - began, outcome(folder / "runs" / "whole")
        for _ in range(num // len(MODELS)):
            name = list(SIGNALS)[rng.integers(len(SIGNALS))]
            status, err = kill(folder, model, rng, seconds, SIGNALS[name])
            counts[name] += 1
            if "Traceback" in err:
                bad.append({"trial": f"{name} of {model}", "status": status, "got": err[-500:]})
        flag = ["--resume"] if (folder / "runs" / model / "config.json").is_file() else []
        with start(folder, *TRAIN, *MODELS[model], "--run", f"runs/{model}", *flag) as process:
            err = process.communicate(timeout=600)[1]
        got = {} if process.returncode else outcome(folder / "runs" / model)
        if differing := [name for name in expected if got.get(name) != expected[name]]:
            bad.append({"trial": f"resumed {model}", "status": process.returncode, "got": f"{differing} {err[-500:]}"})
        shutil.rmtree(folder / "runs" / "whole")
    return {"counts": dict(counts), "models": len(MODELS), "bad": bad}


def killed_outputs(folder, num, rng):
    """Kill commands that write an output; it must be whole, or not there."""
    counts, bad, seconds = Counter(), [], {}
    for i in tqdm(range(num), "outputs"):
        words, output = [("encode", "z.npz"), ("sample", "s.npz"), ("evaluate", "e.json"), ("latents", "l.png")][i % 4]
        if words not in seconds:
            began = time.monotonic()
            with start(folder, words, "runs/gon", "--output", output) as process:
                process.communicate(timeout=600)
            seconds[words] = time.monotonic() - began
        (folder / output).unlink(missing_ok=True)
        with start(folder, words, "runs/gon", "--output", output) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0, 1.1 * seconds[words]))
            process.kill()
            process.communicate(timeout=60)
        counts[words] += 1
        try:
            if (folder / output).is_file():
                counts["whole outputs"] += 1
                whole(folder / output)
        except Exception as error:
            bad.append({"trial": f"{words} to {output}", "got": repr(error)})
    return {"counts": dict(counts), "bad": bad}


def whole(path):
    """Read a file to its end."""
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".npz":
        with np.load(path) as file:
            [file[name] for name in file]
    else:
        from PIL import Image

        with Image.open(path) as picture:
            picture.load()


# -- damage ----------------------------------------------------------------------------------------------------------


def call(*words):
    """Run a command line in this process; return status, standard output, standard error, and what was raised."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            return gon(list(words)), out.getvalue(), err.getvalue(), None
        except BaseException as error:  # which the command should have caught
            return None, out.getvalue(), err.getvalue(), error


def damage(path, rng):
    """Damage a file in one of several ways; return which."""
    content = bytearray(path.read_bytes())
    how = ["flip", "cut", "empty", "zeros", "remove"][rng.integers(5)]
    if how == "remove":
        path.unlink()
        return how
    if content:
        place = int(rng.integers(len(content)))
        if how == "flip":
            content[place] ^= 1 << int(rng.integers(8))
        elif how == "zeros":
            content[place : place + 64] = bytes(len(content[place : place + 64]))
        else:
            content = content[: place if how == "cut" else 0]
    path.write_bytes(content)
    return how


def numbers(out):
    """Return what was printed but for the files that are there."""
    return [line for line in out.splitlines() if "damaged/" not in line]


def damages(folder, num, rng):
    """Damage one file of a run at a time, and evaluate it: the same numbers, or one line."""
    counts, bad, run = Counter(), [], folder / "runs" / "gon"
    files = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file() and path.suffix != ".png"]
    files = [path for path in files if path.parts[0] in ("checkpoints", "config.json", "summary.json", "encoder.npz")]
    commands = [["evaluate", "damaged"], ["evaluate", "damaged", "--which", "last"], ["show", "damaged"]]
    expected = {}
    for words in commands:
        shutil.rmtree(folder / "damaged", ignore_errors=True)
        shutil.copytree(run, folder / "damaged")
        expected[tuple(words)] = call(*words)[1]
    for _ in tqdm(range(num), "damages"):
        shutil.rmtree(folder / "damaged")
        shutil.copytree(run, folder / "damaged")
        path, words = files[rng.integers(len(files))], commands[rng.integers(len(commands))]
        how = damage(folder / "damaged" / path, rng)
        status, out, err, error = call(*words)
        if status == 0 and error is None and numbers(out) == numbers(expected[tuple(words)]):
            counts["the same numbers"] += 1
        elif status == 1 and error is None and not out and ONE_LINE.fullmatch(err):
            counts["an error of one line"] += 1
        else:
            got = f"{error!r} {err[-300:]} {out[:200]}"
            bad.append({"trial": f"{' '.join(words)}: {how} {path}", "status": status, "got": got})
    return {"counts": dict(counts), "bad": bad}


# -- command lines ---------------------------------------------------------------------------------------------------

VALUES = ["0", "-1", "1", "3", "2.5", "nan", "inf", "-inf", "1e400", "99999999999999999999", "1000000000", "", " ", "a"]
VALUES += ["None", "True", "[1]", "../..", "/", "/dev/null", "images.npz", "runs/gon"]
VALUES += ["\u00e9", "x" * 5000, "a\nb", "--"]
OPTIONS = {
    "train": "--num-steps --batch-size --latent-shape --base-channels --learning-rate --seed --image-size --dataset "
    "--num-validation --norm --model --likelihood --network --minutes --memory --value-range --background --run",
    "evaluate": "--split --dataset --evaluation --batch-size --which --num-samples --seed --output",
    "encode": "--input --split --output",
    "reconstruct": "--input --num --output",
    "sample": "--num --prior --seed --output",
    "interpolate": "--num-pairs --num-points --output",
    "superres": "--size --num --output",
    "inpaint": "--hide --fraction --num --seed",
    "latents": "--output",
    "anomalies": "--num --output --input",
    "neighbors": "--num --num-neighbors --metric",
    "map": "--method --seed --output",
    "traverse": "--num --span --output",
    "show": "--output",
}


def lines(folder, num, rng):
    """Run random command lines: status 0, or a status and one line."""
    counts, bad, made = Counter(), [], set(os.listdir(folder))
    for _ in tqdm(range(num), "command lines"):
        name = list(OPTIONS)[rng.integers(len(OPTIONS))]
        options, words = OPTIONS[name].split(), [name]
        words += ["--num-steps", "2", *TRAIN[1:9]] if name == "train" else ["runs/gon"]
        for _ in range(rng.integers(1, 3)):
            words += [options[rng.integers(len(options))], VALUES[rng.integers(len(VALUES))]]
        status, out, err, error = call(*words)
        last = err.splitlines()[-1] if err else ""
        if status == 0 and error is None:
            counts["status 0"] += 1
        elif status in (1, 2) and error is None and last.startswith("gon: ") and "Traceback" not in err:
            counts["an error of one line"] += 1
        else:
            shown = [word[:50] for word in words]
            bad.append({"trial": " ".join(shown), "status": status, "got": f"{error!r} {err[-300:]}"})
        for other in set(os.listdir(folder)) - made:
            path = folder / other
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return {"counts": dict(counts), "bad": bad}


# -- all of it -------------------------------------------------------------------------------------------------------


def measure(folder, num_kills, num_outputs, num_damages, num_lines, seed):
    """Make a folder with data and runs, and try all of it there."""
    from sklearn.datasets import load_digits

    digits, rng = load_digits(), np.random.default_rng(seed)
    np.savez(folder / "images.npz", images=np.rint(digits.images[:300] * 255 / 16).astype(np.uint8))
    result = {"seed": seed, "kills": kills(folder, num_kills, rng)}
    with contextlib.chdir(folder):
        result["outputs"] = killed_outputs(folder, num_outputs, rng)
        result["damages"] = damages(folder, num_damages, rng)
        result["lines"] = lines(folder, num_lines, rng)
    return result


TITLES = {
    "kills": "trainings of {models} models, killed at random moments and resumed: the last parameters, the log and the "
    "summary of one never killed",
    "outputs": "commands killed while they work: no output that is not whole",
    "damages": "files of a run flipped, cut, emptied, zeroed or removed, then `gon evaluate` or `show`: the same "
    "numbers, or one line",
    "lines": "random command lines: status 0, or one line",
}


def table(result):
    """Return a row for each kind of trial."""
    rows = [["trials", "number", "what happened", "otherwise"]]
    for name, words in TITLES.items():
        part = result[name]
        trials = {key: count for key, count in part["counts"].items() if key != "whole outputs"}
        total = sum(trials.values()) + (len(part["bad"]) if name in ("damages", "lines") else 0)
        happened = ", ".join(f"{count} {key}" for key, count in part["counts"].items())
        rows.append([words.format(**part), str(total), happened, str(len(part["bad"]))])
    source = "[JSON](../benchmarks/results/reliability.json)"
    return f"{markdown(rows)}\n\nSeed {result['seed']}, {made_by(result)}: `{result['command']}` ({source})"


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it, and its children do
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--outputs", type=int, default=20)
    parser.add_argument("--damages", type=int, default=150)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=pathlib.Path, default=report.RESULTS)
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if not arguments.table:
        made = report.provenance()
        numbers = (arguments.kills, arguments.outputs, arguments.damages, arguments.lines)
        with tempfile.TemporaryDirectory() as folder:
            result = measure(pathlib.Path(folder), *numbers, arguments.seed)
        report.write("reliability", result, made, arguments.folder)
        print(
            json.dumps(
                {name: {"counts": result[name]["counts"], "bad": result[name]["bad"]} for name in TITLES}, indent=1
            )
        )
    if arguments.folder == report.RESULTS:
        PAGE.write_text(report.page_with(PAGE.read_text(), "reliability", table(load("reliability"))))


if __name__ == "__main__":
    main()
