"""Data that no network can learn from: each is refused with one sentence that says where, and exit status 2."""

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
from tests.data.test_file_readers import idx, write_idx, write_images

SMALL = ["--target", "y", "--test-share", "0.2", "--hidden", "4", "--batch-size", "4", "--out", "run"]
ROWS = "\n".join(f"{i},{'ab'[i % 2]}" for i in range(20))


@dataclasses.dataclass(frozen=True)
class Case:
    """Something that users have, and what they are told.

    Attributes:
        what: What is wrong, the test's name.
        write: Writes it to an empty folder, and returns what is typed after `kerasmlp train`.
        message: The sentence, or the part of it that matters.
        streams: Whether it can be streamed, too, and is then answered in the same words.
    """

    what: str
    write: Callable[[Path], list[str]]
    message: str
    streams: bool = False


def csv(what: str, content: str | bytes, message: str, target: str | None = "y") -> Case:
    """A CSV file of this content."""

    def write(folder: Path) -> list[str]:
        path = folder / "table.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return [str(path), "--test-share", "0.2", *(["--target", target] if target else [])]

    return Case(what, write, message, streams=True)


def npz(what: str, message: str, **changes: Any) -> Case:
    """Arrays in Keras's layout, but for these."""

    def write(folder: Path) -> list[str]:
        x, y = np.arange(80, dtype=np.float32).reshape(20, 4), np.arange(20) % 2
        np.savez(folder / "arrays.npz", **{"x_train": x, "y_train": y, "x_test": x, "y_test": y, **changes})
        return [str(folder / "arrays.npz")]

    return Case(what, write, message)


def content(what: str, name: str, data: bytes, message: str) -> Case:
    """A file of these bytes."""

    def write(folder: Path) -> list[str]:
        (folder / name).write_bytes(data)
        return [str(folder / name)]

    return Case(what, write, message)


def images(what: str, change: Callable[[Path], object], message: str) -> Case:
    """Images of cats and dogs, changed."""

    def write(folder: Path) -> list[str]:
        change(write_images(folder / "pets"))
        return [str(folder / "pets"), "--test-share", "0.2"]

    return Case(what, write, message, streams=True)


