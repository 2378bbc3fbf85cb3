"""The nets: parameters, prediction, loss, and backpropagation."""

from .mlp import MLP, TwoLayerNet, load
from .net import Network

__all__ = ["MLP", "Network", "TwoLayerNet", "load"]
