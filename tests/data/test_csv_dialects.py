"""The dialect of text tables: separators, decimal marks, lines above the table, and headers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kerasmlp.data.csv_dialects import find_dialect, split_lines
from kerasmlp.data.raw_tables import open_table
from kerasmlp.errors import InvalidValue


def read(text: str, name: str = "a.csv", **options: object) -> tuple[tuple[str, ...], list[list[str]]]:
    """The names of a text table, and its rows."""
    dialect = find_dialect(Path(name), text, **options)  # type: ignore[arg-type]
    rows = split_lines(text[dialect.start :].splitlines(keepends=True), dialect.separator)
    return dialect.names, [row for row in rows if row]


@pytest.mark.parametrize(
    ("separator", "value"),
    [
        (separator, value)
        for separator in (",", ";", "\t", "|")
        for value in ("4.9", "4,9", "a b", "x;y", "2024-05-01 12:30", '"q, r; s"', "")
        if separator not in value or value.startswith('"')
    ],
)
def test_the_separator_is_the_one_that_explains_the_values(separator: str, value: str) -> None:
    rows = [["name", "kind", "n"], [value, "x", "1"], [value, "y", "2"], ["", "x", "3"]]
    text = "\n".join(separator.join(row) for row in rows) + "\n"
    assert find_dialect(Path("a.csv"), text).separator == separator
    assert read(text) == (tuple(rows[0]), [[cell.strip('"') for cell in row] for row in rows[1:]])


@pytest.mark.parametrize(
    ("text", "name", "names", "first"),
    [
        (" 0.1  18.0 2\n 0.2   19.0 3\n", "housing.data", ("column_1", "column_2", "column_3"), ["0.1", "18.0", "2"]),
        ('18.0   8\t"ford torino"\n15.0 4  "x  y"\n', "auto.data", ("column_1", "column_2", "column_3"), None),
        ("a b c\n1 2 3\n4 5 6\n", "a.csv", ("a", "b", "c"), ["1", "2", "3"]),
        ("1,5 2,5\n3,5 4,5\n", "a.txt", ("column_1", "column_2"), ["1,5", "2,5"]),
        ("city name\nnew york\nlos angeles\n", "a.csv", ("city name",), ["new york"]),
        ("p1 p2,p3\n1 2,3\n", "a.csv", ("p1 p2", "p3"), ["1 2", "3"]),
        ('"x"\t"y"\n1\t"a\tb"\n', "a.csv", ("x", "y"), ["1", "a\tb"]),
        ("sky air play\nrainy cool yes\nsunny hot no\n", "a.data", ("sky", "air", "play"), ["rainy", "cool", "yes"]),
    ],
)
def test_runs_of_blanks_separate_numbers_but_not_the_words_of_a_text(
    text: str, name: str, names: tuple[str, ...], first: list[str] | None
) -> None:
    found, rows = read(text, name)
    assert found == names
    assert first is None or rows[0] == first


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("a;b\n1,5;x\n2,25;y\n", ","),
        ("a;b\n1.234,5;x\n2,5;y\n", ","),
        ("a;b\n1,234;x\n5,678;y\n", ","),
        ("a\tb\n1,5\tx\n", ","),
        ('a,b\n"1,5",x\n', ","),
        ("a;b\n1.5;x\n", "."),
        ("a,b\n1.5,x\n", "."),
        ("a;b\n₽1.234,50;x\n", ","),
        ("a;b\n(1,5);x\n", ","),
        ('a,b\n"12,34,567",x\n', None),
        ('a,b\n"62,250",x\n', None),
        ("a,b\n1.234,x\n", None),
        ("a;b\n01.02.2024;7\n", None),
        ("a,b\n1,x\n", None),
    ],
)
def test_the_decimal_mark_is_the_one_of_the_numbers(text: str, decimal: str | None) -> None:
    dialect = find_dialect(Path("a.csv"), text)
    assert dialect.decimal == decimal
    assert ("decimal comma" in dialect.description) == (decimal == ",")


@pytest.mark.parametrize(
    ("text", "decimal"), [("a;b\n1,5;1.25\n2,5;1.5\n3,5;x\n", ","), ("a;b\n1,5;1.25\nx;1.5\n", ".")]
)
def test_both_decimal_marks_are_described_and_the_more_frequent_one_is_the_likely_one(text: str, decimal: str) -> None:
    dialect = find_dialect(Path("a.csv"), text)
    assert dialect.decimal == decimal
    assert dialect.description == "separated by semicolons, decimal commas and points"
    assert not dialect.notes


@pytest.mark.parametrize(
    ("above", "num_skipped"),
    [
        ("# exported by LogTool 3.1\n", 1),
        ('% one "quote\n// two\n\n', 2),
        ("My table\n", 1),
        ("Sales, by region\n\n", 1),
        ("My table,,,\n,,,\n", 2),
        ("sep=,\n", 0),
        ('"sep=,"\n# x\n', 1),
        ("\n\n", 0),
        ("\ufeff", 0),
        ("\ufeffsep=,\n", 0),
    ],
)
def test_lines_above_the_header_are_skipped_and_reported(above: str, num_skipped: int) -> None:
    text = above + "a,b,c,d\n1,2,x,4\n3,4,y,4\n"
    assert read(text) == (("a", "b", "c", "d"), [["1", "2", "x", "4"], ["3", "4", "y", "4"]])
    dialect = find_dialect(Path("a.csv"), text)
    assert sum("skipped" in note for note in dialect.notes) == (num_skipped > 0)
    assert (f"{num_skipped} line" in dialect.description) == (num_skipped > 0)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("# a b c\n1.0 2.0 3.0\n4 5 6\n", ("a", "b", "c")),
        ("#a,b\n1.0,2.0\n", ("a", "b")),
        ("#,Name,HP\n1,Bob,45\n2,Eve,60\n", ("#", "Name", "HP")),
        ("# note, 2024\na,b\n1,2\n", ("a", "b")),
    ],
)
def test_a_comment_with_as_many_words_as_the_data_has_columns_holds_their_names(
    text: str, names: tuple[str, ...]
) -> None:
    assert read(text, "a.txt")[0] == names


@pytest.mark.parametrize(
    ("text", "has_names"),
    [
        ("a,b\n1,2\n", True),
        ("a,b\nx,y\nz,w\n", True),
        (",x,kind\n0,1.5,a\n1,2.5,b\n", True),
        ("label,0,1,2,3\n5,0,0,1,0\n4,0,2,1,0\n", True),
        ("country,2019,2020\nDE,1,2\nFR,2,3\n", True),
        ("0,1,2,3\n5.5,0,0,1\n4,0,2,1\n", True),
        ("name,age\nBob,5\nname,age\nAl,6\n", True),
        ("4.9,3.15,setosa\n5.8,2.42,versicolor\n", False),
        ("0,0,230,0\n0,1,0,0\n", False),
        ("\ufeff0,0,230,0\n0,1,0,0\n", False),
        ("0,0,230,0\n", False),
        ("4.9,?,setosa\n5.8,2.42,versicolor\n", False),
        ("1,2,3\n2,3,4\n3,4,6\n", False),
        ("e,x,s\np,x,s\np,y,n\ne,x,n\np,x,s\n", False),
        ("2024-01-01,a\n2024-01-02,b\n", False),
    ],
)
def test_a_first_line_holds_names_if_it_has_words_that_do_not_occur_below(text: str, has_names: bool) -> None:
    dialect = find_dialect(Path("a.csv"), text)
    assert (dialect.names[-1] != f"column_{len(dialect.names)}") == has_names
    assert any("looks like data" in note for note in dialect.notes) != has_names
    assert len(read(text)[1]) == text.count("\n") - has_names


@pytest.mark.parametrize("text", ["o,0,0,0\n0,0,1,0\n0,1,1,0\n", "width,7,kind\n1.5,3,a\n2.5,4,b\n"])
def test_a_first_line_that_mixes_names_and_data_is_refused_unless_the_user_says_what_it_is(text: str) -> None:
    with pytest.raises(InvalidValue, match=r"`a.csv`.*first line.*header=.first.*header=.none"):
        find_dialect(Path("a.csv"), text)
    assert read(text, header=False)[1][0] == text.split("\n")[0].split(",")


def test_the_user_can_say_whether_there_is_a_header() -> None:
    assert read("1,2\n3,4\n", header=True) == (("1", "2"), [["3", "4"]])
    assert read("a,b\nc,d\n", header=False) == (("column_1", "column_2"), [["a", "b"], ["c", "d"]])
    assert not find_dialect(Path("a.csv"), "1,2\n3,4\n", header=False).notes


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b,\n1,2,\n3,4,\n", ("a", "b", "")),
        ("a,b\n1,2,\n3,4,\n", ("a", "b", "")),
        ("a,b,\n1,2\n3,4\n", ("a", "b")),
        ("1,2,\n3,4,\n", ("column_1", "column_2", "")),
        (",x\n7,2\n8,4\n", ("Unnamed: 0", "x")),
        ('"a","b"\n"1",2,3\n"2",5,6\n', ("Unnamed: 0", "a", "b")),
        ("a,b\n7,2,3\n5,5,6\n", ("a", "b")),
        (" a , b\n1,2\n", ("a", "b")),
    ],
)
def test_columns_without_a_name_are_kept_if_they_have_values(text: str, names: tuple[str, ...]) -> None:
    assert read(text)[0] == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", "two columns called `a`"),
        ("a,a \n1,2\n", "two columns called `a`"),
        ("a,b\n", "no rows"),
        ("a,b", "no rows"),
        ("# only a comment\n", "no rows"),
        ("\n \n", "no rows"),
    ],
)
def test_a_table_without_rows_or_with_two_equal_names_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=f"`a.csv`.*{message}"):
        find_dialect(Path("a.csv"), text)


def test_blanks_within_values_do_not_separate_them_where_tabs_do() -> None:
    text = "power\tlabel\n" + "183,8 kW\t1.00\n98,4 kW\t0.50\n" * 9
    assert find_dialect(Path("a.csv"), text).names == ("power", "label")


def test_the_last_line_of_a_sample_does_not_count() -> None:
    assert find_dialect(Path("a.csv"), "a;b\n1;2\n3", is_all=False).names == ("a", "b")


DIALECTS = {
    "c01_semicolon_decimal_comma.csv": ("UTF-8, separated by semicolons, decimal comma", 150),
    "c02_sep_line.csv": ("UTF-8, separated by semicolons", 150),
    "c03_no_header.csv": ("UTF-8, separated by commas, no header", 150),
    "c04_tabs.csv": ("UTF-8, separated by tabs", 150),
    "c04_tabs.tsv": ("UTF-8, separated by tabs", 150),
    "c05_cp1252.csv": ("Windows-1252, separated by commas", 150),
    "c14_cr_only.csv": ("UTF-8, separated by commas", 150),
    "c14b_quoted_newline.csv": ("UTF-8, separated by commas", 100),
    "c15_trailing_both.csv": ("UTF-8, separated by commas", 150),
    "c24_utf16.csv": ("UTF-16, separated by commas", 150),
    "c25_comment_first.csv": ("UTF-8, separated by commas, 1 line above the table", 150),
    "n_pixels_bom.csv": ("UTF-8, separated by commas, no header", 6),
    "n_pixels_semicolon.csv": ("UTF-8, separated by semicolons, no header", 6),
    "winequality_semicolon.csv": ("UTF-8, separated by semicolons", 1599),
    "adult_3000.csv": ("UTF-8, separated by commas", 3000),
}


@pytest.mark.skipif("KERASMLP_CASES" not in os.environ, reason="KERASMLP_CASES does not name a folder of problem files")
@pytest.mark.parametrize("name", DIALECTS)
def test_the_problem_files_are_understood(name: str) -> None:
    table = open_table(Path(os.environ["KERASMLP_CASES"]) / name)
    assert (table.description, sum(map(len, table.pieces()))) == DIALECTS[name]
