"""Pictures of training runs: losses over the steps, and times as bars."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..smoothing import MAX_POINTS, bins, not_finite_as_nan, smoothed
from .canvas import BOX_WIDTH, axes_or_new, entitle, explain, figure_of, lettering_of
from .lettering import label_ticks, write

# A larger span of losses than this is unreadable on a linear axis.
_LOG_SPAN = 1e4
_LARGEST = 1e200


class HistoryLike(Protocol):
    """What a picture takes of the record of a training run; an `xpnet.History` has it."""

    settings: dict[str, Any]
    steps: int
    seconds: float
    validation_steps: list[int]
    validation_loss: list[float]
    test_accuracy: float | None

    @property
    def stopped(self) -> str | None:
        """Why it ended early, in words."""

    @property
    def loss(self) -> np.ndarray:
        """The loss of each step."""

    @property
    def device(self) -> str:
        """The device in words."""


def plot_loss(history: HistoryLike, ax: Axes | None = None) -> Axes:
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
    ax = axes_or_new(ax, 12, 6)
    drawn = _clipped(losses)
    window, middle, mean = smoothed(drawn)
    (raw,) = ax.plot(
        *_envelope(drawn), linewidth=0.6, alpha=0.4, label="loss of each batch",
        marker="." if len(losses) <= 50 else "",  # a line between few points hides them
    )  # fmt: skip
    if window > 1:
        ax.plot(middle, mean, color=raw.get_color(), linewidth=2, label=f"mean of {window:,} steps")
    validation = not_finite_as_nan(np.asarray(history.validation_loss, dtype=np.float64))
    if not np.isnan(validation).all():
        ax.plot(
            history.validation_steps, validation, color="black", marker="o", markersize=4,
            linestyle="--", linewidth=0.8, label="validation loss",
        )  # fmt: skip
    finite = np.isfinite(losses)
    if not finite.all():
        at = int(np.argmin(finite))
        ax.axvline(at + 1, color="tab:red", linestyle=":", label=f"{losses[at]} at step {at + 1:,}")

    _dress(ax, drawn, "loss", title_of(history.settings))
    _add_legend_and_box(ax, _box(history, mean))
    return ax


def _add_legend_and_box(ax: Axes, box: str) -> None:
    """Draw the box as the title of the legend: matplotlib finds the emptiest corner for both."""
    size, letters = lettering_of(ax)
    legend = ax.legend(loc="best", alignment="left", framealpha=0.9, title=" ")
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_fontsize(size)
    for line in legend.get_lines():
        line.set_linewidth(max(1.5, line.get_linewidth()))  # the raw line's is hard to see
    # At most half the width for the box.
    write(legend.get_title(), box, min(BOX_WIDTH, letters // 2))


def loss_figure(history: HistoryLike) -> Figure:
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
    ax = axes_or_new(ax, 9, 6)
    lines, window = [], 1
    for i, curve in enumerate(losses.values()):
        window, steps, mean = smoothed(_clipped(curve))
        width = 1.5 + 2 * (len(losses) - 1 - i)
        lines += ax.plot(steps, mean, linewidth=width, marker="." if len(curve) == 1 else "")
    means = np.concatenate([line.get_ydata() for line in lines])
    _dress(ax, means, "loss" if window == 1 else f"loss, mean of {window:,} steps", title)
    explain(ax, lines, losses)
    return ax


def plot_times(
    times: Mapping[str, float], ax: Axes | None = None, *, unit: str = "µs per step"
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
    ax = axes_or_new(ax, 9, 1.5 + 0.5 * values.size)
    size, letters = lettering_of(ax)
    places = np.arange(values.size)
    bars = ax.barh(places, np.nan_to_num(values), color=[f"C{i % 10}" for i in places])
    ax.bar_label(bars, [_three_digits(time) for time in values], padding=4, fontsize=size)
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


def _three_digits(time: float) -> str:
    digits = 0 if time >= 99.5 else 1 if time >= 9.95 else 2
    return "no time" if math.isnan(time) else f"{time:,.{digits}f}"


# --- what the pictures share -----------------------------------------------------------------


def _dress(ax: Axes, drawn: np.ndarray, label: str, title: str) -> None:
    """Scale the axis of the losses to what is drawn, and name both axes and the picture."""
    finite = drawn[np.isfinite(drawn)]
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        if low > 0 and high / low > _LOG_SPAN:
            ax.set_yscale("log")
        elif low >= 0 and ax.get_yscale() != "log":
            ax.set_ylim(bottom=0)
    ax.margins(x=0.01)
    ax.set(xlabel="step", ylabel=label)
    locator = ticker.MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    ax.grid(alpha=0.3)
    entitle(ax, title)


# --- the numbers -----------------------------------------------------------------------------


def _clipped(losses: np.ndarray) -> np.ndarray:
    # Matplotlib's own arithmetic overflows near the end of the floats.
    return not_finite_as_nan(losses).clip(-_LARGEST, _LARGEST)


def _envelope(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps and losses to draw: all of them, or least and greatest of each few."""
    if len(losses) <= MAX_POINTS:
        return np.arange(1, len(losses) + 1), losses
    _, starts, middles = bins(len(losses))
    # fmin and fmax pass over NaN.
    extremes = [extreme.reduceat(losses, starts) for extreme in (np.fmin, np.fmax)]
    return np.repeat(middles, 2), np.stack(extremes, axis=1).ravel()


# --- the words -------------------------------------------------------------------------------


def title_of(settings: Mapping[str, Any]) -> str:
    """Return what was trained, as far as the settings of a history say so."""
    s = settings
    if not {"optimizer", "learning_rate", "batch_size"} <= s.keys():
        return "Loss of each step"
    net = "a net of layers"
    if {"layer_sizes", "activation"} <= s.keys():
        net = f"{'-'.join(map(str, s['layer_sizes']))} ({s['activation']})"
    dataset = f" on {s['dataset']}" if "dataset" in s else ""
    numerical = ", numerical gradient" if s.get("gradient") == "numerical" else ""
    return (
        f"Loss of {net}{dataset}: "
        f"{s['optimizer']['name']}, learning rate {s['learning_rate']}, "
        f"batch {s['batch_size']}{numerical}"
    )


def _box(history: HistoryLike, mean: np.ndarray) -> str:
    """Return what the box says: losses, the test accuracy, times, the device."""
    last = float(history.loss[-1])
    each = 1e3 * history.seconds / history.steps
    lines = [f"final loss {last:.4g}"]
    if history.steps >= 100 and np.isfinite([last, mean[-1]]).all():
        lines[0] += f" (smoothed {mean[-1]:.4g})"
    if history.test_accuracy is not None:
        lines.append(f"test accuracy {100 * history.test_accuracy:.2f} %")
    lines.append(f"{history.seconds:,.2f} s, {each:,.{3 if each < 100 else 0}f} ms per step")
    lines.append(history.device)
    if history.stopped:
        lines.append(history.stopped)
    return "\n".join(lines)
