"""Data on disk: the same training as in memory, bit for bit, and never more than it needs."""

import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import fuzz_files
import numpy as np
import pytest
from driven import fit
from hypothesis import given
from hypothesis import strategies as st

import xpnet
from xpnet import MLP, FileError, NonFiniteLoss
from xpnet.datasets import RowsOnDisk, on_disk, open_shards
from xpnet.training import sources

N, INPUTS, CLASSES = 60, 12, 3
rng = np.random.default_rng(5)
PIXELS = rng.integers(0, 256, (N, 3, 4), dtype=np.uint8)
FLOATS = rng.normal(size=(N, INPUTS))
LABELS = rng.integers(0, CLASSES, N)
ONE_HOT = np.eye(CLASSES)[LABELS]
VALUES = rng.normal(size=(N, CLASSES))
CUTS = [0, 13, 13, 40, N]  # one shard is empty

FIT = {"steps": 40, "batch_size": 7, "learning_rate": 0.05, "block_steps": 10}


def write(folder, x, t, *, cuts=CUTS):
    for i, (a, b) in enumerate(itertools.pairwise(cuts)):
        np.save(Path(folder, f"x-{i}.npy"), x[a:b])
        np.save(Path(folder, f"t-{i}.npy"), t[a:b])
    return open_shards(folder)


def write_idx(folder, x, t):
    for i, (a, b) in enumerate(itertools.pairwise([0, 20, N])):
        images, labels = f"part{i}-images-idx3-ubyte", f"part{i}-labels-idx1-ubyte"
        Path(folder, images).write_bytes(fuzz_files.to_idx(x[a:b]))
        Path(folder, labels).write_bytes(fuzz_files.to_idx(t[a:b].astype(np.uint8)))
    return open_shards(folder)


def mapped(folder, x, name="mapped.npy"):
    np.save(Path(folder, name), x)
    return np.load(Path(folder, name), mmap_mode="r")


def new(lib, dtype="float64", **options):
    options = {"output": "softmax", "activation": "tanh", **options}
    return MLP([INPUTS, 5, CLASSES], dtype=dtype, seed=0, **options, **lib.kwargs)


def train(net, x, t, **options):
    history = fit(net, x, t, **{**FIT, **options})
    params = {key: np.array(net.placement.to_host(p)) for key, p in net.params.items()}
    return params, history


def assert_same(one, other):
    for key, p in one[0].items():
        np.testing.assert_array_equal(other[0][key], p, err_msg=key)
    np.testing.assert_array_equal(other[1].loss, one[1].loss)


def staging_threads():
    return [t for t in threading.enumerate() if t.name.startswith("xpnet-staging")]


@pytest.fixture
def read_ahead(monkeypatch):
    """A callback for the first training: it waits until the next block has been read.

    Without it, what has been read ahead when a block ends is a matter of luck.
    """
    inputs, read = sources.Staged.inputs, threading.Semaphore(0)

    def noting(self, rows):
        result = inputs(self, rows)
        read.release()
        return result

    def wait(progress):
        if progress.step == progress.history.block_steps[0]:
            assert read.acquire(timeout=60)  # that of the first block itself
        if progress.step < progress.steps:
            assert read.acquire(timeout=60), "the next block is not read before this callback ends"

    monkeypatch.setattr(sources.Staged, "inputs", noting)
    return wait


@pytest.fixture(autouse=True)
def no_thread_is_left():
    """Whatever a test does: a thread that outlives its training reads on, or hangs the exit."""
    yield
    assert staging_threads() == []


# --- the same training ---------------------------------------------------------------------------

