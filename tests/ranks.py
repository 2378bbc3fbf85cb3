"""The programs that torchrun starts for tests/test_distributed.py: one for each name below."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
from driven import fit

import xpnet
from xpnet.datasets import load_mnist
from xpnet.layers import Affine, BatchNorm, Convolution, MaxPool, Shift
from xpnet.optimizers import Cosine

RANK = int(os.environ.get("RANK", "0"))
TOGETHER = "RANK" in os.environ


def leave(folder, name, net, history):
    """Leave the outcome of a training where the test finds it."""
    to_host = net.placement.to_host
    params = {key: to_host(p) for key, p in {**net.params, **net.state}.items()}
    np.savez(folder / f"{name}-{RANK}.npz", loss=history.loss, **params)


def mnist(here, folder):
    """500 steps on MNIST, in both dtypes; rank 0's weights hold."""
    for dtype in ("float32", "float64"):
        (x, t), _ = load_mnist(xp=here["xp"], device=here["device"], dtype=dtype)
        net = xpnet.MLP([784, 100, 10], weight_init=0.01, dtype=dtype, seed=RANK, **here)
        history = xpnet.fit(net, x, t, steps=500, distributed=TOGETHER)
        leave(folder, f"mnist-{dtype}", net, history)


def data(here):
    """A small data set; 101 rows a batch are not the same for two ranks."""
    rng = np.random.default_rng(0)
    place = xpnet.place(here["xp"], here["device"], "float64")
    return place.floats(rng.normal(size=(300, 6))), place.asarray(rng.integers(0, 3, 300))


def kinds(here, folder):
    """What else a training can be, each with uneven shares."""
    x, t = data(here)
    for name, options in {
        "sgd": {"epochs": 7},
        "adam": {"optimizer": "adam", "learning_rate": 0.01, "steps": 30},
        "nesterov": {"optimizer": "nesterov", "shuffle": False, "steps": 30},
        "whole": {"whole_epochs": True, "steps": 30, "learning_rate": Cosine(0.5, 30)},
        "numerical": {"gradient": "numerical", "steps": 30},
        "unseeded": {"seed": None, "steps": 30},
        "dropout": {"dropout": 0.3, "steps": 30},
    }.items():
        net = xpnet.MLP([6, 8, 3], activation="tanh", l2=0.1, dtype="float64", seed=1, **here)
        history = fit(net, x, t, batch_size=101, distributed=TOGETHER, **options)
        leave(folder, name, net, history)


def images(here, folder):
    """Convolutional nets: plain, of images that are moved, normalized; with uneven shares."""
    x, t = data(here)
    x = x.reshape(300, 1, 2, 3)
    place = xpnet.place(here["xp"], here["device"], "float64")
    first, after = Convolution(4, 2, padding=1), ["relu", MaxPool(2), Affine(3)]
    begins = {
        "convolution": [first], "moved": [Shift(1), first],
        "normalized": [first, BatchNorm(momentum=0.5)],
    }  # fmt: skip
    for name, begin in begins.items():
        layers = [*begin, *after]
        words = {"input_shape": (1, 2, 3), "dtype": "float64", "seed": 1, **here}
        net = xpnet.Network(layers, **words)
        for key, s in net.state.items():  # the state of rank 0 holds
            net.state[key] = s + place.floats(np.full(s.shape, float(RANK)))
        history = fit(net, x, t, steps=30, batch_size=101, distributed=TOGETHER, block_steps=10)
        leave(folder, name, net, history)


