"""The elementwise functions, on every backend, against NumPy in longer precision."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpnet import functions as F
from xpnet.functions import ACTIVATIONS

NAMES = ["sigmoid", "sigmoid_grad", "relu", "relu_grad", "tanh", "tanh_grad", "identity"]


def oracle(name, x):
    """The textbook formula in NumPy's longest float."""
    x = np.asarray(x, dtype=np.longdouble)
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
    np.testing.assert_allclose(
        lib.host(y), oracle(name, host).astype(dtype), rtol=8 * np.finfo(dtype).eps, atol=1e-30
    )
    np.testing.assert_array_equal(lib.host(x), host, err_msg="the argument was written to")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_neither_overflow_nor_warn(lib, dtype):
    """Warnings are errors here: exp of a large number would be one."""
    top = float(np.finfo(dtype).max)
    host = np.asarray([-top, -1e4, -100, -1e-30, 0, 1e-30, 100, 1e4, top], dtype=dtype)
    for name in NAMES:
        got = lib.host(getattr(F, name)(lib.array(host)))
        expected = oracle(name, host).astype(dtype)
        # Where the result is below the smallest normal number, that number is right enough.
        np.testing.assert_allclose(
            got, expected, rtol=2e-5 if dtype == "float32" else 1e-13,
            atol=1.01 * float(np.finfo(dtype).tiny), err_msg=name,
        )


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
        if name == "relu_grad":
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
    host = host[np.abs(host) > 1e-3]  # away from ReLU's kink
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
        np.testing.assert_allclose(
            got, oracle(name, x).astype(x.dtype), rtol=1e-5 if x.itemsize == 4 else 1e-12, atol=tiny
        )
    total = F.softmax(x).sum(axis=-1)
    np.testing.assert_allclose(total, np.ones_like(total), rtol=1e-5)
