"""The pictures: what is in them, that they can be read, and that they touch nothing else."""

from __future__ import annotations

import dataclasses
import itertools
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
from xpnet.layers import Affine, Convolution
from xpnet.plots import lettering, loss_figure, plot_loss

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
    _, _, mean = plots.curves.smoothed(loss)
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


# --- the other pictures ----------------------------------------------------------------------


def identity_net(n, scale=50.0):
    """A net whose prediction is the place of the largest input."""
    net = xpnet.MLP([n, n], weight_init=0.0)
    net.params["W1"] = np.eye(n, dtype=np.float32) * np.float32(scale)
    return net


def rows(*places, n):
    return np.eye(n, dtype=np.float32)[list(places)]


def test_curves_over_one_another_are_all_visible():
    """Curves of one seed coincide: equally wide, only the last would be seen."""
    ax = plots.plot_losses({"numpy": falling(), "_torch": falling(), "视": falling(500)})
    drawn(ax.figure)
    lines = ax.get_lines()
    assert [e.get_label() for e in lines] == ["numpy", "_torch", "视"]
    assert len(ax.get_legend().get_texts()) == 3, "a label was left out"
    widths = [e.get_linewidth() for e in lines]
    assert widths == sorted(widths, reverse=True)
    assert len(set(widths)) == 3
    assert "mean of" in ax.get_ylabel()


def test_curves_that_broke_off_are_drawn():
    """`compare` draws the run that became NaN as well."""
    ax = plots.plot_losses({"a": [2.0, 1.0, np.nan], "b": [np.nan], "c": [1e300, 1.0]})
    drawn(ax.figure)
    for curves in ({}, {"a": []}):
        with pytest.raises(ValueError, match="at least one curve, each of at least one step"):
            plots.plot_losses(curves)


def test_times_are_bars_with_their_numbers():
    """A bar without its number has to be measured with a ruler."""
    times = {"numpy": 1341.4, "torch on cuda:0": np.nan, "日本": 0.5, "jax": 42.34}
    ax = plots.plot_times(times, unit="ms")
    drawn(ax.figure)
    assert [text.get_text() for text in ax.texts] == ["1,341", "no time", "0.50", "42.3"]
    assert [bar.get_width() for bar in ax.patches] == [1341.4, 0.0, 0.5, 42.34]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[:2] == ["numpy", "torch on cuda:0"]
    assert ax.get_xlabel() == "ms"
    bottom, top = ax.get_ylim()
    assert bottom > top, "the first belongs on top"
    for wrong in ({}, {"a": -1.0}):
        with pytest.raises(ValueError, match="times must be"):
            plots.plot_times(wrong)


def test_confusion_counts(lib):
    """Rows are the true classes; exchanged, the picture blames the wrong class."""
    net = identity_net(3).to(**lib.kwargs)
    x = lib.array(rows(0, 1, 1, 2, 2, 2, n=3))
    for t in ([0, 1, 2, 2, 2, 1], rows(0, 1, 2, 2, 2, 1, n=3)):
        dtype = "int64" if isinstance(t, list) else "float32"
        ax = plots.plot_confusion(net, x, lib.array(t, dtype))
        counted = {
            (round(text.get_position()[1]), round(text.get_position()[0])): text.get_text()
            for text in ax.texts
        }
        assert counted == {(0, 0): "1", (1, 1): "1", (1, 2): "1", (2, 1): "1", (2, 2): "2"}
        assert ax.get_title() == "Accuracy 66.67 %: 4 of 6"
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted", "true")


@pytest.mark.parametrize("n", [2, 10, 47, 200])
def test_confusion_of_many_classes(n):
    """Numbers that overlap are worse than none; names must not be drawn over one another."""
    names = [f"class {i} of a long name" for i in range(n)]
    ax = plots.plot_confusion(identity_net(n), rows(*range(n), n=n), np.arange(n), names=names)
    drawn(ax.figure)
    cell = ax.bbox.width / n
    renderer = ax.figure.canvas.get_renderer()
    assert all(text.get_window_extent(renderer).width <= cell for text in ax.texts)
    assert bool(ax.texts) == (n <= 47)
    boxes = [label.get_window_extent(renderer) for label in ax.get_xticklabels()]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(boxes)), "names overlap"
    assert min(label.get_fontsize() for label in ax.get_xticklabels()) >= 6


