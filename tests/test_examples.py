"""The examples run, on more than one backend, and say what their pages say."""

import pathlib
import runpy

import pytest

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def test_gradient_of_a_gaussian_process(lib, capsys):
    """A right gradient passes, a wrong one fails with its entry named."""
    if lib.kwargs["device"] not in (None, "cpu"):
        pytest.skip("the example takes the library's default device")
    main = runpy.run_path(str(EXAMPLES / "check_gradient_gp.py"))["main"]
    right, wrong = main(lib.kwargs["xp"])
    assert right.ok
    assert wrong.verdict == "failed"
    assert wrong.causes == ("x: a single entry is wrong",)
    assert "Gradient check passed" in capsys.readouterr().out
