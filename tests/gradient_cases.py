"""Scalar functions with their exact gradients, and wrong gradients of each.

Each function is written once against the array API. Its gradient is another formula, in long
double on the host, so that it is right to the last digits of float64 (`test_gradient_cases.py`
holds it to Torch's automatic derivatives). All constants are float32 numbers: a function that is
computed in float32 is then the same function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from array_api_compat import device, is_jax_array, is_numpy_array

LONG = np.longdouble
RTOL = {"float64": 1e-3, "float32": 1e-2}
ENOUGH = 10  # wrong gradients of each function, at least


@dataclass(frozen=True)
class Case:
    """A function at a point.

    Attributes
    ----------
    name, family : str
    formula : callable
        From an array library and an array to f's value.
    derivative : callable
        From a point in long double to the gradient, or, at a kink, to the least and the greatest
        values that each entry may have.
    x : ndarray
        The point, float64.
    smooth : bool
        Infinitely differentiable, with a scale along each entry that is about max(1, |entry|).
    float32 : bool
        Whether values and derivatives stay within float32's range, and the moves that tell the
        function from another one within its resolution.
    """

    name: str
    family: str
    formula: Callable[[Any, Any], Any]
    derivative: Callable[[np.ndarray], Any]
    x: np.ndarray
    smooth: bool
    float32: bool

    def f(self, xp: Any) -> Callable[[Any], Any]:
        """Return the function, for arrays of a library."""
        return lambda v: self.formula(xp, v)

    def point(self, dtype: str = "float64") -> np.ndarray:
        """Return the point, rounded to a dtype."""
        return self.x.astype(dtype)

    def interval(self, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
        """Return the least and the greatest right gradient at the rounded point, in float64."""
        with np.errstate(all="ignore"):
            found = self.derivative(self.point(dtype).astype(LONG))
        low, high = found if isinstance(found, tuple) else (found, found)
        shape = self.x.shape
        return tuple(np.broadcast_to(np.asarray(g, dtype="float64"), shape) for g in (low, high))

    def gradient(self, dtype: str = "float64") -> np.ndarray:
        """Return a right gradient; at a kink the middle of the interval."""
        low, high = self.interval(dtype)
        return np.where(low == high, low, (low + high) / 2).astype(dtype)

    @property
    def kink(self) -> bool:
        """Whether there is more than one right gradient."""
        low, high = self.interval()
        return bool(np.any(low != high))


CASES: list[Case] = []


def add(
    family: str, formula: Callable, derivative: Callable, *points: Any, smooth: bool = True,
    float32: bool = True,
) -> None:  # fmt: skip
    """Add a function at some points."""
    for point in points:
        x = np.asarray(point, dtype="float64")
        number = sum(case.family == family for case in CASES) + 1
        CASES.append(Case(f"{family} {number}", family, formula, derivative, x, smooth, float32))


def c(values: Any) -> np.ndarray:
    """Return constants that are float32 numbers, as float64."""
    return np.asarray(values, dtype="float32").astype("float64")


def k(xp: Any, values: np.ndarray, v: Any) -> Any:
    """Return constants as an array like v."""
    # JAX puts constants where they are needed; what it traces is on no device, and its own checks
    # call a function of JAX with NumPy's arrays.
    where = {} if is_jax_array(v) or is_numpy_array(v) else {"device": device(v)}
    return xp.asarray(values.tolist(), dtype=v.dtype, **where)


def relu(v: Any) -> Any:
    """The rectifier, of any library and of NumPy."""
    return 0.5 * (v + abs(v))


def sigmoid(v: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-v))


# A function, its gradient, its points: read as the lines of a table.
# fmt: off

# --- polynomials -----------------------------------------------------------------------------

for size in (1e-15, 1e-8, 1e-3, 1.0, 1e4, 1e8, 1e15):
    size = float(np.float32(size))
    add("polynomial of one size",
        lambda xp, v, s=size: s * (v[0] ** 3 - 2 * v[0] * v[1] + v[1] ** 2 * v[2]),
        lambda v, s=size: s * np.stack([3 * v[0] ** 2 - 2 * v[1], -2 * v[0] + 2 * v[1] * v[2],
                                        v[1] ** 2]),
        [0.7, -1.2, 2.0])

SPREAD = {
    "cubes of 1e8 to 1e-6": (c([1e8, 1, 1e-6]), 3, [1.3, -0.7, 2.1]),
    "squares of 1e15 to 1e-15": (c([1e15, 1, 1e-15]), 2, [1.1, 0.6, -1.7]),
    "squares of 1 to 1e-5": (c([1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5]), 2, [1, 2, -1, 3, 0.5, 1]),
    "a line beside 1e12": (c([1e12, 1]), None, [1.0, 1.0]),
}
for name, (size, power, point) in SPREAD.items():
    if power is None:
        add(name, lambda xp, v, a=size: float(a[0]) * v[0] ** 2 + v[1],
            lambda v, a=size: np.stack([2 * a[0] * v[0], v[1] * 0 + 1]), point, smooth=False)
    else:
        add(name, lambda xp, v, a=size, p=power: xp.sum(k(xp, a, v) * v**p),
            lambda v, a=size, p=power: p * a * v ** (p - 1), point, smooth=size[0] == 1)

add("degree 5",
    lambda xp, v: xp.sum(1 + v * (2 + v * (-3 + v * (0.5 + v * (0.25 + v * 0.125))))),
    lambda v: 2 + v * (-6 + v * (1.5 + v * (1 + v * 0.625))),
    [0.5, -2.0], [10.0, -3.0, 0.0], [100.0, 7.0])
add("degree 10", lambda xp, v: xp.sum(v**10), lambda v: 10 * v**9, [1.0, -1.2, 0.9])

# --- poles, logarithms, roots, edges ---------------------------------------------------------

add("inverse", lambda xp, v: xp.sum(1 / v), lambda v: -1 / v**2, [0.8, 1.0, 4.0], [-3.0, -1.0, 2.0])
add("inverse at a pole", lambda xp, v: xp.sum(1 / v), lambda v: -1 / v**2, [1e-4, 1e-3, 1e-2, 1.0],
    [1e-6, -1e-6], [-1e-3, 2.0], smooth=False)
add("log", lambda xp, v: xp.sum(xp.log(v)), lambda v: 1 / v, [0.6, 1.0, 3.0], [10.0, 100.0, 1e4])
add("log near 0", lambda xp, v: xp.sum(xp.log(v)), lambda v: 1 / v, [1e-6, 2e-6],
    [1e-3, 1.0, 1e3], [1e-12, 1.0], smooth=False)
add("log1p", lambda xp, v: xp.sum(xp.log1p(v)), lambda v: 1 / (1 + v), [0.0, 0.5, 2.0])
add("sqrt", lambda xp, v: xp.sum(xp.sqrt(v)), lambda v: 0.5 / np.sqrt(v), [1.0, 4.0, 9.0],
    [2e4, 1.0])
add("sqrt near 0", lambda xp, v: xp.sum(xp.sqrt(v)), lambda v: 0.5 / np.sqrt(v), [1e-6, 1e-4, 1.0],
    [1e-10, 2.0], smooth=False)
add("entropy", lambda xp, v: -xp.sum(v * xp.log(v)), lambda v: -np.log(v) - 1, [0.6, 0.9, 2.0])
add("entropy near 0", lambda xp, v: -xp.sum(v * xp.log(v)), lambda v: -np.log(v) - 1,
    [1e-6, 0.3, 0.7], [1e-3, 1e-2, 0.989], smooth=False)
add("Kullback-Leibler", lambda xp, v: xp.sum(v * xp.log(v / k(xp, c([0.2, 0.3, 0.5]), v))),
    lambda v: np.log(v / c([0.2, 0.3, 0.5])) + 1, [0.7, 0.8, 1.5])
add("arcsin", lambda xp, v: xp.sum(xp.asin(v)), lambda v: 1 / np.sqrt(1 - v * v), [0.1, -0.3, 0.4])
add("arcsin at its edge", lambda xp, v: xp.sum(xp.asin(v)),
    lambda v: 1 / np.sqrt((1 - v) * (1 + v)), [0.999, -0.9999, 0.5], [0.99999, 0.9],
    smooth=False)
add("arccos at its edge", lambda xp, v: xp.sum(xp.acos(v)),
    lambda v: -1 / np.sqrt((1 - v) * (1 + v)), [0.9999, -0.99], smooth=False)
add("arctanh at its edge", lambda xp, v: xp.sum(xp.atanh(v)), lambda v: 1 / ((1 - v) * (1 + v)),
    [0.9999, -0.9, 0.1], smooth=False)
add("arctan", lambda xp, v: xp.sum(xp.atan(v)), lambda v: 1 / (1 + v * v), [-1.0, 0.5, 3.0])

# --- exponentials and waves ------------------------------------------------------------------

add("exp", lambda xp, v: xp.sum(xp.exp(v)), lambda v: np.exp(v), [-1.0, 0.5, 2.0])
add("exp of ±300", lambda xp, v: xp.exp(v[0] + v[1]), lambda v: np.exp(v[0] + v[1]) * np.ones(2),
    [299.0, 1.0], [-299.0, -1.0], smooth=False, float32=False)
add("exp of 300 and -300", lambda xp, v: xp.sum(xp.exp(v)), lambda v: np.exp(v), [300.0, -300.0],
    smooth=False, float32=False)
add("exp of ±60", lambda xp, v: xp.exp(v[0] + v[1]), lambda v: np.exp(v[0] + v[1]) * np.ones(2),
    [59.0, 1.0], [-59.0, -1.0], smooth=False)
for often in (1.0, 2.0, 10.0, 100.0, 1e4, 1e6):
    add(f"sin({often:g} v)", lambda xp, v, o=often: xp.sum(xp.sin(o * v)),
        lambda v, o=often: o * np.cos(o * v), [0.125, 0.75, -1.375], smooth=often < 5)
add("cos far out", lambda xp, v: xp.sum(xp.cos(v)), lambda v: -np.sin(v), [1000.5, -300.25],
    [1e6, 1e5], smooth=False)
add("product of waves", lambda xp, v: xp.sin(v[0]) * xp.cos(v[1]) * xp.exp(v[2]),
    lambda v: np.exp(v[2]) * np.stack([np.cos(v[0]) * np.cos(v[1]), -np.sin(v[0]) * np.sin(v[1]),
                                       np.sin(v[0]) * np.cos(v[1])]),
    [0.4, 1.1, -0.3], [2.0, -0.7, 1.0])
add("tan", lambda xp, v: xp.sum(xp.tan(v)), lambda v: 1 / np.cos(v) ** 2, [0.3, -0.5, 0.1])
add("cosh", lambda xp, v: xp.sum(xp.cosh(v)), lambda v: np.sinh(v), [0.3, -1.5, 2.0])
add("log cosh", lambda xp, v: xp.sum(xp.log(xp.cosh(v))), lambda v: np.tanh(v), [0.3, -1.5, 2.0])
add("sigmoid", lambda xp, v: xp.sum(1 / (1 + xp.exp(-v))), lambda v: sigmoid(v) * sigmoid(-v),
    [0.3, -1.5, 4.0])
add("bell", lambda xp, v: xp.exp(-xp.sum(v * v)), lambda v: -2 * v * np.exp(-np.sum(v * v)),
    [0.3, -0.8, 0.5])
add("Morse", lambda xp, v: xp.sum((1 - xp.exp(1 - v)) ** 2),
    lambda v: 2 * (1 - np.exp(1 - v)) * np.exp(1 - v), [0.7, 1.5, 3.0])
add("Lennard-Jones", lambda xp, v: xp.sum(v**-12 - v**-6),
    lambda v: -12 * v**-13 + 6 * v**-7, [1.0, 1.5, 0.9], smooth=False)
for steep in (1.0, 64.0, 1024.0):
    add(f"softplus {steep:g}",
        lambda xp, v, s=steep: xp.sum(relu(v) + xp.log1p(xp.exp(-s * xp.abs(v))) / s),
        lambda v, s=steep: sigmoid(s * v), [-0.01, 0.002, 0.03], smooth=steep == 1)
add("logsumexp", lambda xp, v: xp.log(xp.sum(xp.exp(v - xp.max(v)))) + xp.max(v),
    lambda v: np.exp(v - np.max(v)) / np.sum(np.exp(v - np.max(v))), [1.0, 2.0, 3.0],
    [-0.5, 0.0, 0.25, 1.0])
add("logsumexp far out", lambda xp, v: xp.log(xp.sum(xp.exp(v - xp.max(v)))) + xp.max(v),
    lambda v: np.exp(v - np.max(v)) / np.sum(np.exp(v - np.max(v))), [1000.0, 1001.0, 999.0],
    smooth=False)

# --- large sums, norms, scales ---------------------------------------------------------------

add("1e8 beside waves", lambda xp, v: 1e8 + xp.sum(xp.sin(v)), lambda v: np.cos(v),
    [0.3, 1.0, -0.8])
add("1e8 beside squares", lambda xp, v: xp.sum(v * v) + 1e8, lambda v: 2 * v, [0.3, 1.0, -0.8])
add("squares of 1e8", lambda xp, v: xp.sum(v * v), lambda v: 2 * v, [1e8, -2e8])
add("around 2e4", lambda xp, v: xp.sum(v * v) / xp.sum(v),
    lambda v: 2 * v / np.sum(v) - np.sum(v * v) / np.sum(v) ** 2, [2e4, 1.9e4, 2.3e4])
norm = lambda xp, v: xp.sqrt(xp.sum(v * v))  # noqa: E731
unit = lambda v: v / np.sqrt(np.sum(v * v))  # noqa: E731
add("norm", norm, unit, [3.0, 4.0], [3.0, 0.0, -1.0], [1e3, 20.0], [[1.0, 2.0], [-3.0, 0.5]])
add("norm near 0", norm, unit, [3e-3, 4e-3], [1e-8, -2e-8], smooth=False)
add("norm at 0", norm, lambda v: (v - 1, v + 1), [0.0, 0.0], smooth=False)
add("sum of sizes", lambda xp, v: xp.sum(xp.abs(v)), lambda v: np.sign(v), [1.0, -2.0, 0.5],
    smooth=False)
add("sum of sizes at 0", lambda xp, v: xp.sum(xp.abs(v)),
    lambda v: (np.where(v > 0, 1, -1), np.where(v < 0, -1, 1)), [1.0, 0.0, -2.0], smooth=False)
add("fourth root of cubes", lambda xp, v: xp.sum(xp.abs(v) ** 3) ** 0.25,
    lambda v: 0.75 * v * np.abs(v) * np.sum(np.abs(v) ** 3) ** LONG(-0.75), [1.0, -2.0, 3.0])
for size in (1e-200, 1e200):
    add(f"values of {size:g}", lambda xp, v, s=size: s * xp.sum(v**3),
        lambda v, s=size: 3 * LONG(s) * v * v, [0.7, -1.2, 2.0], float32=False)
    add(f"entries of {size:g}", lambda xp, v, s=size: xp.sum((v / s) ** 2),
        lambda v, s=size: 2 * (v / LONG(s)) / LONG(s), np.asarray([0.7, -1.2, 2.0]) * size,
        smooth=size > 1, float32=False)
for size in (2.0**-80, 2.0**80):
    add(f"values of {size:.0e}", lambda xp, v, s=size: s * xp.sum(v**3),
        lambda v, s=size: 3 * s * v * v, [0.7, -1.2, 2.0])

# --- kinks and jumps -------------------------------------------------------------------------


def largest(v: np.ndarray) -> Any:
    """The slopes of a maximum: between 0 and 1 for those that tie."""
    ties = v == np.max(v)
    return (np.where(ties & (np.sum(ties) == 1), 1.0, 0.0), np.where(ties, 1.0, 0.0))


add("max", lambda xp, v: xp.max(v), largest, [1.0, 0.5, 0.2], [1.0, 1 - 1e-5, 0.2],
    [1.0, 1.0, 0.2], [2.0, 2.0, 2.0], smooth=False)
RAMPS = c([1.0, -2.0, 0.5])
add("relu", lambda xp, v: xp.sum(k(xp, RAMPS, v) * relu(v)), lambda v: RAMPS * (v > 0),
    [1.0, -1.0, 0.7], [1e-6, -1e-6, 0.3], smooth=False)
# f is about 0.5 here. Where float32 resolves a move, the kinks 1e-9 away are kinks at x.
add("relu", lambda xp, v: xp.sum(k(xp, RAMPS, v) * relu(v)), lambda v: RAMPS * (v > 0),
    [-1e-9, 1e-9, 1.0], smooth=False, float32=False)
add("relu at 0", lambda xp, v: xp.sum(k(xp, RAMPS, v) * relu(v)),
    lambda v: (np.minimum(RAMPS, 0) * (v == 0) + RAMPS * (v > 0),
               np.maximum(RAMPS, 0) * (v == 0) + RAMPS * (v > 0)),
    [0.0, 0.0, 1.0], [-1.0, 1.0, 0.0], smooth=False)
add("relu squared", lambda xp, v: xp.sum(relu(v) ** 2), lambda v: 2 * relu(v), [1.0, -1.0, 0.3],
    smooth=False)
add("hinge", lambda xp, v: xp.sum(relu(1 - v * k(xp, RAMPS, v))),
    lambda v: -RAMPS * (v * RAMPS < 1), [0.3, 1.0, 4.0], smooth=False)
add("floor", lambda xp, v: xp.sum(xp.floor(v) + v * v), lambda v: 2 * v, [0.3, 1.7, -0.4],
    [1.0001, 0.5], smooth=False)
add("floor at a jump", lambda xp, v: xp.sum(xp.floor(v) + v * v), lambda v: 2 * v, [1.0, 0.5],
    smooth=False)
add("remainder", lambda xp, v: xp.sum(v % 1.0), lambda v: np.ones_like(v), [0.3, 1.0001],
    smooth=False)
add("Huber", lambda xp, v: xp.sum(xp.where(xp.abs(v) < 1, 0.5 * v * v, xp.abs(v) - 0.5)),
    lambda v: np.clip(v, -1, 1), [0.5, 2.0, -3.0], [1.0, -0.25], smooth=False)
add("quadratic by halves", lambda xp, v: xp.sum(xp.where(v < 0, v * v, 3 * v * v) + v),
    lambda v: np.where(v < 0, 2 * v, 6 * v) + 1, [-0.5, 0.7, 1.0], [0.0, 1e-5], smooth=False)
add("pinball at 0", lambda xp, v: xp.sum(xp.where(v < 0, -0.25 * v, 0.75 * v)),
    lambda v: (np.where(v > 0, 0.75, -0.25), np.where(v < 0, -0.25, 0.75)), [0.0, 1.0],
    smooth=False)
add("v|v|", lambda xp, v: xp.sum(v * xp.abs(v) + v), lambda v: 2 * np.abs(v) + 1, [1.0, -1.5],
    [1e-4, 1.0], smooth=False)

# --- matrices --------------------------------------------------------------------------------

for gap in (2.0**-2, 2.0**-10, 2.0**-20):
    add(f"solve, singular but for {gap:.0e}",
        lambda xp, v, d=gap: (((1 + d) * v[0] - v[1]) / d) ** 2 + ((v[1] - v[0]) / d) ** 2,
        lambda v, d=gap: 2 * np.stack([
            ((1 + d) * v[0] - v[1]) / d * (1 + d) / d - (v[1] - v[0]) / d / d,
            -((1 + d) * v[0] - v[1]) / d / d + (v[1] - v[0]) / d / d]),
        [1.0, 0.7])
    add(f"inverse, singular but for {gap:.0e}",
        lambda xp, v: (v[1, 1] + v[0, 0] - 2 * v[0, 1] - 3 * v[1, 0])
        / (v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0]),
        lambda v: (
            np.asarray([[1, -2], [-3, 1]]) / (v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0])
            - (v[1, 1] + v[0, 0] - 2 * v[0, 1] - 3 * v[1, 0])
            / (v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0]) ** 2
            * np.asarray([[v[1, 1], -v[1, 0]], [-v[0, 1], v[0, 0]]])),
        [[1.0, 1.0], [1.0, 1 + gap]], smooth=False)


def det3(v: Any) -> Any:
    return (
        v[0, 0] * (v[1, 1] * v[2, 2] - v[1, 2] * v[2, 1])
        - v[0, 1] * (v[1, 0] * v[2, 2] - v[1, 2] * v[2, 0])
        + v[0, 2] * (v[1, 0] * v[2, 1] - v[1, 1] * v[2, 0])
    )


def cofactors(v: np.ndarray) -> np.ndarray:
    """The derivative of the determinant of 3 × 3."""
    rolled = np.pad(v, ((0, 2), (0, 2)), mode="wrap")
    a, b = rolled[1:4, 1:4] * rolled[2:5, 2:5], rolled[1:4, 2:5] * rolled[2:5, 1:4]
    return a - b


SQUARE = [[2.0, 0.5, -0.3], [0.25, 1.5, 0.7], [-0.6, 0.4, 3.0]]
add("determinant", lambda xp, v: det3(v), cofactors, SQUARE)
add("log-determinant", lambda xp, v: xp.log(det3(v)), lambda v: cofactors(v) / det3(v), SQUARE)
add("log-determinant of 2 × 2", lambda xp, v: xp.log(v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0]),
    lambda v: np.asarray([[v[1, 1], -v[1, 0]], [-v[0, 1], v[0, 0]]])
    / (v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0]), [[2.0, 0.5], [-0.75, 3.0]])
add("log-determinant near 0", lambda xp, v: xp.log(v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0]),
    lambda v: np.asarray([[v[1, 1], -v[1, 0]], [-v[0, 1], v[0, 0]]])
    / (v[0, 0] * v[1, 1] - v[0, 1] * v[1, 0]), [[1.0, 0.5], [2.0, 1 + 2.0**-12]], smooth=False)
SIDE, TOP = c([1.0, -0.5, 2.0]), c([0.3, 1.5, -0.7])
add("bilinear", lambda xp, v: xp.sum(k(xp, SIDE[:, None], v) * v * k(xp, TOP[None], v)),
    lambda v: SIDE[:, None] * TOP + 0 * v, SQUARE)
add("quadratic form", lambda xp, v: v @ k(xp, c(SQUARE), v) @ v,
    lambda v: (c(SQUARE) + c(SQUARE).T) @ v, [1.0, -0.5, 2.0])
add("trace of a cube", lambda xp, v: xp.sum((v @ v) * v.T), lambda v: 3 * (v @ v).T, SQUARE,
    [[0.0, 1.0], [2.0, -0.5]])
add("rotation",
    lambda xp, v: 2 * (xp.cos(v[0]) * v[1] - xp.sin(v[0]) * v[2])
    - 0.5 * (xp.sin(v[0]) * v[1] + xp.cos(v[0]) * v[2]),
    lambda v: np.stack([
        -2 * (np.sin(v[0]) * v[1] + np.cos(v[0]) * v[2])
        - 0.5 * (np.cos(v[0]) * v[1] - np.sin(v[0]) * v[2]),
        2 * np.cos(v[0]) - 0.5 * np.sin(v[0]), -2 * np.sin(v[0]) - 0.5 * np.cos(v[0])]),
    [0.3, 1.0, 2.0], [3.0, -1.0, 0.5])

# --- statistics and nets ---------------------------------------------------------------------

TIMES, HEIGHTS = c([0.0, 0.7, 1.9]), c([0.5, -0.2, 1.1])
APART = c((TIMES[:, None] - TIMES) ** 2)


def gaussian_process(xp: Any, v: Any) -> Any:
    """The log-likelihood of three heights; v has the logs of amplitude, length and noise."""
    square, eye = k(xp, APART, v), k(xp, np.eye(3), v)
    kernel = xp.exp(2 * v[0]) * xp.exp(-0.5 * square * xp.exp(-2 * v[1])) + xp.exp(2 * v[2]) * eye
    # The adjugate is the cofactors' transpose; the kernel is symmetric.
    e = [[kernel[i, j] for j in range(3)] for i in range(3)]
    heights = HEIGHTS.tolist()
    quadratic = 0.0 * v[0]
    for i in range(3):
        for j in range(3):
            a, b, p, q = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
            minor = e[a][p] * e[b][q] - e[a][q] * e[b][p]
            quadratic = quadratic + heights[i] * heights[j] * minor
    det = det3(kernel)
    return -0.5 * quadratic / det - 0.5 * xp.log(det)


def gaussian_process_gradient(v: np.ndarray) -> np.ndarray:
    """½ tr((αα' - K⁻¹) dK), Rasmussen and Williams (2006), equation 5.9."""
    signal = np.exp(2 * v[0]) * np.exp(-0.5 * APART * np.exp(-2 * v[1]))
    noise = np.exp(2 * v[2]) * np.eye(3)
    inverse = cofactors(signal + noise).T / det3(signal + noise)
    alpha = inverse @ HEIGHTS
    inner = np.outer(alpha, alpha) - inverse
    changes = [2 * signal, signal * APART * np.exp(-2 * v[1]), 2 * noise]
    return np.stack([0.5 * np.sum(inner * change) for change in changes])


add("Gaussian process", gaussian_process, gaussian_process_gradient, [0.1, -0.2, -1.0],
    [0.5, 0.3, -0.5])

HOT = np.eye(3)[[0, 2, 1]]


def cross_entropy(xp: Any, v: Any) -> Any:
    top = xp.max(v, axis=1, keepdims=True)
    return xp.sum(xp.log(xp.sum(xp.exp(v - top), axis=1, keepdims=True)) + top) - xp.sum(
        k(xp, HOT[: v.shape[0]], v) * v
    )


def cross_entropy_gradient(v: np.ndarray) -> np.ndarray:
    e = np.exp(v - np.max(v, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True) - HOT[: len(v)]


add("cross-entropy", cross_entropy, cross_entropy_gradient, SQUARE,
    [[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]], [[8.0, -4.0, 2.0], [1.0, 0.3, -2.0]])
ROWS = c([[1.0, 0.2, -0.5], [1.0, -1.3, 0.4], [1.0, 0.8, 1.6], [1.0, -0.1, -0.9], [1.0, 2.0, 0.3]])
WHICH = c([1.0, -1.0, 1.0, -1.0, 1.0])
add("logistic regression",
    lambda xp, v: xp.sum(xp.log1p(xp.exp(-(k(xp, WHICH[:, None] * ROWS, v) @ v)))),
    lambda v: -(WHICH[:, None] * ROWS).T @ sigmoid(-(WHICH[:, None] * ROWS) @ v),
    [0.3, -0.4, 1.0], [0.0, 0.0, 0.0])
add("Poisson regression",
    lambda xp, v: xp.sum(xp.exp(k(xp, ROWS, v) @ v) - k(xp, ROWS, v) @ v * k(xp, WHICH + 1, v)),
    lambda v: ROWS.T @ (np.exp(ROWS @ v) - WHICH - 1), [0.3, -0.4, 0.5])
add("least squares", lambda xp, v: xp.sum((k(xp, ROWS, v) @ v - k(xp, WHICH, v)) ** 2),
    lambda v: 2 * ROWS.T @ (ROWS @ v - WHICH), [0.3, -0.4, 0.5])
add("Student's t", lambda xp, v: xp.sum(xp.log1p(v * v / 4)), lambda v: 2 * v / (4 + v * v),
    [0.3, -2.0, 5.0])
add("variance", lambda xp, v: xp.sum((v - xp.mean(v)) ** 2), lambda v: 2 * (v - np.mean(v)),
    [0.3, -2.0, 5.0, 1.0])
WEIGHTS = c(SQUARE) / 2
add("tanh layer", lambda xp, v: xp.sum(xp.tanh(k(xp, WEIGHTS, v) @ v) ** 2),
    lambda v: WEIGHTS.T @ (2 * np.tanh(WEIGHTS @ v) * (1 - np.tanh(WEIGHTS @ v) ** 2)),
    [0.3, -0.7, 0.5], [1.0, 0.4, -0.2])
add("tanh weights", lambda xp, v: xp.sum(xp.tanh(v @ k(xp, SIDE, v)) * k(xp, TOP, v)),
    lambda v: np.outer(TOP * (1 - np.tanh(v @ SIDE) ** 2), SIDE), WEIGHTS)
add("two tanh layers",
    lambda xp, v: xp.sum(xp.tanh(k(xp, WEIGHTS, v) @ xp.tanh(v @ k(xp, SIDE, v)))),
    lambda v: np.outer(
        WEIGHTS.T @ (1 - np.tanh(WEIGHTS @ np.tanh(v @ SIDE)) ** 2)
        * (1 - np.tanh(v @ SIDE) ** 2), SIDE), WEIGHTS)

# --- well known functions --------------------------------------------------------------------

add("Rosenbrock", lambda xp, v: xp.sum(100 * (v[1:] - v[:-1] ** 2) ** 2 + (1 - v[:-1]) ** 2),
    lambda v: np.concatenate([-400 * v[:-1] * (v[1:] - v[:-1] ** 2) - 2 * (1 - v[:-1]), [0]])
    + np.concatenate([[0], 200 * (v[1:] - v[:-1] ** 2)]),
    [-1.2, 1.0], [0.5, 2.0, 1.0], [1.0, 1.0])  # the last is the optimum
add("Himmelblau", lambda xp, v: (v[0] ** 2 + v[1] - 11) ** 2 + (v[0] + v[1] ** 2 - 7) ** 2,
    lambda v: np.stack([
        4 * v[0] * (v[0] ** 2 + v[1] - 11) + 2 * (v[0] + v[1] ** 2 - 7),
        2 * (v[0] ** 2 + v[1] - 11) + 4 * v[1] * (v[0] + v[1] ** 2 - 7)]),
    [1.0, 1.0], [-2.0, 3.5], [10.0, -20.0])
add("Beale", lambda xp, v: (1.5 - v[0] + v[0] * v[1]) ** 2 + (2.25 - v[0] + v[0] * v[1] ** 2) ** 2,
    lambda v: np.stack([
        2 * (1.5 - v[0] + v[0] * v[1]) * (v[1] - 1)
        + 2 * (2.25 - v[0] + v[0] * v[1] ** 2) * (v[1] ** 2 - 1),
        2 * (1.5 - v[0] + v[0] * v[1]) * v[0]
        + 4 * (2.25 - v[0] + v[0] * v[1] ** 2) * v[0] * v[1]]),
    [1.0, 0.5])
add("rational", lambda xp, v: xp.sum(v / (1 + v * v)), lambda v: (1 - v * v) / (1 + v * v) ** 2,
    [0.3, -2.0, 0.0])
add("quotient", lambda xp, v: (v[0] ** 2 + v[1]) / (v[0] - v[1]),
    lambda v: np.stack([2 * v[0] / (v[0] - v[1]) - (v[0] ** 2 + v[1]) / (v[0] - v[1]) ** 2,
                        1 / (v[0] - v[1]) + (v[0] ** 2 + v[1]) / (v[0] - v[1]) ** 2]),
    [2.0, -1.0])
add("Runge", lambda xp, v: xp.sum(1 / (1 + 25 * v * v)), lambda v: -50 * v / (1 + 25 * v * v) ** 2,
    [0.1, -0.5, 1.0], smooth=False)
add("product", lambda xp, v: v[0] * v[1] * v[2], lambda v: np.prod(v) / v, [1.5, -2.0, 0.5])
add("product with a 0", lambda xp, v: v[0] * v[1] + v[0], lambda v: np.stack([v[1] + 1, v[0]]),
    [2.0, 0.0], [0.5, -3.0])
add("an unused entry", lambda xp, v: v[0] ** 2 + v[2] ** 3,
    lambda v: np.stack([2 * v[0], 0 * v[1], 3 * v[2] ** 2]), [1.0, 5.0, 0.7])
add("entries of 0", lambda xp, v: xp.sum(xp.sin(v) + v * v), lambda v: np.cos(v) + 2 * v,
    [0.0, 1.0, 0.0])
add("squares at 0", lambda xp, v: xp.sum(v * v), lambda v: 2 * v, [0.0, 1.0, -2.0])
PLACE = c([1.0, -0.5, 2.0])
add("distance", lambda xp, v: xp.sqrt(xp.sum((v - k(xp, PLACE, v)) ** 2)),
    lambda v: unit(v - PLACE), [0.0, 0.5, 1.0], [3.0, -2.0, 4.0])
add("distances of pairs",
    lambda xp, v: norm(xp, v[0, :] - v[1, :]) + 2 * norm(xp, v[1, :] - v[2, :]),
    lambda v: np.stack([unit(v[0] - v[1]), unit(v[1] - v[0]) + 2 * unit(v[1] - v[2]),
                        2 * unit(v[2] - v[1])]),
    [[0.0, 0.0], [3.0, 1.0], [1.0, -2.0]])
add("cosine", lambda xp, v: xp.sum(v * k(xp, PLACE, v)) / norm(xp, v),
    lambda v: PLACE / np.sqrt(np.sum(v * v))
    - v * np.sum(v * PLACE) / np.sum(v * v) ** LONG(1.5), [1.0, 2.0, -0.5])
for power in (0.5, 1.5, 2.5, -2.0):
    add(f"power {power:g}", lambda xp, v, p=power: xp.sum(v**p),
        lambda v, p=power: p * v ** LONG(p - 1), [1.0, 2.0, 30.0])
add("power 1.5 near 0", lambda xp, v: xp.sum(v**1.5), lambda v: 1.5 * np.sqrt(v), [1e-4, 1e-2, 1.0],
    smooth=False)
add("geometric mean", lambda xp, v: xp.exp(xp.mean(xp.log(v))),
    lambda v: np.exp(np.mean(np.log(v))) / (v * v.size), [1.0, 2.0, 4.0])
add("harmonic mean", lambda xp, v: 1 / xp.sum(1 / v), lambda v: 1 / (v * np.sum(1 / v)) ** 2,
    [1.0, 2.0, 4.0])
add("Michaelis-Menten", lambda xp, v: v[0] * 3 / (v[1] + 3) + v[0] * 0.5 / (v[1] + 0.5),
    lambda v: np.stack([3 / (v[1] + 3) + 0.5 / (v[1] + 0.5),
                        -3 * v[0] / (v[1] + 3) ** 2 - 0.5 * v[0] / (v[1] + 0.5) ** 2]),
    [2.0, 1.0])
add("a number", lambda xp, v: xp.exp(v) * v, lambda v: np.exp(v) * (1 + v), 0.7)

# fmt: on

# --- wrong gradients -------------------------------------------------------------------------


def wrong_gradients(case: Case, dtype: str = "float64") -> Iterator[tuple[str, np.ndarray]]:
    """Every wrong gradient of a case: those that differ by more than RTOL in some entry."""
    right = case.gradient(dtype)
    seen: set[bytes] = set()
    faults = chain(_faults(case.name, right, dtype), _beyond(case, right, dtype))
    for name, wrong in chain(faults, _more(right, seen)):
        wrong = np.asarray(wrong, dtype=dtype)
        if np.all(np.isfinite(wrong)) and exceeds(case, wrong, dtype):
            if wrong.tobytes() not in seen:
                yield name, wrong
            seen.add(wrong.tobytes())


def exceeds(case: Case, gradient: np.ndarray, dtype: str = "float64") -> bool:
    """Whether some entry is off by more than RTOL of its own exact size."""
    low, high = case.interval(dtype)
    off = np.maximum(low - gradient, gradient - high)
    size = np.maximum(np.abs(low), np.abs(high))
    return bool(np.any((off > 0) & (off > RTOL[dtype] * size)))


def _more(right: np.ndarray, seen: set[bytes]) -> Iterator[tuple[str, np.ndarray]]:
    """Further ones, for a gradient of few entries or of zeros, until there are `ENOUGH`."""
    for factor in (0.5, 0.9, 1.1, 10):
        if len(seen) < ENOUGH:
            yield f"factor {factor}", right * factor
    top = max(float(np.max(np.abs(right))), 1.0)
    for more in (0.1, -0.1, 1, -1, 10):
        for place in range(min(right.size, 2)):
            if len(seen) < ENOUGH:
                wrong = right.ravel().copy()
                wrong[place] += more * top
                yield f"entry {place}: more by {more}", wrong.reshape(right.shape)


def _beyond(case: Case, right: np.ndarray, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """At a kink: what lies beyond the slope on either side, by a share of what is between them."""
    low, high = case.interval(dtype)
    for place in map(tuple, np.argwhere(low != high)):
        gap = high[place] - low[place]
        for by in (0.2, 0.5, 1.0):
            for end, value in (("low", low[place] - by * gap), ("high", high[place] + by * gap)):
                wrong = right.copy()
                wrong[place] = value
                where = ", ".join(map(str, place))
                yield f"entry {where}: beyond the {end} end by {by * 100:.0f} %", wrong


def _faults(name: str, right: np.ndarray, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    slight = 0.01 if dtype == "float64" else 0.05
    flat, size = right.ravel(), np.abs(right.ravel())
    rng = np.random.default_rng(sum(name.encode()))
    used = np.flatnonzero(size)
    if used.size:
        least = used[np.argmin(size[used])]
        places = dict.fromkeys([int(np.argmax(size)), int(least), int(rng.choice(used))])
        kinds = {f"{slight:.0%}": 1 + slight, "20 %": 0.8, "50 %": 1.5, "sign": -1.0, "zero": 0.0}
        for (kind, factor), place in ((item, i) for item in kinds.items() for i in places):
            wrong = flat.copy()
            wrong[place] *= factor
            yield f"entry {place}: {kind}", wrong.reshape(right.shape)
    unused = np.flatnonzero(size == 0)
    if unused.size:
        wrong = flat.copy()
        wrong[unused[0]] = max(float(np.max(size)), 1.0) * 0.5
        yield f"entry {unused[0]}: not 0", wrong.reshape(right.shape)
    for i in (0, flat.size - 2):
        if 0 <= i < flat.size - 1:
            wrong = flat.copy()
            wrong[[i, i + 1]] = flat[[i + 1, i]]
            yield f"entries {i}, {i + 1} swapped", wrong.reshape(right.shape)
    yield f"factor {1 + slight}", right * (1 + slight)
    yield "factor 2", right * 2
    yield "every sign", -right
    yield "rolled", np.roll(flat, 1).reshape(right.shape)
    if right.ndim == 2 and right.shape[0] == right.shape[1]:
        yield "transposed", right.T.copy()
