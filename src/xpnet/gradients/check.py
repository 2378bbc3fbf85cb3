"""Checking a gradient against central differences, and the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import device

from .. import arrays
from ..arrays import Array, Host, array_namespace, epsilon, smallest_normal
from ..backend.table import placement_of
from ..checks import finite_number, positive_integer, seed_or_none
from .numerical import MAX_BYTES, Sampler, as_dict, entry_steps
from .report import Comparison, Entry, GradientReport, report_of

# Noise is a standard deviation; this many of them do not happen by chance.
SAFETY = 6.0
# Rounding of the gradient under test, in units of the dtype's epsilon.
GRADIENT_ROUNDING = 16.0


def check_gradient(
    f: Callable[[Any], Any], gradient: Any, x: Any, *, step: float | None = None,
    directions: int | None = None, seed: int | None = 0, vectorized: bool = False,
    max_bytes: int = MAX_BYTES,
) -> GradientReport:  # fmt: skip
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
    expected = checked_gradient(gradient(x) if callable(gradient) else gradient, x)
    value, again = (float(sampler.at({})) for _ in range(2))
    if not math.isfinite(value):
        raise ValueError(f"f returned {value} at x")
    if value != again:
        method = f"f returned {value!r} and then {again!r} for the same x"
        return GradientReport("not deterministic", {}, (), method, {})
    rng = np.random.default_rng(seed)
    noise = measured_noise(sampler, rng)
    method, found = "every entry, by central differences with two steps", {}
    if directions is not None:
        method = "random directions, by central differences"
    for name, given in expected.items():
        check = _ArrayCheck(sampler, name, given, step, value, noise)
        found["x" if name is None else str(name)] = (
            check.every_entry() if directions is None else check.random_directions(directions, rng)
        )
    return report_of(found, f"{method}; noise of f {noise:.1e}")


class _Slope(NamedTuple):
    """Along a direction: the slope that was given, the one measured, and what explains an error."""

    given: float
    measured: float
    noise: float
    kink: float

    @property
    def error(self) -> float:
        """The size of the difference."""
        return abs(self.given - self.measured)

    @property
    def excess(self) -> float:
        """The error over what noise and a kink explain: above 1 is a failure."""
        explained = self.noise + self.kink
        if explained == 0:
            return math.inf if self.error else 0.0
        return self.error / explained


class _ArrayCheck:
    """The check of one array: `f` at moved copies of it, against the gradient under test.

    Parameters
    ----------
    sampler : Sampler
    name : hashable
        The array's name in `sampler`.
    expected : ndarray
        The gradient under test.
    step : float or None
    value, noise : float
        Of `f` at x.
    """

    def __init__(
        self, sampler: Sampler, name: Any, expected: Host, step: float | None, value: float,
        noise: float,
    ) -> None:  # fmt: skip
        self.sampler, self.name, self.x = sampler, name, sampler.arrays[name]
        self.expected, self.step, self.value, self.noise = expected, step, value, noise
        self.at = on_host(self.x)
        size = np.abs(self.at)
        self.scale = np.where(size > 1, size, 1.0) if step is None else np.ones_like(size)

    def every_entry(self) -> Comparison:
        """Compare every entry; those that fail are measured again."""
        h = entry_steps(self.x, self.step, 1 / 5)
        slopes, bends = [], []
        for factor in (1.0, 0.5):
            up, down = self.x + factor * h, self.x - factor * h
            high, low = (on_host(self.sampler.each(self.name, moved)) for moved in (up, down))
            taken = on_host(up - down)
            slopes.append((high - low) / taken)
            bends.append((high + low - 2 * self.value) / (0.5 * taken))
        if not all(np.all(np.isfinite(slope)) for slope in slopes):
            raise ValueError("f returned NaN or infinity for an entry of x moved by the step")
        rounding = _slope_noise(self.noise, on_host(h))
        numerical, noise, kink = map(np.asarray, _extrapolated(slopes, bends, rounding))
        of_gradient = GRADIENT_ROUNDING * epsilon(self.x) * np.max(np.abs(numerical))
        noise = np.asarray(noise + (of_gradient + smallest_normal(self.x)))
        found = Comparison(self.expected, numerical, noise, kink, self.at)
        for index in np.argwhere(found.failed() & np.isfinite(self.expected)):
            self._measure_again(found, tuple(index))
        return found

    def _measure_again(self, found: Comparison, at: tuple[int, ...]) -> None:
        """Replace what was found for one entry by the slope along its axis."""
        direction = np.zeros(self.expected.shape)
        direction[at] = unit = self.scale[at]
        error = abs(self.expected[at] * unit - found.numerical[at] * unit)
        given, measured, *bounds = self._finest_slope(direction, error, 0)
        # `given` has the move that was taken, which rounding has changed.
        found.numerical[at] = self.expected[at] + (measured - given) / unit
        found.noise[at], found.kink[at] = (bound / unit for bound in bounds)

    def random_directions(self, count: int, rng: np.random.Generator) -> Comparison:
        """Compare along random signs; the first direction that fails is searched for an entry."""
        tried, entry = [], None
        for _ in range(count):
            direction = rng.choice([-1.0, 1.0], size=self.expected.shape) * self.scale
            slope, level = self._best_slope(direction)
            tried.append(slope)
            if entry is None and slope.excess > 1:
                entry = self._failing_entry(direction, level)
        given, numerical, noise, kink = (np.asarray(v) for v in zip(*tried, strict=True))
        return Comparison(given, numerical, noise, kink, self.at, entry)

    def _best_slope(self, direction: Host) -> tuple[_Slope, int]:
        """Take the step that leaves the least error, and return its level too.

        The finer ones are tried in turn.
        """
        best, best_level = self._slope(direction, 0), 0
        for level in range(1, 8):
            found = self._slope(direction, level)
            if found.noise + found.kink < best.noise + best.kink:
                best, best_level = found, level
            elif level > 2:
                break
        if best.excess > 1:
            best = self._finest_slope(direction, best.error, best_level)
        return best, best_level

    def _finest_slope(self, direction: Host, error: float, level: int) -> _Slope:
        """Measure a slope that fails again, with the finest step that can still tell.

        Several kinks within a step may hide each other; a finer step leaves them behind. And f
        may round more where it is moved to than at x, where it may be 0: its noise there counts.
        """
        while level < 8 and _slope_noise(self.noise, self._step(level + 1)) < error / 4:
            level += 1
        found = self._slope(direction, level)
        if found.kink != 0 or not math.isfinite(found.noise):
            return found
        h = self._step(level)
        moved = (self.x + placed_like(self.x, 0.25 * k * h * direction) for k in range(-4, 5))
        values = [*map(self._value, moved)]
        # With a spacing of h/4 what is smooth drops out from the fifth difference on.
        return found._replace(noise=found.noise + _slope_noise(max(levels_of(values, 5)), h))

    def _slope(self, direction: Host, level: int) -> _Slope:
        """Measure with the step of a level."""
        h = self._step(level)
        slopes, bends, given = [], [], []
        for t in (h, h / 2):
            move = placed_like(self.x, t * direction)
            up, down = self.x + move, self.x - move
            high, low = self._value(up), self._value(down)
            slopes.append((high - low) / (2 * t))
            bends.append((high + low - 2 * self.value) / t)
            # The moves that were really taken, which rounding has changed.
            given.append(float(np.vdot(self.expected, on_host(up - down))) / (2 * t))
        if not all(map(math.isfinite, slopes)):
            return _Slope(given[0], slopes[0], math.inf, 0.0)
        measured, noise, kink = _extrapolated(slopes, bends, _slope_noise(self.noise, h))
        size = float(np.linalg.norm(self.expected * direction))
        of_gradient = GRADIENT_ROUNDING * epsilon(self.x) * size
        noise = float(noise) + (of_gradient + smallest_normal(self.x) * direction.size)
        return _Slope((4 * given[1] - given[0]) / 3, float(measured), noise, float(kink))

    def _value(self, moved: Array) -> float:
        return float(self.sampler.at({self.name: moved}))

    def _step(self, level: int) -> float:
        """Return the step along a direction, divided by 4 so many times."""
        step = epsilon(self.x) ** 0.2 if self.step is None else self.step
        return step * 4.0**-level

    def _failing_entry(self, direction: Host, level: int) -> Entry | None:
        """Halve a failing direction until one entry is left; None where both halves pass."""
        start, stop = 0, direction.size
        index, found = np.arange(stop).reshape(direction.shape), self._slope(direction, level)
        while stop - start > 1:
            middle = (start + stop) // 2
            for half in ((start, middle), (middle, stop)):
                part = np.where((half[0] <= index) & (index < half[1]), direction, 0.0)
                found = self._slope(part, level)
                if found.excess > 1:
                    break
            else:
                return None
            start, stop = half
        unit = float(direction.ravel()[start])
        given, measured, noise, _ = (v / unit for v in found)
        at = tuple(map(int, np.unravel_index(start, direction.shape)))
        return Entry(at, given, measured, abs(noise))


def _slope_noise(noise: float, h: Any) -> Any:
    """Bound what noise of two values does to their difference over a step."""
    return SAFETY * 2.0 * noise / h


def _extrapolated(slopes: list[Any], bends: list[Any], noise: Any) -> tuple[Any, Any, Any]:
    """Derivative, its noise floor and what a kink may do to it, from steps h and h/2.

    A smooth function's second difference over h halves with h, and its slopes agree to h²; with
    a kink within the step one of the two is broken by a good part of the slope's jump. `noise`
    is what rounding does to the slopes.
    """
    numerical = (4.0 * slopes[1] - slopes[0]) / 3.0
    change = np.abs(slopes[1] - slopes[0])
    broken = np.abs(2.0 * bends[1] - bends[0])
    kink = broken + 2.0 * change
    bent = np.abs(bends[0]) + np.abs(bends[1])
    found = (broken + change > 0.05 * bent) & (kink > 4.0 * noise)
    return numerical, noise + change / 3.0, np.where(found, kink, 0.0)


def checked_gradient(gradient: Any, x: Any) -> dict[Any, Host]:
    """Return the gradient under test on the host in float64, or raise where it does not fit."""
    if isinstance(x, dict) != isinstance(gradient, dict):
        expected = "a dict of arrays" if isinstance(x, dict) else "an array"
        raise TypeError(f"x is {expected}, but gradient is a {type(gradient).__name__}")
    given, points, host = as_dict(gradient), as_dict(x), {}
    if given.keys() != points.keys():
        keys = [sorted(map(str, part)) for part in (given, points)]
        raise ValueError(f"gradient has the keys {keys[0]}, but x has {keys[1]}")
    for key, point in points.items():
        what = "gradient" if key is None else f"gradient[{key!r}]"
        array, xp, shape = given[key], array_namespace(point), tuple(point.shape)
        arrays.refuse_other_than_array(array, what)
        arrays.refuse_other_library(array, xp, f"{what} is", arrays.library_of(xp))
        if not arrays.is_kind(xp, array.dtype, "real floating"):
            raise TypeError(f"{what} must be a floating-point array, not {array.dtype}")
        if tuple(array.shape) != shape:
            raise ValueError(f"{what} has shape {tuple(array.shape)}; expected {shape}")
        host[key] = on_host(array)
    return host


# --- how much of a difference is rounding ----------------------------------------------------


def measured_noise(sampler: Sampler, rng: np.random.Generator) -> float:
    """Standard deviation of the rounding of `f` about x (Moré and Wild, 2011).

    From the differences, of orders 4 to 6, of values at nine points so close that what is
    smooth in f drops out; once as close as x can be moved, once wider, where f rounds x itself.
    """
    value = sampler.at({})
    levels = [0.5 * epsilon(value) * abs(float(value))]
    for exponent in (1.0, 0.5):
        steps: dict[Any, Array] = {}
        for name, x in sampler.arrays.items():
            host = on_host(x)
            u = 8.0 * epsilon(x) ** exponent * rng.uniform(0.5, 1.0, host.shape)
            u *= np.maximum(np.abs(host), 0.1) * np.where(host < 0, -1.0, 1.0)
            steps[name] = placed_like(x, u)
        values = []
        for k in range(9):
            moved = {name: x + k * steps[name] for name, x in sampler.arrays.items()}
            values.append(float(sampler.at(moved)))
        levels += levels_of(values, 4)
    return max(levels)


def levels_of(values: list[float], first: int) -> list[float]:
    """Noise in equally spaced values, from their differences of the first order to the sixth."""
    levels = []
    for k in range(first, 7):
        table, gamma = np.diff(values, k), math.factorial(k) ** 2 / math.factorial(2 * k)
        # The root mean square, with no square to overflow.
        levels.append(math.sqrt(gamma / table.size) * float(np.hypot.reduce(table)))
    return levels


def refuse_reduced_precision(x: Array) -> None:
    """Raise RuntimeError where matrix products of x's dtype lose digits on x's device.

    TF32 keeps 10 bits of float32's 23, bfloat16 7: a product with the identity matrix shows it.
    """
    xp = array_namespace(x)
    identity = xp.eye(128, dtype=x.dtype, device=device(x))
    # 12 bits less than the dtype has.
    whole = xp.full_like(identity, 1.0 + 2.0**11 * epsilon(x))
    if bool(xp.any(whole @ identity != whole)):
        raise RuntimeError(
            f"matrix products of {x.dtype} lose digits on this device (TF32 or bfloat16), which "
            "a gradient check would measure: while checking, set your library's precision of "
            "matrix products to 'highest' (forbid TF32), or check in float64"
        )


def on_host(x: Array) -> Host:
    """Return an array's values on the host, in float64."""
    return placement_of(x).to_host(x).astype(np.float64)


def placed_like(x: Array, values: Host) -> Array:
    """Return values of the host as an array of x's library, device and dtype."""
    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))
