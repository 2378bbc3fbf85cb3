"""The result of a gradient check: numbers for each array, a verdict, and likely causes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..arrays import Host, smallest_normal
from ..markup import paragraph, table, text_table
from .verdicts import FAILED, JUMP, KINK, PASSED, STAIRCASE, UNCLEAR, Slopes

# In a net, a difference whose error is above this share of the largest entry decides nothing.
RESOLUTION = 0.05
# How many entries a note names.
NAMED = 5
# Of the table, in characters, where nobody says how wide the page is.
WIDTH = 80


class GradientCheckFailed(AssertionError):
    """A gradient check that did not pass; `report` has the details."""

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
        names = ("gradient", "numerical", "absolute", "relative", "noise")
        numbers = {name: getattr(self, name) for name in names}
        index = None if self.index is None else list(self.index)
        # JSON has neither NaN nor infinity.
        return {"index": index, **{k: v if math.isfinite(v) else None for k, v in numbers.items()}}


@dataclass(frozen=True)
class ParameterReport:
    """The result of a gradient check for one array.

    Attributes
    ----------
    shape : tuple of int
    checked, passed, failed, kink, inconclusive : int
        Numbers of entries, or of directions.
    worst : Entry or None
        The one whose difference exceeds its noise floor the most; None where none was checked.
    """

    shape: tuple[int, ...]
    checked: int
    passed: int
    failed: int
    kink: int
    inconclusive: int
    worst: Entry | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        worst = None if self.worst is None else self.worst.to_dict()
        return {**vars(self), "shape": list(self.shape), "worst": worst}


@dataclass(frozen=True)
class GradientReport:
    """The result of a gradient check. ``print(report)`` shows a table.

    Attributes
    ----------
    verdict : str
        "passed": every entry agrees, kinks aside. "failed": some differ by more than rounding,
        truncation and kinks explain. "inconclusive": none does, but for some the error bound is
        so large that a wrong value would not show, or f has no slope there. "not
        deterministic": two calls of f with the same x gave different values, and nothing was
        compared.
    parameters : dict of ParameterReport
        By name, such as "W1" or "layers[0].W"; a single array's name is "x".
    causes : tuple of str
        Likely causes, where the differences show a pattern.
    method : str
        How the check was done.
    values : dict of (gradient, numerical, noise)
        NumPy arrays, by name: every value that was compared.
    notes : tuple of str
        What else was seen: entries that are not decided and why, those at the edge of the domain
        of f, which were measured on one side, an f that writes to its argument.
    """

    verdict: str
    parameters: Mapping[str, ParameterReport]
    causes: tuple[str, ...]
    method: str
    values: Mapping[str, tuple[Host, Host, Host]] = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if the verdict is "passed"."""
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
            "notes": list(self.notes),
            "parameters": {name: row.to_dict() for name, row in self.parameters.items()},
        }  # fmt: skip

    def __str__(self) -> str:
        return "\n".join([self._headline(), *self._table(WIDTH), *self._remarks()])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [paragraph(self._headline())]
        if self.parameters:
            parts.append(table(self._rows(), head=_HEAD))
        return "".join([*parts, *map(paragraph, self._remarks())])

    def _headline(self) -> str:
        return f"Gradient check {self.verdict}: {self.method}"

    def _table(self, width: int) -> list[str]:
        return text_table(_HEAD, self._rows(), width) if self.parameters else []

    def _remarks(self) -> list[str]:
        causes = [f"Likely cause: {cause}" for cause in self.causes]
        return causes + [f"Note: {note}" for note in self.notes]

    def _rows(self) -> list[tuple[str, ...]]:
        return [_cells(name, row) for name, row in self.parameters.items()]


_HEAD = (
    "", "shape", "checked", "passed", "failed", "kink", "unclear",
    "worst at", "gradient", "numerical", "abs. error", "rel. error", "noise",
)  # fmt: skip


