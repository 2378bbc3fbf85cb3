"""Kill a random rank of a distributed training at random moments; torchrun starts all again.

    python tests/kill_rank.py --backend numpy --count 10

Each time torchrun starts ranks that train one net with checkpoints; one of them is killed with
SIGKILL at a random moment: every other time from the start of its process on, else from the first
checkpoint on. torchrun starts the group again, which goes on from the last checkpoint. Parameters
and losses must be those of an undisturbed run, bit for bit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

RANKS = 2
STEPS = 1000
EVERY = 20


def started(backend: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start the ranks; what they say goes into a file beside the run's folder."""
    words = (
        *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
        *("--nproc-per-node", str(RANKS), "--max-restarts", "3", "--monitor-interval", "0.1"),
        *("-m", "xpnet", "train", "--backend", backend, "--no-pictures", "--quiet"),
        *("--steps", str(STEPS), "--hidden", "20", "--optimizer", "adam"),
        *("--learning-rate", "0.001", "--checkpoint-every", str(EVERY), "--out", str(folder)),
    )
    with folder.with_suffix(".log").open("wb") as log:
        return subprocess.Popen(
            words, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def ranks(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The ranks of a training, in the order of their numbers."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.Error, KeyError):  # it has ended, or is no rank
            found.append((int(child.environ()["RANK"]), child))
    return [child for _, child in sorted(found, key=lambda pair: pair[0])]


def has_checkpoint(folder: Path) -> bool:
    """Whether a training could go on from there."""
    return any((folder / "checkpoints").glob("*.safetensors"))


def begun(process: subprocess.Popen[bytes]) -> None:
    """Wait for the ranks."""
    while not ranks(process):
        time.sleep(0.005)


def trains(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for the first checkpoint."""
    while not has_checkpoint(folder) and process.poll() is None:
        time.sleep(0.005)


def outcome(folder: Path) -> tuple[bytes, bytes]:
    """The model and the losses that a training has left."""
    return (
        (folder / "model.safetensors").read_bytes(),
        (folder / "checkpoints" / "losses.f64").read_bytes(),
    )


def finished(process: subprocess.Popen[bytes], folder: Path) -> tuple[bytes, bytes]:
    """Wait for a training, and return its outcome."""
    try:
        code = process.wait(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        code = None
    assert code == 0, f"it ended with {code}:\n{folder.with_suffix('.log').read_text()[-5000:]}"
    return outcome(folder)


def survived(backend: str, count: int, seed: int = 0) -> tuple[int, int, list[int]]:
    """Kill a rank in so many trainings.

    Returns how many ended as the undisturbed one, how many had a checkpoint when they were
    disturbed, and which ranks were killed.
    """
    rng = random.Random(seed)
    alike, late, killed = 0, 0, []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "undisturbed")
        process = started(backend, folder)
        begun(process)
        start = time.perf_counter()
        trains(process, folder)
        middle = time.perf_counter()
        expected = finished(process, folder)
        end = time.perf_counter()
        number = 0
        while len(killed) < count:
            number += 1
            folder = Path(place, str(number))
            process = started(backend, folder)
            begun(process)
            if number % 2:
                trains(process, folder)
            time.sleep(rng.uniform(0.0, end - (middle if number % 2 else start)))
            alive = ranks(process)
            if not alive:  # at its end
                process.wait()
                continue
            who = rng.randrange(len(alive))
            late += has_checkpoint(folder)
            alive[who].send_signal(signal.SIGKILL)
            killed.append(who)
            log = folder.with_suffix(".log")
            alike += finished(process, folder) == expected
            assert "SIGKILL" in log.read_text() or "exitcode: -9" in log.read_text(), "not killed"
    return alike, late, killed


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    alike, late, killed = survived(options.backend, options.count, options.seed)
    print(
        f"{options.backend}: {alike} of {options.count} trainings of which a rank was killed ended "
        f"as the undisturbed one, bit for bit; {late} had a checkpoint by then; ranks killed: "
        f"{', '.join(map(str, killed))}"
    )
    sys.exit(alike != options.count)


if __name__ == "__main__":
    main()
