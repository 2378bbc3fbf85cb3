"""Each layer alone, forward and backward, against Torch's autograd in float64."""

import itertools

import numpy as np
import pytest

from xpnet.functions import ACTIVATIONS
from xpnet.layers import (
    LAYERS,
    Affine,
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Elementwise,
    Flatten,
    MaxPool,
    Shift,
)  # fmt: skip

RNG = np.random.default_rng(0)
PIECE = "xpnet.layers.windows.PIECE_BYTES"


def _convolution(torch, layer, x, p):
    f = torch.nn.functional
    return f.conv2d(x, p["W"], p["b"], stride=layer.stride, padding=layer.padding)


def _normalized(torch, layer, x, p):
    f = torch.nn.functional
    return f.batch_norm(x, None, None, p["gamma"], p["beta"], training=True, eps=layer.epsilon)


# What Torch makes of the same input, for each kind of layer.
TORCH = {
    "Affine": lambda torch, layer, x, p: x.flatten(1) @ p["W"] + p["b"],
    "Convolution": _convolution,
    "MaxPool": lambda torch, layer, x, p: torch.nn.functional.max_pool2d(
        x, layer.size, layer.stride),
    "AveragePool": lambda torch, layer, x, p: torch.nn.functional.avg_pool2d(
        x, layer.size, layer.stride),
    "Flatten": lambda torch, layer, x, p: x.flatten(1),
    "BatchNorm": _normalized,
    "Shift": lambda torch, layer, x, p: x,  # training moves what enters the net
    "Dropout": lambda torch, layer, x, p: x,
}  # fmt: skip

# Shapes: odd and even sizes, one channel, one row, one place, images that a window just covers.
IMAGES = [(7, 1, 6, 7), (1, 3, 5, 5), (4, 2, 9, 4), (2, 3, 3, 3)]
CASES = [
    *itertools.product([Affine(4), Flatten(), BatchNorm(), Dropout(0.5)], IMAGES),
    (Shift(1), IMAGES[0]),
    *itertools.product([Affine(4), BatchNorm(epsilon=0.1), Dropout(0.5)], [(7, 5), (2, 1)]),
    *(
        (Convolution(f, size, stride=stride, padding=padding), shape)
        for (f, size, stride, padding), shape in itertools.product(
            [(1, 1, 1, 0), (4, 3, 1, 0), (3, 3, 2, 1), (2, (2, 3), (3, 1), (0, 2)), (5, 2, 3, 4),
             (2, 3, (1, 2), (2, 0)), (2, 1, 2, 1)], IMAGES)
    ),
    *(
        (kind(size, stride=stride), shape)
        for kind, (size, stride), shape in itertools.product(
            (MaxPool, AveragePool),
            [(2, None), (3, 1), ((3, 2), (2, 1)), (1, 2), (2, 3), (3, None)], IMAGES)
    ),
]  # fmt: skip


def name_of(layer, shape):
    return f"{layer}, {'×'.join(map(str, shape))}"


def compared(lib, layer, shape, dtype, values=None):
    """Forward, gradient and pull of a layer, ours beside Torch's, as pairs by name."""
    torch = pytest.importorskip("torch", reason="the oracle is Torch")
    rng = np.random.default_rng(1)
    x = rng.normal(size=shape) if values is None else values
    p = {key: rng.normal(size=s) for key, s in layer.shapes(shape[1:])[0].items()}
    arrays = [torch.tensor(v, requires_grad=True) for v in (x, *p.values())]
    named = dict(zip(p, arrays[1:], strict=True))
    wanted = TORCH[type(layer).__name__](torch, layer, arrays[0], named)
    d = rng.normal(size=tuple(wanted.shape))
    gradients = torch.autograd.grad(wanted, arrays, torch.tensor(d), allow_unused=True)
    ours = {key: lib.array(v, dtype) for key, v in p.items()}
    y, kept = layer.forward(ours, lib.array(x, dtype))
    found = {**layer.gradient(ours, kept, lib.array(d, dtype))}
    found["x"] = layer.pull(ours, kept, lib.placement.asarray(np.array(d, dtype)))
    pairs = {"y": (y, wanted), "x": (found["x"], gradients[0])}
    pairs |= {key: (found[key], g) for key, g in zip(p, gradients[1:], strict=True)}
    return {key: (lib.host(a), b.detach().numpy()) for key, (a, b) in pairs.items()}


def test_every_kind_is_here():
    """A layer that nothing independent has looked at."""
    assert {type(layer).__name__ for layer, _ in CASES} == TORCH.keys() == LAYERS.keys()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("layer", "shape"), CASES, ids=itertools.starmap(name_of, CASES))
