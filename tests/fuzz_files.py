"""Fuzz the readers of files: no bytes may break them, or make them allocate what they promise.

    python tests/fuzz_files.py --count 100000
    python tests/fuzz_files.py --only idx.gz:4711 --keep input.gz

Each input is a valid file that is changed: its header field by field, its body, its compressed
bytes. An input is made of the seed and its number alone, so that any can be made again. Of each,
the reader must return what an independent reader finds, or raise its documented error; and what
it allocates is bounded by the size of the file, and of a compressed one by its header, too.
"""

from __future__ import annotations

import argparse
import collections
import copy
import gzip
import io
import json
import lzma
import math
import random
import re
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

try:
    import resource
except ImportError:  # Windows
    resource = None

import xpnet
from xpnet.datasets import IDXError, RowsOnDisk, read_idx, shards
from xpnet.datasets.rows import read_rows

# Beyond the bound below: one chunk of a decompressor, NumPy's and Python's own odds and ends.
SLACK = 6 << 20
# Bytes per byte of the file: its content, the arrays, and a header as Python's objects.
FACTOR = 24
# What the process may grow by: C and Rust code is not seen by tracemalloc. An .xz file may ask
# for a dictionary of 64 MiB.
GROWTH = 192 << 20
BOMB = 16 << 20  # bytes of zeros: far above SLACK, should a reader keep them

