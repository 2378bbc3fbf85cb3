"""Neural nets that run where your arrays live."""

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from . import functions, layers, losses, optimizers
from ._version import __version__
from .backend import BackendNotAvailable, backends, place
from .files import FileError
from .functions import Activation
from .gradients import (
    AutodiffReport,
    GradientCheckFailed,
    GradientReport,
    check_autodiff,
    check_gradient,
    check_jvp,
    check_vjp,
    numerical_gradient,
)
from .network import MLP, Network, TwoLayerNet, load

if TYPE_CHECKING:
    from .datasets import (
        load_fashion_mnist,
        load_idx,
        load_images,
        load_mnist,
        load_table,
        open_shards,
    )
    from .training import (
        Checkpoint,
        CheckpointWarning,
        DistributedError,
        DivergenceWarning,
        EarlyStopping,
        History,
        Log,
        NonFiniteLoss,
        Progress,
        ScaleWarning,
        fit,
    )

__all__ = [
    "MLP", "Activation", "AutodiffReport", "BackendNotAvailable", "Checkpoint",
    "CheckpointWarning", "DistributedError", "DivergenceWarning", "EarlyStopping", "FileError",
    "GradientCheckFailed", "GradientReport", "History", "Log", "Network", "NonFiniteLoss",
    "Progress", "ScaleWarning", "TwoLayerNet", "__version__", "backends", "check_autodiff",
    "check_gradient", "check_jvp", "check_vjp", "fit", "functions", "layers", "load",
    "load_fashion_mnist", "load_idx", "load_images", "load_mnist", "load_table", "losses",
    "numerical_gradient", "open_shards", "optimizers", "place",
]  # fmt: skip

# The wings that are imported when they are first asked for, and what they need beside NumPy.
_WINGS = {
    "datasets": None, "plots": "matplotlib", "scratch": None, "sklearn": "sklearn",
    "testing": None, "training": None,
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what not every program needs when it is first asked for (PEP 562)."""
    if name in _WINGS:
        return importlib.import_module(f".{name}", __name__)
    if name in __all__:
        for wing in ("datasets", "training"):
            module = importlib.import_module(f".{wing}", __name__)
            if name in module.__all__:
                return globals().setdefault(name, getattr(module, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what users call; the other modules are the library's own."""
    here = (wing for wing, needed in _WINGS.items() if not needed or find_spec(needed))
    return sorted({*__all__, *here, "backend", "gradients"})
