"""Training: the same on every backend, stopped when asked, refused when wrong."""

import json
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from driven import fit

import xpnet
from xpnet import MLP, NonFiniteLoss, TwoLayerNet
from xpnet.optimizers import OPTIMIZERS, Optimizer
from xpnet.training import session
from xpnet.training.blocks import Batches, Masks
from xpnet.training.plan import default_block


def blobs(n=200, inputs=6, classes=3, seed=0):
    """Rows around one centre a class: a net can learn them."""
    rng = np.random.default_rng(seed)
    t = rng.integers(0, classes, n)
    return rng.normal(size=(classes, inputs))[t] * 2 + rng.normal(size=(n, inputs)), t


def train(lib, *, dtype="float64", net=None, form="indices", **kwargs):
    x, t = blobs()
    net = net or MLP([6, 5, 3], dtype=dtype, seed=0, **lib.kwargs)
    t = t if form == "indices" else np.eye(3)[t]
    options = {"steps": 60, "batch_size": 20, **kwargs}
    return net, fit(net, lib.array(x), lib.array(t), **options)


def textbook(host, rule, gradients):
    """The losses of plain steps, one for each (loss, gradient) of the net as it is then."""
    slots, losses = rule.slots(host.params), []
    for step, (loss, gradient) in enumerate(gradients, 1):
        if rule.folds_rate:
            gradient = {k: 0.05 * g for k, g in gradient.items()}
        numbers = rule.coefficients(np.asarray([step]), np.asarray([0.05])).tolist()[0]
        rule.update(host.params, gradient, slots, numbers)
        losses.append(loss)
    return losses


