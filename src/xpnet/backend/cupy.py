"""CuPy: NVIDIA GPUs, step by step."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from .host import loop, nvidia_driver
from .placement import Backend, BackendNotAvailable, DeviceInfo


def _device(xp: ModuleType, device: Any) -> Any:
    if device is None:
        return xp.cuda.Device()
    if isinstance(device, str):
        kind, _, number = device.partition(":")
        if kind not in ("cuda", "gpu") or not (number or "0").isdigit():
            raise ValueError(f"device must be a number or 'cuda:N' for cupy, not {device!r}")
        device = int(number or 0)
    return xp.cuda.Device(device)


def _devices(xp: ModuleType) -> list[DeviceInfo]:
    runtime = xp.cuda.runtime
    version = runtime.runtimeGetVersion()
    cuda = f"{version // 1000}.{version % 1000 // 10}"
    found = []
    for i in range(runtime.getDeviceCount()):
        gpu = runtime.getDeviceProperties(i)
        name, memory = gpu["name"].decode(), gpu["totalGlobalMem"]
        found.append(DeviceInfo(f"cuda:{i}", name, memory, nvidia_driver(), cuda))
    if not found:
        raise BackendNotAvailable("no CUDA device")
    return found


ROW = Backend(
    name="cupy", package="cupy", namespace="array_api_compat.cupy", order=1,
    install="python -m pip install 'xpnet[cupy]' (CUDA 12) or 'xpnet[cupy-cuda13]'",
    device=_device, devices=_devices, synchronize=lambda device: device.synchronize(),
    to_host=lambda array: np.asarray(array.get()), readable=lambda array: False,
    runner=loop, take=lambda array, rows: array.take(rows, axis=0),
)  # fmt: skip
