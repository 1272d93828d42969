"""Table files as streams of Arrow tables: encodings, line ends, damage, types, and errors that name the row."""

from __future__ import annotations

import csv
import gzip
import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from kerasmlp.data import text_rows
from kerasmlp.data.raw_tables import TABLE_SUFFIXES, TableOptions, open_table
from kerasmlp.errors import InvalidValue, NotFound
from tests.helpers.damaged_files import damage

ROWS = [["größe", "sw", "kind"], ["4.9", "3.15", "weiß"], ["5.87", "2.42", "grün"], ["7.44", "2.53", 'so "rot", ja']]


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text(rows: list[list[str]], separator: str = ",", line_end: str = "\n") -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator=line_end).writerows(rows)
    return file.getvalue()


def read(path: Path, **options: Any) -> list[list[Any]]:
    """The names and the rows of a file."""
    table = open_table(path, TableOptions(**options))
    rows = [list(table.names)]
    for piece in table.pieces():
        assert tuple(piece.column_names) == table.names
        assert not table.is_text or set(piece.schema.types) == {pa.string()}
        rows += [list(row.values()) for row in piece.to_pylist()]
    return rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("zipped", [False, True])
def test_encodings_line_ends_and_gzip_are_recognised(
    tmp_path: Path, encoding: str, line_end: str, zipped: bool
) -> None:
    content = text(ROWS, ";", line_end).encode(encoding)
    path = write(tmp_path / "a.csv", gzip.compress(content) if zipped else content)
    assert read(path) == ROWS
    assert any("not UTF-8" in note for note in open_table(path).notes) == (encoding == "cp1252")


def test_an_encoding_is_found_even_if_only_the_last_row_shows_it(tmp_path: Path) -> None:
    content = "a,b\n" + "1,x\n" * 40_000
    assert read(write(tmp_path / "a.csv", (content + "2,é\n").encode("cp1252")))[-1] == ["2", "é"]
    assert read(write(tmp_path / "b.csv", (content + "2,é\n").encode()))[-1] == ["2", "é"]
    path = write(tmp_path / "c.csv", (content + "2,é\n3,éé\n").encode() + b"4,\xe9\n")
    with pytest.raises(InvalidValue, match=r"c.csv`, row 40003 is not UTF-8.*encoding="):
        read(path)


def test_the_encoding_of_the_user_is_used(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b\nжизнь,1\n".encode("cp1251"))
    assert read(path, encoding="cp1251")[1] == ["жизнь", "1"]
    with pytest.raises(InvalidValue, match="row 1 is not UTF-8"):
        read(path, encoding="utf-8")


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ('a,b\n"x\ny",1\n', [["x\ny", "1"]]),
        ('a,b\n"say ""x""",1\n', [['say "x"', "1"]]),
        ('a, "b"\n1, "x, y"\n2, "z"\n', [["1", "x, y"], ["2", "z"]]),
        ('a,b\n5" pipe,1\n6" pipe,2\n', [['5" pipe', "1"], ['6" pipe', "2"]]),
        ('a,b\n5" pipe,1\n', [['5" pipe', "1"]]),
        ("a,b\n x ,1\n", [[" x ", "1"]]),
        ("a,b\n,\n1,2\n", [["", ""], ["1", "2"]]),
        ("a,b\n1,2\n\n   \n3,4\n\n\n", [["1", "2"], ["3", "4"]]),
        ("a,b,\n1,2,\n", [["1", "2"]]),
        ("x\n1\n\n3\n\n\n", [["1"], [""], ["3"]]),
        ('x\n1\n""\n', [["1"], [""]]),
        ("a,b\n1,2", [["1", "2"]]),
    ],
)
def test_values_are_read_as_they_are_written(tmp_path: Path, content: str, rows: list[list[str]]) -> None:
    assert read(write(tmp_path / "a.csv", content))[1:] == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("separator", [",", ";", "|", "\t", ":", "^"])
