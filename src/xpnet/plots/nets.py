"""Pictures of what a net does: its classes, its first layer, its mistakes, its gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from ..arrays import Array, Params
from ..backend.placement import Placement
from ..checks import positive_integer
from ..losses import Output
from .canvas import axes_or_new, entitle, explain, inches, lettering_of
from .lettering import drawable, label_ticks, shortened, write


class BatchLike(Protocol):
    """What a picture takes of a net's checks."""

    @property
    def outputs(self) -> int:
        """The numbers in a row of the net's output."""

    def checked_target(self, t: Array, n: int, *, read: bool = False) -> Array:
        """Return the target of n rows as class indices or as rows, or raise."""


class NetLike(Protocol):
    """What a picture takes of a net; an `xpnet.MLP` has it."""

    params: Params
    placement: Placement

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row of x."""

    @property
    def output(self) -> Output:
        """The last layer's link and loss; a picture asks for its name."""

    def predict(self, x: Array) -> Array:
        """Return the output for each row of x."""

    @property
    def _batch(self) -> BatchLike:
        """What the net asks of x and t."""


class ReportLike(Protocol):
    """What a picture takes of a gradient check; an `xpnet.GradientReport` has it."""

    @property
    def verdict(self) -> str:
        """The result, in a word or two."""

    @property
    def values(self) -> Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """By parameter: the gradient under test, the central differences, their noise."""


