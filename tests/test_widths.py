"""What the commands print fits its line: no number cut, no word broken, in terminals and files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("click", reason="the command needs click")
pytest.importorskip("rich", reason="the command needs rich")
pytest.importorskip("matplotlib", reason="the command needs matplotlib")

from click.testing import CliRunner
from test_cli import Terminal
from test_compare import history, images  # noqa: F401  (a fixture)

import xpnet
from xpnet import cli
from xpnet.cli import compare, tables
from xpnet.markup import text_table

WIDTHS = [60, 80, 120]
GPU = "NVIDIA H100 80GB HBM3 in a chassis of somebody's cluster"
REASON = "CUDA driver version is insufficient for CUDA runtime version of this installation"
CPU = "AMD EPYC 9V74 80-Core Processor with a long name"


def words(text):
    """The words of what was printed, without colours, rules and brackets."""
    return re.sub(r"\x1b\[[0-9;]*m|─", "", text).split()


def fits(text, width, wanted):
    """No line is longer than the width, and every word that was wanted is there as it was."""
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()
    assert max(map(len, lines)) <= width, text
    assert "…" not in text
    missing = {*wanted} - {*words(text)}
    assert not missing, f"{missing} in\n{text}"


@pytest.fixture(params=WIDTHS)
def width(request, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(request.param))
    return request.param


@pytest.fixture
def run(images, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)

    def run(command, *args):
        arguments = [command, "--dataset", str(images), *map(str, args)]
        result = CliRunner().invoke(cli.cli, arguments, prog_name="xpnet")
        assert result.exit_code in (0, 1), result.stderr
        return result.stdout

    return run


# --- the commands ----------------------------------------------------------------------------


def test_check(run, width):
    """A gradient's digits on two lines are another number."""
    report = run("check", "--hidden", 40, "--batch-size", 20)
    fits(report, width, ["W1", "b1", "W2", "b2", "9×40", "360", "unclear", "numerical", "noise"])
    rows = [line for line in report.splitlines() if line.startswith("W1")]
    assert (len(rows) == 1) == (width == 120), "beside each other where they fit"


def test_train(run, width):
    """Whoever reads the summary in half a window."""
    summary = run(
        "train", "--hidden", 4, "--batch-size", 20, "--steps", 5, "--no-pictures", "--quiet"
    )
    numpy = f"numpy {np.__version__} on cpu"
    fits(summary, width, ["steps", "loss", *numpy.split()])


@pytest.fixture
def compared(run, monkeypatch):
    """Print a comparison of devices with long names; what of it has to be there."""
    devices = {"numpy": "cpu", "torch": "cuda:0", "jax": "TFRT_CPU_0"}
    backends = [
        {
            "name": name, "version": "2.9.1+cu128", "available": True, "reason": None,
            "devices": [{"id": device, "name": GPU}],
        }
        for name, device in devices.items()
    ]  # fmt: skip
    missing = {"name": "cupy", "version": None, "available": False, "devices": []}
    monkeypatch.setattr(compare, "machine", lambda: {
        "cpu": CPU, "cpu_count": 160, "usable_cpu_count": 96, "environment": {},
        "backends": [*backends, {**missing, "reason": REASON}],
    })

    def train(row, arguments):
        row.reason = None
        seconds = [100.0, 1234.5, *[0.001 if row.backend == "numpy" else 1234.5] * 3]
        found = history([100] * 5, seconds, [12345.6789, 0.5])
        row.history = json.loads(json.dumps(found, default=int))
        row.history["settings"] = {"layer_sizes": [9, 4, 2], "dataset": "dots"}

    monkeypatch.setattr(compare, "train", train)
    monkeypatch.setattr(compare, "figure", lambda rows: type("F", (), {"savefig": print})())
    wanted = [
        "backend", "device", "TFRT_CPU_0", "cuda:0", "12345.6789", "0.5000", "50.00", "1334.50",
        "12,345,000", "accuracy", "difference", "speed-up", "cupy", *REASON.split(),
        *CPU.split()[:-1],
    ]  # fmt: skip
    return lambda: run("compare", "--force", "--out", "run"), wanted


def test_compare(compared, width, monkeypatch):
    """A loss of 12345.6789 that is shown as 12345.… is no result."""
    run, wanted = compared
    text = re.sub(r"^<.*\n", "", run(), flags=re.MULTILINE)
    fits(text, width, wanted)
    assert text.count("speed-up") == 1
    tables_of = sum(line.split()[:2] == ["jax", "TFRT_CPU_0"] for line in text.splitlines())
    assert tables_of == {60: 3, 80: 2, 120: 1}[width]


