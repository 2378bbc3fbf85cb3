"""The checker is itself checked: faults that it must find, correct gradients it must not fail."""

import itertools
import json

import numpy as np
import pytest

import xpnet
from xpnet import MLP, GradientCheckFailed, GradientReport, Network, check_gradient
from xpnet.functions import ACTIVATIONS, Activation
from xpnet.gradients.noise import refuse_reduced_precision
from xpnet.layers import Affine, AveragePool, Convolution, MaxPool
from xpnet.losses import OUTPUTS

# Every kind of net: what goes through them in turn misses none.
KINDS = list(itertools.product(ACTIVATIONS, OUTPUTS, ("float32", "float64")))

# --- a net's backward pass with faults ---------------------------------------------------------


def faulty(net, x, t, fault):
    """The net's gradient with one of twelve faults."""
    right = net.gradient(x, t)
    g = {key: value.copy() for key, value in right.items()}
    n, last = len(x), f"W{net.depth}"
    plain = {key: net.l2 * p if key.startswith("W") else 0 for key, p in net.params.items()}
    if fault == "sign":
        g = {key: -value for key, value in g.items()}
    elif fault == "factor n":
        g = {key: n * (value - plain[key]) + plain[key] for key, value in g.items()}
    elif fault == "transpose":
        g[last] = g[last].reshape(g[last].shape[::-1]).T.copy()
    elif fault == "one entry off by 1e-3":
        i = np.unravel_index(np.argmax(np.abs(g["W1"])), g["W1"].shape)
        g["W1"][i] *= 1.001
    elif fault == "zeroed bias":
        g["b1"][...] = 0
    elif fault == "missing activation derivative":
        broken = Activation(
            "broken", net.activation.forward, lambda x, y: np.ones_like(y), net.activation.smooth
        )
        g = with_activation(net, broken).gradient(x, t)
    elif fault == "swapped layer":
        g["b1"], g["b2"] = resized(g["b2"], g["b1"]), resized(g["b1"], g["b2"])
    elif fault == "stale cache":
        g = net.gradient(x[::-1].copy(), t)
    elif fault == "off-by-one label":
        g = net.gradient(x, np.roll(t, 1, axis=1))
    elif fault == "L2 forgotten":
        g = {key: value - plain[key] for key, value in g.items()}
    elif fault == "L2 doubled":
        g = {key: value + plain[key] for key, value in g.items()}
    elif fault == "wrong mean":
        g = {key: (value - plain[key]) * n / (n - 1) + plain[key] for key, value in g.items()}
    return {key: value.astype(net.placement.dtype) for key, value in g.items()}, right


def resized(source, like):
    return np.resize(source, like.shape)


def with_activation(net, activation):
    other = MLP(
        net.layer_sizes, activation=activation, output=net.output.name, l2=net.l2,
        dtype=net.placement.dtype,
    )  # fmt: skip
    other.params = net.params
    return other


FAULTS = (
    "sign", "factor n", "transpose", "one entry off by 1e-3", "zeroed bias",
    "missing activation derivative", "swapped layer", "stale cache", "off-by-one label",
    "L2 forgotten", "L2 doubled", "wrong mean",
)  # fmt: skip
NETS = ([7, 4, 3], [20, 10, 5], [12, 9, 8, 4], [60, 30, 20, 10], [6, 5, 5, 5, 3])


def problem(sizes, *, activation="sigmoid", output="softmax", dtype="float64", seed=0, rows=8,
            l2=0.01):  # fmt: skip
    rng = np.random.default_rng(seed)
    net = MLP(sizes, activation=activation, output=output, dtype=dtype, seed=seed, l2=l2)
    for i in range(1, net.depth + 1):
        net.params[f"b{i}"] += rng.normal(size=net.params[f"b{i}"].shape).astype(dtype) * 0.1
    x = rng.normal(size=(rows, sizes[0])).astype(dtype)
    t = np.eye(sizes[-1], dtype=dtype)[rng.integers(0, sizes[-1], rows)]
    return net, x, t