@pytest.mark.parametrize("form", ["indices", "rows"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_equals_the_textbook_loop(lib, name, form):
    """The runner, the folded rate and the blocks change nothing but rounding."""
    rule = OPTIMIZERS[name]()
    net, history = train(lib, optimizer=name, learning_rate=0.05, form=form, steps=23)

    x, t = blobs()
    host = MLP([6, 5, 3], dtype="float64", seed=0)
    batches = Batches(len(x), 20, 0).take(23)
    losses = textbook(host, rule, (host.loss_and_gradient(x[rows], t[rows]) for rows in batches))
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    for key, p in host.params.items():
        np.testing.assert_allclose(lib.host(net.params[key]), p, rtol=1e-9, atol=1e-12)


def test_many_labels_stay_indices(lib, monkeypatch):
    """Where one-hot rows would be large, each step makes its own: the losses are the same."""
    _, rows = train(lib, steps=5)
    monkeypatch.setattr("xpnet.network.batch.ROWS_BYTES", 0)
    _, indices = train(lib, steps=5)
    np.testing.assert_array_equal(indices.loss, rows.loss)


def test_it_learns(lib):
    """The plainest promise: loss goes down, accuracy goes up."""
    x, t = blobs()
    net, history = train(lib, optimizer="adam", learning_rate=0.02, steps=300)
    assert history.loss[-20:].mean() < 0.3 * history.loss[0]
    assert lib.host(net.accuracy(lib.array(x), lib.array(t))) > 0.9
    assert history.steps == len(history.loss) == 300
    assert history.seconds > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_agree(lib, mnist, dtype):
    """The same seed gives the same losses everywhere, up to rounding: the promise of one path."""
    (x, t), (x_test, t_test) = mnist
    steps = 1000 if lib.name in ("numpy", "torch", "jax", "torch-cuda", "cupy") else 30
    curves, accuracies = [], []
    for where in ({}, lib.kwargs):
        here = xpnet.place(dtype=dtype, **where)
        net = TwoLayerNet(784, 100, 10, seed=0, dtype=dtype, **where)
        history = fit(net, here.floats(x), here.asarray(t), steps=steps)
        curves.append(history.loss)
        accuracy = net.accuracy(here.floats(x_test), here.asarray(t_test))
        accuracies.append(float(here.to_host(accuracy)))
    numpy, other = curves
    assert abs(other[0] / numpy[0] - 1) <= (1e-6 if dtype == "float32" else 1e-14)
    difference = np.max(np.abs(other - numpy))
    assert difference <= (1e-3 if dtype == "float32" else 1e-9), difference
    assert abs(accuracies[1] - accuracies[0]) <= 0.003


@pytest.fixture(scope="module")
def mnist():
    return xpnet.load_mnist()


def test_batches_pass_over_all_rows():
    """Every row once a pass, in an order that the seed fixes."""
    order = Batches(10, 4, seed=5)
    rows = np.concatenate([order.take(2).ravel(), order.take(3).ravel()])
    for start in (0, 10):
        np.testing.assert_array_equal(np.sort(rows[start : start + 10]), np.arange(10))
    again = Batches(10, 4, seed=5)
    np.testing.assert_array_equal(rows[:4], again.take(1)[0])
    assert not np.array_equal(rows[:10], Batches(10, 10, 6).take(1)[0])


def test_whole_epochs():
    """A pass that ends with a batch sees every row, and takes what lacks from itself."""
    order = Batches(10, 4, seed=5, whole_epochs=True)
    for _ in range(3):
        rows = order.take(3).ravel()
        assert sorted(rows[:10]) == list(range(10))
        np.testing.assert_array_equal(rows[10:], rows[:2])
    kept = order.state()
    expected = order.take(4)
    order.restore(kept)
    np.testing.assert_array_equal(order.take(4), expected)
    plain = Batches(10, 5, seed=5, whole_epochs=True)
    np.testing.assert_array_equal(plain.take(6), Batches(10, 5, seed=5).take(6))


@pytest.mark.parametrize("dropout", [0.5, 0.1, 2**-16, 0.999999999])
def test_masks_keep_the_mean(dropout):
    """As many units are dropped as asked for, and what is kept makes up for them."""
    masks = Masks(100, 101, dropout, seed=0)
    kept = masks.take(300)
    assert (kept.shape, kept.dtype) == ((300, 100, 101), np.bool_)
    share = 1 / masks.scale
    assert abs(share - (1 - dropout)) <= 2**-16
    deviation = (share * (1 - share)) ** 0.5
    assert abs(kept.mean() - share) < 5 * deviation / kept.size**0.5
    for axis, of_how_many in ((0, 300), (1, 100), (2, 101)):
        # One row, unit or step that differs from the others would stand out.
        means = kept.mean(axis=tuple({0, 1, 2} - {axis}))
        bound = 6 * deviation * (of_how_many / kept.size) ** 0.5
        assert np.abs(means - share).max() < bound + 2 * of_how_many / kept.size


def test_masks_do_not_depend_on_blocks():
    """Nor on each other: one for each step, and none of them is the batch order's stream."""
    masks = Masks(3, 5, 0.4, seed=7)
    parts = np.concatenate([masks.take(1), masks.take(4), masks.take(2)])
    np.testing.assert_array_equal(parts, Masks(3, 5, 0.4, seed=7).take(7))
    assert not np.array_equal(parts, Masks(3, 5, 0.4, seed=8).take(7))
    assert not np.array_equal(parts[:6], parts[1:])
    assert not np.array_equal(Masks(3, 5, 0.4, None).take(7), Masks(3, 5, 0.4, None).take(7))
    raw = np.random.default_rng(7).bit_generator.random_raw(4)
    assert not np.array_equal(raw, Masks(3, 5, 0.4, seed=7)._bits.random_raw(4))
    rows = Batches(10, 4, seed=5, masks=Masks(4, 5, 0.4, seed=5)).take(6)
    np.testing.assert_array_equal(rows, Batches(10, 4, seed=5).take(6))


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_dropout_equals_the_textbook_loop(lib, name, monkeypatch):
    """The same masks on every backend, one a step, in training only, however long a block is."""
    rule = OPTIMIZERS[name]()

    def new(**where):
        return MLP([6, 5, 4, 3], activation="tanh", dtype="float64", seed=0, **where)

    x, t = blobs()
    options = {"optimizer": name, "learning_rate": 0.05, "steps": 23, "dropout": 0.3, "seed": 4}
    look = {"validation": (lib.array(x), lib.array(t))}
    net, history = train(lib, net=new(**lib.kwargs), **options, **look)

    host = new()
    order, masks = Batches(len(x), 20, 4), Masks(20, 9, 0.3, 4)

    def gradients():
        for rows, kept in zip(order.take(23), masks.take(23), strict=True):
            both = [kept[:, :5] * masks.scale, kept[:, 5:] * masks.scale]
            yield host._backpropagate(host.params, x[rows], np.eye(3)[t[rows]], masks=both)

    losses = textbook(host, rule, gradients())
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    assert history.settings["dropout"] == 0.3
    for key, p in host.params.items():
        np.testing.assert_allclose(lib.host(net.params[key]), p, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(lib.host(net.predict(lib.array(x))), host.predict(x), rtol=1e-8)
    np.testing.assert_allclose(history.validation_loss[-1], float(host.loss(x, t)), rtol=1e-8)

    monkeypatch.setattr(session, "MASK_BYTES", 500)  # those of two steps
    again, short = train(lib, net=new(**lib.kwargs), **options)
    assert short.block_steps == [*range(2, 23, 2), 23]
    np.testing.assert_array_equal(short.loss, history.loss)
    for key, p in net.params.items():
        np.testing.assert_array_equal(lib.host(again.params[key]), lib.host(p))


def test_backends_agree_with_dropout(lib, mnist):
    """The same seed means the same masks: at a real size and in float32, too."""
    (x, t), _ = mnist
    curves = []
    for where in ({}, lib.kwargs):
        here = xpnet.place(**where)
        net = MLP([784, 100, 10], activation="relu", seed=0, **where)
        steps = 30 if lib.name.startswith("strict") else 300
        history = fit(net, here.floats(x), here.asarray(t), steps=steps, dropout=0.5)
        curves.append(history.loss)
    assert np.max(np.abs(curves[1] - curves[0])) <= 1e-3


def test_dropout_without_hidden_layers(lib):
    """There is nothing to drop: the training is the same, bit for bit."""
    curves = []
    for dropout in (0.0, 0.5):
        net = MLP([6, 3], dtype="float64", seed=0, **lib.kwargs)
        curves.append(train(lib, net=net, dropout=dropout)[1].loss)
    np.testing.assert_array_equal(curves[0], curves[1])


def test_an_order_of_your_own(lib):
    """The rows are those that the callable says, pass after pass; the history says so."""
    passes = []

    def backwards():
        passes.append(len(passes))
        return np.arange(200)[::-1]

    own, history = train(lib, shuffle=backwards, whole_epochs=True)
    assert history.settings["shuffle"] == "own"
    assert len(passes) == 6
    x, t = blobs()
    other = MLP([6, 5, 3], dtype="float64", seed=0, **lib.kwargs)
    fit(
        other, lib.array(x[::-1].copy()), lib.array(t[::-1].copy()),
        steps=60, batch_size=20, shuffle=False,
    )  # fmt: skip
    np.testing.assert_allclose(lib.host(own.params["W1"]), lib.host(other.params["W1"]))


def test_blocks_of_your_own(lib):
    """Each block is as long as asked for; what is trained does not depend on it."""
    blocks = []
    own, _ = train(lib, block_steps=lambda done: 1 + done, callbacks=[
        lambda progress: blocks.append(len(progress.losses)) or None
    ])  # fmt: skip
    assert blocks == [1, 2, 4, 8, 16, 29]
    other, _ = train(lib)
    np.testing.assert_array_equal(lib.host(own.params["W1"]), lib.host(other.params["W1"]))


def test_an_order_of_your_own_cannot_be_resumed(tmp_path):
    """A checkpoint would promise what nothing in it can keep."""
    x, t = blobs()
    with pytest.raises(ValueError, match="cannot be resumed"):
        fit(MLP([6, 3]), x, t, steps=1, shuffle=lambda: np.arange(200), checkpoint=tmp_path / "c")


def test_epochs_and_steps():
    """An epoch is n rows, rounded up to whole batches."""
    x, t = blobs(n=50)
    for epochs, batch_size, steps in [(1, 50, 1), (2, 20, 5), (3, 7, 22)]:
        history = fit(MLP([6, 3], dtype="float64"), x, t, epochs=epochs, batch_size=batch_size)
        assert history.steps == steps


def test_schedule_is_followed(lib):
    """A rate of 0 changes nothing; the schedule is asked for the right steps."""
    asked = []

    def schedule(steps):
        asked.extend(steps.tolist())
        return np.where(steps < 5, 0.0, 0.1)

    _x, _t = blobs()
    _net, history = train(lib, learning_rate=schedule, steps=205, batch_size=200)
    assert asked == list(range(205))
    np.testing.assert_allclose(history.loss[:6], history.loss[0], rtol=1e-13)
    assert history.loss[6] < history.loss[0]


def test_validation(lib):
    """Looked at after each epoch and at the end, with the values that the net then gives."""
    x, t = blobs(seed=1)
    x, t = lib.array(x), lib.array(t)
    net, history = train(lib, steps=255, validation=(x, t))
    assert history.validation_steps == [*range(10, 255, 10), 255]
    assert history.validation_loss[-1] == float(lib.host(net.loss(x, t)))
    assert history.validation_accuracy[-1] == float(lib.host(net.accuracy(x, t)))
    values = MLP([6, 3], output="identity", dtype="float64", **lib.kwargs)
    _, history = train(lib, net=values, validation=(x, t))
    assert history.validation_accuracy == [None] * 6


def test_callbacks_see_every_block_and_can_stop():
    seen = []
    lines = []

    def stop(progress):
        seen.append((progress.step, progress.steps, len(progress.losses)))
        return progress.step >= 200

    x, t = blobs()
    log = xpnet.Log(50, lines.append)
    history = fit(MLP([6, 3]), x, t, steps=1000, callbacks=[stop, log])
    assert seen == [(100, 1000, 100), (200, 1000, 100)]
    assert history.steps == 200
    assert history.stopped == "stopped by a callback after step 200"
    assert [line.split(":")[0] for line in lines] == ["step 50", "step 100", "step 150", "step 200"]
    assert lines[0] == f"step 50: loss {history.loss[:50].mean():.4f}"


def test_early_stopping():
    """Stops after `patience` looks without improvement, not before."""
    x, t = blobs()
    data = {"steps": 5000, "validation": (x, t)}
    stop = xpnet.EarlyStopping(patience=3, min_delta=1e-3)
    history = fit(MLP([6, 3]), x, t, callbacks=[stop], **data)
    assert history.steps < 5000
    looks = np.asarray(history.validation_loss)
    best = len(looks) - 4
    assert np.all(looks[best + 1 :] > looks[: best + 1].min() - 1e-3)
    with pytest.raises(ValueError, match="unknown monitor 'accuracy'; known are 'validation'"):
        xpnet.EarlyStopping(monitor="accuracy")


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_ends_after_the_block(lib):
    """Ctrl-C: the block is finished, the history is returned, the net is whole."""

    def interrupt(progress):
        if progress.step == 200:
            signal.raise_signal(signal.SIGINT)

    net, history = train(lib, steps=100_000, callbacks=[interrupt])
    assert history.stopped is not None
    assert history.stopped.startswith("interrupted after step ")
    assert len(history.loss) == history.steps < 1000
    assert np.isfinite(lib.host(net.params["W1"])).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("ctrl_c")
def test_second_interrupt_is_at_once():
    x, t = blobs()

    def impatient(progress):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(MLP([6, 3]), x, t, steps=1000, callbacks=[impatient])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_a_thread():
    """Signals belong to the main thread; training does not."""
    x, t = blobs()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(fit(MLP([6, 3]), x, t, steps=10).steps)
    )
    thread.start()
    thread.join()
    assert results == [10]


def test_non_finite_loss_stops_with_the_step(lib):
    """The step's number, the losses up to it, and parameters that still are numbers."""
    before = {}

    def remember(progress):
        before.update({k: lib.host(v).copy() for k, v in progress.net.params.items()})

    def schedule(steps):
        return np.where(steps == 150, 1e300, 0.01)

    net = MLP([6, 5, 3], activation="identity", output="identity", dtype="float64",
              seed=0, **lib.kwargs)
    with pytest.raises(NonFiniteLoss, match=r"the loss became \S+ at step 15\d; .* after step 100"
                       ) as caught, np.errstate(all="ignore"):
        train(lib, net=net, learning_rate=schedule, steps=1000, callbacks=[remember])
    error = caught.value
    assert 152 <= error.step <= 159
    assert error.history.steps == len(error.history.loss) == error.step
    assert not np.isfinite(error.history.loss[-1])
    assert np.isfinite(error.history.loss[:-1]).all()
    assert error.history.block_steps == [100], "a block that was cut has no time of its own"
    for key, p in net.params.items():
        np.testing.assert_array_equal(lib.host(p), before[key])
    # From another process it comes pickled: one that cannot be read is a search that never ends.
    error.add_note("in a worker")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.step) == (NonFiniteLoss, str(error), error.step)
    assert again.__notes__ == ["in a worker"]
    np.testing.assert_array_equal(again.history.loss, error.history.loss)


def test_history_has_the_time_of_each_block(lib):
    """What a library does once, in the first blocks, can only be told apart by their times."""
    _, history = train(lib, steps=250)
    assert history.block_steps == [100, 200, 250]
    assert len(history.block_seconds) == 3
    assert 0 < history.block_seconds[0] < history.block_seconds[1] < history.block_seconds[2]
    assert history.block_seconds[2] <= history.seconds
    written = history.to_dict()["blocks"]
    assert written == {"step": history.block_steps, "seconds": history.block_seconds}


def test_numerical_training(lib):
    """`gradient="numerical"` follows the same path as backpropagation."""
    options = {"steps": 2 if lib.name.startswith("strict") else 5}
    _, backprop = train(lib, batch_size=10, **options)
    _, numerical = train(lib, batch_size=10, gradient="numerical", **options)
    np.testing.assert_allclose(numerical.loss, backprop.loss, rtol=1e-6)


def test_an_optimizer_of_your_own(lib):
    """Subclassing `Optimizer` is enough."""

    class Sign(Optimizer):
        def update(self, params, gradient, slots, numbers):
            xp = lib.xp
            for key, g in gradient.items():
                params[key] -= numbers[0] * xp.sign(g)

    _, history = train(lib, optimizer=Sign(), learning_rate=0.01, steps=50)
    assert history.loss[-1] < history.loss[0]
    assert history.settings["optimizer"] == {"name": "Sign"}


def test_float32_stays_float32(lib):
    """A step that promotes to float64 costs double and says nothing."""
    for name in OPTIMIZERS:
        net, _ = train(lib, dtype="float32", optimizer=name, steps=3,
                       net=MLP([6, 5, 3], l2=0.1, seed=0, **lib.kwargs))
        for key, p in net.params.items():
            assert p.dtype == lib.xp.float32, (name, key)


def test_blocks_follow_the_size():
    """Many steps at once for small nets; large ones still answer to Ctrl-C."""
    assert default_block(MLP([784, 100, 10]), 100, "backprop") == 100
    assert default_block(MLP([784, 1000, 1000, 10]), 1000, "backprop") < 10
    assert default_block(MLP([784, 100, 10]), 100, "numerical") == 100
    assert default_block(MLP([784, 256, 128, 10]), 100, "numerical") < 10


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"steps": None}, ValueError, "give steps or epochs, one of the two; neither was given"),
    ({"epochs": 1}, ValueError, "give steps or epochs, one of the two; both was given"),
    ({"steps": 0}, ValueError, "steps must be at least 1, not 0"),
    ({"steps": 2.5}, TypeError, "steps must be a whole number, not float"),
    ({"steps": None, "epochs": -1}, ValueError, "epochs must be at least 1, not -1"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1, not 0"),
    ({"batch_size": 201}, ValueError, "batch_size is 201, more than the 200 rows of x"),
    ({"learning_rate": 0}, ValueError, "learning_rate must be finite and above 0, not 0"),
    ({"learning_rate": float("nan")}, ValueError, "learning_rate must be finite"),
    ({"learning_rate": "fast"}, TypeError, "learning_rate must be a number, not str"),
    ({"learning_rate": lambda steps: -0.1 + 0 * steps}, ValueError, "schedule must return 60"),
    ({"learning_rate": lambda steps: 0.1}, ValueError, "the schedule must return 60 finite rates"),
    ({"optimizer": "lbfgs"}, ValueError, "unknown optimizer 'lbfgs'; known are 'sgd', 'momentum'"),
    ({"gradient": "exact"}, ValueError, "unknown gradient 'exact'; known are 'backprop', 'numer"),
    ({"dropout": 1.0}, ValueError, "dropout must be below 1, not 1.0"),
    ({"dropout": -0.1}, ValueError, "dropout must be finite and at least 0, not -0.1"),
    ({"dropout": "some"}, TypeError, "dropout must be a number, not str"),
    ({"dropout": 0.1, "gradient": "numerical"}, ValueError,
     "dropout needs gradient='backprop', not 'numerical'"),
    ({"validation": 3}, TypeError, r"validation must be a pair \(x, t\)"),
])
def test_bad_arguments(change, error, message):
    """Refused before anything is trained."""
    x, t = blobs()
    net = MLP([6, 3], dtype="float64", seed=0)
    before = {k: v.copy() for k, v in net.params.items()}
    with pytest.raises(error, match=message):
        fit(net, x, t, **{"steps": 60, **change})
    for key, p in net.params.items():
        np.testing.assert_array_equal(p, before[key])


