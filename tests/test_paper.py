"""The paper's tables and figures: declared whole, run at the smallest scale, verdicts and document from JSON alone."""

import contextlib
import dataclasses
import json
import math
import re

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks.paper import EXPERIMENTS, Protocol, Record, Records, claims, document, experiment, latents, verdicts
from benchmarks.paper import __main__ as command
from benchmarks.paper.__main__ import main
from benchmarks.paper.errors import ERROR
from benchmarks.paper.overview import overview
from benchmarks.paper.records import stem
from benchmarks.paper.verdicts import Comparison, Finding, Term, judge, overall
from gon_jax.coordinates import grid
from gon_jax.data import DATASETS
from gon_jax.decoders import siren_decoder
from gon_jax.models import gon_classifier

PAPER = "table1 table2 fig2a fig2b fig2c fig3a fig3b fig3c fig4a fig4b fig4c fig4d fig4e fig5 fig6a fig6b fig6c fig6d"
PAPER += " fig6e fig7a fig7b fig7c fig7d fig7e fig8 fig9a fig9b fig10a fig10b fig10c fig11a fig11b fig12 fig13 fig14"
PAPER += " fig15a fig15b fig15c fig15d fig15e fig16a fig16b fig16c fig17"
CONTROLS = "control_steps control_sizes control_grid control_noise control_encoding"
DRAWN_ALIKE = ("fig3b", "fig3c", "fig10b", "fig10c", "fig16b", "fig16c")  # panels whose first is run
SMOKE = [n for n in (f"{PAPER} {CONTROLS}").split() if n not in DRAWN_ALIKE and not n.endswith(("b", "c", "d", "e"))]
SMOKE += ["fig2b", "fig2c", "fig11b"]


def records_of(**numbers):
    """Records of Table 1's runs on COIL-20 at 500 epochs: label to the error of each seed."""
    configs = EXPERIMENTS["table1"].arms(EXPERIMENTS["table1"].protocol("coil20"))
    return [
        record(configs[label.replace("_", " ")].replace(seed=seed), {ERROR: error, "num_parameters": 1})
        for label, errors in numbers.items()
        for seed, error in enumerate(errors)
    ]


def record(config, metrics):
    """A record with these metrics, and those that every one has."""
    every = {"num_train": 1080, "num_test": 240, "num_steps": config.training.num_steps, "seconds_training": 80.0}
    made_by = {"commit": "c" * 40, "date": "2026-11-27", "hardware": {"processor": "any"}, "command": "c"}
    return Record(config, made_by, every | {"latent_size": 256, "pca.squared_error": 2.0} | metrics, {})


def written(folder, found):
    """The records of a folder, after these were written there."""
    records = Records(folder)
    for each in found:
        records.add(each)
    return Records(folder)


# -- declarations ----------------------------------------------------------------------------------------------------


def test_every_table_and_figure_of_the_paper_is_declared():
    assert list(EXPERIMENTS) == PAPER.split() + CONTROLS.split()
    for each in EXPERIMENTS.values():
        assert set(each.datasets) <= set(DATASETS)
        assert (each.epochs is None) != (each.steps is None)
        for dataset in each.datasets:
            protocol = each.protocol(dataset)
            configs = each.arms(protocol)  # Config refuses what doesn't go together
            assert {config.data.dataset for config in configs.values()} == {dataset}
            assert max(config.training.num_steps for config in configs.values()) == protocol.num_steps
            if each.paper:
                assert set(each.paper[dataset]) == set(configs)


@pytest.mark.parametrize(
    ("name", "dataset", "horizon"),
    [
        ("table1", "cifar10", "500 epochs"),
        ("table2", "mnist", "1,000 epochs"),
        ("table2", "celeb_a", "150 epochs"),
        ("fig2a", "cifar10", "500 epochs"),
        ("fig2b", "cifar10", "60 epochs"),
        ("fig3c", "cifar10", "20 epochs"),
        ("fig8", "mnist", "6,000 steps"),
        ("fig10b", "cifar10", "60 epochs"),
        ("fig11a", "cifar10", "60 epochs"),
        ("fig13", "mnist", "800 steps"),
        ("fig16a", "mnist", "500 epochs"),
    ],
)
def test_lengths_are_the_papers(name, dataset, horizon):
    assert EXPERIMENTS[name].protocol(dataset).horizon == horizon


