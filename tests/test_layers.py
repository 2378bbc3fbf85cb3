"""Layers, and nets made of them: an MLP is such a net, bit for bit; every layer is checked."""

import itertools

import numpy as np
import pytest
from driven import fit

import xpnet
from xpnet import MLP, FileError, Network, check_gradient
from xpnet.functions import ACTIVATIONS, Activation
from xpnet.layers import LAYERS, Affine, Dropout, Elementwise, Layer, layer_of

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
}


def made(lib, layers, dtype="float64", **options):
    net = Network(layers, input_shape=(6,), dtype=dtype, seed=1, **lib.kwargs, **options)
    rng = np.random.default_rng(2)
    for key, p in net.params.items():  # biases other than 0, too
        net.params[key] = net.placed(lib.host(p) + 0.1 * rng.normal(size=p.shape))
    return net


def masks_of(net, lib, n):
    rng = np.random.default_rng(3)
    definition = net.definition
    return [
        net.placement.floats((rng.random((n, units)) >= rate) / (1.0 - rate))
        for units, rate in zip(definition.dropped, definition.rates, strict=True)
    ]


def test_every_layer_is_here():
    """A layer without a gradient check on every backend."""
    assert {*LAYERS, *ACTIVATIONS} <= NETS.keys()
    for name, kind in LAYERS.items():
        layers = [layer_of(entry) for entry in NETS[name]]
        assert any(type(layer) is kind for layer in layers)
        assert issubclass(kind, Layer)


@pytest.mark.parametrize("name", NETS)
def test_gradients_against_central_differences(lib, name):
    """A backward pass that does not belong to its forward pass, dropout's masks included."""
    net = made(lib, NETS[name], l2=0.1)
    x, t = net.batch.checked(lib.array(X[:9]), lib.array(T[:9]))
    masks = masks_of(net, lib, 9) if any(net.definition.rates) else None
    _, gradient = net.backpropagate(net.params, x, t, masks=masks)

    def loss(params):
        logits, _ = net.stack.forward(params, x, masks)
        return net.stack.with_l2(net.output.loss(logits, t)[0], params)

    report = check_gradient(loss, gradient, net.params)
    assert report.ok, str(report)
    wrong = {**gradient, "W1": 1.01 * gradient["W1"]}
    assert not check_gradient(loss, wrong, net.params).ok


@pytest.mark.parametrize("name", NETS)
def test_the_check_of_a_net(lib, name):
    """A net that is no perceptron is checked all the same, without dropout."""
    net = made(lib, NETS[name])
    x, t = lib.array(X[:9]), lib.array(T[:9])
    assert net.check_gradient(x, t).ok
    assert net.check_gradient(x, t, gradient={k: -g for k, g in net.gradient(x, t).items()}).causes
    plain = net.numerical_gradient(x, t, method="elementwise")
    for key, g in net.gradient(x, t).items():
        np.testing.assert_allclose(lib.host(plain[key]), lib.host(g), rtol=1e-6, atol=1e-8)
    if net.stack.is_perceptron:
        found = net.numerical_gradient(x, t)
        for key, g in net.gradient(x, t).items():
            np.testing.assert_allclose(lib.host(found[key]), lib.host(g), rtol=1e-6, atol=1e-9)
    else:
        with pytest.raises(ValueError, match="method='structured' is for affine layers with one"):
            net.numerical_gradient(x, t)
        refusal = "gradient='numerical' is for affine layers|dropout needs gradient='backprop'"
        with pytest.raises(ValueError, match=refusal):
            xpnet.fit(net, x, t, steps=1, batch_size=9, gradient="numerical")


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
    right = net.stack.forward

    class Watched(type(net.stack)):
        def forward(self, params, x, given=None):
            if given is not None:
                masks.append([lib.host(m) for m in given])
            return right(params, x, given)

    if lib.name.startswith("numpy"):  # elsewhere steps are compiled, or hand out views
        net.stack = Watched(net.definition)
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
    assert net.definition.dropped == dropped
    dropout = 0.0 if any(net.definition.rates) else 0.5
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
    assert repr(net) == (
        "<Network 6, tanh, Affine(units=4, weight_init='xavier'), Dropout(rate=0.5), relu, "
        "Affine(units=3, weight_init='xavier'), softmax: 43 parameters, float32, numpy on cpu>"
    )


@pytest.mark.parametrize("name", NETS)
def test_files(tmp_path, lib, name):
    """What a file brings back is another net."""
    net = made(lib, NETS[name], l2=0.25, output="sigmoid", dtype="float32")
    net.save(tmp_path / "net")
    again = xpnet.load(tmp_path / "net", **lib.kwargs)
    assert repr(again) == repr(net)
    assert again.description() == net.description()
    x = lib.array(X, "float32")
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
    (["gelu", Affine(3)], {}, ValueError, "unknown activation 'gelu'; known are 'sigmoid'"),
    ([], {}, ValueError, "layers must end in one that gives a row of numbers"),
    (["relu"], {}, ValueError, "layers must end in one that gives a row of numbers"),
    ([Affine(3)], {"input_shape": 6}, TypeError, "input_shape must be a sequence of integers"),
    ([Affine(3)], {"input_shape": ()}, ValueError, "input_shape needs at least one number"),
    ([Affine(3)], {"input_shape": (0,)}, ValueError, "every entry of input_shape must be at least"),
    ([Affine(3)], {"output": "argmax"}, ValueError, "unknown output 'argmax'"),
    ([Affine(3)], {"l2": -1}, ValueError, "l2 must be finite and at least 0"),
    ([Affine(3)], {"seed": -1}, ValueError, "seed must be at least 0"),
])  # fmt: skip
def test_bad_nets(layers, words, error, text):
    """A net that fails at its first batch, with an error of NumPy's."""
    with pytest.raises(error, match=text):
        Network(layers, **{"input_shape": (6,), **words})


@pytest.mark.parametrize(("make", "value", "error"), [
    *((Affine, v, ValueError) for v in (0, -1)),
    *((Affine, v, TypeError) for v in (1.5, "3", None)),
    *((Dropout, v, ValueError) for v in (1.0, -0.1, np.nan)), (Dropout, "x", TypeError),
    (lambda v: Affine(3, v), "glorot", ValueError), (lambda v: Affine(3, v), -1.0, ValueError),
    (lambda v: Affine(3, v), None, TypeError),
])  # fmt: skip
def test_bad_layers(make, value, error):
    """A layer that no net can be made of."""
    with pytest.raises(error, match=r"units|rate|weight_init"):
        make(value)


def test_layers_are_values():
    """Two that say the same are the same; none can be changed behind a net's back."""
    assert Affine(3) == Affine(3) != Affine(4)
    assert Elementwise(ACTIVATIONS["relu"]) == layer_of("relu")
    for layer, name in itertools.product([Affine(3)], ["units", "weight_init"]):
        with pytest.raises(AttributeError):
            setattr(layer, name, 5)
