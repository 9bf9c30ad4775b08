"""A process for each side, asked in JSON lines over its pipes: whoever isn't asked waits, and takes no core."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

ROOT = pathlib.Path(__file__).parents[1]


def _busy_seconds() -> float:
    """Return the seconds that the machine's cores have worked since it started, as Linux counts them."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def timed(function, *arguments) -> tuple[float, float]:
    """Call a function; return the seconds it took, and how many cores other processes kept busy meanwhile.

    A second process on the same cores can make an OpenMP program ten times slower and leave another almost as it was,
    so a time is worth little without the second number; it is 0 where there is no /proc/stat.
    """
    linux = os.path.exists("/proc/stat")
    busy, own, start = _busy_seconds() if linux else 0.0, time.process_time(), time.perf_counter()
    function(*arguments)
    seconds = time.perf_counter() - start
    others = _busy_seconds() - busy - (time.process_time() - own) if linux else 0.0
    return seconds, max(0.0, others / seconds)


class Worker:
    """A process of `python -m <module> --worker <JSON>` with empty compilation caches; a context that ends it.

    Args:
        module, arguments: the command.
        device: "cpu" or "gpu".
        root: the checkout whose code it runs.
        environment: variables to set.
    """

    def __init__(
        self,
        module: str,
        arguments,
        device: str,
        *,
        root: pathlib.Path = ROOT,
        environment: dict[str, str] | None = None,
    ):
        self.cache = tempfile.TemporaryDirectory()
        self.what = f"{module} {json.dumps(arguments)}"
        variables = os.environ | {
            "PYTHONPATH": str(root),
            "JAX_PLATFORMS": "cuda" if device == "gpu" else "cpu",
            "JAX_ENABLE_COMPILATION_CACHE": "false",
            "TORCHINDUCTOR_CACHE_DIR": self.cache.name,
            "TRITON_CACHE_DIR": self.cache.name,
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several sides share a GPU
        }
        variables |= environment or {}
        command = [sys.executable, "-m", module, "--worker", json.dumps(arguments)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(command, cwd=root, env=variables, text=True, **pipes)

    def ask(self, request: str, **arguments):
        """Send a request and wait for its answer.

        Raises:
            RuntimeError: if the process ended instead.
        """
        try:
            self.process.stdin.write(json.dumps([request, arguments]) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(
                f"expected an answer to {request!r} from {self.what}, got the end of the process with status "
                f"{self.process.wait()}; its own error is above"
            )
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.cache.cleanup()


def serve(requests: dict[str, Callable]) -> None:
    """Answer requests from stdin until it ends; whatever else is printed goes to stderr."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            request, arguments = json.loads(line)
            print(json.dumps(requests[request](**arguments)), file=answers, flush=True)
