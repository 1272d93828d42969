"""`RandomTable`: a random table, and the ways in which people might write it to a file."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasmlp.data.raw_tables import TableOptions

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

TARGET = "outcome"
MISSING_NUMBERS = ["", "NA", "nan", "NULL", "n/a", "-", "?", "None"]
MISSING_WORDS = ["", "?"]
ORDERS = {"ymd": "%Y-%m-%d", "dmy": "%d.%m.%Y", "mdy": "%m/%d/%Y"}
WORDS = [
    "red", "dark red", "NA", "None", 'say "hi"', "a,b", "x;y", "p|q", "t\tab", "two\nlines", "'single'", "null", "grün",
    "Ærø", "-", "a = b", "#1", "(none)", "1a", "true-ish", "%", "C:\\dir", "O'Neil", "=1+2", "€",
]  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How a text file is written."""

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    line_end: str = "\n"
    quotes_all: bool = False
    pads: bool = False
    missing: int = 0
    order: str = "ymd"
    above: str = ""
    is_gzipped: bool = False

    @staticmethod
    def random(generator: random.Random) -> Dialect:
        """Returns a dialect that a spreadsheet or a program might use."""
        separator = generator.choice(",;\t|")
        above = generator.choice(["", "", "", "# from a program", "sep", "\n", "# one\n# two\n"])
        return Dialect(
            separator,
            generator.choice(".,"),
            generator.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"]),
            generator.choice(["\n", "\n", "\r\n", "\r"]),
            generator.random() < 0.3,
            generator.random() < 0.2,
            generator.randrange(8),
            generator.choice(list(ORDERS)),
            f"sep={separator}\n" if above == "sep" else above and above.rstrip("\n") + "\n",
            generator.random() < 0.15,
        )

    @property
    def suffix(self) -> str:
        """The end of a file's name."""
        return (".tsv" if self.separator == "\t" else ".csv") + (".gz" if self.is_gzipped else "")

    @property
    def options(self) -> TableOptions:
        """What only a person knows."""
        return TableOptions(encoding="cp1252" if self.encoding == "cp1252" else None)

    def number(self, value: float, digits: int, *, grouped: bool = False) -> str:
        """Writes a number."""
        text = f"{value:,.{digits}f}" if grouped else f"{value:.{digits}f}"
        if self.decimal == ",":
            text = text.translate({ord(","): ".", ord("."): ","})
        return text

    def cell(self, text: str) -> str:
        """Writes a value, quoted where that is necessary."""
        text = f" {text} " if self.pads and text else text
        if self.quotes_all or any(mark in text for mark in (self.separator, '"', "\n", "\r")):
            return '"' + text.replace('"', '""') + '"'
        return text

    def write(self, path: Path, rows: Sequence[Sequence[str]]) -> None:
        """Writes the rows, of which the first holds the names."""
        lines = [self.separator.join(map(self.cell, row)) for row in rows]
        text = self.above.replace("\n", self.line_end) + "".join(line + self.line_end for line in lines)
        content = text.encode(self.encoding)
        path.write_bytes(gzip.compress(content) if self.is_gzipped else content)


@dataclass(frozen=True)
class RandomColumn:
    """A column: its values, how each is written, and its type in files that have types."""

    name: str
    kind: str
    values: list[Any]  # None: missing
    write: Callable[[Any, Dialect], str]
    type: str = "string"
    missing: Sequence[str] = field(default_factory=lambda: MISSING_WORDS)

    def texts(self, dialect: Dialect) -> list[str]:
        """The values as a text file has them."""
        word = self.missing[dialect.missing % len(self.missing)]
        return [word if value is None else self.write(value, dialect) for value in self.values]

    def array(self) -> pa.Array:
        """The values as a file with types has them."""
        import pyarrow as pa

        kinds = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "time": pa.timestamp("us")}
        kinds["duration"] = pa.duration("s")
        return pa.array(self.values, kinds.get(self.type, pa.string()))


def _floats(name: str, low: float, high: float, digits: int, **style: Any) -> Callable[..., RandomColumn]:
    before, after, grouped = style.get("before", ""), style.get("after", ""), style.get("grouped", False)

    def write(value: float, dialect: Dialect) -> str:
        return f"{before}{dialect.number(value, digits, grouped=grouped)}{after}"

    def make(generator: random.Random, size: int) -> RandomColumn:
        # Three digits behind the mark could be a group of thousands, so some numbers have another last digit.
        values: list[Any] = [round(generator.uniform(low, high), digits) for _ in range(size)]
        return RandomColumn(name, "number", values, write, "float", MISSING_NUMBERS)

    return make


def _integers(generator: random.Random, size: int) -> RandomColumn:
    values: list[Any] = [generator.randint(-5, 40) for _ in range(size)]
    return RandomColumn("count", "number", values, lambda value, _: str(value), "int", MISSING_NUMBERS)


def _booleans(generator: random.Random, size: int) -> RandomColumn:
    yes, no = generator.choice([("true", "false"), ("True", "False"), ("YES", "NO"), ("yes", "no")])
    values: list[Any] = [generator.random() < 0.4 for _ in range(size)]
    write = lambda value, _: yes if value else no  # noqa: E731
    return RandomColumn("is_ok", "boolean", values, write, "bool", MISSING_NUMBERS)


