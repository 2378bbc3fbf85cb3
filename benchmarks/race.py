"""Timing several programs against each other on a machine that is never quite the same twice.

pytest-benchmark runs all rounds of one benchmark, then all rounds of the next. On a shared
machine whose speed drifts by tens of per cent within a minute, the ratio of two such medians
says little. Here the contenders take turns, A B C, C B A, A B C, ..., so that round r of one and
round r of another were measured within the same second or two, and a ratio is the median over
the rounds of the ratio within a round.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from peers import Contender, Missing, Run, Task, clock

# OpenBLAS's threads spin for 2**26 clock ticks (about 25 ms) after their last product, and
# Torch's for a few: on few cores the next contender would be timed against them.
SETTLE_SECONDS = 0.05
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True)
class Pace:
    """How long to measure: rounds, and seconds of work in each."""

    rounds: int = 7
    seconds: float = 0.1


@dataclass
class Lane:
    """One contender of a race: what it runs, and its seconds a step, one number a round."""

    run: Run
    compile_seconds: float
    steps: int
    warms_up: bool
    seconds: list[float] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)


@dataclass
class Race:
    """The result: a lane for each contender that could run, a reason for each that could not."""

    lanes: dict[str, Lane] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Exception] = field(default_factory=dict)

    def ratio(self, name: str, other: str) -> float | None:
        """Median over the rounds of time(name) / time(other) within a round."""
        if name not in self.lanes or other not in self.lanes:
            return None
        pairs = zip(self.lanes[name].seconds, self.lanes[other].seconds, strict=True)
        return statistics.median(a / b for a, b in pairs)


def hold(task: Task, contenders: Sequence[Contender], pace: Pace, steps: int | None = None) -> Race:
    """Let the contenders take turns.

    With `steps`, each turn is exactly that many steps from the initial weights, and what came
    of it (loss, accuracy) is kept; otherwise as many as fill the pace's seconds.
    """
    race = Race()
    for contender in contenders:
        try:
            race.lanes[contender.name] = _prepare(contender, task, pace, steps)
        except Missing as reason:
            race.missing[contender.name] = str(reason)
        except Exception as error:  # its own test fails with it; the others go on
            race.failed[contender.name] = error
    lanes = list(race.lanes.values())
    gc.collect()
    gc.freeze()  # five libraries' modules take the collector half a second a turn
    for turn in range(pace.rounds):
        for lane in lanes if turn % 2 == 0 else reversed(lanes):
            _take_turn(lane, task, fresh=steps is not None)
    gc.unfreeze()
    return race


def _prepare(contender: Contender, task: Task, pace: Pace, steps: int | None) -> Lane:
    run = contender.build(task)
    first = _seconds(run, run.least)
    again = _seconds(run, run.least)
    # A long turn has no need of an untimed call before it.
    warms_up = run.warms_up and again < WARM_UP_SECONDS
    # What the first call took beyond the second is compiling, capturing, loading of kernels.
    lane = Lane(run, max(0.0, first - again), steps or run.least, warms_up)
    if steps is None:
        block = min(again, _seconds(run, run.least))
        lane.steps = run.least * max(1, math.ceil(pace.seconds / block))
    return lane


def _take_turn(lane: Lane, task: Task, *, fresh: bool) -> None:
    run = lane.run
    time.sleep(SETTLE_SECONDS)
    if lane.warms_up:
        run.go(run.least)  # brings back the caches and wakes the threads; not timed
    if fresh and run.reset is not None:
        run.reset()
    task.fresh_order = fresh  # end to end, drawing the order of the rows is part of the work
    lane.seconds.append(_seconds(run, lane.steps) / lane.steps)
    task.fresh_order = False
    if fresh and not lane.results and run.results is not None:
        lane.results = run.results()


def _seconds(run: Run, steps: int) -> float:
    gc.collect()
    gc.disable()
    try:
        start = clock()
        own = run.go(steps)
        return clock() - start if own is None else own
    finally:
        gc.enable()


def record(benchmark: Any, seconds: Sequence[float], steps: int, **extra: Any) -> None:
    """Hand rounds measured elsewhere to pytest-benchmark.

    `seconds` are a step's. The fixture's two public ways both time the rounds themselves, one
    benchmark at a time; what they do with a duration is these calls. So the JSON has the
    interleaved rounds, in their order, with their own statistics, and nothing is timed twice.
    """
    benchmark._mode = "interleaved"  # otherwise the fixture warns that it was not used
    stats = benchmark._make_stats(iterations=steps)
    for value in seconds:
        stats.update(value * steps)  # it divides by the iterations
    benchmark.extra_info.update(extra)
