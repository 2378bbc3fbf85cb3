"""Is a commit slower than another? `python benchmarks/two_commits.py BEFORE [AFTER] [--rounds N]`.

A process with the package of each commit (AFTER: the working tree) takes turns with the other:
blocks of steps by the bare runner, and a whole `fit` from its second block on, 784-100-10, at
batch 10, 100 and 1,000; the import too. A ratio is the median, over the turns, of AFTER over
BEFORE within a turn, in the process's CPU time on one thread. Processes differ by some per cent by
where their memory lies, so there are several pairs of them (`--pairs`). Not part of the suite.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE / "tests"))
from same_bits import unpacked  # noqa: E402

BATCHES = (10, 100, 1000)
CASES = [(kind, batch) for kind in ("step", "fit") for batch in BATCHES]


def named(thing, name):
    """A part of xpnet by its name, which has an underscore since 0.2."""
    return getattr(thing, f"_{name}", None) or getattr(thing, name)


def contender(backend):
    """Answer each line of standard input, a case, with the seconds that it took."""
    import numpy as np

    import xpnet

    try:
        from xpnet.training.sources import Resident
        from xpnet.training.step import make_step
    except ImportError:  # version 0.1
        from xpnet.batches import Resident

        from xpnet.training import make_step
    rng, here = np.random.default_rng(0), xpnet.place(backend)
    x, t = rng.random((6000, 784)).astype("float32"), rng.integers(0, 10, 6000)
    x, t = here.asarray(x), here.asarray(t)

    def net():
        return xpnet.MLP([784, 100, 10], xp=backend, seed=0)

    def steps_of(batch):
        trained, rule = net(), xpnet.optimizers.SGD()
        source = Resident(named(here, "take"), (x, t))
        step = make_step(trained, rule, named(trained, "backpropagate"), source)
        state = {"params": trained.params, "slots": rule.slots(trained.params)}
        run = named(here, "runner")(step, state, source.data)
        rows = rng.integers(0, 6000, (100, batch))
        numbers = rule.coefficients(np.arange(100) + 1, np.full(100, 0.1))

        def turn():
            start = time.process_time()
            for _ in range(max(1, 100 // batch)):
                here.to_host(run((rows,), numbers))
            return time.process_time() - start

        return turn

    def fit_of(batch):
        def turn():
            stamps = []
            watch = [lambda progress: stamps.append(time.process_time())]
            xpnet.fit(net(), x, t, steps=300, batch_size=batch, callbacks=watch)
            return stamps[-1] - stamps[0]

        return turn

    turns = {case: (steps_of if case[0] == "step" else fit_of)(case[1]) for case in CASES}
    for turn in turns.values():
        turn()  # compiles, warms up
    for line in sys.stdin:
        print(turns[tuple(json.loads(line))](), flush=True)


def start(source, *words):
    """Start a process with the package in a folder, on one thread."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return subprocess.Popen(
        [sys.executable, *words], env={**os.environ, **threads, "PYTHONPATH": str(source)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def ask(process, case):
    process.stdin.write(json.dumps(case) + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def imported(source):
    """Seconds of `import xpnet`, beyond NumPy's own import."""
    program = "import numpy, time; a = time.process_time(); import xpnet; b = time.process_time()"
    return float(start(source, "-c", f"{program}; print(b - a)").communicate()[0])


def in_turns(rounds, pair, measure):
    """Measure two things in turns, A B B A ...; return the ratios within a turn."""
    ratios = []
    for turn in range(rounds):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        seconds = {i: measure(pair[i]) for i in order}
        ratios.append(seconds[1] / seconds[0])
    return ratios


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", nargs="?", help="a commit; default: the working tree")
    parser.add_argument("--backend", action="append", help="default: numpy, torch and jax")
    parser.add_argument("--rounds", type=int, default=6, help="turns of each pair of processes")
    parser.add_argument("--pairs", type=int, default=4, help="pairs of processes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        after = unpacked(options.after, other) if options.after else HERE / "src"
        sources = unpacked(options.before, one), after
        for source in sources:
            imported(source)  # writes its bytecode
        ratios = in_turns(options.rounds * options.pairs, sources, imported)
        print(f"import: {statistics.median(ratios):.3f}")
        for backend in options.backend or ("numpy", "torch", "jax"):
            found = {case: [] for case in CASES}
            for _ in range(options.pairs):
                pair = [start(source, __file__, "--as-asked", backend) for source in sources]
                for case in CASES:
                    found[case] += in_turns(options.rounds, pair, lambda p, c=case: ask(p, c))
                for process in pair:
                    process.communicate()
            for (kind, batch), ratios in found.items():
                low, middle, high = statistics.quantiles(ratios, n=4)
                print(f"{backend}, {kind}, batch {batch}: {middle:.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    if "--as-asked" in sys.argv:
        contender(sys.argv[-1])
    else:
        main()
