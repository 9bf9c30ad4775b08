"""docs/scaling.md is made from its result, and its model is close to the compiled programs."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import report, scaling
from benchmarks.tables import load

RESULT = load("scaling")
PROGRAM = """
import json, sys, jax
from benchmarks import scaling
jax.config.update("jax_num_cpu_devices", 8)
print(json.dumps({name: scaling.count(name, 8) for name in sys.argv[1:]}))
"""


def test_the_page_is_made_from_the_result():
    assert {name: list(of) for name, of in RESULT["counted"].items()} == {
        name: list(map(str, scaling.COUNTS)) for name in scaling.SETTINGS
    }
    text = scaling.PAGE.read_text()
    assert scaling.page_with(text, RESULT) == text, "run `python -m benchmarks.scaling --table`"


@pytest.mark.parametrize("name", scaling.SETTINGS)
def test_the_model_is_close_to_the_compiled_programs(name):
    setting = scaling.SETTINGS[name]
    for n, seen in RESULT["counted"][name].items():
        found = dict(seen["collectives"])
        flops = seen["flops"] / setting.flops(setting.case.batch_size, int(n))
        assert 1 <= flops < (1.25 if "batch" in name else 1.04), n
        if n == "1":
            assert not any(of["number"] for of in found.values())
            continue
        assert found.pop("all-reduce")["bytes"] == pytest.approx(setting.reduced_bytes(seen["num_parameters"]), rel=0.1)
        gathered = found.pop("all-gather")
        assert gathered["bytes"] == setting.gathered_bytes() and gathered["number"] == (setting.spread > 0)
        assert not any(of["number"] for of in found.values())


def test_collectives_are_counted_with_their_bytes():
    text = """
      %a = (f32[2,3]{1,0}, /*index=1*/s32[]) all-reduce(%b, %c), channel_id=1
      %d = bf16[4]{0} all-gather-start(%e), channel_id=2
      %f = bf16[4]{0} all-gather-done(%d)
      %g = f32[8]{0} add(%all-reduce.1, %all-reduce.2)
    """
    found = {kind: of for kind, of in scaling.collectives(text).items() if of["number"]}
    assert found == {"all-reduce": {"number": 1, "bytes": 28}, "all-gather": {"number": 1, "bytes": 8}}


def test_predictions_in_closed_form():
    t, bandwidth = scaling.SECONDS_PER_MESSAGE, scaling.BYTES_PER_SECOND
    assert scaling.all_reduce_seconds(1e6, 3, 1) == 0
    assert scaling.all_reduce_seconds(1e6, 3, 2) == pytest.approx(2 * (3 * t + 5e5 / bandwidth))  # a ring
    assert scaling.all_reduce_seconds(4, 1, 1024) == pytest.approx(20 * (t + 4 / bandwidth))  # a tree
    seen = RESULT["counted"]["autoencoder, none"]["8"]
    values = [scaling.efficiency(scaling.SETTINGS["autoencoder, none"], seen, 10**12, n) for n in (1, 8)]
    assert values == pytest.approx([1, 1], abs=1e-4)


@pytest.mark.slow
def test_what_is_compiled_is_what_was_counted():
    names = ["gon, none", "autoencoder, none"]
    env = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names], env=env, cwd=report.README.parent, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    for name, seen in json.loads(run.stdout.splitlines()[-1]).items():
        counted = RESULT["counted"][name]["8"]
        assert seen["collectives"] == counted["collectives"]
        assert seen["flops"] == pytest.approx(counted["flops"], rel=0.02)
