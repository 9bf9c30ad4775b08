"""The benchmark of quality goes on where it stopped, and its table says how many seeds a number is of."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import quality, quality_record, quality_table, report
from gon_jax.data import Dataset, Split
from gon_jax.runs import Config

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
MADE_BY = {"commit": "1a2b3c4d5e", "date": "2026-01-02T03:04:05", "command": "python -m x", "versions": {}}
MADE_BY |= {"hardware": {"processor": "P", "cores": 2, "affinity": 1}}


def make_record(folder, side="jax", seed=3, **protocol):
    args = quality_record.parse("", ["--dataset", "mnist", "--results", str(folder), "--runs", str(folder / "runs")])
    return quality_record.Record(side, seed, args, {"what": "test"} | protocol)


def read(record):
    return json.loads((record.results / f"{record.name}.json").read_text())


def without_seconds(curve):
    return [{name: value for name, value in point.items() if name != "seconds"} for point in curve]


def after(calls):
    """Return a `should_stop` that says so from this call on."""
    counts = iter(range(1000))
    return lambda: next(counts) >= calls


def train_jax(record, epochs, should_stop):
    config = Config().replace(latent_shape=(3,), base_channels=4, batch_size=8, image_size=8)
    quality.train(config, Dataset("noise", Split(IMAGES), None, Split(IMAGES[:12])), record, epochs, should_stop)


def train_torch(record, epochs, should_stop):
    torch = pytest.importorskip("torch")
    from benchmarks import quality_torch

    images = torch.from_numpy(np.random.default_rng(0).random((130, 1, 32, 32), np.float32))
    quality_torch.train(images, images[:70], record, epochs, should_stop)


# `fit` asks before the first step and after each report, of which there is one per epoch; torch's side before each.
@pytest.mark.parametrize(
    ("train", "calls"), [pytest.param(train_jax, 2, marks=pytest.mark.slow), (train_torch, 1)], ids=["jax", "torch"]
)
def test_a_stopped_run_goes_on_to_the_same_result(tmp_path, train, calls):
    whole = make_record(tmp_path / "whole")
    train(whole, 3, lambda: False)
    assert [point["epoch"] for point in whole.curve] == [1, 2, 3] and len(read(whole)["pieces"]) == 1
    assert read(whole)["curve"] == whole.curve and read(whole)["seed"] == 3

    first = make_record(tmp_path / "pieces")
    train(first, 3, after(calls))
    assert [point["epoch"] for point in read(first)["curve"]] == list(range(1, len(first.curve) + 1))
    assert 1 <= len(first.curve) < 3
    second = make_record(tmp_path / "pieces")
    train(second, 3, lambda: False)
    assert without_seconds(read(second)["curve"]) == without_seconds(whole.curve)
    assert [piece["after_epoch"] for piece in read(second)["pieces"]] == [0, len(first.curve)]
    seconds = [point["seconds"] for point in second.curve]
    assert seconds == sorted(seconds) and seconds[0] > 0

    third = make_record(tmp_path / "pieces")
    train(third, 3, lambda: False)  # nothing is left to do
    assert third.curve == second.curve and len(read(third)["pieces"]) == 2
    fourth = make_record(tmp_path / "pieces")
    train(fourth, 4, lambda: False)  # more epochs than were asked for before
    assert without_seconds(fourth.curve)[:3] == without_seconds(whole.curve) and len(fourth.curve) == 4


def test_a_run_does_not_go_on_at_another_commit_or_with_another_protocol(tmp_path, monkeypatch):
    kept = make_record(tmp_path).kept()
    with pytest.raises(ValueError, match="expected the protocol.*got.*remove .*quality_mnist_jax_seed3"):
        make_record(tmp_path, batch_size=128).go_on(kept)
    with pytest.raises(ValueError, match="expected the protocol"):
        make_record(tmp_path, seed=4).go_on(kept)
    monkeypatch.setattr(report, "provenance", lambda: MADE_BY)
    with pytest.raises(ValueError, match="expected commit .*, with which quality_mnist_jax_seed3 was begun"):
        make_record(tmp_path).go_on(kept)


def test_a_deadline():
    assert not quality_record.Deadline(None)() and not quality_record.Deadline(1.0)()
    assert quality_record.Deadline(0.0)()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone")
def test_a_process_takes_one_core():
    core = max(os.sched_getaffinity(0))
    program = f"""if True:
        import os
        from benchmarks import quality
        quality.parse("", "--dataset mnist --core {core}".split())
        import jax.numpy as jnp
        jnp.ones((2000, 2000)).dot(jnp.ones((2000, 2000))).block_until_ready()
        threads = [f"/proc/self/task/{{thread}}/status" for thread in os.listdir("/proc/self/task")]
        working = [open(path).read() for path in threads]
        names = [text.split()[1] for text in working if "Cpus_allowed_list:\\t{core}\\n" in text]
        assert any("XLA" in name.upper() or "eigen" in name for name in names), names
        print(len(os.sched_getaffinity(0)))
    """
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.stdout == "1\n", run.stderr


def test_table_of_runs_that_got_differently_far(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(
        quality_table, "PUBLISHED", {"mnist": {1: 3.61, 10: 0.708, 500: 0.2}, "fashion_mnist": {1: 4.69}}
    )

    def write(side, seed, factor, epochs, **changes):
        keys = ("test_squared_error", *(["test_squared_error_running"] if side == "jax" else []))
        curve = [{"epoch": e} | dict.fromkeys(keys, factor / e) for e in range(1, epochs + 1)]
        report.write(f"quality_mnist_{side}_seed{seed}", {"seed": seed, "curve": curve}, MADE_BY | changes)

    write("jax", 0, 4.0, 50)
    write("jax", 1, 6.0, 20)
    write("torch", 0, 8.0, 5, commit="other")
    text = quality_table.table()
    head, *_ = text.splitlines()
    assert head == "|  | seeds | epoch 1 | epoch 2 | epoch 5 | epoch 10 | epoch 20 | epoch 50 |"
    cells = "5 (4 to 6) | 2.5 (2 to 3) | 1 (0.8 to 1.2) | 0.5 (0.4 to 0.6) | 0.25 (0.2 to 0.3) | 0.08, 1 of 2 seeds |"
    assert f"| MNIST, gon_jax | 2 | {cells}" in text
    assert "| MNIST, the authors' algorithm in PyTorch | 1 | 8 | 4 | 1.6 |  |  |  |" in text
    assert "| MNIST, published logs | 1 | 3.61 |  |  | 0.708 |  |  |" in text
    assert "Fashion-MNIST, gon_jax" not in text
    assert "Not of one commit and machine:" in text and "commit other, 1 of 2 cores of P" in text
    assert [len(errors) for errors in quality_table.curves("mnist", "jax")] == [2] * 20 + [1] * 30
    assert quality_table.draw().read_bytes().startswith(b"\x89PNG")