def test_every_fault_is_found(tell):
    """A checker that passes broken code. In float32, where the fault exceeds the noise floor."""
    found, hidden, tried = 0, 0, 0
    for dtype in ("float64", "float32"):
        for sizes in NETS:
            for activation in ("sigmoid", "tanh", "relu"):
                net, x, t = problem(sizes, activation=activation, dtype=dtype)
                for fault in FAULTS:
                    wrong, right = faulty(net, x, t, fault)
                    report = net.check_gradient(x, t, gradient=wrong)
                    tried += 1
                    shows = any(
                        np.any(np.abs(wrong[k] - right[k]) > 2 * report.values[k][2])
                        for k in right
                    )
                    if dtype == "float64":
                        assert shows, f"{fault} in {net} is no fault: the test is wrong"
                    if shows:
                        assert report.verdict == "failed", f"{fault} in {net}\n{report}"
                        found += 1
                    else:
                        hidden += 1
    tell(
        f"injected faults: {tried}; found: {found}; "
        f"below float32's noise floor: {hidden}; missed: 0"
    )
    assert found >= 0.9 * tried


def test_no_false_alarm(tell):
    """Correct gradients that fail: what makes people turn a checker off."""
    rng = np.random.default_rng(5)
    verdicts = {"passed": 0, "inconclusive": 0, "failed": 0}
    kinks = 0
    for i in range(500):
        depth = int(rng.integers(1, 5))
        sizes = rng.integers(1, 12, depth + 1)
        sizes[-1] = max(2, sizes[-1])
        activation, output, dtype = KINDS[i % len(KINDS)]
        net, x, t = problem(
            sizes.tolist(), activation=activation, output=output, dtype=dtype, seed=i,
            rows=int(rng.integers(1, 20)), l2=float(rng.choice([0.0, 0.01])),
        )  # fmt: skip
        report = net.check_gradient(x, t)
        verdicts[report.verdict] += 1
        kinks += sum(row.kink for row in report.parameters.values())
        assert report.verdict != "failed", f"{net}\n{report}"
    tell(f"500 correct nets: {verdicts}; entries at a kink: {kinks}")
    assert verdicts["inconclusive"] <= 25


def test_no_false_alarm_of_any_function(tell):
    """The black-box checker on the same kind of nets, ReLU and float32 included."""
    verdicts = {"passed": 0, "inconclusive": 0, "failed": 0}
    for i in range(2 * len(KINDS)):
        activation, output, dtype = KINDS[i % len(KINDS)]
        net, x, t = problem([3, 4, 3], activation=activation, output=output, dtype=dtype, seed=i)
        for directions in (None, 3):
            report = black_box(net, x, t, directions=directions)
            verdicts[report.verdict] += 1
            assert report.verdict != "failed", f"{net}\n{report}"
    tell(f"{2 * len(KINDS)} correct nets as black boxes, entries and directions: {verdicts}")


def black_box(net, x, t, gradient=None, **kwargs):
    def loss(params):
        return net._stack.loss(params, x, net._batch.target_rows(t))

    return check_gradient(loss, gradient or net.gradient(x, t), dict(net.params), **kwargs)


@pytest.mark.parametrize("directions", [None, 6])
def test_faults_in_any_function(directions):
    """Signs, factors and single entries are found without knowing the structure."""
    net, x, t = problem([7, 4, 3])
    for fault in FAULTS:
        wrong, _ = faulty(net, x, t, fault)
        report = black_box(net, x, t, wrong, directions=directions)
        assert report.verdict == "failed", f"{fault}\n{report}"
        assert not report.ok