def test_quotes_after_a_blank_enclose_values_in_every_encoding_and_with_every_separator(
    tmp_path: Path, encoding: str, separator: str
) -> None:
    lines = ['size, "colour", "kind"', '1, "a", "red"', '2,  "b", "a "" sign"', '3, "c,", "blue"']
    path = write(tmp_path / "a.csv", "\n".join(line.replace(",", separator) for line in lines).encode(encoding))
    expected = [["1", "a", "red"], ["2", "b", 'a " sign'], ["3", f"c{separator}", "blue"]]
    assert read(path, separator="tab" if separator == "\t" else separator)[1:] == expected


def test_large_files_are_read_in_pieces_and_in_order_by_both_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_rows, "_BLOCK_BYTES", 2**17)
    rows = [[str(index), f"line\n{index}" if index % 7 == 0 else "x" * 20] for index in range(30_000)]
    path = write(tmp_path / "fast.csv", text([["a", "b"], *rows]))
    table = open_table(path)
    pieces = list(table.pieces())
    assert len(pieces) > 1
    assert pa.concat_tables(pieces)["a"].to_pylist() == [row[0] for row in rows]
    assert [piece.num_rows for piece in table.pieces()] == [piece.num_rows for piece in pieces]
    # A blank before a quote, in the last row only, needs the careful reader from the start.
    careful = text([["a", "b"], *rows]) + '9, "x, y"\n'
    assert read(write(tmp_path / "careful.csv", careful))[1:] == [*rows, ["9", "x, y"]]
    # A value longer than a block, which PyArrow refuses: the careful reader goes on where it stopped.
    longer = text([["a", "b"], *rows]) + " " * 2**18 + "\n8,z\n"
    assert read(write(tmp_path / "long.csv", longer))[1:] == [*rows, ["8", "z"]]


@pytest.mark.parametrize("num_rows", [3, 30_000])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("5", "has 1 value; expected 3"),
        ("5,6,7,8", "has 4 values; expected 3"),
        ('5,"6,7', "a quote is opened and never closed"),
        ('5,6,"7', "a quote is opened and never closed"),
    ],
)
def test_the_error_names_the_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_rows: int, bad: str, message: str
) -> None:
    monkeypatch.setattr(text_rows, "_BLOCK_BYTES", 2**15)  # so that rows are read before the error is found
    path = write(tmp_path / "a.csv", "a,b,c\n" + "1,2,3\n" * num_rows + bad + "\n1,2,3\n")
    with pytest.raises(InvalidValue, match=f"a.csv`, row {num_rows + 1}.* {message}"):
        read(path)


def test_a_value_in_an_unnamed_column_that_looked_empty_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a,b,\n" + "1,2,\n" * 40_000 + "1,2,7\n")
    assert open_table(path).names == ("a", "b")
    with pytest.raises(InvalidValue, match=r"row 40001 .*column 3, `7`"):
        read(path)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.csv", "a,b\n1,2\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (gzip.compress(b""), "empty"),
        (gzip.compress(b"a,b\n1,2\n" * 500)[:-20], "damaged gzip"),
        (_zip(), "ZIP archive"),
        (b"PAR1" + bytes(50), "Parquet"),
        (b"a,b\n1,\x002\n", "NUL"),
        (bytes(range(256)), "not a text file"),
    ],
    ids=["empty", "empty gzip", "damaged gzip", "zip", "parquet", "nul", "binary"],
)
def test_files_that_are_not_text_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"a.csv`.*{message}"):
        open_table(write(tmp_path / "a.csv", content))


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="a.csv"):
        open_table(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("option", "value"),
    [("separator", ";;"), ("separator", ""), ("separator", '"'), ("decimal", "x"), ("encoding", "klingon")],
)
def test_options_are_checked(tmp_path: Path, option: str, value: str) -> None:
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    with pytest.raises(InvalidValue, match=f"`{option}='{value}'`"):
        read(path, **{option: value})


def test_options_override_the_detection(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "a:b\n1,5:2\n")
    assert read(path, separator=":") == [["a", "b"], ["1,5", "2"]]
    assert open_table(path, TableOptions(separator=":", decimal=".")).decimal == "."
    assert read(write(tmp_path / "b.csv", "a,b\tc\n1\t2\n"), separator="tab") == [["a,b", "c"], ["1", "2"]]


