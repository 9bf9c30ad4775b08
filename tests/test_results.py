"""What the README says was measured: its table is what the JSON gives, and every result says where it is from."""

import json

import pytest

from benchmarks import estimators_table, report, step_time_table
from benchmarks.quality_table import README, curves, table

RESULTS = sorted(report.RESULTS.glob("*.json"))


def test_table_in_the_readme_is_made_from_the_results():
    text = README.read_text()
    assert report.readme_with(text, "quality", table()) == text, "run `python -m benchmarks.quality_table`"


@pytest.mark.skipif(not step_time_table.load("step_time_cpu"), reason="speed was not measured")
def test_tables_of_speed_in_the_readme_are_made_from_the_results():
    text = README.read_text()
    assert step_time_table.readme_with(text) == text, "run `python -m benchmarks.step_time_table`"


@pytest.mark.skipif(not step_time_table.load("estimators"), reason="the estimators were not compared")
def test_table_of_estimators_in_the_readme_is_made_from_the_results():
    text = README.read_text()
    assert estimators_table.readme_with(text) == text, "run `python -m benchmarks.estimators_table`"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_says_how_to_repeat_it(path):
    result = json.loads(path.read_text())
    assert {"command", "commit", "date", "versions", "hardware"} <= set(result)
    assert "-modified" not in result["commit"], "measured on code that is in no commit"


@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
@pytest.mark.parametrize("epoch", [5, 10])
def test_ours_is_as_good_as_the_release_from_epoch_5_on(dataset, epoch):
    ours, release = curves(dataset, "jax")[epoch - 1], curves(dataset, "torch")[epoch - 1]
    assert len(ours) == len(release) == 3
    overlap = max(min(ours), min(release)) <= min(max(ours), max(release))
    assert overlap or abs(sum(ours) / sum(release) - 1) < 0.05
