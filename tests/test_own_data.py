"""One's own data with three commands: train, evaluate, predict; no Python.

Each kind of data is made small here, and easy to learn, so that a wrong scale, order or name
shows as a wrong prediction.
"""

from __future__ import annotations

import csv
import io
import json
import pathlib
import re
import runpy
import shlex
import struct

import numpy as np
import pytest

pytest.importorskip("rich", reason="the command needs rich")
pytest.importorskip("pandas", reason="tables are read by pandas")
pytest.importorskip("PIL", reason="images are read by Pillow")
pytest.importorskip("matplotlib", reason="the command needs matplotlib")

import pandas
from click.testing import CliRunner
from PIL import Image

import xpnet
from xpnet import cli
from xpnet.cli import compare, inputs
from xpnet.datasets import own

ADAM = ("--optimizer", "adam", "--learning-rate", 0.01, "--no-pictures", "--batch-size", 20)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder; return what it prints."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        result = CliRunner().invoke(cli.cli, [str(word) for word in words], prog_name="xpnet")
        assert result.exit_code == code, result.stdout + result.stderr
        return result.stdout if code == 0 else result.stderr

    return run


def refused(run, *words):
    text = run(*words, code=2)
    assert text.startswith("xpnet: error: ")
    assert text.count("\n") == 1
    return text


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


# --- data --------------------------------------------------------------------------------------


def table(n=1000, seed=0):
    """Numbers, a category, and classes as words that follow from them."""
    rng = np.random.default_rng(seed)
    height, weight = rng.normal(170.0, 10.0, n), rng.normal(70_000.0, 9_000.0, n)
    colour = rng.choice(["red", "green", "blue"], n)
    score = (height - 170) / 10 + (weight - 70_000) / 9_000 + 2.0 * (colour == "red")
    kind = np.select([score < 0, score < 1.5], ["small", "middle"], "large")
    return pandas.DataFrame({"height": height, "weight": weight, "colour": colour, "kind": kind})


def pictures(folder, each=20, size=(8, 8), seed=0):
    """PNG files in three classes, each with a channel of its own."""
    rng = np.random.default_rng(seed)
    for channel, name in enumerate(["ant", "bee", "cat"]):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 120, (*size, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i:03}.png")
    return folder


