"""Training on several devices: the numbers of one, whatever the model, and no gather of a batch."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gon_jax.decoders import conv_decoder
from gon_jax.models import gon
from gon_jax.training import fit
from gon_jax.training.devices import placement_of

PROGRAM = """
import json, re, sys, jax, numpy as np
from functools import partial
from gon_jax.coordinates import grid
from gon_jax.data import epoch_order
from gon_jax.data.sources import View
from gon_jax.decoders import conv_decoder, siren_decoder
from gon_jax.models import autoencoder, glo, gon, gon_classifier, multi_step_gon, vgon
from gon_jax.decoders import conv_encoder
from gon_jax.training import fit, init_state, make_optimizer, train_steps
from gon_jax.training.devices import place, placement_of
from gon_jax.training.step import order_key

x = np.random.default_rng(0).integers(0, 256, (48, 8, 8, 1), np.uint8)
y = (np.arange(48) % 4).astype(np.int32)
conv = conv_decoder((8, 8, 1), (3,), base_channels=2)
models = {
    "gon": lambda: gon(conv),
    "group": lambda: gon(conv_decoder((8, 8, 1), (3,), base_channels=8, norm="group")),
    "siren": lambda: gon(siren_decoder(grid(8, 8), 3, hidden_dim=8), num_points=16),
    "vgon": lambda: vgon(conv, inner_noise="none"),
    "noise for each": lambda: vgon(conv),
    "classifier": lambda: gon_classifier(conv, 4),
    "multi-step": lambda: multi_step_gon(conv, num_steps=2),
    "glo": lambda: glo(conv),
}

def batches(data):  # those of training on the data themselves, by anybody's iterator
    key = order_key(init_state(gon(conv), make_optimizer(), jax.random.key(0)).key)
    for epoch in range(2):
        for index in np.asarray(epoch_order(key, epoch, 48, 16)):
            yield {k: v[index] for k, v in data.items()} if isinstance(data, dict) else data[index]

result = {}
quick, names = sys.argv[1] == "quick", sys.argv[2:]
for name in names:
    ways = ["one", "all"]
    if not quick and name in ("gon", "classifier", "glo"):  # arrays, dicts of arrays, latents of examples
        ways += ["streamed", "batches"]
    data = {"x": x, "y": y} if name == "classifier" else x
    for way in ways:
        devices = jax.devices()[:1] if way == "one" else None
        views = {k: View(v) for k, v in data.items()} if isinstance(data, dict) else View(data)
        given = batches(data) if way == "batches" else views if way == "streamed" else data
        if name == "glo" and way == "batches":  # refused: a latent of which example?
            given = data
        r = fit(models[name](), given, 6, jax.random.key(0), batch_size=16,
                devices=devices, progress=False, report_every=2, validation=data, validate_every=3)
        first = jax.tree.leaves(r.state.params)[0]
        result[f"{name} {way}"] = [row["loss"] for row in r.history], len(first.sharding.device_set)
if not quick:
    print(json.dumps(result))
    sys.exit()
try:
    fit(gon(conv), x, 2, jax.random.key(0), batch_size=18, progress=False)
except ValueError as error:
    result["refused"] = str(error)
placement, model = placement_of(16), gon(conv_decoder((8, 8, 1), (8,), base_channels=2))
state = place(init_state(model, make_optimizer(), jax.random.key(0)), placement.whole)
options = {"batch_size": 16, "num_losses": 2, "sharding": placement.batch}
steps = jax.jit(partial(train_steps, model, make_optimizer(), **options), out_shardings=placement.whole)
with jax.set_mesh(placement.mesh):  # as fit does: the tangents of the Jacobian are shared, and it is gathered
    spread = steps.lower(state, place({"x": x}, placement.whole), np.int32(2)).compile()
