"""Central differences of a whole net, on every backend, against the plain loop."""

import functools
import tracemalloc

import numpy as np
import pytest

import xpnet
from xpnet import MLP
from xpnet.functions import ACTIVATIONS, Activation, sigmoid
from xpnet.gradients import structured
from xpnet.losses import OUTPUTS

OWN = Activation("own", lambda x: x * sigmoid(x), lambda x, y: sigmoid(x) * (1.0 + x - y))
EVERY_ACTIVATION = {**ACTIVATIONS, "own": OWN}
SIZES = {1: (3, 3), 2: (3, 4, 3), 3: (3, 4, 5, 3), 4: (3, 4, 5, 2, 3)}

RNG = np.random.default_rng(3)
X = RNG.uniform(-1, 2, size=(5, 3))
X[0, 0] = 0.0
LABELS = {
    "indices": np.asarray([0, 2, 1, 1, 0]),
    "one-hot": np.eye(3)[[2, 2, 0, 1, 0]],
    "soft": RNG.dirichlet(np.ones(3), size=5),
}
# So large that its truncation can be seen (only a true central difference agrees), and that the
# plain loop is good to 1e-9: it subtracts losses, which leaves rounding of about 1e-16 / STEP.
STEP = 5e-3


def net_of(depth, activation, output, l2=0.0, **where):
    net = MLP(
        SIZES[depth],
        activation=EVERY_ACTIVATION[activation],
        output=output,
        weight_init=0.8,
        l2=l2,
        seed=depth,
        **{"dtype": "float64", **where},
    )
    for i in range(1, depth + 1):
        net.params[f"b{i}"] += 0.1 * i
    return net


@functools.cache
def plain_loop(depth, activation, output, l2, form):
    """The reference's loop: two losses for each entry, on NumPy."""
    net = net_of(depth, activation, output, l2)
    gradient = {}
    for key, p in net.params.items():
        gradient[key] = np.empty_like(p)
        for index in np.ndindex(*p.shape):
            value = p[index]
            p[index] = value + STEP
            up = net.loss(X, LABELS[form])
            p[index] = value - STEP
            down = net.loss(X, LABELS[form])
            p[index] = value
            gradient[key][index] = (up - down) / (2 * STEP)
    return gradient


def assert_near(got, expected, rtol, what=""):
    """Largest difference over the largest entry of that parameter."""
    for key, value in expected.items():
        error = np.max(np.abs(got[key] - value)) / max(1e-12, np.max(np.abs(value)))
        assert error <= rtol, f"{what} {key}: relative error {error:.1e}"


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("activation", EVERY_ACTIVATION)
@pytest.mark.parametrize("depth", SIZES)
def test_structured_is_the_plain_loop(lib, depth, activation, output):
    """A structure that differs from 'move one weight, take two losses' by more than rounding."""
    x = lib.array(X)
    # The other ways of running NumPy and strict compute the same: one case each.
    again = lib.name in ("numpy-readonly", "strict-device1", "strict-flags")
    for l2 in (0.3,) if again else (0.0, 0.3):
        net = net_of(depth, activation, output, l2, **lib.kwargs)
        for form, labels in list(LABELS.items())[: 1 if again else None]:
            got = net.numerical_gradient(x, lib.array(labels), step=STEP)
            assert list(got) == list(net.params)
            assert all(g.dtype == lib.xp.float64 for g in got.values())
            assert_near(
                {key: lib.host(g) for key, g in got.items()},
                plain_loop(depth, activation, output, l2, form),
                1e-9,
                f"{form}, l2 = {l2}:",
            )


@pytest.mark.parametrize("output", OUTPUTS)
def test_elementwise_is_the_plain_loop(lib, output):
    net = net_of(2, "sigmoid", output, 0.3, **lib.kwargs)
    got = net.numerical_gradient(
        lib.array(X), lib.array(LABELS["soft"]), step=STEP, method="elementwise"
    )
    expected = plain_loop(2, "sigmoid", output, 0.3, "soft")
    assert_near({key: lib.host(g) for key, g in got.items()}, expected, 1e-9)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("activation", EVERY_ACTIVATION)
def test_what_trains_is_what_backpropagation_gives(lib, activation, dtype):
    """`fit(gradient="numerical")` computes these: the same loss, and a gradient times `scale`."""
    net = net_of(3, activation, "softmax", 0.3, **lib.kwargs, dtype=dtype)
    x, t = lib.array(X, dtype), lib.array(LABELS["one-hot"], dtype)
    loss, gradient = net._differentiate(net.params, x, t, 0.5)
    expected_loss, expected = net._backpropagate(net.params, x, t, 0.5)
    assert lib.host(loss) == lib.host(expected_loss)
    assert all(gradient[key].dtype == net.placement.dtype for key in expected)
    assert_near(
        {key: lib.host(g) for key, g in gradient.items()},
        {key: lib.host(g) for key, g in expected.items()},
        1e-9 if dtype == "float64" else 5e-4,
    )


