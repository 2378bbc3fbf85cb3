"""The losses of a run, smoothed: what pictures draw and summaries print."""

from __future__ import annotations

import math

import numpy as np

# More points than a picture has columns of pixels only make the drawing slow.
MAX_POINTS = 4000
# The end of a run is the mean of at least so many steps. What is shorter than two of these tells
# nothing.
END = 10


def smoothed(losses: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Return the window in steps, the steps, and the mean loss around each of them.

    About 1 % of the steps, fewer at the ends. Losses that are not finite are left out.
    """
    finite = np.isfinite(losses)
    width, starts, middles = bins(len(losses))
    window = max(1, round(0.01 * len(starts))) | 1  # odd: as many on the left as on the right
    around = np.ones(window)
    # Sums of bins, then sums of few bins: a running sum would cancel after a large loss.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(finite, losses, 0.0), starts)
        counts = np.add.reduceat(finite.astype(np.float64), starts)
        mean = np.convolve(sums, around, "same") / np.convolve(counts, around, "same")
    return min(window * width, len(losses)), middles, not_finite_as_nan(mean)


def bins(n: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Return how n steps are binned: steps in a bin, where each starts, the step in its middle."""
    width = math.ceil(n / (MAX_POINTS // 2)) if n > MAX_POINTS else 1
    starts = np.arange(0, n, width)
    # Steps are counted from 1.
    return width, starts, (starts + 1 + np.minimum(starts + width, n)) / 2


def not_finite_as_nan(losses: np.ndarray) -> np.ndarray:
    """Return the losses with NaN in the place of infinity."""
    return np.where(np.isfinite(losses), losses, np.nan)


def rise(losses: np.ndarray) -> tuple[float, float] | None:
    """Return the smoothed first and last loss where the last is clearly above; None elsewhere.

    Batches differ: where nothing is learnt, every second run would end above its beginning. So the
    last loss must exceed the first by three standard errors; or be twice as large, and six of
    seven losses in the second half of the run above the first.

    Examples
    --------
    >>> rise(np.repeat([1.0, 2.0], 20))
    (1.0, 2.0)
    >>> rise(np.repeat([2.0, 1.0], 20))
    """
    if len(losses) < 2 * END:
        return None
    window, _, mean = smoothed(losses)
    half = (window + 1) // 2  # what the ends of the smoothed curve are means of
    end = losses[-max(END, half) :]
    with np.errstate(over="ignore", invalid="ignore"):
        first, last, spread = float(mean[0]), float(np.mean(end)), float(np.std(end))
    clear = last > first + 3 * spread * math.sqrt(1 / half + 1 / len(end))
    large = last > 2 * first and float(np.mean(losses[len(losses) // 2 :] > first)) > 6 / 7
    return (first, last) if clear or large else None
