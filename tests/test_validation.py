"""Validation at the end of each epoch: at the right steps, with the right values, resumed too."""

import io
import json

import numpy as np
import pytest
from driven import fit, xpnet_command

import xpnet
from xpnet import MLP, EarlyStopping, Log
from xpnet.training.checkpoint import Checkpoints
from xpnet.training.plan import Plan


class Crash(Exception):
    """What ends a training in the tests."""


def rows(n=500, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.integers(0, 3, n)
    return rng.normal(size=(3, 4))[t] + rng.normal(size=(n, 4)), t


def net(**where):
    return MLP([4, 6, 3], seed=0, dtype="float64", **where)


def train(lib, *, n=500, model=None, **options):
    x, t = rows(n)
    model = model or net(**lib.kwargs)
    return model, xpnet.fit(model, lib.array(x), lib.array(t), **options)


def small(lib):
    return tuple(map(lib.array, rows(40, seed=1)))


def test_ten_epochs_are_ten_values(lib):
    """A curve with a point for each block, or none where an epoch is shorter than one."""
    x, t = small(lib)
    seen = []

    def measure(progress):
        seen.append((progress.step, float(lib.host(progress.net.loss(x, t)))))

    measure.every = "epoch"
    options = {"batch_size": 100, "learning_rate": 0.5, "epochs": 10}
    model, history = train(lib, validation=(x, t), callbacks=[measure], **options)
    assert history.validation_steps == [*range(5, 51, 5)]
    assert [*zip(history.validation_steps, history.validation_loss, strict=True)] == seen
    assert history.validation_accuracy[-1] == float(lib.host(model.accuracy(x, t)))
    for i, epoch in enumerate(history.epochs):
        assert epoch.loss == history.loss[5 * i : 5 * i + 5].mean()
        assert epoch[2:] == (history.validation_loss[i], history.validation_accuracy[i])
    assert history.to_dict()["validation"]["training_loss"] == [e.loss for e in history.epochs]
    # To look changes no step.
    plain, unseen = train(lib, **options)
    np.testing.assert_array_equal(unseen.loss, history.loss)
    np.testing.assert_array_equal(lib.host(plain.params["W1"]), lib.host(model.params["W1"]))
    assert unseen.epochs == []


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(50, 20, 14), (7, 3, 20), (250, 1, 600)])
def test_an_epoch_ends_with_its_last_row(n, batch_size, steps):
    """Epochs that are no whole number of batches: at the step that takes the last row."""
    x, t = rows(n)
    history = xpnet.fit(
        net(), x, t, steps=steps, batch_size=batch_size, learning_rate=0.01, validation=(x, t)
    )
    ends = [-(-k * n // batch_size) for k in range(1, steps)]
    assert history.validation_steps == sorted({*(end for end in ends if end <= steps), steps})


def test_blocks_of_all_epochs_are_alike():
    """Blocks of many lengths are recorded or compiled many times."""
    x, t = rows(230)
    history = xpnet.fit(
        net(), x, t, steps=920, batch_size=1, learning_rate=0.01, validation=(x, t)
    )
    assert history.block_steps == [100, 200, 230, 330, 430, 460, 560, 660, 690, 790, 890, 920]
    whole = fit(
        net(), x[:50], t[:50], steps=9, batch_size=20, whole_epochs=True, validation=(x, t)
    )
    assert whole.validation_steps == [3, 6, 9]


@pytest.mark.sessions("jax")
def test_blocks_of_any_length_are_compiled_once():
    """Half a second for each new length, where there are blocks of every length."""
    jax = pytest.importorskip("jax")
    from xpnet.backend import place

    traced = []

    def step(state, data, inputs, numbers):
        traced.append(1)
        state["w"]["a"] = state["w"]["a"] + numbers[0] * data[0][inputs[0]]
        return state["w"]["a"]

    here = place("jax", dtype="float32")
    state = {"w": {"a": here.floats(np.zeros(()))}}
    data = (here.floats(np.arange(4.0)),)
    run = here._runner(step, state, data)
    for length in (7, 3, 1, 5, 7):
        losses = run((np.full(length, 2),), np.full((length, 1), 0.5))
        assert losses.shape == (length,)
        np.testing.assert_array_equal(np.diff(here.to_host(losses)), 1.0)
    assert float(state["w"]["a"]) == 23.0
    assert len(traced) <= 2, "traced anew for a block of another length"
    assert jax.__version__


# --- a share of the rows ----------------------------------------------------------------------


def test_a_share_is_drawn_by_the_seed(lib):
    """The same rows on every backend, none of them trained on, none lost."""
    x, t = rows(57)
    x[:, 0] = np.arange(57)  # which row it is
    plan = Plan(net(**lib.kwargs), lib.array(x), lib.array(t), epochs=2, batch_size=10,
                validation=0.2, seed=3, sample_weight=lib.array(np.arange(57.0)))  # fmt: skip
    assert (plan.rows, plan.validation_rows, plan.total) == (46, 11, 10)
    kept = lib.host(plan.validation[0])[:, 0].astype(int)
    trained = lib.host(plan.source.data[0])[:, 0].astype(int)
    np.testing.assert_array_equal(np.sort([*kept, *trained]), np.arange(57))
    np.testing.assert_array_equal(lib.host(plan.source.data[2]), trained)
    np.testing.assert_array_equal(lib.host(plan.validation[1]).argmax(axis=1), t[kept])
    expected = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(3,))).permutation(57)
    np.testing.assert_array_equal(kept, np.sort(expected[:11]))
    other = Plan(net(), x, t, steps=1, validation=0.2, seed=4)
    assert not np.array_equal(other.validation[0][:, 0], kept)

    # The same run as with these rows given apart.
    options = {"epochs": 2, "batch_size": 10, "learning_rate": 0.01, "seed": 3, "dropout": 0.2}
    x[:, 0] /= 57
    _, one = train_on(lib, x, t, validation=0.2, **options)
    apart = lib.array(x[kept]), lib.array(t[kept])
    _, two = train_on(lib, x[trained], t[trained], validation=apart, **options)
    np.testing.assert_array_equal(one.loss, two.loss)
    assert one.validation_loss == pytest.approx(two.validation_loss, rel=1e-14)
    assert one.settings["rows"] == 46
    assert one.settings["validation_rows"] == 11


