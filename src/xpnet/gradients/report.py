"""What a gradient check has found: numbers for each array, a verdict, and what may be wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Host, smallest_normal
from ..markup import paragraph, table

# A difference whose error is above this share of the largest entry decides nothing.
RESOLUTION = 0.05


class GradientCheckFailed(AssertionError):
    """A gradient that is not that of its function; `report` says where."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Entry:
    """One entry of a parameter, or one direction (`index` is None then).

    Attributes
    ----------
    index : tuple of int or None
    gradient, numerical : float
        What was given, and the central difference.
    absolute, relative : float
        Their difference, and over the larger of the two.
    noise : float
        The noise floor: what rounding and truncation explain of it.
    """

    index: tuple[int, ...] | None
    gradient: float
    numerical: float
    noise: float

    @property
    def absolute(self) -> float:
        """The size of the difference."""
        return abs(self.gradient - self.numerical)

    @property
    def relative(self) -> float:
        """The difference over the larger of the two values."""
        largest = max(abs(self.gradient), abs(self.numerical))
        return self.absolute / largest if largest else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        numbers = ("gradient", "numerical", "absolute", "relative", "noise")
        index = None if self.index is None else list(self.index)
        return {"index": index, **{name: getattr(self, name) for name in numbers}}


@dataclass(frozen=True)
class ParameterReport:
    """What was found for one array.

    Attributes
    ----------
    shape : tuple of int
    checked, passed, failed, kink, inconclusive : int
        Numbers of entries, or of directions.
    worst : Entry
        The one whose difference exceeds its noise floor the most.
    """

    shape: tuple[int, ...]
    checked: int
    passed: int
    failed: int
    kink: int
    inconclusive: int
    worst: Entry

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {**vars(self), "shape": list(self.shape), "worst": self.worst.to_dict()}


@dataclass(frozen=True)
class GradientReport:
    """The result of a gradient check. ``print(report)`` shows a table.

    Attributes
    ----------
    verdict : str
        "passed": every entry agrees, kinks aside. "failed": some differ by more than rounding,
        truncation and kinks explain. "inconclusive": none does, but for some the noise is so
        large that a wrong value would not show. "not deterministic": two calls of f with the
        same x gave different values, and nothing was compared.
    parameters : dict of ParameterReport
        By name; a single array's name is "x".
    causes : tuple of str
        Likely causes, where the differences show a pattern.
    method : str
        How the check was done.
    values : dict of (gradient, numerical, noise)
        NumPy arrays, by name: every value that was compared.
    """

    verdict: str
    parameters: Mapping[str, ParameterReport]
    causes: tuple[str, ...]
    method: str
    values: Mapping[str, tuple[Host, Host, Host]] = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the verdict is "passed"."""
        return self.verdict == "passed"

    def raise_if_failed(self) -> None:
        """Raise `GradientCheckFailed` unless the gradient passed; for tests.

        Raises
        ------
        GradientCheckFailed
            An AssertionError with the report as its message. Also where nothing was decided:
            a test that proves nothing should not pass.
        """
        if not self.ok:
            raise GradientCheckFailed(self)

    def plot(self, ax: Any = None) -> Any:
        """Scatter the gradient against the differences; needs Matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Drawn into; a new figure's by default.

        Returns
        -------
        matplotlib Axes
        """
        from ..plots import plot_gradient_check

        return plot_gradient_check(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON; without the arrays of `values`."""
        return {
            "verdict": self.verdict, "method": self.method, "causes": list(self.causes),
            "parameters": {name: row.to_dict() for name, row in self.parameters.items()},
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"Gradient check {self.verdict}: {self.method}"]
        if self.parameters:
            rows = [_HEAD, *self._rows()]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            form = "  ".join(f"{{:{'>' if i else '<'}{width}}}" for i, width in enumerate(widths))
            lines += [form.format(*row).rstrip() for row in rows]
        return "\n".join([*lines, *(f"Likely cause: {cause}" for cause in self.causes)])

    def _repr_html_(self) -> str:
        parts = [paragraph(f"Gradient check {self.verdict}: {self.method}")]
        if self.parameters:
            parts.append(table(self._rows(), head=_HEAD))
        return "".join([*parts, *(paragraph(f"Likely cause: {cause}") for cause in self.causes)])

    def _rows(self) -> list[tuple[str, ...]]:
        return [_cells(name, row) for name, row in self.parameters.items()]


_HEAD = (
    "", "shape", "checked", "passed", "failed", "kink", "unclear",
    "worst at", "gradient", "numerical", "abs. error", "rel. error", "noise",
)  # fmt: skip


def _cells(name: str, row: ParameterReport) -> tuple[str, ...]:
    counts = (row.checked, row.passed, row.failed, row.kink, row.inconclusive)
    worst = row.worst
    return (
        name, "×".join(map(str, row.shape)) or "scalar", *(f"{n:,}" for n in counts),
        "(direction)" if worst.index is None else str(list(worst.index)),
        *(f"{value:.6g}" for value in (worst.gradient, worst.numerical)),
        *(f"{value:.1e}" for value in (worst.absolute, worst.relative, worst.noise)),
    )  # fmt: skip


