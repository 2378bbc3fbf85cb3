"""What a gradient check has found: numbers for each array, a verdict, likely causes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..arrays import Host
from ..markup import paragraph, table


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
        counts = ("checked", "passed", "failed", "kink", "inconclusive")
        return {
            "shape": list(self.shape),
            **{name: getattr(self, name) for name in counts},
            "worst": self.worst.to_dict(),
        }


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
            "verdict": self.verdict,
            "method": self.method,
            "causes": list(self.causes),
            "parameters": {name: row.to_dict() for name, row in self.parameters.items()},
        }

    def __str__(self) -> str:
        lines = [f"Gradient check {self.verdict}: {self.method}"]
        if self.parameters:
            rows = [_HEAD, *(_cells(name, row) for name, row in self.parameters.items())]
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            form = "  ".join(f"{{:{'>' if i else '<'}{width}}}" for i, width in enumerate(widths))
            lines += [form.format(*row).rstrip() for row in rows]
        lines += [f"Likely cause: {cause}" for cause in self.causes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [paragraph(f"Gradient check {self.verdict}: {self.method}")]
        if self.parameters:
            rows = [_cells(name, row) for name, row in self.parameters.items()]
            parts.append(table(rows, head=_HEAD))
        return "".join([*parts, *(paragraph(f"Likely cause: {cause}") for cause in self.causes)])


_HEAD = (
    "", "shape", "checked", "passed", "failed", "kink", "unclear",
    "worst at", "gradient", "numerical", "abs. error", "rel. error", "noise",
)  # fmt: skip


def _cells(name: str, row: ParameterReport) -> tuple[str, ...]:
    worst = row.worst
    return (
        name,
        "×".join(map(str, row.shape)) or "scalar",
        *(f"{n:,}" for n in (row.checked, row.passed, row.failed, row.kink, row.inconclusive)),
        "(direction)" if worst.index is None else str(list(worst.index)),
        f"{worst.gradient:.6g}",
        f"{worst.numerical:.6g}",
        f"{worst.absolute:.1e}",
        f"{worst.relative:.1e}",
        f"{worst.noise:.1e}",
    )
