"""The nets: against Torch's autograd, on every backend; and their refusal of bad input."""

import itertools

import numpy as np
import pytest

import xpnet
from xpnet import MLP, TwoLayerNet
from xpnet.functions import ACTIVATIONS, Activation
from xpnet.losses import OUTPUTS

SIZES = {1: [5, 3], 2: [5, 4, 3], 3: [5, 4, 6, 3], 4: [5, 4, 6, 4, 3]}
CASES = list(itertools.product(SIZES, ACTIVATIONS, OUTPUTS, ["indices", "rows"], [0.0, 0.1]))

SOFTSIGN = Activation("softsign", lambda x: x / (1.0 + abs(x)), lambda x, y: (1.0 - abs(y)) ** 2)


def batch(seed=0, n=7, inputs=5, classes=3):
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, classes, n)
    return rng.normal(size=(n, inputs)), indices, np.eye(classes)[indices]


def make(lib, sizes, dtype="float64", **kwargs):
    net = MLP(sizes, dtype=dtype, seed=1, **lib.kwargs, **kwargs)
    rng = np.random.default_rng(2)
    for key, p in net.params.items():  # biases other than 0, too
        host = lib.host(p) + 0.1 * rng.normal(size=p.shape)
        net.params[key] = net.placement.floats(host)
    return net


def torch_oracle(net, params, x, indices, l2, masks=None):
    """Loss and gradients by Torch's autograd, in float64; `masks` as `backpropagate`'s."""
    torch = pytest.importorskip("torch", reason="the oracle is Torch")
    functional = torch.nn.functional
    p = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in params.items()}
    act = {
        "sigmoid": torch.sigmoid,
        "relu": torch.relu,
        "tanh": torch.tanh,
        "identity": lambda v: v,
        "leaky_relu": functional.leaky_relu,
        "elu": functional.elu,
        "silu": functional.silu,
        "gelu": functional.gelu,
        "gelu_tanh": lambda v: functional.gelu(v, approximate="tanh"),
        "softplus": functional.softplus,
        "softsign": functional.softsign,
    }[net.activation.name]
    z = torch.tensor(x)
    for i in range(1, net.depth + 1):
        z = z @ p[f"W{i}"] + p[f"b{i}"]
        if i < net.depth:
            z = act(z)
            z = z if masks is None else z * torch.tensor(masks[i - 1])
    t = torch.tensor(indices)
    rows = functional.one_hot(t, z.shape[1]).double()
    loss = {
        "softmax": lambda: functional.cross_entropy(z, t),
        "sigmoid": lambda: functional.binary_cross_entropy_with_logits(
            z, rows, reduction="sum") / len(x),
        "identity": lambda: 0.5 * functional.mse_loss(z, rows, reduction="sum") / len(x),
        # Without the part that depends on t only: of a one-hot row, -1.
        "exp": lambda: functional.poisson_nll_loss(z, rows, reduction="sum") / len(x) - 1.0,
    }[net.output.name]()
    for i in range(1, net.depth + 1):
        loss = loss + 0.5 * l2 * (p[f"W{i}"] ** 2).sum()
    loss.backward()
    return loss.item(), {k: v.grad.numpy() for k, v in p.items()}


@pytest.mark.parametrize(("depth", "activation", "output", "form", "l2"), CASES)
def test_loss_and_gradient_against_autograd(lib, depth, activation, output, form, l2):
    """Any error in a forward, a loss or a backward, for every combination of them."""
    net = make(lib, SIZES[depth], activation=activation, output=output, l2=l2)
    _agrees(lib, net, form, l2)


