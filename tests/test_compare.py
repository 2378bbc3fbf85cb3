"""`xpnet compare`: what it runs, what it says of a backend that fails, what it times."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")
pytest.importorskip("rich", reason="the command needs rich")
pytest.importorskip("matplotlib", reason="the command needs matplotlib")

from click.testing import CliRunner
from test_cli import without_matplotlib, write_idx

import xpnet
from xpnet import cli
from xpnet.cli import compare
from xpnet.cli.compare import Row


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 60 + 30 images, 3×3, of 2 classes."""
    folder = tmp_path_factory.mktemp("dots")
    rng = np.random.default_rng(0)
    for prefix, n in (("train", 60), ("t10k", 30)):
        labels = np.arange(n) % 2
        pictures = rng.integers(0, 100, (n, 3, 3))
        pictures[np.arange(n), labels, :] += 150
        write_idx(folder / f"{prefix}-images-idx3-ubyte", pictures)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture
def run(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*args):
        words = ["compare", "--dataset", str(images), "--hidden", "4", "--batch-size", "20"]
        result = CliRunner().invoke(cli.cli, [*words, *map(str, args)], prog_name="xpnet")
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def devices(monkeypatch):
    """Make the machine have these devices: (backend, device), or (backend, None, reason)."""

    def devices(*found):
        backends = [
            {
                "name": name, "version": "1.0", "available": not reason,
                "reason": reason[0] if reason else None,
                "devices": [{"id": device, "name": "a device"}] if device else [],
            }
            for name, device, *reason in found
        ]
        monkeypatch.setattr(compare, "machine", lambda: {
            "cpu": "a CPU", "cpu_count": 2, "usable_cpu_count": 1, "backends": backends,
            "environment": {"OPENBLAS_CORETYPE": "Haswell"},
        })

    return devices


def test_every_backend_of_this_machine(run, tmp_path):
    """The promise: the same losses, up to rounding, on all that is here; and why not elsewhere."""
    code, output, errors = run("--steps", 350, "--dtype", "float64", "--json", "--out", "run")
    assert code == 0, errors
    result = json.loads(output)
    rows = {(row["backend"], row["device"]): row for row in result["rows"]}
    for info in xpnet.backends():
        for device in info.devices:
            row = rows.pop((info.name, device.id))
            assert row["reason"] is None
            assert row["history"]["settings"]["dtype"] == "float64"
            assert row["history"]["environment"]["backend"] == info.name
            assert len(row["history"]["loss"]) == 350
            assert row["last_loss"] < row["first_loss"]
            assert 0 <= row["largest_difference_from_numpy"] < 1e-12
            assert row["test_accuracy"] == result["rows"][0]["test_accuracy"]
            assert row["start_seconds"] > 0
            assert row["microseconds_a_step"] > 0
            assert row["speedup_over_numpy"] > 0
        if not info.available:
            assert rows.pop((info.name, None))["reason"]
    assert not rows
    assert result["rows"][0]["speedup_over_numpy"] == 1.0
    assert result["cpu"]
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "compare.json", "compare.png",
    ]
    assert json.loads((tmp_path / "run" / "compare.json").read_text(encoding="utf-8")) == result


def test_the_table(run, devices):
    """A backend that fails, or that is missing, is a row with its reason, not the end."""
    devices(("numpy", "cpu"), ("numpy", "tpu"), ("cupy", None, "no GPU here"))
    code, output, errors = run("--steps", 300)
    assert code == 1
    assert errors.splitlines() == ["training on numpy on cpu", "training on numpy on tpu"]
    table = [line.split() for line in output.splitlines() if line.startswith(" ")]
    rows = [row for row in table if row[:1] in (["numpy"], ["cupy"])]
    assert [row[:2] for row in rows] == [["numpy", "cpu"], ["numpy", "tpu"], ["cupy", "–"]]
    assert rows[0][-1] == "1.00"
    assert rows[1][2:] == ["–"] * 7
    assert "numpy on tpu: device must be 'cpu' or None for numpy, not 'tpu'" in output
    assert "cupy: not available: no GPU here" in output
    assert "start: the first 200 steps" in output
    assert "a CPU, 1 of 2 logical cores, OPENBLAS_CORETYPE=Haswell" in output
    assert "\x1b" not in output
    assert max(len(line) for line in output.splitlines() if line.startswith(" ")) <= 80


