"""Damaged files are read or refused: 2,000 of them with `python -m tests.data.test_damaged_files 2000`.

Good files are cut, and bytes of them are changed, added, removed or repeated. Loading ends in `Data` or in an error of
kerasmlp, in time. Data must not be silently wrong:

- text: every line that Python's `csv` finds is an example, unless a note says what was skipped. A changed digit, or a
  last line that is cut within a number, cannot be noticed;
- Parquet: the number of rows is that of the good file. It holds no checksums, so changed values cannot be noticed;
- gzip and npz, which hold checksums: the data are those of the good file;
- a folder of images: all images are there, and only the damaged one may have changed.
"""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import kerasmlp
from kerasmlp.data.types import Data
from kerasmlp.errors import KerasMLPError
from tests.helpers.damaged_files import damage
from tests.helpers.random_tables import Dialect

FILES = int(os.environ.get("KERASMLP_DAMAGED_FILES", "300"))
BATCH = 50
ROWS = 40
SECONDS = 60  # for one file, on a busy machine

DIALECTS = {
    "commas": Dialect(),
    "semicolons": Dialect(";", ",", line_end="\r\n", quotes_all=True),
    "tabs": Dialect("\t", encoding="utf-16"),
    "bars": Dialect("|", encoding="utf-8-sig", above="# from a program\n"),
    "sep line": Dialect(";", above="sep=;\n", line_end="\r"),
}


def _rows(dialect: Dialect) -> list[list[str]]:
    """A table with a number, a category, a date, a text with quotes, and a label."""
    generator = random.Random(0)
    rows = [["size", "colour", "born", "remark", "kind"]]
    for index in range(ROWS):
        size = dialect.number(generator.uniform(0, 99), 2)
        remark = f'said "{index}{dialect.separator}"\ntwice'
        born = f"2024-{generator.randint(1, 12):02}-{generator.randint(1, 28):02}"
        rows.append([size, generator.choice(["red", "blue", ""]), born, remark, "ab"[index % 2]])
    return rows


class Good:
    """A good file, how it is loaded, and what a damaged one may become."""

    def __init__(self, name: str, content: bytes, check: Callable[[bytes, Data, Data], None]) -> None:
        """Takes the file."""
        self.name, self.content, self._check = name, content, check

    def load(self, folder: Path, content: bytes) -> Data:
        """Loads a file with this content."""
        path = folder / self.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if self.name.endswith(".png"):
            for index in range(2 * ROWS):
                other = folder / "png" / "ab"[index % 2] / f"{index}.png"
                if other != path:
                    other.parent.mkdir(parents=True, exist_ok=True)
                    other.write_bytes(_png(index))
            return kerasmlp.load_data(folder / "png")
        return kerasmlp.load_data(path) if path.suffix == ".npz" else kerasmlp.load_data(path, target="kind")

    def check(self, content: bytes, data: Data, good: Data) -> None:
        """Checks that a damaged file was not read silently wrong."""
        self._check(content, data, good)


def _png(index: int) -> bytes:
    pixels = np.random.default_rng(index).integers(0, 256, (6, 6), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def _count(data: Data) -> int:
    return len(data.train) + len(data.validation) + len(data.test)


def _notes_about_lines(data: Data) -> list[str]:
    return [note for note in data.reading_notes if "skipped" in note]


def _check_text(dialect: Dialect) -> Callable[[bytes, Data, Data], None]:
    def check(content: bytes, data: Data, good: Data) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = content.decode(dialect.encoding, "replace")
        if _notes_about_lines(data) != _notes_about_lines(good):
            return
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=dialect.separator, skipinitialspace=True))
        lines = [line for line in lines if any(cell.strip() for cell in line)]
        above = sum(1 for line in dialect.above.splitlines() if line)
        assert _count(data) == len(lines) - 1 - above, f"{len(lines)} lines became {_count(data)} examples"

    return check


def _check_rows(content: bytes, data: Data, good: Data) -> None:
    del content
    assert _count(data) == _count(good)


def _check_same(content: bytes, data: Data, good: Data) -> None:
    del content
    assert data.fingerprint == good.fingerprint


def _check_images(content: bytes, data: Data, good: Data) -> None:
    del content
    assert _count(data) == _count(good)
    changed = 0
    for part in ("train", "validation", "test"):
        one, other = getattr(data, part), getattr(good, part)
        np.testing.assert_array_equal(one.labels, other.labels)
        changed += int((one.features != other.features).reshape(len(one), -1).any(axis=1).sum())
    assert changed <= 1


