"""Train 784-100-10 on 20 GB of shards: the memory that it takes, and the steps a second.

    python benchmarks/out_of_core.py benchmarks/results/out-of-core-<machine>.json

The shards are sparse files: each begins with some of MNIST's rows, and the rest are zeros that
take no place on the disk. So the memory is that of a training on 20 GB; the time is that of
reading through the system's cache, not that of a disk. Each training is a process of its own,
whose peak of resident memory is read from /proc (Linux). For comparison the same steps are run
on MNIST in memory. With --ranks N, torchrun starts N processes that share each batch.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import xpnet

INPUTS, HIDDEN, CLASSES = 784, 100, 10
ROW_BYTES = 4 * INPUTS
KINDS = ("shards", "mapped", "memory")


def write(path: Path, head: np.ndarray, rows: int) -> None:
    """A .npy file of `rows` rows: `head`, and zeros that take no place."""
    with path.open("wb") as file:
        description = {
            "descr": head.dtype.str, "fortran_order": False, "shape": (rows, *head.shape[1:])
        }  # fmt: skip
        np.lib.format.write_array_header_1_0(file, description)
        start = file.tell()
        file.write(head.tobytes())
        file.truncate(start + rows * head[0].nbytes)


def on_the_disk(folder: Path) -> int:
    """Bytes that the files of a folder take there."""
    return sum(512 * path.stat().st_blocks for path in folder.rglob("*.npy"))


def make(folder: Path, size: int, shards: int) -> None:
    """Write `size` bytes of rows: as shards, and once more as one file to be mapped."""
    (x, t), _ = xpnet.load_mnist()
    rows, real = size // shards // ROW_BYTES, len(x) // shards
    (folder / "shards").mkdir()
    (folder / "mapped").mkdir()
    for i in range(shards):
        part = slice(i * real, (i + 1) * real)
        write(folder / "shards" / f"x-{i:04d}.npy", x[part], rows)
        write(folder / "shards" / f"t-{i:04d}.npy", t[part], rows)
        needed = size - ROW_BYTES * rows * (i + 1)
        if on_the_disk(folder) > size / 10 and needed > shutil.disk_usage(folder).free:
            raise SystemExit(f"{folder}: files are not sparse there, and the disk is too small")
    write(folder / "mapped" / "x.npy", x, rows * shards)
    write(folder / "mapped" / "t.npy", t, rows * shards)


def peak() -> int:
    """The most bytes of this process that have been in memory at once."""
    with open("/proc/self/status", encoding="ascii") as status:
        kib = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    return 1024 * int(kib)


def train(folder: Path, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """One training in this process: what it took."""
    net = xpnet.TwoLayerNet(INPUTS, HIDDEN, CLASSES, seed=0, xp=options.backend)
    if kind == "shards":
        x, t = xpnet.open_shards(folder / "shards")
    elif kind == "mapped":
        x, t = (np.load(folder / "mapped" / f"{name}.npy", mmap_mode="r") for name in "xt")
    else:
        (x, t), _ = xpnet.load_mnist(xp=options.backend)
    before = peak()
    history = xpnet.fit(
        net, x, t, steps=options.steps, batch_size=options.batch_size, distributed=options.ranks > 1
    )
    return {
        "rows": x.shape[0],
        "bytes_of_x": ROW_BYTES * x.shape[0],
        "peak_bytes": peak(),
        "peak_bytes_before_training": before,  # the interpreter, libraries; data in memory
        "seconds": history.seconds,
        "steps_per_second": options.steps / history.seconds,
        "loss": [float(np.mean(part)) for part in np.array_split(history.loss, 10)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path, nargs="?", help="a file for the JSON")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="of x, 10^9 bytes each")
    parser.add_argument("--shards", type=int, default=80)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to write; default: for temporary files")
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)  # a child of this program
    options = parser.parse_args()
    if options.kind:
        # In one piece: other ranks print too.
        print(json.dumps(train(options.folder, options.kind, options)) + "\n", end="", flush=True)
        return

    import machine

    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        make(folder, int(options.gigabytes * 1e9), options.shards)
        outcome: dict[str, Any] = {
            "machine": machine.describe(),
            "net": [INPUTS, HIDDEN, CLASSES],
            "backend": options.backend,
            "ranks": options.ranks,
            "batch_size": options.batch_size,
            "steps": options.steps,
            "files": options.shards,
            "bytes_on_the_disk": on_the_disk(folder),
        }
        settings = [
            "--steps", str(options.steps), "--batch-size", str(options.batch_size),
            "--backend", options.backend, "--folder", str(folder), "--ranks", str(options.ranks),
        ]  # fmt: skip
        start = [sys.executable]
        if options.ranks > 1:
            start += ["-m", "torch.distributed.run", "--standalone"]
            start += ["--nproc-per-node", str(options.ranks)]
        for kind in KINDS:
            command = [*start, os.path.abspath(__file__), *settings, "--kind", kind]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            each = [json.loads(line) for line in done.stdout.splitlines()]
            outcome[kind] = each if options.ranks > 1 else each[0]
            print(f"{kind}: {json.dumps(outcome[kind])}", flush=True)
    if options.result:
        options.result.write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