def test_options_reach_every_training(run, devices, tmp_path):
    """A comparison of other nets than were asked for would compare nothing."""
    devices(("numpy", "cpu"))
    code, _, errors = run(
        "--epochs", 2, "--hidden", "7,6", "--activation", "tanh", "--optimizer", "adam",
        "--learning-rate", 0.01, "--seed", 7, "--l2", 0.001, "--weight-init", "he",
        "--dtype", "float64", "--out", "run",
    )
    assert code == 0, errors
    row = json.loads((tmp_path / "run" / "compare.json").read_text(encoding="utf-8"))["rows"][0]
    expected = {
        "layer_sizes": [9, 4, 7, 6, 2], "activation": "tanh", "learning_rate": 0.01,
        "batch_size": 20, "steps": 6, "seed": 7, "l2": 0.001, "weight_init": "he",
        "dtype": "float64",
    }
    assert {key: row["history"]["settings"][key] for key in expected} == expected
    assert row["history"]["settings"]["optimizer"]["name"] == "Adam"
    assert cli.cli.main(
        [*row["command"], "--out", "again", "--no-pictures", "--quiet"], standalone_mode=False
    ) == 0, "the command of a row can be typed"


def test_a_convolutional_net(images, devices, tmp_path, monkeypatch):
    """Words with blanks must reach each training as one, and no option of another net."""
    monkeypatch.chdir(tmp_path)
    devices(("numpy", "cpu"))
    words = ["--dataset", str(images), "--layers", "conv2x2 relu affine4", "--shift", "1"]
    words = ["compare", *words, "--batch-size", "20", "--steps", "4", "--out", "run"]
    result = CliRunner().invoke(cli.cli, words, prog_name="xpnet")
    assert result.exit_code == 0, result.stderr
    row = json.loads((tmp_path / "run" / "compare.json").read_text(encoding="utf-8"))["rows"][0]
    assert row["history"]["settings"]["net"].startswith("1×3×3, Shift(1), Convolution(2, 2), relu")
    assert not {"--hidden", "--activation", "--net"} & {*row["command"]}


@pytest.mark.parametrize(("words", "message"), [
    (["--net", "simple-conv"], "--hidden and --net simple-conv describe two nets"),
    (["--layers", "relu", "--net", "mlp"], "--hidden and --layers describe two nets"),
])  # fmt: skip
def test_two_nets_are_refused_before_any_training(run, devices, words, message):
    """An option that is left out in silence is another comparison than was asked for."""
    devices(("numpy", "cpu"))
    code, _, errors = run(*words)
    assert code == 2
    assert message in errors
    assert "training on" not in errors


def test_every_shared_option_is_one_of_train():
    """`compare` hands its options to `train`: one that train lacks would fail every row."""
    own = {"out", "force", "as_json", "debug", "data"}  # DATA is handed on as --dataset
    train = {option for parameter in cli.train.train.params for option in parameter.opts}
    for parameter in compare.compare.params:
        if parameter.name not in own:
            assert f"--{parameter.name.replace('_', '-')}" in train, parameter.name


def test_a_loss_that_is_not_finite_is_a_row(run, devices, tmp_path):
    """What was trained up to there is the interesting part."""
    devices(("numpy", "cpu"))
    code, output, errors = run(
        "--steps", 40, "--activation", "identity", "--learning-rate", 1e30, "--out", "run"
    )
    assert code == 1, errors
    assert "numpy on cpu: the loss became" in output
    row = json.loads((tmp_path / "run" / "compare.json").read_text(encoding="utf-8"))["rows"][0]
    assert row["first_loss"] > 0
    assert row["last_loss"] is None
    assert (tmp_path / "run" / "compare.png").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--batch-size", 100), "batch_size is 100, more than the 60 rows"),
        (("--steps", 1, "--epochs", 1), "--steps or --epochs, not both"),
        (("--learning-rate", -1), "learning_rate must be finite and above 0"),
    ],
)
def test_what_every_backend_refuses_is_one_line(run, devices, tmp_path, args, message):
    """A table in which nothing ran is no answer."""
    devices(("numpy", "cpu"), ("cupy", None, "no GPU here"))
    code, output, errors = run(*args)
    assert (code, output) == (2, "")
    assert message in errors.splitlines()[-1]
    assert not list(tmp_path.iterdir()), "a refused comparison left files behind"


def test_matplotlib_is_looked_for_before_the_training(run, devices, monkeypatch):
    """Without matplotlib an hour of training would end in an error."""
    devices(("numpy", "cpu"))
    monkeypatch.setattr(compare, "train", lambda *args: pytest.fail("trained first"))
    without_matplotlib(monkeypatch)
    code, _, errors = run()
    assert code == 2
    assert 'pip install "xpnet[cli]"' in errors


