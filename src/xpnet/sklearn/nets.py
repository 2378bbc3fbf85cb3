"""The nets of estimators, by scikit-learn's names and first weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import mapped
from ..backend.placement import Placement
from ..checks import positive_integer
from ..network.mlp import MLP
from .arrays import copied_to_host

# scikit-learn's names of the activations, and xpnet's.
NAMES = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
LOSSES = {"squared_error": "identity", "poisson": "exp"}
# xpnet's outputs, and scikit-learn's names of them.
OUT_ACTIVATIONS = {
    "softmax": "softmax", "sigmoid": "logistic", "identity": "identity", "exp": "exp",
}  # fmt: skip
DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
INTERRUPTED = "Training interrupted by user."


def hidden_sizes(sizes: Any) -> tuple[int, ...]:
    """Return the units of each hidden layer, of which one may be given as a number, or raise."""
    entries = sizes if hasattr(sizes, "__iter__") else [sizes]
    return tuple(positive_integer(size, "every entry of hidden_layer_sizes") for size in entries)


def check_finite(net: MLP) -> None:
    """Raise where a training has ended in parameters that are no numbers."""
    xp = net.placement.xp
    finite = xp.stack([xp.all(xp.isfinite(p)) for p in net.params.values()])
    if not bool(xp.all(finite)):
        raise ValueError(DIVERGED)


def bare_net(sizes: Any, activation: str, output: str, l2: float, here: Placement) -> MLP:
    """Return a net whose parameters are still to be set."""
    return MLP(
        sizes,
        activation=activation,
        output=output,
        weight_init=0.0,
        l2=l2,
        xp=here.xp,
        device=here.device,
        dtype=here.dtype,
    )


def new_net(sizes: tuple[int, ...], activation: str, output: str, here: Placement, rng: Any) -> MLP:
    """Return a net with the first weights that scikit-learn draws from the same generator.

    Uniform within ±√(6 / (in + out)), for the logistic activation ±√(2 / (in + out)), biases
    too: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
    networks* (2010), equation 16.
    """
    net = bare_net(sizes, NAMES[activation], output, 0.0, here)
    factor = 2.0 if activation == "logistic" else 6.0
    for i in range(1, net.depth + 1):
        n_in, n_out = sizes[i - 1 : i + 1]
        bound = math.sqrt(factor / (n_in + n_out))
        net.params[f"W{i}"] = net.placed(rng.uniform(-bound, bound, (n_in, n_out)))
        net.params[f"b{i}"] = net.placed(rng.uniform(-bound, bound, n_out))
    return net


def plain(net: MLP) -> dict[str, Any]:
    """Return what makes a net, as numbers, words and NumPy arrays: for pickles."""
    here = net.placement
    return {
        "layer_sizes": net.layer_sizes,
        "activation": net.activation.name,
        "output": net.output.name,
        "l2": net.l2,
        "dtype": here.dtype_name,
        "xp": here.backend.name,
        "device": None if here.backend.name == "numpy" else here.device_info().id,
        "params": mapped(copied_to_host, net.params),
    }


def from_plain(saved: dict[str, Any], here: Placement) -> MLP:
    """Undo `plain`, in any place."""
    net = bare_net(saved["layer_sizes"], saved["activation"], saved["output"], saved["l2"], here)
    net.params = mapped(net.placed, saved["params"])
    return net


def placed_in(net: MLP) -> Callable[[Any], Any]:
    """Return what moves an array of the host to a net; what is no array it leaves as it is."""
    return lambda leaf: net.placed(leaf) if isinstance(leaf, np.ndarray) else leaf
