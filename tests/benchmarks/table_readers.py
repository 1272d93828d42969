"""Measurements of `bench_data` for readers of CSV files: which dialects they understand, and pace and memory for 1 GB.

Readers that are not installed are left out (`pip install duckdb polars clevercsv`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Each text, and the names of its columns; every text has two rows. Without a header, only their number counts.
DIALECTS: dict[str, tuple[bytes, list[str] | int]] = {
    "commas": (b"a,b,c\n1.5,x,2\n2.5,y,3\n", ["a", "b", "c"]),
    "semicolons, decimal comma": (b"a;b;c\n1,5;x;2,5\n2,5;y;3,5\n", ["a", "b", "c"]),
    "tabs": (b"a\tb\tc\n1.5\tx\t2\n2.5\ty\t3\n", ["a", "b", "c"]),
    "bars": (b"a|b|c\n1.5|x|2\n2.5|y|3\n", ["a", "b", "c"]),
    "runs of blanks": (b" 1.5   7  2\n 2.5  18  3\n", 3),
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,x\n2,y\n", ["a", "b"]),
    "UTF-16": ("größe,b\n1,x\n2,y\n".encode("utf-16"), ["größe", "b"]),
    "Windows-1252": ("größe,b\n1,x\n2,y\n".encode("cp1252"), ["größe", "b"]),
    "CRLF": (b"a,b\r\n1,x\r\n2,y\r\n", ["a", "b"]),
    "CR": (b"a,b\r1,x\r2,y\r", ["a", "b"]),
    "sep= line": (b"sep=;\na;b\n1,5;x\n2,5;y\n", ["a", "b"]),
    "comment": (b"# exported 2024-05-01 by LogTool, 3.1\na,b,c\n1,x,2\n2,y,3\n", ["a", "b", "c"]),
    "title": (b"Sales of 2024\n\na,b,c\n1,x,2\n2,y,3\n", ["a", "b", "c"]),
    "no header": (b"4.9,3.1,setosa\n5.8,2.4,virginica\n", 3),
    "no header, byte order mark": (b"\xef\xbb\xbf0,0,230,0\n0,1,0,9\n", 4),
    "trailing separators": (b"a,b,\n1,x,\n2,y,\n", ["a", "b"]),
    "quoted newline": (b'a,b\n"1\n2",x\n"3, 4",y\n', ["a", "b"]),
    "blank before quote": (b'a, "b"\n1, "x, y"\n2, "z"\n', ["a", "b"]),
    "one column": (b"city name\nnew york\nlos angeles\n", ["city name"]),
    "commas in text": (b"id;text\n1;Hello, world\n2;Yes, no\n", ["id", "text"]),
    "numbered header": (b"label,0,1,2\n5,0,7,1\n4,9,2,0\n", ["label", "0", "1", "2"]),
}

# Problem files in the folder that KERASMLP_CASES names: the number of rows and of columns.
CASES = {
    "adult_3000.csv": (3000, 15),
    "c01_semicolon_decimal_comma.csv": (150, 4),
    "c02_sep_line.csv": (150, 4),
    "c03_no_header.csv": (150, 4),
    "c04_tabs.csv": (150, 4),
    "c04_tabs.tsv": (150, 4),
    "c05_cp1252.csv": (150, 4),
    "c07_thousands_percent.csv": (600, 4),
    "c13_labels_odd.csv": (200, 3),
    "c14_cr_only.csv": (150, 4),
    "c14b_quoted_newline.csv": (100, 3),
    "c15_trailing_both.csv": (150, 4),
    "c24_utf16.csv": (150, 4),
    "c25_comment_first.csv": (150, 4),
    "n_pixels.csv": (6, 256),
    "n_pixels_bom.csv": (6, 256),
    "n_pixels_semicolon.csv": (6, 256),
    "winequality_semicolon.csv": (1599, 12),
}


def _kerasmlp(path: Path) -> tuple[list[str], int]:
    from kerasmlp.data.raw_tables import open_table

    table = open_table(path)
    return list(table.names), sum(map(len, table.pieces()))


def _duckdb(path: Path) -> tuple[list[str], int]:
    import duckdb

    result = duckdb.sql(f"select * from read_csv('{path}', all_varchar=true)")
    return list(result.columns), len(result.fetchall())


def _clevercsv(path: Path) -> tuple[list[str], int]:
    import clevercsv

    rows = clevercsv.read_table(path)
    has_header = clevercsv.Sniffer().has_header(path.read_text(clevercsv.encoding.get_encoding(path)))
    return (rows[0], len(rows) - 1) if has_header else ([""] * len(rows[0]), len(rows))


def _polars(path: Path) -> tuple[list[str], int]:
    import polars

    frame = polars.read_csv(path, infer_schema=False)
    return frame.columns, len(frame)


def _pyarrow(path: Path) -> tuple[list[str], int]:
    import pyarrow.csv

    table = pyarrow.csv.read_csv(path)
    return table.column_names, len(table)


def _pandas(path: Path) -> tuple[list[str], int]:
    import pandas as pd

    frame = pd.read_csv(path, sep=None, engine="python", dtype=str)
    return list(frame.columns), len(frame)


READERS: dict[str, Callable[[Path], tuple[list[str], int]]] = {
    "kerasmlp": _kerasmlp,
    "duckdb": _duckdb,
    "clevercsv": _clevercsv,
    "polars": _polars,
    "pyarrow": _pyarrow,
    "pandas, sep=None": _pandas,
}


def compare_dialects() -> dict[str, Any]:
    """For each reader, how many of the dialects, and of the problem files, it reads right; and those that it does not.

    Right are the names of the columns and the number of rows, or both numbers.
    """
    results: dict[str, Any] = {}
    cases = Path(os.environ["KERASMLP_CASES"]) if "KERASMLP_CASES" in os.environ else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        for reader, read in READERS.items():
            try:
                wrong = []
                for name, (content, names) in DIALECTS.items():
                    path.write_bytes(content)
                    if not _is_right(read, path, 2, names):
                        wrong.append(name)
                results[reader] = {"right": len(DIALECTS) - len(wrong), "of": len(DIALECTS), "wrong": wrong}
                if cases is not None:
                    wrong = [name for name, shape in CASES.items() if not _is_right(read, cases / name, *shape)]
                    results[reader] |= {"files_right": len(CASES) - len(wrong), "of_files": len(CASES)}
                    results[reader] |= {"files_wrong": wrong}
            except ImportError:
                continue
    return results


def _is_right(read: Callable[[Path], tuple[list[str], int]], path: Path, num_rows: int, names: list[str] | int) -> bool:
    try:
        found, count = read(path)
    except ImportError:
        raise
    except Exception:  # a refusal, in whatever class the reader has
        return False
    return count == num_rows and (len(found) == names if isinstance(names, int) else found == names)


# Each reads all rows of a file in order, in pieces, every value as text; `pandas` as the numbers that it finds.
_READ_ALL = {
    "kerasmlp": """
