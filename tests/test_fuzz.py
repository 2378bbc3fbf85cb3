"""A short run of the fuzz, and whether it would notice."""

import fuzz_files
import numpy as np
import pytest

import xpnet
from xpnet.datasets import read_idx


@pytest.mark.parametrize("target", fuzz_files.TARGETS)
def test_no_bytes_break_a_reader(target):
    """Otherwise some file raises what callers do not expect, or allocates what it promises."""
    ended, wrong = fuzz_files.run(200, targets=[target])
    assert wrong == []
    # Else the changes are so wild that nothing behind the first check is reached.
    assert ended[target]["read"] >= 5
    assert len(ended[target]) >= 8


def test_an_input_can_be_made_again():
    """A number in a report is of no use if it is another input tomorrow."""
    for target in fuzz_files.TARGETS:
        inputs = [fuzz_files.make(target, 7, 0) for _ in range(2)]
        assert inputs[0] == inputs[1]


def raises(path):
    raise KeyError(path)


def raises_a_system_error(path):
    raise OSError(5, "Input/output error", str(path))


def says_nothing_of_the_file(path):
    raise xpnet.datasets.IDXError("bad file")


def warns(path):
    np.float64(1e300) * np.float64(1e300)
    return read_idx(path)


def allocates(path):
    bytearray(32 << 20)
    return read_idx(path)


def reads_something_else(path):
    return read_idx(path) + 1


@pytest.mark.parametrize(
    "reader",
    [raises, raises_a_system_error, says_nothing_of_the_file, warns, allocates,
     reads_something_else],
)  # fmt: skip
def test_the_fuzz_notices(monkeypatch, reader):
    """A fuzz that cannot fail proves nothing."""
    make, suffix, _, documented, check = fuzz_files.TARGETS["idx"]
    monkeypatch.setitem(fuzz_files.TARGETS, "idx", (make, suffix, reader, documented, check))
    _, wrong = fuzz_files.run(20, targets=["idx"])
    assert wrong
