"""A long training with checkpoints on NumPy: memory, open files and time must stay flat.

    python benchmarks/soak.py benchmarks/results/soak-<machine>.json

A million steps of a small net. Every 20,000 steps the resident memory (of /proc, so on Linux),
the open files and the seconds are noted; the table at the end compares the first note, after
20,000 steps, with the others.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import machine
import numpy as np

import xpnet

LAYER_SIZES = [20, 16, 3]
NOTE_EVERY = 20_000


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--steps", type=int, default=1_000_000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(1000, 20)).astype("float32"), rng.integers(0, 3, 1000)
    net = xpnet.MLP(LAYER_SIZES, seed=0)
    notes: list[dict[str, float]] = []
    start = time.perf_counter()

    def note(progress: xpnet.Progress) -> None:
        if progress.step % NOTE_EVERY == 0:
            notes.append(
                {
                    "step": progress.step,
                    "resident_bytes": resident(),
                    "open_files": len(os.listdir("/proc/self/fd")),
                    "seconds": time.perf_counter() - start,
                }
            )

    with tempfile.TemporaryDirectory() as folder:
        history = xpnet.fit(
            net, x, t, steps=options.steps, batch_size=20, optimizer="momentum",
            learning_rate=0.01, callbacks=[note], checkpoint=folder,
        )  # fmt: skip
        checkpoints = sorted(os.listdir(folder))
    first, rest = notes[0], notes[1:]
    growth = max(n["resident_bytes"] for n in rest) / first["resident_bytes"] - 1
    outcome = {
        "machine": machine.describe(),
        "layer_sizes": LAYER_SIZES,
        "steps": history.steps,
        "checkpoint_every": 1000,
        "checkpoints_left": checkpoints,
        "notes": notes,
        "largest_growth_of_memory": growth,
        "open_files": sorted({n["open_files"] for n in notes}),
    }
    options.result.write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")
    print(
        f"{history.steps:,} steps in {history.seconds:.0f} s: resident memory "
        f"{first['resident_bytes'] / 2**20:.1f} MiB after {NOTE_EVERY:,} steps, at most "
        f"{100 * growth:+.1f} % after that; open files {outcome['open_files']}"
    )


if __name__ == "__main__":
    main()
