"""Checkpoints: a stopped training goes on as if nothing had happened, and nothing is lost."""

import json
import os
import resource
import signal
import subprocess
import sys
import types

import kill_training
import numpy as np
import pytest
from driven import fit

import xpnet
from xpnet import MLP, CheckpointWarning, EarlyStopping, FileError
from xpnet.files import load_arrays, save_arrays
from xpnet.losses import OUTPUTS
from xpnet.optimizers import OPTIMIZERS, Adam, Clipped, Cosine
from xpnet.training.blocks import Batches
from xpnet.training.checkpoint import Checkpoints


class Crash(Exception):
    """What ends a training in the tests, at a step."""


def crash_at(step):
    def callback(progress):
        if progress.step >= step:
            raise Crash

    return callback


def data(lib, n=100):
    rng = np.random.default_rng(3)
    t = rng.integers(0, 3, n)
    x = rng.normal(size=(3, 5))[t] + rng.normal(size=(n, 5))
    return lib.array(x), lib.array(t)


def train(lib, folder=None, *, steps=120, callbacks=(), **options):
    x, t = data(lib)
    net = MLP([5, 4, 3], dtype="float64", seed=0, **lib.kwargs)
    options = {"learning_rate": 0.05, "batch_size": 30, "block_steps": 10, **options}
    history = fit(net, x, t, steps=steps, checkpoint=folder, callbacks=callbacks, **options)
    return {k: lib.host(p).copy() for k, p in net.params.items()}, history


def assert_same(one, other):
    """Bit for bit: parameters, losses, looks."""
    for key, p in one[0].items():
        np.testing.assert_array_equal(other[0][key], p, err_msg=key)
    np.testing.assert_array_equal(other[1].loss, one[1].loss)
    for name in ("block_steps", "validation_steps", "validation_loss", "validation_accuracy"):
        assert getattr(other[1], name) == getattr(one[1], name), name
    assert other[1].stopped == one[1].stopped


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_training_is_an_undisturbed_one(lib, tmp_path, name):
    """Slots, step count, order, schedule, looks: one that is forgotten changes the result."""
    x, t = data(lib)
    options = {
        "optimizer": name, "learning_rate": Cosine(0.05, steps=120), "validation": (x, t),
        "checkpoint_every": 25,
    }  # fmt: skip
    undisturbed = train(lib, tmp_path / "a", **options)
    for crash in (40, 90):
        with pytest.raises(Crash):
            train(lib, tmp_path / "b", callbacks=[crash_at(crash)], resume=True, **options)
    resumed = train(lib, tmp_path / "b", resume=True, **options)
    assert_same(undisturbed, resumed)
    assert resumed[1].seconds > 0


def test_a_clipped_training_goes_on(lib, tmp_path):
    """The slots of the optimizer within; and its numbers, which another run must not change."""
    options = {"optimizer": Clipped("adam", 0.1), "checkpoint_every": 25}
    undisturbed = train(lib, tmp_path / "a", **options)
    with pytest.raises(Crash):
        train(lib, tmp_path / "b", callbacks=[crash_at(90)], **options)
    for other, message in (
        (Clipped("adam", 0.2), "with other settings: optimizer .*'norm': 0.1.*, now .*'norm': 0.2"),
        (Clipped("momentum", 0.1), "'name': 'Adam'.*, now .*'name': 'Momentum'"),
        (Clipped(Adam(beta_1=0.8), 0.1), "'beta_1': 0.9.*, now .*'beta_1': 0.8"),
        ("adam", "'name': 'Clipped'.*, now .*'name': 'Adam'"),
    ):
        with pytest.raises(ValueError, match=message):
            train(lib, tmp_path / "b", **{**options, "optimizer": other}, resume=True)
    assert_same(undisturbed, train(lib, tmp_path / "b", resume=True, **options))


def test_dropout_goes_on(lib, tmp_path):
    """Masks that start anew after a crash would be those of the first steps once more."""
    options = {"dropout": 0.4, "checkpoint_every": 25, "optimizer": "adam"}
    undisturbed = train(lib, tmp_path / "a", **options)
    for crash in (40, 90):
        with pytest.raises(Crash):
            train(lib, tmp_path / "b", callbacks=[crash_at(crash)], resume=True, **options)
    assert_same(undisturbed, train(lib, tmp_path / "b", resume=True, **options))


def test_a_finished_training_only_comes_back(lib, tmp_path):
    """Resuming what has ended trains nothing more, and more steps go on from there."""
    done = train(lib, tmp_path / "a")
    assert_same(done, train(lib, tmp_path / "a", resume=True))
    longer = train(lib, tmp_path / "a", steps=150, resume=True)
    assert_same(train(lib, steps=150), longer)


