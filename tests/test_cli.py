"""The command: what it writes, what it says, and how it fails."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")
pytest.importorskip("rich", reason="the command needs rich")
pytest.importorskip("matplotlib", reason="the command needs matplotlib")

from click.testing import CliRunner
from rich.console import Console

import xpnet
from xpnet import __main__, cli
from xpnet.backend import BACKENDS, FOR_TESTS
from xpnet.cli import runs, train
from xpnet.cli.inputs import DATASETS
from xpnet.datasets import rows
from xpnet.functions import ACTIVATIONS
from xpnet.layers import Affine, AveragePool, Convolution, Shift
from xpnet.optimizers import OPTIMIZERS, Clipped
from xpnet.schedules import Constant, Cosine, StepDecay, WarmUp
from xpnet.training.bar import ProgressBar


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """A folder of 200 + 60 images, 6×6, of 3 classes that are easy to tell apart."""
    folder = tmp_path_factory.mktemp("shapes")
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 200), ("t10k", 60)):
        labels = np.arange(n) % 3
        pictures = rng.integers(0, 100, (n, 6, 6))
        pictures[np.arange(n), 2 * labels, :] += 150
        write_idx(folder / f"{prefix}-images-idx3-ubyte", pictures)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture
def run(images, tmp_path, monkeypatch):
    """Run the command in an empty folder: (code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run(*args):
        words = [str(arg) for arg in args]
        if words[:1] == ["train"] and "--dataset" not in words:
            words += ["--dataset", str(images)]
        result = CliRunner().invoke(cli.cli, words, prog_name="xpnet")
        return result.exit_code, result.stdout, result.stderr

    return run


def refused(result):
    """The one line of an error."""
    code, _, errors = result
    assert code == 2, errors
    assert errors.count("\n") == 1, errors
    assert errors.startswith("xpnet: error: ")
    return errors.removeprefix("xpnet: error: ").strip()


def read(folder):
    return json.loads((folder / "history.json").read_text(encoding="utf-8"))


def without_matplotlib(monkeypatch):
    """What draws has to be imported again, and matplotlib is not there."""
    for name in [*sys.modules]:
        if name.startswith(("matplotlib.", "xpnet.plots", "xpnet.cli.page")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr(xpnet, "plots", raising=False)
    monkeypatch.delattr(cli, "page", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


FAST = ("--no-pictures", "--steps", 40, "--batch-size", 20)


# --- train -----------------------------------------------------------------------------------


def test_train_writes_the_run_and_sums_it_up(run, tmp_path):
    """Without the files or the summary a run leaves nothing to show."""
    code, output, errors = run(
        "train", "--steps", 40, "--batch-size", 20, "--out", "run", "--activation", "relu"
    )
    assert (code, errors) == (0, "")
    for name in (
        "steps", "first loss", "last loss", "decrease", "elapsed", "time per step", "test accuracy",
        "device",
    ):
        assert any(line.startswith(name) for line in output.splitlines()), name
    pictures = ["confusion.png", "loss.png", "mistakes.png", "weights.png"]
    for name in pictures:
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    history = read(tmp_path / "run")
    assert len(history["loss"]) == 40
    assert history["loss"][-1] < history["loss"][0]
    assert history["environment"]["xpnet"] == xpnet.__version__
    assert 0 <= history["test_accuracy"] <= 1
    assert history["blocks"]["step"] == [40]
    assert 0 < history["blocks"]["seconds"][0] <= history["seconds"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(
        ["checkpoints", "history.json", "model.safetensors", "options.json", *pictures]
    )


def test_no_pictures_need_no_matplotlib(run, tmp_path, monkeypatch):
    """On a server without matplotlib the losses and the summary are still there."""
    without_matplotlib(monkeypatch)
    code, output, errors = run("train", *FAST, "--out", "run")
    assert (code, errors) == (0, "")
    assert output.endswith("model.safetensors, history.json are in run\n")
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["checkpoints", "history.json", "model.safetensors", "options.json"]


class Page(HTMLParser):
    """What a browser would show and fetch of a page."""

    def __init__(self, path):
        super().__init__()
        self.words, self.addresses, self.open = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self.open, "tags are left open"

    def handle_starttag(self, tag, attributes):
        self.addresses += [v for k, v in attributes if k in ("src", "srcset", "href", "data")]
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.words.append(data)


def test_report_is_one_file_with_all_of_it(run, tmp_path):
    """A page that is mailed to somebody must not miss its pictures, nor tell who opens it."""
    code, output, errors = run(
        "train", *FAST, "--optimizer", "momentum", "--report", "--out", "run"
    )
    assert (code, errors) == (0, "")
    assert "report.html" in output
    page = Page(tmp_path / "run" / "report.html")
    assert len(page.addresses) == 8, "four pictures, each narrow and wide"
    for address in page.addresses:
        head, _, data = address.partition(",")
        assert head == "data:image/svg+xml;base64"
        picture = base64.b64decode(data)
        assert picture.startswith(b"<?xml")
        assert set(re.findall(rb'href="([^#"][^"]{0,10})', picture)) <= {b"data:image/"}
    text = "\n".join(page.words)
    history = read(tmp_path / "run")
    for words in (
        "36-100-3 on ", f"{history['loss'][-1]:.4f}", "test accuracy",
        f"{100 * history['test_accuracy']:.2f} %", "Momentum, momentum 0.9", "36, 100, 3",
        "learning rate", np.__version__,
    ):
        assert words in text, words
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoints", "history.json", "model.safetensors", "options.json", "report.html",
    ]


def test_report_escapes_names(run, tmp_path, images):
    """A folder may have any name; it must not become a part of the page."""
    folder = tmp_path / "<b>&amp; 视频"
    folder.symlink_to(images)
    code, _, errors = run("train", *FAST, "--report", "--out", "run", "--dataset", folder)
    assert code == 0, errors
    page = Page(tmp_path / "run" / "report.html")
    assert "b" not in page.open
    assert any(word.endswith("<b>&amp; 视频") for word in page.words)


def test_pictures_of_images_that_are_no_squares(run, tmp_path):
    """The shape comes from the files: 18 pixels may be 3 × 6 as well as 6 × 3."""
    folder = tmp_path / "wide"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", rng.integers(0, 256, (30, 3, 6)))
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(30) % 2)
    code, _, errors = run(
        "train", "--steps", 2, "--batch-size", 5, "--dataset", folder, "--out", "run"
    )
    assert code == 0, errors
    assert (tmp_path / "run" / "weights.png").exists()


def test_train_runs_on_every_backend(run, tmp_path, lib):
    """The one option that is to change the library must be enough."""
    backend = lib.kwargs["xp"]
    if backend in FOR_TESTS:
        pytest.skip("the command does not offer libraries that are for tests only")
    device = ("--device", lib.kwargs["device"]) if lib.kwargs["device"] else ()
    for name, dtype in (("a", "float32"), ("b", "float64")):
        code, _, errors = run(
            "train", *FAST, "--backend", backend, *device, "--dtype", dtype, "--out", name
        )
        assert code == 0, errors
    single, double = read(tmp_path / "a"), read(tmp_path / "b")
    assert single["environment"]["backend"] == backend
    assert double["settings"]["dtype"] == "float64"
    # The same seed is the same run, whatever the dtype.
    np.testing.assert_allclose(single["loss"], double["loss"], rtol=1e-4)


@pytest.mark.sessions("jax")
@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")
def test_float64_needs_no_variable_on_jax(images, tmp_path):
    """`--dtype float64` alone must be enough, though JAX reads its setting at import."""
    clean = {k: v for k, v in os.environ.items() if k != "JAX_ENABLE_X64"}
    done = subprocess.run(
        [sys.executable, "-m", "xpnet", "train", "--dataset", str(images), "--backend", "jax",
         "--dtype", "float64", "--steps", "3", "--out", str(tmp_path / "run")],
        capture_output=True, text=True, timeout=300, env=clean, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "run")["settings"]["dtype"] == "float64"


def test_options_reach_the_net_and_the_training(run, tmp_path):
    """An option that is parsed and forgotten trains something else than was asked for."""
    code, _, errors = run(
        "train", "--hidden", "7,6", "--hidden", 5, "--activation", "tanh", "--optimizer", "adam",
        "--learning-rate", 0.01, "--batch-size", 30, "--epochs", 2, "--seed", 7, "--l2", 0.001,
        "--weight-init", "he", "--validation", 50, "--dtype", "float64", "--out", "run",
    )
    assert code == 0, errors
    history = read(tmp_path / "run")
    expected = {
        "layer_sizes": [36, 7, 6, 5, 3], "activation": "tanh", "learning_rate": 0.01,
        "batch_size": 30, "steps": 10, "seed": 7, "l2": 0.001, "weight_init": "he",
        "dtype": "float64", "gradient": "backprop", "validation_rows": 50,
    }
    assert {key: history["settings"][key] for key in expected} == expected
    assert history["settings"]["optimizer"]["name"] == "Adam"
    assert history["validation"]["step"][-1] == 10


def test_clipping_is_one_option(run, tmp_path, images):
    """A norm that is parsed and forgotten, or lost when the run is resumed."""
    asked = ("--optimizer", "adagrad", "--clip-norm", 0.05, "--hidden", 9, "--out")
    assert run("train", *FAST, *asked, "run")[0] == 0
    (x, t), _ = xpnet.load_idx(images)
    net = xpnet.MLP([36, 9, 3], seed=0)
    clipped = Clipped("adagrad", 0.05)
    history = xpnet.fit(net, x, t, steps=40, batch_size=20, optimizer=clipped)
    assert read(tmp_path / "run")["loss"] == history.loss.tolist()
    assert read(tmp_path / "run")["settings"]["optimizer"] == history.settings["optimizer"]

    code, _, errors = run("train", "--resume", "run", "--steps", 60)
    assert code == 0, errors
    net = xpnet.MLP([36, 9, 3], seed=0)
    history = xpnet.fit(net, x, t, steps=60, batch_size=20, optimizer=clipped)
    assert read(tmp_path / "run")["loss"] == history.loss.tolist()
    message = refused(run("train", "--resume", "run", "--steps", 80, "--clip-norm", 1))
    assert "with other settings: optimizer" in message


@pytest.mark.parametrize(("words", "schedule"), [
    (["--schedule", "cosine"], Cosine(0.2, 40)),
    (["--schedule", "step"], StepDecay(0.2, 14)),
    (["--schedule", "cosine", "--warm-up", 5], WarmUp(Cosine(0.2, 40), 5)),
    (["--warm-up", 5], WarmUp(Constant(0.2), 5)),
], ids=["cosine", "step", "both", "warm-up"])  # fmt: skip
def test_schedules_are_options(run, tmp_path, images, words, schedule):
    """One that is parsed and forgotten, or is as long as another run."""
    asked = (*FAST, "--learning-rate", 0.2, *words, "--hidden", 9, "--out", "run")
    assert run("train", *asked)[0] == 0
    (x, t), _ = xpnet.load_idx(images)
    net = xpnet.MLP([36, 9, 3], seed=0)
    history = xpnet.fit(net, x, t, steps=40, batch_size=20, learning_rate=schedule)
    assert read(tmp_path / "run")["loss"] == history.loss.tolist()
    assert read(tmp_path / "run")["settings"]["learning_rate"] == repr(schedule)


def test_a_run_is_what_the_library_does(run, tmp_path, images):
    """The command and the same calls in Python must not drift apart."""
    assert run("train", *FAST, "--hidden", 9, "--out", "run")[0] == 0
    (x, t), _ = xpnet.load_idx(images)
    net = xpnet.MLP([36, 9, 3], seed=0)
    history = xpnet.fit(net, x, t, steps=40, batch_size=20)
    assert read(tmp_path / "run")["loss"] == history.loss.tolist()


def test_numerical_gradient_is_one_word(run, tmp_path):
    """The reference's switch: the same losses by central differences."""
    for gradient in ("backprop", "numerical"):
        code, _, errors = run(
            "train", "--steps", 3, "--batch-size", 5, "--hidden", 4, "--dtype", "float64",
            "--gradient", gradient, "--out", gradient,
        )
        assert code == 0, errors
    a, b = (read(tmp_path / name)["loss"] for name in ("backprop", "numerical"))
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_lines_say_where_a_run_is(run):
    """A log file without lines looks like a program that hangs."""
    output = run("train", "--steps", 2500, "--batch-size", 2, "--hidden", 2)[1]
    assert [line.split(":")[0] for line in output.splitlines() if line.startswith("step ")] == [
        "step 1000", "step 2000",
    ]
    output = run("train", "--steps", 20, "--batch-size", 2, "--hidden", 2)[1]
    assert sum(line.startswith("step ") for line in output.splitlines()) == 10
    assert "\x1b" not in output, "control characters in a log file"


def test_quiet_prints_the_summary_only(run):
    """Scripts that call the command want to read its result and nothing else."""
    code, output, errors = run("train", *FAST, "--quiet")
    assert (code, errors) == (0, "")
    assert output.startswith("steps ")
    assert "history.json" not in output


def test_default_folder_says_what_ran(run, tmp_path):
    """Runs must not overwrite each other, even two within a second."""
    for _ in range(2):
        assert run("train", *FAST)[0] == 0
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert len(names) == 2
    assert all(name.startswith("shapes") and "-numpy-20" in name for name in names)


def test_a_folder_that_is_not_empty_needs_force(run, tmp_path):
    """A second run must not silently replace the first one's results."""
    assert run("train", *FAST, "--out", "run")[0] == 0
    before = (tmp_path / "run" / "history.json").read_bytes()
    message = refused(run("train", *FAST, "--seed", 1, "--out", "run"))
    assert "run is not empty" in message
    assert "--force" in message
    assert (tmp_path / "run" / "history.json").read_bytes() == before
    assert run("train", *FAST, "--seed", 1, "--out", "run", "--force")[0] == 0
    assert (tmp_path / "run" / "history.json").read_bytes() != before


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("--backend", [name for name in BACKENDS if name not in FOR_TESTS]),
        ("--activation", ACTIVATIONS),
        ("--optimizer", OPTIMIZERS),
        ("--dataset", DATASETS),
        ("--dtype", ["float32", "float64"]),
        ("--gradient", ["backprop", "numerical"]),
        ("--weight-init", ["xavier", "he"]),
    ],
)
def test_unknown_names_list_the_known_ones(run, option, known):
    """Without the list the user has to guess, or to read the source."""
    message = refused(run("train", option, "nonsense"))
    assert "nonsense" in message
    for name in known:
        assert repr(name) in message


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--batch-size", 201), "batch_size is 201, more than the 200 rows"),
        (("--batch-size", 0), "'--batch-size'"),
        (("--steps", 0), "'--steps'"),
        (("--steps", 1, "--epochs", 1), "--steps or --epochs, not both"),
        (("--hidden", "10,x"), "'10,x' is not a size above 0"),
        (("--hidden", 0), "'0' is not a size above 0"),
        (("--learning-rate", -1), "learning_rate must be finite and above 0"),
        (("--learning-rate", "nan"), "learning_rate must be finite and above 0"),
        (("--clip-norm", 0), "norm must be finite and above 0, not 0.0"),
        (("--clip-norm", "x"), "'--clip-norm': 'x' is not a valid float"),
        (("--l2", -1), "l2 must be finite and at least 0"),
        (("--validation", 200), "--validation must be below the 200 training images"),
        (("--device", "tpu"), "'tpu'"),
        (("--dataset", "no/such/folder"), "no such folder"),
        (("--dataset", "."), "train-images-idx3-ubyte"),
        (("--bogus",), "--bogus"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, args, message):
    """A traceback hides what the user has to change; a left-over folder looks like a run."""
    assert message in refused(run("train", *args))
    assert not list(tmp_path.iterdir()), "a refused run left files behind"


