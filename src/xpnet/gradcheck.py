"""Checking a gradient against central differences, and the report."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from . import structured
from .backend import placement_of
from .checks import (
    finite_number,
    is_kind,
    positive_integer,
    refuse_other_than_array,
    seed_or_none,
)
from .markup import paragraph, table
from .numerical import MAX_BYTES, Sampler, as_dict, default_step

Array = Any
Host = np.ndarray

# Noise is a standard deviation; this many of them do not happen by chance.
SAFETY = 6.0
# A difference whose error is above this share of the largest entry decides nothing.
RESOLUTION = 0.05
# Rounding of the gradient under test, in units of the dtype's epsilon.
OWN_ROUNDING = 16.0
# Of the radius about a kink, one after the other.
FINER = (1.0, 1 / 8, 1 / 64)


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
        return {
            "index": None if self.index is None else list(self.index),
            "gradient": self.gradient,
            "numerical": self.numerical,
            "absolute": self.absolute,
            "relative": self.relative,
            "noise": self.noise,
        }


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
        from .plots import plot_gradient_check

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
            widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
            lines += [
                "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(
                    zip(row, widths, strict=True)
                )).rstrip()
                for row in rows
            ]  # fmt: skip
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


# --- any function ----------------------------------------------------------------------------


def check_gradient(
    f: Callable[[Any], Any],
    gradient: Any,
    x: Any,
    *,
    step: float | None = None,
    directions: int | None = None,
    seed: int | None = 0,
    vectorized: bool = False,
    max_bytes: int = MAX_BYTES,
) -> GradientReport:
    """Check a gradient of a scalar function against central differences.

    Each derivative is taken with two steps, h and h/2, and extrapolated (Richardson). What they
    differ by bounds the truncation; the noise of `f` is measured; both slopes beside x show a
    kink. So the tolerance is not a constant: a difference is a failure only where rounding,
    truncation and kinks do not explain it.

    Parameters
    ----------
    f : callable
        Takes what `x` is and returns a scalar, as for `numerical_gradient`.
    gradient : array, dict of arrays, or callable
        The gradient under test, with the shapes of `x`; or a function of `x` that returns it.
    x : array or dict of arrays, floating point
    step : float, optional
        h. None: the fifth root of the dtype's epsilon times ``max(1, |entry|)``.
    directions : int, optional
        Check so many random directions (signs) for each array instead of every entry, with
        steps chosen for each; where one fails, halve it until the failing entry is found.
        None checks every entry: four values of `f` each.
    seed : int, optional
        Of the random draws.
    vectorized, max_bytes
        As for `numerical_gradient`.

    Returns
    -------
    GradientReport

    Raises
    ------
    TypeError, ValueError
        As `numerical_gradient`; or `gradient` has other keys, shapes or another library.
    RuntimeError
        Matrix products are computed with reduced precision (TF32) on the device of `x`.

    References
    ----------
    J. J. Moré and S. M. Wild, 'Estimating computational noise', SIAM Journal on Scientific
    Computing 33 (2011), 1292-1314.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.asarray([1.0, 2.0, 3.0])
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, x).ok
    True
    >>> report = check_gradient(lambda x: np.sum(x**3), lambda x: x**2, x)
    >>> report.verdict, report.causes
    ('failed', ('x: too small by the constant factor 3',))
    """
    if step is not None:
        step = finite_number(step, "step", minimum=0.0, exclusive=True)
    if directions is not None:
        directions = positive_integer(directions, "directions")
    seed = seed_or_none(seed)
    sampler = Sampler(f, x, vectorized=vectorized, max_bytes=max_bytes)
    for array in sampler.arrays.values():
        refuse_reduced_precision(array)
    expected = _checked_gradient(gradient(x) if callable(gradient) else gradient, x)
    value, again = (float(sampler.at({})) for _ in range(2))
    if not math.isfinite(value):
        raise ValueError(f"f returned {value} at x")
    if value != again:
        method = f"f returned {value!r} and then {again!r} for the same x"
        return GradientReport("not deterministic", {}, (), method, {})
    rng = np.random.default_rng(seed)
    noise = measured_noise(sampler, rng)
    if directions is None:
        found = {
            name: _every_entry(sampler, name, expected[name], step, value, noise)
            for name in sampler.arrays
        }
        method = "every entry, by central differences with two steps"
    else:
        found = {
            name: _random_directions(sampler, name, expected[name], step, value, noise,
                                     directions, rng)
            for name in sampler.arrays
        }  # fmt: skip
        method = "random directions, by central differences"
    at = {_label(name): _host(array) for name, array in sampler.arrays.items()}
    found = {_label(name): comparison for name, comparison in found.items()}
    return _report(found, at, f"{method}; noise of f {noise:.1e}")


@dataclass
class _Comparison:
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
        error = np.abs(self.gradient - self.numerical)
        failed = self.failed()
        kink = ~failed & ~(error <= self.noise)
        same = (error == 0) & (self.gradient == 0)
        unclear = ~failed & ~kink & ~same & (self.noise > RESOLUTION * self.scale)
        tiny = np.finfo(np.float64).tiny
        with np.errstate(over="ignore"):
            excess = error / (self.noise + self.kink + tiny)
        excess = np.where(np.isnan(error), np.inf, excess)
        at = np.unravel_index(int(np.argmax(excess)), error.shape)
        worst = self.entry or Entry(
            tuple(map(int, at)) if error.shape == self.shape else None,
            *(float(v[at]) for v in (self.gradient, self.numerical, self.noise)),
        )
        f, k, u = (int(np.sum(v)) for v in (failed, kink, unclear))
        return ParameterReport(self.shape, error.size, error.size - f - k - u, f, k, u, worst)


def _report(
    found: dict[str, _Comparison],
    at: Mapping[str, Host],
    method: str,
    variants: Mapping[str, Mapping[str, Host]] | None = None,
) -> GradientReport:
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


def _every_entry(
    sampler: Sampler, name: Any, expected: Host, step: float | None, value: float, sigma: float
) -> _Comparison:
    x = sampler.arrays[name]
    xp = array_namespace(x)
    h = default_step(x, 1 / 5) if step is None else xp.full_like(x, step)
    slopes, bends = [], []
    for factor in (1.0, 0.5):
        up, down = x + factor * h, x - factor * h
        high, low = (_host(sampler.each(name, moved)) for moved in (up, down))
        taken = _host(up - down)
        slopes.append((high - low) / taken)
        bends.append((high + low - 2 * value) / (0.5 * taken))
    if not all(np.all(np.isfinite(slope)) for slope in slopes):
        raise ValueError("f returned NaN or infinity for an entry of x moved by the step")
    numerical, noise, kink = map(np.asarray, _extrapolated(slopes, bends, sigma, _host(h)))
    own = OWN_ROUNDING * _eps(x) * np.max(np.abs(numerical)) + _tiny(x)
    found = _Comparison(expected, numerical, np.asarray(noise + own), kink, expected.shape)
    along = _Along(sampler, name, expected, step, value, sigma)
    for index in np.argwhere(found.failed() & np.isfinite(expected)):
        at = tuple(index)
        direction = np.zeros(expected.shape)
        direction[at] = unit = along.scale[at]
        given, measured, *bounds = along.again(
            direction, (expected[at] * unit, numerical[at] * unit, 0.0, 0.0)
        )
        # `given` has the move that was taken, which rounding has changed.
        numerical[at] = expected[at] + (measured - given) / unit
        found.noise[at], found.kink[at] = (bound / unit for bound in bounds)
    return found


def _extrapolated(
    slopes: list[Any], bends: list[Any], sigma: float, h: Any
) -> tuple[Any, Any, Any]:
    """Derivative, its noise floor and what a kink may do to it, from steps h and h/2.

    A smooth function's second difference over h halves with h, and its slopes agree to h²; with
    a kink within the step one of the two is broken by a good part of the slope's jump.
    """
    numerical = (4.0 * slopes[1] - slopes[0]) / 3.0
    rounding = SAFETY * 2.0 * sigma / h
    change = np.abs(slopes[1] - slopes[0])
    broken = np.abs(2.0 * bends[1] - bends[0])
    kink = broken + 2.0 * change
    bent = np.abs(bends[0]) + np.abs(bends[1])
    found = (broken + change > 0.05 * bent) & (kink > 4.0 * rounding)
    return numerical, rounding + change / 3.0, np.where(found, kink, 0.0)


def _random_directions(
    sampler: Sampler,
    name: Any,
    expected: Host,
    step: float | None,
    value: float,
    sigma: float,
    count: int,
    rng: np.random.Generator,
) -> _Comparison:
    along = _Along(sampler, name, expected, step, value, sigma)
    tried = []
    entry = None
    for _ in range(count):
        direction = rng.choice([-1.0, 1.0], size=expected.shape) * along.scale
        tried.append(along(direction))
        if entry is None and _excess(tried[-1]) > 1:
            entry = _bisected(along, direction)
    gradient, numerical, noise, kink = (np.asarray(v) for v in zip(*tried, strict=True))
    return _Comparison(gradient, numerical, noise, kink, expected.shape, entry)


# Along a direction: the slope that was given, the one measured, its noise, what a kink may do.
_Slope = tuple[float, float, float, float]


class _Along:
    """Slopes of `f` along directions of one array."""

    def __init__(
        self, sampler: Sampler, name: Any, expected: Host, step: float | None, value: float,
        sigma: float,
    ) -> None:  # fmt: skip
        self.sampler, self.name, self.x = sampler, name, sampler.arrays[name]
        self.expected, self.value, self.sigma = expected, value, sigma
        self.step = _eps(self.x) ** 0.2 if step is None else step
        size = np.abs(_host(self.x))
        self.scale = np.where(size > 1, size, 1.0) if step is None else np.ones_like(size)
        self.level = 0

    def __call__(self, direction: Host) -> _Slope:
        """Take the step that leaves the least error; the finer ones are tried in turn."""
        best, self.level = self.at(direction, 0), 0
        for level in range(1, 8):
            found = self.at(direction, level)
            if found[2] + found[3] < best[2] + best[3]:
                best, self.level = found, level
            elif level > 2:
                break
        return self.again(direction, best) if _excess(best) > 1 else best

    def again(self, direction: Host, found: _Slope) -> _Slope:
        """Measure a slope that fails again, with the finest step that can still tell.

        Several kinks within a step may hide each other; a finer step leaves them behind. And f
        may round more where it is moved to than at x, where it may be 0: its noise there counts.
        """
        error = abs(found[0] - found[1])
        level = self.level
        while level < 8 and self._rounding(level + 1) < error / 4:
            level += 1
        given, measured, noise, kink = self.at(direction, level)
        if kink == 0 and math.isfinite(noise):
            h = self.step * 4.0**-level
            values = [self._moved(0.25 * k * h * direction) for k in range(-4, 5)]
            # With a spacing of h/4 what is smooth drops out from the fifth difference on.
            noise += SAFETY * 2.0 * max(_levels(values, 5)) / h
        return given, measured, noise, kink

    def _moved(self, move: Host) -> float:
        xp = array_namespace(self.x)
        moved = self.x + xp.asarray(move, dtype=self.x.dtype, device=device(self.x))
        return float(self.sampler.at({self.name: moved}))

    def at(self, direction: Host, level: int) -> _Slope:
        """Measure with the step divided by 4 so many times."""
        xp, h = array_namespace(self.x), self.step * 4.0**-level
        slopes, bends, given = [], [], []
        for t in (h, h / 2):
            move = xp.asarray(t * direction, dtype=self.x.dtype, device=device(self.x))
            up, down = self.x + move, self.x - move
            high, low = (float(self.sampler.at({self.name: moved})) for moved in (up, down))
            slopes.append((high - low) / (2 * t))
            bends.append((high + low - 2 * self.value) / t)
            # The moves that were really taken, which rounding has changed.
            given.append(float(np.vdot(self.expected, _host(up - down))) / (2 * t))
        if not all(map(math.isfinite, slopes)):
            return given[0], slopes[0], math.inf, 0.0
        numerical, noise, kink = _extrapolated(slopes, bends, self.sigma, h)
        own = OWN_ROUNDING * _eps(self.x) * float(np.linalg.norm(self.expected * direction))
        own += _tiny(self.x) * direction.size
        return (4 * given[1] - given[0]) / 3, float(numerical), float(noise) + own, float(kink)

    def _rounding(self, level: int) -> float:
        return SAFETY * 2.0 * self.sigma / (self.step * 4.0**-level)


def _excess(found: _Slope) -> float:
    given, measured, noise, kink = found
    error = abs(given - measured)
    if noise + kink == 0:
        return math.inf if error else 0.0
    return error / (noise + kink)


def _bisected(along: _Along, direction: Host) -> Entry | None:
    """Halve a failing direction until one entry is left; None where both halves pass."""
    start, stop, level = 0, direction.size, along.level
    found = along.at(direction, level)
    while stop - start > 1:
        middle = (start + stop) // 2
        for half in ((start, middle), (middle, stop)):
            part = np.zeros(direction.size)
            part[slice(*half)] = direction.ravel()[slice(*half)]
            found = along.at(part.reshape(direction.shape), level)
            if _excess(found) > 1:
                break
        else:
            return None
        start, stop = half
    unit = float(direction.ravel()[start])
    given, measured, noise, _ = (v / unit for v in found)
    index = tuple(map(int, np.unravel_index(start, direction.shape)))
    return Entry(index, given, measured, abs(noise))


def measured_noise(sampler: Sampler, rng: np.random.Generator) -> float:
    """Standard deviation of the rounding of `f` about x (Moré and Wild, 2011).

    From the differences, of orders 4 to 6, of values at nine points so close that what is
    smooth in f drops out; once as close as x can be moved, once wider, where f rounds x itself.
    """
    levels = [0.5 * _eps(sampler.at({})) * abs(float(sampler.at({})))]
    for exponent in (1.0, 0.5):
        steps: dict[Any, Array] = {}
        for name, x in sampler.arrays.items():
            host = _host(x)
            u = 8.0 * _eps(x) ** exponent * rng.uniform(0.5, 1.0, host.shape)
            u *= np.maximum(np.abs(host), 0.1) * np.where(host < 0, -1.0, 1.0)
            steps[name] = array_namespace(x).asarray(u, dtype=x.dtype, device=device(x))
        levels += _levels(
            [
                float(sampler.at({name: sampler.arrays[name] + k * u for name, u in steps.items()}))
                for k in range(9)
            ],
            4,
        )
    return max(levels)


def _levels(values: list[float], first: int) -> list[float]:
    """Noise in equally spaced values, from their differences of the first order to the sixth."""
    levels, table = [], np.asarray(values)
    for k in range(1, 7):
        table = np.diff(table)
        if k >= first:
            gamma = math.factorial(k) ** 2 / math.factorial(2 * k)
            # The root mean square, with no square to overflow.
            levels.append(math.sqrt(gamma / table.size) * float(np.hypot.reduce(table)))
    return levels


# --- a net -----------------------------------------------------------------------------------


def check_point(
    point: structured.Point, gradient: Any, l2: float, read: Callable[[Array], Host]
) -> GradientReport:
    """Check the gradient of a net at a batch; see `MLP.check_gradient`.

    The slope of every G (see `structured`) is measured with two radii. What they differ by is
    the noise of each; a sum over the batch of independent errors has the root of the sum of
    their squares.
    """
    refuse_reduced_precision(point.logits)
    params = {name: read(p).astype(np.float64) for name, p in point.params.items()}
    given = _checked_gradient(gradient, point.params, "gradient")
    # Below the smallest normal number nothing has digits, and some libraries flush it to zero:
    # every factor, product and partial sum may lose that much, and all of them the same way.
    eps, tiny = structured.epsilon(point), _tiny(point.logits)
    n = point.logits.shape[0]
    predicted = read(point.output.link(point.logits)).astype(np.float64)
    sizes = np.abs(predicted) + np.abs(read(point.target).astype(np.float64))
    # Rounding of n times the gradient under test: that of the logits' gradient, carried backward.
    # The prediction, the target and their difference are flushed, and what is left, over n.
    own = OWN_ROUNDING * eps * sizes + tiny * (4.0 + n)
    found: dict[str, _Comparison] = {}
    slopes: dict[int, Host] = {}
    derivative: dict[int, Host] = {}
    # √Σ (value · slope)² over what comes behind: what its rounding does to the loss.
    behind, doubt = np.zeros((n, 1)), np.zeros((n, 1))
    # What flushing on the way does to every G: a loss's change takes some ten operations with
    # each logit, whose factors are at most 1, the prediction or the target.
    flushed = 10.0 * tiny * np.sum(1.0 + sizes, axis=1, keepdims=True)
    # The kinks on the way from each pre-activation, and what they may do, within each radius.
    kinks = [(np.zeros_like(predicted), np.zeros_like(predicted))] * len(FINER)
    for layer in range(point.depth, 0, -1):
        z = read(point.z[layer - 1]).astype(np.float64)
        if layer < point.depth:
            derivative[layer] = _derivative(point, layer, read)
            weights = params[f"W{layer + 1}"]
            # No steeper than this: a slope that was found to be 0 may be as large as its noise.
            flow = np.abs(slopes[layer + 1] @ weights.T) + doubt @ np.abs(weights).T
            total = np.sum(np.abs(slopes[layer + 1]) + doubt, axis=1, keepdims=True)
            # Of d @ Wᵀ the weights, the products and the partial sums are flushed; of its product
            # with the derivative, that, its factor, and what is left.
            own = own @ np.abs(weights).T + tiny * (total + 2.0 * n * weights.shape[1])
            own = np.abs(derivative[layer]) * own + tiny * (2.0 * flow + n)
        rounded, lost = behind, flushed
        if layer < point.depth:
            # Of an activation's change both values, their arguments and the difference; of its
            # products the weights too, and behind the layer the partial sums.
            outer = 5.0 * tiny * flow
            lost = flushed + outer + 2.0 * tiny * total
            flushed = flushed + np.sum(outer, axis=1, keepdims=True)
            flushed = flushed + 3.0 * tiny * len(weights) * total
            outputs = read(point.z[layer]).astype(np.float64) * flow
            behind = np.hypot(behind, np.hypot.reduce(outputs, axis=1, keepdims=True))
            rounded = np.hypot(rounded, outputs)
            if not point.activation.smooth:
                kinks = [
                    _kinks(point, layer, factor, flow, weights, further, read)
                    for factor, further in zip(FINER, kinks, strict=True)
                ]
        slope, error, jump, lost = _measured(point, layer, rounded, lost, kinks, read)
        slopes[layer], doubt = slope, SAFETY * error + lost
        if layer < point.depth:
            inner = (1.0 + np.abs(read(point.a[layer - 1]))) * (np.abs(slope) + doubt)
            behind = np.hypot(behind, np.hypot.reduce(inner, axis=1, keepdims=True))
        penalty = l2 * params[f"W{layer}"]
        parts: dict[str, tuple[Host, Any]] = {
            f"W{layer}": (z, penalty),
            f"b{layer}": (np.ones((n, 1)), 0.0),
        }
        for name, (inputs, extra) in parts.items():
            shape = given[name].shape
            size = np.abs(inputs)
            numerical = (inputs.T @ slope / n).reshape(shape) + extra
            noise = SAFETY * _root_of_squares(inputs, error) / n + size.T @ (own + lost) / n
            # Of the sum over the batch, the inputs, products and partial sums; and of L2.
            noise = noise + tiny * (np.mean(np.abs(slope), axis=0) + 2.0 * n + 2.0 + l2)
            noise = noise.reshape(shape) + 4.0 * eps * (np.abs(numerical) + np.abs(extra))
            kink = (size.T @ jump / n).reshape(shape)
            found[name] = _Comparison(given[name], numerical, noise, kink, shape)
    found = {name: found[name] for name in params}
    method = "every entry, by structured central differences"
    variants = _without_derivative(point, params, slopes[point.depth], derivative, l2, read)
    return _report(found, params, method, variants)


def _measured(
    point: structured.Point, layer: int, rounded: Host, flushed: Host,
    kinks: Sequence[tuple[Host, Host]], read: Callable[[Array], Host],
) -> tuple[Host, Host, Host, Host]:  # fmt: skip
    """Return slope, its error, its jump at a kink and what flushing does to it, for every G.

    Kinks are rare within a small radius, noise is small with a large one: each G takes the
    radius that suits it.
    """
    gain = structured.largest_gain(point, layer)
    radius = structured.default_radius(point, layer, gain)
    if point.activation.smooth or layer == point.depth:
        return _with_radius(point, layer, radius, rounded, flushed, None, read)
    tried = [
        _with_radius(point, layer, factor * radius, rounded, flushed, near, read)
        for factor, near in zip(FINER, kinks, strict=True)
    ]
    best = tried[0]
    for other in tried[1:]:
        better = sum(other[1:]) < sum(best[1:])
        slope, error, jump, lost = (
            np.where(better, new, old) for new, old in zip(other, best, strict=True)
        )
        best = slope, error, jump, lost
    return best


def _with_radius(
    point: structured.Point, layer: int, radius: Array, rounded: Host, flushed: Host,
    kinks: tuple[Host, Host] | None, read: Callable[[Array], Host],
) -> tuple[Host, Host, Host, Host]:  # fmt: skip
    slopes, jumps, sizes = [], [], []
    for factor in (1.0, 0.7, 0.5):
        fit = structured.curves(point, layer, factor * radius)
        r = float(read(fit.radius))
        slopes.append(read(fit.odd[0]).astype(np.float64) / r)
        jumps.append(read(fit.bend).astype(np.float64) / r)
        sizes.append(np.max(np.abs(read(fit.even).astype(np.float64)), axis=1))
    slope, jump, eps = slopes[0], np.maximum.reduce(jumps), structured.epsilon(point)
    error = np.maximum.reduce(slopes) - np.minimum.reduce(slopes)
    # Most samples are at no kink, and the errors of the others stand out. Where nothing moves
    # there is no error to compare with.
    usual = float(np.median(error[error > 0])) if np.any(error) else 0.0
    least = 64.0 * eps * np.max(np.abs(slope))
    kinked = jump > 16.0 * usual + least
    # A kink, or rounding: there is no telling.
    below = np.where(kinked | (kinks is None), 0.0, jump)
    # About a kink what a slope is off by shrinks with the radius, not with its square: it is twice
    # what half the radius takes away, and the same in all samples that are alike.
    number, spread = kinks or (np.zeros_like(slope), 0.0)
    jump = np.where(kinked | (number > 0), np.maximum(jump, 2.0 * error), 0.0)
    jump = np.maximum(jump, np.where(number > 1, spread, 0.0))
    error = np.where(kinked, 0.0, error)
    # Chance may hide the noise of one G, or of all in a small net: not below the others', and
    # not below the rounding of the moved pre-activation, of all behind it, and of G itself.
    size = 1.0 if layer == point.depth else 1.0 + np.abs(read(point.a[layer - 1]))
    floor = np.hypot(size * slope, rounded) + np.maximum.reduce(sizes)
    floor = floor * eps / float(read(radius)) + below
    usual = np.hypot.reduce(error, axis=None) / math.sqrt(error.size)
    # The fit from two pairs of G has the weights 8/3 and -1/3.
    lost = np.broadcast_to(3.0 * flushed / float(read(radius)), slope.shape)
    return slope, np.hypot(np.hypot(error, usual), floor), jump, lost


def _derivative(point: structured.Point, layer: int, read: Callable[[Array], Host]) -> Host:
    """Slope of the activation at a hidden layer, by a central difference."""
    a = point.a[layer - 1]
    h = structured.epsilon(point) ** (1 / 3)
    rise = point.activation.forward(a + h) - point.activation.forward(a - h)
    slope: Host = read(rise).astype(np.float64) / (2 * h)
    return slope


def _kinks(
    point: structured.Point, layer: int, factor: float, flow: Host, weights: Host,
    further: tuple[Host, Host], read: Callable[[Array], Host],
) -> tuple[Host, Host]:  # fmt: skip
    """Count the kinks within reach of every G, and bound how far apart they put its slopes.

    One kink bends a G. Two may hide each other: ReLU(1e-9 - ReLU(δ)) is flat on both sides of 0
    but for 1e-9, where it falls. So each unit is looked at by itself: its slopes on both sides,
    as far away as a move within the radius takes it at most, have its slope at the point between
    them. `flow` is the size of the loss's slope at the layer's outputs; `weights` and `further`
    are those of the next layer.
    """
    a, eps = point.a[layer - 1], structured.epsilon(point)
    reach = factor * eps ** (1 / 3)
    low, middle, high = (
        read(point.activation.forward(a + move)).astype(np.float64)
        for move in (-reach, 0.0, reach)
    )
    left, right = np.abs(middle - low) / reach, np.abs(high - middle) / reach
    bent = np.abs(high - 2.0 * middle + low) / reach
    # Less is curvature, or the rounding of the moved pre-activation and of the values.
    kinked = bent > 4.0 * reach + 8.0 * eps * (np.abs(read(a)) + np.abs(middle)) / reach
    number, spread = further
    number = kinked + number @ (weights != 0.0).T
    spread = np.maximum(left, right) * (spread @ np.abs(weights).T)
    return number, spread + np.where(kinked, flow * bent, 0.0)


def _root_of_squares(inputs: Host, errors: Host) -> Host:
    """√(Σ_n inputs² errors²) for every pair of columns; the squares do not underflow."""
    tops = [np.max(np.abs(part), axis=0) for part in (inputs, errors)]
    tops = [np.where(top > 0, top, 1.0) for top in tops]
    roots = np.sqrt(((inputs / tops[0]) ** 2).T @ (errors / tops[1]) ** 2)
    return np.asarray(tops[0][:, None] * roots * tops[1])


def _without_derivative(
    point: structured.Point,
    params: Mapping[str, Host],
    d: Host,
    derivative: Mapping[int, Host],
    l2: float,
    read: Callable[[Array], Host],
) -> dict[str, dict[str, Host]]:
    """Return what a backward pass gives that forgets the activation's derivative at a layer."""
    n = len(d)
    variants: dict[str, dict[str, Host]] = {}
    for missing in derivative:
        flow, variant = d, {}
        for layer in range(point.depth - 1, 0, -1):
            flow = flow @ params[f"W{layer + 1}"].T
            if layer != missing:
                flow = flow * derivative[layer]
            if layer <= missing:
                z = read(point.z[layer - 1])
                variant[f"W{layer}"] = z.T @ flow / n + l2 * params[f"W{layer}"]
                variant[f"b{layer}"] = flow.sum(axis=0) / n
        variants[f"the activation's derivative is missing at layer {missing}"] = variant
    return variants


