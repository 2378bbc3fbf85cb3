"""Training: load → batch → forward → loss → backward → update."""

from .callbacks import EarlyStopping, Log, Progress
from .checkpoint import CheckpointWarning
from .distributed import DistributedError
from .history import History
from .loop import NonFiniteLoss, fit

__all__ = [
    "CheckpointWarning",
    "DistributedError",
    "EarlyStopping",
    "History",
    "Log",
    "NonFiniteLoss",
    "Progress",
    "fit",
]
