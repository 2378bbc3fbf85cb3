"""The losses, on every backend, against plain formulas in NumPy."""

import numpy as np
import pytest

import xpnet
from xpnet import losses
from xpnet.losses import OUTPUTS

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(6, 4), scale=2)
INDICES = RNG.integers(0, 4, 6)
ONE_HOT = np.eye(4)[INDICES]


def plain(name, a, t):
    """The textbook value, with no regard for overflow."""
    if name == "softmax":
        y = np.exp(a) / np.exp(a).sum(axis=1, keepdims=True)
        return -np.mean(np.sum(t * np.log(y), axis=1)), (y - t) / len(a)
    if name == "sigmoid":
        y = 1 / (1 + np.exp(-a))
        terms = -(t * np.log(y) + (1 - t) * np.log(1 - y))
        return np.mean(np.sum(terms, axis=1)), (y - t) / len(a)
    if name == "exp":
        constant = np.where(t > 0, t * np.log(np.where(t > 0, t, 1.0)), 0.0) - t
        return np.mean(np.sum(np.exp(a) - t * a + constant, axis=1)), (np.exp(a) - t) / len(a)
    return np.mean(np.sum((a - t) ** 2, axis=1)) / 2, (a - t) / len(a)


@pytest.mark.parametrize("name", OUTPUTS)
def test_value_and_gradient(lib, name):
    """A loss whose value or gradient is not that of its formula."""
    a, t = lib.array(LOGITS), lib.array(ONE_HOT)
    loss, gradient = OUTPUTS[name].loss(a, t)
    value, slope = plain(name, LOGITS, ONE_HOT)
    assert tuple(loss.shape) == ()
    same, scaled = OUTPUTS[name].loss(a, t, 0.25)
    assert float(lib.host(same)) == float(lib.host(loss)), "scale is for the gradient"
    np.testing.assert_allclose(lib.host(scaled), 0.25 * slope, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(lib.host(loss), value, rtol=1e-13)
    np.testing.assert_allclose(lib.host(gradient), slope, rtol=1e-12, atol=1e-16)
    np.testing.assert_array_equal(lib.host(a), LOGITS, err_msg="the argument was written to")
    np.testing.assert_array_equal(lib.host(t), ONE_HOT, err_msg="the argument was written to")


@pytest.mark.parametrize("name", OUTPUTS)
def test_gradient_against_central_differences(lib, name):
    """A new row of the table whose gradient is not that of its value fails here."""
    loss = OUTPUTS[name].loss
    target = lib.array(RNG.dirichlet(np.ones(4), size=6))
    h = 1e-5
    slope = np.zeros_like(LOGITS)
    for i in np.ndindex(*LOGITS.shape):
        move = np.zeros_like(LOGITS)
        move[i] = h
        up, down = (lib.host(loss(lib.array(LOGITS + s * move), target)[0]) for s in (1, -1))
        slope[i] = (up - down) / (2 * h)
    np.testing.assert_allclose(
        lib.host(loss(lib.array(LOGITS), target)[1]), slope, rtol=1e-7, atol=1e-10
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["softmax", "sigmoid"])
def test_extreme_logits_neither_overflow_nor_warn(lib, name, dtype):
    """Warnings are errors here; a right answer costs 0, however large the logits."""
    top = float(np.finfo(dtype).max) / 4
    a = lib.array([[top, -top], [-top, top], [1e4, -1e4]], dtype)
    t = lib.array([[1, 0], [0, 1], [1, 0]], dtype)
    loss, gradient = OUTPUTS[name].loss(a, t)
    assert float(lib.host(loss)) == 0
    np.testing.assert_allclose(lib.host(gradient), np.zeros((3, 2)), atol=np.finfo(dtype).tiny)
    wrong, _ = OUTPUTS[name].loss(a[2:, :], t[1:2, :])
    np.testing.assert_allclose(lib.host(wrong), 2e4, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mean_that_is_no_float(lib, dtype):
    """A loss of exp(a) that looks finite, or warns in a net, where exp(a) overflows."""
    a = lib.array([[1000.0], [0.0]], dtype)
    t = lib.array([[2.0], [0.0]], dtype)
    with np.errstate(over="ignore"):
        loss, gradient = losses.half_poisson_deviance(a, t)
    assert np.isposinf(lib.host(loss))
    np.testing.assert_array_equal(lib.host(gradient), [[np.inf], [0.5]])
    if lib.name.startswith("numpy"):
        with pytest.warns(RuntimeWarning, match="overflow"):
            losses.half_poisson_deviance(a, t)
    net = xpnet.MLP([1, 1], output="exp", weight_init=0.0, dtype=dtype, **lib.kwargs)
    net.params["W1"] = net.placement.floats(np.ones((1, 1)))
    np.testing.assert_array_equal(lib.host(net.predict(a)), [[np.inf], [1.0]])
    assert np.isposinf(lib.host(net.loss(a, t)))
    loss, slopes = net.loss_and_gradient(a, t)
    assert np.isposinf(lib.host(loss))
    assert not np.isfinite(lib.host(slopes["W1"])).any()
    with pytest.raises(xpnet.NonFiniteLoss):
        xpnet.fit(net, a, t, steps=1, batch_size=2)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_small_loss_keeps_its_digits(lib, label):
    """log(1 + e^-a), rounded beside a before a is taken away again."""
    a = np.asarray([[8.0], [20.0]]) * (2 * label - 1)
    loss, _ = OUTPUTS["sigmoid"].loss(lib.array(a), lib.array(np.full((2, 1), label)))
    expected = np.log1p(np.exp(-np.abs(a))).mean()
    np.testing.assert_allclose(lib.host(loss), expected, rtol=1e-15)


def test_cross_entropy_error(lib):
    """The reference's function: every form of y and t gives -log(y[t] + 1e-7)."""
    y = np.asarray([[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]])
    t = np.asarray([1, 0, 1])
    expected = -np.mean(np.log(y[np.arange(3), t] + 1e-7))
    cross_entropy_error = losses.cross_entropy_error
    for labels in (t, np.eye(2)[t], np.eye(2, dtype="int64")[t], t.astype("uint8")):
        got = cross_entropy_error(lib.array(y), lib.array(labels))
        np.testing.assert_allclose(lib.host(got), expected, rtol=1e-14)
    single = -np.log(0.8 + 1e-7)
    for labels in (lib.array(1, "int64"), lib.array([0.0, 1.0]), 1):
        np.testing.assert_allclose(
            lib.host(cross_entropy_error(lib.array(y[0]), labels)), single, rtol=1e-14
        )


def test_cross_entropy_error_refuses(lib):
    y = lib.array(np.full((2, 3), 1 / 3))
    bad = losses.cross_entropy_error
    with pytest.raises(ValueError, match=r"t must be one-hot of y's shape \(2, 3\)"):
        bad(y, lib.array([0, 1, 2]))
    with pytest.raises(ValueError, match="integer class indices"):
        bad(y, lib.array([0.0, 1.0]))
    with pytest.raises(TypeError, match="t must be an array"):
        bad(y, [0, 1])
    with pytest.raises(TypeError, match="y must be an array"):
        bad([0.5, 0.5], lib.array([0, 1]))
    with pytest.raises(ValueError, match="none of them 0"):
        bad(lib.array(np.zeros((0, 3))), lib.array(np.zeros(0, "int64")))
    if lib.name == "jax":  # arrays that may have no values yet
        assert np.isnan(lib.host(bad(y, lib.array([0, 3]))))
    else:
        with pytest.raises(ValueError, match="t has labels outside 0 to 2"):
            bad(y, lib.array([0, 3]))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint64"])
def test_one_hot(lib, dtype):
    """A label type too narrow to count the classes, or a label outside that goes unseen."""
    if lib.name.startswith("torch") and dtype == "uint64":
        pytest.skip("torch has next to no arithmetic for uint64")
    labels = lib.array([0, 100, 3], dtype)
    got = lib.host(losses.one_hot(labels, 300, lib.xp.float32))
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, np.eye(300)[[0, 100, 3]])
    outside = lib.host(losses.one_hot(lib.array([0, 100, 3], dtype), 100, lib.xp.float32))
    np.testing.assert_array_equal(np.isnan(outside).all(axis=1), [False, True, False])
    if dtype.startswith("int"):
        below = lib.host(losses.one_hot(lib.array([-1], dtype), 4, lib.xp.float32))
        assert np.isnan(below).all()