def stops(here, folder):
    """One rank's callback stops all; early stopping does; a diverging loss ends all alike."""
    x, t = data(here)
    said = {}

    def watch(progress):
        return RANK == 1 and progress.step >= 200

    net = xpnet.MLP([6, 3], dtype="float64", seed=1, **here)
    history = xpnet.fit(net, x, t, steps=1000, distributed=True, callbacks=[watch])
    said["callback"] = [history.steps, history.stopped]
    # What the losses are must be the same everywhere, or the ranks stop at different steps.
    early = xpnet.EarlyStopping(patience=1, min_delta=0.01, monitor="loss")
    history = xpnet.fit(net, x, t, steps=5000, distributed=True, callbacks=[early])
    said["early"] = [history.steps, history.stopped]
    net = xpnet.MLP([6, 3], output="identity", dtype="float64", seed=1, **here)
    rows = net.placement.xp.astype(x[:, :3], x.dtype)
    try:
        xpnet.fit(net, x, rows, steps=2000, learning_rate=1e6, distributed=True)
    except xpnet.NonFiniteLoss as error:
        said["loss"] = [error.step, str(error)]
    (folder / f"stops-{RANK}.json").write_text(json.dumps(said))


def refused(here, folder):
    """What is refused before anything is trained, on every rank."""
    x, t = data(here)
    said = {}

    def attempt(name, net, **options):
        before = {key: net.placement.to_host(p).copy() for key, p in net.params.items()}
        try:
            xpnet.fit(net, x, t, **{"steps": 3, "distributed": True, **options})
        except Exception as error:
            said[name] = [type(error).__name__, str(error)]
        after = {key: net.placement.to_host(p) for key, p in net.params.items()}
        said[f"{name} kept"] = all((before[key] == after[key]).all() for key in before)

    net = xpnet.MLP([6, 3], dtype="float64", seed=1, **here)
    attempt("batch", net, batch_size=1)
    attempt("weights", net, sample_weight=x[:, 0] ** 2)
    attempt("other batch", net, batch_size=100 + RANK)
    folder = folder / "old"
    if RANK == 0:
        xpnet.fit(net, x, t, steps=3, checkpoint=folder)
    attempt("checkpoints", net, checkpoint=folder)
    (folder.parent / f"refused-{RANK}.json").write_text(json.dumps(said))


def bytes_sent(here, folder):
    """Count what is handed to torch.distributed while steps run."""
    import torch.distributed as dist

    sent = []
    all_reduce = dist.all_reduce

    def counted(tensor, *args, **options):
        sent.append([tensor.numel(), tensor.element_size()])
        return all_reduce(tensor, *args, **options)

    dist.all_reduce = counted
    x, t = data(here)
    for dtype in ("float32", "float64"):
        net = xpnet.MLP([6, 8, 3], dtype=dtype, seed=1, **here)
        xpnet.fit(net, x, t, steps=100, distributed=True)  # one block
        (folder / f"bytes-{dtype}-{RANK}.json").write_text(json.dumps(sent))
        sent.clear()


def resumes(here, folder):
    """Checkpoints are rank 0's; another start goes on from them."""
    x, t = data(here)
    for name, steps in {"whole": [60], "parts": [25, 60]}.items():
        for end in steps:
            net = xpnet.MLP([6, 8, 3], dtype="float64", seed=RANK, **here)
            own = folder / f"{name}-of-{RANK}"
            history = xpnet.fit(
                net, x, t, steps=end, optimizer="adam", learning_rate=0.01, distributed=True,
                checkpoint=own, checkpoint_every=10, resume=True, seed=5,
            )  # fmt: skip
        leave(folder, f"resumed-{name}", net, history)


def hangs(here, folder):
    """The last rank sleeps within a callback, for ever."""
    x, t = data(here)
    net = xpnet.MLP([6, 3], dtype="float64", seed=1, **here)

    def sleep(progress):
        (folder / f"pid-{RANK}").write_text(str(os.getpid()))
        if int(os.environ["WORLD_SIZE"]) - 1 == RANK and progress.step >= 200:
            time.sleep(600)

    try:
        xpnet.fit(net, x, t, steps=1000, distributed=True, callbacks=[sleep])
    except xpnet.DistributedError as error:
        (folder / f"hangs-{RANK}.txt").write_text(str(error))
        raise


if __name__ == "__main__":
    xp, device, place, *names = sys.argv[1:]
    with contextlib.suppress(ValueError):
        device = int(device)
    where = {"xp": xp, "device": None if device == "None" else device}
    for one in names:
        globals()[one](where, Path(place))