def train_on(lib, x, t, **options):
    model = net(**lib.kwargs)
    return model, xpnet.fit(model, lib.array(x), lib.array(t), **options)


def test_shares_that_are_none(tmp_path):
    x, t = rows(4)
    for share in (1e-9, 0.999):
        plan = Plan(net(), x, t, steps=1, validation=share)
        assert (plan.rows, plan.validation_rows) in ((3, 1), (1, 3))
    with pytest.raises(ValueError, match="of one row no share can be kept"):
        xpnet.fit(net(), x[:1], t[:1], steps=1, validation=0.5)
    with pytest.raises(ValueError, match="batch_size is 4, more than the 3 rows"):
        xpnet.fit(net(), x, t, steps=1, validation=0.25, batch_size=4)
    # What is drawn anew each time would be trained on after a restart.
    with pytest.raises(ValueError, match="cannot be resumed or shared by ranks: give a seed"):
        xpnet.fit(net(), x, t, steps=1, validation=0.5, seed=None, checkpoint=tmp_path / "c")
    assert xpnet.fit(net(), x, t, steps=1, validation=0.5, seed=None).validation_steps == [1]
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    with pytest.raises(ValueError, match=r"a pair \(x, t\) with rows on disk, not a share"):
        xpnet.fit(net(), mapped, t, steps=1, validation=0.5)


# --- resumed ----------------------------------------------------------------------------------


def test_a_resumed_run_has_the_same_bits(lib, tmp_path):
    """Stopped within an epoch and between two, in the middle of a block or at its end."""
    options = {
        "n": 130, "batch_size": 20, "steps": 60, "optimizer": "adam", "validation": 0.1,
        "checkpoint_every": 9,
    }  # fmt: skip

    def crash_at(step):
        def callback(progress):
            if progress.step >= step:
                raise Crash

        return callback

    def stop():
        return EarlyStopping(patience=None, restore_best=True)

    one, undisturbed = train(lib, callbacks=[stop()], **options)
    options["checkpoint"] = tmp_path / "run"
    for crash in (13, 30):
        with pytest.raises(Crash):
            train(lib, callbacks=[stop(), crash_at(crash)], resume=True, **options)
    two, history = train(lib, callbacks=[stop()], resume=True, **options)
    np.testing.assert_array_equal(history.loss, undisturbed.loss)
    for name in ("validation_steps", "validation_loss", "validation_accuracy", "epochs"):
        assert getattr(history, name) == getattr(undisturbed, name), name
    assert history.best_step == undisturbed.best_step
    for key, p in one.params.items():
        np.testing.assert_array_equal(lib.host(two.params[key]), lib.host(p))


# --- early stopping ---------------------------------------------------------------------------


