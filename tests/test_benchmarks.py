"""The benchmarks measure what they say: sides agree before they are timed, costs are counted right, tables hold."""

import json
import os
import time

import jax
import numpy as np
import pytest

from benchmarks import cases, elbo_table, jax_sides, monte_carlo, report, step_time, step_time_table, time_to_quality
from benchmarks.cases import CASES
from benchmarks.workers import Worker, timed
from gon_jax.base import Variables
from gon_jax.data import Dataset, Split
from gon_jax.linearization import strategy_costs

CONV, SIREN, VGON = CASES["smoke-conv"], CASES["smoke-siren"], CASES["smoke-vgon"]


def test_a_small_case_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compile fast
    command = "--cases smoke-conv --sides jax-definition jax-fast --rounds 1 --seconds 0.01 --results"
    step_time.main([*command.split(), str(tmp_path)])
    result = json.loads((tmp_path / "step_time_smoke-conv_cpu.json").read_text())
    assert {"command", "commit", "versions", "hardware", "gemm_flops_per_second"} <= set(result)
    sides = result["cases"]["smoke-conv"]["sides"]
    assert [side["form"] for side in sides.values()] == ["definition", "jacobian"]
    for side in sides.values():
        assert side["difference"] < 1e-5 and side["peak_bytes"] > 0 and side["seconds_compile"] > 0
        assert side["min_ms"] == side["median_ms"] == side["max_ms"] == side["rounds_ms"][0] > 0
        assert 0.5 < side["xla_flops"] / side["flops"] < 5  # normalization and Adam outweigh products this small
    assert "gon_jax, by definition" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [[2.0, 1.1], [float("nan"), 1.0]])
def test_disagreement_is_refused_before_timing(monkeypatch, wrong):
    class Fake:
        def __init__(self, module, arguments, device):
            self.values = [2.0, 1.0] if arguments[1] == "torch-eager" else wrong

        def ask(self, request):
            assert request == "prepare", "timed"
            return {"values": self.values}

        __enter__, __exit__ = lambda self: self, lambda *_: None

    monkeypatch.setattr(step_time, "Worker", Fake)
    with pytest.raises(ValueError, match="expected the sides of smoke-conv to agree to 0.001.*from jax-fast"):
        step_time.measure("train", CONV, ("torch-eager", "jax-fast"), 1, 0.01, "cpu")


def test_a_worker_that_ends_says_so():
    with Worker("benchmarks.none", [], "cpu") as worker:
        with pytest.raises(RuntimeError, match="expected an answer to 'prepare' from benchmarks.none.*status 1"):
            worker.ask("prepare")


@pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.name)
def test_weights_are_our_parameters(case):
    shapes = jax.eval_shape(jax_sides.make_model(case).init, jax.random.key(0)).params
    params = cases.flax_params(case, cases.weights(case))
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, shapes)


def test_costs():
    conv = CASES["conv"]
    by_hand = 32 * 64 * 16 + 16 * (16 * 64 * 32 + 64 * 32 * 16 + 256 * 16 * 1)  # multiply-adds of the four layers
    assert cases.decoder_flops(conv) == 2 * by_hand
    assert cases.decoder_flops(CASES["implicit"]) == 2 * 784 * (34 * 256 + 3 * 256**2 + 256)
    for case, channels in ((conv, None), (CASES["implicit"], 1)):
        costs = strategy_costs(case.batch_size, case.latent_size, num_channels=channels)
        for form, passes in costs.items():
            products = 0 if form in ("definition", "pullback") else 6 * case.latent_size * case.pixels
            assert cases.step_flops(case, form) == case.batch_size * (passes * cases.decoder_flops(case) + products)


def made_up_result():
    side = {"rounds_ms": [10.0, 12.34, 11.0], "median_ms": 11.0, "min_ms": 10.0, "max_ms": 12.34, "flops": 1.5e9}
    side |= {"examples_per_second": 5818.0, "seconds_compile": 21.5, "peak_bytes": 2.2e7}
    side |= {"gemm_flops_per_second": 2.0e11}
    sides = ("torch-eager", "jax-definition", "jax-fast")
    measured = {"case": cases.CONV._asdict(), "sides": {name: dict(side) for name in sides}}
    result = {"cases": {"conv": measured}, "growth": {"batch_size": ["conv"], "image_size": ["conv"]}}
    step_time.add_gemm_fractions(result)
    return result


