"""The pictures: what is in them, that they can be read, and that they touch nothing else."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the pictures need matplotlib")

from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import xpnet
from xpnet import plots
from xpnet.plots import loss_figure, plot_loss

SETTINGS = {
    "layer_sizes": [784, 100, 10], "activation": "sigmoid", "optimizer": {"name": "SGD"},
    "learning_rate": 0.1, "batch_size": 100, "dataset": "mnist",
}


def record(loss, *, device="AMD EPYC", **settings):
    environment = {
        "device_name": device, "device": "cpu", "backend": "numpy", "backend_version": "2.0",
    }
    history = xpnet.History({**SETTINGS, **settings}, environment)
    history.extend(loss, 12.5)
    return history


def falling(n=2000):
    rng = np.random.default_rng(0)
    return 0.1 + 2.2 * np.exp(-np.arange(n) / (n / 8)) + 0.05 * rng.random(n)


def drawn(figure):
    """Draw for real: missing glyphs and overflows warn only then, and warnings are errors."""
    FigureCanvasAgg(figure).draw()
    return figure.axes[0]


def line(ax, start):
    return next(entry for entry in ax.get_lines() if entry.get_label().startswith(start))


def words(ax):
    return ax.get_legend().get_title().get_text()


def test_picture_has_all_that_the_reference_shows():
    """A picture without axes, unit or box cannot be understood a week later."""
    history = record(falling())
    history.test_accuracy = 0.9456
    figure = loss_figure(history)
    ax = drawn(figure)
    assert figure.get_size_inches().tolist() == [12, 6]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss")
    assert "784-100-10" in ax.get_title()
    assert any(grid.get_visible() for grid in ax.get_xgridlines())
    assert f"final loss {history.loss[-1]:.4g}" in words(ax)
    assert "94.56 %" in words(ax)
    assert "12.50 s" in words(ax)
    assert "AMD EPYC" in words(ax)
    np.testing.assert_array_equal(line(ax, "loss of").get_ydata(), history.loss)


def test_smoothed_line_is_a_mean():
    """A smoothing that shifts or scales the curve tells a story that is not in the data."""
    ax = drawn(loss_figure(record(np.linspace(3.0, 1.0, 1000))))
    smooth = line(ax, "mean of")
    assert smooth.get_label() == "mean of 11 steps"
    inner = slice(5, -5)
    steps = smooth.get_xdata()[inner]
    np.testing.assert_allclose(
        smooth.get_ydata()[inner], np.interp(steps, np.arange(1, 1001), np.linspace(3, 1, 1000))
    )


def test_smoothed_line_recovers_after_a_huge_loss():
    """A running sum loses the small losses after a huge one."""
    loss = np.full(1000, 0.5)
    loss[100] = 1e18
    _, _, mean = plots._smoothed(loss)
    np.testing.assert_allclose(mean[200:], 0.5)


def test_curve_is_not_covered():
    """The box must not hide what it comments on, whether the loss falls or rises."""
    for loss in (falling(), falling()[::-1]):
        figure = loss_figure(record(loss, device="A long name of a device " * 5))
        ax = drawn(figure)
        box = ax.get_legend().get_window_extent()
        points = ax.transData.transform(line(ax, "mean of").get_xydata())
        assert box.count_contains(points) == 0
        assert ax.bbox.fully_containsx(box.x0)
        assert ax.bbox.fully_containsx(box.x1)


def test_validation_losses_are_points():
    """Without them overfitting is invisible; one that is not finite must not spoil the rest."""
    history = record(falling(100))
    history.validation_steps = [40, 80, 100]
    history.validation_loss = [1.0, float("nan"), 0.5]
    validation = line(drawn(loss_figure(history)), "validation")
    np.testing.assert_array_equal(validation.get_xdata(), [40, 80, 100])
    np.testing.assert_array_equal(validation.get_ydata(), [1.0, np.nan, 0.5])


def test_a_million_steps_are_drawn_as_few_points_with_all_extremes():
    """Drawing every step takes minutes in a PDF; leaving some out would lose the spikes."""
    loss = falling(1_000_000)
    loss[123_456] = 9.0
    loss[654_321] = 0.0
    ax = drawn(loss_figure(record(loss)))
    raw = line(ax, "loss of")
    assert len(raw.get_xdata()) <= 4000
    assert (raw.get_ydata().max(), raw.get_ydata().min()) == (9.0, 0.0)
    assert 0 < raw.get_xdata().min() <= raw.get_xdata().max() <= 1_000_000


@pytest.mark.parametrize("n", [1, 2, 3, 50, 4000, 4001])
def test_any_number_of_steps(n):
    """Ends of the smoothing and of the bins: an index error is easily made here."""
    ax = drawn(loss_figure(record(falling(n))))
    assert len(line(ax, "loss of").get_xdata())
    if n <= 3:
        labels = [label.get_text() for label in ax.get_xticklabels()]
        assert len(set(labels)) == len(labels), "a step is named twice"


@pytest.mark.parametrize(
    "loss",
    [
        [np.nan], [np.inf, -np.inf], [2.0, 1.0, np.nan], [1e308, -1e308] * 30, [0.0] * 3,
        [1.0, 1e30], [5e-324, 1.0], np.geomspace(1, 1e9, 5000),
    ],
)
def test_losses_that_are_no_curve(loss):
    """The picture of a run that went wrong is the one that is looked at."""
    ax = drawn(loss_figure(record(loss)))
    first_bad = np.flatnonzero(~np.isfinite(loss))
    if first_bad.size:
        assert any(f"at step {first_bad[0] + 1}" in e.get_label() for e in ax.get_lines())


def test_large_span_is_on_a_logarithmic_axis():
    """A loss that fell from 1e5 to 1 would be a line along the bottom."""
    assert drawn(loss_figure(record(np.geomspace(1e5, 1, 100)))).get_yscale() == "log"
    assert drawn(loss_figure(record(falling()))).get_yscale() == "linear"


def test_no_steps_is_an_error():
    """An empty picture would look like a bug of matplotlib."""
    with pytest.raises(ValueError, match="no steps"):
        plot_loss(xpnet.History())
    with pytest.raises(ValueError, match="no steps"):
        xpnet.History().plot()


def test_history_without_settings():
    """Histories made by hand know no net and no device."""
    history = xpnet.History()
    history.extend([2.0, 1.0], 0.1)
    assert drawn(loss_figure(history)).get_title() == "Loss of each step"


def test_own_axes():
    """Users put several runs into one picture, and pictures side by side."""
    figure = Figure(figsize=(6, 4))
    left, right = figure.subplots(1, 2)
    assert plot_loss(record(falling()), left) is left
    plot_loss(record(falling(500)), right)
    plot_loss(record(falling(700)), right)
    assert left.get_figure() is figure
    drawn(figure)
    first, second = (e for e in right.get_lines() if e.get_label().startswith("mean of"))
    assert first.get_color() != second.get_color(), "two runs look like one"


@pytest.mark.parametrize("name", ["视频卡", "глаз", "\U0001f600 GPU", "$x^$", "tab\there", "é\x00"])
def test_text_that_fonts_lack_is_no_box(name):
    """A device named in another script must neither warn nor become a row of boxes."""
    ax = drawn(loss_figure(record(falling(20), device=name, activation=name)))
    for text in (ax.title, ax.get_legend().get_title()):
        families = tuple(text.get_fontfamily())
        assert set(text.get_text()) - {"\n"} <= plots._characters(families)
    assert "numpy 2.0 on cpu" in words(ax)


def test_text_uses_another_font_before_it_loses_characters():
    """Installed fonts of the user's own script are there to be used."""
    text = Figure().text(0, 0, "", fontfamily=["DejaVu Sans Display"])  # has no letters
    plots._write(text, "été", "nothing")
    assert text.get_text() == "été"
    assert set("été") <= plots._characters(tuple(text.get_fontfamily()))


