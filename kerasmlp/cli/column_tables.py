"""Tables of columns: how data were read, printed before training and by `info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape

from kerasmlp._system.terminal import messages_console, results_console
from kerasmlp._system.wording import MAX_NAMED
from kerasmlp.cli.library_messages import named_by_flags
from kerasmlp.cli.result_tables import make_table
from kerasmlp.contract import DEFAULT_TEST_SHARE
from kerasmlp.data.describing import describe_columns
from kerasmlp.errors import shortened
from kerasmlp.tasks.scores import number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from kerasmlp.cli.library_messages import Flag
    from kerasmlp.data.types import Data

MAX_LINES = 40  # of a table on the screen; files and `--json` have all of them
_NAME_LENGTH = 40  # characters of a column's name


def show_reading(data: Data) -> None:
    """Prints on stderr how the columns of a table were read, and what a network learns from the data.

    Images with classes need no words: the results name the classes.
    """
    console = messages_console()
    if data.encoder is None and len(data.feature_shape) > 1 and data.class_names:
        return
    if data.encoder is not None:
        written = f" ({data.format})" if data.format else ""
        console.print(f"How {data.name} was read{written}:", markup=False)
        show_columns(console, describe_columns(data.encoder.columns), where="`data.json` of the run")
    names = ", ".join(shortened(name, _NAME_LENGTH) for name in data.task.names[:MAX_NAMED])
    more = f" and {len(data.task.names) - MAX_NAMED:,} more" if len(data.task.names) > MAX_NAMED else ""
    console.print(f"Task: {data.task.kind} ({data.task.unit}: {names}{more})", markup=False, soft_wrap=True)


def show_columns(console: Console, columns: Sequence[Mapping[str, Any]], *, where: str) -> None:
    """Prints a line for each column: its kind, how it is written, what it becomes and what is missing.

    Args:
        console: Where to print.
        columns: What `describe_columns` or `describe_source` says about them.
        where: Where to find the columns that do not fit on the screen.
    """
    has_values = any("values" in column for column in columns)
    head = ("column", "kind", "written with", "becomes", "missing", *(["values"] if has_values else []))
    rows = [
        (
            shortened(column["name"], _NAME_LENGTH),
            column["kind"],
            column["style"],
            column["becomes"],
            _missing(column),
            *([_values(column)] if has_values else []),
        )
        for column in columns[:MAX_LINES]
    ]
    console.print(make_table(head, rows, num_left=4))
    show_how_many_more(console, len(columns) - MAX_LINES, "columns", where)


def show_how_many_more(console: Console, count: int, what: str, where: str) -> None:
    """Prints how many lines of a table were left out, if any, and where they are."""
    if count > 0:
        console.print(f"and {count:,} more {what} (all are in {escape(where)})")


def show_data(about: Mapping[str, Any], flags: Mapping[str, Flag]) -> None:
    """Prints what `describe_source` found. `flags` are the options of the command by the library's names."""
    console = results_console()
    test = about["test_examples"]
    rows = [("examples", f"{about['examples']:,}" + ("" if test is None else f", and {test:,} for the test"))]
    if test is None:
        share = f"{DEFAULT_TEST_SHARE:.0%} of the examples, because it has no test of its own"
        rows.append(("test", share))
    if "feature_shape" in about:
        low, high = about["feature_range"]
        rows += [("features", f"{tuple(about['feature_shape'])}, {about['dtype']}"), ("values", f"{low:g} to {high:g}")]
    else:
        targets = about["target"].replace(",", ", ")
        rows += [("format", about["format"])] if about["format"] else []
        rows += [("labels" if "classes" in about else "targets", targets)]
    rows += [("task", about["task"]), ("fingerprint", about["fingerprint"][:12])]
    if about.get("picture"):
        rows.append(("picture", about["picture"]))
    console.print(make_table((about["name"], ""), rows))
    _show_targets(console, about)
    if "columns" in about:
        console.print()
        show_columns(console, about["columns"], where="the output of `--json`")
    for title, notes in (("Notes", about["reading_notes"]), ("Cautions", about["cautions"])):
        if notes:
            console.print(f"\n{title}")
        for note in notes:
            console.print(f"- {named_by_flags(note, flags)}", markup=False)


def _show_targets(console: Console, about: Mapping[str, Any]) -> None:
    """Prints how many examples each class has, or which numbers each target has."""
    what = next(what for what in ("classes", "labels", "targets") if what in about)
    if what == "targets":
        head = ("target", *next(iter(about[what].values())))
        rows = [(name, *map(number, values.values())) for name, values in about[what].items()]
    else:  # an example has one class, and any number of labels
        total = sum(about[what].values()) if what == "classes" else _all_examples(about)
        head = ("class" if what == "classes" else "label", "examples", "share")
        rows = [(name, f"{count:,}", f"{count / total:.1%}") for name, count in about[what].items()]
    console.print()
    console.print(make_table(head, rows[:MAX_LINES]))
    show_how_many_more(console, len(rows) - MAX_LINES, what, "the output of `--json`")


def _all_examples(about: Mapping[str, Any]) -> int:
    return sum(about[f"{part}examples"] or 0 for part in ("", "validation_", "test_"))


def _missing(column: Mapping[str, Any]) -> str:
    share, count = column["missing_share"], column.get("missing")
    if not share and not count:
        return ""
    if not share:
        return f"{count:,}"
    percentage = f"{share:.0%}" if share >= 0.01 else "below 1%"
    return percentage if count is None else f"{count:,} ({percentage})"


def _values(column: Mapping[str, Any]) -> str:
    values = column["values"]
    if values is None:
        return ""
    if not isinstance(values, list):
        return f"{values:,} different"
    return " to ".join(value if isinstance(value, str) else f"{value:g}" for value in values if value is not None)
