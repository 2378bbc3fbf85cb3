"""Training: load → batch → forward → loss → backward → update → report."""

from .callbacks import EarlyStopping, Log, Progress
from .checkpoint import Checkpoint, CheckpointWarning
from .distributed import DistributedError
from .history import Epoch, History, Reason
from .loop import fit
from .plan import ScaleWarning
from .session import DivergenceWarning, NonFiniteLoss

__all__ = [
    "Checkpoint", "CheckpointWarning", "DistributedError", "DivergenceWarning", "EarlyStopping",
    "Epoch", "History", "Log", "NonFiniteLoss", "Progress", "Reason", "ScaleWarning", "fit",
]  # fmt: skip
