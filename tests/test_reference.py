"""The reference program (a two-layer net written for NumPy), with its imports changed only."""

import pathlib
import runpy

import numpy as np
import pytest

# The names that the article's program takes from its own modules.
from xpnet import TwoLayerNet, load_mnist, numerical_gradient
from xpnet.functions import sigmoid, sigmoid_grad, softmax
from xpnet.losses import cross_entropy_error

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "reference.py"


def test_the_program(lib, capsys):
    """On NumPy with nothing added; elsewhere with one argument (and a device)."""
    main = runpy.run_path(str(EXAMPLE))["main"]
    where = {} if lib.name == "numpy" else lib.kwargs
    if lib.name.startswith("strict"):
        pytest.skip("its batches are x[rows], which the standard does not have yet")
    losses, accuracy = main(iters_num=1001, seed=0, **where)
    assert losses[0] == pytest.approx(2.30, abs=0.02)
    assert losses[-1] < 0.8
    assert accuracy > 0.8
    printed = capsys.readouterr().out
    for line in ("step 0: loss 2.", "step 1000: loss 0.", "iterations", "test accuracy", "device"):
        assert line in printed


def test_the_numerical_switch(lib):
    """One word; the path is the same."""
    main = runpy.run_path(str(EXAMPLE))["main"]
    if lib.name.startswith("strict") or lib.name == "numpy-readonly":
        pytest.skip("as above" if lib.name.startswith("strict") else "the same as NumPy here")
    options = {"iters_num": 2, "seed": 0, "batch_size": 10, **lib.kwargs}
    backprop, _ = main(**options)
    numerical, _ = main(numerical=True, **options)
    np.testing.assert_allclose(numerical, backprop, rtol=1e-4)


def test_the_net_by_hand():
    """The reference's functions put together give the net's predict, loss and gradient."""
    (x, t), _ = load_mnist(normalize=True, flatten=True, one_hot_label=True)
    x, t = x[:100].astype(np.float64), t[:100].astype(np.float64)
    net = TwoLayerNet(784, 20, 10, dtype="float64", seed=0)
    p = net.params

    a1 = x @ p["W1"] + p["b1"]
    z1 = sigmoid(a1)
    y = softmax(z1 @ p["W2"] + p["b2"])
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-13)
    np.testing.assert_allclose(net.loss(x, t), cross_entropy_error(y, t), rtol=1e-5)
    np.testing.assert_allclose(
        cross_entropy_error(y, t), cross_entropy_error(y, t.argmax(axis=1)), rtol=1e-14
    )
    assert net.accuracy(x, t) == np.mean(y.argmax(axis=1) == t.argmax(axis=1))

    dy = (y - t) / 100
    da1 = (dy @ p["W2"].T) * sigmoid_grad(a1)
    by_hand = {"W2": z1.T @ dy, "b2": dy.sum(axis=0), "W1": x.T @ da1, "b1": da1.sum(axis=0)}
    gradient = net.gradient(x, t)
    for key, g in by_hand.items():
        np.testing.assert_allclose(gradient[key], g, rtol=1e-10, atol=1e-16)

    before = p["b2"].copy()
    numerical = numerical_gradient(
        lambda b2: cross_entropy_error(softmax(z1 @ p["W2"] + b2), t), p["b2"]
    )
    np.testing.assert_allclose(numerical, by_hand["b2"], rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(p["b2"], before)


def test_params_are_updated_in_place():
    """The reference's update, `params[key] -= ...`, moves the very arrays that the net uses."""
    net = TwoLayerNet(4, 3, 2, seed=0)
    w1 = net.params["W1"]
    net.params["W1"] -= 0.1 * np.ones_like(w1)
    assert net.params["W1"] is w1