from pathlib import Path
from kerasmlp.data.raw_tables import open_table
rows = sum(map(len, open_table(Path(path)).pieces()))
""",
    "duckdb": """
import duckdb
duckdb.sql("set enable_progress_bar = false")
reader = duckdb.sql(f"select * from read_csv('{path}', all_varchar=true)").to_arrow_reader(65536)
rows = sum(map(len, reader))
""",
    "polars": """
import polars
rows = sum(map(len, polars.scan_csv(path, infer_schema=False).collect_batches(chunk_size=65536, maintain_order=True)))
""",
    "pandas": """
import pandas
rows = sum(map(len, pandas.read_csv(path, chunksize=65536)))
""",
    "csv": """
import csv
with open(path, newline="") as file:
    rows = sum(1 for _ in csv.reader(file)) - 1
""",
}
_MEASURE = """
import json, re, sys, time
path = sys.argv[1]
began = time.perf_counter()
{}
seconds = time.perf_counter() - began
peak = 1024 * int(re.search("VmHWM:\\\\s+(\\\\d+) kB", open("/proc/self/status").read())[1])
print(json.dumps({{"rows": rows, "seconds": seconds, "peak_bytes": peak}}))
"""


def compare_pace(path: Path) -> dict[str, Any]:
    """Seconds and peak of memory of each reader for one file, each in its own process, imports included."""
    results = {}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for reader, code in _READ_ALL.items():
        command = [sys.executable, "-c", _MEASURE.format(code), str(path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode == 0:
            results[reader] = json.loads(done.stdout.splitlines()[-1])
        elif "ModuleNotFoundError" not in done.stderr:
            results[reader] = {"error": done.stderr.strip().splitlines()[-1]}
    counts = {result["rows"] for result in results.values() if "rows" in result}
    assert len(counts) == 1, f"the readers disagree about the number of rows: {results}"
    return results
