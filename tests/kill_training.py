"""Kill a training with SIGKILL at random moments, resume it, and compare with one left alone.

    python tests/kill_training.py --backend numpy --count 50

Each time: a new process trains with checkpoints, often enough that most of its time is spent
writing them; it is killed at a random moment, sometimes twice; another process resumes it to
the end. Parameters and losses must be those of an undisturbed run, bit for bit.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 1500
EVERY = 15


def train(backend: str, folder: Path) -> None:
    """Train to the end, from the newest checkpoint on; leave the outcome in result.npz."""
    import numpy as np

    import xpnet

    rng = np.random.default_rng(0)
    here = xpnet.place(backend)
    x, t = here.floats(rng.normal(size=(500, 20))), here.asarray(rng.integers(0, 3, 500))
    net = xpnet.MLP([20, 32, 3], xp=backend, seed=0)
    print("ready", flush=True)
    history = xpnet.fit(
        net, x, t, steps=STEPS, batch_size=20, optimizer="adam", learning_rate=0.01,
        validation=(x, t), callbacks=[xpnet.EarlyStopping(patience=1000)],
        checkpoint=folder / "checkpoints", checkpoint_every=EVERY, resume=True,
    )  # fmt: skip
    outcome = {key: here.to_host(p) for key, p in net.params.items()}
    looks = history.validation_steps, history.validation_loss, history.validation_accuracy
    np.savez(folder / "result.npz", loss=history.loss, looks=np.asarray(looks), **outcome)


def started(backend: str, folder: Path) -> subprocess.Popen[str]:
    """Start a training, and return once it is about to begin."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--train", str(folder), "--backend", backend],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as words:
        assert words.readline() == "ready\n", f"the training ended with {process.wait()}"
    return process


def finished(backend: str, folder: Path) -> tuple[dict, float]:
    """Run a training to its end; return the outcome, and the seconds that it took."""
    import numpy as np

    process = started(backend, folder)
    start = time.perf_counter()
    assert process.wait() == 0, "the resumed training failed"
    with np.load(folder / "result.npz") as result:
        return dict(result), time.perf_counter() - start


def killed(backend: str, folder: Path, after: float) -> bool:
    """Start a training, kill it after so many seconds; return whether it was still running."""
    process = started(backend, folder)
    time.sleep(after)
    running = process.poll() is None
    process.kill()
    process.wait()
    return running


def survived(backend: str, count: int, seed: int = 0) -> tuple[int, int]:
    """Kill so many trainings; return how many of them ended as the undisturbed one, and how many
    were killed while a checkpoint was being written.
    """
    rng = random.Random(seed)
    alike = writing = kills = 0
    with tempfile.TemporaryDirectory() as place:
        expected, seconds = finished(backend, Path(place, "undisturbed"))
        number = 0
        while kills < count:
            number += 1
            folder = Path(place, str(number))
            if not killed(backend, folder, rng.uniform(0.0, seconds)):
                continue  # it had come to its end
            kills += 1
            writing += any((folder / "checkpoints").glob(".*.partial"))
            if rng.random() < 0.3:  # the resumed one is killed too
                killed(backend, folder, rng.uniform(0.0, seconds / 2))
            found, _ = finished(backend, folder)
            same = found.keys() == expected.keys() and all(
                found[key].tobytes() == expected[key].tobytes() for key in expected
            )
            alike += same
            if not same:
                print(f"run {number} differs", flush=True)
    return alike, writing


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        options.train.mkdir(exist_ok=True)
        train(options.backend, options.train)
        return
    alike, writing = survived(options.backend, options.count, options.seed)
    print(
        f"{options.backend}: {alike} of {options.count} killed trainings ended as the undisturbed "
        f"one, bit for bit; {writing} were killed while a checkpoint was being written"
    )
    sys.exit(alike != options.count)


if __name__ == "__main__":
    main()
