"""Tables: what is learned of them, how new ones are turned into rows, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("pandas", reason="tables are read by pandas")

import pandas

import xpnet
from xpnet.datasets import Table, described, frames, tables

N = 40


@pytest.fixture
def frame():
    """Numbers, a constant, a category, a boolean, and classes as words."""
    rng = np.random.default_rng(0)
    return pandas.DataFrame({
        "height": rng.normal(170.0, 10.0, N), "same": np.full(N, 0.1),
        "colour": rng.choice(["red", "green", "blue"], N), "old": rng.random(N) < 0.5,
        "kind": rng.choice(["cat", "dog"], N),
    })  # fmt: skip


def written(tmp_path, frame, name="table.csv"):
    path = tmp_path / name
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        pytest.importorskip("pyarrow", reason="pandas reads .parquet by pyarrow")
        frame.to_parquet(path)
    return path


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_columns_become_rows(tmp_path, frame, name):
    """A column that is scaled by other numbers, or a word in another's place."""
    x, t, description = xpnet.load_table(written(tmp_path, frame, name))
    height = frame["height"].to_numpy()
    words = ["blue", "green", "red"]
    expected = np.column_stack([
        (height - height.mean()) / height.std(), np.zeros(N),
        *(frame["colour"] == word for word in words), frame["old"],
    ])  # fmt: skip
    np.testing.assert_allclose(x, expected, rtol=1e-6)
    assert (x.dtype, x.shape[1:]) == (np.float32, description.shape)
    assert description.class_names == ("cat", "dog")
    np.testing.assert_array_equal(t, frame["kind"] == "dog")


def test_rows_are_placed(tmp_path, frame, lib):
    """Arrays of another library or dtype than was asked for are of no use to its net."""
    path = written(tmp_path, frame)
    x, t, description = xpnet.load_table(path, dtype="float64", **lib.kwargs)
    lib.place()._check(x, "x")
    assert x.dtype == lib.xp.float64
    again = description.load(frame, dtype="float64", **lib.kwargs)
    for mine, other in zip((x, t), again, strict=True):
        np.testing.assert_allclose(lib.host(mine), lib.host(other), rtol=1e-12)
    net = xpnet.MLP([*description.shape, 2], dtype="float64", seed=0, **lib.kwargs)
    net.class_names = description.class_names
    assert set(net.classify(x)) <= {"cat", "dog"}
    assert np.isfinite(float(lib.host(net.loss(x, t))))


def test_a_description_goes_through_json(tmp_path, frame):
    """What is saved with a model must turn new tables as the first was."""
    path = written(tmp_path, frame)
    x, _, description = xpnet.load_table(path)
    again = Table.of_dict(json.loads(json.dumps(description.to_dict())))
    assert again == description
    np.testing.assert_array_equal(again.load(path)[0], x)


def test_new_tables_are_found_by_names(tmp_path, frame):
    """Another order, other columns, no target: the same rows."""
    x, t, description = xpnet.load_table(written(tmp_path, frame))
    other = frame[["old", "colour", "kind", "same", "height"]].assign(more=1)
    found = description.load(written(tmp_path, other))
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], t)
    found = description.load(written(tmp_path, other.drop(columns="kind").iloc[:3]))
    np.testing.assert_array_equal(found[0], x[:3])
    assert found[1] is None


def test_scales_are_those_of_the_training_rows(tmp_path, frame):
    """Means over rows that are tested with would tell the net of them."""
    path = written(tmp_path, frame)
    (x, t), (x_test, t_test), description = tables.split_table(path, 0.25, seed=3)
    assert (len(x), len(t), len(x_test), len(t_test)) == (30, 30, 10, 10)
    np.testing.assert_allclose(x[:, 0].mean(), 0.0, atol=1e-6)
    np.testing.assert_allclose(x[:, 0].std(), 1.0, rtol=1e-6)
    assert abs(x_test[:, 0].mean()) > 1e-3
    every = np.concatenate([x, x_test])
    whole = xpnet.load_table(path)[0]
    # The same rows, by another shift and scale.
    np.testing.assert_allclose(np.ptp(every[:, 0]) * description.columns[0].deviation,
                               np.ptp(frame["height"]), rtol=1e-5)  # fmt: skip
    np.testing.assert_array_equal(np.sort(every[:, 1:], axis=0), np.sort(whole[:, 1:], axis=0))