def test_arms_are_the_papers():
    def labels(name):
        return list(EXPERIMENTS[name].arms(EXPERIMENTS[name].protocol(EXPERIMENTS[name].datasets[0])))

    assert len(labels("table1")) == 7
    assert labels("fig2a") == ["GON 1x1", "AE 1x1", "GON 2x2", "AE 2x2", "GON 4x4", "AE 4x4"]
    assert labels("fig2b") == ["GON", "2 steps", "8 steps", "1 step detached", "10 steps detached", "25 steps detached"]
    for panel, num_latents in (("a", 512), ("b", 128), ("c", 32)):
        configs = EXPERIMENTS[f"fig3{panel}"].arms(EXPERIMENTS[f"fig3{panel}"].protocol("cifar10"))
        assert {config.latent_shape for config in configs.values()} == {(num_latents,)}
        names = ["sin", "relu", "leaky_relu", "tanh", "elu", "softplus", "silu"]
        assert [config.network.activation for config in configs.values()] == names
    assert labels("fig8") == ["300 steps", "1000 steps", "3000 steps", "6000 steps"]
    assert labels("fig10b") == [f"{m} f = {f}" for f in (16, 64, 128) for m in ("GON", "AE")]
    assert labels("fig10c") == [f"{m} k = {k}" for k in (512, 128) for m in ("GON", "AE")]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *zip(("fig4a", "fig4b", "fig4c", "fig4d", "fig4e"), ("4,385", "297k", "270k", "270k", "396k"), strict=True),
        *zip(("fig15a", "fig15b", "fig15c", "fig15d", "fig15e"), ("4,385", "70k", "270k", "270k", "270k"), strict=True),
        ("fig8", "74,321"),
    ],
)
def test_numbers_of_parameters_are_the_papers(name, count):
    each = EXPERIMENTS[name]
    config = next(iter(each.arms(each.protocol(each.datasets[0])).values()))
    channels = 3 if each.datasets[0] == "cifar10" else 1
    size = config.data.image_size or 28
    params = jax.eval_shape(config.build((size, size, channels)).init, jax.random.key(0)).params
    number = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == (f"{number / 1000:.0f}k" if count.endswith("k") else f"{number:,}")


def test_methods_of_table_1_differ_in_the_method_alone():
    configs = EXPERIMENTS["table1"].arms(Protocol("mnist", epochs=3))
    for config in configs.values():
        assert dataclasses.replace(config, model=configs["GON"].model) == configs["GON"]