def test_an_activation_of_your_own(lib):
    """A user's activation is used forward and backward as the built-in ones are."""
    _agrees(lib, make(lib, [5, 4, 3], activation=SOFTSIGN), "indices", 0.0)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, SOFTSIGN])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_dropout_against_autograd(lib, depth, activation):
    """A mask that misses forward or backward, is another layer's, or reaches the derivative."""
    net = make(lib, SIZES[depth], activation=activation, l2=0.1)
    x, indices, rows = batch()
    units = SIZES[depth][1:-1]
    kept = np.random.default_rng(3).random((len(x), sum(units))) < 0.7
    ends = np.cumsum(units)
    params = {k: lib.host(v) for k, v in net.params.items()}
    by_hand = [mask / 0.7 for mask in np.split(kept.astype(float), ends[:-1], axis=1)]
    value, slopes = torch_oracle(net, params, x, indices, 0.1, by_hand)
    masks = net._masks(lib.array(kept), 1 / 0.7)
    loss, gradient = net._backpropagate(net.params, lib.array(x), lib.array(rows), masks=masks)
    np.testing.assert_allclose(lib.host(loss), value, rtol=1e-12)
    for key, slope in slopes.items():
        np.testing.assert_allclose(
            lib.host(gradient[key]), slope, rtol=1e-12, atol=1e-12 * np.abs(slope).max(),
            err_msg=key,
        )  # fmt: skip


def _agrees(lib, net, form, l2):
    x, indices, rows = batch()
    t = lib.array(indices if form == "indices" else rows)
    params = {k: lib.host(v) for k, v in net.params.items()}
    value, slopes = torch_oracle(net, params, x, indices, l2)
    loss, gradient = net.loss_and_gradient(lib.array(x), t)
    np.testing.assert_allclose(lib.host(loss), value, rtol=1e-12)
    np.testing.assert_allclose(lib.host(net.loss(lib.array(x), t)), value, rtol=1e-12)
    assert sorted(gradient) == sorted(net.params)
    for key, slope in slopes.items():
        scale = np.abs(slope).max()
        np.testing.assert_allclose(
            lib.host(gradient[key]), slope, rtol=1e-12, atol=1e-12 * scale, err_msg=key
        )
        assert gradient[key].dtype == net.placement.dtype


@pytest.mark.parametrize("output", OUTPUTS)
def test_scale_is_the_gradient_times_it(lib, output):
    """The optimizers fold their learning rate in here; L2 must be scaled with the rest."""
    net = make(lib, [5, 4, 3], output=output, l2=0.1)
    x, _, rows = batch()
    x, rows = lib.array(x), lib.array(rows)
    _, gradient = net._backpropagate(net.params, x, rows)
    _, scaled = net._backpropagate(net.params, x, rows, 0.25)
    for key in gradient:
        np.testing.assert_allclose(
            lib.host(scaled[key]), 0.25 * lib.host(gradient[key]), rtol=1e-13, atol=1e-17
        )


def test_elementwise_numerical_gradient(lib):
    """The plain loop, against backpropagation."""
    net = make(lib, [5, 4, 3], l2=0.1)
    x, indices, _ = batch()
    x, t = lib.array(x), lib.array(indices)
    gradient = net.gradient(x, t)
    numerical = net.numerical_gradient(x, t, method="elementwise")
    for key, g in gradient.items():
        np.testing.assert_allclose(lib.host(numerical[key]), lib.host(g), rtol=1e-6, atol=1e-9)
    with pytest.raises(ValueError, match="unknown method 'exact'; known are"):
        net.numerical_gradient(x, t, method="exact")
    with pytest.raises(ValueError, match="step must be finite and above 0, not -1"):
        net.numerical_gradient(x, t, step=-1)


def test_a_gradient_of_zeros_is_one(lib):
    """The warning that f ignores its argument, where a net is at rest."""
    net = MLP([2, 1], output="identity", weight_init=0.0, dtype="float64", **lib.kwargs)
    x, t = lib.array(np.zeros((1, 2))), lib.array(np.zeros((1, 1)))
    for g in net.numerical_gradient(x, t, method="elementwise").values():
        assert not lib.host(g).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_live_where_the_net_lives(lib, dtype):
    """Namespace, device and dtype of every result are the net's."""
    net = make(lib, [5, 4, 3], dtype=dtype)
    x, indices, _ = batch()
    x, t = lib.array(x, dtype), lib.array(indices)
    results = [net.predict(x), net.loss(x, t), net.accuracy(x, t), *net.gradient(x, t).values()]
    for result in results:
        net.placement._check(result, "result")
        assert result.dtype == net.placement.dtype


