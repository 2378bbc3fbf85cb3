"""What is asked of the slopes of a function, and what a search for them comes to."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from ..arrays import Host

# What a line may come to.
OPEN, PASSED, FAILED, KINK, UNCLEAR = range(5)
# Why a line is unclear, beside rounding.
NOISE, JUMP, STAIRCASE = range(3)
# Of the gradient under test, in units of epsilon.
GRADIENT_ROUNDING = 16.0


@dataclass(frozen=True)
class Wanted:
    """What is asked of a slope.

    Attributes
    ----------
    given : ndarray or None
        The slopes under test; None: slopes are only measured.
    rounding : ndarray or float
        What the rounding of `given` may be, at the least.
    rtol, atol : float
        A slope is decided when its error bound is at most rtol times its size, or atol.
    loose : bool
        Differences within rtol or atol are accepted, although the bound is smaller.
    thorough : bool
        Find the best step, not only one that decides.
    step : float or None
        The only step that is taken.
    """

    given: Host | None = None
    rounding: Any = 0.0
    rtol: float = 1e-3
    atol: float = 0.0
    loose: bool = False
    thorough: bool = False
    step: float | None = None


@dataclass
class Slopes:
    """What was found for each line.

    Attributes
    ----------
    verdict, reason : ndarray of int
    slope, bound : ndarray
        The slope, and what it may be off by.
    low, high : ndarray
        At a kink: the slopes on both sides.
    side : ndarray of int
        1 or -1 where only values on that side of x were used.
    step : ndarray
        The shortest one that was taken.
    finite : ndarray of bool
        Whether f had values to compute a slope from.
    """

    verdict: Host
    reason: Host
    slope: Host
    bound: Host
    low: Host
    high: Host
    side: Host
    step: Host
    finite: Host

    def part(self, those: slice) -> Slopes:
        """Return what was found for some lines."""
        return Slopes(*(getattr(self, field.name)[those] for field in fields(self)))
