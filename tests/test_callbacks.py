"""Callbacks that say when they want to be called, and what they are given."""

import numpy as np
import pytest

import xpnet
from xpnet import MLP, Log


def rows(n=50):
    rng = np.random.default_rng(0)
    t = rng.integers(0, 3, n)
    return rng.normal(size=(3, 4))[t] + rng.normal(size=(n, 4)), t


class Seen:
    """Notes when it is called, and with which losses."""

    def __init__(self, every=None):
        self.steps, self.losses = [], []
        if every is not None:
            self.every = every

    def __call__(self, progress):
        self.steps.append(progress.step)
        self.losses.append(progress.losses.copy())


def train(lib, callbacks, **options):
    x, t = rows()
    model = MLP([4, 3], dtype="float64", seed=0, **lib.kwargs)
    options = {"steps": 24, "batch_size": 20, "learning_rate": 0.01, **options}
    return xpnet.fit(model, lib.array(x), lib.array(t), callbacks=callbacks, **options)


def test_each_is_called_when_it_asks(lib):
    """At each 7th step, at each epoch of two and a half: exactly there, with its own losses."""
    often, epochs, blocks = Seen(7), Seen("epoch"), Seen()
    history = train(lib, [often, epochs, blocks])
    assert often.steps == [7, 14, 21]
    assert epochs.steps == [3, 5, 8, 10, 13, 15, 18, 20, 23]
    assert blocks.steps == sorted({*often.steps, *epochs.steps, 24})
    for seen in (often, epochs):
        losses = np.concatenate(seen.losses)
        np.testing.assert_array_equal(losses, history.loss[: seen.steps[-1]])
        assert [len(part) for part in seen.losses] == np.diff([0, *seen.steps]).tolist()
    np.testing.assert_array_equal(np.concatenate(blocks.losses), history.loss)
    np.testing.assert_array_equal(history.loss, train(lib, []).loss)


def test_without_every_it_is_each_block():
    class Host:
        kwargs = {}  # noqa: RUF012
        array = staticmethod(np.asarray)

    blocks = Seen()
    train(Host, [blocks], steps=250)
    assert blocks.steps == [100, 200, 250]
    stops = Seen(30)
    stops.__class__ = type("Stops", (Seen,), {"__call__": lambda self, p: p.step >= 90})
    assert train(Host, [stops], steps=250).steps == 90
    # Resumed: the losses since it was last due, also of steps before.


def test_a_resumed_callback_sees_what_it_would_have(tmp_path):
    class Host:
        kwargs = {}  # noqa: RUF012
        array = staticmethod(np.asarray)

    options = {"checkpoint": tmp_path / "run", "checkpoint_every": 5}
    train(Host, [], steps=10, **options)
    often = Seen(8)
    history = train(Host, [often], resume=True, **options)
    assert often.steps == [16, 24]
    np.testing.assert_array_equal(often.losses[0], history.loss[8:16])


def test_begin_comes_first_and_close_last():
    """What a callback has to set up, or to refuse, before a step is trained."""
    told = []

    class All:
        def begin(self, net, history, *, validated):
            told.append(("begin", history.steps, validated))

        def __call__(self, progress):
            told.append(progress.step)

        def close(self):
            told.append("close")

    x, t = rows()
    xpnet.fit(MLP([4, 3], dtype="float64"), x, t, steps=3, callbacks=[All()], learning_rate=0.01)
    assert told == [("begin", 0, False), 3, "close"]


def test_what_a_callback_remembers_may_be_arrays(tmp_path):
    """A moving average of weights is lost by a checkpoint that holds text only."""

    class Average:
        def __init__(self):
            self.kept = {"n": 0, "sums": {"W1": np.zeros((4, 3))}, "notes": ["a"]}

        def __call__(self, progress):
            self.kept["n"] += 1
            self.kept["sums"]["W1"] = self.kept["sums"]["W1"] + progress.net.params["W1"]

        def state(self):
            return {**self.kept, "sums": dict(self.kept["sums"])}

        def restore(self, state):
            self.kept = state

    x, t = rows()

    def run(callback, steps, **options):
        xpnet.fit(
            MLP([4, 3], dtype="float64", seed=0), x, t, steps=steps, learning_rate=0.01,
            callbacks=[callback], checkpoint_every=10, checkpoint=options.pop("folder"), **options,
        )  # fmt: skip
        return callback.kept

    whole = run(Average(), 40, folder=tmp_path / "a")
    run(Average(), 20, folder=tmp_path / "b")
    parts = run(Average(), 40, folder=tmp_path / "b", resume=True)
    assert (parts["n"], parts["notes"]) == (whole["n"], ["a"]) == (4, ["a"])
    np.testing.assert_array_equal(parts["sums"]["W1"], whole["sums"]["W1"])


def test_a_printed_loss_is_the_mean_since_the_line_before():
    """The loss of one batch of twenty says little of a run."""
    lines = []
    x, t = rows()
    history = xpnet.fit(
        MLP([4, 3], dtype="float64", seed=0), x, t, steps=250, batch_size=5, learning_rate=0.01,
        callbacks=[Log(60, lines.append)],
    )  # fmt: skip
    assert lines == [
        f"step {end}: loss {history.loss[end - 60 : end].mean():.4f}" for end in (60, 120, 180, 240)
    ]


def test_the_lines_of_a_bar_too():
    pytest.importorskip("rich")
    import io

    from rich.console import Console

    from xpnet.training.bar import ProgressBar

    file = io.StringIO()
    x, t = rows()
    history = xpnet.fit(
        MLP([4, 3], dtype="float64", seed=0), x, t, steps=1050, batch_size=5, learning_rate=0.01,
        callbacks=[ProgressBar(Console(file=file))],
    )  # fmt: skip
    lines = file.getvalue().splitlines()
    ends = [int(line.split("/")[0].removeprefix("step ").replace(",", "")) for line in lines]
    for start, end, line in zip([0, *ends], ends, lines, strict=False):
        assert f"loss {history.loss[start:end].mean():.4f}, " in line