def test_prediction_and_accuracy(lib):
    """Arg-max for softmax, all labels for sigmoid, and no accuracy for values."""
    x, indices, rows = batch(n=40)
    for output in ("softmax", "sigmoid"):
        net = make(lib, [5, 4, 3], output=output)
        y = lib.host(net.predict(lib.array(x)))
        assert y.shape == (40, 3)
        if output == "softmax":
            np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-14)
            expected = np.mean(y.argmax(axis=1) == indices)
        else:
            expected = np.mean(((y > 0.5) == (rows > 0.5)).all(axis=1))
        for t in (indices, rows):
            got = lib.host(net.accuracy(lib.array(x), lib.array(t)))
            np.testing.assert_allclose(got, expected)
    net = make(lib, [5, 3], output="identity")
    with pytest.raises(ValueError, match="output 'identity' predicts values"):
        net.accuracy(lib.array(x), lib.array(rows))


def test_many_rows_in_pieces(lib, monkeypatch):
    """Prediction in pieces is prediction."""
    net = make(lib, [5, 4, 3])
    x, indices, _ = batch(n=23)
    x, t = lib.array(x), lib.array(indices)
    whole = lib.host(net.predict(x)), float(lib.host(net.loss(x, t)))
    monkeypatch.setattr("xpnet.network.net.CHUNK_BYTES", 300)
    np.testing.assert_allclose(lib.host(net.predict(x)), whole[0], rtol=1e-14)
    np.testing.assert_allclose(lib.host(net.loss(x, t)), whole[1], rtol=1e-14)


def test_a_single_output_takes_a_vector(lib):
    """Regression and yes-or-no targets of shape (n,), integers included."""
    x, indices, _ = batch(classes=2)
    for output in ("identity", "sigmoid"):
        net = make(lib, [5, 4, 1], output=output)
        losses = [
            float(lib.host(net.loss(lib.array(x), lib.array(t))))
            for t in (indices, indices.astype(float), indices[:, None])
        ]
        assert losses[0] == losses[1] == losses[2]


def test_same_seed_same_weights(lib):
    """The same draws everywhere, up to rounding to the dtype; no seed, no repetition."""
    net = MLP([5, 4, 3], seed=3, **lib.kwargs)
    host = MLP([5, 4, 3], seed=3)
    for key, p in net.params.items():
        np.testing.assert_array_equal(lib.host(p), host.params[key])
    a, b = MLP([5, 4, 3], **lib.kwargs), MLP([5, 4, 3], **lib.kwargs)
    assert np.any(lib.host(a.params["W1"]) != lib.host(b.params["W1"]))


def test_initial_weights():
    """Standard deviations of the rules, zeros in the biases."""
    deviations = {"xavier": (2 / 700) ** 0.5, "he": (2 / 300) ** 0.5, 0.03: 0.03}
    for rule, deviation in deviations.items():
        net = MLP([300, 400], weight_init=rule, seed=0)
        assert abs(np.std(net.params["W1"]) / deviation - 1) < 0.01, rule
        assert not net.params["b1"].any()
    net = TwoLayerNet(300, 400, 2, 0.5, seed=0)
    assert isinstance(net, MLP)
    assert list(net.params) == ["W1", "b1", "W2", "b2"]
    assert abs(np.std(net.params["W1"]) / 0.5 - 1) < 0.01


def test_to_copies(lib):
    """A copy elsewhere predicts the same and shares nothing."""
    net = make(lib, [5, 4, 3], activation="relu", l2=0.1)
    x, _, _ = batch()
    there = net.to("numpy")
    assert there.placement.backend.name == "numpy"
    assert there.activation is net.activation
    np.testing.assert_allclose(there.predict(x), lib.host(net.predict(lib.array(x))), rtol=1e-12)
    narrow = net.to(dtype="float32")
    assert narrow.placement.device == net.placement.device
    back = there.to(**lib.kwargs)
    back.params["W1"] += 1.0
    np.testing.assert_array_equal(there.params["W1"], lib.host(net.params["W1"]))


def test_repr(lib):
    text = repr(MLP([784, 100, 10], activation="relu", l2=0.5, **lib.kwargs))
    assert "784-100-10, relu, softmax, l2=0.5: 79,510 parameters, float32" in text