# How the rows lie on the disk, and the dtype in which they do.
FORMS = {
    "f4": lambda folder, t: (*write(folder, FLOATS.astype("f4"), t), FLOATS.astype("f4")),
    "f8": lambda folder, t: (*write(folder, FLOATS, t), FLOATS),
    "f2": lambda folder, t: (*write(folder, FLOATS.astype("f2"), t), FLOATS.astype("f2")),
    ">f4": lambda folder, t: (*write(folder, FLOATS.astype(">f4"), t), FLOATS.astype("f4")),
    "pixels": lambda folder, t: (*write(folder, PIXELS, t), PIXELS),
    "idx": lambda folder, t: (*write_idx(folder, PIXELS, t), PIXELS),
    "mapped": lambda folder, t: (mapped(folder, FLOATS), t, FLOATS),
    "both mapped": lambda folder, t: (mapped(folder, FLOATS), mapped(folder, t, "t.npy"), FLOATS),
    ">f8 mapped": lambda folder, t: (mapped(folder, FLOATS.astype(">f8")), t, FLOATS),
    "x shards, t in memory": lambda folder, t: (write(folder, FLOATS, t)[0], t, FLOATS),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("form", FORMS)
def test_a_training_on_disk_is_one_in_memory(lib, tmp_path, form, dtype):
    """Bit for bit, on every backend: else where the data lie would change the result."""
    x, t, host = FORMS[form](tmp_path, LABELS)
    if host.dtype == np.uint8:
        host = host.reshape(N, INPUTS).astype(dtype) / np.asarray(255, dtype)
    in_memory = train(new(lib, dtype), lib.array(host.astype(dtype)), lib.array(LABELS))
    assert_same(in_memory, train(new(lib, dtype), x, t))


@pytest.mark.parametrize(("output", "t"), [
    ("softmax", ONE_HOT), ("softmax", ONE_HOT.astype(np.uint8)), ("softmax", LABELS.astype(">i2")),
    ("identity", VALUES), ("sigmoid", ONE_HOT), ("exp", ONE_HOT.astype("f4")),
])  # fmt: skip
def test_every_kind_of_target(lib, tmp_path, output, t):
    """Rows that were taken for indices, or were not converted to the net's dtype."""
    x, t_rows = write(tmp_path, FLOATS, t)
    host = t.astype(t.dtype.newbyteorder("="))
    in_memory = train(new(lib, output=output), lib.array(FLOATS), lib.array(host))
    assert_same(in_memory, train(new(lib, output=output), x, t_rows))


def test_a_single_output(lib, tmp_path):
    """Its targets may be (n,), of which a batch must be (batch, 1)."""
    x, t = write(tmp_path, FLOATS, VALUES[:, 0])
    nets = [MLP([INPUTS, 1], output="identity", seed=0, dtype="float64", **lib.kwargs)
            for _ in range(2)]  # fmt: skip
    in_memory = train(nets[0], lib.array(FLOATS), lib.array(VALUES[:, 0]))
    assert_same(in_memory, train(nets[1], x, t))


def test_many_labels_stay_indices(lib, tmp_path, monkeypatch):
    """One-hot rows of many classes would be larger than the data."""
    monkeypatch.setattr("xpnet.network.batch.ROWS_BYTES", 0)
    x, t = write(tmp_path, FLOATS, LABELS.astype(np.uint8))
    assert sources.Staged(new(lib), x, t).inputs(np.arange(6).reshape(2, 3))[1].shape == (2, 3)
    in_memory = train(new(lib), lib.array(FLOATS), lib.array(LABELS))
    assert_same(in_memory, train(new(lib), x, t))


def test_weights_of_the_rows(lib, tmp_path):
    """Each row's weight goes with it into its batch."""
    x, t = write(tmp_path, FLOATS, LABELS)
    weights = np.linspace(0.5, 2.0, N)
    in_memory = train(
        new(lib), lib.array(FLOATS), lib.array(LABELS), sample_weight=lib.array(weights)
    )
    assert_same(in_memory, train(new(lib), x, t, sample_weight=weights))


@pytest.mark.parametrize("options", [
    {"shuffle": False}, {"whole_epochs": True}, {"optimizer": "adam"}, {"gradient": "numerical"},
    {"steps": None, "epochs": 3}, {"block_steps": None}, {"block_steps": 1},
], ids=str)  # fmt: skip
def test_every_way_of_training(lib, tmp_path, options):
    """The order of the rows and the arithmetic are those of any training."""
    x, t = write(tmp_path, FLOATS, LABELS)
    in_memory = train(new(lib), lib.array(FLOATS), lib.array(LABELS), **options)
    assert_same(in_memory, train(new(lib), x, t, **options))


def test_validation_on_disk(lib, tmp_path, monkeypatch):
    """Computed in pieces, of which the last is smaller: a plain mean of their means is wrong."""
    x, t = write(tmp_path, FLOATS, LABELS)
    net, other = new(lib, l2=0.1), new(lib, l2=0.1)
    in_memory = lib.array(FLOATS), lib.array(LABELS)
    expected = fit(net, *in_memory, validation=in_memory, **FIT)
    seen = []
    inputs = sources.Staged.inputs
    monkeypatch.setattr(
        sources.Staged, "inputs", lambda self, rows: seen.append(rows.shape) or inputs(self, rows)
    )
    monkeypatch.setattr(sources, "BLOCK_BYTES", 17 * sources.Staged(net, x, t)._row_bytes)
    history = fit(other, *in_memory, validation=(x, t), **FIT)
    assert seen[:4] == [(17,), (17,), (17,), (9,)]
    assert history.validation_steps == expected.validation_steps
    np.testing.assert_allclose(history.validation_loss, expected.validation_loss, rtol=1e-14)
    np.testing.assert_allclose(
        history.validation_accuracy, expected.validation_accuracy, rtol=1e-14
    )


def test_validation_of_values_on_disk(tmp_path):
    """There is no accuracy of values."""
    x, t = write(tmp_path, FLOATS, VALUES)
    net = MLP([INPUTS, CLASSES], output="identity", dtype="float64", seed=0)
    history = fit(net, x, t, validation=(x, t), **FIT)
    assert history.validation_loss[-1] == pytest.approx(float(net.loss(FLOATS, VALUES)), rel=1e-14)
    in_memory = fit(net, FLOATS, VALUES, validation=(FLOATS, VALUES), **FIT)
    assert history.validation_accuracy == in_memory.validation_accuracy


# --- blocks --------------------------------------------------------------------------------------


def test_a_block_takes_so_much_memory_and_no_more(lib, tmp_path, monkeypatch):
    """A hundred steps of large batches would fill the memory; their number changes no result."""
    x, t = write(tmp_path, FLOATS, LABELS)
    in_memory = train(new(lib), lib.array(FLOATS), lib.array(LABELS), block_steps=10)
    source = sources.Staged(new(lib), x, t)
    monkeypatch.setattr(sources, "BLOCK_BYTES", 4 * 7 * source._row_bytes)
    assert source.most_steps(7) == 4
    assert source.most_steps(10**9) == 1
    on_disk = train(new(lib), x, t, block_steps=10)
    assert_same(in_memory, on_disk)
    # Blocks still end where they were asked to.
    assert list(on_disk[1].block_steps)[:6] == [4, 8, 10, 14, 18, 20]


def test_what_a_row_takes_is_counted(tmp_path):
    """The bound on a block is worth what this count is worth."""
    x, t = write(tmp_path, PIXELS, LABELS)
    source = sources.Staged(MLP([INPUTS, CLASSES]), x, t)
    rows = np.arange(N)
    held = sum(array.nbytes for array in (x.take(rows), t.take(rows), *source.inputs(rows)))
    assert held <= source._row_bytes * N < 1.2 * held


def test_the_next_block_is_read_while_one_is_computed(lib, tmp_path, read_ahead):
    """Else the device waits for the disk."""
    x, t = write(tmp_path, FLOATS, LABELS)
    assert fit(new(lib), x, t, callbacks=[read_ahead], **FIT).steps == 40


@pytest.mark.parametrize("own", ["shuffle", "block_steps"])
def test_what_is_asked_of_a_callable_is_asked_in_time(tmp_path, monkeypatch, own):
    """An order or a length may depend on what the callbacks have seen: nothing is read ahead."""
    x, t = write(tmp_path, FLOATS, LABELS)
    events = []
    inputs = sources.Staged.inputs
    monkeypatch.setattr(
        sources.Staged, "inputs", lambda self, rows: events.append("read") or inputs(self, rows)
    )
    options = {**FIT, own: {"shuffle": lambda: np.arange(N), "block_steps": lambda done: 10}[own]}

    def seen(progress):
        time.sleep(0.05)  # enough for a thread to read, were there one
        events.append("seen")

    fit(MLP([INPUTS, CLASSES]), x, t, callbacks=[seen], **options)
    assert events == ["read", "seen"] * 4


# --- the thread, and how it ends -----------------------------------------------------------------


class Crash(Exception):
    pass


def crash(progress):
    raise Crash


def test_a_callback_that_raises(tmp_path):
    """The thread ends with the training while the error is still on its way."""
    x, t = write(tmp_path, FLOATS, LABELS)
    with pytest.raises(Crash) as caught:
        fit(MLP([INPUTS, CLASSES]), x, t, callbacks=[crash], **FIT)
    assert caught.tb is not None  # it holds the frames, and so all that is still running
    assert staging_threads() == []


def test_a_callback_that_stops(lib, tmp_path, read_ahead):
    """What was read ahead is not trained on."""
    x, t = write(tmp_path, FLOATS, LABELS)
    stop = [lambda progress: progress.step == 20]
    in_memory = train(new(lib), lib.array(FLOATS), lib.array(LABELS), callbacks=stop)
    on_disk = train(new(lib), x, t, callbacks=[read_ahead, *stop])
    assert on_disk[1].steps == 20
    assert on_disk[1].stopped == in_memory[1].stopped
    assert_same(in_memory, on_disk)


def test_a_loss_that_is_not_finite(tmp_path):
    """The one error of a training that is about its numbers."""
    x, t = write(tmp_path, FLOATS, VALUES)
    net = MLP([INPUTS, CLASSES], output="identity", seed=0)
    with pytest.raises(NonFiniteLoss):
        fit(net, x, t, **{**FIT, "steps": 1000, "learning_rate": 1e9})
    assert staging_threads() == []


def test_ctrl_c(tmp_path):
    """The first ends after the block, the second at once; neither leaves a thread behind."""
    import signal

    x, t = write(tmp_path, FLOATS, LABELS)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        once = [lambda progress: signal.raise_signal(signal.SIGINT)]
        history = fit(MLP([INPUTS, CLASSES]), x, t, callbacks=once, **FIT)
        assert history.stopped == "interrupted after step 10"
        assert staging_threads() == []
        with pytest.raises(KeyboardInterrupt):
            fit(MLP([INPUTS, CLASSES]), x, t, callbacks=once * 2, **FIT)
        assert staging_threads() == []
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("how", ["shorter", "gone"])
def test_a_file_that_changes_during_a_training(tmp_path, how):
    """A shard that is cut, or removed: an error with its name, not a crash and not zeros."""
    x, t = write(tmp_path, FLOATS, LABELS)
    path = tmp_path / "x-3.npy"

    def change(progress):
        if progress.step == 10:
            path.unlink() if how == "gone" else os.truncate(path, 200)

    with pytest.raises(FileError if how == "shorter" else FileNotFoundError) as caught:
        fit(MLP([INPUTS, CLASSES]), x, t, callbacks=[change], **{**FIT, "steps": 1000})
    assert str(path) in str(caught.value)
    assert staging_threads() == []


# --- values that are refused when they are read --------------------------------------------------

BAD = {
    "a NaN": (lambda x, t: x.__setitem__((27, 3), np.nan), r"row 27 .*: x has values"),
    "infinite": (lambda x, t: x.__setitem__((27, 3), -np.inf), r"row 27 .*: x has values"),
    "a label too large": (
        lambda x, t: t.__setitem__(27, 3), r"row 27 .*: t has the label 3; expected 0 to 2"
    ),
    "negative": (lambda x, t: t.__setitem__(27, -1), r"row 27 .*: t has the label -1"),
    "three rows": (
        lambda x, t: t.__setitem__([21, 26, 27], 9), r"rows 21, 26, 27 of .*: t has the label 9"
    ),
    "six rows": (
        lambda x, t: t.__setitem__(slice(21, 28), 9), r"rows 21, 22, 23, 24, 25, \.\.\. of"
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("kind", ["shards", "mapped"])
def test_bad_values_are_named(lib, tmp_path, bad, kind):
    """They come to light when they are read: before the block in which they are has any effect."""
    x, t = FLOATS.copy(), LABELS.copy()
    damage, message = BAD[bad]
    damage(x, t)
    data = write(tmp_path, x, t) if kind == "shards" else (mapped(tmp_path, x), t)
    net = new(lib)
    options = {**FIT, "shuffle": False, "batch_size": 5, "block_steps": 4}  # rows 20 to 39: second
    with pytest.raises(ValueError, match=message):
        fit(net, *data, **options)
    good = train(new(lib), lib.array(FLOATS), lib.array(LABELS), **{**options, "steps": 4})
    for key, p in good[0].items():
        np.testing.assert_array_equal(net.placement.to_host(net.params[key]), p)


def test_rows_that_are_no_target(tmp_path):
    """Probabilities that do not sum to 1; values too large for the net's dtype."""
    t = ONE_HOT.copy()
    t[5] = 0.7
    with pytest.raises(ValueError, match=r"row 5 of the data on disk: t has wrong values"):
        fit(MLP([INPUTS, CLASSES]), *write(tmp_path, FLOATS, t), **FIT)
    x = FLOATS.copy()
    x[7, 0] = 1e200
    with pytest.raises(ValueError, match=r"row 7 .*, or not as float32"):
        fit(MLP([INPUTS, CLASSES]), *write(tmp_path, x, LABELS), **FIT)


def test_nothing_is_read_before_it_is_needed(tmp_path):
    """A pass over 20 GB to look for NaN would take minutes before the first step."""
    x = FLOATS.copy()
    x[-1] = np.nan
    options = {**FIT, "steps": 3, "shuffle": False, "block_steps": 1}
    assert fit(MLP([INPUTS, CLASSES]), *write(tmp_path, x, LABELS), **options).steps == 3
    assert fit(MLP([INPUTS, CLASSES]), mapped(tmp_path, x), LABELS, **options).steps == 3


# --- what is refused before work starts ----------------------------------------------------------


@pytest.mark.parametrize(("x", "t", "error", "message"), [
    (FLOATS[:, :5], LABELS, ValueError, r"x must have shape \(n, 12\), not \(60, 5\)"),
    (FLOATS, ONE_HOT[:, :2], ValueError, r"t must be class indices .* of shape \(60, 2\)"),
    (FLOATS, LABELS.astype(float), ValueError, "t must be class indices"),
])  # fmt: skip
def test_other_shapes(lib, tmp_path, x, t, error, message):
    """As in memory, and with the same words."""
    for data in (write(tmp_path, x, t), (mapped(tmp_path, x), t)):
        with pytest.raises(error, match=message):
            fit(new(lib), *data, **FIT)
        with pytest.raises(error, match=f"validation: {message}"):
            fit(new(lib), lib.array(FLOATS), lib.array(LABELS), validation=data, **FIT)
    with pytest.raises(error, match=message):
        fit(new(lib), lib.array(x), lib.array(t), **FIT)


def test_other_arguments(tmp_path):
    """Arrays of other libraries and of other lengths, lists, what has no rows."""
    net = MLP([INPUTS, CLASSES])
    x, t = write(tmp_path, FLOATS, LABELS)
    for wrong in (LABELS.tolist(), None, np.ma.masked_array(LABELS), range(N)):
        with pytest.raises(TypeError, match=r"t is a .*; with data on disk, expected rows on disk"):
            fit(net, x, wrong, **FIT)
    with pytest.raises(TypeError, match=r"x is a list; with data on disk"):
        fit(net, FLOATS.tolist(), t, **FIT)
    with pytest.raises(ValueError, match=r"t must be class indices .* of shape \(60,\)"):
        fit(net, x, LABELS[:50], **FIT)
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(60,\)"):
        fit(net, x, t, sample_weight=np.ones(3), **FIT)
    with pytest.raises(ValueError, match="sample_weight needs gradient='backprop'"):
        fit(net, x, t, sample_weight=np.ones(N), gradient="numerical", **FIT)
    with pytest.raises(ValueError, match="batch_size is 61, more than the 60 rows of x"):
        fit(net, x, t, **{**FIT, "batch_size": 61})
    with pytest.raises(TypeError, match="x has dtype uint8; expected floating-point values"):
        fit(net, mapped(tmp_path, PIXELS.reshape(N, INPUTS)), LABELS, **FIT)


def test_a_file_by_columns(tmp_path):
    """A row of it lies all over the file: a training would read all of it for each block."""
    columns = mapped(tmp_path, np.asfortranarray(FLOATS))
    with pytest.raises(ValueError, match="x is mapped from a file that holds it column by column"):
        fit(MLP([INPUTS, CLASSES]), columns, LABELS, **FIT)


# --- memory maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("view", "name"), [
    (lambda m: m, "whole"), (lambda m: m[10:50], "some rows"), (lambda m: m[::-1], "backwards"),
    (lambda m: m[:, 2:9], "some columns"), (lambda m: m[::3, ::2], "with gaps"),
])  # fmt: skip
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_rows_of_a_memory_map(tmp_path, monkeypatch, view, name, mode):
    """Its views start elsewhere in the file, and have other strides."""
    monkeypatch.setattr(on_disk, "MAPPED_BYTES", 1)  # a row at a time
    np.save(tmp_path / "x.npy", FLOATS)
    x = view(np.load(tmp_path / "x.npy", mmap_mode=mode))
    assert on_disk.on_disk(x, LABELS)
    rows = np.asarray([3, 1, 7, 3, 12])
    np.testing.assert_array_equal(on_disk.take_rows(x, rows), view(FLOATS)[rows])


@pytest.mark.parametrize("mode", ["r+", "c"])
def test_what_was_written_to_a_memory_map_counts(tmp_path, mode):
    """In copy-on-write mode it is in memory only: letting go of the pages would lose it."""
    np.save(tmp_path / "x.npy", FLOATS)
    x = np.load(tmp_path / "x.npy", mmap_mode=mode)
    x[5] = 7.0
    for _ in range(2):
        np.testing.assert_array_equal(on_disk.take_rows(x, np.arange(N))[5], np.full(INPUTS, 7.0))
    np.testing.assert_array_equal(x[5], np.full(INPUTS, 7.0))


def test_what_is_in_memory_is_not_staged(tmp_path):
    """A copy of some rows has the type of a memory map, and is an array like any other."""
    x = mapped(tmp_path, FLOATS)
    for array in (x[[1, 2]], np.array(x), x + 1, np.asarray(x)):
        assert not on_disk.on_disk(array, LABELS)
    assert on_disk.on_disk(x[:5], LABELS)
    one = train(MLP([INPUTS, CLASSES], seed=0), np.array(x), mapped(tmp_path, LABELS, "l.npy"))
    assert_same(one, train(MLP([INPUTS, CLASSES], seed=0), FLOATS, LABELS))


# --- rows on disk --------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    wide=st.booleans(),
    order=st.sampled_from(["<", ">"]),
    data=st.data(),
)
def test_take_is_indexing(tmp_path_factory, lengths, wide, order, data):
    """Any rows in any order, twice the same, of shards of any length: each in its place."""
    n = sum(lengths)
    shape = (n, 1500) if wide else (n,)
    whole = np.arange(np.prod(shape), dtype=f"{order}i4").reshape(shape)
    folder, shards = tmp_path_factory.mktemp("take"), []
    for i, end in enumerate(np.cumsum(lengths).tolist()):
        path = folder / str(i)
        path.write_bytes(b"head" + whole[end - lengths[i] : end].tobytes())
        shards.append(on_disk.Shard(path, 4, lengths[i]))
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=60)) if n else []
    rows = np.asarray(rows, dtype=np.int64)
    opened = RowsOnDisk(shards, shape[1:], whole.dtype)
    assert len(opened) == n
    taken = opened.take(rows)
    assert taken.dtype == np.int32
    assert taken.dtype.isnative
    np.testing.assert_array_equal(taken, whole[rows])


