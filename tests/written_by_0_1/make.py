"""What version 0.1 writes: `python make.py FOLDER`, with xpnet of that version installed."""

import pathlib
import pickle
import sys
import warnings

import numpy as np

import xpnet
from xpnet.functions import Activation, sigmoid
from xpnet.sklearn import MLPClassifier, MLPRegressor

out = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(0)
x = rng.normal(size=(60, 6)).astype(np.float32)
t = rng.integers(0, 3, 60)
silu = Activation("silu", lambda x: x * sigmoid(x), lambda x, y: sigmoid(x) * (1 + x - y))
nets = {
    "two-layer-net": xpnet.TwoLayerNet(6, 5, 3, seed=0),
    "relu-float64": xpnet.MLP(
        [6, 5, 4, 3], activation="relu", weight_init="he", l2=0.01, dtype="float64", seed=1
    ),
    "one-layer": xpnet.MLP([6, 3], activation="tanh", output="sigmoid", weight_init=0.5, seed=2),
    "own-activation": xpnet.MLP([6, 4, 1], activation=silu, output="identity", seed=3),
}
expected = {"x": x, "t": t}
for name, net in nets.items():
    net.save(out / f"{name}.safetensors")
    expected[f"predicted/{name}"] = net.predict(x.astype(net.placement.dtype_name))


def run(steps, **options):
    net = xpnet.MLP([6, 8, 3], activation="tanh", l2=0.01, seed=0)
    history = xpnet.fit(
        net, x, t, steps=steps, batch_size=10, optimizer="adam", learning_rate=0.01, dropout=0.3,
        validation=(x, t), callbacks=[xpnet.EarlyStopping(1000)], **options,
    )  # fmt: skip
    return net, history


run(40, checkpoint=out / "checkpoints", checkpoint_every=20)
net, history = run(100)
trained = {f"trained/{key}": p for key, p in net.params.items()}
np.savez(out / "expected.npz", loss=history.loss, **expected, **trained)

# A run that a callback has ended.
net = xpnet.MLP([6, 8, 3], seed=0)
xpnet.fit(
    net, x, t, steps=400, batch_size=10, callbacks=[xpnet.EarlyStopping(1, 10.0, "loss")],
    checkpoint=out / "ended", checkpoint_every=100,
)  # fmt: skip

warnings.simplefilter("ignore")  # of convergence
X, y = x.astype(np.float64), np.asarray(["a", "b", "c"])[t]
model = MLPClassifier((5,), max_iter=3, random_state=0).fit(X, y)
(out / "classifier.pickle").write_bytes(pickle.dumps(model))
more = pickle.loads(pickle.dumps(model)).partial_fit(X, y)
regressor = MLPRegressor(hidden_layer_sizes=(4,), solver="lbfgs", random_state=0, max_iter=5)
regressor.fit(X, X[:, 0])
(out / "regressor.pickle").write_bytes(pickle.dumps(regressor))
np.savez(
    out / "estimators.npz", probabilities=model.predict_proba(X), more=more.predict_proba(X),
    values=regressor.predict(X),
)  # fmt: skip
