"""array_api_strict: the standard's own strict library, which the tests run on."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ..arrays import Array, array_namespace
from .host import loop, no_floating_point_warnings, wait_for_nothing
from .placement import Backend, DeviceInfo


def _device(xp: ModuleType, device: Any) -> Any:
    return xp.Device(device) if isinstance(device, str) else device


def _devices(xp: ModuleType) -> list[DeviceInfo]:
    names = ("CPU_DEVICE", "device1", "device2")
    return [DeviceInfo(name, "virtual device") for name in names]


def _to_host(array: Array) -> np.ndarray:
    xp = sys.modules["array_api_strict"]
    return np.asarray(array.to_device(xp.Device("CPU_DEVICE")))


def _readable(array: Array) -> bool:
    # The other devices stand in for a GPU: looking at their values raises.
    return bool(array.device == sys.modules["array_api_strict"].Device("CPU_DEVICE"))


ROW = Backend(
    name="array_api_strict", package="array_api_strict", namespace="array_api_strict",
    install="python -m pip install array-api-strict",
    device=_device, devices=_devices, synchronize=wait_for_nothing,
    to_host=_to_host, readable=_readable,
    runner=loop, take=lambda array, rows: array_namespace(array).take(array, rows, axis=0),
    quietly=no_floating_point_warnings, for_tests=True, not_distributed="it is for tests",
)  # fmt: skip
