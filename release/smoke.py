"""Use an installed gon_jax from a folder of its own: import, help, twenty steps on digits, samples.

ENVIRONMENT/bin/python -I release/smoke.py
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

import gon_jax

PROGRAM = str(Path(sys.executable).with_name("gon"))


def gon(folder: str, *words: str) -> dict:
    """Run a command of `gon` in a folder; return its JSON."""
    done = subprocess.run([PROGRAM, *words, "--json"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main() -> None:
    """Train and sample in a folder that is removed."""
    place = Path(gon_jax.__file__).resolve()
    assert Path(sys.prefix).resolve() in place.parents, f"expected an installed gon_jax, got {place}"
    assert distribution("gon_jax").version == gon_jax.__version__
    assert (place.parent / "py.typed").is_file()
    for name in gon_jax.__all__:
        getattr(gon_jax, name)
    with tempfile.TemporaryDirectory() as folder:
        page = subprocess.run([PROGRAM], cwd=folder, capture_output=True, text=True, check=True).stdout
        assert "gon train gon-digits" in page
        small = ["--image-size", "8", "--base-channels", "4", "--num-steps", "20", "--validate-every", "20"]
        trained = gon(folder, "train", "gon-digits", *small)
        assert trained["summary"]["num_steps"] == 20 and trained["summary"]["test.squared_error"] > 0
        written = gon(folder, "sample", "runs/gon-digits", "--num", "4")["written"]
        assert written == ["runs/gon-digits/samples.png"] and (Path(folder) / written[0]).stat().st_size > 100
        run = gon_jax.load_run(Path(folder) / "runs" / "gon-digits")
        assert run.step == 20
    print(f"gon_jax {gon_jax.__version__} from {place.parent}: trained, sampled, loaded")


if __name__ == "__main__":
    main()
