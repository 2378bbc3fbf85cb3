"""Random smooth functions whose exact gradients are known: the check against dual numbers.

Functions are drawn from a grammar, with constants and values over many orders of magnitude.
Dual numbers in NumPy's longest float give their gradients, written here and nowhere else. A right
gradient never fails, and one with a single entry that is wrong by more than `rtol` never passes.
Undecided is allowed: some of these functions turn a million times within one entry's size.

`--hypothesis-profile nightly` runs 1,000 examples of each test instead of 50; `--gradient-table
full` has slow libraries check all that are drawn, not every third one.
"""

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import assume, event, given, note
from hypothesis import strategies as st

from xpnet import check_gradient

LONG = np.longdouble
# Values behind which nothing is drawn on: the tests are of slopes, not of overflow.
LARGEST = 1e60
# What the check promises to decide each entry to; see `check_gradient`.
RTOL = {"float64": 1e-3, "float32": 1e-2}


class Dual:
    """A number and its derivatives to every variable."""

    def __init__(self, value, slopes):
        self.value, self.slopes = value, slopes

    def __add__(self, other):
        if isinstance(other, Dual):
            return Dual(self.value + other.value, self.slopes + other.slopes)
        return Dual(self.value + other, self.slopes)

    def __mul__(self, other):
        if isinstance(other, Dual):
            slopes = self.slopes * other.value + other.slopes * self.value
            return Dual(self.value * other.value, slopes)
        return Dual(self.value * other, self.slopes * other)

    __radd__, __rmul__ = __add__, __mul__

    def __sub__(self, other):
        return self + (-1.0) * other

    def __truediv__(self, other):
        value = self.value / other.value
        return Dual(value, (self.slopes - value * other.slopes) / other.value)

    def __pow__(self, n):
        return Dual(self.value**n, n * self.value ** (n - 1) * self.slopes)

    def of(self, value, slope):
        """The chain rule: a function's value and slope at this number."""
        return Dual(value, slope * self.slopes)


class DualSpace:
    """The functions of dual numbers, under the array API's names."""

    @staticmethod
    def sin(a):
        return a.of(np.sin(a.value), np.cos(a.value))

    @staticmethod
    def cos(a):
        return a.of(np.cos(a.value), -np.sin(a.value))

    @staticmethod
    def exp(a):
        return a.of(np.exp(a.value), np.exp(a.value))

    @staticmethod
    def tanh(a):
        # Not 1 - tanh², of which nothing is left where tanh is nearly 1.
        return a.of(np.tanh(a.value), 1 / np.cosh(a.value) ** 2)

    @staticmethod
    def log(a):
        return a.of(np.log(a.value), 1 / a.value)

    @staticmethod
    def sqrt(a):
        root = np.sqrt(a.value)
        return a.of(root, 0.5 / root)


def duals(values, dtype):
    """The variables as dual numbers that compute in `dtype`."""
    rows = np.eye(len(values), dtype=dtype)
    return [Dual(dtype(v), row) for v, row in zip(values, rows, strict=True)]


# --- the grammar -------------------------------------------------------------------------------

UNARY = ("sin", "cos", "exp", "tanh", "log", "sqrt", "square", "cube", "scale", "shift")
BINARY = ("+", "-", "*", "/")
MEMBERS = {
    "sin": lambda xp, a: xp.sin(a),
    "cos": lambda xp, a: xp.cos(a),
    "exp": lambda xp, a: xp.exp(a),
    "tanh": lambda xp, a: xp.tanh(a),
    "log": lambda xp, a: xp.log(1.0 + a * a),
    "sqrt": lambda xp, a: xp.sqrt(1.0 + a * a),
    "square": lambda xp, a: a**2,
    "cube": lambda xp, a: a**3,
    "scale": lambda xp, a, c: c * a,
    "shift": lambda xp, a, c: a + c,
    "+": lambda xp, a, b: a + b,
    "-": lambda xp, a, b: a - b,
    "*": lambda xp, a, b: a * b,
    "/": lambda xp, a, b, c: a / (c + b * b),
}


def evaluate(tree, xp, x):
    """The value of a tree for the variables `x`, in the array API or in dual numbers."""
    kind, *rest = tree
    if kind == "x":
        return x[rest[0]]
    if kind == "dot":
        terms = [c * v for c, v in zip(rest[0], x, strict=True)]
        return sum(terms[1:], terms[0])
    parts = [evaluate(r, xp, x) if isinstance(r, tuple) else r for r in rest]
    return MEMBERS[kind](xp, *parts)