def test_early_stopping_without_validation_is_an_error():
    """It would never stop, and say nothing."""
    model, seen = net(), []
    for callback, words in (
        (EarlyStopping(), "EarlyStopping looks at the validation loss, and the run has none"),
        (Log("epoch"), r'Log\("epoch"\) writes of the validation set, and the run has none'),
    ):
        with pytest.raises(ValueError, match=words):
            xpnet.fit(model, *rows(), steps=10, callbacks=[seen.append, callback])
    assert seen == []
    xpnet.fit(model, *rows(), steps=10, callbacks=[EarlyStopping(monitor="loss")])


def normed(lib):
    """A net with state: running statistics have to come back with the parameters."""
    layers = [xpnet.layers.Affine(6), xpnet.layers.BatchNorm(), "relu", xpnet.layers.Affine(3)]
    return xpnet.Network(layers, input_shape=(4,), seed=0, dtype="float64", **lib.kwargs)


def everything(lib, model):
    return {k: lib.host(p).copy() for k, p in {**model.params, **model.state}.items()}


def best_of(lib, **options):
    """A run whose best epoch is not its last: (what the net was after each epoch, its record)."""
    x, t = small(lib)
    after = {}

    def remember(progress):
        after[progress.step] = everything(lib, progress.net)

    remember.every = "epoch"
    model = normed(lib)
    stop = EarlyStopping(options.pop("patience", None), restore_best=True)
    callbacks = [remember, stop, *options.pop("callbacks", ())]
    options = {"batch_size": 50, "epochs": 8, "learning_rate": 3.0, **options}
    _, history = train(lib, n=150, model=model, validation=(x, t), callbacks=callbacks, **options)
    return model, after, history


def test_the_best_parameters_come_back(lib):
    """What is evaluated and saved is the net of the best epoch, not of the last."""
    model, after, history = best_of(lib)
    best = history.validation_steps[int(np.argmin(history.validation_loss))]
    assert best < 24, "a run whose last epoch is its best shows nothing"
    assert history.best_step == best
    assert f"parameters      those after step {best}, the best" in history.summary()
    assert history.to_dict()["best_step"] == best
    for key, value in everything(lib, model).items():
        np.testing.assert_array_equal(value, after[best][key])
    x, t = small(lib)
    loss = float(lib.host(model.loss(x, t, training=False)))
    assert loss == min(history.validation_loss)


def test_the_best_parameters_come_back_after_patience_and_resuming(lib, tmp_path):
    """The run ends early, and once more from its checkpoint: the same net."""
    model, _, history = best_of(lib, patience=2, checkpoint=tmp_path / "run", epochs=40)
    assert history.reason.kind == "callback"
    assert history.steps == history.best_step + 6
    again, _, resumed = best_of(
        lib, patience=2, checkpoint=tmp_path / "run", resume=True, epochs=40
    )
    assert resumed.best_step == history.best_step
    expected = everything(lib, model)
    for key, value in everything(lib, again).items():
        np.testing.assert_array_equal(value, expected[key])


def test_more_steps_go_on_from_the_last_ones(lib, tmp_path):
    """Resumed with more epochs, a run is as if it had never ended: not from the best net on."""
    best_of(lib, checkpoint=tmp_path / "run", epochs=6)
    longer, _, history = best_of(lib, checkpoint=tmp_path / "run", resume=True, epochs=12)
    whole, _, expected = best_of(lib, epochs=12)
    np.testing.assert_array_equal(history.loss, expected.loss)
    for key, value in everything(lib, whole).items():
        np.testing.assert_array_equal(everything(lib, longer)[key], value)


@pytest.mark.usefixtures("ctrl_c")
def test_the_best_parameters_come_back_after_ctrl_c():
    import signal

    def interrupt(progress):
        if progress.step == 21:
            signal.raise_signal(signal.SIGINT)

    class Host:
        kwargs = {"xp": None}  # noqa: RUF012
        array = host = staticmethod(np.asarray)

    model, after, history = best_of(Host, callbacks=[interrupt])
    assert history.stopped == "interrupted after step 21"
    for key, value in everything(Host, model).items():
        np.testing.assert_array_equal(value, after[history.best_step][key])


def test_a_checkpoint_has_both(tmp_path):
    """The last parameters, to go on from, and the best, to come back to: as arrays, not as text."""
    x, t = rows()
    stop = EarlyStopping(patience=None, restore_best=True)
    xpnet.fit(
        net(), x, t, steps=30, validation=(x, t), callbacks=[stop], checkpoint=tmp_path / "run"
    )
    arrays, told = Checkpoints(tmp_path / "run").newest()
    assert arrays["callbacks/0/kept/params/W1"].shape == (4, 6)
    assert told["callbacks"][0].keys() == {"best", "since", "seen", "best_step", "kept"}


