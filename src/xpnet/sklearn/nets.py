"""The nets of estimators, by scikit-learn's names and first weights."""

from __future__ import annotations

import math
from typing import Any

from ..backend.placement import Placement
from ..network.mlp import MLP

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


def new_net(
    sizes: tuple[int, ...], activation: str, output: str, here: Placement, rng: Any
) -> MLP:
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
