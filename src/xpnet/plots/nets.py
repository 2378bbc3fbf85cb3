"""Pictures of what a net does: its classes, its first layer, its mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from ..arrays import Array, Params
from ..backend.placement import Placement
from ..checks import positive_integer
from ..losses import Output
from .canvas import axes_or_new, entitle, inches, lettering_of
from .lettering import drawable, label_ticks, shortened, write


class BatchLike(Protocol):
    """What a picture takes of a net's checks."""

    def checked_target(self, t: Array, n: int, *, read: bool = False) -> Array:
        """Return the target of n rows as class indices or as rows, or raise."""


class NetLike(Protocol):
    """What a picture takes of a net; an `xpnet.MLP` has it."""

    params: Params
    placement: Placement

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """The number of inputs, and of the outputs of each layer."""

    @property
    def output(self) -> Output:
        """The last layer's link and loss; a picture asks for its name."""

    def predict(self, x: Array) -> Array:
        """Return the output for each row of x."""

    @property
    def batch(self) -> BatchLike:
        """What the net asks of x and t."""


def plot_confusion(
    net: NetLike, x: Array, t: Array, ax: Axes | None = None, *, names: Sequence[str] | None = None
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
        ax.imshow(
            np.ma.masked_where(~shown, counts), cmap=colors, vmin=0,
            vmax=2 * max(1, int(counts[shown].max(initial=0))),
        )  # fmt: skip
    cell = 72 * min(ax.bbox.width, ax.bbox.height) / ax.figure.dpi / n  # points, as font sizes
    _write_counts(ax, counts, min(size, cell / (0.7 * max(3, len(f"{counts.max():,}")))))
    longest = max(2, letters // 5)
    small = min(size, max(6.0, 0.8 * cell))
    every = math.ceil(small / cell)
    upright = n > 20 or any(len(name) > 3 for name in names)
    label_ticks(ax.yaxis, names, longest, every, fontsize=small)
    label_ticks(ax.xaxis, names, longest, every, fontsize=small, rotation=90 if upright else 0)
    ax.set_xlabel("predicted", fontsize=size)
    ax.set_ylabel("true", fontsize=size)
    hits = int(np.trace(counts))
    entitle(ax, f"{hits:,} of {len(true):,} right ({100 * hits / len(true):.2f} %)")
    return ax


def _write_counts(ax: Axes, counts: np.ndarray, fontsize: float) -> None:
    if fontsize < 4:  # points: nobody can read them
        return
    for row, column in np.argwhere(counts):
        count = f"{counts[row, column]:,}"
        ax.text(column, row, count, ha="center", va="center", fontsize=fontsize)


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
    units = net.layer_sizes[1]
    weights = net.placement.to_host(net.params["W1"][:, : min(limit, units)]).astype(np.float64)
    images = weights.T.reshape(-1, rows, columns)

    ax = axes_or_new(ax, 8, 7)
    size, _ = lettering_of(ax)
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
    entitle(ax, f"First layer: weights of {of} units")
    return ax


def plot_mistakes(
    net: NetLike,
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
        text = ax.text(
            left + (columns - 1) / 2, top + rows + 0.3, "", ha="center", va="top", fontsize=size
        )
        says, label = (
            shortened(drawable(names[i], text.get_fontfamily())[0], room)
            for i in (predicted[row], true[row])
        )
        write(text, f"says {says}\n{100 * sure[row]:.1f} % sure\nis {label}")
    return ax


def _class_names(net: NetLike, names: Sequence[str] | None) -> list[str]:
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


def _predicted(net: NetLike, x: Array, t: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true class, predicted class and its probability of each row, on the host."""
    to_host = net.placement.to_host
    probabilities = to_host(net.predict(x))
    true = to_host(net.batch.checked_target(t, len(probabilities), read=True))
    if true.ndim == 2:
        true = true.argmax(axis=1)
    predicted = probabilities.argmax(axis=1)
    return true, predicted, probabilities[np.arange(len(predicted)), predicted]


def _image_shape(net: NetLike, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Return rows and columns of the images that the inputs are, or raise."""
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
