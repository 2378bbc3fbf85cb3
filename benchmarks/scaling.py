"""Step time against ranks, beside Torch's DistributedDataParallel; what the cost model is made of.

    python benchmarks/scaling.py run RESULTS.json
    python benchmarks/scaling.py run RESULTS.json --ranks 1 --ranks 2 --net 784-100-10:100
    torchrun --standalone --nproc-per-node 2 benchmarks/scaling.py rank PART.json

The first starts torchrun for each number of ranks, one thread a rank, and writes one JSON. The
last is one of these runs, for a start by hand, such as over several machines. All ranks are
processes that torchrun has started, on gloo over the network (loopback, on one machine).

What is timed, in each run:

- steps of each net by `xpnet.fit(..., distributed=True)`, on NumPy and on Torch, from the end of
  its first block of steps to the end of its last: all that a user waits for in each step, with
  the losses, the sum over the ranks and the callbacks, but not the checks at the call;
- the same steps by DistributedDataParallel: eager, ``gradient_as_bucket_view=True``, the fused
  SGD, gradients set to None, the batch taken by the same `index_select`, its row numbers drawn
  beforehand, the loss kept nowhere (the net has no buffers that it could broadcast);
- with one rank, the bare step beside them: the runner alone, without reduction, without `fit`;
- the bare step against the rows of a rank's share, on all ranks at once;
- one all-reduce against its bytes.

The contenders take turns in the same processes, the other way round in every second round. A
round's time is that of its slowest rank.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import gc
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import machine
import numpy as np
import torch
import torch.distributed as dist
from peers import mnist

import xpnet
from xpnet.training.blocks import Batches
from xpnet.training.plan import default_block
from xpnet.training.sources import Resident
from xpnet.training.step import make_step

NETS = ["784-100-10:100", "784-1024-1024-10:100", "784-4096-4096-10:256"]
LIBRARIES = ("numpy", "torch")
SHARES = (1, 4, 16, 64, 256)  # rows of a rank
SIZES = tuple(2**k for k in range(10, 29, 2))  # bytes: 1 KiB to 256 MiB
RATE = 0.1
LEAST_ROUNDS = 3
# With one thread for each library in each process, no contender waits for another's threads.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
Lane = Callable[[int], float]


# --- lanes: each runs some steps and returns their seconds ---------------------------------------


@functools.cache
def placed(library: str) -> tuple[Any, Any]:
    x, t = mnist()[:2]
    here = xpnet.place(library)
    return here.asarray(x), here.asarray(t)


def net_on(library: str, sizes: list[int]) -> xpnet.MLP:
    return xpnet.MLP(sizes, weight_init="xavier", xp=library, seed=0)


def fit_lane(
    library: str, sizes: list[int], batch: int, block: int,
    at_the_ends: Callable[[], Any] = lambda: None,
) -> Lane:  # fmt: skip
    """`xpnet.fit`, from the end of its first block; calls `at_the_ends` there and at its end."""
    net = net_on(library, sizes)  # trained on by every call: its draws take long

    def go(steps: int) -> float:
        stamps: list[float] = []

        def stamp(progress: xpnet.training.Progress) -> None:
            if progress.step in (block, steps + block):
                at_the_ends()
            stamps.append(time.perf_counter())

        xpnet.fit(
            net, *placed(library), steps=steps + block, batch_size=batch,
            learning_rate=RATE, callbacks=[stamp], distributed=True,
        )  # fmt: skip
        return stamps[-1] - stamps[0]

    return go


def ddp_net(sizes: list[int]) -> torch.nn.Module:
    """The same net from the same weights."""
    params = net_on("torch", sizes).params
    layers: list[torch.nn.Module] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes), 1):
        linear = torch.nn.Linear(inputs, outputs)
        with torch.no_grad():
            linear.weight.copy_(params[f"W{i}"].T)
            linear.bias.copy_(params[f"b{i}"])
        layers += [linear, torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers[:-1])


def ddp_lane(sizes: list[int], batch: int, order: torch.Tensor) -> tuple[Lane, torch.nn.Module]:
    net = torch.nn.parallel.DistributedDataParallel(ddp_net(sizes), gradient_as_bucket_view=True)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, fused=True)
    x, t = placed("torch")
    cross_entropy = torch.nn.functional.cross_entropy

    def go(steps: int) -> float:
        start = time.perf_counter()
        for k in range(steps):
            rows = order[k % len(order)]
            optimizer.zero_grad(set_to_none=True)
            loss = cross_entropy(net(x.index_select(0, rows)), t.index_select(0, rows))
            loss.backward()
            optimizer.step()
        return time.perf_counter() - start

    return go, net


def step_lane(net: xpnet.MLP, rows: np.ndarray) -> Lane:
    """The bare steps on a batch of a rank's own, nothing reduced."""
    rule = xpnet.optimizers.SGD()
    source = Resident(net.placement._take, placed(net.placement.backend.name))
    step = make_step(net, rule, net._backpropagate, source)
    run = net.placement._runner(step, {"params": net.params, "slots": {}}, source.data)

    def go(steps: int) -> float:
        inputs = source.inputs(rows[np.arange(steps) % len(rows)])
        coefficients = rule.coefficients(np.arange(steps) + 1, np.full(steps, RATE))
        start = time.perf_counter()
        run(inputs, coefficients)
        return time.perf_counter() - start

    return go


