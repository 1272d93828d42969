"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kerasmlp._system.files import appearing, size_bytes, workspace, write_json, write_text


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


def test_json_refuses_what_other_programs_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "metrics.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_is_used_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".writing-killed").mkdir()
    with workspace(tmp_path, ".writing-") as young:
        assert (tmp_path / ".writing-killed").exists(), "its process may be about to lock it"
        monkeypatch.setattr("kerasmlp._system.files._NEW_S", -1.0)
        with workspace(tmp_path, ".writing-"):
            assert young.exists()
            assert not (tmp_path / ".writing-killed").exists()
