"""Data that no network can learn from are refused with one line that says what is wrong where, and exit status 2."""

from __future__ import annotations

import dataclasses
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from kerasmlp.cli import main
from kerasmlp.run import Run
from tests.helpers.image_files import idx, write_idx, write_images

SMALL = ["--target", "y", "--test-share", "0.2", "--hidden", "4", "--members", "1", "--epochs", "1", "--out", "run"]
ROWS = "\n".join(f"{i / 2},{'ab'[i % 2]}" for i in range(20))


@dataclasses.dataclass(frozen=True)
class Case:
    """A bad source of data and the message that it gets.

    Attributes:
        what: What is wrong with it; the name of the test.
        write: Writes the source to an empty folder, and returns the arguments for `kerasmlp train`.
        message: A pattern with the names and values that the message must contain.
        streams: Whether the source can be streamed too. The message is then the same.
    """

    what: str
    write: Callable[[Path], list[str]]
    message: str
    streams: bool = False


def csv(what: str, content: str | bytes, message: str, target: str | None = "y") -> Case:
    """A CSV file with this content."""

    def write(folder: Path) -> list[str]:
        path = folder / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [str(path), "--test-share", "0.2", *(["--target", target] if target else [])]

    return Case(what, write, message, streams=True)


def npz(what: str, message: str, **changes: Any) -> Case:
    """An `.npz` file in Keras's layout with some arrays changed."""

    def write(folder: Path) -> list[str]:
        x, y = np.arange(80, dtype=np.float32).reshape(20, 4), np.arange(20) % 2
        np.savez(folder / "arrays.npz", **{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **changes})
        return [str(folder / "arrays.npz")]

    return Case(what, write, message)


def content(what: str, name: str, data: bytes, message: str) -> Case:
    """A file with these bytes."""

    def write(folder: Path) -> list[str]:
        (folder / name).write_bytes(data)
        return [str(folder / name)]

    return Case(what, write, message)


def images(what: str, change: Callable[[Path], object], message: str) -> Case:
    """A folder of images of cats and dogs after a change."""

    def write(folder: Path) -> list[str]:
        change(write_images(folder / "pets"))
        return [str(folder / "pets"), "--test-share", "0.2"]

    return Case(what, write, message, streams=True)


def idx_files(what: str, data: bytes, message: str) -> Case:
    """IDX files of which the one with the training images has these bytes."""

    def write(folder: Path) -> list[str]:
        (write_idx(folder / "tiny") / "train-images-idx3-ubyte").write_bytes(data)
        return [str(folder / "tiny")]

    return Case(what, write, message)