def sizes(least, most):
    """Numbers of every order of magnitude, of either sign, that shrink to 1."""
    return st.builds(
        lambda digits, exponent, sign: sign * digits / 100 * 10.0**exponent,
        st.integers(100, 999), st.integers(least, most), st.sampled_from([1, -1]),
    )  # fmt: skip


CONSTANTS = sizes(-6, 6)
VALUES = st.one_of(sizes(-2, 1), sizes(-6, 6), st.just(0.0))


@st.composite
def trees(draw, values, depth):
    """Expressions of which no part is too large at these values."""
    kind = "leaf" if depth == 0 else draw(st.sampled_from(["leaf", "unary", "unary", "binary"]))
    if kind == "leaf":
        if draw(st.integers(0, 3)) == 3:
            many = st.lists(CONSTANTS, min_size=len(values), max_size=len(values))
            return ("dot", draw(many))
        return ("x", draw(st.integers(0, len(values) - 1)))
    a = draw(trees(values, depth - 1))
    if kind == "binary":
        name, b = draw(st.sampled_from(BINARY)), draw(trees(values, depth - 1))
        tree = (name, a, b, abs(draw(CONSTANTS))) if name == "/" else (name, a, b)
    else:
        name = draw(st.sampled_from(UNARY))
        tree = (name, a, draw(CONSTANTS)) if name in ("scale", "shift") else (name, a)
    found = evaluate(tree, DualSpace, duals(values, LONG))
    if max(abs(found.value), np.max(np.abs(found.slopes))) <= LARGEST:  # not if NaN
        return tree
    return ("log", a)


@st.composite
def cases(draw):
    """A function as a tree, the values of its variables, and the gradient there."""
    values = draw(st.lists(VALUES, min_size=1, max_size=5))
    dtype = draw(st.sampled_from(["float64", "float64", "float32"]))
    values = [float(np.dtype(dtype).type(v)) for v in values]
    with np.errstate(all="ignore"):
        tree = draw(trees(values, draw(st.integers(1, 5))))
        return Case(tree, values, dtype)


class Case:
    """A function, its variables' values, and what dual numbers say of it.

    `exact` is the gradient of the function that is written, `own` that of the one that is
    computed: its dual numbers round as it does. Where they differ, the function has lost digits
    of its argument before it uses it, as ``sin(x + 1e6)`` does, and then no check can know the
    exact one.
    """

    def __init__(self, tree, values, dtype):
        self.tree, self.values, self.dtype = tree, values, dtype
        with np.errstate(all="ignore"):
            exact = evaluate(tree, DualSpace, duals(values, LONG))
            own = evaluate(tree, DualSpace, duals(values, np.dtype(dtype).type))
            self.value = float(own.value)
            self.exact = np.asarray(exact.slopes).astype(np.float64)
            self.own = np.asarray(own.slopes).astype(np.float64)
            self.lost = np.abs(self.own - self.exact)

    def __repr__(self):
        return f"f = {self.tree}, x = {self.values}, {self.dtype}, gradient {self.exact.tolist()}"

    @property
    def usable(self):
        """Whether f and its gradient are numbers that its dtype holds."""
        top = float(np.finfo(self.dtype).max) ** 0.8
        found = [self.value, *self.exact, *self.own]
        return all(map(math.isfinite, found)) and max(map(abs, found)) < top

    def close(self, share):
        """Whether rounding leaves each entry right to this share of its size."""
        return bool(np.all(self.lost <= share * np.abs(self.exact)))

    def report(self, lib, gradient, apart):
        """Check a gradient; `apart`: each variable is an array of its own."""

        def f(x):
            return evaluate(self.tree, lib.xp, x)

        def arrays(values):
            if apart:
                return tuple(lib.array(v, self.dtype) for v in values)
            return lib.array(values, self.dtype)

        return check_gradient(f, arrays(gradient), arrays(self.values))

    def is_flat(self):
        """Whether rounding leaves nothing of f's changes: the same number all about x."""
        rng, dtype = np.random.default_rng(0), np.dtype(self.dtype).type
        moved = [[v + 0.5 * (v or 1.0) * rng.normal() for v in self.values] for _ in range(8)]
        with np.errstate(all="ignore"):
            found = [evaluate(self.tree, DualSpace, duals(v, dtype)).value for v in moved]
        return all(value == self.value for value in found)

    def hides(self, index):
        """Whether f as it is computed is the same number wherever an entry goes: 0 is right."""
        dtype = np.dtype(self.dtype).type
        first = math.log10(abs(self.values[index]) or 1.0) - 4.0
        last = math.log10(float(np.finfo(dtype).max)) - 3.0
        moves = 10.0 ** np.linspace(first, last, 60)
        with np.errstate(all="ignore"):
            for move in [*moves, *-moves]:
                moved = list(self.values)
                moved[index] += move
                if evaluate(self.tree, DualSpace, duals(moved, dtype)).value != self.value:
                    return False
        return True

    def tells(self, index, given):
        """Whether f as it is computed tells an entry that was given from the right one.

        A slope that no step up to the size of its entry lifts out of rounding is as good as 0.
        """
        return given != 0 or (not self.hides(index) and self.shows(index, 0.0))

    def shows(self, index, found):
        """Whether f as it is computed shows an entry of its gradient, with any step.

        `sin(1e6 x)` does not, added to 1e8 in float32: it is gone in rounding while its slope,
        1e6, is not. Then differences show another slope, `found`, with every step with which
        rounding lets the two be told apart.
        """
        dtype, x, right = np.dtype(self.dtype).type, self.values[index], self.own[index]
        eps = float(np.finfo(dtype).eps)
        h = max(8 * eps * abs(self.value) / abs(right - found), 2 * eps * (abs(x) or 1.0))
        with np.errstate(all="ignore"):
            while h < max(abs(x), 1.0):
                points = [float(dtype(x + move)) for move in (h, -h)]
                values = []
                for point in points:
                    moved = [*self.values[:index], point, *self.values[index + 1 :]]
                    values.append(float(evaluate(self.tree, DualSpace, duals(moved, dtype)).value))
                slope = (values[0] - values[1]) / (points[0] - points[1])
                if abs(slope - right) < abs(slope - found):
                    return True
                h *= 2
        return False