def test_epochs_follow_the_images_that_are_there():
    assert Protocol("cifar10", epochs=500).num_steps == 500 * ((50_000 - 500) // 64)
    assert Protocol("cifar10", epochs=500, num_images=10_000).num_steps == 500 * ((10_000 - 500) // 64)
    assert Protocol("coil20", epochs=500).num_steps == 500 * ((1_200 - 120) // 64)


# -- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SMOKE)
def test_smoke_run(name, tmp_path_factory, capsys, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "reproduction"  # shared: experiments share runs
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    assert main([name, "--smoke"]) == 0
    assert name in capsys.readouterr().out
    results, each = folder / "runs" / "paper" / "results", EXPERIMENTS[name]
    protocol = each.protocol("digits", smoke=True)
    arms = experiment.arms_of(each, protocol, Records(results / "runs"))
    assert list(arms) == list(each.arms(protocol))
    rows = experiment.table(each, "digits", arms)
    assert all(cell for row in rows[1:] if row[1] and row[0] != "GLO" for cell in row)  # nothing is missing
    for seeds in arms.values():
        assert {"command", "commit", "date", "versions", "hardware"} <= set(seeds[0].record.made_by)
    with Image.open(experiment.path_of(each, protocol, results)) as picture:
        assert np.asarray(picture).std() > 5
    # At once the second time: every run is found finished.
    assert main([name, "--smoke"]) == 0


@pytest.mark.slow
def test_a_run_has_one_record_that_other_experiments_find(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["fig2c", "--smoke", "--arms", "GON"]) == 0
    results = tmp_path / "runs" / "paper" / "results"
    (path,) = results.glob("runs/*.json")
    saved = json.loads(path.read_text())
    assert saved["curves"]["validation.squared_error"][0] == saved["curves"]["loss"][0] == [4, 8]
    assert saved["measured"]["generalization"]["gap"] == pytest.approx(
        saved["metrics"][ERROR] / saved["measured"]["generalization"]["train.squared_error_batch"] - 1
    )
    assert path.stem == stem(
        Records(results / "runs").find(EXPERIMENTS["fig2c"].arms(Protocol("", smoke=True))["GON"]).config
    )
    # On another machine the record is enough: nothing is trained.
    monkeypatch.setattr(experiment, "train", None)
    assert main(["table1", "--smoke", "--arms", "GON", "--runs", "elsewhere", "--results", str(results)]) == 0
    assert "| GON | 1 |" in capsys.readouterr().out


@pytest.mark.slow
def test_seeds_and_arms_can_be_shared_out(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words in (["--seeds", "1", "--arms", "GON"], ["--seeds", "0", "--arms", "GON"]):
        assert main(["fig2c", "--smoke", *words]) == 0
    records = Records(tmp_path / "runs" / "paper" / "results" / "runs")
    found = records.seeds(EXPERIMENTS["fig2c"].arms(Protocol("", smoke=True))["GON"])
    assert [each.config.training.seed for each in found] == [0, 1]


def test_bad_names_and_datasets_are_refused_before_any_work(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["fig99"], "did you mean"),
        (["table1", "--dataset", "digits"], "expected a dataset of table1"),
        (["table1", "--seeds", "-1"], "expected seeds of at least 0"),
        (["table1", "--epochs", "0"], "expected epochs of at least 1"),
        (["fig13", "--epochs", "3"], "expected epochs of at least 1, of an experiment that counts them"),
        (["fig2c", "--smoke", "--arms", "VAE"], "expected arms of GON, AE, got VAE"),
        (["all"], "expected one of"),
        (["table1", "--seed", "3"], "Perhaps you meant: --seeds"),
    ):
        assert main(words) == (2 if "--seed" in words else 1)
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not list(tmp_path.rglob("*.json"))


def test_a_dataset_that_is_not_at_hand_is_reported(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["table1", "--dataset", "smallnorb", "--results", str(tmp_path)]) == 1
    assert "data absent" in capsys.readouterr().out


@pytest.mark.slow
def test_an_interrupted_reproduction_goes_on(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words, stops = ["fig13", "--smoke"], iter([False, False, True])  # the last at the first report
    monkeypatch.setattr(command, "stop_requested", lambda: contextlib.nullcontext(lambda: next(stops)))
    assert main(words) == 130
    assert capsys.readouterr().err.splitlines()[-1].endswith("interrupted, and saved; the same command goes on")
    (folder,) = tmp_path.glob("runs/paper/*/checkpoints")
    assert [path.name for path in folder.iterdir()] == ["4"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    (found,) = Records(tmp_path / "runs" / "paper" / "results" / "runs")
    assert found.curves["loss"][0] == [4, 8]


# -- verdicts --------------------------------------------------------------------------------------------------------


def below(bound=1.0, above=False):
    return Comparison("a / b", (Term("t", "a", "n"),), (Term("t", "b", "n"),), bound, above)


def judged(comparison, numbers, **options):
    options = {"dataset": "mnist", "horizon": "500 epochs"} | options
    return judge(
        comparison, lambda term: numbers.get(term.label, numbers.get((term.label, term.number), [])), **options
    )


def test_the_rule_decides_only_beyond_twice_the_spread():
    spread = [math.exp(x) for x in (-0.1, 0.0, 0.1)]  # a standard deviation of 0.1 each, so 0.1414 together
    for ratio, word in ((math.exp(-0.29), "holds"), (math.exp(-0.28), "undecided"), (math.exp(0.29), "fails")):
        found = judged(below(), {"a": [ratio * x for x in spread], "b": spread})
        assert found.word == word
        assert found.ratio == pytest.approx(ratio)
        assert found.factor == pytest.approx(math.exp(2 * 0.1 * math.sqrt(2)))
    assert "within twice their spread" in judged(below(), {"a": spread, "b": spread}).needed


def test_the_rule_asks_for_three_seeds_at_the_claims_length():
    numbers = {"a": [1.0, 1.0], "b": [2.0, 2.1, 2.2]}
    found = judged(below(), numbers, cost=", about 3 hours")
    assert (found.word, found.seeds, found.needed) == ("undecided", 2, "3 seeds, about 3 hours")
    numbers["a"] = [1.0, 1.01, 1.02]
    assert judged(below(), numbers).word == "holds"
    short = judged(below(), numbers, horizon="100 epochs", at_horizon=False)
    assert (short.word, short.needed) == ("undecided", "the claim's length of training")
    assert judged(below(), {"a": [1.0]}).ratio is None


def test_bounds_and_directions():
    numbers = {"a": [2.0, 2.01, 2.02], "b": [1.0, 1.01, 1.02]}
    assert judged(below(above=True), numbers).word == "holds"
    assert judged(below(bound=2.5, above=True), numbers).word == "fails"
    assert judged(below(bound=2.5), numbers).word == "holds"
    assert judged(Comparison("a", (Term("t", "a", "n"),), bound=1.5, above=True), numbers).word == "holds"


def test_numbers_of_one_run_vary_together():
    """Test over training error: what moves both moves nothing."""
    ratio = Comparison("", (Term("t", "a", "test"),), (Term("t", "a", "train"),))
    numbers = {("a", "test"): [1.0, 2.0, 4.0], ("a", "train"): [2.0, 4.0, 8.0]}
    found = judged(ratio, numbers)
    assert (found.word, found.ratio, found.factor) == ("holds", pytest.approx(0.5), pytest.approx(1.0))


def test_of_several_candidates_the_one_that_is_best_on_held_out_images_counts():
    tuned = Comparison("", (Term("t", ("a", "b"), "test"),), (Term("t", "c", "test"),))
    numbers = {"c": [1.0, 1.0, 1.0], ("a", "test"): [0.5, 0.5, 0.5], ("b", "test"): [2.0, 2.0, 2.0]}
    numbers |= {("a", verdicts.CHOICE): [9.0] * 3, ("b", verdicts.CHOICE): [8.0] * 3}
    assert judged(tuned, numbers).ratio == pytest.approx(2.0)
    del numbers["b", verdicts.CHOICE]
    assert judged(tuned, numbers).ratio is None


def test_a_claim_is_decided_from_records(tmp_path):
    claim = claims.CLAIMS[0]
    records = written(tmp_path, records_of(GON=[1.0, 1.1, 0.9], AE=[2.0, 2.1, 1.9]))
    found = [f for _, f in claims.findings(claim, records)]
    assert [f.word for f in found if f.dataset == "coil20"] == ["holds"] and overall(found) == "holds where decided"
    (finding,) = (f for f in found if f.dataset == "coil20")
    assert finding.horizon == "500 epochs" and finding.seeds == 3
    # The same runs, shorter than the claim is about, decide nothing.
    configs = EXPERIMENTS["table1"].arms(Protocol("coil20", epochs=100))
    short = [
        record(configs[label].replace(seed=seed), {ERROR: error})
        for label, errors in (("GON", (1.0, 1.1, 0.9)), ("AE", (2.0, 2.1, 1.9)))
        for seed, error in enumerate(errors)
    ]
    (finding,) = (f for _, f in claims.findings(claim, written(tmp_path / "short", short)) if f.dataset == "coil20")
    assert (finding.word, finding.horizon) == ("undecided", "100 epochs") and "length of training" in finding.needed


def test_every_claim_is_undecided_without_records_and_names_experiments_that_there_are(tmp_path):
    records = Records(tmp_path)
    for claim in claims.CLAIMS:
        found = [f for _, f in claims.findings(claim, records)]
        assert overall(found) == "undecided" and {f.dataset for f in found} == set(claim.datasets)
        for dataset in claim.datasets:
            for comparison in claim.comparisons(dataset):
                for term in (*comparison.over, *comparison.under):
                    each = EXPERIMENTS[term.experiment]
                    labels = (term.label,) if isinstance(term.label, str) else term.label
                    assert set(labels) <= set(each.arms(each.protocol(dataset)))


def test_verdicts_of_several_findings():
    def of(*words):
        return overall([Finding("mnist", "", word, 1.0, 1.0, 3, "", "") for word in words])

    assert of("fails", "fails") == "fails"
    assert of("holds", "undecided") == "holds where decided"
    assert of("holds", "fails", "undecided") == "holds in part"
    assert of("undecided") == "undecided"


def test_points_of_curves(tmp_path):
    config = EXPERIMENTS["table1"].arms(Protocol("coil20", epochs=500))["GON"]
    curves = {"loss": ([128, 256, 384], [3.0, 1.0, 2.0])}  # epochs 8, 16, 24
    found = dataclasses.replace(record(config, {}), curves=curves)
    assert (found["loss@16"], found["loss@best"], found["loss@17"], found["none@best"]) == (1.0, 1.0, None, None)


def test_regions_of_classes_are_where_the_model_classifies():
    model = gon_classifier(siren_decoder(grid(4, 4), 2, hidden_dim=4), 3)
    variables = model.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (20, 4, 4, 1))
    z = np.asarray(model.encode(variables, x))
    expected = model.capabilities.classify(variables, x).argmax(axis=-1)
    np.testing.assert_array_equal(latents.classes_of(variables.params["head"], z), expected)


# -- tables and document ---------------------------------------------------------------------------------------------


def test_table_has_means_deviations_pca_and_the_papers_values(tmp_path):
    records = written(tmp_path, records_of(GON=[1.0, 3.0], AE=[2.0]))
    each = EXPERIMENTS["table1"]
    arms = experiment.arms_of(each, each.protocol("coil20"), records)
    rows = experiment.table(each, "coil20", arms)
    assert [rows[1][:3], rows[1][-1]] == [["GON", "2", "2 ± 1.4"], "5.35"]
    assert rows[2][:3] == ["AE", "1", "2"] and rows[3][:3] == ["PCA, 256 components", "", "2"]
    assert experiment.table(each, "coil20", {}) == [rows[0]]


@pytest.mark.slow
def test_overview_says_what_is_left_and_at_what_cost(tmp_path):
    assert all(name in overview(Records(tmp_path)) for name in EXPERIMENTS)
    text = overview(written(tmp_path, records_of(GON=[1.0, 1.0, 1.0])))
    assert "coil20: 500 epochs; 3 of 21 runs; 144,000 steps left" in text
    # The GON of Figure 16a differs in dataset and length alone: 0.01 s per step. The AE was never timed.
    assert "mnist: 500 epochs; 0 of 6 runs; 2,787,000 steps left, about 3.9 hours on one core, and runs" in text


def test_the_document_is_made_from_the_records():
    text = document.document(Records(document.FOLDER / "runs"))
    assert document.PATH.read_text() == text, "run `python -m benchmarks.paper.document`"


def test_the_document_says_verdicts_lengths_and_what_is_missing(tmp_path):
    text = document.document(written(tmp_path, records_of(GON=[1.0, 1.1, 0.9], AE=[2.0, 2.1, 1.9])))
    claim = "The GON's error is below the autoencoder's (Table 1): **holds where decided**"
    assert f"| {claim} | coil20: GON / AE | 0.884 | 0.499 (×/÷ 1.25) | 500 epochs | 3 | holds |" in text
    assert "no runs yet: mnist, fashion_mnist, smallnorb, cifar10" in text
    assert "Not run yet: tied AE, 1 step detached" in text
    for name in EXPERIMENTS:
        assert f"### {name}: " in text


RECORDS = sorted((document.FOLDER / "runs").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_a_record_says_how_to_repeat_it_and_belongs_to_an_experiment(path):
    values = json.loads(path.read_text())
    assert "-modified" not in values["commit"] and values["commit"] != "unknown"
    command = r"([A-Z_]+=\S+ )*(python -m benchmarks\.paper|gon reproduce) "  # as it was at that commit
    assert re.match(command, values["command"])
    assert "/" not in values["command"].replace("lsun/bedroom", "")
    assert {"versions", "hardware", "date"} <= set(values)


def test_no_record_is_of_an_undeclared_run():
    records = Records(document.FOLDER / "runs")
    shown = set()
    for each in EXPERIMENTS.values():
        for dataset in each.datasets:
            for protocol in document.epochs_at_hand(each, dataset, records):
                arms = experiment.arms_of(each, protocol, records)
                shown |= {stem(arm.record.config) for seeds in arms.values() for arm in seeds}
    assert {stem(each.config) for each in records} == shown