def test_the_last_two_are_kept(lib, tmp_path):
    train(lib, tmp_path, checkpoint_every=50)
    names = [path.name for path in Checkpoints(tmp_path).files()]
    assert names == ["step-000000000120.safetensors", "step-000000000100.safetensors"]
    assert sorted(os.listdir(tmp_path)) == ["losses.f64", *sorted(names)], "something was left"


def test_a_damaged_one_is_passed_over(tmp_path):
    """A half-written file, from whatever cause, costs the steps since the one before."""
    lib = Host()
    undisturbed = train(lib)
    train(lib, tmp_path, steps=100, checkpoint_every=40)
    newest, before = Checkpoints(tmp_path).files()
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(CheckpointWarning, match="passed over: .*step-000000000100.safetensors"):
        resumed = train(lib, tmp_path, checkpoint_every=40, resume=True)
    assert_same(undisturbed, resumed)
    for path in Checkpoints(tmp_path).files():
        path.write_bytes(b"")
    with pytest.warns(CheckpointWarning), pytest.raises(FileError, match="found none"):
        train(lib, tmp_path, resume=True)
    assert before not in Checkpoints(tmp_path).files()


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_losses_cost_no_parameters(tmp_path, damage):
    """Of a lost record of the past, only the past is lost; and it is said."""
    undisturbed = train(Host())
    train(Host(), tmp_path, steps=100)
    path = tmp_path / "losses.f64"
    content = bytearray(path.read_bytes())
    assert len(content) == 800
    if damage == "cut":
        path.write_bytes(content[:500])
    elif damage == "changed":
        content[3] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.warns(CheckpointWarning, match="the losses of the first 100 steps are NaN"):
        params, history = train(Host(), tmp_path, resume=True)
    for key, p in undisturbed[0].items():
        np.testing.assert_array_equal(params[key], p)
    assert np.isnan(history.loss[:100]).all()
    np.testing.assert_array_equal(history.loss[100:], undisturbed[1].loss[100:])
    _, again = train(Host(), tmp_path, steps=140, resume=True)
    np.testing.assert_array_equal(again.loss[:120], history.loss)


class Host:
    """NumPy, for what does not depend on the backend."""

    kwargs = types.MappingProxyType({"xp": None})
    array = staticmethod(np.asarray)
    host = staticmethod(np.asarray)


def test_other_settings_are_refused(tmp_path):
    """Half of one training and half of another is neither."""
    train(Host(), tmp_path, steps=20)
    for change in (
        {"batch_size": 20}, {"optimizer": "adam"}, {"learning_rate": 0.1}, {"seed": 1},
        {"shuffle": False}, {"gradient": "numerical"}, {"dropout": 0.1},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"other settings: {next(iter(change))} "):
            train(Host(), tmp_path, resume=True, **change)
    with pytest.raises(ValueError, match="0 callbacks; 1 of those given"):
        train(Host(), tmp_path, resume=True, callbacks=[EarlyStopping(monitor="loss")])
    with pytest.raises(FileExistsError, match="has checkpoints of a training: resume=True"):
        train(Host(), tmp_path)
    with pytest.raises(ValueError, match="resume=True needs the folder"):
        train(Host(), resume=True)
    with pytest.raises(ValueError, match="checkpoint_every must be at least 1"):
        train(Host(), tmp_path, checkpoint_every=0)
    with pytest.raises(ValueError, match="unknown checkpoint_errors 'ignore'"):
        train(Host(), tmp_path, checkpoint_errors="ignore")


def test_a_checkpoint_from_before_there_was_dropout(tmp_path):
    """It does not say that it has none; it goes on all the same."""
    undisturbed = train(Host())
    train(Host(), tmp_path, steps=60)
    path = Checkpoints(tmp_path).files()[0]
    arrays, told = load_arrays(path)
    del told["settings"]["dropout"]
    save_arrays(path, arrays, told)
    with pytest.raises(ValueError, match=r"other settings: dropout 0\.0, now 0\.1"):
        train(Host(), tmp_path, resume=True, dropout=0.1)
    assert_same(undisturbed, train(Host(), tmp_path, resume=True))


def test_another_environment_is_said(tmp_path, monkeypatch):
    """Another version may round otherwise: the promise ends there, and the user is told."""
    train(Host(), tmp_path, steps=20)
    monkeypatch.setattr(np, "__version__", "9.9")
    with pytest.warns(CheckpointWarning, match=r"elsewhere \(numpy .*, now 9\.9; "):
        train(Host(), tmp_path, resume=True)


