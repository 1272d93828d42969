"""Files that appear complete or not at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kerasmlp._system.files import appearing, nearest_existing_folder, size_bytes, write_json, write_text
from kerasmlp.errors import OutputExists


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    write_text(path, "old")

    def fail() -> None:
        with appearing(path) as temporary:
            temporary.write_text("half of the n")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    with appearing(tmp_path / "1") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("abc")
        assert not (tmp_path / "1").exists()
    assert size_bytes(tmp_path / "1") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_json_that_other_programs_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


WRITE = """
import sys, time
from pathlib import Path
from kerasmlp._system.files import appearing
with appearing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_the_next_write_deletes_what_a_killed_process_left_and_nothing_that_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    with subprocess.Popen([sys.executable, "-c", WRITE, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
        write_text(path, "first")
        in_use = {entry.name for entry in tmp_path.iterdir()} - {"note.txt"}
        assert len(in_use) == 2, "the other process's folder and its lock"
        writer.kill()
    assert {entry.name for entry in tmp_path.iterdir()} == {"note.txt", *in_use}
    write_text(path, "second")
    assert path.read_text() == "second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["note.txt"]


def test_the_nearest_existing_folder_is_found_without_creating_anything(tmp_path: Path) -> None:
    assert nearest_existing_folder(tmp_path / "a" / "b", need="a run needs a folder") == tmp_path
    assert nearest_existing_folder(tmp_path, need="a run needs a folder") == tmp_path
    assert not list(tmp_path.iterdir())
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(OutputExists, match=r"file` is a file.*a run needs a folder"):
            nearest_existing_folder(path, need="a run needs a folder")
