"""Fixtures and hooks of the benchmarks: races, the machine's description, a clean JSON."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import pytest

# Keras writes a file into the user's home when it is imported; torch.compile fills a cache.
_SCRATCH = tempfile.TemporaryDirectory(prefix="xpnet-bench-")
os.environ.setdefault("KERAS_HOME", _SCRATCH.name)
os.environ.setdefault("KERAS_BACKEND", "jax")  # its fastest on a CPU
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", _SCRATCH.name)

import machine  # noqa: E402
from peers import CLOCKS, Contender, Task  # noqa: E402
from race import Lane, Pace, Race, hold, record  # noqa: E402

SKIPPED = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="fewer and shorter rounds, smaller nets")
    parser.addoption(
        "--cpu-time",
        action="store_true",
        help="count the process's CPU time: for `taskset -c 0` on a machine that others use, "
        "where wall clocks are hopeless. Says nothing about several threads or a GPU",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SKIPPED] = {}
    if config.getoption("--cpu-time"):
        CLOCKS.append(time.process_time)


@pytest.fixture(scope="session")
def quick(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--quick")


@pytest.fixture(scope="session")
def _races() -> dict[Any, Race]:
    return {}


@pytest.fixture
def race(request: pytest.FixtureRequest, benchmark: Any, quick: bool, _races: Any) -> Callable:
    """Return `run(contender, task, pace=..., steps=..., **case)`: enter the test in its race.

    The tests of one function and one case are one race, of those contenders that were selected
    (-k works). The first of them holds it; each then records its own lane.
    """

    def run(
        contender: Contender, task: Task, pace: Pace | None = None, steps: int | None = None,
        **case: Any,
    ) -> Lane:  # fmt: skip
        key = (request.function, *case.items())
        if key not in _races:
            pace = pace or Pace()
            pace = Pace(3, pace.seconds / 2) if quick else pace
            _races[key] = hold(task, _entered(request), pace, steps)
        found = _races[key]
        if contender.name in found.failed:
            raise found.failed[contender.name]
        if contender.name in found.missing:
            request.config.stash[SKIPPED][contender.name] = found.missing[contender.name]
            benchmark.skipped = True
            pytest.skip(found.missing[contender.name])
        _record(benchmark, contender, task, found, case)
        return found.lanes[contender.name]

    return run


def _entered(request: pytest.FixtureRequest) -> list[Contender]:
    mine = {k: v for k, v in request.node.callspec.params.items() if k != "contender"}
    found = []
    for item in request.session.items:
        params = getattr(item, "callspec", None) and dict(item.callspec.params)
        if params and getattr(item, "function", None) is request.function:
            contender = params.pop("contender")
            if params == mine:
                found.append(contender)
    return found


def _record(benchmark: Any, contender: Contender, task: Task, race: Race, case: Any) -> None:
    lane = race.lanes[contender.name]
    floor = f"floor-{contender.name.partition('-')[2]}" if contender.kind != "peer" else ""
    record(
        benchmark,
        lane.seconds,
        lane.steps,
        contender=contender.name,
        kind=contender.kind,
        library=contender.library,
        device=contender.device,
        dtype="float64 weights" if contender.name == "reference" else "float32",
        threads=machine.threads(contender.library),
        layer_sizes=list(task.layer_sizes),
        batch=task.batch,
        case=case,
        steps_a_round=lane.steps,
        compile_seconds=round(lane.compile_seconds, 3),
        over_floor=race.ratio(contender.name, floor),
        **lane.results,
        **lane.run.extra,
    )


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict) -> None:
    machine_info.clear()  # the default has the host's name
    machine_info.update(machine.describe())


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: Any, output_json: dict) -> None:
    # Of the commit, what identifies it: its branch and the project's folder are this machine's.
    commit = output_json["commit_info"]
    output_json["commit_info"] = {key: commit.get(key) for key in ("id", "time", "dirty")}
    output_json["clock"] = CLOCKS[-1].__name__
    output_json["quick"] = config.getoption("--quick")
    output_json["skipped"] = config.stash[SKIPPED]
    for bench in output_json["benchmarks"]:
        bench["params"] = None  # objects in this process; extra_info has their names