def test_folder_is_tried_before_the_training(run, tmp_path, monkeypatch):
    """Finding out after hours that nothing can be written loses the run."""
    monkeypatch.setattr(train, "fit", lambda *args, **kwargs: pytest.fail("trained first"))
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "run"):
        assert str(out) in refused(run("train", *FAST, "--out", out))
    monkeypatch.setattr(
        runs.tempfile, "TemporaryFile", lambda **_: (_ for _ in ()).throw(
            PermissionError(13, "Permission denied", "run")
        ),
    )
    assert refused(run("train", *FAST, "--out", "run")) == "run: Permission denied"
    assert not (tmp_path / "run").exists()


def test_matplotlib_is_looked_for_before_the_training(run, monkeypatch):
    """Without matplotlib the run would fail at its end, at the picture."""
    monkeypatch.setattr(train, "fit", lambda *args, **kwargs: pytest.fail("trained first"))
    without_matplotlib(monkeypatch)
    for option in ("--pictures", "--report"):
        assert 'pip install "xpnet[cli]"' in refused(run("train", *FAST, option))


def test_a_backend_that_is_missing_says_how_to_get_it(run, monkeypatch):
    """`No module named 'cupy'` leaves the user to find the right wheel."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'xpnet[cupy]'" in refused(run("train", *FAST, "--backend", "cupy"))


@pytest.mark.parametrize("args", [("--debug", "train"), ("train", "--debug")])
def test_debug_shows_the_traceback(run, images, args):
    """Without a traceback nobody can mend a mistake in xpnet."""
    code, _, errors = run(*args, "--batch-size", 201, "--dataset", images)
    assert code == 2
    assert "Traceback" in errors
    assert "batch_size is 201" in errors.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "not enough memory"),
        (ValueError("two\nlines"), "two lines"),
        (RuntimeError("of the driver"), "of the driver"),
        (KeyError("x"), "KeyError: 'x' (a mistake in xpnet? --debug shows where)"),
        (ValueError(), "ValueError (a mistake"),
    ],
)
def test_any_error_is_one_line(run, monkeypatch, error, line):
    """Also errors that nobody thought of end in one line and exit code 2."""

    def broken(*args, **kwargs):
        raise error

    monkeypatch.setattr(train, "fit", broken)
    assert line in refused(run("train", *FAST))


def test_a_loss_that_is_not_finite_keeps_the_run(run, tmp_path):
    """The history up to the bad step is what one needs to find out why."""
    code, output, errors = run(
        "train", "--steps", 40, "--activation", "identity", "--learning-rate", 1e30,
        "--report", "--out", "run",
    )
    assert code == 2
    assert errors.count("\n") == 1, errors
    assert "loss became" in errors
    assert "steps" in output
    history = read(tmp_path / "run")
    assert history["loss"][-1] is None
    assert history["test_accuracy"] is None
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoints", "history.json", "loss.png", "report.html",
    ]


def test_the_losses_survive_what_comes_after_them(run, tmp_path, monkeypatch):
    """Hours of training must not be lost because the evaluation fails."""

    def broken(*args):
        raise MemoryError

    monkeypatch.setattr(train, "evaluate", broken)
    assert refused(run("train", *FAST, "--out", "run")) == "not enough memory"
    assert len(read(tmp_path / "run")["loss"]) == 40


# --- in a process of its own -----------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_was_ended_goes_on(images, tmp_path, number):
    """However a long run ends, its steps are not lost: resumed, it is as if nothing had been."""
    # A test runner in the background ignores SIGINT, and its children would too.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from xpnet.__main__ import main; main()"
    )
    words = [
        "train", "--dataset", images.name, "--hidden", "4", "--optimizer", "momentum",
        "--checkpoint-every", "500", "--no-pictures", "--seed", "5", "--validation", "20",
    ]  # fmt: skip
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        [*command, *words, "--steps", "100000000", "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=images.parent,
    )  # fmt: skip
    try:
        for line in process.stdout:
            if re.match(r"step (1\d{3})", line):  # a line an epoch, of two steps or less
                break
        process.send_signal(number)
        output, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    if number == signal.SIGKILL:
        steps = 1000
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, errors
        assert errors == f"go on with: xpnet train --resume {tmp_path / 'run'}\n"
        assert "interrupted after step" in output
        history = read(tmp_path / "run")
        steps = history["steps"]
        assert len(history["loss"]) == steps >= 1000
        assert history["test_accuracy"] is not None
        assert (tmp_path / "run" / "model.safetensors").exists()
    last = str(steps + 2000)
    for end in (["--resume", "run"], [*words, "--out", "other"]):
        subprocess.run(
            [*command, "train", *end[end[0] == "train" :], "--steps", last], check=True,
            cwd=tmp_path if end[0] == "--resume" else images.parent, capture_output=True,
        )  # fmt: skip
    other = images.parent / "other"
    try:
        histories = read(tmp_path / "run"), read(other)
        for history in histories:
            history["settings"].pop("dataset")  # its path is written out in one of them
        for name in ("loss", "steps", "validation", "test_accuracy", "settings"):
            assert histories[0][name] == histories[1][name], name
        model = (tmp_path / "run" / "model.safetensors").read_bytes()
        assert model == (other / "model.safetensors").read_bytes()
    finally:
        shutil.rmtree(other)


def test_resume_refuses_what_is_no_run(run, tmp_path):
    """Instead of a new training under the name of an old one."""
    assert "has no options.json" in refused(run("train", "--resume", "nowhere"))
    assert run("train", *FAST, "--out", "run")[0] == 0
    assert "no --out, no --force" in refused(run("train", "--resume", "run", "--out", "x"))
    message = refused(run("train", "--resume", "run", "--batch-size", 10))
    assert message.endswith("other settings: batch_size 20, now 10")
    (tmp_path / "run" / "options.json").write_text("{")
    assert "options.json is damaged" in refused(run("train", "--resume", "run"))


def test_dropout_is_an_option_of_a_run(run, tmp_path):
    """It reaches the training, and a resumed run goes on with it."""
    assert run("train", *FAST, "--out", "plain")[0] == 0
    assert run("train", *FAST, "--out", "run", "--dropout", "0.5")[0] == 0
    histories = read(tmp_path / "plain"), read(tmp_path / "run")
    assert [history["settings"]["dropout"] for history in histories] == [0.0, 0.5]
    assert histories[0]["loss"] != histories[1]["loss"]
    assert run("train", "--resume", "run", "--steps", 60)[0] == 0
    assert read(tmp_path / "run")["settings"]["dropout"] == 0.5
    assert "--dropout" in refused(run("train", *FAST, "--dropout", "1"))


def test_convolutional_nets_are_two_options(run, tmp_path, images):
    """A net of words: trained with shifts, resumed, evaluated, and its filters drawn."""
    words = ["--layers", "conv4x3p1 relu pool2 batchnorm affine8 tanh", "--shift", 1]
    code, said, errors = run("train", *words, "--steps", 40, "--batch-size", 20, "--report",
                             "--out", "run")  # fmt: skip
    assert code == 0, errors
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"filters.png", "report.html"} < names
    assert "weights.png" not in names
    text = "1×6×6, Shift(1), Convolution(4, 3, padding=1), relu, MaxPool(2, stride=2)"
    assert text in said
    assert [*xpnet.load("run/model.safetensors").state] == ["mean1", "variance1"]
    settings = read(tmp_path / "run")["settings"]
    assert settings["net"].startswith(text)
    assert run("train", "--resume", "run", "--steps", 60, "--no-pictures")[0] == 0
    assert len(read(tmp_path / "run")["loss"]) == 60
    fast = ("--no-pictures", "--steps", 60, "--batch-size", 20)
    assert run("train", *words, *fast, "--out", "whole")[0] == 0
    other = xpnet.load("whole/model.safetensors")
    for key, p in xpnet.load("run/model.safetensors").params.items():
        np.testing.assert_array_equal(other.params[key], p)
    assert run("evaluate", "run/model.safetensors", images)[0] == 0
    np.save("rows.npy", other.placement.to_host(xpnet.load_idx(images)[1][0]))
    classes = [run("predict", "run/model.safetensors", data)[1] for data in (images, "rows.npy")]
    assert classes[0] == classes[1]
    assert len(classes[0].split()) == 61
    page = Page(tmp_path / "run" / "report.html")
    assert any(word.startswith("A convolutional net on ") for word in page.words)
    assert not any("'layer':" in word for word in page.words), "a layer as a dict"


def test_a_net_of_words_is_the_librarys(run, tmp_path, images, lib):
    """Words, image shapes or shifts that are others on the command line, or on one backend."""
    if lib.kwargs["xp"] in FOR_TESTS:
        pytest.skip("the command does not offer libraries that are for tests only")
    where = ["--backend", lib.kwargs["xp"]]
    where += ["--device", lib.kwargs["device"]] if lib.kwargs["device"] else []
    words = ["--layers", "conv3x3s2p1 relu avgpool2 affine5 tanh", "--shift", 1]
    code, _, errors = run("train", *words, *FAST, "--dtype", "float64", *where, "--out", "run")
    assert code == 0, errors
    (x, t), _ = xpnet.load_idx(images, flatten=False, dtype="float64")
    layers = [
        Shift(1), Convolution(3, 3, stride=2, padding=1), "relu", AveragePool(2),
        Affine(5, weight_init="he"), "tanh", Affine(3, weight_init="he"),
    ]  # fmt: skip
    net = xpnet.Network(layers, input_shape=(1, 6, 6), dtype="float64", seed=0)
    history = xpnet.fit(net, x.reshape(-1, 1, 6, 6), t, steps=40, batch_size=20)
    np.testing.assert_allclose(read(tmp_path / "run")["loss"], history.loss, rtol=1e-9)


@pytest.mark.parametrize(("words", "message"), [
    (["--net", "simple-conv", "--hidden", "30"], "--hidden and --net simple-conv describe two"),
    (["--net", "deep-conv", "--activation", "relu"], "--activation and --net deep-conv describe"),
    (["--net", "deep-conv", "--layers", "relu"], "--net and --layers describe two nets"),
    (["--net", "mlp", "--layers", "relu"], "--net and --layers describe two nets"),
    (["--layers", "conv3x9"], "--layers: layers[0], Convolution(3, 9): a window of 9×9 is larger "
     "than the image, 6×6"),
    (["--net", "simple-conv", "--shift", "6"], "--net simple-conv: layers[0], Shift(6): nothing"),
    (["--layers", "affine3 conv2x2"], "--layers: layers[1], Convolution(2, 2): it takes images"),
    (["--layers", "conv3"], "--layers: unknown layer 'conv3'; known are conv30x5"),
    (["--layers", "conv3x3s0"], "--layers: the layer 'conv3x3s0': stride must be at least 1"),
    (["--layers", "relu", "--weight-init", "-1"], "weight_init must be finite"),
    (["--shift", "1"], "--shift moves images, and --net mlp takes rows: give --layers"),
    (["--layers", "relu", "--shift", "6"], "layers[0], Shift(6): nothing would be left of"),
    (["--layers", "relu conv2x2", "--gradient", "numerical"], "gradient='numerical' is for affine"),
])  # fmt: skip
def test_options_that_describe_no_net(run, tmp_path, words, message):
    """An option that is ignored in silence; a run that fails in its first step."""
    assert message in refused(run("train", *words, "--steps", 1, "--batch-size", 5, "--out", "run"))
    assert not (tmp_path / "run").exists()


def test_a_convolutional_net_is_checked(run, images):
    """Every entry of a small one; some directions of a large one, which is said."""
    code, said, errors = run("check", "--layers", "conv2x3 relu pool2 affine4", "--dataset", images)
    assert code == 0, errors
    assert "float64" in said
    assert "on 10 rows, with biases that are moved off 0" in said
    assert "Gradient check passed: every entry" in said
    words = ("--layers", "conv8x3 tanh affine20 batchnorm dropout0.5", "--batch-size", 9)
    code, said, errors = run("check", *words, "--dataset", images)
    assert code == 0, errors
    assert "entries would take long: 3 random directions of each array of more than 60" in said
    assert "Gradient check passed: random directions" in said


@pytest.mark.parametrize("words", ["conv2x3 relu pool2 affine4", "conv8x3 relu affine20"])
def test_a_wrong_convolution_is_found(run, images, monkeypatch, words):
    """Directions, few rows and moved biases must not hide what every entry shows."""
    right = Convolution.gradient

    def wrong(self, p, kept, d):
        gradient = right(self, p, kept, d)
        return {**gradient, "W": 1.01 * gradient["W"]}

    monkeypatch.setattr(Convolution, "gradient", wrong)
    code, said, _ = run("check", "--layers", words, "--dataset", images)
    assert code == 1
    assert "Gradient check failed" in said


def test_force_replaces_a_run(run):
    """The new run's checkpoints are its own."""
    assert run("train", *FAST, "--out", "run")[0] == 0
    assert run("train", *FAST, "--out", "run", "--force", "--seed", 1)[0] == 0
    code, output, _ = run("train", "--resume", "run", "--steps", 60)
    assert code == 0
    assert "steps          60" in output


