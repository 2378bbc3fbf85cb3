"""Files: written whole or not at all, read back as they were, and never believed blindly."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import safetensors.numpy

import xpnet
from xpnet import files
from xpnet.files import FileError, load_arrays, replace_atomically, save_arrays

ARRAYS = {
    "x": np.arange(6.0).reshape(2, 3),
    "n": np.asarray([1, -2], dtype=np.int64),
    "flag": np.asarray(True),
    "none": np.zeros((0, 3), np.float32),
}


def same(a, b):
    """The same dtype, shape and bits: NaN equals itself, and -0.0 is not 0.0."""
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


# --- replacing a file ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failed_writer_leaves_everything_as_it_was(tmp_path, error, old):
    """Otherwise an error, or Ctrl-C, costs the old file or leaves half a one."""
    path = tmp_path / "f"
    if old:
        path.write_bytes(old)

    def write(file):
        file.write(b"half")
        raise error

    before = entries(tmp_path)
    with pytest.raises(type(error)):
        replace_atomically(path, write)
    assert entries(tmp_path) == before
    assert not old or path.read_bytes() == old


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_crash_before_the_rename_keeps_the_old_file(tmp_path, moment):
    """SIGKILL, or a loss of power, between the writing and the rename must cost nothing."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    code = (
        "import os, pathlib, signal, sys\n"
        "from xpnet.files import replace_atomically\n"
        "def die(*args): os.kill(os.getpid(), 9)\n"
        f"{'os.fsync' if moment == 'fsync' else 'pathlib.Path.replace'} = die\n"
        "replace_atomically(sys.argv[1], lambda file: file.write(b'new'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=120, check=False)
    assert done.returncode == -9
    assert path.read_bytes() == b"old"
    replace_atomically(path, lambda file: file.write(b"newer"))
    assert path.read_bytes() == b"newer"


def test_the_order_of_the_disk(tmp_path, monkeypatch):
    """A rename before the flush, or a folder that is not flushed, can lose both files."""
    calls = []
    for name in ("fsync", "replace", "rename"):
        real = getattr(os, name)

        def spy(*args, name=name, real=real):
            what = "folder" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else ""
            calls.append(f"{name} {what}".strip())
            return real(*args)

        monkeypatch.setattr(os, name, spy)
    replace_atomically(tmp_path / "f", lambda file: file.write(b"x"))
    assert calls == ["fsync", "replace"] + ["fsync folder"] * (os.name != "nt")


def test_errors_of_the_system_name_the_file(tmp_path):
    """A message about a hidden temporary file tells the user nothing."""
    (tmp_path / "file").write_bytes(b"")
    cases = {
        tmp_path / "no" / "f": FileNotFoundError,
        tmp_path / "file" / "f": NotADirectoryError,
        tmp_path: IsADirectoryError,
    }
    for path, kind in cases.items():
        with pytest.raises(kind) as caught:
            replace_atomically(path, lambda file: None)
        assert caught.value.filename == str(path)
        assert "partial" not in str(caught.value)
    assert entries(tmp_path) == ["file"]