def test_only_the_rows_that_are_asked_for_are_read(tmp_path, monkeypatch):
    """With n ranks, each must read one n-th: not whole shards, and no row twice."""
    big = np.arange(50 * 3000, dtype=np.float32).reshape(50, 3000)  # rows far above a page
    x, t = write(tmp_path, big, np.arange(50), cuts=[0, 20, 50])
    read = []
    fill = on_disk._fill
    monkeypatch.setattr(
        on_disk, "_fill", lambda memory, *rest: read.append(len(memory)) or fill(memory, *rest)
    )
    x.take(np.asarray([40, 3, 21, 49]))
    assert read == [12000] * 4
    read.clear()
    x.take(np.asarray([6, 5, 4]))
    assert read == [36000]  # neighbours together
    read.clear()
    t.take(np.asarray([2, 0, 45]))
    assert read == [24, 8]  # a gap of less than a page is read, another file is not
    read.clear()
    monkeypatch.setattr(on_disk, "READ_BYTES", 12000)
    x.take(np.arange(10))
    assert max(read) <= 24000  # however many rows lie together


@pytest.mark.parametrize("rows", [[-1], [N], [2**40], [0, N]])
def test_rows_that_are_not_there(tmp_path, rows):
    """Bytes of another row, or of what lies behind the file."""
    x, _ = write(tmp_path, FLOATS, LABELS)
    with pytest.raises(IndexError, match="rows must be 0 to 59"):
        x.take(np.asarray(rows))
    for wrong in (0.5, [0.5], [[1]], 3, "a"):
        with pytest.raises(TypeError, match="rows must be integers"):
            x.take(wrong)


