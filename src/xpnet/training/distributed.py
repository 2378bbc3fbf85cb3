"""Data-parallel training: the processes that torchrun has started, working as one.

Each rank computes its share of every batch; one all-reduce of one flat buffer adds the gradients
up, and the update is the same everywhere. `OneProcess` is the same for a single one, so that
`fit` need not ask. This is the only module that names torch.distributed.
"""

from __future__ import annotations

import atexit
import functools
import importlib
import io
import json
import math
import os
import time
from collections.abc import Callable
from datetime import timedelta
from types import ModuleType
from typing import Any

import numpy as np

from ..arrays import Params
from ..backend.placement import BackendNotAvailable, Placement, first_line
from ..backend.table import placement_of
from .checkpoint import Checkpoint, Resumable, State
from .history import Reason

# Seconds to wait for another rank; XPNET_TIMEOUT in the environment sets another number.
TIMEOUT = 600.0
# Seconds in which all that live have noticed that one does not.
ANSWER = 2.0


class DistributedError(RuntimeError):
    """The ranks can no longer work together: one hangs, has ended, or has refused to begin."""


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """The number of this process among all, 0 without torchrun."""
    return int(os.environ["RANK"]) if launched() else 0


def own_device(placement: Placement, device: str | None) -> str | None:
    """Return the device of this rank where `device` leaves open which of a machine's GPUs."""
    kind = placement.device_info().id.partition(":")[0]
    if not launched() or kind != "cuda" or device not in (None, "cuda"):
        return device
    return f"cuda:{os.environ['LOCAL_RANK']}"


def job() -> str | None:
    """What the ranks that torchrun starts, and starts again, have in common; None without it."""
    if not launched():
        return None
    name = os.environ["TORCHELASTIC_RUN_ID"]
    return name if name != "none" else f"torchrun, process {os.getppid()}"


def restarts_allowed() -> int:
    """How often torchrun would start the ranks again, 0 without it."""
    return int(os.environ["TORCHELASTIC_MAX_RESTARTS"]) if launched() else 0


