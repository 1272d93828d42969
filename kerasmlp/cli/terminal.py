"""What a person sees: tables on stdout, progress and messages on stderr, and no noise from native libraries."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

PLAIN_WIDTH = 160  # characters in a line where the output is no terminal


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Keeps what TensorFlow and its native libraries write on their own off the terminal, from here to the end.

    They write to file descriptor 2 directly and before any setting can reach them, so the descriptor is pointed at a
    temporary file; Python's `sys.stderr` keeps writing to the terminal. Python code that prints goes to stderr, so that
    stdout holds results only.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in ("absl", "tensorflow", "tensorflow_datasets", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    sys.stderr.flush()
    terminal, python_stderr = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as noise, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(noise.fileno(), 2)
        sys.stderr = os.fdopen(terminal, "w", buffering=1, encoding="utf-8", closefd=False)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            sys.stderr.flush()
            sys.stderr = python_stderr
            os.dup2(terminal, 2)
            os.close(terminal)


def results_console() -> Console:
    """Where results go: stdout."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def messages_console() -> Console:
    """Where progress and messages go: stderr."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH, highlight=False)


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