def striped(n, classes, first, seed):
    """Gray images of 6 × 6, and labels from `first` up."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = rng.integers(0, 80, (n, 6, 6))
    images[np.arange(n), labels % 6, :] += 150
    return images.astype(np.uint8), labels + first


def write_idx(path, array, code, dtype):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(dtype).tobytes())


def emnist(folder):
    """Letters as EMNIST has them: a prefix, `test`, and labels from 1."""
    folder.mkdir(exist_ok=True)
    for split, n in (("train", 240), ("test", 60)):
        images, labels = striped(n, 6, 1, n)
        write_idx(folder / f"emnist-letters-{split}-images-idx3-ubyte", images, 8, ">u1")
        write_idx(folder / f"emnist-letters-{split}-labels-idx1-ubyte", labels, 8, ">u1")
    return folder


def qmnist(folder):
    """Digits as QMNIST has them: a prefix, and labels of int32 in eight columns."""
    folder.mkdir(exist_ok=True)
    for split, n in (("train", 240), ("test", 60)):
        images, labels = striped(n, 6, 0, n)
        write_idx(folder / f"qmnist-{split}-images-idx3-ubyte", images, 8, ">u1")
        columns = np.column_stack([labels, *np.random.default_rng(0).integers(0, 99, (7, n))])
        write_idx(folder / f"qmnist-{split}-labels-idx2-int", columns, 0x0C, ">i4")
    return folder


# --- the three commands -------------------------------------------------------------------------


def test_a_table(run, tmp_path):
    """From a .csv to names in a .csv."""
    table().to_csv("people.csv", index=False)
    said = run("train", "people.csv", "--steps", 400, "--out", "run", *ADAM)
    assert "target 'kind': 3 classes (large, middle, small)" in said
    assert "held out 200 of 1,000 rows to test with, drawn by --seed 0" in said
    assert "people.csv: 800 rows to train with, 200 to test with" in said
    accuracy = json.loads((tmp_path / "run" / "history.json").read_text())["test_accuracy"]
    assert accuracy > 0.9
    new = table(50, seed=1)
    new[["colour", "kind", "weight", "height"]].to_csv("new.csv", index=False)
    told = json.loads(run("evaluate", "run", "new.csv", "--json"))
    run("predict", "run", "new.csv", "--out", "kinds.csv")
    found = lines((tmp_path / "kinds.csv").read_text())
    assert [*found[0]] == ["row", "class", "probability"]
    assert [row["row"] for row in found] == [str(i + 1) for i in range(50)]
    right = np.mean([row["class"] for row in found] == new["kind"].to_numpy())
    assert right > 0.9
    np.testing.assert_allclose(told["accuracy"], right, rtol=1e-6)
    # Without the column that is predicted, and from Python, it is the same.
    new.drop(columns="kind").to_csv("bare.csv", index=False)
    assert lines(run("predict", "run/model.safetensors", "bare.csv")) == found
    net = xpnet.load("run/model.safetensors")
    _, _, description = xpnet.load_table("people.csv")
    assert net.class_names == description.class_names
    learned = own.described_by(net.data, "run")
    assert list(net.classify(learned.load("new.csv")[0])) == [row["class"] for row in found]
    every = lines(run("predict", "run", "bare.csv", "--probabilities"))
    assert [*every[0]] == ["row", "large", "middle", "small"]
    assert "with labels, found no 'kind'" in refused(run, "evaluate", "run", "bare.csv")


def test_values_of_a_table(run, tmp_path):
    """A price: the output of a net for values, R² in place of accuracy, the table's units."""
    frame = table(400).drop(columns="kind")
    frame["price"] = 1000.0 * frame["height"] + frame["weight"]
    frame["price"] += 5000.5 * (frame["colour"] == "red")
    frame[["price", "height", "weight", "colour"]].to_csv("prices.csv", index=False)
    said = run(
        "train", "prices.csv", "--target", "price", "--steps", 500, "--out", "run", "--activation",
        "tanh", *ADAM,
    )  # fmt: skip
    assert "target 'price': values, from" in said
    assert "test R²" in said
    assert "accuracy" not in said
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert history["test_r2"] > 0.9
    assert history["test_accuracy"] is None
    told = json.loads(run("evaluate", "run", "prices.csv", "--json"))
    found = lines(run("predict", "run", "prices.csv"))
    assert [*found[0]] == ["row", "price"]
    price, y = frame["price"].to_numpy(), np.asarray([float(row["price"]) for row in found])
    r2 = 1 - ((price - y) ** 2).sum() / ((price - price.mean()) ** 2).sum()
    assert r2 > 0.9
    np.testing.assert_allclose(told["r2"], r2, rtol=1e-4)
    assert f"R²     {told['r2']:.4f}" in run("evaluate", "run", "prices.csv")


def test_images(run, tmp_path):
    """From a folder of 60 PNG files to names in a .csv, for rows and for a convolution."""
    pictures(tmp_path / "insects")
    pictures(tmp_path / "new", each=2, seed=1)
    for net in ("mlp", "simple-conv"):
        steps = 60 if net == "mlp" else 10
        said = run("train", "insects", "--steps", steps, "--out", net, "--net", net, *ADAM)
        assert "target 'class': 3 classes (ant, bee, cat)" in said
        assert "insects: 48 images to train with, 12 to test with" in said
        told = json.loads(run("evaluate", net, "new", "--json"))
        assert (told["rows"], told["accuracy"]) == (6, 1.0)
        found = lines(run("predict", net, "new"))
        assert [*found[0]] == ["row", "file", "class", "probability"]
        assert [row["file"].split("/")[0] for row in found] == [row["class"] for row in found]
    one = lines(run("predict", "mlp", "new/bee/001.png"))
    assert [(row["file"], row["class"]) for row in one] == [("001.png", "bee")]
    said = run("train", "insects", "--steps", 1, "--out", "g", "--gray", "--size", "4x6", *ADAM)
    assert "MLP 24-100-3" in said