class OneProcess:
    """A run in one process: all of a batch is its own, and nothing has to be agreed on."""

    rank, size = 0, 1

    def share(self, batch_size: int) -> slice:
        """Return this rank's part of the rows of a batch."""
        return slice(*(r * batch_size // self.size for r in (self.rank, self.rank + 1)))

    def reducer(self, params: Params) -> Callable[[Params], Params]:
        """Return what adds up the gradients of all ranks, within a step."""
        return lambda gradient: gradient

    def add_up(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the ranks, (K,) in float64: the same bits on each."""
        return values

    def average(self, state: Params) -> None:
        """Make of the ranks' running statistics their mean, in place."""

    def agree(self, reason: Reason | None) -> Reason | None:
        """Return the reason to stop of the first rank that has one, None where none has."""
        return reason

    def begin(self, training: Resumable, checkpoint: Checkpoint | None) -> None:
        """Let rank 0 open the checkpoints; let every rank begin from the state of rank 0."""
        training.open(checkpoint)


class Group(OneProcess):
    """All ranks of a process group, which must be initialized."""

    def __init__(self, dist: ModuleType, store: Any, seconds: float) -> None:
        self._dist, self._store = dist, store
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # What the host says goes through gloo, whatever moves the gradients.
        self._host = dist.new_group(backend="gloo", timeout=timedelta(seconds=seconds))
        self._torch = importlib.import_module("torch")

    def reducer(self, params: Params) -> Callable[[Params], Params]:
        """Return what adds up the gradients of all ranks, within a step.

        The gradients are copied into one buffer, in the memory order of the parameters; Torch
        sees its memory (DLPack), and one all-reduce adds it up in place.
        """
        here = placement_of(next(iter(params.values())))
        flat = here.floats(np.zeros(sum(math.prod(p.shape) for p in params.values())))
        shared = self._torch.from_dlpack(flat)
        views, end = {}, 0
        for key, p in params.items():
            start, end = end, end + math.prod(p.shape)
            part = flat[start:end]
            if p.ndim == 2:  # as `Network.placed` lays them
                views[key] = here.xp.reshape(part, p.shape[::-1]).T
            else:
                views[key] = here.xp.reshape(part, p.shape)
        all_reduce = self._watched(self._dist.all_reduce)

        def reduce(gradient: Params) -> Params:
            for key, view in views.items():
                view[...] = gradient[key]
            all_reduce(shared)
            return views

        return reduce

    def add_up(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over the ranks, (K,) in float64: the same bits on each."""
        return self._on_host(self._dist.all_reduce, np.array(values, dtype=np.float64))

    def average(self, state: Params) -> None:
        """Make of the ranks' running statistics their mean, in place."""
        for key, s in state.items():
            here = placement_of(s)
            mean = self.add_up(here.to_host(s)) / self.size
            # In place where arrays are mutable: a step may be recorded with these very arrays.
            state[key] *= 0.0
            state[key] += here.floats(mean)

    def agree(self, reason: Reason | None) -> Reason | None:
        """Return the reason to stop of the first rank that has one, None where none has."""
        mine = np.asarray([self.size if reason is None else self.rank])
        least = self._dist.ReduceOp.MIN
        who = int(self._on_host(self._dist.all_reduce, mine, op=least)[0])
        if who == self.size:
            return None
        words = [] if reason is None else [reason.kind, reason.text]
        return Reason(*json.loads(self._broadcast(json.dumps(words).encode(), who)))

    def begin(self, training: Resumable, checkpoint: Checkpoint | None) -> None:
        """Let rank 0 open the checkpoints; let every rank begin from the state of rank 0."""
        error, content = None, b""
        try:
            if self.rank == 0:
                training.open(checkpoint)
                content = _packed(training.state(), training.history.loss)
            content = self._broadcast(content, 0)
            if self.rank != 0 and content:
                training.take_over(*_unpacked(content), "rank 0 is in")
        except DistributedError:
            raise
        except Exception as raised:  # the others must not wait for what will not come
            error = raised
            if self.rank == 0:
                self._broadcast(b"", 0)
        text = f"rank {self.rank} could not begin: {first_line(error)}" if error else ""
        reason = self.agree(Reason("error", text) if error else None)
        if error is not None:
            raise error
        if reason is not None:
            raise DistributedError(reason.text)

    def _broadcast(self, content: bytes, source: int) -> bytes:
        size = self._on_host(self._dist.broadcast, np.asarray([len(content)]), src=source)[0]
        mine = bytearray(content if self.rank == source else int(size))
        buffer = np.frombuffer(mine, dtype=np.uint8)
        if len(buffer):
            self._on_host(self._dist.broadcast, buffer, src=source)
        return buffer.tobytes()

    def _on_host(
        self, collective: Callable[..., Any], values: np.ndarray, **options: Any
    ) -> np.ndarray:
        """Return a NumPy array, which a collective has changed in place."""
        self._watched(collective)(self._torch.from_numpy(values), group=self._host, **options)
        return values

    def _watched(self, collective: Callable[..., Any]) -> Callable[..., None]:
        """Return a collective whose failure says which rank is at fault."""

        def call(*args: Any, **options: Any) -> None:
            try:
                collective(*args, **options)
            except RuntimeError as error:
                raise DistributedError(self._who(error)) from error

        return call

    def _who(self, error: RuntimeError) -> str:
        """Say which rank is at fault: all that come here sign, and see who does not."""
        what = f"rank {self.rank} of {self.size}: the ranks can no longer work together: "
        silent, end = set(range(self.size)), time.monotonic() + ANSWER
        try:
            self._store.set(f"alive {self.rank}", "")
            while silent and time.monotonic() < end:
                silent = {rank for rank in silent if not self._store.check([f"alive {rank}"])}
                time.sleep(0.02)
        except RuntimeError:  # the process that keeps the store has ended too
            silent.clear()
        if not silent:
            return what + first_line(error)
        who = ", ".join(map(str, sorted(silent)))
        return f"{what}rank {who} does not answer: it hangs or has ended ({first_line(error)})"


def join(placement: Placement) -> Group:
    """Return the group of the processes that torchrun has started, this one among them.

    A process group that the program has initialized is used as it is.

    Raises
    ------
    BackendNotAvailable
        Torch is missing, or was built without torch.distributed.
    RuntimeError
        The process was not started by torchrun.
    ValueError
        The backend computes in several processes by other means.
    """
    backend = placement.backend
    if backend.not_distributed:
        raise ValueError(
            f"distributed=True is not for backend '{backend.name}': {backend.not_distributed}"
        )
    try:
        dist = importlib.import_module("torch.distributed")
    except ImportError as error:
        raise BackendNotAvailable(
            f"distributed=True needs Torch, whatever the arrays are ({error}); install it with: "
            "python -m pip install 'xpnet[torch]'"
        ) from error
    if not dist.is_available():
        raise BackendNotAvailable("distributed=True: this build of Torch has no torch.distributed")
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= {*os.environ}:
        raise RuntimeError(
            "distributed=True: this process is not one of several; start the program with: "
            "torchrun --nproc-per-node N PROGRAM"
        )
    cuda = placement.device_info().id.startswith("cuda")
    return _group(dist, "nccl" if cuda else "gloo")


@functools.cache
def _group(dist: ModuleType, engine: str) -> Group:
    seconds = _timeout()
    wait = timedelta(seconds=seconds)
    store, rank, size = next(dist.rendezvous("env://", timeout=wait))
    store = dist.PrefixStore(_meet(store, rank, size, seconds), store)
    if not dist.is_initialized():
        dist.init_process_group(engine, store=store, rank=rank, world_size=size, timeout=wait)
        atexit.register(dist.destroy_process_group)
    return Group(dist, store, seconds)


def _meet(store: Any, rank: int, size: int, seconds: float) -> str:
    """Return a name for this meeting of the ranks, on which they agree.

    torchrun's store outlives the ranks, and Torch finds in it what ranks have left there that
    were killed: https://github.com/pytorch/pytorch/issues/135712. How often they have been
    started is known, but not the same on each machine. So every rank calls itself by a new name,
    and rank 0 answers to that name with its own.
    """
    name, end = os.urandom(16).hex(), time.monotonic() + seconds
    store.set(f"xpnet/rank {rank}", name)
    if rank != 0:
        try:
            store.wait([f"xpnet/to {name}"], timedelta(seconds=seconds))
        except RuntimeError as error:
            raise DistributedError(
                f"rank {rank} of {size}: rank 0 has not come within {seconds:g} seconds"
            ) from error
        first = str(store.get(f"xpnet/to {name}").decode())
        store.set(f"xpnet/{first} heard by {rank}", "")
        return first
    answered = dict.fromkeys(range(1, size), "")
    while answered:
        for other, before in list(answered.items()):
            if store.check([f"xpnet/{name} heard by {other}"]):
                del answered[other]
            elif store.check([f"xpnet/rank {other}"]):
                theirs = store.get(f"xpnet/rank {other}").decode()
                if theirs != before:
                    store.set(f"xpnet/to {theirs}", name)
                    answered[other] = theirs
        if time.monotonic() > end:
            missing = ", ".join(map(str, answered))
            raise DistributedError(f"rank {missing} has not come within {seconds:g} seconds")
        time.sleep(0.005)
    return name


def _timeout() -> float:
    text = os.environ.get("XPNET_TIMEOUT", "")
    try:
        seconds = float(text) if text else TIMEOUT
    except ValueError:
        seconds = math.nan
    if not 0.0 < seconds < math.inf:
        raise ValueError(f"XPNET_TIMEOUT must be a number of seconds above 0, not {text!r}")
    return seconds


def _packed(state: State, losses: np.ndarray) -> bytes:
    """Return the state of a training as bytes, without pickling."""
    (arrays, description), file = state, io.BytesIO()
    text = json.dumps([description, list(arrays)]).encode()
    np.savez(file, np.frombuffer(text, dtype=np.uint8), losses, *arrays.values())
    return file.getvalue()


def _unpacked(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any], np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        text, losses, *values = file.values()  # in the order in which they were written
    description, names = json.loads(text.tobytes())
    return dict(zip(names, values, strict=True)), description, losses