FRAME = pd.DataFrame(
    {
        "n": pd.array([1, None, 3], "Int64"),
        "x": [1.5, 2.5, np.nan],
        "kind": pd.Categorical(["a", "b", "a"]),
        "day": pd.to_datetime(["2024-01-01", "2024-01-02", None]),
        " word ": ["u", None, "w"],
    }
)
VALUES = [
    ["n", "x", "kind", "word"],
    [1, 1.5, "a", "u"],
    [None, 2.5, "b", None],
    [3, None, "a", "w"],
]


@pytest.mark.parametrize("suffix", [".parquet", ".feather", ".arrow", ".jsonl", ".ndjson"])
def test_typed_files_keep_their_types(tmp_path: Path, suffix: str) -> None:
    path, frame = tmp_path / f"a{suffix}", FRAME.drop(columns="day")
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix in (".feather", ".arrow"):
        frame.to_feather(path)
    else:
        frame.to_json(path, orient="records", lines=True)
    assert read(path) == VALUES
    table = open_table(path)
    assert (table.is_text, table.decimal, table.notes) == (False, None, ())
    schema = next(table.pieces()).schema
    assert [schema.field(name).type for name in table.names] == [pa.int64(), pa.float64(), pa.string(), pa.string()]


def test_the_index_of_a_pandas_frame_is_left_out_and_reported(tmp_path: Path) -> None:
    FRAME.set_index("kind").to_parquet(tmp_path / "a.parquet")
    table = open_table(tmp_path / "a.parquet")
    assert table.names == ("n", "x", "day", "word")
    assert "`kind`" in table.notes[0]


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}])
def test_nested_columns_are_refused_by_name(tmp_path: Path, value: Any) -> None:
    pa.parquet.write_table(pa.table({"x": [1], "deep": [value]}), tmp_path / "a.parquet")
    with pytest.raises(InvalidValue, match=r"a.parquet`.*`deep`.*nested"):
        open_table(tmp_path / "a.parquet")


def test_two_columns_of_a_typed_file_with_equal_names_are_refused(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table([[1], [2]], names=["x", "x "]), tmp_path / "a.parquet")
    with pytest.raises(InvalidValue, match="two columns called `x`"):
        open_table(tmp_path / "a.parquet")


def _contents() -> dict[str, bytes]:
    table = text([*ROWS, *ROWS[1:] * 10]).encode()
    parquet, arrow = io.BytesIO(), io.BytesIO()
    FRAME.to_parquet(parquet)
    FRAME.to_feather(arrow)
    return {
        "a.csv": table,
        "b.csv": text(ROWS, ";").encode("utf-16"),
        "c.csv.gz": gzip.compress(table, mtime=0),
        "d.data": b"1 2 3\n4 5 6\n" * 20,
        "e.parquet": parquet.getvalue(),
        "f.arrow": arrow.getvalue(),
        "g.jsonl": b'{"a": 1, "b": "x"}\n' * 20,
    }


def check_damaged(folder: Path, seed: int) -> bool:
    """Reads a damaged file, and returns whether it could be read. It may be refused, but never otherwise fail."""
    name, content = list(CONTENTS.items())[seed % len(CONTENTS)]
    path = write(folder / name, damage(content, seed))
    began = time.perf_counter()
    error = None
    try:
        read(path)
    except InvalidValue as refused:
        error = str(refused)
    # Reading takes milliseconds; the limit leaves room for a busy machine, and for imports at first.
    assert time.perf_counter() - began < (10 if seed < len(CONTENTS) else 1), f"seed {seed} took too long"
    assert error is None or str(path) in error, f"seed {seed}"
    return error is None


CONTENTS = _contents()


def test_damaged_files_are_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    num_read = sum(check_damaged(tmp_path, seed) for seed in range(210))
    assert 20 < num_read < 190


def test_suffixes_of_text_may_be_followed_by_gz() -> None:
    assert {".csv", ".tsv", ".data", ".txt", ".csv.gz", ".parquet"} <= set(TABLE_SUFFIXES)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "punycode"])
def test_text_in_another_encoding_than_the_user_says_is_refused(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,ö\n")
    with pytest.raises(InvalidValue, match="a.csv` is not .* text"):
        open_table(tmp_path / "a.csv", TableOptions(encoding=encoding))