# --- bad input -------------------------------------------------------------------------------

METHODS = ["predict", "loss", "accuracy", "gradient", "loss_and_gradient", "numerical_gradient"]


def call(net, method, x, t):
    return getattr(net, method)(x) if method == "predict" else getattr(net, method)(x, t)


@pytest.mark.parametrize("method", METHODS)
def test_bad_x(lib, method):
    """Refused with the argument's name, what was expected and what came."""
    net = make(lib, [5, 4, 3])
    x, indices, _ = batch()
    t = lib.array(indices)
    for bad, error, message in [
        (x.tolist(), TypeError, "x is a list, not an array; expected .* arrays on"),
        (lib.array(x[:, :4]), ValueError, r"x must have shape \(n, 5\), not \(7, 4\)"),
        (lib.array(x[0]), ValueError, r"x must have shape \(n, 5\), not \(5,\)"),
        (lib.array(x[:0]), ValueError, "x is an empty batch"),
        (lib.array(np.zeros((7, 5), "uint8")), TypeError, r"x has dtype .*uint8.*scale images"),
    ]:
        with pytest.raises(error, match=message):
            call(net, method, bad, t)
    if lib.kwargs["xp"] != "numpy":
        with pytest.raises(TypeError, match="x is an array of numpy; expected"):
            call(net, method, x, t)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(lib, value):
    """An error where looking is free; NaN, never a plausible number, where it is not."""
    net = make(lib, [5, 4, 3], activation="relu")
    x, indices, _ = batch()
    x[2, 3] = value
    x, t = lib.array(x), lib.array(indices)
    for method in ("predict", "loss", "accuracy", "gradient"):
        if lib.readable:
            with pytest.raises(ValueError, match="x has values that are not finite"):
                call(net, method, x, t)
        elif np.isnan(value):
            result = call(net, method, x, t)
            result = result["W1"] if isinstance(result, dict) else result
            assert np.isnan(lib.host(result)).any(), method


@pytest.mark.parametrize("method", METHODS[1:])
def test_bad_t(lib, method):
    """Labels of the wrong form."""
    net = make(lib, [5, 4, 3])
    x, indices, rows = batch()
    x = lib.array(x)
    form = r"t must be class indices \(integers\) of shape \(7,\) or rows of shape \(7, 3\)"
    for bad, error, message in [
        (indices.tolist(), TypeError, "t is a list, not an array"),
        (lib.array(indices[:6]), ValueError, form),
        (lib.array(indices.astype(float)), ValueError, form),
        (lib.array(rows[:, :2]), ValueError, form),
        (lib.array(rows[:, :, None]), ValueError, form),
        (lib.array(0), ValueError, form),
    ]:
        with pytest.raises(error, match=message):
            call(net, method, x, bad)


@pytest.mark.parametrize(("output", "form", "value", "message"), [
    ("softmax", "indices", -1, "t has the label -1; expected 0 to 2"),
    ("softmax", "indices", 3, "t has the label 3; expected 0 to 2"),
    ("identity", "indices", 3, "t has the label 3; expected 0 to 2"),
    ("softmax", "rows", 2.0, r"t has wrong values; .*in \[0, 1\], each row with the sum 1"),
    ("softmax", "rows", np.nan, "t has wrong values"),
    ("sigmoid", "rows", 1.5, r"t has wrong values; expected finite numbers in \[0, 1\]"),
    ("sigmoid", "rows", -0.5, "t has wrong values"),
    ("identity", "rows", np.nan, "t has wrong values; expected finite numbers for output"),
    ("exp", "rows", -1.0, r"t has wrong values; expected finite numbers in \[0, inf\]"),
    ("exp", "rows", np.nan, "t has wrong values"),
])
def test_wrong_labels(lib, output, form, value, message):
    """An error where looking is free; NaN, never a plausible number, where it is not."""
    net = make(lib, [5, 4, 3], output=output)
    x, indices, rows = batch()
    t = indices.copy() if form == "indices" else rows.copy()
    t[(4,) if form == "indices" else (4, int(indices[4]))] = value
    x, t = lib.array(x), lib.array(t)
    for method in ("loss", "accuracy", "gradient"):
        if method == "accuracy" and not OUTPUTS[output].correct:
            continue
        if lib.readable:
            with pytest.raises(ValueError, match=message):
                call(net, method, x, t)
        else:
            result = call(net, method, x, t)
            result = result["W1"] if isinstance(result, dict) else result
            assert np.isnan(lib.host(result)).any(), method
    with pytest.raises(ValueError, match=message):
        xpnet.fit(net, x, t, steps=1, batch_size=2)