# --- from gradients and differences to a verdict ---------------------------------------------


@dataclass
class Comparison:
    """Values of one array that were compared, on the host.

    Attributes
    ----------
    gradient, numerical, noise, kink : ndarray
    at : ndarray
        The array itself.
    entry : Entry or None
        Found by bisection.
    variants : dict of ndarray
        What a faulty backward pass would give, by its fault.
    """

    gradient: Host
    numerical: Host
    noise: Host
    kink: Host
    at: Host
    entry: Entry | None = None
    variants: dict[str, Host] = field(default_factory=dict)

    def failed(self) -> Host:
        """Which differences neither noise nor a kink explains; NaN is one."""
        explained: Host = np.abs(self.gradient - self.numerical) <= self.noise + self.kink
        return ~explained

    def report(self) -> ParameterReport:
        """Count what passed and what did not, and find the worst."""
        error, failed, shape = np.abs(self.gradient - self.numerical), self.failed(), self.at.shape
        largest = float(max(np.max(np.abs(v)) for v in (self.gradient, self.numerical)))
        coarse = self.noise > RESOLUTION * (largest if math.isfinite(largest) else 1.0)
        kink = ~failed & ~(error <= self.noise)
        same = (error == 0) & (self.gradient == 0)
        with np.errstate(over="ignore"):
            excess = error / (self.noise + self.kink + smallest_normal(error))
        excess = np.where(np.isnan(error), np.inf, excess)
        index = np.unravel_index(int(np.argmax(excess)), error.shape)
        worst = self.entry or Entry(
            tuple(map(int, index)) if error.shape == shape else None,
            *(float(v[index]) for v in (self.gradient, self.numerical, self.noise)),
        )
        f, k, u = (int(np.sum(v)) for v in (failed, kink, ~failed & ~kink & ~same & coarse))
        return ParameterReport(shape, error.size, error.size - f - k - u, f, k, u, worst)


def report_of(found: Mapping[str, Comparison], method: str) -> GradientReport:
    """Judge what was compared; `method` says how the check was done."""
    rows = {name: comparison.report() for name, comparison in found.items()}
    failed = any(row.failed for row in rows.values())
    unclear = any(row.inconclusive or not row.passed for row in rows.values())
    verdict = "failed" if failed else "inconclusive" if unclear else "passed"
    # One line for each pattern, with the names of the arrays that show it.
    causes: dict[str, list[str]] = {}
    for name, row in rows.items():
        with np.errstate(all="ignore"):  # squares of the very large and the very small
            cause = _cause(name, found) if row.failed else None
        if cause is not None:
            causes.setdefault(cause, []).append(name)
    lines = tuple(f"{', '.join(names)}: {cause}" for cause, names in causes.items())
    values = {name: (c.gradient, c.numerical, c.noise) for name, c in found.items()}
    return GradientReport(verdict, rows, lines, method, values)


def _cause(name: str, found: Mapping[str, Comparison]) -> str | None:
    c = found[name]
    g, numerical, at = c.gradient, c.numerical, c.at
    if not np.all(np.isfinite(g)):
        return "NaN or infinity"
    if not np.any(g):
        return "all zeros: it is never set, or cut off from the loss"
    if c.entry is not None and g.shape != at.shape:
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
    if at.shape == g.shape and g.size > 2 and np.any(at):
        share = float(np.vdot(g - numerical, at) / np.vdot(at, at))
        if share and math.isfinite(share) and _alike(g, numerical + share * at, c):
            missing = "left out" if share < 0 else "counted twice"
            return f"it is off by {share:.3g} times the parameter: an L2 term {missing}?"
    faults = (fault for fault, v in c.variants.items() if _alike(g, v, c, loose=1e-3))
    return next(faults, None)


def _factor(c: Comparison) -> str | None:
    squares = float(np.vdot(c.numerical, c.numerical))
    if squares == 0 or c.gradient.size < 2:
        return None
    factor = float(np.vdot(c.gradient, c.numerical)) / squares
    if factor == 0 or not _alike(c.gradient / factor, c.numerical, c, c.noise / abs(factor)):
        return None
    sign, size = "the wrong sign" if factor < 0 else "", abs(factor)
    if abs(size - 1) < 1e-3:
        return sign or None
    kind, number = ("large", size) if size > 1 else ("small", 1 / size)
    text = f"too {kind} by the constant factor {number:.4g}"
    return f"{sign}, and {text}" if sign else text


def _alike(a: Host, b: Host, c: Comparison, noise: Any = 0.0, loose: float = 1e-4) -> bool:
    """Whether two arrays agree within noise, and so closely that it is no accident."""
    error, largest, slack = np.abs(a - b), float(np.max(np.abs(b))), c.noise + c.kink + noise
    near = np.max(slack) < RESOLUTION * largest and np.all(error <= slack + 1e-2 * loose * largest)
    return bool(near or np.linalg.norm(error) <= loose * np.linalg.norm(b))
