"""The pictures: each is drawn into a matplotlib Axes and returns it.

Nothing here touches pyplot: a user's backend, figures and settings stay as they are, and no
display is needed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    from matplotlib import ticker
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .lettering import drawable, label_ticks, shortened, write
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'the pictures need matplotlib; install it with: python -m pip install "xpnet[cli]"',
        name=error.name,
    ) from error

from .checks import positive_integer

if TYPE_CHECKING:
    from matplotlib.legend import Legend

    from .backend import Array
    from .gradcheck import GradientReport
    from .history import History
    from .network import MLP

# More points than a picture has columns of pixels only make the drawing slow.
_MAX_POINTS = 4000
# A larger span of losses than this is unreadable on a linear axis.
_LOG_SPAN = 1e4
_LARGEST = 1e200
# Below this width, in inches, an axes gets small words.
_SMALL = 4.5
# The longest lines of the box and of the title, in characters.
_BOX_WIDTH, _TITLE_WIDTH = 46, 100


def plot_loss(history: History, ax: Axes | None = None) -> Axes:
    """Draw the loss over the steps, raw and smoothed.

    A box shows the final loss, the test accuracy where it is known, the time and the device.
    Above some thousand steps the raw line shows the least and the greatest loss of each few.

    Parameters
    ----------
    history : History
        Of at least one step.
    ax : matplotlib.axes.Axes, optional
        Where to draw; several histories can share one. None makes a figure of 12 × 6 inches.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        The history has no steps.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.plots import plot_loss
    >>> history = xpnet.History()
    >>> history.extend([2.0, 1.0, 0.5], seconds=0.1)
    >>> ax = plot_loss(history)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('step', 'loss')
    """
    losses = history.loss
    if not len(losses):
        raise ValueError("the history has no steps: there is no loss to draw")
    ax = _axes(ax, 12, 6)
    finite = np.isfinite(losses)
    drawn = _clipped(losses)
    window, middle, mean = _smoothed(drawn)
    (raw,) = ax.plot(
        *_envelope(drawn),
        linewidth=0.6,
        alpha=0.4,
        marker="." if len(losses) <= 50 else "",  # a line between few points hides them
        label="loss of each batch",
    )
    color = raw.get_color()
    if window > 1:
        ax.plot(middle, mean, color=color, linewidth=2, label=f"mean of {window:,} steps")
    validation = np.asarray(history.validation_loss, dtype=np.float64)
    if np.any(np.isfinite(validation)):
        ax.plot(
            history.validation_steps,
            np.where(np.isfinite(validation), validation, np.nan),
            color="black",
            marker="o",
            markersize=4,
            linestyle="--",
            linewidth=0.8,
            label="validation loss",
        )
    if not finite.all():
        at = int(np.argmin(finite))
        ax.axvline(at + 1, color="tab:red", linestyle=":", label=f"{losses[at]} at step {at + 1:,}")

    _scale_losses(ax, drawn)
    _label_steps(ax, "loss")
    size, letters = _lettering(ax)
    _entitle(ax, title_of(history.settings))
    # The box is the legend's title: matplotlib then looks for the emptiest corner for both.
    legend = ax.legend(loc="best", alignment="left", framealpha=0.9, title=" ")
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_fontsize(size)
    for line in legend.get_lines():
        line.set_linewidth(max(1.5, line.get_linewidth()))  # the raw line's is hard to see
    # At most half the width for the box.
    write(legend.get_title(), "\n".join(_box(history, mean)), min(_BOX_WIDTH, letters // 2))
    return ax


def loss_figure(history: History) -> Figure:
    """Draw the loss over the steps into a figure of its own.

    Parameters
    ----------
    history : History
        Of at least one step.

    Returns
    -------
    matplotlib.figure.Figure
        12 × 6 inches; it belongs to no window and needs no display.

    Raises
    ------
    ValueError
        The history has no steps.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.plots import loss_figure
    >>> history = xpnet.History()
    >>> history.extend([2.0, 1.0, 0.5], seconds=0.1)
    >>> loss_figure(history).get_size_inches()
    array([12.,  6.])
    """
    return figure_of(plot_loss(history))


def plot_losses(
    curves: Mapping[str, Any], ax: Axes | None = None, *, title: str = "Loss of each step"
) -> Axes:
    """Draw several loss curves over one another, smoothed as in `plot_loss`.

    Curves that coincide stay visible: each is narrower than the one before.

    Parameters
    ----------
    curves : mapping of str to array, (steps,)
        By label; such as ``{"sgd": a.loss, "adam": b.loss}`` of two histories.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 9 × 6 inches.
    title : str

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There is no curve, or one has no steps.

    Examples
    --------
    >>> from xpnet.plots import plot_losses
    >>> ax = plot_losses({"one": [2.0, 1.0], "other": [2.0, 1.5]})
    >>> [line.get_label() for line in ax.get_lines()]
    ['one', 'other']
    """
    losses = {label: np.asarray(curve, dtype=np.float64) for label, curve in curves.items()}
    if not losses or not all(curve.size for curve in losses.values()):
        raise ValueError("curves must have at least one curve, each of at least one step")
    ax = _axes(ax, 9, 6)
    lines, window = [], 1
    for i, curve in enumerate(losses.values()):
        window, steps, mean = _smoothed(_clipped(curve))
        width = 1.5 + 2 * (len(losses) - 1 - i)
        lines += ax.plot(steps, mean, linewidth=width, marker="." if len(curve) == 1 else "")
    means = [line.get_ydata() for line in lines]
    _scale_losses(ax, np.concatenate(means))
    _label_steps(ax, "loss" if window == 1 else f"loss, mean of {window:,} steps")
    _entitle(ax, title)
    _explain(ax, lines, losses)
    return ax


def plot_times(
    times: Mapping[str, float], ax: Axes | None = None, *, unit: str = "µs a step"
) -> Axes:
    """Draw times as bars, one below the other in the order given.

    Parameters
    ----------
    times : mapping of str to float
        By name; NaN where there is none.
    ax : matplotlib.axes.Axes, optional
        None makes a figure 9 inches wide.
    unit : str
        What a time is; the label of the axis.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        There is no time, or one is below 0.

    Examples
    --------
    >>> from xpnet.plots import plot_times
    >>> ax = plot_times({"numpy": 341.0, "jax": 150.0})
    >>> [text.get_text() for text in ax.texts]
    ['341', '150']
    """
    values = np.asarray([*times.values()], dtype=np.float64)
    if not values.size or np.any(values < 0):
        raise ValueError(f"times must be numbers of at least 0, and at least one, not {times!r}")
    ax = _axes(ax, 9, 1.5 + 0.5 * values.size)
    size, letters = _lettering(ax)
    places = np.arange(values.size)
    bars = ax.barh(places, np.nan_to_num(values), color=[f"C{i % 10}" for i in places])
    told = [f"{v:,.{0 if v >= 99.5 else 1 if v >= 9.95 else 2}f}" for v in values]
    ax.bar_label(
        bars, [t if v == v else "no time" for t, v in zip(told, values, strict=True)],
        padding=4, fontsize=size,
    )  # fmt: skip
    label_ticks(ax.yaxis, times, letters // 3, fontsize=size)
    ax.invert_yaxis()
    ax.margins(x=0.15)  # room for the numbers
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
    ax.xaxis.set_major_locator(ticker.MaxNLocator(5))
    ax.tick_params(labelsize=size)
    ax.set_xlabel(" ", fontsize=size)
    write(ax.xaxis.label, unit, letters)
    ax.grid(axis="x", alpha=0.3)
    ax.set_axisbelow(True)
    return ax


def plot_confusion(
    net: MLP, x: Array, t: Array, ax: Axes | None = None, *, names: Sequence[str] | None = None
) -> Axes:
    """Draw how many rows of each class are predicted as which class.

    Right ones are blue, on the diagonal; mistakes are red, the darker the more of them.

    Parameters
    ----------
    net : MLP
        With output "softmax".
    x, t : array
        As for `MLP.accuracy`. Waits for the device.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 8 × 8 inches.
    names : sequence of str, optional
        Of the classes; default: their numbers.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        As `MLP.accuracy`; or the output is another, or the number of names is wrong.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> from xpnet.plots import plot_confusion
    >>> net = xpnet.MLP([2, 2], weight_init=0.0)
    >>> ax = plot_confusion(net, np.zeros((4, 2), dtype=np.float32), np.asarray([0, 0, 0, 1]))
    >>> ax.get_title()
    '3 of 4 right (75.00 %)'
    """
    names = _names(net, names)
    true, guess, _ = _predicted(net, x, t)
    n = len(names)
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (true, guess), 1)
    right = np.eye(n, dtype=bool)

    ax = _axes(ax, 8, 8)
    size, letters = _lettering(ax)
    for shown, colors in ((right, "Blues"), (~right, "Reds")):
        # Twice the range: numbers stay readable in black.
        ax.imshow(
            np.ma.masked_where(~shown, counts), cmap=colors, vmin=0,
            vmax=2 * max(1, int(counts[shown].max(initial=0))),
        )  # fmt: skip
    cell = min(ax.bbox.width, ax.bbox.height) / ax.figure.dpi / n  # inches
    digits = len(f"{counts.max():,}")
    fitting = min(size, 72 * cell / (0.7 * max(3, digits)))  # a digit is 0.6 of a size wide
    if fitting >= 4:
        for row, column in np.argwhere(counts):
            ax.text(
                column, row, f"{counts[row, column]:,}", ha="center", va="center",
                fontsize=fitting,
            )  # fmt: skip
    longest = max(2, letters // 5)
    crowded = any(len(name) > 3 for name in names)
    small = min(size, max(6.0, 72 * cell * 0.8))
    every = math.ceil(small / (72 * cell))
    label_ticks(ax.yaxis, names, longest, every, fontsize=small)
    label_ticks(
        ax.xaxis, names, longest, every, fontsize=small, rotation=90 if crowded or n > 20 else 0
    )
    ax.set_xlabel("predicted", fontsize=size)
    ax.set_ylabel("true", fontsize=size)
    hits = int(np.trace(counts))
    _entitle(ax, f"{hits:,} of {len(true):,} right ({100 * hits / len(true):.2f} %)")
    return ax


def plot_weights(
    net: MLP, ax: Axes | None = None, *, shape: tuple[int, int] | None = None, limit: int = 100
) -> Axes:
    """Draw the weights into each unit of the first layer as an image of the inputs.

    Parameters
    ----------
    net : MLP
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 8 × 7 inches.
    shape : (rows, columns), optional
        Of an image. None: a square, where the number of inputs is one.
    limit : int
        Draw the first so many units.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        `shape` has not as many pixels as the net has inputs, or is needed; or `limit` is
        below 1.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.plots import plot_weights
    >>> ax = plot_weights(xpnet.MLP([16, 5, 2], seed=0))
    >>> ax.get_title()
    'First layer: weights of the 5 units'
    """
    limit = positive_integer(limit, "limit")
    rows, columns = _image_shape(net, shape)
    units = net.layer_sizes[1]
    weights = net.placement.to_host(net.params["W1"][:, : min(limit, units)]).astype(np.float64)
    images = weights.T.reshape(-1, rows, columns)

    ax = _axes(ax, 8, 7)
    size, _ = _lettering(ax)
    across = math.ceil(math.sqrt(len(images) * rows / columns))
    # A few large weights would leave the rest pale.
    finite = np.abs(weights[np.isfinite(weights)])
    largest = float(np.quantile(finite, 0.995)) if finite.any() else 1.0
    picture = ax.imshow(
        _tiled(images, across)[0], cmap="RdBu_r", vmin=-largest, vmax=largest,
        interpolation="nearest",
    )  # fmt: skip
    ax.set_axis_off()
    bar = ax.figure.colorbar(picture, ax=ax, shrink=0.6, pad=0.02, extend="both")
    bar.ax.tick_params(labelsize=size)
    of = f"the {units:,}" if units <= limit else f"{limit:,} of {units:,}"
    _entitle(ax, f"First layer: weights of {of} units")
    return ax


def plot_mistakes(
    net: MLP,
    x: Array,
    t: Array,
    ax: Axes | None = None,
    *,
    shape: tuple[int, int] | None = None,
    names: Sequence[str] | None = None,
    limit: int = 20,
) -> Axes:
    r"""Draw the images whose wrong class the net is most sure of.

    Below each: what the net says, how sure it is, and what it is.

    Parameters
    ----------
    net : MLP
        With output "softmax".
    x, t : array
        As for `MLP.accuracy`. Waits for the device.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 8 × 9 inches.
    shape : (rows, columns), optional
        Of an image. None: a square, where the number of inputs is one.
    names : sequence of str, optional
        Of the classes; default: their numbers.
    limit : int
        Draw at most so many; fewer in a small axes, so that they can be read.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        As `plot_confusion` and `plot_weights`.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> from xpnet.plots import plot_mistakes
    >>> net = xpnet.MLP([4, 2], weight_init=0.0)
    >>> ax = plot_mistakes(net, np.zeros((4, 4), dtype=np.float32), np.asarray([0, 0, 0, 1]))
    >>> [text.get_text() for text in ax.texts]
    ['says 0\n50.0 % sure\nis 1']
    """
    limit = positive_integer(limit, "limit")
    names = _names(net, names)
    rows, columns = _image_shape(net, shape)
    true, guess, sure = _predicted(net, x, t)
    wrong = np.flatnonzero(true != guess)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")]

    ax = _axes(ax, 8, 9)
    ax.set_axis_off()
    if not worst.size:
        _entitle(ax, f"No mistakes among {len(true):,}")
        return ax
    # An image and the three lines below it are legible from 0.9 inches of width on.
    width, height = _inches(ax)
    size, letters = _lettering(ax)
    across = max(1, min(len(worst), math.ceil(math.sqrt(limit)), int(width / 0.9)))
    tile = width / max(across, 3)
    below = math.ceil((4.2 * size / 72) / tile * columns)
    down = max(1, int(height / tile / ((rows + below) / (columns + 1))))
    worst = worst[: min(limit, across * down)]
    of = f"{len(wrong):,} mistakes among {len(true):,}"
    most = len(worst) < len(wrong)
    _entitle(ax, f"The {len(worst)} most confident of {of}" if most else of)
    here = net.placement
    images = here.to_host(here.xp.take(x, here.asarray(worst), axis=0)).reshape(-1, rows, columns)
    picture, corners = _tiled(images.astype(np.float64), across, below)
    ax.imshow(picture, cmap="gray_r", interpolation="nearest")
    room = int(0.85 * letters / width * tile) - len("says ")
    for row, (top, left) in zip(worst, corners, strict=True):
        text = ax.text(
            left + (columns - 1) / 2, top + rows + 0.3, "", ha="center", va="top", fontsize=size
        )
        says, label = (
            shortened(drawable(names[i], text.get_fontfamily())[0], room)
            for i in (guess[row], true[row])
        )
        write(text, f"says {says}\n{100 * sure[row]:.1f} % sure\nis {label}")
    return ax


def plot_gradient_check(report: GradientReport, ax: Axes | None = None) -> Axes:
    """Scatter the gradient under test against the central differences.

    Right ones lie on the diagonal.

    Parameters
    ----------
    report : GradientReport
        Of `MLP.check_gradient` or `xpnet.check_gradient`.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 6 × 6 inches.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> from xpnet.plots import plot_gradient_check
    >>> x = np.asarray([1.0, 2.0])
    >>> ax = plot_gradient_check(xpnet.check_gradient(lambda x: np.sum(x**2), 2 * x, x))
    >>> ax.get_title()
    'Gradient check: passed'
    """
    ax = _axes(ax, 6, 6)
    size, _ = _lettering(ax)
    largest, points = 0.0, []
    for gradient, numerical, _ in report.values.values():
        across, up = (np.asarray(v, dtype=np.float64).ravel() for v in (numerical, gradient))
        # Many small points for large arrays, few large ones for small arrays; all can be seen.
        points += ax.plot(
            across, up, ".", markersize=max(3, 9 - 2 * math.log10(across.size)), alpha=0.7,
            rasterized=True, zorder=3 - 1e-6 * across.size,
        )  # fmt: skip
        finite = np.abs(np.concatenate([across, up]))
        largest = max(largest, float(finite[np.isfinite(finite)].max(initial=0.0)))
    limit = 1.1 * largest or 1.0
    ax.plot([-limit, limit], [-limit, limit], color="0.5", linewidth=0.8, zorder=0)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), box_aspect=1)
    ax.set_xlabel("central difference", fontsize=size)
    ax.set_ylabel("gradient under test", fontsize=size)
    ax.tick_params(labelsize=size)
    ax.grid(alpha=0.3)
    _entitle(ax, f"Gradient check: {report.verdict}")
    if points:
        for line in _explain(ax, points, report.values).get_lines():
            line.set_markersize(8)
    return ax


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches; it belongs to no window."""
    return _ShownFigure(figsize=(width, height), layout="constrained")


