"""What version 0.1 has written is read by this one: models, checkpoints, pickled estimators.

The files in `written_by_0_1` were made by commit f0ce0cf, with `written_by_0_1/make.py`.
"""

import pathlib
import pickle
import shutil
import warnings

import numpy as np
import pytest

import xpnet
from xpnet.functions import Activation, sigmoid

WRITTEN = pathlib.Path(__file__).with_name("written_by_0_1")
EXPECTED = dict(np.load(WRITTEN / "expected.npz"))
SILU = Activation("silu", lambda x: x * sigmoid(x), lambda x, y: sigmoid(x) * (1 + x - y))
NETS = {
    "two-layer-net": "<TwoLayerNet 6-5-3, sigmoid, softmax: 53 parameters, float32",
    "relu-float64": "<MLP 6-5-4-3, relu, softmax, l2=0.01: 74 parameters, float64",
    "one-layer": "<MLP 6-3, tanh, sigmoid: 21 parameters, float32",
    "own-activation": "<MLP 6-4-1, silu, identity: 33 parameters, float32",
}


@pytest.mark.parametrize("name", NETS)
def test_a_model(name):
    """A format that a newer version no longer reads costs its users what they have trained."""
    activation = SILU if name == "own-activation" else None
    net = xpnet.load(WRITTEN / f"{name}.safetensors", activation=activation)
    assert repr(net).startswith(NETS[name])
    x = EXPECTED["x"].astype(net.placement.dtype_name)
    # The processor may be another one than that of the files.
    np.testing.assert_allclose(net.predict(x), EXPECTED[f"predicted/{name}"], rtol=1e-5)


def resumed(tmp_path, name, **options):
    folder = shutil.copytree(WRITTEN / name, tmp_path / name)
    net = xpnet.MLP([6, 8, 3], **options.pop("net"), seed=0)
    with warnings.catch_warnings():
        # "written elsewhere": by another version, perhaps on another machine.
        warnings.simplefilter("ignore", xpnet.CheckpointWarning)
        history = xpnet.fit(
            net, EXPECTED["x"], EXPECTED["t"], batch_size=10, checkpoint=folder, resume=True,
            **options,
        )  # fmt: skip
    return net, history


def test_a_checkpoint(tmp_path):
    """Parameters, Adam's slots, the order, dropout's masks, the losses, the callback's state."""
    net, history = resumed(
        tmp_path, "checkpoints", net={"activation": "tanh", "l2": 0.01}, steps=100,
        optimizer="adam", learning_rate=0.01, dropout=0.3,
        validation=(EXPECTED["x"], EXPECTED["t"]),
        callbacks=[xpnet.EarlyStopping(1000)], checkpoint_every=20,
    )  # fmt: skip
    assert history.steps == 100
    np.testing.assert_array_equal(history.loss[:40], EXPECTED["loss"][:40])
    np.testing.assert_allclose(history.loss, EXPECTED["loss"], rtol=1e-4)
    for key, p in net.params.items():
        np.testing.assert_allclose(p, EXPECTED[f"trained/{key}"], rtol=1e-3, atol=1e-5)


def test_a_checkpoint_of_a_run_that_a_callback_has_ended(tmp_path):
    """It is at its end; to go on would undo what the callback has decided."""
    callback = xpnet.EarlyStopping(1, 10.0, "loss")
    _, history = resumed(tmp_path, "ended", net={}, steps=400, callbacks=[callback])
    assert (history.steps, history.stopped) == (200, "stopped by a callback after step 200")


def test_pickled_estimators():
    """scikit-learn's users keep their models as pickles."""
    pytest.importorskip("sklearn")
    expected = np.load(WRITTEN / "estimators.npz")
    X = EXPECTED["x"].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, where its version is another
        model = pickle.loads((WRITTEN / "classifier.pickle").read_bytes())
        regressor = pickle.loads((WRITTEN / "regressor.pickle").read_bytes())
    np.testing.assert_allclose(model.predict_proba(X), expected["probabilities"], rtol=1e-9)
    np.testing.assert_allclose(regressor.predict(X), expected["values"], rtol=1e-9)
    assert model.history_.steps == 3
    model.partial_fit(X, np.asarray(["a", "b", "c"])[EXPECTED["t"]])  # Adam goes on as well
    np.testing.assert_allclose(model.predict_proba(X), expected["more"], rtol=1e-9)