CAUSES = {
    "sign": "the wrong sign",
    "transpose": "W2: transposed",
    "one entry off by 1e-3": "W1: a single entry is wrong",
    "zeroed bias": "b1: all zeros",
    "missing activation derivative": "W1, b1: the activation's derivative is missing at layer 1",
    "L2 forgotten": "W1, W2: it is off by -0.01 times the parameter: an L2 term left out?",
    "L2 doubled": "W1, W2: it is off by 0.01 times the parameter: an L2 term counted twice?",
    "off-by-one label": None,
    "stale cache": None,
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("fault", CAUSES)
def test_likely_causes(fault, dtype):
    """A cause that is named where its pattern is absent is worse than none."""
    net, x, t = problem([20, 10, 5], dtype=dtype, rows=16)
    report = net.check_gradient(x, t, gradient=faulty(net, x, t, fault)[0])
    if fault == "one entry off by 1e-3" and dtype == "float32" and report.ok:
        pytest.skip("below the noise floor")
    expected = CAUSES[fault]
    if expected is None:
        assert report.causes == ()
    else:
        assert any(expected in cause for cause in report.causes), str(report)
        assert len(report.causes) == 1, str(report)


def test_factors_are_named():
    net, x, t = problem([20, 10, 5], l2=0.0, rows=16)
    for fault, text in (("factor n", "too large by the constant factor 16"),
                        ("wrong mean", "too large by the constant factor 1.067")):  # fmt: skip
        report = net.check_gradient(x, t, gradient=faulty(net, x, t, fault)[0])
        assert report.causes == (f"W1, b1, W2, b2: {text}",)


def test_square_transpose_and_swapped_arrays_are_named():
    net, x, t = problem([5, 5, 5], l2=0.0)
    g = net.gradient(x, t)
    report = net.check_gradient(x, t, gradient={**g, "W2": g["W2"].T.copy(), "b1": g["b2"]})
    assert report.causes == ("b1: it is the gradient of b2", "W2: transposed")


# --- any function, on every backend ------------------------------------------------------------


def test_on_every_backend(lib):
    xp = lib.xp
    x = {"a": lib.array([[0.3, -0.7]]), "b": lib.array(1.5)}

    def f(p):
        return xp.sum(xp.sin(p["a"])) * p["b"] ** 2

    def slope(p):
        return {"a": xp.cos(p["a"]) * p["b"] ** 2, "b": 2 * p["b"] * xp.sum(xp.sin(p["a"]))}

    for directions in (None, 4):
        report = check_gradient(f, slope, x, directions=directions)
        assert report.ok, str(report)
        wrong = {**slope(x), "b": 1.001 * slope(x)["b"]}
        report = check_gradient(f, wrong, x, directions=directions)
        assert report.verdict == "failed"
        assert [row.failed > 0 for row in report.parameters.values()] == [False, True]
        assert report.parameters["b"].worst.index == ()


def test_a_net_on_every_backend(lib):
    for dtype in ("float32", "float64"):
        net = MLP([3, 4, 2], activation="relu", seed=1, **lib.kwargs, dtype=dtype)
        x = lib.array(np.random.default_rng(0).normal(size=(5, 3)), dtype)
        report = net.check_gradient(x, lib.array([0, 1, 1, 0, 1]))
        assert report.ok, str(report)
        wrong = {key: 1.5 * g for key, g in net.gradient(x, lib.array([0, 1, 1, 0, 1])).items()}
        report = net.check_gradient(x, lib.array([0, 1, 1, 0, 1]), gradient=wrong)
        assert report.verdict == "failed"
        assert report.causes == ("W1, b1, W2, b2: too large by the constant factor 1.5",)


def test_vectorized(lib):
    report = check_gradient(
        lambda x: lib.xp.sum(x**3, axis=1), lambda x: 3 * x**2, lib.array([1.0, -2.0]),
        vectorized=True, max_bytes=16,
    )  # fmt: skip
    assert report.ok


def test_kinks_are_named():
    """ReLU at 0 has no derivative: neither a failure nor a pass."""
    x = np.asarray([0.0, 1e-9, 1.0, -2.0])
    for slope_at_0 in (0.0, 0.5, 1.0):
        given = np.asarray([slope_at_0, 1.0, 1.0, 0.0])
        report = check_gradient(lambda v: np.sum(np.maximum(v, 0)), given, x)
        row = report.parameters["x"]
        assert row.failed == 0
        assert (row.kink + row.passed, row.inconclusive) == (4, 0), str(report)
        assert row.kink >= 1
    beyond = np.asarray([1.7, 1.0, 1.0, 0.0])
    assert check_gradient(lambda v: np.sum(np.maximum(v, 0)), beyond, x).verdict == "failed"


def test_kinks_of_a_net_are_named():
    net = MLP([1, 3, 2], activation="relu", weight_init=1.0, seed=0, dtype="float64")
    net.params["b1"] = -net.params["W1"][0]
    x, t = np.asarray([[1.0], [0.2], [0.4]]), np.asarray([0, 1, 1])
    report = net.check_gradient(x, t)
    assert report.verdict != "failed"
    assert report.parameters["b1"].kink + report.parameters["W1"].kink > 0
    wrong = net.gradient(x, t)
    wrong["b2"] = wrong["b2"] * 1.01
    assert net.check_gradient(x, t, gradient=wrong).verdict == "failed"


def test_float32_that_cannot_decide_says_so():
    """A large offset swamps the differences: 'failed' would be a lie, and so would 'passed'."""
    x = np.asarray([0.1, 0.2], dtype="float32")
    right = np.cos(x)
    for directions in (None, 2):
        report = check_gradient(
            lambda v: np.float32(1e6) + np.sum(np.sin(v)), right, x, directions=directions
        )
        assert report.verdict == "inconclusive", str(report)
        with pytest.raises(GradientCheckFailed, match="inconclusive"):
            report.raise_if_failed()


# Nets whose right gradients once failed: sizes, activation, output, dtype, weights, x, t.
HARD = {
    "squares that underflow": ([1, 1, 1], "sigmoid", "sigmoid", "float64",
                               {"W1": 0.0, "W2": 1.0}, [[2.2e-173]], [[0.0]]),
    "a move that is absorbed": ([3, 1, 1, 2], "identity", "sigmoid", "float64",
                                {"W1": 1.0, "W2": 1e-179, "b2": 2.4e-55, "W3": -1.6},
                                [[-2.0, 0.0, 1.7]], [[1.0, 1.0]]),
    "a residual beside a curvature": ([1, 3, 2], "identity", "identity", "float64",
                                      {"W1": 1.6, "W2": -0.8}, [[-4.9e-104]], [[0.0, 0.0]]),
    "a saturated unit": ([2, 1, 4], "tanh", "identity", "float32",
                         {"W1": 1.92, "b1": -1.74, "W2": -0.64}, [[-1.74, -1.74]] * 2,
                         [[-1.74] * 4] * 2),
    "more kinks than not": (
        [2, 1, 4, 4], "relu", "sigmoid", "float32",
        {"W1": [[0.88640505], [0.81613547]], "b1": 1.9, "W2": [[-1.1038587, 0.56383413, -1, -0.82]],
         "b2": [-1.9, 0, 1.5110409, 0], "b3": 1.0,
         "W3": [[-1 / 3, -1.8709985, -1.1066835, 0], [0, 0, 1.7399188, 1.7546160],
                [0, 1.2814444, 0.70883960, -0.37695878], [0, -8.8e-10, 0.060416199, -1 / 3]]},
        [[0, -1.9156741], [-1.9156741, 0.42279956], [-1.9156741, -0.6368755]],
        [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]],
    ),
    "kinks and curvature of one size": (
        [1, 2, 4, 2], "relu", "identity", "float64", {"W1": 0.0, "W2": 0.0, "W3": -0.5},
        [[-6.8e-61], [-6.8e-61], [0.0]], [[1.1920929e-7, 1.1920929e-7]] * 3,
    ),
    "a residual beside a curvature, and moves that are absorbed": (
        [2, 2, 2, 1], "tanh", "identity", "float64",
        {"W1": 0.5, "W2": 3e-157, "b2": 7e-91, "W3": 0.75}, [[0.5, 0.25]] * 2, [[-7e-91]] * 2,
    ),
    "curvature on one side of a kink, in many samples alike": (
        [1, 1, 1], "relu", "identity", "float32", {"b1": -1e-20, "W2": 0.8}, [[0.0]] * 40,
        [[0.0]] * 40,
    ),
}  # fmt: skip


