"""Optimizers and schedules, against the textbook's equations in plain NumPy."""

import pickle
from functools import partial

import numpy as np
import pytest

from xpnet import MLP, fit, optimizers
from xpnet.optimizers import (
    OPTIMIZERS,
    AdaGrad,
    Adam,
    AdamW,
    Clipped,
    Constant,
    Cosine,
    Momentum,
    Nesterov,
    RMSprop,
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
        elif name == "adagrad":
            s = s + g**2
            w = w - lr * g / (np.sqrt(s) + 1e-7)
        elif name == "rmsprop":
            s = 0.99 * s + 0.01 * g**2
            w = w - lr * g / (np.sqrt(s) + 1e-7)
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


def torch_rules():
    """The same rules as Torch has them, with the numbers of ours."""
    optim = pytest.importorskip("torch", reason="the oracle is Torch").optim
    return {
        "sgd": optim.SGD,
        # Torch keeps v / η: the same for a rate that stays.
        "momentum": partial(optim.SGD, momentum=0.9),
        "nesterov": partial(optim.SGD, momentum=0.9, nesterov=True),
        "adam": optim.Adam,
        "adamw": optim.AdamW,
        "adagrad": partial(optim.Adagrad, eps=1e-7),
        "rmsprop": partial(optim.RMSprop, eps=1e-7),
    }


def steps_of_ours(lib, rule, start, gradients, rate):
    """Take a step for each gradient; return the parameters on the host."""
    params = {key: lib.placement.floats(p) for key, p in start.items()}
    slots = rule.slots(params)
    steps = np.arange(1, len(gradients) + 1)
    numbers = rule.coefficients(steps, np.full(len(steps), rate)).tolist()
    for host, row in zip(gradients, numbers, strict=True):
        given = {k: row[0] * g if rule.folds_rate else 1.0 * g for k, g in host.items()}
        gradient = {key: lib.array(g) for key, g in given.items()}
        rule.update(params, gradient, slots, row)
        for key, g in given.items():
            np.testing.assert_array_equal(lib.host(gradient[key]), g)
    return {key: lib.host(p) for key, p in params.items()}


def steps_of_torch(make, start, gradients, rate, norm=None):
    """The same steps with Torch, and with its clipping."""
    import torch

    params = {key: torch.tensor(p, requires_grad=True) for key, p in start.items()}
    rule = make(params.values(), lr=rate)
    for host in gradients:
        for key, g in host.items():
            params[key].grad = torch.tensor(g)
        if norm is not None:
            # Torch divides by the norm and 1e-6, which its limit makes up for here.
            total = float(torch.nn.utils.get_total_norm([p.grad for p in params.values()]))
            torch.nn.utils.clip_grad_norm_(params.values(), norm * (1 + 1e-6 / max(total, 1e-3)))
        rule.step()
    return {key: p.detach().numpy() for key, p in params.items()}


SHAPES = {"W1": (3, 2), "b1": (2,), "W2": (2, 4)}


def some_steps(scales):
    """Parameters, and a gradient for each scale."""
    rng = np.random.default_rng(1)
    start = {key: rng.normal(size=shape) for key, shape in SHAPES.items()}
    return start, [{k: s * rng.normal(size=v) for k, v in SHAPES.items()} for s in scales]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_against_torch(lib, name):
    """A rule that is its paper's, but not what everybody calls so: where epsilon stands."""
    start, gradients = some_steps([1, 1e-3, 1e-6, 10, 0, 1])
    got = steps_of_ours(lib, OPTIMIZERS[name](), start, gradients, 0.03)
    expected = steps_of_torch(torch_rules()[name], start, gradients, 0.03)
    for key, p in expected.items():
        np.testing.assert_allclose(got[key], p, rtol=1e-10, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("norm", [0.1, 3.0, 1e4])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clipping_against_torch(lib, name, norm):
    """A norm of each parameter by itself, of the gradient times the rate, or a division by 0."""
    start, gradients = some_steps([1, 1e-3, 100, 0, 1e6, 0.3])
    got = steps_of_ours(lib, Clipped(name, norm), start, gradients, 0.03)
    expected = steps_of_torch(torch_rules()[name], start, gradients, 0.03, norm)
    for key, p in expected.items():
        np.testing.assert_allclose(got[key], p, rtol=1e-10, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_clipped_net_trains(lib, name, dtype):
    """Compiled or recorded, with folded rates and without: the same as the plain loop's steps."""
    rng = np.random.default_rng(2)
    x, t = 3 * rng.normal(size=(12, 4)), rng.integers(0, 3, 12)
    rule = Clipped(name, 0.3)
    net, host = (
        MLP([4, 5, 3], dtype=dtype, seed=0, l2=0.1, **where) for where in (lib.kwargs, {})
    )
    history = fit(
        net, lib.array(x, dtype), lib.array(t), steps=7, batch_size=12, learning_rate=0.05,
        optimizer=rule,
    )  # fmt: skip
    assert history.settings["optimizer"]["name"] == "Clipped"
    assert history.settings["optimizer"]["norm"] == 0.3
    assert history.settings["optimizer"]["optimizer"]["name"] == type(rule.optimizer).__name__
    slots = rule.slots(host.params)
    for row in rule.coefficients(np.arange(1, 8), np.full(7, 0.05)).tolist():
        rule.update(host.params, host.gradient(x.astype(dtype), t), slots, row)
    for key, p in net.params.items():
        assert p.dtype == getattr(lib.xp, dtype)
        rtol = 1e-9 if dtype == "float64" else 2e-3
        np.testing.assert_allclose(lib.host(p), host.params[key], rtol=rtol, atol=rtol / 100)


def test_clipping_where_the_rate_is_0(lib):
    """A schedule that has come to 0: no step, and nothing divided by the rate."""
    start, gradients = some_steps([1, 100])
    got = steps_of_ours(lib, Clipped("sgd", 0.1), start, gradients, 0.0)
    for key, p in start.items():
        np.testing.assert_array_equal(got[key], p)


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
    (lambda: AdaGrad(0), "epsilon must be finite and above 0"),
    (lambda: RMSprop(decay=1), "decay must be below 1, not 1"),
    (lambda: RMSprop(epsilon=-1), "epsilon must be finite and above 0"),
    (lambda: Clipped("sgd", 0), "norm must be finite and above 0, not 0"),
    (lambda: Clipped("sgd", float("nan")), "norm must be finite and above 0, not nan"),
    (lambda: Clipped("lbfgs", 1), "unknown optimizer 'lbfgs'; known are 'sgd'"),
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
    assert Clipped("adam", 1) == Clipped(Adam(), 1.0)
    assert hash(Clipped("adam", 1)) == hash(Clipped(Adam(), 1.0))
    assert Clipped("adam", 1) != Clipped("adam", 2)
    assert repr(Clipped("adagrad", 1)) == "Clipped(optimizer=AdaGrad(epsilon=1e-07), norm=1.0)"
    assert pickle.loads(pickle.dumps(Clipped("adam", 1))).slot_names == Adam.slot_names
    with pytest.raises(AttributeError):
        Adam().beta_1 = 0.5
    with pytest.raises(AttributeError):
        Clipped("sgd", 1.0).norm = 0.5
    assert issubclass(optimizers.SGD, optimizers.Optimizer)
