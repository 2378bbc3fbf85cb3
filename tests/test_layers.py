"""Layers, and nets made of them: an MLP is such a net, bit for bit; every layer is checked."""

import itertools
import json

import numpy as np
import pytest
from driven import fit

import xpnet
from xpnet import MLP, FileError, Network, check_gradient
from xpnet.functions import ACTIVATIONS, Activation
from xpnet.layers import (
    LAYERS,
    Affine,
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Elementwise,
    Flatten,
    Layer,
    MaxPool,
    Shift,
    layer_of,
)  # fmt: skip

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(60, 6)), RNG.integers(0, 3, 60)
THRICE = Activation("thrice", lambda x: 3.0 * x, lambda x, y: 0.0 * y + 3.0)

# For each kind of layer: a net that has it, and what the gradient check has to see of it.
NETS = {
    "Affine": [Affine(5), "tanh", Affine(3)],
    "Dropout": [Affine(8), "sigmoid", Dropout(0.4), Affine(7), Dropout(0.25), Affine(3)],
    **{name: [Affine(5), name, Affine(4), name, Affine(3)] for name in ACTIVATIONS},
    "mixed": [Affine(5), "tanh", Affine(4), "relu", Affine(3)],
    "two in a row": [Affine(5), "tanh", "sigmoid", Affine(4), Affine(3), "tanh"],
    "first": ["tanh", Affine(3)],
    "Convolution": [Convolution(3, 3, padding=1), "tanh", Convolution(2, (2, 3), stride=(1, 2)),
                    "tanh", Affine(3)],
    "MaxPool": [Convolution(2, 2), MaxPool(2), "tanh", Affine(3)],
    "AveragePool": [Convolution(2, 2), AveragePool(3, stride=1), "tanh", Affine(3)],
    "Shift": [Shift(1), Convolution(2, 2), "tanh", Affine(3)],
    "Flatten": [Convolution(2, 2), "tanh", Flatten(), Affine(3)],
    "BatchNorm": [Affine(5), BatchNorm(), "tanh", Affine(4), "tanh", BatchNorm(), Affine(3)],
    "a convolutional net": [
        BatchNorm(), Convolution(3, 2, padding=1), BatchNorm(), "relu", Dropout(0.2), MaxPool(2),
        Convolution(2, 2), "sigmoid", AveragePool((2, 1)), Affine(3)],
}  # fmt: skip
IMAGES = {"Shift", "Convolution", "MaxPool", "AveragePool", "Flatten", "a convolutional net"}


def shape_of(name):
    """Of a row of what a net takes: two channels of 5 × 4, or six numbers."""
    return (2, 5, 4) if name in IMAGES else (6,)


def rows_for(name, n=60):
    """Rows for a net."""
    return np.random.default_rng(7).normal(size=(n, *shape_of(name)))


def made(lib, layers, dtype="float64", input_shape=(6,), **options):
    net = Network(layers, input_shape=input_shape, dtype=dtype, seed=1, **lib.kwargs, **options)
    rng = np.random.default_rng(2)
    for key, p in net.params.items():  # biases other than 0, too
        net.params[key] = net._placed(lib.host(p) + 0.1 * rng.normal(size=p.shape))
    return net


def masks_of(net, lib, n):
    rng = np.random.default_rng(3)
    definition = net._definition
    shapes = [definition.outputs[i + 1] for i in definition.droppers]
    return [
        net.placement.floats((rng.random((n, *shape)) >= rate) / (1.0 - rate))
        for shape, rate in zip(shapes, definition.rates, strict=True)
    ]


def test_every_layer_is_here():
    """A layer without a gradient check on every backend."""
    assert {*LAYERS, *ACTIVATIONS} <= NETS.keys()
    for name, kind in LAYERS.items():
        layers = [layer_of(entry) for entry in NETS[name]]
        assert any(type(layer) is kind for layer in layers)
        assert issubclass(kind, Layer)


# Each row differences a net hundreds of times. JAX compiles every shape, and the others of these
# are the libraries that are tried in full in other clothes: they get a net with most of the layers.
DEAR, ENOUGH = {"jax", "strict-device1", "strict-flags"}, {"Affine", "a convolutional net"}


@pytest.fixture
def dear(lib, name):
    """A library on which each net costs; `--gradient-table full` tries all of them there too."""
    if lib.name in DEAR and not lib.full and name not in ENOUGH:
        pytest.skip("tried by the nightly session")
    return lib


