"""Neural nets that run where your arrays live."""

import importlib
from types import ModuleType

from . import functions, losses, optimizers
from .backend import BackendNotAvailable, backends, place
from .callbacks import EarlyStopping, Log, Progress
from .checkpoint import CheckpointWarning
from .datasets import load_fashion_mnist, load_idx, load_mnist, open_shards
from .distributed import DistributedError
from .files import FileError
from .functions import Activation
from .gradcheck import GradientCheckFailed, GradientReport, check_gradient
from .history import History
from .network import MLP, TwoLayerNet, load
from .numerical import numerical_gradient
from .training import NonFiniteLoss, fit

__version__ = "0.1.0.dev0"

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
    "NonFiniteLoss",
    "Progress",
    "TwoLayerNet",
    "__version__",
    "backends",
    "check_gradient",
    "fit",
    "functions",
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