def test_images_to_test_with(run, tmp_path):
    """Folders train and test are no classes."""
    pictures(tmp_path / "all" / "train", each=5)
    pictures(tmp_path / "all" / "test", each=2, seed=1)
    said = run("train", "all", "--steps", 1, "--out", "run", *ADAM[:-2], "--batch-size", 5)
    assert "all: 15 images to train with, 6 to test with" in said
    assert "held out" not in said
    assert "leave --test out" in refused(run, "train", "all", "--test", 0.5)


def test_images_are_drawn(run, tmp_path):
    """Pictures of gray images only; those of colours, tables and values have fewer."""
    pictures(tmp_path / "rgb", each=4, size=(3, 4))
    fast = ("--steps", 2, "--batch-size", 5)
    assert "loss.png, confusion.png are in" in run("train", "rgb", "--out", "a", *fast)
    said = run("train", "rgb", "--gray", "--out", "b", "--report", *fast)
    assert "loss.png, confusion.png, mistakes.png, weights.png, report.html" in said
    frame = pandas.DataFrame({"a": np.arange(50.0), "t": np.arange(50.0) / 7})
    frame.to_csv("v.csv", index=False)
    assert "history.json, loss.png are in" in run("train", "v.csv", "--out", "c", *fast)


@pytest.mark.parametrize("names", [("x", "t"), ("X", "y")])
def test_arrays(run, tmp_path, names):
    """An .npz file with labels from 1, without and with a part to test with."""
    images, labels = striped(240, 6, 1, 0)
    x, t = names
    np.savez("d.npz", **{x: images, t: labels})
    tests = {f"{x}_test": images[:50], f"{t}_test": labels[:50]}
    np.savez("both.npz", **{x: images, t: labels}, **tests)
    said = run("train", "d.npz", "--steps", 200, "--out", "run", *ADAM)
    assert said.count("labels 1 to 6 are the classes 0 to 5") == 1
    assert "d.npz: 192 images to train with, 48 to test with" in said
    assert json.loads(run("evaluate", "run", "both.npz", "--json"))["accuracy"] == 1.0
    found = lines(run("predict", "run", "d.npz"))
    assert [int(row["class"]) for row in found] == labels.tolist()
    said = run("train", "both.npz", "--init", "run", "--steps", 1, "--out", "more", *ADAM)
    assert "both.npz: 240 images to train with, 50 to test with" in said
    assert "held out" not in said


