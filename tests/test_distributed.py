"""Several processes train one net: started by torchrun, as a user would."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xpnet
from xpnet.training import distributed

HERE = Path(__file__).parent
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--monitor-interval", "0.1")
# Two ranks cannot share a GPU: NCCL refuses.
RANKS = {"numpy": 2, "torch": 2, "torch-cuda": 1, "cupy": 1}


@pytest.fixture
def ranks(lib):
    """How many ranks there can be, where this library can be one of several at all."""
    pytest.importorskip("torch", reason="torch.distributed is Torch's")
    if lib.name not in RANKS:
        pytest.skip("a backend of one process, or the same one in other clothes")
    return RANKS[lib.name]


def torchrun(ranks, *words, timeout=240.0, code=0, restarts=0, **environment):
    """Start ranks, wait for them, and return what they have said."""
    command = [sys.executable, *TORCHRUN, "--nproc-per-node", str(ranks)]
    command += ["--max-restarts", str(restarts), *words]
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
    )  # fmt: skip
    assert done.returncode == code, done.stdout[-5000:]
    return done.stdout


def programs(lib, folder, *names):
    """The words that start programs of ranks.py."""
    device = lib.kwargs.get("device")
    return (str(HERE / "ranks.py"), lib.kwargs["xp"], str(device), str(folder), *names)


def alone(lib, folder, *names):
    """Run the same programs in one process, without torchrun."""
    subprocess.run([sys.executable, *programs(lib, folder, *names)], check=True, timeout=240)


def outcomes(folder, name, ranks):
    """What each rank has left."""
    found = []
    for rank in range(ranks):
        with np.load(folder / f"{name}-{rank}.npz") as file:
            found.append(dict(file))
    return found


def assert_alike(found):
    """Ranks that differ in one bit drift apart."""
    for other in found[1:]:
        for key, values in found[0].items():
            assert values.tobytes() == other[key].tobytes(), key


@pytest.fixture
def folder(tmp_path):
    for name in ("one", "several", "four"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_the_number_of_ranks_changes_rounding_only(lib, ranks, folder):
    """A wrong share, a missing factor or a rank's own order would show in the losses."""
    alone(lib, folder / "one", "mnist", "kinds", "images")
    torchrun(ranks, *programs(lib, folder / "several", "mnist", "kinds", "images"))
    more = {"several": ranks}
    if ranks > 1:
        torchrun(4, *programs(lib, folder / "four", "mnist"))
        more["four"] = 4
    for dtype, bound in {"float32": 1e-5, "float64": 1e-12}.items():
        (one,) = outcomes(folder / "one", f"mnist-{dtype}", 1)
        assert len(one["loss"]) == 500
        assert one["loss"][-1] < 0.5 * one["loss"][0]
        for where, count in more.items():
            found = outcomes(folder / where, f"mnist-{dtype}", count)
            assert_alike(found)
            np.testing.assert_allclose(found[0]["loss"], one["loss"], rtol=bound)
    assert_alike(outcomes(folder / "several", "unseeded", ranks))
    names = "sgd", "adam", "nesterov", "whole", "numerical", "dropout", "convolution", "moved"
    for name in names:
        (one,) = outcomes(folder / "one", name, 1)
        found = outcomes(folder / "several", name, ranks)
        assert_alike(found)
        np.testing.assert_allclose(found[0]["loss"], one["loss"], rtol=1e-11)
        for key in ("W1", "b2"):
            np.testing.assert_allclose(found[0][key], one[key], rtol=1e-7, atol=1e-10)
    # Each rank normalizes by its own rows: another training, in which all go together.
    (one,) = outcomes(folder / "one", "normalized", 1)
    found = outcomes(folder / "several", "normalized", ranks)
    assert_alike(found)
    assert found[0]["loss"][-1] < found[0]["loss"][0]
    for key in ("mean1", "variance1"):
        np.testing.assert_allclose(found[0][key], one[key], rtol=0.2, atol=0.1)