@pytest.mark.sessions("strict")
def test_device_of_arrays():
    """Arrays on another device of the same library."""
    strict = pytest.importorskip("array_api_strict", reason="the devices are virtual")
    net = MLP([2, 2], xp=strict, device="device1")
    with pytest.raises(TypeError, match=r"x is on device .*device2.*expected .*device1"):
        net.predict(strict.zeros((1, 2), dtype=strict.float32, device=strict.Device("device2")))


def test_float64_data_in_a_float32_net(lib):
    """Floats are converted to the net's dtype, which decides."""
    net = make(lib, [5, 4, 3], dtype="float32")
    x, indices, _ = batch()
    loss = net.loss(lib.array(x), lib.array(indices))
    assert loss.dtype == lib.xp.float32
    assert float(lib.host(loss)) == float(
        lib.host(net.loss(lib.array(x, "float32"), lib.array(indices)))
    )


@pytest.mark.parametrize(("kwargs", "error", "message"), [
    ({"layer_sizes": [3]}, ValueError, r"layer_sizes needs at least inputs and outputs, not \[3\]"),
    ({"layer_sizes": [3, 0, 2]}, ValueError, "entry of layer_sizes must be at least 1, not 0"),
    ({"layer_sizes": [3, -1]}, ValueError, "entry of layer_sizes must be at least 1, not -1"),
    ({"layer_sizes": [3, 2.5]}, TypeError, "must be a whole number, not float"),
    ({"layer_sizes": 3}, TypeError, "layer_sizes must be a sequence of integers, not int"),
    ({"activation": "mish"}, ValueError, "unknown activation 'mish'; known are 'sigmoid', 'relu'"),
    ({"activation": 3}, TypeError, "activation must be one of 'sigmoid', .*, not int"),
    ({"output": "linear"}, ValueError, "unknown output 'linear'; known are 'softmax', 'sigmoid'"),
    ({"weight_init": "lecun"}, ValueError, "unknown weight_init 'lecun'; known are 'xavier', 'he'"),
    ({"weight_init": -1}, ValueError, "weight_init must be finite and at least 0, not -1"),
    ({"l2": -0.1}, ValueError, "l2 must be finite and at least 0, not -0.1"),
    ({"l2": float("nan")}, ValueError, "l2 must be finite"),
    ({"l2": "much"}, TypeError, "l2 must be a number, not str"),
    ({"dtype": "float16"}, ValueError, "dtype must be 'float32' or 'float64', not 'float16'"),
])
def test_bad_construction(kwargs, error, message):
    with pytest.raises(error, match=message):
        MLP(**{"layer_sizes": [3, 2], **kwargs})
    if "weight_init" not in kwargs:
        return
    with pytest.raises((ValueError, TypeError), match="weight_init_std must be"):
        TwoLayerNet(3, 2, 2, weight_init_std=kwargs["weight_init"])


def test_large_values_warn_nowhere(lib):
    """A saturated unit is no reason for a warning (warnings are errors here) nor for a NaN."""
    for activation in ("sigmoid", "tanh", "relu"):
        net = MLP([2, 3, 2], activation=activation, dtype="float32", seed=0, **lib.kwargs)
        x = lib.array(np.asarray([[-1e4, 1e4], [1e4, 1e4]], dtype="float32"))
        t = lib.array(np.asarray([0, 1]))
        for value in (net.predict(x), net.loss(x, t), *net.gradient(x, t).values(),
                      *net.numerical_gradient(x, t).values()):
            assert np.isfinite(lib.host(value)).all(), activation
