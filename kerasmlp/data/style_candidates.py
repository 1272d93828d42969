"""`StyleCandidates`: in which styles of numbers and dates all values of a column may be written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kerasmlp.data.canonical_values import is_written_in_style
from kerasmlp.data.columns import DATE, NUMBER, Column
from kerasmlp.data.date_styles import STYLES
from kerasmlp.data.number_styles import possible_styles

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE_ROWS = 100  # most styles fail on the first rows already


@dataclass
class StyleCandidates:
    """The styles that read all values so far.

    Attributes:
        possible: Nameless columns of numbers and dates, one of each style. Empty before the first value.
        unread_date: The first value that no order of dates reads.
    """

    possible: list[Column] = field(default_factory=list)
    unread_date: str = ""
    _has_started: bool = False

    def add(self, texts: pa.Array, *, are_plain: bool) -> None:
        """Drops the styles in which not all texts are written.

        Args:
            texts: Texts without blanks around them, null where a value is missing.
            are_plain: Whether all are numbers with nothing but digits, a point and an exponent.
        """
        import pyarrow.compute as pc

        if texts.null_count == len(texts):
            return
        if not self._has_started:
            self._has_started = True
            numbers = possible_styles(pc.drop_null(texts)[0].as_py())
            self.possible = [Column("", NUMBER, number_style=style) for style in numbers]
            self.possible += [Column("", DATE, date_style=style) for style in STYLES]
        if not self.possible:
            return
        distinct = None
        kept = []
        sample = pc.drop_null(texts.slice(0, _SAMPLE_ROWS))
        for style in self.possible:
            if are_plain and style.kind == NUMBER and style.number_style.reads_plain_numbers:
                kept.append(style)  # checking takes long
                continue
            distinct = pc.unique(pc.drop_null(texts)) if distinct is None else distinct
            if is_written_in_style(style, sample) and is_written_in_style(style, distinct):
                kept.append(style)
        if not kept and distinct is not None:
            unread = [style.date_style.read(distinct).is_null() for style in self.possible if style.kind == DATE]
            if unread:
                is_unread = min(unread, key=lambda nulls: nulls.true_count)
                self.unread_date = distinct[pc.index(is_unread, True).as_py()].as_py()
        self.possible = kept