def test_what_it_says_of_itself(tmp_path):
    """Shape and dtype without reading anything."""
    x, t = write(tmp_path, PIXELS, LABELS)
    assert (x.shape, x.ndim, len(x), x.dtype) == ((N, INPUTS), 2, N, np.uint8)
    assert (t.shape, t.ndim, len(t), t.dtype) == ((N,), 1, N, np.int64)
    assert repr(x) == "<RowsOnDisk (60, 12), uint8, in 4 files>"
    np.testing.assert_array_equal(x.take(np.arange(N)), PIXELS.reshape(N, INPUTS))


# --- files that are refused ----------------------------------------------------------------------


def cut(path, by):
    os.truncate(path, path.stat().st_size + by)


def replace(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new, 1))


def save(name, array):
    return lambda folder: np.save(folder / name, array)


# What is done to a folder of good shards, the file that the message names, and what it says.
DAMAGED = {
    "cut": (lambda f: cut(f / "x-2.npy", -1), "x-2.npy", "expected 2592 bytes .* found 2591"),
    "longer": (lambda f: cut(f / "t-3.npy", 8), "t-3.npy", "expected 160 bytes .* found 168"),
    "cut in its header": (lambda f: os.truncate(f / "x-0.npy", 20), "x-0.npy", "a .npy file"),
    "empty": (lambda f: os.truncate(f / "x-0.npy", 0), "x-0.npy", "expected a .npy file"),
    "text": (lambda f: (f / "x-0.npy").write_text("1,2\n"), "x-0.npy", "expected a .npy file"),
    "a newer version": (
        lambda f: replace(f / "x-0.npy", b"NUMPY\1", b"NUMPY\4"), "x-0.npy", r"version \(4, 0\)"
    ),
    "a header that is a program": (
        lambda f: replace(f / "x-0.npy", b"{'descr': '<f8'", b"{'descr': exit()"), "x-0.npy",
        "expected a .npy file",
    ),
    "promises": (
        lambda f: replace(f / "x-0.npy", b"(13, 12), }          ", b"(13, 12000000000), }  "[:21]),
        "x-0.npy", "expected",
    ),
    "negative": (lambda f: replace(f / "t-0.npy", b"(13,)", b"(-3,)"), "t-0.npy", "expected"),
    "pickled": (
        lambda f: np.save(f / "x-1.npy", np.asarray([[{}]]), allow_pickle=True), "x-1.npy",
        "expected floats, or images as uint8, found object",
    ),
    "integers": (save("x-1.npy", np.ones((0, INPUTS), int)), "x-1.npy", "found int64"),
    "complex": (save("x-0.npy", np.ones((13, INPUTS), "c8")), "x-0.npy", "found complex64"),
    "words": (save("t-0.npy", np.asarray(["a"] * 13)), "t-0.npy", "integers or floats as labels"),
    "by columns": (
        save("x-0.npy", np.asfortranarray(FLOATS[:13])), "x-0.npy", r"C order.*Fortran order"
    ),
    "one dimension": (save("x-0.npy", FLOATS[:13, 0]), "x-0.npy", "in 2 or more dimensions of"),
    "none": (save("x-0.npy", np.asarray(1.0)), "x-0.npy", "in 2 or more dimensions of"),
    "labels of three": (save("t-0.npy", np.ones((13, 1, 1))), "t-0.npy", "in 1 or 2 dimensions"),
    "no columns": (save("x-0.npy", np.ones((13, 0))), "x-0.npy", "of sizes above 0"),
    "other columns": (
        save("x-2.npy", FLOATS[:27, :5]), "x-2.npy", r"rows of float64 \(12,\), as in .*\(5,\)"
    ),
    "another dtype": (
        save("x-2.npy", FLOATS[:27].astype("f4")), "x-2.npy", "rows of float64 .* found float32"
    ),
    "other labels": (save("t-2.npy", ONE_HOT[:27]), "t-2.npy", r"expected rows of int64 \(\)"),
    "fewer labels": (
        save("t-2.npy", LABELS[:26]), "t-2.npy", "a label for each of the 27 rows of .*x-2.npy"
    ),
    "no labels": (lambda f: (f / "t-2.npy").unlink(), "x-2.npy", "expected its labels in t-2.npy"),
    "no rows": (lambda f: (f / "x-2.npy").unlink(), "t-2.npy", "expected its rows beside it"),
    "a folder": (
        lambda f: ((f / "x-2.npy").unlink(), (f / "x-2.npy").mkdir()), "x-2.npy", "expected a file"
    ),
    "a pipe": (
        lambda f: ((f / "x-2.npy").unlink(), os.mkfifo(f / "x-2.npy")), "x-2.npy",
        "expected a file, found something else",
    ),
    "IDX too": (
        lambda f: write_idx_pair(f, PIXELS, LABELS), "", "found both: choose with pattern="
    ),
}  # fmt: skip