def test_ctrl_c_keeps_what_was_measured(run, devices, tmp_path, monkeypatch):
    """Four backends may take an hour; the first three must not be lost with the fourth."""
    devices(("numpy", "cpu"), ("torch", "cpu"), ("jax", "cpu:0"))
    train = compare.train

    def interrupted(row, arguments):
        if row.backend == "torch":
            raise KeyboardInterrupt
        train(row, arguments)

    monkeypatch.setattr(compare, "train", interrupted)
    code, output, _ = run("--steps", 300, "--out", "run")
    assert code == 130
    assert "torch on cpu: interrupted" in output
    assert "jax on cpu:0: interrupted" in output
    rows = json.loads((tmp_path / "run" / "compare.json").read_text(encoding="utf-8"))["rows"]
    assert rows[0]["speedup_over_numpy"] == 1.0


def test_a_crash_is_a_reason(monkeypatch):
    """A driver that ends its process with a signal leaves no message of ours."""
    for code, errors, reason in (
        (-11, "", "ended by signal 11"),
        (-9, "Killed by\nthe kernel\n", "ended by signal 9: the kernel"),
        (3, "", "ended with exit code 3"),
        (2, "warning\nxpnet: error: no memory\n", "no memory"),
    ):
        monkeypatch.setattr(
            compare, "_run",
            lambda words, c=code, e=errors: subprocess.CompletedProcess(words, c, "", e),
        )
        row = Row("torch", "2.0", "cuda:0")
        compare.train(row, [])
        assert row.reason == reason
        assert compare.cells(row)[2:] == ("–",) * 7
        with pytest.raises(RuntimeError, match="cannot ask for the backends"):
            compare.machine()


def history(blocks, seconds, loss=()):
    return {
        "blocks": {"step": list(np.cumsum(blocks)), "seconds": list(np.cumsum(seconds))},
        "loss": list(loss), "test_accuracy": 0.5,
    }


def test_what_is_timed():
    """Compilation in the time of a step would make a library look slow that is fast."""
    row = Row("jax", history=history([100] * 5 + [30], [2.0, 1.0, 0.1, 0.2, 0.3, 5.0]))
    assert row.start_seconds == pytest.approx(3.0)
    assert row.step_seconds == pytest.approx(0.2 / 100), "the median of the whole blocks"
    short = Row("jax", history=history([100, 100], [2.0, 1.0]))
    assert short.start_seconds == pytest.approx(3.0)
    assert short.step_seconds is None, "two blocks say nothing about the time after the start"
    assert Row("jax").start_seconds is None


def test_differences_and_speedups_are_from_numpy():
    """NumPy is the oracle wherever it stands in the table."""
    fast = Row("torch", history=history([10] * 4, [1, 1, 0.1, 0.1], [2.0, 1.0, 0.5]))
    numpy = Row("numpy", history=history([10] * 4, [1, 1, 0.4, 0.4], [2.0, 1.25, None]))
    broken = Row("jax", reason="failed")
    compare.relate([fast, numpy, broken])
    assert fast.speedup == pytest.approx(4.0)
    assert fast.difference is None, "NaN has no difference"
    assert (broken.speedup, broken.difference) == (None, None)
    numpy.history["loss"] = [2.0, 1.25]
    compare.relate([fast, numpy])
    assert fast.difference == pytest.approx(0.25)
    compare.relate([broken])


def test_the_picture():
    """Curves and bars of one backend have one colour and one name."""
    rows = [
        Row("numpy", "1", "cpu", history=history([1] * 4, [1] * 4, [3.0, 2.0, 1.0, 0.5])),
        Row("torch", "1", "cpu", history=history([2], [1], [3.0, None])),
        Row("torch", "1", "cuda:0", reason="failed"),
        Row("jax", "1", "cpu:0", history=history([1] * 4, [2] * 4, [3.0, 2.0, 1.0, 0.5])),
    ]
    for row in rows:
        row.history["settings"] = {}
    figure = compare.figure(rows)
    left, right = figure.axes
    names = ["numpy on cpu", "torch on cpu", "jax on cpu:0"]
    assert [line.get_label() for line in left.get_lines()] == names
    assert [label.get_text() for label in right.get_yticklabels()] == names
    assert [text.get_text() for text in right.texts] == ["1,000,000", "no time", "2,000,000"]
    from matplotlib.colors import to_hex

    assert [to_hex(line.get_color()) for line in left.get_lines()] == [
        to_hex(bar.get_facecolor()) for bar in right.patches
    ]
    assert "after the start" in right.get_xlabel()


def test_a_file_in_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    """Somebody's random.py or torch.py must not end the comparison, where it does not matter."""
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong random')\n")
    code = (
        "import os, sys\n"
        "sys.path[:] = [p for p in sys.path if p not in ('', os.getcwd())]\n"
        "from xpnet.cli import compare\n"
        "done = compare._run(['--version'])\n"
        "print(done.returncode, done.stdout, done.stderr)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120,
        check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.startswith("0 xpnet"), done.stdout