def test_weights_are_images_of_the_inputs(lib):
    """Transposed or shuffled pixels still look like something; nobody would notice."""
    net = xpnet.MLP([6, 4, 2], seed=0, **lib.kwargs)
    ax = plots.plot_weights(net, shape=(2, 3))
    drawn(ax.figure)
    picture = ax.images[0].get_array()
    weights = lib.host(net.params["W1"])
    np.testing.assert_allclose(picture[:2, :3].filled(), weights[:, 0].reshape(2, 3))
    np.testing.assert_allclose(picture[:2, 4:7].filled(), weights[:, 1].reshape(2, 3))
    np.testing.assert_allclose(picture[3:5, :3].filled(), weights[:, 2].reshape(2, 3))
    assert picture.mask[2].all(), "nothing separates two images"
    low, high = ax.images[0].get_clim()
    assert low == -high, "white must mean 0"


def filters(count, channels=1, **where):
    """A net that begins with a convolution of 2 × 3 filters."""
    layers = [Convolution(count, (2, 3)), Affine(2)]
    return xpnet.Network(layers, input_shape=(channels, 4, 4), seed=0, **where)


def test_filters_are_images_of_their_windows(lib):
    """Another filter's weights, or channels that run into each other."""
    net = filters(3, channels=2, **lib.kwargs)
    before = lib.host(net.params["W1"]) + 1.0
    ax = plots.plot_filters(net, before=before)
    drawn(ax.figure)
    assert ax.get_title() == "First convolution: 3 filters"
    assert [text.get_text() for text in ax.texts] == ["before training", "after training"]
    picture, weights = ax.images[0].get_array(), lib.host(net.params["W1"])
    across = 2 * 2 * 4 - 1  # two filters of two channels in a row, each with a border but the last
    for start, expected in ((0, before), (across + 3, weights)):
        np.testing.assert_allclose(picture[:2, start : start + 3].filled(), expected[0, 0])
        np.testing.assert_allclose(picture[:2, start + 4 : start + 7].filled(), expected[0, 1])
        np.testing.assert_allclose(picture[3:5, start + 4 : start + 7].filled(), expected[2, 1])
    assert picture.mask[:, across : across + 3].all()
    ax = plots.plot_filters(filters(9), limit=4)
    assert ax.get_title() == "First convolution: 4 of 9 filters"


def test_weights_of_another_kind():
    """Each picture says which one draws the weights that it cannot draw."""
    with pytest.raises(ValueError, match="the net's first weights are for images: plot_filters"):
        plots.plot_weights(filters(3), shape=(4, 4))
    with pytest.raises(ValueError, match="the net's first weights are for rows: plot_weights"):
        plots.plot_filters(xpnet.MLP([4, 2]))
    with pytest.raises(ValueError, match="before has shape"):
        plots.plot_filters(filters(3), before=np.zeros((2, 1, 2, 3)))
    with pytest.raises(ValueError, match="limit must be at least 1"):
        plots.plot_filters(filters(3), limit=0)


def test_weights_of_many_units_or_broken_ones():
    """A net of 4096 units must not become a picture of dots; NaN must not become an error."""
    ax = plots.plot_weights(xpnet.MLP([4, 500, 2], seed=0), limit=9)
    assert ax.get_title() == "First layer: weights of 9 of 500 units"
    for value in (np.nan, 0.0):
        net = xpnet.MLP([4, 3, 2])
        net.params["W1"] = np.full((4, 3), value, dtype=np.float32)
        drawn(plots.plot_weights(net).figure)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"6 inputs, which is no square: give shape=\(rows, columns\)"),
        ((2, 2), "shape is 2 × 2, but the net has 6 inputs"),
        ((0, 6), "every entry of shape must be at least 1"),
    ],
)
def test_shapes_that_do_not_fit(shape, message):
    """`cannot reshape array of size 6` does not say what to change."""
    net = xpnet.MLP([6, 6])
    with pytest.raises(ValueError, match=message):
        plots.plot_weights(net, shape=shape)
    with pytest.raises(ValueError, match=message):
        plots.plot_mistakes(net, rows(0, n=6), np.asarray([0]), shape=shape)


def test_mistakes_are_the_most_confident_ones(lib):
    """The order is the point: the surest mistake tells most about the net or the labels."""
    net = identity_net(4, scale=1.0).to(**lib.kwargs)
    x = np.zeros((6, 4), dtype=np.float32)
    x[np.arange(6), [0, 1, 2, 3, 0, 1]] = [1, 2, 3, 4, 5, 6]  # the larger, the surer
    t = np.asarray([0, 0, 2, 1, 3, 1])
    ax = plots.plot_mistakes(net, lib.array(x), lib.array(t, "int64"), shape=(1, 4))
    drawn(ax.figure)
    says = [text.get_text().splitlines() for text in ax.texts]
    assert [(line[0], line[2]) for line in says] == [
        ("says 0", "is 3"), ("says 3", "is 1"), ("says 1", "is 0"),
    ]
    assert says[0][1] == f"{100 * np.exp(5) / (np.exp(5) + 3):.1f} % sure"
    assert ax.get_title() == "3 mistakes among 6"
    np.testing.assert_allclose(ax.images[0].get_array()[0, :4].filled(), x[4])
    first = plots.plot_mistakes(
        net, lib.array(x), lib.array(t, "int64"), shape=(1, 4), limit=1, names=list("abcd")
    )
    assert [text.get_text().splitlines()[0] for text in first.texts] == ["says a"]
    assert first.get_title() == "The 1 most confident of 3 mistakes among 6"


