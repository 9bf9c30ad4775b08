"""The command `gon`: train a Gradient Origin Network and use it from its folder.

Every subcommand is a function of `commands.py`. Errors are one line on standard error, with exit status 2 for the
command line, 1 for anything else, and 128 + N for signal N. GON_TRACEBACK=1 in the environment
prints the traceback of an error that is not the command line's.
"""

import contextlib
import errno
import importlib
import importlib.util
import logging
import os
import sys
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import gon_jax
from gon_jax._files import one_line
from gon_jax.cli.commands import COMMANDS, train, train_suited
from gon_jax.cli.common import arg
from gon_jax.cli.completion import completion
from gon_jax.cli.overview import overview, presets
from gon_jax.cli.parsing import HELP_ALL, UsageError, close_match, parse
from gon_jax.cli.signals import Stopped, Terminated, left_while_loading, terminable
from gon_jax.cli.tables import print_json
from gon_jax.runs.config import REGISTRIES, Config
from gon_jax.runs.presets import PRESETS

__all__ = ["main"]

COMMANDS["completion"] = completion
FLAGS = {"json": Annotated[bool, arg(help="Print one JSON object; everything else goes to standard error.")]}
LIGHT = ("show", "completion")  # need no JAX
COMMON = {  # options that --help shows, of commands with many; --help-all shows the others too
    "train": "model network dataset image_size latent_shape num_steps batch_size learning_rate seed run resume "
    "overwrite minutes dry_run".split(),
    "import": "dataset image_size step_size omega_0 run overwrite".split(),
}


