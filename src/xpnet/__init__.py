"""Neural nets that run where your arrays live."""

import importlib
import sys
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
    Checkpoint,
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
    "Checkpoint",
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

# Estimators that version 0.1 has pickled hold histories of a module of this name.
sys.modules[f"{__name__}.history"] = sys.modules[History.__module__]


def __getattr__(name: str) -> ModuleType:
    # Not imported with the rest: it brings scikit-learn and SciPy with it.
    if name == "sklearn":
        return importlib.import_module(".sklearn", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