# --- likely causes ---------------------------------------------------------------------------


def _likely_causes(
    found: Mapping[str, _Comparison],
    at: Mapping[str, Host],
    variants: Mapping[str, Mapping[str, Host]],
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
    name: str,
    found: Mapping[str, _Comparison],
    at: Mapping[str, Host],
    variants: Mapping[str, Mapping[str, Host]],
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


def _factor(c: _Comparison) -> str | None:
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


def _alike(
    a: Host, b: Host, c: _Comparison, noise: Any = None, loose: float = 1e-4
) -> bool:
    """Whether two arrays agree within noise, and so closely that it is no accident."""
    error = np.abs(a - b)
    largest = float(np.max(np.abs(b)))
    slack = c.noise + c.kink + (0.0 if noise is None else noise)
    return bool(
        (np.max(slack) < RESOLUTION * largest and np.all(error <= slack + 1e-2 * loose * largest))
        or np.linalg.norm(error) <= loose * np.linalg.norm(b)
    )


# --- arguments -------------------------------------------------------------------------------


def refuse_reduced_precision(x: Array) -> None:
    """Raise RuntimeError where matrix products of x's dtype lose digits on x's device.

    TF32 keeps 10 bits of float32's 23, bfloat16 7: a product with the identity matrix shows it.
    """
    xp = array_namespace(x)
    identity = xp.eye(128, dtype=x.dtype, device=device(x))
    # 12 bits less than the dtype has.
    whole = xp.full_like(identity, 1.0 + 2.0**11 * _eps(x))
    if bool(xp.any(whole @ identity != whole)):
        raise RuntimeError(
            f"matrix products of {x.dtype} lose digits on this device (TF32 or bfloat16), which "
            "a gradient check would measure: while checking, set your library's precision of "
            "matrix products to 'highest' (forbid TF32), or check in float64"
        )


def _checked_gradient(gradient: Any, x: Any, name: str = "gradient") -> dict[Any, Host]:
    """Return the gradient under test on the host in float64, or raise where it does not fit."""
    if isinstance(x, dict) != isinstance(gradient, dict):
        expected = "a dict of arrays" if isinstance(x, dict) else "an array"
        raise TypeError(f"x is {expected}, but {name} is a {type(gradient).__name__}")
    points = as_dict(x)
    arrays = gradient if isinstance(gradient, dict) else {None: gradient}
    if arrays.keys() != points.keys():
        keys = [sorted(map(str, part)) for part in (arrays, points)]
        raise ValueError(f"{name} has the keys {keys[0]}, but x has {keys[1]}")
    host = {}
    for key, point in points.items():
        what = name if key is None else f"{name}[{key!r}]"
        array, xp = arrays[key], array_namespace(point)
        refuse_other_than_array(array, what)
        if array_namespace(array) is not xp:
            came = array_namespace(array).__name__
            raise TypeError(f"{what} is an array of {came}; expected {xp.__name__}")
        if not is_kind(xp, array.dtype, "real floating"):
            raise TypeError(f"{what} must be a floating-point array, not {array.dtype}")
        if tuple(array.shape) != tuple(point.shape):
            raise ValueError(
                f"{what} has shape {tuple(array.shape)}; expected {tuple(point.shape)}"
            )
        host[key] = _host(array)
    return host


def _host(x: Array) -> Host:
    return placement_of(x).to_host(x).astype(np.float64)


def _eps(x: Array) -> float:
    return float(array_namespace(x).finfo(x.dtype).eps)


def _tiny(x: Array) -> float:
    return float(array_namespace(x).finfo(x.dtype).smallest_normal)


def _label(name: Any) -> str:
    return "x" if name is None else str(name)
