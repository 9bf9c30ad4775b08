"""What a release says of itself is true: versions, addresses, the floor, and the Pythons that it was tested on."""

import configparser
import json
import re
from pathlib import Path

import gon_jax
from release import matrix

ROOT = Path(__file__).parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")


def lines(section, option):
    return [line for line in SETUP[section][option].splitlines() if line]


def test_the_table_of_support_is_the_records_and_no_untested_python_is_claimed():
    record = json.loads(matrix.RECORD.read_text())
    assert matrix.table(record) in matrix.PAGE.read_text()
    claimed = [line.rpartition(" ")[2] for line in lines("metadata", "classifiers") if re.search(r":: 3\.\d+$", line)]
    passed = [python for python in matrix.PYTHONS if f"{python}-newest" in record["runs"]]
    assert claimed == passed


def test_versions_and_addresses_agree():
    version, changes = gon_jax.__version__, (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", changes, flags=re.M)
    assert headings[0] == "[Unreleased]" and re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", headings[1])
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    address = re.search(r'^REPOSITORY = "(.*)"$', (ROOT / "notebooks" / "build.py").read_text(), flags=re.M)[1]
    urls = dict(line.split(" = ") for line in lines("metadata", "project_urls"))
    ours = {name: url for name, url in urls.items() if name != "Paper"}
    assert ours.keys() == {"Source", "Documentation", "Changelog", "Issues"}
    assert all(url.startswith(address) for url in ours.values())


def test_the_floor_is_that_of_the_requirements():
    """For every package that is required, the constraint is the lowest version that is admitted."""
    floor = dict(re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "requirements-floor.txt").read_text(), flags=re.M))
    required = dict(re.findall(r"([\w-]+)>=([\d.]+)", "\n".join(lines("options", "install_requires"))))
    for name in floor.keys() & required.keys():
        assert (floor[name].rstrip(".") + ".").startswith(required[name] + "."), name
    assert required.keys() - floor.keys() == set(), "without a constraint"
