"""Saved nets: from every backend to every other, and what cannot be loaded."""

from __future__ import annotations

import json

import numpy as np
import pytest

import xpnet
from xpnet import MLP, FileError, TwoLayerNet
from xpnet.files import load_arrays, save_arrays
from xpnet.functions import ACTIVATIONS, Activation
from xpnet.losses import OUTPUTS

OWN = Activation("twice", lambda x: 2.0 * x, lambda x, y: 0.0 * x + 2.0)


def host_params(net):
    return {key: net.placement.to_host(p) for key, p in net.params.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# --- there and back --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_from_every_backend_to_every_other(lib, there, path, dtype):
    """A net that is trained on a GPU is used on a laptop: the same numbers, there too."""
    net = MLP([5, 7, 3], activation="tanh", seed=3, dtype=dtype, **lib.kwargs)
    net.save(path)
    found = xpnet.load(path, **there.kwargs)
    assert found.placement.backend.name == there.kwargs["xp"]
    assert found.placement.dtype_name == dtype
    before = host_params(net)
    for key, p in host_params(found).items():
        np.testing.assert_array_equal(p, before[key], strict=True)
    x = np.random.default_rng(0).normal(size=(4, 5)).astype(dtype)
    # Sums of up to 7 terms in another order, and a tanh and an exp that differ in their last bit.
    np.testing.assert_allclose(
        there.host(found.predict(there.array(x))),
        lib.host(net.predict(lib.array(x))),
        rtol=50 * np.finfo(dtype).eps,
    )


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("weight_init", ["he", 0.25])
def test_everything_that_makes_the_net(path, activation, output, weight_init):
    """A part of the description that is lost makes another net of the same parameters."""
    net = MLP([4, 5, 6, 2], activation=activation, output=output, weight_init=weight_init, l2=0.1)
    net.save(path)
    found = xpnet.load(path)
    assert type(found) is MLP
    assert repr(found) == repr(net)
    assert found._description() == net._description()
    x, t = np.ones((2, 4), np.float32), np.eye(2, dtype=np.float32)
    assert float(found.loss(x, t)) == float(net.loss(x, t))


def test_two_layer_net_stays_one(path):
    """`isinstance` of programs that were written for it."""
    TwoLayerNet(4, 3, 2, 0.5, seed=0, dtype="float64").save(path)
    found = xpnet.load(path)
    assert type(found) is TwoLayerNet
    assert found.weight_init == 0.5
    assert found.params["W1"].dtype == np.float64


def test_a_loaded_net_is_a_net(path):
    """It trains, copies and saves as any other; and shares nothing with the file."""
    MLP([3, 4, 2], seed=0).save(path)
    net = xpnet.load(path)
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    history = xpnet.fit(net, x, (x[:, 0] > 0).astype(np.int64), steps=200, batch_size=10)
    assert history.loss[-1] < history.loss[0]
    net.to(dtype="float64").save(path)
    again = xpnet.load(path)
    np.testing.assert_array_equal(again.params["W1"], net.params["W1"].astype(np.float64))


def test_training_goes_on_bit_for_bit(lib, path):
    """Another layout in memory would round otherwise: a saved net must train as the first does."""
    net = MLP([30, 40, 20, 3], activation="relu", weight_init="he", seed=0, **lib.kwargs)
    net.save(path)
    rng = np.random.default_rng(0)
    x = lib.array(rng.normal(size=(50, 30)), "float32")
    t = lib.array(rng.integers(0, 3, 50))
    losses = [
        xpnet.fit(each, x, t, steps=20, batch_size=25).loss
        for each in (net, xpnet.load(path, **lib.kwargs))
    ]
    np.testing.assert_array_equal(losses[0], losses[1])


def test_layouts_of_parameters(path):
    """Users put what they like into `params`: a transposed view is silently wrong elsewhere."""
    net = MLP([3, 4], seed=0)
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    net.params["W1"] = weights.T
    net.save(path)
    np.testing.assert_array_equal(xpnet.load(path).params["W1"], weights.T)
    net.params["W1"] = weights.T.astype(">f4")
    net.save(path)
    np.testing.assert_array_equal(xpnet.load(path).params["W1"], weights.T)


def test_parameters_that_are_not_finite(path):
    """A net that has diverged is what one wants to look at."""
    net = MLP([2, 2], seed=0)
    net.params["b1"][:] = [np.nan, -np.inf]
    net.save(path)
    np.testing.assert_array_equal(xpnet.load(path).params["b1"], net.params["b1"])


def test_a_subclass_is_saved_as_what_it_extends(path):
    """Its parameters must not be lost because the file cannot name its class."""

    class Mine(TwoLayerNet):
        pass

    Mine(2, 3, 2).save(path)
    assert type(xpnet.load(path)) is TwoLayerNet


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), 1])
def test_numbers_of_numpy_can_be_saved(path, number):
    """JSON knows Python's numbers only."""
    MLP([2, 2], weight_init=number, l2=number).save(path)
    assert xpnet.load(path).l2 == number


# --- an activation of one's own --------------------------------------------------------------


def test_an_activation_of_your_own_is_given_again(path):
    """A file holds no code: the function comes from the program."""
    net = MLP([3, 4, 2], activation=OWN, seed=0)
    net.save(path)
    with pytest.raises(FileError, match=r"activation 'twice' is not one .*give activation="):
        xpnet.load(path)
    x = np.ones((2, 3), np.float32)
    found = xpnet.load(path, activation=OWN)
    np.testing.assert_array_equal(found.predict(x), net.predict(x))
    other = Activation("thrice", OWN.forward, OWN.derivative)
    with pytest.raises(ValueError, match=r"activation is 'thrice'; .*saved with 'twice'"):
        xpnet.load(path, activation=other)
    with pytest.raises(TypeError, match="activation must be an Activation, not str"):
        xpnet.load(path, activation="twice")


