"""Where arrays live: the array libraries, their devices, how each runs steps."""

from .placement import Backend, BackendInfo, BackendNotAvailable, DeviceInfo, Placement
from .table import BACKENDS, FOR_TESTS, backend_of, backends, place, placement_of

__all__ = [
    "BACKENDS", "FOR_TESTS", "Backend", "BackendInfo", "BackendNotAvailable", "DeviceInfo",
    "Placement", "backend_of", "backends", "place", "placement_of",
]  # fmt: skip
