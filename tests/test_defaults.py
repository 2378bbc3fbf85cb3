"""Defaults that do what people expect, and messages where there is none."""

import json
import math
import pathlib
import runpy
import warnings

import numpy as np
import pytest
from driven import xpnet_command

import xpnet
from xpnet import MLP, DivergenceWarning, NonFiniteLoss, ScaleWarning
from xpnet.files import load_arrays, save_arrays
from xpnet.optimizers import OPTIMIZERS, Clipped, Cosine, Optimizer
from xpnet.smoothing import rise, smoothed

HERE = pathlib.Path(__file__).parent.parent
RATES = {
    "sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01,
    "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001,
}  # fmt: skip


def rows(n=60, inputs=4, classes=3):
    rng = np.random.default_rng(0)
    t = rng.integers(0, classes, n)
    x = 2 * rng.normal(size=(classes, inputs))[t] + rng.normal(size=(n, inputs))
    return x.astype(np.float32), t


def net(**options):
    return MLP([4, 5, 3], seed=0, **options)


# --- learning rate, batch size ----------------------------------------------------------------


def test_every_optimizer_has_its_rate():
    """Adam at SGD's rate is the first thing that a new user stumbles over."""
    rates = {name: make().default_rate for name, make in OPTIMIZERS.items()}
    assert rates.items() >= RATES.items()
    assert None not in rates.values()
    for name, rate in RATES.items():
        curves = []
        for given in ({}, {"learning_rate": rate}):
            history = xpnet.fit(net(), *rows(), steps=3, optimizer=name, **given)
            assert history.settings["learning_rate"] == rate
            curves.append(history.loss)
        np.testing.assert_array_equal(*curves)


def test_clipped_has_the_rate_of_what_it_clips():
    assert Clipped("adam", 1.0).default_rate == 0.001
    assert Clipped("sgd", 1.0).default_rate == 0.1


def test_an_optimizer_of_your_own_asks_for_a_rate():
    """A rate that somebody guessed for an unknown rule."""

    class Mine(Optimizer):
        def update(self, params, gradient, slots, numbers):
            for key, g in gradient.items():
                params[key] -= numbers[0] * g

    with pytest.raises(ValueError, match="learning_rate is None, and Mine has no rate of its own"):
        xpnet.fit(net(), *rows(), steps=1, optimizer=Mine())
    with pytest.raises(ValueError, match="Mine has no rate of its own"):
        xpnet.fit(net(), *rows(), steps=1, optimizer=Clipped(Mine(), 1.0))
    Mine.default_rate = 0.5
    assert xpnet.fit(net(), *rows(), steps=1, optimizer=Mine()).settings["learning_rate"] == 0.5


@pytest.mark.parametrize(("n", "expected"), [(60, 60), (100, 100), (130, 100)])
def test_a_batch_is_100_rows_or_all(n, expected):
    assert xpnet.fit(net(), *rows(n), steps=1).settings["batch_size"] == expected
    with pytest.raises(ValueError, match=f"batch_size is {n + 1}, more than the {n} rows"):
        xpnet.fit(net(), *rows(n), steps=1, batch_size=n + 1)


# --- schedules --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [
    ("cosine", "Cosine"), ("step", "StepDecay"), ("constant", "Constant"), ("warm-up", "WarmUp"),
])  # fmt: skip
def test_the_name_of_a_schedule_names_its_class(name, kind):
    with pytest.raises(TypeError, match=f"not '{name}': give an object of xpnet.optimizers.{kind}"):
        xpnet.fit(net(), *rows(), steps=1, learning_rate=name)


@pytest.mark.parametrize("schedule", [
    lambda step: 0.1 if step < 100 else 0.01, lambda step: math.exp(-step),
])  # fmt: skip
def test_a_schedule_that_takes_one_step_only(schedule):
    """NumPy's words, 'the truth value is ambiguous', do not say what of."""
    model = net()
    before = {key: p.copy() for key, p in model.params.items()}
    with pytest.raises(ValueError, match="the schedule cannot take an array of 20 step numbers"):
        xpnet.fit(model, *rows(), steps=20, learning_rate=schedule)
    for key, p in before.items():
        np.testing.assert_array_equal(model.params[key], p)


