"""The paper's tables and figures: declared whole, run at the smallest scale, verdicts and document from JSON alone."""

import contextlib
import dataclasses
import json

import jax
import numpy as np
import pytest
from PIL import Image

from benchmarks.paper import EXPERIMENTS, SCALES, claims, document, experiment, latent_figures
from benchmarks.paper import __main__ as command
from benchmarks.paper.__main__ import main
from benchmarks.paper.error_figures import ERROR
from benchmarks.paper.overview import overview
from gon_jax.coordinates import grid
from gon_jax.data import DATASETS
from gon_jax.decoders import siren_decoder
from gon_jax.models import gon_classifier

NAMES = "table1 table2 fig2a fig2b fig2c fig3 fig4 fig5 fig6 fig7 fig8 fig9a fig9b fig10a fig10b fig10c fig11a fig11b"
NAMES += " fig12 fig13 fig14 fig15 fig16 fig17"


def test_every_table_and_figure_is_declared_with_arms_at_every_scale():
    assert list(EXPERIMENTS) == NAMES.split()
    for each in EXPERIMENTS.values():
        assert set(each.datasets) <= set(DATASETS)
        for dataset in each.datasets:
            for scale in SCALES:
                configs = each.arms(dataset, scale)  # Config refuses what doesn't go together
                assert {c.data.dataset for c in configs.values()} == {"digits" if scale == "smoke" else dataset}
                if scale == "paper":
                    assert max(c.training.num_steps for c in configs.values()) >= 300
            if each.paper:
                assert set(each.paper[dataset]) == set(configs)


def test_methods_of_table_1_differ_in_the_method_alone():
    configs = EXPERIMENTS["table1"].arms("mnist", "short")
    assert len(configs) == 7
    for config in configs.values():
        assert dataclasses.replace(config, model=configs["GON"].model) == configs["GON"]
        assert config.training.num_steps >= 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES.split())
def test_smoke_run(name, tmp_path_factory, capsys, monkeypatch):
    folder = tmp_path_factory.getbasetemp() / "reproduction"  # shared: experiments share runs
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    assert main([name, "--scale", "smoke"]) == 0
    assert name in capsys.readouterr().out
    stem = folder / "runs" / "reproduction" / "results" / f"{name}_smoke_digits"
    result = json.loads(stem.with_suffix(".json").read_text())
    rows = experiment.table(result)
    assert len(rows) == 1 + len(EXPERIMENTS[name].arms("digits", "smoke"))
    assert all(cell for row in rows[1:] for cell in row[1 : 1 + len(result["columns"])])  # nothing is missing
    assert {"command", "commit", "date", "versions", "hardware"} <= set(result)
    assert stem.with_suffix(".md").read_text() == experiment.markdown(rows)
    with Image.open(stem.with_suffix(".png")) as picture:
        assert np.asarray(picture).std() > 5
    # At once the second time: every run is found finished.
    assert main([name, "--scale", "smoke"]) == 0


def test_bad_names_and_datasets_are_refused_before_any_work(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["fig99"], "did you mean"),
        (["table1", "--dataset", "digits"], "expected a dataset of table1"),
        (["table1", "--seeds", "0"], "expected seeds of at least 1"),
        (["all", "--scale", "paper"], "expected one of"),
        (["table1", "--seed", "3"], "Perhaps you meant: --seeds"),
    ):
        assert main(words) == (2 if "--seed" in words else 1)
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not list(tmp_path.iterdir()) or not list(tmp_path.rglob("*.json"))


def test_a_dataset_that_is_not_at_hand_is_reported(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GON_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["table1", "--dataset", "smallnorb"]) == 1
    assert "data absent" in capsys.readouterr().out