def test_module_runs_and_imports_little():
    """`python -m xpnet --help` must work, and not wait for libraries it does not use."""
    done = subprocess.run(
        [sys.executable, "-m", "xpnet", "--help"],
        capture_output=True, text=True, timeout=120, check=True,
    )
    assert "train" in done.stdout
    assert "info" in done.stdout
    code = (
        "import sys\nfrom xpnet.__main__ import main\nsys.argv = ['xpnet', 'train', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({'torch', 'jax', 'cupy', 'matplotlib', 'pooch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Windows report other errors")
def test_a_reader_that_has_gone_is_no_error():
    """`xpnet --help | head -1` must not end in a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "xpnet", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=120) == 1


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_click_or_rich_it_says_what_to_install(monkeypatch, capsys, missing):
    """The console script is there without the extra; its traceback would help nobody."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert missing in errors
    assert 'python -m pip install "xpnet[cli]"' in errors


# --- info ------------------------------------------------------------------------------------


def test_version_and_help(run):
    """The first thing that a bug report needs, and the first that a user types."""
    assert xpnet.__version__ in run("--version")[1]
    code, output, _ = run()
    assert code == 0
    assert "train" in output


def test_info_says_what_runs_here(run, monkeypatch):
    """The report names each backend with its devices, or says why it cannot run."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, output, errors = run("info")
    assert (code, errors) == (0, "")
    assert xpnet.__version__ in output
    assert f"numpy {np.__version__}" in output
    cupy = next(line for line in output.splitlines() if line.startswith("cupy"))
    assert "xpnet[cupy]" in cupy


def test_info_as_json(run, monkeypatch):
    """Programs read this; its keys are a promise."""
    monkeypatch.setitem(sys.modules, "cupy", None)
    code, output, _ = run("info", "--json")
    assert code == 0
    report = json.loads(output)
    assert report["xpnet"] == xpnet.__version__
    rows = {row["name"]: row for row in report["backends"]}
    assert list(rows) == [name for name in BACKENDS if name not in FOR_TESTS]
    assert rows["numpy"]["available"] is True
    assert rows["numpy"]["devices"][0]["id"] == "cpu"
    assert rows["cupy"]["available"] is False
    assert rows["cupy"]["reason"]


# --- the progress bar ------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self):
        return True


def train_with(bar, **options):
    x = np.eye(4, dtype=np.float32)
    return xpnet.fit(
        xpnet.MLP([4, 2], seed=0), x, np.asarray([0, 1, 0, 1]), batch_size=4, callbacks=[bar],
        **{"steps": 2000, **options},
    )


def test_bar_shows_step_loss_speed_and_time(monkeypatch):
    """A bar without these does not say how long there is to wait."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    bar = ProgressBar(Console(file=terminal, force_terminal=True, width=100))
    history = train_with(bar)
    text = terminal.getvalue()
    assert "2,000/2,000" in text
    assert f"loss {history.loss[-100:].mean():.4f}" in text
    assert "steps/s" in text
    assert "0:00:00" in text
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor was left hidden"