def idx_files(what: str, data: bytes, message: str) -> Case:
    """IDX files, the training images of which hold these bytes."""

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
CASES = [
    Case("missing file", lambda f: [str(f / "mnits.npz")], r"There is no file `.*mnits\.npz`"),
    Case("missing column of a name", lambda f: ["mnits"], "no data source `mnits`. Did you mean `mnist`"),
    csv("empty file", "", r"table\.csv` is empty; a table was expected"),
    csv("only a header", "x,y\n", "has no row; examples were expected"),
    csv("too many values", f"x,y\n{ROWS}\n1,a,2\n", r"table\.csv`, row 21 has 3 values; its 2 columns need as many"),
    csv("too few values", f"x,y\n{ROWS}\n1\n", r"table\.csv`, row 21 has 1 values"),
    csv("ragged within quotes", f'x,y\n"1","a"\n{ROWS}\n1,a,2\n', "row 22 has 3 values"),
    csv("text among numbers", f"x,y\n{ROWS}\nmany,a\n", "row 21: the column `x` holds numbers but for `many`"),
    csv("infinity", f"x,y\n{ROWS}\ninf,a\n", "row 21: the column `x` needs finite numbers; got `inf`"),
    csv("row without a label", f"x,y\n{ROWS}\n1,\n", "row 21 has no label in the column `y`"),
    csv("unknown target", f"length,kind\n{ROWS}\n", "no column `lenght`. Did you mean `length`", "lenght"),
    csv("no target", f"x,y\n{ROWS}\n", "needs `--target COLUMN`.*its columns are x, y", None),
    csv("semicolons", f"x;y\n{ROWS.replace(',', ';')}\n", "one column, `x;y`; values need commas between them"),
    csv("measured labels", "x,y\n" + "\n".join(f"1,{i / 7}" for i in range(50)), "50 of 50 labels are different"),
    csv("large numbers", "x,y\n" + "\n".join(f"{2**52 + i},{i % 2}" for i in range(50)), "float32 only 1 of 36"),
    csv("columns of one name", f"x,x,y\n{ROWS.replace(',', ',1,')}\n", "two columns `x`; rename one"),
    csv("nothing but labels", "y\na\nb\n", "no column beside `y`; features were expected"),
    csv("a single class", "x,y\n" + "\n".join(f"{i},a" for i in range(20)), "at least two classes; all labels are `a`"),
    csv(
        "column without a value", "x,z,y\n" + ROWS.replace(",", ",,"), "the column `z` has no value in any training row"
    ),
    csv("wrong encoding", "x,y\nä,b\n".encode("latin-1"), r"table\.csv` is not UTF-8 text"),
    csv("keys", "x,y\n" + "\n".join(f"k{i},{i % 2}" for i in range(3000)), "more likely a name or a key"),
    Case("torn Parquet file", _torn_parquet, r"table\.parquet` cannot be read as a Parquet file", streams=True),
    npz("NaN", "needs finite numbers; got nan at index", x_train=np.where(BIG == 5, np.nan, BIG)),
    npz("too large a number", "needs finite numbers; got inf", x_train=np.where(BIG == 5, 1e300, BIG)),
    npz("label only in test", "label `7` occurs in `y_test` but not in `y_train`", y_test=np.arange(20) % 2 * 7),
    npz(
        "one class in arrays", "at least two classes; all labels are `3`", y_train=np.full(20, 3), y_test=np.full(20, 3)
    ),
    npz("test of another shape", r"need one shape; got \(4,\) and \(3,\)", x_test=BIG[:, :3]),
    npz("as many labels as examples", "same number of examples; got 20 and 19", y_train=np.arange(19) % 2),
    npz("one-hot labels", "One-hot rows become labels", y_train=np.eye(2)[np.arange(20) % 2]),
    npz("texts as features", "`x_train` needs numbers", x_train=BIG.astype(str)),
    content("damaged npz", "torn.npz", b"PK\3\4" + bytes(40), r"torn\.npz` cannot be read as an `\.npz` file"),
    content("empty npz", "empty.npz", b"", r"empty\.npz` is empty"),
    content(
        "a file of another kind", "notes.txt", b"hello", r"notes\.txt` is no source of examples. Known are `digits`"
    ),
    idx_files("wrong magic number", b"\1\0\x08\3" + bytes(20), "no IDX file: it begins with 01 00 08 03"),
    idx_files("wrong length", idx(IMAGES)[:-1], r"\(30, 4, 5\), which takes 616 bytes; it has 615"),
    idx_files("truncated gzip", gzip.compress(idx(IMAGES), mtime=0)[:-9], "be unzipped, it may be truncated"),
    images("empty class folder", lambda f: (f / "eel").mkdir(), r"class folder `.*eel` holds no image"),
    images("corrupt image", lambda f: (f / "cat" / "3.png").write_bytes(b"\x89PNG x"), r"cat/3\.png` cannot be read"),
    images(
        "images of two sizes",
        lambda f: Image.new("L", (8, 9)).save(f / "dog" / "9.png"),
        r"dog/9\.png` has 8x9 pixels.*cat/0\.png` has 5x4; all images need the same size",
    ),
    Case("no classes", lambda f: [str(f)], "folder with neither IDX files nor class folders of images"),
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
def test_bad_data_are_refused_with_a_sentence(
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
        ("mnist", "not prepared in TensorFlow Datasets' own folder, and no network reaches .*`--data-dir`"),
        ("openml:mnist_784", "openml.org is out of reach, so `mnist_784` cannot be fetched"),
    ],
)
def test_sources_out_of_reach_are_told_in_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    def no_network(*address: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between tries
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    assert main(["train", source]) == 2
    err = capfd.readouterr().err.strip()
    assert len(err.splitlines()) == 1
    assert re.search(message, err), err


def test_columns_of_lists_are_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lists.parquet"
    pd.DataFrame({"x": [[1, 2]] * 40, "y": ["a", "b"] * 20}).to_parquet(path)
    for options in ([], ["--stream"]):
        assert main(["train", str(path), *SMALL, *options]) == 2
        assert "The column `x` holds values of type ndarray" in capfd.readouterr().err


def test_rows_that_lack_a_column_of_training_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, digits_run: Run
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.csv").write_text("x,y\n" + ROWS, encoding="utf-8")
    Path("other.csv").write_text("xx,y\n" + ROWS, encoding="utf-8")
    assert main(["train", "one.csv", *SMALL]) == 0
    capfd.readouterr()
    for options in ([], ["--stream"]):
        assert main(["evaluate", "run", "other.csv", "--target", "y", *options]) == 2
        assert "needs a column `x`, as the training rows had. Did you mean `xx`" in capfd.readouterr().err
        assert main(["evaluate", str(digits_run.path), "one.csv", "--target", "y", *options]) == 2
        assert "`one` is a table, but the network was not trained on a table" in capfd.readouterr().err
    assert main(["evaluate", "run", "digits"]) == 2
    assert "was trained on a table, and digits is none" in capfd.readouterr().err


def test_classes_with_few_examples_are_told_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rare = "\n".join(["7,once", "8,few", "9,few", "5,few"])
    Path("rare.csv").write_text(f"x,y\n{ROWS}\n{rare}\n", encoding="utf-8")
    assert main(["train", "rare.csv", *SMALL]) == 0
    err = capfd.readouterr().err
    assert "Each of the classes `few`, `once` has no example in validation, so no choice is made on it." in err
    assert "The class `once` has no example in test, so the test says nothing of it." in err
    assert "Each of the classes `few`, `once` has fewer than 5 training examples" in err
    Path("ids.csv").write_text("x,y\n" + "\n".join(f"n{i},{'ab'[i % 2]}" for i in range(60)), encoding="utf-8")
    assert main(["train", "ids.csv", *SMALL[:-2], "--out", "ids"]) == 0
    assert "The column `x` has 44 different values in 44 training rows" in capfd.readouterr().err
    assert "`once` has no example in test" in Path("run/data.json").read_text(encoding="utf-8")
