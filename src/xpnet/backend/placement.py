"""Where arrays live: a library, a device, a dtype; what a library's row has to say."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from ..arrays import Array, array_namespace, is_array, refuse_other_library

Arrays = tuple[Array, ...]
Step = Callable[[dict[str, Any], Arrays, Arrays, Sequence[Any]], Array]
Runner = Callable[[tuple[np.ndarray, ...], np.ndarray], Array]
VJP = Callable[[Callable[..., Arrays], Arrays, Arrays], Arrays]
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
        memory = f", {self.memory / 2**30:.1f} GiB" if self.memory else ""
        driver = f", driver {self.driver}" if self.driver else ""
        cuda = f", CUDA {self.cuda}" if self.cuda else ""
        return f"{self.id}: {self.name}{memory}{driver}{cuda}"


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


def _itself(array: Array) -> Array:
    """Return an array that is on no graph."""
    return array


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
    detach
        The array itself on no graph of the library's own derivatives.
    conjugates
        How the library's own gradients of complex arrays are meant: True where the differential
        is the real part of conj(gradient) · dx, False where it is that of gradient · dx.
    vjp
        The library's own derivatives: from a function of arrays that returns a tuple of arrays,
        its arguments, and a cotangent for each array that it returns to a gradient for each
        argument. None where the library has none.
    quietly
        The context in which nets compute: what overflows shows in the result.
    runner
        From a placement, a step, its state and its data to a function that runs many steps.
    float64
        What to do where the library makes float32 of float64.
    not_distributed
        Why the backend cannot compute in several processes by torch.distributed, and what it
        has instead; empty where it can.
    float64_environment
        What a program sets in its environment before the library is imported, for float64.
    order
        Where it stands in lists.
    for_tests
        A library to check a program with, not to run it on: it is left out of reports.
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
    detach: Callable[[Array], Array] = _itself
    conjugates: bool = True
    vjp: VJP | None = None
    quietly: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext
    not_distributed: str = ""
    float64: str = "this device has no float64"
    float64_environment: Mapping[str, str] = field(default_factory=dict)
    order: int = 9
    for_tests: bool = False

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
            devices = tuple(self.devices(self.load()))
            return BackendInfo(self.name, self.version, devices)
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

    def _readable(self, array: Array) -> bool:
        """Whether the values of `array` can be looked at without waiting for a device."""
        return self.backend.readable(array)

    def _take(self, array: Array, rows: Array) -> Array:
        """Return rows of an array by their numbers, all known to exist."""
        return self.backend.take(array, rows)

    def _copy(self, array: Array, into: Array | None = None) -> Array:
        """Return a copy that operators in place leave alone.

        `into` is an earlier copy that is no longer needed: memory that is new has to be cleared
        by the system first, which can take longer than to write to it.
        """
        return self.backend.copy(array, into)

    def _quietly(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which nets compute: what overflows shows in the result."""
        return self.backend.quietly()

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        self.backend.synchronize(self.device)

    def _runner(
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

    def _check(self, array: Array, name: str) -> None:
        """Raise TypeError where `array` is not an array of this library and device."""
        wanted = f"{self.backend.name} arrays on {self.device}"
        here = is_array(array) and array_namespace(array) is self.xp
        device = array_api_compat.device(array) if here else None
        if here and (device is None or device == self.device):
            return
        how = f"convert it with numpy.asarray({name})"
        if self.backend.name != "numpy" or is_array(array):
            # The library's own name of its device may be one that `place` does not take.
            device_id = self.device_info().id
            how = (
                f"convert it with xpnet.place(xp={self.backend.name!r}, device={device_id!r})"
                f".asarray({name})"
            )
        refuse_other_library(array, self.xp, f"{name} is", f"{wanted}: {how}")
        if device != self.device:
            raise TypeError(f"{name} is on device {device}; expected {wanted}: {how}")

    def describe(self) -> str:
        """One line: library, version, device."""
        return f"{self.backend.name} {self.backend.version} on {self.device_info()}"

    def _refuse_too_large(self, size: int, what: str) -> None:
        """Raise MemoryError where `what`, of so many bytes, cannot fit on the device.

        A system may promise memory that it does not have, and end the program later.
        """
        if size < 2**28:  # looking takes milliseconds
            return
        memory = self.device_info().memory or host_memory()
        if memory is not None and size > memory:
            raise MemoryError(
                f"{what} needs {size / 2**30:,.1f} GiB; {self.device} has {memory / 2**30:,.1f}"
            )

    def device_info(self) -> DeviceInfo:
        """What is known about the device."""
        name = str(self.device)
        with contextlib.suppress(Exception):  # a description must not stop a run
            for info in self.backend.devices(self.xp):
                # Libraries spell a device in several ways.
                if self.backend.device(self.xp, info.id) == self.device:
                    return info
        return DeviceInfo(name, name)


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def dtype_name(xp: ModuleType, dtype: Any) -> str:
    """Return the standard's name of one of the floating dtypes of `xp`."""
    return next((name for name in DTYPES if dtype == getattr(xp, name)), str(dtype))


def host_memory() -> int | None:
    """Return the bytes of memory of this machine, None where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not every system tells
        return None