def test_time_is_told_with_what_others_did():
    seconds, others = timed(time.sleep, 0.1)
    assert 0.1 <= seconds < 1 and 0 <= others <= os.cpu_count() + 0.2


def test_tables():
    point = {"seconds": 30.0, "seconds_with_compile": 41.0}
    runs = [{"side": side, "reached": {"3.0": point}} for side in ("torch-eager", "jax-fast")]
    text = step_time_table.table(made_up_result(), made_up_result(), {"levels": [3.0, 1.5], "runs": runs})
    assert "| convolutional 32x32, latent 32, batch 64 | 11 (10 to 12.3) | 11 (10 to 12.3) | 11 (10 to 12.3) |" in text
    assert "| conv, gon_jax | 5,820 | 21.5 | 22 | 1.5 | 68% |" in text
    assert "| gon_jax | 41 (41 to 41) | 30 (30 to 30) | not reached | not reached |" in text

    readme = "before\n<!-- step time -->\n<!-- /step time -->\nafter"
    filled = report.page_with(readme, "step time", "old")
    assert filled == "before\n<!-- step time -->\nold\n<!-- /step time -->\nafter"
    assert report.page_with(filled, "step time", "new") == filled.replace("old", "new")
    with pytest.raises(ValueError, match="expected <!-- other -->"):
        report.page_with(readme, "other", "new")


def test_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    assert step_time_table.draw(made_up_result()).read_bytes().startswith(b"\x89PNG")