def all_reduce_lane(size: int) -> Lane:
    values = torch.zeros(size // 4)

    def go(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            dist.all_reduce(values)
        return time.perf_counter() - start

    return go


# --- a race ------------------------------------------------------------------------------------


def slowest(values: list[float]) -> list[float]:
    """The largest value of all ranks."""
    found = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(found, op=dist.ReduceOp.MAX)
    return found.tolist()


def turn(go: Lane, steps: int) -> float:
    dist.barrier()
    gc.collect()
    gc.disable()
    try:
        return go(steps)
    finally:
        gc.enable()


def steps_for(seconds: float, lanes: dict[str, Lane], block: int) -> int:
    """Steps, whole blocks, in which the fastest lane takes about so many seconds."""
    for go in lanes.values():
        turn(go, block)  # warms up: buffers, buckets, connections
    blocks = 1
    while True:
        took = min(slowest([turn(go, blocks * block) for go in lanes.values()]))
        if took > seconds / 4:
            return block * max(1, round(blocks * seconds / took))
        blocks *= 4  # one step may be over before the clock has moved far


def race(
    lanes: dict[str, Lane], steps: dict[str, int], words: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of a step, one number a round, of lanes that take turns."""
    found: dict[str, list[float]] = {name: [] for name in lanes}
    gc.collect()
    gc.freeze()  # so that the collection before each turn takes no time
    start = time.perf_counter()
    for r in range(words.rounds):
        if r >= LEAST_ROUNDS and slowest([time.perf_counter() - start])[0] > words.most:
            break
        for name in lanes if r % 2 == 0 else reversed(lanes):
            found[name].append(turn(lanes[name], steps[name]) / steps[name])
    gc.unfreeze()
    return {name: slowest(seconds) for name, seconds in found.items()}


# --- what crosses the network ---------------------------------------------------------------------


def loopback_bytes() -> int | None:
    """What this machine has sent to itself so far, headers and all; None where it is not told."""
    try:
        lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    fields = next((line.split(":")[1].split() for line in lines if line.strip()[:3] == "lo:"), None)
    return None if fields is None else int(fields[8])


class Counter:
    """Counts the bytes given to all_reduce: those of the gradients, and the host's own."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {"gradients": 0, "host": 0}
        self.bytes: dict[str, int] = {"gradients": 0, "host": 0}
        self._real = dist.all_reduce

    def __enter__(self) -> Self:
        def counted(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            kind = "gradients" if options.get("group") is None else "host"
            self.calls[kind] += 1
            self.bytes[kind] += tensor.numel() * tensor.element_size()
            return self._real(tensor, *args, **options)

        dist.all_reduce = counted
        return self

    def __exit__(self, *error: object) -> None:
        dist.all_reduce = self._real


class Loopback:
    """What crosses the loopback interface between a first call and the last, less what idles."""

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._seen: list[tuple[float, int | None]] = []

    def note(self) -> None:
        self._seen.append((time.perf_counter(), loopback_bytes()))

    def a_step(self, steps: int) -> float | None:
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        if before is None or after is None:
            return None
        return (after - before - self._idle * (end - start)) / steps


def idle_rate(seconds: float) -> float:
    """Bytes a second on the loopback interface while the ranks do nothing."""
    dist.barrier()
    start, before = time.perf_counter(), loopback_bytes()
    time.sleep(seconds)
    after = loopback_bytes()
    return 0.0 if before is None or after is None else (after - before) / (
        time.perf_counter() - start
    )


# --- one run -------------------------------------------------------------------------------------


def parameters(sizes: list[int]) -> int:
    return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def parsed(net: str) -> tuple[list[int], int]:
    layers, _, batch = net.partition(":")
    return [int(size) for size in layers.split("-")], int(batch)


def log(text: str) -> None:
    if dist.get_rank() == 0:
        print(f"{dist.get_world_size()} ranks: {text}", file=sys.stderr, flush=True)


def measure_net(net: str, words: argparse.Namespace, idle: float) -> dict[str, Any]:
    """Steps of one net by each contender, in turns; what each sends."""
    sizes, batch = parsed(net)
    size, rank = dist.get_world_size(), dist.get_rank()
    if batch < size:
        raise SystemExit(f"the batch of {net} is smaller than the {size} ranks")
    block = default_block(net_on("numpy", sizes), batch, "backprop")
    share = slice(rank * batch // size, (rank + 1) * batch // size)
    order = Batches(len(placed("numpy")[0]), batch, seed=0).take(max(block, 100))[:, share]
    ddp, module = ddp_lane(sizes, batch, torch.from_numpy(np.ascontiguousarray(order)))
    lanes = {f"xpnet-{lib}": fit_lane(lib, sizes, batch, block) for lib in LIBRARIES}
    lanes["ddp"] = ddp
    if size == 1:
        for lib in LIBRARIES:
            lanes[f"bare-{lib}"] = step_lane(net_on(lib, sizes), order)
    steps = steps_for(words.seconds, lanes, block)
    found = {
        "layer_sizes": sizes, "batch": batch, "parameters": parameters(sizes), "item_size": 4,
        "block": block, "steps_a_round": steps,
        "seconds": race(lanes, dict.fromkeys(lanes, steps), words), "bytes": {},
    }  # fmt: skip
    for lib in LIBRARIES:
        wire = Loopback(idle)
        with Counter() as counter:
            fit_lane(lib, sizes, batch, block, wire.note)(steps)
        found["bytes"][f"xpnet-{lib}"] = {
            "all_reduces_a_step": counter.calls["gradients"] / (steps + block),
            "a_step": counter.bytes["gradients"] / (steps + block),
            "host_a_block": counter.bytes["host"] / ((steps + block) / block),
            "loopback_a_step": wire.a_step(steps),
        }
    wire = Loopback(idle)
    dist.barrier()
    wire.note()
    ddp(steps)
    dist.barrier()
    wire.note()
    found["bytes"]["ddp"] = {"loopback_a_step": wire.a_step(steps)}
    del module
    text = ", ".join(f"{k} {1e3 * np.median(s):.3f} ms" for k, s in found["seconds"].items())
    log(f"{net}: {text}")
    return found


def check_same_net(net: str) -> None:
    """All contenders end with the same parameters, after a few steps on the same batches."""
    steps = 5
    sizes, batch = parsed(net)
    size, rank = dist.get_world_size(), dist.get_rank()
    batch -= batch % size  # DistributedDataParallel weighs the ranks alike
    share = slice(rank * batch // size, (rank + 1) * batch // size)
    order = Batches(len(placed("numpy")[0]), batch, seed=0).take(steps)[:, share]
    go, module = ddp_lane(sizes, batch, torch.from_numpy(np.ascontiguousarray(order)))
    go(steps)
    theirs = module.module[0].weight.detach().numpy().T
    for lib in LIBRARIES:
        net = net_on(lib, sizes)
        xpnet.fit(
            net, *placed(lib), steps=steps, batch_size=batch, learning_rate=RATE, distributed=True
        )
        np.testing.assert_allclose(
            net.placement.to_host(net.params["W1"]), theirs, rtol=0, atol=1e-5, err_msg=lib
        )


def measure_compute(net: str, words: argparse.Namespace) -> list[dict[str, Any]]:
    """The bare step against the rows of a share, on all ranks at once."""
    sizes, _ = parsed(net)
    nets = {f"xpnet-{lib}": net_on(lib, sizes) for lib in LIBRARIES}
    found = []
    for rows in words.shares:
        order = Batches(len(placed("numpy")[0]), rows, seed=dist.get_rank()).take(50)
        lanes = {name: step_lane(net, order) for name, net in nets.items()}
        steps = steps_for(words.seconds / 4, lanes, 1)
        seconds = race(lanes, dict.fromkeys(lanes, steps), words)
        found.append({"layer_sizes": sizes, "rows": rows, "steps": steps, "seconds": seconds})
    log(f"{net}: compute")
    return found


def measure_all_reduce(words: argparse.Namespace) -> list[dict[str, Any]]:
    """One all-reduce against its bytes; the sizes take turns."""
    lanes = {str(size): all_reduce_lane(size) for size in words.sizes}
    calls = {name: steps_for(words.seconds / 4, {name: go}, 1) for name, go in lanes.items()}
    found = race(lanes, calls, words)
    log("all-reduce")
    return [
        {"bytes": int(name), "calls": calls[name], "seconds": seconds}
        for name, seconds in found.items()
    ]


def one_run(words: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    size, here = dist.get_world_size(), int(os.environ["LOCAL_WORLD_SIZE"])
    check_same_net(words.net[0])
    idle = idle_rate(0.5 if words.quick else 2.0)
    result = {
        "ranks": size,
        "ranks_a_machine": here,
        "oversubscribed": here > machine.cores(),
        "threads": {"torch": torch.get_num_threads(), "blas": machine.threads("numpy")},
        "loopback_idle": idle,
        "nets": [measure_net(net, words, idle) for net in words.net],
        "all_reduce": measure_all_reduce(words),
        "compute": [],
        "machine_info": machine.describe(),
    }
    if not result["oversubscribed"]:
        result["compute"] = [part for net in words.net for part in measure_compute(net, words)]
    if dist.get_rank() == 0:
        words.results.write_text(json.dumps(result), encoding="utf-8")
    dist.barrier()
    dist.destroy_process_group()


# --- all runs ------------------------------------------------------------------------------------


def all_runs(words: argparse.Namespace, passed_on: list[str]) -> None:
    runs = []
    environment = {**os.environ, **dict.fromkeys(ONE_THREAD, "1")}
    with tempfile.TemporaryDirectory() as folder:
        for ranks in words.ranks:
            part = Path(folder) / f"{ranks}.json"
            command = [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", str(ranks), __file__, "rank", str(part), *passed_on),
            ]
            subprocess.run(command, env=environment, check=True)
            runs.append(json.loads(part.read_text(encoding="utf-8")))
    info = runs[0]["machine_info"]
    for run in runs:
        del run["machine_info"]
    results = {
        "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
        "clock": "perf_counter",
        "engine": "gloo",
        "kernel": platform.release(),
        "quick": words.quick,
        "machine_info": info,
        "runs": runs,
    }
    words.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=["run", "rank"])
    parser.add_argument("results", type=Path)
    parser.add_argument("--ranks", type=int, action="append", help="default: 1, 2 and 4")
    parser.add_argument(
        "--net", action="append", help=f"layer sizes and global batch; default: {', '.join(NETS)}"
    )
    parser.add_argument("--shares", type=int, nargs="+", default=SHARES, help="rows of a rank")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of the all-reduce")
    parser.add_argument("--rounds", type=int, help="default: 7; with --quick 3")
    parser.add_argument("--seconds", type=float, help="of a turn; default: 0.2; with --quick 0.1")
    parser.add_argument(
        "--most", type=float, default=25.0,
        help=f"seconds of a race, after which it ends if {LEAST_ROUNDS} rounds are done",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="no figures to quote")
    words = parser.parse_args()
    words.ranks = words.ranks or [1, 2, 4]
    words.net = words.net or NETS
    words.rounds = words.rounds or (3 if words.quick else 7)
    words.seconds = words.seconds or (0.1 if words.quick else 0.2)
    if words.task == "rank":
        one_run(words)
    else:
        all_runs(words, sys.argv[3:])


if __name__ == "__main__":
    main()