@pytest.mark.parametrize("width", [46, 80, 200])
def test_bar_fits_on_a_line_with_room(monkeypatch, width):
    """A bar of the whole width wraps at the ^C that a terminal echoes, and is left behind."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    train_with(ProgressBar(Console(file=terminal, force_terminal=True, width=width)))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n")
    assert "2,000/2,000" in lines
    longest = max(len(line.rstrip()) for line in lines.splitlines())
    assert longest <= (width if width < 60 else width - 2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_bar_in_a_terminal():
    """A real terminal: one line that is drawn anew, and the cursor is given back."""
    import pty

    code = (
        "import numpy as np, xpnet\n"
        "x, t = np.eye(4, dtype=np.float32), np.asarray([0, 1, 0, 1])\n"
        "xpnet.fit(xpnet.MLP([4, 2], seed=0), x, t, steps=3000, batch_size=4, progress=True)\n"
    )
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(follower)
    output = b""
    try:
        while part := os.read(leader, 65536):
            output += part
    except OSError:  # Linux says so where the other end is closed
        pass
    os.close(leader)
    assert process.wait(timeout=120) == 0
    text = output.decode()
    assert "3,000/3,000" in text
    assert text.count("\r\n") == 1, "more lines than one were left behind"
    assert text.endswith("\x1b[?25h")


def test_bar_is_plain_lines_in_a_file(monkeypatch):
    """Control characters make a log unreadable; CI sets FORCE_COLOR, and it still is a file."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    train_with(ProgressBar(Console(file=file)))
    lines = file.getvalue().splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("step 200/2,000: loss ")
    assert lines[-1].startswith("step 2,000/2,000: loss ")
    assert "\x1b" not in file.getvalue()