def test_arrays_of_values_and_words(run):
    """Targets that are no class numbers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    np.savez("v.npz", x=x, t=x @ [[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]])
    said = run("train", "v.npz", "--steps", 300, "--out", "v", "--hidden", "none", *ADAM)
    assert "MLP 3-2, sigmoid, identity" in said
    assert json.loads(run("evaluate", "v", "v.npz", "--json"))["r2"] > 0.9
    np.savez("w.npz", x=x, t=np.where(x[:, 0] > 0, "plus", "minus"))
    run("train", "w.npz", "--steps", 200, "--out", "w", *ADAM)
    assert json.loads(run("evaluate", "w", "w.npz", "--json"))["accuracy"] > 0.9
    assert {row["class"] for row in lines(run("predict", "w", "w.npz"))} == {"plus", "minus"}
    np.savez("h.npz", x=x, t=np.eye(2)[(x[:, 0] > 0).astype(int)])
    assert "softmax" in run("train", "h.npz", "--steps", 1, "--out", "h", *ADAM)


@pytest.mark.parametrize("make", [emnist, qmnist])
def test_idx_folders_of_other_names(run, tmp_path, make):
    """EMNIST's letters begin at 1; QMNIST's labels have eight columns."""
    folder = make(tmp_path / "set")
    said = run("train", "set", "--steps", 200, "--out", "run", *ADAM)
    renumbered = "labels 1 to 6 are the classes 0 to 5; predictions have the labels"
    assert said.count(renumbered) == (make is emnist)
    assert "set: 240 images to train with, 60 to test with" in said
    assert json.loads(run("evaluate", "run", "set", "--json"))["accuracy"] == 1.0
    found = lines(run("predict", "run", "set"))
    _, (x, t) = xpnet.load_idx(folder)
    assert [int(row["class"]) for row in found] == t.tolist()
    assert (x.shape, int(t.min())) == ((60, 36), int(make is emnist))
    run("train", "set", "--init", "run", "--steps", 1, "--out", "more", *ADAM)


def test_prefixes(run, tmp_path):
    """Of several sets in a folder one has to be named."""
    folder = qmnist(emnist(tmp_path / "set"))
    message = "one prefix, found 'emnist-letters', 'qmnist': choose with prefix="
    assert message in refused(run, "train", "set")
    with pytest.raises(xpnet.FileError, match=message):
        xpnet.load_idx(folder)
    assert int(xpnet.load_idx(folder, prefix="qmnist")[0][1].min()) == 0
    run("train", "set", "--prefix", "emnist-letters", "--steps", 1, "--out", "run", *ADAM)
    assert "choose with" in refused(run, "evaluate", "run", "set")
    run("evaluate", "run", "set", "--prefix", "emnist-letters")
    with pytest.raises(FileNotFoundError, match="set has no what-train-images-idx3-ubyte"):
        xpnet.load_idx(folder, prefix="what")


# --- models -------------------------------------------------------------------------------------


def test_init_goes_on(run, tmp_path):
    """A model's own scales and names hold for other data, and its weights are where it begins."""
    table().to_csv("a.csv", index=False)
    other = table(300, seed=2)
    other["height"] += 50.0
    other.to_csv("b.csv", index=False)
    run("train", "a.csv", "--steps", 200, "--out", "a", "--dtype", "float64", *ADAM)
    run("train", "b.csv", "--init", "a", "--steps", 1, "--out", "b", "--optimizer", "sgd",
        "--learning-rate", 1e-9, "--no-pictures", "--batch-size", 20)  # fmt: skip
    first, second = (xpnet.load(f"{name}/model.safetensors") for name in "ab")
    assert second.data == first.data
    assert second.class_names == first.class_names
    assert second.params["W1"].dtype == np.float64
    for key, p in first.params.items():
        np.testing.assert_allclose(second.params[key], p, atol=1e-7)
    run("train", "--resume", "b", "--steps", 2)
    for words, message in [
        (("b.csv", "--init", "a", "--hidden", 3), "--hidden describes a new net, and --init"),
        (("b.csv", "--init", "a", "--fill", "mean"), "no --fill here: b.csv is read as the data"),
        (("mnist", "--init", "a"), "mnist: expected rows of 5 numbers, which is what the model"),
        (("b.csv", "--init", "nowhere"), "nowhere: No such file"),
        (("b.csv", "--init", "."), "no folder of a finished run"),
    ]:  # fmt: skip
        assert message in refused(run, "train", *words, *ADAM)


def test_init_of_other_data(run, tmp_path):
    """A net of images that begins with a net of a table."""
    table(60).to_csv("a.csv", index=False)
    pictures(tmp_path / "set", each=4)
    run("train", "a.csv", "--steps", 1, "--out", "a", *ADAM)
    said = refused(run, "train", "set", "--init", "a", *ADAM)
    assert "expected a table, which the model was trained with, found a folder of images" in said


