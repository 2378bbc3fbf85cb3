"""What a function shows along lines with one step: its slope, and what that may be off by."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np

from ..arrays import Host
from .noise import SAFETY


class Lines(Protocol):
    """Lines through x along which a function is sampled; arrays are NumPy's, one value a line.

    Attributes
    ----------
    value : ndarray
        Of the function at x.
    size : ndarray
        Of the numbers that a move is added to.
    eps, value_eps : float
        Of x, and of the function's values.
    tiny, largest : float
        The smallest number with all its digits, and the largest.
    digits : float
        How many units in the last place of x the shortest step takes that says something.
    """

    @property
    def value(self) -> Host: ...  # noqa: D102
    @property
    def size(self) -> Host: ...  # noqa: D102
    @property
    def eps(self) -> float: ...  # noqa: D102
    @property
    def value_eps(self) -> float: ...  # noqa: D102
    @property
    def tiny(self) -> float: ...  # noqa: D102
    @property
    def largest(self) -> float: ...  # noqa: D102
    @property
    def digits(self) -> float: ...  # noqa: D102

    def sample(self, which: Host, t: Host) -> tuple[Host, Host]:
        """Return the values at so many units from x, and the moves that were really taken."""

    def noise(self, which: Host, h: Host) -> Host:
        """Return the standard deviation of the rounding of values h apart; of the nearest for 0."""

    def jittered(self) -> Lines:
        """Return the same lines through a point that differs from x in the last digits."""


@dataclass
class Level:
    """What some lines show with one step and half of it."""

    which: Host
    h: Host
    slope: Host
    truncation: Host
    rounding: Host
    bends: tuple[Host, Host]
    sides: tuple[Host, Host, Host]  # the slope to the left, to the right, what they are off by
    finite: Host
    flat: Host
    even: Host
    grown: Host
    steep: Host
    top: Host  # the size of the largest value
    inside: tuple[Host, Host]
    corner: Host  # what the slope may be off by if the bends are those of a kink
    bound: Host = field(init=False)
    kinked: Host = field(init=False)

    def __post_init__(self) -> None:
        self.bound = self.truncation + self.rounding
        self.kinked = np.zeros(len(self.which), dtype=bool)

    def part(self, keep: Host) -> Level:
        """Return the level of some of its lines."""
        arrays: list[Any] = [getattr(self, f.name) for f in fields(self) if f.init]
        cut: list[Any] = [
            tuple(v[keep] for v in a) if isinstance(a, tuple) else a[keep] for a in arrays
        ]
        part = Level(*cut)
        part.bound, part.kinked = self.bound[keep], self.kinked[keep]
        return part


def measured(lines: Lines, which: Host, h: Host, side: Host) -> Level:
    """Measure some lines with the steps h and h/2; on one side also h/4 and h/8.

    Central: Richardson's extrapolation of both differences, which is off by some h⁴; its bound is
    what they differ by. A kink that lies within the step is at most that, too, unless it is near
    to x, where the bends show it. One-sided: the extrapolation of four slopes, off by h⁴ as well.
    """
    both = side == 0
    steps = [
        np.where(both, c, side * s) * h
        for c, s in ((1.0, 1.0), (-1.0, 0.5), (0.5, 0.25), (-0.5, 0.125))
    ]
    sampled = [lines.sample(which, t) for t in steps]
    g, t = [v for v, _ in sampled], [taken for _, taken in sampled]
    value = lines.value[which]
    size = np.maximum.reduce([np.abs(v) for v in g])
    noise = np.fmax(lines.noise(which, h), 0.5 * lines.value_eps * np.fmax(size, np.abs(value)))
    # f may round its argument, which it has moved.
    tilt = np.maximum.reduce([np.abs((v - value) / move) for v, move in zip(g, t, strict=True)])
    noise = noise + 0.5 * lines.eps * lines.size[which] * np.where(np.isfinite(tilt), tilt, 0.0)
    noise = noise + lines.tiny
    central = _central(g, t, value, h)
    one_sided = _one_sided(g, t, value)
    slope, truncation = (np.where(both, a, b) for a, b in zip(central, one_sided, strict=True))
    # The weights of the values: 2 · 4/3 · 2 at most over h; and of the four slopes on one side,
    # whose noise is 2/(h/8) and less, some 3.
    rounding = SAFETY * noise * np.where(both, 2.0, 48.0) / h
    bends = (g[0] + g[1] - 2 * value) / h, (g[2] + g[3] - 2 * value) / (0.5 * h)
    # Of moves that are rounded differently on both sides.
    uneven = lines.eps * np.fmax(lines.size[which] / h, 1.0) * np.abs(bends[1]) * 2.0
    rounding = rounding + np.where(both, uneven, 0.0)
    left = [(value - g[i]) / -t[i] for i in (1, 3)]
    right = [(g[i] - value) / t[i] for i in (0, 2)]
    apart = np.abs(left[1] - left[0]) + np.abs(right[1] - right[0])
    apart = apart + SAFETY * 8.0 * noise / h
    ends = 2 * left[1] - left[0], 2 * right[1] - right[0], apart
    finite = np.isfinite(g[0]) & np.isfinite(g[1]) & np.isfinite(g[2]) & np.isfinite(g[3])
    finite &= np.isfinite(slope) & np.isfinite(truncation)
    flat = (g[0] == value) & (g[1] == value) & (g[2] == value) & (g[3] == value)
    even = both & (g[0] == g[1]) & (g[2] == g[3]) & ~flat & (t[0] == -t[1]) & (t[2] == -t[3])
    grown = size > 4.0 * np.abs(value) + 64.0 * lines.noise(which, h)
    # Neither a slope nor a kink has differences that grow as the step shrinks.
    apart = np.abs(slope) + SAFETY * noise / h
    steep = (truncation > 0.1 * apart) & (np.abs(slope) > 1.2 * (np.abs(slope) - truncation))
    inside = np.isfinite(g[0]) | np.isfinite(g[2]), np.isfinite(g[1]) | np.isfinite(g[3])
    # A smooth function's bend halves with the step, a kink's stays.
    doubt = SAFETY * 6.0 * noise / h
    near, far = np.abs(bends[1]), np.abs(bends[0])
    corner = np.where(both & (near > 0.6 * far), 0.5 * near, 0.0)
    level = Level(
        which, h, slope, truncation, rounding, bends, ends, finite, flat, even, grown, steep,
        np.fmax(size, np.abs(value)), inside, corner,
    )  # fmt: skip
    level.kinked = both & finite & (near > 0.55 * far + doubt) & (near < 1.4 * far + doubt)
    return level


def _central(g: list[Host], t: list[Host], value: Host, h: Host) -> tuple[Host, Host]:
    """Slope and truncation from the values at h, -h, h/2, -h/2."""
    # Divide by the steps that were taken, which rounding has changed.
    wide, narrow = (g[0] - g[1]) / (t[0] - t[1]), (g[2] - g[3]) / (t[2] - t[3])
    return narrow + (narrow - wide) / 3.0, np.abs(narrow - wide)


def _one_sided(g: list[Host], t: list[Host], value: Host) -> tuple[Host, Host]:
    """Slope and truncation from the values at h, h/2, h/4, h/8 (Neville's extrapolation)."""
    column = [(v - value) / move for v, move in zip(g, t, strict=True)]
    for k in (1, 2, 3):
        before = column[-1]
        pairs = itertools.pairwise(column)
        column = [b + (b - a) / (2.0**k - 1.0) for a, b in pairs]
    return column[-1], 3.0 * np.abs(column[-1] - before)