@cache
def good_files() -> tuple[Good, ...]:
    """Returns the good files."""
    import pandas as pd

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = []
        for dialect in DIALECTS.values():
            path = folder / f"table{dialect.suffix}"
            dialect.write(path, _rows(dialect))
            files.append(Good(path.name, path.read_bytes(), _check_text(dialect)))
        zipped = Dialect(is_gzipped=True)
        zipped.write(folder / "table.csv.gz", _rows(zipped))
        files.append(Good("table.csv.gz", (folder / "table.csv.gz").read_bytes(), _check_same))
        head, *rows = _rows(Dialect())
        frame = pd.DataFrame(rows, columns=head).astype({"size": float, "born": "datetime64[us]"})
        frame.to_parquet(folder / "table.parquet")
        files.append(Good("table.parquet", (folder / "table.parquet").read_bytes(), _check_rows))
        frame.to_feather(folder / "table.feather")
        files.append(Good("table.feather", (folder / "table.feather").read_bytes(), _check_rows))
        generator = np.random.default_rng(0)
        np.savez_compressed(folder / "arrays.npz", x=generator.normal(size=(60, 3)), y=np.arange(60) % 3)
        files.append(Good("arrays.npz", (folder / "arrays.npz").read_bytes(), _check_same))
        np.savez(folder / "plain.npz", x=generator.normal(size=(60, 3)), y=np.arange(60) % 3)
        files.append(Good("plain.npz", (folder / "plain.npz").read_bytes(), _check_same))
        files.append(Good("png/a/0.png", _png(0), _check_images))
    return tuple(files)


@contextmanager
def _in_time() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"reading took more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@cache
def _good_data(index: int) -> Data:
    with tempfile.TemporaryDirectory() as folder:
        return good_files()[index].load(Path(folder), good_files()[index].content)


def check(seed: int, folder: Path) -> bool:
    """Loads the damaged file of a seed, and returns whether it could be read.

    Raises:
        AssertionError: it was read silently wrong, or raised something else than an error of kerasmlp.
    """
    index = seed % len(good_files())
    good = good_files()[index]
    content = damage(good.content, seed)
    expected = _good_data(index)
    try:
        with _in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = good.load(folder, content)
    except KerasMLPError:
        return False
    except Exception as error:
        raise AssertionError(f"seed {seed}, {good.name}: {type(error).__name__}: {error}") from error
    try:
        good.check(content, data, expected)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}, {good.name}: {error}") from error
    return True


@pytest.mark.parametrize("index", range(len(good_files())), ids=[file.name for file in good_files()])
def test_the_good_files_are_read(index: int) -> None:
    data = _good_data(index)
    assert _count(data) >= ROWS
    assert not any("skipped" in note for note in data.reading_notes if "line" not in note)


@pytest.mark.parametrize("index", range(len(DIALECTS)), ids=DIALECTS)
def test_a_line_that_is_lost_is_noticed(index: int) -> None:
    dialect, data = list(DIALECTS.values())[index], _good_data(index)
    check, content = _check_text(dialect), good_files()[index].content
    check(content, data, data)
    line = dialect.separator.join(["1", "red", "2024-01-01", "new", "a"]) + dialect.line_end
    with pytest.raises(AssertionError, match=f"became {ROWS} examples"):
        check((content.decode(dialect.encoding) + line).encode(dialect.encoding), data, data)


@pytest.mark.parametrize("first", range(0, FILES, BATCH))
def test_a_damaged_file_is_read_or_refused_and_never_silently_wrong(first: int, tmp_path: Path) -> None:
    num_read = sum(check(seed, tmp_path / str(seed)) for seed in range(first, min(first + BATCH, FILES)))
    assert num_read > 0


def main() -> None:
    """Loads as many damaged files as the first argument says, and prints each failure."""
    start, num_read, failures = time.monotonic(), 0, 0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for seed in range(first, first + int(sys.argv[1])):
        with tempfile.TemporaryDirectory() as folder:
            try:
                num_read += check(seed, Path(folder))
            except AssertionError as error:
                failures += 1
                print(str(error)[:400], flush=True)
    print(f"{sys.argv[1]} files, {num_read} read, {failures} failures, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