def test_bar_of_few_steps_ends_at_the_last():
    """A run shorter than a tenth of its block still says that it is done."""
    file = io.StringIO()
    train_with(ProgressBar(Console(file=file)), steps=7)
    assert [line.split(":")[0] for line in file.getvalue().splitlines()] == ["step 7/7"]


def test_bar_gives_the_terminal_back_after_an_error(monkeypatch):
    """A hidden cursor and a running thread would outlive the training."""
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    bar = ProgressBar(Console(file=terminal, force_terminal=True))

    def broken(progress):
        raise KeyError("stop")

    x = np.eye(4, dtype=np.float32)
    with pytest.raises(KeyError):
        xpnet.fit(
            xpnet.MLP([4, 2], seed=0), x, np.asarray([0, 1, 0, 1]), steps=500, batch_size=4,
            callbacks=[bar, broken],
        )
    assert terminal.getvalue().rstrip().endswith("\x1b[?25h")
    terminal.truncate(0)
    train_with(bar)
    assert "2,000/2,000" in terminal.getvalue(), "a bar serves one training after another"


def test_fit_draws_the_bar_on_standard_error(capsys):
    """What a program prints on standard output must stay its own."""
    x = np.eye(4, dtype=np.float32)
    xpnet.fit(
        xpnet.MLP([4, 2], seed=0), x, np.asarray([0, 1, 0, 1]), steps=5, batch_size=4,
        progress=True,
    )
    output = capsys.readouterr()
    assert output.out == ""
    assert "step 5/5" in output.err