def test_every_class_is_held_out():
    """A class that is trained with and not tested with, or the other way round."""
    t = np.repeat([0, 1, 2, 3], [100, 50, 10, 1])
    train, test = described.held_out(t, 0.2, seed=0)
    np.testing.assert_array_equal(np.bincount(t[test]), [20, 10, 2])
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(161))
    again = described.held_out(t, 0.2, seed=0)
    np.testing.assert_array_equal(again[1], test)
    assert not np.array_equal(described.held_out(t, 0.2, seed=1)[1], test)
    assert [len(part) for part in described.held_out(np.zeros(2), 0.01, 0)] == [1, 1]
    with pytest.raises(ValueError, match="too few"):
        described.held_out(np.zeros(1), 0.5, 0)


@pytest.mark.parametrize(("values", "names"), [
    ([3, 10, 9, 3], ("3", "9", "10")), ([0.0, 1.0, 2.0, 1.0], ("0", "1", "2")),
    ([True, False, True, True], ("False", "True")), (["b", "a", "b", "c"], ("a", "b", "c")),
    ([0.5, 1.0, 2.0, 3.0], None),
])  # fmt: skip
def test_targets_are_classes_or_values(tmp_path, values, names):
    """A price taken for a class, or a class for a number."""
    frame = pandas.DataFrame({"a": np.arange(4.0), "t": values})
    _, t, description = xpnet.load_table(written(tmp_path, frame))
    assert description.class_names == names
    if names is None:
        np.testing.assert_allclose([t.mean(), t.std()], [0.0, 1.0], atol=1e-6)
        np.testing.assert_allclose(description.values(t), values, rtol=1e-6)
    else:
        assert [names[i] for i in t] == [str(v).removesuffix(".0") for v in values]


def test_many_whole_numbers_are_values(tmp_path):
    """Prices in whole units would be hundreds of classes."""
    frame = pandas.DataFrame({"a": np.arange(50.0), "t": np.arange(50)})
    assert xpnet.load_table(written(tmp_path, frame))[2].class_names is None


def test_what_is_missing_is_filled_or_refused(tmp_path):
    """A missing value that becomes a number nobody has written."""
    path = tmp_path / "holes.csv"
    path.write_text("a,b,c,t\n1,x,True,u\n3,x,True,v\n,y,False,u\n2,,,v\n")
    with pytest.raises(xpnet.FileError, match=r"column 'a' has no value in row 3.*\(1 missing"):
        xpnet.load_table(path)
    x, _, description = xpnet.load_table(path, fill="mean")
    np.testing.assert_allclose(x[2], [0.0, 0.0, 1.0, 0.0])  # the mean
    np.testing.assert_allclose(x[3], [0.0, 1.0, 0.0, 1.0])  # the most frequent
    path.write_text("a,b,c\n,,\n")
    np.testing.assert_allclose(description.load(path)[0], [[0.0, 1.0, 0.0, 1.0]])
    path.write_text("a,t\n1,u\n2,\n")
    with pytest.raises(xpnet.FileError, match="column 't' has no value in row 2"):
        xpnet.load_table(path, fill="mean")


