"""Torch: on the CPU in a loop, on CUDA as a graph that is recorded once and replayed."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import numpy as np

from ..arrays import Array, places
from .host import host_devices, loop, nvidia_driver
from .placement import Arrays, Backend, DeviceInfo, Placement, Runner, Step, first_line


def _runner(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays, recordable: bool
) -> Runner:
    """A CUDA graph where there is CUDA; XPNET_CUDA_GRAPH=0 in the environment turns it off."""
    recordable = recordable and os.environ.get("XPNET_CUDA_GRAPH") != "0"
    if placement.device.type != "cuda" or not recordable:
        # Spares each operation what automatic differentiation would have to know of it.
        quick = sys.modules["torch"].inference_mode()
        return cast(Runner, quick(loop(placement, step, state, data)))
    return _graph(placement, step, state, data)


def _graph(placement: Placement, step: Step, state: dict[str, Any], data: Arrays) -> Runner:
    """Steps recorded once as a CUDA graph of a whole block, and replayed.

    A graph repeats kernels on fixed addresses: inputs and coefficients are copied into buffers,
    and the step must change the state's arrays in place. The first block of each length runs
    eagerly (which also warms the libraries up), the second is recorded. What cannot be recorded
    runs eagerly, and a warning says why.
    """
    torch = sys.modules["torch"]
    eager = loop(placement, step, state, data)
    recorded: dict[int, tuple[Any, Arrays, Array, Array]] = {}
    seen: set[int] = set()
    fixed: list[tuple[dict[str, Any], str, Array]] = []
    why_not = ""

    def record(length: int, inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> None:
        buffers = tuple(placement.asarray(host) for host in inputs)
        numbers = placement.floats(coefficients)
        graph = torch.cuda.CUDAGraph()
        before = [(holder, key, holder[key]) for _, holder, key in places(state)]
        try:
            with torch.cuda.device(placement.device), torch.cuda.graph(graph):
                losses = torch.stack([
                    step(state, data, tuple(array[k] for array in buffers), numbers[k, :])
                    for k in range(length)
                ])  # fmt: skip
            if any(holder[key] is not array for holder, key, array in before):
                raise RuntimeError("the step replaces parameters instead of changing them in place")
        except Exception:
            for holder, key, array in before:
                holder[key] = array
            raise
        recorded[length] = graph, buffers, numbers, losses
        fixed[:] = before

    def run(inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> Array:
        nonlocal why_not
        length = len(coefficients)
        if any(holder[key] is not array for holder, key, array in fixed):
            recorded.clear()  # somebody has put other arrays in their place
            fixed.clear()
        if length not in recorded and length in seen and not why_not:
            try:
                record(length, inputs, coefficients)
            except Exception as error:  # whatever the driver or the library says
                why_not = first_line(error)
                text = f"steps run one by one, not as a CUDA graph: {why_not}"
                warnings.warn(text, stacklevel=2)
        seen.add(length)
        if length not in recorded:
            return eager(inputs, coefficients)
        graph, buffers, numbers, losses = recorded[length]
        for buffer, host in zip(buffers, inputs, strict=True):
            buffer.copy_(torch.from_numpy(host))
        numbers.copy_(torch.from_numpy(coefficients))
        graph.replay()
        return losses.clone()

    return run


def _devices(xp: ModuleType) -> list[DeviceInfo]:
    found = host_devices(xp)
    for i in range(xp.cuda.device_count()):
        gpu = xp.cuda.get_device_properties(i)
        more = gpu.total_memory, nvidia_driver(), xp.version.cuda
        found.append(DeviceInfo(f"cuda:{i}", gpu.name, *more))
    if xp.backends.mps.is_available():
        found.append(DeviceInfo("mps:0", "Apple GPU (Metal)"))
    return found


def _synchronize(device: Any) -> None:
    if device.type != "cpu":
        getattr(sys.modules["torch"], device.type).synchronize()


def _vjp(f: Callable[..., Arrays], arguments: Arrays, cotangents: Arrays) -> Arrays:
    _, pull = sys.modules["torch"].func.vjp(f, *arguments)
    gradients = pull(cotangents)
    # Of a single argument, Torch returns the gradient itself.
    return gradients if isinstance(gradients, tuple) else (gradients,)


ROW = Backend(
    name="torch", package="torch", namespace="array_api_compat.torch", order=2,
    install="python -m pip install 'xpnet[torch]'",
    device=lambda xp, device: None if device is None else xp.device(device),
    devices=_devices, synchronize=_synchronize,
    detach=lambda array: array.detach() if array.requires_grad else array,
    to_host=lambda array: np.asarray(array.detach().cpu().resolve_neg().numpy()),
    readable=lambda array: bool(array.device.type == "cpu"),
    vjp=_vjp, runner=_runner, take=lambda array, rows: array.index_select(0, rows),
)  # fmt: skip
