"""Tables of results for a person to read."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are numbers; long words are folded rather than cut."""
    table = Table(header_style="bold", box=None, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def format_bytes(size: int) -> str:
    """Bytes for people.

    Example:
        >>> format_bytes(950), format_bytes(25_396), format_bytes(3_200_000)
        ('950 B', '25.4 kB', '3.2 MB')
    """
    for unit, factor in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"
