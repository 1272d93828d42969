"""Kinds of columns: what their values decide, whatever their order and however they are cut into pieces."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pyarrow as pa
import pytest

from kerasmlp.data.canonical_values import canonical
from kerasmlp.data.column_decisions import settle_decimal
from kerasmlp.data.column_kinds import ColumnEvidence
from kerasmlp.data.columns import BOOLEAN, CATEGORY, DATE, EMPTY, KEY, NUMBER, TEXT, Column
from kerasmlp.errors import InvalidValue


def evidence_of(values: Sequence[str], pieces: int = 1, name: str = "c") -> ColumnEvidence:
    """What values show that come in so many pieces."""
    evidence = ColumnEvidence(name)
    size = max(1, -(-len(values) // pieces))
    for start in range(0, len(values), size):
        evidence.add(pa.array(values[start : start + size], pa.string()))
    settle_decimal([evidence])
    return evidence


def found(values: Sequence[str], pieces: int = 1, name: str = "c") -> Column | str:
    """The column that values are, or that they are refused."""
    try:
        column = evidence_of(values, pieces, name).column("t")
        canonical(column, pa.array(values), source="t")
    except InvalidValue:
        return "refused"
    return column


def described(values: Sequence[str], name: str = "c") -> tuple[str, str]:
    """The kind and the style of the column that values are."""
    column = found(values, name=name)
    return (column, "") if isinstance(column, str) else (column.kind, column.style)


COLUMNS = {
    "integers": (["5", "17", "12"] * 9, (NUMBER, "")),
    "measurements": (["5.1", "-0.2", "1e3", "", "NA"] * 9, (NUMBER, "")),
    "decimal commas": (["5,1", "0,25", "7"] * 9, (NUMBER, "decimal comma")),
    "groups": (["1,234", "5", "1,234,567"] * 9, (NUMBER, "thousands separator ,")),
    "German groups": (["1.234,5", "5", "17,25"] * 9, (NUMBER, "decimal comma, thousands separator .")),
    "Indian groups": (["12,34,567", "5,000", "1"] * 9, (NUMBER, "thousands separator ,")),
    "one group": (["1,234", "5,678", "9,012"] * 9, (NUMBER, "thousands separator ,")),
    "fractions that look like groups": (["0,123", "1,456"] * 9, (NUMBER, "decimal comma")),
    "percent": (["57%", "3.5%", "n/a"] * 9, (NUMBER, "without `%`")),
    "percent and plain": (["57%", "3"] * 9, (CATEGORY, "")),
    "money": (["$275", "$1,500", "($20)"] * 9, (NUMBER, "thousands separator ,, without `$`")),
    "two currencies": (["$275", "€300"] * 9, (CATEGORY, "")),
    "a unit": (["23 kmpl", "19.5 kmpl"] * 9, (NUMBER, "without `kmpl`")),
    "two units": (["5 kg", "3 g"] * 9, (CATEGORY, "")),
    "both decimal marks": (["1.5", "1,5"] * 9, ("refused", "")),
    "durations": (["1:30", "0:45:10", "2 days 03:00:00"] * 9, (NUMBER, "duration in seconds")),
    "durations and numbers": (["1:30", "5"] * 9, (CATEGORY, "")),
    "days": (["1 day", "3 days"] * 9, (NUMBER, "duration in seconds")),
    "fractions of days": (["2 days", "1.5 days"] * 9, (NUMBER, "without `days`")),
    "a word among numbers": (["5"] * 30 + ["five"], ("refused", "")),
    "a word among groups": (["1,234", "1,500"] * 30 + ["many"], ("refused", "")),
    "a few numbers among words": (["5", "five", "six"] * 9, (CATEGORY, "")),
    "infinity": (["5", "inf", "1.5"] * 9, ("refused", "")),
    "infinity in all rows": (["inf"] * 9, ("refused", "")),
    "too large": (["5", "1e400"] * 9, ("refused", "")),
    "postal codes": (["01234", "10115", "90210"] * 9, (CATEGORY, "")),
    "codes with a letter": (["012A", "120A"] * 9, (CATEGORY, "")),
    "codes with a prefix": (["SKU123", "SKU7"] * 9, (CATEGORY, "")),
    "telephone numbers": (["030 123 456", "040 987 654"] * 9, (CATEGORY, "")),
    "addresses": (["192.168.1.1", "10.0.0.1"] * 9, (CATEGORY, "")),
    "versions": (["1.2.3", "1.10.0"] * 9, (CATEGORY, "")),
    "ratings": (["4/5", "3/5"] * 9, (CATEGORY, "")),
    "ranges": (["10-20", "20-30"] * 9, (CATEGORY, "")),
    "pressures": (["120/80", "130/85"] * 9, (CATEGORY, "")),
    "weeks": (["2024-W05", "2024-W06"] * 9, (CATEGORY, "")),
    "hexadecimal": (["0x1F", "0x2A"] * 9, (CATEGORY, "")),
    "feet": (["5'11", "6'2"] * 9, (CATEGORY, "")),
    "Arabic digits": (["٣", "٤"] * 9, (CATEGORY, "")),
    "booleans": (["true", "False", "", "NA"] * 9, (BOOLEAN, "")),
    "yes and no": (["Yes", "no", "null"] * 9, (BOOLEAN, "")),
    "maybe": (["yes", "no", "maybe"] * 9, (CATEGORY, "")),
    "0 and 1": (["0", "1"] * 9, (NUMBER, "")),
    "ISO dates": (["2024-01-05", "2024-02-06T10:00:00Z"] * 9, (DATE, "")),
    "day first": (["31.12.2024", "1.2.2024"] * 9, (DATE, "day before month")),
    "month first": (["12/31/24", "1/2/24"] * 9, (DATE, "month before day")),
    "either first": (["1/2/2024", "3/4/2024"] * 9, (DATE, "month before day")),
    "both first": (["31/12/2024", "12/31/2024"] * 9, ("refused", "")),
    "not in the calendar": (["2024-01-30"] * 30 + ["2024-02-30"], ("refused", "")),
    "a word among dates": (["2024-01-05", "2024-01-06"] * 9 + ["unknown"], ("refused", "")),
    "a number among dates": (["2024-01-05", "2024-01-06"] * 9 + ["7"], ("refused", "")),
    "dates and words": (["2024-01-05", "unknown"] * 9, (CATEGORY, "")),
    "row numbers": ([str(i) for i in range(1, 40)], (KEY, "")),
    "grouped numbers before a run": (["1,000", *map(str, range(39))], (NUMBER, "thousands separator ,")),
    "texts": ([f"note {i}" for i in range(40)], (TEXT, "")),
    "names": ([f"name{i}" for i in range(40)], (KEY, "")),
    "one text among names": ([*(f"name{i}" for i in range(1500)), "a b"], (TEXT, "")),
    "missing": (["", "NA", "?"] * 9, (EMPTY, "")),
    "country codes": (["NA", "DE", "FR"] * 9, (CATEGORY, "")),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_values_decide_the_kind_and_the_style(case: str) -> None:
    values, expected = COLUMNS[case]
    assert described(values) == expected


@pytest.mark.parametrize("case", COLUMNS)
def test_neither_order_nor_pieces_change_what_is_decided(case: str) -> None:
    values, _ = COLUMNS[case]
    whole = found(values)
    style = "" if isinstance(whole, str) else whole.style
    generator = random.Random(case)
    for seed in range(3):
        shuffled = generator.sample(values, len(values))
        cut = found(shuffled, pieces=generator.choice([1, 2, 5, len(values)]))
        assert cut == whole, f"seed {seed} of {case}: {shuffled[:5]}"
        assert style == ("" if isinstance(cut, str) else cut.style)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (["1/2/2024", "3/4/2024"] * 9, "date:dmy"),
        (["1,234", "5,678"] * 9, "decimal=','"),
        (["5 kg", "3 g"] * 9, "unit"),
        (["$5", "€3"] * 9, "unit"),
        (["57%", "3"] * 9, "unit"),
        (["007", "12", "0331"] * 9, "category"),
        ([*map(str, range(17)), "unknown", "<5", "n.d."] * 9, "85% of its rows and words such as `<5`"),
        (["1,5", "2,5", "3,5", "unknown"] * 9, "75% of its rows and words such as `unknown`"),
    ],
)
def test_the_user_is_told_of_what_is_not_certain(values: list[str], part: str) -> None:
    (note,) = evidence_of(values).notes()
    assert "`c`" in note
    assert part in note


@pytest.mark.parametrize(
    "values", [["1,234", "5,1"], ["1,234,567", "1,234"], ["1.234", "5.678"], ["31/1/2024", "1/2/2024"]]
)
def test_what_is_certain_needs_no_note(values: list[str]) -> None:
    assert evidence_of(values * 9).notes() == []


@pytest.mark.parametrize(("other", "style"), [("2.5", "thousands separator ,"), ("2,5", "decimal comma")])
def test_other_columns_show_the_decimal_mark_of_a_table(other: str, style: str) -> None:
    unsure, sure = ColumnEvidence("a"), ColumnEvidence("b")
    unsure.add(pa.array(["1,234", "5,678"]))
    sure.add(pa.array([other, "3"]))
    settle_decimal([unsure, sure])
    assert unsure.column("t").style == style
    assert unsure.notes() == []
    settle_decimal([unsure, sure], stated=".")
    assert unsure.column("t").style == "thousands separator ,"


def test_a_refused_slip_is_named_with_its_row() -> None:
    with pytest.raises(InvalidValue, match="row 31.*`five`.*category"):
        evidence_of(["5"] * 30 + ["five"], pieces=4).column("t")
    with pytest.raises(InvalidValue, match="row 12.*dates.*`soon`.*category"):
        evidence_of(["2024-01-05"] * 11 + ["soon"], pieces=4).column("t")
    with pytest.raises(InvalidValue, match="`c`.*`2024-02-30`"):
        evidence_of(["2024-01-05"] * 11 + ["2024-02-30"]).column("t")


def test_typed_values_are_read_as_the_same_values_in_words() -> None:
    typed = ColumnEvidence("c")
    typed.add(pa.array([1.5, None, 2.0]))
    assert typed.column("t") == evidence_of(["1.5", "", "2.0"]).column("t")
    numbers = ColumnEvidence("c")
    numbers.add(pa.array(range(30)))
    assert numbers.column("t") == evidence_of([str(i) for i in range(30)]).column("t") == Column("c", KEY)


@pytest.mark.parametrize("word", ["#N/A N/A", "#NA", "-NaN", "1.#IND", "-1.#QNAN", "\\N"])
def test_words_that_other_tools_write_for_a_missing_number_are_no_slips(word: str) -> None:
    assert evidence_of(["1.5", "2", word] * 9).column("t") == Column("c", NUMBER)