def test_no_mistakes_is_a_picture_too():
    """A perfect net must not end the run with an error."""
    ax = plots.plot_mistakes(identity_net(4), rows(0, 1, n=4), np.asarray([0, 1]))
    drawn(ax.figure)
    assert ax.get_title() == "No mistakes among 2"


@pytest.mark.parametrize("width", [3, 4, 8])
def test_text_below_the_images_overlaps_nothing(width):
    """In a small axes there are fewer images, not smaller words."""
    rng = np.random.default_rng(0)
    net = xpnet.MLP([784, 10], seed=0)
    x = rng.random((200, 784), dtype=np.float32)
    ax = Figure(figsize=(width, width), layout="constrained").add_subplot()
    names = ["a name that is too long for any picture"] * 10
    plots.plot_mistakes(net, x, np.asarray([0] * 200), ax, names=names)
    drawn(ax.figure)
    renderer = ax.figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in ax.texts]
    assert min(text.get_fontsize() for text in ax.texts) >= 7
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_only_classes_have_mistakes():
    """Values have no confusion matrix; a picture of rounding would be nonsense."""
    net = xpnet.MLP([4, 2], output="identity")
    for plot in (plots.plot_confusion, plots.plot_mistakes):
        with pytest.raises(ValueError, match=r"must have output 'softmax'.* not 'identity'"):
            plot(net, rows(0, n=4), np.asarray([0]))
        for names in (["one"], "ab", ["a", "b", "c"]):
            with pytest.raises(ValueError, match="names must be 2 names"):
                plot(xpnet.MLP([4, 2]), rows(0, n=4), np.asarray([0]), names=names)


def test_gradients_are_against_differences():
    """Exchanged axes would turn 'too large' into 'too small'."""
    x = np.asarray([1.0, 2.0, -3.0])
    report = xpnet.check_gradient(lambda x: np.sum(x**2), 4 * x, x)
    ax = plots.plot_gradient_check(report)
    drawn(ax.figure)
    points = ax.get_lines()[0]
    np.testing.assert_allclose(points.get_xdata(), 2 * x, rtol=1e-6)
    np.testing.assert_allclose(points.get_ydata(), 4 * x)
    assert ax.get_title() == "Gradient check: failed"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("central difference", "gradient under test")
    assert ax.get_xlim() == ax.get_ylim(), "the diagonal must be one"


def test_gradients_of_strange_values():
    """The picture of a broken gradient is the one that is looked at."""
    x = np.asarray([1.0, 2.0])
    wrong = xpnet.check_gradient(lambda x: np.sum(x**2), np.asarray([np.nan, 1e100]), x)
    drawn(plots.plot_gradient_check(wrong).figure)
    values = iter(range(100))
    nothing = xpnet.check_gradient(lambda x: np.asarray(float(next(values))), 2 * x, x)
    ax = plots.plot_gradient_check(nothing)
    drawn(ax.figure)
    assert ax.get_title() == "Gradient check: not deterministic"
    assert ax.get_legend() is None


def every_plot():
    history = record(falling(200))
    net, x, t = identity_net(4), rows(0, 1, n=4), np.asarray([0, 2])
    point = np.asarray([1.0, 2.0])
    report = xpnet.check_gradient(lambda x: np.sum(x**2), 2 * point, point)
    return {
        "plot_loss": lambda ax: plot_loss(history, ax),
        "plot_losses": lambda ax: plots.plot_losses({"a": history.loss}, ax),
        "plot_times": lambda ax: plots.plot_times({"a": 1.0}, ax),
        "plot_confusion": lambda ax: plots.plot_confusion(net, x, t, ax),
        "plot_weights": lambda ax: plots.plot_weights(net, ax),
        "plot_filters": lambda ax: plots.plot_filters(filters(3), ax),
        "plot_mistakes": lambda ax: plots.plot_mistakes(net, x, t, ax),
        "plot_gradient_check": lambda ax: plots.plot_gradient_check(report, ax),
    }