def test_an_own_activation_with_a_known_name(path):
    """An own "relu" must not silently become xpnet's."""
    MLP([3, 4, 2], activation=Activation("relu", OWN.forward, OWN.derivative)).save(path)
    with pytest.raises(FileError, match="give activation="):
        xpnet.load(path)


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("W1", np.zeros((2, 2), np.float64), "W1 as float64"),
        ("W1", np.zeros((2, 3), np.float32), r"W1 as float32 \(2, 3\)"),
        ("W2", np.zeros((2, 2), np.float32), "'W2', which"),
        ("b1", None, "lack b1"),
    ],
)
def test_changed_parameters_are_refused_when_saved(path, key, value, message):
    """Otherwise the file is written, the old one replaced, and it cannot be loaded."""
    net = MLP([2, 2], seed=0)
    net.save(path)
    before = path.read_bytes()
    if value is None:
        del net.params[key]
    else:
        net.params[key] = value
    with pytest.raises(ValueError, match=message):
        net.save(path)
    assert path.read_bytes() == before


ARRAYS = {"W1": np.zeros((2, 3), np.float32), "b1": np.zeros(3, np.float32)}
BAD_ARRAYS = {
    "none": ({}, "lack W1"),
    "one lacks": ({"W1": ARRAYS["W1"]}, "lack b1"),
    "one too many": ({**ARRAYS, "W2": ARRAYS["W1"]}, "'W2', which"),
    "other names": ({"weight": ARRAYS["W1"], "bias": ARRAYS["b1"]}, "'(weight|bias)', which"),
    "transposed": ({**ARRAYS, "W1": ARRAYS["W1"].T}, r"W1 as float32 \(3, 2\)"),
    "0-d": ({**ARRAYS, "b1": np.float32(0) + np.zeros((), np.float32)[...]}, r"b1 as .*\(\)"),
    "other dtype": ({**ARRAYS, "b1": np.zeros(3)}, "b1 as float64"),
    "integers": ({**ARRAYS, "b1": np.zeros(3, np.int32)}, "b1 as int32"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_arrays_that_are_no_net(path, case):
    """Otherwise the net fails at its first use, or predicts nonsense."""
    arrays, message = BAD_ARRAYS[case]
    description = MLP([2, 3])._description()
    save_arrays(path, {key: np.asarray(value) for key, value in arrays.items()}, description)
    with pytest.raises(FileError, match=message) as caught:
        xpnet.load(path)
    assert str(path) in str(caught.value)


BAD_DESCRIPTIONS = {
    "a checkpoint": ({"kind": "checkpoint"}, "no model, but 'checkpoint'"),
    "unknown class": ({"class": "Mine"}, "unknown class 'Mine'"),
    "a class that is none": ({"class": ["MLP"]}, "class must be one of"),
    "unknown activation": ({"activation": "swish"}, "unknown activation 'swish'"),
    "no name": ({"activation": 3}, "activation must be one of"),
    "unknown output": ({"output": "probit"}, "unknown output 'probit'"),
    "unknown dtype": ({"dtype": "int8"}, "unknown dtype 'int8'"),
    "unknown weights": ({"weight_init": "good"}, "unknown weight_init 'good'"),
    "l2 is text": ({"l2": "x"}, "l2 must be a number"),
    "l2 below 0": ({"l2": -1}, "l2 must be finite and at least 0"),
    "one size": ({"layer_sizes": [2]}, "at least inputs and outputs"),
    "no list": ({"layer_sizes": 2}, "layer_sizes must be a sequence"),
    "a fraction": ({"layer_sizes": [2.0, 3]}, "every entry of layer_sizes"),
    "a size of 0": ({"layer_sizes": [2, 0]}, "every entry of layer_sizes"),
    "huge": ({"layer_sizes": [2**40, 2**40]}, "W1 as float32"),
    "more layers": ({"layer_sizes": [2, 3, 4]}, "lack W2"),
    "a long name": ({"class": "x" * 10_000}, "unknown class"),
}


@pytest.mark.parametrize("case", BAD_DESCRIPTIONS)
def test_descriptions_that_are_no_net(path, case):
    """One error that says what is wrong; above all nothing is allocated for what is promised."""
    changed, message = BAD_DESCRIPTIONS[case]
    save_arrays(path, ARRAYS, {**MLP([2, 3])._description(), **changed})
    with pytest.raises(FileError, match=message) as caught:
        xpnet.load(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", [key for key in MLP([2, 3])._description() if key != "xpnet"])
def test_a_description_that_lacks_something(path, key):
    """A default in its place would be a guess about somebody's net."""
    description = MLP([2, 3])._description()
    del description[key]
    save_arrays(path, ARRAYS, description)
    with pytest.raises(FileError, match=f"without '{key}'"):
        xpnet.load(path)


def test_where_it_cannot_live(path, monkeypatch):
    """A wrong backend is not a damaged file."""
    MLP([2, 3]).save(path)
    with pytest.raises(ValueError, match="unknown backend 'nunpy'") as caught:
        xpnet.load(path, xp="nunpy")
    assert not isinstance(caught.value, FileError)
    with pytest.raises(FileNotFoundError):
        xpnet.load(path.with_name("no"))


def test_the_description_says_what_wrote_it(path):
    """A bug report about an old file needs the version that wrote it."""
    MLP([2, 3]).save(path)
    description = load_arrays(path)[1]
    assert description["xpnet"] == xpnet.__version__
    assert json.loads(json.dumps(description)) == MLP([2, 3])._description()
