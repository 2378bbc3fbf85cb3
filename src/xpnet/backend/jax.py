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


def _loop(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays, recordable: bool
) -> Runner:
    """Steps compiled into one program: `jit` of a loop whose length is one of its inputs."""
    jax = sys.modules["jax"]

    def block(
        state: dict[str, Any], data: Arrays, inputs: Arrays, coefficients: Array, steps: Array,
        one: Array,
    ) -> Any:  # fmt: skip
        def body(k: Array, carry: tuple[dict[str, Any], Array]) -> Any:
            moved = jax.tree.map(lambda array: array, carry[0])  # a new dict, to write to
            loss = step(moved, data, tuple(array[k] for array in inputs), coefficients[k])
            # Times 1, because XLA's loops on a CPU are slow (a number at a time) unless they have
            # two operations, and an update may have one: this makes it two, and changes no value.
            return jax.tree.map(lambda array: array * one, moved), carry[1].at[k].set(loss)

        losses = placement.xp.zeros(coefficients.shape[0], dtype=placement.dtype)
        return jax.lax.fori_loop(0, steps, body, (state, losses))

    compiled = jax.jit(block)
    one = placement.floats(np.ones(()))
    longest = 0

    def run(inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> Array:
        nonlocal longest
        count = len(coefficients)
        longest = max(longest, count)
        # A shorter block is filled up: for its own length, all would be compiled anew.
        filled = [_filled(host, longest) for host in (*inputs, coefficients)]
        placed = tuple(placement.asarray(host) for host in filled[:-1])
        new, losses = compiled(state, data, placed, placement.floats(filled[-1]), count, one)
        values = flat(new)
        for path, holder, key in places(state):
            holder[key] = values[path]
        return losses[:count]

    return run


def _filled(host: np.ndarray, length: int) -> np.ndarray:
    """Return an array with zeros behind its entries, up to a length."""
    if len(host) == length:
        return host
    return np.concatenate([host, np.zeros((length - len(host), *host.shape[1:]), host.dtype)])


def _vjp(f: Callable[..., Arrays], arguments: Arrays, cotangents: Arrays) -> Arrays:
    _, pull = sys.modules["jax"].vjp(f, *arguments)
    return cast(Arrays, pull(cotangents))


ROW = Backend(
    name="jax", package="jax", namespace="jax.numpy", order=3,
    install="python -m pip install 'xpnet[jax]'",
    device=_device, devices=_devices, synchronize=_synchronize,
    to_host=np.asarray, readable=_readable,
    runner=_loop, take=lambda array, rows: array.at[rows].get(mode="promise_in_bounds"),
    copy=lambda array, into: array, conjugates=False, vjp=_vjp,
    not_distributed="JAX has its own way to several devices and machines: see jax.distributed and "
    "jax.sharding; xpnet trains on one device of it",
    float64="turn it on before any array is made: set JAX_ENABLE_X64=1 in the environment "
    "or call jax.config.update('jax_enable_x64', True)",
    float64_environment={"JAX_ENABLE_X64": "1"},
)  # fmt: skip