# --- runs that diverge ------------------------------------------------------------------------


def test_a_run_that_diverges_says_so(lib):
    """A loss that rises and stays there looks like any other run in a list of files."""
    x, t = rows()
    model = MLP([4, 20, 3], activation="tanh", seed=0, **lib.kwargs)
    with pytest.warns(DivergenceWarning, match="has diverged. A smaller learning_rate") as told:
        history = xpnet.fit(
            model, lib.array(x), lib.array(t), steps=60, batch_size=20, learning_rate=100.0
        )
    assert len(told) == 1
    assert told[0].filename == __file__
    first, last = history.loss[0], history.loss[-10:].mean()
    assert last > 2 * first
    line = f"diverged        the loss ended at {last:.4f}, above {first:.4f} at the beginning"
    assert line in history.summary()
    assert history.to_dict()["diverged"] == history.diverged


def test_a_run_that_learns_does_not():
    assert xpnet.fit(net(), *rows(), steps=100).diverged is None
    # Too small a rate, batches that differ: nothing is learnt, and nothing has diverged.
    history = xpnet.fit(net(), *rows(), steps=500, batch_size=5, learning_rate=1e-9)
    assert history.diverged is None
    assert "diverged" not in history.summary()


def test_a_loss_that_became_no_number_has_diverged():
    values = MLP([4, 3], activation="identity", output="identity", seed=0)
    x, t = rows()
    with pytest.raises(NonFiniteLoss) as caught:
        xpnet.fit(values, x, np.eye(3, dtype=np.float32)[t], steps=400, learning_rate=1e6)
    history = caught.value.history
    assert history.diverged.startswith(("the loss became inf at", "the loss became nan at"))


def test_noise_is_no_rise():
    """Of 200 runs that only scatter, few may be said to have diverged."""
    rng = np.random.default_rng(0)
    for steps in (20, 100, 1000):
        told = [rise(1.0 + 0.2 * rng.normal(size=steps)) for _ in range(200)]
        assert sum(found is not None for found in told) <= 6
        # What is twice as large at the end is found in each.
        for _ in range(20):
            curve = np.linspace(1.0, 2.5, steps) + 0.1 * rng.normal(size=steps)
            assert rise(curve) is not None
    assert rise(np.asarray([1.0, 9.0])) is None


def test_the_summary_has_the_smoothed_loss():
    """The loss of one batch is the luck of one batch."""
    history = xpnet.fit(net(), *rows(), steps=300, batch_size=5)
    last = smoothed(history.loss)[2][-1]
    assert f"last loss       {history.loss[-1]:.4f} (smoothed {last:.4f})" in history.summary()
    assert last == pytest.approx(history.loss[-2:].mean())
    assert "smoothed" not in xpnet.fit(net(), *rows(), steps=99).summary()


# --- data that is not scaled ------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_inputs_that_are_too_large(lib, activation):
    """Units that are flat from the first step on learn nothing, and say nothing."""
    if activation != "sigmoid" and not lib.full:
        pytest.skip("the name of the activation is looked at, not the library")
    x, t = rows()
    x[3, 1] = -70.0
    model = net(activation=activation, **lib.kwargs)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        xpnet.fit(model, lib.array(x), lib.array(t), steps=250)
    scales = [w for w in told if w.category is ScaleWarning]
    assert len(scales) == (0 if activation == "relu" else 1)
    for warning in scales:
        assert str(warning.message).startswith("x has values from -70 to ")
        assert f"the {activation} units begin where they are flat" in str(warning.message)
        assert warning.filename == __file__


def test_inputs_of_units_that_are_not_flat():
    """Warnings are errors here: none of these may be given."""
    x, t = rows()
    x[0, 0] = 11.0
    layers = xpnet.layers
    for model in (
        MLP([4, 3], seed=0),
        xpnet.Network([layers.Affine(5), layers.BatchNorm(), "tanh", layers.Affine(3)],
                      input_shape=(4,), seed=0),
    ):  # fmt: skip
        xpnet.fit(model, x, t, steps=2)
    x[0, 0] = 10.0
    xpnet.fit(net(), x, t, steps=2)