def test_a_file_without_a_width(compared, monkeypatch):
    """In a file sentences stay whole, for grep; tables have the width of a page."""
    monkeypatch.delenv("COLUMNS", raising=False)
    run, _ = compared
    lines = run().splitlines()
    assert f"cupy: not available: {REASON}" in lines
    assert max(len(line) for line in lines if line.startswith(" ")) <= 80


def test_a_block_a_row(capsys, monkeypatch):
    """Where names are long, nothing fits beside them."""
    monkeypatch.setenv("COLUMNS", "40")
    row = ("torch", "a_device_with_a_long_name:0", *["12,345,678.9"] * 7)
    tables.show_table(compare.HEAD, [row])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    assert lines[1:5] == [
        "backend             torch", "device", "  a_device_with_a_long_name:0",
        "first loss          12,345,678.9",
    ]  # fmt: skip


# --- the terminal ----------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_names_are_bold_in_a_terminal(monkeypatch, width):
    """Colours take no room, and what goes on below is not bold."""
    monkeypatch.setenv("COLUMNS", str(width))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    path = "/somewhere/" + "in/a/folder/" * 7
    tables.show([("steps", "10,000"), ("device", f"{GPU}, torch 2.9.1+cu128 on cuda:0")])
    text = terminal.getvalue()
    fits(text, width, ["10,000", *GPU.split()[:-1], "2.9.1+cu128", "cuda:0"])
    assert "\x1b[1msteps \x1b[0m  10,000\n" in text
    tables.show([("model", path)])
    below = f"\x1b[1mmodel\x1b[0m\n  {path}\n"
    assert terminal.getvalue().endswith(below if width < 120 else f"\x1b[1mmodel\x1b[0m  {path}\n")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pty")
def test_in_a_real_terminal():
    """The width is the window's, not that of a variable."""
    import fcntl
    import pty
    import struct
    import termios

    row = [
        "jax", "TFRT_CPU_0", "12345.6789", "0.5000", "50.00 %", "1.2e-07", "1,334.50", "12.3", "1",
    ]  # fmt: skip
    code = (
        "from xpnet.cli import compare, tables\n"
        f"tables.show_table(compare.HEAD, [{json.dumps(row)}])\n"
        f"tables.say({REASON!r})\n"
    )
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=follower, stderr=follower, stdin=follower,
        env={**environment, "TERM": "xterm"}, timeout=120, check=False,
    )  # fmt: skip
    os.close(follower)
    output = b""
    try:
        while part := os.read(leader, 65536):
            output += part
    except OSError:  # Linux says so where the other end is closed
        pass
    os.close(leader)
    assert done.returncode == 0, output.decode()
    fits(output.decode(), 60, [*row[:4], *row[5:], *REASON.split()])


# --- the report of a gradient check ----------------------------------------------------------


def long_report(name="W1"):
    x = {name: np.asarray([[1.0, 2.0]]), "b": np.asarray(3.0)}
    return xpnet.check_gradient(
        lambda p: np.sum(p[name] ** 2) + p["b"] ** 2, {name: 4e9 * x[name], "b": 2 * x["b"]}, x
    )


def test_the_text_of_a_report(monkeypatch):
    """It is the message of a failed test, whose window nobody knows: 80 wide, whatever COLUMNS."""
    monkeypatch.setenv("COLUMNS", "200")
    first, *table, remark = str(long_report()).splitlines()
    assert first.startswith("Gradient check failed: every entry, by central differences")
    assert remark.startswith("Likely cause: W1: too large by the constant factor")
    assert max(map(len, table)) <= 80
    counts, worst = table.index(""), table[table.index("") + 1]
    assert table[0].split() == ["shape", "checked", "passed", "failed", "kink", "unclear"]
    assert table[1:counts] == [
        "W1     1×2        2       0       2     0        0",
        "b   scalar        1       1       0     0        0",
    ]
    assert worst.split()[:4] == ["worst", "at", "gradient", "numerical"]


@pytest.mark.parametrize("width", [20, 30, *WIDTHS, 200])
def test_every_cell_of_a_table_is_there(width):
    """Whatever the width: all on one line, in several tables, or a block a row."""
    head = ["", *(f"head{i}" for i in range(8))]
    rows = [["W1", *(f"{i}{'7' * i}" for i in range(8))], ["b1", *"abcdefgh"]]
    lines = text_table(head, rows, width)
    assert max(map(len, lines)) <= width
    assert {*head[1:], *rows[0], *rows[1]} == {*words("\n".join(lines))}


def test_a_report_with_long_names():
    """A path of a nested structure leaves no room for a second column."""
    name = "a long path to an array that somebody has in a structure of structures"
    text = str(long_report(name))
    lines = text.splitlines()
    at = lines.index(f"x['{name}']") if f"x['{name}']" in lines else lines.index(name)
    assert lines[at + 1].split() == ["shape", "1×2"]
    assert lines[at + 12].split()[0] == "noise"