def plot_confusion(
    net: NetLike, x: Array, t: Array, ax: Axes | None = None, *, names: Sequence[str] | None = None
) -> Axes:
    """Draw how many rows of each class are predicted as which class.

    Correct predictions are blue, on the diagonal; mistakes are red. Darker means more of them.

    Parameters
    ----------
    net : MLP
        With output "softmax".
    x, t : array
        As for `Network.accuracy`. Waits for the device.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 8 × 8 inches.
    names : sequence of str, optional
        Of the classes; default: the net's ``class_names``, or else their numbers.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    TypeError, ValueError
        As `Network.accuracy`; or the output is another, or the number of names is wrong.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> from xpnet.plots import plot_confusion
    >>> net = xpnet.MLP([2, 2], weight_init=0.0)
    >>> ax = plot_confusion(net, np.zeros((4, 2), dtype=np.float32), np.asarray([0, 0, 0, 1]))
    >>> ax.get_title()
    'Accuracy 75.00 %: 3 of 4'
    """
    names = _class_names(net, names)
    true, predicted, _ = _predicted(net, x, t)
    n = len(names)
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (true, predicted), 1)
    right = np.eye(n, dtype=bool)

    ax = axes_or_new(ax, 8, 8)
    size, letters = lettering_of(ax)
    for shown, colors in ((right, "Blues"), (~right, "Reds")):
        # Twice the range: numbers stay readable in black.
        top = 2 * max(1, int(counts[shown].max(initial=0)))
        ax.imshow(np.ma.masked_where(~shown, counts), cmap=colors, vmin=0, vmax=top)
    cell = 72 * min(ax.bbox.width, ax.bbox.height) / ax.figure.dpi / n  # points, as font sizes
    number = min(size, cell / (0.7 * max(3, len(f"{counts.max():,}"))))
    if number >= 4:  # points: nobody can read smaller ones
        for row, column in np.argwhere(counts):
            count = f"{counts[row, column]:,}"
            ax.text(column, row, count, ha="center", va="center", fontsize=number)
    longest = max(2, letters // 5)
    small = min(size, max(6.0, 0.8 * cell))
    every = math.ceil(small / cell)
    upright = n > 20 or any(len(name) > 3 for name in names)
    label_ticks(ax.yaxis, names, longest, every, fontsize=small)
    label_ticks(ax.xaxis, names, longest, every, fontsize=small, rotation=90 if upright else 0)
    ax.set_xlabel("predicted", fontsize=size)
    ax.set_ylabel("true", fontsize=size)
    hits = int(np.trace(counts))
    entitle(ax, f"Accuracy {100 * hits / len(true):.2f} %: {hits:,} of {len(true):,}")
    return ax


def plot_weights(
    net: NetLike, ax: Axes | None = None, *, shape: tuple[int, int] | None = None, limit: int = 100
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
    units = _first_weights(net, 2).shape[1]
    weights = net.placement.to_host(net.params["W1"][:, : min(limit, units)]).astype(np.float64)
    images = weights.T.reshape(-1, rows, columns)

    ax = axes_or_new(ax, 8, 7)
    size, _ = lettering_of(ax)
    across = math.ceil(math.sqrt(len(images) * rows / columns))
    # A few large weights would leave the rest pale.
    finite = np.abs(weights[np.isfinite(weights)])
    largest = float(np.quantile(finite, 0.995)) if finite.any() else 1.0
    picture, _ = _tiled(images, across)
    shown = ax.imshow(picture, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    ax.set_axis_off()
    bar = ax.figure.colorbar(shown, ax=ax, shrink=0.6, pad=0.02, extend="both")
    bar.ax.tick_params(labelsize=size)
    of = f"the {units:,}" if units <= limit else f"{limit:,} of {units:,}"
    entitle(ax, f"First layer: weights of {of} units")
    return ax


def plot_filters(
    net: NetLike, ax: Axes | None = None, *, before: Array | None = None, limit: int = 64
) -> Axes:
    """Draw the filters of the first convolution as images, of each its channels side by side.

    Parameters
    ----------
    net : Network
        Its first layer with weights is a convolution.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 8 × 4 inches.
    before : array, (filters, channels, height, width), optional
        The filters before training, drawn at the left, on the same scale as those of now.
    limit : int
        Draw the first so many filters.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        The first weights are no filters, or `before` has another shape; or `limit` is below 1.

    Examples
    --------
    >>> import xpnet
    >>> from xpnet.layers import Affine, Convolution
    >>> from xpnet.plots import plot_filters
    >>> net = xpnet.Network([Convolution(6, 5), Affine(3)], input_shape=(1, 8, 8), seed=0)
    >>> ax = plot_filters(net)
    >>> ax.get_title()
    'First convolution: 6 filters'
    """
    limit = positive_integer(limit, "limit")
    times = [_first_weights(net, 4)]
    if before is not None:
        times.insert(0, np.asarray(before))
        if times[0].shape != times[1].shape:
            raise ValueError(f"before has shape {times[0].shape}, the filters {times[1].shape}")
    count, channels, rows, columns = times[-1].shape
    shown = min(limit, count)
    across = channels * max(1, math.ceil(math.sqrt(shown / channels)))
    tiles = [_tiled(w[:shown].reshape(-1, rows, columns), across)[0] for w in times]
    gap = np.full((tiles[0].shape[0], columns), np.nan)
    picture = np.concatenate([tiles[0], *(part for t in tiles[1:] for part in (gap, t))], axis=1)

    ax = axes_or_new(ax, 8, 4)
    size, _ = lettering_of(ax)
    largest = float(np.nanmax(np.abs(picture), initial=0.0)) or 1.0
    drawn = ax.imshow(picture, cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
    ax.set_axis_off()
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.6, pad=0.02)
    bar.ax.tick_params(labelsize=size)
    of = f"{count:,} filters" if shown == count else f"{shown:,} of {count:,} filters"
    entitle(ax, f"First convolution: {of}")
    starts = np.cumsum([0, tiles[0].shape[1] + columns])
    for start, when in zip(starts, ("before", "after") if before is not None else (), strict=False):
        middle, below = start + (tiles[0].shape[1] - 1) / 2, picture.shape[0] - 1.2
        ax.text(middle, below, f"{when} training", ha="center", va="top", fontsize=size)
    return ax


def plot_mistakes(
    net: NetLike, x: Array, t: Array, ax: Axes | None = None, *,
    shape: tuple[int, int] | None = None, names: Sequence[str] | None = None, limit: int = 20,
) -> Axes:  # fmt: skip
    r"""Draw the images whose wrong class the net is most sure of.

    Below each: what the net says, how sure it is, and what it is.

    Parameters
    ----------
    net : MLP
        With output "softmax".
    x, t : array
        As for `Network.accuracy`. Waits for the device.
    ax : matplotlib.axes.Axes, optional
        None makes a figure of 8 × 9 inches.
    shape : (rows, columns), optional
        Of an image. None: a square, where the number of inputs is one.
    names : sequence of str, optional
        Of the classes; default: the net's ``class_names``, or else their numbers.
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
    names = _class_names(net, names)
    rows, columns = _image_shape(net, shape)
    true, predicted, sure = _predicted(net, x, t)
    wrong = np.flatnonzero(true != predicted)
    worst = wrong[np.argsort(-sure[wrong], kind="stable")]

    ax = axes_or_new(ax, 8, 9)
    ax.set_axis_off()
    if not worst.size:
        entitle(ax, f"No mistakes among {len(true):,}")
        return ax
    # An image and the three lines below it are legible from 0.9 inches of width on.
    width, height = inches(ax)
    size, letters = lettering_of(ax)
    across = max(1, min(len(worst), math.ceil(math.sqrt(limit)), int(width / 0.9)))
    tile = width / max(across, 3)
    below = math.ceil((4.2 * size / 72) / tile * columns)
    down = max(1, int(height / tile / ((rows + below) / (columns + 1))))
    worst = worst[: min(limit, across * down)]
    title = f"{len(wrong):,} mistakes among {len(true):,}"
    if len(worst) < len(wrong):
        title = f"The {len(worst)} most confident of {title}"
    entitle(ax, title)
    place = net.placement
    images = place.to_host(place.xp.take(x, place.asarray(worst), axis=0))
    images = images.reshape(-1, rows, columns).astype(np.float64)
    picture, corners = _tiled(images, across, below)
    ax.imshow(picture, cmap="gray_r", interpolation="nearest")
    room = int(0.85 * letters / width * tile) - len("says ")
    for row, (top, left) in zip(worst, corners, strict=True):
        middle, bottom = left + (columns - 1) / 2, top + rows + 0.3
        text = ax.text(middle, bottom, "", ha="center", va="top", fontsize=size)
        pair = (drawable(names[i], text.get_fontfamily())[0] for i in (predicted[row], true[row]))
        says, label = (shortened(name, room) for name in pair)
        write(text, f"says {says}\n{100 * sure[row]:.1f} % sure\nis {label}")
    return ax


def plot_gradient_check(report: ReportLike, ax: Axes | None = None) -> Axes:
    """Scatter the gradient under test against the central differences.

    Right ones lie on the diagonal.

    Parameters
    ----------
    report : GradientReport
        Of `Network.check_gradient` or `xpnet.check_gradient`.
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
    ax = axes_or_new(ax, 6, 6)
    size, _ = lettering_of(ax)
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
    entitle(ax, f"Gradient check: {report.verdict}")
    if points:
        for line in explain(ax, points, report.values).get_lines():
            line.set_markersize(8)
    return ax


# --- what the pictures ask of a net ----------------------------------------------------------


def _first_weights(net: NetLike, ndim: int) -> np.ndarray:
    """Return the first weights on the host, or raise where they have other dimensions."""
    weights = net.placement.to_host(net.params["W1"])
    if weights.ndim != ndim:
        kind, other = ("rows", "plot_weights") if ndim == 4 else ("images", "plot_filters")
        raise ValueError(f"the net's first weights are for {kind}: {other} draws them")
    return np.asarray(weights, dtype=np.float64)


def _class_names(net: NetLike, names: Sequence[str] | None) -> list[str]:
    """Return a name for each class, or raise where the net predicts none."""
    if net.output.name != "softmax":
        raise ValueError(
            f"the net must have output 'softmax', whose predictions are classes, not "
            f"{net.output.name!r}"
        )
    classes = net._batch.outputs
    names = getattr(net, "class_names", None) if names is None else names
    if names is None:
        return [str(i) for i in range(classes)]
    if isinstance(names, str) or len(names) != classes:
        raise ValueError(f"names must be {classes} names, one for each class, not {names!r}")
    return [str(name) for name in names]


def _predicted(net: NetLike, x: Array, t: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true class, predicted class and its probability of each row, on the host."""
    to_host = net.placement.to_host
    probabilities = to_host(net.predict(x))
    true = to_host(net._batch.checked_target(t, len(probabilities), read=True))
    true = true.argmax(axis=1) if true.ndim == 2 else true
    predicted = probabilities.argmax(axis=1)
    return true, predicted, probabilities[np.arange(len(predicted)), predicted]


def _image_shape(net: NetLike, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Return rows and columns of the images that the inputs are, or raise."""
    inputs = math.prod(net.input_shape)
    if shape is None and len(net.input_shape) == 3 and net.input_shape[0] == 1:
        return net.input_shape[1], net.input_shape[2]
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


def _tiled(images: np.ndarray, across: int, below: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, rows, columns) images in one, `across` in a row, and their upper left corners.

    Between them is nothing (NaN): one pixel to the right, so many as said below each.
    """
    n, rows, columns = images.shape
    row, column = np.divmod(np.arange(n), across)
    canvas = np.full((row[-1] + 1, rows + below, across, columns + 1), np.nan)
    canvas[row, :rows, column, :columns] = images
    corners = np.stack([row * (rows + below), column * (columns + 1)], axis=1)
    return canvas.reshape(-1, across * (columns + 1))[:, :-1], corners
