"""Optimizers and schedules, against the textbook's equations in plain NumPy."""

import numpy as np
import pytest

from xpnet import optimizers
from xpnet.optimizers import (
    OPTIMIZERS,
    Adam,
    AdamW,
    Constant,
    Cosine,
    Momentum,
    Nesterov,
    StepDecay,
    WarmUp,
)


def textbook(name, w, gradients, rates):
    """Each rule as its paper writes it."""
    v, m, s = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    w = w.copy()
    for i, (g, lr) in enumerate(zip(gradients, rates, strict=True), 1):
        if name == "sgd":
            w = w - lr * g
        elif name == "momentum":
            v = 0.9 * v - lr * g
            w = w + v
        elif name == "nesterov":
            v = 0.9 * v - lr * g
            w = w + 0.9 * v - lr * g
        else:
            if name == "adamw":
                w = w - lr * 0.01 * w
            m = 0.9 * m + 0.1 * g
            s = 0.999 * s + 0.001 * g**2
            w = w - lr * (m / (1 - 0.9**i)) / (np.sqrt(s / (1 - 0.999**i)) + 1e-8)
    return w


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_against_the_textbook(lib, name):
    """A new row of the table must have its equations here."""
    rng = np.random.default_rng(0)
    w, gradients = rng.normal(size=(3, 2)), rng.normal(size=(6, 3, 2))
    rates = np.asarray([0.1, 0.2, 0.05, 0.1, 0.3, 0.1])
    rule = OPTIMIZERS[name]()
    params = {"W1": lib.placement.floats(w)}
    slots = rule.slots(params)
    numbers = rule.coefficients(np.arange(1, 7), rates).tolist()
    for g, lr, row in zip(gradients, rates, numbers, strict=True):
        assert row[0] == lr, "the first number is the learning rate"
        gradient = lib.array(lr * g if rule.folds_rate else g)
        rule.update(params, {"W1": gradient}, slots, row)
        np.testing.assert_array_equal(lib.host(gradient), lr * g if rule.folds_rate else g)
    expected = textbook(name, w, gradients, rates)
    np.testing.assert_allclose(lib.host(params["W1"]), expected, rtol=1e-12)
    assert set(slots) == set(rule.slot_names)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_dtype_stays(lib, name, dtype):
    """A float64 number that promotes the parameters would double every cost."""
    rule = OPTIMIZERS[name]()
    params = {"W1": lib.place(dtype).floats(np.ones((2, 2)))}
    slots = rule.slots(params)
    row = rule.coefficients(np.asarray([1]), np.asarray([0.1])).tolist()[0]
    rule.update(params, {"W1": lib.array(np.ones((2, 2)), dtype)}, slots, row)
    assert params["W1"].dtype == getattr(lib.xp, dtype)
    assert all(s["W1"].dtype == getattr(lib.xp, dtype) for s in slots.values())


def test_schedules():
    """Rates at the start, on the way, at the end and beyond."""
    steps = np.arange(12)
    np.testing.assert_array_equal(Constant(0.5)(steps), np.full(12, 0.5))
    decay = StepDecay(1.0, every=4, factor=0.5)(steps)
    np.testing.assert_allclose(decay[[0, 3, 4, 7, 8, 11]], [1, 1, 0.5, 0.5, 0.25, 0.25])
    cosine = Cosine(1.0, steps=10, final=0.2)(steps)
    np.testing.assert_allclose(cosine[[0, 5, 10, 11]], [1, 0.6, 0.2, 0.2])
    warm = WarmUp(Constant(0.8), steps=4)(steps)
    np.testing.assert_allclose(warm[:6], [0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    np.testing.assert_allclose(WarmUp(Cosine(1.0, 10), 2)(steps)[1:], Cosine(1.0, 10)(steps)[1:])


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Momentum(1.0), "momentum must be below 1, not 1.0"),
    (lambda: Nesterov(-0.1), "momentum must be finite and at least 0"),
    (lambda: Adam(beta_2=1.5), "beta_2 must be below 1"),
    (lambda: Adam(epsilon=0), "epsilon must be finite and above 0"),
    (lambda: AdamW(weight_decay=-1), "weight_decay must be finite and at least 0"),
    (lambda: AdamW(beta_1=1), "beta_1 must be below 1"),
    (lambda: Constant(0), "learning_rate must be finite and above 0"),
    (lambda: Constant(float("inf")), "learning_rate must be finite"),
    (lambda: StepDecay(0.1, 0), "every must be at least 1"),
    (lambda: StepDecay(0.1, 5, 0.0), "factor must be finite and above 0"),
    (lambda: Cosine(0.1, -5), "steps must be at least 1"),
    (lambda: Cosine(0.1, 5, -1), "final must be finite and at least 0"),
    (lambda: WarmUp(Constant(1), 0), "steps must be at least 1"),
])
def test_bad_hyper_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_optimizers_are_values():
    """Frozen, comparable, with a repr that says everything."""
    assert Adam() == Adam()
    assert repr(AdamW()).startswith("AdamW(beta_1=0.9, beta_2=0.999, epsilon=1e-08, weight_decay")
    with pytest.raises(AttributeError):
        Adam().beta_1 = 0.5
    assert issubclass(optimizers.SGD, optimizers.Optimizer)