@pytest.mark.parametrize("name", NETS)
def test_gradients_against_central_differences(dear, name):
    """A backward pass that does not belong to its forward pass, dropout's masks included."""
    lib = dear
    net = made(lib, NETS[name], l2=0.1, input_shape=shape_of(name))
    x, t = net._batch.checked(lib.array(rows_for(name, 9)), lib.array(T[:9]))
    masks = masks_of(net, lib, 9) if any(net._definition.rates) else None
    _, gradient = net._backpropagate(net.params, x, t, masks=masks)

    def loss(params):
        logits, _ = net._stack.forward(params, x, masks)
        return net._stack.with_l2(net.output.loss(logits, t)[0], params)

    # A bias before a normalization has the gradient 0, and differences show rounding.
    report = check_gradient(loss, gradient, net.params, atol=1e-9)
    assert report.ok, str(report)
    wrong = {**gradient, "W1": 1.01 * gradient["W1"]}
    assert not check_gradient(loss, wrong, net.params).ok


@pytest.mark.parametrize("name", NETS)
def test_the_check_of_a_net(dear, name):
    """A net that is no perceptron is checked all the same, without dropout."""
    lib = dear
    net = made(lib, NETS[name], input_shape=shape_of(name))
    x, t = lib.array(rows_for(name, 9)), lib.array(T[:9])
    report = net.check_gradient(x, t)
    assert report.ok, str(report)
    assert [*report.parameters] == [*net.params]
    wrong = net.check_gradient(x, t, gradient={k: -g for k, g in net.gradient(x, t).items()})
    assert wrong.verdict == "failed"
    assert wrong.causes
    plain = net.numerical_gradient(x, t, method="elementwise")
    for key, g in net.gradient(x, t).items():
        np.testing.assert_allclose(lib.host(plain[key]), lib.host(g), rtol=1e-6, atol=1e-8)
    found = net.numerical_gradient(x, t)
    for key, g in net.gradient(x, t).items():
        np.testing.assert_allclose(lib.host(found[key]), lib.host(g), rtol=1e-6, atol=1e-8)
    if not net._stack.is_perceptron:
        refusal = "gradient='numerical' is for affine layers|dropout needs gradient='backprop'"
        with pytest.raises(ValueError, match=refusal):
            xpnet.fit(net, x, t, steps=1, batch_size=9, gradient="numerical")


@pytest.mark.parametrize(
    ("layers", "begins"),
    [
        ([Affine(5), "relu", Affine(3)], 0),
        ([Dropout(0.2), Affine(5), "relu", Dropout(0.5), Affine(3)], 1),
        (["relu", Affine(5), "relu", Affine(3)], 1),
        ([Affine(5), "relu", "tanh", Affine(3)], 3),
        ([Affine(5), Affine(4), "relu", Affine(3)], 1),
        ([Affine(5), BatchNorm(), "relu", Affine(4), "relu", Affine(3)], 3),
        ([Affine(5), "relu", Affine(3), "relu"], 4),
    ],
    ids=["all", "dropout", "activation first", "two", "none between", "batch norm", "no logits"],
)
def test_where_the_perceptron_begins(layers, begins):
    """What is differenced by its structure, though it has another one."""
    net = Network(layers, input_shape=(6,), dtype="float64", seed=0)
    assert net._stack.perceptron == begins
    assert net._stack.is_perceptron == (begins == 0 or layers[0] == Dropout(0.2))
    # Biases off 0, and few rows: no kink is near.
    net.params = {key: p + 0.1 * np.cos(np.arange(p.size).reshape(p.shape))
                  for key, p in net.params.items()}  # fmt: skip
    found, g = net.numerical_gradient(X[:5], T[:5]), net.gradient(X[:5], T[:5])
    assert [*found] == [*net.params]
    for key in g:
        np.testing.assert_allclose(found[key], g[key], rtol=1e-6, atol=1e-8)


def test_a_convolutional_net_of_full_size():
    """Hundreds of thousands of parameters behind a convolution, moved one by one: for hours."""
    layers = [Convolution(30, 5), "relu", MaxPool(2), Affine(100), "relu", Affine(10)]
    net = Network(layers, input_shape=(1, 28, 28), l2=0.01, dtype="float64", seed=0)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(3, 1, 28, 28)), np.asarray([3, 1, 4])
    for key in ("b1", "b2"):  # at 0 an empty window is at a kink
        net.params[key] += rng.normal(size=net.params[key].shape)
    report = net.check_gradient(x, t)
    assert report.ok, str(report)
    assert report.parameters["W2"].checked == 4320 * 100
    g = net.gradient(x, t)
    g["W2"][17, 23] *= 1.5
    wrong = net.check_gradient(x, t, gradient=g)
    assert wrong.parameters["W2"].failed == 1
    assert sum(row.failed for row in wrong.parameters.values()) == 1