# The same, where differences or factors lie below the smallest normal number, which JAX takes
# for 0: what is lost is lost in every sample, product and layer alike.
FLUSHED = {
    "moves times small weights": (
        [2, 3, 2, 2], "relu", "sigmoid", "float32",
        {"b1": 1.0, "W2": [[2, 0], [0.125, 0], [0, 0]], "W3": 1.6e-34}, [[0, 0]] * 3, [[0, 0]] * 3,
    ),
    "small inputs": ([3, 2], "sigmoid", "identity", "float32", {}, [[6e-39, 0, 0]] * 3,
                     [[2, 2]] * 3),
    "products with small inputs": ([3, 2], "identity", "sigmoid", "float32", {},
                                   [[3.7e-38] * 3] * 3, [[0, 0]] * 3),
    "products with small errors": (
        [2, 3, 2], "identity", "sigmoid", "float32",
        {"b1": 1.5e-38, "W2": -0.2, "b2": [3.6e-34, -0.145]}, [[-2.6e-36] * 2] * 3,
        [[0.5, 0.5]] * 3,
    ),
    "small derivatives": (
        [2, 3, 2, 2], "tanh", "exp", "float64",
        {"W1": [[1.3e-307, 4.6e-157, 1.3e-307], [1.3e-307] * 3],
         "W2": [[0.125, 1.4e-307], [1.4e-307, -9.5e-157], [0.125, -9.5e-157]], "b2": -0.125,
         "W3": [[-0.058, 0.25], [1e-18, 0.25]], "b3": [-0.25, 0.0]},
        [[1.7e-157, 1.7e-157], [1, 1], [1, 1.7e-157]], [[0.18, 0], [0, 0], [0.18, 0]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLUSHED)
def test_no_false_alarm_where_small_numbers_are_flushed(lib, name):
    """Small numbers that one side of the comparison has lost and the other has not."""
    no_false_alarm(lib, *FLUSHED[name])


def test_no_false_alarm_where_kinks_hide_each_other(lib):
    """A G that is flat on both sides of two kinks at one place, and steep between them."""
    small = 2.2e-250
    w2 = [[-0.5, small], [small, small], [small, small]]
    values = {"b1": [3.4e-283, 0, 0.5], "W2": w2, "W3": 0.5}
    for output in ("exp", "identity"):
        zeros = [[0.0, 0.0]] * 3
        no_false_alarm(lib, [2, 3, 2, 2], "relu", output, "float64", values, zeros, zeros)


@pytest.mark.parametrize(
    ("dtype", "x"),
    [("float64", [4.74727862e-16, 0.0]), ("float64", [-1.6939185054884704e-17, 0.0]),
     ("float32", [0.0, -8.800147043075413e-06, 1.6699381315048507e-32, 0.0])],
)  # fmt: skip
def test_no_false_alarm_where_moved_terms_cancel(lib, dtype, x):
    """Noise that is 0 at x, along a direction in which f is a small sum of larger terms."""
    x = lib.array(x, dtype)
    report = check_gradient(lambda v: lib.xp.sum(v * v * v), 3.0 * x * x, x, directions=3)
    assert report.verdict in ("passed", "inconclusive"), str(report)


def test_what_kinks_may_hide_is_bounded():
    """Two kinks within reach that explain anything, and every fault behind them."""
    net = MLP([1, 1, 1, 1], activation="relu", output="identity", dtype="float64", seed=0)
    for key, value in {"W1": 1, "b1": 1e-12, "W2": -1, "b2": 2e-12, "W3": 1, "b3": 1}.items():
        net.params[key][...] = value
    x, t = np.zeros((1, 1)), np.zeros((1, 1))
    right = net.gradient(x, t)
    assert net.check_gradient(x, t).verdict != "failed"
    assert right["b1"] == pytest.approx(-1.0)
    for wrong in (-2.5, 2.5):
        report = net.check_gradient(x, t, gradient={**right, "b1": np.asarray([wrong])})
        assert report.verdict == "failed", str(report)


@pytest.mark.parametrize("name", HARD)
def test_no_false_alarm_in_hard_places(lib, name):
    """Noise that is found to be 0 where it only underflows, or hides behind another value."""
    no_false_alarm(lib, *HARD[name])


def no_false_alarm(lib, sizes, activation, output, dtype, values, x, t):
    net = MLP(sizes, activation=activation, output=output, dtype=dtype, seed=0, **lib.kwargs)
    for key, p in net.params.items():
        host = np.broadcast_to(np.asarray(values.get(key, 0.0)), tuple(p.shape))
        net.params[key] = net.placement.floats(host)
    report = net.check_gradient(lib.array(x, dtype), lib.array(t, dtype))
    assert report.verdict in ("passed", "inconclusive"), str(report)


def test_squares_of_very_small_and_very_large_values():
    """A warning of an overflow, or of 0 / 0, from the noise or from the search for a cause."""
    for size in (1e-200, 1e200):
        x = np.asarray([1.0, 2.0, 3.0]) * size
        report = check_gradient(lambda v, s=size: np.sum(v / s), np.full(3, 1 / size), x)
        assert report.verdict in ("passed", "inconclusive")
    net = MLP([1, 3], output="identity", dtype="float64")
    net.params["W1"][...], net.params["b1"][...] = 0.0, 2.2e-179
    x, t = np.asarray([[0.0], [-1.4], [-1.4]]), np.zeros((3, 3))
    wrong = {key: g + 1.0 for key, g in net.gradient(x, t).items()}
    assert net.check_gradient(x, t, gradient=wrong).verdict == "failed"


def test_a_function_that_is_not_deterministic():
    rng = np.random.default_rng(0)
    report = check_gradient(lambda v: np.sum(v) + rng.normal(), np.ones(2), np.ones(2))
    assert report.verdict == "not deterministic"
    assert "for the same x" in str(report)
    with pytest.raises(GradientCheckFailed, match="not deterministic"):
        report.raise_if_failed()


def test_noise_is_measured():
    """A function that is noisier than its dtype must not fail."""
    def f(v):  # float32 arithmetic behind a float64 result
        return np.float64(np.sum(np.exp(v.astype("float32"))))

    x = np.linspace(-1, 1, 7)
    assert check_gradient(f, np.exp(x), x).verdict != "failed"


def test_a_million_parameters():
    """Directions instead of entries; bisection names the one entry that is wrong."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 1000))
    calls = 0

    def f(v):
        nonlocal calls
        calls += 1
        return np.sum(np.sin(v)) / 1000

    right = np.cos(x) / 1000
    report = check_gradient(f, right, x, directions=2)
    assert report.ok, str(report)
    assert report.parameters["x"].checked == 2
    wrong = right.copy()
    wrong[123, 456] += 1e-5
    report = check_gradient(f, wrong, x, directions=2)
    assert report.verdict == "failed"
    worst = report.parameters["x"].worst
    assert worst.index == (123, 456)
    assert worst.gradient == pytest.approx(wrong[123, 456])
    assert worst.numerical == pytest.approx(right[123, 456], abs=1e-7)
    assert calls < 2000


# --- the report --------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [
    [Convolution(30, 5), "relu", MaxPool(2), Affine(100), "relu", Affine(10)],
    [Convolution(8, 3, padding=1), "relu", AveragePool(2), Affine(10)],
    [Convolution(6, 5, stride=2), "leaky_relu", Affine(20), "relu", Affine(10)],
])  # fmt: skip
def test_a_kink_under_every_empty_patch(layers):
    """With biases of 0, ReLU's kink is where images are empty, and others are as near as one likes.

    Their slopes drift from step to step, in float32 down to its rounding.
    """
    (x, t), _ = xpnet.load_mnist(flatten=False)
    x, t = x[:50, None].astype(np.float32), t[:50]
    net = Network(layers, input_shape=x.shape[1:], seed=0, dtype="float32")

    def loss(b):
        net.params["b1"][...] = b
        return net.loss(x, t)

    right = net.gradient(x, t)["b1"]
    start = np.zeros_like(right)
    reports = [check_gradient(loss, right, start, directions=count) for count in (None, 3)]
    assert [report.verdict for report in reports if report.verdict == "failed"] == []
    wrong = right.copy()
    wrong[2] += 30.0
    assert check_gradient(loss, wrong, start).verdict == "failed"
    wrong = right + np.float32(0.05) * np.sign(right)
    assert check_gradient(loss, wrong, start).verdict != "passed"


@pytest.mark.parametrize("signs", [(1, -1), (1, 1, -2), (1, -1, 1, -1)])
@pytest.mark.parametrize("convention", [0.0, 0.3, 1.0])
def test_kinks_that_cancel_along_a_direction(signs, convention):
    """Each entry's slope lies between its two, which the sum along a direction hides."""
    signs = np.asarray(signs, dtype=float)
    x = np.zeros(len(signs))
    right = np.where(signs > 0, signs * convention, 0.0)

    def f(v):
        return np.sum(signs * np.maximum(v, 0.0))

    for seed in range(5):
        assert check_gradient(f, right, x, directions=2, seed=seed).verdict != "failed"
    assert check_gradient(f, right + 2.5, x, directions=2).verdict == "failed"


def failing_report():
    net, x, t = problem([7, 4, 3])
    wrong = net.gradient(x, t)
    wrong["W2"][2, 1] += 0.5
    return net.check_gradient(x, t, gradient=wrong)


def test_the_report_can_be_read():
    report = failing_report()
    text = str(report)
    assert isinstance(report, GradientReport)
    assert text.startswith("Gradient check failed: every entry, by structured central differences")
    assert "[2, 1]" in text
    assert "Likely cause: W2: a single entry is wrong" in text
    assert len({line.find("shape") for line in text.splitlines()}) == 2
    row = report.parameters["W2"]
    assert (row.checked, row.passed, row.failed, row.kink, row.inconclusive) == (12, 11, 1, 0, 0)
    assert row.worst.index == (2, 1)
    assert row.worst.absolute == pytest.approx(0.5)
    assert row.worst.noise < 1e-9
    assert row.worst.relative == pytest.approx(
        0.5 / max(abs(row.worst.gradient), abs(row.worst.numerical))
    )
    with pytest.raises(AssertionError, match=r"W2 .*\[2, 1\]"):
        report.raise_if_failed()


def test_the_report_as_json():
    data = json.loads(json.dumps(failing_report().to_dict()))
    assert data["verdict"] == "failed"
    assert data["parameters"]["W2"]["worst"]["index"] == [2, 1]


def test_the_report_as_a_picture():
    matplotlib = pytest.importorskip("matplotlib")
    report = failing_report()
    ax = report.plot()
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"W1", "b1", "W2", "b2"}
    own = matplotlib.figure.Figure().add_subplot()
    assert report.plot(own) is own


# --- refusals ----------------------------------------------------------------------------------


def test_refuses_gradients(lib):
    x = lib.array([1.0, 2.0])

    def check(gradient, at=x):
        return check_gradient(lambda v: lib.xp.sum(v), gradient, at)

    with pytest.raises(ValueError, match=r"gradient has shape \(3,\); expected \(2,\)"):
        check(lib.array([1.0, 1.0, 1.0]))
    with pytest.raises(TypeError, match="gradient must be an array, not list"):
        check([1.0, 1.0])
    with pytest.raises(TypeError, match="gradient must be a floating-point array"):
        check(lib.array([1, 1]))
    with pytest.raises(TypeError, match="x is an array, but gradient is a dict"):
        check({"a": x})
    with pytest.raises(ValueError, match="gradient has the keys"):
        check({"b": x}, {"a": x})
    if not lib.name.startswith("numpy"):
        with pytest.raises(TypeError, match=r"gradient is an array of .*numpy; expected"):
            check(np.ones(2))


def test_refuses_functions_and_arguments():
    x, g = np.ones(2), np.ones(2)
    with pytest.raises(ValueError, match=r"f returned shape \(2,\)"):
        check_gradient(lambda v: v, g, x)
    with pytest.raises(TypeError, match="f returned complex128"):
        check_gradient(lambda v: np.sum(v) * 1j, g, x)
    with pytest.raises(ValueError, match="f returned nan at x"):
        check_gradient(lambda v: np.sum(v) * np.nan, g, x)
    def only_here(v):
        return np.sum(v) if np.all(v == 1) else np.float64(np.nan)

    with pytest.raises(ValueError, match=r"for x\[0\] = 1.0 moved by steps down to .*e-1"):
        check_gradient(only_here, g, x)
    with pytest.raises(ValueError, match=r"moved by the step 0.5: try another step="):
        check_gradient(only_here, g, x, step=0.5)
    report = check_gradient(np.sum, np.ones(0), np.ones(0))
    assert report.ok
    assert report.parameters["x"].checked == 0
    assert "0" in str(report)
    for step in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="step must be finite and above 0"):
            check_gradient(np.sum, g, x, step=step)
    with pytest.raises(ValueError, match="directions must be at least 1"):
        check_gradient(np.sum, g, x, directions=0)