# Numbers and names of one file: without them, which sentence a message is.
ASIDE = re.compile(r"b?'.*'|\".*\"|\(.*\)|\b0x\w+|-?\d+")

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
NUMBERS = [0, 1, 2, 3, 7, 28, 127, 128, 255, 256, 784, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
INTEGERS = [*NUMBERS, -1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30]
JSON_VALUES = [
    None, True, False, 0.5, -0.0, 1e308, "", "x", "W1", "F32", "float32", "MLP", "relu", "\0", "é",
    "y" * 1000, [], {}, [[]], {"a": {}}, [0] * 70, ["F32"], math.nan, math.inf, *INTEGERS,
]  # fmt: skip
DTYPES = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F4", "I64", "U8", "I32", "BOOL", "C64", "f32"]


class Wrong(AssertionError):
    """A reader that did what it must not do."""


# --- changing bytes --------------------------------------------------------------------------


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to four small changes anywhere."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        size = min(rng.choice([1, 2, 4, 8, 64]), len(changed) - at)
        kind = rng.randrange(8)
        if kind == 0 and size:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and size:
            changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == 2:
            del changed[at:]
        elif kind == 3:
            del changed[at : at + size]
        elif kind == 4:
            changed[at:at] = rng.randbytes(rng.choice([1, 4, 100]))
        elif kind == 5:
            changed[at:at] = changed[at : at + size]
        elif kind == 6 and size in (4, 8):
            order = rng.choice(["little", "big"])
            changed[at : at + size] = (rng.choice(NUMBERS)).to_bytes(size, order)
        else:
            changed += rng.choice([b"\0", bytes(64), rng.randbytes(16), bytes(changed[:20])])
    return bytes(changed)


# --- IDX -------------------------------------------------------------------------------------


def to_idx(array: np.ndarray) -> bytes:
    """An independent writer."""
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def make_idx(rng: random.Random) -> bytes:
    """An IDX file with none, one or several changes of its fields."""
    shape = rng.choice([(0,), (1,), (50,), (3, 4), (7, 5, 6), (2, 28, 28), (1,) * 6, (2, 0, 3)])
    kind = rng.choice(list(CODES))
    array = np.frombuffer(rng.randbytes(math.prod(shape) * np.dtype(kind).itemsize), kind)
    content = bytearray(to_idx(array.reshape(shape)))
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        field = rng.randrange(6)
        if field == 0:
            content[rng.randrange(2)] = rng.randrange(256)
        elif field == 1:
            content[2] = rng.choice([*CODES.values(), 0x0A, 0, rng.randrange(256)])
        elif field == 2:
            content[3] = rng.choice([0, 1, 2, 3, 4, 31, 32, 33, 64, 255])
        elif field == 3:
            at = 4 + 4 * rng.randrange(len(shape))
            old = int.from_bytes(content[at : at + 4], "big")
            new = rng.choice([*NUMBERS, old + 1, old - 1, 2 * old])
            content[at : at + 4] = (new % 2**32).to_bytes(4, "big")
        elif field == 4:
            content = content[: rng.randrange(4, len(content) + 1)]
        else:
            content += rng.randbytes(rng.choice([1, 2, 100]))
    return bytes(content)


def packed(rng: random.Random, content: bytes, pack) -> bytes:
    """The content in one stream or several, with a bomb behind it now and then."""
    if rng.random() < 0.01:
        content += bytes(BOMB)
    if rng.random() < 0.1:
        cut = rng.randrange(len(content) + 1)
        return pack(content[:cut]) + bytes(rng.choice([0, 4, 8, 5])) + pack(content[cut:])
    return pack(content)


def to_gz(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def to_xz(content: bytes) -> bytes:
    return lzma.compress(content, preset=0)


def promised(content: bytes) -> int:
    """Bytes of data that the header of an IDX file promises, as far as the file may hold them."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = zlib.decompressobj(31).decompress(content, 200)
        elif content[:6] == b"\xfd7zXZ\x00":
            content = lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(content, 200)
        sizes = struct.unpack_from(f">{content[3]}I", content, 4)
    except (zlib.error, lzma.LZMAError, IndexError, struct.error):
        return 0
    return min(math.prod(sizes) * 8, BOMB + (1 << 16))


def from_xz(content: bytes) -> bytes:
    """All streams; `lzma.decompress` passes over what follows the padding of the first."""
    found = b""
    while content:
        decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        found += decoder.decompress(content)
        if not decoder.eof:
            raise Wrong("the file ends within a stream")
        content = decoder.unused_data.lstrip(b"\0")
    return found


def same_content(path: Path, array: np.ndarray) -> None:
    """What was read, written again, must be what an independent reader finds in the file."""
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    elif content[:6] == b"\xfd7zXZ\x00":
        content = from_xz(content)
    if to_idx(array) != content:
        raise Wrong("the array is not what the file holds")


# --- models ----------------------------------------------------------------------------------


def models() -> list[bytes]:
    """Some valid files."""
    nets = [
        xpnet.MLP([4, 3], seed=0),
        xpnet.MLP([5, 4, 3], activation="relu", weight_init="he", l2=0.1, dtype="float64"),
        xpnet.TwoLayerNet(3, 2, 2, seed=1),
        xpnet.MLP([2] * 9, output="identity"),
    ]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for net in nets:
            net.save(Path(folder, "model"))
            found.append(Path(folder, "model").read_bytes())
    return found


MODELS = models()


def places(tree) -> list[tuple]:
    """Every (container, key) of a JSON tree."""
    found = []
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        found.append((tree, key))
        if isinstance(tree[key], (dict, list)):
            found += places(tree[key])
    return found


def change_json(rng: random.Random, tree) -> None:
    """Replace, remove, rename or add one value of a JSON tree, in place."""
    found = places(tree)
    if not found:
        return
    holder, key = rng.choice(found)
    kind = rng.randrange(7)
    value = copy.deepcopy(rng.choice(JSON_VALUES))
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(["", "W1", "W9", "x" * 300, "\n\x1b[2J", "__metadata__"])] = holder.pop(
            key
        )
    elif kind == 2 and isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), value)
    elif kind == 3 and isinstance(holder[key], (int, float)):
        holder[key] += rng.choice([-1, 1, 4, -4])
    elif kind == 4:
        other, name = rng.choice(found)
        holder[key] = copy.deepcopy(other[name])
    elif key == "dtype":
        holder[key] = rng.choice([*DTYPES, "float32", "float64"])
    else:
        holder[key] = value


def make_model(rng: random.Random) -> bytes:
    """A model with changes of its header, its description, its data, or its bytes."""
    content = rng.choice(MODELS)
    length = int.from_bytes(content[:8], "little")
    tree, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    described = json.loads(tree["__metadata__"]["xpnet"])
    for _ in range(rng.choice([0, 1, 1, 2])):
        change_json(rng, described)
    text = json.dumps(described)
    if rng.random() < 0.05:
        text = rng.choice([
            "[" * 50_000, "9" * 5000, text + " x", "", text.replace("1", "1" * 400),
            change_bytes(rng, text.encode()).decode("latin-1"),
        ])  # fmt: skip
    tree["__metadata__"]["xpnet"] = text
    for _ in range(rng.choice([0, 0, 1, 2])):
        change_json(rng, tree)
    if rng.random() < 0.1:
        # What safetensors takes for a tensor, and NumPy does not, or the net.
        shape = rng.choice([[0, 2**63], [0, 2**62, 2**62], [1] * 70 + [0], [0], [0] * 64])
        tree[rng.choice(["W1", "extra"])] = {
            "dtype": rng.choice(DTYPES), "shape": shape, "data_offsets": [len(data)] * 2,
        }  # fmt: skip
    if rng.random() < 0.002:
        tree |= {f"a{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
                 for i in range(rng.choice([100, 5000, 20_000]))}  # fmt: skip
    header = json.dumps(tree).encode()
    if rng.random() < 0.05:
        header = change_bytes(rng, header)
    header += b" " * (-len(header) % 8)
    length = len(header)
    if rng.random() < 0.1:
        length = rng.choice([*INTEGERS[: -1], length + 1, length - 1, length + len(data), 2**20])
    if rng.random() < 0.1:
        data = data[: rng.randrange(len(data) + 1)] + rng.randbytes(rng.choice([0, 1, 8]))
    content = struct.pack("<Q", length % 2**64) + header + data
    return change_bytes(rng, content) if rng.random() < 0.1 else content


def same_net(path: Path, net: xpnet.MLP) -> None:
    """The parameters are the file's numbers, and the net computes with them."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    for name, p in net.params.items():
        begin, end = header[name]["data_offsets"]
        if data[begin:end] != p.astype(p.dtype.newbyteorder("<")).tobytes():
            raise Wrong(f"{name} is not what the file holds")
    x = np.ones((2, net.layer_sizes[0]), net.params["W1"].dtype)
    with np.errstate(all="ignore"):
        if net.predict(x).shape != (2, net.layer_sizes[-1]):
            raise Wrong("the predictions have another shape")


# --- arrays for the command ------------------------------------------------------------------


def to_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def make_npy(rng: random.Random) -> bytes:
    """An .npy file whose header promises something else now and then."""
    array = np.zeros(rng.choice([(), (0, 3), (4,), (3, 4), (2, 5, 5)]), rng.choice(["f4", "u1"]))
    content = to_npy(np.asfortranarray(array) if rng.random() < 0.3 else array)
    if rng.random() < 0.5:
        shape = tuple(rng.choice(INTEGERS) for _ in range(rng.choice([0, 1, 2, 3, 70])))
        text = f"({', '.join(map(str, shape))}{',' * (len(shape) == 1)})"
        content = content.replace(str(array.shape).encode(), text.encode())
    if rng.random() < 0.3:
        kinds = [b"<f8", b">f4", b"|O", b"<c8", b"|V0", b"<U3", b"|S0", b"<M8[s]", b"|b1", b"<f2"]
        content = content.replace(array.dtype.str.encode(), rng.choice(kinds))
    return change_bytes(rng, content) if rng.random() < 0.4 else content


def make_npz(rng: random.Random) -> bytes:
    """A zip file of such."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
        for name in rng.choice([["x", "t"], ["x", "t"], ["x", "t"], ["x"], []]):
            whole = to_npy(np.zeros((2, 3), rng.choice(["f4", "u1", "i8"])))
            z.writestr(f"{name}.npy", whole if rng.random() < 0.6 else make_npy(rng))
    content = file.getvalue()
    return change_bytes(rng, content) if rng.random() < 0.4 else content


def same_rows(path: Path, result: tuple) -> None:
    x, t = result
    for array in (x,) if t is None else (x, t):
        if not np.isfinite(array).all() and array is x:
            raise Wrong("rows that are not finite")


# --- shards ----------------------------------------------------------------------------------


def open_shard(path: Path) -> RowsOnDisk:
    """One file of rows, as `open_shards` opens each."""
    dimensions = range(2, 33) if path.suffix else range(3, 4)
    return shards._together([path], [shards._checked(path, dimensions, "rows", "fu")])


def same_shard(path: Path, rows: RowsOnDisk) -> None:
    """Every row is that of an independent reader."""
    content = path.read_bytes()
    if path.suffix:
        whole = np.load(io.BytesIO(content), allow_pickle=False)
    else:
        whole = np.frombuffer(content[16:], rows._stored).reshape(
            struct.unpack(">3I", content[4:16])
        )
    found = rows.take(np.arange(len(rows)))
    if found.shape != (len(whole), math.prod(whole.shape[1:])) or not np.array_equal(
        found, whole.reshape(found.shape), equal_nan=True
    ):
        raise Wrong("rows that are not the file's")


# --- running ---------------------------------------------------------------------------------

# The maker of an input, its name's ending, its reader, the documented error, the check.
TARGETS = {
    "idx": (make_idx, "", read_idx, IDXError, same_content),
    "idx.gz": (lambda rng: packed(rng, make_idx(rng), to_gz), "", read_idx, IDXError, same_content),
    "idx.xz": (lambda rng: packed(rng, make_idx(rng), to_xz), "", read_idx, IDXError, same_content),
    "model": (make_model, "", xpnet.load, xpnet.FileError, same_net),
    "npy": (make_npy, ".npy", read_rows, xpnet.FileError, same_rows),
    "npz": (
        make_npz, ".npz", lambda path: read_rows(path, labels=True), xpnet.FileError, same_rows
    ),
    "shard": (make_npy, ".npy", open_shard, xpnet.FileError, same_shard),
    "idx shard": (make_idx, "", open_shard, xpnet.FileError, same_shard),
}  # fmt: skip


def make(target: str, number: int, seed: int) -> bytes:
    """The input of a number."""
    rng = random.Random(f"{seed}/{target}/{number}")
    content = TARGETS[target][0](rng)
    # What is compressed hides its content from changes; change what hides it, too.
    return change_bytes(rng, content) if "." in target and rng.random() < 0.4 else content


def run_one(target: str, content: bytes, folder: Path) -> str:
    """Read one input: how it ended. Raises where it ended as it must not."""
    _, suffix, read, documented, check = TARGETS[target]
    path = folder / f"input{suffix}"
    path.unlink(missing_ok=True)  # some file systems flush a file that is written over
    path.write_bytes(content)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    try:
        result = read(path)
    except documented as error:
        outcome = str(error)
        if not outcome.startswith(str(path)) or not outcome.isprintable() or len(outcome) > 2000:
            raise Wrong(f"a message that is none: {outcome!r:.200}") from error
        outcome = ASIDE.sub("…", outcome[len(str(path)) + 2 :])
    else:
        outcome = "read"
    peak = tracemalloc.get_traced_memory()[1] - before
    bound = SLACK + FACTOR * len(content)
    if target.startswith("idx."):
        bound += 5 * promised(content) // 4
    if peak > bound:
        raise Wrong(f"{peak} bytes allocated for a file of {len(content)}")
    if outcome == "read":
        check(path, result)
    return outcome


def grown() -> int:
    """Bytes that the process has had at its peak."""
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def run(count: int, seed: int = 0, targets=TARGETS, say=lambda line: None):
    """Run `count` inputs of each target: counters of how they ended, and what went wrong."""
    ended = {target: collections.Counter() for target in targets}
    wrong = []
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("error")
            for target in targets:
                start = time.perf_counter()
                for number in range(count):
                    content = make(target, number, seed)
                    high = grown()
                    try:
                        outcome = run_one(target, content, Path(folder))
                        if grown() > high + GROWTH:
                            raise Wrong(f"the process grew by {grown() - high} bytes")
                    except Exception as error:  # whatever it is, it is not documented
                        outcome = f"WRONG: {type(error).__name__}"
                        wrong.append(f"{target}:{number}: {type(error).__name__}: {error}")
                    ended[target][outcome] += 1
                say(f"{target}: {count:,} inputs in {time.perf_counter() - start:.0f} s")
    finally:
        if not tracing:
            tracemalloc.stop()
    return ended, wrong


def report(ended, wrong, sentences: int) -> str:
    """The counts by outcome, in a table for each target."""
    lines = []
    for target, counter in ended.items():
        read = counter["read"]
        lines.append(
            f"{target}: {counter.total():,} inputs: {read:,} read, "
            f"{counter.total() - read:,} refused in {len(counter) - 1} different sentences"
        )
        refused = [pair for pair in counter.most_common() if pair[0] != "read"]
        lines += [f"  {times:>8,}  {outcome[:110]}" for outcome, times in refused[:sentences]]
    total = sum(counter.total() for counter in ended.values())
    lines.append(f"{total:,} inputs, {len(wrong)} wrong; peak of the process {grown() >> 20} MiB")
    return "\n".join([*lines, *wrong[:50]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=TARGETS, help="default: all")
    parser.add_argument("--sentences", type=int, default=8, help="shown of each target")
    parser.add_argument("--only", metavar="TARGET:NUMBER", help="one input, with its traceback")
    parser.add_argument("--keep", type=Path, help="where to write the input of --only")
    options = parser.parse_args()
    if options.only:
        target, _, number = options.only.partition(":")
        content = make(target, int(number), options.seed)
        if options.keep:
            options.keep.write_bytes(content)
        tracemalloc.start()
        with tempfile.TemporaryDirectory() as folder:
            print(run_one(target, content, Path(folder)))
        return 0
    targets = {name: TARGETS[name] for name in options.target or TARGETS}
    ended, wrong = run(options.count, options.seed, targets, lambda line: print(line, flush=True))
    print(report(ended, wrong, options.sentences))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
