"""What objects show of themselves: reports, progress, pictures; and what the shell completes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import xpnet

X, T = np.eye(4, dtype=np.float32), np.asarray([0, 1, 0, 1])


def test_a_report_shows_its_table():
    """A report that shows the fields of its class hides its verdict in dictionaries."""
    report = xpnet.MLP([4, 2], seed=0).check_gradient(X, T)
    assert repr(report) == str(report)
    assert repr(report).startswith("Gradient check passed: ")


def test_progress_is_one_line():
    """A callback that prints what it is given."""
    shown = []
    net = xpnet.MLP([4, 2], seed=0)
    history = xpnet.fit(
        net, X, T, steps=1050, batch_size=4, callbacks=[lambda p: shown.append(repr(p))]
    )
    assert shown[0] == f"<Progress: step 100 of 1,050, loss {history.loss[:100].mean():.4f}>"
    assert shown[-1] == f"<Progress: step 1,050 of 1,050, loss {history.loss[1000:].mean():.4f}>"
    none = xpnet.Progress(0, 10, np.empty(0), net, history)
    assert repr(none) == "<Progress: step 0 of 10>"


def test_pictures_have_matplotlibs_names(tmp_path):
    """In a console `history.plot()` shows the text of a figure, not a class that is ours alone."""
    pytest.importorskip("matplotlib", reason="a picture needs matplotlib")
    net = xpnet.MLP([4, 2], seed=0)
    history = xpnet.fit(net, X, T, steps=5, batch_size=4)
    for figure in (history.plot(), history.plot(tmp_path / "loss.png")):
        assert repr(figure) == "<Figure size 1200x600 with 1 Axes>"
        assert figure._repr_png_().startswith(b"\x89PNG")
    ax = net.check_gradient(X, T).plot()
    assert repr(ax).startswith("<Axes: title={'center': 'Gradient check: passed'}")
    assert ax._repr_png_().startswith(b"\x89PNG")


def test_pictures_name_the_classes_of_the_net():
    """Whoever trained on cats and dogs does not look up which of them is 0."""
    pytest.importorskip("matplotlib", reason="a picture needs matplotlib")
    from xpnet import plots

    net = xpnet.MLP([4, 2], seed=0)
    net.class_names = ["cat", "dog"]
    ax = plots.plot_confusion(net, X, T)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cat", "dog"]
    ax = plots.plot_confusion(net, X, T, names=["a", "b"])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]


# --- completion ------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("xpnet tr", ["train"]),
        ("xpnet train --opt", ["--optimizer"]),
        ("xpnet train --optimizer ada", ["adagrad", "adam", "adamw"]),
        ("xpnet compare --sch", ["--schedule"]),
        ("xpnet check --output sof", ["softmax"]),
    ],
)
def test_completion(shell, line, expected):
    """What a shell asks for when Tab is pressed: commands, options, and the words they take."""
    pytest.importorskip("click", reason="the command needs click")
    pytest.importorskip("rich", reason="the command needs rich")
    from click.testing import CliRunner

    from xpnet.cli import cli

    *before, last = line.split()
    asked = {"COMP_WORDS": line, "COMP_CWORD": last if shell == "fish" else str(len(before))}
    result = CliRunner(env={"_XPNET_COMPLETE": f"{shell}_complete", **asked}).invoke(
        cli, prog_name="xpnet"
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    found = {
        "bash": [line.removeprefix("plain,") for line in lines],
        "zsh": lines[1::3],
        "fish": [line.removeprefix("plain,").split("\t")[0] for line in lines],
    }[shell]
    assert sorted(found) == expected


def test_completion_is_documented():
    """A line of the page that sets up nothing."""
    pytest.importorskip("click", reason="the command needs click")
    pytest.importorskip("rich", reason="the command needs rich")
    from click.shell_completion import get_completion_class

    from xpnet.cli import cli

    page = Path(__file__).parent.parent / "docs" / "how-to.md"
    told = re.findall(r"(_XPNET_COMPLETE)=(\w+)_source xpnet\b", page.read_text(encoding="utf-8"))
    assert [shell for _, shell in told] == ["bash", "zsh", "fish"]
    for variable, shell in told:
        complete = get_completion_class(shell)(cli, {}, "xpnet", variable)
        assert f"{variable}={shell}_complete" in complete.source_template % complete.source_vars()