def test_bad_data(lib):
    """NaN in x, labels outside, an empty set, a validation set of another width."""
    x, t = blobs()
    net = MLP([6, 3], dtype="float64", **lib.kwargs)
    good = lib.array(x), lib.array(t)
    spoiled = x.copy()
    spoiled[150, 2] = np.nan
    with pytest.raises(ValueError, match="x has values that are not finite"):
        fit(net, lib.array(spoiled), good[1], steps=1)
    with pytest.raises(ValueError, match="t has the label 3; expected 0 to 2"):
        fit(net, good[0], lib.array(t + 1), steps=1)
    with pytest.raises(ValueError, match="x is an empty batch"):
        fit(net, lib.array(x[:0]), lib.array(t[:0]), steps=1)
    with pytest.raises(ValueError, match=r"validation: x must have shape \(n, 6\), not \(200, 5\)"):
        fit(net, *good, steps=1, validation=(lib.array(x[:, :5]), good[1]))


# --- the history -----------------------------------------------------------------------------


def test_summary_has_the_reference_s_lines(lib):
    _net, history = train(lib, steps=10)
    history.test_accuracy = 0.5
    text = history.summary()
    for line in ("steps           10", "first loss", "last loss", "decrease", "elapsed",
                 "time per step", "test accuracy   50.00 %", "device"):
        assert line in text
    assert lib.kwargs["xp"] in history.device
    assert "10 steps" in repr(history)


