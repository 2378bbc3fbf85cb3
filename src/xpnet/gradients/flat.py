"""Lines along which a function shows no change: followed outward to where it changes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..arrays import Host
from .levels import Lines
from .noise import SAFETY

ROUNDS = 60
# How often its own size an entry is moved before f is said not to depend on it.
FAR = 30.0


class Followed(NamedTuple):
    """What is behind the flat piece of some lines."""

    h: Host  # the farthest step without a change
    zero: Host  # the slope is 0, or f as it is computed has none
    bound: Host  # what rounding may have hidden of it
    stairs: Host  # f goes in stairs, and its slope says nothing


def followed(lines: Lines, which: Host, low: Host, high: Host) -> Followed:
    """Find out whether lines that show no change have no slope, or one that rounding hides.

    If f changes at once by far more than its rounding, as ReLU does beyond its kink, there was no
    slope before: a smooth function that rises so fast would have had one below the smallest
    number. If it is flat again behind that, it goes in stairs. And if it never changes, it does
    not depend on the entry, as far as it is computed.

    Parameters
    ----------
    lines : Lines
    which : ndarray of int
    low, high : ndarray
        Steps without a change, and with one (infinite where none is known).
    """
    width = _width(lines)
    low, high = _onset(lines, which, low, high, width)
    value = lines.value[which]
    noise = np.fmax(lines.noise(which, low), lines.value_eps * np.abs(value)) + lines.tiny
    change, equal = np.zeros(len(which)), np.isfinite(high)
    broken, changed = np.zeros((2, len(which)), dtype=bool)
    # x has digits between the two nearest.
    apart = 0.02 * width * low > 16.0 * lines.eps * lines.size[which]
    for sign in (1.0, -1.0):
        near, beside, middle, far = (
            lines.sample(which, sign * low * (1.0 + k * width))[0] for k in (1.0, 1.02, 2.0, 4.0)
        )
        broken |= ~np.isfinite(near) | ~np.isfinite(middle)
        change = np.fmax(change, np.abs(middle - value))
        # On the side where it has not changed yet nothing is known.
        same = (near == beside) & apart
        equal &= (near == value) | same | ((near == middle) & (middle == far))
        changed |= near != value
    # To the end of its domain and far beyond x f does not change, as 0·exp(x) does not.
    ending = broken & (low > FAR * np.fmax(lines.size[which], 1.0))
    unused = (~np.isfinite(high) & ~broken) | ending
    rounding = lines.value_eps * np.abs(value) + lines.tiny
    sharp = np.isfinite(high) & ~broken & (change > rounding / math.sqrt(lines.value_eps))
    # A term that is below the rounding of f wherever the entry goes would not be seen.
    hidden = 2.0 * SAFETY * noise / np.fmax(lines.size[which], 1.0)
    bound = np.where(unused, hidden, lines.tiny / low)
    return Followed(low, unused | (sharp & ~equal), bound, sharp & equal & changed)


def _width(lines: Lines) -> float:
    """How near to each other steps must be that tell a kink from a steep smooth function.

    One that rises within twice this share by 1/√eps has fallen below the smallest number at x,
    if it falls at that rate.
    """
    return 0.25 * math.log(lines.value_eps) / math.log(lines.tiny)


def _onset(lines: Lines, which: Host, low: Host, high: Host, width: float) -> tuple[Host, Host]:
    """Follow lines outward: the farthest flat step, and the nearest at which f changes."""
    value, stride = lines.value[which], np.full(len(which), 8.0)
    low, high, limit = low.copy(), high.copy(), 1e-2 * lines.largest
    # Long strides would miss what is near 0 or near x alone.
    for share in (0.5, 1.0, 1.5, 3.0):
        h = share * lines.size[which]
        on = np.flatnonzero((h > low) & (h < high))
        for sign in (1.0, -1.0) if on.size else ():
            other = lines.sample(which[on], sign * h[on])[0] != value[on]
            high[on[other]] = h[on[other]]
    for _ in range(ROUNDS):
        unknown = ~np.isfinite(high)
        on = np.flatnonzero((unknown & (low < limit)) | (high > (1.0 + width) * low))
        on = on[~unknown[on] | (low[on] < limit)]
        if on.size == 0:
            break
        outer = np.fmin(low[on] * stride[on], limit)
        middle = np.sqrt(low[on]) * np.sqrt(high[on])
        h = np.where(unknown[on], outer, middle)
        flat = np.ones(len(on), dtype=bool)
        for sign in (1.0, -1.0):
            flat &= lines.sample(which[on], sign * h)[0] == value[on]
        low[on] = np.where(flat, h, low[on])
        high[on] = np.where(flat, high[on], h)
        stride[on] = np.fmin(stride[on] ** 2, 1e60)
    return low, high