def figure_of(ax: Axes) -> Figure:
    """Return the figure that an axes of these functions' own is in."""
    assert isinstance(ax.figure, Figure)
    return ax.figure


class _ShownFigure(Figure):
    """A figure that notebooks show although it does not belong to pyplot."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


class _ShownAxes(Axes):
    """The axes of such a figure: a notebook shows the picture, not the name of its class."""

    def _repr_png_(self) -> bytes:
        assert isinstance(self.figure, _ShownFigure)
        return self.figure._repr_png_()


# --- what the pictures share -----------------------------------------------------------------


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the user's axes, or those of a new figure of so many inches."""
    if ax is not None:
        return ax
    return new_figure(width, height).add_subplot(axes_class=_ShownAxes)


def _inches(ax: Axes) -> tuple[float, float]:
    """Return the width and height that the axes will have in the picture."""
    if ax.figure.get_layout_engine() is not None:
        ax.figure.figure.draw_without_rendering()  # layouts are made when drawing
    dpi: float = ax.figure.dpi
    return ax.bbox.width / dpi, ax.bbox.height / dpi


def _lettering(ax: Axes) -> tuple[float, int]:
    """Return the size of words in points, and how many letters fit across the axes."""
    inches = ax.bbox.width / ax.figure.dpi
    size, letters = (10, 12) if inches > _SMALL else (7, 17)  # a small axes has small words
    return size, int(inches * letters)


