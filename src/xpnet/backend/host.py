"""NumPy, on the CPU; and what other libraries do as it does."""

from __future__ import annotations

import contextlib
import functools
import platform
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..arrays import Array
from .placement import Arrays, Backend, DeviceInfo, Placement, Runner, Step


@functools.cache
def cpu_name() -> str:
    """Return the name of the processor, as far as the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def nvidia_driver() -> str | None:
    """Return the version of the NVIDIA driver, None where there is none or it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    import subprocess  # milliseconds of every start, for what few machines have

    query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = answer.stdout.split()
    return lines[0] if lines else None


def _device(xp: ModuleType, device: Any) -> Any:
    if device not in (None, "cpu"):
        raise ValueError(f"device must be 'cpu' or None for numpy, not {device!r}")
    return device


def host_devices(xp: ModuleType) -> list[DeviceInfo]:
    """Return the one device of a library that computes on the processor."""
    return [DeviceInfo("cpu", cpu_name())]


def no_floating_point_warnings() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which NumPy is silent: what overflows shows in the result."""
    return np.errstate(over="ignore", invalid="ignore")


def wait_for_nothing(device: Any) -> None:
    """Return at once: what runs on the processor is done when the call returns."""


def loop(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays, recordable: bool = True
) -> Runner:
    """Steps one after the other; what any library can do."""

    def run(inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> Array:
        placed = tuple(placement.asarray(host) for host in inputs)
        with placement._quietly():
            # Python floats: a NumPy float64 scalar would promote every float32 update.
            losses = [
                step(state, data, tuple(array[k, ...] for array in placed), numbers)
                for k, numbers in enumerate(coefficients.tolist())
            ]
        return placement.xp.stack(losses)

    return run


ROW = Backend(
    name="numpy", package="numpy", namespace="array_api_compat.numpy", order=0,
    install="python -m pip install numpy",
    device=_device, devices=host_devices, synchronize=wait_for_nothing,
    from_host=lambda host: host, to_host=np.asarray, readable=lambda array: True,
    runner=loop, take=lambda array, rows: array.take(rows, axis=0),
    quietly=no_floating_point_warnings,
)  # fmt: skip
