"""The benchmarks measure what they say: sides agree before they are timed, costs are counted right, tables hold."""

import doctest
import importlib
import itertools
import json
import os
import pathlib
import sys
import time
from functools import partial

import jax
import numpy as np
import pytest

from benchmarks import (
    cases,
    decoder_alone,
    elbo_table,
    jax_sides,
    latency,
    layers,
    layers_table,
    loader,
    monte_carlo,
    plain_jax,
    report,
    sides,
    step_time,
    step_time_table,
    tables,
    time_to_quality,
)
from benchmarks.cases import CASES
from benchmarks.provenance import provenance
from benchmarks.workers import Worker, timed
from gon_jax.base import Variables
from gon_jax.data import Dataset, Split
from gon_jax.linearization import strategy_costs

pytestmark = [  # torch's own, whose kind depends on its version
    pytest.mark.filterwarnings(f"ignore:.torch.jit.script. is deprecated:{kind}")
    for kind in ("FutureWarning", "DeprecationWarning")
]

CONV, SIREN, VGON = CASES["smoke-conv"], CASES["smoke-siren"], CASES["smoke-vgon"]


@pytest.mark.parametrize("name", ["sides", "tables", "loader"])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"benchmarks.{name}"))
    assert result.attempted and not result.failed


@pytest.mark.slow
def test_a_small_case_from_end_to_end(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compile fast
    command = (
        "--cases smoke-conv --sides jax-definition jax-fast jax-plain jax-decoder --rounds 1 --seconds 0.01 --results"
    )
    step_time.main([*command.split(), str(tmp_path)])
    result = json.loads((tmp_path / "step_time_smoke-conv_cpu.json").read_text())
    assert {"command", "commit", "versions", "hardware"} <= set(result)
    assert {side: seen["form"] for side, seen in result["sides"].items()} == {
        "jax-plain": "definition",
        "jax-definition": "definition",
        "jax-fast": "jacobian",
        "jax-decoder": "decoder",
    }
    alone = result["sides"].pop("jax-decoder")
    assert alone["difference"] is None and result["sides"]["jax-definition"]["flops"] == 3 * alone["flops"]
    for side in result["sides"].values():
        assert side["difference"] < 1e-5 and side["peak_bytes"] > 0 and side["seconds_compile"] > 0
        assert side["min_ms"] == side["median_ms"] == side["max_ms"] == side["rounds_ms"][0] > 0
        assert 0.5 < side["xla_flops"] / side["flops"] < 20  # normalization and Adam outweigh products this small
        assert side["own_product"] == "jnp.dot" and set(side["products"]["jnp.dot"]) == {"256", "512", "1024", "2048"}
        assert min(side["products"]["jnp.dot"].values()) > 1e7
    assert "| plain JAX | " in capsys.readouterr().out


@pytest.mark.slow
def test_layers_agree_before_they_are_timed(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compile fast
    command = "--cores 1 --widths 4 2 1 --batch-size 4 --latent-size 3 --rounds 1 --seconds 0.01 --results"
    layers.main([*command.split(), str(tmp_path)])
    result = json.loads((tmp_path / "layers_cpu.json").read_text())
    assert {"command", "commit", "versions", "hardware", "cores_kept_busy_by_others"} <= set(result)
    programs = [
        *itertools.product(layers.SIDES, layers.FORMS),
        *itertools.product(layers.CONVOLUTIONS, layers.OPERATIONS),
    ]
    assert {(row["side"], row["form"]) for row in result["rows"]} == set(programs)
    assert all(row["difference"] < 1e-4 and row["rounds"][0]["cpu_ms"] > 0 for row in result["rows"])
    assert "fast form, 1 core" in layers_table.table(result)


class Fake:
    """A worker that says what it is told to; the reference's values are [2, 1]."""

    def __init__(self, answers, module, arguments, device, environment=None):
        self.side, self.environment = arguments[1], environment
        self.answer = {"values": [2.0, 1.0], "form": "definition"} | answers.get(self.side, {})

    def ask(self, request, **_):
        if request == "prepare":
            return dict(self.answer)
        assert "failed" not in self.answer and self.answer["values"] == [2.0, 1.0], "timed"
        if request == "time":
            return [0.5, 0.0]
        return {"products": {"torch.mm": {"256": 1e11}}, "peak_bytes": 1}

    __enter__, __exit__ = lambda self: self, lambda *_: None


@pytest.mark.parametrize("wrong", [[2.0, 1.1], [float("nan"), 1.0]])
def test_disagreement_is_refused_before_timing(monkeypatch, wrong):
    monkeypatch.setattr(step_time, "Worker", partial(Fake, {"jax-fast": {"values": wrong}}))
    with pytest.raises(ValueError, match="expected the sides of smoke-conv to agree to 0.001.*from jax-fast"):
        step_time.measure("train", CONV, ("torch-eager", "jax-fast"), 1, 0.01, "cpu")


def test_a_side_that_does_not_compile_is_told_and_the_others_are_timed(monkeypatch):
    failing = "torch-compiled+max-autotune"
    monkeypatch.setattr(step_time, "Worker", partial(Fake, {failing: {"failed": "InductorError: no | compiler"}}))
    result = step_time.measure("train", CONV, ("torch-eager", failing, "torch-compiled"), 2, 0.01, "cpu")
    assert result["sides"][failing]["failed"] == "InductorError: no | compiler"
    assert "rounds_ms" not in result["sides"][failing]
    assert result["sides"]["torch-compiled"]["rounds_ms"] == [500.0, 500.0]
    with pytest.raises(RuntimeError, match="expected a side of smoke-conv that can be built, got none"):
        step_time.measure("train", CONV, (failing,), 1, 0.01, "cpu")


def test_only_the_side_that_asks_for_it_keeps_memory(tmp_path):
    assert sides.environment("torch-eager+fused+allocator") == sides.KEEP_MEMORY
    assert sides.environment("torch-eager") == sides.environment("jax-fast") == {}
    program = "import json, os\ninput()\nprint(json.dumps(os.environ.get('MALLOC_MMAP_MAX_')))\n"
    (tmp_path / "answers_once.py").write_text(program)
    with Worker("answers_once", [], "cpu", root=tmp_path, environment={"MALLOC_MMAP_MAX_": "0"}) as worker:
        assert worker.ask("environment") == "0"


@pytest.mark.parametrize(
    ("side", "case", "message"),
    [
        ("jax-slow", CONV, "expected sides of torch-eager, .*, got jax-slow"),
        ("jax-frozen", CONV, "expected sides of .* for this task, got jax-frozen"),
        ("torch-eager+onednn", CONV, "options of torch-eager for smoke-conv among channels-last, fused, allocator"),
        ("torch-eager+max-autotune", CONV, "got max-autotune"),
        ("torch-compiled+fused", SIREN, "got fused"),
        ("torch-compiled+channels-last", SIREN, "got channels-last"),
        ("jax-fast+allocator", CONV, "among none, got allocator"),
    ],
)
def test_sides_that_a_case_does_not_have_are_refused(side, case, message):
    with pytest.raises(ValueError, match=message):
        sides.admitted("train", case, (side,))


@pytest.mark.parametrize("name", ["conv", "implicit", "vgon-shared"])
def test_every_published_side_is_admitted(name):
    case = CASES[name]
    assert sides.admitted("train", case, sides.TUNED[case.kind]) == sides.TUNED[case.kind]
    assert len(set(map(sides.words, sides.TUNED[case.kind]))) == len(sides.TUNED[case.kind])


@pytest.mark.slow
@pytest.mark.parametrize("case", [CONV, SIREN, VGON], ids=lambda case: case.name)
def test_plain_jax_is_ours(case):
    """The losses of many steps, and the one thing that makes it plain: the convolution of JAX."""
    few = case._replace(agreement_steps=5)
    plain, ours = (jax_sides.make("train", side, few, "cpu") for side in ("jax-plain", "jax-definition"))
    assert plain.values[0] != plain.values[-1]
    np.testing.assert_allclose(plain.values, ours.values, rtol=2e-6)
    if case.kind != "vgon":
        plain, ours = (jax_sides.make("encode", side, case, "cpu") for side in ("jax-plain", "jax-definition"))
        np.testing.assert_allclose(plain.values, ours.values, atol=1e-5 * np.abs(ours.values).max())
    _, loss = plain_jax.make_functions(case)
    batch = [rows[0] for rows in jax_sides.make_batches(case, "definition").values()]
    program = str(jax.make_jaxpr(loss)(plain_jax.make_params(case, cases.weights(case)), *batch))
    assert ("conv_general_dilated" in program) == (case.kind != "siren")
    assert "gon_jax" not in pathlib.Path(plain_jax.__file__).read_text().split('"""', 2)[2]


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


MADE_BY = {"commit": "1a2b3c4d5e", "date": "2026-01-02T03:04:05", "command": "python -m x", "versions": {"jax": "1"}}
MADE_BY |= {"hardware": {"processor": "P", "cores": 2, "affinity": 2}}


def made_up_side(median, product, **changes):
    side = {"rounds_ms": [median - 1, median, median + 1.34], "median_ms": median, "min_ms": median - 1}
    side |= {"max_ms": median + 1.34, "flops": 1.5e9, "examples_per_second": 5818.0, "seconds_compile": 21.5}
    rate = {"torch.mm": 2e11, "oneDNN": 4e11, "jnp.dot": 5e11}
    products = {product: {"256": rate[product] / 2, "2048": rate[product]}}
    return side | {"peak_bytes": 2.2e7, "own_product": product, "products": products} | changes


def made_up_result(case=cases.CONV, **changes):
    measured = {
        "torch-eager": made_up_side(20.0, "torch.mm"),
        "torch-eager+fused": made_up_side(18.0, "torch.mm"),
        "torch-compiled+max-autotune": {"failed": "InductorError: a | b"},
        "torch-compiled": made_up_side(15.0, "torch.mm"),
        "torch-compiled-shared": made_up_side(12.0, "torch.mm"),
        "torch-compiled-shared+onednn": made_up_side(10.0, "oneDNN", products={"oneDNN": {"2048": 4e11}}),
        "jax-plain": made_up_side(300.0, "jnp.dot"),
        "jax-fast": made_up_side(5.0, "jnp.dot"),
        "jax-decoder": made_up_side(2.5, "jnp.dot", flops=1e9, rounds_ms=[2.0, 2.5, 3.17]),
    }
    return MADE_BY | {"case": case._asdict(), "sides": measured} | changes


def without(result, *names):
    return result | {"sides": {side: seen for side, seen in result["sides"].items() if side not in names}}


def test_time_is_told_with_what_others_did():
    seconds, others = timed(time.sleep, 0.1)
    assert 0.1 <= seconds < 1 and 0 <= others <= os.cpu_count() + 0.2


def test_each_side_is_measured_against_its_own_peak():
    text = step_time_table.step_time_tables({"conv": made_up_result()})
    assert "| XLA, `jnp.dot` | 0.25 | 0.5 |" in text and "| PyTorch, `torch.mm` | 0.1 | 0.2 |" in text
    assert "| PyTorch, oneDNN |  | 0.4 |" in text
    assert "| GFLOP/s, share of the side's own peak |" in text
    assert "| convolutional 32x32, latent 32, batch 64 | 75, 38% | 100, 50% | 125, 62% | 5, 1% | 300, 60% |" in text
    assert "| PyTorch, the authors' algorithm | 20 (19 to 21.3) | 4 | 1.5 | 75 | 38% | 21.5 | 22 |" in text
    assert "| gon_jax | 5 (4 to 6.34) | 1 | 1.5 | 300 | 60% | 21.5 | 22 |" in text
    assert (
        "oneDNN linear layers (the fastest of PyTorch by our algebra) | 10 (9 to 11.3) | 2 | 1.5 | 150 | 38% |" in text
    )


def test_the_decoder_alone_is_what_a_step_costs_at_least():
    text = step_time_table.step_time_tables({"conv": made_up_result()})
    assert "| convolutional 32x32, latent 32, batch 64 | 2 (2 to 2) | 1.5 | 2.5 (2 to 3.17) | 80% |" in text
    assert "| the decoder alone, latents given | 2.5 (2 to 3.17) | 0.5 | 1 | 400 | 80% |" in text
    assert "alone" not in step_time_table.step_time_tables({"conv": without(made_up_result(), "jax-decoder")})
    assert "alone" not in step_time_table.readme_table({"conv": made_up_result()})


def test_the_decoder_alone_agrees_with_nobody(monkeypatch):
    class Deaf(Fake):
        def ask(self, request, **_):
            self.answer = self.answer if request == "prepare" else self.answer | {"values": [2.0, 1.0]}
            return super().ask(request)

    monkeypatch.setattr(step_time, "Worker", partial(Deaf, {"jax-decoder": {"values": [9.0, 9.0]}}))
    timed_sides = step_time.measure("train", CONV, ("jax-fast", "jax-decoder"), 1, 0.01, "cpu")["sides"]
    assert [seen["difference"] for seen in timed_sides.values()] == [0.0, None]


def test_the_decoder_alone_is_measured_beside_both_forms(monkeypatch, tmp_path, capsys):
    answers = {side: {"own_product": "torch.mm"} for side in decoder_alone.SIDES}
    monkeypatch.setattr(step_time, "Worker", partial(Fake, answers))
    decoder_alone.main(["--cases", "smoke-conv", "--rounds", "2", "--results", str(tmp_path)])
    result = json.loads((tmp_path / "decoder_alone_cpu.json").read_text())
    assert list(result["cases"]["smoke-conv"]["sides"]) == list(decoder_alone.SIDES) and "commit" in result
    assert "| convolutional 8x8, latent 3, batch 4 | 1 (1 to 1) | 1 | 250 (250 to 250) |" in capsys.readouterr().out


@pytest.mark.slow
def test_what_one_person_waits_for(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # compile fast
    latency.main(["--rounds", "1", "--seconds", "0.01", "--results", str(tmp_path)])
    result = json.loads((tmp_path / "latency_cpu.json").read_text())
    assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in result["calls_ms"].values())
    assert all(len(of["seconds"]) == len(of["cpu_seconds"]) == 2 for of in result["commands"].values())


@pytest.mark.slow
@pytest.mark.parametrize("name, definition, alone", [("conv", 1.3, 3.0), ("implicit", 1.5, 2.0)])
def test_what_a_step_costs_beside_its_definition_and_the_decoder_alone(name, definition, alone):
    """By the fastest rounds; idle 2.0 and 1.7 (convolutional), 2.9 and 1.0 (implicit): decoder_alone_cpu.json."""
    case = CASES[name]._replace(batch_size=CASES[name].batch_size if name == "conv" else 8)
    seen = step_time.measure("train", case, ("jax-definition", "jax-fast", "jax-decoder"), 7, 0.4, "cpu")["sides"]
    assert seen["jax-definition"]["min_ms"] > definition * seen["jax-fast"]["min_ms"]
    assert seen["jax-fast"]["min_ms"] < alone * seen["jax-decoder"]["min_ms"]


def test_every_tuning_has_a_row_and_the_fastest_are_marked():
    text = step_time_table.step_time_tables({"conv": made_up_result()})
    rows = [row for row in text.splitlines() if row.startswith("| PyTorch") and row.count("|") == 9]
    assert len(rows) == 6 and sum("(the fastest of PyTorch by" in row for row in rows) == 2
    assert "| PyTorch compiled (the fastest of PyTorch by the authors' algorithm) | 15 (14 to 16.3) | 3 |" in text
    assert "| PyTorch compiled, max-autotune | failed: InductorError: a / b |  |" in text


def test_tables_of_missing_sides():
    result = made_up_result()
    text = step_time_table.step_time_tables({"conv": without(result, "jax-fast", "torch-compiled")})
    assert "| plain JAX | 300 (299 to 301) |  | 1.5 | 5 | 1% |" in text  # nothing to compare with
    assert "fused Adam (the fastest of PyTorch by the authors' algorithm)" in text
    ours = without(result, *(side for side in result["sides"] if side.startswith("torch")))
    text = step_time_table.step_time_tables({"conv": ours, "conv-64px": made_up_result(CASES["conv-64px"])})
    assert "| convolutional 32x32, latent 32, batch 64 |  |  |  | 300 (299 to 301) | 5 (4 to 6.34) |" in text
    assert "torch.mm" not in step_time_table.step_time_tables({"conv": ours})
    text = step_time_table.readme_table({"conv": ours})
    assert "| of the peak of its own products, TFLOP/s | 1% of 0.5 | 60% of 0.5 |" in text


def test_the_readme_says_the_peaks_and_the_fastest_of_pytorch():
    text = step_time_table.readme_table({"conv": made_up_result()})
    names = "PyTorch, the authors' algorithm | PyTorch compiled | PyTorch compiled, our algebra, oneDNN linear layers"
    assert f"| convolutional 32x32, latent 32, batch 64 | {names} | plain JAX | gon_jax |" in text
    assert "| 20 (19 to 21.3) | 15 (14 to 16.3) | 10 (9 to 11.3) | 300 (299 to 301) | 5 (4 to 6.34) |" in text
    shares = "38% of 0.2 | 50% of 0.2 | 38% of 0.4 | 1% of 0.5 | 60% of 0.5"
    assert f"| of the peak of its own products, TFLOP/s | {shares} |" in text
    with pytest.raises(ValueError, match="expected one commit"):
        step_time_table.readme_table({"conv": made_up_result(), "implicit": made_up_result(commit="other")})


def test_tables_of_encoding_and_of_time_to_quality():
    encoding = {"conv": made_up_result(), "conv-64px": without(made_up_result(CASES["conv-64px"]), "jax-plain")}
    text = step_time_table.encoding_table(encoding)
    assert "| plain JAX | 5,820 |  |" in text and "| gon_jax | 5,820 | 5,820 |" in text
    point = {"seconds": 30.0, "seconds_with_compile": 41.0}
    later = {"seconds": 50.0, "seconds_with_compile": 71.0}

    def result(point, *sides):
        return {"levels": [3.0, 1.5], "runs": [{"side": side, "reached": {"3.0": point}} for side in sides]}

    of_seeds = {"seed0": result(point, "torch-eager", "jax-fast"), "seed1": result(later, "jax-fast")}
    text = step_time_table.time_to_quality_table(of_seeds)
    assert "| gon_jax | 56 (41 to 71) | 40 (30 to 50) | not reached | not reached | 2 |" in text
    assert "| PyTorch, the authors' algorithm | 41 (41 to 41) | 30 (30 to 30) | not reached | not reached | 1 |" in text


@pytest.mark.parametrize(
    "other",
    [
        {"commit": "9" * 10},
        {"commit": "1a2b3c4d5e-modified"},
        {"hardware": MADE_BY["hardware"] | {"processor": "Q"}},
        {"hardware": MADE_BY["hardware"] | {"affinity": 1}},
        {"versions": {"jax": "2"}},
    ],
    ids=["commit", "modified", "processor", "cores", "version"],
)
def test_a_table_of_several_commits_or_machines_is_refused_or_says_so(tmp_path, monkeypatch, other):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    found = {"a": MADE_BY, "b": MADE_BY | other}
    with pytest.raises(ValueError, match="expected one commit, machine and set of versions.*commit 1a2b3c4.*b\\)"):
        tables.sources(found)
    text = tables.sources(found, mixed=True)
    assert text.startswith("Not of one commit and machine:") and text.count("\n- commit") == 2
    assert "[a](../benchmarks/results/a.json)" in text and "[b](../benchmarks/results/b.json)" in text
    assert tables.sources({"a": MADE_BY, "b": MADE_BY}, mixed=True).count("commit") == 1

    report.write("step_time_conv_cpu", made_up_result(), {})
    report.write("step_time_implicit_cpu", made_up_result(cases.IMPLICIT, **other), {})
    marks = ("step time", "variational step time", "encoding", "time to quality", "decoder alone")
    page = "\n".join(f"<!-- {mark} -->\n<!-- /{mark} -->" for mark in marks)
    with pytest.raises(ValueError, match="expected one commit.*step_time_implicit_cpu"):
        step_time_table.page_with(page)
    report.write("step_time_implicit_cpu", made_up_result(cases.IMPLICIT), {})
    text = step_time_table.page_with(page)
    assert text.count("Not measured yet.") == 4
    assert "[step_time_implicit_cpu]" in text and "<!-- encoding -->\nNot measured yet.\n<!-- /encoding -->" in text


def test_marks_of_a_page():
    readme = "before\n<!-- step time -->\n<!-- /step time -->\nafter"
    filled = report.page_with(readme, "step time", "old")
    assert filled == "before\n<!-- step time -->\nold\n<!-- /step time -->\nafter"
    assert report.page_with(filled, "step time", "new") == filled.replace("old", "new")
    with pytest.raises(ValueError, match="expected <!-- other -->"):
        report.page_with(readme, "other", "new")


def test_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    grown = {case.name: made_up_result(case) for case in cases.GROWTH["image_size"]}
    assert step_time_table.draw(grown).read_bytes().startswith(b"\x89PNG")


def test_the_command_is_what_one_types(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--sides", "torch-eager+fused", "--note", "two words"])
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert provenance()["command"].endswith(" --sides torch-eager+fused --note 'two words'")
    monkeypatch.setenv("OMP_NUM_THREADS", "1 2")
    assert provenance()["command"].startswith("OMP_NUM_THREADS='1 2' python ")


def test_one_loader():
    images = np.arange(10, dtype=np.uint8)
    first, again, other = (list(itertools.islice(loader.batches(images, 4, seed), 5)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other) and first[0].dtype == np.float32
    epochs = [np.concatenate(first[i : i + 2]) * 255 for i in (0, 2)]  # 8 of 10 images each, no one twice
    assert all(len(set(epoch)) == 8 for epoch in epochs) and not np.array_equal(*epochs)


def small_data(monkeypatch):
    """Let `time_to_quality` train the small case on noise."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    monkeypatch.setattr(time_to_quality, "CASE", CONV)
    monkeypatch.setattr(loader, "read", lambda dataset, split: images if split == "train" else images[:10])


def test_ours_makes_the_steps_of_the_loader(monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    small_data(monkeypatch)
    run, made = time_to_quality.JaxRun("jax-fast", seed=3), []
    run.load()
    run.compile()
    step = run.step
    monkeypatch.setattr(run, "step", lambda x: (made.append(x), step(x)))
    before = run.test_error()
    run.advance(30)
    np.testing.assert_array_equal(made, list(itertools.islice(loader.batches(run.train, 4, 3), 30)))
    assert run.state.step == 30 and run.test_error() < before


def test_both_sides_of_time_to_quality_make_the_same_steps(monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("tensorflow_datasets")
    small_data(monkeypatch)
    errors = []
    for run in (time_to_quality.TorchRun("torch-eager", 3), time_to_quality.JaxRun("jax-fast", 3)):
        run.load()
        run.compile()
        run.advance(30)
        errors.append(run.test_error())
    np.testing.assert_allclose(*errors, rtol=1e-4)


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


@pytest.mark.parametrize("case", [CONV, SIREN], ids=lambda case: case.name)
def test_the_forms_in_torch_are_the_definition(case):
    pytest.importorskip("torch")
    from benchmarks import torch_sides

    weights, x = cases.weights(case), torch_sides.to_torch(case, cases.images(case)[0])
    eager = torch_sides.Eager(case, weights, "cpu")
    forms = ("definition", "pullback", "jacobian") if case.kind == "conv" else ("definition", "pointwise")
    for form in forms:
        side = torch_sides.Compiled(case, weights, "cpu", form)
        np.testing.assert_allclose(side.plain_encode(x).flatten(), eager.encode(x).flatten(), rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(side.errors(x), eager.errors(x), rtol=1e-4)


@pytest.mark.parametrize("case", [CONV, SIREN, VGON], ids=lambda case: case.name)
def test_tunings_of_torch_change_no_loss(case, monkeypatch):
    torch = pytest.importorskip("torch")
    from benchmarks import torch_sides

    monkeypatch.setattr(torch, "compile", lambda function, **_: function)  # minutes, and not ours to test
    few, tuned = case._replace(agreement_steps=3), [s for s in sides.TUNED[case.kind] if s.startswith("torch")]
    made = {side: torch_sides.make("train", side, few, "cpu") for side in tuned}
    for side in tuned:
        np.testing.assert_allclose(made[side].values, made["torch-eager"].values, rtol=1e-5, err_msg=side)
        assert made[side].own_product == ("oneDNN" if "onednn" in side else "torch.mm")
        assert made[side].own_product in made[side].products
    count = torch_sides.make_trainer("torch-compiled", case, cases.weights(case), "cpu")
    assert any(tensor is count.count for tensor in count.tensors())  # what a caller sets back after compiling


def test_products_by_onednn_are_products():
    torch = pytest.importorskip("torch")
    from benchmarks import onednn

    x, weight = torch.rand(2, 5, 3), torch.rand(4, 3)
    for bias in (None, torch.rand(4)):
        expected = torch.nn.functional.linear(x, weight, bias)
        torch.testing.assert_close(onednn.linear(x, weight, bias), expected)

    def second(linear):
        def loss(x, weight):
            z = x - torch.func.grad(lambda x: linear(x, weight).sin().sum())(x)
            return linear(z, weight).square().sum()

        return torch.func.grad(loss, argnums=(0, 1))(x, weight)

    for got, expected in zip(second(onednn.linear), second(torch.nn.functional.linear), strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("case", [CONV, SIREN], ids=lambda case: case.name)
def test_the_frozen_encoder_of_torch(case):
    pytest.importorskip("torch")
    from benchmarks import torch_sides

    weights, batches = cases.weights(case), torch_sides.to_batches(case, "cpu")
    (x,), (other,) = batches[:2]
    frozen = torch_sides.make_trainer("torch-frozen", case, weights, "cpu")
    encoded = torch_sides.Eager(case, weights, "cpu").encode(x).flatten(1)
    np.testing.assert_allclose(frozen.encode(x), encoded, atol=1e-5 * float(encoded.abs().max()))
    ours = jax_sides.make("encode", "jax-frozen", case, "cpu")
    np.testing.assert_allclose(np.ravel(ours.run(1)), frozen.encode(other).flatten(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(frozen.encode(x[:1]), frozen.encode(x)[:1], rtol=1e-5, atol=1e-7)  # of no batch


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
    few = ("torch-eager", "torch-compiled", "jax-definition")
    assert sides.admitted("train", CASES["vgon"], sides.FULL) == few


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
    assert "| the authors' algorithm in PyTorch | 300 |" in text
    assert "| published logs, one seed | 240 | 219 | 191 | 173 |" in text

    def losses(*values):
        return {"num_steps": 150, "runs": [{"loss": value} for value in values]}

    text = elbo_table.implicit_loss(losses(19.0, 20.0, 24.0), losses(22.0))
    assert "| gon_jax | 21 (19 to 24) |" in text
    assert "| the authors' algorithm in PyTorch | 22 |" in text
    with pytest.raises(ValueError, match="expected results of 150 steps on both sides, got 500"):
        elbo_table.implicit_loss(losses(1.0), losses(1.0) | {"num_steps": 500})

    run = {"image_size": 64, "divisor": 1, "error_per_pixel": 0.02, "ms_per_step": 40.0}
    runs = [run, run | {"error_per_pixel": 0.03}, run | {"divisor": 4, "ms_per_step": 12.0}]
    text = elbo_table.monte_carlo({"runs": runs})
    assert "| all N points | N / 4 |" in text and "| 64x64, N = 4,096 | 25, 40 | 20, 12 |" in text


def test_only_what_was_measured_enters_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    readme = "<!-- elbo -->\n<!-- /elbo -->"
    report.write("elbo_mnist_jax", elbo_result(200.0), MADE_BY)
    assert elbo_table.page_with(readme) == readme
    report.write("elbo_mnist_torch", elbo_result(300.0), MADE_BY)
    report.write("elbo_mnist_jax_noise_none", elbo_result(100.0), MADE_BY | {"commit": "other"})
    text = elbo_table.page_with(readme)
    assert "| gon_jax | 200 |" in text and "Not of one commit and machine:" in text and "- commit other" in text


@pytest.mark.slow
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
