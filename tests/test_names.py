"""What completion shows: the names that users call, and none that is the library's alone.

A new public name has its line here, and so was thought about.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import xpnet
from xpnet.layers import Affine, Convolution

X, T = np.eye(4, dtype=np.float32), np.asarray([0, 1, 0, 1])

NETWORK = {
    "accuracy", "check_gradient", "class_names", "classify", "data", "gradient", "input_shape",
    "l2", "loss", "loss_and_gradient", "numerical_gradient", "output", "params", "placement",
    "predict", "save", "state", "to",
}  # fmt: skip
MLP = {*NETWORK, "activation", "depth", "layer_sizes", "weight_init"}
HISTORY = {
    "best_step", "block_seconds", "block_steps", "device", "diverged", "environment", "epochs",
    "extend", "loss", "plot", "reason", "save", "seconds", "settings", "steps", "stopped",
    "summary", "test_accuracy", "test_r2", "to_dict", "validation_accuracy", "validation_loss",
    "validation_steps",
}  # fmt: skip
REPORT = {
    "causes", "method", "notes", "ok", "parameters", "plot", "raise_if_failed", "to_dict",
    "values", "verdict",
}  # fmt: skip
PROGRESS = {"history", "losses", "net", "step", "steps"}
# Where arrays live: move some there and back, ask where that is, wait.
PLACEMENT = {
    "asarray", "backend", "describe", "device", "device_info", "dtype", "dtype_name", "floats",
    "synchronize", "to_host", "xp",
}  # fmt: skip
CHECKPOINT = {"errors", "every", "folder", "resume"}
# What a callback may have, your own as well: `begin`, `close`, `every`; `state` and `restore`, by
# which checkpoints hold it.
EARLY_STOPPING = {
    "begin", "best", "close", "min_delta", "monitor", "patience", "restore", "restore_best",
    "state", "without_improvement",
}  # fmt: skip
LOG = {"begin"}
# What a layer, also your own, says of itself: docs/own-layer.md.
LAYER = {
    "centers", "first", "first_state", "forward", "gradient", "least_rows", "move", "penalized",
    "predict", "pull", "rate", "shapes",
}  # fmt: skip
OPTIMIZER = {"coefficients", "default_rate", "folds_rate", "slot_names", "slots", "update"}
# Beside `xpnet.__all__`.
WINGS = {
    "backend", "datasets", "gradients", "plots", "scratch", "sklearn", "testing", "training",
}  # fmt: skip


def shown(thing):
    """The names without an underscore that completion offers."""
    return {name for name in dir(thing) if not name.startswith("_")}


@pytest.fixture(scope="module")
def run():
    """A net, its history, and what a callback was given."""
    seen = []
    net = xpnet.MLP([4, 3, 2], seed=0)
    history = xpnet.fit(net, X, T, steps=2, batch_size=4, callbacks=[seen.append])
    return net, history, seen[0]


def test_nets(run):
    """`net.<Tab>` is where most users look first."""
    net, _, _ = run
    assert shown(net) == MLP
    assert shown(xpnet.TwoLayerNet(4, 3, 2)) == MLP
    assert shown(xpnet.Network([Affine(2)], input_shape=(4,))) == NETWORK


def test_what_a_run_leaves(run):
    """The record of a run, and what its callbacks see."""
    net, history, progress = run
    assert shown(history) == HISTORY
    assert shown(progress) == PROGRESS
    assert shown(net.check_gradient(X, T)) == REPORT


def test_what_users_make(tmp_path):
    """The arguments of `fit`, and places."""
    assert shown(xpnet.place()) == PLACEMENT
    assert shown(xpnet.Checkpoint(tmp_path)) == CHECKPOINT
    assert shown(xpnet.EarlyStopping()) == EARLY_STOPPING
    assert shown(xpnet.Log()) == LOG


def test_what_users_extend():
    """Names that a layer or an optimizer of your own may have; more are arguments of each."""
    assert shown(Affine(2)) == LAYER | {"by_columns", "units", "weight_init"}
    sizes = {"filters", "padding", "size", "stride", "weight_init"}
    assert shown(Convolution(2, 3)) == LAYER | sizes
    assert shown(xpnet.optimizers.SGD()) == OPTIMIZER
    assert shown(xpnet.optimizers.Momentum()) == OPTIMIZER | {"momentum"}


def test_the_package():
    """No module of the inside, no `Any`; and every name that is shown is there."""
    missing = {
        wing for wing, needed in (("plots", "matplotlib"), ("sklearn", "sklearn"))
        if find_spec(needed) is None
    }  # fmt: skip
    assert shown(xpnet) == {name for name in xpnet.__all__ if name[0] != "_"} | WINGS - missing
    for name in shown(xpnet):
        assert getattr(xpnet, name) is not None
