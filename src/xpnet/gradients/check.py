"""Checking a gradient against central differences, and the report."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ..arrays import Host, is_kind, refuse_other_than_array
from ..checks import finite_number, positive_integer, seed_or_none
from .noise import (
    OWN_ROUNDING,
    SAFETY,
    eps_of,
    levels_of,
    measured_noise,
    on_host,
    refuse_reduced_precision,
    tiny_of,
)
from .numerical import MAX_BYTES, Sampler, as_dict, default_step
from .report import Entry, GradientReport
from .verdict import Comparison, report_of

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
    expected = checked_gradient(gradient(x) if callable(gradient) else gradient, x)
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
    at = {_label(name): on_host(array) for name, array in sampler.arrays.items()}
    found = {_label(name): comparison for name, comparison in found.items()}
    return report_of(found, at, f"{method}; noise of f {noise:.1e}")


def _every_entry(
    sampler: Sampler, name: Any, expected: Host, step: float | None, value: float, sigma: float
) -> Comparison:
    x = sampler.arrays[name]
    xp = array_namespace(x)
    h = default_step(x, 1 / 5) if step is None else xp.full_like(x, step)
    slopes, bends = [], []
    for factor in (1.0, 0.5):
        up, down = x + factor * h, x - factor * h
        high, low = (on_host(sampler.each(name, moved)) for moved in (up, down))
        taken = on_host(up - down)
        slopes.append((high - low) / taken)
        bends.append((high + low - 2 * value) / (0.5 * taken))
    if not all(np.all(np.isfinite(slope)) for slope in slopes):
        raise ValueError("f returned NaN or infinity for an entry of x moved by the step")
    numerical, noise, kink = map(np.asarray, _extrapolated(slopes, bends, sigma, on_host(h)))
    own = OWN_ROUNDING * eps_of(x) * np.max(np.abs(numerical)) + tiny_of(x)
    found = Comparison(expected, numerical, np.asarray(noise + own), kink, expected.shape)
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
) -> Comparison:
    along = _Along(sampler, name, expected, step, value, sigma)
    tried = []
    entry = None
    for _ in range(count):
        direction = rng.choice([-1.0, 1.0], size=expected.shape) * along.scale
        tried.append(along(direction))
        if entry is None and _excess(tried[-1]) > 1:
            entry = _bisected(along, direction)
    gradient, numerical, noise, kink = (np.asarray(v) for v in zip(*tried, strict=True))
    return Comparison(gradient, numerical, noise, kink, expected.shape, entry)


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
        self.step = eps_of(self.x) ** 0.2 if step is None else step
        size = np.abs(on_host(self.x))
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
            noise += SAFETY * 2.0 * max(levels_of(values, 5)) / h
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
            given.append(float(np.vdot(self.expected, on_host(up - down))) / (2 * t))
        if not all(map(math.isfinite, slopes)):
            return given[0], slopes[0], math.inf, 0.0
        numerical, noise, kink = _extrapolated(slopes, bends, self.sigma, h)
        own = OWN_ROUNDING * eps_of(self.x) * float(np.linalg.norm(self.expected * direction))
        own += tiny_of(self.x) * direction.size
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


# --- a net -----------------------------------------------------------------------------------


# --- likely causes ---------------------------------------------------------------------------


# --- arguments -------------------------------------------------------------------------------


def checked_gradient(gradient: Any, x: Any, name: str = "gradient") -> dict[Any, Host]:
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
        host[key] = on_host(array)
    return host


def _label(name: Any) -> str:
    return "x" if name is None else str(name)
