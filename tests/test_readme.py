"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.S)


SLOW = {"id": "notebook", "marks": pytest.mark.slow}


@pytest.mark.parametrize("block", [pytest.param(BLOCKS[0], **SLOW), pytest.param(BLOCKS[1], id="own-decoder")])
def test_block(block, capsys):
    exec(compile(block, "README.md", "exec"), {})


def test_pictures_exist():
    for link in re.findall(r"!?\[[^]]*\]\(([^)h][^)]*)\)", TEXT):
        assert (Path(__file__).parents[1] / link).exists(), link