@pytest.mark.sessions("jax")  # which has Torch too
@pytest.mark.parametrize(
    ("dtype", "options", "bound"),
    [
        ("float32", {"optimizer": "sgd", "learning_rate": 0.01}, 1e-3),
        ("float64", {"optimizer": "adam", "learning_rate": 0.001, "batch_size": 20}, 1e-9),
    ],
    ids=["float32", "float64"],
)
def test_the_same_losses_of_a_convolutional_net(dtype, options, bound, tell):
    """SimpleConvNet over 500 steps: a library that convolves or pools otherwise."""
    kinds = (Convolution, 30, 5), (Affine, 100), (Affine, 10)
    first, second, last = (kind(*sizes, weight_init=0.01) for kind, *sizes in kinds)
    layers = [first, "relu", MaxPool(2), second, "relu", last]
    losses = {}
    for xp in ("numpy", "torch", "jax"):
        (x, t), _ = xpnet.load_mnist(flatten=False, xp=xp, dtype=dtype)
        net = Network(layers, input_shape=(1, 28, 28), seed=0, xp=xp, dtype=dtype)
        history = xpnet.fit(net, x[:5000, None, :, :], t[:5000], steps=500, **options)
        losses[xp] = history.loss
    for xp in ("torch", "jax"):
        difference = np.max(np.abs(losses[xp] / losses["numpy"] - 1.0))
        tell(f"{dtype}, 500 steps of SimpleConvNet, {xp} beside NumPy: {difference:.1e}")
        assert difference <= bound


