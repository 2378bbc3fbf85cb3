"""The nets: parameters, prediction, loss, and backpropagation."""

from .mlp import MLP, TwoLayerNet, load

__all__ = [
    "MLP",
    "TwoLayerNet",
    "load",
]
