"""The pictures: each is drawn into a matplotlib Axes and returns it.

Nothing here touches pyplot: a user's backend, figures and settings stay as they are, and no
display is needed.
"""

from __future__ import annotations

import functools
import io
import math
import textwrap
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

try:
    from matplotlib import font_manager, ticker
    from matplotlib.figure import Figure
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'the pictures need matplotlib; install it with: python -m pip install "xpnet[cli]"',
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

    from .history import History

# More points than a picture has columns of pixels only make the drawing slow.
_MAX_POINTS = 4000
# A larger span of losses than this is unreadable on a linear axis.
_LOG_SPAN = 1e4
_LARGEST = 1e200
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
    if ax is None:
        return loss_figure(history).axes[0]

    finite = np.isfinite(losses)
    # Matplotlib's own arithmetic overflows near the end of the floats.
    drawn = np.where(finite, np.clip(losses, -_LARGEST, _LARGEST), np.nan)
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

    if finite.any():
        low, high = float(drawn[finite].min()), float(drawn[finite].max())
        if low > 0 and high / low > _LOG_SPAN:
            ax.set_yscale("log")
        elif low >= 0 and ax.get_yscale() != "log":
            ax.set_ylim(bottom=0)
    ax.margins(x=0.01)
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    ax.xaxis.set_major_locator(
        ticker.MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    )
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    ax.grid(alpha=0.3)
    # In a small axes of the user's: smaller words, and at most half the width for the box.
    inches = ax.bbox.width / ax.figure.dpi
    size, characters = (10, 12) if inches > 6 else (7, 17)  # points; characters an inch
    title_width = min(_TITLE_WIDTH, int(inches * characters * 0.8))
    _write(ax.title, _wrapped(_title(history), title_width), "Loss of each step")
    ax.title.set_fontsize(1.2 * size)
    # The box is the legend's title: matplotlib then looks for the emptiest corner for both.
    legend = ax.legend(loc="best", alignment="left", framealpha=0.9, title=" ")
    for text in (*legend.get_texts(), legend.get_title()):
        text.set_fontsize(size)
    for line in legend.get_lines():
        line.set_linewidth(max(1.5, line.get_linewidth()))  # the raw line's is hard to see
    box_width = min(_BOX_WIDTH, int(inches * characters * 0.5))
    box = "\n".join(_wrapped(line, box_width) for line in _box(history, mean))
    _write(legend.get_title(), box, "unknown device")
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
    figure = _ShownFigure(figsize=(12, 6), layout="constrained")
    plot_loss(history, figure.add_subplot())
    return figure


class _ShownFigure(Figure):
    """A figure that notebooks show although it does not belong to pyplot."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


# --- the numbers -----------------------------------------------------------------------------


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


def _title(history: History) -> str:
    """Return what was trained, as far as the history knows it."""
    s = history.settings
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


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, max(width, 10)))


def _write(target: Text, text: str, instead: str) -> None:
    """Set a text so that every character is drawn: names come from users and from drivers.

    Characters that the user's fonts lack are drawn in any installed font that has them; where
    none has, they lose their accents or become '?', and a line of which nothing is left
    becomes `instead`.
    """
    text = "".join(c if c == "\n" or c.isprintable() else " " for c in text)
    families = target.get_fontfamily()
    missing = frozenset(text) - _characters(tuple(families)) - {"\n"}
    if missing:
        font = _font_with(missing)
        if font is None:
            text = "\n".join(_without(line, missing) or instead for line in text.splitlines())
        else:
            target.set_fontfamily([*families, font])
    target.set_parse_math(False)  # a name with two dollars is no formula
    target.set_text(text)


def _characters(families: tuple[str, ...]) -> frozenset[str]:
    """Return what the first choices of matplotlib for these font families can draw."""
    paths = [font_manager.findfont(font_manager.FontProperties(family=[f])) for f in families]
    return frozenset(chr(c) for path in paths for c in font_manager.get_font(path).get_charmap())


@functools.cache
def _font_with(characters: frozenset[str]) -> str | None:
    """Return the name of an installed font that has all the characters, None where none has."""
    upright = [e for e in font_manager.fontManager.ttflist if e.style == "normal"]
    for name in sorted({entry.name for entry in upright if entry.weight == 400}):
        # The first has a box for every character, the others are pieces of formulas.
        if name.startswith(("Last Resort", "STIXNonUnicode", "STIXSize", "cm")):
            continue
        try:
            if characters <= _characters((name,)):
                return name
        except (OSError, RuntimeError):  # a damaged font, or one that has gone
            continue
    return None


def _without(line: str, missing: frozenset[str]) -> str:
    """Return a line without the characters; '' where no letter or digit is left."""
    plain = "".join(
        "".join(d for d in unicodedata.normalize("NFKD", c) if d.isascii()) or "?"
        if c in missing
        else c
        for c in line
    )
    return plain if any(c.isalnum() for c in plain) else ""