# What is wrong in a new table, for a net that was trained with another.
NEW = {
    "no column": ("b,c\nx,True\n", "expected the columns of the training, found no 'a'"),
    "a new word": ("a,b,c\n1,x,True\n1,z,True\n", "row 2, column 'b': 'z' is none of .* 'x', 'y'"),
    "no number": ("a,b,c\n1,x,True\nwhat,x,True\n",
                  "row 2, column 'a': expected a finite number, found 'what'"),
    "infinity": ("a,b,c\ninf,x,True\n", "row 1, column 'a': expected a finite number"),
    "too far": ("a,b,c\n1e300,x,True\n", "row 1, column 'a': 1e\\+300 is too far"),
    "no boolean": ("a,b,c\n1,x,maybe\n", "row 1, column 'c': 'maybe' is none of .*'True'"),
    "no class": ("a,b,c,t\n1,x,True,w\n", "row 1, column 't': 'w' is none of .* 'u', 'v'"),
    "a hole": ("a,b,c\n1,,True\n", "column 'b' has no value in row 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEW)
def test_new_tables_that_do_not_fit(tmp_path, case):
    """A wrong prediction in place of an error, or an error that does not say where."""
    path = tmp_path / "old.csv"
    path.write_text("a,b,c,t\n1,x,True,u\n2,y,False,v\n")
    description = xpnet.load_table(path)[2]
    text, message = NEW[case]
    (tmp_path / "new.csv").write_text(text)
    with pytest.raises(xpnet.FileError, match=f"new.csv: .*{message}"):
        description.load(tmp_path / "new.csv")


# Files that are no table: what each says.
BAD = {
    "empty": (b"", "a .csv file with a header"),
    "only a header": (b"a,b\n", "expected rows, found none"),
    "a name twice": (b"a,a,t\n1,2,3\n", "different names, found 'a' twice"),
    "no name": (b",a\n1,2\n", "column 1 has no name .*index=False"),
    "Latin-1": ("a,t\n1,ä\n".encode("latin-1"), "a text in UTF-8, found the byte 0xe4"),
    "semicolons": (b"a;t\n1;2\n", "expected commas between the columns, found ';'"),
    "a long row": (b"a,t\n1,2\n1,2,3\n", "Expected 2 fields in line 3"),
    "long rows": (b"a,t\n1,2,3\n", "does not match"),
    "an open quote": (b'a,t\n"1,2\n', "EOF inside string"),
    "one class": (b"a,t\n1,x\n2,x\n", "column 't' is to be predicted, and is 'x' everywhere"),
    "one column": (b"t\n1\n2\n", "expected columns beside the target"),
    "huge": (b"a,t\n1e308,x\n-1e308,y\n1e308,x\n", "numbers too large to standardise"),
    "nothing in a column": (b"a,b,t\n1,,x\n2,,y\n", "column 'b' has no values"),
    "names": (b"a,t\n" + b"".join(b"%d-%d,x\nb,y\n" % (i, i) for i in range(1001)),
              "column 'a' has 1,002 different words; expected at most 1,000"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_no_table(tmp_path, case):
    """A traceback of pandas, or a net that is trained on nonsense."""
    content, message = BAD[case]
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(xpnet.FileError, match=f"bad.csv: .*{message}"):
        xpnet.load_table(path)


def test_parquet_that_is_none(tmp_path):
    """Bytes of anything, and columns of what is neither number nor word."""
    pytest.importorskip("pyarrow", reason="pandas reads .parquet by pyarrow")
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"PAR1" + bytes(50))
    with pytest.raises(xpnet.FileError, match=r"bad.parquet: expected a .parquet file"):
        xpnet.load_table(path)
    days = pandas.DataFrame({"day": pandas.to_datetime(["2020-01-01", "2020-01-02"]), "t": [0, 1]})
    days.to_parquet(path)
    with pytest.raises(xpnet.FileError, match="column 'day' has Timestamp; expected numbers"):
        xpnet.load_table(path)


def test_too_many_words_for_a_model(tmp_path, monkeypatch):
    """A model that cannot be saved after hours of training."""
    monkeypatch.setattr(described, "MAX_HEADER", 1000)
    path = tmp_path / "words.csv"
    path.write_text("a,t\n" + "".join(f"word-{i},{'xy'[i % 2]}\n" for i in range(100)))
    with pytest.raises(xpnet.FileError, match="bytes in a model's file; expected at most 500"):
        xpnet.load_table(path)


def test_arguments(tmp_path, frame):
    """A target that is no column, a file that is not there, a kind that nobody reads."""
    path = written(tmp_path, frame)
    with pytest.raises(xpnet.FileError, match="expected the column 'what' to predict, found 'heig"):
        xpnet.load_table(path, target="what")
    assert xpnet.load_table(path, target="colour")[2].class_names == ("blue", "green", "red")
    with pytest.raises(FileNotFoundError):
        xpnet.load_table(tmp_path / "no.csv")
    with pytest.raises(IsADirectoryError):
        xpnet.load_table(tmp_path)
    (tmp_path / "x.txt").write_text("a")
    with pytest.raises(xpnet.FileError, match=r"a .csv or a .parquet file"):
        xpnet.load_table(tmp_path / "x.txt")


@pytest.mark.parametrize("missing", ["pandas", "pyarrow"])
def test_without_pandas_it_says_what_to_install(tmp_path, monkeypatch, missing):
    """An ImportError from somewhere inside."""
    (tmp_path / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{missing}: python -m pip install 'xpnet\[d"):
        frames.read_frame(tmp_path / "a.parquet")