def failing(case, report, apart):
    """The entries that failed, with the slopes that were found for them."""
    for index in range(len(case.values)):
        name, at = (f"x[{index}]", ()) if apart else ("x", index)
        gradient, found, noise = (part[at] for part in report.values[name])
        if abs(gradient - found) > noise:
            yield index, float(found)


def checked(case, lib, gradient, apart):
    """The report, or None where f is the same number wherever the check has looked."""
    try:
        return case.report(lib, gradient, apart)
    except ValueError as error:
        if "same value at every point" not in str(error):
            raise
        assert case.is_flat(), "f is said to be constant, and is not"
        return None


def drawn(case, lib):
    """Whether a case is tried: every third one where calls are slow, or NumPy in disguise.

    All of them with `--gradient-table full`.
    """
    often = lib.full or lib.name in ("strict", "torch")
    return often or zlib.crc32(repr(case).encode()) % 3 == 0


# --- the properties ----------------------------------------------------------------------------


@given(case=cases(), apart=st.booleans())
def test_a_right_gradient_never_fails(lib, case, apart):
    """A false alarm: someone's right backward pass is called wrong."""
    assume(case.usable)
    if not drawn(case, lib):
        return
    note(repr(case))
    for name, gradient in (("as computed", case.own), ("exact", case.exact)):
        # Farther off than that is not rounding of the gradient, but another function.
        if name == "exact" and not case.close(8 * np.finfo(case.dtype).eps):
            continue
        report = checked(case, lib, gradient, apart)
        event(f"{case.dtype}: {report.verdict if report else 'flat'}")
        if report is None or report.verdict != "failed":
            continue
        entries = list(failing(case, report, apart))
        assert entries, f"{name}: it failed, and no entry says why: {report}"
        for index, found in entries:
            assert not case.shows(index, found), f"{name}: x[{index}]: {report}"
            event(f"{case.dtype}: an entry whose slope rounding hides")


FAULTS = {
    "1 %": lambda g, i: g[i] * 1.01,
    "-1 %": lambda g, i: g[i] * 0.99,
    "3 %": lambda g, i: g[i] * 1.03,
    "20 %": lambda g, i: g[i] * 1.2,
    "sign": lambda g, i: -g[i],
    "zero": lambda g, i: 0.0,
    "neighbour": lambda g, i: g[i - 1],
}


def faulty(case, index, fault):
    """A gradient of which one entry is wrong, or two swapped; None where rtol accepts that."""
    right, rtol = case.exact, RTOL[case.dtype]
    g = right.copy()
    g[index] = FAULTS[fault](right, index)
    if fault == "neighbour":
        g[index - 1] = right[index]
    g = g.astype(case.dtype).astype(np.float64)
    size = np.abs(right[index])
    wrong = np.abs(g[index] - right[index])
    # What rounding leaves open of the function that is computed is nobody's fault.
    small = float(np.finfo(case.dtype).tiny) / np.finfo(case.dtype).eps
    if not wrong > 1.5 * rtol * size + 2.0 * case.lost[index] + small:
        return None
    return g