@pytest.mark.parametrize("step", [1e-7, 1e-5, 1e-4, 1e-2, 0.05, 0.3])
@pytest.mark.parametrize("activation", ["sigmoid", "relu", "tanh"])
def test_every_step(activation, step):
    """A fit used beyond where its order holds: a large step needs more pairs, or none."""
    net = net_of(3, activation, "softmax")
    t = LABELS["indices"]
    got = net.numerical_gradient(X, t, step=step)
    oracle = net.numerical_gradient(X, t, step=step, method="elementwise")
    assert_near(got, oracle, 1e-9 + 1e-14 / step)


def test_order_follows_from_the_largest_move():
    """The pairs are as many as the dtype's rounding asks for, and beyond four there is no fit."""
    eps = float(np.finfo("float64").eps)
    assert [structured.pairs_for(u, eps) for u in (1e-6, 2e-4, 1e-3, 1e-2, 0.1)] == [2, 2, 3, 4, 5]
    eps = float(np.finfo("float32").eps)
    assert [structured.pairs_for(u, eps) for u in (1e-3, 4e-2, 0.1, 0.2, 0.5)] == [2, 2, 3, 4, 5]
    # What is cut off, for the steepest function here, stays below rounding.
    for pairs in (2, 3, 4):
        for dtype in ("float32", "float64"):
            eps = float(np.finfo(dtype).eps)
            r = structured._limit(pairs, eps)
            values = [np.tanh(np.longdouble(r) * k / pairs) for k in range(1, pairs + 1)]
            slope = sum(c * v for c, v in zip(structured.odd_fit(pairs)[0], values, strict=True))
            assert abs(float(slope / r - 1)) < 2 * eps


def test_a_kink_is_differenced_directly():
    """Where ReLU bends within the step, a smooth fit is not the central difference."""
    net = MLP([1, 2, 2], activation="relu", weight_init=1.0, seed=0, dtype="float64")
    x, t = np.asarray([[1.0], [0.5]]), np.asarray([0, 1])
    for bend in (0.0, 3e-5, -9e-5):  # the pre-activation of the first row and unit
        net.params["b1"] = bend - net.params["W1"][0]
        got = net.numerical_gradient(x, t, step=1e-4)
        oracle = net.numerical_gradient(x, t, step=1e-4, method="elementwise")
        assert_near(got, oracle, 1e-9)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("where", ["x", "W2"])
def test_the_default_step_fits_the_scale(where, scale):
    """Inputs in [0, 255] or large weights must not spoil the gradient that trains."""
    net = net_of(2, "tanh", "softmax")
    x = X * scale if where == "x" else X
    if where == "W2":
        net.params["W2"] *= scale
    _, got = net._differentiate(net.params, x, LABELS["one-hot"])
    assert_near(got, net.gradient(x, LABELS["one-hot"]), 1e-7)


def test_confident_predictions_keep_their_digits():
    """Subtracting two losses would leave nothing of a gradient of 1e-12."""
    net = MLP([2, 2], weight_init=0.0, dtype="float64")
    net.params["b1"] += np.asarray([27.0, 0.0])
    x, t = np.ones((1, 2)), np.asarray([0])
    got = net.numerical_gradient(x, t)
    np.testing.assert_allclose(got["W1"][:, 1], np.exp(-27) / (1 + np.exp(-27)), rtol=1e-9)


@pytest.mark.parametrize("steps", [0, 300], ids=["untrained", "trained"])
@pytest.mark.parametrize(
    ("dtype", "rtol", "each"), [("float64", 2e-9, 2e-9), ("float32", 2e-5, 1e-3)]
)
def test_every_entry_on_mnist(lib, dtype, rtol, each, steps):
    """784-100-10, 100 rows of MNIST: all 79,510 entries against backpropagation in float64.

    `rtol` is for the largest difference over the largest entry of the parameter. `each` is for
    every entry by itself, over the sum of the sizes of the terms that the entry is the sum of:
    an entry that is small because its terms cancel has no digits of its own.
    """
    if lib.name.startswith("strict"):
        pytest.skip("slow there; the smaller nets cover it")
    x, t = mnist()
    start = MLP([784, 100, 10], seed=0, dtype="float64")
    if steps:
        xpnet.fit(start, x, t, steps=steps)
    x, t = x[:100], t[:100]
    expected = start.gradient(x, t)
    net = start.to(**lib.kwargs, dtype=dtype)
    got = net.numerical_gradient(lib.array(x, dtype), lib.array(t))
    got = {key: lib.host(g).astype("float64") for key, g in got.items()}
    assert sum(g.size for g in got.values()) == 79_510
    assert_near(got, expected, rtol)
    sizes = sizes_of_terms(start, x, t)
    worst = max(float(np.max(np.abs(got[k] - expected[k]) / sizes[k])) for k in got)
    assert worst <= each, f"worst entry: {worst:.1e} of the size of its terms"


