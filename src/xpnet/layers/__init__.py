"""Layers: frozen objects, and pure functions of arrays; each has its backward under its forward."""

from __future__ import annotations

from typing import Any

from ..checks import known
from ..functions import ACTIVATIONS, Activation
from .base import WEIGHT_INITS, Layer, Shape, checked_weight_init
from .dense import Affine, Dropout, Elementwise, Flatten
from .images import AveragePool, Convolution, MaxPool, Shift
from .normalization import BatchNorm
from .words import NETS, layers_of_words

__all__ = [
    "LAYERS", "NETS", "WEIGHT_INITS", "Affine", "AveragePool", "BatchNorm", "Convolution",
    "Dropout", "Elementwise", "Flatten", "Layer", "MaxPool", "Shape", "Shift",
    "checked_weight_init", "layer_of", "layers_of_words",
]  # fmt: skip

# One row is all that a kind of layer needs: files name it so, and the tests read the table.
# Activations are layers too, by the names of their own table.
LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (Affine, Convolution, MaxPool, AveragePool, Flatten, BatchNorm, Dropout, Shift)
}


def layer_of(entry: Any) -> Layer:
    """Return an entry of a net's list as a layer: a layer, an activation, or the name of one."""
    if isinstance(entry, Layer):
        return entry
    if isinstance(entry, Activation):
        return Elementwise(entry)
    if isinstance(entry, str):
        return Elementwise(known(ACTIVATIONS, entry, "activation"))
    raise TypeError(
        "every entry of layers must be a layer of xpnet.layers, an activation or its name, not "
        f"{type(entry).__name__}"
    )