def _entitle(ax: Axes, title: str) -> None:
    size, letters = _lettering(ax)
    write(ax.title, title, min(_TITLE_WIDTH, int(0.8 * letters)))
    ax.title.set_fontsize(1.2 * size)


def _explain(ax: Axes, lines: Sequence[Any], labels: Iterable[str]) -> Legend:
    """Return a legend; matplotlib itself leaves out labels that begin with '_'."""
    size, letters = _lettering(ax)
    legend = ax.legend(lines, ["" for _ in lines], loc="best")
    for line, text, label in zip(lines, legend.get_texts(), labels, strict=True):
        line.set_label(label)
        text.set_fontsize(size)
        write(text, label, letters // 2)
    return legend


def _label_steps(ax: Axes, loss: str) -> None:
    ax.margins(x=0.01)
    ax.set_xlabel("step")
    ax.set_ylabel(loss)
    ax.xaxis.set_major_locator(
        ticker.MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    )
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    ax.grid(alpha=0.3)


def _scale_losses(ax: Axes, drawn: np.ndarray) -> None:
    finite = drawn[np.isfinite(drawn)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        if low > 0 and high / low > _LOG_SPAN:
            ax.set_yscale("log")
        elif low >= 0 and ax.get_yscale() != "log":
            ax.set_ylim(bottom=0)


def _names(net: MLP, names: Sequence[str] | None) -> list[str]:
    """Return a name for each class, or raise where the net predicts none."""
    if net.output.name != "softmax":
        raise ValueError(
            f"the net must have output 'softmax', whose predictions are classes, not "
            f"{net.output.name!r}"
        )
    classes = net.layer_sizes[-1]
    if names is None:
        return [str(i) for i in range(classes)]
    if isinstance(names, str) or len(names) != classes:
        raise ValueError(f"names must be {classes} names, one for each class, not {names!r}")
    return [str(name) for name in names]


def _predicted(net: MLP, x: Array, t: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true class, predicted class and its probability of each row, on the host."""
    to_host = net.placement.to_host
    probabilities = to_host(net.predict(x))
    true = to_host(net.checked_target(t, len(probabilities), read=True))
    if true.ndim == 2:
        true = true.argmax(axis=1)
    guess = probabilities.argmax(axis=1)
    return true, guess, probabilities[np.arange(len(guess)), guess]


def _image_shape(net: MLP, shape: tuple[int, int] | None) -> tuple[int, int]:
    inputs = net.layer_sizes[0]
    if shape is None:
        side = math.isqrt(inputs)
        if side * side != inputs:
            raise ValueError(
                f"the net has {inputs} inputs, which is no square: give shape=(rows, columns)"
            )
        return side, side
    rows, columns = (positive_integer(size, "every entry of shape") for size in shape)
    if rows * columns != inputs:
        raise ValueError(f"shape is {rows} × {columns}, but the net has {inputs} inputs")
    return rows, columns


def _tiled(
    images: np.ndarray, across: int, below: int = 1
) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Return (n, rows, columns) images in one, `across` in a row, and their upper left corners.

    Between them is nothing (NaN): one pixel to the right, so many as said below each.
    """
    n, rows, columns = images.shape
    down = math.ceil(n / across)
    canvas = np.full((down * (rows + below), across * (columns + 1) - 1), np.nan)
    corners = []
    for i, image in enumerate(images):
        top, left = i // across * (rows + below), i % across * (columns + 1)
        canvas[top : top + rows, left : left + columns] = image
        corners.append((top, left))
    return canvas, corners


# --- the numbers -----------------------------------------------------------------------------


def _clipped(losses: np.ndarray) -> np.ndarray:
    # Matplotlib's own arithmetic overflows near the end of the floats.
    return np.where(np.isfinite(losses), np.clip(losses, -_LARGEST, _LARGEST), np.nan)


def _envelope(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps and losses to draw: all of them, or least and greatest of each few."""
    y = np.where(np.isfinite(losses), losses, np.nan)
    if len(y) <= _MAX_POINTS:
        return np.arange(1, len(y) + 1), y
    starts = _starts(len(y))
    # fmin and fmax pass over NaN.
    extremes = np.stack([np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)], axis=1)
    return np.repeat(_middles(len(y)), 2), extremes.ravel()


def _smoothed(losses: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the window in steps, the steps, and the mean loss around each of them.

    About 1 % of the steps, fewer at the ends. Losses that are not finite are left out.
    """
    finite = np.isfinite(losses)
    starts = _starts(len(losses))
    bins = max(1, round(0.01 * len(starts))) | 1  # odd: as many on the left as on the right
    around = np.ones(bins)
    # Sums of bins, then sums of few bins: a running sum would cancel after a large loss.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(finite, losses, 0.0), starts)
        counts = np.add.reduceat(finite.astype(np.float64), starts)
        mean = np.convolve(sums, around, "same") / np.convolve(counts, around, "same")
    return (
        min(bins * _per_bin(len(losses)), len(losses)),
        _middles(len(losses)),
        np.where(np.isfinite(mean), mean, np.nan),
    )


def _per_bin(n: int) -> int:
    return max(1, math.ceil(n / (_MAX_POINTS // 2))) if n > _MAX_POINTS else 1


def _starts(n: int) -> np.ndarray:
    return np.arange(0, n, _per_bin(n))


def _middles(n: int) -> np.ndarray:
    """Return the step, counted from 1, in the middle of each bin."""
    starts = _starts(n)
    ends = np.minimum(starts + _per_bin(n), n)
    middles: np.ndarray = (starts + 1 + ends) / 2
    return middles


# --- the words -------------------------------------------------------------------------------


def title_of(settings: Mapping[str, Any]) -> str:
    """Return what was trained, as far as the settings of a history say so."""
    s = settings
    if not {"layer_sizes", "activation", "optimizer", "learning_rate", "batch_size"} <= s.keys():
        return "Loss of each step"
    dataset = f" on {s['dataset']}" if "dataset" in s else ""
    numerical = ", numerical gradient" if s.get("gradient") == "numerical" else ""
    return (
        f"Loss of {'-'.join(map(str, s['layer_sizes']))} ({s['activation']}){dataset}: "
        f"{s['optimizer']['name']}, learning rate {s['learning_rate']}, "
        f"batch {s['batch_size']}{numerical}"
    )


def _box(history: History, mean: np.ndarray) -> list[str]:
    last = float(history.loss[-1])
    each = 1e3 * history.seconds / history.steps
    lines = [f"final loss {last:.4g}"]
    if history.steps >= 100 and np.isfinite([last, mean[-1]]).all():
        lines[0] += f" (smoothed {mean[-1]:.4g})"
    if history.test_accuracy is not None:
        lines.append(f"test accuracy {100 * history.test_accuracy:.2f} %")
    lines.append(f"{history.seconds:,.2f} s, {each:,.{3 if each < 100 else 0}f} ms a step")
    lines.append(history.device)
    if history.stopped:
        lines.append(history.stopped)
    return lines