# --- on the command line ----------------------------------------------------------------------


@pytest.fixture
def train(tmp_path, monkeypatch):
    """`xpnet train` on a small IDX folder: (code, output, errors, the run's folder)."""
    pytest.importorskip("click")
    from test_cli import write_idx

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for prefix, n in (("train", 90), ("t10k", 30)):
        labels = np.minimum(np.arange(n) % 6, 2)  # two thirds are of class 2
        images = rng.integers(0, 100, (n, 4, 4))
        images[np.arange(n), labels, :] += 150
        write_idx(tmp_path / "data" / f"{prefix}-images-idx3-ubyte", images)
        write_idx(tmp_path / "data" / f"{prefix}-labels-idx1-ubyte", labels)

    def run(*words):
        new = () if "--resume" in words else ("--dataset", "data", "--out", "run")
        return xpnet_command("train", *words, *new, "--no-pictures")

    run.folder = tmp_path / "run"
    run.history = lambda: json.loads((run.folder / "history.json").read_text())
    return run


def options(train):
    return json.loads((train.folder / "options.json").read_text())


@pytest.mark.parametrize("hidden", ["none", "8", "8,7"])
def test_the_command_begins_as_the_library(train, hidden):
    """Weights that depend on the depth in the command alone: two programs, two results."""
    code, _, errors = train("--hidden", hidden, "--steps", 5, "--optimizer", "adam")
    assert code == 0, errors
    sizes = [16, *map(int, hidden.replace("none", "").split(",") if hidden != "none" else []), 3]
    (x, t), _ = xpnet.load_idx("data")
    history = xpnet.fit(MLP(sizes, seed=0), x, t, steps=5, optimizer="adam")
    assert train.history()["loss"] == history.loss.tolist()
    settings = train.history()["settings"]
    expected = {"weight_init": "xavier", "learning_rate": 0.001, "batch_size": 90}
    assert {key: settings[key] for key in expected} == expected
    assert options(train)["weight_init"] == "xavier"


@pytest.mark.parametrize(
    ("hidden", "weight_init"), [("none", 0.01), ("8", 0.01), ("8,7", "xavier")]
)
def test_a_run_of_earlier_options_goes_on(train, hidden, weight_init):
    """Its folder says null, which meant weights by the depth, a rate of 0.1 and batches of 100."""
    code, _, errors = train("--hidden", hidden, "--steps", 5, "--weight-init", weight_init)
    assert code == 0, errors
    stored = options(train)
    older = {
        key: value for key, value in stored.items()
        if key not in ("class_weight", "early_stopping", "keep_best")
    }  # fmt: skip
    older |= {"weight_init": None, "learning_rate": 0.1, "batch_size": 90, "validation": 0}
    (train.folder / "options.json").write_text(json.dumps(older))
    code, _, errors = train("--resume", "run", "--steps", 9)
    assert code == 0, errors
    assert train.history()["settings"]["weight_init"] == weight_init
    assert len(train.history()["loss"]) == 9


def test_the_help_names_the_rates(train):
    output = " ".join(train("--help")[1].split())
    assert "0.1 for sgd; 0.01 for momentum, nesterov, adagrad; 0.001 for adam, adamw" in output
    assert "--lr " not in output


def test_lr_suggests_learning_rate(train):
    code, _, errors = train("--lr", 0.1)
    assert code == 2
    assert errors == "xpnet: error: no such option: --lr; did you mean --learning-rate?\n"


def test_a_schedule_takes_the_optimizers_rate(train):
    assert train("--schedule", "cosine", "--optimizer", "adam", "--steps", 5)[0] == 0
    assert train.history()["settings"]["learning_rate"] == repr(Cosine(0.001, 5))