@functools.cache
def mnist():
    (x, t), _ = xpnet.load_mnist(dtype="float64")
    return x[:6000], t[:6000]


def sizes_of_terms(net, x, t):
    """Backpropagation with every term's size in the place of the term."""
    z = net._stack.parts(net.params, x, x)[1].z
    d = (net.predict(x) - np.eye(10)[t]) / len(x)
    hidden = np.abs(d) @ np.abs(net.params["W2"].T) * z[1] * (1 - z[1])
    tiny = np.finfo("float64").tiny
    return {
        "W2": np.abs(z[1]).T @ np.abs(d) + tiny,
        "b2": np.abs(d).sum(axis=0),
        "W1": np.abs(x).T @ hidden + tiny,
        "b1": hidden.sum(axis=0),
    }


@pytest.mark.parametrize("sizes", [(784, 100, 10), (784, 1000, 10), (784, 256, 128, 10)], ids=str)
def test_memory(sizes):
    """Temporaries that grow with the number of perturbations, not with a chunk."""
    net = MLP(sizes, seed=0, dtype="float64")
    x = RNG.uniform(size=(100, 784))
    t = RNG.integers(0, 10, 100)
    tracemalloc.start()
    try:
        net.numerical_gradient(x, t)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256e6, f"{peak / 1e6:.0f} MB"


def test_memory_of_the_direct_form():
    net = MLP((784, 30, 10), seed=0, dtype="float64")
    x, t = RNG.uniform(size=(100, 784)), RNG.integers(0, 10, 100)
    tracemalloc.start()
    try:
        net.numerical_gradient(x, t, step=1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 256e6, f"{peak / 1e6:.0f} MB"


def test_training_by_numerical_gradient_follows_backpropagation(lib):
    """The same batches and rates: the loss curves are the same to rounding."""
    x = lib.array(np.tile(X, (4, 1)))
    t = lib.array(np.tile(LABELS["indices"], 4))
    histories = []
    for gradient in ("backprop", "numerical"):
        net = net_of(2, "sigmoid", "softmax", 0.01, **lib.kwargs)
        histories.append(xpnet.fit(net, x, t, steps=12, batch_size=7, gradient=gradient).loss)
    np.testing.assert_allclose(*histories, rtol=1e-8)


def test_refusals():
    net = net_of(2, "sigmoid", "softmax")
    for step in (0, -1e-3, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="step must be finite and above 0"):
            net.numerical_gradient(X, LABELS["indices"], step=step)
    with pytest.raises(TypeError, match="step must be a number"):
        net.numerical_gradient(X, LABELS["indices"], step="small")
    with pytest.raises(ValueError, match="unknown method 'magic'; known are 'structured'"):
        net.numerical_gradient(X, LABELS["indices"], method="magic")


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_change_of_a_loss_is_its_difference(lib, name):
    """A new output whose `change` is not that of its `loss` fails here."""
    rng = np.random.default_rng(0)
    output = OUTPUTS[name]
    logits, moves = rng.normal(size=(4, 3), scale=2), rng.normal(size=(4, 3, 6))
    for target in (np.eye(3)[[0, 2, 1, 1]], rng.dirichlet(np.ones(3), size=4)):
        args = [lib.array(v) for v in (logits, target, moves)]
        got = lib.host(output.change(*args))
        for i in range(4):
            for k in range(6):
                ends = [
                    lib.host(output.loss(lib.array(a[None]), lib.array(target[i : i + 1]))[0])
                    for a in (logits[i] + moves[i, :, k], logits[i])
                ]
                np.testing.assert_allclose(got[i, k], ends[0] - ends[1], rtol=1e-10, atol=1e-13)
        for before, after in zip((logits, target, moves), args, strict=True):
            np.testing.assert_array_equal(lib.host(after), before, err_msg="written to")