@pytest.mark.parametrize("sizes", [(6, 3), (6, 5, 3), (6, 5, 4, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_mlp_is_such_a_net(lib, sizes, activation):
    """The same bits: weights, predictions, gradients, what they have after training."""
    layers = [entry for units in sizes[1:] for entry in (Affine(units), activation)][:-1]
    words = {"l2": 0.01, "dtype": "float32", "seed": 4, **lib.kwargs}
    net = Network(layers, input_shape=sizes[:1], **words)
    nets = net, MLP(sizes, activation=activation, **words)
    x, t = lib.array(X, "float32"), lib.array(T)
    for _ in range(2):
        one, other = ([net.predict(x), *net.params.values()] for net in nets)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(lib.host(a), lib.host(b))
        for net in nets:
            xpnet.fit(net, x, t, steps=30, batch_size=10, optimizer="adam", dropout=0.3)


def test_dropout_layers_train(lib):
    """Rates of their own: each drops its share; a run goes on where it was."""
    net = made(lib, NETS["Dropout"])
    masks = []
    right = net._stack.forward

    class Watched(type(net._stack)):
        def forward(self, params, x, given=None):
            if given is not None:
                masks.append([lib.host(m) for m in given])
            return right(params, x, given)

    if lib.name.startswith("numpy"):  # elsewhere steps are compiled, or hand out views
        net._stack = Watched(net._definition)
    history = fit(net, lib.array(X), lib.array(T), steps=200, batch_size=30, block_steps=7)
    assert history.loss[-20:].mean() < history.loss[:20].mean()
    for i, rate in enumerate((0.4, 0.25)):
        drawn = np.concatenate([step[i] for step in masks]) if masks else np.empty(0)
        if drawn.size:
            assert abs(np.mean(drawn == 0) - rate) < 0.02
            np.testing.assert_allclose(drawn[drawn > 0], 1 / (1 - rate), rtol=1e-4)


def test_a_run_with_dropout_layers_is_resumed(tmp_path):
    """Masks drawn anew would make of a resumed run another one."""
    nets = [Network(NETS["Dropout"], input_shape=(6,), seed=0) for _ in range(2)]
    x = X.astype("float32")
    xpnet.fit(nets[0], x, T, steps=60, batch_size=10)
    for steps in (20, 60):
        again = Network(NETS["Dropout"], input_shape=(6,), seed=0) if steps == 60 else nets[1]
        checkpoint = xpnet.Checkpoint(tmp_path / "kept", every=20, resume=steps == 60)
        xpnet.fit(again, x, T, steps=steps, batch_size=10, checkpoint=checkpoint)
    for key, p in nets[0].params.items():
        np.testing.assert_array_equal(again.params[key], p)


@pytest.mark.parametrize(("layers", "dropped"), [
    ([Affine(5), "tanh", Affine(3), "sigmoid"], [5]), (["tanh", Affine(3)], [6]),
    ([Affine(3), "relu"], []), ([Dropout(0.5), "tanh", Affine(3)], [6]),
])  # fmt: skip
def test_what_is_dropped(layers, dropped):
    """Logits are not the outputs of a hidden layer: a class would be left out by chance."""
    net = Network(layers, input_shape=(6,), seed=0)
    assert net._definition.dropped == dropped
    dropout = 0.0 if any(net._definition.rates) else 0.5
    xpnet.fit(net, X.astype("float32"), T, steps=3, batch_size=10, dropout=dropout)


def test_dropout_of_images(lib):
    """Masks have the shape of what they are for."""
    net = Network([Dropout(0.5), Affine(3)], input_shape=(3, 2, 1), seed=0, **lib.kwargs)
    x, t = lib.array(X.reshape(60, 3, 2, 1), "float32"), lib.array(X.argmax(axis=1) % 3)
    history = xpnet.fit(net, x, t, steps=200, batch_size=20, learning_rate=0.5)
    assert history.loss[-20:].mean() < history.loss[:20].mean()


def test_dropout_is_said_once():
    """Two rates for one number: which one holds?"""
    net = Network(NETS["Dropout"], input_shape=(6,), seed=0)
    with pytest.raises(ValueError, match="dropout is for nets without Dropout layers"):
        xpnet.fit(net, X.astype("float32"), T, steps=1, batch_size=10, dropout=0.5)


def test_images_are_flattened(lib):
    """An affine layer takes what comes, and hands the gradient back in its shape."""
    images = X[:, :, None, None].reshape(60, 3, 2, 1)
    layers = [Affine(5), "tanh", Affine(3)]
    flat = Network(layers, input_shape=(6,), dtype="float64", seed=0, **lib.kwargs)
    net = Network(layers, input_shape=(3, 2, 1), dtype="float64", seed=0, **lib.kwargs)
    x = lib.array(images)
    np.testing.assert_array_equal(lib.host(net.predict(x)), lib.host(flat.predict(lib.array(X))))
    assert net.check_gradient(x, lib.array(T)).ok
    xpnet.fit(net, x, lib.array(T), steps=5, batch_size=10)
    with pytest.raises(ValueError, match=r"x must have shape \(n, 3, 2, 1\), not \(60, 6\)"):
        net.predict(lib.array(X))
    layer = Affine(4)
    p = {"W": lib.array(RNG.normal(size=(6, 4))), "b": lib.array(np.zeros(4))}
    y, kept = layer.forward(p, x)
    assert tuple(layer.pull(p, kept, y).shape) == (60, 3, 2, 1)


def test_names_of_parameters():
    """W1, b1 belong to the first layer that has weights, whatever stands between."""
    net = Network(["tanh", Affine(4), Dropout(0.5), "relu", Affine(3)], input_shape=(6,), seed=0)
    assert {key: p.shape for key, p in net.params.items()} == {
        "W1": (6, 4), "b1": (4,), "W2": (4, 3), "b2": (3,),
    }  # fmt: skip
    layers = [Convolution(2, (2, 3), padding=1), MaxPool(2), BatchNorm(momentum=0.5),
              Affine(3, weight_init=0.1)]  # fmt: skip
    assert str(Network(layers, input_shape=(1, 5, 5))._definition) == (
        "1×5×5, Convolution(2, (2, 3), padding=1), MaxPool(2, stride=2), BatchNorm(momentum=0.5), "
        "Affine(3, weight_init=0.1), softmax"
    )  # fmt: skip
    assert repr(net) == (
        "<Network 6, tanh, Affine(4), Dropout(0.5), relu, Affine(3), softmax: 43 parameters, "
        "float32, numpy on cpu>"
    )


@pytest.mark.parametrize("name", NETS)
def test_files(tmp_path, lib, name):
    """What a file brings back is another net."""
    words = {"l2": 0.25, "output": "sigmoid", "dtype": "float32", "input_shape": shape_of(name)}
    net = made(lib, NETS[name], **words)
    x = lib.array(rows_for(name), "float32")
    xpnet.fit(net, x, lib.array(RNG.integers(0, 2, (60, 3))), steps=3, batch_size=20)
    net.save(tmp_path / "net")
    again = xpnet.load(tmp_path / "net", **lib.kwargs)
    assert repr(again) == repr(net)
    assert again._description() == net._description()
    for key, s in net.state.items():
        np.testing.assert_array_equal(lib.host(again.state[key]), lib.host(s))
    np.testing.assert_array_equal(lib.host(again.predict(x)), lib.host(net.predict(x)))


def test_files_of_nets_with_what_is_the_users_own(tmp_path):
    """An activation is saved by its name; a layer of a class of the user's own cannot be."""
    net = Network([Affine(4), THRICE, Affine(3)], input_shape=(6,), seed=0)
    net.save(tmp_path / "net")
    with pytest.raises(FileError, match="its activation 'thrice' is not one of xpnet's"):
        xpnet.load(tmp_path / "net")
    again = xpnet.load(tmp_path / "net", activation=THRICE)
    x = X.astype("float32")
    np.testing.assert_array_equal(again.predict(x), net.predict(x))
    with pytest.raises(ValueError, match="was saved with 'thrice'"):
        xpnet.load(tmp_path / "net", activation=Activation("other", THRICE.forward, abs))

    class Mine(Affine):
        pass

    with pytest.raises(ValueError, match="a file cannot hold a layer of your own"):
        Network([Mine(3)], input_shape=(6,)).save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_layer_of_ones_own(lib):
    """Subclassing `Layer` is all that it takes to train, and to be checked."""

    class Scale(Layer):
        def shapes(self, inputs):
            return {"s": inputs}, inputs

        def first(self, inputs, rng):
            return {"s": np.ones(inputs)}

        def forward(self, p, x, mask=None):
            return x * p["s"], x

        def gradient(self, p, kept, d):
            return {"s": net.placement.xp.sum(d * kept, axis=0)}

        def pull(self, p, kept, d):
            return d * p["s"]

    net = made(lib, [Affine(4), Scale(), "tanh", Affine(3)])
    assert [*net.params] == ["W1", "b1", "s1", "W2", "b2"]
    x, t = lib.array(X), lib.array(T)
    assert net.check_gradient(x[:9, :], t[:9]).ok
    history = xpnet.fit(net, x, t, steps=100, batch_size=20)
    assert history.loss[-10:].mean() < history.loss[:10].mean()


@pytest.mark.parametrize(("layers", "words", "error", "text"), [
    ("relu", {}, TypeError, "layers must be a sequence of layers, not str"),
    (3, {}, TypeError, "layers must be a sequence of layers, not int"),
    ([3], {}, TypeError, "every entry of layers must be a layer of xpnet.layers, an activation"),
    (["mish", Affine(3)], {}, ValueError, "unknown activation 'mish'; known are 'sigmoid'"),
    ([], {}, ValueError, "layers must end in one that gives a row of numbers"),
    (["relu"], {}, ValueError, "layers must end in one that gives a row of numbers"),
    ([Affine(3)], {"input_shape": 6}, TypeError, "input_shape must be a sequence of integers"),
    ([Affine(3)], {"input_shape": ()}, ValueError, "input_shape needs at least one number"),
    ([Affine(3)], {"input_shape": (0,)}, ValueError, "every entry of input_shape must be at least"),
    ([Affine(3)], {"output": "argmax"}, ValueError, "unknown output 'argmax'"),
    ([Affine(3)], {"l2": -1}, ValueError, "l2 must be finite and at least 0"),
    ([Affine(3)], {"seed": -1}, ValueError, "seed must be at least 0"),
    ([Affine(4), Convolution(2, 3), Affine(3)], {}, ValueError,
     r"layers\[1\], Convolution\(2, 3\): it takes images .* rows of shape \(4,\)"),
    ([MaxPool(2), Affine(3)], {"input_shape": (5, 4)}, ValueError, r"layers\[0\], MaxPool.*images"),
    ([Convolution(2, 3), Convolution(2, (2, 4)), Affine(3)], {"input_shape": (1, 5, 5)}, ValueError,
     r"layers\[1\], Convolution\(.*: a window of 2×4 is larger than the image, 3×3$"),
    ([Convolution(2, 7, padding=(1, 0)), Affine(3)], {"input_shape": (1, 5, 5)}, ValueError,
     r"a window of 7×7 is larger than the image, 5×5 with 1×0 zeros around"),
    ([AveragePool(3), Affine(3)], {"input_shape": (1, 2, 9)}, ValueError,
     r"layers\[0\], AveragePool\(3, stride=3\): a window of 3×3 is larger"),
    ([BatchNorm(), Affine(3)], {"input_shape": (2, 3)}, ValueError,
     r"layers\[0\], BatchNorm.*: it takes rows or images, not an input of shape \(2, 3\)"),
    ([Convolution(2, 3), "relu"], {"input_shape": (1, 5, 5)}, ValueError,
     r"layers must end in one that gives a row of numbers.* an output of shape \(n, 2, 3, 3\)"),
])  # fmt: skip
def test_bad_nets(layers, words, error, text):
    """A net that fails at its first batch, with an error of NumPy's."""
    with pytest.raises(error, match=text):
        Network(layers, **{"input_shape": (6,), **words})


@pytest.mark.parametrize(("make", "value", "error"), [
    *((Affine, v, ValueError) for v in (0, -1)),
    *((Affine, v, TypeError) for v in (1.5, "3", None)),
    *((Dropout, v, ValueError) for v in (1.0, -0.1, np.nan)), (Dropout, "x", TypeError),
    *((lambda v: Affine(3, weight_init=v), v, e)
      for v, e in (("glorot", ValueError), (-1.0, ValueError), (None, TypeError))),
    *((lambda v: Convolution(v, 3), v, e) for v, e in ((0, ValueError), (1.5, TypeError))),
    *((kind, v, e) for kind in (MaxPool, AveragePool, lambda v: Convolution(2, v))
      for v, e in ((0, ValueError), ("3", TypeError), ((2, 0), ValueError), ((2, 2, 2), ValueError),
                   (None, TypeError), (True, TypeError))),
    *((lambda v: MaxPool(2, stride=v), v, e) for v, e in ((0, ValueError), (2.0, TypeError))),
    *((lambda v: Convolution(2, 3, stride=v), v, e)
      for v, e in ((0, ValueError), ("1", TypeError))),
    *((lambda v: Convolution(2, 3, padding=v), v, e)
      for v, e in ((-1, ValueError), (0.5, TypeError))),
    (lambda v: Convolution(2, 3, weight_init=v), "glorot", ValueError),
    *((lambda v: BatchNorm(momentum=v), v, e) for v, e in ((1.0, ValueError), ("0", TypeError))),
    *((lambda v: BatchNorm(epsilon=v), v, e) for v, e in ((0.0, ValueError), (None, TypeError))),
])  # fmt: skip
def test_bad_layers(make, value, error):
    """A layer that no net can be made of."""
    names = r"units|rate|weight_init|filters|size|stride|padding|momentum|epsilon"
    with pytest.raises(error, match=names):
        make(value)


@pytest.mark.parametrize(("make", "same"), [
    (lambda: Convolution(np.int64(3), [5, 5], stride=(2, 2)), Convolution(3, 5, stride=2)),
    (lambda: MaxPool((2, 2)), MaxPool(2, stride=2)), (lambda: MaxPool([2, 3]), MaxPool((2, 3))),
])  # fmt: skip
def test_sizes_are_written_in_one_way(make, same):
    """Two layers that are the same, and yet not equal; or that JSON cannot hold."""
    assert make() == same
    assert json.loads(json.dumps(vars(make()))) == json.loads(json.dumps(vars(same)))


def test_a_batch_of_one_row():
    """A deviation of one number is 0, and all that is learned of it is the shift."""
    net = Network([Affine(4), BatchNorm(), "relu", Affine(3)], input_shape=(6,), seed=0)
    x, text = X.astype("float32"), r"layers\[1\], BatchNorm\(.*\), needs at least 2 while training"
    for call in (net.loss, net.gradient, net.check_gradient, net.numerical_gradient):
        with pytest.raises(ValueError, match="a batch of 1 row: " + text):
            call(x[:1], T[:1])
    with pytest.raises(ValueError, match="the batch_size makes a batch of 1 row: " + text):
        xpnet.fit(net, x, T, steps=1, batch_size=1)
    assert net.predict(x[:1]).shape == (1, 3)
    assert net.loss(x[:1], T[:1], training=False) > 0.0
    images = Network([BatchNorm(), Affine(3)], input_shape=(2, 5, 4), seed=0)
    xpnet.fit(images, rows_for("MaxPool").astype("float32"), T, steps=3, batch_size=1)


def test_a_net_with_state(lib, tmp_path):
    """Running statistics that training leaves alone, a copy shares, or a resumed run forgets."""
    layers = NETS["a convolutional net"]
    words = {"input_shape": (2, 5, 4), "dtype": "float64", "seed": 0, **lib.kwargs}
    nets = [Network(layers, **words) for _ in range(3)]
    assert [*nets[0].state] == [f"{name}1{n}" for n in ("", "_2") for name in ("mean", "variance")]
    assert {"gamma1", "gamma1_2", "beta1", "beta1_2"} < {*nets[0].params}
    x, t = lib.array(rows_for("a convolutional net") + 3.0), lib.array(T)
    before = nets[0].to()
    history = xpnet.fit(nets[0], x, t, steps=60, batch_size=20)
    assert history.loss[-10:].mean() < history.loss[:10].mean()
    np.testing.assert_allclose(lib.host(nets[0].state["mean1"]), [3.0, 3.0], atol=0.3)
    np.testing.assert_array_equal(lib.host(before.state["mean1"]), [0.0, 0.0])
    for steps in (20, 60):  # stopped, and resumed by a net that begins anew
        checkpoint = xpnet.Checkpoint(tmp_path / "kept", every=20, resume=steps == 60)
        xpnet.fit(nets[1 if steps == 20 else 2], x, t, steps=steps, batch_size=20,
                  checkpoint=checkpoint)  # fmt: skip
    for tree in ("params", "state"):
        for key, value in getattr(nets[0], tree).items():
            again = lib.host(getattr(nets[2], tree)[key])
            np.testing.assert_array_equal(again, lib.host(value), err_msg=key)
    # Prediction is by the running statistics: row by row, and in pieces, the same.
    whole = lib.host(nets[0].predict(x))
    alone = lib.host(nets[0].predict(x[7:8, ...]))
    np.testing.assert_allclose(alone, whole[7:8], rtol=1e-12)
    one, other = (float(lib.host(nets[0].loss(x, t, training=way))) for way in (True, False))
    assert one != other
    target = nets[0]._batch.target_rows(t)
    by_hand = nets[0].output.loss(nets[0]._logits(x), target)[0]
    assert other == float(lib.host(by_hand))


def test_validation_is_by_running_statistics():
    """A validation loss of the batch's own statistics says nothing of a prediction."""
    net = Network(NETS["BatchNorm"], input_shape=(6,), dtype="float64", seed=0)
    history = xpnet.fit(net, X, T, steps=9, batch_size=20, validation=(X[:7], T[:7]))
    assert history.validation_loss[-1] == float(net.loss(X[:7], T[:7], training=False))


def test_a_loss_that_is_no_number_takes_the_state_back():
    """Running statistics of a block that was not taken."""
    net = Network(NETS["BatchNorm"], input_shape=(6,), seed=0)
    before = {key: s.copy() for key, s in net.state.items()}
    with np.errstate(all="ignore"), pytest.raises(xpnet.NonFiniteLoss):
        xpnet.fit(net, X.astype("float32"), T, steps=50, batch_size=20, learning_rate=1e30)
    for key, s in before.items():
        np.testing.assert_array_equal(net.state[key], s)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float64", 1e-10)])
def test_the_same_losses_as_numpy(lib, dtype, tolerance):
    """A convolutional net that learns something else on another library."""
    losses = []
    for here in ({}, lib.kwargs):
        words = {"input_shape": (2, 5, 4), "dtype": dtype, "seed": 3, **here}
        net = Network(NETS["a convolutional net"], **words)
        place = xpnet.place(dtype=dtype, **here).floats
        x, t = place(rows_for("a convolutional net")), net.placement.asarray(T)
        options = {"optimizer": "adam", "learning_rate": 0.01, "batch_size": 15}
        losses.append(xpnet.fit(net, x, t, steps=50, **options).loss)
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)


def test_layers_are_values():
    """Two that say the same are the same; none can be changed behind a net's back."""
    assert Affine(3) == Affine(3) != Affine(4)
    assert Elementwise(ACTIVATIONS["relu"]) == layer_of("relu")
    for layer, name in itertools.product([Affine(3)], ["units", "weight_init"]):
        with pytest.raises(AttributeError):
            setattr(layer, name, 5)