def _dates(*, with_time: bool) -> Callable[..., RandomColumn]:
    def make(generator: random.Random, size: int) -> RandomColumn:
        start = datetime(generator.randint(1950, 2020), 1, 1)
        seconds = 1 if with_time else 86_400
        values: list[Any] = [
            start + timedelta(seconds=seconds * generator.randrange(10**8 // seconds)) for _ in range(size)
        ]
        form = " %H:%M:%S" if with_time else ""
        write = lambda value, dialect: value.strftime(ORDERS[dialect.order] + form)  # noqa: E731
        return RandomColumn("seen at" if with_time else "born", "date", values, write, "time", MISSING_NUMBERS)

    return make


def _durations(generator: random.Random, size: int) -> RandomColumn:
    values: list[Any] = [timedelta(seconds=generator.randrange(1, 86_400)) for _ in range(size)]
    return RandomColumn("took", "number", values, lambda value, _: str(value), "duration", MISSING_NUMBERS)


def _categories(generator: random.Random, size: int) -> RandomColumn:
    words = generator.sample(WORDS, generator.randint(2, 8))
    values: list[Any] = [*words, *generator.choices(words, k=size - len(words))]
    return RandomColumn("Größe", "category", values, lambda value, _: value)


def _codes(generator: random.Random, size: int) -> RandomColumn:
    codes = ["007", "012", f"{generator.randint(100, 999)}"]
    values: list[Any] = [*codes, *generator.choices(codes, k=size - len(codes))]
    return RandomColumn("code", "category", values, lambda value, _: value)


def _texts(generator: random.Random, size: int) -> RandomColumn:
    values: list[Any] = [f"note {i}, {' '.join(generator.choices(WORDS[:3], k=3))}" for i in range(size)]
    return RandomColumn("remark", "text", values, lambda value, _: value)


def _keys(generator: random.Random, size: int) -> RandomColumn:
    start = generator.randint(0, 1)
    return RandomColumn("row id", "key", list(range(start, start + size)), lambda value, _: str(value), "int")


def _constant(generator: random.Random, size: int) -> RandomColumn:
    word = generator.choice(["same", "NA", "x y"])
    return RandomColumn("always", "category", [word] * size if word != "NA" else ["so"] * size, lambda value, _: value)


def _empty(generator: random.Random, size: int) -> RandomColumn:
    del generator
    return RandomColumn("nothing", "empty", [None] * size, lambda value, _: "", "float", MISSING_NUMBERS)


_MAKERS: list[Callable[[random.Random, int], RandomColumn]] = [
    _floats("length", -20, 20, 4),
    _floats("height", 0, 3, 1),
    _floats("price", 0, 2_000_000, 2, grouped=True),
    _floats("share", 0, 100, 1, after="%"),
    _floats("cost", 1, 5000, 2, before="$", grouped=True),
    _floats("power", 40, 200, 1, after=" kW"),
    _integers,
    _booleans,
    _dates(with_time=False),
    _dates(with_time=True),
    _durations,
    _categories,
    _codes,
    _texts,
    _keys,
    _constant,
    _empty,
]
_NO_FEATURES = (_texts, _keys, _empty)
_MAY_BE_MISSING = ("number", "boolean", "date", "category")


class RandomTable:
    """A table with one to eight columns of random kinds, and labels."""

    def __init__(self, seed: int) -> None:
        """Makes the table."""
        generator = random.Random(seed)
        size = generator.randint(60, 90)
        first = generator.choice([maker for maker in _MAKERS if maker not in _NO_FEATURES])
        others = generator.sample([maker for maker in _MAKERS if maker is not first], generator.randint(0, 7))
        self.columns = [maker(generator, size) for maker in generator.sample([first, *others], len(others) + 1)]
        for column in self.columns:
            if column.kind in _MAY_BE_MISSING and column.name != "always" and generator.random() < 0.5:
                for row in generator.sample(range(10, size), size // 8):
                    column.values[row] = None
        self.size = size
        self.target = self._labels(generator, size)

    @staticmethod
    def _labels(generator: random.Random, size: int) -> RandomColumn:
        choices: list[tuple[list[Any], str]] = [
            (["yes, sure", "no", "None"], "string"),
            ([0, 1, 10], "int"),
            ([0.5, 1.0, 2.25], "float"),
            ([True, False], "bool"),
        ]
        classes, kind = generator.choice(choices)
        values: list[Any] = (classes * size)[:size]
        generator.shuffle(values)
        write: dict[str, Callable[[Any, Dialect], str]] = {
            "float": lambda value, dialect: dialect.number(value, 2),  # these are quantities
            "bool": lambda value, _: str(value),
        }
        return RandomColumn(TARGET, "label", values, write.get(kind, lambda value, _: str(value)), kind)

    @property
    def encodings(self) -> set[str]:
        """Encodings that can write all values."""
        texts = "".join(str(value) for column in self.columns for value in column.values)
        return {"cp1252"} if all(_is_cp1252(letter) for letter in set(texts)) else set()

    def typed(self, rows: Sequence[int]) -> pa.Table:
        """The given rows with types."""
        import pyarrow as pa

        columns = [*self.columns, self.target]
        return pa.table({column.name: column.array() for column in columns}).take(pa.array(rows))

    def frame(self, rows: Sequence[int]) -> pd.DataFrame:
        """The given rows as a pandas frame."""
        return self.typed(rows).to_pandas()

    def write_text(self, path: Path, dialect: Dialect, rows: Sequence[int]) -> None:
        """Writes the given rows as a text file."""
        columns = [*self.columns, self.target]
        texts = [column.texts(dialect) for column in columns]
        names = [column.name for column in columns]
        dialect.write(path, [names, *([column[row] for column in texts] for row in rows)])


def _is_cp1252(letter: str) -> bool:
    try:
        letter.encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True