def test_time_to_quality_stops_at_the_last_level(monkeypatch):
    class Fake:
        def __init__(self, side, seed):
            self.made = 0

        def load(self):
            pass

        compile = load

        def advance(self, num_steps):
            self.made += num_steps

        def test_error(self):
            return 600 / self.made

    monkeypatch.setattr(time_to_quality, "JaxRun", Fake)
    run = time_to_quality.race("jax-fast", 0, [3.0, 1.5], most_steps=1000)
    assert {level: point["step"] for level, point in run["reached"].items()} == {"3.0": 200, "1.5": 400}
    assert len(run["curve"]) == 4 and time_to_quality.race("jax-fast", 0, [0.1], most_steps=300)["reached"] == {}


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")  # torch's own
@pytest.mark.parametrize("case", [CONV, SIREN], ids=lambda case: case.name)
def test_the_forms_in_torch_are_the_definition(case):
    pytest.importorskip("torch")
    from benchmarks import torch_sides

    weights, x = cases.weights(case), torch_sides.to_torch(case, cases.images(case)[0])
    eager = torch_sides.Eager(case, weights, "cpu")
    forms = ("definition", "pullback", "jacobian") if case.kind == "conv" else ("definition", "pointwise")
    for form in forms:
        side = torch_sides.Compiled(case, weights, "cpu", form)
        np.testing.assert_allclose(side.encode(x).flatten(), eager.encode(x).flatten(), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(side.errors(x), eager.errors(x), rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:FutureWarning")
def test_the_variational_sides_have_one_bound():
    pytest.importorskip("torch")
    from benchmarks import torch_sides

    weights, (batch, *_) = cases.weights(VGON), torch_sides.to_batches(VGON, "cpu")
    assert (batch[1] == batch[1][0]).all() and not (batch[2] == batch[2][0]).all()
    expected = torch_sides.Eager(VGON, weights, "cpu").errors(*batch)
    side = torch_sides.Compiled(VGON, weights, "cpu", "definition")
    np.testing.assert_allclose(side.errors(*batch), expected, rtol=1e-4)
    params = jax.tree.map(jax.numpy.asarray, cases.flax_params(VGON, weights))
    for strategy in ("definition", None):
        model, data = jax_sides.make_model(VGON, strategy), jax_sides.make_batches(VGON, strategy)
        loss, _ = model.loss(Variables(params), {name: rows[0] for name, rows in data.items()}, jax.random.key(0))
        np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    assert jax_sides.form_of(VGON, params, None) != "definition"
    assert jax_sides.form_of(VGON._replace(shared_noise=False), params, None) == "definition"
    sides = ("torch-eager", "torch-compiled", "jax-definition")
    assert step_time.admitted(CASES["vgon"], step_time.FULL_SIDES) == sides


def elbo_result(*per_seed):
    """Return a result whose bound after epoch e is that of its seed over e; averaged statistics add 1 nat."""
    curves = [
        [{"test_negative_elbo": b / e, "test_negative_elbo_running": b / e + 1} for e in range(1, 11)] for b in per_seed
    ]
    return {"runs": [{"seed": seed, "curve": curve} for seed, curve in enumerate(curves)]}


def test_tables_of_the_variational_and_the_implicit_gon():
    text = elbo_table.elbo(elbo_result(200.0, 240.0), elbo_result(300.0), elbo_result(100.0))
    assert "| gon_jax | 220 (200 to 240) | 110 (100 to 120) | 44 (40 to 48) | 22 (20 to 24) |" in text
    assert "| gon_jax, averaged statistics | 221 (201 to 241) |" in text
    assert "| the authors' algorithm in PyTorch | 300 (300 to 300) |" in text
    assert "| published logs, one seed | 240 | 219 | 191 | 173 |" in text

    def losses(*values):
        return {"num_steps": 150, "runs": [{"loss": value} for value in values]}

    text = elbo_table.implicit_loss(losses(19.0, 20.0, 24.0), losses(22.0))
    assert "| gon_jax | 21 (19 to 24) |" in text
    assert "| the authors' algorithm in PyTorch | 22 (22 to 22) |" in text
    with pytest.raises(ValueError, match="expected results of 150 steps on both sides, got 500"):
        elbo_table.implicit_loss(losses(1.0), losses(1.0) | {"num_steps": 500})

    run = {"image_size": 64, "divisor": 1, "error_per_pixel": 0.02, "ms_per_step": 40.0}
    runs = [run, run | {"error_per_pixel": 0.03}, run | {"divisor": 4, "ms_per_step": 12.0}]
    text = elbo_table.monte_carlo({"runs": runs})
    assert "| all N points | N / 4 |" in text and "| 64x64, N = 4,096 | 25, 40 | 20, 12 |" in text


def test_only_what_was_measured_enters_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    readme = "<!-- elbo -->\n<!-- /elbo -->"
    report.write("elbo_mnist_jax", elbo_result(200.0), {})
    assert elbo_table.page_with(readme) == readme
    report.write("elbo_mnist_torch", elbo_result(300.0), {})
    report.write("elbo_mnist_jax_noise_none", elbo_result(100.0), {})
    assert "| gon_jax | 200 (200 to 200) |" in elbo_table.page_with(readme)


def test_monte_carlo(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (32, 28, 28, 1)).astype(np.uint8)
    monkeypatch.setattr(monte_carlo, "load", lambda name: Dataset(name, Split(images), None, Split(images)))
    monte_carlo.main([*"--sizes 9 --divisors 3 --seeds 0 1 --steps 2 --results".split(), str(tmp_path)])
    runs = json.loads((tmp_path / "monte_carlo_cpu.json").read_text())["runs"]
    assert [run["num_points"] for run in runs] == [27, 27]
    assert all(0 < run["error_per_pixel"] < 2 and run["ms_per_step"] > 0 for run in runs)


def test_the_variational_gon_in_torch():
    torch = pytest.importorskip("torch")
    from benchmarks import elbo_torch, torch_gon

    generator = torch.Generator().manual_seed(0)
    images, noise = torch.rand(64, 1, 32, 32, generator=generator), torch.randn(2, 10, 3, generator=generator)
    first, *_, last = elbo_torch.train(images, images[:10], seed=0, epochs=4, progress=False)
    assert last["test_negative_elbo"] == last["test_nll"] + last["test_kl"] < first["test_negative_elbo"]

    network = torch_gon.Variational(3, 2, 1)
    parts = [torch_gon.bounds(network, images[s], *noise[:, s], 0.1) for s in (slice(6), slice(6, 10))]
    every = torch.cat([torch.stack(part, dim=1) for part in parts])  # images weigh alike, though batches are unequal
    evaluated = torch_gon.evaluate_variational(network, images[:10], noise, 0.1, batch_size=6)
    np.testing.assert_allclose(evaluated, every.mean(0).tolist(), rtol=1e-5)