def test_an_interrupted_reproduction_goes_on(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words, stops = ["fig9a", "--scale", "smoke"], iter([False, False, True])  # the last at the first report
    monkeypatch.setattr(command, "stop_requested", lambda: contextlib.nullcontext(lambda: next(stops)))
    assert main(words) == 130
    assert capsys.readouterr().err.splitlines()[-1].endswith("interrupted, and saved; the same command goes on")
    (folder,) = tmp_path.glob("runs/reproduction/*/checkpoints")
    assert [path.name for path in folder.iterdir()] == ["4"]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert main(words) == 0
    (result,) = tmp_path.glob("runs/reproduction/results/*.json")
    (seed,) = json.loads(result.read_text())["arms"]["implicit GON"]["seeds"]
    assert seed["steps"] == [4, 8]


# -- verdicts --------------------------------------------------------------------------------------------------------


def fake(**arms):
    """A result of arms with these metrics."""
    return {"arms": {label.replace("_", " "): {"seeds": [metrics]} for label, metrics in arms.items()}}


def test_verdict_on_parameters_and_error():
    claim = claims.CLAIMS[0]
    good = fake(GON={ERROR: 1.0, "num_parameters": 50}, AE={ERROR: 2.0, "num_parameters": 100})
    bad = fake(GON={ERROR: 3.0, "num_parameters": 50}, AE={ERROR: 2.0, "num_parameters": 100})
    for results, word in (
        ({"mnist": good}, "holds"),
        ({"mnist": good, "coil20": bad}, "holds partly"),
        ({"mnist": bad}, "does not hold here"),
    ):
        found = claims.verdict(claim, {"table1": results})
        assert found.word == word
    assert "1.50 of the AE's error, 0.50 of its parameters" in found.findings[0][2]


def test_every_claim_is_undecided_without_results_and_rules_run_on_smoke_shapes():
    assert {claims.verdict(claim, {}).word for claim in claims.CLAIMS} == {"undecided"}
    for claim in claims.CLAIMS:
        assert set(claim.experiments) <= set(EXPERIMENTS)
    detached = fake(**{"GON": {ERROR: 1.0}, "1_step_detached": {ERROR: 2.5}, "10_steps_detached": {ERROR: 1.5}})
    assert not claims.CLAIMS[2].rule(detached)[0]
    names = ("mean_abs_skewness", "mean_abs_excess_kurtosis", "pooled_excess_kurtosis")
    nearer, further = (
        fake(**{label: dict(zip(names, moments, strict=True))})
        for label, moments in (("GON", (0.1, 0.2, 0.1)), ("VAE", (0.2, 0.3, -0.2)))
    )
    assert claims.CLAIMS[4].rule(nearer, further)[0] and not claims.CLAIMS[4].rule(further, nearer)[0]
    activations = fake(ELU={ERROR: 1.0}, ReLU={ERROR: 1.2}, GELU={ERROR: 0.9}, latent_16={ERROR: 0.1})
    holds, words = claims.CLAIMS[3].rule(activations)
    assert holds and "number 2 of 3" in words


def test_regions_of_classes_are_where_the_model_classifies():
    model = gon_classifier(siren_decoder(grid(4, 4), 2, hidden_dim=4), 3)
    variables = model.init(jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (20, 4, 4, 1))
    z = np.asarray(model.encode(variables, x))
    expected = model.capabilities.classify(variables, x).argmax(axis=-1)
    np.testing.assert_array_equal(latent_figures.classes_of(variables.params["head"], z), expected)


# -- tables and document ---------------------------------------------------------------------------------------------


def test_table_has_means_ranges_and_the_papers_values():
    result = fake(GON={"e": 1.0}) | {"columns": {"e": "error"}, "paper": {"GON": 0.41}}
    result["arms"]["GON"]["seeds"].append({"e": 3.0})
    assert experiment.table(result) == [["", "error", "paper"], ["GON", "2 (1 to 3)", "0.41"]]


def test_overview_names_every_experiment_and_what_has_been_done(tmp_path):
    text = overview(tmp_path)
    assert all(name in text for name in NAMES.split()) and "nothing yet" in text


def test_the_document_is_made_from_the_results():
    text = document.document(document.FOLDER)
    assert document.PATH.read_text() == text, "run `python -m benchmarks.paper.document`"


@pytest.mark.parametrize("path", sorted(document.FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_says_how_to_repeat_it(path):
    result = json.loads(path.read_text())
    assert "-modified" not in result["commit"] and result["commit"] != "unknown"
    assert "/" not in result["command"].replace("benchmarks/results/reproduction", "").replace("lsun/bedroom", "")
    assert path.with_suffix(".png").exists()
    assert path.with_suffix(".md").read_text() == experiment.markdown(experiment.table(result))
