"""Central differences of any function, on every backend."""

import tracemalloc

import numpy as np
import pytest

import xpnet
from xpnet import numerical_gradient

A = np.random.default_rng(0).normal(size=(3, 2))
B = np.random.default_rng(1).normal(size=(4,))


def bowl(xp):
    """Σ sin(a)·Σ exp(b/2), with stacks along the leading axes."""

    def f(x):
        a = xp.sum(xp.sin(x["a"]), axis=(-2, -1))
        return a * xp.sum(xp.exp(x["b"] / 2), axis=-1)

    return f


def slopes():
    return {
        "a": np.cos(A) * np.exp(B / 2).sum(),
        "b": np.sin(A).sum() * np.exp(B / 2) / 2,
    }


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 3e-4)])
def test_a_dict_of_arrays(lib, dtype, tolerance, vectorized):
    x = {"a": lib.array(A, dtype), "b": lib.array(B, dtype)}
    got = numerical_gradient(bowl(lib.xp), x, vectorized=vectorized, max_bytes=100)
    for key, expected in slopes().items():
        assert got[key].dtype == x[key].dtype
        assert got[key].device == x[key].device
        np.testing.assert_allclose(
            lib.host(got[key]), expected, atol=tolerance * np.abs(expected).max()
        )
    np.testing.assert_array_equal(lib.host(x["a"]), A.astype(dtype), err_msg="x was written to")


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_single_array(lib, vectorized):
    axis = -1 if vectorized else None
    got = numerical_gradient(
        lambda x: lib.xp.sum(x**3, axis=axis), lib.array([1.0, -2.0, 0.0]), vectorized=vectorized
    )
    np.testing.assert_allclose(lib.host(got), [3, 12, 0], atol=1e-8)


def test_a_0d_array(lib):
    got = numerical_gradient(lambda x: x * x, lib.array(3.0))
    assert tuple(got.shape) == ()
    np.testing.assert_allclose(lib.host(got), 6, rtol=1e-9)


def test_the_reference_signature():
    """`numerical_gradient(f, x)` with h = 1e-4 is what the reference computes."""
    x = np.asarray([[0.3, -1.0], [2.0, 5.0]])
    got = numerical_gradient(lambda v: np.sum(np.exp(v)), x, step=1e-4)
    expected = (np.exp(x + 1e-4) - np.exp(x - 1e-4)) / 2e-4
    np.testing.assert_allclose(got, expected, rtol=1e-9)


def test_steps_follow_dtype_and_size():
    """A fixed step is lost in an entry of 1e8, and overshoots in float64."""
    x = np.asarray([1e-3, 1.0, 1e8])
    got = numerical_gradient(lambda v: np.sum(np.sqrt(v)), x)
    np.testing.assert_allclose(got, 0.5 / np.sqrt(x), rtol=1e-4)
    moves = []
    numerical_gradient(lambda v: moves.append(v - x) or np.sum(v), x, step=0.25)
    np.testing.assert_array_equal(np.max(moves, axis=0), [0.25] * 3)


@pytest.mark.parametrize("max_bytes", [1, 800, 10**6])
def test_stacks_are_bounded(max_bytes):
    """A stack of all moved copies at once is what runs out of memory elsewhere."""
    largest = 0

    def f(x):
        nonlocal largest
        largest = max(largest, x.nbytes)
        return np.sum(x, axis=1)

    numerical_gradient(f, np.ones(50), vectorized=True, max_bytes=max_bytes)
    assert largest <= max(400, max_bytes)


def test_memory_is_bounded():
    """2,048 variables are a MemoryError in other libraries."""
    x = np.ones(2048)
    tracemalloc.start()
    try:
        numerical_gradient(lambda v: np.sum(v * v, axis=1), x, vectorized=True, max_bytes=2**22)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**25


def test_a_python_float_is_a_scalar(lib):
    got = numerical_gradient(lambda x: float(x[0]) ** 2, lib.array([3.0]))
    np.testing.assert_allclose(lib.host(got), [6.0], rtol=1e-8)


def test_a_function_that_ignores_its_argument(lib):
    """The textbook's f closes over x and is moved through it; here x is never written to."""
    x = lib.array([1.0, 2.0])
    with pytest.raises(ValueError, match="must compute with its argument"):
        numerical_gradient(lambda _: lib.xp.sum(x), x)
    # A gradient of zeros is none of its business where f does depend on x.
    zero = numerical_gradient(lambda v: lib.xp.sum(lib.xp.where(v > 9.0, v, 0.0 * v)), x)
    np.testing.assert_array_equal(lib.host(zero), [0.0, 0.0])


def test_refuses_what_f_returns(lib):
    x, xp = lib.array([1.0, 2.0]), lib.xp
    message = r"f returned shape \(2,\); expected a floating-point array"
    with pytest.raises(ValueError, match=message):
        numerical_gradient(lambda v: v, x)
    with pytest.raises(TypeError, match=r"f returned .*complex128; expected"):
        numerical_gradient(lambda v: xp.astype(v[0], xp.complex128), x)
    with pytest.raises(TypeError, match=r"f returned .*int64; expected"):
        numerical_gradient(lambda v: xp.astype(v[0], xp.int64), x)
    with pytest.raises(TypeError, match="f returned a NoneType; expected"):
        numerical_gradient(lambda v: None, x)
    with pytest.raises(ValueError, match="f returned NaN or infinity"):
        numerical_gradient(lambda v: v[0] * xp.nan, x)
    with pytest.raises(ValueError, match=r"f returned shape \(\); expected .* with shape \(2,\)"):
        numerical_gradient(lambda v: xp.sum(v), x, vectorized=True)
    if not lib.name.startswith("numpy"):
        with pytest.raises(TypeError, match=r"f returned an array of .*numpy; expected"):
            numerical_gradient(lambda v: np.ones(()), x)


def test_refuses_x(lib):
    def f(x):
        return lib.xp.sum(x)

    with pytest.raises(TypeError, match="x must be a floating-point array, not"):
        numerical_gradient(f, lib.array([1, 2]))
    with pytest.raises(TypeError, match="x must be an array, not str"):
        numerical_gradient(f, "1.0")
    assert tuple(numerical_gradient(f, lib.array(np.zeros((0, 2)))).shape) == (0, 2)
    with pytest.raises(ValueError, match="x is empty: it has no arrays"):
        numerical_gradient(f, {})
    with pytest.raises(TypeError, match=r"x\['b'\] must be a floating-point array"):
        numerical_gradient(f, {"a": lib.array([1.0]), "b": lib.array([1])})
    if not lib.name.startswith("numpy"):
        with pytest.raises(TypeError, match="x has arrays of several libraries"):
            numerical_gradient(f, {"a": lib.array([1.0]), "b": np.ones(2)})


@pytest.mark.parametrize("step", [0, -1.0, float("nan"), float("inf")])
def test_refuses_steps(step):
    with pytest.raises(ValueError, match="step must be finite and above 0"):
        numerical_gradient(np.sum, np.ones(2), step=step)


def test_refuses_max_bytes():
    with pytest.raises(ValueError, match="max_bytes must be at least 1"):
        numerical_gradient(np.sum, np.ones(2), max_bytes=0)


def test_the_public_name():
    assert xpnet.numerical_gradient is numerical_gradient
