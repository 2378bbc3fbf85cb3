"""Training: load → batch → forward → loss → backward → update → report."""

from .callbacks import EarlyStopping, Log, Progress
from .checkpoint import Checkpoint, CheckpointWarning
from .distributed import DistributedError
from .history import History, Reason
from .loop import fit
from .session import NonFiniteLoss

__all__ = [
    "Checkpoint", "CheckpointWarning", "DistributedError", "EarlyStopping", "History", "Log",
    "NonFiniteLoss", "Progress", "Reason", "fit",
]  # fmt: skip
