"""What a notebook shows: the objects as HTML, the pictures, the progress bar."""

from __future__ import annotations

import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pytest

import xpnet

EVIL = "<script>alert('1')</script> & \"2\""


class Words(HTMLParser):
    """The words of an HTML text, and its tags; every tag is closed and asks for nothing."""

    def __init__(self, html):
        super().__init__()
        self.words, self.tags, self.open = [], set(), []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert not {"src", "href", "onload"} & {name for name, _ in attributes}
        self.tags.add(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.words.append(data)


TABLE = {"table", "thead", "tbody", "tr", "th", "td", "p"}


def test_net_as_html(lib):
    """Layers, shapes and place at a glance; nothing waits for the device."""
    net = xpnet.MLP([4, 3, 2], seed=0, **lib.kwargs)
    shown = Words(net._repr_html_())
    assert shown.tags <= TABLE
    assert shown.words[0] == repr(net)[1:-1]
    for row in (["W1", "4 × 3", "12"], ["b1", "3", "3"], ["W2", "3 × 2", "6"], ["b2", "2", "2"]):
        at = shown.words.index(row[0])
        assert shown.words[at : at + 3] == row


def test_history_as_html():
    """The rows of the summary, whatever a driver calls its device."""
    history = xpnet.History(
        environment={
            "device_name": EVIL, "device": "cpu", "backend": "numpy", "backend_version": "2.0",
        }
    )
    assert Words(history._repr_html_()).words[:2] == ["steps", "0"]
    history.extend([2.0, 1.0], 0.5)
    shown = Words(history._repr_html_())
    assert shown.tags <= TABLE
    assert shown.words == [word for row in history._rows() for word in row]
    assert any(EVIL in word for word in shown.words)


def test_gradient_report_as_html():
    """A user's name that is not escaped becomes part of the page; or the table lacks a column."""
    x = {EVIL: np.asarray([1.0, 2.0]), "b": np.asarray(3.0)}
    report = xpnet.check_gradient(
        lambda p: np.sum(p[EVIL] ** 2) + p["b"] ** 2, {EVIL: 4 * x[EVIL], "b": 2 * x["b"]}, x
    )
    shown = Words(report._repr_html_())
    assert shown.tags <= TABLE
    assert shown.words[0].startswith("Gradient check failed: ")
    assert f"x[{EVIL!r}]" in shown.words  # the path to the array, as code
    for word in ("b", "worst at", "rel. error", "scalar"):
        assert word in shown.words
    assert shown.words[-1].startswith("Likely cause: ")
    assert "too large by the constant factor 2" in shown.words[-1]


def test_report_without_a_table_as_html():
    """Where nothing was compared there is a sentence, no empty table."""
    values = iter(range(100))
    report = xpnet.check_gradient(
        lambda x: np.asarray(float(next(values))), np.zeros(1), np.ones(1)
    )
    shown = Words(report._repr_html_())
    assert shown.tags == {"p"}
    assert "not deterministic" in shown.words[0]


@pytest.fixture(scope="module")
def execute():
    """Run cells in a real kernel: a list of outputs for each."""
    for module in ("matplotlib", "rich", "nbclient", "ipykernel"):
        pytest.importorskip(module, reason=f"a notebook needs {module}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the notebook's own machinery
        import nbformat
        from jupyter_client.kernelspec import KernelSpec
        from nbclient import NotebookClient

    def execute(*sources):
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            client = NotebookClient(notebook, timeout=120, allow_errors=True)
            client.create_kernel_manager()
            # This Python, whatever kernels the machine has.
            client.km._kernel_spec = KernelSpec(
                argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                language="python",
            )
            client.execute()
        return [cell.outputs for cell in cells]

    return execute


SETUP = """
import numpy as np, xpnet
x = np.eye(4, dtype=np.float32)
net, t = xpnet.MLP([4, 2], seed=0), np.asarray([0, 1, 0, 1])
"""


def test_in_a_kernel(execute, tmp_path):
    """One bar that is updated in place, with no widgets to install; objects and pictures show."""
    setup, bar, stopped, history, net, report, *pictures = execute(
        SETUP,
        "h = xpnet.fit(net, x, t, steps=3000, batch_size=4, progress=True)",
        "def stop(progress):\n"
        "    if progress.step == 500:\n"
        "        raise KeyError('stop')\n"
        "xpnet.fit(net, x, t, steps=1000, batch_size=4, progress=True, callbacks=[stop])",
        "h",
        "net",
        "net.check_gradient(x, t)",
        "from xpnet import plots\nplots.plot_confusion(net, x, t)",
        "h.plot()",
        f"h.plot({str(tmp_path / 'loss.png')!r})",
        "net.check_gradient(x, t).plot()",
    )
    assert setup == []
    assert [output.output_type for output in bar] == ["display_data"], bar
    assert bar[0].data["text/plain"].startswith("step 3,000/3,000: loss ")
    assert '<progress value="3000" max="3000">' in bar[0].data["text/html"]
    assert [output.output_type for output in stopped] == ["display_data", "error"]
    assert stopped[0].data["text/plain"].startswith("step 400/1,000: loss "), "the last state"
    for output, words in ((history, "last loss"), (net, "4 × 2"), (report, "rel. error")):
        assert words in output[0].data["text/html"]
    assert history[0].data["text/plain"].startswith("<History: 3,000 steps")
    for (picture,) in pictures:  # one each, and no name of a class that is xpnet's alone
        assert "image/png" in picture.data
        assert picture.data["text/plain"].startswith(("<Figure size ", "<Axes: "))
