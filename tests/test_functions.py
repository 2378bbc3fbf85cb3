"""The elementwise functions, on every backend, against NumPy in longer precision."""

import math

import numpy as np
import pytest
from activation_oracles import ORACLES, units
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpnet import functions as F
from xpnet.elementwise import normal_tail
from xpnet.functions import ACTIVATIONS

NAMES = [
    "sigmoid", "sigmoid_grad", "relu", "relu_grad", "tanh", "tanh_grad", "identity", *ORACLES
]  # fmt: skip


def oracle(name, x):
    """The textbook formula in NumPy's longest float."""
    x = np.asarray(x, dtype=np.longdouble)
    if name in ORACLES:
        return ORACLES[name](x)
    with np.errstate(all="ignore"):
        s = np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))
        return {
            "sigmoid": s,
            "sigmoid_grad": np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2,
            "relu": np.maximum(x, 0),
            "relu_grad": (x > 0).astype(np.longdouble),
            "tanh": np.tanh(x),
            "tanh_grad": 4 * np.exp(-2 * np.abs(x)) / (1 + np.exp(-2 * np.abs(x))) ** 2,
            "identity": x,
        }[name]


def assert_right(got, name, x, rtol, atol):
    """Compare with the oracle; where a function's error is known better, with that."""
    expected = oracle(name, x)
    allowed = atol + rtol * np.abs(expected)
    if name in ORACLES:
        long = np.asarray(x, dtype=np.longdouble)
        far = 1000 * float(np.finfo(x.dtype).tiny)  # a lost subnormal, times x
        allowed = allowed + far + np.finfo(x.dtype).eps * units(name, 4)(long, expected)
    wrong = ~(np.abs(got - expected) <= allowed)
    assert not wrong.any(), f"{name}: {x[wrong]}: {got[wrong]}, expected {expected[wrong]}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4)])
def test_values_shape_and_dtype(lib, name, dtype, shape):
    """A wrong formula, a lost dtype or a lost shape."""
    host = np.random.default_rng(0).normal(size=shape, scale=3).astype(dtype)
    x = lib.array(host)
    y = getattr(F, name)(x)
    assert y.dtype == x.dtype
    assert tuple(y.shape) == shape
    assert_right(lib.host(y), name, host, 8 * np.finfo(dtype).eps, 1e-30)
    np.testing.assert_array_equal(lib.host(x), host, err_msg="the argument was written to")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_neither_overflow_nor_warn(lib, dtype):
    """Warnings are errors here: exp of a large number would be one."""
    top = float(np.finfo(dtype).max)
    host = np.asarray(
        [-top, -1e30, -1e4, -100, -1e-30, -0.0, 0, 1e-30, 100, 1e4, 1e30, top], dtype=dtype
    )  # fmt: skip
    for name in NAMES:
        got = lib.host(getattr(F, name)(lib.array(host)))
        # Where the result is below the smallest normal number, that number is right enough.
        rtol = 2e-5 if dtype == "float32" else 1e-13
        assert_right(got, name, host, rtol, 1.01 * float(np.finfo(dtype).tiny))


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4)])
def test_softmax(lib, shape):
    """Softmax over another axis than the last, or not normalised."""
    host = np.random.default_rng(1).normal(size=shape, scale=5)
    e = np.exp(host - host.max(axis=-1, keepdims=True))
    got = lib.host(F.softmax(lib.array(host)))
    np.testing.assert_allclose(got, e / e.sum(axis=-1, keepdims=True), rtol=1e-13)


def test_softmax_of_extremes(lib):
    """The difference of two finite numbers overflows; softmax must not."""
    top = np.finfo("float64").max
    got = lib.host(F.softmax(lib.array([[top, -top], [1e4, -1e4], [top, top]])))
    np.testing.assert_allclose(got, [[1, 0], [1, 0], [0.5, 0.5]])