def _cells(name: str, row: ParameterReport) -> tuple[str, ...]:
    counts = (row.checked, row.passed, row.failed, row.kink, row.inconclusive)
    first = (name, "×".join(map(str, row.shape)) or "scalar", *(f"{n:,}" for n in counts))
    worst = row.worst
    if worst is None:
        return (*first, *[""] * 6)
    return (
        *first, "(direction)" if worst.index is None else str(list(worst.index)),
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
    slopes : Slopes or None
        What a search for slopes has come to; None: the comparison is judged by its noise.
    variants : dict of ndarray
        What a faulty backward pass would give, by its fault.
    """

    gradient: Host
    numerical: Host
    noise: Host
    kink: Host
    at: Host
    entry: Entry | None = None
    slopes: Slopes | None = None
    variants: dict[str, Host] = field(default_factory=dict)

    @classmethod
    def of(cls, gradient: Host, slopes: Slopes, at: Host, entry: Entry | None = None) -> Comparison:
        """Return the comparison of a gradient with slopes that were searched for."""
        two = np.isfinite(slopes.low) & ((slopes.verdict == KINK) | (slopes.verdict == FAILED))
        kink = np.zeros(slopes.slope.shape)
        kink[two] = np.abs(slopes.high[two] - slopes.low[two]) / 2
        slope, bound, kink = (v.reshape(gradient.shape) for v in (slopes.slope, slopes.bound, kink))
        return cls(gradient, slope, bound, kink, at, entry, slopes)

    @classmethod
    def nothing(cls, at: Host) -> Comparison:
        """Return the comparison of an array without elements."""
        return cls(at, at, at, at, at)

    def verdicts(self) -> Host:
        """Judge every value."""
        if self.slopes is not None:
            verdicts: Host = self.slopes.verdict.reshape(self.gradient.shape)
            return verdicts
        error, failed = np.abs(self.gradient - self.numerical), self.failed()
        sizes = (float(np.max(np.abs(v), initial=0.0)) for v in (self.gradient, self.numerical))
        largest = max(sizes)
        coarse = self.noise > RESOLUTION * (largest if math.isfinite(largest) else 1.0)
        kink = ~failed & ~(error <= self.noise)
        same = (error == 0) & (self.gradient == 0)
        unclear = coarse & ~same
        return np.asarray(np.select([failed, kink, unclear], [FAILED, KINK, UNCLEAR], PASSED))

    def failed(self) -> Host:
        """Which differences neither noise nor a kink explains."""
        if self.slopes is not None:
            return np.asarray(self.verdicts() == FAILED)
        explained: Host = np.abs(self.gradient - self.numerical) <= self.noise + self.kink
        return ~explained

    def report(self) -> ParameterReport:
        """Count what passed and what did not, and find the worst."""
        verdicts = self.verdicts()
        passed, failed, kink, unclear = (
            int(np.sum(verdicts == kind)) for kind in (PASSED, FAILED, KINK, UNCLEAR)
        )
        worst = self._worst(verdicts)
        return ParameterReport(self.at.shape, verdicts.size, passed, failed, kink, unclear, worst)

    def _worst(self, verdicts: Host) -> Entry | None:
        if verdicts.size == 0:
            return None
        error = np.abs(self.gradient - self.numerical)
        with np.errstate(all="ignore"):
            excess = error / (self.noise + self.kink + smallest_normal(error))
        excess = np.where(np.isnan(error), np.inf, excess)
        # One that failed, or else one that is unclear.
        rank = np.select([verdicts == FAILED, verdicts == UNCLEAR], [2, 1], 0)
        excess = np.where(rank == np.max(rank), excess, -1.0)
        index = np.unravel_index(int(np.argmax(excess)), error.shape)
        return self.entry or Entry(
            tuple(map(int, index)) if error.shape == self.at.shape else None,
            *(float(v[index]) for v in (self.gradient, self.numerical, self.noise)),
        )

    def notes(self, name: str) -> Iterator[str]:
        """Say which values are not decided, and why; and which were measured on one side."""
        s = self.slopes
        if s is None:
            return
        unclear = s.verdict == UNCLEAR
        reasons = {
            "a jump, or no finite slope": s.reason == JUMP,
            "f goes in stairs": s.reason == STAIRCASE,
            "the error bound is too large a share of the value": np.ones(len(unclear), bool),
        }
        for reason, those in reasons.items():
            if np.any(unclear & those):
                yield f"{self._named(name, unclear & those)}: inconclusive: {reason}"
            unclear = unclear & ~those
        if np.any(s.side != 0):
            yield f"{self._named(name, s.side != 0)}: one-sided differences"
        if np.any(s.verdict == KINK):
            yield f"{self._named(name, s.verdict == KINK)}: a kink, between whose slopes it lies"

    def _named(self, name: str, those: Host) -> str:
        entries = np.argwhere(those.reshape(self.gradient.shape))
        more = f" and {len(entries) - NAMED} more" if len(entries) > NAMED else ""
        if self.gradient.shape != self.at.shape:
            numbers = ", ".join(str(int(i[0]) + 1) for i in entries[:NAMED])
            return f"{name}, direction {numbers}{more}"
        if not self.at.shape:
            return name
        return ", ".join(f"{name}{list(map(int, i))}" for i in entries[:NAMED]) + more


def report_of(
    found: Mapping[str, Comparison], method: str, notes: Sequence[str] = ()
) -> GradientReport:
    """Judge what was compared; `method` says how the check was done."""
    rows = {name: comparison.report() for name, comparison in found.items()}
    failed = any(row.failed for row in rows.values())
    # In a net, kinks are bounded and not measured: nothing but kinks proves nothing there.
    empty = any(
        row.checked and not row.passed and found[name].slopes is None for name, row in rows.items()
    )
    unclear = empty or any(row.inconclusive for row in rows.values())
    verdict = "failed" if failed else "inconclusive" if unclear else "passed"
    # One line for each pattern, with the names of the arrays that show it.
    causes: dict[str, list[str]] = {}
    for name, row in rows.items():
        with np.errstate(all="ignore"):  # a factor may be very small
            cause = cause_of(name, found) if row.failed else None
        if cause is not None:
            causes.setdefault(cause, []).append(name)
    lines = tuple(f"{', '.join(names)}: {cause}" for cause, names in causes.items())
    values = {name: (c.gradient, c.numerical, c.noise) for name, c in found.items()}
    seen = [note for name, comparison in found.items() for note in comparison.notes(name)]
    return GradientReport(verdict, rows, lines, method, values, (*notes, *seen))


def merged(reports: Sequence[GradientReport], names: Sequence[str]) -> GradientReport:
    """Return the reports of several parts as one; `names`, of all arrays, give the order."""
    if len(reports) == 1:
        return reports[0]
    verdicts = [report.verdict for report in reports]
    worst = ("failed", "not deterministic", "inconclusive", "passed")
    causes: dict[str, list[str]] = {}
    for line in (line for report in reports for line in report.causes):
        who, _, cause = line.partition(": ")
        causes.setdefault(cause, []).append(who)
    # What each has found of the noise of its own function stands behind.
    methods = [report.method.partition(";")[0] for report in reports]
    rows = {name: row for report in reports for name, row in report.parameters.items()}
    values = {name: each for report in reports for name, each in report.values.items()}
    return GradientReport(
        next(verdict for verdict in worst if verdict in verdicts),
        {name: rows[name] for name in names if name in rows},
        tuple(f"{', '.join(who)}: {cause}" for cause, who in causes.items()),
        "; ".join([*dict.fromkeys(methods), "layer by layer"]),
        values,
        tuple(note for report in reports for note in report.notes),
    )


# --- what may be wrong -----------------------------------------------------------------------


def cause_of(name: str, found: Mapping[str, Comparison]) -> str | None:
    """Return the pattern that explains why an array failed, or None."""
    c = found[name]
    if not np.all(np.isfinite(c.gradient)):
        return "NaN or infinity"
    if not np.any(c.gradient):
        return "all zeros: it is never set, or cut off from the loss"
    if not np.all(np.isfinite(c.numerical)):
        return None
    g, numerical, at, slack = _scaled(c)
    gap = g - numerical
    if c.entry is not None and g.shape != at.shape:
        return _factor(g, numerical, slack)
    if int(np.sum(c.failed())) == 1 and g.size > 1:
        return "a single entry is wrong"
    if (factor := _factor(g, numerical, slack)) is not None:
        return factor
    if g.ndim == 2 and min(g.shape) > 1:
        # A matrix that was transposed and brought into shape again, in either order.
        for turned in (g.T.reshape(g.shape), g.reshape(g.shape[::-1]).T):
            if _closes(turned, numerical, gap, slack + np.max(slack)):
                return "transposed"
    for other, row in found.items():
        if other != name and row.numerical.shape == g.shape:
            scaled, noise = _over(row.numerical, c), _over(row.noise + row.kink, c)
            if _closes(g, scaled, gap, noise):
                return f"it is the gradient of {other}"
    if at.shape == g.shape and g.size > 2 and np.any(at):
        share = float(np.vdot(gap, at) / np.vdot(at, at))
        if share and _closes(g, numerical + share * at, gap, slack):
            share *= _largest(c) / float(np.max(np.abs(c.at)))
            missing = "left out" if share < 0 else "counted twice"
            return f"it is off by {share:.3g} times the parameter: an L2 term {missing}?"
    faults = (f for f, v in c.variants.items() if _closes(g, _over(v, c), gap, slack, 1e-3))
    return next(faults, None)


def _largest(c: Comparison) -> float:
    return float(max(np.max(np.abs(c.gradient)), np.max(np.abs(c.numerical))))


def _over(values: Host, c: Comparison) -> Host:
    """Return values over the largest of a comparison, so that no square over- or underflows."""
    return np.asarray(values / _largest(c))


def _scaled(c: Comparison) -> tuple[Host, Host, Host, Host]:
    """Gradient and differences over the largest of them, x over its own, what is explained."""
    top = float(np.max(np.abs(c.at), initial=0.0))
    at = c.at / top if top > 0 and math.isfinite(top) else c.at
    slack = np.where(np.isfinite(c.noise), c.noise, 0.0) + c.kink
    return _over(c.gradient, c), _over(c.numerical, c), at, _over(slack, c)


def _factor(g: Host, numerical: Host, slack: Host) -> str | None:
    squares = float(np.vdot(numerical, numerical))
    if squares == 0 or g.size < 2:
        return None
    factor = float(np.vdot(g, numerical)) / squares
    if factor == 0 or not _closes(
        g / factor, numerical, g - numerical, slack + slack / abs(factor)
    ):
        return None
    sign, size = "the wrong sign" if factor < 0 else "", abs(factor)
    if abs(size - 1) < 1e-3:
        return sign or f"off by the constant factor {size:.8g}"
    kind, number = ("large", size) if size > 1 else ("small", 1 / size)
    text = f"too {kind} by the constant factor {number:.4g}"
    return f"{sign}, and {text}" if sign else text


def _closes(a: Host, b: Host, gap: Host, slack: Host, loose: float = 1e-4) -> bool:
    """Whether two arrays agree so closely that it is no accident, and so close the gap.

    An explanation that leaves a good part of the gap is none: what is small is not explained by
    being small.
    """
    error = float(np.linalg.norm(a - b))
    if not error <= 0.1 * float(np.linalg.norm(gap)):
        return False
    largest = float(np.max(np.abs(b)))
    near = np.max(slack) < RESOLUTION * largest
    near = near and np.all(np.abs(a - b) <= slack + 1e-2 * loose * largest)
    return bool(near or error <= loose * np.linalg.norm(b))