def test_early_stopping_remembers(tmp_path):
    """A patience that starts anew after each crash never ends."""
    options = {"steps": 5000, "checkpoint_every": 10, "learning_rate": 1e-9}

    def stop():
        return EarlyStopping(patience=12, monitor="loss", min_delta=1.0)

    undisturbed = train(Host(), callbacks=[stop()], **options)
    assert undisturbed[1].stopped == "stopped by a callback after step 130"
    for crash in (60, 110):
        with pytest.raises(Crash):
            train(
                Host(), tmp_path, resume=True, callbacks=[stop(), crash_at(crash)], **options
            )
    assert_same(undisturbed, train(Host(), tmp_path, resume=True, callbacks=[stop()], **options))
    assert_same(undisturbed, train(Host(), tmp_path, resume=True, callbacks=[stop()], **options))


@pytest.mark.parametrize("how", ["warn", "stop"])
def test_a_full_disk(tmp_path, how):
    """The last good checkpoint stays, and the run does what was asked."""
    lib = Host()
    undisturbed = train(lib)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(progress):
        if progress.step == 60:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))

    try:
        with pytest.warns(CheckpointWarning, match=r"no checkpoint of step (80|120): .*too large"):
            _, history = train(
                lib, tmp_path, checkpoint_every=40, callbacks=[fill], checkpoint_errors=how
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert history.steps == (120 if how == "warn" else 80)
    if how == "stop":
        assert history.stopped.startswith("no checkpoint could be written after step 80: ")
    assert sorted(os.listdir(tmp_path)) == ["losses.f64", "step-000000000040.safetensors"]
    assert_same(undisturbed, train(lib, tmp_path, checkpoint_every=40, resume=True))


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="Windows has no such users")
@pytest.mark.parametrize("how", ["warn", "stop"])
def test_a_folder_that_may_not_be_written_to_any_more(tmp_path, how):
    """Permissions that are taken away during a run cost no checkpoint that is there."""
    user, nobody = os.geteuid(), 65534

    def lock(progress):
        if progress.step == 60:
            folder.chmod(0o555)
            if user == 0:  # root may write anywhere
                os.seteuid(nobody)

    folder = tmp_path / "checkpoints"
    try:
        with pytest.warns(CheckpointWarning, match="no checkpoint of step .*Permission denied"):
            _, history = train(
                Host(), folder, checkpoint_every=40, callbacks=[lock], checkpoint_errors=how
            )
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
    assert history.steps == (120 if how == "warn" else 80)
    assert [path.name for path in Checkpoints(folder).files()] == ["step-000000000040.safetensors"]
    assert_same(train(Host()), train(Host(), folder, checkpoint_every=40, resume=True))


def test_a_folder_that_is_no_folder(tmp_path):
    """Noticed before the first step."""
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(OSError, match="file"):
        train(Host(), tmp_path / "file" / "checkpoints", callbacks=[seen.append])
    assert seen == []


def test_what_a_killed_process_left_is_taken_away(tmp_path):
    """Otherwise each kill costs the size of a checkpoint."""
    partial = tmp_path / ".step-000000000100.safetensors.77-ab.partial"
    partial.write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    train(Host(), tmp_path, steps=20)
    left = ["losses.f64", "notes.txt", "step-000000000020.safetensors"]
    assert sorted(os.listdir(tmp_path)) == left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_first(tmp_path, number):
    """What a scheduler or a user ends can be resumed from where it was."""
    lib = Host()
    undisturbed = train(lib)
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before = signal.signal(number, usual[number])
    try:
        _, history = train(
            lib, tmp_path, callbacks=[lambda p: p.step == 50 and signal.raise_signal(number)]
        )
        assert signal.getsignal(number) == usual[number]
    finally:
        signal.signal(number, before)
    assert history.stopped == "interrupted after step 50"
    assert Checkpoints(tmp_path).files()[0].name == "step-000000000050.safetensors"
    assert_same(undisturbed, train(lib, tmp_path, resume=True))