@given(
    case=cases(), index=st.integers(0, 4), fault=st.sampled_from(list(FAULTS)), apart=st.booleans()
)
def test_a_wrong_gradient_never_passes(lib, case, index, fault, apart):
    """A miss: a backward pass with one wrong entry is called right."""
    assume(case.usable)
    index %= len(case.values)
    g = faulty(case, index, fault)
    assume(g is not None)
    assume(case.tells(index, g[index]))
    if not drawn(case, lib):
        return
    note(f"{case!r}; given {g.tolist()} ({fault} at {index})")
    report = checked(case, lib, g, apart)
    event(f"{case.dtype}: {report.verdict if report else 'flat'}")
    if report is None:
        return
    assert report.verdict != "passed", str(report)
    if apart:  # and so the entry itself, whatever the others are
        row = report.parameters[f"x[{index}]"]
        assert row.passed == row.kink == 0, str(report)  # f has no kinks


# --- functions that deceived a check once ------------------------------------------------------

# Found by these tests: what turns faster than the shortest step seems to have another slope,
# alone, beside a large linear term, or beside an entry along which f is slow.
DECEIVERS = [
    (("sin", ("x", 0)), [406000.0], "float32"),
    (("sin", ("dot", [976000.0])), [1120000.0], "float64"),
    (("sin", ("dot", [-1e-5, 976000.0])), [0.0203, 1120000.0], "float64"),
    (("sin", ("sin", ("dot", [1.0, 1.0]))), [50.2, 0.000908], "float32"),
    (("cos", ("-", ("cube", ("x", 0)), ("log", ("x", 0)))), [215.0], "float32"),
    (("-", ("cos", ("cos", ("x", 0))), ("dot", [1000.0])), [2300.0], "float32"),
    (
        ("+", ("cos", ("dot", [-10.0, -10.0])), ("dot", [1001.0, 10.0])),
        [2300.0, 100.0], "float32",
    ),
    (
        ("-", ("dot", [5.7e6, 5.23e6]), ("cos", ("dot", [675000.0, 4270000.0]))),
        [0.249, 0.0291], "float32",
    ),
    (
        ("sin", ("*", ("cos", ("dot", [-1.67, 2270.0])), ("dot", [-6430000.0, -0.0068]))),
        [0.000135, -1.53], "float64",
    ),
    (
        ("+", ("x", 0), ("*", ("square", ("dot", [-0.000576, 8630.0])), ("cos", ("x", 0)))),
        [0.0, 14400.0], "float32",
    ),
    (
        ("log", ("sin", ("/", ("x", 0), ("dot", [-4.27, 3670000.0]), 1.0))),
        [-0.00427, 831000.0], "float64",
    ),
    (  # the slope along the first, 4e-17, is below f's rounding
        (
            "+", ("sin", ("exp", ("x", 1))),
            ("cube", ("sin", ("/", ("dot", [0.000165, 0.00013, 0.0132]), ("x", 0), 128.0))),
        ),
        [0.1, 1.3, 0.0173], "float64",
    ),
    (
        ("cube", ("/", ("+", ("x", 0), ("x", 1)), ("cos", ("cube", ("x", 1))), 0.000292)),
        [-7490.0, 639000.0], "float64",
    ),
    # Rounded to stairs, one of them wide, beside a piece that is flat to the other side.
    (("sin", ("shift", ("tanh", ("x", 0)), 8.42e6)), [0.0357], "float32"),
    (("sin", ("shift", ("tanh", ("x", 0)), 8.42e6)), [-9.94], "float32"),
    # Faster than the digits of x, alone and beside a slope that is plain to see.
    (("cos", ("exp", ("-", ("x", 2), ("x", 1)))), [0.0, -91.1, 0.0, 0.0], "float64"),
    (("+", ("cube", ("exp", ("x", 0))), ("sin", ("exp", ("exp", ("x", 0))))), [3.49], "float64"),
    (("cos", ("sqrt", ("dot", [-1.84e6, -1.84e6]))), [40.9, -0.156], "float32"),
    # Of a period within which rounding leaves little to see.
    (
        ("+", ("cube", ("scale", ("x", 0), 100.0)), ("sin", ("scale", ("x", 0), 100001.0))),
        [1.0], "float32",
    ),
    # Even but for a term that large ones hide; and changed by an entry near its 0 alone.
    (
        ("-", ("*", ("x", 0), ("x", 1)), ("square", ("scale", ("x", 1), 8.4e6))),
        [0.205, 0.0], "float32",
    ),
    (
        ("cube", ("/", ("x", 0), ("/", ("x", 0), ("cube", ("x", 1)), 286.0), 9910.0)),
        [335.0, 9.91], "float32",
    ),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(DECEIVERS)))
