"""The picture of a gradient check."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes

from .canvas import axes_or_new, entitle, explain, lettering_of


class ReportLike(Protocol):
    """What a picture takes of a gradient check; an `xpnet.GradientReport` has it."""

    @property
    def verdict(self) -> str:
        """The result, in a word or two."""

    @property
    def values(self) -> Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """By parameter: the gradient under test, the central differences, their noise."""


def plot_gradient_check(report: ReportLike, ax: Axes | None = None) -> Axes:
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