def test_against_autograd(lib, layer, shape, dtype):
    """A number that a window misses or sees twice, a stride or a border that is taken wrong."""
    if shape[0] == 1 and layer.least_rows(shape[1:]) > 1:
        return
    # Each new shape is compiled anew: a share of the cases there, all with --gradient-table full.
    if lib.name == "jax" and not lib.full and CASES.index((layer, shape)) % 5:
        return
    for key, (ours, theirs) in compared(lib, layer, shape, dtype).items():
        assert ours.dtype == dtype
        assert ours.shape == theirs.shape
        size = np.abs(theirs).max(initial=0.0)
        tolerance = {"float64": 1e-12, "float32": 2e-5}[dtype]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * size, err_msg=key)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_layers(lib, name):
    """The mask's factor, or none, and d times the derivative."""
    layer, x = Elementwise(ACTIVATIONS[name]), lib.array(RNG.normal(size=(3, 2, 2, 2)))
    y, kept = layer.forward({}, x)
    d = layer.pull({}, kept, lib.placement.asarray(np.ones((3, 2, 2, 2))))  # it may write to it
    h = 1e-6
    up, down = (lib.host(layer.forward({}, x + step)[0]) for step in (h, -h))
    np.testing.assert_allclose(lib.host(d), (up - down) / (2 * h), rtol=1e-6, atol=1e-9)
    assert tuple(y.shape) == (3, 2, 2, 2)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_ties_in_a_window(lib, size, stride):
    """All that are largest would get the gradient, or another than Torch's first."""
    values = np.random.default_rng(4).integers(0, 2, (3, 2, 7, 8)).astype(float)
    layer = MaxPool(size, stride=stride)
    pairs = compared(lib, layer, values.shape, "float64", values)
    for key, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_windows_in_pieces(lib, monkeypatch, rows):
    """Rows of places that a piece leaves out, or takes twice."""
    monkeypatch.setattr(PIECE, rows * 3 * 3 * 2 * 9 * 4 * 8)
    for padding, stride in ((1, 1), (0, 2)):
        layer = Convolution(3, 3, padding=padding, stride=stride)
        for key, (ours, theirs) in compared(lib, layer, (4, 2, 9, 9), "float64").items():
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=key)


def test_arguments_are_not_written_to(lib):
    """A caller's images that are others after a forward pass."""
    for layer, shape in CASES[::3]:
        x = np.random.default_rng(1).normal(size=shape)
        p = {key: np.ones(s) for key, s in layer.shapes(shape[1:])[0].items()}
        ours, given = {key: lib.array(v) for key, v in p.items()}, lib.array(x)
        s = {key: lib.array(v) for key, v in layer.first_state(shape[1:]).items()}
        layer.predict(ours, s, given)
        _, kept = layer.forward(ours, given)
        layer.gradient(ours, kept, given if layer.shapes(shape[1:])[1] == shape[1:] else lib.array(
            np.ones((shape[0], *layer.shapes(shape[1:])[1]))))  # fmt: skip
        np.testing.assert_array_equal(lib.host(given), x)
        for key, value in p.items():
            np.testing.assert_array_equal(lib.host(ours[key]), value)


@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4, 2)])
def test_running_statistics(lib, shape):
    """Prediction by statistics that are no mean of the batches', or move the wrong way."""
    layer, rng = BatchNorm(momentum=0.75, epsilon=1e-3), np.random.default_rng(2)
    axes = (0, *range(2, len(shape)))
    first = layer.first_state(shape[1:])
    state = {key: lib.placement.asarray(v) for key, v in first.items()}  # it is written to
    p = {"gamma": lib.array(rng.normal(size=3)), "beta": lib.array(rng.normal(size=3))}
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(size=shape) + 5.0
        _, kept = layer.forward(p, lib.array(x))
        layer.move(state, kept)
        mean = 0.75 * mean + 0.25 * x.mean(axis=axes)
        variance = 0.75 * variance + 0.25 * x.var(axis=axes)
    np.testing.assert_allclose(lib.host(state["mean"]), mean, rtol=1e-12)
    np.testing.assert_allclose(lib.host(state["variance"]), variance, rtol=1e-12)
    x = rng.normal(size=shape)
    turned = (slice(None), *(None for _ in shape[2:]))
    gamma, beta = (lib.host(p[key])[turned] for key in ("gamma", "beta"))
    wanted = (x - mean[turned]) / np.sqrt(variance[turned] + 1e-3) * gamma + beta
    found = lib.host(layer.predict(p, state, lib.array(x)))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)