def test_a_run_goes_on_with_its_data(run, tmp_path):
    """Another share that is held out, or other scales, would be another run."""
    table(200).to_csv("a.csv", index=False)
    words = ("a.csv", "--test", 0.3, "--seed", 5, *ADAM)
    run("train", *words, "--steps", 20, "--out", "whole")
    run("train", *words, "--steps", 10, "--out", "part")
    said = run("train", "--resume", "part", "--steps", 20)
    assert "held out 60 of 200 rows" in said
    assert "--seed 5" in said
    whole, part = (xpnet.load(f"{name}/model.safetensors") for name in ("whole", "part"))
    assert whole.data == part.data
    np.testing.assert_array_equal(whole.params["W1"], part.params["W1"])


def test_check_takes_the_same_data(run, tmp_path):
    """A gradient is checked on the data that a net is trained with."""
    table(60).to_csv("a.csv", index=False)
    assert "passed" in run("check", "a.csv", "--hidden", 3, "--batch-size", 10)
    frame = pandas.DataFrame({"a": np.arange(50.0), "t": np.arange(50.0) / 7})
    frame.to_csv("v.csv", index=False)
    assert "identity" in run("check", "v.csv", "--hidden", 3, "--batch-size", 10)


def test_compare_takes_the_same_data(run, tmp_path, monkeypatch):
    """What is typed reaches the run on each backend."""
    pictures(tmp_path / "set", each=4)
    found = []
    monkeypatch.setattr(compare, "machine", lambda: {"backends": []})
    monkeypatch.setattr(compare, "rows_of", lambda backends: [compare.Row("numpy", "2", "cpu")])
    monkeypatch.setattr(compare, "train", lambda row, words: found.extend(words))
    words = ("compare", "set", "--gray", "--size", "4x6", "--test", 0.5, "--steps", 1)
    result = CliRunner().invoke(cli.cli, [*map(str, words)])
    assert result.exit_code == 2  # nothing was trained
    text = " ".join(found)
    for option in ("--dataset set", "--size 4x6", "--gray --", "--test 0.5"):
        assert option in text
    run("train", *found, "--out", "run", "--no-pictures", "--batch-size", 4)
    assert xpnet.load("run/model.safetensors").data["size"] == [4, 6]


# --- what is refused ----------------------------------------------------------------------------


def test_commands_that_do_not_fit_their_data(run, tmp_path):
    """Each is one line, which says what to change."""
    table(60).to_csv("a.csv", index=False)
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    np.savez("names.npz", images=np.ones((4, 2)), labels=np.ones(4))
    np.savez("short.npz", x=np.ones((4, 2)), t=np.ones(3, int))
    emnist(tmp_path / "set")
    for words, message in [
        (("a.csv", "--dataset", "mnist"), "two data sets, a.csv and --dataset mnist"),
        (("a.csv", "--shift", 2), "--shift is for images; a.csv has rows of 5 numbers"),
        (("a.csv", "--net", "simple-conv"), "--net simple-conv is for images; a.csv has rows of 5"),
        (("a.csv", "--layers", "conv3x3 relu"), "--layers: layers[0], Convolution"),
        (("a.csv", "--target", "price"), "expected the column 'price' to predict, found 'height'"),
        (("a.csv", "--gray"), "no --gray here: a.csv is a table"),
        (("mnist", "--target", "x"), "no --target here: mnist is a data set of this name"),
        (("set", "--test", 0.2), "no --test here: set is a folder of IDX files"),
        (("a.csv", "--size", "3xx"), "'3xx' is not a size above 0, or HEIGHTxWIDTH"),
        (("photo.png",), "photo.png: expected a .csv, .parquet or .npz file, a folder of a folder"),
        (("names.npz",), "expected x and t, or X and y, among its arrays, found images, labels"),
        (("short.npz",), "expected rows and a target for each, found shapes (4, 2) and (3,)"),
        (("nowhere.csv",), "unknown dataset 'nowhere.csv'"),
    ]:  # fmt: skip
        assert message in refused(run, "train", *words)
    assert not (tmp_path / "runs").exists()


