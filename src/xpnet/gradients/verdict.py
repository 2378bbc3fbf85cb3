"""From gradients and differences to a verdict, and to what may be wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Host, smallest_normal
from .report import Entry, GradientReport, ParameterReport

Arrays = Mapping[str, Host]

# A difference whose error is above this share of the largest entry decides nothing.
RESOLUTION = 0.05


@dataclass
class Comparison:
    """Values of one array that were compared, on the host."""

    gradient: Host
    numerical: Host
    noise: Host
    kink: Host
    shape: tuple[int, ...]
    entry: Entry | None = None  # found by bisection

    @property
    def scale(self) -> float:
        """The largest value on either side."""
        largest = max(np.max(np.abs(self.gradient)), np.max(np.abs(self.numerical)))
        return float(largest) if math.isfinite(largest) else 1.0

    def failed(self) -> Host:
        """Which differences neither noise nor a kink explains; NaN is one."""
        explained: Host = np.abs(self.gradient - self.numerical) <= self.noise + self.kink
        return ~explained

    def report(self) -> ParameterReport:
        """Count what passed and what did not, and find the worst."""
        error = np.abs(self.gradient - self.numerical)
        failed = self.failed()
        kink = ~failed & ~(error <= self.noise)
        same = (error == 0) & (self.gradient == 0)
        unclear = ~failed & ~kink & ~same & (self.noise > RESOLUTION * self.scale)
        with np.errstate(over="ignore"):
            excess = error / (self.noise + self.kink + smallest_normal(error))
        excess = np.where(np.isnan(error), np.inf, excess)
        at = np.unravel_index(int(np.argmax(excess)), error.shape)
        worst = self.entry or Entry(
            tuple(map(int, at)) if error.shape == self.shape else None,
            *(float(v[at]) for v in (self.gradient, self.numerical, self.noise)),
        )
        f, k, u = (int(np.sum(v)) for v in (failed, kink, unclear))
        return ParameterReport(self.shape, error.size, error.size - f - k - u, f, k, u, worst)


def report_of(
    found: dict[str, Comparison], at: Arrays, method: str,
    variants: Mapping[str, Arrays] | None = None,
) -> GradientReport:  # fmt: skip
    """Judge what was compared.

    Parameters
    ----------
    found : dict of Comparison
    at : dict of ndarray
        The arrays at which the gradient is taken.
    method : str
        How the check was done.
    variants : dict of dicts of ndarray, optional
        What a faulty backward pass would give, by its fault.
    """
    rows = {name: comparison.report() for name, comparison in found.items()}
    if any(row.failed for row in rows.values()):
        verdict = "failed"
    elif any(row.inconclusive or not row.passed for row in rows.values()):
        verdict = "inconclusive"
    else:
        verdict = "passed"
    causes = _likely_causes(found, at, variants or {}) if verdict == "failed" else ()
    values = {name: (c.gradient, c.numerical, c.noise) for name, c in found.items()}
    return GradientReport(verdict, rows, causes, method, values)


def _likely_causes(
    found: Mapping[str, Comparison], at: Arrays, variants: Mapping[str, Arrays]
) -> tuple[str, ...]:
    """One line for each pattern, with the names of the arrays that show it."""
    causes: dict[str, list[str]] = {}
    for name, comparison in found.items():
        if np.any(comparison.failed()):
            with np.errstate(all="ignore"):  # squares of the very large and the very small
                cause = _cause(name, found, at, variants)
            if cause is not None:
                causes.setdefault(cause, []).append(name)
    return tuple(f"{', '.join(names)}: {cause}" for cause, names in causes.items())


def _cause(
    name: str, found: Mapping[str, Comparison], at: Arrays, variants: Mapping[str, Arrays]
) -> str | None:
    c = found[name]
    g, numerical = c.gradient, c.numerical
    if not np.all(np.isfinite(g)):
        return "NaN or infinity"
    if not np.any(g):
        return "all zeros: it is never set, or cut off from the loss"
    if c.entry is not None and g.shape != c.shape:
        return _factor(c)
    if int(np.sum(c.failed())) == 1 and g.size > 1:
        return "a single entry is wrong"
    if (factor := _factor(c)) is not None:
        return factor
    if g.ndim == 2 and min(g.shape) > 1:
        # A matrix that was transposed and brought into shape again, in either order.
        for turned in (g.T.reshape(g.shape), g.reshape(g.shape[::-1]).T):
            if _alike(turned, numerical, c, np.max(c.noise)):
                return "transposed"
    for other, row in found.items():
        if other != name and row.numerical.shape == g.shape and _alike(g, row.numerical, row):
            return f"it is the gradient of {other}"
    if at[name].shape == g.shape and g.size > 2 and np.any(at[name]):
        share = float(np.vdot(g - numerical, at[name]) / np.vdot(at[name], at[name]))
        if share and math.isfinite(share) and _alike(g, numerical + share * at[name], c):
            missing = "left out" if share < 0 else "counted twice"
            return f"it is off by {share:.3g} times the parameter: an L2 term {missing}?"
    for cause, variant in variants.items():
        if name in variant and _alike(g, variant[name], c, loose=1e-3):
            return cause
    return None


def _factor(c: Comparison) -> str | None:
    squares = float(np.vdot(c.numerical, c.numerical))
    if squares == 0 or c.gradient.size < 2:
        return None
    factor = float(np.vdot(c.gradient, c.numerical)) / squares
    if factor == 0 or not _alike(c.gradient / factor, c.numerical, c, c.noise / abs(factor)):
        return None
    sign = "the wrong sign" if factor < 0 else ""
    size = abs(factor)
    if abs(size - 1) < 1e-3:
        return sign or None
    kind, number = ("large", size) if size > 1 else ("small", 1 / size)
    text = f"too {kind} by the constant factor {number:.4g}"
    return f"{sign}, and {text}" if sign else text


def _alike(a: Host, b: Host, c: Comparison, noise: Any = None, loose: float = 1e-4) -> bool:
    """Whether two arrays agree within noise, and so closely that it is no accident."""
    error = np.abs(a - b)
    largest = float(np.max(np.abs(b)))
    slack = c.noise + c.kink + (0.0 if noise is None else noise)
    return bool(
        (np.max(slack) < RESOLUTION * largest and np.all(error <= slack + 1e-2 * loose * largest))
        or np.linalg.norm(error) <= loose * np.linalg.norm(b)
    )