def main(words: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = sys.argv[1:] if words is None else words
    with _quiet(), terminable():
        return _main(words)


def _main(words):
    try:
        return _run(words)
    except SystemExit as status:  # of --help, or of a file that is imported
        if status.code is None or isinstance(status.code, int):
            return status.code or 0
        return _fail(1, status.code)
    except UsageError as error:
        return _fail(2, error)
    except Stopped as stop:
        return _fail(stop.status, stop)
    except BrokenPipeError:  # `gon ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail(130, "interrupted")
    except Terminated as signal:
        return _fail(signal.status, "terminated")
    except Exception as error:
        if os.environ.get("GON_TRACEBACK"):
            raise
        return _fail(1, _words_of(error, words[0] if words else "--help"))


def _words_of(error: Exception, command: str) -> str:
    """Return an error in one line: a message of ours as it is, any other with what is known about it."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and str(error.strerror).startswith("expected"):
        return str(error.strerror)
    if isinstance(error, MemoryError) or "Out of memory" in text or "RESOURCE_EXHAUSTED" in text:  # NumPy's, JAX's
        return f"out of memory, lower --batch-size, --base-channels or --memory ({text[:150]})"
    if isinstance(error, (ValueError, OSError, ImportError, FloatingPointError)) and text.startswith(
        ("expected", "JAX ")
    ):
        return text
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"no space is left on the disk; make room, and continue with --resume where it is a training ({text})"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.strerror}: {error.filename}; check the path and the rights"
    if not _has_devices():
        return f"expected a platform of JAX that is here, got JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')}; unset it"
    return f"gon {command} failed by {one_line(error)}; GON_TRACEBACK=1 in the environment prints where"


def _has_devices():
    import jax

    try:
        return bool(jax.devices())
    except Exception:  # JAX raises several kinds for a platform that is not there
        return False


@contextlib.contextmanager
def _quiet():
    """Silence what third parties print beside the error that they raise: logs, warnings, and the ends of their threads.

    What cannot be written to standard error, as when a pipe has lost its reader, is dropped, and work goes on.
    """

    def ignore(*_):
        pass

    def show(message, category, *_):
        if category is UserWarning:
            print(f"gon: {' '.join(str(message).split())}", file=sys.stderr)

    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]  # Orbax logs what it also raises
    levels, hooks = [logger.level for logger in loggers], (threading.excepthook, sys.unraisablehook)
    stderr = sys.stderr
    try:
        sys.stderr = _Tolerant(stderr)
        with warnings.catch_warnings():
            if not os.environ.get("GON_TRACEBACK"):
                for logger in loggers:
                    logger.setLevel(logging.CRITICAL + 1)
                threading.excepthook = sys.unraisablehook = ignore
                warnings.showwarning = show
            yield
    finally:
        sys.stderr = stderr
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        threading.excepthook, sys.unraisablehook = hooks


class _Tolerant:
    """A stream that drops what it cannot write."""

    def __init__(self, stream):
        self._stream = stream

    def write(self, text):
        with contextlib.suppress(OSError, AttributeError, ValueError):  # closed, or never open
            self._stream.write(text)
        return len(text)

    def flush(self):
        with contextlib.suppress(OSError, AttributeError, ValueError):
            self._stream.flush()

    def __getattr__(self, name):
        return getattr(self._stream, name)


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", HELP_ALL):
        print(overview())
        if HELP_ALL in words:
            print(f"\n{presets()}")
        return 0
    if words[0] == "--version":
        print(f"gon_jax {gon_jax.__version__}")
        return 0
    name, *rest = words
    if name == "--import":
        if not rest:
            raise UsageError("expected a file or a module after --import, got nothing")
        _import(rest[0])
        return _run(rest[1:])
    if name not in COMMANDS:
        raise UsageError(f"{close_match(name, COMMANDS)} (see gon --help)")
    if name == "train":
        call = _train_call(rest)
    else:
        call = parse(COMMANDS[name], f"gon {name}", rest, flags=FLAGS, common=COMMON.get(name))
    if name not in LIGHT:
        with left_while_loading():
            importlib.import_module("gon_jax.runs.trainer")  # and with it what commands need
    if not call.keywords.pop("json"):
        call()
        return 0
    with contextlib.redirect_stdout(sys.stderr):
        values = call()
    print_json({"command": name} | values)
    return 0


def _train_call(words: list[str]) -> partial[dict[str, Any]]:
    """Return the call of a command line after `gon train`."""
    if not words:
        raise UsageError("expected a preset or --dataset, got neither (see gon --help)")
    prog, config, run = "gon train [PRESET]", Config(), None
    if not words[0].startswith("-"):
        preset, *words = words
        if preset not in PRESETS:
            raise UsageError(f"preset: {close_match(preset, PRESETS)}")
        prog, config, run = f"gon train {preset}", PRESETS[preset], Path("runs") / preset
    chosen = _chosen(words)
    config = config.replace(**chosen)  # whose options, and no others, are then parsed
    names = {kind: getattr(config, kind).name for kind in REGISTRIES}
    choices = {kind: Literal[tuple(registry)] for kind, registry in REGISTRIES.items()}
    common = [*COMMON["train"], *(name for kind in chosen for name in [kind, *vars(getattr(config, kind))])]
    call = parse(train, prog, words, choices, flags=FLAGS, common=common, config=config, run=run, **names)
    if run is not None:  # a preset has all options
        return call
    given = {word.partition("=")[0].removeprefix("--").replace("-", "_") for word in words if word.startswith("--")}
    return partial(train_suited, given, **call.keywords)


def _import(name: str) -> None:
    """Import a Python file, or a module by name, which registers models, likelihoods or datasets of one's own."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, name) if name.endswith(".py") else None
    if name.endswith(".py") and (spec is None or spec.loader is None or not Path(name).is_file()):
        raise UsageError(f"expected a Python file or a module after --import, got {name}; check the path")
    try:
        if spec is None or spec.loader is None:
            importlib.import_module(name)
        else:
            module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code raises
        if os.environ.get("GON_TRACEBACK"):
            raise
        raise UsageError(
            f"expected {name} to be imported without an error, got {type(error).__name__}: {error}; GON_TRACEBACK=1 in "
            "the environment prints where"
        ) from error


def _chosen(words: list[str]) -> dict[str, str]:
    """Return the model, network and likelihood that a command line names."""
    chosen = {}
    for word, following in zip(words, [*words[1:], ""], strict=False):
        option, equals, value = word.partition("=")
        kind, value = option.removeprefix("--"), value if equals else following
        if option.startswith("--") and kind in REGISTRIES:
            if value not in REGISTRIES[kind]:
                raise UsageError(f"{option}: {close_match(value, REGISTRIES[kind])}")
            chosen[kind] = value
    return chosen


def _fail(status: int, message) -> int:
    """Print a message as one line on standard error; return the exit status."""
    print(f"gon: {' '.join(str(message).split())}", file=sys.stderr)
    return status