def test_bar_without_rich_says_what_to_install(monkeypatch):
    """`fit(progress=True)` is reached without the extra `cli`."""
    monkeypatch.delitem(sys.modules, "xpnet.training.bar", raising=False)
    monkeypatch.delattr(xpnet.training, "bar", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "xpnet\[cli\]"'):
        train_with(print, steps=1, progress=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_check(run, images, dtype):
    """Every parameter in the table, and the verdict."""
    code, output, errors = run("check", "--dataset", images, "--hidden", "5,4", "--dtype", dtype,
                 "--batch-size", "20", "--l2", "0.01")
    assert code == 0, errors
    assert "Gradient check passed" in output
    for name in ("W1", "b1", "W2", "b2", "W3", "b3"):
        assert f"\n{name} " in output


def test_check_of_a_wrong_gradient(run, images, monkeypatch):
    """Exit code 1, so that a script notices."""
    right = xpnet.MLP._backpropagate

    def wrong(self, params, x, target, scale=None):
        loss, gradient = right(self, params, x, target, scale)
        gradient["b1"] *= -1.0
        return loss, gradient

    monkeypatch.setattr(xpnet.MLP, "_backpropagate", wrong)
    code, output, errors = run("check", "--dataset", images, "--hidden", "5", "--batch-size", "20")
    assert code == 1, errors
    assert "Gradient check failed" in output


def test_check_refuses_a_batch_larger_than_the_data(run, images):
    code, _output, errors = run("check", "--dataset", images, "--batch-size", "100000")
    assert code == 2
    assert "--batch-size is 100000, more than the" in errors


# --- predict and evaluate --------------------------------------------------------------------


@pytest.fixture
def model(run):
    """A trained model, float64: its predictions are the same on every backend."""
    code, _, errors = run("train", *FAST, "--dtype", "float64", "--out", "run", "--quiet")
    assert code == 0, errors
    return "run/model.safetensors"


def test_train_saves_what_it_trained(run, images, model):
    """The model is what a training is for."""
    (x, t), _ = xpnet.load_idx(images, dtype="float64")
    net = xpnet.MLP([36, 100, 3], seed=0, dtype="float64")
    xpnet.fit(net, x, t, steps=40, batch_size=20)
    found = xpnet.load(model)
    assert found.params.keys() == net.params.keys()
    for key, p in net.params.items():
        np.testing.assert_array_equal(found.params[key], p)


def test_evaluate_says_what_the_training_said(run, images, model, tmp_path):
    """The same model on the same images; else one of the two numbers is wrong."""
    code, output, errors = run("evaluate", model, images, "--json")
    assert (code, errors) == (0, "")
    told = json.loads(output)
    assert told["accuracy"] == read(tmp_path / "run")["test_accuracy"]
    assert told["rows"] == 60
    net, (_, (x, t)) = xpnet.load(model), xpnet.load_idx(images, dtype="float64")
    assert told["loss"] == float(net.loss(x, t))
    output = run("evaluate", model, images)[1]
    assert f"{told['loss']:.4f}" in output
    assert f"{100 * told['accuracy']:.2f} %" in output
    told = json.loads(run("evaluate", model, images, "--split", "train", "--json")[1])
    assert told["rows"] == 200


def table_of(text):
    """The header and the numbers of a .csv text."""
    head, _, rest = text.partition("\n")
    return head.split(","), np.loadtxt(io.StringIO(rest), delimiter=",", ndmin=2)


def test_predict_on_every_backend(run, images, model, lib, tmp_path):
    """The file says the dtype; the option alone must be enough for the backend."""
    backend = lib.kwargs["xp"]
    if backend in FOR_TESTS:
        pytest.skip("the command does not offer libraries that are for tests only")
    where = ["--backend", backend, *(["--device", d] if (d := lib.kwargs["device"]) else [])]
    code, output, errors = run("predict", model, images, "--probabilities", *where)
    assert (code, errors) == (0, "")
    (_, (x, t)), net = xpnet.load_idx(images, dtype="float64"), xpnet.load(model)
    expected = net.predict(x)
    head, found = table_of(output)
    assert head == ["row", "0", "1", "2"]
    np.testing.assert_array_equal(found[:, 0], 1 + np.arange(60))
    np.testing.assert_allclose(found[:, 1:], expected, rtol=1e-12)
    told = json.loads(run("evaluate", model, images, "--json", *where)[1])
    np.testing.assert_allclose(told["loss"], float(net.loss(x, t)), rtol=1e-12)


def forms(images):
    """The same test images in every form that predict takes."""
    _, (x, t) = xpnet.load_idx(images, normalize=False, flatten=False)
    floats = (x / 255).reshape(60, 36)
    np.save("bytes.npy", x)
    np.save("floats.npy", np.asfortranarray(floats))
    np.save("swapped.npy", floats.astype(">f8"))
    np.savez_compressed("both.npz", x=x, t=t.astype(np.uint8))
    np.savez("rows.npz", x=floats, t=np.eye(3)[t])
    return [
        images, images / "t10k-images-idx3-ubyte", "bytes.npy", "floats.npy", "swapped.npy",
        "both.npz", "rows.npz",
    ]


def test_the_form_of_the_data_does_not_matter(run, images, model):
    """A scaling or a layout that is forgotten in one form gives other classes there."""
    net, (_, (x, t)) = xpnet.load(model), xpnet.load_idx(images, dtype="float64")
    expected = net.predict(x)
    for data in forms(images):
        code, output, errors = run("predict", model, data)
        assert (code, errors) == (0, ""), data
        head, found = table_of(output)
        assert head == ["row", "class", "probability"]
        np.testing.assert_array_equal(found[:, 1], expected.argmax(axis=1))
        np.testing.assert_allclose(found[:, 2], expected.max(axis=1), rtol=1e-12)
    for data in ("both.npz", "rows.npz"):
        told = json.loads(run("evaluate", model, data, "--json")[1])
        np.testing.assert_allclose(told["loss"], float(net.loss(x, t)), rtol=1e-13)


def test_predictions_in_files(run, images, model, tmp_path):
    """A spreadsheet reads .csv, a program .npy; and a file that exists is not lost."""
    net, (_, (x, _)) = xpnet.load(model), xpnet.load_idx(images, dtype="float64")
    expected = net.predict(x)
    for flags, wanted in (((), expected.argmax(axis=1)), (("--probabilities",), expected)):
        for name in ("p.csv", "p.npy"):
            assert run("predict", model, images, "--out", name, "--force", *flags) == (0, "", "")
        np.testing.assert_array_equal(np.load("p.npy"), wanted)
        found = table_of(Path("p.csv").read_text(encoding="utf-8"))[1]
        np.testing.assert_array_equal(found[:, 1:] if flags else found[:, 1], wanted)
    assert "--force replaces it" in refused(run("predict", model, images, "--out", "p.csv"))
    assert "must end in .csv or .npy" in refused(run("predict", model, images, "--out", "p.txt"))
    assert "no folder no" in refused(run("predict", model, images, "--out", "no/p.csv"))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["p.csv", "p.npy", "run"]


def test_values_are_no_classes(run, tmp_path):
    """The largest of several values is no class."""
    xpnet.MLP([2, 3], output="identity", seed=0).save("m.safetensors")
    np.savez("data.npz", x=np.eye(2), t=np.zeros((2, 3)))
    output = run("predict", "m.safetensors", "data.npz")[1]
    head, found = table_of(output)
    assert (head, found.shape) == (["row", "output1", "output2", "output3"], (2, 4))
    code, output, errors = run("evaluate", "m.safetensors", "data.npz")
    assert (code, errors) == (0, "")
    assert "accuracy" not in output
    assert json.loads(run("evaluate", "m.safetensors", "data.npz", "--json")[1])["accuracy"] is None


def bad_files():
    np.save("ints.npy", np.ones((2, 36), np.int64))
    np.save("narrow.npy", np.ones((2, 35)))
    np.save("flat.npy", np.ones(36))
    np.save("0-d.npy", np.float64(1))
    np.save("empty.npy", np.ones((0, 36)))
    np.save("nan.npy", np.full((2, 36), np.nan))
    np.save("objects.npy", np.asarray([{}, []], dtype=object), allow_pickle=True)
    np.savez("no-t.npz", x=np.ones((2, 36)))
    np.savez("names.npz", images=np.ones((2, 36)))
    np.savez("labels.npz", x=np.ones((2, 36)), t=np.asarray([0, 3]))
    np.savez("text.npz", x=np.ones((2, 36)), t=np.asarray(["a", "b"]))
    whole = Path("narrow.npy").read_bytes()
    Path("cut.npy").write_bytes(whole[:-1])
    Path("huge.npy").write_bytes(whole.replace(b"(2, 35)", b"(999999999999999, 35)"))
    Path("html.npy").write_bytes(b"<html>")
    Path("zip.npy").write_bytes(Path("no-t.npz").read_bytes())
    Path("html.npz").write_bytes(b"<html>")
    Path("cut.npz").write_bytes(Path("no-t.npz").read_bytes()[:-30])
    Path("html").write_bytes(b"<html>")


@pytest.mark.parametrize(
    ("command", "data", "message"),
    [
        ("predict", "nowhere", "no file or folder nowhere, nor a data set"),
        ("predict", "ints.npy", "expected floats, or images as uint8, found int64"),
        ("predict", "narrow.npy", "expected rows of 36 numbers, which is what the model takes"),
        ("predict", "flat.npy", "found shape (36,)"),
        ("predict", "0-d.npy", "found shape ()"),
        ("predict", "empty.npy", "found shape (0, 36)"),
        ("predict", "nan.npy", "expected finite numbers, found NaN"),
        ("predict", "objects.npy", "expected a .npy file"),
        ("predict", "names.npz", "expected x, or X, among its arrays, found images"),
        ("predict", "cut.npy", "expected a .npy file"),
        ("predict", "huge.npy", "expected a .npy file"),
        ("predict", "html.npy", "expected a .npy file"),
        ("predict", "zip.npy", "expected a .npy file"),
        ("predict", "html.npz", "expected a .npz file"),
        ("predict", "cut.npz", "expected a .npz file"),
        ("predict", "html", "expected an IDX file"),
        ("evaluate", "narrow.npy", "expected data with labels"),
        ("evaluate", "html", "expected data with labels"),
        ("evaluate", "no-t.npz", "expected x and t, or X and y, among its arrays, found x"),
        ("evaluate", "labels.npz", "t has the label 3; expected 0 to 2"),
        ("evaluate", "text.npz", "expected labels as integers or floats in t"),
        ("evaluate", ".", "train-images-idx3-ubyte"),
    ],
)
def test_bad_data_is_one_line(run, model, command, data, message):
    """Data that is not what the model takes: no traceback, and no prediction."""
    bad_files()
    code, output, errors = run(command, model, data)
    assert message in refused((code, output, errors))
    assert output == ""


def test_a_bomb_is_refused(run, model, monkeypatch):
    """A small .npz may unpack to what fills the memory."""
    with zipfile.ZipFile("other.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", b"")
    assert "x is neither stored nor deflated" in refused(run("predict", model, "other.npz"))
    np.savez_compressed("bomb.npz", x=np.zeros((100_000, 36)))
    monkeypatch.setattr(rows, "_MAX_UNPACKED", 1 << 20)
    assert "expected at most 1048576" in refused(run("predict", model, "bomb.npz"))


def test_bad_models_are_one_line(run, model, images):
    """A model that is missing, damaged or of another kind, each with its own words."""
    assert refused(run("predict", "no", images)) == "no: No such file or directory"
    assert "finished run: it has no model.safetensors" in refused(run("predict", ".", images))
    assert "starts with the length" in refused(run("predict", "run/history.json", images))
    content = Path(model).read_bytes()
    Path("cut").write_bytes(content[:-100])
    assert "cut: expected a whole safetensors file" in refused(run("evaluate", "cut", images))
    net = xpnet.load(model)
    net.params["b2"][:] = np.nan
    net.save("nan")
    assert "nan predicts NaN" in refused(run("predict", "nan", images))
    assert json.loads(run("evaluate", "nan", images, "--json")[1])["loss"] is None
    np.save("x.npy", np.ones((2, 36)))
    assert "--split is for data sets" in refused(run("predict", model, "x.npy", "--split", "test"))


def test_a_model_that_cannot_be_saved_still_leaves_its_losses(run, tmp_path, monkeypatch):
    """A disk that fills up at the end of a run must not take all of it."""

    def full(*args):
        raise OSError(28, "No space left on device", "model.safetensors")

    monkeypatch.setattr(xpnet.MLP, "save", full)
    assert "No space left on device" in refused(run("train", *FAST, "--out", "run"))
    assert len(read(tmp_path / "run")["loss"]) == 40