def write_idx_pair(folder, x, t, name="train"):
    (folder / f"{name}-images-idx3-ubyte").write_bytes(fuzz_files.to_idx(x))
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(fuzz_files.to_idx(t.astype(np.uint8)))


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_shards(tmp_path, damage):
    """Found when they are opened, not hours later; never trained on."""
    change, name, message = DAMAGED[damage]
    write(tmp_path, FLOATS, LABELS)
    change(tmp_path)
    with pytest.raises(FileError, match=message) as caught:
        open_shards(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / name if name else tmp_path))


IDX = "train-images-idx3-ubyte"
DAMAGED_IDX = {
    "no magic": (lambda f: replace(f / IDX, b"\0\0\x08", b"\1\0\x08"), "two zero bytes"),
    "a type that is none": (lambda f: replace(f / IDX, b"\0\0\x08", b"\0\0\x0a"), "type code"),
    "floats": (
        lambda f: (f / IDX).write_bytes(fuzz_files.to_idx(PIXELS[:, 0].astype("f4"))),
        "in 3 dimensions of sizes above 0, found >f4",
    ),
    "two dimensions": (
        lambda f: (f / IDX).write_bytes(fuzz_files.to_idx(PIXELS[:, 0])), "in 3 dimensions"
    ),
    "cut": (lambda f: cut(f / IDX, -1), "expected 720 bytes of data.* found 719"),
    "longer": (lambda f: cut(f / IDX, 1), "expected 720 bytes of data.* found 721"),
    "compressed": (
        lambda f: (f / IDX).write_bytes(fuzz_files.to_gz((f / IDX).read_bytes())), "two zero bytes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGED_IDX)
def test_damaged_idx_shards(tmp_path, damage):
    """As for .npy: by name, before anything is trained."""
    change, message = DAMAGED_IDX[damage]
    write_idx_pair(tmp_path, PIXELS, LABELS)
    change(tmp_path)
    with pytest.raises(FileError, match=message) as caught:
        open_shards(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / IDX))


def test_a_folder_without_shards(tmp_path):
    """It says what was looked for, and what is the matter where that can be seen."""
    with pytest.raises(FileError, match=r"expected files x\*\.npy with t\*\.npy or .*, found none"):
        open_shards(tmp_path)
    (tmp_path / "x.npy.gz").write_bytes(b"")
    with pytest.raises(FileError, match=r"found none; x\.npy\.gz is compressed: unpack it"):
        open_shards(tmp_path)
    (tmp_path / "x.npy.gz").unlink()
    with pytest.raises(FileError, match="expected rows, found 2 files without any"):
        write(tmp_path, FLOATS[:0], LABELS[:0], cuts=[0, 0, 0])
    with pytest.raises(NotADirectoryError, match="expected a folder of shards, found the file"):
        open_shards(tmp_path / "x-0.npy")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_shards(tmp_path / "nowhere")


def test_the_order_of_shards_is_that_of_their_names(tmp_path):
    """Not the order in which the file system lists them; and partners by name, not by place."""
    for name in ("b", "a", "10", "9"):
        np.save(tmp_path / f"x{name}.npy", np.full((1, 2), ord(name[0]), "f4"))
        np.save(tmp_path / f"t{name}.npy", np.asarray([ord(name[0])]))
    x, t = open_shards(tmp_path)
    assert t.take(np.arange(4)).tolist() == [ord(c) for c in "19ab"]
    np.testing.assert_array_equal(x.take(np.arange(4))[:, 0], t.take(np.arange(4)))


def test_some_of_the_shards(tmp_path):
    """`pattern` chooses among them; other files of the folder do not matter then."""
    write(tmp_path, FLOATS, LABELS)
    (tmp_path / "notes.txt").write_text("x")
    np.save(tmp_path / "test.npy", LABELS)
    with pytest.raises(FileError, match=r"test\.npy.*pattern='x\*\.npy' leaves it out"):
        open_shards(tmp_path)
    assert len(open_shards(tmp_path, pattern="x*")[0]) == N
    assert len(open_shards(tmp_path, pattern="x-[03]*")[0]) == 33
    with pytest.raises(FileError, match=r"of names like 'y\*', found none"):
        open_shards(tmp_path, pattern="y*")


def test_a_test_set_beside_it_is_not_trained_on(tmp_path):
    """The folder of MNIST has both."""
    write_idx_pair(tmp_path, PIXELS, LABELS)
    write_idx_pair(tmp_path, PIXELS[:9], LABELS[:9], "t10k")
    with pytest.raises(FileError, match=r"found a test set too, t10k-images.*pattern='train\*'"):
        open_shards(tmp_path)
    assert len(open_shards(tmp_path, pattern="train*")[0]) == N
    assert len(open_shards(tmp_path, pattern="t10k*")[0]) == 9


# --- checkpoints ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["crash", "stop", "steps"])
def test_a_resumed_training_on_disk_is_an_undisturbed_one(lib, tmp_path, read_ahead, end):
    """A checkpoint holds the place of what was used, not of what was read ahead."""
    x, t = write(tmp_path, FLOATS, LABELS)
    options = {"checkpoint_every": 20, "optimizer": "momentum", "block_steps": 5}
    folder = tmp_path / "run"

    def at_35(progress):
        if progress.step == 35:
            raise Crash

    net = new(lib)
    if end == "crash":
        with pytest.raises(Crash):
            fit(net, x, t, **{**FIT, **options, "steps": 90}, checkpoint=folder,
                callbacks=[read_ahead, at_35])  # fmt: skip
    elif end == "stop":
        import signal

        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            ctrl_c = [
                read_ahead, lambda p: signal.raise_signal(signal.SIGINT) if p.step == 35 else None
            ]  # fmt: skip
            stopped = train(net, x, t, steps=90, checkpoint=folder, callbacks=ctrl_c, **options)
            assert stopped[1].stopped == "interrupted after step 35"
        finally:
            signal.signal(signal.SIGINT, before)
    else:
        train(net, x, t, steps=33, checkpoint=folder, callbacks=[read_ahead], **options)
    resumed = train(new(lib), x, t, steps=90, checkpoint=folder, resume=True, **options)
    assert_same(train(new(lib), x, t, steps=90, **options), resumed)
    in_memory = train(new(lib), lib.array(FLOATS), lib.array(LABELS), steps=90, **options)
    assert_same(in_memory, resumed)


# --- memory --------------------------------------------------------------------------------------

MEASURE = """
import os, sys
import numpy as np
import xpnet

folder, kind = sys.argv[1:]

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024

net = xpnet.TwoLayerNet(784, 20, 10, seed=0)
x, t = xpnet.open_shards(folder)
if kind == "mapped":
    x = np.load(os.path.join(folder, "x-0.npy"), mmap_mode="r")
    t = np.zeros(len(x), np.int64)
before = peak()
history = xpnet.fit(net, x, t, steps=500)
print(history.steps, peak() - before, x.shape[0] * 784 * 4)
"""


def write_sparse(path, shape, dtype):
    """A file of zeros that takes no place on the disk."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + int(np.prod(shape)) * np.dtype(dtype).itemsize)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize("kind", ["shards", "mapped"])
def test_memory_is_bounded(tmp_path, kind):
    """2 GB are trained on with what two blocks take, where one copy of them would end a machine."""
    count, files = (640_000, 1) if kind == "mapped" else (160_000, 4)
    for i in range(files):
        write_sparse(tmp_path / f"x-{i}.npy", (count, 784), "f4")
        write_sparse(tmp_path / f"t-{i}.npy", (count,), "i8")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), kind],
        check=True, timeout=600, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(xpnet.__file__).parent.parent)},
    )  # fmt: skip
    steps, grown, size = map(int, done.stdout.split())
    assert steps == 500
    assert size > 2e9
    # Three blocks, the order of the rows, and what is let in of a mapped file.
    assert grown < 256 * 2**20, f"{grown / 2**20:.0f} MiB"
