"""Tables as people have them: one table in any form is the same data, and later files are read as the network knows.

Each test rebuilds a kind of file that people had trouble with, in a few rows.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kerasmlp import data_from_frame, load_data
from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.prediction_files import read_inputs
from kerasmlp.data.raw_rows import arrow_table
from kerasmlp.data.raw_tables import TableOptions
from kerasmlp.data.readers.choosing import read_source
from kerasmlp.data.source import SourceOptions
from kerasmlp.data.types import Data
from kerasmlp.errors import InvalidValue

KINDS = ("grün", "rot", "weiß")


def flowers(rows: int = 60) -> pd.DataFrame:
    """Numbers with two digits behind the point, and three names of which two are not ASCII."""
    generator = np.random.default_rng(0)
    numbers = generator.uniform(-9, 9, (rows, 2)).round(2)
    kinds = np.array(KINDS)[np.arange(rows) % 3]
    return pd.DataFrame({"größe": numbers[:, 0], "pl": numbers[:, 1], "kind": kinds})


TEXT = flowers().to_csv(index=False)
LINES = TEXT.splitlines()
COMMA = TEXT.replace(",", ";").replace(".", ",")

# The table of `flowers` in many forms, by the name of the file.
FORMS: dict[str, bytes] = {
    "semicolons.csv": TEXT.replace(",", ";").encode(),
    "decimal commas.csv": COMMA.encode(),
    "decimal commas and CRLF.csv": COMMA.replace("\n", "\r\n").encode(),
    "decimal commas in quotes.csv": flowers().to_csv(index=False, decimal=",", quoting=csv.QUOTE_ALL).encode(),
    "sep line.csv": f"sep=;\n{TEXT.replace(',', ';')}".encode(),
    "sep line and decimal commas.csv": f"sep=;\r\n{COMMA}".encode(),
    "tabs.csv": TEXT.replace(",", "\t").encode(),
    "tabs.tsv": TEXT.replace(",", "\t").encode(),
    "bars.txt": TEXT.replace(",", "|").encode(),
    "blanks.data": TEXT.replace(",", "   ").encode(),
    "carriage returns.csv": TEXT.replace("\n", "\r").encode(),
    "blanks around values.csv": TEXT.replace(",", " , ").encode(),
    "byte order mark.csv": TEXT.encode("utf-8-sig"),
    "UTF-16.csv": TEXT.encode("utf-16"),
    "UTF-16 without mark.csv": TEXT.encode("utf-16-be"),
    "Windows-1252.csv": TEXT.encode("cp1252"),
    "Windows-1252 with semicolons.csv": COMMA.encode("cp1252"),
    "comment.csv": f"# exported 2024-05-01, by LogTool 3.1\n{TEXT}".encode(),
    "title.csv": f"Flowers of the garden\n\n{TEXT}".encode(),
    "trailing commas.csv": TEXT.replace("\n", ",\n").encode(),
    "trailing commas in rows.csv": "\n".join([LINES[0], *(f"{line}," for line in LINES[1:])]).encode(),
    "blank lines.csv": TEXT.replace("\n", "\n\n").encode(),
    "reversed.csv": "\n".join([LINES[0], *LINES[:0:-1]]).encode(),
    "zipped.csv.gz": gzip.compress(COMMA.encode("cp1252")),
}
TYPED: dict[str, Callable[[pd.DataFrame], pa.Table]] = {
    "floats.parquet": pa.Table.from_pandas,
    "decimals.parquet": lambda table: pa.table(
        {name: column.cast(pa.decimal128(10, 2)) if name != "kind" else column for name, column in _columns(table)}
    ),
    "texts.parquet": lambda table: pa.table({name: column.cast(pa.string()) for name, column in _columns(table)}),
    "categories.parquet": lambda table: pa.table(
        {name: column.dictionary_encode() if name == "kind" else column for name, column in _columns(table)}
    ),
    "index.parquet": lambda table: pa.Table.from_pandas(table.set_index(pd.Index(np.arange(60) ** 2, name="user"))),
}


def _columns(table: pd.DataFrame) -> list[tuple[str, pa.ChunkedArray]]:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    return list(zip(arrow.column_names, arrow.columns, strict=True))


def write(path: Path, content: bytes | str | pa.Table) -> Path:
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def form(name: str) -> bytes | pa.Table:
    return TYPED[name](flowers()) if name in TYPED else FORMS[name]


@pytest.fixture(scope="module")
def plain() -> Data:
    return data_from_frame(flowers(), "kind", test_share=0.2)


@pytest.mark.parametrize("name", [*FORMS, *TYPED])
def test_the_same_table_is_the_same_data_in_every_form(tmp_path: Path, plain: Data, name: str) -> None:
    data = load_data(write(tmp_path / name, form(name)), target="kind", test_share=0.2)
    assert (data.class_names, data.encoder) == (KINDS, plain.encoder)
    assert data.fingerprint == plain.fingerprint
    for part in ("train", "validation", "test"):
        one, other = getattr(data, part), getattr(plain, part)
        order, wanted = np.lexsort(one.features.T), np.lexsort(other.features.T)
        np.testing.assert_array_equal(one.features[order], other.features[wanted])
        np.testing.assert_array_equal(one.labels[order], other.labels[wanted])


@pytest.mark.parametrize(
    "name", ["decimal commas in quotes.csv", "carriage returns.csv", "UTF-16.csv", "zipped.csv.gz"]
)
@pytest.mark.usefixtures("small_pieces")
def test_every_form_can_be_streamed(tmp_path: Path, plain: Data, name: str) -> None:
    data = load_data(write(tmp_path / name, form(name)), target="kind", test_share=0.2, stream=True)
    assert (data.fingerprint, data.class_names, data.encoder) == (plain.fingerprint, KINDS, plain.encoder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("decimal commas.csv", "semicolons, decimal comma"),
        ("tabs.csv", "tabs"),
        ("Windows-1252.csv", "Windows-1252"),
        ("comment.csv", "LogTool"),
        ("index.parquet", "`user`"),
    ],
)
def test_what_was_detected_is_reported(tmp_path: Path, name: str, words: str) -> None:
    data = load_data(write(tmp_path / name, form(name)), target="kind", test_share=0.2)
    assert words in " ".join([data.format, *data.reading_notes])


def test_a_plain_table_needs_no_note(tmp_path: Path) -> None:
    assert not load_data(write(tmp_path / "plain.csv", TEXT), target="kind", test_share=0.2).reading_notes


def test_a_table_without_a_header_keeps_all_its_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "headless.csv", "\n".join(LINES[1:]))
    data = load_data(path, target="column_3", test_share=0.2)
    assert len(data.train) + len(data.validation) + len(data.test) == 60
    assert "looks like data" in " ".join(data.reading_notes)
    with pytest.raises(InvalidValue, match="`rot`.*looks like data"):
        load_data(path, target="rot", test_share=0.2)


def column(values: list[Any], **wanted: str) -> Data:
    """Data with these values in column `x`, again and again, beside a number and two classes."""
    rows = np.random.default_rng(0).permutation(60) + 0.25
    table = pd.DataFrame({"x": (values * 60)[:60], "other": rows, "y": ["a", "a", "b", "b"] * 15})
    return data_from_frame(table, "y", test_share=0.2, columns=wanted)


def kind_of(data: Data) -> str:
    assert data.encoder is not None
    return data.encoder.columns[0].kind


def numbers_of(data: Data, values: list[Any]) -> list[float]:
    """What the encoder of the data makes of each value, read alone."""
    assert data.encoder is not None
    rows = [pd.DataFrame({"x": [value], "other": [0.0]}) for value in values]
    return [float(data.encoder.encode(row, source="x")[0, 0]) for row in rows]


HOUR = 3600.0


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (["62,250", "150,000", "7"], [62250, 150000, 7]),
        (["1,234.5", "12,345,678.25", "0.5"], [1234.5, 12345678.25, 0.5]),
        (["1.234,5", "-7,25", "12"], [1234.5, -7.25, 12]),
        (["4,9", "5,87", "7"], [4.9, 5.87, 7]),
        (["1 234,5", "12 345,25", "7,5"], [1234.5, 12345.25, 7.5]),
        (["57%", "9 %", "100%"], [57, 9, 100]),
        (["$275", "$1,500", "$622.50"], [275, 1500, 622.5]),
        (["12,50 €", "7 €", "1.234,00 €"], [12.5, 7, 1234]),
        (["23.4 kmpl", "19 kmpl", "20.25 kmpl"], [23.4, 19, 20.25]),
        (["998 CC", "1248 CC", "2 CC"], [998, 1248, 2]),
        (["(5)", "12", "(7.5)"], [-5, 12, -7.5]),
        (["+1", "-1", "+0.5"], [1, -1, 0.5]),
        (["1e3", "2.5E-2", "7"], [1000, 0.025, 7]),
        (["1:30:00", "0:00:05", "26:00:00"], [1.5 * HOUR, 5, 26 * HOUR]),
        (["2 days 01:00:00", "0 days 00:30:00"], [49 * HOUR, 0.5 * HOUR]),
        (["7", "?", "9"], [7, 9]),
        (["7", "NA", "9", "n/a", "8", "null", "-", "", "NaN", "None"], [7, 9, 8]),
        (["0", "1", "1"], [0, 1, 1]),
        (["5"], [5]),
        ([1, 2.5, None], [1, 2.5]),
    ],
)
def test_numbers_are_numbers_however_they_are_written(values: list[Any], numbers: list[float]) -> None:
    data = column(values)
    assert kind_of(data) == "number"
    words = ("?", "NA", "n/a", "null", "-", "", "NaN", "None", None)
    present = [value for value in values if value not in words]
    assert numbers_of(data, present) == pytest.approx(numbers, rel=1e-6)  # float32
    assert (f"{'x'} is missing" in data.encoder.feature_names) == (len(present) < len(values))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "pattern",
    ["%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%y", "%b %d, %Y", "%d %B %Y", "%Y-%m-%dT%H:%M:%SZ"],
)
def test_dates_are_days_however_they_are_written(pattern: str) -> None:
    days = pd.date_range("2024-01-20", periods=60)
    data = column(list(days.strftime(pattern)))
    assert kind_of(data) == "date"
    assert data.encoder is not None
    assert data.encoder == column(list(days)).encoder
    found = numbers_of(data, list(days[[0, 1, 59]].strftime(pattern)))
    assert np.diff(found).tolist() == [1, 58]


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["007", "012", "345"], "category", ("x=007", "x=012", "x=345")),
        (["1.10", "1.20", "beta"], "category", ("x=1.10", "x=1.20", "x=beta")),
        (["1", "2", "B"], "category", ("x=1", "x=2", "x=B")),
        (["Yes", "No", "yes", "No", "Maybe"], "category", ("x=Maybe", "x=No", "x=Yes", "x=yes")),
        (["NA", "DE", "FR"], "category", ("x=DE", "x=FR", "x=NA")),
        (["None", "Insomnia"], "category", ("x=Insomnia", "x=None")),
        (["male ", "female", " male"], "category", ("x=female", "x=male")),
        (["t", "f"], "category", ("x=f", "x=t")),
        (["red", "?", "blue", ""], "category", ("x=", "x=blue", "x=red")),
        (["1 kg", "2 lb", "3 kg"], "category", ("x=1 kg", "x=2 lb", "x=3 kg")),
        (["yes", "no", "YES"], "boolean", ("x",)),
        (["TRUE", "false", "NA"], "boolean", ("x",)),
        ([True, False, None], "boolean", ("x",)),
        ([f"word{i}" for i in range(60)], "key", ()),
        ([f"some words {i}" for i in range(60)], "text", ()),
        (["", "?", None], "empty", ()),
        (list(range(60)), "key", ()),
        ([str(i) for i in np.random.default_rng(1).permutation(60) + 1], "key", ()),
    ],
)
def test_words_keep_their_meaning(values: list[Any], kind: str, names: tuple[str, ...]) -> None:
    data = column(values)
    assert kind_of(data) == kind
    assert data.encoder is not None
    assert data.encoder.feature_names == (*names, "other")
    is_reported = "Not used as features: `x`" in " ".join(data.reading_notes)
    assert is_reported == (kind in ("key", "text", "empty"))


@pytest.mark.parametrize("names", [("id", "user_id"), ("Unnamed: 0", "ID"), ("row number", "customerId")])
def test_numbers_of_rows_are_not_used_unless_the_user_says_so(names: tuple[str, str]) -> None:
    numbers = np.random.default_rng(0).permutation(300)[:60] + 1000
    table = pd.DataFrame(dict.fromkeys(names, numbers) | {"x": numbers % 7, "y": ["a", "b"] * 30})
    data = data_from_frame(table, "y", test_share=0.2)
    assert data.encoder is not None
    assert data.encoder.feature_names == ("x",)
    kept = data_from_frame(table, "y", test_share=0.2, columns={names[0]: "number"})
    assert kept.encoder is not None
    assert kept.encoder.feature_names == (names[0], "x")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["7", "?", "9", "na"], "`x` (`?`, `na`)"),
        (["yes", "no", "NA"], "`x` (`NA`)"),
        (["DE", "?", "NA", ""], "`x` (`?`)"),
        (["DE", "FR", "NA", ""], None),
        (["7", "", "9"], None),
    ],
)
def test_words_that_count_as_missing_are_reported_once(values: list[str], words: str | None) -> None:
    notes = [note for note in column(values).reading_notes if "missing" in note]
    assert notes == ([] if words is None else [f"Words that count as missing values: {words}."])


def test_several_units_in_one_column_are_reported() -> None:
    assert "several units" in " ".join(column(["1 kg", "2 lb", "3 kg"]).reading_notes)


@pytest.mark.parametrize("marks", [",.", ".,"])
def test_two_decimal_marks_in_one_column_are_called_so(marks: str) -> None:
    values = [f"{number}{mark}5" for mark in marks for number in range(30)]
    with pytest.raises(InvalidValue, match="`x` has numbers with a decimal comma, such as `0,5`, .*`0.5`.*`columns="):
        column(values)
    for size in (30, 7, 1):  # in pieces, too
        evidence = ColumnEvidence("x")
        for start in range(0, 60, size):
            evidence.add(pa.array(values[start : start + size]))
        with pytest.raises(InvalidValue, match="decimal comma, such as `0,5`.*`0.5`"):
            evidence.column("table")


def test_a_slip_among_numbers_is_named_and_can_be_called_a_category() -> None:
    values = [*map(str, np.arange(55) + 0.5), "12o", "7", "8", "9", "6"]
    with pytest.raises(InvalidValue, match="row 56.*`x`.*`12o`.*`columns="):
        column(values)
    assert kind_of(column(["7", "8"] * 28 + ["12o", "7"] * 2, x="category")) == "category"


@pytest.mark.parametrize(
    "values",
    [
        ["Yes", "No", "yes", "maybe"],
        ["1", "2", "3,5", "4.000,5"],
        ["2024-01-31", "", "2024-02-01 10:30", "?"],
        ["01/02/2024", "13/02/2024"],
        ["", "NA", "7"],
        ["007", "008", "9"],
        ["57%", "9"],
    ],
)
def test_the_kind_of_a_column_depends_neither_on_the_order_of_its_values_nor_on_pieces(values: list[str]) -> None:
    values = values * 4
    found = set()
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(values))
        evidence = ColumnEvidence("x")
        for piece in np.array_split(np.array(values, object)[order], 1 + 3 * seed):
            evidence.add(arrow_table(pd.DataFrame({"x": piece})).column("x").combine_chunks())
        decided = evidence.column("t")
        found.add((decided, decided.number_style, decided.date_style))
    assert len(found) == 1


CODES = {
    "code": ["007", "012", "A1"],
    "version": ["1.10", "1.20", "beta"],
    "smoker": ["true", "false", "unknown"],
    "floor": ["3", "4", "x"],
    "sex": ["male ", "female", "male"],
    "salary": ["62,250", "150,000", "7"],
    "share": ["57%", "9%", "100%"],
    "day": ["31.01.2024", "01.02.2024", "15.03.2024"],
}


def codes(rows: list[int]) -> pd.DataFrame:
    return pd.DataFrame({name: [values[row] for row in rows] for name, values in CODES.items()})


@pytest.fixture(scope="module")
def trained() -> Data:
    table = codes([0, 1, 2] * 30).assign(risk=["low", "mid", "high"] * 30)
    return data_from_frame(table, "risk", test_share=0.2)


def features(data: Data, path: Path) -> np.ndarray:
    return read_inputs(path, data.feature_shape, None, encoder=data.encoder)


def _with_gap(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table, pd.DataFrame({name: [""] for name in table})], ignore_index=True)


LATER: dict[str, Callable[[pd.DataFrame], bytes | str | pa.Table]] = {
    "same.csv": lambda table: table.to_csv(index=False),
    "with a gap.csv": lambda table: _with_gap(table).to_csv(index=False),
    "reordered.csv": lambda table: table[table.columns[::-1]].assign(extra="zzz").to_csv(index=False),
    "semicolons.csv": lambda table: table.to_csv(index=False, sep=";"),
    "tabs and BOM.tsv": lambda table: table.to_csv(index=False, sep="\t").encode("utf-8-sig"),
    "UTF-16.csv": lambda table: table.to_csv(index=False).encode("utf-16"),
    "texts.parquet": pa.Table.from_pandas,
}


@pytest.mark.parametrize("rows", [[0, 1, 2], [0], [1], [2], [0, 1]], ids=str)
@pytest.mark.parametrize("name", LATER)
def test_a_row_of_a_later_file_means_the_same_whatever_stands_beside_it(
    tmp_path: Path, trained: Data, name: str, rows: list[int]
) -> None:
    assert trained.encoder is not None
    wanted = trained.encoder.encode(codes([0, 1, 2]), source="all")[rows]
    assert len(np.unique(wanted, axis=0)) == len(rows)
    found = features(trained, write(tmp_path / name, LATER[name](codes(rows))))
    np.testing.assert_array_equal(found[: len(rows)], wanted)
    assert len(found) == len(rows) + (name == "with a gap.csv")


@pytest.fixture(scope="module")
def measured() -> Data:
    return data_from_frame(flowers().rename(columns={"größe": "sl"}), "kind", test_share=0.2)


@pytest.mark.parametrize(
    "content",
    [
        "sl,pl\n1.5,-2.25\n",
        "sl;pl\n1,5;-2,25\n",
        'pl,sl,extra\n"-2,25","1,5",zzz\n',
        "\ufeffsl\tpl\n1.50\t-2.250\n",
        " sl , pl \n 1.5 , -2.25 \n",
    ],
)
def test_numbers_of_a_later_file_may_be_written_in_another_way(tmp_path: Path, measured: Data, content: str) -> None:
    np.testing.assert_array_equal(features(measured, write(tmp_path / "later.csv", content)), [[1.5, -2.25]])


def test_a_point_in_a_later_file_is_not_taken_for_a_thousands_separator(tmp_path: Path) -> None:
    data = load_data(write(tmp_path / "commas.csv", COMMA.replace("größe", "sl")), target="kind", test_share=0.2)
    wanted = np.array([[5.125, 3.1]], np.float32)
    np.testing.assert_array_equal(features(data, write(tmp_path / "commas.csv", "sl;pl\n5,125;3,1\n")), wanted)
    np.testing.assert_array_equal(features(data, write(tmp_path / "points.csv", "sl,pl\n5.125,3.1\n")), wanted)
    doubtful = write(tmp_path / "points.csv", "sl,pl\n5.125,3.125\n")
    with pytest.raises(InvalidValue, match="125`.*`decimal="):
        features(data, doubtful)
    found = read_inputs(doubtful, (2,), None, encoder=data.encoder, options=TableOptions(decimal="."))
    assert found.tolist() == [[5.125, 3.125]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("SL,PL\n1,2\n", "`sl`.*`SL`"),
        ("sl\n1\n", "`pl`"),
        ("sl,pl\n1,2\n3,many\n", "row 2.*`pl`.*`many`"),
        ("sl,pl\n1,inf\n", "row 1.*`pl`.*`inf`"),
    ],
)
def test_later_files_that_do_not_fit_are_refused(tmp_path: Path, measured: Data, content: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        features(measured, write(tmp_path / "later.csv", content))


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["1.0", "2.0", "3.0"], ("1", "2", "3")),
        (["1", "2.0", "3"], ("1", "2", "3")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["-1", "+1"], ("-1", "1")),
        (["001", "002", "010"], ("001", "002", "010")),
        (["false", "true"], ("false", "true")),
        (["True", "False", "TRUE"], ("false", "true")),
        (["None", "Insomnia", "Sleep Apnea"], ("Insomnia", "None", "Sleep Apnea")),
        (["NA", "DE"], ("DE", "NA")),
        (["high ", "low", "high"], ("high", "low")),
        (['"a, b"', "Müller/Söhne"], ("Müller/Söhne", "a, b")),
        (["<=50K", ">50K"], ("<=50K", ">50K")),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_labels_name_classes_alike(tmp_path: Path, labels: list[str], names: tuple[str, ...], stream: bool) -> None:
    lines = [f"{i / 7:.3f},{labels[i % len(labels)]}" for i in range(60)]
    data = load_data(write(tmp_path / "t.csv", "\n".join(["x,y", *lines])), target="y", test_share=0.2, stream=stream)
    assert data.class_names == names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array([1.0, 2.0] * 30), ("1", "2")),
        (pa.array([True, False] * 30), ("false", "true")),
        (pa.array(["lo", "hi"] * 30).dictionary_encode(), ("hi", "lo")),
        (pa.array([b"cat", b"dog"] * 30), ("cat", "dog")),
        (pa.array([1, 2] * 30, pa.decimal128(5)), ("1", "2")),
    ],
)
def test_labels_of_typed_files_are_named_like_those_of_text(
    tmp_path: Path, labels: Any, names: tuple[str, str]
) -> None:
    table = pa.table({"x": np.arange(60) / 7, "y": labels})
    assert load_data(write(tmp_path / "t.parquet", table), target="y", test_share=0.2).class_names == names


@pytest.mark.parametrize("label", ['"one\ntwo"', '"one\r\ntwo"', "one\u2028two", "one\x07"])
def test_labels_that_cannot_name_a_class_are_refused(tmp_path: Path, label: str) -> None:
    rows = "\n".join(f"{i / 7:.3f},{[label, 'plain'][i % 2]}" for i in range(60))
    with pytest.raises(InvalidValue, match="one.*cannot name a class"):
        load_data(write(tmp_path / "t.csv", f"x,y\n{rows}\n"), target="y", test_share=0.2)


@pytest.mark.parametrize("rows", [[0], [0, 3], [0, 1], [1, 2, 4], list(range(60))], ids=len)
@pytest.mark.parametrize("stream", [False, True])
def test_files_with_few_of_the_classes_are_judged_with_those_of_the_network(
    tmp_path: Path, plain: Data, rows: list[int], stream: bool
) -> None:
    table = flowers().iloc[rows]
    path = write(tmp_path / "few.csv", table.to_csv(index=False, sep=";", decimal=","))
    whole = read_source(str(path), SourceOptions(target="kind", stream=stream)).whole(plain.spec)
    assert whole.class_names == KINDS
    assert whole.test.labels.tolist() == [KINDS.index(kind) for kind in table["kind"]]
    np.testing.assert_array_equal(np.asarray(whole.test.features), table[["größe", "pl"]].to_numpy(np.float32))


def test_a_label_that_the_network_does_not_know_is_named(tmp_path: Path, plain: Data) -> None:
    path = write(tmp_path / "other.csv", TEXT.replace("rot", "blau"))
    with pytest.raises(InvalidValue, match="`blau`.*grün"):
        read_source(str(path), SourceOptions(target="kind")).whole(plain.spec)


@pytest.mark.parametrize("times", ["timestamp[s]", "timestamp[ns]", "date32[day]", "timestamp[us, UTC]", "string"])
def test_dates_are_the_same_in_typed_files_and_in_text(tmp_path: Path, times: str) -> None:
    days = pd.Series(pd.date_range("2024-01-20", periods=60))
    table = pd.DataFrame({"day": days, "x": np.arange(60) / 7, "y": ["a", "b"] * 30})
    values = pa.array(days.dt.strftime("%Y-%m-%d") if times == "string" else days)
    kind = pa.timestamp("us", "UTC") if "UTC" in times else pa.type_for_alias(times.removesuffix("[day]"))
    typed = pa.table({"day": values.cast(kind), "x": table["x"], "y": table["y"]})
    texts = table.assign(day=days.dt.strftime("%d.%m.%Y")).to_csv(index=False, sep=";")
    one = load_data(write(tmp_path / "t.parquet", typed), target="y", test_share=0.2)
    other = load_data(write(tmp_path / "t.csv", texts), target="y", test_share=0.2)
    assert (one.fingerprint, one.encoder) == (other.fingerprint, other.encoder)
    assert kind_of(one) == "date"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_durations_are_seconds_in_typed_files_and_in_text(tmp_path: Path, unit: str) -> None:
    seconds = np.random.default_rng(0).integers(0, 10**6, 60)
    table = {"t": pa.array(seconds.astype("timedelta64[s]").astype(f"timedelta64[{unit}]"))}
    labels = {"y": ["a", "b"] * 30}
    typed = load_data(write(tmp_path / "t.parquet", pa.table(table | labels)), target="y", test_share=0.2)
    texts = pd.DataFrame({"t": pd.to_timedelta(seconds, unit="s").astype(str)} | labels).to_csv(index=False)
    text = load_data(write(tmp_path / "t.csv", texts), target="y", test_share=0.2)
    assert (typed.fingerprint, typed.encoder) == (text.fingerprint, text.encoder)
    parts = [typed.train.features, typed.validation.features, typed.test.features]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)[:, 0]), np.sort(seconds.astype(np.float32)))


def test_columns_that_may_be_missing_keep_their_kinds(tmp_path: Path) -> None:
    table = pa.table(
        {
            "a": pa.array([1, None, 3] * 20, pa.int64()),
            "b": pa.array([True, None, False] * 20),
            "c": pa.array(["u", None, "v"] * 20).dictionary_encode(),
            "y": ["p", "p", "q", "q"] * 15,
        }
    )
    typed = load_data(write(tmp_path / "t.parquet", table), target="y", test_share=0.2)
    text = load_data(write(tmp_path / "t.csv", table.to_pandas().to_csv(index=False)), target="y", test_share=0.2)
    assert typed.encoder is not None
    assert typed.encoder.feature_names == ("a", "a is missing", "b", "c=", "c=u", "c=v")
    assert (typed.fingerprint, typed.encoder) == (text.fingerprint, text.encoder)


@pytest.mark.parametrize("stream", [False, True])
def test_duplicates_in_the_test_are_cautioned_about_and_can_be_kept_together(tmp_path: Path, stream: bool) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 2)).round(4)
    lines = [f"{a},{b},{'pq'[i % 2]}" for i, (a, b) in enumerate(noise)] * 8
    path = write(tmp_path / "t.csv", "\n".join(["a,b,y", *lines]))
    data = load_data(path, target="y", test_share=0.2, stream=stream)
    assert any("test examples (100" in caution for caution in data.cautions)
    apart = load_data(path, target="y", test_share=0.2, stream=stream, keep_duplicates_together=True)
    assert not any("also occur in training" in caution for caution in apart.cautions)
    parts = [set(map(tuple, np.asarray(part.features))) for part in (apart.train, apart.validation, apart.test)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]


def test_a_test_of_its_own_is_read_as_the_training_file_was(tmp_path: Path) -> None:
    people = pd.DataFrame(
        {
            "age": np.random.default_rng(0).integers(17, 90, 90),
            "work": np.array([" Private", " ?", " State-gov"])[np.arange(90) % 3],
            "hours": [40, 15, 60] * 30,
            "income": [" <=50K", " >50K"] * 45,
        }
    )
    train = write(tmp_path / "train.csv", people[:60].to_csv(index=False))
    rare = people[60:].assign(work=" Never-worked")
    test = write(tmp_path / "test.csv", rare.to_csv(index=False, sep=";"))
    data = load_data(train, target="income", test=test)
    assert data.encoder is not None
    assert data.encoder.feature_names == ("age", "work=", "work=Private", "work=State-gov", "hours")
    assert (data.class_names, len(data.test), len(data.train) + len(data.validation)) == (("<=50K", ">50K"), 30, 60)
    np.testing.assert_array_equal(data.test.features[:, 0], rare["age"])
    assert (data.test.features[:, 1:4] == 0).all()


# What the problem files hold: target, options, kinds of columns (one stands for all), and numbers of classes and rows.
FILES: dict[str, tuple[str, dict[str, Any], str, int, int]] = {
    "c01_semicolon_decimal_comma.csv": ("kind", {}, "number", 3, 150),
    "c02_sep_line.csv": ("kind", {}, "number", 3, 150),
    "c03_no_header.csv": ("column_4", {}, "number", 3, 150),
    "c04_tabs.csv": ("kind", {}, "number", 3, 150),
    "c04_tabs.tsv": ("kind", {}, "number", 3, 150),
    "c05_cp1252.csv": ("kind", {}, "number", 3, 150),
    "c06_question_15pc.csv": ("sick", {}, "number", 2, 400),
    "c06b_question_2pc.csv": ("sick", {}, "number", 2, 400),
    "c07_thousands_percent.csv": ("bought", {}, "number", 2, 600),
    "c08_train.csv": ("risk", {}, "category category category category number", 3, 300),
    "c08b_train.csv": ("risk", {}, "category number", 3, 300),
    "c09_class_none.csv": ("disorder", {}, "number", 3, 150),
    "c09b_country_na.csv": ("risk", {}, "number category", 3, 150),
    "c10_labels_float.csv": ("kind", {}, "number", 3, 150),
    "c10_labels_int.csv": ("kind", {}, "number", 3, 60),
    "c10b_plus_minus.csv": ("y", {}, "number", 2, 120),
    "c12_row_number.csv": ("kind", {}, "key number", 3, 180),
    "c14_cr_only.csv": ("kind", {"stream": True}, "number", 3, 150),
    "c14b_quoted_newline.csv": ("kind", {}, "category number", 2, 100),
    "c15_trailing_both.csv": ("kind", {}, "number", 3, 150),
    "c16_trailing_blanks.csv": ("risk", {}, "category number", 2, 120),
    "c17_yes_no_maybe.csv": ("risk", {}, "category number", 2, 120),
    "c18_dates.csv": ("risk", {}, "date number", 2, 300),
    "c20b_imbalance_1_100.csv": ("fraud", {}, "number", 2, 20000),
    "c22_bool_labels.csv": ("churn", {"stream": True}, "number", 2, 120),
    "c24_utf16.csv": ("kind", {}, "number", 3, 150),
    "c25_comment_first.csv": ("kind", {}, "number", 3, 150),
    "c26_constant.csv": ("y", {}, "number", 2, 120),
    "c27_tf.csv": ("y", {}, "category number", 2, 120),
    "c28_units.csv": ("kind", {}, "number", 2, 600),
    "c29_latlon.csv": ("zone", {}, "number", 3, 600),
    "c29b_year.csv": ("kind", {}, "number", 2, 600),
    "c31_labels_leading_zeros.csv": ("code", {}, "number", 3, 120),
    "cleveland.csv": ("num", {}, "number", 3, 303),
    "winequality_semicolon.csv": ("quality", {}, "number", 6, 1599),
    "p01_decimal.parquet": ("kind", {}, "number", 2, 240),
    "p02_number_strings.parquet": ("kind", {}, "number", 2, 240),
    "p03_timestamp.parquet": ("kind", {}, "date number", 2, 240),
    "p03_same_as.csv": ("kind", {}, "date number", 2, 240),
    "p04_nullable.parquet": ("kind", {}, "number boolean category category", 2, 240),
    "p04c_boolean_target.parquet": ("kind", {}, "number boolean category category", 2, 240),
    "p05_timedelta.parquet": ("kind", {}, "number", 2, 240),
    "p06_index.parquet": ("kind", {}, "number", 2, 240),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.skipif("KERASMLP_CASES" not in os.environ, reason="KERASMLP_CASES does not name a folder of problem files")
def test_the_problem_files_are_read_as_people_mean_them(name: str) -> None:
    cases_dir = Path(os.environ["KERASMLP_CASES"])
    target, options, kinds, num_classes, num_rows = FILES[name]
    data = load_data(cases_dir / name, target=target, test_share=0.2, **options)
    assert data.encoder is not None
    found = [column.kind for column in data.encoder.columns]
    assert found == (kinds.split() if " " in kinds else [kinds] * len(found))
    assert data.num_classes == num_classes
    assert len(data.train) + len(data.validation) + len(data.test) == num_rows
