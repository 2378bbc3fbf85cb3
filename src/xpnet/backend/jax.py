"""JAX: a block of steps compiled into one program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import numpy as np

from ..arrays import Array, flat, places
from .host import cpu_name, nvidia_driver
from .placement import Arrays, Backend, DeviceInfo, Placement, Runner, Step


def _device(xp: ModuleType, device: Any) -> Any:
    if not isinstance(device, str):
        return device
    kind, _, number = device.partition(":")
    return sys.modules["jax"].devices(kind)[int(number or 0)]


def _devices(xp: ModuleType) -> list[DeviceInfo]:
    jax = sys.modules["jax"]
    found = []
    for kind in dict.fromkeys([jax.default_backend(), "cpu"]):
        for number, device in enumerate(jax.devices(kind)):
            name = f"{kind}:{number}"
            if device.platform == "cpu":
                found.append(DeviceInfo(name, cpu_name()))
            else:
                limit = (device.memory_stats() or {}).get("bytes_limit")
                found.append(DeviceInfo(name, device.device_kind, limit, nvidia_driver()))
    return found


def _readable(array: Array) -> bool:
    jax = sys.modules["jax"]
    # Inside jit an array has no values yet.
    return not isinstance(array, jax.core.Tracer) and next(iter(array.devices())).platform == "cpu"


def _synchronize(device: Any) -> None:
    jax = sys.modules["jax"]
    # A device works in order, so a new result comes after all that was asked before.
    jax.block_until_ready(jax.device_put(0.0, device) + 1.0)


def _scan(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays, recordable: bool
) -> Runner:
    """Steps compiled into one program: `jit` of a `lax.scan`."""
    jax = sys.modules["jax"]

    def block(
        state: dict[str, Any], data: Arrays, inputs: Arrays, coefficients: Array, one: Array
    ) -> Any:
        def body(carry: dict[str, Any], now: tuple[Arrays, Array]) -> tuple[Any, Array]:
            carry = jax.tree.map(lambda array: array, carry)  # a new dict, to write to
            loss = step(carry, data, *now)
            # Times 1, because XLA's loops on a CPU are slow (a number at a time) unless they have
            # two operations, and an update may have one: this makes it two, and changes no value.
            return jax.tree.map(lambda array: array * one, carry), loss

        return jax.lax.scan(body, state, (inputs, coefficients))

    compiled = jax.jit(block)
    one = placement.floats(np.ones(()))

    def run(inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> Array:
        placed = tuple(placement.asarray(host) for host in inputs)
        new, losses = compiled(state, data, placed, placement.floats(coefficients), one)
        values = flat(new)
        for path, holder, key in places(state):
            holder[key] = values[path]
        return losses

    return run


def _vjp(f: Callable[..., Arrays], arguments: Arrays, cotangents: Arrays) -> Arrays:
    _, pull = sys.modules["jax"].vjp(f, *arguments)
    return cast(Arrays, pull(cotangents))


ROW = Backend(
    name="jax", package="jax", namespace="jax.numpy", order=3,
    install="python -m pip install 'xpnet[jax]'",
    device=_device, devices=_devices, synchronize=_synchronize,
    to_host=np.asarray, readable=_readable,
    runner=_scan, take=lambda array, rows: array.at[rows].get(mode="promise_in_bounds"),
    copy=lambda array, into: array, conjugates=False, vjp=_vjp,
    not_distributed="JAX has its own way to several devices and machines: see jax.distributed and "
    "jax.sharding; xpnet trains on one device of it",
    float64="turn it on before any array is made: set JAX_ENABLE_X64=1 in the environment "
    "or call jax.config.update('jax_enable_x64', True)",
    float64_environment={"JAX_ENABLE_X64": "1"},
)  # fmt: skip