def _torn_parquet(folder: Path) -> list[str]:
    pd.DataFrame({"x": range(40), "y": ["a", "b"] * 20}).to_parquet(folder / "table.parquet")
    whole = (folder / "table.parquet").read_bytes()
    (folder / "table.parquet").write_bytes(whole[: len(whole) // 2])
    return [str(folder / "table.parquet"), "--target", "y", "--test-share", "0.2"]


IMAGES = np.zeros((30, 4, 5), np.uint8)
BIG = np.arange(80.0).reshape(20, 4)
PAIRS, HUGE = np.arange(40).reshape(20, 2), np.full(20, 1e60)
MEASURED = "\n".join(f"{i},{i / 7}" for i in range(50))
LINES, EMPTY = np.array(["a\nb", "c"] * 10), np.array(["", "c"] * 10)
CASES = [
    Case("missing file", lambda f: [str(f / "mnits.npz")], r"mnits\.npz`"),
    Case("missing column of a name", lambda f: ["mnits"], "`mnits`.*`mnist`"),
    csv("empty file", "", r"table\.csv` is empty"),
    csv("only a header", "x,y\n", r"table\.csv` has a header but no rows"),
    csv("too many values", f"x,y\n{ROWS}\n1,a,2\n", r"table\.csv`, row 21 .*3.*2"),
    csv("too few values", f"x,y\n{ROWS}\n1\n", r"table\.csv`, row 21 .*1.*2"),
    csv("ragged within quotes", f'x,y\n"1","a"\n{ROWS}\n1,a,2\n', "row 22 .*3.*2"),
    csv("text among numbers", f"x,y\n{ROWS}\nmany,a\n", "`table`, row 21.*`x`.*`many`"),
    csv("infinity", f"x,y\n{ROWS}\ninf,a\n", "`table`, row 21.*`x`.*`inf`"),
    csv("row without a label", f"x,y\n{ROWS}\n1,\n", "`table`, row 21.*label.*`y`"),
    csv("unknown target", f"length,kind\n{ROWS}\n", "`table`.*`lenght`.*`length`", "lenght"),
    csv("no target", f"x,y\n{ROWS}\n", "`table`.*target.*x, y", None),
    csv("different labels", "x,y\n" + "\n".join(f"1,name {i}" for i in range(50)), "table.*50 of 50"),
    csv("a word among measured targets", f"x,y\n{MEASURED}\n1,soon\n", "`table`, row 51.*`y`.*`soon`.*`--task class"),
    csv("NaN as a target", f"x,y\n{MEASURED}\n1,nan\n", "`table`, row 51.*target.*`y`"),
    csv("infinity as a target", f"x,y\n{MEASURED}\n1,-inf\n", "`table`, row 51.*`y`.*finite.*`-inf`"),
    csv("a constant target", "x,y\n" + "\n".join(f"{i / 2},2.5" for i in range(50)), "`y` is 2.5 in all training"),
    csv("large numbers", "x,y\n" + "\n".join(f"{2**52 + i},{i % 2}" for i in range(50)), "float32 only 1 of 36"),
    csv("columns of one name", f"x,x,y\n{ROWS.replace(',', ',1,')}\n", "`x`; rename"),
    csv("nothing but labels", "y\na\nb\n", "`table`.*no features.*`y`"),
    csv("a single class", ROWS.replace("b", "a").join(["x,y\n", "\n"]), "table.*`a`.*nothing to learn"),
    csv("no column with a value", "z,y\n" + "\n".join([",a", ",b"] * 20), r"`table`.*feature.*`z` \(empty\)"),
    csv("keys", "x,y\n" + "\n".join(f"k{i},{i % 2}" for i in range(3000)), r"`table`.*feature.*`x` \(key\)"),
    Case("torn Parquet file", _torn_parquet, r"table\.parquet`.*Parquet", streams=True),
    npz("NaN", "`x_train`.*nan.*index", x_train=np.where(BIG == 5, np.nan, BIG)),
    npz("too large a number", "`x_train`.*inf.*index", x_train=np.where(BIG == 5, 1e300, BIG)),
    npz("label only in test", "`7`.*`y_test`.*`y_train`", y_test=np.arange(20) % 2 * 7),
    npz("one class in arrays", "`3`.*nothing to learn", y_train=np.full(20, 3), y_test=np.full(20, 3)),
    npz("test of another shape", r"`x_train` and `x_test`.*\(4,\) and \(3,\)", x_test=BIG[:, :3]),
    npz("as many labels as examples", "`x_train` and `y_train`.*20 and 19", y_train=np.arange(19) % 2),
    npz("more targets than in the test", "2 in `y_train`, 1 in `y_test`", y_train=np.full((20, 2), 0.5)),
    npz("rows of scores", "`target_1` is 0.5 in all", y_train=np.full((20, 2), 0.5), y_test=np.full((20, 2), 0.5)),
    npz("rows with two ones", "every.*label `target_1`", y_train=np.ones((20, 2)), y_test=np.ones((20, 2))),
    npz("a label beside 0 and 1", "`y_test`.*0 or 1.*2.* at index 0", y_train=PAIRS // 2 % 2, y_test=PAIRS + 2),
    npz("NaN as a label", "`y_train`.*nan at index 5", y_train=np.where(np.arange(20) == 5, np.nan, 1)),
    npz("NaN as a measured target", "`y_train`.*nan at index 5", y_train=np.where(np.arange(20) == 5, np.nan, 0.5)),
    npz("too large a target", "`y_test`.*float32.*1e\\+60.* at index 0", y_train=np.arange(20) / 2, y_test=HUGE),
    npz("a constant target in arrays", "The target is 0.5 in all", y_train=np.full(20, 0.5), y_test=np.full(20, 0.5)),
    npz("a line break in a label", r"'a\\nb'.*'\\n'", y_train=LINES, y_test=LINES),
    npz("an empty label", "label ''", y_train=EMPTY, y_test=EMPTY),
    npz("bytes of another encoding", "`y_train`.*UTF-8", y_train=np.array([b"\xe4", b"c"] * 10)),
    npz("texts as features", "`x_train`.*numbers", x_train=BIG.astype(str)),
    content("damaged npz", "torn.npz", b"PK\3\4" + bytes(40), r"torn\.npz`.*`\.npz`"),
    content("empty npz", "empty.npz", b"", r"empty\.npz` is empty"),
    content("a file of another kind", "notes.rtf", b"hello", r"notes\.rtf`.*`digits`"),
    idx_files("wrong magic number", b"\1\0\x08\3" + bytes(20), "not an IDX file.*01 00 08 03"),
    idx_files("wrong length", idx(IMAGES)[:-1], r"616 .*\(30, 4, 5\).*615"),
    idx_files("truncated gzip", gzip.compress(idx(IMAGES), mtime=0)[:-9], "cannot be unzipped"),
    images("empty class folder", lambda f: (f / "eel").mkdir(), r"eel`.*no image"),
    images("corrupt image", lambda f: (f / "cat" / "3.png").write_bytes(b"\x89PNG x"), r"cat/3\.png`"),
    images(
        "images of two sizes",
        lambda f: Image.new("L", (8, 9)).save(f / "dog" / "9.png"),
        r"several sizes.*19 of 4x5, 1 of 9x8.*dog/9\.png` has 9x8.*--image-size",
    ),
    Case("no classes", lambda f: [str(f)], "folder.*IDX"),
    Case(
        "a share of nothing",
        lambda f: ["digits", "--test-share", "1.5"],
        "test.share` .*1.5",
    ),
]


@pytest.mark.parametrize(
    ("case", "stream"),
    [
        pytest.param(case, stream, id=case.what + ", streamed" * stream)
        for case in CASES
        for stream in sorted({False, case.streams})
    ],
)
def test_bad_data_are_refused_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, case: Case, stream: bool
) -> None:
    arguments = case.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    status = main(["train", *arguments, "--hidden", "4", "--out", "run", *(["--stream"] if stream else [])])
    said = capfd.readouterr().err.splitlines()
    (err,) = (line for line in said if not line.startswith("Reading "))
    assert status == 2, err
    assert re.search(case.message, err), err
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnist", "`mnist`.*data.dir"),
        ("openml:mnist_784", "openml.org cannot be reached, so `mnist_784`"),
    ],
)
def test_sources_out_of_reach_are_named_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    def no_network(*address: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between retries
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    assert main(["train", source]) == 2
    err = capfd.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


def test_a_column_of_lists_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lists.parquet"
    pd.DataFrame({"x": [[1, 2]] * 40, "y": ["a", "b"] * 20}).to_parquet(path)
    for options in ([], ["--stream"]):
        assert main(["train", str(path), *SMALL, *options]) == 2
        assert re.search(r"lists\.parquet`.*`x`.*list<element: int64>", capfd.readouterr().err)


def test_a_table_without_a_column_of_the_training_rows_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, digits_run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("x,y\n" + ROWS, encoding="utf-8")
    Path("other.csv").write_text("xx,y\n" + ROWS, encoding="utf-8")
    assert main(["train", "one.csv", *SMALL]) == 0
    capfd.readouterr()
    for options in ([], ["--stream"]):
        assert main(["evaluate", "run", "other.csv", "--target", "y", *options]) == 2
        assert "`xx`" in capfd.readouterr().err
        assert main(["evaluate", str(digits_run.path), "one.csv", "--target", "y", *options]) == 2
        assert "`one` is a table" in capfd.readouterr().err
    assert main(["evaluate", "run", "digits"]) == 2
    assert "`digits`" in capfd.readouterr().err


def test_you_are_warned_about_classes_with_few_examples(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rare = "\n".join(["7,once", "8,few", "9,few", "5,few"])
    Path("rare.csv").write_text(f"x,y\n{ROWS}\n{rare}\n", encoding="utf-8")
    assert main(["train", "rare.csv", *SMALL]) == 0
    err = capfd.readouterr().err
    assert "The classes `few`, `once` have no example in validation, so" in err
    assert "The class `once` has no example in test, so" in err
    assert "The classes `few`, `once` have fewer than 5 training examples" in err
    assert "`once` has no example in test" in Path("run/data.json").read_text(encoding="utf-8")