def test_nan_in_the_gradient_is_a_failure():
    x = np.asarray([1.0, 2.0])
    for directions in (None, 2):
        report = check_gradient(
            lambda v: np.sum(v), np.asarray([1.0, np.nan]), x, directions=directions
        )
        assert report.verdict == "failed"
        assert report.causes == ("x: NaN or infinity",)


@pytest.mark.sessions("strict")
def test_reduced_precision_is_refused(monkeypatch):
    """TF32 keeps 10 bits: a check would measure its rounding, not the gradient."""
    xp = pytest.importorskip("array_api_strict", reason="its matrix product can be replaced")
    x = xp.ones(3, dtype=xp.float32)
    refuse_reduced_precision(x)
    exact = xp._array_object.Array.__matmul__

    def tf32(self, other):
        host = np.asarray(exact(self, other))
        bits = (host.view(np.int32) + 0x1000) & ~np.int32(0x1FFF)
        return xp.asarray(bits.astype(np.int32).view(np.float32))

    monkeypatch.setattr(xp._array_object.Array, "__matmul__", tf32)
    with pytest.raises(RuntimeError, match="lose digits on this device"):
        check_gradient(lambda v: xp.sum(v), xp.ones(3, dtype=xp.float32), x)


def test_the_public_names():
    assert xpnet.check_gradient is check_gradient
    assert xpnet.GradientReport is GradientReport


@pytest.mark.parametrize(("x", "c"), [(1.1875, 1.21875), (2.5, 4.34375), (1.5, 0.75), (9.0, 2.5)])
def test_directions_in_float32(lib, x, c):
    """The moves' own rounding, made good with a wrong gradient, spoke for it at short steps."""
    at = lib.array(x, "float32")
    right = lib.array(3 * c * x * x, "float32")
    for factor, verdicts in ((1.0, ("passed",)), (2.0, ("failed",))):
        given = right * factor
        report = xpnet.check_gradient(lambda v: c * v * v * v, given, at, directions=3)
        assert report.verdict in verdicts, str(report)