def test_data_of_another_kind_for_a_model(run, tmp_path):
    """A table for a net of arrays, an image for one of tables."""
    images, labels = striped(60, 3, 0, 0)
    np.savez("d.npz", x=images, t=labels)
    table(60).to_csv("a.csv", index=False)
    run("train", "d.npz", "--steps", 1, "--out", "d", *ADAM)
    run("train", "a.csv", "--steps", 1, "--out", "a", *ADAM)
    assert "was not trained on a table" in refused(run, "predict", "d", "a.csv")
    assert "expected a table, a .csv or a .parquet" in refused(run, "predict", "a", "d.npz")
    net = xpnet.load("a/model.safetensors")
    net.data = {"kind": "table", "columns": 3}
    net.save("damaged")
    assert "its description of the data is damaged" in refused(run, "predict", "damaged", "a.csv")
    other = xpnet.MLP([3, 3])
    other.data = xpnet.load("a/model.safetensors").data
    other.save("other")
    assert "of 5 numbers a row; the net takes 3" in refused(run, "predict", "other", "a.csv")
    net.data = {"kind": "nonsense"}
    net.save("unknown")
    assert "its description of the data is damaged" in refused(run, "predict", "unknown", "a.csv")


def test_files_that_were_taken_for_idx(tmp_path):
    """The words say what reads them."""
    for name, content, message in [
        ("a.csv", b"a,b\n1,2\n", "xpnet.load_table reads it"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "xpnet.load_images reads folders of them"),
        ("a.jpg", b"\xff\xd8\xff\xe0", "xpnet.load_images reads folders of them"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(xpnet.datasets.IDXError, match=message):
            xpnet.datasets.read_idx(tmp_path / name)


# --- the net ------------------------------------------------------------------------------------


def test_classes_and_their_names(lib, tmp_path):
    """Names that are lost on the way to another library, or into a file."""
    net = xpnet.MLP([3, 4, 2], dtype="float64", seed=0, **lib.kwargs)
    x = lib.array(np.random.default_rng(0).normal(size=(9, 3)), "float64")
    numbers = lib.host(net.predict(x)).argmax(axis=1)
    lib.place()._check(net.classify(x), "classes")
    np.testing.assert_array_equal(lib.host(net.classify(x)), numbers)
    net.class_names, net.data = ["no", "yes"], {"kind": "mine", "list": [1, None]}
    expected = np.asarray(["no", "yes"])[numbers]
    net.save(tmp_path / "m")
    here = [(other, x) for other in (net, net.to(), net._with_l2(0.1))]
    for other, rows in [*here, (xpnet.load(tmp_path / "m"), lib.host(x))]:
        np.testing.assert_array_equal(other.classify(rows), expected)
        assert (other.class_names, other.data) == (("no", "yes"), net.data)
    net.data["list"].append(2)
    assert net.data["list"] == [1, None]


def test_other_outputs_have_no_single_class():
    """Several labels a row, and values."""
    x = np.ones((2, 3), np.float32)
    net = xpnet.MLP([3, 2], output="sigmoid", weight_init=0.0)
    net.params["b1"][...] = [1.0, -1.0]
    np.testing.assert_array_equal(net.classify(x), [[True, False]] * 2)
    with pytest.raises(ValueError, match="output 'identity' predicts values: there are no classes"):
        xpnet.MLP([3, 2], output="identity").classify(x)


@pytest.mark.parametrize(("names", "error", "message"), [
    (["a"], ValueError, "class_names has 1 names; the net has 2 outputs"),
    (["a", "a"], ValueError, "class_names has a name twice"),
    ("ab", TypeError, "class_names must be a sequence of strings, not str"),
    ([0, 1], TypeError, "class_names must be strings, not int"),
    (3, TypeError, "class_names must be a sequence"),
])  # fmt: skip
def test_names_that_are_refused(names, error, message):
    """Names that belong to other outputs."""
    with pytest.raises(error, match=message):
        xpnet.MLP([3, 2]).class_names = names


@pytest.mark.parametrize(("data", "error"), [
    (3, TypeError), ({"a": {1}}, TypeError), ({"a": float("nan")}, ValueError),
    ({"a": "x" * 2**20}, ValueError),
])  # fmt: skip
def test_data_that_no_file_holds(data, error):
    """A model that cannot be saved after its training."""
    with pytest.raises(error, match="data"):
        xpnet.MLP([3, 2]).data = data


def test_what_new_users_give_a_net():
    """The message names the function that helps."""
    net = xpnet.MLP([784, 10], seed=0)
    image = np.zeros((2, 28, 28), np.float32)
    with pytest.raises(ValueError, match=r"reshape it, xp.reshape\(x, \(x.shape\[0\], 784\)\)"):
        net.predict(image)
    with pytest.raises(ValueError, match="reshape it"):
        net.predict(image[:, None])
    flat = image.reshape(2, 784)
    words = np.asarray(["a", "b"])
    for call in (net.loss, lambda x, t: xpnet.fit(net, x, t, steps=1, batch_size=1)):
        with pytest.raises(TypeError, match=r"numpy.unique\(t, return_inverse=True\).*sklearn"):
            call(flat, words)
    with pytest.raises(TypeError, match=r"convert it with numpy.asarray\(x\)"):
        net.predict(pandas.DataFrame(flat))
    with pytest.raises(TypeError, match=r"convert it with numpy.asarray\(x\)"):
        net.predict(flat.tolist())


def test_the_device_of_a_hint_is_one_that_place_takes(lib):
    """CuPy writes <CUDA Device 0>, which nothing takes."""
    with pytest.raises(TypeError, match="convert it with") as caught:
        lib.placement._check(object() if lib.kwargs["xp"] != "numpy" else {}, "x")
    text = str(caught.value)
    if "device=" in text:
        device = text.partition("device='")[2].partition("'")[0]
        assert xpnet.place(lib.kwargs["xp"], device).device == lib.placement.device


def test_determination_is_scikit_learns():
    """R² is known: another number would be taken for it."""
    metrics = pytest.importorskip("sklearn.metrics", reason="the oracle")
    rng = np.random.default_rng(0)
    net = xpnet.MLP([3, 2], output="identity", seed=0, dtype="float64")
    x, t = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    expected = metrics.r2_score(t, net.predict(x))
    np.testing.assert_allclose(inputs.determination(net, x, t), expected)
    assert inputs.determination(net, x, np.zeros((20, 2))) is None


# --- the page -----------------------------------------------------------------------------------

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "own-data.md"


def test_the_page_runs(run, tmp_path):
    """A reader copies its blocks one after the other, those of Python and those of commands."""
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    namespace, count = {}, 0
    for language, block in blocks:
        if language == "python":
            exec(compile(block, PAGE.name, "exec"), namespace)
            continue
        for line in block.splitlines():
            program, *words = shlex.split(line)
            if program == "xpnet":
                # Pictures are not what this page is about.
                run(*words, *(["--no-pictures"] if words[0] == "train" else []))
                count += 1
    assert count == 16
    head = re.search(r"```text\n(.*?)\n", PAGE.read_text()).group(1)
    found = (tmp_path / "kinds.csv").read_text().splitlines()
    assert (found[0], len(found)) == (head, 201)
    assert (tmp_path / "predicted-prices.csv").read_text().startswith("row,price\n1,")
    found = lines(run("predict", "people.safetensors", "new-people.csv"))
    right = namespace["people"]["kind"][800:].to_numpy()
    assert np.mean([row["class"] for row in found] == right) > 0.8


def test_the_table_of_the_page_is_that_of_its_file():
    """A page that says something else than what was measured; and what it says."""
    module = runpy.run_path(str(PAGE.parent.parent / "benchmarks" / "tables.py"))
    page = PAGE.read_text(encoding="utf-8")
    assert module["written"](page) == page
    for found in json.loads(module["RESULTS"].read_text(encoding="utf-8"))["sets"].values():
        ours, theirs = np.asarray(found["xpnet"]), np.asarray(found["scikit-learn"])
        assert len(ours) == len(theirs) == 5
        assert ours.mean() > theirs.mean() - theirs.std(ddof=1)