def test_text_without_any_font_keeps_what_it_can(monkeypatch):
    """Accents go first; a line of which nothing is left says something else."""
    monkeypatch.setattr(plots, "_font_with", lambda characters: None)
    monkeypatch.setattr(plots, "_characters", lambda f: frozenset(map(chr, range(32, 127))))
    text = Figure().text(0, 0, "")
    plots._write(text, "Zürich 视\n视频\nplain", "instead")
    assert text.get_text() == "Zurich ?\ninstead\nplain"


def test_long_names_are_wrapped():
    """A line longer than the picture is cut off."""
    ax = drawn(loss_figure(record(falling(20), device="NVIDIA " * 20)))
    assert max(map(len, words(ax).splitlines())) <= 46


def test_fonts_are_found_by_the_users_settings():
    """The families of the title are matplotlib's own, not ours."""
    ax = loss_figure(record(falling(20))).axes[0]
    assert ax.title.get_fontfamily() == font_manager.FontProperties().get_family()


def test_plot_saves_and_shows_in_notebooks(tmp_path):
    """`History.plot` is the way to the picture; a notebook shows what has _repr_png_."""
    figure = record(falling(20)).plot(tmp_path / "loss.svg")
    assert "<svg" in (tmp_path / "loss.svg").read_text(encoding="utf-8")
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_pyplot_is_left_alone(tmp_path):
    """pyplot chooses a backend, may need a display, and keeps every figure alive."""
    code = (
        "import sys, xpnet\n"
        "h = xpnet.History()\n"
        "h.extend([2.0, 1.0], 0.1)\n"
        "h.plot(sys.argv[1])\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "picture.png")],
        capture_output=True, text=True, timeout=120, check=True,
    )
    assert done.stdout.strip() == "False"


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    """`history.plot()` is reached without the extra `cli`."""
    monkeypatch.delitem(sys.modules, "xpnet.plots")
    monkeypatch.delattr(xpnet, "plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "xpnet\[cli\]"'):
        record([1.0]).plot()