@pytest.mark.parametrize("name", list(every_plot()))
def test_axes_in_and_out(name):
    """Pictures fit a notebook: drawn where the user says, shown where there is no place yet."""
    plot = every_plot()[name]
    figure = Figure(figsize=(6, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert plot(left) is left
    assert not right.has_data()
    drawn(figure)
    assert plot(None)._repr_png_().startswith(b"\x89PNG")


def test_every_plot_is_tried():
    """A new picture that forgets the axes of the user."""
    public = {name for name in dir(plots) if name.startswith("plot_")}
    assert public == set(every_plot())


# --- text ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["视频卡", "глаз", "\U0001f600 GPU", "$x^$", "tab\there", "é\x00"])
def test_text_that_fonts_lack_is_no_box(name):
    """A device named in another script must neither warn nor become a row of boxes."""
    ax = drawn(loss_figure(record(falling(20), device=name, activation=name)))
    for text in (ax.title, ax.get_legend().get_title()):
        families = tuple(text.get_fontfamily())
        assert set(text.get_text()) - {"\n"} <= lettering.characters(families)
    assert "numpy 2.0 on cpu" in words(ax)


def test_text_uses_another_font_before_it_loses_characters():
    """Installed fonts of the user's own script are there to be used."""
    text = Figure().text(0, 0, "", fontfamily=["DejaVu Sans Display"])  # has no letters
    lettering.write(text, "été")
    assert text.get_text() == "été"
    assert set("été") <= lettering.characters(tuple(text.get_fontfamily()))


def fonts_that_have(monkeypatch, **alphabets):
    """Matplotlib with these font families and no others."""
    entries = [
        font_manager.FontEntry(fname=name, name=name, style="normal", weight=400)
        for name in alphabets
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", entries)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    monkeypatch.setattr(font_manager, "findfont", lambda wanted: wanted.get_family()[0])
    monkeypatch.setattr(lettering, "_glyphs", lambda path: frozenset(alphabets[path]))
    lettering._fonts_for.cache_clear()


def test_several_scripts_in_one_line_use_several_fonts(monkeypatch):
    """One font with everything is rare: Chinese and Korean come in fonts of their own."""
    fonts_that_have(monkeypatch, latin="abc -", hanzi="视频卡a", hangul="자동차")
    try:
        assert lettering.drawable("abc - 视频 자동차", ["latin"]) == (
            "abc - 视频 자동차", ["latin", "hangul", "hanzi"],
        )
    finally:
        lettering._fonts_for.cache_clear()


def test_text_without_any_font_keeps_what_it_can(monkeypatch):
    """Accents go first; two names that are drawn as '?' could not be told apart."""
    fonts_that_have(monkeypatch, latin="".join(map(chr, range(32, 127))))
    try:
        assert lettering.drawable("Zürich 视\n猫 😀", ["latin"]) == (
            "Zurich \\u89c6\n\\u732b \\U0001f600", ["latin"],
        )
    finally:
        lettering._fonts_for.cache_clear()


def test_fonts_newer_than_matplotlibs_list_are_found(monkeypatch):
    """Who installs a Chinese font for the pictures does not know of matplotlib's cache."""
    path = font_manager.findfont("DejaVu Sans")
    listed = font_manager.fontManager.ttflist
    without = [entry for entry in listed if entry.name == "DejaVu Sans Display"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", without)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [path])
    lettering._fonts_for.cache_clear()
    try:
        text, families = lettering.drawable("ж", ["DejaVu Sans Display"])
        assert (text, families) == ("ж", ["DejaVu Sans Display", "DejaVu Sans"])
    finally:
        lettering._fonts_for.cache_clear()


def test_fonts_of_another_weight_are_used_without_complaint(monkeypatch, caplog):
    """Some scripts come in one weight; matplotlib's advice about it would be in every log."""
    listed = font_manager.fontManager.ttflist
    sans = next(e for e in listed if (e.name, e.style, e.weight) == ("DejaVu Sans", "normal", 400))
    heavy = dataclasses.replace(sans, name="Heavy", weight=500)
    without = [entry for entry in listed if entry.name == "DejaVu Sans Display"]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*without, heavy])
    lettering._fonts_for.cache_clear()
    try:
        figure = Figure()
        text = figure.text(0, 0, "", fontfamily=["DejaVu Sans Display"])
        lettering.write(text, "ж")
        assert text.get_fontfamily() == ["DejaVu Sans Display", "Heavy"]
        FigureCanvasAgg(figure).draw()
    finally:
        lettering._fonts_for.cache_clear()
    assert not caplog.records


def test_wide_characters_take_the_room_of_two():
    """A line of Chinese that is wrapped as Latin is twice as wide as the picture."""
    assert lettering.wrapped("视" * 30, 20).splitlines() == ["视" * 10] * 3
    assert lettering.wrapped("one two three", 10) == "one two\nthree"
    assert lettering.shortened("视频卡视频卡", 7) == "视频卡…"
    assert lettering.shortened("short", 7) == "short"


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