text = spread.as_text()
result["all-reduce"] = len(re.findall(r" all-reduce(-start)?[(]", text))
result["all-gather"] = re.findall(r"= (\\S+) all-gather(?:-start)?[(]", text)
alone = jax.jit(partial(train_steps, model, make_optimizer(), batch_size=16, num_losses=2))
alone = alone.lower(jax.device_get(state), {"x": x}, np.int32(2)).compile()
flops = [compiled.cost_analysis()["flops"] for compiled in (spread, alone)]
result["share of flops"] = flops[0] / flops[1]
print(json.dumps(result))
"""
MODELS = ["gon", "vgon", "siren", "glo", "group", "noise for each", "classifier", "multi-step"]
WAYS = {"gon": 4, "classifier": 4, "glo": 4}


def run_on_four_devices(*words):
    env = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    env = os.environ | env | {"PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, env=env, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def check_losses(result, name, num_ways):
    ways = {key.removeprefix(f"{name} "): each for key, each in result.items() if key.startswith(f"{name} ")}
    one, num = ways.pop("one")
    assert num == 1 and np.isfinite(one).all() and len(ways) == num_ways - 1
    for way, (losses, num) in ways.items():
        assert num == 4
        np.testing.assert_allclose(losses, one, rtol=2e-5, err_msg=f"{name} {way}")


@pytest.mark.slow
def test_four_devices_train_as_one_and_share_the_work():
    result = run_on_four_devices("quick", "gon")
    assert result.pop("refused").startswith("expected a batch size that 4 devices can share, got 18: take 16 or 20")
    assert result.pop("all-reduce") > 0
    gathered, share = result.pop("all-gather"), result.pop("share of flops")
    assert all(shape.startswith("f32[64,8]") for shape in gathered), gathered  # a Jacobian, and no batch of 16
    assert len(gathered) == 1 and 0.25 < share < 0.36, share  # 0.25: all is shared by four; without the mesh, 0.446
    check_losses(result, "gon", 2)


@pytest.mark.slow
def test_every_model_trains_on_four_devices_as_on_one():
    result = run_on_four_devices("whole", *MODELS)
    for name in MODELS:
        check_losses(result, name, WAYS.get(name, 2))


def test_one_device_by_name_is_the_only_one():
    x = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), np.uint8)
    results = [
        fit(gon(conv_decoder((8, 8, 1), (3,), base_channels=2)), x, 2, jax.random.key(0), batch_size=8, devices=devices)
        for devices in (None, jax.devices()[:1])
    ]
    assert [r.history for r in results][0] == results[1].history
    assert placement_of(7) is None
    with pytest.raises(ValueError, match="0 devices can share"):
        placement_of(7, [])


@pytest.mark.slow
def test_the_script_of_the_page_under_slurm(tmp_path):
    """Two processes, with the variables that SLURM sets; both end in the parameters of one process."""
    text = (Path(__file__).parents[1] / "docs" / "scaling.md").read_text()
    script = re.search(r'```python\n(""".*?)```', text, flags=re.S)[1].replace("2000", "4")
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (64, 8, 8, 1), np.uint8))
    (tmp_path / "train.py").write_text(script)
    (tmp_path / "alone.py").write_text(script.replace("jax.distributed.initialize()", ""))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_COORDINATOR_PORT": port}
    env |= {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "JAX_PLATFORMS": "cpu"}
    env |= {"JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo"}
    env |= {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_NODES": "1"}

    def start(name, process):
        own = env | {"SLURM_PROCID": str(process), "SLURM_LOCALID": str(process)}
        return subprocess.Popen([sys.executable, name], cwd=tmp_path, env=own, stderr=subprocess.PIPE, text=True)

    def params_of(processes):
        errors = [process.communicate(timeout=300)[1] for process in processes]
        assert not any(process.returncode for process in processes), errors
        with np.load(tmp_path / "params.npz") as file:
            return list(file.values())

    alone, together = (params_of(p) for p in ([start("alone.py", 0)], [start("train.py", i) for i in (0, 1)]))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_the_command_uses_all_devices_of_its_process(tmp_path):
    words = "train --dataset digits --image-size 8 --latent-shape 3 --base-channels 2 --num-steps 4 --batch-size 16"
    losses = []
    for n in (1, 2):
        env = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={n}", "JAX_PLATFORMS": "cpu"}
        env |= {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
        command = [sys.executable, "-m", "gon_jax", *words.split(), "--run", f"run{n}"]
        subprocess.run(command, cwd=tmp_path, env=env, check=True, capture_output=True)
        losses.append(json.loads((tmp_path / f"run{n}" / "summary.json").read_text())["test.squared_error"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4) and losses[0] != losses[1]  # summed in another order
