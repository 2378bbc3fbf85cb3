"""The array libraries: how each is found, placed, read back and made to run steps.

This is the only module that knows an array library by name. Everything else computes in the
namespace of the arrays that it is given. A library is one row of `BACKENDS`; adding one is
adding a row.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import array_api_compat
import numpy as np

from .checks import array_namespace, is_array

Array = Any
Arrays = tuple[Array, ...]
Step = Callable[[dict[str, Any], Arrays, Arrays, Sequence[Any]], Array]
Runner = Callable[[tuple[np.ndarray, ...], np.ndarray], Array]

DTYPES = ("float32", "float64")


class BackendNotAvailable(RuntimeError):
    """A backend that is not installed, or that finds no device to run on."""


@dataclass(frozen=True)
class DeviceInfo:
    """One device that a backend can use.

    `id` is what ``device=`` takes; `memory` is in bytes, None where unknown.
    """

    id: str
    name: str
    memory: int | None = None
    driver: str | None = None
    cuda: str | None = None

    def __str__(self) -> str:
        parts = [self.name]
        if self.memory:
            parts.append(f"{self.memory / 2**30:.1f} GiB")
        if self.driver:
            parts.append(f"driver {self.driver}")
        if self.cuda:
            parts.append(f"CUDA {self.cuda}")
        return f"{self.id}: {', '.join(parts)}"


@dataclass(frozen=True)
class BackendInfo:
    """What `backends` found out about one backend; `reason` says why it cannot run here."""

    name: str
    version: str | None
    devices: tuple[DeviceInfo, ...]
    reason: str | None = None

    @property
    def available(self) -> bool:
        """Whether nets can run on this backend, on this machine, now."""
        return self.reason is None

    def __str__(self) -> str:
        title = self.name if self.version is None else f"{self.name} {self.version}"
        if self.reason is not None:
            return f"{title}: not available: {self.reason}"
        return f"{title}: " + "; ".join(str(device) for device in self.devices)


def _numeric(values: Any) -> np.ndarray:
    if isinstance(values, np.ndarray) and hasattr(values, "mask"):  # np.ma takes long to import
        raise TypeError("a masked array would lose its mask: fill it first, with .filled(value)")
    host = np.asarray(values)
    if host.dtype.kind not in "biufc":
        raise TypeError(
            f"a {type(values).__name__} is no array of numbers: NumPy finds {host.dtype} in it"
        )
    return host


def _plain(host: np.ndarray) -> np.ndarray:
    """Return a NumPy array in the machine's byte order, writable, no stride negative.

    Libraries refuse other byte orders; Torch refuses negative strides, and warns of memory that
    must not be written to.
    """
    if host.dtype.isnative and host.flags.writeable and min(host.strides, default=0) >= 0:
        return host
    return host.astype(host.dtype.newbyteorder("="), order="C")


def _copied(array: Array, into: Array | None) -> Array:
    """Return a copy that operators in place leave alone."""
    if into is None:
        return array_namespace(array).asarray(array, copy=True)
    into[...] = array
    return into


@dataclass(frozen=True)
class Backend:
    """A row of the table: what has to be known about one array library.

    Attributes
    ----------
    name
        The name that users give.
    package
        The module whose import shows that the library is installed.
    namespace
        The module that follows the array API standard.
    install
        The line that installs it.
    device
        From the user's `device` to the library's own.
    devices
        The devices of this machine; raises the library's own error where there is none.
    to_host
        A NumPy copy or view of an array. Waits for the device.
    readable
        Whether the values of an array can be looked at without waiting for a device.
    synchronize
        Waits until a device has done all that it was given.
    from_host
        From a NumPy array to one of the same values that the library takes.
    take
        Rows of an array by their numbers, all known to exist. The standard's `take` may look
        for others first.
    copy
        A copy that operators in place leave alone: where arrays never change, the array itself.
        The second argument is an earlier copy, or None.
    quietly
        The context in which nets compute: what overflows shows in the result.
    runner
        From a placement, a step, its state and its data to a function that runs many steps.
    float64
        What to do where the library makes float32 of float64.
    alone
        Why the backend cannot compute in several processes by torch.distributed, and what it
        has instead; empty where it can.
    float64_environment
        What a program sets in its environment before the library is imported, for float64.
    """

    name: str
    package: str
    namespace: str
    install: str
    device: Callable[[ModuleType, Any], Any]
    devices: Callable[[ModuleType], list[DeviceInfo]]
    to_host: Callable[[Array], np.ndarray]
    readable: Callable[[Array], bool]
    synchronize: Callable[[Any], None]
    runner: Callable[[Placement, Step, dict[str, Any], Arrays, bool], Runner]
    take: Callable[[Array, Array], Array]
    from_host: Callable[[np.ndarray], np.ndarray] = _plain
    copy: Callable[[Array, Array | None], Array] = _copied
    quietly: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    alone: str = ""
    float64: str = "this device has no float64"
    float64_environment: Mapping[str, str] = field(default_factory=dict)

    def load(self) -> ModuleType:
        """Import the library and return its array API namespace."""
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            raise BackendNotAvailable(
                f"backend '{self.name}' is not installed ({error}); install it with: {self.install}"
            ) from error
        return importlib.import_module(self.namespace)

    @property
    def version(self) -> str | None:
        """The version of the imported library, None where it is not imported."""
        return getattr(sys.modules.get(self.package), "__version__", None)

    def info(self) -> BackendInfo:
        """What this machine can run of it, or why not."""
        try:
            devices = self.devices(self.load())
            return BackendInfo(self.name, self.version, tuple(devices))
        except Exception as error:  # a driver may fail with any error of its own
            return BackendInfo(self.name, self.version, (), first_line(error))


@dataclass(frozen=True)
class Placement:
    """Where arrays live: a library, one of its devices, a floating-point dtype."""

    backend: Backend
    xp: ModuleType
    device: Any
    dtype: Any

    @property
    def dtype_name(self) -> str:
        """The dtype's name, such as 'float32'."""
        return dtype_name(self.xp, self.dtype)

    def asarray(self, values: Any, dtype: Any = None) -> Array:
        """Move a NumPy array, or what NumPy makes a numeric array of, here.

        Parameters
        ----------
        values : array_like
        dtype : dtype, optional
            Of the library. None: that of `values`.

        Returns
        -------
        array

        Raises
        ------
        TypeError
            `values` is a masked array, whose mask would be lost, or is not numeric.
        """
        if isinstance(values, np.ndarray) or not array_api_compat.is_array_api_obj(values):
            values = self.backend.from_host(_numeric(values))
        return self.xp.asarray(values, dtype=dtype, device=self.device)

    def floats(self, values: np.ndarray) -> Array:
        """Move a NumPy array here as an array of this dtype; always a copy."""
        return self.asarray(np.array(values, dtype=self.dtype_name, order="C"))

    def to_host(self, array: Array) -> np.ndarray:
        """Return a NumPy array of the same values. Waits for the device."""
        return self.backend.to_host(array)

    def readable(self, array: Array) -> bool:
        """Whether the values of `array` can be looked at without waiting for a device."""
        return self.backend.readable(array)

    def take(self, array: Array, rows: Array) -> Array:
        """Return rows of an array by their numbers, all known to exist."""
        return self.backend.take(array, rows)

    def copy(self, array: Array, into: Array | None = None) -> Array:
        """Return a copy that operators in place leave alone.

        `into` is an earlier copy that is no longer needed: memory that is new has to be cleared
        by the system first, which can take longer than to write to it.
        """
        return self.backend.copy(array, into)

    def quietly(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which nets compute: what overflows shows in the result."""
        return self.backend.quietly()

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        self.backend.synchronize(self.device)

    def runner(
        self, step: Step, state: dict[str, Any], data: Arrays, *, recordable: bool = True
    ) -> Runner:
        """Return a function that runs many steps: (inputs, coefficients) -> losses.

        Parameters
        ----------
        step
            ``step(state, data, inputs, coefficients) -> loss``: updates the entries of `state`
            in place (or rebinds them) and returns a 0-d array.
        state
            A dict of arrays and of dicts of arrays; it holds the new arrays after each run.
        data
            Arrays that the step reads.
        recordable
            False for a step that talks to other processes: it is not recorded for replay.

        Returns
        -------
        callable
            Takes what is new in each of K steps: the inputs, a tuple of NumPy arrays (K, ...),
            such as the row numbers of K batches, (K, batch); and the numbers of K updates, a
            NumPy array (K, m). Returns the K losses as an array on the device.
        """
        return self.backend.runner(self, step, state, data, recordable)

    def check(self, array: Array, name: str) -> None:
        """Raise TypeError where `array` is not an array of this library and device."""
        wanted = f"{self.backend.name} arrays on {self.device}"
        how = (
            f"convert it with xpnet.place(xp={self.backend.name!r}, "
            f"device={str(self.device)!r}).asarray({name})"
        )
        if not is_array(array):
            raise TypeError(
                f"{name} is a {type(array).__name__}, not an array; expected {wanted}: {how}"
            )
        xp = array_api_compat.array_namespace(array)
        if xp is not self.xp:
            came = backend_of(array)
            raise TypeError(
                f"{name} is an array of {came.name if came else xp.__name__}; "
                f"expected {wanted}: {how}"
            )
        device = array_api_compat.device(array)
        if device is not None and device != self.device:
            raise TypeError(f"{name} is on device {device}; expected {wanted}: {how}")

    def describe(self) -> str:
        """One line: library, version, device."""
        return f"{self.backend.name} {self.backend.version} on {self.device_info()}"

    def refuse_too_large(self, size: int, what: str) -> None:
        """Raise MemoryError where `what`, of so many bytes, cannot fit on the device.

        A system may promise memory that it does not have, and end the program later.
        """
        if size < 2**28:  # looking takes milliseconds
            return
        memory = self.device_info().memory or _host_memory()
        if memory is not None and size > memory:
            raise MemoryError(
                f"{what} needs {size / 2**30:,.1f} GiB; {self.device} has {memory / 2**30:,.1f}"
            )

    def device_info(self) -> DeviceInfo:
        """What is known about the device."""
        name = str(self.device)
        try:
            for info in self.backend.devices(self.xp):
                # Libraries spell a device in several ways.
                if self.backend.device(self.xp, info.id) == self.device:
                    return info
        except Exception:  # a description must not stop a run
            pass
        return DeviceInfo(name, name)


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def dtype_name(xp: ModuleType, dtype: Any) -> str:
    """Return the standard's name of one of the floating dtypes of `xp`."""
    return next((name for name in DTYPES if dtype == getattr(xp, name)), str(dtype))


# --- one library each ------------------------------------------------------------------------


@functools.cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def _nvidia_driver() -> str | None:
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


def _host_device(xp: ModuleType, device: Any) -> Any:
    if device not in (None, "cpu"):
        raise ValueError(f"device must be 'cpu' or None for numpy, not {device!r}")
    return device


def _host_devices(xp: ModuleType) -> list[DeviceInfo]:
    return [DeviceInfo("cpu", _cpu_name())]


def _host_memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return None


def _no_floating_point_warnings() -> contextlib.AbstractContextManager[Any]:
    return np.errstate(over="ignore", invalid="ignore")


def _wait_for_nothing(device: Any) -> None:
    pass


def _loop(
    placement: Placement,
    step: Step,
    state: dict[str, Any],
    data: Arrays,
    recordable: bool = True,
) -> Runner:
    """Steps one after the other; what any library can do."""

    def run(inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> Array:
        placed = tuple(placement.asarray(host) for host in inputs)
        with placement.quietly():
            # Python floats: a NumPy float64 scalar would promote every float32 update.
            losses = [
                step(state, data, tuple(array[k, ...] for array in placed), numbers)
                for k, numbers in enumerate(coefficients.tolist())
            ]
        return placement.xp.stack(losses)

    return run


def _tensors(state: dict[str, Any]) -> list[tuple[dict[str, Any], str, Array]]:
    """Every array of a state, with the dict and the key that hold it."""
    found: list[tuple[dict[str, Any], str, Array]] = []
    for key, value in state.items():
        found += _tensors(value) if isinstance(value, dict) else [(state, key, value)]
    return found


def _torch_runner(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays, recordable: bool
) -> Runner:
    """A CUDA graph where there is CUDA; XPNET_CUDA_GRAPH=0 in the environment turns it off."""
    recordable = recordable and os.environ.get("XPNET_CUDA_GRAPH") != "0"
    if placement.device.type != "cuda" or not recordable:
        loop = _loop(placement, step, state, data)
        # Spares each operation what automatic differentiation would have to know of it.
        return cast(Runner, sys.modules["torch"].inference_mode()(loop))
    return _graph(placement, step, state, data)


def _graph(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays
) -> Runner:
    """Steps recorded once as a CUDA graph of a whole block, and replayed.

    A graph repeats kernels on fixed addresses: inputs and coefficients are copied into buffers,
    and the step must change the state's arrays in place. The first block of each length runs
    eagerly (which also warms the libraries up), the second is recorded. What cannot be recorded
    runs eagerly, and a warning says why.
    """
    torch = sys.modules["torch"]
    eager = _loop(placement, step, state, data)
    recorded: dict[int, tuple[Any, Arrays, Array, Array]] = {}
    seen: set[int] = set()
    fixed: list[tuple[dict[str, Any], str, Array]] = []
    why_not = ""

    def record(length: int, inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> None:
        buffers = tuple(placement.asarray(host) for host in inputs)
        numbers = placement.floats(coefficients)
        graph = torch.cuda.CUDAGraph()
        before = _tensors(state)
        try:
            with torch.cuda.device(placement.device), torch.cuda.graph(graph):
                losses = torch.stack(
                    [
                        step(state, data, tuple(array[k] for array in buffers), numbers[k, :])
                        for k in range(length)
                    ]
                )
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
                warnings.warn(
                    f"steps run one by one, not as a CUDA graph: {why_not}", stacklevel=2
                )
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


def _torch_device(xp: ModuleType, device: Any) -> Any:
    return None if device is None else xp.device(device)


def _torch_devices(xp: ModuleType) -> list[DeviceInfo]:
    found = _host_devices(xp)
    for i in range(xp.cuda.device_count()):
        gpu = xp.cuda.get_device_properties(i)
        found.append(
            DeviceInfo(
                f"cuda:{i}", gpu.name, gpu.total_memory, _nvidia_driver(), xp.version.cuda
            )
        )
    if xp.backends.mps.is_available():
        found.append(DeviceInfo("mps:0", "Apple GPU (Metal)"))
    return found


def _torch_synchronize(device: Any) -> None:
    if device.type != "cpu":
        getattr(sys.modules["torch"], device.type).synchronize()


def _torch_to_host(array: Array) -> np.ndarray:
    return np.asarray(array.detach().cpu().resolve_neg().numpy())


def _cupy_device(xp: ModuleType, device: Any) -> Any:
    if device is None:
        return xp.cuda.Device()
    if isinstance(device, str):
        kind, _, number = device.partition(":")
        if kind not in ("cuda", "gpu") or not (number or "0").isdigit():
            raise ValueError(f"device must be a number or 'cuda:N' for cupy, not {device!r}")
        device = int(number or 0)
    return xp.cuda.Device(device)


def _cupy_devices(xp: ModuleType) -> list[DeviceInfo]:
    runtime = xp.cuda.runtime
    version = runtime.runtimeGetVersion()
    found = []
    for i in range(runtime.getDeviceCount()):
        gpu = runtime.getDeviceProperties(i)
        found.append(
            DeviceInfo(
                f"cuda:{i}",
                gpu["name"].decode(),
                gpu["totalGlobalMem"],
                _nvidia_driver(),
                f"{version // 1000}.{version % 1000 // 10}",
            )
        )
    if not found:
        raise BackendNotAvailable("no CUDA device")
    return found


def _cupy_synchronize(device: Any) -> None:
    device.synchronize()


def _jax_device(xp: ModuleType, device: Any) -> Any:
    if not isinstance(device, str):
        return device
    kind, _, number = device.partition(":")
    return sys.modules["jax"].devices(kind)[int(number or 0)]


def _jax_devices(xp: ModuleType) -> list[DeviceInfo]:
    jax = sys.modules["jax"]
    found = []
    kinds = dict.fromkeys([jax.default_backend(), "cpu"])
    numbered = [(kind, *pair) for kind in kinds for pair in enumerate(jax.devices(kind))]
    for kind, number, device in numbered:
        name = f"{kind}:{number}"
        if device.platform == "cpu":
            found.append(DeviceInfo(name, _cpu_name()))
        else:
            limit = (device.memory_stats() or {}).get("bytes_limit")
            found.append(DeviceInfo(name, device.device_kind, limit, _nvidia_driver()))
    return found


def _jax_readable(array: Array) -> bool:
    jax = sys.modules["jax"]
    # Inside jit an array has no values yet.
    return not isinstance(array, jax.core.Tracer) and next(iter(array.devices())).platform == "cpu"


def _jax_synchronize(device: Any) -> None:
    jax = sys.modules["jax"]
    # A device works in order, so a new result comes after all that was asked before.
    jax.block_until_ready(jax.device_put(0.0, device) + 1.0)


def _rebind(state: dict[str, Any], new: dict[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict):
            _rebind(state[key], value)
        else:
            state[key] = value


def _scan(
    placement: Placement, step: Step, state: dict[str, Any], data: Arrays, recordable: bool
) -> Runner:
    """Steps compiled into one program: `jit` of a `lax.scan`."""
    jax = sys.modules["jax"]

    def block(
        state: dict[str, Any], data: Arrays, inputs: Arrays, coefficients: Array, one: Array
    ) -> tuple[dict[str, Any], Array]:
        def body(carry: dict[str, Any], now: tuple[Arrays, Array]) -> tuple[Any, Array]:
            carry = jax.tree.map(lambda array: array, carry)  # a new dict, to write to
            loss = step(carry, data, *now)
            # Times 1, because XLA's loops on a CPU are slow (a number at a time) unless they have
            # two operations, and an update may have one: this makes it two, and changes no value.
            return jax.tree.map(lambda array: array * one, carry), loss

        new, losses = jax.lax.scan(body, state, (inputs, coefficients))
        return new, losses

    compiled = jax.jit(block)
    one = placement.floats(np.ones(()))

    def run(inputs: tuple[np.ndarray, ...], coefficients: np.ndarray) -> Array:
        placed = tuple(placement.asarray(host) for host in inputs)
        new, losses = compiled(state, data, placed, placement.floats(coefficients), one)
        _rebind(state, new)
        return losses

    return run


def _strict_device(xp: ModuleType, device: Any) -> Any:
    return xp.Device(device) if isinstance(device, str) else device


def _strict_devices(xp: ModuleType) -> list[DeviceInfo]:
    names = ("CPU_DEVICE", "device1", "device2")
    return [DeviceInfo(name, "virtual device") for name in names]


def _strict_to_host(array: Array) -> np.ndarray:
    xp = sys.modules["array_api_strict"]
    return np.asarray(array.to_device(xp.Device("CPU_DEVICE")))


def _strict_readable(array: Array) -> bool:
    # The other devices stand in for a GPU: looking at their values raises.
    return bool(array.device == sys.modules["array_api_strict"].Device("CPU_DEVICE"))


BACKENDS: dict[str, Backend] = {
    row.name: row
    for row in (
        Backend(
            name="numpy",
            package="numpy",
            namespace="array_api_compat.numpy",
            install="python -m pip install numpy",
            device=_host_device,
            devices=_host_devices,
            to_host=np.asarray,
            readable=lambda array: True,
            synchronize=_wait_for_nothing,
            runner=_loop,
            take=lambda array, rows: array.take(rows, axis=0),
            from_host=lambda host: host,
            quietly=_no_floating_point_warnings,
        ),
        Backend(
            name="cupy",
            package="cupy",
            namespace="array_api_compat.cupy",
            install="python -m pip install 'xpnet[cupy]' (CUDA 12) or 'xpnet[cupy-cuda13]'",
            device=_cupy_device,
            devices=_cupy_devices,
            to_host=lambda array: np.asarray(array.get()),
            readable=lambda array: False,
            synchronize=_cupy_synchronize,
            runner=_loop,
            take=lambda array, rows: array.take(rows, axis=0),
        ),
        Backend(
            name="torch",
            package="torch",
            namespace="array_api_compat.torch",
            install="python -m pip install 'xpnet[torch]'",
            device=_torch_device,
            devices=_torch_devices,
            to_host=_torch_to_host,
            readable=lambda array: bool(array.device.type == "cpu"),
            synchronize=_torch_synchronize,
            runner=_torch_runner,
            take=lambda array, rows: array.index_select(0, rows),
        ),
        Backend(
            name="jax",
            package="jax",
            namespace="jax.numpy",
            install="python -m pip install 'xpnet[jax]'",
            device=_jax_device,
            devices=_jax_devices,
            to_host=np.asarray,
            readable=_jax_readable,
            synchronize=_jax_synchronize,
            runner=_scan,
            take=lambda array, rows: array.at[rows].get(mode="promise_in_bounds"),
            copy=lambda array, into: array,
            alone="JAX has its own way to several devices and machines: see jax.distributed and "
            "jax.sharding; xpnet trains on one device of it",
            float64="turn it on before any array is made: set JAX_ENABLE_X64=1 in the environment "
            "or call jax.config.update('jax_enable_x64', True)",
            float64_environment={"JAX_ENABLE_X64": "1"},
        ),
        Backend(
            name="array_api_strict",
            package="array_api_strict",
            namespace="array_api_strict",
            install="python -m pip install array-api-strict",
            device=_strict_device,
            devices=_strict_devices,
            to_host=_strict_to_host,
            readable=_strict_readable,
            synchronize=_wait_for_nothing,
            runner=_loop,
            take=lambda array, rows: sys.modules["array_api_strict"].take(array, rows, axis=0),
            alone="it is for tests",
            quietly=_no_floating_point_warnings,
        ),
    )
}

# Libraries to check a program with, not to run it on: they are left out of reports.
FOR_TESTS = ("array_api_strict",)


# --- what others call ------------------------------------------------------------------------


def backends() -> tuple[BackendInfo, ...]:
    """Say what this machine can run.

    Imports every library that is installed, which can take seconds.

    Returns
    -------
    tuple of BackendInfo
        One for each backend: ``name``, ``version``, ``available``, ``devices`` (each with
        ``id``, ``name``, ``memory`` in bytes, ``driver``, ``cuda``), and ``reason``, None or
        why it cannot run here.

    Examples
    --------
    >>> import xpnet
    >>> [info.name for info in xpnet.backends()]
    ['numpy', 'cupy', 'torch', 'jax']
    >>> xpnet.backends()[0].available
    True
    """
    return tuple(row.info() for name, row in BACKENDS.items() if name not in FOR_TESTS)


def backend_of(array: Array) -> Backend | None:
    """Return the backend that an array belongs to, None for an unknown library."""
    name = _short_name(array_api_compat.array_namespace(array).__name__)
    return BACKENDS.get(name)


def place(xp: Any = None, device: Any = None, dtype: Any = None) -> Placement:
    """Resolve the three words that say where a net lives.

    Parameters
    ----------
    xp : module or str, optional
        ``numpy``, ``cupy``, ``torch``, ``jax.numpy``, a compat twin of these, or a name:
        "numpy", "cupy", "torch", "jax". None means NumPy.
    device : optional
        Whatever the library takes: "cuda", "cuda:1", a ``torch.device``, a CuPy device or its
        number, a JAX device. None means the library's default.
    dtype : str or dtype, optional
        "float32" or "float64", or the library's own object. None means float32.

    Returns
    -------
    Placement
        With ``xp``, ``device``, ``dtype`` and ``asarray``, which moves a NumPy array there.

    Raises
    ------
    BackendNotAvailable
        The library is not installed (the message has the line that installs it), or it finds
        no such device (the message is the driver's own).
    ValueError
        An unknown backend or dtype; the message lists the known ones.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> here = xpnet.place("numpy", dtype="float64")
    >>> here.asarray(np.zeros(2)).dtype
    dtype('float64')
    """
    backend = _backend(xp)
    namespace = backend.load()
    wanted = _dtype(namespace, dtype)
    try:
        where = backend.device(namespace, device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the dtype is checked below
            probe = namespace.zeros((), dtype=wanted, device=where)
        found = array_api_compat.device(probe)
    except ValueError:  # not a device of this library
        raise
    except Exception as error:  # a driver may fail with any error of its own
        asked = "" if device is None else f" with device {str(device)!r}"
        raise BackendNotAvailable(
            f"backend '{backend.name}'{asked} cannot run here: {first_line(error)}"
        ) from error
    if probe.dtype != wanted:
        raise BackendNotAvailable(
            f"backend '{backend.name}' made {probe.dtype} of {dtype}: {backend.float64}"
        )
    return Placement(backend, namespace, found, wanted)


def placement_of(array: Array) -> Placement:
    """Return the placement of an array of a floating-point dtype."""
    backend = backend_of(array)
    if backend is None:
        raise TypeError(f"arrays of {array_api_compat.array_namespace(array).__name__} are unknown")
    return Placement(backend, backend.load(), array_api_compat.device(array), array.dtype)


def _short_name(module: str) -> str:
    # Compat twins may be vendored: 'sklearn.externals.array_api_compat.torch' is torch.
    return module.rpartition("array_api_compat.")[2].partition(".")[0]


def _backend(xp: Any) -> Backend:
    if xp is None:
        return BACKENDS["numpy"]
    if isinstance(xp, ModuleType):
        name = _short_name(xp.__name__)
    elif isinstance(xp, str):
        name = xp
    else:
        raise TypeError(f"xp must be a module or a name, not {type(xp).__name__}")
    if name not in BACKENDS:
        known = ", ".join(repr(key) for key in BACKENDS)
        raise ValueError(f"unknown backend {name!r}; known are {known}")
    return BACKENDS[name]


def _dtype(xp: ModuleType, dtype: Any) -> Any:
    if dtype is None:
        return xp.float32
    if isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic)):
        name = np.dtype(dtype).name
    else:
        name = dtype if isinstance(dtype, str) else dtype_name(xp, dtype)
    if name in DTYPES:
        return getattr(xp, name)
    known = " or ".join(repr(name) for name in DTYPES)
    raise ValueError(f"dtype must be {known}, not {str(dtype)!r}")