def test_a_callback_serves_one_run_after_another():
    """What the run before has reached does not end this one."""
    x, t = rows()
    stop = EarlyStopping(patience=2, restore_best=True)
    steps = [
        xpnet.fit(net(), x, t, steps=40, validation=(x, t), callbacks=[stop]).steps
        for _ in range(2)
    ]
    assert steps == [40, 40]


# --- what is printed --------------------------------------------------------------------------


def test_a_line_an_epoch(lib):
    """Losses of both sets and the accuracy, in a file that is no terminal."""
    pytest.importorskip("rich")
    from rich.console import Console

    from xpnet.training.bar import ProgressBar

    lines, file = [], io.StringIO()
    bar = ProgressBar(Console(file=file, width=60))
    callbacks = [Log("epoch", lines.append), bar]
    _, history = train(lib, epochs=3, validation=small(lib), callbacks=callbacks)
    assert lines == [
        f"step {e.step}: loss {e.loss:.4f}, validation loss {e.validation_loss:.4f}, accuracy "
        f"{100 * e.validation_accuracy:.2f} %"
        for e in history.epochs
    ]
    assert len(lines) == 3
    assert file.getvalue().splitlines() == lines


def test_a_line_an_epoch_above_the_bar(monkeypatch):
    pytest.importorskip("rich")
    from rich.console import Console
    from test_cli import Terminal

    from xpnet.training.bar import ProgressBar

    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    bar = ProgressBar(Console(file=terminal, force_terminal=True, width=100))
    x, t = rows()
    values = MLP([4, 3], output="identity", dtype="float64", seed=0)
    xpnet.fit(
        values, x, np.eye(3)[t], epochs=3, validation=(x, np.eye(3)[t]), callbacks=[bar],
        learning_rate=0.01,
    )  # fmt: skip
    assert terminal.getvalue().count("validation loss") == 3
    assert "accuracy" not in terminal.getvalue()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """`xpnet train` on 200 + 30 images without a pattern, 4×4: (code, output, errors)."""
    pytest.importorskip("click")
    from test_cli import write_idx

    monkeypatch.chdir(tmp_path)
    rng, data = np.random.default_rng(0), tmp_path / "data"
    data.mkdir()
    for prefix, n in (("train", 200), ("t10k", 30)):
        write_idx(data / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (n, 4, 4)))
        write_idx(data / f"{prefix}-labels-idx1-ubyte", rng.integers(0, 3, n))
    return lambda *words: xpnet_command(
        "train", "--dataset", "data", "--out", "run", "--no-pictures", *words
    )


def test_the_command_keeps_the_best(command, tmp_path):
    """Labels without a pattern: the validation loss soon rises, and the run ends by itself."""
    words = ("--validation", 0.2, "--early-stopping", 3, "--keep-best", "--optimizer", "adam",
             "--learning-rate", 0.05, "--batch-size", 40, "--epochs", 50)  # fmt: skip
    code, output, errors = command(*words)
    assert (code, errors) == (0, ""), "a run that has ended by its own decision is no failure"
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    looks = history["validation"]
    assert looks["step"] == [*range(4, history["steps"] + 1, 4)]
    assert history["steps"] < 200
    assert history["best_step"] == history["steps"] - 12
    assert sum(line.startswith("step ") for line in output.splitlines()) == len(looks["step"])
    assert "160 images to train with" in output
    (x, t), (x_test, t_test) = xpnet.load_idx(tmp_path / "data")
    model = MLP([16, 100, 3], seed=0)
    stop = EarlyStopping(3, restore_best=True)
    expected = xpnet.fit(
        model, x, t, epochs=50, batch_size=40, optimizer="adam", learning_rate=0.05,
        validation=0.2, callbacks=[stop],
    )  # fmt: skip
    assert history["loss"] == expected.loss.tolist()
    saved = xpnet.load(tmp_path / "run" / "model.safetensors")
    for key, p in model.params.items():
        np.testing.assert_array_equal(saved.params[key], p)
    assert history["test_accuracy"] == float(model.accuracy(x_test, t_test))


@pytest.mark.parametrize(("words", "message"), [
    (("--early-stopping", 3), "--early-stopping and --keep-best look at the validation loss"),
    (("--keep-best",), "give --validation, such as --validation 0.1"),
    (("--validation", "1.5"), "'1.5' is neither a number of rows nor a share below 1"),
    (("--validation", "-1"), "'-1' is neither a number of rows nor a share"),
    (("--validation", "many"), "'many' is neither"),
    (("--validation", 0.1, "--early-stopping", 0), "'--early-stopping'"),
    (("--class-weight", "rare"), "'--class-weight'"),
])  # fmt: skip
def test_options_that_are_refused(command, tmp_path, words, message):
    code, _, errors = command(*words)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "run").exists()