def test_summary_names_the_gpu():
    history = xpnet.History(environment={
        "backend": "torch", "backend_version": "2", "device": "cuda:0",
        "device_name": "NVIDIA H100", "driver": "580", "cuda": "13.0"})
    assert "GPU             NVIDIA H100, driver 580, CUDA 13.0" in history.summary()
    assert "NVIDIA H100, torch 2 on cuda:0" in history.summary()


def test_history_file(lib, tmp_path):
    """Everything that is needed to know what was run; nothing half-written."""
    x, t = blobs()
    _, history = train(lib, steps=10, validation=(lib.array(x), lib.array(t)))
    history.save(tmp_path / "history.json")
    data = json.loads((tmp_path / "history.json").read_text())
    np.testing.assert_array_equal(data["loss"], history.loss)
    assert data["settings"]["batch_size"] == 20
    assert data["settings"]["optimizer"] == {"name": "SGD"}
    assert data["environment"]["backend"] == lib.kwargs["xp"]
    assert data["environment"]["xpnet"] == xpnet.__version__
    assert data["validation"]["step"] == [10]
    assert data["validation"]["training_loss"] == [history.loss.mean()]
    assert os.listdir(tmp_path) == ["history.json"]


def test_history_file_of_a_failed_run(tmp_path):
    """Strict JSON has no NaN."""
    history = xpnet.History()
    history.extend(np.asarray([1.0, np.nan]), 0.1)
    history.save(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text())["loss"] == [1.0, None]


def test_history_file_keeps_the_old_one_on_failure(tmp_path):
    path = tmp_path / "h.json"
    path.write_text("old")
    history = xpnet.History(settings={"unwritable": object()})
    with pytest.raises(TypeError):
        history.save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["h.json"]
