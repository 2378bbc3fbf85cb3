"""Neural nets that run where your arrays live."""

import importlib
from types import ModuleType

from . import functions, layers, losses, optimizers
from ._version import __version__
from .backend import BackendNotAvailable, backends, place
from .datasets import load_fashion_mnist, load_idx, load_mnist, open_shards
from .files import FileError
from .functions import Activation
from .gradients import GradientCheckFailed, GradientReport, check_gradient, numerical_gradient
from .network import MLP, Network, TwoLayerNet, load
from .training import (
    CheckpointWarning,
    DistributedError,
    EarlyStopping,
    History,
    Log,
    NonFiniteLoss,
    Progress,
    fit,
)

__all__ = [
    "MLP",
    "Activation",
    "BackendNotAvailable",
    "CheckpointWarning",
    "DistributedError",
    "EarlyStopping",
    "FileError",
    "GradientCheckFailed",
    "GradientReport",
    "History",
    "Log",
    "Network",
    "NonFiniteLoss",
    "Progress",
    "TwoLayerNet",
    "__version__",
    "backends",
    "check_gradient",
    "fit",
    "functions",
    "layers",
    "load",
    "load_fashion_mnist",
    "load_idx",
    "load_mnist",
    "losses",
    "numerical_gradient",
    "open_shards",
    "optimizers",
    "place",
]


def __getattr__(name: str) -> ModuleType:
    # Not imported with the rest: it brings scikit-learn and SciPy with it.
    if name == "sklearn":
        return importlib.import_module(".sklearn", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