def test_sigterm_ends_a_program_without_checkpoints():
    """There is nothing to save: a library has no say in when a program ends."""
    code = (
        "import numpy as np, signal, xpnet\n"
        "x, t = np.eye(4, dtype='float32'), np.asarray([0, 1, 0, 1])\n"
        "stop = lambda progress: signal.raise_signal(signal.SIGTERM)\n"
        "xpnet.fit(xpnet.MLP([4, 2]), x, t, steps=10, batch_size=4, callbacks=[stop])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == -signal.SIGTERM


def test_order_goes_on(tmp_path):
    """The rows after a restart are those that would have come."""
    for batch_size, shuffle in [(3, True), (10, True), (7, False)]:
        order = Batches(10, batch_size, seed=1, shuffle=shuffle)
        order.take(4)
        state = json.loads(json.dumps(order.state()))
        expected = order.take(9)
        other = Batches(10, batch_size, seed=2, shuffle=shuffle)
        other.restore(state)
        np.testing.assert_array_equal(other.take(9), expected)


def test_optimizer_state_goes_on(lib):
    """Two calls that share a state are one long one: slots, step count, schedule."""
    x, t = data(lib)
    options = {"optimizer": "adam", "learning_rate": Cosine(0.05, steps=40), "batch_size": 100}
    nets = [MLP([5, 4, 3], dtype="float64", seed=0, **lib.kwargs) for _ in range(2)]
    fit(nets[0], x, t, steps=40, shuffle=False, **options)
    state = {}
    for _ in range(2):
        fit(nets[1], x, t, steps=20, shuffle=False, optimizer_state=state, **options)
    assert state["steps"] == 40
    for key, p in nets[0].params.items():
        np.testing.assert_array_equal(lib.host(nets[1].params[key]), lib.host(p))


def test_optimizer_state_is_not_kept_from_a_diverged_call(lib):
    """A slot that has become NaN would make NaN of the next call's parameters."""
    x, t = data(lib)
    net = MLP([5, 3], activation="identity", output="identity", dtype="float64", **lib.kwargs)
    state = {}
    target = lib.array(np.eye(3)[lib.host(t)])
    with pytest.raises(xpnet.NonFiniteLoss), np.errstate(all="ignore"):
        fit(net, x, target, steps=2000, batch_size=50, learning_rate=1e3,
            optimizer="momentum", optimizer_state=state)
    assert state == {}
    again = fit(net, x, target, steps=5, batch_size=50, learning_rate=1e-3,
                optimizer="momentum", optimizer_state=state)
    assert np.isfinite(again.loss).all()


@pytest.mark.parametrize("output", OUTPUTS)
def test_sample_weights_are_repeated_rows(lib, output):
    """A row of weight 2 is two rows; one of weight 0 is none."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(6, 4)), np.eye(3)[rng.integers(0, 3, 6)]
    weights = np.asarray([2, 1, 0, 1, 3, 1])
    rows = np.repeat(np.arange(6), weights)
    outcome = []
    for where, weighting in ((slice(None), weights), (rows, None)):
        net = MLP([4, 5, 3], output=output, dtype="float64", seed=0, l2=0.01, **lib.kwargs)
        part = x[where]
        history = fit(
            net, lib.array(part), lib.array(t[where]), steps=5, batch_size=len(part),
            sample_weight=None if weighting is None else lib.array(weighting),
        )  # fmt: skip
        outcome.append((history.loss, {k: lib.host(p) for k, p in net.params.items()}))
    np.testing.assert_allclose(outcome[0][0], outcome[1][0], rtol=1e-12)
    for key, p in outcome[1][1].items():
        np.testing.assert_allclose(outcome[0][1][key], p, rtol=1e-10, atol=1e-14)


def test_wrong_sample_weights_are_refused(lib):
    x, t = data(lib, 6)
    net = MLP([5, 3], dtype="float64", **lib.kwargs)
    for wrong, error, message in [
        (lib.array(np.ones(5)), ValueError, r"must have shape \(6,\), not \(5,\)"),
        (lib.array(-np.ones(6)), ValueError, "at least 0"),
        (lib.array(np.zeros(6)), ValueError, "not 0 everywhere"),
        (lib.array(np.full(6, np.nan)), ValueError, "must be finite"),
        ([1.0] * 6, TypeError, "sample_weight is a list"),
    ]:
        with pytest.raises(error, match=message):
            fit(net, x, t, steps=1, batch_size=6, sample_weight=wrong)
    with pytest.raises(ValueError, match="needs gradient='backprop', not 'numerical'"):
        fit(net, x, t, steps=1, sample_weight=lib.array(np.ones(6)), gradient="numerical")


def test_killed_at_random_moments(lib, tell):
    """SIGKILL, also while a checkpoint is written. For many more: tests/kill_training.py."""
    if lib.name not in ("numpy", "torch", "jax"):
        pytest.skip(f"{lib.name} runs the same code as numpy")
    count = 5 if lib.name == "numpy" else 2
    alike, writing = kill_training.survived(lib.kwargs["xp"], count, seed=os.getpid())
    tell(f"{lib.name}: {alike} of {count} killed trainings survived, {writing} mid-write")
    assert alike == count


def test_checkpoint_and_model_are_told_apart(tmp_path):
    """A checkpoint is no model, and a model no checkpoint."""
    train(Host(), tmp_path, steps=20)
    with pytest.raises(FileError, match="it is no model"):
        xpnet.load(Checkpoints(tmp_path).files()[0])