def test_a_diverged_run_is_warned_of_in_one_line(train):
    """A traceback's two lines of a file of xpnet's tell the user nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, output, errors = train(
            "--learning-rate", 500, "--steps", 60, "--batch-size", 9, "--activation", "relu"
        )
    assert code == 0
    assert errors.count("\n") == 1
    assert errors.startswith("xpnet: warning: the loss ended at ")
    assert "\ndiverged " in output


def test_untrained_weights_are_no_model(train):
    """A file named model that holds what nobody has trained."""
    nan = ("--activation", "identity", "--hidden", "9", "--learning-rate", 1e30, "--steps", 40)
    code, output, errors = train(*nan)
    assert code == 2
    assert "the loss became" in errors
    assert "history.json are in run" in output or "history.json is in run" in output
    names = {path.name for path in train.folder.iterdir()}
    assert "model.safetensors" not in names
    assert train("--steps", 3, "--force")[0] == 0
    assert (train.folder / "model.safetensors").exists()
    assert train(*nan, "--force")[0] == 2
    assert not (train.folder / "model.safetensors").exists(), "that of the run before"


def test_what_was_trained_before_a_nan_stays(train):
    code, _, errors = train("--steps", 250, "--activation", "identity")
    assert code == 0, errors
    before = xpnet.load(train.folder / "model.safetensors")
    stored = options(train) | {"steps": 400}
    (train.folder / "options.json").write_text(json.dumps(stored))
    # Another rate is refused: the loss becomes NaN by the last layer's weights instead.
    newest = max((train.folder / "checkpoints").glob("step-*"))
    arrays, told = load_arrays(newest)
    arrays["params/W2"] = np.full_like(arrays["params/W2"], 3e38)
    save_arrays(newest, arrays, told)
    code, _, errors = train("--resume", "run")
    assert code == 2
    assert "the parameters are those after step 250" in errors
    after = xpnet.load(train.folder / "model.safetensors")
    np.testing.assert_array_equal(before.params["W1"], after.params["W1"])


def test_class_weight_is_scikit_learns(train):
    """n / (classes * rows of the class), through sample_weight."""
    assert train("--class-weight", "balanced", "--steps", 5)[0] == 0
    (x, t), _ = xpnet.load_idx("data")
    counts = np.bincount(t)
    weights = (len(t) / (3 * counts[t])).astype(np.float32)
    history = xpnet.fit(MLP([16, 100, 3], seed=0), x, t, steps=5, sample_weight=weights)
    assert train.history()["loss"] == history.loss.tolist()
    from sklearn.utils.class_weight import compute_sample_weight

    np.testing.assert_allclose(weights, compute_sample_weight("balanced", t), rtol=1e-6)


# --- how long a run is ------------------------------------------------------------------------


def test_a_finished_run_says_so(train):
    """In silence it looks as if it had trained."""
    assert train("--epochs", 4)[0] == 0
    code, output, errors = train("--resume", "run")
    assert (code, errors) == (0, "")
    assert output.endswith("already finished: 4 steps; --steps M goes on\n")
    code, output, _ = train("--resume", "run", "--steps", 6)
    assert code == 0
    assert "already finished" not in output


@pytest.mark.parametrize(("first", "then", "steps"), [
    (("--epochs", 2), ("--steps", 7), 7), (("--steps", 3), ("--epochs", 6), 6),
])  # fmt: skip
def test_steps_and_epochs_replace_each_other(train, first, then, steps):
    """A run of epochs that can go on by whole epochs only; and it is remembered."""
    assert train(*first)[0] == 0
    code, _, errors = train("--resume", "run", *then)
    assert code == 0, errors
    assert len(train.history()["loss"]) == steps
    code, output, _ = train("--resume", "run")
    assert code == 0
    assert f"already finished: {steps} steps" in output
    (x, t), _ = xpnet.load_idx("data")
    history = xpnet.fit(MLP([16, 100, 3], seed=0), x, t, steps=steps)
    assert train.history()["loss"] == history.loss.tolist()
    assert train("--steps", 1, "--epochs", 1)[0] == 2
    assert "not both" in train("--resume", "run", "--steps", 9, "--epochs", 9)[2]


def test_the_table_of_the_defaults_is_that_of_its_file():
    """A table that somebody has improved by hand."""
    module = runpy.run_path(str(HERE / "benchmarks" / "defaults.py"))
    page = module["PAGE"].read_text(encoding="utf-8")
    assert module["written"](page) == page
    assert page.count(" | ") > 20