def test_ranks_begin_stop_and_refuse_together(lib, ranks, folder):
    """Where one stops and another goes on, the other waits for ever."""
    if ranks == 1:
        pytest.skip("one rank has nobody to agree with")
    torchrun(2, *programs(lib, folder, "stops", "refused", "bytes_sent", "resumes"))
    first, second = (json.loads((folder / f"stops-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first["callback"] == [200, "stopped by a callback after step 200"]
    assert first["early"][0] < 5000
    assert "the loss became" in first["loss"][1]

    first, second = (json.loads((folder / f"refused-{rank}.json").read_text()) for rank in (0, 1))
    for said in (first, second):
        assert said["batch"] == ["ValueError", "batch_size is 1, less than the 2 ranks"]
        assert said["weights"] == ["ValueError", "distributed=True does not take sample_weight"]
        assert all(said[name] for name in said if name.endswith("kept"))
    kind, text = second["other batch"]
    assert kind == "ValueError"
    assert text == "rank 0 is in a training with other settings: batch_size 100, now 101"
    assert first["other batch"][0] == "DistributedError"
    assert first["checkpoints"][0] == "FileExistsError"
    assert second["checkpoints"][0] == "DistributedError"
    assert second["checkpoints"][1].startswith("rank 0 could not begin: ")

    # One all-reduce a step, of the parameters' gradients and nothing else. Ranks agree to begin
    # before it; after a block they add its losses up, and agree whether to stop.
    count = 6 * 8 + 8 + 8 * 3 + 3
    for dtype, size in (("float32", 4), ("float64", 8)):
        for rank in (0, 1):
            sent = json.loads((folder / f"bytes-{dtype}-{rank}.json").read_text())
            assert sent == [[1, 8], *[[count, size]] * 100, [100, 8], [1, 8]]

    whole, parts = (outcomes(folder, f"resumed-{name}", 2) for name in ("whole", "parts"))
    assert_alike([*whole, *parts])
    assert not (folder / "whole-of-1").exists(), "rank 0 alone writes checkpoints"


def test_a_rank_that_hangs_is_named(lib, ranks, folder):
    """Waiting for ever tells nobody which machine to look at."""
    if ranks == 1:
        pytest.skip("nobody waits for the only rank")
    start = time.monotonic()
    said = torchrun(3, *programs(lib, folder, "hangs"), code=1, XPNET_TIMEOUT="3")
    assert time.monotonic() - start < 120
    # The first to end makes torchrun end the others, which may not come to say it too.
    texts = [path.read_text() for path in folder.glob("hangs-[01].txt")]
    assert texts
    for text in texts:
        assert "the ranks can no longer work together: rank 2 does not answer" in text
        assert text in said
    assert not (folder / "hangs-2.txt").exists()


def test_killed_ranks_start_again(lib, ranks):
    """kill_rank.py does so ten times; here a few, so that every run of the suite does."""
    if lib.kwargs["device"] not in (None, "cpu"):
        pytest.skip("it trains on the CPU")
    pytest.importorskip("psutil")
    from kill_rank import survived

    alike, _, killed = survived(lib.kwargs["xp"], 2, seed=int.from_bytes(os.urandom(2)))
    assert alike == 2, f"ranks {killed} were killed"


def test_the_command_leaves_one_run(lib, ranks, tmp_path):
    """Each rank would write files and lines of its own, or train a net of its own."""
    out = tmp_path / "run"
    device = lib.kwargs["device"]
    words = ["-m", "xpnet", "train", "--backend", lib.kwargs["xp"], "--steps", "200", "--hidden"]
    words += ["8", "--out", str(out), "--no-pictures", "--device", device or "cpu"]
    if lib.name == "cupy":
        words[-2:] = []
    said = torchrun(ranks, *words)
    assert said.count("test accuracy") == 1
    assert said.count("step 200: loss") == 1
    history = json.loads((out / "history.json").read_text())
    assert history["environment"]["ranks"] == ranks
    assert history["steps"] == 200
    assert {path.name for path in out.iterdir()} == {
        "checkpoints", "history.json", "model.safetensors", "options.json",
    }  # fmt: skip
    # Another job must not take the folder for its own.
    said = torchrun(ranks, *words, code=1)
    assert f"{out} is not empty" in said
    words = ["-m", "xpnet", "train", "--resume", str(out), "--steps", "300", "--no-pictures"]
    torchrun(ranks, *words)
    assert json.loads((out / "history.json").read_text())["steps"] == 300
    # After a restart the ranks must know where to look.
    said = torchrun(ranks, "-m", "xpnet", "train", "--steps", "10", restarts=1, code=1)
    assert "give --out" in said


def test_alone_it_says_how_to_start(monkeypatch):
    """Without torchrun, a process would wait for others that nobody has started."""
    pytest.importorskip("torch")
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    x = np.eye(4, dtype=np.float32)
    net = xpnet.MLP([4, 2], seed=0)
    with pytest.raises(RuntimeError, match="torchrun --nproc-per-node N"):
        xpnet.fit(net, x, np.asarray([0, 1, 0, 1]), steps=1, batch_size=4, distributed=True)
    assert not distributed.launched()


def test_jax_names_its_own_way(lib):
    """A library whose arrays never change cannot have one buffer with Torch."""
    if lib.name != "jax":
        pytest.skip("this one can")
    net = xpnet.MLP([4, 2], seed=0, **lib.kwargs)
    x, t = lib.array(np.eye(4)), lib.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"not for backend 'jax': .* jax\.distributed"):
        xpnet.fit(net, x, t, steps=1, batch_size=4, distributed=True)


def test_without_torch_it_says_so(monkeypatch):
    """The rest of xpnet needs no Torch; this does."""
    monkeypatch.setitem(sys.modules, "torch.distributed", None)
    x = np.eye(4, dtype=np.float32)
    net = xpnet.MLP([4, 2], seed=0)
    with pytest.raises(xpnet.BackendNotAvailable, match=r"needs Torch.*xpnet\[torch\]"):
        xpnet.fit(net, x, np.asarray([0, 1, 0, 1]), steps=1, batch_size=4, distributed=True)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "nan", "inf"])
def test_the_time_to_wait_is_a_number_of_seconds(monkeypatch, text):
    """A time-out of nothing ends every run; one of infinity never does."""
    monkeypatch.setenv("XPNET_TIMEOUT", text)
    if not text:
        assert distributed._timeout() == distributed.TIMEOUT
        return
    with pytest.raises(ValueError, match="XPNET_TIMEOUT must be a number of seconds above 0"):
        distributed._timeout()
