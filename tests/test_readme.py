"""Every Python block of the README runs."""

import pathlib
import re

import pytest

README = pathlib.Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", range(len(BLOCKS)))
def test_block_runs(block, capsys, tmp_path, monkeypatch):
    """A reader copies it and it works."""
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[block], f"README block {block}", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_there_are_blocks():
    assert len(BLOCKS) == 5