def test_nan_stays_nan(lib):
    """A NaN turned into a number would hide a broken net."""
    for name in NAMES:
        if name in ("relu_grad", "leaky_relu_grad"):
            continue  # a comparison: its NaN shows in the values beside it
        assert np.isnan(lib.host(getattr(F, name)(lib.array([np.nan])))).all(), name
    assert np.isnan(lib.host(F.softmax(lib.array([np.nan, 0.0])))).all()


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_what_is_no_float_array_is_refused(lib, name):
    function = getattr(F, name)
    with pytest.raises(TypeError, match="x must be an array, not list"):
        function([1.0, 2.0])
    with pytest.raises(TypeError, match=r"x must be a floating-point array, not .*int64"):
        function(lib.array([1, 2], "int64"))


def test_softmax_without_classes_is_refused(lib):
    with pytest.raises(ValueError, match="classes > 0"):
        F.softmax(lib.array(1.0))
    with pytest.raises(ValueError, match="classes > 0"):
        F.softmax(lib.array(np.zeros((2, 0))))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_derivative(lib, name):
    """A new row of the table without a right derivative fails here."""
    row = ACTIVATIONS[name]
    host = np.random.default_rng(2).normal(size=50)
    host = host[np.abs(host) > 1e-3]  # away from the kinks
    h = 1e-6
    x = lib.array(host)
    up, down = (lib.host(row.forward(lib.array(host + s))) for s in (h, -h))
    got = lib.host(row.derivative(x, row.forward(x)))
    np.testing.assert_allclose(got, (up - down) / (2 * h), rtol=1e-7, atol=1e-8)
    np.testing.assert_array_equal(lib.host(x), host, err_msg="the argument was written to")


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(max_dims=3, max_side=5),
        elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
def test_any_finite_input(x):
    """A value somewhere in the range of floats that overflows, warns or is wrong."""
    for name in NAMES:
        got = getattr(F, name)(x)
        assert got.dtype == x.dtype
        tiny = 1.01 * float(np.finfo(x.dtype).tiny)
        assert_right(got, name, x, 1e-5 if x.itemsize == 4 else 1e-12, tiny)
    total = F.softmax(x).sum(axis=-1)
    np.testing.assert_allclose(total, np.ones_like(total), rtol=1e-5)


def assert_right_tail(got, x):
    """Compare with the standard library's erfc, whose argument x / √2 is rounded too."""
    expected = np.asarray([math.erfc(abs(v) / math.sqrt(2)) / 2 for v in x.tolist()])
    x = np.minimum(np.abs(x.astype("float64")), 40)
    eps = float(np.finfo(got.dtype).eps)
    allowed = (8 * eps + (eps / 4 + 2.3e-16) * x**2) * expected + 4 * np.finfo(got.dtype).tiny
    wrong = ~(np.abs(got - expected) <= allowed)
    assert not wrong.any(), f"{x[wrong]}: {got[wrong]}, expected {expected[wrong]}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tail_of_the_normal_distribution(lib, dtype):
    """A coefficient mistyped, or one too few: GELU would be off everywhere, but not by much."""
    small = np.logspace(-37, 0, 500)
    host = np.concatenate([np.linspace(-45, 45, 20_001), small, -small, [0.0, -0.0]]).astype(dtype)
    got = normal_tail(lib.array(host))
    assert got.dtype == lib.array(host).dtype
    assert_right_tail(lib.host(got), host)


@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]), 20,
        elements=st.one_of(
            st.floats(-45, 45, width=32), st.floats(allow_nan=False, allow_infinity=False, width=32)
        ),
    )
)  # fmt: skip
def test_the_tail_anywhere(x):
    """The same at floats that no grid has."""
    assert_right_tail(normal_tail(x), x)
    np.testing.assert_array_equal(normal_tail(-x), normal_tail(x))


def test_the_two_forms_of_gelu_are_near():
    """What the paper promises of its approximation; two functions of one form would be nearer."""
    x = np.linspace(-8, 8, 10_001)
    away = np.abs(F.gelu(x) - F.gelu_tanh(x))
    assert 1e-4 < away.max() < 5e-4