def test_a_folder_without_write_permission(tmp_path, monkeypatch):
    """The run has to learn that nothing was saved, and why; root may write anywhere."""
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(files.Path, "open", refuse)
    with pytest.raises(PermissionError) as caught:
        replace_atomically(path, lambda file: file.write(b"new"))
    monkeypatch.undo()
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_really_cannot_be_written_to(tmp_path):
    """As above, without a stand-in."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        replace_atomically(folder / "f", lambda file: file.write(b"new"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_files_are_replaced_or_read(tmp_path):
    """A rename onto /dev/null would replace it for the whole machine; a pipe would wait."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="Not a regular file"):
        replace_atomically(pipe, lambda file: file.write(b"x"))
    with pytest.raises(OSError, match="Not a regular file"):
        load_arrays(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions and links")
def test_permissions_and_links_stay(tmp_path):
    """A private file must not become readable by all, nor a link lose its target."""
    path, link = tmp_path / "f", tmp_path / "link"
    mask = os.umask(0o022)
    try:
        replace_atomically(path, lambda file: file.write(b"1"))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    link.symlink_to(path)
    replace_atomically(link, lambda file: file.write(b"2"))
    assert link.is_symlink()
    assert path.read_bytes() == b"2"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_writers_at_the_same_time(tmp_path):
    """Two runs, or two threads, with one name: the file is of the one or of the other."""
    path = tmp_path / "f"
    contents = [bytes([i]) * 100_000 for i in range(8)]
    threads = [
        threading.Thread(target=replace_atomically, args=(path, lambda f, c=c: f.write(c)))
        for c in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert entries(tmp_path) == ["f"]


FULL = """
import os, resource, signal, sys
import numpy as np
import xpnet
from xpnet.files import save_arrays
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
history = xpnet.History()
history.extend(np.ones(10_000), 1.0)
net = xpnet.MLP([100, 100])
for save in (
    lambda path: save_arrays(path, {"x": np.ones(10_000)}, {}), history.save, net.save
):
    try:
        save(sys.argv[1])
    except OSError as error:
        print(type(error).__name__, error.errno, error.filename)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for the size of files")
def test_a_full_disk_keeps_the_old_file(tmp_path):
    """A disk that is full in the middle of a file: an error that says so, and nothing is lost."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"OSError {errno.EFBIG} {path}"] * 3
    assert path.read_bytes() == b"old"
    assert entries(tmp_path) == ["f"]


def test_a_history_with_numbers_of_numpy(tmp_path):
    """A learning rate from `np.logspace` must not make the file fail after the training."""
    history = xpnet.History(settings={"momentum": np.float32(0.5), "seed": np.int64(3)})
    history.save(tmp_path / "h.json")
    saved = json.loads((tmp_path / "h.json").read_text(encoding="utf-8"))
    assert saved["settings"] == {"momentum": 0.5, "seed": 3}


# --- arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", files.DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 0, 3), (3, 4), (2, 3, 2)])
def test_every_dtype_and_shape_comes_back(tmp_path, dtype, shape):
    """A dtype or shape that is changed on the way changes the net, or the state of a run."""
    bits = np.random.default_rng(0).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    if dtype == "bool":
        bits = bytes(byte & 1 for byte in bits)
    array = np.frombuffer(bits, dtype).reshape(shape)
    save_arrays(tmp_path / "f", {"x": array}, {})
    found = load_arrays(tmp_path / "f")[0]["x"]
    assert same(found, array)
    assert found.flags.writeable
    assert found.flags.c_contiguous


def layouts(array):
    base = np.zeros((6, 8), array.dtype)
    base[::2, 1::2] = array
    readonly = array.copy()
    readonly.flags.writeable = False
    return {
        "strided": base[::2, 1::2],
        "fortran": np.asfortranarray(array),
        "transposed": array.T.copy().T,
        "reversed": array[::-1, ::-1].copy()[::-1, ::-1],
        "broadcast": np.broadcast_to(array[:1], (3, 4)),
        "swapped": array.astype(array.dtype.newbyteorder()),
        "swapped, strided": base.astype(array.dtype.newbyteorder())[::2, 1::2],
        "read-only": readonly,
    }


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64", "uint64"])
@pytest.mark.parametrize("layout", layouts(np.zeros((3, 4))))
def test_the_layout_in_memory_does_not_matter(tmp_path, dtype, layout):
    """safetensors itself writes the wrong numbers for such arrays, without a word."""
    array = layouts(np.arange(1, 13).reshape(3, 4).astype(dtype))[layout]
    save_arrays(tmp_path / "f", {"x": array}, {})
    assert same(load_arrays(tmp_path / "f")[0]["x"], array.astype(dtype, order="C"))


def test_special_values_keep_their_bits(tmp_path):
    """NaN payloads, -0.0 and subnormal numbers are part of the state of a run."""
    bits = np.asarray([0x7FF8000000000123, 1 << 63, 1, 0x7FF0000000000000], np.uint64)
    save_arrays(tmp_path / "f", {"x": bits.view(np.float64)}, {})
    assert same(load_arrays(tmp_path / "f")[0]["x"].view(np.uint64), bits)


def test_the_description_comes_back(tmp_path):
    """Random states have integers of 128 bits; names and texts have any letters."""
    description = {"state": 2**127 + 1, "x": 0.1, "deep": [{"a": None, "b": [True, "ä\n\0"]}]}
    arrays = {"slots/mean/W1": ARRAYS["x"], "größe 🙂": ARRAYS["n"], "": ARRAYS["flag"]}
    save_arrays(tmp_path / "f", arrays, description)
    found, told = load_arrays(tmp_path / "f")
    assert told == description
    assert found.keys() == arrays.keys()
    assert all(same(found[name], arrays[name]) for name in arrays)


def test_no_arrays_at_all(tmp_path):
    save_arrays(tmp_path / "f", {}, {})
    assert load_arrays(tmp_path / "f") == ({}, {})


def test_the_same_arrays_are_the_same_bytes(tmp_path):
    """Files that differ without a reason cannot be compared, or kept in a store by content."""
    for name in "ab":
        save_arrays(tmp_path / name, ARRAYS, {"p": 1, "q": 2})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_others_can_read_the_arrays(tmp_path):
    """A safetensors file is read by any program that knows the format."""
    save_arrays(tmp_path / "f", ARRAYS, {})
    found = safetensors.numpy.load_file(tmp_path / "f")
    assert all(same(found[name], ARRAYS[name]) for name in ARRAYS)


@pytest.mark.parametrize(
    ("arrays", "description", "message"),
    [
        ({"x": [1.0]}, {}, "'x' must be a NumPy array .*not list"),
        ({"x": np.ones(2, complex)}, {}, "'x' must be .*not complex128"),
        ({"x": np.asarray(["a"])}, {}, "'x' must be .*not <U1"),
        ({"x": np.asarray([object()])}, {}, "'x' must be .*not object"),
        ({"x": np.zeros(1, "datetime64[s]")}, {}, r"'x' must be .*not datetime64\[s\]"),
        ({"__metadata__": np.ones(2)}, {}, "'__metadata__' cannot be the name"),
        ({1: np.ones(2)}, {}, "1 cannot be the name"),
        ({}, {"x": object()}, "description must be what JSON can hold"),
        ({}, {"x": float("nan")}, "description must be what JSON can hold"),
        ({}, {"x": "long" * 2**18}, "description and names take"),
        ({"long" * 2**18: np.ones(1)}, {}, "description and names take"),
    ],
)
def test_what_cannot_be_saved_is_refused(tmp_path, arrays, description, message):
    """What cannot be loaded again must not replace what can."""
    save_arrays(tmp_path / "f", ARRAYS, {})
    before = (tmp_path / "f").read_bytes()
    with pytest.raises((TypeError, ValueError), match=message):
        save_arrays(tmp_path / "f", arrays, description)
    assert (tmp_path / "f").read_bytes() == before
    assert entries(tmp_path) == ["f"]


def flip(content, position):
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


CORRUPT = {
    "one bit of an array": lambda content: flip(content, -1),
    "a name": lambda content: content.replace(b'"x"', b'"y"'),
    "the description": lambda content: content.replace(b"kept", b"lost"),
    "a dtype": lambda content: content.replace(b'"F64"', b'"I64"'),
    "a shape": lambda content: content.replace(b"[2,3]", b"[3,2]"),
    "the end": lambda content: content[:-1],
    "all": lambda content: b"",
}


@pytest.mark.parametrize("what", CORRUPT)
def test_a_writer_that_corrupts_is_caught(tmp_path, monkeypatch, what):
    """safetensors has corrupted arrays silently: what is read back decides, not what was sent."""
    path = tmp_path / "f"
    arrays = {"x": ARRAYS["x"]}
    save_arrays(path, arrays, {"word": "kept"})
    before = path.read_bytes()
    real = safetensors.numpy.save

    def corrupting(*args, **kwargs):
        content = real(*args, **kwargs)
        changed = CORRUPT[what](content)
        assert changed != content
        return changed

    monkeypatch.setattr(safetensors.numpy, "save", corrupting)
    with pytest.raises(OSError, match="reads back differently") as caught:
        save_arrays(path, arrays, {"word": "kept"})
    assert caught.value.filename == str(path)
    assert path.read_bytes() == before
    assert entries(tmp_path) == ["f"]


# --- files of others -------------------------------------------------------------------------


def container(header, body=b"", length=None):
    """The bytes of a safetensors file: an independent writer."""
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


def entry(dtype, shape, *offsets):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def ours(text=None, **tensors):
    if text is None:
        text = '{"version": 1, "description": {}}'
    return {"__metadata__": {"xpnet": text}, **tensors}


GOOD = container(ours(x=entry("F32", [2], 0, 8)), bytes(8))
BAD = {
    "empty": (b"", "starts with the length"),
    "seven bytes": (GOOD[:7], "starts with the length"),
    "cut in the header": (GOOD[:30], "starts with the length"),
    "cut in the data": (GOOD[:-1], "expected a whole safetensors file"),
    "more than it says": (GOOD + b"\0", "expected a whole safetensors file"),
    "a huge header": (container(ours(), length=2**63), "starts with the length"),
    "a header of 2 MiB": (container(b" " * 2**21), "starts with the length"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "starts with the length"),
    "a pickle": (pickle.dumps({"W1": np.ones(3)}), "starts with the length"),
    "no JSON": (container(b"not JSON"), "without its description"),
    "not UTF-8": (container(b"\xff\xfe{}"), "without its description"),
    "a list": (container([]), "without its description"),
    "no metadata": (container({"x": entry("F32", [2], 0, 8)}, bytes(8)), "without its"),
    "another's": (container({"__metadata__": {"format": "pt"}}), "without its description"),
    "metadata is text": (container({"__metadata__": "xpnet"}), "without its description"),
    "description is no JSON": (container(ours("{")), "without its description"),
    "description has NaN": (
        container(ours('{"version": 1, "description": {"x": NaN}}')), "without its description"
    ),
    "deep JSON": (container(ours("[" * 100_000)), "without its description"),
    "a deep header": (container(b'{"a":' * 100_000), "without its description"),
    "a long number": (container(ours("9" * 10_000)), "without its description"),
    "no version": (container(ours('{"description": {}}')), "without its description"),
    "version 0": (container(ours('{"version": 0, "description": {}}')), "found 0"),
    "version true": (container(ours('{"version": true, "description": {}}')), "found True"),
    "a list for a description": (
        container(ours('{"version": 1, "description": []}')), "a version and a description"
    ),
    "newer": (container(ours('{"version": 2, "description": {}}')), "version 2: a newer xpnet"),
    "unknown dtype": (container(ours(x=entry("F33", [2], 0, 8)), bytes(8)), "safetensors file"),
    "bfloat16": (container(ours(x=entry("BF16", [4], 0, 8)), bytes(8)), "dtypes that NumPy has"),
    "complex": (  # older safetensors do not know it
        container(ours(x=entry("C64", [1], 0, 8)), bytes(8)), "real numbers|safetensors file"
    ),
    "wrong shape": (container(ours(x=entry("F32", [3], 0, 8)), bytes(8)), "safetensors file"),
    "negative shape": (container(ours(x=entry("F32", [-2], 0, 8)), bytes(8)), "safetensors file"),
    "product overflows": (
        container(ours(x=entry("F32", [2**62, 4], 0, 8)), bytes(8)), "safetensors file"
    ),
    "huge and empty": (
        container(ours(x=entry("F32", [0, 2**63], 0, 0))), "expected a whole safetensors file"
    ),
    "70 dimensions": (
        container(ours(x=entry("U8", [1] * 70, 0, 1)), b"1"), "expected a whole safetensors file"
    ),
    "shared data": (
        container(ours(x=entry("F32", [2], 0, 8), y=entry("F32", [2], 0, 8)), bytes(8)),
        "safetensors file",
    ),
    "a hole": (container(ours(x=entry("F32", [2], 4, 12)), bytes(12)), "safetensors file"),
    "offsets beyond": (container(ours(x=entry("F32", [2], 0, 800)), bytes(8)), "safetensors"),
    "offsets reversed": (container(ours(x=entry("F32", [2], 8, 0)), bytes(8)), "safetensors"),
    "a name that clears the screen": (
        container(ours(**{"\n\x1b[2J": entry("F32", [2], 8, 0)}), bytes(8)), "safetensors file"
    ),
    "no bools": (container(ours(x=entry("BOOL", [2], 0, 2)), b"\x01\x02"), "bytes of 0 and 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_a_file_error(tmp_path, case):
    """Otherwise a damaged file is another exception, wrong numbers, or the end of the process."""
    content, message = BAD[case]
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        load_arrays(path)
    assert str(caught.value).startswith(f"{path}: expected")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_the_independent_writer_is_understood(tmp_path):
    """Else every case above could fail for another reason than the one it is named after."""
    (tmp_path / "f").write_bytes(GOOD)
    assert load_arrays(tmp_path / "f")[0]["x"].tolist() == [0.0, 0.0]


def test_missing_files_are_not_damaged_files(tmp_path):
    """A user who mistypes a name should not look for damage."""
    with pytest.raises(FileNotFoundError) as caught:
        load_arrays(tmp_path / "no")
    assert caught.value.filename == str(tmp_path / "no")
    with pytest.raises(IsADirectoryError):
        load_arrays(tmp_path)
    assert not issubclass(FileError, OSError)
    assert issubclass(xpnet.datasets.IDXError, FileError)


def test_a_file_error_pickles():
    """Otherwise it is lost on its way from a worker process."""
    error = pickle.loads(pickle.dumps(FileError("x: expected y, found z")))
    assert str(error) == "x: expected y, found z"