def test_functions_that_deceived_a_check_once(lib, number):
    """Hypothesis found these, and finds them again by chance only."""
    tree, values, dtype = DECEIVERS[number]
    case = Case(tree, [float(np.dtype(dtype).type(v)) for v in values], dtype)
    assert case.usable
    report = checked(case, lib, case.own, False)
    assert report is None or report.verdict != "failed", f"{case!r}: {report}"
    for index in range(len(values)):
        for fault in FAULTS:
            g = faulty(case, index, fault)
            if g is not None and report is not None and case.tells(index, g[index]):
                bad = checked(case, lib, g, False)
                assert bad.verdict != "passed", f"{case!r}; {fault} at {index}: {bad}"


# --- the oracle itself -------------------------------------------------------------------------

# Every member of the grammar, in two or three variables.
EXPRESSIONS = [
    ("x", 1),
    ("dot", [1.5, -2e3, 1e-4]),
    ("sin", ("scale", ("x", 0), 3.0)),
    ("cos", ("*", ("x", 0), ("x", 1))),
    ("exp", ("-", ("x", 0), ("x", 2))),
    ("tanh", ("shift", ("x", 1), 0.25)),
    ("tanh", ("scale", ("x", 1), 2.0)),
    ("log", ("+", ("x", 0), ("square", ("x", 2)))),
    ("sqrt", ("cube", ("x", 1))),
    ("/", ("sin", ("x", 0)), ("dot", [1.0, 2.0, -1.0]), 1e-3),
    ("*", ("square", ("x", 0)), ("cube", ("+", ("x", 1), ("x", 2)))),
    ("-", ("exp", ("tanh", ("x", 2))), ("/", ("x", 0), ("cos", ("x", 1)), 2.0)),
    ("x", 0),
]


@pytest.mark.parametrize("tree", EXPRESSIONS, ids=str)
def test_dual_numbers_agree_with_torch(tree):
    """An oracle that is wrong itself: the other tests would prove nothing."""
    for values in ([0.3, -1.25, 2.0], [1e-3, 0.5, -40.0], [7.0, 0.0, 0.125]):
        x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        y = evaluate(tree, torch, x)
        y.backward()
        for dtype, allowed in ((LONG, 1e-12), (np.float64, 1e-12), (np.float32, 1e-4)):
            found = evaluate(tree, DualSpace, duals(values, dtype))
            assert found.value.dtype == found.slopes.dtype == dtype
            np.testing.assert_allclose(float(found.value), y.item(), rtol=allowed, atol=1e-300)
            want = x.grad.numpy()
            # Torch takes 1 - tanh², which loses digits.
            scale = 1e-2 * allowed * np.abs(want).max() + 1e-15
            np.testing.assert_allclose(found.slopes.astype(float), want, rtol=allowed, atol=scale)


def test_every_member_of_the_grammar_is_tried():
    """A member whose derivative nothing has compared with another library's."""
    assert set(MEMBERS) == {*UNARY, *BINARY}
    for name in MEMBERS:
        assert f"'{name}'" in str(EXPRESSIONS), name


def test_faults_are_faults():
    """A wrong gradient that is not wrong by more than rtol, or no fault for a usual function."""
    case = Case(("*", ("sin", ("x", 0)), ("exp", ("x", 1))), [0.5, 1.0], "float64")
    assert case.usable
    assert case.close(8 * np.finfo(np.float64).eps)
    for fault in FAULTS:
        g = faulty(case, 1, fault)
        assert g is not None, fault
        assert abs(g[1] - case.exact[1]) > 1e-3 * abs(case.exact[1])
        assert (g[0] == case.exact[0]) == (fault != "neighbour")
    assert not case.hides(1)
    assert Case(("+", ("x", 0), ("dot", [1.0, 0.0])), [0.5, 1.0], "float64").hides(1)
    single = Case(("dot", [2.0, 2.0]), [0.5, 1.0], "float64")
    assert faulty(single, 1, "neighbour") is None
    assert faulty(Case(("x", 0), [0.5], "float32"), 0, "1 %") is None
